"""The attribution rules once more, in plain Python and exact rationals: slow, small, and independent of the engine.

The engine finds idle money by subtraction, so its totals are right even where a job's share is wrong. This is what its
shares are held against. Nothing here knows DuckDB, SQL or the engine's own constants; a charge is worked off one after the
other, an hour after the other, a placement after the other.

Times are epoch seconds UTC, spans half open, money whole nanos. `attribute(world)` gives two answers of each figure: `cut`,
cut to whole nanos wherever the rules say so, and `exact`, the same in rationals, never cut. `pieces` says how many cuts
went into a figure: no right implementation is further from `exact` than that.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from fractions import Fraction
from functools import cache
from itertools import pairwise
from math import floor, inf, trunc
from typing import NamedTuple

PARTS_OF_A_GPU = 20_160
HOUR = 60 * 60
DAY = 24 * HOUR
BILLIONTH = Fraction(1, 10**9)

Cut = Callable[[Fraction], Fraction]
Money = tuple[Fraction, Fraction]  # effective, billed


@dataclass(frozen=True)
class Charge:
    source: str
    period: str
    row: int
    currency: str
    effective: int
    billed: int
    start: int
    end: int
    resource_id: str | None = None
    service: str | None = None
    commitment_status: str | None = None
    capacity_status: str | None = None
    basis: str = "billed"


@dataclass(frozen=True)
class Node:
    """A node over a span. `gpus` None: capacity not known. `start` / `end` None: for ever on that side."""

    cluster: str
    node: str
    resource_id: str | None = None
    pool: str | None = None
    start: int | None = None
    end: int | None = None
    gpus: int | None = 8
    cpus: int | None = None
    memory_mib: int | None = None
    gpu_type: str | None = None
    instance_type: str | None = None
    queue: str | None = None


@dataclass(frozen=True)
class Job:
    job_key: str
    cluster: str
    start: int | None
    end: int | None
    resource_id: str | None = None


@dataclass(frozen=True)
class Placement:
    job_key: str
    cluster: str
    node: str
    start: int
    end: int | None
    gpu_parts: int = 0
    cpus: int | None = None
    memory_mib: int | None = None


@dataclass(frozen=True)
class Rate:
    """A dated price: exactly one selector (`cluster` narrows it) and exactly one price."""

    source: str
    row: int
    currency: str
    node: str | None = None
    queue: str | None = None
    instance_type: str | None = None
    gpu_type: str | None = None
    cluster: str | None = None
    price_per_gpu_hour: int | None = None
    price_per_node_hour: int | None = None
    start: int | None = None
    end: int | None = None


@dataclass(frozen=True)
class World:
    """All that attribution sees. `months` are the months to attribute, `now` the end of what still runs."""

    now: int
    months: tuple[str, ...]
    share_rule: str = "gpu"
    charges: tuple[Charge, ...] = ()
    nodes: tuple[Node, ...] = ()
    jobs: tuple[Job, ...] = ()
    placements: tuple[Placement, ...] = ()
    rates: tuple[Rate, ...] = ()


class Key(NamedTuple):
    """What a figure is about. A job or a bucket takes it; shared and bill-idle money has no cluster."""

    source: str
    period: str
    currency: str
    basis: str
    day: str
    cluster: str | None
    job_key: str | None
    bucket: str | None


class Bill(NamedTuple):
    """What must add up: the charges of one source, billing period, currency and basis."""

    source: str
    period: str
    currency: str
    basis: str


class Take(NamedTuple):
    """Part of a node-hour's money that one piece of a placement takes; `cuts` is how finely it may have been cut up."""

    job_key: str
    part: Fraction
    cuts: int


class PriceError(Exception):
    """A node-hour that must be estimated has no price, or two that are equally specific."""


class PoolError(Exception):
    """A pool with nodes of known and of unknown capacity has no fair spread."""


@dataclass
class Answer:
    """`cut`, `exact` and `pieces` by Key, `bills` by Bill, and the nodes on which shares had to be rescaled."""

    cut: dict[Key, tuple[int, int]] = field(default_factory=dict)
    exact: dict[Key, Money] = field(default_factory=dict)
    pieces: dict[Key, int] = field(default_factory=dict)
    bills: dict[Bill, tuple[int, int]] = field(default_factory=dict)
    oversubscribed: set[tuple[str, str]] = field(default_factory=set)


def attribute(world: World) -> Answer:
    """Every figure of every month of the world that isn't zero. Raises PriceError and PoolError."""
    cutting, rational = _Run(world, lambda x: Fraction(trunc(x))), _Run(world, lambda x: x)
    for run in (cutting, rational):
        for month in world.months:
            run.attribute_month(month)
    return Answer(
        cut={key: (int(e), int(b)) for key, (e, b) in cutting.money.items() if e or b},
        exact={key: (e, b) for key, (e, b) in rational.money.items() if e or b},
        pieces=dict(cutting.pieces),
        bills={bill: (int(e), int(b)) for bill, (e, b) in cutting.bills.items() if e or b},
        oversubscribed=cutting.oversubscribed,
    )


def spread(amount: Fraction | int, weights: Iterable[int], cut: Cut) -> list[Fraction]:
    """The amount over weights in order: each gets what is due up to and with it, cut, less what went before."""
    weights = list(weights)
    total, so_far, given, parts = sum(weights), 0, Fraction(0), []
    for weight in weights:
        so_far += weight
        due = cut(Fraction(amount) * so_far / total)
        parts.append(due - given)
        given = due
    return parts


def overlap(a: int | float, b: int | float, c: int | float, d: int | float) -> int:
    """Seconds that [a, b) and [c, d) share; one of them is bounded."""
    return int(max(0, min(b, d) - max(a, c)))


def day_of(second: int) -> str:
    return datetime.fromtimestamp(second, UTC).strftime("%Y-%m-%d")


def month_span(month: str) -> tuple[int, int]:
    year, number = int(month[:4]), int(month[5:])
    first = datetime(year, number, 1, tzinfo=UTC)
    after = datetime(year + number // 12, number % 12 + 1, 1, tzinfo=UTC)
    return int(first.timestamp()), int(after.timestamp())


def slots(start: int, end: int, length: int) -> Iterator[tuple[int, int]]:
    """(slot number, seconds of [start, end) in it) for slots of that length."""
    for slot in range(start // length, -(-end // length)):
        yield slot, overlap(start, end, slot * length, (slot + 1) * length)


def life(record: Node) -> tuple[float, float]:
    return (-inf if record.start is None else record.start, inf if record.end is None else record.end)


def alive(record: Node, start: int, end: int) -> tuple[int, int]:
    """The record's life clipped to [start, end); empty when the second is not above the first."""
    born, gone = life(record)
    return int(max(born, start)), int(min(gone, end))


def nearest(records: Iterable[Node], charge: Charge) -> Node:
    """Of records that were never up in the charge's period, the one nearest in time; on a tie the first by name."""

    def distance(record: Node) -> float:
        born, gone = life(record)
        return max(charge.start - gone, born - charge.end)

    return min(records, key=lambda r: (distance(r), r.cluster, r.node, life(r)))


def part_of(held: int | None, there: int | None) -> Fraction | None:
    """A share, or None where either side isn't known or there is nothing to share."""
    return None if held is None or not there else Fraction(held, there)


def share(placement: Placement, record: Node, rule: str) -> Fraction:
    """The placement's share of a node of known capacity, by the share rule."""
    gpu = part_of(placement.gpu_parts, None if record.gpus is None else record.gpus * PARTS_OF_A_GPU)
    cpu = part_of(placement.cpus, record.cpus)
    memory = part_of(placement.memory_mib, record.memory_mib)
    if rule == "dominant":
        known = [s for s in (gpu, cpu, memory) if s is not None]
        return max((floor(s / BILLIONTH) * BILLIONTH for s in known), default=Fraction(0))
    first, second = (gpu, cpu) if rule == "gpu" else (cpu, gpu)
    if first is not None:
        return first
    return Fraction(0) if second is None else second


def choose_rate(rates: Iterable[Rate], record: Node, second: int) -> Rate:
    """The one price of a node at that second. Raises PriceError."""
    queues = [] if record.queue is None else record.queue.split(",")

    def rank(rate: Rate) -> int:
        if rate.cluster not in (None, record.cluster):
            return 0
        if not (-inf if rate.start is None else rate.start) <= second < (inf if rate.end is None else rate.end):
            return 0
        if rate.node is not None:
            return 4 * (rate.node == record.node)
        if rate.queue is not None:
            return 3 * (rate.queue in queues)
        if rate.instance_type is not None:
            return 2 * (rate.instance_type == record.instance_type)
        return 1 * (rate.gpu_type is not None and rate.gpu_type == record.gpu_type)

    ranked = [(rank(rate), rate) for rate in rates]
    best = max((r for r, _ in ranked), default=0)
    matching = [rate for r, rate in ranked if r == best]
    if best == 0 or len(matching) > 1:
        raise PriceError(f"{len(matching) if best else 0} prices for {record.cluster}/{record.node} at {second}")
    return matching[0]


def of_unknown_capacity(placed: list[tuple[Placement, int, int]]) -> Iterator[Take]:
    """All money of the hour goes to those who held GPUs in it, by GPU-part-seconds."""
    total = sum((last - first) * p.gpu_parts for p, first, last in placed)
    for p, first, last in placed:
        if p.gpu_parts:
            yield Take(p.job_key, Fraction((last - first) * p.gpu_parts, total), 1)


@dataclass
class _Run:
    """One pass over the world with one way of cutting."""

    world: World
    cut: Cut
    money: dict[Key, Money] = field(default_factory=lambda: defaultdict(lambda: (Fraction(0), Fraction(0))))
    pieces: dict[Key, int] = field(default_factory=lambda: defaultdict(int))
    bills: dict[Bill, Money] = field(default_factory=lambda: defaultdict(lambda: (Fraction(0), Fraction(0))))
    node_hours: dict[tuple[Bill, Node, int], Money] = field(default_factory=dict)
    lines: dict[tuple[Bill, Node, int], int] = field(default_factory=dict)
    oversubscribed: set[tuple[str, str]] = field(default_factory=set)
    takes: Callable[[Node, int], list[Take]] = field(init=False)
    billed_hours: set[tuple[Node, int]] = field(init=False)

    def __post_init__(self) -> None:
        self.takes = cache(self.find_takes)
        self.billed_hours = {
            (record, hour)
            for charge in self.world.charges
            if self.route(charge) in ("node", "pool")
            for hour, record, _ in self.weights(charge)
        }

    def attribute_month(self, month: str) -> None:
        self.node_hours = defaultdict(lambda: (Fraction(0), Fraction(0)))
        self.lines = defaultdict(int)
        for charge in self.world.charges:
            if charge.period == month:
                self.attribute_charge(charge)
        if self.world.rates:
            self.estimate(month)
        for (bill, record, hour), cost in self.node_hours.items():
            self.share_out(bill, record, hour, cost, self.lines[bill, record, hour])

    # --- charges ------------------------------------------------------------------------------------------------------

    def route(self, charge: Charge) -> str:
        if "Unused" in (charge.commitment_status, charge.capacity_status):
            return "bill_idle"
        if charge.resource_id is None:
            return "shared"
        if any(job.resource_id == charge.resource_id for job in self.world.jobs):
            return "job"
        if any(record.resource_id == charge.resource_id for record in self.world.nodes):
            return "node"
        if any(record.pool == charge.resource_id for record in self.world.nodes):
            return "pool"
        return "shared"

    def attribute_charge(self, charge: Charge) -> None:
        bill = Bill(charge.source, charge.period, charge.currency, charge.basis)
        amounts = (Fraction(charge.effective), Fraction(charge.billed))
        self.bills[bill] = _sum(self.bills[bill], amounts)
        route = self.route(charge)
        if route == "job":
            self.to_runs(charge, bill, amounts)
        elif route in ("node", "pool"):
            self.to_node_hours(charge, bill, amounts, route)
        else:
            self.to_days(charge, bill, amounts, None, None, route)

    def to_days(
        self, charge: Charge, bill: Bill, amounts: Money, cluster: str | None, job: str | None, bucket: str | None
    ) -> None:
        """Evenly over the charge's period, by UTC day."""
        days = list(slots(charge.start, charge.end, DAY))
        parts = zip(*(spread(amount, (seconds for _, seconds in days), self.cut) for amount in amounts), strict=True)
        for (day, _), (effective, billed) in zip(days, parts, strict=True):
            self.give(Key(*bill, day_of(day * DAY), cluster, job, bucket), (effective, billed), 1)

    def to_runs(self, charge: Charge, bill: Bill, amounts: Money) -> None:
        """To the runs of the job by the seconds each overlaps the period, day by day; none does: to the latest-started."""
        runs = sorted((j for j in self.world.jobs if j.resource_id == charge.resource_id), key=lambda j: j.job_key)
        spans = [(job, *self.run_span(job, charge)) for job in runs]
        held = sorted(
            ((day, job.job_key, job.cluster, seconds) for job, a, b in spans if a < b for day, seconds in slots(a, b, DAY)),
        )
        if not held:
            last = max(runs, key=lambda job: (-inf if job.start is None else job.start, job.job_key))
            self.to_days(charge, bill, amounts, last.cluster, last.job_key, None)
            return
        parts = zip(*(spread(amount, (seconds for *_, seconds in held), self.cut) for amount in amounts), strict=True)
        for (day, job_key, cluster, _), (effective, billed) in zip(held, parts, strict=True):
            self.give(Key(*bill, day_of(day * DAY), cluster, job_key, None), (effective, billed), 1)

    def run_span(self, job: Job, charge: Charge) -> tuple[int, int]:
        """The run clipped to the charge's period; empty for one that never started."""
        if job.start is None:
            return 0, 0
        return max(job.start, charge.start), min(self.world.now if job.end is None else job.end, charge.end)

    def records(self, charge: Charge) -> list[Node]:
        by_node = [r for r in self.world.nodes if r.resource_id == charge.resource_id]
        return by_node or [r for r in self.world.nodes if r.pool == charge.resource_id]

    def weights(self, charge: Charge) -> list[tuple[int, Node, int]]:
        """(hour, record, weight) of a node or pool charge wherever there is weight, in order of hour, cluster, node."""
        records = self.records(charge)
        capacity = {id(record): 1 for record in records}
        if self.route(charge) == "pool" and any(record.gpus is not None for record in records):
            if any(record.gpus is None for record in records):
                raise PoolError(charge.resource_id)
            capacity = {id(record): record.gpus or 0 for record in records}
            if not any(capacity.values()):
                capacity = {id(record): 1 for record in records}
        found = [
            (hour, record, capacity[id(record)] * seconds)
            for record in records
            for hour, seconds in slots(*alive(record, charge.start, charge.end), HOUR)
        ]
        return sorted((f for f in found if f[2]), key=lambda f: (f[0], f[1].cluster, f[1].node, life(f[1])))

    def to_node_hours(self, charge: Charge, bill: Bill, amounts: Money, route: str) -> None:
        weights = self.weights(charge)
        if not weights:
            self.to_days(charge, bill, amounts, nearest(self.records(charge), charge).cluster, None, "idle")
            return
        self.to_slots(bill, amounts, [(record, hour, weight) for hour, record, weight in weights])

    def to_slots(self, bill: Bill, amounts: Money, weights: list[tuple[Node, int, int]]) -> None:
        parts = zip(*(spread(amount, (weight for *_, weight in weights), self.cut) for amount in amounts), strict=True)
        for (record, hour, _), (effective, billed) in zip(weights, parts, strict=True):
            self.node_hours[bill, record, hour] = _sum(self.node_hours[bill, record, hour], (effective, billed))
            self.lines[bill, record, hour] += 1

    # --- node-hours to jobs -------------------------------------------------------------------------------------------

    def share_out(self, bill: Bill, record: Node, hour: int, cost: Money, lines: int) -> None:
        """Each piece of a placement takes its part, cut; what is left is idle."""
        day, left, cuts = day_of(hour * HOUR), cost, lines
        for take in self.takes(record, hour):
            part = (self.cut(cost[0] * take.part), self.cut(cost[1] * take.part))
            self.give(Key(*bill, day, record.cluster, take.job_key, None), part, take.cuts + lines)
            left = (left[0] - part[0], left[1] - part[1])
            cuts += take.cuts
        self.give(Key(*bill, day, record.cluster, None, "idle"), left, cuts)

    def find_takes(self, record: Node, hour: int) -> list[Take]:
        start, end = alive(record, hour * HOUR, (hour + 1) * HOUR)
        placed = self.occupied(record, start, end)
        return list(
            self.of_known_capacity(record, placed, end - start) if record.gpus is not None else of_unknown_capacity(placed)
        )

    def occupied(self, record: Node, start: int, end: int) -> list[tuple[Placement, int, int]]:
        """The node's placements clipped to [start, end)."""
        found = []
        for p in self.world.placements:
            if (p.cluster, p.node) == (record.cluster, record.node):
                first, last = max(p.start, start), min(self.world.now if p.end is None else p.end, end)
                if first < last:
                    found.append((p, first, last))
        return found

    def of_known_capacity(self, record: Node, placed: list[tuple[Placement, int, int]], up: int) -> Iterator[Take]:
        shares = [share(p, record, self.world.share_rule) for p, *_ in placed]
        borders = sorted({b for _, first, last in placed for b in (first, last)})
        crowd = {
            (a, b): sum((own for own, (_, f, e) in zip(shares, placed, strict=True) if f <= a and b <= e), Fraction(0))
            for a, b in pairwise(borders)
        }
        for own, (p, first, last) in zip(shares, placed, strict=True):
            segments = [s for s in crowd if first <= s[0] and s[1] <= last]
            if all(crowd[s] <= 1 for s in segments):
                yield Take(p.job_key, own * (last - first) / up, len(segments))
                continue
            self.oversubscribed.add((record.cluster, record.node))
            for a, b in segments:
                yield Take(p.job_key, own / max(crowd[a, b], Fraction(1)) * (b - a) / up, 1)

    # --- estimates ----------------------------------------------------------------------------------------------------

    def estimate(self, month: str) -> None:
        """Prices the hours no bill covers: each run of hours of one record, UTC day and rate by itself."""
        start, end = month_span(month)
        for record in self.world.nodes:
            runs: list[tuple[Rate, list[tuple[int, int]]]] = []
            for hour, seconds in slots(*alive(record, start, min(end, self.world.now)), HOUR):
                if (record, hour) in self.billed_hours or not seconds:
                    continue
                rate = choose_rate(self.world.rates, record, hour * HOUR)
                if runs and hour % 24 and runs[-1][0] == rate and runs[-1][1][-1][0] == hour - 1:
                    runs[-1][1].append((hour, seconds))
                else:
                    runs.append((rate, [(hour, seconds)]))
            for rate, hours in runs:
                self.price_run(month, rate, record, hours)

    def price_run(self, month: str, rate: Rate, record: Node, hours: list[tuple[int, int]]) -> None:
        if rate.price_per_node_hour is not None:
            self.price(month, rate, record, hours, Fraction(rate.price_per_node_hour, HOUR))
            return
        assert rate.price_per_gpu_hour is not None
        if record.gpus is not None:
            self.price(month, rate, record, hours, Fraction(rate.price_per_gpu_hour * record.gpus, HOUR))
            return
        for hour, _ in hours:  # capacity not known: the GPUs that jobs held, hour by hour
            held = [(hour, self.part_seconds(record, hour))]
            self.price(month, rate, record, held, Fraction(rate.price_per_gpu_hour, HOUR * PARTS_OF_A_GPU))

    def part_seconds(self, record: Node, hour: int) -> int:
        start, end = alive(record, hour * HOUR, min((hour + 1) * HOUR, self.world.now))
        return sum((last - first) * p.gpu_parts for p, first, last in self.occupied(record, start, end))

    def price(self, month: str, rate: Rate, record: Node, hours: list[tuple[int, int]], each: Fraction) -> None:
        """An estimated charge of the sum of the hours' units, spread over the hours by them."""
        weights = [(record, hour, units) for hour, units in hours if units]
        if not weights:
            return
        cost = self.cut(each * sum(units for *_, units in weights))
        bill = Bill(rate.source, month, rate.currency, "estimated")
        self.bills[bill] = _sum(self.bills[bill], (cost, cost))
        self.to_slots(bill, (cost, cost), weights)
        for _, hour, _ in weights:  # the estimate itself was cut once more
            self.lines[bill, record, hour] += 1

    def give(self, key: Key, amounts: Money, cuts: int) -> None:
        self.money[key] = _sum(self.money[key], amounts)
        self.pieces[key] += cuts


def _sum(a: Money, b: Money) -> Money:
    return a[0] + b[0], a[1] + b[1]
