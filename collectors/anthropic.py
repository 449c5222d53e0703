"""What an organisation spent on Anthropic's API, by workspace, key, model and day, from its cost and usage reports.

Asks the Admin API. Needs an Admin API key (`sk-ant-admin...`), which an admin of the organisation makes in the Console under
Settings, Admin keys; accounts of single persons have none.

    [collectors.anthropic]
    key_env = "ANTHROPIC_ADMIN_KEY"     # the environment variable that holds the key, or
    key_file = "/etc/rdspend/anthropic" # a file that holds it
    cluster = "anthropic"               # its jobs are on this cluster
    invoice = "INV-{month}"             # optional: the invoice its costs are on; {month} is their month, `2026-10`

Money comes from `/v1/organizations/cost_report`, in decimal cents, by workspace and description. Each workspace x key x model x
day is a job, so that labels and rules can say what it was for: `name` is the key's name, `account` and `project` the
workspace's (`default` for the workspace without an id). The cost report has no keys: a line (workspace, model, service tier,
context window, token type, day) is split over keys by their tokens of exactly that kind in
`/v1/organizations/usage_report/messages`, to the last nano; web searches by requests. Where the usage has none, or where
several lines would share the same tokens (fast mode beside standard, say), the line stays whole and its key unknown.
Tokens are counted by kinds that can be added: `input` is neither read from the cache nor written to it.

Instead of the API, pages that somebody saved, as the server sent them: `path` is a folder with `cost_report.json` or
`cost_report-1.json`, `cost_report-2.json` ... and, where there are any, `usage_report-*.json`, `workspaces-*.json` and
`api_keys-*.json`. Ask for costs with `group_by[]` of `workspace_id` and `description`, for usage with `api_key_id`,
`workspace_id`, `model`, `service_tier` and `context_window`. Pages of a month that is over have to reach its last day.

Cannot see what the cost report has not: Priority Tier (a finding counts its tokens), taxes, credits granted, invoices. Code
execution and session runtime have no key. Tokens of requests that were not charged weigh as much as others. Amounts below zero
are credits. The newer analytics reports are not used: they leave out all but the hundred largest groups.
"""

from __future__ import annotations

import tempfile
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from fractions import Fraction
from typing import Any

import duckdb

from rdspend.asking import Parameters, check_address, read_key
from rdspend.bills import llm
from rdspend.bills.llm import Asked, Charge, Dialect, Job, Kept, Month, Note, Record, Reports, Spend
from rdspend.bills.pages import Api, Folder
from rdspend.border import literal
from rdspend.schema import NAME, Delivery, Location, Window

NEEDS = "an Admin API key (sk-ant-admin...) of the organisation"
REFUSED = f"the key is wrong, revoked, or is none of an admin; it has to be {NEEDS}, made by an admin in the Console"
VERSION = "2023-06-01"

CENTS = 100

COSTS_BY = (("workspace_id", "description"),)
USAGE_BY = ("api_key_id", "workspace_id", "model", "service_tier", "context_window")
USAGES_BY = ((*USAGE_BY, "inference_geo"), USAGE_BY)

# What a cost line may name beside its workspace, day and token type. One that it does not name is not part of it.
DIMENSIONS = ("model", "service_tier", "context_window", "inference_geo")

# token_type of a cost line -> kind of tokens; the names of the usage report.
KINDS = {
    "uncached_input_tokens": "input",
    "cache_read_input_tokens": "cached_input",
    "cache_creation.ephemeral_5m_input_tokens": "cache_write_5m",
    "cache_creation.ephemeral_1h_input_tokens": "cache_write_1h",
    "output_tokens": "output",
}
WRITTEN = "cache_creation."
SEARCHES = "web_search_requests"


def _instant(text: Any) -> datetime:
    instant = datetime.fromisoformat(text)
    if instant.utcoffset() is None:
        raise ValueError(text)
    return instant.astimezone(UTC)


DIALECT = Dialect(
    span=lambda window: {"starting_at": f"{window.start:%Y-%m-%dT%H:%M:%SZ}", "ending_at": f"{window.end:%Y-%m-%dT%H:%M:%SZ}"},
    bounds=("starting_at", "ending_at"),
    instant=_instant,
)

LISTED: Parameters = {"limit": 100, "include_archived": "true"}


@dataclass(frozen=True)
class Anthropic:
    """`path` replaces the API: a folder of saved pages."""

    key_env: str = "ANTHROPIC_ADMIN_KEY"
    key_file: Location | None = None
    base_url: str = "https://api.anthropic.com"
    cluster: str = "anthropic"
    path: Location | None = None
    timeout_seconds: float = 60.0
    invoice: str | None = None

    def __post_init__(self) -> None:
        if not NAME.fullmatch(self.cluster):
            raise ValueError(f"cluster: found {self.cluster!r}; expected letters, digits, '_', '.' and '-'")
        if not 0 < self.timeout_seconds <= 3600:
            raise ValueError(f"timeout_seconds: found {self.timeout_seconds:g}; expected more than 0, at most an hour")
        check_address(self.base_url)
        llm.check_invoice(self.invoice)

    def collect(self, window: Window) -> Iterator[Delivery]:
        """Charges and tokens of every month that the window touches, whole, then the jobs of them all.

        Raises SourceUnavailable, BadRecord, ConfigError for the key.
        """
        reports = self._reports(window.end)
        with tempfile.TemporaryDirectory(prefix="rdspend-") as spill, duckdb.connect() as connection:
            for setting in (
                "TimeZone = 'UTC'",
                "enable_progress_bar = false",
                "memory_limit = '256MB'",
                f"temp_directory = {literal(spill)}",
            ):
                connection.execute(f"SET {setting}")
            spend = Spend("Anthropic", self.cluster, "workspace", connection, self.invoice)
            months = {month: _read_month(reports, month, spend) for month in window.months}
            spend.projects = _names(reports.listing("workspaces", "/v1/organizations/workspaces", LISTED, "after_id"))
            spend.keys = _names(reports.listing("api_keys", "/v1/organizations/api_keys", {"limit": 100}, "after_id"))
            for month, read in months.items():
                yield spend.deliver_charges(month, read)
                yield spend.deliver_tokens(month, read)
            yield spend.deliver_jobs(reports.unknown)

    def _reports(self, until: datetime) -> Reports:
        if self.path is not None:
            folder = Folder(self.path, ("cost_report", "usage_report", "workspaces", "api_keys"))
            return Kept(folder, DIALECT, "cost_report", until)
        key = read_key(self.key_env, self.key_file, NEEDS)
        headers = {"x-api-key": key, "anthropic-version": VERSION}
        api = Api(self.base_url, key, headers, REFUSED, "anthropic-organization-id", self.cluster, self.timeout_seconds)
        return Asked(api, DIALECT, "cost_report", until)


def _names(entries: Sequence[Mapping[str, Any]]) -> dict[str, str]:
    return {str(entry["id"]): str(entry["name"]) for entry in entries if entry.get("id") and entry.get("name")}


def _read_month(reports: Reports, name: str, spend: Spend) -> Month:
    month, window = Month(), llm.month_window(name)
    usage = reports.report("usage_report", "/v1/organizations/usage_report/messages", window, USAGES_BY)
    costs = reports.report("cost_report", "/v1/organizations/cost_report", window, COSTS_BY)
    for record in usage.records:
        _count(record, month, spend)
    month.notes += _unpaid(usage.records)
    _charge(costs.records, _Usage(usage.records), month, spend)
    if not usage.there:
        month.notes.append(("usage_unknown", "usage_report", "no saved pages of it: tokens and keys are unknown", 1))
    return month


# --- tokens -----------------------------------------------------------------------------------------------------------


def _job(record: Record) -> Job:
    return Job(_workspace(record), record.text("api_key_id"), record.text("model"), record.day)


def _workspace(record: Record) -> str:
    return record.text("workspace_id") or "default"


def _counts(record: Record) -> dict[str, int]:
    """What a result of the usage report counts, by the cost report's names."""
    written, searched = record.inner("cache_creation"), record.inner("server_tool_use")
    counts = {name: record.count(name.removeprefix(WRITTEN), written if name.startswith(WRITTEN) else None) for name in KINDS}
    return {**counts, SEARCHES: record.count(SEARCHES, searched)}


def _count(record: Record, month: Month, spend: Spend) -> None:
    job, counts = _job(record), _counts(record)
    labels = {name: record.text(name) for name in DIMENSIONS if name != "model"}
    spend.know(job, record, **labels)
    for token_type, kind in KINDS.items():
        month.count(job, record, kind, counts[token_type])


def _of_priority(record: Record) -> bool:
    return record.text("service_tier").startswith("priority")


def _tokens(record: Record) -> int:
    counts = _counts(record)
    return sum(counts[name] for name in KINDS)


def _unpaid(usage: Sequence[Record]) -> Iterator[Note]:
    """What there is of Priority Tier, in one finding."""
    found = [(record, _tokens(record)) for record in usage if _of_priority(record)]
    found = [(record, tokens) for record, tokens in found if tokens]
    if found:
        (record, tokens), whole = found[0], sum(tokens for _, tokens in found)
        words = (
            f"results of the usage have {whole:,} tokens of Priority Tier, whose cost the report leaves out; the first are "
            f"{tokens:,} of {_job(record).id}"
        )
        yield "priority_tier", "usage_report", words, len(found)


# --- money ------------------------------------------------------------------------------------------------------------


class _Usage:
    """The results of the usage report by what a cost line can name."""

    def __init__(self, records: Sequence[Record]) -> None:
        self._of: dict[tuple[str, date], list[tuple[Record, dict[str, int]]]] = {}
        for record in records:
            counts = _counts(record)
            # Tokens of Priority Tier are paid for elsewhere; its web searches are not.
            if _of_priority(record):
                counts = {SEARCHES: counts[SEARCHES]}
            self._of.setdefault((_workspace(record), record.day), []).append((record, counts))

    def of(self, line: Record) -> list[tuple[Record, int]]:
        """The results that have what a cost line charges for, and how much of it."""
        kind = line.text("token_type") if line.text("cost_type") == "tokens" else SEARCHES
        if line.text("cost_type") not in ("tokens", "web_search"):
            return []
        named = {name: line.text(name) for name in DIMENSIONS if line.text(name)}
        return [
            (record, counts[kind])
            for record, counts in self._of.get((_workspace(line), line.day), [])
            if counts.get(kind) and all(record.text(name) == value for name, value in named.items())
        ]


def _charge(lines: Sequence[Record], usage: _Usage, month: Month, spend: Spend) -> None:
    found = [(line, usage.of(line)) for line in lines]
    claims = Counter((id(record), line.text("token_type")) for line, matched in found for record, _ in matched)
    unsplit = 0
    for line, matched in found:
        nanos = month.nanos(_dollars(line))
        weights: Counter[Job] = Counter()
        if all(claims[id(record), line.text("token_type")] == 1 for record, _ in matched):
            for record, count in matched:
                weights[_job(record)] += count
        for (job, count), part in zip(weights.items(), llm.split(nanos, list(weights.values())), strict=True):
            _add(line, job, part, count, month, spend)
        if not weights:
            unsplit += 1
            _add(line, Job(_workspace(line), "", line.text("model"), line.day), nanos, None, month, spend)
    if unsplit:
        words = "cost lines have no usage of just their kind (or several share it), so that their key is unknown"
        month.notes.append(("key_unknown", "cost_report", words, unsplit))


def _dollars(line: Record) -> Fraction:
    """Of cents as text: "123.45" is 1.2345."""
    if not line.text("description") or not line.text("cost_type"):
        line.refuse("description", None, "a report that was asked for with group_by[]=description")
    value = line.fields.get("amount")
    if not isinstance(value, str):
        line.refuse("amount", value, 'cents as text, such as "123.45"')
    return llm.amount(line, "amount", value) / CENTS


def _add(line: Record, job: Job, nanos: int, count: int | None, month: Month, spend: Spend) -> None:
    spend.know(job, line, **{name: line.text(name) for name in DIMENSIONS if name != "model"})
    unit = None if count is None else "Tokens" if line.text("cost_type") == "tokens" else "Requests"
    money = llm.currency(line, "currency", line.fields.get("currency"))
    quantity = None if count is None else float(count)
    month.charges.append(Charge(job, line, nanos, money, line.text("description"), line.text("cost_type"), quantity, unit))
