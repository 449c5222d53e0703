"""The house holds together: names, documents and code say the same, both ways."""

from __future__ import annotations

import ast
import dataclasses
import json
import os
import re
import subprocess
import sys
import tomllib
import types
import typing
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

import click
import pytest
from breakdowns import against_others, full_health
from prometheus_client.parser import text_string_to_metric_families

from collectors import contract, exchange, focus, invoices, job_log, rate_card, release
from exporters.prometheus import CELLS_LEFT_AT_LEAST, Prometheus
from rdspend import config as configuration
from rdspend import errors, predicate
from rdspend.bills import agreements
from rdspend.bills.usage import Prices
from rdspend.cli import main
from rdspend.period import parse_period
from rdspend.policy import available, load_policy
from rdspend.schema import ACTIVITIES, STAGES, Location
from taggers import label, rule

ROOT = Path(__file__).resolve().parents[1]
OCTOBER = parse_period("2026-10").window
KINDS = configuration.KINDS


@cache
def text(name: str) -> str:
    return (ROOT / name).read_text(encoding="utf-8")


@cache
def parsed(name: str) -> ast.Module:
    return ast.parse(text(name))


@cache
def project() -> dict[str, Any]:
    return tomllib.loads(text("pyproject.toml"))


def entry_point_table(kind: str) -> dict[str, str]:
    found: dict[str, str] = project()["project"]["entry-points"][f"rdspend.{kind}"]
    return found


PLUGINS = [(kind, name) for kind in KINDS for name in entry_point_table(kind)]


def plugin(kind: str, name: str) -> Any:
    (point,) = {p for p in entry_points(group=f"rdspend.{kind}") if p.name == name}
    return point.load()


# --- Markdown ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Table:
    """A table of a document, under its nearest heading."""

    heading: str
    head: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


def tables(document: str) -> Iterator[Table]:
    heading, lines, fenced = "", [], False
    for line in [*text(document).splitlines(), ""]:
        fenced ^= line.startswith("```")
        if line.startswith("|") and not fenced:
            lines.append(tuple(cell.strip() for cell in line.strip("|").split("|")))
            continue
        if lines:
            yield Table(heading, lines[0], tuple(lines[2:]))
            lines = []
        if line.startswith("#") and not fenced:
            heading = line.lstrip("# ").strip("`")


def the_table(document: str, *head: str) -> list[tuple[str, ...]]:
    (found,) = [table for table in tables(document) if table.head == head]
    return list(found.rows)


def names(cell: str) -> list[str]:
    """What stands in backquotes."""
    return re.findall(r"`([^`]+)`", cell)


def fenced(document: str, language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", text(document), re.DOTALL)


# --- one plugin, one name ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("kind", "name"), PLUGINS)
def test_a_plugin_has_one_name_everywhere(kind: str, name: str) -> None:
    module, factory = entry_point_table(kind)[name].split(":")
    assert module == f"{kind}.{name}"
    assert factory == name.title().replace("_", "")
    assert (ROOT / kind / f"{name}.py").is_file()
    assert (ROOT / "tests" / f"test_{name}.py").is_file()
    assert f"{kind}.{name}" in {table.heading.strip("[]") for table in tables("docs/configuration.md")}


def parts_of(kind: str, name: str) -> set[str]:
    """Modules of its own folder that a module imports, and those that they import."""
    imported = {
        node.module.removeprefix(f"{kind}.")
        for node in ast.walk(parsed(f"{kind}/{name}.py"))
        if isinstance(node, ast.ImportFrom) and node.module and node.module.startswith(f"{kind}.")
    }
    return imported.union(*(parts_of(kind, part) for part in imported))


@pytest.mark.parametrize("kind", KINDS)
def test_every_module_in_the_three_folders_is_a_plugin_or_a_part_of_one(kind: str) -> None:
    modules = {path.stem for path in (ROOT / kind).glob("*.py")} - {"__init__"}
    named = set(entry_point_table(kind))
    assert modules == named.union(*(parts_of(kind, name) for name in named))


def test_only_exporters_are_made_of_several_modules() -> None:
    for kind in ("collectors", "taggers"):
        assert {path.stem for path in (ROOT / kind).glob("*.py")} - {"__init__"} == set(entry_point_table(kind))


def test_the_readme_lists_every_plugin_and_no_other() -> None:
    rows = the_table("README.md", "Plugin", "Kind", "What")
    listed = {(names(row[0])[0], re.search(r"\((.*)\)", row[0])[1], row[1]) for row in rows}  # type: ignore[index]
    assert listed == {(name, f"{kind}/{name}.py", kind.removesuffix("s")) for kind, name in PLUGINS}


def test_the_changelog_names_every_plugin() -> None:
    assert {name for _, name in PLUGINS} <= set(names(text("CHANGELOG.md")))


@pytest.mark.parametrize(("kind", "name"), PLUGINS)
def test_a_plugin_begins_with_its_manual_page(kind: str, name: str) -> None:
    page = ast.get_docstring(parsed(f"{kind}/{name}.py")) or ""
    assert f"[{kind}.{name}]" in page
    assert re.search(r"can't (show|see)|cannot see|can't see", page, re.IGNORECASE)
    assert re.search(r"permission|needs", page, re.IGNORECASE)


@pytest.mark.parametrize(("kind", "name"), PLUGINS)
def test_a_plugin_is_a_frozen_dataclass(kind: str, name: str) -> None:
    assert plugin(kind, name).__dataclass_params__.frozen


# --- the configuration ------------------------------------------------------------------------------------------------

KEYS = ("Key", "Type", "Default", "Meaning")


def in_words(hint: Any) -> str:
    """The type of a field as docs/configuration.md writes it."""
    if typing.get_origin(hint) in (types.UnionType, typing.Union):
        (hint,) = (part for part in typing.get_args(hint) if part is not type(None))
    if typing.get_origin(hint) is typing.Literal:
        *most, last = (f"`{value}`" for value in typing.get_args(hint))
        return f"{', '.join(most)} or {last}"
    if typing.get_origin(hint) is tuple:
        return f"list of {in_words(typing.get_args(hint)[0])}"
    if typing.get_origin(hint) in (dict, Mapping):
        return "table of text"
    if dataclasses.is_dataclass(hint):
        return "table"
    simple: dict[Any, str] = {
        str: "text",
        Location: "path",
        Path: "path",
        bool: "true or false",
        int: "whole number",
        float: "number",
    }
    return simple[hint]


def default_in_words(value: Any) -> str:
    if value is dataclasses.MISSING:
        return "required"
    if value is None or dataclasses.is_dataclass(value):
        return "not set"
    return f"`{json.dumps(dict(value) if isinstance(value, Mapping) else value)}`"


def fields_in_words(options: Any) -> dict[str, tuple[str, str]]:
    """Key to type and default."""
    hints = typing.get_type_hints(options)
    return {
        f.name: (
            in_words(hints[f.name]),
            default_in_words(f.default if f.default_factory is dataclasses.MISSING else f.default_factory()),
        )
        for f in dataclasses.fields(options)
    }


def documented() -> dict[str, dict[str, tuple[str, str]]]:
    found = {t.heading: t for t in tables("docs/configuration.md") if t.head == KEYS}
    return {h: {names(key)[0]: (kind, default) for key, kind, default, _ in t.rows} for h, t in found.items()}


def within() -> dict[str, Any]:
    """Tables within the tables of plugins, each the same wherever it is."""
    fields = ((kind, *field) for kind, name in PLUGINS for field in typing.get_type_hints(plugin(kind, name)).items())
    return {f"[{kind}.NAME.{name}]": hint for kind, name, hint in fields if dataclasses.is_dataclass(hint)}


def test_the_configuration_page_has_every_table_and_no_other() -> None:
    tables_there_are = {"Top level", *(f"[{t}]" for t in configuration.TABLES), *(f"[{k}.{n}]" for k, n in PLUGINS), *within()}
    assert set(documented()) == tables_there_are


def test_the_page_has_the_keys_types_and_defaults_of_tables_within() -> None:
    assert {heading: documented()[heading] for heading in within()} == {h: fields_in_words(t) for h, t in within().items()}


def test_the_policies_that_the_manual_names_are_there_and_no_others() -> None:
    named = {names(row[0])[0] for row in the_table("docs/operations.md", "Policy", "Belongs to", "Allows")}
    assert named == {path.name for path in (ROOT / "deploy" / "iam").iterdir()}
    for name in named:
        statements = json.loads(text(f"deploy/iam/{name}"))["Statement"]
        assert all(isinstance(s["Action"], str) and "*" not in s["Action"] for s in statements)


@pytest.mark.parametrize("name", configuration.TABLES)
def test_the_page_has_the_keys_types_and_defaults_of_the_core(name: str) -> None:
    assert documented()[f"[{name}]"] == fields_in_words(configuration.TABLES[name])


@pytest.mark.parametrize(("kind", "name"), PLUGINS)
def test_the_page_has_the_keys_types_and_defaults_of_each_plugin(kind: str, name: str) -> None:
    assert documented()[f"[{kind}.{name}]"] == fields_in_words(plugin(kind, name))


def test_the_page_has_the_keys_types_and_defaults_of_the_top_level(tmp_path: Path) -> None:
    empty = tmp_path / "rdspend.toml"
    empty.touch()
    loaded = configuration.load(empty)
    values = {key: getattr(loaded, key) for key in configuration.TOP_LEVEL}
    assert Path(values.pop("ledger")) == tmp_path / "ledger"
    assert values.pop("policies") is None
    expected = {key: (in_words(configuration.TOP_LEVEL[key]), default_in_words(value)) for key, value in values.items()}
    expected["policies"] = ("path", "not set")
    assert documented()["Top level"] == {"ledger": ("path", '`"ledger"`'), **expected}


def listed(heading: str, head: tuple[str, ...]) -> list[str]:
    (table,) = [t for t in tables("docs/configuration.md") if t.heading == heading and t.head == head]
    return [name for row in table.rows for name in names(row[0])]


def test_the_page_has_the_columns_and_functions_of_predicates() -> None:
    columns = the_table("docs/configuration.md", "Column", "Kind", "Meaning")
    assert [(names(n)[0], kind, words) for n, kind, words in columns] == [
        (name, column.kind, column.doc) for name, column in predicate.COLUMNS.items()
    ]
    functions = the_table("docs/configuration.md", "Function", "Takes", "Gives")
    assert {names(n)[0]: (takes, gives) for n, takes, gives in functions} == {
        name: (", ".join(kinds[:needed]) + "".join(f" [, {kind}]" for kind in kinds[needed:]), gives)
        for name, (kinds, needed, gives) in predicate.FUNCTIONS.items()
    }


def test_the_page_has_the_keys_of_the_files_that_plugins_read() -> None:
    assert set(listed("[collectors.rate_card]", ("Key of a rate", "Meaning"))) == set(rate_card.KEYS)
    assert set(listed("[collectors.invoices]", ("Key of an invoice", "Meaning"))) == set(agreements.STATED.known)
    assert set(listed("[collectors.exchange]", ("Key of an exchange rate", "Meaning"))) == set(agreements.EXCHANGE.known)
    of_contracts = {
        (key, form)
        for keys, where, _ in the_table("docs/configuration.md", "Key of a contract", "In", "Meaning")
        for key in names(keys)
        for form in names(where)
    }
    assert of_contracts == {(key, form.name) for form in agreements.AGREEMENTS["contract"].forms for key in form.known}
    assert set(listed("[collectors.job_log]", ("Column of the log", "Meaning"))) == set(job_log.FIELDS)
    assert set(listed("[collectors.release]", ("Key of a release", "Meaning"))) == set(release.KEYS)
    assert set(listed("[collectors.release]", ("Key of a claim", "Meaning"))) == set(release.CLAIM_KEYS)
    assert set(listed("[taggers.rule]", ("Key of a rule", "Meaning"))) == set(rule.KEYS)
    meanings = {names(key)[0]: names(words) for key, words in the_table("docs/configuration.md", "Key of a rule", "Meaning")}
    assert (meanings["activity"], meanings["stage"]) == (list(ACTIVITIES), list(STAGES))
    (header,) = [example.splitlines()[0] for example in fenced("docs/configuration.md", "csv")]
    assert header == ",".join(label.COLUMNS)
    nodes = next(row for t in tables("docs/configuration.md") for row in t.rows if row[0] == "`nodes`" and t.head == KEYS)
    assert set(names(nodes[3])) == set(job_log.NODE_FIELDS)
    assert [column for column in focus.REQUIRED if f"`{column}`" not in text("docs/configuration.md")] == []
    assert f"At least {CELLS_LEFT_AT_LEAST} for each period" in text("docs/configuration.md")


def examples(name: str) -> list[str]:
    return [t for document in ("docs/configuration.md",) for t in fenced(document, "toml") if t.startswith(f"# {name}\n")]


def test_every_example_of_the_page_says_which_file_it_is_and_is_read(tmp_path: Path) -> None:
    read = {
        "rdspend.toml": configuration.load,
        "rates.toml": lambda p: rate_card.read_rates(str(p)),
        "contract.toml": lambda p: contract.read_contract(str(p)),
        "invoices.toml": lambda p: list(invoices.Invoices(Location(p)).collect(OCTOBER)),
        "exchange.toml": lambda p: exchange.read_exchange(str(p)),
        "prices.toml": lambda p: Prices.read(str(p)),
        "rules.toml": read_rules,
        "falcon-8b.toml": lambda p: release.read_release(str(p)),
    }
    tried = 0
    for name, reader in read.items():
        for number, example in enumerate(examples(name)):
            path = tmp_path / f"{number}-{name}"
            path.write_text(example)
            assert reader(path)
            tried += 1
    assert tried == len(fenced("docs/configuration.md", "toml")) >= 4


def read_rules(path: Path) -> object:
    import duckdb

    jobs = duckdb.sql(predicate._sample_jobs())
    return rule.Rule(Location(path)).check(jobs)


def uncommented(template: str) -> str:
    """The template with every commented key and table as a real one; comments in words stay comments."""
    return re.sub(r"^# (?=\[|[a-z_]+ = )", "", template, flags=re.MULTILINE)


@pytest.mark.parametrize("change", [str, uncommented])
def test_the_template_of_init_has_known_keys_only(change: Any, tmp_path: Path) -> None:
    path = tmp_path / "rdspend.toml"
    path.write_text(change(text("rdspend/init.toml")))
    configuration.load(path)


def test_the_template_of_init_shows_every_plugin_once_its_comments_are_taken_away() -> None:
    tree = tomllib.loads(uncommented(text("rdspend/init.toml")))
    assert {(kind, name) for kind in KINDS for name in tree[kind]} == set(PLUGINS)


@pytest.mark.parametrize("path", sorted((ROOT / "deploy").rglob("rdspend.toml")), ids=lambda p: p.parent.name)
def test_the_configurations_of_the_demo_are_read(path: Path) -> None:
    assert configuration.load(path).collectors


# --- metrics ----------------------------------------------------------------------------------------------------------


def test_the_metrics_page_has_every_family_with_its_labels_and_no_other() -> None:
    families = text_string_to_metric_families(Prometheus().render((against_others(),), full_health()).decode())
    rendered = {family.samples[0].name: set(family.samples[0].labels) for family in families}
    rows = the_table("docs/metrics.md", "Family", "Labels", "Meaning")
    assert {names(row[0])[0]: set(names(row[1])) for row in rows} == rendered


def test_the_metrics_page_tells_what_the_text_file_leaves_out() -> None:
    in_file = {f.name for f in text_string_to_metric_families(Prometheus().render((against_others(),), None).decode())}
    listed = [names(row[0])[0] for row in the_table("docs/metrics.md", "Family", "Labels", "Meaning")]
    first_left_out = listed.index("rdspend_source_up")
    assert set(listed[:first_left_out]) == in_file


# --- commands and exit codes ------------------------------------------------------------------------------------------


def commands(group: click.Group, before: str = "") -> Iterator[str]:
    for name, command in group.commands.items():
        if isinstance(command, click.Group):
            yield from commands(command, f"{before}{name} ")
        else:
            yield before + name


COMMANDS = set(commands(main))
DOCUMENTS = ["README.md", "CHANGELOG.md", *(str(path.relative_to(ROOT)) for path in sorted((ROOT / "docs").rglob("*.md")))]


def test_the_changelog_lists_every_command_and_no_other() -> None:
    (line,) = re.findall(r"^- Commands: (.*(?:\n  .*)*)", text("CHANGELOG.md"), re.MULTILINE)
    assert set(names(line)) == COMMANDS


@pytest.mark.parametrize("document", DOCUMENTS)
def test_every_command_in_the_documents_exists(document: str) -> None:
    for words in re.findall(r"(?:^|`)rdspend ((?:[a-z]+ ?)+)", text(document), re.MULTILINE):
        first, *more = words.split()
        assert {first, " ".join([first, *more[:1]])} & COMMANDS, words


def test_every_command_is_in_the_documents() -> None:
    written = "\n".join(map(text, DOCUMENTS))
    assert [command for command in COMMANDS if not re.search(rf"`(rdspend )?{command}\b", written)] == []


@pytest.mark.parametrize("document", DOCUMENTS)
def test_every_option_in_the_documents_exists(document: str) -> None:
    every = [main, *main.commands.values()]
    every += [c for group in every[1:] if isinstance(group, click.Group) for c in group.commands.values()]
    known = {o for c in every for p in c.params for o in (*p.opts, *p.secondary_opts)}
    lines = [line for line in text(document).splitlines() if "rdspend" in line or "`--" in line]
    found = {option for line in lines for option in re.findall(r"(?<![\w-])--[a-z][a-z-]*", line)}
    assert found <= known | {"--help"}


@pytest.mark.parametrize("document", DOCUMENTS)
def test_every_link_to_a_file_leads_there(document: str) -> None:
    for target in re.findall(r"\]\(([^)#]+?)(?:#[^)]*)?\)", text(document)):
        if "://" not in target:
            assert ((ROOT / document).parent / target).exists(), target


def test_the_table_of_exit_codes_is_that_of_the_errors() -> None:
    raised = {kind.exit_code for kind in vars(errors).values() if isinstance(kind, type)}
    rows = the_table("docs/operations.md", "Code", "Meaning")
    assert {int(code) for code, _ in rows} == raised | {0}
    shown = dict(re.findall(r"^  (\d)  (.*)$", main.epilog or "", re.MULTILINE))
    assert set(shown) == {code for code, _ in rows}


# --- the wheel's data -------------------------------------------------------------------------------------------------

RUNNERS = {"run", "read", "records", "made"}
SQL = sorted(path.stem for path in (ROOT / "rdspend" / "sql").glob("*.sql"))


def statements_run() -> Iterator[re.Pattern[str]]:
    """Names of SQL files in the code: the first argument of the engine's methods that run one, f-strings as patterns."""
    for path in (ROOT / "rdspend").rglob("*.py"):
        module = parsed(str(path.relative_to(ROOT)))
        for node in ast.walk(module):
            match node:
                case ast.Call(
                    func=ast.Attribute(value=ast.Name(id="engine") | ast.Attribute(attr="engine"), attr=attr), args=[first, *_]
                ) if attr in RUNNERS:
                    yield from written(first, module)


def written(value: ast.expr, module: ast.Module) -> Iterator[re.Pattern[str]]:
    """The texts that an expression may be; nothing for one that is no text."""
    match value:
        case ast.Constant(value=str(name)):
            yield re.compile(re.escape(name))
        case ast.JoinedStr(values=parts):
            yield re.compile("".join(re.escape(p.value) if isinstance(p, ast.Constant) else "[a-z_]+" for p in parts))
        case ast.IfExp(body=one, orelse=other):
            yield from (*written(one, module), *written(other, module))
        case ast.Name(id=name):
            for node in ast.walk(module):
                if isinstance(node, ast.Assign) and any(isinstance(t, ast.Name) and t.id == name for t in node.targets):
                    yield from written(node.value, module)


def test_every_statement_is_run_and_every_statement_that_is_run_is_there() -> None:
    run = list(statements_run())
    assert [name for name in SQL if not any(pattern.fullmatch(name) for pattern in run)] == []
    assert [p.pattern for p in run if not any(p.fullmatch(name) for name in SQL)] == []


@pytest.mark.parametrize("name", SQL)
def test_a_statement_begins_with_what_goes_in_and_what_comes_out(name: str) -> None:
    comment, body = re.fullmatch(r"((?:--.*\n)+)(.+)", text(f"rdspend/sql/{name}.sql"), re.DOTALL).groups()  # type: ignore[union-attr]
    made = re.findall(r"^CREATE OR REPLACE TEMP (?:TABLE|VIEW) (\w+)", body)
    assert made in ([], [name])
    assert ("Out: " in comment) >= bool(made)
    assert ("In: " in comment) >= bool(re.search(r"\b(?:FROM|JOIN) [a-z]", body))
    assert ";" not in body.strip().removesuffix(";"), "one file, one statement"


@pytest.mark.parametrize("name", available())
def test_a_policy_is_read_and_is_named_as_its_file(name: str) -> None:
    assert load_policy(name).name == name


def test_the_default_policy_exists_and_the_page_names_all_there_are() -> None:
    assert configuration.Config.policy in available()
    (words,) = (row[3] for t in tables("docs/configuration.md") for row in t.rows if row[0] == "`policy`")
    assert set(names(words)) == set(available())


# --- what must not be there -------------------------------------------------------------------------------------------


def test_help_loads_none_of_the_heavy_libraries() -> None:
    heavy = ("duckdb", "deltalake", "pandas", "boto3", "numpy", "prometheus_client", "rich", "opentelemetry")
    code = (
        "import sys\nfrom rdspend.cli import main\n"
        "try: main(['--help'])\nexcept SystemExit: pass\n"
        f"print(sorted(set({heavy!r}) & set(sys.modules)), file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-P", "-c", code], capture_output=True, text=True, check=True)
    assert "collect" in done.stdout
    assert done.stderr.strip() == "[]"


def tracked() -> list[Path]:
    """Files of the project as git knows them; without git, all that are not hidden."""
    listing = subprocess.run(
        ["git", "-C", str(ROOT), "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        capture_output=True,
        check=False,
    )
    if listing.returncode == 0 and listing.stdout:
        return [ROOT / os.fsdecode(name) for name in listing.stdout.split(b"\0") if name]
    return [p for p in ROOT.rglob("*") if not any(part.startswith(".") for part in p.relative_to(ROOT).parts)]


def test_no_file_names_a_place_of_the_machine_it_was_written_on() -> None:
    places = [re.compile(rb"(?<![\w.~-])" + re.escape(os.fsencode(place)) + rb"/") for place in (ROOT, Path.home())]
    found = [
        f"{path.relative_to(ROOT)}: {place.pattern.decode()}"
        for path in tracked()
        if path.is_file()
        for place in places
        if place.search(path.read_bytes())
    ]
    assert found == []
