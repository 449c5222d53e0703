"""What people write down by hand, in one schema: prices, contracts, invoice totals, exchange rates.

Each kind of file is an `Agreement` of `Form`s; `[[rate]]` in a rate card is one form, a line of a CSV file may be another. A
form says which keys there are and of which kind; what is read comes out typed: money as whole nanos, times in UTC, months as
`2026-10`. Every error is a ConfigError that names file and entry, what was found and what was expected.

`json_schema` is the same in JSON Schema's words, for editors: docs/agreements.schema.json is made from it.
"""

from __future__ import annotations

import csv
import difflib
import json
import re
import tomllib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from decimal import Decimal
from fractions import Fraction
from itertools import pairwise
from pathlib import Path
from typing import Any, NoReturn

import duckdb

from rdspend.border import DECIMAL_TEXT, INSTANT_TEXT, literal
from rdspend.errors import ConfigError
from rdspend.schema import NAME as NAME_TEXT
from rdspend.schema import NANOS, Table, Type

MAX_NANOS = 2**63 - 1

ADJUSTMENTS = ("discount", "credit", "refund", "surcharge")
"""What an adjustment may be; all but a surcharge are below zero."""

# An exchange rate has so many places at most, and is below ten to the so manyth: it fits DECIMAL(38, 18).
RATE_PLACES, RATE_DIGITS = 18, 12

TEXTS = ("source", "note")
"""Keys that every entry and every file may have, for people."""


# --- kinds of values --------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Kind:
    """A kind of value: what is expected, in words; how it is read; and what it is in JSON Schema's words.

    `read` takes the value and the place it stands at, and raises ConfigError.
    """

    expected: str
    read: Callable[[object, str], Any]
    schema: Mapping[str, Any]


def refuse(where: str, found: object, expected: str) -> NoReturn:
    """A value that isn't what it should be. Numbers are shown as they were written."""
    raise ConfigError(f"{where}: found {found if isinstance(found, Decimal) else repr(found)}, expected {expected}")


def _text(value: object, where: str) -> str:
    if not isinstance(value, str) or not value.strip() or "\0" in value:
        refuse(where, value, TEXT.expected)
    return value


def _name(value: object, where: str) -> str:
    if not isinstance(value, str) or not NAME_TEXT.fullmatch(value):
        refuse(where, value, NAME.expected)
    return value


def _currency(value: object, where: str) -> str:
    if not isinstance(value, str) or not re.fullmatch("[A-Z]{3}", value):
        refuse(where, value, CURRENCY.expected)
    return value


def _month(value: object, where: str) -> str:
    if not isinstance(value, str) or not re.fullmatch(r"[0-9]{4}-(0[1-9]|1[0-2])", value) or value < "0001":
        refuse(where, value, MONTH.expected)
    return value


def _count(value: object, where: str) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or not 1 <= value <= 10**9:
        refuse(where, value, COUNT.expected)
    return value


def _decimal(value: object, where: str, example: str) -> Decimal:
    if isinstance(value, str):
        if not re.fullmatch(DECIMAL_TEXT[1:-1], value, re.ASCII):
            refuse(where, value, f"a plain decimal number such as {example}")
        return Decimal(value)
    if not isinstance(value, int | Decimal) or isinstance(value, bool):
        refuse(where, value, f"a number such as {example}")
    number = Decimal(value)
    if not number.is_finite():
        refuse(where, number, "a finite number")
    return number


def _nanos(number: Decimal, where: str, found: object, noun: str) -> int:
    if number == 0:
        return 0
    # The order of magnitude is looked at first: 1e999999999 as a whole number would fill the memory.
    if number.adjusted() > 10:
        refuse(where, found, f"{noun} below {MAX_NANOS // NANOS:,}")
    if number.adjusted() < -9:
        refuse(where, found, "at most nine decimals")
    nanos = Fraction(number) * NANOS
    if abs(nanos) > MAX_NANOS:
        refuse(where, found, f"{noun} below {MAX_NANOS // NANOS:,}")
    if nanos.denominator != 1:
        refuse(where, found, "at most nine decimals")
    return nanos.numerator


def _price(value: object, where: str) -> int:
    number = _decimal(value, where, "2.49")
    if number < 0:
        refuse(where, value, "a price that is not negative")
    return _nanos(number, where, value, "a price")


def _amount(value: object, where: str) -> int:
    return _nanos(_decimal(value, where, "-1200.50"), where, value, "an amount")


def _percentage(value: object, where: str) -> Decimal:
    number = _decimal(value, where, "-7.5")
    if number == 0 or abs(number) > 100 or not _exponent(number) >= -9:
        refuse(where, value, PERCENTAGE.expected)
    return number


def _exchange_rate(value: object, where: str) -> str:
    number = _decimal(value, where, "1.0843")
    if number <= 0 or number.adjusted() >= RATE_DIGITS or -_exponent(number) > RATE_PLACES:
        refuse(where, value, EXCHANGE_RATE.expected)
    return format(number, "f")


def _adjustment(value: object, where: str) -> str:
    if value not in ADJUSTMENTS:
        refuse(where, value, ADJUSTMENT_KIND.expected)
    return str(value)


def _exponent(number: Decimal) -> int:
    return int(number.as_tuple().exponent)


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
    refuse(where, value, INSTANT.expected)


_NUMBER = {"type": ["number", "string"]}

TEXT = Kind("a text that is not empty", _text, {"type": "string", "pattern": "\\S"})
NAME = Kind("letters, digits, '_', '.' and '-'", _name, {"type": "string", "pattern": f"^{NAME_TEXT.pattern}$"})
CURRENCY = Kind(
    "an ISO 4217 code such as 'USD'; credits, tokens and the like are never mixed with money",
    _currency,
    {"type": "string", "pattern": "^[A-Z]{3}$"},
)
MONTH = Kind("a month such as '2026-10'", _month, {"type": "string", "pattern": "^[0-9]{4}-(0[1-9]|1[0-2])$"})
COUNT = Kind("a whole number from 1", _count, {"type": "integer", "minimum": 1})
PRICE = Kind("a price such as 2.49", _price, {**_NUMBER, "minimum": 0})
AMOUNT = Kind("an amount such as -1200.50", _amount, _NUMBER)
PERCENTAGE = Kind(
    "a percentage that is not 0, between -100 and 100, with at most nine decimals",
    _percentage,
    {**_NUMBER, "minimum": -100, "maximum": 100},
)
EXCHANGE_RATE = Kind(
    f"a rate above 0 and below 10^{RATE_DIGITS}, with at most {RATE_PLACES} decimals",
    _exchange_rate,
    {**_NUMBER, "exclusiveMinimum": 0},
)
ADJUSTMENT_KIND = Kind(f"one of {', '.join(ADJUSTMENTS)}", _adjustment, {"enum": list(ADJUSTMENTS)})
INSTANT = Kind(
    "a date such as 2026-01-01 or a time with a zone",
    _instant,
    {"type": "string", "pattern": "^[0-9]{4}-[0-9]{2}-[0-9]{2}([T ].*(Z|[+-][0-9]{2}(:?[0-9]{2})?|UTC))?$"},
)


# --- forms ------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Key:
    """A key of a form: the kind of its value, and whether it has to be there."""

    kind: Kind
    required: bool = False


@dataclass(frozen=True)
class Form:
    """What one entry looks like. `name` is the name of its table: [[rate]] is a rate.

    one_of    groups of keys of which exactly one is there
    together  pairs of keys (one, other): where the one is, the other has to be
    spans     pairs of keys (from, to): the second is later than the first
    """

    name: str
    keys: Mapping[str, Key]
    one_of: tuple[tuple[str, ...], ...] = ()
    together: tuple[tuple[str, str], ...] = ()
    spans: tuple[tuple[str, str], ...] = (("from", "to"),)

    @property
    def known(self) -> tuple[str, ...]:
        return (*self.keys, *TEXTS)


@dataclass(frozen=True)
class Agreement:
    """A kind of file: its forms, and what it is called in words."""

    title: str
    forms: tuple[Form, ...]
    collector: str


@dataclass(frozen=True)
class Entry:
    """One checked entry: its typed values; None for a key that isn't there. `number` is its place, from 1.

    `words` is where it stands, for messages.
    """

    file: str
    form: Form
    number: int
    words: str
    values: Mapping[str, Any] = field(repr=False)

    def __getitem__(self, key: str) -> Any:
        return self.values[key]

    def refuse(self, key: str, found: object, expected: str) -> NoReturn:
        refuse(f"{self.words}: {key}", found, expected)


def _required(kind: Kind) -> Key:
    return Key(kind, required=True)


# What a rate may be for, by the key of the file: a partition is called a queue in the ledger.
SELECTORS = {"node": "node", "partition": "queue", "instance_type": "instance_type", "gpu_type": "gpu_type"}
PRICES = ("price_per_gpu_hour", "price_per_node_hour")

RATE = Form(
    "rate",
    {
        **dict.fromkeys(SELECTORS, Key(TEXT)),
        "cluster": Key(NAME),
        **dict.fromkeys(PRICES, Key(PRICE)),
        "currency": _required(CURRENCY),
        "from": Key(INSTANT),
        "to": Key(INSTANT),
    },
    one_of=(tuple(SELECTORS), PRICES),
)

_WHAT = {"name": _required(TEXT), "resource": Key(TEXT), "provider": Key(TEXT), "service": Key(TEXT)}
_SPAN = {"from": Key(INSTANT), "to": Key(INSTANT)}

PURCHASE = Form(
    "purchase",
    {
        **_WHAT,
        "price": _required(PRICE),
        "currency": _required(CURRENCY),
        "bought": _required(INSTANT),
        "in_service": Key(INSTANT),
        "months": _required(COUNT),
        "residual_value": Key(PRICE),
        "invoice": Key(TEXT),
    },
)
COST = Form(
    "cost",
    {
        **_WHAT,
        "per_gpu_hour": Key(PRICE),
        "gpus": Key(COUNT),
        "per_month": Key(PRICE),
        "currency": _required(CURRENCY),
        "from": _required(INSTANT),
        "to": Key(INSTANT),
        "invoice": Key(TEXT),
    },
    one_of=(("per_gpu_hour", "per_month"),),
    together=(("per_gpu_hour", "gpus"), ("gpus", "per_gpu_hour")),
)
INVOICE = Form(
    "invoice",
    {
        **_WHAT,
        "invoice": _required(TEXT),
        "amount": _required(AMOUNT),
        "currency": _required(CURRENCY),
        "billing_period": _required(MONTH),
        **_SPAN,
    },
)
ADJUSTMENT = Form(
    "adjustment",
    {
        **_WHAT,
        "kind": _required(ADJUSTMENT_KIND),
        "amount": Key(AMOUNT),
        "currency": Key(CURRENCY),
        "billing_period": Key(MONTH),
        "percentage": Key(PERCENTAGE),
        "of": Key(TEXT),
        "invoice": Key(TEXT),
        **_SPAN,
    },
    one_of=(("amount", "percentage"),),
    together=(
        ("amount", "currency"),
        ("currency", "amount"),
        ("amount", "billing_period"),
        ("billing_period", "amount"),
        ("percentage", "of"),
        ("of", "percentage"),
    ),
)
STATED = Form(
    "invoice",
    {
        "invoice": _required(TEXT),
        "currency": _required(CURRENCY),
        "total": _required(AMOUNT),
        "billing_period": _required(MONTH),
        "provider": Key(TEXT),
        "bill": Key(NAME),
    },
)
EXCHANGE = Form(
    "rate",
    {
        "currency": _required(CURRENCY),
        "into": _required(CURRENCY),
        "rate": _required(EXCHANGE_RATE),
        "from": _required(INSTANT),
    },
)

AGREEMENTS: Mapping[str, Agreement] = {
    "rate_card": Agreement("rate card", (RATE,), "rate_card"),
    "contract": Agreement("contract", (PURCHASE, COST, INVOICE, ADJUSTMENT), "contract"),
    "invoices": Agreement("list of invoices", (STATED,), "invoices"),
    "exchange": Agreement("table of exchange rates", (EXCHANGE,), "exchange"),
}


def json_schema() -> dict[str, Any]:
    """All agreements as JSON Schema, under $defs by name. TOML's dates count as text."""
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Files that people write for rdspend: rate card, contract, invoices, exchange rates",
        "$defs": {name: _agreement_schema(agreement) for name, agreement in AGREEMENTS.items()},
    }


def _agreement_schema(agreement: Agreement) -> dict[str, Any]:
    tables = {f.name: {"type": "array", "minItems": 1, "items": _form_schema(f)} for f in agreement.forms}
    return {
        "title": agreement.title,
        "type": "object",
        "properties": {**tables, **dict.fromkeys(TEXTS, TEXT.schema)},
        "anyOf": [{"required": [name]} for name in tables],
        "additionalProperties": False,
    }


def _form_schema(form: Form) -> dict[str, Any]:
    schema: dict[str, Any] = {
        "type": "object",
        "properties": {**{name: key.kind.schema for name, key in form.keys.items()}, **dict.fromkeys(TEXTS, TEXT.schema)},
        "required": [name for name, key in form.keys.items() if key.required],
        "additionalProperties": False,
    }
    if form.one_of:
        schema["allOf"] = [{"oneOf": [{"required": [name]} for name in group]} for group in form.one_of]
    if form.together:
        wanted = sorted({one for one, _ in form.together})
        schema["dependentRequired"] = {one: [o for first, o in form.together if first == one] for one in wanted}
    return schema


# --- reading ----------------------------------------------------------------------------------------------------------


def read_toml(file: str, agreement: Agreement) -> list[Entry]:
    """The checked entries of a file, form by form, in its order."""
    content = _parse(file, agreement)
    names = tuple(form.name for form in agreement.forms)
    refuse_unknown(content, (*names, *TEXTS), file)
    for key in TEXTS:
        if key in content:
            _text(content[key], f"{file}: {key}")
    entries = []
    for form in agreement.forms:
        tables = content.get(form.name, [])
        if not isinstance(tables, list) or not all(isinstance(table, dict) for table in tables):
            raise ConfigError(f"{file}: `{form.name}` has to be written as [[{form.name}]], with two brackets")
        entries += [check(file, form, n, f"{file}: {form.name} {n}", table) for n, table in enumerate(tables, 1)]
    if not entries:
        listed = " or ".join(f"[[{name}]]" for name in names)
        raise ConfigError(f"{file}: found no {listed}; write one, or remove the collector {agreement.collector}")
    return entries


def read_csv(file: str, agreement: Agreement, columns: Mapping[str, str]) -> list[Entry]:
    """The same from a CSV file: columns, by their name in the file, are keys of the agreement's only form.

    An empty field is a key that isn't there. `number` is the row, from 1 after the header; errors name the line.
    """
    (form,) = agreement.forms
    text = _content(file, agreement).removeprefix("\ufeff")
    reader = csv.reader(text.splitlines(keepends=True), strict=True)
    entries: list[Entry] = []
    header: list[str] = []
    number = 0
    try:
        for row in reader:
            where = f"{file}:{reader.line_num}"
            if not header:
                header = row
                _check_header(header, form, columns, where)
            elif row:
                number += 1
                if len(row) != len(header):
                    raise ConfigError(f"{where}: found {len(row)} values, expected {len(header)}: {', '.join(header)}")
                values = {columns[name]: value for name, value in zip(header, row, strict=True) if value}
                entries.append(check(file, form, number, where, values, {key: name for name, key in columns.items()}))
    except csv.Error as error:
        raise ConfigError(f"{file}:{reader.line_num}: not valid CSV: {error}") from error
    if not header:
        raise ConfigError(f"{file}:1: the file is empty, expected a header: {', '.join(columns)}")
    return entries


def _check_header(header: Sequence[str], form: Form, columns: Mapping[str, str], where: str) -> None:
    refuse_unknown(header, tuple(columns), where, "column")
    twice = next((name for name in header if header.count(name) > 1), None)
    if twice is not None:
        raise ConfigError(f"{where}: two columns are called {twice!r}")
    missing = [name for name, key in columns.items() if name not in header and key in form.keys and form.keys[key].required]
    if missing:
        raise ConfigError(f"{where}: no column {missing[0]!r}; expected {', '.join(columns)}")


def _content(file: str, agreement: Agreement) -> str:
    try:
        return Path(file).read_bytes().decode("utf-8")
    except OSError as error:
        raise ConfigError(f"{file}: can't read the {agreement.title}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise ConfigError(f"{file}: not UTF-8 at byte {error.start + 1}; save it as UTF-8") from error


def _parse(file: str, agreement: Agreement) -> dict[str, Any]:
    text = _content(file, agreement).removeprefix("\ufeff")
    try:
        return tomllib.loads(text, parse_float=Decimal)
    except (tomllib.TOMLDecodeError, ArithmeticError, ValueError, RecursionError) as error:
        raise ConfigError(f"{file}: not valid TOML: {error}") from error


def refuse_unknown(found: Iterable[str], known: Sequence[str], where: str, noun: str = "key") -> None:
    for key in found:
        if key not in known:
            near = difflib.get_close_matches(key, known, 1)
            hint = f"did you mean {near[0]!r}?" if near else f"known are {', '.join(known)}"
            raise ConfigError(f"{where}: unknown {noun} {key!r}; {hint}")


def check(
    file: str, form: Form, number: int, where: str, table: Mapping[str, Any], called: Mapping[str, str] | None = None
) -> Entry:
    """One entry, checked and typed. `called`: what keys are called in the file, where that is something else."""

    def place(key: str) -> str:
        return f"{where}: {(called or {}).get(key, key)}"

    refuse_unknown(table, form.known, where)
    for group in form.one_of:
        _the_one(table, group, where)
    for one, other in form.together:
        if one in table and other not in table:
            raise ConfigError(f"{place(other)}: missing; `{one}` needs it")
    for key in TEXTS:
        if key in table:
            _text(table[key], place(key))
    values: dict[str, Any] = {}
    for name, wanted in form.keys.items():
        if name not in table and wanted.required:
            refuse(place(name), None, wanted.kind.expected)
        values[name] = wanted.kind.read(table[name], place(name)) if name in table else None
    for first, second in form.spans:
        start, end = values.get(first), values.get(second)
        if start and end and end <= start:
            raise ConfigError(f"{where}: `{second}` ({end.isoformat()}) has to come after `{first}` ({start.isoformat()})")
    texts = {key: table.get(key) for key in TEXTS}
    return Entry(file, form, number, where, {**values, **texts})


def _the_one(table: Mapping[str, Any], keys: tuple[str, ...], where: str) -> None:
    found = [key for key in keys if key in table]
    if len(found) != 1:
        raise ConfigError(f"{where}: found {' and '.join(found) or 'none'} of {', '.join(keys)}; expected exactly one")


def invoice_of(number: str | None, month: str) -> str | None:
    """The invoice that a line of a billing month is on: `{month}` in a number is that month, `2026-10`."""
    return number and number.replace("{month}", month)


# --- what holds between entries ---------------------------------------------------------------------------------------


def refuse_overlaps(entries: Sequence[Entry], same: Callable[[Entry], tuple[str, ...]], say: Callable[[Entry], str]) -> None:
    """Two dated entries for the same thing at the same time."""
    ever, never = datetime.min.replace(tzinfo=UTC), datetime.max.replace(tzinfo=UTC)
    ordered = sorted(entries, key=lambda e: (same(e), e["from"] or ever))
    for one, two in pairwise(ordered):
        if same(one) == same(two) and (two["from"] or ever) < (one["to"] or never):
            first, second = sorted((one, two), key=lambda e: e.number)
            name = first.form.name
            raise ConfigError(
                f"{first.file}: {name} {first.number} and {name} {second.number}: {say(one)} at the same time; "
                "give them `from` and `to` that don't overlap, or remove one"
            )


def refuse_twice(
    entries: Iterable[Entry],
    same: Callable[[Entry], tuple[object, ...]],
    say: Callable[[Entry], str],
    advice: str = "remove one",
) -> None:
    """Two entries with one key, whatever files they are in."""
    seen: dict[tuple[object, ...], Entry] = {}
    for entry in entries:
        first = seen.setdefault(same(entry), entry)
        if first is not entry:
            raise ConfigError(f"{entry.words}: {say(entry)} is in {first.words} already; {advice}")


# --- rows -------------------------------------------------------------------------------------------------------------

_DUCKDB: Mapping[Type, str] = {
    "string": "VARCHAR",
    "int64": "BIGINT",
    "float64": "DOUBLE",
    "bool": "BOOLEAN",
    "timestamp": "TIMESTAMPTZ",
}


def relation(
    connection: duckdb.DuckDBPyConnection, table: Table, names: Sequence[str], rows: Sequence[Mapping[str, Any]]
) -> duckdb.DuckDBPyRelation:
    """A few rows, made in Python, as a relation with these columns of a table of the ledger, all typed."""
    types = {column.name: _DUCKDB[column.type] for column in table.columns if column.name in names}
    texts = [{name: _as_text(row.get(name)) for name in names} for row in rows]
    shape = json.dumps([dict.fromkeys(names, "VARCHAR")])
    casts = ", ".join(f'CAST(r."{name}" AS {types[name]}) AS "{name}"' for name in names)
    listed = f"from_json({literal(json.dumps(texts))}, {literal(shape)})"
    return connection.sql(f"SELECT {casts} FROM (SELECT unnest({listed}) AS r)")


def _as_text(value: object) -> str | None:
    if value is None:
        return None
    return value.isoformat() if isinstance(value, datetime) else str(value)
