"""The oracle itself, held to examples worked out by hand."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from oracle.attribution_oracle import (
    DAY,
    HOUR,
    PARTS_OF_A_GPU,
    Answer,
    Charge,
    Job,
    Node,
    Placement,
    PoolError,
    PriceError,
    Rate,
    World,
    attribute,
    spread,
)
from oracle.worlds import worlds

NOON = int(datetime(2026, 10, 7, 12, tzinfo=UTC).timestamp())
MIDNIGHT = NOON - 12 * HOUR
GPU = PARTS_OF_A_GPU


def bill(effective: int, resource: str | None = "i-1", start: int = NOON, seconds: int = HOUR, **more: Any) -> Charge:
    more = {"billed": effective, "period": "2026-10", "source": "aws", "currency": "USD", "row": 1, **more}
    return Charge(effective=effective, start=start, end=start + seconds, resource_id=resource, **more)


def node(**more: Any) -> Node:
    return Node(**{"cluster": "c", "node": "n1", "resource_id": "i-1", "gpus": 8, **more})


def placed(job: str, gpus: float, start: int = NOON, end: int | None = NOON + HOUR, **more: Any) -> Placement:
    return Placement(
        **{"job_key": job, "cluster": "c", "node": "n1", "start": start, "end": end, **more}, gpu_parts=int(gpus * GPU)
    )


def world(**more: Any) -> World:
    return World(**{"now": NOON + 2 * DAY, "months": ("2026-10",), **more})


def split(answer: Answer) -> dict[str, int]:
    """Effective nanos by job or bucket."""
    sums: dict[str, int] = {}
    for key, (effective, _) in answer.cut.items():
        name = key.job_key or key.bucket or ""
        sums[name] = sums.get(name, 0) + effective
    return sums


def by_day(answer: Answer, name: str) -> dict[str, int]:
    return {k.day: e for k, (e, _) in sorted(answer.cut.items(), key=lambda i: i[0].day) if name in (k.job_key, k.bucket)}


# --- cutting ----------------------------------------------------------------------------------------------------------


def test_cumulative_cutting_gives_each_slot_what_is_due_so_far_and_loses_nothing() -> None:
    assert spread(10, [1, 1, 1], lambda x: x.__class__(int(x))) == [3, 3, 4]


def test_a_credit_is_cut_toward_zero_like_its_charge() -> None:
    placements = (placed("j", 1, end=NOON + 1200),)  # an eighth of a third of an hour: 1/24
    assert split(attribute(world(charges=(bill(100),), nodes=(node(),), placements=placements))) == {"j": 4, "idle": 96}
    assert split(attribute(world(charges=(bill(-100),), nodes=(node(),), placements=placements))) == {
        "j": -4,
        "idle": -96,
    }


# --- routes -----------------------------------------------------------------------------------------------------------


def test_what_the_bill_calls_unused_is_bill_idle_even_on_a_node_with_jobs() -> None:
    for unused in ({"commitment_status": "Unused"}, {"capacity_status": "Unused"}):
        answer = attribute(world(charges=(bill(80, **unused),), nodes=(node(),), placements=(placed("j", 8),)))
        assert split(answer) == {"bill_idle": 80}
        assert next(iter(answer.cut)).cluster is None


def test_a_job_named_by_the_bill_goes_before_a_node_of_the_same_name() -> None:
    jobs = (Job("j", "c", NOON, NOON + 60, "i-1"),)
    assert split(attribute(world(charges=(bill(80),), nodes=(node(),), jobs=jobs))) == {"j": 80}


def test_a_node_goes_before_a_pool_of_the_same_name() -> None:
    nodes = (node(), node(node="n2", resource_id=None, pool="i-1"))
    placements = (placed("one", 8), placed("two", 8, node="n2"))
    assert split(attribute(world(charges=(bill(80),), nodes=nodes, placements=placements))) == {"one": 80}


def test_runs_of_one_resource_share_its_charge_by_the_seconds_they_overlap() -> None:
    jobs = (
        Job("first", "c", NOON - HOUR, NOON + 900, "arn"),
        Job("second", "c", NOON + 900, None, "arn"),
        Job("later", "c", NOON + DAY, None, "arn"),
        Job("never", "c", None, None, "arn"),
    )
    assert split(attribute(world(charges=(bill(101, "arn"),), jobs=jobs))) == {"first": 25, "second": 76}


def test_a_charge_that_no_run_overlaps_goes_to_the_run_that_started_last() -> None:
    jobs = (Job("late", "c", NOON - HOUR, NOON, "arn"), Job("early", "c", NOON - 9 * HOUR, NOON, "arn"))
    assert split(attribute(world(charges=(bill(101, "arn"),), jobs=jobs))) == {"late": 101}


def test_a_jobs_own_charge_falls_on_the_days_it_ran() -> None:
    jobs = (Job("j", "c", MIDNIGHT + 18 * HOUR, MIDNIGHT + 42 * HOUR, "arn"),)
    answer = attribute(world(charges=(bill(100, "arn", start=MIDNIGHT - DAY, seconds=9 * DAY),), jobs=jobs))
    assert by_day(answer, "j") == {"2026-10-07": 25, "2026-10-08": 75}


def test_shared_money_goes_by_day_evenly_over_its_period() -> None:
    answer = attribute(world(charges=(bill(100, None, start=MIDNIGHT + 23 * HOUR, seconds=3 * HOUR),)))
    assert by_day(answer, "shared") == {"2026-10-07": 33, "2026-10-08": 67}


# --- charges to node-hours --------------------------------------------------------------------------------------------


def test_a_daily_charge_falls_on_the_hours_its_node_was_up() -> None:
    nodes = (node(start=NOON, end=NOON + 2 * HOUR),)  # up two hours of the day: 50 each
    placements = (placed("j", 4, end=NOON + HOUR),)
    charges = (bill(100, start=MIDNIGHT, seconds=DAY),)
    assert split(attribute(world(charges=charges, nodes=nodes, placements=placements))) == {"j": 25, "idle": 75}


def test_a_job_that_holds_a_node_as_long_as_it_is_up_takes_all_of_its_hour() -> None:
    nodes = (node(start=NOON + 1800, end=NOON + 2700),)
    placements = (placed("j", 8, start=NOON, end=NOON + HOUR),)
    assert split(attribute(world(charges=(bill(100),), nodes=nodes, placements=placements))) == {"j": 100}


def test_a_node_that_was_never_up_in_the_period_is_idle_of_the_nearest_records_cluster() -> None:
    nodes = (
        node(cluster="far", start=NOON - DAY, end=NOON - 9 * HOUR),
        node(cluster="near", start=NOON + 2 * HOUR, end=None),
    )
    placements = (placed("j", 8, cluster="near"), placed("k", 8, cluster="far"))
    answer = attribute(world(charges=(bill(100),), nodes=nodes, placements=placements))
    assert split(answer) == {"idle": 100}
    assert next(iter(answer.cut)).cluster == "near"


def test_a_charge_of_half_an_hour_lies_on_the_whole_hour_the_node_was_up() -> None:
    answer = attribute(
        world(charges=(bill(100, seconds=1800),), nodes=(node(),), placements=(placed("j", 8, start=NOON + 1800),))
    )
    assert split(answer) == {"j": 50, "idle": 50}


def test_money_of_a_resource_reaches_only_who_ran_while_the_node_was_it() -> None:
    nodes = (node(end=NOON + 1200), node(start=NOON + 1200, resource_id="i-2"))
    placements = (placed("before", 4, end=NOON + 600), placed("after", 8, start=NOON + 1200))
    charges = (bill(100), bill(1000, "i-2", start=NOON + 1200, seconds=2400, row=2))
    answer = attribute(world(charges=charges, nodes=nodes, placements=placements))
    assert split(answer) == {"before": 25, "after": 1000, "idle": 75}


def test_a_pool_without_gpus_is_spread_by_time_up_alone() -> None:
    nodes = tuple(node(node=name, resource_id=None, pool="p", gpus=0, cpus=4) for name in ("x", "y"))
    placements = (placed("j", 0, node="x", cpus=4),)
    assert split(attribute(world(charges=(bill(100, "p"),), nodes=nodes, placements=placements))) == {"j": 50, "idle": 50}


def test_a_pool_is_spread_over_its_nodes_by_capacity_and_time_up() -> None:
    nodes = (
        node(node="big", resource_id=None, pool="p", gpus=8, start=NOON, end=NOON + 1800),
        node(node="small", resource_id=None, pool="p", gpus=2),
    )
    placements = (placed("b", 8, node="big"), placed("s", 1, node="small"))
    charges = (bill(100, "p"),)  # 8 x 1800 : 2 x 3600 = 2 : 1; the smaller is second and gets what is due up to it
    assert split(attribute(world(charges=charges, nodes=nodes, placements=placements))) == {
        "b": 66,
        "s": 17,
        "idle": 17,
    }


def test_a_pool_of_nodes_of_unknown_capacity_is_spread_by_time_up_alone() -> None:
    nodes = tuple(node(node=name, resource_id=None, pool="p", gpus=None) for name in ("x", "y"))
    placements = (placed("j", 1, node="x"), placed("k", 8, node="y", end=NOON + 60))
    assert split(attribute(world(charges=(bill(100, "p"),), nodes=nodes, placements=placements))) == {"j": 50, "k": 50}


def test_a_pool_of_known_and_unknown_capacity_is_refused() -> None:
    nodes = (node(node="x", pool="p"), node(node="y", pool="p", gpus=None))
    with pytest.raises(PoolError):
        attribute(world(charges=(bill(100, "p"),), nodes=nodes))


# --- node-hours to jobs -----------------------------------------------------------------------------------------------


def test_the_gpu_rule_shares_by_gpu_parts() -> None:
    placements = (placed("third", 1 / 3, cpus=90), placed("two", 2, cpus=1), placed("none", 0, cpus=5))
    answer = attribute(world(charges=(bill(2400),), nodes=(node(cpus=96),), placements=placements))
    assert split(answer) == {"third": 100, "two": 600, "idle": 1700}


def test_a_node_without_gpus_is_shared_by_cpus() -> None:
    answer = attribute(world(charges=(bill(960),), nodes=(node(gpus=0, cpus=96),), placements=(placed("j", 0, cpus=7),)))
    assert split(answer) == {"j": 70, "idle": 890}


def test_the_cpu_rule_falls_back_to_gpus_where_cpus_are_not_known() -> None:
    placements = (placed("known", 1, cpus=24), placed("unknown", 2))
    answer = attribute(world(share_rule="cpu", charges=(bill(800),), nodes=(node(cpus=96),), placements=placements))
    assert split(answer) == {"known": 200, "unknown": 200, "idle": 400}


def test_the_dominant_rule_takes_the_largest_share_in_whole_billionths() -> None:
    placements = (placed("gpu", 4, cpus=1, memory_mib=1), placed("memory", 1, cpus=1, memory_mib=400))
    nodes = (node(cpus=96, memory_mib=1200),)
    charges = (bill(3 * 10**9),)
    answer = attribute(world(share_rule="dominant", charges=charges, nodes=nodes, placements=placements))
    assert split(answer) == {"gpu": 1_500_000_000, "memory": 999_999_999, "idle": 500_000_001}


def test_an_oversubscribed_node_is_rescaled_only_while_it_is_oversubscribed() -> None:
    placements = (placed("all", 8), placed("half", 4, start=NOON + 1800))
    answer = attribute(world(charges=(bill(1200),), nodes=(node(),), placements=placements))
    # first half hour: all takes 600; second: 8 + 4 of 8 GPUs, two thirds and one third of 600
    assert split(answer) == {"all": 1000, "half": 200}
    assert answer.oversubscribed == {("c", "n1")}


def test_a_job_larger_than_its_node_takes_the_node_and_no_more() -> None:
    assert split(attribute(world(charges=(bill(1200),), nodes=(node(gpus=4),), placements=(placed("j", 8),)))) == {"j": 1200}


def test_one_job_after_the_other_does_not_oversubscribe_a_node() -> None:
    placements = (placed("a", 8, end=NOON + 1800), placed("b", 8, start=NOON + 1800))
    answer = attribute(world(charges=(bill(101),), nodes=(node(),), placements=placements))
    assert split(answer) == {"a": 50, "b": 50, "idle": 1}
    assert not answer.oversubscribed


def test_on_a_node_of_unknown_capacity_the_occupied_take_all_and_an_empty_hour_is_idle() -> None:
    placements = (placed("a", 2, end=NOON + 1800), placed("b", 1))
    charges = (bill(90), bill(70, start=NOON + HOUR, row=2))
    assert split(attribute(world(charges=charges, nodes=(node(gpus=None),), placements=placements))) == {
        "a": 45,
        "b": 45,
        "idle": 70,
    }


def test_a_job_that_still_runs_is_charged_up_to_now() -> None:
    now = NOON + 900
    assert split(attribute(world(now=now, charges=(bill(400),), nodes=(node(),), placements=(placed("j", 8, end=None),)))) == {
        "j": 100,
        "idle": 300,
    }


def test_a_job_over_the_end_of_a_month_takes_from_each_months_bill_its_own_hours() -> None:
    border = int(datetime(2026, 11, 1, tzinfo=UTC).timestamp())
    charges = (bill(80, start=border - HOUR), bill(40, start=border, period="2026-11", row=2))
    w = world(months=("2026-10", "2026-11"), now=border + DAY, charges=charges, nodes=(node(),))
    answer = attribute(replace(w, placements=(placed("j", 4, start=border - HOUR, end=border + HOUR),)))
    assert {(k.period, k.day): e for k, (e, _) in answer.cut.items() if k.job_key} == {
        ("2026-10", "2026-10-31"): 40,
        ("2026-11", "2026-11-01"): 20,
    }


def test_sources_and_currencies_are_shared_out_each_by_itself() -> None:
    charges = (bill(15), bill(15, currency="EUR", row=2), bill(15, source="other", row=3), bill(1, row=4))
    answer = attribute(world(charges=charges, nodes=(node(),), placements=(placed("j", 4),)))
    jobs = {(k.source, k.currency): e for k, (e, _) in answer.cut.items() if k.job_key}
    assert jobs == {("aws", "USD"): 8, ("aws", "EUR"): 7, ("other", "USD"): 7}


def test_billed_and_effective_cost_are_shared_each_by_itself() -> None:
    answer = attribute(world(charges=(bill(80, billed=-16),), nodes=(node(),), placements=(placed("j", 4),)))
    assert set(answer.cut.values()) == {(40, -8)}


# --- estimates --------------------------------------------------------------------------------------------------------


def rate(**more: Any) -> Rate:
    return Rate(**{"source": "card", "row": 1, "currency": "USD", **more})


ONE_HOUR = node(start=NOON, end=NOON + HOUR, gpu_type="H100", instance_type="p5", queue="long,short")


def test_an_hour_without_a_bill_is_estimated_and_an_hour_with_one_is_not() -> None:
    nodes = (replace(ONE_HOUR, end=NOON + 2 * HOUR),)
    rates = (rate(gpu_type="H100", price_per_gpu_hour=10),)
    answer = attribute(world(charges=(bill(7),), nodes=nodes, placements=(placed("j", 4, end=NOON + 2 * HOUR),), rates=rates))
    assert {(k.source, k.basis, k.job_key): e for k, (e, _) in answer.cut.items()} == {
        ("aws", "billed", "j"): 3,
        ("aws", "billed", None): 4,
        ("card", "estimated", "j"): 40,
        ("card", "estimated", None): 40,
    }


def test_an_estimate_ends_now_and_with_the_month_and_is_cut_once_a_run_of_hours() -> None:
    rates = (rate(gpu_type="H100", price_per_node_hour=7),)
    nodes = (replace(ONE_HOUR, start=NOON, end=None),)
    # 12:00 to 02:30 of the next day: 12 hours x 7, and 2.5 x 7 = 17.5
    answer = attribute(world(now=NOON + 14 * HOUR + 1800, nodes=nodes, rates=rates))
    assert by_day(answer, "idle") == {"2026-10-07": 84, "2026-10-08": 17}


def test_the_most_specific_price_wins() -> None:
    rates = [
        rate(gpu_type="H100", price_per_node_hour=1),
        rate(instance_type="p5", price_per_node_hour=2),
        rate(queue="short", price_per_node_hour=3),
        rate(node="n1", price_per_node_hour=4),
    ]
    for many in (1, 2, 3, 4):
        assert split(attribute(world(nodes=(ONE_HOUR,), rates=tuple(rates[:many])))) == {"idle": many}


def test_a_price_begins_with_its_first_full_hour_and_ends_before_its_end() -> None:
    rates = (
        rate(node="n1", price_per_node_hour=3, end=NOON + 1),
        rate(node="n1", price_per_node_hour=5, start=NOON + 1),
    )
    assert split(attribute(world(nodes=(replace(ONE_HOUR, end=NOON + 2 * HOUR),), rates=rates))) == {"idle": 8}


@pytest.mark.parametrize(
    "rates",
    [
        (rate(node="other", price_per_node_hour=1),),
        (rate(node="n1", price_per_node_hour=1, end=NOON),),
        (rate(node="n1", price_per_node_hour=1), rate(node="n1", price_per_node_hour=1, row=2)),
        (rate(node="n1", price_per_node_hour=1, cluster="other"),),
    ],
)
def test_a_node_hour_without_one_price_is_refused(rates: tuple[Rate, ...]) -> None:
    with pytest.raises(PriceError):
        attribute(world(nodes=(ONE_HOUR,), rates=rates))


def test_with_unknown_capacity_the_price_of_a_gpu_is_for_the_gpus_that_jobs_held() -> None:
    nodes = (replace(ONE_HOUR, gpus=None, end=NOON + 3 * HOUR),)
    placements = (placed("j", 2), placed("k", 1, start=NOON + HOUR, end=NOON + HOUR + 1800))
    answer = attribute(world(nodes=nodes, placements=placements, rates=(rate(node="n1", price_per_gpu_hour=100),)))
    assert split(answer) == {"j": 200, "k": 50}


# --- any world --------------------------------------------------------------------------------------------------------


@settings(deadline=None, max_examples=100, derandomize=True, suppress_health_check=[HealthCheck.too_slow])
@given(worlds())
def test_the_cut_answer_adds_up_and_is_as_near_the_exact_one_as_its_pieces_allow(w: World) -> None:
    answer = attribute(w)
    for which in (0, 1):
        sums: dict[tuple[str, ...], int] = {}
        for key, amounts in answer.cut.items():
            sums[key[:4]] = sums.get(key[:4], 0) + amounts[which]
        assert {b: s for b, s in sums.items() if s} == {tuple(b): a[which] for b, a in answer.bills.items() if a[which]}
        for key in answer.cut.keys() | answer.exact.keys():
            off = abs(answer.cut.get(key, (0, 0))[which] - answer.exact.get(key, (0, 0))[which])
            assert off <= answer.pieces[key], key
