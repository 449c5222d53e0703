"""The same month under several policies, side by side, and why they differ: case by case, with the money of each.

The month is gone over once, by case: what a job was to a release, or its activity where no release claims it. Everything else
follows from those few sums, so a policy more costs nothing. For each policy the reasons add up to the difference between it and
the one that it is compared with, of final training and of what 100 % is, in money and in GPU-hours.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import Any

from rdspend.border import literal
from rdspend.breakdown import (
    amount,
    choose_currency,
    closings,
    gpu_hours,
    make_parts,
    money,
    of_other_currencies,
    open_views,
    ranking,
    refuse_open,
    with_share,
)
from rdspend.doubt import Amounts, ends
from rdspend.engine import Engine
from rdspend.errors import ConservationError
from rdspend.ledger import Snapshot
from rdspend.period import Period
from rdspend.policy import DEFAULTS, case_of, counts_as, described, sentences
from rdspend.schema import ACTIVITIES, BUCKETS, Line, Policy
from rdspend.spreading import share_out, spread_time, spreads

FINAL = "final_training"
UNCLASSIFIED = "unclassified"
ZERO = Decimal(0)


@dataclass(frozen=True)
class Side:
    """The month under one policy. denominator: what 100 % is, in its unit. spread: by bucket what its jobs bear."""

    policy: Policy
    lines: tuple[Line, ...]
    buckets: tuple[Line, ...]
    denominator: Decimal
    spread: tuple[Line, ...]

    @property
    def final(self) -> Line:
        return next(line for line in self.lines if line.name == FINAL)


@dataclass(frozen=True)
class Standing:
    """What one policy makes of a case, in its own sentence. inside: it is part of 100 %."""

    category: str
    inside: bool
    words: str
    source: str


@dataclass(frozen=True)
class Reason:
    """A case that two policies do not treat alike: what it cost, and by how much it moves final training and 100 %.

    case   one of the cases of a policy, `unclassified`, or `idle` and `shared`: who bears those
    what   the case in words
    """

    case: str
    what: str
    cost: Decimal
    gpu_hours: Decimal
    before: Standing
    after: Standing
    final_cost: Decimal
    final_gpu_hours: Decimal
    denominator_cost: Decimal
    denominator_gpu_hours: Decimal


@dataclass(frozen=True)
class Contrast:
    """One policy against the configured one. The reasons add up to the four differences.

    units  the two, where shares are of different things: then no difference of shares means anything
    """

    before: str
    after: str
    final_cost: Decimal
    final_gpu_hours: Decimal
    denominator_cost: Decimal
    denominator_gpu_hours: Decimal
    reasons: tuple[Reason, ...]
    units: tuple[str, ...]


@dataclass(frozen=True)
class Comparison:
    """A month under several policies. The first side is the configured policy's; contrasts are of the others against it."""

    period: str
    currency: str
    snapshot: str
    total: Decimal
    gpu_hours: Decimal
    idle_gpu_hours_known: bool
    sides: tuple[Side, ...]
    contrasts: tuple[Contrast, ...]


@dataclass(frozen=True)
class _Sum:
    """Money in nanos and time in GPU part-seconds of one case, or of the jobs of a case that bear something."""

    effective: int = 0
    billed: int = 0
    parts: int = 0

    def __add__(self, other: _Sum) -> _Sum:
        return _Sum(self.effective + other.effective, self.billed + other.billed, self.parts + other.parts)

    def __sub__(self, other: _Sum) -> _Sum:
        return _Sum(self.effective - other.effective, self.billed - other.billed, self.parts - other.parts)

    def __bool__(self) -> bool:
        return bool(self.effective or self.billed or self.parts)


NOTHING = _Sum()


@dataclass(frozen=True)
class _Case:
    """The jobs of one case: their own, and what they would bear."""

    own: _Sum
    idle: _Sum
    bill_idle: _Sum
    shared: _Sum


@dataclass(frozen=True)
class _Entry:
    """A piece of the month under one policy. key: the case, `idle` or `shared`, that explains it. bucket: of what is borne."""

    key: str
    category: str
    sum: _Sum
    bucket: str = ""


@dataclass(frozen=True)
class _Month:
    cases: Mapping[str, _Case]
    buckets: Mapping[str, _Sum]

    def entries(self, policy: Policy) -> Iterator[_Entry]:
        """All of the month under a policy, every nano once."""
        categories = counts_as(policy)
        left = dict(self.buckets)
        for name, case in self.cases.items():
            category = categories.get(name, "unclassified")
            yield _Entry(name, category, case.own)
            for key, bucket, bears in self._borne(policy, case):
                left[bucket] = left.get(bucket, NOTHING) - bears
                yield _Entry(key, category, bears, bucket)
        for key, bucket in (("idle", "idle"), ("idle", "bill_idle"), ("shared", "shared")):
            yield _Entry(key, bucket, left.get(bucket, NOTHING))

    @staticmethod
    def _borne(policy: Policy, case: _Case) -> Iterator[tuple[str, str, _Sum]]:
        if policy.idle == "spread":
            time = case.idle.parts if spread_time(policy) else 0
            yield "idle", "idle", _Sum(case.idle.effective, case.idle.billed, time)
            yield "idle", "bill_idle", case.bill_idle
        if policy.shared == "spread":
            yield "shared", "shared", case.shared


def compare_policies(
    engine: Engine, snapshot: Snapshot, period: Period, policies: Sequence[Policy], currency: str | None
) -> Comparison:
    """A period under all of the policies, the others against the first. Raises ConservationError when it doesn't close."""
    open_views(engine, snapshot, period)
    chosen = choose_currency(engine, currency)
    for closing in closings(engine, chosen):
        refuse_open(closing, chosen)
    known = not engine.value("SELECT count(*) FROM occupancy WHERE job_key IS NULL AND gpu_part_seconds IS NULL")
    attributed = money(
        engine.value("SELECT COALESCE(sum(effective_cost_nanos), 0) FROM attributions WHERE billing_currency = ?", [chosen])
    )
    month = sum_cases(engine, chosen, any(map(spreads, policies)))
    total = money(sum(each.effective for each in _all(month)))
    sides = tuple(_side(month, policy) for policy in policies)
    for side in sides:
        added = sum((line.cost for line in (*side.lines, *side.buckets)), ZERO)
        if not attributed == total == added:
            raise ConservationError(
                f"{period.text} {chosen}: attributed {attributed}, under policy {side.policy.name} {added}; they must be equal"
            )
    return Comparison(
        period.text,
        chosen,
        snapshot.name,
        total,
        gpu_hours(sum(case.own.parts for case in month.cases.values())),
        known,
        sides,
        tuple(_contrast(month, policies[0], policy) for policy in policies[1:]),
    )


def sum_cases(engine: Engine, currency: str, spread: bool) -> _Month:
    """The sums of the period. Where a policy spreads, what each job bears has to be known; else no table of jobs is made."""
    buckets = {b: _Sum(int(e), int(w), int(p)) for b, e, w, p in engine.read("bucket_sum", {"currency": currency})}
    if spread:
        make_parts(engine, currency)
        share_out(engine, currency)
        return _Month(_cases(_case_rows(engine, spread)), buckets)
    engine.run("segmented")
    names = (*DEFAULTS, UNCLASSIFIED)
    cut = bool(engine.value("SELECT count(*) FROM segmented"))
    whole = "AND job_key NOT IN (SELECT job_key FROM segmented)" if cut else ""
    said = {"whole": whole, "names": "[" + ", ".join(map(literal, names)) + "]", "cases": len(names), "of": case_of()}
    rank = ranking(t for (t,) in engine.rows("SELECT DISTINCT tagger FROM tags"))
    engine.run("case_won", {}, rank=rank, **said)
    rows = engine.read("case_whole", {"currency": currency}, foreign=of_other_currencies(engine, currency), **said)
    if cut:
        for table in ("attributions", "occupancy", "tags"):
            engine.run("near_segmented", table=table)
            engine.execute(f"ALTER TABLE near_segmented RENAME TO segmented_{table}")
            engine.execute(f"CREATE OR REPLACE TEMP VIEW {table} AS SELECT * FROM segmented_{table}")
        make_parts(engine, currency)
        rows += _case_rows(engine, spread)
    return _Month(_cases(rows), buckets)


def _case_rows(engine: Engine, spread: bool) -> list[tuple[Any, ...]]:
    columns = ("idle", "idle_billed", "idle_parts", "unused", "unused_billed", "shared", "shared_billed")
    return engine.read(
        "case_sum",
        of=case_of(),
        borne=", ".join(f"COALESCE(sum(b.{c}), 0)" if spread else "0" for c in columns),
        bearing="LEFT JOIN borne AS b USING (job_key, part)" if spread else "",
    )


def _cases(rows: Sequence[Sequence[Any]]) -> dict[str, _Case]:
    """Sums of case_sum by name; a case may be there twice, for jobs that are cut and for those that are not."""
    cases: dict[str, _Case] = {}
    for name, *amounts in rows:
        own, billed, parts, idle, idle_billed, idle_parts, unused, unused_billed, shared, shared_billed = map(int, amounts)
        more = (
            _Sum(own, billed, parts),
            _Sum(idle, idle_billed, idle_parts),
            _Sum(unused, unused_billed),
            _Sum(shared, shared_billed),
        )
        known = cases.get(name, _Case(NOTHING, NOTHING, NOTHING, NOTHING))
        there = (known.own, known.idle, known.bill_idle, known.shared)
        cases[name] = _Case(*(a + b for a, b in zip(there, more, strict=True)))
    return cases


def _all(month: _Month) -> Iterator[_Sum]:
    yield from (case.own for case in month.cases.values())
    yield from month.buckets.values()


def _side(month: _Month, policy: Policy) -> Side:
    entries = list(month.entries(policy))
    found = {name: _line(name, [e for e in entries if e.category == name]) for name in (*ACTIVITIES, *BUCKETS)}
    denominator = sum((amount(found[name], policy) for name in policy.denominator), ZERO)
    known = Amounts({name: amount(each, policy) for name, each in found.items()}, {}, denominator)
    borne = {bucket: [e for e in entries if e.bucket == bucket] for bucket in BUCKETS}
    return Side(
        policy,
        tuple(_with_bounds(with_share(found[name], policy, denominator), policy, known) for name in ACTIVITIES),
        tuple(found[name] for name in BUCKETS),
        denominator,
        tuple(line for line in (_line(bucket, of) for bucket, of in borne.items()) if line.borne or line.borne_gpu_hours),
    )


def _with_bounds(line: Line, policy: Policy, known: Amounts) -> Line:
    """What the share would be if all unclassified work went one way. Candidates for a final run are the report's."""
    if line.share is None:
        return line
    low, high = ends(line.name, policy, known, ZERO)
    return replace(line, share_low=low, share_high=high)


def _line(name: str, entries: Sequence[_Entry]) -> Line:
    whole = sum((e.sum for e in entries), NOTHING)
    borne = sum((e.sum for e in entries if e.bucket), NOTHING)
    return Line(
        name,
        money(whole.effective),
        money(whole.billed),
        gpu_hours(whole.parts),
        "",
        borne=money(borne.effective),
        borne_gpu_hours=gpu_hours(borne.parts),
    )


def _contrast(month: _Month, before: Policy, after: Policy) -> Contrast:
    old, new = list(month.entries(before)), list(month.entries(after))
    keys = dict.fromkeys(entry.key for entry in (*old, *new))
    found = [_reason(key, (before, old), (after, new)) for key in keys]
    reasons = [reason for reason in found if _differs(reason)]
    reasons.sort(key=lambda r: (-max(abs(r.final_cost), abs(r.denominator_cost)), -abs(r.cost), -r.gpu_hours, r.case))
    final, whole = _counted(after, new)
    final_before, whole_before = _counted(before, old)
    units = (before.unit, after.unit) if before.unit != after.unit else ()
    moved = (*_amounts(final - final_before), *_amounts(whole - whole_before))
    return Contrast(before.name, after.name, *moved, tuple(reasons), units)


def _counted(policy: Policy, entries: Sequence[_Entry]) -> tuple[_Sum, _Sum]:
    """What of the entries is final training, and what is part of 100 %."""
    final = sum((e.sum for e in entries if e.category == FINAL), NOTHING)
    return final, sum((e.sum for e in entries if e.category in policy.denominator), NOTHING)


def _amounts(each: _Sum) -> tuple[Decimal, Decimal]:
    return money(each.effective), gpu_hours(each.parts)


def _reason(key: str, before: tuple[Policy, Sequence[_Entry]], after: tuple[Policy, Sequence[_Entry]]) -> Reason:
    (policy, entries), (other, others) = ((p, [e for e in of if e.key == key]) for p, of in (before, after))
    whole = sum((e.sum for e in entries), NOTHING)
    final, inside = _counted(policy, entries)
    final_after, inside_after = _counted(other, others)
    return Reason(
        key,
        TREATED.get(key) or described(key),
        *_amounts(whole),
        _standing(policy, key),
        _standing(other, key),
        *_amounts(final_after - final),
        *_amounts(inside_after - inside),
    )


TREATED = {
    "idle": "capacity that was paid for and not used",
    "shared": "storage, network, support and other shared services",
    "unclassified": "jobs that nobody could classify",
}


def _standing(policy: Policy, key: str) -> Standing:
    if key in ("idle", "shared"):
        treatment = getattr(policy, key)
        words = "The jobs bear it by their cost." if treatment == "spread" else "It is shown apart."
        return Standing(treatment, key in policy.denominator, words, "")
    if key == "unclassified":
        inside = key in policy.denominator
        return Standing(key, inside, f"It is an open question, {'inside' if inside else 'outside'} 100 %.", "")
    said = next(case for case in sentences(policy) if case.case == key)
    return Standing(said.category, said.category in policy.denominator, said.words, said.source)


def _differs(reason: Reason) -> bool:
    """Whether the two policies treat the case otherwise, and there is something of it."""
    there = reason.cost or reason.gpu_hours
    before, after = reason.before, reason.after
    moved = (reason.final_cost, reason.final_gpu_hours, reason.denominator_cost, reason.denominator_gpu_hours)
    return any(moved) or bool(there and (before.category, before.inside) != (after.category, after.inside))
