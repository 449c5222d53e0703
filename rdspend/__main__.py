"""`python -P -m rdspend` is the same as the console script."""

from rdspend.cli import main

main(prog_name="rdspend")
