"""For notebooks: breakdowns and jobs of an organisation as tables of pandas and Arrow.

    lab = rdspend.open("rdspend.toml")
    october = lab.breakdown("2026-10", policy="epoch")
    october.total, october.line("final_training").share       # exact decimals
    october.to_pandas()                                       # its cells: category, stage, team, cluster, basis, money, time
    october.to_arrow("teams")
    lab.jobs("2026-10").to_pandas()

Money is `decimal.Decimal` in pandas and decimal128 in Arrow, never a float; times are in UTC. What the command line would say
in an error, these raise: `rdspend.errors`. Nothing is written and no lock is taken.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rdspend.border import identifier
from rdspend.config import Config, load
from rdspend.engine import Engine
from rdspend.errors import ConfigError
from rdspend.period import parse_period
from rdspend.reading import Reader
from rdspend.schema import GPU_PARTS, SECONDS_PER_HOUR, Breakdown, Line

if TYPE_CHECKING:
    import pandas
    from arro3.core import Table as ArrowTable

MONEY = "DECIMAL(38, 9)"

# Columns of a breakdown's tables: name, and the type it has in Arrow where that is not text.
_LINE = {
    "name": "VARCHAR",
    "cost": MONEY,
    "billed_cost": MONEY,
    "gpu_hours": "DECIMAL(38, 6)",
    "basis": "VARCHAR",
    "share": "DECIMAL(38, 6)",
    "share_low": "DECIMAL(38, 6)",
    "share_high": "DECIMAL(38, 6)",
}
_CELL = {
    "category": "VARCHAR",
    "stage": "VARCHAR",
    "team": "VARCHAR",
    "cluster": "VARCHAR",
    "basis": "VARCHAR",
    "cost": MONEY,
    "billed_cost": MONEY,
    "gpu_seconds": "DECIMAL(38, 6)",
}
_TOP_JOB = {
    "job_key": "VARCHAR",
    "name": "VARCHAR",
    "team": "VARCHAR",
    "category": "VARCHAR",
    "stage": "VARCHAR",
    "outcome": "VARCHAR",
    "cost": MONEY,
    "gpu_hours": "DECIMAL(38, 6)",
}
TABLES: Mapping[str, Mapping[str, str]] = {
    "cells": _CELL,
    "lines": _LINE,
    "buckets": _LINE,
    "stages": _LINE,
    "teams": _LINE,
    "clusters": _LINE,
    "services": _LINE,
    "top_jobs": _TOP_JOB,
}


@dataclass(frozen=True)
class Table:
    """Rows with named, typed columns, held by an engine of their own."""

    engine: Engine
    name: str

    def to_arrow(self) -> ArrowTable:
        """An Arrow table (arro3's): pyarrow, polars and others take it as it is, by the Arrow C stream."""
        from arro3.core import Table as ArrowTable

        return ArrowTable.from_arrow(self.engine.connection.table(self.name))

    def to_pandas(self) -> pandas.DataFrame:
        """A data frame; money as Decimal (`.astype(float)` for a plot), times in UTC."""
        kinds = dict(self.engine.rows(f"SELECT column_name, column_type FROM (DESCRIBE {identifier(self.name)})"))
        columns = ", ".join(_for_pandas(name, kind) for name, kind in kinds.items())
        frame: pandas.DataFrame = self.engine.connection.execute(f"SELECT {columns} FROM {identifier(self.name)}").df()
        for name, kind in kinds.items():
            if kind.startswith("DECIMAL"):
                frame[name] = frame[name].astype(object).map(Decimal, na_action="ignore")
            elif kind.startswith("TIMESTAMP"):
                frame[name] = frame[name].dt.tz_localize("UTC")
        return frame

    def __len__(self) -> int:
        return int(self.engine.value(f"SELECT count(*) FROM {identifier(self.name)}"))


def _for_pandas(name: str, kind: str) -> str:
    column = identifier(name)
    if kind.startswith("DECIMAL"):
        return f"CAST({column} AS VARCHAR) AS {column}"
    return f"timezone('UTC', {column}) AS {column}" if kind.startswith("TIMESTAMP WITH") else column


@dataclass(frozen=True)
class Figures:
    """One finished breakdown. `record` is all of it; its parts are attributes here too: `.total`, `.lines`, `.closings`."""

    record: Breakdown

    def __getattr__(self, name: str) -> Any:
        return getattr(self.record, name)

    def __dir__(self) -> Iterator[str]:
        return iter(sorted({*super().__dir__(), *Breakdown.__dataclass_fields__}))

    def line(self, name: str) -> Line:
        """One activity or bucket by name. Raises KeyError for another word."""
        return {line.name: line for line in (*self.record.lines, *self.record.buckets)}[name]

    def table(self, name: str = "cells") -> Table:
        """One of TABLES. Raises ConfigError for another name."""
        if name not in TABLES:
            raise ConfigError(f"table {name!r}: expected one of {', '.join(TABLES)}")
        return _table(name, TABLES[name], getattr(self.record, name))

    def to_pandas(self, table: str = "cells") -> pandas.DataFrame:
        return self.table(table).to_pandas()

    def to_arrow(self, table: str = "cells") -> ArrowTable:
        return self.table(table).to_arrow()


def _table(name: str, columns: Mapping[str, str], rows: Sequence[Any]) -> Table:
    engine = Engine(threads=1)
    lists = ", ".join(f"unnest(CAST(? AS VARCHAR[])) AS {identifier(c)}" for c in columns)
    typed = ", ".join(f"CAST({identifier(c)} AS {kind}) AS {identifier(c)}" for c, kind in columns.items())
    values = [[None if (v := getattr(row, c)) is None else str(v) for row in rows] for c in columns]
    engine.connection.execute(f"CREATE TEMP TABLE {identifier(name)} AS SELECT {typed} FROM (SELECT {lists})", values)
    return Table(engine, name)


@dataclass(frozen=True)
class Opened:
    """An organisation's ledger, opened for reading. Made by `rdspend.open`."""

    config: Config

    @classmethod
    def at(cls, path: str | os.PathLike[str]) -> Opened:
        place = Path(path)
        return cls(load(place / "rdspend.toml" if place.is_dir() else place))

    def periods(self) -> tuple[str, ...]:
        """The months that the newest snapshot has money of."""
        return Reader(self.config).ledger.snapshot().partitions("charges", "billing_period")

    def breakdown(
        self, period: str, policy: str | None = None, currency: str | None = None, as_of: str | None = None
    ) -> Figures:
        """The period's breakdown: as published, or made on the spot. Period, currency and as_of as on the command line.

        policy  another than the configuration's

        Raises ConfigError when the period has money in several currencies and none is chosen.
        """
        config = self.config if policy is None else replace(self.config, policy=policy)
        found = Reader(config).breakdowns(parse_period(period), currency, as_of)
        if len(found) > 1:
            known = ", ".join(b.currency for b in found)
            raise ConfigError(f"{period} has money in {known}, which can't be added; choose one: currency='...'")
        return Figures(found[0])

    def jobs(self, period: str, currency: str | None = None, as_of: str | None = None) -> Table:
        """Every job of the period that cost something or held a GPU, dearest first.

        job_key, part (counts from 0 where a release cuts the job), name, team, cluster, category, stage, role, release,
        outcome, basis, cost, billed_cost, gpu_hours, submit_time, start_time and end_time; money in one currency, which the
        table's column `currency` repeats.
        """
        engine, chosen = Reader(self.config).jobs(parse_period(period), currency, as_of)
        engine.run("api_job", {"currency": chosen}, gpu_hour=GPU_PARTS * SECONDS_PER_HOUR)
        return Table(engine, "api_job")
