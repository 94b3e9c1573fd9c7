"""Certificates from a real ACME server, from a wildcard, and what becomes of an environment that cannot have one."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.lab import Lab
from tests.lab.authority import Authority, authority
from tests.lab.world import SERVER, World, prepared_world, until

pytestmark = pytest.mark.lab

PRODUCTION, TEST = "acme.chill.pro", "acme-test.chill.pro"


@dataclass(frozen=True)
class Site:
    """A fleet whose certificates come from an ACME server, and that server with its DNS."""

    world: World
    authority: Authority
    created: subprocess.CompletedProcess[str]
    planned: str

    @property
    def address(self) -> str:
        return self.world.machine.address

    def states(self) -> dict[str, dict[str, str]]:
        """What `show` says of each environment, by domain."""
        shown = json.loads(self.world.run("show", "acme", "--json").stdout)
        return {one["domain"]: one for one in shown["environments"].values()}

    def served(self, domain: str, trusted: Path | None) -> tuple[str, str]:
        """Serial number and issuer of the certificate shown for a name; `trusted`: it must come from there."""
        check = ["-CAfile", str(trusted), "-verify_return_error"] if trusted else []
        command = ["openssl", "s_client", "-connect", f"{self.address}:443", "-servername", domain, *check]
        done = subprocess.run(command, input="", capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
        return described(done.stdout)

    def on_server(self, command: str) -> str:
        return str(self.world.machine.ssh(command).stdout)


def described(pem: str) -> tuple[str, str]:
    shown = subprocess.run(
        ["openssl", "x509", "-noout", "-serial", "-issuer"], input=pem, capture_output=True, text=True, check=True
    )
    serial, issuer = shown.stdout.splitlines()
    return serial, issuer


@pytest.fixture(scope="module")
def site(lab: Lab, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """`acme`, created while only the name of production leads to the server."""
    directory = tmp_path_factory.mktemp("certificates")
    machine = lab.machine(SERVER, image="stocked")
    with (
        authority(directory / "authority") as signs,
        prepared_world(directory, machine, lab.ssh_config, signs.settings()) as world,
    ):
        signs.names.lead(PRODUCTION, machine.address)
        planned = subprocess.run([*world.create("acme"), "--plan"], capture_output=True, text=True, check=False)
        created = subprocess.run(world.create("acme"), capture_output=True, text=True, check=False)
        yield Site(world, signs, created, planned.stdout)
    machine.remove()


def test_the_plan_names_the_record_to_add(site: Site) -> None:
    assert f"{PRODUCTION} leads to {site.address}, as it should" in site.planned
    assert f"{TEST} leads nowhere; add: {TEST}. 3600 IN A {site.address}" in site.planned


def test_without_a_certificate_an_environment_is_degraded_and_all_else_stands(site: Site) -> None:
    states = site.states()

    assert site.created.returncode == 3, site.created.stderr
    assert f"{TEST} leads nowhere in the DNS" in site.created.stderr
    assert "chill-provision apply acme" in site.created.stderr
    assert (states[PRODUCTION]["state"], states[TEST]["state"]) == ("ready", "degraded")
    assert "leads nowhere in the DNS" in states[TEST]["reason"]
    assert site.world.letters("acme") == 1
    assert site.served(PRODUCTION, site.authority.root)
    stands_in = site.served(TEST, None)[1]
    assert TEST in stands_in
    checks = json.loads(site.world.run("verify", "acme", "--json").stdout)
    broken = {(check["environment"], check["check"]) for check in checks if not check["passed"]}
    assert broken == {
        (TEST, "the certificate is valid for the name, and not about to end"),
        (TEST, "the certificate renews by itself"),
    }


def test_nothing_is_ordered_that_cannot_succeed(site: Site) -> None:
    """The name leads to a machine that is another, then the web server is out of reach: no order is made."""
    before = site.authority.orders
    site.authority.names.lead(TEST, "10.77.0.1")

    elsewhere = site.world.run("apply", "acme")

    assert elsewhere.returncode == 3, elsewhere.stderr
    assert f"http://{TEST}/.well-known/acme-challenge/" in elsewhere.stderr
    assert "at 10.77.0.1 cannot be fetched" in elsewhere.stderr
    assert site.states()[TEST]["state"] == "degraded"
    assert site.authority.orders == before


def test_apply_tries_again_and_the_environment_is_ready(site: Site) -> None:
    site.authority.names.lead(TEST, site.address)

    looked = site.world.run("apply", "--check", "acme")
    applied = site.world.run("apply", "acme")
    again = site.world.run("apply", "acme")

    assert looked.returncode == 3, looked.stderr
    assert "Order the certificate" in looked.stdout
    assert applied.returncode == 0, applied.stderr
    assert {one["state"] for one in site.states().values()} == {"ready"}
    assert site.served(TEST, site.authority.root)
    assert again.stdout.count("changed=0 failed=0") == 2, again.stdout
    verified = site.world.run("verify", "acme")
    assert verified.returncode == 0, verified.stdout


def test_a_renewal_is_served_without_anybody_doing_anything(site: Site) -> None:
    key = f"sha256sum /etc/chill/tls/{PRODUCTION}/key.pem"
    before, kept = site.served(PRODUCTION, site.authority.root)[0], site.on_server(key)
    nginx = site.on_server("systemctl show --property=MainPID --value nginx")
    forced = (
        "mkdir -p /run/systemd/system/certbot.service.d && printf '[Service]\\nExecStart=\\nExecStart={}\\n' > {} && {}"
    )
    site.on_server(
        forced.format(
            "/usr/bin/certbot -q renew --force-renewal --no-random-sleep-on-renew",
            "/run/systemd/system/certbot.service.d/forced.conf",
            "systemctl daemon-reload && systemctl start certbot.service",
        )
    )

    # A reload is asked for, not waited for: the old nginx worker may take one more connection.
    until(lambda: site.served(PRODUCTION, site.authority.root)[0] != before, "the new certificate")
    assert site.on_server(key) == kept
    assert site.on_server("systemctl show --property=MainPID --value nginx") == nginx
    site.on_server("rm -r /run/systemd/system/certbot.service.d && systemctl daemon-reload")
    assert site.world.run("apply", "acme").stdout.count("changed=0 failed=0") == 2


def test_a_certificate_that_was_lost_comes_back(site: Site) -> None:
    site.on_server(f"rm /etc/chill/tls/{PRODUCTION}/certificate.pem")

    applied = site.world.run("apply", "acme")

    assert applied.returncode == 0, applied.stderr
    assert site.served(PRODUCTION, site.authority.root)


def test_an_archived_name_is_renewed_no_more_and_comes_back(site: Site) -> None:
    assert site.world.run("archive", "acme", "--yes").returncode == 0
    known = site.on_server("ls /etc/letsencrypt/renewal")
    site.authority.names.lead_all(site.address)

    resumed = site.world.run("resume", "acme", "--yes")

    assert not re.search(r"\.conf$", known, re.MULTILINE), known
    assert resumed.returncode == 0, resumed.stderr
    assert site.served(PRODUCTION, site.authority.root)
    planned = subprocess.run([*site.world.create("other"), "--plan"], capture_output=True, text=True, check=False)
    assert f"other.chill.pro leads to {site.address}, by the wildcard *.chill.pro, as it should" in planned.stdout


def test_a_wildcard_certificate_takes_the_place_of_those(site: Site, tmp_path: Path) -> None:
    fleet = site.world.fleet
    wildcard, key = fleet / "wildcard.pem", fleet / "wildcard.key"
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "90", "-subj", "/CN=*.chill.pro"]
    command += ["-addext", "subjectAltName=DNS:*.chill.pro", "-keyout", str(key), "-out", str(wildcard)]
    subprocess.run(command, check=True, capture_output=True)
    settings = (fleet / "chill.toml").read_text()
    text = '[tls]\nmode = "wildcard"\ncertificate = "{}"\nkey = "{}"\nca_certificate = "{}"\n\n[dns]\ncheck = false\n'
    tables = re.sub(r"\[tls\].*?(?=\[ssh\])", text.format(wildcard, key, wildcard) + "\n", settings, flags=re.DOTALL)
    (fleet / "chill.toml").write_text(tables)

    applied = site.world.run("apply", "acme")
    again = site.world.run("apply", "acme")
    verified = site.world.run("verify", "acme")

    assert applied.returncode == 0, applied.stderr
    for domain in (PRODUCTION, TEST):
        assert site.served(domain, wildcard) == described(wildcard.read_text())
    assert again.stdout.count("changed=0 failed=0") == 2, again.stdout
    assert verified.returncode == 0, verified.stdout
    modes = site.on_server(f"stat -c '%a %U' /etc/chill/tls/{PRODUCTION} /etc/chill/tls/{PRODUCTION}/key.pem")
    assert modes == "700 root\n600 root\n"


def test_old_protocols_are_refused_and_verify_would_tell(site: Site) -> None:
    """The checks of the terms are worth something: a site that speaks TLS 1.0 with weak ciphers is found."""
    path, first = f"/etc/nginx/sites-available/{PRODUCTION}", "/etc/nginx/conf.d/chill.conf"
    site.on_server(
        f"cp {path} {first} /root/ && sed -i 's/ssl_protocols .*/ssl_protocols TLSv1 TLSv1.1 TLSv1.2;/;"
        f" s/ssl_ciphers .*/ssl_ciphers ALL:@SECLEVEL=0;/; /X-Content-Type-Options/d' {path} {first}"
        f" && sed -i '/ssl_reject/a ssl_ciphers ALL:@SECLEVEL=0;' {first} && systemctl reload nginx"
    )

    checks = json.loads(site.world.run("verify", "acme", "--json").stdout)
    site.on_server(f"mv /root/{PRODUCTION} {path} && mv /root/chill.conf {first} && systemctl reload nginx")

    broken = {check["check"]: check["message"] for check in checks if not check["passed"]}
    assert "TLSv1" in broken["HTTPS speaks TLS 1.2 and 1.3, and nothing older"]
    assert "kRSA" in broken["HTTPS has forward secrecy, and no weak cipher"]
    assert "x-content-type-options" in "".join(broken.values())
    assert site.world.run("verify", "acme").returncode == 0
