"""The Python API: the same figures as the report, exact, in pandas and Arrow."""

from __future__ import annotations

import json
import subprocess
import sys
from decimal import Decimal
from pathlib import Path

import pyarrow
import pytest
from ledgers import charge, write_ledger
from organisations import MONTH, write_organisation

import rdspend
from rdspend.api import TABLES, Opened
from rdspend.config import load
from rdspend.errors import ConfigError
from rdspend.period import parse_period
from rdspend.pipeline import STAGES, Pipeline
from rdspend.reading import Reader

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Opened:
    config = write_organisation(tmp_path_factory.mktemp("lab"))
    Pipeline(load(config)).run(parse_period(MONTH), STAGES)
    return rdspend.open(config)


def test_a_breakdown_is_the_report_s(lab: Opened) -> None:
    (published,) = Reader(lab.config).breakdowns(parse_period(MONTH), None)
    october = lab.breakdown(MONTH, policy="epoch")
    assert october.record == published
    assert october.total == published.total
    assert october.line("final_training").cost == Decimal("2359.68")
    assert "closings" in dir(october)
    with pytest.raises(KeyError):
        october.line("training")


@pytest.mark.parametrize("table", TABLES)
def test_every_table_has_the_record_s_rows_in_pandas_and_arrow(table: str, lab: Opened) -> None:
    october = lab.breakdown(MONTH)
    rows = getattr(october.record, table)
    expected = [tuple(getattr(row, name) for name in TABLES[table]) for row in rows]
    frame = october.to_pandas(table)
    assert list(frame.columns) == list(TABLES[table])
    assert [
        tuple(None if value is None or value != value else value for value in row) for row in frame.itertuples(index=False)
    ] == (expected)
    arrow = pyarrow.table(october.to_arrow(table))
    assert [tuple(row.values()) for row in arrow.to_pylist()] == expected


def test_money_is_never_a_float(lab: Opened) -> None:
    frame = lab.breakdown(MONTH).to_pandas()
    assert {type(value) for value in frame["cost"]} == {Decimal}
    assert sum(frame["cost"]) == lab.breakdown(MONTH).total
    arrow = pyarrow.table(lab.breakdown(MONTH).to_arrow())
    assert arrow.schema.field("cost").type == pyarrow.decimal128(38, 9)


def test_jobs_are_all_there_with_times_in_utc(lab: Opened) -> None:
    jobs = lab.jobs(MONTH)
    frame = jobs.to_pandas()
    assert len(jobs) == len(frame) == 5
    assert list(frame["job_key"]) == [job.job_key for job in lab.breakdown(MONTH).top_jobs]
    assert list(frame["cost"]) == [job.cost for job in lab.breakdown(MONTH).top_jobs]
    assert list(frame["gpu_hours"]) == [job.gpu_hours for job in lab.breakdown(MONTH).top_jobs]
    assert frame["start_time"].min().isoformat() == f"{MONTH}-01T00:00:00+00:00"
    assert set(frame["currency"]) == {"USD"}
    assert pyarrow.table(jobs.to_arrow()).num_rows == 5


def test_a_folder_or_a_file_is_opened_and_nothing_else(lab: Opened, tmp_path: Path) -> None:
    assert rdspend.open(lab.config.file.parent).config.ledger == lab.config.ledger
    assert lab.periods() == (MONTH,)
    with pytest.raises(ConfigError):
        rdspend.open(tmp_path / "none.toml")


def test_what_is_not_there_is_an_error_in_words(lab: Opened) -> None:
    with pytest.raises(ConfigError, match="table 'cell': expected one of cells"):
        lab.breakdown(MONTH).to_pandas("cell")
    with pytest.raises(ConfigError, match="'EUR'"):
        lab.breakdown(MONTH, currency="EUR")
    with pytest.raises(ConfigError):
        lab.breakdown("October")
    with pytest.raises(ConfigError, match="policy"):
        lab.breakdown(MONTH, policy="none")


def test_two_currencies_are_never_added(tmp_path: Path) -> None:
    lab = rdspend.open(write_ledger(tmp_path, [charge("5"), charge("7", billing_currency="EUR", origin_row=2)]))
    with pytest.raises(ConfigError, match="EUR, USD, which can't be added"):
        lab.breakdown(MONTH)
    assert lab.breakdown(MONTH, currency="EUR").total == 7
    with pytest.raises(ConfigError, match="can't be added"):
        lab.jobs(MONTH)


def test_importing_rdspend_imports_nothing_heavy() -> None:
    heavy = ("duckdb", "deltalake", "pandas", "numpy", "arro3", "boto3", "msgspec", "rich", "click")
    code = f"import sys, rdspend; print(sorted(set({heavy!r}) & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-P", "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_the_example_notebook_runs(lab: Opened) -> None:
    notebook = json.loads((ROOT / "docs" / "example.ipynb").read_text(encoding="utf-8"))
    cells = ["".join(cell["source"]) for cell in notebook["cells"] if cell["cell_type"] == "code"]
    # A fresh interpreter, every cell in order in one namespace, in the folder of the configuration: what a kernel does.
    run = "import json, sys\nspace = {}\nfor cell in json.load(sys.stdin):\n    exec(compile(cell, cell, 'exec'), space)"
    done = subprocess.run(
        [sys.executable, "-P", "-W", "error", "-c", run],
        input=json.dumps(cells),
        cwd=lab.config.file.parent,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert len(cells) > 3
    assert "2359.68" in done.stdout


def test_the_example_notebook_is_kept_without_answers() -> None:
    notebook = json.loads((ROOT / "docs" / "example.ipynb").read_text(encoding="utf-8"))
    assert (notebook["nbformat"], len({cell["id"] for cell in notebook["cells"]})) == (4, len(notebook["cells"]))
    code = [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]
    assert {(len(cell["outputs"]), cell["execution_count"]) for cell in code} == {(0, None)}
