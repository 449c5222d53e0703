"""Draws the jobs of the made-up month: what each is for, its size, its duration, when it is submitted.

Columns, not rows. Only `Generator.random` is used, so that the same seed gives the same month with every numpy.
"""

from __future__ import annotations

import csv
import math
import tomllib
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]

HERE = Path(__file__).parent
GPUS_PER_NODE = 8
QUEUES = ("h100", "a100", "cpu")
BUSY = 0.78  # share of the GPU hours that jobs take
CPU_BUSY = 0.40
WARM_UP_SECONDS = 3 * 86400  # jobs that run into the month from before
LOG_LAG_SECONDS = 36 * 3600  # the job log is taken so long after the month's end; what runs then has no end
FINAL_START_SECONDS = -36 * 3600
FINAL_MONTH_SHARE = 0.62
LONGEST_SECONDS = 12 * 86400
OUTCOMES = ("COMPLETED", "FAILED", "CANCELLED", "TIMEOUT", "NODE_FAIL", "PREEMPTED", "REQUEUED")
COMPLETED, FAILED, CANCELLED, TIMEOUT, NODE_FAIL, PREEMPTED, REQUEUED = range(len(OUTCOMES))


@dataclass(frozen=True)
class Size:
    """How big the month is, the seed it comes from, and how its teams name things: a file beside this one."""

    month: str = "2026-10"
    jobs: int = 20_000
    nodes: int = 64
    seed: int = 7
    habits: str = "habits"

    @property
    def start(self) -> int:
        """Epoch seconds of the month's first instant."""
        year, month = map(int, self.month.split("-"))
        return int(datetime(year, month, 1, tzinfo=UTC).timestamp())

    @property
    def end(self) -> int:
        year, month = map(int, self.month.split("-"))
        return int(datetime(year + month // 12, month % 12 + 1, 1, tzinfo=UTC).timestamp())

    @property
    def seconds(self) -> int:
        return self.end - self.start


@dataclass(frozen=True)
class Nodes:
    """Spans of nodes, in one array each; times are epoch seconds. `joins` is when a node takes ordinary jobs."""

    queue: Ints
    number: Ints  # within the queue, from 1
    incarnation: Ints  # 0, or 1 when the same name came back as another resource
    start: Ints
    end: Ints  # 0: still there
    joins: Ints
    leaves: Ints  # 0: never
    committed: NDArray[np.bool_]
    final: NDArray[np.bool_]  # reserved for the final run at first


@dataclass
class Runs:
    """Runs of jobs, in one array each. A requeued job is several runs with the same `job`."""

    job: Ints
    kind: Ints
    habit: Ints
    user: Ints
    pick: Ints
    member: Ints
    queue: Ints
    nodes: Ints
    per_node: Ints  # GPUs a node, or CPU slots on CPU nodes
    submit: Ints
    seconds: Ints
    outcome: Ints
    array: Ints  # job that the array is named after, -1: none
    following: Ints  # run that follows when this one is requeued, -1: none
    final: NDArray[np.bool_]
    waits: Ints  # seconds from submit to start of a segment of the final run, which has its nodes to itself
    never: NDArray[np.bool_]  # cancelled while pending


def habits(name: str = "habits") -> dict[str, Any]:
    """Kinds of work and how they are named. Another file than habits.toml has its own words and habits for the same kinds."""
    book = tomllib.loads((HERE / "habits.toml").read_text(encoding="utf-8"))
    if name == "habits":
        return book
    own = tomllib.loads((HERE / f"{name}.toml").read_text(encoding="utf-8"))
    book["tokens"] = own["tokens"]
    for kind in book["kind"]:
        kind["habits"] = own["habits"][kind["name"]]
    book["opaque"]["habits"] = own["habits"]["opaque"]
    return book


def _table(name: str) -> list[dict[str, str]]:
    with (HERE / "acme" / name).open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def cluster(size: Size, rng: np.random.Generator) -> Nodes:
    """The nodes: H100 and A100 nodes of eight GPUs, CPU nodes, some that come, go, or are replaced in mid-month."""
    if size.nodes < 8:
        raise ValueError(f"a lab has at least 8 nodes, not {size.nodes}")
    cpu = max(1, size.nodes // 16)
    h100 = max(4, round((size.nodes - cpu) * 0.75))
    a100 = size.nodes - cpu - h100
    queue = np.repeat(np.arange(3), (h100, a100, cpu)).astype(np.int64)
    number = np.concatenate([np.arange(1, n + 1) for n in (h100, a100, cpu)]).astype(np.int64)
    count = len(queue)
    start = np.full(count, size.start - 61 * 86400, np.int64)
    end = np.zeros(count, np.int64)
    joins = np.full(count, size.start - WARM_UP_SECONDS, np.int64)
    final = np.zeros(count, bool)
    final[: final_nodes(size, h100 + a100, h100)] = True
    joins[final] = size.start + int(size.seconds * FINAL_MONTH_SHARE) + 3600
    # Times of coming and going are multiples of 36 s: a hundredth of an hour, so that quantities stay exact decimals.
    moment = (rng.random(count) * 12 + 9) * 86400 // 36 * 36
    moment = (size.start + moment).astype(np.int64)
    rank = np.where(final | (queue == 2), -1, np.cumsum(~final & (queue != 2)))
    comes, goes = (rank % 9 == 4), (rank % 9 == 7)
    replaced = (rank % 25 == 11) & ~comes & ~goes
    start[comes] = joins[comes] = moment[comes]
    end[goes | replaced] = moment[goes | replaced]
    again = np.flatnonzero(replaced)
    back = end[again] + 36 * (100 + (rng.random(len(again)) * 500).astype(np.int64))
    committed = rng.random(count) < 0.6

    def both(values: NDArray[Any], second: NDArray[Any]) -> NDArray[Any]:
        return np.concatenate([values, second])

    return Nodes(
        queue=both(queue, queue[again]),
        number=both(number, number[again]),
        incarnation=both(np.zeros(count, np.int64), np.ones(len(again), np.int64)),
        start=both(start, back),
        end=both(end, np.zeros(len(again), np.int64)),
        joins=both(joins, back),
        leaves=both(end, np.zeros(len(again), np.int64)),
        committed=both(committed, committed[again]),
        final=both(final, np.zeros(len(again), bool)),
    )


def final_nodes(size: Size, gpu_nodes: int, h100: int) -> int:
    """Nodes that the final run holds, so that it takes its share of the GPU time while it lasts."""
    share: float = next(k["time"] for k in habits(size.habits)["kind"] if k["name"] == "final_pretrain")
    lasts = FINAL_MONTH_SHARE * size.seconds
    return max(1, min(h100 - 2, round(share * BUSY * gpu_nodes * size.seconds / lasts)))


def _durations(acme: str, u: Floats) -> Floats:
    rows = [
        r for r in _table("derived_cdf_by_type.csv") if (r["cluster"], r["metric"], r["type"]) == ("Seren", "duration_s", acme)
    ]
    percent = np.array([float(r["cdf_pct"]) for r in rows])
    seconds = np.array([float(r["x_seconds"]) for r in rows])
    return np.asarray(np.exp(np.interp(u * 100, percent, np.log(seconds))))


def _cpu_durations(u: Floats, v: Floats) -> Floats:
    """Log-normal with the median and mean that the CPU columns of cluster_summary.csv give."""
    row = next(r for r in _table("cluster_summary.csv") if r["id"] == "Seren")
    median, mean = float(row["med_run_time_cpu"]), float(row["avg_run_time_cpu"])
    normal = np.sqrt(-2 * np.log1p(-u)) * np.cos(2 * np.pi * v)
    return np.asarray(median * np.exp(math.sqrt(2 * math.log(mean / median)) * normal))


def _gpus(acme: str, u: Floats, v: Floats) -> Ints:
    """GPU counts: between the five numbers of the box plot, or one of the counted values outside its whiskers."""
    row = next(r for r in _table("derived_type_shares.csv") if (r["cluster"], r["type"]) == ("Seren", acme))
    five = [float(row[f"gpu_num_{k}"]) for k in ("whisker_lo", "q1", "median", "q3", "whisker_hi")]
    inside = np.exp2(np.interp(u, [0, 0.25, 0.5, 0.75, 1], np.log2(five)))
    inside = np.where(inside < 8, np.exp2(np.round(np.log2(inside))), np.round(inside / 8) * 8)
    outside = [
        (int(r["gpu_num"]), int(r["jobs_outside_whiskers"]))
        for r in _table("derived_gpunum_outside_whiskers.csv")
        if (r["cluster"], r["type"]) == ("Seren", acme)
    ]
    if not outside:
        return inside.astype(np.int64)
    values = np.array([g for g, _ in outside])
    reach = np.cumsum([n for _, n in outside]) / int(row["gpu_jobs"])
    beyond = v < reach[-1]
    drawn = values[np.minimum(np.searchsorted(reach, v, side="right"), len(values) - 1)]
    return np.where(beyond, drawn, inside).astype(np.int64)


def _stretch(seconds: Floats, weight: Ints, target: float) -> Ints:
    """Durations times one factor, so that weight x duration sums to the target; none longer than LONGEST_SECONDS."""
    low, high = 1e-4, 1e4
    for _ in range(60):
        factor = math.sqrt(low * high)
        total = float((np.minimum(seconds * factor, LONGEST_SECONDS) * weight).sum())
        low, high = (factor, high) if total < target else (low, factor)
    return np.clip(seconds * low, 1, LONGEST_SECONDS).astype(np.int64)


def _batches(count: int, mean: float, u: Floats) -> Ints:
    """Number of the batch of each of `count` jobs; sizes are geometric around the mean."""
    sizes = 1 + np.floor(-np.log1p(-u) * (mean - 1)).astype(np.int64)
    return np.repeat(np.arange(len(sizes)), sizes)[:count]


def _submit_times(size: Size, u: Floats, first: int, capacity: Floats) -> Ints:
    """Seconds: dense on working days and hours, and where `capacity` (of each hour since the warm-up) is larger."""
    hours = np.arange(len(capacity))
    begin = size.start - WARM_UP_SECONDS
    hour, day = (begin // 3600 + hours) % 24, ((begin // 3600 + hours) // 24 + 3) % 7
    weight = np.where((hour >= 8) & (hour < 19), 2.5, 1.0) * np.where(day >= 5, 0.5, 1.0) * capacity
    weight = np.where(begin + hours * 3600 < first, 0.0, weight)
    reach = np.concatenate([[0.0], np.cumsum(weight)])
    seconds: Ints = (np.interp(u * reach[-1], reach, np.arange(len(reach)) * 3600.0)).astype(np.int64) + begin
    return seconds


def _kind_runs(size: Size, rng: np.random.Generator, number: int, kind: dict[str, Any], world: _World) -> Runs:
    # Jobs are submitted from the warm-up on; those that end before the month are not in the log.
    count = max(1, round(kind["count"] * size.jobs * (1 + WARM_UP_SECONDS / size.seconds)))
    batch = _batches(count, kind["batch"], rng.random(count))
    batches = int(batch[-1]) + 1
    one_batch = rng.random((7, batches))
    cpu = kind["queues"] == ["cpu"]
    queue = np.full(batches, QUEUES.index(kind["queues"][0]), np.int64)
    if len(kind["queues"]) == 2:
        queue[one_batch[0] >= world.h100_share] = QUEUES.index("a100")
    if cpu:
        gpus = np.exp2(np.floor(one_batch[1] * 4)).astype(np.int64)
        raw = _cpu_durations(rng.random(count), rng.random(count))
    else:
        gpus = _gpus(kind["acme"], one_batch[1], one_batch[2])
        raw = _durations(kind["acme"], rng.random(count))
    nodes = np.minimum(-(-gpus // GPUS_PER_NODE), world.most_nodes[queue])
    per_node = np.where(gpus >= GPUS_PER_NODE, GPUS_PER_NODE, gpus)
    # Some users spread a job over twice the nodes, with half the GPUs of each.
    spread = (nodes == 1) & (per_node == 4) & (one_batch[3] < 0.1) & (world.most_nodes[queue] >= 2) & (not cpu)
    nodes, per_node = np.where(spread, 2, nodes), np.where(spread, 2, per_node)
    nodes, per_node, queue = nodes[batch], per_node[batch], queue[batch]
    target = world.cpu_slot_seconds * CPU_BUSY if cpu else kind["time"] * BUSY * world.gpu_seconds
    seconds = _stretch(raw, nodes * per_node, target)
    first = 0 if kind["activity"] != "final_training" else world.final_end
    starts = _submit_times(size, one_batch[4], first, world.capacity)
    member = np.arange(count) - np.searchsorted(batch, batch, side="left")
    is_array = (one_batch[5] < kind["array"])[batch] & (np.bincount(batch)[batch] > 1)
    pause = 5 + np.floor(-np.log1p(-rng.random(count)) * 60).astype(np.int64)
    submit = starts[batch] + np.where(is_array, 0, member * 7 + pause)
    pick = np.floor(one_batch[6] * 2**31).astype(np.int64)
    options = kind["habits"]
    habit = world.first_habit[number] + pick % len(options)
    if kind["activity"] != "final_training":
        habit = np.where(_opaque(nodes * per_node * seconds, batch, world, rng), world.opaque_habit + pick % 5, habit)
    team = np.array([world.first_user[o["team"]] for o in options])[pick % len(options)]
    people = np.array([world.users[o["team"]] for o in options])[pick % len(options)]
    user = team + (pick // 64) % people
    outcome = _outcomes(rng.random(count), nodes * per_node * seconds, cpu, kind["name"] == "serving")
    return Runs(
        job=np.zeros(count, np.int64),
        kind=np.full(count, number, np.int64),
        habit=habit[batch],
        user=user[batch],
        pick=pick[batch],
        member=member,
        queue=queue,
        nodes=nodes,
        per_node=per_node,
        submit=submit,
        seconds=seconds,
        outcome=outcome,
        array=np.where(is_array, np.arange(count) - member, -1),
        following=np.full(count, -1, np.int64),
        final=np.zeros(count, bool),
        waits=np.zeros(count, np.int64),
        never=np.zeros(count, bool),
    )


def _opaque(gpu_seconds: Ints, batch: Ints, world: _World, rng: np.random.Generator) -> NDArray[np.bool_]:
    """Batches that carry a habit that says nothing, until their share of the GPU time is reached."""
    weight = np.bincount(batch, weights=gpu_seconds.astype(np.float64))
    order = np.argsort(rng.random(len(weight)), kind="stable")
    small = np.where(weight[order] <= 0.04 * weight.sum(), weight[order], 0.0)
    taken = (np.cumsum(small) <= world.opaque_share * weight.sum()) & (small > 0)
    found = np.zeros(len(weight), bool)
    found[order[taken]] = True
    return found


def _outcomes(u: Floats, gpu_seconds: Ints, cpu: bool, serving: bool) -> Ints:
    """By count as cluster_summary.csv says; the largest twentieth, with most GPU time, ends cancelled more often."""
    row = next(r for r in _table("cluster_summary.csv") if r["id"] == "Seren")
    side = "cpu" if cpu else "gpu"
    completed, cancelled = float(row[f"complete_rate_{side}"]), float(row[f"cancel_rate_{side}"])
    usual = np.searchsorted([completed, completed + cancelled, 0.985], u)
    large = np.searchsorted([0.25, 0.85, 0.94], u)
    biggest = gpu_seconds >= np.quantile(gpu_seconds, 0.95)
    kinds = np.array([COMPLETED, CANCELLED, FAILED, TIMEOUT])
    if serving:
        return np.full(len(u), CANCELLED, np.int64)
    return kinds[np.where(biggest, large, usual)].astype(np.int64)


def _final_run(size: Size, rng: np.random.Generator, number: int, world: _World) -> Runs:
    """One run of several weeks in segments: nodes fail, the loss spikes, the time limit comes, and it starts again."""
    rows: list[tuple[int, int, int, int, int]] = []
    moment, job = size.start + FINAL_START_SECONDS, 0
    while True:
        u, v, w = rng.random(3)
        lasts = int(min(max(7200.0, (0.4 - math.log1p(-u)) * 30 * 3600), 96 * 3600.0))
        if rows and moment >= world.final_end:
            # The pause went past the end: the segment before was the last one, and it completed.
            rows[-1] = (*rows[-1][:3], COMPLETED, -1)
            break
        if moment + lasts >= world.final_end - 3600:
            rows.append((job, moment, world.final_end - moment, COMPLETED, -1))
            break
        if lasts == 96 * 3600:
            rows.append((job, moment, lasts, TIMEOUT, -1))
            pause, job = 60, job + 1
        elif v < 0.5:
            rows.append((job, moment, lasts, NODE_FAIL, len(rows) + 1))
            pause = 121 + int(w * 600)
        else:
            rows.append((job, moment, lasts, FAILED if v < 0.75 else CANCELLED, -1))
            pause, job = 900 + int(w * 9000), job + 1
        moment += lasts + pause
    table = np.array(rows, np.int64)
    count = len(table)
    # A first start or a new id waits some seconds in the queue; a requeued one since the end of the run before.
    submit = table[:, 1] - 20 - (np.arange(count) * 13) % 40
    requeued = np.flatnonzero(table[:, 4] >= 0) + 1
    submit[requeued] = table[requeued - 1, 1] + table[requeued - 1, 2]

    def constant(value: int) -> Ints:
        return np.full(count, value, np.int64)

    return Runs(
        job=table[:, 0].copy(),
        kind=constant(number),
        habit=constant(int(world.first_habit[number])),
        user=constant(world.first_user["pretrain"]),
        pick=constant(1),
        member=np.arange(count),
        queue=constant(0),
        nodes=constant(world.final_nodes),
        per_node=constant(GPUS_PER_NODE),
        submit=submit,
        seconds=table[:, 2].copy(),
        outcome=table[:, 3].copy(),
        array=constant(-1),
        following=table[:, 4].copy(),
        final=np.ones(count, bool),
        waits=table[:, 1] - submit,
        never=np.zeros(count, bool),
    )


@dataclass(frozen=True)
class _World:
    gpu_seconds: float
    cpu_slot_seconds: float
    h100_share: float
    most_nodes: Ints
    capacity: Floats
    final_end: int
    final_nodes: int
    first_habit: Ints
    opaque_habit: int
    opaque_share: float
    first_user: dict[str, int]
    users: dict[str, int]


def _world(size: Size, nodes: Nodes, book: dict[str, Any]) -> _World:
    kinds = book["kind"]
    begin, log_end = size.start - WARM_UP_SECONDS, size.end
    hours = np.arange((log_end - begin) // 3600)
    there = begin + hours * 3600
    ordinary = [
        sum(
            ((there >= j) & ((there < e) | (e == 0))).astype(float)
            for j, e, q in zip(nodes.joins, nodes.end, nodes.queue, strict=True)
            if q == wanted
        )
        + np.zeros(len(hours))
        for wanted in range(3)
    ]
    up = np.minimum(np.where(nodes.end == 0, size.end, nodes.end), size.end) - np.maximum(nodes.start, size.start)
    stays = float((up * (nodes.queue < 2)).sum()) * GPUS_PER_NODE
    gpu_seconds = stays * (log_end - begin) / size.seconds
    fixed = sum(k["time"] for k in kinds if k["queues"] == ["h100"] and k["name"] != "final_pretrain")
    only_a = sum(k["time"] for k in kinds if k["queues"] == ["a100"])
    either = sum(k["time"] for k in kinds if len(k["queues"]) == 2)
    room = ordinary[0].sum() / max(1.0, ordinary[0].sum() + ordinary[1].sum())
    h100_share = min(0.95, max(0.05, ((fixed + only_a + either) * room - fixed) / either))
    first_habit = np.concatenate([[0], np.cumsum([len(k["habits"]) for k in kinds])]).astype(np.int64)
    teams = list(book["teams"])
    smallest = [int(o.min()) for o in ordinary]
    return _World(
        gpu_seconds=gpu_seconds,
        cpu_slot_seconds=float((nodes.queue == 2).sum() * GPUS_PER_NODE * (log_end - begin)),
        h100_share=float(h100_share),
        most_nodes=np.array([max(1, n // 3) for n in smallest[:2]] + [1], np.int64),
        capacity=ordinary[0] + ordinary[1],
        final_end=size.start + int(size.seconds * FINAL_MONTH_SHARE),
        final_nodes=int(nodes.final.sum()),
        first_habit=first_habit,
        opaque_habit=int(first_habit[-1]),
        opaque_share=book["opaque"]["share"],
        first_user={t: sum(book["teams"][x] for x in teams[:i]) for i, t in enumerate(teams)},
        users=book["teams"],
    )


def draw(size: Size, nodes: Nodes, rng: np.random.Generator) -> Runs:
    """All runs of the month, not yet placed, in the order of their kinds."""
    book = habits(size.habits)
    world = _world(size, nodes, book)
    parts: list[Runs] = []
    jobs = 0
    for number, kind in enumerate(book["kind"]):
        if kind["name"] == "final_pretrain":
            part = _final_run(size, rng, number, world)
            part.job = part.job + jobs
        else:
            part = _kind_runs(size, rng, number, kind, world)
            part.job = np.arange(len(part.kind)) + jobs
            part.array = np.where(part.array >= 0, part.array + jobs, -1)
        before = sum(len(p.kind) for p in parts)
        part.following = np.where(part.following >= 0, part.following + before, -1)
        jobs = int(part.job.max()) + 1
        parts.append(part)
    runs = Runs(**{f: np.concatenate([getattr(p, f) for p in parts]) for f in Runs.__dataclass_fields__})
    return _requeue(runs, rng)


def _requeue(runs: Runs, rng: np.random.Generator) -> Runs:
    """Some runs are cancelled while pending; some longer ones are cut and go on as a second run of the same job."""
    u = rng.random((3, len(runs.kind)))
    runs.never = (u[0] > 0.993) & ~runs.final & (runs.array < 0)
    runs.outcome[runs.never] = CANCELLED
    again = np.flatnonzero((u[0] < 0.015) & (runs.seconds > 900) & ~runs.final & (runs.array < 0))
    second = {f: getattr(runs, f)[again].copy() for f in Runs.__dataclass_fields__}
    first = np.maximum(60, (runs.seconds[again] * (0.1 + 0.8 * u[1][again])).astype(np.int64))
    second["seconds"] = runs.seconds[again] - first
    runs.seconds[again] = first
    runs.outcome[again] = np.array([NODE_FAIL, PREEMPTED, REQUEUED])[np.floor(u[2][again] * 3).astype(np.int64)]
    runs.following[again] = len(runs.kind) + np.arange(len(again))
    return Runs(**{f: np.concatenate([getattr(runs, f), second[f]]) for f in Runs.__dataclass_fields__})
