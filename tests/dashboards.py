"""What Grafana does with a dashboard's file before a panel is drawn: variables, and what Prometheus is asked."""

from __future__ import annotations

import json
import re
import time
import urllib.parse
import urllib.request
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).resolve().parents[1] / "deploy" / "grafana"

LABEL_VALUES = re.compile(r"label_values\((.*), (\w+)\)")
ASCENDING, DESCENDING = 1, 2


@cache
def boards() -> Mapping[str, dict[str, Any]]:
    """The files that Grafana is given, by uid."""
    found = [json.loads(path.read_text(encoding="utf-8")) for path in sorted((FOLDER / "dashboards").glob("*.json"))]
    return {board["uid"]: board for board in found}


def panels(uid: str) -> Iterator[dict[str, Any]]:
    """All panels that show something, those in rows too."""
    for panel in boards()[uid]["panels"]:
        if panel["type"] == "row":
            yield from panel.get("panels") or ()
        else:
            yield panel


def targets() -> Iterator[tuple[str, dict[str, Any], dict[str, Any]]]:
    for uid in boards():
        for panel in panels(uid):
            for target in panel.get("targets") or ():
                yield uid, panel, target


def the_panel(uid: str, title: str) -> dict[str, Any]:
    (found,) = [panel for panel in panels(uid) if panel["title"] == title]
    return found


@dataclass(frozen=True)
class Viewer:
    """Somebody who looks at dashboards over a Prometheus, from `start` to `end`, and has chosen what `chosen` says."""

    url: str
    start: float
    end: float
    chosen: Mapping[str, str] = field(default_factory=dict)

    @property
    def range_seconds(self) -> int:
        return int(self.end - self.start)

    def variables(self, uid: str) -> dict[str, str]:
        """Each variable's value as it stands in a query; of what was not chosen the first one, as Grafana does."""
        found: dict[str, str] = {"__range": f"{self.range_seconds}s"}
        for variable in boards()[uid]["templating"]["list"]:
            name = variable["name"]
            if name in self.chosen:
                found[name] = self.chosen[name]
            elif variable["type"] == "query":
                options = self._options(variable, found)
                found[name] = variable["allValue"] if variable["includeAll"] else (options or [""])[0]
            elif variable["type"] == "textbox":
                found[name] = variable["query"]
        return found

    def _options(self, variable: Mapping[str, Any], found: Mapping[str, str]) -> list[str]:
        """What a variable's query offers, in its order."""
        assert variable["query"]["query"] == variable["definition"]
        query = LABEL_VALUES.fullmatch(filled(variable["definition"], found))
        assert query, variable["definition"]
        selector, label = query.groups()
        words = {"match[]": selector, "start": self.start, "end": self.end}
        offered = self._get(f"/api/v1/label/{label}/values", words)
        if regex := re.fullmatch(r"/(.*)/(i?)", filled(variable["regex"], found)):
            matches = (re.search(regex[1], each, re.IGNORECASE if regex[2] else 0) for each in offered)
            offered = [match[1] for match in matches if match]
        return sorted(offered, reverse=variable["sort"] == DESCENDING)

    def _get(self, path: str, words: Mapping[str, object]) -> Any:
        with urllib.request.urlopen(f"{self.url}{path}?{urllib.parse.urlencode(words)}", timeout=60) as answer:
            return json.load(answer)["data"]

    def expression(self, uid: str, target: Mapping[str, Any]) -> str:
        return filled(target["expr"], self.variables(uid))

    def ask(self, expression: str, live: bool = False) -> list[dict[str, Any]]:
        """The series that answer: of a live query over the range, else at its end."""
        if live:
            step = max(60, self.range_seconds // 1000)
            words = {"query": expression, "start": self.start, "end": self.end, "step": step}
            return self._get("/api/v1/query_range", words)["result"]  # type: ignore[no-any-return]
        return self._get("/api/v1/query", {"query": expression, "time": self.end})["result"]  # type: ignore[no-any-return]

    def answers(self, uid: str, title: str) -> list[list[dict[str, Any]]]:
        """The answers to each query of a panel."""
        return [self.ask(self.expression(uid, target), target["range"]) for target in the_panel(uid, title)["targets"]]

    def by(self, uid: str, title: str, *labels: str, query: int = 0) -> dict[tuple[str, ...], str]:
        """Values of one of a panel's queries by labels, to the cent."""
        answer = self.answers(uid, title)[query]
        found = {tuple(each["metric"].get(label, "") for label in labels): cents(each["value"][1]) for each in answer}
        assert len(found) == len(answer)
        return found

    def seconds(self, expression: str, live: bool = False) -> float:
        started = time.perf_counter()
        self.ask(expression, live)
        return time.perf_counter() - started


def filled(text: str, variables: Mapping[str, str]) -> str:
    """The text with variables for their names. Raises KeyError for one that is not there."""
    return re.sub(r"\$(?:\{(\w+)\}|(\w+))", lambda found: variables[found[1] or found[2]], text)


ANY_MONTH = re.compile(
    r"(?P<figure>[a-z]+ by \([^)]*\) \([^()]*\)) or (?:last_over_time\((?P=figure)\[\$__range:1d\]\)|"
    r"\(last_over_time\((?P=figure)\[\$__range:1d\]\) and last_over_time\(timestamp\((?P=figure)\)\[\$__range:1d\]\) == "
    r"on \(billing_period\) group_left \(\) max by \(billing_period\) \(last_over_time\(timestamp\("
    r"(?:(?P=figure)|rdspend_period_revision\{[^}]*\})\)\[\$__range:1d\]\)\)\) unless on \(billing_period\) (?P=figure))"
)


def shortened(expression: str) -> str:
    """The expression as docs/dashboards.md has it: `months(x)` for what finds x of months that the page no longer shows."""
    return ANY_MONTH.sub(r"months(\g<figure>)", expression)


def cents(value: object) -> str:
    return f"{float(str(value)):.2f}"
