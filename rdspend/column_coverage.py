"""Column coverage: which columns of charges each source fills, month by month, and what its bill calls differently.

The numbers come from the footers of the ledger's files, so the answer takes no scan. What was renamed, unknown or missing on
the bill's side is what the collector noted when it read it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from rdspend.border import identifier, literal
from rdspend.engine import Engine
from rdspend.ledger import DataFile, Snapshot
from rdspend.period import Period
from rdspend.schema import CHARGES

NOTES: Mapping[str, str] = {
    "renamed_column": "renamed",
    "unknown_column": "unknown",
    "left_out_column": "left out",
    "missing_column": "missing",
}
"""Kinds of a collector's notes, and what a report calls them."""


@dataclass(frozen=True)
class ColumnFill:
    """One column of charges in one source's month: rows with a value and without one."""

    column: str
    present: int
    null: int

    @property
    def state(self) -> str:
        """`present` in every row, `partly`, or `null`: in none."""
        return "null" if not self.present else "partly" if self.null else "present"


@dataclass(frozen=True)
class BillColumn:
    """A column of the bill that is not simply a column of charges. what: renamed, unknown (left out) or missing."""

    what: str
    column: str
    detail: str
    rows: int


@dataclass(frozen=True)
class SourceColumns:
    """The columns of one source's month: those of charges in their order, then what the collector noted of the bill's."""

    source: str
    month: str
    rows: int
    columns: tuple[ColumnFill, ...]
    noted: tuple[BillColumn, ...]


def cover_columns(engine: Engine, snapshot: Snapshot, period: Period) -> tuple[SourceColumns, ...]:
    """Every source and month of the period that has charges. Wants the view `findings` of it."""
    files: dict[tuple[str, str], list[DataFile]] = {}
    for file in snapshot.files("charges"):
        if file.partition["billing_period"] in period.months:
            files.setdefault((file.partition["source"], file.partition["billing_period"]), []).append(file)
    return tuple(
        SourceColumns(source, month, sum(f.rows for f in each), _fills(engine, snapshot, each), _noted(engine, source, month))
        for (source, month), each in sorted(files.items())
    )


def _fills(engine: Engine, snapshot: Snapshot, files: Sequence[DataFile]) -> tuple[ColumnFill, ...]:
    paths = {str(snapshot.root / "charges" / f.path): f.rows for f in files}
    nulls: dict[str, dict[str, int]] = {}
    for path, column, count in engine.read("column_footer", files=", ".join(map(literal, paths))):
        nulls.setdefault(column, {})[path] = int(_count_nulls(engine, path, column) if count is None else count)
    rows = sum(paths.values())
    fills = []
    for column in CHARGES.columns:
        if column.name in CHARGES.partition:
            empty = 0
        else:
            # A file of an earlier rdspend lacks columns that came later.
            known = nulls.get(column.name, {})
            empty = sum(known.get(path, count) for path, count in paths.items())
        fills.append(ColumnFill(column.name, rows - empty, empty))
    return tuple(fills)


def _count_nulls(engine: Engine, path: str, column: str) -> int:
    return int(engine.value(f"SELECT count(*) - count({identifier(column)}) FROM read_parquet({literal(path)})"))


def _noted(engine: Engine, source: str, month: str) -> tuple[BillColumn, ...]:
    kinds = ", ".join(map(literal, NOTES))
    rows = engine.rows(
        f'SELECT kind, subject, detail, "rows" FROM findings WHERE stage = ? AND period = ? AND kind IN ({kinds}) ORDER BY ALL',
        [f"collect.{source}", month],
    )
    return tuple(BillColumn(NOTES[kind], column, detail, int(count)) for kind, column, detail, count in rows)
