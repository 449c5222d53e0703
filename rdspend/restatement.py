"""Restatement: how far a month's bill is, what a closed month was closed with, and what moved between two revisions.

A month's state is that of its newest publication: figures read while the month ran stay those of an open month, however much
time passes, until somebody reads the bill again. Only a pin (`rdspend close`) changes it in between.

The difference of two revisions comes from their snapshots: both bills, both attributions, both breakdowns by the same
statements. Only files that differ are compared line by line: first sums by source, account and service, then sums by resource
and day (under a bounded number of hashes), then rows, in the resource days that moved most.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

from rdspend.breakdown import decode, make_cells, money, open_views, ranking
from rdspend.engine import Engine
from rdspend.errors import ConservationError
from rdspend.ledger import Run, Snapshot, select_files
from rdspend.period import Period, parse_period
from rdspend.schema import CHARGES, TABLES, Breakdown, Closed

SECONDS_UNTIL_SETTLED = 14 * 24 * 3600
"""Bills are restated without a word for about two weeks after the month."""

HASHES = 2**20
"""Resource days are told apart by so many hashes: memory stays bounded, whatever the bill."""

ROWS_LOOKED_AT = 500_000
"""Bill rows of both revisions together that are compared one by one, in the resource days that moved most."""

ZERO = Decimal(0)


# --- the state of a month ---------------------------------------------------------------------------------------------


def with_state(engine: Engine, made: Breakdown, period: Period, now: float) -> Breakdown:
    """A breakdown just made, with its state. Wants the views `charges`, `publications` and `closes` of its snapshot.

    made  with its revision and snapshot
    now   epoch seconds: when the run began that makes it
    """
    pin = newest_pin(engine, made)
    closed = pin.closed if pin else _handed_on(engine, made)
    if closed is not None:
        return _against(engine, made, closed)
    state = _state_by_rule(engine, made, period, now)
    return replace(made, state=state, closed=closed_with(made, now) if state == "closed" else None)


def with_pin(engine: Engine, published: Breakdown) -> Breakdown:
    """A published breakdown, closed or corrected where somebody closed its period since. Wants `publications`, `closes`.

    The run that closed it is then the snapshot it shows: `--as-of` that run gives the same bytes.
    """
    pin = newest_pin(engine, published)
    if pin is None:
        return published
    shown = replace(published, snapshot=f"run-{max(pin.run, run_number(published.snapshot))}")
    return _against(engine, shown, pin.closed)


def touches(run: Run, period: Period) -> bool:
    """Whether a run may have changed figures of the period. Tagging a month goes on to all later ones."""
    stages, months = set(run.stages.split(",")), parse_period(run.period).months
    return ("tag" in stages and months[0] <= period.months[-1]) or (
        "attribute" in stages and bool(set(months) & set(period.months))
    )


@dataclass(frozen=True)
class Pin:
    """The run that closed a period, and what with."""

    run: int
    closed: Closed


def newest_pin(engine: Engine, made: Breakdown) -> Pin | None:
    found = engine.rows(
        "SELECT run, published_run, epoch_us(closed_at) // 1000000 FROM closes "
        "WHERE period = ? AND policy = ? AND currency = ? ORDER BY run DESC LIMIT 1",
        [made.period, made.policy.name, made.currency],
    )
    if not found:
        return None
    run, published_run, closed_at = found[0]
    return Pin(run, closed_with(_published(engine, made, published_run), closed_at))


def closed_with(figures: Breakdown, at: float) -> Closed:
    when = datetime.fromtimestamp(int(at), UTC)
    return Closed(figures.revision, figures.snapshot, figures.total, figures.billed_total, when)


def run_number(snapshot: str) -> int:
    return int(snapshot.removeprefix("run-"))


def _handed_on(engine: Engine, made: Breakdown) -> Closed | None:
    """What the newest publication was closed with; the first that the rule called closed says it of itself."""
    found = engine.rows(
        "SELECT figures FROM publications WHERE period = ? AND policy = ? AND currency = ? ORDER BY run DESC LIMIT 1",
        [made.period, made.policy.name, made.currency],
    )
    return decode(found[0][0]).closed if found else None


def _published(engine: Engine, made: Breakdown, run: int) -> Breakdown:
    (found,) = engine.rows(
        "SELECT figures FROM publications WHERE period = ? AND policy = ? AND currency = ? AND run = ?",
        [made.period, made.policy.name, made.currency, run],
    )
    return decode(found[0])


def _against(engine: Engine, made: Breakdown, closed: Closed) -> Breakdown:
    """Closed, or corrected when a figure is another one now. New words (a title, a finding) correct nothing."""
    same = _figures(made) == _figures(_published(engine, made, run_number(closed.snapshot)))
    return replace(made, state="closed" if same else "corrected", closed=closed)


def _figures(b: Breakdown) -> tuple[object, ...]:
    return b.total, b.billed_total, b.cells, b.closings, b.services


def _state_by_rule(engine: Engine, made: Breakdown, period: Period, now: float) -> str:
    end = period.window.end.timestamp()
    if now < end:
        return "open"
    # What is billed as 0 (usage under a commitment) never comes on an invoice.
    without_invoice = engine.value(
        "SELECT count(*) FROM charges WHERE billing_currency = ? AND CASE WHEN basis = 'estimated' "
        "THEN effective_cost_nanos <> 0 ELSE billed_cost_nanos <> 0 AND invoice_id IS NULL END",
        [made.currency],
    )
    settled = now >= end + SECONDS_UNTIL_SETTLED and made.complete and not without_invoice
    return "closed" if settled else "preliminary"


# --- the difference of two revisions ----------------------------------------------------------------------------------


@dataclass(frozen=True)
class Side:
    """One of the two revisions that are compared. revision: 0 for a run that published none."""

    revision: int
    snapshot: str
    total: Decimal
    billed_total: Decimal


@dataclass(frozen=True)
class Move:
    """Money of one group in both revisions, effective and billed."""

    name: str
    before: Decimal
    after: Decimal
    difference: Decimal
    billed_before: Decimal
    billed_after: Decimal
    billed_difference: Decimal


@dataclass(frozen=True)
class CategoryMove(Move):
    """The same of an activity or bucket, and what made the effective difference; the three add up to it.

    retagged: jobs that were another activity before. jobs: jobs that only one revision knows. money: all else.
    """

    retagged: Decimal
    jobs: Decimal
    money: Decimal


@dataclass(frozen=True)
class RowMove:
    """Bill rows of the same content in both revisions; their costs are summed where the content is there more than once.

    before_origin, after_origin   `file:row` of the first of them, "" where the revision has none
    """

    source: str
    billing_account: str
    account: str
    service: str
    resource: str
    sku: str
    charge_category: str
    line_type: str
    start: str
    end: str
    description: str
    before: Decimal
    after: Decimal
    difference: Decimal
    billed_before: Decimal
    billed_after: Decimal
    billed_difference: Decimal
    before_rows: int
    after_rows: int
    before_origin: str
    after_origin: str


@dataclass(frozen=True)
class Cause:
    """Something that changed between the two. count: bill rows, jobs, nodes or rates.

    money: of `bill` and `jobs` what it added; of the others, which move money inside the month, what those jobs cost now.
    """

    kind: str
    words: str
    count: int
    money: Decimal
    billed_money: Decimal


@dataclass(frozen=True)
class Difference:
    """Two revisions of a period in one currency. Each of the lists of moves adds up to `whole`, and so do rows and rest.

    rest             differences of all bill rows that are not among `rows`
    rows_looked_at   bill rows of both that were compared one by one, of `rows_moved` in resource days that moved
    """

    period: str
    policy: str
    currency: str
    before: Side
    after: Side
    whole: Move
    sources: tuple[Move, ...]
    accounts: tuple[Move, ...]
    services: tuple[Move, ...]
    teams: tuple[Move, ...]
    activities: tuple[CategoryMove, ...]
    rows: tuple[RowMove, ...]
    rest: Decimal
    billed_rest: Decimal
    rows_looked_at: int
    rows_moved: int
    causes: tuple[Cause, ...]


@dataclass(frozen=True)
class Revision:
    """A side of a comparison as the caller names it: a snapshot, and what was published of it."""

    snapshot: Snapshot
    published: Breakdown | None


def compare(
    engine: Engine,
    period: Period,
    policy: str,
    currency: str,
    sides: Sequence[Revision],
    limit: int,
    look_at: int = ROWS_LOOKED_AT,
) -> Difference:
    """What moved between two revisions, the older first. Raises ConservationError when the parts are not the whole.

    limit    how many bill rows to name
    look_at  how many to compare one by one: as many resource days, those that moved most first, as hold so many
    """
    before, after = (side.snapshot for side in sides)
    looked_at, moved = _compare_bills(engine, period, before, after, {"currency": currency, "most": look_at})
    _compare_cells(engine, period, before, after, currency)
    by_source = engine.read("bill_group", column="source")
    sources = tuple(_move(*row[:5]) for row in by_source)
    whole = _sum(period.text, sources)
    rows = (
        tuple(_row(row) for row in engine.read("row_move", {"currency": currency, "limit": limit}, **_ROW_WORDS))
        if looked_at
        else ()
    )
    made = Difference(
        period=period.text,
        policy=policy,
        currency=currency,
        before=_side(sides[0], whole.before, whole.billed_before),
        after=_side(sides[1], whole.after, whole.billed_after),
        whole=whole,
        sources=sources,
        accounts=tuple(_move(*row[:5]) for row in engine.read("bill_group", column="account")),
        services=tuple(_move(*row[:5]) for row in engine.read("bill_group", column="service")),
        teams=tuple(_move(*row) for row in engine.read("team_move")),
        activities=tuple(_category(row) for row in engine.read("category_move")),
        rows=rows,
        rest=whole.difference - sum((row.difference for row in rows), ZERO),
        billed_rest=whole.billed_difference - sum((row.billed_difference for row in rows), ZERO),
        rows_looked_at=looked_at,
        rows_moved=moved,
        causes=tuple(_causes(engine, before, after, by_source, sides)),
    )
    _refuse_loss(made, sides)
    return made


# Rows with the same content, whatever they cost; the slot is what is summed before rows are looked at.
_KEY = (
    *("source", "basis", "billing_account_id", "sub_account_id", "service_name", "resource_id", "sku_id", "charge_category"),
    *("line_type", "charge_period_start", "charge_period_end", "charge_description"),
)
_SLOT = (
    f"hash(source, sub_account_id, service_name, resource_id, sku_id, epoch_us(charge_period_start) // 86400000000) % {HASHES}"
)
_ROW_WORDS = {
    "slot": _SLOT,
    "key": ", ".join(_KEY),
    "columns": ", ".join((*_KEY, "effective_cost_nanos", "billed_cost_nanos", "origin_file", "origin_row")),
}


def _compare_bills(
    engine: Engine, period: Period, before: Snapshot, after: Snapshot, values: Mapping[str, Any]
) -> tuple[int, int]:
    """Tables `bill_move` and `moved_slot`; how many rows are to be looked at, of how many in resource days that moved."""

    def files(snapshot: Snapshot) -> set[str]:
        return {f.path for f in snapshot.files("charges") if f.partition["billing_period"] in period.months}

    old, new = files(before), files(after)
    for name, paths in (
        ("kept_line", old & new),
        ("gone_line", old - new),
        ("new_line", new - old),
    ):
        engine.execute(f"CREATE OR REPLACE TEMP VIEW {name} AS {select_files(before.root, CHARGES, sorted(paths))}")
    engine.run("bill_move", values)
    engine.run("moved_slot", values, slot=_SLOT)
    ((looked_at, moved),) = engine.rows("SELECT sum(lines) FILTER (looked_at), sum(lines) FROM moved_slot")
    return int(looked_at or 0), int(moved or 0)


def _compare_cells(engine: Engine, period: Period, before: Snapshot, after: Snapshot, currency: str) -> None:
    """Tables `before_job`, `after_job`, `before_cell`, `after_cell` and `job_move`; views of what else may have changed."""
    for name, snapshot in (("before", before), ("after", after)):
        open_views(engine, snapshot, period)
        make_cells(engine, currency)
        for table, kept in (("job_money", "job"), ("cell", "cell")):
            engine.execute(f"ALTER TABLE {table} RENAME TO {name}_{kept}")
        for table in ("tags", "nodes", "rates"):
            snapshot.view(engine, table, name=f"{name}_{table}")
    engine.run("job_move")


def _causes(
    engine: Engine, before: Snapshot, after: Snapshot, by_source: Sequence[Sequence[Any]], sides: Sequence[Revision]
) -> Iterator[Cause]:
    for source, *nanos, lines_before, lines_after in by_source:
        effective, billed = nanos[1] - nanos[0], nanos[3] - nanos[2]
        if effective or billed or lines_before != lines_after:
            words = f"the bill of {source} says something else: {lines_before:,} rows before, {lines_after:,} now"
            yield Cause("bill", words, lines_after, money(effective), money(billed))
    taggers = engine.rows("SELECT DISTINCT tagger FROM before_tags UNION SELECT DISTINCT tagger FROM after_tags")
    for old, was, new, now, jobs, effective, billed in engine.read("retagged", rank=ranking(t for (t,) in taggers)):
        words = f"{new or 'nobody'} says {now}, before {old or 'nobody'} said {was}"
        yield Cause("retagged", words, jobs, money(effective), money(billed))
    changed = {kind: (jobs, money(e), money(b)) for kind, jobs, e, b in engine.read("changed_jobs")}
    for kind, name, words in (
        ("new", "jobs", "jobs that were not known before"),
        ("gone", "jobs", "jobs that are not known any more"),
        ("time", "placements", "jobs that held other GPU time than was known before"),
        ("team", "teams", "jobs that are another team's now"),
    ):
        if kind in changed:
            yield Cause(name, words, *changed[kind])
    for table, what in (("nodes", "records of nodes"), ("rates", "prices of rate cards")):
        columns = ", ".join(c.name for c in TABLES[table].columns if not c.name.startswith("origin_"))
        ((count,),) = engine.read("changed_records", table=table, columns=columns)
        if count:
            yield Cause(table, f"{what} that only one of the two has", count, ZERO, ZERO)
    rules = [side.published.share_rule if side.published else None for side in sides]
    if None not in rules and rules[0] != rules[1]:
        words = f"nodes are shared by {rules[1]!r} now, before by {rules[0]!r}: jobs that cost something else"
        yield Cause("share_rule", words, *changed.get("cost", (0, ZERO, ZERO)))


def _move(name: str, before: int, after: int, billed_before: int, billed_after: int) -> Move:
    figures = (before, after, after - before, billed_before, billed_after, billed_after - billed_before)
    return Move(name, *(money(n) for n in figures))


def _category(row: Sequence[Any]) -> CategoryMove:
    move = _move(*row[:5])
    retagged, jobs = money(row[5]), money(row[6])
    figures = (move.before, move.after, move.difference, move.billed_before, move.billed_after, move.billed_difference)
    return CategoryMove(move.name, *figures, retagged, jobs, move.difference - retagged - jobs)


def _row(row: Sequence[Any]) -> RowMove:
    before, after, billed_before, billed_after = row[11:15]
    figures = (before, after, after - before, billed_before, billed_after, billed_after - billed_before)
    return RowMove(*row[:11], *(money(n) for n in figures), *row[15:])


def _sum(name: str, moves: Sequence[Move]) -> Move:
    figures = ("before", "after", "difference", "billed_before", "billed_after", "billed_difference")
    return Move(name, *(sum((getattr(move, figure) for move in moves), ZERO) for figure in figures))


def _side(side: Revision, total: Decimal, billed_total: Decimal) -> Side:
    return Side(side.published.revision if side.published else 0, side.snapshot.name, total, billed_total)


def _refuse_loss(made: Difference, sides: Sequence[Revision]) -> None:
    """Bill and breakdown of either revision are the same money, and that which was published."""
    whole = replace(made.whole, name="")
    for name in ("sources", "accounts", "services", "teams", "activities"):
        parts = _sum("", getattr(made, name))
        if parts != whole:
            raise ConservationError(f"{made.period}: the moves by {name} add up to {parts}, not to {whole}; nothing is shown")
    for side, found in zip(sides, (made.before, made.after), strict=True):
        told = side.published
        if told is not None and (told.total, told.billed_total) != (found.total, found.billed_total):
            raise ConservationError(
                f"{made.period}: revision {told.revision} was published with {told.total} (billed {told.billed_total}); "
                f"its snapshot {found.snapshot} holds {found.total} (billed {found.billed_total})"
            )
