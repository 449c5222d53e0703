"""FOCUS's rules for a row, as SQL over the columns of an export: closed lists, nulls, times, what columns ask of each other.

The official validator judges files, not rows, and knows neither custom columns nor most conditions; these are run on every row
of every export.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from rdspend.border import literal

CATEGORIES: Mapping[str, str] = {
    "exploration": "exploration",
    "data_generation": "data-generation",
    "evaluation": "evaluation",
    "final_training": "final-training",
    "inference": "inference",
}
BUCKET_CATEGORIES: Mapping[str, str] = {"idle": "idle", "bill_idle": "idle", "shared": "shared"}
PURPOSES = (*CATEGORIES.values(), "idle", "shared", "unknown")
"""Values of x_ComputePurposeCategory, spelled as FOCUS's lists: an activity, idle (the bill's own too), shared, or unknown."""

SERVICE_CATEGORIES = (
    "AI and Machine Learning", "Analytics", "Business Applications", "Compute", "Databases", "Developer Tools", "Multicloud",
    "Identity", "Integration", "Internet of Things", "Management and Governance", "Media", "Migration", "Mobile", "Networking",
    "Security", "Storage", "Web", "Other",
)  # fmt: skip

CLOSED_LISTS: Mapping[str, tuple[str, ...]] = {
    "ChargeCategory": ("Usage", "Purchase", "Tax", "Credit", "Adjustment"),
    "ChargeClass": ("Correction",),
    "ChargeFrequency": ("One-Time", "Recurring", "Usage-Based"),
    "CommitmentDiscountStatus": ("Used", "Unused"),
    "CapacityReservationStatus": ("Used", "Unused"),
    "PricingCategory": ("Standard", "Dynamic", "Committed", "Other"),
    "ServiceCategory": SERVICE_CATEGORIES,
}

NEVER_NULL = (
    "BilledCost", "BillingAccountId", "BillingCurrency", "BillingPeriodEnd", "BillingPeriodStart", "ChargeCategory",
    "ChargeFrequency", "ChargePeriodEnd", "ChargePeriodStart", "ContractedCost", "EffectiveCost", "HostProviderName",
    "InvoiceIssuerName", "ListCost", "ProviderName", "PublisherName", "ServiceCategory", "ServiceName", "ServiceProviderName",
    "ServiceSubcategory",
)  # fmt: skip

# FOCUS recommends these and wants no null in them: where no line has one, the column is left out.
RECOMMENDED = ("ChargeFrequency", "ServiceSubcategory")


@dataclass(frozen=True)
class Rule:
    """A rule of FOCUS for every row: in words, the columns it speaks of, and SQL that is true where it holds.

    ours  no bill can break it: then it is a defect
    """

    words: str
    columns: tuple[str, ...]
    holds: str
    ours: bool = False


def _listed(words: tuple[str, ...]) -> str:
    return ", ".join(map(literal, words))


def _null_in_tax(column: str) -> str:
    given = f'"{column}" IS NOT NULL'
    usual = """"ChargeCategory" IN ('Usage', 'Purchase') AND "ChargeClass" IS NULL"""
    return f"CASE WHEN \"ChargeCategory\" = 'Tax' THEN NOT ({given}) WHEN {usual} THEN {given} ELSE true END"


def _rules() -> tuple[Rule, ...]:
    return (
        *(Rule(f"{name} is not null", (name,), f'"{name}" IS NOT NULL') for name in NEVER_NULL),
        *(
            Rule(
                f"{name} is {' or '.join(words)}",
                (name,),
                f'"{name}" IS NULL OR "{name}" IN ({_listed(words)})',
            )
            for name, words in CLOSED_LISTS.items()
        ),
        Rule(
            "BillingCurrency is a code of ISO 4217", ("BillingCurrency",), "regexp_full_match(\"BillingCurrency\", '[A-Z]{3}')"
        ),
        *(
            Rule(
                f"{name}PeriodStart and {name}PeriodEnd are whole seconds in this order",
                (f"{name}PeriodStart", f"{name}PeriodEnd"),
                f'"{name}PeriodStart" < "{name}PeriodEnd" AND epoch_us("{name}PeriodStart") % 1000000 = 0 '
                f'AND epoch_us("{name}PeriodEnd") % 1000000 = 0',
            )
            for name in ("Billing", "Charge")
        ),
        Rule(
            "ChargeFrequency is not Usage-Based where ChargeCategory is Purchase",
            ("ChargeFrequency", "ChargeCategory"),
            "NOT (\"ChargeFrequency\" = 'Usage-Based' AND \"ChargeCategory\" = 'Purchase')",
        ),
        *(
            Rule(
                f"{name} is null where ChargeCategory is Tax, and not null for Usage and Purchase",
                (name, "ChargeCategory", "ChargeClass"),
                _null_in_tax(name),
            )
            for name in ("PricingQuantity", "PricingCategory")
        ),
        Rule(
            "PricingUnit is null where PricingQuantity is",
            ("PricingUnit", "PricingQuantity"),
            '("PricingUnit" IS NULL) = ("PricingQuantity" IS NULL)',
        ),
        Rule(
            "ConsumedQuantity is null unless ChargeCategory is Usage and CommitmentDiscountStatus is not Unused",
            ("ConsumedQuantity", "ChargeCategory", "CommitmentDiscountStatus"),
            '"ConsumedQuantity" IS NULL OR ("ChargeCategory" = \'Usage\' AND '
            "\"CommitmentDiscountStatus\" IS DISTINCT FROM 'Unused')",
        ),
        Rule(
            "ConsumedUnit is null where ConsumedQuantity is",
            ("ConsumedUnit", "ConsumedQuantity"),
            '("ConsumedUnit" IS NULL) = ("ConsumedQuantity" IS NULL)',
        ),
        *(
            Rule(
                f"{name}Status is null where {name}Id is, and not null where it is set for Usage",
                (f"{name}Status", f"{name}Id", "ChargeCategory"),
                f'CASE WHEN "{name}Id" IS NULL THEN "{name}Status" IS NULL '
                f'WHEN "ChargeCategory" = \'Usage\' THEN "{name}Status" IS NOT NULL ELSE true END',
            )
            for name in ("CommitmentDiscount", "CapacityReservation")
        ),
        Rule(
            f"x_ComputePurposeCategory is {', '.join(PURPOSES)}",
            ("x_ComputePurposeCategory",),
            f'"x_ComputePurposeCategory" IN ({_listed(PURPOSES)})',
            ours=True,
        ),
        Rule(
            "x_JobId is null where money is idle or shared, and nowhere else",
            ("x_JobId", "x_ComputePurposeCategory"),
            "(\"x_JobId\" IS NULL) = (\"x_ComputePurposeCategory\" IN ('idle', 'shared'))",
            ours=True,
        ),
        *(
            Rule(
                f"{x}AllocatedResourceId is null where {x}AllocatedMethodId is",
                (f"{x}AllocatedMethodId", f"{x}AllocatedResourceId"),
                f'"{x}AllocatedMethodId" IS NOT NULL OR "{x}AllocatedResourceId" IS NULL',
                ours=True,
            )
            for x in ("", "x_")
        ),
        Rule(
            "x_ClassificationConfidence is between 0 and 1",
            ("x_ClassificationConfidence",),
            '"x_ClassificationConfidence" IS NULL OR "x_ClassificationConfidence" BETWEEN 0 AND 1',
            ours=True,
        ),
    )


RULES = _rules()
