"""kill -9 at any moment of a run: no half month can be read, no nano is lost, and the next run completes."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from decimal import Decimal
from pathlib import Path

import pytest
from organisations import two_days, write_bill, write_organisation

from rdspend.config import load
from rdspend.period import parse_period
from rdspend.pipeline import Pipeline
from rdspend.reading import Reader

KILLS = int(os.environ.get("RDSPEND_KILLS", "200"))
PERIOD = parse_period("2026-10")
PRICES = ("98.32", "100", "0.000000001")

# Imports everything once, then forks a run for each line it is told: a start takes milliseconds, the kill falls into the work.
FORKER = """
import os, signal, sys
from pathlib import Path
from rdspend.config import load
from rdspend.period import parse_period
from rdspend.pipeline import Pipeline
config = load(Path(sys.argv[1]))
print("ready", flush=True)
for _ in sys.stdin:
    child = os.fork()
    if not child:
        Pipeline(config).run(parse_period("2026-10"))
        os._exit(0)
    print(child, flush=True)
    os.waitpid(child, 0)
    print("ended", flush=True)
"""


@contextmanager
def forker(config: Path) -> Iterator[subprocess.Popen[str]]:
    with subprocess.Popen(
        [sys.executable, "-P", "-c", FORKER, str(config)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as child:
        assert child.stdout is not None
        assert child.stdout.readline() == "ready\n"
        try:
            yield child
        finally:
            child.kill()


def start(child: subprocess.Popen[str]) -> int:
    assert child.stdin is not None and child.stdout is not None
    child.stdin.write("run\n")
    child.stdin.flush()
    return int(child.stdout.readline())


def ended(child: subprocess.Popen[str]) -> None:
    assert child.stdout is not None
    assert child.stdout.readline() == "ended\n"


def total(price: str) -> Decimal:
    return 96 * Decimal(price) + Decimal("350.123456789")


@pytest.mark.scale
@pytest.mark.timeout(3600)
def test_a_run_killed_at_any_moment_leaves_the_month_whole(tmp_path: Path) -> None:
    file = write_organisation(tmp_path)
    config = load(file)
    Pipeline(config).run(PERIOD)
    readable = PRICES[0]
    chance = random.Random(20261001)
    killed = completed = 0
    with forker(file) as child:
        started = time.perf_counter()
        start(child)
        ended(child)
        whole = time.perf_counter() - started
        while killed < KILLS:
            price = chance.choice([p for p in PRICES if p != readable])
            write_bill(tmp_path, two_days(price))
            pid = start(child)
            time.sleep(chance.uniform(0.0, whole * 1.2))
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
            ended(child)
            # Whatever the moment: what is read is wholly the old month or wholly the new one, and it adds up.
            (found,) = Reader(config).breakdowns(PERIOD, None)
            assert found.charges == found.attributed == found.total
            assert found.total in (total(readable), total(price)), f"neither {readable} nor {price} after {killed} kills"
            if found.total == total(price):
                completed += 1
                readable = price
            else:
                killed += 1
    Pipeline(config).run(PERIOD)
    (found,) = Reader(config).breakdowns(PERIOD, None)
    assert found.total == total(price)
    assert completed > 0, "no run was let to its end: the kills proved nothing"
    assert not list((tmp_path / "ledger").glob("*/.staged-*")), "a killed run's staged files were not cleaned up"
