"""What each image is made of. A changed recipe gives an image of another name, and the old one goes."""

from __future__ import annotations

import hashlib
import json
import os
import re
import shlex
import subprocess
from dataclasses import asdict, dataclass
from pathlib import Path

from tests.lab.errors import RequestError

SUITE = "bookworm"

# A Debian that boots, answers over ssh and can be driven by Ansible; no more, as a freshly rented server.
_BARE = (
    "systemd", "systemd-sysv", "dbus", "openssh-server", "python3", "python3-apt", "iproute2",
    "ca-certificates", "sudo", "locales", "cron", "procps",
)  # fmt: skip

# What a prepared server has installed, not yet configured: it only saves the time of downloading.
_STOCKED = (
    "nginx",
    "php8.2-fpm", "php8.2-cli", "php8.2-curl", "php8.2-gd", "php8.2-intl", "php8.2-mbstring", "php8.2-pgsql",
    "php8.2-redis", "php8.2-xml", "php8.2-zip",
    "postgresql-15", "postgresql-15-postgis-3", "redis-server", "postfix", "rsyslog", "logrotate",
    "nftables", "unattended-upgrades", "acl", "rsync", "faketime", "certbot",
    "python3-click", "python3-cryptography", "python3-psycopg", "python3-psycopg2",
)  # fmt: skip

# Debian's own defaults, answered beforehand since nobody sits at the terminal.
_ANSWERS = (
    "postfix postfix/main_mailer_type select Internet Site",
    "postfix postfix/mailname string image.lab.test",
)

# Run in a shell with the new tree in $1: before the packages are unpacked, and after all are configured.
_BEFORE = (
    'echo image > "$1/etc/hostname"',
    # As on Debian's own cloud images; without it PostgreSQL makes its cluster in SQL_ASCII.
    'echo LANG=C.UTF-8 > "$1/etc/default/locale"',
)
_AFTER = (
    'chroot "$1" systemctl --quiet enable ssh.service systemd-networkd.service',
    # A machine that was just made has missed no nightly upgrade: it need not catch up while a test uses apt.
    'for t in apt-daily apt-daily-upgrade; do mkdir -p "$1/etc/systemd/system/$t.timer.d"; '
    'printf "[Timer]\\nPersistent=false\\n" > "$1/etc/systemd/system/$t.timer.d/lab.conf"; done',
    # Every machine gets its own.
    'rm -f "$1"/etc/ssh/ssh_host_* "$1/etc/machine-id" "$1/etc/resolv.conf"',
)
_CERTIFICATES = Path("/usr/local/share/ca-certificates")
_APT_SETTINGS = re.compile(r'^Acquire::(?:https?(?:::|\b(?= "))|Check-|Retries|ForceIPv).*"[^"]*";$')


@dataclass(frozen=True)
class Recipe:
    """All that decides what an image holds, this host's way to the packages included."""

    kind: str
    suite: str
    packages: tuple[str, ...]
    answers: tuple[str, ...]
    before: tuple[str, ...]
    after: tuple[str, ...]
    apt: tuple[str, ...]
    certificates: tuple[str, ...]

    @property
    def name(self) -> str:
        """The image's name: its kind and a digest of the recipe."""
        digest = hashlib.sha256(json.dumps(asdict(self)).encode()).hexdigest()
        return f"{self.kind}-{digest[:12]}"

    def command(self, target: Path) -> list[str]:
        """The command that builds the image at `target`."""
        before = list(self.before)
        if self.answers:
            before.append(f'printf "%s\\n" {shlex.join(self.answers)} | chroot "$1" debconf-set-selections')
        after = list(self.after)
        if self.certificates:
            place = f'"$1{_CERTIFICATES}"'
            after.append(f'mkdir -p {place}; cp -r {_CERTIFICATES}/. {place}; chroot "$1" update-ca-certificates')
        return [
            # Mounts and host name of its own: what a killed build had mounted goes away with it.
            "unshare", "--mount", "--propagation=slave", "--uts",
            "sh", "-c", 'hostname image && exec "$@"', "sh",
            "mmdebstrap", "--mode=root", "--format=directory", "--variant=minbase",
            *(f"--aptopt={setting}" for setting in self.apt),
            f"--include={','.join(self.packages)}",
            *(f"--essential-hook={hook}" for hook in before),
            *(f"--customize-hook={hook}" for hook in after),
            self.suite, str(target),
        ]  # fmt: skip


def recipe(kind: str) -> Recipe:
    """The recipe of `bare` or `stocked` on this host."""
    if kind not in ("bare", "stocked"):
        raise RequestError(f"there is no image {kind!r}", "the images are: bare, stocked")
    stocked = kind == "stocked"
    return Recipe(
        kind=kind,
        suite=SUITE,
        packages=_BARE + _STOCKED if stocked else _BARE,
        answers=_ANSWERS if stocked else (),
        before=_BEFORE,
        after=_AFTER,
        apt=_apt_settings(),
        certificates=tuple(
            f"{file.name} {hashlib.sha256(file.read_bytes()).hexdigest()}"
            for file in sorted(_CERTIFICATES.rglob("*.crt"))
        ),
    )


def _apt_settings() -> tuple[str, ...]:
    """How this host's apt reaches its sources: proxies, certificates, checks of dates."""
    dump = subprocess.run(["apt-config", "dump"], capture_output=True, text=True, check=False).stdout
    settings = [line for line in dump.splitlines() if _APT_SETTINGS.match(line)]
    for scheme in ("http", "https"):
        proxy = os.environ.get(f"{scheme}_proxy")
        if proxy and not any(line.startswith(f"Acquire::{scheme}::Proxy ") for line in settings):
            settings.append(f'Acquire::{scheme}::Proxy "{proxy}";')
    return tuple(settings)
