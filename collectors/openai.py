"""What an organisation spent on OpenAI's API, by project, key, model and day, from its costs and usage reports.

Asks the organization endpoints of the API. Needs an admin key with read access to usage and to projects (`api.usage.read`,
`api.management.read`); a project's own key is not enough. An owner of the organisation makes one under Settings, Admin keys.

    [collectors.openai]
    key_env = "OPENAI_ADMIN_KEY"     # the environment variable that holds the key, or
    key_file = "/etc/rdspend/openai" # a file that holds it
    cluster = "openai"               # its jobs are on this cluster
    invoice = "INV-{month}"          # optional: the invoice its costs are on; {month} is their month, `2026-10`

Money comes from `/organization/costs` by project, line item and key. Each project x key x model x day is a job, so that
labels and rules can say what it was for: `name` is the key's name, `account` and `project` the project's. Tokens come from
the usage of completions, embeddings and moderations, by kinds that can be added: `input` is neither cached nor written to the
cache. A month is asked for whole each time, for OpenAI restates days.

Instead of the API, pages that somebody saved, as the server sent them: `path` is a folder with `costs.json` or `costs-1.json`,
`costs-2.json` ... and, where there are any, `completions-*.json`, `embeddings-*.json`, `moderations-*.json`,
`projects-*.json` and `api_keys-*.json`. Ask for costs with `group_by[]` of `project_id`, `line_item` and `api_key_id`, for
usage with `project_id`, `api_key_id` and `model`. Pages of a month that is over have to reach its last day.

Cannot see what the costs report has not: taxes, credits granted, invoices and their numbers, who typed a prompt. Where the
organisation or the time does not have costs by key, that money's key is unknown, and a finding says so. A line item names
its model when it is written `model, kind` and usage knows that model, or when it counts tokens; otherwise its model is
unknown. Amounts below zero are credits.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote

import duckdb

from rdspend.asking import Parameters, check_address, read_key
from rdspend.bills import llm
from rdspend.bills.llm import Asked, Charge, Dialect, Job, Kept, Month, Note, Record, Report, Reports, Spend
from rdspend.bills.pages import Api, Folder
from rdspend.border import literal
from rdspend.schema import NAME, Delivery, Location, Window

NEEDS = "an admin key of the organisation with read access to usage and projects"
REFUSED = f"the key is wrong, revoked, or has no right to read this; it has to be {NEEDS}"

COSTS_BY = (("project_id", "line_item", "api_key_id"), ("project_id", "line_item"), ("project_id",))
USAGE_BY = ("project_id", "api_key_id", "model")
COMPLETIONS_BY = ((*USAGE_BY, "batch", "service_tier", "api_source"), (*USAGE_BY, "batch"), USAGE_BY)
USAGE = {"completions": COMPLETIONS_BY, "embeddings": (USAGE_BY,), "moderations": (USAGE_BY,)}
"""Reports that count tokens, and what they are asked to be grouped by: older servers don't know all of it."""

# quantity_unit -> ConsumedUnit; a unit that is not here keeps its own word.
UNITS = {
    "tokens": "Tokens",
    "1000_tokens": "1000 Tokens",
    "duration_seconds": "Seconds",
    "duration_minutes": "Minutes",
    "duration_hours": "Hours",
    "gibibyte_hours": "GiB-Hours",
    "images": "Images",
    "characters": "Characters",
}
OF_TOKENS = ("tokens", "1000_tokens")

# What the whole of input_tokens and output_tokens has in it, each counted once.
INPUT_PARTS = {"input_audio": "input_audio_tokens", "input_image": "input_image_tokens"}
CACHED_PARTS = {"cached_input_audio": "input_cached_audio_tokens", "cached_input_image": "input_cached_image_tokens"}
OUTPUT_PARTS = {"output_audio": "output_audio_tokens", "output_image": "output_image_tokens"}


def _instant(seconds: Any) -> datetime:
    if isinstance(seconds, bool) or not isinstance(seconds, int):
        raise ValueError(seconds)
    return datetime.fromtimestamp(seconds, UTC)


DIALECT = Dialect(
    span=lambda window: {"start_time": int(window.start.timestamp()), "end_time": int(window.end.timestamp())},
    bounds=("start_time", "end_time"),
    instant=_instant,
)


@dataclass(frozen=True)
class Openai:
    """`path` replaces the API: a folder of saved pages."""

    key_env: str = "OPENAI_ADMIN_KEY"
    key_file: Location | None = None
    base_url: str = "https://api.openai.com/v1"
    cluster: str = "openai"
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
            spend = Spend("OpenAI", self.cluster, "project", connection, self.invoice)
            months = {month: _read_month(reports, month, spend) for month in window.months}
            spend.projects = _names(reports.listing("projects", "/organization/projects", LISTED, "after"))
            spend.keys = _key_names(reports, spend)
            for month, read in months.items():
                yield spend.deliver_charges(month, read)
                yield spend.deliver_tokens(month, read)
            yield spend.deliver_jobs(reports.unknown)

    def _reports(self, until: datetime) -> Reports:
        if self.path is not None:
            return Kept(Folder(self.path, ("costs", *USAGE, "projects", "api_keys")), DIALECT, "costs", until)
        key = read_key(self.key_env, self.key_file, NEEDS)
        headers = {"authorization": f"Bearer {key}"}
        api = Api(self.base_url, key, headers, REFUSED, "openai-organization", self.cluster, self.timeout_seconds)
        return Asked(api, DIALECT, "costs", until)


LISTED: Parameters = {"limit": 100, "include_archived": "true"}


def _names(entries: Sequence[Mapping[str, Any]]) -> dict[str, str]:
    return {str(entry["id"]): str(entry["name"]) for entry in entries if entry.get("id") and entry.get("name")}


def _key_names(reports: Reports, spend: Spend) -> dict[str, str]:
    """Names of keys are to be had by project only."""
    if isinstance(reports, Kept):
        return _names(reports.listing("api_keys", "", {}, ""))
    found: dict[str, str] = {}
    for project in sorted({job.project for job in spend.origins if job.project and job.key}):
        path = f"/organization/projects/{quote(project, safe='')}/api_keys"
        found |= _names(reports.listing("api_keys", path, {"limit": 100}, "after"))
    return found


def _read_month(reports: Reports, name: str, spend: Spend) -> Month:
    month, window = Month(), llm.month_window(name)
    usage = {kind: reports.report(kind, f"/organization/usage/{kind}", window, by) for kind, by in USAGE.items()}
    unclear = [r for kind, report in usage.items() for r in report.records if not _count(kind, r, month, spend)]
    costs = reports.report("costs", "/organization/costs", window, COSTS_BY)
    models = {record.text("model") for report in usage.values() for record in report.records} - {""}
    for record in costs.records:
        _charge(record, models, month, spend)
    month.notes += _notes(name, costs, usage, unclear)
    return month


def _notes(name: str, costs: Report, usage: Mapping[str, Report], unclear: Sequence[Record]) -> Iterator[Note]:
    if costs.grouped is not None and costs.grouped != COSTS_BY[0]:
        without = ", ".join(d for d in COSTS_BY[0] if d not in costs.grouped)
        words = f"the API has no costs of this month by {without}; that money's key (or line item) is unknown"
        yield "costs_without_dimension", name, words, len(costs.records)
    for kind, report in usage.items():
        if not report.there:
            yield "usage_unknown", kind, f"no saved pages of {kind}: their tokens are unknown", 1
    if unclear:
        first = f"result {unclear[0].row} of {unclear[0].day} on {unclear[0].file}"
        words = f"results have parts of tokens that are more than the whole; they are not told apart; the first is {first}"
        yield "tokens_unclear", name, words, len(unclear)


def _charge(record: Record, models: set[str], month: Month, spend: Spend) -> None:
    line_item, unit, quantity = record.text("line_item"), record.text("quantity_unit"), record.fields.get("quantity")
    job = Job(record.text("project_id"), record.text("api_key_id"), _model(line_item, unit, models), record.day)
    spend.know(job, record, api_source=record.text("api_source"))
    money = record.inner("amount")
    month.charges.append(
        Charge(
            job,
            record,
            month.nanos(llm.amount(record, "amount.value", money.get("value"))),
            llm.currency(record, "amount.currency", money.get("currency")),
            sku=line_item,
            line_type="",
            quantity=None if quantity is None else float(llm.number(record, "quantity", quantity)),
            unit=UNITS.get(unit, unit) or None,
        )
    )


def _model(line_item: str, unit: str, models: set[str]) -> str:
    """`gpt-6-astra, input_tokens` is of gpt-6-astra; what a line item without tokens is of, only usage can say."""
    model, comma, _ = line_item.partition(", ")
    return model if comma and (model in models or unit in OF_TOKENS) else ""


def _count(kind: str, record: Record, month: Month, spend: Spend) -> bool:
    """Counts a result's tokens. False: its parts are more than the whole, and were not told apart."""
    job = Job(record.text("project_id"), record.text("api_key_id"), record.text("model"), record.day)
    batch = record.fields.get("batch")
    labels = {"service_tier": record.text("service_tier"), "api_source": record.text("api_source"), "operation": kind}
    spend.know(job, record, **labels, batch="" if batch is None else str(batch).lower())
    kinds = _kinds(record)
    clear = min(kinds.values()) >= 0
    whole = {"input": record.count("input_tokens"), "output": record.count("output_tokens")}
    for name, tokens in (kinds if clear else whole).items():
        month.count(job, record, name, tokens)
    return clear


def _kinds(record: Record) -> dict[str, int]:
    """Tokens by kinds that don't overlap: `input_tokens` and `output_tokens` have all the others in them."""
    inputs = {kind: record.count(field) for kind, field in INPUT_PARTS.items()}
    cached = {kind: record.count(field) for kind, field in CACHED_PARTS.items()}
    outputs = {kind: record.count(field) for kind, field in OUTPUT_PARTS.items()}
    all_cached, written = record.count("input_cached_tokens"), record.count("input_cache_write_tokens")
    return {
        "input": record.count("input_tokens") - all_cached - written - sum(inputs.values()),
        "cached_input": all_cached - sum(cached.values()),
        "cache_write": written,
        "output": record.count("output_tokens") - sum(outputs.values()),
        **inputs,
        **cached,
        **outputs,
    }
