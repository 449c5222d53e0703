"""SQL fragments that parse foreign text into the schema's types, at the border and nowhere else.

Each function takes SQL expressions as text and returns a SQL expression for DuckDB. Values that can't be parsed become
null here: the collector decides between `null in, null out` and `something in, null out` (= a BadRecord that names the
line). After the border nobody checks types again.
"""

from __future__ import annotations

import json
import re

from rdspend.errors import BadRecord
from rdspend.schema import GPU_PARTS

# Plain decimals and exponents, as FOCUS and the clouds write them. No plus sign, blank, comma, currency sign, NaN, inf.
DECIMAL_TEXT = r"^-?(\d+(\.\d*)?|\.\d+)([eE][-+]?\d{1,2})?$"

# ISO 8601 date and time with seconds, any fraction, and a zone: Z or an offset. `T` or a blank between.
INSTANT_TEXT = r"^\d{4}-\d{2}-\d{2}[T ]\d{2}:\d{2}(:\d{2}(\.\d+)?)?\s*([Zz]|[-+]\d{2}(:?\d{2})?|UTC)$"

REFUSED = "rdspend:bad_record:"
"""How the text of an `error()` starts that `refuse` raises inside a query and `bad_record` reads; JSON follows."""

CSV_ERROR = re.compile(r"CSV Error on Line: (\d+)\s*(.*?)\s*Possible .*?\n\s*file = ([^\n]+)", re.DOTALL)
"""What DuckDB says of a line of a CSV file with too many values, an open quote and the like."""


def identifier(name: str) -> str:
    """A column name, quoted for SQL."""
    return '"' + name.replace('"', '""') + '"'


def literal(text: str | None) -> str:
    """A text constant, quoted for SQL; None is NULL."""
    return "NULL" if text is None else "'" + text.replace("'", "''") + "'"


def exact(text: str) -> str:
    """Text to DECIMAL(38, 18), null when it isn't a plain number. Digits past the 18th place are rounded."""
    plain = f"CASE WHEN regexp_full_match({text}, '{DECIMAL_TEXT[1:-1]}') THEN {text} END"
    return f"TRY_CAST({plain} AS DECIMAL(38, 18))"


def nanos(decimal: str) -> str:
    """DECIMAL(38, 18) to whole nanos in BIGINT, rounded half to even."""
    whole = f"TRUNC(CAST({decimal} AS DECIMAL(38, 18)) * 1000000000)"
    return half_even(decimal, whole)


def half_even(decimal: str, whole: str) -> str:
    """`whole` is the decimal in nanos, cut; add or take one where the cut part is over half, or half and it is odd."""
    rest = f"(CAST({decimal} AS DECIMAL(38, 18)) - CAST({whole} AS DECIMAL(38, 0)) * 0.000000001)"
    step = f"CASE WHEN {rest} < 0 THEN -1 ELSE 1 END"
    up = f"(ABS({rest}) > 0.0000000005 OR (ABS({rest}) = 0.0000000005 AND CAST({whole} AS BIGINT) % 2 <> 0))"
    return f"(CAST({whole} AS BIGINT) + CASE WHEN {up} THEN {step} ELSE 0 END)"


def instant(text: str) -> str:
    """ISO 8601 text with a zone to TIMESTAMPTZ; null when it isn't one, or has no zone."""
    return f"CASE WHEN regexp_full_match({text}, '{INSTANT_TEXT[1:-1]}') THEN TRY_CAST({text} AS TIMESTAMPTZ) END"


def end_day(end_time: str) -> str:
    """The partition a job's end belongs to: its UTC day, or `open`."""
    return f"COALESCE(strftime(CAST(timezone('UTC', {end_time}) AS DATE), '%Y-%m-%d'), 'open')"


def month(instant_: str) -> str:
    """The UTC month of an instant, `2026-10`."""
    return f"strftime(timezone('UTC', {instant_}), '%Y-%m')"


def job_key(cluster: str, job_id: str, submit_time: str) -> str:
    """`cluster/job_id/submit epoch seconds`: one run, also after a requeue."""
    return f"{cluster} || '/' || {job_id} || '/' || CAST(CAST(epoch({submit_time}) AS BIGINT) AS VARCHAR)"


def gpu_parts(gpus: str) -> str:
    """A GPU count, whole or a fraction as exact decimal, to whole GPU parts; null when it isn't whole parts.

    0.333333 is taken as a third: the nearest whole part is used when it is within 1e-6 of a GPU.
    """
    scaled = f"(CAST({gpus} AS DECIMAL(38, 12)) * {GPU_PARTS})"
    return f"CASE WHEN ABS({scaled} - ROUND({scaled})) <= 0.000001 * {GPU_PARTS} THEN CAST(ROUND({scaled}) AS BIGINT) END"


def refuse(file: str, row: str, column: str, found: str, expected: str, line: str = "NULL") -> str:
    """Stops the query with a bad record; a value of no type, for the ELSE of a CASE or the end of a COALESCE.

    `file`, `row` (1-based), `found` and `line` are SQL expressions, `column` and `expected` plain texts. One pass reads
    and checks: `COALESCE(TRY_CAST(x AS DATE), refuse(...))`. Who runs the query gives the exception to `bad_record`.
    """
    fields = {
        "file": file,
        "row": row,
        "line": line,
        "column": literal(column),
        "found": f"left(CAST({found} AS VARCHAR), 80)",
        "expected": literal(expected),
    }
    record = ", ".join(f"'{key}', {value}" for key, value in fields.items())
    return f"error('{REFUSED}' || CAST(json_object({record}) AS VARCHAR))"


def bad_record(error: BaseException) -> BadRecord | None:
    """The bad record that a query stopped at, by `refuse` or in a CSV file; None when it failed for another reason."""
    _, mark, text = str(error).partition(REFUSED)
    if not mark:
        csv = CSV_ERROR.search(str(error))
        return csv and BadRecord(f"can't be read: {' '.join(csv[2].split())[:300]}", csv[3].strip(), int(csv[1]))
    record = json.JSONDecoder().raw_decode(text)[0]
    found = "nothing" if record["found"] is None else repr(record["found"])
    where = "" if record["row"] is None else f"row {record['row']}: "
    return BadRecord(f"{where}{record['column']}: found {found}, expected {record['expected']}", record["file"], record["line"])
