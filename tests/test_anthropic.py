"""The anthropic collector against a server that speaks the documented pages, and against saved pages."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from llm_bills import OCTOBER, Bills, anthropic_page, collected, error, kinds, money, says, served, wide_pages

from collectors.anthropic import Anthropic
from rdspend.asking import MOST_BYTES
from rdspend.bills.llm import ROWS_AT_ONCE, split
from rdspend.config import load
from rdspend.engine import Engine
from rdspend.errors import BadRecord, ConfigError, SourceUnavailable
from rdspend.period import parse_period
from rdspend.pipeline import Pipeline
from rdspend.reading import Reader
from rdspend.schema import Location, Window

FIXTURES = Path(__file__).parent / "fixtures" / "anthropic"

FIRST, LAST = date(2026, 10, 1), date(2026, 10, 31)
OPUS, HAIKU = "claude-opus-4-6", "claude-haiku-4-5"
TYPES = {
    "input": "uncached_input_tokens",
    "output": "output_tokens",
    "read": "cache_read_input_tokens",
    "5m": "cache_creation.ephemeral_5m_input_tokens",
    "1h": "cache_creation.ephemeral_1h_input_tokens",
}


def cost(day: date, workspace: str | None, model: str, kind: str, cents: str, **more: Any) -> dict[str, Any]:
    """A line of tokens."""
    told = {"cost_type": "tokens", "service_tier": "standard", "context_window": "0-200k", "inference_geo": "global"}
    line = {"day": day, "workspace_id": workspace, "model": model, "token_type": TYPES[kind], "amount": cents}
    return {**told, **line, "description": f"{model} Usage - {kind}", **more}


def used(day: date, workspace: str | None, key: str | None, model: str, **numbers: Any) -> dict[str, Any]:
    told = {"service_tier": "standard", "context_window": "0-200k", "inference_geo": "global"}
    return {**told, "day": day, "workspace_id": workspace, "api_key_id": key, "model": model, **numbers}


def organisation() -> Bills:
    """Two keys and the Workbench in one workspace, the default workspace, batch beside standard, tools, Priority Tier."""
    return Bills(
        costs=[
            cost(FIRST, "wrkspc_data", OPUS, "input", "123.45"),
            cost(FIRST, "wrkspc_data", OPUS, "output", "1000"),
            cost(FIRST, "wrkspc_data", OPUS, "read", "0.0001"),
            cost(FIRST, "wrkspc_data", OPUS, "5m", "25.5"),
            cost(FIRST, "wrkspc_data", OPUS, "input", "50", service_tier="batch", description="batch input"),
            cost(LAST, None, HAIKU, "output", "200.000000000000000000"),
            {"day": LAST, "workspace_id": None, "cost_type": "web_search", "description": "Web Search Usage", "amount": "90"},
            {"day": LAST, "cost_type": "code_execution", "description": "Code Execution Usage", "amount": "5.5"},
        ],
        usage={
            "messages": [
                used(FIRST, "wrkspc_data", "apikey_gen", OPUS, uncached_input_tokens=200, output_tokens=10, **CACHED),
                used(FIRST, "wrkspc_data", "apikey_two", OPUS, uncached_input_tokens=100),
                used(FIRST, "wrkspc_data", None, OPUS, uncached_input_tokens=1, output_tokens=20),
                used(FIRST, "wrkspc_data", "apikey_two", OPUS, uncached_input_tokens=7, service_tier="batch"),
                used(FIRST, "wrkspc_data", "apikey_two", OPUS, uncached_input_tokens=999, service_tier="priority"),
                used(LAST, None, "apikey_app", HAIKU, output_tokens=5, web_search_requests=2),
                used(LAST, None, "apikey_app", OPUS, web_search_requests=1),
            ]
        },
        names={
            "workspaces": [{"id": "wrkspc_data", "name": "Synthetic data"}],
            "api_keys": [
                {"id": "apikey_other", "name": "other"},
                {"id": "apikey_gen", "name": "textbook generator"},
                {"id": "apikey_two", "name": "question generator"},
                {"id": "apikey_app", "name": "assistant"},
            ],
        },
    )


CACHED = {"cache_read_input_tokens": 4, "ephemeral_5m_input_tokens": 8, "ephemeral_1h_input_tokens": 16}
TOTAL = Decimal("14.944501")


@contextmanager
def asking(bills: Bills, folder: Path, **options: Any) -> Iterator[Anthropic]:
    """A collector of these bills' server, its key in a file."""
    (folder / "key").write_text(bills.key + "\n")
    with served(bills, anthropic_page) as address:
        yield Anthropic(key_file=Location(folder / "key"), base_url=address, **options)


def parts(found: dict[str, list[dict[str, Any]]], sku: str) -> dict[str, int]:
    """Nanos by job of one cost line."""
    return {c["resource_id"].removeprefix("anthropic/"): c["billed_cost_nanos"] for c in found["charges"] if c["sku_id"] == sku}


# --- money ------------------------------------------------------------------------------------------------------------


def test_amounts_are_cents_as_text(tmp_path: Path) -> None:
    bills = Bills(costs=[cost(FIRST, "w", OPUS, "input", "123.45")])
    with asking(bills, tmp_path) as collector:
        found = collected(collector)
    assert [(c["billed_cost_nanos"], c["billing_currency"]) for c in found["charges"]] == [(1_234_500_000, "USD")]


def test_a_cost_line_is_split_over_keys_by_their_tokens_of_exactly_that_kind(tmp_path: Path) -> None:
    with asking(organisation(), tmp_path) as collector:
        found = collected(collector)
    assert money(found) == int(TOTAL * 10**9)
    assert parts(found, f"{OPUS} Usage - input") == {
        f"wrkspc_data/apikey_gen/{OPUS}/2026-10-01": 820_265_781,
        f"wrkspc_data/apikey_two/{OPUS}/2026-10-01": 410_132_890,
        f"wrkspc_data//{OPUS}/2026-10-01": 4_101_329,
    }
    assert parts(found, f"{OPUS} Usage - output") == {
        f"wrkspc_data/apikey_gen/{OPUS}/2026-10-01": 3_333_333_333,
        f"wrkspc_data//{OPUS}/2026-10-01": 6_666_666_667,
    }
    assert parts(found, f"{OPUS} Usage - 5m") == {f"wrkspc_data/apikey_gen/{OPUS}/2026-10-01": 255_000_000}


def test_batch_money_goes_to_batch_tokens_and_none_goes_to_priority(tmp_path: Path) -> None:
    with asking(organisation(), tmp_path) as collector:
        found = collected(collector)
    assert parts(found, "batch input") == {f"wrkspc_data/apikey_two/{OPUS}/2026-10-01": 500_000_000}
    assert kinds(found)["priority_tier"] == 1


def test_tokens_of_priority_are_one_finding_of_their_month(tmp_path: Path) -> None:
    bills = organisation()
    bills.usage["messages"] += [
        used(LAST, None, "apikey_app", HAIKU, output_tokens=2_001, service_tier="priority_on_demand"),
        used(LAST, None, "apikey_app", HAIKU, web_search_requests=3, service_tier="priority"),
    ]
    with asking(bills, tmp_path) as collector:
        found = collected(collector)
    (note,) = [n for n in found["notes"] if n["kind"] == "priority_tier"]
    assert (note["subject"], note["rows"]) == ("usage_report", 2)
    assert "3,000 tokens of Priority Tier" in note["detail"]
    assert f"the first are 999 of wrkspc_data/apikey_two/{OPUS}/2026-10-01" in note["detail"]


def test_a_line_that_names_no_tier_pays_for_no_tokens_of_priority_but_for_its_searches(tmp_path: Path) -> None:
    bills = Bills(
        costs=[
            cost(FIRST, "w", OPUS, "input", "4", service_tier=None),
            {"day": FIRST, "workspace_id": "w", "cost_type": "web_search", "description": "Web Search Usage", "amount": "2"},
        ],
        usage={
            "messages": [
                used(FIRST, "w", "apikey_1", OPUS, uncached_input_tokens=5, web_search_requests=1),
                used(FIRST, "w", "apikey_2", OPUS, uncached_input_tokens=5, web_search_requests=1, service_tier="priority"),
            ]
        },
    )
    with asking(bills, tmp_path) as collector:
        found = collected(collector)
    assert parts(found, f"{OPUS} Usage - input") == {f"w/apikey_1/{OPUS}/2026-10-01": 40_000_000}
    assert sorted(parts(found, "Web Search Usage").values()) == [10_000_000, 10_000_000]


def test_web_searches_are_split_by_requests_and_code_execution_has_no_key(tmp_path: Path) -> None:
    with asking(organisation(), tmp_path) as collector:
        found = collected(collector)
    assert parts(found, "Web Search Usage") == {
        f"default/apikey_app/{HAIKU}/2026-10-31": 600_000_000,
        f"default/apikey_app/{OPUS}/2026-10-31": 300_000_000,
    }
    assert parts(found, "Code Execution Usage") == {"default///2026-10-31": 55_000_000}
    assert kinds(found)["key_unknown"] == 1


def test_parts_of_a_line_share_its_place_and_lines_do_not(tmp_path: Path) -> None:
    with asking(organisation(), tmp_path) as collector:
        charges = collected(collector)["charges"]
    places: dict[tuple[str, int], set[str]] = {}
    for charge in charges:
        places.setdefault((charge["origin_file"], charge["origin_row"]), set()).add(charge["sku_id"])
    assert len(places) == 8
    assert all(len(skus) == 1 for skus in places.values())
    assert len(charges) == 12


def test_lines_that_share_their_tokens_stay_whole_and_their_key_is_unknown(tmp_path: Path) -> None:
    bills = organisation()
    bills.costs = [
        cost(FIRST, "wrkspc_data", OPUS, "input", "1", description="standard"),
        cost(FIRST, "wrkspc_data", OPUS, "input", "6", description="fast"),
        cost(FIRST, "wrkspc_data", OPUS, "output", "3"),
    ]
    with asking(bills, tmp_path) as collector:
        found = collected(collector)
    assert parts(found, "standard") == {f"wrkspc_data//{OPUS}/2026-10-01": 10_000_000}
    assert parts(found, "fast") == {f"wrkspc_data//{OPUS}/2026-10-01": 60_000_000}
    assert len(parts(found, f"{OPUS} Usage - output")) == 2
    assert kinds(found)["key_unknown"] == 2


def test_a_line_without_usage_of_its_kind_keeps_its_workspace_and_model(tmp_path: Path) -> None:
    bills = organisation()
    bills.costs = [cost(FIRST, "wrkspc_data", OPUS, "input", "8", context_window="200k-1M")]
    with asking(bills, tmp_path) as collector:
        found = collected(collector)
    assert parts(found, f"{OPUS} Usage - input") == {f"wrkspc_data//{OPUS}/2026-10-01": 80_000_000}


def test_a_dimension_that_the_line_does_not_name_is_not_asked_of_the_usage(tmp_path: Path) -> None:
    bills = organisation()
    bills.costs = [cost(FIRST, "wrkspc_data", OPUS, "output", "3", inference_geo=None)]
    bills.usage["messages"] += [used(FIRST, "wrkspc_data", "apikey_two", OPUS, output_tokens=30, inference_geo="us")]
    with asking(bills, tmp_path) as collector:
        found = collected(collector)
    assert sorted(parts(found, f"{OPUS} Usage - output").values()) == [5_000_000, 10_000_000, 15_000_000]


@given(st.integers(-(10**15), 10**15), st.lists(st.integers(1, 10**12), min_size=1, max_size=20))
def test_no_nano_is_created_or_lost_by_a_split(nanos: int, weights: list[int]) -> None:
    split_up = split(nanos, weights)
    assert sum(split_up) == nanos
    assert all(abs(part - Decimal(nanos) * w / sum(weights)) <= 1 for part, w in zip(split_up, weights, strict=True))


def test_a_line_of_more_keys_than_go_into_a_table_at_once_is_whole_and_in_order(tmp_path: Path) -> None:
    keys = [f"apikey_{n:05d}" for n in range(ROWS_AT_ONCE + 1)]
    usage = [used(FIRST, "w", key, OPUS, uncached_input_tokens=1) for key in keys]
    with asking(Bills(costs=[cost(FIRST, "w", OPUS, "input", "100")], usage={"messages": usage}), tmp_path) as collector:
        found = collected(collector)
    assert money(found) == 10**9
    assert [len(found[table]) for table in ("charges", "tokens", "jobs")] == [len(keys)] * 3
    assert [charge["tags"] for charge in found["charges"]] == [{"api_key_id": key} for key in keys]


def test_many_decimals_are_rounded_half_to_even_and_noted(tmp_path: Path) -> None:
    amounts = ["0.00000005", "0.00000015", "-0.00000015", "12.34567891234567891", "-100"]
    bills = Bills(costs=[cost(FIRST, f"w{i}", OPUS, "input", amount) for i, amount in enumerate(amounts)])
    with asking(bills, tmp_path) as collector:
        found = collected(collector)
    assert [c["billed_cost_nanos"] for c in found["charges"]] == [0, 2, -2, 123_456_789, -(10**9)]
    assert [c["charge_category"] for c in found["charges"]] == ["Usage", "Usage", "Credit", "Usage", "Credit"]
    assert kinds(found)["rounded_amounts"] == 4


@pytest.mark.parametrize(
    ("line", "message"),
    [
        pytest.param({"amount": 123.45}, r"amount: found 123\.45, expected cents as text", id="a number"),
        pytest.param({"amount": "1,5"}, "amount: found '1,5', expected a plain decimal", id="comma"),
        pytest.param({"amount": None}, "amount: found nothing", id="nothing"),
        pytest.param({"currency": "US Dollar"}, "currency: found 'US Dollar'", id="currency"),
        pytest.param({"description": None}, r"group_by\[\]=description", id="not grouped"),
    ],
)
def test_a_line_that_cannot_be_read_is_named(line: dict[str, Any], message: str, tmp_path: Path) -> None:
    bills = Bills(costs=[cost(FIRST, "w", OPUS, "input", "1"), cost(FIRST, "w", OPUS, "output", "1", **line)])
    with asking(bills, tmp_path) as collector, pytest.raises(BadRecord, match=f"result 2: .*{message}"):
        collected(collector)


def test_a_cost_in_another_currency_stays_its_own_line(tmp_path: Path) -> None:
    bills = Bills(costs=[cost(FIRST, "w", OPUS, "input", "1"), cost(FIRST, "w", OPUS, "input", "2", currency="EUR")])
    with asking(bills, tmp_path) as collector:
        found = collected(collector)
    assert [(c["billing_currency"], c["billed_cost_nanos"]) for c in found["charges"]] == [("USD", 10**7), ("EUR", 2 * 10**7)]


# --- jobs and tokens --------------------------------------------------------------------------------------------------


def test_cached_tokens_are_not_counted_twice(tmp_path: Path) -> None:
    with asking(organisation(), tmp_path) as collector:
        tokens = collected(collector)["tokens"]
    of = {t["kind"]: t["tokens"] for t in tokens if "apikey_gen" in t["job_key"]}
    assert of == {"input": 200, "cached_input": 4, "cache_write_5m": 8, "cache_write_1h": 16, "output": 10}
    assert {t["tokens"] for t in tokens if "apikey_two" in t["job_key"]} == {100 + 7 + 999}


def test_a_job_says_its_workspace_key_model_and_tiers(tmp_path: Path) -> None:
    with asking(organisation(), tmp_path) as collector:
        jobs = {job["job_id"]: job for job in collected(collector)["jobs"]}
    job = jobs[f"wrkspc_data/apikey_two/{OPUS}/2026-10-01"]
    assert (job["account"], job["name"], job["outcome"], job["end_day"]) == (
        *("Synthetic data", "question generator", "completed", "2026-10-01"),
    )
    assert job["labels"] == {
        "api_key_id": "apikey_two",
        "model": OPUS,
        "workspace_id": "wrkspc_data",
        "service": "Anthropic API",
        "service_tier": "batch, priority, standard",
        "context_window": "0-200k",
        "inference_geo": "global",
    }
    assert jobs[f"wrkspc_data//{OPUS}/2026-10-01"]["name"] == "Synthetic data"
    assert jobs[f"default/apikey_app/{HAIKU}/2026-10-31"]["account"] == "default"


# --- the server -------------------------------------------------------------------------------------------------------


def test_the_documented_parameters_are_asked_for(tmp_path: Path) -> None:
    bills = organisation()
    with asking(bills, tmp_path) as collector:
        collected(collector)
    asked, *more = [a for a in bills.asked if a.path == "/v1/organizations/cost_report"]
    assert asked.query == {
        "starting_at": ["2026-10-01T00:00:00Z"],
        "ending_at": ["2026-11-01T00:00:00Z"],
        "bucket_width": ["1d"],
        "limit": ["7"],
        "group_by[]": ["workspace_id", "description"],
    }
    assert [a.query for a in more] == [{**asked.query, "page": [f"page_2026-10-{day:02d}"]} for day in (8, 15, 22, 29)]
    assert (asked.headers["x-api-key"], asked.headers["anthropic-version"]) == ("the-admin-key", "2023-06-01")
    assert "analytics" not in "".join(a.path for a in bills.asked)


def test_pages_are_read_to_the_last(tmp_path: Path) -> None:
    bills = organisation()
    bills.buckets = 2
    with asking(bills, tmp_path) as collector:
        assert money(collected(collector)) == int(TOTAL * 10**9)
    assert len([a for a in bills.asked if a.path.endswith("cost_report")]) == 16


def test_no_day_after_today_is_asked_for(tmp_path: Path) -> None:
    bills = organisation()
    with asking(bills, tmp_path) as collector:
        collected(collector, Window(OCTOBER.start, datetime(2026, 10, 4, 12, tzinfo=UTC)))
    ends = {asked.query["ending_at"][0] for asked in bills.asked if "ending_at" in asked.query}
    assert ends == {"2026-10-05T00:00:00Z"}


@pytest.mark.parametrize("report", ["/cost_report", "/messages"])
def test_a_month_of_more_than_a_page_has_room_for_is_read(report: str, tmp_path: Path) -> None:
    """5,000 results a day, some 450 bytes each."""
    bills = organisation()
    (tmp_path / "key").write_text(bills.key)
    with served(bills, wide_pages(anthropic_page, report, 5_000 * 450)) as address:
        found = collected(Anthropic(key_file=Location(tmp_path / "key"), base_url=address))
    assert MOST_BYTES < 31 * 5_000 * 450
    assert money(found) == int(TOTAL * 10**9)


def test_a_day_that_the_server_leaves_out_between_two_pages_is_not_an_empty_day(tmp_path: Path) -> None:
    days = [{"starting_at": f"2026-10-{d:02d}T00:00:00Z", "ending_at": f"2026-10-{d + 1:02d}T00:00:00Z"} for d in range(1, 31)]
    filled = [{**day, "results": []} for day in days]
    bills = organisation()
    second = says(200, {"data": filled[8:], "has_more": False})
    bills.faults.extend([None] * 5 + [says(200, {"data": filled[:7], "has_more": True, "next_page": "p"}), second])
    with asking(bills, tmp_path) as collector, pytest.raises(SourceUnavailable, match="no bucket of 2026-10-08 nor 1 other"):
        collected(collector)


def test_a_charge_is_on_the_invoice_of_its_billing_month(tmp_path: Path) -> None:
    for invoice, expected in (("INV-{month}", "INV-2026-10"), ("MSA 7", "MSA 7"), (None, None)):
        with asking(organisation(), tmp_path, invoice=invoice) as collector:
            assert {charge["invoice_id"] for charge in collected(collector)["charges"]} == {expected}
    with pytest.raises(ValueError, match="invoice: found ''; expected a text that is not empty"):
        Anthropic(invoice="")


def test_a_key_error_names_the_source_that_it_is_of(tmp_path: Path) -> None:
    (tmp_path / "rdspend.toml").write_text('ledger = "ledger"\n\n[collectors.anthropic.lab]\nkey_file = "nowhere"\n')
    (failure,) = Pipeline(load(tmp_path / "rdspend.toml")).run(parse_period("2026-10"), ["collect"]).failures
    assert f"{failure.source}: {failure.error}".startswith(f"anthropic.lab: key_file: {tmp_path / 'nowhere'}: can't be read")


def test_usage_that_cannot_be_had_by_place_is_asked_without(tmp_path: Path) -> None:
    bills = organisation()
    bills.refused = {"messages": ["inference_geo"]}
    bills.costs = [{**line, "inference_geo": None} for line in bills.costs]
    with asking(bills, tmp_path) as collector:
        found = collected(collector)
    assert len(parts(found, f"{OPUS} Usage - input")) == 3


def test_a_server_that_is_overloaded_is_asked_again(tmp_path: Path) -> None:
    bills = organisation()
    bills.faults.append(says(529, {"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded"}}))
    with asking(bills, tmp_path) as collector:
        assert money(collected(collector)) == int(TOTAL * 10**9)


def test_a_refused_key_says_what_key_is_needed_and_not_which_it_was(tmp_path: Path) -> None:
    bills = organisation()
    bills.faults.append(says(401, error(f"invalid x-api-key {bills.key}")))
    with asking(bills, tmp_path) as collector, pytest.raises(SourceUnavailable, match=r"401: .*Admin API key") as raised:
        collected(collector)
    assert bills.key not in str(raised.value) + repr(collector)


def test_a_missing_key_says_where_it_was_looked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("ANTHROPIC_ADMIN_KEY", raising=False)
    with pytest.raises(ConfigError, match=r"^key_env: the environment variable ANTHROPIC_ADMIN_KEY is empty"):
        collected(Anthropic())


def test_a_bucket_that_was_not_asked_for_is_refused(tmp_path: Path) -> None:
    bucket = {"starting_at": "2026-11-01T00:00:00Z", "ending_at": "2026-11-02T00:00:00Z", "results": [{"amount": "1"}]}
    bills = organisation()
    bills.faults.append(says(200, {"data": [bucket], "has_more": False, "next_page": None}))
    with (
        asking(bills, tmp_path) as collector,
        pytest.raises(BadRecord, match="bucket of 2026-11-01, which was not asked"),
    ):
        collected(collector)


# --- saved pages ------------------------------------------------------------------------------------------------------


def test_saved_pages_are_read_as_the_server_sent_them() -> None:
    found = collected(Anthropic(path=Location(FIXTURES)))
    assert money(found) == 45_678_000_000
    assert {c["sub_account_name"]: c["resource_name"] for c in found["charges"]} == {
        "Evaluation": "mmlu grader",
        "default": "default",
    }


def test_costs_without_saved_usage_have_no_keys_and_it_is_said(tmp_path: Path) -> None:
    for page in FIXTURES.glob("cost_report*.json"):
        (tmp_path / page.name).write_text(page.read_text())
    found = collected(Anthropic(path=Location(tmp_path)))
    assert money(found) == 45_678_000_000
    assert {job["name"] for job in found["jobs"]} == {"wrkspc_01JwQvzr7rXLA5AGx3HKfFUJ", "default"}
    assert {"usage_unknown", "names_unknown", "key_unknown"} <= set(kinds(found))


def test_a_page_without_its_successor_is_refused(tmp_path: Path) -> None:
    page = json.loads((FIXTURES / "cost_report-1.json").read_text())
    (tmp_path / "cost_report.json").write_text(json.dumps({**page, "has_more": True, "next_page": "page_x"}))
    with pytest.raises(SourceUnavailable, match="no page comes after it"):
        collected(Anthropic(path=Location(tmp_path)))


@pytest.mark.parametrize("start", ["2026-10-01T00:00:00", "2026-10-01", "yesterday", None, 1790812800])
def test_a_time_without_a_zone_is_refused(start: Any, tmp_path: Path) -> None:
    bucket = {"starting_at": start, "ending_at": "2026-10-02T00:00:00Z", "results": []}
    (tmp_path / "cost_report.json").write_text(json.dumps({"data": [bucket], "has_more": False}))
    with pytest.raises(BadRecord, match=r"starting_at, ending_at: found .*expected instants"):
        collected(Anthropic(path=Location(tmp_path)))


# --- the whole way ----------------------------------------------------------------------------------------------------

CONFIG = """\
ledger = "ledger"

[collectors.anthropic]
key_file = "key"
base_url = "{address}"

[collectors.anthropic.lab]
key_file = "key"
base_url = "{address}"
cluster = "lab"

[taggers.rule]
path = "rules.toml"
"""
RULES = """\
[[rule]]
name = "generators"
when = "name ILIKE '%generator%'"
activity = "data_generation"
"""


def test_every_dollar_of_two_organisations_arrives_at_their_own_jobs_and_the_closing_is_zero(tmp_path: Path) -> None:
    bills = organisation()
    (tmp_path / "key").write_text(bills.key)
    (tmp_path / "rules.toml").write_text(RULES)
    with served(bills, anthropic_page) as address:
        (tmp_path / "rdspend.toml").write_text(CONFIG.format(address=address))
        config = load(tmp_path / "rdspend.toml")
        outcome = Pipeline(config).run(parse_period("2026-10"))
        bills.costs, bills.usage = [], {}
        emptied = Pipeline(config).run(parse_period("2026-10"), ["collect"])
    assert (outcome.failures, emptied.failures) == ([], [])
    (breakdown,) = outcome.breakdowns
    assert (breakdown.total, breakdown.charges - breakdown.attributed) == (2 * TOTAL, 0)
    assert {line.name: line.cost for line in breakdown.clusters} == {"anthropic": TOTAL, "lab": TOTAL}
    assert {line.name: line.cost for line in breakdown.teams} == {
        "Synthetic data": 2 * Decimal("11.989501"),
        "default": 2 * Decimal("2.955"),
    }
    generated = 2 * Decimal("5.318733004")
    assert next(line.cost for line in breakdown.lines if line.name == "data_generation") == generated
    assert {line.name: line.cost for line in breakdown.buckets if line.cost} == {"unclassified": 2 * TOTAL - generated}
    with Engine() as engine:
        for table in ("tokens", "jobs", "charges"):
            Reader(config).ledger.snapshot().view(engine, table)
        left = [engine.value(f"SELECT count(*) FROM {table}") for table in ("tokens", "jobs", "charges")]
    assert left == [0, 0, 0], "a month that has nothing any more has nothing"


def test_one_organisation_in_two_sources_does_not_count_twice(tmp_path: Path) -> None:
    bills = organisation()
    bills.name = "org-1"
    (tmp_path / "key").write_text(bills.key)
    (tmp_path / "rules.toml").write_text(RULES)
    with served(bills, anthropic_page) as address:
        (tmp_path / "rdspend.toml").write_text(CONFIG.format(address=address))
        with pytest.raises(ConfigError, match=r"#org-1' is in anthropic and anthropic\.lab; it would count twice"):
            Pipeline(load(tmp_path / "rdspend.toml")).run(parse_period("2026-10"))


def test_the_last_day_of_a_month_belongs_to_its_month(tmp_path: Path) -> None:
    """Asked for November alone, the jobs of October's last day stay."""
    bills = organisation()
    (tmp_path / "key").write_text(bills.key)
    (tmp_path / "rules.toml").write_text(RULES)
    with served(bills, anthropic_page) as address:
        (tmp_path / "rdspend.toml").write_text(CONFIG.format(address=address))
        config = load(tmp_path / "rdspend.toml")
        for month in ("2026-10", "2026-11"):
            now = datetime(2026, 12, 1, tzinfo=UTC).timestamp()
            assert Pipeline(config, clock=lambda now=now: now).run(parse_period(month)).failures == []
    with Engine() as engine:
        Reader(config).ledger.snapshot().view(engine, "jobs")
        assert engine.value("SELECT count(*) FROM jobs WHERE cluster = 'lab' AND end_day = '2026-10-31'") == 3
