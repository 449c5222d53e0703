"""The FOCUS export: a period's bill with every line replaced by the rows of the jobs, and the idle rest, that took its money.

A line of one node hour is split by what each job held of the hour, a line over several hours by the sum of that; jobs billed
by their own resource, shared money and what the bill itself calls unused stay one row. Two sums are kept to the nano: the rows
of a line add up to the line (in every cost and quantity), and the rows of a job, or of idle, add up to its attributions of that
source, billing month and currency. For both, a node hour's money is dealt out as a table of lines and jobs: the cell of a line
and a job is the difference of running totals along both, and what a job takes of the whole hour is cut as the attribution cuts
it. Days are not a grain of the export: a line keeps its own charge period.

Files are written month by month in slices of hours, checked from what was written, and only then moved to their place.
"""

from __future__ import annotations

import hashlib
import json
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version as installed_version
from pathlib import Path
from typing import Literal

from rdspend.attribution import ShareRule, month_span, share_of_node
from rdspend.bills.focus_spec import VERSIONS, focus_name
from rdspend.border import identifier, literal
from rdspend.breakdown import MICROS, closings, currencies, open_views, ranking, refuse_open
from rdspend.engine import Engine
from rdspend.errors import BadRecord, ConfigError, ConservationError
from rdspend.focus_rules import BUCKET_CATEGORIES, CATEGORIES, RECOMMENDED, RULES
from rdspend.ledger import ROW_GROUP_ROWS, Snapshot
from rdspend.period import EARLIEST, LATEST, SECONDS_PER_DAY, Period
from rdspend.policy import category
from rdspend.schema import CHARGES, Policy

Form = Literal["parquet", "csv"]
FORMS: tuple[Form, ...] = ("parquet", "csv")
DEFAULT_VERSION = "1.2"

# Shares are whole parts per billion, so that money x share never leaves 64 bits: money is divided first, its rest after.
BILLION = 10**9

# What one slice of hours may hold: so many lines, and so many jobs in node hours. Both sides then fit the engine's memory.
LINES_PER_SLICE, SHARES_PER_SLICE = 2_000_000, 1_500_000

# Where origins are compared: rows of a file in groups of so many.
ORIGIN_ROWS = 1000

ALLOCATED = ("AllocatedMethodId", "AllocatedMethodDetails", "AllocatedResourceId", "AllocatedResourceName", "AllocatedTags")


@dataclass(frozen=True)
class Broken:
    """A rule of FOCUS that rows of the export break because their bill does."""

    rule: str
    rows: int
    sources: str


@dataclass(frozen=True)
class Exported:
    """What was written. `broken`: only not empty where that was allowed."""

    folder: Path
    files: tuple[str, ...]
    rows: int
    lines: int
    broken: tuple[Broken, ...]


def export_focus(
    engine: Engine,
    snapshot: Snapshot,
    attributed: Mapping[str, Snapshot],
    period: Period,
    out: Path,
    *,
    policy: Policy,
    share_rule: ShareRule = "gpu",
    version: str = DEFAULT_VERSION,
    currency: str | None = None,
    form: Form = "parquet",
    as_billed: bool = False,
    progress: Callable[[str], None] = lambda _: None,
) -> Exported:
    """Write the period's charges, split to jobs, into a new or an earlier export's folder.

    snapshot    the ledger that says what jobs were for
    attributed  for each month, the ledger as the run that attributed it saw it
    policy      says what an activity, and a role in a release, counts as; what it spreads stays idle and shared
    currency    only rows of this one
    as_billed   write rows that break a rule of FOCUS because their bill does; the metadata counts them

    Raises ConfigError for a version or currency there is not, BadRecord for a bill that breaks rules, ConservationError when
    the rows do not add up to lines and attributions. Nothing is written then.
    """
    if version not in VERSIONS:
        raise ConfigError(f"--version {version!r}: expected one of {', '.join(VERSIONS)}")
    if form not in FORMS:
        raise ConfigError(f"--format {form!r}: expected one of {', '.join(FORMS)}")
    _refuse_strange_folder(out)
    open_views(engine, snapshot, period)
    known = currencies(engine)
    if currency is not None and currency not in known:
        raise ConfigError(f"--currency {currency!r}: the period has {', '.join(known)}")
    for each in known:
        for closing in closings(engine, each):
            refuse_open(closing, each)
    rank = ranking(t for (t,) in engine.rows("SELECT DISTINCT tagger FROM tags"))
    earliest, latest = EARLIEST * MICROS, LATEST * MICROS
    engine.run("focus_paid_job")
    engine.run("cut_job", also="")
    engine.run("job_span", rank=rank, earliest=earliest, latest=latest, also="")
    engine.run("focus_tag", rank=rank, category=category(policy), earliest=earliest, latest=latest)
    out.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{out.name}-", dir=out.parent) as made:
        staged = Path(made) / "export"
        staged.mkdir()
        writing = _Writing(engine, staged, share_rule, version, currency, progress)
        for month, then in attributed.items():
            progress(f"export {month}")
            writing.month(month, then)
        broken = writing.check_rules()
        if broken and not as_billed:
            raise _refused(broken)
        exported = Exported(out, writing.finish(form), writing.rows, writing.lines, broken)
        _write_metadata(writing, exported, snapshot, period, policy, form)
        _put_in_place(staged, out)
    return exported


def _refused(broken: Sequence[Broken]) -> BadRecord:
    first, *more = broken
    others = f" (and {len(more)} more rules: {', '.join(b.rule.split(' ')[0] for b in more)})" if more else ""
    return BadRecord(
        f"{first.rule}: {first.rows:,} rows of {first.sources} are otherwise, because their bill is{others}; "
        "write them as they are with --as-billed, and the metadata counts them"
    )


# --- places -----------------------------------------------------------------------------------------------------------

# The collector of FOCUS bills reads folders, and knows files of this name as no bills.
METADATA = "manifest.json"
PREFIX = "cost-and-usage-"


def _refuse_strange_folder(out: Path) -> None:
    """Only an export of ours is ever replaced."""
    if not out.exists():
        return
    strange = [p.name for p in out.iterdir() if p.name != METADATA and not p.name.startswith(PREFIX)] if out.is_dir() else ["."]
    if strange or ((out / METADATA).exists() is False and any(out.iterdir())):
        raise ConfigError(
            f"--out {str(out)!r}: found {', '.join(sorted(strange)[:3])}, expected a new folder or an earlier export"
        )


def _put_in_place(staged: Path, out: Path) -> None:
    if out.exists():
        old = staged.parent / "earlier"
        out.rename(old)
    staged.rename(out)


# --- numbers, as SQL --------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Numbers:
    """How numbers are written: 64 bits while every amount is below a billion, wider ones else."""

    wide: bool = False

    @property
    def whole(self) -> str:
        return "HUGEINT" if self.wide else "BIGINT"

    @property
    def type(self) -> str:
        return "DECIMAL(28, 9)" if self.wide else "DECIMAL(18, 9)"

    def decimal(self, nanos: str) -> str:
        digits = 19 if self.wide else 18
        return f"CAST(CAST({nanos} AS DECIMAL({digits}, 0)) * 0.000000001 AS {self.type})"

    def nanos(self, quantity: str) -> str:
        """Billionths of a quantity, rounded: what is split, and what the parts add up to."""
        return f"CAST(round({quantity} * 1e9) AS {self.whole})"


def share(nanos: str, r: str) -> str:
    """nanos x r / billion, cut toward zero, without leaving 64 bits."""
    return f"(({nanos}) // {BILLION} * {r} + ({nanos}) % {BILLION} * {r} // {BILLION})"


def between(nanos: str, low: str = "r0", high: str = "r1") -> str:
    """The part of an amount that lies between two running shares."""
    return f"({share(nanos, high)} - {share(nanos, low)})"


def _cell(column: str, before: str, low: str, high: str) -> str:
    """Money of one line and one job in one node hour: the last line takes what the others left of the job's part."""
    upto = f"{before} + {column}"
    alone = f"p.{high} - p.{low}"
    split = f"{between(upto, 'p.r0', 'p.r1')} - {between(before, 'p.r0', 'p.r1')}"
    return (
        f"CASE WHEN last AND {before} = 0 THEN {alone} "
        f"WHEN last THEN {alone} - {between(before, 'p.r0', 'p.r1')} ELSE {split} END"
    )


EFFECTIVE = _cell("effective_cost_nanos", "e_before", "e0", "e1")
BILLED = _cell("billed_cost_nanos", "b_before", "b0", "b1")

# What FOCUS wants of a charge, and the rows of a rate card do not say.
ESTIMATED = {"pricing_category": "Standard", "charge_frequency": "Usage-Based", "service_subcategory": "Other (Compute)"}

ONE_PART = f"""[{{j: CASE WHEN class = 1 THEN CAST(what AS INTEGER) END, r0: CAST(0 AS BIGINT), r1: CAST({BILLION} AS BIGINT),
    e0: CAST(0 AS BIGINT), e1: effective_cost_nanos, b0: CAST(0 AS BIGINT), b1: billed_cost_nanos}}]"""
WHOLE = "true AS last, CAST(0 AS BIGINT) AS e_before, CAST(0 AS BIGINT) AS b_before"
HOURLY = """
    SELECT line.*, s.parts, COALESCE(o.last, true) AS last, COALESCE(o.e_before, 0) AS e_before,
        COALESCE(o.b_before, 0) AS b_before
    FROM (
        SELECT * FROM focus_line WHERE class = 2
        AND charge_period_start >= make_timestamptz(CAST({low} AS BIGINT) * 3600000000)
        AND charge_period_start < make_timestamptz(CAST({high} AS BIGINT) * 3600000000)
    ) AS line
    JOIN focus_share AS s ON s.k = line.k AND s.n = line.what AND s.h = line.h
    LEFT JOIN (SELECT f, r, last, e_before, b_before FROM focus_offset WHERE l IS NULL) AS o ON o.f = line.f AND o.r = line.r"""
SPREAD = f"""
    SELECT line.*, s.parts, {WHOLE}
    FROM (SELECT * FROM focus_line WHERE class = 9) AS line JOIN focus_spread_share AS s USING (f, r, part)"""
ALONE = f"SELECT *, {ONE_PART} AS parts, {WHOLE} FROM focus_line WHERE class IN (1, 4, 5)"


# --- columns ----------------------------------------------------------------------------------------------------------


def _tags_json(column: str) -> str:
    """A map as the text of a JSON object; a tag without a value is true, as FOCUS has it."""
    valueless = f"list_contains(list_transform(map_values({column}), lambda v: v IS NULL), true)"
    filled = (
        f"map_from_entries(list_transform(map_entries({column}), lambda e: "
        "{k: e.key, v: COALESCE(to_json(e.value), to_json(true))}))"
    )
    return (
        f"CASE WHEN {column} IS NULL THEN NULL WHEN {valueless} THEN CAST(to_json({filled}) AS VARCHAR) "
        f"ELSE CAST(to_json({column}) AS VARCHAR) END"
    )


def focus_columns(version: str, share_rule: ShareRule, numbers: Numbers = Numbers()) -> dict[str, str]:
    """Columns of the export in order, FOCUS's first: name and SQL. Columns that the ledger does not keep are left out."""
    made: dict[str, str] = {}
    for column in CHARGES.columns:
        name = focus_name(column.name)
        if column.name.endswith("_nanos"):
            part = {"effective_cost_nanos": "effective_part", "billed_cost_nanos": "billed_part"}.get(
                column.name, between(column.name)
            )
            made[name] = numbers.decimal(part)
        elif column.type == "float64":
            made[name] = numbers.decimal(between(numbers.nanos(column.name)))
        elif column.type == "timestamp" or column.type != "map":
            made[name] = column.name
    # What a rate card prices is nobody's bill: its rows name the source itself.
    for name in ("provider_name", "publisher_name", "invoice_issuer_name", "billing_account_id"):
        made[focus_name(name)] = f"CASE WHEN estimate THEN COALESCE({name}, source) ELSE {name} END"
    for name, word in ESTIMATED.items():
        made[focus_name(name)] = f"CASE WHEN estimate THEN COALESCE({name}, {literal(word)}) ELSE {name} END"
    for name, cost in (("ListCost", "list_cost_nanos"), ("ContractedCost", "contracted_cost_nanos")):
        amount = between(f"CASE WHEN estimate THEN effective_cost_nanos ELSE {cost} END")
        made[name] = numbers.decimal(amount)
    allocated = "class IN (2, 9)"
    ratio = "CAST(CAST(CAST(r1 - r0 AS DECIMAL(10, 0)) * 0.000000001 AS DECIMAL(10, 9)) AS VARCHAR)"
    details = f"'{{\"Elements\":[{{\"AllocatedRatio\":' || {ratio} || '}}]}}'"
    purpose = "CASE class WHEN 4 THEN 'shared' WHEN 5 THEN 'idle' ELSE COALESCE(job.category, 'idle') END"
    made |= {
        "BillingPeriodStart": "CAST(billing_period || '-01 00:00:00+00' AS TIMESTAMPTZ)",
        "BillingPeriodEnd": "CAST(CAST(billing_period || '-01' AS DATE) + INTERVAL 1 MONTH AS TIMESTAMPTZ)",
        "Tags": "tags_text",
        "ServiceProviderName": made["ProviderName"],
        # A bill that does not show whose machines they are: FOCUS lets the host be the provider.
        "HostProviderName": made["ProviderName"],
        "ResourceName": "line.resource_name",
        "AllocatedMethodId": f"CASE WHEN {allocated} THEN 'rdspend-{share_rule}' ELSE allocated_method_id END",
        "AllocatedMethodDetails": f"CASE WHEN {allocated} THEN {details} END",
        "AllocatedResourceId": f"CASE WHEN {allocated} THEN job.receiver END",
        "AllocatedResourceName": f"CASE WHEN {allocated} THEN job.name END",
        "AllocatedTags": f"CASE WHEN {allocated} THEN job.tags END",
    }
    chosen = {name: made[name] for name in VERSIONS[version] if name in made}
    twins = {} if ALLOCATED[0] in VERSIONS[version] else {f"x_{name}": made[name] for name in ALLOCATED}
    return {
        **chosen,
        **twins,
        "x_ClassificationConfidence": "job.confidence",
        "x_ClassificationRuleId": "job.rule",
        "x_ComputePurposeCategory": purpose,
        "x_CostBasisCategory": "basis",
        "x_JobId": "job_key",
        "x_JobSystemName": "job.cluster",
        "x_ModelReleaseId": "job.release",
        "x_OriginFileName": "origin_file",
        "x_OriginRowNumber": "line.origin_row",
        "x_SourceName": "source",
    }


# --- writing ----------------------------------------------------------------------------------------------------------

AMOUNTS = {
    "BilledCost": "billed_cost_nanos",
    "EffectiveCost": "effective_cost_nanos",
    "ListCost": "CASE WHEN estimate THEN effective_cost_nanos ELSE list_cost_nanos END",
    "ContractedCost": "CASE WHEN estimate THEN effective_cost_nanos ELSE contracted_cost_nanos END",
    "PricingQuantity": "pricing_quantity",
    "ConsumedQuantity": "consumed_quantity",
    "PricingCurrencyEffectiveCost": "pricing_currency_effective_cost_nanos",
}
TIMES = {"BillingPeriodStart", "BillingPeriodEnd", "ChargePeriodStart", "ChargePeriodEnd"}


class _Writing:
    """One export being made: files in a folder of its own."""

    def __init__(
        self,
        engine: Engine,
        folder: Path,
        share_rule: ShareRule,
        version: str,
        currency: str | None,
        progress: Callable[[str], None],
    ) -> None:
        self.engine = engine
        self.folder = folder
        self.share_rule = share_rule
        self.version = version
        self.wanted = "" if currency is None else f"WHERE billing_currency = {literal(currency)}"
        self.progress = progress
        self.files: list[str] = []
        self.rows = self.lines = 0
        self.numbers = Numbers(self._largest() >= 10**9)
        given = self._given()
        columns = focus_columns(version, share_rule, self.numbers)
        self.columns = {name: sql for name, sql in columns.items() if name not in RECOMMENDED or given[name]}

    def _largest(self) -> float:
        amounts = [c.name for c in CHARGES.columns if c.name.endswith("_nanos")]
        quantities = [c.name for c in CHARGES.columns if c.type == "float64"]
        terms = [f"max(abs({c})) / 1e9" for c in amounts] + [f"max(abs({c}))" for c in quantities]
        (found,) = self.engine.rows(f"SELECT {', '.join(terms)} FROM charges {self.wanted}")
        return max((float(value) for value in found if value is not None), default=0.0)

    def _given(self) -> dict[str, bool]:
        terms = ", ".join(f"count({'_'.join(_words(name))}) > 0" for name in RECOMMENDED)
        (found,) = self.engine.rows(f"SELECT {terms} FROM charges {self.wanted}")
        return dict(zip(RECOMMENDED, map(bool, found), strict=True))

    # --- a month ------------------------------------------------------------------------------------------------------

    def month(self, month: str, then: Snapshot) -> None:
        engine = self.engine
        estimates = ", ".join(map(literal, then.partitions("rates", "source"))) or "''"
        self._open(month, then, estimates)
        first = len(self.files)
        for low, high in self._slices():
            self.progress(f"export {month}: hours {low} to {high}")
            times = {"low": low, "high": high}
            engine.run("focus_piece", times)
            engine.run("focus_hour")
            engine.run("focus_share", times, billion=BILLION)
            engine.run("focus_offset")
            engine.run("focus_part", effective=EFFECTIVE, billed=BILLED)
            self._write(month, HOURLY.format(low=low, high=high))
        engine.run("focus_spread_share", billion=BILLION)
        self._write(month, SPREAD)
        self._write(month, ALONE)
        self._check_sums(month, self.files[first:], estimates)

    def _open(self, month: str, then: Snapshot, estimates: str) -> None:
        engine = self.engine
        open_views(engine, then, Period(month, (month,)))
        kept = then.select("charges", lambda p: p["billing_period"] == month)
        engine.execute(f"CREATE OR REPLACE TEMP VIEW charges AS SELECT * FROM ({kept}) {self.wanted}")
        start, end = month_span(month)
        low, high = engine.rows(
            "SELECT min(epoch_us(charge_period_start)) // 1000000, max(epoch_us(charge_period_end)) // 1000000 FROM charges"
        )[0]
        times = {
            "earliest": EARLIEST,
            "latest": LATEST,
            "now": int(then.run.started_at) if then.run else 0,
            "first": min(start, start if low is None else low),
            "last": max(end, end if high is None else high) + 1,
        }
        for step in ("span", "job", "resource", "line_key"):
            engine.run(step, times)
        categories = " ".join(f"WHEN {literal(a)} THEN {literal(c)}" for a, c in CATEGORIES.items())
        engine.run("focus_job", categories=categories)
        engine.run("focus_cut", times, day=SECONDS_PER_DAY * MICROS, seconds_per_day=SECONDS_PER_DAY)
        engine.run("focus_resource")
        engine.run("focus_origin")
        engine.run("focus_line", estimates=estimates)
        keyed = "SELECT * FROM charges JOIN line_key USING (source, billing_period, billing_currency, basis)"
        charges = f"({keyed} WHERE NOT (basis = 'estimated' AND source IN ({estimates})))"
        engine.run("spread_line", key="k", charges=charges, which=NEEDS_PARTS)
        engine.run("spread_node")
        engine.run("spread_day")
        engine.run("focus_estimate")
        engine.run("focus_spread")
        engine.execute(
            "CREATE OR REPLACE TEMP TABLE focus_parts (l BIGINT, j INTEGER, effective BIGINT, billed BIGINT, shares HUGEINT)"
        )
        num, den = share_of_node(self.share_rule)
        engine.run("piece", times | self._money_window(start, end), num=num, den=den)
        for step in ("crowded", "rescaled", "share_piece"):
            engine.run(step)

    def _money_window(self, start: int, end: int) -> dict[str, int]:
        """When jobs share nodes, as the attribution has it: the month, widened to every day a node's money is of."""
        ((low, high),) = self.engine.rows(
            "SELECT min(h) // 24, max(h) // 24 FROM "
            "(SELECT h FROM focus_line WHERE class = 2 UNION ALL SELECT h FROM focus_spread)"
        )
        if low is None:
            return {"first": start, "last": end}
        return {"first": min(start, int(low) * SECONDS_PER_DAY), "last": max(end, (int(high) + 1) * SECONDS_PER_DAY)}

    def _slices(self) -> Iterator[tuple[int, int]]:
        """Spans of whole hours that each hold a bounded number of lines and of jobs in node hours."""
        hours = self.engine.read("focus_load")
        low, load = None, 0.0
        for h, lines, shares in hours:
            weight = max(int(lines) / LINES_PER_SLICE, int(shares) / SHARES_PER_SLICE)
            if low is not None and load + weight > 1:
                yield low, int(h)
                low = None
            if low is None:
                low, load = int(h), 0.0
            load += weight
        if low is not None:
            yield low, int(hours[-1][0]) + 1

    def _write(self, month: str, lines: str) -> None:
        name = f"{PREFIX}{month}-{len(self.files) + 1:03d}.parquet"
        with _in_order(self.engine):
            self.engine.run(
                "focus_rows",
                tags=_tags_json("tags"),
                lines=lines,
                columns=",\n    ".join(f"{sql} AS {identifier(column)}" for column, sql in self.columns.items()),
                effective=EFFECTIVE,
                billed=BILLED,
                file=literal(str(self.folder / name)),
                group_rows=ROW_GROUP_ROWS,
            )
        rows = int(self.engine.value(f"SELECT num_rows FROM parquet_file_metadata({literal(str(self.folder / name))})"))
        if rows:
            self.files.append(name)
            self.rows += rows
        else:
            (self.folder / name).unlink()

    def _written(self, files: Sequence[str]) -> str:
        if files:
            return f"read_parquet([{', '.join(literal(str(self.folder / name)) for name in files)}])"
        types = dict.fromkeys(AMOUNTS, self.numbers.type) | dict.fromkeys(TIMES, "TIMESTAMPTZ")
        types |= {"x_OriginRowNumber": "BIGINT", "x_ClassificationConfidence": "DECIMAL(4, 3)"}
        empty = ", ".join(f"CAST(NULL AS {types.get(name, 'VARCHAR')}) AS {identifier(name)}" for name in self.columns)
        return f"(SELECT {empty} WHERE false)"

    # --- checks -------------------------------------------------------------------------------------------------------

    def _check_sums(self, month: str, files: Sequence[str], estimates: str) -> None:
        self.progress(f"export {month}: checking")
        written = self._written(files)
        amounts = {
            n: sql if n not in QUANTITIES else self.numbers.nanos(sql) for n, sql in AMOUNTS.items() if n in self.columns
        }
        labels = {name: f"a{i}" for i, name in enumerate(amounts)}
        unequal = self.engine.read(
            "focus_origin_sum",
            written=written,
            rows=ORIGIN_ROWS,
            estimates=estimates,
            charged=", ".join(f"COALESCE(sum({sql}), 0) AS {labels[n]}" for n, sql in amounts.items()),
            sums=", ".join(f"-{_nanos_of_sum(n)}" for n in amounts),
            differences=", ".join(f"sum({labels[n]})" for n in amounts),
            unequal=" OR ".join(f"sum({labels[n]}) <> 0" for n in amounts),
        )
        for source, currency, basis, file, block, *differences in unequal:
            found = ", ".join(f"{n} {int(d)}" for n, d in zip(amounts, differences, strict=True) if d)
            raise ConservationError(
                f"{source} {month} {currency} ({basis}): rows {int(block) * ORIGIN_ROWS} to "
                f"{(int(block) + 1) * ORIGIN_ROWS - 1} of {file!r} and their allocated rows "
                f"differ by {found} nanos; they must be equal; nothing was written"
            )
        jobs = self.engine.read(
            "focus_job_sum",
            written=written,
            wanted=self.wanted,
            buckets=" ".join(f"WHEN {literal(b)} THEN {literal(c)}" for b, c in BUCKET_CATEGORIES.items()),
            effective=_nanos_of_sum("EffectiveCost"),
            billed=_nanos_of_sum("BilledCost"),
        )
        for source, currency, basis, name, effective, billed in jobs:
            raise ConservationError(
                f"{source} {month} {currency} ({basis}): the rows of {name!r} differ from its attributions by "
                f"{int(effective)} nanos (billed: {int(billed)}); they must be equal; nothing was written"
            )
        self.lines += int(self.engine.value("SELECT count(*) FROM charges"))

    def check_rules(self) -> tuple[Broken, ...]:
        """Every rule on every row that was written; those that rows break. Raises ConservationError for one of our own."""
        if not self.files:
            return ()
        rules = [r for r in RULES if all(column in self.columns for column in r.columns)]
        terms = ", ".join(f"count(*) FILTER (NOT COALESCE({r.holds}, false))" for r in rules)
        written = self._written(self.files)
        (counts,) = self.engine.rows(f"SELECT {terms} FROM {written}")
        broken = []
        for rule, rows in zip(rules, counts, strict=True):
            if not rows:
                continue
            if rule.ours:
                raise ConservationError(
                    f"{rule.words}: {rows} rows are otherwise; nothing was written. This is a defect of rdspend"
                )
            sources = self.engine.value(
                f'SELECT string_agg(DISTINCT "x_SourceName", \', \' ORDER BY "x_SourceName") FROM {written} '
                f"WHERE NOT COALESCE({rule.holds}, false)"
            )
            broken.append(Broken(rule.words, int(rows), str(sources)))
        return tuple(broken)

    # --- the end ------------------------------------------------------------------------------------------------------

    def finish(self, form: Form) -> tuple[str, ...]:
        """The files as they are asked for; with no row at all one empty file, that the columns be known."""
        if not self.files:
            name = f"{PREFIX}001.parquet"
            self.engine.execute(
                f"COPY (SELECT * FROM {self._written(())}) TO {literal(str(self.folder / name))} (FORMAT parquet)"
            )
            self.files.append(name)
        if form == "csv":
            for name in self.files:
                path = self.folder / name
                texts = ", ".join(_text(column) for column in self.columns)
                into = literal(str(path.with_suffix(".csv")))
                self.engine.execute(
                    f"COPY (SELECT {texts} FROM read_parquet({literal(str(path))})) TO {into} (FORMAT csv, HEADER)"
                )
                path.unlink()
            self.files = [Path(name).with_suffix(".csv").name for name in self.files]
        return tuple(self.files)


QUANTITIES = ("PricingQuantity", "ConsumedQuantity")

# Lines that take several jobs, node records or hours: slot's class 9 without what is never split.
NEEDS_PARTS = """NOT unused AND route IS NOT NULL AND NOT (route = 1 AND sole IS NOT NULL) AND NOT COALESCE(
    route = 2 AND h = last_h AND sole IS NOT NULL AND us < until * 1000000 AND last_us > since * 1000000, false)"""


def _words(name: str) -> list[str]:
    """ServiceSubcategory is service, subcategory: columns of charges are FOCUS's in snake_case."""
    (column,) = (c.name for c in CHARGES.columns if focus_name(c.name) == name)
    return column.split("_")


def _nanos_of_sum(column: str) -> str:
    """The sum of a decimal with nine places, in nanos."""
    return f"COALESCE(CAST(replace(CAST(sum({identifier(column)}) AS VARCHAR), '.', '') AS HUGEINT), 0)"


def _text(column: str) -> str:
    name = identifier(column)
    return f"strftime(timezone('UTC', {name}), '%Y-%m-%dT%H:%M:%SZ') AS {name}" if column in TIMES else name


@contextmanager
def _in_order(engine: Engine) -> Iterator[None]:
    """Rows come out in the order of the bill: it streams past the small tables, never the other way round, in one thread.

    Several threads would keep their rows back to put them in order again, which takes more memory, and then more time.
    """
    threads = int(engine.value("SELECT current_setting('threads')"))
    for setting in (
        "disabled_optimizers = 'join_order,build_side_probe_side'",
        "preserve_insertion_order = false",
        "threads = 1",
    ):
        engine.execute(f"SET {setting}")
    try:
        yield
    finally:
        for setting in ("disabled_optimizers = ''", "preserve_insertion_order = true", f"threads = {threads}"):
            engine.execute(f"SET {setting}")


# --- metadata ---------------------------------------------------------------------------------------------------------


def _write_metadata(
    writing: _Writing, exported: Exported, snapshot: Snapshot, period: Period, policy: Policy, form: Form
) -> None:
    """The schema object that FOCUS wants beside the data, and what else a reader of the files has to know.

    Its date is that of the ledger's run, not of the export: the same snapshot gives the same bytes.
    """
    definitions = [_definition(name, writing) for name in writing.columns]
    created = datetime.fromtimestamp(snapshot.run.ended_at if snapshot.run else 0.0, UTC)
    digest = hashlib.sha256(json.dumps([writing.version, definitions], sort_keys=True).encode()).hexdigest()
    metadata = {
        "SchemaId": f"rdspend-{writing.version}-{digest[:16]}",
        "FocusVersion": writing.version,
        "CreationDate": f"{created:%Y-%m-%dT%H:%M:%SZ}",
        "DataGenerator": "rdspend",
        "DataGeneratorVersion": installed_version("rdspend"),
        "ColumnDefinition": definitions,
        "x_Period": period.text,
        "x_Snapshot": snapshot.name,
        "x_Policy": policy.name,
        "x_Format": form,
        "x_Files": [{"Name": n, "Sha256": _sha256(writing.folder / n)} for n in exported.files],
        "x_OriginCharges": exported.lines,
        "x_Rows": exported.rows,
        "x_AllocatedMethods": {f"rdspend-{writing.share_rule}": METHODS[writing.share_rule]},
        "x_BrokenRules": [{"Rule": b.rule, "Rows": b.rows, "Sources": b.sources} for b in exported.broken],
    }
    (writing.folder / METADATA).write_text(json.dumps(metadata, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


METHODS: Mapping[ShareRule, str] = {
    "gpu": "each job's seconds in the node hour x its GPUs, out of the node's (without GPUs: its CPUs)",
    "cpu": "each job's seconds in the node hour x its CPUs, out of the node's",
    "dominant": "each job's seconds in the node hour x the largest of its shares of GPUs, CPUs and memory",
}


def _definition(name: str, writing: _Writing) -> dict[str, object]:
    if name in AMOUNTS:
        precision, scale = (28, 9) if writing.numbers.wide else (18, 9)
        return {"ColumnName": name, "DataType": "DECIMAL", "NumericPrecision": precision, "NumberScale": scale}
    if name == "x_ClassificationConfidence":
        return {"ColumnName": name, "DataType": "DECIMAL", "NumericPrecision": 4, "NumberScale": 3}
    if name == "x_OriginRowNumber":
        return {"ColumnName": name, "DataType": "INTEGER"}
    if name in TIMES:
        return {"ColumnName": name, "DataType": "TIMESTAMP"}
    if name.removeprefix("x_") in JSON:
        return {"ColumnName": name, "DataType": "JSON", "StringEncoding": "UTF-8"}
    return {"ColumnName": name, "DataType": "STRING", "StringEncoding": "UTF-8"}


JSON = ("Tags", "AllocatedTags", "AllocatedMethodDetails")


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
