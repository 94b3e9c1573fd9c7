"""Particular conditions of a contract: a version of a tariff, with the values agreed with one customer. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from pydantic import ValidationError

from provision.contract import Override
from reports.tariff import Version, version_faults

# An override by its place in the contract, from 0, and what is wrong with it.
Fault = tuple[int, str]


def with_conditions(
    version: Version, overrides: Sequence[Override], year: int
) -> tuple[Version, tuple[tuple[str, str], ...], Sequence[Fault]]:
    """The version with every override that holds in `year`; their reasons by section; and what is wrong with them.

    A fault leaves the version as it was.
    """
    held = [(number, override) for number, override in enumerate(overrides) if override.holds_in(year)]
    if not held:
        return version, (), ()
    document: dict[str, Any] = version.model_dump(exclude_none=True)
    for _, override in held:
        _put(document, override)
    try:
        changed = Version.model_validate(document)
    except ValidationError as error:
        return version, (), [_blame(held, key, message) for key, message in version_faults(error)]
    return changed, tuple((override.section, override.reason) for _, override in held), ()


def _put(document: dict[str, Any], override: Override) -> None:
    section, _, key = override.key.partition(".")
    if key:
        # A section that the tariff lacks is made, and is then complete or found faulty as a whole.
        document.setdefault(section, {})[key] = override.value
    elif override.value is None:
        document.pop(section, None)
    else:
        document[section] = override.value


def _blame(held: Sequence[tuple[int, Override]], key: str, message: str) -> Fault:
    """The override that a fault at `key` of the version comes from: the one that goes most deeply towards it."""
    towards = [(len(override.key), number) for number, override in held if f"{key}.".startswith(f"{override.key}.")]
    inside = [(0, number) for number, override in held if override.section == key.partition(".")[0].partition("[")[0]]
    number = max(towards or inside or [(0, held[0][0])])[1]
    return number, f"{key} {message}"
