"""Figures of the present, from the health of rdspend: itself, its sources and ledger, what runs now, and what was planned."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal

from exporters.metric_families import REFRESHED, Families, Sums, add, fold, money, team
from rdspend.schema import Burn, Health, Plan

BURN_LABELS = ("category", "team", "cluster_name", "basis")


def describe_now(page: Families, health: Health) -> None:
    _describe_health(page, health)
    _describe_ledger(page, health)
    _describe_burn(page, health.burn)
    if health.plan is not None:
        _describe_plan(page, health.plan)
    words = "Series of all families together that are not there, because a family may have no more than max_series."
    page.add("left_out_series", "{series}", words, {}, sum(page.left_out.values()))


def _describe_health(page: Families, health: Health) -> None:
    page.add("build_info", "", "Version of rdspend.", {"version": health.version}, 1)
    if health.last_run is not None:
        page.add("last_run.ok", "", "1 when the last run saw every source and published.", {}, health.last_run_ok)
        page.add("last_run.timestamp", "s", "When the last run ended.", {}, health.last_run)
    if health.last_success is not None:
        words = "When the last run ended that was ok; the figures are that old."
        page.add("last_success.timestamp", "s", words, {}, health.last_success)
    for source in health.sources:
        labels = {"source": source.source}
        page.add("source.up", "", "1 when the source answered the last time it was asked.", labels, source.up)
        page.add("source.duration", "s", "How long the source took the last time.", labels, source.seconds)
        page.add("source.rows", "{row}", "Rows the source delivered the last time.", labels, source.rows)
        for name, words, when in (
            ("last_success", "When the source answered last.", source.last_success),
            ("last_attempt", "When the source was asked last.", source.last_attempt),
        ):
            if when is not None:
                page.add(f"source.{name}.timestamp", "s", words, labels, when)
        if source.requests:
            words = "Requests of the source that the provider charges for, since the ledger began."
            page.count("source.requests", "{request}", words, labels, source.requests)
        if source.own_cost:
            words = "What asking the source cost, since the ledger began."
            page.count("source.own_cost", money("USD"), words, labels, source.own_cost)
    for stage in health.stages:
        words = "How long a stage of the last run took."
        page.add("stage.duration", "s", words, {"run_stage": stage.stage}, stage.seconds)
    for push in health.pushes:
        words = "Times that an exporter was not answered, since this process began."
        page.count("export.failures", "{failure}", words, {"exporter": push.exporter}, push.failures)


def _describe_ledger(page: Families, health: Health) -> None:
    for table in health.ledger:
        labels = {"table": table.table}
        words = "Bytes of a table of the ledger on its disk, every version that is kept."
        page.add("ledger.size", "By", words, labels, table.size_bytes)
        page.add("ledger.files", "{file}", "Files of a table of the ledger, every version that is kept.", labels, table.files)


def _describe_burn(page: Families, rows: Sequence[Burn]) -> None:
    """What runs now: money an hour in each currency; GPUs and nodes in all of them together."""
    for row in rows:
        page.add("burn.timestamp", "s", "When the jobs and nodes of the burn were seen.", {}, row.as_of)
    for currency in sorted({row.currency for row in rows if row.cost_per_hour is not None}):
        _describe_burnt_money(page, [row for row in rows if row.currency == currency], currency)
    if rows:
        _describe_held_gpus(page, rows)
    nodes: dict[tuple[str, str], int] = {}
    for row in rows:
        if row.nodes:
            nodes[row.cluster, _basis(row)] = nodes.get((row.cluster, _basis(row)), 0) + row.nodes
    for (cluster, basis), up in nodes.items():
        words = "Nodes that are up, basis unpriced where no rate names them."
        page.add("burn.nodes", "{node}", f"{words} {REFRESHED}", {"cluster_name": cluster, "basis": basis}, up)


def _basis(row: Burn) -> str:
    return "estimated" if row.currency else "unpriced"


def _describe_held_gpus(page: Families, rows: Sequence[Burn]) -> None:
    """Idle GPUs of a cluster are there where the capacity of all its nodes is known: not known is not 0."""
    unknown = {row.cluster for row in rows if row.category == "idle" and row.gpus is None}
    gpus: Sums = {}
    for row in rows:
        if row.category != "idle" or row.cluster not in unknown:
            labels = (row.category, team(row.team), row.cluster, _basis(row))
            add(gpus, labels, row.cost_per_hour or Decimal(0), row.gpus or Decimal(0))
    kept, folded = fold(gpus, page.max_series)
    words = f"GPUs that jobs hold and that stand idle, basis unpriced where no rate names the node. {REFRESHED}"
    for each, (_, count) in kept.items():
        page.add("burn.gpus", "{gpu}", words, dict(zip(BURN_LABELS, each, strict=True)), count)
    _describe_folding(page, page.spell("burn.gpus", "{gpu}"), folded)


def _describe_burnt_money(page: Families, rows: Sequence[Burn], currency: str) -> None:
    sums: Sums = {}
    for row in rows:
        labels = (row.category, team(row.team), row.cluster, "estimated")
        add(sums, labels, row.cost_per_hour or Decimal(0), row.gpus or Decimal(0))
    kept, folded = fold(sums, page.max_series)
    for each, (cost, _) in kept.items():
        page.add(
            "burn",
            money(currency, "h"),
            f"Cost of an hour of what runs now and of idle nodes, by the rates: estimated, never billed. {REFRESHED}",
            {**dict(zip(BURN_LABELS, each, strict=True)), "currency": currency},
            cost,
        )
    _describe_folding(page, page.spell("burn", money(currency, "h")), folded)


def _describe_folding(page: Families, family: str, folded: int) -> None:
    words = "Series of a family of what runs now that were folded into others, because it may have no more than max_series."
    page.add("burn.folded_series", "{series}", words, {"family": family}, folded)


def _describe_plan(page: Families, plan: Plan) -> None:
    labels = {"currency": plan.currency}
    if plan.burn_per_hour is not None:
        words = "What an hour may cost, jobs and idle nodes together, as [plan] says."
        page.add("plan.burn", money(plan.currency, "h"), words, labels, plan.burn_per_hour)
    if plan.month is not None:
        page.add("plan.month", money(plan.currency), "What a month may cost, as [plan] says.", labels, plan.month)
    for share in plan.shares:
        band = {"category": share.category}
        words = "end of the band in which the share of a category is expected, as [plan] says."
        page.add("plan.share_low", "1", f"Lower {words}", band, share.low)
        page.add("plan.share_high", "1", f"Upper {words}", band, share.high)
