"""A real Prometheus, backfilled and scraped, answers every expression of the dashboards with what the reports say.

There is no Grafana here: how panels look is not seen. What stands before that is: variables, expressions, Grafana's own
transformations of the answers, its units, and its types.
"""

from __future__ import annotations

import json
import subprocess
import time
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from decimal import Decimal
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import yaml
from breakdowns import LAB, against_others, build, cell, full_health, of_jobs
from dashboards import Viewer, boards, cents, panels, targets, the_panel
from histories import Server, serving
from pages import page

from exporters.prometheus import Prometheus
from rdspend.backfill import make_blocks
from rdspend.config import load
from rdspend.lab.month import Size, write_month
from rdspend.period import month_start, parse_period
from rdspend.pipeline import Pipeline
from rdspend.policy import load_policy
from rdspend.public_figures import beside
from rdspend.reading import Reader
from rdspend.schema import Breakdown, Closed, Gap, SourceClosing

pytestmark = pytest.mark.server

ROOT = Path(__file__).resolve().parents[2]
HERE = Path(__file__).parent / "grafana"

MONTHS = parse_period("2024-10..2026-09").months
LIVE = "2026-10"
MOVED, IN_EURO = "2025-05", "2025-08"
START = month_start(MONTHS[0]).timestamp()


def month_of(month: str, number: int = 0, **changes: Any) -> Breakdown:
    """A month's report with something of everything; money, and what is estimated, differ from month to month."""
    more = (cell("exploration", f"{1000 + number}.37", "350"), cell("evaluation", f"{number}.25", "1", team="evals"))
    cells = (*LAB, *(replace(each, basis="estimated") for each in more[: number % 3]))
    made = build(cells, **changes)
    others = against_others()
    edges = month_start(month), month_start(month)
    return replace(
        made,
        period=month,
        months=(month,),
        revision=number + 1,
        state=others.state,
        closed=Closed(1, "run-1", made.total - number, made.billed_total, edges[0]),
        closings=(SourceClosing("focus", month, made.basis, made.total, made.total, made.billed_total, made.billed_total),),
        coverage=(Gap("focus", *edges, True, ""), Gap("slurm", *edges, number % 4 != 1, "late")),
        invoices=others.invoices,
        estimate_errors=tuple(replace(error, month=month) for error in others.estimate_errors),
        estimated_low=made.total - 21,
        estimated_high=made.total + 21,
        **of_jobs(made),
    )


@pytest.fixture(scope="module")
def past() -> dict[str, Breakdown]:
    return {month: month_of(month, number) for number, month in enumerate(MONTHS)}


@pytest.fixture(scope="module")
def live(tmp_path_factory: pytest.TempPathFactory) -> Breakdown:
    """The synthetic lab of the demo, as `make demo` makes it but smaller."""
    folder = tmp_path_factory.mktemp("lab")
    (folder / "rdspend.toml").write_bytes((ROOT / "deploy" / "demo" / "lab" / "rdspend.toml").read_bytes())
    write_month(folder, Size(jobs=2000, seed=7))
    config = load(folder / "rdspend.toml")
    Pipeline(config).run(parse_period(LIVE))
    (made,) = Reader(config).breakdowns(parse_period(LIVE), None)
    return made


@pytest.fixture(scope="module")
def reports(past: dict[str, Breakdown], live: Breakdown) -> dict[str, Breakdown]:
    return {**past, LIVE: live}


def blocks(folder: Path, past: Mapping[str, Breakdown]) -> Path:
    """The history of these months; one changed in its middle, another is there in euro and under a second policy too."""
    for month, made in past.items():
        also = ()
        if month == IN_EURO:
            also = (replace(made, policy=load_policy("olmo")), month_of(month, currency="EUR"))
        texts = ["".join(Prometheus().past((made, *also), 1, {"job": "rdspend"}).open_metrics())]
        if month == MOVED:
            before = "".join(Prometheus().past((earlier(made),), 1, {"job": "rdspend"}).open_metrics())
            middle = month_start(month).timestamp() + 15 * 24 * 3600
            texts = [cut(before, 0, middle), cut(texts[0], middle, float("inf"))]
        for number, text in enumerate(texts):
            file = folder / f"{month}-{number}.om"
            file.write_text(text)
            make_blocks("promtool", file, folder / "blocks")
    return folder / "blocks"


def earlier(made: Breakdown) -> Breakdown:
    """The same month while part of its money was estimated, and in the hands of a team and an activity that it lost later."""
    cells = (*made.cells, replace(cell("inference", "77.5", team="gone"), basis="mixed"))
    return replace(month_of(made.period), cells=cells)


def cut(text: str, start: float, end: float) -> str:
    lines = text.splitlines(keepends=True)
    return "".join(line for line in lines if line.startswith("#") or start <= float(line.rsplit(" ", 1)[1]) < end)


def rules_every_second(folder: Path) -> str:
    """The project's recording rules, evaluated as often as the tests scrape."""
    rules = yaml.safe_load((ROOT / "deploy" / "prometheus" / "rules.yml").read_text())
    for group in rules["groups"]:
        group["interval"] = "1s"
    (folder / "rules.yml").write_text(yaml.safe_dump(rules))
    return f'rule_files: ["{folder / "rules.yml"}"]'


@pytest.fixture(scope="module")
def server(past: dict[str, Breakdown], live: Breakdown, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("prometheus")
    content = Prometheus().render((live,), full_health())
    with (
        page(content) as target,
        serving(
            folder / "data", blocks(tmp_path_factory.mktemp("blocks"), past), config=rules_every_second(folder), target=target
        ) as running,
    ):
        deadline = time.monotonic() + 60
        while not running.ask(f'billing_period_basis:rdspend_cost_usd:sum{{billing_period="{LIVE}"}}'):
            assert time.monotonic() < deadline, "nothing was scraped and recorded in 60 s"
            time.sleep(0.2)
        time.sleep(2)  # a second sample of everything
        yield running


@pytest.fixture(scope="module")
def now(server: Server) -> float:
    return time.time()


@pytest.fixture(scope="module")
def viewer(server: Server, now: float) -> Viewer:
    return Viewer(server.url, START, now)


def of_month(viewer: Viewer, month: str, **chosen: str) -> Viewer:
    return replace(viewer, chosen={"month": month, **chosen})


EXPRESSIONS = [
    pytest.param(uid, panel["title"], target, id=f"{uid}/{panel['title']}/{target['refId']}")
    for uid, panel, target in targets()
]

SPLIT, SPEND, RELEASES, CLOSING = "rdspend-split", "rdspend-spend", "rdspend-releases", "rdspend-closing"
IN_DOLLARS = {"policy": "epoch", "currency": "USD"}
PUBLIC_OF_OLMO = [figure.name for figure in beside(load_policy("olmo")) if not figure.left_out]


# --- every expression -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("uid", "title", "target"), EXPRESSIONS)
def test_every_expression_answers(viewer: Viewer, uid: str, title: str, target: dict[str, Any]) -> None:
    seen = of_month(viewer, MONTHS[1], **IN_DOLLARS)
    if target["range"]:
        seen = replace(seen, start=seen.end - 600)
    elif target["legendFormat"] in PUBLIC_OF_OLMO:
        seen = of_month(viewer, IN_EURO, policy="olmo", currency="USD")
    assert seen.ask(seen.expression(uid, target), target["range"])


def test_variables_offer_what_there_is_and_show_the_newest_month(viewer: Viewer, live: Breakdown) -> None:
    for uid in boards():
        found = replace(viewer, chosen=IN_DOLLARS).variables(uid)
        assert found.get("month", LIVE) == LIVE
        assert found.get("money", "usd") == "usd"
    split = of_month(viewer, LIVE, policy="epoch", currency="USD").variables("rdspend-split")
    assert split["denominator"] == live.policy.denominator_words
    assert split["unit"] == "money"


# --- money, to the cent -----------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def dollars(viewer: Viewer) -> Viewer:
    return replace(viewer, chosen=IN_DOLLARS)


def test_money_by_activity_and_month_is_every_line_of_every_report(dollars: Viewer, reports: dict[str, Breakdown]) -> None:
    found = dollars.by(SPLIT, "Money by activity and month, $currency", "billing_period", "category")
    assert found == {
        (month, line.name): cents(line.cost)
        for month, made in reports.items()
        for line in (*made.lines, *made.buckets)
        if line.cost
    }


def test_the_stacks_of_months_are_their_totals(dollars: Viewer, reports: dict[str, Breakdown]) -> None:
    for uid, title, label in (
        (SPLIT, "Money by activity and month, $currency", "category"),
        (CLOSING, "Money by basis and month, $currency", "basis"),
    ):
        sums: dict[str, float] = defaultdict(float)
        (answer,) = dollars.answers(uid, title)
        for each in answer:
            sums[each["metric"]["billing_period"]] += float(each["value"][1])
            assert each["metric"][label]
        assert {month: cents(value) for month, value in sums.items()} == {m: cents(r.total) for m, r in reports.items()}


def test_what_a_month_lost_in_its_middle_is_not_counted(dollars: Viewer, reports: dict[str, Breakdown]) -> None:
    seen = of_month(dollars, MOVED, **IN_DOLLARS)
    teams = seen.by(SPEND, "By team", "team")
    assert ("gone",) not in teams
    bases = seen.by(CLOSING, "Money by basis and month, $currency", "billing_period", "basis")
    assert (MOVED, "mixed") not in bases
    # It was there: the month's first half says so.
    half = replace(seen, end=month_start(MOVED).timestamp() + 10 * 24 * 3600)
    assert ("gone",) in half.by(SPEND, "By team", "team")


@pytest.mark.parametrize("month", [MONTHS[0], MOVED, MONTHS[-1], LIVE])
def test_the_table_of_the_split_is_the_report(dollars: Viewer, reports: dict[str, Breakdown], month: str) -> None:
    seen, made = of_month(dollars, month, **IN_DOLLARS), reports[month]
    lines = {line.name: line for line in (*made.lines, *made.buckets)}
    table = partial(seen.by, SPLIT, "The split of $month", "category")
    assert table(query=0) == {(name,): cents(line.cost) for name, line in lines.items() if line.cost}
    hours = {(name,): cents(line.gpu_hours) for name, line in lines.items() if line.gpu_hours}
    assert {key: value for key, value in table(query=1).items() if float(value)} == hours
    for query, name in ((2, "share_low"), (3, "share"), (4, "share_high")):
        found = seen.answers(SPLIT, "The split of $month")[query]
        assert {each["metric"]["category"]: float(each["value"][1]) for each in found} == {
            line.name: float(getattr(line, name)) for line in lines.values() if getattr(line, name) is not None
        }


@pytest.mark.parametrize("month", [MONTHS[4], LIVE])
def test_the_headlines_are_the_reports(dollars: Viewer, reports: dict[str, Breakdown], month: str) -> None:
    seen, made = of_month(dollars, month, **IN_DOLLARS), reports[month]
    final = made.lines[3]
    ends = [float(answer[0]["value"][1]) for answer in seen.answers(SPLIT, "Share of final training, $month")]
    assert ends == [float(share or 0) for share in (final.share_low, final.share, final.share_high)]
    assert seen.by(SPLIT, "Spend of $month, $currency", "billing_period") == {(month,): cents(made.total)}
    (state,) = seen.answers(SPLIT, "State of $month")[0]
    assert state["metric"]["state"] == made.state
    estimated = sum(c.cost for c in made.cells if c.basis == "estimated")
    found = seen.answers(SPLIT, "Estimated part of $month")[0]
    assert [f"{float(each['value'][1]):.6f}" for each in found] == ([f"{estimated / made.total:.6f}"] if estimated else [])


def test_shares_by_month_stand_beside_figures_of_the_same_policy_only(viewer: Viewer, reports: dict[str, Breakdown]) -> None:
    title = "Share of final training by month"
    names = [target["legendFormat"] for target in the_panel(SPLIT, title)["targets"]]
    for policy, months in (("epoch", set(reports)), ("olmo", {IN_EURO})):
        answers = of_month(viewer, LIVE, policy=policy, currency="USD").answers(SPLIT, title)
        drawn = {name: {float(each["value"][1]) for each in answer} for name, answer in zip(names, answers, strict=True)}
        public = {f.name: {float(f.share)} for f in beside(load_policy(policy)) if not f.left_out}
        assert {
            name: values for name, values in drawn.items() if values and name not in ("lowest", "share", "highest")
        } == public
        assert public
        assert {each["metric"]["billing_period"] for each in answers[1]} == months


def test_another_currency_is_asked_under_its_own_name(viewer: Viewer) -> None:
    seen = of_month(viewer, IN_EURO, policy="epoch", currency="EUR")
    made = month_of(IN_EURO, currency="EUR")
    assert seen.variables(SPLIT)["money"] == "eur"
    assert seen.by(SPLIT, "Spend of $month, $currency", "billing_period") == {(IN_EURO,): cents(made.total)}
    assert {key[0] for key in seen.by(SPLIT, "Money by activity and month, $currency", "billing_period", "category")} == {
        IN_EURO
    }
    table = seen.by(SPLIT, "The split of $month", "category", query=1)
    assert table[("final_training",)] == cents(made.lines[3].gpu_hours)


@pytest.mark.parametrize("month", [MONTHS[0], LIVE])
@pytest.mark.parametrize(
    ("title", "labels"),
    [
        ("By activity", ("category",)),
        ("By team", ("team",)),
        ("By cluster", ("cluster",)),
        ("By team and activity", ("team", "category")),
    ],
)
def test_groups_of_a_month_add_up_to_its_total(
    dollars: Viewer, reports: dict[str, Breakdown], month: str, title: str, labels: Sequence[str]
) -> None:
    seen, made = of_month(dollars, month, **IN_DOLLARS), reports[month]
    sums: dict[tuple[str, ...], Decimal] = defaultdict(Decimal)
    for each in made.cells:
        sums[tuple(getattr(each, label) for label in labels)] += each.cost
    names = tuple(label.replace("cluster", "cluster_name") for label in labels)
    found = seen.by(SPEND, title, *names)
    assert found == {key: cents(cost) for key, cost in sums.items()}
    parts = [float(each["value"][1]) for each in seen.answers(SPEND, title)[1]]
    assert sum(parts) == pytest.approx(1)


def test_a_chosen_team_is_the_only_one(dollars: Viewer, reports: dict[str, Breakdown]) -> None:
    seen = of_month(dollars, MONTHS[2], **IN_DOLLARS, team="(foundation|evals)")
    found = seen.by(SPEND, "By team", "team")
    sums = {(team,): cents(sum(c.cost for c in reports[MONTHS[2]].cells if c.team == team)) for team in ("foundation", "evals")}
    assert found == sums


def test_releases_cost_what_the_reports_say_over_all_months(dollars: Viewer, past: dict[str, Breakdown]) -> None:
    for title, label in (
        ("What each release cost, $currency", "category"),
        ("By role, all months in the time range, $currency", "role"),
    ):
        sums: dict[tuple[str, str], Decimal] = defaultdict(Decimal)
        for made in past.values():
            for line in made.releases:
                sums[line.release, getattr(line, label)] += line.cost
        found = dollars.by(RELEASES, title, "release", label)
        assert found == {key: cents(cost) for key, cost in sums.items()}


def test_months_have_their_totals_closings_and_corrections(dollars: Viewer, reports: dict[str, Breakdown]) -> None:
    table = partial(dollars.by, CLOSING, "Months", "billing_period")
    assert table(query=0) == {(month,): cents(made.total) for month, made in reports.items()}
    closed = {month: made for month, made in reports.items() if made.closed}
    assert table(query=1) == {(month,): cents(made.closed.total) for month, made in closed.items() if made.closed}
    assert table(query=2) == {(m,): cents(made.total - made.closed.total) for m, made in closed.items() if made.closed}
    assert table(query=3) == {(month,): cents(made.revision) for month, made in reports.items()}
    (largest,) = dollars.answers(CLOSING, "Charges less attributions, all months, $currency")[0]
    assert float(largest["value"][1]) == 0


def test_sources_that_have_not_shown_a_month_are_counted(dollars: Viewer) -> None:
    found = of_month(dollars, MONTHS[1], **IN_DOLLARS).answers(CLOSING, "Sources that have not shown all of $month")[0]
    assert [each["value"][1] for each in found] == ["1"]
    assert of_month(dollars, MONTHS[2], **IN_DOLLARS).answers(CLOSING, "Sources that have not shown all of $month") == [[]]


@pytest.mark.parametrize("month", [MONTHS[3], LIVE])
def test_outcomes_add_up_to_the_jobs(dollars: Viewer, reports: dict[str, Breakdown], month: str) -> None:
    (answer,) = of_month(dollars, month, **IN_DOLLARS).answers("rdspend-classification", "How jobs ended, $month, $currency")
    assert cents(sum(float(each["value"][1]) for each in answer)) == cents(sum(c.cost for c in reports[month].crossings))


def test_unclassified_money_by_team_is_the_reports(dollars: Viewer, reports: dict[str, Breakdown]) -> None:
    seen = of_month(dollars, LIVE, **IN_DOLLARS)
    found = seen.by("rdspend-classification", "Unclassified money by team, $currency", "team", "cluster_name")
    unclassified = next(b for b in reports[LIVE].buckets if b.name == "unclassified")
    assert cents(sum(map(float, found.values()))) == cents(unclassified.cost)


# --- what Grafana makes of the answers --------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def grafana() -> Path:
    """The folder with Grafana's own packages. It is kept."""
    folder = ROOT / ".venv-grafana"
    subprocess.run([HERE / "install", folder], check=True, timeout=600)
    return folder / "node_modules"


def frames(panel: Mapping[str, Any], answers: Sequence[Sequence[Mapping[str, Any]]]) -> list[dict[str, Any]]:
    """Answers as Grafana's data source gives tables to transformations."""
    found = []
    for target, answer in zip(panel["targets"], answers, strict=True):
        labels = sorted({label for each in answer for label in each["metric"]})
        columns = [{"name": "Time", "type": "time", "values": [1000 * each["value"][0] for each in answer]}]
        columns += [
            {"name": label, "type": "string", "values": [each["metric"].get(label, "") for each in answer]} for label in labels
        ]
        name = "Value" if len(answers) == 1 else f"Value #{target['refId']}"
        columns.append({"name": name, "type": "number", "values": [float(each["value"][1]) for each in answer]})
        found.append({"refId": target["refId"], "fields": columns})
    return found


def transformed(grafana: Path, asked: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    done = subprocess.run(
        ["node", HERE / "transform.cjs"],
        input=json.dumps(asked),
        capture_output=True,
        text=True,
        env={"PATH": "/usr/local/bin:/usr/bin:/bin", "NODE_PATH": str(grafana)},
        check=False,
    )
    assert done.returncode == 0, done.stderr
    found: list[dict[str, Any]] = json.loads(done.stdout)
    return found


def units(panel: Mapping[str, Any]) -> list[str]:
    config = panel.get("fieldConfig") or {"defaults": {}, "overrides": []}
    overridden = [p["value"] for o in config["overrides"] for p in o["properties"] if p["id"] == "unit"]
    return [unit for unit in (config["defaults"].get("unit"), *overridden) if unit]


@pytest.fixture(scope="module")
def drawn(grafana: Path, dollars: Viewer) -> dict[tuple[str, str], dict[str, Any]]:
    """Each panel of a month that has everything, after Grafana's transformations: the frames' fields."""
    seen = of_month(dollars, MONTHS[1], **IN_DOLLARS)
    asked = {
        (uid, panel["title"]): {
            "transformations": panel.get("transformations") or [],
            "units": units(panel),
            "frames": frames(panel, seen.answers(uid, panel["title"])) if panel.get("transformations") else [],
        }
        for uid in boards()
        for panel in panels(uid)
    }
    return dict(zip(asked, transformed(grafana, list(asked.values())), strict=True))


def columns(drawn: Mapping[tuple[str, str], dict[str, Any]], uid: str, title: str) -> dict[str, list[Any]]:
    (frame,) = drawn[uid, title]["frames"]
    return {field["name"]: field["values"] for field in frame}


def test_every_unit_is_one_that_grafana_knows(drawn: dict[tuple[str, str], dict[str, Any]]) -> None:
    assert {key: each["unknown"] for key, each in drawn.items() if each["unknown"]} == {}


def test_every_column_that_a_panel_dresses_is_there(drawn: dict[tuple[str, str], dict[str, Any]]) -> None:
    fixed = {"Value", "grouping", "GPU type", "month", "source", "release"}
    for uid in boards():
        for panel in panels(uid):
            if not panel.get("transformations") or panel["title"] == "Share of final training by month":
                continue  # that has lines of figures that only stand beside other policies
            names = set(columns(drawn, uid, panel["title"]))
            dressed = [each["matcher"]["options"] for each in panel["fieldConfig"]["overrides"]]
            wanted = {name for name in dressed if name.startswith("Value") or name in fixed}
            assert wanted <= names, panel["title"]
            assert "Time" not in names, panel["title"]


def test_bars_of_months_are_in_order_with_a_series_for_each_category(
    drawn: dict[tuple[str, str], dict[str, Any]], reports: dict[str, Breakdown]
) -> None:
    found = columns(drawn, SPLIT, "Money by activity and month, $currency")
    assert found["month"] == sorted(reports)
    bars = dict(zip(found["month"], zip(*(v for k, v in found.items() if k != "month"), strict=True), strict=True))
    assert {month: cents(sum(x or 0 for x in bar)) for month, bar in bars.items()} == {
        month: cents(made.total) for month, made in reports.items()
    }


def test_the_band_of_shares_is_drawn_over_time(
    drawn: dict[tuple[str, str], dict[str, Any]], reports: dict[str, Breakdown]
) -> None:
    (frame,) = drawn[SPLIT, "Share of final training by month"]["frames"]
    months, *values = frame
    assert months["type"] == "time"
    assert [datetime.fromtimestamp(at / 1000).strftime("%Y-%m") for at in months["values"]] == sorted(reports)
    assert values[1]["values"] == [float(reports[month].lines[3].share or 0) for month in sorted(reports)]


@pytest.mark.parametrize("title", ["By activity", "By team", "By cluster", "By team and activity"])
def test_a_pareto_goes_down_and_its_running_share_up_to_one(drawn: dict[tuple[str, str], dict[str, Any]], title: str) -> None:
    found = columns(drawn, SPEND, title)
    assert found["Value #A"] == sorted(found["Value #A"], reverse=True)
    running = [sum(found["Value #B"][: n + 1]) for n in range(len(found["Value #B"]))]
    assert found["cumulative"] == pytest.approx(running)
    assert running[-1] == pytest.approx(1)
    assert len(running) > 1


def test_the_table_of_the_split_has_a_row_for_each_line(
    drawn: dict[tuple[str, str], dict[str, Any]], reports: dict[str, Breakdown]
) -> None:
    found = columns(drawn, SPLIT, "The split of $month")
    made = reports[MONTHS[1]]
    lines = {line.name: line for line in (*made.lines, *made.buckets)}
    assert dict(zip(found["category"], [x and cents(x) for x in found["Value #A"]], strict=True)) == {
        name: cents(line.cost) for name, line in sorted(lines.items())
    }


# --- Grafana's types --------------------------------------------------------------------------------------------------

KINDS = ("barchart", "stat", "table", "text", "timeseries")
FIELDS = {"barchart": "FieldConfig", "timeseries": "FieldConfig", "table": "FieldConfig"}


def typed() -> str:
    """The dashboards as literals that TypeScript holds against Grafana's types."""
    module = "@grafana/schema/dist/esm/raw/composable/{0}/panelcfg/x/{1}PanelCfg_types.gen"
    proper = {"barchart": "BarChart", "timeseries": "TimeSeries"}
    lines = ['import type { Dashboard, Panel } from "@grafana/schema";']
    lines += [f'import type * as {kind} from "{module.format(kind, proper.get(kind, kind.title()))}";' for kind in KINDS]
    # A string of JSON is no member of an enum: its value is.
    lines += [
        "type Plain<T> = T extends string ? `${T}` : T extends (infer U)[] ? Plain<U>[]",
        "  : T extends object ? { [K in keyof T]: Plain<T[K]> } : T;",
    ]
    for number, board in enumerate(boards().values()):
        variables = [
            # Grafana writes it into what it exports; its types leave it out.
            {name: value for name, value in each.items() if name != "definition"}
            for each in board["templating"]["list"]
        ]
        whole = {**board, "templating": {"list": variables}}
        lines.append(f"export const board{number}: Plain<Dashboard> = {json.dumps(whole)};")
        for panel in panels(board["uid"]):
            name = f"{number}_{panel['id']}"
            lines.append(
                f"export const options{name}: Plain<Partial<{panel['type']}.Options>> = {json.dumps(panel['options'])};"
            )
            custom = (panel.get("fieldConfig") or {}).get("defaults", {}).get("custom")
            if custom:
                lines.append(f"export const custom{name}: Plain<Partial<{panel['type']}.FieldConfig>> = {json.dumps(custom)};")
    return "\n".join(lines) + "\n"


def checked(grafana: Path, folder: Path, source: str) -> str:
    """What the compiler has against it."""
    (folder / "node_modules").symlink_to(grafana)
    (folder / "dashboards.ts").write_text(source)
    flags = ["--noEmit", "--strict", "--skipLibCheck", "--module", "preserve", "--moduleResolution", "bundler"]
    done = subprocess.run(
        ["node", grafana / "typescript" / "bin" / "tsc", *flags, "dashboards.ts"],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )
    return done.stdout


def test_the_files_have_the_types_of_grafanas_own_schema(grafana: Path, tmp_path: Path) -> None:
    assert checked(grafana, tmp_path, typed()) == ""


@pytest.mark.parametrize(
    ("right", "wrong"),
    [('"graphTooltip": 0', '"graphTooltip": 7'), ('"cellHeight": "sm"', '"cellHeight": "xs"'), ('"w": 24', '"w": "24"')],
)
def test_a_wrong_value_is_refused_by_those_types(grafana: Path, tmp_path: Path, right: str, wrong: str) -> None:
    assert "error TS" in checked(grafana, tmp_path, typed().replace(right, wrong))
