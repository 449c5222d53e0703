"""The report's page on a terminal."""

from __future__ import annotations

from collections.abc import Iterable
from decimal import Decimal

from rich import box
from rich.console import Console
from rich.padding import Padding
from rich.panel import Panel
from rich.table import Table as Grid
from rich.text import Text

from exporters.report_blocks import Block, Column, Facts, Heading, Note, Table, legible, visible
from exporters.report_page import page
from rdspend.schema import Breakdown

BAR_CELLS = 24
BAR_FROM_WIDTH = 110
WIDEST = 140
STYLES = {"plain": "", "strong": "bold", "small": "dim", "closing": "bold green", "alarm": "bold yellow"}


def to_terminal(breakdown: Breakdown, console: Console) -> None:
    """Print the page. Names from elsewhere are shown with their control characters spelled out, never obeyed."""
    set_on_terminal(page(breakdown), console)


def set_on_terminal(blocks: Iterable[Block], console: Console) -> None:
    width = min(console.width, WIDEST)
    headings = 0
    for block in blocks:
        match block:
            case Heading(text):
                headings += 1
                console.print()
                console.print(Text(legible(text), style="bold reverse" if headings == 1 else "bold"), width=width)
            case Note(text, "synthetic"):
                console.print(Panel(Text(legible(text), style="bold red", justify="center"), border_style="red", width=width))
            case Note(text, kind):
                around = (0, 1, 1, 1) if kind == "strong" else (1, 1, 0, 1) if kind in ("alarm", "closing") else (0, 1)
                console.print(Padding(Text(visible(text), style=STYLES[kind]), around), width=width)
            case Facts(rows):
                console.print(_facts(rows), width=width)
            case Table() as table:
                console.print(_grid(table, width), width=width)


def _facts(rows: tuple[tuple[str, str], ...]) -> Grid:
    grid = Grid(box=None, show_header=False, padding=(0, 1))
    grid.add_column(no_wrap=True)
    grid.add_column()
    for label, text in rows:
        grid.add_row(Text(label, style="dim"), Text(visible(text)))
    return grid


def _grid(table: Table, width: int) -> Grid:
    shown = [n for n, column in enumerate(table.columns) if column.from_width <= width]
    bars = table.drawn and width >= BAR_FROM_WIDTH
    grid = Grid(box=box.SIMPLE_HEAD, pad_edge=False, header_style="dim", padding=(0, 1))
    for n in shown:
        _add(grid, table.columns[n])
    if bars:
        grid.add_column("")
    for row in table.rows:
        cells = [Text(legible(row.cells[n])) for n in shown]
        if bars:
            cells.append(_bar(row.part))
        grid.add_row(*cells, style="bold" if row.strong else "", end_section=row.rule)
    return grid


def _add(grid: Grid, column: Column) -> None:
    if column.number:
        grid.add_column(column.name, justify="right", no_wrap=True)
    else:
        grid.add_column(column.name, overflow="fold")


def _bar(part: Decimal | None) -> Text:
    """A bar as long as the share, in eighths of a character cell."""
    eighths = round(max(Decimal(0), min(Decimal(1), part or Decimal(0))) * BAR_CELLS * 8)
    return Text("█" * (eighths // 8) + " ▏▎▍▌▋▊▉"[eighths % 8].strip(), style="cyan")
