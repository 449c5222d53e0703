"""Policies: what their files may say, that none of them loses or makes a nano, and who bears idle and shared money."""

from __future__ import annotations

import itertools
import os
import re
import tomllib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from rdspend.border import identifier
from rdspend.breakdown import make_cells
from rdspend.engine import Engine, empty_select
from rdspend.errors import ConfigError
from rdspend.policy import DEFAULTS, available, counts_as, load_policy, sentences
from rdspend.policy_comparison import sum_cases
from rdspend.schema import ACTIVITIES, BUCKETS, ROLES, TABLES, Case, Policy
from rdspend.spreading import spread_time

HOUSE = """\
name = "house"
title = "Our own"
words = "Idle and shared money is the jobs'."
denominator_words = "everything, with idle and shared borne by the jobs"
denominator = ["exploration", "data_generation", "evaluation", "final_training", "inference", "unclassified"]
idle = "spread"
shared = "spread"
"""


# --- the files --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", available())
def test_a_policy_that_ships_says_of_every_case_what_it_counts_as_and_where_that_is_written(name: str) -> None:
    policy = load_policy(name)
    assert {case.case for case in policy.cases} == set(DEFAULTS)
    assert all(case.words.endswith(".") and case.source for case in policy.cases)
    assert policy.source


def test_the_default_of_a_case_is_what_it_is_under_the_default_policy() -> None:
    assert counts_as(load_policy("epoch")) == DEFAULTS


def test_the_page_s_table_of_disputed_cases_says_what_the_files_say() -> None:
    page = (Path(__file__).resolve().parents[1] / "docs" / "policies.md").read_text()
    (head,) = re.findall(r"^\| Case \| \| (.*) \|$", page, re.MULTILINE)
    shown = [load_policy(name.strip("` ")) for name in head.split("|")]
    assert {policy.name for policy in shown} == set(available())
    rows = {
        case: cells for case, *cells in re.findall(r"^\| `(\w+)` \| [^|]+" + r"\| ([^|]+) " * 4 + r"\|$", page, re.MULTILINE)
    }
    for case in DEFAULTS:
        says = [counts_as(policy)[case] for policy in shown]
        words = [c if c in policy.denominator else f"{c} (outside)" for c, policy in zip(says, shown, strict=True)]
        assert rows[case] == words
    own = re.search(r"```toml\n(.*?)```", page, re.DOTALL)
    assert own is not None
    assert tomllib.loads(own[1])["cases"][0]["case"] in DEFAULTS


def test_every_role_and_every_activity_is_a_case() -> None:
    assert set(DEFAULTS) == {*ROLES, *ACTIVITIES}


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ('unit = "flop"', "unit: found 'flop'; expected money or gpu_hours"),
        ('idle = "hidden"', "idle: found 'hidden'; expected shown or spread"),
        ('shred = "spread"', "shred: unknown option; did you mean 'shared'?"),
        ('denominator = ["idel"]', "denominator names ['idel']"),
        ("denominator = []", "denominator: found none"),
        ('denominator = ["exploration", "exploration"]', "would count twice"),
        ('name = "office"', "name: found 'office'; expected that of the file, 'house'"),
        ("cases = 3", "cases: expected tables"),
        ('[[cases]]\ncase = "restart"\ncategory = "exploration"', "case 'restart'; expected one of run, lost"),
        ('[[cases]]\ncase = "lost"\ncategory = "idle"', "category 'idle'; expected one of exploration"),
        ('[[cases]]\ncase = "lost"', "category"),
        ('[[cases]]\ncase = "lost"\ncategory = "exploration"\nwrods = "x"', "wrods: unknown option; did you mean 'words'?"),
        ('[[cases]]\ncase = "lost"\ncategory = "exploration"\n' * 2, "case 'lost' is there twice"),
    ],
)
def test_a_policy_that_can_not_be_meant_is_refused_and_the_place_is_named(tmp_path: Path, line: str, problem: str) -> None:
    key = line.split(" ")[0]
    kept = "".join(each for each in HOUSE.splitlines(keepends=True) if not each.startswith(f"{key} "))
    (tmp_path / "house.toml").write_text(f"{kept}{line}\n")
    with pytest.raises(ConfigError, match=re.escape(problem)) as refused:
        load_policy("house", tmp_path)
    assert "house.toml" in str(refused.value)


def test_a_policy_of_one_s_own_goes_before_the_one_that_ships_and_its_silence_is_the_default(tmp_path: Path) -> None:
    mine = HOUSE.replace('"house"', '"olmo"') + '[[cases]]\ncase = "data"\ncategory = "final_training"\n'
    (tmp_path / "olmo.toml").write_text(mine)
    assert counts_as(load_policy("olmo", tmp_path)) == DEFAULTS | {"data": "final_training"}
    assert [case.words for case in sentences(load_policy("olmo", tmp_path))] == [""] * len(DEFAULTS)
    assert "olmo" in available(tmp_path)


def test_a_folder_that_is_not_there_is_no_folder_without_policies(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"policies: '.*/nope' is no folder"):
        load_policy("epoch", tmp_path / "nope")


def test_a_policy_whose_file_can_not_be_named_so_is_refused_in_words(tmp_path: Path) -> None:
    (tmp_path / "my house.toml").write_text(HOUSE)
    with pytest.raises(ConfigError, match="found 'my house'; expected a name of letters, digits"):
        load_policy("my house", tmp_path)


# --- no policy loses or makes a nano ------------------------------------------------------------------------------------

nanos = st.one_of(st.integers(-5, 5), st.integers(-(10**15), 10**17))
jobs = st.fixed_dictionaries(
    {
        "cluster": st.sampled_from(["a", "b", "c"]),
        "effective": st.one_of(st.none(), nanos),
        "billed": nanos,
        "basis": st.sampled_from(["billed", "estimated"]),
        "parts": st.one_of(st.just(0), st.integers(1, 10**13)),
        "role": st.one_of(st.none(), st.sampled_from(list(ROLES))),
        "activity": st.one_of(st.none(), st.sampled_from(ACTIVITIES)),
        "outcome": st.sampled_from(["completed", "failed"]),
        "cut": st.booleans(),
    }
)
left = st.fixed_dictionaries(
    {
        "bucket": st.sampled_from(["idle", "bill_idle", "shared"]),
        "cluster": st.sampled_from(["a", "b", "d"]),
        "effective": nanos,
        "billed": nanos,
        "basis": st.sampled_from(["billed", "estimated"]),
    }
)
policies = st.builds(
    Policy,
    name=st.just("made"),
    title=st.just(""),
    words=st.just(""),
    denominator_words=st.just(""),
    denominator=st.lists(st.sampled_from([*ACTIVITIES, *BUCKETS]), min_size=1, unique=True).map(tuple),
    unit=st.sampled_from(["money", "gpu_hours"]),
    idle=st.sampled_from(["shown", "spread"]),
    shared=st.sampled_from(["shown", "spread"]),
    cases=st.lists(
        st.builds(Case, st.sampled_from(list(DEFAULTS)), st.sampled_from(ACTIVITIES)),
        unique_by=lambda case: case.case,
        max_size=9,
    ).map(tuple),
)

few = settings(
    max_examples=int(os.environ.get("RDSPEND_WORLDS", "30")),
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.too_slow],
)


def put(engine: Engine, table: str, rows: Iterable[Mapping[str, Any]]) -> None:
    engine.execute(f"CREATE TEMP TABLE {table}_here AS {empty_select(TABLES[table])}")
    engine.execute(f"CREATE TEMP VIEW {table} AS SELECT * FROM {table}_here")
    for row in rows:
        columns = ", ".join(map(identifier, row))
        engine.rows(f"INSERT INTO {table}_here ({columns}) VALUES ({', '.join('?' * len(row))})", list(row.values()))


def small_month(world: Sequence[Mapping[str, Any]], buckets: Sequence[Mapping[str, Any]], idle: Mapping[str, int]) -> Engine:
    """A month's tables by hand: jobs, their money and time, what tags say, idle and shared."""
    engine = Engine()
    money = {"source": "s", "billing_period": "2026-10", "billing_currency": "USD", "day": "2026-10-01"}
    paid, used, tags, known = [], [], [], []
    for n, job in enumerate(world):
        key = f"{job['cluster']}/{n}/1"
        times = {"submit_time": "2026-10-01 00:00:00+00", "start_time": "2026-10-01 00:00:00+00"}
        end = {"end_time": "2026-10-02 00:00:00+00", "end_day": "2026-10-02"}
        known.append({"job_key": key, "cluster": job["cluster"], "outcome": job["outcome"], **times, **end})
        if job["effective"] is not None:
            amounts = {"effective_cost_nanos": job["effective"], "billed_cost_nanos": job["billed"]}
            paid.append(money | amounts | {"basis": job["basis"], "route": "node", "cluster": job["cluster"], "job_key": key})
        if job["parts"]:
            used.append({"cluster": job["cluster"], "day": "2026-10-01", "job_key": key, "gpu_part_seconds": job["parts"]})
        if job["activity"]:
            end_ = {"segment_end": "2026-10-01 07:00:00+00"} if job["cut"] else {}
            said = {"tagger": "lineage", "job_key": key, "activity": job["activity"], "role": job["role"]}
            tags.append(said | {"confidence": 1.0, "evidence": "", "version": ""} | end_)
    for row in buckets:
        amounts = {"effective_cost_nanos": row["effective"], "billed_cost_nanos": row["billed"], "basis": row["basis"]}
        cluster = row["cluster"] if row["bucket"] == "idle" else None
        paid.append(money | amounts | {"route": "node", "cluster": cluster, "bucket": row["bucket"]})
    used += [{"cluster": c, "day": "2026-10-01", "gpu_part_seconds": parts} for c, parts in idle.items()]
    for table, rows in (("attributions", paid), ("occupancy", used), ("tags", tags), ("jobs", known)):
        put(engine, table, rows)
    return engine


@few
@given(
    st.lists(jobs, max_size=7),
    st.lists(left, max_size=4),
    st.dictionaries(st.sampled_from(["a", "b", "d"]), st.integers(0, 10**13)),
    policies,
)
def test_every_policy_conserves_the_total_whatever_tags_and_roles_say(
    world: list[dict[str, Any]], buckets: list[dict[str, Any]], idle: dict[str, int], policy: Policy
) -> None:
    with small_month(world, buckets, idle) as engine:
        make_cells(engine, "USD", policy)
        columns = "COALESCE(sum(effective), 0), COALESCE(sum(billed), 0), COALESCE(sum(gpu_part_seconds), 0)"
        (whole,) = engine.rows(f"SELECT {columns} FROM cell")
        money = "COALESCE(sum(effective_cost_nanos), 0), COALESCE(sum(billed_cost_nanos), 0)"
        (paid,) = engine.rows(f"SELECT {money} FROM attributions")
        time = engine.value("SELECT COALESCE(sum(gpu_part_seconds), 0) FROM occupancy")
        assert tuple(map(int, whole)) == (*map(int, paid), int(time))

        ((own, borne),) = engine.rows("SELECT sum(effective - borne), sum(borne) FROM job_money")
        assert int(own or 0) == sum(job["effective"] or 0 for job in world)
        paying = {c for c, of in by_cluster(world).items() if any((job["effective"] or 0) > 0 for job in of)}
        spread = [row["effective"] for row in buckets if is_borne(row, policy, paying)]
        assert int(borne or 0) == sum(spread)

        cells = {c: tuple(map(int, v)) for c, *v in engine.rows(f"SELECT category, {columns} FROM cell GROUP BY category")}
        month = sum_cases(engine, "USD", spread="spread" in (policy.idle, policy.shared))
        compared: dict[str, tuple[int, int, int]] = {}
        for entry in month.entries(policy):
            before = compared.get(entry.category, (0, 0, 0))
            amounts = (entry.sum.effective, entry.sum.billed, entry.sum.parts)
            compared[entry.category] = tuple(a + b for a, b in zip(before, amounts, strict=True))  # type: ignore[assignment]
        assert {c: v for c, v in compared.items() if any(v)} == {c: v for c, v in cells.items() if any(v)}


def by_cluster(world: Iterable[Mapping[str, Any]]) -> dict[str, list[Mapping[str, Any]]]:
    ordered = sorted(world, key=lambda job: job["cluster"])
    return {c: list(of) for c, of in itertools.groupby(ordered, key=lambda job: job["cluster"])}


def is_borne(row: Mapping[str, Any], policy: Policy, paying: set[str]) -> bool:
    if row["bucket"] == "shared":
        return policy.shared == "spread" and bool(paying)
    return policy.idle == "spread" and (row["cluster"] in paying if row["bucket"] == "idle" else bool(paying))


def own(n: int, cluster: str, effective: int | None, parts: int = 0, basis: str = "billed") -> dict[str, Any]:
    activity = "exploration" if n % 2 else "evaluation"
    amounts = {"effective": effective, "billed": effective or 0, "parts": parts, "basis": basis}
    return {"cluster": cluster, "role": None, "activity": activity, "outcome": "completed", "cut": False, **amounts}


def bucket(name: str, cluster: str, effective: int, basis: str = "billed") -> dict[str, Any]:
    return {"bucket": name, "cluster": cluster, "effective": effective, "billed": 2 * effective, "basis": basis}


SPREAD = Policy("house", "", "", "", ("exploration", "evaluation"), idle="spread", shared="spread")


def test_idle_goes_to_its_cluster_s_jobs_by_cost_and_the_rest_of_a_cut_to_the_next_in_order_of_keys() -> None:
    world = [own(0, "a", 1), own(1, "a", 1), own(2, "a", 1), own(3, "b", 1)]
    with small_month(world, [bucket("idle", "a", 10), bucket("idle", "d", 7)], {}) as engine:
        make_cells(engine, "USD", SPREAD)
        borne = engine.rows("SELECT job_key, borne, borne_billed FROM job_money ORDER BY job_key")
        expected = [("a/0/1", 3, 6), ("a/1/1", 3, 7), ("a/2/1", 4, 7), ("b/3/1", 0, 0)]
        assert [(key, int(e), int(b)) for key, e, b in borne] == expected
        # Nobody ran on cluster d: its idle stays.
        assert engine.rows("SELECT cluster, CAST(effective AS BIGINT) FROM cell WHERE category = 'idle'") == [("d", 7)]


def test_what_the_bill_calls_unused_and_shared_money_go_to_all_jobs_that_cost_something() -> None:
    world = [own(0, "a", 3), own(1, "b", 1), own(2, "b", -5), own(3, "b", None, parts=9)]
    with small_month(world, [bucket("shared", "", 8), bucket("bill_idle", "", -4, "estimated")], {}) as engine:
        make_cells(engine, "USD", SPREAD)
        found = {k: (int(e), basis) for k, e, basis in engine.rows("SELECT job_key, borne, basis FROM job_money")}
        assert found == {"a/0/1": (3, "mixed"), "b/1/1": (1, "mixed"), "b/2/1": (0, "billed"), "b/3/1": (0, "unpriced")}


@pytest.mark.parametrize(("unit", "borne"), [("money", [0, 0]), ("gpu_hours", [4, 2])])
def test_idle_time_is_spread_by_gpu_time_where_shares_are_of_it(unit: str, borne: list[int]) -> None:
    policy = replace(SPREAD, unit=unit)
    with small_month([own(0, "a", 1, parts=20), own(1, "a", 1, parts=10)], [], {"a": 6}) as engine:
        make_cells(engine, "USD", policy)
        rows = engine.rows("SELECT CAST(borne_parts AS BIGINT) FROM job_money ORDER BY job_key")
        assert [parts for (parts,) in rows] == borne
        assert int(engine.value("SELECT sum(gpu_part_seconds) FROM cell")) == 36
    assert spread_time(policy) == (unit == "gpu_hours")


def test_money_beyond_what_128_bits_multiply_is_spread_to_the_nano() -> None:
    world = [own(n, "a", 8 * 10**18 - n) for n in range(10)]
    shared = [bucket("shared", "", 4 * 10**18 + n) for n in range(10)]
    with small_month(world, shared, {}) as engine:
        make_cells(engine, "USD", SPREAD)
        borne = [int(b) for (b,) in engine.rows("SELECT borne FROM job_money")]
    assert sum(borne) == sum(row["effective"] for row in shared)
    assert max(borne) - min(borne) < 1000
