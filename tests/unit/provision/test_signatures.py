"""Detached signatures: whose they are, and when they hold. Proven on real keys."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest

from provision.openpgp import Keyring, Signature
from tests.integration.keys import Home, home

DATA = b'{"year": 2025}\n'


@pytest.fixture(scope="module")
def keyring() -> Iterator[Home]:
    with home() as made:
        yield made


@pytest.fixture(scope="module")
def signer(keyring: Home) -> str:
    return keyring.make("Cooperative <c@example.org>")


def signed(keyring: Home, fingerprint: str, when: str = "") -> bytes:
    clock = ("--faked-system-time", when) if when else ()
    return keyring.gpg(*clock, "--armor", "--local-user", fingerprint, "--detach-sign", data=DATA).stdout


def test_a_signature_holds_for_what_was_signed_and_nothing_else(keyring: Home, signer: str) -> None:
    with Keyring(keyring.path) as ring:
        today = datetime.now(UTC)
        made = ring.sign(DATA, ring.fit_signing_key(signer, today.date()))
        found = ring.verify(DATA, made)
        assert isinstance(found, Signature)
        assert found.fingerprint == signer
        assert abs(found.made - today) < timedelta(hours=1)
        assert "changed after it was signed" in str(ring.verify(DATA.replace(b"5", b"6"), made))


def test_gpg_itself_takes_the_signature(keyring: Home, signer: str) -> None:
    with Keyring(keyring.path) as ring:
        made = ring.sign(DATA, ring.fit_signing_key(signer, datetime.now(UTC).date()))
    assert made.startswith(b"-----BEGIN PGP SIGNATURE-----")
    (keyring.path / "made.asc").write_bytes(made)
    arguments = ("--status-fd", "1", "--verify", str(keyring.path / "made.asc"), "-")
    assert f"VALIDSIG {signer}" in keyring.gpg(*arguments, data=DATA).stdout.decode()


@pytest.mark.parametrize("text", [b"", b"no signature\n", b"-----BEGIN PGP SIGNATURE-----\n\nAAAA\n"])
def test_what_is_no_signature(keyring: Home, text: bytes) -> None:
    with Keyring(keyring.path) as ring:
        assert ring.verify(DATA * 100_000, text) == "is not a signature"


def test_a_signer_whose_key_is_not_there_is_named(keyring: Home) -> None:
    with home() as stranger, Keyring(keyring.path) as ring:
        fingerprint = stranger.make("Stranger <x@example.org>")
        assert fingerprint in str(ring.verify(DATA, signed(stranger, fingerprint)))


def test_a_key_that_expired_proves_what_it_signed_before(keyring: Home) -> None:
    old = keyring.make("Old <o@example.org>", "ed25519", "sign", "2021-01-01", when="20200101T120000")
    with Keyring(keyring.path) as ring:
        found = ring.verify(DATA, signed(keyring, old, "20200601T120000"))
        assert isinstance(found, Signature)
        assert found.made.year == 2020


def test_a_key_that_was_revoked_proves_nothing(keyring: Home) -> None:
    key = keyring.make("Lost <l@example.org>")
    made = signed(keyring, key)
    keyring.revoke(key)
    with Keyring(keyring.path) as ring:
        assert ring.verify(DATA, made) == "does not hold: signing key was revoked"
