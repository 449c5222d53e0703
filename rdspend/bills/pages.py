"""Pages of JSON, over HTTP or out of a folder: all of them to the last, or an error.

A page is an object with `data` and `has_more`; the next one is asked for by a cursor. Numbers are read as exact decimals. The
key is in no origin.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from functools import cached_property
from pathlib import Path
from typing import Any, NoReturn

from rdspend.asking import Parameters, Server
from rdspend.errors import BadRecord, SourceUnavailable

MOST_PAGES = 400


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
    def server(self) -> Server:
        return Server(self.base_url, self.headers, (self.key,), self.refused, self.timeout_seconds)

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
        answer = self.server.get(path, parameters)
        whose = answer.headers.get(self.organisation) or self.otherwise
        return Page(f"{answer.address}#{whose}", _parsed(answer.address, answer.body, SourceUnavailable))


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
