"""The releases that the ledger knows, what each claims, and what that cost in all months together.

A job that several releases claim is whole in each of them: this is what a release claims, not a division of the money.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import Any

from rdspend.border import literal
from rdspend.breakdown import gpu_hours, make_parts, money, named_currencies
from rdspend.engine import Engine, empty_select
from rdspend.ledger import Snapshot
from rdspend.releasing import STAGE
from rdspend.schema import ROLES, TAGS


@dataclass(frozen=True)
class RoleSum:
    """The jobs that have one role. cost: by currency; empty where nobody told what they cost."""

    role: str
    jobs: int
    gpu_hours: Decimal
    cost: tuple[tuple[str, Decimal], ...]


@dataclass(frozen=True)
class ListedRelease:
    """One release. state: released, withdrawn, or not released. unmatched: what it names and no job answers to."""

    release: str
    model: str
    version: str
    licence: str
    published_at: str
    released_at: str
    state: str
    source: str
    roles: tuple[RoleSum, ...] = ()
    unmatched: tuple[str, ...] = ()


def list_releases(engine: Engine, snapshot: Snapshot, sources: Collection[str], now: float) -> list[ListedRelease]:
    """All releases of these sources, by date; those without one last. now: epoch seconds."""
    snapshot.view(engine, "releases", lambda p: p["source"] in sources)
    snapshot.view(engine, "findings", lambda p: p["stage"] == STAGE)
    rows = engine.rows(
        "SELECT release, model, COALESCE(version, ''), COALESCE(licence, ''), COALESCE(published_at, ''), "
        "COALESCE(strftime(timezone('UTC', released_at), '%Y-%m-%d'), ''), CASE WHEN withdrawn_at IS NOT NULL THEN 'withdrawn' "
        f"WHEN COALESCE(epoch(released_at) <= {now}, false) THEN 'released' ELSE 'not released' END, source FROM releases "
        "ORDER BY released_at NULLS LAST, release"
    )
    if not rows:
        return []
    _narrow(engine, snapshot)
    told = engine.rows("SELECT subject, detail FROM findings WHERE kind = 'release_claims_nothing' ORDER BY ALL")
    unmatched: dict[str, tuple[str, ...]] = {}
    for release, words in told:
        unmatched[release] = (*unmatched.get(release, ()), words)
    listed = (ListedRelease(*row) for row in rows)
    return [replace(each, roles=_roles(engine, each.release), unmatched=unmatched.get(each.release, ())) for each in listed]


def _narrow(engine: Engine, snapshot: Snapshot) -> None:
    """Money, time and records of claimed jobs alone, of all months."""
    snapshot.view(engine, "claims")
    for table in ("attributions", "occupancy", "jobs"):
        claimed = f"SELECT * FROM ({snapshot.select(table)}) SEMI JOIN claims USING (job_key)"
        engine.execute(f"CREATE OR REPLACE TEMP TABLE {table} AS {claimed}")


def _roles(engine: Engine, release: str) -> tuple[RoleSum, ...]:
    """What one release claims by role: the claims take the place of the tags."""
    said = f"SELECT {literal(STAGE)} AS tagger, {TOLD} FROM claims WHERE release = {literal(release)}"
    engine.execute(f"CREATE OR REPLACE TEMP VIEW tags AS {empty_select(TAGS)} UNION ALL BY NAME {said}")
    sums: dict[str, dict[str, Sequence[Any]]] = {role: {} for role in ROLES}
    for currency in named_currencies(engine) or ("",):
        make_parts(engine, currency)
        for role, *figures in engine.read("release_role"):
            sums[role][currency] = figures
    jobs = dict(engine.rows("SELECT role, count(DISTINCT job_key) FROM claims WHERE release = ? GROUP BY role", [release]))
    return tuple(
        RoleSum(
            role,
            int(jobs[role]),
            gpu_hours(max((int(parts) for _, parts, _ in found.values()), default=0)),
            tuple((currency, money(cost)) for currency, (_, _, cost) in sorted(found.items()) if currency and cost),
        )
        for role, found in sums.items()
        if role in jobs
    )


# Columns that claims and tags share.
TOLD = "job_key, activity, stage, role, release, segment_start, segment_end, confidence, evidence"
