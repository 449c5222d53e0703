"""The engine against the independent oracle, job-day by job-day, on small worlds.

The totals alone prove nothing about shares, for idle is what is left. So each figure of each key is compared: within as many
nanos as it has pieces of the exact rational one, and the sums to the last nano. What was broken on purpose to see these tests
fail stands in README.md beside this file.
"""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Any

import duckdb
from hypothesis import HealthCheck, given, settings
from oracle import attribution_oracle as oracle
from oracle.attribution_oracle import Bill, Key, World
from oracle.worlds import worlds

from rdspend import schema
from rdspend.attribution import attribute

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
    for row in rows:
        names = ", ".join(f'"{name}"' for name in row)
        connection.execute(
            f"INSERT INTO {table.name} ({names}) VALUES ({', '.join('?' * len(row))})", list(row.values())
        )


def tables(connection: duckdb.DuckDBPyConnection, world: World) -> None:
    fill(connection, schema.CHARGES, map(charge_row, world.charges))
    fill(connection, schema.NODES, map(node_row, world.nodes))
    fill(connection, schema.JOBS, map(job_row, world.jobs))
    fill(connection, schema.PLACEMENTS, map(placement_row, world.placements))
    fill(connection, schema.RATES, map(rate_row, world.rates))


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
    billed: list[Attributions] = []
    estimated: Attributions = {}
    for month in world.months:
        with duckdb.connect(":memory:", config={"threads": 1}) as connection:
            connection.execute("SET TimeZone = 'UTC'")
            tables(connection, world)
            attribute(connection, month, world.now, world.share_rule)
            rows = {Key(*row[:8]): (row[8], row[9]) for row in connection.execute(READ).fetchall()}
        found = {key: amounts for key, amounts in rows.items() if amounts != (0, 0)}
        billed.append({key: amounts for key, amounts in found.items() if key.basis == "billed"})
        estimated |= {key: amounts for key, amounts in found.items() if key.basis == "estimated"}
    assert all(other == billed[0] for other in billed), "the month that is estimated must not move what is billed"
    return billed[0] | estimated


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
            found.append(
                f"{tuple(key)}: engine {ours}, exact {tuple(map(float, exact))}, {expected.pieces.get(key, 0)} pieces"
            )
    return found


thorough = settings(
    max_examples=int(os.environ.get("RDSPEND_WORLDS", "300")),
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
)


@thorough
@given(worlds())
def test_every_job_day_is_what_the_oracle_says_and_every_bill_adds_up(world: World) -> None:
    expected = oracle.attribute(world)
    engine = engine_attributions(world)
    assert differences(engine, expected) == []
    assert sums(engine) == expected.bills
