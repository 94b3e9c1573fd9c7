"""The passwords of stores: one TOML file per instance, readable by the collection's user alone.

Format: docs/metering.md, "Stores". What is wrong with it is told without any of its values.
"""

from __future__ import annotations

import os
import tomllib
from dataclasses import dataclass, field
from pathlib import Path

from metering.server.errors import SourceError
from metering.server.table import Table
from metering.server.web import acceptable


@dataclass(frozen=True, slots=True)
class SwiftAccess:
    """How OpenStack Swift is entered: an `auth_url` that ends in /v3 is Keystone's, any other is v1 authentication.

    `storage_url` replaces the one that the login names: that of another account, which gave us the right to read.
    """

    auth_url: str
    user: str
    password: str = field(repr=False)
    project: str = ""
    user_domain: str = "Default"
    project_domain: str = "Default"
    region: str = ""
    application_credential: bool = False
    storage_url: str = ""
    ca_file: Path | None = None


@dataclass(frozen=True, slots=True)
class S3Access:
    """How an S3-compatible store is entered: its address, to which the bucket's name is added as a path."""

    endpoint: str
    region: str
    access_key: str = field(repr=False)
    secret_key: str = field(repr=False)
    ca_file: Path | None = None


@dataclass(frozen=True, slots=True)
class Credentials:
    """What a file of credentials holds."""

    swift: SwiftAccess | None = None
    s3: S3Access | None = None


def load_credentials(path: Path) -> Credentials:
    """Read and check the file. SourceError with every problem found."""
    document = _read(path)
    top = Table(document, path.name, "")
    swift = _swift(top.table("swift"), path) if "swift" in document else None
    s3 = _s3(top.table("s3"), path) if "s3" in document else None
    problems = top.finish()
    if problems:
        raise SourceError("; ".join(" ".join(problem.split()) for problem in problems))
    return Credentials(swift, s3)


def _read(path: Path) -> dict[str, object]:
    try:
        # The file that is checked is the file that is read.
        with open(os.open(path, os.O_RDONLY | os.O_CLOEXEC), "rb") as stream:  # noqa: PTH123 (a descriptor)
            status = os.fstat(stream.fileno())
            if status.st_mode & 0o077:
                raise SourceError(f"{path} can be read by others: chmod 600 {path}")
            return tomllib.loads(stream.read().decode())
    except OSError as error:
        raise SourceError(f"{path} cannot be read: {error.strerror}") from None
    except ValueError:
        # The parser's own words may quote the file.
        raise SourceError(f"{path} is not TOML") from None


def _swift(table: Table, path: Path) -> SwiftAccess:
    return SwiftAccess(
        auth_url=_address(table, "auth_url", "https://auth.cloud.example.net/v3"),
        user=table.text("user"),
        password=table.text("password"),
        project=table.text("project", default=""),
        user_domain=table.text("user_domain", default="Default"),
        project_domain=table.text("project_domain", default="Default"),
        region=table.text("region", default=""),
        application_credential=table.text("kind", default="password", pattern="password|application_credential")
        == "application_credential",
        storage_url=_address(table, "storage_url") if "storage_url" in table else "",
        ca_file=_ca_file(table, path),
    )


def _s3(table: Table, path: Path) -> S3Access:
    return S3Access(
        endpoint=_address(table, "endpoint", "https://s3.cloud.example.net"),
        region=table.text("region", default="us-east-1", pattern=r"[A-Za-z0-9-]+", example="gra"),
        access_key=table.text("access_key"),
        secret_key=table.text("secret_key"),
        ca_file=_ca_file(table, path),
    )


def _address(table: Table, key: str, example: str = "") -> str:
    address = table.text(key, example=example).rstrip("/")
    if address and not acceptable(address):
        table.fault(key, "is not an https:// address", f'{key} = "{example}"' if example else "")
    return address


def _ca_file(table: Table, path: Path) -> Path | None:
    name = table.text("ca_file", default="")
    return path.absolute().parent / name if name else None
