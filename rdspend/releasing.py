"""Releases in the ledger: claims filed, what they name in vain shown, past months tagged anew where they say more now."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any

from rdspend.border import literal
from rdspend.config import Plugin
from rdspend.engine import Engine, empty_select
from rdspend.file_use import VERSION, extract
from rdspend.ledger import Writer
from rdspend.lineage import Resolved, resolve
from rdspend.schema import CLAIMS, FILE_USES, FINDINGS, TAGS

STAGE = "releases"
"""Whose findings they are."""


@dataclass(frozen=True)
class Unsettled:
    """Jobs that the ledger has tagged otherwise than their releases say now. Their keys are in the table `unsettled_job`.

    months  of their ends, or `open`; earliest is the month in which the first of them started
    """

    jobs: int = 0
    months: tuple[str, ...] = ()
    earliest: str = ""


def file_claims(writer: Writer, engine: Engine, sources: Collection[str], now: float) -> tuple[Resolved, bool]:
    """Table `claim`: what the releases of these sources claim of all jobs of the ledger; filed, and whether it is new.

    Leaves the view `every_job`. Nothing is worked out where there is no release.
    """
    snapshot = writer.snapshot()
    snapshot.view(engine, "jobs", name="every_job")
    known = snapshot.select("claims")
    if any(f.partition["source"] in sources for f in snapshot.files("releases")):
        for table in ("releases", "tracked_runs", "artifacts"):
            snapshot.view(engine, table, lambda p: p["source"] in sources)
        _file_uses(writer, engine)
        found = resolve(engine, now)
    else:
        engine.execute(f"CREATE OR REPLACE TEMP TABLE claim AS {empty_select(CLAIMS)}")
        found = Resolved()
    changed = bool(
        engine.value(
            f"SELECT EXISTS (FROM claim EXCEPT ALL SELECT * FROM ({known})) OR "
            f"EXISTS (SELECT * FROM ({known}) EXCEPT ALL FROM claim)"
        )
    )
    if changed:
        writer.replace(CLAIMS, engine.connection.table("claim"), {})
    _file_unmatched(writer, engine, found)
    return found, changed


def _file_uses(writer: Writer, engine: Engine) -> None:
    """View `said_file`: what all jobs say they read and wrote. Texts are read anew only of months that have other jobs now."""
    snapshot = writer.snapshot()
    files: dict[str, list[str]] = {}
    for file in snapshot.files("jobs"):
        files.setdefault(_end_month(file.partition["end_day"]), []).append(file.path)
    now = {month: _digest(paths) for month, paths in files.items()}
    known = snapshot.select("file_uses")
    told = dict(engine.rows(f"SELECT end_month, any_value(read_from) FROM ({known}) GROUP BY end_month"))
    stale = {month for month, digest in now.items() if told.get(month) != digest}
    gone = stale | (set(told) - set(now))
    if stale:
        snapshot.view(engine, "jobs", lambda p: _end_month(p["end_day"]) in stale, name="told_job")
        extract(engine)
        digests = " ".join(f"WHEN {literal(month)} THEN {literal(now[month])}" for month in sorted(stale))
        months = " UNION ALL ".join(f"SELECT {literal(month)}" for month in sorted(stale))
        engine.run("read_now", digests=digests, months=months)
        writer.replace(FILE_USES, engine.connection.table("read_now"), {}, drop=lambda p: p["end_month"] in gone)
        for table in ("read_now", "said_file"):
            engine.execute(f"DROP TABLE {table}")
    elif gone:
        writer.drop(FILE_USES, lambda p: p["end_month"] in gone)
    filed = writer.snapshot().select("file_uses")
    engine.execute(f"CREATE OR REPLACE TEMP VIEW said_file AS SELECT * FROM ({filed}) WHERE use <> 'none'")


def _end_month(end_day: str) -> str:
    return end_day if end_day == "open" else end_day[:7]


def _digest(paths: Sequence[str]) -> str:
    """Of files that never change once they are written, and of how they are read."""
    return hashlib.sha256("\n".join([str(VERSION), *sorted(paths)]).encode()).hexdigest()[:16]


def _file_unmatched(writer: Writer, engine: Engine, found: Resolved) -> None:
    """What releases name in vain, as findings of the month of the release."""
    notes: dict[str, list[tuple[str, str, str, int]]] = {}
    for each in found.unmatched:
        notes.setdefault(each.month, []).append(("release_claims_nothing", each.release, each.words, 1))
    snapshot = writer.snapshot()
    filed = {f.partition["period"] for f in snapshot.files("findings") if f.partition["stage"] == STAGE}
    for month in sorted(filed | set(notes)):
        scope = {"stage": STAGE, "period": month}
        known = snapshot.select("findings", lambda p: p == scope)  # noqa: B023
        said = engine.rows(f'SELECT kind, subject, detail, "rows" FROM ({known}) ORDER BY ALL')
        told = sorted(notes.get(month, []))
        if not told:
            writer.drop(FINDINGS, lambda p: p == scope)  # noqa: B023
        elif said != told:
            writer.replace(FINDINGS, engine.made("finding_row", told), scope)


def of_releases(plugins: Sequence[Plugin]) -> list[Plugin]:
    """Collectors that deliver nothing but releases and what leads to them; taggers whose answers are what releases claim."""
    return [plugin for plugin in plugins if getattr(plugin.instance, "of_releases", False)]


def look_for_unsettled(writer: Writer, engine: Engine, tagger: Plugin) -> Unsettled:
    """What one tagger would say otherwise now. Wants `claim` and `every_job`; leaves `told_tag` and `unsettled_job`."""
    answers: Any = tagger.instance.tag(engine.connection.sql("SELECT * FROM every_job SEMI JOIN claim USING (job_key)"))
    engine.execute(f"CREATE OR REPLACE TEMP TABLE told_tag AS {empty_select(TAGS)}")
    answers.create_view("answer", replace=True)
    engine.execute("INSERT INTO told_tag BY NAME SELECT * FROM answer")
    writer.snapshot().view(engine, "tags", lambda p: p["tagger"] == tagger.name, name="filed_tag")
    said = ", ".join(name for name in TAGS.names if name not in TAGS.partition)
    engine.run("unsettled_job", columns=said)
    ((jobs, months, earliest),) = engine.rows(
        "SELECT count(*), list(DISTINCT end_month ORDER BY end_month), min(start_month) FROM unsettled_job"
    )
    return Unsettled(int(jobs), tuple(months or ()), earliest or "")


def settle(writer: Writer, engine: Engine, tagger: Plugin, found: Unsettled) -> Sequence[str]:
    """File what was found: the files of the tags that were written."""
    filed = engine.connection.sql(
        "SELECT t.* EXCLUDE (tagger, end_month), "
        "CASE WHEN j.end_day = 'open' THEN 'open' ELSE left(j.end_day, 7) END AS end_month "
        "FROM told_tag AS t JOIN (SELECT job_key, end_day FROM every_job) AS j USING (job_key) "
        "WHERE CASE WHEN j.end_day = 'open' THEN 'open' ELSE left(j.end_day, 7) END "
        f"IN ({', '.join(map(literal, found.months))})"
    )
    months = set(found.months)
    put = writer.replace(
        TAGS, filed, {"tagger": tagger.name}, drop=lambda p: p["tagger"] == tagger.name and p["end_month"] in months
    )
    return put.files
