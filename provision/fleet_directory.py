"""Where the fleet is. Apart from its reading, so that help and completion do not wait for the libraries that takes."""

from __future__ import annotations

import os
from pathlib import Path

FLEET_VARIABLE = "CHILL_FLEET"


def fleet_directory(option: str | os.PathLike[str] | None = None) -> Path:
    """The fleet directory: the option, else $CHILL_FLEET, else the current directory."""
    return Path(option or os.environ.get(FLEET_VARIABLE) or ".").expanduser().resolve()
