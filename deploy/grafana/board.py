"""A dashboard: its variables, its links to the others, and where each panel stands."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from grafana_foundation_sdk.builders import dashboard
from grafana_foundation_sdk.models import dashboard as models
from panels import SOURCE, link

WHOLE_WIDTH = 24
TAG = "rdspend"
ALL = models.VariableOption(text="All", value="$__all")


@dataclass(frozen=True)
class Row:
    """Panels side by side under a heading, in 24ths of the width."""

    title: str
    height: int
    panels: Sequence[tuple[int, Any]]


@dataclass(frozen=True)
class Board:
    """wanted: names of the variables that it asks for besides the data source."""

    uid: str
    title: str
    description: str
    wanted: Sequence[str]
    rows: Sequence[Row]
    since: str = "now-2y"

    def built(self, docs: str) -> models.Dashboard:
        made = dashboard.Dashboard(self.title).uid(self.uid).description(self.description).tags([TAG])
        # Billing months are UTC's, and history lies at its midnights.
        made.timezone("utc").time(self.since, "now").refresh("5m").editable().tooltip(models.DashboardCursorSync.OFF)
        made.with_variable(dashboard.DatasourceVariable("datasource").type("prometheus").label("Prometheus"))
        for name in self.wanted:
            made.with_variable(_variable(name))
        made.with_variable(
            dashboard.TextBoxVariable("docs").default_value(docs).label("Docs").hide(models.VariableHide.HIDE_VARIABLE)
        )
        others = dashboard.DashboardLink("rdspend").type(models.DashboardLinkType.DASHBOARDS).tags([TAG])
        made.link(others.as_dropdown(True).include_vars(True).keep_time(True))
        made.link(link("What these panels show", "${docs}/dashboards.md"))
        self._place(made)
        return made.build()

    def _place(self, made: dashboard.Dashboard) -> None:
        top, number = 0, 1
        for row in self.rows:
            if row.title:
                heading = dashboard.Row(row.title).collapsed(False).id(number)
                made.with_row(heading.grid_pos(models.GridPos(h=1, w=WHOLE_WIDTH, x=0, y=top)))
                top, number = top + 1, number + 1
            left = 0
            for width, panel in row.panels:
                made.with_panel(panel.id(number).grid_pos(models.GridPos(h=row.height, w=width, x=left, y=top)))
                left, number = left + width, number + 1
            top += row.height


# name: (label, query, regular expression, whether several, whether hidden)
_QUERIES = {
    "policy": ("Policy", "label_values(rdspend_period_revision, policy)", "", False, False),
    "currency": ("Currency", 'label_values(rdspend_period_revision{policy="$policy"}, currency)', "", False, False),
    # The currency is in names of families, in lower case.
    "money": ("Money", 'label_values({__name__=~"rdspend_cost_.+"}, __name__)', "/^rdspend_cost_($currency)$/i", False, True),
    "month": (
        "Month",
        'label_values(rdspend_period_revision{policy="$policy", currency="$currency"}, billing_period)',
        "",
        False,
        False,
    ),
    "team": ("Team", 'label_values(rdspend_cost_$money{billing_period="$month"}, team)', "", True, False),
    "cluster": ("Cluster", 'label_values(rdspend_cost_$money{billing_period="$month"}, cluster_name)', "", True, False),
    "denominator": (
        "100 %",
        'label_values(rdspend_policy_info{billing_period="$month", policy="$policy", currency="$currency"}, denominator)',
        "",
        False,
        True,
    ),
    "unit": (
        "Shares of",
        'label_values(rdspend_policy_info{billing_period="$month", policy="$policy", currency="$currency"}, unit)',
        "",
        False,
        True,
    ),
}


def _variable(name: str) -> dashboard.QueryVariable:
    label, query, regex, several, hidden = _QUERIES[name]
    made = dashboard.QueryVariable(name).label(label).datasource(SOURCE).regex(regex)
    made.query({"query": query, "refId": f"rdspend-{name}"}).definition(query)
    made.refresh(models.VariableRefresh.ON_TIME_RANGE_CHANGED)
    # The newest month first, so that it is the one that is shown.
    made.sort(models.VariableSort.ALPHABETICAL_DESC if name == "month" else models.VariableSort.ALPHABETICAL_ASC)
    if several:
        made.multi(True).include_all(True).all_value(".*").current(ALL)
    return made.hide(models.VariableHide.HIDE_VARIABLE) if hidden else made
