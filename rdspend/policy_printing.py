"""Policies and their comparison, on a terminal or as JSON."""

from __future__ import annotations

import json
import textwrap
from collections.abc import Sequence
from dataclasses import asdict
from decimal import Decimal

import click
from rich.console import Console
from rich.padding import Padding

from rdspend.breakdown import amount
from rdspend.explaining import grid, heading, visible, wide_console
from rdspend.policy import UNITS, described, sentences
from rdspend.policy_comparison import Comparison, Contrast, Reason, Side, Standing
from rdspend.schema import Line, Policy

WIDEST = 120
SPREAD = {
    "shown": "is shown apart: no job bears it",
    "spread": "is borne by the jobs, by their cost",
}


def print_policies(policies: Sequence[Policy], configured: str) -> None:
    """A policy a row, the configured one with a star."""
    listed = grid("policy", "title", "shares of", "100 %")
    for policy in policies:
        star = " *" if policy.name == configured else ""
        listed.add_row(policy.name + star, visible(policy.title), UNITS[policy.unit], visible(policy.denominator_words))
    console = wide_console()
    console.print(listed)
    console.print("* the one that is configured. All sentences of one: rdspend policy show NAME")


def print_policy(policy: Policy, form: str) -> None:
    """All that a policy says."""
    if form == "json":
        whole = asdict(policy) | {"cases": [asdict(case) | {"what": described(case.case)} for case in sentences(policy)]}
        click.echo(json.dumps(whole, indent=2))
        return
    console = wide_console()
    heading(console, f"{policy.name}: {policy.title}")
    _paragraph(console, policy.words)
    listed = grid("", "")
    listed.add_row("100 %", visible(policy.denominator_words))
    listed.add_row("", f"{', '.join(policy.denominator)}, in {UNITS[policy.unit]}")
    listed.add_row("idle", f"capacity that was paid for and not used {SPREAD[policy.idle]}")
    listed.add_row("shared", f"money of shared services {SPREAD[policy.shared]}")
    listed.add_row("source", visible(policy.source or "not said"))
    console.print(listed)
    heading(console, "What each case counts as")
    for case in sentences(policy):
        console.print(f"{case.case} ({described(case.case)}): {case.category}", markup=False, highlight=False)
        said = case.words or "It does not say; this is the default."
        _paragraph(console, f"{said}{f' [{case.source}]' if case.source else ''}", indent=4)


def print_comparison(found: Comparison, form: str) -> None:
    """Print all of it as JSON, or for people: all policies side by side, then each against the configured one."""
    if form == "json":
        click.echo(json.dumps(asdict(found), indent=2, default=_plain))
        return
    console = wide_console()
    heading(
        console,
        f"{found.period} · {found.currency} {_money(found.total)} · {_hours(found.gpu_hours)} GPU-hours · {found.snapshot}",
    )
    _side_by_side(console, found)
    for contrast in found.contrasts:
        sides = {side.policy.name: side for side in found.sides}
        _contrast(console, contrast, sides[contrast.before], sides[contrast.after], found.currency)


def _plain(value: object) -> str:
    return f"{value:f}" if isinstance(value, Decimal) else str(value)


def _side_by_side(console: Console, found: Comparison) -> None:
    names = [side.policy.name for side in found.sides]
    listed = grid("", *names, right=tuple(names))
    listed.add_row("amounts and shares of", *(_unit(side.policy, found.currency) for side in found.sides))
    for n, line in enumerate(found.sides[0].lines):
        listed.add_row(line.name, *(_amount(side.lines[n], side.policy) for side in found.sides))
    for n, line in enumerate(found.sides[0].buckets):
        unknown = line.name == "idle" and not found.idle_gpu_hours_known
        listed.add_row(line.name, *(_bucket(side, n, unknown) for side in found.sides))
    listed.add_row("100 %", *(_in_unit(side.denominator, side.policy) for side in found.sides))
    listed.add_row("share of final training", *(_share(side.final) for side in found.sides))
    listed.add_row("lowest – highest", *(_range(side.final) for side in found.sides))
    console.print(listed)
    console.print(
        "lowest – highest: if all unclassified jobs went one way. A report's range has candidates for a final run, too."
    )
    console.print("Shares of different columns are of different wholes:")
    for side in found.sides:
        _paragraph(console, f"{side.policy.name}: {side.policy.denominator_words}", indent=2)
        for line in side.spread:
            _paragraph(console, f"of {line.name}, {_money(line.borne)} {found.currency} is in the lines of the jobs", indent=4)


def _bucket(side: Side, n: int, unknown: bool) -> str:
    if unknown and side.policy.unit == "gpu_hours":
        return "unknown"
    return _amount(side.buckets[n], side.policy)


def _unit(policy: Policy, currency: str) -> str:
    return "GPU-hours" if policy.unit == "gpu_hours" else currency


def _amount(line: Line, policy: Policy) -> str:
    share = f"{line.share * 100:5.1f} %" if line.share is not None else "    –  "
    return f"{_in_unit(amount(line, policy), policy)} {share}"


def _in_unit(value: Decimal, policy: Policy) -> str:
    return _hours(value) if policy.unit == "gpu_hours" else _money(value)


def _share(line: Line) -> str:
    return "–" if line.share is None else f"{line.share * 100:.1f} %"


def _range(line: Line) -> str:
    if line.share_low is None or line.share_high is None:
        return "–"
    return f"{line.share_low * 100:.1f} – {line.share_high * 100:.1f} %"


def _contrast(console: Console, found: Contrast, before: Side, after: Side, currency: str) -> None:
    heading(
        console, f"{found.after} against {found.before}: final training {_share(after.final)} against {_share(before.final)}"
    )
    if found.units:
        units = " and ".join(f"{UNITS[side.policy.unit]} ({side.policy.name})" for side in (before, after))
        _paragraph(console, f"The two shares are of different things, {units}: the difference of them says nothing.")
    if not found.reasons:
        console.print("No job of the month is one that they treat differently.")
        return
    right = (f"cost {currency}", "GPU-hours", "final training", "its GPU-hours", "100 %", "its GPU-hours ")
    listed = grid("case", f"under {found.before}", f"under {found.after}", *right, right=right)
    for reason in found.reasons:
        moved = (_signed(reason.final_cost), _signed_hours(reason.final_gpu_hours))
        whole = (_signed(reason.denominator_cost), _signed_hours(reason.denominator_gpu_hours))
        standings = (_standing(reason.before), _standing(reason.after))
        listed.add_row(reason.case, *standings, _money(reason.cost), _hours(reason.gpu_hours), *moved, *whole)
    moved = (_signed(found.final_cost), _signed_hours(found.final_gpu_hours))
    whole = (_signed(found.denominator_cost), _signed_hours(found.denominator_gpu_hours))
    listed.add_row("difference", "", "", "", "", *moved, *whole)
    console.print(listed)
    for reason in found.reasons:
        _sentence(console, reason, found, currency)


def _standing(standing: Standing) -> str:
    return f"{standing.category}{'' if standing.inside or standing.category == 'spread' else ', outside 100 %'}"


def _sentence(console: Console, reason: Reason, found: Contrast, currency: str) -> None:
    cost = f"{_money(reason.cost)} {currency}, {_hours(reason.gpu_hours)} GPU-hours"
    _paragraph(console, f"{reason.case}: {reason.what} ({cost}).", indent=2)
    for name, standing in ((found.before, reason.before), (found.after, reason.after)):
        source = f" [{standing.source}]" if standing.source else ""
        _paragraph(console, f"{name} has it as {_standing(standing)}. {standing.words}{source}", indent=6)


def _paragraph(console: Console, text: str, indent: int = 0) -> None:
    width = min(console.width, WIDEST) - indent
    for line in textwrap.wrap(text, width, break_long_words=False, break_on_hyphens=False):
        console.print(Padding(visible(line), (0, 0, 0, indent), expand=False))


def _money(value: Decimal) -> str:
    return f"{value:,.2f}"


def _hours(value: Decimal) -> str:
    return f"{value:,.1f}"


def _signed(value: Decimal) -> str:
    return f"{value:+,.2f}" if value else "0.00"


def _signed_hours(value: Decimal) -> str:
    return f"{value:+,.1f}" if value else "0.0"
