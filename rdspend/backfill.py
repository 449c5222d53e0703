"""Past months for a Prometheus that was not there: files of samples with timestamps, blocks of its database, or remote write.

The figures are those that `rdspend report` prints of each published month; how they look as series is the exporter's matter.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

from rdspend.config import Config, load_plugin
from rdspend.engine import Engine
from rdspend.errors import ConfigError, SourceUnavailable
from rdspend.ledger import Ledger
from rdspend.period import Period, following, parse_period
from rdspend.reading import Reader

Form = Literal["openmetrics", "blocks", "remote-write"]

# The largest step of promtool's ladder (2 h x 3^9). It only says where a block must be cut; a month is then a block of its own,
# cut by the end of its samples, where the default of two hours makes 360 of them and takes a hundred times as long.
BLOCK_HOURS = 2 * 3**9

REMOTE_WRITE = {
    "Content-Type": "application/x-protobuf",
    "Content-Encoding": "snappy",
    "X-Prometheus-Remote-Write-Version": "0.1.0",
}
LABEL = re.compile("(?!__)[a-zA-Z_][a-zA-Z0-9_]*")


@dataclass(frozen=True)
class Written:
    """What was written of one month: a file, names of blocks, or none where it was sent."""

    month: str
    series: int
    names: tuple[str, ...]


@dataclass(frozen=True)
class Wish:
    """What to write where.

    last      the newest published month that is over, when None
    out       a folder; the address of the receiver where it is to be sent
    labels    `job=rdspend`: what a Prometheus puts on all that it scrapes
    promtool  name or path of Prometheus' own tool, which makes the blocks
    """

    first: str
    last: str | None
    form: Form
    out: str
    labels: tuple[str, ...] = ()
    promtool: str = "promtool"


def backfill(config: Config, wish: Wish, now: float, say: Callable[[str], None] = lambda _: None) -> list[Written]:
    """Write the published months into a folder.

    now  seconds since the epoch: a month that still runs is shown by the daemon and never written here

    Raises ConfigError, before anything is written, when a month was never published or is not over.
    """
    months = chosen_months(config, wish.first, wish.last, now)
    pasts = _pasts(config, months, target_labels(wish.labels), say)
    if wish.form == "remote-write":
        return list(send(pasts, wish.out))
    tool = find_promtool(wish.promtool) if wish.form == "blocks" else ""
    out, written = Path(wish.out), []
    with _side_folder(out) as side:
        for month, past in pasts:
            text = side / f"rdspend-{month}.om"
            with text.open("w", encoding="utf-8", newline="\n") as file:
                file.writelines(past.open_metrics())
            names: tuple[str, ...] = (text.name,)
            if tool:
                names = make_blocks(tool, text, side / "blocks")
                text.unlink()
            written.append(Written(month, past.series, names))
        # Only what is whole is moved, and all of it at once: a Prometheus that looks sees no half history.
        for each in (side / "blocks" if tool else side).iterdir():
            each.replace(out / each.name)
    return written


def _pasts(
    config: Config, months: Iterable[str], labels: Mapping[str, str], say: Callable[[str], None]
) -> Iterator[tuple[str, Any]]:
    """Each month as the exporter writes it whose series the daemon shows; one month at a time is in memory."""
    exporter = configured_exporter(config)
    for month in months:
        say(f"backfilling {month}")
        yield month, exporter.past(Reader(config).breakdowns(Period(month, (month,)), None), config.daemon.periods, labels)


def send(pasts: Iterable[tuple[str, Any]], address: str) -> Iterator[Written]:
    """Send each month to a receiver of remote write. What was sent before a refusal stays; sending it again does no harm."""
    try:
        from cramjam import snappy
    except ImportError as error:
        raise ConfigError(
            "--format remote-write: the library cramjam is missing; pip install 'rdspend[remote_write]', or choose blocks"
        ) from error
    if not address.startswith(("http://", "https://")):
        raise ConfigError(f"--out {address!r}: expected a receiver's address such as http://127.0.0.1:9090/api/v1/write")
    for month, past in pasts:
        for request in past.write_requests():
            _post(address, bytes(snappy.compress_raw(request)), month)
        yield Written(month, past.series, ())


def _post(address: str, body: bytes, month: str) -> None:
    import urllib3

    try:
        answer = urllib3.request("POST", address, body=body, headers=REMOTE_WRITE, timeout=60, retries=3, redirect=False)
    except (urllib3.exceptions.HTTPError, OSError) as error:
        raise SourceUnavailable(f"--out {address!r}: did not answer for {month}: {error}") from error
    if answer.status // 100 == 2:
        return
    said = f"--out {address!r}: answered {answer.status} for {month}: {answer.data.decode(errors='replace').strip()[:300]}"
    if answer.status >= 500 and "too old" not in said:
        raise SourceUnavailable(said)
    raise ConfigError(
        f"{said}; expected a receiver that takes samples that old: in Prometheus storage.tsdb.out_of_order_time_window as long "
        "as the history, and its flag web.enable-remote-write-receiver"
    )


def chosen_months(config: Config, first: str, last: str | None, now: float) -> tuple[str, ...]:
    """The months asked for, each of them over and published under the configured policy."""
    running = f"{datetime.fromtimestamp(now, UTC):%Y-%m}"
    published = [month for month in published_months(config) if month < running]
    _refuse_other_than_month("--from", first)
    if last is None:
        last = max((month for month in published if month >= first), default=first)
    _refuse_other_than_month("--to", last)
    if last < first:
        raise ConfigError(f"--to {last!r}: found a month before --from {first}")
    if last >= running:
        raise ConfigError(
            f"--to {last!r}: {running} still runs; the daemon shows it, and only months that are over are written"
        )
    months = [first]
    while months[-1] < last:
        months.append(following(months[-1]))
    if missing := [month for month in months if month not in published]:
        known = f"there are {published[0]} to {published[-1]}" if published else "there is none"
        raise ConfigError(
            f"{', '.join(missing)}: never published under the policy {config.policy!r} ({known}); `rdspend run --period "
            f"{missing[0]}` publishes one; or choose others with --from and --to"
        )
    return tuple(months)


def published_months(config: Config) -> list[str]:
    """Months with a publication under the configured policy, oldest first."""
    options = config.engine
    with Engine(options.memory_limit, options.threads) as engine:
        Ledger(config.ledger).snapshot().view(engine, "publications")
        rows = engine.rows("SELECT DISTINCT period FROM publications WHERE policy = ? ORDER BY period", [config.policy])
    return [period for (period,) in rows if parse_period(period).months == (period,)]


def configured_exporter(config: Config) -> Any:
    """The exporter whose series the daemon shows, as it is configured; with its defaults when it is not."""
    kind = load_plugin("exporters", "prometheus")
    return next((plugin.instance for plugin in config.exporters if isinstance(plugin.instance, kind)), None) or kind()


def target_labels(texts: Iterable[str]) -> dict[str, str]:
    """Labels as they were written on the command line, `job=rdspend`."""
    labels: dict[str, str] = {}
    for text in texts:
        name, equals, value = text.partition("=")
        if not equals or not value or not LABEL.fullmatch(name) or name in labels:
            raise ConfigError(f"--label {text!r}: expected a label's name and value once, such as job=rdspend")
        labels[name] = value
    return labels


def find_promtool(name: str) -> str:
    found = shutil.which(name)
    if found is None:
        raise ConfigError(
            f"--promtool {name!r}: there is no such program; it comes with Prometheus (Debian and Ubuntu: the package "
            "prometheus). Install it, or name it with --promtool; or write --format openmetrics and make the blocks where it is"
        )
    return found


def make_blocks(promtool: str, text: Path, folder: Path) -> tuple[str, ...]:
    """Let promtool make blocks of an OpenMetrics file; their names."""
    folder.mkdir(exist_ok=True)
    before = {each.name for each in folder.iterdir()}
    words = ["tsdb", "create-blocks-from", "openmetrics", f"--max-block-duration={BLOCK_HOURS}h", str(text), str(folder)]
    done = subprocess.run([promtool, *words], capture_output=True, text=True, errors="replace", check=False)
    made = {each.name for each in folder.iterdir()} - before
    if done.returncode or not made:
        said = (done.stderr or done.stdout).strip() or "it said nothing and made no block"
        raise SourceUnavailable(f"{promtool} ended with {done.returncode} over {text.name}: {said}")
    return tuple(sorted(made))


def _refuse_other_than_month(option: str, text: str) -> None:
    if parse_period(text).months != (text,):
        raise ConfigError(f"{option} {text!r}: expected a month such as 2025-01")


@contextmanager
def _side_folder(out: Path) -> Iterator[Path]:
    """A folder inside `out`, so that what is done can be moved there whole; it goes whatever happens."""
    try:
        out.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".rdspend-backfill-", dir=out) as side:
            yield Path(side)
    except OSError as error:
        raise SourceUnavailable(
            f"--out {str(out)!r}: can't be written ({error.strerror or error}); make room or give the right to write"
        ) from error
