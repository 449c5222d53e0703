"""Rules proposed from what people and releases said, with what they were worth on jobs that were held out.

Truth is the answer of the first of TEACHERS that has one. Predicates are made of families and of words in name or command,
alone or with one account, user or queue; they are chosen on jobs submitted before a day, one after the other, by what each
adds, and measured on jobs submitted from that day on. What somebody said of a whole family is one observation, and is held
out by family: its later jobs have the same answer, which would prove nothing. A rule that is not right often enough on what
was held out is left out and named. final_training is never proposed: a name does not say whether a run will be released.

Jobs of the same people with the same words on the same day are one observation. The lower bounds are Wilson's, one-sided at
95 %; by money with the number of equal observations that would be as sure (Kish).
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import floor, sqrt
from typing import Any, Final

from rdspend.border import literal
from rdspend.breakdown import gpu_hours, money
from rdspend.config import Config, authority
from rdspend.engine import Engine
from rdspend.errors import ConfigError
from rdspend.ledger import Snapshot
from rdspend.period import Period
from rdspend.predicate import COLUMNS, check
from rdspend.trial import history, open_jobs

TEACHERS: Final = ("label", "lineage", "review")
"""Kinds of taggers that know: people, and releases."""

LEARNED: Final = 0.6
"""The part of the observations that is learned from; the rest, submitted later, is held out."""

LEAST: Final = 3
"""Observations without which nothing is proposed."""

MOST_BASES: Final = 400
MOST_RULES: Final = 40
LONGEST: Final = 200
SMALLEST: Final = 0.001
"""A rule adds at least this part of the money learned from."""

Z: Final = 1.6448536269514722


@dataclass(frozen=True)
class Part:
    """How a rule, or all of them, did on one part of the labelled jobs. `weight` is nanos, or GPU part-seconds.

    effective  the number of equal observations that would be as sure by weight
    """

    jobs: int = 0
    units: int = 0
    right_units: int = 0
    weight: int = 0
    right_weight: int = 0
    squares: float = 0.0

    def __add__(self, other: Part) -> Part:
        return Part(*(getattr(self, name) + getattr(other, name) for name in self.__dataclass_fields__))

    @property
    def effective(self) -> float:
        return self.weight**2 / self.squares if self.squares else float(self.units)

    @property
    def by_weight(self) -> float:
        """Precision by weight; by observations where nothing weighs anything."""
        return self.right_weight / self.weight if self.weight else self.by_units

    @property
    def by_units(self) -> float:
        return self.right_units / self.units if self.units else 0.0

    @property
    def low_by_weight(self) -> float:
        return wilson(self.by_weight, self.effective)

    @property
    def low_by_units(self) -> float:
        return wilson(self.by_units, self.units)

    def holds(self, precision: float) -> bool:
        return self.units > 0 and self.by_weight >= precision and self.by_units >= precision


def wilson(share: float, observations: float) -> float:
    """The lower end of Wilson's score interval, one-sided at 95 %."""
    if observations <= 0:
        return 0.0
    spread = Z * sqrt(share * (1 - share) / observations + Z**2 / (4 * observations**2))
    return max(0.0, (share + Z**2 / (2 * observations) - spread) / (1 + Z**2 / observations))


@dataclass(frozen=True)
class Proposal:
    """One rule: what it says when, and how it did where it was learned and where it was held out, in the order proposed."""

    name: str
    when: str
    activity: str
    stage: str | None
    learned: Part
    held: Part

    @property
    def confidence(self) -> float:
        """The lower bound that an answer of it is right, by observations; rounded down."""
        return floor(self.held.low_by_units * 100) / 100


@dataclass(frozen=True)
class Suggestion:
    """Rules in order, those that failed on what was held out, and how all of them together did.

    unit        currency, or `GPU-hours` where the labelled jobs have no money
    cut         the first day held out; None: nothing was told but whole families
    learned, held   all labelled jobs of each part, and what the rules answer for and how
    before      the same on what was held out, before failing rules were left out
    """

    period: str
    snapshot: str
    unit: str
    precision: float
    cut: str | None
    learned: Part
    held: Part
    proposals: tuple[Proposal, ...]
    failed: tuple[Proposal, ...]
    before: Part

    @property
    def answered(self) -> Part:
        return sum((each.held for each in self.proposals), Part())

    def amount(self, weight: int) -> str:
        worth = gpu_hours(weight) if self.unit == GPU_HOURS else money(weight)
        return f"{worth:,.2f} {self.unit}"


GPU_HOURS = "GPU-hours"


def suggest(config: Config, period: Period | None, currency: str | None, precision: float) -> Suggestion:
    """Propose rules from the labels of the configuration's ledger."""
    with history(config, period) as (engine, snapshot, months):
        return suggest_from(engine, snapshot, months, currency, precision)


def suggest_from(engine: Engine, snapshot: Snapshot, period: Period, currency: str | None, precision: float) -> Suggestion:
    """The same from a snapshot. Raises ConfigError when too little is labelled to learn from some and measure on others."""
    unit = open_jobs(engine, snapshot, period, currency)
    teachers = sorted(TEACHERS, key=lambda kind: (authority(kind), kind))
    snapshot.view(engine, "tags", lambda p: p["tagger"].split(".")[0] in teachers)
    read = {name: COLUMNS[name].sql for name in ("family", "text")}
    words: dict[str, Any] = {"teachers": ", ".join(map(literal, teachers)), **read}
    engine.run("suggest_job", weight="effective", **words)
    if engine.value("SELECT count(*) FROM suggest_job") and not engine.value("SELECT sum(weight) FROM suggest_job"):
        unit = GPU_HOURS
        engine.run("suggest_job", weight="gpu_part_seconds", **words)
    cut = _cut(engine.read("suggest_day"))
    engine.run("suggest_unit", {"cut": cut or "9999-12-31"})
    parts = {held: Part(int(jobs), int(units), 0, int(weight)) for held, jobs, units, weight in engine.read("suggest_total")}
    learned, held = parts.get(False, Part()), parts.get(True, Part())
    if not learned.jobs or not held.jobs:
        raise ConfigError(
            f"{period.text}: {learned.jobs + held.jobs:,} jobs are labelled, too few to learn from some and to measure on"
            f" others: label jobs of several days (taggers that know are {', '.join(teachers)}), and run `rdspend tag`"
        )
    picked, before = _picked(engine, learned, precision)
    figures = _figures(engine, picked, precision)
    failed: list[Proposal] = []
    while lost := [number for number, each in enumerate(figures) if not each.held.holds(precision)]:
        failed += [figures[number] for number in lost]
        picked = [each for number, each in enumerate(picked) if number not in lost]
        figures = _figures(engine, picked, precision)
    return Suggestion(
        period=period.text,
        snapshot=snapshot.name,
        unit=unit,
        precision=precision,
        cut=cut,
        learned=learned,
        held=held,
        proposals=tuple(figures),
        failed=tuple(failed),
        before=before,
    )


def _cut(days: Sequence[tuple[str, int]]) -> str | None:
    """The first day held out: the first before which LEARNED of the observations were submitted; the last day at the latest."""
    total, seen = sum(units for _, units in days), 0
    for day, units in days:
        if seen and (seen >= LEARNED * total or day == days[-1][0]):
            return day
        seen += units
    return None


def _picked(engine: Engine, learned: Part, precision: float) -> tuple[list[int], Part]:
    """Numbers of candidates, in the order of what each adds; and how they all do on what was held out."""
    bounds = {"least": LEAST, "most": MOST_BASES, "longest": LONGEST, "precision": precision}
    for table in ("base", "hit", "candidate", "match"):
        engine.run(f"suggest_{table}", bounds)
    bounds |= {"smallest": int(learned.weight * SMALLEST), "doubt": Z**2}
    picked: list[int] = []
    while len(picked) < MOST_RULES:
        found = engine.read("suggest_next", bounds, picked=", ".join(map(str, picked)) or "-1")
        if not found:
            break
        picked.append(int(found[0][0]))
    return picked, sum((each.held for each in _figures(engine, picked, precision)), Part())


def _figures(engine: Engine, picked: Sequence[int], precision: float) -> list[Proposal]:
    """The picked candidates as rules, in order, with what they do on both parts."""
    if not picked:
        return []
    listed = ", ".join(map(str, picked))
    parts: dict[tuple[int, bool], Part] = {}
    stages: dict[tuple[int, bool], dict[str, Part]] = {}
    for number, held, stage, *figures in engine.read("suggest_figure", picked=listed):
        part, place = _part(*figures), (int(number) - 1, held)
        parts[place] = parts.get(place, Part()) + part
        if stage is not None:
            stages.setdefault(place, {})[stage] = part
    said = {int(row[0]): row[1:] for row in engine.rows(f"SELECT * FROM suggest_candidate WHERE candidate IN ({listed})")}
    found = []
    for number, candidate in enumerate(picked):
        kind, value, field, field_value, activity = said[candidate]
        when = f"family = {literal(value)}" if kind == "family" else f"contains(text, {literal(value)})"
        name = f"{activity}: {kind} {value}"
        if field:
            when, name = f"{when} AND {field} = {literal(field_value)}", f"{name}, {field} {field_value}"
        check(when, f"proposed rule {name!r}")
        stage = _stage(stages.get((number, False), {}), stages.get((number, True), {}), precision)
        learned, held = (parts.get((number, each), Part()) for each in (False, True))
        found.append(Proposal(name, when, activity, stage, learned, held))
    return found


def _part(jobs: int, units: int, right_units: int, weight: int, right_weight: int, squares: float) -> Part:
    return Part(int(jobs), int(units), int(right_units), int(weight), int(right_weight), float(squares))


def _stage(learned: Mapping[str, Part], held: Mapping[str, Part], precision: float) -> str | None:
    """The stage that is right often enough on both parts, of the jobs whose stage was told; None when none is."""
    if not learned:
        return None
    stage = max(learned, key=lambda each: (learned[each].units, each))

    def share(part: Mapping[str, Part]) -> float:
        units = sum(each.units for each in part.values())
        return part[stage].units / units if stage in part else 0.0

    return stage if share(learned) >= precision and share(held) >= precision else None


# --- the file ---------------------------------------------------------------------------------------------------------


def as_toml(found: Suggestion) -> str:
    """The rules as a file that the rule tagger takes; what each is worth stands in its comment."""
    by_day = f"submitted before {found.cut}" if found.cut else "of some families"
    later = f"submitted from {found.cut} on" if found.cut else "of other families"
    lines = [
        f"# Proposed by `rdspend rules suggest` from labels of {found.period} ({found.snapshot}). Read before use.",
        f"# Learned from {found.learned.jobs:,} labelled jobs {by_day}, measured on {found.held.jobs:,} {later},",
        "# which were held out; jobs of reviewed families are held out by family. Together, on what was held out:",
        f"#   {_words(found, found.answered)},",
        f"#   {_share(found.answered.weight, found.held.weight)} of it; {found.precision:.1%} right were wanted of each rule",
        f"# and before {len(found.failed):,} rules that failed there were left out:",
        f"#   {_words(found, found.before)}",
        "# An observation is all jobs of the same people with the same words on one day. confidence is a lower bound.",
    ]
    for each in found.proposals:
        lines += [
            "",
            "[[rule]]",
            f"name = {_quoted(each.name)}",
            f"# held out: {_words(found, each.held)}",
            f"# learned:  {_words(found, each.learned)}",
            f"when = {_quoted(each.when)}",
            f'activity = "{each.activity}"',
            *([f'stage = "{each.stage}"'] if each.stage else []),
            f"confidence = {each.confidence:.2f}",
        ]
    return "\n".join(lines) + "\n"


def _words(found: Suggestion, part: Part) -> str:
    if not part.units:
        return "nothing to measure"
    return (
        f"right for {part.by_weight:.1%} (at least {part.low_by_weight:.0%}) of {found.amount(part.weight)}, "
        f"{part.jobs:,} jobs; {part.right_units:,} of {part.units:,} observations (at least {part.low_by_units:.0%})"
    )


def _share(part: int, whole: int) -> str:
    return f"{part / whole:.1%}" if whole else "nothing"


def _quoted(text: str) -> str:
    """A TOML basic string; JSON's escapes are TOML's, but for DEL."""
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")
