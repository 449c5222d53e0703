"""Landing: what one source delivers, checked at the border and put in the place of what it said before."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from rdspend.border import literal
from rdspend.engine import Engine, relation
from rdspend.errors import BadRecord, ConfigError, SourceUnavailable
from rdspend.ledger import Writer
from rdspend.schema import CHARGES, TABLES, Delivery, Window

DELIVERED = ("charges", "jobs", "placements", "nodes", "rates", "releases")
OF_SOURCE = ("charges", "rates", "releases")


@dataclass
class Landed:
    """What one source's deliveries came to. money: nanos, None when it delivered no charges. notes: (month, finding)."""

    rows: int = 0
    money: int | None = None
    notes: list[tuple[str, tuple[str, str, str, int]]] = field(default_factory=list)


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
                month = delivery.scope.get("billing_period", self.window.months[-1])
                landed.notes += [(month, note) for note in delivery.notes]
                if delivery.table == "jobs":
                    landed.rows += self._hold_jobs(delivery)
                elif delivery.table == "placements":
                    self._land_placements(delivery)
                else:
                    self._land_table(delivery, landed)
        self._land_jobs(None)
        self._drop_silent_months()
        return landed

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
        self.engine.adopt("delivered_jobs", delivery.rows)
        return int(self.engine.value("SELECT count(*) FROM delivered_jobs"))

    def _land_placements(self, delivery: Delivery) -> None:
        if self._jobs is None or self._jobs.scope["cluster"] != delivery.scope["cluster"]:
            raise BadRecord(f"{self.source}: delivered placements without the jobs they belong to before them")
        self.engine.adopt("delivered_placements", delivery.rows)
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
        rows = relation(delivery.rows)
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
        return int(self.engine.value(f"SELECT COALESCE(sum(effective_cost_nanos), 0) FROM read_parquet([{names}])"))

    def _drop_silent_months(self) -> None:
        """What an earlier delivery said of a month that this one is silent about is gone; estimates are not the source's."""
        if self.source in self.writer.snapshot().partitions("rates", "source"):
            return
        told = {dict(scope)["billing_period"] for table, *scope in self._seen if table == "charges"}
        silent = set(self.window.months) - told
        self.writer.drop(CHARGES, lambda p: p["source"] == self.source and p["billing_period"] in silent)


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
