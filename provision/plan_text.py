"""A plan as a person would write it to another. Pure."""

from __future__ import annotations

from provision.names import KINDS
from provision.plan import Plan


def plan_text(plan: Plan) -> str:
    """A plan as a person would write it to another."""
    instance, contract = plan.instance, plan.instance.contract
    until = f" until {contract.ends}" if contract.ends else ""
    opening = "is new" if plan.new else "exists"
    lines = [
        f"{instance.slug}, for {instance.client}, {opening}.",
        "",
        f"Both environments run release {plan.release}:",
        "",
    ]
    for kind, environment in zip(KINDS, instance.names.environments, strict=True):
        lines.append(f"    {kind:<12}https://{environment.domain} on {instance.servers[kind]}")
    if plan.placed:
        lines += ["", f"The server was chosen for its room. {plan.placed}."]
    lines += ["", f"Certificates: {plan.certificates}."]
    if plan.names:
        lines += ["", "In the DNS:", "", *(f"    {finding}" for finding in plan.names)]
        if any(finding.verdict != "right" for finding in plan.names):
            lines += ["", *_what_follows(plan)]
    lines += [
        "",
        f"The contract runs from {contract.starts}{until}, by the tariff {contract.tariff}. "
        f"Questions go to {instance.names.support_address}.",
        "",
    ]
    responsible = f"{instance.responsible.name} <{instance.responsible.email}>"
    if plan.letter:
        owner = f", {plan.key}" if plan.key else ""
        lines += [
            f"The passwords go to {responsible}, {plan.letter},",
            f"to the key {instance.responsible.fingerprint}{owner}.",
        ]
    else:
        lines += [f"{responsible} was given the passwords before; they stay as they are, and no letter is sent."]
    if plan.calendars:
        lines += ["", f"Microsoft Graph takes the credentials for calendars. They go to {plan.calendars}."]
    if plan.missing:
        lines += ["", "Missing, but not needed:", *(f"  - {what}" for what in plan.missing)]
    lines += ["", "Steps:", *(f"  {number}. {step}" for number, step in enumerate(plan.steps, start=1))]
    return "\n".join(lines)


def _what_follows(plan: Plan) -> list[str]:
    """What a name that does not lead to its server means: nothing is refused for it."""
    slug = plan.instance.slug
    return [
        "Nobody finds an environment whose name does not lead to it. It is built all the same; with certificates by",
        f"ACME it is degraded until the record is there and chill-provision apply {slug} was run.",
    ]
