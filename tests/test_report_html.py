"""The HTML report without a browser: the same bytes everywhere, small, refused when it does not add up."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from dataclasses import replace
from decimal import Decimal
from html.parser import HTMLParser
from pathlib import Path

import pytest
from breakdowns import build, cell, many
from reports import forwarded, past

from exporters import colours
from exporters.report import Report, to_html, to_json
from exporters.report_charts import drawn
from rdspend.breakdown import decode, encode
from rdspend.errors import ConservationError
from rdspend.schema import ACTIVITIES, BUCKETS, Breakdown, ClosingRow, Location

VOID = {"meta", "br", "img", "link", "hr", "input"}

EMPTY = build((), coverage=(), closings=(), services=(), findings=(), top_jobs=(), title="")
ONE_JOB = build([cell("final_training", "0.01", "0.001", "pretraining", "one")])
CREDITS = build([cell("exploration", "10"), replace(cell("shared", "-25"), team="")])
UNKNOWN = build([cell("unclassified", "10", "4", "", "a"), cell("unclassified", "5", "2", "", "b")])


class Shape(HTMLParser):
    """Whether every element that is opened is closed, in order, and which ids there are."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.ids: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.ids += [value for name, value in attrs if name == "id" and value]
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.ids += [value for name, value in attrs if name == "id" and value]

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


@pytest.mark.parametrize(
    "made", [forwarded(), EMPTY, ONE_JOB, CREDITS, UNKNOWN], ids=("full", "empty", "one", "credits", "unknown")
)
def test_the_page_is_well_formed_and_ids_are_used_once(made: Breakdown) -> None:
    shape = Shape()
    shape.feed(to_html(made))
    assert shape.open == []
    assert len(set(shape.ids)) == len(shape.ids)
    assert "charges - attributed =" in to_html(made)


def test_a_month_whose_credits_are_above_its_cost_is_drawn_below_zero() -> None:
    made = replace(
        CREDITS,
        months_before=(past(CREDITS, "2026-09", "1"),),
        bridge=(ClosingRow("focus", "", "USD", "usage", Decimal(10), Decimal(10)),
                ClosingRow("focus", "", "USD", "credit", Decimal(-25), Decimal(-25))),
    )  # fmt: skip
    assert made.total == -15
    assert {"months", "flow"} == set(drawn(made))
    assert "−10" in drawn(made)["flow"] or "-10" in drawn(made)["flow"]


def test_every_category_has_a_colour_and_a_pattern_of_its_own() -> None:
    names = {*ACTIVITIES, *BUCKETS}
    assert set(colours.COLOURS) == set(colours.PATTERNS) == names
    assert len(set(colours.COLOURS.values())) == len(names)
    assert len({(name in BUCKETS, pattern) for name, pattern in colours.PATTERNS.items()}) == len(names)


def test_a_report_of_the_most_teams_stays_below_a_megabyte() -> None:
    made = build(many(8000))
    made = replace(made, paretos=forwarded().paretos, public_figures=forwarded().public_figures)
    assert len(made.teams) == 2000
    assert len(to_html(made).encode()) < 10**6


SAME = """\
import sys
from pathlib import Path
from exporters.report import FORMATS
from rdspend.breakdown import decode
made = decode(Path(sys.argv[1]).read_text())
for form, write in FORMATS.items():
    text = write(made)
    Path(sys.argv[2], form).write_bytes(text.encode() if isinstance(text, str) else text)
"""


def test_another_day_zone_and_hash_seed_give_the_same_bytes_in_every_format(tmp_path: Path) -> None:
    (tmp_path / "made.json").write_text(encode(forwarded()))
    (tmp_path / "matplotlibrc").write_text("svg.fonttype: path\naxes.linewidth: 7\nxtick.labelsize: 40\n")
    for number, (zone, seed) in enumerate((("Pacific/Kiritimati", "1"), ("America/Adak", "2"))):
        (folder := tmp_path / str(number)).mkdir()
        settings = {"TZ": zone, "PYTHONHASHSEED": seed, "LC_ALL": "C.UTF-8"}
        if number:
            settings |= {"SOURCE_DATE_EPOCH": "1000000000", "MATPLOTLIBRC": str(tmp_path / "matplotlibrc")}
        words = [sys.executable, "-W", "error", "-c", SAME, tmp_path / "made.json", folder]
        subprocess.run(words, check=True, env=os.environ | settings)
    first, second = tmp_path / "0", tmp_path / "1"
    assert {path.name for path in first.iterdir()} == {"json", "md", "html", "csv", "parquet", "xlsx", "eml"}
    assert [path.name for path in first.iterdir() if path.read_bytes() != (second / path.name).read_bytes()] == []


def test_nothing_of_this_machine_or_moment_is_in_the_page() -> None:
    page = to_html(forwarded())
    assert not re.search(r"https?://(?!www\.w3\.org/)", page)
    assert "matplotlib" not in page
    assert str(Path.home()) not in page


@pytest.mark.parametrize("form", ["html", "parquet", "xlsx", "eml", "json", "md", "csv"])
def test_a_breakdown_that_does_not_close_is_written_in_no_format(form: str, tmp_path: Path) -> None:
    open_one = replace(build(), attributed=build().attributed + Decimal("1e-9"))
    with pytest.raises(ConservationError, match="no report was written"):
        Report(Location(str(tmp_path)), (form,)).export(open_one)  # type: ignore[arg-type]
    lines = build().lines
    missing = replace(build(), lines=(replace(lines[0], cost=lines[0].cost - 1), *lines[1:]))
    with pytest.raises(ConservationError, match="no report was written"):
        Report(Location(str(tmp_path)), (form,)).export(missing)  # type: ignore[arg-type]
    assert list(tmp_path.iterdir()) == []


WITHOUT = """\
import sys
sys.modules[sys.argv[1]] = None
from pathlib import Path
from exporters.report import FORMATS
from rdspend.breakdown import decode
from rdspend.errors import ConfigError
try:
    FORMATS[sys.argv[2]](decode(Path(sys.argv[3]).read_text()))
except ConfigError as error:
    print(error)
"""


@pytest.mark.parametrize(
    ("library", "form", "extra"),
    [("matplotlib", "html", "html"), ("xlsxwriter", "xlsx", "xlsx"), ("xlsxwriter", "eml", "xlsx")],
)
def test_a_missing_library_is_named_with_the_extra_that_brings_it(library: str, form: str, extra: str, tmp_path: Path) -> None:
    (tmp_path / "made.json").write_text(encode(forwarded()))
    words = [sys.executable, "-c", WITHOUT, library, form, tmp_path / "made.json"]
    said = subprocess.run(words, check=True, capture_output=True, text=True).stdout
    assert f"pip install 'rdspend[{extra}]'" in said


@pytest.mark.parametrize("form", ["json", "md", "csv", "parquet"])
def test_plain_formats_load_neither_library(form: str, tmp_path: Path) -> None:
    (tmp_path / "made.json").write_text(encode(build()))
    for library in ("matplotlib", "xlsxwriter"):
        words = [sys.executable, "-c", WITHOUT, library, form, tmp_path / "made.json"]
        assert subprocess.run(words, check=True, capture_output=True, text=True).stdout == ""


def test_what_is_not_known_before_is_not_made_up() -> None:
    page = to_html(build())
    assert "What changed since" not in page
    assert 'id="months"' not in page
    old = decode(encode(build()).replace('"months_before":[],"period_before":null,"revision_before":null', '"folded_teams":0'))
    assert to_json(old) == to_json(build())
