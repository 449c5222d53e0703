"""The same month under several policies: every side is its report, and the reasons add up to what lies between two."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from decimal import Decimal
from pathlib import Path

import jsonschema
import pytest
from test_policy import HOUSE

from exporters.report import to_crossing, to_json, to_markdown
from rdspend.config import Config, load
from rdspend.errors import ConfigError
from rdspend.explanation import JobExplanation, Listing
from rdspend.lab import Size, write_month
from rdspend.period import parse_period
from rdspend.pipeline import STAGES, Pipeline
from rdspend.policy import DEFAULTS, available
from rdspend.policy_comparison import Comparison
from rdspend.reading import Reader
from rdspend.schema import Breakdown

ROOT = Path(__file__).resolve().parents[1]
MONTH = parse_period("2026-10")
ZERO = Decimal(0)
SPREAD_HOURS = HOUSE.replace('"house"', '"house-hours"') + 'unit = "gpu_hours"\n'
ALL = ("epoch", "eu-gpai", "house", "house-hours", "official-training", "olmo")

CONFIG = """\
ledger = "ledger"
synthetic = true
policies = "policies"
[collectors.focus]
path = "bill.csv"
[collectors.job_log]
cluster = "syn-lab"
path = "jobs.csv"
nodes = "nodes.csv"
[collectors.release]
path = "releases"
[taggers.lineage]
[taggers.rule]
path = "rules.toml"
"""
RELEASE = """\
model = "quartz-70b"
released_at = 2026-11-02
[[claim]]
job = "100007"
role = "lost"
from = 2026-10-01T06:00:00Z
to = 2026-10-01T18:30:00Z
[[claim]]
jobs = "quartz-70b-main"
stage = "pretraining"
[[claim]]
jobs = "sft-sweep-160m-*"
role = "sweep"
keep = "sft-sweep-160m-lr3e-4-s40"
[[claim]]
jobs = "ckpt-eval"
role = "training_evaluation"
[[claim]]
jobs = "rewrite_*"
role = "data"
[[claim]]
jobs = "lora_papers_*"
role = "failed"
"""


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Config:
    folder = tmp_path_factory.mktemp("lab")
    write_month(folder, Size(jobs=400, nodes=12))
    (folder / "rdspend.toml").write_text(CONFIG)
    (folder / "policies").mkdir()
    (folder / "policies" / "house.toml").write_text(HOUSE)
    (folder / "policies" / "house-hours.toml").write_text(SPREAD_HOURS)
    (folder / "releases").mkdir()
    (folder / "releases" / "quartz.toml").write_text(RELEASE)
    config = load(folder / "rdspend.toml")
    Pipeline(config).run(MONTH, STAGES)
    return config


@pytest.fixture(scope="module")
def compared(lab: Config) -> Comparison:
    return Reader(lab).compare_policies(MONTH, None, None)


def under(config: Config, policy: str) -> Breakdown:
    (made,) = Reader(config).under(MONTH, policy, None)
    return made


def rdspend(config: Config, *words: str, ok: int = 0) -> str:
    command = [sys.executable, "-m", "rdspend", "--config", str(config.file), *words]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == ok, done.stderr
    return done.stdout if ok == 0 else done.stderr


def test_every_side_is_the_report_under_its_policy(lab: Config, compared: Comparison) -> None:
    assert {side.policy.name for side in compared.sides} == set(ALL)
    for side in compared.sides:
        made = under(lab, side.policy.name)
        assert made.revision == 0
        figures = [(x.name, x.cost, x.billed_cost, x.gpu_hours, x.share, x.borne) for x in (*side.lines, *side.buckets)]
        assert figures == [(x.name, x.cost, x.billed_cost, x.gpu_hours, x.share, x.borne) for x in (*made.lines, *made.buckets)]
        for ours, reported in zip(side.lines, made.lines, strict=True):
            # The report's range has what may yet be final training in it, too.
            if ours.share is not None:
                assert reported.share_low <= ours.share_low <= ours.share <= ours.share_high <= reported.share_high  # type: ignore[operator]
        assert side.denominator == made.denominator
        assert {x.name: x.borne for x in side.spread} == {x.name: x.cost for x in made.spread}
        assert compared.total == made.total == sum(x.cost for x in (*made.lines, *made.buckets))


def test_the_reasons_add_up_to_the_difference_of_final_training_and_of_100_percent(compared: Comparison) -> None:
    sides = {side.policy.name: side for side in compared.sides}
    assert [contrast.after for contrast in compared.contrasts] == [name for name in ALL if name != "epoch"]
    for contrast in compared.contrasts:
        before, after = sides[contrast.before], sides[contrast.after]
        assert (
            sum((r.final_cost for r in contrast.reasons), ZERO) == contrast.final_cost == after.final.cost - before.final.cost
        )
        assert sum((r.denominator_cost for r in contrast.reasons), ZERO) == contrast.denominator_cost
        hours = sum((r.final_gpu_hours for r in contrast.reasons), ZERO)
        assert abs(hours - (after.final.gpu_hours - before.final.gpu_hours)) <= Decimal("0.00001")
        if after.policy.unit == "money":
            assert contrast.denominator_cost == after.denominator - before.denominator
        assert bool(contrast.units) == (after.policy.unit != before.policy.unit)


@pytest.mark.parametrize(
    ("policy", "case", "before", "after"),
    [
        ("official-training", "lost", "exploration", "final_training"),
        ("official-training", "training_evaluation", "evaluation", "final_training"),
        ("official-training", "exploration", "exploration", "exploration"),
        ("olmo", "data", "data_generation", "data_generation"),
        ("house", "idle", "shown", "spread"),
        ("house", "shared", "shown", "spread"),
    ],
)
def test_a_reason_names_the_case_and_what_each_of_the_two_says_of_it(
    compared: Comparison, policy: str, case: str, before: str, after: str
) -> None:
    (contrast,) = (each for each in compared.contrasts if each.after == policy)
    (reason,) = (each for each in contrast.reasons if each.case == case)
    assert (reason.before.category, reason.after.category) == (before, after)
    assert reason.cost > 0
    assert reason.before.words
    assert reason.after.words


def test_a_case_that_both_treat_alike_and_one_without_a_job_are_no_reasons(compared: Comparison) -> None:
    named = {contrast.after: {reason.case for reason in contrast.reasons} for contrast in compared.contrasts}
    assert "run" not in set().union(*named.values())
    assert "distillation" not in set().union(*named.values())


def test_a_roll_back_is_cut_out_of_its_job_and_counted_as_each_policy_says(lab: Config) -> None:
    epoch, official = under(lab, "epoch"), under(lab, "official-training")
    lost = {c.role: c for c in epoch.crossings}["lost"]
    assert (lost.category, lost.gpu_hours) == ("exploration", Decimal("300"))  # 12.5 hours on 24 GPUs
    assert {c.category for c in official.crossings if c.role == "lost"} == {"final_training"}


# --- who bears idle and shared --------------------------------------------------------------------------------------------


def test_under_a_policy_that_spreads_the_buckets_are_empty_and_the_total_is_the_same(lab: Config) -> None:
    shown, spread = under(lab, "epoch"), under(lab, "house")
    assert (shown.total, shown.billed_total, shown.charges) == (spread.total, spread.billed_total, spread.charges)
    assert {x.name: x.cost for x in spread.buckets if x.name != "unclassified"} == {"idle": 0, "bill_idle": 0, "shared": 0}
    assert {x.name: x.cost for x in spread.spread} == {x.name: x.cost for x in shown.buckets if x.name != "unclassified"}
    assert sum(x.borne for x in spread.lines) + spread.buckets[-1].borne == sum(x.cost for x in spread.spread)
    for lines in (spread.stages, spread.teams, spread.clusters, spread.crossings, spread.cells):
        assert sum(x.cost for x in lines) == spread.total
    assert spread.gpu_hours == shown.gpu_hours
    hours = under(lab, "house-hours")
    idle = next(x for x in shown.buckets if x.name == "idle")
    assert abs(hours.gpu_hours - shown.gpu_hours - idle.gpu_hours) <= Decimal("0.00001")


def test_a_line_with_borne_money_is_walked_back_to_jobs_and_a_job_to_its_own_lines_and_what_it_bears(lab: Config) -> None:
    spread = under(lab, "house")
    config = load(lab.file)
    reader = Reader(Config(**{**vars(config), "policy": "house"}))
    final = next(x for x in spread.lines if x.name == "final_training")
    listing = reader.explain(MONTH, "final_training", None, None, 3)
    assert isinstance(listing, Listing)
    assert (listing.total, listing.borne) == (final.cost, final.borne)
    assert listing.borne > 0
    job = reader.explain(MONTH, spread.top_jobs[0].job_key, None, None, 3)
    assert isinstance(job, JobExplanation)
    assert job.cost == spread.top_jobs[0].cost
    assert sum(x.part for x in job.lines) == job.cost - job.borne
    idle = reader.explain(MONTH, "idle", None, None, 3)
    assert isinstance(idle, Listing)
    assert f"bear {idle.total} of it" in idle.note
    assert "borne of idle and shared" in rdspend(lab, "explain", job.job.job_key, "--period", "2026-10", "--policy", "house")


def test_the_report_says_who_bears_idle_and_what_100_percent_is_in_its_unit(lab: Config) -> None:
    assert "borne by the jobs, by their cost, and in their lines: idle" in to_markdown(under(lab, "house"))
    olmo = under(lab, "olmo")
    assert f"outside: {olmo.denominator:,.1f} GPU-hours" in to_markdown(olmo)
    document = json.loads(to_json(olmo))["denominator"]
    assert (document["cost"], document["gpu_hours"]) == (None, f"{olmo.denominator:.6f}")


@pytest.mark.parametrize("policy", ALL)
def test_the_report_under_every_policy_fits_its_schema(lab: Config, policy: str) -> None:
    schema = json.loads((ROOT / "docs" / "report.schema.json").read_text())
    jsonschema.validate(json.loads(to_json(under(lab, policy))), schema)


# --- crossed --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("by", [("activity", "outcome"), ("role",), ("stage", "activity", "role")])
def test_jobs_crossed_add_up_to_all_jobs(lab: Config, by: tuple[str, ...]) -> None:
    made = under(lab, "epoch")
    jobs = made.total - sum(x.cost for x in made.buckets if x.name != "unclassified")
    rows = json.loads(to_crossing(made, by, "json"))["rows"]
    assert sum(Decimal(row["cost"]) for row in rows) == jobs
    assert all(set(by) < set(row) for row in rows)
    assert len({tuple(row[name] for name in by) for row in rows}) == len(rows)
    assert to_crossing(made, by, "csv").count("\r\n") == len(rows) + 1


def test_the_page_shows_failed_and_cancelled_work_by_activity(lab: Config) -> None:
    made = under(lab, "epoch")
    page = to_markdown(made)
    failed = sum(c.cost for c in made.crossings if c.category == "exploration" and c.outcome == "failed")
    (row,) = re.findall(r"^\| exploration \| (.*?) \|", page.split("Work that did not complete")[1], re.MULTILINE)
    assert row == f"{failed:,.2f}"


# --- the commands ---------------------------------------------------------------------------------------------------------


def test_the_commands_print_the_policies_all_their_sentences_and_why_two_differ(lab: Config) -> None:
    listed = rdspend(lab, "policy", "list")
    assert all(name in listed for name in available(lab.policies))
    assert "epoch *" in listed
    shown = rdspend(lab, "policy", "show", "olmo")
    assert "Failed runs are development. [Olmo 3]" in shown
    assert len(json.loads(rdspend(lab, "policy", "show", "house", "--format", "json"))["cases"]) == len(DEFAULTS)
    text = rdspend(lab, "policy", "compare", "2026-10", "--policy", "olmo", "--policy", "official-training")
    assert "The two shares are of different things, money (epoch) and GPU-hours (olmo)" in text
    assert "house" not in text
    assert "official-training has it as final_training. The hours of a run are reported whole" in " ".join(text.split())
    found = json.loads(rdspend(lab, "policy", "compare", "2026-10", "--format", "json"))
    assert found["sides"][0]["policy"]["name"] == "epoch"


def test_a_title_can_not_steer_the_terminal(lab: Config) -> None:
    assert lab.policies is not None
    file = lab.policies / "loud.toml"
    file.write_text(HOUSE.replace('"house"', '"loud"').replace('title = "', 'title = "\\u001b[31m', 1))
    try:
        for words in (("show", "loud"), ("list",)):
            text = rdspend(lab, "policy", *words)
            assert "\x1b" not in text
            assert "\\x1b[31m" in text
    finally:
        file.unlink()


def test_an_unknown_policy_is_refused_and_the_known_are_named(lab: Config) -> None:
    for words in (("policy", "compare", "2026-10", "--policy", "epic"), ("report", "--period", "2026-10", "--policy", "epic")):
        assert "found 'epic'; expected one of epoch, eu-gpai" in rdspend(lab, *words, ok=2)
    with pytest.raises(ConfigError, match="expected some of activity, stage, outcome, role"):
        to_crossing(under(lab, "epoch"), ("activity", "team"), "md")
    with pytest.raises(ConfigError, match="--cross with --format xlsx: expected terminal, json, csv or md"):
        to_crossing(under(lab, "epoch"), ("activity",), "xlsx")


def test_a_report_under_another_policy_is_not_published(lab: Config) -> None:
    before = rdspend(lab, "status")
    assert "policy olmo · revision 0" in rdspend(lab, "report", "--period", "2026-10", "--policy", "olmo")
    assert rdspend(lab, "status") == before
