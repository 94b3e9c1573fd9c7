"""Tokens of Collabora: who they stand for, and which are not believed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from metering.server.errors import SourceError
from metering.server.tokens import Key, Tokens, load_key
from tests.unit.metering.json_web_tokens import SECRET, hs_token, key_pair, part, rs_token, unsigned

MINUTE = 30_000_000
NOW = MINUTE * 60
CLAIMS = {"username": "anna", "roles": ["ROLE_USER"], "iat": NOW - 60, "exp": NOW + 3600}


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    return key_pair(tmp_path_factory.mktemp("keys"))


def person(token: str, key: Key | None = None, *claims: str) -> str:
    return Tokens(claims or ("username", "sub"), key).person(token, MINUTE)


def secret_key(tmp_path: Path, content: bytes = SECRET + b"\n") -> Key:
    path = tmp_path / "secret"
    path.write_bytes(content)
    path.chmod(0o600)
    return load_key(path)


@pytest.mark.parametrize(
    "claims,expected",
    [
        (CLAIMS, "anna"),
        ({"sub": "42"}, "42"),
        ({"username": "", "sub": "bilal"}, "bilal"),
        ({"sub": 42}, "42"),
        ({"username": " chloé "}, "chloé"),
        ({"username": ["anna"], "user": {"id": 1}, "sub": True}, ""),
        ({}, ""),
    ],
)
def test_who_is_named(claims: dict[str, Any], expected: str) -> None:
    assert person(hs_token(claims)) == expected


def test_the_claim_is_a_matter_of_configuration() -> None:
    assert person(hs_token({"user_id": 7, "username": "anna"}), None, "user_id") == "7"


@pytest.mark.parametrize(
    "token",
    [
        "",
        "abc",
        "a.b.c",
        "..",
        f"{part(b'{}')}.{part(b'[]')}.x",
        f"{part(b'[1')}.{part(b'{}')}.x",
        "ü.ü.ü",
        "a" * 20_000,
    ],
)
def test_what_is_no_token_names_nobody(token: str) -> None:
    assert person(token) == ""


def test_without_a_key_every_token_is_taken_at_its_word() -> None:
    assert person(hs_token({**CLAIMS, "exp": 1}, b"another")) == "anna"


@pytest.mark.parametrize("algorithm", ["HS256", "HS384", "HS512"])
def test_a_secret_proves_a_token(tmp_path: Path, algorithm: str) -> None:
    key = secret_key(tmp_path)
    assert person(hs_token(CLAIMS, algorithm=algorithm), key) == "anna"
    assert person(hs_token(CLAIMS, b"another secret", algorithm), key) == ""


@pytest.mark.parametrize("algorithm", ["RS256", "RS512"])
def test_a_public_key_proves_a_token(keys: tuple[Path, Path], tmp_path: Path, algorithm: str) -> None:
    private, public = keys
    token = rs_token(CLAIMS, private, algorithm)
    assert person(token, load_key(public)) == "anna"
    forged = token.rpartition(".")[0].rpartition(".")[0] + "." + part(b'{"username":"eve","exp":9e9}')
    assert person(f"{forged}.{token.rpartition('.')[2]}", load_key(public)) == ""
    other, _ = key_pair(tmp_path, "other")
    assert person(rs_token(CLAIMS, other, algorithm), load_key(public)) == ""


def test_the_key_decides_how_a_token_is_signed(keys: tuple[Path, Path], tmp_path: Path) -> None:
    """The public key is known to everybody: it is no secret to sign with; and no signature proves nothing."""
    private, public = keys
    assert person(hs_token(CLAIMS, public.read_bytes()), load_key(public)) == ""
    assert person(hs_token(CLAIMS, b""), load_key(public)) == ""
    assert person(rs_token(CLAIMS, private), secret_key(tmp_path)) == ""
    for key in (load_key(public), secret_key(tmp_path)):
        for algorithm in ("none", "HS257", "ES256", "RS", ""):
            assert person(f"{unsigned(CLAIMS, algorithm)}.", key) == ""


@pytest.mark.parametrize(
    "times,valid",
    [
        ({"exp": NOW + 1}, True),
        # In the minute of the line: it may have been used before that second.
        ({"exp": NOW}, False),
        ({"exp": NOW - 1}, False),
        ({"exp": NOW + 0.5}, True),
        ({"nbf": NOW + 59}, True),
        ({"nbf": NOW + 60}, False),
        ({"exp": None}, False),
        ({"exp": "never"}, False),
    ],
)
def test_a_token_has_its_time(tmp_path: Path, times: dict[str, Any], valid: bool) -> None:
    assert person(hs_token({**CLAIMS, **times}), secret_key(tmp_path)) == ("anna" if valid else "")


def test_a_proven_token_expires_all_the_same(tmp_path: Path) -> None:
    tokens = Tokens(("username",), secret_key(tmp_path))
    token = hs_token(CLAIMS)
    assert tokens.person(token, MINUTE) == "anna"
    assert tokens.person(token, MINUTE + 60) == ""


def test_keys_that_cannot_be_used_say_why(keys: tuple[Path, Path], tmp_path: Path) -> None:
    private, public = keys
    path = tmp_path / "secret"
    with pytest.raises(SourceError, match="cannot be read: No such file"):
        load_key(path)
    path.write_bytes(SECRET)
    path.chmod(0o640)
    with pytest.raises(SourceError, match="is a secret, and can be read by others: chmod 600"):
        load_key(path)
    with pytest.raises(SourceError, match="is not a public key: openssl rsa"):
        load_key(private)
    with pytest.raises(SourceError, match="is empty"):
        secret_key(tmp_path, b"\n")
    public.chmod(0o644)
    broken = tmp_path / "broken.pub"
    broken.write_bytes(b"-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n")
    with pytest.raises(SourceError, match="is not a public key that openssl reads"):
        person(rs_token(CLAIMS, private), load_key(broken))


def test_a_key_does_not_show_itself(tmp_path: Path) -> None:
    assert SECRET.decode() not in repr(secret_key(tmp_path))
