"""The report's page as GitHub-flavoured Markdown."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from exporters.report_blocks import Block, Facts, Heading, Note, Table, legible, visible
from exporters.report_page import page
from rdspend.schema import Breakdown

# An underscore inside a word is no emphasis; "://", "www." and "@" would become links or mentions.
MARKUP = re.compile(r"(?<![A-Za-z0-9])_|_(?![A-Za-z0-9])|[\\`*\[\]{}~|$]")
ENTITIES = {"&": "&amp;", "<": "&lt;", ">": "&gt;", "@": "&#64;", "://": "&#58;//", "www.": "www&#46;"}
ENTITY = re.compile("|".join(map(re.escape, ENTITIES)), re.IGNORECASE)
LINE_START = re.compile(r"^(\s*)([#+\-=]|\d+[.)])")


def to_markdown(breakdown: Breakdown) -> str:
    """The page in Markdown; names from elsewhere are escaped, so they are shown and never obeyed."""
    return set_in_markdown(page(breakdown))


def set_in_markdown(blocks: Iterable[Block]) -> str:
    headings = 0
    parts: list[str] = []
    for block in blocks:
        headings += isinstance(block, Heading)
        parts.append("\n".join(_set(block, headings)))
    return "\n\n".join(parts) + "\n"


def _set(block: Block, headings: int) -> Iterator[str]:
    match block:
        case Heading(text, level=level):
            yield f"{'#' if headings == 1 else '#' * level} {_escaped(text)}"
        case Note(text, "synthetic" | "alarm"):
            yield f"> **{_escaped(text)}**"
        case Note(text, "strong"):
            yield f"**{_escaped(text)}**"
        case Note(text, "closing"):
            yield f"**`{text}`**"
        case Note(text):
            yield LINE_START.sub(_defused, _escaped(text))
        case Facts(facts):
            yield from (f"- **{_escaped(label)}**: {_escaped(text)}" for label, text in facts)
        case Table(columns, rows):
            yield _row(c.name for c in columns)
            yield _row(("---:" if c.number else ":---") for c in columns)
            for row in rows:
                cells = (_escaped(legible(text)) for text in row.cells)
                yield _row(f"**{text}**" if row.strong and text else text for text in cells)


def _row(cells: Iterator[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _defused(start: re.Match[str]) -> str:
    return f"{start[1]}{start[2][:-1]}\\{start[2][-1]}"


def _escaped(text: str) -> str:
    plain = MARKUP.sub(r"\\\g<0>", visible(text))
    return ENTITY.sub(lambda found: ENTITIES[found[0].lower()], plain)
