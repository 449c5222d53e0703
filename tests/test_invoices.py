"""invoices: what an invoice states comes out exact, once, in the month it belongs to."""

from __future__ import annotations

import gzip
import re
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import duckdb
import pytest
from organisations import write_organisation

from collectors.invoices import Invoices
from rdspend.config import load
from rdspend.engine import Engine
from rdspend.errors import BadRecord, ConfigError, RdspendError, SourceUnavailable
from rdspend.period import parse_period
from rdspend.pipeline import Pipeline
from rdspend.reading import Reader
from rdspend.schema import STATEMENTS, Location, Window

FIXTURES = Path(__file__).parent / "fixtures" / "invoices"
AUTUMN = Window(datetime(2026, 10, 1, tzinfo=UTC), datetime(2026, 12, 1, tzinfo=UTC))
INVOICE = '[[invoice]]\ninvoice = "A-1"\ncurrency = "USD"\ntotal = 1\nbilling_period = "2026-10"\n'
DETAIL = (FIXTURES / "detail.csv").read_text()
FIRST = DETAIL.splitlines()[1]
LATER = FIRST.replace("2026-10", "2026-11").replace("D-1", "D-9")


def delivered(path: Path, **options: Any) -> dict[str, tuple[list[dict[str, Any]], list[Any]]]:
    """Rows and notes by month."""
    found = {}
    for delivery in Invoices(Location(path), **options).collect(AUTUMN):
        assert (delivery.table, list(delivery.scope), delivery.complete) == ("statements", ["billing_period"], True)
        relation: Any = delivery.rows
        assert set(relation.columns) == set(STATEMENTS.names) - {"source", "billing_period"}
        rows = [dict(zip(relation.columns, row, strict=True)) for row in relation.fetchall()]
        found[delivery.scope["billing_period"]] = (rows, list(delivery.notes))
    return found


def stated(path: Path, **options: Any) -> list[tuple[Any, ...]]:
    """Month, invoice, currency, nanos, row of the file."""
    keys = ("invoice_id", "currency", "billed_cost_nanos", "origin_row")
    return [(month, *(row[k] for k in keys)) for month, (rows, _) in delivered(path, **options).items() for row in rows]


@pytest.mark.parametrize("name", ["invoices.toml", "invoices.csv"])
def test_a_small_file_comes_out_invoice_by_invoice(name: str) -> None:
    empty = dict.fromkeys(set(STATEMENTS.names) - {"source", "billing_period"})
    all_of_them = {"origin_file": str(FIXTURES / name), "kind": "invoice", "complete": True}
    october, november = (rows for rows, _ in delivered(FIXTURES / name).values())
    assert october == [
        empty
        | all_of_them
        | {"origin_row": 1, "invoice_id": "A-1", "currency": "USD", "billed_cost_nanos": 40_644_800_000_000}
        | {"provider_name": "Cloud", "bill": "aws_cur"},
        empty | all_of_them | {"origin_row": 2, "invoice_id": "A-2", "currency": "EUR", "billed_cost_nanos": -12_000_000_000},
    ]
    assert november == [
        empty | all_of_them | {"origin_row": 3, "invoice_id": "A-3", "currency": "USD", "billed_cost_nanos": 7_000_000_001}
    ]


def test_lines_of_an_invoice_detail_dataset_add_up_to_their_invoice() -> None:
    assert stated(FIXTURES / "detail.csv") == [
        ("2026-10", "D-1", "USD", 40_645_794_700_000, 1),
        ("2026-10", "D-2", "USD", -100_000_000_000, 3),
    ]


def test_an_invoice_that_is_not_issued_is_noted_and_states_nothing() -> None:
    notes = {month: notes for month, (_, notes) in delivered(FIXTURES / "detail.csv").items()}
    said = "its lines are left out until they are Issued"
    assert notes == {
        "2026-10": [("invoice_not_issued", "D-0", f"Cloud says Voided; {said}", 1)],
        "2026-11": [("invoice_not_issued", "D-3", f"Cloud says Open; {said}", 1)],
    }


@pytest.mark.parametrize("cost", ["DECIMAL(20, 4)", "DOUBLE", "VARCHAR"])
@pytest.mark.parametrize("time", ["TIMESTAMPTZ", "VARCHAR"])
def test_parquet_says_the_same_as_csv(tmp_path: Path, cost: str, time: str) -> None:
    with duckdb.connect() as connection:
        connection.execute("SET TimeZone = 'UTC'")
        source = f"read_csv('{FIXTURES / 'detail.csv'}', all_varchar = true, nullstr = 'NULL')"
        zoned = (
            "strftime(timezone('UTC', BillingPeriodStart::TIMESTAMPTZ), '%Y-%m-%dT%H:%M:%SZ')"
            if time == "VARCHAR"
            else ("BillingPeriodStart::TIMESTAMPTZ")
        )
        select = f"SELECT * REPLACE (CAST(BilledCost AS {cost}) AS BilledCost, {zoned} AS BillingPeriodStart) FROM {source}"
        connection.execute(f"COPY ({select}) TO '{tmp_path / 'detail.parquet'}' (FORMAT parquet)")
    assert stated(tmp_path / "detail.parquet") == stated(FIXTURES / "detail.csv")


def test_gzip_says_the_same_as_plain_text(tmp_path: Path) -> None:
    (tmp_path / "detail.csv.gz").write_bytes(gzip.compress(DETAIL.encode()))
    assert stated(tmp_path / "detail.csv.gz") == stated(FIXTURES / "detail.csv")


def test_a_folder_of_files_is_one_list(tmp_path: Path) -> None:
    (tmp_path / "a.toml").write_text(INVOICE)
    (tmp_path / "b.csv").write_text(DETAIL)
    (tmp_path / "c.csv").write_text(DETAIL.splitlines()[0] + "\n" + LATER + "\n")
    (tmp_path / "notes.txt").write_text("not an invoice")
    assert [(month, invoice) for month, invoice, *_ in stated(tmp_path)] == [
        ("2026-10", "A-1"),
        ("2026-10", "D-1"),
        ("2026-10", "D-2"),
        ("2026-11", "D-9"),
    ]


def test_times_without_a_zone_need_a_word(tmp_path: Path) -> None:
    (tmp_path / "d.csv").write_text(DETAIL.replace("2026-10-01T00:00:00Z", "2026-10-01T00:00:00"))
    with pytest.raises(BadRecord, match="row 1: BillingPeriodStart: found '2026-10-01T00:00:00', expected a time with a zone"):
        stated(tmp_path)
    assert stated(tmp_path, assume_utc=True) == stated(FIXTURES / "detail.csv")


@pytest.mark.parametrize(
    ("files", "error", "message"),
    [
        (
            {"a.toml": INVOICE + INVOICE.replace("= 1", "= 2")},
            ConfigError,
            "invoice 2: invoice 'A-1' in USD is in {a.toml}: invoice 1",
        ),
        (
            {"a.toml": INVOICE, "b.toml": INVOICE.replace("= 1", "= 2")},
            ConfigError,
            "b.toml: invoice 1: invoice 'A-1' in USD is in",
        ),
        ({"a.toml": INVOICE, "b.toml": INVOICE}, BadRecord, "b.toml: has the same content as"),
        (
            {"a.toml": INVOICE.replace("A-1", "D-1"), "b.csv": DETAIL},
            ConfigError,
            "invoice 1: invoice 'D-1' is in {b.csv}: row 1",
        ),
        (
            {"b.csv": f"{DETAIL}{FIRST}\n"},
            BadRecord,
            "row 6: InvoiceDetailId '1' of invoice 'D-1' is in {b.csv}: row 1 already",
        ),
        (
            {"b.csv": DETAIL, "c.csv": DETAIL.splitlines()[0] + "\n" + FIRST + "\n"},
            BadRecord,
            "c.csv: row 1: InvoiceDetailId '1' of invoice 'D-1' is in {b.csv}: row 1 already",
        ),
        ({"b.csv": DETAIL.replace("34156.13", "34.156,13")}, BadRecord, "can't be read"),
        (
            {"b.csv": DETAIL.replace("34156.13", "$34156")},
            BadRecord,
            "row 1: BilledCost: found '$34156', expected a decimal below",
        ),
        ({"b.csv": DETAIL.replace("6489.6647", "")}, BadRecord, "row 2: BilledCost: found nothing, expected a decimal"),
        (
            {"b.csv": DETAIL.replace("Issued,Cloud", "Paid,Cloud")},
            BadRecord,
            "row 1: InvoiceIssueStatus: found 'Paid', expected Open or",
        ),
        (
            {"b.csv": DETAIL.replace("111,USD", "111,credits")},
            BadRecord,
            "row 1: BillingCurrency: found 'credits', expected an ISO",
        ),
        (
            {"b.csv": DETAIL.replace("Issued,Cloud", "Issued,")},
            BadRecord,
            "row 1: InvoiceIssuerName: found nothing, expected a text",
        ),
        (
            {"b.csv": DETAIL.replace("BilledCost", "Cost")},
            BadRecord,
            "no column 'BilledCost'; expected the Invoice Detail dataset",
        ),
        ({"a.toml": INVOICE.replace("USD", "usd")}, ConfigError, "invoice 1: currency: found 'usd', expected an ISO 4217"),
        (
            {"a.toml": INVOICE.replace("total = 1", "total = 1e-10")},
            ConfigError,
            "total: found 1E-10, expected at most nine decimals",
        ),
        ({"a.toml": INVOICE.replace("total = 1\n", "")}, ConfigError, "invoice 1: total: found None, expected an amount"),
        (
            {"a.toml": INVOICE.replace('"2026-10"', "2026-10-01")},
            ConfigError,
            "billing_period: found datetime.date(2026, 10, 1)",
        ),
        ({"a.toml": INVOICE.replace("total", "totl")}, ConfigError, "invoice 1: unknown key 'totl'; did you mean 'total'?"),
        ({"a.csv": "invoice,currency,total\n"}, ConfigError, "a.csv:1: no column 'billing_period'"),
        (
            {"a.csv": "invoice,currency,total,billing_period\nA,USD,x,2026-10\n"},
            ConfigError,
            "a.csv:2: total: found 'x', expected a",
        ),
        ({}, SourceUnavailable, "no invoices found"),
    ],
)
def test_what_is_wrong_is_refused_with_its_place(
    tmp_path: Path, files: dict[str, str], error: type[RdspendError], message: str
) -> None:
    for name, text in files.items():
        (tmp_path / name).write_text(text)
        message = message.replace(f"{{{name}}}", str(tmp_path / name))
    with pytest.raises(error, match=re.escape(message)):
        stated(tmp_path)


def test_an_invoice_that_left_the_file_leaves_the_ledger_too(tmp_path: Path) -> None:
    config = write_organisation(tmp_path)
    config.write_text(config.read_text() + '\n[collectors.invoices]\npath = "invoices.toml"\n')
    kept = []
    for text in (INVOICE + INVOICE.replace("A-1", "A-2"), INVOICE.replace("= 1", "= 3"), INVOICE.replace("-10", "-11")):
        (tmp_path / "invoices.toml").write_text(text)
        pipeline = Pipeline(load(config), clock=lambda: datetime(2026, 12, 1, tzinfo=UTC).timestamp())
        assert pipeline.run(parse_period("2026-10"), ["collect"]).failures == []
        with Engine() as engine:
            Reader(load(config)).ledger.snapshot().view(engine, "statements")
            kept.append(
                engine.rows("SELECT source, billing_period, invoice_id, billed_cost_nanos FROM statements ORDER BY ALL")
            )
    assert kept == [
        [("invoices", "2026-10", "A-1", 10**9), ("invoices", "2026-10", "A-2", 10**9)],
        [("invoices", "2026-10", "A-1", 3 * 10**9)],
        [],
    ]
