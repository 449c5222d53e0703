"""The bill of AWS: cost and usage reports, CUR 2.0 and the legacy report, as Parquet, CSV, gzipped and zipped CSV.

    [collectors.aws_cur]
    path = "s3://billing-bucket/prefix/export"    # or a folder, a file, a glob
    sagemaker = "sagemaker"          # cluster that training, processing and transform jobs of the bill go to; "" for none
    bedrock = "bedrock"              # cluster that the use of Bedrock's models goes to; "" for none
    pods = ["ml-prod"]               # EKS clusters that can't be read themselves: their pods come from split cost rows
    capacity_reservations = "reservations.json"   # what `aws ec2 describe-capacity-reservations` printed
    [[collectors.aws_cur.capacity_block]]         # or one window by hand
    id = "cr-0123456789abcdef0"
    start = 2026-10-10T11:30:00Z
    end = 2026-10-24T11:30:00Z
    [collectors.aws_cur.s3]          # for s3:// only, each optional; credentials come from boto3's usual chain
    region = "eu-central-1"

Permission: to read the files; on S3 `s3:ListBucket` on the prefix and `s3:GetObject` on its objects, `kms:Decrypt` where a
key of yours encrypts them: deploy/iam/s3-bills.json. Copies of the objects go to a temporary folder, so it needs their size.

Files. The manifest of a month names its files, for Data Exports and the legacy report, overwritten or kept by execution or
assembly; a file that it names and that is not there is a delivery half-written, and the month stays open. So is one that is
newer than its manifest, on S3; in a folder, where times may be those of a copy, it is noted. Files that no manifest names are
noted and left out. Where there is no manifest at all the files are the bill as they lie there, which is noted; then a line is
of the month of its billing period. What did not change since it was read is not read again.

Billed cost is the unblended cost, or its `net` twin where the bill has one. Effective cost is amortised:

    Usage, Tax, Credit, discounts, Fee and Refund that are none of those below    what is billed
    SavingsPlanCoveredUsage    the plan's effective cost; where the bill gives none, what is billed (noted)
    DiscountedUsage            the reservation's effective cost; where the bill gives none, what is billed (noted)
    SavingsPlanNegation, SavingsPlanUpfrontFee, Fee of a reservation, Refund of a savings plan's fee    0
    SavingsPlanRecurringFee    commitment - used commitment: the unused part, bill_idle
    RIFee                      unused amortised upfront fee + unused recurring fee: the unused part, bill_idle
    Fee of a capacity block    0 where it was billed; its window's hours carry it

So the two sums of a month differ by upfront fees, their refunds and amortisation, by fees of capacity blocks, and by
commitments whose fee and use are not in one bill: bought by an account that the export has not, or in an open month, as a
reservation's fee is billed for all of it at once. Where costs are net, the unused part of a savings plan is still before
discounts: AWS gives no net twin of it. A refund is a Credit with its line_type. The resource of a commitment's own lines is
the commitment.

Lines of discounts (EdpDiscount, BundledDiscount, ...) say again what net costs have taken off: beside net costs those without a
net cost of their own are 0, those with one count, and both are noted. Without net costs they count as they are.

Rows of split cost allocation on EC2 (`EKSPod-EC2`, `ECSTask-EC2`) repeat the money of instances: they are left out of the
charges and counted. Rows of Fargate (`FargatePod`, `FargateTask`) are the bill of the task or pod itself: they stay.

A capacity block is paid when it is bought. With its window known, its fee becomes a line for each hour, of the resource
`id`: nodes that have it as their `pool` share the hour, an hour without jobs is idle. Fees of up to three months before the
window are looked for. On-demand reservations: `UnusedBox` and `UnusedDed` are Unused, so bill_idle.

HyperPod's instances are lines of SageMaker with the cluster's ARN: give nodes that ARN as their pool. Lines of Bedrock take
an id for each account, caller, resource, usage type and day as their resource, and keep their own under its name.

What it can't see: when SageMaker's jobs ran, so their GPU-hours are noted and in no figure of GPU time; how a job ended (it is
`completed`); when in the hour a pod ran; resources whose ids the export leaves out; cost categories; tags that are not
activated; two equal lines in a month of more than half a million, which are looked for below that (equal ids alone are no
mistake, and none is ever taken out).
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from dataclasses import dataclass, field, replace
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

import duckdb

from rdspend.bills import cur_bill, cur_blocks, cur_jobs
from rdspend.bills.cur_bill import Asked, Bill, case_notes, column_notes, drift_notes, line_notes
from rdspend.bills.cur_blocks import CapacityBlock
from rdspend.bills.cur_export import Bucket, Export, Folder, Period, refuse_two_formats, shifted
from rdspend.bills.files import readable, refuse_copies, sound
from rdspend.bills.scratch import scratch
from rdspend.bills.store import S3, Store, split
from rdspend.border import literal
from rdspend.errors import BadRecord, ConfigError, SourceUnavailable
from rdspend.schema import NAME, Delivery, Location, Window

Note = tuple[str, str, str, int]


@dataclass(frozen=True)
class AwsCur:
    """Reads a cost and usage report from files or S3."""

    path: Location
    sagemaker: str = "sagemaker"
    bedrock: str = "bedrock"
    pods: tuple[str, ...] = ()
    capacity_block: tuple[CapacityBlock, ...] = ()
    capacity_reservations: Location | None = None
    s3: S3 = field(default_factory=S3)

    def __post_init__(self) -> None:
        for key, names in (("sagemaker", (self.sagemaker,)), ("bedrock", (self.bedrock,)), ("pods", self.pods)):
            for name in names:
                if name and not NAME.fullmatch(name):
                    raise ConfigError(f"collectors.aws_cur.{key}: found {name!r}, expected letters, digits, '_', '.' and '-'")
        clusters = [name for name in (self.sagemaker, self.bedrock, *self.pods) if name]
        if len(clusters) > len(set(clusters)):
            raise ConfigError("collectors.aws_cur: sagemaker, bedrock and pods need different names")

    def collect(self, window: Window) -> Iterator[Delivery]:
        """Yield charges of each billing month of the window that the export has, then the jobs that the bill names.

        Rows are read when the ledger asks for them: not where it has them under the same key. Raises SourceUnavailable for a
        delivery that is not whole, BadRecord for what is wrong in it; rows are checked while they are read.
        """
        with readable(str(self.path)), scratch("aws_cur") as folder, closing(duckdb.connect()) as connection:
            _prepare(connection, folder)
            reading = _Reading(self, connection, self._export(folder), self._blocks())
            yield from reading.deliveries(window)

    def _export(self, folder: Path) -> Export:
        if not self.path.startswith("s3://"):
            return Export(self.path, Folder(str(self.path), folder))
        bucket, key = split(self.path)
        return Export(self.path, Bucket(Store(bucket, self.s3.client(self.path)), key, folder))

    def _blocks(self) -> tuple[CapacityBlock, ...]:
        described = cur_blocks.described(self.capacity_reservations) if self.capacity_reservations else ()
        by_id = {block.id: block for block in (*described, *self.capacity_block)}
        return tuple(by_id[name] for name in sorted(by_id))


def _prepare(connection: duckdb.DuckDBPyConnection, folder: Path) -> None:
    for setting in (
        "TimeZone = 'UTC'",
        "enable_progress_bar = false",
        "memory_limit = '512MB'",
        f"threads = {min(os.cpu_count() or 1, 4)}",
        f"temp_directory = {literal(str(folder / 'duckdb'))}",
        # Rows carry their number; keeping their order as well would hold back whole row groups in memory.
        "preserve_insertion_order = false",
        # The bill streams past the known services, however small its unknown size is guessed: never the other way round.
        "disabled_optimizers = 'join_order,build_side_probe_side'",
    ):
        connection.execute(f"SET {setting}")
    cur_bill.prepare(connection)
    cur_jobs.prepare(connection)


@dataclass
class _Reading:
    """One collect: what was opened stays open to its end."""

    config: AwsCur
    connection: duckdb.DuckDBPyConnection
    export: Export
    blocks: tuple[CapacityBlock, ...]
    _bills: dict[str, Bill] = field(default_factory=dict)
    _added: set[tuple[str, str]] = field(default_factory=set)

    def deliveries(self, window: Window) -> Iterator[Delivery]:
        periods = [p for p in map(self.export.period, window.months) if p is not None]
        for period in periods:
            notes: list[Note] = []
            yield Delivery(
                "charges",
                partial(self._charges, period, notes),
                {"billing_period": period.month},
                notes=notes,
                key=self._key(period),
            )
        if periods:
            yield from self._jobs(periods, window)

    # Charges.

    def _key(self, period: Period) -> str:
        looked_at = [p for month in self._fee_months(period.month) if (p := self._period(month))]
        words = (version("rdspend"), repr(self.config), repr(self.blocks), *(self.export.digest(p) for p in looked_at))
        return self.export.digest(period, *words)

    def _period(self, month: str) -> Period | None:
        return self.export.period(month)

    def _touching(self, month: str) -> list[CapacityBlock]:
        """Blocks whose hours or fee may be in a month."""
        return [b for b in self.blocks if b.months[0] <= month <= b.months[-1]]

    def _fee_months(self, month: str) -> list[str]:
        """Earlier months that may have the fee of a block whose window is not over before this month."""
        return sorted({m for b in self._touching(month) for m in b.months if m < month})

    def _bill(self, period: Period) -> Bill:
        """The files of a month, opened; only once."""
        if period.month not in self._bills:
            files = self.export.place.fetch(period.files)
            refuse_copies(files)
            bill = Bill.open(self.connection, files)
            if period.manifest is None:
                bill = bill.narrow(period.month)
                refuse_two_formats([f.name for part in bill.parts for f in part.files], period.month)
            self._bills[period.month] = bill
        return self._bills[period.month]

    def _asked(self, period: Period) -> Asked:
        blocks = tuple(b.id for b in self._touching(period.month))
        return Asked(period.month, period.manifest is not None, blocks, bool(self.config.bedrock))

    def _charges(self, period: Period, notes: list[Note]) -> Any:
        bill, asked = self._bill(period), self._asked(period)
        notes += self._file_notes(period, bill)
        groups = bill.summary(asked)
        asked = replace(asked, netted=bill.netted)
        notes += [
            *case_notes(bill),
            *line_notes(groups, asked.blocks),
            *cur_bill.equal_notes(bill, asked, sum(g.rows for g in groups)),
            *self._job_notes(period),
        ]
        selects = [part.charges(asked) for part in bill.parts]
        if asked.blocks:
            selects += self._block_hours(period, notes)
        if not selects:
            return self.connection.sql(cur_bill.nothing())
        return self.connection.sql(" UNION ALL ".join(f"({select})" for select in selects))

    def _block_hours(self, period: Period, notes: list[Note]) -> list[str]:
        """Fees of blocks, of this month and those before it, over the hours that this month has."""
        cur_blocks.start_fees(self.connection)
        for month in (*self._fee_months(period.month), period.month):
            fee_period = period if month == period.month else self._period(month)
            if fee_period is None:
                continue
            asked = self._asked(fee_period)
            for part in self._bill(fee_period).parts:
                with sound(part.files[0]):
                    cur_blocks.keep_fees(self.connection, part.charges(asked, "block IS NOT NULL"))
        touching = self._touching(period.month)
        paid = cur_blocks.fees(self.connection)
        for block in touching:
            if block.id not in paid and f"{block.start:%Y-%m}" <= period.month:
                detail = f"no fee names it from {block.months[0]} to {period.month}: its window has no cost here"
                notes.append(("capacity_block_without_fee", block.id, detail, 0))
        return [cur_blocks.hours(period.month, touching)] if paid else []

    def _file_notes(self, period: Period, bill: Bill) -> list[Note]:
        notes: list[Note] = []
        if period.manifest is None:
            where = str(self.config.path)
            notes.append(
                (
                    "no_manifest",
                    where,
                    "files are taken as they lie there: whether they are all is not known",
                    len(period.files),
                )
            )
        if period.newer:
            detail = "newer than its manifest: a delivery half-written, unless the files were copied without their times"
            notes.append(("newer_than_manifest", period.newer[0], detail, len(period.newer)))
        notes += [("not_in_manifest", name, "no manifest names it: left out", 1) for name in period.strays]
        return notes + column_notes(bill) + drift_notes(bill, period.month, self._columns_before(period))

    def _columns_before(self, period: Period) -> tuple[str, frozenset[str]] | None:
        """The columns of the month before, by its manifest or, where there is none, by its files."""
        month = shifted(period.month, -1)
        if period.manifest is None:
            bill = Bill.open(self.connection, self.export.place.fetch(period.files)).narrow(month)
            return (month, bill.columns) if bill.parts else None
        with suppress(SourceUnavailable, BadRecord):
            before = self._period(month)
            if before is not None and before.manifest is not None and before.manifest.columns:
                return month, before.manifest.columns
        return None

    # Jobs.

    def _job_notes(self, period: Period) -> list[Note]:
        """What the bill of a month can't say of the jobs that it names."""
        notes: list[Note] = []
        if self.config.sagemaker:
            self._add(period, cur_jobs.add_sagemaker)
            notes += cur_jobs.sagemaker_notes(self.connection, period.month)
            notes += cur_jobs.unknown_types(self.connection, "sagemaker_line", period.month)
        if self.config.pods:
            self._add(period, self._add_pods)
            notes += cur_jobs.unknown_types(self.connection, "instance_line", period.month)
        return notes

    def _add_pods(self, bill: Bill, month: str, checked: bool) -> None:
        cur_jobs.add_pods(bill, month, checked, self.config.pods)

    def _add(self, period: Period, add: Callable[[Bill, str, bool], None]) -> None:
        """Take the lines of a month that jobs are made of; once."""
        if (period.month, add.__name__) not in self._added:
            add(self._bill(period), period.month, period.manifest is not None)
            self._added.add((period.month, add.__name__))

    def _jobs(self, periods: list[Period], window: Window) -> Iterator[Delivery]:
        config = self.config
        key = "jobs:" + ":".join(self._key(p) for p in periods)
        own: list[tuple[str, Callable[[Bill, str, bool], None], Callable[[str], str]]] = [
            (config.sagemaker, cur_jobs.add_sagemaker, cur_jobs.sagemaker_jobs),
            (config.bedrock, cur_jobs.add_bedrock, cur_jobs.bedrock_jobs),
        ]
        for cluster, add, select in own:
            if cluster:
                rows = partial(self._made, periods, add, partial(select, cluster))
                yield Delivery("jobs", rows, {"cluster": cluster}, key=key)
        for cluster in config.pods:
            scope = {"cluster": cluster}
            for table, made in (
                ("nodes", cur_jobs.pod_nodes),
                ("jobs", cur_jobs.pod_jobs),
                ("placements", cur_jobs.pod_placements),
            ):
                as_of = window.end if table == "nodes" else None
                rows = partial(self._made, periods, self._add_pods, partial(made, cluster))
                yield Delivery(table, rows, scope, key=key, as_of=as_of)

    def _made(self, periods: list[Period], add: Callable[[Bill, str, bool], None], select: Callable[[], str]) -> Any:
        for period in periods:
            self._add(period, add)
        return self.connection.sql(select())
