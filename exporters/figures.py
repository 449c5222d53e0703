"""The figures of finished breakdowns and of rdspend itself, each once, under the names of whoever publishes them.

Every exporter of metrics publishes these families. There is no row of totals: the sum of `cost` over all categories is the
report's total. Labels are bounded: no jobs, users or e-mail addresses, at most LONGEST_LABEL characters, and at most so many
series of a family as the exporter allows: money and time are folded before that, so that sums stay; of other families what
comes late is left out. Both are counted, as figures.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from decimal import Decimal

from exporters.figures_of_now import describe_now
from exporters.figures_of_releases import describe_paretos, describe_releases
from exporters.metric_families import REFRESHED, Families, Family, Spelling, Sums, add, fold, money, team
from rdspend.errors import ConfigError, ConservationError
from rdspend.schema import (
    ACTIVITIES,
    BASES,
    BUCKETS,
    MOST_TEAMS,
    OTHER_TEAMS,
    STATES,
    Breakdown,
    Cell,
    Health,
    InvoiceClosing,
)

CELLS_LEFT_AT_LEAST = len((*ACTIVITIES, *BUCKETS)) * (len(BASES) + 1)
"""A category with a basis (billed, estimated or mixed) is never folded away."""


def describe(
    breakdowns: Sequence[Breakdown], health: Health | None, max_series: int, where: str, spell: Spelling
) -> tuple[Family, ...]:
    """All families of the breakdowns, then those of rdspend itself (none of them without `health`).

    Cost and GPU time are there once for each period and currency, shares for each policy. `where` names the exporter's table.
    Raises ConservationError for a breakdown that does not close, ConfigError when `max_series` is too small to keep the
    categories of that many breakdowns apart.
    """
    families = Families(spell, max_series)
    for b in breakdowns:
        refuse_unclosed(b)
    _describe_breakdowns(families, breakdowns, max_series, where)
    if health is not None:
        describe_now(families, health)
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
        _describe_outcomes(page, b)
    for b in breakdowns:
        _describe_shares(page, b)
        _describe_policy(page, b)
        _describe_evidence(page, b)
        _describe_findings(page, b)
        _describe_state(page, b)
        describe_releases(page, b)
        describe_paretos(page, b)
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
    page.add(
        "folded_teams",
        "{team}",
        f"Teams that the breakdown adds up as {OTHER_TEAMS}: it names {MOST_TEAMS} at most. {REFRESHED}",
        {**period, "currency": b.currency},
        b.folded_teams,
    )


def _folded(cells: Iterable[Cell], most: int) -> tuple[Sums, int]:
    """Cost and GPU-seconds by (category, stage, team, cluster, basis), at most `most`, and how many were folded."""
    sums: Sums = {}
    for cell in cells:
        add(sums, (cell.category, cell.stage, team(cell.team), cell.cluster, cell.basis), cell.cost, cell.gpu_seconds)
    return fold(sums, most)


def _describe_outcomes(page: Families, b: Breakdown) -> None:
    sums: dict[tuple[str, str], Decimal] = {}
    for crossing in b.crossings:
        key = (crossing.category, crossing.outcome)
        sums[key] = sums.get(key, Decimal(0)) + crossing.cost
    for (category, outcome), cost in sums.items():
        page.add(
            "outcome.cost",
            money(b.currency),
            f"Effective cost of jobs by how they ended, in {b.currency}; without idle and shared money. {REFRESHED}",
            {"billing_period": b.period, "category": category, "outcome": outcome},
            cost,
        )


def _describe_shares(page: Families, b: Breakdown) -> None:
    period = {"billing_period": b.period, "policy": b.policy.name, "currency": b.currency}
    of = f"of what the policy counts as 100 percent (the denominator). {REFRESHED}"
    lowest = f"Lowest possible part, if all unclassified went the other way, {of}"
    highest = f"Highest possible part, if all unclassified went that way, {of}"
    likely = f"end of the 90 percent interval, from what taggers are unsure of, of the part {of}"
    for line in (*b.lines, *b.buckets):
        labels = {"category": line.name, **period}
        for name, words, share in (
            ("share", f"Part {of}", line.share),
            ("share_low", lowest, line.share_low),
            ("share_high", highest, line.share_high),
            ("share_likely_low", f"Lower {likely}", line.likely_low),
            ("share_likely_high", f"Upper {likely}", line.likely_high),
        ):
            if share is not None:
                page.add(name, "1", words, labels, share)
    if b.policy.unit == "money":
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


def _describe_policy(page: Families, b: Breakdown) -> None:
    words = "What the policy counts as 100 percent, in words, and what its shares are of: money or gpu_hours."
    labels = {"billing_period": b.period, "policy": b.policy.name, "currency": b.currency}
    page.add("policy_info", "", words, {**labels, "unit": b.policy.unit, "denominator": b.policy.denominator_words}, 1)


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


def _describe_findings(page: Families, b: Breakdown) -> None:
    rows: dict[str, int] = {}
    for kind, _, _, count in b.findings:
        rows[kind] = rows.get(kind, 0) + count
    for kind, count in rows.items():
        words = f"Rows of the records that the report has a finding about. {REFRESHED}"
        page.add("findings", "{row}", words, {"kind": kind, "billing_period": b.period, "currency": b.currency}, count)


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
