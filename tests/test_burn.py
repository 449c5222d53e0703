"""What runs now: money and GPUs an hour by activity, team and cluster, that add up to the prices of the nodes that are up."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from ledgers import write_ledger
from organisations import write_organisation

from rdspend.attribution import ShareRule
from rdspend.burn import burning, in_words
from rdspend.config import load
from rdspend.engine import Engine
from rdspend.errors import ConfigError
from rdspend.ledger import Ledger
from rdspend.period import Period
from rdspend.pipeline import Pipeline
from rdspend.policy import load_policy
from rdspend.reading import Reader
from rdspend.schema import GPU_PARTS, JOBS, MOST_TEAMS, OTHER_TEAMS, PLACEMENTS, Burn, Plan, PlannedShare, Policy

NOON = datetime(2026, 10, 5, 12, tzinfo=UTC)
AS_OF = int(NOON.timestamp())
Row = dict[str, Any]


def at(hour: int, minute: int = 0) -> datetime:
    return datetime(2026, 10, 5, hour, minute, tzinfo=UTC)


def node(name: str, gpus: int | None = 8, cluster: str = "c", **more: Any) -> Row:
    parts = None if gpus is None else gpus * GPU_PARTS
    return {
        "cluster": cluster,
        "node": name,
        "gpu_parts": parts,
        "gpu_type": "H100",
        "origin_file": "f",
        "origin_row": 1,
        **more,
    }


def price(node_hour: str | None = None, gpu_hour: str | None = None, row: int = 1, **more: Any) -> Row:
    sides = {"price_per_node_hour_nanos": node_hour, "price_per_gpu_hour_nanos": gpu_hour}
    nanos = {name: None if text is None else int(Decimal(text) * 10**9) for name, text in sides.items()}
    which = {} if {"node", "gpu_type", "queue", "instance_type"} & set(more) else {"gpu_type": "h100"}
    return {"source": "card", "origin_file": "rates.toml", "origin_row": row, "currency": "USD", **nanos, **which, **more}


def job(
    key: str, *held: tuple[str, str], team: str | None = "t", start: datetime | None = None, **more: Any
) -> tuple[Row, list[Row]]:
    """An open job that holds so many GPUs (a fraction of them too) on each node."""
    cluster = more.pop("cluster", "c")
    start = start or at(8)
    placed = [
        {
            "job_key": key,
            "cluster": cluster,
            "end_day": "open",
            "node": name,
            "start_time": start,
            "gpu_parts": int(Fraction(gpus) * GPU_PARTS),
        }
        for name, gpus in held
    ]
    whole = {
        "job_key": key,
        "cluster": cluster,
        "end_day": "open",
        "source": "log",
        "origin_file": "f",
        "origin_row": 1,
        "job_id": key,
        "account": team,
        "submit_time": start,
        "start_time": start,
        "outcome": "running",
        "gpu_parts": sum(p["gpu_parts"] for p in placed),
        **more,
    }
    return whole, placed


def tag(key: str, activity: str, tagger: str = "rule", **more: Any) -> Row:
    fields = {"confidence": 1.0, "evidence": "e", "version": "v"}
    return {"tagger": tagger, "end_month": "open", "job_key": key, "activity": activity, **fields, **more}


def burn(
    folder: Path,
    nodes: Iterable[Row],
    jobs: Iterable[tuple[Row, list[Row]]] = (),
    rates: Iterable[Row] = (),
    tags: Iterable[Row] = (),
    share_rule: ShareRule = "gpu",
    policy: Policy = load_policy("epoch"),  # noqa: B008  read only
) -> tuple[Burn, ...]:
    jobs = list(jobs)
    placements = [placed for _, each in jobs for placed in each]
    tables: Mapping[str, list[Row]] = {
        "nodes": list(nodes),
        "jobs": [whole for whole, _ in jobs],
        "placements": placements,
        "rates": list(rates),
        "tags": list(tags),
    }
    write_ledger(folder, [], **tables)
    with Engine() as engine:
        return burning(engine, Ledger(folder / "ledger").snapshot(), AS_OF, share_rule, policy)


def shown(rows: Iterable[Burn]) -> dict[tuple[str, str, str], tuple[str | None, str | None]]:
    def text(value: Decimal | None) -> str | None:
        return None if value is None else f"{value.normalize():f}"

    return {(r.category, r.team, r.currency): (text(r.cost_per_hour), text(r.gpus)) for r in rows}


def test_a_running_job_burns_its_part_of_the_node_and_the_rest_is_idle(tmp_path: Path) -> None:
    rows = burn(tmp_path, [node("n")], [job("c/1/1", ("n", "3"))], [price("80")], [tag("c/1/1", "evaluation")])
    assert shown(rows) == {("evaluation", "t", "USD"): ("30", "3"), ("idle", "", "USD"): ("50", "5")}
    assert {r.as_of for r in rows} == {float(AS_OF)}


def test_a_price_of_a_gpu_is_that_of_all_gpus_of_the_node(tmp_path: Path) -> None:
    rows = burn(tmp_path, [node("n")], [job("c/1/1", ("n", "2"))], [price(gpu_hour="2.5")])
    assert shown(rows) == {("unclassified", "t", "USD"): ("5", "2"), ("idle", "", "USD"): ("15", "6")}


def test_only_jobs_that_started_and_did_not_end_burn(tmp_path: Path) -> None:
    waiting = job("c/2/1", team="waits", start=None)
    waiting[0]["start_time"] = None
    later = job("c/3/1", ("n", "4"), team="later", start=at(13))
    ended = job("c/4/1", ("n", "4"), team="ended", end_time=at(11), end_day="2026-10-05", outcome="completed")
    for placed in ended[1]:
        placed |= {"end_day": "2026-10-05", "end_time": at(11)}
    rows = burn(tmp_path, [node("n")], [waiting, later, ended], [price("80")])
    assert shown(rows) == {("idle", "", "USD"): ("80", "8")}


def test_a_placement_that_ended_before_its_job_burns_no_more(tmp_path: Path) -> None:
    shrunk = job("c/1/1", ("n", "4"), ("m", "4"), ("ghost", "4"))
    for placed in shrunk[1][1:]:
        placed["end_time"] = at(11)
    rows = burn(tmp_path, [node("n"), node("m")], [shrunk], [price("80")])
    assert shown(rows) == {("unclassified", "t", "USD"): ("40", "4"), ("idle", "", "USD"): ("120", "12")}


def test_nodes_that_are_not_up_burn_nothing(tmp_path: Path) -> None:
    gone, coming = node("gone", end_time=at(12)), node("coming", start_time=at(13))
    assert [r.nodes for r in burn(tmp_path, [gone, coming, node("n")], (), [price("80")])] == [1]


@pytest.mark.parametrize(
    "rates",
    [
        [price("80"), price("8", row=2, node="n")],
        [price("80"), price("8", row=2, cluster="c")],
        [price("80", end_time=at(9)), price("8", row=2, start_time=at(9))],
    ],
    ids=["of the node", "of the cluster", "that holds now"],
)
def test_the_narrowest_price_that_holds_counts(rates: list[Row], tmp_path: Path) -> None:
    rows = burn(tmp_path, [node("n")], [job("c/1/1", ("n", "8"))], rates)
    assert shown(rows) == {("unclassified", "t", "USD"): ("8", "8"), ("idle", "", "USD"): ("0", "0")}


@pytest.mark.parametrize("rates", [[], [price("80"), price("8", row=2)], [price("80", gpu_type="a100")]])
def test_a_node_without_one_price_has_gpus_and_no_money(rates: list[Row], tmp_path: Path) -> None:
    rows = burn(tmp_path, [node("n")], [job("c/1/1", ("n", "3"))], rates)
    assert shown(rows) == {("unclassified", "t", ""): (None, "3"), ("idle", "", ""): (None, "5")}
    assert in_words(rows) == ["no price; 3.00 GPUs held, 5.00 idle, 1 nodes up"]


def test_a_job_on_a_priced_and_an_unpriced_node_has_its_gpus_in_both(tmp_path: Path) -> None:
    rates = [price("80", node="n")]
    rows = burn(tmp_path, [node("n"), node("m")], [job("c/1/1", ("n", "8"), ("m", "2"))], rates)
    assert shown(rows) == {
        ("unclassified", "t", ""): (None, "2"),
        ("unclassified", "t", "USD"): ("80", "8"),
        ("idle", "", ""): (None, "6"),
        ("idle", "", "USD"): ("0", "0"),
    }


def test_gpus_on_a_node_that_no_record_names_are_counted_without_money(tmp_path: Path) -> None:
    rows = burn(tmp_path, [node("n")], [job("c/1/1", ("ghost", "4"))], [price("80")])
    assert shown(rows) == {("unclassified", "t", ""): (None, "4"), ("idle", "", "USD"): ("80", "8")}


def test_two_currencies_stay_apart(tmp_path: Path) -> None:
    rates = [price("80", node="n"), price("60", row=2, node="m", currency="EUR")]
    rows = burn(tmp_path, [node("n"), node("m")], [job("c/1/1", ("n", "8"), ("m", "4"))], rates)
    assert shown(rows) == {
        ("unclassified", "t", "USD"): ("80", "8"),
        ("unclassified", "t", "EUR"): ("30", "4"),
        ("idle", "", "USD"): ("0", "0"),
        ("idle", "", "EUR"): ("30", "4"),
    }
    assert [words.split(";")[0] for words in in_words(rows)] == [
        "60.00 EUR an hour, of it idle 30.00",
        "80.00 USD an hour, of it idle 0.00",
    ]


def test_idle_gpus_are_unknown_where_the_capacity_of_a_node_is(tmp_path: Path) -> None:
    rows = burn(tmp_path, [node("n"), node("dark", None)], [job("c/1/1", ("dark", "3"))], [price("80")])
    assert shown(rows) == {("unclassified", "t", "USD"): ("80", "3"), ("idle", "", "USD"): ("80", None)}
    by_gpu = burn(tmp_path / "by_gpu", [node("dark", None)], [job("c/1/1", ("dark", "3"))], [price(gpu_hour="2")])
    assert shown(by_gpu)[("unclassified", "t", "USD")] == ("6", "3")


def test_the_winning_answer_of_this_moment_says_what_a_job_is_for(tmp_path: Path) -> None:
    tags = [
        tag("c/1/1", "evaluation", "rule"),
        tag("c/1/1", "exploration", "label", segment_end=at(9)),
        tag("c/1/1", "final_training", "label", segment_start=at(9)),
    ]
    rows = burn(tmp_path, [node("n")], [job("c/1/1", ("n", "8"))], [price("80")], tags)
    assert ("final_training", "t", "USD") in shown(rows)
    assert len(rows) == 2


def test_a_crowded_node_costs_what_it_costs_and_takes_no_idle_from_another(tmp_path: Path) -> None:
    jobs = [job("c/1/1", ("n", "8"), team="a"), job("c/2/1", ("n", "8"), team="b")]
    assert shown(burn(tmp_path, [node("n"), node("m")], jobs, [price("80")])) == {
        ("unclassified", "a", "USD"): ("40", "8"),
        ("unclassified", "b", "USD"): ("40", "8"),
        ("idle", "", "USD"): ("80", "8"),
    }


def test_idle_is_shown_apart_where_the_policy_spreads_it_too(tmp_path: Path) -> None:
    spreading = replace(load_policy("epoch"), idle="spread", shared="spread")
    rows = burn(tmp_path, [node("n")], [job("c/1/1", ("n", "3"))], [price("80")], policy=spreading)
    assert shown(rows) == {("unclassified", "t", "USD"): ("30", "3"), ("idle", "", "USD"): ("50", "5")}


@pytest.mark.parametrize(
    ("share_rule", "cost"),
    [("gpu", "20"), ("cpu", "40"), ("dominant", "40")],
)
def test_a_job_takes_its_share_by_the_share_rule(share_rule: ShareRule, cost: str, tmp_path: Path) -> None:
    small = job("c/1/1", ("n", "2"))
    small[1][0]["cpus"] = 48
    rows = burn(tmp_path, [node("n", cpus=96)], [small], [price("80")], share_rule=share_rule)
    assert shown(rows)[("unclassified", "t", "USD")] == (cost, "2")


def test_a_folder_without_nodes_and_jobs_burns_nothing(tmp_path: Path) -> None:
    assert burn(tmp_path, []) == ()
    assert in_words(()) == []


@settings(max_examples=25, deadline=None)
@given(data=st.data())
def test_no_nano_of_an_hour_is_created_or_lost(data: st.DataObject, tmp_path_factory: pytest.TempPathFactory) -> None:
    """Jobs take their part cut to nanos, by an independent sum in fractions; all rows add to the prices of the nodes."""
    names = ["n1", "n2", "n3"]
    capacity = {name: data.draw(st.integers(1, 8), label=name) for name in names}
    prices = {name: data.draw(st.integers(1, 10**14), label="price") for name in names}
    shares = st.fractions(min_value=Fraction(1, 7), max_value=4, max_denominator=7)
    held = data.draw(st.lists(st.tuples(st.sampled_from(names), shares, st.sampled_from("ab")), max_size=8))
    jobs = [job(f"c/{i}/1", (name, str(gpus)), team=team) for i, (name, gpus, team) in enumerate(held)]
    rates = [price(node=name, row=i) | {"price_per_node_hour_nanos": prices[name]} for i, name in enumerate(names)]
    rows = burn(tmp_path_factory.mktemp("burn"), [node(n, capacity[n]) for n in names], jobs, rates)
    assert sum((r.cost_per_hour or Decimal(0) for r in rows), Decimal(0)) == Decimal(sum(prices.values())).scaleb(-9)
    on = {name: sum((gpus for n, gpus, _ in held if n == name), Fraction(0)) for name in names}
    for team in "ab":
        exact = [
            int(Fraction(prices[n]) * int(gpus * GPU_PARTS) // max(int(on[n] * GPU_PARTS), capacity[n] * GPU_PARTS))
            for n, gpus, of in held
            if of == team
        ]
        found = [r.cost_per_hour for r in rows if r.team == team]
        assert found == ([Decimal(sum(exact)).scaleb(-9)] if exact else [])


def test_more_teams_than_a_breakdown_names_are_added_up(tmp_path: Path) -> None:
    write_ledger(tmp_path, [], nodes=[node("n", 8)], rates=[price("80")])
    many = MOST_TEAMS + 50
    ledger = Ledger(tmp_path / "ledger")
    with ledger.writer() as writer, Engine() as engine:
        common = f"FROM range({many}) AS r(i)"
        start = "TIMESTAMPTZ '2026-10-05 08:00:00Z'"
        jobs = (
            "SELECT 'c/' || i || '/1' AS job_key, 'log' AS source, 'f' AS origin_file, i AS origin_row, "
            f"CAST(i AS VARCHAR) AS job_id, 'team-' || i AS account, {start} AS submit_time, {start} AS start_time, "
            f"'running' AS outcome, {GPU_PARTS} AS gpu_parts {common}"
        )
        placed = f"SELECT 'c/' || i || '/1' AS job_key, 'n' AS node, {start} AS start_time, 1 + i AS gpu_parts {common}"
        for table, sql in ((JOBS, jobs), (PLACEMENTS, placed)):
            writer.replace(table, engine.connection.sql(sql), {"cluster": "c", "end_day": "open"})
        writer.finish(
            engine,
            stages=("collect",),
            period="2026-10",
            started_at=0.0,
            ended_at=1.0,
            outcome="ok",
            config_digest="",
            code_version="",
        )
    with Engine() as engine:
        rows = burning(engine, ledger.snapshot(), AS_OF, "gpu", load_policy("epoch"))
    teams = [r.team for r in rows if r.category != "idle"]
    assert len(teams) == MOST_TEAMS + 1
    assert OTHER_TEAMS in teams
    assert "team-0" not in teams
    assert sum((r.cost_per_hour or Decimal(0) for r in rows), Decimal(0)) == 80


def test_status_and_health_say_what_ran_when_the_last_run_asked(tmp_path: Path) -> None:
    file = write_organisation(tmp_path)
    text = (tmp_path / "jobs.csv").read_text()
    (tmp_path / "jobs.csv").write_text(text + "6,u3,data,serve,2026-10-30T00:00:00Z,2026-10-30T00:00:00Z,,RUNNING,n1,8,H100,\n")
    (tmp_path / "rates.toml").write_text('[[rate]]\ngpu_type = "H100"\nprice_per_node_hour = "98.32"\ncurrency = "USD"\n')
    file.write_text(file.read_text() + '\n[collectors.rate_card]\npath = "rates.toml"\n')
    config = replace(load(file), exporters=())
    now = datetime(2026, 10, 31, 12, tzinfo=UTC).timestamp()
    Pipeline(config, clock=lambda: now).run(Period("2026-10", ("2026-10",)))
    health = Reader(config).health()
    assert shown(health.burn) == {("unclassified", "data", "USD"): ("98.32", "8"), ("idle", "", "USD"): ("98.32", "8")}
    assert {r.as_of for r in health.burn} == {now}
    assert "burn as of 2026-10-31 12:00:00Z, by the rates" in Reader(config).status()
    assert "  196.64 USD an hour, of it idle 98.32; 8.00 GPUs held, 8.00 idle, 2 nodes up" in Reader(config).status()
    sizes = {table.table: table for table in health.ledger}
    assert sizes["charges"].size_bytes == sum(f.stat().st_size for f in (config.ledger / "charges").rglob("*") if f.is_file())
    assert sizes["runs"].files > 1


# --- the plan ---------------------------------------------------------------------------------------------------------


def planned(folder: Path, text: str) -> Plan | None:
    (folder / "rdspend.toml").write_text(f'ledger = "ledger"\n{text}')
    return Reader(load(folder / "rdspend.toml")).health().plan


def test_a_plan_is_read_exactly(tmp_path: Path) -> None:
    text = """
[plan]
currency = "EUR"
burn_per_hour = "1200.000000001"
month = "800000"
[plan.shares]
final_training = "0.05..0.60"
idle = "0..0.1"
"""
    assert planned(tmp_path, text) == Plan(
        "EUR",
        Decimal("1200.000000001"),
        Decimal(800_000),
        (
            PlannedShare("final_training", Decimal("0.05"), Decimal("0.60")),
            PlannedShare("idle", Decimal(0), Decimal("0.1")),
        ),
    )


def test_without_the_table_nothing_is_planned(tmp_path: Path) -> None:
    assert planned(tmp_path, "") is None
    assert planned(tmp_path, "[plan]") == Plan("USD")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("burn_per_hour = 1200.5", r"plan\.burn_per_hour: found 1200\.5"),
        ('burn_per_hour = "-1"', "plan: burn_per_hour: found '-1'; expected an amount"),
        ('month = "1e6"', "plan: month: found '1e6'"),
        ('month = "NaN"', "plan: month: found 'NaN'"),
        ('currency = "usd"', "plan: currency: found 'usd'; expected an ISO 4217 code"),
        ('shares = {training = "0..1"}', "plan: shares.training: unknown category; expected one of exploration"),
        ('shares = {idle = "5%"}', "plan: shares.idle: found '5%'; expected two parts of 1"),
        ('shares = {idle = "0.6..0.5"}', "plan: shares.idle: found '0.6..0.5'"),
        ('shares = {idle = "0..1.5"}', "plan: shares.idle: found '0..1.5'"),
        ('burn_per_day = "3"', "plan.burn_per_day: unknown option; did you mean 'burn_per_hour'"),
    ],
)
def test_a_plan_that_can_be_read_in_two_ways_is_refused_by_its_key(text: str, words: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=words):
        planned(tmp_path, f"[plan]\n{text}")
