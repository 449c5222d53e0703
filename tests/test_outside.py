"""Plugins from a package of its own: installed beside rdspend, found by entry point, run from end to end."""

from __future__ import annotations

import json
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from organisations import CONFIG, JOBS, JOBS_HEADER, write_organisation
from wheels import ROOT, Environment, built

OUTSIDE = """
[collectors.flat_fee]
fee = "1200.50"
currency = "USD"
service = "Colocation"

[taggers.by_queue]
queue = "serving"
activity = "inference"

[exporters.one_line]
path = "totals.txt"
"""
SERVING = "9,u9,product,chat,2026-10-02T12:00:00Z,2026-10-02T12:00:00Z,2026-10-02T14:00:00Z,COMPLETED,n1,8,H100,"


@pytest.fixture(scope="module")
def environment(tmp_path_factory: pytest.TempPathFactory) -> Environment:
    folder = tmp_path_factory.mktemp("outside")
    wheels = (built(ROOT, folder / "rdspend"), built(ROOT / "tests" / "outside", folder / "outside"))
    return Environment.made(folder / "environment", *wheels)


@pytest.fixture(scope="module")
def lab(environment: Environment, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The small lab with a job in the queue `serving` and all three plugins, after one run."""
    config = write_organisation(tmp_path_factory.mktemp("lab"))
    config.write_text(CONFIG + OUTSIDE)
    rows = [f"{JOBS_HEADER},queue", *(f"{job},batch" for job in JOBS), f"{SERVING},serving"]
    (config.parent / "jobs.csv").write_text("\n".join(rows) + "\n")
    environment.rdspend("--config", str(config), "run", "--period", "2026-10")
    return config


def report(environment: Environment, config: Path) -> dict[str, Any]:
    said = environment.rdspend("--config", str(config), "report", "--period", "2026-10", "--format", "json")
    found: dict[str, Any] = json.loads(said)
    return found


def test_all_three_are_found_by_their_entry_points(environment: Environment, lab: Path) -> None:
    said = environment.rdspend("--config", str(lab), "check")
    assert "collectors: focus, job_log, flat_fee" in said
    assert "taggers: label, rule, by_queue" in said
    assert "exporters: report, prometheus, one_line" in said


def test_the_outside_collectors_money_closes_with_ours(environment: Environment, lab: Path) -> None:
    found = report(environment, lab)
    bill = 96 * Decimal("98.32") + Decimal("310.123456789") - 10 + 50
    assert Decimal(found["total"]) == bill + Decimal("1200.50")
    assert found["closing"]["difference"] == "0.000000000"
    closings = {closing["source"]: Decimal(closing["attributed"]) for closing in found["closings"]}
    assert closings == {"focus": bill, "flat_fee": Decimal("1200.50")}
    assert {line["service"]: Decimal(line["cost"]) for line in found["services"]}["Colocation"] == Decimal("1200.50")


def test_the_outside_tagger_answers_where_ours_have_no_answer(environment: Environment, lab: Path) -> None:
    found = {line["activity"]: Decimal(line["cost"]) for line in report(environment, lab)["lines"]}
    assert found["inference"] == 2 * Decimal("98.32")
    explained = environment.rdspend("--config", str(lab), "explain", "9", "--period", "2026-10", "--format", "json")
    (answer,) = json.loads(explained)["answers"]
    assert (answer["tagger"], answer["activity"], answer["evidence"]) == ("by_queue", "inference", "queue serving")


def test_the_outside_exporter_was_handed_the_finished_breakdown(environment: Environment, lab: Path) -> None:
    total = report(environment, lab)["total"]
    assert (lab.parent / "totals.txt").read_text() == f"2026-10 {total} USD\n"


def test_the_outside_collectors_typing_errors_are_refused_like_ours(environment: Environment, tmp_path: Path) -> None:
    config = write_organisation(tmp_path)
    config.write_text(CONFIG + OUTSIDE.replace("currency =", "curency ="))
    environment.rdspend("--config", str(config), "check", ok=2)
