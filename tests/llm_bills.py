"""Servers that speak the documented pages of the LLM APIs' cost and usage reports, from what an organisation spent.

They group, page and check keys as the documents say. A fault, where one is given, is answered instead of the page.
"""

from __future__ import annotations

import json
import re
from collections import defaultdict, deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any
from urllib.parse import parse_qs, urlsplit

import duckdb

from rdspend.schema import Window

DAY = timedelta(days=1)
OCTOBER = Window(datetime(2026, 10, 1, tzinfo=UTC), datetime(2026, 11, 1, tzinfo=UTC))

Row = dict[str, Any]
Fault = Callable[[BaseHTTPRequestHandler], None]


@dataclass
class Asked:
    """One request as it came."""

    path: str
    query: dict[str, list[str]]
    headers: dict[str, str]


@dataclass
class Bills:
    """What one organisation spent, and how its server behaves.

    name           of the organisation, in a header of every answer
    costs, usage   rows with a `day` and every dimension there is; usage by report
    refused        dimensions that a report, the last part of its path, can't be grouped by (400)
    buckets        most buckets a page may have
    faults         answered first, one a request
    """

    name: str = ""
    key: str = "the-admin-key"
    costs: list[Row] = field(default_factory=list)
    usage: dict[str, list[Row]] = field(default_factory=dict)
    names: dict[str, list[Row]] = field(default_factory=dict)
    refused: Mapping[str, Sequence[str]] = field(default_factory=dict)
    buckets: int = 31
    faults: deque[Fault | None] = field(default_factory=deque)
    asked: list[Asked] = field(default_factory=list)


PageOf = Callable[[Bills, str, Mapping[str, list[str]]], Row]


def answer(handler: BaseHTTPRequestHandler, status: int, body: Any, **headers: str) -> None:
    data = body if isinstance(body, bytes) else re.sub(r'"<<(.*?)>>"', r"\1", json.dumps(body)).encode()
    handler.send_response(status)
    for name, value in {"content-type": "application/json", "content-length": str(len(data)), **headers}.items():
        handler.send_header(name.replace("_", "-"), value)
    handler.end_headers()
    handler.wfile.write(data)


def says(status: int, body: Any = b"", **headers: str) -> Fault:
    """A fault: this answer instead of the page."""
    return lambda handler: answer(handler, status, body, **headers)


def exact(number: Decimal) -> str:
    """A number that stands in the page digit by digit."""
    return f"<<{number}>>"


def error(message: str) -> Row:
    return {"error": {"message": message, "type": "invalid_request_error"}}


def _faulty(handler: BaseHTTPRequestHandler, fault: Fault) -> None:
    try:
        fault(handler)
        handler.wfile.flush()
    except OSError:
        handler.close_connection = True  # the client had enough


@contextmanager
def served(bills: Bills, page: PageOf) -> Iterator[str]:
    """The address of a server of these bills."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        wbufsize = 2**16

        def do_GET(self) -> None:
            parts = urlsplit(self.path)
            query = parse_qs(parts.query)
            bills.asked.append(Asked(parts.path, query, {k.lower(): v for k, v in self.headers.items()}))
            fault = bills.faults.popleft() if bills.faults else None
            if fault is not None:
                return _faulty(self, fault)
            if bills.key not in (
                self.headers.get("x-api-key"),
                (self.headers.get("authorization") or "").removeprefix("Bearer "),
            ):
                return answer(self, 401, error(f"Incorrect API key provided: {self.headers}"))
            unknown = set(query.get("group_by[]", ())) & set(bills.refused.get(parts.path.rpartition("/")[2], ()))
            if unknown:
                return answer(self, 400, error(f"unsupported group_by: {', '.join(sorted(unknown))}"))
            whose = {"openai-organization": bills.name, "anthropic-organization-id": bills.name} if bills.name else {}
            return answer(self, 200, page(bills, parts.path, query), **whose)

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def _paged(bills: Bills, query: Mapping[str, list[str]], start: date, end: date, bucket: Callable[[date], Row]) -> Row:
    """Buckets of every day from start up to end, empty ones too."""
    limit = min(int(query["limit"][0]), bills.buckets)
    first = date.fromisoformat(query["page"][0].removeprefix("page_")) if "page" in query else start
    days = [first + i * DAY for i in range((end - first).days)]
    more = len(days) > limit
    return {
        "data": [bucket(day) for day in days[:limit]],
        "has_more": more,
        "next_page": f"page_{days[limit]}" if more else None,
    }


def _grouped(
    rows: Sequence[Row], day: date, dimensions: Sequence[str], known: Sequence[str], numbers: Sequence[str]
) -> list[Row]:
    """Rows of a day summed by dimensions; a dimension that was not asked for is null."""
    groups: dict[tuple[Any, ...], list[Row]] = defaultdict(list)
    for row in rows:
        if row["day"] == day:
            groups[tuple(row.get(d) for d in dimensions)].append(row)
    return [
        {
            **dict.fromkeys(known),
            **dict(zip(dimensions, of, strict=True)),
            **{n: sum(row.get(n, 0) for row in group) for n in numbers},
        }
        for of, group in groups.items()
    ]


def wide_pages(page: PageOf, report: str, a_day: int) -> PageOf:
    """The same pages, every day of one report (the end of its path) so many bytes longer."""

    def padded(bills: Bills, path: str, query: Mapping[str, list[str]]) -> Row:
        body = page(bills, path, query)
        if path.endswith(report):
            body["data"] = [{**bucket, "padding": "x" * a_day} for bucket in body["data"]]
        return body

    return padded


# --- OpenAI -----------------------------------------------------------------------------------------------------------

OPENAI_COST_DIMENSIONS = ("project_id", "line_item", "api_key_id", "api_source", "user_id")
OPENAI_USAGE_DIMENSIONS = ("project_id", "user_id", "api_key_id", "model", "batch", "service_tier", "api_source")
OPENAI_TOKENS = (
    "input_tokens",
    "output_tokens",
    "input_cached_tokens",
    "input_cache_write_tokens",
    "input_audio_tokens",
    "input_cached_audio_tokens",
    "output_audio_tokens",
    "num_model_requests",
)


def openai_page(bills: Bills, path: str, query: Mapping[str, list[str]]) -> Row:
    name = path.removeprefix("/v1/organization/")
    if name.startswith("projects"):
        return _listed(bills.names.get(name, []), query, "after")
    start, end = (datetime.fromtimestamp(int(query[word][0]), UTC).date() for word in ("start_time", "end_time"))
    dimensions = query.get("group_by[]", [])

    def results(day: date) -> list[Row]:
        if name == "costs":
            return [_openai_cost(row) for row in _openai_costs(bills.costs, day, dimensions)]
        report = name.removeprefix("usage/")
        rows = bills.usage.get(report, [])
        sums = _grouped(rows, day, dimensions, OPENAI_USAGE_DIMENSIONS, OPENAI_TOKENS)
        return [{"object": f"organization.usage.{report}.result", **row} for row in sums]

    def bucket(day: date) -> Row:
        first, last = (int(datetime(d.year, d.month, d.day, tzinfo=UTC).timestamp()) for d in (day, day + DAY))
        return {"object": "bucket", "start_time": first, "end_time": last, "results": results(day)}

    return {"object": "page", **_paged(bills, query, start, end, bucket)}


def _openai_costs(rows: Sequence[Row], day: date, dimensions: Sequence[str]) -> list[Row]:
    """One result for each group, currency and, by line item, unit."""
    by = [*dimensions, "currency", *(["quantity_unit"] if "line_item" in dimensions else [])]
    whole = [{"currency": "usd", **row} for row in rows]
    known = (*OPENAI_COST_DIMENSIONS, "quantity_unit")
    return _grouped(whole, day, by, known, ("value", "quantity"))


def _openai_cost(row: Row) -> Row:
    amount = {"value": exact(row.pop("value")), "currency": row.pop("currency")}
    return {"object": "organization.costs.result", "amount": amount, **row}


# --- Anthropic --------------------------------------------------------------------------------------------------------

ANTHROPIC_COST_FIELDS = (
    *("context_window", "cost_type", "description", "inference_geo", "model", "service_tier", "token_type", "workspace_id"),
)
ANTHROPIC_USAGE_DIMENSIONS = (
    *("account_id", "api_key_id", "context_window", "inference_geo", "model", "service_account_id", "service_tier"),
    "workspace_id",
)
ANTHROPIC_TOKENS = (
    *("uncached_input_tokens", "cache_read_input_tokens", "output_tokens"),
    *("ephemeral_5m_input_tokens", "ephemeral_1h_input_tokens", "web_search_requests"),
)


def anthropic_page(bills: Bills, path: str, query: Mapping[str, list[str]]) -> Row:
    name = path.removeprefix("/v1/organizations/")
    if name in ("workspaces", "api_keys"):
        return _listed(bills.names.get(name, []), query, "after_id")
    start, end = (datetime.fromisoformat(query[word][0]).date() for word in ("starting_at", "ending_at"))
    dimensions = query.get("group_by[]", [])

    def results(day: date) -> list[Row]:
        if name == "cost_report":
            of_day = [row for row in bills.costs if row["day"] == day]
            return [{"currency": "USD", **dict.fromkeys(ANTHROPIC_COST_FIELDS), **_without_day(row)} for row in of_day]
        rows = bills.usage.get("messages", [])
        return [_nested(row) for row in _grouped(rows, day, dimensions, ANTHROPIC_USAGE_DIMENSIONS, ANTHROPIC_TOKENS)]

    def bucket(day: date) -> Row:
        return {"starting_at": f"{day}T00:00:00Z", "ending_at": f"{day + DAY}T00:00:00Z", "results": results(day)}

    return _paged(bills, query, start, end, bucket)


def _without_day(row: Row) -> Row:
    return {name: value for name, value in row.items() if name != "day"}


def _nested(row: Row) -> Row:
    ttls = ("ephemeral_5m_input_tokens", "ephemeral_1h_input_tokens")
    created, searches = {name: row.pop(name) for name in ttls}, row.pop("web_search_requests")
    return {**row, "cache_creation": created, "server_tool_use": {"web_search_requests": searches}}


def _listed(entries: Sequence[Row], query: Mapping[str, list[str]], cursor: str) -> Row:
    after = query.get(cursor, [""])[0]
    ids = [entry["id"] for entry in entries]
    first = ids.index(after) + 1 if after else 0
    page = list(entries[first : first + min(int(query["limit"][0]), 2)])
    last = page[-1]["id"] if page else None
    return {"object": "list", "data": page, "has_more": first + len(page) < len(entries), "last_id": last}


# --- what a collector makes of them -------------------------------------------------------------------------------------


def collected(collector: Any, window: Window = OCTOBER) -> dict[str, list[dict[str, Any]]]:
    """Rows by table, in order; notes under `notes`."""
    found: dict[str, list[dict[str, Any]]] = {"notes": []}
    for delivery in collector.collect(window):
        relation = delivery.rows
        assert isinstance(relation, duckdb.DuckDBPyRelation)
        times = [c for c, t in zip(relation.columns, relation.types, strict=True) if "TIME" in str(t)]
        plain = relation.project(f"* REPLACE ({', '.join(f'epoch({c}) AS {c}' for c in times)})") if times else relation
        rows = [dict(zip(plain.columns, row, strict=True)) for row in plain.fetchall()]
        found.setdefault(delivery.table, []).extend({**row, **delivery.scope} for row in rows)
        found["notes"] += [{"kind": k, "subject": s, "detail": d, "rows": r} for k, s, d, r in delivery.notes]
    return found


def money(found: dict[str, list[dict[str, Any]]]) -> int:
    return sum(row["effective_cost_nanos"] for row in found["charges"])


def kinds(found: dict[str, list[dict[str, Any]]]) -> dict[str, int]:
    return {note["kind"]: note["rows"] for note in found["notes"]}
