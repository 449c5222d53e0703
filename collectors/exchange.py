"""A dated table of exchange rates, for reports in one currency.

Reads one file: TOML, or CSV with a header. Needs read permission on it, nothing else.

    [collectors.exchange]
    path = "exchange.toml"          # or exchange.csv

and in `exchange.toml`:

    [[rate]]
    currency = "EUR"                # what is converted
    into = "USD"                    # what it becomes
    rate = 1.0843                   # units of `into` for one of `currency`; a number or "1.0843"; exact, up to 18 decimals
    from = 2026-10-01               # from here until the next one of the pair; a date is its midnight in UTC
    source = "central bank"         # optional, like `note`: for people

or in `exchange.csv`:

    date,currency,into,rate
    2026-10-01,EUR,USD,1.0843

A rate holds until the next one of its pair, the last one for ever; before the first one there is none, and a line that needs
one is an error, never 1. Two rates of a pair from the same instant are refused. Virtual currencies (credits, tokens) are
refused too: they are never mixed with money.

It can't see whether a rate is right, and turns none around: EUR into USD says nothing of USD into EUR.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import groupby, pairwise
from typing import Any

import duckdb

from rdspend.bills.agreements import AGREEMENTS, Entry, read_csv, read_toml, refuse_twice, relation
from rdspend.errors import ConfigError
from rdspend.schema import EXCHANGE_RATES, Delivery, Location, Window

# Columns of a CSV file and their keys in TOML.
CSV_COLUMNS = {"date": "from", "currency": "currency", "into": "into", "rate": "rate", "source": "source", "note": "note"}
COLUMNS = tuple(name for name in EXCHANGE_RATES.names if name != "source")


@dataclass(frozen=True)
class Exchange:
    """`path`: the TOML or CSV file."""

    path: Location

    def collect(self, window: Window) -> Iterator[Delivery]:
        """All rates of the file, whatever the window, each with the span it holds for.

        Raises ConfigError, naming file and entry (in CSV: line).
        """
        rows = list(_rows(read_exchange(str(self.path))))
        with duckdb.connect() as connection:
            connection.execute("SET TimeZone = 'UTC'; SET enable_progress_bar = false")
            yield Delivery("exchange_rates", relation(connection, EXCHANGE_RATES, COLUMNS, rows))


def read_exchange(file: str) -> list[Entry]:
    """The checked rates of a file, in its order."""
    agreement = AGREEMENTS["exchange"]
    entries = read_csv(file, agreement, CSV_COLUMNS) if file.lower().endswith(".csv") else read_toml(file, agreement)
    for entry in entries:
        if entry["currency"] == entry["into"]:
            raise ConfigError(f"{entry.words}: into: found {entry['into']!r}, expected another currency than `currency`")
    refuse_twice(
        entries,
        lambda e: (*_pair(e), e["from"]),
        lambda e: f"a rate of {e['currency']} into {e['into']} from {e['from']:%Y-%m-%dT%H:%M:%SZ}",
    )
    return entries


def _pair(entry: Entry) -> tuple[str, str]:
    return entry["currency"], entry["into"]


def _rows(entries: list[Entry]) -> Iterator[dict[str, Any]]:
    ordered = sorted(entries, key=lambda e: (*_pair(e), e["from"]))
    for (currency, into), pair in groupby(ordered, _pair):
        for entry, later in pairwise([*pair, None]):
            assert entry is not None
            yield {
                "origin_file": entry.file,
                "origin_row": entry.number,
                "currency": currency,
                "into": into,
                "start_time": entry["from"],
                "end_time": later and later["from"],
                "rate": entry["rate"],
            }
