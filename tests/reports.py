"""Breakdowns that have something to say in every section of the report."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from decimal import Decimal

from breakdowns import against_others

from rdspend.policy import load_policy
from rdspend.public_figures import beside
from rdspend.schema import (
    Breakdown,
    Cell,
    Crossing,
    Line,
    Pareto,
    ParetoRow,
    Past,
    ReleaseLine,
    Workload,
)

ZERO = Decimal(0)


def past(b: Breakdown, period: str, factor: str, revision: int = 1) -> Past:
    """The breakdown as an earlier publication would have had it, with its money times `factor`."""

    def scaled(lines: Sequence[Line]) -> tuple[Line, ...]:
        return tuple(replace(line, cost=(line.cost * Decimal(factor)).quantize(Decimal("1e-9"))) for line in lines)

    lines, buckets = scaled(b.lines), scaled(b.buckets)
    total = sum((line.cost for line in (*lines, *buckets)), ZERO)
    return Past(period, revision, "run-3", total, total, b.gpu_hours, lines, buckets, "closed")


def pareto(b: Breakdown, *by: str) -> Pareto:
    """The groups of the cells; a bucket's name stands in brackets, as the engine has it."""
    fields: dict[str, Callable[[Cell], str]] = {
        "activity": lambda c: c.category,
        "team": lambda c: c.team if c.team or c.stage else f"({c.category})",
        "stage": lambda c: c.stage,
        "cluster": lambda c: c.cluster,
    }
    sums: dict[tuple[str, ...], tuple[Decimal, Decimal]] = {}
    for cell in b.cells:
        names = tuple(fields[name](cell) for name in by)
        cost, hours = sums.get(names, (ZERO, ZERO))
        sums[names] = (cost + cell.cost, hours + cell.gpu_seconds / 3600)
    rows, upto = [], ZERO
    for names, (cost, hours) in sorted(sums.items(), key=lambda each: (-each[1][0], each[0])):
        if upto >= b.total * Decimal("0.8"):
            break
        upto += cost
        rows.append(ParetoRow(names, cost, hours, 7, (upto / b.total).quantize(Decimal("1e-6"))))
    return Pareto(by, Decimal("0.8"), len(sums), len(rows), tuple(rows[:20]))


def forwarded(**changes: object) -> Breakdown:
    """The lab's corrected month with months and a revision before it, releases, API spend and public figures."""
    made = against_others(synthetic=True, remark="SYNTHETIC: made up for the tests.", conversions=())
    final = next(line for line in made.lines if line.name == "final_training")
    likely = replace(final, likely_low=Decimal("0.231"), likely_high=Decimal("0.262"))
    made = replace(
        made,
        lines=tuple(likely if line is final else line for line in made.lines),
        doubt="Final training is 22.9 % of R&D compute; 90 % interval 23.1 to 26.2 %.",
        months_before=tuple(past(made, f"{2025 + (n + 9) // 12}-{(n + 9) % 12 + 1:02d}", f"0.{40 + 5 * n}") for n in range(12)),
        period_before=past(made, "2026-09", "0.95", 2),
        revision_before=past(made, "2026-10", "0.99", 1),
        paretos=tuple(pareto(made, *by) for by in (("activity",), ("team",), ("activity", "team"))),
        workloads=(
            Workload(
                *("data", 20, Decimal(96404), Decimal(36210), 9, Decimal("4000.5"), Decimal("4000.5")),
                *(2 * 10**9, 10**9, 10**9, Decimal("2.00025")),
            ),
            Workload("training", 40, Decimal(700000), Decimal(300000), 0, ZERO, ZERO, 0, 0, 0, None),
            Workload(
                *("agents", 0, ZERO, ZERO, 12, Decimal("911.25"), Decimal("911.25")),
                *(9 * 10**8, 8 * 10**8, 10**8, Decimal("1.0125")),
            ),
        ),
        releases=(
            ReleaseLine("aurora-7b-v2", "run", "pretraining", "final_training", Decimal("240000.5"), Decimal(90000), 6),
            ReleaseLine("aurora-7b-v2", "lost", "pretraining", "exploration", Decimal("31000"), Decimal(9000), 2),
            ReleaseLine("aurora-7b-v2", "training_evaluation", "evaluation", "evaluation", Decimal("8000"), Decimal(2000), 90),
            ReleaseLine("aurora-1b", "run", "pretraining", "final_training", Decimal("62118.25"), Decimal(20940), 3),
            ReleaseLine("aurora-1b", "failed", "pretraining", "exploration", Decimal("12000"), Decimal(4000), 4),
            ReleaseLine("aurora-1b", "data", "data", "data_generation", Decimal("22000"), Decimal(8000), 14),
        ),
        crossings=(
            Crossing("exploration", "pretraining", "failed", "", Decimal(100000), Decimal(100000), Decimal(3)),
            Crossing("exploration", "pretraining", "completed", "", Decimal(312306), Decimal(312306), Decimal(3)),
            Crossing("final_training", "pretraining", "cancelled", "run", Decimal(302118), Decimal(302118), Decimal(3)),
        ),
        public_figures=beside(load_policy("epoch")),
    )
    return replace(made, **changes)  # type: ignore[arg-type]
