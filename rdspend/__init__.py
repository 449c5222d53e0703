"""rdspend: what the compute money of an AI organisation went to.

    import rdspend

    lab = rdspend.open("rdspend.toml")
    lab.breakdown("2026-10").to_pandas()

Everything heavy is imported by `open`, so importing rdspend costs nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import os

    from rdspend.api import Opened

__all__ = ["open"]


def open(path: str | os.PathLike[str] = "rdspend.toml") -> Opened:
    """The organisation whose configuration this is: a file, or the folder with `rdspend.toml` in it. Only reads its ledger.

    Raises ConfigError when there is none, or it has to be edited.
    """
    from rdspend.api import Opened

    return Opened.at(path)
