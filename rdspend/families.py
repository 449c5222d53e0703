r"""Families: the template behind a job's name and what it runs, so that one look covers thousands of jobs.

    abl-7b-code-lr3e-4   sbatch exp/ablate.sbatch --model 7b      abl#b code lr# · ablate sbatch
    EvalMMLU_step8000    python -m harness --model ckpt/step8000  eval mmlu step# · harness
    run12                ./go.sh 12        (in /home/ann/w)       run# · go sh · home ann w

Numbers, dates, hashes, hyper-parameters' values and the user's own name are folded away; words stay, in any script. Folding
harder mixes purposes: of one organisation's accounting log the names with digits folded were pure in purpose, their first
two words no longer. What runs (the script file, the module, the program) is a part of the family, because some people give
every job of a project one name. Where neither says much, the folder does.

One SQL expression over the columns of JOBS; null where a job has no name, no command, no folder and no image.
"""

from __future__ import annotations

from typing import Final

from rdspend.border import literal

BETWEEN: Final = "·"

# Names that schedulers give when nobody chose one, and those that people give without saying anything.
_NOTHING = (
    r"(?:[^\p{L}]+|wrap|sbatch|srun|batch|bash|zsh|sh|qsub|jobs?|run|runs|script|main|python|task|my|new|old|tmp|untitled|none|null"
    r"|name|submit|launch|start|go|\b[a-z]{1,2}\b)*"
)
_FILE = r"([^\s/;'\"=]+)\.(?:py|sh|bash|sbatch|slurm|batch|job|pbs|sub|lsf|qsub|jl|pl|r|ipynb|ya?ml|toml)(?:[\s;'\"]|$)"
_MODULE = r"(?:^|\s)-m\s+([\w.]+)"
_PROGRAM = r"^\s*(?:\S*/)?([^\s/]+(?:\s+[\p{L}][\p{L}\d_.-]*)?)"
_TAIL = r"([^/]+(?:/[^/]+){0,2})/*$"

_SCIENTIFIC = r"\d+(?:\.\d+)?[eE][-+]?\d+"
_HUMP = r"(\p{Ll})(\p{Lu})"
_BREAK = rf"[^\p{{L}}\p{{N}}{BETWEEN}]+"
# What schedulers, trackers and git append: hexadecimal of seven or more, or letters and digits that change places twice.
_RANDOM = r"\b(?:[0-9a-f]{7,64}|[a-z]+\d+[a-z]+\d[a-z\d]*|\d+[a-z]+\d+[a-z\d]*)\b"
_NUMBER = r"[ \p{N}]*\p{N}[ \p{N}]*"


def _replaced(text: str, pattern: str, by: str) -> str:
    return f"regexp_replace({text}, {literal(pattern)}, {literal(by)}, 'g')"


def _found(text: str, pattern: str) -> str:
    return f"nullif(regexp_extract({text}, {literal(pattern)}, 1), '')"


def folded(text: str) -> str:
    """SQL of a text with its numbers and random parts folded into `#`, words in lower case, one blank between."""
    plain = _replaced(_replaced(text, _SCIENTIFIC, "0"), _HUMP, r"\1 \2")
    words = _replaced(f"lower({plain})", _BREAK, " ")
    return f"trim({_replaced(_replaced(words, _RANDOM, '0'), _NUMBER, '#')})"


def family(
    name: str = "name",
    command: str = "command",
    work_dir: str = "work_dir",
    image: str = "image",
    user: str = '"user"',
) -> str:
    """SQL of a job's family. Arguments are SQL of the columns of JOBS."""
    own = f"CASE WHEN length({user}) > 2 THEN replace({name}, {user}, '') ELSE {name} END"
    said = f"coalesce({own}, '')"
    runs = f"coalesce({_found(command, _FILE)}, {_found(command, _MODULE)}, {_found(command, _PROGRAM)})"
    little = f"regexp_full_match(lower({said} || ' ' || coalesce({runs}, '')), {literal(_NOTHING)})"
    place = f"CASE WHEN {little} THEN coalesce({_found(work_dir, _TAIL)}, {image}) END"
    parts = f"concat_ws(' {BETWEEN} ', nullif({said}, ''), {runs}, {place})"
    # People's opaque jobs are theirs: `run.sh` of two people are two families.
    whose = f"CASE WHEN {little} THEN ' {BETWEEN} by ' || {user} ELSE '' END"
    return f"nullif({folded(parts)}, '') || coalesce({whose}, '')"


FAMILY: Final = family()
"""The expression over a relation with the columns of JOBS."""
