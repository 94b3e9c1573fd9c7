"""What the checks know of an environment: names, where its server is, and what should be there. No secret."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from provision.errors import ChillError
from provision.fleet import Fleet, Instance, Lifecycle, Server
from provision.names import Kind
from provision.ssh import ssh_options


@dataclass(frozen=True, slots=True)
class Target:
    """One environment to check. `address` is where HTTPS answers, `ssh_host` how ssh knows the server.

    `ca_certificate`: the file of the CA whose certificates are trusted; empty: those that this machine trusts.
    """

    instance: str
    kind: Kind
    domain: str
    user: str
    database: str
    home: str
    release: str
    server: str
    address: str
    ssh_host: str
    ssh_options: tuple[str, ...]
    sudo: bool
    ca_certificate: str
    tls: str = "private-ca"
    lifecycle: Lifecycle = "running"
    mailbox_path: str = "/_mail"
    http_port: int = 80
    https_port: int = 443

    @property
    def current(self) -> str:
        """The release in use."""
        return f"{self.home}/current"

    @property
    def env_file(self) -> str:
        return f"{self.home}/shared/.env.local"

    @property
    def worker(self) -> str:
        """The systemd unit that handles messages."""
        return f"{self.user}-worker.service"

    @property
    def php(self) -> str:
        """The systemd unit that answers requests."""
        return f"{self.user}-php.service"

    @property
    def cron(self) -> str:
        """The systemd unit that runs the periodic jobs once."""
        return f"{self.user}-cron.service"

    @property
    def cron_timer(self) -> str:
        """The systemd timer of the application's periodic jobs."""
        return f"{self.user}-cron.timer"

    @property
    def site_passwords(self) -> str:
        """What the site of a test environment asks for, hashed."""
        return f"/etc/chill/sites/{self.domain}.htpasswd"

    @property
    def own_password(self) -> str:
        """The password of the server's own account of that site: root's, on the server."""
        return f"/etc/chill/sites/{self.domain}.verify"

    @property
    def pool_socket(self) -> str:
        """Where the environment's own php-fpm listens."""
        return f"/run/{self.user}/php.sock"

    @property
    def pool(self) -> str:
        """The settings of that php-fpm."""
        return f"/etc/php/8.2/fpm/environments/{self.user}.conf"


def make_targets(fleet: Fleet, instance: Instance, directory: Path) -> list[Target]:
    """The targets of an instance, production first. `directory` gets the sockets of ssh connections."""
    settings = fleet.settings
    targets = []
    for names in instance.names.environments:
        server = fleet.server(instance.servers[names.kind])
        options = shared_options(fleet, server, directory)
        address, user = resolve(server, options)
        targets.append(
            Target(
                instance=instance.slug,
                kind=names.kind,
                domain=names.domain,
                user=names.user,
                database=names.database,
                home=names.home,
                release=settings.release.version,
                server=server.name,
                address=address,
                ssh_host=server.address,
                ssh_options=options,
                sudo=user != "root",
                ca_certificate=str(fleet.path(settings.tls.trusted)) if settings.tls.trusted else "",
                tls=settings.tls.mode,
                lifecycle=instance.lifecycle,
                mailbox_path=settings.mailbox_path,
            )
        )
    return targets


def shared_options(fleet: Fleet, server: Server, directory: Path) -> tuple[str, ...]:
    """Options of ssh for a server, with one connection for all checks; its socket is in `directory`."""
    shared = ("ServerAliveInterval=15", "ControlMaster=auto", "ControlPersist=60", f"ControlPath={directory}/%C")
    return (*ssh_options(fleet, server), *(part for setting in shared for part in ("-o", setting)))


def resolve(server: Server, options: Sequence[str]) -> tuple[str, str]:
    """The address and the user that ssh ends up with for a server, by its configuration, without contact."""
    shown = subprocess.run(
        ["ssh", "-G", *options, server.address], capture_output=True, text=True, errors="replace", check=False
    )
    if shown.returncode != 0:
        raise ChillError(f"{server.name}: ssh: {' '.join(shown.stderr.split())}", "see chill.toml: ssh.config")
    values = dict(line.split(" ", 1) for line in shown.stdout.splitlines() if " " in line)
    return values["hostname"], values["user"]


def write_targets(targets: Sequence[Target], path: Path) -> None:
    path.write_text(json.dumps([asdict(target) for target in targets]), encoding="utf-8")


def read_targets(path: Path) -> list[Target]:
    """What `write_targets` wrote."""
    records = json.loads(path.read_text(encoding="utf-8"))
    return [Target(**{**record, "ssh_options": tuple(record["ssh_options"])}) for record in records]
