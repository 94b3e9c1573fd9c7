"""Measuring directories of documents: chill-meter beside du and find, on the same files. One run, ratios.

make bench        or: python benchmarks/bench_documents.py [FILES]
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from metering.server.collectors.documents import volume  # noqa: E402

SIZE = 10


def write_files(directory: Path, files: int) -> None:
    """Files of SIZE bytes in directories of a thousand, as an application spreads them."""
    for number in range(0, files, 1000):
        below = directory / f"{number // 100_000:02}" / f"{number // 1000 % 100:02}"
        below.mkdir(parents=True)
        for name in range(min(1000, files - number)):
            (below / f"{name:x}").write_bytes(b"x" * SIZE)


def timed(count: Callable[[], int]) -> tuple[float, int]:
    """The best of three runs, all of which find the names in memory, and what they counted."""
    seconds = []
    for _ in range(3):
        begun = time.perf_counter()
        counted = count()
        seconds.append(time.perf_counter() - begun)
    return min(seconds), counted


def find(directory: str) -> int:
    done = subprocess.run(["find", directory, "-type", "f", "-printf", "%s\n"], check=True, capture_output=True)
    return sum(map(int, done.stdout.split()))


def du(directory: str) -> int:
    done = subprocess.run(["du", "--bytes", "--summarize", directory], check=True, capture_output=True)
    return int(done.stdout.split()[0])


def main(files: int) -> int:
    with tempfile.TemporaryDirectory(prefix="chill-bench-") as scratch:
        write_files(Path(scratch), files)
        ways: dict[str, Callable[[], int]] = {
            "chill-meter": lambda: volume([Path(scratch)]),
            "find": lambda: find(scratch),
            "du": lambda: du(scratch),
        }
        found = {name: timed(way) for name, way in ways.items()}
    own, counted = found["chill-meter"]
    print(f"{files} files, {counted} bytes (du adds those of the directories themselves)")
    for name, (seconds, _) in found.items():
        print(f"  {name:<12}{seconds:6.2f} s   {seconds / own:5.1f} × chill-meter")
    return 0 if counted == found["find"][1] == files * SIZE else 1


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]) if len(sys.argv) > 1 else 200_000))
