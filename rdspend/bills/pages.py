"""Pages of JSON, over HTTP or out of a folder: all of them to the last, or an error.

A page is an object with `data` and `has_more`; the next one is asked for by a cursor. Numbers are read as exact decimals. Over
HTTP a busy server (429, 5xx) is asked again, after what its Retry-After says; a redirection is not followed, for it would
carry the key elsewhere. The key is in no message and no origin. A proxy that the environment names is used.
"""

from __future__ import annotations

import json
import os
import re
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from email.utils import parsedate_to_datetime
from functools import cached_property
from http import HTTPStatus
from pathlib import Path
from typing import Any, NoReturn
from urllib.parse import unquote, urlencode, urlsplit
from urllib.request import getproxies, proxy_bypass

import urllib3
from urllib3.exceptions import HTTPError, LocationValueError

from rdspend.errors import BadRecord, ConfigError, SourceUnavailable

BUSY = (408, 429, 500, 502, 503, 504, 529)
"""Answers that are worth another try; 529 is Anthropic's word for overloaded."""

TRIES = 4
FIRST_WAIT_SECONDS = 0.5
LONGEST_WAIT_SECONDS = 60.0
MOST_PAGES = 400
MOST_BYTES = 64 * 2**20

LOCAL = ("localhost", "127.0.0.1", "::1")

Parameters = Mapping[str, str | int | Sequence[str]]


@dataclass(frozen=True)
class Page:
    """One page. `origin` is its file, or its address with whose it is."""

    origin: str
    body: Mapping[str, Any]

    @property
    def data(self) -> list[Any]:
        data = self.body.get("data")
        if not isinstance(data, list):
            raise BadRecord(f"data: found {_shown(data)}, expected a list", self.origin)
        return data

    @property
    def has_more(self) -> bool:
        more = self.body.get("has_more")
        if not isinstance(more, bool):
            raise BadRecord(f"has_more: found {_shown(more)}, expected true or false", self.origin)
        return more


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


def check_address(address: str) -> None:
    """An address that a key may be sent to; raises ValueError for any other."""
    parts = urlsplit(address)
    if not parts.hostname or parts.query or parts.fragment or parts.username:
        raise ValueError(f"base_url: found {address!r}; expected an address like https://api.example.com/v1")
    if parts.scheme != "https" and not (parts.scheme == "http" and parts.hostname in LOCAL):
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
class Api:
    """One server. `refused` says what to do when it does not take the key.

    organisation      header of an answer that says whose it is; it is put behind the address in an origin, for the pages of
    otherwise         two organisations have the same address. What stands there where no header says it.
    timeout_seconds   the longest that one answer may take
    """

    base_url: str
    key: str = field(repr=False)
    headers: Mapping[str, str] = field(repr=False)
    refused: str
    organisation: str
    otherwise: str
    timeout_seconds: float

    @cached_property
    def pool(self) -> urllib3.PoolManager:
        return _connections(self.base_url)

    def pages(self, path: str, parameters: Parameters, cursor: str = "page", following: str = "next_page") -> Iterator[Page]:
        """All pages. `cursor` is the parameter that asks for the next one, `following` the field that says its value."""
        seen: set[str] = set()
        more: dict[str, str] = {}
        for _ in range(MOST_PAGES):
            page = self.get(path, {**parameters, **more})
            _ = page.data
            yield page
            if not page.has_more:
                return
            token = page.body.get(following)
            if not isinstance(token, str) or not token:
                raise SourceUnavailable(f"{page.origin}: says that there is more, but {following} is {_shown(token)}")
            if token in seen:
                raise SourceUnavailable(f"{page.origin}: {following} leads back to a page already read; nothing is taken of it")
            seen.add(token)
            more = {cursor: token}
        raise SourceUnavailable(f"{self.base_url}{path}: says after {MOST_PAGES} pages that there is more; none is taken")

    def get(self, path: str, parameters: Parameters) -> Page:
        address = f"{self.base_url.rstrip('/')}{path}?{urlencode(parameters, doseq=True)}"
        for wait in [FIRST_WAIT_SECONDS * 2**i for i in range(TRIES - 1)] + [None]:
            try:
                status, headers, body = self._ask(address)
            except (HTTPError, OSError) as error:
                say, asked = f"{type(error).__name__}: {self._without_key(str(error))}", None
            else:
                if status == HTTPStatus.OK:
                    whose = headers.get(self.organisation) or self.otherwise
                    return Page(f"{address}#{whose}", _parsed(address, body, SourceUnavailable))
                if status not in BUSY:
                    self._refuse(address, status, body)
                say, asked = f"it answered {status}{self._said(body)}", _retry_after(headers)
            if wait is None:
                raise SourceUnavailable(f"{address}: {say}, {TRIES} times; it is asked again at the next collect")
            if asked is not None and asked > LONGEST_WAIT_SECONDS:
                raise SourceUnavailable(f"{address}: {say} and wants to be left alone for {asked:.0f} seconds; ask again then")
            time.sleep(wait if asked is None else asked)
        raise AssertionError("the last try returns or raises")

    def _ask(self, address: str) -> tuple[int, Mapping[str, str], bytes]:
        until = time.monotonic() + self.timeout_seconds
        timeout = urllib3.Timeout(connect=min(10.0, self.timeout_seconds), read=self.timeout_seconds)
        response = self.pool.request(
            "GET",
            address,
            headers={**self.headers, "accept": "application/json", "user-agent": "rdspend"},
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
        """The server's own words: both providers put them into error.message."""
        try:
            said = json.loads(body)["error"]["message"]
        except (ValueError, KeyError, TypeError, RecursionError):
            return ""
        return f" ({self._without_key(str(said))[:300]})"

    def _without_key(self, text: str) -> str:
        return text.replace(self.key, "[key]")


@dataclass(frozen=True)
class Folder:
    """Pages that somebody saved, `NAME.json` or `NAME-2026-10-1.json`: as the server sent them, in the order of their names.

    Raises SourceUnavailable where one says that there is more and none comes after it.
    """

    path: str
    names: tuple[str, ...]

    def pages(self, name: str) -> list[Page]:
        """All pages of that name; none when no file has it."""
        pages = [Page(str(file), _read(file)) for file in self.files().get(name, ())]
        if pages and pages[-1].has_more:
            raise SourceUnavailable(
                f"{pages[-1].origin}: says that there is more, but no page comes after it; save that one too"
            )
        return pages

    def files(self) -> dict[str, list[Path]]:
        """Files by report. A file whose name says of no report is refused: what it holds would be missing."""
        folder = Path(self.path)
        try:
            files = sorted((f for f in folder.iterdir() if f.suffix == ".json"), key=_by_number)
        except OSError as error:
            raise SourceUnavailable(
                f"{folder}: can't be read: {error.strerror}; it has to be a folder of saved pages"
            ) from error
        found: dict[str, list[Path]] = {}
        for file in files:
            name = max((n for n in self.names if re.fullmatch(rf"{n}([-_.].*)?", file.stem)), key=len, default=None)
            if name is None:
                raise BadRecord(
                    f"its name says of no report; expected {', '.join(f'{n}-1.json' for n in self.names)}", str(file)
                )
            found.setdefault(name, []).append(file)
        return found


def rows(pages: Iterable[Page]) -> Iterator[tuple[Page, Mapping[str, Any]]]:
    """Every entry of `data` with its page."""
    for page in pages:
        for entry in page.data:
            if not isinstance(entry, dict):
                raise BadRecord(f"data: found {_shown(entry)}, expected objects", page.origin)
            yield page, entry


def _retry_after(headers: Mapping[str, str]) -> float | None:
    """Seconds that the server asks to wait, of a number or a date; None where it says nothing that can be read."""
    said = headers.get("retry-after", "").strip()
    if said.isdecimal():
        return float(said)
    try:
        return max(0.0, parsedate_to_datetime(said).timestamp() - time.time())
    except ValueError:
        return None


def _read(file: Path) -> dict[str, Any]:
    try:
        body = file.read_bytes()
    except OSError as error:
        raise SourceUnavailable(f"{file}: can't be read: {error.strerror}") from error
    return _parsed(str(file), body, BadRecord)


def _parsed(origin: str, body: bytes, kind: type[SourceUnavailable] | type[BadRecord]) -> dict[str, Any]:
    try:
        page = json.loads(body, parse_float=Decimal, parse_constant=_refuse_constant)
    except (ValueError, RecursionError, ArithmeticError) as error:
        raise kind(f"{origin}: is no whole page of JSON: {str(error)[:200]}") from error
    if not isinstance(page, dict):
        raise kind(f"{origin}: found {_shown(page)}, expected an object with `data`")
    return page


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is no number")


def _by_number(file: Path) -> list[tuple[int, str]]:
    """So that page 10 comes after page 9."""
    return [(int(part), "") if part.isdigit() else (-1, part) for part in re.split(r"(\d+)", file.name)]


def _shown(value: object) -> str:
    return "nothing" if value is None else repr(value)[:80]
