"""What changed since the month before and since the last revision, and the split month by month."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from decimal import Decimal
from typing import Any

from exporters.report_blocks import (
    NO_SHARE,
    Block,
    Column,
    Heading,
    Note,
    Row,
    Table,
    change_text,
    exact_hours,
    exact_money,
    exact_share,
    money_text,
    share_text,
    words_of,
)
from rdspend.schema import Breakdown, Line, Past

ZERO = Decimal(0)


def past_json(b: Breakdown) -> dict[str, Any]:
    """What it is set against, as published."""
    return {
        "months_before": [_past(month) for month in b.months_before],
        "period_before": _past(b.period_before) if b.period_before else None,
        "revision_before": _past(b.revision_before) if b.revision_before else None,
    }


def _past(past: Past) -> dict[str, Any]:
    return {
        "period": past.period,
        "revision": past.revision,
        "snapshot": past.snapshot,
        "state": past.state,
        "total": exact_money(past.total),
        "billed_total": exact_money(past.billed_total),
        "gpu_hours": exact_hours(past.gpu_hours),
        "lines": [
            {"category": line.name, "cost": exact_money(line.cost), "share": exact_share(line.share)}
            for line in (*past.lines, *past.buckets)
        ],
    }


def this_one(b: Breakdown) -> Past:
    """The breakdown as later ones will see it."""
    return Past(b.period, b.revision, b.snapshot, b.total, b.billed_total, b.gpu_hours, b.lines, b.buckets, b.state)


def months_shown(b: Breakdown) -> tuple[Past, ...]:
    """Months to draw beside each other, in order; a period that is no month is not among them."""
    return (*b.months_before, this_one(b)) if (b.period,) == b.months else b.months_before


def changes(b: Breakdown) -> Iterator[Block]:
    """Figures by category, against the period before and against the last revision."""
    if b.period_before is not None:
        yield Heading(f"What changed since {b.period_before.period}", "since-period")
        yield _moves(b, b.period_before, b.period_before.period, b.period)
    elif b.months_before:
        yield Heading("What changed since the month before", "since-period")
        yield Note("Nothing to compare with: the period right before this one was not published under this policy.")
    if b.revision_before is not None:
        yield Heading(f"What changed since revision {b.revision_before.revision}", "since-revision")
        before, now = f"Revision {b.revision_before.revision}", f"Revision {b.revision}"
        yield _moves(b, b.revision_before, before, now)
        yield Note(f"What moved it, by source, team and bill row: `rdspend diff {b.period}`.", "small")


def _moves(b: Breakdown, before: Past, was: str, now: str) -> Table:
    columns = (
        Column("Went to"),
        *(Column(name, number=True) for name in (f"{was} {b.currency}", f"{now} {b.currency}", "Change")),
        *(Column(name, number=True, from_width=100) for name in ("Share before", "Share now")),
    )
    old = {line.name: line for line in (*before.lines, *before.buckets)}
    rows = []
    for line in (*b.lines, *b.buckets):
        then = old.get(line.name)
        if not line.cost and (then is None or not then.cost):
            continue
        rows.append(_move(line.name, then.cost if then else ZERO, line.cost, then, line))
    total = (money_text(before.total), money_text(b.total), change_text(b.total - before.total))
    rows.append(Row(("total", *total, "", ""), strong=True))
    return Table(columns, tuple(rows))


def _move(name: str, was: Decimal, now: Decimal, then: Line | None, line: Line) -> Row:
    shares = (share_text(then.share) if then else NO_SHARE, share_text(line.share))
    cells = (words_of(name), money_text(was), money_text(now), change_text(now - was), *shares)
    return Row(cells, strong=name == "final_training", target=name)


def months(b: Breakdown) -> Iterator[Block]:
    shown = months_shown(b)
    if len(shown) < 2:
        return
    yield Heading("Month by month", "months")
    spent = [name for name in _categories(shown) if any(_cost(month, name) for month in shown)]
    columns = (
        Column("Month"),
        *(Column(words_of(name), number=True, from_width=0 if name == "final_training" else 140) for name in spent),
        Column(f"Total {b.currency}", number=True),
        Column("Final training", number=True),
    )
    rows = tuple(
        Row(
            (
                month.period,
                *(money_text(_cost(month, name)) for name in spent),
                money_text(month.total),
                share_text(next((line.share for line in month.lines if line.name == "final_training"), None)),
            ),
            strong=month.period == b.period,
        )
        for month in shown
    )
    yield Table(columns, rows)
    yield Note("Months before this one as they were when it was published.", "small")


def _categories(shown: Sequence[Past]) -> list[str]:
    return list(dict.fromkeys(line.name for month in shown for line in (*month.lines, *month.buckets)))


def _cost(month: Past, name: str) -> Decimal:
    return next((line.cost for line in (*month.lines, *month.buckets) if line.name == name), ZERO)
