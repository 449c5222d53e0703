"""The figures of finished breakdowns and of rdspend itself, each once, under the names of whoever publishes them.

Every exporter of metrics publishes these families. There is no row of totals: the sum of `cost` over all categories is the
report's total. Labels are bounded: no jobs, users or e-mail addresses, at most LONGEST_LABEL characters, and at most so many
series of a family as the exporter allows.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from hashlib import sha256

from rdspend.errors import ConfigError, ConservationError
from rdspend.schema import ACTIVITIES, BASES, BUCKETS, STATES, Breakdown, Cell, Health, InvoiceClosing

OTHER = "other"
CELLS_LEFT_AT_LEAST = len((*ACTIVITIES, *BUCKETS)) * (len(BASES) + 1)
"""A category with a basis (billed, estimated or mixed) is never folded away."""

LONGEST_LABEL = 200
"""Characters of a label's value; a longer one is cut and ends in a digest of all of it, so that two never become one."""

E_MAIL = re.compile(r"[^@\s]@[^@\s]")
REFRESHED = "Refreshed by each run of rdspend, not by a scrape."

Spelling = Callable[[str, str], str]
"""The name of a family for its dotted name (`source.duration`) and its unit."""


@dataclass(frozen=True)
class Family:
    """Figures under one name and unit.

    name     as the exporter spells it
    unit     as UCUM has it: `s`; `1` for a part of something; `{USD}` for money; `{row}` for a number of rows; nothing where
             a figure has none
    counter  it never falls: a number of events since the ledger or the process began
    samples  values by the values of `labels`
    """

    name: str
    unit: str
    words: str
    labels: tuple[str, ...]
    counter: bool
    samples: dict[tuple[str, ...], Decimal | float] = field(default_factory=dict)


@dataclass(frozen=True)
class Families:
    """Families by name and unit, in the order of their first sample; of one label set the first value stays."""

    spell: Spelling
    by_name: dict[tuple[str, str], Family] = field(default_factory=dict)

    def add(self, name: str, unit: str, words: str, labels: Mapping[str, str], value: Decimal | float) -> None:
        """A figure that may fall: a bill can be restated downwards."""
        self._put(Family(self.spell(name, unit), unit, words, tuple(labels), False), labels, value)

    def count(self, name: str, unit: str, words: str, labels: Mapping[str, str], value: Decimal | float) -> None:
        """A figure that never falls."""
        self._put(Family(self.spell(name, unit), unit, words, tuple(labels), True), labels, value)

    def _put(self, family: Family, labels: Mapping[str, str], value: Decimal | float) -> None:
        there = self.by_name.setdefault((family.name, family.unit), family)
        there.samples.setdefault(tuple(map(bounded, labels.values())), value)


def money(currency: str) -> str:
    """The unit of money: UCUM has no currencies, so they are annotations."""
    return f"{{{currency.upper()}}}"


def currency_of(unit: str) -> str | None:
    """The currency of a unit of money."""
    found = re.fullmatch(r"\{([^a-z}]+)\}", unit)
    return found[1] if found else None


def bounded(value: str) -> str:
    """A label's value that is not too long."""
    if len(value) <= LONGEST_LABEL:
        return value
    end = f"...{sha256(value.encode()).hexdigest()[:16]}"
    return value[: LONGEST_LABEL - len(end)] + end


def describe(
    breakdowns: Sequence[Breakdown], health: Health | None, max_series: int, where: str, spell: Spelling
) -> tuple[Family, ...]:
    """All families of the breakdowns, then those of rdspend itself (none of them without `health`).

    Cost and GPU time are there once for each period and currency, shares for each policy. `where` names the exporter's table.
    Raises ConservationError for a breakdown that does not close, ConfigError when `max_series` is too small to keep the
    categories of that many breakdowns apart.
    """
    families = Families(spell)
    for b in breakdowns:
        refuse_unclosed(b)
    _describe_breakdowns(families, breakdowns, max_series, where)
    if health is not None:
        _describe_health(families, health)
    return tuple(families.by_name.values())


def refuse_unclosed(b: Breakdown) -> None:
    """Raise ConservationError for a breakdown that does not add up: what it says may not be published."""
    if b.charges != b.attributed:
        raise ConservationError(
            f"{b.period} {b.currency}: {b.charges} charged and {b.attributed} attributed; they must be equal; not published"
        )
    for c in b.closings:
        if c.charges != c.attributed or c.billed_charges != c.billed_attributed:
            raise ConservationError(
                f"{c.source} {c.billing_period} {c.currency or b.currency}: {c.charges} charged and {c.attributed} attributed "
                f"(billed {c.billed_charges} and {c.billed_attributed}); they must be equal; not published"
            )


def _describe_breakdowns(page: Families, breakdowns: Sequence[Breakdown], max_series: int, where: str) -> None:
    parts = {(b.period, b.currency): b for b in reversed(breakdowns)}
    most = max_series // max(1, len(parts))
    if most < CELLS_LEFT_AT_LEAST:
        raise ConfigError(
            f"{where}.max_series: found {max_series}, too few to keep the categories of "
            f"{len(parts)} periods and currencies apart; expected at least {len(parts) * CELLS_LEFT_AT_LEAST}"
        )
    for b in reversed(parts.values()):
        _describe_cells(page, b, most)
    for b in breakdowns:
        _describe_shares(page, b)
        _describe_evidence(page, b)
        _describe_state(page, b)
        _describe_invoices(page, b)
        _describe_estimates(page, b)


def _describe_cells(page: Families, b: Breakdown, most: int) -> None:
    period = {"billing_period": b.period}
    kept, folded = _folded(b.cells, most)
    for labels, (cost, gpu_seconds) in kept.items():
        names = period | dict(zip(("category", "training_stage", "team", "cluster_name", "basis"), labels, strict=True))
        page.add(
            "cost",
            money(b.currency),
            f"Effective cost in {b.currency}; the sum over all is the total of the report, to the cent. {REFRESHED}",
            names,
            cost,
        )
        if labels[0] == "idle" and not b.idle_gpu_hours_known:
            continue  # not known is not 0
        page.add(
            "gpu.time",
            "s",
            f"GPU time as the records say it, once in each currency's breakdown. {REFRESHED}",
            names | {"currency": b.currency},
            gpu_seconds,
        )
    for family in (page.spell("cost", money(b.currency)), page.spell("gpu.time", "s")):
        page.add(
            "folded_series",
            "{series}",
            "Series of a family that were folded into others, because it may have no more than max_series.",
            {"family": family, **period, "currency": b.currency},
            folded,
        )


def _folded(cells: Iterable[Cell], most: int) -> tuple[dict[tuple[str, ...], tuple[Decimal, Decimal]], int]:
    """Cost and GPU-seconds by (category, stage, team, cluster, basis), at most `most`, and how many were folded."""
    sums: dict[tuple[str, ...], tuple[Decimal, Decimal]] = {}
    for cell in cells:
        _add(sums, (cell.category, cell.stage, _team(cell.team), cell.cluster, cell.basis), cell.cost, cell.gpu_seconds)
    if len(sums) <= most:
        return sums, 0
    ranked = sorted(sums.items(), key=lambda item: (-abs(item[1][0]), -item[1][1], item[0]))
    keep = most - len({(labels[0], labels[4]) for labels in sums})
    kept = dict(ranked[:keep])
    for (category, _, _, _, basis), (cost, gpu_seconds) in ranked[keep:]:
        _add(kept, (category, OTHER, OTHER, OTHER, basis), cost, gpu_seconds)
    return kept, len(ranked) - keep


def _add(
    sums: dict[tuple[str, ...], tuple[Decimal, Decimal]], labels: tuple[str, ...], cost: Decimal, gpu_seconds: Decimal
) -> None:
    before = sums.get(labels, (Decimal(0), Decimal(0)))
    sums[labels] = (before[0] + cost, before[1] + gpu_seconds)


def _team(team: str) -> str:
    """The team; a stable stand-in where its name is somebody's e-mail address."""
    return f"redacted-{sha256(team.encode()).hexdigest()[:8]}" if E_MAIL.search(team) else team


def _describe_shares(page: Families, b: Breakdown) -> None:
    period = {"billing_period": b.period, "policy": b.policy.name, "currency": b.currency}
    of = f"of what the policy counts as 100 percent (the denominator). {REFRESHED}"
    lowest = f"Lowest possible part, if all unclassified went the other way, {of}"
    highest = f"Highest possible part, if all unclassified went that way, {of}"
    for line in (*b.lines, *b.buckets):
        labels = {"category": line.name, **period}
        for name, words, share in (
            ("share", f"Part {of}", line.share),
            ("share_low", lowest, line.share_low),
            ("share_high", highest, line.share_high),
        ):
            if share is not None:
                page.add(name, "1", words, labels, share)
    page.add(
        "denominator",
        money(b.currency),
        f"What the policy counts as 100 percent. {REFRESHED}",
        period,
        b.denominator,
    )
    page.add(
        "period.revision",
        "",
        "Grows by one for each publication of the period whose figures changed.",
        period,
        b.revision,
    )


def _describe_evidence(page: Families, b: Breakdown) -> None:
    period = {"billing_period": b.period, "currency": b.currency}
    if b.total:
        unclassified = sum((cell.cost for cell in b.cells if cell.category == "unclassified"), Decimal(0))
        page.add(
            "unclassified",
            "1",
            f"Unclassified part of the total cost. {REFRESHED}",
            period,
            unclassified / b.total,
        )
    for source in dict.fromkeys(gap.source for gap in b.coverage):
        page.add(
            "coverage.complete",
            "",
            f"1 when the source showed all of the period. {REFRESHED}",
            {"source": source, **period},
            all(gap.complete for gap in b.coverage if gap.source == source),
        )
    for closing in b.closings:
        page.add(
            "closing.difference",
            money(closing.currency or b.currency),
            "Charges less attributions of one source and billing month: always 0.",
            {"source": closing.source, "billing_period": closing.billing_period, "basis": closing.basis},
            closing.charges - closing.attributed,
        )
    page.add("synthetic_data", "", "1 when the figures are made up: no real organisation.", period, b.synthetic)


def _describe_state(page: Families, b: Breakdown) -> None:
    period = {"billing_period": b.period, "policy": b.policy.name, "currency": b.currency}
    for state in STATES if b.state else ():
        words = f"1 for the state that the period's bill is in, 0 for the others. {REFRESHED}"
        page.add("period.state", "", words, {**period, "state": state}, b.state == state)
    if b.closed is None:
        return
    for name, words, value in (
        ("closed", "Total that the period was closed with.", b.closed.total),
        ("correction", "Total now, less the one that the period was closed with.", b.total - b.closed.total),
    ):
        page.add(name, money(b.currency), f"{words} {REFRESHED}", period, value)


def _describe_invoices(page: Families, b: Breakdown) -> None:
    """By source, never by invoice: their number has no bound."""
    by_source: dict[str, list[InvoiceClosing]] = {}
    for invoice in b.invoices:
        if invoice.stated is not None and invoice.currency == b.currency:
            by_source.setdefault(invoice.source, []).append(invoice)
    for source, invoices in by_source.items():
        labels = {"source": source, "billing_period": b.period}
        differ = [i for i in invoices if i.difference is None or (i.difference and not i.rounded)]
        page.add(
            "invoice.difference",
            money(b.currency),
            f"Sum over the source's invoices of what they state and the bill does not explain, without signs. {REFRESHED}",
            labels,
            sum((abs(i.difference) for i in differ if i.difference is not None), Decimal(0)),
        )
        page.add(
            "invoices_differing",
            "{invoice}",
            f"Invoices of the source that the bill does not meet, by more than rounding. {REFRESHED}",
            {**labels, "currency": b.currency},
            len(differ),
        )


def _describe_estimates(page: Families, b: Breakdown) -> None:
    for error in b.estimate_errors:
        labels = {"gpu_type": error.gpu_type, "billing_period": error.month, "currency": b.currency}
        for stat in ("median", "p90", "bias"):
            page.add(
                "estimate.error",
                "1",
                "Error of estimated node hours against their bill, (bill - estimate) / estimate, of the newest month known: "
                f"median, 90th percentile without sign, and of both sums. {REFRESHED}",
                {**labels, "stat": stat},
                getattr(error, stat),
            )
    for name, end, value in (("low", "Lower", b.estimated_low), ("high", "Upper", b.estimated_high)):
        if value is not None:
            page.add(
                f"estimate.{name}",
                money(b.currency),
                f"{end} end of the period's total, when what is estimated is off by the 90th percentile of errors. {REFRESHED}",
                {"billing_period": b.period, "currency": b.currency},
                value,
            )


def _describe_health(page: Families, health: Health) -> None:
    page.add("build_info", "", "Version of rdspend.", {"version": health.version}, 1)
    if health.last_run is not None:
        page.add("last_run.ok", "", "1 when the last run saw every source and published.", {}, health.last_run_ok)
        page.add("last_run.timestamp", "s", "When the last run ended.", {}, health.last_run)
    if health.last_success is not None:
        words = "When the last run ended that was ok; the figures are that old."
        page.add("last_success.timestamp", "s", words, {}, health.last_success)
    for source in health.sources:
        labels = {"source": source.source}
        page.add("source.up", "", "1 when the source answered the last time it was asked.", labels, source.up)
        page.add("source.duration", "s", "How long the source took the last time.", labels, source.seconds)
        page.add("source.rows", "{row}", "Rows the source delivered the last time.", labels, source.rows)
        if source.last_success is not None:
            words = "When the source answered last."
            page.add("source.last_success.timestamp", "s", words, labels, source.last_success)
        if source.requests:
            words = "Requests of the source that the provider charges for, since the ledger began."
            page.count("source.requests", "{request}", words, labels, source.requests)
        if source.own_cost:
            words = "What asking the source cost, since the ledger began."
            page.count("source.own_cost", money("USD"), words, labels, source.own_cost)
    for stage in health.stages:
        words = "How long a stage of the last run took."
        page.add("stage.duration", "s", words, {"run_stage": stage.stage}, stage.seconds)
    for push in health.pushes:
        words = "Times that an exporter was not answered, since this process began."
        page.count("export.failures", "{failure}", words, {"exporter": push.exporter}, push.failures)
