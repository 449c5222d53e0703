"""Explanations: from a figure to the jobs in it, from a job to why it was tagged so, and to the bill lines that paid for it.

Nothing is stored for this: a job's money is worked out once more from the same snapshot, with the same statements, on the
nodes it held and the bill lines that speak of them. What comes out
has to be what was published; if it is not, that is an error.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

from rdspend.attribution import ShareRule, month_span, share_of_node
from rdspend.breakdown import MICROS, gpu_hours, money, open_views
from rdspend.config import authority
from rdspend.engine import Engine
from rdspend.errors import ConfigError, ConservationError
from rdspend.ledger import Snapshot
from rdspend.period import EARLIEST, LATEST, Period
from rdspend.schema import ACTIVITIES, BUCKETS, GPU_PARTS, STAGES, Line, Policy

KINDS = ("activity", "bucket", "stage", "team", "cluster", "day", "job")


@dataclass(frozen=True)
class Target:
    """What is to be explained: `team:vision`, `day:2026-10-05`, `final_training`, a job's key or id."""

    kind: str
    value: str


def parse_target(text: str) -> Target:
    """Kinds may be written out (`team:vision`); activities, buckets and days are known by themselves; all else is a job."""
    kind, colon, value = text.partition(":")
    if colon and kind in KINDS:
        if (kind == "bucket" and value not in BUCKETS) or (kind == "activity" and value not in ACTIVITIES):
            known = BUCKETS if kind == "bucket" else ACTIVITIES
            raise ConfigError(f"{kind}: found {value!r}; expected one of {', '.join(known)}")
        if kind == "stage" and value not in STAGES:
            raise ConfigError(f"stage: found {value!r}; expected one of {', '.join(STAGES)}")
        return Target(kind, value)
    if text in ACTIVITIES:
        return Target("activity", text)
    if text in BUCKETS:
        return Target("bucket", text)
    try:
        return Target("day", datetime.strptime(text, "%Y-%m-%d").replace(tzinfo=UTC).strftime("%Y-%m-%d"))
    except ValueError:
        return Target("job", text)


@dataclass(frozen=True)
class JobRow:
    job_key: str
    name: str
    team: str
    category: str
    stage: str
    outcome: str
    cost: Decimal
    gpu_hours: Decimal


@dataclass(frozen=True)
class Part:
    """Part of a bucket: what it is of, and bill rows behind it."""

    label: str
    cost: Decimal
    detail: str


@dataclass(frozen=True)
class Listing:
    """The jobs (or, for a bucket, the parts) of a figure. The rows shown and the rest add up to the total.

    borne  what of the total is idle or shared money that the policy has these jobs bear
    note   where the report has the money of a bucket that its policy spreads
    """

    target: Target
    total: Decimal
    jobs: tuple[JobRow, ...]
    parts: tuple[Part, ...]
    rows: int
    rest: Decimal
    borne: Decimal = Decimal(0)
    note: str = ""


@dataclass(frozen=True)
class Answer:
    """One tagger's answer for the job, or for a segment of it. One that abstains may tell chances.

    won              it decided the activity, the stage, or (agreeing with the winner) the release, in some part of the segment
    role, release    what the job was to a release; "" for none
    start, end       of the segment; "" for the job's own
    why              who won, and why
    """

    tagger: str
    activity: str | None
    stage: str | None
    confidence: float
    evidence: str
    won: str
    chances: str = ""
    role: str = ""
    release: str = ""
    start: str = ""
    end: str = ""
    why: str = ""


@dataclass(frozen=True)
class PlacementRow:
    node: str
    resource_id: str | None
    start: str
    end: str
    gpus: str


@dataclass(frozen=True)
class BillLine:
    """One bill line that paid for the job: its cost, and the part of it that reached this job.

    hours       node hours of it the job held something in
    arithmetic  how the part came about, in figures
    """

    source: str
    file: str
    row: int
    basis: str
    resource: str
    start: str
    end: str
    cost: Decimal
    part: Decimal
    billed_part: Decimal
    hours: int
    arithmetic: str


@dataclass(frozen=True)
class JobPart:
    """A stretch of a job that answers cut, what it went to, and its part of the cost. `end` is empty while the job runs."""

    start: str
    end: str
    category: str
    stage: str
    role: str
    release: str
    cost: Decimal
    billed_cost: Decimal
    gpu_hours: Decimal


@dataclass(frozen=True)
class JobExplanation:
    """A job, and what paid for it.

    parts  of a job that answers cut: they add up to it; empty for one that went to one thing as a whole
    borne  what of its cost is idle or shared money that the policy has it bear: no line is
    """

    job: JobRow
    record: tuple[tuple[str, str], ...]
    answers: tuple[Answer, ...]
    placements: tuple[PlacementRow, ...]
    lines: tuple[BillLine, ...]
    cost: Decimal
    billed_cost: Decimal
    currency: str
    borne: Decimal = Decimal(0)
    billed_borne: Decimal = Decimal(0)
    parts: tuple[JobPart, ...] = ()


def list_figure(engine: Engine, target: Target, limit: int, currency: str) -> Listing:
    """The jobs or parts behind a figure. Wants `open_views` and `job_money` of the breakdown."""
    if target.kind == "bucket" and target.value != "unclassified":
        return _list_bucket(engine, target, limit, currency)
    rows = engine.read(
        "listed_jobs",
        {"value": target.value, "day": target.value, "currency": currency, "limit": limit},
        source="of_day" if target.kind == "day" else "of_period",
        condition=CONDITIONS[target.kind],
    )
    jobs = tuple(_job_row(row) for row in rows)
    count, total, borne = (int(rows[0][8]), money(rows[0][9]), money(rows[0][10])) if rows else (0, Decimal(0), Decimal(0))
    return Listing(target, total, jobs, (), count, total - sum((j.cost for j in jobs), Decimal(0)), borne)


CONDITIONS = {
    "activity": "category = $value",
    "bucket": "category = $value",
    "stage": "stage = $value",
    "team": "team = $value",
    "cluster": "cluster = $value",
    "day": "true",
}


def _job_row(row: Sequence[Any]) -> JobRow:
    key, name, team, category, stage, outcome, cost, parts = row[:8]
    return JobRow(key, name, team, category, stage, outcome, money(cost), gpu_hours(parts))


def _list_bucket(engine: Engine, target: Target, limit: int, currency: str) -> Listing:
    """Idle by cluster and day; shared and bill-idle by service, with the largest bill rows of each."""
    named = "listed_idle" if target.value == "idle" else "listed_services"
    rows = engine.read(named, {"bucket": target.value, "currency": currency, "limit": limit})
    parts = tuple(Part(label, money(cost), detail) for label, cost, detail, _, _ in rows)
    count, total = (int(rows[0][3]), money(rows[0][4])) if rows else (0, Decimal(0))
    return Listing(target, total, (), parts, count, total - sum((p.cost for p in parts), Decimal(0)))


def spread_note(policy: Policy, spread: Line) -> str:
    """Where the report has the money of a bucket that its policy spreads."""
    return f"The policy {policy.name} has the jobs bear {spread.cost} of it: the report has that in their lines."


def find_job(engine: Engine, text: str) -> str:
    """The key of the one job that `text` names by key or by scheduler id. Raises ConfigError for none, or for several."""
    keys = [
        k
        for (k,) in engine.rows(
            "SELECT job_key FROM jobs WHERE job_key = ? OR job_id = ? ORDER BY job_key LIMIT 20", [text, text]
        )
    ]
    if text in keys:
        return text
    if not keys:
        raise ConfigError(f"job {text!r}: the period has no job with this key or id")
    if len(keys) > 1:
        raise ConfigError(f"job {text!r}: several runs have this id: {', '.join(keys)}; name one of them")
    return str(keys[0])


def explain_job(
    engine: Engine, text: str, share_rule: ShareRule, currency: str, attributed: Mapping[str, Snapshot]
) -> JobExplanation:
    """One job, all the way to the bill. Wants `open_views` and `job_money`; leaves the engine's views narrowed to the job.

    attributed  for each month of the period, the ledger as the run that attributed it saw it
    """
    key = find_job(engine, text)
    job = engine.read("explained_job", {"job_key": key})
    if not job:
        raise ConfigError(f"job {key!r} neither cost anything nor held a GPU in {', '.join(attributed)}")
    *_, effective, _, billed, borne, billed_borne = job[0]
    parts = _parts(engine, key)
    record = _record(engine, key)
    answers = _answers(engine, key)
    placements = _placements(engine, key)
    lines: tuple[BillLine, ...] = ()
    for month, snapshot in attributed.items():
        open_views(engine, snapshot, Period(month, (month,)))
        _narrow(engine, key)
        counted_to = int(snapshot.run.started_at) if snapshot.run else 0
        lines += _bill_lines(engine, key, month, share_rule, currency, counted_to)
    total = sum((line.part for line in lines), Decimal(0))
    billed_total = sum((line.billed_part for line in lines), Decimal(0))
    own, billed_own = money(effective - borne), money(billed - billed_borne)
    if total != own or billed_total != billed_own:
        raise ConservationError(
            f"job {key!r}: its bill lines add up to {total} (billed {billed_total}), published was {own} "
            f"(billed {billed_own}); they must be equal"
        )
    cost = (money(effective), money(billed), currency, money(borne), money(billed_borne))
    return JobExplanation(_job_row(job[0]), record, answers, placements, lines, *cost, parts)


def _parts(engine: Engine, key: str) -> tuple[JobPart, ...]:
    if not engine.value("SELECT EXISTS (SELECT 1 FROM cut_job WHERE job_key = ?)", [key]):
        return ()
    rows = engine.read("explained_part", {"job_key": key}, latest=LATEST * MICROS)
    return tuple(
        JobPart(start, end, category, stage, role, release, money(cost), money(billed), gpu_hours(parts))
        for start, end, category, stage, role, release, cost, billed, parts in rows
    )


def _record(engine: Engine, key: str) -> tuple[tuple[str, str], ...]:
    (record,) = engine.records("job_record", {"job_key": key})
    return tuple((name, str(value)) for name, value in record.items() if value is not None)


def _answers(engine: Engine, key: str) -> tuple[Answer, ...]:
    """All answers, by authority. Between two borders of segments the first that says an activity decides it; so its stage.

    The release is decided by the first that names one and says the activity that won.
    """
    rows = engine.records("job_answers", {"job_key": key})
    rows.sort(key=lambda row: (authority(row["tagger"]), row["tagger"], row["since"]))
    borders = sorted({row[end] for row in rows for end in ("since", "until")})
    won: dict[int, set[str]] = {number: set() for number in range(len(rows))}
    over: dict[int, set[str]] = {number: set() for number in range(len(rows))}
    for low, high in itertools.pairwise(borders):
        here = [number for number, row in enumerate(rows) if row["since"] <= low and row["until"] >= high]
        for word in ("activity", "stage"):
            told = [number for number in here if rows[number][word] is not None]
            if told:
                won[told[0]].add(word)
            if told and word == "activity":
                same = [n for n in told if rows[n]["role"] is not None and rows[n]["activity"] == rows[told[0]]["activity"]]
                won.update({n: won[n] | {"release"} for n in same[:1]})
            for lost in told[1:]:
                over[lost].add(rows[told[0]]["tagger"])
    return tuple(_answer(row, won[number], over[number]) for number, row in enumerate(rows))


def _answer(row: Mapping[str, Any], won: set[str], over: set[str]) -> Answer:
    asked = ("activity", "stage") if "activity" in won else ("stage", "release")
    decided = " and ".join(word for word in asked if word in won)
    first = ", ".join(sorted(over, key=lambda tagger: (authority(tagger), tagger)))
    if decided:
        why = f"decides the {decided}" + (f"; {first} ranks before it in the rest" if first else "")
    elif row["activity"] is None and row["stage"] is None:
        why = "abstains"
    else:
        why = f"does not count: {first} ranks before it"
    said = {name: row[name] or "" for name in ("chances", "role", "release", "start", "end")}
    return Answer(row["tagger"], row["activity"], row["stage"], row["confidence"], row["evidence"], decided, **said, why=why)


def _placements(engine: Engine, key: str) -> tuple[PlacementRow, ...]:
    rows = engine.read("job_placements", {"job_key": key})
    return tuple(PlacementRow(node, res, start, end, _gpus(parts)) for node, res, start, end, parts in rows)


def _gpus(parts: int) -> str:
    whole, rest = divmod(int(parts), GPU_PARTS)
    return str(whole) if not rest else f"{parts}/{GPU_PARTS}"


def _narrow(engine: Engine, key: str) -> None:
    """Only the job's nodes (and all nodes of their pools), what ran there, and the charges that name them."""
    for table in ("nodes", "placements", "jobs", "charges"):
        engine.run(f"near_{table}", {"job_key": key})
    for table in ("nodes", "placements", "jobs", "charges"):
        engine.execute(f"CREATE OR REPLACE TEMP VIEW {table} AS SELECT * FROM near_{table}")


def _bill_lines(engine: Engine, key: str, month: str, share_rule: ShareRule, currency: str, now: int) -> tuple[BillLine, ...]:
    first, last = month_span(month)
    low = engine.value("SELECT min(epoch_us(charge_period_start)) // 1000000 FROM charges")
    high = engine.value("SELECT max(epoch_us(charge_period_end)) // 1000000 FROM charges")
    times = {
        "earliest": EARLIEST,
        "latest": LATEST,
        "now": now,
        "first": min(first, low if low is not None else first),
        "last": max(last, high if high is not None else last),
    }
    engine.run("span", times)
    engine.run("job", times)
    engine.run("resource")
    engine.run("line_key")
    billed = (
        "(SELECT * FROM charges JOIN line_key USING (source, billing_period, billing_currency, basis) WHERE basis = 'billed')"
    )
    engine.run("spread_line", key="k", charges=billed, which="true")
    engine.run("spread_node")
    engine.run("spread_day")
    engine.run("estimate_line")
    engine.run("spread_estimate")
    num, den = share_of_node(share_rule)
    engine.run("piece", times, num=num, den=den)
    engine.run("crowded")
    engine.run("rescaled")
    engine.run("share_piece")
    j = engine.value("SELECT j FROM job WHERE job_key = ?", [key])
    engine.run("explained_hour", {"j": j})
    return tuple(_bill_line(row) for row in engine.records("explained_line", {"j": j, "currency": currency}))


def _bill_line(row: Mapping[str, Any]) -> BillLine:
    return BillLine(
        source=row["source"],
        file=row["origin_file"],
        row=int(row["origin_row"]),
        basis=row["basis"],
        resource=row["resource"],
        start=_instant(row["s"]),
        end=_instant(row["e"]),
        cost=money(row["cost"]),
        part=money(row["part"]),
        billed_part=money(row["billed_part"]),
        hours=int(row["hours"]),
        arithmetic=_arithmetic(row),
    )


def _arithmetic(row: Mapping[str, Any]) -> str:
    """How the part came about. Several node hours, or several pieces of one, are said as such and not as one product."""
    inside, part = _plain(row["in_hours"]), _plain(row["part"])
    if not row["hours"]:
        return f"{part} billed for the job itself"

    def span(low: str, high: str) -> str:
        return str(int(row[low])) if row[low] == row[high] else f"{int(row[low])} to {int(row[high])}"

    product = f"{span('held', 'held_most')} s x {span('num', 'num_most')} / {span('whole', 'whole_most')}"
    if row["pieces"] > 1:
        return f"{inside} in {row['hours']} node hours, each in up to {row['pieces']} pieces of {product} = {part}"
    if row["hours"] > 1:
        return f"{inside} in {row['hours']} node hours x {product} each = {part}"
    return f"{inside} x {product} = {part}"


def _plain(nanos: int) -> str:
    return f"{money(nanos):.9f}"


def _instant(seconds: int) -> str:
    return datetime.fromtimestamp(int(seconds), UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
