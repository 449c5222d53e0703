"""Money to jobs: every nano of the charges goes to a job or to a named bucket, by day. Never looks at tags.

Four routes, first match wins, each line takes exactly one: the charge's resource is a *job*, a *node*, a *pool* of nodes, or
none of them (*shared*); a line that the bill itself calls unused is *bill_idle* before all of these. Node money is spread over
the hours in which the node was up, then over the placements of the hour by the share rule; what placements do not take is idle.

The one rounding rule: shares are cut toward zero to whole nanos, job by job and hour by hour, and what is cut stays with the
node's idle. A line spread over several hours or days takes differences of cut running totals, so its parts add up to the line.

Reads the relations charges, nodes, jobs, placements, rates of one connection, and other_charges: lines of other billing months
that may pay for hours of this one. Leaves attributions and occupancy there, where there are rates also estimate and
estimate_error.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any, Literal

from rdspend.border import identifier
from rdspend.engine import Engine
from rdspend.errors import ConfigError, ConservationError
from rdspend.estimates import compare
from rdspend.period import EARLIEST, LATEST, SECONDS_PER_DAY
from rdspend.schema import GPU_PARTS, INT64_MAX, SECONDS_PER_HOUR

ShareRule = Literal["gpu", "cpu", "dominant"]
SHARE_RULES: tuple[ShareRule, ...] = ("gpu", "cpu", "dominant")

DOMINANT_PARTS = 10**9
HOURS = range(24)


@dataclass(frozen=True)
class Finding:
    """Something a person should know about the period."""

    kind: str
    subject: str
    detail: str
    rows: int


@dataclass(frozen=True)
class Closing:
    """Both sides of one source, month, currency and basis, in nanos."""

    source: str
    billing_period: str
    currency: str
    basis: str
    charges: int
    attributed: int
    billed_charges: int
    billed_attributed: int

    @property
    def closes(self) -> bool:
        return self.charges == self.attributed and self.billed_charges == self.billed_attributed


@dataclass(frozen=True)
class Attributed:
    closings: tuple[Closing, ...]
    findings: tuple[Finding, ...]


def month_span(month: str) -> tuple[int, int]:
    """First and past-the-end epoch second of a month in UTC."""
    year, number = int(month[:4]), int(month[5:7])
    start = datetime(year, number, 1, tzinfo=UTC)
    end = datetime(year + number // 12, number % 12 + 1, 1, tzinfo=UTC)
    return int(start.timestamp()), int(end.timestamp())


def attribute(
    connection: Any,
    month: str,
    now: int,
    share_rule: ShareRule = "gpu",
    *,
    progress: Callable[[str], None] = lambda _: None,
) -> Attributed:
    """Attribute all rows of `charges`, and estimate the hours of `month` that no bill names where there are rates.

    now  epoch second up to which open jobs and nodes are counted

    Raises ConfigError for a node hour without a price or with two, ConservationError when the two sides differ.
    """
    engine = connection if isinstance(connection, Engine) else Engine(connection=connection)
    first, last = month_span(month)
    times = {"earliest": EARLIEST, "latest": LATEST, "now": now, "first": first, "last": last}

    engine.run("span", times)
    engine.run("job", times)
    _refuse_mixed_pools(engine)
    engine.run("resource")
    progress("bill to node hours")
    spread = _node_days(engine)
    window = _money_window(engine, times)
    progress("placements")
    num, den = share_of_node(share_rule)
    engine.run("piece", window, num=num, den=den)
    engine.run("crowded")
    engine.run("rescaled")
    engine.run("share_piece")
    compared = _estimate(engine, times)
    progress("money to jobs")
    _job_days(engine)
    engine.run("attributions", spread_too=_SPREAD_DAYS if spread else "", **UNPACKED)
    engine.run("occupancy", times)
    closings = _close(engine)
    return Attributed(closings, (*_findings(engine, window), *compared))


def _refuse_mixed_pools(engine: Engine) -> None:
    mixed = engine.rows(
        "SELECT pool FROM span WHERE pool IS NOT NULL GROUP BY pool "
        "HAVING count(*) FILTER (gpu_parts IS NULL) > 0 AND count(gpu_parts) > 0 ORDER BY 1"
    )
    if mixed:
        (pool,) = mixed[0]
        raise ConfigError(
            f"pool {pool!r}: some of its nodes have a known GPU count and some have none; "
            "its money can't be spread by capacity; give all of them one, or none"
        )


# The lines that slot.sql put into class 9, said once more.
NEEDS_SPREADING = """NOT (
    ((unused OR route IS NULL OR (route = 1 AND sole IS NOT NULL)) AND h // 24 = last_h // 24)
    OR COALESCE(
        route = 2 AND h = last_h AND sole IS NOT NULL AND NOT unused
        AND us < until * 1000000 AND last_us > since * 1000000, false
    )
)"""
_SPREAD_DAYS = """UNION ALL
    SELECT k, CASE class WHEN 1 THEN 'job' WHEN 4 THEN 'shared' WHEN 5 THEN 'bill_idle' ELSE 'node' END, d, j, cluster,
        CASE class WHEN 4 THEN 'shared' WHEN 5 THEN 'bill_idle' WHEN 6 THEN 'idle' END,
        CASE WHEN class IN (4, 5) THEN service END, effective, billed
    FROM spread_day"""


def _node_days(engine: Engine) -> bool:
    """The bill's pass. True when some lines had to be spread one by one."""
    engine.run("line_key")
    keys = engine.value("SELECT count(*) FROM line_key")
    joined = (
        "(SELECT c.*, line_key.k AS k FROM charges AS c JOIN line_key USING (source, billing_period, billing_currency, basis))"
    )
    source, key = ("charges", "1") if keys <= 1 else (joined, "k")
    engine.run(
        "slot",
        key=key,
        key_too="k, " if key == "k" else "",
        charges=source,
        packed=_packed("effective_cost_nanos", "billed_cost_nanos"),
        hours=_by_hour("h"),
    )
    engine.run("charge_sum", key=key, charges=source)
    billed = f"SELECT k, what AS n, d, v, {_names('v')} FROM slot WHERE class = 2"
    spread = bool(engine.value("SELECT count(*) FROM slot WHERE class = 9"))
    if spread:
        engine.run("spread_line", key=key, charges=source, which=NEEDS_SPREADING)
        engine.run("spread_node")
        engine.run("spread_day")
        _collect_days(engine, billed, "spread_node")
    else:
        engine.execute(f"CREATE OR REPLACE TEMP VIEW node_day AS {billed}")
    engine.run("node_hour", all_hours=_names("v"), **UNPACKED)
    return spread


def _collect_days(engine: Engine, known: str, hour_rows: str) -> None:
    """Rows by the hour added to the node days known so far."""
    packed = _packed("effective", "billed")
    engine.run("node_day", known=known, hour_rows=hour_rows, sums=_SUMS, hours=_by_hour("hour"), packed=packed)


# Two sums in one: effective money in the low 64 bits, billed minus effective above.
PACK = 2**64


def _packed(effective: str, billed: str) -> str:
    return f"(CAST({effective} AS HUGEINT) + (CAST({billed} AS HUGEINT) - {effective}) * {PACK})"


def _effective(v: str) -> str:
    """The low 64 bits of a packed sum, as a signed number."""
    low = f"({v} & {PACK - 1})"
    return f"CAST(CASE WHEN {low} >= {PACK // 2} THEN {low} - {PACK} ELSE {low} END AS BIGINT)"


def _billed(v: str) -> str:
    """Effective money and the difference above it; taking the low part away first makes the division exact."""
    effective = _effective(v)
    return f"CASE WHEN {_differs(v)} THEN CAST({effective} + ({v} - {effective}) // {PACK} AS BIGINT) ELSE {effective} END"


def _differs(v: str) -> str:
    return f"COALESCE({v} NOT BETWEEN {-PACK // 2} AND {PACK // 2 - 1}, false)"


UNPACKED: dict[str, Any] = {"effective": _effective("v"), "billed": _billed("v")}


def _by_hour(column: str) -> str:
    return ",\n    ".join(f"sum(v) FILTER ({column} = {i}) AS v{i}" for i in HOURS)


def _names(prefix: str) -> str:
    return ", ".join(f"{prefix}{i}" for i in HOURS)


_SUMS = ", ".join(f"sum(v{i}) AS v{i}" for i in HOURS)


def _money_window(engine: Engine, times: dict[str, int]) -> dict[str, int]:
    """The month, widened to every day a bill speaks of: a correction may pay for an hour of another month."""
    low, high = engine.rows("SELECT min(d), max(d) FROM node_day")[0]
    if low is None:
        return times
    first, last = int(low) * SECONDS_PER_DAY, (int(high) + 1) * SECONDS_PER_DAY
    return times | {"first": min(times["first"], first), "last": max(times["last"], last)}


def share_of_node(rule: ShareRule) -> tuple[str, str]:
    """SQL of a placement's share of its node: numerator, and a denominator that is one for all placements of the node."""
    no_gpu = "COALESCE(gpu_capacity, 0) = 0"
    no_cpu = "COALESCE(cpu_capacity, 0) = 0"
    if rule == "gpu":
        num = f"CASE WHEN {no_gpu} THEN COALESCE(cpus, 0) ELSE gpu_parts END"
        den = f"CASE WHEN {no_gpu} THEN greatest(COALESCE(cpu_capacity, 0), 1) ELSE gpu_capacity END"
        return num, den
    if rule == "cpu":
        # A placement that doesn't say its CPUs takes its GPU share: both brought to one denominator.
        num = (
            f"CASE WHEN {no_cpu} AND {no_gpu} THEN 0 WHEN {no_cpu} THEN gpu_parts WHEN {no_gpu} THEN COALESCE(cpus, 0) "
            "WHEN cpus IS NULL THEN gpu_parts * cpu_capacity ELSE cpus * gpu_capacity END"
        )
        den = (
            f"CASE WHEN {no_cpu} AND {no_gpu} THEN 1 WHEN {no_cpu} THEN gpu_capacity WHEN {no_gpu} THEN cpu_capacity "
            "ELSE cpu_capacity * gpu_capacity END"
        )
        return num, den
    parts = ", ".join(
        f"COALESCE(CAST({held} AS HUGEINT) * {DOMINANT_PARTS} // NULLIF({capacity}, 0), 0)"
        for held, capacity in (("gpu_parts", "gpu_capacity"), ("cpus", "cpu_capacity"), ("memory_mib", "memory_capacity"))
    )
    return f"CAST(greatest({parts}) AS BIGINT)", str(DOMINANT_PARTS)


def _estimate(engine: Engine, times: dict[str, int]) -> list[Finding]:
    """Price the hours of the month that no bill names, and compare those that one does with what they would have been."""
    for table in ("estimate", "estimate_error"):
        engine.execute(f"DROP TABLE IF EXISTS {table}")
    if not engine.value("SELECT count(*) FROM rates"):
        return []
    engine.run("paid_hour", times)
    engine.run("rate_span", times)
    engine.run("rate_hour", times)
    _refuse_unpriced(engine)
    found = compare(engine, times, all_hours=_names("v"), sums=_SUMS, effective=_effective("v"))
    engine.run("estimate", gpu_parts=GPU_PARTS)
    engine.run("estimate_key")
    engine.run("estimate_hour")
    engine.execute("CREATE OR REPLACE TEMP TABLE billed_day AS SELECT * FROM node_day")
    engine.execute("DROP VIEW IF EXISTS node_day" if _is_view(engine, "node_day") else "DROP TABLE node_day")
    _collect_days(engine, "SELECT * FROM billed_day", "estimate_hour")
    engine.run("estimate_sum")
    return [Finding(*note) for note in found]


def _refuse_unpriced(engine: Engine) -> None:
    for condition, problem in (
        ("prices = 0", "has no price"),
        ("prices > 1", "has two equally narrow prices"),
    ):
        found = engine.read("unpriced", condition=condition)
        if not found:
            continue
        cluster, node, gpu_type, instance_type, queue, hour, hours, rate, other, nodes = found[0]
        since = datetime.fromtimestamp(hour * SECONDS_PER_HOUR, UTC).strftime("%Y-%m-%dT%H:%MZ")
        which = f" (rates {rate} and {other})" if rate is not None else ""
        more = f"; so have {nodes - 1} more nodes" if nodes > 1 else ""
        raise ConfigError(
            f"node {node!r} of cluster {cluster!r} {problem}{which} for {hours} hours from {since} that no bill names"
            f" (gpu_type {gpu_type!r}, instance_type {instance_type!r}, partition {queue!r}){more}; a [[rate]] of the rate card"
            " must match it exactly once"
        )


def _taken(prefix: str, wide: bool) -> str:
    """Sum over a day's hours of money x seconds held x share, each cut to whole nanos."""
    money = f"CAST({prefix}{{i}} AS HUGEINT)" if wide else f"{prefix}{{i}}"
    term = f"{money} * (least(e, {{b}}) - greatest(s, {{a}})) * num // ({SECONDS_PER_HOUR} * den)"
    held = f"CASE WHEN s < {{b}} AND e > {{a}} THEN {term} ELSE 0 END"
    return " + ".join(held.format(i=i, a=i * SECONDS_PER_HOUR, b=(i + 1) * SECONDS_PER_HOUR) for i in HOURS)


def _job_days(engine: Engine) -> None:
    differs = " OR ".join(_differs(f"v{i}") for i in HOURS)
    engine.run("whole_day", differs=differs, hours=_columns(_effective))
    engine.run("whole_day_billed", hours=_columns(_billed))
    engine.run("piece_day")
    taken = _taken("c", _wide(engine))
    engine.run("job_day_whole", taken=taken)
    engine.run("job_day_billed", taken=taken)
    engine.run("ragged_hour", all_hours=_names("v"), **UNPACKED)
    parts = [
        "SELECT k, j, d, effective, billed FROM job_day_whole",
        "SELECT k, j, d, 0 AS effective, billed FROM job_day_billed",
    ]
    if engine.value("SELECT count(*) FROM ragged_hour"):
        engine.run("ragged_piece")
        engine.run("job_day_ragged")
        parts.append("SELECT k, j, d, effective, billed FROM job_day_ragged")
    engine.run("job_day", parts="\n    UNION ALL\n    ".join(parts))


def _columns(unpacked: Callable[[str], str]) -> str:
    return ",\n    ".join(f"COALESCE({unpacked(f'v{i}')}, 0) AS c{i}" for i in HOURS)


def _is_view(engine: Engine, name: str) -> bool:
    return bool(engine.value("SELECT count(*) FROM duckdb_views() WHERE view_name = ?", [name]))


def _wide(engine: Engine) -> bool:
    """Whether money x seconds x share may pass 64 bits; DuckDB would refuse, not wrap, but it should not come to that."""
    most = f"SELECT max(greatest({', '.join(f'abs(c{i})' for i in HOURS)})) FROM "
    money = max(engine.value(most + "whole_day") or 0, engine.value(most + "whole_day_billed") or 0)
    share = engine.value("SELECT greatest(max(num), 1) FROM piece_day") or 1
    return int(money) * SECONDS_PER_HOUR * int(share) > INT64_MAX


def _close(engine: Engine) -> tuple[Closing, ...]:
    rows = engine.read("closing")
    closings = tuple(Closing(*row[:4], *(int(v) for v in row[4:])) for row in rows)
    for closing in closings:
        if not closing.closes:
            raise ConservationError(
                f"{closing.source} {closing.billing_period} {closing.currency} ({closing.basis}): charges are "
                f"{closing.charges} nanos and attributions {closing.attributed} (billed: {closing.billed_charges} and "
                f"{closing.billed_attributed}); they must be equal; nothing was published. This is a defect of rdspend"
            )
    return closings


def _findings(engine: Engine, window: dict[str, int]) -> list[Finding]:
    """What a person should know: records that hold more than a node has, and placements that no node record covers."""
    found = [
        Finding(
            "oversubscribed_node",
            f"{cluster}/{node}",
            f"its jobs held up to {most / den:.3f} times what it has; their shares were scaled down to the whole node",
            int(times),
        )
        for cluster, node, most, den, times in engine.rows(
            "SELECT cluster, node, most, den, times FROM crowded JOIN span USING (n) ORDER BY cluster, node"
        )
    ]
    lost = engine.read("lost_placements", window)
    found += [
        Finding("unknown_node", f"{c}/{n}", "jobs ran on it, but no node record names it: no money reaches them there", r)
        for c, n, r in lost
    ]
    found += [
        Finding(
            "unknown_resource",
            resource,
            f"the bill or an agreement charges {Decimal(int(cost)).scaleb(-9):f} {currency} for it, and no node, pool or job "
            "has it: its money is shared",
            int(lines),
        )
        for resource, currency, lines, cost in engine.read("unknown_resource")
    ]
    outside = engine.read("outside_placements", window)
    found += [
        Finding("outside_node_span", f"{c}/{n}", "jobs ran partly before or after the time its records say it was up", r)
        for c, n, r in outside
    ]
    return found


def drop_work(engine: Engine) -> None:
    """Drop the tables and views of an attribution, so that the next one starts with free memory and free names."""
    for kind in ("view", "table"):
        temporary = f"SELECT {kind}_name FROM duckdb_{kind}s() WHERE temporary" + (
            " AND NOT internal" if kind == "view" else ""
        )
        for (name,) in engine.rows(temporary):
            engine.execute(f"DROP {kind} IF EXISTS {identifier(name)}")
