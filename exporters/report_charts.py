"""Drawings of the report as SVG that stands inside a page: colours are the page's own variables, text stays text.

matplotlib draws them (the extra `html`). Nothing of the moment or the machine is in them: no date, ids from the content. Names
from elsewhere never go through matplotlib: it is handed marks, and the names are put in their places afterwards, escaped.
"""

from __future__ import annotations

import html
import io
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from decimal import Decimal
from types import MappingProxyType
from typing import Any

from exporters.colours import COLOURS, PATTERNS
from exporters.report_blocks import legible, words_of
from exporters.report_changes import months_shown
from exporters.report_releases import OTHER, by_release
from exporters.report_spend import PARETO_ROWS, group_words, telling
from rdspend.errors import ConfigError
from rdspend.schema import Breakdown, Line, Pareto, Past

WIDTH = 460
ROW = 21
LONGEST_NAME = 30
MOST_ROWS = 12

INK, QUIET, RULE, PAPER, ACCENT = "#010203", "#040506", "#070809", "#fafbfc", "#0a0b0c"
VARIABLES = {INK: "--ink", QUIET: "--quiet", RULE: "--rule", PAPER: "--paper", ACCENT: "--accent"}
"""Colours that are drawn with so that they can be told apart in the SVG, and the page's variables they become."""

STYLE: dict[Any, Any] = {
    "svg.fonttype": "none",
    "font.family": "DejaVu Sans",
    "font.size": 11,
    "axes.edgecolor": RULE,
    "axes.labelcolor": QUIET,
    "axes.grid": True,
    "axes.axisbelow": True,
    "axes.facecolor": "none",
    "figure.facecolor": "none",
    "savefig.facecolor": "none",
    "grid.color": RULE,
    "grid.linewidth": 0.6,
    "text.color": INK,
    "text.parse_math": False,
    "xtick.color": QUIET,
    "ytick.color": INK,
    "hatch.linewidth": 0.8,
    "hatch.color": PAPER,
    "legend.frameon": False,
    "legend.fontsize": 10.5,
    "path.simplify": False,
}

BILL_COLOURS = {
    "usage": ("#4a6076", ""),
    "purchase": ("#4a6076", "////"),
    "commitment_used": ("#7d90a3", ""),
    "commitment_unused": ("#7d90a3", "++++"),
    "credit": ("#6f9488", "xxxx"),
    "refund": ("#6f9488", "----"),
    "discount": ("#6f9488", "||||"),
    "tax": ("#a08c6c", ""),
    "adjustment": ("#a08c6c", "////"),
    "rounding": ("#b9c2cb", ""),
    "unexplained": ("#a3532a", "//"),
}
"""Kinds of bill lines have hues of their own: none of them is an activity."""

PART_COLOURS = {
    "own runs": ("#0072b2", ""),
    "lost work": ("#d55e00", "++++"),
    "dead ends": ("#b5b5b5", "||||"),
    "data": ("#009e73", "\\\\\\\\"),
    "evaluation": ("#cc79a7", "xxxx"),
    "experiments": ("#e69f00", "////"),
    OTHER: ("#8c8c8c", "xxxx"),
}


@dataclass(frozen=True)
class Segment:
    """One colour of stacked bars: an amount for each bar."""

    name: str
    colour: str
    pattern: str
    amounts: tuple[float, ...]


@dataclass
class Names:
    """Names from elsewhere, behind marks that matplotlib sets like any text."""

    known: list[str] = field(default_factory=list)

    def mark(self, name: str) -> str:
        shown = legible(name)
        self.known.append(shown if len(shown) <= LONGEST_NAME else shown[: LONGEST_NAME - 1] + "…")
        return f"@{len(self.known) - 1}@"

    def put_in(self, svg: str) -> str:
        return re.sub(r"@(\d+)@", lambda found: html.escape(self.known[int(found[1])]), svg)


def _figure(height: float) -> Any:
    from matplotlib.backends.backend_svg import FigureCanvasSVG
    from matplotlib.figure import Figure

    figure = Figure(figsize=(WIDTH / 72, height / 72), dpi=72)
    FigureCanvasSVG(figure)
    return figure


@contextmanager
def _styled(key: str) -> Iterator[None]:
    """matplotlib as it comes, whatever the settings of who runs it."""
    try:
        import matplotlib
    except ImportError as error:
        raise ConfigError(
            f"the HTML report draws with matplotlib ({error}); install it with `pip install 'rdspend[html]'`"
        ) from None
    with matplotlib.rc_context():
        matplotlib.rcdefaults()
        matplotlib.rcParams.update({**STYLE, "svg.hashsalt": key})
        yield


def _axes(figure: Any, height: float, left: float, top: float, bottom: float, right: float = 14) -> Any:
    """Axes with margins in points: text has room whatever the number of bars."""
    box = (left / WIDTH, bottom / height, (WIDTH - left - right) / WIDTH, (height - top - bottom) / height)
    axes = figure.add_axes(box)
    for side in ("top", "right", "left"):
        axes.spines[side].set_visible(False)
    axes.tick_params(length=0)
    return axes


def _stack(axes: Any, places: Sequence[float], segments: Iterable[Segment], thick: float, upright: bool) -> None:
    """Bars with segments one on the other; what is negative goes the other way from zero."""
    up, down = [0.0] * len(places), [0.0] * len(places)
    for segment in segments:
        starts = [up[n] if amount >= 0 else down[n] for n, amount in enumerate(segment.amounts)]
        look = {"color": segment.colour, "hatch": segment.pattern, "edgecolor": PAPER, "linewidth": 0.7, "label": segment.name}
        if upright:
            axes.bar(places, segment.amounts, thick, bottom=starts, **look)
        else:
            axes.barh(places, segment.amounts, thick, left=starts, **look)
        for n, amount in enumerate(segment.amounts):
            if amount >= 0:
                up[n] += amount
            else:
                down[n] += amount


def _legend(figure: Any, axes: Any, columns: int = 3) -> None:
    handles, labels = axes.get_legend_handles_labels()
    figure.legend(
        handles, labels, loc="lower left", bbox_to_anchor=(0, 0), ncols=columns, handlelength=1.3, handleheight=1.0,
        columnspacing=1.2, labelspacing=0.45, borderaxespad=0.2,
    )  # fmt: skip


def _legend_height(count: int, columns: int = 3) -> float:
    return 17 * -(-count // columns) + 8


def short_money(value: float, _: object = None) -> str:
    for size, letter in ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k")):
        if abs(value) >= size:
            return f"{value / size:.3g} {letter}"
    return f"{value:.3g}"


def _percent(value: float, _: object = None) -> str:
    return f"{value:.0%}".replace("%", " %")


def _written(figure: Any, key: str, names: Names, words: str) -> str:
    """The figure as SVG for the inside of a page."""
    text = io.StringIO()
    figure.savefig(text, format="svg", metadata={"Date": None, "Creator": None, "Format": None, "Type": None})
    svg = text.getvalue()
    svg = svg[svg.index("<svg") :]
    view = re.search(r'viewBox="[^"]*"', svg)
    body = svg[svg.index(">") + 1 :]
    body = re.sub(r"<metadata>.*?</metadata>|<defs>\s*<style[^>]*>.*?</style>\s*</defs>|<!--.*?-->", "", body, flags=re.DOTALL)
    body = re.sub(r' id="[A-Za-z0-9.]+_\d+"| transform="rotate\(-0 [^"]*\)"', "", body)
    body = re.sub(r'<g/>|<path [^>]*style="fill: none"/>', "", body)
    body = re.sub(r' id="', f' id="{key}-', body)
    body = body.replace("url(#", f"url(#{key}-").replace('xlink:href="#', f'href="#{key}-')
    body = body.replace("font-family: 'DejaVu Sans'; ", "")
    for colour, variable in VARIABLES.items():
        body = body.replace(colour, f"var({variable})")
    body = re.sub(r"\n\s*", "\n", body)
    opening = f'<svg {view[0] if view else ""} role="img" aria-label="{html.escape(words)}" class="chart">'
    return names.put_in(opening + body.strip()) + "\n"


def _by_category(lines: Mapping[str, Sequence[float]]) -> list[Segment]:
    return [
        Segment(words_of(name), COLOURS[name], PATTERNS[name], tuple(amounts))
        for name, amounts in lines.items()
        if any(amounts) and name in COLOURS
    ]


def _all_lines(past: Past | Breakdown) -> tuple[Line, ...]:
    return (*past.lines, *past.buckets)


def months(b: Breakdown) -> str:
    """The split month by month: one stacked bar a month."""
    shown = months_shown(b)
    if len(shown) < 2:
        return ""
    names, key = Names(), "months"
    by_name: dict[str, list[float]] = {line.name: [] for month in shown for line in _all_lines(month)}
    for month in shown:
        costs = {line.name: float(line.cost) for line in _all_lines(month)}
        for name, amounts in by_name.items():
            amounts.append(costs.get(name, 0.0))
    segments = _by_category(by_name)
    low = _legend_height(len(segments))
    height = 230 + low
    with _styled(key):
        figure = _figure(height)
        axes = _axes(figure, height, left=52, top=14, bottom=low + 30)
        _stack(axes, range(len(shown)), segments, 0.62, upright=True)
        axes.set_xlim(-0.6, max(len(shown), 4) - 0.4)
        axes.set_xticks(range(len(shown)), [month.period for month in shown], rotation=40 if len(shown) > 7 else 0)
        if len(shown) > 7:
            for label in axes.get_xticklabels():
                label.set_horizontalalignment("right")
                label.set_rotation_mode("anchor")
                label.set_fontsize(9.5)
        axes.yaxis.set_major_formatter(short_money)
        axes.grid(axis="x", visible=False)
        axes.axhline(0, color=QUIET, linewidth=0.8)
        _legend(figure, axes)
        return _written(
            figure, key, names, f"Stacked bars: money by category in {len(shown)} months; the table has the figures"
        )


def flow(b: Breakdown) -> str:
    """From the bill to what it was for: the same money by kind of line, and by category."""
    rows = [row for row in b.bridge if row.currency == b.currency]
    if not rows or b.conversions:
        return ""
    key, names = "flow", Names()
    bill: dict[str, list[float]] = {}
    for row in rows:
        sums = bill.setdefault(row.category, [0.0, 0.0])
        sums[0] += float(row.billed)
        sums[1] += float(row.effective)
    kinds = [
        Segment(words_of(name), *BILL_COLOURS.get(name, ("#8c8c8c", "")), (*bill[name], 0.0))
        for name in sorted(bill, key=lambda name: -abs(bill[name][1]))
        if any(bill[name])
    ]
    went = _by_category({line.name: [0.0, 0.0, float(line.cost)] for line in _all_lines(b)})
    low = _legend_height(len(kinds) + len(went))
    height = 150 + low
    with _styled(key):
        figure = _figure(height)
        axes = _axes(figure, height, left=92, top=8, bottom=low + 26)
        _stack(axes, (2, 1, 0), kinds, 0.66, upright=False)
        _stack(axes, (2, 1, 0), went, 0.66, upright=False)
        axes.set_yticks((2, 1, 0), ("on invoices", "amortised", "went to"))
        axes.xaxis.set_major_formatter(short_money)
        axes.locator_params(axis="x", nbins=6)
        axes.grid(axis="y", visible=False)
        axes.axvline(0, color=QUIET, linewidth=0.8)
        _legend(figure, axes)
        words = "Stacked bars: the invoices, the same money amortised, and what it went to; the table has the figures"
        return _written(figure, key, names, words)


def pareto(b: Breakdown, found: Pareto) -> str:
    """The dearest groups as bars of the total, and how much they hold together."""
    if b.total <= 0:
        return ""
    key, names = f"pareto-{'-'.join(found.by)}", Names()
    rows = found.rows[:PARETO_ROWS]
    height = 44 + ROW * len(rows)
    with _styled(key):
        figure = _figure(height)
        axes = _axes(figure, height, left=196, top=6, bottom=34)
        places = [-n for n in range(len(rows))]
        for place, row in zip(places, rows, strict=True):
            category = _category_of(row.names, found.by)
            colour, pattern = (COLOURS[category], PATTERNS[category]) if category else (ACCENT, "")
            axes.barh(place, float(row.cost / b.total), 0.7, color=colour, hatch=pattern, edgecolor=PAPER, linewidth=0.7)
        axes.plot([float(row.cumulative) for row in rows], places, color=INK, marker="o", markersize=3.6, linewidth=1.1)
        axes.axvline(float(found.part), color=INK, linewidth=1, linestyle=(0, (4, 3)))
        axes.set_yticks(places, [names.mark(" · ".join(dict.fromkeys(group_words(row.names)))) for row in rows])
        axes.set_xlim(0, 1.02)
        axes.set_ylim(-len(rows) + 0.4, 0.6)
        axes.xaxis.set_major_formatter(_percent)
        axes.set_xticks((0, 0.2, 0.4, 0.6, 0.8, 1))
        axes.grid(axis="y", visible=False)
        by = " and ".join(found.by)
        words = f"Bars: part of the total of the dearest groups by {by}, and a line of what they hold together; see the table"
        return _written(figure, key, names, words)


def _category_of(names: tuple[str, ...], by: tuple[str, ...]) -> str:
    for name, grouping in zip(names, by, strict=True):
        bare = name[1:-1] if name.startswith("(") and name.endswith(")") else name if grouping == "activity" else ""
        if bare in COLOURS:
            return bare
    return ""


@dataclass(frozen=True)
class Interval:
    """One share with what is known of its ends: `outer` holds whatever is not known, `inner` nine times of ten."""

    name: str
    share: Decimal
    outer: tuple[Decimal | None, Decimal | None]
    inner: tuple[Decimal | None, Decimal | None] = (None, None)


def beside(b: Breakdown) -> str:
    """Our share of final training with its interval, and published ones that mean the same."""
    final = next(line for line in b.lines if line.name == "final_training")
    alike = [figure for figure in b.public_figures if not figure.left_out]
    if not alike or final.share is None:
        return ""
    outer = (final.share_low, final.share_high)
    ours = Interval("this report", final.share, outer, (final.likely_low, final.likely_high))
    rows = [ours, *(Interval(f"{f.name}, {f.year}", f.share, (f.share_low, f.share_high)) for f in alike)]
    key, names = "public", Names()
    height = 44 + (ROW + 5) * len(rows)
    with _styled(key):
        figure = _figure(height)
        axes = _axes(figure, height, left=190, top=6, bottom=34)
        highest = 0.0
        for place, row in enumerate(rows):
            colour = COLOURS["final_training"] if row is ours else ACCENT
            for (low, high), width in ((row.outer, 2.0), (row.inner, 7.0)):
                if low is not None and high is not None:
                    axes.plot([float(low), float(high)], [-place, -place], color=colour, linewidth=width, solid_capstyle="butt")
                    highest = max(highest, float(high))
            look = {"marker": "D" if row is ours else "o", "markersize": 7.5, "color": colour, "markeredgecolor": PAPER}
            axes.plot([float(row.share)], [-place], **look)
            highest = max(highest, float(row.share))
        axes.set_yticks([-n for n in range(len(rows))], [names.mark(row.name) for row in rows])
        axes.set_xlim(0, min(1.02, highest * 1.15 + 0.02))
        axes.set_ylim(-len(rows) + 0.4, 0.6)
        axes.xaxis.set_major_formatter(_percent)
        axes.locator_params(axis="x", nbins=6)
        axes.grid(axis="y", visible=False)
        words = (
            "Points and intervals: the share of final training here and in published figures that mean the same; see the table"
        )
        return _written(figure, key, names, words)


def released(b: Breakdown) -> str:
    """What releases claim, by what it was to them."""
    sums = by_release(b)
    if not sums:
        return ""
    shown = list(sums)[:MOST_ROWS]
    key, names = "releases", Names()
    segments = [
        Segment(part, *PART_COLOURS[part], tuple(float(sums[release].get(part, 0)) for release in shown))
        for part in PART_COLOURS
        if any(sums[release].get(part) for release in shown)
    ]
    low = _legend_height(len(segments))
    height = 44 + (ROW + 6) * len(shown) + low
    with _styled(key):
        figure = _figure(height)
        axes = _axes(figure, height, left=150, top=6, bottom=low + 28)
        places = [-n for n in range(len(shown))]
        _stack(axes, places, segments, 0.66, upright=False)
        axes.set_yticks(places, [names.mark(release) for release in shown])
        axes.set_ylim(-len(shown) + 0.4, 0.6)
        axes.xaxis.set_major_formatter(short_money)
        axes.locator_params(axis="x", nbins=6)
        axes.grid(axis="y", visible=False)
        _legend(figure, axes)
        words = f"Stacked bars: what {len(shown)} releases cost, by what it was to them; see the table"
        return _written(figure, key, names, words)


CHARTS: Mapping[str, Callable[[Breakdown], str]] = MappingProxyType(
    {"months": months, "flow": flow, "public": beside, "releases": released}
)
"""Drawings by the key of the section they stand in."""


def drawn(b: Breakdown) -> dict[str, str]:
    """Every drawing that the breakdown has something for, by section."""
    made = {key: chart(b) for key, chart in CHARTS.items()}
    made |= {f"pareto-{'-'.join(found.by)}": pareto(b, found) for found in telling(b)}
    return {key: svg for key, svg in made.items() if svg}
