"""What releases cost: every nano of R&D goes to one release or to the rest, by hand and in worlds drawn at random."""

from __future__ import annotations

import json
import random
import shutil
from collections.abc import Iterable, Iterator
from dataclasses import replace
from decimal import Decimal
from pathlib import Path

import pytest
from click.testing import CliRunner

from rdspend import release_cost
from rdspend.cli import main
from rdspend.engine import Engine
from rdspend.errors import ConfigError
from rdspend.policy import load_policy
from rdspend.release_cost import ASSIGNED
from rdspend.schema import GPU_PARTS, NANOS, ROLES

EPOCH = load_policy("epoch")
HOUR = GPU_PARTS * 3600

# job, project, category, stage, role, releases, nanos
Job = tuple[str, str, str, str, str, str, int]
JOBS: tuple[Job, ...] = (
    ("a", "lion", "final_training", "pretraining", "run", "lion-1,lion-2", 600 * NANOS),
    ("b", "lion", "final_training", "finetuning", "run", "lion-1", 50 * NANOS),
    ("c", "lion", "final_training", "finetuning", "run", "lion-2", 150 * NANOS),
    ("d", "lion", "exploration", "pretraining", "lost", "lion-1", 40 * NANOS),
    ("e", "data", "data_generation", "data", "data", "lion-2", 30 * NANOS),
    ("f", "lion", "evaluation", "evaluation", "evaluation", "lion-1", 20 * NANOS),
    ("g", "lion", "exploration", "pretraining", "", "", 100 * NANOS),  # no release names it: the rule does
    ("h", "puma", "exploration", "pretraining", "", "", 70 * NANOS),  # no release has runs in this project
    ("i", "", "unclassified", "", "", "", 5 * NANOS),
    ("j", "lion", "inference", "serving", "", "", 999 * NANOS),  # outside of the 100 %
)
CLAIMS = (("lion-1", "a", "run", 1), ("lion-2", "a", "run", 3), ("lion-2", "e", "data", 1))


@pytest.fixture
def engine() -> Iterator[Engine]:
    with Engine() as made:
        yield made


def fill(engine: Engine, jobs: Iterable[Job], claims: Iterable[tuple[str, str, str, int]]) -> None:
    run = engine.connection.execute
    run(
        "CREATE OR REPLACE TABLE job_money (job_key VARCHAR, part INT, category VARCHAR, stage VARCHAR, role VARCHAR,"
        " release VARCHAR, effective HUGEINT, gpu_part_seconds HUGEINT)"
    )
    run("CREATE OR REPLACE TABLE jobs (job_key VARCHAR, project VARCHAR, account VARCHAR)")
    run(
        "CREATE OR REPLACE TABLE claims (release VARCHAR, job_key VARCHAR, role VARCHAR, weight BIGINT,"
        " segment_start TIMESTAMPTZ, segment_end TIMESTAMPTZ)"
    )
    run("CREATE OR REPLACE TABLE cut_job (job_key VARCHAR)")
    run("CREATE OR REPLACE TABLE cell (category VARCHAR, effective HUGEINT)")
    for key, project, category, stage, role, releases, nanos in jobs:
        values = [key, category, stage, role, releases, nanos, nanos * HOUR // NANOS]
        run("INSERT INTO job_money VALUES (?, 0, ?, ?, ?, ?, ?, ?)", values)
        run("INSERT INTO jobs VALUES (?, ?, NULL)", [key, project or None])
    for claim in claims:
        run("INSERT INTO claims VALUES (?, ?, ?, ?, NULL, NULL)", list(claim))


def costs(engine: Engine) -> release_cost.ReleaseCosts:
    release_cost.gather(engine)
    return release_cost.cost(engine, "2026-10", EPOCH, "USD")


def parts(of: release_cost.ReleaseCost) -> dict[tuple[str, str], Decimal]:
    return {(line.part, line.stage): line.cost for line in of.lines}


def test_a_release_has_its_own_its_part_of_what_is_shared_and_what_the_rule_gives(engine: Engine) -> None:
    fill(engine, JOBS, CLAIMS)
    one, two = costs(engine).releases
    # 600 are cut 1 : 3; its projects' unclaimed 100 by own runs of 200 and 600.
    assert parts(one) == {
        ("own runs", "pretraining"): Decimal(150),
        ("own runs", "finetuning"): Decimal(50),
        ("lost work", ""): Decimal(40),
        ("evaluation", ""): Decimal(20),
        (ASSIGNED, ""): Decimal(25),
    }
    assert parts(two)["own runs", "pretraining"] == Decimal(450)
    assert parts(two)["data", ""] == Decimal(30)
    assert parts(two)[ASSIGNED, ""] == Decimal(75)
    assert (one.own_runs, one.claimed, one.total, one.multiple) == (200, 260, 285, Decimal("1.42"))


def test_releases_and_the_rest_are_all_of_research_and_development(engine: Engine) -> None:
    fill(engine, JOBS, CLAIMS)
    found = costs(engine)
    assert found.rest == Decimal(75)  # puma's and what nobody could classify
    assert sum((each.total for each in found.releases), found.rest) == found.total == Decimal(1065)


def test_a_claimed_job_outside_of_the_denominator_is_said_apart(engine: Engine) -> None:
    fill(engine, [*JOBS, ("k", "lion", "inference", "serving", "evaluation", "lion-1", NANOS)], CLAIMS)
    found = costs(engine)
    assert (found.outside, found.total) == (Decimal(1), Decimal(1065))


def test_what_a_job_is_to_each_release_is_its_own_claim(engine: Engine) -> None:
    jobs: list[Job] = [("a", "p", "final_training", "pretraining", "run", "x,y", 10 * NANOS)]
    fill(engine, jobs, [("x", "a", "run", 1), ("y", "a", "data", 1)])
    found = {each.release: parts(each) for each in costs(engine).releases}
    assert found == {"x": {("own runs", "pretraining"): Decimal(5)}, "y": {("data", ""): Decimal(5)}}


def test_a_month_without_releases_is_all_rest(engine: Engine) -> None:
    fill(engine, [job for job in JOBS if not job[5]], ())
    found = costs(engine)
    assert (found.releases, found.rest) == ((), found.total)
    with pytest.raises(ConfigError, match="releases with money there: none"):
        release_cost.of(found, "lion-1")


def test_money_of_nobody_inside_the_policys_whole_is_in_the_rest(engine: Engine) -> None:
    fill(engine, JOBS, CLAIMS)
    engine.connection.execute(
        f"INSERT INTO cell VALUES ('idle', {11 * NANOS}), ('exploration', {10**15}), ('shared', {-2 * NANOS})"
    )
    release_cost.gather(engine)
    whole = replace(EPOCH, denominator=(*EPOCH.denominator, "idle", "shared"))
    found = release_cost.cost(engine, "2026-10", whole, "USD")
    assert (found.total, found.rest) == (Decimal(1065 + 9), Decimal(75 + 9))


def test_each_segment_has_its_own_weights(engine: Engine) -> None:
    fill(engine, [("a", "p", "final_training", "pretraining", "run", "A,B", 120 * NANOS)], ())
    run = engine.connection.execute
    run("INSERT INTO job_money SELECT * REPLACE (1 AS part) FROM job_money")
    run("INSERT INTO cut_job VALUES ('a')")
    run(
        "CREATE OR REPLACE TABLE job_span AS SELECT 'a' AS job_key, x AS part, x * 10 AS s, x * 10 + 10 AS e FROM range(2) t(x)"
    )
    middle = "make_timestamptz(10)"
    for release, weight, times in (("A", 1, f"NULL, {middle}"), ("A", 9, f"{middle}, NULL"), ("B", 1, "NULL, NULL")):
        run(f"INSERT INTO claims VALUES ('{release}', 'a', 'run', {weight}, {times})")
    assert {each.release: each.total for each in costs(engine).releases} == {"A": Decimal(60 + 108), "B": Decimal(60 + 12)}


def test_the_command_adds_up_to_the_published_table(tmp_path: Path) -> None:
    example = Path(__file__).parents[1] / "docs" / "examples" / "public-splits" / "smollm3"
    shutil.copytree(example, tmp_path / "lab")
    config = ["--config", str(tmp_path / "lab" / "rdspend.toml")]
    runner = CliRunner()
    assert runner.invoke(main, [*config, "run", "--period", "2025"]).exit_code == 0
    told = runner.invoke(main, [*config, "release", "cost", "--format", "json"])
    assert told.exit_code == 0, told.output
    found = json.loads(told.output)
    (only,) = found["releases"]
    hours = {line["part"]: Decimal(line["gpu_hours"]) for line in only["lines"]}
    # Main run, reset and debugging; the ablations of both stages are of its project.
    assert hours == {"own runs": 276_480, "dead ends": 46_080, ASSIGNED: 69_120 + 46_080}
    assert sum(hours.values()) == 437_760
    assert Decimal(only["total"]) + Decimal(found["no_release_explains"]) == Decimal(found["total"])
    page = runner.invoke(main, [*config, "release", "cost", only["release"]])
    assert "1.58 times its own runs" in page.output
    unknown = runner.invoke(main, [*config, "release", "cost", "gpt-9"])
    assert unknown.exit_code == 2
    assert only["release"] in unknown.output


@pytest.mark.parametrize("seed", range(25))
def test_nothing_is_lost_whatever_the_weights_and_signs(engine: Engine, seed: int) -> None:
    draw = random.Random(seed)
    names = ["r1", "r2", "r3"]
    jobs: list[Job] = []
    claims = []
    for number in range(30):
        claimed = sorted(draw.sample(names, draw.randrange(4)))
        role = draw.choice(list(ROLES)) if claimed else ""
        category = draw.choice([*EPOCH.denominator, "inference"])
        jobs.append(
            (
                f"j{number}",
                draw.choice(["", "p", "q"]),
                category,
                "pretraining",
                role,
                ",".join(claimed),
                draw.randrange(-(10**12), 10**13),
            )
        )
        claims += [(name, f"j{number}", role, draw.randrange(1, 8)) for name in claimed]
    fill(engine, jobs, claims)
    found = costs(engine)
    expected = Decimal(sum(job[6] for job in jobs if job[2] in EPOCH.denominator)).scaleb(-9)
    assert found.total == expected
    assert sum((each.total for each in found.releases), found.rest) - found.outside == expected
