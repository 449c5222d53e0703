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
    console = wide_console()
    if isinstance(found, Listing):
        _listing(console, found)
    else:
        _job(console, found, limit)


def wide_console() -> Console:
    """A terminal as wide as it is; a pipe is wide enough for any row."""
    console = Console()
    return console if console.is_terminal else Console(width=PIPE_WIDTH)


def grid(*columns: str, right: tuple[str, ...] = ()) -> Table:
    made = Table(box=None, pad_edge=False, header_style="bold")
    for column in columns:
        numeric = column in right or column == "cost"
        made.add_column(column, justify="right" if numeric else "left", overflow="fold", no_wrap=numeric)
    return made


def heading(console: Console, text: str) -> None:
    console.print()
    said = visible(text)
    said.stylize("bold")
    console.print(said)


def money(value: Decimal) -> str:
    return f"{value:,.9f}"


def short(file: str) -> str:
    """A file's name as short as it is still found from here."""
    near = os.path.relpath(file) if "://" not in file else file
    return near if len(near) < len(file) else file


def visible(text: object) -> Text:
    """Names from elsewhere: control characters are spelled out, never obeyed."""
    return Text("".join(c if c.isprintable() else f"\\x{ord(c):02x}" for c in str(text)))


def _listing(console: Console, found: Listing) -> None:
    what = "jobs" if found.jobs else "parts"
    heading(console, f"{found.target.kind} {found.target.value}: {money(found.total)} in {found.rows:,} {what}")
    if found.note:
        console.print(found.note)
    if found.borne:
        own, borne = money(found.total - found.borne), money(found.borne)
        console.print(f"their own {own}, and {borne} of idle and shared money that the policy has them bear")
    if found.jobs:
        wide = console.width >= WIDE
        more = ("team", "stage", "outcome") if wide else ()
        listed = grid("job", "name", "went to", *more, "GPU-hours", "cost", right=("GPU-hours", "cost"))
        for job in found.jobs:
            extra = (job.team, job.stage, job.outcome) if wide else ()
            words = (job.job_key, job.name, job.category, *extra)
            listed.add_row(*map(visible, words), f"{job.gpu_hours:,.2f}", money(job.cost))
        hidden = found.rows - len(found.jobs)
        if hidden:
            listed.add_row(f"and {hidden:,} more", *[""] * (3 + len(more)), money(found.rest))
        console.print(listed)
        console.print("\nNext: rdspend explain JOB with one of these keys")
        return
    listed = grid("what", "cost", "where it comes from", right=("cost",))
    for part in found.parts:
        listed.add_row(visible(part.label), money(part.cost), visible(part.detail))
    hidden = found.rows - len(found.parts)
    if hidden:
        listed.add_row(f"and {hidden:,} more", money(found.rest), "")
    console.print(listed)


def _job(console: Console, found: JobExplanation, limit: int) -> None:
    job = found.job
    to = f"{job.category}, in parts" if found.parts else job.category
    heading(console, f"job {job.job_key}: {money(found.cost)} {found.currency}, {job.gpu_hours:,.2f} GPU-hours, {to}")
    if found.parts:
        listed = grid("from", "to", "went to", "as", "GPU-hours", "cost", right=("GPU-hours", "cost"))
        for part in found.parts:
            claimed = f"{part.role} of {part.release}" if part.role else ""
            told = (part.start, part.end, " ".join(filter(None, (part.category, part.stage))), claimed)
            listed.add_row(*map(visible, told), f"{part.gpu_hours:,.2f}", money(part.cost))
        console.print(listed)
        console.print()
    listed = grid("record", "")
    for name, value in found.record:
        listed.add_row(name, visible(value))
    console.print(listed)
    heading(console, "What it was for")
    if not found.answers:
        console.print("No tagger had an answer: it is unclassified.")
    for answer in found.answers:
        said = ", ".join(filter(None, (answer.activity, answer.stage))) or f"nothing; its chances: {answer.chances}"
        to = f", as {answer.role} of {answer.release}" if answer.role else ""
        held = f" from {answer.start or 'its start'} to {answer.end or 'its end'}" if answer.start or answer.end else ""
        console.print(
            Text.assemble(
                f"{answer.tagger} says {said}",
                visible(to),
                f"{held} (confidence {answer.confidence:.2f}) — {answer.why}: ",
                visible(answer.evidence),
            )
        )
    heading(console, f"Where it ran ({len(found.placements)} nodes)")
    listed = grid("node", "resource", "from", "to", "GPUs", right=("GPUs",))
    for place in found.placements[:limit]:
        listed.add_row(*map(visible, (place.node, place.resource_id or "", place.start, place.end, place.gpus)))
    console.print(listed)
    if len(found.placements) > limit:
        console.print(f"and {len(found.placements) - limit:,} more nodes")
    heading(console, f"What paid for it ({len(found.lines):,} bill rows)")
    listed = grid("file:row", "resource", "from", "row's cost", "part of this job", right=("row's cost", "part of this job"))
    for line in found.lines[:limit]:
        words = (f"{short(line.file)}:{line.row}", line.resource, line.start)
        listed.add_row(*map(visible, words), money(line.cost), money(line.part))
    rest = found.lines[limit:]
    if rest:
        listed.add_row(f"and {len(rest):,} more rows", "", "", "", money(sum((line.part for line in rest), Decimal(0))))
    listed.add_row("sum", "", "", "", money(found.cost - found.borne))
    if found.borne:
        listed.add_row("borne of idle and shared, under the policy", "", "", "", money(found.borne))
        listed.add_row("cost of the job", "", "", "", money(found.cost))
    console.print(listed)
    if found.lines:
        heading(console, "The arithmetic (money of the node hour x seconds held x share of the node)")
        for line in found.lines[: min(limit, 5)]:
            console.print(Text.assemble("  ", visible(f"{short(line.file)}:{line.row}"), f": {line.arithmetic}"))
        if rest or len(found.lines) > 5:
            console.print("All rows with their arithmetic: add --format json")
    own = "own cost" if found.borne else "cost"
    left = sum((line.part for line in found.lines), Decimal(0)) - (found.cost - found.borne)
    console.print(f"\nsum of the parts - {own} of the job = {left:.9f}")
