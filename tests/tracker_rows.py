"""What collectors of trackers deliver, as rows."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from rdspend.schema import Window

OCTOBER = Window(datetime(2026, 10, 1, tzinfo=UTC), datetime(2026, 11, 1, tzinfo=UTC))


def collected(collector: Any, window: Window = OCTOBER) -> dict[str, list[dict[str, Any]]]:
    """Rows by table, with text for times; notes under `notes`."""
    found: dict[str, list[dict[str, Any]]] = {"notes": []}
    for delivery in collector.collect(window):
        rows = delivery.rows
        columns = [
            f'strftime("{name}", \'%Y-%m-%dT%H:%M:%S.%gZ\') AS "{name}"' if "TIME" in str(kind) else f'"{name}"'
            for name, kind in zip(rows.columns, rows.types, strict=True)
        ]
        plain = rows.project(", ".join(columns))
        found[delivery.table] = [dict(zip(plain.columns, row, strict=True)) for row in plain.fetchall()]
        found["notes"] += [{"kind": k, "subject": s, "detail": d, "rows": r} for k, s, d, r in delivery.notes]
    return found
