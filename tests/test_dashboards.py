"""The dashboards' files: current, whole, in one language of colours, and asking only for what there is."""

from __future__ import annotations

import itertools
import json
import re
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from dashboards import ANY_MONTH, FOLDER, boards, panels, shortened, targets

from exporters.colours import COLOURS
from rdspend.cli import main
from rdspend.policy import available, load_policy
from rdspend.public_figures import beside

ROOT = Path(__file__).resolve().parents[1]
BOARDS = sorted(boards())
PANELS = [pytest.param(uid, panel, id=f"{uid}/{panel['title']}") for uid in BOARDS for panel in panels(uid)]
SHOWING = [each for each in PANELS if each.values[1]["type"] != "text"]
DOCS = (ROOT / "docs" / "dashboards.md").read_text(encoding="utf-8")
METRICS = (ROOT / "docs" / "metrics.md").read_text(encoding="utf-8")
WIDTH = 24


def test_there_are_six() -> None:
    assert [f"rdspend-{name}" for name in ("classification", "closing", "itself", "releases", "spend", "split")] == BOARDS


def test_the_files_are_what_the_code_generates(tmp_path: Path) -> None:
    subprocess.run([sys.executable, FOLDER / "generate.py", "--out", tmp_path], check=True)
    made = {path.name: path.read_text() for path in tmp_path.iterdir()}
    there = {path.name: path.read_text() for path in (FOLDER / "dashboards").iterdir()}
    assert made == there, "run `make dashboards`"


def test_links_lead_to_the_docs_of_who_generates_them(tmp_path: Path) -> None:
    words = ["--out", tmp_path, "--docs", "https://wiki.example/costs"]
    subprocess.run([sys.executable, FOLDER / "generate.py", *words], check=True)
    made = json.loads((tmp_path / "rdspend-split.json").read_text())
    (docs,) = [each for each in made["templating"]["list"] if each["name"] == "docs"]
    assert docs["query"] == "https://wiki.example/costs"


@pytest.mark.parametrize("uid", BOARDS)
def test_a_board_has_no_id_of_a_database_and_months_in_utc(uid: str) -> None:
    board = boards()[uid]
    assert board.get("id") is None
    assert len(uid) <= 40
    assert board["timezone"] == "utc"
    assert board["title"].startswith("rdspend: ")
    assert board["tags"] == ["rdspend"]
    assert "__inputs" not in board
    assert "placement" not in json.dumps(board["links"])


@pytest.mark.parametrize("uid", BOARDS)
def test_panels_have_ids_of_their_own_and_never_overlap(uid: str) -> None:
    there = boards()[uid]["panels"]
    assert max(Counter(panel["id"] for panel in there).values()) == 1
    taken: Counter[tuple[int, int]] = Counter()
    for panel in there:
        at = panel["gridPos"]
        assert at["x"] >= 0
        assert at["x"] + at["w"] <= WIDTH
        assert at["h"] >= (1 if panel["type"] == "row" else 4)
        taken.update(itertools.product(range(at["x"], at["x"] + at["w"]), range(at["y"], at["y"] + at["h"])))
    assert max(taken.values()) == 1
    bottom = max(y for _, y in taken)
    assert {(x, y) for x in range(WIDTH) for y in range(bottom + 1)} == set(taken), "the page has holes"


@pytest.mark.parametrize("uid", BOARDS)
def test_titles_are_there_once(uid: str) -> None:
    assert max(Counter(panel["title"] for panel in panels(uid)).values()) == 1


@pytest.mark.parametrize(("uid", "panel"), SHOWING)
def test_every_panel_says_what_it_shows_in_which_unit_and_what_no_data_means(uid: str, panel: dict[str, Any]) -> None:
    assert panel["description"].endswith((".", "`"))
    defaults = panel["fieldConfig"]["defaults"]
    assert defaults["unit"]
    assert len(defaults["noValue"]) > 8
    assert panel["datasource"] == {"type": "prometheus", "uid": "${datasource}"}
    for target in panel["targets"]:
        assert target["datasource"] == panel["datasource"]
        assert target["instant"] != target["range"]
    assert [target["refId"] for target in panel["targets"]] == list("ABCDEFGHIJ"[: len(panel["targets"])])


def test_a_share_never_stands_without_its_denominator() -> None:
    for panel in panels("rdspend-split"):
        if "share" in panel["title"].lower():
            assert "$denominator" in panel["description"]
    (about,) = [panel for panel in panels("rdspend-split") if panel["title"] == "What 100 % is"]
    assert "**$denominator**" in about["options"]["content"]
    assert about["gridPos"]["y"] == 0


def strings(value: object) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for each in value.values():
            yield from strings(each)
    elif isinstance(value, list):
        for each in value:
            yield from strings(each)


BUILT_IN = {"__range", "__data", "__field"}


@pytest.mark.parametrize("uid", BOARDS)
def test_every_variable_that_is_used_is_defined_before_and_every_defined_one_is_used(uid: str) -> None:
    board = boards()[uid]
    defined: set[str] = set()
    for variable in board["templating"]["list"]:
        used = {name for text in strings(variable) for name in re.findall(r"\$\{?(\w+)", text)} - {"__all"}
        assert used <= defined, variable["name"]
        defined.add(variable["name"])
    text = json.dumps(board)
    used = set(re.findall(r"\$\{?([a-z_]+)", json.dumps({**board, "templating": {}})))
    assert used - BUILT_IN <= defined
    assert {name for name in defined if not re.search(rf"\$\{{?{name}\b", text)} == set()


def test_history_is_asked_at_midnights_so_that_backfilled_months_are_there() -> None:
    for uid, panel, target in targets():
        assert "__range" not in shortened(target["expr"]), (uid, panel["title"])
        if "billing_period" in target["expr"]:
            assert ANY_MONTH.search(target["expr"]), (uid, panel["title"])


# --- colours ----------------------------------------------------------------------------------------------------------


def colours_of(panel: dict[str, Any]) -> Iterator[tuple[str, str]]:
    for each in panel["fieldConfig"]["overrides"]:
        for setting in each["properties"]:
            if setting["id"] == "color" and setting["value"]["mode"] == "fixed":
                yield each["matcher"]["options"], setting["value"]["fixedColor"]


@pytest.mark.parametrize(("uid", "panel"), SHOWING)
def test_a_category_has_one_colour_everywhere(uid: str, panel: dict[str, Any]) -> None:
    found = {name: colour for name, colour in colours_of(panel) if name in COLOURS}
    assert found == {name: COLOURS[name] for name in found}
    by_category = [t for t in panel["targets"] if "category" in re.findall(r"^\w+ by \(([^)]*)\)", t["expr"])[:1] or ""]
    if panel["type"] in ("barchart", "timeseries") and by_category:
        assert set(found) == set(COLOURS)


def test_colours_are_those_of_the_report_or_neutral() -> None:
    used = {text for uid in BOARDS for text in strings(boards()[uid]) if re.fullmatch(r"#[0-9a-fA-F]{6}", text)}
    assert used <= {*COLOURS.values(), "#8c8c8c"}


# --- what is asked for ------------------------------------------------------------------------------------------------


def test_every_family_that_is_asked_for_is_documented() -> None:
    families = set(re.findall(r"`((?:[a-z_]+:)?rdspend_[a-z_]+(?::sum)?)`", METRICS))
    for uid, panel, target in targets():
        text = target["expr"].replace("$money", "usd").replace("${money}", "usd")
        asked = set(re.findall(r"\b((?:[a-z_]+:)?rdspend_[a-z_]+(?::sum)?)", text))
        assert asked <= families, (uid, panel["title"])
        assert asked


def test_no_user_or_job_is_asked_for() -> None:
    for _, panel, target in targets():
        assert not re.search(r"\b(user|job|job_key|email)\b", target["expr"]), panel["title"]


def test_public_figures_are_those_that_mean_the_same_as_a_share_under_a_policy() -> None:
    known = {(name, f.name, f.share) for name in available() for f in beside(load_policy(name)) if not f.left_out}
    (panel,) = [panel for panel in panels("rdspend-split") if panel["title"] == "Share of final training by month"]
    drawn = set()
    for target in panel["targets"][3:]:
        (policy,) = re.findall(r'policy="([^$"]+)"', target["expr"].split(" or ")[0])
        drawn.add((policy, target["legendFormat"], target["expr"].rsplit(" + ", 1)[1]))
    assert drawn == {(policy, name, str(share)) for policy, name, share in known}


def test_every_command_in_the_dashboards_exists() -> None:
    for uid in BOARDS:
        for text in strings(boards()[uid]):
            for words in re.findall(r"`?rdspend ((?:[a-z]+ ?)+)--?", text) + re.findall(r"`rdspend ([a-z ]+)", text):
                first, *more = words.split()
                group = main.commands[first]
                assert not hasattr(group, "commands") or more[0] in group.commands  # type: ignore[attr-defined]


def test_links_lead_to_headings_of_the_docs() -> None:
    found = {link for uid in BOARDS for text in strings(boards()[uid]) for link in re.findall(r"\$\{docs\}/([\w.#-]+)", text)}
    assert len(found) >= 3
    for link in found:
        page, _, anchor = link.partition("#")
        headings = re.findall(r"^#+ (.*)$", (ROOT / "docs" / page).read_text(), re.MULTILINE)
        assert not anchor or anchor in {re.sub(r"[^\w\s-]", "", h).strip().lower().replace(" ", "-") for h in headings}


# --- docs and provisioning --------------------------------------------------------------------------------------------


def listed() -> dict[str, list[tuple[str, list[str]]]]:
    """Panels and the expressions they ask, by uid, as docs/dashboards.md has them."""
    found: dict[str, list[tuple[str, list[str]]]] = {}
    for section in re.split(r"^## ", DOCS, flags=re.MULTILINE):
        if uid := re.search(r"^`(rdspend-\w+)`", section, re.MULTILINE):
            rows = re.findall(r"^\| (.*?) \| (.*?) \| (.*) \|$", section, re.MULTILINE)[1:]
            found[uid[1]] = [(title, re.findall(r"`([^`]+)`", asked)) for title, _, asked in rows]
    return found


def test_the_docs_list_every_panel_with_what_it_asks_and_no_other() -> None:
    assert listed() == {
        uid: [
            (panel["title"], list(dict.fromkeys(shortened(target["expr"]) for target in panel["targets"])))
            for panel in panels(uid)
            if panel["type"] != "text"
        ]
        for uid in BOARDS
    }


def test_provisioning_names_a_folder_for_the_files_and_a_source_of_the_kind_they_ask() -> None:
    provisioning = FOLDER / "provisioning"
    (provider,) = yaml.safe_load((provisioning / "dashboards" / "rdspend.yml").read_text())["providers"]
    assert provider["type"] == "file"
    assert provider["options"]["path"] in DOCS
    (source,) = yaml.safe_load((provisioning / "datasources" / "prometheus.yml").read_text())["datasources"]
    assert source["type"] == "prometheus"
