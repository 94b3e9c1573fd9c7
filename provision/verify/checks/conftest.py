"""Fixtures of the checks: `target`, given by the recorder, and `host`, testinfra's view of its server."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from testinfra.host import Host

from provision.verify import inside, web
from provision.verify.recorder import UnreachableError
from provision.verify.shell import ShellBackend
from provision.verify.target import Target


@pytest.fixture(scope="session")
def host(target: Target) -> Iterator[Any]:
    """The server, asked as root in one session."""
    backend = ShellBackend(target.ssh_host, target.ssh_options, sudo=target.sudo)
    try:
        answer = backend.run("true")
        if answer.rc != 0:
            raise UnreachableError(f"{target.server} refuses commands: {' '.join(answer.stderr.split())}")
        yield Host(backend)
    except RuntimeError as error:
        said = " ".join(str(getattr(error.args[0], "stderr", error)).split())
        raise UnreachableError(f"{target.server} cannot be reached: {said}") from None
    finally:
        backend.close()


@pytest.fixture
def ask(request: pytest.FixtureRequest, target: Target) -> Callable[[str], web.Answer]:
    """GET a page of the application: from here; of a test environment, which asks for a password, from its server."""
    if target.kind == "production":
        return lambda path: web.get(target, path)
    host = request.getfixturevalue("host")
    return lambda path: inside.get(host, target, path)
