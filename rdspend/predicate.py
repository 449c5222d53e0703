"""The predicate language that rules and policies share: one SQL boolean expression over documented columns of a job.

    name ILIKE '%ablat%' AND gpus >= 8
    regexp_matches(text, '\\b(lm.?eval|mmlu)') AND NOT is_array
    labels['team'] IN ('vision', 'speech') OR coalesce(project, '') = 'vlm'

Columns         COLUMNS below, and labels['key'] (or label('key')) for the free text and labels of a job.
Operators       AND OR NOT  = <> < <= > >=  BETWEEN  IN  LIKE ILIKE  IS NULL, IS DISTINCT FROM  + - * /  ||
Functions       FUNCTIONS below. Patterns of regexp_matches, LIKE and ILIKE are constants of at most LONGEST_PATTERN characters;
                a regular expression is RE2, linear in the text, and so is what LIKE becomes.
Letters' case   `=`, IN, LIKE, contains, starts_with, ends_with and regexp_matches tell EVAL from eval; ILIKE does not,
                lower(name) and the column `text` are lower-case already; regexp_matches(name, 'x', 'i') ignores it.
Null            A comparison with a null column is null, and so is its NOT: a predicate that is null is not true.
                coalesce(project, '') gives a null column a value. What is divided by 0 is null.

DuckDB's own parser reads the text, the tree is walked against the lists above, and new SQL is written from the tree:
nothing a user wrote reaches a statement, except as a quoted constant.
"""

from __future__ import annotations

import difflib
import json
import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cache
from types import MappingProxyType
from typing import Any, Literal

import duckdb

from rdspend.border import identifier, literal
from rdspend.errors import ConfigError
from rdspend.families import FAMILY
from rdspend.schema import GPU_PARTS, JOBS, SECONDS_PER_HOUR

Kind = Literal["text", "number", "boolean"]

LONGEST = 10_000
"""Characters of one predicate."""

LONGEST_PATTERN = 1_000
"""Characters of one pattern of regexp_matches, LIKE or ILIKE."""

HOUR_US = SECONDS_PER_HOUR * 1_000_000
DAY_US = 24 * HOUR_US


@dataclass(frozen=True)
class Readable:
    """One column that a predicate may read: its kind, the SQL that makes it from JOBS, and what it says."""

    kind: Kind
    sql: str
    doc: str


def _text(column: str, doc: str) -> Readable:
    return Readable("text", identifier(column), doc)


def _number(sql: str, doc: str) -> Readable:
    return Readable("number", f"CAST({sql} AS DOUBLE)", doc)


COLUMNS: Mapping[str, Readable] = MappingProxyType(
    {
        "user": _text("user", "who ran it"),
        "account": _text("account", "team or account it ran under"),
        "project": _text("project", "project"),
        "queue": _text("queue", "partition or queue"),
        "qos": _text("qos", "quality of service"),
        "name": _text("name", "job name"),
        "command": _text("command", "submit line or command"),
        "script": _text("script", "batch script"),
        "image": _text("image", "container image"),
        "work_dir": _text("work_dir", "working directory"),
        "text": Readable(
            "text",
            "lower(coalesce(name, '') || ' ' || coalesce(command, ''))",
            "name and command in lower case with a blank between; never null",
        ),
        "family": Readable("text", FAMILY, "name and what it runs, with numbers, dates and hashes folded into #"),
        "cluster": _text("cluster", "configured name of the cluster"),
        "outcome": _text("outcome", "completed, failed, cancelled, timeout, preempted or running"),
        "gpu_type": _text("gpu_type", "GPU type"),
        "gpus": _number(f"gpu_parts / {GPU_PARTS}.0", "GPUs held, all nodes together; half a GPU is 0.5"),
        "requested_gpus": _number(f"requested_gpu_parts / {GPU_PARTS}.0", "GPUs asked for, all nodes together"),
        "cpus": _number("cpus", "CPUs held"),
        "nodes": _number("node_count", "nodes held"),
        "hours": _number(f"(epoch_us(end_time) - epoch_us(start_time)) / {HOUR_US}.0", "run time; null while it runs"),
        "wait_hours": _number(f"(epoch_us(start_time) - epoch_us(submit_time)) / {HOUR_US}.0", "time in the queue"),
        "hour": _number(
            f"((epoch_us(submit_time) % {DAY_US}) + {DAY_US}) % {DAY_US} // {HOUR_US}",
            "hour of the day it was submitted, 0 to 23, UTC",
        ),
        "weekday": _number(
            f"isodow(make_timestamp(epoch_us(submit_time) // {DAY_US} * {DAY_US}))",
            "day of the week it was submitted, 1 (Monday) to 7 (Sunday), UTC",
        ),
        "is_array": Readable("boolean", "(array_job_id IS NOT NULL)", "it is a task of a job array"),
    }
)

FUNCTIONS: Mapping[str, tuple[tuple[Kind, ...], int, Kind]] = MappingProxyType(
    {
        # name: kinds of its arguments, how many of them are needed, kind of the answer
        "lower": (("text",), 1, "text"),
        "upper": (("text",), 1, "text"),
        "trim": (("text",), 1, "text"),
        "length": (("text",), 1, "number"),
        "contains": (("text", "text"), 2, "boolean"),
        "starts_with": (("text", "text"), 2, "boolean"),
        "ends_with": (("text", "text"), 2, "boolean"),
        "regexp_matches": (("text", "text", "text"), 2, "boolean"),
    }
)

# What people call a column, and what it is called here. No job record says the instance type of its nodes.
_OTHER_NAMES: Mapping[str, str] = MappingProxyType(
    {
        "instance_type": "gpu_type",
        "node_type": "gpu_type",
        "duration": "hours",
        "runtime": "hours",
        "walltime": "hours",
        "submit_line": "command",
        "day": "weekday",
        "day_of_week": "weekday",
        "partition": "queue",
        "team": "account",
        "username": "user",
        "job_name": "name",
        "state": "outcome",
        "container": "image",
    }
)

_COMPARISONS = {
    "COMPARE_EQUAL": "=",
    "COMPARE_NOTEQUAL": "<>",
    "COMPARE_LESSTHAN": "<",
    "COMPARE_LESSTHANOREQUALTO": "<=",
    "COMPARE_GREATERTHAN": ">",
    "COMPARE_GREATERTHANOREQUALTO": ">=",
    "COMPARE_DISTINCT_FROM": "IS DISTINCT FROM",
    "COMPARE_NOT_DISTINCT_FROM": "IS NOT DISTINCT FROM",
}
_LIKES = {"~~": "LIKE", "!~~": "NOT LIKE", "~~*": "ILIKE", "!~~*": "NOT ILIKE"}
_ARITHMETIC = ("+", "-", "*", "/")

# What a tree may hold that a predicate may not, in the user's words.
_NAMES = {
    "SUBQUERY": "a sub-select",
    "CAST": "a cast",
    "CASE": "CASE",
    "STAR": "`*`",
    "WINDOW": "a window function",
    "PARAMETER": "a parameter",
    "LAMBDA": "a lambda",
    "COLLATE": "COLLATE",
    "POSITIONAL_REFERENCE": "a column by number",
    "DEFAULT": "DEFAULT",
}
_QUOTED = re.compile(r"'(?:[^']|'')*'|\"(?:[^\"]|\"\")*\"")
_OPERATORS_SPELLED = "AND OR NOT = <> < <= > >= BETWEEN IN LIKE ILIKE IS NULL + - * / ||"


@dataclass(frozen=True)
class Predicate:
    """A checked predicate.

    expression   what the user wrote
    sql          the same, written anew, over the columns that `projection(reads)` makes
    reads        the columns it reads, in order; a label reads as `labels['key']`
    unguarded    those of them that no coalesce or IS NULL stands around: null there makes it null
    """

    expression: str
    sql: str
    reads: tuple[str, ...]
    unguarded: tuple[str, ...]


def check(expression: str, where: str) -> Predicate:
    """Read a predicate, or raise ConfigError that says `where`, what is wrong, and what is allowed."""
    walk = _Walk(where, expression)
    try:
        sql, kind = walk.sql(_tree(expression, where))
    except RecursionError:
        raise ConfigError(f"{where}: nested too deeply; write it as several rules") from None
    if kind != "boolean":
        raise ConfigError(f"{where}: `{_short(expression)}` is a {kind}; a predicate has to be true or false")
    predicate = Predicate(expression, sql, tuple(walk.reads), tuple(walk.unguarded))
    _try_out(predicate, where)
    return predicate


def projection(columns: Iterable[str]) -> str:
    """The select list that makes the named columns (of `Predicate.reads`) from a relation with the columns of JOBS."""
    return ", ".join(f"{_column_sql(name)} AS {_projected(name)}" for name in dict.fromkeys(columns))


def columns_of(reads: Iterable[str]) -> tuple[str, ...]:
    """SQL of those columns above their projection."""
    return tuple(_projected(name) for name in reads)


def nearest(word: str, known: Iterable[str]) -> str:
    """`; did you mean 'x'?`, or nothing."""
    close = difflib.get_close_matches(word.lower(), list(known), n=1, cutoff=0.7)
    return f"; did you mean '{close[0]}'?" if close else ""


def _column_sql(name: str) -> str:
    if name in COLUMNS:
        return COLUMNS[name].sql
    return f"map_extract_value(labels, {literal(_label_key(name))})"


def _label_key(name: str) -> str:
    return name.removeprefix("labels['").removesuffix("']")


def _projected(name: str) -> str:
    # SQL names ignore case, keys of labels do not.
    return identifier(name if name in COLUMNS else f"label {_label_key(name).encode().hex()}")


def _short(text: str) -> str:
    return text if len(text) <= 120 else text[:117] + "..."


@cache
def _connection() -> duckdb.DuckDBPyConnection:
    """A connection of our own, empty and shut off from files and network, that parses and tries predicates."""
    connection = duckdb.connect(":memory:", config={"enable_external_access": "false", "threads": "1"})
    connection.execute(f"CREATE TABLE sample AS {_sample_jobs()}")
    return connection


def _serialised(select_list: str) -> Any:
    text = _connection().cursor().execute("SELECT json_serialize_sql(CAST(? AS VARCHAR))", [f"SELECT {select_list}"])
    return json.loads(text.fetchall()[0][0])


@cache
def _bare_frame() -> Any:
    """What DuckDB's tree of a SELECT without any clause looks like, whatever its version."""
    return _frame(_serialised("1")["statements"][0])


def _frame(statement: Any) -> Any:
    return {**statement, "node": {k: v for k, v in statement["node"].items() if k != "select_list"}}


def _tree(expression: str, where: str) -> Any:
    if not expression.strip():
        raise ConfigError(f"{where}: empty; expected a predicate such as name ILIKE '%eval%'")
    if len(expression) > LONGEST:
        raise ConfigError(f"{where}: {len(expression)} characters; a predicate has at most {LONGEST}")
    if "\0" in expression:
        raise ConfigError(f"{where}: has a NUL character in it")
    # `~` means "matches all of it" to DuckDB 1.5 and "matches somewhere" to 2.0.
    if "~" in _QUOTED.sub("", expression):
        raise ConfigError(f"{where}: `{_short(expression)}`: `~` is not allowed; write regexp_matches(name, 'pattern')")
    try:
        answer = _serialised(expression)
    except (duckdb.Error, UnicodeError) as error:
        raise ConfigError(f"{where}: `{_short(expression)}` can't be read: {_first_line(error)}") from None
    if answer["error"]:
        hint = "; for array tasks write is_array" if re.search(r"\barray\b", expression, re.IGNORECASE) else ""
        raise ConfigError(f"{where}: `{_short(expression)}` can't be read: {answer['error_message']}{hint}")
    statements = answer["statements"]
    items = statements[0]["node"].get("select_list", [])
    if len(statements) != 1 or len(items) != 1 or _frame(statements[0]) != _bare_frame():
        raise ConfigError(f"{where}: `{_short(expression)}`: expected one expression, without parameters or clauses around it")
    return items[0]


def _first_line(error: Exception) -> str:
    return str(error).splitlines()[0]


@dataclass
class _Walk:
    """Writes SQL from a tree, piece by piece, and keeps a list of what it read."""

    where: str
    expression: str
    reads: list[str] = field(default_factory=list)
    unguarded: list[str] = field(default_factory=list)
    guards: int = 0

    def refusal(self, found: str, hint: str = "") -> ConfigError:
        return ConfigError(
            f"{self.where}: `{_short(self.expression)}`: {found} is not allowed in a predicate{hint}; operators are"
            f" {_OPERATORS_SPELLED}, functions are {', '.join(FUNCTIONS)}, coalesce"
        )

    def mismatch(self, message: str) -> ConfigError:
        return ConfigError(f"{self.where}: `{_short(self.expression)}`: {message}")

    def sql(self, node: Any) -> tuple[str, Kind]:
        """SQL and kind of one piece of the tree."""
        if node.get("alias"):
            raise self.refusal(f"a name for a column ({node['alias']!r})")
        match node["class"]:
            case "CONSTANT":
                return self.constant(node)
            case "COLUMN_REF":
                return self.column(node["column_names"])
            case "CONJUNCTION":
                return self.conjunction(node)
            case "COMPARISON" if node["type"] in _COMPARISONS:
                operator = _COMPARISONS[node["type"]]
                guard = "DISTINCT" in operator
                (left, right), _ = self.alike(operator, [node["left"], node["right"]], guard=guard)
                return f"({left} {operator} {right})", "boolean"
            case "BETWEEN":
                (it, low, high), _ = self.alike("BETWEEN", [node["input"], node["lower"], node["upper"]])
                return f"({it} BETWEEN {low} AND {high})", "boolean"
            case "OPERATOR":
                return self.operator(node)
            case "FUNCTION":
                return self.function(node)
            case "CAST" if _is_boolean_constant(node):
                return self.constant_boolean(node["child"])
            case other:
                raise self.refusal(_NAMES.get(other, other))

    def column(self, names: list[str]) -> tuple[str, Kind]:
        name = ".".join(names)
        column = COLUMNS.get(name.lower())
        if column is None:
            if name.lower() == "labels" or (len(names) == 2 and names[0].lower() == "labels"):
                raise self.mismatch("a label is read as labels['key']")
            jobs = " (a column of jobs that predicates don't read)" if name.lower() in JOBS.names else ""
            near = nearest(_OTHER_NAMES.get(name.lower(), name), COLUMNS)
            raise self.mismatch(f"no column '{name}'{jobs}{near}; columns are {', '.join(COLUMNS)}, labels['key']")
        return self.read(name.lower()), column.kind

    def read(self, name: str) -> str:
        if name not in self.reads:
            self.reads.append(name)
        if not self.guards and name not in self.unguarded:
            self.unguarded.append(name)
        return _projected(name)

    def label(self, key: Any) -> tuple[str, Kind]:
        text = _text_constant(key)
        if text is None:
            raise self.mismatch("a label is read by a constant key, labels['key']")
        return self.read(f"labels['{text}']"), "text"

    def constant(self, node: Any) -> tuple[str, Kind]:
        text = _text_constant(node)
        if text is not None:
            return literal(text), "text"
        truth = _boolean_constant(node)
        if truth is not None:
            return truth, "boolean"
        if _is_null(node):
            raise self.refusal("NULL", "; a null is found by IS NULL")
        number = _number_constant(node)
        if number is None or not math.isfinite(number):
            raise self.refusal("a constant that is no text, number, true or false")
        return f"CAST('{number!r}' AS DOUBLE)", "number"

    def constant_boolean(self, child: Any) -> tuple[str, Kind]:
        # DuckDB 1.5 writes the constant `true` as a cast of 't'.
        return ("true" if _text_constant(child) == "t" else "false"), "boolean"

    def conjunction(self, node: Any) -> tuple[str, Kind]:
        word = {"CONJUNCTION_AND": " AND ", "CONJUNCTION_OR": " OR "}.get(node["type"])
        if word is None:
            raise self.refusal(node["type"])
        parts = [self.of_kind("boolean", word.strip(), child) for child in node["children"]]
        return f"({word.join(parts)})", "boolean"

    def operator(self, node: Any) -> tuple[str, Kind]:
        children = node["children"]
        match node["type"]:
            case "OPERATOR_NOT":
                return f"(NOT {self.of_kind('boolean', 'NOT', children[0])})", "boolean"
            case "OPERATOR_IS_NULL" | "OPERATOR_IS_NOT_NULL":
                (sql,), _ = self.alike("IS NULL", children, guard=True)
                return f"({sql} IS {'NOT ' if 'NOT' in node['type'] else ''}NULL)", "boolean"
            case "COMPARE_IN" | "COMPARE_NOT_IN":
                (it, *those), _ = self.alike("IN", children)
                found = f"({it} IN ({', '.join(those)}))"
                return f"(NOT {found})" if "NOT" in node["type"] else found, "boolean"
            case "OPERATOR_COALESCE":
                parts, kind = self.alike("coalesce", children, guard=True)
                return f"coalesce({', '.join(parts)})", kind
            case "ARRAY_EXTRACT" if _is_labels(children[0]):
                return self.label(children[1])
            case "ARRAY_EXTRACT":
                raise self.refusal("[...]", "; only labels['key'] is read by brackets")
            case other:
                raise self.refusal(other.removeprefix("OPERATOR_"))

    def function(self, node: Any) -> tuple[str, Kind]:
        name = node["function_name"].lower()
        arguments = _arguments(node)
        if arguments is None or node.get("schema") not in ("", "main", None) or node.get("catalog"):
            raise self.refusal(f"this form of {name}()")
        if name in _LIKES and len(arguments) == 2:
            return self.like(name, *arguments), "boolean"
        if name in _ARITHMETIC:
            numbers = [self.of_kind("number", name, a) for a in arguments]
            if len(numbers) == 1:
                return f"({name} {numbers[0]})", "number"
            # Not infinity or NaN, which compare as larger than everything.
            divisor = f"nullif({numbers[1]}, 0)" if name == "/" else numbers[1]
            return f"({numbers[0]} {name} {divisor})", "number"
        if name == "||" and len(arguments) == 2:
            return "(" + " || ".join(self.of_kind("text", name, a) for a in arguments) + ")", "text"
        if name == "label" and len(arguments) == 1:
            return self.label(arguments[0])
        if name not in FUNCTIONS or node.get("is_operator"):
            raise self.refusal(f"{name}()" if name.isidentifier() else name, nearest(name, [*FUNCTIONS, "coalesce", "label"]))
        return self.call(name, arguments)

    def like(self, operator: str, left: Any, right: Any) -> str:
        text, word = self.of_kind("text", _LIKES[operator], left), _LIKES[operator]
        self.of_kind("text", word, right)
        pattern = self.pattern(word, right)
        if len(re.findall("%+", pattern)) < 3:
            return f"({text} {word} {literal(pattern)})"
        # Of ILIKE, and of `_` between several `%`, DuckDB 1.5 tries every way to place each `%`, which never ends.
        if "*" in operator:
            text, word, pattern = f"lower({text})", word.replace("ILIKE", "LIKE"), _lower(pattern)
        if "_" not in pattern:
            return f"({text} {word} {literal(pattern)})"
        found = f"regexp_full_match({text}, {literal(_like_as_regexp(pattern))}, 's')"
        return f"(NOT {found})" if operator.startswith("!") else found

    def pattern(self, for_what: str, node: Any) -> str:
        text = _text_constant(node)
        if text is None:
            raise self.mismatch(f"the pattern of {for_what} has to be a constant in quotes")
        if len(text) > LONGEST_PATTERN:
            raise self.mismatch(f"the pattern of {for_what} has {len(text)} characters; expected at most {LONGEST_PATTERN}")
        return text

    def call(self, name: str, arguments: list[Any]) -> tuple[str, Kind]:
        kinds, needed, kind = FUNCTIONS[name]
        if not needed <= len(arguments) <= len(kinds):
            raise self.mismatch(f"{name}() takes {needed} argument{'s' if needed > 1 else ''}, found {len(arguments)}")
        if name == "regexp_matches":
            for argument in arguments[1:]:
                self.pattern("regexp_matches()", argument)
        parts = [self.of_kind(k, f"{name}()", a) for k, a in zip(kinds, arguments, strict=False)]
        call = f"{name}({', '.join(parts)})"
        return (f"CAST({call} AS DOUBLE)" if kind == "number" else call), kind

    def of_kind(self, wanted: Kind, for_what: str, node: Any) -> str:
        sql, kind = self.sql(node)
        if kind != wanted:
            raise self.mismatch(f"{for_what} needs a {wanted}, found a {kind}: {_readable(sql)}")
        return sql

    def alike(self, for_what: str, nodes: list[Any], guard: bool = False) -> tuple[list[str], Kind]:
        """SQL of pieces that have to be of one kind. `guard`: a null in them is dealt with."""
        self.guards += guard
        parts = [self.sql(node) for node in nodes]
        self.guards -= guard
        kinds = sorted({kind for _, kind in parts})
        if len(kinds) > 1:
            found = " and ".join(f"{_readable(sql)} (a {kind})" for sql, kind in parts)
            raise self.mismatch(f"{for_what} needs values of one kind, found {found}")
        return [sql for sql, _ in parts], parts[0][1]


def _readable(sql: str) -> str:
    sql = re.sub(r"CAST\('([^']*)' AS DOUBLE\)", r"\1", sql)
    sql = re.sub('"label ([0-9a-f]*)"', lambda found: f"labels['{bytes.fromhex(found[1]).decode()}']", sql)
    return _short(sql.replace('"', ""))


def _like_as_regexp(pattern: str) -> str:
    return "".join(
        {"%": ".*", "_": "."}.get(c) or (c if c.isalnum() else f"\\x{{{ord(c):x}}}") for c in re.sub("%+", "%", pattern)
    )


def _lower(text: str) -> str:
    """As DuckDB writes it in lower case, not as Python does."""
    return str(_connection().cursor().execute("SELECT lower(CAST(? AS VARCHAR))", [text]).fetchall()[0][0])


def _arguments(node: Any) -> list[Any] | None:
    """Arguments of a plain call; None when it has DISTINCT, FILTER, ORDER BY or named arguments."""
    plain = not (node.get("filter") or node.get("distinct") or node.get("export_state"))
    if not plain or (node.get("order_bys") or {}).get("orders"):
        return None
    if "children" in node:  # DuckDB 1.5
        return list(node["children"])
    if any(argument.get("name") for argument in node["arguments"]):
        return None
    return [argument["expression"] for argument in node["arguments"]]


def _is_labels(node: Any) -> bool:
    return node["class"] == "COLUMN_REF" and [n.lower() for n in node["column_names"]] == ["labels"]


def _is_null(node: Any) -> bool:
    return bool(node.get("value", {}).get("is_null")) or node.get("literal", {}).get("kind") == "NULL_LITERAL"


def _is_boolean_constant(node: Any) -> bool:
    cast_to = node.get("cast_type", {}).get("id")  # DuckDB 2.0 keeps the type elsewhere, and needs no such cast
    return cast_to == "BOOLEAN" and _text_constant(node["child"]) in ("t", "f")


def _text_constant(node: Any) -> str | None:
    """A text constant, as DuckDB 2.0 (`literal`) or 1.5 (`value`) writes it; None for anything else."""
    if node.get("class") != "CONSTANT" or _is_null(node):
        return None
    if "literal" in node:
        return str(node["literal"]["text"]) if node["literal"]["kind"] == "STRING" else None
    return str(node["value"]["value"]) if node["value"]["type"]["id"] == "VARCHAR" else None


def _boolean_constant(node: Any) -> str | None:
    if node.get("literal", {}).get("kind") == "BOOLEAN":
        return "true" if node["literal"]["text"].lower() == "true" else "false"
    if node.get("value", {}).get("type", {}).get("id") == "BOOLEAN" and not _is_null(node):
        return "true" if node["value"]["value"] else "false"
    return None


def _number_constant(node: Any) -> float | None:
    if "literal" in node:
        numeric = node["literal"]["kind"] in ("INTEGER", "NUMERIC")
        return float(node["literal"]["text"]) if numeric else None
    value, kind = node["value"].get("value"), node["value"]["type"]["id"]
    if kind == "DECIMAL" and isinstance(value, int):
        return float(value / 10 ** node["value"]["type"]["type_info"]["scale"])
    if kind == "HUGEINT" and isinstance(value, dict):
        return float(value["upper"] * 2**64 + value["lower"])
    if kind in ("INTEGER", "BIGINT", "DOUBLE") and isinstance(value, int | float):
        return float(value)
    return None


_ARROW_TO_SQL = {
    "string": "VARCHAR",
    "int64": "BIGINT",
    "float64": "DOUBLE",
    "bool": "BOOLEAN",
    "timestamp": "TIMESTAMPTZ",
    "map": "MAP(VARCHAR, VARCHAR)",
}
_SAMPLES = {
    "VARCHAR": "'x'",
    "BIGINT": "1",
    "TIMESTAMPTZ": "to_timestamp(0)",
    "MAP(VARCHAR, VARCHAR)": "map(['x'], ['x'])",
}


def _sample_jobs() -> str:
    """SQL of two made-up jobs with the types of JOBS: all null, and nothing null."""
    types = [(identifier(c.name), _ARROW_TO_SQL[c.type]) for c in JOBS.columns]
    nulls = ", ".join(f"CAST(NULL AS {sql}) AS {name}" for name, sql in types)
    values = ", ".join(f"CAST({_SAMPLES[sql]} AS {sql}) AS {name}" for name, sql in types)
    return f"SELECT {nulls} UNION ALL SELECT {values}"


def _try_out(predicate: Predicate, where: str) -> None:
    """Run it once on made-up jobs: a regular expression that RE2 refuses shows only here."""
    columns = projection(predicate.reads) or "1"
    try:
        _connection().cursor().execute(f"SELECT {predicate.sql} FROM (SELECT {columns} FROM sample)").fetchall()
    except duckdb.Error as error:
        raise ConfigError(f"{where}: `{_short(predicate.expression)}`: {_first_line(error)}") from None
