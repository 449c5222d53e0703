"""Activity, stage, outcome and role crossed: what jobs of each combination cost.

The four stay apart: failed work by activity, roll-outs by stage, evaluation during training. Rows add up to the jobs' money.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator, Sequence
from decimal import Decimal
from typing import Any

from exporters.report_blocks import (
    Block,
    Column,
    Heading,
    Note,
    Row,
    Table,
    hours_text,
    money_text,
    share_text,
    visible,
    words_of,
)
from rdspend.errors import ConfigError
from rdspend.schema import Breakdown, Crossing

BY = {"activity": "category", "stage": "stage", "outcome": "outcome", "role": "role"}
"""What may be crossed, and the field of a crossing that has it."""

LOST = ("failed", "cancelled", "timeout", "preempted")
ZERO = Decimal(0)

Crossed = list[tuple[tuple[str, ...], Crossing]]


def refuse_unknown(by: Sequence[str]) -> None:
    """Raises ConfigError for what can't be crossed."""
    if not by or set(by) - set(BY) or len(set(by)) < len(by):
        raise ConfigError(f"--cross {','.join(by)!r}: expected some of {', '.join(BY)}, each once, with commas between")


def cross(breakdown: Breakdown, by: Sequence[str]) -> Crossed:
    """Jobs' money and time by these, dearest first."""
    sums: dict[tuple[str, ...], tuple[Decimal, Decimal, Decimal]] = {}
    for each in breakdown.crossings:
        key = tuple(getattr(each, BY[name]) for name in by)
        cost, billed, hours = sums.get(key, (ZERO, ZERO, ZERO))
        sums[key] = (cost + each.cost, billed + each.billed_cost, hours + each.gpu_hours)
    fields = list(BY.values())
    made = []
    for key, amounts in sums.items():
        named = dict.fromkeys(fields, "") | {BY[name]: value for name, value in zip(by, key, strict=True)}
        made.append((key, Crossing(**named, cost=amounts[0], billed_cost=amounts[1], gpu_hours=amounts[2])))
    return sorted(made, key=lambda each: (-each[1].cost, -each[1].gpu_hours, each[0]))


def crossing_page(b: Breakdown, by: Sequence[str]) -> Iterator[Block]:
    """The crossing as a page for people."""
    yield Heading(b.title or "Compute by purpose")
    if b.synthetic:
        yield Note("SYNTHETIC: made-up data. No real organisation spent this money.", "synthetic")
    yield Note(f"{b.period} · {b.currency} · policy {b.policy.name} · revision {b.revision} · {' by '.join(by)}")
    total, hours = sum((c.cost for c in b.crossings), ZERO), sum((c.gpu_hours for c in b.crossings), ZERO)
    columns = (
        *(Column(name.capitalize()) for name in by),
        *(Column(f"Cost {b.currency}", number=True), Column("GPU-hours", number=True), Column("Of all jobs", number=True)),
    )
    rows = [
        Row((*map(words_of, key), money_text(c.cost), hours_text(c.gpu_hours), share_text(c.cost / total if total else None)))
        for key, c in cross(b, by)
    ]
    rows.append(Row(("all jobs", *[""] * (len(by) - 1), money_text(total), hours_text(hours), ""), strong=True))
    yield Table(columns, tuple(rows))
    yield Note(
        "Effective cost. Idle and shared money is no job's: it is not in this table, unless the policy spreads it.", "small"
    )


def crossing_json(b: Breakdown, by: Sequence[str]) -> str:
    document = {
        "period": b.period,
        "policy": b.policy.name,
        "currency": b.currency,
        "revision": b.revision,
        "snapshot": b.snapshot,
        "synthetic": b.synthetic,
        "by": list(by),
        "rows": [dict(zip(by, key, strict=True)) | amounts(c) for key, c in cross(b, by)],
    }
    return json.dumps(document, indent=2) + "\n"


def crossing_csv(b: Breakdown, by: Sequence[str]) -> str:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\r\n")
    names = ("cost", "billed_cost", "gpu_hours")
    writer.writerow(("period", "policy", "currency", "revision", "snapshot", *by, *names))
    for key, c in cross(b, by):
        head = (b.period, b.policy.name, b.currency, b.revision, b.snapshot)
        writer.writerow((*head, *map(visible, key), *amounts(c).values()))
    return text.getvalue()


def amounts(c: Crossing) -> dict[str, Any]:
    return {"cost": f"{c.cost:.9f}", "billed_cost": f"{c.billed_cost:.9f}", "gpu_hours": f"{c.gpu_hours:.6f}"}


def lost_work(b: Breakdown) -> Iterator[Block]:
    """Failed and cancelled work by activity: what an activity spent on jobs that did not complete."""
    spent: dict[str, dict[str, Decimal]] = {}
    for each in b.crossings:
        of = spent.setdefault(each.category, {})
        of[each.outcome] = of.get(each.outcome, ZERO) + each.cost
    lost = [outcome for outcome in LOST if any(of.get(outcome) for of in spent.values())]
    if not lost:
        return
    yield Heading("Work that did not complete, by activity", "lost")
    columns = (
        Column("Went to"),
        *(Column(f"{outcome.capitalize()} {b.currency}", number=True) for outcome in lost),
        Column("Of its cost", number=True),
    )
    rows = []
    for name in [line.name for line in (*b.lines, *b.buckets) if any(spent.get(line.name, {}).get(o) for o in lost)]:
        of = spent[name]
        whole, part = sum(of.values(), ZERO), sum((of.get(outcome, ZERO) for outcome in lost), ZERO)
        cells = (money_text(of.get(outcome, ZERO)) for outcome in lost)
        rows.append(Row((words_of(name), *cells, share_text(part / whole if whole > 0 else None)), target=name))
    yield Table(columns, tuple(rows))
    yield Note("How a job ended says nothing of what it was for: a cancelled run may be the one that was released.", "small")
