"""Says what jobs were for by a model of the words around them and their shape; abstains where it is lost.

Reads       a model: the one that comes with rdspend, or one's own by `rdspend learn`. Of a job: its name, the file it runs, its
            folders, command, script and image; queue, quality of service, account and project; GPUs, nodes, whether it is
            an array's task. Not its duration or outcome: an answer is the same while a job runs and when it has ended
Says        without an organisation's own labels the kind of work and the stage: data_generation, evaluation, inference, and
            exploration for training and interactive work. Never final_training: names and shapes of strangers cannot know
            that a run was released. A model of one's own says what its labels said
Needs       nothing: no network, no large model, no data leaves. `rdspend learn` needs scikit-learn (`rdspend[learned]`)
            Where it abstains it still tells its chances of each activity, which make the interval of a share; they are no
            answer. A job without a word to go by gets neither
Can't see   money, releases, labels, the future. A job whose words it has not met gets no answer

    [taggers.learned]
    precision = 0.95           # answers only where the model was right for so much of the money
    model = "own-model"        # written by `rdspend learn`; left out: the model that comes with rdspend
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rdspend.border import literal
from rdspend.purpose import SHIPPED, Model, judged, load
from rdspend.schema import Location


@dataclass(frozen=True)
class Learned:
    """Answers by a model where its confidence is above the threshold of `precision`."""

    model: Location | None = None
    precision: float = 0.95

    def __post_init__(self) -> None:
        if not 0.5 <= self.precision < 1:
            raise ValueError(f"precision: found {self.precision}; expected 0.5 or more, and less than 1")

    def tag(self, jobs: Any) -> Any:
        """One row for each job that the model has something to say of: an answer where it is sure enough, else chances only.

        Raises ConfigError for a model that is missing or changed.
        """
        model = load(SHIPPED if self.model is None else Path(self.model))
        limit = repr(model.threshold(self.precision))
        says = f"CASE WHEN confidence >= {limit} THEN activity END"
        at = f"CASE WHEN confidence >= {limit} AND stage_confidence >= {limit} THEN stage END"
        return (
            judged(jobs, model)
            .project(f"job_key, {says} AS activity, {at} AS stage, told AS chances, confidence, {_evidence(model)} AS evidence")
            .filter("activity IS NOT NULL OR stage IS NOT NULL OR chances IS NOT NULL")
            .project(f"*, {literal(model.version)} AS version")
        )


def _evidence(model: Model) -> str:
    """SQL of why: which model, what kind of work, and the words and shape that spoke for it."""
    name = "own model" if model.own else "shipped model"
    return f"{literal(f'{name} {model.version}: ')} || work || ', by ' || evidence"
