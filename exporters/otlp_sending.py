"""How the otlp exporter sends: OpenTelemetry's variables, spans and log records kept until the next push, a time limit.

OpenTelemetry's own exporters encode, compress and speak to the receiver. What is asked of them is their own answer for each
request, never `force_flush`, which says yes after a refusal; and what they take for success and is none, is refused: a
redirect, and an answer that says how many points were thrown away.
"""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from importlib.util import find_spec
from typing import Any, Literal
from urllib.parse import urlsplit

from opentelemetry import trace
from opentelemetry._logs import LogRecord, SeverityNumber
from opentelemetry.context import get_current
from opentelemetry.sdk._logs import LoggerProvider
from opentelemetry.sdk._logs.export import LogRecordExporter, LogRecordExportResult, SimpleLogRecordProcessor
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan, SpanProcessor, TracerProvider

Protocol = Literal["http/protobuf", "grpc"]
PROTOCOLS = ("http/protobuf", "grpc")
COMPRESSIONS = {"http/protobuf": ("none", "gzip", "deflate"), "grpc": ("none", "gzip")}
TEMPORALITIES = ("cumulative", "delta", "lowmemory")

KEPT_AT_MOST = 20_000
LONGEST_RECORD = 4000
LONGEST_ANSWER_BYTES = 1 << 20
GRACE_SECONDS = 0.5
"""Between the time limit of a request and the end of waiting for it: its own error says more than ours."""


# --- what the environment says ----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Settings:
    """How one signal is sent. What is not here (endpoint, headers, certificates), OpenTelemetry's exporters read themselves.

    endpoint     the configuration's, as the base of all signals; None: the environment's
    """

    signal: str
    endpoint: str | None
    protocol: str
    compression: str
    timeout_seconds: float

    @classmethod
    def read(cls, signal: str, endpoint: str | None, protocol: Protocol | None) -> Settings:
        """The settings now. Raises ValueError for a variable that can't be what it is."""
        chosen = protocol or _chosen(signal, "PROTOCOL", PROTOCOLS, "http/protobuf")
        if not _installed(chosen):
            raise ValueError(f"OpenTelemetry's exporter for {chosen} is not there; install it: pip install 'rdspend[otlp]'")
        if endpoint is not None and chosen != "grpc" and urlsplit(endpoint).scheme not in ("http", "https"):
            raise ValueError(f"endpoint: found {endpoint!r}, expected http:// or https:// and a host")
        if signal == "metrics":
            preferred_temporality()
        return cls(
            signal, endpoint, chosen, _chosen(signal, "COMPRESSION", COMPRESSIONS[chosen], "none"), _timeout_seconds(signal)
        )

    @property
    def place(self) -> str:
        """Where it goes, in words, without a password."""
        said = self.endpoint or _variable(self.signal, "ENDPOINT")[1]
        return urlsplit(said).netloc.rpartition("@")[2] or said or "this machine"


def _installed(protocol: str) -> bool:
    try:
        return find_spec(f"opentelemetry.exporter.otlp.proto.{protocol.partition('/')[0]}") is not None
    except ModuleNotFoundError:
        return False


def disabled(signal: str) -> bool:
    """Whether the environment says that a signal is not sent at all."""
    if os.environ.get("OTEL_SDK_DISABLED", "").strip().lower() == "true":
        return True
    exporters = os.environ.get(f"OTEL_{signal.upper()}_EXPORTER", "").strip()
    return bool(exporters) and "otlp" not in [each.strip() for each in exporters.split(",")]


def preferred_temporality() -> str:
    name = "OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE"
    return _one_of(name, os.environ.get(name, ""), TEMPORALITIES, "cumulative")


def _variable(signal: str, name: str) -> tuple[str, str]:
    """Name and value of a variable: the signal's own before the one of all signals; an empty one is not set."""
    names = (f"OTEL_EXPORTER_OTLP_{signal.upper()}_{name}", f"OTEL_EXPORTER_OTLP_{name}")
    return next(((each, os.environ[each]) for each in names if os.environ.get(each, "").strip()), (names[1], ""))


def _chosen(signal: str, name: str, known: Sequence[str], default: str) -> str:
    variable, value = _variable(signal, name)
    return _one_of(variable, value, known, default)


def _one_of(variable: str, value: str, known: Sequence[str], default: str) -> str:
    said = value.strip().lower() or default
    if said not in known:
        raise ValueError(f"{variable}: found {value!r}, expected {', '.join(known[:-1])} or {known[-1]}")
    return said


def _timeout_seconds(signal: str) -> float:
    """Milliseconds, as the specification has it: OpenTelemetry's library for Python would take them for seconds."""
    variable, value = _variable(signal, "TIMEOUT")
    if not value:
        return 10.0
    if not value.strip().isdecimal() or int(value) == 0:
        raise ValueError(f"{variable}: found {value!r}, expected a whole number of milliseconds")
    return int(value) / 1000


# --- what is kept until the next push ---------------------------------------------------------------------------------


@dataclass
class Kept:
    """Spans or log records that wait; no more than KEPT_AT_MOST, the newest are dropped and counted."""

    items: list[Any] = field(default_factory=list)
    dropped: int = 0

    def keep(self, item: Any) -> None:
        if len(self.items) < KEPT_AT_MOST:
            self.items.append(item)
        else:
            self.dropped += 1

    def taken(self, most: int) -> list[Any]:
        """All of them, in parts; they wait no longer, whether the receiver takes them or not."""
        items, self.items = self.items, []
        return [items[start : start + most] for start in range(0, len(items), most)]


class _Spans(SpanProcessor):
    def __init__(self, kept: Kept) -> None:
        self.kept: Kept | None = kept

    def on_end(self, span: ReadableSpan) -> None:
        if self.kept is not None and span.context and span.context.trace_flags.sampled:
            self.kept.keep(span)


class _Records(LogRecordExporter):
    def __init__(self, kept: Kept) -> None:
        self.kept = kept

    def export(self, batch: Sequence[Any]) -> LogRecordExportResult:
        for record in batch:
            self.kept.keep(record)
        return LogRecordExportResult.SUCCESS

    def shutdown(self) -> None: ...

    def force_flush(self, timeout_millis: int = 0) -> bool:
        return True


SEVERITIES = {
    logging.INFO: SeverityNumber.INFO,
    logging.WARNING: SeverityNumber.WARN,
    logging.ERROR: SeverityNumber.ERROR,
}


class _Handler(logging.Handler):
    """Python's log records as OpenTelemetry's, within the span they were made in."""

    def __init__(self, provider: LoggerProvider) -> None:
        super().__init__(logging.INFO)
        self.logger = provider.get_logger("rdspend")

    def emit(self, record: logging.LogRecord) -> None:
        self.logger.emit(
            LogRecord(
                timestamp=int(record.created * 1e9),
                observed_timestamp=time.time_ns(),
                context=get_current(),
                severity_text=record.levelname,
                severity_number=SEVERITIES.get(record.levelno, SeverityNumber.UNSPECIFIED),
                body=record.getMessage()[:LONGEST_RECORD],
            )
        )


@contextmanager
def keeping_spans(kept: Kept, resource: Resource) -> Iterator[None]:
    """Keep every span that ends meanwhile. An operator's own set-up of OpenTelemetry stays, and ours is put beside it."""
    if isinstance(trace.get_tracer_provider(), trace.ProxyTracerProvider):
        trace.set_tracer_provider(TracerProvider(resource=resource, shutdown_on_exit=False))
    provider = trace.get_tracer_provider()
    spans = _Spans(kept)
    if isinstance(provider, TracerProvider):
        provider.add_span_processor(spans)
    try:
        yield
    finally:
        spans.kept = None  # a processor can't be taken away again


@contextmanager
def keeping_logs(kept: Kept, resource: Resource) -> Iterator[None]:
    """Keep every record of rdspend's log."""
    provider = LoggerProvider(resource=resource, shutdown_on_exit=False)
    provider.add_log_record_processor(SimpleLogRecordProcessor(_Records(kept)))
    log, handler = logging.getLogger("rdspend"), _Handler(provider)
    level = log.level
    log.addHandler(handler)
    log.setLevel(logging.INFO)
    try:
        yield
    finally:
        log.removeHandler(handler)
        log.setLevel(level)


# --- sending ----------------------------------------------------------------------------------------------------------


@dataclass
class Sending:
    """Sends within a time limit. A request that goes on after it is left behind; until it ends, nothing else is sent."""

    spans: Kept = field(default_factory=Kept)
    logs: Kept = field(default_factory=Kept)
    _behind: list[_Request] = field(default_factory=list)
    _said: _Said = field(default_factory=lambda: _Said())

    def send(self, settings: Mapping[str, Settings], batches: Mapping[str, Sequence[Any]]) -> dict[str, str]:
        """Send the batches of each signal, all signals at once. Why a signal was not taken, for those that were not."""
        self._behind = [request for request in self._behind if request.is_alive()]
        if self._behind:
            return dict.fromkeys(settings, f"nothing sent: {self._behind[0].settings.place} still holds up the push before")
        kinds = {protocol: _kinds(protocol) for protocol in {each.protocol for each in settings.values()}}
        requests = [_Request(each, kinds[each.protocol][signal], batches[signal]) for signal, each in settings.items()]
        self._said.listen()
        for request in requests:
            request.start()
        for request in requests:
            request.join(max(0.0, request.ends + GRACE_SECONDS - time.monotonic()))
        self._behind = [request for request in requests if request.is_alive()]
        refused = {request.settings.signal: self._refused(request) for request in requests if not request.done}
        for request in self._behind:
            request.abandon()
        if not self._behind:
            self._said.end()
        return refused

    def _refused(self, request: _Request) -> str:
        """Why not all of a request was taken."""
        late = f"no answer within {request.settings.timeout_seconds:g} s" if request in self._behind else ""
        why = request.error or late or self._said.words(request.ident) or "no reason is known"
        part = f" ({request.taken} of {len(request.batches)} parts were taken)" if request.taken else ""
        return f"{request.settings.signal} to {request.settings.place}: {why}{part}"


class _Request(threading.Thread):
    """One signal's batches to its receiver; the first that is not taken ends it."""

    def __init__(self, settings: Settings, kind: Any, batches: Sequence[Any]) -> None:
        super().__init__(name=f"otlp {settings.signal}", daemon=True)
        self.settings, self.kind, self.batches = settings, kind, batches
        self.taken, self.error, self.done = 0, "", False
        self.ends = time.monotonic() + settings.timeout_seconds
        self._exporter: Any = None
        self._abandoned = False

    def run(self) -> None:
        try:
            self._exporter = _exporter(self.settings, self.kind)
            for batch in self.batches:
                if time.monotonic() > self.ends:
                    self.error = f"not all was taken within {self.settings.timeout_seconds:g} s"
                    break
                if self._exporter.export(batch).name != "SUCCESS":
                    break
                self.taken += 1
            self.done = self.taken == len(self.batches)
            if not self._abandoned:
                self._exporter.shutdown()
        except Exception as error:  # noqa: BLE001  whatever goes wrong in there is told by who waits for it
            self.error = f"{type(error).__name__}: {error}"

    def abandon(self) -> None:
        """Ask it to end: the library would try again."""
        self._abandoned = True
        with suppress(Exception):
            self._exporter.shutdown()


class _Said(logging.Handler):
    """What OpenTelemetry's exporters say while they send, by thread: it is told in our words, and not printed besides."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self._words: dict[int | None, list[str]] = {}
        self._log = logging.getLogger("opentelemetry.exporter")
        self._filters: dict[logging.Logger, Any] = {}

    def emit(self, record: logging.LogRecord) -> None:
        self._words.setdefault(record.thread, []).append(record.getMessage()[:LONGEST_RECORD])

    def words(self, thread: int | None) -> str:
        """What was said first and last."""
        said = self._words.get(thread, [])
        return "; ".join(dict.fromkeys([*said[:1], *said[-1:]]))

    def listen(self) -> None:
        """Hear all of it: a filter of the library's own lets the same words through once in 20 s only."""
        self._words.clear()
        self._log.addHandler(self)
        self._log.propagate = False
        for name, log in logging.root.manager.loggerDict.items():
            if name.startswith(f"{self._log.name}.") and isinstance(log, logging.Logger) and log.filters:
                self._filters[log], log.filters = log.filters, []

    def end(self) -> None:
        self._log.removeHandler(self)
        self._log.propagate = True
        for log, filters in self._filters.items():
            log.filters = filters
        self._filters.clear()


class Refused(Exception):
    """What the library would take for success."""


def _kinds(protocol: str) -> dict[str, Any]:
    """OpenTelemetry's exporter of each signal."""
    if protocol == "grpc":
        from opentelemetry.exporter.otlp.proto.grpc._log_exporter import OTLPLogExporter as Logs
        from opentelemetry.exporter.otlp.proto.grpc.metric_exporter import OTLPMetricExporter as Metrics
        from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter as Traces

        return {"metrics": Metrics, "traces": Traces, "logs": Logs}
    from opentelemetry.exporter.otlp.proto.http._log_exporter import OTLPLogExporter
    from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter

    return {"metrics": OTLPMetricExporter, "traces": OTLPSpanExporter, "logs": OTLPLogExporter}


def _exporter(settings: Settings, kind: Any) -> Any:
    if settings.protocol == "grpc":
        from grpc import Compression

        packing = {"none": Compression.NoCompression, "gzip": Compression.Gzip}[settings.compression]
        return kind(endpoint=settings.endpoint, timeout=settings.timeout_seconds, compression=packing)
    from opentelemetry.exporter.otlp.proto.http import Compression as Packing

    return kind(
        endpoint=settings.endpoint and f"{settings.endpoint.rstrip('/')}/v1/{settings.signal}",
        timeout=settings.timeout_seconds,
        compression=Packing(settings.compression),
        session=_session(settings.signal),
    )


def _session(signal: str) -> Any:
    """What HTTP requests are made with."""
    from requests import Session

    class Own(Session):
        def merge_environment_settings(self, *arguments: Any) -> Any:
            """OTEL_EXPORTER_OTLP_CERTIFICATE goes before REQUESTS_CA_BUNDLE, which would win otherwise."""
            merged = super().merge_environment_settings(*arguments)
            return merged | {"verify": self.verify} if isinstance(self.verify, str) else merged

    session = Own()
    session.max_redirects = 0
    session.hooks["response"].append(lambda answer, *_, **__: _check(signal, answer))
    return session


def _check(signal: str, answer: Any) -> None:
    """Raise Refused for an answer that is no yes, though the library takes it for one."""
    body = answer.raw.read(LONGEST_ANSWER_BYTES + 1, decode_content=True)
    if len(body) > LONGEST_ANSWER_BYTES:
        answer.close()
        raise Refused(f"HTTP {answer.status_code} with an endless answer")
    if 300 <= answer.status_code < 400:
        raise Refused(f"HTTP {answer.status_code}, a redirect; name the address it leads to")
    if answer.ok and "protobuf" in answer.headers.get("content-type", ""):
        rejected, words = _rejected(signal, body)
        if rejected:
            raise Refused(f"{rejected} of them were thrown away: {words}")


def _rejected(signal: str, body: bytes) -> tuple[int, str]:
    from google.protobuf.message import DecodeError
    from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceResponse
    from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceResponse
    from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceResponse

    kinds: dict[str, tuple[Any, str]] = {
        "metrics": (ExportMetricsServiceResponse, "rejected_data_points"),
        "traces": (ExportTraceServiceResponse, "rejected_spans"),
        "logs": (ExportLogsServiceResponse, "rejected_log_records"),
    }
    kind, count = kinds[signal]
    try:
        partial = kind.FromString(body).partial_success
    except DecodeError:
        return 0, ""
    return getattr(partial, count), partial.error_message
