"""A real Prometheus scrapes a real daemon and gives back the report's figures."""

from __future__ import annotations

import json
from collections.abc import Iterator
from decimal import Decimal

import pytest
from breakdowns import LAB, build, cell, many
from scraping import Scraper, scraping

from exporters.prometheus import Prometheus
from exporters.report import to_json
from rdspend.daemon import Daemon
from rdspend.schema import Health, SourceHealth

pytestmark = pytest.mark.server

TEAMS = ("two\nlines", 'quote " and \\ backslash', "a|b{}=,", "équipe 数据")
MADE = build((*LAB, *many(3000), *(cell("evaluation", f"{n}.25", team=team) for n, team in enumerate(TEAMS, 1))))
HEALTH = Health("1.2.3", (SourceHealth("focus", True, 1790000000.0, 1790000000.0, 2.5, 1000),), last_run_ok=True)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scraper]:
    daemon = Daemon(lambda _: ([MADE], HEALTH), {"prometheus": Prometheus("127.0.0.1:0")}, 3600, "1.2.3", lambda _: None)
    daemon.start()
    try:
        with scraping("{}:{}".format(*daemon.addresses["prometheus"]), tmp_path_factory.mktemp("prometheus")) as scraper:
            yield scraper
    finally:
        daemon.stop()


def test_the_target_is_up(server: Scraper) -> None:
    assert server.value('up{job="rdspend"}') == 1


def test_the_sum_of_cost_over_activities_and_buckets_is_the_total_of_the_report(server: Scraper) -> None:
    total = Decimal(json.loads(to_json(MADE))["total"])
    assert f"{server.value('sum(rdspend_cost_usd)'):.2f}" == f"{total:.2f}"


def test_the_sum_by_category_is_the_line_of_the_report(server: Scraper) -> None:
    found = server.by("category", "sum by (category) (rdspend_cost_usd)")
    assert {name: f"{cost:.2f}" for name, cost in found.items()} == {
        line.name: f"{line.cost:.2f}" for line in (*MADE.lines, *MADE.buckets)
    }


def test_shares_of_the_denominator_can_be_computed_again_from_the_costs(server: Scraper) -> None:
    ratio = (
        'sum(rdspend_cost_usd{category="final_training"}) / sum(rdspend_cost_usd{category!="inference"})'
        ' - scalar(rdspend_share_ratio{category="final_training"})'
    )
    assert abs(server.value(ratio)) < 1e-9


def test_the_closing_difference_is_zero(server: Scraper) -> None:
    assert server.value("max(abs(rdspend_closing_difference_usd))") == 0


def test_no_label_had_to_be_renamed_by_the_scrape(server: Scraper) -> None:
    labels = {label for sample in server.ask('{job="rdspend"}') for label in sample["metric"]}
    assert not [label for label in labels if label.startswith("exported_")]


@pytest.mark.parametrize(("number", "team"), list(enumerate(TEAMS, 1)))
def test_strange_team_names_arrive_as_they_are(server: Scraper, number: int, team: str) -> None:
    found = server.by("team", 'rdspend_cost_usd{category="evaluation"}')
    assert found[team] == number + 0.25
