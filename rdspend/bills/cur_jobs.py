"""Jobs that an AWS bill names itself: pods of split cost allocation, jobs of SageMaker, use of models in Bedrock.

Each is one run a billing month, so that a month can be read alone. The bill does not say how a job ended: it is `completed`.
"""

from __future__ import annotations

import csv
from collections.abc import Sequence

import duckdb

from rdspend.bills.column import tags_of
from rdspend.bills.cur_bill import DATA, END, PARENT, RESOURCE, START, TAGS, Bill, bedrock, bedrock_id, fill, of_month, repeats
from rdspend.bills.files import sound
from rdspend.border import end_day, job_key, literal
from rdspend.schema import GPU_PARTS

SAGEMAKER = (
    "line_item_product_code = 'AmazonSageMaker' AND regexp_matches(" + RESOURCE + ", ':(training|processing|transform)-job/')"
)
PODS = "line_item_operation IN ('EKSPod-EC2', 'FargatePod')"

# Families of instances that have accelerators: a type of them that the table does not have may have any number.
ACCELERATED = r"^(p|g|gr|trn|inf|dl)\d"


def prepare(connection: duckdb.DuckDBPyConnection) -> None:
    """The table of instance types with accelerators."""
    with (DATA / "accelerators.csv").open(encoding="utf-8", newline="") as stream:
        rows = [[value or None for value in row.values()] for row in csv.DictReader(stream)]
    columns = "instance_type VARCHAR, gpus INTEGER, gpu_type VARCHAR, vcpus INTEGER, memory_gib DECIMAL(9, 1)"
    fill(connection, f"accelerator ({columns})", rows)


NONE = "false"

LINE = (
    "month VARCHAR, origin_file VARCHAR, origin_row BIGINT, s TIMESTAMPTZ, e TIMESTAMPTZ, account VARCHAR, "
    "tags MAP(VARCHAR, VARCHAR), amount DECIMAL(28, 9), us BIGINT"
)
TYPES = {"used": "DECIMAL(28, 9)", "vcpus": "BIGINT"}


def _lines(bill: Bill, month: str, checked: bool, table: str, columns: dict[str, str], where: str) -> None:
    """Add the lines of one month to a table of what jobs are made of."""
    own = ", ".join(f"{name} {TYPES.get(name, 'VARCHAR')}" for name in columns)
    bill.connection.execute(f"CREATE TEMP TABLE IF NOT EXISTS {table} ({LINE}, {own})")
    for part in bill.parts if where != NONE else ():
        tags = tags_of(TAGS, part.kind(TAGS)) if part.has(TAGS) else TAGS
        words = ", ".join(f"{sql} AS {name}" for name, sql in columns.items())
        chosen = where if checked else f"{where} AND {of_month(month)}"
        select = f"""
            SELECT {literal(month)} AS month, origin_file, origin_row, time_{START} AS s, time_{END} AS e,
                line_item_usage_account_id AS account, {tags} AS tags,
                TRY_CAST(CAST({"line_item_usage_amount" if part.has("line_item_usage_amount") else "NULL"} AS VARCHAR)
                    AS DECIMAL(28, 9)) AS amount,
                (epoch_us(time_{END}) - epoch_us(time_{START})) AS us,
                {words}
            FROM ({part.parsed()}) WHERE {chosen}"""
        with sound(part.files[0]):
            bill.connection.execute(f"INSERT INTO {table} {select}")


# The month whose bill a run is from. Its key has the month, not its first line: a line that comes later may be earlier.
BEGIN = "strptime(month || '-01 +0000', '%Y-%m-%d %z')"


def _clipped(end: str) -> str:
    """A run ends in the month whose bill it is from."""
    return f"least({end}, {BEGIN} + INTERVAL 1 month - INTERVAL 1 second)"


def _jobs(cluster: str, job_id: str, grouped: str, columns: dict[str, str]) -> str:
    """SELECT of jobs over groups that have month, first, last, file, row and what the columns name."""
    fixed = {
        "job_key": job_key(literal(cluster), job_id, BEGIN),
        "cluster": literal(cluster),
        "end_day": end_day(_clipped("last")),
        "origin_file": "file",
        "origin_row": "row",
        "job_id": job_id,
        "submit_time": "first",
        "start_time": "first",
        "end_time": _clipped("last"),
        "outcome": "'completed'",
    }
    return f"SELECT {', '.join(f'{sql} AS {name}' for name, sql in (fixed | columns).items())} FROM ({grouped})"


GROUPED = (
    "month, min(s) AS first, max(e) AS last, min(origin_file) AS file, arg_min(origin_row, (origin_file, origin_row)) AS row, "
    "any_value(account) AS account, any_value(tags) AS tags"
)


def _labels(words: dict[str, str]) -> str:
    """Tags and our own words, without those that are empty."""
    pairs = ", ".join(f"{{'key': {literal(key)}, 'value': {sql}}}" for key, sql in words.items())
    mine = f"map_from_entries(list_filter([{pairs}], lambda pair: pair.value IS NOT NULL))"
    return f"map_concat(COALESCE(tags, MAP {{}}), {mine})"


# --- SageMaker and Bedrock: billed by the job itself ------------------------------------------------------------------


def add_sagemaker(bill: Bill, month: str, checked: bool) -> None:
    columns = {
        "arn": RESOURCE,
        "instance_type": r"regexp_extract(line_item_usage_type, 'ml\.([^:]+)$', 1)",
    }
    none = bill.products is not None and "AmazonSageMaker" not in bill.products
    _lines(bill, month, checked, "sagemaker_line", columns, NONE if none else SAGEMAKER)


def sagemaker_jobs(cluster: str) -> str:
    """SELECT of jobs: one for each job ARN and month. GPUs: those of the instances that its busiest line is for."""
    grouped = f"""
        SELECT {GROUPED}, arn, arg_max(line.instance_type, COALESCE(gpus, 0)) AS instance_type,
            COALESCE(max(ceil(amount * 3600000000 / greatest(us, 1))) FILTER (line.instance_type <> '' AND amount > 0), 1)
                AS instances,
            max(COALESCE(gpus, 0)) AS gpus, arg_max(gpu_type, COALESCE(gpus, 0)) AS gpu_type
        FROM sagemaker_line AS line LEFT JOIN accelerator ON accelerator.instance_type = line.instance_type
        GROUP BY month, arn"""
    parts = f"CAST(instances * gpus * {GPU_PARTS} AS BIGINT)"
    columns = {
        "resource_id": "arn",
        "account": "account",
        "name": "regexp_extract(arn, '[^/]+$')",
        "labels": _labels(
            {"kind": "regexp_extract(arn, '(training|processing|transform)-job')", "instance_type": "nullif(instance_type, '')"}
        ),
        "gpu_parts": parts,
        "gpu_type": "gpu_type",
        "node_count": "CAST(instances AS BIGINT)",
    }
    return _jobs(cluster, "COALESCE(account, '') || '/' || regexp_extract(arn, '[^:]+$')", grouped, columns)


def sagemaker_notes(connection: duckdb.DuckDBPyConnection, month: str) -> list[tuple[str, str, str, int]]:
    """What the report can't show of the jobs of a month."""
    jobs, hours = connection.execute(
        "SELECT count(DISTINCT arn), CAST(CAST(sum(amount * gpus) AS DECIMAL(28, 1)) AS VARCHAR) "
        "FROM sagemaker_line AS line JOIN accelerator ON accelerator.instance_type = line.instance_type WHERE month = ?",
        [month],
    ).fetchall()[0]
    detail = f"the bill says which hours were paid, not when a job ran: their {hours} GPU-hours are in no figure of GPU time"
    return [("gpu_hours_left_out", "sagemaker", detail, jobs)] if jobs else []


def unknown_types(connection: duckdb.DuckDBPyConnection, table: str, month: str) -> list[tuple[str, str, str, int]]:
    """Types of instances with accelerators of which it is not known how many; rows: lines of the bill."""
    found = connection.execute(
        f"SELECT line.instance_type, count(*) FROM {table} AS line LEFT JOIN accelerator "
        "ON accelerator.instance_type = line.instance_type WHERE month = ? AND accelerator.instance_type IS NULL "
        f"AND regexp_matches(line.instance_type, '{ACCELERATED}') GROUP BY ALL ORDER BY ALL",
        [month],
    ).fetchall()
    detail = "how many accelerators it has is not known to rdspend: GPUs of its nodes are unknown, of its jobs 0"
    return [("unknown_instance_type", name, detail, rows) for name, rows in found]


def add_bedrock(bill: Bill, month: str, checked: bool) -> None:
    columns = {
        "id": bedrock_id(),
        "principal": "line_item_iam_principal",
        "arn": RESOURCE,
        "usage_type": "line_item_usage_type",
    }
    _lines(bill, month, checked, "bedrock_line", columns, bedrock())


def bedrock_jobs(cluster: str) -> str:
    """SELECT of jobs: one for each account, caller, resource, usage type and day, as the charges' resource ids are."""
    grouped = f"""
        SELECT {GROUPED}, id, any_value(principal) AS principal, any_value(arn) AS arn, any_value(usage_type) AS usage_type
        FROM bedrock_line GROUP BY month, id"""
    columns = {
        "resource_id": "id",
        "user": "principal",
        "account": "account",
        "name": "usage_type",
        "labels": _labels({"iam_principal": "principal", "resource": "arn", "usage_type": "usage_type"}),
        "gpu_parts": "CAST(0 AS BIGINT)",
    }
    columns['"user"'] = columns.pop("user")
    return _jobs(cluster, "substr(id, 9)", grouped, columns)


# --- pods -------------------------------------------------------------------------------------------------------------


def add_pods(bill: Bill, month: str, checked: bool, clusters: Sequence[str]) -> None:
    """Pods of these EKS clusters, and the instances below them."""
    columns = {
        "arn": RESOURCE,
        "cluster": f"split_part({RESOURCE}, '/', 2)",
        "namespace": f"split_part({RESOURCE}, '/', 3)",
        "pod": f"split_part({RESOURCE}, '/', 4)",
        "uid": f"split_part({RESOURCE}, '/', 5)",
        "node": PARENT,
        "kind": "regexp_extract(line_item_usage_type, '(vCPU|GB|Accelerator)-Hours', 1)",
        "used": "COALESCE(TRY_CAST(split_line_item_reserved_usage AS DECIMAL(28, 9)), "
        "TRY_CAST(split_line_item_split_usage AS DECIMAL(28, 9)))",
    }
    names = ", ".join(map(literal, clusters))
    _lines(bill, month, checked, "pod_line", columns, f"{PODS} AND split_part({RESOURCE}, '/', 2) IN ({names})")
    instance = {
        "node": RESOURCE,
        "instance_type": r"COALESCE(product_instance_type, nullif(regexp_extract(line_item_usage_type, 'Usage:(.+)$', 1), ''))",
        "vcpus": "TRY_CAST(product_vcpu AS BIGINT)",
    }
    _lines(
        bill,
        month,
        checked,
        "instance_line",
        instance,
        f"prefix({RESOURCE}, 'i-') AND NOT {repeats()} AND {RESOURCE} IN (SELECT node FROM pod_line)",
    )


PARTS = f"CAST(round(used_gpus * {GPU_PARTS}) AS BIGINT)"


def pod_hours() -> str:
    """What a pod held in one hour on one node."""

    def held(kind: str) -> str:
        return f"sum(COALESCE(used, amount) * 3600000000 / greatest(us, 1)) FILTER (kind = '{kind}')"

    return f"""
        SELECT cluster, uid, month, node, s, e,
            {held("Accelerator")} AS used_gpus, {held("vCPU")} AS used_cpus, {held("GB")} AS used_gb,
            {PARTS.replace("used_gpus", "COALESCE(" + held("Accelerator") + ", 0)")} AS gpu_parts
        FROM pod_line GROUP BY cluster, uid, month, node, s, e"""


def pod_jobs(cluster: str) -> str:
    """SELECT of jobs: one for each pod and month."""
    grouped = f"""
        SELECT {GROUPED}, uid, any_value(namespace) AS namespace, any_value(pod) AS pod, any_value(arn) AS arn,
            max(node) IS NULL AS fargate, count(DISTINCT node) AS nodes
        FROM pod_line WHERE cluster = {literal(cluster)} GROUP BY month, uid"""
    held = f"""
        SELECT uid, month, max(gpu_parts) AS gpu_parts, CAST(ceil(max(used_cpus)) AS BIGINT) AS cpus,
            CAST(round(max(used_gb) * 1024) AS BIGINT) AS memory_mib
        FROM ({pod_hours()}) WHERE cluster = {literal(cluster)} GROUP BY uid, month"""
    columns = {
        # A pod of Fargate is billed by its own resource; the others through their instance.
        "resource_id": "CASE WHEN fargate THEN arn END",
        "account": "account",
        "project": "namespace",
        "name": "pod",
        "labels": _labels({"namespace": "namespace", "pod": "pod"}),
        "gpu_parts": "gpu_parts",
        "cpus": "cpus",
        "memory_mib": "memory_mib",
        "node_count": "nodes",
    }
    return _jobs(cluster, "uid", f"SELECT * FROM ({grouped}) JOIN ({held}) USING (uid, month)", columns)


def pod_placements(cluster: str) -> str:
    """SELECT of placements: hours of a pod on a node that follow each other and hold the same are one."""
    return f"""
        WITH hour AS (
            SELECT *, CAST(ceil(used_cpus) AS BIGINT) AS cpus, CAST(round(used_gb * 1024) AS BIGINT) AS memory_mib,
                (gpu_parts, ceil(used_cpus), round(used_gb * 1024)) AS holds
            FROM ({pod_hours()}) WHERE cluster = {literal(cluster)} AND node IS NOT NULL
        ),
        marked AS (
            SELECT *, lag(e) OVER pod_node IS DISTINCT FROM s OR lag(holds) OVER pod_node IS DISTINCT FROM holds AS begins
            FROM hour WINDOW pod_node AS (PARTITION BY uid, month, node ORDER BY s)
        ),
        numbered AS (
            SELECT *, count(*) FILTER (begins)
                OVER (PARTITION BY uid, month, node ORDER BY s ROWS UNBOUNDED PRECEDING) AS island
            FROM marked
        ),
        job AS (
            SELECT uid, month, min(s) AS first, max(e) AS last FROM pod_line WHERE cluster = {literal(cluster)}
            GROUP BY uid, month
        )
        SELECT {job_key(literal(cluster), "uid", BEGIN)} AS job_key, {literal(cluster)} AS cluster,
            {end_day(_clipped("any_value(last)"))} AS end_day, node, min(s) AS start_time, max(e) AS end_time,
            any_value(gpu_parts) AS gpu_parts, any_value(cpus) AS cpus, any_value(memory_mib) AS memory_mib
        FROM numbered JOIN job USING (uid, month)
        GROUP BY uid, month, node, island"""


def pod_nodes(cluster: str) -> str:
    """SELECT of nodes: the instances of a cluster's pods, from their first to their last line of a month."""
    return f"""
        SELECT {literal(cluster)} AS cluster, node, node AS resource_id, first AS start_time, last AS end_time,
            CASE WHEN gpus IS NOT NULL THEN gpus * {GPU_PARTS}
                WHEN NOT regexp_matches(i.instance_type, '{ACCELERATED}') THEN 0 END AS gpu_parts,
            gpu_type, CAST(COALESCE(i.vcpus, accelerator.vcpus) AS BIGINT) AS cpus,
            CAST(memory_gib * 1024 AS BIGINT) AS memory_mib,
            i.instance_type AS instance_type, file AS origin_file, row AS origin_row
        FROM (
            SELECT {GROUPED}, node, any_value(instance_type) AS instance_type, max(vcpus) AS vcpus
            FROM instance_line WHERE node IN (SELECT node FROM pod_line WHERE cluster = {literal(cluster)}) GROUP BY month, node
        ) AS i LEFT JOIN accelerator ON accelerator.instance_type = i.instance_type"""
