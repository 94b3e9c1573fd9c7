"""Tokens as an application makes them, for tests: signed by a secret, or by openssl with an RSA key."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import subprocess
from pathlib import Path
from typing import Any

SECRET = b"shared-secret"


def part(content: bytes) -> str:
    return base64.urlsafe_b64encode(content).rstrip(b"=").decode()


def unsigned(claims: dict[str, Any], algorithm: str) -> str:
    return ".".join(part(json.dumps(one).encode()) for one in ({"typ": "JWT", "alg": algorithm}, claims))


def hs_token(claims: dict[str, Any], secret: bytes = SECRET, algorithm: str = "HS256") -> str:
    text = unsigned(claims, algorithm)
    return f"{text}.{part(hmac.digest(secret, text.encode(), getattr(hashlib, f'sha{algorithm[2:]}')))}"


def rs_token(claims: dict[str, Any], private_key: Path, algorithm: str = "RS256") -> str:
    text = unsigned(claims, algorithm)
    command = ["openssl", "dgst", f"-sha{algorithm[2:]}", "-sign", str(private_key)]
    return f"{text}.{part(subprocess.run(command, input=text.encode(), capture_output=True, check=True).stdout)}"


def key_pair(directory: Path, name: str = "key") -> tuple[Path, Path]:
    """A private and a public RSA key, as files of PEM."""
    private, public = directory / f"{name}.pem", directory / f"{name}.pub"
    subprocess.run(
        ["openssl", "genpkey", "-quiet", "-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:2048", "-out", str(private)],
        check=True,
        capture_output=True,
    )
    subprocess.run(["openssl", "pkey", "-in", str(private), "-pubout", "-out", str(public)], check=True)
    return private, public
