"""Release lineage: which jobs, or segments of jobs, a published model descends from.

A release names jobs, tracked runs, models, checkpoints or datasets (CLAIM_KINDS). What comes out are its claims: a job, what it
was to the release, and how the release comes to it. Final training is nothing else: a run that a released model descends from.

Only jobs that started before the release can be behind it. A release without a date is not released yet and claims nothing; one
that was withdrawn before anybody had it claims its runs as superseded. What a release names and no job answers to is a finding,
and so is every name that could be two things: nothing is guessed.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from graphlib import CycleError, TopologicalSorter
from itertools import pairwise
from typing import Any, Final

from rdspend.border import literal
from rdspend.engine import Engine
from rdspend.errors import BadRecord, ConfigError
from rdspend.file_use import data_of, does, full_path, place_of, step_of, upper
from rdspend.policy import DEFAULTS
from rdspend.schema import CLAIM_KINDS, ROLES, STAGES

MICROS = 1_000_000


@dataclass(frozen=True)
class Unmatched:
    """What a release names and no claim came of. `month`: of the release's date."""

    release: str
    month: str
    at: str
    kind: str
    value: str
    why: str

    @property
    def words(self) -> str:
        return f"{self.at}: {self.kind} {self.value!r}: {self.why}"


@dataclass(frozen=True)
class Resolved:
    """What came of the releases: how many claim something, and what of them led nowhere. Claims are in the table `claim`."""

    releases: int = 0
    unmatched: tuple[Unmatched, ...] = ()


def resolve(engine: Engine, now: float) -> Resolved:
    """Table `claim` (columns of CLAIMS) for all jobs of the ledger.

    Wants the views `releases`, `tracked_runs`, `artifacts`, `every_job` (jobs) and `said_file`, what they say (file_uses). now:
    epoch seconds; a release that is not due yet claims nothing. Raises ConfigError for a circle of checkpoints, or a release
    that two sources tell.
    """
    rows = _named(engine, now)
    engine.run("named_claim", {"claims": json.dumps(rows, ensure_ascii=False)})
    engine.run("lineage_job")
    named = {row["row"]: _has_name(row) for row in rows if row["kind"] == "jobs"}
    patterns = ", ".join(f"CASE WHEN {has_name} THEN {row} END" for row, has_name in named.items()) or "NULL"
    engine.run("direct_match", patterns=f"[{patterns}]", any_pattern=" OR ".join(named.values()) or "false")
    engine.run("doubtful")
    engine.run("direct_claim")
    _find_files(engine)
    _walk(engine)
    engine.run("lost_part")
    engine.run("evaluated", does=does("name", "command"))
    engine.run("said_claim")
    engine.run("more_lost")
    engine.run("claim_part")
    engine.run("claim", activity=_activity())
    found = Resolved(len({row["release"] for row in rows}), tuple(_unmatched(engine, rows)))
    for table in WORK:
        engine.execute(f"DROP TABLE IF EXISTS {table}")
    return found


WORK: Final = (
    *("named_claim", "lineage_job", "direct_match", "doubtful", "direct_claim", "tracked_job", "file_use"),
    *("lineage_node", "named_run", "chain", "read_edge", "doubtful_read", "named_chain", "ancestor", "walked"),
    *(
        "written",
        "seeker",
        "onlooker",
        "data_read",
        "data_written",
        "data_source",
        "lost_part",
        "evaluated",
        "said_claim",
        "claim_part",
    ),
)


# --- the walk back ----------------------------------------------------------------------------------------------------


def _find_files(engine: Engine) -> None:
    """Who read and wrote what: tables `file_use`, `lineage_node`, `chain`, `written`, `data_read` and `data_written`."""
    engine.run("tracked_job")
    engine.run(
        "file_use",
        tracked_path=full_path("uri", "cluster", "work_dir"),
        place=place_of("path"),
        data=data_of("path"),
        step=step_of("path"),
    )
    engine.run("lineage_node")
    engine.run("chain", does=does("name", "command"))
    engine.run("written")
    engine.run("data_read", upper=upper(2))
    engine.run("data_written")


def _walk(engine: Engine) -> None:
    """Tables `ancestor` and `walked`: all runs behind each release, level by level; then `data_source`: the data they read."""
    engine.execute(f"CREATE OR REPLACE TEMP TABLE read_edge ({READ_EDGE})")
    engine.execute(f"CREATE OR REPLACE TEMP TABLE walked ({WALKED})")
    engine.run("named_run")
    engine.run("ancestor")
    _read_back(engine, 0)
    engine.run("doubtful_read")
    engine.execute("DELETE FROM ancestor WHERE node IN (SELECT 'claim:' || row FROM doubtful_read)")
    engine.run("named_chain")
    level, known = 0, -1
    while (now := int(engine.value("SELECT count(*) FROM ancestor"))) > known:
        _read_back(engine, level)
        engine.run("walked", {"level": level})
        engine.run("more_ancestors", {"level": level})
        level, known = level + 1, now
    _refuse_circles(engine)
    engine.run("onlooker", upper=upper(3))
    engine.execute("CREATE OR REPLACE TEMP TABLE seeker AS FROM onlooker")
    engine.run("read_edge", upper=upper(3))
    engine.run("data_source")
    level, known = 0, -1
    while (now := int(engine.value("SELECT count(*) FROM data_source"))) > known:
        engine.run("more_data", {"level": level})
        level, known = level + 1, now


def _read_back(engine: Engine, level: int) -> None:
    """More rows of `read_edge`: what the nodes of a level read."""
    engine.run("seeker", {"level": level})
    engine.run("read_edge", upper=upper(3))


READ_EDGE: Final = (
    'node VARCHAR, path VARCHAR, said VARCHAR, confidence DOUBLE, place VARCHAR, chain BIGINT, ord BIGINT, "at" BIGINT, '
    "worse BIGINT"
)
WALKED: Final = (
    "release VARCHAR, place VARCHAR, chain BIGINT, upto BIGINT, cut BIGINT, whole BOOLEAN, confidence DOUBLE, "
    "evidence VARCHAR, level BIGINT"
)


def _refuse_circles(engine: Engine) -> None:
    """Weights that descend from themselves: some record is wrong, and the user has to say which."""
    edges = engine.read("backward_edge")
    for release in sorted({row[0] for row in edges if row[4]}):
        sorter: TopologicalSorter[str] = TopologicalSorter()
        paths: dict[tuple[str, str], str] = {}
        for _, reader, writer, path, _ in (row for row in edges if row[0] == release):
            sorter.add(reader, writer)
            paths[reader, writer] = path
        try:
            sorter.prepare()
        except CycleError as error:
            circle: list[str] = error.args[1]
            steps = [f"{reader} read {paths[reader, writer]} of {writer}" for writer, reader in pairwise(circle)]
            raise ConfigError(
                f"release {release!r}: its checkpoints come from themselves: {'; '.join(steps)}; a checkpoint can't be "
                "older than itself: name the jobs it came from, and correct what one of these says that it read or wrote"
            ) from None


# --- what releases name -----------------------------------------------------------------------------------------------


def _named(engine: Engine, now: float) -> list[dict[str, Any]]:
    """A row for each thing that a release of the past names; there are few."""
    rows: list[dict[str, Any]] = []
    told: dict[str, str] = {}
    for source, file, release, released, withdrawn, lineage in engine.rows(
        "SELECT source, origin_file, release, epoch_us(released_at), withdrawn_at IS NOT NULL, lineage FROM releases "
        "ORDER BY release, source, origin_file"
    ):
        if release in told:
            raise ConfigError(f"{file}: release {release!r} is told by {told[release]} and {source}; take one of them out")
        told[release] = source
        if released is None or released > now * MICROS:
            continue
        whole = {"release": release, "withdrawn": bool(withdrawn), "released": int(released)}
        for number, claim in enumerate(_claims(lineage, f"{file}: release {release!r}"), 1):
            rows += [
                {**whole, **claim, "claim": number, "value": value, "row": len(rows) + n} for n, value in enumerate(claim["of"])
            ]
    return rows


def _claims(lineage: str, where: str) -> Iterable[dict[str, Any]]:
    """The claims of one release, checked: they may come from any collector."""
    try:
        claims = json.loads(lineage)
    except ValueError as error:
        raise BadRecord(f"{where}: lineage is not JSON: {error}") from None
    if not isinstance(claims, list) or not all(isinstance(claim, dict) for claim in claims):
        raise BadRecord(f"{where}: lineage: expected a list of claims")
    for number, claim in enumerate(claims, 1):
        at = claim.get("at") or f"{where}: claim {number}"
        role, stage, of = (
            claim.get("role") or ("data" if claim.get("kind") == "dataset" else "run"),
            claim.get("stage"),
            claim.get("of"),
        )
        known: tuple[tuple[str, Any, Collection[str]], ...] = (
            ("kind", claim.get("kind"), CLAIM_KINDS),
            ("role", role, ROLES),
            ("stage", stage or "other", STAGES),
        )
        for key, found, words in known:
            if found not in words:
                raise BadRecord(f"{at}: {key}: found {found!r}; expected one of {', '.join(words)}")
        if not isinstance(of, list) or not of or not all(isinstance(value, str) and value for value in of):
            raise BadRecord(f"{at}: of: found {of!r}; expected a list of texts")
        times = {ours: _micros(claim, key, at) for key, ours in TIMES.items()}
        narrow = {key: claim.get(key) for key in ("kind", "cluster", "user", "account", "experiment")}
        lists = {"keep": claim.get("keep"), "but": claim.get("except")}
        yield {
            **narrow,
            **times,
            **lists,
            "of": of,
            "role": role,
            "stage": stage,
            "weight": int(claim.get("weight") or 1),
            "at": at,
        }


TIMES: Final = {"since": "since", "until": "until", "from": "first", "to": "last"}


def _micros(claim: Mapping[str, Any], key: str, at: str) -> int | None:
    text = claim.get(key)
    if text is None:
        return None
    try:
        when = datetime.fromisoformat(text)
    except (TypeError, ValueError):
        raise BadRecord(f"{at}: {key}: found {text!r}; expected a time in ISO 8601") from None
    if when.tzinfo is None:
        raise BadRecord(f"{at}: {key}: found {text!r}; expected a time with a zone")
    return round(when.astimezone(UTC).timestamp()) * MICROS


def _has_name(row: Mapping[str, Any]) -> str:
    """SQL: whether a job's name has a row's pattern, a glob or a regular expression between slashes."""
    pattern: str = row["value"]
    if len(pattern) > 2 and pattern[0] == pattern[-1] == "/":
        return f"regexp_matches(name, {literal(pattern[1:-1])})"
    # The ordinary glob by itself: ten times as fast.
    if pattern[-1] == "*" and not set(pattern[:-1]) & set("*?[\\"):
        return f"starts_with(name, {literal(pattern[:-1])})"
    return f"name GLOB {literal(pattern)}"


# --- what comes out ---------------------------------------------------------------------------------------------------


def _activity() -> str:
    """SQL of what a role is, as the default policy has it."""
    return "CASE now " + " ".join(f"WHEN {literal(role)} THEN {literal(DEFAULTS[role])}" for role in ROLES) + " END"


def _unmatched(engine: Engine, rows: Iterable[Mapping[str, Any]]) -> Iterable[Unmatched]:
    matched = {row for (row,) in engine.read("matched_claim")}
    doubtful = {row: f"{jobs} jobs have it: {named}; name one by its key" for row, jobs, named in engine.rows("FROM doubtful")}
    doubtful |= {row: f"it is there as {named}; say which `cluster`" for row, named in engine.rows("FROM doubtful_read")}
    for row in rows:
        if row["row"] not in matched:
            month = f"{datetime.fromtimestamp(row['released'] // MICROS, UTC):%Y-%m}"
            why = doubtful.get(row["row"], WITHOUT[row["kind"]])
            yield Unmatched(row["release"], month, row["at"], row["kind"], row["value"], why)


WITHOUT: Final = {
    "job": "no job that started before the release has it",
    "jobs": "no job that started before the release has such a name",
    "run": "no tracked run of that id, or only one of that name, is a job of the ledger",
    "model": "no run is known that wrote it",
    "checkpoint": "no job or run is known that wrote it before the release",
    "dataset": "no job or run is known that wrote it before the release",
}
