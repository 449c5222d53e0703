"""Breakdowns made by hand: every sum follows from the cells, so they close by construction."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable
from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

from rdspend.schema import (
    ACTIVITIES,
    BUCKETS,
    Breakdown,
    Burn,
    Candidate,
    Cell,
    CheckClosing,
    Closed,
    ClosingRow,
    Conversion,
    Crossing,
    EstimateError,
    Gap,
    Health,
    InvoiceClosing,
    LedgerTable,
    Line,
    Pareto,
    Plan,
    PlannedShare,
    Policy,
    PushHealth,
    ReleaseLine,
    SourceClosing,
    SourceHealth,
    StageHealth,
    TopJob,
)

EPOCH = Policy(
    "epoch",
    "Epoch AI's boundary",
    "Jobs in the lineage of a released model are final training, post-training included; discarded attempts are "
    "exploration. Idle capacity is shown, not spread.",
    "everything but inference: all activities, idle, shared and unclassified money",
    ("exploration", "data_generation", "evaluation", "final_training", *BUCKETS),
)
OCTOBER, NOVEMBER = datetime(2026, 10, 1, tzinfo=UTC), datetime(2026, 11, 1, tzinfo=UTC)


def cell(category: str, cost: str, hours: str = "0", stage: str = "", team: str = "", cluster: str = "h100") -> Cell:
    money = Decimal(cost)
    gpu_seconds = Decimal(hours) * 3600
    return Cell(category, stage, team, "" if category == "shared" else cluster, "billed", money, money, gpu_seconds)


LAB = (
    cell("exploration", "412306.118273645", "151204.5", "pretraining", "foundation"),
    cell("exploration", "208114.900000001", "77310.25", "reinforcement_learning", "post-training"),
    cell("exploration", "31007.25", "11800", "finetuning", "post-training", "a100"),
    cell("data_generation", "96404.33", "36210.125", "data", "data"),
    cell("evaluation", "41870.07", "15622", "evaluation", "evals"),
    cell("final_training", "302118.777777777", "110940", "pretraining", "foundation"),
    cell("inference", "18442.5", "6931.5", "serving", "product"),
    cell("idle", "88120.44", "33100.75"),
    cell("bill_idle", "12400"),
    cell("shared", "74391.2"),
    cell("shared", "-5000"),
    cell("unclassified", "57012.345678901", "21206.75", "", "interns"),
)


def _line(name: str, cells: list[Cell], denominator: Decimal, inside: bool, room: Decimal = Decimal(0)) -> Line:
    cost = sum((c.cost for c in cells), Decimal(0))
    bases = {c.basis for c in cells}
    share = cost / denominator if inside and denominator else None
    return Line(
        name,
        cost,
        sum((c.billed_cost for c in cells), Decimal(0)),
        sum((c.gpu_seconds for c in cells), Decimal(0)) / 3600,
        bases.pop() if len(bases) == 1 else "mixed" if bases else "billed",
        share,
        share,
        None if share is None else share + room / denominator,
    )


def _by(cells: list[Cell], key: Callable[[Cell], str], denominator: Decimal) -> tuple[Line, ...]:
    groups: dict[str, list[Cell]] = {}
    for c in cells:
        groups.setdefault(key(c), []).append(c)
    lines = [_line(name, group, denominator, True) for name, group in groups.items()]
    return tuple(sorted(lines, key=lambda line: (-line.cost, line.name)))


def build(cells: Iterable[Cell] = LAB, **changes: object) -> Breakdown:
    """A breakdown of October 2026 whose figures are the sums of `cells`."""
    cells = tuple(cells)
    total = sum((c.cost for c in cells), Decimal(0))
    billed = sum((c.billed_cost for c in cells), Decimal(0))
    denominator = sum((c.cost for c in cells if c.category in EPOCH.denominator), Decimal(0))
    unclassified = sum((c.cost for c in cells if c.category == "unclassified"), Decimal(0))
    of = {name: [c for c in cells if c.category == name] for name in (*ACTIVITIES, *BUCKETS)}
    jobs = [c for c in cells if c.category in (*ACTIVITIES, "unclassified")]
    bases = {c.basis for c in cells}
    basis = bases.pop() if len(bases) == 1 else "mixed"
    made = Breakdown(
        period="2026-10",
        months=("2026-10",),
        policy=EPOCH,
        currency="USD",
        revision=2,
        snapshot="run-17",
        basis=basis,
        total=total,
        billed_total=billed,
        gpu_hours=sum((c.gpu_seconds for c in cells), Decimal(0)) / 3600,
        denominator=denominator,
        lines=tuple(_line(a, of[a], denominator, a != "inference", unclassified) for a in ACTIVITIES),
        buckets=tuple(_line(b, of[b], denominator, True) for b in BUCKETS),
        stages=_by(jobs, lambda c: c.stage, denominator),
        teams=_by(jobs, lambda c: c.team, denominator),
        clusters=_by(jobs, lambda c: c.cluster, denominator),
        services=(
            Line("Amazon Simple Storage Service", Decimal("74391.2"), Decimal("74391.2"), Decimal(0), "billed"),
            Line("Credits", Decimal(-5000), Decimal(-5000), Decimal(0), "billed"),
        ),
        top_jobs=tuple(
            TopJob(
                f"{c.cluster}/{100000 + number}/1790812800",
                f"{c.stage or 'run'}-7b-seed{number}",
                c.team,
                c.category,
                c.stage,
                "completed",
                c.cost,
                c.gpu_seconds / 3600,
            )
            for number, c in enumerate(sorted(jobs, key=lambda c: -c.cost)[:10])
        ),
        cells=cells,
        charges=total,
        attributed=total,
        closings=(SourceClosing("focus", "2026-10", basis, total, total, billed, billed),),
        coverage=(
            Gap("focus", OCTOBER, NOVEMBER, True, ""),
            Gap("slurm", OCTOBER, NOVEMBER, True, ""),
        ),
        findings=(("oversubscribed_node", "h100/n17", "9 of 8 GPUs held on 2026-10-09, 14:02 to 14:05; rescaled", 3),),
        idle_gpu_hours_known=True,
        share_rule="gpu",
        title="Compute of the lab",
    )
    return replace(made, **changes)  # type: ignore[arg-type]


def against_others(**changes: object) -> Breakdown:
    """The lab's breakdown of a corrected month, with everything in it that others state of it."""
    made = build((*LAB, replace(cell("exploration", "1000", "350"), basis="estimated")))
    total, billed = made.total, made.billed_total
    bridge = (
        ClosingRow("focus", "INV-1", "USD", "usage", billed - 300, total - 300),
        ClosingRow("focus", "INV-1", "USD", "commitment_unused", Decimal(0), Decimal(300)),
        ClosingRow("focus", "", "USD", "tax", Decimal(300), Decimal(0)),
    )
    invoices = (
        InvoiceClosing("focus", "INV-0", "USD", Decimal("10.00"), Decimal("10"), Decimal(0)),
        InvoiceClosing("focus", "INV-1", "USD", Decimal("1340000.00"), Decimal("1339965.50"), Decimal("34.50")),
        InvoiceClosing("focus", "INV-2", "USD", Decimal("7.01"), Decimal("7.006"), Decimal("0.004"), rounded=True),
        InvoiceClosing("focus", "INV-3", "USD", None, Decimal("3"), None),
    )
    checks = (
        CheckClosing("cost_explorer", "", "", "USD", Decimal("99.5"), Decimal("100"), Decimal("-0.5"), True),
        CheckClosing("cost_explorer", "AmazonEC2", "1234", "USD", Decimal("1"), Decimal("50"), Decimal("-49"), False),
    )
    errors = (
        EstimateError(
            *("2026-09", "A100", 20, Decimal(80), Decimal(60)),
            *(Decimal("-0.25"), Decimal("0.3"), Decimal("-0.25")),
        ),
        EstimateError(
            *("2026-10", "H100", 1440, Decimal("34444.8"), Decimal("35000")),
            *(Decimal("0.016114"), Decimal("0.021"), Decimal("0.016118")),
        ),
    )
    made = replace(
        made,
        state="corrected",
        closed=Closed(1, "run-12", total - Decimal("15.44"), billed - Decimal("15.44"), datetime(2026, 11, 20, tzinfo=UTC)),
        bridge=bridge,
        invoices=invoices,
        checks=checks,
        estimate_errors=errors,
        estimated_low=total - 21,
        estimated_high=total + 21,
        conversions=(
            Conversion(
                *("EUR", Decimal(100), Decimal(90), Decimal("108.5"), Decimal("97.65")),
                *(Decimal("1.08"), Decimal("1.0900")),
            ),
        ),
        **of_jobs(made),
    )
    return replace(made, **changes)  # type: ignore[arg-type]


def of_jobs(made: Breakdown) -> dict[str, Any]:
    """What a report says of jobs besides their sums: endings, releases, what could become one, where most of it goes."""
    jobs = [c for c in made.cells if c.category in (*ACTIVITIES, "unclassified")]
    outcomes = ("completed", "failed", "cancelled")
    final = next(line for line in made.lines if line.name == "final_training")
    half = final.cost / 2
    return {
        "crossings": tuple(
            Crossing(c.category, c.stage, outcomes[n % 3], "", c.cost, c.billed_cost, c.gpu_seconds / 3600)
            for n, c in enumerate(jobs)
        ),
        "candidates": (
            Candidate("pretrain-9b", "foundation", "large", 3, Decimal("20007.5"), Decimal(8000)),
            Candidate("pretrain-1b", "interns", "long", 1, Decimal("1000.25"), Decimal(400)),
        ),
        "releases": (
            ReleaseLine("alpha-7b@1.0", "run", "pretraining", "final_training", half, Decimal(55000), 4),
            ReleaseLine("alpha-7b@1.0", "failed", "pretraining", "exploration", Decimal("31007.25"), Decimal(11800), 9),
            ReleaseLine("beta@2", "run", "finetuning", "final_training", final.cost - half, Decimal(55940), 2),
        ),
        "paretos": (
            Pareto(("activity",), Decimal("0.8"), 9, 4, ()),
            Pareto(("activity", "team"), Decimal("0.8"), 12, 6, ()),
        ),
        "lines": tuple(
            replace(line, likely_low=line.share * Decimal("0.98"), likely_high=line.share * Decimal("1.01"))
            if line.share
            else line
            for line in made.lines
        ),
    }


PLAN = Plan("USD", Decimal(1200), Decimal(800_000), (PlannedShare("final_training", Decimal("0.05"), Decimal("0.6")),))


def full_health(**changes: object) -> Health:
    """The state of an rdspend that has something to say of everything."""
    made = Health(
        "1.2.3",
        (SourceHealth("cost_explorer", True, 1.0, 1.0, 1.0, 1, requests=12, own_cost=Decimal("0.12")),),
        (StageHealth("collect", 62.5),),
        True,
        1790000001.0,
        1790000001.0,
        (PushHealth("otlp", 1),),
        burn=(
            Burn("final_training", "foundation", "h100", "USD", Decimal("1600.000000001"), Decimal(512), 0, 1790000000.0),
            Burn("evaluation", "evals", "h100", "USD", Decimal("12.5"), Decimal("4.5"), 0, 1790000000.0),
            Burn("idle", "", "h100", "USD", Decimal("37.5"), Decimal("3.5"), 65, 1790000000.0),
            Burn("unclassified", "interns", "a100", "", None, Decimal(8), 0, 1790000000.0),
            Burn("idle", "", "a100", "", None, None, 2, 1790000000.0),
        ),
        ledger=(LedgerTable("charges", 7, 123_456), LedgerTable("jobs", 3, 45_678)),
        plan=PLAN,
    )
    return replace(made, **changes)  # type: ignore[arg-type]


def many(series: int, seed: int = 7) -> tuple[Cell, ...]:
    """That many cells with different labels, from a seed."""
    pick = random.Random(seed)
    return tuple(
        cell(
            pick.choice(ACTIVITIES),
            f"{pick.randint(1, 10**14)}e-9",
            str(pick.randint(1, 10_000)),
            "pretraining",
            f"team-{number // 4}",
            f"cluster-{number % 4}",
        )
        for number in range(series)
    )
