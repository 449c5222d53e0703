"""Landing a FOCUS bill as zstd Parquet, against DuckDB's own COPY of the same columns, in the same run.

python tests/benchmarks/bench_land_focus.py [lines]

`floor` copies the FOCUS columns that are landed as DuckDB reads them; `land` is the collector's delivery, checks and exact
money included, run as the ledger runs it. Each is a process of its own. Dialects are measured against FOCUS Parquet of as
many lines: Azure's FOCUS with its own columns, and Google Cloud's usage cost export, where every third line has a credit and
so lands as two: their ratios are of seconds for each line that lands.
"""

from __future__ import annotations

import sys
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

import duckdb
from measuring import machine, measured, serve, workplace

from collectors.focus import READ, Focus
from rdspend.schema import Location, Window

OCTOBER = Window(datetime(2026, 10, 1, tzinfo=UTC), datetime(2026, 11, 1, tzinfo=UTC))
ZSTD = "(FORMAT parquet, COMPRESSION zstd)"

# Hours of one month on nodes of one month; costs with nine decimals, tags that repeat as a lab's do.
BILL = """
    SELECT CASE WHEN i % 7 > 0 THEN 'us-east-1' || chr(97 + CAST(i % 3 AS INTEGER)) END AS AvailabilityZone,
           {cost} AS BilledCost, {cost} AS EffectiveCost, {cost} AS ListCost, {cost} AS ContractedCost,
           '123456789012' AS BillingAccountId, 'Lab' AS BillingAccountName, 'USD' AS BillingCurrency,
           {time}(TIMESTAMPTZ '2026-10-01 00:00:00Z') AS BillingPeriodStart,
           {time}(TIMESTAMPTZ '2026-11-01 00:00:00Z') AS BillingPeriodEnd,
           {time}(TIMESTAMPTZ '2026-10-01 00:00:00Z' + INTERVAL 1 HOUR * (i % 744)) AS ChargePeriodStart,
           {time}(TIMESTAMPTZ '2026-10-01 00:00:00Z' + INTERVAL 1 HOUR * (i % 744 + 1)) AS ChargePeriodEnd,
           'Usage' AS ChargeCategory, CAST(NULL AS VARCHAR) AS ChargeClass, 'Usage-Based' AS ChargeFrequency,
           'On Demand Linux p5.48xlarge Instance Hour' AS ChargeDescription,
           CAST(NULL AS VARCHAR) AS CommitmentDiscountId, CAST(NULL AS VARCHAR) AS CommitmentDiscountStatus,
           CAST(NULL AS VARCHAR) AS CapacityReservationId, CAST(NULL AS VARCHAR) AS CapacityReservationStatus,
           CAST(hash(i + 1) % 1000 AS DOUBLE) / 8 AS ConsumedQuantity, 'Hours' AS ConsumedUnit, 'INV-1' AS InvoiceId,
           'AWS' AS InvoiceIssuerName, 'AWS' AS ProviderName, 'AWS' AS PublisherName, 'us-east-1' AS RegionId,
           'Standard' AS PricingCategory, CAST(1 AS DOUBLE) AS PricingQuantity, 'Hours' AS PricingUnit,
           'i-' || lpad(CAST(hash(i // 744) AS VARCHAR), 20, '0') AS ResourceId, CAST(NULL AS VARCHAR) AS ResourceName,
           'Instance' AS ResourceType, 'Compute' AS ServiceCategory, 'Elastic Compute Cloud' AS ServiceName,
           'Virtual Machines' AS ServiceSubcategory, 'SKU' || i % 50 AS SkuId, 'PRICE' || i % 500 AS SkuPriceId,
           '4387391' || i % 40 AS SubAccountId, 'Team ' || i % 40 AS SubAccountName, {tags} AS Tags
    FROM range({lines}) AS t(i)
"""
COST = "CAST(CAST(hash(i) % 100000000000 AS DECIMAL(18, 0)) * 0.000000001 AS DECIMAL(18, 9))"
VALUES = "'app' || i % 97, 'dev', 'unit' || i % 30"
SHAPES = {
    "parquet": {"time": "", "tags": f"map(['application', 'environment', 'unit'], [{VALUES}])"},
    "csv": {
        "time": "rfc3339",
        "tags": "CAST(json_object('application', 'app' || i % 97, 'environment', 'dev', 'unit', 'unit' || i % 30) AS VARCHAR)",
    },
}


# Azure's own columns beside FOCUS's; one line in eight is of a machine in a capacity reservation.
AZURE = """
    SELECT * EXCLUDE (i) REPLACE ('Microsoft' AS ProviderName, CASE WHEN i % 5 > 0 THEN 'Microsoft' END AS PublisherName,
                      CASE WHEN i % 4 = 0 THEN '/Providers/Reservations/R' || i % 9 END AS CommitmentDiscountId,
                      CASE WHEN i % 4 = 0 THEN 'Used' END AS CommitmentDiscountStatus, {tags} AS Tags),
           'b' || i % 3 AS x_BillingProfileId, 'G00' || i % 2 AS x_InvoiceId, 'USD' AS x_PricingCurrency,
           'm' || i % 60 AS x_SkuMeterId,
           CASE WHEN i % 8 = 0 THEN '{{"UsageType":"ComputeHR","VMCapacityReservationId":"/CR/C' || i % 7 || '","VCPUs":96}}'
                ELSE '{{"UsageType":"ComputeHR","ImageType":"Canonical","VCPUs":96}}' END AS x_SkuDetails,
           'Compute' AS x_SkuMeterCategory, BilledCost AS x_BilledCostInUsd, 'rg' || i % 40 AS x_ResourceGroupName
    FROM ({focus})
"""
GOOGLE = """
    SELECT '01-AB' AS billing_account_id, struct_pack(id := '6F81', description := 'Compute Engine') AS service,
           struct_pack(id := 'S' || i % 50, description := 'A3 High running in Iowa') AS sku,
           ChargePeriodStart AS usage_start_time, ChargePeriodEnd AS usage_end_time,
           struct_pack(id := 'lab-' || i % 40, number := '1', name := 'Lab ' || i % 40,
                       labels := [struct_pack(key := 'team', value := 'core')]) AS project,
           [struct_pack(key := 'application', value := 'app' || i % 97), struct_pack(key := 'environment', value := 'dev'),
            struct_pack(key := 'unit', value := 'unit' || i % 30)] AS labels,
           struct_pack(location := 'iowa', country := 'US', region := 'us-central1', zone := 'us-central1-a') AS location,
           struct_pack(name := 'vm', global_name := '//compute.googleapis.com/' || ResourceId) AS resource,
           CAST(BilledCost AS DOUBLE) AS cost, 'USD' AS currency, CAST(ListCost AS DOUBLE) AS cost_at_list,
           struct_pack(amount := 3600.0, unit := 'seconds', amount_in_pricing_units := 1.0, pricing_unit := 'hour') AS usage,
           CASE WHEN i % 3 = 0 THEN [struct_pack(name := 'Sustained', amount := -CAST(BilledCost AS DOUBLE) / 4,
               full_name := 'Sustained use', id := 's', type := 'SUSTAINED_USAGE_DISCOUNT')] ELSE [] END AS credits,
           struct_pack(month := '202610', publisher_type := 'GOOGLE') AS invoice, 'regular' AS cost_type,
           'GOOGLE' AS transaction_type, CAST(NULL AS VARCHAR) AS seller_name
    FROM ({focus})
"""
DIALECTS = {"azure": AZURE, "google": GOOGLE}


def select(kind: str, lines: int) -> str:
    if kind in SHAPES:
        return BILL.format(cost=COST, lines=lines, **SHAPES[kind])
    focus = BILL.format(cost=COST, lines=lines, **SHAPES["parquet"]).replace("SELECT CASE", "SELECT i, CASE", 1)
    return DIALECTS[kind].format(focus=focus, tags=SHAPES["csv"]["tags"])


def make(kind: str, lines: int) -> Path:
    path = workplace() / f"focus-{kind}-{lines}.{'csv' if kind == 'csv' else 'parquet'}"
    if not path.exists():
        connection = duckdb.connect()
        connection.execute("SET TimeZone = 'UTC'")
        connection.execute("CREATE MACRO rfc3339(t) AS strftime(timezone('UTC', t), '%Y-%m-%dT%H:%M:%SZ')")
        part = path.with_suffix(".part")
        form = "FORMAT csv" if kind == "csv" else "FORMAT parquet, COMPRESSION zstd"
        connection.execute(f"COPY ({select(kind, lines)}) TO '{part}' ({form})")
        part.rename(path)
    return path


def floor(path: str, out: str) -> int:
    """DuckDB's own COPY of the columns that a landing takes."""
    connection = duckdb.connect()
    connection.execute("SET TimeZone = 'UTC'")
    given = {name for name, *_ in connection.execute(f"DESCRIBE SELECT * FROM '{path}'").fetchall()}
    columns = ", ".join(sorted(name for name in given if name.lower() in READ))
    return int(connection.execute(f"COPY (SELECT {columns} FROM '{path}') TO '{out}' {ZSTD}").fetchall()[0][0])


def land(path: str, out: str) -> int:
    with closing(Focus(Location(path)).collect(OCTOBER)) as deliveries:
        for delivery in deliveries:
            assert not [note for note in delivery.notes if note[0] == "unknown_column"]
            delivery.rows.query("rows", f"COPY rows TO '{out}' {ZSTD}")  # type: ignore[attr-defined]
    return int(duckdb.sql(f"SELECT COUNT(*) FROM '{out}'").fetchall()[0][0])


def main(lines: int) -> None:
    print(machine())
    print(f"{'':8} {'floor s':>8} {'land s':>8} {'ratio':>6} {'cpu ratio':>9} {'peak MB':>8} {'lines/s':>9}")
    landed = {}
    for kind in SHAPES:
        path, out = make(kind, lines), workplace() / "landed.parquet"
        base, ours = measured(__file__, "floor", path, out), measured(__file__, "land", path, out)
        assert base.answer == ours.answer == lines
        landed[kind] = ours
        print(
            f"{kind:8} {base.seconds:8.2f} {ours.seconds:8.2f} {ours.seconds / base.seconds:6.2f} "
            f"{ours.processor_seconds / base.processor_seconds:9.2f} {ours.peak_mb:8.0f} {lines / ours.seconds:9.0f}"
        )
    print(f"{'':8} {'parquet s':>9} {'land s':>8} {'ratio':>6} {'cpu ratio':>9} {'peak MB':>8} {'lines/s':>9}")
    for kind in DIALECTS:
        path, out = make(kind, lines), workplace() / "landed.parquet"
        base, ours = landed["parquet"], measured(__file__, "land", path, out)
        lines_more = ours.answer / base.answer
        print(
            f"{kind:8} {base.seconds:9.2f} {ours.seconds:8.2f} {ours.seconds / base.seconds / lines_more:6.2f} "
            f"{ours.processor_seconds / base.processor_seconds / lines_more:9.2f} {ours.peak_mb:8.0f} "
            f"{ours.answer / ours.seconds:9.0f}"
        )


if __name__ == "__main__" and not serve({"floor": floor, "land": land}):
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 1_000_000)
