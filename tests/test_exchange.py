"""exchange: rates come out exact and dated, each until the next of its pair; what is no money or said twice is refused."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from organisations import write_organisation

from collectors.exchange import Exchange
from rdspend.config import load
from rdspend.engine import Engine
from rdspend.errors import ConfigError
from rdspend.period import parse_period
from rdspend.pipeline import Pipeline
from rdspend.reading import Reader
from rdspend.schema import EXCHANGE_RATES, Location, Window

FIXTURES = Path(__file__).parent / "fixtures" / "exchange"
WINDOW = Window(datetime(2026, 10, 1, tzinfo=UTC), datetime(2026, 11, 1, tzinfo=UTC))
RATE = '[[rate]]\ncurrency = "EUR"\ninto = "USD"\nrate = 1.5\nfrom = 2026-10-01\n'
HEADER = "date,currency,into,rate\n"


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "exchange.toml"


def rates(path: Path, window: Window = WINDOW) -> list[tuple[Any, ...]]:
    """Number in the file, pair, rate, span as text."""
    found: list[tuple[Any, ...]] = []
    for delivery in Exchange(Location(path)).collect(window):
        assert (delivery.table, dict(delivery.scope), delivery.complete) == ("exchange_rates", {}, True)
        relation: Any = delivery.rows
        assert set(relation.columns) == set(EXCHANGE_RATES.names) - {"source"}
        assert {name for (name,) in relation.project("origin_file").fetchall()} <= {str(path)}
        span = "strftime(start_time, '%m-%d'), strftime(end_time, '%m-%d')"
        found += relation.project(f'origin_row, currency, "into", rate, {span}').fetchall()
    return found


@pytest.mark.parametrize("name", ["exchange.toml", "exchange.csv"])
def test_each_rate_holds_until_the_next_one_of_its_pair(name: str) -> None:
    assert rates(FIXTURES / name) == [
        (4, "EUR", "USD", "1.0799", "09-01", "10-01"),
        (1, "EUR", "USD", "1.0843", "10-01", "11-01"),
        (3, "EUR", "USD", "1.0917", "11-01", None),
        (2, "GBP", "USD", "1.300000000000000001", "10-01", None),
    ]


def test_all_rates_are_delivered_whatever_the_window() -> None:
    far = Window(datetime(2020, 1, 1, tzinfo=UTC), datetime(2020, 2, 1, tzinfo=UTC))
    assert rates(FIXTURES / "exchange.toml", far) == rates(FIXTURES / "exchange.toml")


@settings(deadline=None, max_examples=40)
@given(
    st.decimals("0.000000000000000001", "999999999999", allow_nan=False, places=18),
    st.lists(st.integers(0, 500), min_size=1, max_size=6, unique=True),
)
def test_a_rate_keeps_every_digit_and_spans_leave_no_gap(
    tmp_path_factory: pytest.TempPathFactory, rate: Decimal, days: list[int]
) -> None:
    file = tmp_path_factory.mktemp("exchange") / "exchange.csv"
    first = datetime(2026, 1, 1).date()
    file.write_text(HEADER + "".join(f"{first + timedelta(day)},EUR,USD,{rate}\n" for day in days))
    found = rates(file)
    assert {Decimal(text) for _, _, _, text, _, _ in found} == {rate}
    assert [end for *_, end in found] == [*(start for *_, start, _ in found[1:]), None]


def test_a_rate_with_an_exponent_is_written_out(file: Path) -> None:
    file.write_text(RATE.replace("1.5", '"6.25e-7"'))
    assert rates(file)[0][3] == "0.000000625"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            RATE + RATE.replace("1.5", "1.6"),
            "rate 2: a rate of EUR into USD from 2026-10-01T00:00:00Z is in {file}: rate 1 already",
        ),
        (
            RATE.replace("EUR", "tokens"),
            "rate 1: currency: found 'tokens', expected an ISO 4217 code such as 'USD'; credits, tokens",
        ),
        (RATE.replace("EUR", "TOKEN"), "rate 1: currency: found 'TOKEN', expected an ISO 4217 code"),
        (RATE.replace("USD", "Credits"), "rate 1: into: found 'Credits', expected an ISO 4217 code"),
        (RATE.replace("USD", "EUR"), "rate 1: into: found 'EUR', expected another currency"),
        (RATE.replace("1.5", "0"), "rate 1: rate: found 0, expected a rate above 0"),
        (RATE.replace("1.5", "-1"), "rate 1: rate: found -1, expected a rate above 0"),
        (RATE.replace("1.5", "nan"), "rate 1: rate: found NaN, expected a finite number"),
        (RATE.replace("1.5", '"1,5"'), "rate 1: rate: found '1,5', expected a plain decimal number"),
        (RATE.replace("1.5", "1e12"), "rate 1: rate: found 1E+12, expected a rate above 0 and below 10^12"),
        (RATE.replace("1.5", "1e-999999999999"), "expected a rate above 0"),
        (RATE.replace("1.5", "0.1234567890123456789"), "with at most 18 decimals"),
        (RATE.replace("from = 2026-10-01", ""), "rate 1: from: found None, expected a date"),
        (RATE.replace("into", "to"), "rate 1: unknown key 'to'; did you mean 'into'?"),
        ("", "found no [[rate]]; write one, or remove the collector exchange"),
    ],
)
def test_a_bad_rate_is_refused_by_file_and_number(file: Path, text: str, message: str) -> None:
    file.write_text(text)
    with pytest.raises(ConfigError, match=re.escape(f"{file}: ") + ".*" + re.escape(message.format(file=file))):
        rates(file)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", ":1: the file is empty, expected a header: date, currency, into, rate"),
        ("date,currency,rate\n", ":1: no column 'into'; expected date, currency, into, rate"),
        ("date,curency,into,rate\n", ":1: unknown column 'curency'; did you mean 'currency'?"),
        ("date,date,currency,into,rate\n", ":1: two columns are called 'date'"),
        (HEADER + "2026-10-01,EUR,USD\n", ":2: found 3 values, expected 4"),
        (HEADER + "2026-10-01,EUR,USD,\n", ":2: rate: found None, expected a rate above 0"),
        (HEADER + "10/01/2026,EUR,USD,1\n", ":2: date: found '10/01/2026', expected a date"),
        (HEADER + "2026-10-01T00:00:00,EUR,USD,1\n", ":2: date: found '2026-10-01T00:00:00', expected a date"),
        (HEADER + '2026-10-01,EUR,USD,"1\n', "not valid CSV"),
        (
            HEADER + "2026-10-01,EUR,USD,1\n2026-10-02,EUR,USD,1\n2026-10-01T02:00:00+02:00,EUR,USD,2\n",
            ":4: a rate of EUR into USD from 2026-10-01T00:00:00Z is in {file}:2 already; remove one",
        ),
    ],
)
def test_a_bad_csv_file_is_refused_by_line(tmp_path: Path, text: str, message: str) -> None:
    file = tmp_path / "exchange.csv"
    file.write_text(text)
    with pytest.raises(ConfigError, match=re.escape(str(file)) + ".*" + re.escape(message.format(file=file))):
        rates(file)


def test_a_missing_table_is_not_an_empty_one(file: Path) -> None:
    with pytest.raises(ConfigError, match="can't read the table of exchange rates"):
        rates(file)


def test_a_csv_table_without_rows_has_no_rates(tmp_path: Path) -> None:
    (tmp_path / "exchange.csv").write_text(HEADER)
    assert rates(tmp_path / "exchange.csv") == []


def test_a_new_table_takes_the_place_of_the_old_one_in_the_ledger(tmp_path: Path) -> None:
    config = write_organisation(tmp_path)
    config.write_text(config.read_text() + '\n[collectors.exchange]\npath = "exchange.toml"\n')
    kept = []
    for text in (RATE + RATE.replace("EUR", "GBP"), RATE.replace("1.5", "1.25")):
        (tmp_path / "exchange.toml").write_text(text)
        pipeline = Pipeline(load(config), clock=lambda: datetime(2026, 12, 1, tzinfo=UTC).timestamp())
        assert pipeline.run(parse_period("2026-10"), ["collect"]).failures == []
        with Engine() as engine:
            Reader(load(config)).ledger.snapshot().view(engine, "exchange_rates")
            kept.append(engine.rows("SELECT source, currency, rate FROM exchange_rates ORDER BY ALL"))
    assert kept == [[("exchange", "EUR", "1.5"), ("exchange", "GBP", "1.5")], [("exchange", "EUR", "1.25")]]
