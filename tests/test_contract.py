"""contract: what was agreed becomes charges that add up to the agreement, month by month and to the nano."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from organisations import NODES_HEADER, write_organisation

from collectors.contract import Contract
from rdspend.config import load
from rdspend.engine import Engine
from rdspend.errors import ConfigError, SourceUnavailable
from rdspend.period import parse_period
from rdspend.pipeline import Pipeline
from rdspend.reading import Reader
from rdspend.schema import CHARGES, Location, Window

FIXTURE = Path(__file__).parent / "fixtures" / "contract" / "contract.toml"
OCTOBER = Window(datetime(2026, 10, 1, tzinfo=UTC), datetime(2026, 11, 1, tzinfo=UTC))
PURCHASE = '[[purchase]]\nname = "rack"\nprice = 1000\ncurrency = "USD"\nbought = 2026-01-01\nmonths = 12\n'
COST = '[[cost]]\nname = "power"\nper_month = 31\ncurrency = "USD"\nfrom = 2026-01-01\n'
INVOICE = '[[invoice]]\nname = "cluster"\ninvoice = "I-1"\namount = 31\ncurrency = "USD"\nbilling_period = "2026-10"\n'
ADJUSTMENT = '[[adjustment]]\nname = "discount"\nkind = "discount"\npercentage = -10\nof = "cluster"\n'


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "contract.toml"


def at(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def months(path: Path, window: Window = OCTOBER) -> dict[str, list[dict[str, Any]]]:
    """What is delivered by month, times as text."""
    found: dict[str, list[dict[str, Any]]] = {}
    for delivery in Contract(Location(path)).collect(window):
        assert (delivery.table, list(delivery.scope), delivery.complete) == ("charges", ["billing_period"], True)
        relation: Any = delivery.rows
        names = relation.columns
        assert set(names) <= set(CHARGES.names)
        spans = "strftime(charge_period_start, '%m-%d %H') AS charge_period_start"
        spans += ", strftime(charge_period_end, '%m-%d %H') AS charge_period_end"
        rows = relation.project(f"* REPLACE ({spans})").fetchall()
        found[delivery.scope["billing_period"]] = [dict(zip(names, row, strict=True)) for row in rows]
    return found


def lines(path: Path, window: Window = OCTOBER) -> list[tuple[Any, ...]]:
    """line type, span, billed and effective in nanos."""
    keys = ("line_type", "charge_period_start", "charge_period_end", "billed_cost_nanos", "effective_cost_nanos")
    return [tuple(row[key] for key in keys) for rows in months(path, window).values() for row in rows]


def year(start: int, years: int) -> Window:
    return Window(datetime(start, 1, 1, tzinfo=UTC), datetime(start + years, 1, 1, tzinfo=UTC))


# --- what a month holds -----------------------------------------------------------------------------------------------


def test_a_contract_becomes_the_charges_of_a_month() -> None:
    hours = 31 * 24
    reserved = 412_300_010_000_000
    discount = -int(Fraction(75, 1000) * reserved)
    assert lines(FIXTURE) == [
        ("Depreciation", "10-01 00", "11-01 00", 0, 4_800_000 * 10**9 // 48),
        ("Cost", "10-01 00", "11-01 00", 512 * hours * 310_000_000, 512 * hours * 310_000_000),
        ("Cost", "10-11 00", "11-01 00", 30_000 * 10**9 * 21 // 31 + 1, 30_000 * 10**9 * 21 // 31 + 1),
        ("Invoice", "10-01 00", "11-01 00", reserved, reserved),
        ("Discount", "10-01 00", "11-01 00", discount, discount),
        ("Credit", "10-05 00", "10-06 00", -1000 * 10**9, -1000 * 10**9),
    ]


def test_a_charge_says_where_it_comes_from_and_where_it_goes() -> None:
    rows = months(FIXTURE)["2026-10"]
    keys = ("origin_file", "origin_row", "charge_description", "charge_category", "basis", "resource_id", "invoice_id")
    said = [tuple(row[key] for key in keys) for row in rows]
    assert said == [
        (str(FIXTURE), 1, "purchase 1 (64 servers)", "Usage", "billed", "owned", None),
        (str(FIXTURE), 1, "cost 1 (power)", "Usage", "billed", "owned", None),
        (str(FIXTURE), 2, "cost 2 (hosting)", "Usage", "billed", "owned", None),
        (str(FIXTURE), 1, "invoice 1 (reserved cluster)", "Usage", "billed", "reserved", "R-10"),
        (
            *(str(FIXTURE), 1, "adjustment 1 (volume discount): -7.5 % of invoice 1 (reserved cluster)", "Credit"),
            *("billed", "reserved", "R-10"),
        ),
        (str(FIXTURE), 2, "adjustment 2 (credit for an outage)", "Credit", "billed", None, None),
    ]


def test_a_purchase_is_billed_when_it_is_bought_and_used_up_from_when_it_is_in_service() -> None:
    september = 4_800_000 * 10**9 * 15 // (30 * 48)
    assert lines(FIXTURE, Window(at("2026-08-01"), at("2026-10-01"))) == [
        ("Purchase", "08-20 00", "08-21 00", 4_900_000 * 10**9, 0),
        ("Depreciation", "09-16 00", "10-01 00", 0, september),
        ("Cost", "09-16 00", "10-01 00", 512 * 360 * 310_000_000, 512 * 360 * 310_000_000),
    ]
    bought = months(FIXTURE, Window(at("2026-08-01"), at("2026-09-01")))["2026-08"][0]
    assert (bought["charge_category"], bought["resource_id"], bought["invoice_id"]) == ("Purchase", None, "M-1")


def test_a_price_by_gpu_hour_comes_out_as_it_went_in(file: Path) -> None:
    file.write_text(COST.replace("per_month = 31", 'per_gpu_hour = "2.123456789"\ngpus = 1') + "to = 2026-01-01T01:00:00Z")
    (line,) = months(file, year(2026, 1))["2026-01"]
    assert (line["billed_cost_nanos"], line["pricing_quantity"], line["pricing_unit"]) == (2_123_456_789, 1.0, "GPU-Hours")


def test_a_month_without_any_of_it_is_not_delivered(file: Path) -> None:
    file.write_text(INVOICE)
    assert list(months(file, year(2026, 1))) == ["2026-10"]


# --- the month that still runs ----------------------------------------------------------------------------------------


def test_the_open_month_is_charged_up_to_now_and_no_further(file: Path) -> None:
    file.write_text(PURCHASE.replace("2026-01-01", "2026-10-01").replace("1000", "372") + COST + INVOICE + ADJUSTMENT)
    half = Window(OCTOBER.start, at("2026-10-02T12:00:00"))
    assert lines(file, half) == [
        ("Purchase", "10-01 00", "10-02 00", 372 * 10**9, 0),
        ("Depreciation", "10-01 00", "10-02 12", 0, 1_500_000_000),
        ("Cost", "10-01 00", "10-02 12", 1_500_000_000, 1_500_000_000),
        ("Invoice", "10-01 00", "10-02 12", 1_500_000_000, 1_500_000_000),
        ("Discount", "10-01 00", "10-02 12", -150_000_000, -150_000_000),
    ]


def test_what_is_bought_later_this_month_is_not_billed_yet(file: Path) -> None:
    file.write_text(PURCHASE.replace("2026-01-01", "2026-10-20"))
    assert lines(file, Window(OCTOBER.start, at("2026-10-20"))) == []
    assert [line[0] for line in lines(file, Window(OCTOBER.start, at("2026-10-20T00:00:01")))] == ["Purchase", "Depreciation"]


def test_a_window_that_begins_inside_a_month_still_gives_the_whole_month(file: Path) -> None:
    file.write_text(COST)
    assert lines(file, Window(at("2026-10-15"), OCTOBER.end)) == lines(file)


# --- it adds up -------------------------------------------------------------------------------------------------------


@settings(deadline=None, max_examples=30)
@given(
    st.integers(0, 10**13),
    st.integers(0, 100),
    st.integers(1, 40),
    st.datetimes(datetime(2020, 1, 1), datetime(2021, 12, 31)),
)
def test_the_parts_of_a_purchase_add_up_to_what_is_used_up_of_it(
    tmp_path_factory: pytest.TempPathFactory, nanos: int, residual: int, count: int, start: datetime
) -> None:
    file = tmp_path_factory.mktemp("contract") / "contract.toml"
    price, left = (f"{n // 10**9}.{n % 10**9:09d}" for n in (nanos, nanos * residual // 100))
    life = f'price = "{price}"\nresidual_value = "{left}"\nmonths = {count}\nbought = {start:%Y-%m-%dT%H:%M:%SZ}\n'
    file.write_text('[[purchase]]\nname = "rack"\ncurrency = "USD"\n' + life)
    charged = lines(file, year(2020, 6))
    parts = [effective for kind, *_, effective in charged if kind == "Depreciation"]
    assert sum(parts) == nanos - nanos * residual // 100
    assert sum(billed for *_, billed, _ in charged) == nanos
    assert all(part >= 0 for part in parts)
    whole = parts[1:-1]
    assert max(whole, default=0) - min(whole, default=0) <= 1, "whole months are charged alike"


@settings(deadline=None, max_examples=50)
@given(st.integers(1, 27), st.integers(0, 23), st.integers(-(10**12), 10**12).filter(bool))
def test_a_running_month_never_ends_above_or_below_the_agreed_amount(
    tmp_path_factory: pytest.TempPathFactory, day: int, hour: int, nanos: int
) -> None:
    file = tmp_path_factory.mktemp("contract") / "contract.toml"
    amount = f"{'-' if nanos < 0 else ''}{abs(nanos) // 10**9}.{abs(nanos) % 10**9:09d}"
    file.write_text(INVOICE.replace("31", f'"{amount}"'))
    now = OCTOBER.start + timedelta(days=day, hours=hour)
    ((*_, billed, effective),) = lines(file, Window(OCTOBER.start, now))
    share = Fraction(nanos) * int((now - OCTOBER.start).total_seconds()) / (31 * 86400)
    assert billed == effective == int(share)
    assert lines(file)[0][3] == nanos


def test_a_life_that_ends_inside_a_month_takes_its_rest_there(file: Path) -> None:
    file.write_text(PURCHASE.replace("2026-01-01", "2026-01-31").replace("12", "1"))
    assert lines(file, year(2026, 1)) == [
        ("Purchase", "01-31 00", "02-01 00", 1000 * 10**9, 0),
        ("Depreciation", "01-31 00", "02-01 00", 0, 1000 * 10**9 // 31),
        ("Depreciation", "02-01 00", "02-28 00", 0, 1000 * 10**9 - 1000 * 10**9 // 31),
    ]


def test_the_last_month_of_a_life_is_used_up_evenly_while_it_runs(file: Path) -> None:
    file.write_text(PURCHASE.replace("2026-01-01", "2026-01-31").replace("12", "1").replace("1000", "31"))
    running = lines(file, Window(at("2026-02-01"), at("2026-02-14T12:00:00")))
    assert running == [("Depreciation", "02-01 00", "02-14 12", 0, 15 * 10**9)]


# --- adjustments ------------------------------------------------------------------------------------------------------


def test_a_percentage_is_of_every_entry_of_that_name_and_only_in_its_time(file: Path) -> None:
    second = INVOICE.replace("I-1", "I-2").replace("31", "62")
    file.write_text(INVOICE + second + ADJUSTMENT + "from = 2026-10-11\nto = 2026-10-21\n")
    discounts = [line for line in lines(file) if line[0] == "Discount"]
    assert discounts == [
        ("Discount", "10-11 00", "10-21 00", -1_000_000_000, -1_000_000_000),
        ("Discount", "10-11 00", "10-21 00", -2_000_000_000, -2_000_000_000),
    ]


def test_a_discount_of_a_purchase_lowers_the_price_once_and_what_is_used_up_each_month(file: Path) -> None:
    file.write_text(PURCHASE.replace("1000", "1200") + ADJUSTMENT.replace("cluster", "rack"))
    discounts = [line[3:] for line in lines(file, year(2026, 2)) if line[0] == "Discount"]
    assert discounts[0] == (-120 * 10**9, 0)
    assert discounts[1:] == [(0, -10 * 10**9)] * 12


SECOND = ADJUSTMENT.replace('"discount"\nk', '"loyalty"\nk')


@pytest.mark.parametrize(
    ("text", "message"),
    [
        pytest.param(
            INVOICE + ADJUSTMENT.replace("-10", "-60") + SECOND.replace("-10", "-40.5"),
            "{file}: adjustment 1 (discount, -60 %) and adjustment 2 (loyalty, -40.5 %): together -100.5 % of "
            "invoice 1 (cluster) from 2026-10-01T00:00:00+00:00, more than all of it",
            id="always",
        ),
        pytest.param(
            COST
            + "".join(
                a.replace("cluster", "power").replace("-10", "-60") + "from = 2026-05-01\n" for a in (ADJUSTMENT, SECOND)
            ),
            "adjustment 1 (discount, -60 %) and adjustment 2 (loyalty, -60 %): together -120 % of cost 1 (power) from 2026-05",
            id="from a day on",
        ),
        pytest.param(
            PURCHASE
            + "".join(a.replace("cluster", "rack").replace("-10", "-60") for a in (ADJUSTMENT, SECOND))
            + ADJUSTMENT.replace("cluster", "rack").replace('"discount"', '"surcharge"').replace("-10", "20")
            + "to = 2026-06-01\n",
            "(loyalty, -60 %): together -120 % of purchase 1 (rack) from 2026-06-01T00:00:00+00:00",
            id="after a surcharge",
        ),
    ],
)
def test_discounts_that_together_take_more_than_all_are_refused_by_name(file: Path, text: str, message: str) -> None:
    file.write_text(text)
    with pytest.raises(ConfigError, match=re.escape(message.format(file=file))):
        lines(file)


@pytest.mark.parametrize(
    "text",
    [
        pytest.param(INVOICE + ADJUSTMENT.replace("-10", "-60") + SECOND.replace("-10", "-40"), id="just all of it"),
        pytest.param(
            COST.replace("power", "cluster")
            + ADJUSTMENT.replace("-10", "-60")
            + "to = 2026-05-01\n"
            + SECOND.replace("-10", "-60")
            + "from = 2026-05-01\n",
            id="one after the other",
        ),
        pytest.param(
            INVOICE + "".join(a.replace("-10", "-60") + "from = 2026-11-01\n" for a in (ADJUSTMENT, SECOND)),
            id="when nothing is charged",
        ),
    ],
)
def test_discounts_that_leave_something_or_nothing_are_taken(file: Path, text: str) -> None:
    file.write_text(text)
    assert all(sum(row["billed_cost_nanos"] for row in rows) >= 0 for rows in months(file, year(2026, 1)).values())


# --- what is refused --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "found no [[purchase]] or [[cost]] or [[invoice]] or [[adjustment]]"),
        ('[[purchases]]\nname = "x"', "unknown key 'purchases'; did you mean 'purchase'?"),
        (PURCHASE.replace("bought", "bougt"), "purchase 1: unknown key 'bougt'; did you mean 'bought'?"),
        (PURCHASE.replace("months = 12", ""), "purchase 1: months: found None, expected a whole number from 1"),
        (PURCHASE.replace("12", "0"), "purchase 1: months: found 0"),
        (PURCHASE.replace("12", "99_999_999"), "purchase 1: months: found 99999999, expected a life that ends before"),
        (PURCHASE.replace("1000", "-1000"), "purchase 1: price: found -1000, expected a price that is not negative"),
        (PURCHASE + "residual_value = 1001", "purchase 1: `residual_value` is more than `price`"),
        (PURCHASE.replace("USD", "credits"), "purchase 1: currency: found 'credits', expected an ISO 4217 code"),
        (PURCHASE + COST + COST.replace("31", "32").replace("from = 2026-01-01", ""), "cost 2: from: found None"),
        (
            COST + "per_gpu_hour = 1\ngpus = 8",
            "found per_gpu_hour and per_month of per_gpu_hour, per_month; expected exactly one",
        ),
        (COST.replace("per_month", "per_gpu_hour"), "cost 1: gpus: missing; `per_gpu_hour` needs it"),
        (COST + "gpus = 8", "cost 1: per_gpu_hour: missing; `gpus` needs it"),
        (COST + "to = 2025-12-31", "cost 1: `to` (2025-12-31T00:00:00+00:00) has to come after `from`"),
        (INVOICE.replace("2026-10", "2026-13"), "invoice 1: billing_period: found '2026-13', expected a month"),
        (INVOICE + "to = 2026-12-01", "invoice 1: `from` and `to` (2026-10-01T00:00:00+00:00, 2026-12-01T00:00:00+00:00) have"),
        (INVOICE + "from = 2026-09-30", "have to lie inside the billing period 2026-10"),
        (
            INVOICE + ADJUSTMENT.replace('"cluster"', '"clustr"'),
            "there is no entry 'clustr' in this file; did you mean 'cluster'?",
        ),
        (INVOICE + ADJUSTMENT.replace('"cluster"', '"discount"'), "of: there is no entry 'discount' in this file"),
        (INVOICE + ADJUSTMENT.replace("-10", "10"), "percentage: found 10, expected a discount to be below zero"),
        (INVOICE + ADJUSTMENT.replace("-10", "-101"), "percentage: found -101, expected a percentage that is not 0"),
        (INVOICE + ADJUSTMENT.replace('of = "cluster"', ""), "adjustment 1: of: missing; `percentage` needs it"),
        (ADJUSTMENT.replace("percentage = -10", "amount = -10"), "adjustment 1: currency: missing; `amount` needs it"),
        (ADJUSTMENT.replace('"discount"\np', '"rebate"\np'), "kind: found 'rebate', expected one of discount, credit, refund"),
        (INVOICE + INVOICE, "invoice 2: the same invoice 'cluster', in every key, is in {file}: invoice 1 already"),
    ],
)
def test_a_bad_entry_is_refused_by_file_and_number(file: Path, text: str, message: str) -> None:
    file.write_text(text)
    with pytest.raises(ConfigError, match=re.escape(f"{file}: ") + ".*" + re.escape(message.format(file=file))):
        lines(file)


def test_entries_that_are_alike_are_both_counted_where_a_note_tells_them_apart(file: Path) -> None:
    file.write_text(INVOICE + INVOICE + 'note = "the second rack"\n')
    assert len(lines(file)) == 2


def test_a_copy_of_a_contract_in_the_same_folder_is_refused(file: Path) -> None:
    file.write_text(INVOICE)
    (file.parent / "copy.toml").write_text(INVOICE)
    with pytest.raises(ConfigError, match=r"copy\.toml: invoice 1: .*contract\.toml: invoice 1 already; write a `note`"):
        lines(file.parent)


def test_a_missing_contract_is_not_an_empty_month(file: Path) -> None:
    with pytest.raises(SourceUnavailable, match="no contract found"):
        lines(file)


def test_neither_a_price_nor_its_discount_is_money_of_the_jobs_of_that_day(file: Path) -> None:
    owned = 'resource = "owned"\n'
    file.write_text(PURCHASE.replace("01-01", "10-01") + owned + ADJUSTMENT.replace("cluster", "rack") + owned)
    found = [(row["line_type"], row["resource_id"], row["billed_cost_nanos"]) for row in months(file)["2026-10"]]
    assert found == [
        ("Purchase", None, 1000 * 10**9),
        ("Depreciation", "owned", 0),
        ("Discount", None, -100 * 10**9),
        ("Discount", "owned", 0),
    ]


def test_a_cost_is_on_the_invoice_of_its_month(file: Path) -> None:
    file.write_text(COST + 'invoice = "DC {month}"\n' + ADJUSTMENT.replace("cluster", "power"))
    found = months(file, Window(OCTOBER.start, at("2026-11-10")))
    assert {month: [row["invoice_id"] for row in rows] for month, rows in found.items()} == {
        "2026-10": ["DC 2026-10", "DC 2026-10"],
        "2026-11": ["DC 2026-11", "DC 2026-11"],
    }
    file.write_text(COST + ADJUSTMENT.replace("cluster", "power") + 'invoice = "A"\n')
    assert [row["invoice_id"] for row in months(file)["2026-10"]] == [None, "A"]


# --- through the ledger -----------------------------------------------------------------------------------------------


def test_a_contract_reaches_the_jobs_of_its_pool_and_closes(tmp_path: Path) -> None:
    config = write_organisation(tmp_path)
    nodes = [f"{NODES_HEADER},pool", "n1,i-1,8,H100,96,1024,,,owned", "n2,i-2,8,H100,96,1024,,,owned"]
    (tmp_path / "nodes.csv").write_text("\n".join(nodes) + "\n")
    (tmp_path / "contract.toml").write_text(COST + 'resource = "owned"\n' + PURCHASE.replace("01-01", "10-03"))
    text = config.read_text().replace('[collectors.focus]\npath = "bill.csv"', '[collectors.contract]\npath = "contract.toml"')
    config.write_text(text)
    outcome = Pipeline(load(config), clock=lambda: at("2026-12-01").timestamp()).run(parse_period("2026-10"))
    assert outcome.failures == []
    (breakdown,) = outcome.breakdowns
    assert breakdown.charges == breakdown.attributed == breakdown.total
    used_up = 1000 * 10**9 * 29 // (31 * 12)
    with Engine() as engine:
        Reader(load(config)).ledger.snapshot().view(engine, "attributions")
        routes = engine.rows(
            "SELECT route, sum(effective_cost_nanos), sum(billed_cost_nanos), bool_or(job_key IS NOT NULL) FROM attributions "
            "GROUP BY route ORDER BY route"
        )
    assert routes == [("node", 31 * 10**9, 31 * 10**9, True), ("shared", used_up, 1000 * 10**9, False)]


def test_a_month_of_a_cluster_of_its_own_closes_where_its_costs_name_their_invoice(tmp_path: Path) -> None:
    config = write_organisation(tmp_path)
    text = config.read_text().replace('[collectors.focus]\npath = "bill.csv"', '[collectors.contract]\npath = "contract.toml"')
    config.write_text(text)
    states = []
    for invoice in ("", 'invoice = "DC-14 {month}"\n'):
        (tmp_path / "contract.toml").write_text(COST + invoice + PURCHASE)
        outcome = Pipeline(load(config), clock=lambda: at("2026-12-01").timestamp()).run(parse_period("2026-10"))
        (breakdown,) = outcome.breakdowns
        states.append(breakdown.state)
        used_up = 1000 * 10**9 // 12
        assert (breakdown.total, breakdown.billed_total) == (31 + Decimal(used_up).scaleb(-9), 31)
    assert states == ["preliminary", "closed"]
    assert {(row.invoice, row.billed) for row in breakdown.bridge} == {("DC-14 2026-10", 31), ("", 0)}


def test_a_resource_that_nothing_has_is_found_by_name(tmp_path: Path) -> None:
    config = write_organisation(tmp_path)
    (tmp_path / "contract.toml").write_text(COST + 'resource = "ownd"\n')
    text = config.read_text().replace('[collectors.focus]\npath = "bill.csv"', '[collectors.contract]\npath = "contract.toml"')
    config.write_text(text)
    outcome = Pipeline(load(config), clock=lambda: at("2026-12-01").timestamp()).run(parse_period("2026-10"))
    (found,) = (finding for finding in outcome.breakdowns[0].findings if finding[0] == "unknown_resource")
    assert found[1] == "ownd" and "31.000000000 USD" in found[2]
