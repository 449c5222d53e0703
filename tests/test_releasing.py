"""Releases through the whole pipeline: past months move, what was published stays, and all say which release it was."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from organisations import JOBS, JOBS_HEADER, following, two_days, write_bill, write_organisation

from rdspend.cli import main
from rdspend.config import load
from rdspend.daemon import Stop
from rdspend.engine import Engine
from rdspend.period import parse_period
from rdspend.pipeline import Pipeline
from rdspend.reading import Reader
from rdspend.schema import Breakdown
from rdspend.service import Service

MONTH = "2026-07"
KEY = "c1/1/1782864000"
RELEASE = """\
model = "falcon"
version = "1.0"
licence = "Apache-2.0"
released_at = 2026-09-15

[[claim]]
job = "1"
stage = "pretraining"
"""


@pytest.fixture
def lab(tmp_path: Path) -> Path:
    """The small lab of July; its big run is exploration by a rule."""
    config = write_organisation(tmp_path, MONTH)
    text = config.read_text().replace('[taggers.label]\npath = "labels.csv"\n', "[taggers.lineage]\n")
    config.write_text(text + '\n[collectors.release]\npath = "releases"\n')
    rules = tmp_path / "rules.toml"
    rules.write_text(rules.read_text() + '\n[[rule]]\nname = "runs"\nwhen = "name = \'big-run\'"\nactivity = "exploration"\n')
    (tmp_path / "releases").mkdir()
    return config


def rdspend(config: Path, *words: str) -> Result:
    return CliRunner().invoke(main, ["--config", str(config), *words])


def done(config: Path, *words: str) -> str:
    result = rdspend(config, *words)
    assert result.exit_code == 0, result.output
    return result.output


def final_training(breakdown: Breakdown) -> Decimal:
    (line,) = [line for line in breakdown.lines if line.name == "final_training"]
    return line.cost


def report(config: Path, *words: str) -> str:
    return done(config, "report", "--period", MONTH, "--format", "json", *words)


def final_of(report: str) -> Decimal:
    (line,) = [line for line in json.loads(report)["lines"] if line["activity"] == "final_training"]
    return Decimal(line["cost"])


def publish_release(config: Path, text: str = RELEASE, name: str = "falcon") -> None:
    (config.parent / "releases" / f"{name}.toml").write_text(text)


def test_a_month_is_final_training_once_its_run_was_released_and_both_reports_stay(lab: Path) -> None:
    done(lab, "run", "--period", MONTH)
    done(lab, "close", MONTH)
    before = report(lab)
    assert final_of(before) == 0

    publish_release(lab)
    said = done(lab, "release", "update")
    assert "1 release: 1 job is tagged anew" in said
    assert f"{MONTH} USD, revision 2:" in said
    assert "final_training   0.00 -> 2,359.68 (+2,359.68), 0.0 -> 192.0 GPU-hours" in said

    after = report(lab)
    assert final_of(after) == Decimal("2359.68")
    assert json.loads(after)["state"] == "corrected"
    assert report(lab, "--as-of", "run-2") == before
    assert report(lab) == after
    assert report(lab, "--as-of", "run-3") == after

    moved = json.loads(done(lab, "diff", MONTH, "--format", "json"))
    (cause,) = [cause for cause in moved["causes"] if cause["kind"] == "retagged" and cause["release"]]
    assert (cause["release"], cause["jobs"]) == ("falcon 1.0", [KEY])
    assert "lineage says final_training (falcon 1.0), before rule says exploration" in cause["words"].replace("said", "says")
    assert Decimal(cause["money"]) == Decimal("2359.68")
    in_words = done(lab, "diff", MONTH)
    assert "falcon 1.0" in in_words
    assert KEY in in_words


def test_taking_a_release_back_moves_the_month_back_and_both_ways_are_told(lab: Path) -> None:
    done(lab, "run", "--period", MONTH)
    publish_release(lab)
    done(lab, "release", "update")
    released = report(lab)

    publish_release(lab, RELEASE.replace("[[claim]]", "withdrawn_at = 2026-09-16\n[[claim]]"))
    assert "final_training   2,359.68 -> 0.00" in done(lab, "release", "update")
    assert final_of(report(lab)) == 0

    (lab.parent / "releases" / "falcon.toml").unlink()
    assert "0 releases: 1 job is tagged anew" in done(lab, "release", "update")
    assert final_of(report(lab)) == 0
    assert report(lab, "--as-of", "run-2") == released


def test_an_update_without_news_publishes_nothing(lab: Path) -> None:
    publish_release(lab)
    done(lab, "run", "--period", MONTH)
    first = report(lab)
    assert "nothing moved" in done(lab, "release", "update")
    assert report(lab) == first
    assert final_of(first) == Decimal("2359.68")


def test_a_run_that_sees_a_new_release_tells_of_earlier_months_and_leaves_them_be(lab: Path) -> None:
    done(lab, "run", "--period", MONTH)
    before = report(lab)
    later = following(MONTH)
    publish_release(lab)
    result = rdspend(lab, "tag", "--period", later)
    assert result.exit_code == 0, result.output
    assert "2026-07" not in result.output  # nothing was collected
    result = rdspend(lab, "run", "--period", later)
    assert f"releases say something else by now of jobs that ended in {MONTH}" in result.output
    assert report(lab) == before
    assert f"{MONTH} USD, revision 2:" in done(lab, "release", "update")


def test_a_month_that_waits_to_be_attributed_is_told_and_goes_on_waiting(lab: Path) -> None:
    done(lab, "run", "--period", MONTH)
    done(lab, "collect", "--period", MONTH)
    publish_release(lab)
    said = done(lab, "release", "update")
    assert f"{MONTH} waits to be attributed and is published then" in said
    assert "revision" not in said


def test_a_source_of_releases_that_fails_leaves_what_was_known(lab: Path) -> None:
    publish_release(lab)
    done(lab, "run", "--period", MONTH)
    (lab.parent / "releases").rename(lab.parent / "elsewhere")
    result = rdspend(lab, "release", "update")
    assert result.exit_code == 3
    assert "no such folder or file" in result.output
    assert final_of(report(lab)) == Decimal("2359.68")


def test_releases_of_a_source_that_is_not_configured_any_more_claim_nothing(lab: Path) -> None:
    publish_release(lab)
    done(lab, "run", "--period", MONTH)
    lab.write_text(lab.read_text().replace('[collectors.release]\npath = "releases"\n', ""))
    done(lab, "release", "update")
    assert final_of(report(lab)) == 0


def test_a_release_that_names_no_job_is_a_finding_and_an_exit_code(lab: Path) -> None:
    publish_release(lab, RELEASE.replace('job = "1"', 'job = ["1", "77"]'))
    done(lab, "run", "--period", MONTH)
    result = rdspend(lab, "release", "list")
    assert result.exit_code == 2
    assert "falcon 1.0: released, 2026-09-15, Apache-2.0" in result.output
    assert "claims nothing: " in result.output
    assert "job '77': no job that started before the release has it" in result.output
    september = Pipeline(load(lab)).run(parse_period("2026-09"))
    assert [finding[:2] for b in september.breakdowns for finding in b.findings if "release" in finding[0]] == [
        ("release_claims_nothing", "falcon 1.0")
    ]


def test_the_list_has_jobs_hours_and_money_by_role_and_segments_apart(lab: Path) -> None:
    cut = 'job = "1"\nto = 2026-07-01T09:00:00Z\n[[claim]]\njob = "1"\nrole = "lost"\n[[claim]]\njobs = "gen-*"\nrole = "data"'
    publish_release(lab, RELEASE.replace('job = "1"', cut))
    publish_release(lab, 'model = "hawk"\n[[claim]]\njob = "1"\n', "hawk")
    done(lab, "run", "--period", MONTH)
    falcon, hawk = json.loads(done(lab, "release", "list", "--format", "json"))
    assert [(r["role"], r["jobs"], r["gpu_hours"], r["cost"][0][1]) for r in falcon["roles"]] == [
        ("run", 1, "144.000000", "1769.760000000"),
        ("lost", 1, "48.000000", "589.920000000"),
        ("data", 1, "80.000000", "983.200000000"),
    ]
    assert (hawk["state"], hawk["roles"]) == ("not released", [])


def test_explain_shows_every_answer_with_role_release_and_who_won(lab: Path) -> None:
    publish_release(lab, RELEASE.replace("stage =", "to = 2026-07-01T06:00:00Z\nstage ="))
    done(lab, "run", "--period", MONTH)
    found = json.loads(done(lab, "explain", "--period", MONTH, KEY, "--format", "json"))
    lineage, rule = found["answers"]
    assert (lineage["tagger"], lineage["role"], lineage["release"]) == ("lineage", "run", "falcon 1.0")
    assert (lineage["start"], lineage["end"]) == ("", "2026-07-01T06:00:00Z")
    assert lineage["why"] == "decides the activity and stage"
    assert rule["why"] == "decides the activity; lineage ranks before it in the rest"
    assert "falcon.toml:6: claim 1 names job 1" in lineage["evidence"]
    said = " ".join(done(lab, "explain", "--period", MONTH, KEY).split())
    assert "lineage says final_training, pretraining, as run of falcon 1.0 from its start to 2026-07-01T06:00:00Z" in said


def test_two_releases_of_one_job_are_both_on_it(lab: Path) -> None:
    publish_release(lab)
    publish_release(lab, RELEASE.replace('"falcon"', '"hawk"'), "hawk")
    done(lab, "run", "--period", MONTH)
    found = json.loads(done(lab, "explain", "--period", MONTH, KEY, "--format", "json"))
    assert found["answers"][0]["release"] == "falcon 1.0,hawk 1.0"
    assert final_of(report(lab)) == Decimal("2359.68")


def test_the_texts_of_past_jobs_are_read_once_and_again_when_the_month_has_other_jobs(lab: Path) -> None:
    def read_from() -> dict[str, str]:
        with Engine() as engine:
            Reader(load(lab)).ledger.snapshot().view(engine, "file_uses")
            return dict(engine.rows("SELECT end_month, any_value(read_from) FROM file_uses GROUP BY end_month"))

    done(lab, "run", "--period", MONTH)
    assert read_from() == {}
    publish_release(lab)
    done(lab, "release", "update")
    first = read_from()
    assert list(first) == [MONTH]
    publish_release(lab, RELEASE.replace('"falcon"', '"hawk"'), "hawk")
    done(lab, "release", "update")
    assert read_from() == first
    done(lab, "run", "--period", MONTH)
    assert read_from()[MONTH] != first[MONTH]


def test_the_daemon_publishes_earlier_months_afresh_when_a_release_comes(lab: Path) -> None:
    done(lab, "run", "--period", MONTH)
    lab.write_text(lab.read_text() + "\n[daemon]\nperiods = 1\n")
    publish_release(lab)
    september = datetime(2026, 9, 20, tzinfo=UTC).timestamp()
    shown, _ = Service(load(lab), clock=lambda: september).work(Stop())
    assert [each.period for each in shown] == ["2026-09"]
    assert final_of(report(lab)) == Decimal("2359.68")


def months_of(lab: Path, months: Sequence[str]) -> None:
    """Bills of several months, and one job that runs through two of them."""
    write_bill(lab.parent, [line for month in months for line in two_days(month=month)])
    jobs = [row.replace("2026-10", month) for month in months for row in JOBS]
    (lab.parent / "jobs.csv").write_text("\n".join([JOBS_HEADER, *jobs]) + "\n")


def test_every_published_period_that_the_jobs_touch_is_published_afresh_and_no_other(lab: Path) -> None:
    months_of(lab, ["2026-06", "2026-07", "2026-08"])
    for month in ("2026-06", "2026-07", "2026-08"):
        done(lab, "run", "--period", month)
    done(lab, "publish", "--period", "2026-06..2026-08")
    publish_release(lab, RELEASE.replace('job = "1"', f'job = "{KEY}"'))
    outcome = Pipeline(load(lab)).update_releases()
    assert [after.period for _, after in outcome.moved] == ["2026-06..2026-08", "2026-07"]
    assert [final_training(after) for _, after in outcome.moved] == [Decimal("2359.68")] * 2
    assert [final_training(b) for b in Reader(load(lab)).breakdowns(parse_period("2026-08"), None)] == [0]
