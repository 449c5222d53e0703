"""Bounds, intervals and candidates: cases that can be worked out by hand."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from decimal import Decimal
from typing import Any

import numpy as np
import pandas as pd
import pytest
from breakdowns import build

from rdspend import simulated
from rdspend.breakdown import ranking, same_figures
from rdspend.doubt import Amounts, Doubt, doubt, relative_error
from rdspend.draws import DRAWS, PART, Unsure, chances, draw, intent, shares
from rdspend.engine import Engine, empty_select
from rdspend.policy import load_policy
from rdspend.purpose import load
from rdspend.schema import ACTIVITIES, BUCKETS, GPU_PARTS, TABLES, Policy

EPOCH = load_policy("epoch")
TRAIN, DATA, EVAL, FINAL, SERVE = range(5)
MONEY = Decimal(10**9)
HOUR = GPU_PARTS * 3600


@pytest.fixture
def engine() -> Iterator[Engine]:
    with Engine() as engine:
        yield engine


def job(
    family: str, cost: str, activity: str = "unclassified", stage: str = "", *, hours: int = 1, **more: Any
) -> dict[str, Any]:
    """A job; what a tagger said of it: tagger, confidence, chances."""
    return {"family": family, "cost": cost, "activity": activity, "stage": stage, "hours": hours, **more}


def made(engine: Engine, *jobs: dict[str, Any], policy: Policy = EPOCH, estimated: str = "0", room: str | None = None) -> Doubt:
    """The doubt of a month of these jobs alone; `estimated` of exploration."""
    engine.execute(
        "CREATE OR REPLACE TEMP TABLE job_money (job_key VARCHAR, part INTEGER, effective HUGEINT, billed HUGEINT,"
        " basis VARCHAR, gpu_part_seconds HUGEINT, category VARCHAR, stage VARCHAR, role VARCHAR, release VARCHAR,"
        " activity VARCHAR, team VARCHAR, cluster VARCHAR, name VARCHAR, outcome VARCHAR)"
    )
    engine.execute("CREATE OR REPLACE TEMP TABLE cut_job (job_key VARCHAR)")
    for table in ("tags", "families"):
        engine.execute(f"CREATE OR REPLACE TEMP TABLE {table} AS {empty_select(TABLES[table])}")
    sums = dict.fromkeys((*ACTIVITIES, *BUCKETS), Decimal(0))
    for number, each in enumerate(jobs):
        key, nanos = f"c/{number}/0", int(Decimal(each["cost"]) * MONEY)
        hours = each["hours"]
        sums[each["activity"]] += Decimal(hours) if policy.unit == "gpu_hours" else Decimal(each["cost"])
        engine.rows(
            "INSERT INTO job_money VALUES (?, 0, ?, ?, ?, ?, ?, ?, ?, '', ?, ?, 'c', '', 'completed')",
            [
                *(key, nanos, nanos, each.get("basis", "billed"), hours * HOUR, each["activity"], each["stage"]),
                *(each.get("role", ""), each["activity"], each.get("team", "")),
            ],
        )
        engine.rows("INSERT INTO families VALUES ('2026-10', ?, ?)", [key, each["family"]])
        if "tagger" in each or "chances" in each:
            activity = None if each["activity"] == "unclassified" else each["activity"]
            engine.rows(
                "INSERT INTO tags (tagger, end_month, job_key, activity, confidence, chances, evidence, version)"
                " VALUES (?, '2026-10', ?, ?, ?, ?, '', '')",
                [each.get("tagger", "learned"), key, activity, each.get("confidence", 0.5), each.get("chances")],
            )
    whole = sum((sums[name] for name in policy.denominator), Decimal(0))
    guessed = {"exploration": Decimal(estimated)}
    error = relative_error(None if room is None else Decimal(room), Decimal(estimated))
    rank = ranking(t for (t,) in engine.rows("SELECT DISTINCT tagger FROM tags"))
    return doubt(engine, policy, "USD", Amounts(sums, guessed, whole, error), rank)


def ends(found: Doubt, name: str) -> tuple[str, ...]:
    """Low, high, likely low and likely high, with two places."""
    b = found.bounds[name]
    return tuple(f"{end:.2f}" for end in (b.low, b.high, b.likely_low, b.likely_high) if end is not None)


# --- bounds -----------------------------------------------------------------------------------------------------------


def test_a_month_that_no_tagger_looked_at_is_open(engine: Engine) -> None:
    assert ends(made(engine, job("a", "1")), "evaluation")[:2] == ("0.00", "1.00")


def test_what_a_person_said_is_certain(engine: Engine) -> None:
    found = made(
        engine,
        job("main", "60", "final_training", "pretraining", tagger="label", confidence=1.0),
        job("abl", "40", "exploration", "pretraining", tagger="label", confidence=1.0),
    )
    assert ends(found, "final_training") == ("0.60", "0.60", "0.60", "0.60")
    assert ends(found, "exploration") == ("0.40", "0.40", "0.40", "0.40")
    assert found.candidates == ()


def test_unclassified_money_stands_in_the_upper_bound_of_every_share(engine: Engine) -> None:
    found = made(engine, job("a", "50", "evaluation", tagger="label", confidence=1.0), job("b", "50"))
    assert ends(found, "final_training")[:2] == ("0.00", "0.50")
    # All the rest may have been serving, which is outside: then evaluation is all there was.
    assert ends(found, "evaluation")[:2] == ("0.50", "1.00")


def test_what_a_release_may_claim_of_the_unclassified_is_within_the_bounds(engine: Engine) -> None:
    """Under official-training only data that a release claims is data, and 100 % is that and final training."""
    policy = load_policy("official-training")
    found = made(engine, job("a", "25", "final_training", tagger="label", confidence=1.0), job("b", "75"), policy=policy)
    assert ends(found, "final_training")[:2] == ("0.25", "1.00")


def test_all_of_it_unclassified_leaves_every_share_open(engine: Engine) -> None:
    found = made(engine, job("b", "50", chances=None), job("c", "50"))
    for name in ("exploration", "data_generation", "evaluation", "final_training"):
        low, high, likely_low, likely_high = ends(found, name)
        assert (low, high) == ("0.00", "1.00")
        assert float(likely_low) < 0.01
        assert float(likely_high) > 0.4


def test_a_candidate_stands_in_the_upper_bound_of_final_training_by_name(engine: Engine) -> None:
    found = made(
        engine,
        job("quartz#b main · train", "30", "exploration", "pretraining", tagger="learned", confidence=0.9, team="p", hours=9),
        job("eval", "70", "evaluation", tagger="label", confidence=1.0),
    )
    (candidate,) = found.candidates
    assert (candidate.family, candidate.team, candidate.jobs, candidate.cost) == ("quartz#b main · train", "p", 1, Decimal(30))
    assert candidate.gpu_hours == 9
    assert "'main'" in candidate.why
    assert ends(found, "final_training")[:2] == ("0.00", "0.30")
    assert ends(found, "exploration")[:2] == ("0.00", "0.30")
    assert ends(found, "evaluation")[:2] == ("0.70", "0.70")
    assert "1 candidate for a final run" in found.words
    assert "above 30.0 %" in found.words


def test_a_denominator_of_final_training_alone_grows_with_its_candidate(engine: Engine) -> None:
    alone = replace(EPOCH, denominator=("final_training", "evaluation"))
    found = made(
        engine,
        job("quartz main", "30", "exploration", "pretraining", tagger="learned", confidence=0.9),
        job("eval", "70", "evaluation", tagger="label", confidence=1.0),
        policy=alone,
    )
    assert ends(found, "final_training")[:2] == ("0.00", "0.30")
    assert ends(found, "evaluation")[:2] == ("0.70", "1.00")


@pytest.mark.parametrize("tagger", ["label", "review"])
def test_exploration_by_a_person_is_no_candidate(engine: Engine, tagger: str) -> None:
    run = job("quartz main", "30", "exploration", "pretraining", tagger=tagger, confidence=0.99)
    model = job("quartz main", "30", "exploration", "pretraining", tagger="learned", confidence=0.9)
    assert made(engine, run).candidates == ()
    assert made(engine, run, model).candidates == ()
    assert len(made(engine, model).candidates) == 1


def test_the_largest_training_of_a_team_is_a_candidate_and_an_ablation_is_not(engine: Engine) -> None:
    large = {"tagger": "learned", "confidence": 0.9, "team": "p"}
    found = made(
        engine,
        job("exp#", "60", "exploration", "pretraining", hours=60, **large),
        job("abl lr#", "10", "exploration", "pretraining", hours=30, **large),
        job("mix#", "10", "exploration", "pretraining", hours=10, **large),
        job("ablation#", "99", "exploration", "pretraining", hours=99, **(large | {"team": "q"})),
    )
    assert [(c.family, c.team) for c in found.candidates] == [("exp#", "p")]
    assert "60 % of its GPU time" in found.candidates[0].why


def test_a_run_that_a_release_claims_is_no_candidate(engine: Engine) -> None:
    for said in ({"tagger": "lineage", "confidence": 1.0}, {"tagger": "learned", "confidence": 0.6}):
        found = made(engine, job("quartz main", "30", "exploration", "pretraining", role="failed", **said))
        assert found.candidates == ()
        assert ends(found, "exploration") == ("1.00", "1.00", "1.00", "1.00")


@pytest.mark.parametrize(
    ("family", "says"),
    [
        ("quartz#b main · main", True),
        ("quartz sft release · sft", True),
        ("tr#b base · run#b", True),
        ("exp# · train", False),
        ("test recipe · test recipe", False),
        ("run# · pretrain main", False),
        ("abl final lr# · train", False),
        ("maintenance · domain", False),
        ("grpo#b arc c · rl", False),
    ],
)
def test_intent_is_read_from_words_and_not_from_parts_of_them(family: str, says: bool) -> None:
    assert bool(intent(family)) is says


# --- intervals --------------------------------------------------------------------------------------------------------


def test_one_family_goes_one_way_as_a_whole(engine: Engine) -> None:
    half = {"tagger": "rule", "confidence": 0.5}
    sure = job("known", "50", "data_generation", tagger="label", confidence=1.0)
    whole = made(engine, job("e", "50", "evaluation", **half), sure)
    parts = made(engine, *(job("e", "5", "evaluation", **half) for _ in range(10)), sure)
    assert ends(whole, "evaluation") == ends(parts, "evaluation")
    assert ends(whole, "evaluation")[2] == "0.00"
    assert ends(whole, "evaluation")[3] in ("0.50", "1.00")


def test_many_families_that_err_by_themselves_have_a_narrower_interval_than_one(engine: Engine) -> None:
    half = {"tagger": "rule", "confidence": 0.5}
    one = made(
        engine, job("e", "100", "evaluation", **half), job("x", "100", "data_generation", tagger="label", confidence=1.0)
    )
    many = made(
        engine,
        *(job(f"e{n}", "1", "evaluation", **half) for n in range(100)),
        job("x", "100", "data_generation", tagger="label", confidence=1.0),
    )
    width = [float(ends(found, "evaluation")[3]) - float(ends(found, "evaluation")[2]) for found in (one, many)]
    # Of 100 families with one chance in two: 50 more or less 8, and the others leave the denominator now and then.
    assert width[1] < 0.15 < 0.4 < width[0]
    assert float(ends(many, "evaluation")[2]) < 0.27 < float(ends(many, "evaluation")[3])


def test_a_sure_answer_is_seldom_drawn_as_another(engine: Engine) -> None:
    sure = made(
        engine,
        job("e", "50", "evaluation", tagger="rule", confidence=0.97),
        job("x", "50", "data_generation", tagger="label", confidence=1.0),
    )
    assert ends(sure, "evaluation")[2:] == ("0.50", "0.50")


def test_told_chances_decide_where_the_unclassified_go(engine: Engine) -> None:
    found = made(
        engine,
        job("e", "50", chances="evaluation 0.99 exploration 0.01"),
        job("x", "50", "data_generation", tagger="label", confidence=1.0),
    )
    assert ends(found, "evaluation") == ("0.00", "0.50", "0.50", "0.50")
    assert ends(found, "final_training")[2:] == ("0.00", "0.00")


def test_a_review_narrows_the_interval_and_moves_no_other_draw(engine: Engine) -> None:
    open_ = [job(f"f{n}", str(10 + n), chances="evaluation 0.50 exploration 0.40") for n in range(6)]
    known = [job("x", "50", "data_generation", tagger="label", confidence=1.0)]
    before = made(engine, *open_, *known)
    after = made(engine, job("f5", "15", "evaluation", tagger="review", confidence=0.99), *open_[:5], *known)
    width = [float(ends(found, "evaluation")[3]) - float(ends(found, "evaluation")[2]) for found in (before, after)]
    assert width[1] < width[0]


def test_the_error_of_estimates_widens_what_is_estimated(engine: Engine) -> None:
    jobs = (
        job("a", "50", "exploration", tagger="label", confidence=1.0, basis="estimated"),
        job("b", "50", "data_generation", tagger="label", confidence=1.0),
    )
    assert ends(made(engine, *jobs), "exploration")[2:] == ("0.50", "0.50")
    found = made(engine, *jobs, estimated="50", room="10")
    # 50 more or less 10 in nine of ten cases, beside 50: 40/90 to 60/110.
    low, high = (float(end) for end in ends(found, "exploration")[2:])
    assert low == pytest.approx(40 / 90, abs=0.012)
    assert high == pytest.approx(60 / 110, abs=0.012)


def test_an_error_that_is_not_known_is_said_to_be_unknown(engine: Engine) -> None:
    found = made(engine, job("a", "50", "exploration", tagger="label", confidence=1.0, basis="estimated"), estimated="50")
    assert "not known yet" in found.words


def test_credits_below_zero_keep_bounds_in_order(engine: Engine) -> None:
    found = made(engine, job("a", "100", "evaluation", tagger="label", confidence=1.0), job("b", "-20"))
    for name in found.bounds:
        low, high, *likely = (Decimal(end) for end in ends(found, name))
        assert low <= high
        assert likely == sorted(likely)
    assert ends(found, "evaluation")[:2] == ("1.00", "1.25")


def test_a_credit_may_turn_out_otherwise_than_what_it_stands_beside(engine: Engine) -> None:
    found = made(engine, job("a", "50", "evaluation", tagger="label", confidence=1.0), job("b", "100"), job("c", "-40"))
    # All of b was final and the credit exploration: 100 of 110. All of b serving and the credit final: -40 of 10.
    assert ends(found, "final_training")[:2] == ("-4.00", "0.91")
    candidates = made(
        engine,
        job("a", "50", "evaluation", tagger="label", confidence=1.0),
        job("quartz final", "40", "exploration", "pretraining", tagger="rule", confidence=1.0),
        job("onyx final", "-20", "exploration", "pretraining", tagger="rule", confidence=1.0),
    )
    assert ends(candidates, "final_training")[:2] == ("-0.29", "0.57")


def test_a_month_without_jobs_has_no_bounds_and_no_words(engine: Engine) -> None:
    found = made(engine)
    assert (dict(found.bounds), found.candidates, found.words) == ({}, (), "")


def test_shares_of_gpu_hours_are_drawn_from_gpu_hours(engine: Engine) -> None:
    hours = replace(EPOCH, unit="gpu_hours")
    found = made(
        engine,
        job("a", "0", "evaluation", tagger="label", confidence=1.0, hours=30),
        job("b", "0", hours=70, chances="data_generation 1.00"),
        policy=hours,
    )
    assert ends(found, "evaluation")[:2] == ("0.30", "1.00")
    assert ends(found, "data_generation") == ("0.00", "0.70", "0.70", "0.70")
    assert "70 GPU-hours unclassified" in found.words


def test_the_same_figures_give_the_same_draws_in_any_order_of_the_rows(engine: Engine) -> None:
    jobs = [job(f"f{n}", str(1 + n), chances=f"evaluation 0.{10 + n} exploration 0.50", team="p") for n in range(40)]
    assert made(engine, *jobs) == made(engine, *reversed(jobs)) == made(engine, *jobs)


def rows(amounts: Sequence[int], activity: int = -1, told: Sequence[int] = (0, 0, 0, 0, 0), confidence: int = 0) -> Unsure:
    count = len(amounts)
    return Unsure(
        family=[f"f{n}" for n in range(count)],
        amount=np.array(amounts, np.int64),
        estimated=np.zeros(count, np.int64),
        activity=np.full(count, activity),
        confidence=np.full(count, confidence),
        told=np.tile(np.array(told, np.int64), (count, 1)),
        model=np.zeros(count, bool),
        final=np.zeros(count, np.int64),
    )


def test_an_answer_keeps_its_confidence_and_the_others_share_the_rest() -> None:
    told = (600_000, 300_000, 100_000, 0, 0)
    assert chances(rows([1], TRAIN, told, 800_000)).tolist() == [[800_000, 150_000, 50_000, 0, 0]]
    assert chances(rows([1], TRAIN, (0, 0, 0, 0, 0), 700_000)).tolist() == [[700_000, 100_000, 100_000, 0, 100_000]]
    assert chances(rows([1], -1, (0, 0, 0, 0, 0))).tolist() == [[250_000, 250_000, 250_000, 0, 250_000]]


def test_half_of_training_that_may_be_final_is_drawn_as_final() -> None:
    open_ = replace(rows([1], TRAIN, (PART, 0, 0, 0, 0), 800_000), final=np.array([500_000]))
    (said,) = chances(open_).tolist()
    assert (said[TRAIN], said[FINAL]) == (400_000, 400_000)


def test_no_draw_makes_or_loses_money() -> None:
    amounts = [10**12 + n for n in range(3000)]
    drawn = draw(rows(amounts, EVAL, (0, 0, 0, 0, 0), 600_000))
    assert drawn.shape == (DRAWS, len(ACTIVITIES))
    assert np.allclose(drawn.sum(axis=1), sum(amounts), rtol=1e-9)


def test_small_families_beyond_the_largest_vary_as_they_would_one_by_one() -> None:
    drawn = draw(rows([1000] * 4000, EVAL, (0, 0, 0, 0, 0), 600_000))[:, EVAL]
    assert drawn.mean() == pytest.approx(2_400_000, rel=0.01)
    assert drawn.std() == pytest.approx(1000 * (4000 * 0.6 * 0.4) ** 0.5, rel=0.1)


def test_no_share_is_drawn_of_nothing() -> None:
    drawn = draw(rows([5], EVAL, (0, 0, 0, 0, 0), 500_000))
    assert shares(drawn, {}, ACTIVITIES, ("final_training",)) == {}


# --- revisions --------------------------------------------------------------------------------------------------------


def test_a_breakdown_published_before_there_were_intervals_still_compares() -> None:
    old = build()
    lines = tuple(
        replace(line, share_high=Decimal("0.9"), likely_low=Decimal(0), likely_high=Decimal(1)) if line.share else line
        for line in old.lines
    )
    new = replace(old, lines=lines, doubt="Final training is ...")
    other = replace(new, lines=tuple(replace(line, likely_high=Decimal("0.5")) if line.share else line for line in lines))
    assert same_figures(old, new)
    assert not same_figures(new, other)
    assert not same_figures(old, replace(new, total=new.total + 1))


# --- how often they hold ----------------------------------------------------------------------------------------------


@pytest.mark.scale
def test_intervals_cover_the_truth_of_simulated_months_as_often_as_the_gates_ask() -> None:
    found = simulated.months(load())
    assert found.months == 200
    assert simulated.gates(found) == []
    assert set(found.by_share) == set(simulated.SHARES)


def test_a_coverage_outside_the_gates_is_missed() -> None:
    found = [simulated.Coverage(200, covered, {}, {}) for covered in (0.8, 0.9, 0.99)]
    assert [len(simulated.gates(each)) for each in found] == [1, 0, 1]


def test_the_halves_that_were_fitted_to_are_not_those_that_intervals_are_tried_on() -> None:
    labs = {f"lab-{name}-7": pd.DataFrame({"name": [name]}) for name in ("quartz", "rhein", "cluster", "east")}
    owners = {f"o{n}": pd.DataFrame({"name": [f"o{n}"]}) for n in range(8)}
    tried, fitted = ({str(each["name"][0]) for each in simulated.tried(labs, owners, half)} for half in (False, True))
    assert not tried & fitted
    assert tried == {"cluster", "east", "o1", "o3", "o5", "o7"}
