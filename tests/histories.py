"""The small lab over many months, each published, and a real Prometheus that only knows what it was given of them.

Every month has the same two days of nodes and jobs, at a price of its own.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import urllib.parse
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from organisations import JOBS, JOBS_HEADER, MONTH, two_days, write_bill, write_organisation
from scraping import START, Scraper, free_port

from rdspend.config import Config, load
from rdspend.period import month_start, parse_period
from rdspend.pipeline import Pipeline

MONTHS = parse_period("2024-01..2025-12").months
START_OF_ALL, END_OF_ALL = month_start("2024-01"), month_start("2026-01")
DAY = 24 * 3600
FLAGS = ("--storage.tsdb.retention.time=10y", "--web.enable-admin-api")


def write_history(folder: Path, months: Sequence[str]) -> Path:
    """The files of it; the price of a node's hour is 10.02 in the first month and two cents more in each that follows.

    Even cents: jobs with half a node then cost whole ones, and no figure lies halfway between two cents.
    """
    config = write_organisation(folder, months[0])
    write_prices(folder, {month: f"{10 + number / 50:.2f}" for number, month in enumerate(months, 1)})
    jobs = [
        ",".join([f"{number}{job.split(',')[0]}", *job.split(",")[1:]]).replace(MONTH, month)
        for number, month in enumerate(months, 1)
        for job in JOBS
    ]
    (folder / "jobs.csv").write_text("\n".join([JOBS_HEADER, *jobs]) + "\n")
    return config


def write_prices(folder: Path, prices: dict[str, str]) -> None:
    write_bill(folder, [line for month, price in prices.items() for line in two_days(price, month)])


def published(file: Path, months: Sequence[str]) -> Config:
    """The configuration, after all of it was collected and each month was published."""
    config = load(file)
    Pipeline(config).run(parse_period(f"{months[0]}..{months[-1]}"), ["collect", "tag", "attribute"])
    for month in months:
        Pipeline(config).run(parse_period(month), ["publish"])
    return config


@dataclass(frozen=True)
class Server(Scraper):
    tsdb: Path

    def over(self, query: str, step: int = DAY) -> dict[tuple[tuple[str, str], ...], dict[datetime, str]]:
        """What `query_range` says over the two years: values to the cent by time, for every series."""
        words = {"query": query, "start": START_OF_ALL.timestamp(), "end": END_OF_ALL.timestamp() - 1, "step": step}
        with urllib.request.urlopen(f"{self.url}/api/v1/query_range?{urllib.parse.urlencode(words)}", timeout=60) as answer:
            result: list[dict[str, Any]] = json.load(answer)["data"]["result"]
        return {
            tuple(sorted(each["metric"].items())): {
                datetime.fromtimestamp(at, UTC): f"{float(value):.2f}" for at, value in each["values"]
            }
            for each in result
        }

    def post(self, path: str, **words: str) -> None:
        request = urllib.request.Request(f"{self.url}{path}?{urllib.parse.urlencode(words)}", method="POST")
        with urllib.request.urlopen(request, timeout=60) as answer:
            assert answer.status == 204


@contextmanager
def serving(
    folder: Path, blocks: Path | None = None, *flags: str, config: str = "", target: str = "127.0.0.1:1"
) -> Iterator[Server]:
    """A Prometheus that starts on these blocks and scrapes `target`, by default nothing that answers.

    config  the end of its configuration
    """
    if blocks is not None:
        shutil.copytree(blocks, folder / "tsdb")
    port = free_port()
    folder.mkdir(exist_ok=True)
    command = [START, "start", folder, str(port), target, *FLAGS, *flags]
    try:
        subprocess.run(command, check=True, timeout=300, env={**os.environ, "MORE_CONFIG": config})
        yield Server(f"http://127.0.0.1:{port}", folder / "tsdb")
    finally:
        subprocess.run([START, "stop", folder], check=True, timeout=60)
