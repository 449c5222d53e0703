"""The FOCUS export: what comes out adds up, says what FOCUS says, and reads back as the same bill."""

from __future__ import annotations

import csv
import json
from collections.abc import Mapping
from decimal import Decimal
from pathlib import Path
from typing import Any

import duckdb
import pytest
from click.testing import CliRunner
from focus_bills import organisation, several_ways, write_full_bill
from ledgers import charge, write_ledger
from organisations import CONFIG, JOBS, JOBS_HEADER, MONTH, bill_line, write_organisation
from pyarrow import parquet

from rdspend import focus_export
from rdspend.bills.focus_spec import VERSIONS
from rdspend.cli import main
from rdspend.config import load
from rdspend.engine import Engine
from rdspend.errors import BadRecord, ConfigError, ConservationError
from rdspend.focus_export import ALLOCATED, AMOUNTS, Exported
from rdspend.focus_rules import PURPOSES
from rdspend.ledger import Ledger
from rdspend.period import parse_period
from rdspend.pipeline import STAGES, Pipeline
from rdspend.reading import Reader
from rdspend.schema import CHARGES, TAGS

OCTOBER = parse_period(MONTH)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An organisation that has run. Tests only read it."""
    return organisation(tmp_path_factory.mktemp("organisation"))


def export(config: Path, out: Path, **how: Any) -> Exported:
    return Reader(load(config)).export_focus(how.pop("period", OCTOBER), out, **how)


def rows(folder: Path, sql: str) -> list[tuple[Any, ...]]:
    with duckdb.connect() as connection:
        connection.execute("SET TimeZone = 'UTC'")
        connection.execute(f"CREATE VIEW written AS SELECT * FROM read_parquet('{folder}/*.parquet')")
        return connection.execute(sql).fetchall()


def charges(config: Path, columns: str, order: str = "origin_row") -> list[tuple[Any, ...]]:
    reader = Reader(load(config))
    with reader._reader() as engine:
        engine.execute(f"CREATE VIEW charges AS {reader.ledger.snapshot().select('charges')}")
        return engine.rows(f"SELECT {columns} FROM charges ORDER BY {order}")


def columns_of(folder: Path) -> list[str]:
    return [name for name, *_ in rows(folder, "DESCRIBE SELECT * FROM written")]


# --- it adds up -------------------------------------------------------------------------------------------------------


def test_the_rows_of_a_charge_add_up_to_it_in_every_cost_and_quantity(made: Path, tmp_path: Path) -> None:
    export(made, tmp_path / "out")
    nanos = "billed_cost_nanos, effective_cost_nanos, list_cost_nanos, contracted_cost_nanos"
    origins = charges(made, f"origin_row, {nanos}, pricing_quantity, consumed_quantity")
    sums = ", ".join(f'sum("{name}")' for name in list(AMOUNTS)[:6])
    found = rows(tmp_path / "out", f'SELECT "x_OriginRowNumber", {sums} FROM written GROUP BY 1 ORDER BY 1')
    expected = [
        (row, *(Decimal(v).scaleb(-9) for v in costs), *(None if q is None else Decimal(str(q)) for q in quantities))
        for row, *values in origins
        for costs, quantities in [(values[:4], values[4:])]
    ]
    assert found == expected
    assert len(found) == len(several_ways())


def test_the_rows_of_a_job_and_of_a_bucket_add_up_to_the_report(made: Path, tmp_path: Path) -> None:
    export(made, tmp_path / "out")
    reader = Reader(load(made))
    (breakdown,) = reader.breakdowns(OCTOBER, None)
    by_category = {line.name: line for line in (*breakdown.lines, *breakdown.buckets)}
    words = {**focus_export.CATEGORIES, "unclassified": "unknown", "shared": "shared"}
    found = {
        category: amounts
        for category, *amounts in rows(
            tmp_path / "out",
            'SELECT "x_ComputePurposeCategory", sum("EffectiveCost"), sum("BilledCost") FROM written GROUP BY 1',
        )
    }
    for ours, theirs in words.items():
        if by_category[ours].cost:
            assert found[theirs] == [by_category[ours].cost, by_category[ours].billed_cost]
    idle = [by_category["idle"], by_category["bill_idle"]]
    assert found["idle"] == [sum(line.cost for line in idle), sum(line.billed_cost for line in idle)]
    jobs = rows(tmp_path / "out", 'SELECT "x_JobId", sum("EffectiveCost") FROM written WHERE "x_JobId" IS NOT NULL GROUP BY 1')
    assert dict(jobs) == {job.job_key: job.cost for job in breakdown.top_jobs}


def cut_the_first_job(config: Path) -> None:
    """A release takes the first nine of the twelve hours of job 1; of the rest nobody says anything."""
    nine = "TIMESTAMPTZ '2026-10-01 09:00:00+00'"
    answer = (
        f"SELECT 'lineage' AS tagger, '{MONTH}' AS end_month, job_key, 'final_training' AS activity, NULL AS stage, "
        f"'run' AS role, 'm-1' AS release, CAST(NULL AS TIMESTAMPTZ) AS segment_start, {nine} AS segment_end, "
        "NULL AS chances, 1.0 AS confidence, 'release ''m-1'' names it' AS evidence, '1' AS version "
        "FROM jobs WHERE job_id = '1'"
    )
    with Ledger(load(config).ledger).writer() as writer, Engine() as engine:
        writer.snapshot().view(engine, "jobs")
        writer.replace(TAGS, engine.connection.sql(answer), {}, drop=lambda _: True)
        writer.finish(
            engine,
            stages=("tag",),
            period=MONTH,
            started_at=2e9,
            ended_at=2e9,
            outcome="ok",
            config_digest="",
            code_version="",
        )


def test_a_job_that_a_release_cuts_is_cut_as_in_the_report(tmp_path: Path) -> None:
    config = organisation(tmp_path / "lab")
    cut_the_first_job(config)
    export(config, tmp_path / "out", version="1.3")
    (breakdown,) = Reader(load(config)).breakdowns(OCTOBER, None)
    final = next(line for line in breakdown.lines if line.name == "final_training")
    assert 0 < final.cost < breakdown.total
    found = rows(
        tmp_path / "out",
        'SELECT "x_ModelReleaseId", "AllocatedResourceId", sum("EffectiveCost"), count(*) FROM written '
        "WHERE \"x_ComputePurposeCategory\" = 'final-training' GROUP BY 1, 2",
    )
    ((release, receiver, cost, count),) = found
    assert (release, receiver.split("#")[1]) == ("m-1", "1")
    assert abs(cost - final.cost) <= count * Decimal("0.000000001")
    jobs = rows(tmp_path / "out", 'SELECT "x_JobId", sum("EffectiveCost") FROM written WHERE "x_JobId" IS NOT NULL GROUP BY 1')
    whole: dict[str, Decimal] = {}
    for job in breakdown.top_jobs:
        whole[job.job_key] = whole.get(job.job_key, Decimal(0)) + job.cost
    assert dict(jobs) == whole


def test_a_job_that_ended_before_the_first_day_with_money_keeps_its_money(tmp_path: Path) -> None:
    # The bill's first day costs nothing. The attribution knows jobs from that day on, and so must who reads it.
    config = write_organisation(tmp_path)
    tail = "9,u,pretrain,eval-tail,2026-09-30T00:00:00Z,2026-09-30T00:00:00Z,2026-09-30T12:00:00Z,COMPLETED,n1,8,H100,,job-9"
    (tmp_path / "jobs.csv").write_text(f"{JOBS_HEADER},resource_id\n{tail}\n")
    free = bill_line("2026-09-29T00:00:00Z", "2026-09-30T00:00:00Z", "0", "i-1")
    late = bill_line(f"{MONTH}-01T00:00:00Z", f"{MONTH}-02T00:00:00Z", "3", "job-9")
    write_full_bill(tmp_path / "bill.csv", [free, late])
    Pipeline(load(config)).run(parse_period(f"2026-09..{MONTH}"), STAGES)
    export(config, tmp_path / "out")
    (job,) = rows(tmp_path / "out", 'SELECT "x_JobSystemName", "EffectiveCost" FROM written WHERE "x_JobId" IS NOT NULL')
    assert job == ("c1", 3)
    (breakdown,) = Reader(load(config)).breakdowns(OCTOBER, None)
    assert [top.cost for top in breakdown.top_jobs] == [3]


def test_shares_of_a_split_charge_add_up_to_one_and_the_rest_has_no_receiver(made: Path, tmp_path: Path) -> None:
    export(made, tmp_path / "out", version="1.3")
    ratio = "CAST(json_extract(\"AllocatedMethodDetails\", '$.Elements[0].AllocatedRatio') AS DECIMAL(12, 9))"
    found = rows(
        tmp_path / "out",
        f'SELECT "x_OriginRowNumber", sum({ratio}) FROM written WHERE "AllocatedMethodId" IS NOT NULL GROUP BY 1',
    )
    assert len(found) > 96
    assert {total for _, total in found} == {Decimal(1)}
    (idle,) = rows(
        tmp_path / "out",
        'SELECT count(*), count("AllocatedResourceId"), count("AllocatedTags") FROM written '
        'WHERE "x_ComputePurposeCategory" = \'idle\' AND "AllocatedMethodId" IS NOT NULL',
    )
    assert idle[0] > 0
    assert idle[1:] == (0, 0)


def test_every_row_of_a_charge_says_what_the_charge_says(made: Path, tmp_path: Path) -> None:
    export(made, tmp_path / "out", version="1.3")
    own = [c for c in columns_of(tmp_path / "out") if c not in AMOUNTS and not c.startswith(("x_", "Allocated"))]
    differing = " OR ".join(f"count(DISTINCT COALESCE(CAST(\"{c}\" AS VARCHAR), '')) > 1" for c in own)
    assert rows(tmp_path / "out", f'SELECT 1 FROM written GROUP BY "x_OriginRowNumber" HAVING {differing}') == []
    tags = rows(tmp_path / "out", 'SELECT DISTINCT "Tags" FROM written WHERE "x_OriginRowNumber" = 2')
    assert [json.loads(text) for (text,) in tags] == [{"team": 'a"b', "line": "1"}]


def test_attributions_that_are_not_the_charges_ways_are_refused(tmp_path: Path) -> None:
    # The bill calls it unused, the attributions say shared: their sums are equal, and still the export is not theirs.
    config = write_ledger(
        tmp_path, [charge("5", **FULL, resource_id="r", capacity_reservation_id="r", capacity_reservation_status="Unused")]
    )
    with pytest.raises(ConservationError, match="rows of 'idle' differ from its attributions by -5000000000 nanos"):
        export(config, tmp_path / "out")
    assert not (tmp_path / "out").exists()
    assert [p.name for p in tmp_path.iterdir() if p.name.startswith(".out")] == []


def test_a_month_that_does_not_close_is_refused(tmp_path: Path) -> None:
    lost = charge("4.999999999", **FULL)
    short = {k: lost[k] for k in ("source", "billing_period", "billing_currency", "basis")} | {
        "effective_cost_nanos": lost["effective_cost_nanos"],
        "billed_cost_nanos": lost["billed_cost_nanos"],
        "day": f"{MONTH}-01",
        "route": "shared",
        "bucket": "shared",
        "service": "s",
    }
    config = write_ledger(tmp_path, [charge("5", **FULL)], attributions=[short])
    with pytest.raises(ConservationError, match=r"charges 5\.0+, attributed 4\.999999999 .*; nothing was published"):
        export(config, tmp_path / "out")
    runner = CliRunner()
    words = ["--config", str(config), "export", "focus", "--period", MONTH, "--out", str(tmp_path / "out")]
    assert runner.invoke(main, words).exit_code == 4
    assert not (tmp_path / "out").exists()


def test_a_month_with_more_credits_than_cost_is_below_zero(tmp_path: Path) -> None:
    noon, one = f"{MONTH}-01T12:00:00Z", f"{MONTH}-01T13:00:00Z"
    config = write_organisation(tmp_path)
    lines = [bill_line(noon, one, "2", "i-1"), bill_line(noon, one, "-7.000000001", "i-1", category="Credit")]
    write_full_bill(tmp_path / "bill.csv", lines)
    Pipeline(load(config)).run(OCTOBER, STAGES)
    export(config, tmp_path / "out")
    (breakdown,) = Reader(load(config)).breakdowns(OCTOBER, None)
    assert rows(tmp_path / "out", 'SELECT sum("EffectiveCost") FROM written') == [(breakdown.total,)]
    assert breakdown.total == Decimal("-5.000000001")
    credit = rows(tmp_path / "out", 'SELECT "EffectiveCost" FROM written WHERE "ChargeCategory" = \'Credit\'')
    assert sum(amount for (amount,) in credit) == Decimal("-7.000000001")
    assert len(credit) > 1
    assert all(amount <= 0 for (amount,) in credit)


# --- texts ------------------------------------------------------------------------------------------------------------

NASTY = (
    'two\nlines, a comma and "quotes"',
    "=cmd|' /C calc'!A0",
    "\u202egpj.exe \U0001f680 it's {a} \\back\\slash",
    "<script>alert(1)</script>\r\n",
    "x" * 10_000,
)


@pytest.mark.parametrize("form", focus_export.FORMS)
def test_names_come_out_as_they_went_in(form: str, tmp_path: Path) -> None:
    config = write_organisation(tmp_path)
    with (tmp_path / "jobs.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(JOBS_HEADER.split(","))
        for line, name in zip(JOBS, NASTY, strict=True):
            job_id, user, _, _, *more = next(csv.reader([line]))
            writer.writerow([job_id, user, name, name, *more])
    write_full_bill(tmp_path / "bill.csv", several_ways())
    with (tmp_path / "bill.csv").open(newline="") as file:
        lines = list(csv.DictReader(file))
    for number, row in enumerate(lines):
        name = NASTY[number % len(NASTY)]
        row |= {"ChargeDescription": name, "Tags": json.dumps({name: name})}
    with (tmp_path / "bill.csv").open("w", newline="") as file:
        whole = csv.DictWriter(file, list(lines[0]))
        whole.writeheader()
        whole.writerows(lines)
    Pipeline(load(config)).run(OCTOBER, STAGES)
    export(config, tmp_path / "out", form=form)
    # Read by none of ours: pyarrow and Python's own csv.
    if form == "parquet":
        written = [row for path in (tmp_path / "out").glob("*.parquet") for row in parquet.read_table(path).to_pylist()]
    else:
        csv.field_size_limit(10**6)
        written = []
        for path in (tmp_path / "out").glob("*.csv"):
            with path.open(newline="", encoding="utf-8") as file:
                written += list(csv.DictReader(file))
    assert {row["x_AllocatedResourceName"] for row in written} - {"", None} == set(NASTY)
    accounts = {json.loads(row["x_AllocatedTags"])["rdspend:account"] for row in written if row["x_AllocatedTags"]}
    assert accounts == set(NASTY)
    for row in written:
        name = NASTY[(int(row["x_OriginRowNumber"]) - 1) % len(NASTY)]
        assert (row["ChargeDescription"], json.loads(row["Tags"])) == (name, {name: name})
    write_organisation(tmp_path / "again")
    again = tmp_path / "again" / "rdspend.toml"
    again.write_text(CONFIG.replace('path = "bill.csv"', f'path = "{tmp_path}/out/*.{form}"'))
    Pipeline(load(again)).run(OCTOBER, STAGES)
    texts = "DISTINCT charge_description, CAST(to_json(tags) AS VARCHAR)"
    assert set(charges(again, texts, order="1")) == set(charges(config, texts, order="1"))


# --- it reads back ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("form", focus_export.FORMS)
def test_an_export_read_back_is_the_same_bill(version: str, form: str, made: Path, tmp_path: Path) -> None:
    export(made, tmp_path / "export", version=version, form=form)
    write_organisation(tmp_path / "again")
    config = tmp_path / "again" / "rdspend.toml"
    config.write_text(CONFIG.replace('path = "bill.csv"', f'path = "{tmp_path}/export/*.{form}"'))
    Pipeline(load(config)).run(OCTOBER, STAGES)
    (before,) = Reader(load(made)).breakdowns(OCTOBER, None)
    (after,) = Reader(load(config)).breakdowns(OCTOBER, None)
    assert (after.total, after.billed_total, after.closings) == (before.total, before.billed_total, before.closings)
    if version == "1.0":
        return  # It has no column for a reservation that is not used: that money reads back as shared.
    for then, now in zip((*before.lines, *before.buckets), (*after.lines, *after.buckets), strict=True):
        # Rows of a node hour are cut anew: at most a nano for each.
        assert abs(now.cost - then.cost) < Decimal("0.000001")


def test_the_export_beside_its_bill_is_refused(made: Path, tmp_path: Path) -> None:
    export(made, tmp_path / "bills", version="1.3")
    write_organisation(tmp_path / "again")
    (tmp_path / "bills" / "bill.csv").write_bytes((made.parent / "bill.csv").read_bytes())
    config = tmp_path / "again" / "rdspend.toml"
    config.write_text(CONFIG.replace('path = "bill.csv"', f'path = "{tmp_path}/bills"'))
    (failure,) = Pipeline(load(config)).run(OCTOBER, ("collect",)).failures
    assert "would count twice" in str(failure.error)


# --- versions and files -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("version", VERSIONS)
def test_a_version_has_its_own_columns_and_ours_after_them(version: str, made: Path, tmp_path: Path) -> None:
    export(made, tmp_path / "out", version=version)
    names = columns_of(tmp_path / "out")
    ours = [n for n in names if n.startswith("x_")]
    assert names == [*(n for n in names if n in VERSIONS[version]), *ours]
    assert all(len(n) <= 50 and n[2:].isalnum() for n in ours)
    assert ("AllocatedMethodId" in names) == (version >= "1.3")
    assert {f"x_{n}" for n in ALLOCATED} & set(names) == (set() if version >= "1.3" else {f"x_{n}" for n in ALLOCATED})
    assert ("ProviderName" in names) == (version <= "1.3")
    assert ("ServiceProviderName" in names) == (version >= "1.3")
    purposes = {word for (word,) in rows(tmp_path / "out", 'SELECT DISTINCT "x_ComputePurposeCategory" FROM written')}
    assert purposes <= set(PURPOSES)
    metadata = json.loads((tmp_path / "out" / "manifest.json").read_text())
    assert metadata["FocusVersion"] == version
    assert [c["ColumnName"] for c in metadata["ColumnDefinition"]] == names


def test_the_same_snapshot_gives_the_same_bytes(made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    export(made, tmp_path / "one")
    monkeypatch.setenv("TZ", "Pacific/Apia")
    done = CliRunner().invoke(
        main, ["--config", str(made), "export", "focus", "--period", MONTH, "--out", str(tmp_path / "two")]
    )
    assert done.exit_code == 0, done.output

    def contents(folder: Path) -> Mapping[str, bytes]:
        return {p.name: p.read_bytes() for p in folder.iterdir()}

    assert contents(tmp_path / "one") == contents(tmp_path / "two")


def test_text_has_focus_times_and_plain_numbers(made: Path, tmp_path: Path) -> None:
    export(made, tmp_path / "out", form="csv")
    with next((tmp_path / "out").glob("*.csv")).open(newline="") as file:
        row = next(csv.DictReader(file))
    assert (row["BillingPeriodStart"], row["ChargePeriodEnd"]) == (f"{MONTH}-01T00:00:00Z", f"{MONTH}-01T01:00:00Z")
    assert row["BilledCost"] == "98.320000000"


def test_an_earlier_export_is_replaced_and_nothing_else(made: Path, tmp_path: Path) -> None:
    export(made, tmp_path / "out", form="csv")
    export(made, tmp_path / "out")
    assert {p.suffix for p in (tmp_path / "out").iterdir()} == {".parquet", ".json"}
    (tmp_path / "out" / "notes.txt").touch()
    with pytest.raises(ConfigError, match=r"found notes\.txt, expected a new folder or an earlier export"):
        export(made, tmp_path / "out")
    (tmp_path / "file").touch()
    with pytest.raises(ConfigError, match="expected a new folder"):
        export(made, tmp_path / "file")


def test_a_month_without_charges_is_one_empty_file_with_its_columns(tmp_path: Path) -> None:
    config = write_ledger(tmp_path, [charge("5", **FULL)])
    done = export(config, tmp_path / "out", period=parse_period("2026-11"))
    assert (done.rows, done.lines, len(done.files)) == (0, 0, 1)
    assert "BilledCost" in columns_of(tmp_path / "out")


def test_currencies_stand_side_by_side_or_alone(tmp_path: Path) -> None:
    config = write_ledger(tmp_path, [charge("5", **FULL), charge("7", **FULL, billing_currency="EUR", origin_row=2)])
    export(config, tmp_path / "both")
    assert rows(tmp_path / "both", 'SELECT "BillingCurrency", sum("BilledCost") FROM written GROUP BY 1 ORDER BY 1') == [
        ("EUR", Decimal(7)),
        ("USD", Decimal(5)),
    ]
    export(config, tmp_path / "one", currency="EUR")
    assert rows(tmp_path / "one", 'SELECT DISTINCT "BillingCurrency" FROM written') == [("EUR",)]
    with pytest.raises(ConfigError, match="'JPY': the period has EUR, USD"):
        export(config, tmp_path / "none", currency="JPY")


def test_amounts_beyond_a_billion_are_written_wider(tmp_path: Path) -> None:
    config = write_ledger(tmp_path, [charge("5", **FULL), charge("8000000000.000000001", **FULL, origin_row=2)])
    export(config, tmp_path / "out")
    assert rows(tmp_path / "out", 'SELECT max("BilledCost") FROM written') == [(Decimal("8000000000.000000001"),)]


def test_an_unknown_version_is_refused(made: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"--version '2\.0': expected one of 1\.0, 1\.1, 1\.2, 1\.3, 1\.4"):
        export(made, tmp_path / "out", version="2.0")


# --- rate cards -------------------------------------------------------------------------------------------------------

RATES = """
[[rate]]
gpu_type = "H100"
price_per_gpu_hour = "2.50"
currency = "USD"
"""


def test_hours_that_a_rate_card_prices_are_rows_of_its_own_name(tmp_path: Path) -> None:
    config = write_organisation(tmp_path)
    write_full_bill(tmp_path / "bill.csv", several_ways())
    (tmp_path / "rates.toml").write_text(RATES)
    (tmp_path / "nodes.csv").write_text("node,resource_id,gpus,gpu_type\nn1,i-1,8,H100\nn2,,8,H100\n")
    config.write_text(CONFIG + '[collectors.rate_card]\npath = "rates.toml"\n')
    Pipeline(load(config)).run(OCTOBER, STAGES)
    export(config, tmp_path / "out")
    (breakdown,) = Reader(load(config)).breakdowns(OCTOBER, None)
    found = rows(
        tmp_path / "out",
        'SELECT "x_CostBasisCategory", sum("EffectiveCost"), sum("ListCost"), min("ProviderName") FROM written GROUP BY 1'
        " ORDER BY 1",
    )
    (billed, estimated) = found
    assert billed[1] + estimated[1] == breakdown.total
    assert estimated[1] == estimated[2] > 0
    assert estimated[3] == "rate_card"
    jobs = rows(tmp_path / "out", 'SELECT "x_JobId", sum("EffectiveCost") FROM written WHERE "x_JobId" IS NOT NULL GROUP BY 1')
    assert dict(jobs) == {job.job_key: job.cost for job in breakdown.top_jobs}


# --- rules ------------------------------------------------------------------------------------------------------------

FULL: dict[str, Any] = {
    "list_cost_nanos": 1,
    "contracted_cost_nanos": 1,
    "billing_account_id": "1",
    "invoice_issuer_name": "Cloud",
    "provider_name": "Cloud",
    "publisher_name": "Cloud",
    "service_category": "Compute",
    "service_name": "Machines",
    "pricing_category": "Standard",
    "pricing_quantity": 1.0,
    "pricing_unit": "Hours",
}

BREAKS: dict[str, dict[str, Any]] = {
    "BillingAccountId is not null": {"billing_account_id": None},
    "ContractedCost is not null": {"contracted_cost_nanos": None},
    "ListCost is not null": {"list_cost_nanos": None},
    "InvoiceIssuerName is not null": {"invoice_issuer_name": None},
    "ProviderName is not null": {"provider_name": None},
    "PublisherName is not null": {"publisher_name": None},
    "ServiceCategory is not null": {"service_category": None},
    "ServiceName is not null": {"service_name": None},
    "ChargeFrequency is not null": {"charge_frequency": None},
    "ServiceSubcategory is not null": {"service_subcategory": None},
    "ChargeCategory is Usage or": {"charge_category": "usage"},
    "ChargeClass is Correction": {"charge_class": "Corrected"},
    "ChargeFrequency is One-Time or": {"charge_frequency": "Monthly"},
    "CommitmentDiscountStatus is Used or": {"commitment_discount_id": "c", "commitment_discount_status": "used"},
    "CapacityReservationStatus is Used or": {"capacity_reservation_id": "c", "capacity_reservation_status": "used"},
    "PricingCategory is Standard or": {"pricing_category": "Spot"},
    "ServiceCategory is AI and Machine Learning or": {"service_category": "AI"},
    "BillingCurrency is a code": {"billing_currency": "usd"},
    "ChargeFrequency is not Usage-Based where": {"charge_category": "Purchase", "charge_frequency": "Usage-Based"},
    "PricingQuantity is null where": {"charge_category": "Tax", "pricing_category": None},
    "PricingCategory is null where": {"pricing_category": None},
    "PricingUnit is null where": {"pricing_unit": None},
    "ConsumedQuantity is null unless": {"charge_category": "Purchase", "consumed_quantity": 1.0, "consumed_unit": "Hours"},
    "ConsumedUnit is null where": {"consumed_unit": "Hours"},
    "CommitmentDiscountStatus is null where": {"commitment_discount_id": "c"},
    "CapacityReservationStatus is null where": {"capacity_reservation_status": "Used"},
}


def with_frequency(line: dict[str, Any]) -> dict[str, Any]:
    return {"charge_frequency": "One-Time", "service_subcategory": "Virtual Machines", **line}


@pytest.mark.parametrize("rule", BREAKS)
def test_one_row_that_breaks_a_rule_is_seen_among_good_ones(rule: str, tmp_path: Path) -> None:
    good = [charge("5", **with_frequency(FULL), origin_row=row) for row in (1, 2, 3)]
    bad = charge("7", origin_row=4) | with_frequency(FULL) | BREAKS[rule]
    config = write_ledger(tmp_path, [*good, bad])
    with pytest.raises(BadRecord) as refused:
        export(config, tmp_path / "out")
    assert str(refused.value).startswith(rule)
    assert ": 1 rows of aws" in str(refused.value)
    assert not (tmp_path / "out").exists()
    done = export(config, tmp_path / "out", as_billed=True)
    assert [(b.rows, b.sources) for b in done.broken if b.rule.startswith(rule)] == [(1, "aws")]
    written = json.loads((tmp_path / "out" / "manifest.json").read_text())["x_BrokenRules"]
    assert [b["Rule"] for b in written] == [b.rule for b in done.broken]


def test_a_period_that_ends_before_it_starts_breaks_a_rule(tmp_path: Path) -> None:
    line = charge("5", **FULL)
    config = write_ledger(tmp_path, [line | {"charge_period_end": line["charge_period_start"]}])
    with pytest.raises(BadRecord, match="ChargePeriodStart and ChargePeriodEnd are whole seconds in this order"):
        export(config, tmp_path / "out")


def test_every_rule_that_a_bill_can_break_is_broken_here() -> None:
    known = [r.words for r in focus_export.RULES if not r.ours]
    unbreakable = (
        "BilledCost",
        "EffectiveCost",
        "BillingCurrency is not",
        "ChargeCategory is not",
        "BillingPeriod",
        "ChargePeriod",
    )
    missing = [w for w in known if not any(w.startswith(b) for b in (*BREAKS, *unbreakable)) and "ProviderName" not in w]
    assert missing == []


def test_the_command_says_what_it_wrote_and_what_it_refuses(tmp_path: Path) -> None:
    config = write_ledger(tmp_path, [charge("5", **FULL | {"list_cost_nanos": None})])
    runner = CliRunner()
    words = ["--config", str(config), "export", "focus", "--period", MONTH, "--out", str(tmp_path / "out")]
    refused = runner.invoke(main, words)
    assert (refused.exit_code, "--as-billed" in refused.output) == (2, True)
    done = runner.invoke(main, [*words, "--as-billed"])
    assert done.exit_code == 0
    assert "ListCost is not null: 1 rows of aws" in done.output
    assert "1 charges as 1 rows of FOCUS 1.2 in 1 files" in done.output


def test_columns_of_charges_are_all_exported_or_known_not_to_be() -> None:
    names = focus_export.focus_columns("1.4", "gpu")
    every = {name for version in VERSIONS for name in focus_export.focus_columns(version, "gpu")}
    left = {focus_export.focus_name(c.name) for c in CHARGES.columns} - every
    assert left == {"Source", "BillingPeriod", "OriginFile", "OriginRow", "Basis", "LineType"}
    assert "AllocatedMethodId" in names


def test_every_amount_is_split(made: Path, tmp_path: Path) -> None:
    export(made, tmp_path / "out")
    decimals = {n for n, kind, *_ in rows(tmp_path / "out", "DESCRIBE SELECT * FROM written") if kind == "DECIMAL(18,9)"}
    assert decimals == set(AMOUNTS)
