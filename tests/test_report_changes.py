"""What a report is set against: months and revisions before it, as published; the command line hands every format out."""

from __future__ import annotations

import shutil
import subprocess
import sys
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path

import pytest
from organisations import LABELS, two_days, write_bill, write_organisation
from reports import forwarded

from exporters.report import to_html, to_json, to_markdown
from rdspend.breakdown import digest
from rdspend.config import load
from rdspend.period import parse_period, preceding
from rdspend.pipeline import STAGES, Pipeline
from rdspend.reading import Reader
from rdspend.schema import Breakdown


def run(lab: Path, month: str) -> Breakdown:
    later = datetime(2027, 6, 1, tzinfo=UTC).timestamp()
    (made,) = Pipeline(load(lab), clock=lambda: later).run(parse_period(month), STAGES).breakdowns
    return made


def shown(lab: Path, period: str) -> Breakdown:
    (made,) = Reader(load(lab)).breakdowns(parse_period(period), None)
    return made


@pytest.fixture(scope="module")
def two_months(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("two")
    for month in ("2026-09", "2026-10"):
        lab = write_organisation(folder, month)
        run(lab, month)
    return lab


def copied(lab: Path, folder: Path) -> Path:
    shutil.copytree(lab.parent, folder, dirs_exist_ok=True)
    return folder / lab.name


def test_a_month_carries_the_months_before_it_as_they_were_published(two_months: Path) -> None:
    september, october = shown(two_months, "2026-09"), shown(two_months, "2026-10")
    assert september.months_before == ()
    assert september.period_before is None
    (before,) = october.months_before
    assert before == october.period_before
    assert (before.period, before.revision, before.total) == ("2026-09", 1, september.total)
    assert before.lines == september.lines
    assert before.buckets == september.buckets
    assert october.revision_before is None


def test_a_quarter_shows_its_months_and_is_not_one_of_them(two_months: Path) -> None:
    quarter = shown(two_months, "2026-Q4")
    assert [month.period for month in quarter.months_before] == ["2026-09", "2026-10"]
    assert quarter.period_before is None
    assert "2026-Q4 |" not in to_markdown(quarter)


def test_what_changed_since_last_month_is_the_difference_of_both_reports(two_months: Path, tmp_path: Path) -> None:
    lab = copied(two_months, tmp_path)
    write_bill(lab.parent, two_days("100.32"))
    october = run(lab, "2026-10")
    assert october.revision == 2
    assert october.period_before is not None
    assert october.total - october.period_before.total == 96 * Decimal(2)
    page = to_markdown(october)
    assert "What changed since 2026-09" in page
    assert "+192.00" in page
    assert october.revision_before is not None
    assert (october.revision_before.revision, october.revision_before.total) == (1, october.total - 192)
    assert "What changed since revision 1" in page


def test_another_revision_of_an_earlier_month_is_no_change_of_this_months_figures(two_months: Path, tmp_path: Path) -> None:
    lab = copied(two_months, tmp_path)
    october = shown(lab, "2026-10")
    page = to_html(october)
    write_bill(lab.parent, two_days("90", month="2026-09"))
    assert run(lab, "2026-09").revision == 2
    (as_it_was,) = Reader(load(lab)).breakdowns(parse_period("2026-10"), None, as_of="run-2")
    assert to_html(as_it_was) == page
    write_organisation(lab.parent, "2026-10")
    again = run(lab, "2026-10")
    assert (again.revision, digest(again)) == (october.revision, digest(october))
    assert again.months_before[0].revision == 2
    assert again.months_before[0].total != october.months_before[0].total
    assert again.revision_before is None, "the same figures published again are no revision before"


def test_a_change_of_tags_alone_is_told_apart_by_category(two_months: Path, tmp_path: Path) -> None:
    lab = copied(two_months, tmp_path)
    (lab.parent / "labels.csv").write_text("\n".join((*LABELS, "c1,3,evaluation,evaluation,owner")) + "\n")
    october = run(lab, "2026-10")
    before = october.revision_before
    assert before is not None
    assert before.total == october.total
    was = {line.name: line.cost for line in (*before.lines, *before.buckets)}
    now = {line.name: line.cost for line in (*october.lines, *october.buckets)}
    assert was["unclassified"] == now["evaluation"] - was["evaluation"] > 0 == now["unclassified"]


def test_no_more_than_twelve_months_are_carried() -> None:
    assert len(forwarded().months_before) == 12
    page = to_html(forwarded())
    assert page.count('<th scope="row">2025-') + page.count('<th scope="row">2026-') == 13


@pytest.mark.parametrize(
    ("period", "before"),
    [
        ("2026-01", "2025-12"),
        ("2026-10", "2026-09"),
        ("2026-Q1", "2025-Q4"),
        ("2026-Q3", "2026-Q2"),
        ("2026", "2025"),
        ("2026-08..2026-10", None),
    ],
)
def test_the_period_before_is_of_the_same_length(period: str, before: str | None) -> None:
    found = preceding(parse_period(period))
    assert (found.text if found else None) == before


# --- the command line -------------------------------------------------------------------------------------------------


def rdspend(lab: Path, *words: str) -> subprocess.CompletedProcess[bytes]:
    command = [str(Path(sys.executable).with_name("rdspend")), "--config", str(lab), "report", "--period", "2026-10"]
    return subprocess.run([*command, *words], capture_output=True, check=False)


def test_every_format_is_handed_out_as_the_exporter_writes_it(two_months: Path, tmp_path: Path) -> None:
    page = rdspend(two_months, "--format", "html").stdout
    assert page.decode() == to_html(shown(two_months, "2026-10"))
    for form, start in (("xlsx", b"PK"), ("parquet", b"PAR1"), ("html", b"<!DOCTYPE"), ("json", b"{")):
        done = rdspend(two_months, "--format", form, "--out", str(tmp_path / form))
        assert (done.returncode, done.stdout) == (0, b"")
        assert (tmp_path / form).read_bytes().startswith(start)
    assert (tmp_path / "json").read_text() == to_json(shown(two_months, "2026-10"))


def test_a_mail_is_asked_for_by_a_word_and_an_address(two_months: Path) -> None:
    done = rdspend(two_months, "--eml", "--to", "cto@example.org")
    assert done.stdout.startswith(b"Subject: A small lab")
    assert b"\r\nTo: cto@example.org\r\n" in done.stdout
    assert rdspend(two_months, "--format", "eml", "--to", "cto@example.org").stdout == done.stdout


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--to", "cto@example.org"), "--to names whom a message is for"),
        (("--eml", "--format", "json"), "leave out --format json"),
        (("--eml", "--to", "nobody"), "expected a mail address"),
        (("--format", "pdf"), "expected one of terminal, json"),
    ],
)
def test_wrong_words_end_with_two_and_say_what_to_write(two_months: Path, words: tuple[str, ...], said: str) -> None:
    done = rdspend(two_months, *words)
    assert done.returncode == 2
    assert said in done.stderr.decode()
