"""What moved between two revisions of a month, on a terminal or as JSON."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from decimal import Decimal

import click
from rich.console import Console

from rdspend.difference import Difference, Move, RowMove, Side
from rdspend.explaining import grid, heading, money, short, visible, wide_console

ADDED = ("bill", "invoices", "jobs")
"""Causes whose money came or went; of all others it is what those jobs cost now."""

MONEY = ("before", "now", "difference", "billed difference", "retagged", "other jobs", "same jobs", "money")


def print_difference(found: Difference, form: str, limit: int) -> None:
    """Print all of it as JSON, or the first `limit` of what moved with the sum of the rest for people."""
    if form == "json":
        click.echo(json.dumps(asdict(found), indent=2, default=_plain))
        return
    console = wide_console()
    heading(
        console, f"{found.period} · {found.currency} · policy {found.policy}: {_name(found.before)} to {_name(found.after)}"
    )
    _whole(console, found)
    _causes(console, found)
    for name, moves in (("source", found.sources), ("account", found.accounts), ("service", found.services)):
        _moves(console, name, moves, limit)
    _activities(console, found)
    _moves(console, "team", found.teams, limit)
    _rows(console, found)


def _plain(value: object) -> str:
    return f"{value:f}" if isinstance(value, Decimal) else str(value)


def _name(side: Side) -> str:
    return f"revision {side.revision} ({side.snapshot})" if side.revision else side.snapshot


def _signed(value: Decimal) -> str:
    return f"{value:+,.9f}" if value else money(value)


def _whole(console: Console, found: Difference) -> None:
    whole = found.whole
    listed = grid("", "before", "now", "difference", right=MONEY)
    listed.add_row("effective", money(whole.before), money(whole.after), _signed(whole.difference))
    listed.add_row("billed", money(whole.billed_before), money(whole.billed_after), _signed(whole.billed_difference))
    console.print(listed)


def _causes(console: Console, found: Difference) -> None:
    heading(console, "What changed")
    if not found.causes:
        console.print("Nothing: no figure is another one.")
        return
    listed = grid("what", "", "how many", "money", right=("how many", "money"))
    for cause in found.causes:
        amount = _signed(cause.money) if cause.kind in ADDED else money(cause.money)
        listed.add_row(cause.kind, visible(cause.words), f"{cause.count:,}", amount)
    console.print(listed)
    if any(cause.money for cause in found.causes if cause.kind not in ADDED):
        console.print("Money without a sign moved inside the month: it is what those jobs cost now.")


def _moves(console: Console, name: str, moves: Sequence[Move], limit: int) -> None:
    """Groups that moved, and what all others moved together, so that the column adds up to the whole difference."""
    moved = [move for move in moves if move.difference or move.billed_difference]
    heading(console, f"By {name}: {len(moved):,} of {len(moves):,} moved")
    if not moved:
        return
    listed = grid(name, "before", "now", "difference", "billed difference", right=MONEY)
    for move in moved[:limit]:
        figures = (money(move.before), money(move.after), _signed(move.difference), _signed(move.billed_difference))
        listed.add_row(visible(move.name or f"(no {name})"), *figures)
    rest = moved[limit:]
    if rest:
        hidden = [sum((getattr(move, each) for move in rest), Decimal(0)) for each in ("difference", "billed_difference")]
        listed.add_row(f"and {len(rest):,} more", "", "", *map(_signed, hidden))
    console.print(listed)


def _activities(console: Console, found: Difference) -> None:
    moved = [each for each in found.activities if each.difference or each.billed_difference or each.retagged]
    heading(console, f"By activity and bucket: {len(moved):,} of {len(found.activities):,} moved")
    if not moved:
        return
    listed = grid("activity", *MONEY[:-1], right=MONEY)
    for each in moved:
        figures = (each.difference, each.billed_difference, each.retagged, each.jobs, each.money)
        listed.add_row(each.name, money(each.before), money(each.after), *map(_signed, figures))
    console.print(listed)
    console.print("difference = retagged + other jobs (known to one revision only) + same jobs")


def _rows(console: Console, found: Difference) -> None:
    heading(console, "Bill rows behind the largest moves")
    if not found.rows:
        console.print("No bill row moved.")
        return
    listed = grid("file:row", "resource", "from", "what", "before", "now", "difference", right=MONEY)
    for row in found.rows:
        what = " ".join(filter(None, (row.description or row.charge_category, row.status and f"({row.status})")))
        words = (_origin(row), row.resource or row.service, row.start, what)
        listed.add_row(*map(visible, words), money(row.before), money(row.after), _signed(row.difference))
    listed.add_row("all other rows", "", "", "", "", "", _signed(found.rest))
    console.print(listed)
    if found.rows_looked_at < found.rows_moved:
        console.print(
            f"Looked for in the resource days that moved most: {found.rows_looked_at:,} of {found.rows_moved:,} rows of those "
            "that moved"
        )


def _origin(row: RowMove) -> str:
    """Where the row is now, or was: a line that only one revision has says which."""
    if not row.after_origin:
        return f"{short(row.before_origin)} (gone)"
    return short(row.after_origin) if row.before_origin else f"{short(row.after_origin)} (new)"
