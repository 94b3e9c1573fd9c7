"""Fleet directories for tests: valid as they come, so that each test breaks one thing."""

from __future__ import annotations

import hashlib
from pathlib import Path

FINGERPRINT = "0123456789ABCDEF0123456789ABCDEF01234567"
ARCHIVE = b"not really an archive: its checksum is what counts here"
SERVERS = """\
servers:
  hosts:
    srv1.example.net: {ansible_host: 127.0.0.1}
    srv2.example.net: {ansible_host: 127.0.0.1}
"""
SETTINGS = """\
domain = "chill.pro"
support_domain = "support.example.org"

[release]
version = "1.0.0"
archive = "releases/chill.tar.gz"
sha256 = "{sha256}"

[mail]
sender = "adminsys@example.org"

[openpgp]
home = "{keyring}"

[tls]
ca_certificate = "tls/ca.crt"
ca_key = "tls/ca.key"

[ssh]
config = "ssh_config"
"""
INSTANCE = """\
chill_{group}:
  hosts: {{{slug}.chill.pro: {{}}, {slug}-test.chill.pro: {{}}}}
  vars:
    client: "ASBL Acme"
    responsible: {{name: "Camille Dubois", email: "camille@example.org", fingerprint: "{fingerprint}"}}
    contract: {{starts: 2026-03-01, ends: null, tariff: "standard"}}
production:
  hosts:
    {slug}.chill.pro: {{instance: "{slug}", server: srv1.example.net}}
test:
  hosts:
    {slug}-test.chill.pro: {{instance: "{slug}", server: srv2.example.net}}
"""


def make_fleet(directory: Path, keyring: str = "gnupg") -> Path:
    """A fleet without instances whose files are all in order. Nothing listens at its servers' SSH port."""
    for name in ("inventory/instances", "tariffs", "journal", "ledger", "releases", "tls"):
        (directory / name).mkdir(parents=True)
    (directory / "releases/chill.tar.gz").write_bytes(ARCHIVE)
    sha256 = hashlib.sha256(ARCHIVE).hexdigest()
    (directory / "chill.toml").write_text(SETTINGS.format(sha256=sha256, keyring=keyring))
    (directory / "inventory/servers.yml").write_text(SERVERS)
    (directory / "tariffs/standard.toml").write_text('currency = "EUR"\n')
    (directory / "tls/ca.crt").touch()
    (directory / "tls/ca.key").touch()
    # Port 1 (tcpmux) is one where no SSH server answers.
    (directory / "ssh_config").write_text("Host *\n  Port 1\n  UserKnownHostsFile /dev/null\n")
    return directory


def add_instance(fleet: Path, slug: str, fingerprint: str = FINGERPRINT) -> Path:
    """An instance as an adminsys might write it by hand: production on srv1, test on srv2."""
    path = fleet / "inventory/instances" / f"{slug}.yml"
    path.write_text(INSTANCE.format(slug=slug, group=slug.replace("-", "_"), fingerprint=fingerprint))
    return path


def tree(directory: Path) -> dict[str, bytes]:
    """Every file below a directory with its content: to show that nothing was changed."""
    return {
        str(path.relative_to(directory)): path.read_bytes() if path.is_file() else b""
        for path in sorted(directory.rglob("*"))
        if "S." not in path.name
    }
