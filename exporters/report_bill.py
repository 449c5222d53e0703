"""What the page says of the bill: how far it is, what others state against it, and how far estimates were from it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from decimal import Decimal

from exporters.report_blocks import (
    Block,
    Column,
    Heading,
    Note,
    Row,
    Table,
    change_text,
    difference_text,
    legible,
    money_text,
    names_of,
    rate_text,
    words_of,
)
from rdspend.schema import Breakdown, CheckClosing, ClosingRow, InvoiceClosing

CLOSING_ROWS_SHOWN = 60
ALERTS_SHOWN = 5


def state_text(b: Breakdown) -> str:
    """How far the bill is; of a closed month also with what it was closed, and what it is now."""
    if b.closed is None:
        return b.state
    revision = f"as revision {b.closed.revision}" if b.closed.revision else "without this currency"
    closed = f"closed with {money_text(b.closed.total)} {revision}"
    if b.state != "corrected":
        return closed
    moved, billed = b.total - b.closed.total, b.billed_total - b.closed.billed_total
    if moved:
        return f"{closed}; corrected to {money_text(b.total)} ({change_text(moved)})"
    if billed:
        return f"{closed}; corrected on invoices to {money_text(b.billed_total)} ({change_text(billed)})"
    return f"{closed}; corrected since: the total is the same, other figures are not"


def state_reason(b: Breakdown) -> str:
    """What keeps the period from being closed."""
    return f"{b.state}: {b.state_why}" if b.state_why else ""


def _differing(invoices: Iterable[InvoiceClosing]) -> list[InvoiceClosing]:
    """Invoices that the bill does not meet, largest first: not compared, or by more than rounding."""
    found = [i for i in invoices if i.stated is not None and (i.difference is None or (i.difference and not i.rounded))]
    return sorted(found, key=lambda i: (-abs(_difference(i)), i.source, i.invoice))


def _difference(i: InvoiceClosing) -> Decimal:
    return Decimal(0) if i.difference is None else i.difference


def _stated(i: InvoiceClosing) -> Decimal:
    return Decimal(0) if i.stated is None else i.stated


def alerts(b: Breakdown) -> Iterator[Block]:
    found = _differing(b.invoices)
    for i in found[:ALERTS_SHOWN]:
        lines = (
            "the bill has it in another currency: they can't be compared."
            if i.difference is None
            else f"the bill's lines on it add to {money_text(i.billed)}: {difference_text(i.difference)} unexplained."
        )
        stated = f"states {money_text(_stated(i))} {i.currency}"
        yield Note(f"ALERT: invoice {legible(i.invoice)} of {legible(i.source)} {stated}, {lines}", "alarm")
    if rest := found[ALERTS_SHOWN:]:
        yield Note(f"ALERT: {len(rest):,} more invoices differ from the bill; see Invoices.", "alarm")


def estimate_text(b: Breakdown) -> str:
    """How far the total may be from the bill that is to come, or why nobody knows."""
    if b.estimated_low is not None and b.estimated_high is not None:
        return (
            f"the total is {money_text(b.estimated_low)} – {money_text(b.estimated_high)} {b.currency} when what is "
            "estimated is off by the 90th percentile of earlier errors"
        )
    if not b.state or not any(cell.basis == "estimated" and cell.cost for cell in b.cells):
        return ""
    known = names_of(error.gpu_type or "no GPU" for error in b.estimate_errors)
    seen = f"is known for {known} only" if known else "is not known for any GPU type"
    return f"no interval: how far estimates are from the bill {seen}"


def conversions_text(b: Breakdown) -> str:
    return "of which " + "; ".join(
        f"{c.currency} {money_text(c.total)} at {rate_text(c.first_rate)}"
        f"{'' if c.first_rate == c.last_rate else '..' + rate_text(c.last_rate)} = {b.currency} {money_text(c.converted_total)}"
        for c in b.conversions
    )


def closing_by_source(b: Breakdown) -> Iterator[Block]:
    if not b.closings:
        return
    yield Heading("Closing by source", "closings")
    several = any(c.currency not in ("", b.currency) for c in b.closings)
    unit = "" if several else f" {b.currency}"
    columns = (
        *(Column("Source"), Column("Month"), Column("Basis", from_width=100)),
        *((Column("Currency"),) if several else ()),
        *(Column(f"{name}{unit}", number=True) for name in ("Charges", "Attributed")),
        Column("Difference", number=True),
    )
    yield Table(
        columns,
        tuple(
            Row(
                (
                    *(c.source, c.billing_period, c.basis),
                    *((c.currency or b.currency,) if several else ()),
                    *(money_text(c.charges), money_text(c.attributed), f"{c.charges - c.attributed:.9f}"),
                )
            )
            for c in b.closings
        ),
    )


def bridge(b: Breakdown) -> Iterator[Block]:
    """The closing table: which lines make the effective total, and which the billed one."""
    if not b.bridge:
        return
    yield Heading("From effective to billed", "bridge")
    currencies = sorted({row.currency for row in b.bridge})
    several = len(currencies) > 1
    columns = (
        *(Column("Source"), Column("Invoice"), Column("Category")),
        *((Column("Currency"),) if several else ()),
        *(Column("Effective", number=True), Column("Billed", number=True)),
    )
    shown, rest = b.bridge[:CLOSING_ROWS_SHOWN], b.bridge[CLOSING_ROWS_SHOWN:]

    def row(words: tuple[str, str, str], currency: str, parts: Sequence[ClosingRow], strong: bool = False) -> Row:
        effective, billed = (sum(sums, Decimal(0)) for sums in zip(*((p.effective, p.billed) for p in parts), strict=True))
        return Row(
            (*words, *((currency,) if several else ()), money_text(effective), money_text(billed)),
            strong=strong,
        )

    rows = [row((c.source, c.invoice or "(none yet)", words_of(c.category)), c.currency, (c,)) for c in shown]
    for currency in currencies:
        if hidden := [c for c in rest if c.currency == currency]:
            rows.append(row((f"and {len(hidden):,} more", "", ""), currency, hidden))
        rows.append(row(("total", "", ""), currency, [c for c in b.bridge if c.currency == currency], strong=True))
    yield Table(columns, tuple(rows))


def invoices(b: Breakdown) -> Iterator[Block]:
    stated = [i for i in b.invoices if i.stated is not None]
    if not stated:
        return
    yield Heading("Invoices", "invoices")
    untold = len(b.invoices) - len(stated)
    columns = (
        *(Column("Invoice"), Column("Source"), Column("Currency", from_width=100)),
        *(Column(name, number=True) for name in ("Stated", "Bill's lines", "Difference")),
        Column("", from_width=100),
    )
    alarming = _differing(stated)
    ordered = [*alarming, *(i for i in stated if i not in alarming)]
    yield Table(
        columns,
        tuple(
            Row(
                (
                    *(i.invoice, i.source, i.currency, money_text(_stated(i)), money_text(i.billed)),
                    *("" if i.difference is None else difference_text(i.difference), _verdict(i)),
                ),
                strong=i in alarming,
            )
            for i in ordered
        ),
    )
    if untold:
        yield Note(f"Invoices of the bill that nobody stated a total of: {untold:,}.", "small")


def _verdict(i: InvoiceClosing) -> str:
    if i.difference is None:
        return "not compared"
    return "agrees" if not i.difference else "rounding" if i.rounded else "UNEXPLAINED"


def checks(b: Breakdown) -> Iterator[Block]:
    if not b.checks:
        return
    yield Heading("The provider's own summary", "checks")
    columns = (
        *(Column("Source"), Column("Service"), Column("Account"), Column("Currency", from_width=100)),
        *(Column(name, number=True) for name in ("Stated", "Bill", "Difference")),
    )
    ordered = sorted(b.checks, key=lambda c: (-abs(c.difference) if c.complete else Decimal(0), c.source, c.service, c.account))
    shown, rest = ordered[:CLOSING_ROWS_SHOWN], ordered[CLOSING_ROWS_SHOWN:]
    rows = [
        Row(
            (
                *(c.source, c.service or "all", c.account or "all", c.currency, money_text(c.stated), money_text(c.billed)),
                _check_difference(c),
            ),
            strong=c.complete and c.difference != 0,
        )
        for c in shown
    ]
    yield Table(columns, tuple(rows))
    if rest:
        yield Note(f"And {len(rest):,} more with smaller differences; `rdspend report --format json` has all.", "small")


def _check_difference(c: CheckClosing) -> str:
    return difference_text(c.difference) if c.complete else "open"


def estimate_errors(b: Breakdown) -> Iterator[Block]:
    if not b.estimate_errors:
        return
    yield Heading("Estimates against their bill", "estimates")
    yield Note("Node hours that had a price and then got their bill: (bill - estimate) / estimate, of the newest month known.")
    columns = (
        *(Column("GPU type"), Column("Month"), Column("Node-hours", number=True)),
        *(Column(f"{name} {b.currency}", number=True, from_width=100) for name in ("Estimated", "Billed")),
        *(Column("Median", number=True), Column("90 % within", number=True), Column("Bias", number=True)),
    )
    yield Table(
        columns,
        tuple(
            Row(
                (
                    *(e.gpu_type or "(no GPU, or not known)", e.month, f"{e.node_hours:,}"),
                    *(money_text(e.estimated), money_text(e.billed)),
                    *(f"{change_text(e.median * 100)} %", f"{money_text(e.p90 * 100)} %", f"{change_text(e.bias * 100)} %"),
                )
            )
            for e in b.estimate_errors
        ),
    )
