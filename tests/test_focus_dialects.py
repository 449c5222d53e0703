"""The focus collector: versions of FOCUS, and the providers' own forms of it."""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Mapping, Sequence
from contextlib import closing
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import duckdb
import pytest
from organisations import write_organisation

from collectors.focus import COLUMNS, DIALECTS, VERSIONS, Focus
from rdspend.border import bad_record
from rdspend.config import load
from rdspend.errors import BadRecord, ConfigError, SourceUnavailable
from rdspend.period import parse_period
from rdspend.pipeline import Pipeline
from rdspend.schema import Delivery, Location, Window

FIXTURES = Path(__file__).parent / "fixtures/focus"
SPEC = FIXTURES / "spec-examples"
AZURE = FIXTURES / "azure"
OCTOBER = Window(datetime(2026, 10, 1, tzinfo=UTC), datetime(2026, 11, 1, tzinfo=UTC))
SEPTEMBER_2023 = Window(datetime(2023, 9, 1, tzinfo=UTC), datetime(2023, 10, 1, tzinfo=UTC))
THREE_YEARS = Window(datetime(2023, 1, 1, tzinfo=UTC), datetime(2026, 5, 1, tzinfo=UTC))
NANO = Decimal("1e-9")

LINE = {
    "BilledCost": "1.5",
    "EffectiveCost": "1.25",
    "BillingCurrency": "USD",
    "BillingPeriodStart": "2026-10-01T00:00:00Z",
    "BillingPeriodEnd": "2026-11-01T00:00:00Z",
    "ChargePeriodStart": "2026-10-02T00:00:00Z",
    "ChargePeriodEnd": "2026-10-02T01:00:00Z",
    "ChargeCategory": "Usage",
    "BillingAccountId": "1",
    "ResourceId": "i-0a",
    "SkuId": "S",
}


def text(lines: Sequence[Mapping[str, str]]) -> str:
    out = io.StringIO()
    writer = csv.DictWriter(out, list(dict.fromkeys(name for line in lines for name in line)), lineterminator="\n")
    writer.writeheader()
    writer.writerows(lines)
    return out.getvalue()


def bill(path: Path, *changes: Mapping[str, str], base: Mapping[str, str] = LINE) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text([{**base, **change} for change in changes]))
    return path


def parquet(path: Path, select: str) -> Path:
    with duckdb.connect() as connection:
        connection.execute("SET TimeZone = 'UTC'")
        connection.execute(f"COPY ({select}) TO '{path}' (FORMAT parquet)")
    return path


def run(delivery: Delivery, *columns: str) -> list[tuple[Any, ...]]:
    try:
        rows: Any = delivery.rows
        found: list[tuple[Any, ...]] = rows.query("rows", f"SELECT {', '.join(columns)} FROM rows ORDER BY ALL").fetchall()
    except duckdb.Error as error:
        raise bad_record(error) or error from error
    return found


def told(path: Path | str, window: Window, **options: Any) -> closing[Any]:
    deliveries: Any = Focus(Location(path), **options).collect(window)
    return closing(deliveries)


def collect(path: Path | str, *columns: str, window: Window = OCTOBER, **options: Any) -> list[tuple[Any, ...]]:
    with told(path, window, **options) as deliveries:
        return [row for delivery in deliveries for row in run(delivery, *columns)]


def notes(path: Path | str, window: Window = OCTOBER, **options: Any) -> list[tuple[str, str, str, int]]:
    with told(path, window, **options) as deliveries:
        return [note for delivery in deliveries for note in delivery.notes]


def refusal(path: Path | str, *, window: Window = OCTOBER, **options: Any) -> str:
    with pytest.raises(BadRecord) as caught:
        collect(path, "CAST(COLUMNS(*) AS VARCHAR)", window=window, **options)
    return str(caught.value)


def money(path: Path | str, where: str = "true", **options: Any) -> tuple[Decimal, Decimal]:
    """Billed and effective sums of the lines that match."""
    rows = collect(
        path, f"sum(billed_cost_nanos) FILTER (WHERE {where})", f"sum(effective_cost_nanos) FILTER (WHERE {where})", **options
    )
    billed, effective = zip(*rows, strict=True)
    return sum(int(n or 0) for n in billed) * NANO, sum(int(n or 0) for n in effective) * NANO


# --- versions ---------------------------------------------------------------------------------------------------------


def test_the_versions_have_as_many_columns_as_the_specification() -> None:
    assert {version: len(columns) for version, columns in VERSIONS.items()} == {
        "1.0": 43,
        "1.1": 50,
        "1.2": 57,
        "1.3": 65,
        "1.4": 65,
    }


@pytest.mark.parametrize("version", sorted(VERSIONS))
def test_no_column_of_a_version_is_unknown(tmp_path: Path, version: str) -> None:
    path = bill(tmp_path / "bill.csv", LINE, base=dict.fromkeys(VERSIONS[version], "") | LINE)
    assert len(collect(path, "1")) == 1
    kinds = {kind for kind, *_ in notes(path)}
    assert "unknown_column" not in kinds
    assert "missing_column" not in kinds


def test_the_provider_is_who_makes_the_service_available_since_1_3(tmp_path: Path) -> None:
    both = {"ProviderName": "Market", "ServiceProviderName": "Seller", "HostProviderName": "Cloud"}
    path = bill(tmp_path / "bill.csv", both)
    assert collect(path, "provider_name") == [("Seller",)]
    found = {note[:3] for note in notes(path)}
    assert ("renamed_column", "ServiceProviderName", "taken as ProviderName") in found
    assert any(note[:2] == ("left_out_column", "HostProviderName") for note in found)


def test_an_allocated_line_keeps_its_method_and_the_rest_of_it_is_said_to_be_left_out(tmp_path: Path) -> None:
    path = bill(tmp_path / "bill.csv", {"AllocatedMethodId": "m-1", "AllocatedResourceId": "pod-a", "AllocatedTags": "{}"})
    assert collect(path, "allocated_method_id", "resource_id") == [("m-1", "i-0a")]
    assert {n[1] for n in notes(path) if n[0] == "left_out_column"} == {"AllocatedResourceId", "AllocatedTags"}


def test_a_virtual_currency_prices_and_never_bills(tmp_path: Path) -> None:
    path = bill(tmp_path / "bill.csv", {"PricingCurrency": "Token", "PricingCurrencyEffectiveCost": "245.5"})
    assert collect(path, "pricing_currency", "pricing_currency_effective_cost_nanos", "billing_currency") == [
        ("Token", 245_500_000_000, "USD")
    ]
    assert any(note[0] == "second_currency" and "priced in Token" in note[2] for note in notes(path))
    bill(path, {"BillingCurrency": "Token"})
    assert "BillingCurrency: found 'Token'" in refusal(path)


def test_lines_of_one_month_in_two_currencies_are_said(tmp_path: Path) -> None:
    path = bill(tmp_path / "bill.csv", {}, {"BillingCurrency": "EUR"})
    assert ("several_currencies", "EUR, USD") in {note[:2] for note in notes(path)}


# --- the examples of the specification --------------------------------------------------------------------------------


def as_a_bill(name: str, folder: Path, repair: Mapping[str, str] | None = None) -> Path:
    """An example as a file: fragments get the currency that their words say, amounts lose their dollar signs.

    `repair`: what an example has that is no FOCUS at all.
    """
    content = (SPEC / name).read_text(encoding="utf-8-sig")
    for wrong, right in (repair or {}).items():
        assert wrong in content
        content = content.replace(wrong, right)
    rows = list(csv.DictReader(io.StringIO(content)))
    for row in rows:
        row.setdefault("BillingCurrency", "USD")
        for column in ("BilledCost", "EffectiveCost", "ListCost", "ContractedCost"):
            if column in row:
                row[column] = re.sub(r"[$, ]", "", row[column])
    path = folder / Path(name).name
    path.write_text(text(rows))
    return path


# File, what its text in the specification says is billed and effective: purchases, and what is used.
COMMITMENTS = [
    # "incurs a $0.50 BilledCost", "incurs a $0.50 EffectiveCost", "an additional, on-demand $2.25"
    ("commitment_discount_flexibility/one_hundred_percent_utilization_with_commitment_discount_flexibility_with_1_resource.csv",
     "0.5", "2.75", "2.75"),
    ("commitment_discount_flexibility/one_hundred_percent_utilization_with_commitment_discount_flexibility_with_2_resources.csv",
     "2", "2", "2"),
    ("commitment_discount_flexibility/one_hundred_percent_utilization_without_commitment_discount_flexibility.csv",
     "1.5", "1.5", "1.5"),
    # "incurs a $1.50 BilledCost", unused "incurs a $1.50 EffectiveCost", "$2.00 BilledCost and EffectiveCost"
    ("commitment_discount_flexibility/zero_percent_utilization_without_commitment_discount_flexibility.csv",
     "1.5", "3.5", "3.5"),
]  # fmt: skip


@pytest.mark.parametrize(("name", "purchased", "billed", "effective"), COMMITMENTS)
def test_the_flexible_commitments_of_the_specification_add_up(
    tmp_path: Path, name: str, purchased: str, billed: str, effective: str
) -> None:
    path = as_a_bill(name, tmp_path)
    assert money(path, window=THREE_YEARS) == (Decimal(billed), Decimal(effective))
    bought = money(path, "charge_category = 'Purchase'", window=THREE_YEARS)
    covered = money(path, "charge_category = 'Usage' AND commitment_discount_id IS NOT NULL", window=THREE_YEARS)
    assert bought == (Decimal(purchased), Decimal(0))
    assert covered == (Decimal(0), Decimal(purchased))


SCENARIOS = [
    # "$8,760 (24 hours * 365 days * $1.00)"; three hours of the recurring one; "$4,380" and three hours of half of it
    ("purchase_scenario_1", "8760", "0"),
    ("purchase_scenario_2", "3", "0"),
    ("purchase_scenario_3", "4381.5", "0"),
    # 100 % used, nothing used, 75 % used, used up and $0.50 more
    ("usage_scenario_1", "0", "1"),
    ("usage_scenario_2", "0", "1"),
    ("usage_scenario_3", "0", "1"),
    ("usage_scenario_4", "0.5", "1.5"),
]


@pytest.mark.parametrize(("name", "billed", "effective"), SCENARIOS)
def test_the_spend_commitments_of_the_specification_add_up(tmp_path: Path, name: str, billed: str, effective: str) -> None:
    # The 30th hour of a day is no time; the end of the third charge period is the 7th hour of the next day.
    repair = (
        {"2023-02-01T30:00:00Z": "2023-02-02T06:00:00Z"}
        if name.endswith(("purchase_scenario_2", "purchase_scenario_3"))
        else {}
    )
    path = as_a_bill(f"commitment_discount_scenarios/commitment_discount_{name}.csv", tmp_path, repair)
    assert money(path, window=THREE_YEARS) == (Decimal(billed), Decimal(effective))


def test_the_unused_part_of_a_commitment_is_unused(tmp_path: Path) -> None:
    path = as_a_bill("commitment_discount_scenarios/commitment_discount_usage_scenario_3.csv", tmp_path)
    assert collect(path, "commitment_discount_status", "effective_cost_nanos", window=THREE_YEARS) == [
        ("Unused", 250_000_000),
        ("Used", 750_000_000),
    ]


def test_the_thirtieth_hour_of_a_day_is_refused(tmp_path: Path) -> None:
    path = as_a_bill("commitment_discount_scenarios/commitment_discount_purchase_scenario_2.csv", tmp_path)
    assert "ChargePeriodEnd: found '2023-02-01T30:00:00Z'" in refusal(path, window=THREE_YEARS)


SAAS = [
    # $10,000 up front; $50,000; $1,000 for ten more licences; $50,000 in arrears; 505, 650 and 635 licences at $20
    ("simple_agreements/simple_saas_agreements_a1", "10000", "10000"),
    ("simple_agreements/simple_saas_agreements_a2", "50000", "50000"),
    ("simple_agreements/simple_saas_agreements_a3", "1000", "1000"),
    ("simple_agreements/simple_saas_agreements_b", "50000", "50000"),
    ("simple_agreements/simple_saas_agreements_c", "35800", "35800"),
    # "agrees to spend $1200 in the upcoming 12 months": all of it, in arrears or prepaid, whatever was used
    ("spend_agreements/saas_spend_agreements_a1", "1200", "1200"),
    ("spend_agreements/saas_spend_agreements_a2", "1200", "1200"),
    ("spend_agreements/saas_spend_agreements_b1", "1200", "1200"),
    ("spend_agreements/saas_spend_agreements_b2", "1200", "1200"),
    # 100,000 tokens at $2 for $200,000, at $1 for $100,000; overage of 1,500 tokens at $2, and 25,000 more
    ("virtual_currency_pricing_model_a1", "200000", "0"),
    ("virtual_currency_pricing_model_b1", "100000", "0"),
    ("virtual_currency_pricing_model_c", "53000", "0"),
    # 245 x 1 + 5 x 2 + 120 x 3 tokens at $2, at $1; 120 x 2 tokens for the workflow
    ("virtual_currency_pricing_model_a2", "0", "1230"),
    ("virtual_currency_pricing_model_b2", "0", "615"),
    ("virtual_currency_pricing_model_b3", "0", "495"),
]


@pytest.mark.parametrize(("name", "billed", "effective"), SAAS)
def test_the_saas_examples_of_the_specification_add_up(tmp_path: Path, name: str, billed: str, effective: str) -> None:
    path = as_a_bill(f"saas_examples/{name}.csv", tmp_path)
    assert money(path, window=THREE_YEARS, date_format="%m/%d/%y") == (Decimal(billed), Decimal(effective))


@pytest.mark.parametrize(("name", "tokens"), [("a2", "615"), ("b2", "615"), ("b3", "495")])
def test_the_tokens_of_the_specification_are_no_dollars(tmp_path: Path, name: str, tokens: str) -> None:
    path = as_a_bill(f"saas_examples/virtual_currency_pricing_model_{name}.csv", tmp_path)
    columns = ("pricing_currency", "billing_currency", "sum(pricing_currency_effective_cost_nanos)::BIGINT")
    found = collect(path, *columns[:2], "pricing_currency_effective_cost_nanos", window=THREE_YEARS, date_format="%m/%d/%y")
    assert {row[:2] for row in found} == {("Token", "USD")}
    assert sum(row[2] for row in found) * NANO == Decimal(tokens)


def test_the_examples_as_they_are_written_are_refused_with_file_line_and_column(tmp_path: Path) -> None:
    simple = SPEC / "saas_examples/simple_agreements/simple_saas_agreements_a1.csv"
    assert "date_format" in refusal(simple, window=THREE_YEARS)
    said = refusal(simple, window=THREE_YEARS, date_format="%m/%d/%y")
    assert "simple_saas_agreements_a1.csv:2: row 1: BilledCost: found '$10,000.00 '" in said


def test_a_date_format_leaves_times_with_a_zone_alone_and_reads_no_other_dates(tmp_path: Path) -> None:
    path = bill(tmp_path / "bill.csv", {"ChargePeriodStart": "10/2/26"})
    start = "strftime(timezone('UTC', charge_period_start), '%m-%d %H')"
    assert collect(path, start, date_format="%m/%d/%y") == [("10-02 00",)]
    bill(path, {"ChargePeriodStart": "2/10/2026"})
    assert "ChargePeriodStart: found '2/10/2026'" in refusal(path, date_format="%m/%d/%y")


@pytest.mark.parametrize("form", ["", "%m/%d", "%y", "day", "%"])
def test_a_date_format_says_year_month_and_day(form: str) -> None:
    with pytest.raises(ValueError, match="date_format"):
        Focus(Location("bill.csv"), date_format=form)


# --- Azure ------------------------------------------------------------------------------------------------------------

AZURE_LINE = LINE | {
    "CommitmentDiscountId": "",
    "PublisherName": "",
    "ResourceId": "/subscriptions/s/virtualmachines/vm-1",
    "x_BillingProfileId": "b",
    "x_SkuDetails": "",
    "x_SkuMeterId": "m",
    "x_InvoiceId": "G001",
    "x_PricingCurrency": "EUR",
    "x_AmortizationClass": "Amortized Charge",
    "x_SomethingNew": "",
}
RESERVED = '{"VMCapacityReservationId": "/Subscriptions/S/capacityReservations/CR1", "UsageType": "ComputeCR"}'


def test_an_azure_bill_has_its_reservations_from_the_details_of_the_sku(tmp_path: Path) -> None:
    changes = (
        {"x_SkuDetails": RESERVED},
        {"x_SkuDetails": RESERVED, "ResourceId": "/subscriptions/s/capacityReservations/cr1"},
        {"x_SkuDetails": '{"UsageType": "ComputeHR"}'},
    )
    path = bill(tmp_path / "bill.csv", *changes, base=AZURE_LINE)
    cr = "/subscriptions/s/capacityreservations/cr1"
    assert collect(path, "origin_row", "capacity_reservation_id", "capacity_reservation_status") == [
        (1, cr, "Used"),
        (2, cr, "Unused"),
        (3, None, None),
    ]


def test_an_azure_commitment_is_found_by_the_resource_that_is_its_unused_part(tmp_path: Path) -> None:
    path = bill(tmp_path / "bill.csv", {"CommitmentDiscountId": "/Providers/RES-1"}, {}, base=AZURE_LINE)
    assert collect(
        path, "origin_row", "commitment_discount_id", "publisher_name", "invoice_id", "pricing_currency", "line_type"
    ) == [
        (1, "/providers/res-1", "Microsoft", "G001", "EUR", "Amortized Charge"),
        (2, None, None, "G001", "EUR", "Amortized Charge"),
    ]


def test_only_what_azure_does_not_document_is_unknown(tmp_path: Path) -> None:
    path = bill(tmp_path / "bill.csv", {}, base=AZURE_LINE)
    found = notes(path)
    assert [n[1] for n in found if n[0] == "unknown_column"] == ["x_SomethingNew"]
    assert ("renamed_column", "x_InvoiceId", "taken as InvoiceId", 1) in found


def test_azure_times_of_parquet_without_a_zone_are_utc(tmp_path: Path) -> None:
    times = ("BillingPeriodStart", "BillingPeriodEnd", "ChargePeriodStart", "ChargePeriodEnd")
    columns = ", ".join(
        f"TIMESTAMP '{value[:10]} {value[11:19]}' AS \"{name}\"" if name in times else f"'{value}' AS \"{name}\""
        for name, value in AZURE_LINE.items()
    )
    path = parquet(tmp_path / "bill.parquet", f"SELECT {columns}")
    assert money(path) == (Decimal("1.5"), Decimal("1.25"))


def test_two_runs_of_an_azure_export_are_refused_naming_both(tmp_path: Path) -> None:
    for run_ in ("run-1", "run-2"):
        bill(tmp_path / "export/20261001-20261031" / run_ / "part_0.csv", {"SkuId": run_}, base=AZURE_LINE)
    said = refusal(tmp_path)
    assert "run-2/part_0.csv: is of another run than" in said
    assert "run-1/part_0.csv" in said


def actual_lines() -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO((AZURE / "EA_ActualCost_Small.csv").read_text(encoding="utf-8-sig"))))


def amortized_lines() -> list[dict[str, str]]:
    """The lines that belong to the actual ones: the two samples were cut from one bill at different places."""
    lines = csv.DictReader(io.StringIO((AZURE / "EA_AmortizedCost_Small.csv").read_text(encoding="utf-8-sig")))
    there = {tuple(line[c] for c in ("Date", "MeterId", "ResourceId", "Cost")) for line in actual_lines()}
    return [
        line
        for line in lines
        if line["PricingModel"] != "OnDemand" or tuple(line[c] for c in ("Date", "MeterId", "ResourceId", "Cost")) in there
    ]


def pair(folder: Path, actual: list[dict[str, str]], amortized: list[dict[str, str]]) -> Path:
    for name, lines in (("a.csv", actual), ("b.csv", amortized)):
        if lines:
            (folder / name).write_text(text(lines))
    return folder


def costs(lines: list[dict[str, str]]) -> Decimal:
    return sum((Decimal(line["Cost"]) for line in lines), Decimal(0))


def test_actual_and_amortized_costs_are_billed_and_effective_and_nothing_counts_twice(tmp_path: Path) -> None:
    actual, amortized = actual_lines(), amortized_lines()
    folder = pair(tmp_path, actual, amortized)
    billed, effective = money(folder, window=SEPTEMBER_2023)
    assert abs(billed - costs(actual)) < Decimal("1e-8")
    assert abs(effective - costs(amortized)) < Decimal("1e-8")
    committed = [line for line in amortized if line["PricingModel"] != "OnDemand"]
    assert collect(folder, "count(*)", window=SEPTEMBER_2023) == [(len(actual) + len(committed),)]


def test_lines_of_commitments_say_what_they_are(tmp_path: Path) -> None:
    folder = pair(tmp_path, actual_lines(), amortized_lines())
    columns = ("line_type", "billed_cost_nanos", "effective_cost_nanos", "commitment_discount_status", "charge_frequency")
    found = collect(folder, *columns, "commitment_discount_id", window=SEPTEMBER_2023)
    assert [row[:5] for row in found if row[5]] == [
        ("Purchase", 3_250_000_000, 0, None, "Recurring"),
        ("Usage", 0, 6_000_000, "Used", "Usage-Based"),
        ("Usage", 0, 493_152_000, "Used", "Usage-Based"),
    ]
    assert all(row[5] == row[5].lower() for row in found if row[5])


def test_a_day_of_azure_ends_at_the_next_and_its_last_day_is_a_part_of_the_month(tmp_path: Path) -> None:
    folder = pair(tmp_path, actual_lines()[:1], [])
    times = ("charge_period_start", "charge_period_end")
    shown = [f"strftime(timezone('UTC', {t}), '%Y-%m-%d %H')" for t in times]
    assert collect(folder, *shown, "tags", window=SEPTEMBER_2023) == [("2023-09-21 00", "2023-09-22 00", None)]


def test_azure_tags_without_braces_are_tags(tmp_path: Path) -> None:
    folder = pair(tmp_path, [], [])
    (folder / "a.csv").write_text(text(actual_lines()[1:2]))
    (found,) = collect(folder, "tags", window=SEPTEMBER_2023)
    assert found[0]["CostCenter"] == "1234"


def test_an_actual_export_alone_is_taken_as_billed_and_said(tmp_path: Path) -> None:
    folder = pair(tmp_path, actual_lines(), [])
    billed, effective = money(folder, window=SEPTEMBER_2023)
    assert billed == effective
    assert "not_amortized" in {note[0] for note in notes(folder, SEPTEMBER_2023)}


def test_an_amortized_export_alone_is_refused(tmp_path: Path) -> None:
    folder = pair(tmp_path, [], amortized_lines())
    assert "no actual export" in refusal(folder, window=SEPTEMBER_2023)


def test_actual_and_amortized_exports_of_other_days_are_refused_naming_both(tmp_path: Path) -> None:
    said = refusal(AZURE, window=SEPTEMBER_2023)
    assert "EA_AmortizedCost_Small.csv: lines of 2023-09 without a commitment cost" in said
    assert "EA_ActualCost_Small.csv" in said


def test_actual_and_amortized_costs_in_one_file_are_refused(tmp_path: Path) -> None:
    folder = pair(tmp_path, actual_lines() + amortized_lines(), [])
    assert "actual and amortized costs in one file" in refusal(folder, window=SEPTEMBER_2023)


def test_usage_that_a_commitment_covered_stands_there_once(tmp_path: Path) -> None:
    amortized = amortized_lines()
    covered = [{**line, "Cost": "0"} for line in amortized if line["PricingModel"] == "Reservation"]
    folder = pair(tmp_path, actual_lines() + covered, amortized)
    before = len(actual_lines()) + sum(line["PricingModel"] != "OnDemand" for line in amortized)
    assert collect(folder, "count(*)", window=SEPTEMBER_2023) == [(before,)]


def test_no_line_of_a_large_actual_export_is_lost_where_others_stand_in_the_amortized_one(tmp_path: Path) -> None:
    line = actual_lines()[1]
    columns = ", ".join(f"'{value}' AS \"{name}\"" for name, value in line.items() if name not in ("Cost", "PricingModel"))
    usage = "CASE WHEN i < 30000 THEN 'Reservation' ELSE 'OnDemand' END AS \"PricingModel\""
    with duckdb.connect() as connection:
        for name, covered in (("actual", 0), ("amortized", 2)):
            select = (
                f'SELECT {columns}, CASE WHEN i < 30000 THEN {covered} ELSE 1 END AS "Cost", {usage} FROM range(250000) AS t(i)'
            )
            connection.execute(f"COPY ({select}) TO '{tmp_path / name}.csv' (FORMAT csv)")
    counted = collect(tmp_path, "count(*)", "count(DISTINCT (origin_file, origin_row))", window=SEPTEMBER_2023)
    assert counted == [(250_000, 250_000)]
    assert money(tmp_path, window=SEPTEMBER_2023) == (Decimal(220_000), Decimal(280_000))


# --- Google Cloud -----------------------------------------------------------------------------------------------------

CREDITS = (
    "[{'name': 'Sustained', 'amount': CAST(-1.5 AS DOUBLE), 'full_name': 'Sustained use', 'id': 's', "
    "'type': 'SUSTAINED_USAGE_DISCOUNT'}, "
    "{'name': 'Promo', 'amount': CAST(-0.25 AS DOUBLE), 'full_name': 'Promotion X', 'id': 'p', 'type': 'PROMOTION'}]"
)


def detailed(
    cost: str = "10.1", credits_: str = CREDITS, cost_type: str = "regular", sku: str = "A3 High running in Iowa"
) -> str:
    return f"""
        SELECT '01-AB' AS billing_account_id, {{'id': '6F81', 'description': 'Compute Engine'}} AS service,
            {{'id': 'S1', 'description': '{sku}'}} AS sku, TIMESTAMPTZ '2026-10-02 07:00:00Z' AS usage_start_time,
            TIMESTAMPTZ '2026-10-02 08:00:00Z' AS usage_end_time,
            {{'id': 'lab', 'number': '1', 'name': 'Lab', 'labels': [{{'key': 'team', 'value': 'core'}}]}} AS project,
            [{{'key': 'team', 'value': 'evals'}}, {{'key': 'run', 'value': '7'}}] AS labels,
            [{{'key': 'compute.googleapis.com/cores', 'value': '8'}}] AS system_labels,
            {{'location': 'us-central1', 'country': 'US', 'region': 'us-central1', 'zone': 'us-central1-a'}} AS location,
            {{'name': 'vm-1', 'global_name': '//compute.googleapis.com/vm-1'}} AS resource,
            TIMESTAMPTZ '2026-10-03 00:00:00Z' AS export_time,
            CAST({cost} AS DOUBLE) AS cost, 'USD' AS currency, 1.0 AS currency_conversion_rate,
            {{'amount': 3600.0, 'unit': 'seconds', 'amount_in_pricing_units': 1.0, 'pricing_unit': 'hour'}} AS usage,
            {credits_} AS credits, {{'month': '202610', 'publisher_type': 'GOOGLE'}} AS invoice, '{cost_type}' AS cost_type,
            'GOOGLE' AS transaction_type, CAST(NULL AS VARCHAR) AS seller_name, CAST(12 AS DOUBLE) AS cost_at_list
    """


def test_a_line_of_google_cloud_and_its_credits_are_lines_that_add_to_what_is_paid(tmp_path: Path) -> None:
    path = parquet(tmp_path / "bill.parquet", detailed())
    columns = (
        "charge_category",
        "line_type",
        "billed_cost_nanos",
        "effective_cost_nanos",
        "list_cost_nanos",
        "charge_description",
    )
    assert collect(path, "origin_file", "origin_row", *columns) == [
        (str(path), 1, "Usage", "regular", 10_100_000_000, 10_100_000_000, 12_000_000_000, "A3 High running in Iowa"),
        (f"{path}#credits/1", 1, "Credit", "SUSTAINED_USAGE_DISCOUNT", -1_500_000_000, -1_500_000_000, None, "Sustained use"),
        (f"{path}#credits/2", 1, "Credit", "PROMOTION", -250_000_000, -250_000_000, None, "Promotion X"),
    ]
    assert money(path) == (Decimal("8.35"), Decimal("8.35"))


def test_a_line_of_google_cloud_names_its_resource_project_and_labels_on_its_credits_too(tmp_path: Path) -> None:
    path = parquet(tmp_path / "bill.parquet", detailed())
    found = collect(path, "DISTINCT resource_id", "sub_account_id", "availability_zone", "sku_id", "publisher_name", "tags")
    tags = {"team": "evals", "run": "7", "project_label/team": "core"}
    assert found == [("//compute.googleapis.com/vm-1", "lab", "us-central1-a", "S1", "Google Cloud", tags)]


@pytest.mark.parametrize(
    ("cost_type", "sku", "category"),
    [
        ("tax", "Tax", "Tax"),
        ("adjustment", "Adjustment", "Adjustment"),
        ("rounding_error", "Rounding", "Adjustment"),
        ("regular", "Commitment v1: A3 in Iowa for 1 Year", "Purchase"),
    ],
)
def test_types_of_cost_of_google_cloud_are_categories(tmp_path: Path, cost_type: str, sku: str, category: str) -> None:
    path = parquet(
        tmp_path / "bill.parquet",
        detailed(
            credits_="[]::STRUCT(name VARCHAR, amount DOUBLE, full_name VARCHAR, type VARCHAR)[]", cost_type=cost_type, sku=sku
        ),
    )
    assert collect(path, "charge_category", "line_type", "billed_cost_nanos") == [(category, cost_type, 10_100_000_000)]


def test_a_type_of_cost_that_nobody_knows_is_refused(tmp_path: Path) -> None:
    path = parquet(tmp_path / "bill.parquet", detailed(cost_type="mystery"))
    assert "ChargeCategory: found 'mystery'" in refusal(path)


def test_nothing_of_google_cloud_is_unknown(tmp_path: Path) -> None:
    path = parquet(tmp_path / "bill.parquet", detailed())
    found = notes(path)
    assert [n for n in found if n[0] == "unknown_column"] == []
    assert {n[1] for n in found if n[0] == "missing_column"} == {"ServiceCategory"}


def test_json_lines_from_bigquery_say_the_same_as_parquet(tmp_path: Path) -> None:
    with duckdb.connect() as connection:
        connection.execute("SET TimeZone = 'UTC'")
        times = ", ".join(
            f"strftime({t}, '%Y-%m-%d %H:%M:%S UTC') AS {t}" for t in ("usage_start_time", "usage_end_time", "export_time")
        )
        source = f"SELECT * REPLACE ({times}) FROM ({detailed()} UNION ALL {detailed('2', '[]')})"
        connection.execute(f"COPY ({source}) TO '{tmp_path / 'bill.json.gz'}' (FORMAT json, COMPRESSION gzip)")
    (tmp_path / "p").mkdir()
    path = parquet(tmp_path / "p/bill.parquet", f"{detailed()} UNION ALL {detailed('2', '[]')}")
    columns = (
        "origin_row",
        "line_type",
        "billed_cost_nanos",
        "resource_id",
        "consumed_quantity",
        "CAST(tags AS VARCHAR)",
        "epoch_us(charge_period_start)",
    )
    assert collect(tmp_path / "bill.json.gz", *columns) == collect(path, *columns)
    assert len(collect(path, "1")) == 4


def test_lists_of_google_cloud_that_are_texts_are_refused_with_the_file(tmp_path: Path) -> None:
    path = tmp_path / "bill.csv"
    with duckdb.connect() as connection:
        connection.execute("SET TimeZone = 'UTC'")
        connection.execute(f"COPY ({detailed()}) TO '{path}' (FORMAT csv)")
    assert f"{path}: can't be read" in refusal(path)


def test_the_focus_view_of_google_cloud_is_net_of_credits_already(tmp_path: Path) -> None:
    extra = {
        "x_Credits": "[{'Name': 'c', 'Amount': CAST(-0.5 AS DECIMAL(38, 9)), 'Type': 'PROMOTION'}]",
        "x_CostType": "'regular'",
        "x_ExportTime": "TIMESTAMPTZ '2026-10-03 00:00:00Z'",
        "ServiceCategory": "['GCP', 'Compute', 'GCE']",
        "Tags": "[{'key': 'team', 'value': 'core', 'x_type': 'label'}, "
        "{'key': 'team', 'value': 'lab', 'x_type': 'project_label'}]",
        "ChargeCategory": "'usage'",
    }
    columns = {name: f"'{value}'" for name, value in LINE.items()} | extra
    path = parquet(tmp_path / "bill.parquet", "SELECT " + ", ".join(f'{sql} AS "{name}"' for name, sql in columns.items()))
    assert money(path) == (Decimal("1.5"), Decimal("1.25"))
    assert collect(path, "service_category", "line_type", "charge_category", "tags") == [
        ("Compute", "regular", "Usage", {"team": "core", "project_label/team": "lab"})
    ]


@pytest.mark.parametrize("beside", [False, True])
def test_a_text_of_tags_is_read_as_its_own_file_writes_it(tmp_path: Path, beside: bool) -> None:
    of_google = {"x_Credits": "", "x_CostType": "regular", "x_ExportTime": "2026-10-03T00:00:00Z"}
    pairs, keys = '[{"key": "team", "value": "core"}]', '{"key": "team", "value": "core"}'
    bill(tmp_path / "a.csv", {"Tags": keys}, {"Tags": pairs, "BillingCurrency": "EUR"})
    if beside:
        bill(tmp_path / "b.csv", {**of_google, "Tags": pairs})
    assert f"a.csv:3: row 2: Tags: found '{pairs}'" in refusal(tmp_path)
    bill(tmp_path / "a.csv", {"Tags": keys})
    assert collect(tmp_path / "a.csv", "tags") == [({"key": "team", "value": "core"},)]
    bill(tmp_path / "b.csv", {**of_google, "Tags": keys})
    assert f"b.csv:2: row 1: Tags: found '{keys}'" in refusal(tmp_path if beside else tmp_path / "b.csv")


# --- Oracle, Nebius ---------------------------------------------------------------------------------------------------


def test_oracles_old_names_are_the_new_ones_and_said(tmp_path: Path) -> None:
    old = {
        "InvoiceIssuer": "Oracle",
        "Provider": "OCI",
        "Publisher": "Oracle",
        "Region": "us-ashburn-1",
        "UsageQuantity": "2",
        "UsageUnit": "HOURS",
    }
    path = bill(tmp_path / "bill.csv", {**old, "oci_ReferenceNumber": "r", "oci_CostOverage": ""})
    columns = ("invoice_issuer_name", "provider_name", "publisher_name", "region_id", "consumed_quantity", "consumed_unit")
    assert collect(path, *columns) == [("Oracle", "OCI", "Oracle", "us-ashburn-1", 2.0, "HOURS")]
    found = {note[:3] for note in notes(path)}
    assert ("renamed_column", "Provider", "taken as ProviderName") in found
    assert "unknown_column" not in {kind for kind, *_ in found}


def test_a_commitment_that_nebius_adjusts_keeps_its_category_and_its_money(tmp_path: Path) -> None:
    path = bill(
        tmp_path / "bill.csv", {"ProviderName": "Nebius", "ChargeCategory": "Adjustment", "SkuId": "", "EffectiveCost": "-3"}
    )
    assert collect(path, "charge_category", "sku_id", "effective_cost_nanos") == [("Adjustment", None, -3_000_000_000)]


# --- CoreWeave: usage without costs -----------------------------------------------------------------------------------

USAGE = {name: value for name, value in LINE.items() if name not in ("BilledCost", "EffectiveCost", "BillingCurrency")} | {
    "ProviderName": "CoreWeave",
    "SkuId": "gd-8xh100ib-i128",
    "SkuPriceDetails": '{"InstanceType": "gd-8xh100ib-i128"}',
    "ConsumedQuantity": "3.5",
    "ConsumedUnit": "GPU-Hours",
}
PRICES = """
[[price]]
sku = "gd-8xh100ib-i128"
unit = "gpu-hours"
price = 2.39
currency = "USD"
to = 2026-10-10

[[price]]
instance_type = "gd-8xh100ib-i128"
unit = "GPU-Hours"
price = 2.5
currency = "USD"
from = 2026-10-10
"""


def priced(folder: Path, more: str = "") -> Location:
    (folder / "prices.toml").write_text(PRICES + more)
    return Location(folder / "prices.toml")


def test_usage_without_costs_is_an_estimate_by_its_prices(tmp_path: Path) -> None:
    late = {"ChargePeriodStart": "2026-10-10T00:00:00Z", "ChargePeriodEnd": "2026-10-10T01:00:00Z"}
    path = bill(tmp_path / "bill.csv", {}, late, base=USAGE)
    assert collect(
        path, "basis", "billed_cost_nanos", "effective_cost_nanos", "billing_currency", rate_card=priced(tmp_path)
    ) == [
        ("estimated", 8_365_000_000, 8_365_000_000, "USD"),
        ("estimated", 8_750_000_000, 8_750_000_000, "USD"),
    ]


def test_usage_of_json_is_priced_too(tmp_path: Path) -> None:
    for name, content in (
        ("list.json", json.dumps([USAGE, {**USAGE, "ConsumedQuantity": 2}])),
        ("lines.jsonl", json.dumps(USAGE) + "\n" + json.dumps({**USAGE, "ConsumedQuantity": 2}) + "\n"),
    ):
        path = tmp_path / name
        path.write_text(content)
        found = collect(path, "origin_row", "billed_cost_nanos", rate_card=priced(tmp_path))
        assert found == [(1, 8_365_000_000), (2, 4_780_000_000)]


def test_columns_of_costs_that_are_all_blank_are_no_costs_and_a_given_cost_stays(tmp_path: Path) -> None:
    blank = USAGE | {"BilledCost": "", "EffectiveCost": "", "BillingCurrency": ""}
    path = bill(tmp_path / "bill.csv", {}, {"BilledCost": "1", "EffectiveCost": "1", "BillingCurrency": "USD"}, base=blank)
    assert collect(path, "basis", "billed_cost_nanos", rate_card=priced(tmp_path)) == [
        ("billed", 1_000_000_000),
        ("estimated", 8_365_000_000),
    ]


def test_usage_without_a_price_is_an_error_that_names_it(tmp_path: Path) -> None:
    path = bill(tmp_path / "bill.csv", {}, {"SkuId": "storage", "SkuPriceDetails": "", "ConsumedUnit": "GiB-Hours"}, base=USAGE)
    said = refusal(path, rate_card=priced(tmp_path))
    assert "bill.csv: row 2: found 'storage' in 'GiB-Hours' without a cost, expected a price for it in" in said


def test_a_price_of_another_unit_is_no_price(tmp_path: Path) -> None:
    path = bill(tmp_path / "bill.csv", {"ConsumedUnit": "Node-Hours"}, base=USAGE)
    assert "without a cost" in refusal(path, rate_card=priced(tmp_path))


def test_usage_without_prices_says_what_to_set(tmp_path: Path) -> None:
    path = bill(tmp_path / "bill.csv", {}, base=USAGE)
    assert "for usage without costs set rate_card" in refusal(path)


INVOICE = """
[[invoice]]
invoice = "CW-2026-10"
billing_period = "2026-10"
amount = 100
currency = "USD"
"""


def test_the_invoice_makes_the_estimate_billed_to_the_nano(tmp_path: Path) -> None:
    path = bill(tmp_path / "bill.csv", *({"ConsumedQuantity": str(n)} for n in (1, 1, 1, 4)), base=USAGE)
    found = collect(
        path,
        "origin_row",
        "basis",
        "billed_cost_nanos",
        "effective_cost_nanos",
        "invoice_id",
        rate_card=priced(tmp_path, INVOICE),
    )
    assert {row[1] for row in found} == {"billed"}
    assert {row[4] for row in found} == {"CW-2026-10"}
    assert (
        [row[2] for row in found]
        == [row[3] for row in found]
        == [14_285_714_286, 14_285_714_286, 14_285_714_285, 57_142_857_143]
    )
    assert sum(row[2] for row in found) == 100_000_000_000


def test_an_invoice_of_another_month_leaves_the_estimate(tmp_path: Path) -> None:
    path = bill(tmp_path / "bill.csv", {}, base=USAGE)
    assert collect(path, "basis", rate_card=priced(tmp_path, INVOICE.replace("2026-10", "2026-09"))) == [("estimated",)]


def test_an_invoice_of_a_month_without_usage_is_refused(tmp_path: Path) -> None:
    path = bill(tmp_path / "bill.csv", {}, base=USAGE)
    september = Window(datetime(2026, 9, 1, tzinfo=UTC), datetime(2026, 11, 1, tzinfo=UTC))
    with pytest.raises(ConfigError, match=r"prices.toml: invoice 1: an invoice of 2026-09"):
        collect(path, "1", window=september, rate_card=priced(tmp_path, INVOICE.replace("2026-10", "2026-09")))


@pytest.mark.parametrize(("quantity", "currency"), [("1", "EUR"), ("0", "USD")])
def test_an_invoice_that_no_usage_can_be_brought_to_is_refused(tmp_path: Path, quantity: str, currency: str) -> None:
    path = bill(tmp_path / "bill.csv", {"ConsumedQuantity": quantity}, base=USAGE)
    with pytest.raises(ConfigError, match=f"prices.toml: invoice 1: an invoice in {currency} of 2026-10, where no usage"):
        collect(path, "basis", "billed_cost_nanos", rate_card=priced(tmp_path, INVOICE.replace("USD", currency)))


def test_two_prices_for_one_thing_at_one_time_are_refused(tmp_path: Path) -> None:
    path = bill(tmp_path / "bill.csv", {}, base=USAGE)
    with pytest.raises(ConfigError, match=r"price 1 and price 3: two prices match sku gd-8xh100ib-i128"):
        collect(path, "1", rate_card=priced(tmp_path, PRICES.split("\n\n")[0]))


# --- JSON -------------------------------------------------------------------------------------------------------------


def test_a_manifest_is_no_bill(tmp_path: Path) -> None:
    bill(tmp_path / "bill.csv", {})
    (tmp_path / "lab-Manifest.json").write_text('{"dataFiles": []}')
    assert collect(tmp_path, "billed_cost_nanos") == [(1_500_000_000,)]
    with pytest.raises(SourceUnavailable, match="no bill found"):
        collect(tmp_path / "lab-Manifest.json", "1")


@pytest.mark.parametrize("content", ["[1, 2]", '"bill"', "{", '{"a": 1} x', "", "[]"])
def test_json_that_is_no_list_of_objects_is_refused(tmp_path: Path, content: str) -> None:
    (tmp_path / "bill.json").write_text(content)
    assert "bill.json" in refusal(tmp_path / "bill.json")


def test_rows_of_a_large_json_file_keep_their_numbers(tmp_path: Path) -> None:
    lines = [json.dumps({**LINE, "BilledCost": n, "Tags": {"n": str(n)}}) for n in range(1, 30_001)]
    (tmp_path / "bill.jsonl").write_text("\n".join(lines))
    wrong = "count(*) FILTER (WHERE billed_cost_nanos <> origin_row * 1000000000 OR tags['n'] <> CAST(origin_row AS VARCHAR))"
    assert collect(tmp_path / "bill.jsonl", "count(*)", wrong) == [(30_000, 0)]


# --- through the pipeline ---------------------------------------------------------------------------------------------


def organisation(folder: Path, **files: Sequence[Mapping[str, str]]) -> Path:
    config = write_organisation(folder)
    (folder / "bill.csv").unlink()
    for name, lines in files.items():
        bill(folder / f"bills/{name}.csv", *lines)
    config.write_text(config.read_text().replace('path = "bill.csv"', 'path = "bills"'))
    return config


def test_an_allocated_bill_and_its_origin_are_refused_with_both_names(tmp_path: Path) -> None:
    parts = [
        {"AllocatedMethodId": "m", "BilledCost": "1", "EffectiveCost": "1"},
        {"AllocatedMethodId": "m", "BilledCost": "0.5", "EffectiveCost": "0.25"},
    ]
    config = load(organisation(tmp_path, split=parts, whole=[{}]))
    with pytest.raises(ConfigError, match=r"split.csv' has allocated parts of charges that '.*whole.csv' has whole"):
        Pipeline(config).run(parse_period("2026-10"))


def test_an_allocated_bill_beside_other_charges_is_a_bill(tmp_path: Path) -> None:
    other = [{"ResourceId": "i-0b"}, {"ChargeCategory": "Credit"}, {"ChargeClass": "Correction"}]
    config = load(organisation(tmp_path, split=[{"AllocatedMethodId": "m"}], whole=other))
    (made,) = Pipeline(config).run(parse_period("2026-10")).breakdowns
    assert made.billed_total == Decimal(6)


def test_a_correction_is_billed_in_its_month_and_used_in_the_old_one(tmp_path: Path) -> None:
    september = {"ChargePeriodStart": "2026-09-30T10:00:00Z", "ChargePeriodEnd": "2026-09-30T11:00:00Z"}
    config = load(organisation(tmp_path, october=[{"ChargeClass": "Correction", **september, "InvoiceId": "INV-10"}]))
    pipeline = Pipeline(config)
    (made,) = pipeline.run(parse_period("2026-10")).breakdowns
    assert made.billed_total == Decimal("1.5")
    snapshot = pipeline.ledger.snapshot()
    with duckdb.connect() as connection:
        found = connection.execute(
            f"SELECT billing_period, day, billed_cost_nanos FROM ({snapshot.select('attributions', lambda p: True)})"
        ).fetchall()
    assert found == [("2026-10", "2026-09-30", 1_500_000_000)]


def test_an_estimate_of_usage_is_an_estimate_in_the_breakdown(tmp_path: Path) -> None:
    config = write_organisation(tmp_path)
    bill(tmp_path / "bill.csv", {}, base=USAGE)
    priced(tmp_path)
    config.write_text(config.read_text().replace('path = "bill.csv"', 'path = "bill.csv"\nrate_card = "prices.toml"'))
    (made,) = Pipeline(load(config)).run(parse_period("2026-10")).breakdowns
    assert (made.basis, made.billed_total) == ("estimated", Decimal("8.365"))


# --- the data files ---------------------------------------------------------------------------------------------------


def test_every_form_is_told_from_every_other() -> None:
    names = [d.name for d in DIALECTS]
    assert sorted(names) == sorted(p.stem for p in COLUMNS.glob("*.toml") if not p.stem.startswith("focus"))
    told = [frozenset(d.told_by) for d in DIALECTS]
    assert not any(one < two for one in told for two in told)
