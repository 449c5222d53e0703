"""by_queue: jobs of one queue have one activity.

[taggers.by_queue]
queue = "serving"
activity = "inference"
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from rdspend.border import literal


@dataclass(frozen=True)
class ByQueue:
    queue: str
    activity: str

    def tag(self, jobs: Any) -> Any:
        return jobs.query(
            "jobs",
            f"SELECT job_key, {literal(self.activity)} AS activity, NULL AS stage, 0.5 AS confidence, "
            f"'queue ' || queue AS evidence, '1' AS version FROM jobs WHERE queue = {literal(self.queue)}",
        )
