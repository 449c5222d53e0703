"""Where most of the spend goes, and what each step of making and using models cost."""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal
from typing import Any

from exporters.report_blocks import (
    Block,
    Column,
    Heading,
    Note,
    Row,
    Table,
    exact_hours,
    exact_money,
    exact_share,
    hours_text,
    money_text,
    percent_text,
    words_of,
)
from rdspend.schema import Breakdown, Pareto

PARETO_ROWS = 10

STEPS = {"fine_tuning": "fine-tuning", "training": "training (pre and mid)"}


def spend_json(b: Breakdown) -> dict[str, Any]:
    return {
        "paretos": [
            {
                "by": list(pareto.by),
                "part": exact_share(pareto.part),
                "groups": pareto.groups,
                "needed": pareto.needed,
                "rows": [
                    {
                        "names": list(row.names),
                        "cost": exact_money(row.cost),
                        "gpu_hours": exact_hours(row.gpu_hours),
                        "jobs": row.jobs,
                        "cumulative": exact_share(row.cumulative),
                    }
                    for row in pareto.rows
                ],
            }
            for pareto in b.paretos
        ],
        "workloads": [
            {
                "step": each.step,
                "gpu_jobs": each.gpu_jobs,
                "gpu_cost": exact_money(each.gpu_cost),
                "gpu_hours": exact_hours(each.gpu_hours),
                "api_jobs": each.api_jobs,
                "api_cost": exact_money(each.api_cost),
                "counted_cost": exact_money(each.counted_cost),
                "tokens": each.tokens,
                "tokens_read": each.tokens_read,
                "tokens_written": each.tokens_written,
                "cost_per_million_tokens": exact_share(each.cost_per_million_tokens),
            }
            for each in b.workloads
        ],
    }


def telling(b: Breakdown) -> tuple[Pareto, ...]:
    """Groupings that tell more than one group apart."""
    return tuple(pareto for pareto in b.paretos if pareto.groups > 1 and _named(pareto))


def _named(pareto: Pareto) -> bool:
    return any(name and not name.startswith("(") for row in pareto.rows for name in row.names)


def group_words(names: tuple[str, ...]) -> tuple[str, ...]:
    """Names of a group as people read them: `(idle)` and its like by their words."""
    return tuple(words_of(name[1:-1] if name.startswith("(") and name.endswith(")") else name) for name in names)


def paretos(b: Breakdown) -> Iterator[Block]:
    shown = telling(b)
    if not shown:
        return
    yield Heading(f"Where {percent_text(shown[0].part).removesuffix('.0')} % goes", "pareto")
    for pareto in shown:
        yield from _pareto(b, pareto)


def _pareto(b: Breakdown, pareto: Pareto) -> Iterator[Block]:
    by = " and ".join(pareto.by)
    part = percent_text(pareto.part).removesuffix(".0")
    yield Heading(
        f"By {by}: {pareto.needed:,} of {pareto.groups:,} groups hold {part} %", f"pareto-{'-'.join(pareto.by)}", level=3
    )
    columns = (
        *(Column(name.capitalize()) for name in pareto.by),
        Column(f"Cost {b.currency}", number=True),
        *(Column(name, number=True, from_width=100) for name in ("GPU-hours", "Jobs")),
        Column("Up to here", number=True),
    )
    shown = pareto.rows[:PARETO_ROWS]
    rows = tuple(
        Row(
            (
                *group_words(row.names),
                *(
                    money_text(row.cost),
                    hours_text(row.gpu_hours) if row.gpu_hours else "",
                    f"{row.jobs:,}" if row.jobs else "",
                ),
                f"{percent_text(row.cumulative)} %",
            )
        )
        for row in shown
    )
    yield Table(columns, rows)
    if pareto.needed > len(shown):
        words = f"The {len(shown)} dearest of them; all: `rdspend top {b.period} --by {','.join(pareto.by)}`."
        yield Note(words, "small")


def workloads(b: Breakdown) -> Iterator[Block]:
    """GPU jobs and API calls side by side; empty where neither has money."""
    if not b.workloads:
        return
    yield Heading("From data to agents: GPU jobs and API calls", "workloads")
    tokens = any(each.tokens for each in b.workloads)
    calls = any(each.api_jobs or each.api_cost for each in b.workloads)
    columns = (
        Column("Step"),
        Column(f"GPU jobs {b.currency}", number=True),
        Column("GPU-hours", number=True, from_width=100),
        *((Column(f"API calls {b.currency}", number=True),) if calls else ()),
        *((Column("Million tokens", number=True), Column(f"{b.currency} per million", number=True)) if tokens else ()),
    )
    rows = []
    for each in b.workloads:
        price = each.cost_per_million_tokens
        counted = (
            f"{Decimal(each.tokens) / 1_000_000:,.1f}" if each.tokens else "",
            f"{price:,.4f}" if price is not None else "",
        )
        cells = (
            *(STEPS.get(each.step, words_of(each.step)), money_text(each.gpu_cost), hours_text(each.gpu_hours)),
            *((money_text(each.api_cost),) if calls else ()),
            *(counted if tokens else ()),
        )
        rows.append(Row(cells))
    yield Table(columns, tuple(rows))
    if tokens:
        yield Note("Cost per million tokens is of the work whose tokens are known, read and written together.", "small")
