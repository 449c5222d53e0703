"""What no bill shows: hardware that was bought and what running it costs, clusters invoiced by the month, agreed discounts.

Reads one TOML file (or several: a folder, a glob). Needs read permission on it, nothing else.

    [collectors.contract]
    path = "contract.toml"

and in `contract.toml`:

    [[purchase]]                    # bought once, used for years
    name = "64 servers of 8 H100"
    resource = "h100-pool"          # resource_id or pool of nodes, as the nodes are recorded; without it the money is shared
    price = 18_400_000
    currency = "USD"
    bought = 2025-11-20             # the price is billed then
    in_service = 2026-01-01         # optional, else `bought`: from here the price is used up, in equal parts a month
    months = 48
    residual_value = 400_000        # optional: what is left at the end, never charged

    [[cost]]                        # what it takes to run: by GPU-hour or by month
    name = "power and hosting"
    resource = "h100-pool"
    per_gpu_hour = "0.31"           # or per_month = 95_000
    gpus = 512
    currency = "USD"
    from = 2026-01-01               # `to` is optional
    invoice = "DC-2025-14 {month}"  # optional: the invoice it is on, or the agreement where nobody sends one

    [[invoice]]                     # one line of an invoice of one billing month
    name = "reserved cluster"
    invoice = "INV-2026-10-77"
    resource = "reserved-pool"
    amount = "412300.00"
    currency = "USD"
    billing_period = "2026-10"      # `from`, `to`: which part of the month, all of it when left out

    [[adjustment]]                  # a discount, credit, refund or surcharge by agreement
    name = "volume discount"
    kind = "discount"
    percentage = -7.5               # of what these entries charge; or amount, currency and billing_period
    of = "reserved cluster"         # name of other entries
    from = 2026-07-01               # optional, like `to`

All of it is basis `billed`. A purchase is one line of its price (effective cost 0, shared money) when it is bought, and one
line a month of its part (billed cost 0) while it is in service: equal parts for whole months, by the second for parts of one,
and all together exactly price less residual value. The month that still runs is charged up to now. Entries that say the same
in every key are refused: write a `note` into one where both are meant.

`{month}` in an `invoice` is the month of the line, `2026-10`. A month whose billed money is on no invoice stays preliminary
until somebody closes it; what is only written off is billed already and needs none. Percentages of one entry may not take more
than all of it together.

It can't see bills: a discount can be of other entries of the same file, not of what a provider charges. What a contract says
here has to be left out of every other source, or it counts twice.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from fractions import Fraction
from typing import Any

import duckdb

from rdspend.bills.agreements import (
    ADJUSTMENT,
    AGREEMENTS,
    COST,
    INVOICE,
    PURCHASE,
    Entry,
    invoice_of,
    read_toml,
    refuse_twice,
    relation,
)
from rdspend.bills.files import find, readable
from rdspend.errors import ConfigError, SourceUnavailable
from rdspend.schema import CHARGES, SECONDS_PER_HOUR, Delivery, Location, Window

DAY = timedelta(days=1)

COLUMNS = (
    *("origin_file", "origin_row", "basis", "billed_cost_nanos", "effective_cost_nanos", "billing_currency"),
    *("charge_period_start", "charge_period_end", "charge_category", "line_type", "charge_description", "charge_frequency"),
    *("provider_name", "invoice_issuer_name", "invoice_id", "resource_id", "resource_name", "resource_type", "service_name"),
    *("pricing_quantity", "pricing_unit"),
)


@dataclass(frozen=True)
class Contract:
    """`path`: the TOML file, a folder of such files, or a glob."""

    path: Location

    def collect(self, window: Window) -> Iterator[Delivery]:
        """One delivery of charges for each month of the window, from its start up to the window's end at most.

        Raises SourceUnavailable when there is no file, ConfigError that names file and entry.
        """
        entries = read_contract(str(self.path))
        with duckdb.connect() as connection:
            connection.execute("SET TimeZone = 'UTC'; SET enable_progress_bar = false")
            for month in window.months:
                part = _month_span(month)
                seen = Span(part.start, min(part.end, window.end.astimezone(UTC).replace(microsecond=0)))
                lines = (line for entry in entries for line in _lines(entry, entries, part, seen))
                rows = [line | {"resource_type": "Pool" if line["resource_id"] else None} for line in lines]
                if rows:
                    yield Delivery("charges", relation(connection, CHARGES, COLUMNS, rows), {"billing_period": month})


def read_contract(path: str) -> list[Entry]:
    """The checked entries of all files at a path."""
    with readable(path):
        files = [file for file in find(path) if file.lower().endswith(".toml")]
    if not files:
        raise SourceUnavailable(f"{path}: no contract found, expected a TOML file, a folder or a glob of them")
    entries = [entry for file in files for entry in read_toml(file, AGREEMENTS["contract"])]
    for entry in entries:
        file = [other for other in entries if other.file == entry.file]
        _check(entry, file)
        _refuse_more_than_all(entry, file)
    refuse_twice(
        entries,
        lambda e: (e.form.name, *(str(value) for value in e.values.values())),
        lambda e: f"the same {e.form.name} {e['name']!r}, in every key,",
        "write a `note` into one if both are meant, or remove one",
    )
    return entries


# --- what the schema can't say ----------------------------------------------------------------------------------------


def _check(entry: Entry, file: Sequence[Entry]) -> None:
    if entry.form is PURCHASE:
        if (entry["residual_value"] or 0) > entry["price"]:
            raise ConfigError(f"{entry.words}: `residual_value` is more than `price`; expected what is left of it at the end")
        _life(entry)
    if entry.form in (INVOICE, ADJUSTMENT) and entry["billing_period"] is not None:
        _inside(entry)
    if entry.form is ADJUSTMENT:
        key = "amount" if entry["amount"] is not None else "percentage"
        if (entry[key] > 0) != (entry["kind"] == "surcharge"):
            sign = "above" if entry["kind"] == "surcharge" else "below"
            raise ConfigError(f"{entry.words}: {key}: found {_shown(entry, key)}, expected a {entry['kind']} to be {sign} zero")
        if key == "percentage":
            _meant(entry, file)


def _shown(entry: Entry, key: str) -> str:
    return str(entry[key]) if key == "percentage" else f"{Fraction(entry[key], 10**9)}"


def _inside(entry: Entry) -> None:
    month = _month_span(entry["billing_period"])
    start, end = entry["from"] or month.start, entry["to"] or month.end
    if not month.start <= start < end <= month.end:
        raise ConfigError(
            f"{entry.words}: `from` and `to` ({start.isoformat()}, {end.isoformat()}) have to lie inside the billing period "
            f"{entry['billing_period']}; write what pays for several months as a [[purchase]] with its `months`"
        )


def _meant(entry: Entry, file: Sequence[Entry]) -> list[Entry]:
    """The entries of its file that a percentage is of."""
    plain = [other for other in file if not _is_percentage(other)]
    meant = [other for other in plain if other["name"] == entry["of"]]
    if not meant:
        near = difflib.get_close_matches(entry["of"], [other["name"] for other in plain], 1)
        hint = f"did you mean {near[0]!r}?" if near else "expected the name of one that is no percentage itself"
        raise ConfigError(f"{entry.words}: of: there is no entry {entry['of']!r} in this file; {hint}")
    return meant


def _refuse_more_than_all(entry: Entry, file: Sequence[Entry]) -> None:
    """Percentages that at any time of an entry take together more than all that it charges."""
    if _is_percentage(entry):
        return
    time = _time(entry)
    cuts = [(e, time.cut(e["from"], e["to"])) for e in file if _is_percentage(e) and e["of"] == entry["name"]]
    for when in sorted({edge for _, span in cuts for edge in _ends(span)}):
        held = [cut for cut, span in cuts if span.start <= when < span.end]
        together = sum(cut["percentage"] for cut in held)
        if together < -100:
            named = " and ".join(f"adjustment {cut.number} ({cut['name']}, {cut['percentage']:f} %)" for cut in held)
            raise ConfigError(
                f"{entry.file}: {named}: together {together:f} % of {_titled(entry)} from {when.isoformat()}, more than all of "
                "it; give them `from` and `to` that don't overlap, or lower one"
            )


def _is_percentage(entry: Entry) -> bool:
    return entry.form is ADJUSTMENT and entry["percentage"] is not None


# --- time -------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Span:
    """A half-open span; empty when it ends before it starts."""

    start: datetime
    end: datetime

    @property
    def seconds(self) -> int:
        return max(0, int((self.end - self.start).total_seconds()))

    def cut(self, start: datetime | None, end: datetime | None) -> Span:
        return Span(max(self.start, start or self.start), min(self.end, end or self.end))


def _month_span(month: str) -> Span:
    start = datetime(int(month[:4]), int(month[5:7]), 1, tzinfo=UTC)
    return Span(start, _months_later(start, 1))


def _months_later(when: datetime, months: int) -> datetime:
    """The same day so many months later, or the last of that month."""
    count = when.year * 12 + when.month - 1 + months
    first = datetime(count // 12, count % 12 + 1, 1, tzinfo=UTC)
    after = datetime((count + 1) // 12, (count + 1) % 12 + 1, 1, tzinfo=UTC)
    day = min(when.day, (after - DAY).day)
    return first.replace(day=day, hour=when.hour, minute=when.minute, second=when.second)


def _life(entry: Entry) -> Span:
    """From being put in service to being used up."""
    start = entry["in_service"] or entry["bought"]
    try:
        return Span(start.replace(microsecond=0), _months_later(start, entry["months"]))
    except ValueError as error:
        entry.refuse("months", entry["months"], f"a life that ends before the year 9999 ({error})")


def _time(entry: Entry) -> Span:
    """When an entry that is no percentage charges anything."""
    if entry.form is PURCHASE:
        return Span(entry["bought"], _life(entry).end)
    if entry.form is COST:
        return Span(entry["from"], entry["to"] or datetime.max.replace(tzinfo=UTC))
    return _month_span(entry["billing_period"]).cut(entry["from"], entry["to"])


# --- lines ------------------------------------------------------------------------------------------------------------


def _lines(entry: Entry, entries: Sequence[Entry], month: Span, seen: Span) -> Iterator[dict[str, Any]]:
    """The charges of one entry in a month, as far as it is over."""
    if not _is_percentage(entry):
        yield from _charged(entry, month, seen)
        return
    dated = seen.cut(entry["from"], entry["to"])
    share = Fraction(entry["percentage"]) / 100
    for other in _meant(entry, [e for e in entries if e.file == entry.file]):
        for line in _charged(other, month, dated):
            amounts = {key: _cut(line[key] * share) for key in ("billed_cost_nanos", "effective_cost_nanos")}
            words = {
                "charge_description": f"{_titled(entry)}: {entry['percentage']} % of {_titled(other)}",
                "charge_category": _category(entry),
                "line_type": entry["kind"].title(),
                "origin_row": entry.number,
                "pricing_quantity": None,
                "pricing_unit": None,
                "service_name": entry["service"] or line["service_name"],
                "resource_id": None if line["line_type"] == "Purchase" else entry["resource"] or line["resource_id"],
                "invoice_id": _invoice(entry, month) or line["invoice_id"],
            }
            yield line | amounts | words


def _charged(entry: Entry, month: Span, seen: Span) -> Iterator[dict[str, Any]]:
    """What an entry that is no percentage charges in a part of a month."""
    if entry.form is PURCHASE:
        yield from _purchase(entry, month, seen)
    elif entry.form is COST:
        yield from _cost(entry, month, seen)
    elif _month_span(entry["billing_period"]) == month:
        yield from _fixed(entry, month, seen)


def _purchase(entry: Entry, month: Span, seen: Span) -> Iterator[dict[str, Any]]:
    bought = entry["bought"].replace(microsecond=0)
    if seen.start <= bought < seen.end:
        day = Span(bought, min(bought + DAY, month.end))
        # Without its resource: else the jobs of that day would seem to have been billed the whole price.
        yield _line(entry, day, billed=entry["price"], effective=0, category="Purchase", kind="Purchase") | {
            "resource_id": None,
            "charge_frequency": "One-Time",
        }
    part = seen.cut(*_ends(_life(entry)))
    if part.seconds:
        effective = _used_up(entry, part.end) - _used_up(entry, part.start)
        yield _line(entry, part, billed=0, effective=effective, category="Usage", kind="Depreciation") | {"invoice_id": None}


def _ends(span: Span) -> tuple[datetime, datetime]:
    return span.start, span.end


def _used_up(entry: Entry, when: datetime) -> int:
    """What of a purchase is used up at an instant of its life, in whole nanos: straight line by months.

    A whole month takes one part of `months`; the first takes what is left of its month, by the second; the last the rest.
    """
    whole = entry["price"] - (entry["residual_value"] or 0)
    life = _life(entry)
    if when >= life.end:
        return int(whole)
    last = datetime(life.end.year, life.end.month, 1, tzinfo=UTC)
    if when <= last:
        months = _month_place(when) - _month_place(life.start)
    else:
        before = _month_place(last) - _month_place(life.start)
        months = before + (entry["months"] - before) * Fraction(Span(last, when).seconds, Span(last, life.end).seconds)
    return _cut(Fraction(whole) * months / entry["months"])


def _month_place(when: datetime) -> Fraction:
    """Months since the year 0, with the part of the month that is over."""
    month = _month_span(f"{when:%Y-%m}")
    return when.year * 12 + when.month - 1 + Fraction(Span(month.start, when).seconds, month.seconds)


def _cost(entry: Entry, month: Span, seen: Span) -> Iterator[dict[str, Any]]:
    part = seen.cut(entry["from"], entry["to"])
    if not part.seconds:
        return
    if entry["per_month"] is not None:
        amount = _part(entry["per_month"], part, month)
        yield _line(entry, part, billed=amount, effective=amount, category="Usage", kind="Cost")
        return
    gpu_seconds = entry["gpus"] * part.seconds
    amount = entry["per_gpu_hour"] * gpu_seconds // SECONDS_PER_HOUR
    yield _line(entry, part, billed=amount, effective=amount, category="Usage", kind="Cost") | {
        "pricing_quantity": gpu_seconds / SECONDS_PER_HOUR,
        "pricing_unit": "GPU-Hours",
    }


def _part(amount: int, part: Span, whole: Span) -> int:
    """What falls to a part of a span: a difference of running totals, so that parts add up to the amount."""
    upto = (Fraction(amount * Span(whole.start, when).seconds, whole.seconds) for when in (part.start, part.end))
    start, end = map(_cut, upto)
    return end - start


def _cut(nanos: Fraction) -> int:
    """Whole nanos, cut toward zero: for credits too."""
    return int(nanos)


def _fixed(entry: Entry, month: Span, seen: Span) -> Iterator[dict[str, Any]]:
    """An amount of one billing month."""
    whole = month.cut(entry["from"], entry["to"])
    part = whole.cut(seen.start, seen.end)
    if not part.seconds:
        return
    amount = _part(entry["amount"], part, whole)
    invoice = entry.form is INVOICE
    category, kind = ("Usage", "Invoice") if invoice else (_category(entry), entry["kind"].title())
    yield _line(entry, part, billed=amount, effective=amount, category=category, kind=kind)


def _category(entry: Entry) -> str:
    return "Adjustment" if entry["kind"] == "surcharge" else "Credit"


def _invoice(entry: Entry, span: Span) -> str | None:
    """The invoice that a line of these days is on."""
    return invoice_of(entry["invoice"], f"{span.start:%Y-%m}")


def _titled(entry: Entry) -> str:
    return f"{entry.form.name} {entry.number} ({entry['name']})"


def _line(entry: Entry, span: Span, billed: int, effective: int, category: str, kind: str) -> dict[str, Any]:
    return {
        "origin_file": entry.file,
        "origin_row": entry.number,
        "basis": "billed",
        "billed_cost_nanos": billed,
        "effective_cost_nanos": effective,
        "billing_currency": entry["currency"],
        "charge_period_start": span.start,
        "charge_period_end": span.end,
        "charge_category": category,
        "line_type": kind,
        "charge_description": _titled(entry),
        "charge_frequency": "Recurring",
        "provider_name": entry["provider"],
        "invoice_issuer_name": entry["provider"],
        "invoice_id": _invoice(entry, span),
        "resource_id": entry["resource"],
        "resource_name": entry["name"],
        "service_name": entry["service"] or entry["name"],
    }
