"""A made-up model lab: the SYNTHETIC month that the demo shows and that tests and benchmarks measure.

`python -m rdspend.lab FOLDER` writes one month: bill, jobs, nodes, labels, rules, and the truth for scoring.
`write_benchmark` writes bills of any length with jobs and placements to match, as Parquet. `write_cur` writes AWS Cost and
Usage Reports of any length, current and legacy.

Nothing in it is a record of a real organisation. Sizes, durations and outcomes of jobs follow the public tables of
AcmeTrace (acme/README.md); names and folders follow habits seen in public job headers (habits.toml).
"""

from rdspend.lab.benchmark import write_benchmark
from rdspend.lab.cur import write_cur
from rdspend.lab.drawing import Size
from rdspend.lab.month import CLUSTER, SACCT_FIELDS, write_month

__all__ = ["CLUSTER", "SACCT_FIELDS", "Size", "write_benchmark", "write_cur", "write_month"]
