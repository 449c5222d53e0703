"""Jobs, placements and nodes of a Slurm cluster, read from `sacct`, `scontrol`, `sdiag` and `sacctmgr`.

    [collectors.slurm]
    cluster = "h100"                       # the name it has in rdspend
    bin_dir = "/opt/slurm/bin"             # optional: folder of the commands; else they are looked up on PATH
    slurm_conf = "/etc/slurm/slurm.conf"   # optional: sets SLURM_CONF
    timeout_seconds = 60                   # of each command
    settle_seconds = 10                    # how late an accounting record may come; 6 or more
    gpu_tres = "gres/gpu"                  # the TRES that counts GPUs
    resource_id = "instance_id"            # what the bill calls a node: "instance_id" or "node_name"
    pools = { h100 = "cr-0123456789abcdef0" }   # nodes of these partitions share what the bill says of this resource

Works with Slurm 22.05 and newer. Needs a machine with the Slurm client commands and `AccountingStorageType=
accounting_storage/slurmdbd`, and a user who may see every job: with `PrivateData=jobs` an operator or coordinator
(`AdminLevel=Operator`), else any user. Nothing is written to Slurm. `AccountingStorageTRES` must name gres/gpu:
without it Slurm does not record GPUs, and a cluster with GPU nodes is refused. Job comments are recorded only with
`AccountingStoreFlags=job_comment`; AdminComment and SystemComment always.

Two calls of sacct an interval, both bounded by explicit times. The edge is the window's end, or `now -
settle_seconds` if that is earlier (the window is open):

- `-s R,S` at the edge: jobs that ran or were suspended then, with their true end where they have ended since. For a
  past month this brings the jobs that ended after it; for an open window all open jobs.
- `-s` all final states, from `window start - settle_seconds` to the edge: jobs that ended inside. The next window of a
  daemon begins where this one stopped, so each finished job is read once, and once more if it ended after the edge.

Every job that touches the window up to the edge is in one of them. slurmctld sends the start of a job up to 5 seconds
late, which is why the edge stays settle_seconds behind now: an open window that ends now is complete, and what
happened after its edge comes with the next one. One that ends later than now + settle_seconds is not complete, and one
that starts in the future (the clock went back) is SourceUnavailable. Before the calls `sdiag` must say that
slurmctld has handed all its records to slurmdbd; while it has not, for longer than settle_seconds, nothing is
delivered: a stale answer would lose the jobs that ended meanwhile.

sacct escapes nothing. Fields are separated by a unit separator and three random letters, new for every call, so
that no job name or comment can imitate a record; the raw id is the first and the last field, and lines are joined
until the fields are complete. The key of a run is cluster, JobID (`15_4`, `17+1`) and submit time: a requeue is a
new run with a new submit time. `job_id_raw` in the labels is the `SLURM_JOB_ID` that the job itself saw, where it
differs.

What it cannot see: which GPUs of a node a job held, and how an uneven job was spread over its nodes (GPUs, CPUs and
memory are spread evenly, exactly, remainder to the first nodes); jobs that still wait; the comment of a job that
still runs (Slurm stores it when the job ends; its submit line is there from the start); steps; batch scripts; what
part of its time a suspended job was stopped (it counts as running); runaway jobs (`sacctmgr show runawayjobs` names
and mends them), which count as running; a MIG slice, which Slurm counts as one gres/gpu like a whole one; when a
node without instance history appeared, and nodes that have left the configuration.
"""

from __future__ import annotations

import itertools
import os
import re
import secrets
import shutil
import string
import subprocess
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import ClassVar, Literal

import duckdb

from rdspend.border import end_day, job_key, literal
from rdspend.errors import BadRecord, ConfigError, SourceUnavailable
from rdspend.hostlist import expand
from rdspend.schema import GPU_PARTS, NAME, Delivery, Location, Window

# Field of sacct to column. The raw id comes first and last. Fields of the second group are not in every version.
FIELDS = {
    "JobIDRaw": "raw_id",
    "JobID": "job_id",
    "JobName": "name",
    "User": "user",
    "Account": "account",
    "WCKey": "wckey",
    "State": "state",
    "ExitCode": "exit_code",
    "Submit": "submit",
    "Start": "start",
    "End": "end",
    "Partition": "queue",
    "QOS": "qos",
    "NodeList": "node_list",
    "AllocTRES": "alloc_tres",
    "ReqTRES": "req_tres",
    "Reservation": "reservation",
    "Constraints": "constraints",
    "WorkDir": "work_dir",
    "Comment": "comment",
    "AdminComment": "admin_comment",
    "SystemComment": "system_comment",
}
NEWER_FIELDS = {"Container": "container", "SubmitLine": "submit_line", "Extra": "extra", "Restarts": "restarts"}

OUTCOME = {
    "COMPLETED": "completed",
    "RESIZING": "completed",  # the job goes on under a new submit time, with other resources
    "FAILED": "failed",
    "NODE_FAIL": "failed",
    "BOOT_FAIL": "failed",
    "OUT_OF_MEMORY": "failed",
    "LAUNCH_FAILED": "failed",
    "RECONFIG_FAIL": "failed",
    "SPECIAL_EXIT": "failed",
    "CANCELLED": "cancelled",
    "REVOKED": "cancelled",
    "TIMEOUT": "timeout",
    "DEADLINE": "timeout",
    "PREEMPTED": "preempted",
    "REQUEUED": "preempted",
    "RUNNING": "running",
    "SUSPENDED": "running",
    "COMPLETING": "running",
    "STOPPED": "running",
    "STAGE_OUT": "running",
    "SIGNALING": "running",
}
FINAL_STATES = "BF,CA,CD,DL,F,NF,OOM,PR,RQ,RS,RV,TO"
RUNNING_STATES = "R,S"

COMMIT_SECONDS = 2  # slurmdbd has the last record, but others may not see it yet

BLOCK_BYTES = 1 << 24
LONGEST_BULK_LINE = 1 << 20


@dataclass(frozen=True)
class Slurm:
    """One Slurm cluster."""

    cluster: str
    bin_dir: Location | None = None
    slurm_conf: Location | None = None
    timeout_seconds: float = 60
    settle_seconds: int = 10
    gpu_tres: str = "gres/gpu"
    resource_id: Literal["instance_id", "node_name"] = "instance_id"
    pools: Mapping[str, str] = field(default_factory=dict)

    # The daemon may ask for short windows: a finished job is read once.
    incremental: ClassVar[bool] = True

    def __post_init__(self) -> None:
        if not NAME.fullmatch(self.cluster):
            raise ValueError(f"cluster = {self.cluster!r}: expected letters, digits, `_`, `.` and `-`")
        if self.timeout_seconds <= 0 or self.settle_seconds < 0:
            raise ValueError("timeout_seconds must be more than 0, settle_seconds 0 or more")
        if not re.fullmatch(r"gres/[\w.-]+", self.gpu_tres):
            raise ValueError(f"gpu_tres = {self.gpu_tres!r}: expected `gres/` and a name, such as `gres/gpu`")

    def collect(self, window: Window) -> Iterator[Delivery]:
        """Jobs and placements that touch the window, and the nodes as they are now.

        Raises SourceUnavailable when a command fails, hangs or stops in the middle; BadRecord when a record can't be
        read; ConfigError when a command is missing or Slurm does not record GPUs.
        """
        now = datetime.now(UTC)
        settle = timedelta(seconds=self.settle_seconds)
        if window.start > now + settle:
            raise SourceUnavailable(
                f"slurm: the window starts at {window.start.isoformat()}, but it is {now.isoformat()}: did the clock go back?"
            )
        is_open = window.end > now - settle
        edge = int(min(window.end, now - settle).timestamp())
        first = min(int(window.start.timestamp()) - self.settle_seconds, edge)
        scope = {"cluster": self.cluster}
        with tempfile.TemporaryDirectory(prefix="rdspend-slurm-") as folder, duckdb.connect() as connection:
            connection.execute("SET TimeZone = 'UTC'; SET enable_progress_bar = false")
            connection.execute(f"SET temp_directory = {literal(folder)}")
            connection.execute("SET memory_limit = '512MB'")
            fields = self._fields()
            # First of all, since it fails at once when slurmdbd is gone; again, if slurmdbd had not got everything.
            running = self._sacct(fields, RUNNING_STATES, edge, edge + 1, Path(folder, "running"))
            if self._wait_for_records():
                running = self._sacct(fields, RUNNING_STATES, edge, edge + 1, Path(folder, "running"))
            finished = self._sacct(fields, FINAL_STATES, first, edge, Path(folder, "finished"))
            nodes = self._nodes()
            land(connection, [finished, running], fields)
            notes = normalise(connection, self.cluster, self.gpu_tres)
            seen = window.end <= now + settle
            yield Delivery("jobs", connection.sql(JOBS_SQL), scope, seen, is_open, notes)
            yield Delivery("placements", connection.sql(PLACEMENTS_SQL), scope, seen, is_open)
            land_nodes(connection, self.cluster, nodes, self.pools)
            yield Delivery("nodes", connection.sql(NODES_SQL), scope, as_of=now, notes=pool_notes(nodes, self.pools))

    def _run(self, command: str, *arguments: str, to: Path | None = None) -> str:
        """Run one Slurm command within the time-out; its output as text, or into a file."""
        path = shutil.which(command, path=self.bin_dir)
        if path is None:
            where = f"in bin_dir {self.bin_dir}" if self.bin_dir else "on PATH"
            raise ConfigError(f"slurm: no command `{command}` {where}: install the Slurm client or set bin_dir")
        with tempfile.TemporaryFile() if to is None else to.open("w+b") as output:
            try:
                done = subprocess.run(
                    [path, *arguments],
                    stdin=subprocess.DEVNULL,
                    stdout=output,
                    stderr=subprocess.PIPE,
                    timeout=self.timeout_seconds,
                    env=self._environment(),
                    check=False,
                )
            except subprocess.TimeoutExpired:
                raise SourceUnavailable(
                    f"slurm: `{command}` gave no answer within timeout_seconds = {self.timeout_seconds:g}; does slurmdbd hang?"
                ) from None
            except OSError as error:
                raise ConfigError(f"slurm: {path} can't be run: {error.strerror}") from error
            if done.returncode != 0:
                said = done.stderr.decode(errors="backslashreplace").strip() or "nothing"
                raise SourceUnavailable(f"slurm: `{command}` ended with status {done.returncode} and said: {said[:2000]}")
            output.seek(0)
            return "" if to else output.read().decode(errors="backslashreplace")

    def _environment(self) -> dict[str, str]:
        """Ours, without what would change the commands' output or their cluster."""
        ours = {k: v for k, v in os.environ.items() if not k.startswith(("SLURM_", "SACCT_", "SDIAG_")) or k == "SLURM_CONF"}
        conf = {"SLURM_CONF": str(self.slurm_conf)} if self.slurm_conf else {}
        return ours | conf | {"SLURM_TIME_FORMAT": "%s", "LC_ALL": "C.UTF-8", "TZ": "UTC"}

    def _fields(self) -> dict[str, str]:
        """The fields this version of sacct has."""
        known = set(self._run("sacct", "--helpformat").split())
        if missing := [field for field in FIELDS if field not in known]:
            raise ConfigError(f"slurm: sacct has no field {', '.join(missing)}; rdspend needs Slurm 22.05 or newer")
        return FIELDS | {field: column for field, column in NEWER_FIELDS.items() if field in known}

    def _sacct(self, fields: dict[str, str], states: str, start: int, end: int, to: Path) -> Records:
        """Ask sacct for runs in these states and times."""
        delimiter = "\x1f" + "".join(secrets.choice(string.ascii_letters) for _ in range(3))
        # -s with -S but without -E returns nothing.
        asked = ("-a", "-D", "-X", "-s", states, "-S", f"uts{start}", "-E", f"uts{end}")
        form = ("-P", "-n", "--noconvert", f"--delimiter={delimiter}", "-o", ",".join([*fields, "JobIDRaw"]))
        self._run("sacct", *asked, *form, to=to)
        return split_records(to, delimiter, len(fields) + 1, " ".join(("sacct", *asked)))

    def _wait_for_records(self) -> bool:
        """Until slurmctld has no accounting records that slurmdbd has not got; whether there were any."""
        began = time.monotonic()
        waited = False
        while waiting := waiting_records(self._run("sdiag")):
            waited = True
            if time.monotonic() - began >= self.settle_seconds:
                raise SourceUnavailable(
                    f"slurm: slurmctld still holds {waiting} accounting records that slurmdbd has not got; "
                    "the accounting is behind (sdiag, `DBD Agent queue size`)"
                )
            time.sleep(0.2)
        if waited:
            time.sleep(COMMIT_SECONDS)
        return waited

    def _nodes(self) -> list[Node]:
        """The nodes and the instances they were."""
        settings = dict(re.findall(r"(?m)^(\w+) *= (.*?) *$", self._run("scontrol", "show", "config")))
        nodes = parse_nodes(self._run("scontrol", "-o", "show", "node"), self.gpu_tres.removeprefix("gres/"))
        tracked = settings.get("AccountingStorageTRES", "")
        if not any(t == self.gpu_tres or t.startswith(f"{self.gpu_tres}:") for t in tracked.split(",")) and any(
            node.gpus for node in nodes
        ):
            raise ConfigError(
                f"slurm: nodes have GPUs, but Slurm does not record them: AccountingStorageTRES is {tracked!r}; "
                f"add {self.gpu_tres} to it in slurm.conf"
            )
        if self.resource_id == "node_name":
            return [node.called(node.name) for node in nodes]
        spans: list[Span] = []
        if version(settings.get("SLURM_VERSION", "")) >= (23, 11):
            columns = "Cluster,NodeName,Start,End,InstanceID,InstanceType"
            text = self._run("sacctmgr", "-n", "-P", "show", "instance", "start=1970-01-02", f"format={columns}")
            spans = parse_instances(text, settings.get("ClusterName", ""))
        return with_history(nodes, spans)


# --- records of sacct -------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Records:
    """One answer of sacct: a file with the records that are one clean line each, and the others, by record number.

    In the file an empty line of fields stands for each of the others, so that its n-th line is the n-th record.
    """

    command: str
    delimiter: str
    path: Path
    count: int
    others: dict[int, list[str]]


def split_records(path: Path, delimiter: str, width: int, command: str) -> Records:
    """Cut an answer of sacct into records of `width` fields, and join those that a newline in a field has broken.

    Only broken lines, and lines with bytes that a bulk reader might take otherwise, pass through a loop. Raises
    SourceUnavailable when the text stops within a record, BadRecord when a line belongs to no record.
    """
    mark = delimiter.encode()
    empty = mark * (width - 1) + b"\n"
    bulk = path.with_suffix(".bulk")
    others: dict[int, list[str]] = {}
    records = 0
    broken: list[bytes] = []
    with path.open("rb") as source, bulk.open("wb") as target:
        while lines := source.readlines(BLOCK_BYTES):
            if not lines[-1].endswith(b"\n"):
                raise SourceUnavailable(f"{command}: the answer stops in the middle of record {records + len(lines)}")
            block = b"".join(lines)
            marks = list(map(bytes.count, lines, itertools.repeat(mark)))
            odd = _odd_lines(lines, marks, block, width)
            begin = 0
            for at in odd:
                if broken and at > begin:
                    raise _unfit(command, records + 1, broken, width)
                target.writelines(lines[begin:at])
                records += at - begin
                begin = at + 1
                broken.append(lines[at])
                fields = b"".join(broken)[:-1].split(mark)
                if len(fields) > width:
                    raise _unfit(command, records + 1, broken, width)
                if len(fields) == width:
                    records += 1
                    others[records] = [field.decode(errors="backslashreplace") for field in fields]
                    target.write(empty)
                    broken = []
            if broken and begin < len(lines):
                raise _unfit(command, records + 1, broken, width)
            target.writelines(lines[begin:])
            records += len(lines) - begin
    if broken:
        raise SourceUnavailable(f"{command}: the answer stops in the middle of record {records + 1}")
    return Records(command, delimiter, bulk, records, others)


def _odd_lines(lines: Sequence[bytes], marks: Sequence[int], block: bytes, width: int) -> list[int]:
    """Places of the lines that are not one clean record."""
    try:
        block.decode()
        clean = b"\r" not in block and b"\0" not in block and max(map(len, lines)) <= LONGEST_BULK_LINE
    except UnicodeDecodeError:
        clean = False
    if clean:
        whole = width - 1
        return [] if marks.count(whole) == len(lines) else [at for at, n in enumerate(marks) if n != whole]
    return [at for at, line in enumerate(lines) if marks[at] != width - 1 or not _is_clean(line)]


def _is_clean(line: bytes) -> bool:
    try:
        line.decode()
    except UnicodeDecodeError:
        return False
    return b"\r" not in line and b"\0" not in line and len(line) <= LONGEST_BULK_LINE


def _unfit(command: str, record: int, lines: Sequence[bytes], width: int) -> BadRecord:
    text = b"".join(lines)[:200].decode(errors="backslashreplace")
    return BadRecord(f"expected {width} fields with the job id first and last, found {text!r}", command, record)


def land(connection: duckdb.DuckDBPyConnection, answers: Sequence[Records], fields: dict[str, str]) -> None:
    """Read answers into the table `raw`: one row a record, all columns text, `answer` and `row` its origin.

    Where a run is in two answers the first counts. Raises BadRecord when first and last field differ or a run is twice
    in one answer.
    """
    columns = [*fields.values(), "last_id"]
    absent = [column for column in NEWER_FIELDS.values() if column not in columns]
    connection.execute(
        "CREATE OR REPLACE TEMP TABLE raw (answer INTEGER, origin_file VARCHAR, row BIGINT, "
        + ", ".join(f'"{column}" VARCHAR' for column in [*columns, *absent])
        + ")"
    )
    types = "{" + ", ".join(f"{literal(column)}: 'VARCHAR'" for column in columns) + "}"
    names = ", ".join(f'"{column}"' for column in columns)
    into = f"INSERT INTO raw (answer, origin_file, row, {names})"
    for answer, records in enumerate(answers):
        origin = f"{answer}, {literal(records.command)}"
        connection.execute(
            f"""{into} SELECT {origin}, row, {names}
            FROM (SELECT *, row_number() OVER () AS row
                  FROM read_csv({literal(str(records.path))}, delim = {literal(records.delimiter)},
                                quote = '', escape = '', comment = '', header = false, auto_detect = false,
                                new_line = '\\n', nullstr = [chr(10)], max_line_size = {2 * LONGEST_BULK_LINE},
                                columns = {types}))
            WHERE row NOT IN (SELECT unnest(CAST(? AS BIGINT[])))""",
            [list(records.others)],
        )
        if records.others:
            values = ", ".join(f"fields[{n + 1}]" for n in range(len(columns)))
            connection.execute(
                f"{into} SELECT {origin}, row, {values} "
                "FROM (SELECT unnest(?) AS row, unnest(CAST(? AS VARCHAR[][])) AS fields)",
                [list(records.others), list(records.others.values())],
            )
        landed = connection.execute("SELECT count(*) FROM raw WHERE answer = ?", [answer]).fetchall()[0][0]
        if landed != records.count:
            raise SourceUnavailable(f"{records.command}: {records.count} records answered, {landed} read")
    _refuse(connection, RAW_PROBLEMS_SQL)
    connection.execute(
        "DELETE FROM raw WHERE answer > 0 AND (job_id, submit) IN (SELECT (job_id, submit) FROM raw WHERE answer = 0)"
    )


def _refuse(connection: duckdb.DuckDBPyConnection, problems: str) -> None:
    """Raise BadRecord for the first row of (origin_file, row, job_id, problem)."""
    for file, row, job_id, problem in connection.execute(f"{problems} ORDER BY 1, 2 LIMIT 1").fetchall():
        raise BadRecord(f"job {job_id}: {problem}", file, row)


RAW_PROBLEMS_SQL = r"""
SELECT origin_file, row, job_id,
    CASE WHEN NOT regexp_full_match(raw_id, '\d+') OR raw_id <> last_id
         THEN 'the raw id ' || raw_id || ' comes back at the end of the record as ' || last_id
         ELSE 'the same job id and submit time stand in an earlier record' END AS problem
FROM raw
WHERE NOT regexp_full_match(raw_id, '\d+') OR raw_id <> last_id
    OR (answer, row) IN (SELECT (answer, max(row)) FROM raw GROUP BY answer, job_id, submit HAVING count(*) > 1)
"""


# --- from text to rows ------------------------------------------------------------------------------------------------


def _one(text: str, key: str) -> str:
    """The number of one TRES: `gres/gpu` of `cpu=8,gres/gpu:h100=2,gres/gpu=2,mem=64G`."""
    return rf"CAST(regexp_extract({text}, '(^|,){re.escape(key)}=(\d+)(,|$)', 2) AS VARCHAR)"


def normalise(connection: duckdb.DuckDBPyConnection, cluster: str, gpu_tres: str) -> list[tuple[str, str, str, int]]:
    """From `raw` to the tables `run` (one row a run, typed) and `host` (node list, place, node); returns notes.

    Raises BadRecord for a time, state, exit code, TRES or node list that can't be read.
    """
    outcomes = ", ".join(f"{literal(state)}: {literal(outcome)}" for state, outcome in OUTCOME.items())
    connection.execute(
        "CREATE OR REPLACE TEMP TABLE outcome AS "
        f"SELECT unnest(map_keys(m)) AS state, unnest(map_values(m)) AS outcome FROM (SELECT MAP {{{outcomes}}} AS m)"
    )
    gpu = re.escape(gpu_tres)
    connection.execute(TRES_SQL.format(one=_one("text", gpu_tres), cpu=_one("text", "cpu"), gpu=gpu))
    _refuse(connection, TRES_PROBLEMS_SQL)
    _expand_node_lists(connection)
    connection.execute(RUN_SQL.format(cluster=literal(cluster), parts=GPU_PARTS))
    _refuse(connection, RUN_PROBLEMS_SQL)
    lost = connection.execute(
        "SELECT count(*), min(job_id) FROM run WHERE start_s IS NOT NULL AND gpus > 0 AND node_count = 0"
    ).fetchall()[0]
    return [("job_without_nodes", cluster, f"GPUs but no node list, first job {lost[1]}", lost[0])] if lost[0] else []


def _expand_node_lists(connection: duckdb.DuckDBPyConnection) -> None:
    """The table `host`. Only different lists with brackets or commas pass through the loop."""
    connection.execute(
        r"""CREATE OR REPLACE TEMP TABLE host AS
        SELECT DISTINCT node_list, CAST(0 AS BIGINT) AS place, node_list AS node
        FROM raw WHERE regexp_full_match(node_list, '[^\s,\[\]]+')"""
    )
    lists = connection.execute(
        r"""SELECT node_list, any_value(origin_file), min(row), any_value(job_id) FROM raw
        WHERE node_list NOT IN ('', 'None assigned') AND NOT regexp_full_match(node_list, '[^\s,\[\]]+')
        GROUP BY node_list"""
    ).fetchall()
    rows: tuple[list[str], list[int], list[str]] = ([], [], [])
    for text, file, row, job_id in lists:
        try:
            names = expand(text)
        except ValueError as error:
            raise BadRecord(f"job {job_id}: NodeList {text!r}: {error}", file, row) from None
        rows[0].extend(itertools.repeat(text, len(names)))
        rows[1].extend(range(len(names)))
        rows[2].extend(names)
    if rows[0]:
        connection.execute("INSERT INTO host SELECT unnest(?), unnest(?), unnest(?)", list(rows))


TRES_SQL = r"""
CREATE OR REPLACE TEMP TABLE tres AS
WITH texts AS (
    SELECT DISTINCT alloc_tres AS text FROM raw UNION SELECT DISTINCT req_tres FROM raw
), typed AS (
    SELECT text, list_distinct(regexp_extract_all(text, '(?:^|,){gpu}:([^=,]+)=\d+', 1)) AS types,
        list_sum(list_transform(
            regexp_extract_all(text, '(?:^|,){gpu}:[^=,]+=(\d+)', 1), lambda n: TRY_CAST(n AS BIGINT))) AS typed_gpus
    FROM texts
)
SELECT text,
    regexp_full_match(text, '(\w[^=,]*=\d+(\.\d+)?[KMGTP]?(,\w[^=,]*=\d+(\.\d+)?[KMGTP]?)*)?') AS fits,
    -- gres/gpu counts all GPUs, gres/gpu:TYPE some of the same: never add both.
    COALESCE(TRY_CAST(NULLIF({one}, '') AS BIGINT), TRY_CAST(typed_gpus AS BIGINT), 0) AS gpus,
    CASE WHEN len(types) = 1 THEN types[1] END AS gpu_type,
    TRY_CAST(NULLIF({cpu}, '') AS BIGINT) AS cpus,
    TRY_CAST(TRY_CAST(NULLIF(regexp_extract(text, '(^|,)mem=(\d+(\.\d+)?)', 2), '') AS DECIMAL(28, 6))
        * CASE regexp_extract(text, '(^|,)mem=[\d.]+([KMGTP]?)', 2)
          WHEN 'K' THEN 1 WHEN 'G' THEN 1048576 WHEN 'T' THEN 1073741824 WHEN 'P' THEN 1099511627776 ELSE 1024 END
        / 1024 AS BIGINT) AS memory_mib
FROM typed
"""

TRES_PROBLEMS_SQL = """
SELECT origin_file, row, job_id, 'TRES ' || text || ' is not like cpu=8,gres/gpu=2,mem=64000M' AS problem
FROM raw JOIN tres ON text IN (alloc_tres, req_tres) WHERE NOT fits OR gpus > 1000000
"""


def _seconds(column: str) -> str:
    """Epoch seconds; `Unknown` and `None` are null, anything else -1."""
    number = rf"CASE WHEN regexp_full_match({column}, '\d{{{{1,11}}}}') THEN CAST({column} AS BIGINT) ELSE -1 END"
    return f"CASE WHEN {column} IN ('Unknown', 'None', '') THEN NULL ELSE {number} END"


RUN_SQL = (
    r"""
CREATE OR REPLACE TEMP TABLE run AS
WITH typed AS (
    SELECT *,
        regexp_extract(raw.state, '^\S*') AS word,
        """
    + _seconds("submit")
    + r""" AS submit_s,
        -- A job cancelled while it waited has no node; some versions print its end as its start.
        CASE WHEN node_list <> 'None assigned' THEN """
    + _seconds("start")
    + r""" END AS start_s,
        """
    + _seconds('"end"')
    + r""" AS end_s,
        regexp_extract(exit_code, '^(\d+):(\d+)$', ['code', 'signal']) AS status
    FROM raw
), hosts AS (
    SELECT node_list, count(*) AS node_count FROM host GROUP BY node_list
)
SELECT typed.*,
    {cluster} AS cluster,
    outcome.outcome,
    COALESCE(hosts.node_count, 0) AS node_count,
    CASE WHEN start_s IS NULL THEN 0 ELSE held.gpus END AS gpus,
    CASE WHEN start_s IS NOT NULL THEN held.gpu_type END AS gpu_type,
    CASE WHEN start_s IS NULL THEN 0 ELSE held.cpus END AS cpus,
    CASE WHEN start_s IS NULL THEN 0 ELSE held.memory_mib END AS memory_mib,
    CASE WHEN start_s IS NULL THEN 0 ELSE held.gpus END * {parts} AS gpu_parts,
    CASE WHEN req_tres <> '' THEN asked.gpus * {parts} END AS requested_gpu_parts,
    -- As a shell says it: 128 and the signal that ended it.
    CASE WHEN outcome.outcome = 'running' THEN NULL
         WHEN status.signal NOT IN ('', '0') THEN 128 + TRY_CAST(status.signal AS BIGINT)
         ELSE TRY_CAST(status.code AS BIGINT) END AS code
FROM typed
LEFT JOIN outcome ON outcome.state = word
LEFT JOIN hosts USING (node_list)
LEFT JOIN tres AS held ON held.text = alloc_tres
LEFT JOIN tres AS asked ON asked.text = req_tres
WHERE word <> 'PENDING'
"""
)

RUN_PROBLEMS_SQL = """
SELECT origin_file, row, job_id, problem FROM (
    SELECT *, CASE
        WHEN outcome IS NULL THEN 'State ' || state || ' is not known to this version of rdspend'
        WHEN COALESCE(submit_s, -1) < 0 THEN 'Submit ' || submit || ' is not a time in epoch seconds'
        WHEN start_s < 0 THEN 'Start ' || start || ' is not a time in epoch seconds'
        WHEN end_s < 0 THEN 'End ' || "end" || ' is not a time in epoch seconds'
        WHEN (outcome = 'running') <> (end_s IS NULL) THEN 'State ' || state || ' does not go with End ' || "end"
        WHEN outcome = 'running' AND start_s IS NULL THEN 'State ' || state || ' does not go with Start ' || start
        WHEN end_s < start_s THEN 'it ends at ' || "end" || ', before it starts at ' || start
        WHEN status.code = '' THEN 'ExitCode ' || exit_code || ' is not like 0:0'
        END AS problem
    FROM run) WHERE problem IS NOT NULL
"""

_KEY = job_key("cluster", "job_id", "to_timestamp(submit_s)")
_END_DAY = end_day("to_timestamp(end_s)")

LABELS = {
    "comment": "comment",
    "admin_comment": "admin_comment",
    "system_comment": "system_comment",
    "wckey": "ltrim(wckey, '*')",  # a star says that it came from the user's default
    "extra": "extra",
    "reservation": "reservation",
    "constraints": "constraints",
    "restarts": "NULLIF(restarts, '0')",
    "state": "CASE WHEN lower(state) <> outcome THEN state END",
    "job_id_raw": "CASE WHEN raw_id <> job_id THEN raw_id END",
    "het_job_id": r"NULLIF(regexp_extract(job_id, '^(\d+)\+\d+$', 1), '')",
}

_LABELS = ", ".join(f"{{'key': {literal(key)}, 'value': NULLIF({value}, '')}}" for key, value in LABELS.items())

JOBS_SQL = rf"""
SELECT {_KEY} AS job_key, cluster, {_END_DAY} AS end_day,
    origin_file, row AS origin_row, job_id,
    NULLIF(regexp_extract(job_id, '^(\d+)_', 1), '') AS array_job_id,
    NULLIF("user", '') AS "user", NULLIF(account, '') AS account, NULLIF(queue, '') AS queue, NULLIF(qos, '') AS qos,
    NULLIF(name, '') AS name, NULLIF(submit_line, '') AS command, NULLIF(container, '') AS image,
    NULLIF(work_dir, '') AS work_dir,
    CASE WHEN len(pairs) > 0 THEN map_from_entries(pairs) END AS labels,
    to_timestamp(submit_s) AS submit_time, to_timestamp(start_s) AS start_time, to_timestamp(end_s) AS end_time,
    outcome, code AS exit_code, requested_gpu_parts, gpu_parts, gpu_type, cpus, memory_mib,
    CASE WHEN start_s IS NULL THEN 0 ELSE node_count END AS node_count
FROM (SELECT *, list_filter([{_LABELS}], lambda pair: pair.value IS NOT NULL) AS pairs FROM run)
"""


def _share(total: str) -> str:
    """An even, exact part for each node; what does not divide goes to the first nodes, one each."""
    return f"CAST({total} // node_count + CASE WHEN place < {total} % node_count THEN 1 ELSE 0 END AS BIGINT)"


# A run that ended in the second it started held its nodes for no time at all: no placement.
PLACEMENTS_SQL = f"""
SELECT {_KEY} AS job_key, cluster, {_END_DAY} AS end_day, node,
    to_timestamp(start_s) AS start_time, to_timestamp(end_s) AS end_time,
    {_share("gpu_parts")} AS gpu_parts, {_share("cpus")} AS cpus, {_share("memory_mib")} AS memory_mib
FROM run JOIN host USING (node_list)
WHERE start_s IS NOT NULL AND start_s IS DISTINCT FROM end_s
"""


# --- nodes ------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Node:
    """A node as scontrol shows it, from and to when (epoch seconds) it was this resource. `row` is its record."""

    name: str
    row: int
    gpus: int | None = None
    gpu_type: str | None = None
    cpus: int | None = None
    memory_mib: int | None = None
    partitions: str | None = None
    resource_id: str | None = None
    instance_type: str | None = None
    start: int | None = None
    end: int | None = None
    origin: str = "scontrol -o show node"

    def called(self, resource_id: str | None) -> Node:
        return replace(self, resource_id=resource_id)


@dataclass(frozen=True)
class Span:
    """A node that was an instance for some time, from `sacctmgr show instance`."""

    node: str
    start: int
    end: int | None
    instance_id: str
    instance_type: str | None
    row: int


def parse_nodes(text: str, gres: str) -> list[Node]:
    """The output of `scontrol -o show node`. Raises BadRecord for a node that is there twice or can't be read."""
    # A reason or comment may hold newlines and words like Gres=; Slurm prints both after all that is read here.
    if text.strip() == "No nodes in the system":
        return []
    records = re.split(r"(?m)^(?=NodeName=)", text)
    if records[0].strip():
        raise BadRecord(f"expected NodeName=, found {records[0][:200]!r}", Node.origin, 1)
    nodes = [_parse_node(record, row, gres) for row, record in enumerate(records[1:], 1)]
    for name, times in Counter(node.name for node in nodes).items():
        if times > 1:
            raise BadRecord(f"node {name} is there {times} times", Node.origin)
    return nodes


def _parse_node(record: str, row: int, gres: str) -> Node:
    fields: dict[str, str] = {}
    for key, value in re.findall(r"(?:^|\s)(\w+)=(\S*)", record):
        fields.setdefault(key, value)
    try:
        gpus, gpu_type = parse_gres(fields["Gres"], gres)
        cpus, memory_mib = int(fields["CPUTot"]), int(fields["RealMemory"])
    except (KeyError, ValueError) as error:
        raise BadRecord(
            f"expected NodeName, Gres, CPUTot and RealMemory, {error} does not fit in {record[:200]!r}",
            Node.origin,
            row,
        ) from None
    known = {key: value for key, value in fields.items() if value not in ("", "(null)", "N/A")}
    return Node(
        fields["NodeName"],
        row,
        gpus,
        gpu_type,
        cpus,
        memory_mib,
        known.get("Partitions"),
        known.get("InstanceId"),
        known.get("InstanceType"),
    )


def parse_gres(text: str, name: str) -> tuple[int, str | None]:
    """`gpu:h100:8(S:0-1),nic:2` to 8 GPUs of type h100. Several types: their sum, and no type."""
    gpus, types = 0, set()
    for item in re.findall(r"(?:[^,(]|\([^)]*\))+", text):
        found = re.fullmatch(r"([^:(]+)(?::([^:(]*[^:(\d][^:(]*|[^:(]+(?=:)))?(?::(\d+))?(?:\(.*\))?", item)
        if item != "(null)" and not found:
            raise ValueError(f"Gres {item!r}")
        if found and found[1] == name:
            gpus += int(found[3] or 1)
            types.add(found[2])
    return gpus, types.pop() if len(types) == 1 else None


def parse_instances(text: str, cluster: str) -> list[Span]:
    """The output of `sacctmgr -n -P show instance`, the part of one cluster."""
    spans = []
    for row, line in enumerate(text.splitlines(), 1):
        fields = line.split("|")
        unset = len(fields) == 6 and fields[3] in ("Unknown", "None", "0", "")
        if len(fields) != 6 or not fields[2].isdecimal() or not (unset or fields[3].isdecimal()):
            raise BadRecord(
                "expected Cluster|NodeName|Start|End|InstanceID|InstanceType with times in epoch seconds, "
                f"found {line[:200]!r}",
                INSTANCES,
                row,
            )
        # Slurm 24.11 also prints events of no duration and without an instance; they say nothing.
        start, end = int(fields[2]), None if unset else int(fields[3])
        if fields[0] == cluster and fields[1] and fields[4] and start != end:
            if end is not None and end < start:
                raise BadRecord(f"node {fields[1]}: the instance ends at {end}, before it starts at {start}", INSTANCES, row)
            spans.append(Span(fields[1], start, end, fields[4], fields[5] or None, row))
    return spans


INSTANCES = "sacctmgr show instance"


def with_history(nodes: Sequence[Node], spans: Sequence[Span]) -> list[Node]:
    """Nodes over time: each span of the history, and the instance that a node is now since the last span ended.

    A node of the history that is configured no more has no known capacity. Raises BadRecord when a node was two
    instances at once.
    """
    now = {node.name: node for node in nodes}
    by_node = {
        name: list(group)
        for name, group in itertools.groupby(sorted(spans, key=lambda s: (s.node, s.start)), key=lambda s: s.node)
    }
    out = [node for node in nodes if node.name not in by_node]
    for name, history in by_node.items():
        merged = _merge(history)
        node = now.get(name, Node(name, 0))
        for span in merged:
            out.append(
                replace(
                    node,
                    row=span.row,
                    origin=INSTANCES,
                    resource_id=span.instance_id,
                    instance_type=span.instance_type,
                    start=span.start,
                    end=span.end,
                )
            )
        if name in now and merged[-1].end is not None and node.resource_id:
            out.append(replace(node, start=merged[-1].end))
    return out


def _merge(history: Sequence[Span]) -> list[Span]:
    """Spans of one node in order, those of one instance that touch or overlap made one."""
    merged = [history[0]]
    for span in history[1:]:
        last = merged[-1]
        if last.end is not None and (
            span.start > last.end or (span.start == last.end and span.instance_id != last.instance_id)
        ):
            merged.append(span)
        elif span.instance_id == last.instance_id:
            end = None if last.end is None or span.end is None else max(last.end, span.end)
            merged[-1] = replace(last, end=end)
        else:
            raise BadRecord(
                f"node {span.node} is {span.instance_id} from {span.start}, but still {last.instance_id} "
                f"until {last.end or 'now'} (record {last.row}): one of them has to be ended or removed in slurmdbd",
                INSTANCES,
                span.row,
            )
    return merged


def land_nodes(connection: duckdb.DuckDBPyConnection, cluster: str, nodes: Sequence[Node], pools: Mapping[str, str]) -> None:
    """The nodes into the table `node`, with the pools of their partitions."""
    connection.execute(
        """CREATE OR REPLACE TEMP TABLE node (cluster VARCHAR, name VARCHAR, resource_id VARCHAR,
        start_s BIGINT, end_s BIGINT, gpus BIGINT, gpu_type VARCHAR, cpus BIGINT, memory_mib BIGINT,
        instance_type VARCHAR, queue VARCHAR, origin_file VARCHAR, origin_row BIGINT, pool VARCHAR)"""
    )
    if nodes:
        rows = [
            (cluster, n.name, n.resource_id, n.start, n.end, *capacity(n), n.origin, n.row, pool_of(n, pools)) for n in nodes
        ]
        connection.executemany("INSERT INTO node VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)", rows)


def pool_of(node: Node, pools: Mapping[str, str]) -> str | None:
    """The pool of a node's partitions. Raises ConfigError where they are in two."""
    found = sorted({pools[p] for p in (node.partitions or "").split(",") if p in pools})
    if len(found) > 1:
        raise ConfigError(
            f"slurm: pools: node {node.name!r} is in partitions {node.partitions} and so in the pools {' and '.join(found)}; "
            "expected one: its money would count for both"
        )
    return found[0] if found else None


def pool_notes(nodes: Sequence[Node], pools: Mapping[str, str]) -> list[tuple[str, str, str, int]]:
    """Partitions that no node has: the money of their pool reaches nobody."""
    there = {p for node in nodes for p in (node.partitions or "").split(",")}
    return [
        ("unknown_partition", partition, f"no node is in it, so none is in the pool {pools[partition]!r}", 0)
        for partition in sorted(set(pools) - there)
    ]


def capacity(node: Node) -> tuple[int | str | None, ...]:
    """What a node has, in the order of the table."""
    return node.gpus, node.gpu_type, node.cpus, node.memory_mib, node.instance_type, node.partitions


NODES_SQL = f"""
SELECT cluster, name AS node, resource_id, to_timestamp(start_s) AS start_time, to_timestamp(end_s) AS end_time,
    gpus * {GPU_PARTS} AS gpu_parts, gpu_type, cpus, memory_mib, instance_type, queue, pool, origin_file, origin_row
FROM node ORDER BY node, start_time
"""


def waiting_records(sdiag: str) -> int:
    """How many accounting records slurmctld still holds. Raises SourceUnavailable when sdiag does not say."""
    found = re.search(r"(?m)^DBD Agent queue size: *(\d+)", sdiag)
    if not found:
        raise SourceUnavailable("slurm: sdiag names no `DBD Agent queue size`, so nobody can say if the accounting is complete")
    return int(found[1])


def version(text: str) -> tuple[int, int]:
    """`24.11.5` to (24, 11)."""
    found = re.match(r"(\d+)\.(\d+)", text)
    return (int(found[1]), int(found[2])) if found else (0, 0)
