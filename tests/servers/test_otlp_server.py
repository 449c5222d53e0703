"""Receivers that others wrote: VictoriaMetrics gives back the report's figures, MLflow the tree of a run's spans."""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
import time
import urllib.parse
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from breakdowns import LAB, against_others, build, cell, many
from organisations import write_organisation
from scraping import free_port

from exporters.otlp import Otlp
from exporters.report import to_json
from rdspend.errors import SourceUnavailable
from rdspend.schema import Health, SourceHealth

pytestmark = pytest.mark.server

TEAMS = ("two\nlines", 'quote " and \\ backslash', "a|b{}=,", "équipe 数据", "long" * 2500)
MADE = build((*LAB, *many(3000), *(cell("evaluation", f"{n}.25", team=team) for n, team in enumerate(TEAMS, 1))))
EURO = build([cell("exploration", "7.5", "2"), cell("shared", "-10")], currency="EUR")
HEALTH = Health("1.2.3", (SourceHealth("ce", True, 1.0, 1.0, 2.5, 9, 12, Decimal("0.12")),), last_run_ok=True, last_run=1.0)


@contextmanager
def serving(name: str, folder: Path) -> Iterator[str]:
    start = Path(__file__).parent / name / f"start-{name}"
    port = free_port()
    try:
        subprocess.run([start, "start", folder, str(port)], check=True, timeout=600)
        yield f"http://127.0.0.1:{port}"
    finally:
        subprocess.run([start, "stop", folder], check=True, timeout=60)


def ask(url: str, body: object = None) -> Any:
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(url, data, {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=30) as answer:
        return json.load(answer)


# --- metrics ----------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def victoria(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with serving("victoriametrics", tmp_path_factory.mktemp("victoriametrics")) as address:
        Otlp(f"{address}/opentelemetry").push((MADE, EURO, against_others(period="2026-09")), HEALTH)
        with urllib.request.urlopen(f"{address}/internal/force_flush", timeout=30):
            yield address


def query(address: str, text: str) -> list[dict[str, Any]]:
    # A question without a time is asked for the last whole second: what arrived in this one is not in its answer.
    asked = urllib.parse.urlencode({"query": text, "time": math.ceil(time.time())})
    found: list[dict[str, Any]] = ask(f"{address}/api/v1/query?{asked}")["data"]["result"]
    return found


def value(address: str, text: str) -> float:
    (sample,) = query(address, text)
    return float(sample["value"][1])


def test_the_sum_of_cost_is_the_total_of_the_report(victoria: str) -> None:
    found = value(victoria, 'sum({__name__="rdspend.cost", currency="USD", billing_period="2026-10"})')
    assert f"{found:.2f}" == f"{Decimal(json.loads(to_json(MADE))['total']):.2f}"


def test_a_negative_total_in_another_currency_stays_apart(victoria: str) -> None:
    assert value(victoria, 'sum({__name__="rdspend.cost", currency="EUR"})') == -2.5


def test_the_sum_by_category_is_the_line_of_the_report(victoria: str) -> None:
    samples = query(victoria, 'sum by (category) ({__name__="rdspend.cost", currency="USD", billing_period="2026-10"})')
    found = {sample["metric"]["category"]: f"{float(sample['value'][1]):.2f}" for sample in samples}
    assert found == {line.name: f"{line.cost:.2f}" for line in (*MADE.lines, *MADE.buckets) if line.name in found}
    assert set(found) == {each.category for each in MADE.cells}


def test_strange_team_names_arrive_and_long_ones_are_cut(victoria: str) -> None:
    samples = query(victoria, '{__name__="rdspend.cost", category="evaluation", training_stage="", billing_period="2026-10"}')
    found = {float(sample["value"][1]): sample["metric"]["team"] for sample in samples}
    assert [found[n + 0.25] for n in range(1, 5)] == list(TEAMS[:4])
    assert len(found[5.25]) == 200


def test_the_resource_is_on_every_series_and_counters_are_there(victoria: str) -> None:
    assert value(victoria, 'sum({__name__="rdspend.source.requests", "service.name"="rdspend"})') == 12
    assert value(victoria, 'count({__name__=~"rdspend[.].*"}) - count({"service.name"="rdspend"})') == 0


def test_an_address_that_takes_no_metrics_is_a_failure(victoria: str) -> None:
    with pytest.raises(SourceUnavailable, match="400"):
        Otlp(f"{victoria}/nowhere").push((build(),), None)


# --- traces -----------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def mlflow(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with serving("mlflow", tmp_path_factory.mktemp("mlflow")) as address:
        yield address


def test_a_run_is_one_trace_with_a_span_for_each_stage_source_and_query(mlflow: str, tmp_path: Path) -> None:
    config = write_organisation(tmp_path)
    config.write_text(f'{config.read_text()}\n[exporters.otlp]\nendpoint = "{mlflow}"\nsignals = ["traces"]\n')
    done = subprocess.run(
        [sys.executable, "-P", "-m", "rdspend", "--config", str(config), "run", "--period", "2026-10"],
        env={
            **os.environ,
            "OTEL_EXPORTER_OTLP_HEADERS": "x-mlflow-experiment-id=0",
            "OTEL_EXPORTER_OTLP_TIMEOUT": "60000",  # its first request takes MLflow seconds
        },
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    where = {"type": "MLFLOW_EXPERIMENT", "mlflow_experiment": {"experiment_id": "0"}}
    (trace,) = ask(f"{mlflow}/api/3.0/mlflow/traces/search", {"locations": [where], "max_results": 10})["traces"]
    assert (trace["state"], trace["tags"]["service.name"]) == ("OK", "rdspend")
    spans = ask(f"{mlflow}/api/3.0/mlflow/traces/get?trace_id={trace['trace_id']}")["trace"]["spans"]
    names = {span["name"] for span in spans}
    assert {"run", "stage collect", "source focus", "tagger rule", "query node_day", "export report"} <= names
