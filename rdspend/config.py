"""The configuration: one TOML file, every key known, every path relative to it.

`[collectors.focus]` configures the collector named focus; `[collectors.focus.azure]` a second one, whose source is then called
`focus.azure`. Plugins are found by entry point, so the core names none of them. An unknown key is refused with the nearest
known one.
"""

from __future__ import annotations

import dataclasses
import difflib
import functools
import hashlib
import re
import tomllib
import typing
from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from typing import Any

import msgspec

from rdspend.errors import ConfigError
from rdspend.schema import ACTIVITIES, AUTHORITY, BUCKETS, NAME, Location, Plan, PlannedShare

KINDS = ("collectors", "taggers", "exporters")


@dataclass(frozen=True)
class Plugin:
    """One configured plugin. `name` is its table: `focus`, `focus.azure`."""

    kind: str
    name: str
    instance: Any


@dataclass(frozen=True)
class EngineOptions:
    """`[engine]`: how money reaches jobs, and what it may cost to work that out.

    share_rule    gpu, cpu or dominant: what a job's part of its node is
    memory_limit  ceiling of the engine's memory; 512MB is the least that works at any size
    threads       number of threads; all cores when left out
    """

    share_rule: typing.Literal["gpu", "cpu", "dominant"] = "gpu"
    memory_limit: str = "512MB"
    threads: int | None = None

    def __post_init__(self) -> None:
        if not re.fullmatch(r"[1-9]\d*(KB|MB|GB|TB)", self.memory_limit):
            raise ValueError(f"memory_limit: found {self.memory_limit!r}; expected a size like 512MB or 4GB")
        if self.threads is not None and self.threads < 1:
            raise ValueError(f"threads: found {self.threads}; expected 1 or more")


@dataclass(frozen=True)
class CollectOptions:
    """`[collect]`: patience with sources that don't answer. A bad record is never tried again.

    retries       how often a source is asked again after SourceUnavailable
    wait_seconds  before the first retry; doubles each time
    """

    retries: int = 1
    wait_seconds: float = 1.0

    def __post_init__(self) -> None:
        if self.retries < 0 or not 0 <= self.wait_seconds <= 3600:
            raise ValueError("retries and wait_seconds are 0 or more, wait_seconds at most an hour")


@dataclass(frozen=True)
class DaemonOptions:
    """`[daemon]`: how often it works.

    interval_seconds  between two collects of the time since the last, from sources that can tell it apart (schedulers)
    whole_seconds     between two collects of everything, bills and all published months included
    periods           how many months it publishes: 2 is the open month and the one before
    """

    interval_seconds: int = 300
    whole_seconds: int = 3600
    periods: int = 2

    def __post_init__(self) -> None:
        if self.interval_seconds < 1 or self.whole_seconds < 1 or self.periods < 1:
            raise ValueError("interval_seconds, whole_seconds and periods are 1 or more")


@dataclass(frozen=True)
class PlanOptions:
    """`[plan]`: what spending is compared with. Money and parts are text, exact.

    currency       of both amounts
    burn_per_hour  what an hour may cost, jobs and idle nodes together
    month          what a month may cost
    shares         by category the band its share is expected in: `final_training = "0.05..0.60"`
    """

    currency: str = "USD"
    burn_per_hour: str | None = None
    month: str | None = None
    shares: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not re.fullmatch(r"[A-Z]{3}", self.currency):
            raise ValueError(f"currency: found {self.currency!r}; expected an ISO 4217 code of three capital letters")
        self.plan  # noqa: B018  asked once, so that what it can't read is refused here

    @property
    def plan(self) -> Plan:
        return Plan(
            self.currency,
            _planned("burn_per_hour", self.burn_per_hour),
            _planned("month", self.month),
            tuple(_planned_share(name, band) for name, band in sorted(self.shares.items())),
        )


def _planned(key: str, text: str | None) -> Decimal | None:
    if text is not None and not re.fullmatch(r"\d{1,15}(\.\d{1,9})?", text):
        raise ValueError(f'{key}: found {text!r}; expected an amount such as "1200.50"')
    return None if text is None else Decimal(text)


def _planned_share(category: str, band: str) -> PlannedShare:
    if category not in (*ACTIVITIES, *BUCKETS):
        raise ValueError(f"shares.{category}: unknown category; expected one of {', '.join((*ACTIVITIES, *BUCKETS))}")
    ends = re.fullmatch(r"([01](?:\.\d{1,9})?)\.\.([01](?:\.\d{1,9})?)", band)
    low, high = (Decimal(ends[1]), Decimal(ends[2])) if ends else (Decimal(1), Decimal(0))
    if not low <= high <= 1:
        raise ValueError(f'shares.{category}: found {band!r}; expected two parts of 1, such as "0.05..0.60"')
    return PlannedShare(category, low, high)


@dataclass(frozen=True)
class Config:
    """A whole configuration.

    ledger     folder of the ledger
    title      heading of the reports
    remark     a paragraph under it: what a reader of these figures has to know
    synthetic  marks every output as made-up data
    policy     the boundary that shares are stated in
    plan       what spending is compared with; None: nothing is planned
    policies   folder of the organisation's own policies
    """

    file: Path
    ledger: Path
    digest: str
    collectors: tuple[Plugin, ...]
    taggers: tuple[Plugin, ...]
    exporters: tuple[Plugin, ...]
    engine: EngineOptions = field(default_factory=EngineOptions)
    collect: CollectOptions = field(default_factory=CollectOptions)
    daemon: DaemonOptions = field(default_factory=DaemonOptions)
    plan: PlanOptions | None = None
    title: str = ""
    remark: str = ""
    synthetic: bool = False
    policy: str = "epoch"
    policies: Path | None = None


TOP_LEVEL: Mapping[str, type] = {
    "ledger": str,
    "title": str,
    "remark": str,
    "synthetic": bool,
    "policy": str,
    "policies": str,
}
TABLES = {"engine": EngineOptions, "collect": CollectOptions, "daemon": DaemonOptions, "plan": PlanOptions}


def load(path: Path) -> Config:
    """Read and check a configuration file. Raises ConfigError that names the key, what was found and what was expected."""
    try:
        raw = path.read_bytes()
    except FileNotFoundError as error:
        raise ConfigError(f"{path}: there is no such file; `rdspend init` writes a commented one") from error
    except OSError as error:
        raise ConfigError(f"{path}: can't be read: {error.strerror}") from error
    try:
        tree = tomllib.loads(raw.decode("utf-8"))
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path}: byte {error.start} is not UTF-8; expected a TOML file in UTF-8") from error
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"{path}: {error}") from error
    folder = path.resolve().parent
    refuse_unknown(tree, [*TOP_LEVEL, *TABLES, *KINDS], f"{path}: ")
    values: dict[str, Any] = {key: _typed(tree[key], TOP_LEVEL[key], f"{path}: {key}") for key in TOP_LEVEL if key in tree}
    values["ledger"] = Path(_resolved(values.get("ledger", "ledger"), folder))
    if "policies" in values:
        values["policies"] = Path(_resolved(values["policies"], folder))
    values |= {key: convert(tree[key], kind, f"{path}: {key}", folder) for key, kind in TABLES.items() if key in tree}
    values |= {kind: _plugins(kind, tree.get(kind, {}), path, folder) for kind in KINDS}
    values["taggers"] = tuple(sorted(values["taggers"], key=lambda plugin: authority(plugin.name)))
    return Config(file=path, digest=hashlib.sha256(raw).hexdigest(), **values)


def authority(tagger: str) -> int:
    """Rank of a tagger: 0 speaks first."""
    kind = tagger.split(".")[0]
    return AUTHORITY.index(kind) if kind in AUTHORITY else len(AUTHORITY)


def refuse_unknown(table: Mapping[str, Any], known: list[str], where: str) -> None:
    for key in table:
        if key not in known:
            close = difflib.get_close_matches(key, known, n=1, cutoff=0.5)
            hint = f"; did you mean {close[0]!r}?" if close else f"; known are {', '.join(sorted(known))}"
            raise ConfigError(f"{where}{key}: unknown option{hint}")


@functools.cache
def available(kind: str) -> Mapping[str, EntryPoint]:
    """Installed plugins of a kind by name. Two packages that claim one name are refused."""
    found: dict[str, EntryPoint] = {}
    for point in entry_points(group=f"rdspend.{kind}"):
        if point.name in found and found[point.name].value != point.value:
            raise ConfigError(
                f"{kind}.{point.name}: two installed packages offer it ({found[point.name].value} and {point.value}); "
                "remove one"
            )
        found[point.name] = point
    return found


def load_plugin(kind: str, name: str) -> Any:
    point = available(kind)[name]
    try:
        return point.load()
    except ImportError as error:
        raise ConfigError(f"{kind}.{name}: can't be loaded from {point.value}: {error}; `rdspend doctor` looks why") from error


def _plugins(kind: str, tables: Any, path: Path, folder: Path) -> tuple[Plugin, ...]:
    if not isinstance(tables, dict):
        raise ConfigError(f"{path}: {kind}: found {tables!r}; expected tables [{kind}.NAME]")
    refuse_unknown(tables, list(available(kind)), f"{path}: {kind}.")
    plugins = []
    for name, table in tables.items():
        where = f"{path}: {kind}.{name}"
        if not isinstance(table, dict):
            raise ConfigError(f"{where}: found {table!r}; expected a table [{kind}.{name}]")
        factory = load_plugin(kind, name)
        fields = {f.name for f in dataclasses.fields(factory)}
        named = {k: v for k, v in table.items() if k not in fields and isinstance(v, dict)}
        own = {k: v for k, v in table.items() if k not in named}
        if own or not named:
            plugins.append(Plugin(kind, name, convert(own, factory, where, folder)))
        for instance, options in named.items():
            if not NAME.fullmatch(instance):
                raise ConfigError(f"{where}.{instance}: a name has letters, digits, '_', '.' and '-' only")
            plugins.append(Plugin(kind, f"{name}.{instance}", convert(options, factory, f"{where}.{instance}", folder)))
    return tuple(plugins)


def convert(table: Any, kind: Any, where: str, folder: Path) -> Any:
    """A TOML table as a dataclass: unknown keys refused, types checked, locations made absolute."""
    if not isinstance(table, dict):
        raise ConfigError(f"{where}: found {table!r}; expected a table")
    known = {f.name: f for f in dataclasses.fields(kind)}
    refuse_unknown(table, list(known), f"{where}.")
    for name, each in known.items():
        missing = each.default is dataclasses.MISSING and each.default_factory is dataclasses.MISSING
        if missing and name not in table:
            raise ConfigError(f"{where}.{name}: missing; it has no default")

    def location(wanted: Any, value: Any) -> Any:
        if wanted is Location and isinstance(value, str):
            return Location(_resolved(value, folder))
        raise NotImplementedError

    hints = typing.get_type_hints(kind)
    values: dict[str, Any] = {}
    for name, value in table.items():
        if name == "cluster" and isinstance(value, str) and not NAME.fullmatch(value):
            raise ConfigError(f"{where}.{name}: found {value!r}; expected letters, digits, '_', '.' or '-' only")
        if dataclasses.is_dataclass(hints[name]):
            values[name] = convert(value, hints[name], f"{where}.{name}", folder)
            continue
        try:
            values[name] = msgspec.convert(value, hints[name], dec_hook=location)
        except (msgspec.ValidationError, NotImplementedError) as error:
            raise ConfigError(f"{where}.{name}: found {value!r}: {error}") from error
    try:
        return kind(**values)
    except (ValueError, TypeError) as error:
        raise ConfigError(f"{where}: {error}") from error


def _typed(value: Any, kind: type, where: str) -> Any:
    if not isinstance(value, kind):
        raise ConfigError(f"{where}: found {value!r}; expected {'true or false' if kind is bool else 'text'}")
    return value


def _resolved(path: str, folder: Path) -> str:
    if "://" in path:
        return path
    return str(folder / Path(path).expanduser())
