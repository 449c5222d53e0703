"""Names a file after a breakdown, and writes it so that a reader sees all of the old one or all of the new one."""

from __future__ import annotations

import os
from pathlib import Path

from rdspend.errors import SourceUnavailable
from rdspend.schema import Breakdown

PLACES = ("period", "currency", "policy")


def check_places(key: str, template: str) -> None:
    """Raise ValueError when `template` has other places in braces than those of PLACES."""
    try:
        template.format(**dict.fromkeys(PLACES, ""))
    except (ValueError, LookupError) as error:
        places = ", ".join(f"{{{place}}}" for place in PLACES)
        raise ValueError(f"{key}: found {template!r}, expected no braces but {places}") from error


def fill_places(template: str, breakdown: Breakdown) -> str:
    return template.format(period=breakdown.period, currency=breakdown.currency, policy=breakdown.policy.name)


def write_whole(path: Path, data: bytes) -> None:
    """Replace `path` by `data`: written beside it, synced, moved over it. Raises SourceUnavailable where that fails.

    The file beside ends in `.tmp`, so that node_exporter's textfile collector (which reads `*.prom`) never takes it.
    """
    beside = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            with beside.open("wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            beside.replace(path)
        except OSError:
            beside.unlink(missing_ok=True)
            raise
        folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
    except OSError as error:
        raise SourceUnavailable(
            f"{path}: can't be written ({error.strerror or error}); make room or give the right to write, then publish again"
        ) from error
