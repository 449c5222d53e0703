"""A real Prometheus scrapes a real daemon and gives back the report's figures."""

from __future__ import annotations

import json
import urllib.request
from collections.abc import Iterator
from decimal import Decimal

import pytest
from breakdowns import LAB, build, cell, full_health, many
from scraping import Scraper, scraping

from exporters.metric_families import bounded
from exporters.prometheus import Prometheus
from exporters.report import to_json
from rdspend.daemon import Daemon

pytestmark = pytest.mark.server

TEAMS = (
    "two\nlines",
    'quote " and \\ backslash',
    "<script>alert('x')</script>&amp;",
    "a|b{}=,#",
    "\u202eright to left \u05e9\u05dc\u05d5\u05dd",
    "équipe 数据 \N{ROCKET}\N{ZERO WIDTH JOINER}",
    "=cmd()|' /C calc'!A0",
    "\x00\x07\r\t",
    "x" * 10_000,
)
MADE = build((*LAB, *many(3000), *(cell("evaluation", f"{n}.25", team=team) for n, team in enumerate(TEAMS, 1))))
HEALTH = full_health()


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
    assert found[bounded(team)] == number + 0.25


def test_the_page_is_scraped_as_openmetrics_with_units_and_help(server: Scraper) -> None:
    with urllib.request.urlopen(f"{server.url}/api/v1/metadata", timeout=10) as answer:
        found = json.load(answer)["data"]
    units = {
        name: found[name][0]["unit"] for name in ("rdspend_cost_usd", "rdspend_burn_usd_per_hour", "rdspend_ledger_size_bytes")
    }
    assert units == {
        "rdspend_cost_usd": "usd",
        "rdspend_burn_usd_per_hour": "usd_per_hour",
        "rdspend_ledger_size_bytes": "bytes",
    }
    assert found["rdspend_source_requests"][0]["type"] == "counter"
    assert all(each[0]["help"] for name, each in found.items() if name.startswith("rdspend_"))


def test_the_burn_of_jobs_and_idle_nodes_is_what_nodes_that_are_up_cost(server: Scraper) -> None:
    assert server.value("sum(rdspend_burn_usd_per_hour)") == 1650.000000001
    assert server.value("sum(rdspend_burn_usd_per_hour) > on () sum(rdspend_plan_burn_usd_per_hour)") == 1650.000000001
    assert server.value('sum(rdspend_burn_gpus{basis="unpriced"})') == 8


def test_counters_and_the_version_arrive_under_their_names(server: Scraper) -> None:
    assert server.value("rdspend_source_requests_total") == 12
    assert server.by("version", "rdspend_build_info") == {"1.2.3": 1}
