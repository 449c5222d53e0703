"""Invoice totals: what is to be paid, for the closing table to compare the bill's lines with.

Reads files of three kinds: a small TOML or CSV file that somebody writes, and the Invoice Detail dataset of FOCUS 1.4 (CSV,
gzipped CSV or Parquet). Needs read permission on them, nothing else.

    [collectors.invoices]
    path = "invoices.toml"          # a file, a folder or a glob
    assume_utc = false              # Invoice Detail only: take times without a zone as UTC, as FOCUS demands

and in `invoices.toml`:

    [[invoice]]
    invoice = "EUINDE26-1234567"    # as the bill's lines name it
    currency = "USD"
    total = "40644.80"              # tax included, credits taken off; a number or text, exact
    billing_period = "2026-10"      # the month of the bill that it belongs to
    provider = "AWS"                # optional, for people
    bill = "aws_cur"                # optional: name of the collector of the bill, where two bills have invoices of one number

A CSV file has the same names in its header. Of an Invoice Detail dataset the lines of an invoice are added up by issuer,
currency and billing period; only lines whose InvoiceIssueStatus is `Issued` count, the others are noted. The same invoice (or
InvoiceDetailId) twice is refused with both places.

It can't see whether an invoice was paid, and takes no payment currency: amounts are in the billing currency. It states
totals for the closing table; it is never money itself.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import duckdb

from rdspend.bills import agreements
from rdspend.bills.agreements import AGREEMENTS, STATED, Entry, read_toml, refuse_twice, relation
from rdspend.bills.column import MOST, time_of
from rdspend.bills.files import File, find, readable, refuse_copies, sound
from rdspend.bills.layout import Layout, inspect_csv, inspect_parquet, read_csv, read_parquet
from rdspend.border import exact, literal, month, nanos, refuse
from rdspend.errors import BadRecord, ConfigError, SourceUnavailable
from rdspend.schema import STATEMENTS, Delivery, Location, Window

CSV_COLUMNS = {key: key for key in STATED.known}
COLUMNS = tuple(name for name in STATEMENTS.names if name not in ("source", "billing_period"))

ROW_OF_CSV = "row_number() OVER ()"

# Columns of FOCUS 1.4's Invoice Detail that are read -> column of the table below.
DETAIL = {
    "BilledCost": "cost",
    "BillingCurrency": "currency",
    "BillingPeriodStart": "month",
    "InvoiceDetailId": "detail",
    "InvoiceId": "invoice",
    "InvoiceIssuerName": "issuer",
    "InvoiceIssueStatus": "status",
}
STATUSES = ("Open", "Issued", "Voided")

# Lines of Invoice Detail datasets. `month` is the UTC month of the billing period.
DETAIL_TABLE = """
    CREATE TABLE detail (file TEXT, row BIGINT, issuer TEXT, invoice TEXT, detail TEXT, currency TEXT, month TEXT, status TEXT,
        cost DECIMAL(38, 18))
"""


@dataclass(frozen=True)
class Invoices:
    """Reads invoice totals from files."""

    path: Location
    assume_utc: bool = False

    def collect(self, window: Window) -> Iterator[Delivery]:
        """One delivery of statements for each month of the window, empty where no invoice is of it.

        Raises SourceUnavailable when there is no file, ConfigError or BadRecord that names file and entry or line.
        """
        with readable(str(self.path)), duckdb.connect() as connection:
            connection.execute("SET TimeZone = 'UTC'; SET enable_progress_bar = false")
            connection.execute(DETAIL_TABLE)
            entries = self._read(connection)
            summed = _sum_up(connection)
            _refuse_both(entries, summed)
            for billing_month in window.months:
                rows = [_row(entry) for entry in entries if entry["billing_period"] == billing_month]
                rows += [row for row in summed if row["billing_period"] == billing_month]
                yield Delivery(
                    "statements",
                    relation(connection, STATEMENTS, COLUMNS, rows),
                    {"billing_period": billing_month},
                    notes=_notes(connection, billing_month),
                )

    def _read(self, connection: duckdb.DuckDBPyConnection) -> list[Entry]:
        """The entries of the small files; lines of datasets go into the table detail."""
        files = [File(name, Path(name)) for name in find(self.path)]
        files = [f for f in files if f.name.lower().endswith((".toml", ".csv", ".csv.gz", ".parquet"))]
        if not files:
            raise SourceUnavailable(
                f"{self.path}: no invoices found, expected TOML, CSV or Parquet: a file, a folder or a glob"
            )
        refuse_copies(files)
        entries: list[Entry] = []
        for file in files:
            if file.name.lower().endswith(".toml"):
                entries += read_toml(file.name, AGREEMENTS["invoices"])
                continue
            layout = inspect_parquet(connection, file) if file.is_parquet else inspect_csv(file)
            if file.is_parquet or layout.find("InvoiceDetailId") is not None:
                self._load(connection, file, layout)
            else:
                entries += agreements.read_csv(file.name, AGREEMENTS["invoices"], CSV_COLUMNS)
        refuse_twice(
            entries,
            lambda e: (e["provider"], e["bill"], e["invoice"], e["currency"]),
            lambda e: f"invoice {e['invoice']!r} in {e['currency']}",
        )
        return entries

    def _load(self, connection: duckdb.DuckDBPyConnection, file: File, layout: Layout) -> None:
        """The lines of a dataset, checked."""
        missing = [name for name in DETAIL if layout.find(name) is None]
        if missing:
            raise BadRecord(
                f"no column {missing[0]!r}; expected the Invoice Detail dataset of FOCUS 1.4, with {', '.join(DETAIL)}",
                file.name,
            )
        with sound(file):
            connection.execute(_detail_sql(file, layout, self.assume_utc))
        again = connection.execute(
            "SELECT invoice, detail, first.file, first.row, last.file, last.row FROM ("
            "  SELECT invoice, detail, count(*) AS lines, min(place) AS first, max(place) AS last"
            "  FROM (SELECT *, {'file': file, 'row': row} AS place FROM detail) GROUP BY issuer, invoice, detail"
            ") WHERE lines > 1 ORDER BY last LIMIT 1"
        ).fetchall()
        for invoice, detail, first_file, first, second_file, second in again:
            raise BadRecord(
                f"row {second}: InvoiceDetailId {detail!r} of invoice {invoice!r} is in {first_file}: row {first} already; "
                "expected it once",
                second_file,
            )


def _detail_sql(file: File, layout: Layout, assume_utc: bool) -> str:
    """Reads one dataset and checks it in the same pass."""
    here = literal(file.name)
    texts, row = (read_parquet([file]), "file_row_number + 1") if file.is_parquet else (read_csv(file, layout), ROW_OF_CSV)
    columns = {name: layout.find(name) or ("", "") for name in DETAIL}

    def or_refuse(name: str, value: str, expected: str) -> str:
        return f"COALESCE({value}, {refuse(here, 'row', name, f'{DETAIL[name]}_text', expected)}) AS {DETAIL[name]}"

    period, kind = columns["BillingPeriodStart"]
    statuses, cost = ", ".join(map(literal, STATUSES)), exact("cost_text")
    currency = "CASE WHEN regexp_full_match(currency_text, '[A-Z]{3}') THEN currency_text END"
    checked = (
        or_refuse("InvoiceIssuerName", "issuer_text", "a text"),
        or_refuse("InvoiceId", "invoice_text", "a text"),
        or_refuse("InvoiceDetailId", "detail_text", "a text"),
        or_refuse("BillingCurrency", currency, "an ISO 4217 code"),
        or_refuse("BillingPeriodStart", month(time_of("period", kind, assume_utc)), "a time with a zone"),
        or_refuse("InvoiceIssueStatus", f"CASE WHEN status_text IN ({statuses}) THEN status_text END", " or ".join(STATUSES)),
        or_refuse("BilledCost", f"CASE WHEN abs({cost}) < {MOST} THEN {cost} END", f"a decimal below {MOST:,}"),
    )
    raw = ", ".join(f"CAST({columns[name][0]} AS VARCHAR) AS {column}_text" for name, column in DETAIL.items())
    return (
        f"INSERT INTO detail BY NAME SELECT {here} AS file, row, {', '.join(checked)} "
        f"FROM (SELECT {row} AS row, {period} AS period, {raw} FROM {texts})"
    )


def _sum_up(connection: duckdb.DuckDBPyConnection) -> list[dict[str, Any]]:
    """Invoices of the datasets: lines by issuer, invoice, currency and billing month."""
    rows = connection.execute(f"""
        SELECT place.file, place.row, invoice, issuer, currency, month, nanos FROM (
            SELECT min({{'file': file, 'row': row}}) AS place, invoice, issuer, currency, month, {nanos("sum(cost)")} AS nanos
            FROM detail WHERE status = 'Issued' GROUP BY invoice, issuer, currency, month
        ) ORDER BY place
    """).fetchall()
    names = ("origin_file", "origin_row", "invoice_id", "provider_name", "currency", "billing_period", "billed_cost_nanos")
    return [{**dict(zip(names, row, strict=True)), "kind": "invoice", "complete": True} for row in rows]


def _notes(connection: duckdb.DuckDBPyConnection, billing_month: str) -> list[tuple[str, str, str, int]]:
    """What is no invoice, yet or any more."""
    rows = connection.execute(
        "SELECT invoice, issuer, status, count(*) FROM detail WHERE status <> 'Issued' AND month = ? GROUP BY ALL ORDER BY ALL",
        [billing_month],
    ).fetchall()
    return [
        ("invoice_not_issued", invoice, f"{issuer} says {status}; its lines are left out until they are Issued", lines)
        for invoice, issuer, status, lines in rows
    ]


def _refuse_both(entries: Sequence[Entry], summed: Sequence[dict[str, Any]]) -> None:
    """An invoice that a dataset has needs nobody to write it down: one of them would be an older word."""
    known = {(row["invoice_id"], row["currency"]): row for row in summed}
    for entry in entries:
        row = known.get((entry["invoice"], entry["currency"]))
        if row is not None and entry["provider"] in (None, row["provider_name"]):
            raise ConfigError(
                f"{entry.words}: invoice {entry['invoice']!r} is in {row['origin_file']}: row {row['origin_row']} already; "
                "remove one"
            )


def _row(entry: Entry) -> dict[str, Any]:
    return {
        "origin_file": entry.file,
        "origin_row": entry.number,
        "kind": "invoice",
        "invoice_id": entry["invoice"],
        "bill": entry["bill"],
        "provider_name": entry["provider"],
        "currency": entry["currency"],
        "billed_cost_nanos": entry["total"],
        "complete": True,
    }
