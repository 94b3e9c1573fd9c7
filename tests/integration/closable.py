"""A fleet whose years can be closed: three generated years of two instances, and a key that signs."""

from __future__ import annotations

import csv
import hashlib
import shutil
import tempfile
from datetime import UTC, datetime
from pathlib import Path

from click.testing import CliRunner, Result

from metering.ledger.compact import compact
from metering.samples import MANUAL, FileName, Sample, write_samples
from reports.cli import main
from tests.generated import Profile, generate
from tests.integration.keys import Home

LOGO = '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 9 3"><rect width="9" height="3" fill="#176"/></svg>'
YEARS = (2023, 2024, 2025)
PROFILES = (
    Profile("acme", "ASBL Acme", 6, 4, 10, (19.0, 23.0), 2),
    Profile("beta", "Beta", 3, 1, 2, (1.0, 2.0), 0),
)


def make_fleet(directory: Path, keyring: Home, signer: str) -> Path:
    """A fleet directory with the ledger of `YEARS`; its settings name the keyring and the key that signs."""
    generate(directory, YEARS[0], PROFILES)
    aside = directory / "first"
    (directory / "ledger" / str(YEARS[0])).rename(aside)
    for year in YEARS[1:]:
        with tempfile.TemporaryDirectory() as scratch:
            generate(Path(scratch) / "other", year, PROFILES)
            shutil.copytree(Path(scratch) / "other" / "ledger" / str(year), directory / "ledger" / str(year))
    # Only the first year lies there as CSV: fewer files, so that copies of the fleet are quick to make.
    compact(directory / "ledger", f"{YEARS[-1]}-12", False, lambda line: None)
    aside.rename(directory / "ledger" / str(YEARS[0]))
    settings = directory / "chill.toml"
    (directory / "logo.svg").write_text(LOGO, encoding="utf-8")
    cooperative = '\n[cooperative]\nname = "Les Petits Chênes"\nlogo = "logo.svg"\n'
    openpgp = f'{cooperative}\n[openpgp]\nhome = "{keyring.path}"\nsigning_key = "{signer}"\n'
    settings.write_text(settings.read_text(encoding="utf-8") + openpgp, encoding="utf-8")
    return directory


def run(command: str, fleet: Path, *arguments: object) -> Result:
    """chill-report, in this process."""
    words = [command, *(str(argument) for argument in arguments), "--fleet", str(fleet)]
    return CliRunner().invoke(main, words, catch_exceptions=False)


def done(command: str, fleet: Path, *arguments: object) -> Result:
    """As `run`, for what must succeed."""
    result = run(command, fleet, *arguments)
    if result.exit_code:
        raise AssertionError(result.output)
    return result


def tree(directory: Path) -> dict[str, str]:
    """SHA-256 of every file, by path."""
    files = (path for path in sorted(directory.rglob("*")) if path.is_file())
    return {path.relative_to(directory).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def late_sms(fleet: Path, day: str, value: int, at: datetime, slug: str = "acme") -> Path:
    """A sample recorded by hand, which adds `value` SMS to those of a day."""
    name = FileName(datetime.fromisoformat(day).date(), MANUAL, at, "samples")
    path = fleet / "ledger" / day[:4] / str(name)
    with path.open("w", encoding="utf-8", newline="") as stream:
        write_samples(stream, [Sample(name.day, slug, "sms_sent", value, "ok", MANUAL, at)])
    return path


def moment(day: int, year: int = 2026) -> datetime:
    """A moment of collection in February."""
    return datetime(year, 2, day, 9, 0, tzinfo=UTC)


def rows(papers: Path, year: int, slug: str) -> list[dict[str, str]]:
    """The rows of an instance in the usage CSV."""
    with (papers / f"usage-{year}.csv").open(encoding="utf-8", newline="") as stream:
        return [row for row in csv.DictReader(stream) if row["instance"] == slug]
