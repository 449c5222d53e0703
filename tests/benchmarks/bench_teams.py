"""Distinct teams by the million: the series of the page stay at the ceiling, and memory where it was.

    python tests/benchmarks/bench_teams.py [teams ...]

A month in which every job has a team of its own, as a ledger whose rows DuckDB makes. Each size is published and rendered in a
process of its own. Prints one line of JSON for each: seconds, peak memory, the most series of one family, teams added up, and
whether the page still adds to the report's total.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
from collections import Counter
from decimal import Decimal
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

from ledgers import MONTH, write_teams
from measuring import machine, measured, serve
from prometheus_client.parser import text_string_to_metric_families

from exporters.prometheus import Prometheus
from rdspend.config import load
from rdspend.period import Period
from rdspend.pipeline import Pipeline
from rdspend.reading import Reader

SIZES = (10_000, 1_000_000, 10_000_000)
CEILING = 10_000


def publish(folder: str) -> dict[str, Any]:
    """What the daemon does with it: publish the month, and render the page."""
    config = load(Path(folder) / "rdspend.toml")
    (made,) = Pipeline(config).run(Period(MONTH, (MONTH,)), ["publish"]).breakdowns
    page = Prometheus(max_series=CEILING).render((made,), Reader(config).health())
    samples = [sample for family in text_string_to_metric_families(page.decode()) for sample in family.samples]
    cost = sum(sample.value for sample in samples if sample.name == "rdspend_cost_usd")
    return {
        "most_series": max(Counter(sample.name for sample in samples).values()),
        "folded_teams": next(int(sample.value) for sample in samples if sample.name == "rdspend_folded_teams"),
        "named_teams": len(made.teams),
        "adds_up": made.total == sum((cell.cost for cell in made.cells), Decimal(0)) and abs(cost - float(made.total)) < 0.005,
    }


def main() -> None:
    print(machine())
    for teams in [int(text) for text in sys.argv[1:]] or SIZES:
        with tempfile.TemporaryDirectory(dir=os.environ.get("RDSPEND_BENCH")) as folder:
            write_teams(Path(folder), teams)
            done = measured(__file__, "publish", folder)
        figures = {"teams": teams, "seconds": round(done.seconds, 2), "peak_mb": round(done.peak_mb)}
        print(json.dumps(figures | done.answer | {"reached": done.answer["most_series"] <= CEILING and done.answer["adds_up"]}))


if __name__ == "__main__" and not serve({"publish": publish}):
    main()
