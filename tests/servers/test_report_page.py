"""The HTML report in a real Chromium: figures are the JSON's, it asks nobody anything, axe finds nothing, names stay names."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from breakdowns import build, cell
from playwright.sync_api import Browser, Page, sync_playwright
from reports import forwarded

from exporters.colours import COLOURS
from exporters.report import to_html, to_json
from exporters.report_blocks import visible, words_of
from exporters.report_charts import drawn
from rdspend.schema import ACTIVITIES, BUCKETS, Breakdown, ReleaseLine

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
FLAGS = [
    *("--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
]

NASTY = (
    '"><script>document.title = "taken"</script>',
    "'\"><img src=x onerror=\"document.title = 'taken'\">",
    "</svg></style><style>body { display: none }</style>",
    "two\nlines\tand a tab",
    "\u202egnp.exe",
    "שלום עולם",
    "🚀 rocket 👩‍👩‍👧",
    "=cmd|' /C calc'!A0",
    "&amp;lt; &#60;",
    "@0@ @1@",
    "$x^2$ #0072b2 var(--ink)",
    "\x1b[31mred",
    "x" * 10_000,
)

pytestmark = [pytest.mark.server, pytest.mark.timeout(600)]


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with sync_playwright() as play:
        running = play.chromium.launch(executable_path=shutil.which("chromium"), args=FLAGS)
        yield running
        running.close()


@pytest.fixture(scope="module")
def axe() -> str:
    folder = ROOT / ".venv-axe"
    subprocess.run([HERE / "axe" / "install", folder], check=True)
    return (folder / "node_modules" / "axe-core" / "axe.min.js").read_text(encoding="utf-8")


def opened(browser: Browser, folder: Path, html: str, **look: Any) -> Page:
    (folder / "report.html").write_text(html, encoding="utf-8")
    page = browser.new_context(**look).new_page()
    page.asked = []  # type: ignore[attr-defined]
    page.on("request", lambda request: page.asked.append(request.url))  # type: ignore[attr-defined]
    page.goto(f"file://{folder}/report.html")
    return page


def lab(folder: Path, months: tuple[str, ...]) -> tuple[str, str]:
    """Page and JSON of the last of these months of a made-up lab, as the command line hands them out."""
    (folder / "rdspend.toml").write_text((ROOT / "deploy" / "demo" / "lab" / "rdspend.toml").read_text(encoding="utf-8"))
    command = [str(Path(sys.executable).with_name("rdspend")), "--config", str(folder / "rdspend.toml")]
    for month in months:
        words = ["--jobs", "600", "--nodes", "16", "--month", month]
        subprocess.run([sys.executable, "-P", "-m", "rdspend.lab", folder, *words], check=True, stdout=subprocess.DEVNULL)
        subprocess.run([*command, "run", "--period", month], check=True)
    asked = [*command, "report", "--period", months[-1], "--format"]
    page, document = (
        subprocess.run([*asked, form], check=True, capture_output=True, text=True).stdout for form in ("html", "json")
    )
    return page, document


# --- the same figures as the JSON -------------------------------------------------------------------------------------


def unsigned(text: str) -> str:
    return text if text.strip("-0.,") else text.removeprefix("-")


def money(value: str) -> str:
    return unsigned(f"{Decimal(value):,.2f}")


def hours(value: str | None) -> str:
    return "unknown" if value is None else unsigned(f"{Decimal(value):,.1f}")


def percent(value: str) -> str:
    return unsigned(f"{Decimal(value) * 100:.1f}")


def share(value: str | None) -> str:
    if value is None:
        return "–"
    return "< 0.1 %" if 0 < Decimal(value) < Decimal("0.0005") else f"{percent(value)} %"


def ends(low: str | None, high: str | None, same: bool = False) -> str:
    if low is None or high is None or (low == high and not same):
        return ""
    return f"{percent(low)} – {percent(high)} %"


def change(value: Decimal) -> str:
    text = money(str(value)) if not value or abs(value) >= Decimal("0.005") else f"{value:f}".rstrip("0")
    return f"+{text}" if value > 0 else text


def lines(d: dict[str, Any]) -> list[dict[str, Any]]:
    return [{"name": each.get("activity") or each["bucket"], **each} for each in (*d["lines"], *d["buckets"])]


def split(d: dict[str, Any]) -> Iterator[list[str]]:
    likely = any(each["likely_low"] for each in d["lines"])
    mixed = d["basis"] not in ("billed", "estimated")
    for each in lines(d):
        silent = each["name"] in ("bill_idle", "shared") and not Decimal(each["gpu_hours"])
        yield [
            *(words_of(each["name"]), money(each["cost"]), "" if silent else hours(each["gpu_hours"]), share(each["share"])),
            ends(each["share_low"], each["share_high"]),
            *([ends(each["likely_low"], each["likely_high"], True)] if likely else []),
            *([each["basis"]] if mixed else []),
            "",
        ]
    yield ["total", money(d["total"]), hours(d["gpu_hours"]), "", "", *[""] * likely, *([d["basis"]] if mixed else []), ""]


def candidates(d: dict[str, Any]) -> Iterator[list[str]]:
    for c in d["candidates"][:15]:
        yield [c["family"], c["team"], c["why"], f"{c['jobs']:,}", money(c["cost"]), hours(c["gpu_hours"])]


def moved(d: dict[str, Any], before: dict[str, Any] | None) -> Iterator[list[str]]:
    if before is None:
        return
    old = {each["category"]: each for each in before["lines"]}
    for each in lines(d):
        was, now = Decimal(old[each["name"]]["cost"]), Decimal(each["cost"])
        if was or now:
            cells = (money(str(was)), money(str(now)), change(now - was))
            yield [words_of(each["name"]), *cells, share(old[each["name"]]["share"]), share(each["share"])]
    total = Decimal(d["total"]) - Decimal(before["total"])
    yield ["total", money(before["total"]), money(d["total"]), change(total), "", ""]


def months(d: dict[str, Any]) -> Iterator[list[str]]:
    this = {"period": d["period"], "total": d["total"], "lines": [{"category": each["name"], **each} for each in lines(d)]}
    shown = [*d["months_before"], *([this] if d["months"] == [d["period"]] else [])]
    if len(shown) < 2:
        return
    names = [
        n for n in (*ACTIVITIES, *BUCKETS) if any(Decimal(e["cost"]) for m in shown for e in m["lines"] if e["category"] == n)
    ]
    for month in shown:
        known = {each["category"]: each for each in month["lines"]}
        costs = [money(known[name]["cost"]) for name in names]
        yield [month["period"], *costs, money(month["total"]), share(known["final_training"]["share"])]


def flow(d: dict[str, Any]) -> Iterator[list[str]]:
    sums: dict[str, list[Decimal]] = {}
    for row in d["bridge"]:
        both = sums.setdefault(row["category"], [Decimal(0), Decimal(0)])
        both[0] += Decimal(row["billed"])
        both[1] += Decimal(row["effective"])
    if sums:
        for name, both in sorted(sums.items(), key=lambda each: -each[1][1]):
            yield [words_of(name), *(money(str(value)) for value in both)]
        yield ["total", money(d["billed_total"]), money(d["total"])]


def group(name: str) -> str:
    return words_of(name[1:-1] if name.startswith("(") and name.endswith(")") else name)


def pareto(found: dict[str, Any]) -> Iterator[list[str]]:
    named = any(name and not name.startswith("(") for row in found["rows"] for name in row["names"])
    for row in found["rows"][:10] if found["groups"] > 1 and named else ():
        jobs = f"{row['jobs']:,}" if row["jobs"] else ""
        took = hours(row["gpu_hours"]) if Decimal(row["gpu_hours"]) else ""
        yield [*map(group, row["names"]), money(row["cost"]), took, jobs, f"{percent(row['cumulative'])} %"]


def workloads(d: dict[str, Any]) -> Iterator[list[str]]:
    calls = any(each["api_jobs"] or Decimal(each["api_cost"]) for each in d["workloads"])
    tokens = any(each["tokens"] for each in d["workloads"])
    steps = {"fine_tuning": "fine-tuning", "training": "training (pre and mid)"}
    for each in d["workloads"]:
        price, read = each["cost_per_million_tokens"], each["tokens"]
        yield [
            *(steps.get(each["step"], words_of(each["step"])), money(each["gpu_cost"]), hours(each["gpu_hours"])),
            *([money(each["api_cost"])] if calls else []),
            *([f"{Decimal(read) / 10**6:,.1f}" if read else "", f"{Decimal(price):,.4f}" if price else ""] if tokens else []),
        ]


def public(d: dict[str, Any], left: bool) -> Iterator[list[str]]:
    final = d["lines"][3]
    found = [each for each in d["public_figures"] if bool(each["left_out"]) == left]
    if left:
        yield from ([f["name"], share(f["share"]), f["what"], f["left_out"]] for f in found)
    elif found and final["share"] is not None:
        own = ends(final["share_low"], final["share_high"], True)
        yield ["this report", share(final["share"]), own, d["period"], "the bill and its jobs", "as said above"]
        for f in found:
            low_high = ends(f["share_low"], f["share_high"], True)
            yield [f["name"], share(f["share"]), low_high, f["year"], f["source"], f["certainty"]]


def releases(d: dict[str, Any]) -> Iterator[list[str]]:
    sums: dict[str, Decimal] = {}
    for r in d["releases"]:
        sums[r["release"]] = sums.get(r["release"], Decimal(0)) + Decimal(r["cost"])
    for r in sorted(d["releases"], key=lambda r: (-sums[r["release"]], r["release"], -Decimal(r["cost"]))):
        words = (r["release"], r["role"].replace("_", " "), words_of(r["stage"]), words_of(r["category"]))
        yield [*words, money(r["cost"]), hours(r["gpu_hours"]), f"{r['jobs']:,}"]
    if sums:
        took = sum(Decimal(r["gpu_hours"]) for r in d["releases"])
        yield ["all releases", "", "", "", money(str(sum(sums.values()))), hours(str(took)), ""]


def part(d: dict[str, Any], key: str, name: str) -> Iterator[list[str]]:
    found = d[key]
    shares, took = any(each["share"] is not None for each in found), any(Decimal(each["gpu_hours"]) for each in found)

    def row(first: str, those: list[dict[str, Any]]) -> list[str]:
        cost, held = (str(sum(Decimal(each[figure]) for each in those)) for figure in ("cost", "gpu_hours"))
        known = [Decimal(each["share"]) for each in those if each["share"] is not None]
        return [
            *(first, money(cost), *([hours(held)] if took else [])),
            *([share(str(sum(known)) if known else None)] if shares else []),
        ]

    yield from (row(words_of(each[name]), [each]) for each in found[:15])
    if found[15:]:
        yield row(f"and {len(found) - 15:,} more", found[15:])


def lost(d: dict[str, Any]) -> Iterator[list[str]]:
    spent: dict[str, dict[str, Decimal]] = {}
    for c in d["crossings"]:
        of = spent.setdefault(c["activity"], {})
        of[c["outcome"]] = of.get(c["outcome"], Decimal(0)) + Decimal(c["cost"])
    ways = [o for o in ("failed", "cancelled", "timeout", "preempted") if any(of.get(o) for of in spent.values())]
    for name in (*ACTIVITIES, *BUCKETS):
        of = spent.get(name, {})
        if any(of.get(way) for way in ways):
            gone, whole = sum(of.get(way, Decimal(0)) for way in ways), sum(of.values())
            yield [
                words_of(name),
                *(money(str(of.get(way, 0))) for way in ways),
                share(str(gone / whole) if whole > 0 else None),
            ]


def expected(d: dict[str, Any]) -> dict[tuple[str, str], list[list[str]]]:
    """Every table of the page, by section and first heading, from the JSON alone."""
    jobs = [
        [j["job_key"], j["name"], words_of(j["category"]), j["team"], words_of(j["stage"]), j["outcome"], money(j["cost"]),
         hours(j["gpu_hours"])]
        for j in d["top_jobs"]
    ]  # fmt: skip
    closings = [
        [c["source"], c["billing_period"], c["basis"], money(c["charges"]), money(c["attributed"]), c["difference"]]
        for c in d["closings"]
    ]
    bridge = [[c["source"], c["invoice"] or "(none yet)", words_of(c["category"]), money(c["effective"]), money(c["billed"])]
              for c in d["bridge"]]  # fmt: skip
    sums = [money(str(sum(Decimal(c[side]) for c in d["bridge"]))) for side in ("effective", "billed")]
    verdict = {"10.00": "agrees", "7.01": "rounding", "1,340,000.00": "UNEXPLAINED"}
    invoices = [
        [i["invoice"], i["source"], i["currency"], money(i["stated"]), money(i["billed"]), change(Decimal(i["difference"]))
         .removeprefix("+"), verdict[money(i["stated"])]]
        for i in sorted(d["invoices"], key=lambda i: i["invoice"] != "INV-1")
        if i["stated"] is not None
    ]  # fmt: skip
    checks = [
        [c["source"], c["service"] or "all", c["account"] or "all", c["currency"], money(c["stated"]), money(c["billed"]),
         change(Decimal(c["difference"])).removeprefix("+") if c["complete"] else "open"]
        for c in sorted(d["checks"], key=lambda c: not c["complete"])
    ]  # fmt: skip
    errors = [
        [
            *(e["gpu_type"] or "(no GPU, or not known)", e["month"], f"{e['node_hours']:,}"),
            *(money(e["estimated"]), money(e["billed"]), f"{change(Decimal(e['median']) * 100)} %"),
            *(f"{money(str(Decimal(e['p90']) * 100))} %", f"{change(Decimal(e['bias']) * 100)} %"),
        ]
        for e in d["estimate_errors"]
    ]
    findings = [[f["kind"].replace("_", " "), f["subject"], f["detail"], f"{f['rows']:,}"] for f in d["findings"]]
    made = {
        ("split", "Went to"): list(split(d)),
        ("split", "Candidate"): list(candidates(d)),
        ("since-period", "Went to"): list(moved(d, d["period_before"])),
        ("since-revision", "Went to"): list(moved(d, d["revision_before"])),
        ("months", "Month"): list(months(d)),
        ("flow", "Of the bill"): list(flow(d)),
        ("workloads", "Step"): list(workloads(d)),
        ("public", "Who"): list(public(d, False)),
        ("public-left", "Who"): list(public(d, True)),
        ("releases", "Release"): list(releases(d)),
        ("stage", "Stage"): list(part(d, "stages", "stage")),
        ("team", "Team"): list(part(d, "teams", "team")),
        ("cluster", "Cluster"): list(part(d, "clusters", "cluster")),
        ("service", "Service"): list(part(d, "services", "service")),
        ("lost", "Went to"): list(lost(d)),
        ("jobs", "Job"): jobs,
        ("closings", "Source"): closings,
        ("bridge", "Source"): [*bridge, ["total", "", "", *sums]] if bridge else [],
        ("invoices", "Invoice"): invoices,
        ("checks", "Source"): checks,
        ("estimates", "GPU type"): errors,
        ("findings", "What"): findings,
        **{(f"pareto-{'-'.join(p['by'])}", p["by"][0].capitalize()): list(pareto(p)) for p in d["paretos"]},
    }
    return {key: rows for key, rows in made.items() if rows}


TABLES = """() => [...document.querySelectorAll('table')].map(table => [
    [table.dataset.section, table.tHead.rows[0].cells[0].textContent],
    [...table.tBodies[0].rows].map(row => [...row.cells].map(cell => cell.textContent))])"""


def shown(page: Page) -> dict[tuple[str, str], list[list[str]]]:
    found = page.evaluate(TABLES)
    assert len({tuple(key) for key, _ in found}) == len(found), "two tables of one name"
    return {tuple(key): rows for key, rows in found}


def test_every_table_of_the_page_says_what_the_json_says(browser: Browser, tmp_path: Path) -> None:
    made = forwarded()
    assert shown(opened(browser, tmp_path, to_html(made))) == expected(json.loads(to_json(made)))


def test_the_page_of_two_months_of_a_lab_says_what_its_json_says(browser: Browser, tmp_path: Path) -> None:
    html, document = lab(tmp_path, ("2026-09", "2026-10"))
    page = opened(browser, tmp_path, html)
    tables = shown(page)
    assert tables == expected(json.loads(document))
    assert {"months", "since-period", "pareto-team", "flow"} <= {section for section, _ in tables}
    assert "charges - attributed = 0.000000000" in page.inner_text("main")


# --- links ------------------------------------------------------------------------------------------------------------


def test_every_figure_in_a_table_leads_to_an_explanation_in_the_same_file(browser: Browser, tmp_path: Path) -> None:
    page = opened(browser, tmp_path, to_html(forwarded()))
    figures = page.evaluate("() => [...document.querySelectorAll('td.n')].filter(c => /\\d/.test(c.textContent)).length")
    targets = page.evaluate("() => [...document.querySelectorAll('td.n a')].map(a => a.getAttribute('href'))")
    assert len(targets) == figures > 300
    every = page.evaluate("() => [...document.querySelectorAll('a')].map(a => a.getAttribute('href'))")
    assert all(target.startswith("#") for target in every)
    missing = page.evaluate("all => all.filter(t => document.getElementById(t.slice(1)) === null)", every)
    assert missing == []
    page.click("table[data-section=split] tbody tr:nth-child(4) td.n a")
    assert "rdspend explain --period 2026-10 --currency USD final_training" in page.inner_text(":target")


# --- it stands alone --------------------------------------------------------------------------------------------------


def test_the_page_asks_for_nothing_but_itself_and_has_no_script(browser: Browser, tmp_path: Path) -> None:
    page = opened(browser, tmp_path, to_html(forwarded()), java_script_enabled=False)
    assert page.asked == [f"file://{tmp_path}/report.html"]  # type: ignore[attr-defined]
    assert page.locator("script, link, img, iframe, object").count() == 0
    assert page.locator("svg.chart").count() == len(drawn(forwarded())) == 7
    assert len(to_html(forwarded())) < 10**6


@pytest.mark.parametrize("width", [400, 1100])
def test_the_page_is_as_wide_as_its_window(browser: Browser, tmp_path: Path, width: int) -> None:
    page = opened(browser, tmp_path, to_html(forwarded()), viewport={"width": width, "height": 800})
    assert page.evaluate("document.documentElement.scrollWidth") == width


def test_drawings_have_colours_of_the_page_in_light_and_dark(browser: Browser, tmp_path: Path) -> None:
    inks = {}
    for scheme in ("light", "dark"):
        page = opened(browser, tmp_path, to_html(forwarded()), color_scheme=scheme)
        inks[scheme] = page.evaluate("getComputedStyle(document.querySelector('svg.chart text')).fill")
        fills = page.evaluate("() => [...document.querySelectorAll('svg.chart *')].map(e => getComputedStyle(e).fill)")
        blue = tuple(int(COLOURS["final_training"][n : n + 2], 16) for n in (1, 3, 5))
        assert f"rgb{blue}" in fills
    assert inks["light"] != inks["dark"]


def test_the_printed_page_fills_a4_without_cutting_a_table(browser: Browser, tmp_path: Path) -> None:
    page = opened(browser, tmp_path, to_html(forwarded()), viewport={"width": 698, "height": 1000})
    page.emulate_media(media="print", color_scheme="dark")
    assert page.evaluate("getComputedStyle(document.documentElement).backgroundColor") == "rgb(255, 255, 255)"
    assert page.evaluate("document.documentElement.scrollWidth") <= 698
    wide = "() => [...document.querySelectorAll('.scroll')].filter(e => e.scrollWidth > e.clientWidth).length"
    assert page.evaluate(wide) == 0
    assert page.pdf(prefer_css_page_size=True).startswith(b"%PDF")


# --- accessibility ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("scheme", "width"), [("light", 1100), ("dark", 1100), ("light", 400)])
def test_axe_finds_nothing(browser: Browser, tmp_path: Path, axe: str, scheme: Any, width: int) -> None:
    look = {"color_scheme": scheme, "viewport": {"width": width, "height": 900}}
    page = opened(browser, tmp_path, to_html(forwarded()), **look)
    page.evaluate(axe)
    found = page.evaluate("axe.run()")
    assert [(v["id"], v["nodes"][0]["html"], v["nodes"][0]["failureSummary"]) for v in found["violations"]] == []
    checked = {rule["id"] for rule in found["passes"]}
    assert {"color-contrast", "svg-img-alt", "heading-order", "td-headers-attr", "html-has-lang"} <= checked


def test_axe_would_find_a_drawing_without_words(browser: Browser, tmp_path: Path, axe: str) -> None:
    broken = to_html(forwarded()).replace("aria-label=", "data-label=").replace("--quiet: #545c66", "--quiet: #c5c9ce")
    page = opened(browser, tmp_path, broken)
    page.evaluate(axe)
    assert {"svg-img-alt", "color-contrast"} <= {violation["id"] for violation in page.evaluate("axe.run()")["violations"]}


# --- names from elsewhere ---------------------------------------------------------------------------------------------


def hostile() -> Breakdown:
    cells = [replace(cell("exploration", "10", "1", "pretraining", name), cluster=name) for name in NASTY]
    made = build(cells)
    groups = forwarded().paretos[1]
    rows = tuple(replace(groups.rows[0], names=(name,), cost=Decimal(10)) for name in NASTY)
    return forwarded(
        title=NASTY[0],
        remark=NASTY[1],
        cells=made.cells,
        lines=made.lines,
        buckets=made.buckets,
        total=made.total,
        charges=made.total,
        attributed=made.total,
        teams=made.teams,
        clusters=made.clusters,
        top_jobs=tuple(replace(made.top_jobs[0], job_key=name, name=name, team=name) for name in NASTY),
        paretos=(replace(groups, groups=len(rows), needed=len(rows), rows=rows),),
        releases=tuple(ReleaseLine(n, "run", n, "final_training", Decimal(1), Decimal(1), 1) for n in NASTY),
        findings=tuple((name, name, name, 1) for name in NASTY),
    )


def test_hostile_names_are_shown_and_never_obeyed(browser: Browser, tmp_path: Path, axe: str) -> None:
    errors: list[str] = []
    page = opened(browser, tmp_path, to_html(hostile()))
    page.on("pageerror", lambda error: errors.append(str(error)))
    assert page.title() == f"{visible(NASTY[0])} · 2026-10"
    assert page.is_visible("h1")
    assert page.locator("script, img").count() == 0
    named = {row[0] for row in shown(page)["findings", "What"]}
    assert len(named) == len(NASTY)
    for name in NASTY:
        if len(name) < 200:
            assert visible(name).replace("_", " ") in named
    drawn_words = page.evaluate("() => [...document.querySelectorAll('svg.chart text')].map(e => e.textContent)")
    assert {"שלום עולם", "🚀 rocket 👩‍👩‍👧", "@0@ @1@", "$x^2$ #0072b2 var(--ink)"} <= set(drawn_words)
    assert max(map(len, drawn_words)) <= 40
    assert page.evaluate("document.documentElement.scrollWidth") <= 1280
    page.evaluate(axe)
    assert page.evaluate("axe.run()")["violations"] == []
    assert errors == []
