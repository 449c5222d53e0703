"""cost_explorer: a check costs what it says, no more than its budget, and is open where it could not be read to its end."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from organisations import write_organisation

from collectors.cost_explorer import CostExplorer, Till
from rdspend.config import load
from rdspend.engine import Engine
from rdspend.errors import BadRecord, ConfigError, SourceUnavailable
from rdspend.period import parse_period
from rdspend.pipeline import Pipeline
from rdspend.reading import Reader
from rdspend.schema import STATEMENTS, Delivery, Location, Window

FIXTURES = Path(__file__).parent / "fixtures" / "cost_explorer"
PAGES = {None: "page-1", "page-2": "page-2"}
OCTOBER = Window(datetime(2026, 10, 1, tzinfo=UTC), datetime(2026, 11, 1, tzinfo=UTC))
NOW = datetime(2026, 11, 20, 12, tzinfo=UTC)


@dataclass
class Service:
    """What the server answers, and what it was asked. `answer` gives status and body of a question."""

    answer: Callable[[dict[str, Any]], tuple[int, dict[str, Any]]]
    asked: list[dict[str, Any]] = field(default_factory=list)
    url: str = ""


def two_pages(question: dict[str, Any]) -> tuple[int, dict[str, Any]]:
    return 200, json.loads((FIXTURES / f"{PAGES[question.get('NextPageToken')]}.json").read_text())


def refusal(code: str, status: int = 400) -> tuple[int, dict[str, Any]]:
    return status, {"__type": f"com.amazonaws#{code}", "Message": "said the service"}


@contextmanager
def served(answer: Callable[[dict[str, Any]], tuple[int, dict[str, Any]]]) -> Iterator[Service]:
    """A server that speaks Cost Explorer's protocol on a free port."""
    service = Service(answer)

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            assert self.headers["X-Amz-Target"] == "AWSInsightsIndexService.GetCostAndUsage"
            question = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            service.asked.append(question)
            status, body = service.answer(question)
            content = json.dumps(body).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/x-amz-json-1.1")
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    service.url = f"http://127.0.0.1:{server.server_port}"
    try:
        yield service
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@pytest.fixture(autouse=True)
def credentials(monkeypatch: pytest.MonkeyPatch) -> None:
    """The environment carries credentials, as boto3's chain reads them."""
    for name in [n for n in os.environ if n.startswith("AWS_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "test")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "test")


@pytest.fixture
def service() -> Iterator[Service]:
    with served(two_pages) as service:
        yield service


@dataclass
class Said:
    """One delivery, read."""

    month: str
    rows: list[dict[str, Any]]
    notes: list[tuple[str, str, str, int]]
    requests: int
    own_cost: int

    @property
    def complete(self) -> set[bool]:
        return {row["complete"] for row in self.rows}


def read(delivery: Delivery) -> Said:
    assert (delivery.table, list(delivery.scope), delivery.complete) == ("statements", ["billing_period"], True)
    relation: Any = delivery.rows
    assert set(relation.columns) <= set(STATEMENTS.names)
    rows = [dict(zip(relation.columns, row, strict=True)) for row in relation.fetchall()]
    return Said(delivery.scope["billing_period"], rows, list(delivery.notes), delivery.requests, delivery.own_cost)


def ask(service: Service, folder: Path, now: datetime = NOW, window: Window = OCTOBER, **options: Any) -> list[Said]:
    explorer = CostExplorer(Location(folder / "cache"), endpoint_url=service.url, **options)
    return [read(delivery) for delivery in explorer.ask(window, now)]


# --- what it says -----------------------------------------------------------------------------------------------------


def test_a_month_comes_out_by_service_and_account_to_the_nano(service: Service, tmp_path: Path) -> None:
    (said,) = ask(service, tmp_path, bill="aws_cur")
    keys = ("origin_row", "service_name", "sub_account_id", "currency", "billed_cost_nanos", "effective_cost_nanos", "complete")
    assert [tuple(row[key] for key in keys) for row in said.rows] == [
        (1, "Amazon Elastic Compute Cloud - Compute", "111111111111", "USD", 4_064_481_234_568, 3_700_250_000_000, True),
        (2, "Tax", "111111111111", "USD", 0, 0, True),
        (3, "AWS Data Transfer", "222222222222", "USD", -12_500_000_001, 12_500_000_000, True),
    ]
    assert {(row["kind"], row["bill"], row["provider_name"]) for row in said.rows} == {("check", "aws_cur", "AWS")}
    assert (said.month, said.notes, said.requests, said.own_cost) == ("2026-10", [], 2, 20_000_000)


def test_one_question_a_month_by_service_and_account(service: Service, tmp_path: Path) -> None:
    ask(service, tmp_path)
    question = {
        "TimePeriod": {"Start": "2026-10-01", "End": "2026-11-01"},
        "Granularity": "MONTHLY",
        "Metrics": ["UnblendedCost", "NetAmortizedCost", "AmortizedCost"],
        "GroupBy": [{"Type": "DIMENSION", "Key": "SERVICE"}, {"Type": "DIMENSION", "Key": "LINKED_ACCOUNT"}],
    }
    assert service.asked == [question, question | {"NextPageToken": "page-2"}]


@pytest.mark.parametrize(
    ("end", "asked_to"),
    [("2026-10-05", "2026-10-05"), ("2026-10-05T00:00:01", "2026-10-06"), ("2026-10-31T23:00", "2026-11-01")],
)
def test_a_month_that_still_runs_is_asked_for_to_the_day_of_now(
    service: Service, tmp_path: Path, end: str, asked_to: str
) -> None:
    ask(service, tmp_path, window=Window(OCTOBER.start, datetime.fromisoformat(end).replace(tzinfo=UTC)))
    assert {question["TimePeriod"]["End"] for question in service.asked} == {asked_to}


def test_services_of_one_name_are_one_row(service: Service, tmp_path: Path) -> None:
    names = {"Amazon Elastic Compute Cloud - Compute": "EC2", "Tax": "EC2"}
    (said,) = ask(service, tmp_path, services=names)
    assert [(row["service_name"], row["sub_account_id"], row["billed_cost_nanos"]) for row in said.rows] == [
        ("EC2", "111111111111", 4_064_481_234_568),
        ("AWS Data Transfer", "222222222222", -12_500_000_001),
    ]


def test_by_account_leaves_services_out_and_asks_the_same(service: Service, tmp_path: Path) -> None:
    (by_service,) = ask(service, tmp_path)
    (by_account,) = ask(service, tmp_path, by="account")
    assert by_account.requests == 0
    assert [(row["service_name"], row["sub_account_id"], row["effective_cost_nanos"]) for row in by_account.rows] == [
        (None, "111111111111", 3_700_250_000_000),
        (None, "222222222222", 12_500_000_000),
    ]
    assert {"billed_cost_nanos", "complete"} <= set(by_account.rows[0])
    total = sum(row["billed_cost_nanos"] for row in by_service.rows)
    assert sum(row["billed_cost_nanos"] for row in by_account.rows) == total


def test_an_empty_month_is_an_answer(tmp_path: Path) -> None:
    nothing = {"ResultsByTime": [{"TimePeriod": {"Start": "2026-10-01", "End": "2026-11-01"}, "Total": {}, "Groups": []}]}
    with served(lambda _: (200, nothing)) as service:
        (said,) = ask(service, tmp_path)
    assert (said.rows, said.notes, said.requests) == ([], [], 1)


# --- what it costs ----------------------------------------------------------------------------------------------------


def test_a_fresh_answer_costs_nothing(service: Service, tmp_path: Path) -> None:
    (first,) = ask(service, tmp_path)
    (second,) = ask(service, tmp_path, now=NOW + timedelta(hours=23))
    assert (second.rows, second.requests, second.own_cost) == (first.rows, 0, 0)
    (third,) = ask(service, tmp_path, now=NOW + timedelta(hours=25))
    assert (third.requests, len(service.asked)) == (2, 4)


def test_a_budget_that_runs_out_leaves_the_check_open_and_goes_on_the_next_day(service: Service, tmp_path: Path) -> None:
    (first,) = ask(service, tmp_path, requests_per_day=1)
    assert (len(first.rows), first.complete, first.requests) == (2, {False}, 1)
    assert first.notes == [
        ("check_open", "cost_explorer", "requests_per_day = 1 used up after 1 pages of 2026-10; it goes on tomorrow", 0)
    ]
    (same_day,) = ask(service, tmp_path, now=NOW + timedelta(hours=11), requests_per_day=1)
    assert (same_day.rows, same_day.notes, same_day.requests) == (first.rows, first.notes, 0)
    (next_day,) = ask(service, tmp_path, now=NOW + timedelta(hours=13), requests_per_day=1)
    assert (len(next_day.rows), next_day.complete, next_day.requests, next_day.notes) == (3, {True}, 1, [])
    assert [question.get("NextPageToken") for question in service.asked] == [None, "page-2"]


def test_a_budget_that_is_used_up_before_the_first_page_says_so(service: Service, tmp_path: Path) -> None:
    ask(service, tmp_path, requests_per_day=2)
    window = Window(datetime(2026, 9, 1, tzinfo=UTC), OCTOBER.end)
    september, october = ask(service, tmp_path, window=window, requests_per_day=2)
    assert (september.rows, [note[0] for note in september.notes]) == ([], ["check_open"])
    assert (october.complete, october.requests, len(service.asked)) == ({True}, 0, 2)


def test_requests_of_a_failed_attempt_are_told_by_the_next_delivery(service: Service, tmp_path: Path) -> None:
    service.answer = lambda question: two_pages(question) if len(service.asked) != 2 else refusal("ThrottlingException")
    with pytest.raises(SourceUnavailable, match="throttling"):
        ask(service, tmp_path)
    (said,) = ask(service, tmp_path)
    assert (len(said.rows), said.requests, said.own_cost, len(service.asked)) == (3, 3, 30_000_000, 3)
    (again,) = ask(service, tmp_path)
    assert again.requests == 0


def test_a_request_is_never_sent_twice_in_silence(service: Service, tmp_path: Path) -> None:
    service.answer = lambda _: refusal("InternalFailure", 500)
    with pytest.raises(SourceUnavailable, match="AWS answered InternalFailure"):
        ask(service, tmp_path)
    assert len(service.asked) == 1


def test_many_processes_share_one_budget(tmp_path: Path) -> None:
    with ThreadPoolExecutor(8) as pool:
        paid = list(pool.map(lambda _: Till(tmp_path, 25, NOW).pay(), range(60)))
    assert sum(paid) == 25
    assert Till(tmp_path, 25, NOW + timedelta(days=1)).pay()


def test_a_count_that_can_not_be_read_is_not_zero(service: Service, tmp_path: Path) -> None:
    (tmp_path / "cache").mkdir()
    (tmp_path / "cache" / "requests.json").write_text('{"day": "2026-11-')
    with pytest.raises(ConfigError, match=r"requests\.json: can't be read as a count of requests; remove it"):
        ask(service, tmp_path)
    assert service.asked == []


@pytest.mark.parametrize("content", ["", "{", "[]", '{"since": "2026-11-20T12:00:00+00:00"}'])
def test_a_broken_answer_in_the_cache_is_asked_for_again(service: Service, tmp_path: Path, content: str) -> None:
    ask(service, tmp_path)
    (kept,) = (tmp_path / "cache").glob("2026-10-*.json")
    kept.write_text(content)
    (said,) = ask(service, tmp_path)
    assert (len(said.rows), said.requests) == (3, 2)


def test_answers_that_nobody_asks_for_any_more_are_removed(service: Service, tmp_path: Path) -> None:
    ask(service, tmp_path)
    (kept,) = (tmp_path / "cache").glob("2026-10-*.json")
    os.utime(kept, ((NOW - timedelta(days=61)).timestamp(),) * 2)
    ask(service, tmp_path, window=Window(datetime(2026, 9, 1, tzinfo=UTC), OCTOBER.start), requests_per_day=2)
    assert not kept.exists()


# --- what goes wrong --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("code", "message"),
    [
        ("AccessDeniedException", "Cost Explorer, 2026-10: AWS denied it; allow ce:GetCostAndUsage"),
        ("LimitExceededException", "AWS is throttling"),
        ("DataUnavailableException", "AWS has no data of it yet"),
        ("UnrecognizedClientException", "AWS answered UnrecognizedClientException: said the service"),
    ],
)
def test_a_refusal_says_what_to_do(tmp_path: Path, code: str, message: str) -> None:
    with served(lambda _: refusal(code)) as service, pytest.raises(SourceUnavailable, match=re.escape(message)):
        ask(service, tmp_path)


def test_no_answer_and_no_credentials_are_unavailable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(SourceUnavailable, match="Could not connect"):
        ask(Service(two_pages, url="http://127.0.0.1:9"), tmp_path)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "none"))
    with pytest.raises(SourceUnavailable, match="Unable to locate credentials"):
        ask(Service(two_pages, url="http://127.0.0.1:9"), tmp_path)
    with pytest.raises(SourceUnavailable, match=r"can't set up the client: .*\(nobody\)"):
        ask(Service(two_pages, url="http://127.0.0.1:9"), tmp_path, profile="nobody")


def test_a_month_that_aws_has_dropped_is_noted(tmp_path: Path) -> None:
    with served(lambda _: refusal("BillExpirationException")) as service:
        (said,) = ask(service, tmp_path)
        (again,) = ask(service, tmp_path)
    assert said.rows == []
    assert said.notes == [("check_missing", "cost_explorer", "AWS no longer keeps 2026-10: said the service", 0)] == again.notes
    assert len(service.asked) == 1


@pytest.mark.parametrize("code", ["InvalidNextTokenException", "RequestChangedException"])
def test_a_page_token_that_is_taken_no_more_begins_the_answer_again(code: str, service: Service, tmp_path: Path) -> None:
    ask(service, tmp_path, requests_per_day=1)
    service.answer = lambda q: refusal(code) if len(service.asked) == 2 else two_pages(q)
    (said,) = ask(service, tmp_path, now=NOW + timedelta(hours=13))
    assert (len(said.rows), said.complete, said.requests) == (3, {True}, 3)
    assert [question.get("NextPageToken") for question in service.asked] == [None, "page-2", None, "page-2"]


def test_pages_that_never_end_are_refused(service: Service, tmp_path: Path) -> None:
    service.answer = lambda _: two_pages({})
    with pytest.raises(BadRecord, match="page 2 leads back to an earlier one; expected pages that end"):
        ask(service, tmp_path)
    assert len(service.asked) == 2


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('"2026-10-01"', '"2026-09-01"', "TimePeriod.Start: found 2026-09-01, expected 2026-10-01"),
        ('["Tax", "111111111111"]', '["Tax"]', "row 2: Keys: found '[Tax]', expected two: SERVICE, LINKED_ACCOUNT"),
        ('"4064.4812345678"', '"4,064"', "row 1: UnblendedCost: found '4,064', expected a decimal below 9,000,000,000"),
        ('"3700.25"', '"NaN"', "row 1: NetAmortizedCost: found 'NaN', expected a decimal below"),
        ('{"Amount": "-1.0E-10", "Unit": "USD"}', '{"Unit": "USD"}', "row 2: UnblendedCost: found nothing, expected a decimal"),
        ('"3700.25", "Unit": "USD"', '"3700.25", "Unit": "EUR"', "row 1: Unit: found '[EUR, USD]', expected one currency"),
        (
            '"Total": {},\n      "Groups"',
            '"Total": {"UnblendedCost": {}},\n      "Others"',
            "found a total only, expected groups by",
        ),
    ],
)
def test_an_answer_that_can_not_be_read_is_a_bad_record(tmp_path: Path, old: str, new: str, message: str) -> None:
    text = (FIXTURES / "page-1.json").read_text()
    assert old in text
    page = json.loads(text.replace(old, new)) | {"NextPageToken": None}
    config = configured(tmp_path)
    with served(lambda _: (200, page)) as service:
        outcome = Pipeline(load(config(service.url)), clock=NOW.timestamp).run(parse_period("2026-10"), ["collect"])
    (failure,) = outcome.failures
    assert isinstance(failure.error, BadRecord), failure.error
    assert message in str(failure.error)


def test_a_cache_that_can_not_be_written_is_named(service: Service, tmp_path: Path) -> None:
    (tmp_path / "cache").write_text("a file")
    with pytest.raises(ConfigError, match=r"cache: .*expected a folder that can be written"):
        ask(service, tmp_path)


@pytest.mark.parametrize("options", [{"requests_per_day": 0}, {"fresh_hours": 0}, {"bill": "aws cur"}])
def test_options_without_sense_are_refused(options: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"1 or more|name of a collector"):
        CostExplorer(Location("cache"), **options)


# --- through the ledger -----------------------------------------------------------------------------------------------


def configured(folder: Path) -> Callable[[str], Path]:
    def write(url: str) -> Path:
        config = write_organisation(folder)
        table = f'\n[collectors.cost_explorer]\ncache = "cache"\nbill = "focus"\nendpoint_url = "{url}"\n'
        config.write_text(config.read_text() + table)
        return config

    return write


def test_the_ledger_holds_the_check_and_what_it_cost(service: Service, tmp_path: Path) -> None:
    config = load(configured(tmp_path)(service.url))
    for _ in range(2):
        assert Pipeline(config, clock=NOW.timestamp).run(parse_period("2026-10"), ["collect"]).failures == []
    with Engine() as engine:
        for table in ("statements", "coverage", "charges"):
            Reader(config).ledger.snapshot().view(engine, table)
        checks = engine.rows("SELECT billing_period, count(*), bool_and(complete) FROM statements GROUP BY ALL")
        assert checks == [("2026-10", 3, True)]
        costs = engine.rows("SELECT requests, own_cost_nanos FROM coverage WHERE source = 'cost_explorer' ORDER BY run")
        assert [tuple(int(value or 0) for value in row) for row in costs] == [(2, 20_000_000), (0, 0)]
        assert engine.rows("SELECT DISTINCT source FROM charges") == [("focus",)]


@pytest.fixture
def moto(tmp_path: Path) -> Iterator[str]:
    """moto as a process of its own; it says on which port it listens."""
    log = tmp_path / "log"
    with log.open("w") as out:
        command = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", "0"]
        server = subprocess.Popen(command, stdout=out, stderr=subprocess.STDOUT)
    try:
        until = time.monotonic() + 60
        while not (found := re.search(r"http://127\.0\.0\.1:\d+", log.read_text())):
            assert server.poll() is None and time.monotonic() < until, log.read_text()
            time.sleep(0.1)
        yield found[0]
    finally:
        server.terminate()
        server.wait(10)


@pytest.mark.server
def test_motos_cost_explorer_is_understood(moto: str, tmp_path: Path) -> None:
    page = json.loads((FIXTURES / "page-2.json").read_text())
    request = urllib.request.Request(
        f"{moto}/moto-api/static/ce/cost-and-usage-results",
        json.dumps({"results": [page]}).encode(),
        {"Content-Type": "application/json"},
    )
    urllib.request.urlopen(request, timeout=10).close()
    (said,) = ask(Service(two_pages, url=moto), tmp_path)
    assert [(row["service_name"], row["billed_cost_nanos"]) for row in said.rows] == [("AWS Data Transfer", -12_500_000_001)]
