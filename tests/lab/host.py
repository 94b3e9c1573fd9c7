"""What this host must be and have for the lab to run on it."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

from tests.lab import disk, network, paths, processes
from tests.lab.errors import LabError
from tests.lab.image import say

# Debian package: a command of it that the lab calls.
PACKAGES = {
    "mmdebstrap": "mmdebstrap",
    "debian-archive-keyring": None,
    "systemd-container": "systemd-nspawn",
    "iproute2": "ip",
    "nftables": "nft",
    "openssh-client": "ssh",
}
_KEYRING = Path("/usr/share/keyrings/debian-archive-keyring.gpg")
_CAPABILITIES = {"CAP_NET_ADMIN": 12, "CAP_SYS_CHROOT": 18, "CAP_SYS_ADMIN": 21, "CAP_MKNOD": 27}


def unavailable() -> str | None:
    """Why the lab cannot run here, in one sentence; None when it can."""
    if not Path("/proc/self/ns/pid").exists():
        return "the lab needs Linux"
    if os.geteuid() != 0:
        return "the lab boots machines, and that needs root: run it as root"
    held = _effective_capabilities()
    if missing := [name for name, bit in _CAPABILITIES.items() if not held >> bit & 1]:
        return f"root lacks {', '.join(missing)} here: run it on a machine, or in a privileged container"
    if missing_packages() and not shutil.which("apt-get"):
        return f"{', '.join(missing_packages())} are missing, and there is no apt-get to install them"
    if not processes.hierarchies():
        return "/sys/fs/cgroup holds no tree for systemd: mount one (mount -t cgroup2 none /sys/fs/cgroup)"
    if interface := network.elsewhere():
        return f"the lab's network {network.PREFIX}0/24 is already behind {interface}"
    return _no_overlay() or _no_cgroup()


def complete_path() -> None:
    """Let the system's commands be found, whichever way this user became root: plain `su` leaves them out."""
    path = os.environ.get("PATH", os.defpath)
    if "/usr/sbin" not in path.split(":"):
        os.environ["PATH"] = f"{path}:/usr/sbin:/sbin"


def require_root() -> None:
    """Raise LabError unless this is root."""
    if os.geteuid() != 0:
        raise LabError("the lab boots machines, and that needs root", "run it as root")


def missing_packages() -> list[str]:
    """Which of PACKAGES this host has not."""
    return [
        package
        for package, command in PACKAGES.items()
        if not (shutil.which(command) if command else _KEYRING.exists())
    ]


def ensure_packages() -> None:
    """Install what the lab needs and this host has not; LabError with apt's words when that fails."""
    missing = missing_packages()
    if not missing:
        return
    say(f"installing {' '.join(missing)}")
    apt = ["apt-get", "-q", "-y", "-o", "DPkg::Lock::Timeout=300"]
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    for command in [*apt, "update"], [*apt, "install", "--no-install-recommends", *missing]:
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
        if done.returncode:
            last = (done.stderr or done.stdout).strip().splitlines()[-5:]
            raise LabError("\n".join([f"{' '.join(command)} failed:", *last]), "install them by hand")


def _effective_capabilities() -> int:
    for line in Path("/proc/self/status").read_text(encoding="ascii", errors="replace").splitlines():
        if line.startswith("CapEff:"):
            return int(line.split()[1], 16)
    return 0


def _no_overlay() -> str | None:
    trial = paths.staging()
    parts = [trial / part for part in ("lower", "upper", "work", "root")]
    for part in parts:
        part.mkdir()
    lower, upper, work, target = parts
    try:
        disk.overlay([lower], upper, work, target)
    except LabError as error:
        return f"an overlay cannot be mounted in {paths.DATA} (put a real disk there): {error}".splitlines()[0]
    else:
        disk.unmount(target)
    finally:
        shutil.rmtree(trial, ignore_errors=True)
    return None


def _no_cgroup() -> str | None:
    for group in processes.groups(os.getpid()):
        try:
            group.mkdir()
            group.rmdir()
        except OSError as error:
            return f"control groups cannot be made in {group.parent}: {error.strerror}"
    return None
