"""What the daemon does at each interval: which window to ask which source for, and which months to publish."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime

from rdspend.config import Config
from rdspend.daemon import Stop
from rdspend.period import Period, month_start
from rdspend.pipeline import STAGES, Pipeline
from rdspend.reading import Reader
from rdspend.schema import Breakdown, Health, Window


@dataclass
class Service:
    """The daemon's work over one configuration. `clock` gives epoch seconds.

    The first interval, and then one every `whole_seconds`, asks every source for all published months: bills are restated
    for weeks. In between only sources that say they are `incremental` are asked, for the time since their last complete
    answer, so that a scheduler sees little of us and a bill is not read every few minutes.
    """

    config: Config
    clock: Callable[[], float] = time.time
    _shown: dict[tuple[str, str], Breakdown] = field(default_factory=dict)
    _whole: datetime | None = None
    _upto: datetime | None = None

    def work(self, stop: Stop) -> tuple[list[Breakdown], Health]:
        """One interval. A source that fails is in the health and in the breakdown's coverage; the others go on."""
        now = datetime.fromtimestamp(int(self.clock()), UTC)
        published = self._published(now)
        whole = self._is_whole(now)
        start = month_start(published[0]) if whole or self._upto is None else self._upto
        window = Window(start, now)
        months = window.months
        period = Period(months[0] if len(months) == 1 else f"{months[0]}..{months[-1]}", months)
        sources = [each for each in self.config.collectors if whole or getattr(each.instance, "incremental", False)]
        pipeline = Pipeline(self.config, clock=self.clock, sleep=stop.wait, stopping=lambda: stop.stopping)
        with stop.interrupting(pipeline.interrupt):
            outcome = pipeline.run(period, STAGES[:3], window, sources)
            failures = list(outcome.failures)
            if outcome.unsettled:
                # A release that came goes back further than the page: those months are published afresh too.
                failures += pipeline.update_releases(()).failures
            for month in months:
                shown = pipeline.run(Period(month, (month,)), STAGES[3:])
                failures += shown.failures
                kept = {key: b for key, b in self._shown.items() if key[0] != month}
                self._shown = kept | {(b.period, b.currency): b for b in shown.breakdowns}
        if not outcome.failures:
            self._upto = now
            self._whole = now if whole else self._whole
        self._shown = {key: b for key, b in self._shown.items() if key[0] >= published[0]}
        health = Reader(self.config).health(outcome.seconds)
        return [self._shown[key] for key in sorted(self._shown)], replace(
            health, last_run_ok=health.last_run_ok and not failures
        )

    def _is_whole(self, now: datetime) -> bool:
        """Whether everything is due. A clock that went back counts as due, and so does the turn of a month."""
        if self._whole is None or self._upto is None or self._upto >= now or self._upto.month != now.month:
            return True
        return (now - self._whole).total_seconds() >= self.config.daemon.whole_seconds

    def _published(self, now: datetime) -> tuple[str, ...]:
        """The months on the page, oldest first."""
        year, month = now.year, now.month
        counted = [year * 12 + month - 1 - back for back in range(self.config.daemon.periods)]
        return tuple(f"{each // 12:04d}-{each % 12 + 1:02d}" for each in reversed(counted))
