"""FOCUS by version: the columns of its Cost and Usage dataset, one data file a version in `focus_versions/`.

The names of our own columns of charges are FOCUS's in snake_case; `focus_name` spells them back.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from pathlib import Path

FOLDER = Path(__file__).with_name("focus_versions")

VERSIONS: Mapping[str, tuple[str, ...]] = {
    tree["version"]: tuple(tree["columns"])
    for tree in (tomllib.loads(path.read_text(encoding="utf-8")) for path in sorted(FOLDER.glob("*.toml")))
}


def focus_name(column: str) -> str:
    """The FOCUS name of a column of charges: `billed_cost_nanos` is BilledCost."""
    return "".join(part.capitalize() for part in column.removesuffix("_nanos").split("_"))
