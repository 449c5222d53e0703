"""An HTTP proxy that breaks what passes through it on purpose: cut connections, answers of its own; it counts the bytes."""

from __future__ import annotations

import http.client
import socket
import struct
import threading
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlsplit

CHUNK_BYTES = 1 << 16


@dataclass(frozen=True)
class Request:
    """What a client asked. `number` counts from 0 over all requests of the proxy."""

    number: int
    method: str
    path: str
    headers: dict[str, str]
    body: bytes

    @property
    def span(self) -> tuple[int, int] | None:
        """First and last byte of a Range header."""
        first, _, last = self.headers.get("range", "").removeprefix("bytes=").partition("-")
        return (int(first), int(last)) if first else None

    @property
    def is_first_byte(self) -> bool:
        return self.span == (0, 0)


@dataclass(frozen=True)
class Answer:
    """The proxy answers this itself."""

    status: int
    body: bytes = b""
    headers: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Break:
    """The connection ends after so many bytes of the answer's body: properly closed, or reset."""

    after: int
    reset: bool = False


@dataclass(frozen=True)
class Garble:
    """The first byte of the answer's body is another one."""


Plan = Callable[[Request], Answer | Break | Garble | None]

SLOW_DOWN = Answer(503, b"<Error><Code>SlowDown</Code><Message>Please reduce your request rate.</Message></Error>")


def refusal(status: int, code: str, message: str = "", more: str = "") -> Answer:
    return Answer(status, f"<Error><Code>{code}</Code><Message>{message}</Message>{more}</Error>".encode())


@dataclass
class Proxy:
    """What passed so far. `plan` says what becomes of a request; it is asked in the request's own thread."""

    upstream: str
    plan: Plan
    address: str = ""
    requests: list[Request] = field(default_factory=list)
    body_bytes: int = 0
    connections: int = 0
    lock: threading.Lock = field(default_factory=threading.Lock)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    proxy: Proxy

    def setup(self) -> None:
        super().setup()
        with self.proxy.lock:
            self.proxy.connections += 1

    def handle(self) -> None:
        with suppress(ConnectionError):  # the client went away
            super().handle()

    def _pass(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        headers = {name.lower(): value for name, value in self.headers.items()}
        with self.proxy.lock:
            request = Request(len(self.proxy.requests), self.command, self.path, headers, body)
            self.proxy.requests.append(request)
        fault = self.proxy.plan(request)
        if isinstance(fault, Answer):
            self._head(fault.status, {"Content-Length": str(len(fault.body)), **fault.headers})
            if self.command != "HEAD":
                self._send(fault.body)
        else:
            self._forward(request, fault)

    do_GET = do_HEAD = do_POST = do_PUT = do_DELETE = _pass  # noqa: N815 - http.server's names

    def _forward(self, request: Request, fault: Break | Garble | None) -> None:
        to = urlsplit(self.proxy.upstream)
        with closing(http.client.HTTPConnection(to.hostname or "", to.port, timeout=60)) as upstream:
            upstream.putrequest(request.method, request.path, skip_host=True, skip_accept_encoding=True)
            for name, value in self.headers.items():
                upstream.putheader(name, value)
            upstream.endheaders(request.body or None)
            answer = upstream.getresponse()
            hop = ("connection", "transfer-encoding", "content-length", "keep-alive")
            headers = {name: value for name, value in answer.getheaders() if name.lower() not in hop}
            length = answer.getheader("Content-Length")
            whole = answer.read() if length is None else None  # chunked: passed on with its length
            self._head(answer.status, headers | {"Content-Length": length or str(len(whole or b""))})
            left = fault.after if isinstance(fault, Break) else None
            while left != 0 and (chunk := whole if whole is not None else answer.read(CHUNK_BYTES)):
                whole = b"" if whole is not None else None
                if isinstance(fault, Garble):
                    chunk, fault = bytes([chunk[0] ^ 1]) + chunk[1:], None
                cut = chunk[:left]
                self._send(cut)
                left = None if left is None else left - len(cut)
        if isinstance(fault, Break):
            self._break(fault)

    def _head(self, status: int, headers: dict[str, str]) -> None:
        self.send_response_only(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()

    def _send(self, body: bytes) -> None:
        self.wfile.write(body)
        with self.proxy.lock:
            self.proxy.body_bytes += len(body)

    def _break(self, fault: Break) -> None:
        if fault.reset:
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.close_connection = True

    def log_message(self, format: str, *args: object) -> None:
        pass


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def shutdown_request(self, request: object) -> None:
        # The base class shuts the socket down first, which would close it properly where it is to be reset.
        if isinstance(request, socket.socket):
            self.close_request(request)


@contextmanager
def broken_proxy(upstream: str, plan: Plan = lambda _: None) -> Iterator[Proxy]:
    """A proxy on a free port of loopback, gone afterwards."""
    proxy = Proxy(upstream, plan)
    server = _Server(("127.0.0.1", 0), type("Handler", (_Handler,), {"proxy": proxy}))
    proxy.address = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield proxy
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
