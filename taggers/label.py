"""Says what jobs were for because someone said so.

Reads       in this order of authority; for each question the highest place that says anything decides
            1. `path`: a CSV with the columns cluster,job_id,activity,stage,who and, if wanted, submit_time and note
               job_id       the scheduler's id: all runs of a requeued job; the id of an array: its tasks without a row
                            of their own; or a whole job_key, and cluster may then be empty
               submit_time  ISO 8601 with a zone: only the run submitted in that second
               activity, stage   either may be empty; spellings as below
               who          who says so; kept in the evidence
            2. a job's labels `activity` and `stage`, and those named like one of `keys`, read whole: columns of a job
               log, labels of a pod
            3. the labels named in `fields`, free text (Slurm's AdminComment, Comment, Extra, WCKey), searched for
               purpose=eval, purpose: eval or {"purpose": "eval"}, and stage=..., with , ; or blanks between pairs
Spellings   letters' case, blanks, dashes, underscores and dots don't matter: `Final-Training` is final_training.
            Short words are known (SPELLINGS, STAGE_SPELLINGS); `spellings` adds to them. purpose=sft says a stage only.
Needs       to read that file. Slurm keeps Comment only with AccountingStoreFlags=job_comment, Extra with job_extra,
            WCKey with TrackWCKey; AdminComment always.
Can't see   a word that it does not know. In the CSV that is an error; in a job's own text, as two answers in one text,
            it is no answer, the places below are not asked either, and `rdspend rules check` lists it.

    [taggers.label]
    path = "labels.csv"
    keys = ["purpose", "goal"]
    spellings = { bench = "evaluation", posttrain = "finetuning" }
"""

from __future__ import annotations

import csv
import hashlib
import io
import json
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal

from rdspend.border import literal
from rdspend.errors import BadRecord, ConfigError
from rdspend.predicate import nearest
from rdspend.schema import ACTIVITIES, GPU_PARTS, SECONDS_PER_HOUR, STAGES, Location

COLUMNS = ("cluster", "job_id", "activity", "stage", "who", "submit_time", "note")
NEEDED = ("cluster", "job_id")
LONGEST_EVIDENCE = 200

SPELLINGS: Mapping[str, str] = MappingProxyType(
    {
        "final": "final_training",
        "final run": "final_training",
        "release": "final_training",
        "eval": "evaluation",
        "evals": "evaluation",
        "evaluate": "evaluation",
        "benchmark": "evaluation",
        "explore": "exploration",
        "experiment": "exploration",
        "experiments": "exploration",
        "ablation": "exploration",
        "ablations": "exploration",
        "sweep": "exploration",
        "debug": "exploration",
        "research": "exploration",
        "data": "data_generation",
        "data gen": "data_generation",
        "synthetic": "data_generation",
        "synthetic data": "data_generation",
        "serve": "inference",
        "serving": "inference",
        "production": "inference",
    }
)
STAGE_SPELLINGS: Mapping[str, str] = MappingProxyType(
    {
        "pretrain": "pretraining",
        "midtrain": "midtraining",
        "annealing": "midtraining",
        "sft": "finetuning",
        "dpo": "finetuning",
        "finetune": "finetuning",
        "fine tuning": "finetuning",
        "rl": "reinforcement_learning",
        "rlhf": "reinforcement_learning",
        "grpo": "reinforcement_learning",
        "eval": "evaluation",
        "data generation": "data",
        "serve": "serving",
        "inference": "serving",
    }
)
SAYS_NOTHING = frozenset({"", "null", "none", "na", "n/a", "unknown", "unset"})

# One pair in free text: the key, `=` or `:`, then a quoted value or one without blanks and separators.
PAIR = r"""(?i)(?:^|[^\w.-])["']?(?:{keys})["']?\s*[:=]\s*("[^"]*"|'[^']*'|[^\s,;|&(){{}}\[\]"'=]+)"""
KEY = re.compile(r"""[^\s=:,;|&"'(){}\[\]]+""")

# What a place answers when it says something that is no answer: a word nobody knows, or two that contradict.
UNCLEAR = "?"
FIRST_OWN_RANK = 10
GPU_HOUR = GPU_PARTS * SECONDS_PER_HOUR * 1_000_000


@dataclass(frozen=True)
class LabelFinding:
    """What `rdspend rules check` says of labels, with the attributes of a rule's finding.

    kind  unknown_spelling: words in jobs' own text that nobody knows, or that contradict each other.
          unmatched: rows of the CSV whose job is not among those given
    """

    rule: str
    kind: Literal["unknown_spelling", "unmatched"]
    matched: int
    won: int
    gpu_hours: Decimal
    detail: str


@dataclass(frozen=True)
class Label:
    """Answers with what people and submitters wrote, at confidence 1."""

    path: Location | None = None
    keys: tuple[str, ...] = ("purpose",)
    fields: tuple[str, ...] = ("admin_comment", "comment", "extra", "wckey")
    spellings: Mapping[str, str] = field(default_factory=dict)

    def tag(self, jobs: Any) -> Any:
        """One row for each job that somebody labelled. Raises ConfigError and, for the CSV, BadRecord."""
        words = self._words()
        rows = self._rows(words)
        says = self._own_text(jobs, words, "job_key").project("job_key, rank, activity, stage, evidence")
        if rows:
            says = says.union(_from_csv(jobs, rows))
        best = ", ".join(
            f"arg_min({column}, rank) FILTER (WHERE {question} IS NOT NULL) AS {name}"
            for question in ("activity", "stage")
            for column, name in ((question, f"the_{question}"), ("evidence", f"{question}_evidence"))
        )
        answers = says.aggregate(f"job_key, {best}", "job_key").project(
            f"job_key, nullif(the_activity, '{UNCLEAR}') AS activity, nullif(the_stage, '{UNCLEAR}') AS stage,"
            " activity_evidence, stage_evidence"
        )
        return answers.filter("activity IS NOT NULL OR stage IS NOT NULL").project(
            f"""
            job_key, activity, stage, CAST(1 AS DOUBLE) AS confidence,
            CASE WHEN activity IS NULL THEN stage_evidence
                 WHEN stage IS NULL OR stage_evidence = activity_evidence THEN activity_evidence
                 ELSE activity_evidence || '; ' || stage_evidence END AS evidence,
            {literal(self._version(rows))} AS version
            """
        )

    def check(self, jobs: Any) -> tuple[LabelFinding, ...]:
        """The words that nobody knows, one finding for each place and set of words, and the CSV's unmatched rows."""
        words = self._words()
        gpu_time = "CAST(gpu_parts * coalesce(epoch_us(end_time) - epoch_us(start_time), 0) AS HUGEINT) AS gpu_time"
        unclear = self._own_text(jobs, words, gpu_time).filter(f"activity = '{UNCLEAR}' OR stage = '{UNCLEAR}'")
        found = (
            unclear.project("place, list_sort(purposes) AS purposes, list_sort(stages) AS stages, gpu_time")
            .aggregate("place, purposes, stages, count(*) AS jobs, sum(gpu_time)", "place, purposes, stages")
            .order("jobs DESC, place, purposes, stages")
            .fetchall()
        )
        return tuple(_unknown(words, *row) for row in found) + _unmatched(jobs, self._rows(words))

    def _words(self) -> _Words:
        for name, keys in (("keys", self.keys), ("fields", self.fields)):
            for key in keys:
                if not KEY.fullmatch(key):
                    raise ConfigError(f"taggers.label.{name}: found {key!r}; expected a word without blanks, = : , ; or quotes")
        return _Words.of(self.spellings)

    def _rows(self, words: _Words) -> dict[_Target, _Row]:
        return {} if self.path is None else _merged(_read(self.path, words), str(self.path))

    def _version(self, rows: Mapping[_Target, _Row]) -> str:
        said = (self.keys, self.fields, sorted(self.spellings.items()), list(rows.items()))
        return hashlib.sha256(repr(said).encode()).hexdigest()[:12]

    def _places(self) -> list[tuple[str, str]]:
        """Labels to read in order of authority, as SQL, and how: whole for the `activity` or `stage`, or `free`."""
        whole = [("activity", "activity"), *((k, "activity") for k in self.keys), ("stage", "stage")]
        names = [name for name, _ in whole]
        places = [*dict.fromkeys(whole), *((name, "free") for name in self.fields if name not in names)]
        return [(literal(name), kind) for name, kind in places]

    def _own_text(self, jobs: Any, words: _Words, columns: str) -> Any:
        """What each place of a job's labels says: `columns`, rank, place, words, activity, stage, evidence."""
        places = ", ".join(
            f"{{rank: {rank}, place: {place}, kind: '{kind}', said: map_extract_value(labels, {place})}}"
            for rank, (place, kind) in enumerate(self._places(), start=FIRST_OWN_RANK)
        )
        short = f"CASE WHEN length(said) > {LONGEST_EVIDENCE} THEN left(said, {LONGEST_EVIDENCE}) || '...' ELSE said END"
        by = "CASE WHEN kind <> 'free' AND who <> '' THEN ' by ' || who ELSE '' END"
        purposes, stages = _said_words("activity", self.keys), _said_words("stage", ["stage"])
        return (
            jobs.filter("labels IS NOT NULL AND cardinality(labels) > 0")
            .project(f"{columns}, map_extract_value(labels, 'who') AS who, unnest([{places}]) AS p")
            .project("* EXCLUDE (p), p.rank AS rank, p.place AS place, p.kind AS kind, p.said AS said")
            .filter("trim(said) <> ''")
            .project(f"*, {purposes} AS purposes, {stages} AS stages")
            .filter("len(purposes) + len(stages) > 0")
            .project(f"*, {words.activity_sql('purposes')} AS activity, {words.stage_sql('purposes', 'stages')} AS stage")
            .project(f"*, 'label ' || place || {by} || ': ' || {short} AS evidence")
        )


# --- words ------------------------------------------------------------------------------------------------------------


def _plain(word: str) -> str:
    return re.sub(r"[ \t\r\n._-]+", "", word.lower())


def _plain_sql(sql: str) -> str:
    unquoted = f"trim({sql}, {literal(chr(34) + chr(39))})"
    return rf"regexp_replace(lower({unquoted}), '[ \t\r\n._-]+', '', 'g')"


def _said_words(kind: str, keys: Iterable[str]) -> str:
    """SQL of the plain words that a place says: all of a whole label, the values of pairs in free text."""
    pairs = literal(PAIR.format(keys="|".join(re.escape(key) for key in keys)))
    found = f"CASE kind WHEN '{kind}' THEN [said] WHEN 'free' THEN regexp_extract_all(said, {pairs}, 1) ELSE [] END"
    plain = f"list_transform({found}, lambda w: {_plain_sql('w')})"
    return f"list_filter({plain}, lambda w: w NOT IN ({_list(sorted(SAYS_NOTHING))}))"


@dataclass(frozen=True)
class _Words:
    """Plain spelling to activity, and to stage."""

    activities: Mapping[str, str]
    stages: Mapping[str, str]

    @classmethod
    def of(cls, own: Mapping[str, str]) -> _Words:
        activities = {_plain(word): word for word in ACTIVITIES} | {_plain(w): a for w, a in SPELLINGS.items()}
        stages = {_plain(word): word for word in STAGES} | {_plain(w): s for w, s in STAGE_SPELLINGS.items()}
        for word, meaning in own.items():
            if meaning not in ACTIVITIES and meaning not in STAGES:
                raise ConfigError(
                    f"taggers.label.spellings.{word}: found {meaning!r}{nearest(meaning, [*ACTIVITIES, *STAGES])};"
                    f" expected an activity ({', '.join(ACTIVITIES)}) or a stage ({', '.join(STAGES)})"
                )
            for known, meanings in ((activities, ACTIVITIES), (stages, STAGES)):
                known.pop(_plain(word), None)
                if meaning in meanings:
                    known[_plain(word)] = meaning
        return cls(activities, stages)

    def activity_sql(self, purposes: str) -> str:
        """SQL of the one activity that the words say, UNCLEAR, or null when they say a stage only or nothing."""
        unknown = f"CASE WHEN w NOT IN ({_list(self.stages)}) THEN '{UNCLEAR}' END"
        known = f"coalesce(map_extract_value({_map(self.activities)}, w), {unknown})"
        return _only(f"list_transform({purposes}, lambda w: {known})")

    def stage_sql(self, purposes: str, stages: str) -> str:
        """SQL of the one stage: of the words that name one, else of those purposes that are no activity."""
        known = f"coalesce(map_extract_value({_map(self.stages)}, w), '{UNCLEAR}')"
        named = _only(f"list_transform({stages}, lambda w: {known})")
        stage_only = {word: stage for word, stage in self.stages.items() if word not in self.activities}
        implied = _only(f"list_transform({purposes}, lambda w: map_extract_value({_map(stage_only)}, w))")
        return f"coalesce({named}, {implied})"


def _map(meanings: Mapping[str, str]) -> str:
    return f"map([{_list(meanings)}], [{_list(meanings.values())}])"


def _list(words: Iterable[str]) -> str:
    return ", ".join(literal(word) for word in words)


def _only(values: str) -> str:
    """SQL of the one value in a list: UNCLEAR when there are several, null when there is none but nulls."""
    distinct = f"list_distinct({values})"
    return f"CASE len({distinct}) WHEN 0 THEN NULL WHEN 1 THEN {distinct}[1] ELSE '{UNCLEAR}' END"


# --- the CSV ----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Target:
    """The jobs that a row is about: one run by its job_key, or every run of `cluster/job_id`."""

    run: bool
    key: str


@dataclass(frozen=True)
class _Row:
    """What the CSV says of one target, on `line` (1-based, the header is line 1)."""

    line: int
    activity: str | None
    stage: str | None
    evidence: str


def _read(path: str, words: _Words) -> Iterator[tuple[_Target, _Row]]:
    # A line for each job that somebody named by hand or script: a loop over them says the line of a mistake.
    header: list[str] | None = None
    for line, cells in _lines(path):
        if header is None:
            header = _header(cells, path, line)
            continue
        if len(cells) != len(header):
            raise BadRecord(f"found {len(cells)} cells, expected {len(header)}: {','.join(header)}", path, line)
        named = dict(zip(header, (cell.strip() for cell in cells), strict=True))
        target, row = _target(named, path, line), _row(named, words, path, line)
        if row is not None:
            yield target, row
    if header is None:
        raise BadRecord(f"empty; expected a header {','.join(COLUMNS[:5])}", path)


def _lines(path: str) -> Iterator[tuple[int, list[str]]]:
    """Cells of each line that is not blank, with the number of the line it starts on."""
    reader = csv.reader(io.StringIO(_text(path), newline=""), strict=True)
    while True:
        start = reader.line_num + 1
        try:
            cells = next(reader, None)
        except csv.Error as error:
            raise BadRecord(f"not CSV: {error}", path, start) from None
        if cells is None:
            return
        if cells:
            yield start, cells


def _text(path: str) -> str:
    try:
        data = Path(path).read_bytes()
    except OSError as error:
        raise ConfigError(f"taggers.label.path: can't read {path}: {error.strerror or error}") from None
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise BadRecord("not UTF-8; save it as UTF-8", path, data.count(b"\n", 0, error.start) + 1) from None
    if "\0" in text:
        raise BadRecord("a NUL character", path, text.count("\n", 0, text.index("\0")) + 1)
    return text


def _header(cells: list[str], path: str, line: int) -> list[str]:
    names = [cell.strip() for cell in cells]
    for name in names:
        if name not in COLUMNS:
            known = ",".join(COLUMNS)
            raise BadRecord(f"unknown column '{name}'{nearest(name, COLUMNS)}; columns are {known}", path, line)
        if names.count(name) > 1:
            raise BadRecord(f"column '{name}' twice", path, line)
    missing = [name for name in NEEDED if name not in names]
    if missing or not {"activity", "stage"} & set(names):
        what = f"column '{missing[0]}'" if missing else "column 'activity' or 'stage'"
        raise BadRecord(f"{what} is missing; found {','.join(names)}", path, line)
    return names


def _row(cells: dict[str, str], words: _Words, path: str, line: int) -> _Row | None:
    """The answer of one line; None when it gives none."""
    said, said_stage = cells.get("activity", ""), cells.get("stage", "")
    activity, stage = None, None
    if _plain(said) not in SAYS_NOTHING:
        activity = words.activities.get(_plain(said))
        stage = None if activity else words.stages.get(_plain(said))
        if activity is None and stage is None:
            raise BadRecord(_unknown_word("activity", said, [*words.activities, *words.stages], ACTIVITIES), path, line)
    if _plain(said_stage) not in SAYS_NOTHING:
        named = words.stages.get(_plain(said_stage))
        if named is None:
            raise BadRecord(_unknown_word("stage", said_stage, words.stages, STAGES), path, line)
        if stage not in (None, named):
            raise BadRecord(f"activity '{said}' says the stage {stage}, the stage is '{said_stage}'", path, line)
        stage = named
    if activity is None and stage is None:
        return None
    by = f" by {cells['who']}" if cells.get("who") else ""
    answer = " ".join(f"{name} '{cells[name]}'" for name in ("activity", "stage") if cells.get(name))
    return _Row(line, activity, stage, f"{Path(path).name}:{line}{by}: {answer}")


def _unknown_word(column: str, said: str, spellings: Iterable[str], known: Iterable[str]) -> str:
    return f"{column}: unknown word '{said}'{nearest(_plain(said), spellings)}; expected {', '.join(known)}"


def _target(cells: dict[str, str], path: str, line: int) -> _Target:
    cluster, job_id, submitted = cells["cluster"], cells["job_id"], cells.get("submit_time", "")
    if not job_id:
        raise BadRecord("job_id is empty", path, line)
    job_key = re.fullmatch(r"([^/]+)/.+/-?\d+", job_id, re.DOTALL)
    if job_key and cluster in ("", job_key[1]) and not submitted:
        return _Target(True, job_id)
    if not cluster:
        raise BadRecord(f"cluster is empty, and job_id '{job_id}' is no job_key (cluster/job_id/epoch)", path, line)
    if not submitted:
        return _Target(False, f"{cluster}/{job_id}")
    try:
        instant = datetime.fromisoformat(submitted)
        seconds = round(instant.timestamp())
    except (ValueError, OverflowError):
        example = "2026-10-01T08:00:00Z"
        raise BadRecord(f"submit_time: found '{submitted}'; expected ISO 8601, {example}", path, line) from None
    if instant.tzinfo is None:
        raise BadRecord(f"submit_time: found '{submitted}' without a zone; add Z or an offset", path, line)
    return _Target(True, f"{cluster}/{job_id}/{seconds}")


def _merged(rows: Iterable[tuple[_Target, _Row]], path: str) -> dict[_Target, _Row]:
    """One row a target. Two lines may say the same or complete each other, not contradict each other."""
    merged: dict[_Target, _Row] = {}
    for target, row in rows:
        earlier = merged.setdefault(target, row)
        if earlier is row:
            continue
        for first, second in ((earlier.activity, row.activity), (earlier.stage, row.stage)):
            if first and second and first != second:
                clash = f"says {second} of {target.key}, line {earlier.line} says {first}; keep one of them"
                raise BadRecord(clash, path, row.line)
        activity, stage = earlier.activity or row.activity, earlier.stage or row.stage
        merged[target] = _Row(earlier.line, activity, stage, f"{earlier.evidence}; {row.evidence}")
    return merged


def _table(jobs: Any, rows: Iterable[tuple[str, str | None, str | None, str]], prefix: str) -> Any:
    """Relation of `prefix`_key, _activity, _stage, _evidence on the connection of `jobs`."""
    text = literal(json.dumps(list(rows), ensure_ascii=False))
    one_row = jobs.limit(0).aggregate("count(*) AS one_row")
    names = ("key", "activity", "stage", "evidence")
    columns = ", ".join(f"r[{i}] AS {prefix}_{name}" for i, name in enumerate(names, start=1))
    rows_of_text = one_row.project(f"""unnest(from_json({text}, '[["VARCHAR"]]')) AS r""")
    return rows_of_text.project(columns).set_alias(f"labels_{prefix}")


def _from_csv(jobs: Any, rows: Mapping[_Target, _Row]) -> Any:
    """What the CSV says of each job: of its run before its id before the id of its array."""
    joined = jobs.project("job_key, cluster || '/' || job_id AS id, cluster || '/' || array_job_id AS array_id")
    for prefix, column, run in (("run", "job_key", True), ("one", "id", False), ("array", "array_id", False)):
        chosen = ((t.key, r.activity, r.stage, r.evidence) for t, r in rows.items() if t.run == run)
        joined = joined.join(_table(jobs, chosen, prefix), f"{column} = {prefix}_key", how="left")
    levels = ", ".join(
        f"{{rank: {rank}, activity: {p}_activity, stage: {p}_stage, evidence: {p}_evidence}}"
        for rank, p in enumerate(("run", "one", "array"))
    )
    return (
        joined.filter("coalesce(run_key, one_key, array_key) IS NOT NULL")
        .project(f"job_key, unnest([{levels}]) AS l")
        .project("job_key, l.rank AS rank, l.activity AS activity, l.stage AS stage, l.evidence AS evidence")
        .filter("evidence IS NOT NULL")
    )


# --- check ------------------------------------------------------------------------------------------------------------


def _unknown(words: _Words, place: str, purposes: list[str], stages: list[str], jobs: int, gpu_time: int) -> LabelFinding:
    either = [*words.activities, *words.stages]
    unknown = [(word, either) for word in purposes if word not in either]
    unknown += [(word, list(words.stages)) for word in stages if word not in words.stages]
    why = "they contradict each other"
    if unknown:
        why = f"unknown word '{unknown[0][0]}'{nearest(*unknown[0])}"
    hours = (Decimal(gpu_time) / GPU_HOUR).quantize(Decimal("0.001"))
    said = " and ".join([*purposes, *(f"stage {word}" for word in stages)])
    detail = f"{jobs:,} {'job says' if jobs == 1 else 'jobs say'} {said}: {why}; no tag"
    return LabelFinding(f"label {place}", "unknown_spelling", jobs, 0, hours, detail)


def _unmatched(jobs: Any, rows: Mapping[_Target, _Row]) -> tuple[LabelFinding, ...]:
    if not rows:
        return ()
    targets = _table(jobs, ((t.key, None, "run" if t.run else "id", r.evidence) for t, r in rows.items()), "row")
    keys = jobs.project(
        "unnest([{kind: 'run', key: job_key}, {kind: 'id', key: cluster || '/' || job_id},"
        " {kind: 'id', key: cluster || '/' || array_job_id}]) AS k"
    ).project("k.kind AS kind, k.key AS key")
    lost = targets.join(keys, "row_key = key AND row_stage = kind", how="anti")
    count, examples = lost.aggregate("count(*), list(row_evidence ORDER BY row_evidence)[1:3]").fetchall()[0]
    if not count:
        return ()
    detail = f"{count:,} of {len(rows):,} labels are of jobs not among these: {'; '.join(examples)}"
    return (LabelFinding("labels", "unmatched", 0, 0, Decimal(0), detail),)
