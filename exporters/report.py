"""report: one breakdown as files a person or a program can keep: HTML, JSON, Markdown, CSV, Parquet, XLSX, a mail.

Reads nothing but the finished breakdown; needs the right to write into one folder. Each file is written beside its old
version, synced and moved over it: a reader sees the whole old report or the whole new one. The same snapshot gives the
same bytes; nothing of the moment of writing is in them.

    <file>.json  every figure as a decimal string, all nine places of money; its schema is docs/report.schema.json
    <file>.md    the page for people: rounded, with the closing line in full
    <file>.html  the same page to be forwarded: drawings, tables, what every figure means; no network, no scripts
    <file>.csv   the cells (category x stage x team x cluster x basis) for a spreadsheet; their cost sums to the total
    <file>.parquet   the same cells for programs
    <file>.xlsx  a workbook for finance: summary, split, cells, bridge, invoices, Pareto, releases
    <file>.eml   a message ready to be sent, with page one in it and the page and the workbook attached

HTML draws with matplotlib (`pip install 'rdspend[html]'`), XlsxWriter writes the workbook (`rdspend[xlsx]`), a mail needs both.

What it can't show: figures of jobs beyond the largest (`rdspend explain` walks to every job), and two currencies on one
page. With bills in several currencies put `{currency}` into `file`; without it the second one is refused, since it
would take the place of the first. `{period}` and `{policy}` keep a file for each month or policy.

    [exporters.report]
    folder = "reports"
    formats = ["html", "json"]          # of json, md, html, csv, parquet, xlsx, eml
    file = "report"                     # name without ending; {period}, {currency} and {policy} are filled in
    to = ["finance@example.org"]        # whom the mail is for
"""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC
from decimal import Decimal
from pathlib import Path
from types import MappingProxyType
from typing import Any, ClassVar, Literal

from rich.console import Console

from exporters.report_beside import public_json
from exporters.report_blocks import visible
from exporters.report_changes import past_json
from exporters.report_crossing import amounts, crossing_csv, crossing_json, crossing_page, refuse_unknown
from exporters.report_markdown import set_in_markdown, to_markdown
from exporters.report_page import final_training, refuse_open
from exporters.report_releases import releases_json
from exporters.report_spend import spend_json
from exporters.report_terminal import set_on_terminal, to_terminal
from exporters.whole_file import check_places, fill_places, write_whole
from rdspend.errors import ConfigError
from rdspend.schema import SECONDS_PER_HOUR, Breakdown, Line, Location

__all__ = ["FORMATS", "Report", "to_csv", "to_json", "to_markdown", "to_terminal"]

SCHEMA = "rdspend/report/1"

SPREAD = ("cost", "billed_cost", "gpu_hours", "basis")

Format = Literal["json", "md", "csv", "html", "parquet", "xlsx", "eml"]

CSV_COLUMNS = (
    *("period", "policy", "currency", "revision", "state", "snapshot", "synthetic"),
    *("category", "stage", "team", "cluster", "basis", "cost", "billed_cost", "gpu_hours"),
)

# A spreadsheet takes a cell that starts so for a formula and runs it.
FORMULA = re.compile(r"^\s*[=+\-@\uff1d\uff0b\uff0d\uff20|%]")


def _money(value: Decimal) -> str:
    return f"{value:.9f}"


def _hours(value: Decimal) -> str:
    return f"{value:.6f}"


def _known(value: Decimal | None) -> str | None:
    return None if value is None else _money(value)


def _share(value: Decimal | None) -> str | None:
    return None if value is None else f"{value:.6f}"


def _figures(line: Line, hours_known: bool = True) -> dict[str, Any]:
    return {
        "cost": _money(line.cost),
        "billed_cost": _money(line.billed_cost),
        "gpu_hours": _hours(line.gpu_hours) if hours_known else None,
        "share": _share(line.share),
        "share_low": _share(line.share_low),
        "share_high": _share(line.share_high),
        "likely_low": _share(line.likely_low),
        "likely_high": _share(line.likely_high),
        "basis": line.basis,
        "borne": _money(line.borne),
    }


def to_json(breakdown: Breakdown) -> str:
    """The report as JSON, in ASCII: names from elsewhere can't play tricks on a terminal. Ends with a newline."""
    b = breakdown
    final = final_training(b)
    document = {
        "schema": SCHEMA,
        "title": b.title,
        "synthetic": b.synthetic,
        "remark": b.remark,
        "period": b.period,
        "months": list(b.months),
        "policy": b.policy.name,
        "currency": b.currency,
        "revision": b.revision,
        "state": b.state,
        "state_why": b.state_why,
        "closed": _closed(b),
        "snapshot": b.snapshot,
        "basis": b.basis,
        "share_rule": b.share_rule,
        "complete": b.complete,
        "total": _money(b.total),
        "billed_total": _money(b.billed_total),
        "gpu_hours": _hours(b.gpu_hours),
        "estimated_low": _known(b.estimated_low),
        "estimated_high": _known(b.estimated_high),
        "denominator": {
            "cost": _money(b.denominator) if b.policy.unit == "money" else None,
            "gpu_hours": _hours(b.denominator) if b.policy.unit == "gpu_hours" else None,
            "unit": b.policy.unit,
            "idle": b.policy.idle,
            "shared": b.policy.shared,
            "words": b.policy.denominator_words,
            "categories": list(b.policy.denominator),
            "policy_title": b.policy.title,
            "policy_words": b.policy.words,
        },
        "final_training_range": {
            "share": _share(final.share),
            "low": _share(final.share_low),
            "high": _share(final.share_high),
            "likely_low": _share(final.likely_low),
            "likely_high": _share(final.likely_high),
        },
        "doubt": b.doubt,
        "candidates": [
            {
                "family": c.family,
                "team": c.team,
                "why": c.why,
                "jobs": c.jobs,
                "cost": _money(c.cost),
                "gpu_hours": _hours(c.gpu_hours),
            }
            for c in b.candidates
        ],
        "lines": [{"activity": line.name, **_figures(line)} for line in b.lines],
        "buckets": [
            {"bucket": line.name, **_figures(line, line.name != "idle" or b.idle_gpu_hours_known)} for line in b.buckets
        ],
        "closing": {
            "charges": _money(b.charges),
            "attributed": _money(b.attributed),
            "difference": _money(b.charges - b.attributed),
        },
        "coverage": [
            {
                "source": gap.source,
                "from": f"{gap.start.astimezone(UTC):%FT%TZ}",
                "to": f"{gap.end.astimezone(UTC):%FT%TZ}",
                "complete": gap.complete,
                "why": gap.why,
            }
            for gap in b.coverage
        ],
        "spread": [
            {"bucket": line.name, **{key: value for key, value in _figures(line).items() if key in SPREAD}} for line in b.spread
        ],
        "crossings": [
            {"activity": c.category, "stage": c.stage, "outcome": c.outcome, "role": c.role, **amounts(c)} for c in b.crossings
        ],
        "stages": [{"stage": line.name, **_figures(line)} for line in b.stages],
        "teams": [{"team": line.name, **_figures(line)} for line in b.teams],
        "clusters": [{"cluster": line.name, **_figures(line)} for line in b.clusters],
        "services": [{"service": line.name, **_figures(line)} for line in b.services],
        "top_jobs": [
            {
                "job_key": job.job_key,
                "name": job.name,
                "team": job.team,
                "category": job.category,
                "stage": job.stage,
                "outcome": job.outcome,
                "cost": _money(job.cost),
                "gpu_hours": _hours(job.gpu_hours),
            }
            for job in b.top_jobs
        ],
        "closings": [
            {
                "source": c.source,
                "billing_period": c.billing_period,
                "basis": c.basis,
                "currency": c.currency or b.currency,
                "charges": _money(c.charges),
                "attributed": _money(c.attributed),
                "difference": _money(c.charges - c.attributed),
                "billed_charges": _money(c.billed_charges),
                "billed_attributed": _money(c.billed_attributed),
                "billed_difference": _money(c.billed_charges - c.billed_attributed),
            }
            for c in b.closings
        ],
        **_against_others(b),
        **past_json(b),
        **spend_json(b),
        **public_json(b),
        **releases_json(b),
        "findings": [
            {"kind": kind, "subject": subject, "detail": detail, "rows": rows} for kind, subject, detail, rows in b.findings
        ],
    }
    return json.dumps(document, indent=2) + "\n"


def _closed(b: Breakdown) -> dict[str, Any] | None:
    """What the period was closed with, and how far it is from that now."""
    if b.closed is None:
        return None
    return {
        "revision": b.closed.revision,
        "snapshot": b.closed.snapshot,
        "closed_at": f"{b.closed.closed_at.astimezone(UTC):%FT%TZ}",
        "total": _money(b.closed.total),
        "billed_total": _money(b.closed.billed_total),
        "correction": _money(b.total - b.closed.total),
        "billed_correction": _money(b.billed_total - b.closed.billed_total),
    }


def _against_others(b: Breakdown) -> dict[str, Any]:
    """The bill against invoices, summaries and estimates, and what was converted."""
    return {
        "bridge": [
            {
                "source": c.source,
                "invoice": c.invoice,
                "currency": c.currency,
                "category": c.category,
                "effective": _money(c.effective),
                "billed": _money(c.billed),
            }
            for c in b.bridge
        ],
        "invoices": [
            {
                "source": i.source,
                "invoice": i.invoice,
                "currency": i.currency,
                "stated": _known(i.stated),
                "billed": _money(i.billed),
                "difference": _known(i.difference),
                "rounded": i.rounded,
            }
            for i in b.invoices
        ],
        "checks": [
            {
                "source": c.source,
                "service": c.service,
                "account": c.account,
                "currency": c.currency,
                "stated": _money(c.stated),
                "billed": _money(c.billed),
                "difference": _money(c.difference),
                "complete": c.complete,
            }
            for c in b.checks
        ],
        "estimate_errors": [
            {
                "month": e.month,
                "gpu_type": e.gpu_type,
                "node_hours": e.node_hours,
                "estimated": _money(e.estimated),
                "billed": _money(e.billed),
                "median": _share(e.median),
                "p90": _share(e.p90),
                "bias": _share(e.bias),
            }
            for e in b.estimate_errors
        ],
        "conversions": [
            {
                "currency": c.currency,
                "total": _money(c.total),
                "billed_total": _money(c.billed_total),
                "converted_total": _money(c.converted_total),
                "converted_billed_total": _money(c.converted_billed_total),
                "first_rate": f"{c.first_rate:f}",
                "last_rate": f"{c.last_rate:f}",
            }
            for c in b.conversions
        ],
    }


def _csv_text(text: str) -> str:
    """Text that no spreadsheet runs and no terminal obeys."""
    safe = visible(text)
    return f"'{safe}" if FORMULA.match(safe) else safe


def to_csv(breakdown: Breakdown) -> str:
    """The cells, one a row. Sum of `cost` is the report's total."""
    b = breakdown
    head = (b.period, b.policy.name, b.currency, b.revision, b.state, b.snapshot, "SYNTHETIC" if b.synthetic else "")
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\r\n")
    writer.writerow(CSV_COLUMNS)
    for cell in b.cells:
        writer.writerow(
            (
                *head,
                *map(_csv_text, (cell.category, cell.stage, cell.team, cell.cluster, cell.basis)),
                _money(cell.cost),
                _money(cell.billed_cost),
                _hours(cell.gpu_seconds / SECONDS_PER_HOUR),
            )
        )
    return text.getvalue()


def to_crossing(breakdown: Breakdown, by: Sequence[str], form: str, console: Console | None = None) -> str:
    """Jobs' money crossed by some of activity, stage, outcome and role; printed, and nothing returned, on a terminal."""
    refuse_unknown(by)
    if form == "json":
        return crossing_json(breakdown, by)
    if form == "csv":
        return crossing_csv(breakdown, by)
    if form not in ("terminal", "md"):
        raise ConfigError(f"--cross with --format {form}: expected terminal, json, csv or md")
    if console is None:
        return set_in_markdown(crossing_page(breakdown, by))
    set_on_terminal(crossing_page(breakdown, by), console)
    return ""


def to_html(breakdown: Breakdown) -> str:
    """The page that is forwarded. Loads what draws only when it is asked for."""
    from exporters.report_html import to_html as write

    return write(breakdown)


def to_xlsx(breakdown: Breakdown) -> bytes:
    from exporters.report_xlsx import to_xlsx as write

    return write(breakdown)


def to_parquet(breakdown: Breakdown) -> bytes:
    from exporters.report_parquet import to_parquet as write

    return write(breakdown)


def to_eml(breakdown: Breakdown, to: Sequence[str] = ()) -> bytes:
    """A message to these addresses."""
    from exporters.report_mail import to_eml as write

    return write(breakdown, to)


FORMATS: Mapping[str, Callable[[Breakdown], str | bytes]] = MappingProxyType(
    {
        "json": to_json,
        "md": to_markdown,
        "html": to_html,
        "csv": to_csv,
        "parquet": to_parquet,
        "xlsx": to_xlsx,
        "eml": to_eml,
    }
)


@dataclass(frozen=True)
class Report:
    """Writes one file for each format into a folder."""

    folder: Location
    formats: tuple[Format, ...] = ("json", "md")
    file: str = "report"
    to: tuple[str, ...] = ()

    texts: ClassVar[Mapping[str, Callable[[Breakdown], str | bytes]]] = FORMATS
    mailed: ClassVar[Callable[[Breakdown, Sequence[str]], bytes]] = staticmethod(to_eml)
    show: ClassVar[Callable[[Breakdown, Console], None]] = staticmethod(to_terminal)
    crossed: ClassVar[Callable[[Breakdown, Sequence[str], str, Console | None], str]] = staticmethod(to_crossing)

    def __post_init__(self) -> None:
        if self.folder.startswith("s3://"):
            raise ValueError(f"folder: found {self.folder!r}, expected a folder on this machine")
        if not self.formats:
            raise ValueError(f"formats: found none, expected some of {', '.join(FORMATS)}")
        if not self.file or "/" in self.file:
            raise ValueError(f"file: found {self.file!r}, expected a name without folder and without ending")
        check_places("file", self.file)
        if self.to:
            _refuse_wrong_addresses(self.to)

    def export(self, breakdown: Breakdown) -> None:
        """Write the report. Raises ConfigError where it would replace this snapshot's report in another currency."""
        refuse_open(breakdown)
        folder = Path(self.folder)
        name = fill_places(self.file, breakdown)
        _refuse_other_currency(folder / f"{name}.json", breakdown)
        for form in self.formats:
            write_whole(folder / f"{name}.{form}", self.file_of(breakdown, form))

    def file_of(self, breakdown: Breakdown, form: Format) -> bytes:
        """The report in one format, as `export` writes it."""
        made = to_eml(breakdown, self.to) if form == "eml" else FORMATS[form](breakdown)
        return made.encode() if isinstance(made, str) else made


def _refuse_wrong_addresses(addresses: Sequence[str]) -> None:
    from exporters.report_mail import refuse_no_address

    try:
        for address in addresses:
            refuse_no_address(address)
    except ConfigError as error:
        raise ValueError(str(error)) from None


def _refuse_other_currency(path: Path, breakdown: Breakdown) -> None:
    try:
        there = json.loads(path.read_bytes())
        other = there["currency"] if there["snapshot"] == breakdown.snapshot else breakdown.currency
    except (OSError, ValueError, KeyError, TypeError):
        return  # no report of ours: nothing to lose
    if other != breakdown.currency:
        raise ConfigError(
            f"exporters.report.file: {path} holds this snapshot's report in {other}, and the one in "
            f"{breakdown.currency} would replace it; "
            ' put the currency into the name: file = "report-{currency}"'
        )
