"""From a ledger's labels to a model of one's own. Writes the model's two files, and nothing to the ledger."""

from __future__ import annotations

from pathlib import Path

from rdspend.config import Config
from rdspend.engine import Engine
from rdspend.errors import ConfigError
from rdspend.learning import learn
from rdspend.ledger import Ledger

TEACHERS = ("label", "lineage", "review")
"""Taggers that know: people, and releases. What rules or a model answered is nobody's knowledge to learn from."""


def teach(config: Config, file: Path) -> Path:
    """Learn from every ended job of the ledger that somebody labelled, and write FILE.npz and FILE.json."""
    snapshot = Ledger(config.ledger).snapshot()
    if snapshot.run is None:
        raise ConfigError(f"the ledger {str(config.ledger)!r} holds no jobs yet; run `rdspend collect` and `rdspend tag` first")
    with Engine(config.engine.memory_limit, config.engine.threads) as engine:
        # A job that still runs has no length yet, so no weight.
        snapshot.view(engine, "jobs", lambda p: p["end_day"] != "open")
        snapshot.view(engine, "tags", lambda p: p["tagger"].split(".")[0] in TEACHERS)
        engine.run("taught_jobs", teachers=", ".join(f"'{teacher}'" for teacher in TEACHERS))
        return learn(engine.connection.table("taught_jobs"), file)
