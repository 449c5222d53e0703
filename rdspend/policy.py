"""Policies: named, written boundaries, each a small data file in `rdspend/policies/`."""

from __future__ import annotations

import tomllib
from importlib import resources

from rdspend.errors import ConfigError
from rdspend.schema import ACTIVITIES, BUCKETS, Policy


def available() -> tuple[str, ...]:
    folder = resources.files("rdspend") / "policies"
    return tuple(sorted(f.name.removesuffix(".toml") for f in folder.iterdir() if f.name.endswith(".toml")))


def load_policy(name: str) -> Policy:
    """A policy that ships with rdspend. Raises ConfigError for a name that isn't one."""
    if name not in available():
        raise ConfigError(f"policy: found {name!r}; expected one of {', '.join(available())}")
    tree = tomllib.loads((resources.files("rdspend") / "policies" / f"{name}.toml").read_text(encoding="utf-8"))
    policy = Policy(**{**tree, "denominator": tuple(tree["denominator"])})
    unknown = set(policy.denominator) - set(ACTIVITIES) - set(BUCKETS)
    if unknown:
        raise ConfigError(f"policy {name!r}: denominator names {sorted(unknown)}; expected activities and buckets")
    return policy
