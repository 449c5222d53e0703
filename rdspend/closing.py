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
from rdspend.errors import ConservationError
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

    Two statements of one thing that differ are an alert, and neither is compared.
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
class _Part:
    """Lines of one invoice that have source, currency, issuer and provider in common. Names are in lower case."""

    source: str
    currency: str
    names: frozenset[str] = frozenset()


@dataclass(frozen=True)
class _Statement:
    """What somebody states of an invoice, and the lines that it is about; none when no bill names the invoice."""

    source: str
    months: tuple[str, ...]
    where: str
    invoice: str
    bill: str | None
    provider: str | None
    currency: str
    stated: Decimal
    parts: frozenset[_Part] = frozenset()

    @property
    def words(self) -> str:
        return f"{self.stated:.9f} {self.currency} ({self.where})"

    @property
    def bills(self) -> tuple[str, ...]:
        return tuple(sorted({part.source for part in self.parts}))


class _Invoices:
    """Invoices that the period's bills name or that are stated of it, against what their lines add to in the whole ledger."""

    def __init__(self, engine: Engine, snapshot: Snapshot, period: Period, rows: Sequence[ClosingRow]) -> None:
        self.months = set(period.months)
        self.alerts: list[Alert] = []
        self.differences: list[ClosingRow] = []
        named = sorted({row.invoice for row in rows} - {""})
        self.statements = self._added(_statements(engine, period, named))
        wanted = sorted({*named, *(s.invoice for s in self.statements)})
        self.lines: dict[str, dict[_Part, Decimal]] = {invoice: {} for invoice in wanted}
        if any(s.provider for s in self.statements):
            for source, invoice, currency, _, issuer, provider, billed in _parts(engine, "charges", wanted):
                self._add(invoice, _Part(source, currency, frozenset({issuer, provider} - {""})), money(billed))
        else:
            for row in rows:
                if row.invoice:
                    self._add(row.invoice, _Part(row.source, row.currency), row.billed)
        self.elsewhere = self._other_periods(engine, snapshot, wanted)

    def _add(self, invoice: str, part: _Part, billed: Decimal) -> None:
        self.lines[invoice][part] = self.lines[invoice].get(part, ZERO) + billed

    def _other_periods(self, engine: Engine, snapshot: Snapshot, wanted: Sequence[str]) -> tuple[Elsewhere, ...]:
        """Lines of the invoices on bills of other billing periods; they count."""
        if not wanted or set(snapshot.partitions("charges", "billing_period")) <= self.months:
            return ()
        snapshot.view(engine, "charges", lambda p: p["billing_period"] not in self.months, name="elsewhere")
        named = any(part.names for parts in self.lines.values() for part in parts)
        found: dict[tuple[str, str, str, str], Decimal] = {}
        for source, invoice, currency, month, issuer, provider, billed in _parts(engine, "elsewhere", wanted):
            names = frozenset({issuer, provider} - {""}) if named else frozenset[str]()
            self._add(invoice, _Part(source, currency, names), money(billed))
            place = (source, invoice, currency, month)
            found[place] = found.get(place, ZERO) + money(billed)
        return tuple(Elsewhere(*place, billed) for place, billed in sorted(found.items()))

    def _added(self, statements: Iterable[_Statement]) -> list[_Statement]:
        """One source states an invoice over several months in parts."""
        whole: dict[tuple[str, str, str | None, str | None, str], _Statement] = {}
        again: list[_Statement] = []
        for each in statements:
            key = (each.source, each.invoice, each.bill, each.provider, each.currency)
            known = whole.get(key)
            if known is None:
                whole[key] = each
            elif set(known.months) & set(each.months):
                again.append(each)
            else:
                whole[key] = replace(known, months=(*known.months, *each.months), stated=known.stated + each.stated)
        return [*whole.values(), *again]

    def compare(self) -> list[InvoiceClosing]:
        told = self._distinct()
        found = [self._stated(statement) for statement in told]
        for invoice, parts in self.lines.items():
            covered = {part for s in told if s.invoice == invoice for part in s.parts}
            for currency in sorted({part.currency for part in parts}):
                left = [part for part in parts if part.currency == currency and part not in covered]
                if left:
                    bills = ",".join(sorted({part.source for part in left}))
                    billed = sum((parts[part] for part in left), ZERO)
                    found.append(InvoiceClosing(bills, invoice, currency, None, billed, None))
        return sorted(found, key=lambda each: (each.source, each.invoice, each.currency))

    def _about(self, told: _Statement) -> frozenset[_Part]:
        """The lines that a statement is about: of its bill and, where any line has that issuer or provider, of that one."""
        parts = [part for part in self.lines[told.invoice] if told.bill is None or part.source == told.bill]
        issued = [part for part in parts if told.provider and told.provider.lower() in part.names]
        return frozenset(issued or parts)

    def _distinct(self) -> list[_Statement]:
        """One statement of the same lines. The same told twice is told once; of two that differ neither is taken, but shown."""
        distinct: dict[tuple[str, str], list[_Statement]] = {}
        disputed: list[_Statement] = []
        for each in self.statements:
            statement = replace(each, parts=self._about(each))
            known = distinct.setdefault((each.invoice, each.currency), [])
            clash = [k for k in known if _same(k, statement)]
            others = [k for k in clash if (k.parts, k.stated) != (statement.parts, statement.stated)]
            for other in others:
                self.alerts.append(
                    Alert(
                        each.currency,
                        f"invoice {each.invoice} is stated twice: {other.words} and {statement.words}; neither is compared: "
                        "take one of them out, or say with `bill` or `provider` which one each is about",
                    )
                )
            disputed += [*others, statement] if others else []
            if not clash:
                known.append(statement)
        return [statement for same in distinct.values() for statement in same if statement not in disputed]

    def _stated(self, told: _Statement) -> InvoiceClosing:
        spoken = {part.currency for part in told.parts}
        source = ",".join(told.bills) or told.bill or told.source
        lines = self.lines[told.invoice]
        billed = sum((lines[part] for part in told.parts if part.currency == told.currency), ZERO)
        closing = InvoiceClosing(source, told.invoice, told.currency, told.stated, billed, None)
        if spoken and told.currency not in spoken:
            words = f"stated in {told.currency} ({told.where}), the bill has it in {', '.join(sorted(spoken))}: not compared"
            self.alerts.append(Alert(told.currency, f"invoice {told.invoice} of {source}: {words}"))
            return closing
        difference = told.stated - billed
        rounded = difference != 0 and abs(difference) < half_unit(told.currency)
        if difference and max(told.months) in self.months:
            category = "rounding" if rounded else "unexplained"
            self.differences.append(ClosingRow(source, told.invoice, told.currency, category, difference, ZERO))
        if difference and not rounded:
            there = f"the bill's lines on it add to {billed:.9f}" if spoken else "no line of a bill names it"
            words = f"stated {told.words}, {there}: {difference:.9f} {told.currency} unexplained"
            self.alerts.append(Alert(told.currency, f"invoice {told.invoice} of {source}: {words}"))
        return replace(closing, difference=difference, rounded=rounded)


def _same(one: _Statement, other: _Statement) -> bool:
    """Two statements of the same lines, or of the same invoice that no line names."""
    if one.parts or other.parts:
        return bool(one.parts & other.parts)
    return (one.bill, one.provider) == (other.bill, other.provider)


def _statements(engine: Engine, period: Period, named: Sequence[str]) -> Iterable[_Statement]:
    wanted = {"months": list(period.months), "invoices": list(named)}
    for source, month, file, row, invoice, bill, provider, currency, nanos in engine.read("stated_invoice", wanted):
        yield _Statement(source, (month,), f"{file}:{row}", invoice, bill, provider, currency, money(nanos))


def _parts(engine: Engine, lines: str, invoices: Sequence[str]) -> list[tuple[Any, ...]]:
    return engine.read("invoice_part", {"invoices": list(invoices)}, lines=lines)


# --- checks -----------------------------------------------------------------------------------------------------------

Key = tuple[str, ...]


def _check(engine: Engine, period: Period) -> tuple[tuple[CheckClosing, ...], list[Alert]]:
    """Summaries against the bill of the months they are of, month by month, summed over the period."""
    alerts: list[Alert] = []
    stated = _distinct_checks(engine.read("stated_check", {"months": list(period.months)}), alerts)
    if not stated:
        return (), alerts
    finest = engine.read("check_sum")
    stated |= _unnamed(stated, finest)
    bills = _bill_sums(finest)
    spoken = {(bill, month): set[str]() for bill, month, *_ in bills}
    for bill, month, currency, *_ in bills:
        spoken[bill, month].add(currency)
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


Stated = dict[tuple[str, str, str, str, str, str, int], tuple[int, bool, str]]


def _distinct_checks(rows: Iterable[Sequence[Any]], alerts: list[Alert]) -> Stated:
    """Stated nanos, whether they are all of it, and where they stand, by what they are about. Side 0 is billed, 1 effective."""
    stated: Stated = {}
    disputed = set()
    for source, month, file, row, bill, service, account, currency, billed, effective, complete in rows:
        side = 1 if billed is None and effective is not None else 0
        key = (source, month, bill or "", service, account, currency, side)
        told = (int((effective if side else billed) or 0), bool(complete), f"{file}:{row}")
        known = stated.setdefault(key, told)
        if known[:2] != told[:2]:
            disputed.add(key)
            words = f"{money(known[0]):.9f} ({known[2]}) and {money(told[0]):.9f} ({told[2]}) {currency}; neither is compared"
            what = f"{service or 'all services'}, {account or 'all accounts'}"
            alerts.append(
                Alert(currency, f"check of {bill or 'all bills'} {month} by {source}: {what} is stated twice: {words}")
            )
    return {key: told for key, told in stated.items() if key not in disputed}


def _unnamed(stated: Stated, bills: Iterable[Sequence[Any]]) -> Stated:
    """What a bill has of services or accounts that a whole summary of it does not name: stated is nothing of them."""
    told: dict[tuple[str, str, str, str, int], set[tuple[str, str]]] = {}
    whole: dict[tuple[str, str, str, str, int], bool] = {}
    for (source, month, bill, service, account, currency, side), (_, complete, _where) in stated.items():
        about = (source, month, bill, currency, side)
        told.setdefault(about, set()).add((service, account))
        whole[about] = whole.get(about, True) and complete
    found: Stated = {}
    for bill_source, bill_month, bill_currency, service, account, *sums in bills:
        for (source, month, bill, currency, side), named in told.items():
            if (bill_month, bill_currency) != (month, currency) or bill not in (bill_source, "") or not sums[side]:
                continue
            if not any(s in (service, "") and a in (account, "") for s, a in named):
                of = (service if any(s for s, _ in named) else "", account if any(a for _, a in named) else "")
                key = (source, month, bill, *of, currency, side)
                found[key] = (0, whole[source, month, bill, currency, side], "not named")
    return found


def _bill_sums(rows: Iterable[Sequence[Any]]) -> dict[Key, tuple[int, int]]:
    """Billed and effective nanos by bill, month, currency, service and account, where "" stands for all of them."""
    sums: dict[Key, tuple[int, int]] = {}
    for source, month, currency, service, account, billed, effective in rows:
        for bill, of_service, of_account in itertools.product({source, ""}, {service, ""}, {account, ""}):
            key = (bill, month, currency, of_service, of_account)
            known = sums.get(key, (0, 0))
            sums[key] = (known[0] + int(billed), known[1] + int(effective))
    return sums
