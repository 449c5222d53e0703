"""The report: what stands in it, that it closes, and that names from elsewhere can't play tricks."""

from __future__ import annotations

import csv
import io
import json
import re
import resource
import signal
import stat
import unicodedata
from collections.abc import Iterator
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from breakdowns import LAB, NOVEMBER, OCTOBER, build, cell, many
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from exporters.report import Report, to_csv, to_json, to_markdown, to_terminal
from rdspend.errors import ConfigError, SourceUnavailable
from rdspend.schema import Breakdown, Gap, Location

SCHEMA = json.loads((Path(__file__).parents[1] / "docs" / "report.schema.json").read_text())

CLOSING = "charges - attributed = 0.000000000"

NASTY = (
    "a|b",
    "two\nlines",
    "<script>alert(1)</script>",
    "\x1b[31mred\x1b]0;title\x07",
    "\x9b31m",
    "\u202edrow",
    "=cmd|' /C calc'!A0",
    "+1+1",
    "@SUM(A1)",
    "-2",
    "\t=1",
    "\uff1d1",
    "[link](javascript:x)",
    "`code`",
    "**bold** _it_ ~~no~~",
    "https://example.com www.example.com",
    "[bold red]rich[/]",
    "\\|",
    "x" * 5000,
)


def terminal(breakdown: Breakdown, width: int = 80, **options: Any) -> str:
    text = io.StringIO()
    to_terminal(breakdown, Console(file=text, width=width, **options))
    return text.getvalue()


def incomplete() -> Breakdown:
    return build(
        synthetic=True,
        idle_gpu_hours_known=False,
        coverage=(
            Gap("focus", OCTOBER, NOVEMBER, True, ""),
            Gap("slurm", OCTOBER, NOVEMBER, False, "sacct did not answer in 60 s"),
        ),
    )


def empty() -> Breakdown:
    return build((), coverage=(), closings=(), services=(), findings=(), top_jobs=(), title="")


def nasty(names: tuple[str, ...] = NASTY) -> Breakdown:
    made = build([replace(c, team=name, cluster=name) for name in names for c in LAB[:2]])
    return replace(
        made,
        title=names[0],
        remark=names[-1],
        top_jobs=tuple(replace(made.top_jobs[0], name=name, job_key=name, outcome=name, team=name) for name in names),
        closings=tuple(replace(made.closings[0], source=name) for name in names),
        coverage=tuple(Gap(name, OCTOBER, NOVEMBER, False, name) for name in names),
        findings=tuple((name, name, name, 1) for name in names),
        services=tuple(replace(made.teams[0], name=name) for name in names),
    )


WORLDS = {"lab": build(), "incomplete": incomplete(), "empty": empty(), "nasty": nasty()}


@pytest.fixture(params=WORLDS)
def world(request: pytest.FixtureRequest) -> Breakdown:
    return WORLDS[request.param]


# --- JSON -------------------------------------------------------------------------------------------------------------


def test_the_json_follows_the_published_schema(world: Breakdown) -> None:
    jsonschema.Draft202012Validator.check_schema(SCHEMA)
    jsonschema.validate(json.loads(to_json(world)), SCHEMA, cls=jsonschema.Draft202012Validator)


def test_the_schema_names_every_key_of_the_json_and_no_other() -> None:
    def compare(where: str, schema: dict[str, Any], value: Any) -> None:
        if isinstance(value, dict):
            assert set(schema["properties"]) == set(value) == set(schema["required"]), where
            for key, inner in value.items():
                compare(f"{where}.{key}", schema["properties"][key], inner)
        elif isinstance(value, list):
            assert value, f"{where}: nothing to compare"
            compare(f"{where}[]", schema["items"], value[0])

    compare("", SCHEMA, json.loads(to_json(build())))


@pytest.mark.parametrize("period", ["2026-10", "2026-Q3", "2026", "2023-05..2023-08"])
def test_every_kind_of_period_follows_the_schema(period: str) -> None:
    jsonschema.validate(json.loads(to_json(build(period=period))), SCHEMA)


def test_a_report_that_does_not_close_breaks_the_schema() -> None:
    made = build()
    document = json.loads(to_json(replace(made, attributed=made.attributed - Decimal("1e-9"))))
    assert document["closing"]["difference"] == "0.000000001"
    with pytest.raises(jsonschema.ValidationError, match=r"0\.000000001"):
        jsonschema.validate(document, SCHEMA)


def test_the_lines_and_buckets_of_the_json_add_up_to_its_total(world: Breakdown) -> None:
    document = json.loads(to_json(world))
    parts = [Decimal(line["cost"]) for line in (*document["lines"], *document["buckets"])]
    assert sum(parts) == Decimal(document["total"]) == Decimal(document["closing"]["charges"])


def test_money_keeps_nine_places_also_where_a_float_could_not() -> None:
    document = json.loads(to_json(build([cell("exploration", "9007199254740993.000000001")])))
    assert document["total"] == "9007199254740993.000000001"
    assert document["lines"][0]["cost"] == "9007199254740993.000000001"


def test_a_share_outside_the_denominator_is_null() -> None:
    lines = {line["activity"]: line for line in json.loads(to_json(build()))["lines"]}
    assert lines["inference"]["share"] is None
    assert re.fullmatch(r"0\.\d{6}", lines["final_training"]["share"])


def test_the_range_of_final_training_holds_all_unclassified() -> None:
    document = json.loads(to_json(build([cell("final_training", "2"), cell("evaluation", "5"), cell("unclassified", "1")])))
    assert document["final_training_range"] == {"share": "0.250000", "low": "0.250000", "high": "0.375000"}


def test_unknown_idle_is_null_and_not_zero() -> None:
    hours = {line["bucket"]: line["gpu_hours"] for line in json.loads(to_json(incomplete()))["buckets"]}
    assert hours["idle"] is None
    assert hours["unclassified"] == "21206.750000"


def test_the_same_breakdown_gives_the_same_bytes(world: Breakdown) -> None:
    again = replace(world)
    assert [to_json(world), to_markdown(world), to_csv(world), terminal(world)] == [
        *(to_json(again), to_markdown(again), to_csv(again), terminal(again))
    ]


# --- the page for people ----------------------------------------------------------------------------------------------


def pages(breakdown: Breakdown) -> Iterator[str]:
    yield to_markdown(breakdown)
    yield from (terminal(breakdown, width) for width in (80, 120, 160))


def words(page: str) -> str:
    return " ".join(page.replace("*", "").replace(">", "").split())


def test_the_closing_line_is_there_to_the_letter(world: Breakdown) -> None:
    for page in pages(world):
        assert CLOSING in page


def test_page_one_has_the_split_the_range_and_the_denominator() -> None:
    for page in pages(build()):
        text = words(page)
        for activity in ("exploration", "data generation", "evaluation", "final training", "inference"):
            assert activity in text
        assert "302,118.78" in text
        assert "22.9 – 27.2 %" in text
        assert "22.9 % at the lowest and 27.2 % at the highest" in text
        assert "everything but inference" in text
        assert "all of 2026-10, by every source: focus, slurm" in text
        assert page.index("final training") < page.index(CLOSING) < page.index("By stage") < page.index("Largest jobs")


def test_a_gap_in_the_coverage_stands_before_the_figures() -> None:
    for page in pages(incomplete()):
        assert "NOT SEEN" in page
        assert page.index("sacct did not answer") < page.index("exploration")
        assert "all of 2026-10, by every source" not in words(page)


def test_no_word_on_coverage_is_not_full_coverage() -> None:
    for page in pages(empty()):
        assert "NOT SEEN" in page


def test_synthetic_is_said_in_every_format() -> None:
    for page in (*pages(incomplete()), to_csv(incomplete())):
        assert "SYNTHETIC" in page
    assert json.loads(to_json(incomplete()))["synthetic"] is True
    for page in (*pages(build()), to_csv(build())):
        assert "SYNTHETIC" not in page


def test_unknown_idle_is_said_and_not_shown_as_a_number() -> None:
    for page in pages(incomplete()):
        assert "unknown" in page
        assert "33,100.8" not in page


def test_a_mixed_basis_says_how_much_is_estimated() -> None:
    mixed = build([cell("exploration", "75"), replace(cell("evaluation", "25"), basis="estimated")])
    for page in pages(mixed):
        assert "75.00 USD from the bill, 25.00 USD estimated from a rate card" in words(page)


def test_teams_that_do_not_fit_are_summed_and_not_left_out() -> None:
    made = build(many(400))
    for page in pages(made):
        (rest,) = re.findall(r"and (\d+) more[ |]+([\d,.]+)", page)
        shown = made.teams[: -int(rest[0])]
        assert len(shown) == 15
        assert Decimal(rest[1].replace(",", "")) == sum((line.cost for line in made.teams[15:]), Decimal(0)).quantize(
            Decimal("0.01")
        )


def test_a_share_too_small_to_print_is_not_printed_as_nothing() -> None:
    made = build([cell("final_training", "0.01"), cell("exploration", "1000000")])
    for page in pages(made):
        assert "Final training took < 0.1 %" in words(page).replace("&lt;", "<")


@pytest.mark.parametrize("width", [80, 100, 120, 200])
def test_no_line_is_wider_than_the_terminal(width: int, world: Breakdown) -> None:
    assert max(len(line) for line in terminal(world, width).splitlines()) <= width


def test_at_eighty_columns_every_job_key_can_be_copied() -> None:
    for job in build().top_jobs:
        assert job.job_key in terminal(build(), 80)


# --- names from elsewhere ---------------------------------------------------------------------------------------------

CONTROLS = {"Cc", "Cf", "Zl", "Zp", "Cs"}


def hidden(text: str) -> set[str]:
    return {c for c in text if unicodedata.category(c) in CONTROLS and c not in "\r\n\u200c\u200d"}


def test_no_control_or_direction_character_reaches_a_reader() -> None:
    for text in (*pages(nasty()), to_json(nasty()), to_csv(nasty())):
        assert hidden(text) == set()


def test_rich_markup_in_a_name_is_shown_and_not_obeyed() -> None:
    assert "[bold red]rich[/]" in terminal(nasty(), 200)


def test_html_links_and_markup_in_a_name_stay_text_in_markdown() -> None:
    page = to_markdown(nasty())
    assert "<" not in page
    assert not re.search(r"(?<!\\)\[|(?<!\\)`code|(?<!\\)\*\*bold|https://|www\.|@", page)
    assert "&lt;script&gt;" in page


def test_every_row_of_a_markdown_table_has_as_many_cells_as_its_head() -> None:
    table: list[int] = []
    for line in to_markdown(nasty()).splitlines():
        if not line.startswith("|"):
            table = []
            continue
        table.append(len(re.findall(r"(?<!\\)(?:\\\\)*\|", line)))
        assert table[-1] == table[0], line


@given(st.lists(st.text(min_size=1), min_size=1, max_size=3).map(tuple))
def test_no_name_whatever_hides_or_breaks_anything(names: tuple[str, ...]) -> None:
    made = nasty(names)
    jsonschema.validate(json.loads(to_json(made)), SCHEMA)
    page = to_markdown(made)
    assert hidden(page) == hidden(terminal(made)) == hidden(to_csv(made)) == set()
    assert "<" not in page
    assert page.count(CLOSING) == 1
    assert len(list(csv.reader(io.StringIO(to_csv(made))))) == 1 + len(made.cells)


# --- CSV --------------------------------------------------------------------------------------------------------------


def test_the_cost_column_of_the_csv_adds_up_to_the_total(world: Breakdown) -> None:
    rows = list(csv.DictReader(io.StringIO(to_csv(world))))
    assert sum((Decimal(row["cost"]) for row in rows), Decimal(0)) == world.total
    assert sum((Decimal(row["billed_cost"]) for row in rows), Decimal(0)) == world.billed_total


def test_no_text_of_the_csv_starts_a_formula() -> None:
    for row in csv.DictReader(io.StringIO(to_csv(nasty()))):
        assert not re.match(r"[=+\-@\t\r\uff1d]", row["team"]), row["team"]


def test_a_negative_amount_stays_a_number_in_the_csv() -> None:
    assert [row["cost"] for row in csv.DictReader(io.StringIO(to_csv(build([cell("shared", "-5000")]))))] == ["-5000.000000000"]


# --- files ------------------------------------------------------------------------------------------------------------


def test_the_files_hold_what_the_writers_make(tmp_path: Path) -> None:
    Report(Location(tmp_path / "new" / "reports"), ("json", "md", "csv")).export(build())
    files = {path.name: path.read_bytes().decode() for path in (tmp_path / "new" / "reports").iterdir()}
    assert files == {
        "report.json": to_json(build()),
        "report.md": to_markdown(build()),
        "report.csv": to_csv(build()),
    }


def test_a_file_may_be_named_for_its_period(tmp_path: Path) -> None:
    report = Report(Location(tmp_path), ("json",), "report-{period}-{currency}-{policy}")
    report.export(build())
    report.export(build(period="2026-11"))
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "report-2026-10-USD-epoch.json",
        "report-2026-11-USD-epoch.json",
    ]


def test_a_second_currency_never_replaces_the_first(tmp_path: Path) -> None:
    Report(Location(tmp_path)).export(build())
    with pytest.raises(ConfigError, match=r"exporters\.report\.file.*USD.*EUR.*report-\{currency\}"):
        Report(Location(tmp_path)).export(build(currency="EUR"))
    assert (tmp_path / "report.json").read_text() == to_json(build())


def test_a_report_of_a_newer_snapshot_replaces_the_old_one_in_any_currency(tmp_path: Path) -> None:
    Report(Location(tmp_path)).export(build())
    Report(Location(tmp_path)).export(build(currency="EUR", snapshot="run-18"))
    assert json.loads((tmp_path / "report.json").read_text())["currency"] == "EUR"


def test_other_people_may_read_the_report(tmp_path: Path) -> None:
    Report(Location(tmp_path)).export(build())
    assert stat.S_IMODE((tmp_path / "report.json").stat().st_mode) == 0o666 & ~_umask(tmp_path)


def _umask(folder: Path) -> int:
    probe = folder / "probe"
    probe.touch()
    return 0o666 & ~stat.S_IMODE(probe.stat().st_mode)


def test_a_folder_that_is_a_file_is_an_error_with_its_path(tmp_path: Path) -> None:
    (tmp_path / "reports").touch()
    with pytest.raises(SourceUnavailable, match=f"{tmp_path}/reports/report.json: can't be written"):
        Report(Location(tmp_path / "reports")).export(build())


def test_a_full_disk_leaves_the_old_report_whole(tmp_path: Path) -> None:
    report = Report(Location(tmp_path), ("json",))
    report.export(build())
    before = (tmp_path / "report.json").read_bytes()
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    ignored = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, hard))
    try:
        with pytest.raises(SourceUnavailable, match="can't be written"):
            report.export(build(revision=3))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        signal.signal(signal.SIGXFSZ, ignored)
    assert [path.name for path in tmp_path.iterdir()] == ["report.json"]
    assert (tmp_path / "report.json").read_bytes() == before


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"folder": "s3://bucket/reports"}, "folder: .*on this machine"),
        ({"folder": "r", "file": "a/b"}, "file: .*without folder"),
        ({"folder": "r", "file": "report-{month}"}, "file: .*{period}"),
        ({"folder": "r", "file": "report-{period"}, "file: "),
        ({"folder": "r", "formats": ()}, "formats: found none"),
    ],
)
def test_a_wrong_setting_is_named(options: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        Report(**options)
