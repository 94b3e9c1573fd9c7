"""Machines for tests. What a test boots is gone when it ends; what a killed run left, the next removes."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator

import pytest

from tests.lab import Lab, Machine

Boot = Callable[..., Machine]


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
