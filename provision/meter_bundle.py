"""Builds `chill-meter` for servers: one executable zip archive (Python's zipapp form) of what runs there.

    python -m provision.meter_bundle --out FILE

The same sources give the same bytes (under one version of Python), so that copying it to a server that has it
changes nothing. It needs Debian 12's python3, python3-click and python3-psycopg.

The archive holds the compiled form of each module beside its source: compiling at every start would take longer than
a run that finds nothing new. A server with another version of Python passes over it, and compiles the sources.
"""

from __future__ import annotations

import argparse
import importlib.util
import marshal
import os
import sys
import tempfile
import zipfile
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

# -I: neither the environment nor the current directory chooses what is imported. Debian's own packages still
# are.
INTERPRETER = b"#!/usr/bin/python3 -I\n"
ENTRY = "from metering.cli import main\n\nmain()\n"
# The earliest time a zip archive can hold: a constant one makes the bytes depend on the sources alone.
EPOCH = (1980, 1, 1, 0, 0, 0)
MODULES = {
    "metering": ("__init__.py", "cli/*", "memory.py", "samples.py", "server/**/*"),
    "provision": ("__init__.py", "errors.py", "console.py"),
}


def build(out: Path) -> None:
    """Write the archive, whole or not at all, mode 0755. OSError when `out` cannot be written."""
    descriptor, name = tempfile.mkstemp(prefix=f".{out.name}.", dir=out.parent)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(INTERPRETER)
            with zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as archive:
                for member, content in sorted(_with_compiled(_members())):
                    entry = zipfile.ZipInfo(member, EPOCH)
                    entry.external_attr = 0o644 << 16
                    # The system on which it was made is recorded too.
                    entry.create_system = 3
                    archive.writestr(entry, content)
        Path(name).chmod(0o755)
        Path(name).replace(out)
    finally:
        with suppress(FileNotFoundError):
            Path(name).unlink()


def _members() -> Iterator[tuple[str, bytes]]:
    """The name in the archive and the content of each file."""
    yield "__main__.py", ENTRY.encode()
    for package, patterns in MODULES.items():
        root = _package(package)
        for path in {path for pattern in patterns for path in root.glob(pattern)}:
            if path.is_file() and "__pycache__" not in path.parts:
                yield f"{package}/{path.relative_to(root).as_posix()}", path.read_bytes()


def _with_compiled(members: Iterator[tuple[str, bytes]]) -> Iterator[tuple[str, bytes]]:
    for member, content in members:
        yield member, content
        if member.endswith(".py"):
            yield f"{member}c", _compiled(member, content)


def _compiled(member: str, source: bytes) -> bytes:
    """The form of PEP 552, "unchecked": what is used is never compared with the source beside it."""
    code = compile(source, member, "exec", dont_inherit=True)
    # Newer forms of marshal depend on what else lives in memory.
    return importlib.util.MAGIC_NUMBER + b"\x01\0\0\0" + importlib.util.source_hash(source) + marshal.dumps(code, 2)


def _package(name: str) -> Path:
    """Where an installed package's sources are.

    Found without importing it: `metering` is a room above this one.
    """
    spec = importlib.util.find_spec(name)
    if spec is None or not spec.submodule_search_locations:
        raise FileNotFoundError(f"the package {name} is not installed")
    return Path(next(iter(spec.submodule_search_locations)))


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m provision.meter_bundle", description="Build chill-meter.")
    parser.add_argument("--out", type=Path, required=True, help="the file to write")
    out = parser.parse_args().out
    try:
        build(out)
    except OSError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
