"""Ledgers written by hand: charges with the attributions that close them, statements, exchange rates and findings."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from decimal import Decimal
from itertools import groupby
from pathlib import Path
from typing import Any

from rdspend.border import identifier
from rdspend.engine import Engine, empty_select
from rdspend.ledger import Ledger, Writer
from rdspend.schema import ATTRIBUTIONS, CHARGES, JOBS, OCCUPANCY, TABLES, Table

MONTH = "2026-10"


def nanos(amount: str | int | None) -> int | None:
    if amount is None:
        return None
    whole = Decimal(amount) * 10**9
    assert whole == int(whole), amount
    return int(whole)


def charge(
    billed: str | int = "0",
    effective: str | int | None = None,
    *,
    source: str = "aws",
    day: str = "",
    month: str = MONTH,
    **more: Any,
) -> dict[str, Any]:
    """One line; its effective cost is the billed one when left out."""
    start = datetime.fromisoformat(day or f"{month}-01").replace(tzinfo=UTC)
    return {
        "source": source,
        "billing_period": month,
        "origin_file": "bill.csv",
        "origin_row": 1,
        "basis": "billed",
        "billed_cost_nanos": nanos(billed),
        "effective_cost_nanos": nanos(billed if effective is None else effective),
        "billing_currency": "USD",
        "charge_period_start": start,
        "charge_period_end": start.replace(hour=1),
        "charge_category": "Usage",
        **more,
    }


def invoice(
    invoice_id: str, stated: str | None, currency: str = "USD", *, row: int = 1, month: str = MONTH, **more: Any
) -> dict[str, Any]:
    """What somebody states of an invoice."""
    return {
        "source": "told",
        "billing_period": month,
        "origin_file": "invoices.toml",
        "origin_row": row,
        "kind": "invoice",
        "invoice_id": invoice_id,
        "currency": currency,
        "billed_cost_nanos": nanos(stated),
        "complete": True,
        **more,
    }


def check(billed: str | None = None, effective: str | None = None, *, row: int = 1, **more: Any) -> dict[str, Any]:
    """A provider's own summary of the bill `aws`."""
    return {
        **invoice("", billed, row=row),
        "source": "ce",
        "kind": "check",
        "invoice_id": None,
        "bill": "aws",
        "effective_cost_nanos": nanos(effective),
        **more,
    }


def rate(
    currency: str, into: str, start: str, value: str, end: str | None = None, *, source: str = "fx", row: int = 1
) -> dict[str, Any]:
    """A dated exchange rate; times without a zone are UTC."""
    return {
        "source": source,
        "origin_file": f"{source}.csv",
        "origin_row": row,
        "currency": currency,
        "into": into,
        "start_time": datetime.fromisoformat(start).replace(tzinfo=UTC),
        "end_time": None if end is None else datetime.fromisoformat(end).replace(tzinfo=UTC),
        "rate": value,
    }


def finding(kind: str, subject: str, detail: str, rows: int, *, source: str = "aws", month: str = MONTH) -> dict[str, Any]:
    return {"stage": f"collect.{source}", "period": month, "kind": kind, "subject": subject, "detail": detail, "rows": rows}


def write_ledger(folder: Path, charges: Iterable[Mapping[str, Any]], **tables: Iterable[Mapping[str, Any]]) -> Path:
    """One run that leaves these rows behind, each charge attributed to shared money of its day; returns the configuration."""
    lines = list(charges)
    ledger = Ledger(folder / "ledger")
    with ledger.writer() as writer, Engine() as engine:
        _write(writer, engine, "charges", lines)
        _write(writer, engine, "attributions", [_attributed(line) for line in lines if _has_money(line)])
        for table, rows in tables.items():
            _write(writer, engine, table, list(rows))
        writer.finish(
            engine,
            stages=("collect", "attribute"),
            period=MONTH,
            started_at=0.0,
            ended_at=1.0,
            outcome="ok",
            config_digest="",
            code_version="",
        )
    config = folder / "rdspend.toml"
    config.write_text('ledger = "ledger"\n')
    return config


TEAM_COST = "(i * 7919 % 1000000007 + 1)"
"""Nanos of the i-th team."""


def write_teams(folder: Path, teams: int) -> None:
    """A ledger whose rows DuckDB makes: a job, an attribution and GPU time of each team, and one charge that they add to."""
    write_ledger(folder, [charge("0")])
    key, of = "'c/' || i || '/1'", f"FROM range({teams}) AS r(i)"
    with Ledger(folder / "ledger").writer() as writer, Engine("2GB", temp=folder / "spill") as engine:

        def put(table: Table, columns: str, **scope: str) -> None:
            writer.replace(table, engine.connection.sql(f"SELECT {columns} {of}"), scope)

        when = "TIMESTAMPTZ '2026-10-05 00:00:00Z'"
        put(
            JOBS,
            f"{key} AS job_key, 'log' AS source, 'f' AS origin_file, i AS origin_row, CAST(i AS VARCHAR) AS job_id, "
            f"'team ' || md5(CAST(i AS VARCHAR)) AS account, {when} AS submit_time, {when} AS start_time, "
            f"{when} + INTERVAL 1 HOUR AS end_time, 'completed' AS outcome, 20160 AS gpu_parts",
            cluster="c",
            end_day="2026-10-05",
        )
        money = f"{TEAM_COST} AS effective_cost_nanos, {TEAM_COST} AS billed_cost_nanos"
        put(
            ATTRIBUTIONS,
            f"'USD' AS billing_currency, 'billed' AS basis, '2026-10-05' AS day, 'node' AS route, 'c' AS cluster, "
            f"{key} AS job_key, {money}",
            source="aws",
            billing_period=MONTH,
        )
        put(OCCUPANCY, f"'2026-10-05' AS day, {key} AS job_key, 20160 * 3600 AS gpu_part_seconds", cluster="c", month=MONTH)
        total = engine.value(f"SELECT sum({TEAM_COST}) {of}")
        line = engine.connection.sql(
            f"SELECT * EXCLUDE (source, billing_period) REPLACE (CAST({total} AS BIGINT) AS billed_cost_nanos, "
            f"CAST({total} AS BIGINT) AS effective_cost_nanos) FROM ({writer.snapshot().select('charges')})"
        )
        writer.replace(CHARGES, line, {"source": "aws", "billing_period": MONTH})
        writer.finish(
            engine,
            stages=("collect", "attribute"),
            period=MONTH,
            started_at=1.0,
            ended_at=2.0,
            outcome="ok",
            config_digest="",
            code_version="",
        )


def _has_money(line: Mapping[str, Any]) -> bool:
    return bool(line["billed_cost_nanos"] or line["effective_cost_nanos"])


def _attributed(line: Mapping[str, Any]) -> dict[str, Any]:
    kept = ("source", "billing_period", "billing_currency", "basis", "effective_cost_nanos", "billed_cost_nanos")
    day = line["charge_period_start"].strftime("%Y-%m-%d")
    return {**{k: line[k] for k in kept}, "day": day, "route": "shared", "bucket": "shared", "service": "s"}


def _write(writer: Writer, engine: Engine, name: str, rows: Sequence[Mapping[str, Any]]) -> None:
    table = TABLES[name]

    def place(row: Mapping[str, Any]) -> tuple[str, ...]:
        return tuple(row[column] for column in table.partition)

    for values, group in groupby(sorted(rows, key=place), place):
        engine.execute(f"CREATE OR REPLACE TEMP TABLE put AS {empty_select(table)}")
        for row in group:
            columns = ", ".join(map(identifier, row))
            engine.rows(f"INSERT INTO put ({columns}) VALUES ({', '.join('?' * len(row))})", list(row.values()))
        scope = dict(zip(table.partition, values, strict=True))
        put = engine.connection.table("put").project(f"* EXCLUDE ({', '.join(scope)})")
        writer.replace(table, put, scope)
