"""The share of final training beside published ones that mean the same, and which were left out, and why."""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal
from typing import Any

from exporters.report_blocks import Block, Column, Heading, Note, Row, Table, exact_share, percent_text, share_text
from rdspend.schema import Breakdown


def _range_text(low: Decimal | None, high: Decimal | None) -> str:
    if low is None or high is None:
        return ""
    return f"{percent_text(low)} – {percent_text(high)} %"


def public_json(b: Breakdown) -> dict[str, Any]:
    return {
        "public_figures": [
            {
                "name": f.name,
                "what": f.what,
                "share": exact_share(f.share),
                "share_low": exact_share(f.share_low),
                "share_high": exact_share(f.share_high),
                "year": f.year,
                "source": f.source,
                "url": f.url,
                "certainty": f.certainty,
                "left_out": f.left_out,
            }
            for f in b.public_figures
        ]
    }


def public_figures(b: Breakdown) -> Iterator[Block]:
    if not b.public_figures:
        return
    final = next(line for line in b.lines if line.name == "final_training")
    yield Heading("Beside public figures", "public")
    alike = [figure for figure in b.public_figures if not figure.left_out]
    left = [figure for figure in b.public_figures if figure.left_out]
    if alike and final.share is not None:
        columns = (
            *(Column("Who"), Column("Share of final training", number=True), Column("Low – high", number=True)),
            *(Column("Years"), Column("Source", from_width=100), Column("How sure", from_width=100)),
        )
        own_range = _range_text(final.share_low, final.share_high)
        ours = ("this report", share_text(final.share), own_range, b.period, "the bill and its jobs", "as said above")
        rows = [
            Row((f.name, share_text(f.share), _range_text(f.share_low, f.share_high), f.year, f.source, f.certainty))
            for f in alike
        ]
        yield Table(columns, (Row(ours, strong=True, target="final_training"), *rows))
        yield Note(
            "Estimates from outside, of other organisations and years, drawn by the same boundary and in the same unit.",
            "small",
        )
    else:
        yield Note(f"None stands beside this report: no published share is drawn as the policy {b.policy.name!r} draws it.")
    if left:
        yield Heading("Left out, since they mean something else", "public-left", level=3)
        named = (Column("Who"), Column("Share", number=True), Column("Of what"), Column("Why it is left out"))
        yield Table(named, tuple(Row((f.name, share_text(f.share), f.what, f.left_out)) for f in left))
