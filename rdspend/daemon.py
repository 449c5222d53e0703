"""The daemon: works at intervals, renders each page once, and serves it as bytes.

    daemon = Daemon(work, {"prometheus": exporter}, interval_seconds=300, version="0.1.0")
    if not daemon.run():        # until SIGTERM or SIGINT
        os._exit(0)             # the work is still inside a library call; the ledger stands a kill at any moment

Exporters that push are handed the same after every run; one that is not taken is counted and said, and nothing else.

`work(stop)` is one run of the pipeline: it returns the breakdowns to show and the health of the sources. Whatever it
raises, the daemon goes on and shows the last good figures, with `last_run_ok` false. It should look at `stop.stopping`
between its steps and register what ends a long call: `with stop.interrupting(connection.interrupt): ...`.

Every exporter with a `listen` address gets a server: /metrics (in each form that it has, by the Accept header), /-/healthy (the
process lives), /-/ready (a run has been good), / (for people). Scrapes touch no source and no ledger.
"""

from __future__ import annotations

import contextlib
import gzip
import html
import queue
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime

from rdspend.burn import in_words
from rdspend.errors import ConfigError
from rdspend.pages import HEALTHY, HTML, NOT_READY, READY, TEXT, Answer, Server
from rdspend.pushing import Pushes
from rdspend.schema import Breakdown, Health, Negotiated, Served

GRACE_SECONDS = 5.0


class Stop:
    """Asks a running work to end."""

    def __init__(self) -> None:
        self._event = threading.Event()
        self._lock = threading.Lock()
        self._interrupts: list[Callable[[], object]] = []

    @property
    def stopping(self) -> bool:
        return self._event.is_set()

    def wait(self, seconds: float) -> bool:
        """Sleep, but no longer than until the stop; true when it came."""
        return self._event.wait(seconds)

    @contextlib.contextmanager
    def interrupting(self, interrupt: Callable[[], object]) -> Iterator[None]:
        """Call `interrupt`, from another thread and at most once, if the stop comes inside the block."""
        with self._lock:
            self._interrupts.append(interrupt)
            if self.stopping:
                interrupt()
        try:
            yield
        finally:
            with self._lock:
                self._interrupts.remove(interrupt)

    def set(self) -> None:
        with self._lock, contextlib.ExitStack() as calls:
            self._event.set()
            for interrupt in self._interrupts:
                calls.callback(interrupt)


Work = Callable[[Stop], tuple[Sequence[Breakdown], Health]]


class Daemon:
    """Works every `interval_seconds` and serves what came out of it. `clock` gives epoch seconds."""

    def __init__(
        self,
        work: Work,
        pages: Mapping[str, Served],
        interval_seconds: float,
        version: str,
        log: Callable[[str], object] = lambda line: sys.stderr.write(f"rdspend: {line}\n"),
        clock: Callable[[], float] = time.time,
        pushes: Pushes | None = None,
    ) -> None:
        self._pushes = pushes or Pushes({}, log)
        self._work, self._pages, self._interval_seconds, self._log, self._clock = (
            work,
            pages,
            interval_seconds,
            log,
            clock,
        )
        self._stop = Stop()
        self._breakdowns: tuple[Breakdown, ...] = ()
        self._health = Health(version)
        self._servers: dict[str, Server] = {}
        self._threads: list[threading.Thread] = []
        self._worker = threading.Thread(target=self._work_at_intervals, name="work", daemon=True)

    @property
    def addresses(self) -> dict[str, tuple[str, int]]:
        """Where each page is served; a port 0 in the configuration has become a real one."""
        return {name: (str(s.server_address[0]), int(s.server_address[1])) for name, s in self._servers.items()}

    def run(self) -> bool:
        """Serve until SIGTERM or SIGINT. False: the work did not end in time, leave with `os._exit`."""
        # put() is allowed inside a signal handler; setting an Event there can hang the thread that waits on it.
        signals: queue.SimpleQueue[int] = queue.SimpleQueue()
        before = {number: signal.signal(number, lambda n, _: signals.put(n)) for number in (signal.SIGTERM, signal.SIGINT)}
        try:
            self.start()
            self._log(f"{signal.Signals(signals.get()).name}: ending")
            return self.stop()
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def start(self) -> None:
        """Listen, then work. Raises ConfigError for an address that can't be listened on."""
        try:
            for name, exporter in self._pages.items():
                self._servers[name] = Server(f"exporters.{name}.listen", exporter.listen)
        except ConfigError:
            for server in self._servers.values():
                server.server_close()
            raise
        self._show("")
        for name, server in self._servers.items():
            thread = threading.Thread(target=server.serve_forever, args=(0.1,), name=f"serve {name}", daemon=True)
            thread.start()
            self._threads.append(thread)
            self._log("listening on http://{}:{}/".format(*self.addresses[name]))
        self._worker.start()

    def stop(self, grace_seconds: float = GRACE_SECONDS) -> bool:
        """End the work and the servers. False when the work still runs after the grace."""
        try:
            self._stop.set()
        finally:
            self._worker.join(grace_seconds)
            for server in self._servers.values():
                server.shutdown()
                server.server_close()
            for thread in self._threads:
                thread.join(grace_seconds)
        return not self._worker.is_alive()

    def _work_at_intervals(self) -> None:
        while not self._stop.stopping:
            started = time.monotonic()
            self._refresh()
            # On the grid of the interval: work that takes longer skips beats and is never started back to back.
            self._stop.wait(self._interval_seconds - (time.monotonic() - started) % self._interval_seconds)

    def _refresh(self) -> None:
        self._health = replace(self._health, pushes=self._pushes.health)
        failure = self._failure_of(self._run)
        if failure and not self._stop.stopping:
            self._log(f"run failed, the last good figures stay: {failure}")
            self._health = replace(self._health, last_run_ok=False, last_run=self._clock())
            if unshown := self._failure_of(lambda: self._show(failure)):
                self._log(f"pages could not be made: {unshown}")
        if not self._stop.stopping and (unsent := self._failure_of(self._push)):
            self._log(f"nothing could be pushed: {unsent}")

    def _push(self) -> None:
        self._pushes.push(self._breakdowns, self._health)

    def _run(self) -> None:
        breakdowns, health = self._work(self._stop)
        before = self._breakdowns, self._health
        ended = self._clock() if health.last_run is None else health.last_run
        success = ended if health.last_run_ok else before[1].last_success
        self._breakdowns = tuple(breakdowns)
        self._health = replace(health, last_run=ended, last_success=health.last_success or success, pushes=self._pushes.health)
        try:
            self._show("")
        except BaseException:
            self._breakdowns, self._health = before
            raise

    def _failure_of(self, step: Callable[[], None]) -> str:
        """Why a step failed, in one line; empty when it did not."""
        try:
            step()
        except BaseException as error:  # noqa: BLE001  the daemon outlives its runs; a panic in Rust is no Exception
            return " ".join(f"{type(error).__name__}: {error}".split())
        return ""

    def _show(self, failure: str) -> None:
        """Render every page, then swap them in: a scrape sees all of the old ones or all of the new."""
        ready = READY if self._health.last_success is not None or self._breakdowns else NOT_READY
        landing = Answer(200, HTML, landing_page(self._breakdowns, self._health, failure).encode())
        answers = {}
        for name, exporter in self._pages.items():
            answers[name] = {
                "/": landing,
                "/metrics": _metrics(exporter, self._breakdowns, self._health),
                "/-/healthy": HEALTHY,
                "/-/ready": ready,
            }
        for name, server in self._servers.items():
            server.answers = answers[name]


def _metrics(exporter: Served, breakdowns: Sequence[Breakdown], health: Health) -> Answer:
    """The page of an exporter in each of its forms, packed once."""
    if not isinstance(exporter, Negotiated):
        return _packed(TEXT, exporter.render(breakdowns, health))
    *others, last = (_packed(kind, body) for kind, body in exporter.forms(breakdowns, health).items())
    return replace(last, others=tuple(others))


def _packed(content_type: str, body: bytes) -> Answer:
    return Answer(200, content_type, body, gzip.compress(body, compresslevel=6, mtime=0))


def landing_page(breakdowns: Sequence[Breakdown], health: Health, failure: str) -> str:
    """What the daemon does and how its last run went, for people."""
    e = html.escape
    state = "no run has ended yet" if health.last_run is None else "good" if health.last_run_ok else "not good"
    sources = "".join(
        f"<tr><td>{e(s.source)}<td>{'up' if s.up else 'DOWN'}<td>{_moment(s.last_success)}<td>{s.seconds:.1f}<td>{s.rows:,}"
        for s in health.sources
    )
    shown = "".join(
        f"<li>{'<b>SYNTHETIC</b> ' if b.synthetic else ''}{e(b.period)}: {b.total:,.2f} {e(b.currency)}, "
        f"{'every source showed all of it' if b.complete else '<b>incomplete</b>'}"
        for b in breakdowns
    )
    burning = "".join(f"<li>{e(words)}" for words in in_words(health.burn))
    return f"""<!doctype html>
<html lang="en">
<meta charset="utf-8">
<title>rdspend</title>
<style>body{{font:16px/1.5 sans-serif;margin:2em;max-width:50em}}td,th{{padding-right:2em;text-align:left}}</style>
<h1>rdspend</h1>
<p>What the compute money went to. Version {e(health.version)}.
<p><a href="/metrics">Metrics</a> · <a href="/-/healthy">Healthy</a> · <a href="/-/ready">Ready</a>
<p>Last run: {state}, {_moment(health.last_run)}. Last good one: {_moment(health.last_success)}.
{f"<p><b>{e(failure)}</b>" if failure else ""}
<h2>Shown</h2>
<ul>{shown}</ul>
{f"<h2>An hour of what runs now</h2><ul>{burning}</ul>" if burning else ""}
<h2>Sources</h2>
<table><tr><th>Source<th>State<th>Last success<th>Seconds<th>Rows{sources}</table>
</html>
"""


def _moment(epoch_seconds: float | None) -> str:
    return "never" if epoch_seconds is None else f"{datetime.fromtimestamp(epoch_seconds, UTC):%F %T} UTC"
