"""What the bills of LLM APIs share: reports by day, and how they become charges, jobs and tokens.

A job is what one key did with one model in one project (a workspace, with Anthropic) on one UTC day; an empty text is "not
known". A charge names its job as its resource, so that the money arrives there.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from fractions import Fraction
from itertools import islice
from typing import Any, NoReturn, Protocol

import duckdb

from rdspend.asking import Parameters, Refused
from rdspend.bills.agreements import TEXT, invoice_of
from rdspend.bills.pages import Api, Folder, Page, rows
from rdspend.border import DECIMAL_TEXT
from rdspend.errors import BadRecord, SourceUnavailable
from rdspend.schema import NANOS, Delivery, Window

DAY = timedelta(days=1)
MOST_MONEY = 9_000_000_000

# Days that a page is asked for: the whole month of many keys and models can be longer than a page may be.
DAYS_A_PAGE = 7

# Rows that go into a table at once: what they take on the way is many times what they take in it.
ROWS_AT_ONCE = 10_000

Note = tuple[str, str, str, int]


# --- reports ----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Record:
    """One result of a report. `row` counts the results of its page from 1."""

    day: date
    file: str
    row: int
    fields: Mapping[str, Any]

    def text(self, name: str) -> str:
        """A text; empty where it is null or not there."""
        value = self.fields.get(name)
        if value is not None and not isinstance(value, str):
            self.refuse(name, value, "a text")
        return value or ""

    def count(self, name: str, inside: Mapping[str, Any] | None = None) -> int:
        """A whole number that is not negative; 0 where it is null or not there."""
        value = (self.fields if inside is None else inside).get(name)
        if value is None:
            return 0
        if isinstance(value, bool) or not isinstance(value, int | Decimal) or not 0 <= value < 2**63 or value != int(value):
            self.refuse(name, value, "a whole number that is not negative")
        return int(value)

    def inner(self, name: str) -> Mapping[str, Any]:
        value = self.fields.get(name)
        if value is None:
            return {}
        if not isinstance(value, dict):
            self.refuse(name, value, "an object")
        return dict(value)

    def refuse(self, name: str, found: object, expected: str) -> NoReturn:
        said = "nothing" if found is None else str(found) if isinstance(found, Decimal) else repr(found)
        raise BadRecord(f"result {self.row}: {name}: found {said[:80]}, expected {expected}", self.file)


@dataclass(frozen=True)
class Dialect:
    """How a provider writes its reports.

    span     the parameters that ask for the days of a window
    bounds   names of a bucket's start and end, and instant reads either
    """

    span: Callable[[Window], Parameters]
    bounds: tuple[str, str]
    instant: Callable[[Any], datetime]


@dataclass(frozen=True)
class Report:
    """A report of one month. `grouped`: by what it could be had; None where saved pages don't say. `there`: false: no pages."""

    records: Sequence[Record]
    grouped: tuple[str, ...] | None
    there: bool = True


class Reports(Protocol):
    """Where reports come from: the server or a folder. `unknown`: what neither could say."""

    unknown: list[Note]

    def report(self, name: str, path: str, month: Window, groupings: Sequence[tuple[str, ...]]) -> Report:
        """All of a month. Groupings are tried in order: a server may not know all of them."""
        ...

    def listing(self, name: str, path: str, parameters: Parameters, cursor: str) -> list[Mapping[str, Any]]:
        """All entries of a list; none where it may not be read. SourceUnavailable when that is not known."""
        ...


@dataclass
class Asked:
    """Reports from the server.

    needed  the report with the money: every day of it that is over by `until` has to be answered, empty ones too
    until   end of what is asked for: now, where the month still runs
    """

    api: Api
    dialect: Dialect
    needed: str
    until: datetime
    unknown: list[Note] = field(default_factory=list)

    def report(self, name: str, path: str, month: Window, groupings: Sequence[tuple[str, ...]]) -> Report:
        span = self.dialect.span(Window(month.start, min(month.end, _day_end(self.until))))
        for dimensions in groupings:
            asked = {**span, "bucket_width": "1d", "limit": DAYS_A_PAGE, "group_by[]": dimensions}
            try:
                pages = list(self.api.pages(path, asked))
            except Refused as error:
                # 400: this organisation or time does not have that combination of dimensions.
                if error.status != 400 or dimensions == groupings[-1]:
                    raise
                continue
            records = list(_records(pages, self.dialect))
            for record in records:
                if not month.start.date() <= record.day < month.end.date():
                    raise BadRecord(f"has a bucket of {record.day}, which was not asked for", record.file)
            if name == self.needed:
                self._refuse_gaps(path, pages, month)
            return Report(records, dimensions)
        raise AssertionError("the last grouping returns or raises")

    def _refuse_gaps(self, path: str, pages: Sequence[Page], month: Window) -> None:
        """Both providers answer a day without costs by an empty bucket, so a day without one is not known."""
        answered = {_days(page, bucket, self.dialect) for page, bucket in rows(pages)}
        over = (min(month.end, self.until) - month.start).days
        missing = [day for day in (month.start.date() + i * DAY for i in range(over)) if day not in answered]
        if missing:
            others = f" nor {len(missing) - 1} other days of {missing[0]:%Y-%m}" if missing[1:] else ""
            raise SourceUnavailable(f"{self.api.base_url}{path}: the answer has no bucket of {missing[0]}{others}")

    def listing(self, name: str, path: str, parameters: Parameters, cursor: str) -> list[Mapping[str, Any]]:
        try:
            return [entry for _, entry in rows(self.api.pages(path, parameters, cursor, "last_id"))]
        except Refused as error:
            self.unknown.append(("names_unknown", name, f"ids stand for names: {error}", 1))
            return []


@dataclass
class Kept:
    """Reports that somebody saved, and what was read of them. Without the needed one there is no bill.

    until  end of what is asked for: a month that ends before it, or with it, is over
    """

    folder: Folder
    dialect: Dialect
    needed: str
    until: datetime
    unknown: list[Note] = field(default_factory=list)
    _read: dict[str, tuple[list[Record], list[date]]] = field(default_factory=dict)

    def report(self, name: str, path: str, month: Window, groupings: Sequence[tuple[str, ...]]) -> Report:
        if name not in self._read:
            pages = self.folder.pages(name)
            self._read[name] = list(_records(pages, self.dialect)), sorted(_saved_days(pages, self.dialect))
        records, days = self._read[name]
        if not days:
            if name == self.needed:
                raise SourceUnavailable(
                    f"{self.folder.path}: has no saved pages of {name}; expected {name}.json or {name}-1.json"
                )
            return Report((), None, there=False)
        self._refuse_gaps(name, days, month)
        return Report([r for r in records if month.start.date() <= r.day < month.end.date()], None)

    def listing(self, name: str, path: str, parameters: Parameters, cursor: str) -> list[Mapping[str, Any]]:
        entries = [entry for _, entry in rows(self.folder.pages(name))]
        if not entries:
            self.unknown.append(("names_unknown", name, f"{self.folder.path} has no {name}.json; ids stand for names", 1))
        return entries

    def _refuse_gaps(self, name: str, days: Sequence[date], month: Window) -> None:
        """A missing page is not an empty day. Only of a month that still runs the last days may be left out."""
        first, last = month.start.date(), month.end.date() - DAY
        inside = [day for day in days if first <= day <= last]
        wanted = [first + i * DAY for i in range(((inside[-1] if inside else last) - first).days + 1)]
        missing = sorted(set(wanted) - set(inside))
        if missing:
            raise SourceUnavailable(
                f"{self.folder.path}: no page of {name} has {missing[0]}"
                + (f" nor {len(missing) - 1} other days of {first:%Y-%m}" if missing[1:] else "")
                + "; save the whole month, or remove its pages and ask for another period"
            )
        if inside[-1] == last:
            return
        if self.until >= month.end:
            raise SourceUnavailable(
                f"{self.folder.path}: the saved pages of {name} end with {inside[-1]}, but {first:%Y-%m} is over: what it has "
                f"of its last {(last - inside[-1]).days} days would be missing; save them too"
            )
        self.unknown.append(("saved_pages_end", name, f"the saved pages of {first:%Y-%m} end with {inside[-1]}", 1))


def _days(page: Page, bucket: Mapping[str, Any], dialect: Dialect) -> date:
    """The UTC day that a bucket is."""
    bounds = [bucket.get(name) for name in dialect.bounds]
    try:
        start, end = (dialect.instant(bound) for bound in bounds)
    except (ValueError, TypeError, OverflowError, OSError) as error:
        raise BadRecord(f"{dialect.bounds[0]}, {dialect.bounds[1]}: found {bounds}, expected instants", page.origin) from error
    if start.time() != datetime.min.time() or end - start != DAY:
        raise BadRecord(f"found a bucket from {start.isoformat()} to {end.isoformat()}, expected one UTC day", page.origin)
    return start.date()


def _records(pages: Sequence[Page], dialect: Dialect) -> Iterator[Record]:
    seen: dict[date, str] = {}
    row, last = 0, None
    for page, bucket in rows(pages):
        row, last = (row if last is page else 0), page
        day = _days(page, bucket, dialect)
        if day in seen:
            raise BadRecord(
                f"{day} is on {seen[day]} too; its money would count twice; pages of two organisations need a folder and a "
                "collector each",
                page.origin,
            )
        seen[day] = page.origin
        results = bucket.get("results")
        if not isinstance(results, list):
            raise BadRecord(f"results of {day}: found {results!r}, expected a list", page.origin)
        for fields in results:
            row += 1
            if not isinstance(fields, dict):
                raise BadRecord(f"result {row}: found {fields!r}, expected an object", page.origin)
            yield Record(day, page.origin, row, fields)


def _saved_days(pages: Sequence[Page], dialect: Dialect) -> Iterator[date]:
    """The days of saved pages. A page that says there is more is followed by the one that goes on where it ends."""
    ended: tuple[Page, date] | None = None
    for page in pages:
        days = [_days(page, bucket, dialect) for _, bucket in rows([page])]
        if ended is not None and (not days or days[0] != ended[1] + DAY):
            found = f"{page.origin} begins with {days[0]}" if days else f"{page.origin} is empty"
            raise SourceUnavailable(
                f"{ended[0].origin}: says that there is more after {ended[1]}, but {found}; save the page between"
            )
        ended = (page, days[-1]) if page.has_more and days else None
        yield from days


def _day_end(when: datetime) -> datetime:
    """The midnight, in UTC, that a day ends with; a midnight itself ends the day before."""
    return _midnight((when.astimezone(UTC) - timedelta(microseconds=1)).date() + DAY)


def month_window(month: str) -> Window:
    """A whole calendar month: a delivery replaces its month, so it is asked for from its first day to its last."""
    start = datetime(int(month[:4]), int(month[5:]), 1, tzinfo=UTC)
    return Window(start, (start + 31 * DAY).replace(day=1))


# --- amounts ----------------------------------------------------------------------------------------------------------


def number(record: Record, name: str, value: object) -> Fraction:
    """An exact number, of a JSON number or a decimal as text."""
    written = isinstance(value, str) and re.fullmatch(DECIMAL_TEXT[1:-1], value, re.ASCII)
    if not written and (isinstance(value, bool) or not isinstance(value, int | Decimal)):
        record.refuse(name, value, "a plain decimal number")
    decimal = Decimal(value)  # type: ignore[arg-type]
    # The order of magnitude is looked at first: 1e999999999 as a whole number would fill the memory.
    if decimal and not -60 < decimal.adjusted() < 24:
        record.refuse(name, value, "a number between 1e-60 and 1e24")
    return Fraction(decimal)


def amount(record: Record, name: str, value: object) -> Fraction:
    """An exact amount of money that whole nanos have room for."""
    money = number(record, name, value)
    if abs(money) >= MOST_MONEY:
        record.refuse(name, value, f"an amount below {MOST_MONEY:,}")
    return money


def check_invoice(invoice: str | None) -> None:
    """The invoice that lines are on, as a configuration says it; raises ValueError."""
    if invoice is not None and not invoice.strip():
        raise ValueError(f"invoice: found {invoice!r}; expected {TEXT.expected}")


def currency(record: Record, name: str, value: object) -> str:
    code = value.upper() if isinstance(value, str) else ""
    if not re.fullmatch("[A-Z]{3}", code, re.ASCII):
        record.refuse(name, value, "a currency of ISO 4217 such as USD")
    return code


def split(nanos: int, weights: Sequence[int]) -> list[int]:
    """Whole nanos in proportion to weights, of which none is 0. What is cut goes to the largest rests, so the sum is exact."""
    total = sum(weights)
    parts = [nanos * weight // total for weight in weights]
    by_rest = sorted(range(len(weights)), key=lambda i: (-(nanos * weights[i] % total), i))
    for i in by_rest[: nanos - sum(parts)]:
        parts[i] += 1
    return parts


# --- charges, jobs, tokens --------------------------------------------------------------------------------------------


@dataclass(frozen=True, order=True)
class Job:
    """What one key did with one model in one project on one day. "": not known."""

    project: str
    key: str
    model: str
    day: date

    @property
    def id(self) -> str:
        return f"{self.project}/{self.key}/{self.model}/{self.day}"


@dataclass(frozen=True)
class Charge:
    """One bill line, or the part of it that is one job's. Several parts of one line share its place."""

    job: Job
    record: Record
    nanos: int
    currency: str
    sku: str
    line_type: str
    quantity: float | None = None
    unit: str | None = None


@dataclass
class Month:
    """What the reports of one month come to."""

    charges: list[Charge] = field(default_factory=list)
    tokens: dict[tuple[Job, str], tuple[Record, int]] = field(default_factory=dict)
    notes: list[Note] = field(default_factory=list)
    _rounded: list[Fraction] = field(default_factory=list)

    def nanos(self, money: Fraction) -> int:
        """Whole nanos, rounded half to even; what was rounded is noted."""
        nanos = round(money * NANOS)
        if nanos != money * NANOS:
            self._rounded.append(nanos - money * NANOS)
        return nanos

    def count(self, job: Job, record: Record, kind: str, tokens: int) -> None:
        if tokens:
            first, before = self.tokens.get((job, kind), (record, 0))
            self.tokens[job, kind] = first, before + tokens

    def all_notes(self, subject: str) -> list[Note]:
        if not self._rounded:
            return self.notes
        moved = f"{float(sum(self._rounded)):.3g}"
        words = f"amounts with more than nine decimals were rounded to whole nanos, half to even: {moved} nanos in all"
        return [*self.notes, ("rounded_amounts", subject, words, len(self._rounded))]


@dataclass
class Spend:
    """One reading of a provider. `project_word` is what it calls a project; labels and names of jobs are put in on the way.

    invoice  the invoice that charges are on, with `{month}` for their month; None: not known
    """

    provider: str
    cluster: str
    project_word: str
    connection: duckdb.DuckDBPyConnection
    invoice: str | None = None
    labels: dict[Job, dict[str, set[str]]] = field(default_factory=dict)
    origins: dict[Job, Record] = field(default_factory=dict)
    projects: Mapping[str, str] = field(default_factory=dict)
    keys: Mapping[str, str] = field(default_factory=dict)

    @property
    def service(self) -> str:
        return f"{self.provider} API"

    def know(self, job: Job, record: Record, **labels: str) -> None:
        """There is this job; what is known of it."""
        self.origins.setdefault(job, record)
        known = self.labels.setdefault(job, {})
        for label, value in labels.items():
            if value:
                known.setdefault(label, set()).add(value)

    def project(self, job: Job) -> str:
        return self.projects.get(job.project, job.project)

    def resource(self, job: Job) -> str:
        """Two organisations may both have a default workspace; their clusters differ."""
        return f"{self.cluster}/{job.id}"

    def deliver_charges(self, month: str, of: Month) -> Delivery:
        table = self._table("charges", CHARGE_COLUMNS, (self._charge(charge) for charge in of.charges))
        return Delivery("charges", table, {"billing_period": month}, notes=of.all_notes(month))

    def deliver_tokens(self, month: str, of: Month) -> Delivery:
        table = self._table("tokens", TOKEN_COLUMNS, (self._token(job, kind, *of.tokens[job, kind]) for job, kind in of.tokens))
        return Delivery("tokens", table, {"billing_period": month})

    def deliver_jobs(self, notes: Sequence[Note] = ()) -> Delivery:
        table = self._table("jobs", JOB_COLUMNS, (self._job(job) for job in sorted(self.origins)))
        return Delivery("jobs", table, {"cluster": self.cluster}, notes=notes)

    def _charge(self, charge: Charge) -> tuple[object, ...]:
        job, record = charge.job, charge.record
        start, end = _midnight(job.day).isoformat(), _midnight(job.day + DAY).isoformat()
        category = "Credit" if charge.nanos < 0 else "Usage"
        tags = {"api_key_id": job.key} if job.key else {}
        return (
            *(record.file, record.row, "billed", charge.nanos, charge.nanos, charge.currency),
            *(start, end, category, charge.line_type or None, charge.sku or None, "Usage-Based"),
            *(self.provider, self.provider, self.provider, invoice_of(self.invoice, f"{job.day:%Y-%m}")),
            *(job.project or None, self.project(job) or None, self.resource(job), self._name(job), "API key and model"),
            *("AI and Machine Learning", "Generative AI", self.service, charge.sku or None, charge.quantity, charge.unit),
            json.dumps(tags),
        )

    def _token(self, job: Job, kind: str, record: Record, tokens: int) -> tuple[object, ...]:
        return record.file, record.row, self._job_key(job), job.model or None, kind, tokens

    def _job(self, job: Job) -> tuple[object, ...]:
        record, project = self.origins[job], self.project(job) or None
        known = {label: ", ".join(sorted(values)) for label, values in self.labels[job].items()}
        own = {"api_key_id": job.key, "model": job.model, f"{self.project_word}_id": job.project}
        labels = {label: value for label, value in {**own, **known, "service": self.service}.items() if value}
        # It ends inside its day: a month's jobs are then replaced with their month, and by no other.
        start, end = _midnight(job.day), _midnight(job.day + DAY) - timedelta(microseconds=1)
        return (
            *(self._job_key(job), str(job.day), record.file, record.row, job.id, self.resource(job)),
            *(project, project, self._name(job), json.dumps(labels)),
            *(start.isoformat(), start.isoformat(), end.isoformat(), "completed", 0),
        )

    def _name(self, job: Job) -> str:
        return self.keys.get(job.key, job.key) or self.project(job) or self.service

    def _job_key(self, job: Job) -> str:
        return f"{self.cluster}/{job.id}/{int(_midnight(job.day).timestamp())}"

    def _table(self, name: str, columns: Mapping[str, str], given: Iterable[tuple[object, ...]]) -> duckdb.DuckDBPyRelation:
        """Rows as a table: one list a column, unnested side by side, some thousand rows at a time."""
        self.connection.execute(
            f"CREATE OR REPLACE TEMP TABLE {name} ({', '.join(f'{c} {kind}' for c, kind in columns.items())})"
        )
        put = (
            f"INSERT INTO {name} SELECT "
            + ", ".join(f"CAST({c} AS {kind})" for c, kind in columns.items())
            + " FROM (SELECT "
            + ", ".join(f"unnest(CAST(? AS {_carried(kind)}[])) AS {c}" for c, kind in columns.items())
            + ")"
        )
        left = iter(given)
        while some := list(islice(left, ROWS_AT_ONCE)):
            self.connection.execute(put, [list(column) for column in zip(*some, strict=True)])
        return self.connection.table(name)


def _carried(kind: str) -> str:
    """The type a value travels in from Python into DuckDB: maps as JSON, instants as ISO text."""
    return "JSON" if kind.startswith("MAP") else "VARCHAR" if kind == "TIMESTAMPTZ" else kind


def _midnight(day: date) -> datetime:
    return datetime(day.year, day.month, day.day, tzinfo=UTC)


_ORIGIN = {"origin_file": "VARCHAR", "origin_row": "BIGINT"}
CHARGE_COLUMNS = {
    **_ORIGIN,
    "basis": "VARCHAR",
    **dict.fromkeys(("billed_cost_nanos", "effective_cost_nanos"), "BIGINT"),
    "billing_currency": "VARCHAR",
    **dict.fromkeys(("charge_period_start", "charge_period_end"), "TIMESTAMPTZ"),
    **dict.fromkeys(("charge_category", "line_type", "charge_description", "charge_frequency"), "VARCHAR"),
    **dict.fromkeys(("provider_name", "publisher_name", "invoice_issuer_name", "invoice_id"), "VARCHAR"),
    **dict.fromkeys(("sub_account_id", "sub_account_name", "resource_id", "resource_name", "resource_type"), "VARCHAR"),
    **dict.fromkeys(("service_category", "service_subcategory", "service_name", "sku_id"), "VARCHAR"),
    "consumed_quantity": "DOUBLE",
    "consumed_unit": "VARCHAR",
    "tags": "MAP(VARCHAR, VARCHAR)",
}
TOKEN_COLUMNS = {**_ORIGIN, "job_key": "VARCHAR", "model": "VARCHAR", "kind": "VARCHAR", "tokens": "BIGINT"}
JOB_COLUMNS = {
    **dict.fromkeys(("job_key", "end_day"), "VARCHAR"),
    **_ORIGIN,
    **dict.fromkeys(("job_id", "resource_id", "account", "project", "name"), "VARCHAR"),
    "labels": "MAP(VARCHAR, VARCHAR)",
    **dict.fromkeys(("submit_time", "start_time", "end_time"), "TIMESTAMPTZ"),
    "outcome": "VARCHAR",
    "gpu_parts": "BIGINT",
}
