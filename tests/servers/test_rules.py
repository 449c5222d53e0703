"""Alerts and recording rules: each one fires and keeps silent as promtool sees it, and has a page that says what to do."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from breakdowns import against_others, full_health
from prometheus_client.parser import text_string_to_metric_families

from exporters.history import RECORDED, recorded_name
from exporters.metric_families import Family
from exporters.prometheus import Prometheus, spelled

pytestmark = pytest.mark.server

ROOT = Path(__file__).parents[2]
FILES = [ROOT / "deploy" / "prometheus" / name for name in ("rules.yml", "alerts.yml")]
TESTS = sorted((Path(__file__).parent / "prometheus").glob("*.test.yml"))
RUNBOOKS = ROOT / "docs" / "runbooks"


def rules(file: Path) -> list[dict[str, Any]]:
    return [rule for group in yaml.safe_load(file.read_text())["groups"] for rule in group["rules"]]


RECORDING, ALERTS = map(rules, FILES)


def promtool(*words: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(["promtool", *words], capture_output=True, text=True, check=False)


def cases() -> Iterator[dict[str, Any]]:
    for file in TESTS:
        for group in yaml.safe_load(file.read_text())["tests"]:
            yield from group.get("alert_rule_test", [])


def test_promtool_finds_nothing_wrong_with_the_rules() -> None:
    done = promtool("check", "rules", "--lint=all", "--lint-fatal", *FILES)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("file", TESTS, ids=lambda file: file.name)
def test_rules_record_and_alerts_fire_and_keep_silent_as_they_should(file: Path) -> None:
    done = promtool("test", "rules", file)
    assert done.returncode == 0, done.stdout + done.stderr


def test_every_alert_is_tried_firing_and_not_firing() -> None:
    names = {rule["alert"] for rule in ALERTS}
    assert {case["alertname"] for case in cases() if case["exp_alerts"]} == names
    assert {case["alertname"] for case in cases() if not case["exp_alerts"]} == names


@pytest.mark.parametrize("change", ["never", "always"])
@pytest.mark.parametrize("alert", [rule["alert"] for rule in ALERTS])
def test_an_alert_that_never_or_always_fires_would_be_noticed(alert: str, change: str, tmp_path: Path) -> None:
    loaded = yaml.safe_load(FILES[1].read_text())
    (broken,) = [rule for group in loaded["groups"] for rule in group["rules"] if rule["alert"] == alert]
    broken["expr"] = "vector(1) < 0" if change == "never" else "vector(1)"
    (tmp_path / "alerts.yml").write_text(yaml.safe_dump(loaded))
    (file,) = [file for file in TESTS if f"alertname: {alert}\n" in file.read_text()]
    tried = yaml.safe_load(file.read_text())
    tried["rule_files"] = ["alerts.yml"]
    tried["tests"] = [t for t in tried["tests"] if any(c["alertname"] == alert for c in t["alert_rule_test"])]
    (tmp_path / "test.yml").write_text(yaml.safe_dump(tried))
    assert promtool("test", "rules", tmp_path / "test.yml").returncode == 1


def test_recording_rules_are_the_sums_that_a_backfill_writes() -> None:
    units = {"cost": "{USD}", "gpu.time": "s"}
    assert {rule["record"]: rule["expr"] for rule in RECORDING} == {
        recorded_name(family, kept): f"sum by ({', '.join(kept)}) ({family})"
        for family, kept in ((spelled(name, units[name]), kept) for name, kept in RECORDED)
    }


def test_every_alert_says_what_how_bad_with_which_figures_and_where_to_read_on() -> None:
    for rule in ALERTS:
        assert rule["labels"]["severity"] in ("critical", "warning", "info")
        assert set(rule["annotations"]) == {"summary", "description", "runbook_url"}
        assert rule["annotations"]["runbook_url"] == f"docs/runbooks/{rule['alert']}.md"


def test_every_alert_has_a_page_and_every_page_an_alert() -> None:
    assert {path.stem for path in RUNBOOKS.iterdir()} == {rule["alert"] for rule in ALERTS}
    for page in RUNBOOKS.iterdir():
        text = page.read_text()
        assert text.startswith(f"# {page.stem}\n")
        assert "**What to do**\n\n1. " in text
        for target in re.findall(r"\]\(([^)#]+)", text):
            assert (RUNBOOKS / target).exists(), f"{page.name}: {target}"


def test_the_metrics_page_lists_every_alert_and_recorded_sum_as_it_is() -> None:
    text = (ROOT / "docs" / "metrics.md").read_text()
    listed = re.findall(r"^\| \[`(\w+)`\]\(runbooks/(\w+)\.md\) \| .+ \| (\w+) \| (\w+) \|$", text, re.MULTILINE)
    assert listed == [(r["alert"], r["alert"], r.get("for", "0m"), r["labels"]["severity"]) for r in ALERTS]
    recorded = re.findall(r"^\| `([\w:]+:sum)` \| `(\w+)` \| (.+) \|$", text, re.MULTILINE)
    assert {name: f"sum by ({by.replace('`', '')}) ({of})" for name, of, by in recorded} == {
        r["record"]: r["expr"] for r in RECORDING
    }


def shown() -> set[str]:
    """Names of all series that a page can have."""
    page = Prometheus().render((against_others(),), full_health()).decode()
    return {sample.name for family in text_string_to_metric_families(page) for sample in family.samples}


def test_rules_and_alerts_name_only_series_that_there_are() -> None:
    known = shown()
    for rule in (*RECORDING, *ALERTS):
        for name in re.findall(r"\brdspend_[a-z_]+", rule["expr"].replace('job="rdspend"', "")):
            matching = [each for each in known if each.startswith(name)] if f"{name}.+" in rule["expr"] else {name} & known
            assert matching, f"{rule.get('alert', rule.get('record'))}: {name}"


def test_a_recorded_family_is_told_from_a_scraped_one_by_its_name() -> None:
    from exporters.history import is_recorded

    assert is_recorded(Family(recorded_name("rdspend_cost_usd", ("category",)), "{USD}", "", (), False))
    assert not is_recorded(Family("rdspend_cost_usd", "{USD}", "", (), False))
