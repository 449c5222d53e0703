"""The doctor, on wheels that are really built, installed, and overwritten."""

from __future__ import annotations

import re
import tomllib
import zipfile
from pathlib import Path

import pytest
from wheels import ROOT, Environment, built

FOREIGN = """\
[build-system]
requires = ["hatchling>=1.25,<2"]
build-backend = "hatchling.build"

[project]
name = "foreign-collectors"
version = "3.1"

[tool.hatch.build.targets.wheel]
packages = ["collectors"]
"""


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return built(ROOT, tmp_path_factory.mktemp("wheel"))


@pytest.fixture
def environment(wheel: Path, tmp_path: Path) -> Environment:
    return Environment.made(tmp_path / "environment", wheel)


def wrong(said: str) -> list[str]:
    return [line.removeprefix("WRONG ") for line in said.splitlines() if line.startswith("WRONG")]


def test_a_fresh_installation_is_as_it_was_installed(environment: Environment) -> None:
    said = environment.rdspend("doctor")
    (count,) = re.findall(r"^ok +(\d+) installed files are as they were installed$", said, re.MULTILINE)
    assert int(count) > 80
    assert "editable" not in said
    assert wrong(said) == []


def test_a_file_that_was_changed_is_named(environment: Environment) -> None:
    with (environment.packages / "exporters" / "report.py").open("a") as file:
        file.write("# changed by hand\n")
    assert wrong(environment.rdspend("doctor", ok=1)) == [
        "exporters/report.py was changed after it was installed; reinstall rdspend into an environment of its own"
    ]


def test_a_file_that_is_gone_is_named(environment: Environment) -> None:
    (environment.packages / "rdspend" / "policies" / "epoch.toml").unlink()
    assert wrong(environment.rdspend("doctor", ok=1)) == [
        "rdspend/policies/epoch.toml is gone; reinstall rdspend into an environment of its own"
    ]


def test_a_package_that_overwrote_ours_is_named_with_the_file(environment: Environment, tmp_path: Path) -> None:
    project = tmp_path / "foreign"
    (project / "collectors").mkdir(parents=True)
    (project / "pyproject.toml").write_text(FOREIGN)
    (project / "collectors" / "focus.py").write_text('"""Somebody else\'s."""\n')
    environment.install(built(project, tmp_path / "dist"))
    assert wrong(environment.rdspend("doctor", ok=1)) == [
        "collectors/focus.py was overwritten by the package foreign-collectors 3.1; "
        "reinstall rdspend into an environment of its own",
        "the package foreign-collectors also ships one of collectors, taggers, exporters",
    ]


def test_a_folder_of_our_name_in_the_current_directory_is_not_imported(environment: Environment, tmp_path: Path) -> None:
    (tmp_path / "here" / "collectors").mkdir(parents=True)
    (tmp_path / "here" / "collectors" / "__init__.py").write_text("raise SystemExit('imported from the current directory')\n")
    assert wrong(environment.rdspend("doctor", cwd=tmp_path / "here")) == []


def test_the_wheel_has_all_that_runs_and_nothing_of_the_tests(wheel: Path) -> None:
    shipped = set(zipfile.ZipFile(wheel).namelist())
    kept = {name for name in shipped if ".dist-info/" not in name}
    packages = ("rdspend", "collectors", "taggers", "exporters")
    assert {name.partition("/")[0] for name in kept} == set(packages)
    there = {
        str(path.relative_to(ROOT))
        for package in packages
        for path in (ROOT / package).rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    assert kept == there
    for folder, ending in (("rdspend/sql", "sql"), ("rdspend/policies", "toml"), ("rdspend/lab/acme", "csv")):
        assert any(name.startswith(f"{folder}/") and name.endswith(f".{ending}") for name in kept)
    assert {"rdspend/init.toml", "taggers/starter_rules.toml", "rdspend/lab/habits.toml"} <= kept


def test_the_wheel_carries_the_licence_and_the_entry_points(wheel: Path) -> None:
    archive = zipfile.ZipFile(wheel)
    (licence,) = [name for name in archive.namelist() if name.endswith("licenses/LICENSE")]
    assert archive.read(licence) == (ROOT / "LICENSE").read_bytes()
    (points,) = [archive.read(name).decode() for name in archive.namelist() if name.endswith("entry_points.txt")]
    declared = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    for group, plugins in declared["entry-points"].items():
        assert f"[{group}]" in points
        assert all(f"{name} = {value}" in points for name, value in plugins.items())
