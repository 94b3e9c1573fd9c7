"""The terms on which the environment speaks HTTPS, asked from here as a scanner would."""

from __future__ import annotations

import re
import ssl
import warnings
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from provision.verify import web
from provision.verify.target import Target

# A renewal begins a month before the end: what is nearer to it did not renew.
REMAINING = timedelta(days=10)
HALF_A_YEAR = 15_552_000
OLD = (ssl.TLSVersion.TLSv1, ssl.TLSVersion.TLSv1_1)
# Without forward secrecy, with broken ciphers, without a certificate at all.
WEAK = ("kRSA", "3DES", "RC4", "aNULL", "eNULL", "CBC", "PSK")


@pytest.mark.degrades
@pytest.mark.lifecycle("running", "suspended")
def test_certificate(target: Target) -> None:
    """the certificate is valid for the name, and not about to end"""
    end = web.valid_until(target)
    left = end - datetime.now(UTC)
    assert left > REMAINING, f"the certificate ends on {end:%Y-%m-%d}, in {left.days} days, and was not renewed"


def test_protocols(target: Target) -> None:
    """HTTPS speaks TLS 1.2 and 1.3, and nothing older"""
    spoken = [
        version for version in ssl.TLSVersion if version in (*OLD, ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3)
    ]
    taken = {version for version in spoken if web.shakes_hands(target, _only(version))}
    names = ", ".join(version.name for version in sorted(taken))
    assert not taken & set(OLD), f"the server agrees to {names}"
    assert taken, "the server agrees to neither TLS 1.2 nor 1.3"


def test_ciphers(target: Target) -> None:
    """HTTPS has forward secrecy, and no weak cipher"""
    weak = [name for name in WEAK if (context := _with_ciphers(name)) and web.shakes_hands(target, context)]
    assert not weak, f"the server agrees to {', '.join(weak)}"


def test_strangers(target: Target) -> None:
    """a name that is not here gets no answer"""
    assert not web.shakes_hands(target, web.anybody(), "nobody.invalid"), "the server answers for nobody.invalid"


def test_headers(target: Target) -> None:
    """browsers are told to keep to HTTPS, to guess no types and to frame nothing from elsewhere"""
    headers = web.get(target, "/login").headers
    age = re.search(r"max-age=(\d+)", headers.get("strict-transport-security", ""))
    wrong = [] if age and int(age[1]) >= HALF_A_YEAR else ["Strict-Transport-Security is missing, or short"]
    wanted = {"x-content-type-options": "nosniff", "x-frame-options": "SAMEORIGIN", "referrer-policy": "same-origin"}
    wrong += [f"{name} is {headers.get(name)}" for name, value in wanted.items() if headers.get(name) != value]
    if re.search(r"\d", headers.get("server", "") + headers.get("x-powered-by", "")):
        wrong.append("a header tells versions")
    assert not wrong, "; ".join(wrong)


@pytest.mark.degrades
@pytest.mark.tls("acme")
@pytest.mark.lifecycle("running", "suspended")
def test_renewal(host: Any, target: Target) -> None:
    """the certificate renews by itself"""
    state = host.run("systemctl is-active certbot.timer").stdout.strip()
    assert state == "active", f"certbot.timer is {state}"
    known = host.file(f"/etc/letsencrypt/renewal/{target.domain}.conf").exists
    assert known, f"certbot does not know {target.domain}"
    hook = host.file("/etc/letsencrypt/renewal-hooks/deploy/chill")
    assert hook.exists, f"there is no {hook.path}: nginx would not be told"
    assert hook.mode & 0o100, f"{hook.path} cannot be executed"


def _only(version: ssl.TLSVersion) -> ssl.SSLContext:
    """A context that speaks one version, old ones included: it must be able to ask for what should be refused."""
    context = web.anybody()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        context.set_ciphers("ALL:@SECLEVEL=0")
        context.minimum_version = ssl.TLSVersion.TLSv1
        context.maximum_version = version
        context.minimum_version = version
    return context


def _with_ciphers(names: str) -> ssl.SSLContext | None:
    """A context that offers only these ciphers of TLS 1.2; None when this machine's OpenSSL has none of them."""
    context = web.anybody()
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    try:
        context.set_ciphers(f"{names}:@SECLEVEL=0")
    except ssl.SSLError:
        return None
    return context
