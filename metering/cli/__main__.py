"""`python -m metering.cli` is chill-meter."""

from metering.cli import main

main(prog_name="chill-meter")
