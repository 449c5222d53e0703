"""A dry run of a rule file on history: which jobs and how much money would change class. Reads a snapshot, writes nothing.

Before is what the snapshot's tags say: of all taggers, the one of highest authority that has an answer. After is the same
with the file's answers in the place of the tagger's own, so that a label or a lineage that wins today still wins. What a
policy makes of an activity is left out. A job of which a release claims a stretch counts as a whole with what it says.
"""

from __future__ import annotations

import dataclasses
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any

from rdspend.border import literal
from rdspend.breakdown import choose_currency, gpu_hours, money, open_views, ranking
from rdspend.config import Config, load_plugin
from rdspend.engine import Engine
from rdspend.errors import ConfigError
from rdspend.ledger import Ledger, Snapshot
from rdspend.period import Period
from rdspend.schema import Location

KIND = "rule"
LARGEST = 20


@dataclass(frozen=True)
class Amount:
    """Jobs with their effective cost and GPU-hours."""

    jobs: int
    cost: Decimal
    gpu_hours: Decimal


@dataclass(frozen=True)
class Move:
    """Jobs of one team that change from one class to another. Class: an activity, or `unclassified`."""

    team: str
    before: str
    after: str
    amount: Amount


@dataclass(frozen=True)
class MovedJob:
    """`evidence`: what the file says of it; "" when it says nothing any more."""

    job_key: str
    name: str
    team: str
    before: str
    after: str
    cost: Decimal
    gpu_hours: Decimal
    evidence: str


@dataclass(frozen=True)
class ShadowMove:
    """What a shadow rule of the file would move if it alone were switched on; before = after: it would change nothing."""

    rule: str
    before: str
    after: str
    amount: Amount


@dataclass(frozen=True)
class Side:
    """All of one class before and after."""

    category: str
    before: Amount
    after: Amount


@dataclass(frozen=True)
class Trial:
    """What would be otherwise with `file` in the place of the rules of `tagger`.

    everything  all jobs of the period with money in the currency, or with GPU time
    moved       those of them that change class; stage_only: those that keep it and change their stage
    overruled   those of which the file says something else than a tagger above it, which stands
    """

    period: str
    snapshot: str
    currency: str
    tagger: str
    file: str
    everything: Amount
    moved: Amount
    stage_only: Amount
    overruled: Amount
    sides: tuple[Side, ...]
    moves: tuple[Move, ...]
    largest: tuple[MovedJob, ...]
    shadows: tuple[ShadowMove, ...]


def whole_history(snapshot: Snapshot) -> Period:
    """All months that the snapshot has money or GPU time of. Raises ConfigError when there are none."""
    months = sorted({*snapshot.partitions("attributions", "billing_period"), *snapshot.partitions("occupancy", "month")})
    if not months:
        raise ConfigError("the ledger has no month whose money was brought to jobs; run `rdspend run --period MONTH` first")
    return Period(months[0] if len(months) == 1 else f"{months[0]}..{months[-1]}", tuple(months))


def tried_tagger(config: Config, file: Path, named: str | None) -> tuple[str, Any]:
    """Name and instance of the rule tagger with `file` in the place of its own. `named`: which one, where there are several."""
    known = {tagger.name: tagger.instance for tagger in config.taggers if tagger.name.split(".")[0] == KIND}
    if named is None and len(known) > 1:
        raise ConfigError(f"{config.file}: there are several rule taggers; choose {', '.join(sorted(known))} with --tagger")
    name = named or next(iter(known), KIND)
    if known and name not in known:
        raise ConfigError(f"--tagger {named!r}: expected one of {', '.join(sorted(known))}")
    if not known:
        return KIND, load_plugin("taggers", KIND)(path=Location(file))
    return name, dataclasses.replace(known[name], path=Location(file))


def try_rules(
    engine: Engine, snapshot: Snapshot, period: Period, config: Config, file: Path, named: str | None, currency: str | None
) -> Trial:
    """The dry run. Raises ConfigError when the file is wrong, or the period has no jobs."""
    name, tagger = tried_tagger(config, file, named)
    chosen = open_jobs(engine, snapshot, period, currency)
    taggers = {each for (each,) in engine.rows("SELECT DISTINCT tagger FROM tags")} | {name}
    rank = ranking(taggers)
    mine = engine.value(f"SELECT {rank} FROM (SELECT {literal(name)} AS tagger)")
    engine.run("trial_answer", {"mine": mine}, rank=rank)
    jobs = engine.connection.sql("SELECT * FROM jobs SEMI JOIN trial_job USING (job_key)")
    for table, answers in (("tried", tagger.tag(jobs).project("job_key, activity, stage")), ("shadowed", tagger.shadows(jobs))):
        engine.execute(f"DROP TABLE IF EXISTS {table}")
        answers.create(table)
    engine.run("trial_class")
    (total,) = engine.read("trial_total")
    largest = engine.read("trial_largest", {"limit": LARGEST})
    keys = ", ".join(literal(row[0]) for row in largest) or "NULL"
    said = dict(tagger.tag(jobs.filter(f"job_key IN ({keys})")).project("job_key, evidence").fetchall())
    return Trial(
        period=period.text,
        snapshot=snapshot.name,
        currency=chosen,
        tagger=name,
        file=str(file),
        everything=_amount(*total[:3]),
        moved=_amount(*total[3:6]),
        stage_only=_amount(*total[6:9]),
        overruled=_amount(*total[9:]),
        sides=tuple(Side(row[0], _amount(*row[1:4]), _amount(*row[4:])) for row in engine.read("trial_side")),
        moves=tuple(Move(t, b, a, _amount(*rest)) for t, b, a, *rest in engine.read("trial_move")),
        largest=tuple(
            MovedJob(key, job, team, before, after, money(cost), gpu_hours(parts), said.get(key, ""))
            for key, job, team, before, after, cost, parts in largest
        ),
        shadows=tuple(ShadowMove(r, b, a, _amount(*rest)) for r, b, a, *rest in engine.read("trial_shadow")),
    )


def open_jobs(engine: Engine, snapshot: Snapshot, period: Period, currency: str | None) -> str:
    """Table `trial_job` and the views of the period; the currency of its money. Raises ConfigError when it has no job."""
    open_views(engine, snapshot, period)
    chosen = choose_currency(engine, currency)
    engine.run("trial_job", {"currency": chosen})
    if not engine.value("SELECT count(*) FROM trial_job"):
        raise ConfigError(f"{period.text}: no job of it has money or GPU time; run `rdspend run --period {period.text}` first")
    return chosen


def _amount(jobs: int, nanos: int, part_seconds: int) -> Amount:
    return Amount(int(jobs), money(nanos), gpu_hours(part_seconds))


@contextmanager
def history(config: Config, period: Period | None) -> Iterator[tuple[Engine, Snapshot, Period]]:
    """An engine that may spill, the newest snapshot, and the period or else all there is."""
    ledger = Ledger(config.ledger)
    newest = ledger.snapshot()
    if newest.run is None:
        raise ConfigError(f"the ledger {str(config.ledger)!r} holds no finished run; start with `rdspend run`")
    chosen = period or whole_history(newest)
    snapshot = ledger.snapshot(months=chosen.months)
    options = config.engine
    with (
        tempfile.TemporaryDirectory(prefix="rdspend-rules-") as spill,
        Engine(options.memory_limit, options.threads, Path(spill)) as engine,
    ):
        yield engine, snapshot, chosen


def dry_run(config: Config, file: Path, period: Period | None, currency: str | None, named: str | None) -> Trial:
    """Try a file on the configuration's ledger."""
    with history(config, period) as (engine, snapshot, months):
        return try_rules(engine, snapshot, months, config, file, named, currency)
