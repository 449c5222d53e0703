"""What kind of work a job was, by the words around it and its shape: from jobs to family and probabilities.

A model is linear in what it sees: each word of a job's name, of the file it runs, of the folders, the command and the script
adds a vector, its letter groups add a part of it, pairs of words and the shape (GPUs, nodes, array) a little. So a word that no
model has seen still speaks through its letters, a job is judged once for all jobs with the same words, and an answer can name
the words that made it. Two groups of answers: the work (for the model that ships: data, evaluation, serving, training,
upkeep, interactive) and the stage.

The file of a model is a .npz of plain arrays and a card in JSON, named by its hash; nothing in it is ever executed. Needs
numpy only; a model is made by rdspend.learning, which needs scikit-learn.
"""

from __future__ import annotations

import functools
import hashlib
import io
import itertools
import json
import re
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from rdspend.border import literal
from rdspend.errors import ConfigError
from rdspend.families import FAMILY
from rdspend.schema import GPU_PARTS

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

FORMAT: Final = 1
"""Of model files, and of how words become features: a file of another number is refused."""

BUCKETS: Final = 1 << 16
WEIGHTS: Final[Mapping[str, float]] = {
    "name": 1.0,
    "file": 2.0,
    "folder": 1.0,
    "entry": 1.0,
    "tail": 0.3,
    "image": 0.3,
    "where": 0.3,
}
"""How much a word counts by where it stands. The file that runs says most; the rest of a command line names data and paths."""

FIELDS: Final = tuple(WEIGHTS)
_WEIGHT = {where: float(np.log1p(weight)) for where, weight in WEIGHTS.items()}
_OWN_FIELD, _PAIR, _SHAPE, _SHORTEST = 0.5, 0.5, 0.5, 0.3
_GROUPS = (3, 5)
_MOST_WORDS = 40
_SEPARATOR = "\x1f"

WORK: Final[Mapping[str, str | None]] = {
    "data": "data_generation",
    "evaluation": "evaluation",
    "interactive": "exploration",
    "serving": "inference",
    "training": "exploration",
    "upkeep": None,
}
"""Kinds of work that need nobody's labels, and the activity each is. A training run that no release claims is exploration:
whether it was final is never said. Upkeep (conversions, uploads, builds, checks) has a stage (`other`) and no activity."""

_FILE = r"([^\s;'\"=]+\.(?:sh|bash|sbatch|slurm|batch|job|pbs|sub|lsf|qsub|py|jl|pl|r|ipynb|ya?ml|toml))(?:[\s;'\"]|$)"
_RUN = r"[\w./-]+\.py\b|-m\s+[\w.]+|\bvllm\s+serve\b|\blm_eval\b"
_LAUNCH = r"(?m)^.*\b(?:python3?|torchrun|accelerate|deepspeed|srun|mpirun|ray|vllm|uv|bash|composer|lm_eval)\b.*$"
_TAIL = r"((?:/[^/]+){1,3})/*$"


def _text(who: bool) -> str:
    """SQL of the fields of a job, each cut to what it may say, with a separator between, digits folded.

    Who ran it says something only to a model of the same organisation.
    """
    first = f"regexp_extract(command, {literal(_FILE)}, 1)"
    runs = f"regexp_extract_all(coalesce(script, '') || ' ' || coalesce(command, ''), {literal(_RUN)})[1:8]"
    launch = f"left(regexp_extract(script, {literal(_LAUNCH)}), 300)"
    parts = {
        "name": "left(name, 200)",
        "file": f"regexp_extract({first}, '[^/]*$')",
        "folder": f"concat_ws(' ', regexp_extract(work_dir, {literal(_TAIL)}, 1), regexp_extract({first}, '^(.*)/', 1))",
        "entry": f"array_to_string({runs}, ' ')",
        "tail": f"concat_ws(' ', left(replace(command, {first}, ''), 300), {launch})",
        "image": "regexp_extract(image, '[^/]*$')",
        "where": "concat_ws(' ', queue, qos, account, project, \"user\")"
        if who
        else "concat_ws(' ', queue, qos, account, project)",
    }
    joined = f" || '{_SEPARATOR}' || ".join(f"coalesce({parts[where]}, '')" for where in FIELDS)
    return f"regexp_replace({joined}, '[0-9]+', '0', 'g')"


def _bucket(amount: str) -> str:
    return f"CASE WHEN {amount} > 0 THEN CAST(greatest(0, least(12, floor(log2({amount})))) AS INTEGER) ELSE -1 END"


TEXT: Final = _text(who=False)
OWN_TEXT: Final = _text(who=True)
"""SQL of what a job says, over the columns of JOBS: to the model that ships, and to a model of one's own."""

SHAPE: Final = (
    f"'g' || coalesce({_bucket(f'(coalesce(nullif(gpu_parts, 0), requested_gpu_parts) / {GPU_PARTS}.0)')}, -1)"
    f" || ' n' || coalesce({_bucket('CAST(node_count AS DOUBLE)')}, -1)"
    " || CASE WHEN array_job_id IS NOT NULL THEN ' array' ELSE '' END"
)
"""SQL of a job's shape in words: GPUs and nodes in powers of two, and whether it is a task of an array. What a job asked for,
never how long it ran or how it ended: a running job has to get the answer that it has when it ends."""

_CAMEL = re.compile(r"(?<=[^\W\d_A-Z])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])")
_WORD = re.compile(r"[^\W_]+")
_DIGITS = re.compile(r"\d+")
_IDEOGRAPHS = re.compile(r"[\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af]")


def words(text: str) -> list[str]:
    """Words of a text: capitals within a word begin a new one, lower case, digits folded into 0; numbers are no words."""
    found = (_DIGITS.sub("0", word) for word in _WORD.findall(_CAMEL.sub(" ", text).lower()))
    return [word for word in found if word != "0" and (len(word) > 1 or _IDEOGRAPHS.match(word))][:_MOST_WORDS]


def _feature(text: str) -> int:
    return zlib.crc32(text.encode()) % BUCKETS


@functools.lru_cache(1 << 18)
def _spread(item: str) -> tuple[Ints, Floats]:
    """Features of one item of a text and how much each counts: a word with its letter groups; anything else is itself."""
    if not item.startswith("w "):
        return np.array([_feature(item)], np.int64), np.ones(1)
    framed = f"^{item[2:]}$"
    # Scripts without blanks between words have no letter to spare: one of them says something.
    shortest = 1 if _IDEOGRAPHS.search(framed) else _GROUPS[0]
    groups = sorted({framed[i : i + n] for n in range(shortest, _GROUPS[1] + 1) for i in range(len(framed) - n + 1)})
    counts = np.full(len(groups) + 1, 1 / max(1, len(groups)) ** 0.5)
    counts[0] = 1.0
    return np.array([_feature(item), *(_feature(f"g {group}") for group in groups)], np.int64), counts


def items(text: str, shape: str) -> dict[str, float]:
    """What a job says, and how much each counts: `text` as TEXT makes it, `shape` as SHAPE.

    A word counts once, by the best place it stands in; many words are divided, so that a long command does not shout.
    """
    best: dict[str, float] = {}
    there: dict[str, float] = {}
    pairs: dict[str, float] = {}
    for where, said in zip(FIELDS, text.split(_SEPARATOR), strict=True):
        found = words(said) if said else []
        weight = _WEIGHT[where]
        for word in found:
            best[f"w {word}"] = max(best.get(f"w {word}", 0.0), weight)
            there[f"{where} {word}"] = _OWN_FIELD * weight
        for pair in itertools.pairwise(found):
            name = f"b {pair[0]} {pair[1]}"
            pairs[name] = max(pairs.get(name, 0.0), _PAIR * weight)
    by = max(_SHORTEST, sum(weight * weight for weight in best.values())) ** 0.5
    return {k: v / by for k, v in {**best, **there, **pairs}.items()} | {f"s {word}": _SHAPE for word in shape.split()}


def features(text: str, shape: str) -> tuple[Ints, Floats]:
    """The same as features of a model, each in [0, BUCKETS)."""
    said = items(text, shape)
    several = [_spread(item) for item in said]
    return (
        np.concatenate([found for found, _ in several] or [np.empty(0, np.int64)]),
        np.concatenate([counts * amount for (_, counts), amount in zip(several, said.values(), strict=True)] or [np.empty(0)]),
    )


# --- models -----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Head:
    """One question a model answers.

    labels       its answers
    weights      BUCKETS x labels
    bias         what it says of a job that says nothing
    sharpness    scores times this are logits
    raw, right   the chance of the likeliest answer, and how often that was right on owners it had not seen
    """

    labels: tuple[str, ...]
    weights: NDArray[np.float32]
    bias: Floats
    sharpness: float
    raw: tuple[float, ...]
    right: tuple[float, ...]

    def scores(self, texts: _Texts) -> Floats:
        return texts.sums(self.weights) + self.bias

    def chances(self, scores: Floats) -> Floats:
        logits = scores * self.sharpness
        logits -= logits.max(axis=1, keepdims=True)
        powers = np.exp(logits)
        return np.asarray(powers / powers.sum(axis=1, keepdims=True))

    def confidence(self, likeliest: Floats) -> Floats:
        return np.asarray(np.interp(likeliest, self.raw, self.right))


@dataclass(frozen=True)
class Model:
    """A model of the purpose of jobs. `activities`: the activity of each kind of work, None: it has none."""

    work: Head
    stage: Head
    activities: tuple[str | None, ...]
    thresholds: Mapping[float, float]
    version: str
    card: Mapping[str, Any]

    @property
    def own(self) -> bool:
        """Made from an organisation's own labels."""
        return bool(self.card.get("own"))

    def threshold(self, precision: float) -> float:
        """The least confidence at which answers were right for so much of the money."""
        return next((limit for wanted, limit in sorted(self.thresholds.items()) if wanted >= precision), 1.0)


class _Texts:
    """Distinct texts as features, in one row each: item ids and amounts, and each item spread once."""

    def __init__(self, texts: Sequence[tuple[str, str]]) -> None:
        self.names: dict[str, int] = {}
        ids: list[int] = []
        amounts: list[float] = []
        starts = [0]
        for text, shape in texts:
            said = items(text, shape)
            ids.extend(self.names.setdefault(item, len(self.names)) for item in said)
            amounts.extend(said.values())
            starts.append(len(ids))
        self.ids, self.amounts, self.starts = np.array(ids, np.int64), np.array(amounts), np.array(starts)
        words = np.array([*(not name.startswith("s ") for name in self.names), False])[self.ids]
        upto = np.concatenate([[0], np.cumsum(words)])
        self.wordless = upto[self.starts[1:]] == upto[self.starts[:-1]]

    def item_scores(self, weights: NDArray[np.float32]) -> Floats:
        """What each item says, items x labels."""
        out = np.zeros((len(self.names) + 1, weights.shape[1]))
        for name, number in self.names.items():
            found, counts = _spread(name)
            out[number] = counts @ weights[found]
        return out

    def sums(self, weights: NDArray[np.float32]) -> Floats:
        return self.added(self.item_scores(weights))

    def added(self, per_item: Floats) -> Floats:
        out = np.zeros((len(self.starts) - 1, per_item.shape[1]))
        step = 20_000
        for first in range(0, len(out), step):
            last = min(first + step, len(out))
            low, high = self.starts[first], self.starts[last]
            # One zero at the end, so that reduceat may start there; no text is empty, every job has a shape.
            values = np.concatenate([per_item[self.ids[low:high]] * self.amounts[low:high, None], np.zeros((1, out.shape[1]))])
            out[first:last] = np.add.reduceat(values, self.starts[first:last] - low, axis=0)
        return out


def write(file: Path, heads: Mapping[str, Head], card: Mapping[str, Any]) -> Path:
    """Write `file`.npz and its card `file`.json; the same model gives the same bytes."""
    arrays: dict[str, Any] = {}
    said: dict[str, Any] = {}
    for name, head in heads.items():
        scale = float(np.abs(head.weights).max() or 1.0) / 127
        arrays[name] = np.round(head.weights / scale).astype(np.int8)
        said[name] = {
            "labels": list(head.labels),
            "scale": scale,
            "bias": [round(float(b), 6) for b in head.bias],
            "sharpness": round(head.sharpness, 6),
            "raw": [round(float(r), 6) for r in head.raw],
            "right": [round(float(r), 6) for r in head.right],
        }
    packed = io.BytesIO()
    np.savez_compressed(packed, **arrays)
    digest = hashlib.sha256(packed.getvalue()).hexdigest()
    whole = {"format": FORMAT, "sha256": digest, **said, **card}
    whole["card_sha256"] = _card_digest(whole)
    file.parent.mkdir(parents=True, exist_ok=True)
    file.with_suffix(".npz").write_bytes(packed.getvalue())
    file.with_suffix(".json").write_text(json.dumps(whole, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    return file.with_suffix(".json")


def _card_digest(card: Mapping[str, Any]) -> str:
    rest = {key: value for key, value in card.items() if key != "card_sha256"}
    return hashlib.sha256(json.dumps(rest, sort_keys=True, ensure_ascii=False).encode()).hexdigest()


SHIPPED: Final = Path(__file__).parent / "model" / "shipped"


def load(file: Path = SHIPPED) -> Model:
    """Read a model, named without its suffix. Raises ConfigError when it is missing, changed by hand, or of another format."""
    card_file, arrays_file = file.with_suffix(".json"), file.with_suffix(".npz")
    try:
        card = json.loads(card_file.read_text(encoding="utf-8"))
        packed = arrays_file.read_bytes()
    except OSError as error:
        raise ConfigError(f"{file}: can't read the model: {error.strerror or error}; `rdspend learn` writes one") from None
    except ValueError as error:
        raise ConfigError(f"{card_file}: not the card of a model: {error}") from None
    if not isinstance(card, dict) or card.get("format") != FORMAT:
        found = card.get("format") if isinstance(card, dict) else type(card).__name__
        raise ConfigError(f"{card_file}: found format {found!r}, expected {FORMAT}; make it again with `rdspend learn`")
    for what, expected, found in (
        (card_file, card.get("card_sha256"), _card_digest(card)),
        (arrays_file, card.get("sha256"), hashlib.sha256(packed).hexdigest()),
    ):
        if expected != found:
            raise ConfigError(f"{what}: changed since it was written: found sha256 {found[:12]}, expected {str(expected)[:12]}")
    with np.load(io.BytesIO(packed), allow_pickle=False) as arrays:
        heads = {name: _head(card[name], arrays[name]) for name in ("work", "stage")}
    limits = {float(wanted): float(limit) for wanted, limit in card["thresholds"].items()}
    return Model(heads["work"], heads["stage"], tuple(card["activities"]), limits, card["card_sha256"][:12], card)


def _head(said: Mapping[str, Any], weights: NDArray[np.int8]) -> Head:
    return Head(
        tuple(said["labels"]),
        weights.astype(np.float32) * np.float32(said["scale"]),
        np.array(said["bias"], float),
        float(said["sharpness"]),
        tuple(said["raw"]),
        tuple(said["right"]),
    )


# --- judging ----------------------------------------------------------------------------------------------------------


def judged(jobs: Any, model: Model) -> Any:
    """One row for each job: job_key, family, work, activity, confidence, stage, stage_confidence, evidence, chances, told.

    activity    null: the work has none
    confidence  how often such an answer was right, in [0, 1]
    chances     of each of `model.work.labels`, in their order
    told        chances of activities as tags say them; null where a job has no word to go by
    """
    text = OWN_TEXT if model.own else TEXT
    seen = jobs.project(f"{text} AS said, {SHAPE} AS shape").project("hash(said, shape) AS key, said, shape")
    texts = seen.aggregate("key, any_value(said) AS said, any_value(shape) AS shape", "key").order("said, shape").fetchall()
    # Not `answers`: the pipeline leaves a view of that name, and DuckDB 1.5 would read it in the place of this frame.
    judgements = judge([(said, shape) for _, said, shape in texts], model)
    judgements.insert(0, "key", np.array([key for key, *_ in texts], np.uint64))
    chances = ", ".join(f"a.p{number}" for number in range(len(model.work.labels)))
    keyed = jobs.project(f"job_key, hash({text}, {SHAPE}) AS key, {FAMILY} AS family")
    return keyed.query(
        "keyed",
        f"SELECT k.job_key, k.family, a.work, a.activity, a.confidence, a.stage, a.stage_confidence, a.evidence, a.told,"
        f" [{chances}] AS chances FROM keyed AS k JOIN judgements AS a USING (key)",
    )


def judge(texts: Sequence[tuple[str, str]], model: Model) -> pd.DataFrame:
    """One row for each pair of text and shape, columns as of `judged`, and p0, p1, ... for the chances of the work.

    What is told of an activity is its calibrated confidence where it is the likeliest; the others share what that leaves.
    """
    said = _Texts(texts)
    work_items = said.item_scores(model.work.weights)
    work = model.work.chances(said.added(work_items) + model.work.bias)
    stage = model.stage.chances(model.stage.scores(said))
    names = [activity or "" for activity in model.activities]
    groups = sorted(set(names))
    summed = np.stack([work[:, [i for i, n in enumerate(names) if n == group]].sum(axis=1) for group in groups], axis=1)
    best, kind, step = summed.argmax(axis=1), work.argmax(axis=1), stage.argmax(axis=1)
    sure = model.work.confidence(summed.max(axis=1))
    frame = pd.DataFrame(
        {
            "work": np.array(model.work.labels, object)[kind],
            "activity": np.array([group or None for group in groups], object)[best],
            "confidence": sure,
            "stage": np.array(model.stage.labels, object)[step],
            "stage_confidence": model.stage.confidence(stage.max(axis=1)),
            "evidence": np.array(_evidence(said, work_items, kind), object),
            "told": np.array(told(groups, summed, sure, said.wordless), object),
        }
    )
    return frame.assign(**{f"p{number}": work[:, number] for number in range(work.shape[1])})


def told(groups: Sequence[str], chances: Floats, sure: Floats, wordless: NDArray[np.bool_]) -> list[str | None]:
    """Chances of activities in hundredths, likeliest first: `exploration 0.71 evaluation 0.20`; less than one is left out."""
    rows = np.arange(len(chances))
    best = chances.argmax(axis=1)
    top = chances[rows, best]
    known = chances * ((1 - sure) / np.maximum(1 - top, 1e-9))[:, None]
    known[rows, best] = sure
    hundredths = np.rint(known * 100).astype(np.int64)
    order = np.argsort(-hundredths, axis=1, kind="stable")
    words: dict[tuple[int, ...], str] = {}
    out: list[str | None] = []
    for each, ranked, silent in zip(hundredths, order, wordless, strict=True):
        key = tuple(each)
        if key not in words:
            words[key] = " ".join(f"{groups[k]} {each[k] / 100:.2f}" for k in ranked if groups[k] and each[k])
        out.append(None if silent else words[key] or None)
    return out


def _evidence(said: _Texts, per_item: Floats, kind: Ints, most: int = 4) -> list[str]:
    """The items that spoke loudest for the answer against the mean of the others, as a person writes them."""
    lead = per_item - (per_item.sum(axis=1, keepdims=True) - per_item) / max(1, per_item.shape[1] - 1)
    spelled = [_spelled(name) for name in said.names]
    out = []
    for number, (low, high) in enumerate(zip(said.starts, said.starts[1:], strict=False)):
        ids = said.ids[low:high]
        pull = lead[ids, kind[number]] * said.amounts[low:high]
        top = np.argsort(-pull, kind="stable")[: most * 2]
        told = dict.fromkeys(spelled[ids[i]] for i in top if pull[i] > 0)
        out.append(", ".join(list(told)[:most]) or "nothing in particular")
    return out


def _spelled(item: str) -> str:
    kind, _, text = item.partition(" ")
    if kind == "s":
        size = re.fullmatch(r"([gn])(-?\d+)", text)
        if size is None:
            return "a job array"
        unit = "GPUs" if size[1] == "g" else "nodes"
        return f"no {unit} known" if size[2] == "-1" else f"{2 ** int(size[2])} or more {unit}"
    return repr(text.replace("0", "#")) if kind in ("w", "b") else f"{text.replace('0', '#')!r} in {kind}"
