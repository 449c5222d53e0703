"""Estimate against bill: how far the rate card was from the bill that then came, and how far the open month may be.

Compared is the node hour: a whole hour in which the node was up, that lines of this billing month pay for from its first
second to its last, and that the rate card prices too. Both sides are what attribution itself makes of the hour: the estimate
it would have made of it (the same rate, and on nodes of unknown capacity the same GPU time held), and all effective money of
it that the bill has, credits and taxes of the node included. Hours at the two ends of a node's life are left out: how a
provider rounds the begun hour says nothing of its price. What lies between two lines inside one hour is not looked at.

The error is (bill - estimate) / estimate, in whole parts per million, cut toward zero. Of many hours, the median is the least
error that half of them do not exceed; the 90th percentile is that of absolute errors; the bias is the error of both sums.

Left out and counted as findings: hours whose estimate is zero, whose rate and bill are in different currencies (or whose bill
is itself an estimate, or in two currencies), with two equally narrow prices, and those for which a bill of another month pays.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from decimal import ROUND_HALF_EVEN, Decimal
from typing import Any

from rdspend.engine import Engine
from rdspend.schema import GPU_PARTS, INT64_MAX, EstimateError

NARROW = INT64_MAX // 10**6 // 2
NANO = Decimal("1e-9")
NOT_COMPARED = "estimate_not_compared"
LEFT_OUT = {
    1: ("estimate of zero", "node hours that have a bill and an estimate of nothing: there is no relative error"),
    2: ("currency", "node hours whose bill is not in the currency of their rate, is in two, or is an estimate itself"),
    3: ("two prices", "node hours that have a bill and two equally narrow prices; a [[rate]] must match exactly once"),
    4: ("another month", "node hours with a price that a bill of another month pays for, or for a part of them"),
    5: ("size", "node hours whose sum does not fit into the ledger"),
}
"""Subject and words by the number that compared_hour gives the reason, and two more."""

Note = tuple[str, str, str, int]
"""Kind, subject, detail and rows of a finding."""


def compare(engine: Engine, times: Mapping[str, int], *, all_hours: str, sums: str, effective: str) -> list[Note]:
    """Compare the month's bill with what the rates say of the same hours. Leaves `estimate_error`; returns what to tell.

    Wants the tables of an attribution before its estimates are added to node_day. all_hours, sums, effective: SQL of a day's
    packed hours by name, of their sums, and of the effective money in one, `v`.
    """
    several = engine.value("SELECT count(*) FROM line_key") > 1
    engine.run("hour_price", times, gpu_parts=GPU_PARTS)
    engine.run(
        "compared_hour",
        bill=BILL_OF_MANY.format(sums=sums) if several else BILL_OF_ONE.format(hours=all_hours),
        effective=effective,
        all_hours=all_hours,
        gpu_parts=GPU_PARTS,
    )
    engine.run("estimate_error", most=INT64_MAX, narrow=NARROW)
    left_out = {
        int(why): int(hours)
        for why, hours in engine.rows(
            f"SELECT CASE WHEN why = 0 THEN 5 ELSE why END, sum(node_hours) FROM estimate_error WHERE why > 0 OR {TOO_LARGE} "
            "GROUP BY ALL"
        )
    }
    engine.execute(f"DELETE FROM estimate_error WHERE why > 0 OR {TOO_LARGE}")
    left_out[4] = int(engine.read("billed_elsewhere")[0][0])
    return [(NOT_COMPARED, *words, left_out[why]) for why, words in LEFT_OUT.items() if left_out.get(why)]


TOO_LARGE = f"greatest(abs(estimated), abs(billed)) > {INT64_MAX}"

BILL_OF_ONE = """SELECT n, d, CASE WHEN basis = 'billed' THEN billing_currency END AS currency, {hours}
    FROM node_day JOIN line_key USING (k)"""

# One node may be in the bills of two sources, or of two currencies; only the first can be added.
BILL_OF_MANY = """SELECT n, d,
        CASE
            WHEN min(billing_currency) = max(billing_currency) AND bool_and(basis = 'billed') THEN min(billing_currency)
        END AS currency,
        {sums}
    FROM node_day JOIN line_key USING (k)
    GROUP BY n, d"""


def error_rows(engine: Engine) -> Any:
    """What `compare` found, as a relation of the ledger's estimate_errors less the month; None when there is nothing."""
    if not engine.value("SELECT count(*) FROM duckdb_tables() WHERE table_name = 'estimate_error'"):
        return None
    if not engine.value("SELECT count(*) FROM estimate_error"):
        return None
    return engine.connection.sql(
        "SELECT gpu_type, currency, node_hours, CAST(estimated AS BIGINT) AS estimated_cost_nanos, "
        "CAST(billed AS BIGINT) AS effective_cost_nanos, median_ppm, p90_ppm, "
        f"CAST(greatest(least((billed - estimated) * 1000000 // estimated, {INT64_MAX}), -{INT64_MAX}) AS BIGINT) AS bias_ppm "
        "FROM estimate_error ORDER BY gpu_type, currency"
    )


def known_errors(engine: Engine, currency: str) -> tuple[EstimateError, ...]:
    """Of each GPU type, the errors of the newest month in the view `estimate_errors`."""
    found = engine.rows(
        "SELECT month, COALESCE(gpu_type, ''), node_hours, estimated_cost_nanos, effective_cost_nanos, "
        "median_ppm, p90_ppm, bias_ppm FROM estimate_errors WHERE currency = ? "
        "QUALIFY row_number() OVER (PARTITION BY gpu_type ORDER BY month DESC) = 1 ORDER BY 2",
        [currency],
    )
    return tuple(
        EstimateError(month, gpu_type, hours, *(Decimal(v).scaleb(-9) for v in money), *(Decimal(v).scaleb(-6) for v in parts))
        for month, gpu_type, hours, *figures in found
        for money, parts in [(figures[:2], figures[2:])]
    )


def interval(
    engine: Engine, currency: str, total: Decimal, errors: Sequence[EstimateError], *, converted: bool = False
) -> tuple[Decimal, Decimal] | None:
    """The total less and plus each GPU type's estimated money times the 90th percentile of its error.

    converted  the total holds the money of other currencies too; errors of those are not looked at.

    Wants the view `charges`. None when nothing is estimated, or some of it on a GPU type whose error is not known.
    """
    estimated = engine.rows(
        "SELECT billing_currency, COALESCE(sku_id, ''), sum(effective_cost_nanos) FROM charges WHERE basis = 'estimated' "
        "GROUP BY ALL HAVING sum(effective_cost_nanos) <> 0"
    )
    ours = [(known, gpu_type, nanos) for known, gpu_type, nanos in estimated if converted or known == currency]
    p90 = {(currency, error.gpu_type): error.p90 for error in errors}
    if not ours or any((known, gpu_type) not in p90 for known, gpu_type, _ in ours):
        return None
    room = sum((abs(Decimal(nanos).scaleb(-9)) * p90[known, gpu_type] for known, gpu_type, nanos in ours), Decimal(0))
    room = room.quantize(NANO, ROUND_HALF_EVEN)
    return total - room, total + room
