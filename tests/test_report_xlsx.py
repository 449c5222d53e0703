"""Workbook, Parquet and mail: exact where a double is not, names defused, ready to be sent."""

from __future__ import annotations

import email
import io
import zipfile
from dataclasses import replace
from decimal import Decimal
from email import policy
from email.message import EmailMessage
from pathlib import Path

import duckdb
import openpyxl
import pytest
from breakdowns import build, cell
from reports import forwarded

from exporters.report import Report, to_eml, to_html, to_parquet, to_xlsx
from rdspend.errors import ConfigError
from rdspend.schema import Breakdown, Location

FORMULAS = (
    "=cmd|' /C calc'!A0",
    "+1+1",
    "-2",
    "@SUM(A1)",
    "{=1}",
    "https://example.com",
    "1e5",
    "\t=1",
    "two\nlines",
    "\x1b[31m",
)


def book(made: Breakdown) -> openpyxl.Workbook:
    return openpyxl.load_workbook(io.BytesIO(to_xlsx(made)))


def column(sheet: object, name: str) -> list[object]:
    rows = list(sheet.iter_rows(values_only=True))  # type: ignore[attr-defined]
    return [row[rows[0].index(name)] for row in rows[1:]]


# --- the workbook -----------------------------------------------------------------------------------------------------


def test_the_workbook_has_every_sheet_and_numbers_are_numbers() -> None:
    made = forwarded()
    found = book(made)
    assert found.sheetnames == ["Summary", "Split", "Cells", "Bridge", "Invoices", "Pareto", "Releases"]
    costs = column(found["Split"], "Cost USD")
    assert costs == [float(line.cost) for line in (*made.lines, *made.buckets)] + [float(made.total)]
    assert all(isinstance(each, int | float) for each in costs)
    assert found["Split"]["B2"].number_format.startswith("#,##0.00")
    assert column(found["Split"], "Share")[4] is None
    assert len(column(found["Cells"], "Team")) == len(made.cells)


def test_the_exact_text_stands_beside_what_a_spreadsheet_can_not_hold() -> None:
    found = book(build([cell("exploration", "9007199254740993.000000001", team="a"), cell("evaluation", "2.5", team="b")]))
    assert column(found["Cells"], "Cost USD, exact") == ["9007199254740993.000000001", "2.500000000"]
    total = sum(Decimal(str(text)) for text in column(found["Cells"], "Cost USD, exact"))
    assert total == Decimal("9007199254740995.500000001")
    short = book(build([cell("exploration", "12.25", "1", team="a")]))
    assert "Cost USD, exact" not in [each.value for each in short["Cells"][1]]


def test_the_cells_of_the_workbook_add_up_to_the_total_to_the_last_digit() -> None:
    exact = build([cell("exploration", "9007199254740993.000000001", team="a"), cell("evaluation", "0.3", team="b")])
    for made, name in ((forwarded(), "Cost USD"), (exact, "Cost USD, exact")):
        assert sum(Decimal(str(value)) for value in column(book(made)["Cells"], name)) == made.total


def test_no_name_becomes_a_formula_a_link_or_a_number() -> None:
    found = book(build([cell("exploration", "10", "1", "pretraining", name) for name in FORMULAS]))
    cells = [each for row in found["Cells"].iter_rows(min_row=2) for each in row]
    assert {each.data_type for each in cells} <= {"s", "n"}
    assert all(each.hyperlink is None for each in cells)
    teams = column(found["Cells"], "Team")
    assert all(isinstance(team, str) for team in teams)
    assert {"=cmd|' /C calc'!A0", "1e5", "\\t=1", "\\x1b[31m"} <= set(teams)
    with zipfile.ZipFile(io.BytesIO(to_xlsx(build([cell("exploration", "1", "1", "", name) for name in FORMULAS])))) as parts:
        for part in parts.namelist():
            assert b"<f>" not in parts.read(part)


def test_a_name_longer_than_a_cell_is_cut_and_the_book_opens() -> None:
    found = book(build([cell("exploration", "10", "1", "", "x" * 40_000)]))
    assert len(str(column(found["Cells"], "Team")[0])) == 32_767


def test_unknown_idle_is_no_zero_in_the_workbook() -> None:
    hours = column(book(build(idle_gpu_hours_known=False))["Split"], "GPU-hours")
    assert hours[5] == "unknown"


# --- Parquet ----------------------------------------------------------------------------------------------------------


def test_the_parquet_has_the_cells_with_all_places(tmp_path: Path) -> None:
    made = build([cell("exploration", "9007199254740993.000000001", "1.5", team="a'b"), cell("evaluation", "2.5", team="é\n")])
    (tmp_path / "r.parquet").write_bytes(to_parquet(made))
    rows = duckdb.sql(f"SELECT period, category, team, cost, gpu_seconds FROM '{tmp_path}/r.parquet'").fetchall()
    assert [(r[1], r[2], r[3]) for r in rows] == [(c.category, c.team, c.cost) for c in made.cells]
    assert {r[0] for r in rows} == {"2026-10"}
    assert {Decimal(5400), Decimal(0)} == {r[4] for r in rows}


def test_a_month_without_anything_is_a_parquet_file_without_rows(tmp_path: Path) -> None:
    (tmp_path / "r.parquet").write_bytes(to_parquet(build((), closings=(), services=(), top_jobs=())))
    assert duckdb.sql(f"SELECT count(*), sum(cost) FROM '{tmp_path}/r.parquet'").fetchall() == [(0, None)]


# --- the mail ---------------------------------------------------------------------------------------------------------


def read(made: bytes) -> EmailMessage:
    message = email.message_from_bytes(made, policy=policy.default)
    assert isinstance(message, EmailMessage)
    return message


def test_the_mail_has_page_one_as_text_and_html_and_both_files() -> None:
    made = forwarded()
    message = read(to_eml(made, ["finance@example.org", "CTO <cto@example.org>"]))
    assert message["To"] == "finance@example.org, CTO <cto@example.org>"
    assert message["Subject"] == "Compute of the lab · 2026-10 · USD · SYNTHETIC"
    assert message["From"] is None
    text, page = message.get_body(("plain",)), message.get_body(("html",))
    assert text is not None
    assert page is not None
    for body in (text.get_content(), page.get_content()):
        assert "302,118.78" in body
        assert "charges - attributed = 0.000000000" in body
        assert "What changed since 2026-09" in body
    files = {part.get_filename(): part.get_content() for part in message.iter_attachments()}
    assert files["report-2026-10-USD.xlsx"] == to_xlsx(made)
    assert files["report-2026-10-USD.html"].replace("\r\n", "\n") == to_html(made)


def test_the_mail_is_dated_by_its_figures_and_not_by_the_clock() -> None:
    assert read(to_eml(build()))["Date"] == "Sun, 01 Nov 2026 00:00:00 +0000"
    assert read(to_eml(forwarded()))["Date"] == "Fri, 20 Nov 2026 00:00:00 +0000"
    assert to_eml(forwarded()) == to_eml(replace(forwarded()))
    assert read(to_eml(forwarded()))["Message-ID"] != read(to_eml(build()))["Message-ID"]


def test_no_line_of_the_mail_is_longer_than_mail_takes() -> None:
    assert max(map(len, to_eml(forwarded(title="x" * 10_000)).split(b"\r\n"))) <= 998


@pytest.mark.parametrize("title", ["Report\r\nBcc: everyone@example.org", "x" * 10_000, "=?utf-8?q?=0A?=", "שלום 🚀"])
def test_a_title_adds_no_header(title: str) -> None:
    message = read(to_eml(build(title=title)))
    assert message["Bcc"] is None
    assert set(message.keys()) == {"Subject", "Date", "Message-ID", "X-Unsent", "MIME-Version", "Content-Type"}


@pytest.mark.parametrize("address", ["", "finance", "a@b\r\nBcc: c@d", "@", "a@b, c@d"])
def test_what_is_no_address_is_refused(address: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="mail address"):
        to_eml(build(), [address])
    with pytest.raises(ValueError, match="mail address"):
        Report(Location(str(tmp_path)), to=(address,))


def test_the_exporter_writes_each_format_and_addresses_the_mail(tmp_path: Path) -> None:
    Report(Location(str(tmp_path)), ("html", "xlsx", "parquet", "eml"), to=("cto@example.org",)).export(forwarded())
    assert {path.name for path in tmp_path.iterdir()} == {"report.html", "report.xlsx", "report.parquet", "report.eml"}
    assert read((tmp_path / "report.eml").read_bytes())["To"] == "cto@example.org"
