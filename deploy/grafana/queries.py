"""PromQL that finds the figures of months, also of those that the page showed long ago.

rdspend's page shows a month while it runs and for some weeks after, and history that was backfilled has it at the midnights of
its own days. So a panel over months asks each midnight of the dashboard's range, and of each month takes what was there at the
last one that had it.
"""

from __future__ import annotations

OF_CURRENCY = 'currency="$currency"'
OF_MONTHS = f'policy="$policy", {OF_CURRENCY}'
THE_MONTH = 'billing_period="$month"'
OF_MONTH = f"{THE_MONTH}, {OF_MONTHS}"
OF_A_MONTH = f"{THE_MONTH}, {OF_CURRENCY}"

COST = "rdspend_cost_$money"
COST_BY_CATEGORY = "billing_period_category:rdspend_cost_$money:sum"
COST_BY_BASIS = "billing_period_basis:rdspend_cost_$money:sum"
GPU_SECONDS_BY_CATEGORY = "billing_period_category_currency:rdspend_gpu_seconds:sum"

CHOSEN = 'team=~"$team", cluster_name=~"$cluster"'


def last_seen(figure: str, seen: str) -> str:
    """What the end of the range has of the figure, and of a month that it no longer has, what was there when it had it last.

    figure  an aggregation that keeps `billing_period` and other labels
    seen    one that is there whenever the month is. A series that the month had earlier and no longer when it was there last is
            left out: estimated money that became billed would count twice
    """
    past = f"last_over_time({figure}[$__range:1d])"
    then = f"last_over_time(timestamp({figure})[$__range:1d])"
    last = f"max by (billing_period) (last_over_time(timestamp({seen})[$__range:1d]))"
    return f"{figure} or ({past} and {then} == on (billing_period) group_left () {last}) unless on (billing_period) {figure}"


def summed(family: str, by: str, where: str = "") -> str:
    """Sum of a family by `billing_period` and others, of each month."""
    return _of_months("sum", family, by, where)


def highest(family: str, by: str, where: str = "") -> str:
    """The one value of a family by `billing_period` and others, of each month: `max` only drops labels of the scrape."""
    return _of_months("max", family, by, where)


def _of_months(operator: str, family: str, by: str, where: str) -> str:
    selected = f"{family}{{{where}}}" if where else family
    figure = f"{operator} by ({', '.join(('billing_period', *by.split()))}) ({selected})"
    if not by:
        return f"{figure} or last_over_time({figure}[$__range:1d])"  # a month has one of it
    # Recorded sums are evaluated at other seconds than the page is scraped: only they know when they were there.
    recorded = family.startswith("billing_period_")
    which = OF_A_MONTH if THE_MONTH in where else OF_CURRENCY
    return last_seen(figure, figure if recorded else f"rdspend_period_revision{{{which}}}")


def newest(family: str, by: str) -> str:
    """The one value of a family at the end of the range, or else when it was there last."""
    figure = f"max by ({', '.join(by.split())}) ({family}{{{OF_CURRENCY}}})"
    return f"{figure} or last_over_time({figure}[$__range:1d])"
