"""Host lists as Slurm writes them, `n[1-3,07],gpu[01-02]-ib[0-1]`, to the names they stand for."""

from __future__ import annotations

import re
from collections.abc import Iterator

MAX_NAMES = 1_000_000
_MAX_DEPTH = 16
_RANGE = re.compile(r"([0-9]{1,18})(?:-([0-9]{1,18}))?")


def expand(text: str) -> list[str]:
    """The names in a host list, in its order, each once.

    Names are parted by commas or blanks. `[...]` holds numbers, ranges of numbers and host lists of their own; a range
    keeps the zero padding of its first number, as in Slurm. Several brackets multiply. No name: empty list.
    Raises ValueError for brackets that don't match, an empty or backward range, and more than MAX_NAMES names.
    """
    return list(dict.fromkeys(_expand(text, 0)))


def _expand(text: str, depth: int) -> list[str]:
    if depth > _MAX_DEPTH:
        raise ValueError(f"brackets are nested more than {_MAX_DEPTH} deep")
    names: list[str] = []
    for word in _split(text, r",\s"):
        if word:
            names += _multiply(word, depth)
            _limit(len(names))
    return names


def _multiply(word: str, depth: int) -> list[str]:
    names = [""]
    for piece, bracket in _pieces(word):
        members = _members(piece, depth) if bracket else [piece]
        _limit(len(names) * len(members))
        names = [name + member for name in names for member in members]
    return names


def _members(inside: str, depth: int) -> list[str]:
    """What stands between one pair of brackets."""
    members: list[str] = []
    for item in _split(inside, ","):
        found = _RANGE.fullmatch(item)
        if found:
            first, last = found[1], found[2] or found[1]
            if int(last) < int(first):
                raise ValueError(f"range {item!r} runs backward")
            _limit(len(members) + int(last) - int(first))
            members += [str(number).zfill(len(first)) for number in range(int(first), int(last) + 1)]
        elif "[" in item:
            members += _expand(item, depth + 1)
        else:
            raise ValueError(f"{item!r} between brackets is not a number or a range like 1-3")
        _limit(len(members))
    return members


def _split(text: str, separators: str) -> Iterator[str]:
    """Parts between separators that stand outside of brackets."""
    depth, part = 0, ""
    for token in re.split(rf"([\[\]]|[{separators}])", text):
        if token == "[":
            depth += 1
        elif token == "]":
            depth -= 1
        elif token and depth == 0 and re.fullmatch(f"[{separators}]", token):
            yield part
            part = ""
            continue
        if depth < 0:
            raise ValueError("a ']' has no '['")
        part += token
    if depth:
        raise ValueError("a '[' has no ']'")
    yield part


def _pieces(word: str) -> Iterator[tuple[str, bool]]:
    """A name cut at its outer brackets: (text, False) and (inside of brackets, True)."""
    depth, begin = 0, 0
    for at, character in enumerate(word):
        if character == "[":
            if depth == 0 and at > begin:
                yield word[begin:at], False
            begin = at + 1 if depth == 0 else begin
            depth += 1
        elif character == "]":
            depth -= 1
            if depth == 0:
                yield word[begin:at], True
                begin = at + 1
    if begin < len(word):
        yield word[begin:], False


def _limit(count: int) -> None:
    if count > MAX_NAMES:
        raise ValueError(f"the host list stands for more than {MAX_NAMES:,} names")
