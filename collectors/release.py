"""Releases as your repository keeps them: one TOML file for each published model, saying which jobs it came from.

Reads a folder of TOML files (or one file, or a glob). Needs read permission on it, nothing else.

    [collectors.release]
    path = "releases"

and in `releases/falcon-8b.toml`:

    model = "falcon-8b"
    version = "1.0"                         # optional
    licence = "Apache-2.0"                  # optional, like published_at
    published_at = "https://example.org/falcon-8b"
    released_at = 2026-12-10                # left out: not released yet, and nothing of it counts as final

    [[claim]]
    job = ["88121", "88307"]                # ids or keys; the jobs that these came from are found from their checkpoints

    [[claim]]
    jobs = "falcon-8b-sft-*"                # names: a glob, or a regular expression between slashes
    since = 2026-10-01
    until = 2026-11-15
    role = "sweep"
    keep = "falcon-8b-sft-lr3e-5"           # the one that was kept is a `run`

A claim names one of `job`, `jobs`, `run` (ids in an experiment tracker), `model` (NAME/VERSION in a registry), `checkpoint`
(paths) and `dataset` (names or paths); one of them or a list. Where two claims name one job, the first in the file holds.
`withdrawn_at` says that the model was taken back or replaced before anybody had it: its runs become `superseded`.

It can't see whether a job it names exists: `rdspend release list` tells, and so do the findings of the report.
"""

from __future__ import annotations

import difflib
import json
import re
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any, ClassVar, NoReturn

import duckdb

from rdspend.errors import ConfigError, SourceUnavailable
from rdspend.schema import CLAIM_KINDS, NAME, RELEASES, ROLES, STAGES, Delivery, Location, Window

HEADER = re.compile(r"\s*\[\[\s*claim\s*\]\]")
KEYS = ("release", "model", "version", "licence", "published_at", "released_at", "withdrawn_at", "note", "claim")
NARROW = ("cluster", "user", "account", "experiment")
LISTS = ("keep", "except")
CLAIM_KEYS = (*CLAIM_KINDS, "role", "stage", "weight", *NARROW, "since", "until", "from", "to", *LISTS, "note")
ONLY_WITH = {"experiment": ("run",), "keep": ("jobs", "job"), "since": ("jobs", "job", "run"), "until": ("jobs", "job", "run")}
MOST_WEIGHT = 1_000_000
MOST_TEXT = 4_000


@dataclass(frozen=True)
class Release:
    """`path`: a folder of TOML files, one of them, or a glob."""

    of_releases: ClassVar[bool] = True

    path: Location

    def collect(self, window: Window) -> Iterator[Delivery]:
        """All releases that the files have, whatever the window. Raises ConfigError, naming file, line and claim."""
        found = [read_release(file) for file in _files(str(self.path))]
        files: dict[str, str] = {}
        for release in found:
            other = files.setdefault(release["release"], release["origin_file"])
            if other != release["origin_file"]:
                raise ConfigError(
                    f"{release['origin_file']}: release {release['release']!r} is in {other} too; keep one of them"
                )
        with duckdb.connect() as connection:
            connection.execute("SET TimeZone = 'UTC'; SET enable_progress_bar = false")
            connection.execute(f"CREATE TABLE releases ({', '.join(f'{name} {kind}' for name, kind in COLUMNS.items())})")
            for release in found:
                connection.execute(
                    f"INSERT INTO releases VALUES ({', '.join('?' * len(COLUMNS))})", [release[name] for name in COLUMNS]
                )
            yield Delivery("releases", connection.table("releases"))


COLUMNS = {
    c.name: {"int64": "BIGINT", "timestamp": "TIMESTAMPTZ"}.get(c.type, "VARCHAR")
    for c in RELEASES.columns
    if c.name != "source"
}


def _files(path: str) -> list[str]:
    place = Path(path)
    try:
        if place.is_dir():
            return sorted(str(f) for f in place.iterdir() if f.suffix == ".toml" and f.name[0] not in "._")
        if place.is_file():
            return [path]
        matches = sorted(str(f) for f in Path(place.anchor).glob(path.removeprefix(place.anchor)) if f.is_file())
    except (ValueError, NotImplementedError) as error:
        raise ConfigError(f"{path}: not a path or glob: {error}") from error
    except OSError as error:
        raise SourceUnavailable(f"{path}: can't look for releases: {error.strerror}") from error
    if not matches:
        raise SourceUnavailable(f"{path}: no such folder or file; an empty folder says that there are no releases")
    return matches


def read_release(file: str) -> dict[str, Any]:
    """The row of RELEASES that a file says, without `source`. Raises ConfigError."""
    try:
        text = Path(file).read_bytes().decode()
        tree = tomllib.loads(text)
    except OSError as error:
        raise SourceUnavailable(f"{file}: can't be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise ConfigError(f"{file}: byte {error.start + 1} is not UTF-8; save it as UTF-8") from None
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"{file}: not TOML: {error}") from None
    whole = _Where(file, text)
    whole.refuse_unknown(tree, KEYS)
    model, version = whole.text(tree, "model"), whole.text(tree, "version")
    if model is None:
        whole.refuse("model", None, "the name of the model")
    release = whole.text(tree, "release") or (model if version is None else f"{model} {version}")
    if "," in release:
        whole.refuse("release" if "release" in tree else "model", release, "a name without commas")
    released, withdrawn = whole.time(tree, "released_at"), whole.time(tree, "withdrawn_at")
    whole.text(tree, "note")
    tables = tree.get("claim", [])
    if not isinstance(tables, list) or not tables or not all(isinstance(table, dict) for table in tables):
        whole.refuse("claim", tables or None, "at least one [[claim]] table: what the release came from")
    lines = [number for number, line in enumerate(text.split("\n"), 1) if HEADER.match(line)]
    # A header inside a text, or claims as one list: then no line is said rather than a wrong one.
    heads = lines if len(lines) == len(tables) else [0] * len(tables)
    claims = [_claim(t, _Where(file, text, n, head)) for n, (t, head) in enumerate(zip(tables, heads, strict=True), 1)]
    return {
        "origin_file": file,
        "origin_row": 1,
        "release": release,
        "model": model,
        "version": version,
        "licence": whole.text(tree, "licence"),
        "published_at": whole.text(tree, "published_at"),
        "released_at": released,
        "withdrawn_at": withdrawn,
        "lineage": json.dumps(claims, ensure_ascii=False),
    }


def _claim(table: Mapping[str, Any], where: _Where) -> dict[str, Any]:
    """A [[claim]] as the ledger keeps it: see CLAIM_KINDS."""
    where.refuse_unknown(table, CLAIM_KEYS)
    kinds = [kind for kind in CLAIM_KINDS if kind in table]
    if len(kinds) != 1:
        where.refuse(kinds[1] if kinds else "", " and ".join(kinds) or None, f"one of {', '.join(CLAIM_KINDS)}")
    kind = kinds[0]
    for key, only in ONLY_WITH.items():
        if key in table and kind not in only:
            where.refuse(key, table[key], f"nothing: a claim by `{kind}` has no {key}; it goes with {' or '.join(only)}")
    claim: dict[str, Any] = {"kind": kind, "of": where.texts(table, kind), "at": where.place}
    claim |= {key: value for key in NARROW if (value := where.text(table, key)) is not None}
    claim |= {key: where.texts(table, key) for key in LISTS if key in table}
    times = {key: time for key in ("since", "until", "from", "to") if (time := where.time(table, key)) is not None}
    for low, high in (("since", "until"), ("from", "to")):
        if low in times and high in times and times[high] <= times[low]:
            where.refuse(high, table[high], f"a time after {low}, {table[low]}")
    if "cluster" in claim and not NAME.fullmatch(claim["cluster"]):
        where.refuse("cluster", claim["cluster"], "the name of a cluster")
    weight = table.get("weight", 1)
    if isinstance(weight, bool) or not isinstance(weight, int) or not 1 <= weight <= MOST_WEIGHT:
        where.refuse("weight", weight, f"a whole number from 1 to {MOST_WEIGHT}")
    where.text(table, "note")
    if kind == "jobs":
        for pattern in claim["of"]:
            _check_pattern(pattern, where)
    return claim | {
        "role": where.word(table, "role", tuple(ROLES)) or ("data" if kind == "dataset" else "run"),
        "stage": where.word(table, "stage", STAGES),
        "weight": weight,
        **{key: time.isoformat() for key, time in times.items()},
    }


def _check_pattern(pattern: str, where: _Where) -> None:
    """A regular expression is one that the engine can read; its kind never hangs."""
    if len(pattern) > 2 and pattern[0] == pattern[-1] == "/":
        try:
            duckdb.execute("SELECT regexp_matches('', ?)", [pattern[1:-1]]).fetchall()
        except duckdb.Error as error:
            where.refuse("jobs", pattern, f"a regular expression (RE2): {str(error).splitlines()[0]}")
    elif not pattern.strip("*?/"):
        where.refuse("jobs", pattern, "a pattern that leaves some jobs out")


@dataclass(frozen=True)
class _Where:
    """A place in a file: the file itself, or one of its claims. `head`: line of the claim's header, 0 when not known."""

    file: str
    text_of_file: str
    number: int = 0
    head: int = 0

    @property
    def place(self) -> str:
        return self._at(self.head) + (f": claim {self.number}" if self.number else "")

    def _at(self, line: int) -> str:
        return f"{self.file}:{line}" if line else self.file

    def refuse(self, key: str, found: object, expected: str) -> NoReturn:
        claim = f" claim {self.number}:" if self.number else ""
        named = f" {key}:" if key else ""
        shown = "nothing" if found is None else repr(str(found) if isinstance(found, date) else found)[:200]
        raise ConfigError(f"{self._at(self._line(key))}:{claim}{named} found {shown}; expected {expected}")

    def refuse_unknown(self, table: Mapping[str, Any], known: Sequence[str]) -> None:
        for key in table:
            if key not in known:
                close = difflib.get_close_matches(key, known, n=1, cutoff=0.5)
                self.refuse(key, key, f"one of {', '.join(known)}{f'; did you mean {close[0]!r}?' if close else ''}")

    def _line(self, key: str) -> int:
        """The line of the key; of the header when no line is surely its own."""
        lines = self.text_of_file.split("\n")
        if not key or (self.number and not self.head):
            return self.head
        for number in range(self.head + 1, len(lines) + 1):
            if HEADER.match(lines[number - 1]):
                break
            if re.match(rf"""\s*["']?{re.escape(key)}["']?\s*=""", lines[number - 1]):
                return number
        return self.head

    def text(self, table: Mapping[str, Any], key: str) -> str | None:
        value = table.get(key)
        if value is not None and (not isinstance(value, str) or not value.strip() or len(value) > MOST_TEXT):
            self.refuse(key, value, "text")
        return value

    def texts(self, table: Mapping[str, Any], key: str) -> list[str]:
        value = table[key]
        values = value if isinstance(value, list) else [value]
        if not values or not all(isinstance(v, str) and v.strip() and len(v) <= MOST_TEXT for v in values):
            self.refuse(key, value, "a text, or a list of texts")
        return [v.strip() for v in values]

    def word(self, table: Mapping[str, Any], key: str, known: Sequence[str]) -> str | None:
        value = table.get(key)
        if value is not None and value not in known:
            close = difflib.get_close_matches(str(value), known, n=1, cutoff=0.5)
            self.refuse(key, value, f"one of {', '.join(known)}{f'; did you mean {close[0]!r}?' if close else ''}")
        return value

    def time(self, table: Mapping[str, Any], key: str) -> datetime | None:
        """A date is its midnight in UTC; a time needs a zone."""
        value = table.get(key)
        if value is None:
            return None
        if isinstance(value, datetime):
            if value.tzinfo is None:
                self.refuse(key, value, "a time with a zone, such as 2026-12-10T09:00:00Z")
            return value.astimezone(UTC)
        if not isinstance(value, date):
            self.refuse(key, value, "a date or time without quotes, such as 2026-12-10")
        return datetime(value.year, value.month, value.day, tzinfo=UTC)
