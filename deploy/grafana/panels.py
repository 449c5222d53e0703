"""Panels as this project's dashboards want them: each with words, a unit, a text for no data, and one colour for one thing."""

from __future__ import annotations

import string
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from grafana_foundation_sdk.builders import barchart, common, dashboard, prometheus, stat, table, text, timeseries
from grafana_foundation_sdk.models import common as kinds
from grafana_foundation_sdk.models import dashboard as models
from grafana_foundation_sdk.models import prometheus as prometheus_models
from grafana_foundation_sdk.models import text as text_models

from exporters.colours import COLOURS

SOURCE = kinds.DataSourceRef(type_val="prometheus", uid="${datasource}")
MONEY, COUNT, RATIO, SECONDS, BYTES = "locale", "locale", "percentunit", "s", "bytes"
"""`locale` for money: a unit of Grafana's can't follow the variable `currency`, which titles and columns name."""

SHORT = "short"
NEUTRAL, GREEN, ORANGE = "#8c8c8c", "#009e73", "#d55e00"
EXPLAIN = "${docs}/dashboards.md#from-a-figure-to-its-jobs"

Builder = Any  # the SDK's builders have no common type beyond build()


@dataclass(frozen=True)
class Query:
    """One expression of a panel. name: of its series or column. live: its course over the range, not its value at the end."""

    expr: str
    name: str = ""
    live: bool = False


@dataclass(frozen=True)
class Column:
    """How one field of a panel looks."""

    name: str
    title: str = ""
    unit: str = ""
    decimals: int | None = None
    colour: str = ""
    more: Mapping[str, object] = field(default_factory=dict)

    def properties(self) -> list[models.DynamicConfigValue]:
        found: dict[str, object] = {}
        if self.title:
            found["displayName"] = self.title
        if self.unit:
            found["unit"] = self.unit
        if self.decimals is not None:
            found["decimals"] = self.decimals
        if self.colour:
            found["color"] = {"mode": "fixed", "fixedColor": self.colour}
        return [models.DynamicConfigValue(name, value) for name, value in (found | dict(self.more)).items()]


CATEGORIES = tuple(Column(name, colour=colour) for name, colour in COLOURS.items())


def step(name: str, **options: object) -> models.DataTransformerConfig:
    return models.DataTransformerConfig(id_val=name, options=options)


def kept(*names: str) -> models.DataTransformerConfig:
    return step("filterFieldsByName", include={"names": list(names)})


def joined(by: str, queries: int) -> list[models.DataTransformerConfig]:
    """The queries' values side by side, a row for each value of a label."""
    return [kept(by, *values(queries)), step("joinByField", byField=by, mode="outer"), ascending(by)]


def matrix(rows: str, columns: str, title: str = "") -> list[models.DataTransformerConfig]:
    """One query's values with a row for each value of one label and a column for each of another."""
    corner = f"{rows}\\{columns}"
    return [
        kept(rows, columns, "Value"),
        ascending(rows),
        step("groupingToMatrix", rowField=rows, columnField=columns, valueField="Value", emptyValue="null"),
        step("organize", renameByName={corner: title or rows}, excludeByName={}, indexByName={}),
    ]


RUNNING = "cumulative"
GAUGE = {"min": 0, "max": 1, "custom.cellOptions": {"type": "gauge", "mode": "basic"}}
UP_TO_80 = {
    "thresholds": {"mode": "absolute", "steps": [{"value": None, "color": "#0072b2"}, {"value": 0.8, "color": NEUTRAL}]},
    "color": {"mode": "thresholds"},
    "custom.cellOptions": {"type": "color-text"},
}
"""Blue for the groups that hold 80 %; the number says the same."""


def paired(labels: Sequence[str], running: bool = True) -> list[models.DataTransformerConfig]:
    """Two queries' values side by side, a row for each crossing of labels; dearest first, with a running sum of the second."""
    side_by_side = [kept(*labels, *values(2)), step("merge")]
    if not running:
        return [*side_by_side, ascending(labels[0])]
    added = {"field": "Value #B", "reducer": "sum"}
    sums = step("calculateField", mode="cumulativeFunctions", cumulative=added, alias=RUNNING, replaceFields=False)
    return [*side_by_side, descending("Value #A"), sums]


def ascending(name: str) -> models.DataTransformerConfig:
    return step("sortBy", fields={}, sort=[{"field": name, "desc": False}])


def descending(name: str) -> models.DataTransformerConfig:
    return step("sortBy", fields={}, sort=[{"field": name, "desc": True}])


def as_time(name: str) -> models.DataTransformerConfig:
    conversion = {"targetField": name, "destinationType": "time", "dateFormat": "YYYY-MM"}
    return step("convertFieldType", fields={}, conversions=[conversion])


def values(queries: int) -> list[str]:
    """What Grafana calls the values of so many queries in tables."""
    return ["Value"] if queries == 1 else [f"Value #{letter}" for letter in string.ascii_uppercase[:queries]]


def link(title: str, url: str) -> Builder:
    return dashboard.DashboardLink(title).type(models.DashboardLinkType.LINK).url(url).target_blank(True)


def _dressed(panel: Builder, words: str, unit: str, no_value: str, decimals: int | None) -> Builder:
    panel.description(words).datasource(SOURCE).unit(unit).no_value(no_value)
    return panel.decimals(decimals) if decimals is not None else panel


def _asked(panel: Builder, queries: Iterable[Query], tabular: bool) -> Builder:
    for letter, query in zip(string.ascii_uppercase, queries, strict=False):
        target = prometheus.Dataquery().expr(query.expr).ref_id(letter).datasource(SOURCE)
        target.editor_mode(prometheus_models.QueryEditorMode.CODE).legend_format(query.name or "__auto")
        target.format(prometheus_models.PromQueryFormat.TABLE if tabular else prometheus_models.PromQueryFormat.TIME_SERIES)
        panel.with_target(target.range() if query.live else target.instant())
    return panel


def _shown(panel: Builder, columns: Iterable[Column], steps: Iterable[models.DataTransformerConfig]) -> Builder:
    for column in columns:
        panel.override_by_name(column.name, column.properties())
    for each in steps:
        panel.with_transformation(each)
    return panel


def words(title: str, markdown: str) -> Builder:
    return text.Panel().title(title).mode(text_models.TextMode.MARKDOWN).content(markdown).description(title)


def number(
    title: str,
    description: str,
    queries: Sequence[Query],
    unit: str,
    no_value: str,
    *,
    decimals: int | None = None,
    columns: Sequence[Column] = (),
    steps: Sequence[tuple[float | None, str]] = ((None, "text"),),
    mappings: Sequence[Any] = (),
    as_name: bool = False,
) -> Builder:
    """Large figures. steps: from which value on which colour. as_name: the series' name is the answer, not its value."""
    panel = _dressed(stat.Panel().title(title), description, unit, no_value, decimals)
    panel.reduce_options(common.ReduceDataOptions().calcs(["lastNotNull"]).values(False).fields(""))
    panel.graph_mode(kinds.BigValueGraphMode.NONE).color_mode(kinds.BigValueColorMode.VALUE)
    mode = kinds.BigValueTextMode.VALUE_AND_NAME if len(queries) > 1 else kinds.BigValueTextMode.VALUE
    panel.text_mode(kinds.BigValueTextMode.NAME if as_name else mode)
    panel.thresholds(_thresholds(steps)).mappings(list(mappings)).color_scheme(_coloured("thresholds"))
    panel.links([link("Where this figure comes from", EXPLAIN)])
    return _shown(_asked(panel, queries, False), columns, ())


def _coloured(mode: str) -> Builder:
    return dashboard.FieldColor().mode(models.FieldColorModeId(mode))


def _thresholds(steps: Sequence[tuple[float | None, str]]) -> Builder:
    found = [models.Threshold(value=value, color=colour) for value, colour in steps]
    return dashboard.ThresholdsConfig().mode(models.ThresholdsMode.ABSOLUTE).steps(found)


def bars(
    title: str,
    description: str,
    query: Query,
    unit: str,
    no_value: str,
    shape: Sequence[models.DataTransformerConfig],
    *,
    columns: Sequence[Column] = CATEGORIES,
    explain: str = "",
    horizontal: bool = False,
    stacked: bool = True,
) -> Builder:
    """Bars, stacked by series. explain: the command that leads from a bar to its jobs."""
    panel = _dressed(barchart.Panel().title(title), description, unit, no_value, None)
    panel.fill_opacity(90).line_width(1).group_width(0.8).bar_width(0.9)
    panel.stacking(kinds.StackingMode.NORMAL if stacked else kinds.StackingMode.NONE)
    panel.show_value(kinds.VisibilityMode.NEVER).x_tick_label_max_length(24)
    panel.orientation(kinds.VizOrientation.HORIZONTAL if horizontal else kinds.VizOrientation.VERTICAL)
    _legend(panel)
    if explain:
        panel.data_links([link(explain, EXPLAIN)])
    return _shown(_asked(panel, (query,), True), columns, shape)


def lines(
    title: str,
    description: str,
    queries: Sequence[Query],
    unit: str,
    no_value: str,
    *,
    shape: Sequence[models.DataTransformerConfig] = (),
    columns: Sequence[Column] = (),
    explain: str = "",
) -> Builder:
    """Lines over time: of live queries, or of months whose name is made a time."""
    panel = _dressed(timeseries.Panel().title(title), description, unit, no_value, None)
    panel.draw_style(kinds.GraphDrawStyle.LINE).line_width(2).fill_opacity(0).point_size(6)
    panel.show_points(kinds.VisibilityMode.ALWAYS if shape else kinds.VisibilityMode.AUTO)
    panel.line_interpolation(kinds.LineInterpolation.LINEAR)
    _legend(panel)
    if explain:
        panel.data_links([link(explain, EXPLAIN)])
    return _shown(_asked(panel, queries, bool(shape)), columns, shape)


def rows(
    title: str,
    description: str,
    queries: Sequence[Query],
    no_value: str,
    shape: Sequence[models.DataTransformerConfig],
    columns: Sequence[Column],
    *,
    unit: str = MONEY,
    decimals: int | None = 2,
    explain: str = "",
    mappings: Sequence[Any] = (),
) -> Builder:
    """A table."""
    panel = _dressed(table.Panel().title(title), description, unit, no_value, decimals)
    panel.show_header(True).cell_height(kinds.TableCellHeight.SM).mappings(list(mappings))
    if explain:
        panel.data_links([link(explain, EXPLAIN)])
    return _shown(_asked(panel, queries, True), columns, shape)


def _legend(panel: Builder) -> None:
    # Names that nobody can list beforehand (sources, tables) keep a colour of Grafana's.
    panel.color_scheme(_coloured("palette-classic-by-name"))
    legend = common.VizLegendOptions().display_mode(kinds.LegendDisplayMode.LIST).placement(kinds.LegendPlacement.BOTTOM)
    panel.legend(legend.show_legend(True).calcs([]))
    panel.tooltip(common.VizTooltipOptions().mode(kinds.TooltipDisplayMode.MULTI).sort(kinds.SortOrder.DESCENDING))


def named(meanings: Mapping[str, tuple[str, str]]) -> list[Any]:
    """Words and colours for values."""
    found = {
        value: models.ValueMappingResult(text=said, color=colour, index=n)
        for n, (value, (said, colour)) in enumerate(meanings.items())
    }
    return [models.ValueMap(options=found)]
