"""Asks a program of yours what jobs were for: any classifier, in any language, with whatever model behind it.

Reads       what the program writes to its standard output: CSV with the columns job_key, activity, stage, confidence and
            evidence; a row for each job that it answers for, either of activity and stage may be empty
Gives       the jobs to its standard input, as CSV with a header: job_key and the columns in `columns`. An open job's are what
            is known by now
Needs       to run that program. It gets no money, no labels of other taggers, and rdspend waits `timeout_seconds` at most
Can't see   why the program answers, beyond its own `evidence`; what it sends elsewhere is its own affair

A program that fails, takes too long or answers with a word that is none stops the tagging stage: half of its answers would
look like all of them. One that is to be trusted less than rules should answer under this name; it ranks after all others.

    [taggers.external]
    command = ["python3", "classify.py"]
    timeout_seconds = 300
"""

from __future__ import annotations

import hashlib
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import duckdb

from rdspend.border import identifier, literal
from rdspend.errors import BadRecord, ConfigError, SourceUnavailable
from rdspend.predicate import nearest
from rdspend.schema import ACTIVITIES, JOBS, STAGES

ANSWERS = ("job_key", "activity", "stage", "confidence", "evidence")


@dataclass(frozen=True)
class External:
    """Answers as `command` does; a relative path in it is looked up from where rdspend runs."""

    command: tuple[str, ...]
    columns: tuple[str, ...] = ("name", "command", "work_dir", "image", "user", "account", "project", "queue", "gpu_parts")
    timeout_seconds: float = 300.0

    def __post_init__(self) -> None:
        if not self.command:
            raise ValueError("command: empty; expected a program and its arguments")
        if not 0 < self.timeout_seconds <= 86_400:
            raise ValueError(f"timeout_seconds: found {self.timeout_seconds}; expected more than 0, at most a day")
        for column in self.columns:
            if column not in JOBS.names:
                raise ValueError(f"columns: no column '{column}' in jobs{nearest(column, JOBS.names)}")

    def tag(self, jobs: Any) -> Any:
        """The program's answers. Raises SourceUnavailable when it fails or is late, BadRecord for an answer that is none."""
        with tempfile.TemporaryDirectory(prefix="rdspend-external-") as folder:
            asked, answered = Path(folder) / "jobs.csv", Path(folder) / "answers.csv"
            columns = ", ".join(identifier(c) for c in dict.fromkeys(("job_key", *self.columns)))
            jobs.project(columns).order("job_key").write_csv(str(asked), header=True)
            self._run(asked, answered)
            answers = self._read(answered)  # noqa: F841 - DuckDB finds it by its name
        known = jobs.project("job_key AS known_key")
        version = hashlib.sha256(repr(self.command).encode()).hexdigest()[:12]
        return known.query(
            "known",
            "SELECT a.job_key, a.activity, a.stage, CAST(a.confidence AS DOUBLE) AS confidence,"
            f" {literal(f'{Path(self.command[0]).name}: ')} || coalesce(a.evidence, 'no reason given') AS evidence,"
            f" {literal(version)} AS version FROM answers AS a JOIN known ON known_key = a.job_key",
        )

    def _run(self, asked: Path, answered: Path) -> None:
        try:
            with asked.open("rb") as given, answered.open("wb") as taken:
                done = subprocess.run(
                    self.command, stdin=given, stdout=taken, stderr=subprocess.PIPE, timeout=self.timeout_seconds, check=False
                )
        except subprocess.TimeoutExpired:
            raise SourceUnavailable(
                f"taggers.external.command: {self.command[0]} took longer than {self.timeout_seconds:g} s and was stopped"
            ) from None
        except OSError as error:
            raise ConfigError(f"taggers.external.command: can't run {self.command[0]!r}: {error.strerror or error}") from None
        if done.returncode:
            said = done.stderr.decode(errors="replace").strip().splitlines()[-1:] or ["nothing on standard error"]
            raise SourceUnavailable(
                f"taggers.external.command: {self.command[0]} ended with {done.returncode}: {said[0][:300]}"
            )

    def _read(self, answered: Path) -> Any:
        with duckdb.connect() as connection:
            where = f"the answers of {self.command[0]}"
            try:
                connection.execute(
                    "CREATE TABLE answers AS SELECT *, row_number() OVER () + 1 AS line FROM read_csv(?, header = true,"
                    " all_varchar = true, delim = ',', quote = '\"', escape = '\"', nullstr = '', auto_detect = true)",
                    [str(answered)],
                )
            except duckdb.Error as error:
                raise BadRecord(f"not CSV: {str(error).splitlines()[0]}", where) from None
            found = [row[0] for row in connection.execute("DESCRIBE answers").fetchall()][:-1]
            if sorted(found) != sorted(ANSWERS):
                raise BadRecord(f"found columns {', '.join(found)}; expected {', '.join(ANSWERS)}", where, 1)
            wrong = connection.execute(
                "SELECT line, job_key, activity, stage, confidence FROM answers WHERE job_key IS NULL"
                f" OR activity NOT IN ({_list(ACTIVITIES)}) OR stage NOT IN ({_list(STAGES)})"
                " OR coalesce(activity, stage) IS NULL OR coalesce(TRY_CAST(confidence AS DOUBLE) NOT BETWEEN 0 AND 1, true)"
                " OR job_key IN (SELECT job_key FROM answers GROUP BY job_key HAVING count(*) > 1) ORDER BY line LIMIT 1"
            ).fetchall()
            if wrong:
                line, job, activity, stage, confidence = wrong[0]
                raise BadRecord(
                    f"job {job!r}: found activity {activity!r}, stage {stage!r}, confidence {confidence!r}; expected one answer"
                    f" a job, an activity of {', '.join(ACTIVITIES)}, a stage of {', '.join(STAGES)}, a confidence in [0, 1]",
                    where,
                    line,
                )
            return connection.execute("SELECT * EXCLUDE (line) FROM answers").df().astype(object)


def _list(words: tuple[str, ...]) -> str:
    return ", ".join(map(literal, words))
