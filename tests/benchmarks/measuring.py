"""Measuring a piece of work in a process of its own: wall and processor seconds, peak memory. Ratios are made in one run."""

from __future__ import annotations

import json
import os
import platform
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Measured:
    seconds: float
    processor_seconds: float
    peak_mb: float
    answer: Any


def measured(script: str, work: str, *words: object) -> Measured:
    """Run `work` of the benchmark file `script` in a fresh process."""
    done = subprocess.run(
        [sys.executable, script, "--work", work, *map(str, words)], stdout=subprocess.PIPE, text=True, check=False
    )
    if done.returncode:
        raise SystemExit(f"{Path(script).name} {work} ended with {done.returncode}")
    return Measured(**json.loads(done.stdout.splitlines()[-1]))


def serve(works: dict[str, Callable[..., Any]]) -> bool:
    """In the fresh process: do the work named on the command line and print what it took. False when there is none."""
    if len(sys.argv) < 3 or sys.argv[1] != "--work":
        return False
    started = time.perf_counter()
    answer = works[sys.argv[2]](*sys.argv[3:])
    seconds = time.perf_counter() - started
    usage = resource.getrusage(resource.RUSAGE_SELF)
    print(
        json.dumps(
            {
                "seconds": seconds,
                "processor_seconds": usage.ru_utime + usage.ru_stime,
                "peak_mb": _peak_mb(),
                "answer": answer,
            }
        )
    )
    return True


def _peak_mb() -> float:
    """Of this process alone: ru_maxrss would be that of the process it was forked from, where that was larger."""
    status = Path("/proc/self/status").read_text(encoding="ascii")
    return int(next(line for line in status.splitlines() if line.startswith("VmHWM")).split()[1]) / 1024


def machine() -> str:
    """What the figures were made on."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return f"{os.cpu_count()} cores, {memory:.0f} GiB, Python {platform.python_version()}, {platform.system()}"


def workplace() -> Path:
    """Where benchmark data is kept between runs: RDSPEND_BENCH, or a folder of the system's temporary files."""
    folder = Path(os.environ.get("RDSPEND_BENCH", str(Path(tempfile.gettempdir()) / "rdspend-bench")))
    folder.mkdir(parents=True, exist_ok=True)
    return folder
