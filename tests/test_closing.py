"""The closing table: every line of a bill in one row, and what others state against it."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from ledgers import charge, check, finding, invoice, nanos, write_ledger

from rdspend.breakdown import Heading, break_down, currencies, open_views
from rdspend.closing import ClosingTable, half_unit
from rdspend.config import load
from rdspend.engine import Engine
from rdspend.ledger import Ledger
from rdspend.period import parse_period
from rdspend.policy import load_policy
from rdspend.reading import Reader
from rdspend.schema import CLOSING_CATEGORIES, Breakdown, ClosingRow


def closing(config: Path, currency: str | None = None, period: str = "2026-10") -> ClosingTable:
    return Reader(load(config)).closing(parse_period(period), currency)[0]


def broken_down(config: Path, period: str = "2026-10") -> list[Breakdown]:
    snapshot = Ledger(config.parent / "ledger").snapshot()
    with Engine() as engine:
        open_views(engine, snapshot, parse_period(period))
        return [
            break_down(engine, snapshot, parse_period(period), load_policy("epoch"), currency, Heading())
            for currency in currencies(engine)
        ]


def rdspend(config: Path, *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-P", "-m", "rdspend", "--config", str(config), *words], capture_output=True, text=True, check=False
    )


def categories(rows: tuple[ClosingRow, ...]) -> dict[str, Decimal]:
    return {row.category: row.billed for row in rows}


# --- rows -------------------------------------------------------------------------------------------------------------

LINES: list[tuple[dict[str, Any], str]] = [
    ({}, "usage"),
    ({"charge_category": "Purchase"}, "purchase"),
    ({"charge_category": "Credit"}, "credit"),
    ({"charge_category": "Tax"}, "tax"),
    ({"charge_category": "Adjustment"}, "adjustment"),
    ({"commitment_discount_status": "Used"}, "commitment_used"),
    ({"capacity_reservation_status": "Used"}, "commitment_used"),
    ({"commitment_discount_status": "Unused"}, "commitment_unused"),
    ({"commitment_discount_status": "Used", "capacity_reservation_status": "Unused"}, "commitment_unused"),
    ({"line_type": "Refund", "charge_category": "Credit"}, "refund"),
    ({"line_type": "refund"}, "refund"),
    ({"line_type": "EdpDiscount"}, "discount"),
    ({"line_type": "PrivateRateDiscount", "charge_category": "Credit"}, "discount"),
    ({"line_type": "BundledDiscount"}, "discount"),
    ({"line_type": "DiscountedUsage"}, "usage"),
    ({"line_type": "rounding_error", "charge_category": "Adjustment"}, "rounding"),
    ({"line_type": "Usage", "basis": "estimated", "source": "rate_card"}, "usage"),
]


@pytest.mark.parametrize(("line", "category"), LINES)
def test_a_line_goes_where_the_bill_says_it_belongs(line: dict[str, Any], category: str, tmp_path: Path) -> None:
    found = closing(write_ledger(tmp_path, [charge("7.25", "6", **line)]))
    source = line.get("source", "aws")
    assert found.rows == (ClosingRow(source, "", "USD", category, Decimal("7.25"), Decimal(6)),)


def test_rows_are_apart_by_source_invoice_and_currency(tmp_path: Path) -> None:
    lines = [
        charge("1", invoice_id="A"),
        charge("2", invoice_id="A"),
        charge("4", invoice_id="B"),
        charge("8"),
        charge("16", invoice_id="A", billing_currency="EUR"),
        charge("32", source="gcp", invoice_id="A"),
    ]
    rows = closing(write_ledger(tmp_path, lines)).rows
    assert [(r.source, r.invoice, r.currency, int(r.billed)) for r in rows] == [
        ("aws", "", "USD", 8),
        ("aws", "A", "EUR", 16),
        ("aws", "A", "USD", 3),
        ("aws", "B", "USD", 4),
        ("gcp", "A", "USD", 32),
    ]


money = st.integers(-(10**15), 10**15)
any_line = st.builds(
    lambda billed, effective, words, source, number, currency: charge(
        0,
        **{
            "source": source,
            "billing_currency": currency,
            "invoice_id": number,
            **words,
            "billed_cost_nanos": billed,
            "effective_cost_nanos": effective,
        },
    ),
    money,
    money,
    st.sampled_from([line for line, _ in LINES if "source" not in line]),
    st.sampled_from(["aws", "gcp"]),
    st.sampled_from([None, "A", "B"]),
    st.sampled_from(["USD", "EUR"]),
)


@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(any_line, min_size=1, max_size=12))
def test_the_rows_of_a_breakdown_are_its_totals_to_the_nano(lines: list[dict[str, Any]]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        config = write_ledger(Path(folder), lines)
        for made in broken_down(config):
            assert sum(row.effective for row in made.bridge) == made.total
            assert sum(row.billed for row in made.bridge) == made.billed_total
            assert {row.currency for row in made.bridge} <= {made.currency}
        bill = closing(config).rows
        keys = [(r.source, r.invoice, r.currency, r.category) for r in bill]
        assert len(keys) == len(set(keys))
        for source in ("aws", "gcp"):
            billed = sum(line["billed_cost_nanos"] for line in lines if line["source"] == source)
            assert sum(r.billed for r in bill if r.source == source) == Decimal(billed).scaleb(-9)


# --- invoices ---------------------------------------------------------------------------------------------------------


def test_an_invoice_that_nobody_told_of_is_shown_without_a_difference(tmp_path: Path) -> None:
    (found,) = closing(write_ledger(tmp_path, [charge("10", invoice_id="A")])).invoices
    assert (found.invoice, found.stated, found.billed, found.difference, found.rounded) == ("A", None, 10, None, False)


def test_an_invoice_that_its_lines_add_to_needs_no_row(tmp_path: Path) -> None:
    found = closing(write_ledger(tmp_path, [charge("10", invoice_id="A")], statements=[invoice("A", "10")]))
    assert (found.invoices[0].difference, found.invoices[0].rounded) == (0, False)
    assert (found.differences, found.alerts) == ((), ())


@pytest.mark.parametrize("stated", ["4064.48", "4064.47"])
def test_less_than_half_a_cent_is_rounding_and_the_rows_add_to_the_invoice(stated: str, tmp_path: Path) -> None:
    lines = [charge("4000", invoice_id="A"), charge("64.474999999", invoice_id="A", charge_category="Tax")]
    if stated == "4064.48":
        lines.append(charge("0.000500001", invoice_id="A"))
    found = closing(write_ledger(tmp_path, lines, statements=[invoice("A", stated)]))
    (told,) = found.invoices
    assert told.rounded
    assert told.difference == Decimal(stated) - told.billed
    assert sum(row.billed for row in found.stated_rows) == Decimal(stated)
    assert set(categories(found.stated_rows)) == {"usage", "tax", "rounding"}
    assert found.alerts == ()


@pytest.mark.parametrize("stated", ["10.005", "9.995", "11", "0"])
def test_more_is_unexplained_shown_and_an_alert(stated: str, tmp_path: Path) -> None:
    config = write_ledger(tmp_path, [charge("10", "8", invoice_id="A")], statements=[invoice("A", stated)])
    found = closing(config)
    rest = Decimal(stated) - 10
    assert found.differences == (ClosingRow("aws", "A", "USD", "unexplained", rest, Decimal(0)),)
    assert sum(row.billed for row in found.stated_rows) == Decimal(stated)
    (alert,) = found.alerts
    assert "invoice A of aws" in alert.words
    assert "invoices.toml:1" in alert.words
    assert f"{rest:.9f} USD unexplained" in alert.words
    (made,) = broken_down(config)
    assert made.invoices == found.invoices
    assert sum(row.billed for row in made.bridge) == made.billed_total == 10


def test_the_providers_own_rounding_and_ours_are_one_row(tmp_path: Path) -> None:
    lines = [charge("10.001", invoice_id="A"), charge("-0.004", invoice_id="A", line_type="rounding_error")]
    found = closing(write_ledger(tmp_path, lines, statements=[invoice("A", "10")]))
    assert categories(found.stated_rows) == {"usage": Decimal("10.001"), "rounding": Decimal("-0.001")}


@pytest.mark.parametrize(("currency", "half"), [("USD", "0.005"), ("JPY", "0.5"), ("KRW", "0.5"), ("KWD", "0.0005")])
def test_rounding_is_to_the_smallest_unit_of_the_currency(currency: str, half: str, tmp_path: Path) -> None:
    assert half_unit(currency) == Decimal(half)
    nearly = Decimal(half) - Decimal("0.000000001")
    lines = [charge("100", invoice_id="A", billing_currency=currency)]
    found = closing(write_ledger(tmp_path, lines, statements=[invoice("A", str(100 + nearly), currency)]))
    assert found.invoices[0].rounded


def test_a_stated_invoice_that_no_line_names_is_a_difference(tmp_path: Path) -> None:
    found = closing(write_ledger(tmp_path, [charge("10", invoice_id="A")], statements=[invoice("LOST", "12.5", bill="aws")]))
    lost = next(each for each in found.invoices if each.invoice == "LOST")
    assert (lost.source, lost.stated, lost.billed, lost.difference) == ("aws", Decimal("12.5"), 0, Decimal("12.5"))
    assert "no line of a bill names it" in found.alerts[0].words


def test_lines_of_an_invoice_on_another_months_bill_count_and_are_named(tmp_path: Path) -> None:
    lines = [charge("10", invoice_id="A"), charge("2", invoice_id="A", month="2026-11"), charge("5", month="2026-09")]
    config = write_ledger(tmp_path, lines, statements=[invoice("A", "12")])
    found = closing(config)
    assert [(i.invoice, i.billed, i.difference) for i in found.invoices] == [("A", 12, 0)]
    assert [(e.invoice, e.billing_period, e.billed) for e in found.elsewhere] == [("A", "2026-11", 2)]
    assert sum(row.billed for row in found.stated_rows) == 10
    told = rdspend(config, "closing", "--period", "2026-10")
    assert "2.000000000 of it on the bill of 2026-11" in told.stdout


def test_a_difference_is_a_row_of_the_month_it_is_stated_of_and_an_alert_of_both(tmp_path: Path) -> None:
    lines = [charge("10", invoice_id="A"), charge("2", invoice_id="A", month="2026-11")]
    config = write_ledger(tmp_path, lines, statements=[invoice("A", "13")])
    october, november = closing(config), closing(config, period="2026-11")
    assert categories(october.differences) == {"unexplained": 1}
    assert november.differences == ()
    assert len(october.alerts) == len(november.alerts) == 1
    both = closing(config, period="2026-10..2026-11")
    assert sum(row.billed for row in both.stated_rows) == 13


def test_of_two_statements_of_one_invoice_that_differ_neither_is_compared_and_both_are_named(tmp_path: Path) -> None:
    told = [invoice("A", "10"), invoice("A", "11", row=2)]
    config = write_ledger(tmp_path, [charge("10", invoice_id="A")], statements=told)
    found = closing(config)
    assert [(i.stated, i.billed, i.difference) for i in found.invoices] == [(None, 10, None)]
    (alert,) = found.alerts
    assert "10.000000000 USD (invoices.toml:1) and 11.000000000 USD (invoices.toml:2)" in alert.words
    assert "neither is compared" in alert.words
    assert rdspend(config, "closing", "--period", "2026-10").returncode == 4
    (made,) = broken_down(config)
    assert made.total == 10


def test_an_invoice_stated_month_by_month_is_the_sum_of_its_parts(tmp_path: Path) -> None:
    lines = [charge("10", invoice_id="A"), charge("7", invoice_id="A", month="2026-11")]
    told = [invoice("A", "10"), {**invoice("A", "8", row=2), "billing_period": "2026-11"}]
    config = write_ledger(tmp_path, lines, statements=told)
    for period in ("2026-10", "2026-11"):
        assert [(i.stated, i.billed, i.difference) for i in closing(config, period=period).invoices] == [(18, 17, 1)]
    assert [len(closing(config, period=period).differences) for period in ("2026-10", "2026-11")] == [0, 1]


def test_one_number_of_two_issuers_is_told_apart_by_the_issuer(tmp_path: Path) -> None:
    lines = [
        charge("10", invoice_id="1", invoice_issuer_name="Acme Cloud"),
        charge("20", source="gcp", invoice_id="1", invoice_issuer_name="Other Cloud"),
        charge("5", invoice_id="1", provider_name="Third"),
    ]
    told = [invoice("1", "10", provider_name="ACME Cloud"), invoice("1", "21", row=2, provider_name="Other Cloud")]
    found = closing(write_ledger(tmp_path, lines, statements=told))
    assert [(i.source, i.stated, i.billed) for i in found.invoices] == [("aws", 10, 10), ("aws", None, 5), ("gcp", 21, 20)]


def test_a_provider_that_no_line_names_still_speaks_of_the_invoice(tmp_path: Path) -> None:
    lines = [charge("10", invoice_id="1", invoice_issuer_name="Amazon Web Services, Inc.")]
    found = closing(write_ledger(tmp_path, lines, statements=[invoice("1", "10", provider_name="AWS")]))
    assert [(i.stated, i.difference) for i in found.invoices] == [(10, 0)]


def test_the_same_total_told_twice_is_told_once(tmp_path: Path) -> None:
    told = [invoice("A", "10"), invoice("A", "10", row=2, bill="aws")]
    found = closing(write_ledger(tmp_path, [charge("10", invoice_id="A")], statements=told))
    assert len(found.invoices) == 1


def test_two_bills_with_one_invoice_number_are_told_apart_by_the_bill(tmp_path: Path) -> None:
    lines = [charge("10", invoice_id="1"), charge("20", source="gcp", invoice_id="1")]
    told = [invoice("1", "10", bill="aws"), invoice("1", "21", row=2, bill="gcp")]
    found = closing(write_ledger(tmp_path, lines, statements=told))
    assert [(i.source, i.difference) for i in found.invoices] == [("aws", 0), ("gcp", 1)]


def test_of_a_total_of_several_bills_beside_a_total_of_one_of_them_neither_is_compared(tmp_path: Path) -> None:
    lines = [charge("10", invoice_id="1"), charge("20", source="gcp", invoice_id="1")]
    told = [invoice("1", "30"), invoice("1", "10", row=2, bill="aws")]
    found = closing(write_ledger(tmp_path, lines, statements=told))
    assert [(i.source, i.stated) for i in found.invoices] == [("aws,gcp", None)]
    assert "say with `bill`" in found.alerts[0].words


def test_an_invoice_in_another_currency_than_its_bill_is_never_compared(tmp_path: Path) -> None:
    config = write_ledger(tmp_path, [charge("10", invoice_id="A")], statements=[invoice("A", "9", "EUR")])
    found = closing(config)
    euro = next(each for each in found.invoices if each.currency == "EUR")
    assert (euro.stated, euro.difference) == (9, None)
    assert "stated in EUR (invoices.toml:1), the bill has it in USD" in found.alerts[0].words
    assert found.differences == ()
    (made,) = broken_down(config)
    assert euro in made.invoices
    assert closing(config, "USD").alerts == found.alerts


def test_each_currency_has_its_own_table(tmp_path: Path) -> None:
    lines = [charge("10", invoice_id="A"), charge("20", invoice_id="A", billing_currency="EUR")]
    told = [invoice("A", "10"), invoice("A", "21", "EUR", row=2)]
    config = write_ledger(tmp_path, lines, statements=told)
    dollars, euros = closing(config, "USD"), closing(config, "EUR")
    assert (categories(dollars.stated_rows), dollars.alerts) == ({"usage": 10}, ())
    assert (categories(euros.stated_rows), len(euros.alerts)) == ({"usage": 20, "unexplained": 1}, 1)


# --- checks -----------------------------------------------------------------------------------------------------------

SERVICES = [
    charge("10", "9", service_name="EC2", sub_account_id="1"),
    charge("20", "18", service_name="EC2", sub_account_id="2"),
    charge("5", service_name="S3", sub_account_id="1"),
    charge("100", source="gcp", service_name="EC2", sub_account_id="1"),
]


@pytest.mark.parametrize(
    ("stated", "billed"),
    [
        (check("10", service_name="EC2", sub_account_id="1"), "10"),
        (check("30", service_name="EC2"), "30"),
        (check("15", sub_account_id="1"), "15"),
        (check("35"), "35"),
        (check(None, "27", service_name="EC2"), "27"),
        (check("135", bill=None), "135"),
    ],
)
def test_a_summary_is_compared_with_just_the_part_of_the_bill_it_is_about(
    stated: dict[str, Any], billed: str, tmp_path: Path
) -> None:
    found = closing(write_ledger(tmp_path, SERVICES, statements=[stated]))
    (one,) = (c for c in found.checks if c.stated)
    assert (one.billed, one.difference, one.complete) == (Decimal(billed), 0, True)


def test_what_a_whole_summary_does_not_name_is_a_difference(tmp_path: Path) -> None:
    found = closing(write_ledger(tmp_path, SERVICES, statements=[check("30", service_name="EC2")]))
    assert [(c.service, c.stated, c.billed) for c in found.checks] == [("EC2", 30, 30), ("S3", 0, 5)]
    assert len(found.alerts) == 1 and "S3" in found.alerts[0].words
    everything = closing(write_ledger(tmp_path / "all", SERVICES, statements=[check("35")]))
    assert (len(everything.checks), everything.alerts) == (1, ())


def test_a_summary_that_differs_is_an_alert_unless_it_is_not_complete(tmp_path: Path) -> None:
    told = [check("31", service_name="EC2"), check("1", row=2, service_name="S3", complete=False)]
    found = closing(write_ledger(tmp_path, SERVICES, statements=told))
    assert [(c.service, c.difference, c.complete) for c in found.checks] == [("EC2", 1, True), ("S3", -4, False)]
    assert [alert.words.split(":")[1] for alert in found.alerts] == [" EC2"]


def test_summaries_of_the_months_of_a_quarter_are_added(tmp_path: Path) -> None:
    lines = [charge("10"), charge("20", month="2026-11"), charge("40", month="2026-12")]
    told = [check("10"), {**check("20"), "billing_period": "2026-11"}]
    found = closing(write_ledger(tmp_path, lines, statements=told), period="2026-Q4")
    assert [(c.stated, c.billed) for c in found.checks] == [(30, 30)]


def test_a_summary_in_another_currency_is_never_compared(tmp_path: Path) -> None:
    found = closing(write_ledger(tmp_path, SERVICES, statements=[check("30", currency="EUR")]))
    assert found.checks == ()
    assert "not compared" in found.alerts[0].words


def test_of_one_summary_told_twice_with_two_sums_neither_is_compared(tmp_path: Path) -> None:
    found = closing(write_ledger(tmp_path, SERVICES, statements=[check("30"), check("31", row=2)]))
    assert found.checks == ()
    assert "is stated twice" in found.alerts[0].words


# --- the command ------------------------------------------------------------------------------------------------------


def test_the_command_prints_the_contract_and_nothing_else_on_standard_output(tmp_path: Path) -> None:
    lines = [charge("4064.477", "4000", invoice_id="A"), charge("1")]
    noted = [finding("rounding", "bill.csv", "exact sum minus sum of whole nanos in USD: billed 0.1, effective 0", 3)]
    config = write_ledger(tmp_path, lines, statements=[invoice("A", "4064.48")], findings=noted)
    done = rdspend(config, "closing", "--period", "2026-10", "--format", "json")
    assert (done.returncode, done.stderr) == (0, "")
    found = json.loads(done.stdout)
    assert found["rows"] == [
        {
            "source": "aws",
            "invoice": None,
            "currency": "USD",
            "category": "usage",
            "billed": "1.000000000",
            "effective": "1.000000000",
        },
        {
            "source": "aws",
            "invoice": "A",
            "currency": "USD",
            "category": "usage",
            "billed": "4064.477000000",
            "effective": "4000.000000000",
        },
        {
            "source": "aws",
            "invoice": "A",
            "currency": "USD",
            "category": "rounding",
            "billed": "0.003000000",
            "effective": "0.000000000",
        },
    ]
    assert found["invoices"] == [
        {
            "source": "aws",
            "invoice": "A",
            "currency": "USD",
            "stated": "4064.480000000",
            "billed": "4064.477000000",
            "difference": "0.003000000",
        }
    ]
    assert found["totals"] == [{"currency": "USD", "billed": "4065.477000000", "effective": "4001.000000000"}]
    assert found["roundings"] == [
        {
            "source": "aws",
            "file": "bill.csv",
            "detail": "exact sum minus sum of whole nanos in USD: billed 0.1, effective 0",
            "rows": 3,
        }
    ]
    assert (found["period"], found["snapshot"], found["alerts"]) == ("2026-10", "run-1", [])


def test_an_alert_ends_the_command_with_4_and_is_named_on_standard_error(tmp_path: Path) -> None:
    told = [invoice("A", "10.01"), check("3", service_name="S\x1b[31m3")]
    config = write_ledger(tmp_path, [charge("10", invoice_id="A")], statements=told)
    for form in ("json", "terminal"):
        done = rdspend(config, "closing", "--period", "2026-10", "--format", form)
        assert done.returncode == 4
        assert "alert: invoice A of aws: stated 10.010000000 USD (invoices.toml:1)" in done.stderr
        assert "unexplained" in done.stdout
        assert "\x1b" not in done.stdout + done.stderr
        assert "S\\x1b[31m3" in done.stderr


def test_money_that_is_not_all_attributed_has_no_closing_table(tmp_path: Path) -> None:
    part = {
        "source": "aws",
        "billing_period": "2026-10",
        "billing_currency": "USD",
        "basis": "billed",
        "day": "2026-10-01",
        "route": "shared",
        "bucket": "shared",
        "effective_cost_nanos": nanos("9"),
        "billed_cost_nanos": nanos("10"),
    }
    done = rdspend(write_ledger(tmp_path, [charge("10")], attributions=[part]), "closing", "--period", "2026-10")
    assert (done.returncode, done.stdout) == (4, "")
    assert "charges 10.000000000, attributed 9.000000000" in done.stderr


def test_every_category_is_one_that_the_words_have() -> None:
    assert {category for _, category in LINES} <= set(CLOSING_CATEGORIES)
