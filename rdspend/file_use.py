r"""What jobs say of the files they read and wrote: the options of their command lines, scripts and environments.

    torchrun train.py --load /ckpt/base/iter_0005000 --save /ckpt/sft        reads /ckpt/base at step 5000, writes /ckpt/sft
    accelerate launch sft.py --model_name_or_path out/base --output_dir out/sft
    python -m nemo model.restore_from_path=/ckpt/base.nemo exp_manager.exp_dir=/ckpt/rl

Options are those of Megatron-LM, DeepSpeed, torchtitan, Hugging Face's trainers, TRL, axolotl, open-instruct, NeMo, verl,
mergekit and evaluation harnesses, in any spelling: `--save_dir X`, `--save-dir=X`, `trainer.save_dir=X`, `save_dir: X`,
`SAVE_DIR=X`.
Shell variables are put in where the text itself sets them, to one value; a path that is not known in full is no path. Paths are
compared within a cluster, addresses such as `s3://` everywhere.

A *place* is a path without the part that names a step: `/ckpt/base/iter_0005000` is step 5000 of the place `/ckpt/base`.
"""

from __future__ import annotations

import json
from typing import Final

from rdspend.border import literal
from rdspend.engine import Engine

READS: Final = (
    *("load", "load-dir", "load-path", "load-from", "load-checkpoint", "load-ckpt", "load-weights", "initial-load-path"),
    *("resume", "resume-from", "resume-path", "resume-ckpt", "resume-checkpoint", "resume-from-checkpoint", "resume-from-path"),
    *("restore-from", "restore-path", "restore-from-path", "restore-checkpoint", "resume-if-exists", "auto-resume"),
    *("init-from", "init-path", "init-ckpt", "init-checkpoint", "init-from-ckpt", "init-from-checkpoint", "initial-checkpoint"),
    *("checkpoint", "ckpt", "checkpoint-path", "ckpt-path", "checkpoint-file", "ckpt-file", "hf-checkpoint", "ckpt-name"),
    *("pretrained", "pretrained-path", "pretrained-model", "pretrained-ckpt", "pretrained-checkpoint", "pretrained-dir"),
    *("model", "model-path", "model-dir", "model-name", "model-id", "model-name-or-path", "pretrained-model-name-or-path"),
    *(
        "base-model",
        "base-model-path",
        "base-checkpoint",
        "base-ckpt",
        "sft-model-path",
        "actor-model-path",
        "policy-model-path",
    ),
    *("model.path", "model.name", "policy.model-name", "weights", "weights-path", "start-from", "warm-start", "warmstart"),
    *("models", "checkpoints", "model-paths", "checkpoint-paths", "ckpts", "input-models", "mergekit-yaml"),
)
WRITES: Final = (
    *("save", "save-dir", "save-path", "save-folder", "save-to", "save-root", "save-checkpoint-dir", "save-checkpoint-path"),
    *("output-dir", "output-folder", "output-root", "out-dir", "outdir", "outputs-dir", "dump-folder", "ckpt-save-dir"),
    *("checkpoint-state-dir", "checkpoint-save-dir", "exp-dir", "explicit-log-dir", "default-root-dir", "default-local-dir"),
    *("output-model", "output-model-path", "out-model", "save-model-path", "model-output-dir", "model-save-dir"),
)
TRAINING_WRITES: Final = (
    "checkpoint-dir",
    "ckpt-dir",
    "checkpoints-dir",
    "checkpoint-folder",
    "checkpoint.folder",
    "ckpt-folder",
)
"""What training saves to and goes on from; others only read it."""
STEPS: Final = ("ckpt-step", "load-step", "checkpoint-step", "load-iteration")
DATA_READS: Final = (
    *("data-path", "data-paths", "train-data-path", "train-data", "train-file", "train-files", "training-data", "data-dir"),
    *(
        "dataset",
        "datasets",
        "dataset-path",
        "dataset-name",
        "dataset-dir",
        "dataset-mixer-list",
        "dataset-mixer",
        "data-files",
    ),
    *(
        "train-dataset",
        "train-path",
        "train-data-dir",
        "blend",
        "data-prefix",
        "input",
        "input-path",
        "input-file",
        "input-dir",
    ),
    "data",
)
DATA_WRITES: Final = (
    *("output", "output-path", "output-file", "output-prefix", "out", "out-path", "out-file", "outfile", "save-file", "dest"),
    *("output-dataset", "dataset-output-dir", "save-dataset", "output-jsonl", "destination", "output-data-dir", "out-prefix"),
)
SEVERAL: Final = (*DATA_READS, *READS[-7:])
"""Options that take several values, with blanks or commas between. The last of mergekit's is what it writes."""

AUTO: Final = ("resume", "resume-from-checkpoint", "resume-if-exists", "auto-resume")
MEANINGS: Final = {
    "read": (*(word for word in READS if word != "mergekit-yaml"), *TRAINING_WRITES),
    "write": (*WRITES, "mergekit-yaml"),
    "training_write": TRAINING_WRITES,
    "data_read": DATA_READS,
    "data_write": (*DATA_WRITES, *WRITES),
    "step": STEPS,
    "auto": AUTO,
}

NOT_ANCESTORS: Final = r"(?:^|\.)(?:critic|rm|ref|reward|reward-model|reference|teacher|judge|draft|tokenizer)[.-]"
"""Models beside the one that is trained."""

VARIABLES: Final = (
    *("save-dir", "save-path", "output-dir", "out-dir", "load-dir", "load-path", "load-checkpoint", "load-ckpt", "init-from"),
    *("init-ckpt", "init-checkpoint", "resume-from", "resume-from-checkpoint", "restore-from", "base-model", "base-checkpoint"),
)
"""Options that say as much as variables of that name, `SAVE_DIR=/x`; `CKPT=/x` may be read or written."""

UNSAID: Final = ("true", "false", "none", "null", "auto", "latest", "last", "yes", "no", "must", "allow", "never", "", ".")
RESUMES: Final = ("true", "auto", "latest", "last", "yes", "must", "allow", "1")
"""Values of `resume` and its like that mean: go on from what is in the own folder."""

_PART: Final = (
    r"(?i:(?:global_?step|iteration|iter|step|checkpoint|ckpt|epoch|ba|ep)s?[-_=]?\d[\w.=-]*|latest(?:_checkpoint)?|last)"
)
_TRAINS: Final = (
    r"(?i)(?:\b|_)(?:pre-?|mid-?|post-?)?train(?:ing|er)?(?:\b|_)|fine-?tun"
    r"|(?:\b|_)(?:sft|dpo|ppo|grpo|rlhf|rlvr|distill)(?:\b|_)"
)
_EVALUATES: Final = (
    r"(?i)(?:\b|_)eval|mmlu|gsm8k|humaneval|swe-?bench|bench(?:mark)?s?(?:\b|_)|harness|perplexity|(?:\b|_)ppl(?:\b|_)"
    r"|lighteval|olmes|opencompass|helm(?:\b|_)|leaderboard|win-?rate|red-?team|(?:\b|_)scor(?:e|ing)(?:\b|_)|arena"
)
_RUNS: Final = r"[\w-]+\.(?:py|sh|sbatch|slurm|jl)\b|-m\s+[\w.]+|^\s*\S+"


def does(name: str, command: str) -> str:
    """SQL of what a job does by its name and what it runs: `trains`, `evaluates` or ''. What it runs says more than its name.

    An evaluation often has in its name what it evaluates, and training has options for evaluation.
    """
    runs = f"array_to_string(regexp_extract_all(coalesce({command}, ''), {literal(_RUNS)}), ' ')"
    said = f"coalesce({name}, '')"
    return (
        f"CASE WHEN regexp_matches({runs}, {literal(_TRAINS)}) THEN 'trains' "
        f"WHEN regexp_matches({runs}, {literal(_EVALUATES)}) THEN 'evaluates' "
        f"WHEN regexp_matches({said}, {literal(_EVALUATES)}) THEN 'evaluates' "
        f"WHEN regexp_matches({said}, {literal(_TRAINS)}) THEN 'trains' ELSE '' END"
    )


_VALUE: Final = r"""(?:"[^"]*"|'[^']*'|[^\s"';|&,]+)"""


def _either(*names: str) -> str:
    return "|".join(sorted((n.replace("-", "[-_]").replace(".", r"\.") for n in names), key=len, reverse=True))


_EVERY: Final = _either(*READS, *WRITES, *TRAINING_WRITES, *STEPS, *DATA_READS, *DATA_WRITES)
# With dashes a blank may follow; without them only `=` or a colon: `module load cuda` says nothing of a checkpoint.
OPTION: Final = (
    rf"(?:^|[\s({{\[\"',;])(?:--?(?:[\w-]+\.)*(?:{_EVERY})(?:=|\s+)|(?:\+{{0,2}}(?:[\w-]+\.)*)(?i:{_EVERY})(?:=|:[ \t]+))"
    rf"{_VALUE}"
)
OPTIONS: Final = (
    rf"(?:^|\s)(?:--?(?:[\w-]+\.)*(?:{_either(*SEVERAL)})(?:=|\s+)|mergekit-yaml\s+)[^\s-]\S*(?:\s+(?:\\\s+)?[^\s\\-]\S*)+"
)


def place_of(path: str) -> str:
    """SQL of a path without the part that names a step."""
    return f"coalesce(nullif(regexp_replace({path}, {literal(rf'(?:/{_PART})+$')}, ''), ''), {path})"


def step_of(path: str) -> str:
    """SQL of the step that a path ends with; null where it names none."""
    tail = f"regexp_extract({path}, {literal(rf'/({_PART})$')}, 1)"
    return rf"TRY_CAST(nullif(regexp_extract({tail}, '(\d+)\D*$', 1), '') AS BIGINT)"


def data_of(path: str) -> str:
    """SQL of a dataset's path without what its files add to it."""
    added = r"(?:/[^/]*[*?][^/]*)+$|(?:_text_document)?(?:\.(?:bin|idx|jsonl?|parquet|arrow|gz|zst|npy))*$"
    return f"regexp_replace({path}, {literal(added)}, '')"


def upper(most: int) -> str:
    """SQL of the folder `up` levels above `place`, 0 to `most`."""
    cases = (rf"WHEN {up} THEN regexp_replace(place, '(?:/[^/]+){{{up}}}$', '')" for up in range(1, most + 1))
    return f"CASE up WHEN 0 THEN place {' '.join(cases)} END"


def full_path(value: str, cluster: str, work_dir: str) -> str:
    """SQL of where a file is: `cluster:/path`, or an address as it is; null where that is not known."""
    plain = f"rtrim({value}, '/')"
    return (
        f"CASE WHEN {plain} = '' THEN NULL WHEN starts_with({value}, '/') THEN {cluster} || ':' || {plain} "
        f"WHEN regexp_matches({value}, '^(?:[a-z][a-z0-9+.-]*:/|models:|runs:)') THEN {plain} "
        f"WHEN {work_dir} IS NOT NULL THEN {cluster} || ':' || rtrim({work_dir}, '/') || '/' || {plain} END"
    )


def _list(words: tuple[str, ...]) -> str:
    return ", ".join(map(literal, words))


VERSION: Final = 1
"""Of how texts are read: grows when the same text would say something else."""


def extract(engine: Engine) -> None:
    """Table `said_file`: what the jobs of the view `told_job` (jobs) say."""
    text = (
        "concat_ws(' ', command, script, CASE WHEN cardinality(labels) > 0 THEN array_to_string(list_transform("
        "map_entries(labels), lambda e: '--' || replace(lower(e.key), '_', '-') || '=' || e.value), ' ') END)"
    )
    engine.run(
        "said_option",
        text=text,
        option=literal(OPTION),
        options=literal(OPTIONS),
        variables=_list(VARIABLES),
    )
    engine.run("expanded_option", text=text)
    meanings = [{"word": word, "use": use} for use, words in MEANINGS.items() for word in words]
    engine.run("option_meaning", {"meanings": json.dumps(meanings)})
    engine.run(
        "said_file",
        dotted="|".join(word.replace(".", r"\.") for words in MEANINGS.values() for word in words if "." in word),
        not_ancestors=literal(NOT_ANCESTORS),
        resumes=_list(RESUMES),
        unsaid=_list(UNSAID),
        path=full_path("value", "cluster", "work_dir"),
    )
    for table in ("said_option", "expanded_option", "option_meaning"):
        engine.execute(f"DROP TABLE {table}")
