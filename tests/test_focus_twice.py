"""The focus collector: what two exports, two forms or two views of one bill have in common counts once, or is refused."""

from __future__ import annotations

import gzip
import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path

import pytest
from organisations import write_organisation
from test_focus_dialects import (
    AZURE_LINE,
    LINE,
    SEPTEMBER_2023,
    USAGE,
    actual_lines,
    bill,
    collect,
    detailed,
    money,
    notes,
    organisation,
    parquet,
    priced,
    refusal,
    text,
)

from rdspend.config import load
from rdspend.errors import ConfigError
from rdspend.period import parse_period
from rdspend.pipeline import Pipeline
from rdspend.schema import Location, Window

AUTUMN = Window(datetime(2026, 10, 1, tzinfo=UTC), datetime(2026, 12, 1, tzinfo=UTC))

# --- one bill in two forms --------------------------------------------------------------------------------------------

AS_TEXT = ", ".join(f"'{value}' AS \"{name}\"" for name, value in LINE.items())


def test_one_bill_as_csv_and_as_parquet_is_refused_naming_both(tmp_path: Path) -> None:
    bill(tmp_path / "bill.csv", {})
    parquet(tmp_path / "bill.parquet", f"SELECT {AS_TEXT}")
    said = refusal(tmp_path)
    assert "bill.parquet" in said
    assert "bill.csv" in said
    assert "count twice" in said


@pytest.mark.parametrize(
    "other",
    [
        {"BillingAccountId": "2"},
        {"BillingCurrency": "EUR"},
        {"BillingPeriodStart": "2026-11-01T00:00:00Z", "BillingPeriodEnd": "2026-12-01T00:00:00Z"},
    ],
)
def test_two_bills_of_two_file_types_are_two_bills(tmp_path: Path, other: Mapping[str, str]) -> None:
    bill(tmp_path / "bill.csv", other)
    parquet(tmp_path / "bill.parquet", f"SELECT {AS_TEXT}")
    assert len(collect(tmp_path, "1", window=AUTUMN)) == 2


def test_a_gzipped_file_and_what_was_unpacked_from_it_are_refused_naming_both(tmp_path: Path) -> None:
    path = bill(tmp_path / "bill.csv", {})
    (tmp_path / "bill.csv.gz").write_bytes(gzip.compress(path.read_bytes()))
    assert "bill.csv.gz: stands beside" in refusal(tmp_path)
    (tmp_path / "bill.csv.gz").rename(tmp_path / "part-2.csv.gz")
    assert money(tmp_path)[0] == 3


def test_a_bill_in_several_files_of_one_type_is_one_bill(tmp_path: Path) -> None:
    for n in (1, 2):
        bill(tmp_path / f"part-{n}.csv", {"ResourceId": f"i-{n}"})
    assert money(tmp_path) == (Decimal(3), Decimal("2.5"))


def azure_cost(folder: Path, name: str, *changes: Mapping[str, str]) -> Path:
    line = {
        "BillingAccountId": "777",
        "BillingProfileId": "b",
        "BillingPeriodStartDate": "10/01/2026",
        "BillingPeriodEndDate": "10/31/2026",
        "Date": "10/02/2026",
        "ChargeType": "Usage",
        "MeterId": "m",
        "PricingModel": "OnDemand",
        "Cost": "1.5",
        "BillingCurrency": "USD",
        "Frequency": "UsageBased",
        "AdditionalInfo": "",
        "Tags": "",
        "ResourceId": "",
    }
    return bill(folder / name, *changes, base=line)


def test_the_focus_and_the_cost_export_of_one_azure_profile_are_refused_naming_both(tmp_path: Path) -> None:
    bill(tmp_path / "focus/part_0.csv", {}, base=AZURE_LINE)
    azure_cost(tmp_path, "actual/part_0.csv", {})
    said = refusal(tmp_path)
    assert "focus/part_0.csv" in said
    assert "actual/part_0.csv" in said


def test_exports_of_two_azure_profiles_are_two_bills(tmp_path: Path) -> None:
    bill(tmp_path / "focus/part_0.csv", {}, base=AZURE_LINE)
    azure_cost(tmp_path, "actual/part_0.csv", {"BillingProfileId": "other"})
    assert money(tmp_path)[0] == Decimal(3)


def test_two_exports_of_one_google_account_are_refused_naming_both(tmp_path: Path) -> None:
    parquet(tmp_path / "usage.parquet", detailed())
    of_focus = {"BillingAccountId": "01-AB", "x_Credits": "", "x_CostType": "regular", "x_ExportTime": "2026-10-03T00:00:00Z"}
    bill(tmp_path / "focus.csv", of_focus)
    said = refusal(tmp_path)
    assert "usage.parquet" in said
    assert "focus.csv" in said
    bill(tmp_path / "focus.csv", {**of_focus, "BillingAccountId": "01-CD"})
    assert money(tmp_path)[0] == Decimal("9.85")


# --- CoreWeave --------------------------------------------------------------------------------------------------------

COREWEAVE = {name: value for name, value in USAGE.items() if name not in ("ResourceId", "ConsumedQuantity", "ConsumedUnit")} | {
    "ServiceName": "GPU Compute",
    "x_ProductFamily": "GPU Compute",
    "x_ClusterId": "c-1",
    "x_ClusterName": "train",
    "x_CapacityPlan": "",
    "PricingQuantity": "16",
    "PricingUnit": "Instance-Hour",
}
STORAGE = {
    "ServiceName": "Storage",
    "x_ProductFamily": "Storage",
    "SkuId": "dfs",
    "SkuPriceDetails": "",
    "PricingUnit": "GiB-Hour",
}
CW_PRICES = """
[[price]]
sku = "gd-8xh100ib-i128"
unit = "Instance-Hour"
price = 20
currency = "USD"

[[price]]
sku = "dfs"
unit = "GiB-Hour"
price = 0.0001
currency = "USD"
"""


def cw_prices(folder: Path) -> Location:
    (folder / "prices.toml").write_text(CW_PRICES)
    return Location(folder / "prices.toml")


def test_usage_of_instances_is_of_the_pool_of_its_cluster_and_sku_and_storage_is_not(tmp_path: Path) -> None:
    path = bill(tmp_path / "bill.csv", {}, STORAGE, base=COREWEAVE)
    found = collect(path, "origin_row", "resource_id", "resource_type", "billed_cost_nanos", rate_card=cw_prices(tmp_path))
    assert found == [(1, "c-1/gd-8xh100ib-i128", "Pool", 320_000_000_000), (2, None, None, 1_600_000)]


def test_usage_by_capacity_plan_is_of_the_pool_of_its_sku(tmp_path: Path) -> None:
    path = bill(tmp_path / "bill.csv", {"x_ClusterId": "", "x_CapacityPlan": "Reserved"}, base=COREWEAVE)
    assert collect(path, "resource_id", "line_type", rate_card=cw_prices(tmp_path)) == [("gd-8xh100ib-i128", "Reserved")]


def test_a_resource_that_the_usage_names_stays(tmp_path: Path) -> None:
    path = bill(tmp_path / "bill.csv", {"ResourceId": "node-7"}, base=COREWEAVE)
    assert collect(path, "resource_id", rate_card=cw_prices(tmp_path)) == [("node-7",)]


def test_nothing_that_coreweave_writes_is_unknown(tmp_path: Path) -> None:
    path = bill(tmp_path / "bill.csv", {}, base=COREWEAVE)
    assert [n[1] for n in notes(path, rate_card=cw_prices(tmp_path)) if n[0] == "unknown_column"] == []


def test_two_views_of_one_month_of_coreweave_are_refused_naming_both(tmp_path: Path) -> None:
    bill(tmp_path / "location.csv", {}, STORAGE, base=COREWEAVE)
    bill(tmp_path / "plan.csv", {"x_ClusterId": "", "x_CapacityPlan": "Reserved"}, base=COREWEAVE)
    said = refusal(tmp_path, rate_card=cw_prices(tmp_path))
    assert "location.csv" in said
    assert "plan.csv" in said
    november = {"BillingPeriodStart": "2026-11-01T00:00:00Z", "BillingPeriodEnd": "2026-12-01T00:00:00Z"}
    bill(tmp_path / "plan.csv", {"x_ClusterId": "", "x_CapacityPlan": "Reserved", **november}, base=COREWEAVE)
    assert collect(tmp_path, "count(*)", rate_card=cw_prices(tmp_path)) == [(2,)]


def lab(folder: Path, pool: str, *lines: Mapping[str, str]) -> Path:
    """The small lab with its nodes in a pool, usage at prices, and a rate card that prices the same GPUs."""
    config = write_organisation(folder)
    bill(folder / "bill.csv", *lines, base=COREWEAVE)
    cw_prices(folder)
    header, *nodes = (folder / "nodes.csv").read_text().splitlines()
    (folder / "nodes.csv").write_text("\n".join([f"{header},pool", *(f"{node},{pool}" for node in nodes)]) + "\n")
    (folder / "rates.toml").write_text('[[rate]]\ngpu_type = "H100"\nprice_per_gpu_hour = 2.5\ncurrency = "USD"\n')
    told = config.read_text().replace('path = "bill.csv"', 'path = "bill.csv"\nrate_card = "prices.toml"')
    config.write_text(told + '\n[collectors.rate_card]\npath = "rates.toml"\n')
    return config


ESTIMATE = 31 * 24 * 2 * 8 * Decimal("2.5")


def test_hours_that_usage_pays_are_not_estimated_too(tmp_path: Path) -> None:
    config = lab(tmp_path, "c-1/gd-8xh100ib-i128", {"PricingQuantity": "2"}, {**STORAGE, "PricingQuantity": "10000"})
    (made,) = Pipeline(load(config)).run(parse_period("2026-10")).breakdowns
    assert made.billed_total == ESTIMATE - 16 * Decimal("2.5") + 40 + 1


def test_an_hour_of_storage_pays_no_hour_of_nodes(tmp_path: Path) -> None:
    config = lab(tmp_path, "c-1/gd-8xh100ib-i128", {**STORAGE, "PricingQuantity": "10000"})
    (made,) = Pipeline(load(config)).run(parse_period("2026-10")).breakdowns
    assert made.billed_total == ESTIMATE + 1


def test_usage_of_a_pool_that_no_node_has_is_said(tmp_path: Path) -> None:
    config = lab(tmp_path, "c-2/gd-8xh100ib-i128", {})
    done = Pipeline(load(config)).run(parse_period("2026-10"))
    assert any("c-1/gd-8xh100ib-i128" in str(f) for b in done.breakdowns for f in b.findings)


# --- pages of JSON ----------------------------------------------------------------------------------------------------


def page(path: Path, token: str | None, *changes: Mapping[str, object]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    data = [{**COREWEAVE, **change} for change in changes]
    path.write_text(json.dumps({"data": data, "next_page_token": token, "data_as_of": "2026-10-04T15:00:00Z"}))
    return path


def test_the_pages_of_an_api_are_read_and_every_row_has_its_number(tmp_path: Path) -> None:
    page(tmp_path / "page-2.json", "t", {"PricingQuantity": 1}, {"PricingQuantity": 2.5, "SkuPriceDetails": None})
    page(tmp_path / "page-10.json", None, {"PricingQuantity": 3})
    found = collect(tmp_path, "origin_row", "billed_cost_nanos", rate_card=cw_prices(tmp_path))
    assert found == [(1, 20_000_000_000), (1, 60_000_000_000), (2, 50_000_000_000)]


@pytest.mark.parametrize("token", [None, ""])
def test_a_page_without_rows_is_an_answer(tmp_path: Path, token: str | None) -> None:
    page(tmp_path / "page-1.json", "t", {})
    page(tmp_path / "page-2.json", token)
    assert collect(tmp_path, "count(*)", rate_card=cw_prices(tmp_path)) == [(1,)]
    assert "empty_file" in {n[0] for n in notes(tmp_path, rate_card=cw_prices(tmp_path))}
    assert collect(tmp_path / "page-2.json", "count(*)", rate_card=cw_prices(tmp_path)) == [(0,)]


def test_a_last_page_that_names_a_next_one_is_not_the_whole_bill(tmp_path: Path) -> None:
    page(tmp_path / "page-9.json", None, {})
    page(tmp_path / "page-10.json", "more", {"PricingQuantity": 3})
    said = refusal(tmp_path, rate_card=cw_prices(tmp_path))
    assert "page-10.json: the last page here" in said
    page(tmp_path / "page-11.json", None, {"PricingQuantity": 4})
    assert collect(tmp_path, "count(*)", rate_card=cw_prices(tmp_path)) == [(3,)]


def test_pages_one_a_line_are_read_up_to_the_last(tmp_path: Path) -> None:
    pages = [{"data": [{**COREWEAVE, "PricingQuantity": n}], "next_page_token": token} for n, token in ((1, "t"), (2, None))]
    path = tmp_path / "pages.jsonl"
    path.write_text("\n".join(map(json.dumps, pages)))
    assert collect(path, "origin_row", "billed_cost_nanos", rate_card=cw_prices(tmp_path)) == [
        (1, 20_000_000_000),
        (2, 40_000_000_000),
    ]
    path.write_text("\n".join(map(json.dumps, pages[:1])))
    assert "the last page here" in refusal(path, rate_card=cw_prices(tmp_path))


def test_rows_of_a_large_page_keep_their_numbers(tmp_path: Path) -> None:
    rows = [{**LINE, "BilledCost": n} for n in range(1, 30_001)]
    (tmp_path / "bill.json").write_text(json.dumps({"data": rows}))
    wrong = "count(*) FILTER (WHERE billed_cost_nanos <> origin_row * 1000000000)"
    assert collect(tmp_path / "bill.json", "count(*)", wrong) == [(30_000, 0)]


# --- prices -----------------------------------------------------------------------------------------------------------


def test_the_pricing_quantity_is_priced_where_the_consumed_one_is_empty(tmp_path: Path) -> None:
    both = COREWEAVE | {"ConsumedQuantity": "", "ConsumedUnit": ""}
    given = {"ConsumedQuantity": "3", "ConsumedUnit": "Instance-Hour", "PricingQuantity": "7", "PricingUnit": "Other"}
    path = bill(tmp_path / "bill.csv", {}, given, base=both)
    assert collect(path, "billed_cost_nanos", rate_card=cw_prices(tmp_path)) == [(60_000_000_000,), (320_000_000_000,)]


def test_costs_that_are_all_zero_are_no_costs_and_that_is_said(tmp_path: Path) -> None:
    zero = {"BilledCost": "0", "EffectiveCost": "0.00", "BillingCurrency": "USD"}
    path = bill(tmp_path / "bill.csv", zero, {"BilledCost": "", "EffectiveCost": "", "BillingCurrency": ""}, base=COREWEAVE)
    prices = cw_prices(tmp_path)
    assert collect(path, "basis", "billed_cost_nanos", rate_card=prices) == [("estimated", 320_000_000_000)] * 2
    assert [n[:2] for n in notes(path, rate_card=prices) if n[0] == "zero_costs"] == [("zero_costs", str(path))]


def test_a_line_of_zero_cost_beside_one_that_costs_stays_free(tmp_path: Path) -> None:
    zero = {"BilledCost": "0", "EffectiveCost": "0", "BillingCurrency": "USD"}
    path = bill(tmp_path / "bill.csv", zero, {**zero, "EffectiveCost": "2"}, base=COREWEAVE)
    prices = cw_prices(tmp_path)
    assert collect(path, "basis", "effective_cost_nanos", rate_card=prices) == [("billed", 0), ("billed", 2_000_000_000)]
    assert "zero_costs" not in {n[0] for n in notes(path, rate_card=prices)}


def test_a_line_of_zero_cost_without_a_price_in_a_file_of_zeros_is_never_silently_free(tmp_path: Path) -> None:
    zero = {"BilledCost": "0", "EffectiveCost": "0", "BillingCurrency": "USD"}
    path = bill(tmp_path / "bill.csv", {**zero, "SkuId": "new", "SkuPriceDetails": ""}, base=COREWEAVE)
    assert "found 'new' in 'Instance-Hour' without a cost" in refusal(path, rate_card=cw_prices(tmp_path))


@pytest.mark.parametrize("quantities", [(5, -1, -1), (1, 1, 5, -1), (7, -3, -1, 2)])
def test_an_invoice_is_kept_to_the_nano_where_usage_is_taken_back(tmp_path: Path, quantities: Sequence[float]) -> None:
    path = bill(tmp_path / "bill.csv", *({"ConsumedQuantity": str(n)} for n in quantities), base=USAGE)
    invoice = '[[invoice]]\ninvoice = "CW"\nbilling_period = "2026-10"\namount = 100.000000001\ncurrency = "USD"\n'
    rows = collect(path, "origin_row", "billed_cost_nanos", "effective_cost_nanos", rate_card=priced(tmp_path, invoice))
    assert sum(row[1] for row in rows) == sum(row[2] for row in rows) == 100_000_000_001
    whole = sum(map(Decimal, map(str, quantities)))
    assert all(
        abs(cost - 100_000_000_001 * Decimal(str(n)) / whole) < 1 for n, (_, cost, _) in zip(quantities, rows, strict=True)
    )


def test_an_invoice_of_usage_that_was_taken_back_is_refused(tmp_path: Path) -> None:
    path = bill(tmp_path / "bill.csv", {"ConsumedQuantity": "-1"}, base=USAGE)
    invoice = '[[invoice]]\ninvoice = "CW"\nbilling_period = "2026-10"\namount = 100\ncurrency = "USD"\n'
    with pytest.raises(ConfigError, match="adds up to more than 0"):
        collect(path, "1", rate_card=priced(tmp_path, invoice))


# --- Azure: exports, spans and roles ----------------------------------------------------------------------------------


@pytest.mark.parametrize("folder", ["run-1/", ""])
def test_spans_of_an_azure_export_that_overlap_are_refused_naming_both(tmp_path: Path, folder: str) -> None:
    bill(tmp_path / f"export/20261001-20261015/{folder}part_0.csv", {}, base=AZURE_LINE)
    bill(tmp_path / f"export/20261015-20261031/{folder}part_0.csv", {"SkuId": "2"}, base=AZURE_LINE)
    said = refusal(tmp_path)
    assert "20261015-20261031" in said
    assert "20261001-20261015" in said


def test_spans_of_an_azure_export_that_do_not_overlap_are_one_bill(tmp_path: Path) -> None:
    for span, export in (("20261001-20261015", "a"), ("20261016-20261031", "a"), ("20261001-20261031", "b")):
        bill(tmp_path / f"{export}/{span}/run-1/part_0.csv", {"SkuId": span}, base=AZURE_LINE)
    assert money(tmp_path)[0] == Decimal("4.5")


RESERVED = {"PricingModel": "Reservation", "ReservationId": "r-1"}
BOUGHT = {**RESERVED, "ChargeType": "Purchase", "Cost": "10"}
USED = {**RESERVED, "Cost": "4"}


def test_two_exports_that_nothing_tells_apart_are_refused_with_what_to_do(tmp_path: Path) -> None:
    for name in ("one", "two"):
        azure_cost(tmp_path, f"{name}/20261001-20261031/run/part_0.csv", {"MeterId": name}, {"Cost": "2"})
    said = refusal(tmp_path)
    assert "one/20261001-20261031/run/part_0.csv" in said
    assert "two/20261001-20261031/run/part_0.csv" in said
    assert "'amortized'" in said


def test_a_name_tells_two_exports_without_commitments_apart(tmp_path: Path) -> None:
    for name in ("one", "two-Amortized"):
        azure_cost(tmp_path, f"{name}/20261001-20261031/run/part_0.csv", {"MeterId": name}, {"Cost": "2"})
    assert money(tmp_path) == (Decimal("3.5"), Decimal("3.5"))


def test_two_subscriptions_without_commitments_are_two_bills(tmp_path: Path) -> None:
    azure_cost(tmp_path, "one/part_0.csv", {}, {"Cost": "2"})
    azure_cost(tmp_path, "two/part_0.csv", {}, {"Cost": "2.01"})
    assert money(tmp_path)[0] == Decimal("7.01")


def test_a_file_without_commitments_has_the_role_of_its_export(tmp_path: Path) -> None:
    for name, change in (("x", BOUGHT), ("y", USED)):
        azure_cost(tmp_path, f"{name}/20261001-20261031/run/part_0.csv", {}, change)
        azure_cost(tmp_path, f"{name}/20261001-20261031/run/part_1.csv", {"Cost": "2", "MeterId": name})
    assert money(tmp_path) == (Decimal("13.5"), Decimal("7.5"))


def test_a_file_beside_an_actual_export_that_says_nothing_and_has_its_sum_is_refused(tmp_path: Path) -> None:
    azure_cost(tmp_path, "a.csv", {}, BOUGHT)
    azure_cost(tmp_path, "b.csv", {"MeterId": "2"})
    said = refusal(tmp_path)
    assert "a.csv" in said
    assert "b.csv" in said


# --- allocated charges ------------------------------------------------------------------------------------------------

PART = {"AllocatedMethodId": "m", "ResourceId": "db-1", "SkuId": "S", "SubAccountId": "s", "ServiceName": "DB"}


def run(folder: Path, **files: Sequence[Mapping[str, str]]) -> Decimal:
    (made,) = Pipeline(load(organisation(folder, **files))).run(parse_period("2026-10")).breakdowns
    return made.billed_total


def test_charges_without_a_resource_are_no_origin_of_each_other(tmp_path: Path) -> None:
    part, whole = {**PART, "ResourceId": "", "SkuId": ""}, {"ResourceId": "", "SkuId": "", "ServiceName": "DB"}
    assert run(tmp_path, split=[part], other=[whole]) == 3


@pytest.mark.parametrize("column", ["ServiceName", "ProviderName", "SubAccountId"])
def test_charges_of_another_account_or_service_are_no_origin(tmp_path: Path, column: str) -> None:
    part = {**PART, "ProviderName": "P"}
    whole = {**part, "AllocatedMethodId": "", column: "other"}
    assert run(tmp_path, split=[part], other=[whole]) == 3


@pytest.mark.parametrize("files", [("split", "whole"), ("both", "both")])
@pytest.mark.parametrize("sku", ["S", ""])
def test_an_origin_is_found_without_its_sku_and_in_the_same_file(tmp_path: Path, files: tuple[str, str], sku: str) -> None:
    lines: dict[str, list[Mapping[str, str]]] = {}
    for name, line in zip(files, (PART, {**PART, "AllocatedMethodId": "", "SkuId": sku}), strict=True):
        lines.setdefault(name, []).append(line)
    with pytest.raises(ConfigError, match=rf"{files[0]}.csv' has allocated parts of charges that .*{files[1]}.csv'.* whole"):
        run(tmp_path, **lines)


# --- columns that are known, amounts that are not ---------------------------------------------------------------------


def test_columns_of_microsofts_customer_agreement_are_known(tmp_path: Path) -> None:
    names = (
        *("costInPricingCurrency", "costInUsd", "paygCostInBillingCurrency", "exchangeRatePricingToBilling"),
        *("previousInvoiceId", "resourceGroupName", "location", "provider"),
    )
    line = {**actual_lines()[0], **dict.fromkeys(names, "1")}
    (tmp_path / "a.csv").write_text(text([line]))
    assert [n[1] for n in notes(tmp_path, SEPTEMBER_2023) if n[0] == "unknown_column"] == []


def test_a_credit_of_google_cloud_without_an_amount_is_refused(tmp_path: Path) -> None:
    credit = "[{'name': 'Promo', 'amount': CAST(NULL AS DOUBLE), 'full_name': 'X', 'id': 'p', 'type': 'PROMOTION'}]"
    path = parquet(tmp_path / "bill.parquet", detailed(credits_=credit))
    assert "bill.parquet:1: row 1: BilledCost: found nothing" in refusal(path)
