"""How people see the review queue and answer it: in the terminal with keys, as a sheet, as JSON."""

from __future__ import annotations

import csv
import getpass
import io
import json
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Final

import click

from rdspend import kinship, reviews
from rdspend.errors import BadRecord, ConfigError
from rdspend.kinship import Question
from rdspend.predicate import nearest
from rdspend.printing import printable
from rdspend.reviewing import Figures, Item, Review
from rdspend.schema import STAGES

TO_FILL: Final = ("family", "user", "activity", "stage", "note")
TEXTS: Final = ("users", "names", "commands", "folders", "said")
SHOWN: Final = ("jobs", "gpu_hours", "cost", "part", "settles", "now", "people", *TEXTS)


def as_csv(items: Sequence[Item]) -> str:
    """The queue for a spreadsheet: fill in activity, stage and note, leave the rest."""
    out = io.StringIO(newline="")
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow((*TO_FILL, *SHOWN))
    for item in items:
        lists = {name: _cell("; ".join(getattr(item, name))) for name in TEXTS}
        now = ", ".join(in_words(item))
        shown = {**lists, "jobs": item.jobs, "gpu_hours": item.gpu_hours, "cost": item.cost, "people": item.people, "now": now}
        parts = {"part": f"{item.part:.4f}", "settles": f"{item.settles:.4f}"}
        writer.writerow((item.question.family, item.question.user, "", "", "", *({**shown, **parts}[name] for name in SHOWN)))
    return out.getvalue()


def _cell(text: str) -> str:
    """Text that no spreadsheet takes for a formula."""
    return f"'{text}" if text[:1] in ("=", "+", "-", "@", "\t", "\r") else text


def in_words(item: Item) -> list[str]:
    """What counts now, the largest part first."""
    return [
        f"{now.activity} {now.part:.0%}" + (f" (by {now.by}, {now.confidence:.2f} sure)" if now.by else "") for now in item.now
    ]


@dataclass(frozen=True)
class Given:
    """An answer that was handed in. `line`: of the sheet `file`; both None: of the command line."""

    question: Question
    activity: str
    stage: str
    note: str
    file: str | None = None
    line: int | None = None


def read_filled(file: Path) -> list[Given]:
    """The rows of `as_csv` that somebody filled in."""
    try:
        text = file.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise ConfigError(f"{file}: can't read the answers: {error.strerror or error}") from None
    except UnicodeDecodeError:
        raise BadRecord("not UTF-8; save the sheet as CSV in UTF-8", str(file)) from None
    first = text.split("\n", 1)[0]
    # Spreadsheets of many countries save CSV with semicolons.
    rows = reviews.cells_of(text, file, ";" if first.count(";") > first.count(",") else ",")
    names = next(rows, (1, []))[1]
    missing = [name for name in ("family", "activity") if name not in names]
    if missing:
        raise BadRecord(f"column {missing[0]!r} is missing; found {','.join(names)}", str(file), 1)
    found = []
    for line, cells in rows:
        said = {name: cell.strip() for name, cell in zip(names, cells, strict=False)}
        told = {name: said.get(name, "") for name in TO_FILL}
        if told["activity"] or told["stage"]:
            question = Question(told["family"], told["user"])
            found.append(Given(question, told["activity"], told["stage"], told["note"], str(file), line))
    return found


def give(review: Review, told: Told, given: Sequence[Given]) -> None:
    """Write these answers; where one is none, not one of them. Raises BadRecord for a line of a sheet, else ConfigError."""
    said = [told.said(each.question, each.activity, each.stage, each.note) for each in given]
    for each, answer in zip(given, said, strict=True):
        try:
            review.refuse(answer)
        except ConfigError as error:
            if each.file is None:
                raise
            raise BadRecord(f"{error}; no answer of this sheet was written", each.file, each.line) from None
    for answer in said:
        review.answer(answer)


def as_json(review: Review, items: Sequence[Item]) -> str:
    """The queue and the figures as they stand, for programs."""
    figures = review.figures()
    shares = {
        name: {
            "share": _six(share),
            **{end: _six(getattr(figures.bounds[name], end)) for end in ENDS if name in figures.bounds},
        }
        for name, share in figures.shares.items()
    }
    queue = [
        {
            "family": item.question.family,
            "user": item.question.user,
            "jobs": item.jobs,
            "cost": str(item.cost),
            "gpu_hours": str(item.gpu_hours),
            "part": item.part,
            "settles": item.settles,
            "people": item.people,
            "users": item.users,
            "names": item.names,
            "commands": item.commands,
            "folders": item.folders,
            "now": [{"activity": n.activity, "by": n.by, "confidence": n.confidence, "part": n.part} for n in item.now],
            "expected": item.expected,
            "alike": [{"family": family, "alike": near} for family, near in item.alike],
            "said": item.said,
        }
        for item in items
    ]
    head: dict[str, object] = {
        "currency": review.currency,
        "answers": len(review.given),
        "shares": shares,
        "unclassified": _six(figures.unclassified),
    }
    return json.dumps({**head, "queue": queue}, indent=1, ensure_ascii=False) + "\n"


ENDS: Final = ("low", "high", "likely_low", "likely_high")


def _six(share: Decimal | None) -> str | None:
    return None if share is None else f"{share:.6f}"


# --- in the terminal --------------------------------------------------------------------------------------------------

KEYS: Final = {
    "e": "exploration",
    "d": "data_generation",
    "v": "evaluation",
    "f": "final_training",
    "i": "inference",
    "m": kinship.MIXED,
}


@dataclass(frozen=True)
class Told:
    """Who answers, and a clock."""

    who: str
    now: Callable[[], datetime]

    @classmethod
    def by(cls, who: str | None) -> Told:
        """Somebody by name, or who is logged in. Raises ConfigError where nobody is."""
        try:
            name = who if who is not None else getpass.getuser()
        except (KeyError, OSError):
            name = ""
        if not name.strip():
            raise ConfigError("--who: an answer needs who gives it; found no name, and nobody is logged in")
        return cls(name, lambda: datetime.now(UTC))

    def said(self, question: Question, activity: str, stage: str, note: str = "", saw: str = "") -> reviews.Review:
        when = f"{self.now():%Y-%m-%dT%H:%M:%SZ}"
        return reviews.Review(question.family, question.user, activity, stage, self.who, when, saw, note)


def key() -> str:
    """The next key; without a terminal the next letter of standard input; at its end `q`."""
    try:
        while True:
            found = click.getchar() if sys.stdin.isatty() else sys.stdin.read(1)
            if found not in ("\n", "\r", " ", "\t"):
                return found.lower() or "q"
    except (EOFError, OSError):
        return "q"


def read_told(text: str) -> Given:
    """An answer in JSON."""
    try:
        said = json.loads(text)
    except ValueError as error:
        raise ConfigError(f"--answer {text!r}: not JSON: {error}") from None
    if not isinstance(said, dict) or "family" not in said or not all(isinstance(v, str) for v in said.values()):
        raise ConfigError(f"--answer {text!r}: expected texts: family and activity, and if wanted {', '.join(TO_FILL)}")
    for name in said:
        if name not in TO_FILL:
            raise ConfigError(f"--answer: unknown {name!r}{nearest(name, TO_FILL)}; expected {', '.join(TO_FILL)}")
    told = {name: said.get(name, "") for name in TO_FILL}
    return Given(Question(told["family"], told["user"]), told["activity"], told["stage"], told["note"])


def converse(review: Review, told: Told, ask: Callable[[], str], say: Callable[[str], None], most: int) -> int:
    """Ask the queue's questions one by one until `q`, the end of the queue, or `most` answers; gives back how many it got.

    `ask` gives the next key.
    """
    talk = _Talk(review, told, ask, say, review.figures(), [])
    say(line("now", talk.before))
    while len(talk.written) < most:
        items = review.queue(1)
        if not items:
            say("nothing is left to ask")
            break
        for text in _shown(items[0]):
            say(printable(text))
        if not talk.about(items[0]):
            break
    return len(talk.written)


@dataclass
class _Talk:
    review: Review
    told: Told
    ask: Callable[[], str]
    say: Callable[[str], None]
    before: Figures
    written: list[reviews.Review]

    def about(self, item: Item) -> bool:
        """Keys about one question until it is done with; false: the person has had enough."""
        stage = ""
        while True:
            key = self.ask()
            if key == "q":
                return False
            if key == "s":
                self.review.skipped.add(item.question)
                self.say("skipped")
                return True
            if (key in KEYS and self._answered(item, KEYS[key], stage)) or (key == "u" and self._undone()):
                return True
            if key == "t":
                stage = self._stage()
            elif key == "w":
                for text in _why(item):
                    self.say(printable(text))
            elif key not in KEYS and key != "u":
                self.say(HELP)

    def _answered(self, item: Item, activity: str, stage: str) -> bool:
        given = self.told.said(item.question, activity, stage, saw=printable(item.saw))
        try:
            self.written.append(self.review.answer(given))
        except ConfigError as error:
            self.say(printable(error))
            return False
        self.say(f"written: {self.written[-1].said}")
        self.say(line("before", self.before))
        self.before = self.review.figures()
        self.say(line("now", self.before))
        return True

    def _undone(self) -> bool:
        if not self.written:
            self.say("nothing to undo: no answer was given since the start")
            return False
        gone = self.written[-1]
        try:
            self.review.undo(gone)
        except ConfigError as error:
            self.say(printable(error))
            return False
        self.written.pop()
        self.before = self.review.figures()
        self.say(printable(f"taken back: {gone.whose} is {gone.said}"))
        self.say(line("now", self.before))
        return True

    def _stage(self) -> str:
        self.say("stage: " + "  ".join(f"{number} {name}" for number, name in enumerate(STAGES, start=1)) + "  0 none")
        key = self.ask()
        stage = STAGES[int(key) - 1] if key.isdecimal() and 0 < int(key) <= len(STAGES) else ""
        self.say(f"stage {stage or 'none'}; now the activity")
        return stage


HELP: Final = (
    "e exploration   d data generation   v evaluation   f final training   i inference   m mixed: ask person by person\n"
    "t stage first   s skip   w why this one   u undo   q quit"
)


def _shown(item: Item) -> list[str]:
    whose = f"{item.people} people: " if item.people > 1 else ""
    of = f"  of {item.question.user}" if item.question.user else ""
    lines = [
        "",
        f"family  {item.question.family or '(no name, command or folder)'}{of}",
        f"        {item.jobs:,} jobs, {item.gpu_hours:,.1f} GPU-hours, {item.cost:,.2f}; {item.part:.1%} of all jobs;"
        f" an answer settles about {item.settles:.1%}",
        f"now     {', '.join(in_words(item))}",
    ]
    for title, texts in (("names", item.names), ("runs", item.commands), ("in", item.folders)):
        if texts:
            lines.append(f"{title:<7} {'   '.join(text[:100] for text in texts)}")
    lines.append(f"by      {whose}{', '.join(item.users) or 'not known'}")
    if item.said:
        lines.append(f"before  {'; '.join(item.said)}; what is known of others speaks against it, so it is asked again")
    return lines


def _why(item: Item) -> list[str]:
    likely = sorted(item.expected.items(), key=lambda each: -each[1])[:3]
    lines = [
        f"expected {', '.join(f'{name} {chance:.0%}' for name, chance in likely)}, of {item.part:.1%} of all jobs",
    ]
    if item.alike:
        lines.append("families that would follow: " + "; ".join(f"{family} ({near:.2f} alike)" for family, near in item.alike))
    return lines


def line(title: str, figures: Figures) -> str:
    """Final training in one line, with its bounds; where the policy leaves it out, the part that is unclassified."""
    share, ends = figures.shares.get("final_training"), figures.bounds.get("final_training")
    text = f"{title:<6} unclassified {figures.unclassified:.1%}"
    if share is None or ends is None:
        return text
    text = f"{title:<6} final training {share:.1%}, bounds {ends.low:.1%} to {ends.high:.1%}"
    if ends.likely_low is not None and ends.likely_high is not None:
        text += f", 90 % interval {ends.likely_low:.1%} to {ends.likely_high:.1%}"
    return f"{text}; unclassified {figures.unclassified:.1%}"
