"""`python -m reports.cli` is chill-report."""

from reports.cli import main

main(prog_name="chill-report")
