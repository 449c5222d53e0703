"""otlp: the figures of the prometheus exporter as OpenTelemetry metrics, and rdspend's own traces and logs, pushed by OTLP.

Reads nothing but finished breakdowns; needs the extra `rdspend[otlp]`, a receiver that takes OTLP by HTTP or gRPC, and the
permission to write there (`OTEL_EXPORTER_OTLP_HEADERS`). It speaks to that one address only; redirects are refused.

Metrics are pushed after every run: each run of the daemon with all months on its page, each `rdspend run` with the months it
published. Money and GPU time are gauges, since a bill can be restated downwards; only what rdspend itself asks, pays and fails
to send is a sum that never falls. Values are floats: right to the cent. Labels are those of the prometheus exporter, money has
`currency` besides: never add two currencies. A family has at most `max_series` series; what is more is folded.

A receiver that does not take it is counted (`rdspend.export.failures`), told on standard error, and disturbs nothing: a push
ends after the time that `OTEL_EXPORTER_OTLP_TIMEOUT` allows, 10 s when not set.

What it can't show: past months (a push shows the present), and over gRPC points that a receiver took the request of but threw
away. With temporality `delta`, a counter begins with the second push of a process.

    [exporters.otlp]
    endpoint = "http://collector:4318"     # else OTEL_EXPORTER_OTLP_ENDPOINT, else this machine
    protocol = "http/protobuf"             # or "grpc"
    signals = ["metrics", "traces", "logs"]

Every variable OTEL_EXPORTER_OTLP_* of the OpenTelemetry specification works, with its twins for METRICS, TRACES and LOGS, and
OTEL_SERVICE_NAME, OTEL_RESOURCE_ATTRIBUTES, OTEL_SDK_DISABLED and OTEL_METRICS_EXPORTER (`none`). A key of this table goes
before its variable. Times are milliseconds, as the specification says; OpenTelemetry's own Python library takes seconds.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import cached_property
from importlib.metadata import version
from typing import Any, Literal

from opentelemetry.sdk.metrics.export import (
    AggregationTemporality,
    Gauge,
    Metric,
    MetricsData,
    NumberDataPoint,
    ResourceMetrics,
    ScopeMetrics,
    Sum,
)
from opentelemetry.sdk.resources import OTELResourceDetector, Resource
from opentelemetry.sdk.util.instrumentation import InstrumentationScope

from exporters.figures import CELLS_LEFT_AT_LEAST, describe
from exporters.metric_families import Family, currency_of
from exporters.otlp_sending import Sending, Settings, disabled, keeping_logs, keeping_spans, preferred_temporality
from rdspend.errors import SourceUnavailable
from rdspend.schema import Breakdown, Health

POINTS_A_REQUEST = 2000
"""A gRPC receiver takes 4 MiB in one message unless told otherwise; a point with all labels at their longest takes 1.6 kB."""


@dataclass(frozen=True)
class Otlp:
    """Pushes breakdowns, the health of rdspend, and its own traces and logs."""

    endpoint: str | None = None
    protocol: Literal["http/protobuf", "grpc"] | None = None
    signals: tuple[Literal["metrics", "traces", "logs"], ...] = ("metrics",)
    max_series: int = 10_000

    def __post_init__(self) -> None:
        if self.max_series < CELLS_LEFT_AT_LEAST:
            raise ValueError(f"max_series: found {self.max_series}, expected at least {CELLS_LEFT_AT_LEAST}")
        for signal in self.signals:
            Settings.read(signal, self.endpoint, self.protocol)

    @cached_property
    def _resource(self) -> Resource:
        """Who sends: the variables of OpenTelemetry before our own words. No instance id: a run of cron is no new service."""
        own = {"service.name": "rdspend", "service.version": version("rdspend"), "telemetry.sdk.language": "python"}
        return Resource(own).merge(OTELResourceDetector().detect())

    @cached_property
    def _sending(self) -> Sending:
        return Sending()

    @cached_property
    def _counted(self) -> dict[tuple[str, str, tuple[str, ...]], tuple[int, float]]:
        """Time and value of each counter at its last push."""
        return {}

    def export(self, breakdown: Breakdown) -> None:
        """Push one breakdown alone. Raises SourceUnavailable when it was not taken."""
        self.push((breakdown,), None)

    @contextmanager
    def observing(self) -> Iterator[None]:
        """Keep spans and log records for the next push, as far as `signals` says."""
        with ExitStack() as stack:
            if "traces" in self._sent:
                stack.enter_context(keeping_spans(self._sending.spans, self._resource))
            if "logs" in self._sent:
                stack.enter_context(keeping_logs(self._sending.logs, self._resource))
            yield

    @property
    def _sent(self) -> tuple[str, ...]:
        return tuple(signal for signal in self.signals if not disabled(signal))

    def push(self, breakdowns: Iterable[Breakdown], health: Health | None) -> None:
        """Send all of it. Raises SourceUnavailable when it was not taken in time, ConservationError before sending what does
        not close."""
        families = describe(tuple(breakdowns), health, self.max_series, "exporters.otlp", spelled)
        batches: dict[str, list[Any]] = {}
        now = time.time_ns()
        if "metrics" in self._sent and families:
            batches["metrics"] = list(self._requests(families, now))
        if "traces" in self._sent:
            batches["traces"] = self._sending.spans.taken(POINTS_A_REQUEST)
        if "logs" in self._sent:
            batches["logs"] = self._sending.logs.taken(POINTS_A_REQUEST)
        settings = {signal: Settings.read(signal, self.endpoint, self.protocol) for signal, parts in batches.items() if parts}
        refused = self._sending.send(settings, batches)
        if "metrics" in settings and "metrics" not in refused:
            self._remember(families, now)
        if refused:
            raise SourceUnavailable("; ".join(refused.values()))

    # --- figures as points --------------------------------------------------------------------------------------------

    def _requests(self, families: Iterable[Family], now: int) -> Iterator[MetricsData]:
        """The figures in parts that a receiver takes in one request."""
        scope = InstrumentationScope("rdspend", version("rdspend"))
        part: list[Metric] = []
        room = POINTS_A_REQUEST
        for family in families:
            points = self._points(family, now)
            while points:
                taken, points = points[:room], points[room:]
                part.append(Metric(family.name, family.words, family.unit, self._data(family, taken)))
                room -= len(taken)
                if not room:
                    yield self._request(scope, part)
                    part, room = [], POINTS_A_REQUEST
        if part:
            yield self._request(scope, part)

    def _request(self, scope: InstrumentationScope, metrics: list[Metric]) -> MetricsData:
        return MetricsData([ResourceMetrics(self._resource, [ScopeMetrics(scope, list(metrics), "")], "")])

    def _data(self, family: Family, points: list[NumberDataPoint]) -> Sum | Gauge:
        if not family.counter:
            return Gauge(points)
        return Sum(points, AggregationTemporality.DELTA if delta() else AggregationTemporality.CUMULATIVE, True)

    def _points(self, family: Family, now: int) -> list[NumberDataPoint]:
        points = []
        currency = currency_of(family.unit)
        for labels, number in family.samples.items():
            value, start = float(number), 0
            if family.counter and delta():
                before = self._counted.get((family.name, family.unit, labels))
                if before is None:
                    continue  # what was counted before this process may have been told by another
                start, value = before[0], value - before[1]
            attributes = dict(zip(family.labels, labels, strict=True))
            if currency:
                attributes.setdefault("currency", currency)
            points.append(NumberDataPoint(attributes, start, now, value))
        return points

    def _remember(self, families: Iterable[Family], now: int) -> None:
        for family in families:
            if family.counter:
                for labels, value in family.samples.items():
                    self._counted[family.name, family.unit, labels] = (now, float(value))


def spelled(name: str, unit: str) -> str:
    """The name of a metric: the unit stands beside it, not in it."""
    return f"rdspend.{name}"


def delta() -> bool:
    """Whether counters are told by what they grew. `lowmemory` means it of counters that are added to; ours are read."""
    return preferred_temporality() == "delta"
