#!/usr/bin/python3
"""Ansible module: a certificate from an ACME directory, through certbot; not to be had is no failure."""

from __future__ import annotations

import fcntl
import os
import re
from pathlib import Path

from ansible.module_utils.basic import AnsibleModule

DOCUMENTATION = """
module: chill_acme
short_description: A certificate from an ACME directory, or the reason why there is none
description:
  - Orders by the challenge HTTP-01 (RFC 8555), with certbot, which renews from then on by its timer.
  - What keeps the certificate away is returned as RV(degraded), not as a failure, because everything else of the
    environment stands without it. The next run tries again.
  - The key stays the same over renewals.
options:
  domain: {type: str, required: true}
  directory: {type: str, required: true, description: URL of the ACME directory}
  email: {type: str, default: '', description: 'of the account; empty: none'}
  root: {type: path, required: true, description: directory under which challenges are served}
  ca: {type: path, description: PEM file of the authority that signed the directory's own certificate, if it is private}
  obstacle: {type: str, default: '', description: why an order could not succeed; then none is made}
"""

RETURN = """
degraded: {description: why there is no certificate; empty when there is one, type: str, returned: always}
"""

LOCK = "/run/lock/chill-acme"
RENEWAL = Path("/etc/letsencrypt/renewal")
LIVE = Path("/etc/letsencrypt/live")
HOOK = "/etc/letsencrypt/renewal-hooks/deploy/chill"
REASON_LENGTH = 600


def certbot_command(module: AnsibleModule) -> list[str]:
    """The command that orders; a certificate that is there already and still good is kept."""
    given = module.params
    contact = ["--email", given["email"]] if given["email"] else ["--register-unsafely-without-email"]
    again = "--keep-until-expiring" if comes_from(given["domain"]) in ("", given["directory"]) else "--force-renewal"
    return [
        *("certbot", "certonly", "--non-interactive", "--agree-tos", *contact, again, "--reuse-key"),
        *("--server", given["directory"], "--webroot", "--webroot-path", given["root"]),
        *("--cert-name", given["domain"], "--domain", given["domain"]),
    ]


def comes_from(domain: str) -> str:
    """The directory that signed the certificate that certbot knows of; empty when it knows none."""
    file = RENEWAL / f"{domain}.conf"
    found = re.search(r"^server = (\S+)$", file.read_text(encoding="utf-8"), re.MULTILINE) if file.exists() else None
    return found[1] if found else ""


def wake(domain: str) -> None:
    """Take up the renewal of an environment that was archived."""
    resting = RENEWAL / f"{domain}.conf.resting"
    if resting.exists():
        resting.rename(RENEWAL / f"{domain}.conf")


def reason(output: str) -> str:
    """Why certbot failed, from all that it said: the authority's own words when it had any."""
    details = re.findall(r"Detail: (.+)", output)
    if details:
        return " ".join(dict.fromkeys(details))[:REASON_LENGTH]
    chatter = ("Saving debug log", "Ask for help", "See the logfile", "An unexpected error", "Requesting a certificate")
    lines = [line.strip() for line in output.splitlines() if line.strip() and not line.startswith(chatter)]
    return " ".join(lines)[:REASON_LENGTH] or "certbot gave no reason; see /var/log/letsencrypt/letsencrypt.log"


def order(module: AnsibleModule) -> str:
    """Order, and bring what came to nginx; why there is none, or an empty text."""
    domain, ca = module.params["domain"], module.params["ca"]
    with os.fdopen(os.open(LOCK, os.O_RDWR | os.O_CREAT, 0o600)) as lock:
        # certbot refuses to run twice at a time, and a server's environments are built side by side.
        fcntl.flock(lock, fcntl.LOCK_EX)
        wake(domain)
        bundle = {"REQUESTS_CA_BUNDLE": ca} if ca else {}
        code, output, errors = module.run_command(
            certbot_command(module), environ_update={**bundle, "LC_ALL": "C.UTF-8"}
        )
        if code != 0:
            return reason(f"{output}\n{errors}")
        code, output, errors = module.run_command([HOOK], environ_update={"RENEWED_LINEAGE": str(LIVE / domain)})
    if code != 0:
        module.fail_json(msg=f"{HOOK} failed: {' '.join((errors or output).split())}")
    return ""


def main() -> None:
    text = {"type": "str", "required": True}
    module = AnsibleModule(
        argument_spec={
            "domain": text,
            "directory": text,
            "email": {"type": "str", "default": ""},
            "root": {"type": "path", "required": True},
            "ca": {"type": "path"},
            "obstacle": {"type": "str", "default": ""},
        },
        supports_check_mode=True,
    )
    if module.check_mode:
        module.exit_json(changed=True, degraded="")
    degraded = module.params["obstacle"] or order(module)
    module.exit_json(changed=not degraded, degraded=degraded)


if __name__ == "__main__":
    main()
