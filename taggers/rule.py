"""Says what jobs were for by ordered rules; the first rule that is true of a job wins.

Reads       a TOML file of [[rule]] tables, and a starter set that is part of rdspend
            name        said in the evidence; once in a file
            when        a predicate over the job: rdspend/predicate.py has its columns, operators and functions
            activity    exploration, data_generation, evaluation, final_training or inference
            stage       pretraining, midtraining, finetuning, reinforcement_learning, evaluation, data, serving or other
            confidence  in [0, 1], 0.8 when not given
            note        for people
            owner       who answers for the rule; said in the evidence
            since       a date: true only of jobs submitted on or after it, in UTC
            until       a date: true only of jobs submitted before it
            shadow      true: tried by `rdspend rules check` and `rules test`, never answers
            A rule says an activity, a stage, or both. One that says a stage only ends the search too.
Needs       to read that file
Can't see   money; other jobs; the instance type of nodes, which no job record has (gpu_type is there); whether a training run
            became a release, so the starter set never says final_training

    [taggers.rule]
    path = "rules.toml"        # without a path: the starter set alone
    starter = true             # the starter set after the own rules; left out: only the own rules

    # rules.toml
    [[rule]]
    name = "ablations"
    when = "name ILIKE '%ablat%' AND gpus >= 8"
    activity = "exploration"
    stage = "pretraining"
    owner = "pretraining team"
    since = 2026-03-01
"""

from __future__ import annotations

import hashlib
import itertools
import re
import tomllib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date, datetime
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
KEYS = ("name", "when", "activity", "stage", "confidence", "note", "owner", "since", "until", "shadow")

# One GPU-hour in GPU parts times microseconds.
GPU_HOUR = GPU_PARTS * SECONDS_PER_HOUR * 1_000_000

SUBMITTED = "submitted_us"
BITS = 62
"""Rules to one number of the signature: which rules are true of a job, as bits."""

FindingKind = Literal["ok", "matches_nothing", "preceded", "null_column", "expired", "shadow", "uncovered"]


@dataclass(frozen=True)
class Overlap:
    """Jobs that two rules are true of. `winner` is the one that comes first, whoever answers for the jobs in the end.

    said  what the two say, in words: `evaluation, not exploration`; `both say evaluation`
    """

    winner: str
    other: str
    jobs: int
    gpu_hours: Decimal
    agree: bool
    said: str


@dataclass(frozen=True)
class RuleFinding:
    """What `rdspend rules check` says of one rule, or of the jobs that no rule answers for.

    rule       `'name' (file:line)`
    kind       ok: it answers for some job. matches_nothing. null_column: matches nothing, and reads a column that is
               null for all jobs. preceded: earlier rules took all it matches. expired: it would be true of jobs submitted
               on or after its `until`. shadow: it never answers. uncovered: jobs that no rule is true of
    matched    jobs that it is true of
    won        jobs that it answers for; over all findings this adds up to the jobs given. Of a shadow rule 0
    gpu_hours  GPU-hours of the jobs won; jobs that still run count 0
    detail     in words
    overlaps   with rules that come later; most GPU-hours first
    """

    rule: str
    kind: FindingKind
    matched: int
    won: int
    gpu_hours: Decimal
    detail: str
    overlaps: tuple[Overlap, ...] = ()

    @property
    def good(self) -> bool:
        """Nobody has to look at it."""
        return self.kind in ("ok", "shadow")


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

    def shadows(self, jobs: Any) -> Any:
        """What each shadow rule would answer if it alone were switched on: (rule, job_key, activity, stage)."""
        rules = self._rules()
        none = "CAST(NULL AS VARCHAR)"
        found = jobs.project(f"{none} AS rule, job_key, {none} AS activity, {none} AS stage").filter("false")
        for number, rule in enumerate(rules):
            if rule.shadow:
                found = found.union(_switched_on(jobs, rules, number))
        return found

    def check(self, jobs: Any) -> tuple[RuleFinding, ...]:
        """One finding for each rule in their order, and one for the jobs left over. Tries every rule on every job."""
        rules = self._rules()
        reads = _reads(rules)
        gpu_time = "CAST(gpu_parts * coalesce(epoch_us(end_time) - epoch_us(start_time), 0) AS HUGEINT) AS gpu_time"
        parts = [_true_of(rules[first : first + BITS]) for first in range(0, len(rules), BITS)] or ["0"]
        names = [f"true_of_{number}" for number in range(len(parts))]
        late = [f"count(*) FILTER (WHERE {r.predicate.sql} AND {SUBMITTED} >= {_us(r.until)})" for r in rules if r.until]
        columns = [f"count({column})" for column in columns_of(reads)]
        select = [*(f"{sql} AS {name}" for sql, name in zip(parts, names, strict=True)), "count(*)", "sum(gpu_time)"]
        rows = _columns(jobs, rules, gpu_time).aggregate(", ".join([*select, *late, *columns]), ", ".join(names)).fetchall()
        return _findings(rules, reads, [_group(rules, row, len(parts), len(late)) for row in rows])

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
    owner: str | None = None
    since: date | None = None
    until: date | None = None
    shadow: bool = False

    @property
    def label(self) -> str:
        return f"'{self.name}' ({self.place})"

    @property
    def answer(self) -> str:
        return ", ".join(filter(None, (self.activity, self.stage)))

    @property
    def evidence(self) -> str:
        when = " ".join(self.predicate.expression.split())
        words = f"rule {self.label}: {when if len(when) <= LONGEST_EVIDENCE else when[:LONGEST_EVIDENCE] + '...'}"
        words += f" [jobs submitted {self.dates}]" if self.dates else ""
        return words + (f" [owner: {self.owner}]" if self.owner else "")

    @property
    def dates(self) -> str:
        since = f"from {self.since}" if self.since else ""
        return " ".join(filter(None, (since, f"before {self.until}" if self.until else "")))

    @property
    def sql(self) -> str:
        """True of the jobs that it answers for, over the columns of `_columns`."""
        since = f" AND {SUBMITTED} >= {_us(self.since)}" if self.since else ""
        return f"({self.predicate.sql}{since}" + (f" AND {SUBMITTED} < {_us(self.until)})" if self.until else ")")


def _us(day: date) -> int:
    """The day's first instant in UTC, as microseconds since 1970."""
    return (day.toordinal() - date(1970, 1, 1).toordinal()) * 86_400_000_000


# --- SQL ------------------------------------------------------------------------------------------------------------


def _reads(rules: Sequence[_Rule]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(name for rule in rules for name in rule.predicate.reads))


def _columns(jobs: Any, rules: Sequence[_Rule], first: str) -> Any:
    """Relation of `first` and every column that a rule reads, each made once however many rules read it."""
    submitted = f"epoch_us(submit_time) AS {SUBMITTED}" if any(rule.dates for rule in rules) else ""
    return jobs.project(", ".join(filter(None, [first, submitted, projection(_reads(rules))])))


def _first_true(rules: Sequence[_Rule]) -> str:
    """SQL of the number of the first rule that answers and is true, from 1; null when none is."""
    whens = "".join(f" WHEN {rule.sql} THEN {number}" for number, rule in enumerate(rules, start=1) if not rule.shadow)
    return f"CASE{whens} END" if whens else "CAST(NULL AS INTEGER)"


def _true_of(rules: Sequence[_Rule]) -> str:
    """SQL of the rules that are true, as the bits of a number."""
    return " + ".join(f"CASE WHEN {rule.sql} THEN {2**bit} ELSE 0 END" for bit, rule in enumerate(rules))


def _switched_on(jobs: Any, rules: Sequence[_Rule], number: int) -> Any:
    """What one shadow rule would answer for: what it is true of and no rule that answers before it."""
    rule, before = rules[number], rules[:number]
    mine = _columns(jobs, [*before, rule], "job_key").filter(rule.sql).filter(f"{_first_true(before)} IS NULL")
    said = ", ".join(f"CAST({literal(word)} AS VARCHAR) AS {name}" for name, word in _said(rule))
    return mine.project(f"{literal(rule.label)} AS rule, job_key, {said}")


def _said(rule: _Rule) -> tuple[tuple[str, str | None], ...]:
    return (("activity", rule.activity), ("stage", rule.stage))


def _answer(sql_type: str, values: Sequence[str | None]) -> str:
    """SQL that picks the winner's value."""
    return f"CAST([{', '.join(literal(value) for value in values)}] AS {sql_type}[])[rule]"


def _version(rules: Sequence[_Rule]) -> str:
    said = [
        (r.name, r.place, r.predicate.expression, r.activity, r.stage, r.confidence, r.owner, r.dates, r.shadow) for r in rules
    ]
    return hashlib.sha256(repr(said).encode()).hexdigest()[:12]


# --- check ------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Group:
    """Jobs that the same rules are true of.

    true_of   those rules, by number from 0; winner is the first of them that is no shadow (None: no rule answers)
    late      of each rule with an end, jobs submitted after it that its predicate is true of
    not_null  jobs that have each column
    """

    true_of: tuple[int, ...]
    winner: int | None
    jobs: int
    gpu_time: int
    late: Sequence[int]
    not_null: Sequence[int]


def _group(rules: Sequence[_Rule], row: Sequence[Any], parts: int, ended: int) -> _Group:
    true_of = tuple(
        part * BITS + bit for part in range(parts) for bit in range(int(row[part]).bit_length()) if int(row[part]) >> bit & 1
    )
    winner = next((number for number in true_of if not rules[number].shadow), None)
    jobs, gpu_time, *rest = row[parts:]
    return _Group(true_of, winner, jobs, gpu_time, rest[:ended], rest[ended:])


def _findings(rules: Sequence[_Rule], reads: Sequence[str], groups: Sequence[_Group]) -> tuple[RuleFinding, ...]:
    null_columns = {name for i, name in enumerate(reads) if not any(g.not_null[i] for g in groups)}
    overlaps = _overlaps(rules, groups)
    found = [_finding(rules, number, groups, null_columns, overlaps.get(number, ())) for number in range(len(rules))]
    rest = [g for g in groups if g.winner is None]
    left, hours = sum(g.jobs for g in rest), _gpu_hours(g.gpu_time for g in rest)
    jobs, all_hours = sum(g.jobs for g in groups), _gpu_hours(g.gpu_time for g in groups)
    detail = f"no rule is true of {left:,} of {jobs:,} jobs, {hours:,} of {all_hours:,} GPU-hours"
    return (*found, RuleFinding("no rule", "uncovered", left, left, hours, detail))


def _overlaps(rules: Sequence[_Rule], groups: Sequence[_Group]) -> dict[int, tuple[Overlap, ...]]:
    """Pairs of rules that answer and are true of the same jobs, under the number of the one that comes first."""
    jobs: dict[tuple[int, int], int] = {}
    gpu_time: dict[tuple[int, int], int] = {}
    for group in groups:
        for pair in itertools.combinations([number for number in group.true_of if not rules[number].shadow], 2):
            jobs[pair] = jobs.get(pair, 0) + group.jobs
            gpu_time[pair] = gpu_time.get(pair, 0) + group.gpu_time
    found: dict[int, list[Overlap]] = {}
    for first, second in sorted(jobs, key=lambda pair: (pair[0], -gpu_time[pair], pair[1])):
        one, other, pair = rules[first], rules[second], (first, second)
        agree = (one.activity, one.stage) == (other.activity, other.stage)
        said = f"both say {one.answer}" if agree else f"{one.answer}, not {other.answer}"
        overlap = Overlap(one.label, other.label, jobs[pair], _gpu_hours([gpu_time[pair]]), agree, said)
        found.setdefault(first, []).append(overlap)
    return {number: tuple(those) for number, those in found.items()}


def _finding(
    rules: Sequence[_Rule], number: int, groups: Sequence[_Group], null_columns: set[str], overlaps: tuple[Overlap, ...]
) -> RuleFinding:
    rule = rules[number]
    jobs = sum(group.jobs for group in groups)
    true = [group for group in groups if number in group.true_of]
    matched, own = sum(group.jobs for group in true), [group for group in true if group.winner == number]
    won, gpu_hours = sum(group.jobs for group in own), _gpu_hours(group.gpu_time for group in own)
    null_reads = [name for name in rule.predicate.unguarded if name in null_columns]
    before = _takers(rules, [g for g in true if g.winner is not None and g.winner < number], "takes ")
    late = _late(rules, number, groups)
    kind: FindingKind = "ok"
    detail = f"true of {matched:,} of {jobs:,} jobs, answers for {won:,}"
    if rule.shadow:
        kind, detail = "shadow", _would_answer(rules, number, true)
    elif late:
        kind = "expired"
        detail += f"; it ended {rule.until}, and no rule answers for {late:,} jobs submitted since then that it was made for"
    elif matched == 0 and jobs and null_reads:
        kind, detail = "null_column", f"would read {' and '.join(null_reads)}, null for all {jobs:,} jobs"
    elif matched == 0:
        kind, detail = "matches_nothing", f"true of none of {jobs:,} jobs"
    elif won == 0:
        kind, detail = "preceded", f"earlier rules take all {matched:,} jobs it is true of: {'; '.join(before)}"
    elif before:
        detail += f"; before it {'; '.join(before)}"
    detail += f"; holds for jobs submitted {rule.dates}" if rule.dates and kind != "expired" else ""
    return RuleFinding(rule.label, kind, matched, won, gpu_hours, detail, overlaps)


def _takers(rules: Sequence[_Rule], groups: Sequence[_Group], verb: str = "") -> list[str]:
    """Who answers for these jobs, at most four lines of it."""
    by_winner: dict[int, int] = {}
    for group in groups:
        if group.winner is not None:
            by_winner[group.winner] = by_winner.get(group.winner, 0) + group.jobs
    said = [f"{rules[winner].label} {verb}{jobs:,}" for winner, jobs in sorted(by_winner.items())]
    return [*said[:3], f"{len(said) - 3} more rules"] if len(said) > 4 else said


def _late(rules: Sequence[_Rule], number: int, groups: Sequence[_Group]) -> int:
    """Jobs submitted after the rule's end that its predicate is true of, and that no rule answers for."""
    if rules[number].until is None:
        return 0
    place = sum(1 for rule in rules[:number] if rule.until)
    return sum(group.late[place] for group in groups if group.winner is None)


def _would_answer(rules: Sequence[_Rule], number: int, true: Sequence[_Group]) -> str:
    """What a shadow rule would change if it were switched on."""
    mine = [g for g in true if g.winner is None or g.winner > number]
    hours = _gpu_hours(g.gpu_time for g in mine)
    new = sum(g.jobs for g in mine if g.winner is None)
    words = f"shadow: true of {sum(g.jobs for g in true):,} jobs; would answer {rules[number].answer} for"
    words += f" {sum(g.jobs for g in mine):,} ({hours:,} GPU-hours), of which no rule answers for {new:,}"
    others = _takers(rules, mine)
    return f"{words}; it would take from {'; '.join(others)}" if others else words


def _gpu_hours(gpu_time: Iterable[int]) -> Decimal:
    return (Decimal(sum(gpu_time)) / GPU_HOUR).quantize(Decimal("0.001"))


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
    heads = lines if len(lines) == len(tables) else [0] * len(tables)
    rules: list[_Rule] = []
    for number, (table, head) in enumerate(zip(tables, heads, strict=True), start=1):
        rule = _rule(table, _Where(path, text, number, head, table.get("name")))
        same = next((other for other in rules if other.name == rule.name), None)
        if same:
            raise _Where(path, text, number, head, rule.name).error(f"{same.place} has that name; use a name once", "name")
        rules.append(rule)
    return tuple(rules)


@dataclass(frozen=True)
class _Where:
    """A rule's place in its file. `head` is the line of its header, 0 when that is not known."""

    path: str | Path
    text: str
    number: int
    head: int
    name: object

    @property
    def place(self) -> str:
        return f"{Path(self.path).name}:{self.head}" if self.head else Path(self.path).name

    def error(self, message: str, key: str = "") -> ConfigError:
        return ConfigError(f"{self.of(key)}: {message}")

    def of(self, key: str) -> str:
        """Where a key of the rule stands, in words."""
        line = self._line(key)
        named = f" '{self.name}'" if isinstance(self.name, str) else ""
        return f"{self.path}{f':{line}' if line else ''}: rule {self.number}{named}"

    def _line(self, key: str) -> int:
        """The line of the key; of the header when the key has none that is surely its own."""
        if not key or not self.head:
            return self.head
        lines = self.text.split("\n")
        for line in range(self.head + 1, len(lines) + 1):
            if HEADER.match(lines[line - 1]):
                break
            # A text of several lines may hold what looks like the key.
            if re.match(rf"""\s*["']?{re.escape(key)}["']?\s*=""", lines[line - 1]) and _whole(lines[self.head : line - 1]):
                return line
        return self.head


def _whole(lines: Sequence[str]) -> bool:
    """Nothing in these lines goes on in the next."""
    try:
        tomllib.loads("\n".join(lines))
    except tomllib.TOMLDecodeError:
        return False
    return True


def _rule(table: dict[str, Any], where: _Where) -> _Rule:
    for key in table.keys() - set(KEYS):
        raise where.error(f"unknown key '{key}'{nearest(key, KEYS)}; keys are {', '.join(KEYS)}", key)
    for key in ("name", "when"):
        if not isinstance(table.get(key), str) or not table[key].strip():
            raise where.error(f"{key}: expected text, found {table.get(key, 'nothing')!r}", key)
    for key in ("note", "owner"):
        if key in table and (not isinstance(table[key], str) or not table[key].strip()):
            raise where.error(f"{key}: expected text, found {table[key]!r}", key)
    activity, stage = _word(table, "activity", ACTIVITIES, where), _word(table, "stage", STAGES, where)
    if activity is None and stage is None:
        raise where.error("says nothing; give it an activity, a stage, or both")
    confidence = table.get("confidence", DEFAULT_CONFIDENCE)
    if isinstance(confidence, bool) or not isinstance(confidence, int | float) or not 0 <= confidence <= 1:
        raise where.error(f"confidence: expected a number from 0 to 1, found {confidence!r}", "confidence")
    since, until = _date(table, "since", where), _date(table, "until", where)
    if since and until and until <= since:
        raise where.error(f"until: found {until}, which is not after since, {since}; it would never hold", "until")
    if not isinstance(table.get("shadow", False), bool):
        raise where.error(f"shadow: expected true or false, found {table['shadow']!r}", "shadow")
    return _Rule(
        name=table["name"],
        place=where.place,
        predicate=check(table["when"], f"{where.of('when')}: when"),
        activity=activity,
        stage=stage,
        confidence=float(confidence),
        owner=table.get("owner"),
        since=since,
        until=until,
        shadow=table.get("shadow", False),
    )


def _date(table: dict[str, Any], key: str, where: _Where) -> date | None:
    day = table.get(key)
    if day is not None and (not isinstance(day, date) or isinstance(day, datetime)):
        raise where.error(f"{key}: expected a date without quotes such as 2026-10-01, found {day!r}", key)
    return day


def _word(table: dict[str, Any], key: str, known: Sequence[str], where: _Where) -> str | None:
    word = table.get(key)
    if word is None or word in known:
        return word
    raise where.error(f"{key}: found {word!r}{nearest(str(word), known)}; expected {', '.join(known)}", key)
