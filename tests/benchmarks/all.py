"""All benchmarks, one after the other; what they print is what docs/benchmarks.md quotes.

all.py [quick]      quick: a tenth of the size, for a look
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

HERE = Path(__file__).parent

FULL = (
    ("bench_attribute.py", "1000000", "10000000", "50000000"),
    ("bench_land_focus.py", "4000000"),
    ("bench_land_cur.py", "4000000"),
    ("bench_land_cur.py", "replace", "10000000"),
    ("bench_tag.py",),
    ("bench_rules.py",),
    ("bench_learned.py",),
    ("bench_report.py", "1000000"),
    ("bench_report_html.py", "1000000"),
    ("bench_policy.py", "1000000"),
    ("bench_release.py", "1000000"),
    ("bench_diff.py", "10000000"),
    ("bench_focus_export.py", "10000000"),
    ("bench_scrape.py",),
    ("bench_refresh.py",),
    ("bench_teams.py",),
    ("bench_backfill.py", "1000"),
    ("bench_dashboards.py",),
    ("bench_slurm.py",),
)
QUICK = (
    ("bench_attribute.py", "1000000"),
    ("bench_land_focus.py", "1000000"),
    ("bench_land_cur.py", "1000000"),
    ("bench_report.py", "100000"),
    ("bench_report_html.py", "100000"),
    ("bench_policy.py", "100000"),
    ("bench_release.py", "100000"),
    ("bench_diff.py", "1000000"),
    ("bench_focus_export.py", "1000000"),
    ("bench_scrape.py",),
    ("bench_refresh.py", "10000", "50"),
    ("bench_teams.py", "10000", "1000000"),
)


def help_seconds() -> float:
    """The median of eleven `rdspend --help`, after one that is not counted."""
    taken = []
    for _ in range(12):
        started = time.perf_counter()
        subprocess.run([str(Path(sys.executable).parent / "rdspend"), "--help"], stdout=subprocess.DEVNULL, check=True)
        taken.append(time.perf_counter() - started)
    return sorted(taken[1:])[5]


def main() -> None:
    print(f"rdspend --help: {help_seconds() * 1000:.0f} ms", flush=True)
    for script, *words in QUICK if sys.argv[1:] == ["quick"] else FULL:
        print(f"\n== {script} {' '.join(words)}", flush=True)
        subprocess.run([sys.executable, str(HERE / script), *words], check=True)
    kills = os.environ.get("RDSPEND_KILLS", "1000")
    if sys.argv[1:] != ["quick"]:
        print(f"\n== {kills} kills", flush=True)
        subprocess.run(
            [
                str(Path(sys.executable).parent / "pytest"),
                "-q",
                "-p",
                "no:cacheprovider",
                str(HERE.parent / "properties" / "test_kill.py"),
            ],
            env={**os.environ, "RDSPEND_KILLS": kills},
            check=True,
        )


if __name__ == "__main__":
    main()
