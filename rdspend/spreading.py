"""Idle and shared money that a policy has the jobs bear.

Idle money goes to the jobs of its cluster, money that the bill itself calls unused and shared money to all jobs, each by what
the job itself cost; idle GPU time, where shares are of GPU-hours, to the jobs of its cluster by their GPU time. In whole nanos:
jobs in the order of their keys take differences of running totals that are cut toward zero, so the parts add up to the whole
and the rest that a cut leaves goes to the next. Where no job can bear it, it stays in its bucket.
"""

from __future__ import annotations

from typing import Final

from rdspend.engine import Engine
from rdspend.schema import Policy

DIGITS: Final = 37
"""Of whole numbers that surely fit 128 bits."""

MONEY: Final = {"idle": ("idle", "unused"), "shared": ("shared",)}
"""The parts of `borne` that a policy spreads together."""


def share_out(engine: Engine, currency: str) -> None:
    """Tables `bearing` and `borne` of one currency. Wants `job_part`."""
    engine.run("bearing")
    unit = _unit(engine, currency)
    engine.run(
        "borne",
        {"currency": currency},
        idle=_part("effective", "here", "cost", unit),
        idle_billed=_part("billed", "here", "cost", unit),
        unused=_part("unused", "everywhere", "cost", unit),
        unused_billed=_part("unused_billed", "everywhere", "cost", unit),
        shared=_part("shared", "everywhere", "cost", unit),
        shared_billed=_part("shared_billed", "everywhere", "cost", unit),
        idle_parts=_part("parts", "time", "held", 1),
    )


def _unit(engine: Engine, currency: str) -> int:
    """Nanos that job costs are weighed in: one, or as many as keep money times money within 128 bits."""
    paid = int(engine.value("SELECT COALESCE(sum(effective) FILTER (effective > 0), 0) FROM job_part"))
    spread = engine.value(
        "SELECT COALESCE(sum(greatest(abs(effective_cost_nanos), abs(billed_cost_nanos))), 0) FROM attributions "
        "WHERE bucket IS NOT NULL AND billing_currency = ?",
        [currency],
    )
    return int(10 ** max(0, len(str(paid * int(spread))) - DIGITS))


def _part(whole: str, running: str, own: str, unit: int) -> str:
    """SQL of a job's part: the running total up to it, cut, less that before it."""
    upto, before = (
        f"{whole} * (({length}) // {unit}) // nullif(all_{running} // {unit}, 0)" for length in (running, f"{running} - {own}")
    )
    return f"COALESCE({upto} - {before}, 0)"


def spreads(policy: Policy) -> bool:
    return "spread" in (policy.idle, policy.shared)


def spread_time(policy: Policy) -> bool:
    """Idle GPU time is spread where shares are of it."""
    return policy.idle == "spread" and policy.unit == "gpu_hours"


def borne_words(policy: Policy) -> dict[str, str]:
    """Words of `job_money`: what a job bears under a policy, of the table `borne` (b) where there is one."""
    if not spreads(policy):
        return {"borne": "0", "borne_billed": "0", "borne_parts": "0", "basis": "m.basis", "bearing": ""}
    parts = [part for key in MONEY if getattr(policy, key) == "spread" for part in MONEY[key]]
    bases = ", ".join(("m.basis", *(f"b.{part}_{end}" for part in parts for end in ("low", "high"))))
    return {
        "borne": " + ".join(f"COALESCE(b.{part}, 0)" for part in parts),
        "borne_billed": " + ".join(f"COALESCE(b.{part}_billed, 0)" for part in parts),
        "borne_parts": "COALESCE(b.idle_parts, 0)" if spread_time(policy) else "0",
        "basis": f"CASE WHEN least({bases}) = greatest({bases}) THEN m.basis ELSE 'mixed' END",
        "bearing": "LEFT JOIN borne AS b USING (job_key, part)",
    }


def shown_words(policy: Policy) -> dict[str, str]:
    """Words of `cell`: which money of a bucket, and which idle time, stays there."""
    paying, holding = (f"SELECT cluster FROM bearing WHERE {what}" for what in ("paid", "held"))
    anybody = "EXISTS (SELECT 1 FROM bearing WHERE paid)"
    borne = []
    if policy.idle == "spread":
        borne += [f"bucket = 'idle' AND COALESCE(cluster IN ({paying}), false)", f"bucket = 'bill_idle' AND {anybody}"]
    if policy.shared == "spread":
        borne.append(f"bucket = 'shared' AND {anybody}")
    return {
        "shown": " ".join(f"AND NOT ({each})" for each in borne),
        "shown_time": f"AND COALESCE(cluster NOT IN ({holding}), true)" if spread_time(policy) else "",
    }
