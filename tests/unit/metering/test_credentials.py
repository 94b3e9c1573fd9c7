"""The file with the passwords of stores: who may read it, what it holds, and that it is never quoted."""

from __future__ import annotations

from pathlib import Path

import pytest

from metering.server.credentials import Credentials, load_credentials
from metering.server.errors import SourceError

GOOD = """
[swift]
auth_url = "https://auth.example.net/v3/"
user = "meter"
password = "marked-secret"
project = "acme"
region = "GRA"
ca_file = "ca.pem"
[s3]
endpoint = "https://s3.example.net"
access_key = "marked-key"
secret_key = "marked-secret"
"""


def load(tmp_path: Path, text: str, mode: int = 0o600) -> Credentials:
    path = tmp_path / "store.toml"
    path.write_text(text)
    path.chmod(mode)
    return load_credentials(path)


def test_a_whole_file(tmp_path: Path) -> None:
    found = load(tmp_path, GOOD)
    assert found.swift
    assert found.s3
    assert (found.swift.auth_url, found.swift.user_domain) == ("https://auth.example.net/v3", "Default")
    assert (found.swift.ca_file, found.s3.region) == (tmp_path / "ca.pem", "us-east-1")
    assert "marked" not in repr(found)


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660, 0o644])
def test_others_may_not_read_it(tmp_path: Path, mode: int) -> None:
    with pytest.raises(SourceError, match=r"store\.toml can be read by others: chmod 600 "):
        load(tmp_path, GOOD, mode)


@pytest.mark.parametrize(
    "old,new,words",
    [
        ("auth_url", "auth_uri", "store.toml: swift.auth_url: is missing"),
        ('"https://auth.example.net/v3/"', '"http://auth.example.net"', "swift.auth_url: is not an https:// address"),
        ('"https://s3.example.net"', '"https://a:marked-secret@b"', "s3.endpoint: is not an https:// address"),
        ('user = "meter"', "", "swift.user: is missing"),
        ('password = "marked-secret"', "password = 3", "swift.password: expected a text"),
        ("secret_key", "secret", "s3.secret: is not a key that is known here"),
        ('project = "acme"', 'kind = "token"', "swift.kind: is not of the form that is expected here"),
        ("[s3]", '[s3\n"marked-secret', "store.toml is not TOML"),
        ("[s3]", "[s3]\nx = marked-secret", "store.toml is not TOML"),
    ],
)
def test_what_is_wrong_is_told_without_its_values(tmp_path: Path, old: str, new: str, words: str) -> None:
    assert old in GOOD
    with pytest.raises(SourceError) as caught:
        load(tmp_path, GOOD.replace(old, new, 1))
    assert words in caught.value.reason
    assert "marked" not in caught.value.reason
    assert "\n" not in caught.value.reason


def test_no_file(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match=r"absent\.toml cannot be read: No such file"):
        load_credentials(tmp_path / "absent.toml")


def test_the_example_of_the_page_is_good(tmp_path: Path) -> None:
    page = Path(__file__).resolve().parents[3] / "docs" / "metering.md"
    example = page.read_text().partition("## Stores elsewhere")[2].partition("```toml\n")[2].partition("```")[0]
    found = load(tmp_path, example)
    assert found.swift
    assert found.s3
