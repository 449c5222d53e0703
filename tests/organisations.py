"""Small organisations written as the files a user has: a bill, a job log, nodes, labels, rules, a configuration."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

FOCUS_COLUMNS = (
    "BilledCost",
    "EffectiveCost",
    "BillingCurrency",
    "BillingPeriodStart",
    "BillingPeriodEnd",
    "ChargePeriodStart",
    "ChargePeriodEnd",
    "ChargeCategory",
    "ChargeClass",
    "ChargeDescription",
    "ResourceId",
    "ServiceName",
    "ServiceCategory",
    "ProviderName",
    "PublisherName",
    "InvoiceIssuerName",
    "BillingAccountId",
    "CapacityReservationId",
    "CapacityReservationStatus",
)

CONFIG = """\
ledger = "ledger"
title = "A small lab"

[collectors.focus]
path = "bill.csv"

[collectors.job_log]
cluster = "c1"
path = "jobs.csv"
nodes = "nodes.csv"

[taggers.label]
path = "labels.csv"

[taggers.rule]
path = "rules.toml"

[exporters.report]
folder = "reports"

[exporters.prometheus]
listen = "127.0.0.1:0"
path = "metrics.prom"

[collect]
retries = 0
"""

MONTH = "2026-10"

JOBS_HEADER = "job_id,user,account,name,submit_time,start_time,end_time,state,nodes,gpus,gpu_type,activity"
NODES_HEADER = "node,resource_id,gpus,gpu_type,cpus,memory_gib,start_time,end_time"

JOBS = (
    "1,u1,pretrain,big-run,2026-10-01T00:00:00Z,2026-10-01T00:00:00Z,2026-10-01T12:00:00Z,COMPLETED,n[1-2],16,H100,",
    "2,u2,evals,lm-eval-mmlu,2026-10-01T06:00:00Z,2026-10-01T12:00:00Z,2026-10-01T18:00:00Z,COMPLETED,n1,4,H100,",
    "3,u2,evals,mystery,2026-10-01T06:00:00Z,2026-10-01T12:00:00Z,2026-10-01T15:00:00Z,FAILED,n1,4,H100,",
    "4,u3,pretrain,ablation-lr,2026-10-02T00:00:00Z,2026-10-02T00:00:00Z,2026-10-02T10:00:00Z,COMPLETED,n2,8,H100,",
    "5,u3,data,gen-shards,2026-10-02T00:00:00Z,2026-10-02T00:00:00Z,2026-10-02T10:00:00Z,COMPLETED,n1,8,H100,data_generation",
)
NODES = (
    "n1,i-1,8,H100,96,1024,,",
    "n2,i-2,8,H100,96,1024,,",
)
LABELS = ("cluster,job_id,activity,stage,who", "c1,1,final_training,pretraining,owner of the run")
RULES = """\
[[rule]]
name = "evaluations"
when = "name ILIKE '%eval%'"
activity = "evaluation"
stage = "evaluation"

[[rule]]
name = "ablations"
when = "name ILIKE '%ablation%' AND gpus >= 1"
activity = "exploration"
stage = "pretraining"
confidence = 0.9
"""


def following(month: str) -> str:
    """The next month."""
    return f"{month[:5]}{int(month[5:]) + 1:02d}" if month[5:] != "12" else f"{int(month[:4]) + 1}-01"


def bill_line(
    start: str,
    end: str,
    cost: str,
    resource: str = "",
    *,
    service: str = "Compute",
    currency: str = "USD",
    billed: str | None = None,
    month: str = MONTH,
    category: str = "Usage",
    reservation: str = "",
) -> str:
    values = {
        "BilledCost": billed if billed is not None else cost,
        "EffectiveCost": cost,
        "BillingCurrency": currency,
        "BillingPeriodStart": f"{month}-01T00:00:00Z",
        "BillingPeriodEnd": f"{following(month)}-01T00:00:00Z",
        "ChargePeriodStart": start,
        "ChargePeriodEnd": end,
        "ChargeCategory": category,
        "ResourceId": resource,
        "ServiceName": service,
        "ServiceCategory": "Compute",
        "ProviderName": "Example Cloud",
        "PublisherName": "Example Cloud",
        "InvoiceIssuerName": "Example Cloud",
        "BillingAccountId": "1",
        "CapacityReservationId": "cr-1" if reservation else "",
        "CapacityReservationStatus": reservation,
    }
    return ",".join(values.get(column, "") for column in FOCUS_COLUMNS)


def two_days(price: str = "98.32", month: str = MONTH) -> list[str]:
    """Two nodes over the month's first two days by the hour, storage for the month, a credit, an unused reservation."""
    lines = []
    for day in (1, 2):
        for hour in range(24):
            start = f"{month}-{day:02d}T{hour:02d}:00:00Z"
            end = f"{month}-{day:02d}T{hour + 1:02d}:00:00Z" if hour < 23 else f"{month}-{day + 1:02d}T00:00:00Z"
            for node in ("i-1", "i-2"):
                lines.append(bill_line(start, end, price, node, month=month))
    first, second, last = f"{month}-01T00:00:00Z", f"{month}-02T00:00:00Z", f"{following(month)}-01T00:00:00Z"
    lines.append(bill_line(first, last, "310.123456789", service="Storage", month=month))
    lines.append(bill_line(first, last, "-10", service="Credits", category="Credit", month=month))
    lines.append(bill_line(first, second, "50", "cr-1", service="Compute", reservation="Unused", month=month))
    return lines


def write_bill(folder: Path, lines: Iterable[str], name: str = "bill.csv") -> None:
    (folder / name).write_text("\n".join([",".join(FOCUS_COLUMNS), *lines]) + "\n")


def write_organisation(folder: Path, month: str = MONTH) -> Path:
    """Write all files of the small lab, its bill and jobs of that month; returns the configuration file."""
    folder.mkdir(parents=True, exist_ok=True)
    write_bill(folder, two_days(month=month))
    (folder / "jobs.csv").write_text("\n".join([JOBS_HEADER, *JOBS]).replace(MONTH, month) + "\n")
    (folder / "nodes.csv").write_text("\n".join([NODES_HEADER, *NODES]) + "\n")
    (folder / "labels.csv").write_text("\n".join(LABELS) + "\n")
    (folder / "rules.toml").write_text(RULES)
    (folder / "rdspend.toml").write_text(CONFIG)
    return folder / "rdspend.toml"
