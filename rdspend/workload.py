"""From data to agents: what each step of making and using models cost, GPU jobs and API calls in one table."""

from __future__ import annotations

from decimal import ROUND_HALF_EVEN, Decimal
from typing import Final

from rdspend.closing import money
from rdspend.engine import Engine
from rdspend.schema import GPU_PARTS, SECONDS_PER_HOUR, WORKLOADS, Workload

MICRO: Final = Decimal("0.000001")
MILLION: Final = 1_000_000


def found(engine: Engine) -> tuple[Workload, ...]:
    """One line for each step that has jobs, in the order of the work. Wants `job_money`, the views `jobs` and `tokens`."""
    rows = {row[0]: row[1:] for row in engine.read("workload_line")}
    lines = []
    for step in WORKLOADS:
        if step not in rows:
            continue
        gpu_jobs, gpu, parts, api_jobs, api, counted, tokens, read, written = (int(value) for value in rows[step])
        hours = (Decimal(parts) / (GPU_PARTS * SECONDS_PER_HOUR)).quantize(MICRO, ROUND_HALF_EVEN)
        price = (money(counted) * MILLION / tokens).quantize(MICRO, ROUND_HALF_EVEN) if tokens else None
        lines.append(
            Workload(step, gpu_jobs, money(gpu), hours, api_jobs, money(api), money(counted), tokens, read, written, price)
        )
    return tuple(lines)
