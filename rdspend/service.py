"""What the daemon does at each interval: which window to ask which source for, and which months to publish."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime

from rdspend.config import Config
from rdspend.daemon import Stop
from rdspend.period import Period, following, month_start
from rdspend.pipeline import STAGES, Pipeline
from rdspend.schema import Breakdown, Health, Window


@dataclass
class Service:
    """The daemon's work over one configuration. `clock` gives epoch seconds.

    The first interval asks for the whole open month (and, early in a month, the one before); later ones only for the time
    since the last complete answer, so that a scheduler sees one bounded call an interval.
    """

    config: Config
    clock: Callable[[], float] = time.time
    _shown: dict[tuple[str, str], Breakdown] = field(default_factory=dict)
    _upto: datetime | None = None

    def work(self, stop: Stop) -> tuple[list[Breakdown], Health]:
        """One interval. A source that fails is in the health and in the breakdown's coverage; the others go on."""
        now = datetime.fromtimestamp(int(self.clock()), UTC)
        window = Window(self._from(now), now)
        months = window.months
        period = Period(months[0] if len(months) == 1 else f"{months[0]}..{months[-1]}", months)
        pipeline = Pipeline(self.config, clock=self.clock, sleep=stop.wait, stopping=lambda: stop.stopping)
        with stop.interrupting(pipeline.interrupt):
            outcome = pipeline.run(period, STAGES[:3], window)
            for month in months:
                shown = pipeline.run(Period(month, (month,)), STAGES[3:])
                self._shown |= {(b.period, b.currency): b for b in shown.breakdowns}
        if not outcome.failures:
            self._upto = now
        self._forget(months[-1])
        health = pipeline.health(outcome)
        # The newest run is the publishing one; what was good about it says nothing of the sources before it.
        health = replace(health, last_run_ok=health.last_run_ok and not outcome.failures)
        return [self._shown[key] for key in sorted(self._shown)], health

    def _from(self, now: datetime) -> datetime:
        """Where the window starts: after the last complete answer, else at the oldest month that is published."""
        if self._upto is not None and self._upto < now:
            # At the turn of a month the old one is read once more as a whole, for what its sources told late.
            return self._upto if self._upto.month == now.month else month_start(f"{self._upto:%Y-%m}")
        month = f"{now:%Y-%m}"
        for _ in range(self.config.daemon.periods - 1):
            month = _before(month)
        return month_start(month)

    def _forget(self, newest: str) -> None:
        """Months that are no longer published leave the page."""
        oldest = newest
        for _ in range(self.config.daemon.periods - 1):
            oldest = _before(oldest)
        self._shown = {key: b for key, b in self._shown.items() if key[0] >= oldest}


def _before(month: str) -> str:
    year, number = int(month[:4]), int(month[5:7])
    previous = f"{year - 1:04d}-12" if number == 1 else f"{year:04d}-{number - 1:02d}"
    assert following(previous) == month
    return previous
