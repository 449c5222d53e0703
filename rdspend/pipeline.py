"""The pipeline: collect, tag, attribute, publish. Each reads the ledger and writes the ledger; each may be repeated.

Here, and only here, plugins are run: timed, tried again, counted, and their failures turned into recorded outcomes. A source
that fails leaves nothing of its delivery behind and keeps the period open; it never stops the others.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from importlib.metadata import version as installed_version
from typing import Any

from rdspend.attribution import attribute, drop_work, month_span
from rdspend.border import literal
from rdspend.breakdown import break_down, digest, encode, heading, next_revision, open_views
from rdspend.config import Config, Plugin
from rdspend.engine import Engine, Interrupted
from rdspend.errors import (
    BadRecord,
    ConfigError,
    ConservationError,
    LedgerLocked,
    LedgerUnwritable,
    RdspendError,
    SourceUnavailable,
)
from rdspend.estimates import error_rows
from rdspend.families import FAMILY
from rdspend.landing import Landed, Landing, last_complete
from rdspend.ledger import Ledger, Run, Snapshot, Writer
from rdspend.lineage import Resolved
from rdspend.looking_back import with_past
from rdspend.period import Period, following, month_start, parse_period
from rdspend.policy import chosen as chosen_policy
from rdspend.releasing import file_claims, look_for_unsettled, of_releases, settle
from rdspend.restatement import (
    closable,
    closing_words,
    currencies_to_publish,
    newest,
    newest_pin,
    run_number,
    with_pin,
    with_state,
)
from rdspend.schema import (
    ACTIVITIES,
    ATTRIBUTIONS,
    CHARGES,
    CLOSES,
    COVERAGE,
    ESTIMATE_ERRORS,
    EXCHANGE_RATES,
    FAMILIES,
    FINDINGS,
    LOADS,
    OCCUPANCY,
    PUBLICATIONS,
    RATES,
    ROLES,
    STATEMENTS,
    TAGS,
    TOKENS,
    Breakdown,
    Pushed,
    Window,
)
from rdspend.schema import STAGES as STAGES_OF_WORK
from rdspend.tracing import LOG, failed, span

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
    """What one run did. unsettled: earlier months that releases say something else of by now."""

    run: Run | None = None
    failures: list[Failure] = field(default_factory=list)
    breakdowns: list[Breakdown] = field(default_factory=list)
    closed: list[str] = field(default_factory=list)
    seconds: dict[str, float] = field(default_factory=dict)
    unsettled: tuple[str, ...] = ()


@dataclass
class ReleaseOutcome(Outcome):
    """What `update_releases` did. moved: each breakdown that it published, before and now."""

    resolved: Resolved = field(default_factory=Resolved)
    jobs: int = 0
    moved: list[tuple[Breakdown, Breakdown]] = field(default_factory=list)
    waiting: tuple[str, ...] = ()


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

    def run(
        self,
        period: Period,
        stages: Sequence[str] = STAGES,
        window: Window | None = None,
        sources: Sequence[Plugin] | None = None,
    ) -> Outcome:
        """Do the stages for a period, pin the ledger, and hand what was published to the exporters.

        window   what to ask the collectors for; the whole period up to now when left out
        sources  whom to ask; every configured collector when left out
        """
        outcome = Outcome()
        with span("run", period=period.text, stages=",".join(stages)):
            self._work(period, stages, window, self.config.collectors if sources is None else sources, outcome)
            self._export_all(outcome)
        return outcome

    def _work(
        self, period: Period, stages: Sequence[str], window: Window | None, asked: Sequence[Plugin], outcome: Outcome
    ) -> None:
        started = float(int(self.clock()))
        with self.ledger.writer() as writer, self._engine() as engine:
            work: dict[str, Callable[[], None]] = {
                "collect": lambda: self._collect(writer, engine, window or self._window(period), asked, outcome),
                "tag": lambda: self._tag(writer, engine, period, started, outcome),
                "attribute": lambda: self._attribute(writer, engine, period, int(started)),
                "publish": lambda: self._publish(writer, engine, period, started, outcome),
            }
            for stage in stages:
                self._stop_if_asked()
                before = time.perf_counter()
                with span(f"stage {stage}", period=period.text):
                    work[stage]()
                outcome.seconds[stage] = time.perf_counter() - before
                LOG.info("%s %s: %.1f s", stage, period.text, outcome.seconds[stage])
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

    def _export_all(self, outcome: Outcome) -> None:
        """Those that push are handed all that is shown by who runs this: together with the state of rdspend itself."""
        for breakdown in outcome.breakdowns:
            for exporter in self.config.exporters:
                if not isinstance(exporter.instance, Pushed):
                    self._export(exporter, breakdown, outcome)

    def _export(self, exporter: Plugin, breakdown: Breakdown, outcome: Outcome) -> None:
        """An exporter that fails is a recorded failure too: the ledger holds the breakdown, and the others go on."""
        self.progress(f"export {exporter.name}")
        with span(f"export {exporter.name}", period=breakdown.period) as current:
            try:
                exporter.instance.export(breakdown)
            except RdspendError as error:
                outcome.failures.append(Failure(exporter.name, error))
                failed(current, exporter.name, error)
            except OSError as error:
                outcome.failures.append(Failure(exporter.name, ConfigError(f"exporters.{exporter.name}: {error}")))
                failed(current, exporter.name, error)

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
        now = self._now()
        if now <= whole.start:
            raise ConfigError(f"period {period.text!r} begins at {whole.start:%Y-%m-%d}, which is not yet")
        return Window(whole.start, min(whole.end, now))

    def _now(self) -> datetime:
        return datetime.fromtimestamp(int(self.clock()), UTC)

    # --- collect ------------------------------------------------------------------------------------------------------

    def _collect(self, writer: Writer, engine: Engine, window: Window, sources: Sequence[Plugin], outcome: Outcome) -> None:
        words: list[tuple[Any, ...]] = []
        owners: dict[tuple[str, str], str] = {}
        for source in sources:
            self._stop_if_asked()
            self.progress(f"collect {source.name}")
            asked, before = self.clock(), time.perf_counter()
            wide = self._widened(writer, engine, source, window)
            writer.pending |= set(wide.months)
            with span(f"source {source.name}") as current:
                landed, failure = self._ask(writer, engine, source, wide, owners)
                current.set_attribute("rdspend.rows", landed.rows)
                if failure is not None:
                    failed(current, source.name, failure.error)
            if failure is None:
                self._note(writer, engine, source.name, wide, landed)
            else:
                outcome.failures.append(failure)
            words.append(
                (
                    writer.run,
                    source.name,
                    wide.start.timestamp(),
                    wide.end.timestamp(),
                    failure is None,
                    landed.rows,
                    landed.money,
                    asked,
                    time.perf_counter() - before,
                    None if failure is None else str(failure.error) or type(failure.error).__name__,
                    landed.requests or None,
                    landed.own_cost or None,
                )
            )
        self._append_coverage(writer, engine, words)

    def _widened(self, writer: Writer, engine: Engine, source: Plugin, window: Window) -> Window:
        """A source with open jobs in the ledger is asked from where it last showed everything: they may have ended since."""
        open_jobs = writer.snapshot().select("jobs", lambda p: p["end_day"] == "open")
        if not engine.value(f"SELECT count(*) FROM ({open_jobs}) WHERE source = ?", [source.name]):
            return window
        seen = last_complete(engine, writer, source.name)
        return window if seen is None or seen >= window.start else Window(seen, window.end)

    def _ask(
        self, writer: Writer, engine: Engine, source: Plugin, window: Window, owners: dict[tuple[str, str], str]
    ) -> tuple[Landed, Failure | None]:
        patience = self.config.collect
        attempt = 0
        while True:
            versions = dict(writer.versions)
            landing = Landing(writer, engine, source.name, window, dict(owners), self._stop_if_asked)
            try:
                landed = landing.land(source.instance.collect(window))
            except (Interrupted, ConservationError, LedgerLocked, LedgerUnwritable):
                raise
            except SourceUnavailable as error:
                writer.roll_back(versions)
                if attempt == patience.retries:
                    return Landed(), Failure(source.name, error)
                self.sleep(patience.wait_seconds * 2**attempt)
                attempt += 1
            except Exception as error:  # noqa: BLE001 - the one place: a plugin's failure becomes a recorded outcome
                writer.roll_back(versions)
                return Landed(), Failure(source.name, error)
            else:
                owners |= landing.owners
                return landed, None

    def _note(self, writer: Writer, engine: Engine, source: str, window: Window, landed: Landed) -> None:
        """Findings of a source, by month. A look at a part of a month says nothing new about the rest of it."""
        for month in window.months:
            found = [note for noted, note in landed.notes if noted == month]
            if found or window.start <= month_start(month):
                self._findings(writer, engine, f"collect.{source}", month, found)

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

    def _tag(self, writer: Writer, engine: Engine, period: Period, now: float, outcome: Outcome) -> None:
        """Tag every job that ended in or after the period's first month, or runs: any of them may touch the period."""
        first = period.months[0]
        snapshot = writer.snapshot()
        jobs = snapshot.select("jobs", lambda p: p["end_day"] == "open" or p["end_day"] >= first)
        engine.execute(f"CREATE OR REPLACE TEMP TABLE tagged_jobs AS {jobs}")

        def stale(partition: Mapping[str, str], tagger: str) -> bool:
            return partition["tagger"] == tagger and (partition["end_month"] == "open" or partition["end_month"] >= first)

        self._file_families(writer, engine, first)
        self.progress("releases")
        with span("releases"):
            _, changed = file_claims(writer, engine, self._sources, now)
        names = {tagger.name for tagger in self.config.taggers}
        writer.drop(TAGS, lambda p: p["tagger"] not in names and stale(p, p["tagger"]))
        for tagger in self.config.taggers:
            self._stop_if_asked()
            self.progress(f"tag {tagger.name}")
            with span(f"tagger {tagger.name}"):
                self._tag_by(writer, engine, tagger, stale)
        if changed:
            found = [look_for_unsettled(writer, engine, tagger) for tagger in of_releases(self.config.taggers)]
            outcome.unsettled = tuple(sorted({month for each in found for month in each.months}))
        for table in ("tagged_jobs", "job_family", "claim"):
            engine.execute(f"DROP TABLE {table}")

    def _file_families(self, writer: Writer, engine: Engine, first: str) -> None:
        """The family of every job that is tagged: people review families, and errors go together in them."""
        engine.execute(f"CREATE OR REPLACE TEMP TABLE job_family AS SELECT job_key, {FAMILY} AS family FROM tagged_jobs")
        filed = engine.connection.sql(
            "SELECT f.*, CASE WHEN j.end_day = 'open' THEN 'open' ELSE left(j.end_day, 7) END AS end_month "
            "FROM job_family AS f JOIN (SELECT job_key, end_day FROM tagged_jobs) AS j USING (job_key)"
        )
        writer.replace(FAMILIES, filed, {}, drop=lambda p: p["end_month"] == "open" or p["end_month"] >= first)

    def _tag_by(self, writer: Writer, engine: Engine, tagger: Plugin, stale: Callable[[Mapping[str, str], str], bool]) -> None:
        answers = tagger.instance.tag(engine.connection.table("tagged_jobs"))
        filed = answers.query(
            "answers",
            "SELECT a.*, CASE WHEN j.end_day = 'open' THEN 'open' ELSE left(j.end_day, 7) END AS end_month "
            "FROM answers AS a JOIN (SELECT job_key, end_day FROM tagged_jobs) AS j USING (job_key)",
        )
        put = writer.replace(
            TAGS,
            filed,
            {"tagger": tagger.name},
            drop=lambda p: stale(p, tagger.name),
        )
        self._check_tags(writer, engine, tagger.name, put.files)

    def _check_tags(self, writer: Writer, engine: Engine, tagger: str, files: Sequence[str]) -> None:
        """An answer that is none of the words would take its job's money off page one."""
        if not files:
            return
        names = ", ".join(literal(str(writer.root / "tags" / f)) for f in files)
        wrong = engine.read(
            "wrong_tags",
            files=names,
            activities=", ".join(map(literal, ACTIVITIES)),
            stages=", ".join(map(literal, STAGES_OF_WORK)),
            roles=", ".join(map(literal, ROLES)),
        )
        if wrong:
            job, activity, stage, role, confidence, answers = wrong[0]
            raise BadRecord(
                f"{tagger}: job {job!r}: found activity {activity!r}, stage {stage!r}, role {role!r}, confidence {confidence}, "
                f"{answers} answers for one time; expected one answer, an activity of {', '.join(ACTIVITIES)}, "
                f"a stage of {', '.join(STAGES_OF_WORK)}, a role of {', '.join(ROLES)} or none, a confidence in [0, 1]"
            )

    # --- releases -----------------------------------------------------------------------------------------------------

    def update_releases(self, sources: Sequence[Plugin] | None = None) -> ReleaseOutcome:
        """Ask the sources of releases, tag past months anew where releases say more now, and publish those months afresh.

        Nothing is attributed again and no month waits for it. A month that waits already is told in `waiting`, and is published
        once it adds up. sources: whom to ask; every collector of releases when left out.
        """
        outcome = ReleaseOutcome()
        started = float(int(self.clock()))
        asked = of_releases(self.config.collectors) if sources is None else sources
        with span("run", stages="release"), self.ledger.writer() as writer, self._engine() as engine:
            writer.snapshot().view(engine, "publications")
            published = self._published(engine)
            months = sorted({month for period in published for month in period.months})
            window = Window(month_start(months[0] if months else f"{datetime.fromtimestamp(started, UTC):%Y-%m}"), self._now())
            pending = set(writer.pending)
            self._collect(writer, engine, window, asked, outcome)
            writer.pending = pending
            self.progress("releases")
            outcome.resolved, _ = file_claims(writer, engine, self._sources, started)
            touched = self._retag(writer, engine, months, outcome)
            for period in published:
                if touched & set(period.months):
                    self._publish_moved(writer, engine, period, started, outcome)
            ends = sorted(touched) or [f"{datetime.fromtimestamp(started, UTC):%Y-%m}"]
            outcome.run = self._finish(
                writer, engine, ["release"], ends[0] if len(ends) == 1 else f"{ends[0]}..{ends[-1]}", started, outcome
            )
        self._export_all(outcome)
        return outcome

    def _published(self, engine: Engine) -> list[Period]:
        """Periods that were published under the policy, the earliest first. Wants the view `publications`."""
        found = engine.rows("SELECT DISTINCT period FROM publications WHERE policy = ?", [chosen_policy(self.config).name])
        return sorted((parse_period(text) for (text,) in found), key=lambda period: (period.months, period.text))

    def _retag(self, writer: Writer, engine: Engine, months: Sequence[str], outcome: ReleaseOutcome) -> set[str]:
        """Tag anew what releases say otherwise now; the months, of those given, whose figures that may change."""
        touched: set[str] = set()
        for tagger in of_releases(self.config.taggers):
            self._stop_if_asked()
            self.progress(f"tag {tagger.name}")
            found = look_for_unsettled(writer, engine, tagger)
            if not found.jobs:
                continue
            outcome.jobs += found.jobs
            self._check_tags(writer, engine, tagger.name, settle(writer, engine, tagger, found))
            snapshot = writer.snapshot()
            near = {month for month in months if month >= found.earliest}
            snapshot.view(engine, "attributions", lambda p: p["billing_period"] in near)  # noqa: B023
            snapshot.view(engine, "occupancy", lambda p: p["month"] in near)  # noqa: B023
            touched |= {month for (month,) in engine.read("moved_month")}
        return touched

    def _publish_moved(self, writer: Writer, engine: Engine, period: Period, now: float, outcome: ReleaseOutcome) -> None:
        if waiting := sorted(writer.pending & set(period.months)):
            outcome.waiting = tuple(sorted({*outcome.waiting, *waiting}))
            return
        before = newest(engine, period.text, chosen_policy(self.config).name)
        made = Outcome()
        self._publish(writer, engine, period, now, made)
        outcome.breakdowns += made.breakdowns
        outcome.moved += [(before[each.currency], each) for each in made.breakdowns if each.currency in before]

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
        estimates = set(snapshot.partitions("rates", "source"))
        snapshot.view(engine, "charges", lambda p: p["billing_period"] == month and p["source"] not in estimates)
        self._refuse_strangers(engine, snapshot, month)
        earliest = engine.value("SELECT strftime(timezone('UTC', min(charge_period_start)), '%Y-%m-%d') FROM charges")
        first = min(earliest or f"{month}-01", f"{month}-01")
        for table in ("jobs", "placements"):
            snapshot.view(engine, table, lambda p: p["end_day"] == "open" or p["end_day"] >= first)
        snapshot.view(engine, "nodes")
        snapshot.view(engine, "rates")
        near = months_around(month)
        snapshot.view(
            engine, "charges", lambda p: p["billing_period"] in near and p["source"] not in estimates, name="other_charges"
        )
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
        self._land_errors(writer, engine, month)
        self._findings(writer, engine, "attribute", month, [(f.kind, f.subject, f.detail, f.rows) for f in done.findings])
        drop_work(engine)
        self._check_landed(writer, engine, month)
        drop_work(engine)

    def _refuse_strangers(self, engine: Engine, snapshot: Snapshot, month: str) -> None:
        """Money of a source that is no longer configured, or one bill in two sources, would be counted without a word."""
        filed = {f.partition["source"] for f in snapshot.files("charges") if f.partition["billing_period"] == month}
        gone = sorted((filed | set(snapshot.partitions("rates", "source"))) - self._sources)
        if gone:
            raise ConfigError(
                f"{month}: the ledger holds money or prices of {gone[0]!r}, which is not configured any more; give the "
                f"source its name back, or take out what it said: rdspend forget {gone[0]}"
            )
        if engine.value("SELECT EXISTS (SELECT 1 FROM charges WHERE allocated_method_id IS NOT NULL)"):
            for allocated, origin in engine.read("allocated_twice"):
                raise ConfigError(
                    f"{month}: {allocated!r} has allocated parts of charges that {origin!r} has whole; they would count twice; "
                    "take the parts or the whole out"
                )
        if len(filed) < 2:
            return
        twice = engine.rows(
            "SELECT origin_file, string_agg(DISTINCT source, ' and ' ORDER BY source) FROM charges GROUP BY origin_file "
            "HAVING count(DISTINCT source) > 1 ORDER BY 1 LIMIT 1"
        )
        if twice:
            raise ConfigError(
                f"{month}: the bill {twice[0][0]!r} is in {twice[0][1]}; it would count twice; take one of them out"
            )

    def forget(self, source: str) -> Outcome:
        """Take out the charges and prices of a source that is not configured any more; its months wait to be attributed."""
        if source in self._sources:
            raise ConfigError(f"{source!r} is configured; take it out of {self.config.file} first")
        outcome = Outcome()
        started = float(int(self.clock()))
        with self.ledger.writer() as writer, self._engine() as engine:
            snapshot = writer.snapshot()
            months = {f.partition["billing_period"] for f in snapshot.files("charges") if f.partition["source"] == source}
            others = ("rates", "statements", "tokens", "exchange_rates")
            if not months and not any(source in snapshot.partitions(table, "source") for table in others):
                raise ConfigError(f"the ledger holds nothing of {source!r}")
            for table in (CHARGES, RATES, STATEMENTS, TOKENS, EXCHANGE_RATES, LOADS):
                writer.drop(table, lambda p: p["source"] == source)
            writer.pending |= months
            ends = sorted(months) or [f"{datetime.fromtimestamp(started, UTC):%Y-%m}"]
            outcome.run = self._finish(writer, engine, ["forget"], f"{ends[0]}..{ends[-1]}", started)
        return outcome

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

    def _land_errors(self, writer: Writer, engine: Engine, month: str) -> None:
        found = error_rows(engine)
        if found is None:
            writer.drop(ESTIMATE_ERRORS, lambda p: p["month"] == month)
        else:
            writer.replace(ESTIMATE_ERRORS, found, {"month": month})

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

    def _publish(self, writer: Writer, engine: Engine, period: Period, now: float, outcome: Outcome) -> None:
        self._refuse_pending(writer, period, "attribute")
        self.progress(f"publish {period.text}")
        policy = chosen_policy(self.config)
        snapshot = writer.snapshot()
        open_views(engine, snapshot, period)
        snapshot.view(engine, "publications")
        snapshot.view(engine, "closes")
        for currency in currencies_to_publish(engine, period.text, policy.name):
            made = break_down(engine, snapshot, period, policy, currency, heading(self.config))
            made = replace(made, revision=next_revision(engine, made), snapshot=f"run-{writer.run}")
            made = with_past(engine, with_state(engine, made, period, now, self._sources), period)
            figures = (writer.run, period.text, policy.name, currency, made.revision, digest(made), encode(made), self.clock())
            writer.append(PUBLICATIONS, engine.made("publication_row", [figures]))
            outcome.breakdowns.append(made)

    def _refuse_pending(self, writer: Writer, period: Period, command: str) -> None:
        late = sorted(writer.pending & set(period.months))
        if late:
            raise ConfigError(f"{', '.join(late)} has been collected but not attributed; run `rdspend {command}` first")

    @property
    def _sources(self) -> frozenset[str]:
        return frozenset(source.name for source in self.config.collectors)

    # --- close --------------------------------------------------------------------------------------------------------

    def close(self, period: Period, currency: str | None = None, even_if_incomplete: bool = False) -> Outcome:
        """Pin the newest revision of a period that ended, in every currency or in one; its breakdowns go to the exporters.

        A pin that would say nothing new is not written: `run` is then None.
        """
        outcome = Outcome()
        started = float(int(self.clock()))
        with self.ledger.writer() as writer, self._engine() as engine:
            snapshot = writer.snapshot()
            snapshot.view(engine, "publications")
            snapshot.view(engine, "closes")
            if started < period.window.end.timestamp():
                raise ConfigError(f"{period.text} has not ended yet; it can be closed from {period.window.end:%Y-%m-%d} on")
            self._refuse_pending(writer, period, "run")
            runs, policy = self.ledger.runs(), self.config.policy
            current = closable(engine, runs, period, policy, currency, self._sources, even_if_incomplete)
            pins = [newest_pin(engine, each) for each in current]
            news = [
                each for each, pin in zip(current, pins, strict=True) if pin is None or pin.closed.revision != each.revision
            ]
            for each in news:
                figures = (writer.run, period.text, each.policy.name, each.currency, each.revision)
                of_run = run_number(each.snapshot)
                writer.append(CLOSES, engine.made("close_row", [(*figures, of_run, digest(each), started)]))
            if news:
                outcome.run = self._finish(writer, engine, ["close"], period.text, started)
                writer.snapshot().view(engine, "closes")
            outcome.breakdowns = [with_pin(engine, each) for each in current]
            outcome.closed = [words for each in zip(current, pins, strict=True) for words in closing_words(*each)]
        if news:
            self._export_all(outcome)
        return outcome

    def _finish(
        self,
        writer: Writer,
        engine: Engine,
        stages: Sequence[str],
        period: str,
        started: float,
        outcome: Outcome | None = None,
    ) -> Run:
        """End a run that attributes nothing."""
        return writer.finish(
            engine,
            stages=stages,
            period=period,
            started_at=started,
            ended_at=self.clock(),
            outcome="incomplete" if outcome is not None and outcome.failures else "ok",
            config_digest=self.config.digest,
            code_version=installed_version("rdspend"),
        )


def months_around(month: str) -> frozenset[str]:
    """The billing months whose lines may pay for hours of this one: the one before, the two after."""
    before = f"{int(month[:4]) - (month[5:] == '01'):04d}-{(int(month[5:]) - 2) % 12 + 1:02d}"
    return frozenset((before, following(month), following(following(month))))
