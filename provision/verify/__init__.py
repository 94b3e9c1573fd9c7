"""Verification: does what was built stand, as a user and an adminsys would find it?

The checks are pytest modules with testinfra, shipped with the package in `checks/`. They run in a process of
their own, which takes nothing of the caller's pytest configuration, plugins or directory.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from provision.errors import ChillError
from provision.fleet import Fleet, Instance
from provision.verify.target import Target, make_targets, write_targets

PACKAGES = Path(__file__).resolve().parents[2]
CHECKS = Path(__file__).resolve().parent / "checks"
SHOWN_LINES = 5


@dataclass(frozen=True, slots=True)
class CheckResult:
    """What one check found in one environment (its domain). `message` says what is wrong, or is empty.

    `degrades`: without it, everything else may stand; the environment is degraded then, and not failed.
    """

    environment: str
    name: str
    passed: bool
    message: str
    degrades: bool = False

    def __str__(self) -> str:
        text = f"{'ok' if self.passed else 'FAILED'}: {self.environment}: {self.name}"
        return f"{text}: {self.message}" if self.message else text


def run(fleet: Fleet, instance: Instance, report: Callable[[str], None]) -> list[CheckResult]:
    """Check both environments of an instance; `report` takes each result as a line, as it comes.

    Results that did not pass are results, not errors; ChillError when the checks themselves could not run.
    """
    # ssh makes a socket in it, whose path must be short: $TMPDIR may be long.
    with tempfile.TemporaryDirectory(prefix="chill-verify-", dir="/tmp") as name:
        directory = Path(name)
        targets = make_targets(fleet, instance, directory)
        try:
            return run_checks(targets, directory, report)
        finally:
            _close_connections(targets)


def run_checks(targets: Sequence[Target], directory: Path, report: Callable[[str], None]) -> list[CheckResult]:
    """Run the checks on these targets, with scratch files in `directory`."""
    file, log = directory / "targets.json", directory / "pytest.log"
    write_targets(targets, file)
    reading, writing = os.pipe()
    with log.open("wb") as output:
        process = subprocess.Popen(
            command(file, writing),
            env=environment(os.environ),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            pass_fds=[writing],
        )
    os.close(writing)
    try:
        results = []
        for result in _results(reading):
            results.append(result)
            report(str(result))
        status = process.wait()
    finally:
        # On Ctrl-C nothing may go on in the background.
        process.kill()
        process.wait()
    if status not in (0, 1) or not results:
        said = log.read_text(encoding="utf-8", errors="replace").strip().splitlines()[-SHOWN_LINES:]
        raise ChillError(
            f"the verification itself failed (pytest ended with status {status}): {' '.join(said)}",
            "nothing is known about the environments; chill-provision verify tries again",
        )
    return results


def command(targets: Path, results: int) -> list[str]:
    """The pytest command: only our checks and our plugin, and no configuration but this."""
    return [
        *(sys.executable, "-B", "-P", "-m", "pytest", str(CHECKS)),
        *("-c", "/dev/null", "--rootdir", str(CHECKS), "--import-mode", "importlib", "--assert", "plain"),
        *("-p", "provision.verify.recorder", "-p", "no:cacheprovider", "-q", "--tb", "short"),
        *("--chill-targets", str(targets), "--chill-results", str(results)),
    ]


def environment(inherited: Mapping[str, str]) -> dict[str, str]:
    """The process's environment: this very package first, other pytest plugins and options not at all."""
    kept = {name: value for name, value in inherited.items() if not name.startswith("PYTEST_")}
    path = os.pathsep.join(filter(None, [str(PACKAGES), inherited.get("PYTHONPATH")]))
    return {**kept, "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1", "PYTHONPATH": path}


def _results(pipe: int) -> Iterator[CheckResult]:
    with os.fdopen(pipe, encoding="utf-8") as lines:
        for line in lines:
            yield CheckResult(**json.loads(line))


def _close_connections(targets: Sequence[Target]) -> None:
    """End the ssh connections that the checks shared; there may be none."""
    for arguments in {(*target.ssh_options, target.ssh_host) for target in targets}:
        subprocess.run(["ssh", "-O", "exit", *arguments], capture_output=True, check=False)
