"""The commands as a user runs them: a real process, real files, what it prints and how it ends."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from decimal import Decimal
from pathlib import Path

import pytest
from organisations import JOBS, JOBS_HEADER, bill_line, two_days, write_bill, write_organisation

from rdspend.ledger import Ledger


def rdspend(config: Path, *words: str, ok: int = 0) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(
        [sys.executable, "-P", "-m", "rdspend", "--config", str(config), *words], capture_output=True, text=True, check=False
    )
    assert done.returncode == ok, f"exit {done.returncode}\n{done.stdout}\n{done.stderr}"
    return done


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The small lab after one run."""
    config = write_organisation(tmp_path_factory.mktemp("lab"))
    rdspend(config, "run", "--period", "2026-10")
    return config


def report(config: Path, period: str = "2026-10", *words: str) -> dict:
    return json.loads(rdspend(config, "report", "--period", period, "--format", "json", *words).stdout)


def by(rows: list[dict], key: str, column: str = "cost") -> dict[str, Decimal]:
    return {row[key]: Decimal(row[column]) for row in rows}


def test_every_nano_of_the_bill_is_in_the_report(lab: Path) -> None:
    found = report(lab)
    bill = 96 * Decimal("98.32") + Decimal("310.123456789") - 10 + 50
    assert Decimal(found["total"]) == bill
    assert found["closing"] == {"charges": f"{bill:.9f}", "attributed": f"{bill:.9f}", "difference": "0.000000000"}
    parts = [*by(found["lines"], "activity").values(), *by(found["buckets"], "bucket").values()]
    assert sum(parts) == bill


def test_money_goes_where_a_person_with_a_pencil_puts_it(lab: Path) -> None:
    found = report(lab)
    price = Decimal("98.32")
    assert by(found["lines"], "activity") == {
        "exploration": 10 * price,
        "data_generation": 10 * price,
        "evaluation": 6 * price / 2,
        "final_training": 24 * price,
        "inference": 0,
    }
    taken = (24 + 3 + Decimal("1.5") + 10 + 10) * price
    assert by(found["buckets"], "bucket") == {
        "idle": 96 * price - taken,
        "bill_idle": 50,
        "shared": Decimal("300.123456789"),
        "unclassified": Decimal("1.5") * price,
    }
    assert by(found["lines"], "activity", "gpu_hours")["final_training"] == 16 * 12
    assert by(found["teams"], "team")["pretrain"] == 34 * price


def test_the_share_has_the_range_that_unclassified_money_leaves_open(lab: Path) -> None:
    final = next(line for line in report(lab)["lines"] if line["activity"] == "final_training")
    assert Decimal(final["share"]) == (Decimal(24) / Decimal("48.5")).quantize(Decimal("0.000001"))
    assert Decimal(final["share_low"]) == Decimal(final["share"])
    assert Decimal(final["share_high"]) == (Decimal("25.5") / Decimal("48.5")).quantize(Decimal("0.000001"))


def test_the_same_snapshot_gives_the_same_bytes(lab: Path) -> None:
    one, two = (rdspend(lab, "report", "--period", "2026-10", "--format", form).stdout for form in ("json", "json"))
    assert one == two
    assert (lab.parent / "reports" / "report.json").read_text() == one


def test_json_is_alone_on_standard_output(lab: Path) -> None:
    done = rdspend(lab, "report", "--period", "2026-10", "--format", "json")
    assert done.stderr == ""
    assert next(iter(json.loads(done.stdout))) == "schema"


def test_running_again_changes_nothing_but_the_snapshot(tmp_path: Path) -> None:
    config = write_organisation(tmp_path)
    rdspend(config, "run", "--period", "2026-10")
    first = report(config)
    rdspend(config, "run", "--period", "2026-10")
    second = report(config)
    assert first.pop("snapshot") == "run-1"
    assert second.pop("snapshot") == "run-2"
    assert first == second


def test_each_stage_alone_does_what_run_does(tmp_path: Path, lab: Path) -> None:
    config = write_organisation(tmp_path)
    for stage in ("collect", "tag", "attribute", "publish"):
        rdspend(config, stage, "--period", "2026-10")
    one, two = report(config), report(lab)
    assert [one.pop("snapshot"), two.pop("snapshot")] == ["run-4", "run-1"]
    assert json.dumps(one).replace(str(tmp_path), "") == json.dumps(two).replace(str(lab.parent), "")


def test_readers_see_the_last_month_that_adds_up_while_a_new_bill_waits(tmp_path: Path) -> None:
    config = write_organisation(tmp_path)
    rdspend(config, "run", "--period", "2026-10")
    before = report(config)
    write_bill(tmp_path, two_days("100"))
    rdspend(config, "collect", "--period", "2026-10")
    assert report(config) == before
    refused = rdspend(config, "publish", "--period", "2026-10", ok=2)
    assert "2026-10 has been collected but not attributed" in refused.stderr
    rdspend(config, "attribute", "--period", "2026-10")
    assert Decimal(report(config)["total"]) == Decimal(before["total"]) + 96 * Decimal("1.68")


def test_a_restated_bill_replaces_and_raises_the_revision(tmp_path: Path) -> None:
    config = write_organisation(tmp_path)
    rdspend(config, "run", "--period", "2026-10")
    write_bill(tmp_path, two_days("100"))
    rdspend(config, "run", "--period", "2026-10")
    old, new = report(config, "2026-10", "--as-of", "1"), report(config)
    assert [old["revision"], new["revision"]] == [1, 2]
    assert Decimal(new["total"]) - Decimal(old["total"]) == 96 * Decimal("1.68")


def test_explain_ends_in_bill_rows_that_add_to_the_job(lab: Path) -> None:
    done = rdspend(lab, "explain", "1", "--period", "2026-10", "--format", "json")
    found = json.loads(done.stdout)
    lines = found["lines"]
    assert sum(Decimal(line["part"]) for line in lines) == Decimal(found["cost"]) == 24 * Decimal("98.32")
    assert len(lines) == 24
    bill = (lab.parent / "bill.csv").read_text().splitlines()
    for line in lines:
        cells = bill[line["row"]].split(",")
        assert line["file"] == str(lab.parent / "bill.csv")
        assert Decimal(line["cost"]) == Decimal(cells[1])
        assert cells[10] == line["resource"]
    assert found["answers"][0]["tagger"] == "label"
    assert "labels.csv:2" in found["answers"][0]["evidence"]


@pytest.mark.parametrize(
    ("what", "expected"),
    [
        ("final_training", "c1/1/"),
        ("unclassified", "mystery"),
        ("idle", "c1 2026-10-0"),
        ("shared", "Storage"),
        ("bill_idle", "bill.csv:99"),
        ("2026-10-02", "gen-shards"),
        ("team:evals", "lm-eval-mmlu"),
        ("stage:evaluation", "lm-eval-mmlu"),
        ("c1/4/1790899200", "rule 'ablations'"),
        ("5", "data_generation"),
    ],
)
def test_every_figure_can_be_walked_back(lab: Path, what: str, expected: str) -> None:
    assert expected in rdspend(lab, "explain", what, "--period", "2026-10", "--limit", "100").stdout


def test_explained_days_add_to_the_jobs_money(lab: Path) -> None:
    found = json.loads(rdspend(lab, "explain", "2026-10-01", "--period", "2026-10", "--format", "json").stdout)
    assert Decimal(found["total"]) == Decimal("28.5") * Decimal("98.32")


def test_a_job_nobody_knows_is_said_so(lab: Path) -> None:
    assert "no job with this key or id" in rdspend(lab, "explain", "77", "--period", "2026-10", ok=2).stderr


def test_a_missing_bill_keeps_the_period_open_and_the_others_going(tmp_path: Path) -> None:
    config = write_organisation(tmp_path)
    (tmp_path / "bill.csv").unlink()
    done = rdspend(config, "run", "--period", "2026-10", ok=3)
    assert "focus" in done.stderr
    found = report(config)
    gap = next(row for row in found["coverage"] if row["source"] == "focus")
    assert gap["complete"] is False
    assert "bill.csv" in gap["why"]
    assert next(row for row in found["coverage"] if row["source"] == "job_log")["complete"] is True
    assert Decimal(found["gpu_hours"]) == 16 * 12 + 4 * 6 + 4 * 3 + 80 + 80


def test_a_source_that_fails_keeps_its_last_word(tmp_path: Path) -> None:
    config = write_organisation(tmp_path)
    rdspend(config, "run", "--period", "2026-10")
    before = report(config)
    write_bill(tmp_path, [*two_days(), bill_line("2026-10-01T00:00:00Z", "2026-10-01T01:00:00Z", "12;3", "i-1")])
    done = rdspend(config, "run", "--period", "2026-10", ok=2)
    assert "12;3" in done.stderr
    assert "bill.csv" in done.stderr
    after = report(config)
    assert after["total"] == before["total"]
    assert [row["complete"] for row in after["coverage"] if row["source"] == "focus"] == [False]


def test_two_currencies_are_never_added(tmp_path: Path) -> None:
    config = write_organisation(tmp_path)
    config.write_text(
        config.read_text()
        .replace('folder = "reports"', 'folder = "reports"\nfile = "report-{currency}"')
        .replace('path = "metrics.prom"\n', "")
    )
    euro = bill_line("2026-10-01T00:00:00Z", "2026-10-01T01:00:00Z", "7.5", "i-1", currency="EUR")
    write_bill(tmp_path, [*two_days(), euro])
    rdspend(config, "run", "--period", "2026-10")
    assert "choose one with --currency" in rdspend(config, "report", "--period", "2026-10", "--format", "json", ok=2).stderr
    found = report(config, "2026-10", "--currency", "EUR")
    assert found["total"] == "7.500000000"
    assert by(found["lines"], "activity")["final_training"] == Decimal("7.5")
    assert Decimal(report(config, "2026-10", "--currency", "USD")["total"]) == 96 * Decimal("98.32") + Decimal("350.123456789")


def test_money_with_nothing_known_about_it_is_shown_as_shared(tmp_path: Path) -> None:
    config = write_organisation(tmp_path)
    (tmp_path / "nodes.csv").write_text((tmp_path / "nodes.csv").read_text().replace("i-1", "i-9"))
    rdspend(config, "run", "--period", "2026-10")
    found = report(config)
    assert by(found["buckets"], "bucket")["shared"] == 48 * Decimal("98.32") + Decimal("300.123456789")
    assert found["closing"]["difference"] == "0.000000000"


def test_a_rate_card_prices_only_the_hours_no_bill_names(tmp_path: Path) -> None:
    config = write_organisation(tmp_path)
    config.write_text(config.read_text() + '\n[collectors.rate_card]\npath = "rates.toml"\n')
    (tmp_path / "rates.toml").write_text('[[rate]]\ngpu_type = "H100"\nprice_per_gpu_hour = 2.50\ncurrency = "USD"\n')
    rdspend(config, "run", "--period", "2026-10")
    found = report(config)
    billed = 96 * Decimal("98.32") + Decimal("350.123456789")
    assert Decimal(found["total"]) == billed + 29 * 24 * 16 * Decimal("2.5")
    assert {row["source"]: row["basis"] for row in found["closings"]} == {"focus": "billed", "rate_card": "estimated"}
    assert by(found["lines"], "activity")["final_training"] == 24 * Decimal("98.32")


def test_a_node_without_a_price_is_named_and_never_free(tmp_path: Path) -> None:
    config = write_organisation(tmp_path)
    config.write_text(config.read_text() + '\n[collectors.rate_card]\npath = "rates.toml"\n')
    (tmp_path / "rates.toml").write_text('[[rate]]\ngpu_type = "A100"\nprice_per_gpu_hour = 2.50\ncurrency = "USD"\n')
    refused = rdspend(config, "run", "--period", "2026-10", ok=2)
    assert "node 'n1' of cluster 'c1' has no price" in refused.stderr
    assert "696 hours from 2026-10-03T00:00Z" in refused.stderr
    assert Ledger(tmp_path / "ledger").runs() == []


def test_init_writes_a_configuration_that_check_understands(tmp_path: Path) -> None:
    config = tmp_path / "new.toml"
    rdspend(config, "init", str(config))
    assert "collectors: focus" in rdspend(config, "check").stdout
    assert "there already" in rdspend(config, "init", str(config), ok=2).stderr


def test_check_and_status_read_the_ledger(lab: Path) -> None:
    assert "charges - attributed = 0.000000000" in rdspend(lab, "check").stdout
    shown = rdspend(lab, "status").stdout
    assert "waiting to be attributed: nothing" in shown
    assert re.search(r"2026-10 +epoch +USD +revision 1 +run 1", shown)


def test_rules_check_names_what_needs_a_look(tmp_path: Path) -> None:
    config = write_organisation(tmp_path)
    (tmp_path / "rules.toml").write_text(
        (tmp_path / "rules.toml").read_text()
        + "\n[[rule]]\nname = 'never'\nwhen = \"name = 'no such job'\"\nactivity = 'evaluation'\n"
        + "\n[[rule]]\nname = 'late'\nwhen = \"name ILIKE '%lm-eval%'\"\nactivity = 'evaluation'\n"
        + "\n[[rule]]\nname = 'blind'\nwhen = \"qos = 'high'\"\nactivity = 'evaluation'\n"
    )
    rdspend(config, "collect", "--period", "2026-10")
    shown = rdspend(config, "rules", "check").stdout
    lines = {
        name: next(line for line in shown.splitlines() if f"'{name}'" in line)
        for name in ("never", "late", "blind", "ablations")
    }
    assert all(lines[name].startswith("LOOK") for name in ("never", "late", "blind"))
    assert lines["ablations"].startswith("ok")


@pytest.mark.parametrize(
    ("before", "after", "message"),
    [
        ('path = "bill.csv"', 'paht = "bill.csv"', "collectors.focus.paht: unknown option; did you mean 'path'?"),
        ("[collectors.focus]", "[collectors.focsu]", "collectors.focsu: unknown option; did you mean 'focus'?"),
        ('ledger = "ledger"', 'leger = "ledger"', "leger: unknown option; did you mean 'ledger'?"),
        ('cluster = "c1"', "", "collectors.job_log.cluster: missing"),
        ('cluster = "c1"', 'cluster = "c/1"', "collectors.job_log.cluster: found 'c/1'"),
        ("retries = 0", 'retries = "many"', "collect.retries: found 'many'"),
        ("[collectors.focus]", "[collectors.focus", "rdspend.toml: "),
    ],
)
def test_a_wrong_configuration_names_the_key(tmp_path: Path, before: str, after: str, message: str) -> None:
    config = write_organisation(tmp_path)
    config.write_text(config.read_text().replace(before, after, 1))
    assert message in rdspend(config, "check", ok=2).stderr


def test_a_missing_configuration_says_how_to_get_one(tmp_path: Path) -> None:
    assert "rdspend init" in rdspend(tmp_path / "none.toml", "check", ok=2).stderr


@pytest.mark.parametrize("period", ["2026-13", "2026", "october", "2026-10..2026-09", "2027-Q5"])
def test_a_period_that_is_none_is_refused(lab: Path, period: str) -> None:
    done = rdspend(lab, "report", "--period", period, ok=0 if period == "2026" else 2)
    assert period == "2026" or "expected a month (2026-10), a quarter" in done.stderr


def test_a_quarter_and_a_year_hold_the_month(lab: Path) -> None:
    month, quarter, year = (report(lab, period) for period in ("2026-10", "2026-Q4", "2026"))
    assert month["total"] == quarter["total"] == year["total"]
    assert month["lines"] == quarter["lines"] == year["lines"]


def test_a_range_of_months_is_run_as_one(tmp_path: Path) -> None:
    config = write_organisation(tmp_path)
    november = bill_line("2026-11-01T00:00:00Z", "2026-11-01T01:00:00Z", "5", "i-1", month="2026-11")
    write_bill(tmp_path, [*two_days(), november])
    rdspend(config, "run", "--period", "2026-10..2026-11")
    both, one, two = (report(config, period) for period in ("2026-10..2026-11", "2026-10", "2026-11"))
    assert Decimal(both["total"]) == Decimal(one["total"]) + Decimal(two["total"])
    assert two["total"] == "5.000000000"


def test_a_future_period_is_refused(lab: Path) -> None:
    assert "which is not yet" in rdspend(lab, "run", "--period", "2199-01", ok=2).stderr


def test_a_locked_ledger_is_said_with_its_own_exit_code(tmp_path: Path) -> None:
    config = write_organisation(tmp_path)
    with Ledger(tmp_path / "ledger").writer():
        assert "is being written by process" in rdspend(config, "run", "--period", "2026-10", ok=3).stderr


def test_a_clock_that_went_back_harms_nothing(tmp_path: Path) -> None:
    from rdspend.config import load
    from rdspend.period import parse_period
    from rdspend.pipeline import Pipeline

    config = load(write_organisation(tmp_path))
    totals = []
    for now in (1_796_000_000.0, 1_791_000_000.0, 1_796_000_000.0):
        outcome = Pipeline(config, clock=lambda now=now: now).run(parse_period("2026-10"))
        totals.append((outcome.run.run, outcome.breakdowns[0].total, outcome.breakdowns[0].complete))
    assert [run for run, _, _ in totals] == [1, 2, 3]
    assert len({total for _, total, _ in totals}) == 1


def test_a_duplicate_job_is_refused_with_both_rows(tmp_path: Path) -> None:
    config = write_organisation(tmp_path)
    (tmp_path / "jobs.csv").write_text("\n".join([JOBS_HEADER, *JOBS, JOBS[0]]) + "\n")
    done = rdspend(config, "run", "--period", "2026-10", ok=2)
    assert "jobs.csv" in done.stderr


def test_help_is_readable_and_names_every_command() -> None:
    done = subprocess.run([sys.executable, "-P", "-m", "rdspend", "--help"], capture_output=True, text=True, check=True)
    for word in (
        "init",
        "collect",
        "tag",
        "attribute",
        "publish",
        "run",
        "report",
        "explain",
        "check",
        "status",
        "rules",
        "daemon",
        "doctor",
        "Exit codes",
    ):
        assert word in done.stdout
    assert max(map(len, done.stdout.splitlines())) <= 100


def test_a_closed_pipe_is_no_error(lab: Path) -> None:
    command = f'"{sys.executable}" -P -m rdspend --config "{lab}" report --period 2026-10 --format json | head -n 1'
    done = subprocess.run(["bash", "-o", "pipefail", "-c", command], capture_output=True, text=True, check=False)
    assert done.stderr == ""
    assert done.stdout == "{\n"


def test_a_renamed_source_is_not_counted_twice(tmp_path: Path) -> None:
    config = write_organisation(tmp_path)
    rdspend(config, "run", "--period", "2026-10")
    config.write_text(config.read_text().replace("[collectors.focus]", "[collectors.focus.aws]"))
    refused = rdspend(config, "run", "--period", "2026-10", ok=2)
    assert "money or prices of 'focus', which is not configured any more" in refused.stderr
    assert "forgot focus; waiting to be attributed: 2026-10" in rdspend(config, "forget", "focus").stdout
    rdspend(config, "run", "--period", "2026-10")
    assert Decimal(report(config)["total"]) == 96 * Decimal("98.32") + Decimal("350.123456789")


def test_one_bill_in_two_sources_is_refused(tmp_path: Path) -> None:
    config = write_organisation(tmp_path)
    config.write_text(config.read_text() + '\n[collectors.focus.copy]\npath = "bill.csv"\n')
    refused = rdspend(config, "run", "--period", "2026-10", ok=2)
    assert "is in focus and focus.copy; it would count twice" in refused.stderr


def test_a_credit_or_a_tax_on_a_node_does_not_take_its_estimate_away(tmp_path: Path) -> None:
    config = write_organisation(tmp_path)
    config.write_text(config.read_text() + '\n[collectors.rate_card]\npath = "rates.toml"\n')
    (tmp_path / "rates.toml").write_text('[[rate]]\ngpu_type = "H100"\nprice_per_gpu_hour = 2.50\ncurrency = "USD"\n')
    month = ("2026-10-01T00:00:00Z", "2026-11-01T00:00:00Z")
    write_bill(tmp_path, [bill_line(*month, "-5", "i-1", category="Credit"), bill_line(*month, "0", "i-2", category="Tax")])
    rdspend(config, "run", "--period", "2026-10")
    assert Decimal(report(config)["total"]) == 2 * 8 * 31 * 24 * Decimal("2.5") - 5


def test_an_hour_billed_in_the_month_before_is_not_estimated_too(tmp_path: Path) -> None:
    config = write_organisation(tmp_path)
    config.write_text(config.read_text() + '\n[collectors.rate_card]\npath = "rates.toml"\n')
    (tmp_path / "rates.toml").write_text('[[rate]]\ngpu_type = "H100"\nprice_per_gpu_hour = 2.50\ncurrency = "USD"\n')
    early = bill_line("2026-11-01T00:00:00Z", "2026-11-01T10:00:00Z", "240", "i-1")
    write_bill(tmp_path, [*two_days(), early])
    from rdspend.config import load
    from rdspend.period import parse_period
    from rdspend.pipeline import Pipeline

    made = Pipeline(load(config), clock=lambda: 1_793_491_200.0 + 86_400).run(parse_period("2026-10..2026-11")).breakdowns[0]
    estimated = sum(c.charges for c in made.closings if c.billing_period == "2026-11")
    assert estimated == (2 * 24 - 10) * 8 * Decimal("2.5")


def test_a_job_that_ends_between_two_months_asked_is_not_lost(tmp_path: Path) -> None:
    from rdspend.config import load
    from rdspend.period import parse_period
    from rdspend.pipeline import Pipeline

    file = write_organisation(tmp_path)
    open_job = "9,u1,pretrain,long,2026-10-19T00:00:00Z,2026-10-19T00:00:00Z,,RUNNING,n1,8,H100,"
    (tmp_path / "jobs.csv").write_text("\n".join([JOBS_HEADER, *JOBS, open_job]) + "\n")
    config = load(file)
    Pipeline(config, clock=lambda: 1_792_454_400.0).run(parse_period("2026-10"))
    ended = open_job.replace(",,RUNNING", ",2026-10-25T00:00:00Z,COMPLETED")
    (tmp_path / "jobs.csv").write_text("\n".join([JOBS_HEADER, *JOBS, ended]) + "\n")
    Pipeline(config, clock=lambda: 1_794_000_000.0).run(parse_period("2026-11"))
    rdspend(file, "attribute", "--period", "2026-10")
    rdspend(file, "publish", "--period", "2026-10")
    assert Decimal(report(file)["gpu_hours"]) == 16 * 12 + 4 * 6 + 4 * 3 + 80 + 80 + 6 * 24 * 8


def test_an_explanation_reads_the_ledger_as_its_run_saw_it(tmp_path: Path) -> None:
    from rdspend.config import load
    from rdspend.period import parse_period
    from rdspend.pipeline import Pipeline

    file = write_organisation(tmp_path)
    write_bill(tmp_path, [bill_line("2026-10-01T00:00:00Z", "2026-11-01T00:00:00Z", "3100", "i-1")])
    open_job = "9,u1,pretrain,long,2026-10-19T00:00:00Z,2026-10-19T00:00:00Z,,RUNNING,n1,8,H100,"
    (tmp_path / "jobs.csv").write_text("\n".join([JOBS_HEADER, *JOBS, open_job]) + "\n")
    config = load(file)
    Pipeline(config, clock=lambda: 1_792_454_400.0).run(parse_period("2026-10"))
    found = json.loads(rdspend(file, "explain", "9", "--period", "2026-10", "--format", "json").stdout)
    assert Decimal(found["cost"]) == sum(Decimal(line["part"]) for line in found["lines"]) == Decimal(100)


def test_an_answer_that_is_no_activity_is_refused(tmp_path: Path) -> None:
    from dataclasses import dataclass, replace
    from typing import Any

    from rdspend.config import Plugin, load
    from rdspend.errors import BadRecord
    from rdspend.period import parse_period
    from rdspend.pipeline import Pipeline

    @dataclass(frozen=True)
    class Training:
        confidence: float

        def tag(self, jobs: Any) -> Any:
            said = f"{self.confidence} AS confidence, 'x' AS evidence, '1' AS version"
            return jobs.project(f"job_key, 'training' AS activity, NULL::VARCHAR AS stage, {said}")

    config = load(write_organisation(tmp_path))
    config = replace(config, taggers=(Plugin("taggers", "outside", Training(2.0)),))
    with pytest.raises(BadRecord, match="found activity 'training'"):
        Pipeline(config).run(parse_period("2026-10"))
