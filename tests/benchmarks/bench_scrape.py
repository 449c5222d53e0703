"""Scrapes of the daemon at 10,000 series by four scrapers at once: reach p99 <= 10 ms.

    python tests/benchmarks/bench_scrape.py [series] [scrapes]

The daemon runs in a process of its own, as it does in service; the four scrapers are processes too and keep their
connection. Prints one line of JSON for each encoding: milliseconds of a whole scrape (first byte sent to last byte read)
and of rendering both forms of the page once. Prometheus asks for OpenMetrics and gzip; the plain page is there to compare.
"""

from __future__ import annotations

import http.client
import json
import multiprocessing as mp
import sys
import time
from multiprocessing.connection import Connection
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from breakdowns import build, many

from exporters.prometheus import OPEN_METRICS, Prometheus
from rdspend.daemon import Daemon
from rdspend.schema import Health

SCRAPERS = 4
REACH_MS = 10.0


def serve(series: int, pipe: Connection) -> None:
    made = build(many(series // 2))  # cost and GPU-seconds: two series a cell
    exporter = Prometheus("127.0.0.1:0")
    started = time.perf_counter()
    page = exporter.forms([made], Health("bench"))[OPEN_METRICS]
    render_ms = (time.perf_counter() - started) * 1000
    daemon = Daemon(lambda _: ([made], Health("bench")), {"prometheus": exporter}, 3600, "bench", lambda _: None)
    daemon.start()
    pipe.send((daemon.addresses["prometheus"], page.count(b"\nrdspend_"), len(page), render_ms))
    pipe.recv()
    daemon.stop()


def scrape(address: tuple[str, int], encoding: str, scrapes: int) -> list[float]:
    connection = http.client.HTTPConnection(*address)
    times = []
    for _ in range(scrapes):
        started = time.perf_counter()
        connection.request("GET", "/metrics", headers={"Accept": OPEN_METRICS, "Accept-Encoding": encoding})
        body = connection.getresponse().read()
        times.append((time.perf_counter() - started) * 1000)
        assert len(body) > 1000
    return times


def main() -> None:
    series, scrapes = (int(text) for text in (*sys.argv[1:], "10000", "500")[:2]) if len(sys.argv) > 1 else (10_000, 500)
    context = mp.get_context("spawn")
    ours, theirs = context.Pipe()
    server = context.Process(target=serve, args=(series, theirs))
    server.start()
    address, shown, size, render_ms = ours.recv()
    time.sleep(1)  # the first run has to end before its page is the one served
    for encoding in ("gzip", "identity"):
        with context.Pool(SCRAPERS) as pool:
            pool.starmap(scrape, [(address, encoding, 20)] * SCRAPERS)
            times = sorted(t for part in pool.starmap(scrape, [(address, encoding, scrapes)] * SCRAPERS) for t in part)
        p99 = times[len(times) * 99 // 100]
        figures = {"series": shown, "page_bytes": size, "render_ms": round(render_ms, 1), "encoding": encoding}
        figures |= {"scrapers": SCRAPERS, "scrapes": len(times), "p50_ms": round(times[len(times) // 2], 2)}
        print(json.dumps(figures | {"p99_ms": round(p99, 2), "reach_ms": REACH_MS, "reached": p99 <= REACH_MS}))
    ours.send("end")
    server.join()


if __name__ == "__main__":
    main()
