"""A new fleet directory: complete, commented, valid; nothing that exists is overwritten."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import get_args

import pytest
from pydantic import BaseModel

from provision.errors import InvalidFiles
from provision.fleet_reader import load_fleet
from provision.init import init_fleet
from provision.settings import Settings
from tests.unit.provision.fleets import tree


def test_a_new_directory_is_a_valid_fleet(tmp_path: Path) -> None:
    directory = tmp_path / "new" / "fleet"
    written = init_fleet(directory)
    assert {str(path) for path in written} == {
        ".gitignore",
        "README.md",
        "chill.toml",
        "inventory/servers.yml",
        "inventory/instances/.gitkeep",
        "journal/.gitkeep",
        "ledger/.gitkeep",
        "tariffs/standard.toml",
    }
    fleet = load_fleet(directory)
    assert list(fleet.servers) == ["srv1.example.net"]
    tariff = tomllib.loads((directory / "tariffs/standard.toml").read_text())
    assert tariff["version"][0]["active_users"]["tiers"] == [
        {"up_to": 20, "price": "40.00"},
        {"price": "30.00"},
    ]


def keys(model: type[BaseModel], prefix: str = "") -> set[str]:
    found = set()
    for name, field in model.model_fields.items():
        inner = [kind for kind in (field.annotation, *get_args(field.annotation)) if isinstance(kind, type)]
        # Of a table that comes in several kinds: the keys of each.
        inner += [get_args(kind)[0] for kind in get_args(field.annotation) if get_args(kind)]
        sections = [kind for kind in inner if isinstance(kind, type) and issubclass(kind, BaseModel)]
        found |= set().union(*(keys(section, f"{name}.") for section in sections)) if sections else {prefix + name}
    return found


def test_every_key_of_the_settings_is_in_the_example_and_explained(tmp_path: Path) -> None:
    init_fleet(tmp_path)
    shown, section, explained = set(), "", False
    for line in (tmp_path / "chill.toml").read_text().splitlines():
        if header := re.fullmatch(r"\[(\w+)\]", line):
            section = header[1] + "."
        elif key := re.fullmatch(r"(?:# +)?(\w+) = .+", line):
            shown.add(section + key[1])
            # Keys of a table may share the explanation above it.
            assert explained or section, line
        explained = line.startswith("# ") and " = " not in line
    assert shown == keys(Settings)


def test_keys_that_are_commented_out_show_their_defaults(tmp_path: Path) -> None:
    init_fleet(tmp_path)
    path = tmp_path / "chill.toml"
    before = load_fleet(tmp_path).settings
    text = path.read_text()
    # The two that have no default value to show: an empty key, and an example of a list.
    text = re.sub(r"^# (?!signing_key|reserved_slugs)(\w+ = )", r"\1", text, flags=re.MULTILINE)
    path.write_text(text)
    assert load_fleet(tmp_path).settings == before


@pytest.mark.parametrize("name", ["chill.toml", "README.md", "ledger/.gitkeep"])
def test_a_file_that_exists_stops_it_before_anything_is_written(tmp_path: Path, name: str) -> None:
    (tmp_path / name).parent.mkdir(exist_ok=True)
    (tmp_path / name).write_text("mine")
    before = tree(tmp_path)
    with pytest.raises(InvalidFiles) as caught:
        init_fleet(tmp_path)
    assert str(tmp_path / name) in caught.value.message
    assert tree(tmp_path) == before


def test_a_repository_that_is_empty_but_for_git_s_own_files_is_welcome(tmp_path: Path) -> None:
    (tmp_path / ".git").mkdir()
    assert Path("chill.toml") in init_fleet(tmp_path)
