"""SQL scalar expressions that a configuration writes over the columns of a foreign file.

One value made of one row: columns, constants, operators, CASE, casts, and FUNCTIONS. DuckDB's own parser reads the
text, and its tree is walked against these lists, so that an expression can't read files, select, aggregate, or depend
on anything but its row.
"""

from __future__ import annotations

import difflib
import json
from collections.abc import Iterator
from typing import Any

import duckdb

# DuckDB's words for the parts of a tree.
PARTS = "COLUMN_REF CONSTANT FUNCTION COMPARISON CONJUNCTION OPERATOR CASE CAST BETWEEN TYPE"

FUNCTION_NAMES = """
    if + - * / // % ^ ** || ~~ !~~ ~~* !~~* ~~~ abs round floor ceil ceiling trunc sign mod greatest least nullif
    regexp_matches regexp_full_match regexp_extract regexp_replace lower upper trim ltrim rtrim length len
    strlen substr substring left right replace translate reverse split_part string_split concat concat_ws
    contains starts_with ends_with prefix suffix position instr strpos to_timestamp epoch_ms make_timestamp
    make_timestamptz strptime try_strptime strftime timezone date_trunc date_part datepart epoch year month
    day hour minute second date_diff datediff to_microseconds to_milliseconds to_seconds to_minutes to_hours
    to_days to_weeks to_months to_years json_extract json_extract_string array_to_string list_extract
    array_extract
"""
FUNCTIONS = frozenset(FUNCTION_NAMES.split())
"""Functions of one row that have no effects; operators among them, as DuckDB names them."""


def columns(expression: str) -> list[str]:
    """The columns an expression names, each once. ValueError, in words, when it is not one value of one row."""
    with duckdb.connect(config={"enable_external_access": "false"}) as parser:
        parsed, one = _parse(parser, expression), _parse(parser, "1")
    node, plain = parsed[0]["node"], one[0]["node"]
    selected, _ = node.pop("select_list", []), plain.pop("select_list")
    if len(parsed) != 1 or node != plain or len(selected) != 1 or selected[0]["alias"]:
        raise ValueError("it is more than one value; expected one SQL expression over columns")
    return list(dict.fromkeys(_walk(selected[0])))


def _parse(parser: duckdb.DuckDBPyConnection, expression: str) -> Any:
    """The statements that `SELECT expression` holds, as trees."""
    try:
        found = parser.execute("SELECT json_serialize_sql($1)", [f"SELECT {expression}\n"]).fetchall()
    except duckdb.Error as error:
        raise ValueError(f"it can't be read: {str(error).splitlines()[0]}") from error
    answer = json.loads(found[0][0])
    if answer["error"]:
        raise ValueError(f"it can't be read: {answer['error_message'].splitlines()[0]}")
    return answer["statements"]


def _walk(part: Any) -> Iterator[str]:
    inner = part.values() if isinstance(part, dict) else part if isinstance(part, list) else ()
    for value in inner:
        yield from _walk(value)
    if not isinstance(part, dict) or "class" not in part:
        return
    kind, name = part["class"], part.get("function_name", "")
    if kind not in PARTS.split():
        raise ValueError(f"it holds a {kind.lower().replace('_', ' ')}; expected a value made of one row")
    if kind == "FUNCTION" and (name not in FUNCTIONS or part.get("schema")):
        near = difflib.get_close_matches(name, FUNCTIONS, 1)
        raise ValueError(f"function {name!r} is not allowed" + (f"; did you mean {near[0]!r}?" if near else ""))
    if kind == "COLUMN_REF":
        yield ".".join(part["column_names"])
