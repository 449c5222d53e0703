"""Ledgers written by hand of jobs with tags and money: what a dry run of rules and the proposing of rules read."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from ledgers import MONTH, nanos, write_ledger

from rdspend.schema import GPU_PARTS

HOUR = 3600


@dataclass(frozen=True)
class Work:
    """One job of an hour on a day of the month. `told`: what each tagger answers, an activity or (activity, stage)."""

    name: str
    told: Mapping[str, Any]
    day: int = 1
    cost: str | None = "1"
    currency: str = "USD"
    user: str = "u1"
    account: str | None = "team"
    queue: str = "gpu"
    command: str | None = None
    gpus: int = 1
    month: str = MONTH


def write_work(folder: Path, work: Iterable[Work], config: str = "") -> Path:
    """A ledger of these jobs, in their order; returns the configuration. Keys are c1/1, c1/2, ..."""
    jobs, tags, paid, used = [], [], [], []
    for number, each in enumerate(work, start=1):
        key, start = f"c1/{number}", datetime.fromisoformat(f"{each.month}-{each.day:02d}").replace(tzinfo=UTC)
        end, day = start + timedelta(hours=1), f"{each.month}-{each.day:02d}"
        jobs.append(
            {
                "job_key": key,
                "cluster": "c1",
                "end_day": day,
                "source": "log",
                "origin_file": "jobs.csv",
                "origin_row": number,
                "job_id": str(number),
                "user": each.user,
                "account": each.account,
                "queue": each.queue,
                "name": each.name,
                "command": each.command,
                "submit_time": start,
                "start_time": start,
                "end_time": end,
                "outcome": "completed",
                "gpu_parts": each.gpus * GPU_PARTS,
            }
        )
        for tagger, answer in each.told.items():
            activity, stage = answer if isinstance(answer, tuple) else (answer, None)
            said = {"job_key": key, "activity": activity, "stage": stage, "confidence": 1.0, "evidence": "e", "version": "v"}
            tags.append({"tagger": tagger, "end_month": each.month, **said})
        if each.cost is not None:
            amount = {"effective_cost_nanos": nanos(each.cost), "billed_cost_nanos": nanos(each.cost)}
            where = {"source": "aws", "billing_period": each.month, "billing_currency": each.currency, "basis": "billed"}
            paid.append({**where, **amount, "day": day, "route": "job", "job_key": key})
        gpu_time = {"gpu_part_seconds": each.gpus * GPU_PARTS * HOUR}
        used.append({"month": each.month, "day": day, "cluster": "c1", "job_key": key, **gpu_time})
    tables = {"jobs": jobs, "tags": tags, "attributions": paid, "occupancy": used}
    file = write_ledger(folder, [], **{name: rows for name, rows in tables.items() if rows})
    file.write_text(file.read_text() + config)
    return file
