"""Releases in words: what registering them moved, and the list of them."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from decimal import Decimal

import click
from rich.text import Text

from rdspend.explaining import grid, heading, visible, wide_console
from rdspend.pipeline import ReleaseOutcome
from rdspend.release_list import ListedRelease
from rdspend.schema import Breakdown


def moved_words(outcome: ReleaseOutcome) -> Iterator[str]:
    """One line for each thing that an update moved."""
    releases = outcome.resolved.releases
    jobs = f"{outcome.jobs:,} {'job is' if outcome.jobs == 1 else 'jobs are'} tagged anew"
    yield f"{releases:,} {'release' if releases == 1 else 'releases'}: {jobs if outcome.jobs else 'nothing moved'}"
    for before, after in outcome.moved:
        yield f"{after.period} {after.currency}, revision {after.revision}:"
        yield from _lines(before, after)
    for month in outcome.waiting:
        yield f"{month} waits to be attributed and is published then: rdspend run --period {month}"


def _lines(before: Breakdown, after: Breakdown) -> Iterator[str]:
    was = {line.name: line for line in (*before.lines, *before.buckets)}
    for line in (*after.lines, *after.buckets):
        old = was.get(line.name)
        moved = old is not None and (old.cost, old.gpu_hours) != (line.cost, line.gpu_hours)
        if old is not None and moved:
            yield (
                f"  {line.name:<16} {old.cost:,.2f} -> {line.cost:,.2f} ({line.cost - old.cost:+,.2f}), "
                f"{old.gpu_hours:,.1f} -> {line.gpu_hours:,.1f} GPU-hours{_share(old.share, line.share)}"
            )


def _share(before: Decimal | None, after: Decimal | None) -> str:
    return "" if before is None or after is None else f", {before:.1%} -> {after:.1%} of 100 %"


def print_releases(releases: Sequence[ListedRelease], form: str) -> None:
    """All of them, as JSON or for people."""
    if form == "json":
        click.echo(json.dumps([asdict(each) for each in releases], indent=2, default=str))
        return
    console = wide_console()
    if not releases:
        console.print("no releases; a collector such as [collectors.release] tells of them")
    for each in releases:
        said = ", ".join(filter(None, (each.state, each.released_at, each.licence, each.published_at)))
        heading(console, f"{visible(each.release)}: {visible(said)} (told by {each.source})")
        listed = grid("role", "jobs", "GPU-hours", "cost", right=("jobs", "GPU-hours", "cost"))
        for role in each.roles:
            cost = ", ".join(f"{amount:,.2f} {currency}" for currency, amount in role.cost)
            listed.add_row(role.role, f"{role.jobs:,}", f"{role.gpu_hours:,.1f}", cost)
        console.print(listed if each.roles else "claims no job")
        for words in each.unmatched:
            console.print(Text.assemble("claims nothing: ", visible(words)))
