"""Jobs of which a release claims a segment only: each is one job in every list, and its money is there once."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path

import pytest
from organisations import write_organisation

from rdspend.config import Config, load
from rdspend.explanation import JobExplanation, Listing
from rdspend.period import parse_period
from rdspend.pipeline import STAGES, Pipeline
from rdspend.reading import Reader

OCTOBER = parse_period("2026-10")
HOUR = 2 * Decimal("98.32")
"""What an hour of both nodes costs, all of it job 1's from midnight to noon."""

RELEASE = """\
model = "falcon"
released_at = 2026-11-15
[[claim]]
job = "1"
stage = "pretraining"
from = 2026-10-01T03:00:00Z
to = 2026-10-01T{to}:00:00Z
"""


def claim_until(folder: Path, to: str) -> None:
    (folder / "releases" / "falcon.toml").write_text(RELEASE.format(to=to))


@pytest.fixture
def lab(tmp_path: Path) -> Config:
    """The small lab; six of the twelve hours of its big run are a release's, the others exploration by a rule."""
    file = write_organisation(tmp_path)
    text = file.read_text().replace('[taggers.label]\npath = "labels.csv"\n', "[taggers.lineage]\n")
    file.write_text(text + '\n[collectors.release]\npath = "releases"\n')
    rules = tmp_path / "rules.toml"
    rules.write_text(rules.read_text() + '\n[[rule]]\nname = "runs"\nwhen = "name = \'big-run\'"\nactivity = "exploration"\n')
    (tmp_path / "releases").mkdir()
    claim_until(tmp_path, "09")
    config = load(file)
    Pipeline(config).run(OCTOBER, STAGES)
    return config


def listed(config: Config, what: str) -> Listing:
    found = Reader(config).explain(OCTOBER, what, None, None, 20)
    assert isinstance(found, Listing)
    return found


def test_a_day_has_the_money_of_a_job_that_is_cut_once(lab: Config) -> None:
    day = listed(lab, "2026-10-01")
    halves = 9 * Decimal("98.32") / 2  # two jobs of half a node each, together nine hours
    assert (day.total, day.rows, day.rest) == (12 * HOUR + halves, 3, Decimal(0))
    assert (day.jobs[0].cost, day.jobs[0].category) == (12 * HOUR, "exploration, final_training")


def test_a_list_has_a_job_that_is_cut_once_with_what_of_it_is_in_the_figure(lab: Config) -> None:
    final = listed(lab, "final_training")
    assert (final.total, final.rows, final.jobs[0].category) == (6 * HOUR, 1, "final_training")
    team = listed(lab, "team:pretrain")
    assert (team.rows, len(team.jobs), team.jobs[0].cost) == (2, 2, 12 * HOUR)


def test_a_border_that_moved_is_what_moved_and_no_other_cause_is_told(lab: Config) -> None:
    assert lab.file is not None
    claim_until(lab.file.parent, "06")
    Pipeline(lab).run(OCTOBER, STAGES)
    found = Reader(lab).diff(OCTOBER, None, None, None, 20)
    (cause,) = found.causes
    assert (cause.kind, cause.count, cause.money) == ("retagged", 1, 3 * HOUR)
    assert cause.words.startswith("rule says exploration, before lineage said final_training (falcon)")
    moved = {m.name: (m.difference, m.retagged) for m in found.activities if m.difference}
    assert moved == {"final_training": (-3 * HOUR, -3 * HOUR), "exploration": (3 * HOUR, 3 * HOUR)}


def test_what_nobody_answers_any_more_nobody_said(lab: Config) -> None:
    assert lab.file is not None
    folder = lab.file.parent
    rules = folder / "rules.toml"
    rules.write_text(rules.read_text().replace("'big-run'", "'none'"))
    Pipeline(lab).run(OCTOBER, STAGES)
    (cause,) = Reader(lab).diff(OCTOBER, None, None, None, 20).causes
    assert (cause.count, cause.money) == (1, 6 * HOUR)
    assert cause.words == "nobody says unclassified, before rule said exploration"


def test_a_job_that_is_cut_is_explained_part_by_part(lab: Config) -> None:
    found = Reader(lab).explain(OCTOBER, "c1/1/1790812800", None, None, 20)
    assert isinstance(found, JobExplanation)
    assert [(part.start[11:16], part.end[11:16], part.category, part.release, part.cost) for part in found.parts] == [
        ("00:00", "03:00", "exploration", "", 3 * HOUR),
        ("03:00", "09:00", "final_training", "falcon", 6 * HOUR),
        ("09:00", "12:00", "exploration", "", 3 * HOUR),
    ]
    assert sum(part.cost for part in found.parts) == found.cost


def test_a_job_that_is_not_cut_has_no_parts(lab: Config) -> None:
    found = Reader(lab).explain(OCTOBER, "2", None, None, 20)
    assert isinstance(found, JobExplanation)
    assert found.parts == ()
