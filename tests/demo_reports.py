"""`make demo-reports`: a generated fleet and ledger, and the papers the real command makes of them; needs no root."""

from __future__ import annotations

import argparse
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

from tests.generated import PROFILES, generate

YEAR = 2025
# One generated instance has a month without SMS samples, so the command ends with "done in part".
DONE_IN_PART = 3


def main() -> int:
    """Generate, run `chill-report annual`, list what it made. The exit status is 0 when the papers are as expected."""
    parser = argparse.ArgumentParser(prog="python -m tests.demo_reports", description=__doc__)
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="where the fleet and the papers go")
    directory = parser.parse_args().out.resolve()
    fleet, papers = directory / "fleet", directory / f"reports-{YEAR}"
    for old in (fleet, papers):
        if old.exists():
            shutil.rmtree(old)
    directory.mkdir(parents=True, exist_ok=True)
    print(f"A fleet of {len(PROFILES)} customers and the ledger of {YEAR}, generated in {fleet}", flush=True)
    generate(fleet, YEAR)
    command = ["chill-report", "annual", str(YEAR), "--fleet", str(fleet), "--out", str(papers)]
    print(f"\n$ {shlex.join(command)}", flush=True)
    # The command of this interpreter's environment, whether or not it is on PATH or installed.
    code = "import sys; from reports.cli import main; sys.argv[0] = 'chill-report'; main()"
    status = subprocess.run([sys.executable, "-c", code, *command[1:]], check=False).returncode
    print(f"(exit status {status})", flush=True)
    expected = len(PROFILES) + 3
    made = list(papers.glob("*")) if papers.is_dir() else []
    if status != DONE_IN_PART or len(made) != expected:
        print(f"expected exit status {DONE_IN_PART} and {expected} papers, found {len(made)}", file=sys.stderr)
        return 1
    print("\nThe status is 3 because Le Relais du Nord has no SMS samples in May: its papers say so.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
