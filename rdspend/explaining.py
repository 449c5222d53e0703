"""Explanations on a terminal or as JSON."""

from __future__ import annotations

import json
import os
from dataclasses import asdict
from decimal import Decimal

import click
from rich.console import Console
from rich.table import Table
from rich.text import Text

from rdspend.explanation import JobExplanation, Listing

PIPE_WIDTH = 200
WIDE = 130


def print_explanation(found: Listing | JobExplanation, form: str, limit: int) -> None:
    """Print all of it as JSON, or its first `limit` rows with the sum of the rest for people."""
    if form == "json":
        click.echo(json.dumps(asdict(found), indent=2, default=str))
        return
    console = Console()
    if not console.is_terminal:
        console = Console(width=PIPE_WIDTH)
    if isinstance(found, Listing):
        _listing(console, found)
    else:
        _job(console, found, limit)


def _grid(*columns: str, right: tuple[str, ...] = ()) -> Table:
    grid = Table(box=None, pad_edge=False, header_style="bold")
    for column in columns:
        numeric = column in right or column == "cost"
        grid.add_column(column, justify="right" if numeric else "left", overflow="fold", no_wrap=numeric)
    return grid


def _heading(console: Console, text: str) -> None:
    console.print()
    console.print(Text(text, style="bold"))


def _money(value: Decimal) -> str:
    return f"{value:,.9f}"


def _short(file: str) -> str:
    """A file's name as short as it is still found from here."""
    near = os.path.relpath(file) if "://" not in file else file
    return near if len(near) < len(file) else file


def _visible(text: object) -> Text:
    """Names from elsewhere: control characters are spelled out, never obeyed."""
    return Text("".join(c if c.isprintable() else f"\\x{ord(c):02x}" for c in str(text)))


def _listing(console: Console, found: Listing) -> None:
    what = "jobs" if found.jobs else "parts"
    _heading(console, f"{found.target.kind} {found.target.value}: {_money(found.total)} in {found.rows:,} {what}")
    if found.jobs:
        wide = console.width >= WIDE
        more = ("team", "stage", "outcome") if wide else ()
        grid = _grid("job", "name", "went to", *more, "GPU-hours", "cost", right=("GPU-hours", "cost"))
        for job in found.jobs:
            extra = (job.team, job.stage, job.outcome) if wide else ()
            words = (job.job_key, job.name, job.category, *extra)
            grid.add_row(*map(_visible, words), f"{job.gpu_hours:,.2f}", _money(job.cost))
        hidden = found.rows - len(found.jobs)
        if hidden:
            grid.add_row(f"and {hidden:,} more", *[""] * (3 + len(more)), _money(found.rest))
        console.print(grid)
        console.print("\nNext: rdspend explain JOB with one of these keys")
        return
    grid = _grid("what", "cost", "where it comes from", right=("cost",))
    for part in found.parts:
        grid.add_row(_visible(part.label), _money(part.cost), _visible(part.detail))
    hidden = found.rows - len(found.parts)
    if hidden:
        grid.add_row(f"and {hidden:,} more", _money(found.rest), "")
    console.print(grid)


def _job(console: Console, found: JobExplanation, limit: int) -> None:
    job = found.job
    _heading(
        console, f"job {job.job_key}: {_money(found.cost)} {found.currency}, {job.gpu_hours:,.2f} GPU-hours, {job.category}"
    )
    grid = _grid("record", "")
    for name, value in found.record:
        grid.add_row(name, _visible(value))
    console.print(grid)
    _heading(console, "What it was for")
    if not found.answers:
        console.print("No tagger had an answer: it is unclassified.")
    for answer in found.answers:
        said = ", ".join(filter(None, (answer.activity, answer.stage)))
        won = f" — decides the {answer.won}" if answer.won else ""
        console.print(
            Text.assemble(f"{answer.tagger} says {said} (confidence {answer.confidence:.2f}){won}: ", _visible(answer.evidence))
        )
    _heading(console, f"Where it ran ({len(found.placements)} nodes)")
    grid = _grid("node", "resource", "from", "to", "GPUs", right=("GPUs",))
    for place in found.placements[:limit]:
        grid.add_row(*map(_visible, (place.node, place.resource_id or "", place.start, place.end, place.gpus)))
    console.print(grid)
    if len(found.placements) > limit:
        console.print(f"and {len(found.placements) - limit:,} more nodes")
    _heading(console, f"What paid for it ({len(found.lines):,} bill rows)")
    grid = _grid("file:row", "resource", "from", "row's cost", "part of this job", right=("row's cost", "part of this job"))
    for line in found.lines[:limit]:
        words = (f"{_short(line.file)}:{line.row}", line.resource, line.start)
        grid.add_row(*map(_visible, words), _money(line.cost), _money(line.part))
    rest = found.lines[limit:]
    if rest:
        grid.add_row(f"and {len(rest):,} more rows", "", "", "", _money(sum((line.part for line in rest), Decimal(0))))
    grid.add_row("sum", "", "", "", _money(found.cost))
    console.print(grid)
    if found.lines:
        _heading(console, "The arithmetic (money of the node hour x seconds held x share of the node)")
        for line in found.lines[: min(limit, 5)]:
            console.print(Text.assemble("  ", _visible(f"{_short(line.file)}:{line.row}"), f": {line.arithmetic}"))
        if rest or len(found.lines) > 5:
            console.print("All rows with their arithmetic: add --format json")
    console.print(
        f"\nsum of the parts - cost of the job = {sum((line.part for line in found.lines), Decimal(0)) - found.cost:.9f}"
    )
