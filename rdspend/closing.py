"""The closing table: what a bill is made of, by source, invoice and currency, and what others state against it.

Every charge of the period is in exactly one row, so the rows add to the bill: effective cost to the breakdown's total, billed
cost to its billed total. A statement never adds money to the bill. Where one differs, the difference is a row of its own that
makes the rows add to what is stated: `rounding` when it is under half of the currency's smallest unit, else `unexplained`,
which is an alert.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import Any

from rdspend.engine import Engine
from rdspend.errors import BadRecord, ConservationError
from rdspend.ledger import Snapshot
from rdspend.period import Period
from rdspend.schema import CLOSING_CATEGORIES, CheckClosing, ClosingRow, InvoiceClosing

ZERO = Decimal(0)

# Digits of the smallest unit behind the point, where they are not two (ISO 4217).
MINOR_DIGITS: Mapping[str, int] = {
    **dict.fromkeys(
        ("BIF", "CLP", "DJF", "GNF", "ISK", "JPY", "KMF", "KRW", "PYG", "RWF", "UGX", "VND", "VUV", "XAF", "XOF", "XPF"), 0
    ),
    **dict.fromkeys(("BHD", "IQD", "JOD", "KWD", "LYD", "OMR", "TND"), 3),
}


@dataclass(frozen=True)
class Elsewhere:
    """Lines of one of the period's invoices on the bill of another period."""

    source: str
    invoice: str
    currency: str
    billing_period: str
    billed: Decimal


@dataclass(frozen=True)
class Alert:
    """A difference that somebody has to look at."""

    currency: str
    words: str


@dataclass(frozen=True)
class ClosingTable:
    """The bill of a period by category, and everything stated against it.

    rows         of the bill alone: they add to it. `differences` are rows that make an invoice add to what it states.
    elsewhere    lines that `invoices` counts and the period's rows do not
    roundings    what rounding to nanos took at the border, as the collectors noted it: source, file, words, lines
    """

    rows: tuple[ClosingRow, ...]
    differences: tuple[ClosingRow, ...]
    invoices: tuple[InvoiceClosing, ...]
    checks: tuple[CheckClosing, ...]
    elsewhere: tuple[Elsewhere, ...]
    roundings: tuple[tuple[str, str, str, int], ...]
    alerts: tuple[Alert, ...]

    @property
    def stated_rows(self) -> tuple[ClosingRow, ...]:
        """The rows with the differences, one a source, invoice, currency and category."""
        rows: dict[tuple[str, str, str, str], ClosingRow] = {}
        for row in (*self.rows, *self.differences):
            key = (row.source, row.invoice, row.currency, row.category)
            known = rows.setdefault(key, replace(row, billed=ZERO, effective=ZERO))
            rows[key] = replace(row, billed=known.billed + row.billed, effective=known.effective + row.effective)
        return tuple(sorted(rows.values(), key=_place))


def money(nanos: int) -> Decimal:
    """Whole nanos as a decimal with nine places, exactly."""
    return Decimal(int(nanos)).scaleb(-9)


def half_unit(currency: str) -> Decimal:
    """Half of a currency's smallest unit: 0.005 of most."""
    return Decimal(5).scaleb(-1 - MINOR_DIGITS.get(currency, 2))


def draw_up(engine: Engine, snapshot: Snapshot, period: Period) -> ClosingTable:
    """The closing table of a period in all its currencies. Wants the views `charges` and `findings` of it.

    Raises BadRecord when two statements of one thing differ.
    """
    snapshot.view(engine, "statements")
    rows = tuple(
        sorted(
            (ClosingRow(s, i, c, category, money(b), money(e)) for s, i, c, category, b, e in engine.read("closing_row")),
            key=_place,
        )
    )
    invoices = _Invoices(engine, snapshot, period, rows)
    compared = invoices.compare()
    checks, check_alerts = _check(engine, period)
    return ClosingTable(
        rows,
        tuple(invoices.differences),
        tuple(compared),
        checks,
        invoices.elsewhere,
        tuple(
            (stage.removeprefix("collect."), file, words, int(lines))
            for stage, file, words, lines in engine.rows(
                "SELECT stage, subject, detail, \"rows\" FROM findings WHERE kind = 'rounding' ORDER BY ALL"
            )
        ),
        (*invoices.alerts, *check_alerts),
    )


def in_currency(table: ClosingTable, currency: str) -> ClosingTable:
    """The part of one currency. What is stated in a currency that no bill of the period has is shown with every one of them."""
    billed = {r.currency for r in table.rows} | {currency}

    def ours(of: str) -> bool:
        return of == currency or of not in billed

    return replace(
        table,
        rows=tuple(r for r in table.rows if r.currency == currency),
        differences=tuple(r for r in table.differences if ours(r.currency)),
        invoices=tuple(i for i in table.invoices if ours(i.currency)),
        checks=tuple(c for c in table.checks if ours(c.currency)),
        elsewhere=tuple(e for e in table.elsewhere if e.currency == currency),
        alerts=tuple(a for a in table.alerts if ours(a.currency)),
    )


def refuse_other_sums(rows: Sequence[ClosingRow], where: str, total: Decimal, billed_total: Decimal) -> None:
    """Raises ConservationError when the rows of the bill do not add to its totals."""
    effective, billed = (sum((getattr(r, side) for r in rows), ZERO) for side in ("effective", "billed"))
    if (effective, billed) != (total, billed_total):
        raise ConservationError(
            f"{where}: the closing table adds to {effective:.9f} (billed {billed:.9f}), the bill is {total:.9f} "
            f"(billed {billed_total:.9f}); "
            "they must be equal; nothing was published"
        )


def _place(row: ClosingRow) -> tuple[str, str, str, int]:
    return row.source, row.invoice, row.currency, CLOSING_CATEGORIES.index(row.category)


# --- invoices ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Statement:
    """What somebody states of an invoice, and the bills that it is about; none when no bill names the invoice."""

    source: str
    month: str
    where: str
    invoice: str
    bill: str | None
    currency: str
    stated: Decimal
    bills: tuple[str, ...] = ()

    @property
    def words(self) -> str:
        return f"{self.stated:.9f} {self.currency} ({self.where})"


class _Invoices:
    """Invoices that the period's bills name or that are stated of it, against what their lines add to in the whole ledger."""

    def __init__(self, engine: Engine, snapshot: Snapshot, period: Period, rows: Sequence[ClosingRow]) -> None:
        self.months = set(period.months)
        self.alerts: list[Alert] = []
        self.differences: list[ClosingRow] = []
        named = sorted({row.invoice for row in rows} - {""})
        self.statements = _statements(engine, period, named)
        wanted = sorted({*named, *(s.invoice for s in self.statements)})
        self.elsewhere = _elsewhere(engine, snapshot, self.months, wanted)
        self.lines: dict[str, dict[tuple[str, str], Decimal]] = {invoice: {} for invoice in wanted}
        lines: list[ClosingRow | Elsewhere] = [*(r for r in rows if r.invoice), *self.elsewhere]
        for line in lines:
            sums = self.lines[line.invoice]
            key = (line.source, line.currency)
            sums[key] = sums.get(key, ZERO) + line.billed

    def compare(self) -> list[InvoiceClosing]:
        told = self._distinct()
        found = [self._stated(statement) for statement in told]
        for invoice, sums in self.lines.items():
            covered = {(bill, s.currency) for s in told if s.invoice == invoice for bill in s.bills}
            for currency in sorted({c for _, c in sums}):
                bills = sorted(b for b, c in sums if c == currency and (b, c) not in covered)
                if bills:
                    found.append(
                        InvoiceClosing(",".join(bills), invoice, currency, None, self._billed(invoice, currency, bills), None)
                    )
        return sorted(found, key=lambda each: (each.source, each.invoice, each.currency))

    def _distinct(self) -> list[_Statement]:
        """One statement of each invoice, currency and bills. The same told twice is told once; two that differ are refused."""
        distinct: dict[tuple[str, str], list[_Statement]] = {}
        for each in self.statements:
            naming = {bill for bill, _ in self.lines[each.invoice]}
            statement = replace(each, bills=tuple(sorted(naming & {each.bill} if each.bill else naming)))
            known = distinct.setdefault((each.invoice, each.currency), [])
            clash = [
                k
                for k in known
                if set(k.bills) & set(statement.bills) or (k.bills == statement.bills == () and k.bill == each.bill)
            ]
            for other in clash:
                if (other.bills, other.stated) != (statement.bills, statement.stated):
                    raise BadRecord(
                        f"invoice {each.invoice!r} is stated twice: {other.words} and {each.words}; expected one total: "
                        "take one of them out, or say with `bill` which bill each is about"
                    )
            if not clash:
                known.append(statement)
        return [statement for same in distinct.values() for statement in same]

    def _billed(self, invoice: str, currency: str, bills: Iterable[str]) -> Decimal:
        return sum((self.lines[invoice].get((bill, currency), ZERO) for bill in bills), ZERO)

    def _stated(self, told: _Statement) -> InvoiceClosing:
        spoken = {c for bill, c in self.lines[told.invoice] if bill in told.bills}
        source = ",".join(told.bills) or told.bill or told.source
        billed = self._billed(told.invoice, told.currency, told.bills)
        closing = InvoiceClosing(source, told.invoice, told.currency, told.stated, billed, None)
        if spoken and told.currency not in spoken:
            words = f"stated in {told.currency} ({told.where}), the bill has it in {', '.join(sorted(spoken))}: not compared"
            self.alerts.append(Alert(told.currency, f"invoice {told.invoice} of {source}: {words}"))
            return closing
        difference = told.stated - billed
        rounded = difference != 0 and abs(difference) < half_unit(told.currency)
        if difference and told.month in self.months:
            category = "rounding" if rounded else "unexplained"
            self.differences.append(ClosingRow(source, told.invoice, told.currency, category, difference, ZERO))
        if difference and not rounded:
            lines = f"the bill's lines on it add to {billed:.9f}" if spoken else "no line of a bill names it"
            words = f"stated {told.words}, {lines}: {difference:.9f} {told.currency} unexplained"
            self.alerts.append(Alert(told.currency, f"invoice {told.invoice} of {source}: {words}"))
        return replace(closing, difference=difference, rounded=rounded)


def _statements(engine: Engine, period: Period, named: Sequence[str]) -> list[_Statement]:
    found = []
    for source, month, file, row, invoice, bill, currency, nanos in engine.read(
        "stated_invoice", {"months": list(period.months), "invoices": list(named)}
    ):
        if invoice is None or nanos is None:
            raise BadRecord(f"row {row}: a stated invoice without its number or its billed total; expected both", file)
        found.append(_Statement(source, month, f"{file}:{row}", invoice, bill, currency, money(nanos)))
    return found


def _elsewhere(engine: Engine, snapshot: Snapshot, months: set[str], invoices: Sequence[str]) -> tuple[Elsewhere, ...]:
    if not invoices or set(snapshot.partitions("charges", "billing_period")) <= months:
        return ()
    snapshot.view(engine, "charges", lambda p: p["billing_period"] not in months, name="elsewhere")
    rows = engine.read("invoice_elsewhere", {"invoices": list(invoices)})
    return tuple(Elsewhere(s, i, c, month, money(b)) for s, i, c, month, b in rows)


# --- checks -----------------------------------------------------------------------------------------------------------

Key = tuple[str, ...]


def _check(engine: Engine, period: Period) -> tuple[tuple[CheckClosing, ...], list[Alert]]:
    """Summaries against the bill of the months they are of, month by month, summed over the period."""
    stated = _distinct_checks(engine.read("stated_check", {"months": list(period.months)}))
    if not stated:
        return (), []
    bills = _bill_sums(engine.read("check_sum"))
    spoken = {(bill, month): set[str]() for bill, month, *_ in bills}
    for bill, month, currency, *_ in bills:
        spoken[bill, month].add(currency)
    alerts: list[Alert] = []
    sums: dict[tuple[Key, int], tuple[Decimal, Decimal, bool]] = {}
    for (source, month, bill, service, account, currency, side), (nanos, complete, where) in stated.items():
        others = spoken.get((bill, month), set())
        if others and currency not in others:
            words = f"stated in {currency} ({where}), the bill is in {', '.join(sorted(others))}: not compared"
            alerts.append(Alert(currency, f"check of {bill or 'all bills'} {month} by {source}: {words}"))
            continue
        billed = bills.get((bill, month, currency, service, account), (0, 0))[side]
        key = ((source, bill, service, account, currency), side)
        known = sums.get(key, (ZERO, ZERO, True))
        sums[key] = (known[0] + money(nanos), known[1] + money(billed), known[2] and complete)
    checks = []
    for ((source, bill, service, account, currency), _), (told, billed_sum, complete) in sorted(sums.items()):
        check = CheckClosing(bill, service, account, currency, told, billed_sum, told - billed_sum, complete)
        checks.append(check)
        if complete and abs(check.difference) >= half_unit(currency):
            what = ", ".join(filter(None, (service, account))) or "all of it"
            words = f"stated {told:.9f} {currency}, the bill has {billed_sum:.9f}: difference {check.difference:.9f}"
            alerts.append(Alert(currency, f"check of {bill or 'all bills'} by {source}: {what}: {words}"))
    return tuple(checks), alerts


def _distinct_checks(rows: Iterable[Sequence[Any]]) -> dict[Any, tuple[int, bool, str]]:
    """Stated nanos, whether they are all of it, and where they stand, by what they are about. Side 0 is billed, 1 effective."""
    stated: dict[Any, tuple[int, bool, str]] = {}
    for source, month, file, row, bill, service, account, currency, billed, effective, complete in rows:
        if billed is None and effective is None and complete:
            raise BadRecord(
                f"row {row}: a complete check that states neither a billed nor an effective total; expected one", file
            )
        side = 1 if billed is None and effective is not None else 0
        key = (source, month, bill or "", service, account, currency, side)
        told = (int((effective if side else billed) or 0), bool(complete), f"{file}:{row}")
        known = stated.setdefault(key, told)
        if known[:2] != told[:2]:
            raise BadRecord(
                f"{source} {month}: {service or 'all services'}, {account or 'all accounts'} is stated twice: "
                f"{money(known[0]):.9f} ({known[2]}) and {money(told[0]):.9f} ({told[2]}) {currency}; expected one total"
            )
    return stated


def _bill_sums(rows: Iterable[Sequence[Any]]) -> dict[Key, tuple[int, int]]:
    """Billed and effective nanos by bill, month, currency, service and account, where "" stands for all of them."""
    sums: dict[Key, tuple[int, int]] = {}
    for source, month, currency, service, account, billed, effective in rows:
        for bill, of_service, of_account in itertools.product({source, ""}, {service, ""}, {account, ""}):
            key = (bill, month, currency, of_service, of_account)
            known = sums.get(key, (0, 0))
            sums[key] = (known[0] + int(billed), known[1] + int(effective))
    return sums
