"""Dry runs of rules: what moves is what the taggers' order leaves to the rules, in money, and nothing is written."""

from __future__ import annotations

import json
import subprocess
import sys
from decimal import Decimal
from pathlib import Path

import pytest
from labelled import Work, write_work
from organisations import write_organisation

from rdspend.config import load
from rdspend.errors import ConfigError
from rdspend.ledger import Ledger
from rdspend.period import parse_period
from rdspend.pipeline import Pipeline
from rdspend.trial import Amount, Trial, dry_run

RULE = '[taggers.rule]\npath = "rules.toml"\n'


def rule(name: str, when: str, said: str, more: str = "") -> str:
    return f'[[rule]]\nname = "{name}"\nwhen = "{when}"\n{said}\n{more}\n'


def tried(
    config: Path, text: str, *, period: str | None = None, currency: str | None = None, tagger: str | None = None
) -> Trial:
    file = config.parent / "new.toml"
    file.write_text(text)
    return dry_run(load(config), file, parse_period(period) if period else None, currency, tagger)


def moves(found: Trial) -> list[tuple[str, str, str, int, str]]:
    return [(m.team, m.before, m.after, m.amount.jobs, f"{m.amount.cost:.2f}") for m in found.moves]


def amount(jobs: int, cost: str, hours: str) -> Amount:
    return Amount(jobs, Decimal(cost), Decimal(hours))


NEW = (
    rule("x", "name LIKE '%run' OR name = 'mystery'", 'activity = "data_generation"')
    + rule("y", "account = 'evals' OR account = 'pretrain'", 'activity = "inference"', "shadow = true")
    + rule("z", "name LIKE '%ablation%'", 'activity = "exploration"\nstage = "other"')
)


def test_what_moves_is_counted_by_team_and_class_to_the_last_digit(tmp_path: Path) -> None:
    """A GPU-hour of the small lab costs 12.29: 98.32 a node hour, 8 GPUs a node."""
    config = write_organisation(tmp_path)
    Pipeline(load(config)).run(parse_period("2026-10"))
    found = tried(config, NEW)
    assert (found.period, found.currency, found.tagger) == ("2026-10", "USD", "rule")
    assert found.everything == amount(5, "4768.52", "388")
    assert moves(found) == [
        ("evals", "evaluation", "unclassified", 1, "294.96"),
        ("evals", "unclassified", "data_generation", 1, "147.48"),
    ]
    assert found.moved == amount(2, "442.44", "36")
    assert found.stage_only == amount(1, "983.20", "80")
    assert found.overruled == amount(1, "2359.68", "192")
    assert [(job.name, job.before, job.after, job.evidence) for job in found.largest] == [
        ("lm-eval-mmlu", "evaluation", "unclassified", ""),
        ("mystery", "unclassified", "data_generation", "rule 'x' (new.toml:1): name LIKE '%run' OR name = 'mystery'"),
    ]
    assert [(s.rule[:3], s.before, s.after, s.amount.jobs, f"{s.amount.cost:.2f}") for s in found.shadows] == [
        ("'y'", "exploration", "inference", 1, "983.20"),
        ("'y'", "unclassified", "inference", 1, "294.96"),
    ]


def test_both_sides_add_up_to_all_the_money(tmp_path: Path) -> None:
    config = write_organisation(tmp_path)
    Pipeline(load(config)).run(parse_period("2026-10"))
    found = tried(config, NEW)
    assert {side.category: (side.before.jobs, side.after.jobs) for side in found.sides} == {
        "data_generation": (1, 2),
        "evaluation": (1, 0),
        "exploration": (1, 1),
        "final_training": (1, 1),
        "unclassified": (1, 1),
    }
    for sums in ([side.before for side in found.sides], [side.after for side in found.sides]):
        assert sum(each.cost for each in sums) == found.everything.cost
        assert sum(each.gpu_hours for each in sums) == found.everything.gpu_hours


def test_the_dry_run_says_what_the_ledger_then_says(tmp_path: Path) -> None:
    config = write_organisation(tmp_path)
    Pipeline(load(config)).run(parse_period("2026-10"))
    before = tried(config, NEW)
    (tmp_path / "rules.toml").write_text(NEW)
    Pipeline(load(config)).run(parse_period("2026-10"))
    after = tried(config, NEW)
    assert after.moves == ()
    assert {s.category: s.before for s in after.sides} == {s.category: s.after for s in before.sides if s.after.jobs}


def test_nothing_is_written(tmp_path: Path) -> None:
    config = write_organisation(tmp_path)
    Pipeline(load(config)).run(parse_period("2026-10"))
    (tmp_path / "new.toml").write_text(NEW)
    files = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")}
    tried_by_hand = [
        sys.executable,
        "-P",
        "-m",
        "rdspend",
        "--config",
        str(config),
        "rules",
        "test",
        str(tmp_path / "new.toml"),
    ]
    done = subprocess.run([*tried_by_hand, "--format", "json"], capture_output=True, text=True, check=True)
    shown = subprocess.run(tried_by_hand, capture_output=True, text=True, check=True)
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")} == files
    assert len(Ledger(tmp_path / "ledger").runs()) == 1
    assert json.loads(done.stdout)["moved"] == {"jobs": 2, "cost": "442.440000000", "gpu_hours": "36.000000"}
    assert "2 jobs (442.44 USD, 36.0 GPU-hours) would change class" in shown.stdout


ALL = rule("all", "true", 'activity = "evaluation"')


@pytest.mark.parametrize(
    ("told", "before", "after"),
    [
        ({}, "unclassified", "evaluation"),
        ({"rule": "inference"}, "inference", "evaluation"),
        ({"label": "inference"}, "inference", "inference"),
        ({"lineage": "final_training", "rule": "exploration"}, "final_training", "final_training"),
        ({"review": "exploration"}, "exploration", "exploration"),
        ({"learned": "inference"}, "inference", "evaluation"),
        ({"external": "inference", "learned": "exploration"}, "exploration", "evaluation"),
        ({"label": (None, "data"), "rule": "inference"}, "inference", "evaluation"),
    ],
)
def test_a_tagger_above_keeps_its_word_and_one_below_does_not(
    tmp_path: Path, told: dict[str, object], before: str, after: str
) -> None:
    config = write_work(tmp_path, [Work("x", told)], RULE)
    found = tried(config, ALL)
    sides = {side.category: (side.before.jobs, side.after.jobs) for side in found.sides}
    assert sides == ({before: (1, 1)} if before == after else {before: (1, 0), after: (0, 1)})


def test_a_tagger_below_answers_again_where_the_file_says_nothing(tmp_path: Path) -> None:
    config = write_work(tmp_path, [Work("x", {"rule": "inference", "learned": "exploration"})], RULE)
    assert moves(tried(config, "")) == [("team", "inference", "exploration", 1, "1.00")]


def test_only_the_money_of_the_period_and_of_one_currency_counts(tmp_path: Path) -> None:
    work = [
        Work("x", {}, cost="1"),
        Work("x", {}, cost="2", month="2026-09"),
        Work("x", {}, cost="4", currency="EUR"),
        Work("x", {}, cost=None),
    ]
    config = write_work(tmp_path, work, RULE)
    with pytest.raises(ConfigError, match="EUR, USD"):
        tried(config, ALL)
    assert tried(config, ALL, currency="USD").moved == amount(3, "3", "3")
    assert tried(config, ALL, currency="EUR").moved == amount(2, "4", "2")
    assert tried(config, ALL, period="2026-09").moved == amount(1, "2", "1")
    assert tried(config, ALL, currency="USD").period == "2026-09..2026-10"


def test_one_of_several_rule_taggers_is_chosen_by_name(tmp_path: Path) -> None:
    several = '[taggers.rule.a]\npath = "a.toml"\n[taggers.rule.b]\npath = "b.toml"\n'
    config = write_work(tmp_path, [Work("x", {"rule.a": "inference"}), Work("y", {"rule.b": "inference"})], several)
    with pytest.raises(ConfigError, match=r"choose rule\.a, rule\.b with --tagger"):
        tried(config, ALL)
    with pytest.raises(ConfigError, match=r"--tagger 'rule'"):
        tried(config, ALL, tagger="rule")
    assert moves(tried(config, ALL, tagger="rule.a")) == [("team", "inference", "evaluation", 2, "2.00")]
    assert moves(tried(config, ALL, tagger="rule.b")) == [("team", "inference", "evaluation", 1, "1.00")]


def test_without_a_rule_tagger_the_file_is_tried_as_if_there_were_one(tmp_path: Path) -> None:
    config = write_work(tmp_path, [Work("x", {}), Work("y", {"learned": "inference"})])
    assert tried(config, ALL).moved.jobs == 2


def test_a_starter_set_after_the_own_rules_stays_there(tmp_path: Path) -> None:
    config = write_work(tmp_path, [Work("lm-eval-mmlu", {})], RULE)
    assert tried(config, "").moved.jobs == 0
    config.write_text(config.read_text() + "starter = true\n")
    assert moves(tried(config, "")) == [("team", "unclassified", "evaluation", 1, "1.00")]


def test_a_shadow_rule_is_held_against_what_the_rest_of_the_file_says(tmp_path: Path) -> None:
    work = [Work("a", {}), Work("b", {}), Work("c", {"label": "inference"}), Work("d", {}, cost="8")]
    text = (
        rule("first", "name = 'a'", 'activity = "exploration"')
        + rule("shade", "name IN ('a', 'b', 'c', 'd')", 'activity = "evaluation"', "shadow = true")
        + rule("last", "name = 'd'", 'activity = "evaluation"')
    )
    found = tried(write_work(tmp_path, work, RULE), text)
    assert [(s.before, s.after, s.amount.jobs, f"{s.amount.cost:.0f}") for s in found.shadows] == [
        ("evaluation", "evaluation", 1, "8"),
        ("inference", "inference", 1, "1"),
        ("unclassified", "evaluation", 1, "1"),
    ]
    assert found.moved == amount(2, "9", "2")


def test_an_empty_ledger_and_a_wrong_file_are_said(tmp_path: Path) -> None:
    config = tmp_path / "rdspend.toml"
    config.write_text('ledger = "ledger"\n')
    with pytest.raises(ConfigError, match="holds no finished run"):
        tried(config, ALL)
    config = write_work(tmp_path / "work", [Work("x", {})], RULE)
    with pytest.raises(ConfigError, match=r"new\.toml:3: rule 1 'a': when: `nme = 'x'`: no column 'nme'; did you mean 'name'"):
        tried(config, rule("a", "nme = 'x'", 'stage = "data"'))
    with pytest.raises(ConfigError, match="2026-12: no job of it has money or GPU time"):
        tried(config, ALL, period="2026-12")
