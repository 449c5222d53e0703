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
from breakdowns import LAB, NOVEMBER, OCTOBER, against_others, build, cell, many
from hypothesis import given, settings
from hypothesis import strategies as st
from reports import forwarded
from rich.console import Console

from exporters.report import Report, to_csv, to_json, to_markdown, to_terminal
from rdspend.breakdown import decode, encode
from rdspend.errors import ConfigError, SourceUnavailable
from rdspend.schema import Breakdown, CheckClosing, ClosingRow, EstimateError, Gap, InvoiceClosing, Location

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
        bridge=tuple(ClosingRow(name, name, "USD", "usage", Decimal(1), Decimal(1)) for name in names),
        invoices=tuple(InvoiceClosing(name, name, "USD", Decimal(2), Decimal(1), Decimal(1)) for name in names),
        checks=tuple(CheckClosing(name, name, name, "USD", Decimal(2), Decimal(1), Decimal(1), True) for name in names),
        estimate_errors=tuple(EstimateError("2026-10", name, 1, *[Decimal(1)] * 5) for name in names),
    )


WORLDS = {"lab": build(), "against others": against_others(), "incomplete": incomplete(), "empty": empty(), "nasty": nasty()}


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

    made = forwarded(conversions=against_others().conversions)
    compare("", SCHEMA, json.loads(to_json(replace(made, spread=made.buckets[:1]))))


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
    found = {"share": "0.250000", "low": "0.250000", "high": "0.375000", "likely_low": None, "likely_high": None}
    assert document["final_training_range"] == found


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


# --- the bill against others --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("state", "moved", "billed_moved", "said"),
    [
        ("open", None, None, "revision 2 · open"),
        ("preliminary", None, None, "revision 2 · preliminary"),
        ("closed", None, None, "revision 2 · closed"),
        ("closed", "0", "0", "closed with 1,337,187.93 as revision 1"),
        ("corrected", "15.44", "0", "closed with 1,337,172.49 as revision 1; corrected to 1,337,187.93 (+15.44)"),
        ("corrected", "-15.44", "0", "closed with 1,337,203.37 as revision 1; corrected to 1,337,187.93 (-15.44)"),
        ("corrected", "0", "-0.001", "closed with 1,337,187.93 as revision 1; corrected on invoices to 1,337,187.93 (-0.001)"),
        ("corrected", "0", "0", "corrected since: the total is the same, other figures are not"),
    ],
)
def test_the_heading_says_how_far_the_bill_is(state: str, moved: str | None, billed_moved: str | None, said: str) -> None:
    made = build(state=state)
    if moved is not None and billed_moved is not None:
        known = against_others().closed
        assert known is not None
        totals = {"total": made.total - Decimal(moved), "billed_total": made.billed_total - Decimal(billed_moved)}
        made = replace(made, closed=replace(known, **totals))
    for page in pages(made):
        assert said in words(page)


def test_the_page_says_what_keeps_a_period_from_being_closed() -> None:
    for page in pages(build(state="preliminary", state_why="3 lines of focus have no invoice yet")):
        assert "preliminary: 3 lines of focus have no invoice yet" in words(page)
    for page in pages(build(state="closed")):
        assert "State" not in page


def test_a_breakdown_without_a_state_claims_none() -> None:
    for page in pages(build([replace(LAB[0], basis="estimated")])):
        assert re.search(r"revision 2 *$", page, re.MULTILINE)
        assert "interval" not in page


def test_an_invoice_that_differs_is_an_alert_before_the_figures() -> None:
    for page in pages(against_others()):
        alert = "ALERT: invoice INV-1 of focus states 1,340,000.00 USD, the bill's lines on it add to 1,339,965.50: 34.50"
        assert alert in words(page)
        assert page.index("ALERT") < page.index("exploration")
        assert page.count("ALERT") == 1


def test_what_is_rounding_or_not_stated_is_no_alert() -> None:
    quiet = tuple(i for i in against_others().invoices if i.invoice != "INV-1")
    for page in pages(against_others(invoices=quiet)):
        assert "ALERT" not in page
        assert "0.004" in page
        assert "Invoices of the bill that nobody stated a total of: 1" in words(page)


def test_an_invoice_in_another_currency_is_an_alert_and_not_a_difference() -> None:
    foreign = InvoiceClosing("focus", "INV-9", "EUR", Decimal(5), Decimal(0), None)
    for page in pages(against_others(invoices=(foreign,))):
        assert "ALERT: invoice INV-9 of focus states 5.00 EUR, the bill has it in another currency" in words(page)


def test_a_hundred_wrong_invoices_leave_page_one_short_and_lose_none() -> None:
    wrong = tuple(InvoiceClosing("focus", f"INV-{n}", "USD", Decimal(n), Decimal(0), Decimal(n)) for n in range(1, 101))
    for page in pages(against_others(invoices=wrong)):
        assert page.count("ALERT") == 6
        assert "95 more invoices differ" in words(page)
        assert page.index("INV-100") < page.index("INV-99 ") < page.index("exploration")
        assert page.count("UNEXPLAINED") in (0, 100)
        assert all(re.search(rf"INV-{n}\b", page) for n in range(1, 101))


def test_the_rows_from_effective_to_billed_add_up_to_both_totals() -> None:
    made = against_others()
    document = json.loads(to_json(made))
    assert sum(Decimal(row["effective"]) for row in document["bridge"]) == made.total
    assert sum(Decimal(row["billed"]) for row in document["bridge"]) == made.billed_total
    for page in pages(made):
        table = page[page.index("From effective to billed") : page.index("The provider's own summary")]
        assert "commitment, unused" in table
        assert "(none yet)" in table.replace("\\", "")
        assert re.search(r"total[ |*]+1,338,187\.93[ |*]+1,338,187\.93", table)


def test_closing_rows_that_do_not_fit_are_summed_by_currency_and_not_left_out() -> None:
    rows = tuple(
        ClosingRow("focus", f"INV-{n:03d}", "EUR" if n % 2 else "USD", "usage", Decimal(n), Decimal(2 * n)) for n in range(100)
    )
    for page in pages(against_others(bridge=rows)):
        table = page[page.index("From effective to billed") : page.index("Invoices")]
        assert re.findall(r"and (\d+) more[ |]+(\w+)[ |]+([\d,.]+)[ |]+([\d,.]+)", table) == [
            ("20", "EUR", "3,200.00", "1,600.00"),
            ("20", "USD", "3,160.00", "1,580.00"),
        ]
        assert re.findall(r"total[ |*]+(\w+)[ |*]+([\d,.]+)[ |*]+([\d,.]+)", table) == [
            ("EUR", "5,000.00", "2,500.00"),
            ("USD", "4,900.00", "2,450.00"),
        ]


def test_a_summary_that_was_not_read_to_its_end_is_open_and_not_a_difference() -> None:
    for page in pages(against_others()):
        table = page[page.index("The provider's own summary") : page.index("Estimates against their bill")]
        assert re.search(r"AmazonEC2[ |]+1234[ |]+(USD)?[ |]+1\.00[ |]+50\.00[ |]+open", table)
        assert "-0.50" in table
        assert "-49" not in table


def test_errors_of_estimates_are_shown_with_their_sign() -> None:
    for page in pages(against_others()):
        table = page[page.index("Estimates against their bill") :]
        assert re.search(r"A100[ |]+2026-09[ |]+20\b.*-25\.00 %[ |]+30\.00 %[ |]+-25\.00 %", table)
        assert re.search(r"H100[ |]+2026-10[ |]+1,440\b.*\+1\.61 %[ |]+2\.10 %[ |]+\+1\.61 %", table)


def test_an_estimated_total_has_its_interval_on_page_one() -> None:
    for page in pages(against_others()):
        assert "the total is 1,338,166.93 – 1,338,208.93 USD when what is estimated is off" in words(page)
        assert page.index("90th percentile") < page.index(CLOSING)


def test_an_interval_that_nobody_knows_is_said_to_be_unknown_and_why() -> None:
    made = against_others(estimated_low=None, estimated_high=None)
    for page in pages(made):
        assert "no interval: how far estimates are from the bill is known for A100, H100 only" in words(page)
    for page in pages(replace(made, estimate_errors=())):
        assert "no interval: how far estimates are from the bill is not known for any GPU type" in words(page)
    assert json.loads(to_json(made))["estimated_low"] is None


def test_a_bill_without_estimates_says_nothing_of_an_interval() -> None:
    for page in pages(build(state="closed")):
        assert "interval" not in page


def test_converted_money_is_shown_in_both_currencies_with_its_rates() -> None:
    for page in pages(against_others()):
        assert "of which EUR 100.00 at 1.08..1.09 = USD 108.50" in words(page)
    one = replace(against_others().conversions[0], last_rate=Decimal("1.080"))
    for page in pages(against_others(conversions=(one,))):
        assert "EUR 100.00 at 1.08 = USD 108.50" in words(page)


def test_closings_in_several_currencies_name_each_one() -> None:
    made = build()
    euro = replace(made.closings[0], source="euros", currency="EUR")
    for page in pages(replace(made, closings=(*made.closings, euro))):
        table = page[page.index("Closing by source") :]
        assert re.search(r"euros[ |]+2026-10[ |]+(billed)?[ |]+EUR", table)
        assert re.search(r"focus[ |]+2026-10[ |]+(billed)?[ |]+USD", table)


NEW = ("state", "closed", "bridge", "invoices", "checks", "estimate_errors", "estimated_low", "estimated_high", "conversions")


def test_a_breakdown_stored_before_there_were_states_is_read_and_printed_as_it_was() -> None:
    stored = json.loads(encode(build()))
    for key in NEW:
        del stored[key]
    for closing in stored["closings"]:
        del closing["currency"]
    old = decode(json.dumps(stored))
    assert old == build()
    for page in pages(old):
        assert CLOSING in page
        assert not re.search("ALERT|Invoices|interval|From effective|Converted|summary|Estimates against", page)
    jsonschema.validate(json.loads(to_json(old)), SCHEMA)


def test_a_stored_breakdown_with_everything_comes_back_equal() -> None:
    assert decode(encode(against_others())) == against_others()


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


@settings(deadline=None)
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


def test_the_csv_says_the_state_of_the_bill_in_every_row() -> None:
    assert {row["state"] for row in csv.DictReader(io.StringIO(to_csv(against_others())))} == {"corrected"}


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
