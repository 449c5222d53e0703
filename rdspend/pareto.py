"""Where most of the spend goes: the smallest set of groups, by any grouping, that holds a given part of it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from decimal import ROUND_HALF_EVEN, Decimal
from typing import Final

from rdspend.border import identifier
from rdspend.closing import money
from rdspend.engine import Engine
from rdspend.errors import ConfigError
from rdspend.schema import GPU_PARTS, SECONDS_PER_HOUR, Pareto, ParetoRow

GROUPINGS: Final = ("activity", "stage", "team", "project", "user", "family", "cluster")
PART: Final = Decimal("0.8")
SHOWN: Final = (("activity",), ("team",), ("project",), ("user",), ("family",), ("activity", "team"))
"""The groupings of a report."""

ROWS: Final = 20
SHARE: Final = Decimal("0.000001")
MILLION: Final = 1_000_000


def gather(engine: Engine) -> None:
    """Table `pareto_part`. Wants `job_money`, `cell`, and the views `jobs` and `families`."""
    engine.run("pareto_part")


def find(engine: Engine, by: Sequence[str], part: Decimal = PART, limit: int = ROWS) -> Pareto:
    """The dearest groups that hold `part` of the total, at most `limit` of them. Wants `gather`.

    Raises ConfigError for a grouping that is none, or twice the same.
    """
    wrong = [name for name in by if name not in GROUPINGS]
    if wrong or not by or len(set(by)) < len(by):
        raise ConfigError(
            f"grouping: found {', '.join(by) or 'none'}; expected one or more of {', '.join(GROUPINGS)}, each once"
        )
    if not part.is_finite() or not 0 < part <= 1:
        raise ConfigError(f"share: found {part}; expected more than 0, at most 1")
    keys = ", ".join(identifier(name) for name in by)
    found = engine.read("pareto", {"ppm": math.ceil(part * MILLION), "limit": limit}, keys=keys)
    if not found:
        return Pareto(tuple(by), part, 0, 0, ())
    total = int(found[0][5])
    rows = tuple(
        ParetoRow(
            tuple(names),
            money(int(effective)),
            (Decimal(int(parts)) / (GPU_PARTS * SECONDS_PER_HOUR)).quantize(SHARE, ROUND_HALF_EVEN),
            int(jobs),
            (Decimal(int(upto)) / total).quantize(SHARE, ROUND_HALF_EVEN),
        )
        for names, effective, parts, jobs, upto, *_ in found
    )
    return Pareto(tuple(by), part, int(found[0][6]), int(found[0][7]), rows)


def found_for_report(engine: Engine) -> tuple[Pareto, ...]:
    """The groupings of a report, each with its largest groups."""
    gather(engine)
    return tuple(find(engine, by) for by in SHOWN)
