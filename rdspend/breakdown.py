"""Breakdowns: attributions joined with tags under a policy, as one finished, immutable record.

Money comes by billing period, so that it ties to the invoice; GPU time by calendar month. Currencies are never added: a
breakdown has one. Jobs without any money count in every currency's GPU-hours.
"""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from decimal import ROUND_HALF_EVEN, Decimal
from typing import Any

import msgspec

from rdspend import pareto, public_figures, release_cost, workload
from rdspend.border import literal
from rdspend.closing import ClosingTable, draw_up, in_currency, refuse_other_sums
from rdspend.closing import money as money
from rdspend.config import Config, authority
from rdspend.doubt import Amounts, Doubt, doubt, relative_error
from rdspend.engine import Engine
from rdspend.errors import ConfigError, ConservationError
from rdspend.estimates import interval, known_errors
from rdspend.exchange import convert
from rdspend.ledger import Snapshot
from rdspend.period import EARLIEST, LATEST, SECONDS_PER_DAY, Period
from rdspend.policy import category
from rdspend.schema import (
    ACTIVITIES,
    BUCKETS,
    GPU_PARTS,
    MOST_TEAMS,
    OTHER_TEAMS,
    SECONDS_PER_HOUR,
    Breakdown,
    Cell,
    Crossing,
    Gap,
    Line,
    Policy,
    ReleaseLine,
    SourceClosing,
    TopJob,
)
from rdspend.spreading import borne_words, share_out, shown_words, spreads

NO_CURRENCY = "XXX"
"""ISO 4217 for 'no currency': jobs whose money nobody told."""

MICROS = 1_000_000
TOP_JOBS = 20
SHARE = Decimal("0.000001")
MICRO = Decimal("0.000001")
ZERO = Decimal(0)


@dataclass(frozen=True)
class Heading:
    """What a report says about itself that is not in the ledger's tables."""

    title: str = ""
    remark: str = ""
    synthetic: bool = False
    share_rule: str = "gpu"


def heading(config: Config) -> Heading:
    """What the configuration has its reports say of themselves."""
    return Heading(config.title, config.remark, config.synthetic, config.engine.share_rule)


def gpu_hours(part_seconds: int) -> Decimal:
    return (Decimal(int(part_seconds)) / (GPU_PARTS * SECONDS_PER_HOUR)).quantize(MICRO, ROUND_HALF_EVEN)


def gpu_seconds(part_seconds: int) -> Decimal:
    return (Decimal(int(part_seconds)) / GPU_PARTS).quantize(MICRO, ROUND_HALF_EVEN)


def open_views(engine: Engine, snapshot: Snapshot, period: Period, without: Collection[str] = ()) -> None:
    """Views of the period's rows: money, time and findings by month; jobs, placements and tags that may touch it.

    without  kinds of taggers whose answers are left out
    """
    months, first = set(period.months), period.months[0]
    for table, column in (
        ("charges", "billing_period"),
        ("attributions", "billing_period"),
        ("occupancy", "month"),
        ("findings", "period"),
    ):
        snapshot.view(engine, table, lambda p, column=column: p[column] in months)  # type: ignore[misc]
    low = _earliest_day(engine, snapshot, first)
    snapshot.view(engine, "jobs", lambda p: p["end_day"] == "open" or p["end_day"] >= low)
    snapshot.view(engine, "placements", lambda p: p["end_day"] == "open" or p["end_day"] >= low)

    def near(partition: Mapping[str, str]) -> bool:
        month = partition["end_month"]
        return (month == "open" or month >= low[:7]) and partition.get("tagger", "").split(".")[0] not in without

    for table in ("tags", "families"):
        snapshot.view(engine, table, near)
    snapshot.view(engine, "claims")
    snapshot.view(engine, "tokens", lambda p: p["billing_period"] in months)
    snapshot.view(engine, "estimate_errors", lambda p: p["month"] <= period.months[-1])
    for table in ("nodes", "rates", "coverage"):
        snapshot.view(engine, table)


def _earliest_day(engine: Engine, snapshot: Snapshot, first: str) -> str:
    """The first day that the period's bill pays for, as the attribution has it: a correction may pay for an earlier month."""
    day = engine.value("SELECT strftime(timezone('UTC', min(charge_period_start)), '%Y-%m-%d') FROM charges")
    return min(day or f"{first}-01", f"{first}-01")


def named_currencies(engine: Engine) -> tuple[str, ...]:
    """Currencies that the attributions name. Wants `open_views`."""
    return tuple(c for (c,) in engine.rows("SELECT DISTINCT billing_currency FROM attributions ORDER BY 1"))


def currencies(engine: Engine) -> tuple[str, ...]:
    return named_currencies(engine) or (NO_CURRENCY,)


def choose_currency(engine: Engine, wanted: str | None) -> str:
    """The wanted currency, or the only one. Raises ConfigError when there are several to choose from."""
    known = currencies(engine)
    if wanted is not None:
        if wanted not in known:
            raise ConfigError(f"--currency {wanted!r}: the period has {', '.join(known)}")
        return wanted
    if len(known) > 1:
        raise ConfigError(f"the period has money in {', '.join(known)}, which can't be added; choose one with --currency")
    return known[0]


def ranking(taggers: Iterable[str]) -> str:
    """SQL that ranks the column `tagger`: 0 is the tagger of highest authority."""
    ranked = sorted(taggers, key=lambda t: (authority(t), t))
    return "CASE tagger " + " ".join(f"WHEN {literal(t)} THEN {i}" for i, t in enumerate(ranked)) + " END" if ranked else "0"


def of_other_currencies(engine: Engine, currency: str) -> str:
    """SQL that leaves out GPU time of jobs whose money is all in other currencies. Wants `open_views`."""
    if not set(named_currencies(engine)) - {currency}:
        return ""
    return (
        "AND job_key NOT IN (SELECT job_key FROM attributions WHERE job_key IS NOT NULL AND billing_currency <> $currency "
        "AND job_key NOT IN (SELECT job_key FROM attributions WHERE job_key IS NOT NULL AND billing_currency = $currency))"
    )


def make_parts(engine: Engine, currency: str, borders: str = "") -> None:
    """Table `job_part` of one currency: jobs' money and time, and what tags say of it, under any policy. Wants `open_views`.

    borders  a table (job_key, b: microseconds since 1970) of further times to cut jobs at; what is cut finer has the same sums
    """
    cut = f"UNION ALL SELECT job_key FROM {borders}" if borders else ""
    inside = (
        f"UNION SELECT job_key, b FROM {borders} JOIN of_job USING (job_key) WHERE b > since AND b < until" if borders else ""
    )
    rank = ranking(t for (t,) in engine.rows("SELECT DISTINCT tagger FROM tags"))
    foreign = of_other_currencies(engine, currency)
    engine.run("job_sum", {"currency": currency}, foreign=foreign)
    engine.run("cut_job", also=cut)
    engine.run("job_part_whole", rank=rank)
    if engine.value("SELECT count(*) FROM cut_job"):
        engine.run("job_span", rank=rank, earliest=EARLIEST * MICROS, latest=LATEST * MICROS, also=inside)
        parts = {name: _part_of_day(name) for name in ("effective", "billed", "parts")}
        engine.run("job_part_cut", {"currency": currency}, foreign=foreign, day=SECONDS_PER_DAY * MICROS, **parts)


def make_cells(engine: Engine, currency: str, policy: Policy, borders: str = "") -> None:
    """Tables `job_money` and `cell` of one currency under a policy; `borders` as in `make_parts`. Wants `open_views`."""
    make_parts(engine, currency, borders)
    if spreads(policy):
        share_out(engine, currency)
    engine.run("job_money", {}, category=category(policy), **borne_words(policy))
    engine.run("cell", {"currency": currency}, team=_named_team(engine), **shown_words(policy))


def _named_team(engine: Engine) -> str:
    """SQL of a job's team as a breakdown names it: the smallest of too many are OTHER_TEAMS."""
    if teams(engine) <= MOST_TEAMS:
        return "team"
    engine.run("named_team", most=MOST_TEAMS, other=literal(OTHER_TEAMS))
    return f"CASE WHEN team = '' OR team IN (SELECT team FROM named_team) THEN team ELSE {literal(OTHER_TEAMS)} END"


def teams(engine: Engine) -> int:
    """How many teams the jobs name. Wants `job_money`."""
    return int(engine.value("SELECT count(DISTINCT team) FROM job_money WHERE team <> ''"))


def _part_of_day(column: str) -> str:
    """SQL of a part's whole nanos of a day: the running total up to it, cut, minus that before it."""
    upto, before = (f"CAST({column} AS HUGEINT) * {length} // nullif(whole, 0)" for length in ("upto", "(upto - length)"))
    return f"CASE WHEN whole = 0 THEN CASE WHEN last THEN {column} ELSE 0 END ELSE {upto} - {before} END"


def break_down(
    engine: Engine,
    snapshot: Snapshot,
    period: Period,
    policy: Policy,
    currency: str,
    said: Heading,
    revision: int = 0,
    *,
    converted: bool = False,
) -> Breakdown:
    """The breakdown of a period in one currency. Wants `open_views`. Raises ConservationError when it doesn't close.

    converted  with the money of every other currency in it, at the rates of the snapshot; closings and closing table stay in
               the currencies of their bills. Leaves the view `attributions` converted.
    """
    known = {*currencies(engine), currency} if converted else {currency}
    sides = tuple(closing for each in sorted(known) for closing in closings(engine, each))
    for closing in sides:
        refuse_open(closing, closing.currency)
    bill = _closing_table(engine, snapshot, period, known, sides)
    conversions = convert(engine, snapshot, period, currency) if converted else ()
    make_cells(engine, currency, policy)
    rows = engine.rows(
        "SELECT category, stage, team, cluster, basis, effective, billed, gpu_part_seconds, borne, borne_parts FROM cell "
        "ORDER BY category, stage, team, cluster, basis"
    )
    total = money(sum(int(r[5]) for r in rows))
    billed_total = money(sum(int(r[6]) for r in rows))
    charges, billed_charges = _charged(sides, currency)
    for conversion in conversions:
        if _charged(sides, conversion.currency) != (conversion.total, conversion.billed_total):
            raise ConservationError(
                f"{period.text}: {conversion.total} {conversion.currency} was converted, the charges are "
                f"{_charged(sides, conversion.currency)[0]}; they must be equal; nothing was published"
            )
        charges += conversion.converted_total
        billed_charges += conversion.converted_billed_total
    if (charges, billed_charges) != (total, billed_total):
        raise ConservationError(
            f"{period.text} {currency}: charges {charges} (billed {billed_charges}), categories and buckets {total} "
            f"(billed {billed_total}); they must be equal; nothing was published"
        )
    by_category = _grouped(rows, 0)
    denominator = sum((amount(_line(c, by_category), policy) for c in policy.denominator), ZERO)
    lines = tuple(with_share(_line(name, by_category), policy, denominator) for name in ACTIVITIES)
    idle_known = not engine.value("SELECT count(*) FROM occupancy WHERE job_key IS NULL AND gpu_part_seconds IS NULL")
    jobs_only = [r for r in rows if r[0] not in ("idle", "bill_idle", "shared")]
    top = engine.rows(
        "SELECT job_key, name, team, category, stage, outcome, effective, gpu_part_seconds FROM job_money "
        f"ORDER BY effective DESC, gpu_part_seconds DESC, job_key, part LIMIT {TOP_JOBS}"
    )
    services = engine.rows(
        "SELECT COALESCE(service, ''), sum(effective_cost_nanos), sum(billed_cost_nanos), 0, "
        "CASE WHEN min(basis) = max(basis) THEN min(basis) ELSE 'mixed' END FROM attributions "
        "WHERE bucket = 'shared' AND billing_currency = ? GROUP BY ALL ORDER BY 2 DESC, 1",
        [currency],
    )
    folded = max(0, teams(engine) - MOST_TEAMS)
    errors = known_errors(engine, currency)
    low, high = interval(engine, currency, total, errors, converted=converted) or (None, None)
    buckets = tuple(_line(name, by_category) for name in BUCKETS)
    if total != sum((line.cost for line in (*lines, *buckets)), ZERO):
        raise ConservationError(
            f"{period.text} {currency}: the lines and buckets of page one do not add up to {total}; nothing was published"
        )
    unsure = _doubt(engine, policy, currency, rows, by_category, denominator, high - total if high is not None else None)
    lines = tuple(_with_doubt(line, unsure) for line in lines)
    return Breakdown(
        period=period.text,
        months=period.months,
        policy=policy,
        currency=currency,
        revision=revision,
        snapshot=snapshot.name,
        basis=_basis(r[4] for r in rows if r[5] or r[6]),
        total=total,
        billed_total=billed_total,
        gpu_hours=gpu_hours(sum(int(r[7]) for r in jobs_only)),
        denominator=denominator,
        lines=lines,
        buckets=buckets,
        stages=_descending(_grouped(jobs_only, 1)),
        teams=_descending(_grouped(jobs_only, 2)),
        clusters=_descending(_grouped(jobs_only, 3)),
        services=tuple(Line(n, money(e), money(b), ZERO, basis) for n, e, b, _, basis in services),
        top_jobs=tuple(
            TopJob(key, name, team, category, stage, outcome, money(effective), gpu_hours(parts))
            for key, name, team, category, stage, outcome, effective, parts in top
        ),
        cells=tuple(
            Cell(category, stage, team, cluster, basis, money(effective), money(billed), gpu_seconds(parts))
            for category, stage, team, cluster, basis, effective, billed, parts, *_ in rows
        ),
        charges=charges,
        attributed=total,
        closings=sides,
        coverage=coverage(engine, period),
        findings=tuple(
            (kind, subject, detail, int(n))
            for kind, subject, detail, n in engine.rows(
                'SELECT kind, subject, detail, sum("rows") FROM findings GROUP BY ALL ORDER BY ALL'
            )
        )
        + _folding(folded),
        idle_gpu_hours_known=idle_known,
        share_rule=said.share_rule,
        synthetic=said.synthetic,
        title=said.title,
        remark=said.remark,
        bridge=bill.rows,
        invoices=bill.invoices,
        checks=bill.checks,
        estimate_errors=errors,
        estimated_low=low,
        estimated_high=high,
        conversions=conversions,
        folded_teams=folded,
        candidates=unsure.candidates,
        doubt=unsure.words,
        releases=_released(engine),
        paretos=pareto.found_for_report(engine),
        workloads=workload.found(engine),
        public_figures=public_figures.beside(policy),
        crossings=tuple(
            Crossing(category, stage, outcome, role, money(effective), money(billed), gpu_hours(parts))
            for category, stage, outcome, role, effective, billed, parts in engine.read("crossing")
        ),
        spread=_spread(engine, currency, policy, by_category),
    )


def _doubt(
    engine: Engine,
    policy: Policy,
    currency: str,
    rows: Sequence[Sequence[Any]],
    by_category: Mapping[str, Group],
    denominator: Decimal,
    room: Decimal | None,
) -> Doubt:
    """Bounds and intervals of the lines. `room`: how far estimates may move the total."""
    amounts = {name: amount(_line(name, by_category), policy) for name in (*ACTIVITIES, *BUCKETS)}
    guessed = _grouped([row for row in rows if row[4] in ("estimated", "mixed")], 0)
    estimated = {name: money(group[0]) for name, group in guessed.items()}
    error = relative_error(room, sum(estimated.values(), ZERO))
    rank = ranking(t for (t,) in engine.rows("SELECT DISTINCT tagger FROM tags"))
    return doubt(engine, policy, currency, Amounts(amounts, estimated, denominator, error), rank, _named_team(engine))


def _with_doubt(line: Line, known: Doubt) -> Line:
    ends = known.bounds.get(line.name)
    if ends is None or line.share is None:
        return line
    return replace(line, share_low=ends.low, share_high=ends.high, likely_low=ends.likely_low, likely_high=ends.likely_high)


def _spread(engine: Engine, currency: str, policy: Policy, left: Mapping[str, Group]) -> tuple[Line, ...]:
    """What of each bucket the jobs bear: what attributions and occupancy have of it, less what stayed."""
    if not spreads(policy):
        return ()
    sums = engine.rows(
        "SELECT bucket, sum(effective_cost_nanos), sum(billed_cost_nanos), 0, min(basis), max(basis) FROM attributions "
        "WHERE bucket IS NOT NULL AND billing_currency = ? GROUP BY bucket UNION ALL "
        "SELECT 'idle', 0, 0, sum(gpu_part_seconds), NULL, NULL FROM occupancy WHERE job_key IS NULL",
        [currency],
    )
    lines = []
    for bucket in ("idle", "bill_idle", "shared"):
        here = [row for row in sums if row[0] == bucket]
        stayed = left.get(bucket, (0, 0, 0))[:3]
        effective, billed, parts = (sum(int(row[n + 1] or 0) for row in here) - each for n, each in enumerate(stayed))
        if effective or billed or parts:
            basis = _basis(each for row in here for each in row[4:] if each)
            lines.append(Line(bucket, money(effective), money(billed), gpu_hours(parts), basis))
    return tuple(lines)


def _released(engine: Engine) -> tuple[ReleaseLine, ...]:
    if not engine.value("SELECT EXISTS (SELECT 1 FROM job_money WHERE release <> '')"):
        return ()
    release_cost.gather(engine)
    return release_cost.lines(engine)


def _folding(teams: int) -> tuple[tuple[str, str, str, int], ...]:
    """What a reader has to know where teams were added up."""
    words = f"the smallest teams are added up: a breakdown names {MOST_TEAMS:,}; every job keeps its own"
    return (("folded_teams", OTHER_TEAMS, words, teams),) if teams else ()


Group = tuple[int, int, int, str, int, int]


def _grouped(rows: Sequence[Sequence[Any]], column: int) -> dict[str, Group]:
    """Sums of effective, billed, GPU part-seconds and what of them is borne, by one column of the cells; there are few."""
    sums: dict[str, list[int]] = {}
    bases: dict[str, set[str]] = {}
    for row in rows:
        each = sums.setdefault(row[column], [0, 0, 0, 0, 0])
        for i in range(5):
            each[i] += int(row[5 + i])
        if row[5] or row[6]:
            bases.setdefault(row[column], set()).add(row[4])
    return {name: (e, b, g, _basis(bases.get(name, ())), be, bg) for name, (e, b, g, be, bg) in sums.items()}


def _basis(found: Iterable[str]) -> str:
    kinds = {b for b in found if b not in ("", "unpriced")}
    return "mixed" if len(kinds) > 1 else kinds.pop() if kinds else "none"


def _line(name: str, groups: Mapping[str, Group]) -> Line:
    effective, billed, parts, basis, borne, borne_parts = groups.get(name, (0, 0, 0, "none", 0, 0))
    bears = {"borne": money(borne), "borne_gpu_hours": gpu_hours(borne_parts)} if borne or borne_parts else {}
    return Line(name, money(effective), money(billed), gpu_hours(parts), basis, **bears)


def amount(line: Line, policy: Policy) -> Decimal:
    """What a line has of the policy's unit."""
    return line.gpu_hours if policy.unit == "gpu_hours" else line.cost


def with_share(line: Line, policy: Policy, denominator: Decimal) -> Line:
    """Share of the policy's denominator, bounds not yet opened."""
    if line.name not in policy.denominator or denominator <= 0:
        return line
    share = (amount(line, policy) / denominator).quantize(SHARE, ROUND_HALF_EVEN)
    return replace(line, share=share, share_low=share, share_high=share)


def _descending(groups: Mapping[str, Group]) -> tuple[Line, ...]:
    named = [(name, group) for name, group in groups.items() if any(group[:3])]
    named.sort(key=lambda each: (-each[1][0], -each[1][2], each[0]))
    return tuple(_line(name, groups) for name, _ in named)


def closings(engine: Engine, currency: str) -> tuple[SourceClosing, ...]:
    """Both sides of every source and month of the views, straight from charges and attributions."""
    rows = [row for row in engine.read("sides") if row[2] == currency]
    return tuple(SourceClosing(s, p, b, money(e), money(ea), money(w), money(wa), c) for s, p, c, b, e, ea, w, wa in rows)


def refuse_open(c: SourceClosing, currency: str) -> None:
    """Raises ConservationError when the two sides differ."""
    if c.charges != c.attributed or c.billed_charges != c.billed_attributed:
        raise ConservationError(
            f"{c.source} {c.billing_period} {currency} ({c.basis}): charges {c.charges}, attributed {c.attributed} "
            f"(billed {c.billed_charges} and {c.billed_attributed}); they must be equal; nothing was published"
        )


def _charged(sides: Iterable[SourceClosing], currency: str) -> tuple[Decimal, Decimal]:
    """Effective and billed sum of the charges in one currency."""
    here = [c for c in sides if c.currency == currency]
    return sum((c.charges for c in here), ZERO), sum((c.billed_charges for c in here), ZERO)


def _closing_table(
    engine: Engine, snapshot: Snapshot, period: Period, known: set[str], sides: Sequence[SourceClosing]
) -> ClosingTable:
    """What these currencies' bills are made of; its rows add to the charges of the closings."""
    bill = draw_up(engine, snapshot, period)
    for currency in sorted(known):
        refuse_other_sums(in_currency(bill, currency).rows, f"{period.text} {currency}", *_charged(sides, currency))
    return bill if len(known) > 1 else in_currency(bill, *known)


def coverage(engine: Engine, period: Period) -> tuple[Gap, ...]:
    """What every source showed of the period: spans it showed completely, and gaps with the last reason known."""
    window = period.window
    first, last = int(window.start.timestamp()), int(window.end.timestamp())
    rows = engine.rows(
        "SELECT source, epoch_us(window_start) // 1000000, epoch_us(window_end) // 1000000, complete, why "
        "FROM coverage ORDER BY run, asked_at"
    )
    by_source: dict[str, list[tuple[int, int, bool, str | None]]] = {}
    for source, start, end, complete, why in rows:
        if start < last and end > first:
            by_source.setdefault(source, []).append((max(start, first), min(end, last), complete, why))
    gaps = []
    for source in sorted(by_source):
        for start, end, complete, why in _pieces(by_source[source], first, last):
            gaps.append(Gap(source, datetime.fromtimestamp(start, UTC), datetime.fromtimestamp(end, UTC), complete, why))
    return tuple(gaps)


def _pieces(said: Sequence[tuple[int, int, bool, str | None]], first: int, last: int) -> list[tuple[int, int, bool, str]]:
    """The newest word about each part of the span, neighbours with the same word joined."""
    edges = sorted({first, last, *(e for start, end, _, _ in said for e in (start, end))})
    pieces: list[tuple[int, int, bool, str]] = []
    for start, end in itertools.pairwise(edges):
        word: tuple[bool, str] = (False, "not collected yet")
        for s, e, complete, why in said:
            if s <= start and end <= e:
                word = (complete, "" if complete else why or "not complete")
        if pieces and pieces[-1][2:] == word:
            pieces[-1] = (pieces[-1][0], end, *word)
        else:
            pieces.append((start, end, *word))
    return pieces


def encode(breakdown: Breakdown) -> str:
    """A breakdown as text that `decode` gives back equal."""
    return msgspec.json.encode(breakdown).decode()


def decode(text: str) -> Breakdown:
    return msgspec.json.decode(text, type=Breakdown)


FIGURES = (
    *("period", "months", "currency", "basis", "total", "billed_total", "gpu_hours", "denominator", "charges", "attributed"),
    *("lines", "buckets", "stages", "teams", "clusters", "services", "cells", "idle_gpu_hours_known"),
)
LATER_FIGURES = ("bridge", "invoices", "checks", "estimate_errors", "estimated_low", "estimated_high", "conversions")
"""Breakdowns of an earlier rdspend lack these, and the currency of their closings."""
DOUBT_FIGURES = ("candidates",)
"""Breakdowns of an rdspend that drew no intervals lack these; their lines have none, and bounds without candidates."""


def _figures(b: Breakdown, later: bool, doubted: bool) -> dict[str, object]:
    """All that a revision is told apart by: no words, no coverage, no state, not when or in which run it was made."""
    return {
        **{name: getattr(b, name) for name in (*FIGURES, *(LATER_FIGURES if later else ()))},
        **({name: getattr(b, name) for name in DOUBT_FIGURES} if doubted else {"lines": tuple(map(_undoubted, b.lines))}),
        "policy": (b.policy.name, b.policy.denominator),
        "closings": tuple(replace(c, currency=c.currency or b.currency) for c in b.closings),
        "top_jobs": tuple((j.job_key, j.team, j.category, j.stage, j.cost, j.gpu_hours) for j in b.top_jobs),
    }


def _undoubted(line: Line) -> Line:
    return replace(line, share_low=None, share_high=None, likely_low=None, likely_high=None)


def digest(breakdown: Breakdown) -> str:
    """sha256 of the figures."""
    return hashlib.sha256(msgspec.json.encode(_figures(breakdown, later=True, doubted=True))).hexdigest()


def same_figures(a: Breakdown, b: Breakdown) -> bool:
    """Whether no figure differs of those that both have."""
    later = all(closing.currency for each in (a, b) for closing in each.closings)
    doubted = bool(a.doubt) == bool(b.doubt)
    return _figures(a, later, doubted) == _figures(b, later, doubted)


def next_revision(engine: Engine, made: Breakdown) -> int:
    """The last revision when the figures are still the same, else one more. Wants the view `publications`."""
    last = engine.rows(
        "SELECT revision, figures FROM publications WHERE period = ? AND policy = ? AND currency = ? ORDER BY run DESC LIMIT 1",
        [made.period, made.policy.name, made.currency],
    )
    if not last:
        return 1
    revision, known = last[0]
    return int(revision) if same_figures(decode(known), made) else int(revision) + 1
