"""Machines for tests. What a test boots is gone when it ends; what a killed run left, the next removes."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Generator, Iterator
from contextlib import suppress

import pytest

from tests.lab import Lab, LabError, Machine

Boot = Callable[..., Machine]

# What a failed test is explained with: what the machine was doing.
_STATE = (
    "uptime; head -n 2 /proc/pressure/io /proc/pressure/cpu; systemctl --failed --no-legend;"
    " ps -eo pid,stat,etimes,wchan:20,args"
    " --sort=-etimes | tail -n 60; journalctl --no-pager -n 60"
)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Adds the state of the lab's machines to the report of a failed test."""
    report = yield
    lab = getattr(item, "funcargs", {}).get("lab")
    if report.when == "call" and report.failed and isinstance(lab, Lab):
        for machine in lab.machines():
            with suppress(LabError, subprocess.SubprocessError):
                report.sections.append(
                    (f"state of {machine.name}", machine.ssh(_STATE, timeout=60, check=False).stdout)
                )
    return report


@pytest.fixture(scope="session")
def lab() -> Iterator[Lab]:
    """This run's own lab; its machines last as long as it. Fails, with the reason, where none can boot."""
    if reason := Lab.unavailable():
        pytest.fail(f"the lab cannot run here: {reason}", pytrace=False)
    with Lab(f"pytest-{os.getpid()}") as made:
        yield made


@pytest.fixture
def machines(lab: Lab) -> Iterator[Boot]:
    """A function that boots a machine for one test: `machines("srv1", image="bare")`."""
    booted: list[Machine] = []

    def boot(name: str, image: str = "bare") -> Machine:
        booted.append(lab.machine(name, image=image))
        return booted[-1]

    yield boot
    for machine in booted:
        if machine in lab.machines():
            machine.remove()
