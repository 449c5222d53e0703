"""Proposed rules: right where they were learned and where they were held out, measured without a look at the answers."""

from __future__ import annotations

import subprocess
import sys
import tomllib
from collections.abc import Sequence
from dataclasses import replace
from decimal import Decimal
from pathlib import Path

import pytest
from labelled import Work, write_work

from rdspend.config import load
from rdspend.errors import ConfigError
from rdspend.ledger import Ledger
from rdspend.suggestion import Part, Suggestion, as_toml, suggest, wilson
from rdspend.trial import history
from taggers.rule import Rule

LABEL = "label"


def days(name: str, activity: str, on: Sequence[int], tagger: str = LABEL, **more: object) -> list[Work]:
    return [replace(Work(name, {tagger: activity}, day=day), **more) for day in on]  # type: ignore[arg-type]


# Ten days: six to learn from, four held out.
PLAIN = days("lm-eval-7b", "evaluation", range(1, 11), cost="2") + days("pretrain-7b", "exploration", range(1, 11), cost="10")


def proposed(folder: Path, work: Sequence[Work], precision: float = 0.95) -> Suggestion:
    return suggest(load(write_work(folder, work)), None, None, precision)


def test_rules_are_learned_on_the_earlier_jobs_and_measured_on_the_later(tmp_path: Path) -> None:
    found = proposed(tmp_path, PLAIN)
    assert found.cut == "2026-10-07"
    assert [(p.name, p.when, p.activity) for p in found.proposals] == [
        ("exploration: word pretrain", "contains(text, 'pretrain')", "exploration"),
        ("evaluation: word eval", "contains(text, 'eval')", "evaluation"),
    ]
    first, second = found.proposals
    assert (first.learned.jobs, first.learned.weight, first.held.jobs, first.held.weight) == (6, 60 * 10**9, 4, 40 * 10**9)
    assert (second.learned.jobs, second.held.jobs, second.held.weight) == (6, 4, 8 * 10**9)
    assert (found.learned.jobs, found.held.jobs, found.answered.right_weight, found.failed) == (12, 8, 48 * 10**9, ())
    # Four of four: 4 / (4 + 1.645^2).
    assert second.held.low_by_units == pytest.approx(4 / (4 + 2.7055), abs=1e-4)
    assert second.confidence == 0.59


def test_precision_is_by_money_and_by_observations(tmp_path: Path) -> None:
    """Of four held-out evaluations of 2 USD one was something else, of 30 USD: 6 of 36 USD right, and 3 of 4."""
    work = [w for w in PLAIN if not (w.name == "lm-eval-7b" and w.day == 9)] + days("lm-eval-7b", "inference", [9], cost="30")
    found = proposed(tmp_path, work)
    assert [p.name for p in found.proposals] == ["exploration: word pretrain"]
    (failed,) = found.failed
    assert (failed.name, failed.held.units, failed.held.right_units) == ("evaluation: word eval", 4, 3)
    assert failed.held.by_weight == pytest.approx(6 / 36)
    assert found.before.by_weight == pytest.approx(46 / 76)
    assert [p.name for p in proposed(tmp_path / "low", work, 0.5).proposals] == ["exploration: word pretrain"]


def test_what_was_held_out_has_no_say_in_what_is_tried(tmp_path: Path) -> None:
    """Other answers for the held-out jobs: the same rules are tried, and all of them fail."""
    other = [replace(w, told={LABEL: "inference"}) if w.day >= 7 else w for w in PLAIN]
    one, two = proposed(tmp_path / "one", PLAIN), proposed(tmp_path / "two", other)
    assert [p.when for p in two.failed] == [p.when for p in one.proposals]
    assert [p.learned for p in two.failed] == [p.learned for p in one.proposals]
    assert two.proposals == ()


def test_jobs_after_the_cut_teach_nothing(tmp_path: Path) -> None:
    late = days("serve-chat", "inference", range(7, 11), cost="1000")
    assert "inference" not in as_toml(proposed(tmp_path, PLAIN + late))


def test_final_training_is_never_proposed_and_counts_against_what_is(tmp_path: Path) -> None:
    final = days("olive-70b", "final_training", range(1, 11), cost="1000")
    found = proposed(tmp_path, PLAIN + final)
    assert {p.activity for p in (*found.proposals, *found.failed)} == {"exploration", "evaluation"}
    mixed = days("pretrain-7b", "final_training", range(1, 11), cost="1", user="u2")
    found = proposed(tmp_path / "mixed", PLAIN + mixed)
    assert [(p.when, p.activity) for p in found.proposals] == [
        ("contains(text, 'pretrain') AND user = 'u1'", "exploration"),
        ("contains(text, 'eval')", "evaluation"),
    ]


def test_a_word_is_joined_with_who_or_where_only_where_it_alone_is_not_right(tmp_path: Path) -> None:
    def run(account: str | None, queue: str, activity: str) -> list[Work]:
        return days("run", activity, range(1, 11), account=account, queue=queue)

    found = proposed(
        tmp_path, run("evals", "q", "evaluation") + run("data", "q", "data_generation") + run(None, "r", "inference")
    )
    assert {p.when for p in found.proposals} == {
        "contains(text, 'run') AND account = 'evals'",
        "contains(text, 'run') AND account = 'data'",
        "contains(text, 'run') AND queue = 'r'",
    }


def test_a_family_is_proposed_where_its_words_are_not_enough(tmp_path: Path) -> None:
    words = days("alpha-beta", "evaluation", range(1, 11)) + days("beta-alpha", "inference", range(1, 11))
    assert {p.when for p in proposed(tmp_path, words).proposals} == {"family = 'alpha beta'", "family = 'beta alpha'"}


def test_a_word_is_looked_for_inside_longer_words_as_the_rule_does(tmp_path: Path) -> None:
    found = proposed(tmp_path, PLAIN + days("medieval-chess", "inference", range(1, 11)))
    assert "contains(text, 'eval')" not in {p.when for p in (*found.proposals, *found.failed)}
    assert "family = 'lm eval#b'" in {p.when for p in found.proposals}


def test_jobs_of_one_sweep_are_one_observation(tmp_path: Path) -> None:
    sweep = [w for w in days("sweep-eval", "evaluation", range(1, 3)) for _ in range(20)]
    found = proposed(tmp_path, days("pretrain", "exploration", range(1, 11)) + sweep)
    assert [p.when for p in found.proposals] == ["contains(text, 'pretrain')"]


def test_a_reviewed_family_does_not_prove_itself(tmp_path: Path) -> None:
    """One answer covers a family: its later jobs say the same, whatever the rule. Words are tried on other families."""
    one = days("lm-eval-7b", "evaluation", range(1, 11), tagger="review")
    found = proposed(tmp_path, days("pretrain", "exploration", range(1, 11)) + one)
    assert all("eval" not in p.when for p in found.proposals)
    many = [w for word in "abcdefghijklmnop" for w in days(f"eval-{word * 4}", "evaluation", [1, 9], tagger="review")]
    found = proposed(tmp_path / "many", days("pretrain", "exploration", range(1, 11)) + many)
    (rule,) = (p for p in found.proposals if p.activity == "evaluation")
    assert rule.when == "contains(text, 'eval')"
    assert (rule.learned.units + rule.held.units, rule.learned.jobs + rule.held.jobs) == (16, 32)


def test_the_label_counts_before_the_release_and_rules_and_models_teach_nothing(tmp_path: Path) -> None:
    work = [replace(w, told={LABEL: w.told[LABEL], "lineage": "inference", "rule": "inference"}) for w in PLAIN]
    assert {p.activity for p in proposed(tmp_path, work).proposals} == {"exploration", "evaluation"}
    with pytest.raises(ConfigError, match="0 jobs are labelled"):
        proposed(tmp_path / "none", [replace(w, told={"rule": "inference", "learned": "inference"}) for w in PLAIN])


def test_labelled_jobs_without_money_are_weighed_by_gpu_hours(tmp_path: Path) -> None:
    found = proposed(tmp_path, [replace(w, cost=None, gpus=8) for w in PLAIN])
    assert found.unit == "GPU-hours"
    assert found.amount(found.held.weight) == "64.00 GPU-hours"


def test_a_stage_is_said_where_it_was_told_and_right_on_both_parts(tmp_path: Path) -> None:
    told = [replace(w, told={LABEL: (w.told[LABEL], "evaluation" if "eval" in w.name else "pretraining")}) for w in PLAIN]
    assert [p.stage for p in proposed(tmp_path, told).proposals] == ["pretraining", "evaluation"]
    late = [
        replace(w, told={LABEL: ("exploration", "finetuning")}) if w.name == "pretrain-7b" and w.day > 7 else w for w in told
    ]
    assert [p.stage for p in proposed(tmp_path / "late", late).proposals] == [None, "evaluation"]


@pytest.mark.parametrize("days_told", [[], [3]])
def test_too_little_to_learn_from_and_measure_on_is_said(tmp_path: Path, days_told: list[int]) -> None:
    work = [*days("eval", "evaluation", days_told), Work("x", {})]
    with pytest.raises(ConfigError, match=rf"{len(days_told)} jobs are labelled, too few to learn from some and to measure"):
        proposed(tmp_path, work)


AWKWARD = [
    "it's",
    'a "quoted" name',
    "100%",
    "a_b\\c",
    "line\nbreak",
    "обучение-модели",
    "评测 第3回",
    "\x7fdel\t",
    "[[rule]]",
    "# x",
    "ΑΣ",
    "medieval chess",
]


def test_the_file_is_one_that_the_rule_tagger_takes_and_does_what_was_measured(tmp_path: Path) -> None:
    """Whatever stands in names, the held-out figures are what the tagger answers on the held-out jobs."""
    work = PLAIN + [
        w
        for number, name in enumerate(AWKWARD)
        for called in (name, "one name for all")
        for w in days(called, ("evaluation", "inference")[number % 2], range(1, 11), cost="3", account=name, user=name[::-1])
    ]
    work += [w for name in ("alpha", "alpha-gamma", "gamma") for w in days(name, "exploration", range(1, 11), cost="20")]
    config = load(write_work(tmp_path, work))
    found = suggest(config, None, None, 0.95)
    file = tmp_path / "proposed.toml"
    file.write_text(as_toml(found), encoding="utf-8")
    names = [rule["name"] for rule in tomllib.loads(file.read_text(encoding="utf-8"))["rule"]]
    assert names == [p.name for p in found.proposals]
    assert len(names) > 6
    assert {"contains(text, 'alpha')", "contains(text, 'gamma')"} <= {p.when for p in found.proposals}
    assert any("\x7f" in p.when for p in found.proposals)
    with history(config, None) as (engine, snapshot, _):
        snapshot.view(engine, "jobs", lambda p: p["end_day"] >= str(found.cut))
        jobs = engine.connection.view("jobs")
        answers = dict(Rule(path=str(file)).tag(jobs).project("job_key, activity").fetchall())  # type: ignore[arg-type]
        assert [f.won for f in Rule(path=str(file)).check(jobs)][:-1] == [p.held.jobs for p in found.proposals]  # type: ignore[arg-type]
    truth = {f"c1/{number}": (w.told[LABEL], Decimal(w.cost or 0)) for number, w in enumerate(work, start=1)}
    assert len(answers) == found.answered.jobs
    right = sum(truth[key][1] for key, activity in answers.items() if truth[key][0] == activity)
    assert right * 10**9 == found.answered.right_weight


def test_the_command_writes_a_new_file_and_nothing_else(tmp_path: Path) -> None:
    config = write_work(tmp_path, PLAIN)
    command = [sys.executable, "-P", "-m", "rdspend", "--config", str(config), "rules", "suggest"]
    out = tmp_path / "out.toml"
    printed = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert "# held out: right for 100.0% (at least 60%) of 40.00 USD, 4 jobs; 4 of 4 observations (at least 60%)" in printed
    done = subprocess.run([*command, "--out", str(out)], capture_output=True, text=True, check=True)
    assert done.stdout == f"wrote {out}: 2 rules; next: rdspend rules test {out}\n"
    assert out.read_text() == printed
    refused = subprocess.run([*command, "--out", str(out)], capture_output=True, text=True, check=False)
    assert (refused.returncode, refused.stderr) == (2, f"error: {out}: can't be written: File exists\n")
    assert len(Ledger(tmp_path / "ledger").runs()) == 1


def test_a_lower_bound_is_wilsons() -> None:
    # By hand: (0.9 + 2.7055 / 200 - 1.6449 * sqrt(0.09 / 100 + 2.7055 / 40000)) / (1 + 2.7055 / 100)
    assert wilson(0.9, 100) == pytest.approx(0.8396, abs=1e-4)
    assert wilson(1.0, 10) == pytest.approx(10 / 12.7055, abs=1e-4)
    assert (wilson(0.0, 10), wilson(1.0, 0)) == (pytest.approx(0, abs=1e-9), 0.0)


def test_one_job_with_most_of_the_money_is_hardly_more_than_one_observation() -> None:
    part = Part(jobs=11, units=11, right_units=11, weight=1010, right_weight=1010, squares=1000.0**2 + 10)
    assert part.effective == pytest.approx(1.02, abs=0.01)
    assert part.low_by_weight < 0.3 < part.low_by_units
