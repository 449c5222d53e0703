"""A real Prometheus that never scraped these two years answers for them as the reports do."""

from __future__ import annotations

import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import yaml
from breakdowns import build, cell
from histories import END_OF_ALL, MONTHS, START_OF_ALL, Server, published, serving, write_history, write_prices
from scraping import free_port

from exporters.prometheus import Prometheus
from rdspend.backfill import Wish, backfill, make_blocks, send
from rdspend.config import Config
from rdspend.errors import ConfigError, SourceUnavailable
from rdspend.period import month_start, parse_period
from rdspend.pipeline import Pipeline
from rdspend.reading import Reader
from rdspend.schema import Breakdown

pytestmark = pytest.mark.server

NOW = month_start("2026-02").timestamp()
RULES = Path(__file__).parents[2] / "deploy" / "prometheus" / "rules.yml"
RESTATED = "2024-05"


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Config:
    """Two years, each month published."""
    return published(write_history(tmp_path_factory.mktemp("lab"), MONTHS), MONTHS)


@pytest.fixture(scope="module")
def reports(lab: Config) -> dict[str, Breakdown]:
    return {month: Reader(lab).breakdowns(parse_period(month), None)[0] for month in MONTHS}


@pytest.fixture(scope="module")
def server(lab: Config, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    blocks = tmp_path_factory.mktemp("blocks")
    backfill(lab, Wish(MONTHS[0], MONTHS[-1], "blocks", str(blocks)), NOW)
    with serving(tmp_path_factory.mktemp("prometheus"), blocks) as running:
        yield running


def days() -> list[datetime]:
    return [START_OF_ALL + timedelta(days=n) for n in range((END_OF_ALL - START_OF_ALL).days)]


def test_a_month_is_one_block(server: Server) -> None:
    assert len([path for path in server.tsdb.iterdir() if (path / "meta.json").exists()]) == len(MONTHS)


def test_every_day_of_two_years_has_the_total_of_its_month_to_the_cent(server: Server, reports: dict[str, Breakdown]) -> None:
    totals = {month: f"{made.total:.2f}" for month, made in reports.items()}
    assert len(set(totals.values())) == len(MONTHS)
    assert server.over("sum(rdspend_cost_usd)") == {(): {day: totals[f"{day:%Y-%m}"] for day in days()}}


def test_every_category_of_every_month_is_the_line_of_its_report(server: Server, reports: dict[str, Breakdown]) -> None:
    found = server.over("sum by (billing_period, category) (rdspend_cost_usd)")
    assert {key: set(values.values()) for key, values in found.items()} == {
        (("billing_period", month), ("category", line.name)): {f"{line.cost:.2f}"}
        for month, made in reports.items()
        for line in (*made.lines, *made.buckets)
        if line.cost
    }


def test_shares_and_their_range_are_those_of_the_report(server: Server, reports: dict[str, Breakdown]) -> None:
    wanted = {month: next(line for line in made.lines if line.name == "final_training") for month, made in reports.items()}
    for family, share in (("share", "share"), ("share_low", "share_low"), ("share_high", "share_high")):
        found = server.over(f'100 * sum by (billing_period) (rdspend_{family}_ratio{{category="final_training"}})')
        assert {key: set(values.values()) for key, values in found.items()} == {
            (("billing_period", month),): {f"{100 * getattr(line, share):.2f}"} for month, line in wanted.items()
        }


def test_between_midnights_the_last_one_is_read(server: Server, reports: dict[str, Breakdown]) -> None:
    totals = {month: f"{made.total:.2f}" for month, made in reports.items()}
    (found,) = server.over("sum(last_over_time(rdspend_cost_usd[23h59m]))", 6 * 3600).values()
    assert len(found) == 4 * len(days())
    assert {at: value for at, value in found.items() if value != totals[f"{at:%Y-%m}"]} == {}


@pytest.mark.parametrize("rule", yaml.safe_load(RULES.read_text())["groups"][0]["rules"], ids=lambda rule: rule["record"])
def test_recorded_sums_are_what_the_rule_would_have_recorded(server: Server, rule: dict[str, str]) -> None:
    made, recorded = server.over(rule["expr"]), server.over(f"{{__name__='{rule['record']}'}}")
    assert made
    assert {tuple(label for label in key if label[0] != "__name__"): values for key, values in recorded.items()} == made


def test_a_restated_month_is_replaced_in_a_running_prometheus(tmp_path: Path) -> None:
    home = tmp_path / "lab"
    config = published(write_history(home, MONTHS[3:6]), MONTHS[3:6])
    backfill(config, Wish(MONTHS[3], MONTHS[5], "blocks", str(tmp_path / "before")), NOW)
    with serving(tmp_path / "prometheus", tmp_path / "before") as running:
        before = running.over("sum by (billing_period) (rdspend_cost_usd)")

        # The bill is restated, and a team is another now: its old series must not stay.
        write_prices(home, {MONTHS[3]: "10.02", RESTATED: "33.34", MONTHS[5]: "10.06"})
        (home / "jobs.csv").write_text((home / "jobs.csv").read_text().replace("data,gen-shards", "renamed,gen-shards"))
        Pipeline(config).run(parse_period(RESTATED))
        (report,) = Reader(config).breakdowns(parse_period(RESTATED), None)

        running.post("/api/v1/admin/tsdb/delete_series", **{"match[]": f'{{billing_period="{RESTATED}"}}'})
        running.post("/api/v1/admin/tsdb/clean_tombstones")
        assert (("billing_period", RESTATED),) not in running.over("sum by (billing_period) (rdspend_cost_usd)")
        backfill(config, Wish(RESTATED, RESTATED, "blocks", str(running.tsdb)), NOW)
        deadline = time.monotonic() + 150
        while (("billing_period", RESTATED),) not in (after := running.over("sum by (billing_period) (rdspend_cost_usd)")):
            assert time.monotonic() < deadline, "the new block was not seen in 150 s"
            time.sleep(1)
        teams = {dict(key).get("team") for key in running.over(f'rdspend_cost_usd{{billing_period="{RESTATED}"}}')}

    key = (("billing_period", RESTATED),)
    assert set(after.pop(key).values()) == {f"{report.total:.2f}"}
    assert set(before.pop(key).values()) != {f"{report.total:.2f}"}
    assert after == before
    assert "renamed" in teams
    assert "data" not in teams


TEAMS = (
    "two\nlines",
    'quote " and \\ backslash',
    "a|b{}=,",
    "équipe 数据 🚀",
    "=cmd()",
    "<b>x</b>",
    "\u202eright",
    "# EOF",
    "x" * 10_000,
)


def test_strange_team_names_arrive_as_the_page_has_them(tmp_path: Path) -> None:
    made = build([cell("evaluation", f"{n}.25", team=team) for n, team in enumerate(TEAMS, 1)])
    text = tmp_path / "rdspend.om"
    text.write_text("".join(Prometheus().past([made], 1, {}).open_metrics()))
    make_blocks("promtool", text, tmp_path / "blocks")
    with serving(tmp_path / "prometheus", tmp_path / "blocks") as running:
        at = datetime(2026, 10, 7, tzinfo=UTC).timestamp()
        found = running.by("team", f"rdspend_cost_usd @ {at:.0f}")
    assert sorted(found.values()) == [n + 0.25 for n in range(1, len(TEAMS) + 1)]
    assert [found.get(team) for team in TEAMS[:-1]] == [n + 0.25 for n in range(1, len(TEAMS))]


# --- remote write -------------------------------------------------------------------------------------------------------

RECEIVER = "--web.enable-remote-write-receiver"
ANY_AGE = "storage: {tsdb: {out_of_order_time_window: 10y}}"
SUMS = "sum by (billing_period, category) (rdspend_cost_usd)"


@pytest.fixture(scope="module")
def receiver(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with serving(tmp_path_factory.mktemp("receiver"), None, RECEIVER, config=ANY_AGE) as running:
        yield running


def test_what_was_sent_answers_as_the_blocks_do_and_sending_it_twice_changes_nothing(
    lab: Config, server: Server, receiver: Server
) -> None:
    for _ in range(2):
        written = backfill(lab, Wish(MONTHS[0], MONTHS[-1], "remote-write", f"{receiver.url}/api/v1/write"), NOW)
        assert [each.month for each in written] == list(MONTHS)
        for query in ("sum(rdspend_cost_usd)", SUMS, '{__name__=~".+:sum"}', '{__name__=~"rdspend_share.+"}'):
            found = receiver.over(query)
            assert found == server.over(query)
            assert len(found) > (query == SUMS)


def test_strange_team_names_arrive_as_they_were_sent(receiver: Server) -> None:
    made = build([cell("evaluation", f"{n}.25", team=team) for n, team in enumerate(TEAMS, 1)])
    list(send([("2026-10", Prometheus().past([made], 1, {"job": "strange"}))], f"{receiver.url}/api/v1/write"))
    at = datetime(2026, 10, 7, tzinfo=UTC).timestamp()
    found = receiver.by("team", f'rdspend_cost_usd{{job="strange"}} @ {at:.0f}')
    assert [found.get(team) for team in TEAMS[:-1]] == [n + 0.25 for n in range(1, len(TEAMS))]


def test_a_prometheus_that_takes_no_old_samples_is_told_apart_and_what_to_set_is_said(lab: Config, tmp_path: Path) -> None:
    with serving(tmp_path / "young", None, RECEIVER) as young:
        # It has scraped now, so months ago is too old for it.
        deadline = time.monotonic() + 30
        while not young.ask("up"):
            assert time.monotonic() < deadline, "nothing was scraped in 30 s"
            time.sleep(0.2)
        with pytest.raises(ConfigError, match=r"answered 4.*out_of_order_time_window"):
            backfill(lab, Wish(MONTHS[0], MONTHS[0], "remote-write", f"{young.url}/api/v1/write"), NOW)


def test_a_prometheus_that_is_no_receiver_is_told_apart(lab: Config, server: Server) -> None:
    with pytest.raises(ConfigError, match=r"answered 404.*enable-remote-write-receiver"):
        backfill(lab, Wish(MONTHS[0], MONTHS[0], "remote-write", f"{server.url}/api/v1/write"), NOW)


def test_a_receiver_that_does_not_answer_is_to_be_tried_again(lab: Config) -> None:
    with pytest.raises(SourceUnavailable, match="did not answer for 2024-01"):
        backfill(lab, Wish(MONTHS[0], MONTHS[0], "remote-write", f"http://127.0.0.1:{free_port()}/api/v1/write"), NOW)
