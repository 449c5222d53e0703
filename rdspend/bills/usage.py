"""Bills of usage without costs: quantities, priced by a list that the user writes, until the invoice says the amount.

    [[price]]
    sku = "GPU-H100-SXM"                # SkuId of the line; or `instance_type`, in its SkuPriceDetails
    unit = "GPU-Hours"                  # ConsumedUnit of the line; PricingUnit where it has none
    price = 2.49                        # of one unit; exact, up to nine decimals
    currency = "USD"
    from = 2026-01-01                   # optional, like `to`: half open, for the start of the line's charge period

    [[invoice]]
    invoice = "INV-2026-10"
    billing_period = "2026-10"
    amount = 48211.07
    currency = "USD"

A line's cost is its ConsumedQuantity, or its PricingQuantity where that is empty, times its price, and an estimate; quantities
are exact to 12 decimals. A file whose costs are all 0 has none, and is priced too. Where there is an invoice of its month and
currency, the lines are brought to it in proportion, to the nano: the largest remainders take what is over.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime

import duckdb

from rdspend.bills.agreements import (
    CURRENCY,
    INSTANT,
    MONTH,
    PRICE,
    TEXT,
    Agreement,
    Entry,
    Form,
    Key,
    read_toml,
    refuse_overlaps,
    refuse_twice,
)
from rdspend.bills.column import exact_of, time_of
from rdspend.bills.dialect import View
from rdspend.border import literal

SELECTORS = ("sku", "instance_type")

PRICE_OF_USAGE = Form(
    "price",
    {
        **dict.fromkeys(SELECTORS, Key(TEXT)),
        "unit": Key(TEXT, required=True),
        "price": Key(PRICE, required=True),
        "currency": Key(CURRENCY, required=True),
        "from": Key(INSTANT),
        "to": Key(INSTANT),
    },
    one_of=(SELECTORS,),
)
INVOICE_OF_USAGE = Form(
    "invoice",
    {
        "invoice": Key(TEXT, required=True),
        "billing_period": Key(MONTH, required=True),
        "amount": Key(PRICE, required=True),
        "currency": Key(CURRENCY, required=True),
    },
    spans=(),
)
PRICES_OF_USAGE = Agreement("list of prices of usage", (PRICE_OF_USAGE, INVOICE_OF_USAGE), "focus")


@dataclass(frozen=True)
class Prices:
    """A checked list of prices and invoices."""

    file: str
    prices: Sequence[Entry]
    invoices: Sequence[Entry]

    @classmethod
    def read(cls, file: str) -> Prices:
        entries = read_toml(file, PRICES_OF_USAGE)
        prices = [e for e in entries if e.form is PRICE_OF_USAGE]
        invoices = [e for e in entries if e.form is INVOICE_OF_USAGE]
        refuse_overlaps(prices, lambda e: (*_what(e), e["unit"].lower()), lambda e: f"two prices match {' '.join(_what(e))}")
        refuse_twice(invoices, lambda e: (e["billing_period"], e["currency"]), lambda e: f"an invoice of {e['billing_period']}")
        return cls(file, prices, invoices)

    def load(self, connection: duckdb.DuckDBPyConnection) -> None:
        """The table usage_price, for `priced`."""
        connection.execute(
            "CREATE TEMP TABLE usage_price (selector VARCHAR, value VARCHAR, unit VARCHAR, price DECIMAL(19, 9), "
            "currency VARCHAR, since TIMESTAMPTZ, until TIMESTAMPTZ)"
        )
        for entry in self.prices:
            selector, value = _what(entry)
            since, until = (_instant(entry[key]) for key in ("from", "to"))
            price = f"CAST({entry['price']} AS DECIMAL(28, 9)) * 0.000000001"
            texts = ", ".join(map(literal, (selector, value, entry["unit"].lower())))
            connection.execute(
                f"INSERT INTO usage_price VALUES ({texts}, {price}, {literal(entry['currency'])}, {since}, {until})"
            )

    def invoice(self, billing_month: str) -> Sequence[Entry]:
        return [e for e in self.invoices if e["billing_period"] == billing_month]


def _what(entry: Entry) -> tuple[str, str]:
    return next((key, entry[key]) for key in SELECTORS if entry[key] is not None)


def _instant(instant: datetime | None) -> str:
    return f"CAST({literal(instant.isoformat() if instant else None)} AS TIMESTAMPTZ)"


COSTS = ("BilledCost", "EffectiveCost", "ListCost", "ContractedCost")


def zeros(view: View) -> dict[str, str]:
    """SQL by name: the line has a cost of 0 (`rdspend_zero`), or one that is something (`rdspend_cost`)."""
    texts = [f"NULLIF(CAST({column[0]} AS VARCHAR), '')" for column in map(view.find, COSTS) if column]
    zero = [f"COALESCE(TRY_CAST({text} AS DECIMAL(38, 18)) = 0, false)" for text in texts]
    cost = [f"({text} IS NOT NULL AND NOT {is_zero})" for text, is_zero in zip(texts, zero, strict=True)]
    return {"rdspend_zero": " OR ".join(zero) or "false", "rdspend_cost": " OR ".join(cost) or "false"}


def priced(view: View, assume_utc: bool, is_zero: bool = False) -> View:
    """A view whose lines without costs have the price of their usage; `rdspend_priced` is true there.

    `is_zero`: every cost in the file is 0, which is no cost.
    """
    consumed, pricing = (
        {part: f"NULLIF(CAST({(view.find(kind + part) or ('NULL',))[0]} AS VARCHAR), '')" for part in ("Quantity", "Unit")}
        for kind in ("Consumed", "Pricing")
    )
    quantity = f"COALESCE({consumed['Quantity']}, {pricing['Quantity']})"
    unit = f"CASE WHEN {consumed['Quantity']} IS NULL THEN {pricing['Unit']} ELSE {consumed['Unit']} END"
    details = view.find("SkuPriceDetails")
    keys = {
        "sku": (view.find("SkuId") or ("CAST(NULL AS VARCHAR)",))[0],
        "instance_type": f"json_extract_string(TRY_CAST({details[0]} AS JSON), '$.InstanceType')" if details else "NULL",
    }
    start, start_kind = view.find("ChargePeriodStart") or ("CAST(NULL AS VARCHAR)", "VARCHAR")
    at = time_of(start, start_kind, assume_utc)
    joins = "".join(_join(key, value, unit, at) for key, value in keys.items())
    price, currency = (f"COALESCE(rdspend_sku_{n}, rdspend_instance_type_{n})" for n in ("price", "currency"))
    cost = (
        f"CAST(CAST({exact_of(quantity, 'VARCHAR')} AS DECIMAL(29, 12)) * CAST({price} AS DECIMAL(19, 9)) AS DECIMAL(38, 18))"
    )
    written_costs = {name: view.find(name) for name in ("BilledCost", "EffectiveCost")}
    costs = {name: f"{exact_of(*column)}" if column else "NULL" for name, column in written_costs.items()}
    empty = [f"NULLIF(CAST({column[0]} AS VARCHAR), '') IS NULL" for column in written_costs.values() if column]
    nothing = "true" if is_zero or not empty else " AND ".join(empty)
    written = view.find("BillingCurrency")
    money = f"CASE WHEN {nothing} THEN COALESCE({currency}, {written[0]}) ELSE {written[0]} END" if written else currency
    given_costs = {n.lower(): (f"CASE WHEN {nothing} THEN {cost} ELSE {c} END", "DECIMAL(38,18)") for n, c in costs.items()}
    return replace(
        view,
        columns={**view.columns, **given_costs, "billingcurrency": (money, "VARCHAR")},
        around=f"(SELECT * FROM {view.around} AS line{joins})",
        passed={**view.passed, "rdspend_priced": nothing, "rdspend_price": price, "rdspend_unit": unit},
    )


def _join(selector: str, value: str, unit: str, at: str) -> str:
    names = ("price", "currency", "unit", "value", "since", "until")
    prefix = f"rdspend_{selector}_"
    price = f"SELECT {', '.join(f'{n} AS {prefix}{n}' for n in names)} FROM usage_price WHERE selector = {literal(selector)}"
    return (
        f" LEFT JOIN ({price}) AS {selector} ON {prefix}value = {value} AND {prefix}unit = lower({unit})"
        f" AND COALESCE({at} >= {prefix}since, true) AND COALESCE({at} < {prefix}until, true)"
    )


def brought_to(select: str, invoices: Sequence[Entry]) -> str:
    """Estimated lines of a month brought to their invoices: billed, in proportion, exact.

    What is taken back is negative: shares are rounded down, not towards 0, so what is left over is never below 0.
    """
    for entry in invoices:
        mine = f"(basis = 'estimated' AND billing_currency = {literal(entry['currency'])})"
        part = f"CAST(billed_cost_nanos AS HUGEINT) * {entry['amount']}"
        rest = f"({part} % whole + CASE WHEN {part} % whole < 0 THEN whole ELSE 0 END)"
        down = f"({part} // whole - CASE WHEN {part} % whole < 0 THEN 1 ELSE 0 END)"
        cost = f"CAST({down} AS BIGINT) + CASE WHEN place <= missing THEN 1 ELSE 0 END"
        select = f"""
            SELECT * EXCLUDE (mine, whole, missing, place) REPLACE (
                CASE WHEN mine THEN {cost} ELSE billed_cost_nanos END AS billed_cost_nanos,
                CASE WHEN mine THEN {cost} ELSE effective_cost_nanos END AS effective_cost_nanos,
                CASE WHEN mine THEN {literal(entry["invoice"])} ELSE invoice_id END AS invoice_id,
                CASE WHEN mine THEN 'billed' ELSE basis END AS basis)
            FROM (
                SELECT *, {entry["amount"]} - sum({down}) OVER (PARTITION BY mine) AS missing,
                    row_number() OVER (PARTITION BY mine ORDER BY {rest} DESC, origin_file, origin_row) AS place
                FROM (SELECT *, {mine} AS mine, sum(billed_cost_nanos) OVER (PARTITION BY {mine}) AS whole FROM ({select}))
            )"""
    return select
