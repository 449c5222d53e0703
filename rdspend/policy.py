"""Policies: named, written boundaries, each a small data file: those in `rdspend/policies/`, and an organisation's own.

A policy says what each role that a job had in a release, and each activity that no release claims, counts as; what 100 % is, in
money or GPU-hours; and who bears idle and shared money. The same tags under another policy are another split: nothing is tagged
or attributed again.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from importlib import resources
from pathlib import Path
from typing import Any, Final

import msgspec

from rdspend.border import literal
from rdspend.config import Config, refuse_unknown
from rdspend.errors import ConfigError
from rdspend.schema import ACTIVITIES, BUCKETS, NAME, ROLES, Case, Policy

DEFAULTS: Final = {
    "run": "final_training",
    "lost": "exploration",
    "failed": "exploration",
    "sweep": "exploration",
    "sibling": "exploration",
    "distillation": "data_generation",
    "rollout": "final_training",
    "data": "data_generation",
    "training_evaluation": "evaluation",
    "evaluation": "evaluation",
    "exploration": "exploration",
    "superseded": "exploration",
    **{activity: activity for activity in ACTIVITIES},
}
"""What a case counts as where a policy does not say: what it is under `epoch`."""

UNCLAIMED: Final[Mapping[str, str]] = {
    activity: f"{activity.replace('_', ' ')} that no release claims" for activity in ACTIVITIES
}
"""What a case is in words, where it is an activity."""

UNITS: Final[Mapping[str, str]] = {"money": "money", "gpu_hours": "GPU-hours"}
"""What shares may be of, and how that is written."""

TREATMENTS: Final = ("shown", "spread")
"""Who bears idle and shared money: nobody, it is shown apart; or the jobs, by their cost."""


def available(folder: Path | None = None) -> tuple[str, ...]:
    """Names of the policies that ship with rdspend and of those in a folder. Raises ConfigError where that is none."""
    if folder is not None and not folder.is_dir():
        raise ConfigError(f"policies: {str(folder)!r} is no folder; make it, or correct `policies` in the configuration")
    shipped = (f.name for f in (resources.files("rdspend") / "policies").iterdir())
    own = (f.name for f in folder.iterdir()) if folder is not None else ()
    return tuple(sorted({name.removesuffix(".toml") for name in (*shipped, *own) if name.endswith(".toml")}))


def load_policy(name: str, folder: Path | None = None) -> Policy:
    """A policy by name; one of the organisation's own of that name comes first. Raises ConfigError."""
    if not NAME.fullmatch(name):
        raise ConfigError(
            f"policy: found {name!r}; expected a name of letters, digits, '_', '.' and '-', and its file called so"
        )
    if name not in available(folder):
        raise ConfigError(f"policy: found {name!r}; expected one of {', '.join(available(folder))}")
    own = folder / f"{name}.toml" if folder is not None else None
    if own is not None and own.is_file():
        return _read(str(own), own.read_bytes(), name)
    shipped = resources.files("rdspend") / "policies" / f"{name}.toml"
    return _read(f"policy {name!r}", shipped.read_bytes(), name)


def chosen(config: Config) -> Policy:
    """The policy that a configuration asks for."""
    return load_policy(config.policy, config.policies)


def _read(where: str, raw: bytes, name: str) -> Policy:
    try:
        tree: dict[str, Any] = tomllib.loads(raw.decode("utf-8"))
    except (UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise ConfigError(f"{where}: {error}") from None
    refuse_unknown(tree, list(Policy.__dataclass_fields__), f"{where}: ")
    cases = tree.get("cases", [])
    if not isinstance(cases, list) or not all(isinstance(case, dict) for case in cases):
        raise ConfigError(f"{where}: cases: expected tables [[cases]]")
    for case in cases:
        refuse_unknown(case, list(Case.__dataclass_fields__), f"{where}: case {case.get('case', '')!r}: ")
    try:
        policy = msgspec.convert(tree, Policy)
    except msgspec.ValidationError as error:
        raise ConfigError(f"{where}: {error}") from None
    if policy.name != name:
        raise ConfigError(f"{where}: name: found {policy.name!r}; expected that of the file, {name!r}")
    for key, found, known in (
        ("unit", policy.unit, UNITS),
        ("idle", policy.idle, TREATMENTS),
        ("shared", policy.shared, TREATMENTS),
    ):
        if found not in known:
            raise ConfigError(f"{where}: {key}: found {found!r}; expected {' or '.join(known)}")
    _refuse_denominator(policy, where)
    _refuse_cases(policy, where)
    return policy


def _refuse_denominator(policy: Policy, where: str) -> None:
    wrong = sorted(set(policy.denominator) - set(ACTIVITIES) - set(BUCKETS))
    if wrong:
        raise ConfigError(f"{where}: denominator names {wrong}; expected activities and buckets")
    if not policy.denominator:
        raise ConfigError(f"{where}: denominator: found none; expected what 100 % is, such as {list(ACTIVITIES[:4])}")
    if len(set(policy.denominator)) < len(policy.denominator):
        raise ConfigError(f"{where}: denominator names something twice, which would count twice: {list(policy.denominator)}")


def _refuse_cases(policy: Policy, where: str) -> None:
    seen: set[str] = set()
    for case in policy.cases:
        if case.case not in DEFAULTS:
            raise ConfigError(f"{where}: case {case.case!r}; expected one of {', '.join(DEFAULTS)}")
        if case.category not in ACTIVITIES:
            raise ConfigError(
                f"{where}: case {case.case!r}: category {case.category!r}; expected one of {', '.join(ACTIVITIES)}"
            )
        if case.case in seen:
            raise ConfigError(f"{where}: case {case.case!r} is there twice")
        seen.add(case.case)


def sentences(policy: Policy) -> tuple[Case, ...]:
    """All cases, in one order; those that the policy does not name with what they count as, and no words."""
    said = {case.case: case for case in policy.cases}
    return tuple(said.get(case, Case(case, category)) for case, category in DEFAULTS.items())


def described(case: str) -> str:
    """What a case is, in words."""
    if case in ("evaluation", "exploration"):
        return UNCLAIMED[case].replace("that no release claims", "of a release, or that no release claims")
    return ROLES.get(case) or UNCLAIMED.get(case) or case


def counts_as(policy: Policy) -> dict[str, str]:
    """Each case and the activity that the policy counts it as."""
    return DEFAULTS | {case.case: case.category for case in policy.cases}


def category(policy: Policy) -> str:
    """SQL of the category of a row with the columns `activity` and `role`; '' is no role."""
    says = counts_as(policy)
    by_role = " ".join(f"WHEN {literal(role)} THEN {literal(says[role])}" for role in ROLES)
    by_activity = " ".join(f"WHEN {literal(activity)} THEN {literal(says[activity])}" for activity in ACTIVITIES)
    return f"CASE role {by_role} ELSE CASE activity {by_activity} ELSE 'unclassified' END END"


def case_of() -> str:
    """SQL of the case of a row with the columns `activity` and `role`: what `category` decides by."""
    roles, activities = (", ".join(map(literal, names)) for names in (ROLES, ACTIVITIES))
    return f"CASE WHEN role IN ({roles}) THEN role WHEN activity IN ({activities}) THEN activity ELSE 'unclassified' END"
