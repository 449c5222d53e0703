"""A temporary folder for copies of bills, and the removal of those that killed processes left behind."""

from __future__ import annotations

import fcntl
import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

# A folder so young may have an owner that has not locked it yet.
YOUNG_SECONDS = 60

# Only a folder with this file in it is swept: others may give theirs such a name too.
MARK = ".rdspend-scratch"


@contextmanager
def scratch(source: str) -> Iterator[Path]:
    """A folder with nothing but MARK in it, gone afterwards. Its owner's lock on it ends with the process."""
    prefix = f"rdspend-{source}-"
    _sweep(prefix)
    with tempfile.TemporaryDirectory(prefix=prefix) as folder:
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        try:
            with suppress(OSError):  # a file system without locks: nothing is swept there either
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            (Path(folder) / MARK).touch()
            yield Path(folder)
        finally:
            os.close(descriptor)


def _sweep(prefix: str) -> None:
    for folder in Path(tempfile.gettempdir()).glob(f"{prefix}*"):
        with suppress(OSError):
            _remove_if_left(folder)


def _remove_if_left(folder: Path) -> None:
    """Raises OSError where it is another user's, a link, not marked, or locked by its owner, who lives."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    try:
        os.stat(MARK, dir_fd=descriptor, follow_symlinks=False)
        state = os.fstat(descriptor)
        if state.st_uid == os.geteuid() and time.time() - state.st_mtime > YOUNG_SECONDS:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            shutil.rmtree(folder, ignore_errors=True)
    finally:
        os.close(descriptor)
