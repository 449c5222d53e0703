"""Prices of GPUs and nodes from a TOML file, for time that no bill has reached yet.

Reads one file of dated prices. Each `[[rate]]` names what it is for (`gpu_type`, `instance_type`, `partition` or
`node`, and `cluster` to keep it to one cluster) and one price. Needs read permission on the file, nothing else.

    [collectors.rate_card]
    path = "rates.toml"

and in `rates.toml`:

    [[rate]]
    gpu_type = "h100"
    price_per_gpu_hour = 2.49       # a number or "2.49"; exact, up to nine decimals; 0 only where it is written
    currency = "USD"                # ISO 4217
    from = 2026-01-01               # optional; a date is its midnight in UTC, a time needs a zone
    to = 2026-07-01                 # optional; the first instant the price no longer holds
    source = "price list of 2026"   # optional, like `note`: for people

Cannot see discounts, minimum charges or taxes: what it prices is an estimate until the bill is there. A node without a
price is an error of the run that needs it, never 0. Two prices for the same thing at the same time are refused.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import duckdb

from rdspend.bills.agreements import AGREEMENTS, PRICES, RATE, SELECTORS, Entry, read_toml, refuse_overlaps, relation
from rdspend.schema import RATES, Delivery, Location, Window

KEYS = RATE.known
COLUMNS = tuple(name for name in RATES.names if name != "source")


@dataclass(frozen=True)
class RateCard:
    """`path`: the TOML file."""

    path: Location

    def collect(self, window: Window) -> Iterator[Delivery]:
        """All prices of the file, whatever the window: which of them holds when is written beside each.

        Raises ConfigError, naming file and rate.
        """
        rates = read_rates(str(self.path))
        with duckdb.connect() as connection:
            connection.execute("SET TimeZone = 'UTC'; SET enable_progress_bar = false")
            yield Delivery("rates", relation(connection, RATES, COLUMNS, [rate.row for rate in rates]))


@dataclass(frozen=True)
class Rate:
    """One checked `[[rate]]`; `number` is its place in the file, from 1."""

    file: str
    number: int
    cluster: str | None
    selector: str
    value: str
    price: str
    price_nanos: int
    currency: str
    start: datetime | None
    end: datetime | None

    @property
    def row(self) -> dict[str, Any]:
        """Its row of the rates."""
        return {
            "origin_file": self.file,
            "origin_row": self.number,
            "cluster": self.cluster,
            SELECTORS[self.selector]: self.value,
            f"{self.price}_nanos": self.price_nanos,
            "currency": self.currency,
            "start_time": self.start,
            "end_time": self.end,
        }


def read_rates(file: str) -> list[Rate]:
    """The checked rates of a file, in its order."""
    entries = read_toml(file, AGREEMENTS["rate_card"])
    refuse_overlaps(entries, _for, _words)
    return [_rate(entry) for entry in entries]


def _for(entry: Entry) -> tuple[str, ...]:
    selector = _there(entry, SELECTORS)
    return entry["cluster"] or "", selector, entry[selector]


def _words(entry: Entry) -> str:
    cluster, selector, value = _for(entry)
    return f"two prices match {selector} = {value!r}{f' in cluster {cluster!r}' if cluster else ''}"


def _there(entry: Entry, keys: Any) -> str:
    """The one of the keys that the entry has."""
    (found,) = (key for key in keys if entry[key] is not None)
    return str(found)


def _rate(entry: Entry) -> Rate:
    selector, price = _there(entry, SELECTORS), _there(entry, PRICES)
    return Rate(
        file=entry.file,
        number=entry.number,
        cluster=entry["cluster"],
        selector=selector,
        value=entry[selector],
        price=price,
        price_nanos=entry[price],
        currency=entry["currency"],
        start=entry["from"],
        end=entry["to"],
    )
