"""The aws_cur collector: cost and usage reports of AWS in every layout and shape, amortised, never counted twice."""

from __future__ import annotations

import csv
import gzip
import io
import json
import os
import re
import subprocess
import sys
import time
import zipfile
from collections.abc import Generator, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import boto3
import duckdb
import pytest
from organisations import JOBS_HEADER

from collectors.aws_cur import AwsCur
from rdspend import config as configuration
from rdspend.bills.cur_blocks import CapacityBlock
from rdspend.bills.cur_export import snake
from rdspend.bills.store import S3
from rdspend.border import bad_record
from rdspend.errors import BadRecord, ConfigError, SourceUnavailable
from rdspend.ledger import Ledger
from rdspend.period import parse_period
from rdspend.pipeline import Pipeline
from rdspend.schema import GPU_PARTS, Delivery, Location, Window

WORKSHOP = Path(__file__).parent / "fixtures/aws_cur/workshop"
OCTOBER = Window(datetime(2026, 10, 1, tzinfo=UTC), datetime(2026, 11, 1, tzinfo=UTC))
NOVEMBER = Window(datetime(2026, 11, 1, tzinfo=UTC), datetime(2026, 12, 1, tzinfo=UTC))
NANOS = 10**9

# One line of CUR 2.0, as SQL. A line of a test names what differs.
LINE = {
    "identity_line_item_id": "'id'",
    "identity_time_interval": "'2026-10-02T00:00:00Z/2026-10-02T01:00:00Z'",
    "bill_invoice_id": "'INV-1'",
    "bill_payer_account_id": "'111111111111'",
    "bill_billing_period_start_date": "TIMESTAMP '2026-10-01'",
    "line_item_usage_account_id": "'222222222222'",
    "line_item_line_item_type": "'Usage'",
    "line_item_usage_start_date": "TIMESTAMP '2026-10-02 00:00:00'",
    "line_item_usage_end_date": "TIMESTAMP '2026-10-02 01:00:00'",
    "line_item_product_code": "'AmazonEC2'",
    "line_item_usage_type": "'USE1-BoxUsage:p5.48xlarge'",
    "line_item_operation": "'RunInstances'",
    "line_item_resource_id": "'i-0a'",
    "line_item_usage_amount": "1.0::DOUBLE",
    "line_item_currency_code": "'USD'",
    "line_item_unblended_cost": "10.0::DOUBLE",
    "line_item_line_item_description": "'$10 per hour'",
    "product_region_code": "'us-east-1'",
    "product_instance_type": "'p5.48xlarge'",
    "pricing_public_on_demand_cost": "20.0::DOUBLE",
    "reservation_reservation_a_r_n": "''",
    "reservation_effective_cost": "0.0::DOUBLE",
    "reservation_unused_amortized_upfront_fee_for_billing_period": "0.0::DOUBLE",
    "reservation_unused_recurring_fee": "0.0::DOUBLE",
    "savings_plan_savings_plan_a_r_n": "''",
    "savings_plan_savings_plan_effective_cost": "0.0::DOUBLE",
    "savings_plan_total_commitment_to_date": "0.0::DOUBLE",
    "savings_plan_used_commitment": "0.0::DOUBLE",
    "split_line_item_parent_resource_id": "''",
    "split_line_item_reserved_usage": "NULL::DOUBLE",
    "resource_tags": "MAP {'user_team': 'core'}",
}

RI, SP = "arn:aws:ec2:us-east-1:1:reserved-instances/r1", "arn:aws:savingsplans::1:savingsplan/s1"

Change = Mapping[str, str]


def quoted(text: str) -> str:
    return "'" + text + "'"


def parquet(path: Path, *changes: Change, line: Mapping[str, str] = LINE) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    names = list(dict.fromkeys((*line, *(name for change in changes for name in change))))
    selects = []
    for n, change in enumerate(changes):
        values = {"identity_line_item_id": f"'id-{n}'"} | dict(change)
        values = {**line, **values}
        selects.append("SELECT " + ", ".join(f'{values.get(name, "NULL")} AS "{name}"' for name in names))
    with duckdb.connect() as connection:
        connection.execute("SET TimeZone = 'UTC'")
        connection.execute(f"COPY ({' UNION ALL '.join(selects)}) TO '{path}' (FORMAT parquet)")
    return path


def of_november(**change: str) -> dict[str, str]:
    times = {
        "bill_billing_period_start_date": "TIMESTAMP '2026-11-01'",
        "line_item_usage_start_date": "TIMESTAMP '2026-11-02 00:00:00'",
        "line_item_usage_end_date": "TIMESTAMP '2026-11-02 01:00:00'",
    }
    return times | change


def manifest(path: Path, month: str, files: Sequence[str], columns: Sequence[str] = ()) -> Path:
    """As Data Exports writes it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    period = {"start": f"{month}-01T00:00:00.000Z", "end": "2026-12-01T00:00:00.000Z"}
    described = [{"name": name, "type": "string"} for name in columns]
    path.write_text(json.dumps({"executionId": "e", "billingPeriod": period, "dataFiles": list(files), "columns": described}))
    return path


def export(folder: Path, *changes: Change, month: str = "2026-10", name: str = "cur-00001.snappy.parquet") -> Path:
    """One month in the layout of Data Exports, overwritten."""
    root = folder / "export"
    parquet(root / f"data/BILLING_PERIOD={month}" / name, *(changes or ({},)))
    manifest(
        root / f"metadata/BILLING_PERIOD={month}/cur-Manifest.json",
        month,
        [f"s3://bucket/prefix/export/data/BILLING_PERIOD={month}/{name}"],
        list(LINE),
    )
    return root


def legacy_name(name: str) -> str:
    """The legacy CSV's name of a column: `lineItem/UsageType`."""
    for group, written in (
        ("line_item_", "lineItem"),
        ("savings_plan_", "savingsPlan"),
        ("split_line_item_", "splitLineItem"),
        ("identity_", "identity"),
        ("bill_", "bill"),
        ("product_", "product"),
        ("pricing_", "pricing"),
        ("reservation_", "reservation"),
    ):
        if name.startswith(group):
            return written + "/" + "".join(part.capitalize() for part in name.removeprefix(group).split("_"))
    raise AssertionError(name)


LEGACY = {
    "identity/LineItemId": "id",
    "bill/InvoiceId": "INV-1",
    "bill/BillingPeriodStartDate": "2026-10-01T00:00:00Z",
    "bill/PayerAccountId": "111111111111",
    "lineItem/UsageAccountId": "222222222222",
    "lineItem/LineItemType": "Usage",
    "lineItem/UsageStartDate": "2026-10-02T00:00:00Z",
    "lineItem/UsageEndDate": "2026-10-02T01:00:00Z",
    "lineItem/ProductCode": "AmazonEC2",
    "lineItem/UsageType": "BoxUsage:p5.48xlarge",
    "lineItem/ResourceId": "i-0a",
    "lineItem/UsageAmount": "1.0000000000",
    "lineItem/CurrencyCode": "USD",
    "lineItem/UnblendedCost": "10.0000000000",
    "product/ProductName": "Amazon Elastic Compute Cloud",
    "pricing/publicOnDemandCost": "20.0000000000",
    "resourceTags/user:Team": "core",
}


def legacy_text(*changes: Mapping[str, str]) -> str:
    out = io.StringIO()
    writer = csv.DictWriter(
        out, list(dict.fromkeys((*LEGACY, *(k for c in changes for k in c)))), lineterminator="\n", restval=""
    )
    writer.writeheader()
    writer.writerows({**LEGACY, **change} for change in changes)
    return out.getvalue()


def legacy_manifest(path: Path, month: str, keys: Sequence[str], assembly: str = "a1") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    year, number = month.split("-")
    tree = {
        "assemblyId": assembly,
        "reportName": "report",
        "billingPeriod": {"start": f"{year}{number}01T000000.000Z", "end": "20261201T000000.000Z"},
        "reportKeys": list(keys),
        "columns": [{"category": n.split("/")[0], "name": n.split("/")[1]} for n in LEGACY],
    }
    path.write_text(json.dumps(tree))
    return path


@contextmanager
def readable_errors() -> Iterator[None]:
    try:
        yield
    except duckdb.Error as error:
        raise bad_record(error) or error from error


def rows_of(delivery: Delivery, columns: Sequence[str], order: str = "ALL") -> list[tuple[Any, ...]]:
    assert callable(delivery.rows)
    with readable_errors():
        return delivery.rows().query("rows", f"SELECT {', '.join(columns)} FROM rows ORDER BY {order}").fetchall()  # type: ignore[attr-defined,no-any-return]


@contextmanager
def collecting(path: Path | Location, window: Window, **options: Any) -> Iterator[Iterator[Delivery]]:
    deliveries = AwsCur(Location(path), **options).collect(window)
    assert isinstance(deliveries, Generator)
    with closing(deliveries):
        yield deliveries


def collect(
    path: Path | Location, *columns: str, window: Window = OCTOBER, table: str = "charges", **options: Any
) -> list[tuple[Any, ...]]:
    with collecting(path, window, **options) as deliveries:
        return [row for d in deliveries if d.table == table for row in rows_of(d, columns)]


def one(path: Path, *columns: str, **options: Any) -> tuple[Any, ...]:
    (row,) = collect(path, *columns, **options)
    return row


def notes(path: Path | Location, window: Window = OCTOBER, **options: Any) -> list[tuple[str, str, str, int]]:
    found: list[tuple[str, str, str, int]] = []
    with collecting(path, window, **options) as deliveries:
        for delivery in deliveries:
            if delivery.table == "charges":
                rows_of(delivery, ["count(*)"])
                found += delivery.notes
    return found


def sums(path: Path | Location, **options: Any) -> tuple[int, int]:
    rows = collect(path, "billed_cost_nanos", "effective_cost_nanos", "hash(COLUMNS(*))", **options)
    return sum(int(r[0]) for r in rows), sum(int(r[1]) for r in rows)


def money(*amounts: float | str) -> tuple[int, ...]:
    return tuple(int(Decimal(str(a)) * NANOS) for a in amounts)


MONEY = ("CAST(billed_cost_nanos AS BIGINT)", "CAST(effective_cost_nanos AS BIGINT)")


# --- the real bill ----------------------------------------------------------------------------------------------------


def months_2018(*months: int) -> Window:
    return Window(datetime(2018, months[0], 1, tzinfo=UTC), datetime(2018, months[-1] + 1, 1, tzinfo=UTC))


def test_both_real_months_have_their_unblended_totals_from_one_configuration() -> None:
    found = {}
    with collecting(WORKSHOP, months_2018(10, 11)) as deliveries:
        for delivery in (d for d in deliveries if d.table == "charges"):
            ((rows, billed),) = rows_of(delivery, ["count(*)", "CAST(sum(billed_cost_nanos) AS BIGINT)"])
            found[delivery.scope["billing_period"]] = rows, (Decimal(billed) / NANOS).quantize(Decimal("0.01"))
    assert found == {"2018-10": (119_307, Decimal("4064.48")), "2018-11": (124_340, Decimal("3505.33"))}


def test_every_real_cost_is_its_decimal_text_rounded_half_to_even() -> None:
    month = WORKSHOP / "Oct2018-WorkshopCUR-00001.snappy.parquet"
    found = collect(month, "origin_row", "billed_cost_nanos", window=months_2018(10))
    with duckdb.connect() as connection:
        texts = connection.execute(
            "SELECT file_row_number + 1, CAST(line_item_unblended_cost AS VARCHAR) "
            f"FROM read_parquet('{month}', file_row_number = true)"
        ).fetchall()
    expected = {row: int((Decimal(text) * NANOS).to_integral_value("ROUND_HALF_EVEN")) for row, text in texts}
    assert dict(found) == expected


def test_the_drift_between_the_real_months_is_said() -> None:
    drift = [n for n in notes(WORKSHOP, months_2018(11)) if n[0] == "schema_drift"]
    assert drift == [
        ("schema_drift", "2018-11", "compared with 2018-10: added product_category, resource_tags_user_tag21_nov; gone none", 2)
    ]


def test_what_rounding_took_of_the_real_bill_is_exact() -> None:
    (rounding,) = [n for n in notes(WORKSHOP, months_2018(10)) if n[0] == "rounding"]
    with duckdb.connect() as connection:
        texts = connection.execute(
            f"SELECT CAST(line_item_unblended_cost AS VARCHAR) FROM '{WORKSHOP}/Oct2018-WorkshopCUR-00001.snappy.parquet'"
        ).fetchall()
    costs = [Decimal(text) for (text,) in texts]
    rest = sum((c - c.quantize(Decimal("1e-9"), "ROUND_HALF_EVEN") for c in costs), Decimal(0))
    assert rest != 0
    assert Decimal(rounding[2].split("billed ")[1].split(",")[0]) == rest


def test_the_real_month_closes_in_the_ledger(tmp_path: Path) -> None:
    loaded = lab(tmp_path, f'[collectors.aws_cur]\npath = "{WORKSHOP}"\n')
    outcome = Pipeline(loaded, clock=lambda: datetime(2019, 1, 5, tzinfo=UTC).timestamp()).run(parse_period("2018-10"))
    assert not outcome.failures
    (breakdown,) = outcome.breakdowns
    assert breakdown.billed_total.quantize(Decimal("0.01")) == Decimal("4064.48")
    assert all(c.charges == c.attributed and c.billed_charges == c.billed_attributed for c in breakdown.closings)
    bill_idle = {line.name: line.cost for line in breakdown.buckets}["bill_idle"]
    # Three of the nine reservations have an unused part in October.
    assert bill_idle == Decimal("22.3369863") + Decimal("22.32") + Decimal("0.38179539") + Decimal("3.9567791")


def lab(folder: Path, collectors: str) -> configuration.Config:
    file = folder / "rdspend.toml"
    file.write_text(f'ledger = "ledger"\n{collectors}\n[collect]\nretries = 0\n')
    return configuration.load(file)


# --- amortised --------------------------------------------------------------------------------------------------------


def test_usage_covered_by_a_savings_plan_carries_its_share_and_the_negation_nothing(tmp_path: Path) -> None:
    path = export(
        tmp_path,
        {
            "line_item_line_item_type": "'SavingsPlanCoveredUsage'",
            "savings_plan_savings_plan_a_r_n": quoted(SP),
            "savings_plan_savings_plan_effective_cost": "6.25::DOUBLE",
        },
        {
            "line_item_line_item_type": "'SavingsPlanNegation'",
            "savings_plan_savings_plan_a_r_n": quoted(SP),
            "line_item_unblended_cost": "-10.0::DOUBLE",
            "line_item_resource_id": "''",
        },
        {
            "line_item_line_item_type": "'SavingsPlanRecurringFee'",
            "savings_plan_savings_plan_a_r_n": quoted(SP),
            "line_item_unblended_cost": "8.0::DOUBLE",
            "savings_plan_total_commitment_to_date": "8.0::DOUBLE",
            "savings_plan_used_commitment": "6.25::DOUBLE",
            "line_item_resource_id": "''",
        },
        {
            "line_item_line_item_type": "'SavingsPlanUpfrontFee'",
            "savings_plan_savings_plan_a_r_n": quoted(SP),
            "line_item_unblended_cost": "1000.0::DOUBLE",
        },
        {
            "line_item_line_item_type": "'Refund'",
            "line_item_product_code": "'ComputeSavingsPlans'",
            "line_item_unblended_cost": "-5.0::DOUBLE",
        },
    )
    found = {r[0]: r[1:] for r in collect(path, "line_type", *MONEY, "commitment_discount_status", "charge_category")}
    assert found == {
        "SavingsPlanCoveredUsage": (*money(10, 6.25), "Used", "Usage"),
        "SavingsPlanNegation": (*money(-10, 0), "Used", "Adjustment"),
        "SavingsPlanRecurringFee": (*money(8, 1.75), "Unused", "Purchase"),
        "SavingsPlanUpfrontFee": (*money(1000, 0), None, "Purchase"),
        "Refund": (*money(-5, 0), None, "Credit"),
    }
    assert sum(v[0] for v in found.values()) == 1003 * NANOS


def test_a_reservation_is_its_used_hours_and_its_unused_rest(tmp_path: Path) -> None:
    path = export(
        tmp_path,
        {
            "line_item_line_item_type": "'DiscountedUsage'",
            "line_item_unblended_cost": "0.0::DOUBLE",
            "reservation_reservation_a_r_n": quoted(RI),
            "reservation_effective_cost": "3.125::DOUBLE",
        },
        {
            "line_item_line_item_type": "'RIFee'",
            "line_item_unblended_cost": "5.0::DOUBLE",
            "line_item_resource_id": "''",
            "reservation_reservation_a_r_n": quoted(RI),
            "reservation_unused_amortized_upfront_fee_for_billing_period": "0.75::DOUBLE",
            "reservation_unused_recurring_fee": "1.5::DOUBLE",
        },
        {
            "line_item_line_item_type": "'Fee'",
            "line_item_unblended_cost": "300.0::DOUBLE",
            "reservation_reservation_a_r_n": quoted(RI),
        },
        {
            "line_item_line_item_type": "'Fee'",
            "line_item_unblended_cost": "7.0::DOUBLE",
            "line_item_product_code": "'AWSSupportBusiness'",
        },
    )
    found = collect(path, "line_type", *MONEY, "commitment_discount_status", "resource_id", "commitment_discount_id")
    assert found == [
        ("DiscountedUsage", *money(0, 3.125), "Used", "i-0a", RI),
        ("Fee", *money(7, 7), None, "i-0a", None),
        ("Fee", *money(300, 0), None, "i-0a", RI),
        ("RIFee", *money(5, 2.25), "Unused", RI, RI),
    ]


def test_net_twins_count_where_the_bill_has_them_and_only_there(tmp_path: Path) -> None:
    net = {"line_item_net_unblended_cost": "9.0::DOUBLE"}
    path = export(
        tmp_path,
        net,
        {"line_item_net_unblended_cost": "NULL::DOUBLE"},
        net
        | {
            "line_item_line_item_type": "'SavingsPlanCoveredUsage'",
            "savings_plan_savings_plan_effective_cost": "6.0::DOUBLE",
            "savings_plan_net_savings_plan_effective_cost": "5.5::DOUBLE",
        },
        net
        | {
            "line_item_line_item_type": "'RIFee'",
            "reservation_unused_recurring_fee": "2.0::DOUBLE",
            "reservation_net_unused_recurring_fee": "1.0::DOUBLE",
            "reservation_unused_amortized_upfront_fee_for_billing_period": "0.5::DOUBLE",
        },
        net
        | {
            "line_item_line_item_type": "'DiscountedUsage'",
            "reservation_effective_cost": "4.0::DOUBLE",
            "reservation_net_effective_cost": "3.0::DOUBLE",
        },
    )
    assert collect(path, "origin_row", *MONEY) == [
        (1, *money(9, 9)),
        (2, *money(10, 10)),
        (3, *money(9, 5.5)),
        (4, *money(9, 1.5)),
        (5, *money(9, 3)),
    ]


def discount(unblended: str, net: str = "NULL") -> dict[str, str]:
    return {
        "line_item_line_item_type": "'EdpDiscount'",
        "line_item_unblended_cost": f"{unblended}::DOUBLE",
        "line_item_net_unblended_cost": f"{net}::DOUBLE",
    }


def test_a_discount_that_net_costs_have_taken_off_is_not_taken_off_again(tmp_path: Path) -> None:
    net = {"line_item_net_unblended_cost": "9.0::DOUBLE"}
    path = export(tmp_path, net, net, discount("-2.0"), discount("-0.0000000001"), discount("-1.0", "0"))
    assert sums(path) == money(18, 18)
    found = {n[2].split(":")[0]: (n[2].split("(")[1], n[3]) for n in notes(path) if n[0] == "discount_beside_net"}
    assert found == {
        "they repeat what the net costs of other lines have taken off": ("-2.000000000 USD unblended)", 2),
        "they have net costs of their own beside those of other lines, which count": ("-1.000000000 USD unblended)", 1),
    }
    assert "rounding" not in [n[0] for n in notes(path)]


def test_a_discount_counts_where_nothing_else_has_a_net_cost(tmp_path: Path) -> None:
    path = export(tmp_path, {}, discount("-2.0"))
    assert sums(path) == money(8, 8)
    assert "discount_beside_net" not in [n[0] for n in notes(path)]


def test_a_discount_in_a_file_without_net_costs_is_known_by_those_of_the_other_files(tmp_path: Path) -> None:
    path = export(tmp_path, {"line_item_line_item_type": "'EdpDiscount'", "line_item_unblended_cost": "-1.0::DOUBLE"})
    more = parquet(path / "data/BILLING_PERIOD=2026-10/cur-00002.parquet", {"line_item_net_unblended_cost": "9.0::DOUBLE"})
    keys = [f"s3://b/export/data/BILLING_PERIOD=2026-10/{n}" for n in ("cur-00001.snappy.parquet", more.name)]
    manifest(path / "metadata/BILLING_PERIOD=2026-10/cur-Manifest.json", "2026-10", keys)
    assert sums(path) == money(9, 9)


def test_taxes_credits_and_discounts_are_what_is_billed(tmp_path: Path) -> None:
    kinds = {"Tax": "Tax", "Credit": "Credit", "EdpDiscount": "Credit", "BundledDiscount": "Credit", "Refund": "Credit"}
    path = export(
        tmp_path, *({"line_item_line_item_type": quoted(k), "line_item_unblended_cost": "-3.0::DOUBLE"} for k in kinds)
    )
    found = collect(path, "line_type", "charge_category", *MONEY)
    assert found == [(kind, category, *money(-3, -3)) for kind, category in sorted(kinds.items())]


def test_covered_usage_without_an_effective_cost_is_what_is_billed_and_noted(tmp_path: Path) -> None:
    path = export(tmp_path, {"line_item_line_item_type": "'DiscountedUsage'", "reservation_effective_cost": "NULL::DOUBLE"})
    assert sums(path) == money(10, 10)
    assert ("no_effective_cost", 1) in [(n[0], n[3]) for n in notes(path)]


def test_an_export_without_the_columns_of_its_effective_cost_is_refused(tmp_path: Path) -> None:
    few = {k: v for k, v in LINE.items() if not k.startswith("savings_plan_savings_plan_eff")}
    path = parquet(tmp_path / "cur.parquet", {"line_item_line_item_type": "'SavingsPlanCoveredUsage'"}, line=few)
    with pytest.raises(BadRecord, match=r"SavingsPlanCoveredUsage.*the columns of its effective cost"):
        sums(path)


def test_a_kind_of_line_nobody_knows_is_billed_and_noted(tmp_path: Path) -> None:
    path = export(tmp_path, {"line_item_line_item_type": "'NewKind'"}, {"line_item_product_code": "'AmazonNew'"})
    assert sums(path) == money(20, 20)
    assert {("unknown_line_type", "NewKind", 1), ("unknown_service", "AmazonNew", 1)} <= {
        (n[0], n[1], n[3]) for n in notes(path)
    }
    assert ("Adjustment",) in collect(path, "charge_category")


def test_unused_on_demand_reservations_are_idle_by_the_bill(tmp_path: Path) -> None:
    arn = "arn:aws:ec2:us-east-1:1:capacity-reservation/cr-0abcdef012345678"
    path = export(
        tmp_path,
        {"line_item_usage_type": "'USE1-UnusedBox:p5.48xlarge'", "line_item_resource_id": quoted(arn)},
        {
            "line_item_usage_type": "'Reservation:p5.48xlarge'",
            "line_item_resource_id": quoted(arn),
            "line_item_unblended_cost": "0.0::DOUBLE",
        },
        {
            "capacity_reservation_capacity_reservation_arn": quoted(arn),
            "capacity_reservation_capacity_reservation_status": "'Used'",
        },
        {
            "capacity_reservation_capacity_reservation_arn": quoted(arn),
            "capacity_reservation_capacity_reservation_status": "'Unused'",
        },
    )
    found = collect(path, "origin_row", "capacity_reservation_id", "capacity_reservation_status")
    assert found == [(1, arn, "Unused"), (2, arn, None), (3, arn, "Used"), (4, arn, "Unused")]


# --- layouts ----------------------------------------------------------------------------------------------------------


def test_the_manifest_names_the_files_and_a_stray_one_is_left_out(tmp_path: Path) -> None:
    path = export(tmp_path)
    stray = parquet(path / "data/BILLING_PERIOD=2026-10/old-00001.snappy.parquet", {}, {})
    assert sums(path) == money(10, 10)
    assert ("not_in_manifest", str(stray), "no manifest names it: left out", 1) in notes(path)


def test_a_file_that_the_manifest_names_and_is_not_there_keeps_the_month_open(tmp_path: Path) -> None:
    path = export(tmp_path)
    (path / "data/BILLING_PERIOD=2026-10/cur-00001.snappy.parquet").rename(tmp_path / "elsewhere.parquet")
    parquet(path / "data/BILLING_PERIOD=2026-10/other.parquet", {})
    with pytest.raises(SourceUnavailable, match=r"Manifest.json: names s3://.*cur-00001.* half-written"):
        collect(path, "1")


def test_files_of_a_month_without_its_manifest_are_a_delivery_half_written(tmp_path: Path) -> None:
    path = export(tmp_path)
    export(tmp_path, of_november(), month="2026-11")
    (path / "metadata/BILLING_PERIOD=2026-11/cur-Manifest.json").unlink()
    assert sums(path) == money(10, 10)
    with pytest.raises(SourceUnavailable, match="the manifest of 2026-11 is not there yet"):
        collect(path, "1", window=NOVEMBER)


def test_a_manifest_cut_short_is_a_delivery_half_written(tmp_path: Path) -> None:
    path = export(tmp_path)
    found = path / "metadata/BILLING_PERIOD=2026-10/cur-Manifest.json"
    found.write_text(found.read_text()[:40])
    with pytest.raises(SourceUnavailable, match="not a whole manifest"):
        collect(path, "1")


def test_a_file_newer_than_its_manifest_is_noted_in_a_folder(tmp_path: Path) -> None:
    path = export(tmp_path)
    named = path / "metadata/BILLING_PERIOD=2026-10/cur-Manifest.json"
    file = path / "data/BILLING_PERIOD=2026-10/cur-00001.snappy.parquet"
    assert "newer_than_manifest" not in [n[0] for n in notes(path)]
    later = named.stat().st_mtime + 60
    os.utime(file, (later, later))
    assert ("newer_than_manifest", str(file), 1) in [(n[0], n[1], n[3]) for n in notes(path)]


def test_a_hole_between_two_months_is_not_an_empty_month(tmp_path: Path) -> None:
    path = export(tmp_path, {"bill_billing_period_start_date": "TIMESTAMP '2026-09-01'"}, month="2026-09")
    export(tmp_path, of_november(), month="2026-11")
    with pytest.raises(SourceUnavailable, match="months before and after 2026-10"):
        collect(path, "1")
    after = Window(datetime(2026, 12, 1, tzinfo=UTC), datetime(2027, 1, 1, tzinfo=UTC))
    assert collect(path, "1", window=after) == []


def test_of_kept_executions_the_newest_counts(tmp_path: Path) -> None:
    root = tmp_path / "export"
    for began, lines in (
        ("2026-10-03T01:00:00.000Z-e1", 1),
        ("2026-10-04T01:00:00.000Z-e2", 3),
        ("2026-10-03T09:00:00.000Z-e3", 2),
    ):
        parquet(root / f"data/BILLING_PERIOD=2026-10/{began}/cur-00001.parquet", *([{}] * lines))
        key = f"s3://bucket/prefix/export/data/BILLING_PERIOD=2026-10/{began}/cur-00001.parquet"
        manifest(root / f"metadata/BILLING_PERIOD=2026-10/{began}/cur-Manifest.json", "2026-10", [key])
    assert len(collect(root, "1")) == 3
    assert not [n for n in notes(root) if n[0] == "not_in_manifest"]


@pytest.mark.parametrize("packed", [".csv", ".csv.gz", ".csv.zip"])
@pytest.mark.parametrize("assembly", ["", "0a1b-assembly/"])
def test_the_legacy_report_in_its_folders(tmp_path: Path, packed: str, assembly: str) -> None:
    folder = tmp_path / "prefix/report/20261001-20261101"
    file = folder / f"{assembly}report-00001{packed}"
    file.parent.mkdir(parents=True)
    text = legacy_text({}, {"lineItem/UnblendedCost": "0.12345678901234"})
    if packed.endswith("gz"):
        file.write_bytes(gzip.compress(text.encode()))
    elif packed.endswith("zip"):
        with zipfile.ZipFile(file, "w") as archive:
            archive.writestr("report-00001.csv", text)
    else:
        file.write_text(text)
    key = f"prefix/report/20261001-20261101/{assembly}report-00001{packed}"
    legacy_manifest(folder / "report-Manifest.json", "2026-10", [key])
    if assembly:
        legacy_manifest(folder / f"{assembly}report-Manifest.json", "2026-10", [key])
    (folder / "report-RedshiftManifest.json").write_text("{}")
    columns = ("origin_row", *MONEY, "resource_id", "service_name", "tags['user:Team']", "charge_category")
    words = ("i-0a", "Amazon Elastic Compute Cloud", "core", "Usage")
    assert collect(tmp_path / "prefix", *columns) == [(1, *money(10, 10), *words), (2, 123_456_789, 123_456_789, *words)]


def test_the_legacy_parquet_lies_beside_the_folder_of_its_manifest(tmp_path: Path) -> None:
    root = tmp_path / "report"
    parquet(root / "report/year=2026/month=10/report-00001.snappy.parquet", {})
    key = "prefix/report/report/year=2026/month=10/report-00001.snappy.parquet"
    legacy_manifest(root / "20261001-20261101/report-Manifest.json", "2026-10", [key])
    assert sums(root) == money(10, 10)


def test_a_folder_without_a_manifest_is_taken_as_it_lies_and_said_to_be_so(tmp_path: Path) -> None:
    parquet(tmp_path / "a.parquet", {}, of_november())
    assert sums(tmp_path) == money(10, 10)
    assert sums(tmp_path, window=NOVEMBER) == money(10, 10)
    assert [n[0] for n in notes(tmp_path)].count("no_manifest") == 1


def test_a_month_without_lines_has_no_jobs_either(tmp_path: Path) -> None:
    parquet(tmp_path / "a.parquet", {})
    for table in ("charges", "jobs", "nodes", "placements"):
        assert collect(tmp_path, "1", window=NOVEMBER, table=table, pods=("ml-prod",), capacity_block=(BLOCK,)) == []


def test_the_names_of_the_legacy_csv_become_those_of_cur_2() -> None:
    assert snake("lineItem/UsageStartDate") == "line_item_usage_start_date"
    assert snake("reservation/ReservationARN") == "reservation_reservation_a_r_n"
    assert snake("savingsPlan/NetSavingsPlanEffectiveCost") == "savings_plan_net_savings_plan_effective_cost"
    assert snake("product/regionCode") == "product_region_code"
    assert snake("resourceTags/user:Team") == "resource_tags_user:Team"


# --- what is wrong in a bill ------------------------------------------------------------------------------------------


def test_a_line_of_another_month_in_the_files_of_a_manifest_is_refused(tmp_path: Path) -> None:
    path = export(tmp_path, {}, of_november())
    with pytest.raises(BadRecord, match=r"cur-00001.*row 2: bill_billing_period_start_date: found '2026-11-01.*of 2026-10"):
        sums(path)


def test_a_month_in_two_formats_is_refused_with_both_names(tmp_path: Path) -> None:
    parquet(tmp_path / "a.parquet", {})
    (tmp_path / "b.csv").write_text(legacy_text({}))
    with pytest.raises(BadRecord, match=r"a\.parquet.*2026-10 is there as Parquet and as CSV \(.*b\.csv\)"):
        sums(tmp_path)


def test_a_month_of_two_exports_is_refused_with_both_names(tmp_path: Path) -> None:
    export(tmp_path / "one")
    export(tmp_path / "two")
    with pytest.raises(BadRecord, match=r"one/export.*2026-10 is there twice.*two/export"):
        sums(tmp_path)


def test_a_file_that_is_named_twice_or_delivered_twice_is_refused(tmp_path: Path) -> None:
    path = export(tmp_path)
    key = "s3://bucket/prefix/export/data/BILLING_PERIOD=2026-10/cur-00001.snappy.parquet"
    manifest(path / "metadata/BILLING_PERIOD=2026-10/cur-Manifest.json", "2026-10", [key, key])
    with pytest.raises(BadRecord, match=r"names s3://.* twice"):
        sums(path)
    (path / "data/BILLING_PERIOD=2026-10/cur-00002.snappy.parquet").write_bytes(
        (path / "data/BILLING_PERIOD=2026-10/cur-00001.snappy.parquet").read_bytes()
    )
    manifest(path / "metadata/BILLING_PERIOD=2026-10/cur-Manifest.json", "2026-10", [key, key.replace("00001", "00002")])
    with pytest.raises(BadRecord, match="same content"):
        sums(path)


def test_columns_that_differ_between_files_of_a_month_are_read_and_said(tmp_path: Path) -> None:
    path = export(tmp_path)
    more = parquet(path / "data/BILLING_PERIOD=2026-10/cur-00002.parquet", {"line_item_net_unblended_cost": "9.0::DOUBLE"})
    keys = [f"s3://b/export/data/BILLING_PERIOD=2026-10/{n}" for n in ("cur-00001.snappy.parquet", more.name)]
    manifest(path / "metadata/BILLING_PERIOD=2026-10/cur-Manifest.json", "2026-10", keys)
    assert sums(path) == money(19, 19)
    drift = [n for n in notes(path) if n[0] == "schema_drift"]
    assert [(Path(n[1]).name, n[2], n[3]) for n in drift] == [
        ("cur-00001.snappy.parquet", "other files of 2026-10 also have line_item_net_unblended_cost", 1)
    ]


def test_columns_that_a_manifest_adds_to_those_of_the_month_before_are_said(tmp_path: Path) -> None:
    export(tmp_path)
    path = export(tmp_path, of_november(line_item_net_unblended_cost="9.0::DOUBLE"), month="2026-11")
    drift = [n for n in notes(path, NOVEMBER) if n[0] == "schema_drift"]
    assert [n[2] for n in drift] == ["compared with 2026-10: added line_item_net_unblended_cost; gone none"]


def test_ids_that_repeat_are_no_mistake_and_equal_lines_are_kept_and_counted(tmp_path: Path) -> None:
    same = {"identity_line_item_id": "'same'"}
    path = export(tmp_path, same, same | {"identity_time_interval": "'other'"})
    assert sums(path) == money(20, 20)
    assert "equal_lines" not in [n[0] for n in notes(path)]
    path = export(tmp_path, same, same, same)
    assert sums(path) == money(30, 30)
    assert ("equal_lines", 2) in [(n[0], n[3]) for n in notes(path)]


def test_negative_usage_and_zero_costs_are_kept(tmp_path: Path) -> None:
    path = export(
        tmp_path,
        {"line_item_usage_amount": "-4.0::DOUBLE", "line_item_unblended_cost": "-2.5::DOUBLE"},
        {"line_item_unblended_cost": "0.0::DOUBLE"},
    )
    assert collect(path, "consumed_quantity", *MONEY) == [(-4.0, *money(-2.5, -2.5)), (1.0, *money(0, 0))]


def test_tag_keys_that_differ_by_case_are_kept_apart_and_said(tmp_path: Path) -> None:
    path = export(tmp_path, {"resource_tags": "MAP {'user_Team': 'a', 'user_team': 'b'}"}, {"resource_tags": "MAP {}"})
    assert ("{user_Team=a, user_team=b}",) in collect(path, "CAST(tags AS VARCHAR)")
    assert ("tag_case", "user_Team", "also spelled user_team: kept apart", 2) in notes(path)
    (tmp_path / "csv").mkdir()
    (tmp_path / "csv/a.csv").write_text(legacy_text({"resourceTags/user:team": "x"}))
    assert [n[0] for n in notes(tmp_path / "csv")].count("tag_case") == 1
    assert one(tmp_path / "csv", "len(map_keys(tags))") == (2,)


@pytest.mark.parametrize("kind", ["DOUBLE", "DECIMAL(28, 14)", "VARCHAR"])
def test_costs_with_fourteen_decimals_are_exact_and_rounded_half_to_even(tmp_path: Path, kind: str) -> None:
    expected = {
        "0.00000000050000": 0,
        "0.00000000150000": 2,
        "0.00000000050001": 1,
        "-0.00000000150000": -2,
        "12.34567890123456": 12_345_678_901,
        "4321.0000000025": 4_321_000_000_002,
        "999.9999999995": 1_000_000_000_000,
        "0.99999999999999": 1_000_000_000,
        "0": 0,
    }
    path = export(tmp_path, *({"line_item_unblended_cost": f"CAST('{text}' AS {kind})"} for text in expected))
    found = collect(path, "origin_row", *MONEY)
    assert found == [(n, nanos, nanos) for n, nanos in enumerate(expected.values(), 1)]
    rests = [Decimal(text) - Decimal(nanos) / NANOS for text, nanos in expected.items()]
    (said,) = [n for n in notes(path) if n[0] == "rounding"]
    assert Decimal(said[2].split("effective ")[1]) == sum(rests)
    assert said[3] == sum(rest != 0 for rest in rests)


@pytest.mark.parametrize("cost", ["'NaN'::DOUBLE", "'inf'::DOUBLE", "'ten'", "1e12::DOUBLE", "NULL::DOUBLE"])
def test_a_cost_that_is_no_amount_is_refused_with_its_row(tmp_path: Path, cost: str) -> None:
    path = (
        export(tmp_path, {}, {"line_item_unblended_cost": cost})
        if "'ten'" not in cost
        else export(tmp_path, {"line_item_unblended_cost": cost})
    )
    with pytest.raises(BadRecord, match=r"row [12]: line_item_unblended_cost"):
        sums(path)


def test_a_bill_in_another_currency_beside_the_original_keeps_both(tmp_path: Path) -> None:
    path = export(tmp_path, {}, {"line_item_currency_code": "'EUR'"})
    assert collect(path, "billing_currency", MONEY[0]) == [("EUR", *money(10)), ("USD", *money(10))]
    with pytest.raises(BadRecord, match="ISO 4217"):
        sums(export(tmp_path, {"line_item_currency_code": "''"}))


def test_something_else_than_a_bill_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("x,y\n1,2\n")
    with pytest.raises(BadRecord, match="no column line_item_line_item_type"):
        sums(tmp_path)
    with pytest.raises(SourceUnavailable, match="no bill found"):
        sums(tmp_path / "nothing")


def test_a_file_cut_short_is_refused(tmp_path: Path) -> None:
    path = export(tmp_path)
    file = path / "data/BILLING_PERIOD=2026-10/cur-00001.snappy.parquet"
    file.write_bytes(file.read_bytes()[:-20])
    with pytest.raises(BadRecord, match="can't be read"):
        sums(path)
    broken = tmp_path / "zip/a.csv.zip"
    broken.parent.mkdir()
    broken.write_bytes(b"PK\x03\x04 not a zip")
    with pytest.raises(BadRecord, match="not a whole zip"):
        sums(broken.parent)


# --- not read again ---------------------------------------------------------------------------------------------------


def keys(path: Path | Location, window: Window = OCTOBER, **options: Any) -> list[str | None]:
    with collecting(path, window, **options) as deliveries:
        return [d.key for d in deliveries if d.table == "charges"]


def test_the_key_changes_with_manifest_files_and_configuration_and_nothing_else(tmp_path: Path) -> None:
    path = export(tmp_path)
    first = keys(path)
    assert keys(path) == first
    found = path / "metadata/BILLING_PERIOD=2026-10/cur-Manifest.json"
    found.write_text(found.read_text().replace('"e"', '"f"'))
    second = keys(path)
    assert second != first
    assert keys(path, bedrock="") != second
    export(tmp_path, {"line_item_unblended_cost": "11.0::DOUBLE"})
    assert keys(path) not in (first, second)


def test_a_month_that_did_not_change_is_not_read_again_and_a_restated_one_replaces_it(tmp_path: Path) -> None:
    path = export(tmp_path)
    loaded = lab(tmp_path, f'[collectors.aws_cur]\npath = "{path}"\n')
    file = path / "data/BILLING_PERIOD=2026-10/cur-00001.snappy.parquet"

    def run() -> tuple[Decimal, list[Any]]:
        outcome = Pipeline(loaded, clock=lambda: datetime(2026, 12, 5, tzinfo=UTC).timestamp()).run(parse_period("2026-10"))
        totals = [b.billed_total for b in outcome.breakdowns]
        return totals[0] if totals else Decimal(-1), [str(f.error) for f in outcome.failures]

    assert run() == (Decimal(10), [])
    stat = file.stat()
    file.write_bytes(b"x" * stat.st_size)
    os.utime(file, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    assert run() == (Decimal(10), [])  # what it can't read it was never asked for
    export(tmp_path, {}, {})
    assert run() == (Decimal(20), [])


# --- split cost rows --------------------------------------------------------------------------------------------------

POD = "arn:aws:eks:us-east-1:222222222222:pod/ml-prod/research/train-0/11111111-2222"


def pod_rows(pod: str = POD, *, gpus: str = "4.0", hour: int = 0, node: str = "i-0a") -> list[dict[str, str]]:
    shared = {
        "line_item_operation": "'EKSPod-EC2'",
        "line_item_resource_id": quoted(pod),
        "line_item_product_code": "'AmazonEKS'",
        "split_line_item_parent_resource_id": quoted(node),
        "split_line_item_split_cost": "5.0::DOUBLE",
        "line_item_usage_start_date": f"TIMESTAMP '2026-10-02 {hour:02d}:00:00'",
        "line_item_usage_end_date": f"TIMESTAMP '2026-10-02 {hour + 1:02d}:00:00'",
        "resource_tags": "MAP {'aws_eks_workload_name': 'train'}",
    }
    kinds = {"vCPU": "48.0", "GB": "512.0", "Accelerator": gpus}
    return [
        shared | {"line_item_usage_type": f"'USE1-EKS-EC2-{kind}-Hours'", "split_line_item_reserved_usage": f"{held}::DOUBLE"}
        for kind, held in kinds.items()
    ]


def test_split_cost_rows_never_add_money(tmp_path: Path) -> None:
    lines = [{}, {"line_item_product_code": "'AmazonS3'", "line_item_unblended_cost": "1.5::DOUBLE"}]
    without = sums(export(tmp_path / "without", *lines))
    path = export(tmp_path / "with", *lines, *pod_rows(), *pod_rows(POD.replace("train-0/11", "train-1/22")))
    assert sums(path) == without == money(11.5, 11.5)
    assert ("split_cost_rows", "charges", "they repeat the money of instances: left out of the charges", 6) in notes(path)


def test_rows_of_fargate_are_the_bill_itself(tmp_path: Path) -> None:
    fargate = {
        "line_item_operation": "'FargateTask'",
        "line_item_product_code": "'AmazonECS'",
        "split_line_item_parent_resource_id": "'x'",
    }
    assert sums(export(tmp_path, {}, fargate)) == money(20, 20)
    ecs = {"line_item_operation": "'ECSTask-EC2'"}
    assert sums(export(tmp_path, {}, ecs)) == money(10, 10)


def test_pods_of_a_cluster_that_cannot_be_read_are_jobs_of_their_nodes(tmp_path: Path) -> None:
    other = POD.replace("train-0/11", "eval-1/22")
    path = export(tmp_path, {}, *pod_rows(), *pod_rows(hour=1), *pod_rows(hour=3, gpus="2.0"), *pod_rows(other, gpus="1.0"))
    pods: dict[str, Any] = {"pods": ("ml-prod",)}
    assert collect(path, "node", "resource_id", f"gpu_parts / {GPU_PARTS}", "gpu_type", "cpus", table="nodes", **pods) == [
        ("i-0a", "i-0a", 8.0, "H100", 192)
    ]
    with collecting(path, OCTOBER, **pods) as deliveries:
        jobs = [
            row
            for d in deliveries
            if d.table == "jobs" and d.scope["cluster"] == "ml-prod"
            for row in rows_of(
                d, ["name", "project", f"gpu_parts / {GPU_PARTS}", "cpus", "memory_mib", "CAST(labels AS VARCHAR)"]
            )
        ]
    labels = "{{aws_eks_workload_name=train, namespace=research, pod={}}}"
    assert jobs == [
        ("eval-1", "research", 1.0, 48, 512 * 1024, labels.format("eval-1")),
        ("train-0", "research", 4.0, 48, 512 * 1024, labels.format("train-0")),
    ]
    times = ("strftime(timezone('UTC', start_time), '%H')", "strftime(timezone('UTC', end_time), '%H')")
    assert collect(path, "node", *times, f"gpu_parts / {GPU_PARTS}", table="placements", **pods) == [
        ("i-0a", "00", "01", 1.0),
        ("i-0a", "00", "02", 4.0),
        ("i-0a", "03", "04", 2.0),
    ]


def test_pods_take_their_part_of_their_instance_and_idle_the_rest(tmp_path: Path) -> None:
    path = export(
        tmp_path,
        {"line_item_unblended_cost": "80.0::DOUBLE"},
        *pod_rows(),
        *pod_rows(POD.replace("train-0/11", "e/22"), gpus="1.0"),
    )
    loaded = lab(tmp_path, f'[collectors.aws_cur]\npath = "{path}"\npods = ["ml-prod"]\n')
    outcome = Pipeline(loaded, clock=lambda: datetime(2026, 12, 5, tzinfo=UTC).timestamp()).run(parse_period("2026-10"))
    assert not outcome.failures
    (breakdown,) = outcome.breakdowns
    assert {job.name: job.cost for job in breakdown.top_jobs} == {"train-0": Decimal(40), "e": Decimal(10)}
    assert {line.name: line.cost for line in breakdown.buckets}["idle"] == Decimal(30)


# --- SageMaker and Bedrock --------------------------------------------------------------------------------------------

JOB = "arn:aws:sagemaker:us-east-1:222222222222:training-job/big-run"


def test_a_training_job_takes_the_lines_that_name_it(tmp_path: Path) -> None:
    line = {
        "line_item_product_code": "'AmazonSageMaker'",
        "line_item_usage_type": "'USE1-Train:ml.p5.48xlarge'",
        "line_item_resource_id": quoted(JOB),
        "line_item_usage_amount": "2.0::DOUBLE",
    }
    hyperpod = line | {
        "line_item_usage_type": "'USE1-Cluster:ml.p5.48xlarge'",
        "line_item_resource_id": quoted(JOB.replace("training-job", "cluster")),
    }
    path = export(tmp_path, line, hyperpod)
    columns = ("resource_id", "name", "account", f"gpu_parts / {GPU_PARTS}", "gpu_type", "node_count")
    assert collect(path, *columns, table="jobs", bedrock="") == [(JOB, "big-run", "222222222222", 16.0, "H100", 2)]
    loaded = lab(tmp_path, f'[collectors.aws_cur]\npath = "{path}"\n')
    (breakdown,) = (
        Pipeline(loaded, clock=lambda: datetime(2026, 12, 5, tzinfo=UTC).timestamp()).run(parse_period("2026-10")).breakdowns
    )
    assert [(job.name, job.cost) for job in breakdown.top_jobs] == [("big-run", Decimal(10))]
    assert {line.name: line.cost for line in breakdown.buckets}["shared"] == Decimal(10)


def test_gpu_hours_of_training_jobs_are_said_to_be_left_out(tmp_path: Path) -> None:
    line = {
        "line_item_product_code": "'AmazonSageMaker'",
        "line_item_usage_type": "'USE1-Train:ml.p5.48xlarge'",
        "line_item_resource_id": quoted(JOB),
        "line_item_usage_amount": "2.5::DOUBLE",
    }
    volume = line | {"line_item_usage_type": "'USE1-Train:VolumeUsage.gp2'", "line_item_usage_amount": "5000.0::DOUBLE"}
    unheard = line | {"line_item_usage_type": "'USE1-Train:ml.p9.48xlarge'", "line_item_resource_id": quoted(JOB + "-2")}
    path = export(tmp_path, line, line, volume, unheard)
    found = {(n[0], n[1], n[3]): n[2] for n in notes(path)}
    assert "their 40.0 GPU-hours" in found["gpu_hours_left_out", "sagemaker", 1]
    assert ("unknown_instance_type", "p9.48xlarge", 1) in found
    assert collect(path, "name", "node_count", table="jobs", bedrock="") == [("big-run", 3), ("big-run-2", 3)]
    assert not {n[0] for n in notes(path, sagemaker="")} & {"gpu_hours_left_out", "unknown_instance_type"}


def test_an_instance_type_nobody_knows_has_unknown_gpus_and_is_said(tmp_path: Path) -> None:
    path = export(tmp_path, {"product_instance_type": "'p9.48xlarge'"}, *pod_rows())
    pods: dict[str, Any] = {"pods": ("ml-prod",)}
    assert collect(path, "instance_type", "gpu_parts", table="nodes", **pods) == [("p9.48xlarge", None)]
    assert ("unknown_instance_type", "p9.48xlarge", 1) in [(n[0], n[1], n[3]) for n in notes(path, **pods)]


def test_a_model_of_the_marketplace_is_bedrock_by_its_product_attributes(tmp_path: Path) -> None:
    line = {
        "line_item_product_code": "'4aynn8m2xq'",
        "bill_billing_entity": "'AWS Marketplace'",
        "line_item_resource_id": "''",
        "line_item_line_item_description": "'AWS Marketplace software usage|us-east-1|Input tokens'",
    }
    in_map = {"product": "MAP {'product_name': 'Model A (Amazon Bedrock Edition)'}"}
    in_json = {"product": """'{"product_name": "Model A (Amazon Bedrock Edition)"}'"""}
    for n, product in enumerate((in_map, in_json)):
        path = export(tmp_path / str(n), line | product)
        ((resource, service),) = collect(path, "resource_id", "service_name")
        assert resource.startswith("bedrock:2026-10-02:222222222222:")
        assert service == "Model A (Amazon Bedrock Edition)"


def test_a_job_keeps_its_key_when_an_earlier_line_comes_later(tmp_path: Path) -> None:
    line = {"line_item_product_code": "'AmazonBedrock'", "line_item_resource_id": "''"}
    hours = {
        "line_item_usage_start_date": "TIMESTAMP '2026-10-02 05:00:00'",
        "line_item_usage_end_date": "TIMESTAMP '2026-10-02 06:00:00'",
    }
    late = export(tmp_path / "a", line | hours)
    both = export(tmp_path / "b", line | hours, line)
    keys_of = [collect(path, "job_key", "start_time < '2026-10-02 05:00:00Z'", table="jobs") for path in (late, both)]
    assert [[early for _, early in rows] for rows in keys_of] == [[False], [True]]
    assert keys_of[0][0][0] == keys_of[1][0][0]
    pods = [
        collect(path, "job_key", table=table, pods=("ml-prod",), bedrock="", sagemaker="")
        for path in (export(tmp_path / "c", *pod_rows(hour=3)), export(tmp_path / "d", *pod_rows(hour=3), *pod_rows(hour=1)))
        for table in ("jobs", "placements")
    ]
    assert len({row for rows in pods for row in rows}) == 1


def test_use_of_bedrock_is_a_job_for_each_caller_model_and_day(tmp_path: Path) -> None:
    line = {
        "line_item_product_code": "'AmazonBedrock'",
        "line_item_usage_type": "'USE1-model-a-input-tokens'",
        "line_item_resource_id": "''",
    }
    anna, ben = ({"line_item_iam_principal": quoted(f"arn:aws:iam::2:role/{name}")} for name in ("synth", "grade"))
    next_day = {
        "line_item_usage_start_date": "TIMESTAMP '2026-10-03 00:00:00'",
        "line_item_usage_end_date": "TIMESTAMP '2026-10-03 01:00:00'",
    }
    path = export(tmp_path, line | anna, line | anna, line | ben, line | anna | next_day, {"line_item_iam_principal": "''"})
    loaded = lab(tmp_path, f'[collectors.aws_cur]\npath = "{path}"\n')
    (breakdown,) = (
        Pipeline(loaded, clock=lambda: datetime(2026, 12, 5, tzinfo=UTC).timestamp()).run(parse_period("2026-10")).breakdowns
    )
    assert sorted((job.name, job.cost) for job in breakdown.top_jobs) == [
        ("USE1-model-a-input-tokens", Decimal(10)),
        ("USE1-model-a-input-tokens", Decimal(10)),
        ("USE1-model-a-input-tokens", Decimal(20)),
    ]
    assert collect(path, '"user"', table="jobs", sagemaker="") == [
        ("arn:aws:iam::2:role/grade",),
        ("arn:aws:iam::2:role/synth",),
        ("arn:aws:iam::2:role/synth",),
    ]
    assert not collect(path, "1", table="jobs", bedrock="", sagemaker="")
    ids = {r[0] for r in collect(path, "resource_id", bedrock="", sagemaker="")}
    assert ids == {None, "i-0a"}


# --- capacity blocks --------------------------------------------------------------------------------------------------

BLOCK = CapacityBlock(
    "cr-0123456789abcdef0", datetime(2026, 10, 10, 11, 30, tzinfo=UTC), datetime(2026, 10, 24, 11, 30, tzinfo=UTC)
)
FEE = {
    "line_item_line_item_type": "'Fee'",
    "line_item_usage_start_date": "TIMESTAMP '2026-10-03 09:00:00'",
    "line_item_usage_end_date": "TIMESTAMP '2026-10-03 09:00:00'",
    "line_item_resource_id": "'arn:aws:ec2:us-east-1:2:capacity-reservation/cr-0123456789abcdef0'",
    "line_item_unblended_cost": "1000.0000001::DOUBLE",
    "line_item_usage_type": "'USE1-CapacityBlock'",
}


def test_the_fee_of_a_block_is_spread_over_the_hours_of_its_window(tmp_path: Path) -> None:
    path = export(tmp_path, FEE)
    day = "strftime(timezone('UTC', charge_period_start), '%d')"
    found = collect(path, day, "charge_category", "resource_id", *MONEY, capacity_block=(BLOCK,))
    bought = [r for r in found if r[1] == "Purchase"]
    assert bought == [("03", "Purchase", BLOCK.id, 1_000_000_000_100, 0)]
    hours = [r for r in found if r[1] == "Usage"]
    assert len(hours) == 14 * 24 + 1
    assert {r[0] for r in hours} == {f"{d:02d}" for d in range(10, 25)}
    assert sum(r[4] for r in hours) == 1_000_000_000_100
    assert {r[3] for r in hours} == {0}
    assert sum(r[4] for r in hours if r[0] == "10") == 1_000_000_000_100 * 45_000 // (14 * 86_400)
    assert len(set(collect(path, "origin_file", "origin_row", capacity_block=(BLOCK,)))) == len(found)


def test_a_block_across_months_adds_up_to_its_fee_to_the_nano(tmp_path: Path) -> None:
    block = CapacityBlock(BLOCK.id, datetime(2026, 10, 25, 11, 30, tzinfo=UTC), datetime(2026, 11, 8, 11, 30, tzinfo=UTC))
    path = export(tmp_path, FEE, {})
    export(tmp_path, of_november(), month="2026-11")
    october = sums(path, capacity_block=(block,))
    november = sums(path, window=NOVEMBER, capacity_block=(block,))
    assert october[0] == 1_010_000_000_100
    assert november[0] == 10 * NANOS
    assert october[1] + november[1] == 1_000_000_000_100 + 20 * NANOS
    assert november[1] - 10 * NANOS == 1_000_000_000_100 - 1_000_000_000_100 * (6 * 24 + 12.5) * 2 // (14 * 48)


def test_the_key_of_a_month_looks_back_to_the_month_of_the_fee(tmp_path: Path) -> None:
    block = CapacityBlock(BLOCK.id, datetime(2026, 11, 2, tzinfo=UTC), datetime(2026, 11, 8, tzinfo=UTC))
    path = export(tmp_path, FEE)
    export(tmp_path, of_november(), month="2026-11")
    before = keys(path, NOVEMBER, capacity_block=(block,))
    export(tmp_path, FEE | {"line_item_unblended_cost": "2000.0::DOUBLE"})
    assert keys(path, NOVEMBER, capacity_block=(block,)) != before
    assert sums(path, window=NOVEMBER, capacity_block=(block,)) == money(10, 2010)


def test_a_fee_of_a_reservation_without_a_window_stays_where_it_is_and_says_what_to_configure(tmp_path: Path) -> None:
    path = export(tmp_path, FEE)
    assert sums(path) == (1_000_000_000_100, 1_000_000_000_100)
    (found,) = [n for n in notes(path) if n[0] == "capacity_block_without_window"]
    assert found[1] == BLOCK.id
    assert "capacity_reservations" in found[2]
    without = [n for n in notes(export(tmp_path / "none"), capacity_block=(BLOCK,)) if n[0] == "capacity_block_without_fee"]
    assert [n[1] for n in without] == [BLOCK.id]


def test_the_windows_come_from_what_the_aws_command_prints(tmp_path: Path) -> None:
    described = tmp_path / "reservations.json"
    windows = {"StartDate": "2026-10-10T11:30:00+00:00", "EndDate": "2026-10-24T11:30:00.000Z"}
    listed = [
        {"CapacityReservationId": BLOCK.id, "ReservationType": "capacity-block", **windows},
        {"CapacityReservationId": "cr-0f", "ReservationType": "default", "StartDate": "2026-10-10T11:30:00+00:00"},
    ]
    described.write_text(json.dumps({"CapacityReservations": listed}))
    path = export(tmp_path, FEE)
    assert collect(path, *MONEY, capacity_reservations=Location(described)) == collect(path, *MONEY, capacity_block=(BLOCK,))
    described.write_text("[]")
    with pytest.raises(BadRecord, match="describe-capacity-reservations"):
        sums(path, capacity_reservations=Location(described))


def test_a_block_costs_nothing_when_bought_and_its_unused_hours_are_idle(tmp_path: Path) -> None:
    """One node of 8 GPUs in the block's pool is up for its first ten days; one job holds all of it for the first two."""
    path = export(tmp_path, FEE | {"line_item_unblended_cost": "3360.0::DOUBLE"})
    jobs = f"{JOBS_HEADER}\n1,u,t,train,2026-10-10T11:30:00Z,2026-10-10T11:30:00Z,2026-10-12T11:30:00Z,COMPLETED,n1,8,H100,\n"
    (tmp_path / "jobs.csv").write_text(jobs)
    (tmp_path / "nodes.csv").write_text(
        f"node,pool,gpus,gpu_type,start_time,end_time\nn1,{BLOCK.id},8,H100,2026-10-10T11:30:00Z,2026-10-20T11:30:00Z\n"
    )
    loaded = lab(
        tmp_path,
        f"""
[collectors.aws_cur]
path = "{path}"
[[collectors.aws_cur.capacity_block]]
id = "{BLOCK.id}"
start = 2026-10-10T11:30:00Z
end = 2026-10-24T11:30:00Z
[collectors.job_log]
cluster = "c1"
path = "jobs.csv"
nodes = "nodes.csv"
""",
    )
    outcome = Pipeline(loaded, clock=lambda: datetime(2026, 12, 5, tzinfo=UTC).timestamp()).run(parse_period("2026-10"))
    assert not outcome.failures
    (breakdown,) = outcome.breakdowns
    # 336 hours at 10: the job's 48, and all others idle, also those of the four days in which no node was up.
    assert {job.name: job.cost for job in breakdown.top_jobs} == {"train": Decimal(480)}
    assert {line.name: line.cost for line in breakdown.buckets}["idle"] == Decimal(2880)
    with Pipeline(loaded)._engine() as engine:
        snapshot = Ledger(loaded.ledger).snapshot()
        days = engine.rows(
            "SELECT day, sum(effective_cost_nanos) AS money "
            f"FROM ({snapshot.select('attributions')}) GROUP BY day HAVING money <> 0"
        )
    assert "2026-10-03" not in dict(days)
    assert min(dict(days)) == "2026-10-10"
    assert max(dict(days)) == "2026-10-24"


# --- the configuration ------------------------------------------------------------------------------------------------


def test_a_window_without_a_zone_or_of_no_length_is_refused(tmp_path: Path) -> None:
    text = '[collectors.aws_cur]\npath = "x"\n[[collectors.aws_cur.capacity_block]]\nid = "cr-1"\nstart = {}\nend = {}\n'
    for start, end, words in (
        ("2026-10-10T00:00:00", "2026-10-11T00:00:00Z", "zone"),
        ("2026-10-11T00:00:00Z", "2026-10-11T00:00:00Z", "ends"),
    ):
        with pytest.raises(ConfigError, match=words):
            lab(tmp_path, text.format(start, end))
    with pytest.raises(ConfigError, match="different names"):
        AwsCur(Location("x"), pods=("bedrock",))


def test_the_tables_beside_the_code_are_in_the_wheel(tmp_path: Path) -> None:
    from wheels import ROOT, built

    with zipfile.ZipFile(built(ROOT, tmp_path)) as wheel:
        names = set(wheel.namelist())
    beside = (ROOT / "rdspend/bills/aws").iterdir()
    assert {f"rdspend/bills/aws/{file.name}" for file in beside} <= names


# --- S3 ---------------------------------------------------------------------------------------------------------------


@pytest.fixture
def bucket(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """A bucket of moto, which runs as a process of its own and says on which port it listens."""
    for name, value in (("ACCESS_KEY_ID", "test"), ("SECRET_ACCESS_KEY", "test"), ("DEFAULT_REGION", "us-east-1")):
        monkeypatch.setenv(f"AWS_{name}", value)
    log = tmp_path / "log"
    with log.open("w") as out:
        command = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", "0"]
        server = subprocess.Popen(command, stdout=out, stderr=subprocess.STDOUT)
    try:
        until = time.monotonic() + 60
        while not (found := re.search(r"http://127\.0\.0\.1:\d+", log.read_text())):
            assert server.poll() is None and time.monotonic() < until, log.read_text()
            time.sleep(0.1)
        client = boto3.client("s3", endpoint_url=found[0])
        client.create_bucket(Bucket="bucket")
        yield client
    finally:
        server.terminate()
        server.wait(10)


@pytest.mark.server
def test_an_export_in_a_bucket_is_read_by_its_manifest(tmp_path: Path, bucket: Any) -> None:
    local = export(tmp_path, {}, FEE)

    def put(part: str) -> None:
        for file in (f for f in (local / part).rglob("*") if f.is_file()):
            bucket.put_object(Bucket="bucket", Key=f"prefix/export/{file.relative_to(local)}", Body=file.read_bytes())

    put("data")
    put("metadata")
    path = Location("s3://bucket/prefix/export")
    options: dict[str, Any] = {"s3": S3(endpoint_url=bucket.meta.endpoint_url)}
    name = "s3://bucket/prefix/export/data/BILLING_PERIOD=2026-10/cur-00001.snappy.parquet"
    assert collect(path, "origin_file", "origin_row", MONEY[0], **options) == [
        (name, 1, 10 * NANOS),
        (name, 2, 1_000_000_000_100),
    ]
    first = keys(path, **options)
    assert keys(path, **options) == first
    export(tmp_path, {})
    time.sleep(1.1)  # S3 keeps whole seconds
    put("data")
    with pytest.raises(SourceUnavailable, match=r"cur-00001.*newer than s3://.*Manifest.json.* half-written"):
        collect(path, "1", **options)
    put("metadata")
    assert keys(path, **options) != first
    assert sums(path, **options) == money(10, 10)
    bucket.delete_object(Bucket="bucket", Key=name.removeprefix("s3://bucket/"))
    bucket.put_object(Bucket="bucket", Key="prefix/export/data/BILLING_PERIOD=2026-10/x.parquet", Body=b"x")
    with pytest.raises(SourceUnavailable, match="half-written"):
        collect(path, "1", **options)


@pytest.mark.server
def test_one_zipped_file_in_a_bucket_is_a_bill(tmp_path: Path, bucket: Any) -> None:
    with zipfile.ZipFile(tmp_path / "a.csv.zip", "w") as archive:
        archive.writestr("a.csv", legacy_text({}))
    bucket.put_object(Bucket="bucket", Key="bills/a.csv.zip", Body=(tmp_path / "a.csv.zip").read_bytes())
    options: dict[str, Any] = {"s3": S3(endpoint_url=bucket.meta.endpoint_url)}
    assert sums(Location("s3://bucket/bills/a.csv.zip"), **options) == money(10, 10)
