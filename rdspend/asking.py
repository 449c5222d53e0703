"""A server asked over HTTP: with patience, without redirections, and with its key in no message.

A busy server (429, 5xx) is asked again, after what its Retry-After says; a redirection is not followed, for it would carry the
key elsewhere. An answer has a longest length and a longest time. A proxy that the environment names is used.
"""

from __future__ import annotations

import json
import os
import re
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from email.utils import parsedate_to_datetime
from functools import cached_property
from http import HTTPStatus
from pathlib import Path
from typing import NoReturn
from urllib.parse import unquote, urlencode, urlsplit
from urllib.request import getproxies, proxy_bypass

import urllib3
from urllib3.exceptions import HTTPError, LocationValueError

from rdspend.errors import ConfigError, SourceUnavailable

BUSY = (408, 429, 500, 502, 503, 504, 529)
"""Answers that are worth another try; 529 is Anthropic's word for overloaded."""

TRIES = 4
FIRST_WAIT_SECONDS = 0.5
LONGEST_WAIT_SECONDS = 60.0
MOST_BYTES = 64 * 2**20

LOCAL = ("localhost", "127.0.0.1", "::1")

Parameters = Mapping[str, str | int | Sequence[str]]


@dataclass(frozen=True)
class Answer:
    """What the server said. `headers` in lower case."""

    address: str
    headers: Mapping[str, str]
    body: bytes


class Refused(SourceUnavailable):
    """The server says no, and will say so again: `status` tells why."""

    def __init__(self, message: str, status: int) -> None:
        super().__init__(message)
        self.status = status


def read_key(env: str, file: str | None, needs: str) -> str:
    """The key out of a file or an environment variable. `needs` says what key.

    Raises ConfigError with the option, key_file or key_env: which of several sources has it, only the runner knows, and says.
    """
    if file is not None:
        try:
            key = Path(file).read_text(encoding="ascii").strip()
        except OSError as error:
            raise ConfigError(f"key_file: {file}: can't be read: {error.strerror}; it has to hold {needs}") from error
        except UnicodeDecodeError as error:
            raise ConfigError(f"key_file: {file}: is no text in ASCII; it has to hold {needs}") from error
        where = f"key_file: {file}"
    else:
        key, where = os.environ.get(env, "").strip(), f"key_env: the environment variable {env}"
    if not key:
        raise ConfigError(f"{where} is empty or not set; it has to hold {needs}")
    if not re.fullmatch(r"[!-~]+", key):
        raise ConfigError(f"{where} holds blanks, lines or signs that no key has; it has to hold {needs}")
    return key


def check_address(address: str, with_key: bool = True) -> None:
    """An address that may be asked, and that a key may be sent to; raises ValueError for any other."""
    parts = urlsplit(address)
    if not parts.hostname or parts.query or parts.fragment or parts.username:
        raise ValueError(f"base_url: found {address!r}; expected an address like https://api.example.com/v1")
    if parts.scheme not in ("https", "http"):
        raise ValueError(f"base_url: found {address!r}; expected an address of https or http")
    if with_key and parts.scheme != "https" and parts.hostname not in LOCAL:
        raise ValueError(f"base_url: found {address!r}; a key is sent over https only")


def _connections(address: str) -> urllib3.PoolManager:
    """Connections to a server, through the proxy that HTTPS_PROXY and NO_PROXY name for it, as urllib reads them.

    Never through one to this machine: over http the proxy would read the key.
    """
    parts = urlsplit(address)
    proxy = getproxies().get(parts.scheme, "")
    if not proxy or parts.hostname in LOCAL or proxy_bypass(parts.netloc):
        return urllib3.PoolManager()
    try:
        found = urllib3.util.parse_url(proxy if "://" in proxy else f"http://{proxy}")
        headers = urllib3.make_headers(proxy_basic_auth=unquote(found.auth)) if found.auth else {}
        return urllib3.ProxyManager(found._replace(auth=None).url, proxy_headers=headers)
    except (HTTPError, LocationValueError, ValueError) as error:
        # What it is may have a password in it.
        name = f"{parts.scheme.upper()}_PROXY"
        raise ConfigError(f"the environment variable {name} is no address of a proxy; expected http://host:port") from error


@dataclass(frozen=True)
class Server:
    """One server. `refused` says what to do when it does not take the key.

    secrets           texts that are in no message: keys, and forms of them that headers have
    timeout_seconds   the longest that one answer may take
    """

    base_url: str
    headers: Mapping[str, str] = field(repr=False)
    secrets: Sequence[str] = field(repr=False)
    refused: str
    timeout_seconds: float

    @cached_property
    def pool(self) -> urllib3.PoolManager:
        return _connections(self.base_url)

    def get(self, path: str, parameters: Parameters) -> Answer:
        """What stands there; raises SourceUnavailable, and Refused where asking again is of no use."""
        return self._patiently("GET", f"{self.base_url.rstrip('/')}{path}?{urlencode(parameters, doseq=True)}", None)

    def search(self, path: str, question: Mapping[str, object]) -> Answer:
        """The same for a question that is asked by POST and changes nothing, so that it may be asked again."""
        return self._patiently("POST", f"{self.base_url.rstrip('/')}{path}", json.dumps(question).encode())

    def _patiently(self, method: str, address: str, question: bytes | None) -> Answer:
        for wait in [FIRST_WAIT_SECONDS * 2**i for i in range(TRIES - 1)] + [None]:
            try:
                status, headers, body = self._ask(method, address, question)
            except (HTTPError, OSError) as error:
                say, asked = f"{type(error).__name__}: {self._without_secrets(str(error))}", None
            else:
                if status == HTTPStatus.OK:
                    return Answer(address, headers, body)
                if status not in BUSY:
                    self._refuse(address, status, body)
                say, asked = f"it answered {status}{self._said(body)}", _retry_after(headers)
            if wait is None:
                raise SourceUnavailable(f"{address}: {say}, {TRIES} times; it is asked again at the next collect")
            if asked is not None and asked > LONGEST_WAIT_SECONDS:
                raise SourceUnavailable(f"{address}: {say} and wants to be left alone for {asked:.0f} seconds; ask again then")
            time.sleep(wait if asked is None else asked)
        raise AssertionError("the last try returns or raises")

    def _ask(self, method: str, address: str, question: bytes | None) -> tuple[int, Mapping[str, str], bytes]:
        until = time.monotonic() + self.timeout_seconds
        timeout = urllib3.Timeout(connect=min(10.0, self.timeout_seconds), read=self.timeout_seconds)
        response = self.pool.request(
            method,
            address,
            body=question,
            headers={
                **self.headers,
                **({} if question is None else {"content-type": "application/json"}),
                "accept": "application/json",
                "user-agent": "rdspend",
            },
            retries=False,  # and no redirections
            timeout=timeout,
            preload_content=False,
        )
        whole = False
        try:
            body = bytearray()
            while chunk := response.read1(2**16):
                body += chunk
                if len(body) > MOST_BYTES:
                    raise SourceUnavailable(f"{address}: the page is longer than {MOST_BYTES:,} bytes and has no end yet")
                if time.monotonic() > until:
                    raise SourceUnavailable(f"{address}: the page was not at its end after {self.timeout_seconds:g} seconds")
            whole = True
            return response.status, {k.lower(): v for k, v in response.headers.items()}, bytes(body)
        finally:
            response.release_conn() if whole else response.close()

    def _refuse(self, address: str, status: int, body: bytes) -> NoReturn:
        # What a server says of a wrong key may repeat parts of it.
        if status in (HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN):
            raise Refused(f"{address}: it answered {status}: {self.refused}", status)
        if 300 <= status < 400:
            raise Refused(f"{address}: it answered {status}, a redirection, which is not followed; check base_url", status)
        raise Refused(f"{address}: it answered {status}{self._said(body)}", status)

    def _said(self, body: bytes) -> str:
        """The server's own words: in error.message or in message."""
        try:
            page = json.loads(body)
            said = page["error"]["message"] if "error" in page else page["message"]
        except (ValueError, KeyError, TypeError, RecursionError):
            return ""
        return f" ({self._without_secrets(str(said))[:300]})"

    def _without_secrets(self, text: str) -> str:
        for secret in filter(None, self.secrets):
            text = text.replace(secret, "[key]")
        return text


def _retry_after(headers: Mapping[str, str]) -> float | None:
    """Seconds that the server asks to wait, of a number or a date; None where it says nothing that can be read."""
    said = headers.get("retry-after", "").strip()
    if said.isdecimal():
        return float(said)
    try:
        return max(0.0, parsedate_to_datetime(said).timestamp() - time.time())
    except ValueError:
        return None
