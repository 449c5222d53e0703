"""Currencies: all money of a period in one, with dated rates that the user gives.

Every row of the attributions is converted by itself, with the rate in force at the first instant of its UTC day, and rounded
half to even to nanos: every total is a sum of converted rows, and parts add up as they do without conversion. A rate holds from
its start until its end or the next one of the pair. Only the direction that the table states is used: no rate is inverted, or
made of two others. A row without a rate is an error, and so are two sources that differ; no rate is ever taken to be 1.

Only billing currencies take part. What a provider calls a currency in its prices (credits, tokens) is no money.
"""

from __future__ import annotations

import re
from decimal import Decimal, InvalidOperation

from rdspend.border import exact, literal
from rdspend.engine import Engine
from rdspend.errors import BadRecord, ConfigError
from rdspend.ledger import Snapshot
from rdspend.period import Period
from rdspend.schema import Conversion

CODE = re.compile(r"[A-Z]{3}")

# As many digits behind the point as a rate may have; its fraction is a whole number of these parts.
RATE_DIGITS = 18
RATE_PARTS = f"CAST({10**RATE_DIGITS} AS HUGEINT)"

NAMED = 5
"""So many missing days are named; the rest is counted."""


def refuse_code(code: str) -> None:
    """Raises ConfigError for what can't be a currency's code."""
    if not CODE.fullmatch(code):
        raise ConfigError(f"--in {code!r}: expected an ISO 4217 code of three capital letters, such as EUR")


def convert(engine: Engine, snapshot: Snapshot, period: Period, into: str) -> tuple[Conversion, ...]:
    """Put converted attributions in the place of the view `attributions`; what each other currency came to.

    The original rows stay readable as the view `original_attributions`. Raises ConfigError for a day without a rate, BadRecord
    for a rate that can't be used, or two that differ.
    """
    refuse_code(into)
    months = set(period.months)
    snapshot.view(engine, "attributions", lambda p: p["billing_period"] in months, name="original_attributions")
    snapshot.view(engine, "exchange_rates")
    code = literal(into)
    engine.run("exchange_said", into=code, exact=exact("r.rate"))
    _refuse_unusable(engine, into)
    _refuse_disputed(engine, into)
    _refuse_missing(engine, into)
    engine.run("exchange_day")
    effective, billed = (_converted(f"o.{side}_cost_nanos", code) for side in ("effective", "billed"))
    engine.run("converted", into=code, effective=effective, billed=billed)
    extra = "original_currency, original_effective, original_billed"
    engine.execute(f"CREATE OR REPLACE TEMP VIEW attributions AS SELECT * EXCLUDE ({extra}) FROM converted")
    return tuple(
        Conversion(currency, _money(e), _money(b), _money(ce), _money(cb), Decimal(first), Decimal(last))
        for currency, e, b, ce, cb, first, last in engine.read("conversion")
        if currency != into
    )


def _money(nanos: int) -> Decimal:
    return Decimal(int(nanos)).scaleb(-9)


def _converted(nanos: str, code: str) -> str:
    """SQL of a cost in nanos times the rate of its day, exactly, then rounded half to even.

    Whole units and fraction of the rate are multiplied apart: the largest cost times 10^18 still fits into HUGEINT. So does the
    result, which may be more than fits into a row of the ledger.
    """
    cost = f"CAST({nanos} AS HUGEINT)"
    product = f"({cost} * x.fraction)"
    cut = f"({cost} * x.whole + {product} // {RATE_PARTS})"
    rest = f"abs({product} % {RATE_PARTS})"
    half = f"CAST({10**RATE_DIGITS // 2} AS HUGEINT)"
    up = f"({rest} > {half} OR ({rest} = {half} AND {cut} % 2 <> 0))"
    return (
        f"CASE WHEN o.billing_currency = {code} THEN {nanos} "
        f"WHEN x.whole IS NULL THEN error('no rate for ' || o.billing_currency || ' on ' || o.day) "
        f"ELSE {cut} + CASE WHEN {up} THEN sign({nanos}) ELSE 0 END END"
    )


def _refuse_unusable(engine: Engine, into: str) -> None:
    rows = engine.rows("SELECT DISTINCT currency, rate, exact, origin_file, origin_row FROM exchange_said ORDER BY ALL")
    for currency, text, read, file, row in rows:
        try:
            usable = read is not None and read > 0 and Decimal(text) == read
        except InvalidOperation:
            usable = False
        if not usable:
            raise BadRecord(
                f"row {row}: rate of {currency} into {into}: found {text!r}, expected a decimal number above 0 with at most "
                f"{RATE_DIGITS} digits behind the point",
                file,
            )


def _refuse_disputed(engine: Engine, into: str) -> None:
    for currency, day, *ends in engine.read("exchange_disputed"):
        one, other = (f"{source} says {rate} ({file}:{row})" for source, file, row, rate in (ends[:4], ends[4:]))
        raise BadRecord(f"rate of {currency} into {into} on {day}: {one}, {other}; expected one rate: take one of them out")


def _refuse_missing(engine: Engine, into: str) -> None:
    missing = engine.read("exchange_missing", into=literal(into))
    if not missing:
        return
    named = "; ".join(
        f"{currency} on {day}: {rows:,} rows, effective {_money(effective):,.9f}, billed {_money(billed):,.9f}"
        for currency, day, rows, effective, billed in missing[:NAMED]
    )
    more = f"; and {len(missing) - NAMED:,} more days" if len(missing) > NAMED else ""
    pairs = engine.rows("SELECT DISTINCT currency || ' into ' || \"into\" FROM exchange_rates ORDER BY 1")
    known = ", ".join(pair for (pair,) in pairs) or "none"
    raise ConfigError(
        f"--in {into}: no rate in force for {named}{more}; the exchange table has rates of {known}: add the missing ones, "
        "then `rdspend run` the period again"
    )
