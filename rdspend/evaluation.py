"""Tries models on labelled sets: how much of jobs, GPU-hours and money they name rightly, and how honest their doubt is.

A set that a model was made from is tried by leaving each owner out, with sharpness and confidence fitted without the owner's
fold too; any other set by the model as it ships. An answer is right when its activity is that of the kind of work: whether a
training run was final nobody can tell without releases, so for a training run `exploration` is right here.
"""

from __future__ import annotations

import html
import json
import tempfile
import tomllib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Final

import duckdb
import numpy as np
import pandas as pd

from rdspend import learning, sets
from rdspend.border import literal
from rdspend.errors import ConfigError
from rdspend.families import FAMILY
from rdspend.lab import Size, write_month
from rdspend.purpose import FIELDS, OWN_TEXT, SHAPE, TEXT, WORK, Model, judge, load
from rdspend.rehearsal import ANSWERS, Rehearsed, rehearse

MADE_FROM: Final = "headers"
GATES: Final = sets.HERE / "gates.toml"
LABS: Final = sets.HERE / "labs.toml"
MONTHS: Final = "months"
"""The gates of simulated months, which rdspend.simulated has."""
BINS: Final = 10


@dataclass(frozen=True)
class Score:
    """What a model did on one set. Shares are in [0, 1]; None: the set cannot say.

    kind_accuracy                      of the likeliest kind of work, jobs; and as mean over what is held out
    right_of_jobs, _gpu_hours, _money  of all jobs, were each answered with the likeliest activity
    coverage_of_gpu_hours, _money      what is answered at the stated precision
    right_of_gpu_hours_answered        of that
    calibration_error                  expected calibration error over ten parts of equal size
    sure_and_wrong_jobs                answered, and wrong
    labels_needed_95, _99              families to ask a person about, largest first, until so much money is right
    right_after_N_answers              of all GPU-hours, final training included, after N answers of the review queue, by a
                                       reviewer who never errs; _erring: mean of several who err one time in twenty, and _worst
                                       the one who fared worst; answered_after_N: what is then 0.9 sure, and right of it
    f1                                 of each kind of work
    baselines                          right_of_jobs and right_of_gpu_hours of three simple rules
    """

    name: str
    title: str
    jobs: int
    held_out: int
    kind_accuracy: float
    kind_accuracy_mean_over_held_out: float
    right_of_jobs: float
    right_of_gpu_hours: float
    right_of_money: float
    coverage_of_jobs: float
    coverage_of_gpu_hours: float
    coverage_of_money: float
    right_of_jobs_answered: float | None
    right_of_gpu_hours_answered: float | None
    right_of_money_answered: float | None
    calibration_error: float
    sure_and_wrong_jobs: int
    stage_accuracy: float | None
    labels_needed_95: int | None
    labels_needed_99: int | None
    families: int
    right_after_0_answers: float | None = None
    right_after_5_answers: float | None = None
    right_after_10_answers: float | None = None
    right_after_20_answers: float | None = None
    right_after_10_answers_erring: float | None = None
    right_after_20_answers_erring: float | None = None
    right_after_20_answers_worst: float | None = None
    coverage_after_10_answers: float | None = None
    right_of_answered_after_10_answers: float | None = None
    calibration_error_after_10_answers: float | None = None
    f1: Mapping[str, float] = field(default_factory=dict)
    baselines: Mapping[str, Mapping[str, float]] = field(default_factory=dict)


@dataclass(frozen=True)
class Missed:
    """A gate that a score does not reach."""

    name: str
    metric: str
    found: float | None
    bound: str

    def __str__(self) -> str:
        return f"{self.name}: {self.metric} is {_shown(self.found)}, the gate is {self.bound}"


# --- scoring ----------------------------------------------------------------------------------------------------------


def evaluate(
    folders: Sequence[Path] = (),
    model: Model | None = None,
    precision: float = 0.95,
    say: Callable[[str], object] = lambda _: None,
) -> list[Score]:
    """Scores of a model on sets; on all that are part of rdspend and the organisations of the lab when none is named."""
    chosen = model or load()
    scores = []
    for folder in folders or sets.shipped():
        say(f"set {folder.name}")
        scores.append(score(sets.read(folder), chosen, precision))
    if not folders:
        with organisations(say) as labs:
            scores += [score(sets.read(folder), chosen, precision) for folder in labs]
    return scores


def score(labelled: sets.Labelled, model: Model, precision: float) -> Score:
    """What a model does on one set."""
    text = OWN_TEXT if model.own else TEXT
    rows = labelled.jobs.project(
        f"job_key, {text} AS said, {SHAPE} AS shape, {FAMILY} AS family, gpu_hours, cost, gpu_parts"
    ).df()
    truth = pd.DataFrame.from_dict(
        labelled.labels, orient="index", columns=["work_true", "activity_true", "stage_true", "held"]
    )
    frame = rows.merge(truth, left_on="job_key", right_index=True).sort_values("job_key", kind="stable").reset_index(drop=True)
    frame = frame[frame.work_true.notna()].reset_index(drop=True)
    texts = list(zip(frame.said, frame["shape"], strict=True))
    names_only = [(FIELDS_AFTER_NAME.join([said.split("\x1f")[0], ""]), "") for said, _ in texts]
    if labelled.name == MADE_FROM and not model.own:
        answers = learning.cross_fitted(texts, frame.work_true, frame.stage_true, frame.held, precision)
        by_name = learning.cross_fitted(names_only, frame.work_true, frame.stage_true, frame.held, precision)
    else:
        answers, by_name = (_judged(each, model, precision) for each in (texts, names_only))
    scored = _score(labelled, pd.concat([frame, answers], axis=1), by_name)
    reviewed = rehearse(labelled, model)
    return scored if reviewed is None else replace(scored, **_reviewed(*reviewed))


def _reviewed(sure: Rehearsed, erring: Sequence[Rehearsed]) -> dict[str, Any]:
    """What came of the review queue, by the names of a score."""
    at = {number: place for place, number in enumerate(ANSWERS)}
    return {
        **{f"right_after_{number}_answers": sure.right[place] for number, place in at.items()},
        **{f"right_after_{n}_answers_erring": round(float(np.mean([e.right[at[n]] for e in erring])), 4) for n in (10, 20)},
        "right_after_20_answers_worst": min(each.right[at[20]] for each in erring),
        "coverage_after_10_answers": sure.answered[at[10]],
        "right_of_answered_after_10_answers": sure.right_answered[at[10]],
        "calibration_error_after_10_answers": sure.calibration_error[at[10]],
    }


FIELDS_AFTER_NAME: Final = "\x1f" * (len(FIELDS) - 1)


def _judged(texts: list[tuple[str, str]], model: Model, precision: float) -> pd.DataFrame:
    said = judge(texts, model)
    return said.assign(answered=(said.confidence >= model.threshold(precision)) & said.activity.notna())


def _score(labelled: sets.Labelled, all_: pd.DataFrame, by_name: pd.DataFrame) -> Score:
    meant = all_.work_true.map(WORK)
    right = _same(all_.activity, meant)
    kind_right = all_.work == all_.work_true
    hours, cost, answered = all_.gpu_hours, all_.cost, all_.answered
    hit = right & answered
    stages = all_.stage_true.notna()
    needed = [_labels_needed(all_.family.fillna(""), meant.fillna(""), right, cost, share) for share in (0.95, 0.99)]
    gpus = (all_.gpu_parts.fillna(0) / 20160).to_numpy()
    by_gpus = pd.Series(np.where(gpus >= 8, "training", np.where(gpus >= 1, "evaluation", "data")))
    simple = {
        "majority": _same(pd.Series(WORK[all_.work_true.mode()[0]], index=all_.index), meant),
        "GPU count": _same(by_gpus.map(WORK), meant),
        "names only": _same(by_name.activity, meant),
    }
    return Score(
        name=labelled.name,
        title=labelled.title,
        jobs=len(all_),
        held_out=all_.held.nunique(),
        kind_accuracy=_part(kind_right),
        kind_accuracy_mean_over_held_out=round(float(kind_right.groupby(all_.held).mean().mean()), 4),
        right_of_jobs=_part(right),
        right_of_gpu_hours=_part(right, hours),
        right_of_money=_part(right, cost),
        coverage_of_jobs=_part(answered),
        coverage_of_gpu_hours=_part(answered, hours),
        coverage_of_money=_part(answered, cost),
        right_of_jobs_answered=_part(hit[answered]) if answered.any() else None,
        right_of_gpu_hours_answered=_part(hit[answered], hours[answered]) if answered.any() else None,
        right_of_money_answered=_part(hit[answered], cost[answered]) if answered.any() else None,
        calibration_error=_calibration_error(all_.confidence.to_numpy(float), right.to_numpy()),
        sure_and_wrong_jobs=int((answered & ~right).sum()),
        stage_accuracy=_part((all_.stage == all_.stage_true)[stages]) if stages.any() else None,
        labels_needed_95=needed[0],
        labels_needed_99=needed[1],
        families=all_.family.fillna("").nunique(),
        f1={kind: _f1(all_.work == kind, all_.work_true == kind) for kind in WORK if (all_.work_true == kind).any()},
        baselines={name: {"right_of_jobs": _part(r), "right_of_gpu_hours": _part(r, hours)} for name, r in simple.items()},
    )


def _same(one: pd.Series, other: pd.Series) -> pd.Series:
    return one.fillna("") == other.fillna("")


def _part(which: pd.Series, weights: pd.Series | None = None) -> float:
    if weights is None:
        return round(float(which.mean()), 4)
    return round(float(weights[which].sum() / max(weights.sum(), 1e-12)), 4)


def _f1(said: pd.Series, true: pd.Series) -> float:
    return round(float(2 * (said & true).sum() / max(1, said.sum() + true.sum())), 4)


def _calibration_error(confidence: Any, right: Any) -> float:
    order = np.argsort(confidence, kind="stable")
    parts = [part for part in np.array_split(order, BINS) if len(part)]
    return round(float(sum(abs(confidence[p].mean() - right[p].mean()) * len(p) for p in parts) / len(order)), 4)


def _labels_needed(family: pd.Series, meant: pd.Series, right: pd.Series, cost: pd.Series, share: float) -> int | None:
    """Families that a person has to name, those first whose answer sets most money right; the rest is the model's.

    None: families of mixed purpose hold too much for that.
    """
    whole = cost.groupby([family, meant]).sum().groupby(level=0).max()
    gain = (whole - cost[right].groupby(family[right]).sum().reindex(whole.index, fill_value=0.0)).sort_values(ascending=False)
    reached = float(cost[right].sum()) + np.concatenate([[0.0], np.cumsum(gain.clip(lower=0).to_numpy())])
    enough = np.flatnonzero(reached >= share * cost.sum())
    return int(enough[0]) if len(enough) else None


# --- the lab's organisations ------------------------------------------------------------------------------------------


@contextmanager
def organisations(say: Callable[[str], object] = lambda _: None, seeds: Sequence[int] | None = None) -> Iterator[list[Path]]:
    """The made-up organisations as folders of sets, for as long as they are looked at."""
    said = tomllib.loads(LABS.read_text(encoding="utf-8"))
    with tempfile.TemporaryDirectory(prefix="rdspend-eval-") as root:
        folders = []
        for habits in said["habits"]:
            for seed in seeds or said["seeds"]:
                folder = Path(root) / f"lab-{habits.removeprefix('habits_').replace('habits', 'quartz')}-{seed}"
                say(f"set {folder.name}")
                size = Size(month=said["month"], jobs=said["jobs"], nodes=said["nodes"], seed=seed, habits=habits)
                write_month(folder / "month", size)
                _as_set(folder)
                folders.append(folder)
        yield folders


def _as_set(folder: Path) -> None:
    month = folder / "month"
    (folder / "set.toml").write_text(
        'title = "A made-up organisation of the lab"\ntruth = "what the generator meant"\nhold_out = "user"\n', encoding="utf-8"
    )
    kind = (
        "CASE activity WHEN 'data_generation' THEN 'data' WHEN 'evaluation' THEN 'evaluation' WHEN 'inference' THEN 'serving'"
        " ELSE CASE stage WHEN 'other' THEN 'interactive' ELSE 'training' END END"
    )

    def plain(column: str) -> str:
        return f"replace(replace({column}, '/synthetic', ''), 'syn-u', 'u')"

    with duckdb.connect() as connection:
        connection.execute("SET TimeZone = 'UTC'")
        connection.execute(
            f"CREATE TABLE run AS SELECT *, job_id || '/' || submit_time AS run_id FROM"
            f" read_csv({literal(str(month / 'jobs.csv'))}, all_varchar = true, header = true, nullstr = '')"
        )
        for name, query in {
            "jobs": f"SELECT run_id AS job_id, {plain('user')} AS user, {plain('name')} AS name, {plain('command')} AS command,"
            f" {plain('work_dir')} AS work_dir, queue, gpus, len(string_split(nodes, ',')) AS nodes,"
            " contains(job_id, '_') AS is_array,"
            " round(CAST(gpus AS DOUBLE) * greatest(0,"
            " epoch(coalesce(CAST(end_time AS TIMESTAMPTZ), CAST(submit_time AS TIMESTAMPTZ)) - coalesce("
            "CAST(start_time AS TIMESTAMPTZ), CAST(end_time AS TIMESTAMPTZ), CAST(submit_time AS TIMESTAMPTZ))))"
            " / 3600, 6) AS gpu_hours FROM run ORDER BY run_id",
            "labels": f"SELECT run_id AS job_id, {kind} AS work, activity, stage FROM run JOIN read_csv("
            f"{literal(str(month / 'truth.csv'))}, all_varchar = true, header = true) USING (job_id) ORDER BY run_id",
        }.items():
            connection.execute(f"COPY ({query}) TO {literal(str(folder / f'{name}.csv'))} (FORMAT csv, HEADER)")


# --- gates, comparison, report ----------------------------------------------------------------------------------------


def gates(scores: Sequence[Score], file: Path = GATES) -> list[Missed]:
    """The gates that are not reached. A set without scores is passed over; an unknown metric is a ConfigError."""
    try:
        wanted = tomllib.loads(file.read_text(encoding="utf-8"))
    except (OSError, tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{file}: can't be read: {error}") from None
    missed = []
    wanted.pop(MONTHS, None)
    for name, metrics in wanted.items():
        of = [s for s in scores if s.name == name or (name == "labs" and s.name.startswith("lab-"))]
        for metric, bounds in metrics.items():
            if metric not in Score.__dataclass_fields__ or not isinstance(bounds, dict) or not set(bounds) <= {"least", "most"}:
                raise ConfigError(
                    f"{file}: {name}.{metric}: expected a metric of a score, with least or most; found {bounds!r}"
                )
            values = [getattr(s, metric) for s in of if getattr(s, metric) is not None]
            if not of:
                continue
            found = sum(values) / len(values) if values else None
            for word, bound in bounds.items():
                if found is None or (found < bound if word == "least" else found > bound):
                    missed.append(Missed(name, metric, found, f"at {word} {bound}"))
    return missed


COLUMNS: Final = {
    "set": "name",
    "jobs": "jobs",
    "kind right": "kind_accuracy",
    "mean over held out": "kind_accuracy_mean_over_held_out",
    "GPU-hours right": "right_of_gpu_hours",
    "answered": "coverage_of_gpu_hours",
    "of it right": "right_of_gpu_hours_answered",
    "sure, wrong": "sure_and_wrong_jobs",
    "calibration error": "calibration_error",
    "families": "families",
    "answers to 95 %": "labels_needed_95",
    "to 99 %": "labels_needed_99",
}


def rows(scores: Sequence[Score], before: Sequence[Mapping[str, Any]] = ()) -> list[list[str]]:
    """The table of scores, a head first; with what changed since another version in brackets."""
    old = {each["name"]: each for each in before}
    out = [list(COLUMNS)]
    for each in scores:
        cells = []
        for key in COLUMNS.values():
            value, was = getattr(each, key), old.get(each.name, {}).get(key)
            moved = isinstance(value, int | float) and isinstance(was, int | float) and value != was
            cells.append(_shown(value) + (f" ({value - was:+.3g})" if moved else ""))
        out.append(cells)
    return out


def baseline_rows(scores: Sequence[Score]) -> list[list[str]]:
    out = [["set", "model", "majority", "GPU count", "names only"]]
    for each in scores:
        simple = [_shown(each.baselines[name]["right_of_gpu_hours"]) for name in out[0][2:]]
        out.append([each.name, _shown(each.right_of_gpu_hours), *simple])
    return out


ABOUT_REVIEWS: Final = "GPU-hours right after answers of the review queue, by who never errs and by some who err one time in 20"

REVIEWED: Final = {
    "set": "name",
    "0 answers": "right_after_0_answers",
    "5": "right_after_5_answers",
    "10": "right_after_10_answers",
    "20": "right_after_20_answers",
    "10, erring": "right_after_10_answers_erring",
    "20, erring": "right_after_20_answers_erring",
    "worst": "right_after_20_answers_worst",
    "0.9 sure after 10": "coverage_after_10_answers",
    "of it right": "right_of_answered_after_10_answers",
    "calibration error": "calibration_error_after_10_answers",
}


def reviewed_rows(scores: Sequence[Score]) -> list[list[str]]:
    """The table of the review queue, of the sets that say what every job was for."""
    those = [each for each in scores if each.right_after_0_answers is not None]
    return [list(REVIEWED), *([_shown(getattr(each, key)) for key in REVIEWED.values()] for each in those)]


def _shown(value: Any) -> str:
    if value is None:
        return "-"
    return f"{value:.3f}" if isinstance(value, float) else str(value)


def markdown(scores: Sequence[Score], before: Sequence[Mapping[str, Any]] = (), missed: Sequence[Missed | str] = ()) -> str:
    def table(cells: list[list[str]]) -> str:
        head, *body = ["| " + " | ".join(line) + " |" for line in cells]
        return "\n".join([head, "|" + "---|" * len(cells[0]), *body])

    parts = ["# Evaluation", table(rows(scores, before)), "GPU-hours right, beside simple rules:", table(baseline_rows(scores))]
    parts += [f"{ABOUT_REVIEWS}:", table(reviewed_rows(scores))]
    return "\n\n".join([*parts, *map(_note, missed)]) + "\n"


def page(scores: Sequence[Score], before: Sequence[Mapping[str, Any]] = (), missed: Sequence[Missed | str] = ()) -> str:
    """The same as one HTML page without scripts."""

    def table(cells: list[list[str]]) -> str:
        head, *body = [[html.escape(cell) for cell in line] for line in cells]
        lines = "".join("<tr>" + "".join(f"<td>{cell}</td>" for cell in line) + "</tr>" for line in body)
        return f"<table><thead><tr>{''.join(f'<th>{cell}</th>' for cell in head)}</tr></thead><tbody>{lines}</tbody></table>"

    style = "body{font:15px sans-serif;margin:2em}td,th{padding:.2em .8em;text-align:right}:first-child{text-align:left}"
    gone = "".join(f"<p>{html.escape(_note(each))}</p>" for each in missed)
    return (
        f'<!doctype html><html lang="en"><meta charset="utf-8"><title>Evaluation</title><style>{style}</style>'
        f"<h1>Evaluation</h1>{table(rows(scores, before))}<h2>GPU-hours right, beside simple rules</h2>"
        f"{table(baseline_rows(scores))}<h2>{ABOUT_REVIEWS}</h2>{table(reviewed_rows(scores))}{gone}</html>\n"
    )


def _note(said: Missed | str) -> str:
    return f"Missed: {said}" if isinstance(said, Missed) else said


def as_json(scores: Sequence[Score], model: Model, notes: Sequence[str] = ()) -> str:
    whole = {"model": model.version, "scores": [asdict(each) for each in scores], "notes": list(notes)}
    return json.dumps(whole, indent=1) + "\n"


def read_scores(file: Path) -> list[dict[str, Any]]:
    """Scores of a former run, as `as_json` wrote them."""
    try:
        said = json.loads(file.read_text(encoding="utf-8"))
        return [dict(each) for each in said["scores"]]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ConfigError(f"{file}: not the scores of `rdspend eval --form json`: {error}") from None


def told(
    scores: Sequence[Score],
    model: Model,
    form: str,
    before: Sequence[Mapping[str, Any]] = (),
    missed: Sequence[Missed] = (),
    notes: Sequence[str] = (),
) -> str:
    """The scores as `terminal`, `md`, `html` or `json`. `notes`: what else is to be said."""
    if form == "json":
        return as_json(scores, model, notes)
    if form != "terminal":
        return (markdown if form == "md" else page)(scores, before, [*notes, *missed])
    tables = (rows(scores, before), baseline_rows(scores), reviewed_rows(scores))
    return "\n\n".join([*map(_aligned, tables), *notes, *map(str, missed)]) + "\n"


def _aligned(cells: list[list[str]]) -> str:
    wide = [max(len(line[i]) for line in cells) for i in range(len(cells[0]))]
    return "\n".join(
        "  ".join(c.ljust(w) if not i else c.rjust(w) for i, (c, w) in enumerate(zip(line, wide, strict=True)))
        for line in cells
    )
