"""Which years left the ledger on purpose (`forget.py` takes them out)."""

from __future__ import annotations

from provision.fleet import Fleet


def forgotten_years(fleet: Fleet) -> set[int]:
    """The years whose rows `chill-meter forget` took out of the ledger, and of which counts alone are kept."""
    return {int(path.name[:4]) for path in (fleet.directory / "forgotten").glob("[0-9][0-9][0-9][0-9].*.counts.csv")}
