#!/usr/bin/python3
"""Ansible module: what a server already has of an environment, in one question."""

from __future__ import annotations

import pwd
from collections.abc import Callable
from pathlib import Path

from ansible.module_utils.basic import AnsibleModule

DOCUMENTATION = """
module: chill_environment_facts
short_description: What a server already has of an environment
description: Changes nothing. The role decides by the answer which of its costly steps are needed.
options:
  home: {type: path, required: true}
  user: {type: str, required: true}
  domain: {type: str, required: true}
  version: {type: str, required: true, description: of the release}
  tls_directory: {type: path, required: true, description: holds key.pem and certificate.pem}
  tls_mode: {type: str, choices: [private-ca, wildcard, acme], required: true}
  origin:
    description: PEM text of the CA that must have signed it, or of the wildcard certificate; or the directory's URL
    type: str
    required: true
  renew_before_days: {type: int, default: 30}
"""

RETURN = """
layout:
  description: number that the server's playbook left in /etc/chill/prepared; 0 when it never ran to its end
  type: int
user_exists: {type: bool}
release_sha256:
  description: checksum of the archive this version was installed from; empty when it is not there
  type: str
current: {description: version that is in service, type: str}
certificate_fault: {description: why a new certificate is needed; empty when none is, type: str}
"""

PREPARED = Path("/etc/chill/prepared")
LETSENCRYPT = Path("/etc/letsencrypt")


def read(path: Path) -> str:
    try:
        return path.read_text(encoding="ascii").strip()
    except (FileNotFoundError, NotADirectoryError):
        return ""


def layout() -> int:
    text = read(PREPARED)
    return int(text) if text.isdigit() else 0


def user_exists(name: str) -> bool:
    try:
        pwd.getpwnam(name)
    except KeyError:
        return False
    return True


def current(home: Path) -> str:
    link = home / "current"
    return link.readlink().name if link.is_symlink() else ""


Openssl = Callable[..., tuple[int, str]]


def certificate_fault(module: AnsibleModule) -> str:
    """Why the certificate does not serve, in words; empty when it does."""
    directory = Path(module.params["tls_directory"])
    key, certificate = str(directory / "key.pem"), str(directory / "certificate.pem")
    if not (Path(key).exists() and Path(certificate).exists()):
        return "there is none"

    def openssl(*arguments: str, data: str | None = None) -> tuple[int, str]:
        code, output, _ = module.run_command(["openssl", *arguments], data=data)
        return code, output

    seconds = str(module.params["renew_before_days"] * 86400)
    # A wildcard certificate is as long as it is: another one comes with the settings.
    if (
        module.params["tls_mode"] != "wildcard"
        and openssl("x509", "-in", certificate, "-noout", "-checkend", seconds)[0]
    ):
        return "it expires soon"
    domain = module.params["domain"]
    if "does match" not in openssl("x509", "-in", certificate, "-noout", "-checkhost", domain)[1]:
        return "it is for another name"
    fault = ORIGINS[module.params["tls_mode"]](module, certificate, openssl)
    if fault:
        return fault
    if openssl("pkey", "-in", key, "-pubout") != openssl("x509", "-in", certificate, "-noout", "-pubkey"):
        return "it belongs to another key"
    return ""


def not_from_ca(module: AnsibleModule, certificate: str, openssl: Openssl) -> str:
    ca = module.params["origin"].strip() + "\n"
    signed = openssl("verify", "-CAfile", "/dev/stdin", certificate, data=ca)[0] == 0
    return "" if signed else "another authority signed it"


def not_the_wildcard(module: AnsibleModule, certificate: str, _openssl: Openssl) -> str:
    same = read(Path(certificate)) == module.params["origin"].strip()
    return "" if same else "it is another than the settings name"


def not_from_directory(module: AnsibleModule, certificate: str, _openssl: Openssl) -> str:
    domain, directory = module.params["domain"], module.params["origin"]
    renewal = read(LETSENCRYPT / "renewal" / f"{domain}.conf")
    if not renewal or read(LETSENCRYPT / "live" / domain / "fullchain.pem") != read(Path(certificate)):
        return "it did not come from the directory"
    return "" if f"server = {directory}" in renewal.splitlines() else "it came from another directory"


ORIGINS = {"private-ca": not_from_ca, "wildcard": not_the_wildcard, "acme": not_from_directory}


def main() -> None:
    text = {"type": "str", "required": True}
    path = {"type": "path", "required": True}
    module = AnsibleModule(
        argument_spec={
            "home": path,
            "user": text,
            "domain": text,
            "version": text,
            "tls_directory": path,
            "tls_mode": {"type": "str", "required": True, "choices": list(ORIGINS)},
            "origin": text,
            "renew_before_days": {"type": "int", "default": 30},
        },
        supports_check_mode=True,
    )
    home = Path(module.params["home"])
    module.exit_json(
        changed=False,
        layout=layout(),
        user_exists=user_exists(module.params["user"]),
        release_sha256=read(home / "releases" / module.params["version"] / ".release"),
        current=current(home),
        certificate_fault=certificate_fault(module),
    )


if __name__ == "__main__":
    main()
