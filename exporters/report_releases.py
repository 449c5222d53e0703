"""What releases claim of the period: their own runs, what was lost on the way, data, evaluations, experiments."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
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
    hours_text,
    money_text,
    words_of,
)
from rdspend.schema import Breakdown

RELEASE_ROWS = 40
ZERO = Decimal(0)

PARTS: Mapping[str, tuple[str, ...]] = {
    "own runs": ("run", "rollout"),
    "lost work": ("lost",),
    "dead ends": ("failed", "sweep", "sibling", "superseded"),
    "data": ("data", "distillation"),
    "evaluation": ("evaluation", "training_evaluation"),
    "experiments": ("exploration",),
}
"""What a release's money is told apart by in a drawing, and the roles in it."""

OTHER = "other"

PART_OF = {role: part for part, roles in PARTS.items() for role in roles}


def by_release(b: Breakdown) -> dict[str, dict[str, Decimal]]:
    """Money of each release by part, dearest first."""
    sums: dict[str, dict[str, Decimal]] = {}
    for line in b.releases:
        parts = sums.setdefault(line.release, {})
        part = PART_OF.get(line.role, OTHER)
        parts[part] = parts.get(part, ZERO) + line.cost
    return dict(sorted(sums.items(), key=lambda each: (-sum(each[1].values()), each[0])))


def releases_json(b: Breakdown) -> dict[str, Any]:
    return {
        "releases": [
            {
                "release": r.release,
                "role": r.role,
                "stage": r.stage,
                "category": r.category,
                "cost": exact_money(r.cost),
                "gpu_hours": exact_hours(r.gpu_hours),
                "jobs": r.jobs,
            }
            for r in b.releases
        ]
    }


def releases(b: Breakdown) -> Iterator[Block]:
    if not b.releases:
        return
    yield Heading("What releases cost", "releases")
    columns = (
        *(Column("Release"), Column("Role"), Column("Stage", from_width=100), Column("Counts as", from_width=100)),
        *(Column(f"Cost {b.currency}", number=True), Column("GPU-hours", number=True, from_width=100)),
        Column("Jobs", number=True, from_width=100),
    )
    order = {release: place for place, release in enumerate(by_release(b))}
    lines = sorted(b.releases, key=lambda r: (order[r.release], -r.cost, r.role, r.stage))
    rows = [
        Row(
            (
                *(r.release, r.role.replace("_", " "), words_of(r.stage), words_of(r.category)),
                *(money_text(r.cost), hours_text(r.gpu_hours), f"{r.jobs:,}"),
            )
        )
        for r in lines[:RELEASE_ROWS]
    ]
    if rest := lines[RELEASE_ROWS:]:
        cost, hours = (sum((getattr(r, name) for r in rest), ZERO) for name in ("cost", "gpu_hours"))
        jobs = sum(r.jobs for r in rest)
        rows.append(Row((f"and {len(rest):,} more", "", "", "", money_text(cost), hours_text(hours), f"{jobs:,}")))
    cost, hours = (sum((getattr(r, name) for r in lines), ZERO) for name in ("cost", "gpu_hours"))
    rows.append(Row(("all releases", "", "", "", money_text(cost), hours_text(hours), ""), strong=True))
    yield Table(columns, tuple(rows))
    yield Note("What releases claim by their lineage, in this period alone.", "small")
