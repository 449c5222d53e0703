"""The closing table, the column coverage, the dearest groups and the costs of releases, on a terminal or as JSON."""

from __future__ import annotations

import json
from collections.abc import Sequence
from decimal import Decimal
from typing import Any

import click
from rich.console import Console
from rich.table import Table
from rich.text import Text

from rdspend.closing import ClosingTable
from rdspend.column_coverage import SourceColumns
from rdspend.release_cost import ReleaseCost, ReleaseCosts, of
from rdspend.schema import CheckClosing, InvoiceClosing, Pareto

PIPE_WIDTH = 200
NO_INVOICE = "no invoice yet"
NOT_TOLD = "not told"
NOT_KNOWN = "(not known)"


def print_closing(found: ClosingTable, period: str, snapshot: str, form: str) -> None:
    """Print the closing table; its money has all nine places."""
    if form == "json":
        click.echo(json.dumps(_closing_document(found, period, snapshot), indent=2))
        return
    console = _console()
    _heading(console, f"Closing table of {period} ({snapshot})")
    for currency in sorted({row.currency for row in found.stated_rows}):
        _rows(console, found, currency)
    if found.invoices:
        _invoices(console, found)
    if found.checks:
        _checks(console, found.checks)
    if found.roundings:
        _heading(console, "Rounding at the border (exact sum of a file minus the sum of whole nanos)")
        grid = _grid("source", "file", "lines rounded", "what it came to", right=("lines rounded",))
        for source, file, words, lines in found.roundings:
            grid.add_row(_visible(source), _visible(file), f"{lines:,}", _visible(words))
        console.print(grid)
    _heading(console, "No difference to look at" if not found.alerts else f"To look at: {len(found.alerts)}")
    for alert in found.alerts:
        console.print(Text.assemble("  ", _visible(alert.words)))


def _closing_document(found: ClosingTable, period: str, snapshot: str) -> dict[str, Any]:
    return {
        "period": period,
        "snapshot": snapshot,
        "rows": [
            {
                "source": r.source,
                "invoice": r.invoice or None,
                "currency": r.currency,
                "category": r.category,
                "billed": _plain(r.billed),
                "effective": _plain(r.effective),
            }
            for r in found.stated_rows
        ],
        "invoices": [
            {
                "source": i.source,
                "invoice": i.invoice,
                "currency": i.currency,
                "stated": _plain(i.stated),
                "billed": _plain(i.billed),
                "difference": _plain(i.difference),
            }
            for i in found.invoices
        ],
        "totals": [
            {"currency": currency, "billed": _plain(billed), "effective": _plain(effective)}
            for currency, billed, effective in _totals(found)
        ],
        "checks": [
            {
                "source": c.source or None,
                "service": c.service or None,
                "account": c.account or None,
                "currency": c.currency,
                "stated": _plain(c.stated),
                "billed": _plain(c.billed),
                "difference": _plain(c.difference),
                "complete": c.complete,
            }
            for c in found.checks
        ],
        "other_periods": [
            {
                "source": e.source,
                "invoice": e.invoice,
                "currency": e.currency,
                "billing_period": e.billing_period,
                "billed": _plain(e.billed),
            }
            for e in found.elsewhere
        ],
        "roundings": [
            {"source": source, "file": file, "detail": words, "rows": lines} for source, file, words, lines in found.roundings
        ],
        "alerts": [alert.words for alert in found.alerts],
    }


def _totals(found: ClosingTable) -> list[tuple[str, Decimal, Decimal]]:
    """What the bill adds to, without the rows that only explain a statement."""
    return [
        (
            currency,
            sum((r.billed for r in found.rows if r.currency == currency), Decimal(0)),
            sum((r.effective for r in found.rows if r.currency == currency), Decimal(0)),
        )
        for currency in sorted({r.currency for r in found.rows})
    ]


def _rows(console: Console, found: ClosingTable, currency: str) -> None:
    grid = _grid("source", "invoice", "category", "billed", "effective", right=("billed", "effective"))
    rows = [row for row in found.stated_rows if row.currency == currency]
    for row in rows:
        words = (row.source, row.invoice or NO_INVOICE, row.category)
        grid.add_row(*map(_visible, words), _money(row.billed), _money(row.effective))
    billed, effective = (sum((getattr(r, side) for r in rows), Decimal(0)) for side in ("billed", "effective"))
    whole = "sum" if not any(r.currency == currency for r in found.differences) else "sum, with what is only stated"
    grid.add_row(whole, "", "", _money(billed), _money(effective))
    if whole != "sum":
        _, on_bill, effective = next((t for t in _totals(found) if t[0] == currency), ("", Decimal(0), Decimal(0)))
        grid.add_row("of it on the bill", "", "", _money(on_bill), _money(effective))
    _heading(console, f"The bill in {currency}")
    console.print(grid)


def _invoices(console: Console, found: ClosingTable) -> None:
    grid = _grid("invoice", "bill", "", "stated", "billed", "difference", "", right=("stated", "billed", "difference"))
    for i in found.invoices:
        words = (i.invoice, i.source, i.currency)
        stated = NOT_TOLD if i.stated is None else _money(i.stated)
        difference = "" if i.difference is None else _money(i.difference)
        grid.add_row(*map(_visible, words), stated, _money(i.billed), difference, _visible(_remark(found, i)))
    _heading(console, "Invoices")
    console.print(grid)


def _remark(found: ClosingTable, invoice: InvoiceClosing) -> str:
    bills = invoice.source.split(",")
    spread = [
        f"{_money(e.billed)} of it on the bill of {e.billing_period}"
        for e in found.elsewhere
        if (e.invoice, e.currency) == (invoice.invoice, invoice.currency) and e.source in bills
    ]
    if invoice.difference is None:
        word = "" if invoice.stated is None else "NOT COMPARED: the bill has another currency"
    else:
        word = "closes" if not invoice.difference else "closes by rounding" if invoice.rounded else "DIFFERS"
    return "; ".join(filter(None, (word, *spread)))


def _checks(console: Console, checks: Sequence[CheckClosing]) -> None:
    grid = _grid(
        "bill", "service", "account", "", "stated", "billed", "difference", "", right=("stated", "billed", "difference")
    )
    for c in checks:
        words = (c.source or "all", c.service or "all", c.account or "all", c.currency)
        sums = (c.stated, c.billed, c.difference) if c.complete else (c.stated, c.billed)
        shown = [*map(_money, sums), *[""] * (3 - len(sums))]
        grid.add_row(*map(_visible, words), *shown, "" if c.complete else "open: the summary is not complete")
    _heading(console, "Checks: the provider's own summary against the bill")
    console.print(grid)


def print_columns(found: Sequence[SourceColumns], period: str, snapshot: str, form: str) -> None:
    """Print which columns each source fills."""
    if form == "json":
        click.echo(json.dumps(_columns_document(found, period, snapshot), indent=2))
        return
    console = _console()
    _heading(console, f"Columns of {period} ({snapshot})")
    if not found:
        console.print("no charges")
    for each in found:
        _heading(console, f"{each.source} {each.month}: {each.rows:,} rows")
        for state in ("present", "null"):
            names = [c.column for c in each.columns if c.state == state]
            console.print(Text.assemble(f"{state} ({len(names)}): ", ", ".join(names) or "none"))
        partly = [c for c in each.columns if c.state == "partly"]
        if partly:
            grid = _grid("partly", "present", "null", right=("present", "null"))
            for c in partly:
                grid.add_row(c.column, f"{c.present:,}", f"{c.null:,}")
            console.print(grid)
        if each.noted:
            grid = _grid("on the bill", "column", "rows", "", right=("rows",))
            for note in each.noted:
                grid.add_row(note.what, _visible(note.column), f"{note.rows:,}", _visible(note.detail))
            console.print(grid)


def _columns_document(found: Sequence[SourceColumns], period: str, snapshot: str) -> dict[str, Any]:
    return {
        "period": period,
        "snapshot": snapshot,
        "sources": [
            {
                "source": each.source,
                "month": each.month,
                "rows": each.rows,
                "columns": [{"column": c.column, "state": c.state, "present": c.present, "null": c.null} for c in each.columns],
                **{
                    what: [{"column": n.column, "detail": n.detail, "rows": n.rows} for n in each.noted if n.what == what]
                    for what in ("renamed", "unknown", "missing")
                },
            }
            for each in found
        ],
    }


def print_top(found: Pareto, period: str, currency: str, form: str) -> None:
    """Print the groups that hold most of the money."""
    if form == "json":
        click.echo(json.dumps(_top_document(found, period, currency), indent=2))
        return
    console = _console()
    part = f"{(found.part * 100).normalize():f} %"
    _heading(
        console, f"{period}: {found.needed:,} of {found.groups:,} groups by {', '.join(found.by)} hold {part} of the spend"
    )
    if not found.rows:
        console.print("no money")
        return
    grid = _grid(*found.by, currency, "GPU-hours", "jobs", "together", right=(currency, "GPU-hours", "jobs", "together"))
    for row in found.rows:
        names = [_visible(name or NOT_KNOWN) for name in row.names]
        grid.add_row(*names, f"{row.cost:,.2f}", f"{row.gpu_hours:,.1f}", f"{row.jobs:,}", f"{row.cumulative * 100:.1f} %")
    console.print(grid)
    if found.needed > len(found.rows):
        console.print(f"and {found.needed - len(found.rows):,} more")


def _top_document(found: Pareto, period: str, currency: str) -> dict[str, Any]:
    return {
        "period": period,
        "currency": currency,
        "by": list(found.by),
        "share": f"{found.part:f}",
        "groups": found.groups,
        "needed": found.needed,
        "rows": [
            {
                "names": list(row.names),
                "cost": _plain(row.cost),
                "gpu_hours": f"{row.gpu_hours:f}",
                "jobs": row.jobs,
                "cumulative_share": f"{row.cumulative:f}",
            }
            for row in found.rows
        ],
    }


def print_release_costs(found: ReleaseCosts, release: str | None, form: str) -> None:
    """Print what one release cost, or all of them side by side; with what no release explains, so that it adds up."""
    chosen = found.releases if release is None else (of(found, release),)
    if form == "json":
        click.echo(json.dumps(_release_document(found, chosen), indent=2))
        return
    console = _console()
    for each in chosen:
        times = "no own runs in it" if each.multiple is None else f"{each.multiple} times its own runs"
        _heading(console, f"{printable(each.release)} in {found.period}: {found.currency} {each.total:,.2f}, {times}")
        grid = _grid("", "stage", found.currency, "GPU-hours", "jobs", right=(found.currency, "GPU-hours", "jobs"))
        for line in each.lines:
            grid.add_row(line.part, _visible(line.stage), f"{line.cost:,.2f}", f"{line.gpu_hours:,.1f}", f"{line.jobs:,}")
        console.print(grid)
    _heading(console, f"All R&D of {found.period} (policy {found.policy})")
    grid = _grid("", found.currency, "of R&D", "all / own runs", right=(found.currency, "of R&D", "all / own runs"))
    for each in found.releases:
        times = "-" if each.multiple is None else f"{each.multiple}"
        grid.add_row(_visible(each.release), f"{each.total:,.2f}", _percent(each.total, found.total), times)
    grid.add_row("no release explains", f"{found.rest:,.2f}", _percent(found.rest, found.total), "")
    if found.outside:
        grid.add_row("claimed, but no R&D", f"{-found.outside:,.2f}", _percent(-found.outside, found.total), "")
    grid.add_row("R&D", f"{found.total:,.2f}", "100.0 %" if found.total else "-", "")
    console.print(grid)
    console.print("Work that no release claims goes to the releases with own runs in its project, by what those runs cost.")


def _percent(part: Decimal, whole: Decimal) -> str:
    return f"{part / whole * 100:.1f} %" if whole > 0 else "-"


def _release_document(found: ReleaseCosts, chosen: Sequence[ReleaseCost]) -> dict[str, Any]:
    return {
        "period": found.period,
        "policy": found.policy,
        "currency": found.currency,
        "total": _plain(found.total),
        "no_release_explains": _plain(found.rest),
        "claimed_outside": _plain(found.outside),
        "releases": [
            {
                "release": each.release,
                "total": _plain(each.total),
                "claimed": _plain(each.claimed),
                "own_runs": _plain(each.own_runs),
                "multiple": None if each.multiple is None else f"{each.multiple:f}",
                "lines": [
                    {
                        "part": line.part,
                        "stage": line.stage,
                        "cost": _plain(line.cost),
                        "gpu_hours": f"{line.gpu_hours:f}",
                        "jobs": line.jobs,
                    }
                    for line in each.lines
                ],
            }
            for each in chosen
        ],
    }


def _plain(value: Decimal | None) -> str | None:
    return None if value is None else f"{value:.9f}"


def _money(value: Decimal) -> str:
    return f"{value:,.9f}"


def _console() -> Console:
    console = Console()
    return console if console.is_terminal else Console(width=PIPE_WIDTH)


def _heading(console: Console, text: str) -> None:
    console.print()
    console.print(Text(text, style="bold"))


def _grid(*columns: str, right: tuple[str, ...] = ()) -> Table:
    grid = Table(box=None, pad_edge=False, header_style="bold")
    for column in columns:
        grid.add_column(column, justify="right" if column in right else "left", overflow="fold", no_wrap=column in right)
    return grid


def printable(text: object) -> str:
    """Names from elsewhere: control characters are spelled out, never obeyed."""
    return "".join(c if c.isprintable() else f"\\x{ord(c):02x}" for c in str(text))


def _visible(text: object) -> Text:
    return Text(printable(text))
