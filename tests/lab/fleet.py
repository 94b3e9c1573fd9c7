"""A fleet directory for machines of the lab: settings, inventory, private CA, release."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Mapping
from pathlib import Path

import yaml

from provision.init import init_fleet
from tests.fixtures.pack_release import Release, pack

DOMAIN = "chill.pro"
FINGERPRINT = "0123456789ABCDEF0123456789ABCDEF01234567"

_SETTINGS = """\
domain = {domain}
support_domain = "support.example.org"
timezone = "Europe/Brussels"
server_mail_relay = {relay}

[release]
version = {version}
archive = {archive}
sha256 = {sha256}

[mail]
sender = "adminsys@example.org"
host = {mail_host}
port = {mail_port}

[openpgp]
home = {gnupg_home}

{tls}

[ssh]
config = "ssh_config"
"""
# No DNS knows the lab's names.
TLS = """\
[tls]
ca_certificate = "ca/ca.pem"
ca_key = "ca/ca.key"

[dns]
check = false"""
# The lab's own configuration knows machines by name; the inventory names an address, as for a rented server.
_SSH_CONFIG = """\
Include {lab}
Host 10.77.0.*
    User root
    IdentityFile {key}
    IdentitiesOnly yes
    UserKnownHostsFile {known_hosts}
    GlobalKnownHostsFile /dev/null
    StrictHostKeyChecking yes
    UpdateHostKeys no
    LogLevel ERROR
"""


def make_fleet(
    directory: Path,
    servers: Mapping[str, str],
    ssh_config: Path,
    *,
    gnupg_home: Path | None = None,
    mail: tuple[str, int] = ("127.0.0.1", 25),
    release: Release | None = None,
    tls: str = TLS,
    variables: Mapping[str, Mapping[str, object]] | None = None,
) -> Path:
    """Write a fleet directory for `servers` (name and address), reached by the lab's `ssh_config`.

    `mail` takes the letters as well as what the servers send. `tls` is the text of `[tls]` and `[dns]`.
    `variables` are those of inventory groups
    (`production`, `test`, `servers`). The release is the test application, unless another is given.
    """
    init_fleet(directory)
    # A copy: the cached archive goes when the application's sources change.
    release = release or pack(directory / "releases")
    settings = {
        "domain": DOMAIN,
        "relay": f"[{mail[0]}]:{mail[1]}",
        "version": release.version,
        "archive": str(release.path),
        "sha256": release.sha256,
        "mail_host": mail[0],
        "mail_port": mail[1],
        "gnupg_home": str(gnupg_home or directory / "gnupg"),
    }
    quoted = {key: json.dumps(value) for key, value in settings.items()}
    (directory / "chill.toml").write_text(_SETTINGS.format(**quoted, tls=tls))
    hosts = {name: {"ansible_host": address} for name, address in servers.items()}
    _write_yaml(directory / "inventory/servers.yml", {"servers": {"hosts": hosts}})
    for group, values in (variables or {}).items():
        _write_yaml(directory / "inventory/group_vars" / f"{group}.yml", dict(values))
    keys = {name: ssh_config.with_name(name) for name in ("key", "known_hosts")}
    (directory / "ssh_config").write_text(_SSH_CONFIG.format(lab=ssh_config, **keys))
    _make_authority(directory / "ca")
    return directory


def add_instance(fleet: Path, slug: str, server: str, test_server: str | None = None) -> None:
    """Write an instance's inventory file, as `chill-provision create` does before it runs the playbook."""
    group, production, test = f"chill_{slug.replace('-', '_')}", f"{slug}.{DOMAIN}", f"{slug}-test.{DOMAIN}"
    variables = {
        "client": "L'ASBL Été",
        "responsible": {"name": "Camille", "email": "camille@example.org", "fingerprint": FINGERPRINT},
        "contract": {"starts": "2026-03-01", "ends": None, "tariff": "standard"},
    }
    document = {
        group: {"hosts": {production: {}, test: {}}, "vars": variables},
        "production": {"hosts": {production: {"instance": slug, "server": server}}},
        "test": {"hosts": {test: {"instance": slug, "server": test_server or server}}},
    }
    _write_yaml(fleet / "inventory/instances" / f"{slug}.yml", document)


def _write_yaml(path: Path, document: Mapping[str, object]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(yaml.safe_dump(dict(document), sort_keys=False, allow_unicode=True))


def _make_authority(directory: Path) -> None:
    """A CA of its own: `ca.pem` and `ca.key`."""
    directory.mkdir()
    certificate, key = directory / "ca.pem", directory / "ca.key"
    command = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"]
    command += ["-keyout", str(key), "-out", str(certificate), "-days", "3650", "-subj", "/CN=Lab authority"]
    for extension in ("basicConstraints=critical,CA:TRUE", "keyUsage=critical,keyCertSign,cRLSign"):
        command += ["-addext", extension]
    subprocess.run(command, check=True, capture_output=True)
    key.chmod(0o600)
