"""Bills of any length with jobs and placements to match, as Parquet: SYNTHETIC, made by DuckDB alone, memory bounded.

Jobs lie in lanes: a lane is a number of GPUs on one node, or all GPUs of a group of nodes, and its time is cut into one
slot a job, so that no GPU is ever given twice. Nodes without a bill line in an hour are there too (2 in 100).
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from pathlib import Path

import duckdb

from rdspend.border import identifier, literal
from rdspend.lab.drawing import Size
from rdspend.schema import CHARGES, GPU_PARTS, JOBS, NODES, PLACEMENTS, Table

CLUSTER = "syn-bench"
LINES_PER_FILE = 5_000_000
MARGIN_SECONDS = 6 * 3600  # jobs that run over both ends of the window
SQL_TYPES = {
    "string": "VARCHAR",
    "int64": "BIGINT",
    "float64": "DOUBLE",
    "bool": "BOOLEAN",
    "timestamp": "TIMESTAMPTZ",
    "map": "MAP(VARCHAR, VARCHAR)",
}
WORDS = (
    "abl-1b-web", "abl-3b-code", "scaling_410m", "scaling_7b", "sft-sweep-7b", "lora_math", "grpo-7b-gsm8k", "rlhf",
    "debug", "nccl-test", "jupyter", "gen-code-shard", "rewrite_wiki", "tokenize_books", "dedup_minhash", "clf-q",
    "eval_7b_mmlu", "lm-eval-bbh", "judge-arena", "ckpt-eval", "serve-quartz", "run", "x", "job|pipe", "quartz-70b",
)  # fmt: skip
FORMS = ("charges", "focus_parquet", "focus_csv")


@dataclass(frozen=True)
class _Lanes:
    """`lanes` of `nodes` whole nodes each, or of `gpus` on one node, `per_node` to a node; `jobs` in all of them."""

    first_node: int
    lanes: int
    nodes: int
    gpus: tuple[int, ...]
    jobs: int

    @property
    def per_node(self) -> int:
        return len(self.gpus)


def write_benchmark(
    folder: Path,
    *,
    nodes: int,
    jobs: int,
    hours: int,
    lines: int,
    seed: int = 7,
    month: str = "2026-10",
    oversubscribed: int = 0,
    forms: Collection[str] = ("charges",),
    say: Callable[[str], object] = lambda _: None,
) -> None:
    """Write nodes, jobs, placements (columns of schema.py) and a bill of `lines` lines. Same arguments, same bytes.

    hours           length of the window from the start of the month; lines fill it hour by hour, then from the start
    oversubscribed  nodes that get one job more over the whole window, on top of what fills them
    forms           of the bill: `charges` (columns of schema.py), `focus_parquet`, `focus_csv` (37 of FOCUS 1.2)

    Raises ValueError for a size that can't be made.
    """
    if min(nodes, jobs, hours, lines) < 1 or not 0 <= oversubscribed <= nodes:
        raise ValueError("a benchmark has at least one node, job, hour and line, and oversubscribes nodes it has")
    if unknown := set(forms) - set(FORMS):
        raise ValueError(f"unknown form {', '.join(sorted(unknown))}; forms are {', '.join(FORMS)}")
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "README").write_text(
        f"SYNTHETIC DATA made up by rdspend.lab.write_benchmark: {nodes} nodes, {jobs} jobs, {hours} hours,"
        f" {lines} lines, seed {seed}.\n",
        encoding="utf-8",
    )
    start = Size(month=month).start
    with tempfile.TemporaryDirectory(prefix="rdspend-lab-") as spill, duckdb.connect() as connection:
        connection.execute(f"SET TimeZone = 'UTC'; SET memory_limit = '1GB'; SET temp_directory = {literal(spill)}")
        connection.execute(_macros(nodes, hours, lines, seed, start))
        say("nodes")
        _write(connection, _select(NODES, _NODES, f"range({nodes}) AS r(n)"), folder / "nodes.parquet")
        plan = _plan(nodes, jobs, hours)
        _make_jobs(connection, plan, oversubscribed)
        say("jobs")
        _write(connection, _select(JOBS, _JOBS, "job ORDER BY id"), folder / "jobs.parquet")
        say("placements")
        spread = "(SELECT *, unnest(range(first_node, first_node + nodes)) AS n FROM job) ORDER BY id, n"
        _write(connection, _select(PLACEMENTS, _PLACEMENTS, spread), folder / "placements.parquet")
        for form in FORMS:
            if form in forms:
                _write_bill(connection, folder / form, form, lines, say)


def _plan(nodes: int, jobs: int, hours: int) -> list[_Lanes]:
    """A fifth of the nodes in wide groups, a fifth in groups of eight, a quarter whole, the rest shared by five."""
    wide, eight = min(64, max(1, nodes // 16)), min(8, max(1, nodes // 8))
    n_wide, n_eight, n_whole = nodes // 5 // wide * wide, nodes // 5 // eight * eight, nodes // 4
    n_shared = nodes - n_wide - n_eight - n_whole
    shapes = [
        (n_wide // wide, wide, (8,), 10),
        (n_eight // eight, eight, (8,), 50),
        (n_whole, 1, (8,), 100),
        (n_shared * 5, 1, (2, 2, 2, 1, 1), 42),
    ]
    total = sum(lanes * rate for lanes, _, _, rate in shapes)
    counts = [jobs * lanes * rate // total for lanes, _, _, rate in shapes[:-1]]
    counts.append(jobs - sum(counts))
    plan, first = [], 0
    for (lanes, width, gpus, _), count in zip(shapes, counts, strict=True):
        plan.append(_Lanes(first, lanes, width, gpus, count))
        first += lanes * width // len(gpus)
    longest = (hours * 3600 + 2 * MARGIN_SECONDS) // 60
    if any(p.jobs > p.lanes * longest for p in plan):
        raise ValueError(f"{jobs} jobs are more than {nodes} nodes can take in {hours} hours")
    return plan


def _macros(nodes: int, hours: int, lines: int, seed: int, start: int) -> str:
    per_cell = -(-lines // (nodes * hours))
    macros = {
        "folded(x)": "xor(x, x >> 16)",
        "low(x)": "CAST(x AS UBIGINT) & 4294967295",
        "spread(x, salt)": f"low(CAST(x AS UBIGINT) * 2654435761 + salt * 97 + {seed})",
        "mix(x, salt)": "CAST(folded(low(folded(spread(x, salt)) * 2246822507)) AS BIGINT)",
        "moment(s)": f"make_timestamptz(CAST({start} + (s) AS BIGINT) * 1000000)",
        "window_seconds()": hours * 3600,
        "node_name(n)": f"'syn-' || lpad(CAST(n AS VARCHAR), {max(4, len(str(nodes)))}, '0')",
        "resource(n)": f"'syn-i-' || lpad(CAST(n AS VARCHAR), {max(4, len(str(nodes)))}, '0')",
        "is_h100(n)": f"n * 4 < {nodes * 3}",
        "line_cost(n)": (f"CASE WHEN is_h100(n) THEN {46_731_926_440 // per_cell} ELSE {23_330_171_285 // per_cell} END"),
        "hours()": hours,
        "nodes()": nodes,
        "end_day(s)": "CASE WHEN s IS NULL THEN 'open' ELSE strftime(timezone('UTC', moment(s)), '%Y-%m-%d') END",
    }
    return "".join(f"CREATE TEMP MACRO {name} AS {body};\n" for name, body in macros.items())


def _select(table: Table, given: Mapping[str, str], source: str) -> str:
    """All columns of a table, in order and of its types; those that are not given are null."""
    if strange := set(given) - set(table.names):
        raise ValueError(f"{table.name} has no column {', '.join(sorted(strange))}")
    columns = ", ".join(
        f"CAST({given.get(c.name, 'NULL')} AS {SQL_TYPES[c.type]}) AS {identifier(c.name)}" for c in table.columns
    )
    return f"SELECT {columns} FROM {source}"


def _write(connection: duckdb.DuckDBPyConnection, query: str, path: Path, options: str = "") -> None:
    connection.execute(f"COPY ({query}) TO {literal(str(path))} ({options or 'FORMAT parquet, COMPRESSION zstd'})")


def _make_jobs(connection: duckdb.DuckDBPyConnection, plan: list[_Lanes], oversubscribed: int) -> None:
    """Table `job`: id, first_node, nodes, gpus on each, begin and stop in seconds of the window (stop null: open)."""
    parts, first_id = [], 1
    for p in plan:
        if not p.jobs:
            continue
        # Position `at_` of `many` in the lane: its slot begins at at_ * length / many, and has a gap at either end.
        length = f"(window_seconds() + {2 * MARGIN_SECONDS})"
        gpus = f"{list(p.gpus)}[1 + lane % {p.per_node}]"
        parts.append(f"""
            SELECT {first_id} + j AS id, {p.first_node} + lane * {p.nodes} // {p.per_node} AS first_node,
                {p.nodes} AS nodes, {gpus} AS gpus,
                slot - {MARGIN_SECONDS} + mix(j, {first_id}) % greatest(1, (next_slot - slot) // 7) AS begin,
                next_slot - {MARGIN_SECONDS} - mix(j, {first_id + 1}) % greatest(1, (next_slot - slot) // 7) AS stop,
                last
            FROM (
                SELECT j, lane, at_ * {length} // many AS slot, (at_ + 1) * {length} // many AS next_slot,
                    at_ = many - 1 AS last
                FROM (
                    SELECT j, j % {p.lanes} AS lane, j // {p.lanes} AS at_,
                        {p.jobs // p.lanes} + CASE WHEN j % {p.lanes} < {p.jobs % p.lanes} THEN 1 ELSE 0 END AS many
                    FROM range({p.jobs}) AS r(j)
                )
            )
        """)
        first_id += p.jobs
    if oversubscribed:
        parts.append(f"SELECT {first_id} + n, n, 1, 8, 0, window_seconds(), false FROM range({oversubscribed}) AS r(n)")
    connection.execute(f"""
        CREATE TEMP TABLE job AS
        SELECT id, first_node, nodes, gpus, begin, begin - mix(id, 5) % 3600 AS submit,
            CASE WHEN NOT last OR mix(id, 6) % 2 = 0 THEN stop END AS stop
        FROM ({" UNION ALL ".join(parts)})
    """)


_KEY = f"'{CLUSTER}/' || id || '/' || CAST(epoch(moment(submit)) AS BIGINT)"
_WORD = "[" + ", ".join(literal(w) for w in WORDS) + f"][1 + mix(id, 3) % {len(WORDS)}]"
_NODES = {
    "cluster": literal(CLUSTER),
    "node": "node_name(n)",
    "resource_id": "resource(n)",
    "gpu_parts": str(8 * GPU_PARTS),
    "gpu_type": "CASE WHEN is_h100(n) THEN 'h100' ELSE 'a100' END",
    "cpus": "192",
    "memory_mib": "2097152",
    "instance_type": "CASE WHEN is_h100(n) THEN 'syn-h100-8' ELSE 'syn-a100-8' END",
    "origin_file": "'synthetic'",
    "origin_row": "n + 1",
}
_JOBS = {
    "job_key": _KEY,
    "cluster": literal(CLUSTER),
    "end_day": "end_day(stop)",
    "source": "'synthetic'",
    "origin_file": "'synthetic'",
    "origin_row": "id",
    "job_id": "id",
    "user": "'syn-u' || mix(id, 1) % 400",
    "account": "['pretrain', 'posttrain', 'data', 'evals', 'product'][1 + mix(id, 1) % 5]",
    "queue": "CASE WHEN is_h100(first_node) THEN 'h100' ELSE 'a100' END",
    "name": f"{_WORD} || '-' || mix(id, 4) % 1000",
    "command": f"'python ' || replace({_WORD}, '-', '_') || '.py --seed ' || mix(id, 4) % 1000",
    "work_dir": "'/synthetic/home/syn-u' || mix(id, 1) % 400",
    "submit_time": "moment(submit)",
    "start_time": "moment(begin)",
    "end_time": "moment(stop)",
    "outcome": (
        "CASE WHEN stop IS NULL THEN 'running'"
        " ELSE ['completed', 'completed', 'failed', 'cancelled', 'timeout'][1 + mix(id, 2) % 5] END"
    ),
    "gpu_parts": f"nodes * gpus * {GPU_PARTS}",
    "gpu_type": "CASE WHEN is_h100(first_node) THEN 'h100' ELSE 'a100' END",
    "cpus": "nodes * gpus * 24",
    "memory_mib": "nodes * gpus * 262144",
    "node_count": "nodes",
}
_PLACEMENTS = {
    "job_key": _KEY,
    "cluster": literal(CLUSTER),
    "end_day": "end_day(stop)",
    "node": "node_name(n)",
    "start_time": "moment(begin)",
    "end_time": "moment(stop)",
    "gpu_parts": f"gpus * {GPU_PARTS}",
    "cpus": "gpus * 24",
    "memory_mib": "gpus * 262144",
}

# One line in five hundred belongs to no node; three nodes in five are under a commitment, billed 0.
_LINE = """(
    SELECT i, n, CASE WHEN (h + 7 * n) % 50 = 3 AND hours() > 1 THEN CASE WHEN h + 1 < hours() THEN h + 1 ELSE h - 1 END
                      ELSE h END AS h,
        i % 500 = 499 AS shared, n % 5 < 3 AND i % 500 <> 499 AS committed,
        CAST(line_cost(n) AS BIGINT) + mix(i, 11) % 10000000 AS nanos
    FROM (SELECT i, i % nodes() AS n, (i // nodes()) % hours() AS h FROM range({first}, {last}) AS r(i))
)"""
_CHARGES = {
    "source": "'synthetic'",
    "billing_period": "{month}",
    "origin_file": "'synthetic'",
    "origin_row": "i + 1",
    "basis": "'billed'",
    "billed_cost_nanos": "CASE WHEN committed THEN 0 ELSE nanos END",
    "effective_cost_nanos": "nanos",
    "list_cost_nanos": "nanos + nanos // 5",
    "contracted_cost_nanos": "nanos + nanos // 8",
    "billing_currency": "'USD'",
    "charge_period_start": "moment(h * 3600)",
    "charge_period_end": "moment(h * 3600 + 3600)",
    "charge_category": "'Usage'",
    "charge_description": "'SYNTHETIC'",
    "charge_frequency": "'Usage-Based'",
    "provider_name": "'Synthetic Cloud'",
    "publisher_name": "'Synthetic Cloud'",
    "invoice_issuer_name": "'Synthetic Cloud'",
    "billing_account_id": "'syn-account-1'",
    "billing_account_name": "'SYNTHETIC'",
    "sub_account_id": "'syn-sub-' || n % 7",
    "sub_account_name": "'sub ' || n % 7",
    "region_id": "'syn-1'",
    "availability_zone": "'syn-1a'",
    "resource_id": "CASE WHEN shared THEN NULL ELSE resource(n) END",
    "resource_name": "CASE WHEN shared THEN NULL ELSE node_name(n) END",
    "resource_type": "CASE WHEN shared THEN NULL ELSE 'Virtual Machine' END",
    "service_category": "CASE WHEN shared THEN 'Storage' ELSE 'Compute' END",
    "service_subcategory": "CASE WHEN shared THEN 'Object Storage' ELSE 'Virtual Machines' END",
    "service_name": "CASE WHEN shared THEN 'Synthetic Object Storage' ELSE 'Synthetic GPU Compute' END",
    "sku_id": "'SKU-' || i % 40",
    "sku_price_id": "'SKU-' || i % 40 || '.1'",
    "pricing_category": "CASE WHEN committed THEN 'Committed' ELSE 'Standard' END",
    "pricing_quantity": "1",
    "pricing_unit": "'Hours'",
    "consumed_quantity": "1",
    "consumed_unit": "'Hours'",
    "commitment_discount_id": "CASE WHEN committed THEN 'syn-commitment-1' END",
    "commitment_discount_status": "CASE WHEN committed THEN 'Used' END",
}
_FOCUS_SKIPPED = ("source", "origin_file", "origin_row", "basis")


def _focus_columns(month_start: str, month_end: str) -> dict[str, str]:
    """37 columns of FOCUS 1.2: those of charges under their own names, money as decimals with eleven places."""
    columns = {"BillingPeriodStart": month_start, "BillingPeriodEnd": month_end}
    for name, sql in _CHARGES.items():
        if name in _FOCUS_SKIPPED or name == "billing_period":
            continue
        title = "".join(word.capitalize() for word in name.removesuffix("_nanos").split("_"))
        if name.endswith("_nanos"):
            # The two places beyond the nano are not zero: landing them has to round.
            cents = f"(({sql}) * 100 + CASE WHEN ({sql}) = 0 THEN 0 ELSE i % 100 END)"
            sql = f"CAST(CAST({cents} AS DECIMAL(20, 0)) * 0.00000000001 AS DECIMAL(31, 11))"
        elif name.endswith("quantity"):
            sql = f"CAST({sql} AS DECIMAL(18, 6))"
        columns[title] = sql
    columns["ChargeClass"] = "CAST(NULL AS VARCHAR)"
    return columns


def _write_bill(
    connection: duckdb.DuckDBPyConnection, folder: Path, form: str, lines: int, say: Callable[[str], object]
) -> None:
    folder.mkdir(exist_ok=True)
    for number, first in enumerate(range(0, lines, LINES_PER_FILE)):
        say(f"{form}: {first:,} of {lines:,} lines")
        source = _LINE.format(first=first, last=min(lines, first + LINES_PER_FILE))
        if form == "charges":
            given = {**_CHARGES, "billing_period": "strftime(timezone('UTC', moment(0)), '%Y-%m')"}
            _write(connection, _select(CHARGES, given, source), folder / f"part-{number:03d}.parquet")
            continue
        text = form == "focus_csv"
        month_end = "moment(0) + INTERVAL 1 MONTH"
        columns = _focus_columns("moment(0)", month_end)
        if text:
            stamp = "strftime(timezone('UTC', {}), '%Y-%m-%dT%H:%M:%SZ')"
            columns |= {k: stamp.format(v) for k, v in columns.items() if k.endswith(("Start", "End"))}
        chosen = ", ".join(f"{sql} AS {identifier(name)}" for name, sql in columns.items())
        suffix, options = ("csv", "FORMAT csv, HEADER") if text else ("parquet", "")
        _write(connection, f"SELECT {chosen} FROM {source}", folder / f"part-{number:03d}.{suffix}", options)
