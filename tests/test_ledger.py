"""The ledger: replace and never add, one writer, snapshots that stay, kills that leave nothing half."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import textwrap
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import duckdb
import pytest
from deltalake import DeltaTable
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from rdspend.engine import Engine
from rdspend.errors import BadRecord, ConfigError, LedgerLocked
from rdspend.ledger import Ledger, Writer
from rdspend.schema import CHARGES, RATES, TABLES, Window

OCTOBER = Window(datetime(2026, 10, 1, tzinfo=UTC), datetime(2026, 11, 1, tzinfo=UTC))


def charges(costs: list[int], connection: duckdb.DuckDBPyConnection | None = None) -> duckdb.DuckDBPyRelation:
    """Charges of one scope, one line a cost."""
    connection = connection or duckdb.connect()
    connection.execute("SET TimeZone = 'UTC'")
    return connection.sql(
        "SELECT 'bill.csv' AS origin_file, i AS origin_row, 'billed' AS basis, c AS billed_cost_nanos, "
        "c AS effective_cost_nanos, 'USD' AS billing_currency, TIMESTAMPTZ '2026-10-01 00:00:00Z' AS charge_period_start, "
        "TIMESTAMPTZ '2026-10-01 01:00:00Z' AS charge_period_end, 'Usage' AS charge_category "
        "FROM (SELECT unnest(?::BIGINT[]) AS c, generate_subscripts(?::BIGINT[], 1) AS i)",
        params=[costs, costs],
    )


def jobs(rows: list[tuple[str, str | None]], cluster: str = "c") -> tuple[duckdb.DuckDBPyRelation, duckdb.DuckDBPyRelation]:
    """Jobs as (id, end time), each on one node; they started on October 1st."""
    connection = duckdb.connect()
    connection.execute("SET TimeZone = 'UTC'")
    connection.execute("CREATE TABLE given (id VARCHAR, e TIMESTAMPTZ)")
    if rows:
        connection.executemany("INSERT INTO given VALUES (?, ?)", rows)
    day = "COALESCE(strftime(timezone('UTC', e), '%Y-%m-%d'), 'open')"
    key = f"'{cluster}/' || id || '/1790812800'"
    job = connection.sql(
        f"SELECT {key} AS job_key, {day} AS end_day, 'log' AS source, 'jobs.csv' AS origin_file, "
        "row_number() OVER () AS origin_row, id AS job_id, TIMESTAMPTZ '2026-10-01 00:00:00Z' AS submit_time, "
        "TIMESTAMPTZ '2026-10-01 00:00:00Z' AS start_time, "
        "e AS end_time, CASE WHEN e IS NULL THEN 'running' ELSE 'completed' END AS outcome, 20160 AS gpu_parts FROM given"
    )
    placed = connection.sql(
        f"SELECT {key} AS job_key, {day} AS end_day, 'n1' AS node, TIMESTAMPTZ '2026-10-01 00:00:00Z' AS start_time, "
        "e AS end_time, 20160 AS gpu_parts FROM given"
    )
    return job, placed


def land_jobs(writer: Writer, rows: list[tuple[str, str | None]], window: Window = OCTOBER, open_complete: bool = True) -> int:
    job, placed = jobs(rows)
    with Engine() as engine:
        engine.adopt("given_jobs", job)
        engine.adopt("given_placements", placed)
        return writer.replace_jobs(
            engine,
            engine.connection.table("given_jobs"),
            engine.connection.table("given_placements"),
            cluster="c",
            source="log",
            window=window,
            open_complete=open_complete,
        )


def finish(writer: Writer) -> None:
    with Engine() as engine:
        writer.finish(
            engine,
            stages=["collect"],
            period="2026-10",
            started_at=0.0,
            ended_at=1.0,
            outcome="ok",
            config_digest="",
            code_version="",
        )


def sums(ledger: Ledger, as_of: str | None = None) -> dict[tuple[str, str], tuple[int, int]]:
    """Rows and money of each scope of charges, as a reader sees them."""
    with Engine() as engine:
        ledger.snapshot(as_of).view(engine, "charges")
        rows = engine.rows("SELECT source, billing_period, count(*), sum(effective_cost_nanos) FROM charges GROUP BY ALL")
    return {(s, p): (int(n), int(c)) for s, p, n, c in rows}


def job_ids(ledger: Ledger) -> dict[str, str]:
    with Engine() as engine:
        snapshot = ledger.snapshot()
        snapshot.view(engine, "jobs")
        snapshot.view(engine, "placements")
        orphans = engine.rows("SELECT job_key FROM placements ANTI JOIN jobs USING (job_key)")
        placed = engine.rows("SELECT count(*) FROM placements")[0][0]
        rows = engine.rows("SELECT job_id, end_day FROM jobs ORDER BY job_id")
    assert orphans == []
    assert placed == len(rows)
    assert len(dict(rows)) == len(rows)
    return dict(rows)


def test_an_empty_ledger_reads_as_nothing(tmp_path: Path) -> None:
    assert sums(Ledger(tmp_path / "ledger")) == {}


def test_what_is_delivered_again_is_there_once(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path / "ledger")
    for _ in range(3):
        with ledger.writer() as writer:
            writer.replace(CHARGES, charges([5, 7]), {"source": "a", "billing_period": "2026-10"})
            finish(writer)
    assert sums(ledger) == {("a", "2026-10"): (2, 12)}


def test_a_delivery_replaces_its_own_scope_and_no_other(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path / "ledger")
    with ledger.writer() as writer:
        writer.replace(CHARGES, charges([1]), {"source": "a", "billing_period": "2026-10"})
        writer.replace(CHARGES, charges([2]), {"source": "a", "billing_period": "2026-11"})
        writer.replace(CHARGES, charges([3]), {"source": "b", "billing_period": "2026-10"})
        writer.replace(CHARGES, charges([40, 50]), {"source": "a", "billing_period": "2026-10"})
        finish(writer)
    assert sums(ledger) == {("a", "2026-10"): (2, 90), ("a", "2026-11"): (1, 2), ("b", "2026-10"): (1, 3)}


def test_an_empty_delivery_empties_its_scope(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path / "ledger")
    with ledger.writer() as writer:
        writer.replace(CHARGES, charges([1]), {"source": "a", "billing_period": "2026-10"})
        writer.replace(CHARGES, charges([]), {"source": "a", "billing_period": "2026-10"})
        finish(writer)
    assert sums(ledger) == {}


def test_what_no_run_finished_is_not_read_and_not_kept(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path / "ledger")
    with ledger.writer() as writer:
        writer.replace(CHARGES, charges([1]), {"source": "a", "billing_period": "2026-10"})
        finish(writer)
    with ledger.writer() as writer:
        writer.replace(CHARGES, charges([100]), {"source": "a", "billing_period": "2026-10"})
        writer.replace(RATES, rates(), {"source": "r"})
    assert sums(ledger) == {("a", "2026-10"): (1, 1)}
    with ledger.writer() as writer:
        writer.replace(CHARGES, charges([2]), {"source": "b", "billing_period": "2026-10"})
        finish(writer)
    assert sums(ledger) == {("a", "2026-10"): (1, 1), ("b", "2026-10"): (1, 2)}
    with Engine() as engine:
        ledger.snapshot().view(engine, "rates")
        assert engine.value("SELECT count(*) FROM rates") == 0


def rates() -> duckdb.DuckDBPyRelation:
    return duckdb.connect().sql(
        "SELECT 'r.toml' AS origin_file, 1 AS origin_row, 'USD' AS currency, 5 AS price_per_gpu_hour_nanos"
    )


def test_a_source_that_failed_half_way_is_rolled_back_and_the_others_stay(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path / "ledger")
    with ledger.writer() as writer:
        writer.replace(CHARGES, charges([1]), {"source": "a", "billing_period": "2026-10"})
        before = dict(writer.versions)
        writer.replace(CHARGES, charges([100]), {"source": "b", "billing_period": "2026-10"})
        writer.replace(RATES, rates(), {"source": "b"})
        writer.roll_back(before)
        finish(writer)
    assert sums(ledger) == {("a", "2026-10"): (1, 1)}
    with Engine() as engine:
        ledger.snapshot().view(engine, "rates")
        assert engine.value("SELECT count(*) FROM rates") == 0


def test_an_older_snapshot_stays_readable(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path / "ledger")
    for cost in (1, 2, 3):
        with ledger.writer() as writer:
            writer.replace(CHARGES, charges([cost]), {"source": "a", "billing_period": "2026-10"})
            finish(writer)
    assert [sums(ledger, as_of)[("a", "2026-10")] for as_of in ("1", "run-2", "3")] == [(1, 1), (1, 2), (1, 3)]
    with pytest.raises(ConfigError, match="no such run; expected a run's number \\(1 to 3\\)"):
        ledger.snapshot("4")


def test_a_second_writer_is_told_who_writes(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path / "ledger")
    with ledger.writer(), pytest.raises(LedgerLocked, match=f"process {os.getpid()} on ") as refused, ledger.writer():
        pass
    assert refused.value.exit_code == 3
    with ledger.writer():
        pass


def test_the_lock_of_a_killed_writer_is_free(tmp_path: Path) -> None:
    script = textwrap.dedent(f"""
        import os, signal, pathlib
        from rdspend.ledger import Ledger
        with Ledger(pathlib.Path({str(tmp_path / "ledger")!r})).writer():
            os.kill(os.getpid(), signal.SIGKILL)
    """)
    assert subprocess.run([sys.executable, "-c", script], check=False).returncode == -9
    with Ledger(tmp_path / "ledger").writer():
        pass


def test_history_is_never_expired_by_delta(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path / "ledger")
    with ledger.writer() as writer:
        writer.replace(CHARGES, charges([1]), {"source": "a", "billing_period": "2026-10"})
        finish(writer)
    configuration = DeltaTable(str(tmp_path / "ledger" / "charges")).metadata().configuration
    assert configuration["delta.logRetentionDuration"] == "interval 36500 days"
    assert configuration["delta.deletedFileRetentionDuration"] == "interval 36500 days"
    assert configuration["delta.enableExpiredLogCleanup"] == "false"


def test_a_missing_value_where_none_may_be_is_refused_by_name(tmp_path: Path) -> None:
    without = charges([1]).project("* REPLACE (CAST(NULL AS VARCHAR) AS billing_currency)")
    with (
        Ledger(tmp_path / "ledger").writer() as writer,
        pytest.raises(BadRecord, match=r"charges\.billing_currency: found no value in 1 rows"),
    ):
        writer.replace(CHARGES, without, {"source": "a", "billing_period": "2026-10"})


def test_a_column_the_schema_does_not_know_is_refused(tmp_path: Path) -> None:
    with Ledger(tmp_path / "ledger").writer() as writer:
        with pytest.raises(BadRecord, match="found the column 'colour'"):
            writer.replace(CHARGES, charges([1]).project("*, 1 AS colour"), {"source": "a", "billing_period": "2026-10"})
        with pytest.raises(BadRecord, match="'basis' is missing"):
            writer.replace(CHARGES, charges([1]).project("* EXCLUDE (basis)"), {"source": "a", "billing_period": "2026-10"})


def test_a_name_that_is_no_path_is_refused(tmp_path: Path) -> None:
    with Ledger(tmp_path / "ledger").writer() as writer, pytest.raises(ConfigError, match=r"charges\.source: found '\.\./x'"):
        writer.replace(CHARGES, charges([1]), {"source": "../x", "billing_period": "2026-10"})


def test_a_job_that_ended_leaves_the_open_ones(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path / "ledger")
    with ledger.writer() as writer:
        land_jobs(writer, [("1", None), ("2", "2026-10-02T00:00:00Z")])
        finish(writer)
    assert job_ids(ledger) == {"1": "open", "2": "2026-10-02"}
    with ledger.writer() as writer:
        day = Window(datetime(2026, 10, 5, tzinfo=UTC), datetime(2026, 10, 6, tzinfo=UTC))
        land_jobs(writer, [("1", "2026-10-05T12:00:00Z")], day)
        finish(writer)
    assert job_ids(ledger) == {"1": "2026-10-05", "2": "2026-10-02"}


def test_a_job_whose_end_was_corrected_is_filed_once(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path / "ledger")
    with ledger.writer() as writer:
        land_jobs(writer, [("1", "2026-11-03T00:00:00Z"), ("2", "2026-11-03T01:00:00Z")])
        land_jobs(writer, [("1", "2026-11-07T00:00:00Z")])
        finish(writer)
    assert job_ids(ledger) == {"1": "2026-11-07", "2": "2026-11-03"}


def test_a_job_that_left_the_log_leaves_the_window(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path / "ledger")
    with ledger.writer() as writer:
        land_jobs(writer, [("1", "2026-10-02T00:00:00Z"), ("2", "2026-10-03T00:00:00Z"), ("3", None)])
        land_jobs(writer, [("2", "2026-10-03T00:00:00Z")])
        finish(writer)
    assert job_ids(ledger) == {"2": "2026-10-03"}


def test_open_jobs_stay_when_the_source_saw_only_a_part_of_them(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path / "ledger")
    with ledger.writer() as writer:
        land_jobs(writer, [("1", None), ("2", None)])
        land_jobs(writer, [("2", "2026-10-03T00:00:00Z")], open_complete=False)
        finish(writer)
    assert job_ids(ledger) == {"1": "open", "2": "2026-10-03"}


def test_a_run_twice_in_one_delivery_is_refused(tmp_path: Path) -> None:
    with (
        Ledger(tmp_path / "ledger").writer() as writer,
        pytest.raises(BadRecord, match="'c/1/1790812800' is there twice, in rows 1 and 2"),
    ):
        land_jobs(writer, [("1", "2026-10-02T00:00:00Z"), ("1", "2026-10-03T00:00:00Z")])


scopes = st.tuples(st.sampled_from("ab"), st.sampled_from(["2026-09", "2026-10"]))
steps = st.one_of(
    st.tuples(st.just("replace"), scopes, st.lists(st.integers(-(10**12), 10**12), max_size=4)),
    st.tuples(st.just("finish"), st.none(), st.none()),
    st.tuples(st.just("crash"), st.none(), st.none()),
)


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(story=st.lists(steps, min_size=1, max_size=8))
def test_repeat_reorder_replace_and_interrupt_leave_what_finished_runs_said(
    story: list[tuple[str, tuple[str, str] | None, list[int] | None]], tmp_path_factory: pytest.TempPathFactory
) -> None:
    ledger = Ledger(tmp_path_factory.mktemp("story") / "ledger")
    finished: dict[tuple[str, str], list[int]] = {}
    history = []
    now = dict(finished)
    context = ledger.writer()
    writer = context.__enter__()
    for verb, scope, costs in [*story, ("finish", None, None)]:
        if verb == "replace":
            assert scope is not None and costs is not None
            writer.replace(CHARGES, charges(costs), {"source": scope[0], "billing_period": scope[1]})
            now = {**now, scope: costs}
            continue
        if verb == "finish":
            finish(writer)
            finished = dict(now)
            history.append(dict(finished))
        context.__exit__(None, None, None)
        assert sums(ledger) == {s: (len(c), sum(c)) for s, c in finished.items() if c}
        now = dict(finished)
        context = ledger.writer()
        writer = context.__enter__()
    context.__exit__(None, None, None)
    for number, was in enumerate(history, start=1):
        assert sums(ledger, str(number)) == {s: (len(c), sum(c)) for s, c in was.items() if c}


def test_every_table_of_the_schema_can_be_landed_and_read_back_typed(tmp_path: Path) -> None:
    types = {
        "string": "'2026-10'",
        "int64": "1",
        "float64": "0.5",
        "bool": "true",
        "timestamp": "TIMESTAMPTZ '2026-10-01 00:00:00Z'",
        "map": "MAP {'k': 'v'}",
    }
    ledger = Ledger(tmp_path / "ledger")
    with ledger.writer() as writer:
        for table in TABLES.values():
            if table.name == "runs":
                continue
            row = ", ".join(f"{types[c.type]} AS {c.name}" for c in table.columns if c.name not in table.partition)
            writer.replace(table, duckdb.connect().sql(f"SELECT {row}"), dict.fromkeys(table.partition, "2026-10"))
        finish(writer)
    for table in TABLES.values():
        with Engine() as engine:
            ledger.snapshot().view(engine, table.name)
            row = ", ".join(f'typeof("{c}")' for c in table.names)
            if table.name != "runs":
                assert engine.rows(f"SELECT count(*) FROM {table.name}") == [(1,)]
                assert len(engine.rows(f"SELECT {row} FROM {table.name}")[0]) == len(table.columns)


def test_another_engine_can_read_the_tables(tmp_path: Path) -> None:
    """The files are Delta's own: its reader, which knows nothing of us, counts the same rows and money."""
    ledger = Ledger(tmp_path / "ledger")
    with ledger.writer() as writer:
        writer.replace(CHARGES, charges([5, 6]), {"source": "a", "billing_period": "2026-10"})
        land_jobs(writer, [("1", None), ("2", "2026-10-02T00:00:00Z")])
        finish(writer)
    frame = DeltaTable(str(tmp_path / "ledger" / "charges")).to_pyarrow_table()
    assert sum(frame.column("effective_cost_nanos").to_pylist()) == 11
    assert set(frame.column("source").to_pylist()) == {"a"}
    assert sorted(DeltaTable(str(tmp_path / "ledger" / "jobs")).to_pyarrow_table().column("job_id").to_pylist()) == ["1", "2"]


def test_the_versions_a_run_names_are_its_audit(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path / "ledger")
    with ledger.writer() as writer:
        writer.replace(CHARGES, charges([5]), {"source": "a", "billing_period": "2026-10"})
        finish(writer)
    history = DeltaTable(str(tmp_path / "ledger" / "charges")).history()
    assert json.loads(json.dumps(history[0]))["rdspend.run"] == "1"
    assert ledger.runs()[0].versions["charges"] == 1


@pytest.mark.server
def test_a_full_disk_is_said_and_nothing_is_lost(tmp_path: Path) -> None:
    """On a real file system of 3 MB: the run that does not fit is refused, the one before it stays."""
    folder = tmp_path / "small"
    folder.mkdir()
    script = textwrap.dedent(f"""
        import sys
        sys.path.insert(0, {str(Path(__file__).parent)!r})
        from pathlib import Path
        import duckdb
        from test_ledger import charges, finish, sums
        from rdspend.errors import SourceUnavailable
        from rdspend.ledger import Ledger
        from rdspend.schema import CHARGES
        ledger = Ledger(Path({str(folder)!r}) / "ledger")
        with ledger.writer() as writer:
            writer.replace(CHARGES, charges([5]), {{"source": "a", "billing_period": "2026-10"}})
            finish(writer)
        million = "SELECT one.* REPLACE (md5(i::VARCHAR) AS origin_file) FROM one, range(2000000) AS t(i)"
        big = charges([1]).query("one", million)
        try:
            with ledger.writer() as writer:
                writer.replace(CHARGES, big, {{"source": "a", "billing_period": "2026-10"}})
                finish(writer)
        except SourceUnavailable as error:
            print("refused:", error)
        print(sums(ledger))
        with ledger.writer() as writer:
            writer.replace(CHARGES, charges([6]), {{"source": "a", "billing_period": "2026-10"}})
            finish(writer)
        print(sums(ledger))
    """)
    mounted = f'mount -t tmpfs -o size=3m tmpfs "{folder}" && exec "{sys.executable}" -c "$0"'
    done = subprocess.run(["unshare", "-m", "sh", "-c", mounted, script], capture_output=True, text=True, check=False)
    assert "the disk is full" in done.stdout, done.stdout + done.stderr
    assert done.stdout.splitlines()[-2:] == ["{('a', '2026-10'): (1, 5)}", "{('a', '2026-10'): (1, 6)}"]


def test_a_ledger_of_an_earlier_version_gets_the_columns_that_came_later(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path / "ledger")
    later = ("line_type", "pricing_currency", "pricing_currency_effective_cost_nanos", "allocated_method_id")
    earlier = replace(CHARGES, columns=tuple(c for c in CHARGES.columns if c.name not in later))
    with ledger.writer() as writer:
        writer.replace(earlier, charges([5, 7]), {"source": "a", "billing_period": "2026-09"})
        finish(writer)
    assert sums(ledger) == {("a", "2026-09"): (2, 12)}
    with ledger.writer() as writer:
        told = charges([9]).project("*, 'Usage' AS line_type")
        writer.replace(CHARGES, told, {"source": "a", "billing_period": "2026-10"})
        finish(writer)
    with Engine() as engine:
        ledger.snapshot().view(engine, "charges")
        rows = engine.rows("SELECT billing_period, effective_cost_nanos, line_type FROM charges ORDER BY ALL")
    assert rows == [("2026-09", 5, None), ("2026-09", 7, None), ("2026-10", 9, "Usage")]
    assert sums(ledger, "run-1") == {("a", "2026-09"): (2, 12)}
