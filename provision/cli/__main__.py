"""`python -m provision.cli` is chill-provision."""

from provision.cli import main

main(prog_name="chill-provision")
