"""`apply` with nothing to do: one instance, and ten on one server; what an environment costs. One run.

    make bench        or: python benchmarks/bench_apply.py [INSTANCES [ROUNDS]]        as root: it boots a lab machine

Beside it, in turns, plain ansible-playbook on the same environments: no toolkit, no third-party strategy. CPU is that
of this side alone; the server is on this host's processors too, so that a real one, with its own, is faster.
"""

from __future__ import annotations

import os
import re
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from tests.lab import Lab  # noqa: E402
from tests.lab.fleet import add_instance, make_fleet  # noqa: E402
from tests.lab.playbooks import PLAYBOOKS  # noqa: E402

SERVER = "srv1.example.net"
LIMITS = {1: 15.0, 10: 60.0}
COUNTS = re.compile(r"(\S+) *: ok=(\d+) +changed=(\d+)")


@dataclass(frozen=True)
class Spent:
    """Seconds by the clock, and of processors on this side; tasks that ran on each environment."""

    wall: float
    cpu: float
    tasks: float


def spent(command: Sequence[str], environments: int) -> Spent:
    """Run a command; SystemExit when it fails, or when something was to be done."""
    plain = {"ANSIBLE_CONFIG": str(PLAYBOOKS / "ansible.cfg"), "ANSIBLE_NOCOLOR": "1", "PYTHONPATH": str(ROOT)}
    before, began = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    done = subprocess.run(command, check=False, env={**os.environ, **plain}, capture_output=True, text=True)
    wall, after = time.perf_counter() - began, resource.getrusage(resource.RUSAGE_CHILDREN)
    counts = COUNTS.findall(done.stdout)
    if done.returncode or len(counts) != environments or any(changed != "0" for *_, changed in counts):
        sys.exit(f"{' '.join(command)} ended with {done.returncode}:\n{done.stdout}{done.stderr}")
    cpu = after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime
    return Spent(wall, cpu, sum(int(ok) for _, ok, _ in counts) / environments)


def build(fleet: Path, command: Sequence[str]) -> None:
    """Run a command on the fleet; SystemExit with its words when it fails."""
    words = [sys.executable, "-m", "provision.cli", *command, "--fleet", str(fleet)]
    done = subprocess.run(words, check=False, cwd=ROOT, capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"{' '.join(command)} ended with {done.returncode}:\n{done.stdout}{done.stderr}")


def measure(fleet: Path, slugs: Sequence[str], rounds: int) -> bool:
    """Both ways in turns; whether the toolkit's kept its limit."""
    environments = 2 * len(slugs)
    playbook = [str(Path(sys.executable).with_name("ansible-playbook")), str(PLAYBOOKS / "environment.yml")]
    commands = {
        "chill-provision apply": [sys.executable, "-m", "provision.cli", "apply", *slugs, "--fleet", str(fleet)],
        "plain ansible-playbook": [
            *playbook,
            *("-i", str(fleet / "inventory"), "--limit", ",".join(f"chill_{slug}" for slug in slugs)),
        ],
    }
    seen: dict[str, list[Spent]] = {name: [] for name in commands}
    for number in range(rounds):
        for name in list(commands)[:: -1 if number % 2 else 1]:
            seen[name].append(spent(commands[name], environments))
    middle = {name: statistics.median(one.wall for one in found) for name, found in seen.items()}
    for name, found in seen.items():
        walls = " ".join(f"{one.wall:.1f}" for one in found)
        cpu = statistics.median(one.cpu for one in found)
        each = f"per environment {middle[name] / environments:.2f} s, {found[0].tasks:.0f} tasks"
        ratio = middle["chill-provision apply"] / middle[name]
        print(f"  {name:<24}{middle[name]:6.1f} s ({walls}), {cpu:.1f} s CPU; {each}; {ratio:.2f}×")
    limit = LIMITS.get(len(slugs))
    fine = limit is None or middle["chill-provision apply"] <= limit
    if limit:
        print(f"  at most {limit:.0f} s: {'kept' if fine else 'NOT KEPT'}")
    return fine


def main(instances: int, rounds: int) -> int:
    slugs = [f"client{number}" for number in range(1, instances + 1)]
    with tempfile.TemporaryDirectory(prefix="chill-bench-") as scratch, Lab(f"bench-apply-{os.getpid()}") as lab:
        machine = lab.machine(SERVER, "stocked")
        fleet = make_fleet(Path(scratch) / "fleet", {SERVER: machine.address}, lab.ssh_config)
        for slug in slugs:
            add_instance(fleet, slug, SERVER)
        build(fleet, ["server", "prepare", SERVER])
        # One after the other: this is not what is measured, and a small host has its hands full.
        for slug in slugs:
            build(fleet, ["apply", slug])
        fine = []
        for number in sorted({1, instances}):
            print(f"{number} instance{'s' * (number > 1)}, {2 * number} environments, on one server, nothing to do")
            fine.append(measure(fleet, slugs[:number], rounds))
    return 0 if all(fine) else 1


if __name__ == "__main__":
    given = [int(word) for word in sys.argv[1:]]
    sys.exit(main(*[*given, *(10, 3)[len(given) :]]))
