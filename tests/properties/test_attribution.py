"""The engine against the independent oracle, job-day by job-day, on small worlds.

The totals alone prove nothing about shares, for idle is what is left. So each figure of each key is compared: within as many
nanos as it has pieces of the exact rational one, and the sums to the last nano. What was broken on purpose to see these tests
fail stands in README.md beside this file.
"""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import duckdb
import pytest
from hypothesis import HealthCheck, given, settings
from oracle import attribution_oracle as oracle
from oracle.attribution_oracle import HOUR, Bill, Charge, Job, Key, Node, Placement, Rate, World
from oracle.worlds import START, worlds

from rdspend import schema
from rdspend.attribution import attribute
from rdspend.errors import ConfigError

DUCKDB_TYPES = {
    "string": "VARCHAR",
    "int64": "BIGINT",
    "float64": "DOUBLE",
    "bool": "BOOLEAN",
    "timestamp": "TIMESTAMPTZ",
    "map": "MAP(VARCHAR, VARCHAR)",
}
ORIGIN = {"origin_file": "world"}

Attributions = dict[Key, tuple[int, int]]


# --- the world as the engine's tables ---------------------------------------------------------------------------------


def instant(second: int | None) -> str | None:
    return None if second is None else datetime.fromtimestamp(second, UTC).isoformat()


def fill(connection: duckdb.DuckDBPyConnection, table: schema.Table, rows: Iterable[Mapping[str, Any]]) -> None:
    """Makes the table with the schema's columns; what a row does not name is null."""
    columns = ", ".join(f'"{c.name}" {DUCKDB_TYPES[c.type]}' for c in table.columns)
    connection.execute(f"CREATE TABLE {table.name} ({columns})")
    values = [[row.get(c.name) for c in table.columns] for row in rows]
    if values:
        marks = ", ".join(f"({', '.join('?' * len(table.columns))})" for _ in values)
        connection.execute(f"INSERT INTO {table.name} VALUES {marks}", [value for row in values for value in row])


@contextmanager
def filled(world: World) -> Iterator[duckdb.DuckDBPyConnection]:
    """A connection of its own with the world in it."""
    with duckdb.connect(":memory:", config={"threads": 1}) as connection:
        connection.execute("SET TimeZone = 'UTC'")
        tables(connection, world)
        yield connection


def tables(connection: duckdb.DuckDBPyConnection, world: World) -> None:
    fill(connection, schema.CHARGES, map(charge_row, world.charges))
    fill(connection, schema.NODES, map(node_row, world.nodes))
    fill(connection, schema.JOBS, map(job_row, world.jobs))
    fill(connection, schema.PLACEMENTS, map(placement_row, world.placements))
    fill(connection, schema.RATES, map(rate_row, world.rates))
    # All charges are in one call, so that there are none of other months.
    connection.execute("CREATE OR REPLACE VIEW other_charges AS SELECT * FROM charges WHERE false")


def charge_row(charge: oracle.Charge) -> dict[str, Any]:
    return ORIGIN | {
        "source": charge.source,
        "billing_period": charge.period,
        "origin_row": charge.row,
        "basis": charge.basis,
        "billed_cost_nanos": charge.billed,
        "effective_cost_nanos": charge.effective,
        "billing_currency": charge.currency,
        "charge_period_start": instant(charge.start),
        "charge_period_end": instant(charge.end),
        "charge_category": "Usage",
        "resource_id": charge.resource_id,
        "service_name": charge.service,
        "commitment_discount_status": charge.commitment_status,
        "capacity_reservation_status": charge.capacity_status,
    }


def node_row(node: oracle.Node) -> dict[str, Any]:
    return ORIGIN | {
        "cluster": node.cluster,
        "node": node.node,
        "resource_id": node.resource_id,
        "pool": node.pool,
        "start_time": instant(node.start),
        "end_time": instant(node.end),
        "gpu_parts": None if node.gpus is None else node.gpus * schema.GPU_PARTS,
        "gpu_type": node.gpu_type,
        "cpus": node.cpus,
        "memory_mib": node.memory_mib,
        "instance_type": node.instance_type,
        "queue": node.queue,
        "origin_row": 1,
    }


def end_day(end: int | None) -> str:
    return "open" if end is None else oracle.day_of(end)


def job_row(job: oracle.Job) -> dict[str, Any]:
    return ORIGIN | {
        "job_key": job.job_key,
        "cluster": job.cluster,
        "end_day": end_day(job.end),
        "source": "scheduler",
        "origin_row": 1,
        "job_id": job.job_key,
        "resource_id": job.resource_id,
        "submit_time": instant(job.start or 0),
        "start_time": instant(job.start),
        "end_time": instant(job.end),
        "outcome": "running" if job.end is None else "completed",
        "gpu_parts": 0,
    }


def placement_row(placement: oracle.Placement) -> dict[str, Any]:
    return {
        "job_key": placement.job_key,
        "cluster": placement.cluster,
        "end_day": end_day(placement.end),
        "node": placement.node,
        "start_time": instant(placement.start),
        "end_time": instant(placement.end),
        "gpu_parts": placement.gpu_parts,
        "cpus": placement.cpus,
        "memory_mib": placement.memory_mib,
    }


def rate_row(rate: oracle.Rate) -> dict[str, Any]:
    return ORIGIN | {
        "source": rate.source,
        "origin_row": rate.row,
        "cluster": rate.cluster,
        "node": rate.node,
        "queue": rate.queue,
        "instance_type": rate.instance_type,
        "gpu_type": rate.gpu_type,
        "price_per_gpu_hour_nanos": rate.price_per_gpu_hour,
        "price_per_node_hour_nanos": rate.price_per_node_hour,
        "currency": rate.currency,
        "start_time": instant(rate.start),
        "end_time": instant(rate.end),
    }


# --- the engine -------------------------------------------------------------------------------------------------------

READ = """
SELECT source, billing_period, billing_currency, basis, day, cluster, job_key, bucket,
       CAST(SUM(effective_cost_nanos) AS BIGINT), CAST(SUM(billed_cost_nanos) AS BIGINT)
FROM attributions GROUP BY ALL
"""


def engine_attributions(world: World) -> Attributions:
    """What the engine makes of the world: a call attributes all charges, and estimates one month."""
    found: Attributions = {}
    for month in world.months if world.rates else world.months[:1]:
        with filled(world) as connection:
            attribute(connection, month, world.now, world.share_rule)
            rows = {Key(*row[:8]): (row[8], row[9]) for row in connection.execute(READ).fetchall()}
        again = {key: amounts for key, amounts in rows.items() if key.basis == "billed"}
        before = {key: amounts for key, amounts in found.items() if key.basis == "billed"}
        assert not found or again == before, "which month is estimated must not move what is billed"
        found |= rows
    return {key: amounts for key, amounts in found.items() if amounts != (0, 0)}


# --- claims -----------------------------------------------------------------------------------------------------------


def sums(attributions: Attributions) -> dict[Bill, tuple[int, int]]:
    found: dict[Bill, tuple[int, int]] = defaultdict(lambda: (0, 0))
    for key, (effective, billed) in attributions.items():
        bill = Bill(*key[:4])
        found[bill] = (found[bill][0] + effective, found[bill][1] + billed)
    return {bill: amounts for bill, amounts in found.items() if amounts != (0, 0)}


def differences(engine: Attributions, expected: oracle.Answer) -> list[str]:
    """Where the engine is further from the exact figure than cutting its pieces can explain."""
    found = []
    for key in sorted(engine.keys() | expected.exact.keys(), key=str):
        ours, exact = engine.get(key, (0, 0)), expected.exact.get(key, (0, 0))
        if any(abs(a - b) > expected.pieces.get(key, 0) for a, b in zip(ours, exact, strict=True)):
            found.append(f"{tuple(key)}: engine {ours}, exact {tuple(map(float, exact))}, {expected.pieces.get(key, 0)} pieces")
    return found


thorough = settings(
    max_examples=int(os.environ.get("RDSPEND_WORLDS", "300")),
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
)


def compare(world: World) -> None:
    expected, engine = oracle.attribute(world), engine_attributions(world)
    assert differences(engine, expected) == []
    assert sums(engine) == expected.bills
    if not expected.oversubscribed:  # there, how finely a share is cut up is the engine's affair
        assert engine == expected.cut


@thorough
@given(worlds())
def test_every_job_day_is_what_the_oracle_says_and_every_bill_adds_up(world: World) -> None:
    compare(world)


# --- worlds that hypothesis seldom makes ------------------------------------------------------------------------------

NODE = Node("a", "n0", resource_id="i-0", instance_type="large")
ALL_DAY = Placement("a/0/0", "a", "n0", START, START + 24 * HOUR, gpu_parts=oracle.PARTS_OF_A_GPU)
JOB = Job("a/0/0", "a", START, START + 24 * HOUR)
BY_NODE = Rate("card", 1, "USD", instance_type="large", price_per_node_hour=7_000_000_001)
BY_GPU = Rate("card", 1, "USD", instance_type="large", price_per_gpu_hour=7_000_000_001)


def bill(start: int, seconds: int, resource: str | None = "i-0") -> Charge:
    return Charge("aws", "2026-09", 1, "USD", 1_000_000_007, 900_000_001, START + start, START + start + seconds, resource)


def small(**more: Any) -> World:
    return World(**{"now": START + 24 * HOUR, "months": ("2026-09",), "jobs": (JOB,), "placements": (ALL_DAY,), **more})


def life(record: Node, start: int | None, end: int | None, **more: Any) -> Node:
    since, until = None if start is None else START + start, None if end is None else START + end
    return replace(record, start=since, end=until, **more)


NAMED_WORLDS = {
    "a node price holds for a node of unknown capacity, also where no job ran": small(
        nodes=(life(NODE, 0, 10 * HOUR, gpus=None),), rates=(BY_NODE,), placements=(replace(ALL_DAY, end=START + 7200),)
    ),
    "a GPU price holds for what jobs held on a node of unknown capacity": small(
        nodes=(life(NODE, 0, 10 * HOUR, gpus=None),), rates=(BY_GPU,), placements=(replace(ALL_DAY, end=START + 5000),)
    ),
    "a run that never started takes nothing from one that did": small(
        charges=(bill(HOUR, 3 * HOUR, "arn"),),
        jobs=(replace(JOB, resource_id="arn"), Job("a/1/0", "a", None, None, "arn"), Job("a/2/0", "a", None, START, "arn")),
    ),
    "of runs that all ended before, the one that started last takes all, by name where two did": small(
        charges=(bill(30 * HOUR, 30 * HOUR, "arn"),),
        jobs=tuple(Job(f"{c}/{i}/0", c, START + i // 2, START + 9, "arn") for c in "ba" for i in (3, 2, 1)),
    ),
    "a short charge beside the node's life in the same hour is idle": small(
        charges=(bill(0, 1200),), nodes=(life(NODE, 1800, None),)
    ),
    "a charge from before and after a resource was up is idle where it was up next": small(
        charges=(bill(10 * HOUR, 2 * HOUR), replace(bill(16 * HOUR, HOUR), row=2)),
        nodes=(
            life(NODE, 0, 3 * HOUR),
            life(NODE, 13 * HOUR, 15 * HOUR, cluster="b"),
            life(NODE, 20 * HOUR, None, cluster="c"),
        ),
    ),
    "a short charge within the node's life is shared over that hour": small(charges=(bill(600, 1200),), nodes=(NODE,)),
    "one hour, two resources one after the other on one node": small(
        charges=(bill(0, HOUR),),
        nodes=(life(NODE, 0, 1000), life(NODE, 1000, 2 * HOUR, resource_id="i-1")),
        rates=(BY_GPU,),
    ),
    "a pool is spread by GPUs and time, a credit too": small(
        charges=(bill(0, 10 * HOUR, "p"), replace(bill(0, 24 * HOUR, "p"), effective=-999_999_937, billed=-7, row=2)),
        nodes=(
            life(NODE, 1000, None, gpus=4, resource_id=None, pool="p"),
            life(NODE, None, 3 * HOUR + 1, node="n1", gpus=1, resource_id=None, pool="p"),
        ),
    ),
    "the cpu rule takes the GPU share of a job that does not say its CPUs": small(
        charges=(bill(0, 24 * HOUR),),
        nodes=(replace(NODE, cpus=96),),
        jobs=(JOB, replace(JOB, job_key="a/1/0")),
        placements=(ALL_DAY, replace(ALL_DAY, job_key="a/1/0", cpus=6)),
        share_rule="cpu",
    ),
    "one name for a job, a node and a pool, and one for a node and a pool": small(
        charges=(bill(0, HOUR), replace(bill(0, 2 * HOUR, "p"), row=2)),
        nodes=(
            replace(NODE, pool="i-0"),
            replace(NODE, node="n1", resource_id="p", pool="i-0"),
            replace(NODE, node="n2", pool="p"),
        ),
        jobs=(replace(JOB, resource_id="i-0"),),
        placements=(ALL_DAY, replace(ALL_DAY, node="n1", gpu_parts=7), replace(ALL_DAY, node="n2")),
    ),
    "unused capacity of a node with jobs is bill-idle": small(
        charges=(replace(bill(0, HOUR), capacity_status="Unused"), replace(bill(0, 48 * HOUR), commitment_status="Unused")),
        nodes=(NODE,),
    ),
    "a pool without GPUs is spread by time alone": small(
        charges=(bill(0, 10 * HOUR, "p"),),
        nodes=(
            life(NODE, 0, 1000, gpus=0, cpus=8, resource_id=None, pool="p"),
            life(NODE, None, None, node="n1", gpus=0, cpus=8, resource_id=None, pool="p"),
        ),
        placements=(replace(ALL_DAY, gpu_parts=0, cpus=3),),
    ),
    "a node without GPUs in a pool with GPUs takes nothing of it, and is estimated": small(
        charges=(bill(0, 3 * HOUR, "p"),),
        nodes=(
            life(NODE, 0, 5 * HOUR, gpus=0, cpus=8, resource_id=None, pool="p"),
            life(NODE, 0, 5 * HOUR, node="n1", resource_id=None, pool="p"),
        ),
        placements=(replace(ALL_DAY, gpu_parts=0, cpus=3),),
        rates=(BY_NODE,),
    ),
    "a monthly line and a credit for the same node": small(
        charges=(bill(-28 * 24 * HOUR, 30 * 24 * HOUR), replace(bill(5 * HOUR, 60), effective=-31, billed=-1)), nodes=(NODE,)
    ),
    "a job larger than its node beside another": small(
        charges=(bill(0, 24 * HOUR),),
        nodes=(replace(NODE, gpus=1),),
        jobs=(JOB, replace(JOB, job_key="a/1/0")),
        placements=(ALL_DAY, replace(ALL_DAY, job_key="a/1/0", start=START + 700, gpu_parts=2 * oracle.PARTS_OF_A_GPU)),
    ),
    "money near the edge of 64 bits": small(
        charges=tuple(
            replace(bill(hour * HOUR, HOUR), row=hour, effective=sign * (2**62 - 9), billed=sign * 2**61)
            for hour, sign in ((0, 1), (1, -1))
        ),
        nodes=(replace(NODE, gpus=7, cpus=97),),
        placements=(replace(ALL_DAY, cpus=13),),
        share_rule="cpu",
    ),
}


@pytest.mark.parametrize("name", NAMED_WORLDS)
def test_in(name: str) -> None:
    compare(NAMED_WORLDS[name])


@pytest.mark.parametrize(
    "rates",
    [
        (replace(BY_NODE, instance_type="small"),),
        (replace(BY_NODE, end=START + HOUR),),
        (BY_NODE, replace(BY_GPU, row=2)),
        (BY_NODE, replace(BY_NODE, source="other")),
    ],
)
def test_an_hour_without_exactly_one_price_is_refused_by_both(rates: tuple[Rate, ...]) -> None:
    world = small(nodes=(life(NODE, 0, 3 * HOUR),), rates=rates)
    with pytest.raises(oracle.PriceError):
        oracle.attribute(world)
    with pytest.raises(ConfigError, match="'n0'"):
        engine_attributions(world)


def test_rescaled_nodes_are_findings_and_nodes_that_are_full_are_not() -> None:
    full = (replace(ALL_DAY, end=START + HOUR), replace(ALL_DAY, start=START + HOUR))
    twice = (replace(ALL_DAY, end=START + HOUR + 1), replace(ALL_DAY, start=START + HOUR))
    for placements, found in ((full, []), (twice, ["a/n0"])):
        world = small(charges=(bill(0, 5 * HOUR),), nodes=(replace(NODE, gpus=1),), placements=placements)
        with filled(world) as connection:
            findings = attribute(connection, "2026-09", world.now).findings
        assert [f.subject for f in findings if f.kind == "oversubscribed_node"] == found


@pytest.mark.parametrize("cluster", ["a", "b"])
def test_a_pool_of_known_and_unknown_capacity_is_refused_by_both(cluster: str) -> None:
    nodes = (replace(NODE, resource_id=None, pool="p"), Node(cluster, "n1", pool="p", gpus=None))
    world = small(charges=(bill(0, HOUR, "p"),), nodes=nodes)
    with pytest.raises(oracle.PoolError):
        oracle.attribute(world)
    with pytest.raises(ConfigError, match="'p'"):
        engine_attributions(world)
