"""Real Debian machines on this machine: systemd-nspawn over overlays. See README.md beside this file.

Standard library only: it must run before there is a virtual environment.
"""

from __future__ import annotations

from tests.lab.errors import LabError
from tests.lab.lab import Lab
from tests.lab.machine import Machine

__all__ = ["Lab", "LabError", "Machine"]
