"""The tables of the ledger, the words of the field, and the contracts of the three kinds of plugin.

This module is the glossary. Tables travel as Arrow; a column's type is named here once, in Arrow's words, and the ledger
and the engine translate it. Money is whole nanos (1e-9 of the currency) in int64, sums are wider. Time is UTC, spans are
half open: `start <= t < end`. GPU shares are whole GPU parts. None of them ever touches a float.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from types import MappingProxyType
from typing import Any, Literal, Protocol, runtime_checkable

NANOS = 1_000_000_000

INT64_MAX = 2**63 - 1

# Halves to tenths, sevenths (MIG) and time-slices of 12, 16, 20, 32 and 64 are all whole numbers of parts.
GPU_PARTS = 2**6 * 9 * 5 * 7

SECONDS_PER_HOUR = 3600

ACTIVITIES = ("exploration", "data_generation", "evaluation", "final_training", "inference")
"""What a job was for. No answer is `unclassified`, which is a bucket, not an activity."""

STAGES = (
    "pretraining",
    "midtraining",
    "finetuning",
    "reinforcement_learning",
    "evaluation",
    "data",
    "serving",
    "other",
)
"""Where in the pipeline a job stands. Not the same as the activity: a pretraining may be exploration or final."""

ROLES: Mapping[str, str] = MappingProxyType(
    {
        "run": "a training run that the published weights descend from",
        "lost": "a stretch of such a run whose work was rolled back or lost at a restart",
        "failed": "an attempt at such a run that was given up",
        "sweep": "one of several last-stage runs of which another was kept",
        "sibling": "a model of another size trained along with it and not published",
        "distillation": "work of a parent model that it was distilled from",
        "rollout": "roll-outs inside its reinforcement learning",
        "data": "making data that went into it",
        "training_evaluation": "evaluation while it was trained",
        "evaluation": "evaluation of it",
        "exploration": "experiments that it names as its own",
        "superseded": "a run behind a model that was withdrawn before it was published, or replaced",
    }
)
"""What a job was to a release. A policy says of each what it counts as."""

OUTCOMES = ("completed", "failed", "cancelled", "timeout", "preempted", "running")

BUCKETS = ("idle", "bill_idle", "shared", "unclassified")
"""Where money goes that no activity took.

idle: capacity paid for and not occupied by a job (cluster-idle). bill_idle: the provider's own bill calls the line unused.
shared: storage, network, control plane, support, tax, credits. unclassified: a job nobody could classify; an open question.
"""

BASES = ("billed", "estimated")

WORKLOADS = ("data", "evaluation", "fine_tuning", "training", "inference", "agents", "other", "unclassified")
"""Steps of making and using models, as a buyer of GPUs and of API calls sees them.

agents: work whose name, project or command says so. other: work with an activity whose stage nobody told.
"""

CHARGE_CATEGORIES = ("Usage", "Purchase", "Tax", "Credit", "Adjustment")
"""FOCUS ChargeCategory."""

STATES = ("open", "preliminary", "closed", "corrected")
"""How far a period's bill is. open: it still runs. preliminary: it ended less than 14 days ago, or money has no invoice yet.
closed: somebody closed it, or none of both. corrected: it was closed, and its figures are others now."""

CLOSING_CATEGORIES = (
    "usage",
    "purchase",
    "commitment_used",
    "commitment_unused",
    "credit",
    "refund",
    "discount",
    "tax",
    "adjustment",
    "rounding",
    "unexplained",
)
"""Rows of a closing table. rounding: the provider's own, and what is under half a cent; unexplained: never hidden."""

MOST_TEAMS = 2000
"""A breakdown names so many teams; the smallest beyond them are added up as OTHER_TEAMS."""

OTHER_TEAMS = "(other)"

MONTHS_BEFORE = 12
"""A breakdown carries what so many months before it came to."""

ROUTES = ("job", "node", "shared", "bill_idle")
"""How money came to where it is. Money of a pool reaches jobs through the nodes of the pool: `node`."""

AUTHORITY = ("label", "lineage", "review", "rule", "likeness", "learned")
"""Taggers by authority: the first that answers wins. A tagger not named here ranks after those that are.

A label is a word about one job, a release names its own runs, a review is a word about a whole family. What follows from
reviews of families that are alike is no word of anybody about these: it yields to a rule."""

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*")
"""What a cluster, a source or a plugin instance may be called: safe in a path, a label and a file name."""

Type = Literal["string", "int64", "float64", "bool", "timestamp", "map"]
"""Arrow's words: `timestamp` is microseconds in UTC, `map` is string to string."""


@dataclass(frozen=True)
class Column:
    """One column. `null` says what a missing value means; a column without it is never null."""

    name: str
    type: Type
    doc: str
    null: str | None = None


@dataclass(frozen=True)
class Table:
    """One table of the ledger. `grain` says what one row is; `partition` names the columns a delivery replaces by."""

    name: str
    grain: str
    partition: tuple[str, ...]
    columns: tuple[Column, ...]

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(c.name for c in self.columns)


def _columns(*rows: tuple[str, Type, str] | tuple[str, Type, str, str]) -> tuple[Column, ...]:
    return tuple(Column(*row) for row in rows)


_ORIGIN: tuple[tuple[str, Type, str], ...] = (
    ("origin_file", "string", "file, object or command the row was read from"),
    ("origin_row", "int64", "1-based row in it; the first row after a header is 1"),
)

CHARGES = Table(
    "charges",
    "one bill line, or one estimated span of a node; key (source, billing_period, origin_file, origin_row)",
    ("source", "billing_period"),
    _columns(
        ("source", "string", "configured name of the collector that delivered it"),
        ("billing_period", "string", "month of the billing period, `2026-10`"),
        *_ORIGIN,
        ("basis", "string", "`billed` from a bill, `estimated` from a rate card"),
        ("billed_cost_nanos", "int64", "FOCUS BilledCost: what the invoice says"),
        ("effective_cost_nanos", "int64", "FOCUS EffectiveCost: amortised"),
        ("list_cost_nanos", "int64", "FOCUS ListCost", "not given"),
        ("contracted_cost_nanos", "int64", "FOCUS ContractedCost", "not given"),
        ("billing_currency", "string", "ISO 4217 code"),
        ("charge_period_start", "timestamp", "first instant the charge covers"),
        ("charge_period_end", "timestamp", "first instant it no longer covers"),
        ("charge_category", "string", "Usage, Purchase, Tax, Credit or Adjustment"),
        ("charge_class", "string", "Correction", "an ordinary line"),
        ("line_type", "string", "the provider's own kind of line, such as a CUR line_item_type", "the format has none"),
        ("charge_description", "string", "the provider's words", "not given"),
        ("charge_frequency", "string", "One-Time, Recurring or Usage-Based", "not given"),
        ("provider_name", "string", "who made the service available", "not given"),
        ("publisher_name", "string", "who produced the service", "not given"),
        ("invoice_issuer_name", "string", "who sends the invoice", "not given"),
        ("invoice_id", "string", "the invoice the line is on", "no invoice yet"),
        ("billing_account_id", "string", "account that is billed", "not given"),
        ("billing_account_name", "string", "its name", "not given"),
        ("sub_account_id", "string", "account, subscription or project below it", "not given"),
        ("sub_account_name", "string", "its name", "not given"),
        ("region_id", "string", "the provider's region", "not given"),
        ("availability_zone", "string", "the provider's zone", "not given"),
        ("resource_id", "string", "what was charged for; the join to nodes, pools and jobs", "no resource"),
        ("resource_name", "string", "its name", "not given"),
        ("resource_type", "string", "the provider's kind of resource", "not given"),
        ("service_category", "string", "FOCUS ServiceCategory", "not given"),
        ("service_subcategory", "string", "FOCUS ServiceSubcategory", "not given"),
        ("service_name", "string", "the provider's service", "not given"),
        ("sku_id", "string", "the provider's SKU", "not given"),
        ("sku_price_id", "string", "the provider's price", "not given"),
        ("pricing_category", "string", "Standard, Dynamic, Committed or Other", "not given"),
        ("pricing_quantity", "float64", "quantity priced; not money", "not given"),
        ("pricing_unit", "string", "its unit", "not given"),
        ("consumed_quantity", "float64", "quantity used; not money", "not given"),
        ("consumed_unit", "string", "its unit", "not given"),
        ("commitment_discount_id", "string", "commitment the line belongs to", "none"),
        ("commitment_discount_status", "string", "Used or Unused", "no commitment"),
        ("capacity_reservation_id", "string", "capacity reservation the line belongs to", "none"),
        ("capacity_reservation_status", "string", "Used or Unused", "no reservation"),
        ("pricing_currency", "string", "what prices are stated in; may be virtual: credits, tokens", "the billing currency"),
        ("pricing_currency_effective_cost_nanos", "int64", "effective cost in it; never added to money", "not given"),
        ("allocated_method_id", "string", "FOCUS AllocatedMethodId: it is a part of an origin charge", "an origin charge"),
        ("tags", "map", "the bill's tags", "none"),
    ),
)

JOBS = Table(
    "jobs",
    "one run of one piece of work; key job_key. A requeued job is several runs",
    ("cluster", "end_day"),
    _columns(
        ("job_key", "string", "`cluster/job_id/submit epoch seconds`"),
        ("cluster", "string", "configured name of the cluster"),
        ("end_day", "string", "UTC day of end_time, or `open` while the job runs"),
        ("source", "string", "configured name of the collector that delivered it"),
        *_ORIGIN,
        ("job_id", "string", "the scheduler's id"),
        ("array_job_id", "string", "id of the array it is a task of", "not an array task"),
        ("resource_id", "string", "resource that a bill names for this job itself", "billed through its nodes"),
        ("user", "string", "who ran it", "not known"),
        ("account", "string", "team or account it ran under", "not known"),
        ("project", "string", "project", "not known"),
        ("queue", "string", "partition or queue", "not known"),
        ("qos", "string", "quality of service", "not known"),
        ("name", "string", "job name", "none"),
        ("command", "string", "submit line or command", "not known"),
        ("script", "string", "batch script", "not known"),
        ("image", "string", "container image", "not known"),
        ("work_dir", "string", "working directory", "not known"),
        ("labels", "map", "free text and labels by key: comment, admin_comment, wckey, extra, activity, ...", "none"),
        ("submit_time", "timestamp", "when it was submitted"),
        ("start_time", "timestamp", "when it started", "never started"),
        ("end_time", "timestamp", "when it ended", "it still runs"),
        ("outcome", "string", "completed, failed, cancelled, timeout, preempted or running"),
        ("exit_code", "int64", "exit code", "not known"),
        ("requested_gpu_parts", "int64", "GPU parts asked for, all nodes", "not known"),
        ("gpu_parts", "int64", "GPU parts held, all nodes together"),
        ("gpu_type", "string", "GPU type", "none, or not known"),
        ("cpus", "int64", "CPUs held, all nodes together", "not known"),
        ("memory_mib", "int64", "memory held, all nodes together", "not known"),
        ("node_count", "int64", "nodes held", "not known"),
    ),
)

PLACEMENTS = Table(
    "placements",
    "a job on a node from start to end. Money reaches jobs through placements",
    ("cluster", "end_day"),
    _columns(
        ("job_key", "string", "the job"),
        ("cluster", "string", "its cluster"),
        ("end_day", "string", "the job's end_day"),
        ("node", "string", "node name"),
        ("start_time", "timestamp", "from"),
        ("end_time", "timestamp", "to", "it still runs"),
        ("gpu_parts", "int64", "GPU parts held on this node"),
        ("cpus", "int64", "CPUs held on this node", "not known"),
        ("memory_mib", "int64", "memory held on this node", "not known"),
    ),
)

NODES = Table(
    "nodes",
    "a node over a span of time, and which cloud resource it then was; key (cluster, node, start_time)",
    ("cluster",),
    _columns(
        ("cluster", "string", "configured name of the cluster"),
        ("node", "string", "node name"),
        ("resource_id", "string", "cloud resource it was", "not on a bill by itself"),
        ("pool", "string", "resource of a pool (capacity block, reservation, cluster invoice) that pays for it", "none"),
        ("start_time", "timestamp", "from", "not known: for ever"),
        ("end_time", "timestamp", "to", "still there"),
        ("gpu_parts", "int64", "GPU parts it has", "capacity not known: its idle is unknown, not 0"),
        ("gpu_type", "string", "GPU type", "no GPU, or not known"),
        ("cpus", "int64", "CPUs it has", "not known"),
        ("memory_mib", "int64", "memory it has", "not known"),
        ("instance_type", "string", "the provider's instance type", "not known"),
        ("queue", "string", "partitions it is in, with commas between", "not known"),
        *_ORIGIN,
    ),
)

RATES = Table(
    "rates",
    "one dated price; key (source, origin_row). Exactly one of the two prices is set",
    ("source",),
    _columns(
        ("source", "string", "configured name of the collector that delivered it"),
        *_ORIGIN,
        ("cluster", "string", "only this cluster", "any"),
        ("node", "string", "only this node", "any"),
        ("queue", "string", "only nodes of this partition", "any"),
        ("instance_type", "string", "only nodes of this instance type", "any"),
        ("gpu_type", "string", "only nodes with this GPU type", "any"),
        ("price_per_gpu_hour_nanos", "int64", "price of one GPU for one hour", "priced by node"),
        ("price_per_node_hour_nanos", "int64", "price of one node for one hour", "priced by GPU"),
        ("currency", "string", "ISO 4217 code"),
        ("start_time", "timestamp", "from", "since ever"),
        ("end_time", "timestamp", "to", "still valid"),
    ),
)

TAGS = Table(
    "tags",
    "one tagger's answer for one job or a segment of it; key (tagger, job_key, segment_start). No answer is no row",
    ("tagger", "end_month"),
    _columns(
        ("tagger", "string", "configured name of the tagger"),
        ("end_month", "string", "UTC month of the job's end, or `open`"),
        ("job_key", "string", "the job"),
        ("activity", "string", "one of ACTIVITIES", "says the stage only, or chances only"),
        ("stage", "string", "one of STAGES", "says the activity only, or chances only"),
        ("role", "string", "one of ROLES: what the job was to the release", "belongs to no release"),
        (
            "release",
            "string",
            "the release; several with a comma between, in the order of their names",
            "belongs to no release",
        ),
        ("segment_start", "timestamp", "the answer holds from", "from the start of the job"),
        ("segment_end", "timestamp", "the answer holds until", "until the end of the job"),
        ("chances", "string", "how likely each activity is, `exploration 0.71 evaluation 0.20`; the rest is open", "not told"),
        ("confidence", "float64", "in [0, 1]"),
        ("evidence", "string", "why, in words a person can check: label and place, or rule and predicate"),
        ("version", "string", "digest of the labels, rules or model that answered"),
    ),
)

STATEMENTS = Table(
    "statements",
    "a total that somebody else states of a billing period: an invoice, or a provider's own summary. Never money itself",
    ("source", "billing_period"),
    _columns(
        ("source", "string", "configured name of the collector that delivered it"),
        ("billing_period", "string", "month, `2026-10`"),
        *_ORIGIN,
        ("kind", "string", "`invoice`: what is to be paid; `check`: a summary of all of it to compare the bill with"),
        ("invoice_id", "string", "the invoice", "a check"),
        ("bill", "string", "configured name of the collector whose bill it is about", "whichever bill names the invoice"),
        ("provider_name", "string", "who states it", "not given"),
        ("service_name", "string", "only this service", "all services"),
        ("sub_account_id", "string", "only this account", "all accounts"),
        ("currency", "string", "ISO 4217 code"),
        ("billed_cost_nanos", "int64", "the total as billed", "not stated"),
        ("effective_cost_nanos", "int64", "the total, amortised", "not stated"),
        ("complete", "bool", "false: the summary could not be read to its end, so it says nothing yet"),
    ),
)

TOKENS = Table(
    "tokens",
    "tokens of one job by kind; key (source, job_key, model, kind). Kinds never overlap: they may be added",
    ("source", "billing_period"),
    _columns(
        ("source", "string", "configured name of the collector that delivered it"),
        ("billing_period", "string", "month, `2026-10`"),
        *_ORIGIN,
        ("job_key", "string", "the job"),
        ("model", "string", "the model as the provider names it", "not given"),
        ("kind", "string", "input, cached_input, cache_write, output, ..."),
        ("tokens", "int64", "how many"),
    ),
)

EXCHANGE_RATES = Table(
    "exchange_rates",
    "one dated rate; key (source, currency, into, start_time). It holds until the next one of the pair",
    ("source",),
    _columns(
        ("source", "string", "configured name of the collector that delivered it"),
        *_ORIGIN,
        ("currency", "string", "ISO 4217 code of what is converted"),
        ("into", "string", "ISO 4217 code of what it becomes"),
        ("start_time", "timestamp", "from"),
        ("end_time", "timestamp", "to", "until the next one of the pair"),
        ("rate", "string", "units of `into` for one of `currency`, as an exact decimal"),
    ),
)

FAMILIES = Table(
    "families",
    "the family of a job: its name and what it runs, numbers folded; key job_key",
    ("end_month",),
    _columns(
        ("end_month", "string", "UTC month of the job's end, or `open`"),
        ("job_key", "string", "the job"),
        ("family", "string", "its family", "no name, command, folder or image"),
    ),
)

CLAIM_KINDS: Mapping[str, str] = MappingProxyType(
    {
        "job": "jobs by key or by the scheduler's id (an array's id is all of its tasks)",
        "jobs": "jobs by name: a glob such as `sft-*`, or a regular expression between slashes",
        "run": "runs of an experiment tracker, by id",
        "model": "versions of a model in a registry, `NAME/VERSION`",
        "checkpoint": "paths of checkpoints",
        "dataset": "names or paths of datasets",
    }
)
"""What a claim in `releases.lineage` may name. A claim is an object of that JSON list:

    kind, of      what it names, and a list of those: {"kind": "run", "of": ["4f1c..."]}
    role, stage   of what it names; role `run` when left out, `data` for a dataset
    weight        its part when several releases claim one job; 1 when left out
    cluster, user, account, experiment, since, until   narrow what is named; times are ISO 8601 with a zone
    from, to      only this segment of the jobs
    keep          of `jobs`: names or ids of those that were kept of a sweep; their role is `run`
    except        names or ids of jobs that are not meant
    at            where it is written: `releases/falcon.toml: claim 2`
"""

RELEASES = Table(
    "releases",
    "one published model; key (source, release)",
    ("source",),
    _columns(
        ("source", "string", "configured name of the collector that delivered it"),
        *_ORIGIN,
        ("release", "string", "name of the release: model and version"),
        ("model", "string", "model"),
        ("version", "string", "version", "none"),
        ("licence", "string", "licence", "not given"),
        ("published_at", "string", "where it was published", "not given"),
        ("released_at", "timestamp", "when it was published", "not yet: a candidate by name"),
        ("withdrawn_at", "timestamp", "when it was withdrawn or replaced before anybody had it", "it stands"),
        ("lineage", "string", "what it names as its own, as JSON: a list of claims, see CLAIM_KINDS"),
    ),
)

TRACKED_RUNS = Table(
    "tracked_runs",
    "one run of an experiment tracker; key (source, run_id)",
    ("source",),
    _columns(
        ("source", "string", "configured name of the collector that delivered it"),
        *_ORIGIN,
        ("run_id", "string", "the tracker's id"),
        ("parent_run_id", "string", "the run it is a part of", "none"),
        ("name", "string", "name of the run", "none"),
        ("experiment", "string", "experiment or project", "not given"),
        ("user", "string", "who ran it", "not known"),
        ("cluster", "string", "cluster of the job that it was", "not told"),
        ("job_id", "string", "the scheduler's id of the job that it was", "not told"),
        ("start_time", "timestamp", "from", "not known"),
        ("end_time", "timestamp", "to", "it still runs, or not known"),
        ("status", "string", "the tracker's word", "not known"),
        ("labels", "map", "parameters and tags", "none"),
    ),
)

ARTIFACTS = Table(
    "artifacts",
    "something a tracked run read or wrote; key (source, run_id, direction, kind, uri, at)",
    ("source",),
    _columns(
        ("source", "string", "configured name of the collector that delivered it"),
        *_ORIGIN,
        ("run_id", "string", "the tracker's id of the run", "nobody's: a version of a registry"),
        ("direction", "string", "`read` or `write`"),
        ("kind", "string", "`checkpoint`, `dataset` or `model`"),
        ("uri", "string", "its path, name or `models:/NAME/VERSION`"),
        ("at", "timestamp", "when", "not known"),
    ),
)

FILE_USES = Table(
    "file_uses",
    "a file that a job says it read or wrote, kept so that past jobs' texts are read once; only where there are releases",
    ("end_month",),
    _columns(
        ("end_month", "string", "UTC month of the jobs' ends, or `open`"),
        ("read_from", "string", "digest of the jobs of that month, and of how their texts are read"),
        ("job_key", "string", "the job"),
        ("use", "string", "read, write, training_write, data_read, data_write; resume: goes on from its own; `none`: no job"),
        ("option", "string", "the option that says so"),
        ("path", "string", "`cluster:/path`, or an address", "it goes on from what it wrote"),
        ("step", "int64", "the step that it reads", "not said"),
    ),
)

CLAIMS = Table(
    "claims",
    "a job or a segment of it that a release descends from or names; key (release, job_key, segment_start)",
    (),
    _columns(
        ("release", "string", "the release"),
        ("job_key", "string", "the job"),
        ("role", "string", "one of ROLES"),
        ("activity", "string", "one of ACTIVITIES: what that is, as the default policy has it"),
        ("stage", "string", "one of STAGES", "not told"),
        ("segment_start", "timestamp", "from", "from the start of the job"),
        ("segment_end", "timestamp", "to", "until the end of the job"),
        ("weight", "int64", "its part when several releases claim the job: weight of the sum of weights"),
        ("confidence", "float64", "in [0, 1]: 1 when the release names the job itself"),
        ("evidence", "string", "how the release comes to it: each step with file and line, run or path"),
    ),
)

ATTRIBUTIONS = Table(
    "attributions",
    "day x job (or bucket) x charge source: that part of the charges",
    ("source", "billing_period"),
    _columns(
        ("source", "string", "source of the charges"),
        ("billing_period", "string", "billing month of the charges"),
        ("billing_currency", "string", "ISO 4217 code"),
        ("basis", "string", "billed or estimated"),
        ("day", "string", "UTC day the money was used"),
        ("route", "string", "job, node (pools too), shared or bill_idle"),
        ("cluster", "string", "cluster", "shared money"),
        ("job_key", "string", "the job that takes it", "a bucket takes it"),
        ("bucket", "string", "idle, bill_idle or shared", "a job takes it"),
        ("service", "string", "service of shared and bill-idle money", "money of a job or of idle nodes"),
        ("effective_cost_nanos", "int64", "part of the effective cost"),
        ("billed_cost_nanos", "int64", "part of the billed cost"),
    ),
)

OCCUPANCY = Table(
    "occupancy",
    "day x job (or idle of a cluster): GPU time as the records say it. Never depends on a bill",
    ("cluster", "month"),
    _columns(
        ("cluster", "string", "cluster"),
        ("month", "string", "month of the day"),
        ("day", "string", "UTC day"),
        ("job_key", "string", "the job", "idle time"),
        ("gpu_part_seconds", "int64", "GPU parts x seconds", "idle of nodes whose capacity is not known"),
    ),
)

ESTIMATE_ERRORS = Table(
    "estimate_errors",
    "GPU type x currency of a month: how far the estimate of node hours was from the bill that came for them",
    ("month",),
    _columns(
        ("month", "string", "month of the hours"),
        ("gpu_type", "string", "GPU type", "no GPU, or not known"),
        ("currency", "string", "ISO 4217 code"),
        ("node_hours", "int64", "node hours that have both"),
        ("estimated_cost_nanos", "int64", "what the rates say of them"),
        ("effective_cost_nanos", "int64", "what the bill says of them"),
        ("median_ppm", "int64", "median over node hours of (bill - estimate) / estimate, in parts per million"),
        ("p90_ppm", "int64", "90th percentile of its absolute value"),
        ("bias_ppm", "int64", "the same of both sums"),
    ),
)

FINDINGS = Table(
    "findings",
    "something a person should know about a period, found while working on it",
    ("stage", "period"),
    _columns(
        ("stage", "string", "collect, tag or attribute"),
        ("period", "string", "month"),
        ("kind", "string", "what was found, e.g. oversubscribed_node"),
        ("subject", "string", "what it is about"),
        ("detail", "string", "in words"),
        ("rows", "int64", "how many records"),
    ),
)

COVERAGE = Table(
    "coverage",
    "what one source did or did not show of one window; appended, the newest word counts",
    (),
    _columns(
        ("run", "int64", "the run that asked"),
        ("source", "string", "configured name of the collector"),
        ("window_start", "timestamp", "from"),
        ("window_end", "timestamp", "to"),
        ("complete", "bool", "the source said: this is all of it"),
        ("rows", "int64", "rows delivered"),
        ("effective_cost_nanos", "int64", "money delivered", "no money in this source, or more than the column holds"),
        ("asked_at", "timestamp", "when"),
        ("seconds", "float64", "how long it took"),
        ("why", "string", "why it is not complete", "complete"),
        ("requests", "int64", "requests that the provider charges for", "asking costs nothing"),
        ("own_cost_nanos", "int64", "what asking cost, in nanos of USD", "asking costs nothing"),
    ),
)

LOADS = Table(
    "loads",
    "what the ledger holds of a part of a source, where the source can tell that without reading it again",
    ("source", "part"),
    _columns(
        ("source", "string", "configured name of the collector"),
        ("part", "string", "table and scope: `charges.2026-10`, `jobs.eks`"),
        ("key", "string", "digest of what was loaded: export, period and content of its manifest"),
        ("rows", "int64", "rows delivered"),
        ("effective_cost_nanos", "int64", "money delivered", "no money in this source"),
        ("notes", "string", "what was found while reading it, as JSON: kind, subject, detail, rows"),
        ("run", "int64", "the run that loaded it"),
    ),
)

RUNS = Table(
    "runs",
    "one run of the pipeline; appended last, names the version of every table it leaves behind",
    (),
    _columns(
        ("run", "int64", "1, 2, 3, ..."),
        ("stages", "string", "stages it did, with commas"),
        ("period", "string", "period it worked on"),
        ("started_at", "timestamp", "when"),
        ("ended_at", "timestamp", "when"),
        ("outcome", "string", "`ok`, or `incomplete` when a source failed"),
        ("pending", "string", "months collected but not yet attributed, with commas; empty: every month adds up"),
        ("versions", "string", "table to version, as JSON"),
        ("config_digest", "string", "sha256 of the configuration"),
        ("code_version", "string", "version of rdspend"),
    ),
)

PUBLICATIONS = Table(
    "publications",
    "a published breakdown; appended",
    (),
    _columns(
        ("run", "int64", "run whose snapshot it shows"),
        ("period", "string", "period"),
        ("policy", "string", "policy"),
        ("currency", "string", "currency"),
        ("revision", "int64", "1, 2, ... for the same period, policy and currency; grows only when a figure changed"),
        ("digest", "string", "sha256 of the figures"),
        ("figures", "string", "the breakdown as JSON"),
        ("published_at", "timestamp", "when"),
    ),
)

CLOSES = Table(
    "closes",
    "a period somebody closed, in one policy and currency; appended, the newest counts",
    (),
    _columns(
        ("run", "int64", "the run that pinned it"),
        ("period", "string", "period"),
        ("policy", "string", "policy"),
        ("currency", "string", "currency"),
        ("revision", "int64", "the published revision it is closed with"),
        ("published_run", "int64", "the run that published that revision"),
        ("digest", "string", "sha256 of its figures"),
        ("closed_at", "timestamp", "when"),
    ),
)

TABLES: Mapping[str, Table] = MappingProxyType(
    {
        t.name: t
        for t in (
            CHARGES,
            JOBS,
            PLACEMENTS,
            NODES,
            RATES,
            STATEMENTS,
            TOKENS,
            EXCHANGE_RATES,
            TAGS,
            FAMILIES,
            RELEASES,
            TRACKED_RUNS,
            ARTIFACTS,
            FILE_USES,
            CLAIMS,
            ATTRIBUTIONS,
            OCCUPANCY,
            ESTIMATE_ERRORS,
            FINDINGS,
            COVERAGE,
            LOADS,
            RUNS,
            PUBLICATIONS,
            CLOSES,
        )
    }
)


# --- time -------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, order=True)
class Window:
    """A half-open span of time in UTC."""

    start: datetime
    end: datetime

    def __post_init__(self) -> None:
        if self.start.tzinfo is None or self.end.tzinfo is None:
            raise ValueError("a window needs times with a zone")
        if self.end <= self.start:
            raise ValueError(f"a window ends after it starts: {self.start.isoformat()} .. {self.end.isoformat()}")

    @property
    def months(self) -> tuple[str, ...]:
        """The calendar months it touches, `2026-10`."""
        first, last = self.start.astimezone(UTC), (self.end - timedelta(microseconds=1)).astimezone(UTC)
        count = (last.year - first.year) * 12 + last.month - first.month + 1
        return tuple(
            f"{first.year + (first.month - 1 + i) // 12:04d}-{(first.month - 1 + i) % 12 + 1:02d}" for i in range(count)
        )


# --- collectors -------------------------------------------------------------------------------------------------------


@runtime_checkable
class ArrowStream(Protocol):
    """Anything that exports an Arrow stream: a DuckDB relation, arro3, pandas, pyarrow."""

    def __arrow_c_stream__(self, requested_schema: object | None = None) -> object: ...


@dataclass(frozen=True)
class Delivery:
    """Rows of one table, what they replace, and the claim that they are all of it.

    table     name of the table; rows carry its columns by name. A missing nullable column is filled with null, an unknown
              column or a null where none may be is refused at the border. `source` is filled in by the runner.
    rows      an Arrow stream. A DuckDB relation is best: it is run once, in parallel, straight into the ledger's files.
              Its connection must stay open and unused until the next delivery is asked for. A function that makes one is
              called only where the rows are wanted: see `key`.
    scope     the values of partition columns that these rows replace: `{"billing_period": "2026-10"}` for charges,
              `{"cluster": "h100"}` for nodes, `{}` for rates. For jobs and placements `{"cluster": "h100"}`: rows replace
              every earlier row of the same job_key, every job of that cluster and source that ended inside the collect
              window and, if `open_complete`, every earlier open job of both.
    complete  "I saw all of it". Not knowing is SourceUnavailable, never a smaller delivery.
    notes     findings to show: (kind, subject, detail, rows).
    key       a digest of all that the rows are made from. Where the ledger holds this table and scope of this source under
              the same key, the rows are not read again, and what was noted with them stays. `notes` are looked at after
              the rows were made.
    requests  requests of this delivery that the provider charges for, and
    own_cost  what they cost, in nanos of USD.
    as_of     of nodes only: the rows are the nodes as they are at this instant, not their whole history. Earlier records
              that they no longer name are kept and end here; a node that is another resource now begins here.
    """

    table: str
    rows: ArrowStream | Callable[[], ArrowStream]
    scope: Mapping[str, str] = field(default_factory=dict)
    complete: bool = True
    open_complete: bool = True
    notes: Sequence[tuple[str, str, str, int]] = ()
    as_of: datetime | None = None
    key: str | None = None
    requests: int = 0
    own_cost: int = 0


class Location(str):
    """A path in the configuration: relative ones are relative to the configuration file; `s3://` is kept as it is."""


class Collector(Protocol):
    """Reads one source. A frozen dataclass: its fields are its configuration.

    One that can tell a short window apart cheaply has a class attribute `incremental = True`; the daemon then asks it every
    interval for the time since its last complete answer, and the others only now and then, for everything.
    One that delivers nothing but releases, tracked runs and artifacts has `of_releases = True`: `rdspend release update` asks
    those alone, and no month waits for its attribution because of them. It yields its tables even when they are empty.
    """

    def collect(self, window: Window) -> Iterator[Delivery]:
        """Yield all that the source knows of the window. Nothing there: yield nothing. Not knowing: SourceUnavailable."""
        ...


# --- taggers ----------------------------------------------------------------------------------------------------------


class Tagger(Protocol):
    """Says what jobs were for. Sees jobs, never money."""

    def tag(self, jobs: Any) -> Any:
        """Relation of jobs (columns of JOBS) in, relation of (job_key, activity, stage, confidence, evidence, version) out.

        Both are DuckDB relations on one connection without access to files or network. At most one row a job, or rows of
        segments that do not overlap; no row means no answer. Columns of TAGS that an answer leaves out are null. Beside the
        jobs the connection has the tables `claim` (columns of CLAIMS) and `job_family` (job_key, family). One whose answers
        come from `claim` alone has a class attribute `of_releases = True`: a new release asks it again, for past months too.
        """
        ...


# --- exporters --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Line:
    """Money and GPU time of one group. `cost` is effective cost; null shares lie outside the policy's denominator.

    share_low, share_high    bounds that hold whatever is not known
    likely_low, likely_high  90 % interval, from what taggers are unsure of, family by family (None: it was not drawn)
    borne, borne_gpu_hours   what of cost and gpu_hours is idle or shared, where the policy spreads those
    """

    name: str
    cost: Decimal
    billed_cost: Decimal
    gpu_hours: Decimal
    basis: str
    share: Decimal | None = None
    share_low: Decimal | None = None
    share_high: Decimal | None = None
    likely_low: Decimal | None = None
    likely_high: Decimal | None = None
    borne: Decimal = Decimal(0)
    borne_gpu_hours: Decimal = Decimal(0)


@dataclass(frozen=True)
class Crossing:
    """Jobs' money and GPU time by what they were for, their stage, how they ended and what they were to a release."""

    category: str
    stage: str
    outcome: str
    role: str
    cost: Decimal
    billed_cost: Decimal
    gpu_hours: Decimal


@dataclass(frozen=True)
class Candidate:
    """Training that no release has claimed and that looks like a final run: it stands in the upper bound of final training."""

    family: str
    team: str
    why: str
    jobs: int
    cost: Decimal
    gpu_hours: Decimal


@dataclass(frozen=True)
class Cell:
    """One crossing of category (activity or bucket), stage, team and cluster. Empty string: not known or not applicable."""

    category: str
    stage: str
    team: str
    cluster: str
    basis: str
    cost: Decimal
    billed_cost: Decimal
    gpu_seconds: Decimal


@dataclass(frozen=True)
class TopJob:
    job_key: str
    name: str
    team: str
    category: str
    stage: str
    outcome: str
    cost: Decimal
    gpu_hours: Decimal


@dataclass(frozen=True)
class ParetoRow:
    """One group of a Pareto list: `names` in the order of its grouping, `(idle)` and its like for buckets."""

    names: tuple[str, ...]
    cost: Decimal
    gpu_hours: Decimal
    jobs: int
    cumulative: Decimal


@dataclass(frozen=True)
class Pareto:
    """The smallest set of groups that holds `part` of the total: `needed` of `groups`. `rows` are the dearest of the needed."""

    by: tuple[str, ...]
    part: Decimal
    groups: int
    needed: int
    rows: tuple[ParetoRow, ...]


@dataclass(frozen=True)
class Workload:
    """One step of WORKLOADS: GPU jobs and API calls apart.

    counted_cost, tokens         money of the work whose tokens are known, and those tokens; read and written are parts of them
    cost_per_million_tokens      of both (None: no tokens are known)
    """

    step: str
    gpu_jobs: int
    gpu_cost: Decimal
    gpu_hours: Decimal
    api_jobs: int
    api_cost: Decimal
    counted_cost: Decimal
    tokens: int
    tokens_read: int
    tokens_written: int
    cost_per_million_tokens: Decimal | None


@dataclass(frozen=True)
class ReleaseLine:
    """Money of jobs that a release claims, by what they were to it; jobs of several releases are cut by their weights."""

    release: str
    role: str
    stage: str
    category: str
    cost: Decimal
    gpu_hours: Decimal
    jobs: int


@dataclass(frozen=True)
class PublicFigure:
    """A published share of final training. `left_out` says why it can't stand beside the breakdown; empty: it can."""

    name: str
    what: str
    share: Decimal
    share_low: Decimal | None
    share_high: Decimal | None
    year: str
    source: str
    url: str
    certainty: str
    left_out: str = ""


@dataclass(frozen=True)
class Case:
    """What a policy counts one disputed case as, why, and where that is written.

    case  one of ROLES, or an activity that no release claims
    """

    case: str
    category: str
    words: str = ""
    source: str = ""


@dataclass(frozen=True)
class Policy:
    """A named, written boundary.

    denominator  activities and buckets whose amount is 100 %
    unit         what shares are of: `money` or `gpu_hours`
    idle, shared who bears it: `shown` apart, or `spread` by cost: idle over the jobs of its cluster, shared over all
    cases        what each role and each activity counts as; one that is not named counts as its default
    source       where the boundary is written
    """

    name: str
    title: str
    words: str
    denominator_words: str
    denominator: tuple[str, ...]
    unit: str = "money"
    idle: str = "shown"
    shared: str = "shown"
    cases: tuple[Case, ...] = ()
    source: str = ""


@dataclass(frozen=True)
class Gap:
    """What one source showed of the period. `why` is empty when complete."""

    source: str
    start: datetime
    end: datetime
    complete: bool
    why: str


@dataclass(frozen=True)
class SourceClosing:
    """One source and billing month: bill against attributions, effective and billed. Currency `""`: the breakdown's."""

    source: str
    billing_period: str
    basis: str
    charges: Decimal
    attributed: Decimal
    billed_charges: Decimal
    billed_attributed: Decimal
    currency: str = ""


@dataclass(frozen=True)
class ClosingRow:
    """One category of one invoice of a bill. Invoice `""`: no invoice yet. Category: one of CLOSING_CATEGORIES."""

    source: str
    invoice: str
    currency: str
    category: str
    billed: Decimal
    effective: Decimal


@dataclass(frozen=True)
class InvoiceClosing:
    """One invoice: what it states (None: nobody told) against what the bill's lines on it add to. difference = stated - billed.

    `source`: the bills that name it, with commas. `rounded`: the difference is no more than rounding to the cent.
    """

    source: str
    invoice: str
    currency: str
    stated: Decimal | None
    billed: Decimal
    difference: Decimal | None
    rounded: bool = False


@dataclass(frozen=True)
class CheckClosing:
    """The provider's own summary against the bill; "" means all services or accounts. Not complete: it says nothing yet."""

    source: str
    service: str
    account: str
    currency: str
    stated: Decimal
    billed: Decimal
    difference: Decimal
    complete: bool


@dataclass(frozen=True)
class EstimateError:
    """How far estimates of node hours were from their bill. Errors are fractions: (bill - estimate) / estimate."""

    month: str
    gpu_type: str
    node_hours: int
    estimated: Decimal
    billed: Decimal
    median: Decimal
    p90: Decimal
    bias: Decimal


@dataclass(frozen=True)
class Closed:
    """The figures a period was closed with. Revision 0: none of this currency; it came to a period closed in others."""

    revision: int
    snapshot: str
    total: Decimal
    billed_total: Decimal
    closed_at: datetime


@dataclass(frozen=True)
class Conversion:
    """Money of another currency inside a breakdown that was asked for in one: both amounts."""

    currency: str
    total: Decimal
    billed_total: Decimal
    converted_total: Decimal
    converted_billed_total: Decimal
    first_rate: Decimal
    last_rate: Decimal


@dataclass(frozen=True)
class Past:
    """What an earlier publication said, as far as a later one is set against it. Its fields mean what a breakdown's do."""

    period: str
    revision: int
    snapshot: str
    total: Decimal
    billed_total: Decimal
    gpu_hours: Decimal
    lines: tuple[Line, ...]
    buckets: tuple[Line, ...]
    state: str = ""


@dataclass(frozen=True)
class Breakdown:
    """A finished breakdown of one period in one currency. Immutable; the same snapshot gives an equal one.

    total        effective cost of everything, lines plus buckets; billed_total the same of billed cost.
    lines        one per activity, in the order of ACTIVITIES, zeros included.
    buckets      one per bucket, in the order of BUCKETS, zeros included. `unclassified` has GPU-hours, idle too where
                 capacity is known (idle_gpu_hours_known).
    stages, teams, clusters   jobs' money by those, descending, `""` for not known.
    charges, attributed       sums of both sides; a breakdown whose difference is not zero can't be made.
    state        one of STATES; "" in breakdowns published before there were states. `state_why` says in words what keeps it
                 from being closed. `closed` is what it was closed with.
    bridge       the closing table: from effective to billed by source, invoice and category; its sums are total, billed_total.
    invoices, checks   what others state against it.
    estimate_errors    of the newest month known for each GPU type; estimated_low, estimated_high: the interval of the total
                       that comes from them (None: nothing is estimated, or no error is known yet).
    conversions  not empty in a breakdown that was converted into its currency.
    folded_teams how many of the smallest teams are added up under OTHER_TEAMS, since a breakdown names MOST_TEAMS at most.
    crossings    jobs' money by category, stage, outcome and role at once; its sum is that of the jobs.
    candidates   what could still become final training.
    spread       by bucket what the policy spread over the jobs: it is in their lines (`borne`), no longer in the bucket.
    denominator  the amount that is 100 %, in the policy's unit.
    doubt        the intervals in words; empty where none was drawn.
    releases     what releases claim of the period.
    paretos      where 80 % of the total goes, by several groupings.
    workloads    GPU jobs and API calls in one table, by step.
    public_figures   published shares of final training: those that mean the same, and those that don't, with the reason.
    months_before    the last MONTHS_BEFORE months published up to its end, itself left out, as they were when it was published.
    period_before    the period of the same length right before it; revision_before its own last revision with other figures.
    """

    period: str
    months: tuple[str, ...]
    policy: Policy
    currency: str
    revision: int
    snapshot: str
    basis: str
    total: Decimal
    billed_total: Decimal
    gpu_hours: Decimal
    denominator: Decimal
    lines: tuple[Line, ...]
    buckets: tuple[Line, ...]
    stages: tuple[Line, ...]
    teams: tuple[Line, ...]
    clusters: tuple[Line, ...]
    services: tuple[Line, ...]
    top_jobs: tuple[TopJob, ...]
    cells: tuple[Cell, ...]
    charges: Decimal
    attributed: Decimal
    closings: tuple[SourceClosing, ...]
    coverage: tuple[Gap, ...]
    findings: tuple[tuple[str, str, str, int], ...]
    idle_gpu_hours_known: bool
    share_rule: str
    synthetic: bool = False
    title: str = ""
    remark: str = ""
    state: str = ""
    state_why: str = ""
    closed: Closed | None = None
    bridge: tuple[ClosingRow, ...] = ()
    invoices: tuple[InvoiceClosing, ...] = ()
    checks: tuple[CheckClosing, ...] = ()
    estimate_errors: tuple[EstimateError, ...] = ()
    estimated_low: Decimal | None = None
    estimated_high: Decimal | None = None
    conversions: tuple[Conversion, ...] = ()
    crossings: tuple[Crossing, ...] = ()
    candidates: tuple[Candidate, ...] = ()
    doubt: str = ""
    releases: tuple[ReleaseLine, ...] = ()
    paretos: tuple[Pareto, ...] = ()
    workloads: tuple[Workload, ...] = ()
    public_figures: tuple[PublicFigure, ...] = ()
    folded_teams: int = 0
    spread: tuple[Line, ...] = ()
    months_before: tuple[Past, ...] = ()
    period_before: Past | None = None
    revision_before: Past | None = None

    @property
    def complete(self) -> bool:
        """Every source showed all of the period."""
        return all(gap.complete for gap in self.coverage)


@dataclass(frozen=True)
class SourceHealth:
    """How one source fared: last success and last attempt as epoch seconds (null: never), seconds of the last attempt.

    requests and own_cost (USD) are sums over all runs, of requests that the provider charges for.
    """

    source: str
    up: bool
    last_success: float | None
    last_attempt: float | None
    seconds: float
    rows: int
    requests: int = 0
    own_cost: Decimal = Decimal(0)


@dataclass(frozen=True)
class StageHealth:
    """How long one stage of the last run took."""

    stage: str
    seconds: float


@dataclass(frozen=True)
class PushHealth:
    """How often an exporter's receiver did not take what was pushed, since this process began."""

    exporter: str
    failures: int


@dataclass(frozen=True)
class LedgerTable:
    """A table of the ledger on its disk, all versions kept."""

    table: str
    files: int
    size_bytes: int


@dataclass(frozen=True)
class Burn:
    """What runs now of one category, team and cluster, and what an hour of it costs by the rates: estimated, never billed.

    category       an activity, `unclassified`, or `idle`: nodes that are up less what jobs hold
    currency       `""` where no rate names the nodes; cost_per_hour is then None, never 0
    gpus           None: the capacity of a node is not known
    nodes          that are up; of idle rows only, which count each node once
    as_of          epoch second at which the ledger saw it
    """

    category: str
    team: str
    cluster: str
    currency: str
    cost_per_hour: Decimal | None
    gpus: Decimal | None
    nodes: int
    as_of: float


@dataclass(frozen=True)
class PlannedShare:
    """The band in which the share of a category is expected."""

    category: str
    low: Decimal
    high: Decimal


@dataclass(frozen=True)
class Plan:
    """What somebody planned to spend: by the hour, by the month, and in which shares. None: no plan."""

    currency: str
    burn_per_hour: Decimal | None = None
    month: Decimal | None = None
    shares: tuple[PlannedShare, ...] = ()


@dataclass(frozen=True)
class Health:
    """The state of rdspend itself. `last_run` and `last_success` (the last run that was ok) end at these epoch seconds.

    burn    what ran when the last run asked, of all clusters
    ledger  what the ledger takes on its disk
    plan    what spending may be compared with; None: nothing was planned
    """

    version: str
    sources: tuple[SourceHealth, ...] = ()
    stages: tuple[StageHealth, ...] = ()
    last_run_ok: bool = False
    last_run: float | None = None
    last_success: float | None = None
    pushes: tuple[PushHealth, ...] = ()
    burn: tuple[Burn, ...] = ()
    ledger: tuple[LedgerTable, ...] = ()
    plan: Plan | None = None


class Exporter(Protocol):
    """Publishes a finished breakdown. Can't change it."""

    def export(self, breakdown: Breakdown) -> None: ...


@runtime_checkable
class Served(Protocol):
    """An exporter whose page the daemon serves: rendered once a refresh, served as bytes."""

    listen: str

    def render(self, breakdowns: Iterable[Breakdown], health: Health) -> bytes: ...


@runtime_checkable
class Negotiated(Served, Protocol):
    """One with the page in several forms, of which a scraper's Accept header chooses."""

    def forms(self, breakdowns: Iterable[Breakdown], health: Health) -> Mapping[str, bytes]:
        """The page by content type, best first; the last is for who accepts anything."""
        ...


@runtime_checkable
class Pushed(Protocol):
    """An exporter that sends what is shown to a receiver, after each run, together with the state of rdspend itself.

    It is handed all of it at once, by `push` and not by `export`. Raises SourceUnavailable when it was not taken, which is
    counted and disturbs nothing; it has a time limit of its own.
    """

    def push(self, breakdowns: Iterable[Breakdown], health: Health | None) -> None: ...

    def observing(self) -> AbstractContextManager[None]:
        """While it lasts, spans and log records of rdspend are kept for the next push."""
        ...
