"""More teams than a breakdown names: the smallest are added up, always the same ones, and no nano is lost."""

from __future__ import annotations

import hashlib
from decimal import Decimal
from pathlib import Path

import pytest
from ledgers import MONTH, write_teams

from exporters.prometheus import Prometheus
from rdspend.config import load
from rdspend.explanation import Listing
from rdspend.period import Period
from rdspend.pipeline import Pipeline
from rdspend.reading import Reader
from rdspend.schema import MOST_TEAMS, OTHER_TEAMS, Breakdown

TEAMS = 50_000


def costs(teams: int) -> list[int]:
    """What `write_teams` gives each, in nanos."""
    return [i * 7919 % 1000000007 + 1 for i in range(teams)]


def published(folder: Path, teams: int) -> Breakdown:
    write_teams(folder, teams)
    (made,) = Pipeline(load(folder / "rdspend.toml")).run(Period(MONTH, (MONTH,)), ["publish"]).breakdowns
    return made


@pytest.fixture(scope="module")
def folded(tmp_path_factory: pytest.TempPathFactory) -> Breakdown:
    return published(tmp_path_factory.mktemp("teams"), TEAMS)


def test_a_breakdown_names_the_teams_with_most_money_and_adds_up_the_rest(folded: Breakdown) -> None:
    by_size = sorted(costs(TEAMS), reverse=True)
    named = [line for line in folded.teams if line.name != OTHER_TEAMS]
    (other,) = [line for line in folded.teams if line.name == OTHER_TEAMS]
    assert [line.cost for line in named] == [Decimal(nanos).scaleb(-9) for nanos in by_size[:MOST_TEAMS]]
    assert other.cost == Decimal(sum(by_size[MOST_TEAMS:])).scaleb(-9)
    assert other.gpu_hours == TEAMS - MOST_TEAMS == folded.folded_teams


def test_no_nano_is_lost_in_the_fold(folded: Breakdown) -> None:
    total = Decimal(sum(costs(TEAMS))).scaleb(-9)
    assert (
        folded.total
        == total
        == sum((c.cost for c in folded.cells), Decimal(0))
        == sum((t.cost for t in folded.teams), Decimal(0))
    )


def test_the_fold_is_a_finding_that_counts_the_teams(folded: Breakdown) -> None:
    found = [(kind, subject, rows) for kind, subject, _, rows in folded.findings]
    assert found == [("folded_teams", OTHER_TEAMS, TEAMS - MOST_TEAMS)]


def test_the_same_teams_are_folded_every_time(folded: Breakdown, tmp_path: Path) -> None:
    again = published(tmp_path, TEAMS)
    assert again.cells == folded.cells


def test_as_many_teams_as_are_named_are_not_folded(tmp_path: Path) -> None:
    made = published(tmp_path, MOST_TEAMS)
    assert (made.folded_teams, made.findings, len(made.teams)) == (0, (), MOST_TEAMS)
    assert OTHER_TEAMS not in {line.name for line in made.teams}


def test_a_folded_team_can_still_be_listed_by_its_name(tmp_path: Path) -> None:
    write_teams(tmp_path, MOST_TEAMS + 1)
    smallest = f"team {hashlib.md5(b'0', usedforsecurity=False).hexdigest()}"
    listing = Reader(load(tmp_path / "rdspend.toml")).explain(Period(MONTH, (MONTH,)), f"team:{smallest}", None, None, 5)
    assert isinstance(listing, Listing)
    assert [(row.job_key, row.team) for row in listing.jobs] == [("c/0/1", smallest)]


def test_the_page_has_the_teams_the_sum_and_the_count(folded: Breakdown) -> None:
    page = Prometheus().render((folded,), None).decode().splitlines()
    values = [float(line.rsplit(" ", 1)[1]) for line in page if line.startswith("rdspend_cost_usd{")]
    assert len(values) == MOST_TEAMS + 1
    assert sum(values) == pytest.approx(float(folded.total), abs=0.005)
    assert f'rdspend_folded_teams{{billing_period="{MONTH}",currency="USD"}} {TEAMS - MOST_TEAMS}.0' in page
