"""A cost and usage export of AWS as it lies in a folder or a bucket: which files are the bill of which month.

The manifest of a month names its files, never a listing. AWS writes it after the files, so a file that it names and that is
not there is a delivery half-written or half-copied. Layouts, all below one prefix or folder:

    data/BILLING_PERIOD=2026-10/[time-execution/]...    metadata/BILLING_PERIOD=2026-10/[time-execution/]NAME-Manifest.json
    20261001-20261101/[assembly/]...                    20261001-20261101/[assembly/]NAME-Manifest.json
    NAME/year=2026/month=10/...                         (the files of a legacy export in Parquet)

Without any manifest the files are the bill as they lie there.
"""

from __future__ import annotations

import hashlib
import json
import re
import zipfile
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import Any, ClassVar, Protocol

from rdspend.bills.files import SUFFIXES, File, find, readable
from rdspend.bills.store import Store
from rdspend.errors import BadRecord, SourceUnavailable

BILLS = (*SUFFIXES, ".zip")

MONTH_FOLDER = re.compile(
    r"(?:^|/)(?:billing_period=(?P<a>\d{4})-(?P<b>\d{2})|(?P<c>\d{4})(?P<d>\d{2})\d{2}-\d{8}"
    r"|year=(?P<e>\d{4})/month=(?P<f>\d{1,2}))(?=/)",
    re.IGNORECASE,
)
MANIFEST = re.compile(r"manifest\.json$", re.IGNORECASE)
# Beside the manifest AWS leaves files for the services that load the export.
OF_OTHERS = re.compile(r"(redshift|quicksight)manifest\.json$|/cost_and_usage_data_status/", re.IGNORECASE)
CAPITAL, UNDERSCORED = re.compile(r"(?<!^)([A-Z])"), r"_\1"
TIME_FOLDER = re.compile(r"\d{4}-?\d{2}-?\d{2}T")


class Place(Protocol):
    """Where an export lies. `in_order`: its times are those at which AWS wrote the files, not those of a copy."""

    in_order: ClassVar[bool]

    def names(self) -> list[str]:
        """All files, each by its full name."""
        ...

    def read(self, name: str) -> bytes: ...

    def mark(self, name: str) -> str:
        """Size and what else tells one content from another, without reading it."""
        ...

    def modified(self, name: str) -> float:
        """When it was written, in epoch seconds."""
        ...

    def fetch(self, names: Sequence[str]) -> list[File]: ...


@dataclass(frozen=True)
class Folder:
    """A file, a folder with all below it, or a glob."""

    path: str
    scratch: Path

    in_order: ClassVar[bool] = False

    def names(self) -> list[str]:
        return find(self.path)

    def read(self, name: str) -> bytes:
        return Path(name).read_bytes()

    def mark(self, name: str) -> str:
        with readable(name):
            stat = Path(name).stat()
        return f"{stat.st_size}:{stat.st_mtime_ns}"

    def modified(self, name: str) -> float:
        with readable(name):
            return Path(name).stat().st_mtime

    def fetch(self, names: Sequence[str]) -> list[File]:
        return [unzipped(File(name, Path(name)), self.scratch) for name in names]


@dataclass(frozen=True)
class Bucket:
    """A prefix, key or glob in S3. Objects are copied to the scratch folder, each once."""

    store: Store
    key: str
    scratch: Path
    fetched: dict[str, Path] = field(default_factory=dict)
    looked_at: dict[str, tuple[int, str, float]] = field(default_factory=dict)

    in_order: ClassVar[bool] = True

    def names(self) -> list[str]:
        return [f"s3://{self.store.bucket}/{key}" for key in self.store.find(self.key)]

    def _key(self, name: str) -> str:
        return name.removeprefix(f"s3://{self.store.bucket}/")

    def read(self, name: str) -> bytes:
        return self.store.read(self._key(name))

    def mark(self, name: str) -> str:
        size, etag, _ = self._look(name)
        return f"{size}:{etag}"

    def modified(self, name: str) -> float:
        return self._look(name)[2]

    def _look(self, name: str) -> tuple[int, str, float]:
        """What an object is; asked once."""
        if name not in self.looked_at:
            self.looked_at[name] = self.store.stat(self._key(name))
        return self.looked_at[name]

    def fetch(self, names: Sequence[str]) -> list[File]:
        folder = self.scratch / "s3"
        absent = [name for name in names if name not in self.fetched]
        self.fetched.update(zip(absent, self.store.fetch_all([self._key(n) for n in absent], folder), strict=True))
        return [unzipped(File(name, self.fetched[name], f"{folder}/"), self.scratch) for name in names]


def unzipped(file: File, scratch: Path) -> File:
    """A zipped CSV as the CSV in it; every other file as it is."""
    if not file.name.lower().endswith(".zip"):
        return file
    target = scratch / "unzipped" / hashlib.sha256(file.name.encode()).hexdigest() / "bill.csv"
    if target.exists():
        return File(file.name, target)
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        with zipfile.ZipFile(file.local) as archive:
            inside = [entry for entry in archive.infolist() if not entry.is_dir()]
            if len(inside) != 1 or not inside[0].filename.lower().endswith(".csv"):
                found = ", ".join(entry.filename for entry in inside) or "nothing"
                raise BadRecord(f"found {found} in it, expected one .csv", file.name)
            with archive.open(inside[0]) as packed, target.open("wb") as out:
                while chunk := packed.read(1 << 20):
                    out.write(chunk)
    except (zipfile.BadZipFile, EOFError) as error:
        target.unlink(missing_ok=True)
        raise BadRecord(f"not a whole zip file ({error}); fetch it again", file.name) from error
    return File(file.name, target)


def shifted(month: str, by: int) -> str:
    """The month that many months later."""
    number = int(month[:4]) * 12 + int(month[5:]) - 1 + by
    return f"{number // 12:04d}-{number % 12 + 1:02d}"


def snake(column: str) -> str:
    """A column of any shape of the report by its name in CUR 2.0: `lineItem/UsageType` is line_item_usage_type.

    Tags and cost categories of the legacy CSV keep their own spelling: resource_tags_user:Team.
    """
    group, slash, name = column.partition("/")
    if not slash:
        return column if column.lower().startswith("resource_tags_") else column.lower()
    prefix = CAPITAL.sub(UNDERSCORED, group).lower()
    if prefix in ("resource_tags", "cost_category"):
        return f"{prefix}_{name}"
    return f"{prefix}_{CAPITAL.sub(UNDERSCORED, name).lower()}"


@dataclass(frozen=True)
class Manifest:
    """What AWS says of one delivery of one month."""

    name: str
    month: str
    files: tuple[str, ...]
    columns: frozenset[str]
    digest: str

    @property
    def group(self) -> str:
        """The export and month it is of: everything up to the folder of the month."""
        return self.name[: _month_folder_end(self.name)]

    @property
    def inside(self) -> str:
        """Folders between the folder of the month and the manifest: an assembly or execution of create-new, or none."""
        return str(PurePosixPath(self.name[_month_folder_end(self.name) :].lstrip("/")).parent)


def _month_folder_end(name: str) -> int:
    found = MONTH_FOLDER.search(name)
    return found.end() if found else len(name) - len(PurePosixPath(name).name)


def month_of(name: str) -> str | None:
    """The month that a folder of the name says."""
    found = MONTH_FOLDER.search(name)
    if not found:
        return None
    year, number = (next(filter(None, (found[g] for g in groups))) for groups in ("ace", "bdf"))
    return f"{year}-{int(number):02d}"


def read_manifest(name: str, content: bytes) -> Manifest:
    """Raises SourceUnavailable where it is cut short, BadRecord where it is something else."""
    try:
        tree = json.loads(content)
    except ValueError as error:
        raise SourceUnavailable(f"{name}: not a whole manifest ({error}); a delivery half-written: ask again later") from error
    named = tree.get("dataFiles", tree.get("reportKeys")) if isinstance(tree, dict) else None
    if not isinstance(named, list) or not all(isinstance(key, str) for key in named):
        raise BadRecord("found no list of files, expected `dataFiles` or `reportKeys` as AWS writes them", name)
    period = tree.get("billingPeriod")
    said = re.sub(r"\D", "", str(period.get("start", "")) if isinstance(period, dict) else str(period or ""))
    month = f"{said[:4]}-{said[4:6]}" if len(said) >= 6 else month_of(name)
    if month is None:
        raise BadRecord("found no billingPeriod, expected the month that its files are of", name)
    folder = month_of(name)
    if folder not in (None, month):
        raise BadRecord(f"its billing period is {month}, its folder says {folder}", name)
    twice = sorted({key for key in named if named.count(key) > 1})
    if twice:
        raise BadRecord(f"names {twice[0]} twice, expected every file once", name)
    columns = frozenset(_column(c) for c in tree.get("columns", ()) if isinstance(c, dict | str))
    return Manifest(name, month, tuple(named), columns, hashlib.sha256(content).hexdigest())


def _column(column: dict[str, Any] | str) -> str:
    if isinstance(column, str):
        return snake(column)
    category = column.get("category")
    return snake(f"{category}/{column.get('name')}" if category else str(column.get("name")))


@dataclass(frozen=True)
class Period:
    """The files of one month. `manifest` is None where there is none; then they may hold other months too.

    strays  files in the folder of the month that no manifest names
    newer   files that are newer than the manifest that names them
    """

    month: str
    files: tuple[str, ...]
    manifest: Manifest | None
    strays: tuple[str, ...] = ()
    newer: tuple[str, ...] = ()


@dataclass(frozen=True)
class Export:
    """All that lies at a path."""

    path: str
    place: Place

    @cached_property
    def _names(self) -> list[str]:
        names = self.place.names()
        if not any(n.lower().endswith(BILLS) for n in names):
            expected = f"expected a cost and usage export, or files that end in {', '.join(BILLS)}"
            raise SourceUnavailable(f"{self.path}: no bill found, {expected}")
        return names

    @cached_property
    def bills(self) -> list[str]:
        return [n for n in self._names if n.lower().endswith(BILLS) and not OF_OTHERS.search(n)]

    @cached_property
    def _by_file_name(self) -> dict[str, list[str]]:
        found: dict[str, list[str]] = {}
        for name in self.bills:
            found.setdefault(PurePosixPath(name).name, []).append(name)
        return found

    @cached_property
    def _manifest_names(self) -> list[str]:
        return [n for n in self._names if MANIFEST.search(n) and not OF_OTHERS.search(n)]

    @cached_property
    def _manifests(self) -> dict[str, Manifest]:
        return {}

    def _manifests_of(self, month: str) -> list[Manifest]:
        """Those in a folder of the month, and those in no folder of any month."""
        wanted = [n for n in self._manifest_names if month_of(n) in (None, month)]
        for name in wanted:
            if name not in self._manifests:
                self._manifests[name] = read_manifest(name, self.place.read(name))
        return [m for m in (self._manifests[n] for n in wanted) if m.month == month]

    @cached_property
    def months(self) -> list[str]:
        """Months that have a manifest, in order."""
        loose = {read_manifest(n, self.place.read(n)).month for n in self._manifest_names if month_of(n) is None}
        return sorted(loose | {m for m in map(month_of, self._manifest_names) if m})

    def period(self, month: str) -> Period | None:
        """The bill of a month; None: the export has none, and is not known to have a hole there.

        Raises SourceUnavailable for a delivery that is not whole, BadRecord for a month that is there twice.
        """
        if not self._manifest_names:
            return self._as_it_lies(month)
        manifests = self._manifests_of(month)
        in_folder = [n for n in self.bills if month_of(n) == month]
        if not manifests:
            if in_folder:
                raise SourceUnavailable(f"{in_folder[0]}: the manifest of {month} is not there yet; AWS writes it last")
            if self.months[0] < month < self.months[-1]:
                raise SourceUnavailable(
                    f"{self.path}: there are months before and after {month}, but not this one; fetch it, or let AWS backfill"
                )
            return None
        manifest = self._newest(manifests, month)
        files = tuple(self._find(key, manifest) for key in manifest.files)
        refuse_two_formats(files, month)
        named = {name for other in manifests for key in other.files for name in self._alike(key, other)}
        return Period(month, files, manifest, tuple(n for n in in_folder if n not in named), self._newer(files, manifest))

    def _newer(self, files: Sequence[str], manifest: Manifest) -> tuple[str, ...]:
        """Files newer than their manifest. AWS overwrites a month's files, then its manifest: between the two they don't match.

        In a folder the times may be those of a copy, so there it is only said.
        """
        written = self.place.modified(manifest.name)
        newer = tuple(name for name in files if self.place.modified(name) > written)
        if newer and self.place.in_order:
            raise SourceUnavailable(
                f"{newer[0]}: newer than {manifest.name}, which names it: a delivery half-written; ask again later. Where the "
                "export is a copy of your own, copy its manifests last"
            )
        return newer

    def _as_it_lies(self, month: str) -> Period:
        files = tuple(n for n in self.bills if month_of(n) in (None, month))
        return Period(month, files, None)

    def _newest(self, manifests: Iterable[Manifest], month: str) -> Manifest:
        found = sorted(manifests, key=lambda m: m.name)
        groups = sorted({m.group for m in found})
        if len(groups) > 1:
            raise BadRecord(
                f"{month} is there twice, also below {groups[1]}; expected one export: let `path` name one of them", groups[0]
            )
        direct = [m for m in found if m.inside == "."]
        if len(direct) > 1:
            raise BadRecord(f"{month} has also {direct[1].name}; expected one export below `path`", direct[0].name)
        if direct or len(found) == 1:
            return (direct or found)[0]
        if all(TIME_FOLDER.match(m.inside) for m in found):
            return max(found, key=lambda m: re.sub(r"[-:]", "", m.inside))
        raise BadRecord(
            f"{month} has {len(found)} manifests and nothing says which is the newest; expected one in the folder of the month "
            "itself, as AWS leaves it there",
            found[0].name,
        )

    def _find(self, key: str, manifest: Manifest) -> str:
        alike = self._alike(key, manifest)
        if len(alike) > 1:
            raise BadRecord(
                f"names {key}, which may be {alike[0]} or {alike[1]}; expected one export below `path`", manifest.name
            )
        if not alike:
            raise SourceUnavailable(
                f"{manifest.name}: names {key}, which is not there: a delivery half-written or half-copied; ask again later, "
                "or fetch it again"
            )
        return alike[0]

    def _alike(self, key: str, manifest: Manifest) -> list[str]:
        """The files that a key of a manifest may be: an export may have been copied to another place, but not reordered."""
        wanted = PurePosixPath(key.removeprefix("s3://")).parts
        beside = str(PurePosixPath(manifest.name).parent)
        common = {name: _common_end(PurePosixPath(name).parts, wanted) for name in self._by_file_name.get(wanted[-1], ())}
        most = max(common.values(), default=0)
        if most < min(2, len(wanted)):
            return [n for n in common if str(PurePosixPath(n).parent) == beside]
        return [name for name, parts in common.items() if parts == most and month_of(name) in (None, manifest.month)]

    def digest(self, period: Period, *words: str) -> str:
        """Of all that the rows of a month are made from: words, manifest, names and marks of the files."""
        found = hashlib.sha256()
        manifest = "" if period.manifest is None else period.manifest.digest
        marks = (f"{name} {self.place.mark(name)}" for name in (*period.files, *period.strays))
        for word in (*words, period.month, manifest, *marks):
            found.update(word.encode() + b"\0")
        return found.hexdigest()


def _common_end(a: Sequence[str], b: Sequence[str]) -> int:
    count = 0
    for x, y in zip(reversed(a), reversed(b), strict=False):
        if x != y:
            break
        count += 1
    return count


def refuse_two_formats(files: Sequence[str], month: str) -> None:
    parquet = [f for f in files if f.lower().endswith(".parquet")]
    others = [f for f in files if f not in parquet]
    if parquet and others:
        raise BadRecord(
            f"{month} is there as Parquet and as CSV ({others[0]}); it would count twice: keep one of them", parquet[0]
        )
