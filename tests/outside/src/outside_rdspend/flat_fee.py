"""flat_fee: the same amount every month, for what sends no bill.

[collectors.flat_fee]
fee = "1200.50"
currency = "USD"
service = "Colocation"
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal

import duckdb

from rdspend.schema import NANOS, Delivery, Window


@dataclass(frozen=True)
class FlatFee:
    fee: str
    currency: str
    service: str

    def collect(self, window: Window) -> Iterator[Delivery]:
        for month in window.months:
            connection = duckdb.connect()
            connection.execute("SET TimeZone = 'UTC'")
            rows = connection.sql(
                "SELECT 'contract' AS origin_file, 1 AS origin_row, 'billed' AS basis, c AS billed_cost_nanos, "
                "c AS effective_cost_nanos, ? AS billing_currency, m AS charge_period_start, "
                "m + INTERVAL 1 MONTH AS charge_period_end, 'Purchase' AS charge_category, ? AS service_name "
                "FROM (SELECT CAST(? AS BIGINT) AS c, CAST(? AS TIMESTAMPTZ) AS m)",
                params=[self.currency, self.service, int(Decimal(self.fee) * NANOS), f"{month}-01T00:00:00Z"],
            )
            yield Delivery("charges", rows, {"billing_period": month})
