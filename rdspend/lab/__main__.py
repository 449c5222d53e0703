"""`python -m rdspend.lab`: writes the SYNTHETIC month of a made-up model lab."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Literal

import click

from rdspend.lab import Size, write_month


@click.command()
@click.argument("folder", type=click.Path(file_okay=False, path_type=Path))
@click.option("--jobs", default=20_000, show_default=True, type=click.IntRange(1), help="Jobs, about.")
@click.option("--nodes", default=64, show_default=True, type=click.IntRange(8), help="Nodes, CPU nodes included.")
@click.option("--seed", default=7, show_default=True, type=click.IntRange(0), help="Same seed, same bytes.")
@click.option("--month", default="2026-10", show_default=True, metavar="YYYY-MM", help="Calendar month.")
@click.option("--bill-lines-per-node-hour", default=1, show_default=True, type=click.IntRange(1, 100))
@click.option("--format", "bill_format", default="csv", show_default=True, type=click.Choice(["csv", "parquet"]))
def main(
    folder: Path,
    jobs: int,
    nodes: int,
    seed: int,
    month: str,
    bill_lines_per_node_hour: int,
    bill_format: Literal["csv", "parquet"],
) -> None:
    """Write the SYNTHETIC month of a made-up model lab into FOLDER: bill, jobs, nodes, labels, rules, truth."""
    say = (lambda text: click.echo(f"lab: {text}", err=True)) if sys.stderr.isatty() else (lambda text: None)
    size = Size(month=month, jobs=jobs, nodes=nodes, seed=seed)
    try:
        write_month(folder, size, lines_per_node_hour=bill_lines_per_node_hour, bill_format=bill_format, say=say)
    except ValueError as error:
        raise click.UsageError(str(error)) from None


if __name__ == "__main__":
    main()
