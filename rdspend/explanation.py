"""Explanations: from a figure to the jobs in it, from a job to why it was tagged so, and to the bill lines that paid for it.

Nothing is stored for this: a job's money is worked out once more from the same snapshot, with the same statements, on the nodes it
held and the bill lines that speak of them. What comes out has to be what was published; if it is not, that is an error.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

from rdspend.attribution import EARLIEST, LATEST, ShareRule, month_span, share_of_node
from rdspend.border import literal
from rdspend.breakdown import gpu_hours, money
from rdspend.config import authority
from rdspend.engine import Engine
from rdspend.errors import ConfigError, ConservationError
from rdspend.schema import ACTIVITIES, BUCKETS, GPU_PARTS, STAGES

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
        if kind == "bucket" and value not in BUCKETS or kind == "activity" and value not in ACTIVITIES:
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
    """The jobs (or, for a bucket, the parts) of a figure. The rows shown and the rest add up to the total."""

    target: Target
    total: Decimal
    jobs: tuple[JobRow, ...]
    parts: tuple[Part, ...]
    rows: int
    rest: Decimal


@dataclass(frozen=True)
class Answer:
    """One tagger's answer for the job. `won`: it decided the activity, or the stage."""

    tagger: str
    activity: str | None
    stage: str | None
    confidence: float
    evidence: str
    won: str


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
class JobExplanation:
    job: JobRow
    record: tuple[tuple[str, str], ...]
    answers: tuple[Answer, ...]
    placements: tuple[PlacementRow, ...]
    lines: tuple[BillLine, ...]
    cost: Decimal
    billed_cost: Decimal
    currency: str


def list_figure(engine: Engine, target: Target, limit: int, currency: str) -> Listing:
    """The jobs or parts behind a figure. Wants `open_views` and `job_money` of the breakdown."""
    if target.kind == "bucket" and target.value != "unclassified":
        return _list_bucket(engine, target, limit, currency)
    condition, values = {
        "activity": ("category = ?", [target.value]),
        "bucket": ("category = ?", [target.value]),
        "stage": ("stage = ?", [target.value]),
        "team": ("team = ?", [target.value]),
        "cluster": ("m.cluster = ?", [target.value]),
        "day": ("true", []),
    }[target.kind]
    source = "job_money AS m"
    cost, parts = "effective", "gpu_part_seconds"
    if target.kind == "day":
        day = literal(target.value)
        source = (
            f"job_money AS m JOIN (SELECT job_key, sum(effective_cost_nanos) AS day_effective FROM attributions WHERE day = {day} "
            f"AND billing_currency = {literal(currency)} AND job_key IS NOT NULL GROUP BY job_key) AS a USING (job_key) LEFT JOIN (SELECT job_key, sum(gpu_part_seconds) AS "
            f"day_parts FROM occupancy WHERE day = {day} GROUP BY job_key) AS o USING (job_key)"
        )
        cost, parts = "day_effective", "COALESCE(day_parts, 0)"
    rows = engine.rows(
        f"SELECT job_key, name, team, category, stage, outcome, {cost} AS cost, {parts} AS parts FROM {source} WHERE {condition} "
        f"ORDER BY cost DESC, parts DESC, job_key LIMIT {int(limit)}",
        values,
    )
    count, total = engine.rows(f"SELECT count(*), COALESCE(sum({cost}), 0) FROM {source} WHERE {condition}", values)[0]
    jobs = tuple(_job_row(row) for row in rows)
    return Listing(target, money(total), jobs, (), int(count), money(total) - sum((j.cost for j in jobs), Decimal(0)))


def _job_row(row: Sequence[Any]) -> JobRow:
    key, name, team, category, stage, outcome, cost, parts = row[:8]
    return JobRow(key, name, team, category, stage, outcome, money(cost), gpu_hours(parts))


def _list_bucket(engine: Engine, target: Target, limit: int, currency: str) -> Listing:
    """Idle by cluster and day; shared and bill-idle by service, with the largest bill rows of each."""
    if target.value == "idle":
        rows = engine.rows(
            "SELECT cluster || ' ' || day, sum(effective_cost_nanos), string_agg(DISTINCT source, ', ' ORDER BY source) "
            f"FROM attributions WHERE bucket = 'idle' AND billing_currency = {literal(currency)} GROUP BY 1 ORDER BY 2 DESC, 1 LIMIT {int(limit)}"
        )
        parts = tuple(Part(label, money(cost), f"node money of {sources} that no job took") for label, cost, sources in rows)
    else:
        unused = "COALESCE(commitment_discount_status = 'Unused', false) OR COALESCE(capacity_reservation_status = 'Unused', false)"
        mine = unused if target.value == "bill_idle" else f"NOT ({unused})"
        rows = engine.rows(
            "WITH largest AS (SELECT COALESCE(service_name, '') AS service, origin_file || ':' || origin_row || ' (' || "
            "COALESCE(charge_description, charge_category) || ')' AS line, effective_cost_nanos, row_number() OVER ("
            f"PARTITION BY service_name ORDER BY effective_cost_nanos DESC, origin_file, origin_row) AS place FROM charges WHERE {mine} "
            f"AND billing_currency = {literal(currency)} AND COALESCE(resource_id, '') NOT IN (SELECT resource_id FROM nodes WHERE resource_id IS NOT NULL UNION ALL "
            "SELECT pool FROM nodes WHERE pool IS NOT NULL UNION ALL SELECT resource_id FROM jobs WHERE resource_id IS NOT NULL)), "
            "named AS (SELECT service, string_agg(line, '; ' ORDER BY place) AS lines FROM largest WHERE place <= 3 GROUP BY service) "
            "SELECT a.service, a.cost, COALESCE(named.lines, '') FROM (SELECT COALESCE(service, '') AS service, "
            "sum(effective_cost_nanos) AS cost FROM attributions WHERE bucket = ? AND billing_currency = ? GROUP BY 1) AS a LEFT JOIN named USING (service) "
            f"ORDER BY a.cost DESC, a.service LIMIT {int(limit)}",
            [target.value, currency],
        )
        parts = tuple(Part(label or "(no service)", money(cost), f"largest rows: {lines}") for label, cost, lines in rows)
    count, total = engine.rows(
        "SELECT count(DISTINCT CASE WHEN bucket = 'idle' THEN cluster || ' ' || day ELSE service END), "
        "COALESCE(sum(effective_cost_nanos), 0) FROM attributions WHERE bucket = ? AND billing_currency = ?",
        [target.value, currency],
    )[0]
    return Listing(target, money(total), (), parts, int(count), money(total) - sum((p.cost for p in parts), Decimal(0)))


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
    engine: Engine, text: str, share_rule: ShareRule, currency: str, attributed_at: Mapping[str, int]
) -> JobExplanation:
    """One job, all the way to the bill. Wants `open_views` and `job_money`; leaves the engine's views narrowed to the job.

    attributed_at  for each month of the period, the second up to which its open jobs were counted
    """
    key = find_job(engine, text)
    job = engine.rows(
        "SELECT job_key, name, team, category, stage, outcome, effective, gpu_part_seconds, billed FROM job_money WHERE job_key = ?",
        [key],
    )
    if not job:
        raise ConfigError(f"job {key!r} neither cost anything nor held a GPU in {', '.join(attributed_at)}")
    *_, effective, _, billed = job[0]
    record = _record(engine, key)
    answers = _answers(engine, key)
    placements = _placements(engine, key)
    _narrow(engine, key)
    lines = tuple(
        line for month, now in attributed_at.items() for line in _bill_lines(engine, key, month, share_rule, currency, now)
    )
    total = sum((line.part for line in lines), Decimal(0))
    billed_total = sum((line.billed_part for line in lines), Decimal(0))
    if total != money(effective) or billed_total != money(billed):
        raise ConservationError(
            f"job {key!r}: its bill lines add up to {total} (billed {billed_total}), published was {money(effective)} "
            f"(billed {money(billed)}); they must be equal"
        )
    return JobExplanation(_job_row(job[0]), record, answers, placements, lines, money(effective), money(billed), currency)


def _record(engine: Engine, key: str) -> tuple[tuple[str, str], ...]:
    columns = (
        "cluster, job_id, origin_file || ':' || origin_row AS record, \"user\", account, project, queue, qos, name, command, "
        "work_dir, strftime(timezone('UTC', submit_time), '%Y-%m-%dT%H:%M:%SZ') AS submitted, "
        "strftime(timezone('UTC', start_time), '%Y-%m-%dT%H:%M:%SZ') AS started, "
        "COALESCE(strftime(timezone('UTC', end_time), '%Y-%m-%dT%H:%M:%SZ'), 'still runs') AS ended, outcome, exit_code, gpu_type, node_count"
    )
    cursor = engine.connection.execute(f"SELECT {columns} FROM jobs WHERE job_key = ?", [key])
    names = [d[0] for d in cursor.description]
    return tuple((n, str(v)) for n, v in zip(names, cursor.fetchall()[0], strict=True) if v is not None)


def _answers(engine: Engine, key: str) -> tuple[Answer, ...]:
    rows = engine.rows("SELECT tagger, activity, stage, confidence, evidence FROM tags WHERE job_key = ?", [key])
    rows.sort(key=lambda row: (authority(row[0]), row[0]))
    activity = next((r[0] for r in rows if r[1] is not None), None)
    stage = next((r[0] for r in rows if r[2] is not None), None)

    def won(tagger: str) -> str:
        return " and ".join(w for w, winner in (("activity", activity), ("stage", stage)) if winner == tagger)

    return tuple(Answer(t, act, st, confidence, evidence, won(t)) for t, act, st, confidence, evidence in rows)


def _placements(engine: Engine, key: str) -> tuple[PlacementRow, ...]:
    rows = engine.rows(
        "SELECT t.node, string_agg(DISTINCT n.resource_id, ', '), strftime(timezone('UTC', any_value(t.start_time)), '%Y-%m-%dT%H:%M:%SZ'), "
        "COALESCE(strftime(timezone('UTC', any_value(t.end_time)), '%Y-%m-%dT%H:%M:%SZ'), 'still runs'), any_value(t.gpu_parts) "
        "FROM placements AS t LEFT JOIN nodes AS n ON n.cluster = t.cluster AND n.node = t.node "
        "AND COALESCE(n.start_time, TIMESTAMPTZ '0001-01-01 00:00:00Z') < COALESCE(t.end_time, TIMESTAMPTZ '9999-01-01 00:00:00Z') "
        "AND COALESCE(n.end_time, TIMESTAMPTZ '9999-01-01 00:00:00Z') > t.start_time "
        "WHERE t.job_key = ? GROUP BY t.node ORDER BY t.node",
        [key],
    )
    return tuple(PlacementRow(node, res, start, end, _gpus(parts)) for node, res, start, end, parts in rows)


def _gpus(parts: int) -> str:
    whole, rest = divmod(int(parts), GPU_PARTS)
    return str(whole) if not rest else f"{parts}/{GPU_PARTS}"


def _narrow(engine: Engine, key: str) -> None:
    """Only the job's nodes (and all nodes of their pools), what ran there, and the charges that name them."""
    engine.execute(
        "CREATE OR REPLACE TEMP TABLE near AS WITH mine AS (SELECT DISTINCT n.* FROM nodes AS n JOIN placements AS t "
        f"ON t.cluster = n.cluster AND t.node = n.node WHERE t.job_key = {literal(key)}) "
        "SELECT * FROM mine UNION SELECT n.* FROM nodes AS n WHERE n.pool IN (SELECT pool FROM mine) "
        # Other records of the same resource: a line of it is spread over all of them.
        "UNION SELECT n.* FROM nodes AS n WHERE n.resource_id IN (SELECT resource_id FROM mine)"
    )
    engine.execute(
        f"CREATE OR REPLACE TEMP TABLE near_placements AS SELECT t.* FROM placements AS t WHERE t.job_key = {literal(key)} "
        "OR (t.cluster, t.node) IN (SELECT (cluster, node) FROM near)"
    )
    engine.execute(
        "CREATE OR REPLACE TEMP TABLE near_jobs AS SELECT * FROM jobs WHERE job_key IN (SELECT job_key FROM near_placements) "
        f"OR job_key = {literal(key)} OR resource_id IN (SELECT resource_id FROM jobs WHERE job_key = {literal(key)})"
    )
    engine.execute(
        "CREATE OR REPLACE TEMP TABLE near_charges AS SELECT * FROM charges WHERE (basis = 'billed' AND resource_id IN ("
        "SELECT resource_id FROM near WHERE resource_id IS NOT NULL UNION ALL SELECT pool FROM near WHERE pool IS NOT NULL "
        f"UNION ALL SELECT resource_id FROM jobs WHERE job_key = {literal(key)} AND resource_id IS NOT NULL)) "
        "OR (basis = 'estimated' AND resource_name IN (SELECT cluster || '/' || node FROM near))"
    )
    for table in ("nodes", "placements", "jobs", "charges"):
        source = "near" if table == "nodes" else f"near_{table}"
        engine.execute(f"CREATE OR REPLACE TEMP VIEW {table} AS SELECT * FROM {source}")


def _bill_lines(
    engine: Engine, key: str, month: str, share_rule: ShareRule, currency: str, now: int
) -> tuple[BillLine, ...]:
    engine.execute(
        f"CREATE OR REPLACE TEMP VIEW charges AS SELECT * FROM near_charges WHERE billing_period = {literal(month)}"
    )
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
    keyed = "(SELECT c.*, line_key.k AS k FROM charges AS c JOIN line_key USING (source, billing_period, billing_currency, basis))"
    engine.run("spread_line", key="k", charges=f"(SELECT * FROM {keyed} WHERE basis = 'billed')", which="true")
    engine.run("spread_node")
    engine.run("spread_day")
    engine.execute(
        "CREATE OR REPLACE TEMP TABLE estimate_line AS SELECT -row_number() OVER () AS l, k, origin_file, origin_row, "
        "epoch_us(charge_period_start) // 1000000 AS s, epoch_us(charge_period_end) // 1000000 AS e, effective_cost_nanos AS cost, "
        f"resource_name FROM {keyed} WHERE basis = 'estimated'"
    )
    engine.run("spread_estimate")
    num, den = share_of_node(share_rule)
    engine.run("piece", times, num=num, den=den)
    engine.run("crowded")
    engine.run("rescaled")
    engine.run("share_piece")
    j = engine.value("SELECT j FROM job WHERE job_key = ?", [key])
    engine.run("explained_hour", {"j": j})
    rows = engine.rows(
        "WITH part AS ("
        "SELECT l, k, count(*) AS hours, sum(taken) AS part, sum(taken_billed) AS billed_part, min(held) AS held, max(held) AS held_most, "
        "min(num) AS num, min(whole) AS whole, max(whole) AS whole_most, sum(effective) AS in_hours FROM explained_hour GROUP BY l, k "
        "UNION ALL SELECT l, k, 0, sum(effective), sum(billed), NULL, NULL, NULL, NULL, NULL, NULL "
        "FROM spread_day WHERE j = $j GROUP BY l, k), "
        "line AS (SELECT l, origin_file, origin_row, s, e, resource_id AS resource, effective FROM spread_line "
        "UNION ALL SELECT l, origin_file, origin_row, s, e, resource_name, cost FROM estimate_line) "
        "SELECT key.source, line.origin_file, line.origin_row, key.basis, line.resource, line.s, line.e, line.effective, part.part, "
        "part.billed_part, part.hours, part.held, part.held_most, part.num, part.whole, part.whole_most, part.in_hours "
        "FROM part JOIN line USING (l) JOIN line_key AS key ON key.k = part.k WHERE key.billing_currency = $currency "
        "AND (part.part <> 0 OR part.billed_part <> 0) ORDER BY line.s, line.origin_file, line.origin_row, line.resource",
        {"j": j, "currency": currency},
    )
    return tuple(_bill_line(row, currency) for row in rows)


def _bill_line(row: Sequence[Any], currency: str) -> BillLine:
    source, file, number, basis, resource, s, e, cost, part, billed, hours, held, held_most, num, whole, whole_most, inside = row
    if not hours:
        arithmetic = "billed for the job itself"
    elif hours == 1:
        arithmetic = f"{_plain(inside)} x {int(held)} s x {int(num)} / {int(whole)} = {_plain(part)}"
    else:
        seconds = str(int(held)) if held == held_most else f"{int(held)} to {int(held_most)}"
        wholes = str(int(whole)) if whole == whole_most else f"{int(whole)} to {int(whole_most)}"
        arithmetic = f"{_plain(inside)} in {hours} node hours x {seconds} s x {int(num)} / {wholes} each = {_plain(part)}"
    return BillLine(
        source, file, int(number), basis, resource or "", _instant(s), _instant(e), money(cost), money(part), money(billed), int(hours), arithmetic
    )


def _plain(nanos: int) -> str:
    return f"{money(nanos):.9f}"


def _instant(seconds: int) -> str:
    return datetime.fromtimestamp(int(seconds), UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
