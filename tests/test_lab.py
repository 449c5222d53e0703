"""The made-up lab: same seed, same bytes; its jobs fit its nodes; its bill is exact; all of it says SYNTHETIC."""

from __future__ import annotations

import csv
import filecmp
import subprocess
import sys
import tomllib
from decimal import Decimal
from pathlib import Path

import duckdb
import pytest

from collectors.slurm import FIELDS, NEWER_FIELDS
from rdspend.hostlist import expand
from rdspend.lab import CLUSTER, SACCT_FIELDS, Size, write_benchmark, write_month
from rdspend.lab.benchmark import FORMS
from rdspend.predicate import check
from rdspend.schema import ACTIVITIES, CHARGES, GPU_PARTS, JOBS, NODES, PLACEMENTS, STAGES

SIZE = Size(jobs=3000, nodes=40, seed=11)
START, END = "2026-10-01T00:00:00Z", "2026-11-01T00:00:00Z"

# What a bill has in FOCUS 1.2 whatever it bills (feature level "mandatory").
MANDATORY = {
    "BilledCost", "BillingAccountId", "BillingAccountName", "BillingCurrency", "BillingPeriodEnd", "BillingPeriodStart",
    "ChargeCategory", "ChargeClass", "ChargeDescription", "ChargePeriodEnd", "ChargePeriodStart", "ContractedCost",
    "EffectiveCost", "InvoiceIssuerName", "ListCost", "PricingQuantity", "PricingUnit", "ProviderName", "PublisherName",
    "ServiceCategory", "ServiceName",
}  # fmt: skip

# Capacity against what jobs hold, by a running sum over starts and ends: nothing of the generator's own is used.
MOST_HELD = """
    SELECT coalesce(max(held - capacity), 0) FROM (
        SELECT c.capacity, sum(units) OVER (PARTITION BY node ORDER BY t, units ROWS UNBOUNDED PRECEDING) AS held
        FROM (
            SELECT node, start_time AS t, units FROM held UNION ALL SELECT node, end_time, -units FROM held
        ) JOIN capacity AS c USING (node)
    )
"""


def read_csv(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


@pytest.fixture(scope="module")
def month(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("lab")
    write_month(folder, SIZE)
    return folder


@pytest.fixture
def connection() -> duckdb.DuckDBPyConnection:
    connection = duckdb.connect()
    connection.execute("SET TimeZone = 'UTC'")
    return connection


@pytest.fixture(scope="module")
def tables(month: Path) -> duckdb.DuckDBPyConnection:
    connection = duckdb.connect()
    connection.execute("SET TimeZone = 'UTC'")
    for name in ("jobs", "nodes", "labels", "truth", "bill"):
        connection.execute(
            f"CREATE TABLE {name} AS SELECT * FROM read_csv('{month}/{name}.csv', all_varchar = true, nullstr = '')"
        )
    hosts = [(row["job_id"], row["submit_time"], node) for row in read_csv(month / "jobs.csv") for node in expand(row["nodes"])]
    connection.execute("CREATE TABLE host (job_id VARCHAR, submit_time VARCHAR, node VARCHAR)")
    connection.executemany("INSERT INTO host VALUES (?, ?, ?)", hosts)
    return connection


def test_the_same_seed_and_size_give_the_same_bytes(month: Path, tmp_path: Path) -> None:
    write_month(tmp_path, SIZE)
    names = sorted(p.name for p in month.iterdir())
    assert names == [
        "README", "bill.csv", "jobs.csv", "labels.csv", "nodes.csv", "rules.toml", "sacct.txt", "truth.csv",
    ]  # fmt: skip
    assert filecmp.cmpfiles(month, tmp_path, names, shallow=False) == (names, [], [])


def test_another_seed_gives_another_month(month: Path, tmp_path: Path) -> None:
    write_month(tmp_path, Size(jobs=SIZE.jobs, nodes=SIZE.nodes, seed=12))
    for name in ("bill.csv", "jobs.csv", "nodes.csv", "sacct.txt", "labels.csv"):
        assert (month / name).read_bytes() != (tmp_path / name).read_bytes(), name


def test_the_command_writes_the_same_month(month: Path, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "rdspend.lab", str(tmp_path), "--jobs", "3000", "--nodes", "40", "--seed", "11"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert (done.stdout, done.stderr) == ("", "")
    assert (tmp_path / "jobs.csv").read_bytes() == (month / "jobs.csv").read_bytes()


def test_a_lab_too_small_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="at least 8 nodes, not 7"):
        write_month(tmp_path / "none", Size(jobs=10, nodes=7))
    assert not (tmp_path / "none").exists()


@pytest.mark.parametrize("size", [Size(jobs=1, nodes=8), Size(jobs=200, nodes=9, month="2027-02", seed=0)])
def test_the_smallest_labs_can_be_made(size: Size, tmp_path: Path) -> None:
    write_month(tmp_path, size)
    assert {r["activity"] for r in read_csv(tmp_path / "truth.csv")} <= set(ACTIVITIES)
    assert all(r["BillingPeriodStart"] == f"{size.month}-01T00:00:00Z" for r in read_csv(tmp_path / "bill.csv"))


def test_a_final_run_whose_last_pause_passes_the_end_has_no_segment_after_it(tmp_path: Path) -> None:
    write_month(tmp_path, Size(jobs=200, nodes=64, month="2025-06", seed=5))
    jobs = read_csv(tmp_path / "jobs.csv")
    assert not [job for job in jobs if job["end_time"] and job["start_time"] and job["end_time"] < job["start_time"]]


def test_every_file_is_marked_synthetic(month: Path) -> None:
    assert "SYNTHETIC" in (month / "README").read_text(encoding="utf-8").splitlines()[0]
    assert "SYNTHETIC" in (month / "rules.toml").read_text(encoding="utf-8").splitlines()[0]
    for row in read_csv(month / "bill.csv"):
        assert row["BillingAccountName"] == "SYNTHETIC Lab" and row["ChargeDescription"].startswith("SYNTHETIC: ")
    assert all(row["work_dir"].startswith("/synthetic/") for row in read_csv(month / "jobs.csv"))
    assert all(row["node"].startswith("syn-") for row in read_csv(month / "nodes.csv"))
    assert all(row["who"].startswith("synthetic: ") for row in read_csv(month / "labels.csv"))
    assert all("synthetic" in line for line in (month / "sacct.txt").read_text(encoding="utf-8").splitlines())


@pytest.mark.parametrize("unit", ["gpus", "cpus", "memory_gib"])
def test_no_node_ever_holds_more_than_it_has(unit: str, tables: duckdb.DuckDBPyConnection) -> None:
    tables.execute(f"""
        CREATE OR REPLACE TABLE held AS
        SELECT node, CAST(start_time AS TIMESTAMPTZ) AS start_time,
            coalesce(CAST(end_time AS TIMESTAMPTZ), TIMESTAMPTZ '2027-01-01') AS end_time,
            CAST({unit} AS INT) // count(*) OVER (PARTITION BY job_id, submit_time) AS units
        FROM jobs JOIN host USING (job_id, submit_time);
        CREATE OR REPLACE TABLE capacity AS SELECT node, max(CAST({unit} AS INT)) AS capacity FROM nodes GROUP BY node;
    """)
    assert tables.execute(MOST_HELD).fetchall() == [(0,)]  # reached, never passed


def test_no_job_runs_on_a_node_that_is_not_there(tables: duckdb.DuckDBPyConnection) -> None:
    outside = tables.execute("""
        SELECT count(*) FROM jobs AS j JOIN host USING (job_id, submit_time) WHERE NOT EXISTS (
            SELECT 1 FROM nodes AS n WHERE n.node = host.node AND n.start_time <= j.start_time
                AND coalesce(n.end_time, '9') >= coalesce(j.end_time, '8'))
    """).fetchall()
    assert outside == [(0,)]
    coming, going, twice = tables.execute(f"""
        SELECT count(*) FILTER (start_time > '{START}'), count(*) FILTER (end_time < '{END}'), count(*) - count(DISTINCT node)
        FROM nodes
    """).fetchall()[0]
    assert coming and going and twice


def test_the_log_has_every_kind_of_job(tables: duckdb.DuckDBPyConnection) -> None:
    states = {state for (state,) in tables.execute("SELECT DISTINCT state FROM jobs").fetchall()}
    assert states >= {"COMPLETED", "FAILED", "CANCELLED", "TIMEOUT", "NODE_FAIL", "RUNNING"}
    kinds = {
        "before the month": f"start_time < '{START}' AND end_time > '{START}'",
        "after the month": f"start_time < '{END}' AND end_time > '{END}'",
        "array task": "contains(job_id, '_')",
        "CPU only": "gpus = '0' AND start_time IS NOT NULL",
        "without a name": "name IS NULL",
        "never started": "start_time IS NULL AND state = 'CANCELLED' AND nodes IS NULL",
        "several nodes": "contains(nodes, '[')",
        "a pipe in its name": "contains(name, '|')",
    }
    for kind, predicate in kinds.items():
        assert tables.execute(f"SELECT count(*) FROM jobs WHERE {predicate}").fetchall()[0][0] > 0, kind
    requeued = tables.execute("""
        SELECT count(*) FROM jobs AS a JOIN jobs AS b USING (job_id)
        WHERE a.end_time = b.submit_time AND a.submit_time < b.submit_time
    """).fetchall()[0][0]
    assert requeued > 0
    assert tables.execute("SELECT count(*), count(DISTINCT (job_id, submit_time)) FROM jobs").fetchall()[0][0] > 2500


def test_no_job_ends_before_it_starts_or_starts_before_it_is_submitted(tables: duckdb.DuckDBPyConnection) -> None:
    odd = tables.execute(f"""
        SELECT count(*) FROM jobs WHERE start_time < submit_time OR end_time <= start_time OR submit_time >= '{END}'
            OR end_time <= '{START}' OR (state = 'RUNNING') <> (end_time IS NULL)
    """)
    assert odd.fetchall() == [(0,)]
    doubled = "SELECT count(*) FROM (SELECT 1 FROM jobs GROUP BY job_id, submit_time HAVING count(*) > 1)"
    assert tables.execute(doubled).fetchall() == [(0,)]


def test_the_shares_of_gpu_time_are_those_of_a_lab(tmp_path: Path, connection: duckdb.DuckDBPyConnection) -> None:
    write_month(tmp_path, Size(jobs=20_000, nodes=64, seed=7))
    shares = dict(
        connection.execute(f"""
            SELECT activity, sum(gpu_time) / sum(sum(gpu_time)) OVER () FROM (
                SELECT activity, CAST(gpus AS INT) * greatest(0,
                    epoch(CAST(least(coalesce(end_time, '{END}'), '{END}') AS TIMESTAMPTZ))
                    - epoch(CAST(greatest(start_time, '{START}') AS TIMESTAMPTZ))) AS gpu_time
                FROM read_csv('{tmp_path}/jobs.csv', all_varchar = true, nullstr = '')
                JOIN read_csv('{tmp_path}/truth.csv', all_varchar = true) USING (job_id) WHERE start_time IS NOT NULL
            ) GROUP BY activity
        """).fetchall()
    )
    bounds = {
        "final_training": (0.25, 0.35),
        "exploration": (0.40, 0.52),
        "data_generation": (0.08, 0.16),
        "evaluation": (0.05, 0.11),
        "inference": (0.03, 0.08),
    }
    assert set(shares) == set(bounds) == set(ACTIVITIES)
    for activity, (low, high) in bounds.items():
        assert low < shares[activity] < high, (activity, shares)
    assert 19_000 < len(read_csv(tmp_path / "jobs.csv")) < 21_000


def test_the_truth_covers_every_job_once(tables: duckdb.DuckDBPyConnection) -> None:
    assert tables.execute("SELECT count(*) - count(DISTINCT job_id) FROM truth").fetchall() == [(0,)]
    assert tables.execute("SELECT job_id FROM jobs EXCEPT SELECT job_id FROM truth").fetchall() == []
    assert tables.execute("SELECT job_id FROM truth EXCEPT SELECT job_id FROM jobs").fetchall() == []
    said = tables.execute("SELECT DISTINCT activity, stage FROM truth").fetchall()
    assert {a for a, _ in said} == set(ACTIVITIES) and {s for _, s in said} <= set(STAGES)


def test_labels_are_true_and_name_the_whole_final_run(tables: duckdb.DuckDBPyConnection) -> None:
    assert tables.execute("SELECT cluster, job_id, activity, stage FROM labels EXCEPT"
                          f" SELECT '{CLUSTER}', job_id, activity, stage FROM truth").fetchall() == []  # fmt: skip
    unsaid = """
        SELECT job_id FROM truth WHERE activity = 'final_training' EXCEPT SELECT job_id FROM labels
    """
    assert tables.execute(unsaid).fetchall() == []
    labelled, jobs = tables.execute("SELECT (SELECT count(*) FROM labels), (SELECT count(*) FROM truth)").fetchall()[0]
    assert 0.05 < labelled / jobs < 0.15


def test_rules_are_predicates_and_never_say_final_training(month: Path) -> None:
    rules = tomllib.loads((month / "rules.toml").read_text(encoding="utf-8"))["rule"]
    for rule in rules:
        check(rule["when"], rule["name"])
        assert rule["activity"] in ACTIVITIES and rule["stage"] in STAGES
    assert {r["activity"] for r in rules} == set(ACTIVITIES) - {"final_training"}


def test_rules_and_labels_leave_some_gpu_time_unknown_and_are_mostly_right(
    tables: duckdb.DuckDBPyConnection, month: Path
) -> None:
    rules = tomllib.loads((month / "rules.toml").read_text(encoding="utf-8"))["rule"]
    cases = " ".join(f"WHEN {rule['when']} THEN '{rule['activity']}'" for rule in rules)
    unknown, wrong = tables.execute(f"""
        SELECT sum(w) FILTER (said IS NULL) / sum(w), sum(w) FILTER (said <> activity) / sum(w) FROM (
            SELECT t.activity, coalesce(l.activity, CASE {cases.replace("account", "j.account")} END) AS said,
                CAST(gpus AS INT) * (epoch(CAST(coalesce(end_time, '{END}') AS TIMESTAMPTZ))
                    - epoch(CAST(start_time AS TIMESTAMPTZ))) AS w
            FROM jobs AS j JOIN truth AS t USING (job_id) LEFT JOIN labels AS l USING (job_id) WHERE start_time IS NOT NULL
        )
    """).fetchall()[0]
    assert 0.04 < unknown < 0.12
    assert (wrong or 0) < 0.02


def test_the_bill_has_the_mandatory_columns_and_exact_costs(month: Path) -> None:
    rows = read_csv(month / "bill.csv")
    assert set(rows[0]) >= MANDATORY
    for row in rows:
        for cost in ("BilledCost", "EffectiveCost", "ListCost", "ContractedCost"):
            assert Decimal(row[cost]).is_finite() and "E" not in row[cost]
        for column in ("ChargePeriodStart", "ChargePeriodEnd"):
            assert row[column].endswith("Z")
        assert row["BillingCurrency"] == "USD" and row["ServiceName"] and row["ChargePeriodStart"] < row["ChargePeriodEnd"]
    places = {len(row["EffectiveCost"].partition(".")[2]) for row in rows}
    assert places == {6, 8, 10, 11}


def test_the_bill_has_every_kind_of_line(tables: duckdb.DuckDBPyConnection) -> None:
    kinds = {
        "committed node": "CommitmentDiscountStatus = 'Used' AND BilledCost = '0.00000000000' AND EffectiveCost > '0.1'",
        "unused commitment": "CommitmentDiscountStatus = 'Unused' AND ConsumedQuantity IS NULL",
        "commitment purchase": "ChargeCategory = 'Purchase' AND EffectiveCost = '0.00000000000'",
        "unused reservation": "CapacityReservationStatus = 'Unused' AND CapacityReservationId IS NOT NULL",
        "credit of everybody": "ChargeCategory = 'Credit' AND starts_with(BilledCost, '-') AND ResourceId IS NULL",
        "credit of a node": "ChargeCategory = 'Credit' AND ResourceId IN (SELECT resource_id FROM nodes)",
        "tax": "ChargeCategory = 'Tax' AND PricingQuantity IS NULL",
        "correction of the month before": f"ChargeClass = 'Correction' AND ChargePeriodEnd < '{START}'",
        "storage": "ServiceCategory = 'Storage'",
        "network": "ServiceCategory = 'Networking'",
        "support": "ServiceName = 'Synthetic Support'",
    }
    for kind, predicate in kinds.items():
        assert tables.execute(f"SELECT count(*) FROM bill WHERE {predicate}").fetchall()[0][0] > 0, kind


def test_a_commitment_is_worth_what_was_paid_for_it(month: Path) -> None:
    lines = [row for row in read_csv(month / "bill.csv") if row["CommitmentDiscountId"]]
    paid = sum(Decimal(r["BilledCost"]) for r in lines if r["ChargeCategory"] == "Purchase")
    used = sum(Decimal(r["EffectiveCost"]) for r in lines if r["ChargeCategory"] == "Usage")
    assert paid == used > 0


def test_nodes_are_billed_for_the_hours_they_were_there_but_a_few(tables: duckdb.DuckDBPyConnection) -> None:
    (billed,) = tables.execute(
        "SELECT count(*) FROM bill JOIN nodes ON ResourceId = resource_id WHERE ChargeCategory = 'Usage'"
    ).fetchall()[0]
    (there,) = tables.execute(f"""
        SELECT sum(date_diff('hour', greatest(CAST(start_time AS TIMESTAMP), TIMESTAMP '2026-10-01'),
            least(coalesce(CAST(end_time AS TIMESTAMP), TIMESTAMP '2026-11-01'), TIMESTAMP '2026-11-01')
            + CASE WHEN end_time IS NULL THEN INTERVAL 0 HOUR ELSE INTERVAL 1 HOUR END))
        FROM nodes WHERE start_time < '{END}'
    """).fetchall()[0]
    missing = 1 - billed / there
    assert 0.001 < missing < 0.01
    strange = tables.execute("""
        SELECT count(*) FROM bill
        WHERE starts_with(ResourceName, 'syn-') AND ResourceId NOT IN (SELECT resource_id FROM nodes)
    """)
    assert strange.fetchall() == [(0,)]


def test_several_lines_a_node_hour_carry_the_same_money(
    month: Path, tmp_path: Path, connection: duckdb.DuckDBPyConnection
) -> None:
    write_month(tmp_path, SIZE, lines_per_node_hour=3, bill_format="parquet")
    types = dict(
        connection.execute(f"SELECT column_name, column_type FROM (DESCRIBE FROM '{tmp_path}/bill.parquet')").fetchall()
    )
    assert types["EffectiveCost"] == "DECIMAL(31,11)"
    total, lines = connection.execute(f"SELECT sum(EffectiveCost), count(*) FROM '{tmp_path}/bill.parquet'").fetchall()[0]
    rows = read_csv(month / "bill.csv")
    # Each of the three lines is floored by itself: at most two units of 1e-11 an hour of a node are lost.
    assert 0 <= sum(Decimal(r["EffectiveCost"]) for r in rows) - total < Decimal(len(rows)) * Decimal("3e-11")
    assert lines > 2.5 * len(rows)


def test_accounting_text_holds_the_same_jobs_in_the_fields_that_slurm_is_asked_for(month: Path) -> None:
    assert tuple(FIELDS | NEWER_FIELDS) == SACCT_FIELDS
    jobs = read_csv(month / "jobs.csv")
    lines = (month / "sacct.txt").read_text(encoding="utf-8").splitlines()
    assert len(lines) == len(jobs)
    for line, job in zip(lines, jobs, strict=True):
        values = line.split("\x1f")
        assert len(values) == len(SACCT_FIELDS) + 1 and values[0] == values[-1]
        run = dict(zip(SACCT_FIELDS, values, strict=False))
        assert run["JobID"] == job["job_id"] and run["State"].split()[0] == job["state"]
        assert (run["NodeList"] == "None assigned") == (job["nodes"] == "")
        assert (f"gres/gpu={job['gpus']}," in run["AllocTRES"]) == (job["gpus"] != "0")
        assert (run["End"] == "Unknown") == (job["end_time"] == "")


def write_small_benchmark(folder: Path, oversubscribed: int = 0, forms: tuple[str, ...] = FORMS) -> None:
    write_benchmark(folder, nodes=100, jobs=3000, hours=48, lines=10_000, seed=3, oversubscribed=oversubscribed, forms=forms)


@pytest.fixture(scope="module")
def benchmark(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("bench")
    write_small_benchmark(folder)
    return folder


def test_a_benchmark_has_the_columns_of_the_schema_and_the_counts_asked_for(
    benchmark: Path, connection: duckdb.DuckDBPyConnection
) -> None:
    for table, name in ((JOBS, "jobs"), (PLACEMENTS, "placements"), (NODES, "nodes"), (CHARGES, "charges/*")):
        described = connection.execute(f"DESCRIBE FROM '{benchmark}/{name}.parquet'").fetchall()
        assert tuple(row[0] for row in described) == table.names
        never_null = " OR ".join(f'"{c.name}" IS NULL' for c in table.columns if c.null is None)
        nulls = connection.execute(f"SELECT count(*) FROM '{benchmark}/{name}.parquet' WHERE {never_null}").fetchall()
        assert nulls == [(0,)], name
    for name, count in (("jobs", 3000), ("nodes", 100), ("charges/*", 10_000), ("focus_parquet/*", 10_000)):
        assert connection.execute(f"SELECT count(*) FROM '{benchmark}/{name}.parquet'").fetchall() == [(count,)]
    assert connection.execute(f"SELECT count(DISTINCT job_key) FROM '{benchmark}/jobs.parquet'").fetchall() == [(3000,)]
    focus = connection.execute(f"DESCRIBE FROM '{benchmark}/focus_csv/*.csv'").fetchall()
    assert len(focus) == 37
    assert "SYNTHETIC" in (benchmark / "README").read_text(encoding="utf-8")


def test_a_benchmark_puts_no_gpu_under_two_jobs_unless_asked(
    benchmark: Path, tmp_path: Path, connection: duckdb.DuckDBPyConnection
) -> None:
    write_small_benchmark(tmp_path, oversubscribed=4, forms=("charges",))
    found = []
    for folder in (benchmark, tmp_path):
        connection.execute(f"""
            CREATE OR REPLACE TABLE held AS SELECT node, start_time,
                coalesce(end_time, TIMESTAMPTZ '2027-01-01') AS end_time, gpu_parts AS units FROM '{folder}/placements.parquet';
            CREATE OR REPLACE TABLE capacity AS SELECT node, gpu_parts AS capacity FROM '{folder}/nodes.parquet';
        """)
        found.append(connection.execute(MOST_HELD).fetchall()[0][0])
    assert found[0] == 0 and found[1] == 8 * GPU_PARTS
    busy = connection.execute(f"""
        SELECT sum(gpu_parts * (epoch(least(coalesce(end_time, TIMESTAMPTZ '2026-10-03'), TIMESTAMPTZ '2026-10-03'))
            - epoch(greatest(start_time, TIMESTAMPTZ '2026-10-01')))) / (100 * 48.0 * 3600 * {8 * GPU_PARTS})
        FROM '{benchmark}/placements.parquet'
    """).fetchall()[0][0]  # fmt: skip
    assert 0.7 < busy < 0.95


def test_a_benchmark_is_the_same_bytes_again(benchmark: Path, tmp_path: Path) -> None:
    write_small_benchmark(tmp_path)
    files = sorted(p.relative_to(benchmark) for p in benchmark.rglob("*") if p.is_file())
    assert len(files) == 7
    for file in files:
        assert (tmp_path / file).read_bytes() == (benchmark / file).read_bytes(), file


def test_a_benchmark_misses_two_hours_in_a_hundred(benchmark: Path, connection: duckdb.DuckDBPyConnection) -> None:
    present, shared = connection.execute(f"""
        SELECT count(DISTINCT (resource_id, charge_period_start)), count(*) FILTER (resource_id IS NULL)
        FROM '{benchmark}/charges/*.parquet'
    """).fetchall()[0]
    assert shared == 20
    assert 0.015 < 1 - present / (100 * 48) < 0.025


def test_a_benchmark_that_cannot_be_made_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="at least one node"):
        write_benchmark(tmp_path, nodes=0, jobs=1, hours=1, lines=1)
    with pytest.raises(ValueError, match="unknown form cur"):
        write_benchmark(tmp_path, nodes=1, jobs=1, hours=1, lines=1, forms=("cur",))
    with pytest.raises(ValueError, match="more than 1 nodes can take"):
        write_benchmark(tmp_path, nodes=1, jobs=100_000, hours=1, lines=1)
