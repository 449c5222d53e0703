"""The small organisation with a bill that has every column FOCUS wants."""

from __future__ import annotations

import csv
import json
from decimal import Decimal
from pathlib import Path

from organisations import FOCUS_COLUMNS, MONTH, bill_line, two_days, write_organisation

from rdspend.config import load
from rdspend.period import parse_period
from rdspend.pipeline import STAGES, Pipeline

# What FOCUS wants beside the columns that the small organisations' bill has.
MORE = (
    "ListCost",
    "ContractedCost",
    "PricingCategory",
    "PricingQuantity",
    "PricingUnit",
    "ConsumedQuantity",
    "ConsumedUnit",
    "Tags",
    "ChargeFrequency",
    "ServiceSubcategory",
)


def write_full_bill(path: Path, lines: list[str]) -> None:
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, [*FOCUS_COLUMNS, *MORE])
        writer.writeheader()
        for number, line in enumerate(lines):
            row = dict(zip(FOCUS_COLUMNS, next(csv.reader([line])), strict=True))
            usage = row["ChargeCategory"] == "Usage"
            row |= {
                "ListCost": str(Decimal(row["EffectiveCost"]) * 2),
                "ContractedCost": str(Decimal(row["EffectiveCost"]) + Decimal("0.000000001")),
                "PricingCategory": "Standard" if usage else "",
                "PricingQuantity": "1" if usage else "",
                "PricingUnit": "Hours" if usage else "",
                "ConsumedQuantity": "0.333333333" if usage else "",
                "ConsumedUnit": "Hours" if usage else "",
                "ChargeFrequency": "Usage-Based" if usage else "One-Time",
                "ServiceSubcategory": "Virtual Machines",
                "ChargeDescription": "what it was for",
                "Tags": json.dumps({"team": 'a"b', "line": str(number)}) if number % 2 else "",
            }
            writer.writerow(row)


def several_ways() -> list[str]:
    """Node hours with one line and with several, credits beside them, whole days, billed that is not effective."""
    first, second = f"{MONTH}-01T00:00:00Z", f"{MONTH}-02T00:00:00Z"
    eleven, noon, one = f"{MONTH}-01T11:00:00Z", f"{MONTH}-01T12:00:00Z", f"{MONTH}-01T13:00:00Z"
    return [
        *two_days(),
        bill_line(noon, one, "0.000000007", "i-1"),
        bill_line(noon, one, "-3.333333333", "i-1", category="Credit"),
        bill_line(noon, one, "1.1", "i-1", billed="0"),
        bill_line(eleven, noon, "0", "i-1", billed="5"),
        bill_line(first, second, "77.777777777", "i-1", billed="70"),
        bill_line(first, second, "0", "i-2"),
        bill_line(first, second, "10.000000001", "job-1"),
    ]


def organisation(folder: Path) -> Path:
    """The small organisation with that bill, after a run; returns its configuration file."""
    path = write_organisation(folder)
    write_full_bill(folder / "bill.csv", several_ways())
    Pipeline(load(path)).run(parse_period(MONTH), STAGES)
    return path
