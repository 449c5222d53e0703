"""A real Prometheus that scrapes one page, and what can be asked of it."""

from __future__ import annotations

import json
import socket
import subprocess
import time
import urllib.parse
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

START = Path(__file__).parent / "servers" / "prometheus" / "start-prometheus"


@dataclass(frozen=True)
class Scraper:
    url: str

    def ask(self, query: str) -> list[dict[str, Any]]:
        """The samples that answer a query. Raises HTTPError for one that Prometheus refuses."""
        url = f"{self.url}/api/v1/query?{urllib.parse.urlencode({'query': query})}"
        with urllib.request.urlopen(url, timeout=10) as answer:
            result: list[dict[str, Any]] = json.load(answer)["data"]["result"]
        return result

    def value(self, query: str) -> float:
        (sample,) = self.ask(query)
        return float(sample["value"][1])

    def by(self, label: str, query: str) -> dict[str, float]:
        return {sample["metric"][label]: float(sample["value"][1]) for sample in self.ask(query)}


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port: int = probe.getsockname()[1]
    return port


@contextmanager
def scraping(target: str, folder: Path) -> Iterator[Scraper]:
    """A Prometheus that has scraped `target`, host:port, at least once."""
    port = free_port()
    try:
        subprocess.run([START, "start", folder, str(port), target], check=True, timeout=300)
        scraper = Scraper(f"http://127.0.0.1:{port}")
        deadline = time.monotonic() + 60
        while not scraper.ask("rdspend_last_run_ok"):
            assert time.monotonic() < deadline, "nothing was scraped in 60 s"
            time.sleep(0.2)
        yield scraper
    finally:
        subprocess.run([START, "stop", folder], check=True, timeout=60)
