"""Figures of releases, of what could become one, and of how few groups most of the money goes to."""

from __future__ import annotations

from decimal import Decimal

from exporters.metric_families import REFRESHED, Families, money
from rdspend.schema import SECONDS_PER_HOUR, Breakdown


def describe_releases(page: Families, b: Breakdown) -> None:
    """Money of each release by role, stage and category, and that of training which no release has claimed yet."""
    period = {"billing_period": b.period, "policy": b.policy.name, "currency": b.currency}
    sums: dict[tuple[str, str, str, str], tuple[Decimal, Decimal]] = {}
    for line in b.releases:
        key = (line.release, line.role, line.stage, line.category)
        cost, gpu_hours = sums.get(key, (Decimal(0), Decimal(0)))
        sums[key] = (cost + line.cost, gpu_hours + line.gpu_hours)
    claimed = f"of jobs that a release claims; jobs of several are cut by their weights, so that sums stay. {REFRESHED}"
    for key, (cost, gpu_hours) in sums.items():
        labels = {**dict(zip(("release", "role", "training_stage", "category"), key, strict=True)), **period}
        page.add("release.cost", money(b.currency), f"Effective cost {claimed}", labels, cost)
        page.add("release.gpu_time", "s", f"GPU time {claimed}", labels, gpu_hours * SECONDS_PER_HOUR)
    looks = "that looks like a final run and that no release has claimed"
    page.add("candidates", "{family}", f"Families of training {looks}. {REFRESHED}", period, len(b.candidates))
    if b.candidates:
        cost = sum((each.cost for each in b.candidates), Decimal(0))
        page.add("candidate.cost", money(b.currency), f"Effective cost of training {looks}. {REFRESHED}", period, cost)


def describe_paretos(page: Families, b: Breakdown) -> None:
    """How many groups hold most of the total, by the groupings that the report has: their number, never their names."""
    for pareto in b.paretos:
        labels = {"grouping": ", ".join(pareto.by), "billing_period": b.period, "currency": b.currency}
        words = f"Smallest number of groups that holds {pareto.part:.0%} of the total. {REFRESHED}"
        page.add("pareto.needed", "{group}", words, labels, pareto.needed)
        page.add(
            "pareto.groups", "{group}", f"Groups that the total has, by the same grouping. {REFRESHED}", labels, pareto.groups
        )
