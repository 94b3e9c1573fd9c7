"""What a fleet holds: `list` and `show`, as tables for people and as values for programs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from datetime import date
from typing import TYPE_CHECKING, Any

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from provision.fleet import Fleet, Instance
from provision.graph import Expiry, expiry, reminder
from provision.journal import Entry, Journal, last_letter_delivered, letter_sent, overall, reason, states
from provision.names import KINDS

if TYPE_CHECKING:
    # Only its shape is needed here: `list` should not wait for the checks' libraries.
    from provision.locks import Lock
    from provision.verify import CheckResult

LAST_ENTRIES = 10
# States of which one asks why.
EXPLAINED = ("degraded", "failed")
STYLES = {
    "ready": "green",
    "creating": "yellow",
    "planned": "yellow",
    "degraded": "yellow",
    "failed": "red",
    "suspended": "dim",
    "archived": "dim",
}


def instance_values(instance: Instance, entries: Sequence[Entry], today: date) -> dict[str, Any]:
    """An instance as JSON values.

    Contract and people, both environments with their state, whether the letter was sent, and until when the secret
    of Microsoft Graph works (null when there is none).
    """
    domains = [environment.domain for environment in instance.names.environments]
    state = states(entries, domains)
    secret = expiry(entries, today)
    return {
        "instance": instance.slug,
        "client": instance.client,
        "state": overall(state.values()),
        "environments": {
            kind: {
                "domain": environment.domain,
                "url": f"https://{environment.domain}",
                "server": instance.servers[kind],
                "state": state[environment.domain],
                "reason": reason(entries, environment.domain) if state[environment.domain] in EXPLAINED else "",
                "user": environment.user,
                "database": environment.database,
                "home": environment.home,
            }
            for kind, environment in zip(KINDS, instance.names.environments, strict=True)
        },
        "support_address": instance.names.support_address,
        "contract": instance.contract.model_dump(mode="json"),
        "responsible": instance.responsible.model_dump(mode="json"),
        "contacts": {role: person.model_dump(mode="json") for role, person in instance.contacts.items()},
        "letter_sent": letter_sent(entries),
        "letter_delivered": last_letter_delivered(entries),
        "graph": {"expires": secret.expires.isoformat(), "days": secret.days} if secret else None,
    }


def list_values(fleet: Fleet, today: date) -> list[dict[str, Any]]:
    """Every instance, by slug, as in `instance_values`."""
    journal = Journal(fleet.journal)
    return [instance_values(instance, journal.read(slug), today) for slug, instance in sorted(fleet.instances.items())]


def reminders(rows: Sequence[Mapping[str, Any]]) -> Sequence[str]:
    """What somebody should see to soon: secrets that end, of instances in use. `rows` as of `list_values`."""
    told = []
    for row in rows:
        if row["graph"] and row["state"] != "archived":
            found = Expiry(date.fromisoformat(row["graph"]["expires"]), row["graph"]["days"])
            told += [reminder(row["instance"], found)] if found.due else []
    return told


def list_table(rows: Sequence[Mapping[str, Any]]) -> RenderableType:
    table = Table(
        "instance", "client", "state", "production on", "test on", "since", "tariff", box=None, pad_edge=False
    )
    for row in rows:
        contract = row["contract"]
        since = contract["starts"] + (f" until {contract['ends']}" if contract["ends"] else "")
        servers = [row["environments"][kind]["server"] for kind in KINDS]
        table.add_row(row["instance"], Text(row["client"]), _state(row["state"]), *servers, since, contract["tariff"])
    return table


def show_values(fleet: Fleet, slug: str, today: date) -> dict[str, Any]:
    """One instance, with the last lines of its journal."""
    instance = fleet.instance(slug)
    entries = Journal(fleet.journal).read(slug)
    return instance_values(instance, entries, today) | {"journal": [asdict(entry) for entry in entries[-LAST_ENTRIES:]]}


def show_table(values: Mapping[str, Any]) -> RenderableType:
    contract, responsible = values["contract"], values["responsible"]
    until = f" until {contract['ends']}" if contract["ends"] else ""
    facts = Table.grid(padding=(0, 2))
    facts.add_row("instance", Text(values["instance"], style="bold"))
    facts.add_row("client", Text(values["client"]))
    for kind, environment in values["environments"].items():
        where = Text.assemble(environment["url"], " on ", environment["server"], ": ", _state(environment["state"]))
        facts.add_row(kind, where)
        if environment["reason"]:
            facts.add_row("", Text(environment["reason"], style=STYLES[environment["state"]]))
        facts.add_row("", Text(f"user {environment['user']}, database {environment['database']}", style="dim"))
    facts.add_row("contract", f"from {contract['starts']}{until}, tariff {contract['tariff']}")
    facts.add_row("responsible", Text(f"{responsible['name']} <{responsible['email']}>"))
    facts.add_row("key", responsible["fingerprint"])
    for role, person in values["contacts"].items():
        facts.add_row(f"{role} contact", Text(f"{person['name']} <{person['email']}>"))
    facts.add_row("support", Text(values["support_address"]))
    facts.add_row("letter", _letter(values))
    if values["graph"]:
        secret = Expiry(date.fromisoformat(values["graph"]["expires"]), values["graph"]["days"])
        facts.add_row("Microsoft Graph", Text(f"secret {secret}", style="yellow" if secret.due else ""))
    return Group(facts, Text(), _journal_table(values["journal"])) if values["journal"] else facts


def _letter(values: Mapping[str, Any]) -> str:
    """Whether those who need them hold the passwords."""
    if values["letter_delivered"]:
        return "sent"
    slug = values["instance"]
    command = f"credentials rotate {slug}" if values["letter_sent"] else f"create {slug}"
    state = "the last one was not delivered" if values["letter_sent"] else "not sent yet"
    return f"{state}; chill-provision {command} makes new passwords and sends them"


def _journal_table(entries: Sequence[Mapping[str, Any]]) -> Table:
    table = Table("time", "who", "command", "event", "result", "detail", box=None, pad_edge=False)
    for entry in entries:
        detail = Text(entry["detail"].replace("\n", "; "), overflow="ellipsis", no_wrap=True)
        event = entry["event"].replace("_", " ")
        table.add_row(entry["time"], entry["who"], entry["command"], event, entry["result"], detail)
    return table


def locks_table(locks: Sequence[Lock]) -> RenderableType:
    """Every lock with who holds it, since when, what for."""
    table = Table("what", "who", "since", "what for", "", box=None, pad_edge=False)
    for lock in locks:
        stale = Text("stale: its process is gone", style="yellow") if lock.stale else Text()
        table.add_row(lock.subject, Text(lock.who), lock.since, Text(lock.purpose), stale)
    return table


def _state(state: str) -> Text:
    return Text(state, style=STYLES[state])


def checks_table(checks: Sequence[CheckResult]) -> RenderableType:
    """Every check with its result; of one that did not pass, why."""
    table = Table("environment", "check", "result", box=None, pad_edge=False)
    for check in checks:
        result = Text("ok", style="green") if check.passed else Text(check.message or "did not pass", style="red")
        table.add_row(check.environment, Text(check.name), result)
    return table
