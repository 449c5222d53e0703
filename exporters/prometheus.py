"""prometheus: the breakdown as gauges, on a page of the daemon or as a text file for node_exporter.

Reads nothing but the finished breakdown; needs a port to listen on, or the right to write one file. A bill can be
restated downwards, so its money is a gauge for each billing period; only what rdspend itself asks and pays for is a
counter. There is no row of totals: `sum()` over all categories is the report's total. Values are floats (Prometheus has
no other): right to the cent, not to the ninth place; the report has all nine.

What it can't show: jobs, users and e-mail addresses never become labels (a team that looks like an address is shown as
`redacted-<8 hex>`, always the same for the same address). Past periods: scraping shows the present only; the months before
come from `rdspend backfill`.

Each family has at most `max_series` series. Where a breakdown has more cells, the smallest are folded into
`training_stage="other", team="other", cluster_name="other"` of their category; the sum stays the same, and
`rdspend_folded_series` says how many cells were folded. Before that, a breakdown names 2,000 teams and adds up the rest.

The daemon's page is Prometheus' text format, or OpenMetrics 1.0 for a scraper whose Accept header prefers it; no exemplars.

    [exporters.prometheus]
    listen = "127.0.0.1:9847"
    path = "/var/lib/node_exporter/rdspend.prom"     # only for node_exporter; {currency}, {period}, {policy} filled in
    max_series = 10000
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, InfoMetricFamily
from prometheus_client.openmetrics import exposition as open_metrics

from exporters.figures import CELLS_LEFT_AT_LEAST, describe
from exporters.history import Past, past_families
from exporters.metric_families import Family, currency_of
from exporters.whole_file import check_places, fill_places, write_whole
from rdspend.errors import ConfigError
from rdspend.schema import Breakdown, Health, Location

SYNTHETIC = b"# SYNTHETIC: made-up data. No real organisation spent this money.\n"
SPELLED_OTHERWISE = {"gpu.time": "rdspend_gpu"}
SUFFIXES = {"s": "_seconds", "1": "_ratio", "By": "_bytes"}

TEXT = "text/plain; version=0.0.4; charset=utf-8"
OPEN_METRICS = "application/openmetrics-text; version=1.0.0; charset=utf-8"


@dataclass(frozen=True)
class Prometheus:
    """Renders breakdowns as Prometheus text."""

    listen: str = "127.0.0.1:9847"
    path: Location | None = None
    max_series: int = 10_000

    def __post_init__(self) -> None:
        if self.max_series < CELLS_LEFT_AT_LEAST:
            raise ValueError(f"max_series: found {self.max_series}, expected at least {CELLS_LEFT_AT_LEAST}")
        if self.path is not None and self.path.startswith("s3://"):
            raise ValueError(f"path: found {self.path!r}, expected a file on this machine")
        check_places("path", self.path or "")

    def export(self, breakdown: Breakdown) -> None:
        """Write the breakdown to `path`, if there is one. Raises ConfigError where it would hide another currency."""
        if self.path is None:
            return
        path = Path(fill_places(self.path, breakdown))
        mark = f"# rdspend snapshot {breakdown.snapshot} in {breakdown.currency}\n".encode()
        _refuse_other_currency(path, breakdown)
        write_whole(path, mark + self.render((breakdown,), None))

    def render(self, breakdowns: Iterable[Breakdown], health: Health | None) -> bytes:
        """The page: families of the breakdowns, then those of rdspend itself (none of them without `health`).

        Cost and GPU time are shown once for each period and currency, shares for each policy. Raises ConfigError when
        `max_series` is too small to keep the categories of that many breakdowns apart.
        """
        shown = tuple(breakdowns)
        return _text(shown, self._registry(shown, health))

    def forms(self, breakdowns: Iterable[Breakdown], health: Health) -> Mapping[str, bytes]:
        """The page as OpenMetrics, which has no room for a comment on made-up data, and as text."""
        shown = tuple(breakdowns)
        registry = self._registry(shown, health)
        pages: bytes = open_metrics.generate_latest(registry)  # type: ignore[no-untyped-call]
        return {OPEN_METRICS: pages, TEXT: _text(shown, registry)}

    def _registry(self, shown: Sequence[Breakdown], health: Health | None) -> CollectorRegistry:
        registry = CollectorRegistry(auto_describe=False)
        registry.register(_Page(describe(shown, health, self.max_series, "exporters.prometheus", spelled)))
        return registry

    def past(self, breakdowns: Sequence[Breakdown], months_shown: int, target: Mapping[str, str]) -> Past:
        """One past month, with a sample of each of its series on each of its days.

        breakdowns    of that month, one for each currency
        months_shown  how many months the page shows at once: they share `max_series`, so the same teams are folded
        target        labels that Prometheus puts on all that it scrapes from the page
        """
        families = past_families(breakdowns, self.max_series // months_shown, "exporters.prometheus", spelled)
        return Past(breakdowns[0], families, target)


class _Page:
    """What the client library asks for samples."""

    def __init__(self, families: Iterable[Family]) -> None:
        self.families = families

    def collect(self) -> Iterator[CounterMetricFamily | GaugeMetricFamily | InfoMetricFamily]:
        for each in self.families:
            if each.name.endswith("_info"):
                info = InfoMetricFamily(each.name.removesuffix("_info"), each.words, labels=each.labels)
                for values in each.samples:
                    info.add_metric(values, {})
                yield info
                continue
            kind = CounterMetricFamily if each.counter else GaugeMetricFamily
            family = kind(each.name, each.words, labels=each.labels, unit=suffix_of(each.unit).removeprefix("_"))
            for values, value in each.samples.items():
                family.add_metric(values, float(value))
            yield family


def _text(shown: Iterable[Breakdown], registry: CollectorRegistry) -> bytes:
    mark = SYNTHETIC if any(b.synthetic for b in shown) else b""
    return mark + generate_latest(registry)


def spelled(name: str, unit: str) -> str:
    """The name of a family as Prometheus wants it, less the `_total` of a counter."""
    return SPELLED_OTHERWISE.get(name, "rdspend_" + name.replace(".", "_")) + suffix_of(unit)


def suffix_of(unit: str) -> str:
    """What a unit puts at the end of a name: `_usd`, `_usd_per_hour`, `_seconds`."""
    currency = currency_of(unit)
    if currency is None:
        return SUFFIXES.get(unit, "")
    return "_" + re.sub(r"[^a-z0-9]", "_", currency.lower()) + ("_per_hour" if unit.endswith("/h") else "")


def _refuse_other_currency(path: Path, breakdown: Breakdown) -> None:
    try:
        with path.open("rb") as file:
            there = file.readline().decode(errors="replace")
    except OSError:
        return
    start = f"# rdspend snapshot {breakdown.snapshot} in "
    if there.startswith(start) and there != f"{start}{breakdown.currency}\n":
        raise ConfigError(
            f"exporters.prometheus.path: {path} holds this snapshot in {there.removeprefix(start).strip()}, "
            f"and the one in {breakdown.currency} would replace it; put {{currency}} into the file's name"
        )
