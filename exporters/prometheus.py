"""prometheus: the breakdown as gauges, on a page of the daemon or as a text file for node_exporter.

Reads nothing but the finished breakdown; needs a port to listen on, or the right to write one file. A bill can be
restated downwards, so its money is a gauge for each billing period; only what rdspend itself asks and pays for is a
counter. There is no row of totals: `sum()` over all categories is the report's total. Values are floats (Prometheus has
no other): right to the cent, not to the ninth place; the report has all nine.

What it can't show: jobs, users and e-mail addresses never become labels (a team that looks like an address is shown as
`redacted-<8 hex>`, always the same for the same address). Past periods: scraping shows the present only.

Each family has at most `max_series` series. Where a breakdown has more cells, the smallest are folded into
`training_stage="other", team="other", cluster_name="other"` of their category; the sum stays the same, and
`rdspend_folded_series` says how many cells were folded.

    [exporters.prometheus]
    listen = "127.0.0.1:9847"
    path = "/var/lib/node_exporter/rdspend.prom"     # only for node_exporter; {currency}, {period}, {policy} filled in
    max_series = 10000
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from hashlib import sha256
from pathlib import Path

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily

from exporters.whole_file import check_places, fill_places, write_whole
from rdspend.errors import ConfigError
from rdspend.schema import ACTIVITIES, BASES, BUCKETS, STATES, Breakdown, Cell, Health, InvoiceClosing, Location

OTHER = "other"
CELLS_LEFT_AT_LEAST = len((*ACTIVITIES, *BUCKETS)) * (len(BASES) + 1)
"""A category with a basis (billed, estimated or mixed) is never folded away."""

SYNTHETIC = b"# SYNTHETIC: made-up data. No real organisation spent this money.\n"
E_MAIL = re.compile(r"[^@\s]+@[^@\s]+")
REFRESHED = "Refreshed by each run of rdspend, not by a scrape."


@dataclass(frozen=True)
class Prometheus:
    """Renders breakdowns as Prometheus text."""

    listen: str = "127.0.0.1:9847"
    path: Location | None = None
    max_series: int = 10_000

    def __post_init__(self) -> None:
        if self.max_series < CELLS_LEFT_AT_LEAST:
            raise ValueError(f"max_series: found {self.max_series}, expected at least {CELLS_LEFT_AT_LEAST}")
        if self.path is not None and self.path.startswith("s3://"):
            raise ValueError(f"path: found {self.path!r}, expected a file on this machine")
        check_places("path", self.path or "")

    def export(self, breakdown: Breakdown) -> None:
        """Write the breakdown to `path`, if there is one. Raises ConfigError where it would hide another currency."""
        if self.path is None:
            return
        path = Path(fill_places(self.path, breakdown))
        mark = f"# rdspend snapshot {breakdown.snapshot} in {breakdown.currency}\n".encode()
        _refuse_other_currency(path, breakdown)
        write_whole(path, mark + self.render((breakdown,), None))

    def render(self, breakdowns: Iterable[Breakdown], health: Health | None) -> bytes:
        """The page: families of the breakdowns, then those of rdspend itself (none of them without `health`).

        Cost and GPU time are shown once for each period and currency, shares for each policy. Raises ConfigError when
        `max_series` is too small to keep the categories of that many breakdowns apart.
        """
        shown = tuple(breakdowns)
        page = _Page()
        _describe(page, shown, self.max_series)
        if health is not None:
            _describe_health(page, health)
        registry = CollectorRegistry(auto_describe=False)
        registry.register(page)
        mark = SYNTHETIC if any(b.synthetic for b in shown) else b""
        return mark + generate_latest(registry)


class _Page:
    """Families by name, in the order of their first sample; of one label set the first value stays."""

    def __init__(self) -> None:
        self._families: dict[str, tuple[str, tuple[str, ...], dict[tuple[str, ...], float]]] = {}

    def add(self, name: str, words: str, labels: Mapping[str, str], value: Decimal | float) -> None:
        _, _, samples = self._families.setdefault(name, (words, tuple(labels), {}))
        samples.setdefault(tuple(labels.values()), float(value))

    def collect(self) -> Iterator[CounterMetricFamily | GaugeMetricFamily]:
        for name, (words, labels, samples) in self._families.items():
            kind = CounterMetricFamily if name.endswith("_total") else GaugeMetricFamily
            family = kind(name, words, labels=labels)
            for values, value in samples.items():
                family.add_metric(values, value)
            yield family


def _describe(page: _Page, breakdowns: Sequence[Breakdown], max_series: int) -> None:
    parts = {(b.period, b.currency): b for b in reversed(breakdowns)}
    most = max_series // max(1, len(parts))
    if most < CELLS_LEFT_AT_LEAST:
        raise ConfigError(
            f"exporters.prometheus.max_series: found {max_series}, too few to keep the categories of "
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


def _describe_cells(page: _Page, b: Breakdown, most: int) -> None:
    cost_family, period = f"rdspend_cost_{_suffix(b)}", {"billing_period": b.period}
    kept, folded = _folded(b.cells, most)
    for labels, (cost, gpu_seconds) in kept.items():
        names = period | dict(zip(("category", "training_stage", "team", "cluster_name", "basis"), labels, strict=True))
        page.add(
            cost_family,
            f"Effective cost in {b.currency}; the sum over all is the total of the report, to the cent. {REFRESHED}",
            names,
            cost,
        )
        if labels[0] == "idle" and not b.idle_gpu_hours_known:
            continue  # not known is not 0
        page.add(
            "rdspend_gpu_seconds",
            f"GPU time as the records say it, once in each currency's breakdown. {REFRESHED}",
            names | {"currency": b.currency},
            gpu_seconds,
        )
    for family in (cost_family, "rdspend_gpu_seconds"):
        page.add(
            "rdspend_folded_series",
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


def _suffix(b: Breakdown) -> str:
    return re.sub(r"[^a-z0-9]", "_", b.currency.lower())


def _describe_shares(page: _Page, b: Breakdown) -> None:
    period = {"billing_period": b.period, "policy": b.policy.name, "currency": b.currency}
    of = f"of what the policy counts as 100 percent (the denominator). {REFRESHED}"
    lowest = f"Lowest possible part, if all unclassified went the other way, {of}"
    highest = f"Highest possible part, if all unclassified went that way, {of}"
    for line in (*b.lines, *b.buckets):
        labels = {"category": line.name, **period}
        for name, words, share in (
            ("rdspend_share_ratio", f"Part {of}", line.share),
            ("rdspend_share_low_ratio", lowest, line.share_low),
            ("rdspend_share_high_ratio", highest, line.share_high),
        ):
            if share is not None:
                page.add(name, words, labels, share)
    page.add(
        f"rdspend_denominator_{_suffix(b)}",
        f"What the policy counts as 100 percent. {REFRESHED}",
        period,
        b.denominator,
    )
    page.add(
        "rdspend_period_revision",
        "Grows by one for each publication of the period whose figures changed.",
        period,
        b.revision,
    )


def _describe_evidence(page: _Page, b: Breakdown) -> None:
    period = {"billing_period": b.period, "currency": b.currency}
    if b.total:
        unclassified = sum((cell.cost for cell in b.cells if cell.category == "unclassified"), Decimal(0))
        page.add(
            "rdspend_unclassified_ratio",
            f"Unclassified part of the total cost. {REFRESHED}",
            period,
            unclassified / b.total,
        )
    for source in dict.fromkeys(gap.source for gap in b.coverage):
        page.add(
            "rdspend_coverage_complete",
            f"1 when the source showed all of the period. {REFRESHED}",
            {"source": source, **period},
            all(gap.complete for gap in b.coverage if gap.source == source),
        )
    for closing in b.closings:
        page.add(
            f"rdspend_closing_difference_{_suffix(b)}",
            "Charges less attributions of one source and billing month: always 0.",
            {"source": closing.source, "billing_period": closing.billing_period, "basis": closing.basis},
            closing.charges - closing.attributed,
        )
    page.add("rdspend_synthetic_data", "1 when the figures are made up: no real organisation.", period, b.synthetic)


def _describe_state(page: _Page, b: Breakdown) -> None:
    period = {"billing_period": b.period, "policy": b.policy.name, "currency": b.currency}
    for state in STATES if b.state else ():
        words = f"1 for the state that the period's bill is in, 0 for the others. {REFRESHED}"
        page.add("rdspend_period_state", words, {**period, "state": state}, b.state == state)
    if b.closed is None:
        return
    for suffix, words, value in (
        ("closed", "Total that the period was closed with.", b.closed.total),
        ("correction", "Total now, less the one that the period was closed with.", b.total - b.closed.total),
    ):
        page.add(f"rdspend_{suffix}_{_suffix(b)}", f"{words} {REFRESHED}", period, value)


def _describe_invoices(page: _Page, b: Breakdown) -> None:
    """By source, never by invoice: their number has no bound."""
    by_source: dict[str, list[InvoiceClosing]] = {}
    for invoice in b.invoices:
        if invoice.stated is not None and invoice.currency == b.currency:
            by_source.setdefault(invoice.source, []).append(invoice)
    for source, invoices in by_source.items():
        labels = {"source": source, "billing_period": b.period}
        differ = [i for i in invoices if i.difference is None or (i.difference and not i.rounded)]
        page.add(
            f"rdspend_invoice_difference_{_suffix(b)}",
            f"Sum over the source's invoices of what they state and the bill does not explain, without signs. {REFRESHED}",
            labels,
            sum((abs(i.difference) for i in differ if i.difference is not None), Decimal(0)),
        )
        page.add(
            "rdspend_invoices_differing",
            f"Invoices of the source that the bill does not meet, by more than rounding. {REFRESHED}",
            {**labels, "currency": b.currency},
            len(differ),
        )


def _describe_estimates(page: _Page, b: Breakdown) -> None:
    for error in b.estimate_errors:
        labels = {"gpu_type": error.gpu_type, "billing_period": error.month, "currency": b.currency}
        for stat in ("median", "p90", "bias"):
            page.add(
                "rdspend_estimate_error_ratio",
                "Error of estimated node hours against their bill, (bill - estimate) / estimate, of the newest month known: "
                f"median, 90th percentile without sign, and of both sums. {REFRESHED}",
                {**labels, "stat": stat},
                getattr(error, stat),
            )
    for suffix, end, value in (("low", "Lower", b.estimated_low), ("high", "Upper", b.estimated_high)):
        if value is not None:
            page.add(
                f"rdspend_estimate_{suffix}_{_suffix(b)}",
                f"{end} end of the period's total, when what is estimated is off by the 90th percentile of errors. {REFRESHED}",
                {"billing_period": b.period, "currency": b.currency},
                value,
            )


def _describe_health(page: _Page, health: Health) -> None:
    page.add("rdspend_build_info", "Version of rdspend.", {"version": health.version}, 1)
    if health.last_run is not None:
        page.add("rdspend_last_run_ok", "1 when the last run saw every source and published.", {}, health.last_run_ok)
        page.add("rdspend_last_run_timestamp_seconds", "When the last run ended.", {}, health.last_run)
    if health.last_success is not None:
        words = "When the last run ended that was ok; the figures are that old."
        page.add("rdspend_last_success_timestamp_seconds", words, {}, health.last_success)
    for source in health.sources:
        labels = {"source": source.source}
        page.add("rdspend_source_up", "1 when the source answered the last time it was asked.", labels, source.up)
        page.add("rdspend_source_duration_seconds", "How long the source took the last time.", labels, source.seconds)
        page.add("rdspend_source_rows", "Rows the source delivered the last time.", labels, source.rows)
        if source.last_success is not None:
            words = "When the source answered last."
            page.add("rdspend_source_last_success_timestamp_seconds", words, labels, source.last_success)
        if source.requests:
            words = "Requests of the source that the provider charges for, since the ledger began."
            page.add("rdspend_source_requests_total", words, labels, source.requests)
        if source.own_cost:
            words = "What asking the source cost, since the ledger began."
            page.add("rdspend_source_own_cost_usd_total", words, labels, source.own_cost)
    for stage in health.stages:
        words = "How long a stage of the last run took."
        page.add("rdspend_stage_duration_seconds", words, {"run_stage": stage.stage}, stage.seconds)


def _refuse_other_currency(path: Path, breakdown: Breakdown) -> None:
    try:
        with path.open("rb") as file:
            there = file.readline().decode(errors="replace")
    except OSError:
        return
    start = f"# rdspend snapshot {breakdown.snapshot} in "
    if there.startswith(start) and there != f"{start}{breakdown.currency}\n":
        raise ConfigError(
            f"exporters.prometheus.path: {path} holds this snapshot in {there.removeprefix(start).strip()}, "
            f"and the one in {breakdown.currency} would replace it; put {{currency}} into the file's name"
        )
