"""Environments that stand: apply, verify."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import click

from provision.cli.options import (
    fleet_option,
    json_option,
    load,
    messages,
    output,
    print_hosts,
    refuse_degraded,
    say,
    slugs_argument,
)
from provision.errors import ChillError, PartlyDone

if TYPE_CHECKING:
    from provision.fleet import Fleet


@click.command(short_help="Mend what drifted, install a new release.")
@slugs_argument
@click.option("--check", is_flag=True, help="Change nothing: show what differs. Exit status 3 when something does.")
@fleet_option
@json_option
def apply(slugs: tuple[str, ...], check: bool, fleet: Path | None, as_json: bool) -> None:
    """Bring environments to what the fleet says: mend what drifted, install a new release. Passwords stay.

    \b
    Examples:
      chill-provision apply acme
      chill-provision apply --check
    """
    from provision import apply as verb
    from provision.progress import progress_for

    if check:
        _show_drift(load(fleet), slugs, as_json)
        return
    loaded = load(fleet)
    result = verb.apply(loaded, slugs, progress_for(messages()))
    for slug in () if slugs else verb.unfinished_instances(loaded):
        say(f"left out: {slug}, whose creation was not finished: chill-provision create {slug}")
    print_hosts(result.hosts, as_json)
    for notice in result.notices:
        messages().print(str(notice), style="yellow", highlight=False, markup=False, soft_wrap=True)
    refuse_degraded(result.degraded, slugs)


def _show_drift(fleet: Fleet, slugs: tuple[str, ...], as_json: bool) -> None:
    from provision.drift import drift
    from provision.progress import progress_for

    found = drift(fleet, slugs, progress_for(messages()))
    click.echo(json.dumps(found.values(), indent=2, ensure_ascii=False) if as_json else str(found))
    if found.drifted:
        raise PartlyDone(
            f"{len(found.drifted)} of {len(found.hosts)} environments differ from what the fleet says",
            " ".join(("chill-provision apply", *slugs, "mends them")),
        )


@click.command(short_help="Check environments, change nothing.")
@slugs_argument
@fleet_option
@json_option
def verify(slugs: tuple[str, ...], fleet: Path | None, as_json: bool) -> None:
    """Check that environments are what they should be, and change nothing. Exit status 1 when a check fails.

    Example: chill-provision verify acme
    """
    from provision import verify as checks
    from provision.listing import checks_table
    from provision.progress import checking

    loaded = load(fleet)
    instances = [loaded.instance(slug) for slug in slugs] if slugs else list(loaded.instances.values())
    results = []
    for instance in instances:
        with checking(messages(), f"verifying {instance.slug}") as report:
            results += checks.run(loaded, instance, report)
    data = [
        {"environment": one.environment, "check": one.name, "passed": one.passed, "message": one.message}
        for one in results
    ]
    output(checks_table(results), data, as_json)
    broken = sum(not result.passed for result in results)
    if broken:
        raise ChillError(
            f"{broken} of {len(results)} checks did not pass",
            " ".join(("try: chill-provision apply", *slugs)),
        )
