"""The FinOps Foundation's own validator on our export, in an environment of its own (`focus_validator/install`)."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree

import duckdb
import pytest
from focus_bills import organisation
from organisations import MONTH

from rdspend.config import load
from rdspend.period import parse_period
from rdspend.reading import Reader

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
RULES = "1.2.0.1"  # the only rules it brings along

# Rules that fail on rows that FOCUS allows, and why.
FALSE_FAILURES = {
    "InvoiceId-C-005-C": "asks for an InvoiceId in every row; FOCUS asks for null where there is no invoice yet",
}

pytestmark = [pytest.mark.server, pytest.mark.timeout(1200)]


@pytest.fixture(scope="module")
def validator() -> Path:
    """The folder of the environment. It is kept: installing takes a minute."""
    folder = ROOT / ".venv-focus-validator"
    subprocess.run([HERE / "focus_validator" / "install", sys.executable, folder], check=True)
    return folder


def failed(validator: Path, file: Path, answer: Path) -> tuple[set[str], int]:
    """Ids of the rules that fail, and how many there are."""
    python = validator / "bin" / "python"
    packages = subprocess.run(
        [python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))"], check=True, capture_output=True, text=True
    ).stdout.strip()
    words = ["--data-file", file, "--validate-version", RULES, "--focus-dataset", "CostAndUsage", "--block-download"]
    # It opens a file of its own relative to where it is started, and ends with 0 when rules fail.
    done = subprocess.run(
        [validator / "bin" / "focus-validator", *words, "--output-type", "unittest", "--output-destination", answer],
        cwd=packages,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    cases = ElementTree.parse(answer).getroot().iter("testcase")
    found = {case.attrib["name"].split(" ")[0]: case.find("failure") is not None for case in cases}
    return {rule for rule, bad in found.items() if bad}, len(found)


def one_file(folder: Path, file: Path, change: str = "*") -> Path:
    """The validator takes one file."""
    with duckdb.connect() as connection:
        connection.execute("SET TimeZone = 'UTC'")
        connection.execute(f"COPY (SELECT {change} FROM read_parquet('{folder}/*.parquet')) TO '{file}' (FORMAT parquet)")
    return file


def test_the_official_validator_finds_nothing_but_its_own_mistakes(validator: Path, tmp_path: Path) -> None:
    config = organisation(tmp_path / "organisation")
    Reader(load(config)).export_focus(parse_period(MONTH), tmp_path / "out", version="1.2")
    found, rules = failed(validator, one_file(tmp_path / "out", tmp_path / "all.parquet"), tmp_path / "answer.xml")
    assert rules > 500
    assert found == set(FALSE_FAILURES)
    broken = one_file(tmp_path / "out", tmp_path / "broken.parquet", '* REPLACE (CAST(NULL AS VARCHAR) AS "ServiceName")')
    found, _ = failed(validator, broken, tmp_path / "broken.xml")
    assert {rule for rule in found if rule.startswith("ServiceName")}, "the validator looks at the rows"
