"""Hands what is shown to the exporters that push it, and counts the times it was not taken. A push disturbs nothing."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace

from rdspend.errors import SourceUnavailable
from rdspend.schema import Breakdown, Health, Pushed, PushHealth
from rdspend.tracing import LOG


@dataclass
class Pushes:
    """Exporters that push, by name. `say` is told of a failure, in one line."""

    exporters: Mapping[str, Pushed]
    say: Callable[[str], object]
    _failures: dict[str, int] = field(default_factory=dict)

    @property
    def health(self) -> tuple[PushHealth, ...]:
        return tuple(PushHealth(name, self._failures.get(name, 0)) for name in self.exporters)

    @contextmanager
    def observing(self) -> Iterator[None]:
        """While it lasts, exporters that send traces and logs keep them."""
        with ExitStack() as stack:
            for exporter in self.exporters.values():
                stack.enter_context(exporter.observing())
            yield

    def push(self, breakdowns: Sequence[Breakdown], health: Health | None) -> None:
        """Hand over what is shown. Not being taken is counted and told; what else goes wrong is a defect, and raised."""
        for name, exporter in self.exporters.items():
            try:
                exporter.push(breakdowns, None if health is None else replace(health, pushes=self.health))
            except SourceUnavailable as error:
                self._failures[name] = self._failures.get(name, 0) + 1
                LOG.warning("%s: %s", name, error)
                self.say(f"{name}: {error}")
