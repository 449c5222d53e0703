"""`rdspend daemon` as a process: a real Prometheus scrapes it and answers every query of docs/metrics.md."""

from __future__ import annotations

import gzip
import json
import os
import re
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
import yaml
from organisations import MONTH, write_organisation
from prometheus_client.parser import text_string_to_metric_families
from scraping import Scraper, scraping

pytestmark = pytest.mark.server

DOCS = (Path(__file__).parents[2] / "docs" / "metrics.md").read_text()
# The open month, or on its first two days the one before: the lab's jobs have to be over.
SHOWN = f"{datetime.now(UTC) - timedelta(days=2):%Y-%m}"
QUERIES = [query.strip() for query in re.findall(r"```promql\n(.*?)```", DOCS, re.DOTALL)]
RULES = yaml.safe_load((Path(__file__).parents[2] / "deploy" / "prometheus" / "alerts.yml").read_text())
ALERTS = {rule["alert"]: rule["expr"] for group in RULES["groups"] for rule in group["rules"]}

# Queries that say nothing on a daemon's first day, where every source answers, and without a rate card.
QUIET = ("offset 1d", "== 0", "rdspend_burn_usd_per_hour")

SOURCE_WITHOUT_FILE = '\n[collectors.focus.second]\npath = "not-there.csv"\n'
SLURM = '\n[collectors.slurm]\ncluster = "s1"\nbin_dir = "bin"\n'

# Stands for a slurmdbd that hangs: a command that never answers.
HANGS = '#!/bin/sh\necho $$ > "$(dirname "$0")/pid"\nexec sleep 60\n'


@dataclass(frozen=True)
class Process:
    """A running daemon over one configuration."""

    config: Path
    process: subprocess.Popen[bytes]
    address: str

    def fetch(self, page: str, **headers: str) -> tuple[int, bytes, str]:
        """Status, body as it came over the wire, and its encoding."""
        request = urllib.request.Request(f"http://{self.address}{page}", headers=headers)
        try:
            with urllib.request.urlopen(request, timeout=10) as answer:
                return answer.status, answer.read(), answer.headers.get("Content-Encoding", "")
        except urllib.error.HTTPError as refused:
            with refused:
                return refused.status, refused.read(), ""

    def metrics(self) -> str:
        return self.fetch("/metrics")[1].decode()

    def sample(self, name: str, **labels: str) -> float:
        """Sum of a family's samples with these labels."""
        families = text_string_to_metric_families(self.metrics())
        return sum(
            s.value for family in families for s in family.samples if s.name == name and labels.items() <= s.labels.items()
        )

    def wait_until_ready(self) -> None:
        for _ in wait_for("the daemon is not ready"):
            if self.fetch("/-/ready")[0] == 200:
                break

    def report(self) -> dict[str, Any]:
        done = subprocess.run(
            [*COMMAND, "--config", str(self.config), "report", "--period", SHOWN, "--format", "json"],
            capture_output=True,
            text=True,
            check=True,
        )
        found: dict[str, Any] = json.loads(done.stdout)
        return found


COMMAND = (sys.executable, "-P", "-m", "rdspend")


def wait_for(what: str, seconds: float = 60) -> Iterator[None]:
    """Try again and again, until the caller breaks off."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        yield
        time.sleep(0.1)
    pytest.fail(f"{what} in {seconds} s")


@contextmanager
def daemon(folder: Path, more: str = "") -> Iterator[Process]:
    """The daemon over the small lab of a month that it shows, listening."""
    config = write_organisation(folder, SHOWN)
    with config.open("a") as file:
        file.write(more)
    log = folder / "daemon.log"
    with log.open("wb") as stderr:
        process = subprocess.Popen([*COMMAND, "--config", str(config), "daemon"], stderr=stderr)
    try:
        for _ in wait_for("the daemon does not listen"):
            assert process.poll() is None, log.read_text()
            if found := re.search(r"listening on http://([\d.:]+)/", log.read_text()):
                break
        yield Process(config, process, found[1])
    finally:
        process.kill()
        process.wait()


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Process]:
    """A daemon that has been through one interval."""
    with daemon(tmp_path_factory.mktemp("lab")) as process:
        process.wait_until_ready()
        yield process


@pytest.fixture(scope="module")
def prometheus(lab: Process, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scraper]:
    with scraping(lab.address, tmp_path_factory.mktemp("prometheus")) as scraper:
        yield scraper


def test_the_docs_have_queries_and_alerts() -> None:
    assert len(QUERIES) >= 8
    assert len(ALERTS) >= 6


@pytest.mark.parametrize("query", QUERIES)
def test_every_query_of_the_docs_gives_an_answer(prometheus: Scraper, query: str) -> None:
    answer = prometheus.ask(query.replace(MONTH, SHOWN))
    assert answer or any(quiet in query for quiet in QUIET)


@pytest.mark.parametrize("query", ALERTS.values(), ids=list(ALERTS))
def test_every_alert_is_understood(prometheus: Scraper, query: str) -> None:
    prometheus.ask(query)


def test_no_alert_fires_where_all_is_well(prometheus: Scraper) -> None:
    # The month before is preliminary, as it should be; the alert waits for three weeks.
    assert [name for name, query in ALERTS.items() if prometheus.ask(query)] in ([], ["RdspendMonthStaysPreliminary"])


def test_the_total_in_prometheus_is_the_total_of_the_report(lab: Process, prometheus: Scraper) -> None:
    report = lab.report()
    total = prometheus.value(f'sum(rdspend_cost_usd{{billing_period="{SHOWN}"}})')
    assert f"{total:.2f}" == f"{Decimal(report['total']):.2f}"
    assert Decimal(report["total"]) > 9000


def test_each_category_in_prometheus_is_the_line_of_the_report(lab: Process, prometheus: Scraper) -> None:
    report = lab.report()
    found = prometheus.by("category", f'sum by (category) (rdspend_cost_usd{{billing_period="{SHOWN}"}})')
    lines = {line.get("activity") or line["bucket"]: Decimal(line["cost"]) for line in (*report["lines"], *report["buckets"])}
    assert {name: f"{cost:.2f}" for name, cost in found.items()} == {
        name: f"{cost:.2f}" for name, cost in lines.items() if cost
    }


def test_a_source_whose_file_is_missing_is_down_and_the_others_money_is_there(lab: Process, tmp_path: Path) -> None:
    with daemon(tmp_path, SOURCE_WITHOUT_FILE) as process:
        process.wait_until_ready()
        up = {name: process.sample("rdspend_source_up", source=name) for name in ("focus", "focus.second", "job_log")}
        assert up == {"focus": 1, "focus.second": 0, "job_log": 1}
        assert process.sample("rdspend_cost_usd", billing_period=SHOWN) == pytest.approx(float(lab.report()["total"]))
        assert process.sample("rdspend_coverage_complete", source="focus.second") == 0
        assert process.sample("rdspend_last_run_ok") == 0


def test_the_last_run_is_good_where_every_source_answered(lab: Process) -> None:
    assert lab.sample("rdspend_last_run_ok") == 1
    assert lab.sample("rdspend_last_success_timestamp_seconds") == lab.sample("rdspend_last_run_timestamp_seconds") > 0


def test_two_scrapes_between_refreshes_are_the_same_bytes(lab: Process) -> None:
    assert lab.metrics() == lab.metrics() != ""


def test_the_page_is_gzipped_for_who_asks_and_holds_the_same(lab: Process) -> None:
    status, packed, encoding = lab.fetch("/metrics", **{"Accept-Encoding": "gzip"})
    assert (status, encoding) == (200, "gzip")
    assert gzip.decompress(packed).decode() == lab.metrics()
    assert len(packed) < len(lab.metrics())


def test_ready_and_healthy_answer_and_an_unknown_page_does_not(lab: Process) -> None:
    assert [lab.fetch(page)[0] for page in ("/", "/-/healthy", "/-/ready", "/metric")] == [200, 200, 200, 404]


def test_sigterm_in_the_middle_of_a_collect_ends_the_process_well_in_ten_seconds(tmp_path: Path) -> None:
    (tmp_path / "bin").mkdir()
    command = tmp_path / "bin" / "sacct"
    command.write_text(HANGS)
    command.chmod(0o755)
    pid = tmp_path / "bin" / "pid"
    with daemon(tmp_path, SLURM) as process:
        try:
            for _ in wait_for("slurm is not asked"):
                if pid.exists() and pid.read_text().strip():
                    break
            assert [process.fetch(page)[0] for page in ("/-/healthy", "/-/ready")] == [200, 503]
            process.process.send_signal(signal.SIGTERM)
            assert process.process.wait(10) == 0
        finally:
            if pid.exists():
                os.kill(int(pid.read_text()), signal.SIGKILL)


def test_sigterm_between_collects_ends_the_process_at_once(tmp_path: Path) -> None:
    with daemon(tmp_path) as process:
        process.wait_until_ready()
        process.process.send_signal(signal.SIGTERM)
        assert process.process.wait(3) == 0
