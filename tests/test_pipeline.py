"""The pipeline's own promises: what it keeps of sources that say less today, fail half way, or speak of the present only."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import duckdb
import pytest
from organisations import write_organisation

from rdspend.config import Config, Plugin, load
from rdspend.engine import Engine
from rdspend.errors import BadRecord, ConfigError, SourceUnavailable
from rdspend.period import parse_period
from rdspend.pipeline import Outcome, Pipeline
from rdspend.reading import Reader
from rdspend.schema import Delivery, Window

OCTOBER = parse_period("2026-10")


@dataclass(frozen=True)
class Says:
    """A collector that yields what a function of the window says."""

    words: Callable[[Window], Iterator[Delivery]]

    def collect(self, window: Window) -> Iterator[Delivery]:
        return self.words(window)


def configured(folder: Path, *sources: tuple[str, Callable[[Window], Iterator[Delivery]]]) -> Config:
    config = load(write_organisation(folder))
    return replace(config, collectors=tuple(Plugin("collectors", name, Says(words)) for name, words in sources), exporters=())


def collect(config: Config) -> Outcome:
    return Pipeline(config, sleep=lambda _: None).run(OCTOBER, ["collect"])


def read(config: Config, sql: str, *tables: str) -> list[tuple[Any, ...]]:
    with Engine() as engine:
        for table in tables:
            Reader(config).ledger.snapshot().view(engine, table)
        return engine.rows(sql)


def sql(text: str) -> duckdb.DuckDBPyRelation:
    connection = duckdb.connect()
    connection.execute("SET TimeZone = 'UTC'")
    return connection.sql(text)


def nodes(*given: tuple[str, str], as_of: str) -> Delivery:
    rows = " UNION ALL ".join(
        f"SELECT '{node}' AS node, '{resource}' AS resource_id, 161280 AS gpu_parts, NULL::TIMESTAMPTZ AS start_time, "
        "'scontrol' AS origin_file, 1 AS origin_row"
        for node, resource in given
    )
    return Delivery("nodes", sql(rows), {"cluster": "c"}, as_of=datetime.fromisoformat(as_of).replace(tzinfo=UTC))


def spans(*given: tuple[str, str]) -> Delivery:
    """Node n as resource i from day to day of October, as a bill tells it."""
    rows = " UNION ALL ".join(
        f"SELECT 'n' AS node, 'i' AS resource_id, 161280 AS gpu_parts, TIMESTAMPTZ '2026-{start} 00:00:00Z' AS start_time, "
        f"TIMESTAMPTZ '2026-{end} 00:00:00Z' AS end_time, 'bill' AS origin_file, 1 AS origin_row"
        for start, end in given
    )
    return Delivery("nodes", sql(rows), {"cluster": "c"}, as_of=datetime(2026, 11, 1, tzinfo=UTC))


SPANS = (
    "SELECT node, resource_id, strftime(timezone('UTC', start_time), '%m-%d'), strftime(timezone('UTC', end_time), '%m-%d') "
    "FROM nodes ORDER BY node, start_time NULLS FIRST"
)


def test_a_node_that_left_the_cluster_keeps_its_past(tmp_path: Path) -> None:
    said = [
        nodes(("a", "i-1"), ("b", "i-2"), as_of="2026-10-05"),
        nodes(("a", "i-1"), as_of="2026-10-07"),
        nodes(("a", "i-1"), as_of="2026-10-09"),
        nodes(("a", "i-3"), ("b", "i-4"), as_of="2026-10-11"),
    ]
    seen = []
    for delivery in said:
        config = configured(tmp_path, ("slurm", lambda _, d=delivery: iter([d])))
        assert collect(config).failures == []
        seen.append(read(config, SPANS, "nodes"))
    assert seen == [
        [("a", "i-1", None, None), ("b", "i-2", None, None)],
        [("a", "i-1", None, None), ("b", "i-2", None, "10-07")],
        [("a", "i-1", None, None), ("b", "i-2", None, "10-07")],
        [("a", "i-1", None, "10-11"), ("a", "i-3", "10-11", None), ("b", "i-2", None, "10-07"), ("b", "i-4", "10-11", None)],
    ]


def charge(cost: int) -> duckdb.DuckDBPyRelation:
    return sql(
        f"SELECT 'b.csv' AS origin_file, 1 AS origin_row, 'billed' AS basis, {cost} AS billed_cost_nanos, {cost} AS "
        "effective_cost_nanos, 'USD' AS billing_currency, TIMESTAMPTZ '2026-10-01 00:00:00Z' AS charge_period_start, "
        "TIMESTAMPTZ '2026-10-02 00:00:00Z' AS charge_period_end, 'Usage' AS charge_category"
    )


def test_a_source_that_breaks_off_leaves_nothing_of_its_delivery(tmp_path: Path) -> None:
    def breaks_off(window: Window) -> Iterator[Delivery]:
        yield Delivery("charges", charge(100), {"billing_period": "2026-10"})
        raise SourceUnavailable("the second page did not come")

    config = configured(
        tmp_path,
        ("broken", breaks_off),
        ("whole", lambda _: iter([Delivery("charges", charge(7), {"billing_period": "2026-10"})])),
    )
    outcome = collect(config)
    assert [(f.source, str(f.error)) for f in outcome.failures] == [("broken", "the second page did not come")]
    assert read(config, "SELECT source, effective_cost_nanos FROM charges", "charges") == [("whole", 7)]
    said = read(config, "SELECT source, complete, why FROM coverage ORDER BY source", "coverage")
    assert said == [("broken", False, "the second page did not come"), ("whole", True, None)]


def test_a_source_that_does_not_answer_is_asked_again_and_a_bad_record_is_not(tmp_path: Path) -> None:
    asked: list[str] = []

    def tired(window: Window) -> Iterator[Delivery]:
        asked.append("tired")
        if len(asked) == 1:
            raise SourceUnavailable("busy")
        yield Delivery("charges", charge(7), {"billing_period": "2026-10"})

    def wrong(window: Window) -> Iterator[Delivery]:
        asked.append("wrong")
        raise BadRecord("found NaN", "b.csv", 3)
        yield

    config = configured(tmp_path, ("tired", tired), ("wrong", wrong))
    config = replace(config, collect=replace(config.collect, retries=2))
    outcome = collect(config)
    assert asked == ["tired", "tired", "wrong"]
    assert [str(f.error) for f in outcome.failures] == ["b.csv:3: found NaN"]


def test_a_plugin_with_a_defect_is_a_recorded_failure_and_stops_nobody(tmp_path: Path) -> None:
    def crash(window: Window) -> Iterator[Delivery]:
        raise ZeroDivisionError("oops")
        yield

    config = configured(
        tmp_path, ("crash", crash), ("whole", lambda _: iter([Delivery("charges", charge(7), {"billing_period": "2026-10"})]))
    )
    outcome = collect(config)
    assert [f.source for f in outcome.failures] == ["crash"]
    assert read(config, "SELECT count(*) FROM charges", "charges") == [(1,)]


def test_a_delivery_that_is_not_all_of_it_counts_as_a_failure(tmp_path: Path) -> None:
    config = configured(
        tmp_path,
        ("half", lambda _: iter([Delivery("charges", charge(7), {"billing_period": "2026-10"}, complete=False)])),
    )
    outcome = collect(config)
    assert "says it is not all of it" in str(outcome.failures[0].error)
    assert read(config, "SELECT count(*) FROM charges", "charges") == [(0,)]


def test_yielding_nothing_means_nothing_is_there(tmp_path: Path) -> None:
    config = configured(tmp_path, ("bill", lambda _: iter([Delivery("charges", charge(7), {"billing_period": "2026-10"})])))
    collect(config)
    config = configured(tmp_path, ("bill", lambda _: iter([])))
    assert collect(config).failures == []
    assert read(config, "SELECT count(*) FROM charges", "charges") == [(0,)]
    assert read(config, "SELECT complete FROM coverage ORDER BY run", "coverage") == [(True,), (True,)]


def test_two_sources_of_one_clusters_nodes_are_refused(tmp_path: Path) -> None:
    config = configured(
        tmp_path,
        ("one", lambda _: iter([nodes(("a", "i-1"), as_of="2026-10-05")])),
        ("two", lambda _: iter([nodes(("a", "i-2"), as_of="2026-10-05")])),
    )
    outcome = collect(config)
    assert "two and one both deliver the nodes of cluster 'c'" in str(outcome.failures[0].error)
    assert read(config, "SELECT resource_id FROM nodes", "nodes") == [("i-1",)]


@pytest.mark.parametrize("table", ["attributions", "runs", "tags", "nonsense"])
def test_a_collector_may_not_write_what_is_ours(tmp_path: Path, table: str) -> None:
    config = configured(tmp_path, ("bold", lambda _: iter([Delivery(table, charge(1), {})])))
    assert "collectors may not write that" in str(collect(config).failures[0].error)


def test_a_stop_in_the_middle_keeps_nothing(tmp_path: Path) -> None:
    config = configured(tmp_path, ("bill", lambda _: iter([Delivery("charges", charge(7), {"billing_period": "2026-10"})])))
    asked = iter([False, False, True, True])
    with pytest.raises(Exception, match="asked to stop"):
        Pipeline(config, stopping=lambda: next(asked, True)).run(OCTOBER)
    assert Reader(config).ledger.runs() == []


def test_rows_of_any_arrow_library_land(tmp_path: Path) -> None:
    pandas = pytest.importorskip("pandas")
    start, end = (pandas.Timestamp(f"2026-10-0{d}", tz="UTC") for d in (1, 2))
    frame = pandas.DataFrame(
        {
            "origin_file": ["p"],
            "origin_row": [1],
            "basis": ["billed"],
            "billed_cost_nanos": [5],
            "effective_cost_nanos": [5],
            "billing_currency": ["USD"],
            "charge_period_start": [start],
            "charge_period_end": [end],
            "charge_category": ["Usage"],
        }
    )
    config = configured(tmp_path, ("frame", lambda _: iter([Delivery("charges", frame, {"billing_period": "2026-10"})])))
    assert collect(config).failures == []
    assert read(config, "SELECT source, effective_cost_nanos FROM charges", "charges") == [("frame", 5)]


def test_a_later_correction_of_an_earlier_month_is_money_of_its_own_billing_month(tmp_path: Path) -> None:
    config = load(write_organisation(tmp_path))
    Pipeline(config).run(OCTOBER)
    bill = (tmp_path / "bill.csv").read_text()
    correction = bill.splitlines()[1].replace(
        "2026-10-01T00:00:00Z,2026-11-01T00:00:00Z", "2026-11-01T00:00:00Z,2026-12-01T00:00:00Z", 1
    )
    (tmp_path / "bill.csv").write_text(bill + correction + "\n")
    november = parse_period("2026-11")
    made = Pipeline(config).run(november).breakdowns[0]
    assert [(line.name, str(line.cost)) for line in made.lines if line.cost] == [("final_training", "98.320000000")]
    with pytest.raises(ConfigError, match="no such run"):
        Reader(config).breakdowns(OCTOBER, None, "99")


CHARGE = (
    "SELECT 'bill' AS origin_file, 1 AS origin_row, 'billed' AS basis, {cost} AS billed_cost_nanos, "
    "{cost} AS effective_cost_nanos, 'USD' AS billing_currency, TIMESTAMPTZ '2026-10-01 00:00:00Z' AS charge_period_start, "
    "TIMESTAMPTZ '2026-10-01 01:00:00Z' AS charge_period_end, 'Usage' AS charge_category"
)


def test_a_bill_whose_key_did_not_change_is_not_read_again_and_counts_as_delivered(tmp_path: Path) -> None:
    read_again: list[str] = []

    def bill(key: str, cost: int) -> Callable[[Window], Iterator[Delivery]]:
        def words(window: Window) -> Iterator[Delivery]:
            notes: list[tuple[str, str, str, int]] = []

            def rows() -> duckdb.DuckDBPyRelation:
                read_again.append(key)
                notes.append(("rounding", key, "seen while reading", 1))
                return sql(CHARGE.format(cost=cost))

            yield Delivery("charges", rows, {"billing_period": "2026-10"}, notes=notes, key=key)

        return words

    seen = []
    for key, cost in (("one", 5), ("one", 999), ("two", 7)):
        collect(configured(tmp_path, ("bill", bill(key, cost))))
        config = configured(tmp_path, ("bill", bill(key, cost)))
        money = read(config, "SELECT sum(effective_cost_nanos) FROM charges", "charges")[0][0]
        told = read(config, "SELECT subject FROM findings WHERE stage = 'collect.bill'", "findings")
        word = read(config, "SELECT arg_max(rows, run), arg_max(effective_cost_nanos, run) FROM coverage", "coverage")[0]
        seen.append((int(money), told, word))
    assert read_again == ["one", "two"]
    assert seen == [(5, [("one",)], (1, 5)), (5, [("one",)], (1, 5)), (7, [("two",)], (1, 7))]


def test_a_source_that_fails_keeps_what_was_found_in_the_bill_that_stays(tmp_path: Path) -> None:
    def bill(window: Window) -> Iterator[Delivery]:
        notes = [("unknown_column", "x", "left out", 1)]
        yield Delivery("charges", lambda: sql(CHARGE.format(cost=5)), {"billing_period": "2026-10"}, notes=notes, key="one")

    def away(window: Window) -> Iterator[Delivery]:
        raise SourceUnavailable("no answer")

    told = []
    for words in (bill, away, bill):
        config = configured(tmp_path, ("bill", words))
        collect(config)
        told.append(read(config, "SELECT kind, subject FROM findings WHERE stage = 'collect.bill'", "findings"))
    assert told == [[("unknown_column", "x")]] * 3


def test_a_month_that_a_bill_is_silent_about_is_read_again_when_it_comes_back(tmp_path: Path) -> None:
    def bill(window: Window) -> Iterator[Delivery]:
        yield Delivery("charges", lambda: sql(CHARGE.format(cost=5)), {"billing_period": "2026-10"}, key="one")

    totals = []
    for words in (bill, lambda window: iter(()), bill):
        config = configured(tmp_path, ("bill", words))
        collect(config)
        totals.append(read(config, "SELECT count(*) FROM charges", "charges")[0][0])
    assert totals == [1, 0, 1]


def test_what_asking_costs_is_kept_with_the_word_about_the_source(tmp_path: Path) -> None:
    def bill(window: Window) -> Iterator[Delivery]:
        yield Delivery("charges", sql(CHARGE.format(cost=5)), {"billing_period": "2026-10"}, requests=3, own_cost=30_000_000)

    config = configured(tmp_path, ("bill", bill))
    collect(config)
    assert read(config, "SELECT requests, own_cost_nanos FROM coverage", "coverage") == [(3, 30_000_000)]


def test_a_node_that_a_restated_bill_has_for_longer_is_there_once(tmp_path: Path) -> None:
    seen = []
    for said in (spans(("10-05", "10-06")), spans(("10-03", "10-06")), spans(("10-03", "10-06"), ("10-09", "10-12"))):
        config = configured(tmp_path, ("bill", lambda window, said=said: iter([said])))  # type: ignore[misc]
        collect(config)
        seen.append([row[2:] for row in read(config, SPANS, "nodes")])
    assert seen == [[("10-05", "10-06")], [("10-03", "10-06")], [("10-03", "10-06"), ("10-09", "10-12")]]
