"""What readers ask of the ledger: reports, explanations, checks, status. Takes no lock and writes nothing."""

from __future__ import annotations

import tempfile
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from decimal import Decimal
from importlib.metadata import version as installed_version
from pathlib import Path
from typing import Any

from rdspend import pareto, release_cost
from rdspend.breakdown import (
    break_down,
    choose_currency,
    closings,
    currencies,
    decode,
    heading,
    make_cells,
    money,
    next_revision,
    open_views,
    refuse_open,
)
from rdspend.burn import burning, in_words
from rdspend.closing import ClosingTable, draw_up, in_currency
from rdspend.column_coverage import SourceColumns, cover_columns
from rdspend.config import Config
from rdspend.difference import Difference, Revision, compare
from rdspend.engine import Engine
from rdspend.errors import ConfigError
from rdspend.exchange import refuse_code
from rdspend.explanation import JobExplanation, Listing, explain_job, list_figure, parse_target, spread_note
from rdspend.focus_export import Exported, export_focus
from rdspend.ledger import Ledger, Run, Snapshot
from rdspend.looking_back import with_past
from rdspend.period import Period, parse_period
from rdspend.policy import available, load_policy
from rdspend.policy import chosen as chosen_policy
from rdspend.policy_comparison import Comparison, compare_policies
from rdspend.release_cost import ReleaseCosts
from rdspend.release_list import ListedRelease, list_releases
from rdspend.restatement import (
    currencies_to_publish,
    kept_currencies,
    newest_pin,
    touches,
    with_pin,
    with_state,
    with_worst_state,
)
from rdspend.schema import Breakdown, Burn, Health, LedgerTable, Pareto, SourceHealth, StageHealth

MOST_OVERLAPS = 20


@dataclass(frozen=True)
class Reader:
    """Reads one configuration's ledger."""

    config: Config

    @property
    def ledger(self) -> Ledger:
        return Ledger(self.config.ledger)

    def breakdowns(self, period: Period, currency: str | None, as_of: str | None = None) -> list[Breakdown]:
        """The period's breakdowns as published, or made afresh where the ledger moved on since. Writes nothing."""
        runs = self.ledger.runs()
        snapshot = self._snapshot(as_of, period)
        last = snapshot.run.run if snapshot.run else 0
        touched = [r.run for r in runs if r.run <= last and touches(r, period)]
        with self._reader() as engine:
            snapshot.view(engine, "publications")
            snapshot.view(engine, "closes")
            found = engine.rows(
                "SELECT arg_max(figures, run), max(run), currency FROM publications WHERE period = ? AND policy = ? "
                "GROUP BY currency ORDER BY currency",
                [period.text, self.config.policy],
            )
            current = [with_pin(engine, decode(f)) for f, run, _ in found if not touched or run >= max(touched)]
            shown = {b.currency for b in current}
            if not current or kept_currencies(engine, period.text, self.config.policy) - shown:
                current += [b for b in self._afresh(engine, snapshot, period) if b.currency not in shown]
                current.sort(key=lambda b: b.currency)
        if currency is not None:
            chosen = [b for b in current if b.currency == currency]
            if not chosen:
                raise ConfigError(f"--currency {currency!r}: the period has {', '.join(b.currency for b in current)}")
            return chosen
        return current

    def converted(self, period: Period, into: str, as_of: str | None = None) -> Breakdown:
        """The period's breakdown with all its money in one currency, at the snapshot's own rates. Not published: revision 0.

        Its state is the worst of its currencies'.
        """
        refuse_code(into)
        snapshot = self._snapshot(as_of, period)
        with self._reader() as engine:
            open_views(engine, snapshot, period)
            policy = chosen_policy(self.config)
            made = break_down(engine, snapshot, period, policy, into, heading(self.config), converted=True)
        return with_worst_state(made, self.breakdowns(period, None, as_of))

    def under(self, period: Period, policy: str, currency: str | None, as_of: str | None = None) -> list[Breakdown]:
        """The period's breakdowns under another policy than the configured one. Not published: revision 0.

        Their state is that of the configured policy's.
        """
        snapshot = self._snapshot(as_of, period)
        boundary = load_policy(policy, self.config.policies)
        shown = {b.currency: b for b in self.breakdowns(period, currency, as_of)}
        with self._reader() as engine:
            open_views(engine, snapshot, period)
            said = heading(self.config)
            made = [break_down(engine, snapshot, period, boundary, each, said) for each in shown]
        return [with_worst_state(each, [shown[each.currency]]) for each in made]

    def compare_policies(
        self, period: Period, names: Sequence[str] | None, currency: str | None, as_of: str | None = None
    ) -> Comparison:
        """The period under these policies, or all there are, each against the configured one."""
        wanted = names or available(self.config.policies)
        ordered = dict.fromkeys((self.config.policy, *wanted))
        snapshot = self._snapshot(as_of, period)
        with self._reader() as engine:
            policies = [load_policy(name, self.config.policies) for name in ordered]
            return compare_policies(engine, snapshot, period, policies, currency)

    def closing(self, period: Period, currency: str | None, as_of: str | None = None) -> tuple[ClosingTable, str]:
        """The period's closing table, and the snapshot it is of. Raises ConservationError when bill and attributions differ."""
        snapshot = self._snapshot(as_of, period)
        with self._reader() as engine:
            open_views(engine, snapshot, period)
            chosen = currencies(engine) if currency is None else (choose_currency(engine, currency),)
            for each in chosen:
                for closing in closings(engine, each):
                    refuse_open(closing, each)
            table = draw_up(engine, snapshot, period)
        return table if currency is None else in_currency(table, currency), snapshot.name

    def columns(self, period: Period, as_of: str | None = None) -> tuple[tuple[SourceColumns, ...], str]:
        """Which columns each source fills in the period, and the snapshot it is of."""
        snapshot = self._snapshot(as_of, period)
        with self._reader() as engine:
            snapshot.view(engine, "findings", lambda p: p["period"] in period.months)
            return cover_columns(engine, snapshot, period), snapshot.name

    def _snapshot(self, as_of: str | None, period: Period) -> Snapshot:
        snapshot = self.ledger.snapshot(as_of, period.months)
        if snapshot.run is None:
            raise ConfigError(f"the ledger {str(self.config.ledger)!r} holds no finished run; start with `rdspend run`")
        return snapshot

    def _attributed(self, period: Period, snapshot: Snapshot) -> dict[str, Snapshot]:
        """For each month of the period, the ledger as the run that attributed it last saw it."""
        last = snapshot.run.run if snapshot.run else 0
        found: dict[str, Snapshot] = {}
        for run in self.ledger.runs():
            if run.run <= last and "attribute" in run.stages.split(","):
                months = set(parse_period(run.period).months) & set(period.months)
                found |= dict.fromkeys(sorted(months), Snapshot(self.ledger.root, run))
        return dict(sorted(found.items()))

    def _afresh(self, engine: Engine, snapshot: Snapshot, period: Period) -> list[Breakdown]:
        open_views(engine, snapshot, period)
        policy = chosen_policy(self.config)
        wanted = currencies_to_publish(engine, period.text, policy.name)
        made = [break_down(engine, snapshot, period, policy, each, heading(self.config)) for each in wanted]
        numbered = [replace(each, revision=next_revision(engine, each)) for each in made]
        began = snapshot.run.started_at if snapshot.run else 0.0
        sources = {source.name for source in self.config.collectors}
        return [with_past(engine, with_state(engine, each, period, began, sources), period) for each in numbered]

    def diff(self, period: Period, before: str | None, after: str | None, currency: str | None, limit: int) -> Difference:
        """What moved between two revisions of the period: by number, or `run-12`.

        before  when left out the revision it was closed with, or the last one before `after`
        after   when left out the last one
        """
        with tempfile.TemporaryDirectory(prefix="rdspend-diff-") as spill, self._reader(Path(spill)) as engine:
            snapshot = self.ledger.snapshot()
            snapshot.view(engine, "publications")
            snapshot.view(engine, "closes")
            found = engine.rows(
                "SELECT currency, revision, max(run) FROM publications WHERE period = ? AND policy = ? "
                "GROUP BY ALL ORDER BY currency, revision",
                [period.text, self.config.policy],
            )
            chosen = _chosen({c for c, _, _ in found}, currency, period)
            published = {int(revision): int(run) for c, revision, run in found if c == chosen}
            if before is None:
                before = self._earlier(engine, period, chosen, published, after)
            sides = [self._revision(engine, period, chosen, published, each) for each in (before, after or str(max(published)))]
            return compare(engine, period, chosen_policy(self.config), chosen, sides, limit)

    def _earlier(self, engine: Engine, period: Period, currency: str, published: Mapping[int, int], after: str | None) -> str:
        """The revision the period was closed with, where that is before the later side; else the last that is."""
        last = self._later(published, after)
        newest = self._figures(engine, period, currency, published[max(published)])
        pin = newest_pin(engine, newest) if newest else None
        closed = pin.closed if pin else newest.closed if newest else None
        if closed is not None and closed.revision in published and closed.revision < last:
            return str(closed.revision)
        earlier = [revision for revision in published if revision < last]
        if not earlier:
            raise ConfigError(f"{period.text} has no revision before {last}: nothing to compare it with; see `rdspend status`")
        return str(max(earlier))

    @staticmethod
    def _later(published: Mapping[int, int], after: str | None) -> int:
        """The revision that `after` names; of a run that published none, the one that would have come next."""
        if after is None:
            return max(published)
        if not after.startswith("run-"):
            return int(after) if after.isdigit() else max(published)
        run = int(number) if (number := after.removeprefix("run-")).isdigit() else 0
        exact = [revision for revision, of_run in published.items() if of_run == run]
        return exact[0] if exact else max((r for r, of_run in published.items() if of_run < run), default=0) + 1

    def _revision(self, engine: Engine, period: Period, currency: str, published: Mapping[int, int], named: str) -> Revision:
        if named.startswith("run-"):
            snapshot = self.ledger.snapshot(named, period.months)
            run = snapshot.run.run if snapshot.run else 0
        elif named.isdigit() and int(named) in published:
            run = published[int(named)]
            snapshot = self.ledger.snapshot(str(run))
        else:
            known = ", ".join(map(str, published))
            raise ConfigError(f"{period.text}: no revision {named!r}; expected one of {known}, or a run such as run-12")
        attributed = [r for r in self.ledger.runs() if r.run <= run and "attribute" in r.stages and touches(r, period)]
        return Revision(snapshot, self._figures(engine, period, currency, run), attributed[-1] if attributed else None)

    def _figures(self, engine: Engine, period: Period, currency: str, run: int) -> Breakdown | None:
        found = engine.rows(
            "SELECT figures FROM publications WHERE period = ? AND policy = ? AND currency = ? AND run = ?",
            [period.text, self.config.policy, currency, run],
        )
        return decode(found[0][0]) if found else None

    def explain(
        self, period: Period, what: str, currency: str | None, as_of: str | None, limit: int
    ) -> Listing | JobExplanation:
        """A figure or a job of the period, from the newest snapshot that adds up."""
        snapshot = self.ledger.snapshot(as_of, period.months)
        target = parse_target(what)
        with self._reader() as engine:
            open_views(engine, snapshot, period)
            chosen = choose_currency(engine, currency)
            made = break_down(engine, snapshot, period, chosen_policy(self.config), chosen, heading(self.config))
            if target.kind != "job":
                found = list_figure(engine, target, limit, chosen)
                spread = next((line for line in made.spread if (target.kind, target.value) == ("bucket", line.name)), None)
                return replace(found, note=spread_note(made.policy, spread)) if spread else found
            attributed = self._attributed(period, snapshot)
            return explain_job(engine, target.value, self.config.engine.share_rule, chosen, attributed)

    def export_focus(self, period: Period, out: Path, *, as_of: str | None = None, **how: Any) -> Exported:
        """The period's charges as a FOCUS data set in the folder `out`, split to jobs; `how` as in `rdspend.focus_export`."""
        snapshot = self._snapshot(as_of, period)
        attributed = self._attributed(period, snapshot)
        with tempfile.TemporaryDirectory(prefix="rdspend-export-") as spill, self._reader(Path(spill)) as engine:
            rule, policy = self.config.engine.share_rule, chosen_policy(self.config)
            return export_focus(engine, snapshot, attributed, period, out, policy=policy, share_rule=rule, **how)

    def jobs(
        self, period: Period, currency: str | None, as_of: str | None = None, without: Collection[str] = ()
    ) -> tuple[Engine, str]:
        """An engine with the table `job_money` of the period's jobs, for the caller to close, and the currency of its money.

        without  kinds of taggers whose answers are left out
        """
        snapshot = self._snapshot(as_of, period)
        engine = Engine(self.config.engine.memory_limit, self.config.engine.threads)
        open_views(engine, snapshot, period, without)
        chosen = choose_currency(engine, currency)
        make_cells(engine, chosen, chosen_policy(self.config))
        return engine, chosen

    def top(
        self, period: Period, by: Sequence[str], part: Decimal, currency: str | None, limit: int, as_of: str | None = None
    ) -> tuple[Pareto, str]:
        """The dearest groups of a grouping that hold `part` of the period's total, and the currency of their money."""
        engine, chosen = self.jobs(period, currency, as_of)
        with engine:
            pareto.gather(engine)
            return pareto.find(engine, by, part, limit), chosen

    def release_costs(self, period: Period, currency: str | None, as_of: str | None = None) -> ReleaseCosts:
        """What every release cost in the period, and what no release explains, in one currency."""
        policy = chosen_policy(self.config)
        engine, money_in = self.jobs(period, currency, as_of)
        with engine:
            release_cost.gather(engine)
            return release_cost.cost(engine, period.text, policy, money_in)

    def attributed_months(self, as_of: str | None = None) -> Period:
        """All months with money, from the first to the last. Raises ConfigError when there are none."""
        months = self.ledger.snapshot(as_of).partitions("attributions", "billing_period")
        if not months:
            raise ConfigError(f"the ledger {str(self.config.ledger)!r} holds no attributed month; start with `rdspend run`")
        return parse_period(min(months) if len(set(months)) == 1 else f"{min(months)}..{max(months)}")

    def releases(self) -> list[ListedRelease]:
        """All releases of the configured sources, with what each claims in all months."""
        snapshot = self.ledger.snapshot()
        now = snapshot.run.started_at if snapshot.run else 0.0
        sources = {source.name for source in self.config.collectors}
        with tempfile.TemporaryDirectory(prefix="rdspend-releases-") as spill, self._reader(Path(spill)) as engine:
            return list_releases(engine, snapshot, sources, now)

    def check(self) -> list[str]:
        """Both sides of every month of the newest snapshot, source by source. Raises ConservationError when one differs."""
        snapshot = self.ledger.snapshot()
        if snapshot.run is None:
            return [f"ledger {self.config.ledger}: empty"]
        lines = [f"ledger {self.config.ledger}: {snapshot.name}"]
        with self._reader() as engine:
            for month in snapshot.partitions("charges", "billing_period"):
                if month in snapshot.run.pending:
                    lines.append(f"{month}: collected, not yet attributed")
                    continue
                open_views(engine, snapshot, Period(month, (month,)))
                for currency in currencies(engine):
                    for closing in closings(engine, currency):
                        refuse_open(closing, currency)
                        lines.append(
                            f"{month} {closing.source}: {closing.charges:,.9f} {currency} {closing.basis}, "
                            f"charges - attributed = {closing.charges - closing.attributed:.9f}"
                        )
        return lines

    def status(self) -> list[str]:
        """The ledger in words."""
        runs = self.ledger.runs()
        if not runs:
            return [f"ledger {self.config.ledger}: empty; start with `rdspend run --period 2026-10`"]
        lines = [f"ledger {self.config.ledger}", "", "runs (newest last)"]
        for r in runs[-10:]:
            ended = datetime.fromtimestamp(r.ended_at, UTC)
            lines.append(f"  {r.run:>5}  {ended:%Y-%m-%d %H:%M:%SZ}  {r.period:<18} {r.stages:<30} {r.outcome}")
        health = self.health()
        lines += ["", "sources"]
        for s in health.sources:
            when = "never" if s.last_success is None else f"{datetime.fromtimestamp(s.last_success, UTC):%Y-%m-%d %H:%M:%SZ}"
            lines.append(
                f"  {s.source:<20} {'ok' if s.up else 'FAILED':<7} last complete {when}  {s.rows:,} rows  {s.seconds:.1f} s"
            )
        for name in sorted({c.name for c in self.config.collectors} - {s.source for s in health.sources}):
            lines.append(f"  {name:<20} never asked")
        if health.burn:
            seen = datetime.fromtimestamp(health.burn[0].as_of, UTC)
            lines += ["", f"burn as of {seen:%Y-%m-%d %H:%M:%SZ}, by the rates"]
            lines += [f"  {said}" for said in in_words(health.burn)]
        pending = runs[-1].pending
        lines += ["", f"waiting to be attributed: {', '.join(pending) if pending else 'nothing'}"]
        snapshot = self.ledger.snapshot()
        with self._reader() as engine:
            snapshot.view(engine, "publications")
            snapshot.view(engine, "closes")
            rows = engine.rows(
                "SELECT period, policy, currency, max(revision), max(run), (SELECT arg_max(c.revision, c.run) FROM closes AS c "
                "WHERE c.period = p.period AND c.policy = p.policy AND c.currency = p.currency) AS closed "
                "FROM publications AS p GROUP BY period, policy, currency ORDER BY period, policy, currency"
            )
        lines += ["", "published"]
        for p, policy, c, revision, run, closed in rows:
            pinned = f"  closed with revision {closed}" if closed else ""
            lines.append(f"  {p:<18} {policy:<10} {c}  revision {revision}  run {run}{pinned}")
        return lines

    def check_rules(self) -> tuple[list[str], int]:
        """What each tagger that can check itself says of its rules on all jobs of the ledger."""
        snapshot = self.ledger.snapshot()
        if snapshot.run is None:
            raise ConfigError(f"the ledger {str(self.config.ledger)!r} holds no jobs yet; run `rdspend collect` first")
        lines: list[str] = []
        overlaps: list[Any] = []
        problems = 0
        with self._reader() as engine:
            snapshot.view(engine, "jobs")
            jobs = engine.connection.view("jobs")
            for tagger in self.config.taggers:
                if not hasattr(tagger.instance, "check"):
                    continue
                for found in tagger.instance.check(jobs):
                    bad = found.kind not in ("ok", "shadow")
                    overlaps += getattr(found, "overlaps", ())
                    problems += bad
                    lines.append(
                        f"{'LOOK' if bad else 'ok  '} {tagger.name}: {found.rule}: matches {found.matched:,} jobs, "
                        f"wins {found.won:,} ({found.gpu_hours:,.1f} GPU-hours){': ' + found.detail if found.detail else ''}"
                    )
        overlaps.sort(key=lambda pair: (pair.agree, -pair.gpu_hours, -pair.jobs))
        lines += [
            f"both  {pair.winner} wins over {pair.other}: {pair.said}: {pair.jobs:,} jobs ({pair.gpu_hours:,.1f} GPU-hours)"
            for pair in overlaps[:MOST_OVERLAPS]
        ]
        rest = len(overlaps) - MOST_OVERLAPS
        return [*lines, f"both  and {rest:,} more pairs of rules, with less"] if rest > 0 else lines, problems

    @contextmanager
    def _reader(self, spill: Path | None = None) -> Iterator[Engine]:
        options = self.config.engine
        with Engine(options.memory_limit, options.threads, spill) as engine:
            yield engine

    def health(self, seconds: Mapping[str, float] | None = None) -> Health:
        """How the sources and the last run fared, from the newest run's coverage. seconds: of the last run's stages."""
        runs = self.ledger.runs()
        snapshot = self.ledger.snapshot()
        with self._reader() as engine:
            snapshot.view(engine, "coverage")
            rows = engine.rows(
                "SELECT source, arg_max(complete, asked_at), max(epoch(asked_at)) FILTER (complete), max(epoch(asked_at)), "
                "arg_max(seconds, asked_at), arg_max(rows, asked_at), COALESCE(sum(requests), 0), "
                "COALESCE(sum(own_cost_nanos), 0) FROM coverage GROUP BY source ORDER BY source"
            )
        known = {source.name for source in self.config.collectors}
        sources = tuple(
            SourceHealth(source, up, success, attempt, took, delivered, int(requests), money(own_cost))
            for source, up, success, attempt, took, delivered, requests, own_cost in rows
            if source in known
        )
        stages = tuple(StageHealth(stage, seconds) for stage, seconds in (seconds or {}).items())
        last = runs[-1] if runs else None
        return Health(
            installed_version("rdspend"),
            sources,
            stages,
            bool(last and last.outcome == "ok"),
            last.ended_at if last else None,
            burn=self.burn(runs, snapshot),
            ledger=tuple(LedgerTable(name, files, size) for name, files, size in self.ledger.sizes()),
            plan=self.config.plan.plan if self.config.plan else None,
        )

    def burn(self, runs: Sequence[Run], snapshot: Snapshot) -> tuple[Burn, ...]:
        """What ran when the last run that asked anybody began."""
        asked = [run.started_at for run in runs if "collect" in run.stages.split(",")]
        if not asked:
            return ()
        with tempfile.TemporaryDirectory(prefix="rdspend-burn-") as spill, self._reader(Path(spill)) as engine:
            return burning(engine, snapshot, int(asked[-1]), self.config.engine.share_rule, chosen_policy(self.config))


def _chosen(known: Collection[str], wanted: str | None, period: Period) -> str:
    if not known:
        raise ConfigError(f"{period.text} was never published; run `rdspend publish` first")
    if wanted is None and len(known) == 1:
        return next(iter(known))
    if wanted in known:
        return str(wanted)
    several = ", ".join(sorted(known))
    said = "choose one with --currency" if wanted is None else f"--currency {wanted!r} is none of them"
    raise ConfigError(f"the period was published in {several}; {said}")
