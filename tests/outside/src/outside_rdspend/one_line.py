"""one_line: the total of each period, a line each, appended to a file.

[exporters.one_line]
path = "totals.txt"
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from rdspend.schema import Breakdown, Location


@dataclass(frozen=True)
class OneLine:
    path: Location

    def export(self, breakdown: Breakdown) -> None:
        with Path(self.path).open("a", encoding="utf-8") as file:
            file.write(f"{breakdown.period} {breakdown.total:.9f} {breakdown.currency}\n")
