"""Serves prepared pages over HTTP: bytes in memory, swapped whole, gzipped once."""

from __future__ import annotations

import socketserver
import sys
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from socket import AF_INET, AF_INET6, socket

from rdspend.errors import ConfigError

TEXT = "text/plain; version=0.0.4; charset=utf-8"
HTML = "text/html; charset=utf-8"
REQUEST_SECONDS = 30
CONNECTIONS = 64


@dataclass(frozen=True)
class Answer:
    """One page, ready to be sent."""

    status: int
    content_type: str
    body: bytes
    packed: bytes | None = None


NOT_FOUND = Answer(404, TEXT, b"404: see / for the pages there are\n")
HEALTHY = Answer(200, TEXT, b"rdspend is alive\n")
READY = Answer(200, TEXT, b"rdspend is ready\n")
NOT_READY = Answer(503, TEXT, b"rdspend has not finished a run yet\n")


class Server(ThreadingHTTPServer):
    """Serves prepared answers; a connection too many waits in the kernel's queue."""

    daemon_threads = True
    request_queue_size = 128

    def __init__(self, key: str, listen: str) -> None:
        host, colon, port = listen.rpartition(":")
        if not colon or not port.isdecimal() or int(port) > 65535:
            raise ConfigError(f'{key}: found "{listen}", expected host:port, e.g. "127.0.0.1:9847"')
        self.answers: Mapping[str, Answer] = {}
        self._free = threading.BoundedSemaphore(CONNECTIONS)
        self.address_family = AF_INET6 if host.startswith("[") else AF_INET
        try:
            super().__init__((host.strip("[]"), int(port)), _Request)
        except OSError as error:
            raise ConfigError(
                f'{key}: can\'t listen on "{listen}" ({error.strerror or error}); name a free address of this machine'
            ) from error

    def server_bind(self) -> None:
        # HTTPServer's own form asks the DNS for this machine's name and may wait for it.
        socketserver.TCPServer.server_bind(self)
        self.server_name, self.server_port = str(self.server_address[0]), int(self.server_address[1])

    def process_request(self, request: socket | tuple[bytes, socket], client_address: object) -> None:
        if self._free.acquire(timeout=1):
            super().process_request(request, client_address)
        else:
            self.shutdown_request(request)

    def process_request_thread(self, request: socket | tuple[bytes, socket], client_address: object) -> None:
        try:
            super().process_request_thread(request, client_address)
        finally:
            self._free.release()

    def handle_error(self, request: socket | tuple[bytes, socket], client_address: object) -> None:
        """A client that went away is no event."""
        if not isinstance(sys.exception(), OSError):
            super().handle_error(request, client_address)


class _Request(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    timeout = REQUEST_SECONDS
    disable_nagle_algorithm = True  # head and body are two writes; without it the second waits for an acknowledgement
    wbufsize = -1
    server: Server

    def do_GET(self) -> None:
        answer = self.server.answers.get(self.path.partition("?")[0], NOT_FOUND)
        body = answer.body
        self.send_response(answer.status)
        self.send_header("Content-Type", answer.content_type)
        if answer.packed is not None:
            self.send_header("Vary", "Accept-Encoding")
            if accepts_gzip(self.headers.get("Accept-Encoding", "")):
                body = answer.packed
                self.send_header("Content-Encoding", "gzip")
        self.send_header("Content-Length", str(len(body)))
        self.send_header("X-Content-Type-Options", "nosniff")
        self.send_header("Content-Security-Policy", "default-src 'none'; style-src 'unsafe-inline'")
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    do_HEAD = do_GET  # noqa: N815  the library's name

    def version_string(self) -> str:
        return "rdspend"

    def log_message(self, format: str, *args: object) -> None:
        """No access log."""


def accepts_gzip(header: str) -> bool:
    """Whether an Accept-Encoding header takes gzip: named, or by `*`, and not with a weight of 0."""
    weights = {}
    for part in header.lower().split(","):
        coding, _, weight = part.partition(";")
        weights[coding.strip()] = weight.replace(" ", "").removeprefix("q=").strip("0.") != "" or not weight
    return weights.get("gzip", weights.get("*", False))
