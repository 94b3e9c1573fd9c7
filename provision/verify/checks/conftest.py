"""Fixtures of the checks: `target`, given by the recorder, and `host`, testinfra's view of its server."""

from __future__ import annotations

import shlex
from typing import Any

import pytest
import testinfra

from provision.verify.recorder import UnreachableError
from provision.verify.target import Target


@pytest.fixture(scope="session")
def host(target: Target) -> Any:
    """The server, asked as root over one shared ssh connection."""
    server = testinfra.get_host(
        f"ssh://{target.ssh_host}", ssh_extra_args=shlex.join(target.ssh_options), sudo=target.sudo
    )
    try:
        answer = server.run("true")
    except RuntimeError as error:
        said = " ".join(str(getattr(error.args[0], "stderr", error)).split())
        raise UnreachableError(f"{target.server} cannot be reached: {said}") from None
    if answer.rc != 0:
        raise UnreachableError(f"{target.server} refuses commands: {' '.join(answer.stderr.split())}")
    return server
