"""release: what a release came from, as its owner wrote it down; what could be meant otherwise is refused by file and claim."""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from collectors.release import Release
from rdspend.errors import ConfigError, SourceUnavailable
from rdspend.schema import RELEASES, Location, Window

FIXTURE = Path(__file__).parent / "fixtures" / "release"
WINDOW = Window(datetime(2026, 10, 1, tzinfo=UTC), datetime(2026, 11, 1, tzinfo=UTC))
HEAD = 'model = "m"\nreleased_at = 2026-12-10\n'
CLAIM = HEAD + '[[claim]]\njob = "1"\n'


def rows(path: Path) -> list[dict[str, Any]]:
    """What is delivered, times as epoch seconds, claims decoded."""
    found: list[dict[str, Any]] = []
    for delivery in Release(Location(path)).collect(WINDOW):
        assert (delivery.table, dict(delivery.scope), delivery.complete) == ("releases", {}, True)
        relation: Any = delivery.rows
        assert set(relation.columns) == set(RELEASES.names) - {"source"}
        times = "* REPLACE (epoch(released_at)::BIGINT AS released_at, epoch(withdrawn_at)::BIGINT AS withdrawn_at)"
        found += [dict(zip(relation.columns, row, strict=True)) for row in relation.project(times).fetchall()]
    return [{**row, "lineage": json.loads(row["lineage"])} for row in found]


def one(tmp_path: Path, text: str) -> dict[str, Any]:
    (tmp_path / "m.toml").write_text(text)
    (row,) = rows(tmp_path)
    return row


def seconds(*when: int) -> int:
    return int(datetime(*when, tzinfo=UTC).timestamp())  # type: ignore[misc, arg-type]


def test_a_release_file_comes_out_with_all_it_says() -> None:
    (row,) = rows(FIXTURE)
    file = str(FIXTURE / "falcon-8b.toml")
    claims = row.pop("lineage")
    assert row == {
        "origin_file": file,
        "origin_row": 1,
        "release": "falcon-8b 1.0",
        "model": "falcon-8b",
        "version": "1.0",
        "licence": "Apache-2.0",
        "published_at": "https://example.org/falcon-8b",
        "released_at": seconds(2026, 12, 10),
        "withdrawn_at": None,
    }
    plain = {"role": "run", "stage": None, "weight": 1}
    assert claims == [
        {
            **plain,
            "kind": "job",
            "of": ["88121", "h100/88307/1764547200"],
            "at": f"{file}:9: claim 1",
            "stage": "pretraining",
            "except": ["88122"],
        },
        {
            **plain,
            "kind": "job",
            "of": ["88400"],
            "at": f"{file}:14: claim 2",
            "cluster": "h100",
            "role": "lost",
            "from": "2026-10-01T06:00:00+00:00",
            "to": "2026-10-02T04:00:00+00:00",
        },
        {
            **plain,
            "kind": "jobs",
            "of": ["falcon-8b-sft-*", "/^sft8b/"],
            "at": f"{file}:22: claim 3",
            "user": "ann",
            "account": "post",
            "role": "sweep",
            "keep": ["falcon-8b-sft-lr3e-5"],
            "since": "2026-10-01T00:00:00+00:00",
            "until": "2026-11-15T00:00:00+00:00",
        },
        {**plain, "kind": "run", "of": ["4f1c2a"], "at": f"{file}:31: claim 4", "experiment": "falcon-rl", "weight": 2},
        {**plain, "kind": "model", "of": ["falcon-8b/7"], "at": f"{file}:36: claim 5"},
        {**plain, "kind": "checkpoint", "of": ["s3://models/falcon-8b/step-9000"], "at": f"{file}:39: claim 6"},
        {**plain, "kind": "dataset", "of": ["falcon-mix-v3"], "at": f"{file}:42: claim 7", "role": "data"},
    ]


def test_an_empty_folder_says_that_there_are_no_releases_and_a_missing_one_says_nothing(tmp_path: Path) -> None:
    assert rows(tmp_path) == []
    with pytest.raises(SourceUnavailable, match="no such folder or file"):
        rows(tmp_path / "releases")


def test_only_toml_files_of_the_folder_are_read(tmp_path: Path) -> None:
    for name in ("m.toml", ".hidden.toml", "_template.toml", "README.md"):
        (tmp_path / name).write_text(CLAIM)
    assert [row["origin_file"] for row in rows(tmp_path)] == [str(tmp_path / "m.toml")]
    assert [row["origin_file"] for row in rows(tmp_path / "m*.toml")] == [str(tmp_path / "m.toml")]


def test_a_release_may_have_a_name_of_its_own_and_no_date_yet(tmp_path: Path) -> None:
    row = one(tmp_path, 'model = "m"\nrelease = "M 1 (preview)"\n[[claim]]\njob = "1"\n')
    assert (row["release"], row["version"], row["released_at"]) == ("M 1 (preview)", None, None)


def test_two_files_may_not_tell_one_release(tmp_path: Path) -> None:
    (tmp_path / "a.toml").write_text(CLAIM)
    (tmp_path / "b.toml").write_text(CLAIM)
    with pytest.raises(ConfigError, match=r"b\.toml: release 'm' is in .*a\.toml too"):
        rows(tmp_path)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('released_at = 2026-12-10\n[[claim]]\njob = "1"\n', "model: found nothing; expected the name of the model"),
        (HEAD, "claim: found nothing; expected at least one [[claim]] table"),
        (HEAD + 'claim = "1"\n', "claim: found '1'; expected at least one [[claim]] table"),
        (HEAD.replace("2026-12-10", '"2026-12-10"') + '[[claim]]\njob = "1"\n', "m.toml:2: released_at: found '2026-12-10'"),
        (HEAD.replace("2026-12-10", "2026-12-10T09:00:00") + '[[claim]]\njob = "1"\n', "expected a time with a zone"),
        (CLAIM.replace("model", "modle"), "m.toml:1: modle: found 'modle'; expected one of release, model"),
        (CLAIM.replace('"m"', '"m, n"'), "m.toml:1: model: found 'm, n'; expected a name without commas"),
        (CLAIM + 'user = ""\n', "m.toml:5: claim 1: user: found ''; expected text"),
        (CLAIM + "[[claim]]\n", "m.toml:5: claim 2: found nothing; expected one of job, jobs, run"),
        (CLAIM + 'run = "r"\n', "claim 1: run: found 'job and run'; expected one of"),
        (CLAIM.replace('"1"', "1"), "m.toml:4: claim 1: job: found 1; expected a text, or a list of texts"),
        (CLAIM.replace('"1"', "[]"), "job: found []; expected a text, or a list of texts"),
        (CLAIM + 'role = "ru"\n', "m.toml:5: claim 1: role: found 'ru'; expected one of run, lost"),
        (CLAIM + 'stage = "sft"\n', "stage: found 'sft'; expected one of pretraining"),
        (CLAIM + "weight = 0\n", "weight: found 0; expected a whole number from 1"),
        (CLAIM + "from = 2026-10-02\nto = 2026-10-01\n", "to: found '2026-10-01'; expected a time after from, 2026-10-02"),
        (CLAIM + 'cluster = "a b"\n', "cluster: found 'a b'; expected the name of a cluster"),
        (CLAIM + 'experiment = "x"\n', "experiment: found 'x'; expected nothing: a claim by `job` has no experiment"),
        (HEAD + '[[claim]]\njobs = "*"\n', "jobs: found '*'; expected a pattern that leaves some jobs out"),
        (HEAD + '[[claim]]\njobs = "/(/"\n', "jobs: found '/(/'; expected a regular expression"),
        (HEAD + "[[claim\n", "not TOML"),
    ],
)
def test_what_could_be_meant_otherwise_is_refused(tmp_path: Path, text: str, words: str) -> None:
    (tmp_path / "m.toml").write_text(text)
    with pytest.raises(ConfigError, match=re.escape(words)) as error:
        rows(tmp_path)
    assert str(tmp_path / "m.toml") in str(error.value)


def test_a_file_that_is_no_text_is_refused(tmp_path: Path) -> None:
    (tmp_path / "m.toml").write_bytes(b"model = '\xff'")
    with pytest.raises(ConfigError, match="byte 10 is not UTF-8"):
        rows(tmp_path)
