"""Ledgers of jobs, tracked runs and releases for tests of lineage: a few words each, all times as hours of October 2026."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from rdspend.border import identifier
from rdspend.engine import Engine, empty_select
from rdspend.file_use import extract
from rdspend.lineage import Resolved, resolve
from rdspend.schema import TABLES

OCTOBER = datetime(2026, 10, 1, tzinfo=UTC)
RELEASED = 500


def hour(number: float) -> datetime:
    return OCTOBER + timedelta(hours=number)


def job(job_id: str, start: float, end: float | None, command: str = "", **more: Any) -> dict[str, Any]:
    """A job of user `u` on cluster `c`; its key is `c/ID`, or what `key` says."""
    key = more.pop("key", f"{more.get('cluster', 'c')}/{job_id}")
    made = {
        "job_key": key,
        "cluster": "c",
        "end_day": "open" if end is None else f"{hour(end):%Y-%m-%d}",
        "job_id": job_id,
        "user": "u",
        "name": f"job-{job_id}",
        "command": command or None,
        "work_dir": "/home/u",
        "submit_time": hour(start),
        "start_time": hour(start),
        "end_time": None if end is None else hour(end),
        "outcome": "running" if end is None else "completed",
    }
    return made | more


def run(run_id: str, job_id: str | None = None, **more: Any) -> dict[str, Any]:
    return {"source": "tracker", "run_id": run_id, "job_id": job_id, "cluster": "c" if job_id else None, **more}


def artifact(run_id: str | None, direction: str, uri: str, kind: str = "checkpoint", at: float | None = None) -> dict[str, Any]:
    when = None if at is None else hour(at)
    return {
        "source": "tracker",
        "origin_file": "t",
        "run_id": run_id,
        "direction": direction,
        "kind": kind,
        "uri": uri,
        "at": when,
    }


def claim(kind: str, *of: str, **more: Any) -> dict[str, Any]:
    return {"kind": kind, "of": list(of), "at": f"m.toml: {kind}", **more}


def release(name: str, *claims: Mapping[str, Any], at: float | None = RELEASED, **more: Any) -> dict[str, Any]:
    return {
        "source": "release",
        "origin_file": f"{name}.toml",
        "release": name,
        "released_at": None if at is None else hour(at),
        "lineage": json.dumps(claims),
        **more,
    }


def fill(engine: Engine, name: str, rows: Iterable[Mapping[str, Any]], table: str) -> None:
    engine.execute(f"CREATE OR REPLACE TEMP TABLE {name} AS {empty_select(TABLES[table])}")
    for row in rows:
        columns = ", ".join(map(identifier, row))
        engine.rows(f"INSERT INTO {name} ({columns}) VALUES ({', '.join('?' * len(row))})", list(row.values()))


def resolved(
    engine: Engine,
    jobs: Sequence[Mapping[str, Any]],
    *releases: Mapping[str, Any],
    runs: Sequence[Mapping[str, Any]] = (),
    artifacts: Sequence[Mapping[str, Any]] = (),
    now: float = 1000,
) -> Resolved:
    fill(engine, "every_job", jobs, "jobs")
    fill(engine, "told_job", jobs, "jobs")
    extract(engine)
    fill(engine, "releases", releases, "releases")
    fill(engine, "tracked_runs", runs, "tracked_runs")
    fill(engine, "artifacts", artifacts, "artifacts")
    return resolve(engine, hour(now).timestamp())


def claims(
    jobs: Sequence[Mapping[str, Any]], *releases: Mapping[str, Any], **more: Any
) -> list[tuple[str, str, str, float | None, float | None]]:
    """Release, job, role, from, to of each claim, times as hours of October."""
    with Engine() as engine:
        resolved(engine, jobs, *releases, **more)
        hours = ", ".join(f"(epoch(segment_{end}) - {int(OCTOBER.timestamp())}) / 3600 AS {end}" for end in ("start", "end"))
        return engine.rows(f"SELECT release, job_key, role, {hours} FROM claim ORDER BY ALL")


def roles(jobs: Sequence[Mapping[str, Any]], *releases: Mapping[str, Any], **more: Any) -> dict[str, str]:
    """Role of each job that is claimed as a whole; of one that is cut, its roles in the order of time."""
    found: dict[str, str] = {}
    for _, key, role, *_ in sorted(claims(jobs, *releases, **more), key=lambda c: (c[0], c[1], c[3] or 0)):
        found[key] = f"{found[key]}, {role}" if key in found else role
    return found


def unmatched(jobs: Sequence[Mapping[str, Any]], *releases: Mapping[str, Any], **more: Any) -> list[str]:
    with Engine() as engine:
        return [each.words for each in resolved(engine, jobs, *releases, **more).unmatched]
