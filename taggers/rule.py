"""Says what jobs were for by ordered rules; the first rule that is true of a job wins.

Reads       a TOML file of [[rule]] tables, and a starter set that is part of rdspend
            name        said in the evidence; once in a file
            when        a predicate over the job: rdspend/predicate.py has its columns, operators and functions
            activity    exploration, data_generation, evaluation, final_training or inference
            stage       pretraining, midtraining, finetuning, reinforcement_learning, evaluation, data, serving or other
            confidence  in [0, 1], 0.8 when not given
            note        for people
            A rule says an activity, a stage, or both. One that says a stage only ends the search too.
Needs       to read that file
Can't see   money; other jobs; whether a training run became a release, so the starter set never says final_training

    [taggers.rule]
    path = "rules.toml"        # without a path: the starter set alone
    starter = true             # the starter set after the own rules; left out: only the own rules

    # rules.toml
    [[rule]]
    name = "ablations"
    when = "name ILIKE '%ablat%' AND gpus >= 8"
    activity = "exploration"
    stage = "pretraining"
"""

from __future__ import annotations

import hashlib
import re
import tomllib
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any, Literal

from rdspend.border import literal
from rdspend.errors import ConfigError
from rdspend.predicate import Predicate, check, columns_of, nearest, projection
from rdspend.schema import ACTIVITIES, GPU_PARTS, SECONDS_PER_HOUR, STAGES, Location

STARTER = Path(__file__).parent / "starter_rules.toml"
DEFAULT_CONFIDENCE = 0.8
LONGEST_EVIDENCE = 200
HEADER = re.compile(r"\s*\[\[\s*rule\s*\]\]")
KEYS = ("name", "when", "activity", "stage", "confidence", "note")

# One GPU-hour in GPU parts times microseconds.
GPU_HOUR = GPU_PARTS * SECONDS_PER_HOUR * 1_000_000

FindingKind = Literal["ok", "matches_nothing", "shadowed", "null_column", "uncovered"]


@dataclass(frozen=True)
class RuleFinding:
    """What `rdspend rules check` says of one rule, or of the jobs that no rule answers for.

    rule       `'name' (file:line)`
    kind       ok: it answers for some job. matches_nothing. null_column: matches nothing, and reads a column that is
               null for all jobs. shadowed: earlier rules took all it matches. uncovered: jobs that no rule is true of
    matched    jobs that it is true of
    won        jobs that it answers for; over all findings this adds up to the jobs given
    gpu_hours  GPU-hours of the jobs won; jobs that still run count 0
    detail     in words
    """

    rule: str
    kind: FindingKind
    matched: int
    won: int
    gpu_hours: Decimal
    detail: str


@dataclass(frozen=True)
class Rule:
    """Answers by rules. `starter` None: the starter set only where there is no path."""

    path: Location | None = None
    starter: bool | None = None

    def tag(self, jobs: Any) -> Any:
        """One row for each job that a rule is true of: the first such rule's answer. Raises ConfigError."""
        rules = self._rules()
        decided = _columns(jobs, rules, "job_key").project(f"job_key, {_first_true(rules)} AS rule")
        return decided.filter("rule IS NOT NULL").project(
            f"job_key, {_answer('VARCHAR', [r.activity for r in rules])} AS activity,"
            f" {_answer('VARCHAR', [r.stage for r in rules])} AS stage,"
            f" {_answer('DOUBLE', [repr(r.confidence) for r in rules])} AS confidence,"
            f" {_answer('VARCHAR', [r.evidence for r in rules])} AS evidence,"
            f" {literal(_version(rules))} AS version"
        )

    def check(self, jobs: Any) -> tuple[RuleFinding, ...]:
        """One finding for each rule in their order, and one for the jobs left over. Tries every rule on every job."""
        rules = self._rules()
        reads = _reads(rules)
        gpu_time = "CAST(gpu_parts * coalesce(epoch_us(end_time) - epoch_us(start_time), 0) AS HUGEINT) AS gpu_time"
        counts = [f"count(*) FILTER (WHERE {rule.predicate.sql})" for rule in rules]
        counts += [f"count({column})" for column in columns_of(reads)]
        select = [f"{_first_true(rules)} AS rule", "count(*)", "sum(gpu_time)", *counts]
        rows = _columns(jobs, rules, gpu_time).aggregate(", ".join(select), "rule").fetchall()
        return _findings(rules, reads, [_Group(w, n, t, some[: len(rules)], some[len(rules) :]) for w, n, t, *some in rows])

    def _rules(self) -> tuple[_Rule, ...]:
        starter = self.path is None if self.starter is None else self.starter
        own = () if self.path is None else _read(self.path)
        return own + (_read(STARTER) if starter else ())


@dataclass(frozen=True)
class _Rule:
    """One rule as read. `place` is `file:line`."""

    name: str
    place: str
    predicate: Predicate
    activity: str | None
    stage: str | None
    confidence: float

    @property
    def label(self) -> str:
        return f"'{self.name}' ({self.place})"

    @property
    def evidence(self) -> str:
        when = " ".join(self.predicate.expression.split())
        return f"rule {self.label}: {when if len(when) <= LONGEST_EVIDENCE else when[:LONGEST_EVIDENCE] + '...'}"


# --- SQL ------------------------------------------------------------------------------------------------------------


def _reads(rules: Sequence[_Rule]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(name for rule in rules for name in rule.predicate.reads))


def _columns(jobs: Any, rules: Sequence[_Rule], first: str) -> Any:
    """Relation of `first` and every column that a rule reads, each made once however many rules read it."""
    return jobs.project(", ".join(filter(None, [first, projection(_reads(rules))])))


def _first_true(rules: Sequence[_Rule]) -> str:
    """SQL of the number of the first rule that is true, from 1; null when none is."""
    whens = "".join(f" WHEN {rule.predicate.sql} THEN {number}" for number, rule in enumerate(rules, start=1))
    return f"CASE{whens} END" if rules else "CAST(NULL AS INTEGER)"


def _answer(sql_type: str, values: Sequence[str | None]) -> str:
    """SQL that picks the winner's value."""
    return f"CAST([{', '.join(literal(value) for value in values)}] AS {sql_type}[])[rule]"


def _version(rules: Sequence[_Rule]) -> str:
    said = [(r.name, r.place, r.predicate.expression, r.activity, r.stage, r.confidence) for r in rules]
    return hashlib.sha256(repr(said).encode()).hexdigest()[:12]


# --- check ------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Group:
    """Jobs with one first true rule (None: no rule), how many each rule is true of, how many have each column."""

    winner: int | None
    jobs: int
    gpu_time: int
    matches: Sequence[int]
    not_null: Sequence[int]


def _findings(rules: Sequence[_Rule], reads: Sequence[str], groups: Sequence[_Group]) -> tuple[RuleFinding, ...]:
    jobs = sum(g.jobs for g in groups)
    null_columns = {name for i, name in enumerate(reads) if not any(g.not_null[i] for g in groups)}
    by_winner = {g.winner: g for g in groups}
    found = [_finding(rules, number, by_winner, null_columns, jobs) for number in range(1, len(rules) + 1)]
    rest = by_winner.get(None, _Group(None, 0, 0, (), ()))
    total = sum((g.gpu_time for g in groups), 0)
    detail = (
        f"no rule is true of {rest.jobs:,} of {jobs:,} jobs, {_gpu_hours(rest.gpu_time):,} of {_gpu_hours(total):,} GPU-hours"
    )
    return (*found, RuleFinding("no rule", "uncovered", rest.jobs, rest.jobs, _gpu_hours(rest.gpu_time), detail))


def _finding(
    rules: Sequence[_Rule], number: int, by_winner: dict[int | None, _Group], null_columns: set[str], jobs: int
) -> RuleFinding:
    rule = rules[number - 1]
    matched = sum(group.matches[number - 1] for group in by_winner.values())
    own = by_winner.get(number)
    won, gpu_hours = (own.jobs, _gpu_hours(own.gpu_time)) if own else (0, Decimal(0))
    null_reads = [name for name in rule.predicate.unguarded if name in null_columns]
    before = [
        f"{rules[w - 1].label} takes {group.matches[number - 1]:,}"
        for w, group in sorted(by_winner.items(), key=lambda item: item[0] or 0)
        if w is not None and w != number and group.matches[number - 1]
    ]
    before = [*before[:3], f"{len(before) - 3} more rules"] if len(before) > 4 else before
    kind: FindingKind = "ok"
    detail = f"true of {matched:,} of {jobs:,} jobs, answers for {won:,}"
    if matched == 0 and jobs and null_reads:
        kind, detail = "null_column", f"would read {' and '.join(null_reads)}, null for all {jobs:,} jobs"
    elif matched == 0:
        kind, detail = "matches_nothing", f"true of none of {jobs:,} jobs"
    elif won == 0:
        kind, detail = "shadowed", f"earlier rules take all {matched:,} jobs it is true of: {'; '.join(before)}"
    elif before:
        detail += f"; before it {'; '.join(before)}"
    return RuleFinding(rule.label, kind, matched, won, gpu_hours, detail)


def _gpu_hours(gpu_time: int) -> Decimal:
    return (Decimal(gpu_time) / GPU_HOUR).quantize(Decimal("0.001"))


# --- the file ---------------------------------------------------------------------------------------------------------


def _read(path: str | Path) -> tuple[_Rule, ...]:
    """The rules of a file, checked; ConfigError names the file and the rule."""
    file = Path(path)
    try:
        text = file.read_bytes().decode()
        content = tomllib.loads(text)
    except OSError as error:
        raise ConfigError(f"{path}: can't read the rules: {error.strerror or error}") from None
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path}: byte {error.start + 1} is not UTF-8; save the rules as UTF-8") from None
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"{path}: not TOML: {error}") from None
    for key in content.keys() - {"rule"}:
        raise ConfigError(f"{path}: unknown key '{key}'{nearest(key, ['rule'])}; expected [[rule]] tables")
    tables = content.get("rule", [])
    if not isinstance(tables, list) or not all(isinstance(table, dict) for table in tables):
        raise ConfigError(f"{path}: 'rule' has to be a list of tables; write [[rule]]")
    lines = [number for number, line in enumerate(text.split("\n"), start=1) if HEADER.match(line)]
    # A header inside a text, or rules as one list: then no line is said rather than a wrong one.
    places = [f"{file.name}:{line}" for line in lines] if len(lines) == len(tables) else [file.name] * len(tables)
    rules: list[_Rule] = []
    for number, (table, place) in enumerate(zip(tables, places, strict=True), start=1):
        rule = _rule(table, place, f"{path}: rule {number}")
        same = next((other for other in rules if other.name == rule.name), None)
        if same:
            raise ConfigError(f"{path}: rule {number} '{rule.name}': {same.place} has that name; use a name once")
        rules.append(rule)
    return tuple(rules)


def _rule(table: dict[str, Any], place: str, where: str) -> _Rule:
    name = table.get("name")
    where = f"{where} '{name}'" if isinstance(name, str) else where
    for key in table.keys() - set(KEYS):
        raise ConfigError(f"{where}: unknown key '{key}'{nearest(key, KEYS)}; keys are {', '.join(KEYS)}")
    for key in ("name", "when"):
        if not isinstance(table.get(key), str) or not table[key].strip():
            raise ConfigError(f"{where}: {key}: expected text, found {table.get(key, 'nothing')!r}")
    if "note" in table and not isinstance(table["note"], str):
        raise ConfigError(f"{where}: note: expected text, found {table['note']!r}")
    activity, stage = _word(table, "activity", ACTIVITIES, where), _word(table, "stage", STAGES, where)
    if activity is None and stage is None:
        raise ConfigError(f"{where}: says nothing; give it an activity, a stage, or both")
    confidence = table.get("confidence", DEFAULT_CONFIDENCE)
    if isinstance(confidence, bool) or not isinstance(confidence, int | float) or not 0 <= confidence <= 1:
        raise ConfigError(f"{where}: confidence: expected a number from 0 to 1, found {confidence!r}")
    return _Rule(name or "", place, check(table["when"], f"{where}: when"), activity, stage, float(confidence))


def _word(table: dict[str, Any], key: str, known: Sequence[str], where: str) -> str | None:
    word = table.get(key)
    if word is None or word in known:
        return word
    raise ConfigError(f"{where}: {key}: found {word!r}{nearest(str(word), known)}; expected {', '.join(known)}")
