"""AWS Cost and Usage Reports of any length, in the shapes that AWS writes: SYNTHETIC, made by DuckDB alone, memory bounded.

CUR 2.0 has map columns and `data/` and `metadata/` folders; legacy CUR has a column a tag and a product attribute, and folders
by date range. Both come in several files with a manifest that names them. The kinds of lines are those of an account with
savings plans, reserved instances and EKS with split-cost allocation; `expected.json` beside them says what they add to.
"""

from __future__ import annotations

import gzip
import json
import re
import tempfile
import zipfile
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

import duckdb

from rdspend.border import identifier, literal

Shape = Literal["2.0", "legacy"]
Form = Literal["parquet", "csv.gz", "csv.zip"]

EXPORT = "syn-cur"
ACCOUNT = "123456789012"
RESERVATION = f"arn:aws:ec2:us-east-1:{ACCOUNT}:reserved-instances/syn-ri"
PLAN = f"arn:aws:savingsplans::{ACCOUNT}:savingsplan/syn-sp"

# Of a hundred lines: how many are of a kind, the product, what it costs as decimal SQL, and what else a line of the kind has.
KINDS: Mapping[str, tuple[int, str, str, Mapping[str, str]]] = {
    "Usage": (44, "AmazonEC2", "price()", {"line_item_resource_id": "instance()", "usage": "'BoxUsage:p5.48xlarge'"}),
    "SavingsPlanCoveredUsage": (
        14,
        "AmazonEC2",
        "price()",
        {"line_item_resource_id": "instance()", "usage": "'BoxUsage:p5.48xlarge'", "plan": "true", "covered": "price() * 0.62"},
    ),
    "SavingsPlanNegation": (14, "AmazonEC2", "-price()", {"usage": "'BoxUsage:p5.48xlarge'", "plan": "true"}),
    "SavingsPlanRecurringFee": (
        1,
        "ComputeSavingsPlans",
        "price() * 0.7",
        {"usage": "'ComputeSP:1yrNoUpfront'", "plan": "true", "committed": "price() * 0.7", "used": "price() * 0.63"},
    ),
    "DiscountedUsage": (
        8,
        "AmazonEC2",
        "0",
        {
            "line_item_resource_id": "instance()",
            "usage": "'BoxUsage:p4d.24xlarge'",
            "reserved": "true",
            "covered": "price() * 0.58",
        },
    ),
    "RIFee": (
        1,
        "AmazonEC2",
        "price() * 0.6",
        {"usage": "'HeavyUsage:p4d.24xlarge'", "reserved": "true", "unused": "price() * 0.05"},
    ),
    "Storage": (
        10,
        "AmazonS3",
        "price() * 0.001",
        {"line_item_resource_id": "'syn-bucket-' || i % 9", "usage": "'TimedStorage-ByteHrs'"},
    ),
    "Tax": (1, "AmazonEC2", "price() * 0.19", {"usage": "''"}),
    "Credit": (1, "AmazonEC2", "-price() * 0.3", {"usage": "'BoxUsage:p5.48xlarge'"}),
    "Refund": (1, "AmazonEC2", "-price() * 0.01", {"usage": "'BoxUsage:p5.48xlarge'"}),
    "EdpDiscount": (5, "AmazonEC2", "-price() * 0.02", {"usage": "'BoxUsage:p5.48xlarge'"}),
}
"""Lines that split cost allocation adds come on top."""

EFFECTIVE = {
    "SavingsPlanCoveredUsage": "covered",
    "SavingsPlanNegation": "CAST(0 AS DECIMAL(38, 10))",
    "SavingsPlanRecurringFee": "committed - used",
    "DiscountedUsage": "covered",
    "RIFee": "unused",
}


def write_cur(
    folder: Path,
    *,
    lines: int,
    month: str = "2026-10",
    shape: Shape = "2.0",
    form: Form = "parquet",
    files: int = 4,
    pods: int = 0,
    seed: int = 7,
    version: int = 1,
) -> dict[str, str]:
    """Write one month of an export below `folder`, manifest last. Same arguments, same rows.

    pods     rows of EKS split-cost allocation added to the lines; they repeat money of the instances
    version  another one restates: every thousandth usage line costs more, and lines are in other files

    Returns what the lines add to, without the pods: `lines`, `unblended` and `effective`, exact decimals as text.
    """
    if lines < 1 or files < 1 or pods < 0:
        raise ValueError("a report has at least one line and one file, and no negative number of pods")
    with tempfile.TemporaryDirectory(prefix="rdspend-lab-") as spill, duckdb.connect() as connection:
        connection.execute(f"SET TimeZone = 'UTC'; SET memory_limit = '1GB'; SET temp_directory = {literal(spill)}")
        connection.execute(_macros(month, seed))
        data, manifest = _places(folder, month, shape)
        data.mkdir(parents=True, exist_ok=True)
        named = []
        for n in range(files):
            first, last = lines * n // files, lines * (n + 1) // files
            rows = _lines(f"range({first}, {last})", version)
            if pods:
                rows += " UNION ALL BY NAME " + _pods(f"range({pods * n // files}, {pods * (n + 1) // files})")
            name = f"{EXPORT}-{n + 1:05d}.{'snappy.parquet' if form == 'parquet' else form}"
            _write(connection, f"SELECT {_columns(shape, form)} FROM ({rows})", data / name, form)
            named.append(data / name)
        _write_manifest(connection, folder, manifest, named, month, shape, form)
        expected = _expected(connection, lines, version)
    (folder / "expected.json").write_text(json.dumps(expected, indent=2) + "\n", encoding="utf-8")
    return expected


def _places(folder: Path, month: str, shape: Shape) -> tuple[Path, Path]:
    """The folder of the data files and the manifest's path, as AWS lays them out."""
    if shape == "2.0":
        period = f"BILLING_PERIOD={month}"
        return folder / EXPORT / "data" / period, folder / EXPORT / "metadata" / period / f"{EXPORT}-Manifest.json"
    start, end = (f"{t:%Y%m%d}" for t in _span(month))
    below = folder / EXPORT / f"{start}-{end}"
    return below / _assembly(month), below / f"{EXPORT}-Manifest.json"


def _assembly(month: str) -> str:
    return f"00000000-0000-4000-8000-{month.replace('-', '').zfill(12)}"


def _span(month: str) -> tuple[datetime, datetime]:
    year, number = int(month[:4]), int(month[5:])
    return datetime(year, number, 1, tzinfo=UTC), datetime(year + number // 12, number % 12 + 1, 1, tzinfo=UTC)


def _macros(month: str, seed: int) -> str:
    start, end = _span(month)
    hours = int((end - start).total_seconds()) // 3600
    macros = {
        "start()": f"TIMESTAMP '{start:%Y-%m-%d}'",
        "finish()": f"TIMESTAMP '{end:%Y-%m-%d}'",
        "hour_of(i)": f"i // 100 % {hours}",
        "noise(i)": f"CAST((CAST(i AS UBIGINT) * 2654435761 + {seed}) % 1000003 AS BIGINT)",
    }
    return "".join(f"CREATE TEMP MACRO {name} AS {body};\n" for name, body in macros.items())


PRICE = "CAST(CAST(noise(i) AS DECIMAL(18, 0)) * 0.0000001 + 50 AS DECIMAL(28, 10))"
INSTANCE = "'i-' || lpad(CAST(i % 4000 AS VARCHAR), 17, '0')"


def _lines(numbers: str, version: int = 1) -> str:
    """Lines of the kinds, by their number: type, product, resource, money as decimals."""
    at, whens = 0, []
    for kind, (share, *_rest) in KINDS.items():
        whens.append(f"WHEN i % 100 < {at + share} THEN {literal(kind)}")
        at += share
    chosen = f"CASE {' '.join(whens)} END"

    def pick(field: str, otherwise: str) -> str:
        found = {kind: more[field] for kind, (*_, more) in KINDS.items() if field in more}
        return "CASE kind " + " ".join(f"WHEN {literal(k)} THEN {v}" for k, v in found.items()) + f" ELSE {otherwise} END"

    dearer = "+ CASE WHEN kind = 'Usage' AND i % 1000 = 0 THEN 1 ELSE 0 END" if version > 1 else ""
    cost = "CASE kind " + " ".join(f"WHEN {literal(k)} THEN {c}" for k, (_, _, c, _) in KINDS.items()) + " END"
    product = "CASE kind " + " ".join(f"WHEN {literal(k)} THEN {literal(p)}" for k, (_, p, _, _) in KINDS.items()) + " END"
    money = {name: pick(name, "0") for name in ("covered", "committed", "used", "unused")}
    text = f"""
        SELECT i, kind, {cost} {dearer} AS cost, {product} AS product, {pick("line_item_resource_id", "''")} AS resource,
            {pick("usage", "''")} AS usage, {pick("plan", "false")} AS plan, {pick("reserved", "false")} AS reserved,
            {", ".join(f"{sql} AS {name}" for name, sql in money.items())}, '' AS parent, 0 AS split, 0 AS idle
        FROM (SELECT range AS i, {chosen.replace("i %", "range %")} AS kind FROM {numbers})"""
    text = text.replace("price()", "price").replace("instance()", "instance")
    text = text.replace("FROM (SELECT", f"FROM (SELECT *, {PRICE} AS price, {INSTANCE} AS instance FROM (SELECT", 1) + ")"
    wide = ", ".join(f"CAST({n} AS DECIMAL(38, 10)) AS {n}" for n in ("cost", *money, "split", "idle"))
    return f"SELECT * REPLACE ({wide}) FROM ({text})"


def _pods(numbers: str) -> str:
    """Split-cost rows: vCPU, memory and accelerator hours of pods on the instances of the usage lines."""
    resource = (
        "'arn:aws:eks:us-east-1:123456789012:pod/syn/team-' || i % 7 || '/pod-' || i // 3 % 500 || '/uid-' || i // 3 % 500"
    )
    usage = "'EKS-EC2-' || ['vCPU', 'GB', 'Accelerator'][i % 3 + 1] || '-Hours'"
    return f"""
        SELECT range AS i, 'Usage' AS kind, CAST(0 AS DECIMAL(38, 10)) AS cost, 'AmazonEKS' AS product,
            {resource.replace("i ", "range ")} AS resource, {usage.replace("i ", "range ")} AS usage, false AS plan,
            false AS reserved, CAST(0 AS DECIMAL(38, 10)) AS covered, CAST(0 AS DECIMAL(38, 10)) AS committed,
            CAST(0 AS DECIMAL(38, 10)) AS used, CAST(0 AS DECIMAL(38, 10)) AS unused,
            'i-' || lpad(CAST(range // 3 % 500 AS VARCHAR), 17, '0') AS parent,
            CAST(3.25 AS DECIMAL(38, 10)) AS split, CAST(0.75 AS DECIMAL(38, 10)) AS idle
        FROM {numbers}"""


TAGS = {"user_team": "'team-' || i % 7", "user_project": "'project-' || i % 23", "aws_created_by": "'Root'"}
PRODUCT = {"region": "'us-east-1'", "gpu": "CASE WHEN usage LIKE '%p5%' OR usage LIKE '%p4d%' THEN '8' END"}

COLUMNS: Mapping[str, str] = {
    "identity_line_item_id": "md5(CAST(i AS VARCHAR) || kind)",
    "identity_time_interval": "strftime(since, '%Y-%m-%dT%H:%M:%SZ') || '/' || strftime(until, '%Y-%m-%dT%H:%M:%SZ')",
    "bill_bill_type": "CASE WHEN kind IN ('Refund', 'Credit') THEN 'Refund' ELSE 'Anniversary' END",
    "bill_billing_entity": "'AWS'",
    "bill_billing_period_start_date": "start()",
    "bill_billing_period_end_date": "finish()",
    "bill_invoice_id": "'INV-1'",
    "bill_invoicing_entity": "'Amazon Web Services, Inc.'",
    "bill_payer_account_id": f"'{ACCOUNT}'",
    "line_item_availability_zone": "CASE WHEN product = 'AmazonEC2' THEN 'us-east-1' || ['a', 'b', 'c'][i % 3 + 1] ELSE '' END",
    "line_item_blended_cost": "CAST(cost AS DOUBLE)",
    "line_item_blended_rate": "''",
    "line_item_currency_code": "'USD'",
    "line_item_legal_entity": "'Amazon Web Services, Inc.'",
    "line_item_line_item_description": "kind || ' of ' || usage",
    "line_item_line_item_type": "CASE WHEN kind = 'Storage' THEN 'Usage' ELSE kind END",
    "line_item_normalization_factor": "CAST(NULL AS DOUBLE)",
    "line_item_normalized_usage_amount": "CAST(NULL AS DOUBLE)",
    "line_item_operation": "CASE product WHEN 'AmazonEKS' THEN 'EKSPod-EC2' WHEN 'AmazonEC2' THEN 'RunInstances' ELSE '' END",
    "line_item_product_code": "product",
    "line_item_resource_id": "resource",
    "line_item_tax_type": "CASE WHEN kind = 'Tax' THEN 'VAT' ELSE '' END",
    "line_item_unblended_cost": "CAST(cost AS DOUBLE)",
    "line_item_unblended_rate": "''",
    "line_item_usage_account_id": "'4387391' || lpad(CAST(i % 40 AS VARCHAR), 5, '0')",
    "line_item_usage_amount": "CAST(1 AS DOUBLE)",
    "line_item_usage_end_date": "until",
    "line_item_usage_start_date": "since",
    "line_item_usage_type": "usage",
    "pricing_public_on_demand_cost": "CAST(greatest(cost, covered) AS DOUBLE)",
    "pricing_public_on_demand_rate": "''",
    "pricing_rate_id": "'rate-' || i % 50",
    "pricing_term": "CASE WHEN reserved THEN 'Reserved' ELSE 'OnDemand' END",
    "pricing_unit": "'Hrs'",
    "product_instance_type": "CASE WHEN usage LIKE '%:p%' THEN split_part(usage, ':', 2) ELSE '' END",
    "product_product_family": "CASE WHEN usage LIKE 'BoxUsage%' THEN 'Compute Instance' ELSE '' END",
    "product_region_code": "'us-east-1'",
    "product_servicecode": "product",
    "product_sku": "'SKU' || i % 50",
    "reservation_amortized_upfront_fee_for_billing_period": "CAST(0 AS DOUBLE)",
    "reservation_effective_cost": "CASE WHEN reserved THEN CAST(covered AS DOUBLE) ELSE 0 END",
    "reservation_reservation_a_r_n": f"CASE WHEN reserved THEN {literal(RESERVATION)} ELSE '' END",
    "reservation_unused_amortized_upfront_fee_for_billing_period": "CAST(0 AS DOUBLE)",
    "reservation_unused_recurring_fee": "CASE WHEN kind = 'RIFee' THEN CAST(unused AS DOUBLE) ELSE 0 END",
    "savings_plan_amortized_upfront_commitment_for_billing_period": "CAST(0 AS DOUBLE)",
    "savings_plan_savings_plan_a_r_n": f"CASE WHEN plan THEN {literal(PLAN)} ELSE '' END",
    "savings_plan_savings_plan_effective_cost": "CASE WHEN plan THEN CAST(covered AS DOUBLE) ELSE 0 END",
    "savings_plan_total_commitment_to_date": "CAST(committed AS DOUBLE)",
    "savings_plan_used_commitment": "CAST(used AS DOUBLE)",
    "split_line_item_parent_resource_id": "parent",
    "split_line_item_reserved_usage": "CASE WHEN parent <> '' THEN CAST(8 AS DOUBLE) END",
    "split_line_item_split_cost": "CASE WHEN parent <> '' THEN CAST(split AS DOUBLE) END",
    "split_line_item_unused_cost": "CASE WHEN parent <> '' THEN CAST(idle AS DOUBLE) END",
}


def _columns(shape: Shape, form: Form) -> str:
    """The select list: maps in CUR 2.0 (JSON in its text files), one column a key in legacy."""
    hour = "(start() + to_hours(CAST(hour_of(i) + {} AS INTEGER)))"
    times = {"since": hour.format(0), "until": hour.format(1)}
    given = dict(COLUMNS)
    if shape == "2.0":
        given["line_item_usage_account_name"] = "'Team ' || i % 40"
        given["bill_payer_account_name"] = "'Lab'"
        for name, entries in (("resource_tags", TAGS), ("product", PRODUCT)):
            pairs = ", ".join(literal(key) for key in entries), ", ".join(entries.values())
            made = f"map([{pairs[0]}], [{pairs[1]}])"
            given[name] = made if form == "parquet" else f"CAST(to_json({made}) AS VARCHAR)"
    else:
        given |= {f"resource_tags_{key}": sql for key, sql in TAGS.items()}
        given |= {f"product_{key}": f"COALESCE({sql}, '')" for key, sql in PRODUCT.items()}
    columns = []
    for name, sql in given.items():
        for word, expression in times.items():
            sql = re.sub(rf"\b{word}\b", expression, sql)
        if form != "parquet" and name.endswith(("_start_date", "_end_date")):
            sql = f"strftime({sql}, '%Y-%m-%dT%H:%M:%SZ')"
        written = name if shape == "2.0" or form == "parquet" else _old_name(name)
        columns.append(f"{sql} AS {identifier(written)}")
    return ", ".join(columns)


GROUPS = (
    "identity",
    "bill",
    "line_item",
    "product",
    "pricing",
    "reservation",
    "savings_plan",
    "split_line_item",
    "resource_tags",
)


def _old_name(name: str) -> str:
    """`line_item_usage_start_date` as text files of legacy CUR have it: `lineItem/UsageStartDate`."""
    group = next(g for g in sorted(GROUPS, key=len, reverse=True) if name.startswith(g + "_"))
    rest = name.removeprefix(group + "_")
    head = re.sub(r"_(\w)", lambda m: m[1].upper(), group)
    if group == "resource_tags":
        kind, _, key = rest.partition("_")
        return f"{head}/{kind}:{key}"
    tail = re.sub(r"_(\w)", lambda m: m[1].upper(), rest)
    return f"{head}/{tail if group == 'product' else tail[0].upper() + tail[1:]}"


def _write(connection: duckdb.DuckDBPyConnection, query: str, path: Path, form: Form) -> None:
    if form == "parquet":
        connection.execute(f"COPY ({query}) TO {literal(str(path))} (FORMAT parquet, COMPRESSION snappy)")
        return
    if form == "csv.gz":
        connection.execute(f"COPY ({query}) TO {literal(str(path))} (FORMAT csv, HEADER true, COMPRESSION gzip)")
        return
    plain = path.with_suffix("")
    connection.execute(f"COPY ({query}) TO {literal(str(plain))} (FORMAT csv, HEADER true)")
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.write(plain, plain.name)
    plain.unlink()


def _write_manifest(
    connection: duckdb.DuckDBPyConnection,
    folder: Path,
    manifest: Path,
    named: list[Path],
    month: str,
    shape: Shape,
    form: Form,
) -> None:
    start, end = _span(month)
    header = _header(connection, named[0], form)
    keys = [str(path.relative_to(folder)) for path in named]
    if shape == "2.0":
        told: dict[str, object] = {
            "exportArn": f"arn:aws:bcm-data-exports:us-east-1:{ACCOUNT}:export/{EXPORT}",
            "executionId": _assembly(month),
            "billingPeriod": {"start": f"{start:%Y-%m-%dT%H:%M:%S.000Z}", "end": f"{end:%Y-%m-%dT%H:%M:%S.000Z}"},
            "compression": "Parquet" if form == "parquet" else "GZIP",
            "format": "Parquet" if form == "parquet" else "TEXT_OR_CSV",
            "columns": [{"name": name} for name in header],
            "dataFiles": [f"s3://syn-bucket/{key}" for key in keys],
        }
    else:
        told = {
            "assemblyId": _assembly(month),
            "account": ACCOUNT,
            "columns": [dict(zip(("category", "name"), name.split("/", 1), strict=False)) for name in header],
            "charset": "UTF-8",
            "compression": {"parquet": "Parquet", "csv.gz": "GZIP", "csv.zip": "ZIP"}[form],
            "contentType": "Parquet" if form == "parquet" else "text/csv",
            "reportId": "syn",
            "reportName": EXPORT,
            "billingPeriod": {"start": f"{start:%Y%m%dT%H%M%S.000Z}", "end": f"{end:%Y%m%dT%H%M%S.000Z}"},
            "bucket": "syn-bucket",
            "reportKeys": keys,
            "additionalArtifactKeys": [],
        }
    manifest.parent.mkdir(parents=True, exist_ok=True)
    manifest.write_text(json.dumps(told, indent=2) + "\n", encoding="utf-8")


def _header(connection: duckdb.DuckDBPyConnection, path: Path, form: Form) -> list[str]:
    if form == "parquet":
        return [name for name, *_ in connection.execute(f"DESCRIBE SELECT * FROM {literal(str(path))}").fetchall()]
    if form == "csv.gz":
        with gzip.open(path, "rt", encoding="utf-8") as stream:
            return stream.readline().strip().split(",")
    with zipfile.ZipFile(path) as archive, archive.open(archive.namelist()[0]) as member:
        return member.readline().decode("utf-8").strip().split(",")


def _expected(connection: duckdb.DuckDBPyConnection, lines: int, version: int) -> dict[str, str]:
    """Sums of the decimals that the files are made from."""
    effective = "CASE kind " + " ".join(f"WHEN {literal(k)} THEN {sql}" for k, sql in EFFECTIVE.items()) + " ELSE cost END"
    found = connection.execute(
        f"SELECT CAST(sum(cost) AS VARCHAR), CAST(sum({effective}) AS VARCHAR) FROM ({_lines(f'range({lines})', version)})"
    ).fetchall()
    return {"lines": str(lines), "unblended": found[0][0], "effective": found[0][1]}
