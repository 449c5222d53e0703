"""Every error rdspend raises, one class for each decision its caller can take.

    RdspendError
      ConfigError            edit a file and start again                     exit 2
      SourceUnavailable      try again later; the period stays open          exit 3
        LedgerLocked         another writer holds the ledger                 exit 3
        LedgerUnwritable     the disk is full: free space, run again         exit 3
      BadRecord              the same input always fails: names file, line   exit 2
      ConservationError      a defect of ours: stop, publish nothing         exit 4

A message says where (`file:line` or `table.key`), what was found, what was expected and, where it helps, what to do.
"""

from __future__ import annotations


class RdspendError(Exception):
    """What rdspend raises on purpose; anything else is a defect."""

    exit_code = 1


class ConfigError(RdspendError):
    """The configuration, or a file it names as configuration, has to be edited."""

    exit_code = 2


class BadRecord(RdspendError):
    """A record of a source can't be read; the same input always fails.

    `file` and `line` (1-based, the header is line 1) are None where the source has none.
    """

    exit_code = 2

    def __init__(self, message: str, file: str | None = None, line: int | None = None) -> None:
        where = "" if file is None else f"{file}: " if line is None else f"{file}:{line}: "
        super().__init__(where + message)
        self.file = file
        self.line = line


class SourceUnavailable(RdspendError):
    """A source did not answer, or can't say that it has shown everything: retry; the period stays open."""

    exit_code = 3


class LedgerLocked(SourceUnavailable):
    """Another process writes to this ledger."""


class LedgerUnwritable(SourceUnavailable):
    """The ledger's disk takes no more; nothing of this run is kept."""


class ConservationError(RdspendError):
    """Money was created or lost between a bill and its attributions: nothing may be published."""

    exit_code = 4
