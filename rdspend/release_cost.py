"""What a release cost: its own runs, what was lost on the way, its data and evaluations, and the experiments behind it.

Everything in a policy's 100 % of a window goes to one release or to the rest that no release explains, so that it adds up. What
a release claims is its own; a job that several claim is cut by their weights. Of what nobody claims, the work of a project goes
to the releases whose own runs are of that project, in proportion to what those runs cost: that is a rule and no knowledge, so
it is shown apart. Parts are whole nanos, cut from running totals in the order of the releases' names.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from decimal import ROUND_HALF_EVEN, Decimal
from typing import Any, Final

from rdspend.border import literal
from rdspend.closing import money
from rdspend.engine import Engine
from rdspend.errors import ConfigError, ConservationError
from rdspend.schema import GPU_PARTS, SECONDS_PER_HOUR, Policy, ReleaseLine

PARTS: Final = {
    "own runs": ("run", "rollout"),
    "lost work": ("lost",),
    "dead ends": ("failed", "sweep", "sibling", "superseded"),
    "data": ("data", "distillation"),
    "evaluation": ("evaluation", "training_evaluation"),
    "experiments": ("exploration",),
}
"""What a release's money is told apart by, and the roles in it."""

NOBODYS: Final = ("idle", "bill_idle", "shared")
"""Buckets of money that no job has."""

ASSIGNED: Final = "assigned by project"
"""Work of a release's projects that nothing claims."""

MICRO: Final = Decimal("0.000001")
HOUR: Final = GPU_PARTS * SECONDS_PER_HOUR


@dataclass(frozen=True)
class CostLine:
    """A part of a release's cost. `stage` is told for its own runs."""

    part: str
    stage: str
    cost: Decimal
    gpu_hours: Decimal
    jobs: int


@dataclass(frozen=True)
class ReleaseCost:
    """What one release cost in a window. `claimed` is what it names, `total` with what the rule assigns.

    multiple  total / own runs (None: its own runs cost nothing in the window)
    """

    release: str
    lines: tuple[CostLine, ...]
    own_runs: Decimal
    claimed: Decimal
    total: Decimal
    multiple: Decimal | None


@dataclass(frozen=True)
class ReleaseCosts:
    """All releases of a window. `rest` is the R&D that no release explains, `outside` what releases claim beyond the 100 %."""

    period: str
    policy: str
    currency: str
    total: Decimal
    releases: tuple[ReleaseCost, ...]
    rest: Decimal
    outside: Decimal


def gather(engine: Engine) -> None:
    """Table `released`. Wants `make_cells` and the views `jobs` and `claims`."""
    cut = engine.value("SELECT EXISTS (SELECT 1 FROM cut_job)")
    span = (
        "(SELECT job_key, part, s, e FROM job_span)"
        if cut
        else "(SELECT job_key, 0 AS part, NULL AS s, NULL AS e FROM cut_job)"
    )
    words = {
        name: f"(CAST({column} AS HUGEINT) * upto // whole) - (CAST({column} AS HUGEINT) * (upto - weight) // whole)"
        for name, column in (("effective", "effective"), ("parts", "gpu_part_seconds"))
    }
    engine.run("released", None, span=span, **words)


def lines(engine: Engine) -> tuple[ReleaseLine, ...]:
    """What releases claim of the period, by role and stage. Wants `gather`."""
    return tuple(
        ReleaseLine(release, role, stage, category, money(int(effective)), _hours(parts), int(jobs))
        for release, role, stage, category, effective, parts, jobs in engine.read("released_line")
    )


def cost(engine: Engine, period: str, policy: Policy, currency: str) -> ReleaseCosts:
    """What every release cost in the period. Wants `gather` and `cell`. Raises ConservationError when parts are not the whole.

    Money that the policy counts and that no job has, such as idle money, is in the rest.
    """
    inside = set(policy.denominator)
    names = ", ".join(map(literal, policy.denominator))
    of_jobs, of_buckets = (
        int(engine.value(f"SELECT COALESCE(sum(effective), 0) FROM {table} WHERE category IN ({names}) {but}"))
        for table, but in (("job_money", ""), ("cell", f"AND category IN ({', '.join(map(literal, NOBODYS))})"))
    )
    total = of_jobs + of_buckets
    claimed = engine.read("released_line")
    found: dict[str, list[CostLine]] = {}
    outside = 0
    for release, role, stage, category, effective, parts, jobs in claimed:
        part = next(name for name, roles in PARTS.items() if role in roles)
        line = CostLine(part, stage if part == "own runs" else "", money(int(effective)), _hours(parts), int(jobs))
        found.setdefault(release, []).append(line)
        outside += 0 if category in inside else int(effective)
    rest = of_buckets
    for name, (nanos, parts, jobs) in _assigned(engine.read("unclaimed", denominator=names)):
        if name is None:
            rest += nanos
        else:
            found[name].append(CostLine(ASSIGNED, "", money(nanos), _hours(parts), jobs))
    made = tuple(_release(name, found[name]) for name in sorted(found))
    whole = sum((each.total for each in made), money(rest))
    if whole != money(total) + money(outside):
        raise ConservationError(
            f"{period} {currency}: releases and the rest come to {whole}, R&D to {money(total)}, beyond it "
            f"{money(outside)}; they must be equal. This is a defect of rdspend"
        )
    return ReleaseCosts(period, policy.name, currency, money(total), made, money(rest), money(outside))


Share = tuple[int, int, int]


def _assigned(rows: Sequence[Sequence[Any]]) -> Iterable[tuple[str | None, Share]]:
    """What nobody claims, to the releases with runs in the same project; None: to none."""
    for _, same in itertools.groupby(rows, key=lambda row: (row[0], row[1])):
        several = list(same)
        _, _, effective, parts, jobs, *_ = several[0]
        owners = [(release, int(own)) for *_, release, own in several if release is not None]
        if not owners:
            yield None, (int(effective), int(parts), int(jobs))
            continue
        whole = sum(own for _, own in owners)
        upto = 0
        for release, own in owners:
            before, upto = upto, upto + own
            nanos, time = (_cut(int(each), upto, whole) - _cut(int(each), before, whole) for each in (effective, parts))
            yield release, (nanos, time, int(jobs))


def _cut(amount: int, part: int, whole: int) -> int:
    """Cut toward zero, as everywhere."""
    quotient = abs(amount) * part // whole
    return quotient if amount >= 0 else -quotient


def _release(name: str, found: Iterable[CostLine]) -> ReleaseCost:
    sums: dict[tuple[str, str], list[Any]] = {}
    for line in found:
        each = sums.setdefault((line.part, line.stage), [Decimal(0), Decimal(0), 0])
        each[0] += line.cost
        each[1] += line.gpu_hours
        each[2] += line.jobs
    order = [*PARTS, ASSIGNED]
    keys = sorted(sums, key=lambda key: (order.index(key[0]), -sums[key][0], key[1]))
    listed = tuple(CostLine(part, stage, *sums[part, stage]) for part, stage in keys)
    own = sum((line.cost for line in listed if line.part == "own runs"), Decimal(0))
    total = sum((line.cost for line in listed), Decimal(0))
    claimed = sum((line.cost for line in listed if line.part != ASSIGNED), Decimal(0))
    multiple = (total / own).quantize(Decimal("0.01"), ROUND_HALF_EVEN) if own > 0 else None
    return ReleaseCost(name, listed, own, claimed, total, multiple)


def _hours(parts: int) -> Decimal:
    return (Decimal(int(parts)) / HOUR).quantize(MICRO, ROUND_HALF_EVEN)


def of(costs: ReleaseCosts, release: str) -> ReleaseCost:
    """One release of them. Raises ConfigError when the window has no money of it."""
    for each in costs.releases:
        if each.release == release:
            return each
    known = ", ".join(each.release for each in costs.releases) or "none"
    raise ConfigError(f"release {release!r}: no job of it cost anything in {costs.period}; releases with money there: {known}")
