"""Receivers of OTLP on real sockets: HTTP, with or without TLS, and gRPC. They keep what they were sent, and answer as told."""

from __future__ import annotations

import gzip
import socket
import ssl
import threading
import time
import zlib
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import grpc
from opentelemetry.proto.collector.logs.v1 import logs_service_pb2, logs_service_pb2_grpc
from opentelemetry.proto.collector.metrics.v1 import metrics_service_pb2, metrics_service_pb2_grpc
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2, trace_service_pb2_grpc

REQUESTS: dict[str, Any] = {
    "metrics": metrics_service_pb2.ExportMetricsServiceRequest,
    "traces": trace_service_pb2.ExportTraceServiceRequest,
    "logs": logs_service_pb2.ExportLogsServiceRequest,
}


@dataclass
class Request:
    signal: str
    headers: Mapping[str, str]
    message: Any
    path: str = ""


@dataclass(frozen=True)
class Answer:
    status: int = 200
    body: bytes = b""
    headers: Mapping[str, str] = field(default_factory=lambda: {"Content-Type": "application/x-protobuf"})


@dataclass
class Receiver:
    """`answer` says what an HTTP request gets; `code` what a gRPC one gets."""

    address: str = ""
    requests: list[Request] = field(default_factory=list)
    answer: Callable[[Request], Answer] = lambda _: Answer()
    code: grpc.StatusCode = grpc.StatusCode.OK

    def messages(self, signal: str) -> list[Any]:
        return [request.message for request in self.requests if request.signal == signal]

    def metrics(self) -> list[Any]:
        return [
            metric
            for message in self.messages("metrics")
            for of_resource in message.resource_metrics
            for of_scope in of_resource.scope_metrics
            for metric in of_scope.metrics
        ]

    def points(self, name: str, unit: str | None = None) -> dict[tuple[tuple[str, str], ...], float]:
        """Values of a metric by its sorted attributes."""
        found: dict[tuple[tuple[str, str], ...], float] = {}
        for metric in self.metrics():
            if metric.name == name and unit in (None, metric.unit):
                for point in data_points(metric):
                    found[tuple(sorted(attributes(point).items()))] = point.as_double
        return found

    def resource(self) -> dict[str, str]:
        return attributes(self.messages("metrics")[0].resource_metrics[0].resource)

    def spans(self) -> list[Any]:
        return [
            span
            for message in self.messages("traces")
            for of_resource in message.resource_spans
            for of_scope in of_resource.scope_spans
            for span in of_scope.spans
        ]

    def records(self) -> list[Any]:
        return [
            record
            for message in self.messages("logs")
            for of_resource in message.resource_logs
            for of_scope in of_resource.scope_logs
            for record in of_scope.log_records
        ]


def data_points(metric: Any) -> list[Any]:
    return list(getattr(metric, metric.WhichOneof("data")).data_points)


def attributes(holder: Any) -> dict[str, str]:
    return {each.key: getattr(each.value, each.value.WhichOneof("value") or "string_value") for each in holder.attributes}


@contextmanager
def http_receiver(certificate: str | None = None) -> Iterator[Receiver]:
    """certificate: a PEM file with key and certificate; then it speaks TLS."""
    receiver = Receiver()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            packing = self.headers.get("Content-Encoding", "")
            body = {"gzip": gzip.decompress, "deflate": zlib.decompress}.get(packing, bytes)(body)
            signal = self.path.rpartition("/")[2]
            headers = {key.lower(): value for key, value in self.headers.items()}
            request = Request(signal, headers, REQUESTS[signal].FromString(body), self.path)
            answer = receiver.answer(request)
            if answer.status == 200:
                receiver.requests.append(request)
            self.send_response(answer.status)
            for key, value in answer.headers.items():
                self.send_header(key, value)
            self.send_header("Content-Length", str(len(answer.body)))
            self.end_headers()
            self.wfile.write(answer.body)

        def log_message(self, *_: object) -> None: ...

    class Server(ThreadingHTTPServer):
        daemon_threads = True

        def handle_error(self, *_: object) -> None: ...

    server = Server(("127.0.0.1", 0), Handler)
    scheme = "http"
    if certificate is not None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate)
        server.socket = context.wrap_socket(server.socket, server_side=True)
        scheme = "https"
    receiver.address = f"{scheme}://localhost:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    try:
        yield receiver
    finally:
        server.shutdown()
        server.server_close()
        thread.join(5)


@contextmanager
def grpc_receiver(certificate: str | None = None) -> Iterator[Receiver]:
    receiver = Receiver()
    services: dict[str, tuple[Any, Any, Any]] = {
        "metrics": (
            metrics_service_pb2_grpc.MetricsServiceServicer,
            metrics_service_pb2_grpc.add_MetricsServiceServicer_to_server,
            metrics_service_pb2.ExportMetricsServiceResponse,
        ),
        "traces": (
            trace_service_pb2_grpc.TraceServiceServicer,
            trace_service_pb2_grpc.add_TraceServiceServicer_to_server,
            trace_service_pb2.ExportTraceServiceResponse,
        ),
        "logs": (
            logs_service_pb2_grpc.LogsServiceServicer,
            logs_service_pb2_grpc.add_LogsServiceServicer_to_server,
            logs_service_pb2.ExportLogsServiceResponse,
        ),
    }
    server = grpc.server(ThreadPoolExecutor(4))

    def serving(signal: str, base: Any, response: Any) -> Any:
        class Service(base):  # type: ignore[misc]
            def Export(self, message: Any, context: Any) -> Any:  # noqa: N802
                if receiver.code is not grpc.StatusCode.OK:
                    context.abort(receiver.code, "told to refuse")
                receiver.requests.append(Request(signal, dict(context.invocation_metadata()), message))
                return response()

        return Service()

    for signal, (base, add, response) in services.items():
        add(serving(signal, base, response), server)
    if certificate is None:
        port = server.add_insecure_port("localhost:0")
    else:
        pem = Path(certificate).read_bytes()
        port = server.add_secure_port("localhost:0", grpc.ssl_server_credentials([(pem, pem)]))
    receiver.address = f"{'http' if certificate is None else 'https'}://localhost:{port}"
    server.start()
    try:
        yield receiver
    finally:
        server.stop(0).wait(5)


@contextmanager
def silent_server(drip_seconds: float | None = None) -> Iterator[str]:
    """Takes connections and never answers; with `drip_seconds`, a byte of an answer so often, without end."""
    listening = socket.create_server(("127.0.0.1", 0))
    held: list[socket.socket] = []
    ending = threading.Event()

    def drip(client: socket.socket) -> None:
        try:
            client.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n")
            while not ending.wait(drip_seconds):
                client.sendall(b"x")
        except OSError:
            return

    def accept() -> None:
        while not ending.is_set():
            try:
                client, _ = listening.accept()
            except OSError:
                return
            held.append(client)
            if drip_seconds is not None:
                threading.Thread(target=drip, args=(client,), daemon=True).start()

    thread = threading.Thread(target=accept, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{listening.getsockname()[1]}"
    finally:
        ending.set()
        listening.shutdown(socket.SHUT_RDWR)
        listening.close()
        for client in held:
            client.close()
        thread.join(5)


def wait_until(said: Callable[[], object], seconds: float = 30) -> None:
    deadline = time.monotonic() + seconds
    while not said():
        assert time.monotonic() < deadline, f"not within {seconds} s"
        time.sleep(0.05)
