"""Puts runs on nodes: a small event simulation of a first-come scheduler with backfill. No GPU is ever given twice.

A run asks for `nodes` x `per_node` of the eight units of a node (GPUs, or slots of 16 CPUs). The longest waiting run,
once it has waited PATIENCE_SECONDS, gets the nodes that will be free first put aside; the others go on around it.
"""

from __future__ import annotations

import heapq
from collections import deque
from dataclasses import dataclass
from itertools import islice

import numpy as np
from numpy.typing import NDArray

from rdspend.lab.drawing import GPUS_PER_NODE, Ints, Nodes, Runs, Size

PATIENCE_SECONDS = 3 * 3600
SHORT_SECONDS = 6 * 3600  # nodes that will leave take single-node runs no longer than this
REQUEUE_SECONDS = 121
LOOK_AHEAD = 48
ENDS, JOINS, DRAINS, SUBMITS = range(4)


@dataclass(frozen=True)
class Placed:
    """Start of each run (0: never started), its submit time, and one row for each run and node."""

    start: Ints
    submit: Ints
    run: Ints
    node: Ints


class _Pool:
    """Free units of nodes, in buckets by how many are free. Dictionaries keep order: nothing else decides.

    Nodes put aside for a waiting run are in no bucket, so that nobody else takes them.
    """

    def __init__(self) -> None:
        self.buckets: list[dict[int, None]] = [{} for _ in range(GPUS_PER_NODE + 1)]
        self.free: dict[int, int] = {}
        self.busy_until: dict[int, int] = {}
        self.aside: list[int] = []

    def add(self, node: int) -> None:
        self.free[node] = GPUS_PER_NODE
        self.busy_until[node] = 0
        self.buckets[GPUS_PER_NODE][node] = None

    def remove(self, node: int) -> None:
        self.buckets[self.free.pop(node)].pop(node, None)

    def _change(self, node: int, units: int) -> None:
        free = self.free[node]
        self.free[node] = free + units
        if node in self.buckets[free]:
            del self.buckets[free][node]
            self.buckets[free + units][node] = None

    def take(self, nodes: int, units: int, until: int) -> list[int] | None:
        """Nodes for a run: the fullest node that fits, or as many empty ones as asked for."""
        if nodes == 1:
            fitting = next((b for b in self.buckets[units:] if b), None)
            found = [next(reversed(fitting))] if fitting else []
        else:
            found = list(islice(self.buckets[GPUS_PER_NODE], nodes))
        if len(found) < nodes:
            return None
        self._occupy(found, units, until)
        return found

    def _occupy(self, found: list[int], units: int, until: int) -> None:
        for node in found:
            self._change(node, -units)
            self.busy_until[node] = max(self.busy_until[node], until)

    def put_aside(self, nodes: int, now: int) -> None:
        """Take the nodes that are free first out of the buckets."""
        self.aside = heapq.nsmallest(
            nodes, self.free, key=lambda n: now if self.free[n] == GPUS_PER_NODE else self.busy_until[n]
        )
        for node in self.aside:
            del self.buckets[self.free[node]][node]

    def take_aside(self, nodes: int, units: int, until: int) -> list[int] | None:
        """The nodes put aside, when all of them have room; they are in the buckets again then."""
        if len(self.aside) < nodes or any(self.free[n] < units for n in self.aside):
            return None
        found, self.aside = self.aside, []
        for node in found:
            self.buckets[self.free[node]][node] = None
        self._occupy(found, units, until)
        return found

    def give_back(self, node: int, units: int) -> None:
        if node in self.free:
            self._change(node, units)


def place(size: Size, nodes: Nodes, runs: Runs) -> Placed:
    """Start times and nodes of all runs that start before the month ends; the others have start 0 and no node."""
    start = np.zeros(len(runs.kind), np.int64)
    submit = runs.submit.copy()
    run_of: list[int] = []
    node_of: list[int] = []
    for queue in range(3):
        chosen = np.flatnonzero((runs.queue == queue) & ~runs.final & ~runs.never)
        _simulate(size, nodes, runs, np.flatnonzero(nodes.queue == queue), chosen, start, submit, run_of, node_of)
    held = np.flatnonzero(nodes.final).tolist()
    for run in np.flatnonzero(runs.final).tolist():
        start[run] = submit[run] + runs.waits[run]
        run_of.extend([run] * len(held))
        node_of.extend(held)
    return Placed(start, submit, np.array(run_of, np.int64), np.array(node_of, np.int64))


def _simulate(
    size: Size,
    nodes: Nodes,
    runs: Runs,
    members: NDArray[np.int64],
    chosen: NDArray[np.int64],
    start: Ints,
    submit: Ints,
    run_of: list[int],
    node_of: list[int],
) -> None:
    followers = set(runs.following[chosen][runs.following[chosen] >= 0].tolist())
    events: list[tuple[int, int, int]] = [(int(submit[r]), SUBMITS, int(r)) for r in chosen if int(r) not in followers]
    for n in members.tolist():
        events.append((int(nodes.joins[n]), JOINS, n))
        if nodes.leaves[n]:
            events.append((int(nodes.leaves[n]) - SHORT_SECONDS, DRAINS, n))
    heapq.heapify(events)
    want, units = runs.nodes.tolist(), runs.per_node.tolist()
    lasts, after = runs.seconds.tolist(), runs.following.tolist()
    leaves = nodes.leaves.tolist()
    steady, leaving = _Pool(), _Pool()
    waiting: deque[int] = deque()
    asked: dict[int, int] = {}
    held: dict[int, list[int]] = {}

    def started(run: int, got: list[int], now: int) -> None:
        start[run] = now
        held[run] = got
        run_of.extend([run] * len(got))
        node_of.extend(got)
        heapq.heappush(events, (now + lasts[run], ENDS, run))

    def begin(run: int, now: int) -> bool:
        until = now + lasts[run]
        got = leaving.take(1, units[run], until) if want[run] == 1 and lasts[run] <= SHORT_SECONDS else None
        got = got or steady.take(want[run], units[run], until)
        if got is not None:
            started(run, got, now)
        return got is not None

    favoured = -1
    while events and events[0][0] < size.end:
        now = events[0][0]
        freed, arrived = False, []
        while events and events[0][0] == now:
            _, what, who = heapq.heappop(events)
            if what == SUBMITS:
                arrived.append(who)
                asked[who] = now
            elif what == ENDS:
                freed = True
                for node in held.pop(who):
                    (leaving if leaves[node] else steady).give_back(node, units[who])
                if after[who] >= 0:
                    submit[after[who]] = now
                    heapq.heappush(events, (now + REQUEUE_SECONDS, SUBMITS, after[who]))
            elif what == JOINS:
                freed = True
                (leaving if leaves[who] else steady).add(who)
            else:
                leaving.remove(who)
        if freed:
            if favoured >= 0:
                got = steady.take_aside(want[favoured], units[favoured], now + lasts[favoured])
                if got is not None:
                    started(favoured, got, now)
                    favoured = -1
            looked_at = [waiting.popleft() for _ in range(min(LOOK_AHEAD, len(waiting)))]
            waiting.extendleft(reversed([run for run in looked_at if not begin(run, now)]))
            if favoured < 0 and waiting and now - asked[waiting[0]] > PATIENCE_SECONDS:
                favoured = waiting.popleft()
                steady.put_aside(want[favoured], now)
        waiting.extend(run for run in arrived if not begin(run, now))
