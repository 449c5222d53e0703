"""The daemon's work over months: what it asks, what it shows, what it mends."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import ClassVar

import pytest
from organisations import bill_line, two_days, write_bill, write_organisation

from rdspend.config import Config, Plugin, load
from rdspend.daemon import Stop
from rdspend.schema import Delivery, Window
from rdspend.service import Service


@dataclass(frozen=True)
class Asked:
    """A collector that notes what it is asked and has nothing."""

    windows: list[Window] = field(default_factory=list)
    incremental: ClassVar[bool] = True

    def collect(self, window: Window) -> Iterator[Delivery]:
        self.windows.append(window)
        return iter(())


@dataclass
class Clock:
    now: datetime

    def __call__(self) -> float:
        return self.now.timestamp()


def at(day: int, hour: int = 12, minute: int = 0, month: int = 11) -> datetime:
    return datetime(2026, month, day, hour, minute, tzinfo=UTC)


@pytest.fixture
def config(tmp_path: Path) -> Config:
    file = write_organisation(tmp_path)
    file.write_text(file.read_text().replace('folder = "reports"', 'folder = "reports"\nfile = "report-{period}-{currency}"'))
    loaded = load(file)
    return replace(loaded, exporters=tuple(e for e in loaded.exporters if e.name == "report"))


def test_a_bill_restated_after_the_turn_of_the_month_is_shown_within_the_hour(config: Config) -> None:
    clock = Clock(at(31, month=10))
    service = Service(config, clock)
    totals = []
    for now in (at(31, month=10), at(1), at(5, 12), at(5, 13, 1)):
        clock.now = now
        if now == at(5, 12):
            write_bill(Path(config.file).parent, two_days("120"))
        shown, _ = service.work(Stop())
        totals.append(next(b.total for b in shown if b.period == "2026-10"))
    rest = Decimal("350.123456789")
    assert totals[0] == 96 * Decimal("98.32") + rest
    assert totals[-1] == 96 * 120 + rest


def test_a_scheduler_is_asked_for_the_time_since_its_last_answer_and_a_bill_is_left_alone(config: Config) -> None:
    scheduler = Asked()
    config = replace(config, collectors=(*config.collectors, Plugin("collectors", "scheduler", scheduler)))
    clock = Clock(at(10, 12, 0))
    service = Service(config, clock)
    for minute in (0, 5, 10):
        clock.now = at(10, 12, minute)
        service.work(Stop())
    assert scheduler.windows == [
        Window(datetime(2026, 10, 1, tzinfo=UTC), at(10, 12, 0)),
        Window(at(10, 12, 0), at(10, 12, 5)),
        Window(at(10, 12, 5), at(10, 12, 10)),
    ]


def test_a_month_that_gets_its_bill_is_shown_in_its_currency_only(config: Config) -> None:
    bill = Path(config.file).parent / "bill.csv"
    text = bill.read_text()
    write_bill(bill.parent, [])
    clock = Clock(at(31, month=10))
    service = Service(config, clock)
    first, _ = service.work(Stop())
    assert [b.currency for b in first if b.period == "2026-10"] == ["XXX"]
    bill.write_text(text)
    clock.now = at(31, 14, month=10)
    second, _ = service.work(Stop())
    assert [b.currency for b in second if b.period == "2026-10"] == ["USD"]


def test_an_exporter_that_fails_leaves_the_page_and_says_so(config: Config) -> None:
    reports = Path(config.file).parent / "reports"
    reports.write_text("a file where a folder should be")
    shown, health = Service(config, Clock(at(31, month=10))).work(Stop())
    assert [b.period for b in shown] == ["2026-09", "2026-10"]
    assert health.last_run_ok is False


def test_two_currencies_are_both_shown(config: Config) -> None:
    euro = bill_line("2026-10-01T00:00:00Z", "2026-10-01T01:00:00Z", "7.5", "i-1", currency="EUR")
    write_bill(Path(config.file).parent, [*two_days(), euro])
    shown, health = Service(config, Clock(at(31, month=10))).work(Stop())
    assert [b.currency for b in shown if b.period == "2026-10"] == ["EUR", "USD"]
    assert health.last_run_ok is True
