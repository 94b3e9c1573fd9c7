"""What `[tls]` of chill.toml names: are the files there, and do they serve for the fleet's domain?"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.types import PrivateKeyTypes

from provision.errors import Problem
from provision.fleet import Fleet
from provision.tls_settings import Wildcard

OTHERS = 0o077


def tls_problems(fleet: Fleet, now: datetime | None = None) -> Iterator[Problem]:
    """Every fault of the files that certificates are made of."""
    tls = fleet.settings.tls
    names = [
        name for name in ("ca_certificate", "ca_key", "directory_ca", "certificate", "key") if getattr(tls, name, "")
    ]
    missing = [name for name in names if not os.access(fleet.path(getattr(tls, name)), os.R_OK)]
    for name in missing:
        path = fleet.path(getattr(tls, name))
        yield Problem(f"chill.toml: tls.{name}", f"{path} is not there or cannot be read", "correct the path")
    if isinstance(tls, Wildcard) and not missing:
        yield from _wildcard_problems(fleet, tls, now or datetime.now(UTC))


def _wildcard_problems(fleet: Fleet, tls: Wildcard, now: datetime) -> Iterator[Problem]:
    domain, place = fleet.settings.domain, "chill.toml: tls.certificate"
    mode = fleet.path(tls.key).stat().st_mode & 0o777
    if mode & OTHERS:
        yield Problem(
            "chill.toml: tls.key", f"others may read it: its mode is {mode:04o}", f"chmod 600 {fleet.path(tls.key)}"
        )
    try:
        certificate = x509.load_pem_x509_certificates(fleet.path(tls.certificate).read_bytes())[0]
    except ValueError:
        yield Problem(place, f"{fleet.path(tls.certificate)} holds no certificate in PEM form")
        return
    names = _names(certificate)
    if f"*.{domain}" not in names:
        held = ", ".join(names) or "no name"
        yield Problem(
            place, f"it is for {held}, not for *.{domain}", "name a certificate that covers every environment"
        )
    if certificate.not_valid_after_utc <= now:
        yield Problem(place, f"it ended on {certificate.not_valid_after_utc:%Y-%m-%d}", "put its successor there")
    yield from _key_problems(fleet.path(tls.key), certificate)


def _names(certificate: x509.Certificate) -> Sequence[str]:
    try:
        extension = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName)
    except x509.ExtensionNotFound:
        return ()
    return extension.value.get_values_for_type(x509.DNSName)


def _key_problems(path: Path, certificate: x509.Certificate) -> Iterator[Problem]:
    place = "chill.toml: tls.key"
    try:
        key: PrivateKeyTypes = serialization.load_pem_private_key(path.read_bytes(), password=None)
    except (ValueError, TypeError):
        yield Problem(place, f"{path} holds no private key in PEM form without a passphrase")
        return
    form = (serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    if key.public_key().public_bytes(*form) != certificate.public_key().public_bytes(*form):
        yield Problem(place, f"{path} is not the key of tls.certificate", "name the two that belong together")
