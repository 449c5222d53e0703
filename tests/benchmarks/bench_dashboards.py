"""Every query of every dashboard over two years of data: reach <= 200 ms each.

bench_dashboards.py [CELLS]      CELLS: series of money a month, 1,000 where none are named

The data are 24 backfilled months with as many series of money and as many of GPU time, everything a report can say, and what a
daemon scraped last. A query is asked six times and its median counts; the first is left out. Needs promtool and prometheus.
"""

from __future__ import annotations

import shutil
import sys
import time
from dataclasses import replace
from pathlib import Path
from statistics import median

sys.path.insert(0, str(Path(__file__).parents[1]))

from breakdowns import build, full_health, many, of_jobs
from dashboards import Viewer, targets
from histories import serving
from measuring import machine, workplace
from pages import page

from exporters.prometheus import Prometheus
from rdspend.backfill import make_blocks
from rdspend.period import month_start, parse_period
from rdspend.schema import Breakdown

REACH_MS = 200
MONTHS = parse_period("2024-10..2026-10").months
RULES = Path(__file__).parents[2] / "deploy" / "prometheus" / "rules.yml"


def month(name: str, cells: int) -> Breakdown:
    made = build(many(cells, int(name.replace("-", ""))))
    return replace(made, period=name, months=(name,), state="closed", **of_jobs(made))


def written(folder: Path, cells: int) -> Path:
    """Blocks of all months but the last, which is to be scraped."""
    blocks = folder / "blocks"
    if len(list(blocks.glob("*/meta.json"))) < len(MONTHS) - 1:
        shutil.rmtree(blocks, ignore_errors=True)
        for name in MONTHS[:-1]:
            text = folder / "month.om"
            text.write_text("".join(Prometheus().past((month(name, cells),), 1, {"job": "rdspend"}).open_metrics()))
            make_blocks("promtool", text, blocks)
    return blocks


def taken(viewer: Viewer, expression: str, live: bool) -> float:
    """Median milliseconds."""
    seconds = [viewer.seconds(expression, live) for _ in range(6)]
    return median(seconds[1:]) * 1000


def main() -> None:
    cells = int(sys.argv[1]) if len(sys.argv) > 1 else 1000
    folder = workplace() / f"dashboards-{cells}"
    folder.mkdir(exist_ok=True)
    print(f"dashboards, {machine()}")
    running = folder / "prometheus"
    shutil.rmtree(running, ignore_errors=True)
    content = Prometheus().render((month(MONTHS[-1], cells),), full_health())
    with (
        page(content) as target,
        serving(running, written(folder, cells), config=f'rule_files: ["{RULES}"]', target=target) as server,
    ):
        time.sleep(75)  # rules are evaluated once a minute
        end = time.time()
        viewer = Viewer(server.url, month_start(MONTHS[0]).timestamp(), end, {"policy": "epoch", "currency": "USD"})
        months = {"newest month": viewer, "a past month": replace(viewer, chosen={**viewer.chosen, "month": MONTHS[3]})}
        found = []
        for when, seen in months.items():
            for uid, panel, each in targets():
                if when != "newest month" and "$month" not in each["expr"]:
                    continue
                milliseconds = taken(seen, seen.expression(uid, each), each["range"])
                found.append((milliseconds, f"{uid}, {panel['title']}, query {each['refId']}, {when}"))
    found.sort(reverse=True)
    print(f"{len(found)} queries over {len(MONTHS)} months of {cells:,} series of money")
    for milliseconds, name in found[:5]:
        print(f"{milliseconds:.0f} ms (reach {REACH_MS}): {name}")
    print(f"median {median(milliseconds for milliseconds, _ in found):.0f} ms")


if __name__ == "__main__":
    main()
