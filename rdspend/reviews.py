"""The reviews file: what people answered about families, one line an answer, appended and never rewritten.

    family,user,activity,stage,who,when,saw,note
    eval mmlu step#· harness,,evaluation,,ann,2026-11-22T18:02:11Z,"412 jobs, 3,310 GPU-hours: eval-mmlu-step8000",

user      only this person's jobs of the family; empty: everybody's
activity  one of the activities, or `mixed`: of several purposes, to be asked person by person; empty: the stage only
saw       what the person had in front of them

Several answers about one family are all kept. The one that most people or times gave counts; where two have as many, neither
does, and it is a conflict to look at.
"""

from __future__ import annotations

import csv
import errno
import fcntl
import hashlib
import io
import os
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import astuple, dataclass, fields
from datetime import datetime
from io import FileIO
from pathlib import Path

from rdspend.errors import BadRecord, ConfigError
from rdspend.kinship import MIXED, Answer, Question
from rdspend.predicate import nearest
from rdspend.schema import ACTIVITIES, STAGES


@dataclass(frozen=True)
class Review:
    """One line of the file. `line` is where it stands, from 1 for the header; 0: nowhere yet."""

    family: str
    user: str
    activity: str
    stage: str
    who: str
    when: str
    saw: str = ""
    note: str = ""
    line: int = 0

    @property
    def question(self) -> Question:
        return Question(self.family, self.user)

    @property
    def said(self) -> str:
        """What it says, in words."""
        return f"{self.activity or 'of stage'} ({self.stage})" if self.stage else self.activity

    @property
    def whose(self) -> str:
        return f"family {self.family!r}" + (f" of {self.user}" if self.user else "")


COLUMNS = tuple(f.name for f in fields(Review))[:-1]
NEEDED = ("family", "who", "when")


@dataclass(frozen=True)
class Verdict:
    """What all answers about one question come to. None: they contradict each other; "": nobody said."""

    question: Question
    activity: str | None
    stage: str | None
    reviews: tuple[Review, ...]

    @property
    def conflict(self) -> str:
        """The contradiction in words; empty: there is none, or more say one thing than another."""
        if self.activity is not None and self.stage is not None:
            return ""
        said = [f"{r.said} by {r.who} on {r.when[:10]} (line {r.line})" for r in self.reviews]
        return f"{self.reviews[0].whose} is {', and '.join(said)}: no answer counts; take one out, or ask once more"


def read(path: str | Path) -> tuple[Review, ...]:
    """All answers of a file, in its order. Raises ConfigError and BadRecord that name the file and the line."""
    text = _text(path)
    header: list[str] | None = None
    found = []
    for line, cells in cells_of(text, path):
        if header is None:
            header = _header(cells, path, line)
        elif len(cells) != len(header):
            raise BadRecord(f"found {len(cells)} cells, expected {len(header)}: {','.join(header)}", str(path), line)
        else:
            found.append(_review(dict(zip(header, cells, strict=True)), path, line))
    if header is None:
        raise BadRecord(f"empty; expected a header {','.join(COLUMNS)}", str(path))
    return tuple(found)


def _text(path: str | Path) -> str:
    try:
        data = Path(path).read_bytes()
    except FileNotFoundError:
        raise ConfigError(
            f"{path}: there is no such file; `rdspend review` writes it with the first answer. Before the first run make it"
            f" with one line: {','.join(COLUMNS)}"
        ) from None
    except OSError as error:
        raise ConfigError(f"{path}: can't read the reviews: {error.strerror or error}") from None
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise BadRecord("not UTF-8; save it as UTF-8", str(path), data.count(b"\n", 0, error.start) + 1) from None
    if "\0" in text:
        raise BadRecord("a NUL character", str(path), text.count("\n", 0, text.index("\0")) + 1)
    return text


def cells_of(text: str, path: str | Path, delimiter: str = ",") -> Iterator[tuple[int, list[str]]]:
    """Cells of each line that is not blank, with the number of the line it starts on. Raises BadRecord."""
    reader = csv.reader(io.StringIO(text, newline=""), strict=True, delimiter=delimiter)
    while True:
        start = reader.line_num + 1
        try:
            cells = next(reader, None)
        except csv.Error as error:
            raise BadRecord(f"not CSV: {error}", str(path), start) from None
        if cells is None:
            return
        if cells:
            yield start, cells


def _header(cells: Sequence[str], path: str | Path, line: int) -> list[str]:
    names = [cell.strip() for cell in cells]
    for name in names:
        if name not in COLUMNS or names.count(name) > 1:
            hint = nearest(name, COLUMNS) if name not in COLUMNS else " is there twice"
            raise BadRecord(f"column {name!r}{hint}; columns are {','.join(COLUMNS)}", str(path), line)
    missing = [name for name in NEEDED if name not in names]
    if missing or not {"activity", "stage"} & set(names):
        raise BadRecord(f"column {(missing or ['activity'])[0]!r} is missing; found {','.join(names)}", str(path), line)
    return names


def _review(cells: dict[str, str], path: str | Path, line: int) -> Review:
    try:
        return checked(Review(**{name: cells.get(name, "") for name in COLUMNS}, line=line))
    except ValueError as error:
        raise BadRecord(str(error), str(path), line) from None


def checked(review: Review) -> Review:
    """The review with its words as we write them. Raises ValueError that says what was found and expected."""
    activity, stage = (word.strip().lower().replace("-", "_").replace(" ", "_") for word in (review.activity, review.stage))
    for name, word, known in (("activity", activity, (*ACTIVITIES, MIXED)), ("stage", stage, STAGES)):
        if word and word not in known:
            raise ValueError(f"{name}: unknown word {word!r}{nearest(word, known)}; expected {', '.join(known)}")
    if not activity and not stage:
        raise ValueError("says nothing; give an activity, a stage, or both")
    if activity == MIXED and stage:
        raise ValueError(f"{MIXED} work has no stage: found {stage!r}; leave it empty")
    if activity == MIXED and review.user:
        raise ValueError(f"one person's jobs are asked about as they are: found {MIXED!r} of user {review.user!r}")
    for name in COLUMNS:
        if "\0" in getattr(review, name):
            raise ValueError(f"{name}: found a NUL character; take it out")
    for name in ("who", "when"):
        if not getattr(review, name).strip():
            raise ValueError(f"{name} is empty; an answer needs who gave it, and when")
    try:
        instant = datetime.fromisoformat(review.when.strip())
    except ValueError:
        raise ValueError(f"when: found {review.when!r}; expected a day or time as 2026-11-22T18:02:11Z") from None
    if instant.tzinfo is None and len(review.when.strip()) > len("2026-11-22"):
        raise ValueError(f"when: found {review.when!r} without a zone; add Z or an offset")
    return Review(
        review.family,
        review.user,
        activity,
        stage,
        review.who.strip(),
        review.when.strip(),
        review.saw,
        review.note,
        review.line,
    )


def verdicts(reviews: Sequence[Review]) -> tuple[Verdict, ...]:
    """What the answers about each question come to, in the order of their first answers."""
    by_question: dict[Question, list[Review]] = {}
    for review in reviews:
        by_question.setdefault(review.question, []).append(review)
    return tuple(
        Verdict(question, _most([r.activity for r in those]), _most([r.stage for r in those]), tuple(those))
        for question, those in by_question.items()
    )


def _most(words: Sequence[str]) -> str | None:
    """The word that was said most; None where two were said as often; "" where nothing was said."""
    counted = Counter(word for word in words if word).most_common(2)
    if not counted:
        return ""
    return None if len(counted) > 1 and counted[0][1] == counted[1][1] else counted[0][0]


def answers(reviews: Sequence[Review]) -> tuple[Answer, ...]:
    """What they say of activities."""
    return tuple(Answer(review.question, review.activity) for review in reviews if review.activity)


def append(path: str | Path, review: Review) -> Review:
    """Write one answer at the end of the file, with a header where it is new; gives it back with its line."""
    file, given = Path(path), checked(review)
    try:
        with _held(file) as out:
            text = _text(file)
            if text:
                read(file)
            names = _header(next(cells_of(text, file))[1], file, 1) if text else list(COLUMNS)
            cells = dict(zip(COLUMNS, astuple(given), strict=False))
            lost = [name for name in COLUMNS if cells[name] and name not in names]
            if lost:
                raise ConfigError(f"{file}: has no column {lost[0]!r}; add it to the header: {','.join(COLUMNS)}")
            added = io.StringIO("" if not text or text.endswith("\n") else "\n", newline="")
            added.seek(0, io.SEEK_END)
            csv.writer(added, lineterminator="\n").writerows([*([] if text else [names]), [cells[name] for name in names]])
            size, data = os.fstat(out.fileno()).st_size, added.getvalue().encode()
            if out.write(data) != len(data):
                # Half an answer would make the whole file unreadable.
                out.truncate(size)
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            os.fsync(out.fileno())
            return read(file)[-1]
    except OSError as error:
        raise ConfigError(f"{file}: can't be written: {error.strerror or error}") from None


def take_back(path: str | Path, review: Review) -> None:
    """Take the last answer out of the file again. Raises ConfigError when another was written after it."""
    file = Path(path)
    gone = ConfigError(f"{file}: the answer about {review.whose} is not its last line any more; take it out by hand")
    if not file.exists():
        raise gone
    with _held(file) as out:
        if read(file)[-1:] != (review,):
            raise gone
        # Lines as `csv` counts them: a carriage return alone ends one too.
        last = "".join(list(io.StringIO(_text(file), newline=""))[review.line - 1 :])
        out.truncate(os.fstat(out.fileno()).st_size - len(last.encode()))
        os.fsync(out.fileno())


@contextmanager
def _held(file: Path) -> Iterator[FileIO]:
    """The file for one writer at a time, made where it is new. Nothing in it is ever written again: no answer gets lost."""
    with file.open("ab", buffering=0) as out:
        fcntl.flock(out, fcntl.LOCK_EX)
        yield out


def digest(reviews: Sequence[Review]) -> str:
    return hashlib.sha256(repr([astuple(review)[:-1] for review in reviews]).encode()).hexdigest()[:12]
