"""Estimate against bill: an oracle in exact fractions, what may not be compared, and the interval that follows."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from decimal import Decimal
from fractions import Fraction
from math import ceil, trunc
from pathlib import Path
from typing import Any

import duckdb
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from organisations import MONTH, two_days, write_bill, write_organisation

from rdspend.attribution import Attributed, attribute
from rdspend.config import Plugin, load
from rdspend.engine import DUCKDB_TYPES, Engine
from rdspend.estimates import error_rows, interval, known_errors
from rdspend.period import parse_period
from rdspend.pipeline import Pipeline
from rdspend.reading import Reader
from rdspend.schema import ESTIMATE_ERRORS, GPU_PARTS, TABLES, Breakdown, Delivery, EstimateError, Window

HOUR, DAY = 3600, 86_400
START = int(datetime(2026, 9, 1, tzinfo=UTC).timestamp())
END = START + 30 * DAY
NANOS = 10**9

Row = dict[str, Any]


def instant(second: int | None) -> str | None:
    return None if second is None else datetime.fromtimestamp(second, UTC).isoformat()


def node(number: int, hours: float = 10, *, since: float = 0, gpus: int | None = 8, **more: Any) -> Row:
    """Up for some hours from an hour of the month."""
    start, end = START + int(since * HOUR), START + int((since + hours) * HOUR)
    parts = None if gpus is None else gpus * GPU_PARTS
    return {
        "cluster": "c1",
        "node": f"n{number}",
        "resource_id": f"i-{number}",
        "gpu_parts": parts,
        "gpu_type": "H100",
        "start_time": instant(start),
        "end_time": instant(end),
        **more,
    }


def line(number: int, hour: float, cost: int, hours: float = 1, **more: Any) -> Row:
    """What node `number` cost from an hour of the month."""
    start = START + int(hour * HOUR)
    return {
        "source": "bill",
        "billing_period": "2026-09",
        "basis": "billed",
        "billing_currency": "USD",
        "effective_cost_nanos": cost,
        "billed_cost_nanos": cost,
        "charge_category": "Usage",
        "resource_id": f"i-{number}",
        "charge_period_start": instant(start),
        "charge_period_end": instant(start + int(hours * HOUR)),
        **more,
    }


def rate(row: int = 1, price: int | None = 3 * NANOS, **more: Any) -> Row:
    return {
        "source": "card",
        "origin_row": row,
        "gpu_type": "H100",
        "price_per_gpu_hour_nanos": price,
        "currency": "USD",
    } | more


def filled(engine: Engine, table: str, rows: list[Row], name: str | None = None) -> None:
    columns = ", ".join(f'"{c.name}" {DUCKDB_TYPES[c.type]}' for c in TABLES[table].columns)
    engine.execute(f"CREATE TABLE {name or table} ({columns})")
    for row in rows:
        marks = ", ".join("?" * len(row))
        engine.rows(f"INSERT INTO {name or table} ({', '.join(row)}) VALUES ({marks})", list(row.values()))


def attributed(engine: Engine, **tables: list[Row]) -> Attributed:
    """September attributed, seen from its end."""
    for table in ("charges", "nodes", "jobs", "placements", "rates"):
        filled(engine, table, tables.get(table, []))
    filled(engine, "charges", tables.get("other_charges", []), "other_charges")
    return attribute(engine, "2026-09", END)


def compared(**tables: list[Row]) -> tuple[list[tuple[Any, ...]], dict[str, int]]:
    """Rows of estimate_errors (less the month), and how many node hours were left out for what reason."""
    with Engine(threads=1) as engine:
        done = attributed(engine, **tables)
        found = error_rows(engine)
        left_out = {f.subject: f.rows for f in done.findings if f.kind == "estimate_not_compared"}
        return ([] if found is None else found.fetchall()), left_out


# --- the oracle -------------------------------------------------------------------------------------------------------


def ppm(error: Fraction) -> int:
    """Cut toward zero, and no further from it than 64 bits go."""
    return max(-(2**63 - 1), min(2**63 - 1, trunc(error * 10**6)))


def errors(pairs: list[tuple[int, int]]) -> tuple[int, int, int, int, int, int]:
    """Node hours, sums, median, 90th percentile and bias of (estimate, bill) pairs, by the words of the docstring."""
    relative = sorted(ppm(Fraction(bill - estimate, estimate)) for estimate, bill in pairs)
    absolute = sorted(map(abs, relative))
    estimated, billed = sum(e for e, _ in pairs), sum(b for _, b in pairs)
    count = len(pairs)
    median, p90 = relative[ceil(Fraction(count, 2)) - 1], absolute[ceil(Fraction(9 * count, 10)) - 1]
    return count, estimated, billed, median, p90, ppm(Fraction(billed - estimated, estimated))


SPOT = [24, 7, 8, 9, 6, 24, 24, 30, 7, 8]
"""Ten hours of a node that the rate card has at 24 dollars: bought on the spot market now and then."""


def test_errors_of_ten_hours_are_what_fractions_say() -> None:
    charges = [line(1, hour, cost * NANOS) for hour, cost in enumerate(SPOT)]
    assert errors([(24, cost) for cost in SPOT]) == (10, 240, 147, -666666, 708333, -387500)
    rows, left_out = compared(nodes=[node(1)], charges=charges, rates=[rate()])
    assert rows == [("H100", "USD", 10, 240 * NANOS, 147 * NANOS, -666666, 708333, -387500)]
    assert left_out == {}


def test_each_gpu_type_and_currency_has_its_own_errors() -> None:
    rows, left_out = compared(
        nodes=[node(1, 2), node(2, 2, gpus=4, gpu_type="A100"), node(3, 1, gpus=0, gpu_type=None, instance_type="cpu")],
        charges=[
            *(line(1, hour, 30 * NANOS) for hour in range(2)),
            *(line(2, hour, 5 * NANOS, billing_currency="EUR", source="euros") for hour in range(2)),
            line(3, 0, NANOS),
        ],
        rates=[
            rate(),
            rate(2, 2 * NANOS, gpu_type="A100", currency="EUR"),
            rate(3, gpu_type=None, instance_type="cpu", price_per_gpu_hour_nanos=None, price_per_node_hour_nanos=2 * NANOS),
        ],
    )
    assert rows == [
        ("A100", "EUR", 2, 16 * NANOS, 10 * NANOS, -375000, 375000, -375000),
        ("H100", "USD", 2, 48 * NANOS, 60 * NANOS, 250000, 250000, 250000),
        (None, "USD", 1, 2 * NANOS, NANOS, -500000, 500000, -500000),
    ]
    assert left_out == {}


AMOUNTS = st.one_of(st.integers(-5, 50), st.integers(-(10**13), 10**13), st.integers(10**12 * 9, 10**18))
PRICES = st.one_of(st.integers(1, 9), st.integers(1, 10**12), st.just(10**15))


@settings(max_examples=30, deadline=None)
@given(st.lists(st.tuples(st.sampled_from(["H100", "A100"]), PRICES, AMOUNTS), min_size=1, max_size=12))
def test_any_hours_give_the_errors_that_fractions_give(hours: list[tuple[str, int, int]]) -> None:
    rows, left_out = compared(
        nodes=[node(i, 1, gpu_type=kind, gpus=1, cluster=f"c{i}") for i, (kind, _, _) in enumerate(hours)],
        charges=[line(i, 0, bill) for i, (_, _, bill) in enumerate(hours)],
        rates=[rate(i + 1, price, gpu_type=None, node=f"n{i}") for i, (_, price, _) in enumerate(hours)],
    )
    by_type: dict[str, list[tuple[int, int]]] = {}
    for kind, price, bill in hours:
        by_type.setdefault(kind, []).append((price, bill))
    assert rows == [(kind, "USD", *errors(by_type[kind])) for kind in sorted(by_type)]
    assert left_out == {}


# --- which hours ------------------------------------------------------------------------------------------------------


def test_an_hour_has_the_estimate_that_attribution_would_have_made_of_it() -> None:
    rates = [
        rate(1, 3 * NANOS, start_time=None, end_time=instant(START + 5400)),
        rate(2, 4 * NANOS, start_time=instant(START + 5400)),
        rate(3, price=None, gpu_type=None, node="n2", price_per_node_hour_nanos=7 * NANOS),
    ]
    nodes = [node(1, 4), node(2, 4)]
    with Engine(threads=1) as engine:
        attributed(engine, nodes=nodes, rates=rates)
        unpaid = dict(engine.rows("SELECT gpu_type || '/' || node, sum(cost) FROM estimate GROUP BY 1"))
    rows, _ = compared(nodes=nodes, rates=rates, charges=[line(n, hour, NANOS) for n in (1, 2) for hour in range(4)])
    assert unpaid == {"H100/n1": (2 * 24 + 2 * 32) * NANOS, "H100/n2": 4 * 7 * NANOS}
    assert rows[0][2:4] == (8, sum(unpaid.values()))


def test_begun_hours_are_left_out_at_both_ends_of_a_nodes_life_and_of_a_bill() -> None:
    """Up from 0:30 to 5:30, billed from 0:00 to 3:00, 3:30 to 4:59 and 5:00 to 6:00: hours 1 and 2 are whole on both sides."""
    odd = [line(1, 3.5, NANOS, 0.5), line(1, 4, 9 * NANOS, hours=59 / 60), line(1, 5, 9 * NANOS)]
    charges = [*(line(1, hour, 10 * NANOS) for hour in range(3)), *odd]
    rows, _ = compared(nodes=[node(1, 5, since=0.5)], charges=charges, rates=[rate()])
    assert [row[2] for row in rows] == [2]


def test_two_lines_that_share_an_hour_are_one_bill_of_it() -> None:
    halves = [line(1, 0, 5 * NANOS, 0.5), line(1, 0.5, 7 * NANOS, 0.5)]
    rows, _ = compared(nodes=[node(1, 1)], charges=halves, rates=[rate()])
    assert rows == [("H100", "USD", 1, 24 * NANOS, 12 * NANOS, -500000, 500000, -500000)]


def test_a_line_over_a_day_is_compared_hour_by_hour() -> None:
    rows, _ = compared(nodes=[node(1, 24)], charges=[line(1, 0, 480 * NANOS, 24)], rates=[rate()])
    assert rows == [("H100", "USD", 24, 576 * NANOS, 480 * NANOS, -166666, 166666, -166666)]


def test_credits_and_taxes_of_the_node_are_part_of_its_bill_but_alone_are_none() -> None:
    credit = line(1, 0, -6 * NANOS, charge_category="Credit")
    rows, _ = compared(nodes=[node(1, 1)], charges=[line(1, 0, 24 * NANOS), credit], rates=[rate()])
    assert rows[0][2:5] == (1, 24 * NANOS, 18 * NANOS)
    assert compared(nodes=[node(1, 1)], charges=[credit], rates=[rate()]) == ([], {})


def test_the_money_of_a_pool_is_compared_node_by_node() -> None:
    nodes = [node(n, 1, pool="p", resource_id=None, gpus=gpus) for n, gpus in ((1, 8), (2, 4))]
    rows, _ = compared(nodes=nodes, charges=[line(1, 0, 30 * NANOS, resource_id="p")], rates=[rate()])
    assert rows == [("H100", "USD", 2, 36 * NANOS, 30 * NANOS, -166666, 166666, -166666)]


def test_on_a_node_of_unknown_capacity_the_estimate_is_the_gpu_time_held() -> None:
    job = {"job_key": "c1/1/0", "cluster": "c1", "end_day": "2026-09-01", "gpu_parts": 4 * GPU_PARTS}
    held = {"start_time": instant(START), "end_time": instant(START + HOUR + 1800)}
    rows, left_out = compared(
        nodes=[node(1, 3, gpus=None)],
        jobs=[{**job, **held, "source": "log", "job_id": "1", "submit_time": instant(START), "outcome": "completed"}],
        placements=[{**job, **held, "node": "n1"}],
        charges=[line(1, hour, 9 * NANOS) for hour in range(3)],
        rates=[rate()],
    )
    assert rows == [("H100", "USD", 2, 18 * NANOS, 18 * NANOS, -250000, 500000, 0)]
    assert left_out == {"estimate of zero": 1}


def test_hours_of_another_month_are_not_this_months() -> None:
    rows, _ = compared(nodes=[node(1, 4, since=-2)], charges=[line(1, hour, NANOS) for hour in range(-2, 2)], rates=[rate()])
    assert [row[2] for row in rows] == [2]


# --- what can't be compared -------------------------------------------------------------------------------------------


def hours_of(number: int, cost: int = 10 * NANOS, **more: Any) -> list[Row]:
    return [line(number, hour, cost, **more) for hour in range(10)]


def test_another_currency_is_counted_and_never_compared() -> None:
    assert compared(nodes=[node(1)], charges=hours_of(1, billing_currency="EUR"), rates=[rate()]) == ([], {"currency": 10})


def test_a_node_in_the_bills_of_two_currencies_is_not_compared_with_one_of_them() -> None:
    both = [*hours_of(1), *hours_of(1, billing_currency="EUR")]
    for currency in ("EUR", "USD"):
        assert compared(nodes=[node(1)], charges=both, rates=[rate(currency=currency)]) == ([], {"currency": 10})


def test_a_node_in_two_bills_of_one_currency_has_the_sum_of_both() -> None:
    rows, left_out = compared(nodes=[node(1)], charges=[*hours_of(1), *hours_of(1, source="other")], rates=[rate()])
    assert (rows[0][2:5], left_out) == ((10, 240 * NANOS, 200 * NANOS), {})


def test_an_estimate_is_no_bill_for_another_one() -> None:
    guessed = hours_of(1, basis="estimated")
    assert compared(nodes=[node(1)], charges=guessed, rates=[rate()]) == ([], {"currency": 10})
    assert compared(nodes=[node(1)], charges=[*guessed, *hours_of(1)], rates=[rate()]) == ([], {"currency": 10})


def test_an_estimate_of_zero_has_no_relative_error_and_is_counted() -> None:
    assert compared(nodes=[node(1)], charges=hours_of(1), rates=[rate(price=0)]) == ([], {"estimate of zero": 10})


def test_two_equally_narrow_prices_of_a_paid_hour_are_no_error_and_no_guess() -> None:
    assert compared(nodes=[node(1)], charges=hours_of(1), rates=[rate(1), rate(2, NANOS)]) == ([], {"two prices": 10})


def test_hours_that_a_bill_of_another_month_pays_for_are_counted_and_left_out() -> None:
    late = line(1, 3, 4 * NANOS, billing_period="2026-10")
    rows, left_out = compared(nodes=[node(1)], charges=hours_of(1), other_charges=[late], rates=[rate()])
    assert (rows[0][2], left_out) == (9, {"another month": 1})


def test_a_paid_hour_without_a_price_is_nothing_to_compare() -> None:
    assert compared(nodes=[node(1)], charges=hours_of(1), rates=[rate(gpu_type="A100")]) == ([], {})


def test_sums_that_the_ledger_can_not_hold_are_left_out_and_counted() -> None:
    most = 9 * 10**18
    charges = [line(1, 0, most), line(1, 24, most)]
    nodes = [node(1, 1), node(1, 1, since=24)]
    assert compared(nodes=nodes, charges=charges, rates=[rate()]) == ([], {"size": 2})


def test_an_error_beyond_all_numbers_is_the_largest_number() -> None:
    rows, _ = compared(nodes=[node(1, 1, gpus=1)], charges=[line(1, 0, 9 * 10**18)], rates=[rate(price=1)])
    assert rows[0][5:] == (2**63 - 1,) * 3


def test_without_rates_nothing_is_compared_and_no_table_is_made() -> None:
    with Engine(threads=1) as engine:
        attributed(engine, nodes=[node(1)], charges=hours_of(1))
        assert error_rows(engine) is None
        assert engine.rows("SELECT 1 FROM duckdb_tables() WHERE table_name IN ('paid_hour', 'estimate_error')") == []


# --- the interval -----------------------------------------------------------------------------------------------------


@pytest.fixture
def engine() -> Iterator[Engine]:
    with Engine(threads=1) as made:
        yield made


def known(engine: Engine, *rows: Mapping[str, Any]) -> None:
    row = {"currency": "USD", "node_hours": 1, "estimated_cost_nanos": NANOS, "effective_cost_nanos": NANOS}
    filled(engine, ESTIMATE_ERRORS.name, [{**row, "median_ppm": 0, "bias_ppm": -7, **each} for each in rows])


def test_of_each_gpu_type_the_newest_month_is_known(engine: Engine) -> None:
    known(
        engine,
        {"month": "2026-08", "gpu_type": "H100", "p90_ppm": 1},
        {"month": "2026-09", "gpu_type": "H100", "p90_ppm": 20_000},
        {"month": "2026-07", "gpu_type": None, "p90_ppm": 3},
        {"month": "2026-10", "gpu_type": "H100", "p90_ppm": 4, "currency": "EUR"},
    )
    one, bias = Decimal(1), Decimal("-0.000007")
    assert known_errors(engine, "USD") == (
        EstimateError("2026-07", "", 1, one, one, Decimal(0), Decimal("0.000003"), bias),
        EstimateError("2026-09", "H100", 1, one, one, Decimal(0), Decimal("0.02"), bias),
    )


def estimated(engine: Engine, *charges: Row) -> None:
    filled(engine, "charges", [{**line(1, 0, each.pop("cost")), "basis": "estimated", **each} for each in charges])


def test_each_gpu_types_estimated_money_widens_the_interval_by_its_own_error(engine: Engine) -> None:
    known(
        engine,
        {"month": "2026-09", "gpu_type": "H100", "p90_ppm": 20_000},
        {"month": "2026-09", "gpu_type": None, "p90_ppm": 500_000},
    )
    estimated(
        engine,
        {"cost": 1000 * NANOS, "sku_id": "H100"},
        {"cost": 3 * NANOS},
        {"cost": 7 * NANOS, "sku_id": "H100", "basis": "billed"},
        {"cost": 9 * NANOS, "sku_id": "A100", "billing_currency": "EUR"},
    )
    errors = known_errors(engine, "USD")
    assert interval(engine, "USD", Decimal(1010), errors) == (Decimal("988.5"), Decimal("1031.5"))
    assert interval(engine, "USD", Decimal(1010), errors, converted=True) is None


def test_estimated_money_of_a_gpu_type_without_known_error_has_no_interval(engine: Engine) -> None:
    known(engine, {"month": "2026-09", "gpu_type": "H100", "p90_ppm": 20_000})
    estimated(engine, {"cost": 1000 * NANOS, "sku_id": "H100"}, {"cost": 1, "sku_id": "B200"})
    assert interval(engine, "USD", Decimal(1000), known_errors(engine, "USD")) is None


def test_a_total_without_estimates_has_no_interval(engine: Engine) -> None:
    known(engine, {"month": "2026-09", "gpu_type": "H100", "p90_ppm": 20_000})
    estimated(engine)
    assert interval(engine, "USD", Decimal(1000), known_errors(engine, "USD")) is None


# --- in the pipeline --------------------------------------------------------------------------------------------------

RATES = '[[rate]]\ngpu_type = "H100"\nprice_per_gpu_hour = 12\ncurrency = "USD"\n'
NOVEMBER_20 = datetime(2026, 11, 20, tzinfo=UTC).timestamp()


def organisation(folder: Path, rates: str = RATES) -> Path:
    path = write_organisation(folder)
    (folder / "rates.toml").write_text(rates)
    path.write_text(path.read_text() + '\n[collectors.rate_card]\npath = "rates.toml"\n')
    return path


def published(path: Path, period: str, now: float = NOVEMBER_20) -> Breakdown:
    config = replace(load(path), exporters=())
    done = Pipeline(config, clock=lambda: now).run(parse_period(period))
    assert done.failures == []
    return done.breakdowns[0]


def test_a_month_learns_its_error_from_what_is_billed_and_gives_its_interval_to_the_rest(tmp_path: Path) -> None:
    """96 hours billed at 98.32 for an estimate of 96 are off by 0.024166; the other hours of the month are estimates."""
    made = published(organisation(tmp_path), MONTH)
    assert made.estimate_errors == (
        EstimateError(
            *(MONTH, "H100", 96, Decimal(9216), Decimal("9438.72")),
            *(Decimal("0.024166"), Decimal("0.024166"), Decimal("0.024166")),
        ),
    )
    room = (2 * 31 * 24 - 96) * 96 * Decimal("0.024166")
    assert (made.estimated_low, made.estimated_high) == (made.total - room, made.total + room)


def test_an_open_month_takes_the_error_of_the_month_before_and_not_of_the_one_after(tmp_path: Path) -> None:
    path = organisation(tmp_path)
    october = published(path, MONTH)
    november = published(path, "2026-11")
    assert [(e.month, e.node_hours) for e in november.estimate_errors] == [(MONTH, 96)]
    assert november.estimated_low is not None
    september = published(path, "2026-09")
    assert september.estimate_errors == ()
    assert september.basis == "estimated"
    assert (september.estimated_low, september.estimated_high) == (None, None)
    assert published(path, MONTH).estimated_low == october.estimated_low


def test_a_restated_bill_replaces_the_months_errors(tmp_path: Path) -> None:
    path = organisation(tmp_path)
    published(path, MONTH)
    write_bill(tmp_path, two_days("48"))
    made = published(path, MONTH)
    assert [(e.month, e.node_hours, e.bias) for e in made.estimate_errors] == [(MONTH, 96, Decimal("-0.5"))]
    before = Reader(load(path)).breakdowns(parse_period(MONTH), None, as_of="1")[0]
    assert [e.bias for e in before.estimate_errors] == [Decimal("0.024166")]


def test_a_rate_card_that_goes_takes_its_errors_along(tmp_path: Path) -> None:
    path = organisation(tmp_path)
    assert published(path, MONTH).estimate_errors
    path.write_text(path.read_text().partition("\n[collectors.rate_card]")[0])
    config = replace(load(path), exporters=())
    Pipeline(config, clock=lambda: NOVEMBER_20).forget("rate_card")
    assert published(path, MONTH).estimate_errors == ()


def test_hours_that_could_not_be_compared_are_a_finding_of_the_report(tmp_path: Path) -> None:
    made = published(organisation(tmp_path, RATES.replace("USD", "EUR")), MONTH)
    found = [(subject, rows) for kind, subject, _, rows in made.findings if kind == "estimate_not_compared"]
    assert found == [("currency", 96)]


@dataclass(frozen=True)
class Asks:
    """A collector whose provider charges for being asked."""

    requests: int
    own_cost: int

    def collect(self, _: Window) -> Iterator[Delivery]:
        with duckdb.connect() as connection:
            origin, price = "'r' AS origin_file, 1 AS origin_row", "1 AS price_per_gpu_hour_nanos, 'USD' AS currency"
            rows = connection.sql(f"SELECT {origin}, 'H100' AS gpu_type, {price}")
            yield Delivery("rates", rows, requests=self.requests, own_cost=self.own_cost)


def test_what_asking_costs_is_summed_over_all_runs(tmp_path: Path) -> None:
    config = load(organisation(tmp_path))
    for asked in (Asks(2, 20_000_001), Asks(3, 30_000_000), Asks(0, 0)):
        sources = (Plugin("collectors", "asks", asked), Plugin("collectors", "free", Asks(0, 0)))
        config = replace(config, collectors=sources, exporters=())
        assert Pipeline(config, clock=lambda: NOVEMBER_20).run(parse_period(MONTH), ["collect"]).failures == []
    assert {s.source: (s.requests, s.own_cost) for s in Reader(config).health().sources} == {
        "asks": (5, Decimal("0.050000001")),
        "free": (0, Decimal(0)),
    }
