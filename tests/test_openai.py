"""The openai collector against a server that speaks the documented pages, and against saved pages."""

from __future__ import annotations

import json
import re
import time
from base64 import b64encode
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, date, datetime
from decimal import Decimal
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
from llm_bills import OCTOBER, Bills, Fault, collected, error, kinds, money, openai_page, says, served, wide_pages

from collectors.openai import Openai
from rdspend.asking import MOST_BYTES, TRIES
from rdspend.bills import pages
from rdspend.config import load
from rdspend.engine import Engine
from rdspend.errors import BadRecord, ConfigError, SourceUnavailable
from rdspend.period import parse_period
from rdspend.pipeline import Pipeline
from rdspend.reading import Reader
from rdspend.schema import Location, Window

FIXTURES = Path(__file__).parent / "fixtures" / "openai"

FIRST, THIRD = date(2026, 10, 1), date(2026, 10, 3)

GPT = "gpt-5-2025-08-07"
TOKENS = {"quantity_unit": "tokens"}


def cost(day: date, project: str | None, key: str | None, line_item: str | None, value: str, **more: Any) -> dict[str, Any]:
    row = {"day": day, "project_id": project, "api_key_id": key, "line_item": line_item, "value": Decimal(value)}
    return {**row, "quantity": 0, "quantity_unit": None, **more}


def used(day: date, project: str, key: str, model: str = GPT, **numbers: Any) -> dict[str, Any]:
    return {"day": day, "project_id": project, "api_key_id": key, "model": model, **numbers}


def organisation() -> Bills:
    """Three projects: synthetic data, grading, a product; a file search that no model names; a key with a credit."""
    return Bills(
        costs=[
            cost(
                FIRST, "proj_data", "key_gen", f"{GPT}, input", "12.5000000000000004", quantity=10_000, quantity_unit="tokens"
            ),
            cost(FIRST, "proj_data", "key_gen", f"{GPT}, output", "100.25", quantity=9_000, quantity_unit="tokens"),
            cost(THIRD, "proj_eval", "key_grade", f"{GPT}, input", "7.000000001"),
            cost(THIRD, "proj_eval", "key_grade", f"{GPT}, output", "0.06"),
            cost(THIRD, "proj_app", "key_app", "file search, storage", "3"),
            cost(date(2026, 10, 31), "proj_app", "key_app", f"{GPT}, input", "-2"),
        ],
        usage={
            "completions": [
                used(
                    *(FIRST, "proj_data", "key_gen"),
                    input_tokens=10_000,
                    input_cached_tokens=4_000,
                    input_cache_write_tokens=1_000,
                    input_audio_tokens=500,
                    input_cached_audio_tokens=100,
                    output_tokens=9_000,
                    output_audio_tokens=50,
                    batch=True,
                    service_tier="default",
                ),
                used(THIRD, "proj_eval", "key_grade", input_tokens=70, output_tokens=7, batch=False, service_tier="flex"),
                used(THIRD, "proj_eval", "key_grade", input_tokens=30, output_tokens=3, batch=False, service_tier="default"),
                used(date(2026, 10, 31), "proj_app", "key_app", input_tokens=5, output_tokens=1, batch=False),
            ],
            "embeddings": [used(THIRD, "proj_eval", "key_grade", "text-embedding-3-large", input_tokens=1_000)],
        },
        names={
            "projects": [
                {"id": "proj_app", "name": "Product"},
                {"id": "proj_data", "name": "Synthetic data"},
                {"id": "proj_eval", "name": "Evaluation"},
            ],
            "projects/proj_data/api_keys": [{"id": "key_gen", "name": "textbook generator"}],
            "projects/proj_eval/api_keys": [{"id": "key_other", "name": "x"}, {"id": "key_grade", "name": "mmlu grader"}],
            "projects/proj_app/api_keys": [{"id": "key_app", "name": "assistant backend"}],
        },
    )


TOTAL = Decimal("120.810000001")

# Pages of a month that is over, of each report.
PAGES = 5

RUNNING = Window(OCTOBER.start, datetime(2026, 10, 20, 12, tzinfo=UTC))


@contextmanager
def asking(bills: Bills, folder: Path, **options: Any) -> Iterator[Openai]:
    """A collector of these bills' server, its key in a file."""
    (folder / "key").write_text(bills.key + "\n")
    with served(bills, openai_page) as address:
        yield Openai(key_file=Location(folder / "key"), base_url=f"{address}/v1", **options)


# --- what is read -----------------------------------------------------------------------------------------------------


def test_every_cost_is_a_charge_of_the_job_of_its_project_key_model_and_day(tmp_path: Path) -> None:
    with asking(organisation(), tmp_path) as collector:
        found = collected(collector)
    assert money(found) == int(TOTAL * 10**9)
    jobs = {job["resource_id"]: job["name"] for job in found["jobs"]}
    assert [
        (jobs[c["resource_id"]], c["resource_id"], c["effective_cost_nanos"], c["charge_category"]) for c in found["charges"]
    ] == [
        ("textbook generator", f"openai/proj_data/key_gen/{GPT}/2026-10-01", 12_500_000_000, "Usage"),
        ("textbook generator", f"openai/proj_data/key_gen/{GPT}/2026-10-01", 100_250_000_000, "Usage"),
        ("mmlu grader", f"openai/proj_eval/key_grade/{GPT}/2026-10-03", 7_000_000_001, "Usage"),
        ("mmlu grader", f"openai/proj_eval/key_grade/{GPT}/2026-10-03", 60_000_000, "Usage"),
        ("assistant backend", "openai/proj_app/key_app//2026-10-03", 3_000_000_000, "Usage"),
        ("assistant backend", f"openai/proj_app/key_app/{GPT}/2026-10-31", -2_000_000_000, "Credit"),
    ]
    first = found["charges"][0]
    assert (first["billing_currency"], first["consumed_quantity"], first["consumed_unit"]) == ("USD", 10_000, "Tokens")
    assert (first["sku_id"], first["sub_account_id"], first["sub_account_name"]) == (
        f"{GPT}, input",
        "proj_data",
        "Synthetic data",
    )
    assert (first["service_category"], first["service_subcategory"]) == ("AI and Machine Learning", "Generative AI")
    assert first["charge_period_end"] - first["charge_period_start"] == 86_400
    assert (first["origin_row"], found["charges"][1]["origin_row"]) == (1, 2)


def test_a_job_says_its_project_key_model_and_tiers_and_stays_inside_its_day(tmp_path: Path) -> None:
    with asking(organisation(), tmp_path) as collector:
        job = next(j for j in collected(collector)["jobs"] if j["job_id"] == f"proj_eval/key_grade/{GPT}/2026-10-03")
    assert (job["account"], job["project"], job["name"], job["outcome"], job["gpu_parts"]) == (
        *("Evaluation", "Evaluation", "mmlu grader", "completed", 0),
    )
    assert job["labels"] == {
        "api_key_id": "key_grade",
        "model": GPT,
        "project_id": "proj_eval",
        "service": "OpenAI API",
        "service_tier": "default, flex",
        "operation": "completions",
        "batch": "false",
    }
    assert job["job_key"] == f"openai/proj_eval/key_grade/{GPT}/2026-10-03/{int(job['start_time'])}"
    assert (job["end_day"], job["end_time"] - job["start_time"]) == ("2026-10-03", pytest.approx(86_400, abs=1e-3))
    assert job["end_time"] < job["start_time"] + 86_400


def test_kinds_of_tokens_never_overlap(tmp_path: Path) -> None:
    with asking(organisation(), tmp_path) as collector:
        tokens = collected(collector)["tokens"]
    of = {row["kind"]: row["tokens"] for row in tokens if row["job_key"].startswith("openai/proj_data/")}
    assert of == {
        "input": 10_000 - 4_000 - 1_000 - 500,
        "input_audio": 500,
        "cached_input": 3_900,
        "cached_input_audio": 100,
        "cache_write": 1_000,
        "output": 8_950,
        "output_audio": 50,
    }
    assert sum(of.values()) == 10_000 + 9_000


def test_tokens_of_two_tiers_are_one_row_of_their_job(tmp_path: Path) -> None:
    with asking(organisation(), tmp_path) as collector:
        tokens = collected(collector)["tokens"]
    graded = {(t["model"], t["kind"]): t["tokens"] for t in tokens if "key_grade" in t["job_key"]}
    assert graded == {(GPT, "input"): 100, (GPT, "output"): 10, ("text-embedding-3-large", "input"): 1_000}


def test_parts_that_are_more_than_the_whole_are_not_told_apart_and_said(tmp_path: Path) -> None:
    bills = organisation()
    bills.usage = {
        "completions": [
            used(FIRST, "p", "k", input_tokens=10, input_cached_tokens=11, output_tokens=5),
            used(FIRST, "p", "other", input_tokens=10, input_cached_tokens=10),
            used(THIRD, "p", "k", output_tokens=1, output_audio_tokens=2),
        ]
    }
    with asking(bills, tmp_path) as collector:
        found = collected(collector)
    assert {(t["kind"], t["tokens"]) for t in found["tokens"]} == {
        ("input", 10),
        ("cached_input", 10),
        ("output", 5),
        ("output", 1),
    }
    (note,) = [n for n in found["notes"] if n["kind"] == "tokens_unclear"]
    assert (note["subject"], note["rows"]) == ("2026-10", 2)
    assert re.search(r"the first is result 1 of 2026-10-01 on http\S+/organization/usage/completions", note["detail"])


def test_amounts_below_a_nano_are_rounded_half_to_even_and_noted(tmp_path: Path) -> None:
    values = ["0.0000000005", "0.0000000015", "0.0000000025", "-0.0000000015", "1E-30", "0.1"]
    bills = Bills(costs=[cost(FIRST, "p", f"k{i}", "x, input", v) for i, v in enumerate(values)])
    with asking(bills, tmp_path) as collector:
        found = collected(collector)
    assert [c["billed_cost_nanos"] for c in found["charges"]] == [0, 2, 2, -2, 0, 100_000_000]
    assert kinds(found)["rounded_amounts"] == 5


def test_a_cost_in_another_currency_stays_its_own_line(tmp_path: Path) -> None:
    bills = Bills(costs=[cost(FIRST, "p", "k", "x, input", "1"), cost(FIRST, "p", "k", "x, input", "2", currency="eur")])
    with asking(bills, tmp_path) as collector:
        found = collected(collector)
    assert [(c["billing_currency"], c["billed_cost_nanos"]) for c in found["charges"]] == [("USD", 10**9), ("EUR", 2 * 10**9)]


def test_a_month_asked_partly_is_delivered_whole(tmp_path: Path) -> None:
    window = Window(datetime(2026, 10, 30, 5, tzinfo=UTC), datetime(2026, 11, 2, tzinfo=UTC))
    bills = organisation()
    bills.costs.append(cost(date(2026, 11, 1), "proj_app", "key_app", f"{GPT}, input", "9"))
    with asking(bills, tmp_path) as collector:
        found = collected(collector, window)
    by_month = {m: sum(c["billed_cost_nanos"] for c in found["charges"] if c["billing_period"] == m) for m in window.months}
    assert by_month == {"2026-10": int(TOTAL * 10**9), "2026-11": 9 * 10**9}
    assert len({job["job_key"] for job in found["jobs"]}) == len(found["jobs"])


def test_a_charge_is_on_the_invoice_of_its_billing_month(tmp_path: Path) -> None:
    bills = organisation()
    bills.costs.append(cost(date(2026, 11, 1), "proj_app", "key_app", f"{GPT}, input", "9"))
    window = Window(OCTOBER.start, datetime(2026, 11, 2, tzinfo=UTC))
    for invoice, expected in (
        ("INV-{month}", {("2026-10", "INV-2026-10"), ("2026-11", "INV-2026-11")}),
        (None, {("2026-10", None), ("2026-11", None)}),
    ):
        with asking(bills, tmp_path, invoice=invoice) as collector:
            found = collected(collector, window)
        assert {(c["billing_period"], c["invoice_id"]) for c in found["charges"]} == expected
    with pytest.raises(ValueError, match=r"invoice: found ' '; expected a text that is not empty"):
        Openai(invoice=" ")


def test_a_month_without_spending_is_an_answer(tmp_path: Path) -> None:
    with asking(Bills(), tmp_path) as collector:
        deliveries = [(d.table, dict(d.scope)) for d in collector.collect(OCTOBER)]
    assert deliveries == [
        ("charges", {"billing_period": "2026-10"}),
        ("tokens", {"billing_period": "2026-10"}),
        ("jobs", {"cluster": "openai"}),
    ]


# --- what the API does not have ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("refused", "jobs"),
    [
        (["api_key_id"], {f"proj_data//{GPT}", f"proj_eval//{GPT}", f"proj_app//{GPT}", "proj_app//"}),
        (["api_key_id", "line_item"], {"proj_data//", "proj_eval//", "proj_app//"}),
    ],
)
def test_costs_that_cannot_be_had_by_key_keep_their_sum_and_are_nobodys_key(
    refused: list[str], jobs: set[str], tmp_path: Path
) -> None:
    bills = organisation()
    bills.refused = {"costs": refused}
    with asking(bills, tmp_path) as collector:
        found = collected(collector)
    assert money(found) == int(TOTAL * 10**9)
    assert {c["resource_id"].removeprefix("openai/")[:-11] for c in found["charges"]} == jobs
    assert {c["resource_name"] for c in found["charges"]} == {"Synthetic data", "Evaluation", "Product"}
    (note,) = [n for n in found["notes"] if n["kind"] == "costs_without_dimension"]
    assert all(dimension in note["detail"] for dimension in refused)


def test_a_server_that_knows_neither_tiers_nor_sources_is_asked_without(tmp_path: Path) -> None:
    bills = organisation()
    bills.refused = {"completions": ["service_tier", "api_source"]}
    with asking(bills, tmp_path) as collector:
        tokens = collected(collector)["tokens"]
    assert sum(t["tokens"] for t in tokens) == 20_116


def test_a_request_that_is_refused_however_it_is_asked_says_why(tmp_path: Path) -> None:
    bills = organisation()
    bills.refused = {"costs": ["project_id"]}
    with asking(bills, tmp_path) as collector, pytest.raises(SourceUnavailable, match="unsupported group_by: project_id"):
        collected(collector)


def test_a_line_item_without_a_model_is_not_guessed(tmp_path: Path) -> None:
    costs = [
        cost(FIRST, "p", "k", "web search, medium", "1"),
        cost(FIRST, "p", "k", "gpt-6-astra, input_tokens", "2", quantity=5, quantity_unit="1000_tokens"),
    ]
    with asking(Bills(costs=costs[:1]), tmp_path) as collector:
        assert [j["job_id"] for j in collected(collector)["jobs"]] == ["p/k//2026-10-01"]
    with asking(Bills(costs=costs[1:]), tmp_path) as collector:
        found = collected(collector)
    assert [j["job_id"] for j in found["jobs"]] == ["p/k/gpt-6-astra/2026-10-01"]
    assert (found["charges"][0]["consumed_quantity"], found["charges"][0]["consumed_unit"]) == (5, "1000 Tokens")


def test_names_that_may_not_be_read_are_ids_and_a_finding(tmp_path: Path) -> None:
    bills = organisation()
    bills.faults.extend([None] * 4 * PAGES + [says(403, error("no"))] * 4)
    with asking(bills, tmp_path) as collector:
        found = collected(collector)
    assert {job["account"] for job in found["jobs"]} == {"proj_app", "proj_data", "proj_eval"}
    assert kinds(found)["names_unknown"] == 1
    assert money(found) == int(TOTAL * 10**9)


# --- the server's faults ----------------------------------------------------------------------------------------------


def test_pages_are_read_to_the_last(tmp_path: Path) -> None:
    bills = organisation()
    bills.buckets = 3
    with asking(bills, tmp_path) as collector:
        assert money(collected(collector)) == int(TOTAL * 10**9)
    costs = [asked.query.get("page", [""])[0] for asked in bills.asked if asked.path.endswith("/costs")]
    assert len(costs) == 11
    assert costs[:2] == ["", "page_2026-10-04"]


def test_the_documented_parameters_are_asked_for(tmp_path: Path) -> None:
    bills = organisation()
    with asking(bills, tmp_path) as collector:
        collected(collector)
    asked, *more = [a for a in bills.asked if a.path == "/v1/organization/costs"]
    assert asked.query == {
        "start_time": ["1790812800"],
        "end_time": ["1793491200"],
        "bucket_width": ["1d"],
        "limit": ["7"],
        "group_by[]": ["project_id", "line_item", "api_key_id"],
    }
    assert [a.query for a in more] == [{**asked.query, "page": [f"page_2026-10-{day:02d}"]} for day in (8, 15, 22, 29)]
    assert asked.headers["authorization"] == "Bearer the-admin-key"


@pytest.mark.parametrize("status", [401, 403])
def test_a_refused_key_says_what_key_is_needed_and_not_which_it_was(status: int, tmp_path: Path) -> None:
    bills = organisation()
    bills.faults.append(says(status, error(f"Incorrect API key provided: {bills.key}")))
    with (
        asking(bills, tmp_path) as collector,
        pytest.raises(SourceUnavailable, match="admin key of the organisation") as raised,
    ):
        collected(collector)
    assert str(status) in str(raised.value)
    assert bills.key not in str(raised.value) + repr(collector)
    assert len(bills.asked) == 1


@pytest.mark.parametrize("status", [400, 500])
def test_a_key_that_the_server_repeats_is_not_repeated(status: int, tmp_path: Path) -> None:
    bills = organisation()
    bills.faults.extend([says(status, error(f"what is {bills.key}?"), retry_after="0")] * 99)
    with asking(bills, tmp_path) as collector, pytest.raises(SourceUnavailable, match=r"\(what is \[key\]\?\)"):
        collected(collector)


def test_a_missing_key_says_where_it_was_looked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OPENAI_ADMIN_KEY", raising=False)
    with pytest.raises(ConfigError, match=r"^key_env: the environment variable OPENAI_ADMIN_KEY is empty"):
        collected(Openai())
    with pytest.raises(ConfigError, match=r"^key_file: .*nowhere: can't be read"):
        collected(Openai(key_file=Location(tmp_path / "nowhere")))
    (tmp_path / "key").write_text("two\nlines")
    with pytest.raises(ConfigError, match="holds blanks, lines") as raised:
        collected(Openai(key_file=Location(tmp_path / "key")))
    assert "two" not in str(raised.value)


def test_the_key_is_read_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OUR_KEY", "the-admin-key")
    with served(organisation(), openai_page) as address:
        assert money(collected(Openai(key_env="OUR_KEY", base_url=f"{address}/v1"))) == int(TOTAL * 10**9)


def test_a_server_that_asks_for_patience_gets_it(tmp_path: Path) -> None:
    bills = organisation()
    bills.faults.append(says(429, error("slow down"), retry_after="1"))
    started = time.monotonic()
    with asking(bills, tmp_path) as collector:
        assert money(collected(collector)) == int(TOTAL * 10**9)
    assert time.monotonic() - started >= 1


def test_a_server_that_asks_for_too_much_patience_is_left_alone(tmp_path: Path) -> None:
    bills = organisation()
    bills.faults.append(says(429, error("slow down"), retry_after="86400"))
    with asking(bills, tmp_path) as collector, pytest.raises(SourceUnavailable, match="left alone for 86400 seconds"):
        collected(collector)
    assert len(bills.asked) == 1


@pytest.mark.parametrize("status", [500, 503])
def test_a_server_that_stumbles_is_asked_again_and_one_that_lies_down_is_not_forever(status: int, tmp_path: Path) -> None:
    bills = organisation()
    bills.faults.append(says(status, b"<html>oops</html>", retry_after="0"))
    with asking(bills, tmp_path) as collector:
        assert money(collected(collector)) == int(TOTAL * 10**9)
    bills.faults.extend([says(status, error("oops"), retry_after="0")] * 99)
    bills.asked.clear()
    with asking(bills, tmp_path) as collector, pytest.raises(SourceUnavailable, match=rf"answered {status} \(oops\), 4 times"):
        collected(collector)
    assert len(bills.asked) == TRIES


def broken_off(handler: BaseHTTPRequestHandler) -> None:
    """Half of what Content-Length says, then the end."""
    handler.send_response(200)
    handler.send_header("content-length", "1000")
    handler.end_headers()
    handler.wfile.write(b'{"data": [')
    handler.close_connection = True


def endless(handler: BaseHTTPRequestHandler) -> None:
    handler.send_response(200)
    handler.end_headers()
    while True:
        handler.wfile.write(b" " * 2**20)


def drops(handler: BaseHTTPRequestHandler) -> None:
    """A byte every now and then."""
    handler.send_response(200)
    handler.end_headers()
    for _ in range(50):
        handler.wfile.write(b" ")
        handler.wfile.flush()
        time.sleep(0.02)
    handler.close_connection = True


EMPTY = {"object": "page", "data": [], "has_more": False, "next_page": None}


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        pytest.param(says(200, b'{"data": [{"results"'), "no whole page of JSON", id="truncated"),
        pytest.param(says(200, b'{"data": [NaN], "has_more": false}'), "NaN is no number", id="not a number"),
        pytest.param(says(200, b"[]"), "expected an object", id="not a page"),
        pytest.param(endless, "has no end yet", id="endless"),
        pytest.param(says(200, {**EMPTY, "has_more": True}), "next_page is nothing", id="no token"),
        pytest.param(says(302, b"", location="https://elsewhere.example/"), "which is not followed", id="redirected"),
        pytest.param(says(404, error("no such path")), r"answered 404 \(no such path\)", id="not found"),
    ],
)
def test_a_page_that_is_none_leaves_the_period_open(fault: Fault, message: str, tmp_path: Path) -> None:
    bills = organisation()
    bills.faults.append(fault)
    with asking(bills, tmp_path) as collector, pytest.raises(SourceUnavailable, match=message):
        collected(collector)


def test_a_page_that_broke_off_is_asked_for_again(tmp_path: Path) -> None:
    bills = organisation()
    bills.faults.append(broken_off)
    with asking(bills, tmp_path) as collector:
        assert money(collected(collector)) == int(TOTAL * 10**9)


def test_a_page_that_comes_in_drops_is_not_waited_for(tmp_path: Path) -> None:
    bills = organisation()
    bills.faults.extend([drops] * 9)
    with (
        asking(bills, tmp_path, timeout_seconds=0.2) as collector,
        pytest.raises(SourceUnavailable, match=r"not at its end after 0\.2"),
    ):
        collected(collector)


def test_pages_that_never_end_are_not_read_for_ever(tmp_path: Path) -> None:
    bills = organisation()
    bills.faults.extend(says(200, {**EMPTY, "has_more": True, "next_page": f"page_{i}"}) for i in range(pages.MOST_PAGES + 1))
    with asking(bills, tmp_path) as collector, pytest.raises(SourceUnavailable, match="that there is more; none is taken"):
        collected(collector)


@pytest.mark.parametrize("days", [[], [1, 2, 3], [*range(1, 8), *range(9, 32)]])
def test_a_day_that_the_server_does_not_answer_is_not_an_empty_day(days: list[int], tmp_path: Path) -> None:
    bills, page = organisation(), {**EMPTY, "data": [bucket(day) for day in days]}
    bills.faults.extend([None] * 3 * PAGES + [says(200, page)])
    missing = min(set(range(1, 32)) - set(days))
    with (
        asking(bills, tmp_path) as collector,
        pytest.raises(SourceUnavailable, match=f"/organization/costs: the answer has no bucket of 2026-10-{missing:02d}"),
    ):
        collected(collector)
    assert bills.asked[-1].path == "/v1/organization/costs"


@pytest.mark.parametrize(("hour", "last"), [(12, 4), (0, 3)])
def test_no_day_after_today_is_asked_for(hour: int, last: int, tmp_path: Path) -> None:
    bills = organisation()
    with asking(bills, tmp_path) as collector:
        found = collected(collector, Window(OCTOBER.start, datetime(2026, 10, 4, hour, tzinfo=UTC)))
    reports = [a.query for a in bills.asked if "end_time" in a.query]
    end = int(datetime(2026, 10, last + 1, tzinfo=UTC).timestamp())
    assert {(asked["start_time"][0], asked["end_time"][0]) for asked in reports} == {("1790812800", str(end))}
    assert money(found) == int((TOTAL + 2) * 10**9), "all but the credit of the 31st"


def test_a_month_of_more_than_a_page_has_room_for_is_read(tmp_path: Path) -> None:
    """5,000 results a day, some 450 bytes each."""
    bills = organisation()
    (tmp_path / "key").write_text(bills.key)
    with served(bills, wide_pages(openai_page, "/costs", 5_000 * 450)) as address:
        found = collected(Openai(key_file=Location(tmp_path / "key"), base_url=f"{address}/v1"))
    assert MOST_BYTES < 31 * 5_000 * 450
    assert money(found) == int(TOTAL * 10**9)


def test_days_that_are_not_over_need_no_answer_yet(tmp_path: Path) -> None:
    bills = organisation()
    bills.faults.extend([None, None, None, says(200, {**EMPTY, "data": [bucket(day, result()) for day in (1, 2, 3)]})])
    now = Window(OCTOBER.start, datetime(2026, 10, 4, 12, tzinfo=UTC))
    with asking(bills, tmp_path) as collector:
        assert money(collected(collector, now)) == 3 * 10**9


def test_a_page_token_that_comes_back_is_refused(tmp_path: Path) -> None:
    bills = organisation()
    bills.faults.extend(says(200, {**EMPTY, "has_more": True, "next_page": token}) for token in ("page_1", "page_2", "page_1"))
    with asking(bills, tmp_path) as collector, pytest.raises(SourceUnavailable, match="leads back to a page already read"):
        collected(collector)


def test_a_server_that_is_not_there_is_named(tmp_path: Path) -> None:
    with served(Bills(), openai_page) as address:
        pass
    (tmp_path / "key").write_text("k")
    gone = Openai(key_file=Location(tmp_path / "key"), base_url=f"{address}/v1")
    with pytest.raises(SourceUnavailable, match=f"{address}/v1/organization/usage/completions.*refused.*4 times"):
        collected(gone)


@contextmanager
def proxy() -> Iterator[tuple[str, list[BaseHTTPRequestHandler]]]:
    """A proxy that lets nobody through: its address, and who asked."""
    asked: list[BaseHTTPRequestHandler] = []

    class Handler(BaseHTTPRequestHandler):
        def do_CONNECT(self) -> None:
            asked.append(self)
            self.send_error(403)

        def do_GET(self) -> None:
            self.do_CONNECT()

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
        thread.start()
        try:
            yield f"127.0.0.1:{server.server_port}", asked
        finally:
            server.shutdown()
            thread.join()


def behind(monkeypatch: pytest.MonkeyPatch, **proxies: str) -> None:
    """The environment names these proxies, and no others."""
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "ALL_PROXY"):
        for each in (name, name.lower()):
            monkeypatch.delenv(each, raising=False)
    for name, value in proxies.items():
        monkeypatch.setenv(name, value)


def test_the_proxy_of_the_environment_is_asked_and_sees_no_key(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "key").write_text("the-admin-key")
    with proxy() as (address, asked):
        behind(monkeypatch, HTTPS_PROXY=f"http://lab:the%20password@{address}")
        with pytest.raises(SourceUnavailable, match=r"ProxyError: .*403.*4 times") as raised:
            collected(Openai(key_file=Location(tmp_path / "key")))
    assert {(each.command, each.path) for each in asked} == {("CONNECT", "api.openai.com:443")}
    assert {each.headers["proxy-authorization"] for each in asked} == {f"Basic {b64encode(b'lab:the password').decode()}"}
    assert not any("the-admin-key" in str(each.headers) for each in asked)
    assert "password" not in str(raised.value)


def test_a_server_that_no_proxy_names_is_asked_straight(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "key").write_text("k")
    with proxy() as (address, asked):
        behind(monkeypatch, HTTPS_PROXY=address, NO_PROXY="example.com,127.0.0.2")
        with pytest.raises(SourceUnavailable, match="refused"):
            collected(Openai(key_file=Location(tmp_path / "key"), base_url="https://127.0.0.2:9/v1"))
    assert asked == []


def test_a_key_for_this_machine_goes_through_no_proxy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with proxy() as (address, asked):
        behind(monkeypatch, HTTP_PROXY=address)
        with asking(organisation(), tmp_path) as collector:
            assert money(collected(collector)) == int(TOTAL * 10**9)
    assert asked == []


@pytest.mark.parametrize("address", ["socks5://lab:password@proxy:1080", "http://lab:password@[::1"])
def test_what_is_no_proxy_is_refused_without_its_password(
    address: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "key").write_text("k")
    behind(monkeypatch, HTTPS_PROXY=address)
    with pytest.raises(ConfigError, match="HTTPS_PROXY is no address of a proxy; expected http://host:port") as raised:
        collected(Openai(key_file=Location(tmp_path / "key")))
    assert "password" not in str(raised.value)


@pytest.mark.parametrize(
    "address", ["http://api.example.com/v1", "ftp://api.example.com", "https://", "https://a:b@example.com"]
)
def test_a_key_is_sent_over_https_only(address: str) -> None:
    with pytest.raises(ValueError, match="base_url"):
        Openai(base_url=address)


def bucket(day: int, *results: Any) -> dict[str, Any]:
    start = int(datetime(2026, 10, 1, tzinfo=UTC).timestamp()) + (day - 1) * 86_400
    return {"object": "bucket", "start_time": start, "end_time": start + 86_400, "results": list(results)}


def result(value: Any = 1, currency: Any = "usd", **more: Any) -> dict[str, Any]:
    return {"object": "organization.costs.result", "amount": {"value": value, "currency": currency}, **more}


@pytest.mark.parametrize(
    ("results", "message"),
    [
        pytest.param([result("1,5")], r"result 1: amount\.value: found '1,5'", id="comma"),
        pytest.param([result(True)], r"amount\.value: found True", id="truth"),
        pytest.param([result(), result(None)], r"result 2: amount\.value: found nothing", id="nothing"),
        pytest.param([{"object": "organization.costs.result"}], r"amount\.value: found nothing", id="no amount"),
        pytest.param([result(1e300)], r"amount\.value: found .*expected a number between", id="too large"),
        pytest.param([result(9_300_000_000)], r"expected an amount below 9,000,000,000", id="more than nanos hold"),
        pytest.param([result(1, "dollars")], r"amount\.currency: found 'dollars'", id="currency"),
        pytest.param([result(1, None)], r"amount\.currency: found nothing", id="no currency"),
        pytest.param([result(project_id=7)], "project_id: found 7, expected a text", id="project"),
        pytest.param(["x"], "result 1: found 'x', expected an object", id="no object"),
    ],
)
def test_a_result_that_cannot_be_read_is_named(results: list[Any], message: str, tmp_path: Path) -> None:
    (tmp_path / "costs.json").write_text(json.dumps({**EMPTY, "data": [bucket(1, *results)]}))
    with pytest.raises(BadRecord, match=message) as raised:
        collected(Openai(path=Location(tmp_path)), RUNNING)
    assert raised.value.file == str(tmp_path / "costs.json")


def test_an_amount_as_text_is_read_as_exactly_as_a_number(tmp_path: Path) -> None:
    (tmp_path / "costs.json").write_text(json.dumps({**EMPTY, "data": [bucket(1, result("0.123456789"))]}))
    assert money(collected(Openai(path=Location(tmp_path)), RUNNING)) == 123_456_789


# --- saved pages ------------------------------------------------------------------------------------------------------


def saved(folder: Path, name: str, first: int, last: int, more: bool = False) -> None:
    page = {**EMPTY, "data": [bucket(day, result()) for day in range(first, last + 1)], "has_more": more}
    (folder / f"{name}.json").write_text(json.dumps({**page, "next_page": "t" if more else None}))


def test_saved_pages_are_read_as_the_server_sent_them(tmp_path: Path) -> None:
    found = collected(Openai(path=Location(FIXTURES)))
    assert money(found) == 119_310_000_000
    assert {job["account"] for job in found["jobs"]} == {"Synthetic data", "Evaluation"}
    assert {Path(c["origin_file"]).name for c in found["charges"]} == {"costs-1.json", "costs-2.json"}


def test_saved_pages_go_in_the_order_of_their_numbers(tmp_path: Path) -> None:
    for number in range(1, 12):
        saved(tmp_path, f"costs-{number}", number, number, more=number < 11)
    assert money(collected(Openai(path=Location(tmp_path)), RUNNING)) == 11 * 10**9


def test_a_page_without_its_successor_is_refused(tmp_path: Path) -> None:
    saved(tmp_path, "costs-1", 1, 7, more=True)
    with pytest.raises(SourceUnavailable, match=r"costs-1\.json: says that there is more, but no page comes after it"):
        collected(Openai(path=Location(tmp_path)))
    saved(tmp_path, "costs-3", 15, 21)
    with pytest.raises(
        SourceUnavailable, match=r"costs-1\.json: says that there is more after 2026-10-07, but .*begins with 2026-10-15"
    ):
        collected(Openai(path=Location(tmp_path)))


def test_a_missing_page_is_not_an_empty_day(tmp_path: Path) -> None:
    saved(tmp_path, "costs-1", 1, 7)
    saved(tmp_path, "costs-2", 10, 31)
    with pytest.raises(SourceUnavailable, match="no page of costs has 2026-10-08 nor 1 other days"):
        collected(Openai(path=Location(tmp_path)))
    (tmp_path / "costs-1.json").unlink()
    with pytest.raises(SourceUnavailable, match="no page of costs has 2026-10-01"):
        collected(Openai(path=Location(tmp_path)))
    (tmp_path / "costs-2.json").unlink()
    with pytest.raises(SourceUnavailable, match="has no saved pages of costs"):
        collected(Openai(path=Location(tmp_path)))


@pytest.mark.parametrize("name", ["costs", "embeddings"])
def test_pages_that_end_inside_a_month_that_is_over_leave_it_open(name: str, tmp_path: Path) -> None:
    """Published, the month would stay too small for ever, and only a finding would say so."""
    saved(tmp_path, "costs", 1, 31)
    saved(tmp_path, name, 1, 17)
    says_why = f"the saved pages of {name} end with 2026-10-17, but 2026-10 is over: .* 14 days would be missing; save them too"
    november = Window(OCTOBER.start, datetime(2026, 11, 5, tzinfo=UTC))
    for window in (OCTOBER, november):
        with pytest.raises(SourceUnavailable, match=says_why):
            collected(Openai(path=Location(tmp_path)), window)


def test_pages_that_end_inside_the_month_that_runs_are_read_and_said(tmp_path: Path) -> None:
    saved(tmp_path, "costs", 1, 17)
    found = collected(Openai(path=Location(tmp_path)), RUNNING)
    assert money(found) == 17 * 10**9
    assert [n["detail"] for n in found["notes"] if n["kind"] == "saved_pages_end"] == [
        "the saved pages of 2026-10 end with 2026-10-17"
    ]


def test_a_day_that_was_saved_twice_is_refused(tmp_path: Path) -> None:
    saved(tmp_path, "costs-1", 1, 7)
    saved(tmp_path, "costs-2", 7, 31)
    with pytest.raises(BadRecord, match=r"2026-10-07 is on .*costs-1\.json too; .* two organisations need a folder"):
        collected(Openai(path=Location(tmp_path)))


def test_a_file_whose_name_says_nothing_is_refused(tmp_path: Path) -> None:
    saved(tmp_path, "costs", 1, 31)
    saved(tmp_path, "october", 1, 31)
    with pytest.raises(BadRecord, match=r"october\.json: its name says of no report; expected costs-1\.json"):
        collected(Openai(path=Location(tmp_path)))


def test_a_bucket_that_is_no_day_is_refused(tmp_path: Path) -> None:
    hour = {**bucket(1), "end_time": bucket(1)["start_time"] + 3600}
    (tmp_path / "costs.json").write_text(json.dumps({**EMPTY, "data": [hour]}))
    with pytest.raises(BadRecord, match="expected one UTC day"):
        collected(Openai(path=Location(tmp_path)))


def test_a_truncated_file_is_a_bad_record(tmp_path: Path) -> None:
    (tmp_path / "costs.json").write_text('{"data": [')
    with pytest.raises(BadRecord, match=r"costs\.json: is no whole page of JSON"):
        collected(Openai(path=Location(tmp_path)))


# --- the whole way ----------------------------------------------------------------------------------------------------

CONFIG = """\
ledger = "ledger"

[collectors.openai]
key_file = "key"
base_url = "{address}/v1"

[taggers.rule]
path = "rules.toml"
"""
RULES = """\
[[rule]]
name = "synthetic data"
when = "name ILIKE '%generator%'"
activity = "data_generation"

[[rule]]
name = "grading"
when = "account = 'Evaluation'"
activity = "evaluation"

[[rule]]
name = "serving"
when = "labels['project_id'] = 'proj_app'"
activity = "inference"
"""


def test_every_dollar_arrives_at_a_job_of_the_right_team_and_the_closing_is_zero(tmp_path: Path) -> None:
    bills = organisation()
    (tmp_path / "key").write_text(bills.key)
    (tmp_path / "rules.toml").write_text(RULES)
    with served(bills, openai_page) as address:
        (tmp_path / "rdspend.toml").write_text(CONFIG.format(address=address))
        config = load(tmp_path / "rdspend.toml")
        first = Pipeline(config).run(parse_period("2026-10"))
        again = Pipeline(config).run(parse_period("2026-10"))
    assert (first.failures, again.failures) == ([], [])
    (breakdown,) = again.breakdowns
    assert (breakdown.total, breakdown.charges - breakdown.attributed) == (TOTAL, 0)
    assert {line.name: line.cost for line in breakdown.teams if line.cost} == {
        "Synthetic data": Decimal("112.75"),
        "Evaluation": Decimal("7.060000001"),
        "Product": Decimal(1),
    }
    assert {line.name: line.cost for line in breakdown.lines if line.cost} == {
        "data_generation": Decimal("112.75"),
        "evaluation": Decimal("7.060000001"),
        "inference": Decimal(1),
    }
    assert [line.cost for line in breakdown.buckets] == [0, 0, 0, 0]
    with Engine() as engine:
        for table in ("tokens", "jobs"):
            Reader(config).ledger.snapshot().view(engine, table)
        counted = engine.rows("SELECT sum(tokens), count(*) FROM tokens JOIN jobs USING (job_key)")
        assert counted == [(20_116, engine.value("SELECT count(*) FROM tokens"))]


def test_a_month_on_an_invoice_that_its_owner_states_closes(tmp_path: Path) -> None:
    bills = organisation()
    (tmp_path / "key").write_text(bills.key)
    (tmp_path / "rules.toml").write_text(RULES)
    (tmp_path / "invoices.toml").write_text(
        '[[invoice]]\ninvoice = "INV-2026-10"\nprovider = "OpenAI"\ncurrency = "USD"\ntotal = "120.81"\n'
        'billing_period = "2026-10"\n'
    )
    found = {}
    for invoice in ("", 'invoice = "INV-{month}"\n'):
        with served(bills, openai_page) as address:
            text = CONFIG.format(address=address).replace('/v1"\n', f'/v1"\n{invoice}')
            (tmp_path / "rdspend.toml").write_text(text + '\n[collectors.invoices]\npath = "invoices.toml"\n')
            config = load(tmp_path / "rdspend.toml")
            settled = datetime(2026, 12, 1, tzinfo=UTC).timestamp()
            outcome = Pipeline(config, clock=lambda now=settled: now).run(parse_period("2026-10"))
        assert outcome.failures == []
        (breakdown,) = outcome.breakdowns
        found[breakdown.state] = [(i.invoice, i.stated, i.billed) for i in breakdown.invoices]
    assert found == {
        "preliminary": [("INV-2026-10", Decimal("120.81"), 0)],
        "closed": [("INV-2026-10", Decimal("120.81"), TOTAL)],
    }
