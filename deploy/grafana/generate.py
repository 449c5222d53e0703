"""Writes the dashboards as Grafana reads them: `make dashboards`, or this with other words.

    python deploy/grafana/generate.py [--docs ADDRESS] [--out FOLDER]

ADDRESS is where links of the panels find the pages of docs/.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from boards import classification, closing, itself, releases, spend, split
from grafana_foundation_sdk.cog.encoder import JSONEncoder

HERE = Path(__file__).parent
DOCS = "https://docs.example/rdspend"
BOARDS = (split.BOARD, spend.BOARD, releases.BOARD, closing.BOARD, classification.BOARD, itself.BOARD)


def generated(docs: str = DOCS) -> Iterator[tuple[str, str]]:
    """Name and content of each file."""
    for board in BOARDS:
        made = json.loads(JSONEncoder().encode(board.built(docs)))
        _without_surplus(made)
        yield f"{board.uid}.json", json.dumps(made, sort_keys=True, indent=2) + "\n"


def _without_surplus(made: dict[str, Any]) -> None:
    """Take away what the SDK writes unasked: links are put into a menu, and the rest is not in Grafana's types."""
    for each in made["links"]:
        each.pop("placement")
    for variable in made["templating"]["list"]:
        for name in ("auto", "auto_count", "auto_min"):
            variable.pop(name, None)
    for panel in made["panels"]:
        panel.get("options", {}).pop("footer", None)


def main() -> None:
    words = argparse.ArgumentParser(description="Writes rdspend's dashboards for Grafana.")
    words.add_argument("--docs", default=DOCS, help="where links of the panels find the pages of docs/")
    words.add_argument("--out", type=Path, default=HERE / "dashboards", help="the folder to write to")
    chosen = words.parse_args()
    chosen.out.mkdir(parents=True, exist_ok=True)
    for name, content in generated(chosen.docs):
        (chosen.out / name).write_text(content, encoding="utf-8")


if __name__ == "__main__":
    main()
