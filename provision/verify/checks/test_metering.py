"""Whether usage will be counted."""

from __future__ import annotations

import tomllib
from typing import Any

import pytest

from provision.verify.target import Target

CONFIGURATION = "/etc/chill/meter.toml"


@pytest.mark.production
def test_metered(host: Any, target: Target) -> None:
    """usage of the instance is counted every night"""
    file = host.file(CONFIGURATION)
    assert file.exists, f"there is no file {CONFIGURATION}"
    try:
        instances = tomllib.loads(file.content_string).get("instances", {})
    except tomllib.TOMLDecodeError as error:
        raise AssertionError(f"{CONFIGURATION} is not TOML: {error}") from None
    assert target.instance in instances, f"{CONFIGURATION} has no [instances.{target.instance}]"
    dsn = instances[target.instance].get("dsn", "")
    assert dsn.endswith(f"/{target.database}"), f"{CONFIGURATION}: [instances.{target.instance}] has the dsn {dsn!r}"
