"""Periods as people write them: a month, a quarter, a year, or a range of months."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime

from rdspend.errors import ConfigError
from rdspend.schema import Window

EARLIEST, LATEST = -(10**11), 10**11
"""Whole seconds well outside of any bill, far enough from the edge of BIGINT to be subtracted."""

SECONDS_PER_DAY = 86_400

_MONTH = re.compile(r"(\d{4})-(0[1-9]|1[0-2])")
_QUARTER = re.compile(r"(\d{4})-Q([1-4])")
_YEAR = re.compile(r"\d{4}")


@dataclass(frozen=True)
class Period:
    """Whole months, in order. `text` is as it was written."""

    text: str
    months: tuple[str, ...]

    @property
    def window(self) -> Window:
        return Window(month_start(self.months[0]), month_start(following(self.months[-1])))


def month_start(month: str) -> datetime:
    return datetime(int(month[:4]), int(month[5:7]), 1, tzinfo=UTC)


def following(month: str) -> str:
    year, number = int(month[:4]), int(month[5:7])
    return f"{year + number // 12:04d}-{number % 12 + 1:02d}"


def parse_period(text: str) -> Period:
    """`2026-10`, `2026-Q3`, `2026` or `2023-05..2023-08`. Raises ConfigError for anything else."""
    if _MONTH.fullmatch(text):
        return Period(text, (text,))
    if quarter := _QUARTER.fullmatch(text):
        first = int(quarter[2]) * 3 - 2
        return Period(text, tuple(f"{quarter[1]}-{m:02d}" for m in range(first, first + 3)))
    if _YEAR.fullmatch(text):
        return Period(text, tuple(f"{text}-{m:02d}" for m in range(1, 13)))
    ends = text.split("..")
    if len(ends) == 2 and all(_MONTH.fullmatch(end) for end in ends) and ends[0] <= ends[1]:
        months = [ends[0]]
        while months[-1] != ends[1]:
            months.append(following(months[-1]))
        return Period(text, tuple(months))
    raise ConfigError(
        f"period: found {text!r}; expected a month (2026-10), a quarter (2026-Q3), a year (2026) or a range (2026-08..2026-10)"
    )


def preceding(period: Period) -> Period | None:
    """The month before a month, the quarter before a quarter, the year before a year; of a range of months none."""
    first = period.months[0]
    year, number = int(first[:4]), int(first[5:7])
    if _MONTH.fullmatch(period.text):
        return parse_period(f"{year - (number == 1):04d}-{(number - 2) % 12 + 1:02d}")
    if _QUARTER.fullmatch(period.text):
        quarter = (number + 2) // 3
        return parse_period(f"{year - (quarter == 1):04d}-Q{(quarter - 2) % 4 + 1}")
    return parse_period(f"{year - 1:04d}") if _YEAR.fullmatch(period.text) else None
