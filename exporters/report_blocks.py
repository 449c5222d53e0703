"""The pieces a page for people is made of, how numbers are rounded on it, and how foreign names are made harmless."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass
from decimal import Decimal
from typing import Literal

LONGEST_TEXT = 200
JOIN_CONTROLS = "\u200c\u200d"
NO_SHARE = "–"
SMALLEST_SHARE = Decimal("0.0005")

WORDS = {
    "data_generation": "data generation",
    "final_training": "final training",
    "idle": "idle (no job ran)",
    "bill_idle": "idle on the bill",
    "shared": "shared services",
    "reinforcement_learning": "reinforcement learning",
    "commitment_used": "commitment, used",
    "commitment_unused": "commitment, unused",
}


@dataclass(frozen=True)
class Heading:
    """A heading. `key` names its section for links and drawings; `level` 3 is a part of the section before it."""

    text: str
    key: str = ""
    level: Literal[2, 3] = 2


@dataclass(frozen=True)
class Note:
    """A paragraph. `synthetic` and `alarm` must catch the eye; `closing` is the line that says it adds up."""

    text: str
    kind: Literal["plain", "synthetic", "alarm", "strong", "closing", "small"] = "plain"


@dataclass(frozen=True)
class Facts:
    """Short labels with what they stand for."""

    rows: tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class Column:
    """One column. `number` is set to the right; one with `from_width` is left out on narrower terminals."""

    name: str
    number: bool = False
    from_width: int = 0


@dataclass(frozen=True)
class Row:
    """Cells as text. `part` is the share to draw, `strong` a row to see first, `rule` a line below it.

    target  what `rdspend explain` walks back from: `final_training`, `team:evals`, a job's key
    """

    cells: tuple[str, ...]
    part: Decimal | None = None
    strong: bool = False
    rule: bool = False
    target: str = ""


@dataclass(frozen=True)
class Table:
    columns: tuple[Column, ...]
    rows: tuple[Row, ...]
    drawn: bool = False


Block = Heading | Note | Facts | Table


def visible(text: str) -> str:
    """Text with nothing hidden in it: control, direction and zero-width characters are spelled out as `\\u202e`."""
    return "".join(c if c.isprintable() or c in JOIN_CONTROLS else _spelled(c) for c in text)


def legible(text: str) -> str:
    """Visible text of a length a person reads; JSON and CSV keep all of it."""
    return visible(text if len(text) <= LONGEST_TEXT else text[: LONGEST_TEXT - 1] + "…")


def _spelled(c: str) -> str:
    if unicodedata.category(c) == "Zs":  # the blanks that isprintable() refuses: no-break space and its like
        return " "
    return c.encode("unicode_escape").decode()


def _unsigned_zero(text: str) -> str:
    return text if text.strip("-0.,") else text.removeprefix("-")


def money_text(value: Decimal) -> str:
    return _unsigned_zero(f"{value:,.2f}")


def exact_money(value: Decimal) -> str:
    """All nine places, for programs."""
    return f"{value:.9f}"


def exact_hours(value: Decimal) -> str:
    return f"{value:.6f}"


def exact_share(value: Decimal | None) -> str | None:
    return None if value is None else f"{value:.6f}"


def change_text(value: Decimal) -> str:
    """Rounded, with its sign; what rounds to nothing keeps enough places to be seen."""
    text = difference_text(value)
    return text if text.startswith("-") or not value else f"+{text}"


def difference_text(value: Decimal) -> str:
    """A difference is never shown as nothing: one below half a cent has all its places."""
    return money_text(value) if not value or abs(value) >= Decimal("0.005") else f"{value:f}".rstrip("0")


def rate_text(value: Decimal) -> str:
    """An exchange rate as it was given, without zeros at its end."""
    text = f"{value:f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def words_of(name: str) -> str:
    return WORDS.get(name, name) or "(not known)"


def names_of(names: Iterable[str]) -> str:
    return ", ".join(sorted(set(names)))


def hours_text(value: Decimal) -> str:
    return _unsigned_zero(f"{value:,.1f}")


def percent_text(value: Decimal) -> str:
    return _unsigned_zero(f"{value * 100:.1f}")


def share_text(value: Decimal | None) -> str:
    if value is None:
        return NO_SHARE
    return "< 0.1 %" if 0 < value < SMALLEST_SHARE else f"{percent_text(value)} %"
