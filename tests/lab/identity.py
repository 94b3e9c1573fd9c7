"""What makes a machine out of an image: name, address, keys. Written once, as its first layer."""

from __future__ import annotations

import subprocess
import uuid
from pathlib import Path

from tests.lab import network, paths, state
from tests.lab.state import Record

DOMAIN = "lab.test"  # a top-level domain that never exists outside (RFC 6761)

_NETWORK = """\
[Match]
Name=host0

[Network]
Address={address}/24
Gateway={gateway}
LinkLocalAddressing=no
IPv6AcceptRA=no
"""
_SSH_HOST = """\
Host {name}
    HostName {address}
    User root
    IdentityFile {key}
    IdentitiesOnly yes
    UserKnownHostsFile {known_hosts}
    GlobalKnownHostsFile /dev/null
    StrictHostKeyChecking yes
    UpdateHostKeys no
    BatchMode yes
    ConnectTimeout 10
    LogLevel ERROR
"""


def key(scope: str) -> Path:
    """The private key that opens all machines of a scope."""
    return paths.SCOPES / scope / "key"


def known_hosts(scope: str) -> Path:
    """The host keys of a scope's machines, by name and address."""
    return paths.SCOPES / scope / "known_hosts"


def ssh_config(scope: str) -> Path:
    """The file for `ssh -F` that knows a scope's machines by name."""
    return paths.SCOPES / scope / "ssh_config"


def furnish(record: Record, layer: Path) -> None:
    """Write the files of a new machine into `layer`, a directory that will lie over the image.

    The caller holds the lab's lock: the scope's key is made here if it has none.
    """
    if not key(record.scope).exists():
        key(record.scope).parent.mkdir(parents=True, exist_ok=True)
        _generate(key(record.scope), f"lab {record.scope}")
    # Directories of the image, with the modes they have there: the upper one's mode is what counts.
    for directory, mode in (
        ("etc", 0o755),
        ("etc/ssh", 0o755),
        ("etc/systemd", 0o755),
        ("etc/systemd/network", 0o755),
    ):
        (layer / directory).mkdir(mode=mode, parents=True)
    (layer / "root").mkdir(mode=0o700)
    (layer / "root/.ssh").mkdir(mode=0o700)
    _generate(layer / "etc/ssh/ssh_host_ed25519_key", f"root@{record.name}")
    # A number before 80: systemd's own 80-container-host0.network would win otherwise.
    texts = {
        "etc/hostname": f"{record.name}\n",
        "etc/mailname": f"{full_name(record.name)}\n",
        "etc/hosts": _hosts(record),
        "etc/machine-id": f"{uuid.uuid4().hex}\n",
        "etc/resolv.conf": network.resolver(),
        "etc/systemd/network/10-host0.network": _NETWORK.format(address=record.address, gateway=network.HOST),
        "root/.ssh/authorized_keys": key(record.scope).with_suffix(".pub").read_text(encoding="utf-8"),
    }
    for name, text in texts.items():
        (layer / name).write_text(text, encoding="utf-8")
        (layer / name).chmod(0o600 if name.startswith("root/") else 0o644)


def full_name(name: str) -> str:
    """A machine's name with a domain: its own, if it has one."""
    return name if "." in name else f"{name}.{DOMAIN}"


def write_ssh_files(scope: str) -> None:
    """Bring a scope's known_hosts and ssh_config up to its present machines."""
    hosts, config = [], []
    for record in state.records(scope):
        public = record.directory / "layers/0001/etc/ssh/ssh_host_ed25519_key.pub"
        algorithm, blob = public.read_text(encoding="ascii").split()[:2]
        names = dict.fromkeys((record.name, full_name(record.name), record.address))
        hosts.append(f"{','.join(names)} {algorithm} {blob}\n")
        files = {"key": key(scope), "known_hosts": known_hosts(scope)}
        config.append(_SSH_HOST.format(name=record.name, address=record.address, **files))
    paths.write_whole(known_hosts(scope), "".join(hosts))
    paths.write_whole(ssh_config(scope), "\n".join(config))


def _hosts(record: Record) -> str:
    lines = ["127.0.0.1 localhost", "::1 localhost ip6-localhost ip6-loopback"]
    for machine in [record, *state.records(record.scope)]:
        names = dict.fromkeys((full_name(machine.name), machine.name.split(".", maxsplit=1)[0]))
        lines.append(f"{machine.address} {' '.join(names)}")
    return "\n".join(lines) + "\n"


def _generate(file: Path, comment: str) -> None:
    subprocess.run(
        ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", comment, "-f", str(file)],
        stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, check=True,
    )  # fmt: skip
