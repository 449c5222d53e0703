"""The doctor: do the installed files match the install record, and who else ships our folders?

The top-level folders `collectors`, `taggers` and `exporters` are packages as they stand; another distribution with the same
folders would overwrite ours without a word. The install record keeps a hash of every file we installed.
"""

from __future__ import annotations

import base64
import hashlib
import importlib.util
import json
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.metadata import Distribution, distribution, distributions
from pathlib import Path

PACKAGES = ("rdspend", "collectors", "taggers", "exporters")


@dataclass(frozen=True)
class Examined:
    good: bool
    text: str


def examine(name: str = "rdspend") -> Iterator[Examined]:
    """Every check in turn."""
    ours = distribution(name)
    yield Examined(True, f"{name} {ours.version}")
    folder = _editable(ours)
    if folder is not None:
        yield Examined(True, f"installed in editable mode: the files are those of {folder}")
    else:
        yield from _compare(ours)
    yield from _elsewhere(ours, folder)
    for library in ("duckdb", "deltalake", "click", "msgspec", "prometheus-client"):
        yield Examined(True, f"{library} {distribution(library).version}")


def _editable(ours: Distribution) -> Path | None:
    text = ours.read_text("direct_url.json")
    if text is None:
        return None
    url = json.loads(text)
    editable = url.get("dir_info", {}).get("editable", False)
    return Path(str(url["url"]).removeprefix("file://")) if editable else None


def _compare(ours: Distribution) -> Iterator[Examined]:
    """Our files against the hashes in our own install record."""
    files = [f for f in ours.files or [] if f.parts[0] in PACKAGES and f.hash is not None]
    changed = []
    for file in files:
        path = Path(str(ours.locate_file(file)))
        if not path.exists():
            changed.append((str(file), "is gone"))
        elif file.hash is not None and _hash(path, file.hash.mode) != file.hash.value:
            changed.append((str(file), _owner(ours, str(file))))
    for file_name, why in changed:
        yield Examined(False, f"{file_name} {why}; reinstall rdspend into an environment of its own")
    if not changed:
        yield Examined(True, f"{len(files)} installed files are as they were installed")


def _hash(path: Path, mode: str) -> str:
    digest = hashlib.new(mode, path.read_bytes()).digest()
    return base64.urlsafe_b64encode(digest).rstrip(b"=").decode()


def _owner(ours: Distribution, file: str) -> str:
    """Which other distribution's record names the same file."""
    for other in distributions():
        if other.metadata["Name"] == ours.metadata["Name"]:
            continue
        if any(str(f) == file for f in other.files or []):
            return f"was overwritten by the package {other.metadata['Name']} {other.version}"
    return "was changed after it was installed"


def _elsewhere(ours: Distribution, folder: Path | None) -> Iterator[Examined]:
    """Does Python import our packages from where we installed them?"""
    root = folder or Path(str(ours.locate_file("")))
    for package in PACKAGES:
        spec = importlib.util.find_spec(package)
        origin = Path(spec.origin) if spec and spec.origin else None
        if origin is None:
            yield Examined(False, f"{package} can't be imported")
        elif root.resolve() not in origin.resolve().parents:
            yield Examined(
                False,
                f"{package} is imported from {origin.parent}, not from {root}: a foreign package of that name is in the way",
            )
    owners = {
        other.metadata["Name"]
        for other in distributions()
        if other.metadata["Name"] != ours.metadata["Name"] and any(f.parts[0] in PACKAGES[1:] for f in other.files or [])
    }
    for owner in sorted(owners):
        yield Examined(False, f"the package {owner} also ships one of {', '.join(PACKAGES[1:])}")
