"""Says what jobs were to the releases that they belong to: final training is what a published model descends from.

Reads       the claims of the releases in the ledger, which rdspend works out from what releases name, from tracked runs and
            from the checkpoints and datasets that jobs wrote and read (docs/releases.md). Releases come from collectors such as
            `release` (TOML files), `mlflow` and `wandb`
Needs       no permission and no file
Can't see   training that no release has claimed yet: it gives no answer, and other taggers say what they see in it

A job of several releases is of all of them: its role is the strongest that one of them gives it (`run` before all others,
`superseded` last). Confidence is 1 for jobs that a release names itself, less for those that were found from files that they
read. Registering a release asks this tagger again, for past months too: `rdspend release update`.

    [taggers.lineage]
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from rdspend.border import literal
from rdspend.schema import ROLES

STRENGTH = (
    *("run", "rollout", "data", "distillation", "training_evaluation", "evaluation", "lost"),
    *("sweep", "failed", "sibling", "exploration", "superseded"),
)
"""Roles, the strongest first: what a job is where releases differ."""

EARLIEST, LATEST = "TIMESTAMPTZ '-infinity'", "TIMESTAMPTZ 'infinity'"

# All times between two borders of claims of a job are alike: one row for each, then neighbours that say the same are one again.
# Jobs that are claimed as a whole have one span and need none of it.
ANSWERS = f"""
WITH said AS (
    SELECT *, coalesce(segment_start, {EARLIEST}) AS s, coalesce(segment_end, {LATEST}) AS e, {{strength}} AS strength
    FROM claim SEMI JOIN tagged USING (job_key)
),
cut AS (SELECT DISTINCT job_key FROM said WHERE segment_start IS NOT NULL OR segment_end IS NOT NULL),
border AS (
    SELECT job_key, s AS b FROM said SEMI JOIN cut USING (job_key)
    UNION SELECT job_key, e FROM said SEMI JOIN cut USING (job_key)
),
span AS (
    SELECT job_key, b AS s, lead(b) OVER (PARTITION BY job_key ORDER BY b) AS e FROM border
),
part AS (
    SELECT span.job_key, span.s, span.e, release, role, activity, stage, confidence, evidence, strength
    FROM span JOIN said ON said.job_key = span.job_key AND said.s <= span.s AND said.e >= span.e
    UNION ALL
    SELECT job_key, s, e, release, role, activity, stage, confidence, evidence, strength
    FROM said ANTI JOIN cut USING (job_key)
),
held AS (
    SELECT job_key, s, e, arg_min(role, (strength, release)) AS role, arg_min(activity, (strength, release)) AS activity,
        arg_min(stage, (strength, release)) FILTER (stage IS NOT NULL) AS stage,
        arg_min(confidence, (strength, release)) AS confidence,
        string_agg(DISTINCT release, ',' ORDER BY release) AS release,
        string_agg(DISTINCT evidence, '; ' ORDER BY evidence) AS evidence
    FROM part GROUP BY job_key, s, e
),
beside AS (
    SELECT *, lag(e) OVER same IS DISTINCT FROM s AS fresh FROM held
    WINDOW same AS (PARTITION BY job_key, role, activity, stage, confidence, release, evidence ORDER BY s)
),
whole AS (
    SELECT *, sum(CAST(fresh AS INTEGER)) OVER (
        PARTITION BY job_key, role, activity, stage, confidence, release, evidence ORDER BY s
    ) AS island FROM beside
)
SELECT job_key, activity, stage, role, release, nullif(min(s), {EARLIEST}) AS segment_start,
    nullif(max(e), {LATEST}) AS segment_end, confidence, evidence,
    left(md5(concat_ws('|', role, activity, stage, release, confidence, evidence)), 12) AS version
FROM whole GROUP BY job_key, role, activity, stage, release, confidence, evidence, island
"""


@dataclass(frozen=True)
class Lineage:
    """Answers for the jobs that a release claims. It has nothing to configure."""

    of_releases: ClassVar[bool] = True

    def tag(self, jobs: Any) -> Any:
        """One answer a job, or one for each of its segments that claims hold for."""
        assert set(STRENGTH) == set(ROLES)
        strength = "CASE role " + " ".join(f"WHEN {literal(role)} THEN {n}" for n, role in enumerate(STRENGTH)) + " END"
        return jobs.project("job_key").query("tagged", ANSWERS.format(strength=strength))
