"""What runs now and what an hour of it costs: running jobs x rates, the rest of the nodes idle. Never billed, only estimated.

It is the breakdown of one hour at present prices: the same node records, share rule, rescaling and narrowest rate as the
attribution of a month, and the same winning tags. Prices of nodes that are up add to the burn of their jobs and their idle
time, to the nano. What no rate names, or two rates equally, has GPUs and no money: never 0.

Only nodes with a rate have money: not API spend, storage, support, or nodes that are known from a bill alone.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from decimal import Decimal

from rdspend.attribution import ShareRule, share_of_node
from rdspend.border import literal
from rdspend.breakdown import gpu_seconds, make_cells
from rdspend.closing import money
from rdspend.engine import Engine
from rdspend.ledger import Snapshot
from rdspend.period import EARLIEST, LATEST
from rdspend.schema import GPU_PARTS, Burn, Policy

NO_PRICE = ""


@dataclass(frozen=True)
class _Cluster:
    """Nodes of a cluster that are up and priced in one currency. gpus_known: the capacity of each of them is."""

    nodes: int
    gpus_known: bool


def burning(engine: Engine, snapshot: Snapshot, as_of: int, share_rule: ShareRule, policy: Policy) -> tuple[Burn, ...]:
    """What runs at the epoch second `as_of`, as the ledger knows it; nothing where it knows no node and no running job.

    policy  says what each tag counts as; idle time is shown apart, also where the policy spreads it
    """
    for table in ("jobs", "placements"):
        snapshot.view(engine, table, lambda p: p["end_day"] == "open")
    snapshot.view(engine, "tags", lambda p: p["end_month"] == "open", name="every_tag")
    for table in ("nodes", "rates"):
        snapshot.view(engine, table)
    _measure(engine, as_of, share_rule)
    clusters = {(cluster, currency): _Cluster(nodes, known) for cluster, currency, nodes, known in engine.read("burning_nodes")}
    unpriced_jobs = engine.value("SELECT EXISTS (SELECT 1 FROM held_now WHERE currency IS NULL)")
    found = sorted({currency for _, currency in clusters} | ({NO_PRICE} if unpriced_jobs else set()))
    return tuple(burn for currency in found for burn in _of_currency(engine, currency, clusters, as_of, policy))


def _measure(engine: Engine, as_of: int, share_rule: ShareRule) -> None:
    """The one second that begins at `as_of`, with the statements of the attribution."""
    times = {"earliest": EARLIEST, "latest": LATEST, "first": as_of, "last": as_of + 1, "now": as_of + 1}
    engine.run("span", times)
    engine.run("job", times)
    num, den = share_of_node(share_rule)
    engine.run("piece", times, num=num, den=den)
    for name in ("crowded", "rescaled", "share_piece"):
        engine.run(name)
    engine.run("rate_span", times)
    engine.run("price_now", times, gpu_parts=GPU_PARTS)
    engine.run("held_now", times, gpu_parts=GPU_PARTS)
    engine.run("idle_now")
    engine.run("tags_now", times)


def _of_currency(
    engine: Engine, currency: str, clusters: dict[tuple[str, str], _Cluster], as_of: int, policy: Policy
) -> list[Burn]:
    engine.run("burning", {"currency": currency})
    engine.run("burning_money", currency=literal(currency))
    engine.run("burning_time")
    for view, made in (("attributions", "burning_money"), ("occupancy", "burning_time"), ("tags", "tags_now")):
        engine.execute(f"CREATE OR REPLACE TEMP VIEW {view} AS SELECT * FROM {made}")
    make_cells(engine, currency, replace(policy, idle="shown", shared="shown"))
    rows = []
    for category, team, cluster, cost, parts in engine.read("burn_cell"):
        idle = clusters.get((cluster, currency)) if category == "idle" else None
        gpus = gpu_seconds(parts) if idle is None or idle.gpus_known else None
        price = money(cost) if currency != NO_PRICE else None
        rows.append(Burn(category, team, cluster, currency, price, gpus, idle.nodes if idle else 0, float(as_of)))
    seen = {row.cluster for row in rows if row.category == "idle"}
    for (cluster, of), nodes in sorted(clusters.items()):
        if of == currency and cluster not in seen:
            none = Decimal(0)
            price, gpus = (none if currency else None), (none if nodes.gpus_known else None)
            rows.append(Burn("idle", "", cluster, currency, price, gpus, nodes.nodes, float(as_of)))
    return rows


def in_words(rows: tuple[Burn, ...]) -> list[str]:
    """What burns, a line for each currency and one for what has no price."""
    said = []
    for currency in sorted({row.currency for row in rows}):
        here = [row for row in rows if row.currency == currency]
        held = sum((row.gpus or Decimal(0) for row in here if row.category != "idle"), Decimal(0))
        idle = [row for row in here if row.category == "idle"]
        free = (
            "unknown" if any(row.gpus is None for row in idle) else f"{sum((row.gpus or 0 for row in idle), Decimal(0)):,.2f}"
        )
        gpus = f"{held:,.2f} GPUs held, {free} idle, {sum(row.nodes for row in idle):,} nodes up"
        cost = sum((row.cost_per_hour or Decimal(0) for row in here), Decimal(0))
        unused = sum((row.cost_per_hour or Decimal(0) for row in idle), Decimal(0))
        money_said = f"{cost:,.2f} {currency} an hour, of it idle {unused:,.2f}" if currency else "no price"
        said.append(f"{money_said}; {gpus}")
    return said
