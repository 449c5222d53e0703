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

import difflib
import re
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime
from decimal import Decimal
from fractions import Fraction
from itertools import pairwise
from pathlib import Path
from typing import Any, NoReturn

import duckdb

from rdspend.border import DECIMAL_TEXT, INSTANT_TEXT, literal
from rdspend.errors import ConfigError
from rdspend.schema import NAME, NANOS, Delivery, Location, Window

# The keys of a rate file and the columns of the ledger; a partition is called a queue there.
SELECTORS = {"node": "node", "partition": "queue", "instance_type": "instance_type", "gpu_type": "gpu_type"}
PRICES = ("price_per_gpu_hour", "price_per_node_hour")
TEXTS = ("source", "note")
KEYS = (*SELECTORS, "cluster", *PRICES, "currency", "from", "to", *TEXTS)

MAX_NANOS = 2**63 - 1


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
            connection.execute("SET TimeZone = 'UTC'")
            yield Delivery("rates", connection.sql(_select(rates)))


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
    def words(self) -> str:
        where = f" in cluster {self.cluster!r}" if self.cluster else ""
        return f"{self.selector} = {self.value!r}{where}"


def read_rates(file: str) -> list[Rate]:
    """The checked rates of a file, in its order."""
    content = _parse(file)
    _known(content, ("rate", *TEXTS), file)
    tables = content.get("rate", [])
    if not isinstance(tables, list) or not all(isinstance(table, dict) for table in tables):
        raise ConfigError(f"{file}: `rate` has to be written as [[rate]], with two brackets")
    if not tables:
        raise ConfigError(f"{file}: found no [[rate]]; write one, or remove the collector rate_card")
    rates = [_check(file, number, table) for number, table in enumerate(tables, 1)]
    _refuse_overlaps(file, rates)
    return rates


def _parse(file: str) -> dict[str, Any]:
    try:
        text = Path(file).read_bytes().decode("utf-8-sig")
        return tomllib.loads(text, parse_float=Decimal)
    except OSError as error:
        raise ConfigError(f"{file}: can't read the rate card: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise ConfigError(f"{file}: not UTF-8 at byte {error.start + 1}; save it as UTF-8") from error
    except (tomllib.TOMLDecodeError, ArithmeticError, ValueError, RecursionError) as error:
        raise ConfigError(f"{file}: not valid TOML: {error}") from error


def _known(table: Mapping[str, Any], keys: tuple[str, ...], where: str) -> None:
    for key in table:
        if key not in keys:
            near = difflib.get_close_matches(key, keys, 1)
            hint = f"did you mean {near[0]!r}?" if near else f"known are {', '.join(keys)}"
            raise ConfigError(f"{where}: unknown key {key!r}; {hint}")


def _check(file: str, number: int, table: Mapping[str, Any]) -> Rate:
    where = f"{file}: rate {number}"
    _known(table, KEYS, where)
    selector = _the_one(table, tuple(SELECTORS), where)
    price = _the_one(table, PRICES, where)
    for key in TEXTS:
        if key in table:
            _text(table, key, where)
    start, end = (_instant(table[key], f"{where}: {key}") if key in table else None for key in ("from", "to"))
    if start and end and end <= start:
        raise ConfigError(f"{where}: `to` ({end.isoformat()}) has to come after `from` ({start.isoformat()})")
    cluster = _text(table, "cluster", where) if "cluster" in table else None
    if cluster is not None and not NAME.fullmatch(cluster):
        raise ConfigError(f"{where}: cluster: found {cluster!r}, expected letters, digits, '_', '.' and '-'")
    currency = _text(table, "currency", where) if "currency" in table else ""
    if not re.fullmatch("[A-Z]{3}", currency):
        raise ConfigError(f"{where}: currency: found {currency or None!r}, expected an ISO 4217 code such as 'USD'")
    nanos = _nanos(table[price], f"{where}: {price}")
    return Rate(file, number, cluster, selector, _text(table, selector, where), price, nanos, currency, start, end)


def _the_one(table: Mapping[str, Any], keys: tuple[str, ...], where: str) -> str:
    found = [key for key in keys if key in table]
    if len(found) != 1:
        raise ConfigError(f"{where}: found {' and '.join(found) or 'none'} of {', '.join(keys)}; expected exactly one")
    return found[0]


def _text(table: Mapping[str, Any], key: str, where: str) -> str:
    value = table[key]
    if not isinstance(value, str) or not value.strip() or "\0" in value:
        raise ConfigError(f"{where}: {key}: found {value!r}, expected a text that is not empty")
    return value


def _nanos(value: object, where: str) -> int:
    def refuse(expected: str) -> NoReturn:
        found = str(value) if isinstance(value, Decimal) else repr(value)
        raise ConfigError(f"{where}: found {found}, expected {expected}")

    if isinstance(value, str):
        if not re.fullmatch(DECIMAL_TEXT[1:-1], value, re.ASCII):
            refuse("a plain decimal number such as 2.49")
        price = Decimal(value)
    elif isinstance(value, int | Decimal) and not isinstance(value, bool):
        price = Decimal(value)
    else:
        refuse("a number such as 2.49")
    if not price.is_finite():
        refuse("a finite number")
    if price == 0:
        return 0
    if price < 0:
        refuse("a price that is not negative")
    # The order of magnitude is looked at first: 1e999999999 as a whole number would fill the memory.
    if price.adjusted() > 10 or price.adjusted() < -9:
        refuse(f"a price below {MAX_NANOS // NANOS:,}" if price.adjusted() > 10 else "at most nine decimals")
    nanos = Fraction(price) * NANOS
    if nanos > MAX_NANOS:
        refuse(f"a price below {MAX_NANOS // NANOS:,}")
    if nanos.denominator != 1:
        refuse("at most nine decimals")
    return nanos.numerator


def _instant(value: object, where: str) -> datetime:
    """A TOML date or date-time, or the same as text, to an instant in UTC."""
    if isinstance(value, str):
        try:
            if re.fullmatch(r"\d{4}-\d{2}-\d{2}", value, re.ASCII):
                value = date.fromisoformat(value)
            elif re.fullmatch(INSTANT_TEXT[1:-1], value, re.ASCII):
                value = datetime.fromisoformat(value[:11] + value[11:].replace("UTC", "Z").replace(" ", ""))
        except ValueError as error:
            raise ConfigError(f"{where}: found {value!r}: {error}") from error
    if isinstance(value, datetime):
        if value.tzinfo is None:
            raise ConfigError(f"{where}: found {value.isoformat()} without a zone; write {value.isoformat()}Z for UTC")
        try:
            return value.astimezone(UTC)
        except OverflowError as error:
            raise ConfigError(f"{where}: found {value.isoformat()}: {error}") from error
    if isinstance(value, date):
        return datetime(value.year, value.month, value.day, tzinfo=UTC)
    raise ConfigError(f"{where}: found {value!r}, expected a date such as 2026-01-01 or a time with a zone")


def _refuse_overlaps(file: str, rates: list[Rate]) -> None:
    ever, never = datetime.min.replace(tzinfo=UTC), datetime.max.replace(tzinfo=UTC)
    ordered = sorted(rates, key=lambda r: (r.cluster or "", r.selector, r.value, r.start or ever))
    for one, two in pairwise(ordered):
        same = (one.cluster, one.selector, one.value) == (two.cluster, two.selector, two.value)
        if same and (two.start or ever) < (one.end or never):
            first, second = sorted((one.number, two.number))
            raise ConfigError(
                f"{file}: rate {first} and rate {second}: two prices match {one.words} at the same time; "
                "give them `from` and `to` that don't overlap, or remove one"
            )


# Column of the ledger -> its type.
COLUMNS = {
    "origin_file": "VARCHAR",
    "origin_row": "BIGINT",
    "cluster": "VARCHAR",
    **dict.fromkeys(SELECTORS.values(), "VARCHAR"),
    "price_per_gpu_hour_nanos": "BIGINT",
    "price_per_node_hour_nanos": "BIGINT",
    "currency": "VARCHAR",
    "start_time": "TIMESTAMPTZ",
    "end_time": "TIMESTAMPTZ",
}


def _select(rates: list[Rate]) -> str:
    """The rates as one statement of constants."""
    casts = ", ".join(f"CAST({column} AS {kind}) AS {column}" for column, kind in COLUMNS.items())
    rows = ", ".join(f"({', '.join(_values(rate))})" for rate in rates)
    return f"SELECT {casts} FROM (VALUES {rows}) AS rate({', '.join(COLUMNS)})"


def _values(rate: Rate) -> Iterator[str]:
    """One rate, in the order of COLUMNS; text for everything, typed by the casts above."""
    selectors = (rate.value if key == rate.selector else None for key in SELECTORS)
    prices = (str(rate.price_nanos) if key == rate.price else None for key in PRICES)
    span = (instant.isoformat() if instant else None for instant in (rate.start, rate.end))
    texts = (rate.file, str(rate.number), rate.cluster, *selectors, *prices, rate.currency, *span)
    return map(literal, texts)
