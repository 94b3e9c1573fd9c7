"""The pytest plugin of the checks: hands them their targets, writes each result as a JSON line to a pipe."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from provision.verify.target import Target, read_targets

REACHABLE = "the server answers over SSH"


class UnreachableError(Exception):
    """The server did not answer: one result says so for all the checks that would have asked it."""


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--chill-targets", type=Path, required=True, help="JSON file with the environments")
    parser.addoption("--chill-results", type=int, required=True, help="file descriptor for the results")


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "production: a check of production environments only")
    config.addinivalue_line("markers", "test_environment: a check of test environments only")
    config.addinivalue_line(
        "markers", "lifecycle(*states): a check of environments in these; without it, of running ones"
    )
    config.addinivalue_line("markers", "degrades: what is missing leaves the environment in service, as degraded")
    config.addinivalue_line("markers", "tls(mode): a check where certificates come from there")
    config.pluginmanager.register(Recorder(config.getoption("--chill-results")))


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    targets: list[Target] = read_targets(metafunc.config.getoption("--chill-targets"))
    if metafunc.definition.get_closest_marker("production"):
        targets = [target for target in targets if target.kind == "production"]
    if origin := metafunc.definition.get_closest_marker("tls"):
        targets = [target for target in targets if target.tls in origin.args]
    if metafunc.definition.get_closest_marker("test_environment"):
        targets = [target for target in targets if target.kind == "test"]
    marker = metafunc.definition.get_closest_marker("lifecycle")
    states = marker.args if marker else ("running",)
    targets = [target for target in targets if target.lifecycle in states]
    metafunc.parametrize("target", targets, ids=[target.domain for target in targets], scope="session")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """A check that no environment needs is not run, and is no result."""
    items[:] = [item for item in items if isinstance(getattr(item, "callspec").params["target"], Target)]  # noqa: B009


class Recorder:
    """Writes a line per check: environment, name (first line of the docstring), passed, message."""

    def __init__(self, pipe: int) -> None:
        self._pipe = pipe
        self._unreachable: set[str] = set()

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_makereport(self, item: pytest.Item, call: pytest.CallInfo[Any]) -> Iterator[Any]:
        report = yield
        if call.when == "call" or (call.when == "setup" and call.excinfo):
            self._record(item, call.excinfo.value if call.excinfo else None)
        return report

    def _record(self, item: pytest.Item, error: BaseException | None) -> None:
        function = getattr(item, "function")  # noqa: B009 (pytest.Item does not promise it; our checks are functions)
        domain = getattr(item, "callspec").params["target"].domain  # noqa: B009
        name = str(function.__doc__).strip().splitlines()[0].rstrip(".")
        if isinstance(error, UnreachableError):
            if domain in self._unreachable:
                return
            self._unreachable.add(domain)
            name = REACHABLE
        result = {
            "environment": domain,
            "name": name,
            "passed": error is None,
            "message": message(error),
            "degrades": item.get_closest_marker("degrades") is not None,
        }
        os.write(self._pipe, f"{json.dumps(result)}\n".encode())


def message(error: BaseException | None) -> str:
    """What a check found wrong, in its own words; for anything else, that it could not find out."""
    if error is None:
        return ""
    said = " ".join(str(error).split())
    if isinstance(error, AssertionError | pytest.fail.Exception | UnreachableError):
        return said or "is not so"
    # testinfra raises RuntimeError(result) when ssh itself fails in the middle.
    answer = error.args[0] if error.args else None
    return f"could not be checked: {' '.join(getattr(answer, 'stderr', said).split()) or type(error).__name__}"
