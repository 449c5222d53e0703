"""Landing: what one source delivers, checked at the border and put in the place of what it said before."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from rdspend.border import literal
from rdspend.engine import Engine, relation
from rdspend.errors import BadRecord, ConfigError, SourceUnavailable
from rdspend.ledger import Writer
from rdspend.schema import (
    BASES,
    CHARGE_CATEGORIES,
    CHARGES,
    INT64_MAX,
    LOADS,
    STATEMENTS,
    TABLES,
    TOKENS,
    ArrowStream,
    Delivery,
    Table,
    Window,
)

LINEAGE = ("releases", "tracked_runs", "artifacts")
OF_SOURCE = ("charges", "rates", "statements", "tokens", "exchange_rates", *LINEAGE)
DELIVERED = (*OF_SOURCE, "jobs", "placements", "nodes")
BY_BILLING_PERIOD = (CHARGES, STATEMENTS, TOKENS)


@dataclass
class Landed:
    """What one source's deliveries came to.

    money     nanos, None when it delivered no charges
    notes     (month, finding)
    requests, own_cost   what asking took: requests that are charged for, nanos of USD
    """

    rows: int = 0
    money: int | None = None
    notes: list[tuple[str, tuple[str, str, str, int]]] = field(default_factory=list)
    requests: int = 0
    own_cost: int = 0


@dataclass
class Landing:
    """Lands the deliveries of one source.

    owners    which source delivered the nodes or jobs of a cluster in this run; two are refused
    stopping  called between deliveries; raises to stop
    """

    writer: Writer
    engine: Engine
    source: str
    window: Window
    owners: dict[tuple[str, str], str]
    stopping: Callable[[], None]
    _seen: set[tuple[Any, ...]] = field(default_factory=set)
    _jobs: Delivery | None = None

    def land(self, deliveries: Iterator[Delivery]) -> Landed:
        """Land all of them. Nothing yielded for a month of the window means nothing there."""
        landed = Landed()
        with _left_tidy(deliveries):
            for delivery in deliveries:
                self.stopping()
                self._check(delivery)
                landed.requests += delivery.requests
                landed.own_cost += delivery.own_cost
                if not self._keep(delivery, landed):
                    self._land(delivery, landed)
        self._land_jobs(None)
        self._drop_silent_months()
        return landed

    def _land(self, delivery: Delivery, landed: Landed) -> None:
        before = landed.rows, landed.money
        if delivery.table == "jobs":
            landed.rows += self._hold_jobs(delivery)
        elif delivery.table == "placements":
            self._land_placements(delivery)
        else:
            self._land_table(delivery, landed)
        landed.notes += [(self._month(delivery), note) for note in delivery.notes]
        money = None if landed.money is None else landed.money - (before[1] or 0)
        self._record_load(delivery, landed.rows - before[0], money)

    def _month(self, delivery: Delivery) -> str:
        return delivery.scope.get("billing_period", self.window.months[-1])

    # What the ledger holds already, under the key that the source gives it.

    def _keep(self, delivery: Delivery, landed: Landed) -> bool:
        """Whether the ledger holds just this; then its rows and findings count as delivered."""
        if delivery.key is None:
            return False
        part, snapshot = _part(delivery), self.writer.snapshot()
        known = snapshot.select("loads", lambda p: p["source"] == self.source and p["part"] == part)
        found = self.engine.rows(f'SELECT "rows", effective_cost_nanos, notes FROM ({known}) WHERE key = ?', [delivery.key])
        if not found:
            return False
        rows, money, notes = found[0]
        landed.rows += rows
        if money is not None:
            landed.money = (landed.money or 0) + money
        month = self._month(delivery)
        landed.notes += [(month, (kind, subject, detail, int(n))) for kind, subject, detail, n in json.loads(notes)]
        return True

    def _record_load(self, delivery: Delivery, rows: int, money: int | None) -> None:
        scope = {"source": self.source, "part": _part(delivery)}
        if delivery.key is None or abs(money or 0) > INT64_MAX:
            self.writer.drop(LOADS, lambda p: all(p[c] == v for c, v in scope.items()))
            return
        word = (delivery.key, rows, money, json.dumps([list(note) for note in delivery.notes]), self.writer.run)
        self.writer.replace(LOADS, self.engine.made("load_row", [word]), scope)

    def _check(self, delivery: Delivery) -> None:
        if not delivery.complete:
            raise SourceUnavailable(f"{self.source}: its delivery of {delivery.table} says it is not all of it")
        if delivery.table not in DELIVERED:
            raise BadRecord(f"{self.source}: delivered the table {delivery.table!r}; collectors may not write that")
        place = (delivery.table, *sorted(delivery.scope.items()))
        if place in self._seen:
            scope = ", ".join(f"{k} {v}" for k, v in sorted(delivery.scope.items()))
            raise BadRecord(
                f"{self.source}: delivered the {delivery.table} of {scope or 'the source'} twice; the second would replace the "
                "first; put all of it into one delivery"
            )
        self._seen.add(place)
        if {"charges", "rates"} <= {table for table, *_ in self._seen}:
            raise BadRecord(f"{self.source}: delivered charges and rates; a source does one of them")

    # Jobs are merged by key and their placements with them, so they wait for each other.

    def _hold_jobs(self, delivery: Delivery) -> int:
        self._land_jobs(None)
        self._own("jobs", delivery.scope["cluster"])
        self._jobs = delivery
        self.engine.adopt("delivered_jobs", _made(delivery))
        return int(self.engine.value("SELECT count(*) FROM delivered_jobs"))

    def _land_placements(self, delivery: Delivery) -> None:
        if self._jobs is None or self._jobs.scope["cluster"] != delivery.scope["cluster"]:
            raise BadRecord(f"{self.source}: delivered placements without the jobs they belong to before them")
        self.engine.adopt("delivered_placements", _made(delivery))
        self._land_jobs("delivered_placements")

    def _land_jobs(self, placements: str | None) -> None:
        if self._jobs is None:
            return
        rows = self.engine.connection.table("delivered_jobs")
        if "source" not in rows.columns:
            rows = rows.project(f"*, {literal(self.source)} AS source")
        self.writer.replace_jobs(
            self.engine,
            rows,
            None if placements is None else self.engine.connection.table(placements),
            cluster=self._jobs.scope["cluster"],
            source=self.source,
            window=self.window,
            open_complete=self._jobs.open_complete,
        )
        self._jobs = None
        for name in ("delivered_jobs", "delivered_placements"):
            self.engine.execute(f"DROP TABLE IF EXISTS {name}")

    def _land_table(self, delivery: Delivery, landed: Landed) -> None:
        rows = relation(_made(delivery))
        if "source" in TABLES[delivery.table].names and "source" not in rows.columns:
            rows = rows.project(f"*, {literal(self.source)} AS source")
        scope = dict(delivery.scope)
        if delivery.table in OF_SOURCE:
            scope["source"] = self.source
        else:
            self._own(delivery.table, scope["cluster"])
        if delivery.as_of is not None:
            rows = self._with_history(rows, scope["cluster"], delivery.as_of)
        put = self.writer.replace(TABLES[delivery.table], rows, scope)
        landed.rows += put.rows
        if delivery.table == "charges":
            landed.money = (landed.money or 0) + self._money(put.files)

    def _own(self, table: str, cluster: str) -> None:
        owner = self.owners.setdefault((table, cluster), self.source)
        if owner != self.source:
            raise ConfigError(
                f"{self.source} and {owner} both deliver the {table} of cluster {cluster!r}; "
                "give one of them another cluster name"
            )

    def _with_history(self, rows: Any, cluster: str, as_of: datetime) -> Any:
        """Nodes as they are now, with what the ledger knows of nodes that were there before."""
        snapshot = self.writer.snapshot()
        present = rows if "cluster" in rows.columns else rows.project(f"*, {literal(cluster)} AS cluster")
        if "end_time" not in present.columns:
            present = present.project("*, CAST(NULL AS TIMESTAMPTZ) AS end_time")
        self.engine.adopt("present_nodes", present)
        known = snapshot.select("nodes", lambda p: p["cluster"] == cluster)
        self.engine.execute(f"CREATE OR REPLACE TEMP VIEW known_nodes AS {known}")
        seen = last_complete(self.engine, self.writer, self.source)
        self.engine.run("nodes_as_of", as_of=_instant(as_of), last_seen=_instant(min(seen or as_of, as_of)))
        return self.engine.connection.table("nodes_as_of")

    def _money(self, files: Sequence[str]) -> int:
        if not files:
            return 0
        names = ", ".join(literal(str(self.writer.root / "charges" / f)) for f in files)
        closed = {"basis": BASES, "charge_category": CHARGE_CATEGORIES}
        strange = ", ".join(
            f"min({column}) FILTER ({column} NOT IN ({', '.join(map(literal, words))}))" for column, words in closed.items()
        )
        total, *others = self.engine.rows(
            f"SELECT COALESCE(sum(effective_cost_nanos), 0), {strange} FROM read_parquet([{names}])"
        )[0]
        for (column, words), found in zip(closed.items(), others, strict=True):
            if found is not None:
                raise BadRecord(f"{self.source}: charges.{column}: found {found!r}; expected {', '.join(words)}")
        return int(total)

    def _drop_silent_months(self) -> None:
        """What an earlier delivery said of a month that this one is silent about is gone; estimates are not the source's."""
        if self.source in self.writer.snapshot().partitions("rates", "source"):
            return
        for table in BY_BILLING_PERIOD:
            self._drop_silent(table)

    def _drop_silent(self, table: Table) -> None:
        told = {dict(scope)["billing_period"] for name, *scope in self._seen if name == table.name}
        silent = set(self.window.months) - told
        self.writer.drop(table, lambda p: p["source"] == self.source and p["billing_period"] in silent)
        parts = {f"{table.name}.{month}" for month in silent}
        self.writer.drop(LOADS, lambda p: p["source"] == self.source and p["part"] in parts)


def _part(delivery: Delivery) -> str:
    return ".".join((delivery.table, *(value for _, value in sorted(delivery.scope.items()))))


def _made(delivery: Delivery) -> ArrowStream:
    return delivery.rows() if callable(delivery.rows) else delivery.rows


def last_complete(engine: Engine, writer: Writer, source: str) -> datetime | None:
    """The end of the latest window that a source showed completely."""
    writer.snapshot().view(engine, "coverage")
    end = engine.value("SELECT CAST(max(epoch(window_end)) AS BIGINT) FROM coverage WHERE complete AND source = ?", [source])
    return None if end is None else datetime.fromtimestamp(end, UTC)


def _instant(when: datetime) -> str:
    return f"TIMESTAMPTZ {literal(when.astimezone(UTC).isoformat())}"


@contextmanager
def _left_tidy(deliveries: Iterator[Delivery]) -> Iterator[None]:
    """A collector that is left half way still cleans up behind itself."""
    try:
        yield
    finally:
        close = getattr(deliveries, "close", None)
        if close is not None:
            close()
