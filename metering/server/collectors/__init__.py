"""The metrics: one file each in this directory, and one line each in METRICS (metering/samples.py).

docs/add-a-metric.md walks through adding one.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import date
from importlib import import_module
from pkgutil import iter_modules
from typing import Final, Protocol

from metering.samples import METRICS
from metering.server.config import Instance
from metering.server.run import Measured, Run


class Collector(Protocol):
    """Measures one metric of one instance."""

    def measure(self, day: date) -> Measured:
        """The value of a local day. SourceError when it cannot be had."""
        ...

    def close(self) -> None:
        """Give back what was opened."""
        ...


# Makes a collector, or None when the configuration names no source for it.
Maker = Callable[[Run, Instance], Collector | None]


def find_collectors() -> dict[str, Maker]:
    """By metric, the function `collector` of every module here; its METRIC says which metric that is.

    TypeError when a module does not keep to this: it is a mistake of whoever wrote it.
    """
    found: dict[str, Maker] = {}
    for module in iter_modules(__path__, f"{__name__}."):
        loaded = import_module(module.name)
        metric = getattr(loaded, "METRIC", None)
        if metric not in METRICS or metric in found:
            what = "is no metric of metering/samples.py, METRICS" if metric not in found else "has another collector"
            raise TypeError(f"{module.name}: METRIC: {metric!r} {what}")
        found[metric] = loaded.collector
    return found


COLLECTORS: Final = find_collectors()
