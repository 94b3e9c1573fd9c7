"""Which key is fit to receive passwords: proven on real keys."""

from __future__ import annotations

import os
from collections.abc import Iterator
from datetime import date, timedelta
from pathlib import Path

import pytest

from provision.errors import ChillError, RequestError
from provision.openpgp import Keyring
from tests.integration.keys import LONG_AGO, Home, home

TODAY = date.today()  # noqa: DTZ011 (keys are made now, by GnuPG's own clock)
MARIE = "Marie Curie <marie@example.org>"


@pytest.fixture(scope="module")
def owner() -> Iterator[Home]:
    with home() as made:
        yield made


@pytest.fixture(scope="module")
def adminsys() -> Iterator[Home]:
    with home() as made:
        yield made


@pytest.fixture(scope="module")
def fit(owner: Home, adminsys: Home) -> str:
    fingerprint = owner.make("Zoé Fit <zoe@example.org>", "future-default", "default", "1y")
    owner.give_to(adminsys, fingerprint)
    return fingerprint


def refusal(keyring: Path, fingerprint: str, days: int = 30, today: date = TODAY) -> RequestError:
    with pytest.raises(RequestError) as caught:
        Keyring(keyring).fit_key(fingerprint, today, days, place="--fingerprint")
    assert caught.value.status == 2
    assert caught.value.message.startswith("--fingerprint: ")
    assert caught.value.hint
    return caught.value


def test_a_fit_key_is_found_and_says_whose_it_is(adminsys: Home, fit: str) -> None:
    key = Keyring(adminsys.path).fit_key(fit, TODAY, 30)
    assert key.fingerprint == fit
    assert key.name == "Zoé Fit <zoe@example.org>"
    assert key.expires is not None
    assert timedelta(360) < key.expires - TODAY < timedelta(370)


def test_a_fingerprint_may_be_given_as_key_tools_print_it(adminsys: Home, fit: str) -> None:
    spaced = " ".join(fit[start : start + 4] for start in range(0, 40, 4)).lower()
    assert Keyring(adminsys.path).fit_key(spaced, TODAY, 30).fingerprint == fit


@pytest.mark.parametrize(
    "text, reason",
    [
        ("zoe@example.org", "e-mail address"),
        ("Zoé Fit <zoe@example.org>", "e-mail address"),
        ("Zoé Fit", "not the fingerprint"),
        ("0xDEADBEEF", "too short"),
        ("DEADBEEFDEADBEEF", "too short"),
        ("--export-secret-keys", "not the fingerprint"),
        ("", "not the fingerprint"),
    ],
)
def test_only_a_whole_fingerprint_names_a_key(adminsys: Home, fit: str, text: str, reason: str) -> None:
    assert reason in refusal(adminsys.path, text).message


def test_an_absent_key_is_refused_with_how_to_import_it(adminsys: Home) -> None:
    error = refusal(adminsys.path, "0" * 40)
    assert "no key" in error.message
    assert "--import" in error.hint


def test_a_subkey_is_refused_with_the_key_to_name(adminsys: Home, owner: Home, fit: str) -> None:
    (subkey,) = owner.subkeys(fit)
    assert fit in refusal(adminsys.path, subkey).hint


def test_an_expired_key_is_refused(owner: Home) -> None:
    expired = owner.make("Old <old@example.org>", "future-default", "default", "30d", when=LONG_AGO)
    assert "expired" in refusal(owner.path, expired).message


def test_a_key_that_expires_too_soon_is_refused_by_the_days_asked_for(owner: Home) -> None:
    soon = owner.make("Soon <soon@example.org>", "future-default", "default", "10d")
    error = refusal(owner.path, soon, days=30)
    assert "in less than 30 days" in error.message
    assert "minimum_validity_days" in error.message
    assert Keyring(owner.path).fit_key(soon, TODAY, 5).fingerprint == soon


def test_a_key_is_judged_on_the_day_given(adminsys: Home, fit: str) -> None:
    assert "has expired on" in refusal(adminsys.path, fit, today=TODAY + timedelta(days=400)).message


def test_a_revoked_key_is_refused(owner: Home) -> None:
    revoked = owner.make("Revoked <revoked@example.org>")
    owner.revoke(revoked)
    assert "revoked" in refusal(owner.path, revoked).message


def test_a_disabled_key_is_refused(owner: Home) -> None:
    disabled = owner.make("Disabled <disabled@example.org>")
    owner.disable(disabled)
    assert "disabled" in refusal(owner.path, disabled).message


def test_a_key_that_only_signs_is_refused(owner: Home) -> None:
    sign_only = owner.make("Signer <signer@example.org>", "ed25519", "sign", "never")
    assert "cannot encrypt: it has no subkey for that" in refusal(owner.path, sign_only).message


def test_a_living_key_whose_encryption_subkey_expired_is_refused(owner: Home) -> None:
    key = owner.make("Half <half@example.org>", "ed25519", "sign", "never", when=LONG_AGO)
    owner.gpg("--faked-system-time", LONG_AGO, "--passphrase", "", "--quick-add-key", key, "cv25519", "encr", "30d")
    assert "cannot encrypt any more" in refusal(owner.path, key).message


def test_the_encryption_subkeys_own_end_counts(owner: Home) -> None:
    key = owner.make("Short <short@example.org>", "ed25519", "sign", "never")
    owner.gpg("--passphrase", "", "--quick-add-key", key, "cv25519", "encr", "20d")
    assert "in less than 30 days" in refusal(owner.path, key).message


def test_a_key_that_never_expires_is_fit(owner: Home) -> None:
    key = owner.make("Never <never@example.org>", "future-default", "default", "never")
    assert Keyring(owner.path).fit_key(key, TODAY, 3650).expires is None


def test_only_the_pinned_key_can_read_even_when_another_carries_the_same_address(owner: Home, adminsys: Home) -> None:
    pinned, other = owner.make(MARIE), owner.make(MARIE)
    owner.give_to(adminsys, pinned, other)
    keyring = Keyring(adminsys.path)
    encrypted = keyring.encrypt(b"secret", [keyring.fit_key(pinned, TODAY, 0)])
    (subkey,) = owner.subkeys(pinned)
    assert adminsys.recipients(encrypted) == [subkey[-16:]]
    assert owner.gpg("--decrypt", data=encrypted).stdout == b"secret"


def test_the_keyrings_own_options_add_no_recipient(owner: Home, adminsys: Home, fit: str) -> None:
    eve = owner.make("Eve <eve@example.org>")
    owner.give_to(adminsys, eve)
    options = adminsys.path / "gpg.conf"
    options.write_text(f"encrypt-to {eve}\ngroup {fit}={eve}\n")
    try:
        keyring = Keyring(adminsys.path)
        encrypted = keyring.encrypt(b"secret", [keyring.fit_key(fit, TODAY, 0)])
    finally:
        options.unlink()
    (subkey,) = owner.subkeys(fit)
    assert adminsys.recipients(encrypted) == [subkey[-16:]]


def test_encryption_that_gnupg_refuses_is_an_error_not_an_empty_letter(owner: Home) -> None:
    key = owner.make("Gone <gone@example.org>")
    fit_key = Keyring(owner.path).fit_key(key, TODAY, 0)
    owner.revoke(key)
    with pytest.raises(ChillError, match="could not encrypt"):
        Keyring(owner.path).encrypt(b"secret", [fit_key])


def test_the_named_key_signs_and_no_other(owner: Home, adminsys: Home, fit: str) -> None:
    adminsys.make("First <first@example.org>", "ed25519", "sign", "never")
    signer = adminsys.make("Admin <admin@example.org>", "ed25519", "sign", "never")
    adminsys.give_to(owner, signer)
    with Keyring(adminsys.path) as keyring:
        assert keyring.fit_signing_key(signer, TODAY).fingerprint == signer
        encrypted = keyring.encrypt(b"secret", [keyring.fit_key(fit, TODAY, 0)], sign_with=signer)
    status = owner.gpg("--status-fd", "2", "--decrypt", data=encrypted).stderr.decode()
    assert f"[GNUPG:] VALIDSIG {signer}" in status


def test_a_signing_key_without_its_secret_part_is_refused_beforehand(adminsys: Home, fit: str) -> None:
    with pytest.raises(RequestError, match=r"signing_key: .* cannot sign: .*secret key"):
        Keyring(adminsys.path).fit_signing_key(fit, TODAY)


def test_a_signing_key_that_cannot_sign_is_refused(owner: Home) -> None:
    encrypting = owner.make("Encrypts <e@example.org>", "rsa2048", "encr", "never")
    with pytest.raises(RequestError, match="cannot sign"):
        Keyring(owner.path).fit_signing_key(encrypting, TODAY)


def test_an_agent_that_was_started_for_signing_is_ended_and_a_running_one_is_left(adminsys: Home) -> None:
    signer = adminsys.make("Agent <agent@example.org>", "ed25519", "sign", "never")
    adminsys.end_agent()
    with Keyring(adminsys.path) as keyring:
        keyring.fit_signing_key(signer, TODAY)
        assert adminsys.agent_runs()
    assert not adminsys.agent_runs()
    adminsys.make("Starts the agent <starts@example.org>")
    with Keyring(adminsys.path) as keyring:
        keyring.fit_signing_key(signer, TODAY)
    assert adminsys.agent_runs()


def test_a_missing_keyring_is_refused_with_how_to_make_one(tmp_path: Path) -> None:
    with pytest.raises(RequestError, match=r"openpgp\.home: there is no directory") as caught:
        Keyring(tmp_path / "none")
    assert "mkdir -m 700" in caught.value.hint
    assert not (tmp_path / "none").exists()


def test_gnupg_that_is_not_installed_is_said_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", os.fspath(tmp_path))
    with pytest.raises(RequestError, match="GnuPG is not installed"):
        Keyring(tmp_path)


@pytest.mark.parametrize("length, works", [(86, True), (87, False)])
def test_a_path_too_long_for_gnupgs_sockets_is_said_so(owner: Home, length: int, works: bool) -> None:
    signer = owner.make(f"Long {length} <long@example.org>", "ed25519", "sign", "never")
    secret = owner.gpg("--passphrase", "", "--export-secret-keys", signer).stdout
    deep = Home(owner.path / ("d" * (length - len(str(owner.path)) - 1)))
    deep.path.mkdir(mode=0o700)
    keyring = Keyring(deep.path)
    try:
        deep.gpg("--import", data=secret, check=works)
        if works:
            assert keyring.fit_signing_key(signer, TODAY).fingerprint == signer
        else:
            with pytest.raises(RequestError, match=r"openpgp\.home: .* too long"):
                keyring.fit_signing_key(signer, TODAY)
    finally:
        deep.end_agent()
