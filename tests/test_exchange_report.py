"""One report from money in several currencies: exact, dated, and refused where a rate is missing."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from collections.abc import Iterable
from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from ledgers import charge, rate, write_ledger

from rdspend.config import load
from rdspend.errors import BadRecord, ConfigError
from rdspend.ledger import Ledger
from rdspend.period import parse_period
from rdspend.reading import Reader
from rdspend.schema import Breakdown


def converted(config: Path, into: str = "EUR", as_of: str | None = None) -> Breakdown:
    return Reader(load(config)).converted(parse_period("2026-10"), into, as_of)


def rdspend(config: Path, *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-P", "-m", "rdspend", "--config", str(config), *words], capture_output=True, text=True, check=False
    )


def organisation(folder: Path, rates: Iterable[dict[str, Any]], charges: Iterable[dict[str, Any]] = ()) -> Path:
    lines = list(charges) or [
        charge("100", "80", day="2026-10-01"),
        charge("10", day="2026-10-05"),
        charge("7", day="2026-10-05", billing_currency="EUR"),
    ]
    return write_ledger(folder, lines, exchange_rates=rates)


TWO_RATES = [rate("USD", "EUR", "2026-10-01", "0.9"), rate("USD", "EUR", "2026-10-05", "0.5", row=2)]


def test_each_day_takes_the_rate_of_its_day_and_both_amounts_are_kept(tmp_path: Path) -> None:
    made = converted(organisation(tmp_path, TWO_RATES))
    assert (made.currency, made.revision) == ("EUR", 0)
    assert made.total == made.charges == made.attributed == 72 + 5 + 7
    assert made.billed_total == 90 + 5 + 7
    (dollars,) = made.conversions
    assert (dollars.currency, dollars.total, dollars.billed_total) == ("USD", 90, 110)
    assert (dollars.converted_total, dollars.converted_billed_total) == (77, 95)
    assert (dollars.first_rate, dollars.last_rate) == (Decimal("0.9"), Decimal("0.5"))


def test_closings_and_closing_table_stay_in_the_currencies_of_their_bills(tmp_path: Path) -> None:
    made = converted(organisation(tmp_path, TWO_RATES))
    assert {(c.currency, c.charges, c.attributed) for c in made.closings} == {("USD", 90, 90), ("EUR", 7, 7)}
    assert {(row.currency, row.billed) for row in made.bridge} == {("USD", 110), ("EUR", 7)}


def test_a_period_of_one_currency_is_converted_into_itself_without_a_rate(tmp_path: Path) -> None:
    made = converted(organisation(tmp_path, (), [charge("5", billing_currency="EUR")]))
    assert (made.total, made.conversions) == (5, ())


@pytest.mark.parametrize("rates", [(), [rate("EUR", "USD", "2026-10-01", "1.1")], [rate("USD", "EUR", "2026-10-02", "0.9")]])
def test_a_missing_rate_names_currency_day_rows_and_money_and_is_never_one_or_an_inverse(rates: Any, tmp_path: Path) -> None:
    config = organisation(tmp_path, rates)
    with pytest.raises(
        ConfigError, match=r"no rate in force for USD on 2026-10-01: 1 rows, effective 80\.000000000, billed 100\.0+[;,]"
    ):
        converted(config)


def test_many_missing_days_are_counted(tmp_path: Path) -> None:
    config = organisation(tmp_path, (), [charge("1", day=f"2026-10-{day:02d}") for day in range(1, 31)])
    with pytest.raises(ConfigError, match="and 25 more days"):
        converted(config)


def test_a_rate_ends_where_it_says(tmp_path: Path) -> None:
    config = organisation(tmp_path, [rate("USD", "EUR", "2026-10-01", "0.9", "2026-10-05")])
    with pytest.raises(ConfigError, match="for USD on 2026-10-05: 1 rows"):
        converted(config)


def test_a_rate_that_begins_within_a_day_counts_from_the_next_one(tmp_path: Path) -> None:
    rates = [rate("USD", "EUR", "2026-09-30", "0.9"), rate("USD", "EUR", "2026-10-05T00:00:01", "0.5", row=2)]
    assert converted(organisation(tmp_path, rates)).conversions[0].converted_total == 81


def test_two_sources_that_differ_are_refused_and_two_that_agree_count_once(tmp_path: Path) -> None:
    agreed = organisation(tmp_path / "agreed", [*TWO_RATES, rate("USD", "EUR", "2026-09-01", "0.50", source="ecb")])
    with pytest.raises(BadRecord, match=r"on 2026-10-01: ecb says 0\.50 \(ecb\.csv:1\), fx says 0\.9 \(fx\.csv:1\)"):
        converted(agreed)
    same = [rate("USD", "EUR", "2026-09-01", "0.50", source="ecb"), rate("USD", "EUR", "2026-09-15", "0.5")]
    assert converted(organisation(tmp_path / "same", same)).conversions[0].converted_total == 45


@pytest.mark.parametrize("text", ["0", "-1", "1,1", "", "NaN", "0.1234567890123456789", "one"])
def test_a_rate_that_is_none_is_refused_where_it_stands(text: str, tmp_path: Path) -> None:
    config = organisation(tmp_path, [rate("USD", "EUR", "2026-10-01", text)])
    with pytest.raises(BadRecord, match=r"fx\.csv: row 1: rate of USD into EUR"):
        converted(config)


def test_prices_in_credits_take_no_part(tmp_path: Path) -> None:
    line = charge("10", pricing_currency="CREDITS", pricing_currency_effective_cost_nanos=10**15)
    assert converted(organisation(tmp_path, [rate("USD", "EUR", "2026-10-01", "0.5")], [line])).total == 5


# Up to nine billion units and back, rates down to 18 digits: just what fits into a nano column.
costs = st.integers(-(2**62), 2**62)
rates = st.integers(1, 2 * 10**18).map(lambda parts: f"{parts // 10**18}.{parts % 10**18:018d}")


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    st.lists(
        st.tuples(st.sampled_from(["USD", "EUR", "GBP"]), st.integers(1, 3), costs),
        min_size=1,
        max_size=8,
        unique_by=lambda t: t[:2],
    ),
    st.lists(rates, min_size=6, max_size=6),
)
def test_every_row_is_its_exact_product_rounded_half_to_even(rows: list[tuple[str, int, int]], values: list[str]) -> None:
    pairs = [(currency, day) for currency in ("USD", "GBP") for day in (1, 2, 3)]
    table = dict(zip(pairs, values, strict=True))
    told = [rate(c, "EUR", f"2026-10-{d:02d}", text, row=i) for i, ((c, d), text) in enumerate(table.items(), 1)]
    lines = [
        charge(0, day=f"2026-10-{d:02d}", billing_currency=c, billed_cost_nanos=cost, effective_cost_nanos=cost // 3)
        for c, d, cost in rows
    ]
    with tempfile.TemporaryDirectory() as folder:
        made = converted(write_ledger(Path(folder), lines, exchange_rates=told))
    for side, total in (("billed", made.billed_total), ("effective", made.total)):
        # round() of a fraction is half to even
        expected = sum(
            round(line[f"{side}_cost_nanos"] * (1 if c == "EUR" else Fraction(table[c, d])))
            for (c, d, _), line in zip(rows, lines, strict=True)
        )
        assert Fraction(total) == Fraction(expected, 10**9)
    assert made.total == sum(line.cost for line in (*made.lines, *made.buckets))


@pytest.mark.parametrize(("nanos", "expected"), [(1, 0), (3, 2), (5, 2), (-1, 0), (-3, -2), (7, 4)])
def test_half_a_nano_goes_to_the_even_one(nanos: int, expected: int, tmp_path: Path) -> None:
    line = charge(0, billed_cost_nanos=nanos, effective_cost_nanos=nanos)
    made = converted(organisation(tmp_path, [rate("USD", "EUR", "2026-10-01", "0.5")], [line]))
    assert made.total == made.billed_total == Decimal(expected).scaleb(-9)


def test_a_row_may_become_more_than_the_ledger_could_hold(tmp_path: Path) -> None:
    line = charge(0, billed_cost_nanos=2**63 - 1, effective_cost_nanos=1 - 2**63)
    made = converted(organisation(tmp_path, [rate("USD", "JPY", "2026-10-01", "150.000000001")], [line]), "JPY")
    exact = Fraction((2**63 - 1) * 150_000_000_001, 10**9)
    assert Fraction(made.billed_total) == -Fraction(made.total) == Fraction(round(exact), 10**9)


def test_a_snapshot_keeps_its_rates(tmp_path: Path) -> None:
    config = organisation(tmp_path, TWO_RATES)
    before = rdspend(config, "report", "--period", "2026-10", "--in", "EUR", "--as-of", "1")
    assert before.returncode == 0, before.stderr
    organisation(tmp_path, [rate("USD", "EUR", "2026-10-01", "0.1")])
    assert len(Ledger(tmp_path / "ledger").runs()) == 2
    assert rdspend(config, "report", "--period", "2026-10", "--in", "EUR", "--as-of", "1").stdout == before.stdout
    assert converted(config).conversions[0].converted_total == 9


def test_the_command_refuses_what_it_cannot_mean(tmp_path: Path) -> None:
    config = organisation(tmp_path, TWO_RATES)
    both = rdspend(config, "report", "--period", "2026-10", "--in", "EUR", "--currency", "USD")
    assert (both.returncode, "leave out --currency" in both.stderr) == (2, True)
    low = rdspend(config, "report", "--period", "2026-10", "--in", "eur")
    assert (low.returncode, "ISO 4217" in low.stderr) == (2, True)
