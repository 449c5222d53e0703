"""The FOCUS export of small worlds: every line's rows add up to it, and every job's to what the attribution gave it.

The export checks both itself, lines in groups; here each line and each job is held against the ledger one by one. What was
broken on purpose to see this fail stands in README.md beside this file.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from decimal import Decimal
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import duckdb
from hypothesis import HealthCheck, assume, given, settings
from oracle.attribution_oracle import World
from oracle.worlds import worlds
from properties.test_attribution import filled

from rdspend import schema
from rdspend.attribution import attribute, month_span
from rdspend.engine import Engine
from rdspend.errors import ConfigError
from rdspend.focus_export import export_focus
from rdspend.ledger import Ledger, Snapshot, Writer
from rdspend.period import Period
from rdspend.policy import load_policy

few = settings(
    max_examples=int(os.environ.get("RDSPEND_WORLDS", "40")),
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
)


# Every second job is cut in three: what a release takes of it, a moment, and the rest, of which nobody says anything.
CUT_TAGS = """
    SELECT 'lineage' AS tagger, end_month, job_key, 'final_training' AS activity, NULL AS stage, 'run' AS role,
        'm-1' AS release, segment_start, segment_end,
        NULL AS chances, 1.0 AS confidence, 'release ''m-1'' names it' AS evidence, '1' AS version
    FROM (
        SELECT job_key, CASE end_day WHEN 'open' THEN 'open' ELSE left(end_day, 7) END AS end_month,
            unnest([NULL, start_time + INTERVAL 3601 SECOND]) AS segment_start,
            unnest([start_time + INTERVAL 3600 SECOND, start_time + INTERVAL 30 HOUR]) AS segment_end
        FROM jobs WHERE start_time IS NOT NULL AND CAST(split_part(job_key, '/', 2) AS INTEGER) % 2 = 1
    )"""


def attributed(world: World, folder: Path) -> Snapshot:
    """The world as a ledger, each month that has begun attributed and estimated as the pipeline does it."""
    with Ledger(folder).writer() as writer:
        for month in months_of(world):
            with filled(world) as connection:
                engine = Engine(connection=connection)
                attribute_month(engine, month, world)
                for name in ("charges", "attributions"):
                    made = f"SELECT * FROM kept_{name}"
                    land(writer, engine, name, made, lambda p, month=month: p["billing_period"] == month)
        with filled(world) as connection:
            engine = Engine(connection=connection)
            for name in ("nodes", "jobs", "placements", "rates"):
                land(writer, engine, name, f"SELECT * FROM {name}", lambda _: True)
            land(writer, engine, "tags", CUT_TAGS, lambda _: True)
            writer.finish(
                engine,
                stages=("collect", "attribute"),
                period="2026-09..2026-10",
                started_at=float(world.now),
                ended_at=float(world.now),
                outcome="ok",
                config_digest="",
                code_version="",
            )
    return Ledger(folder).snapshot()


def land(writer: Writer, engine: Engine, name: str, sql: str, drop: Callable[[Mapping[str, str]], bool]) -> None:
    if engine.value(f"SELECT count(*) FROM ({sql})"):
        writer.replace(schema.TABLES[name], engine.connection.sql(sql), {}, drop=drop)


def months_of(world: World) -> tuple[str, ...]:
    return tuple(month for month in world.months if month_span(month)[0] < world.now)


def attribute_month(engine: Engine, month: str, world: World) -> None:
    """The bill of one month, with the jobs that the pipeline shows it: those that end on the bill's first day or later."""
    for name in ("charges", "jobs", "placements"):
        engine.execute(f"ALTER TABLE {name} RENAME TO every_{name}")
    engine.execute(f"CREATE VIEW charges AS SELECT * FROM every_charges WHERE billing_period = '{month}'")
    engine.execute(f"CREATE OR REPLACE VIEW other_charges AS SELECT * FROM every_charges WHERE billing_period <> '{month}'")
    first = engine.value("SELECT strftime(timezone('UTC', min(charge_period_start)), '%Y-%m-%d') FROM charges") or f"{month}-01"
    for name in ("jobs", "placements"):
        seen = f"end_day = 'open' OR end_day >= '{min(first, f'{month}-01')}'"
        engine.execute(f"CREATE VIEW {name} AS SELECT * FROM every_{name} WHERE {seen}")
    attribute(engine, month, world.now, world.share_rule)
    bill = "SELECT * FROM charges"
    if engine.value("SELECT count(*) FROM duckdb_tables() WHERE table_name = 'estimate'"):
        engine.execute("CREATE VIEW estimated AS SELECT * FROM estimate")
        engine.run("estimated_charge")
        bill += (
            " UNION ALL BY NAME SELECT estimate.source, estimate.billing_period, c.* FROM estimated_charge AS c "
            "POSITIONAL JOIN estimate"
        )
    engine.execute(f"CREATE TEMP TABLE kept_charges AS {bill}")
    engine.execute("CREATE TEMP TABLE kept_attributions AS SELECT * FROM attributions")


def nanos(value: Decimal | None) -> int | None:
    return None if value is None else int(value.scaleb(9))


Sums = Mapping[Any, tuple[int, ...]]


def kept(rows: list[tuple[Any, ...]], key: int) -> Sums:
    return {row[:key]: row[key:] for row in rows if any(row[key:])}


@few
@given(worlds())
def test_rows_add_up_to_every_line_and_every_job(world: World) -> None:
    with TemporaryDirectory() as made:
        folder = Path(made)
        try:
            snapshot = attributed(world, folder / "ledger")
        except ConfigError:
            assume(False)
        months = months_of(world)
        assume(months)
        period = Period("the-world", months)
        with Engine(threads=1) as engine:
            out = folder / "out"
            export_focus(
                engine,
                snapshot,
                dict.fromkeys(months, snapshot),
                period,
                out,
                policy=load_policy("epoch"),
                share_rule=world.share_rule,
                as_billed=True,
            )
        with duckdb.connect(config={"threads": 1}) as connection:
            connection.execute("SET TimeZone = 'UTC'")
            connection.execute(f"CREATE VIEW written AS SELECT * FROM read_parquet('{out}/*.parquet')")
            for table in ("charges", "attributions"):
                connection.execute(f"CREATE VIEW {table} AS {snapshot.select(table)}")
            check(connection)


def check(connection: duckdb.DuckDBPyConnection) -> None:
    line = "source, billing_period, billing_currency, basis, origin_row, resource_id, epoch_us(charge_period_start)"
    written_line = (
        '"x_SourceName", strftime("BillingPeriodStart", \'%Y-%m\'), "BillingCurrency", "x_CostBasisCategory", '
        '"x_OriginRowNumber", "ResourceId", epoch_us("ChargePeriodStart")'
    )
    charges = connection.execute(
        f"SELECT {line}, sum(effective_cost_nanos), sum(billed_cost_nanos), count(*) FROM charges GROUP BY ALL"
    ).fetchall()
    rows = connection.execute(
        f'SELECT {written_line}, sum("EffectiveCost"), sum("BilledCost") FROM written GROUP BY ALL'
    ).fetchall()
    found = {row[:7]: (nanos(row[7]), nanos(row[8])) for row in rows}
    assert found == {row[:7]: row[7:9] for row in charges}
    job = connection.execute(
        "SELECT source, billing_period, billing_currency, basis, COALESCE(job_key, replace(bucket, 'bill_idle', 'idle')), "
        "sum(effective_cost_nanos), sum(billed_cost_nanos) FROM attributions GROUP BY ALL"
    ).fetchall()
    taken = connection.execute(
        'SELECT "x_SourceName", strftime("BillingPeriodStart", \'%Y-%m\'), "BillingCurrency", "x_CostBasisCategory", '
        'COALESCE("x_JobId", "x_ComputePurposeCategory"), sum("EffectiveCost"), sum("BilledCost") FROM written GROUP BY ALL'
    ).fetchall()
    exported = [(*row[:5], nanos(row[5]), nanos(row[6])) for row in taken]
    assert kept(exported, 5) == kept(job, 5)
    # No part of a line is on the other side of zero than the line, but for the nanos that cutting moves.
    against = connection.execute(
        'SELECT max(abs("EffectiveCost")) FROM written AS w JOIN (SELECT "x_SourceName", "BillingPeriodStart", '
        '"x_OriginRowNumber", "ResourceId", "ChargePeriodStart", sum("EffectiveCost") AS whole '
        "FROM written GROUP BY ALL) AS line "
        'USING ("x_SourceName", "BillingPeriodStart", "x_OriginRowNumber", "ResourceId", "ChargePeriodStart") '
        'WHERE sign("EffectiveCost") = -sign(whole)'
    ).fetchall()
    assert against[0][0] is None or against[0][0] < Decimal("0.0001")
