"""rate_card: prices come out exact and dated; whatever could be read in two ways is refused by file and rate."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from collectors.rate_card import Rate, RateCard, read_rates
from rdspend.errors import ConfigError
from rdspend.schema import RATES, Location, Window

FIXTURE = Path(__file__).parent / "fixtures" / "rate_card" / "rates.toml"
WINDOW = Window(datetime(2026, 10, 1, tzinfo=UTC), datetime(2026, 11, 1, tzinfo=UTC))
GOOD = 'gpu_type = "h100"\nprice_per_gpu_hour = 2\ncurrency = "USD"\n'


@pytest.fixture
def file(tmp_path: Path) -> Iterator[Path]:
    yield tmp_path / "rates.toml"


def rows(path: Path) -> list[dict[str, Any]]:
    """What is delivered, times as epoch seconds."""
    found: list[dict[str, Any]] = []
    for delivery in RateCard(Location(path)).collect(WINDOW):
        assert (delivery.table, dict(delivery.scope), delivery.complete) == ("rates", {}, True)
        relation: Any = delivery.rows
        names = relation.columns
        assert set(names) == set(RATES.names) - {"source"}
        times = "* REPLACE (epoch(start_time)::BIGINT AS start_time, epoch(end_time)::BIGINT AS end_time)"
        found += [dict(zip(names, row, strict=True)) for row in relation.project(times).fetchall()]
    return found


def test_a_rate_file_comes_out_row_by_row() -> None:
    empty = dict.fromkeys(set(RATES.names) - {"source"}) | {"origin_file": str(FIXTURE)}
    july = int(datetime(2026, 7, 1, tzinfo=UTC).timestamp())
    assert rows(FIXTURE) == [
        empty
        | {"origin_row": 1, "gpu_type": "h100", "price_per_gpu_hour_nanos": 2_990_000_000, "currency": "USD"}
        | {"end_time": july},
        empty
        | {"origin_row": 2, "gpu_type": "h100", "price_per_gpu_hour_nanos": 2_490_000_000, "currency": "USD"}
        | {"start_time": july},
        empty
        | {"origin_row": 3, "gpu_type": "h100", "cluster": "old", "currency": "EUR"}
        | {"price_per_gpu_hour_nanos": 1_000_000_001},
        empty
        | {"origin_row": 4, "instance_type": "p5.48xlarge", "currency": "USD"}
        | {"price_per_node_hour_nanos": 55_040_000_000},
        empty | {"origin_row": 5, "queue": "debug", "price_per_gpu_hour_nanos": 0, "currency": "USD"},
        empty
        | {"origin_row": 6, "node": "n'1", "price_per_node_hour_nanos": 9_000_000_000_000_000_000}
        | {"currency": "JPY", "start_time": july - 7200, "end_time": july},
    ]


def test_a_price_is_exact_where_a_float_is_not(file: Path) -> None:
    file.write_text('[[rate]]\nnode = "n"\nprice_per_node_hour = 9007199.254740993\ncurrency = "USD"')
    assert rows(file)[0]["price_per_node_hour_nanos"] == 9_007_199_254_740_993


@given(st.integers(0, 2**63 - 1), st.booleans(), st.integers(0, 3))
def test_any_price_of_nine_decimals_is_kept_to_the_last_nano(
    tmp_path_factory: pytest.TempPathFactory, nanos: int, quoted: bool, zeros: int
) -> None:
    file = tmp_path_factory.mktemp("rates") / "rates.toml"
    text = f"{nanos // 10**9}.{nanos % 10**9:09d}" + "0" * zeros
    price = f'"{text}"' if quoted else text
    file.write_text(f'[[rate]]\nnode = "n"\nprice_per_node_hour = {price}\ncurrency = "USD"')
    assert read_rates(str(file))[0].price_nanos == nanos


@pytest.mark.parametrize(
    ("rate", "message"),
    [
        (GOOD.replace("gpu_type", "gpu_typ"), "unknown key 'gpu_typ'; did you mean 'gpu_type'?"),
        (GOOD + 'zzz = "red"', "unknown key 'zzz'; known are node, partition"),
        (
            GOOD + 'node = "n1"',
            "found node and gpu_type of node, partition, instance_type, gpu_type; expected exactly one",
        ),
        (GOOD.replace("gpu_type", "cluster"), "found none of node, partition, instance_type, gpu_type"),
        (GOOD + "price_per_node_hour = 1", "found price_per_gpu_hour and price_per_node_hour of"),
        ('gpu_type = "h100"\ncurrency = "USD"', "found none of price_per_gpu_hour, price_per_node_hour"),
        (GOOD.replace("2", "-2"), "price_per_gpu_hour: found -2, expected a price that is not negative"),
        (GOOD.replace("2", "-1e-99"), "found -1E-99, expected a price that is not negative"),
        (GOOD.replace("2", "nan"), "found NaN, expected a finite number"),
        (GOOD.replace("2", "-inf"), "found -Infinity, expected a finite number"),
        (GOOD.replace("2", '"NaN"'), "found 'NaN', expected a plain decimal number"),
        (GOOD.replace("2", '"2,49"'), "found '2,49', expected a plain decimal number"),
        (GOOD.replace("2", '"$2"'), "found '$2', expected a plain decimal number"),
        (GOOD.replace("2", '"٢"'), "found '٢', expected a plain decimal number"),
        (GOOD.replace("2", '""'), "found '', expected a plain decimal number"),
        (GOOD.replace("2", "true"), "found True, expected a number"),
        (GOOD.replace("2", "2026-01-01"), "expected a number"),
        (GOOD.replace("2", "0.0000000001"), "expected at most nine decimals"),
        (GOOD.replace("2", "1.0000000001"), "expected at most nine decimals"),
        (GOOD.replace("2", "1e-999999999999"), "expected at most nine decimals"),
        (GOOD.replace("2", "1e999999999999"), "expected a price below 9,223,372,036"),
        (GOOD.replace("2", "9223372036.854775808"), "expected a price below 9,223,372,036"),
        (GOOD.replace("USD", "usd"), "currency: found 'usd', expected an ISO 4217 code"),
        (GOOD.replace("USD", "USDT"), "currency: found 'USDT'"),
        (GOOD.replace('currency = "USD"', ""), "currency: found None"),
        (GOOD.replace('"h100"', '" "'), "gpu_type: found ' ', expected a text that is not empty"),
        (GOOD.replace('"h100"', "100"), "gpu_type: found 100, expected a text"),
        (GOOD + 'cluster = "a b"', "cluster: found 'a b'"),
        (GOOD + "note = 7", "note: found 7, expected a text"),
        (GOOD + "from = 2026-01-01T00:00:00", "from: found 2026-01-01T00:00:00 without a zone"),
        (GOOD + 'from = "2026-01-01T00:00:00"', "from: found '2026-01-01T00:00:00', expected a date"),
        (GOOD + "from = 07:30:00", "from: found datetime.time(7, 30), expected a date"),
        (GOOD + 'to = "2026-02-30"', "to: found '2026-02-30': day"),
        (GOOD + 'to = "soon"', "to: found 'soon', expected a date"),
        (GOOD + "to = 0001-01-01T00:00:00+05:00", "to: found 0001-01-01T00:00:00+05:00: date value out of range"),
        (GOOD + "from = 2026-02-01\nto = 2026-02-01", "`to` (2026-02-01T00:00:00+00:00) has to come after `from`"),
    ],
)
def test_a_bad_rate_is_refused_by_file_and_number(file: Path, rate: str, message: str) -> None:
    file.write_text(f'[[rate]]\nnode = "fine"\nprice_per_node_hour = 1\ncurrency = "USD"\n[[rate]]\n{rate}')
    with pytest.raises(ConfigError, match=re.escape(f"{file}: rate 2") + ".*" + re.escape(message)):
        read_rates(str(file))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "found no [[rate]]"),
        (b"# nothing yet\n", "found no [[rate]]"),
        (b'[[rates]]\ngpu_type = "h100"', "unknown key 'rates'; did you mean 'rate'?"),
        (b'[rate]\ngpu_type = "h100"', "has to be written as [[rate]]"),
        (b"rate = [1]", "has to be written as [[rate]]"),
        (b"[[rate]]\ngpu_type = ", "not valid TOML"),
        (b"[[rate]]\nfrom = 2026-13-01", "not valid TOML"),
        (b'[[rate]]\nnote = "M\xfcller"', "not UTF-8 at byte 19"),
    ],
)
def test_a_bad_file_is_refused_by_name(file: Path, content: bytes, message: str) -> None:
    file.write_bytes(content)
    with pytest.raises(ConfigError, match=re.escape(f"{file}: ") + ".*" + re.escape(message)):
        read_rates(str(file))


@pytest.mark.parametrize("name", ["missing.toml", ".", "rates.toml/below"])
def test_a_file_that_cannot_be_read_is_not_an_empty_rate_card(file: Path, name: str) -> None:
    file.write_text("")
    path = file.parent / name
    with pytest.raises(ConfigError, match=re.escape(f"{path}: can't read the rate card")):
        list(RateCard(Location(path)).collect(WINDOW))


def span(start: str | None, end: str | None, **keys: str) -> str:
    keys = {"gpu_type": "h100", "currency": "USD"} | keys
    lines = [f'{key} = "{value}"' for key, value in keys.items()]
    lines += [f"from = {start}"] if start else []
    lines += [f"to = {end}"] if end else []
    return "\n".join(["[[rate]]", "price_per_gpu_hour = 1", *lines, ""])


@pytest.mark.parametrize(
    ("one", "two"),
    [
        (span(None, None), span(None, None)),
        (span("2026-01-01", "2026-03-01"), span("2026-02-28", None)),
        (span("2026-02-01", None), span(None, "2026-02-02")),
        (span("2026-01-01", "2026-12-01"), span("2026-02-01", "2026-03-01")),
        (span("2026-01-01", None), span("2026-06-01", None, currency="EUR")),
        (span(None, None, cluster="c1"), span(None, None, cluster="c1")),
    ],
)
def test_two_prices_for_the_same_thing_at_the_same_time_are_refused(file: Path, one: str, two: str) -> None:
    file.write_text(one + span(None, None, gpu_type="a100") + two)
    with pytest.raises(ConfigError, match="rate 1 and rate 3: two prices match gpu_type = 'h100'"):
        read_rates(str(file))


@pytest.mark.parametrize(
    ("one", "two"),
    [
        (span(None, "2026-02-01"), span("2026-02-01", None)),
        (span(None, None), span(None, None, cluster="c1")),
        (span(None, None), span(None, None, gpu_type="H100 80GB")),
    ],
)
def test_a_price_that_follows_another_or_is_for_something_else_is_fine(file: Path, one: str, two: str) -> None:
    file.write_text(one + two)
    assert len(read_rates(str(file))) == 2


DAYS = st.integers(0, 30)


@given(st.lists(st.tuples(st.sampled_from(["h100", "a100"]), DAYS, DAYS), min_size=1, max_size=6))
def test_every_overlap_is_seen_and_nothing_else(
    tmp_path_factory: pytest.TempPathFactory, spans: list[tuple[str, int, int]]
) -> None:
    file = tmp_path_factory.mktemp("rates") / "rates.toml"
    day = datetime(2026, 1, 1, tzinfo=UTC)
    spans = [(kind, start, start + length + 1) for kind, start, length in spans]
    file.write_text(
        "".join(span(str((day + timedelta(a)).date()), str((day + timedelta(b)).date()), gpu_type=kind) for kind, a, b in spans)
    )
    matches = any(one[0] == two[0] and one[1] < two[2] and two[1] < one[2] for i, one in enumerate(spans) for two in spans[:i])
    try:
        read_rates(str(file))
    except ConfigError:
        assert matches
    else:
        assert not matches


KEY = st.sampled_from(["gpu_type", "node", "partition", "price_per_gpu_hour", "price_per_node_hour", "currency", "from"])
VALUE = st.one_of(
    st.sampled_from(['"USD"', '"h100"', "2026-01-01", "nan", "1e400", "[1]", "{}", "07:00:00", '"2026-01-01T00:00Z"']),
    st.decimals(allow_nan=False, allow_infinity=False, places=11, min_value=-10, max_value=10**11).map(str),
    st.text(max_size=5).map(repr),
)


@given(st.lists(st.lists(st.tuples(KEY, VALUE), max_size=4).map(dict), max_size=3))
def test_any_text_is_rates_or_a_config_error(tmp_path_factory: pytest.TempPathFactory, tables: list[dict[str, str]]) -> None:
    file = tmp_path_factory.mktemp("rates") / "rates.toml"
    text = "".join("[[rate]]\n" + "".join(f"{key} = {value}\n" for key, value in table.items()) for table in tables)
    file.write_bytes(text.encode("utf-8", "surrogatepass"))
    try:
        rates = read_rates(str(file))
    except ConfigError as error:
        assert str(error).startswith(f"{file}: ")
        return
    assert len(rates) == len(tables) == len(rows(file))
    assert all(isinstance(rate, Rate) and Decimal(rate.price_nanos) >= 0 for rate in rates)


def test_a_thousand_rates_are_one_statement(file: Path) -> None:
    file.write_text("".join(span(None, None, gpu_type=f"type {i}") for i in range(1000)))
    assert [row["origin_row"] for row in rows(file)] == list(range(1, 1001))
