"""The daemon over real sockets and with real signals: it serves bytes, outlives its runs, and ends when told."""

from __future__ import annotations

import contextlib
import gzip
import http.client
import itertools
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from breakdowns import build, full_health, many

from exporters.prometheus import OPEN_METRICS, Prometheus
from rdspend.daemon import Daemon, Stop, landing_page
from rdspend.errors import ConfigError, SourceUnavailable
from rdspend.pages import CONNECTIONS, HEALTHY, TEXT, Answer, accepts_gzip, chosen
from rdspend.schema import Breakdown, Health, SourceHealth

FOCUS = SourceHealth("focus", True, 1790000000.0, 1790000000.0, 2.5, 1000)
GOOD = Health(
    "1.2.3",
    (SourceHealth("focus", True, 1790000000.0, 1790000000.0, 2.5, 1000),),
    last_run_ok=True,
    last_run=1790000000,
)

Run = tuple[list[Breakdown], Health]


def static(_: Stop) -> Run:
    return [build()], GOOD


@contextlib.contextmanager
def daemon(work: Callable[[Stop], Run], interval_seconds: float = 3600, **options: Any) -> Iterator[tuple[Daemon, list[str]]]:
    log: list[str] = []
    made = Daemon(
        work,
        {"prometheus": Prometheus("127.0.0.1:0")},
        interval_seconds,
        "1.2.3",
        log.append,
        clock=lambda: 42.0,
    )
    made.start()
    try:
        yield made, log
    finally:
        made.stop()


def ask(made: Daemon, path: str, method: str = "GET", **headers: str) -> tuple[int, dict[str, str], bytes]:
    connection = http.client.HTTPConnection(*made.addresses["prometheus"], timeout=10)
    try:
        connection.request(method, path, headers={name.replace("_", "-"): value for name, value in headers.items()})
        answer = connection.getresponse()
        return answer.status, {name.lower(): value for name, value in answer.getheaders()}, answer.read()
    finally:
        connection.close()


def until(condition: Callable[[], bool], seconds: float = 10) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "did not happen in time"
        time.sleep(0.005)


def ready(made: Daemon) -> bool:
    return ask(made, "/-/ready")[0] == 200


# --- pages ------------------------------------------------------------------------------------------------------------


def test_metrics_are_the_rendered_bytes() -> None:
    with daemon(static) as (made, _):
        until(lambda: ready(made))
        status, headers, body = ask(made, "/metrics")
        expected = Prometheus().render([build()], Health(**{**_fields(GOOD), "last_success": 1790000000}))
    assert (status, body) == (200, expected)
    assert headers["content-type"] == TEXT
    assert headers["content-length"] == str(len(expected))
    assert "content-encoding" not in headers


def _fields(health: Health) -> dict[str, Any]:
    return {name: getattr(health, name) for name in health.__dataclass_fields__}


def test_the_whole_answer_on_the_socket_is_known_to_the_byte() -> None:
    with daemon(static) as (made, _), socket.create_connection(made.addresses["prometheus"], timeout=10) as client:
        client.sendall(b"GET /-/healthy?x=1 HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        answer = b"".join(iter(lambda: client.recv(4096), b""))
    head, _, body = answer.partition(b"\r\n\r\n")
    lines = [line for line in head.split(b"\r\n") if not line.startswith(b"Date: ")]
    assert lines == [
        b"HTTP/1.1 200 OK",
        b"Server: rdspend",
        b"Content-Type: text/plain; version=0.0.4; charset=utf-8",
        b"Content-Length: 17",
        b"X-Content-Type-Options: nosniff",
        b"Content-Security-Policy: default-src 'none'; style-src 'unsafe-inline'",
    ]
    assert body == b"rdspend is alive\n"


def test_gzip_is_sent_to_those_who_take_it_and_unpacks_to_the_same_bytes() -> None:
    with daemon(static) as (made, _):
        until(lambda: ready(made))
        _, _, plain = ask(made, "/metrics")
        _, headers, packed = ask(made, "/metrics", Accept_Encoding="deflate, gzip;q=0.5")
        _, refused, unpacked = ask(made, "/metrics", Accept_Encoding="gzip;q=0")
    assert headers["content-encoding"] == "gzip"
    assert gzip.decompress(packed) == plain == unpacked
    assert len(packed) < len(plain) / 3
    assert "content-encoding" not in refused
    assert headers["vary"] == refused["vary"] == "Accept, Accept-Encoding"


OF_PROMETHEUS = (  # 2.42 and 3.5
    "application/openmetrics-text;version=1.0.0,application/openmetrics-text;version=0.0.1;q=0.75,text/plain;version=0.0.4;q=0.5,*/*;q=0.1",
    "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.6,application/openmetrics-text;version=0.0.1;q=0.5,"
    "text/plain;version=1.0.0;escaping=allow-utf-8;q=0.4,text/plain;version=0.0.4;q=0.3,*/*;q=0.2",
)


@pytest.mark.parametrize(
    ("accept", "kind"),
    [
        *((header, OPEN_METRICS) for header in OF_PROMETHEUS),
        ("application/openmetrics-text", OPEN_METRICS),
        ('APPLICATION/OpenMetrics-Text; version="1.0.0" ; q=0.9', OPEN_METRICS),
        ("application/openmetrics-text;version=1.0.0, */*", OPEN_METRICS),
        ("application/openmetrics-text;version=0.0.1, text/plain;q=0.5", TEXT),
        ("application/openmetrics-text;version=2.0.0", TEXT),
        ("application/openmetrics-text;q=0", TEXT),
        ("application/openmetrics-text;q=x", TEXT),
        ("application/openmetrics-text;q=0.2, text/plain;q=0.5", TEXT),
        ("application/openmetrics-text;q=0.2, */*;q=0.5", TEXT),
        ("*/*", TEXT),
        ("text/html,application/xhtml+xml,*/*;q=0.8", TEXT),
        ("application/json", TEXT),
        ("", TEXT),
        (";;,=,q", TEXT),
    ],
)
def test_the_accept_header_chooses_the_form_of_the_page(accept: str, kind: str) -> None:
    page = Answer(200, TEXT, b"text", others=(Answer(200, OPEN_METRICS, b"open"),))
    assert chosen(page, accept).content_type == kind


def test_a_page_with_one_form_is_sent_whatever_is_accepted() -> None:
    assert chosen(HEALTHY, "application/openmetrics-text") == HEALTHY


@pytest.mark.parametrize("packed", ["gzip", "identity"])
def test_openmetrics_is_sent_to_those_who_prefer_it_and_text_to_others(packed: str) -> None:
    with daemon(static) as (made, _):
        until(lambda: ready(made))
        _, of_text, text = ask(made, "/metrics", Accept_Encoding=packed)
        _, headers, body = ask(made, "/metrics", Accept=OF_PROMETHEUS[0], Accept_Encoding=packed)
    assert (of_text["content-type"], headers["content-type"]) == (TEXT, OPEN_METRICS)
    unpacked = gzip.decompress(body) if packed == "gzip" else body
    assert unpacked.endswith(b"\n# EOF\n")
    assert text != body
    assert headers["vary"] == "Accept, Accept-Encoding"
    assert int(headers["content-length"]) == len(body)


@pytest.mark.parametrize(
    ("header", "taken"),
    [
        ("gzip", True),
        ("GZIP", True),
        ("gzip;q=0.001", True),
        ("gzip; q=0", False),
        ("gzip;q=0.000", False),
        ("*", True),
        ("*;q=0", False),
        ("gzip;q=0, *", False),
        ("identity", False),
        ("xgzip", False),
        ("", False),
        (",;,", False),
    ],
)
def test_accept_encoding_is_read_as_the_standard_says(header: str, taken: bool) -> None:
    assert accepts_gzip(header) is taken


def test_head_has_the_head_of_get_and_no_body() -> None:
    with daemon(static) as (made, _):
        until(lambda: ready(made))
        _, of_get, body = ask(made, "/metrics")
        status, of_head, nothing = ask(made, "/metrics", method="HEAD")
    assert (status, nothing) == (200, b"")
    assert of_head["content-length"] == of_get["content-length"] == str(len(body))


def test_after_a_head_the_connection_holds_no_stray_bytes() -> None:
    with daemon(static) as (made, _), socket.create_connection(made.addresses["prometheus"], timeout=10) as client:
        client.sendall(b"HEAD /-/healthy HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        answer = b"".join(iter(lambda: client.recv(4096), b""))
    assert answer.endswith(b"\r\n\r\n")


def test_a_condition_is_never_answered_with_not_modified() -> None:
    with daemon(static) as (made, _):
        headers = {"If_None_Match": "*", "If_Modified_Since": "Thu, 01 Jan 2099 00:00:00 GMT"}
        assert ask(made, "/metrics", **headers)[0] == 200


@pytest.mark.parametrize("path", ["/nothing", "/metrics/", "/../etc/passwd", "/-/"])
def test_any_other_path_is_not_found(path: str) -> None:
    with daemon(static) as (made, _):
        assert ask(made, path)[0] == 404


def test_other_methods_are_refused() -> None:
    with daemon(static) as (made, _):
        assert ask(made, "/metrics", method="POST")[0] == 501


def test_the_landing_page_says_what_an_hour_costs_now() -> None:
    page = landing_page([], full_health(), "")
    assert "<li>1,650.00 USD an hour, of it idle 37.50; 516.50 GPUs held, 3.50 idle, 65 nodes up" in page
    assert "<li>no price; 8.00 GPUs held, unknown idle, 2 nodes up" in page
    assert "An hour of what runs now" not in landing_page([], GOOD, "")


def test_the_landing_page_escapes_what_sources_and_failures_say() -> None:
    health = Health("1.2.3", (SourceHealth("<b>x</b>", False, None, None, 1, 0),), last_run_ok=True)
    with daemon(lambda _: ([build(synthetic=True)], health)) as (made, _):
        until(lambda: ready(made))
        _, headers, body = ask(made, "/")
    page = body.decode()
    assert headers["content-type"] == "text/html; charset=utf-8"
    assert "&lt;b&gt;x&lt;/b&gt;" in page
    assert "<b>x</b>" not in page
    assert "DOWN" in page
    assert "SYNTHETIC" in page
    assert "1,337,187.93 USD" in page
    assert "Version 1.2.3" in page


def test_one_connection_serves_many_requests() -> None:
    with daemon(static) as (made, _):
        connection = http.client.HTTPConnection(*made.addresses["prometheus"], timeout=10)
        for _ in range(3):
            connection.request("GET", "/-/healthy")
            assert connection.getresponse().read() == b"rdspend is alive\n"
        connection.close()


def test_a_slow_client_keeps_no_other_waiting() -> None:
    with daemon(static) as (made, _), socket.create_connection(made.addresses["prometheus"]) as slow:
        slow.sendall(b"GET /metrics HTT")
        assert ask(made, "/-/healthy")[0] == 200


def test_more_connections_than_there_are_places_are_closed_and_the_daemon_lives_on() -> None:
    with daemon(static) as (made, _):
        idle = [socket.create_connection(made.addresses["prometheus"], timeout=10) for _ in range(CONNECTIONS + 1)]
        try:
            assert idle[-1].recv(1) == b""
        finally:
            for client in idle:
                client.close()
        until(lambda: ask(made, "/-/healthy")[0] == 200)


def test_four_scrapers_at_once_see_whole_pages_while_they_are_swapped() -> None:
    revisions = iter(range(1, 10**9))
    with daemon(lambda _: ([build(revision=next(revisions))], GOOD), interval_seconds=0.01) as (made, _):
        until(lambda: ready(made))

        def scrape(_: int) -> set[bytes]:
            return {ask(made, "/metrics", Accept_Encoding="identity")[2] for _ in range(25)}

        with ThreadPoolExecutor(4) as scrapers:
            pages = set().union(*scrapers.map(scrape, range(4)))
    assert len(pages) > 4
    known = {
        Prometheus().render([build(revision=n)], Health(**{**_fields(GOOD), "last_success": 1790000000}))
        for n in range(1, next(revisions) + 1)
    }
    assert pages <= known


# --- runs -------------------------------------------------------------------------------------------------------------


def test_it_is_not_ready_before_the_first_run_has_ended() -> None:
    go = threading.Event()

    def work(stop: Stop) -> Run:
        go.wait(10)
        return static(stop)

    with daemon(work) as (made, _):
        assert ask(made, "/-/ready")[0] == 503
        assert ask(made, "/-/healthy")[0] == 200
        assert b"rdspend_last_run_ok" not in ask(made, "/metrics")[2]
        go.set()
        until(lambda: ready(made))


def test_a_failing_run_leaves_the_last_good_figures_and_says_so() -> None:
    runs, blocked = iter(range(100)), threading.Event()

    def work(stop: Stop) -> Run:
        match next(runs):
            case 0:
                return static(stop)
            case 1:
                raise SourceUnavailable("focus: the bucket\ndid not answer <b>")
        blocked.set()
        stop.wait(10)
        raise AssertionError("a run that is told to stop is no failure")

    with daemon(work, interval_seconds=0.05) as (made, log):
        until(lambda: b"rdspend_last_run_ok 0" in ask(made, "/metrics")[2])
        page = ask(made, "/metrics")[2]
        landing = ask(made, "/")[2]
        assert blocked.wait(10)
    assert b'rdspend_cost_usd{basis="billed"' in page
    assert b"rdspend_last_run_timestamp_seconds 42" in page
    assert b"rdspend_last_success_timestamp_seconds 1.79e+09" in page
    assert b"the bucket did not answer &lt;b&gt;" in landing
    assert [line for line in log if "failed" in line] == [
        "run failed, the last good figures stay: SourceUnavailable: focus: the bucket did not answer <b>"
    ]


def test_the_first_run_may_fail_and_a_later_one_makes_it_ready() -> None:
    runs = iter(range(100))

    def work(stop: Stop) -> Run:
        if next(runs) < 2:
            raise RuntimeError("not yet")
        return static(stop)

    with daemon(work, interval_seconds=0.05) as (made, _):
        until(lambda: ready(made))
        assert b"rdspend_last_run_ok 1" in ask(made, "/metrics")[2]


def test_a_panic_of_a_library_does_not_end_the_daemon() -> None:
    class Panic(BaseException):
        pass

    runs = iter(range(100))

    def work(stop: Stop) -> Run:
        if next(runs) == 0:
            raise Panic("index out of bounds")
        return static(stop)

    with daemon(work, interval_seconds=0.05) as (made, log):
        until(lambda: ready(made))
    assert any("Panic: index out of bounds" in line for line in log)


def test_figures_that_can_not_be_rendered_do_not_replace_those_that_can() -> None:
    runs = iter(range(100))

    def work(stop: Stop) -> Run:
        months = 1 if next(runs) == 0 else 400
        return [build(period=f"{2000 + n}-01") for n in range(months)], GOOD

    with daemon(work, interval_seconds=0.05) as (made, log):
        until(lambda: b"rdspend_last_run_ok 0" in ask(made, "/metrics")[2])
        assert ask(made, "/metrics")[2].count(b"\nrdspend_synthetic_data{") == 1
        until(lambda: sum("max_series" in line for line in log) > 1)


def test_a_run_that_takes_too_long_skips_beats_and_is_not_started_back_to_back() -> None:
    starts: list[float] = []

    def work(stop: Stop) -> Run:
        starts.append(time.monotonic())
        time.sleep(0.25)
        return static(stop)

    with daemon(work, interval_seconds=0.2):
        until(lambda: len(starts) >= 3)
    assert all(0.37 < later - earlier < 0.6 for earlier, later in itertools.pairwise(starts)), starts


# --- addresses --------------------------------------------------------------------------------------------------------


def test_an_address_that_is_taken_is_an_error_that_names_the_key() -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        listen = f"127.0.0.1:{other.getsockname()[1]}"
        made = Daemon(static, {"prometheus.second": Prometheus(listen)}, 60, "1", lambda _: None)
        with pytest.raises(ConfigError, match=rf'prometheus\.second\.listen: .*"{listen}" \(Address already in use'):
            made.start()


def test_a_failing_start_gives_back_the_addresses_it_had() -> None:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        listen = f"127.0.0.1:{probe.getsockname()[1]}"
    pages = {"prometheus": Prometheus(listen), "prometheus.second": Prometheus(listen)}
    with pytest.raises(ConfigError, match="second"):
        Daemon(static, pages, 60, "1", lambda _: None).start()
    socket.create_server(tuple(_split(listen))).close()


def _split(listen: str) -> tuple[str, int]:
    host, port = listen.split(":")
    return host, int(port)


@pytest.mark.parametrize(
    "listen", ["9847", "127.0.0.1:", "127.0.0.1:http", "127.0.0.1:99999", "256.0.0.1:9847", "127.0.0.1:-1"]
)
def test_a_wrong_address_is_an_error_that_names_the_key(listen: str) -> None:
    with pytest.raises(ConfigError, match=r"exporters\.prometheus\.listen"):
        Daemon(static, {"prometheus": Prometheus(listen)}, 60, "1", lambda _: None).start()


# --- the end ----------------------------------------------------------------------------------------------------------


def test_stop_interrupts_a_long_call_and_ends_it_once() -> None:
    stop, calls = Stop(), []
    with stop.interrupting(lambda: calls.append("inner")):
        stop.set()
        assert stop.stopping
    with stop.interrupting(lambda: calls.append("late")):
        pass
    assert calls == ["inner", "late"]


def test_a_call_that_has_ended_is_not_interrupted() -> None:
    stop, calls = Stop(), []
    with stop.interrupting(lambda: calls.append("over")):
        pass
    stop.set()
    assert calls == []


def test_one_interrupt_that_fails_does_not_keep_the_others_waiting() -> None:
    stop, calls = Stop(), []

    def fail() -> None:
        raise OSError("closed")

    with contextlib.ExitStack() as calls_under_way:
        for interrupt in (lambda: calls.append(1), fail, lambda: calls.append(2)):
            calls_under_way.enter_context(stop.interrupting(interrupt))
        with pytest.raises(OSError, match="closed"):
            stop.set()
    assert sorted(calls) == [1, 2]


PROGRAM = """
import os, sys, time
import duckdb
from exporters.prometheus import OPEN_METRICS, Prometheus
from rdspend.daemon import Daemon
from rdspend.schema import Health

def query(stop):
    connection = duckdb.connect()
    with stop.interrupting(connection.interrupt):
        print("working", flush=True)
        endless = "SELECT count(*) FROM range(10000000) AS a, range(10000000) AS b WHERE hash(a.range, b.range) = 7"
        connection.execute(endless).fetchall()
    return [], Health("1")

def deaf(stop):
    print("working", flush=True)
    time.sleep(600)

def idle(stop):
    print("working", flush=True)
    return [], Health("1")

work = {"query": query, "deaf": deaf, "idle": idle}[sys.argv[1]]
daemon = Daemon(work, {"prometheus": Prometheus("127.0.0.1:0")}, 3600, "1")
ended = daemon.run()
print("ended", ended, flush=True)
if not ended:
    os._exit(0)
"""


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
@pytest.mark.parametrize(
    ("work", "seconds", "last"), [("query", 3, "ended True"), ("idle", 2, "ended True"), ("deaf", 8, "ended False")]
)
def test_a_signal_ends_the_daemon_in_the_middle_of_its_work(
    tmp_path: Path, work: str, seconds: float, last: str, number: signal.Signals
) -> None:
    program = tmp_path / "program.py"
    program.write_text(PROGRAM)
    with subprocess.Popen(
        [sys.executable, str(program), work], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "working\n"
        time.sleep(0.3)
        told = time.monotonic()
        process.send_signal(number)
        out, err = process.communicate(timeout=30)
        took = time.monotonic() - told
    assert (process.returncode, out) == (0, f"{last}\n")
    assert took < seconds
    assert err.splitlines()[-1] == f"rdspend: {number.name}: ending"
    assert "Traceback" not in err


# --- figures ----------------------------------------------------------------------------------------------------------


def test_a_page_of_ten_thousand_series_is_rendered_once_for_all_scrapes() -> None:
    class Counting(Prometheus):
        def forms(self, breakdowns: Any, health: Any) -> Any:
            renders.append(1)
            return super().forms(breakdowns, health)

    renders: list[int] = []
    made = Daemon(lambda _: ([build(many(4500))], GOOD), {"prometheus": Counting("127.0.0.1:0")}, 3600, "1", lambda _: None)
    made.start()
    try:
        until(lambda: ready(made))
        for _ in range(20):
            assert ask(made, "/metrics", Accept_Encoding="gzip")[0] == 200
    finally:
        made.stop()
    assert len(renders) == 2  # the empty page at the start, and the run
