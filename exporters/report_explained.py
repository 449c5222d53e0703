"""What the figures of each section mean, of what they are parts, and how to walk back from them: the last part of the page."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from types import MappingProxyType

from exporters.report_blocks import visible
from rdspend.schema import Breakdown

COST = (
    "Cost is effective cost, amortised: what was used in the period, with its part of what was paid ahead or in "
    "advance. It goes from a bill line to the node or job it names, and from a node to the jobs on it by the time and"
    " GPUs they held."
)

SECTIONS: Mapping[str, str] = MappingProxyType(
    {
        "split": (
            f"{COST} A share is a part of what the policy counts as 100 %, named above; what is outside of it has none. "
            "Low and high hold whatever is not known: all that is unclassified gone elsewhere, or gone here together with"
            " what could still be released. The 90 % interval is drawn from how sure each answer is. GPU-hours are those "
            "that jobs held, by the scheduler's records; idle ones were there and held by none."
        ),
        "since-period": (
            "The figures of two periods, each as published, and the difference. Revisions may have moved the earlier one "
            "since; its report has the newest."
        ),
        "since-revision": (
            "The same period as it was published before. A revision is made when a bill, a job, a tag, a release or a "
            "policy changed a figure."
        ),
        "months": (
            "Cost by activity and bucket of each month, as published when this report was made. Final training's share is"
            " of each month's own 100 %, under one policy."
        ),
        "flow": (
            "One sum of money three times: as invoices have it, amortised over what it was used for, and by what it was "
            "used for. The first two by kind of bill line, the third by activity and bucket. The last two add up to the "
            "same total."
        ),
        "pareto": (
            "The smallest set of groups that holds the part of the total that is named, dearest first. Up to here: part "
            "of the total that a group and all dearer ones hold. Buckets that no job took are groups of their own."
        ),
        "workloads": (
            "The same money of jobs, by step of making and using models: jobs on GPUs, and calls of paid APIs. What no "
            "job took is not in it. Cost per million tokens: money of work whose tokens are known, divided by those "
            "tokens."
        ),
        "public": (
            "Share of final training in 100 %, as above. A published share stands beside it only where it was drawn with "
            "the same boundary and in the same unit; for each of the others the reason is told."
        ),
        "releases": (
            "Money of jobs that a release names or descends from, by what they were to it. A job of several releases is "
            "cut by their weights. What no release claims is not in it."
        ),
        "stage": f"Money of jobs by stage of the pipeline. {COST}",
        "team": f"Money of jobs by the team or account they ran under. {COST}",
        "cluster": f"Money of jobs by cluster. {COST}",
        "service": (
            "Money that no node and no job took, by the service that the bill names: storage, network, support, taxes, credits."
        ),
        "lost": "Money of jobs by how they ended, and its part of all that the activity cost.",
        "jobs": f"The jobs with the highest cost. {COST}",
        "closings": (
            "Each bill against what was attributed of it: the difference is 0, to the last digit, or nothing is published."
        ),
        "bridge": "Which lines of the bill make the amortised total, and which the invoiced one, by invoice and kind.",
        "invoices": "What an invoice states, against the sum of the bill's lines on it.",
        "checks": "What the provider's own summary states, against the bill.",
        "estimates": "Node hours that had an estimate and later a bill: (bill - estimate) / estimate.",
        "findings": "What was noticed in the records and is shown, so that nobody has to find it again.",
        "candidates": "Work that looks like a final run and that no release has claimed: it stands in the upper bound.",
        "coverage": "What sources did not show of the period.",
    }
)


def walk_back(b: Breakdown, section: str) -> str:
    """The command that leads from the figures of a section to what is under them."""
    if section == "since-revision":
        return f"rdspend diff {b.period}"
    if section.startswith("pareto-"):
        return f"rdspend top {b.period} --by {section.removeprefix('pareto-').replace('-', ',')}"
    if section in ("closings", "bridge", "invoices", "checks", "flow"):
        return f"rdspend closing --period {b.period}{_currency(b)}"
    return f"rdspend report --period {b.period} --format json{_currency(b)}"


def explain(b: Breakdown, target: str) -> str:
    """The command that explains one row; empty where the name can't be typed."""
    if visible(target) != target:
        return ""
    return f"rdspend explain --period {b.period}{_currency(b)} {shlex.quote(target)}"


def _currency(b: Breakdown) -> str:
    return f" --currency {b.currency}"
