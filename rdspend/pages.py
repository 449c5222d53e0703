"""Serves prepared pages over HTTP: bytes in memory, swapped whole, gzipped once."""

from __future__ import annotations

import re
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
    """One page, ready to be sent. Where it has `others`, the form that the client accepts best is sent."""

    status: int
    content_type: str
    body: bytes
    packed: bytes | None = None
    others: tuple[Answer, ...] = ()


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
        page = self.server.answers.get(self.path.partition("?")[0], NOT_FOUND)
        answer = chosen(page, self.headers.get("Accept", ""))
        body = answer.body
        self.send_response(answer.status)
        self.send_header("Content-Type", answer.content_type)
        varies = ["Accept"] * bool(page.others) + ["Accept-Encoding"] * (answer.packed is not None)
        if varies:
            self.send_header("Vary", ", ".join(varies))
        if answer.packed is not None and accepts_gzip(self.headers.get("Accept-Encoding", "")):
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
    weights = {coding: weight for coding, _, weight in accepted(header)}
    return weights.get("gzip", weights.get("*", 0.0)) > 0


def chosen(page: Answer, header: str) -> Answer:
    """The form of a page that an Accept header weighs most; of those that weigh the same the first of `others`.

    Others count when they are named, the page also by a wildcard. Who accepts none of them, or says nothing, gets the page.
    """
    said = accepted(header)
    best, most = page, _weight(page, said) or max((weight for what, _, weight in said if what in WILDCARDS), default=0.0)
    for other in reversed(page.others):
        weight = _weight(other, said)
        if weight and weight >= most:
            best, most = other, weight
    return best


WILDCARDS = ("text/*", "*/*")


def _weight(form: Answer, said: list[tuple[str, dict[str, str], float]]) -> float:
    """What a header gives a form by its name, and its version where the header has one."""
    kind, *parameters = (part.strip() for part in form.content_type.split(";"))
    versions = [part.removeprefix("version=") for part in parameters if part.startswith("version=")] or [""]
    return max(
        (weight for what, of, weight in said if what == kind and of.get("version", versions[0]) in versions), default=0.0
    )


def accepted(header: str) -> list[tuple[str, dict[str, str], float]]:
    """What a header of the Accept family takes: name, parameters, and weight from 0 to 1; one that can't be read weighs 0."""
    found = []
    for part in header.lower().split(","):
        name, *rest = (each.strip() for each in part.split(";"))
        said = {key.strip(): value.strip().strip('"') for key, _, value in (each.partition("=") for each in rest)}
        weight = said.pop("q", "1")
        if name:
            found.append((name, said, float(weight) if re.fullmatch(r"[01](\.\d{0,3})?", weight) else 0.0))
    return found
