"""The focus collector: FOCUS bills from CSV, gzipped CSV and Parquet."""

from __future__ import annotations

import csv
import gzip
import io
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from datetime import UTC, datetime
from decimal import ROUND_HALF_EVEN, Decimal
from pathlib import Path

import duckdb
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from collectors.focus import Focus
from rdspend.border import bad_record
from rdspend.errors import BadRecord, ConfigError, SourceUnavailable
from rdspend.schema import CHARGES, Delivery, Location, Window

SAMPLE = Path(__file__).parent / "fixtures/focus/focus-1.0-sample/focus_sample.csv"
OCTOBER = Window(datetime(2026, 10, 1, tzinfo=UTC), datetime(2026, 11, 1, tzinfo=UTC))
AUTUMN_2024 = Window(datetime(2024, 9, 1, tzinfo=UTC), datetime(2024, 11, 1, tzinfo=UTC))
NANO = Decimal("1e-9")

LINE = {
    "BilledCost": "1.5",
    "EffectiveCost": "1.25",
    "ListCost": "2",
    "ContractedCost": "1.5",
    "BillingCurrency": "USD",
    "BillingPeriodStart": "2026-10-01T00:00:00Z",
    "BillingPeriodEnd": "2026-11-01T00:00:00Z",
    "ChargePeriodStart": "2026-10-02T00:00:00Z",
    "ChargePeriodEnd": "2026-10-02T01:00:00Z",
    "ChargeCategory": "Usage",
    "BillingAccountId": "1",
    "InvoiceIssuerName": "AWS",
    "ProviderName": "AWS",
    "ResourceId": "i-0a",
    "ServiceCategory": "Compute",
    "ServiceName": "EC2",
    "Tags": '{"team": "core"}',
}


def text(*lines: Mapping[str, str], columns: Sequence[str] | None = None) -> str:
    out = io.StringIO()
    writer = csv.DictWriter(out, columns or list(LINE), lineterminator="\n")
    writer.writeheader()
    writer.writerows(lines)
    return out.getvalue()


def bill(folder: Path, *changes: Mapping[str, str], name: str = "bill.csv") -> Path:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text(*({**LINE, **change} for change in changes)))
    return path


def parquet(path: Path, select: str) -> Path:
    connection = duckdb.connect()
    connection.execute("SET TimeZone = 'UTC'")
    connection.execute(f"COPY ({select}) TO '{path}' (FORMAT parquet)")
    return path


def typed(path: Path, **types: str) -> Path:
    """One line as Parquet, with the SQL expressions given for some columns."""
    columns = {name: f"'{value}'" for name, value in LINE.items()} | types
    return parquet(path, "SELECT " + ", ".join(f'{value} AS "{name}"' for name, value in columns.items()))


def run(delivery: Delivery, *columns: str) -> list[tuple[object, ...]]:
    """The rows of a delivery, as the ledger would meet them: once, errors read at the border."""
    try:
        return delivery.rows.query("rows", f"SELECT {', '.join(columns)} FROM rows ORDER BY origin_file, origin_row").fetchall()  # type: ignore[attr-defined]
    except duckdb.Error as error:
        raise bad_record(error) or error from error


def collect(path: Path | str, *columns: str, window: Window = OCTOBER, **options: bool) -> list[tuple[object, ...]]:
    with closing(Focus(Location(path), **options).collect(window)) as deliveries:
        return [row for delivery in deliveries for row in run(delivery, *columns)]


def refusal(path: Path | str, **options: bool) -> BadRecord:
    with pytest.raises(BadRecord) as caught:
        collect(path, "CAST(COLUMNS(*) AS VARCHAR)", **options)
    return caught.value


def notes(path: Path, window: Window = OCTOBER) -> list[tuple[str, str, str, int]]:
    return [note for d in Focus(Location(path)).collect(window) for note in d.notes]


# --- the real bill ----------------------------------------------------------------------------------------------------


def test_the_real_sample_keeps_its_total_and_says_what_rounding_took() -> None:
    lines = list(csv.DictReader(io.StringIO(SAMPLE.read_text(), newline="")))
    rests = {"billed": Decimal(0), "effective": Decimal(0)}
    got = {"billed": 0, "effective": 0}
    for delivery in Focus(Location(SAMPLE), assume_utc=True).collect(AUTUMN_2024):
        rows = run(delivery, "billed_cost_nanos", "effective_cost_nanos")
        month_rows = [r for r in lines if r["BillingPeriodStart"].startswith(delivery.scope["billing_period"])]
        assert len(rows) == len(month_rows)
        for (b, e), line in zip(rows, month_rows, strict=True):
            for kind, nanos, column in (("billed", b, "BilledCost"), ("effective", e, "EffectiveCost")):
                exact = Decimal(line[column])
                assert int(str(nanos)) == int(exact.quantize(NANO, ROUND_HALF_EVEN) / NANO)
                rests[kind] += exact - int(str(nanos)) * NANO
                got[kind] += int(str(nanos))
        rounding = [detail for kind, _, detail, _ in delivery.notes if kind == "rounding"]
        if delivery.scope["billing_period"] == "2024-09":
            assert len(rounding) == 1
            words = rounding[0].replace(",", "").split()
            assert Decimal(words[words.index("billed") + 1]) == rests["billed"]
            assert Decimal(words[words.index("effective") + 1]) == rests["effective"]
    assert got["billed"] * NANO + rests["billed"] == sum(Decimal(r["BilledCost"]) for r in lines)


def test_the_real_sample_has_its_months_its_tags_and_focus_spelling() -> None:
    scopes, frequencies, tagged, nulls = [], set(), 0, 0
    for delivery in Focus(Location(SAMPLE), assume_utc=True).collect(AUTUMN_2024):
        scopes.append(dict(delivery.scope))
        for frequency, tags, zone in run(delivery, "charge_frequency", "tags", "availability_zone"):
            frequencies.add(frequency)
            tagged += tags is not None
            nulls += zone is None
        assert ("unknown_column", "Id") in {note[:2] for note in delivery.notes}
    assert scopes == [{"billing_period": "2024-09"}, {"billing_period": "2024-10"}]
    assert frequencies == {"Usage-Based", "One-Time"}
    assert tagged == 1000 - 289
    assert nulls > 0


def test_the_sample_needs_the_word_that_its_times_are_utc() -> None:
    error = refusal(SAMPLE)
    assert "assume_utc = true" in str(error)
    assert "focus_sample.csv:2: row 1: BillingPeriodStart" in str(error)


def test_a_delivery_has_the_columns_of_charges_but_source() -> None:
    for delivery in Focus(Location(SAMPLE), assume_utc=True).collect(AUTUMN_2024):
        assert delivery.table == "charges" and delivery.complete
        assert tuple(delivery.rows.columns) == tuple(n for n in CHARGES.names if n != "source")  # type: ignore[attr-defined]
        types = dict(zip(delivery.rows.columns, map(str, delivery.rows.types), strict=True))  # type: ignore[attr-defined]
        words = {
            "string": "VARCHAR",
            "int64": "BIGINT",
            "float64": "DOUBLE",
            "timestamp": "TIMESTAMP WITH TIME ZONE",
            "map": "MAP(VARCHAR, VARCHAR)",
        }
        assert types == {c.name: words[c.type] for c in CHARGES.columns if c.name != "source"}


# --- what a path may be -----------------------------------------------------------------------------------------------


def test_a_folder_is_read_with_all_below_it_and_a_glob_by_its_pattern(tmp_path: Path) -> None:
    bill(tmp_path, {"BilledCost": "1"}, name="a.csv")
    bill(tmp_path, {"BilledCost": "2"}, name="deep/er/b.csv")
    with gzip.open(tmp_path / "deep/c.csv.gz", "wt") as out:
        out.write(text({**LINE, "BilledCost": "4"}))
    typed(tmp_path / "deep/d.parquet", BilledCost="'8'", BillingAccountId="'2'")
    (tmp_path / "manifest.json").write_text("{}")
    for path, total in ((tmp_path, 15), (f"{tmp_path}/*.csv", 1), (f"{tmp_path}/**/*.csv*", 7), (f"{tmp_path}/d*", 14)):
        assert sum(int(str(n)) for (n,) in collect(path, "billed_cost_nanos")) == total * 10**9, path


def test_every_row_names_its_file_and_its_row_also_after_a_line_break_in_a_value(tmp_path: Path) -> None:
    path = bill(tmp_path, {"ResourceId": "a"}, {"ResourceId": "two\nlines"}, {"ResourceId": "c"})
    assert collect(path, "origin_file", "origin_row", "resource_id") == [
        (str(path), 1, "a"),
        (str(path), 2, "two\nlines"),
        (str(path), 3, "c"),
    ]


def test_rows_of_a_large_file_are_each_delivered_once_with_their_number(tmp_path: Path) -> None:
    columns = ", ".join(f"'{value}' AS \"{name}\"" for name, value in LINE.items() if name != "ResourceId")
    path = tmp_path / "bill.csv"
    duckdb.connect().execute(f"COPY (SELECT {columns}, i AS ResourceId FROM range(1, 250001) AS t(i)) TO '{path}' (FORMAT csv)")
    checks = ("COUNT(*)", "COUNT(DISTINCT origin_row)", "COUNT(*) FILTER (WHERE CAST(origin_row AS VARCHAR) <> resource_id)")
    with closing(Focus(Location(path)).collect(OCTOBER)) as deliveries:
        for delivery in deliveries:
            assert delivery.rows.aggregate(", ".join(checks)).fetchall() == [(250_000, 250_000, 0)]  # type: ignore[attr-defined]


def test_rows_of_parquet_files_are_counted_file_by_file(tmp_path: Path) -> None:
    columns = ", ".join(f"'{value}' AS \"{name}\"" for name, value in LINE.items() if name != "ResourceId")
    for name in ("a", "b"):
        parquet(tmp_path / f"{name}.parquet", f"SELECT {columns}, '{name}' || i AS ResourceId FROM range(5) AS t(i)")
    rows = collect(tmp_path, "origin_file", "origin_row", "resource_id")
    assert rows == [(str(tmp_path / f"{n}.parquet"), i + 1, f"{n}{i}") for n in "ab" for i in range(5)]


def test_a_file_whose_name_looks_like_a_glob_is_that_file_only(tmp_path: Path) -> None:
    path = bill(tmp_path, {"ResourceId": "bracket"}, name="bill[1].csv")
    bill(tmp_path, {"ResourceId": "other"}, name="bill1.csv")
    assert collect(path, "resource_id") == [("bracket",)]


def test_only_months_of_the_window_are_delivered_each_with_its_own_rows(tmp_path: Path) -> None:
    september = {"BillingPeriodStart": "2026-09-01T00:00:00Z", "BillingPeriodEnd": "2026-10-01T00:00:00Z"}
    path = bill(tmp_path, {"ResourceId": "october"}, {**september, "ResourceId": "september"})
    assert collect(path, "billing_period", "resource_id", "origin_row") == [("2026-10", "october", 1)]
    both = Window(datetime(2026, 8, 31, tzinfo=UTC), datetime(2026, 10, 2, tzinfo=UTC))
    assert collect(path, "billing_period", "resource_id", "origin_row", window=both) == [
        ("2026-09", "september", 2),
        ("2026-10", "october", 1),
    ]


def test_a_month_without_rows_yields_nothing(tmp_path: Path) -> None:
    november = Window(datetime(2026, 11, 1, tzinfo=UTC), datetime(2026, 12, 1, tzinfo=UTC))
    assert list(Focus(Location(bill(tmp_path, {}))).collect(november)) == []


def test_a_missing_file_is_not_an_empty_day(tmp_path: Path) -> None:
    for path in (tmp_path / "nothing.csv", tmp_path, f"{tmp_path}/*.csv"):
        with pytest.raises(SourceUnavailable, match="no bill found"):
            collect(path, "COLUMNS(*)")


def test_a_folder_named_for_a_month_is_read_for_that_month_only(tmp_path: Path) -> None:
    bill(tmp_path, {}, name="data/BILLING_PERIOD=2026-10/a.csv")
    (tmp_path / "data/BILLING_PERIOD=2026-09").mkdir()
    (tmp_path / "data/BILLING_PERIOD=2026-09/broken.csv").write_text("not a bill")
    assert len(collect(tmp_path, "origin_row")) == 1


def test_a_row_of_another_month_than_its_folder_says_is_refused(tmp_path: Path) -> None:
    path = bill(tmp_path, {}, name="BILLING_PERIOD=2026-09/a.csv")
    (tmp_path / "BILLING_PERIOD=2026-09").rename(tmp_path / "billing_period=2026-10")
    path = bill(tmp_path, {"BillingPeriodStart": "2026-09-01T00:00:00Z"}, name="billing_period=2026-10/b.csv")
    error = refusal(tmp_path)
    assert error.file == str(path) and "2026-09" in str(error)


def test_a_header_alone_is_an_answer_and_is_said(tmp_path: Path) -> None:
    path = bill(tmp_path)
    deliveries = [(d.scope, run(d, "COLUMNS(*)"), [n[:2] for n in d.notes]) for d in Focus(Location(path)).collect(OCTOBER)]
    assert deliveries == [({"billing_period": "2026-10"}, [], [("empty_file", str(path))])]


def test_an_empty_file_beside_a_full_one_is_said(tmp_path: Path) -> None:
    bill(tmp_path, {}, name="full.csv")
    empty = bill(tmp_path, name="empty.csv")
    assert ("empty_file", str(empty)) in {note[:2] for note in notes(tmp_path)}


# --- columns ----------------------------------------------------------------------------------------------------------


def test_columns_are_found_in_any_case_and_order(tmp_path: Path) -> None:
    path = tmp_path / "bill.csv"
    names = sorted(LINE, reverse=True)
    path.write_text(text(LINE, columns=names).replace(",".join(names), ",".join(names).upper()))
    assert collect(path, "billed_cost_nanos", "resource_id") == [(1_500_000_000, "i-0a")]


@pytest.mark.parametrize(("written", "hint"), [("Billed Cost", "did you mean 'BilledCost'"), ("Zebra", "no column BilledCost")])
def test_a_renamed_required_column_is_refused_with_the_close_name(tmp_path: Path, written: str, hint: str) -> None:
    path = tmp_path / "bill.csv"
    path.write_text(text(LINE).replace("BilledCost", written, 1))
    error = refusal(path)
    assert hint in str(error) and error.file == str(path) and error.line == 1


def test_every_required_column_is_required(tmp_path: Path) -> None:
    for name in ("BilledCost", "EffectiveCost", "BillingCurrency", "ChargeCategory", *(n for n in LINE if "Period" in n)):
        path = tmp_path / "bill.csv"
        path.write_text(text({k: v for k, v in LINE.items() if k != name}, columns=[k for k in LINE if k != name]))
        assert f"no column {name}" in str(refusal(path))


def test_a_column_that_stands_there_twice_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "bill.csv"
    path.write_text(text(LINE).replace("ListCost", "billedcost", 1))
    assert "BilledCost stands there 2 times" in str(refusal(path))


def test_unknown_and_missing_columns_are_noted(tmp_path: Path) -> None:
    path = tmp_path / "bill.csv"
    path.write_text(text(LINE).replace("ResourceId", "x_Thing", 1))
    assert {(kind, subject, rows) for kind, subject, _, rows in notes(path)} == {
        ("unknown_column", "x_Thing", 1),
        ("missing_column", "ResourceId", 1),
    }


def test_a_semicolon_bill_says_so(tmp_path: Path) -> None:
    path = tmp_path / "bill.csv"
    path.write_text(text(LINE).replace(",", ";"))
    assert "maybe not commas between" in str(refusal(path))


# --- values -----------------------------------------------------------------------------------------------------------

MONEY = {
    "1": 10**9,
    "-0.5": -5 * 10**8,
    ".5": 5 * 10**8,
    "5.": 5 * 10**9,
    "0.0000000005": 0,
    "0.0000000015": 2,
    "0.0000000025": 2,
    "-0.0000000025": -2,
    "-0.0000000035": -4,
    "0.00000000250000001": 3,
    "35.2E-7": 3520,
    "1e-9": 1,
    "1.5e3": 1500 * 10**9,
    "0.00000080000": 800,
    "8999999999.999999999": 8_999_999_999_999_999_999,
    "-8999999999.999999999": -8_999_999_999_999_999_999,
    "0.123456789012345678": 123456789,
    "000000000000000000000001.5": 1_500_000_000,
}


def test_a_cost_becomes_whole_nanos_half_to_even(tmp_path: Path) -> None:
    path = bill(tmp_path, *({"BilledCost": written, "ResourceId": written} for written in MONEY))
    assert dict(collect(path, "resource_id", "billed_cost_nanos")) == MONEY


WRONG = ["12,3", "$5", "+1", " 1", "1 ", "1_000", "NaN", "inf", "-", "e5", "0x10", "9000000001", "-9e30", "1e99", "", "NULL"]


@pytest.mark.parametrize(
    ("column", "written"), [*(("BilledCost", w) for w in WRONG), ("EffectiveCost", "12,3"), ("EffectiveCost", "")]
)
def test_what_is_not_a_plain_number_is_refused_with_file_line_row_and_column(tmp_path: Path, written: str, column: str) -> None:
    path = bill(tmp_path, {}, {column: written})
    error = refusal(path)
    assert str(error).startswith(f"{path}:3: row 2: {column}: found ")
    assert (error.file, error.line) == (str(path), 3)
    assert ("nothing" if written in ("", "NULL") else repr(written)) in str(error)


def test_a_line_is_not_claimed_where_values_span_lines(tmp_path: Path) -> None:
    error = refusal(bill(tmp_path, {"ResourceId": "two\nlines"}, {"BilledCost": "x"}))
    assert error.line is None and "row 2" in str(error)


@pytest.mark.parametrize(
    ("type_", "value", "nanos"),
    [
        ("DECIMAL(18,9)", "1.000000001", 1_000_000_001),
        ("DECIMAL(38,18)", "0.000000002500000000", 2),
        ("DECIMAL(38,20)", "0.00000000350000000000", 4),
        ("DECIMAL(4,1)", "-1.5", -1_500_000_000),
        ("DECIMAL(18,0)", "7", 7 * 10**9),
        ("BIGINT", "-3", -3 * 10**9),
        ("DOUBLE", "0.1", 10**8),
        ("DOUBLE", "-1234567.891", -1_234_567_891_000_000),
        ("DOUBLE", "1.23456789012e-5", 12346),
        ("DOUBLE", "2.5e-9", 2),
        ("FLOAT", "0.1", 10**8),
        ("VARCHAR", "0.1", 10**8),
    ],
)
def test_a_parquet_cost_of_any_type_becomes_whole_nanos(tmp_path: Path, type_: str, value: str, nanos: int) -> None:
    path = typed(tmp_path / "bill.parquet", BilledCost=f"CAST('{value}' AS {type_})")
    assert collect(path, "billed_cost_nanos") == [(nanos,)]


@pytest.mark.parametrize("value", ["nan", "inf", "-inf", "1e300"])
def test_a_double_that_is_no_amount_is_refused(tmp_path: Path, value: str) -> None:
    path = typed(tmp_path / "bill.parquet", BilledCost=f"CAST('{value}' AS DOUBLE)")
    error = refusal(path)
    assert "row 1: BilledCost" in str(error) and error.line == 1


@given(st.floats(min_value=-(10**9), max_value=10**9), st.decimals(-(10**9) + 1, 10**9 - 1, places=9))
@settings(max_examples=25, deadline=None)
def test_a_double_counts_as_its_shortest_decimal(value: float, decimal: Decimal) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = typed(
            Path(folder) / "bill.parquet",
            BilledCost=f"CAST('{value!r}' AS DOUBLE)",
            EffectiveCost=f"CAST('{decimal}' AS DECIMAL(18,9))",
        )
        shortest = Decimal(repr(value)).quantize(Decimal("1e-18")).quantize(NANO, ROUND_HALF_EVEN)
        assert collect(path, "billed_cost_nanos", "effective_cost_nanos") == [(int(shortest / NANO), int(decimal / NANO))]


def test_a_list_cost_may_be_absent_but_not_wrong(tmp_path: Path) -> None:
    assert collect(bill(tmp_path, {"ListCost": ""}), "list_cost_nanos") == [(None,)]
    assert "ListCost" in str(refusal(bill(tmp_path, {"ListCost": "many"})))


def test_several_currencies_in_one_file_are_kept_apart(tmp_path: Path) -> None:
    path = bill(tmp_path, {"BillingCurrency": "USD"}, {"BillingCurrency": "EUR"})
    assert collect(path, "billing_currency") == [("USD",), ("EUR",)]


def test_words_take_the_spelling_of_focus(tmp_path: Path) -> None:
    path = bill(tmp_path, {"ChargeCategory": "usage"}, {"ChargeCategory": "TAX"})
    assert collect(path, "charge_category") == [("Usage",), ("Tax",)]


@pytest.mark.parametrize(
    ("column", "value"),
    [("ChargeCategory", "Fee"), ("ChargeCategory", ""), ("BillingCurrency", "dollars"), ("BillingCurrency", "")],
)
def test_an_unknown_word_where_focus_closes_the_list_is_refused(tmp_path: Path, column: str, value: str) -> None:
    assert f":2: row 1: {column}" in str(refusal(bill(tmp_path, {column: value})))


@pytest.mark.parametrize("column", ["ChargePeriodStart", "ChargePeriodEnd", "BillingPeriodStart", "BillingPeriodEnd"])
@pytest.mark.parametrize("value", ["2026-10-02 00:00:00", "2026-10-02", "2026-13-01T00:00:00Z", ""])
def test_a_time_without_a_zone_or_no_time_is_refused(tmp_path: Path, column: str, value: str) -> None:
    path = bill(tmp_path, {}, {column: value})
    error = refusal(path)
    assert f"{path}:3: row 2: {column}" in str(error)
    assert "assume_utc = true" in str(error)


def test_times_with_an_offset_become_utc(tmp_path: Path) -> None:
    path = bill(tmp_path, {"ChargePeriodStart": "2026-10-02T01:30:00+02:00", "ChargePeriodEnd": "2026-10-02 00:00:00.5Z"})
    epochs = collect(path, "epoch_us(charge_period_start)", "epoch_us(charge_period_end)")
    start, end = datetime(2026, 10, 1, 23, 30, tzinfo=UTC), datetime(2026, 10, 2, 0, 0, 0, 500_000, tzinfo=UTC)
    assert epochs == [(round(start.timestamp() * 1e6), round(end.timestamp() * 1e6))]


def test_assumed_utc_leaves_a_zone_that_is_there_alone(tmp_path: Path) -> None:
    path = bill(tmp_path, {"ChargePeriodStart": "2026-10-01 12:00:00", "ChargePeriodEnd": "2026-10-02T01:00:00+02:00"})
    hours = collect(path, "(epoch(charge_period_end) - epoch(charge_period_start)) / 3600", assume_utc=True)
    assert hours == [(11.0,)]


def test_native_times_of_parquet_need_a_zone_too(tmp_path: Path) -> None:
    zoned = typed(tmp_path / "zoned.parquet", ChargePeriodStart="TIMESTAMPTZ '2026-10-02 00:30:00+00'")
    assert collect(zoned, "epoch_us(charge_period_end) - epoch_us(charge_period_start)") == [(30 * 60 * 1_000_000,)]
    naive = typed(tmp_path / "naive.parquet", ChargePeriodStart="TIMESTAMP '2026-10-02 00:30:00'")
    assert "row 1: ChargePeriodStart" in str(refusal(naive))
    assert collect(naive, "epoch_us(charge_period_end) - epoch_us(charge_period_start)", assume_utc=True) == [
        (30 * 60 * 1_000_000,)
    ]


def test_an_end_before_its_start_is_refused(tmp_path: Path) -> None:
    assert "row 1: ChargePeriodEnd" in str(refusal(bill(tmp_path, {"ChargePeriodEnd": "2026-10-01T00:00:00Z"})))
    assert "row 1: BillingPeriodEnd" in str(refusal(bill(tmp_path, {"BillingPeriodEnd": "2026-09-01T00:00:00Z"})))


@pytest.mark.parametrize(
    ("written", "tags"),
    [
        ('{"a": "b"}', {"a": "b"}),
        ('{"a": true, "n": 1, "z": null}', {"a": "true", "n": "1", "z": None}),
        ('{"a": "\\u00e9, \\"quoted\\""}', {"a": 'é, "quoted"'}),
        ("{}", {}),
        ("", None),
        ("NULL", None),
    ],
)
def test_tags_are_a_json_object_of_text(tmp_path: Path, written: str, tags: object) -> None:
    assert collect(bill(tmp_path, {"Tags": written}), "tags") == [(tags,)]


@pytest.mark.parametrize("written", ["team=core", "[1]", '"x"', '{"a": 1, "a": 2}', '{"a": '])
def test_tags_that_are_no_json_object_are_refused(tmp_path: Path, written: str) -> None:
    assert ":3: row 2: Tags" in str(refusal(bill(tmp_path, {}, {"Tags": written})))


@pytest.mark.parametrize("value", ["MAP {'team': 'core'}", "{'team': 'core', 'none': NULL}", '\'{"team": "core"}\''])
def test_parquet_tags_may_be_a_map_a_struct_or_text(tmp_path: Path, value: str) -> None:
    assert collect(typed(tmp_path / "bill.parquet", Tags=value), "tags") == [({"team": "core"},)]


def test_parquet_text_is_null_where_csv_text_would_be(tmp_path: Path) -> None:
    path = typed(tmp_path / "bill.parquet", ResourceId="'NULL'", ServiceName="''", InvoiceId="42")
    assert collect(path, "resource_id", "service_name", "invoice_id") == [(None, None, "42")]


def test_a_parquet_column_of_a_type_that_can_not_be_meant_is_refused(tmp_path: Path) -> None:
    error = refusal(typed(tmp_path / "bill.parquet", BilledCost="[1, 2]"))
    assert "BilledCost is of type INTEGER[]" in str(error)


# --- broken files -----------------------------------------------------------------------------------------------------


def test_the_same_content_twice_is_refused_naming_both(tmp_path: Path) -> None:
    first, second = bill(tmp_path, {}, name="a.csv"), bill(tmp_path, {}, name="b.csv")
    error = refusal(tmp_path)
    assert str(first) in str(error) and str(second) in str(error)


def test_files_of_one_size_with_other_content_are_both_read(tmp_path: Path) -> None:
    bill(tmp_path, {"BilledCost": "1"}, name="a.csv")
    bill(tmp_path, {"BilledCost": "2"}, name="b.csv")
    assert len(collect(tmp_path, "origin_row")) == 2


@pytest.mark.parametrize("kept", [0.5, 0.9, 0.99])
def test_a_cut_gzip_is_refused(tmp_path: Path, kept: float) -> None:
    whole = gzip.compress(text(*({**LINE, "ResourceId": f"i-{i * i}"} for i in range(2000))).encode())
    path = tmp_path / "bill.csv.gz"
    path.write_bytes(whole[: int(len(whole) * kept)])
    assert "not a whole gzip file" in str(refusal(path))


def test_a_gzip_with_a_wrong_checksum_is_refused(tmp_path: Path) -> None:
    whole = bytearray(gzip.compress(text(LINE).encode()))
    whole[-6] ^= 255
    path = tmp_path / "bill.csv.gz"
    path.write_bytes(bytes(whole))
    assert "not a whole gzip file" in str(refusal(path))


@pytest.mark.parametrize("kept", [0.1, 0.5, 0.99])
def test_a_cut_parquet_is_refused(tmp_path: Path, kept: float) -> None:
    whole = typed(tmp_path / "bill.parquet").read_bytes()
    (tmp_path / "bill.parquet").write_bytes(whole[: int(len(whole) * kept)])
    assert refusal(tmp_path / "bill.parquet").file == str(tmp_path / "bill.parquet")


@pytest.mark.parametrize("name", ["bill.csv", "bill.csv.gz", "bill.parquet"])
def test_a_file_of_no_bytes_is_refused(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(b"")
    assert refusal(tmp_path / name).file == str(tmp_path / name)


def test_another_encoding_is_refused_with_its_line(tmp_path: Path) -> None:
    path = tmp_path / "bill.csv"
    path.write_bytes(text(LINE, {**LINE, "ServiceName": "Müll"}, LINE).encode("latin-1"))
    error = refusal(path)
    assert "UTF-8" in str(error) and error.line == 3
    path.write_bytes(text(LINE).encode("utf-16"))
    assert "UTF-8" in str(refusal(path))


def test_utf8_and_its_mark_and_windows_line_ends_are_read(tmp_path: Path) -> None:
    path = tmp_path / "bill.csv"
    path.write_bytes(b"\xef\xbb\xbf" + text({**LINE, "ServiceName": "Müll 日本"}).replace("\n", "\r\n").encode())
    assert collect(path, "service_name") == [("Müll 日本",)]


@pytest.mark.parametrize("line", ["1,2,3", text(LINE).splitlines()[1] + ",more", '"open'])
def test_a_line_with_another_number_of_values_is_refused(tmp_path: Path, line: str) -> None:
    path = tmp_path / "bill.csv"
    path.write_text(text(LINE) + line + "\n")
    error = refusal(path)
    assert (error.file, error.line) == (str(path), 3)


def test_a_line_that_breaks_after_the_collector_looked_is_still_a_bad_record(tmp_path: Path) -> None:
    path = bill(tmp_path, {})
    with closing(Focus(Location(path)).collect(OCTOBER)) as deliveries:
        delivery = next(deliveries)
        path.write_text(text(LINE) + "1,2\n")
        with pytest.raises(BadRecord) as caught:
            run(delivery, "billed_cost_nanos")
    assert (caught.value.file, caught.value.line) == (str(path), 3)


def test_an_unreadable_file_leaves_the_source_unavailable(tmp_path: Path) -> None:
    bill(tmp_path, {}, name="a.csv")
    (tmp_path / "b.csv").symlink_to(tmp_path / "b.csv")
    with pytest.raises(SourceUnavailable, match=r"b\.csv: can't be read"):
        collect(tmp_path, "COLUMNS(*)")


def test_a_file_that_is_no_bill_by_its_name_is_not_guessed_at(tmp_path: Path) -> None:
    (tmp_path / "bill.xlsx").write_text("x")
    with pytest.raises(SourceUnavailable, match=r"\.csv\.gz"):
        collect(tmp_path / "bill.xlsx", "COLUMNS(*)")


def test_an_s3_path_without_a_bucket_is_a_mistake_in_the_configuration() -> None:
    with pytest.raises(ConfigError, match="s3://bucket"):
        collect("s3:///key.csv", "COLUMNS(*)")


# --- anything ---------------------------------------------------------------------------------------------------------


def exact_sums(content: str) -> Decimal:
    return sum(
        (Decimal(r["BilledCost"]).quantize(NANO, ROUND_HALF_EVEN) for r in csv.DictReader(io.StringIO(content, newline=""))),
        Decimal(0),
    )


def outcome(path: Path) -> Decimal | None:
    """The sum of all rows; None when the bill is refused."""
    try:
        return sum((int(str(n)) * NANO for (n,) in collect(path, "billed_cost_nanos")), Decimal(0))
    except (BadRecord, SourceUnavailable):
        return None


cells = st.one_of(
    st.text(max_size=12),
    st.decimals(allow_nan=True, allow_infinity=True).map(str),
    st.from_regex(r"-?\d{1,12}(\.\d{0,20})?([eE]-?\d{1,2})?", fullmatch=True),
    st.sampled_from(["", "NULL", "NaN", "2026-10-01", "usage", "{", '"', "\n", "\r", "'", "\0", ";"]),
)


@given(st.lists(st.tuples(st.integers(0, 3), st.sampled_from(list(LINE)), cells), max_size=3))
@settings(max_examples=50, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_a_bill_with_any_cells_is_refused_or_adds_up(changes: list[tuple[int, str, str]]) -> None:
    lines = [dict(LINE) for _ in range(4)]
    for row, column, value in changes:
        lines[row][column] = value
    content = text(*lines)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "bill.csv"
        try:
            path.write_bytes(content.encode())
        except UnicodeEncodeError:
            return
        got = outcome(path)
        outside = any("BillingPeriod" in column for _, column, _ in changes)
        if got is not None and not outside:
            assert got == exact_sums(content)
        if not changes:
            assert got == 6


def spoilt(content: bytes) -> st.SearchStrategy[bytes]:
    places = st.integers(0, len(content))
    return st.one_of(
        st.binary(max_size=200),
        places.map(lambda n: content[:n]),
        st.tuples(places, places).map(lambda p: content[: min(p)] + content[max(p) :]),
    )


@given(spoilt(text(LINE, {**LINE, "BilledCost": "2"}).encode()))
@settings(max_examples=25, deadline=None)
def test_any_bytes_are_refused_or_read_never_a_crash(content: bytes) -> None:
    with tempfile.TemporaryDirectory() as folder:
        for name, spoil in (("bill.csv", content), ("bill.csv.gz", gzip.compress(content)), ("cut.csv.gz", content)):
            path = Path(folder) / name
            path.write_bytes(spoil)
            outcome(path)


@pytest.fixture(scope="module")
def whole_parquet(tmp_path_factory: pytest.TempPathFactory) -> Iterator[bytes]:
    yield typed(tmp_path_factory.mktemp("parquet") / "bill.parquet").read_bytes()


@given(st.data())
@settings(max_examples=20, deadline=None)
def test_any_cut_of_a_parquet_is_refused(whole_parquet: bytes, data: st.DataObject) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "bill.parquet"
        path.write_bytes(data.draw(st.integers(0, len(whole_parquet) - 1).map(lambda n: whole_parquet[:n])))
        assert outcome(path) is None
