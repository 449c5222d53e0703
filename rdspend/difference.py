"""The difference of two revisions of a month: what moved, by how much, and what changed that moved it.

It comes from their snapshots: both bills, both attributions, both breakdowns by the same statements. Only files that differ are
compared line by line: first sums and checksums by source, account and service, then by resource and day (under a bounded number
of hashes), then rows, in the resource days that moved most. A checksum is the sum of the hashes of what decides about money, so
neither the order of lines nor their files matter, and a bill that moves money under the same sum is still another bill.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

from rdspend.breakdown import make_cells, money, open_views, ranking, same_figures
from rdspend.engine import Engine
from rdspend.errors import ConservationError
from rdspend.ledger import Run, Snapshot, select_files
from rdspend.period import Period
from rdspend.schema import CHARGES, TABLES, Breakdown, Policy

HASHES = 2**20
"""Resource days are told apart by so many hashes: memory stays bounded, whatever the bill."""

ROWS_LOOKED_AT = 500_000
"""Resource days are looked at, those that moved most first, until they hold so many bill rows of both revisions."""

MOST_NAMED = 5
"""Of the jobs that a release moved so many are named, those that cost most."""

ZERO = Decimal(0)


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

    status   of the capacity reservation or commitment, Used or Unused; "" for neither
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
    status: str
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
    """Something that changed between the two. count: bill rows, jobs, nodes, rates or statements.

    kind `not found`: something moved and nothing that is looked at changed; the words say where to look.
    release, jobs: of `retagged`, where a release moved them: which, and the keys of the jobs that cost most.
    money: of `bill` and `jobs` what it added; of the others, which move money inside the month, what those jobs cost now.
    """

    kind: str
    words: str
    count: int
    money: Decimal
    billed_money: Decimal
    release: str = ""
    jobs: tuple[str, ...] = ()


@dataclass(frozen=True)
class Difference:
    """Two revisions of a period in one currency. Each of the lists of moves adds up to `whole`, and so do rows and rest.

    rest             differences of all bill rows that are not among `rows`
    rows_looked_at   bill rows of both that were compared one by one, of `rows_moved` in resource days that moved
    causes           empty only where no figure moved
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
    """A side of a comparison as the caller names it: a snapshot, what was published of it, and the run that attributed it."""

    snapshot: Snapshot
    published: Breakdown | None
    attributed: Run | None = None


def compare(
    engine: Engine,
    period: Period,
    policy: Policy,
    currency: str,
    sides: Sequence[Revision],
    limit: int,
    look_at: int = ROWS_LOOKED_AT,
) -> Difference:
    """What moved between two revisions, the older first. Raises ConservationError when the parts are not the whole.

    limit    how many bill rows to name
    look_at  resource days are compared row by row, those that moved most first, until so many rows have been; each as a whole
    """
    before, after = (side.snapshot for side in sides)
    looked_at, moved = _compare_bills(engine, period, before, after, {"currency": currency, "most": look_at})
    span = _compare_cells(engine, period, before, after, currency, policy)
    by_source = engine.read("bill_group", column="source")
    sources = tuple(_move(*row[:5]) for row in by_source)
    whole = _sum(period.text, sources)
    rows = (
        tuple(_row(row) for row in engine.read("row_move", {"currency": currency, "limit": limit}, **_LINE_WORDS))
        if looked_at
        else ()
    )
    made = Difference(
        period=period.text,
        policy=policy.name,
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
        causes=tuple(_causes(engine, span, by_source, sides)),
    )
    _refuse_loss(made, sides)
    return made


# Rows with the same content, whatever they cost; the slot is what is summed before rows are looked at.
_STATUS = ("commitment_discount_status", "capacity_reservation_status")
_KEY = (
    *("source", "basis", "billing_account_id", "sub_account_id", "service_name", "resource_id", "sku_id", "charge_category"),
    *("line_type", "charge_period_start", "charge_period_end", "charge_description", *_STATUS),
)
_COSTS = ("effective_cost_nanos", "billed_cost_nanos")
# What decides where the money of a line goes, and what only decides about its row in the closing table.
_CONTENT = ("basis", "resource_id", "service_name", "sku_id", "charge_period_start", "charge_period_end", *_STATUS, *_COSTS)
_PAPERS = ("sub_account_id", "charge_category", "line_type", "invoice_id", *_COSTS)
_LINE_WORDS = {
    "slot": "hash(source, sub_account_id, service_name, resource_id, sku_id, epoch_us(charge_period_start) // 86400000000)"
    f" % {HASHES}",
    "key": ", ".join(_KEY),
    "columns": ", ".join((*_KEY, *_COSTS, "origin_file", "origin_row")),
    "content": f"hash({', '.join(_CONTENT)})",
    "papers": f"hash({', '.join(_PAPERS)})",
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
    engine.run("bill_move", values, **_LINE_WORDS)
    engine.run("moved_slot", values, **_LINE_WORDS)
    ((looked_at, moved),) = engine.rows("SELECT sum(lines) FILTER (looked_at), sum(lines) FROM moved_slot")
    return int(looked_at or 0), int(moved or 0)


def _compare_cells(
    engine: Engine, period: Period, before: Snapshot, after: Snapshot, currency: str, policy: Policy
) -> dict[str, float]:
    """Tables `before_job`, `after_job`, `before_cell`, `after_cell` and `job_move`; views of what else may have changed.

    The span of time that the money was used in, as epoch seconds: no record outside of it can have moved a figure.
    """
    days = [f"{period.window.start:%Y-%m-%d}", f"{period.window.end - timedelta(days=1):%Y-%m-%d}"]
    # Both are cut at the borders of both: then each part of a job is the same time in either.
    engine.execute("CREATE OR REPLACE TEMP TABLE border_of_either (job_key VARCHAR, b BIGINT)")
    for snapshot in (before, after):
        open_views(engine, snapshot, period)
        engine.run("border_of_either")
    for name, snapshot in (("before", before), ("after", after)):
        open_views(engine, snapshot, period)
        make_cells(engine, currency, policy, "border_of_either")
        for table, kept in (("job_money", "job"), ("cell", "cell")):
            engine.execute(f"ALTER TABLE {table} RENAME TO {name}_{kept}")
        for table in ("tags", "nodes", "rates"):
            snapshot.view(engine, table, name=f"{name}_{table}")
        days += [day for (day,) in engine.rows("SELECT unnest([min(day), max(day)]) FROM attributions") if day]
    engine.run("job_move")
    low, high = (datetime.fromisoformat(day).replace(tzinfo=UTC) for day in (min(days), max(days)))
    for name, snapshot in (("before", before), ("after", after)):
        for table in ("jobs", "placements"):
            snapshot.view(engine, table, lambda p: p["end_day"] == "open" or p["end_day"] >= min(days), name=f"{name}_{table}")
    return {"low": low.timestamp(), "high": (high + timedelta(days=1)).timestamp()}


def _causes(
    engine: Engine, span: Mapping[str, float], by_source: Sequence[Sequence[Any]], sides: Sequence[Revision]
) -> Iterator[Cause]:
    found = [
        *_bill_causes(by_source),
        *_job_causes(engine, span, sides),
        *_record_causes(engine, span),
        *_statement_causes(sides),
    ]
    yield from found
    if not found and _any_moved(engine, sides):
        yield Cause("not found", _where_to_look(sides), 0, ZERO, ZERO)


def _bill_causes(by_source: Sequence[Sequence[Any]]) -> Iterator[Cause]:
    for source, *nanos, lines_before, lines_after, content_moved, papers_moved in by_source:
        effective, billed = nanos[1] - nanos[0], nanos[3] - nanos[2]
        if content_moved:
            words = f"the bill of {source} says something else: {lines_before:,} rows before, {lines_after:,} now"
            same = "" if effective or billed else "; its sum is the same"
            yield Cause("bill", words + same, lines_after, money(effective), money(billed))
        elif papers_moved:
            words = f"the bill of {source} has the same money under other invoices, accounts or kinds of lines"
            yield Cause("invoices", words, lines_after, money(effective), money(billed))


def _job_causes(engine: Engine, span: Mapping[str, float], sides: Sequence[Revision]) -> Iterator[Cause]:
    taggers = engine.rows("SELECT DISTINCT tagger FROM before_tags UNION SELECT DISTINCT tagger FROM after_tags")
    rank = ranking(t for (t,) in taggers)
    for answer, column, named in (("activity", "category", ""), ("stage", "stage", "stage ")):
        told = engine.read("retagged", rank=rank, answer=answer, column=column)
        for old, was, old_release, new, now, new_release, jobs, effective, billed, largest in told:
            of_new, of_old = (f" ({release})" if release else "" for release in (new_release, old_release))
            words = f"{new or 'nobody'} says {named}{now or 'none'}{of_new}, "
            words += f"before {old or 'nobody'} said {named}{was or 'none'}{of_old}"
            # Only a release moves jobs by name: a rule moves thousands.
            keys = tuple(dict.fromkeys(largest))[:MOST_NAMED] if new_release or old_release else ()
            if keys:
                words += f": {', '.join(keys)}{', ...' if jobs > len(keys) else ''}"
            yield Cause("retagged", words, jobs, money(effective), money(billed), new_release or old_release, keys)
    rules = {side.published.share_rule if side.published else "" for side in sides}
    # Processors and memory share a node only under a rule that looks at them.
    held = "node, gpu_parts" if rules == {"gpu"} else "node, gpu_parts, cpus, memory_mib"
    engine.run("held_move", span, held=held)
    changed = {kind: (jobs, money(e), money(b)) for kind, jobs, e, b in engine.read("changed_jobs")}
    for kind, name, words in (
        ("new", "jobs", "jobs that were not known before"),
        ("gone", "jobs", "jobs that are not known any more"),
        ("held", "placements", "jobs that held other nodes, times or GPUs than was known before"),
        ("team", "teams", "jobs that are another team's now"),
    ):
        if kind in changed:
            yield Cause(name, words, *changed[kind])
    if "" not in rules and len(rules) > 1:
        was, now = (side.published.share_rule for side in sides if side.published)
        words = f"nodes are shared by {now!r} now, before by {was!r}: jobs that cost something else"
        yield Cause("share_rule", words, *changed.get("cost", (0, ZERO, ZERO)))


def _record_causes(engine: Engine, span: Mapping[str, float]) -> Iterator[Cause]:
    for table, what in (("nodes", "records of nodes"), ("rates", "prices of rate cards")):
        names = (c.name for c in TABLES[table].columns if not c.name.startswith("origin_"))
        columns = ", ".join(name for name in names if name not in ("start_time", "end_time"))
        ((count,),) = engine.read("changed_records", span, table=table, columns=columns)
        if count:
            yield Cause(table, f"{what} that only one of the two has", count, ZERO, ZERO)


def _statement_causes(sides: Sequence[Revision]) -> Iterator[Cause]:
    before, after = (side.published for side in sides)
    # Breakdowns of before there were states have none of these.
    if before is None or after is None or not before.state or not after.state:
        return
    invoices = [{(i.invoice, i.currency, i.stated) for i in b.invoices if i.stated is not None} for b in (before, after)]
    checks = [{(c.source, c.service, c.account, c.currency, c.stated, c.complete) for c in b.checks} for b in (before, after)]
    count = len(invoices[0] ^ invoices[1]) + len(checks[0] ^ checks[1])
    if count:
        yield Cause("statements", "what invoices and checks state that only one of the two has", count, ZERO, ZERO)
    errors = set(before.estimate_errors) ^ set(after.estimate_errors)
    if errors:
        yield Cause("estimate_errors", "known errors of estimates that only one of the two has", len(errors), ZERO, ZERO)


def _any_moved(engine: Engine, sides: Sequence[Revision]) -> bool:
    """Whether any figure is another one, money moved or not."""
    before, after = (side.published for side in sides)
    if before is not None and after is not None and not same_figures(before, after):
        return True
    return bool(
        engine.value(
            "SELECT EXISTS (FROM before_cell EXCEPT ALL FROM after_cell) "
            "OR EXISTS (FROM after_cell EXCEPT ALL FROM before_cell)"
        )
    )


def _where_to_look(sides: Sequence[Revision]) -> str:
    looked_at = "it is not in bill, jobs, placements, tags, nodes, prices or statements"
    explain = "compare `rdspend explain` of what moved, --as-of either run"
    done, runs = "attributed", [side.attributed for side in sides]
    if runs[0] == runs[1]:
        done, runs = "made", [side.snapshot.run for side in sides]
    before, after = runs
    if before is None or after is None:
        return f"{looked_at}; {explain}"
    words = (
        f"{done} by rdspend {after.code_version} (run-{after.run}), before by rdspend {before.code_version} (run-{before.run})"
    )
    other = "; the configuration is another one" if before.config_digest != after.config_digest else ""
    return f"{looked_at}; {words}{other}: {explain}"


def _move(name: str, before: int, after: int, billed_before: int, billed_after: int) -> Move:
    figures = (before, after, after - before, billed_before, billed_after, billed_after - billed_before)
    return Move(name, *(money(n) for n in figures))


def _category(row: Sequence[Any]) -> CategoryMove:
    move = _move(*row[:5])
    retagged, jobs = money(row[5]), money(row[6])
    figures = (move.before, move.after, move.difference, move.billed_before, move.billed_after, move.billed_difference)
    return CategoryMove(move.name, *figures, retagged, jobs, move.difference - retagged - jobs)


def _row(row: Sequence[Any]) -> RowMove:
    before, after, billed_before, billed_after = row[12:16]
    figures = (before, after, after - before, billed_before, billed_after, billed_after - billed_before)
    return RowMove(*row[:12], *(money(n) for n in figures), *row[16:])


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
