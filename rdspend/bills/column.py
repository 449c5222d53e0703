"""One column of a bill, as SQL. `kind` is DuckDB's name of the type that the file gives it.

Money comes as decimal text, as an exact decimal or as a double: each is brought to whole nanos without a float in between.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from rdspend.border import exact, instant, literal, nanos

# The largest cost of a line, in whole units of the currency, that surely fits into nanos.
MOST = 9_000_000_000


def time_of(column: str, kind: str, assume_utc: bool) -> str:
    """TIMESTAMPTZ, null where the time has no zone and none is assumed."""
    if kind.startswith("TIMESTAMP WITH"):
        return column
    if kind.startswith(("TIMESTAMP", "DATE")):
        return f"CAST(CAST({column} AS TIMESTAMP) AS TIMESTAMPTZ)" if assume_utc else "CAST(NULL AS TIMESTAMPTZ)"
    # Nearly every time ends in Z: asking that first takes a third of the time of the whole pattern.
    zoned = f"CASE WHEN suffix({column}, 'Z') AND strlen({column}) BETWEEN 17 AND 30 THEN TRY_CAST({column} AS TIMESTAMPTZ) "
    zoned += f"ELSE {instant(column)} END"
    with_zone = f"({column} || 'Z')"
    return f"COALESCE({zoned}, {instant(with_zone)})" if assume_utc else zoned


def _short_double(column: str) -> str:
    """True where a double is the nearest one to a decimal with nine places, of 15 digits at most: so it is that decimal.

    Also true where it is less than the 18th place shows.
    """
    return f"(abs({column}) < 1000000 AND (round({column} * 1e9) / 1e9 = {column} OR abs({column}) < 1e-18))"


def decimal_parts(column: str, kind: str) -> dict[str, str]:
    """A number as whole `digits` and decimal `places` in 64 bits; null where it needs more, or has an exponent."""
    text = column if kind == "VARCHAR" else f"CAST({column} AS VARCHAR)"
    plain = f"CASE WHEN regexp_full_match({text}, '-?(\\d+(\\.\\d*)?|\\.\\d+)') THEN {text} END"
    parts = {
        "digits": f"TRY_CAST(replace({plain}, '.', '') AS BIGINT)",
        "places": f"CASE WHEN contains({text}, '.') THEN strlen({text}) - instr({text}, '.') ELSE 0 END",
    }
    if kind in ("DOUBLE", "FLOAT"):
        short = _short_double(column)
        shorts = {"digits": f"CAST(round({column} * 1e9) AS BIGINT)", "places": "9"}
        return {name: f"CASE WHEN {short} THEN {shorts[name]} ELSE {parts[name]} END" for name in parts}
    if kind != "VARCHAR":
        parts["digits"], parts["places"] = f"TRY_CAST(replace({text}, '.', '') AS BIGINT)", str(_scale(kind))
    return parts


def _scale(kind: str) -> int:
    """Decimal places of an exact type."""
    decimal = re.fullmatch(r"DECIMAL\(\d+,(\d+)\)", kind)
    return int(decimal[1]) if decimal else 0


def exact_of(column: str, kind: str) -> str:
    return exact(column if kind == "VARCHAR" else f"CAST({column} AS VARCHAR)")


def may_round(column: str, kind: str) -> str:
    """False where a number surely has nine decimals at most; cheap."""
    if kind in ("DOUBLE", "FLOAT"):
        return f"NOT {_short_double(column)}"
    if kind == "VARCHAR":
        return f"(strlen({column}) - instr({column}, '.') > 9 OR contains({column}, 'e') OR contains({column}, 'E'))"
    return "true" if _scale(kind) > 9 else "false"


def nanos_of(column: str, kind: str) -> str:
    """Nanos in BIGINT, rounded half to even, from digits and places; null where it is no number or none that fits.

    Whole numbers of 64 bits do for nearly every cost, at a tenth of the price of wide decimals.
    """
    digits, places = f"digits_{column}", f"places_{column}"
    ten = "[" + ", ".join(str(10**n) for n in range(10)) + "]"
    most, cut = f"{MOST} * {ten}[{places} + 1]", f"{ten}[{places} - 8]"
    quotient, rest = f"({digits} // {cut})", f"({digits} % {cut})"
    up = f"(2 * abs({rest}) > {cut} OR (2 * abs({rest}) = {cut} AND {quotient} % 2 <> 0))"
    wide = f"lambda d: CASE WHEN d BETWEEN -{MOST} AND {MOST} THEN {nanos('d')} END"
    return f"""CASE
        WHEN {places} <= 9 AND {digits} BETWEEN -{most} AND {most} THEN {digits} * {ten}[10 - {places}]
        WHEN {places} BETWEEN 10 AND 18 AND {digits} IS NOT NULL
            THEN {quotient} + CASE WHEN {up} THEN CAST(sign({digits}) AS BIGINT) ELSE 0 END
        ELSE list_transform([{exact_of(column, kind)}], {wide})[1] END"""


def text_of(column: str, kind: str) -> str:
    """Text; empty, `NULL` and `null` are null (in a CSV the reader has seen to it)."""
    return (
        f"CASE WHEN {column} NOT IN ('', 'NULL', 'null') THEN {column} END"
        if kind == "VARCHAR"
        else f"CAST({column} AS VARCHAR)"
    )


def tags_of(column: str, kind: str) -> str:
    if kind.startswith("MAP"):
        return f"CAST({column} AS MAP(VARCHAR, VARCHAR))"
    if kind.startswith("STRUCT"):
        # A struct has every key on every row: those without a value are no tags of this row.
        entries = f"map_entries(CAST(to_json({column}) AS MAP(VARCHAR, VARCHAR)))"
        return f"map_from_entries(list_filter({entries}, lambda entry: entry.value IS NOT NULL))"
    # DuckDB 1.5 makes a map of a key that stands there twice, 2.0 does not.
    keys = f"json_keys(TRY_CAST({column} AS JSON))"
    once = f"len({keys}) = len(list_distinct({keys}))"
    return f"CASE WHEN {once} THEN TRY_CAST(TRY_CAST({column} AS JSON) AS MAP(VARCHAR, VARCHAR)) END"


def spelled(text: str, words: Sequence[str], otherwise: str) -> str:
    """FOCUS's spelling of a word in any case."""
    whens = " ".join(f"WHEN {literal(w)} THEN {literal(w)}" for w in words)
    loose = " ".join(f"WHEN {literal(w.lower())} THEN {literal(w)}" for w in words)
    return f"CASE {text} {whens} ELSE CASE lower({text}) {loose} ELSE {otherwise} END END"
