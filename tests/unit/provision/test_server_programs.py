"""What the playbooks run on servers, as far as it needs no server: links of a release, secrets in what is said."""

from __future__ import annotations

import importlib.machinery
import importlib.util
from pathlib import Path
from types import ModuleType

import pytest

PLAYBOOKS = Path(__file__).resolve().parents[3] / "playbooks"


def program(path: str) -> ModuleType:
    """A program of the playbooks, as a module."""
    loader = importlib.machinery.SourceFileLoader("program", str(PLAYBOOKS / path))
    spec = importlib.util.spec_from_loader("program", loader)
    assert spec
    module = importlib.util.module_from_spec(spec)
    loader.exec_module(module)
    return module


@pytest.mark.parametrize(
    "target,outside",
    [
        ("../vendor/file", False),
        ("file", False),
        ("/etc/passwd", True),
        ("../../../file", True),
        ("../public/../../file", True),
    ],
)
def test_links_that_lead_out_of_a_release_are_found(tmp_path: Path, target: str, outside: bool) -> None:
    root = tmp_path / "release"
    for directory in ("public", "vendor"):
        (root / directory).mkdir(parents=True)
        (root / directory / "file").touch()
    (root / "public/link").symlink_to(target)

    found = program("library/chill_release.py").links_outside(root)

    assert found == (["public/link"] if outside else [])


def test_the_console_knows_what_may_not_show() -> None:
    console = program("roles/web/files/chill-console")
    text = """\
# Written by the toolkit.
APP_ENV='prod'
APP_SECRET='4f2a4f2a4f2a'
DEFAULT_URI='https://acme.chill.pro'
DATABASE_URL='postgresql://chill-acme@localhost/chill_acme?host=/run/postgresql&serverVersion=15'
REDIS_URL='redis://chill-acme:r3d1sr3d1s@127.0.0.1:6379'
JWT_SECRET_KEY='/srv/chill/acme.chill.pro/shared/jwt/private.pem'
SHORT_MESSAGE_DSN='ovhcloud://application:sm5sm5sm5@default?consumer_key=c0n5umer&sender=Chill'
OAUTH_AZURE_CLIENT_SECRET='gR8Q~first%one'
"""

    hidden = console.secrets(text)

    assert {"4f2a4f2a4f2a", "r3d1sr3d1s", "sm5sm5sm5", "c0n5umer", "gR8Q~first%one"} <= hidden
    assert not hidden & {"prod", "acme.chill.pro", "localhost", "/srv/chill/acme.chill.pro/shared/jwt/private.pem"}
    said = "Invalid Redis DSN: redis://chill-acme:r3d1sr3d1s@127.0.0.1:6379 in /srv/chill/acme.chill.pro"
    assert (
        console.blot(said, hidden) == "Invalid Redis DSN: redis://•••:•••@127.0.0.1:6379 in /srv/chill/acme.chill.pro"
    )
