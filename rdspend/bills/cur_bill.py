"""The lines of an AWS cost and usage report as charges: one SELECT a group of files with the same columns.

Columns go by their names in CUR 2.0. Every number of money is brought to whole nanos by itself, then added.
"""

from __future__ import annotations

import csv
import re
import tomllib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from decimal import Decimal
from functools import cache, cached_property
from pathlib import Path

import duckdb

from rdspend.bills.column import MOST, decimal_parts, exact_of, may_round, nanos_of, tags_of, time_of
from rdspend.bills.cur_export import shifted, snake
from rdspend.bills.files import File, sound
from rdspend.bills.layout import Layout, inspect_csv, inspect_parquet, read_csv, read_parquet
from rdspend.border import literal, month, nanos, refuse
from rdspend.errors import BadRecord
from rdspend.schema import CHARGES

DATA = Path(__file__).parent / "aws"

BILLED, NET = "line_item_unblended_cost", "line_item_net_unblended_cost"
LIST = "pricing_public_on_demand_cost"
TYPE = "line_item_line_item_type"
PERIOD = "bill_billing_period_start_date"
START, END = "line_item_usage_start_date", "line_item_usage_end_date"
CURRENCY = "line_item_currency_code"
RESOURCE = "line_item_resource_id"
PARENT = "split_line_item_parent_resource_id"
REQUIRED = (TYPE, BILLED, CURRENCY, PERIOD, START, END)

# Without these a bill is read; what it then can't say is noted.
EXPECTED = (RESOURCE, "bill_invoice_id", "line_item_usage_account_id", "line_item_product_code", "line_item_usage_type")

SAVINGS_PLAN = ("savings_plan_net_savings_plan_effective_cost", "savings_plan_savings_plan_effective_cost")
RESERVATION = ("reservation_net_effective_cost", "reservation_effective_cost")
UNUSED_UPFRONT = (
    "reservation_net_unused_amortized_upfront_fee_for_billing_period",
    "reservation_unused_amortized_upfront_fee_for_billing_period",
)
UNUSED_RECURRING = ("reservation_net_unused_recurring_fee", "reservation_unused_recurring_fee")
COMMITTED, USED = "savings_plan_total_commitment_to_date", "savings_plan_used_commitment"

# Columns of money, and the effective rule that reads them; None: every line.
MONEY: dict[str, str | None] = {
    **dict.fromkeys((BILLED, NET, LIST)),
    **dict.fromkeys(SAVINGS_PLAN, "savings_plan"),
    **dict.fromkeys((COMMITTED, USED), "savings_plan_unused"),
    **dict.fromkeys(RESERVATION, "reservation"),
    **dict.fromkeys((*UNUSED_UPFRONT, *UNUSED_RECURRING), "reservation_unused"),
}

TEXTS = (
    TYPE,
    CURRENCY,
    RESOURCE,
    PARENT,
    "identity_line_item_id",
    "identity_time_interval",
    "bill_invoice_id",
    "bill_billing_entity",
    "bill_invoicing_entity",
    "bill_payer_account_id",
    "bill_payer_account_name",
    "line_item_usage_account_id",
    "line_item_usage_account_name",
    "line_item_product_code",
    "line_item_usage_type",
    "line_item_operation",
    "line_item_availability_zone",
    "line_item_line_item_description",
    "line_item_legal_entity",
    "line_item_iam_principal",
    "product_instance_type",
    "product_product_family",
    "product_product_name",
    "product_region_code",
    "product_region",
    "product_sku",
    "product_vcpu",
    "pricing_rate_id",
    "pricing_rate_code",
    "pricing_unit",
    "reservation_reservation_a_r_n",
    "savings_plan_savings_plan_a_r_n",
    "capacity_reservation_capacity_reservation_arn",
    "capacity_reservation_capacity_reservation_status",
    "split_line_item_reserved_usage",
    "split_line_item_split_usage",
)
NUMBERS = ("line_item_usage_amount",)
OF_PRODUCT = ("product_product_name", "product_vcpu")

TAG_PREFIX = "resource_tags_"
TAGS = "resource_tags"

# Rows of split cost allocation that repeat the money of the EC2 instance below them.
REPEATING = ("EKSPod-EC2", "ECSTask-EC2")
# Rows of Fargate are the bill of the task or pod itself, also where the columns of split cost allocation are filled.
OF_ITSELF = ("FargatePod", "FargateTask")

ATTOS = 10**18

# Where a fee may name the reservation that it is for.
FEE_WORDS = f"concat_ws(' ', {RESOURCE}, capacity_reservation_capacity_reservation_arn, line_item_line_item_description)"
RESERVATION_ID = r"\bcr-[0-9a-f]{8,}\b"


@dataclass(frozen=True)
class LineType:
    """One row of the table of line types; see its file."""

    category: str
    effective: str
    frequency: str | None = None
    status: str | None = None
    discount: bool = False


@cache
def line_types() -> dict[str, LineType]:
    tree = tomllib.loads((DATA / "line_types.toml").read_text(encoding="utf-8"))
    return {name: LineType(**row) for name, row in tree.items()}


UNKNOWN_TYPE = LineType("Adjustment", "cost")


@cache
def services() -> dict[str, tuple[str, str]]:
    """Product code to name and FOCUS category of the service."""
    with (DATA / "services.csv").open(encoding="utf-8", newline="") as stream:
        return {row["product_code"]: (row["service_name"], row["service_category"]) for row in csv.DictReader(stream)}


def prepare(connection: duckdb.DuckDBPyConnection) -> None:
    """The tables of services and kinds of line, which the bill is joined to: cheaper than comparing words line by line."""
    known = [[code, *words] for code, words in services().items()]
    fill(connection, "known_service (product_code VARCHAR, service_name VARCHAR, service_category VARCHAR)", known)
    types = [[n, t.category, t.frequency, t.status, t.effective, str(t.discount)] for n, t in line_types().items()]
    columns = "line_type VARCHAR, category VARCHAR, frequency VARCHAR, status VARCHAR, rule VARCHAR, discount BOOLEAN"
    fill(connection, f"known_type ({columns})", types)


def fill(connection: duckdb.DuckDBPyConnection, table: str, rows: Iterable[Sequence[str | None]]) -> None:
    """A small table of text, in one statement."""
    connection.execute(f"CREATE OR REPLACE TEMP TABLE {table}")
    values = ", ".join(f"({', '.join(map(literal, row))})" for row in rows)
    connection.execute(f"INSERT INTO {table.partition(' ')[0]} VALUES {values}")


@dataclass(frozen=True)
class Asked:
    """What of a bill is asked for.

    months    month of the lines; with a manifest every line has to be of it, without one the others are passed over
    checked   every line has to be of the month
    blocks    capacity blocks whose fee is not to count where it was billed
    bedrock   lines of Bedrock get an id of their own for each account, caller, resource, usage type and day
    netted    lines that are no discount have net costs: a line of a discount without its own repeats what is in those
    """

    month: str
    checked: bool
    blocks: tuple[str, ...] = ()
    bedrock: bool = False
    netted: bool = False


@dataclass(frozen=True)
class Part:
    """Files with the same columns, read as one table. A CSV stands alone: its rows are counted."""

    files: tuple[File, ...]
    layout: Layout

    @cached_property
    def columns(self) -> dict[str, tuple[str, str]]:
        """Name in CUR 2.0 to name in SQL and type."""
        return {snake(written): (name, kind) for written, name, kind in self.layout.columns}

    @cached_property
    def tag_columns(self) -> dict[str, str]:
        """Keys of tags that have a column of their own, and that column."""
        return {
            snake(written).removeprefix(TAG_PREFIX): name
            for written, name, _ in self.layout.columns
            if snake(written).startswith(TAG_PREFIX)
        }

    def has(self, column: str) -> bool:
        return column in self.columns

    def kind(self, column: str) -> str:
        return self.columns[column][1]

    def check(self) -> None:
        """The columns without which it is no bill are there, every column once."""
        line = None if self.files[0].is_parquet else 1
        written = [snake(name) for name, *_ in self.layout.columns]
        for name in REQUIRED:
            if name not in written:
                what = f"{len(written)} columns" if len(written) > 1 else f"one column, {written}, so maybe not commas between"
                raise BadRecord(
                    f"no column {name} in {what}, expected a cost and usage report of AWS", self.files[0].name, line
                )
        for name in (*TEXTS, *MONEY, *REQUIRED):
            if written.count(name) > 1:
                raise BadRecord(
                    f"column {name} stands there {written.count(name)} times, expected once", self.files[0].name, line
                )

    # SELECTs, each over the one before.

    def rows(self, counted: bool = True) -> str:
        """The columns as they stand in the file, by our names; empty text is null."""
        raw = [f"{self._text(c)} AS {c}" for c in TEXTS if self.has(c)]
        raw += [f"{self._attribute(c)} AS {c}" for c in TEXTS if not self.has(c)]
        raw += [f"{self.columns[c][0]} AS {c}" for c in (*MONEY, *NUMBERS, PERIOD, START, END) if self.has(c)]
        raw.append(f"{self._tags()} AS {TAGS}")
        if self.files[0].is_parquet:
            root = self.files[0].root
            file = f"'s3://' || substr(rdspend_file, {len(root) + 1})" if root else "rdspend_file"
            row, source = "file_row_number + 1", read_parquet(self.files)
        else:
            number = "row_number() OVER ()" if counted else "CAST(NULL AS BIGINT)"
            file, row = literal(self.files[0].name), "row"
            source = f"(SELECT *, {number} AS row FROM {read_csv(self.files[0], self.layout)})"
        return f"SELECT {', '.join(raw)}, {file} AS origin_file, {row} AS origin_row FROM {source}"

    def _text(self, column: str) -> str:
        name, kind = self.columns[column]
        if kind != "VARCHAR":
            return f"CAST({name} AS VARCHAR)"
        return f"nullif({name}, '')" if self.files[0].is_parquet else name

    def _attribute(self, column: str) -> str:
        """A column of the legacy report that CUR 2.0 has in its map of product attributes."""
        if column not in OF_PRODUCT or not self.has("product"):
            return "CAST(NULL AS VARCHAR)"
        (name, kind), key = self.columns["product"], literal(column.removeprefix("product_"))
        if kind.startswith("MAP"):
            return f"nullif(CAST(map_extract({name}, {key})[1] AS VARCHAR), '')"
        return f"nullif(json_extract_string(TRY_CAST({name} AS JSON), {key}), '')"

    def _tags(self) -> str:
        if self.has(TAGS):
            return self.columns[TAGS][0]
        if not self.tag_columns:
            return "CAST(NULL AS MAP(VARCHAR, VARCHAR))"
        found = {key: f"nullif({name}, '')" for key, name in self.tag_columns.items()}
        pairs = ", ".join(f"{{'key': {literal(key)}, 'value': {value}}}" for key, value in found.items())
        some = f"COALESCE({', '.join(found.values())}) IS NOT NULL"
        return f"CASE WHEN {some} THEN map_from_entries(list_filter([{pairs}], lambda tag: tag.value IS NOT NULL)) END"

    def parsed(self, counted: bool = True) -> str:
        """Times, and what decides about a line, worked out once."""
        times = {name: time_of(name, self.kind(name), assume_utc=True) for name in (PERIOD, START, END)}
        added = [f"{expression} AS time_{name}" for name, expression in times.items()]
        for column in (c for c in MONEY if self.has(c) and self.kind(c) != "DOUBLE"):
            for prefix, expression in decimal_parts(column, self.kind(column)).items():
                added.append(f"{self._guarded(column, expression)} AS {prefix}_{column}")
        rows = f"({self.rows(counted)}) AS line LEFT JOIN known_type ON line.{TYPE} = known_type.line_type"
        return f"SELECT line.*, category, frequency, status, rule, discount, {', '.join(added)} FROM {rows}"

    def _guarded(self, column: str, expression: str) -> str:
        rule = MONEY[column]
        return expression if rule is None else f"CASE WHEN rule = {literal(rule)} THEN {expression} END"

    # Money.

    def _nanos(self, column: str) -> str:
        """Nanos of a column; null where it is empty. What is no number stops the query."""
        kind = self.kind(column)
        refused = refuse("origin_file", "origin_row", column, column, "a decimal number below 9e9 such as 0.0123")
        if kind == "DOUBLE":
            return nanos_of_double(column, refused)
        absent = f"{column} IS NULL" if kind != "VARCHAR" else f"nullif({column}, '') IS NULL"
        return f"CASE WHEN {absent} THEN NULL ELSE COALESCE({nanos_of(column, kind)}, {refused}) END"

    def _rest(self, column: str) -> str:
        """What rounding takes from a column, in whole attos (1e-18); null where it is empty. Its nanos are in `whole_NAME`."""
        kind = self.kind(column)
        whole = f"whole_{column}"
        rest = f"CAST(({exact_of(column, kind)} - CAST({whole} AS DECIMAL(28, 0)) * 0.000000001) * {ATTOS} AS BIGINT)"
        if kind == "DOUBLE":
            return rest_of_double(column, whole, rest)
        absent = f"nullif({column}, '')" if kind == "VARCHAR" else column
        return f"CASE WHEN {absent} IS NULL THEN NULL WHEN {may_round(column, kind)} THEN {rest} ELSE 0 END"

    def billed(self, one: Callable[[str], str], asked: Asked) -> str:
        """The net twin where the bill has it: what is paid after discounts, which lines of discounts then repeat."""
        taken_off = ["CASE WHEN discount THEN 0 END"] if asked.netted else []
        return f"COALESCE({', '.join([*(one(c) for c in [NET] if self.has(c)), *taken_off, one(BILLED)])})"

    def _net(self) -> str:
        """The net cost as it stands there; null where there is none."""
        if not self.has(NET):
            return "NULL"
        return f"nullif({NET}, '')" if self.kind(NET) == "VARCHAR" else NET

    def effective(self, one: Callable[[str], str], billed: str, asked: Asked, refused: str | None) -> str:
        """The amortised cost, by the table of line types. `one` makes an expression of a column of money.

        billed   column of the billed cost, worked out before
        refused  stops the query where the bill leaves out the column that a line needs; None: nothing is taken instead
        """

        def first(columns: Iterable[str], otherwise: str) -> str:
            return f"COALESCE({', '.join((*(one(c) for c in columns if self.has(c)), otherwise))})"

        lack = refused or "0"
        plans = any(self.has(c) for c in SAVINGS_PLAN)
        reserved = any(self.has(c) for c in RESERVATION)
        unused = [pair for pair in (UNUSED_UPFRONT, UNUSED_RECURRING) if any(self.has(c) for c in pair)]
        block = f"{block_of(asked.blocks)} IS NOT NULL" if asked.blocks else "false"
        rules = {
            "none": "0",
            "savings_plan": first(SAVINGS_PLAN, billed) if plans else lack,
            "savings_plan_unused": (
                f"({first([COMMITTED], '0')} - {first([USED], '0')})" if self.has(COMMITTED) and self.has(USED) else lack
            ),
            "reservation": first(RESERVATION, billed) if reserved else lack,
            "reservation_unused": f"({' + '.join(first(pair, '0') for pair in unused)})" if len(unused) == 2 else lack,
            "fee": f"CASE WHEN reservation_reservation_a_r_n IS NOT NULL OR {block} THEN 0 ELSE {billed} END",
            "refund": f"CASE WHEN suffix(line_item_product_code, 'SavingsPlans') THEN 0 ELSE {billed} END",
        }
        whens = " ".join(f"WHEN {literal(rule)} THEN {sql}" for rule, sql in rules.items())
        return f"CASE COALESCE(rule, 'cost') WHEN 'cost' THEN {billed} {whens} ELSE {billed} END"

    # The charges.

    def charges(self, asked: Asked, where: str = "true") -> str:
        """SELECT of the charges of one month, without `source`; checks and parses in one pass."""
        columns = self._charge_columns(asked)
        taken = ", ".join(f"{columns[c]} AS {c}" for c in CHARGES.names if c != "source")
        return f"SELECT {taken} FROM ({self._decided(asked)}) AS bill LEFT JOIN known_service AS service " + (
            f"ON bill.line_item_product_code = service.product_code WHERE {where}"
        )

    def _decided(self, asked: Asked) -> str:
        """Money in nanos, commitment and reservation, of lines that are money: split cost rows are left out."""
        lack = refuse("origin_file", "origin_row", TYPE, TYPE, "the columns of its effective cost, which the export leaves out")
        added = {
            "effective_nanos": self.effective(self._nanos, "billed_nanos", asked, lack),
            "list_nanos": self._nanos(LIST) if self.has(LIST) else "CAST(NULL AS BIGINT)",
            "commitment": "COALESCE(savings_plan_savings_plan_a_r_n, reservation_reservation_a_r_n)",
            "block": block_of(asked.blocks) if asked.blocks else "CAST(NULL AS VARCHAR)",
            # Looking for a part of the word first costs a tenth of the pattern.
            "unused_capacity": "CASE WHEN contains(line_item_usage_type, 'Unused') "
            "THEN regexp_matches(line_item_usage_type, '(^|-)Unused(Box|Ded)(:|$)') ELSE false END",
            "held_capacity": "CASE WHEN contains(line_item_usage_type, 'Res') "
            "THEN regexp_matches(line_item_usage_type, '(^|-)(Reservation|DedicatedRes)(:|$)') ELSE false END",
            "bedrock": bedrock() if asked.bedrock else "false",
        }
        chosen = [f"NOT {repeats()}"]
        chosen += [] if asked.checked else [of_month(asked.month)]
        words = ", ".join(f"{sql} AS {name}" for name, sql in added.items())
        billed = (
            f"SELECT *, {self.billed(self._nanos, asked)} AS billed_nanos FROM ({self.parsed()}) WHERE {' AND '.join(chosen)}"
        )
        return f"SELECT *, {words} FROM ({billed})"

    def _charge_columns(self, asked: Asked) -> dict[str, str]:
        """Columns of charges as expressions over `_decided`."""

        def time(column: str, name: str) -> str:
            wrong = refuse("origin_file", "origin_row", column, name, "a time such as 2026-10-01T00:00:00Z")
            return f"COALESCE(time_{column}, {wrong})"

        wrong_month = refuse("origin_file", "origin_row", PERIOD, PERIOD, f"a line of {asked.month}, the month of its manifest")
        late = refuse("origin_file", "origin_row", END, END, "an end that is not before its start")
        code = refuse("origin_file", "origin_row", CURRENCY, CURRENCY, "a currency code of ISO 4217 such as USD")
        no_cost = refuse("origin_file", "origin_row", BILLED, "NULL", "a cost")
        no_type = refuse("origin_file", "origin_row", TYPE, TYPE, "a line_item_type such as Usage")
        arn = "capacity_reservation_capacity_reservation_arn"
        status = "lower(capacity_reservation_capacity_reservation_status)"
        quantity = self._number("line_item_usage_amount")
        columns = dict.fromkeys(CHARGES.names, "CAST(NULL AS VARCHAR)")
        columns |= {
            "billing_period": f"CASE WHEN {of_month(asked.month)} THEN {literal(asked.month)} ELSE {wrong_month} END"
            if asked.checked
            else literal(asked.month),
            "origin_file": "origin_file",
            "origin_row": "origin_row",
            "basis": "'billed'",
            "billed_cost_nanos": f"COALESCE(billed_nanos, {no_cost})",
            "effective_cost_nanos": f"COALESCE(effective_nanos, {no_cost})",
            "list_cost_nanos": f"CASE WHEN {TYPE} <> 'SavingsPlanNegation' THEN list_nanos END",
            "contracted_cost_nanos": "CAST(NULL AS BIGINT)",
            "billing_currency": f"CASE WHEN {CURRENCY} = 'USD' OR regexp_full_match({CURRENCY}, '[A-Z]{{3}}') THEN {CURRENCY} "
            f"ELSE {code} END",
            "charge_period_start": time(START, START),
            "charge_period_end": f"CASE WHEN time_{END} < time_{START} THEN {late} ELSE {time(END, END)} END",
            "line_type": f"COALESCE({TYPE}, {no_type})",
            "charge_category": f"COALESCE(category, {literal(UNKNOWN_TYPE.category)})",
            "charge_frequency": "frequency",
            "charge_description": "line_item_line_item_description",
            "provider_name": "'AWS'",
            "publisher_name": "CASE WHEN bill_billing_entity = 'AWS Marketplace' THEN line_item_legal_entity ELSE 'AWS' END",
            "invoice_issuer_name": "COALESCE(bill_invoicing_entity, line_item_legal_entity, 'AWS')",
            "invoice_id": "bill_invoice_id",
            "billing_account_id": "bill_payer_account_id",
            "billing_account_name": "bill_payer_account_name",
            "sub_account_id": "line_item_usage_account_id",
            "sub_account_name": "line_item_usage_account_name",
            "region_id": "COALESCE(product_region_code, product_region)",
            "availability_zone": "line_item_availability_zone",
            "resource_id": f"CASE WHEN bedrock THEN {bedrock_id()} WHEN block IS NOT NULL THEN block "
            f"ELSE COALESCE({RESOURCE}, CASE WHEN {TYPE} NOT IN ('Usage', 'Tax') THEN commitment END) END",
            "resource_name": f"CASE WHEN bedrock OR block IS NOT NULL THEN {RESOURCE} END",
            "resource_type": "COALESCE(product_instance_type, product_product_family)",
            "service_category": "COALESCE(service.service_category, 'Other')",
            "service_name": "COALESCE(service.service_name, product_product_name, line_item_product_code)",
            "sku_id": "product_sku",
            "sku_price_id": "COALESCE(pricing_rate_code, pricing_rate_id)",
            "pricing_category": f"CASE WHEN {TYPE} IN ('DiscountedUsage', 'SavingsPlanCoveredUsage') THEN 'Committed' "
            f"WHEN {TYPE} <> 'Usage' THEN NULL WHEN contains(line_item_usage_type, 'Spot') THEN 'Dynamic' ELSE 'Standard' END",
            "pricing_quantity": quantity,
            "pricing_unit": "pricing_unit",
            "consumed_quantity": quantity,
            "consumed_unit": "pricing_unit",
            "commitment_discount_id": "commitment",
            "commitment_discount_status": "status",
            "capacity_reservation_id": f"COALESCE(block, {arn}, "
            f"CASE WHEN unused_capacity OR held_capacity THEN {RESOURCE} END)",
            "capacity_reservation_status": "CASE "
            f"WHEN unused_capacity OR ({arn} IS NOT NULL AND {status} = 'unused') THEN 'Unused' "
            f"WHEN {arn} IS NOT NULL AND {status} = 'used' THEN 'Used' END",
            "pricing_currency_effective_cost_nanos": "CAST(NULL AS BIGINT)",
            "tags": tags_of(TAGS, self.kind(TAGS)) if self.has(TAGS) else TAGS,
        }
        if self.has(TAGS) and not self.kind(TAGS).startswith(("MAP", "STRUCT")):
            wrong_tags = refuse("origin_file", "origin_row", TAGS, TAGS, "a JSON object of tags, every key once")
            columns["tags"] = f"CASE WHEN nullif({TAGS}, '') IS NOT NULL THEN COALESCE({columns['tags']}, {wrong_tags}) END"
        return columns

    def _number(self, column: str) -> str:
        if not self.has(column):
            return "CAST(NULL AS DOUBLE)"
        if self.kind(column) == "DOUBLE":
            return f"CASE WHEN isfinite({column}) THEN {column} END"
        wrong = refuse("origin_file", "origin_row", column, column, "a number")
        text = f"nullif(CAST({column} AS VARCHAR), '')"
        return f"CASE WHEN {text} IS NOT NULL THEN COALESCE(TRY_CAST({text} AS DOUBLE), {wrong}) END"

    # What is worth knowing of it.

    def months(self) -> str:
        """SELECT of file and month."""
        first = time_of(PERIOD, self.kind(PERIOD), assume_utc=True)
        periods = f"SELECT DISTINCT origin_file, {PERIOD} FROM ({self.rows(counted=False)})"
        return f"SELECT DISTINCT origin_file, {month(first)} FROM ({periods})"

    def summary(self, asked: Asked) -> str:
        """SELECT of a Group's fields."""
        named = f"nullif(regexp_extract({FEE_WORDS}, '{RESERVATION_ID}'), '')"
        reserved = f"CASE WHEN {TYPE} = 'Fee' AND reservation_reservation_a_r_n IS NULL THEN {named} END"
        missing = [
            f"(rule = {literal(rule)} AND COALESCE({', '.join((*(c for c in pair if self.has(c)), 'NULL'))}) IS NULL)"
            for rule, pair in (("savings_plan", SAVINGS_PLAN), ("reservation", RESERVATION))
        ]
        where = "" if asked.checked else f"WHERE {of_month(asked.month)}"
        effective = self.effective(self._rest, "billed_rest", asked, None)
        wholes = ", ".join(f"{self._guarded(c, self._nanos(c))} AS whole_{c}" for c in MONEY if self.has(c) and c != LIST)
        return f"""
            SELECT origin_file, {TYPE}, line_item_product_code, split, {CURRENCY}, reserved, net,
                   count(*), count(*) FILTER (no_effective), COALESCE(sum(billed_rest), 0), COALESCE(sum(effective_rest), 0),
                   count(*) FILTER (billed_rest <> 0 OR effective_rest <> 0), COALESCE(sum(taken_off), 0)
            FROM (
                SELECT origin_file, {TYPE}, line_item_product_code, {CURRENCY}, {repeats()} AS split, {reserved} AS reserved,
                       {self._net()} IS NOT NULL AS net, CASE WHEN discount THEN whole_{BILLED} END AS taken_off,
                       {" OR ".join(missing)} AS no_effective,
                       billed_rest, {effective} AS effective_rest
                FROM (SELECT *, {self.billed(self._rest, asked)} AS billed_rest
                      FROM (SELECT *, {wholes} FROM ({self.parsed(counted=False)}) {where}))
            )
            GROUP BY ALL"""


@dataclass(frozen=True)
class Group:
    """Lines of one file that are alike."""

    file: str
    line_type: str | None
    product: str | None
    split: bool
    currency: str | None
    reservation: str | None
    net: bool
    rows: int
    no_effective: int
    billed_rest: int
    effective_rest: int
    rounded: int
    taken_off: int

    @property
    def discount(self) -> bool:
        return self.line_type in line_types() and line_types()[self.line_type].discount


def nanos_of_double(column: str, refused: str) -> str:
    """Nanos of a double's shortest decimal text, rounded half to even, by whole numbers where that is sure.

    Below 1000 the error of the product is under 0.0003 nanos: only what is near half a nano needs more. Half a nano itself is
    common, as AWS gives ten places: such a double is known by its 12 places.
    """
    scaled, places = f"({column} * 1e9)", f"CAST(round({column} * 1e12) AS BIGINT)"
    sure = f"abs({column}) < 1000 AND abs(abs({scaled} - trunc({scaled})) - 0.5) > 0.001"
    whole, cut = f"({places} // 1000)", f"({places} % 1000)"
    up = f"abs({cut}) > 500 OR (abs({cut}) = 500 AND {whole} % 2 <> 0)"
    even = f"{whole} + CASE WHEN {up} THEN CAST(sign({cut}) AS BIGINT) ELSE 0 END"
    text = exact_of(column, "DOUBLE")
    wide = f"list_transform([{text}], lambda d: CASE WHEN d BETWEEN -{MOST} AND {MOST} THEN {nanos('d')} END)[1]"
    return (
        f"CASE WHEN {sure} THEN CAST(round({scaled}) AS BIGINT) "
        f"WHEN {twelve_places(column)} THEN {even} "
        f"WHEN {column} IS NULL THEN NULL ELSE COALESCE({wide}, {refused}) END"
    )


def twelve_places(column: str) -> str:
    """Whether a double is the nearest one to a decimal of 12 places, and 15 digits at most: so it is that decimal."""
    return f"abs({column}) < 1000 AND round({column} * 1e12) / 1e12 = {column}"


def rest_of_double(column: str, whole: str, otherwise: str) -> str:
    """What rounding to nanos takes from a double, in attos.

    By whole numbers for a double of 12 places, and for one below 1 of 15 places.
    """
    return (
        f"CASE WHEN {column} IS NULL THEN NULL "
        f"WHEN {twelve_places(column)} THEN (CAST(round({column} * 1e12) AS BIGINT) - {whole} * 1000) * 1000000 "
        f"WHEN abs({column}) < 1 AND round({column} * 1e15) / 1e15 = {column} "
        f"THEN (CAST(round({column} * 1e15) AS BIGINT) - {whole} * 1000000) * 1000 ELSE {otherwise} END"
    )


def of_month(month_: str) -> str:
    """Whether a parsed line is of a billing month."""
    instants = (f"TIMESTAMPTZ '{m}-01 00:00:00Z'" for m in (month_, shifted(month_, 1)))
    return "time_{0} >= {1} AND time_{0} < {2}".format(PERIOD, *instants)


def repeats() -> str:
    """Whether a row repeats the money of another: rows of split cost allocation on EC2."""
    return (
        f"COALESCE(line_item_operation IN ({', '.join(map(literal, REPEATING))}) OR ({PARENT} IS NOT NULL "
        f"AND COALESCE(line_item_operation NOT IN ({', '.join(map(literal, OF_ITSELF))}), true)), false)"
    )


def block_of(blocks: Sequence[str]) -> str:
    """The capacity block that a fee names in its resource, reservation or description; null where none."""
    whens = " ".join(
        f"WHEN regexp_matches({FEE_WORDS}, {literal(f'{re.escape(b)}($|[^0-9A-Za-z])')}) THEN {literal(b)}" for b in blocks
    )
    return f"CASE WHEN {TYPE} = 'Fee' THEN CASE {whens} END END"


def bedrock() -> str:
    """Whether a line is use of a model in Bedrock, by AWS or through its marketplace."""
    product = "COALESCE(product_product_name, line_item_line_item_description)"
    market = f"bill_billing_entity = 'AWS Marketplace' AND contains({product}, 'Bedrock')"
    return (
        f"COALESCE({TYPE} IN ('Usage', 'DiscountedUsage', 'SavingsPlanCoveredUsage') "
        f"AND (prefix(line_item_product_code, 'AmazonBedrock') OR ({market})), false)"
    )


def bedrock_id() -> str:
    """The one id of all lines of one account, caller, resource, usage type and day: of a job of Bedrock."""
    day = f"strftime(timezone('UTC', time_{START}), '%Y-%m-%d')"
    parts = ("line_item_usage_account_id", "line_item_iam_principal", RESOURCE, "line_item_usage_type")
    return f"'bedrock:' || {day} || {' || '.join(f'''':' || COALESCE({p}, '')''' for p in parts)}"


@dataclass
class Bill:
    """The files of one month, grouped by their columns. What summing up shows:

    products  codes of products
    netted    lines that are no discount have net costs
    """

    connection: duckdb.DuckDBPyConnection
    parts: tuple[Part, ...]
    products: set[str] | None = None
    netted: bool = False

    @classmethod
    def open(cls, connection: duckdb.DuckDBPyConnection, files: Sequence[File]) -> Bill:
        alike: dict[object, tuple[list[File], Layout]] = {}
        for file in files:
            layout = inspect_parquet(connection, file) if file.is_parquet else inspect_csv(file)
            alike.setdefault(layout if file.is_parquet else file, ([], layout))[0].append(file)
        parts = tuple(Part(tuple(some), layout) for some, layout in alike.values())
        for part in parts:
            part.check()
        return cls(connection, parts)

    def narrow(self, wanted: str) -> Bill:
        """Only the files that have lines of a month; for files whose months no manifest tells."""
        kept = []
        for part in self.parts:
            with sound(part.files[0]):
                found = {f for f, m in self.connection.execute(part.months()).fetchall() if m == wanted}
            files = tuple(f for f in part.files if f.name in found)
            if files:
                kept.append(Part(files, part.layout))
        return Bill(self.connection, tuple(kept))

    def summary(self, asked: Asked) -> list[Group]:
        found = []
        for part in self.parts:
            with sound(part.files[0]):
                found += [Group(*row) for row in self.connection.execute(part.summary(asked)).fetchall()]
        self.products = {g.product for g in found if g.product}
        self.netted = any(g.net and not g.discount for g in found)
        return found

    @property
    def columns(self) -> frozenset[str]:
        return frozenset(column for part in self.parts for column in part.columns)


def drift_notes(bill: Bill, month_: str, before: tuple[str, frozenset[str]] | None) -> list[tuple[str, str, str, int]]:
    """Columns that only some files of the month have, or that the month before had not, or had."""
    notes = []
    for part in bill.parts:
        lacking = sorted(bill.columns - set(part.columns))
        if lacking:
            notes += [
                ("schema_drift", f.name, f"other files of {month_} also have {_some(lacking)}", len(lacking))
                for f in part.files
            ]
    if before is not None:
        added, gone = sorted(bill.columns - before[1]), sorted(before[1] - bill.columns)
        if added or gone:
            detail = f"compared with {before[0]}: added {_some(added)}; gone {_some(gone)}"
            notes.append(("schema_drift", month_, detail, len(added) + len(gone)))
    return notes


def column_notes(bill: Bill) -> list[tuple[str, str, str, int]]:
    """What the export leaves out and a bill should have; rows: files."""
    missing = {c: sum(len(p.files) for p in bill.parts if not p.has(c)) for c in EXPECTED}
    return [("missing_column", c, "the export does not give it: taken as null", n) for c, n in missing.items() if n]


def _some(names: Sequence[str]) -> str:
    more = f" and {len(names) - 20} more" if len(names) > 20 else ""
    return ", ".join(names[:20]) + more if names else "none"


def case_notes(bill: Bill) -> list[tuple[str, str, str, int]]:
    """Keys of tags that differ by case only: both are kept."""
    keys = {key for part in bill.parts for key in part.tag_columns}
    for part in bill.parts:
        if part.has(TAGS):
            tags = tags_of(TAGS, part.kind(TAGS))
            with sound(part.files[0]):
                found = bill.connection.execute(
                    "SELECT DISTINCT unnest(keys) "
                    f"FROM (SELECT DISTINCT map_keys({tags}) AS keys FROM ({part.rows(counted=False)}))"
                ).fetchall()
            keys |= {key for (key,) in found}
    alike: dict[str, list[str]] = {}
    for key in sorted(keys):
        alike.setdefault(key.lower(), []).append(key)
    return [
        ("tag_case", same[0], f"also spelled {', '.join(same[1:])}: kept apart", len(same))
        for same in alike.values()
        if len(same) > 1
    ]


def line_notes(groups: Sequence[Group], blocks: Iterable[str]) -> list[tuple[str, str, str, int]]:
    """Findings about the lines of a month."""

    def count(chosen: Callable[[Group], bool]) -> int:
        return sum(g.rows for g in groups if chosen(g))

    notes: list[tuple[str, str, str, int]] = []
    split = count(lambda g: g.split)
    if split:
        notes.append(("split_cost_rows", "charges", "they repeat the money of instances: left out of the charges", split))
    for name in sorted({g.line_type for g in groups if g.line_type and g.line_type not in line_types() and not g.split}):
        detail = "a kind of line that rdspend does not know: an Adjustment, its effective cost is what is billed"
        notes.append(("unknown_line_type", name, detail, count(lambda g, n=name: g.line_type == n)))  # type: ignore[misc]
    for code in sorted({g.product for g in groups if g.product and g.product not in services() and not g.split}):
        detail = "a product code that rdspend does not know: its service category is Other"
        notes.append(("unknown_service", code, detail, count(lambda g, c=code: g.product == c)))  # type: ignore[misc]
    lacking = sum(g.no_effective for g in groups if not g.split)
    if lacking:
        notes.append(
            ("no_effective_cost", "charges", "covered usage without an effective cost: what is billed counts", lacking)
        )
    notes += _discount_notes(groups)
    known = set(blocks)
    for name in sorted({g.reservation for g in groups if g.reservation and g.reservation not in known}):
        detail = (
            "a fee names this reservation, whose window is not known: it counts where it was billed. For a capacity block give "
            "its window: [[capacity_block]] with id, start and end, or capacity_reservations"
        )
        notes.append(("capacity_block_without_window", name, detail, count(lambda g, n=name: g.reservation == n)))  # type: ignore[misc]
    return notes + _rounding_notes(groups)


def _discount_notes(groups: Sequence[Group]) -> list[tuple[str, str, str, int]]:
    """Lines of discounts beside net costs, in which AWS has taken the same discount off already."""
    notes = []
    lines = [g for g in groups if g.discount and not g.split] if any(g.net and not g.discount for g in groups) else []
    for name, currency in sorted({(g.line_type or "", g.currency or "") for g in lines}):
        for net, detail in (
            (False, "they repeat what the net costs of other lines have taken off: left out of the money"),
            (
                True,
                "they have net costs of their own beside those of other lines, which count: compare the month with its invoice",
            ),
        ):
            some = [g for g in lines if (g.line_type, g.currency or "", g.net) == (name, currency, net)]
            amount = f"{Decimal(sum(g.taken_off for g in some)).scaleb(-9):f} {currency}"
            if some:
                notes.append(("discount_beside_net", name, f"{detail} ({amount} unblended)", sum(g.rows for g in some)))
    return notes


def _units(attos: int) -> str:
    return f"{Decimal(int(attos)).scaleb(-18):f}"


def _rounding_notes(groups: Sequence[Group]) -> list[tuple[str, str, str, int]]:
    found: dict[tuple[str, str], list[Group]] = {}
    netted = any(g.net and not g.discount for g in groups)
    for group in groups:
        if group.rounded and not group.split and not (netted and group.discount and not group.net):
            found.setdefault((group.file, group.currency or ""), []).append(group)
    return [
        (
            "rounding",
            file,
            f"exact sum minus sum of whole nanos in {currency}: billed {_units(sum(g.billed_rest for g in some))}, "
            f"effective {_units(sum(g.effective_rest for g in some))}",
            sum(g.rounded for g in some),
        )
        for (file, currency), some in sorted(found.items())
    ]


# Equal lines are looked for in months of so many lines at most: it takes memory for each of them.
LOOKED_FOR_ROWS = 500_000


def equal_notes(bill: Bill, asked: Asked, rows: int) -> list[tuple[str, str, str, int]]:
    """Lines that are equal in id, interval, resource, usage type and cost. The id alone repeats, which is no mistake."""
    if rows > LOOKED_FOR_ROWS or not bill.parts or not all(p.has("identity_line_item_id") for p in bill.parts):
        return []
    where = "" if asked.checked else f"WHERE {of_month(asked.month)}"
    identity = "identity_line_item_id, identity_time_interval"
    same = f"hash({identity}, {RESOURCE}, line_item_usage_type, {BILLED}, {TYPE}, line_item_operation)"
    lines = " UNION ALL ".join(f"SELECT {same} AS same FROM ({p.parsed(counted=False)}) {where}" for p in bill.parts)
    with sound(bill.parts[0].files[0]):
        found = bill.connection.execute(f"SELECT count(*) - count(DISTINCT same) FROM ({lines})").fetchall()[0][0]
    detail = (
        "equal to another line in id, interval, resource, usage type and cost: all are kept; ask AWS whether they are charges"
    )
    return [("equal_lines", "charges", detail, found)] if found else []


def nothing() -> str:
    """SELECT of no charges."""
    types = {
        "string": "VARCHAR",
        "int64": "BIGINT",
        "float64": "DOUBLE",
        "timestamp": "TIMESTAMPTZ",
        "map": "MAP(VARCHAR, VARCHAR)",
    }
    taken = ", ".join(f"CAST(NULL AS {types[c.type]}) AS {c.name}" for c in CHARGES.columns if c.name != "source")
    return f"SELECT {taken} WHERE false"
