"""Families of figures, whoever publishes them: names, units, labels that have a bound, and at most so many series."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from hashlib import sha256

OTHER = "other"

LONGEST_LABEL = 200
"""Characters of a label's value; a longer one is cut and ends in a digest of all of it, so that two never become one."""

E_MAIL = re.compile(r"[^@\s]@[^@\s]")
REFRESHED = "Refreshed by each run of rdspend, not by a scrape."

Spelling = Callable[[str, str], str]
"""The name of a family for its dotted name (`source.duration`) and its unit."""


@dataclass(frozen=True)
class Family:
    """Figures under one name and unit.

    name     as the exporter spells it
    unit     as UCUM has it: `s`; `1` for a part of something; `{USD}` for money; `{row}` for a number of rows; nothing where
             a figure has none
    counter  it never falls: a number of events since the ledger or the process began
    samples  values by the values of `labels`
    """

    name: str
    unit: str
    words: str
    labels: tuple[str, ...]
    counter: bool
    samples: dict[tuple[str, ...], Decimal | float] = field(default_factory=dict)


@dataclass(frozen=True)
class Families:
    """Families by name and unit, in the order of their first sample; of one label set the first value stays.

    None has more than `max_series` samples: what came too late is counted in `left_out`, by the family's name.
    """

    spell: Spelling
    max_series: int
    left_out: dict[str, int] = field(default_factory=dict)
    by_name: dict[tuple[str, str], Family] = field(default_factory=dict)

    def add(self, name: str, unit: str, words: str, labels: Mapping[str, str], value: Decimal | float) -> None:
        """A figure that may fall: a bill can be restated downwards."""
        self._put(Family(self.spell(name, unit), unit, words, tuple(labels), False), labels, value)

    def count(self, name: str, unit: str, words: str, labels: Mapping[str, str], value: Decimal | float) -> None:
        """A figure that never falls."""
        self._put(Family(self.spell(name, unit), unit, words, tuple(labels), True), labels, value)

    def _put(self, family: Family, labels: Mapping[str, str], value: Decimal | float) -> None:
        there = self.by_name.setdefault((family.name, family.unit), family)
        place = tuple(map(bounded, labels.values()))
        if place in there.samples or len(there.samples) < self.max_series:
            there.samples.setdefault(place, value)
        else:
            self.left_out[family.name] = self.left_out.get(family.name, 0) + 1


def money(currency: str, per: str = "") -> str:
    """The unit of money: UCUM has no currencies, so they are annotations. per: `h`, money an hour."""
    return f"{{{currency.upper()}}}" + (f"/{per}" if per else "")


def currency_of(unit: str) -> str | None:
    """The currency of a unit of money, or of money an hour."""
    found = re.fullmatch(r"\{([^a-z}]+)\}(/h)?", unit)
    return found[1] if found else None


def bounded(value: str) -> str:
    """A label's value that is not too long."""
    if len(value) <= LONGEST_LABEL:
        return value
    end = f"...{sha256(value.encode()).hexdigest()[:16]}"
    return value[: LONGEST_LABEL - len(end)] + end


Sums = dict[tuple[str, ...], tuple[Decimal, Decimal]]
"""Money and GPU time, or GPUs, by labels: category first, basis last."""


def fold(sums: Sums, most: int) -> tuple[Sums, int]:
    """At most `most` of them, all labels of the smallest but the first and the last OTHER, and how many these were."""
    if len(sums) <= most:
        return sums, 0
    ranked = sorted(sums.items(), key=lambda item: (-abs(item[1][0]), -item[1][1], item[0]))
    keep = most - len({(labels[0], labels[-1]) for labels in sums})
    kept = dict(ranked[:keep])
    for (category, *between, basis), (cost, amount) in ranked[keep:]:
        add(kept, (category, *(OTHER for _ in between), basis), cost, amount)
    return kept, len(ranked) - keep


def add(sums: Sums, labels: tuple[str, ...], cost: Decimal, amount: Decimal) -> None:
    before = sums.get(labels, (Decimal(0), Decimal(0)))
    sums[labels] = (before[0] + cost, before[1] + amount)


def team(team: str) -> str:
    """The team; a stable stand-in where its name is somebody's e-mail address."""
    return f"redacted-{sha256(team.encode()).hexdigest()[:8]}" if E_MAIL.search(team) else team
