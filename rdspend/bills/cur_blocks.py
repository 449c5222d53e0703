"""Capacity blocks and other reservations that are paid up front: their fee over the hours of their window, to the nano.

A fee is one line on the day it was bought. Here it becomes a line for each hour of the window, so that it reaches whoever used
the hour, and an hour in which nobody did is idle. The parts are differences of cut running totals: over all months they add up
to the fee.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import duckdb

from rdspend.bills.cur_bill import nothing
from rdspend.bills.cur_export import shifted
from rdspend.border import literal
from rdspend.errors import BadRecord, ConfigError, SourceUnavailable
from rdspend.schema import CHARGES

# A block is paid when it is bought, at most so many months before it starts.
MONTHS_AHEAD = 3

# More than a window has hours: every part of every fee has a row number of its own.
MOST_HOURS = 1_000_000


@dataclass(frozen=True)
class CapacityBlock:
    """A window of capacity that was paid up front. `id` as the bill names it: `cr-...`, what nodes have as their `pool`."""

    id: str
    start: datetime
    end: datetime

    def __post_init__(self) -> None:
        for name in ("start", "end"):
            if getattr(self, name).tzinfo is None:
                raise ConfigError(
                    f"collectors.aws_cur.capacity_block: {self.id}: {name} has no zone; write 2026-10-10T11:30:00Z"
                )
        if self.end <= self.start:
            raise ConfigError(
                f"collectors.aws_cur.capacity_block: {self.id}: ends at {self.end}, before it starts at {self.start}"
            )

    @property
    def months(self) -> tuple[str, ...]:
        """Months in which its fee may stand or whose hours it has."""
        first, last = self.start.astimezone(UTC), self.end.astimezone(UTC)
        month = shifted(f"{first:%Y-%m}", -MONTHS_AHEAD)
        found = [month]
        while found[-1] < f"{last:%Y-%m}":
            found.append(shifted(found[-1], 1))
        return tuple(found)


def described(path: str) -> tuple[CapacityBlock, ...]:
    """The capacity blocks in what `aws ec2 describe-capacity-reservations` printed."""
    try:
        content = Path(path).read_bytes()
    except OSError as error:
        raise SourceUnavailable(f"{path}: can't be read: {error.strerror}") from error
    try:
        listed = json.loads(content)["CapacityReservations"]
        blocks = [r for r in listed if r.get("ReservationType") == "capacity-block"]
        return tuple(
            CapacityBlock(r["CapacityReservationId"], _instant(r["StartDate"]), _instant(r["EndDate"])) for r in blocks
        )
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        expected = "expected what `aws ec2 describe-capacity-reservations` prints"
        raise BadRecord(f"can't be read ({type(error).__name__}: {error}); {expected}", path) from error


def _instant(text: str) -> datetime:
    found = datetime.fromisoformat(re.sub(r"Z$", "+00:00", text))
    if found.tzinfo is None:
        raise ValueError(f"{text} has no zone")
    return found


def start_fees(connection: duckdb.DuckDBPyConnection) -> None:
    connection.execute(f"CREATE OR REPLACE TEMP TABLE block_fee AS {nothing()}")


def keep_fees(connection: duckdb.DuckDBPyConnection, select: str) -> None:
    """Add fees to those found so far: a SELECT of charges, of lines that are fees of blocks."""
    connection.execute(f"INSERT INTO block_fee {select}")


def fees(connection: duckdb.DuckDBPyConnection) -> set[str]:
    """Blocks that have a fee among those kept."""
    return {block for (block,) in connection.execute("SELECT DISTINCT resource_id FROM block_fee").fetchall()}


def hours(month: str, blocks: Iterable[CapacityBlock]) -> str:
    """SELECT of charges: the hours of windows in one month, of all fees kept. An hour before the fee's month counts in it."""
    windows = ", ".join(
        f"({literal(b.id)}, TIMESTAMPTZ {literal(b.start.isoformat())}, TIMESTAMPTZ {literal(b.end.isoformat())})"
        for b in blocks
    )
    first, last = (f"TIMESTAMPTZ '{m}-01 00:00:00Z'" for m in (month, shifted(month, 1)))
    begin = "epoch_us(window_start)"
    upto = f"CAST(billed_cost_nanos AS HUGEINT) * (epoch_us({{0}}) - {begin}) // (epoch_us(window_end) - {begin})"
    changed = {
        "billing_period": literal(month),
        "origin_file": "origin_file || '#' || resource_id",
        "origin_row": f"origin_row * {MOST_HOURS} + hour_number",
        "billed_cost_nanos": "CAST(0 AS BIGINT)",
        "effective_cost_nanos": f"CAST({upto.format('hour_end')} - {upto.format('hour_start')} AS BIGINT)",
        "list_cost_nanos": "CAST(NULL AS BIGINT)",
        "charge_period_start": "hour_start",
        "charge_period_end": "hour_end",
        "charge_category": "'Usage'",
        "charge_description": "'hour of ' || resource_id || ', a part of the fee on row ' || origin_row",
        "charge_frequency": "'Usage-Based'",
        "pricing_quantity": "CAST(NULL AS DOUBLE)",
        "consumed_quantity": "CAST(NULL AS DOUBLE)",
    }
    taken = ", ".join(f"{changed.get(c, c)} AS {c}" for c in _columns())
    return f"""
        SELECT {taken} FROM (
            SELECT *, greatest(hour, window_start) AS hour_start, least(hour + INTERVAL 1 hour, window_end) AS hour_end,
                (epoch_us(hour) - epoch_us(date_trunc('hour', window_start))) // 3600000000 + 1 AS hour_number,
                strptime(billing_period || '-01 +0000', '%Y-%m-%d %z') AS bought
            FROM (
                SELECT fee.*, window_start, window_end, unnest(generate_series(
                    date_trunc('hour', window_start), window_end - INTERVAL 1 microsecond, INTERVAL 1 hour)) AS hour
                FROM block_fee AS fee
                JOIN (VALUES {windows}) AS block_window (id, window_start, window_end) ON fee.resource_id = block_window.id
            )
        )
        WHERE hour_start < {last} AND (bought = {first} OR (bought < {first} AND hour_start >= {first}))"""


def _columns() -> Sequence[str]:
    return [c for c in CHARGES.names if c != "source"]
