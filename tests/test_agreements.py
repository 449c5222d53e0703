"""What people write by hand has one schema: the published JSON Schema is made from it, and both say the same of a file."""

from __future__ import annotations

import json
import tomllib
from datetime import date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from collectors import contract, exchange, invoices, rate_card
from rdspend.bills.agreements import AGREEMENTS, Form, json_schema, read_toml
from rdspend.errors import ConfigError

ROOT = Path(__file__).resolve().parents[1]
PUBLISHED = ROOT / "docs" / "agreements.schema.json"
FIXTURES = Path(__file__).parent / "fixtures"

GOOD = {
    "rate_card": [FIXTURES / "rate_card" / "rates.toml"],
    "contract": [FIXTURES / "contract" / "contract.toml"],
    "invoices": [FIXTURES / "invoices" / "invoices.toml"],
    "exchange": [FIXTURES / "exchange" / "exchange.toml"],
}
BAD = {
    "rate_card": [
        '[[rate]]\nnode = "n"\nprice_per_node_hour = -1\ncurrency = "USD"',
        '[[rate]]\nnode = "n"\ngpu_type = "h100"\nprice_per_node_hour = 1\ncurrency = "USD"',
        '[[rate]]\nnode = "n"\nprice_per_node_hour = 1',
        '[[rates]]\nnode = "n"\nprice_per_node_hour = 1\ncurrency = "USD"',
        '[rate]\nnode = "n"\nprice_per_node_hour = 1\ncurrency = "USD"',
        "",
    ],
    "contract": [
        '[[cost]]\nname = "a"\nper_gpu_hour = 1\ncurrency = "USD"\nfrom = 2026-01-01',
        '[[cost]]\nname = "a"\nper_month = 1\ngpus = 1\ncurrency = "USD"\nfrom = 2026-01-01',
        '[[cost]]\nname = " "\nper_month = 1\ncurrency = "USD"\nfrom = 2026-01-01',
        '[[cost]]\nname = "a"\nper_month = 1\ncurrency = "USD"\nfrom = 2026-01-01T00:00:00',
        '[[adjustment]]\nname = "a"\nkind = "discount"\npercentage = -5',
        '[[adjustment]]\nname = "a"\nkind = "discount"\namount = -5\ncurrency = "USD"',
        '[[purchase]]\nname = "a"\nprice = 1\ncurrency = "USD"\nbought = 2026-01-01\nmonths = 1.5',
    ],
    "invoices": ['[[invoice]]\ninvoice = "a"\ncurrency = "usd"\ntotal = 1\nbilling_period = "2026-10"'],
    "exchange": ['[[rate]]\ncurrency = "EUR"\ninto = "USD"\nrate = 0\nfrom = 2026-01-01'],
}


def as_json(value: Any) -> Any:
    """TOML's values as an editor gives them to a schema: dates as text."""
    if isinstance(value, dict):
        return {key: as_json(item) for key, item in value.items()}
    if isinstance(value, list):
        return [as_json(item) for item in value]
    return value.isoformat() if isinstance(value, date | datetime) else float(value) if isinstance(value, Decimal) else value


def says_yes(name: str, text: str) -> bool:
    schema = json.loads(PUBLISHED.read_text())
    return Draft202012Validator({**schema, "$ref": f"#/$defs/{name}"}).is_valid(as_json(tomllib.loads(text)))


def reads(name: str, file: Path) -> bool:
    try:
        read_toml(str(file), AGREEMENTS[name])
    except ConfigError:
        return False
    return True


def test_the_published_schema_is_that_of_the_code() -> None:
    assert json.loads(PUBLISHED.read_text()) == json.loads(json.dumps(json_schema()))
    Draft202012Validator.check_schema(json_schema())


@pytest.mark.parametrize("name", AGREEMENTS)
def test_code_and_published_schema_take_the_same_files_and_refuse_the_same(name: str, tmp_path: Path) -> None:
    for file in GOOD[name]:
        assert reads(name, file)
        assert says_yes(name, file.read_text())
    for text in BAD[name]:
        (tmp_path / "bad.toml").write_text(text)
        assert not reads(name, tmp_path / "bad.toml"), text
        assert not says_yes(name, text), text


def test_every_agreement_is_read_by_the_collector_it_names() -> None:
    modules = {"rate_card": rate_card, "contract": contract, "invoices": invoices, "exchange": exchange}
    assert {name: agreement.collector for name, agreement in AGREEMENTS.items()} == {name: name for name in modules}
    assert all(module.__name__ == f"collectors.{name}" for name, module in modules.items())


def forms() -> list[Form]:
    return [form for agreement in AGREEMENTS.values() for form in agreement.forms]


@pytest.mark.parametrize("form", forms(), ids=lambda form: form.name)
def test_a_form_speaks_only_of_its_own_keys(form: Form) -> None:
    spoken = {key for group in form.one_of for key in group} | {key for pair in form.together for key in pair}
    assert spoken <= set(form.keys)
    assert {key for span in form.spans for key in span} & set(form.keys) in (set(), {"from"}, {"from", "to"})
