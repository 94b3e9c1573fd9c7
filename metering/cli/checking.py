"""The integrity of the ledger, on the control machine: check."""

from __future__ import annotations

import json
from datetime import UTC, datetime

import click

from metering.cli.ledger import load_the_fleet
from metering.cli.options import fleet_option, json_option, say
from provision.errors import PartlyDone, RequestError


@click.command()
@fleet_option
@json_option
def check(fleet_path: str | None, as_json: bool) -> None:
    """Check the integrity of the whole ledger, and name everything that is wrong with file and line.

    Errors (exit status 2) break the format or a promise of the ledger: values, counts of users, checksums of compacted
    months, days that have not begun, unknown instances. Suspicions (exit status 3) may be true, and someone should
    look: values far above all before, counts that fell when they were collected again.

    \b
    Examples:
      chill-meter check
      chill-meter check --json
    """
    fleet = load_the_fleet(fleet_path)
    from metering.ledger.check import check as check_ledger

    found = check_ledger(fleet, datetime.now(UTC))
    errors = [one.problem for one in found if one.level == "error"]
    suspicions = [one.problem for one in found if one.level == "suspicion"]
    if as_json:
        values = [
            {"level": one.level, "place": one.problem.place, "message": one.problem.message, "hint": one.problem.hint}
            for one in found
        ]
        click.echo(json.dumps(values, indent=2, ensure_ascii=False))
    else:
        for problem in suspicions:
            click.echo(f"suspicion: {problem}")
        for problem in errors:
            click.echo(f"error: {problem}")
    counted = f"{_counted(len(errors), 'error')} and {_counted(len(suspicions), 'suspicion')} in {fleet.ledger}"
    if errors:
        raise RequestError(counted, "nothing is changed in a ledger: a correction is a newer file")
    if suspicions:
        raise PartlyDone(counted, "they may be true: nothing keeps the ledger from being used")
    if not as_json:
        say("the ledger is in order")


def _counted(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"
