"""Published shares of final training, and which of them mean the same as a breakdown's.

Never a league table of unlike things: a figure stands beside a breakdown only where both were drawn by one boundary and in one
unit. For every other the reason is said.
"""

from __future__ import annotations

import functools
import tomllib
from dataclasses import replace
from decimal import Decimal
from importlib import resources
from typing import Any

from rdspend.policy import counts_as, load_policy
from rdspend.schema import Policy, PublicFigure

UNITS = {"money": "money", "gpu_hours": "GPU-hours", "energy": "energy"}


@functools.cache
def _data() -> tuple[tuple[PublicFigure, str, str, str], ...]:
    """Every figure with its boundary, unit, and what else sets it apart."""
    text = (resources.files("rdspend") / "public_figures.toml").read_text(encoding="utf-8")
    return tuple(_figure(each) for each in tomllib.loads(text, parse_float=Decimal)["figure"])


def _figure(said: dict[str, Any]) -> tuple[PublicFigure, str, str, str]:
    apart = said.pop("not_alike", "")
    boundary, unit = said.pop("boundary"), said.pop("unit")
    return PublicFigure(**{"share_low": None, "share_high": None, **said}), boundary, unit, apart


def beside(policy: Policy) -> tuple[PublicFigure, ...]:
    """Every known figure, those that mean the same as a share under this policy first."""
    boundaries = {boundary for _, boundary, *_ in _data()}
    own = policy.name in boundaries and _drawn(policy) != _drawn(load_policy(policy.name))
    found = [
        replace(figure, left_out=_difference(policy, own, boundary, unit, apart)) for figure, boundary, unit, apart in _data()
    ]
    return tuple(sorted(found, key=lambda figure: bool(figure.left_out)))


def _drawn(policy: Policy) -> tuple[object, ...]:
    """All that decides about a share."""
    return set(policy.denominator), policy.unit, policy.idle, policy.shared, counts_as(policy)


def _difference(policy: Policy, own: bool, boundary: str, unit: str, apart: str) -> str:
    """own: the policy is one of the organisation's own that has the name of another."""
    reasons = []
    if own and boundary == policy.name:
        reasons.append(f"drawn as by the policy {boundary!r} that ships with rdspend, not as by your own of that name")
    if boundary != policy.name:
        drawn = f"drawn as by the policy {boundary!r}" if boundary else "drawn as by none of the policies"
        reasons.append(f"{drawn}, not {policy.name!r}")
    if unit != policy.unit:
        reasons.append(f"a share of {UNITS[unit]}, not of {UNITS[policy.unit]}")
    if apart:
        reasons.append(apart)
    return "; ".join(reasons)
