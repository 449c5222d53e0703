"""Dialects of a bill format: whose file it is, told by its columns, and which of its columns FOCUS's columns are made from.

A dialect is a data file, in TOML:

    title = "Oracle FOCUS"                      # in words
    told_by = ["BilledCost", "InvoiceIssuer"]   # a file that has all of these columns is written in it; `A|B`: one of them
    utc = true                                  # times without a zone are UTC, as the provider says
    each = "credits"                            # a list: a line becomes one line and one more for each of its entries,
                                                # number `rdspend_n`, and 0 for the line itself
    bill = "Azure"                              # whose bill it is a form of: a month of an account is read in one form
    account = "{x_BillingProfileId}"            # SQL of what names the account in every form; else BillingAccountId
    tags = "from_json(tags, ...)"               # SQL of the pairs of key and value in the text of Tags, where it is no object
    [renamed]                                   # column of FOCUS = column as written
    RegionId = "Region"
    [worked_out]                                # column of FOCUS = SQL over columns as written; {X?} may be missing
    InvoiceId = "COALESCE({InvoiceId?}, {x_InvoiceId})"
    [lists]                                     # the same, only where the column of that name is a list
    [absent]                                    # the same, only where there is no column of that name
    [views]                                     # SQL of lines that each have all usage of a month: one of them is read
    location = "{x_ClusterId?} <> ''"
    [leaves]                                    # columns that are known, and have no place
    columns = ["oci_CostOverage"]
    [json]                                      # types of columns in a JSON file; others are text
    credits = "STRUCT(amount VARCHAR)[]"

What no rule makes is taken from the column of its own name. Names are found in any case.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import duckdb

from rdspend.bills.layout import Layout
from rdspend.border import identifier

# A column as written, or one of several; a question mark: NULL where there is none.
WRITTEN = re.compile(r"\{([A-Za-z_][\w|]*)(\??)\}")


@dataclass(frozen=True, eq=False)
class Dialect:
    """One data file; see the head of this module."""

    name: str
    title: str
    told_by: Sequence[str] = ()
    utc: bool = False
    each: str = ""
    bill: str = ""
    account: str = ""
    tags: str = ""
    renamed: Mapping[str, str] = field(default_factory=dict)
    worked_out: Mapping[str, str] = field(default_factory=dict)
    lists: Mapping[str, str] = field(default_factory=dict)
    absent: Mapping[str, str] = field(default_factory=dict)
    leaves: Sequence[str] = ()
    json: Mapping[str, str] = field(default_factory=dict)
    pair: Mapping[str, str] = field(default_factory=dict)
    views: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def load(cls, path: Path) -> Dialect:
        tree = tomllib.loads(path.read_text(encoding="utf-8"))
        return cls(path.stem, **{**tree, "leaves": tuple(tree.get("leaves", {}).get("columns", ()))})

    def tells(self, layout: Layout) -> bool:
        return all(_first(names, layout) for names in self.told_by)

    def retyped(self, layout: Layout) -> Layout:
        """A layout of a JSON file, with the types that its columns have in this dialect."""
        types = {name.lower(): kind for name, kind in self.json.items()}
        return replace(layout, columns=tuple((w, n, types.get(w.lower(), k)) for w, n, k in layout.columns))

    def sql(self, text: str, layout: Layout) -> tuple[str, tuple[str, ...]] | None:
        """SQL with the columns of a file in it, and what they are called there; None where one it needs is missing."""
        sources: list[str] = []
        for names, optional in WRITTEN.findall(text):
            found = _first(names, layout)
            if found is None and not optional:
                return None
            if found is not None:
                sources.append(found[0])

        def put(match: re.Match[str]) -> str:
            found = _first(match[1], layout)
            return found[1] if found else "CAST(NULL AS VARCHAR)"

        return WRITTEN.sub(put, text), tuple(dict.fromkeys(sources))


def _first(names: str, layout: Layout) -> tuple[str, str, str] | None:
    """The first of `A|B` that a file has: as written, in SQL, and its type."""
    columns = {written.lower(): (written, name, kind) for written, name, kind in layout.columns}
    return next((columns[n.lower()] for n in names.split("|") if n.lower() in columns), None)


@dataclass(frozen=True, eq=False)
class View:
    """The columns of FOCUS that a file gives: SQL and type; and the columns as written that they come from.

    utc      its times without a zone are UTC
    around   what is selected from, around `{read}`, the file as it is read
    passed   further columns, by name, as SQL
    tags     the pairs in the text of Tags, as SQL over `tags`; "": it is a JSON object
    """

    columns: Mapping[str, tuple[str, str]]
    sources: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    utc: bool = False
    around: str = "{read}"
    passed: Mapping[str, str] = field(default_factory=dict)
    tags: str = ""

    def find(self, focus: str) -> tuple[str, str] | None:
        return self.columns.get(focus.lower())

    def source(self, read: str) -> str:
        return self.around.replace("{read}", read)

    def put(self, **made: tuple[str, str]) -> View:
        """The same with other columns: name in FOCUS = SQL and type."""
        return replace(self, columns={**self.columns, **{name.lower(): column for name, column in made.items()}})


def tell(dialects: Iterable[Dialect], layout: Layout) -> Dialect | None:
    """The dialect that a file is written in: of those that are told by its columns, the one that asks for most."""
    told = [d for d in dialects if d.tells(layout)]
    return max(told, key=lambda d: len(d.told_by), default=None)


def view(connection: duckdb.DuckDBPyConnection, layout: Layout, dialect: Dialect, wanted: Iterable[str]) -> View:
    """How the wanted columns of FOCUS are made of the columns of a file."""
    made: dict[str, tuple[str, tuple[str, ...]]] = {}
    kinds: dict[str, str] = {}
    for focus in wanted:
        own = _first(focus, layout)
        rules = [
            dialect.lists.get(focus) if own and own[2].endswith("]") else None,
            dialect.absent.get(focus) if not own else None,
            dialect.worked_out.get(focus),
        ]
        found = next((sql for rule in rules if rule and (sql := dialect.sql(rule, layout))), None)
        plain = _first(dialect.renamed.get(focus, focus), layout) or own
        if found:
            made[focus] = found
        elif plain:
            made[focus], kinds[focus] = (plain[1], (plain[0],)), plain[2]
    each = _first(dialect.each, layout) if dialect.each else None
    around = f"(SELECT *, unnest(range(COALESCE(len({each[1]}), 0) + 1)) AS rdspend_n FROM {{read}})" if each else "{read}"
    sources = {focus: names for focus, (_, names) in made.items()}
    result = View({}, sources, dialect.utc, around, {"rdspend_n": "rdspend_n"} if each else {}, dialect.tags)
    if len(kinds) < len(made):
        empty = ", ".join(f"CAST(NULL AS {kind}) AS {name}" for _, name, kind in layout.columns)
        shown = ", ".join(f"{sql} AS {identifier(focus)}" for focus, (sql, _) in made.items())
        described = connection.execute(f"DESCRIBE SELECT {shown} FROM {result.source(f'(SELECT {empty})')}").fetchall()
        kinds = {name: kind for name, kind, *_ in described}
    return result.put(**{focus: (sql, kinds[focus]) for focus, (sql, _) in made.items()})
