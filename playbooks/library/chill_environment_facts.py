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
  site_passwords: {type: path, description: 'of a test environment, the file with the passwords of its site'}
  site_account: {type: str, description: account of people in that file}
  site_password_comes: {type: bool, default: false, description: whether this run brings a password for it}
  database_sql: {type: str, default: '', description: 'statements that print what the database lacks; empty: not asked'}
  console: {type: list, elements: str, required: true, description: the application's command line}
  pending: {type: path, required: true, description: where an interrupted run leaves what must follow}
"""

RETURN = """
layout:
  description: number that the server's playbook left in /etc/chill/prepared; 0 when it never ran to its end
  type: int
uid: {description: of the user; 0 when there is none, type: int}
user_fit: {description: 'whether the user is as this role makes it', type: bool}
database_fit: {description: 'whether O(database_sql) found nothing to do', type: bool}
migrated: {description: 'whether the database suits the release in service, and nothing was cut off', type: bool}
release_sha256:
  description: checksum of the archive this version was installed from; empty when it is not there
  type: str
current: {description: version that is in service, type: str}
certificate_fault: {description: why a new certificate is needed; empty when none is, type: str}
resolvers: {description: addresses of the DNS servers that the server asks, type: list}
notice: {description: what the adminsys should know; empty when nothing, type: str}
"""

PREPARED = Path("/etc/chill/prepared")
LETSENCRYPT = Path("/etc/letsencrypt")
NO_LOGIN = "/usr/sbin/nologin"
PSQL = [
    "runuser",
    "-u",
    "postgres",
    "--",
    "psql",
    "--no-psqlrc",
    "--tuples-only",
    "--no-align",
    "--set=ON_ERROR_STOP=1",
]


def read(path: Path) -> str:
    try:
        return path.read_text(encoding="ascii").strip()
    except (FileNotFoundError, NotADirectoryError):
        return ""


def layout() -> int:
    text = read(PREPARED)
    return int(text) if text.isdigit() else 0


def user(name: str) -> pwd.struct_passwd | None:
    try:
        return pwd.getpwnam(name)
    except KeyError:
        return None


def user_fit(module: AnsibleModule, found: pwd.struct_passwd | None) -> bool:
    """Whether a user is what the role's task `Make the user` asks for."""
    if found is None:
        return False
    wanted = (module.params["home"], NO_LOGIN, module.params["domain"])
    return (found.pw_dir, found.pw_shell, found.pw_gecos) == wanted and is_locked(found.pw_name)


def is_locked(name: str) -> bool:
    """Whether no password opens an account (shadow(5))."""
    for line in read(Path("/etc/shadow")).splitlines():
        fields = line.split(":")
        if fields[0] == name:
            return fields[1][:1] in ("!", "*")
    return False


def database_fit(module: AnsibleModule) -> bool:
    """Whether the statements print nothing. Where they cannot be asked, the role's task tells why."""
    if not module.params["database_sql"]:
        return False
    code, output, _ = module.run_command(PSQL, data=module.params["database_sql"], cwd="/")
    return code == 0 and not output.strip()


def migrated(module: AnsibleModule, home: Path) -> bool:
    """Whether the application finds its database up to date. Where it cannot be asked, the role's task tells why."""
    cut_off = (Path(module.params["pending"]) / "migrate").exists()
    # Of an environment that is out of service, nothing is asked.
    if cut_off or not module.params["database_sql"] or current(home) != module.params["version"]:
        return False
    arguments = [*module.params["console"], "doctrine:migrations:up-to-date"]
    return bool(module.run_command(arguments, cwd=str(home / "current"))[0] == 0)


def current(home: Path) -> str:
    link = home / "current"
    return link.readlink().name if link.is_symlink() else ""


def resolvers() -> list[str]:
    """The name servers of /etc/resolv.conf; one that is bound to an interface is left out."""
    lines = (line.split() for line in read(Path("/etc/resolv.conf")).splitlines())
    return [words[1] for words in lines if words[:1] == ["nameserver"] and len(words) > 1 and "%" not in words[1]]


def notice(module: AnsibleModule, in_service: bool) -> str:
    """That nobody can enter the site of a test environment, when it is so and stays so."""
    passwords, account = module.params["site_passwords"], module.params["site_account"]
    if not in_service or not passwords or module.params["site_password_comes"]:
        return ""
    if any(line.startswith(f"{account}:") for line in read(Path(passwords)).splitlines()):
        return ""
    return "closed: nobody was given the password of its site yet. First: chill-provision credentials rotate"


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
            "site_passwords": {"type": "path", "no_log": False},
            "site_account": {"type": "str"},
            "site_password_comes": {"type": "bool", "default": False, "no_log": False},
            "database_sql": {"type": "str", "default": ""},
            "console": {"type": "list", "elements": "str", "required": True},
            "pending": path,
        },
        supports_check_mode=True,
    )
    home = Path(module.params["home"])
    told = notice(module, bool(current(home)))
    if told:
        module.warn(f"{module.params['domain']}: {told}")
    found = user(module.params["user"])
    module.exit_json(
        changed=False,
        layout=layout(),
        uid=found.pw_uid if found else 0,
        user_fit=user_fit(module, found),
        database_fit=database_fit(module),
        migrated=migrated(module, home),
        release_sha256=read(home / "releases" / module.params["version"] / ".release"),
        current=current(home),
        resolvers=resolvers(),
        notice=told,
        certificate_fault=certificate_fault(module),
    )


if __name__ == "__main__":
    main()
