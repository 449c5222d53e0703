"""What the rule commands found, on a terminal or as JSON."""

from __future__ import annotations

import json
from dataclasses import asdict
from decimal import Decimal

import click

from rdspend.explaining import grid, heading, visible, wide_console
from rdspend.trial import Amount, Trial

MOVES = 20


def print_trial(found: Trial, form: str) -> None:
    """Print a dry run; its JSON has every move."""
    if form == "json":
        click.echo(json.dumps(asdict(found), indent=2, default=str))
        return
    console = wide_console()
    heading(console, f"{found.file} in the place of the rules of {found.tagger}: {found.period} ({found.snapshot})")
    console.print(f"{_words(found.moved, found.currency)} would change class, of {_words(found.everything, found.currency)}.")
    if found.stage_only.jobs:
        console.print(f"{_words(found.stage_only, found.currency)} would change their stage only.")
    if found.overruled.jobs:
        console.print(f"{_words(found.overruled, found.currency)} would not: a tagger above says otherwise, and stands.")
    heading(console, "By class")
    listed = grid("class", "cost before", "cost after", "difference", "GPU-hours", right=RIGHT)
    for side in found.sides:
        before, after = side.before, side.after
        hours = f"{before.gpu_hours:,.1f} -> {after.gpu_hours:,.1f}"
        listed.add_row(side.category, _cents(before.cost), _cents(after.cost), f"{after.cost - before.cost:+,.2f}", hours)
    console.print(listed)
    if found.moves:
        heading(console, "By team and class")
        listed = grid("team", "from", "to", "jobs", "GPU-hours", "cost", right=RIGHT)
        for move in found.moves[:MOVES]:
            amount = move.amount
            words = (visible(move.team or "not known"), move.before, move.after)
            listed.add_row(*words, f"{amount.jobs:,}", f"{amount.gpu_hours:,.1f}", _cents(amount.cost))
        console.print(listed)
        if len(found.moves) > MOVES:
            console.print(f"and {len(found.moves) - MOVES:,} more; --format json has all")
        heading(console, "The largest jobs")
        listed = grid("job", "name", "team", "from", "to", "cost", "what the file says", right=RIGHT)
        for job in found.largest:
            told = (job.job_key, job.name, job.team, job.before, job.after)
            listed.add_row(*map(visible, told), _cents(job.cost), visible(job.evidence or "nothing any more"))
        console.print(listed)
    if found.shadows:
        heading(console, "Shadow rules: what each would answer if it alone were switched on")
        listed = grid("rule", "from", "to", "jobs", "GPU-hours", "cost", right=RIGHT)
        for shadow in found.shadows:
            amount = shadow.amount
            to = shadow.after if shadow.after != shadow.before else "no change"
            words = (visible(shadow.rule), shadow.before, to)
            listed.add_row(*words, f"{amount.jobs:,}", f"{amount.gpu_hours:,.1f}", _cents(amount.cost))
        console.print(listed)
    console.print("\nNothing was written.")


RIGHT = ("cost before", "cost after", "difference", "jobs", "GPU-hours", "cost")


def _words(amount: Amount, currency: str) -> str:
    jobs = "1 job" if amount.jobs == 1 else f"{amount.jobs:,} jobs"
    return f"{jobs} ({_cents(amount.cost)} {currency}, {amount.gpu_hours:,.1f} GPU-hours)"


def _cents(cost: Decimal) -> str:
    return f"{cost:,.2f}"
