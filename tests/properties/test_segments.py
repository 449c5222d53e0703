"""A job that is cut at the borders of segments: its parts are the job, to the nano, and each is what ruled there."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, timedelta
from fractions import Fraction
from itertools import pairwise
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from lineages import fill

from rdspend.breakdown import make_parts
from rdspend.engine import Engine

START = datetime(2026, 10, 1, tzinfo=UTC)
DAY = 24 * 60


def minute(number: int | None) -> datetime | None:
    return None if number is None else START + timedelta(minutes=number)


def parts(
    span: tuple[int, int | None],
    days: Mapping[int, tuple[int, int, int]],
    tags: Iterable[tuple[str, str, str | None, int | None, int | None]],
) -> list[tuple[Any, ...]]:
    """Effective, billed, part-seconds, activity, role, stage of each part. A day is (effective, billed, part-seconds)."""
    with Engine() as engine:
        job = {"job_key": "j", "submit_time": minute(span[0]), "start_time": minute(span[0]), "end_time": minute(span[1])}
        fill(engine, "jobs", [job], "jobs")
        told = [
            {"tagger": t, "job_key": "j", "activity": a, "role": r, "segment_start": minute(s), "segment_end": minute(e)}
            for t, a, r, s, e in tags
        ]
        fill(engine, "tags", told, "tags")
        named = {number: f"{START + timedelta(days=number):%Y-%m-%d}" for number in days}
        money = [
            {
                "job_key": "j",
                "day": named[n],
                "billing_currency": "USD",
                "basis": "billed",
                "effective_cost_nanos": effective,
                "billed_cost_nanos": billed,
            }
            for n, (effective, billed, _) in days.items()
        ]
        fill(engine, "attributions", money, "attributions")
        used = [{"job_key": "j", "day": named[n], "gpu_part_seconds": time} for n, (_, _, time) in days.items()]
        fill(engine, "occupancy", used, "occupancy")
        make_parts(engine, "USD")
        return engine.rows("SELECT effective, billed, gpu_part_seconds, activity, role, stage FROM job_part ORDER BY part")


def test_a_run_that_was_rolled_back_is_split_by_hand() -> None:
    """From 18:00 to 06:00 the next day; from 21:00 to 03:00 a rule and a release differ, after 03:00 it was lost.

    Day 1 has 100 over 6 hours: 50 before 21:00 and 50 after. Day 2 has 7 nanos over 6 hours: 3 before 03:00 (cut), 4 after.
    """
    tags = [
        ("rule", "exploration", None, None, None),
        ("lineage", "final_training", "run", 21 * 60, 27 * 60),
        ("lineage", "final_training", "lost", 27 * 60, None),
    ]
    assert parts((18 * 60, 30 * 60), {0: (100, -10, 6), 1: (7, 0, 12)}, tags) == [
        (50, -5, 3, "exploration", "", None),
        (53, -5, 9, "final_training", "run", None),
        (4, 0, 6, "final_training", "lost", None),
    ]


def test_a_day_outside_of_the_job_is_its_last_parts() -> None:
    tags = [("lineage", "final_training", "run", None, 60)]
    assert parts((0, 120), {5: (9, 9, 0)}, tags) == [
        (0, 0, 0, "final_training", "run", None),
        (9, 9, 0, None, "", None),
    ]


def test_an_answer_that_only_begins_late_cuts_the_job() -> None:
    tags = [("lineage", "final_training", "run", 60, None)]
    assert parts((0, 120), {0: (10, 10, 10)}, tags) == [(5, 5, 5, None, "", None), (5, 5, 5, "final_training", "run", None)]


@st.composite
def worlds(draw: st.DrawFn) -> tuple[tuple[int, int | None], dict[int, tuple[int, int, int]], list[Any], list[int]]:
    start = draw(st.integers(0, DAY))
    end = start + draw(st.integers(1, 2 * DAY))
    cuts = sorted(draw(st.sets(st.integers(max(0, start - 60), end + 60), min_size=1, max_size=4)))
    ends: list[int | None] = [None, *cuts, None]
    roles = draw(st.lists(st.sampled_from(["run", "lost", "failed", None]), min_size=len(cuts) + 1, max_size=len(cuts) + 1))
    tags: list[Any] = [("rule", "exploration", None, None, None)] if draw(st.booleans()) else []
    for n, role in enumerate(roles):
        if role is not None:
            tags.append(("lineage", "exploration" if role == "failed" else "final_training", role, ends[n], ends[n + 1]))
    money = st.integers(-(10**12), 10**12)
    last = (end - 1) // DAY
    days = {day: (draw(money), draw(money), draw(st.integers(0, 10**9))) for day in range(start // DAY, last + 1)}
    return (start, end), days, tags, cuts


@settings(max_examples=120, deadline=None)
@given(worlds())
def test_the_parts_of_a_job_are_the_job_and_each_day_is_split_by_time(world: Any) -> None:
    (start, end), days, tags, _ = world
    found = parts((start, end), days, tags)
    for column in range(3):
        assert sum(row[column] for row in found) == sum(day[column] for day in days.values())
    expected: dict[tuple[str | None, str], list[Fraction]] = {}
    borders = sorted({start, end, *(b for t in tags for b in t[3:] if b is not None and start < b < end)})
    for low, high in pairwise(borders):
        here = [t for t in tags if (t[3] is None or t[3] <= low) and (t[4] is None or t[4] >= high)]
        won = min(here, key=lambda t: t[0] != "lineage", default=None)
        sums = expected.setdefault((won[1], won[2] or "") if won else (None, ""), [Fraction(0)] * 3)
        for day, amounts in days.items():
            first, last = max(start, day * DAY), min(end, (day + 1) * DAY)
            part = max(0, min(high, last) - max(low, first))
            for column in range(3):
                sums[column] += Fraction(amounts[column] * part, last - first)
    got: dict[tuple[str | None, str], list[int]] = {}
    for row in found:
        sums_found = got.setdefault((row[3], row[4]), [0] * 3)
        for column in range(3):
            sums_found[column] += row[column]
    assert got.keys() == expected.keys()
    slack = len(days) * len(borders)
    for key, exact in expected.items():
        assert all(abs(a - b) <= slack for a, b in zip(got[key], exact, strict=True)), (key, got, expected)
