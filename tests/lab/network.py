"""The lab's own network: a bridge inside this host, and a way out so that apt works."""

from __future__ import annotations

import subprocess
from pathlib import Path

from tests.lab import paths, state
from tests.lab.errors import LabError

BRIDGE = "br-lab"
PREFIX = "10.77.0."
HOST = f"{PREFIX}1"
TABLE = "petits_chills_lab"
_FORWARD = Path("/proc/sys/net/ipv4/ip_forward")
_RULES = f"""
table ip {TABLE} {{}}
delete table ip {TABLE}
table ip {TABLE} {{
    chain postrouting {{
        type nat hook postrouting priority srcnat; policy accept;
        ip saddr {PREFIX}0/24 oifname != "{BRIDGE}" masquerade
    }}
}}
"""


def free_address(taken: set[str]) -> str:
    """The lowest address of a machine not in `taken`; LabError when all 245 are."""
    for last in range(10, 255):
        if (address := f"{PREFIX}{last}") not in taken:
            return address
    raise LabError("the lab has no address left", "remove machines: python3 -m tests.lab down")


def exists() -> bool:
    """Whether the bridge is there."""
    return Path("/sys/class/net", BRIDGE).exists()


def up() -> None:
    """Bring bridge, forwarding and masquerade up, if they are not. The caller holds the lab's lock."""
    if not exists():
        _run("ip", "link", "add", BRIDGE, "type", "bridge")
    _run("ip", "address", "replace", f"{HOST}/24", "dev", BRIDGE)
    _run("ip", "link", "set", BRIDGE, "up")
    before = paths.RUN / "ip_forward"
    if not before.exists():
        paths.write_whole(before, _FORWARD.read_text(encoding="ascii"))
    _FORWARD.write_text("1", encoding="ascii")
    _run("nft", "-f", "-", stdin=_RULES)


def down_if_unused() -> None:
    """Take all of it away when no machine is left. The caller holds the lab's lock."""
    if state.records():
        return
    if exists():
        _run("ip", "link", "delete", BRIDGE)
        _run("nft", "-f", "-", stdin=f"table ip {TABLE} {{}}\ndelete table ip {TABLE}\n")
    before = paths.RUN / "ip_forward"
    if before.exists():
        _FORWARD.write_text(before.read_text(encoding="ascii"), encoding="ascii")
        before.unlink()


def resolver() -> str:
    """The text of /etc/resolv.conf for machines: the host's, or what stands behind its local stub."""
    text = Path("/etc/resolv.conf").read_text(encoding="utf-8")
    uplink = Path("/run/systemd/resolve/resolv.conf")
    return uplink.read_text(encoding="utf-8") if "127.0.0.53" in text and uplink.exists() else text


def elsewhere() -> str | None:
    """The interface that already has the lab's network, when that is not the lab's own bridge."""
    wanted = "".join(f"{int(part):02X}" for part in reversed(f"{PREFIX}0".split(".")))
    for line in Path("/proc/net/route").read_text(encoding="ascii").splitlines()[1:]:
        interface, destination = line.split()[:2]
        if destination == wanted and interface != BRIDGE:
            return interface
    return None


def _run(*command: str, stdin: str | None = None) -> None:
    done = subprocess.run(command, input=stdin, capture_output=True, text=True, check=False)
    if done.returncode:
        raise LabError(f"{' '.join(command)}: {done.stderr.strip() or f'exit status {done.returncode}'}")
