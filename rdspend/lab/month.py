"""Writes the made-up month: bill, accounting text, job log, node records, labels, rules, truth. All of it SYNTHETIC."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Literal

import duckdb
import numpy as np
import pandas as pd

from rdspend.border import identifier, literal
from rdspend.lab.drawing import (
    HERE,
    LOG_LAG_SECONDS,
    OUTCOMES,
    QUEUES,
    Nodes,
    Runs,
    Size,
    cluster,
    draw,
    habits,
)
from rdspend.lab.placing import Placed, place

CLUSTER = "syn-lab"
FIRST_JOB_ID = 100_001
CPUS_PER_UNIT = {"h100": 24, "a100": 12, "cpu": 16}
MEMORY_GIB = {"h100": 2048, "a100": 1152, "cpu": 512}
INSTANCE_TYPE = {"h100": "syn-h100-8", "a100": "syn-a100-8", "cpu": "syn-c-128"}

# Prices of a node-hour in units of 1e-11 USD. Made up, with every decimal place in use.
LIST_PRICE = {"h100": 5_504_000_000_000, "a100": 2_744_705_000_000, "cpu": 612_000_000_000}
PRICE = {"h100": 4_673_192_644_071, "a100": 2_333_017_128_493, "cpu": 520_217_391_307}
COMMITMENT_PRICE = {"h100": 3_086_423_519_713, "a100": 1_541_209_876_543, "cpu": 343_333_333_331}

_TRES = (
    "concat('billing=', cpus, ',cpu=', cpus,"
    " CASE WHEN gpus > 0 THEN concat(',gres/gpu:', queue, '=', gpus, ',gres/gpu=', gpus) ELSE '' END,"
    " ',mem=', memory_gib * 1024, 'M,node=', want_nodes)"
)
_SACCT = {
    "JobIDRaw": "job_number",
    "JobID": "job_id",
    "JobName": "CASE WHEN name = '' THEN 'wrap' ELSE name END",
    "User": "person",
    "Account": "team",
    "WCKey": "'*'",
    "State": "CASE WHEN state = 'CANCELLED' THEN 'CANCELLED by ' || (1000 + pick % 28) ELSE state END",
    "ExitCode": ("CASE state WHEN 'FAILED' THEN '1:0' WHEN 'NODE_FAIL' THEN '0:1' WHEN 'CANCELLED' THEN '0:15' ELSE '0:0' END"),
    "Submit": "submit",
    "Start": "coalesce(CAST(start AS VARCHAR), 'None')",
    "End": "coalesce(CAST(stop AS VARCHAR), 'Unknown')",
    "Partition": "queue",
    "QOS": "'normal'",
    "NodeList": "CASE WHEN never THEN 'None assigned' ELSE hosts END",
    "AllocTRES": f"CASE WHEN never THEN '' ELSE {_TRES} END",
    "ReqTRES": f"CASE WHEN never THEN 'billing=1,cpu=1,mem=1024M,node=1' ELSE {_TRES} END",
    "Reservation": "''",
    "Constraints": "''",
    "WorkDir": "work_dir",
    "Comment": "''",
    "AdminComment": "CASE WHEN final THEN 'purpose=final_training synthetic' ELSE 'synthetic' END",
    "SystemComment": "''",
    "Container": "''",
    "SubmitLine": "command",
    "Extra": "''",
    "Restarts": "restarts",
}
UNIT_SEPARATOR = "\x1f"
SACCT_FIELDS = tuple(_SACCT)
"""sacct.txt is what this prints: sacct -a -D -X -P -n --noconvert --delimiter=UNIT_SEPARATOR -o SACCT_FIELDS,JobIDRaw,
with SLURM_TIME_FORMAT=%s."""

README = """SYNTHETIC DATA

Made up by `python -m rdspend.lab`: month {month}, {jobs} jobs, {nodes} nodes, seed {seed}.
No organisation, person, job, node or price in it exists.

bill.{format}    a FOCUS 1.2 bill
jobs.csv    a job log; sacct.txt: the same jobs as sacct prints them
nodes.csv   what each node was, and from when to when
labels.csv  what somebody said of some jobs
rules.toml  what names and folders say of more
truth.csv   what each job was for: to score taggers with, never an input

Sizes, durations and outcomes of jobs are drawn from the public tables of AcmeTrace (Hu et al., "Characterization of
Large Language Model Development in the Datacenter", NSDI'24, CC-BY-4.0), cluster Seren; the durations of each kind of
work are stretched by one factor so that its share of the GPU time is the one that the generator names. Queue times come
from a simulated scheduler. Nothing measured on this data says anything about a real organisation.
"""


def write_month(
    folder: Path,
    size: Size,
    *,
    lines_per_node_hour: int = 1,
    bill_format: Literal["csv", "parquet"] = "csv",
    say: Callable[[str], object] = lambda _: None,
) -> None:
    """Write all files of one month into `folder`. The same size and seed give the same bytes.

    `say` is told what is being done. Raises ValueError for fewer than 8 nodes or no job.
    """
    if size.jobs < 1:
        raise ValueError("a lab has at least one job")
    rng = np.random.Generator(np.random.PCG64(size.seed))
    nodes = cluster(size, rng)
    folder.mkdir(parents=True, exist_ok=True)
    say("drawing jobs")
    runs = draw(size, nodes, rng)
    say("placing jobs on nodes")
    placed = place(size, nodes, runs)
    say("writing files")
    with tempfile.TemporaryDirectory(prefix="rdspend-lab-") as spill, duckdb.connect() as connection:
        connection.execute(f"SET TimeZone = 'UTC'; SET memory_limit = '3GB'; SET temp_directory = {literal(spill)}")
        connection.execute(_macros(size, lines_per_node_hour))
        _load(connection, size, nodes, runs, placed)
        connection.execute((HERE / "run.sql").read_text(encoding="utf-8"))
        connection.execute((HERE / "bill.sql").read_text(encoding="utf-8"))
        _write_jobs(connection, folder)
        _write_sacct(connection, folder)
        _write_bill(connection, folder, size, bill_format)
    (folder / "rules.toml").write_bytes((HERE / "rules.toml").read_bytes())
    text = README.format(month=size.month, jobs=size.jobs, nodes=size.nodes, seed=size.seed, format=bill_format)
    (folder / "README").write_text(text, encoding="utf-8")


def _macros(size: Size, lines_per_node_hour: int) -> str:
    """Small functions for the SQL: the size, the prices, how names are made, and a mixing function of our own.

    DuckDB's hash() may change with its version; the same seed is to give the same month.
    """
    macros = {
        "first_second()": size.start,
        "last_second()": size.end,
        "log_second()": size.end + LOG_LAG_SECONDS,
        "seed()": size.seed,
        "first_job_id()": FIRST_JOB_ID,
        "lines_per_node_hour()": lines_per_node_hour,
        "folded(x)": "xor(x, x >> 16)",
        "low(x)": "CAST(x AS UBIGINT) & 4294967295",
        "mix(x)": "CAST(folded(low(folded(low(x)) * 2246822507)) AS BIGINT)",
        "queue_name(q)": _choose(dict(enumerate(QUEUES)), "q"),
        "outcome_name(o)": _choose(dict(enumerate(OUTCOMES)), "o"),
        "list_price_units(q)": _choose(LIST_PRICE, "q"),
        "price_units(q)": _choose(PRICE, "q"),
        "commitment_price_units(q)": _choose(COMMITMENT_PRICE, "q"),
        "instance_type(q)": _choose(INSTANCE_TYPE, "q"),
        "cpus_per_unit(q)": _choose(CPUS_PER_UNIT, "q"),
        "memory_gib(q)": _choose(MEMORY_GIB, "q"),
        "padded(n)": f"lpad(CAST(n AS VARCHAR), {max(3, len(str(size.nodes)))}, '0')",
        "node_name(q, n)": "'syn-' || q || '-' || padded(n)",
        "instant(s)": "strftime(make_timestamp(CAST(s AS BIGINT) * 1000000), '%Y-%m-%dT%H:%M:%SZ')",
        # About a hundredth of what the nodes cost in a month: lines that no node explains are parts of it.
        "scale_units()": PRICE["h100"] * size.nodes * (size.seconds // 3600) // 130,
        "small_change(units, salt)": "units + units // 1000 * (mix(salt + seed()) % 97)",
        "filled(words, pick, member, of_array, person)": _filled("words", size.habits),
    }
    return "".join(f"CREATE TEMP MACRO {name} AS {body};\n" for name, body in macros.items())


def _choose(of: Mapping[Any, Any], argument: str) -> str:
    return f"CASE {argument} {' '.join(f'WHEN {_constant(k)} THEN {_constant(v)}' for k, v in of.items())} END"


def _constant(value: Any) -> str:
    return literal(value) if isinstance(value, str) else str(value).upper()


def _filled(words: str, book: str) -> str:
    """SQL that puts a run's own words for the {tokens} of a habit; tasks of an array share them all."""
    for position, (token, values) in enumerate(habits(book)["tokens"].items()):
        several = "[" + ", ".join(literal(v) for v in values) + "]"
        words = f"replace({words}, '{{{token}}}', {several}[1 + (pick // {3 ** (position + 1)}) % {len(values)}])"
    number = "CAST(pick % 97 + CASE WHEN of_array < 0 THEN member ELSE 0 END AS VARCHAR)"
    return f"replace(replace({words}, '{{seed}}', {number}), '{{user}}', person)"


def _load(connection: duckdb.DuckDBPyConnection, size: Size, nodes: Nodes, runs: Runs, placed: Placed) -> None:
    """Only numbers cross over from the arrays; words are made by SQL."""
    connection.register("nodes_drawn", pd.DataFrame({f: getattr(nodes, f) for f in Nodes.__dataclass_fields__}))
    drawn = pd.DataFrame({f: getattr(runs, f) for f in Runs.__dataclass_fields__ if f != "submit"})
    connection.register("runs_drawn", drawn.assign(start=placed.start, submit=placed.submit))
    connection.register("placed", pd.DataFrame({"run": placed.run, "node": placed.node}))
    book = habits(size.habits)
    kinds = [(i, k["activity"], k["stage"]) for i, k in enumerate(book["kind"])]
    telling = [h for k in book["kind"] for h in k["habits"]]
    every = [*telling, *book["opaque"]["habits"]]
    words = [(i, h["name"], h["command"], h["folder"], i >= len(telling)) for i, h in enumerate(every)]
    teams = [team for team, people in book["teams"].items() for _ in range(people)]
    people = [(i, f"syn-u{i + 1:02d}", team) for i, team in enumerate(teams)]
    _create(connection, "kind(kind, activity, stage)", kinds)
    _create(connection, "habit(habit, name, command, folder, opaque)", words)
    _create(connection, 'person("user", name, team)', people)


def _create(connection: duckdb.DuckDBPyConnection, table: str, rows: list[tuple[Any, ...]]) -> None:
    text = ", ".join("(" + ", ".join(map(_constant, row)) + ")" for row in rows)
    connection.execute(f"CREATE TEMP TABLE {table.split('(')[0]} AS SELECT * FROM (VALUES {text}) AS {table}")


def _copy(connection: duckdb.DuckDBPyConnection, query: str, path: Path, options: str = "FORMAT csv, HEADER") -> None:
    connection.execute(f"COPY ({query}) TO {literal(str(path))} ({options})")


def _write_jobs(connection: duckdb.DuckDBPyConnection, folder: Path) -> None:
    _copy(
        connection,
        """
        SELECT job_id, person AS user, team AS account, name, instant(submit) AS submit_time,
            instant(start) AS start_time, instant(stop) AS end_time, state, hosts AS nodes, gpus,
            CASE WHEN gpus > 0 THEN queue END AS gpu_type, cpus, memory_gib, queue, command, work_dir
        FROM entry ORDER BY submit, job_number, run
        """,
        folder / "jobs.csv",
    )
    _copy(
        connection,
        """
        SELECT node, resource_id, CASE WHEN queue = 'cpu' THEN 0 ELSE 8 END AS gpus,
            CASE WHEN queue <> 'cpu' THEN queue END AS gpu_type, 8 * cpus_per_unit(queue) AS cpus,
            memory_gib(queue) AS memory_gib, instant(start_all) AS start_time,
            CASE WHEN end_all > 0 THEN instant(end_all) END AS end_time
        FROM span ORDER BY span_id
        """,
        folder / "nodes.csv",
    )
    # Whoever ran the final run said so, one job in twelve of the rest has a label too; what says nothing has none.
    _copy(
        connection,
        f"""
        SELECT DISTINCT {literal(CLUSTER)} AS cluster, job_id, activity, stage, 'synthetic: ' || person AS who
        FROM entry WHERE activity = 'final_training' OR (NOT opaque AND mix(job_number * 31 + seed()) % 12 = 0)
        ORDER BY job_id
        """,
        folder / "labels.csv",
    )
    _copy(connection, "SELECT DISTINCT job_id, activity, stage FROM entry ORDER BY job_id", folder / "truth.csv")


def _write_sacct(connection: duckdb.DuckDBPyConnection, folder: Path) -> None:
    listed = ", ".join([*_SACCT.values(), _SACCT["JobIDRaw"]])
    # One column, and nothing quoted: what Slurm would print, pipes in names and all.
    _copy(
        connection,
        f"SELECT concat_ws({literal(UNIT_SEPARATOR)}, {listed}) FROM entry ORDER BY submit, job_number, run",
        folder / "sacct.txt",
        "FORMAT csv, HEADER false, QUOTE '', ESCAPE '', DELIMITER '\x01'",
    )


def _write_bill(
    connection: duckdb.DuckDBPyConnection, folder: Path, size: Size, bill_format: Literal["csv", "parquet"]
) -> None:
    def money(units: str) -> str:
        exact = f"CAST(CAST({units} AS DECIMAL(20, 0)) * 0.00000000001 AS DECIMAL(31, 11))"
        if bill_format == "parquet":
            return exact
        # Providers print as many decimals as the price has: 6 to 11 here.
        text = f"CAST({exact} AS VARCHAR)"
        return f"CASE WHEN places = 11 THEN {text} ELSE left({text}, places - 11) END"

    quantity = "CAST(hundredths * 0.01 AS DECIMAL(14, 2))"
    consumed = "category = 'Usage' AND coalesce(commitment_status, reservation_status, '') <> 'Unused'"
    committed = "commitment_id IS NOT NULL"
    columns = {
        "AvailabilityZone": "CASE WHEN service_category = 'Compute' THEN 'syn-1a' END",
        "BilledCost": money("billed"),
        "BillingAccountId": "'syn-account-1'",
        "BillingAccountName": "'SYNTHETIC Lab'",
        "BillingAccountType": "'Billing Account'",
        "BillingCurrency": "'USD'",
        "BillingPeriodEnd": "instant(last_second())",
        "BillingPeriodStart": "instant(first_second())",
        "CapacityReservationId": "reservation_id",
        "CapacityReservationStatus": "reservation_status",
        "ChargeCategory": "category",
        "ChargeClass": "class",
        "ChargeDescription": "'SYNTHETIC: ' || description",
        "ChargeFrequency": "frequency",
        "ChargePeriodEnd": "instant(stop_s)",
        "ChargePeriodStart": "instant(start_s)",
        "CommitmentDiscountCategory": f"CASE WHEN {committed} THEN 'Usage' END",
        "CommitmentDiscountId": "commitment_id",
        "CommitmentDiscountName": f"CASE WHEN {committed} THEN 'Compute commitment 1' END",
        "CommitmentDiscountQuantity": f"CASE WHEN {committed} THEN {quantity} END",
        "CommitmentDiscountStatus": "commitment_status",
        "CommitmentDiscountType": f"CASE WHEN {committed} THEN 'Compute Commitment' END",
        "CommitmentDiscountUnit": f"CASE WHEN {committed} THEN unit END",
        "ConsumedQuantity": f"CASE WHEN {consumed} THEN {quantity} END",
        "ConsumedUnit": f"CASE WHEN {consumed} THEN unit END",
        "ContractedCost": money("contracted"),
        "EffectiveCost": money("effective"),
        "InvoiceId": literal(f"SYN-INV-{size.month}"),
        "InvoiceIssuerName": "'Synthetic Cloud'",
        "ListCost": money("listed"),
        "PricingCategory": "pricing_category",
        "PricingQuantity": quantity,
        "PricingUnit": "unit",
        "ProviderName": "'Synthetic Cloud'",
        "PublisherName": "'Synthetic Cloud'",
        "RegionId": "'syn-1'",
        "RegionName": "'Nowhere (synthetic)'",
        "ResourceId": "resource_id",
        "ResourceName": "resource_name",
        "ResourceType": "resource_type",
        "ServiceCategory": "service_category",
        "ServiceName": "service",
        "ServiceSubcategory": "service_subcategory",
        "SkuId": "sku",
        "SkuPriceId": "sku || '.1'",
        "SubAccountId": "'syn-sub-' || sub_account",
        "SubAccountName": "sub_account",
        "Tags": "tags",
    }
    _copy(
        connection,
        f"""
        SELECT {", ".join(f"{sql} AS {identifier(name)}" for name, sql in columns.items())} FROM line
        """,
        folder / f"bill.{bill_format}",
        "FORMAT csv, HEADER" if bill_format == "csv" else "FORMAT parquet, COMPRESSION zstd",
    )
