"""Where most of the spend goes, what each step cost, and which public figures mean the same: figures a person can add up."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import replace
from decimal import Decimal
from pathlib import Path

import pytest
from click.testing import CliRunner
from organisations import write_organisation

from rdspend import pareto, public_figures, workload
from rdspend.cli import main
from rdspend.engine import Engine
from rdspend.errors import ConfigError
from rdspend.policy import load_policy
from rdspend.schema import GPU_PARTS, NANOS

HOUR = GPU_PARTS * 3600

# job, part, category, stage, team, project, user, family, cost, GPU-hours
JOBS: tuple[tuple[str, int, str, str, str, str, str, str, int, int], ...] = (
    ("c/1/1", 0, "final_training", "pretraining", "base", "lion", "ann", "run#", 500, 50),
    ("c/2/1", 0, "exploration", "pretraining", "base", "lion", "bo", "abl#", 200, 20),
    ("c/3/1", 0, "exploration", "finetuning", "post", "", "bo", "sft#", 90, 9),
    ("c/4/1", 0, "evaluation", "evaluation", "evals", "suite", "cy", "eval#", 60, 6),
    ("c/5/1", 0, "unclassified", "", "evals", "suite", "cy", "", 30, 3),
    ("api/6/1", 0, "data_generation", "", "data", "web", "key", "gpt", 20, 0),
    ("api/7/1", 0, "inference", "", "data", "coding agents", "key", "gpt", 10, 0),
    ("c/8/1", 0, "exploration", "pretraining", "base", "credit", "bo", "abl#", -10, 0),
)
TOKENS = (("api/6/1", "input", 6_000_000), ("api/6/1", "output", 2_000_000), ("api/7/1", "cached_input", 1_000_000))
BUCKETS = (("idle", "c", 100, 10), ("shared", "", 50, 0))


@pytest.fixture
def engine() -> Iterator[Engine]:
    with Engine() as made:
        fill(made)
        yield made


def fill(engine: Engine, jobs: Sequence[tuple[object, ...]] = JOBS) -> None:
    run = engine.connection.execute
    run(
        "CREATE TABLE job_money (job_key VARCHAR, part INT, category VARCHAR, stage VARCHAR, team VARCHAR, name VARCHAR,"
        " cluster VARCHAR, effective HUGEINT, gpu_part_seconds HUGEINT)"
    )
    run('CREATE TABLE jobs (job_key VARCHAR, project VARCHAR, "user" VARCHAR, command VARCHAR, labels MAP(VARCHAR, VARCHAR))')
    run("CREATE TABLE families (job_key VARCHAR, family VARCHAR)")
    run("CREATE TABLE tokens (job_key VARCHAR, kind VARCHAR, tokens BIGINT)")
    run("CREATE TABLE cell (category VARCHAR, cluster VARCHAR, effective HUGEINT, gpu_part_seconds HUGEINT)")
    for key, part, category, stage, team, project, user, family, cost, hours in jobs:
        cluster = str(key).split("/")[0]
        values = [key, part, category, stage, team, family, cluster, int(str(cost)) * NANOS, int(str(hours)) * HOUR]
        run("INSERT INTO job_money VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)", values)
        run("INSERT INTO jobs VALUES (?, ?, ?, 'go', MAP {})", [key, project or None, user])
        run("INSERT INTO families VALUES (?, ?)", [key, family or None])
    for row in TOKENS:
        run("INSERT INTO tokens VALUES (?, ?, ?)", list(row))
    for category, cluster, cost, hours in BUCKETS:
        run("INSERT INTO cell VALUES (?, ?, ?, ?)", [category, cluster, cost * NANOS, hours * HOUR])


# --- Pareto -----------------------------------------------------------------------------------------------------------


def test_the_groups_are_the_fewest_that_hold_the_part(engine: Engine) -> None:
    pareto.gather(engine)
    found = pareto.find(engine, ("activity",))
    # 1,050 in all: 500, then exploration's 280, 780, idle's 100, 880: the first 840 need three.
    assert [(row.names, row.cost) for row in found.rows] == [
        (("final_training",), Decimal(500)),
        (("exploration",), Decimal(280)),
        (("idle",), Decimal(100)),
    ]
    assert (found.needed, found.groups) == (3, 8)
    assert found.rows[-1].cumulative == Decimal("0.838095")


def test_groups_below_zero_are_never_needed(engine: Engine) -> None:
    pareto.gather(engine)
    found = pareto.find(engine, ("project",), Decimal(1))
    # 1,060 without the credit; the dearest 1,050 of it are the total.
    assert [row.names for row in found.rows] == [("lion",), ("(idle)",), ("",), ("suite",), ("(shared)",), ("web",)]
    assert found.rows[-1].cumulative == 1


def test_a_crossing_has_names_in_its_order_and_hours_and_jobs(engine: Engine) -> None:
    pareto.gather(engine)
    found = pareto.find(engine, ("team", "user"), Decimal("0.5"))
    (first,) = [row for row in found.rows if row.names == ("base", "ann")]
    assert (first.gpu_hours, first.jobs, first.cost) == (Decimal(50), 1, Decimal(500))


def test_a_limit_keeps_the_count(engine: Engine) -> None:
    pareto.gather(engine)
    found = pareto.find(engine, ("activity",), limit=1)
    assert (len(found.rows), found.needed) == (1, 3)


def test_equal_groups_come_in_the_order_of_their_names(engine: Engine) -> None:
    engine.execute("UPDATE job_money SET effective = 7")
    pareto.gather(engine)
    names = [row.names for row in pareto.find(engine, ("family",), Decimal(1)).rows]
    assert names == sorted(
        names, key=lambda each: (-{"(idle)": 100, "(shared)": 50, "abl#": 14, "gpt": 14}.get(each[0], 7), each)
    )


@pytest.mark.parametrize("wrong", [("colour",), (), ("team", "team")])
def test_a_grouping_that_is_none_is_refused(engine: Engine, wrong: tuple[str, ...]) -> None:
    pareto.gather(engine)
    with pytest.raises(ConfigError, match="expected one or more of activity, stage, team"):
        pareto.find(engine, wrong)


@pytest.mark.parametrize("share", ["NaN", "0", "-0.1", "1.01", "Infinity"])
def test_a_share_that_can_not_be_meant_is_refused(engine: Engine, share: str) -> None:
    with pytest.raises(ConfigError, match="share: found"):
        pareto.find(engine, ("activity",), Decimal(share))


def test_the_smallest_share_is_held_by_the_dearest_group(engine: Engine) -> None:
    pareto.gather(engine)
    found = pareto.find(engine, ("activity",), Decimal("0.00000001"))
    assert (found.needed, found.rows[0].names) == (1, ("final_training",))


def test_credits_above_cost_have_no_groups(engine: Engine) -> None:
    engine.execute("UPDATE job_money SET effective = -effective")
    engine.execute("DELETE FROM cell")
    pareto.gather(engine)
    assert pareto.find(engine, ("activity",)).rows == ()


# --- steps ------------------------------------------------------------------------------------------------------------


def test_every_nano_of_the_jobs_is_in_one_step(engine: Engine) -> None:
    found = workload.found(engine)
    assert sum(line.gpu_cost + line.api_cost for line in found) == Decimal(sum(job[8] for job in JOBS))
    assert [line.step for line in found] == ["data", "evaluation", "fine_tuning", "training", "agents", "unclassified"]


def test_tokens_have_a_price_where_they_are_known(engine: Engine) -> None:
    of = {line.step: line for line in workload.found(engine)}
    assert (of["data"].tokens, of["data"].tokens_read, of["data"].tokens_written) == (8_000_000, 6_000_000, 2_000_000)
    assert of["data"].cost_per_million_tokens == Decimal("2.5")
    assert of["agents"].cost_per_million_tokens == Decimal(10)
    assert of["training"].cost_per_million_tokens is None
    assert (of["data"].gpu_jobs, of["data"].api_jobs) == (0, 1)


def test_a_job_without_gpus_tokens_and_labels_is_in_the_table_too(engine: Engine) -> None:
    engine.execute("UPDATE jobs SET labels = NULL")
    found = workload.found(engine)
    assert sum(line.gpu_cost + line.api_cost for line in found) == Decimal(sum(job[8] for job in JOBS))


def test_a_job_in_two_parts_has_its_tokens_once(engine: Engine) -> None:
    engine.execute("INSERT INTO job_money VALUES ('api/6/1', 1, 'data_generation', '', 'data', '', 'api', 0, 0)")
    assert {line.step: line.tokens for line in workload.found(engine)}["data"] == 8_000_000


# --- public figures ---------------------------------------------------------------------------------------------------


def test_only_what_is_drawn_alike_stands_beside(engine: Engine) -> None:
    epoch = load_policy("epoch")
    beside = [figure for figure in public_figures.beside(epoch) if not figure.left_out]
    assert {figure.name for figure in beside} == {"OpenAI", "MiniMax", "Z.ai"}
    hours = public_figures.beside(replace(epoch, unit="gpu_hours"))
    assert all(figure.left_out for figure in hours)
    assert "a share of money, not of GPU-hours" in {f.name: f for f in hours}["OpenAI"].left_out


def test_under_a_policy_of_one_s_own_with_the_name_of_another_none_stands_beside() -> None:
    epoch = load_policy("epoch")
    for own in (
        replace(epoch, denominator=(*epoch.denominator, "inference")),
        replace(epoch, idle="spread"),
        replace(epoch, cases=(replace(epoch.cases[0], category="exploration"), *epoch.cases[1:])),
    ):
        found = {figure.name: figure.left_out for figure in public_figures.beside(own)}
        assert found["OpenAI"] == "drawn as by the policy 'epoch' that ships with rdspend, not as by your own of that name"
    in_other_words = replace(epoch, words="the same boundary, said in other words")
    assert any(not figure.left_out for figure in public_figures.beside(in_other_words))


def test_every_public_figure_says_where_it_is_from() -> None:
    for figure in public_figures.beside(load_policy("epoch")):
        assert figure.url.startswith("https://")
        assert figure.certainty in ("read", "quoted", "derived")
        assert 0 < figure.share < 1


# --- the command ------------------------------------------------------------------------------------------------------


def test_top_names_what_most_of_the_spend_went_to(tmp_path: Path) -> None:
    config = str(write_organisation(tmp_path))
    runner = CliRunner()
    assert runner.invoke(main, ["--config", config, "run", "--period", "2026-10"]).exit_code == 0
    told = runner.invoke(main, ["--config", config, "top", "2026-10", "--by", "activity", "--share", "100", "--format", "json"])
    assert told.exit_code == 0, told.output
    found = json.loads(told.output)
    report = json.loads((tmp_path / "reports" / "report.json").read_text())
    known = {line.get("activity", line.get("bucket")): line for line in report["lines"] + report["buckets"]}
    for row in found["rows"]:
        assert Decimal(row["cost"]) == Decimal(known[row["names"][0]]["cost"])
    page = runner.invoke(main, ["--config", config, "top", "2026-10", "--by", "team,family"])
    assert page.exit_code == 0
    assert "hold 80 % of the spend" in page.output
    wrong = runner.invoke(main, ["--config", config, "top", "2026-10", "--by", "colour"])
    assert wrong.exit_code == 2
    assert "colour" in wrong.output
