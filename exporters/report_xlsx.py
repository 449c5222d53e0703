"""The report as a workbook for finance: numbers as numbers, and their exact text beside them where a double can't hold them.

Sheets: summary, split, cells, bridge, invoices, pareto, releases. Text is written as text: a name that begins like a formula is
none. Nothing of the moment is in the file: its date is the end of the period. XlsxWriter writes it (the extra `xlsx`).
"""

from __future__ import annotations

import io
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any

from exporters.report_blocks import exact_hours, exact_money, visible, words_of
from exporters.report_page import refuse_open
from rdspend.errors import ConfigError
from rdspend.schema import SECONDS_PER_HOUR, Breakdown, Line

LONGEST_CELL = 32_767
"""Excel takes no more characters into a cell."""

MOST_ROWS = 1_048_575
"""Nor more rows into a sheet, below its heading."""

MONEY = "#,##0.00;[Red]-#,##0.00"
HOURS = "#,##0.0"
SHARE = "0.0%"
COUNT = "#,##0"


@dataclass(frozen=True)
class Money:
    value: Decimal


@dataclass(frozen=True)
class Hours:
    value: Decimal


@dataclass(frozen=True)
class Share:
    value: Decimal | None


Value = str | int | Money | Hours | Share | None


@dataclass(frozen=True)
class Sheet:
    name: str
    columns: tuple[str, ...]
    rows: Sequence[Sequence[Value]]


def to_xlsx(breakdown: Breakdown) -> bytes:
    """The workbook. Raises ConfigError where XlsxWriter is missing or a sheet would be too long."""
    try:
        import xlsxwriter
    except ImportError as error:
        raise ConfigError(
            f"the workbook is written by XlsxWriter ({error}); install it with `pip install 'rdspend[xlsx]'`"
        ) from None
    refuse_open(breakdown)
    file = io.BytesIO()
    options = {"in_memory": True, "strings_to_formulas": False, "strings_to_urls": False, "strings_to_numbers": False}
    with xlsxwriter.Workbook(file, options) as book:
        title = visible(breakdown.title or "Compute by purpose")[:250]
        book.set_properties({"title": title, "comments": "Made by rdspend", "created": _end(breakdown)})
        look = {
            Money: book.add_format({"num_format": MONEY}),
            Hours: book.add_format({"num_format": HOURS}),
            Share: book.add_format({"num_format": SHARE}),
            int: book.add_format({"num_format": COUNT}),
            str: book.add_format({"num_format": "@"}),
            "head": book.add_format({"bold": True, "bottom": 1, "text_wrap": True, "valign": "top"}),
        }
        for sheet in _sheets(breakdown):
            _write(book.add_worksheet(sheet.name), sheet, look)
    return file.getvalue()


def _end(b: Breakdown) -> datetime:
    """The first instant after the period: a workbook needs some date, and this one is the period's own."""
    year, month = int(b.months[-1][:4]), int(b.months[-1][5:7])
    return datetime(year + month // 12, month % 12 + 1, 1)


def _write(page: Any, sheet: Sheet, look: dict[Any, Any]) -> None:
    if len(sheet.rows) > MOST_ROWS:
        raise ConfigError(
            f"a workbook's sheet has room for {MOST_ROWS:,} rows, {sheet.name!r} has {len(sheet.rows):,}: use parquet"
        )
    columns = _with_exact(sheet)
    for place, (name, source, exact) in enumerate(columns):
        page.write_string(0, place, name, look["head"])
        widest = max((len(_shown(row[source])) for row in sheet.rows[:2000]), default=0)
        page.set_column(place, place, min(48, max(len(name), widest) + 2))
        for number, row in enumerate(sheet.rows, 1):
            _cell(page, number, place, row[source], exact, look)
    page.freeze_panes(1, 0)
    page.set_landscape()
    page.set_paper(9)  # A4
    page.fit_to_pages(1, 0)
    page.repeat_rows(0)


def _with_exact(sheet: Sheet) -> list[tuple[str, int, bool]]:
    """Each column, and after one with a number that a double can't hold a column of exact text."""
    columns = []
    for place, name in enumerate(sheet.columns):
        columns.append((name, place, False))
        if any(isinstance(row[place], Money | Hours) and not _held(row[place]) for row in sheet.rows):
            columns.append((f"{name}, exact", place, True))
    return columns


def _held(value: Any) -> bool:
    """Whether a spreadsheet shows the number again to its last digit: it keeps 15 of them."""
    return len(value.value.normalize().as_tuple().digits) <= 15


def _cell(page: Any, row: int, place: int, value: Value, exact: bool, look: dict[Any, Any]) -> None:
    match value:
        case None | Share(None) | "":
            return
        case Money(amount) | Hours(amount) if exact:
            page.write_string(row, place, exact_money(amount) if isinstance(value, Money) else exact_hours(amount), look[str])
        case Money(amount) | Hours(amount) | Share(Decimal() as amount):
            page.write_number(row, place, float(amount), look[type(value)])
        case int():
            page.write_number(row, place, value, look[int])
        case str():
            page.write_string(row, place, value, look[str])


def _shown(value: Value) -> str:
    match value:
        case Money(amount):
            return f"{amount:,.2f}"
        case Hours(amount):
            return f"{amount:,.1f}"
        case Share():
            return "100.0%"
        case None:
            return ""
        case _:
            return str(value)


def _words(text: str) -> str:
    """Text as a cell: control characters spelled out, and no longer than a cell takes."""
    shown = visible(text)
    return shown if len(shown) <= LONGEST_CELL else shown[: LONGEST_CELL - 1] + "…"


def _sheets(b: Breakdown) -> Iterable[Sheet]:
    yield Sheet("Summary", ("What", "Value"), _summary(b))
    known = b.idle_gpu_hours_known
    columns = ("Went to", f"Cost {b.currency}", f"Billed {b.currency}", "GPU-hours", "Share", "Low", "High", "Basis")
    lines = [_line(line, line.name != "idle" or known) for line in (*b.lines, *b.buckets)]
    yield Sheet("Split", columns, [*lines, ("total", Money(b.total), Money(b.billed_total), Hours(b.gpu_hours), *[None] * 4)])
    named = ("Category", "Stage", "Team", "Cluster", "Basis", f"Cost {b.currency}", f"Billed {b.currency}", "GPU-hours")
    yield Sheet(
        "Cells",
        named,
        [
            (
                *(c.category, _words(c.stage), _words(c.team), _words(c.cluster), c.basis),
                *(Money(c.cost), Money(c.billed_cost), Hours(c.gpu_seconds / SECONDS_PER_HOUR)),
            )
            for c in b.cells
        ],
    )
    yield Sheet(
        "Bridge",
        ("Source", "Invoice", "Category", "Currency", "Effective", "Billed"),
        [(_words(r.source), _words(r.invoice), r.category, r.currency, Money(r.effective), Money(r.billed)) for r in b.bridge],
    )
    yield Sheet(
        "Invoices",
        ("Source", "Invoice", "Currency", "Stated", "Bill's lines", "Difference"),
        [
            (
                *(_words(i.source), _words(i.invoice), i.currency, _maybe(i.stated), Money(i.billed), _maybe(i.difference)),
            )
            for i in b.invoices
        ],
    )  # fmt: skip
    yield Sheet(
        "Pareto",
        ("By", "Group", f"Cost {b.currency}", "GPU-hours", "Jobs", "Up to here"),
        [
            (
                *(", ".join(p.by), _words(" · ".join(row.names)), Money(row.cost), Hours(row.gpu_hours), row.jobs),
                Share(row.cumulative),
            )
            for p in b.paretos
            for row in p.rows
        ],
    )
    yield Sheet(
        "Releases",
        ("Release", "Role", "Stage", "Counts as", f"Cost {b.currency}", "GPU-hours", "Jobs"),
        [
            (_words(r.release), r.role, _words(r.stage), r.category, Money(r.cost), Hours(r.gpu_hours), r.jobs)
            for r in b.releases
        ],
    )


def _maybe(value: Decimal | None) -> Money | None:
    return None if value is None else Money(value)


def _line(line: Line, known: bool) -> tuple[Value, ...]:
    return (
        *(words_of(line.name), Money(line.cost), Money(line.billed_cost), Hours(line.gpu_hours) if known else "unknown"),
        *(Share(line.share), Share(line.share_low), Share(line.share_high), line.basis),
    )


def _summary(b: Breakdown) -> list[tuple[Value, Value]]:
    made: list[tuple[Value, Value]] = [
        ("Report", _words(b.title or "Compute by purpose")),
        *([("SYNTHETIC", "made-up data: no real organisation spent this money")] if b.synthetic else []),
        *([("Remark", _words(b.remark))] if b.remark else []),
        ("Period", b.period),
        ("Currency", b.currency),
        ("Policy", _words(f"{b.policy.name}: {b.policy.title}. {b.policy.words}")),
        ("100 %", _words(b.policy.denominator_words)),
        ("100 % is", Hours(b.denominator) if b.policy.unit == "gpu_hours" else Money(b.denominator)),
        ("Revision", b.revision),
        ("State", _words(f"{b.state}: {b.state_why}" if b.state_why else b.state)),
        ("Snapshot", b.snapshot),
        ("Total", Money(b.total)),
        ("On invoices", Money(b.billed_total)),
        ("Charges", Money(b.charges)),
        ("Attributed", Money(b.attributed)),
        ("Charges - attributed", Money(b.charges - b.attributed)),
        ("Final training", _words(b.doubt)),
    ]
    gaps = [gap for gap in b.coverage if not gap.complete]
    made += [("NOT SEEN", _words(f"{g.source}, {g.start:%F %H:%M} to {g.end:%F %H:%M} UTC: {g.why}")) for g in gaps]
    if b.period_before is not None:
        made.append((f"Total of {b.period_before.period}", Money(b.period_before.total)))
    if b.revision_before is not None:
        made.append((f"Total of revision {b.revision_before.revision}", Money(b.revision_before.total)))
    return made
