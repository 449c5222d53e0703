"""Refreshes of the daemon's page at 10,000 series: reach <= 2 s each, and memory flat over 1,000 of them.

    python tests/benchmarks/bench_refresh.py [series] [refreshes]

A refresh is what the daemon does with each run's outcome: describe all figures, write both forms of the page, pack them, swap
them in. Costs and teams are others in each, as in a month that goes on. Prints one line of JSON: seconds of a refresh (median
and longest), and the process's memory after a tenth of the refreshes and after all.
"""

from __future__ import annotations

import json
import sys
import threading
import time
import urllib.request
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

from breakdowns import build, full_health, many
from measuring import machine, measured, serve

from exporters.prometheus import Prometheus
from rdspend.daemon import Daemon, Stop
from rdspend.schema import Breakdown, Burn, Health

REACH_SECONDS = 2.0
REACH_GROWTH_MB = 16


def refresh(series: str, refreshes: str) -> dict[str, Any]:
    """That many refreshes, one after the other, of a page with so many series."""
    burn_rows = int(series) // 5
    cells = many((int(series) - 2 * burn_rows) // 2)  # cost and GPU time: two series a cell; burn: money and GPUs
    memory: list[float] = []
    taken: list[float] = []
    worked = 0.0
    done = threading.Event()

    def work(_: Stop) -> tuple[list[Breakdown], Health]:
        nonlocal worked
        number = len(memory)
        if number:
            taken.append(time.perf_counter() - worked)  # from the end of one work to the next: the refresh
        memory.append(_resident_mb())
        if number == int(refreshes):
            done.set()
        moved = tuple(replace(cell, cost=cell.cost + number, team=f"{cell.team}-{number % 7}") for cell in cells)
        rows = tuple(
            Burn("exploration", f"team-{n}-{number % 7}", "c", "USD", Decimal(n + number), Decimal(8), 0, 1.0)
            for n in range(burn_rows)
        )
        outcome = [build(moved)], full_health(burn=rows)
        worked = time.perf_counter()
        return outcome

    daemon = Daemon(work, {"prometheus": Prometheus("127.0.0.1:0")}, 1e-6, "bench", lambda _: None)
    daemon.start()
    done.wait()
    with urllib.request.urlopen("http://{}:{}/metrics".format(*daemon.addresses["prometheus"])) as answer:
        page = answer.read()
    daemon.stop()
    taken = sorted(taken[: int(refreshes)])
    tenth = memory[int(refreshes) // 10]
    figures = {"series": page.count(b"\nrdspend_"), "page_bytes": len(page), "refreshes": len(taken)}
    figures |= {"median_s": round(taken[len(taken) // 2], 3), "longest_s": round(taken[-1], 3)}
    return figures | {"mb_after_a_tenth": round(tenth, 1), "mb_after_all": round(memory[int(refreshes)], 1)}


def _resident_mb() -> float:
    status = Path("/proc/self/status").read_text(encoding="ascii")
    return int(next(line for line in status.splitlines() if line.startswith("VmRSS")).split()[1]) / 1024


def main() -> None:
    series, refreshes = (*sys.argv[1:], "10000", "1000")[:2] if len(sys.argv) > 1 else ("10000", "1000")
    print(machine())
    answer = measured(__file__, "refresh", series, refreshes).answer
    growth = answer["mb_after_all"] - answer["mb_after_a_tenth"]
    reached = answer["median_s"] <= REACH_SECONDS and growth <= REACH_GROWTH_MB
    print(json.dumps(answer | {"reach_s": REACH_SECONDS, "reach_growth_mb": REACH_GROWTH_MB, "reached": reached}))


if __name__ == "__main__" and not serve({"refresh": refresh}):
    main()
