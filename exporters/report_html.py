"""The report's page as one HTML file: no network, no scripts; drawings, the tables behind them, and what every figure means.

A figure is a link to its explanation in the same file. Names from elsewhere are escaped, their control characters spelled out.
"""

from __future__ import annotations

import html
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from decimal import Decimal
from functools import cache
from importlib import resources

from exporters.colours import COLOURS
from exporters.report_beside import public_figures
from exporters.report_blocks import (
    Block,
    Column,
    Facts,
    Heading,
    Note,
    Row,
    Table,
    legible,
    money_text,
    visible,
    words_of,
)
from exporters.report_changes import changes, months
from exporters.report_charts import drawn
from exporters.report_explained import SECTIONS, explain, walk_back
from exporters.report_page import details, page_one, refuse_open
from exporters.report_releases import releases
from exporters.report_spend import paretos, workloads
from rdspend.schema import Breakdown

POLICY_OF_CONTENT = "default-src 'none'; style-src 'unsafe-inline'; img-src data:; base-uri 'none'; form-action 'none'"
AMOUNT = re.compile(r"(?<![\w.])[-+]?\d[\d,]*(?:\.\d+)?(?: %| [A-Z]{3}\b| GPU-hours)?")
ZERO = Decimal(0)
BESIDE = 5
"""A table with so many columns at most stands beside its drawing."""

WIDE = 9
"""One with more is set smaller."""

KEPT = 20
"""One with so many rows at most is not cut by the end of a page."""


def to_html(breakdown: Breakdown) -> str:
    """The whole page. Raises ConfigError where the drawing library is missing."""
    refuse_open(breakdown)
    writer = Writer(breakdown, drawn(breakdown))
    body = "".join(writer.write(_blocks(breakdown)))
    how = "".join(writer.explanations())
    title = legible(breakdown.title or "Compute by purpose")
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{POLICY_OF_CONTENT}">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        '<meta name="referrer" content="no-referrer">\n'
        f"<title>{html.escape(title)} · {breakdown.period}</title>\n<style>\n{_style()}</style>\n</head>\n<body>\n"
        f"<main>\n{writer.head}{body.replace(CONTENTS, writer.contents(), 1)}{how}</main>\n"
        f"<footer>Made by rdspend from {html.escape(breakdown.snapshot)}: the same snapshot gives the same bytes.</footer>\n"
        "</body>\n</html>\n"
    )


@cache
def _style() -> str:
    colours = "".join(
        f".c-{name.replace('_', '-')} {{ background: {colour}; fill: {colour}; }}\n" for name, colour in COLOURS.items()
    )
    return (resources.files("exporters") / "report.css").read_text(encoding="utf-8") + colours


def _blocks(b: Breakdown) -> Iterator[Block]:
    yield from page_one(b)
    yield from changes(b)
    yield from months(b)
    yield from _flow(b)
    yield from paretos(b)
    yield from workloads(b)
    yield from public_figures(b)
    yield from releases(b)
    yield from details(b)


def _flow(b: Breakdown) -> Iterator[Block]:
    """The table behind the drawing from bill to activity: kinds of lines, then categories; both columns of it are the whole."""
    rows = [row for row in b.bridge if row.currency == b.currency]
    if not rows or b.conversions:
        return
    yield Heading("From the bill to what it was for", "flow")
    columns = (Column("Of the bill"), *(Column(f"{name} {b.currency}", number=True) for name in ("On invoices", "Amortised")))
    kinds = dict.fromkeys(row.category for row in rows)
    sums = {
        kind: [
            sum((getattr(row, side) for row in rows if row.category == kind), b.total * 0) for side in ("billed", "effective")
        ]
        for kind in kinds
    }
    made = [Row((words_of(kind), *map(money_text, both))) for kind, both in sorted(sums.items(), key=lambda each: -each[1][1])]
    total = Row(("total", money_text(b.billed_total), money_text(b.total)), strong=True)
    yield Table(columns, (*made, total))


CONTENTS = "<!-- contents -->"
"""Where the links to sections go, once they are all known: after page one. No text from elsewhere can look like it."""


@dataclass
class Writer:
    """Sets blocks in HTML, and keeps what their figures link to."""

    breakdown: Breakdown
    drawings: dict[str, str]
    section: str = "split"
    title: str = ""
    head: str = ""
    headings: list[tuple[str, str]] = field(default_factory=list)
    names: dict[str, str] = field(default_factory=lambda: {"split": "The split"})
    linked: dict[str, list[tuple[str, str, str]]] = field(default_factory=dict)
    pending: str = ""
    tabled: bool = False

    def write(self, blocks: Iterable[Block]) -> Iterator[str]:
        opened = False
        for block in blocks:
            match block:
                case Heading(text) if not self.title:
                    self.title = text
                    self.head = f'<h1 id="split">{_text(text)}</h1>\n'
                    self.headings.append(("split", "The split"))
                case Heading(text, key, 2):
                    yield from self._drawing()
                    self.section = key or "split"
                    self.names[self.section] = text
                    yield "</section>\n" if opened else CONTENTS
                    yield f'<section aria-labelledby="{self.section}">\n<h2 id="{self.section}">{_text(text)}</h2>\n'
                    opened = True
                    self.headings.append((self.section, text))
                    self.pending = self.drawings.get(self.section, "")
                case Heading(text, key, _):
                    yield from self._drawing()
                    self.section = key
                    self.names[key] = text
                    yield f'<h3 id="{key}">{_text(text)}</h3>\n'
                    self.pending = self.drawings.get(key, "")
                case Note(text, kind):
                    yield from self._drawing()
                    yield self._note(text, kind)
                case Facts(rows):
                    said = "".join(f"<dt>{_text(label)}</dt><dd>{self._figures_in(words)}</dd>\n" for label, words in rows)
                    yield f"<dl>\n{said}</dl>\n"
                case Table() as table:
                    yield from self._table(table)
        yield from self._drawing()
        yield "</section>\n" if opened else ""

    def contents(self) -> str:
        """Links to the sections, for a screen."""
        links = "".join(f'<li><a href="#{key}">{_text(text)}</a></li>\n' for key, text in self.headings)
        links += '<li><a href="#how">How to read and check the figures</a></li>\n'
        return f'<nav aria-label="Sections"><ul>\n{links}</ul></nav>\n'

    def _drawing(self) -> Iterator[str]:
        if self.pending:
            yield f"<figure>\n{self.pending}</figure>\n"
            self.pending = ""

    def _note(self, text: str, kind: str) -> str:
        if kind == "plain":
            kind = "" if self.tabled else "sub"
        words = self._figures_in(text)
        return f'<p class="{kind}">{words}</p>\n' if kind else f"<p>{words}</p>\n"

    def _figures_in(self, text: str) -> str:
        """Words with each amount in them as a link."""
        self.linked.setdefault(self.section, [])
        parts, at = [], 0
        shown = visible(text)
        for found in AMOUNT.finditer(shown):
            if "." not in found[0] and "%" not in found[0]:
                continue
            parts += [
                _code(html.escape(shown[at : found.start()])),
                f'<a href="#how-{self.section}">{html.escape(found[0])}</a>',
            ]
            at = found.end()
        return "".join((*parts, _code(html.escape(shown[at:]))))

    def _table(self, table: Table) -> Iterator[str]:
        self.tabled = True
        made = "".join(self._set(table))
        if not self.pending:
            yield made
        elif len(table.columns) <= BESIDE:
            yield f'<div class="pair">\n<figure>\n{self.pending}</figure>\n{made}</div>\n'
        else:
            yield f"<figure>\n{self.pending}</figure>\n{made}"
        self.pending = ""

    def _set(self, table: Table) -> Iterator[str]:
        name = f' aria-labelledby="{self.section}"' if self.section != "split" else ' aria-label="The split"'
        frame = "scroll" if len(table.rows) > KEPT else "scroll kept"
        look = ' class="wide"' if len(table.columns) >= WIDE else ""
        yield f'<div class="{frame}" role="group" tabindex="0"{name}>\n<table data-section="{self.section}"{look}>\n<thead><tr>'
        for column in table.columns:
            yield f'<th scope="col"{_number(column)}>{_text(column.name) or "Verdict"}</th>'
        yield '<th scope="col" class="bar">Of 100 %</th>' if table.drawn else ""
        yield "</tr></thead>\n<tbody>\n"
        for row in table.rows:
            yield self._row(table, row)
        yield "</tbody>\n</table>\n</div>\n"

    def _row(self, table: Table, row: Row) -> str:
        link = f"how-{self.section}"
        known = self.linked.setdefault(self.section, [])
        if row.target and (self.section == "split" or row.target not in COLOURS):
            link = f"{link}-{len(known)}"
            known.append((link, row.cells[0], row.target))
        look = " ".join(letter for letter, on in (("b", row.strong), ("r", row.rule)) if on)
        cells = [f'<th scope="row">{self._key(table, row)}{_text(row.cells[0])}</th>']
        for column, cell in zip(table.columns[1:], row.cells[1:], strict=True):
            shown = _text(cell)
            if column.number and any(letter.isdigit() for letter in cell):
                shown = f'<a href="#{link}">{shown}</a>'
            cells.append(f"<td{_number(column)}>{shown}</td>")
        if table.drawn:
            cells.append(f'<td class="bar">{_bar(row)}</td>')
        return f"<tr{f' class={chr(34)}{look}{chr(34)}' if look else ''}>{''.join(cells)}</tr>\n"

    @staticmethod
    def _key(table: Table, row: Row) -> str:
        return f'<span class="key {_class(row.target)}"></span>' if row.target in COLOURS and table.drawn else ""

    def explanations(self) -> Iterator[str]:
        """What the figures of every section mean, with the command for each row that has one."""
        b = self.breakdown
        yield '<section aria-labelledby="how" class="how fresh">\n<h2 id="how">How to read and check the figures</h2>\n'
        yield (
            f"<p>Period {_text(b.period)}, currency {_text(b.currency)}, policy {_text(b.policy.name)}, revision {b.revision}, "
            f"snapshot {_text(b.snapshot)}. 100 % is {html.escape(visible(b.policy.denominator_words))}. "
            "Figures are rounded for reading; "
            f"<code>rdspend report --period {_text(b.period)} --format json</code> has all places.</p>\n"
        )
        for section, rows in self.linked.items():
            yield f'<h3 id="how-{section}">{_text(self.names[section])}</h3>\n'
            known = SECTIONS.get(section) or SECTIONS.get(section.split("-")[0], "")
            yield f"<p>{html.escape(known)}</p>\n<p><code>{html.escape(walk_back(b, section))}</code></p>\n"
            if rows:
                yield "<ul>\n"
                for link, name, target in rows:
                    command = explain(b, target)
                    way = (
                        f"<code>{html.escape(command)}</code>" if command else "its name can't be typed: see the report's JSON"
                    )
                    yield f'<li id="{link}">{_text(name)}: {way}</li>\n'
                yield "</ul>\n"
        yield "</section>\n"


def _text(text: str) -> str:
    return html.escape(legible(text))


def _code(escaped: str) -> str:
    return re.sub(r"`([^`]*)`", r"<code>\1</code>", escaped)


def _number(column: Column) -> str:
    return ' class="n"' if column.number else ""


def _class(category: str) -> str:
    return f"c-{category.replace('_', '-')}"


def _bar(row: Row) -> str:
    """A bar as long as the share; the share itself stands beside it."""
    if row.part is None or row.part <= 0:
        return ""
    part = min(100, round(float(row.part) * 100, 2))
    drawn_bar = f'<rect class="{_class(row.target)}" width="{part:g}" height="8"/>'
    return f'<svg viewBox="0 0 100 8" preserveAspectRatio="none" aria-hidden="true">{drawn_bar}</svg>'
