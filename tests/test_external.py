"""A classifier of the user's own: what it is given, and that none of its failures looks like an answer."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from test_learned import jobs

from rdspend.errors import BadRecord, ConfigError, SourceUnavailable
from taggers.external import External

ECHO = """
import csv, sys
out = csv.writer(sys.stdout)
out.writerow(["job_key", "activity", "stage", "confidence", "evidence"])
for job in csv.DictReader(sys.stdin):
    if "eval" in job["name"]:
        out.writerow([job["job_key"], "evaluation", "", "0.9", f"says eval, {job['command']}"])
"""


def external(tmp_path: Path, script: str, **more: object) -> External:
    file = tmp_path / "classify.py"
    file.write_text(script)
    return External(command=(sys.executable, str(file)), **more)  # type: ignore[arg-type]


def test_a_program_is_asked_and_its_answers_are_taken(tmp_path: Path) -> None:
    tagger = external(tmp_path, ECHO)
    said = tagger.tag(jobs({"name": 'eval, "q"\nx', "command": "a b"}, {"name": "train"}))
    rows = said.project("job_key, activity, stage, confidence, evidence").fetchall()
    assert [row[:4] for row in rows] == [("c/1/0", "evaluation", None, 0.9)]
    assert "says eval, a b" in rows[0][4]


def test_a_program_that_answers_nothing_tags_nothing(tmp_path: Path) -> None:
    script = "import sys; sys.stdin.read(); print('job_key,activity,stage,confidence,evidence')"
    assert external(tmp_path, script).tag(jobs({"name": "eval"})).fetchall() == []


def test_jobs_that_were_not_asked_about_are_left_out(tmp_path: Path) -> None:
    script = "print('job_key,activity,stage,confidence,evidence'); print('other/1/0,evaluation,,1,x')"
    assert external(tmp_path, script).tag(jobs({"name": "eval"})).fetchall() == []


@pytest.mark.parametrize(
    "line",
    ["c/1/0,training,,1,x", "c/1/0,evaluation,,1.5,x", "c/1/0,,,1,x", "c/1/0,evaluation,,,x", "c/1/0,evaluation,eval,1,x"],
)
def test_an_answer_that_is_none_is_a_bad_record(line: str, tmp_path: Path) -> None:
    script = f"print('job_key,activity,stage,confidence,evidence'); print({line!r})"
    with pytest.raises(BadRecord, match=":2: job 'c/1/0'"):
        external(tmp_path, script).tag(jobs({"name": "eval"}))


def test_two_answers_for_one_job_are_a_bad_record(tmp_path: Path) -> None:
    script = "print('job_key,activity,stage,confidence,evidence'); print('c/1/0,evaluation,,1,x\\nc/1/0,inference,,1,x')"
    with pytest.raises(BadRecord, match="one answer"):
        external(tmp_path, script).tag(jobs({"name": "eval"}))


def test_other_columns_are_a_bad_record(tmp_path: Path) -> None:
    with pytest.raises(BadRecord, match="found columns a, b"):
        external(tmp_path, "print('a,b')").tag(jobs({"name": "eval"}))


def test_a_program_that_fails_half_way_has_not_answered(tmp_path: Path) -> None:
    script = ECHO + "\nsys.exit('no model here')\n"
    with pytest.raises(SourceUnavailable, match="ended with 1: no model here"):
        external(tmp_path, script).tag(jobs({"name": "eval"}))


def test_a_program_that_hangs_is_stopped(tmp_path: Path) -> None:
    with pytest.raises(SourceUnavailable, match=r"took longer than 0\.5 s"):
        external(tmp_path, "import time; time.sleep(60)", timeout_seconds=0.5).tag(jobs({"name": "eval"}))


def test_a_program_that_is_not_there_is_a_mistake_in_the_configuration() -> None:
    with pytest.raises(ConfigError, match="can't run"):
        External(command=("/nowhere/classify",)).tag(jobs({"name": "eval"}))


def test_an_unknown_column_is_refused_with_the_nearest() -> None:
    with pytest.raises(ValueError, match="did you mean 'user'"):
        External(command=("x",), columns=("usr",))
