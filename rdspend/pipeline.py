"""The pipeline: collect, tag, attribute, publish. Each reads the ledger and writes the ledger; each may be repeated.

Here, and only here, plugins are run: timed, tried again, counted, and their failures turned into recorded outcomes. A source
that fails leaves nothing of its delivery behind and keeps the period open; it never stops the others.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from importlib.metadata import version as installed_version
from typing import Any

from rdspend.attribution import attribute, drop_work, month_span
from rdspend.border import literal
from rdspend.breakdown import (
    Heading,
    break_down,
    choose_currency,
    closings,
    currencies,
    decode,
    digest,
    encode,
    open_views,
    refuse_open,
)
from rdspend.config import Config, Plugin
from rdspend.engine import Engine, Interrupted, relation
from rdspend.errors import BadRecord, ConfigError, ConservationError, LedgerLocked, RdspendError, SourceUnavailable
from rdspend.explanation import JobExplanation, Listing, explain_job, list_figure, parse_target
from rdspend.ledger import Ledger, Run, Snapshot, Writer
from rdspend.period import Period, parse_period
from rdspend.policy import load_policy
from rdspend.schema import (
    ATTRIBUTIONS,
    CHARGES,
    COVERAGE,
    FINDINGS,
    OCCUPANCY,
    PUBLICATIONS,
    TABLES,
    TAGS,
    Breakdown,
    Delivery,
    Health,
    SourceHealth,
    StageHealth,
    Window,
)

STAGES = ("collect", "tag", "attribute", "publish")


@dataclass(frozen=True)
class Failure:
    """A source that did not show everything."""

    source: str
    error: RdspendError | Exception

    @property
    def exit_code(self) -> int:
        return self.error.exit_code if isinstance(self.error, RdspendError) else 1


@dataclass
class Outcome:
    """What one run did."""

    run: Run | None = None
    failures: list[Failure] = field(default_factory=list)
    breakdowns: list[Breakdown] = field(default_factory=list)
    seconds: dict[str, float] = field(default_factory=dict)


@dataclass
class Pipeline:
    """The four stages over one configuration.

    clock     seconds since the epoch
    progress  told what is being done, in a few words
    stopping  asked between pieces of work; true: stop without publishing
    """

    config: Config
    clock: Callable[[], float] = time.time
    sleep: Callable[[float], object] = time.sleep
    progress: Callable[[str], None] = lambda _: None
    stopping: Callable[[], bool] = lambda: False
    engine: Engine | None = None

    @property
    def ledger(self) -> Ledger:
        return Ledger(self.config.ledger)

    def run(self, period: Period, stages: Sequence[str] = STAGES, window: Window | None = None) -> Outcome:
        """Do the stages for a period, pin the ledger, and hand what was published to the exporters.

        window  what to ask the collectors for; the whole period up to now when left out.
        """
        outcome = Outcome()
        started = float(int(self.clock()))
        with self.ledger.writer() as writer, self._engine() as engine:
            work: dict[str, Callable[[], None]] = {
                "collect": lambda: self._collect(writer, engine, window or self._window(period), outcome),
                "tag": lambda: self._tag(writer, engine, period),
                "attribute": lambda: self._attribute(writer, engine, period, int(started)),
                "publish": lambda: self._publish(writer, engine, period, outcome),
            }
            for stage in stages:
                self._stop_if_asked()
                before = time.perf_counter()
                work[stage]()
                outcome.seconds[stage] = time.perf_counter() - before
            self._stop_if_asked()
            outcome.run = writer.finish(
                engine,
                stages=stages,
                period=period.text,
                started_at=started,
                ended_at=self.clock(),
                outcome="incomplete" if outcome.failures else "ok",
                config_digest=self.config.digest,
                code_version=installed_version("rdspend"),
            )
        for breakdown in outcome.breakdowns:
            for exporter in self.config.exporters:
                self.progress(f"export {exporter.name}")
                exporter.instance.export(breakdown)
        return outcome

    @contextmanager
    def _engine(self) -> Any:
        options = self.config.engine
        temp = self.config.ledger / ".spill"
        with Engine(options.memory_limit, options.threads, temp) as engine:
            self.engine = engine
            try:
                yield engine
            finally:
                self.engine = None

    def interrupt(self) -> None:
        """Stop the statement that runs now, from another thread."""
        engine = self.engine
        if engine is not None:
            engine.interrupt()

    def _stop_if_asked(self) -> None:
        if self.stopping():
            raise Interrupted("asked to stop; nothing of this run is kept")

    def _window(self, period: Period) -> Window:
        whole = period.window
        now = datetime.fromtimestamp(int(self.clock()), UTC)
        if now <= whole.start:
            raise ConfigError(f"period {period.text!r} begins at {whole.start:%Y-%m-%d}, which is not yet")
        return Window(whole.start, min(whole.end, now))

    # --- collect ------------------------------------------------------------------------------------------------------

    def _collect(self, writer: Writer, engine: Engine, window: Window, outcome: Outcome) -> None:
        words: list[tuple[Any, ...]] = []
        notes: list[tuple[str, str, str, str, int]] = []
        owners: dict[tuple[str, str], str] = {}
        writer.pending |= set(window.months)
        for source in self.config.collectors:
            self._stop_if_asked()
            self.progress(f"collect {source.name}")
            asked, before = self.clock(), time.perf_counter()
            landed, failure = self._ask(writer, engine, source, window, owners)
            if failure is not None:
                outcome.failures.append(failure)
            notes += [(window.months[-1], *note) for note in landed.notes]
            words.append(
                (
                    writer.run,
                    source.name,
                    window.start.timestamp(),
                    window.end.timestamp(),
                    failure is None,
                    landed.rows,
                    landed.money,
                    asked,
                    time.perf_counter() - before,
                    None if failure is None else str(failure.error) or type(failure.error).__name__,
                )
            )
        self._append_coverage(writer, engine, words)
        for month in window.months:
            self._findings(writer, engine, "collect", month, [note[1:] for note in notes if note[0] == month])

    def _ask(
        self, writer: Writer, engine: Engine, source: Plugin, window: Window, owners: dict[tuple[str, str], str]
    ) -> tuple[_Landed, Failure | None]:
        wait = self.config.collect.wait_seconds
        for attempt in range(self.config.collect.retries + 1):
            versions = dict(writer.versions)
            try:
                with _left_tidy(source.instance.collect(window)) as deliveries:
                    return self._land(writer, engine, source, deliveries, window, owners), None
            except (Interrupted, ConservationError, LedgerLocked):
                raise
            except SourceUnavailable as error:
                writer.roll_back(versions)
                failure = Failure(source.name, error)
                if attempt < self.config.collect.retries:
                    self.sleep(wait * 2**attempt)
            except Exception as error:  # noqa: BLE001 - the one place: a plugin's failure becomes a recorded outcome
                writer.roll_back(versions)
                return _Landed(), Failure(source.name, error)
        return _Landed(), failure

    def _land(
        self,
        writer: Writer,
        engine: Engine,
        source: Plugin,
        deliveries: Iterator[Delivery],
        window: Window,
        owners: dict[tuple[str, str], str],
    ) -> _Landed:
        landed = _Landed()
        billed_months: set[str] = set()
        pending_jobs: Delivery | None = None
        for delivery in deliveries:
            self._stop_if_asked()
            if not delivery.complete:
                raise SourceUnavailable(f"{source.name}: its delivery of {delivery.table} says it is not all of it")
            if delivery.table not in ("charges", "jobs", "placements", "nodes", "rates", "releases"):
                raise BadRecord(f"{source.name}: delivered the table {delivery.table!r}; collectors may not write that")
            landed.notes += list(delivery.notes)
            if delivery.table == "jobs":
                # Jobs are merged by key and their placements with them, so they wait for each other.
                pending_jobs = delivery
                engine.adopt("delivered_jobs", delivery.rows)
                landed.rows += int(engine.value("SELECT count(*) FROM delivered_jobs"))
                continue
            if delivery.table == "placements":
                if pending_jobs is None:
                    raise BadRecord(f"{source.name}: delivered placements without the jobs they belong to before them")
                engine.adopt("delivered_placements", delivery.rows)
                self._land_jobs(writer, engine, source, window, pending_jobs, "delivered_placements")
                pending_jobs = None
                continue
            rows = relation(delivery.rows)
            if "source" in TABLES[delivery.table].names and "source" not in rows.columns:
                rows = rows.project(f"*, {literal(source.name)} AS source")
            scope = dict(delivery.scope)
            if delivery.table in ("charges", "rates", "releases"):
                scope["source"] = source.name
            else:
                self._own(owners, delivery.table, scope.get("cluster", ""), source.name)
            if delivery.as_of is not None:
                rows = self._with_history(writer, engine, rows, scope["cluster"], delivery.as_of)
            put = writer.replace(TABLES[delivery.table], rows, scope)
            landed.rows += put.rows
            if delivery.table == "charges":
                billed_months.add(scope["billing_period"])
                landed.money = (landed.money or 0) + self._landed_money(writer, engine, put.files)
        if pending_jobs is not None:
            self._land_jobs(writer, engine, source, window, pending_jobs, None)
        # Nothing yielded for a month of the window means nothing there: what an earlier delivery said of it is gone.
        writer.drop(
            CHARGES,
            lambda p: (
                p["source"] == source.name and p["billing_period"] in window.months and p["billing_period"] not in billed_months
            ),
        ) if source.name not in self._rate_sources(writer, engine) else None
        return landed

    def _rate_sources(self, writer: Writer, engine: Engine) -> set[str]:
        """Sources whose charges are estimates of ours, made by `attribute` and not by the collector."""
        return set(writer.snapshot().partitions("rates", "source"))

    def _with_history(self, writer: Writer, engine: Engine, rows: Any, cluster: str, as_of: datetime) -> Any:
        """Nodes as they are now, with what the ledger knows of nodes that were there before."""
        engine.adopt(
            "present_nodes", rows.project(f"*, {literal(cluster)} AS cluster") if "cluster" not in rows.columns else rows
        )
        engine.execute(
            f"CREATE OR REPLACE TEMP VIEW known_nodes AS {writer.snapshot().select('nodes', lambda p: p['cluster'] == cluster)}"
        )
        engine.run("nodes_as_of", as_of=f"TIMESTAMPTZ {literal(as_of.astimezone(UTC).isoformat())}")
        return engine.connection.table("nodes_as_of")

    def _own(self, owners: dict[tuple[str, str], str], table: str, cluster: str, source: str) -> None:
        owner = owners.setdefault((table, cluster), source)
        if owner != source:
            raise ConfigError(
                f"{source} and {owner} both deliver the {table} of cluster {cluster!r}; give one of them another cluster name"
            )

    def _land_jobs(
        self, writer: Writer, engine: Engine, source: Plugin, window: Window, jobs: Delivery, placements: str | None
    ) -> None:
        rows = engine.connection.table("delivered_jobs")
        if "source" not in rows.columns:
            rows = rows.project(f"*, {literal(source.name)} AS source")
        writer.replace_jobs(
            engine,
            rows,
            None if placements is None else engine.connection.table(placements),
            cluster=jobs.scope["cluster"],
            source=source.name,
            window=window,
            open_complete=jobs.open_complete,
        )
        for name in ("delivered_jobs", "delivered_placements"):
            engine.execute(f"DROP TABLE IF EXISTS {name}")

    def _landed_money(self, writer: Writer, engine: Engine, files: Sequence[str]) -> int:
        if not files:
            return 0
        names = ", ".join(literal(str(writer.root / "charges" / f)) for f in files)
        return int(engine.value(f"SELECT COALESCE(sum(effective_cost_nanos), 0) FROM read_parquet([{names}])"))

    def _append_coverage(self, writer: Writer, engine: Engine, words: Sequence[tuple[Any, ...]]) -> None:
        if not words:
            return
        writer.append(COVERAGE, engine.made("coverage_word", words))

    def _findings(
        self, writer: Writer, engine: Engine, stage: str, month: str, found: Sequence[tuple[str, str, str, int]]
    ) -> None:
        scope = {"stage": stage, "period": month}
        if not found:
            writer.drop(FINDINGS, lambda p: p["stage"] == stage and p["period"] == month)
            return
        writer.replace(FINDINGS, engine.made("finding_row", found), scope)

    # --- tag ----------------------------------------------------------------------------------------------------------

    def _tag(self, writer: Writer, engine: Engine, period: Period) -> None:
        """Tag every job that ended in or after the period's first month, or runs: any of them may touch the period."""
        first = period.months[0]
        snapshot = writer.snapshot()
        jobs = snapshot.select("jobs", lambda p: p["end_day"] == "open" or p["end_day"] >= first)
        engine.execute(f"CREATE OR REPLACE TEMP TABLE tagged_jobs AS {jobs}")

        def stale(partition: Mapping[str, str], tagger: str) -> bool:
            return partition["tagger"] == tagger and (partition["end_month"] == "open" or partition["end_month"] >= first)

        names = {tagger.name for tagger in self.config.taggers}
        writer.drop(TAGS, lambda p: p["tagger"] not in names and stale(p, p["tagger"]))
        for tagger in self.config.taggers:
            self._stop_if_asked()
            self.progress(f"tag {tagger.name}")
            answers = tagger.instance.tag(engine.connection.table("tagged_jobs"))
            filed = answers.query(
                "answers",
                "SELECT a.*, CASE WHEN j.end_day = 'open' THEN 'open' ELSE left(j.end_day, 7) END AS end_month "
                "FROM answers AS a JOIN (SELECT job_key, end_day FROM tagged_jobs) AS j USING (job_key)",
            )
            writer.replace(
                TAGS,
                filed,
                {"tagger": tagger.name},
                drop=lambda p, name=tagger.name: stale(p, name),  # type: ignore[misc]
            )
        engine.execute("DROP TABLE tagged_jobs")

    # --- attribute ----------------------------------------------------------------------------------------------------

    def _attribute(self, writer: Writer, engine: Engine, period: Period, now: int) -> None:
        for month in period.months:
            if month_span(month)[0] >= now:
                continue
            self._stop_if_asked()
            self.progress(f"attribute {month}")
            self._attribute_month(writer, engine, month, now)
            writer.pending.discard(month)

    def _attribute_month(self, writer: Writer, engine: Engine, month: str, now: int) -> None:
        snapshot = writer.snapshot()
        estimates = self._rate_sources(writer, engine)
        snapshot.view(engine, "charges", lambda p: p["billing_period"] == month and p["source"] not in estimates)
        earliest = engine.value("SELECT strftime(timezone('UTC', min(charge_period_start)), '%Y-%m-%d') FROM charges")
        first = min(earliest or f"{month}-01", f"{month}-01")
        for table in ("jobs", "placements"):
            snapshot.view(engine, table, lambda p: p["end_day"] == "open" or p["end_day"] >= first)
        snapshot.view(engine, "nodes")
        snapshot.view(engine, "rates")
        done = attribute(
            engine,
            month,
            now,
            self.config.engine.share_rule,
            progress=lambda words: self.progress(f"attribute {month}: {words}"),
        )
        query = engine.connection.sql
        writer.replace(
            ATTRIBUTIONS,
            query("SELECT * EXCLUDE (billing_period) FROM attributions"),
            {"billing_period": month},
            drop=lambda p: p["billing_period"] == month,
        )
        writer.replace(
            OCCUPANCY,
            query("SELECT * EXCLUDE (month) FROM occupancy WHERE month = " + literal(month)),
            {"month": month},
            drop=lambda p: p["month"] == month,
        )
        self._land_estimates(writer, engine, month, estimates)
        self._findings(writer, engine, "attribute", month, [(f.kind, f.subject, f.detail, f.rows) for f in done.findings])
        drop_work(engine)
        self._check_landed(writer, engine, month)
        drop_work(engine)

    def _land_estimates(self, writer: Writer, engine: Engine, month: str, sources: set[str]) -> None:
        made = bool(engine.value("SELECT count(*) FROM duckdb_tables() WHERE table_name = 'estimate'"))
        for source in sorted(sources):
            scope = {"source": source, "billing_period": month}
            if made:
                engine.execute(
                    f"CREATE OR REPLACE TEMP VIEW estimated AS SELECT * FROM estimate WHERE source = {literal(source)}"
                )
                engine.run("estimated_charge")
                writer.replace(CHARGES, engine.connection.sql("SELECT * FROM estimated_charge"), scope)
            else:
                writer.drop(CHARGES, lambda p, s=source: p["source"] == s and p["billing_period"] == month)  # type: ignore[misc]

    def _check_landed(self, writer: Writer, engine: Engine, month: str) -> None:
        """Read both sides back from the ledger's files: what was written adds up too."""
        snapshot = writer.snapshot()
        for table in ("charges", "attributions"):
            snapshot.view(engine, table, lambda p: p["billing_period"] == month)
        for source, _, currency, _, charges, attributed, billed, billed_attributed in engine.read("sides"):
            if charges != attributed or billed != billed_attributed:
                raise ConservationError(
                    f"{source} {month} {currency}: the ledger holds {charges} nanos of charges, {attributed} of attributions "
                    f"(billed {billed} and {billed_attributed}); they must be equal; nothing of this run will be read"
                )

    # --- publish ------------------------------------------------------------------------------------------------------

    @property
    def heading(self) -> Heading:
        config = self.config
        return Heading(config.title, config.remark, config.synthetic, config.engine.share_rule)

    def _publish(self, writer: Writer, engine: Engine, period: Period, outcome: Outcome) -> None:
        late = sorted(writer.pending & set(period.months))
        if late:
            raise ConfigError(f"{', '.join(late)} has been collected but not attributed; run `rdspend attribute` first")
        self.progress(f"publish {period.text}")
        policy = load_policy(self.config.policy)
        snapshot = writer.snapshot()
        open_views(engine, snapshot, period)
        snapshot.view(engine, "publications")
        for currency in currencies(engine):
            made = break_down(engine, snapshot, period, policy, currency, self.heading)
            made = replace(made, revision=next_revision(engine, made), snapshot=f"run-{writer.run}")
            figures = (writer.run, period.text, policy.name, currency, made.revision, digest(made), encode(made), self.clock())
            writer.append(PUBLICATIONS, engine.made("publication_row", [figures]))
            outcome.breakdowns.append(made)

    # --- what readers ask ---------------------------------------------------------------------------------------------

    def breakdowns(self, period: Period, currency: str | None, as_of: str | None = None) -> list[Breakdown]:
        """The period's breakdowns as published, or made afresh where the ledger moved on since. Writes nothing."""
        runs = self.ledger.runs()
        snapshot = self.ledger.snapshot(as_of, adding_up=True)
        if snapshot.run is None:
            raise ConfigError(f"the ledger {str(self.config.ledger)!r} holds no finished run; start with `rdspend run`")
        last = snapshot.run.run
        touched = [
            r.run for r in runs if r.run <= last and {"tag", "attribute"} & set(r.stages.split(",")) and _touches(r, period)
        ]
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

    def attributed_at(self, period: Period, snapshot: Snapshot) -> dict[str, int]:
        """For each month of the period, the second up to which its open jobs and nodes were counted."""
        last = snapshot.run.run if snapshot.run else 0
        done = [r for r in self.ledger.runs() if r.run <= last and "attribute" in r.stages.split(",")]
        return {
            month: int(max(r.started_at for r in done if _touches(r, Period(month, (month,)))))
            for month in period.months
            if any(_touches(r, Period(month, (month,))) for r in done)
        }

    def _afresh(self, engine: Engine, snapshot: Snapshot, period: Period) -> list[Breakdown]:
        open_views(engine, snapshot, period)
        policy = load_policy(self.config.policy)
        made = [break_down(engine, snapshot, period, policy, each, self.heading) for each in currencies(engine)]
        return [replace(each, revision=next_revision(engine, each)) for each in made]

    def explain(
        self, period: Period, what: str, currency: str | None, as_of: str | None, limit: int
    ) -> Listing | JobExplanation:
        """A figure or a job of the period, from the newest snapshot that adds up."""
        snapshot = self.ledger.snapshot(as_of, adding_up=True)
        target = parse_target(what)
        with self._reader() as engine:
            open_views(engine, snapshot, period)
            chosen = choose_currency(engine, currency)
            break_down(engine, snapshot, period, load_policy(self.config.policy), chosen, self.heading)
            if target.kind != "job":
                return list_figure(engine, target, limit, chosen)
            at = self.attributed_at(period, snapshot)
            return explain_job(engine, target.value, self.config.engine.share_rule, chosen, at)

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
    def _reader(self) -> Any:
        options = self.config.engine
        with Engine(options.memory_limit, options.threads) as engine:
            yield engine

    def health(self, outcome: Outcome | None = None) -> Health:
        """How the sources and the last run fared, from the newest run's coverage."""
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
        stages = tuple(StageHealth(stage, seconds) for stage, seconds in (outcome.seconds if outcome else {}).items())
        last = runs[-1] if runs else None
        return Health(
            installed_version("rdspend"), sources, stages, bool(last and last.outcome == "ok"), last.ended_at if last else None
        )


def _touches(run: Run, period: Period) -> bool:
    """Whether a run worked on any month of the period."""
    return bool(set(parse_period(run.period).months) & set(period.months))


def next_revision(engine: Engine, made: Breakdown) -> int:
    """The last revision when the figures are still the same, else one more. Wants the view `publications`."""
    last = engine.rows(
        "SELECT revision, digest FROM publications WHERE period = ? AND policy = ? AND currency = ? ORDER BY run DESC LIMIT 1",
        [made.period, made.policy.name, made.currency],
    )
    if not last:
        return 1
    revision, known = last[0]
    return int(revision) if known == digest(made) else int(revision) + 1


@contextmanager
def _left_tidy(deliveries: Iterator[Delivery]) -> Iterator[Iterator[Delivery]]:
    """A collector that is left half way still cleans up behind itself."""
    try:
        yield deliveries
    finally:
        close = getattr(deliveries, "close", None)
        if close is not None:
            close()


@dataclass
class _Landed:
    rows: int = 0
    money: int | None = None
    notes: list[tuple[str, str, str, int]] = field(default_factory=list)
