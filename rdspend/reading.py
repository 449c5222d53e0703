"""What readers ask of the ledger: reports, explanations, checks, status. Takes no lock and writes nothing."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from importlib.metadata import version as installed_version

from rdspend.breakdown import (
    break_down,
    choose_currency,
    closings,
    currencies,
    decode,
    heading,
    next_revision,
    open_views,
    refuse_open,
)
from rdspend.config import Config
from rdspend.engine import Engine
from rdspend.errors import ConfigError
from rdspend.explanation import JobExplanation, Listing, explain_job, list_figure, parse_target
from rdspend.ledger import Ledger, Run, Snapshot
from rdspend.period import Period, parse_period
from rdspend.policy import load_policy
from rdspend.schema import Breakdown, Health, SourceHealth, StageHealth


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
        snapshot = self.ledger.snapshot(as_of, period.months)
        if snapshot.run is None:
            raise ConfigError(f"the ledger {str(self.config.ledger)!r} holds no finished run; start with `rdspend run`")
        last = snapshot.run.run
        touched = [r.run for r in runs if r.run <= last and _touches(r, period)]
        with self._reader() as engine:
            snapshot.view(engine, "publications")
            found = engine.rows(
                "SELECT arg_max(figures, run), max(run), currency FROM publications WHERE period = ? AND policy = ? "
                "GROUP BY currency ORDER BY currency",
                [period.text, self.config.policy],
            )
            current = [decode(figures) for figures, run, _ in found if not touched or run >= max(touched)]
            if not current:
                current = self._afresh(engine, snapshot, period)
        if currency is not None:
            chosen = [b for b in current if b.currency == currency]
            if not chosen:
                raise ConfigError(f"--currency {currency!r}: the period has {', '.join(b.currency for b in current)}")
            return chosen
        return current

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
        policy = load_policy(self.config.policy)
        made = [break_down(engine, snapshot, period, policy, each, heading(self.config)) for each in currencies(engine)]
        return [replace(each, revision=next_revision(engine, each)) for each in made]

    def explain(
        self, period: Period, what: str, currency: str | None, as_of: str | None, limit: int
    ) -> Listing | JobExplanation:
        """A figure or a job of the period, from the newest snapshot that adds up."""
        snapshot = self.ledger.snapshot(as_of, period.months)
        target = parse_target(what)
        with self._reader() as engine:
            open_views(engine, snapshot, period)
            chosen = choose_currency(engine, currency)
            break_down(engine, snapshot, period, load_policy(self.config.policy), chosen, heading(self.config))
            if target.kind != "job":
                return list_figure(engine, target, limit, chosen)
            attributed = self._attributed(period, snapshot)
            return explain_job(engine, target.value, self.config.engine.share_rule, chosen, attributed)

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
        pending = runs[-1].pending
        lines += ["", f"waiting to be attributed: {', '.join(pending) if pending else 'nothing'}"]
        snapshot = self.ledger.snapshot()
        with self._reader() as engine:
            snapshot.view(engine, "publications")
            rows = engine.rows(
                "SELECT period, policy, currency, max(revision), max(run) FROM publications GROUP BY ALL ORDER BY ALL"
            )
        lines += ["", "published"]
        lines += [f"  {p:<18} {policy:<10} {c}  revision {revision}  run {run}" for p, policy, c, revision, run in rows]
        return lines

    def check_rules(self) -> tuple[list[str], int]:
        """What each tagger that can check itself says of its rules on all jobs of the ledger."""
        snapshot = self.ledger.snapshot()
        if snapshot.run is None:
            raise ConfigError(f"the ledger {str(self.config.ledger)!r} holds no jobs yet; run `rdspend collect` first")
        lines: list[str] = []
        problems = 0
        with self._reader() as engine:
            snapshot.view(engine, "jobs")
            jobs = engine.connection.view("jobs")
            for tagger in self.config.taggers:
                if not hasattr(tagger.instance, "check"):
                    continue
                for found in tagger.instance.check(jobs):
                    bad = found.kind != "ok"
                    problems += bad
                    lines.append(
                        f"{'LOOK' if bad else 'ok  '} {tagger.name}: {found.rule}: matches {found.matched:,} jobs, "
                        f"wins {found.won:,} ({found.gpu_hours:,.1f} GPU-hours){': ' + found.detail if found.detail else ''}"
                    )
        return lines, problems

    @contextmanager
    def _reader(self) -> Iterator[Engine]:
        options = self.config.engine
        with Engine(options.memory_limit, options.threads) as engine:
            yield engine

    def health(self, seconds: Mapping[str, float] | None = None) -> Health:
        """How the sources and the last run fared, from the newest run's coverage. seconds: of the last run's stages."""
        runs = self.ledger.runs()
        snapshot = self.ledger.snapshot()
        with self._reader() as engine:
            snapshot.view(engine, "coverage")
            rows = engine.rows(
                "SELECT source, arg_max(complete, asked_at), max(epoch(asked_at)) FILTER (complete), max(epoch(asked_at)), "
                "arg_max(seconds, asked_at), arg_max(rows, asked_at) FROM coverage GROUP BY source ORDER BY source"
            )
        known = {source.name for source in self.config.collectors}
        sources = tuple(SourceHealth(*row) for row in rows if row[0] in known)
        stages = tuple(StageHealth(stage, seconds) for stage, seconds in (seconds or {}).items())
        last = runs[-1] if runs else None
        return Health(
            installed_version("rdspend"), sources, stages, bool(last and last.outcome == "ok"), last.ended_at if last else None
        )


def _touches(run: Run, period: Period) -> bool:
    """Whether a run may have changed figures of the period. Tagging a month goes on to all later ones."""
    stages, months = set(run.stages.split(",")), parse_period(run.period).months
    return ("tag" in stages and months[0] <= period.months[-1]) or (
        "attribute" in stages and bool(set(months) & set(period.months))
    )
