"""The manifest of a closed year: what it was made of, what was made, by which toolkit. Pure.

It is JSON, signed as it stands, byte by byte, by a detached OpenPGP signature beside it. Format 1 (docs/closing.md).
"""

from __future__ import annotations

import hashlib
from datetime import datetime
from pathlib import PurePosixPath
from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError

from metering.samples import FileKind
from provision.settings import Fingerprint, Language

Digest = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


def _below(path: str) -> str:
    if PurePosixPath(path).is_absolute() or ".." in PurePosixPath(path).parts or path != str(PurePosixPath(path)):
        raise ValueError("not a path below the directory")
    return path


# A path below the closed year's directory, or below the fleet's: never out of it.
Relative = Annotated[str, AfterValidator(_below)]


class _Table(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Rows(_Table):
    """How many rows, and the SHA-256 of their canonical text."""

    rows: int
    sha256: Digest


class LedgerProof(_Table):
    """A year of the ledger: SHA-256 of its CSV files by name, and the digest of their rows by month and kind."""

    files: dict[str, Digest]
    rows: dict[str, dict[FileKind, Rows]]


class Earlier(_Table):
    """What a year's corrections rest on: the manifest of a year closed before, and files that came late for it.

    `late` are the ledger's files of that year, by name, that are neither in its manifest nor in that of a year closed
    between the two.
    """

    manifest: Digest
    late: dict[str, Digest] = Field(default_factory=dict)


class Manifest(_Table):
    """What a closed year consists of.

    `files`: SHA-256 of every file of the closed year but the manifest and its signature, by path. `inputs`: of the
    fleet's files at that time, by path; these live on, and the closed year has its own copy of what counts in them.
    `accepted_gaps`: by instance, why it was closed although samples are missing. `earlier`: by year.
    """

    format: Literal[1] = 1
    year: int
    closed_at: datetime
    toolkit: str
    signer: Fingerprint
    language: Language
    accepted_gaps: dict[str, str]
    files: dict[Relative, Digest]
    inputs: dict[Relative, Digest]
    ledger: LedgerProof
    earlier: dict[int, Earlier]

    def to_json(self) -> bytes:
        """The manifest's file: JSON, indented, UTF-8."""
        return self.model_dump_json(indent=1).encode() + b"\n"


def parse_manifest(data: bytes) -> Manifest | str:
    """The manifest that a file says, or what is wrong with it."""
    try:
        return Manifest.model_validate_json(data)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        key = ".".join(str(part) for part in first["loc"])
        return f"{key}: {first['msg']}" if key else str(first["msg"])


def sha256(data: bytes) -> str:
    """The SHA-256 of some bytes, in hex."""
    return hashlib.sha256(data).hexdigest()
