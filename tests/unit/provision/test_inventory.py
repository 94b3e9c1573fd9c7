"""The inventory files: what is written reads back the same, by this toolkit and by Ansible."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import Any

import pytest
import yaml

from provision.contract import Contract
from provision.errors import RequestError
from provision.fleet import Contact, Fleet, Instance, Responsible
from provision.fleet_reader import load_fleet
from provision.inventory import instance_file, other_places, set_lifecycle, write_instance
from provision.names import instance_names
from tests.unit.provision.fleets import FINGERPRINT, add_instance, make_fleet, tree

EXAMPLE = Path(__file__).parents[3] / "inventory.example.yml"


@pytest.fixture
def fleet(tmp_path: Path) -> Fleet:
    return load_fleet(make_fleet(tmp_path / "fleet"))


def instance(fleet: Fleet, slug: str = "acme", client: str = "ASBL Acme", **contract: Any) -> Instance:
    return Instance(
        names=instance_names(slug, "chill.pro", "support.example.org"),
        client=client,
        responsible=Responsible(name="Camille Dubois", email="camille@example.org", fingerprint=FINGERPRINT),
        contract=Contract(**({"starts": date(2026, 3, 1), "tariff": "standard"} | contract)),
        contacts={"technical": Contact(name="Alix Martin", email="alix@example.org")},
        servers={"production": "srv1.example.net", "test": "srv2.example.net"},
        path=fleet.inventory / "instances" / f"{slug}.yml",
    )


@pytest.mark.parametrize(
    "made",
    [
        {},
        {"slug": "maison-verte"},
        # YAML 1.1 reads these as booleans and numbers unless they are quoted.
        {"slug": "no", "client": "yes"},
        {"slug": "on", "client": "1.5"},
        {"client": 'Chez "Zoé" & fils: l\'été # 100 % — ' + "très " * 40},
        {"client": "{{ 1 + 1 }}"},
        {"ends": date(2027, 12, 31)},
        {"tariff": "2026"},
    ],
)
def test_what_is_written_reads_back_the_same(fleet: Fleet, made: dict[str, Any]) -> None:
    wanted = instance(fleet, **made)
    write_instance(wanted)
    assert load_fleet(fleet.directory).instance(wanted.slug) == wanted


def test_a_fingerprint_of_digits_stays_text(fleet: Fleet) -> None:
    wanted = instance(fleet)
    digits = wanted.responsible.model_copy(update={"fingerprint": "12345678901234567890123456789012345678E0"})
    write_instance(replace(wanted, responsible=digits))
    assert load_fleet(fleet.directory).instance("acme").responsible.fingerprint.endswith("78E0")


def test_a_file_that_exists_is_never_overwritten(fleet: Fleet) -> None:
    path = add_instance(fleet.directory, "acme")
    before = tree(fleet.directory)
    with pytest.raises(RequestError) as caught:
        write_instance(instance(fleet))
    assert "acme.yml" in caught.value.message
    assert tree(fleet.directory) == before
    assert path.exists()


def test_the_file_of_a_directory_that_cannot_be_written_to(fleet: Fleet) -> None:
    (fleet.inventory / "instances").rmdir()
    (fleet.inventory / "instances").write_text("in the way")
    with pytest.raises(RequestError) as caught:
        write_instance(instance(fleet))
    assert "inventory/instances" in caught.value.message


def test_taking_out_of_service_touches_one_key_and_coming_back_leaves_no_trace(fleet: Fleet) -> None:
    made = instance(fleet, client="no")
    write_instance(made)
    text = made.path.read_text()
    made.path.write_text(text.replace("vars:", "vars:  # a remark", 1))
    before = made.path.read_text()

    set_lifecycle(made, "suspended")
    assert load_fleet(fleet.directory).instances["acme"].lifecycle == "suspended"
    changed = made.path.read_text().splitlines()
    assert [line for line in changed if line not in before.splitlines()] == ["    lifecycle: suspended"]

    set_lifecycle(made, "running")
    assert made.path.read_text() == before
    assert [path.name for path in made.path.parent.iterdir()] == [made.path.name]


def ansible_inventory(path: Path) -> dict[str, Any]:
    command = [Path(sys.executable).with_name("ansible-inventory"), "-i", path, "--list"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert "WARNING" not in done.stderr
    loaded: dict[str, Any] = json.loads(done.stdout)
    return loaded


def test_the_example_is_valid_and_has_the_shape_of_what_is_written(fleet: Fleet) -> None:
    example = yaml.safe_load(EXAMPLE.read_text())
    servers = example.pop("servers")
    written = yaml.safe_load(instance_file(instance(fleet)))
    assert written == example
    by_ansible = ansible_inventory(EXAMPLE)
    assert set(by_ansible["chill_acme"]["hosts"]) == {"acme.chill.pro", "acme-test.chill.pro"}
    assert by_ansible["production"]["hosts"] == ["acme.chill.pro"]
    assert by_ansible["test"]["hosts"] == ["acme-test.chill.pro"]
    assert set(by_ansible["servers"]["hosts"]) == set(servers["hosts"])


def test_the_example_spread_over_files_is_a_valid_fleet(fleet: Fleet) -> None:
    example = yaml.safe_load(EXAMPLE.read_text())
    (fleet.inventory / "servers.yml").write_text(yaml.safe_dump({"servers": example.pop("servers")}))
    (fleet.inventory / "instances/acme.yml").write_text(yaml.safe_dump(example))
    assert load_fleet(fleet.directory).instance("acme").servers["test"] == "srv2.example.net"


def test_ansible_reads_a_fleet_s_inventory_the_same_way(fleet: Fleet) -> None:
    write_instance(instance(fleet))
    (fleet.inventory / "instances/.gitkeep").touch()
    by_ansible = ansible_inventory(fleet.inventory)
    host = by_ansible["_meta"]["hostvars"]["acme-test.chill.pro"]
    assert (host["instance"], host["server"], host["client"]) == ("acme", "srv2.example.net", "ASBL Acme")


def test_a_process_that_died_while_writing_leaves_nothing_that_ansible_reads(fleet: Fleet) -> None:
    add_instance(fleet.directory, "other")
    (fleet.inventory / "instances/.acme.k2j3.new").write_text("chill_acme: [")
    assert "chill_acme" not in ansible_inventory(fleet.inventory)
    assert list(load_fleet(fleet.directory).instances) == ["other"]


@pytest.mark.parametrize(
    "name,text",
    [
        ("inventory/old.yml", "all: {children: {old: {hosts: {acme-test.chill.pro: {}}}}}"),
        ("inventory/old.ini", "[old]\nacme-test.chill.pro ansible_host=192.0.2.1\n"),
        ("inventory/hosts", "acme-test.chill.pro\n"),
    ],
)
def test_a_host_of_the_same_name_elsewhere_is_found(fleet: Fleet, name: str, text: str) -> None:
    path = fleet.directory / name
    path.write_text(text)
    assert list(other_places(fleet, instance(fleet))) == [("acme-test.chill.pro", path)]


@pytest.mark.parametrize(
    "name,text",
    [
        ("inventory/old.yml", "# acme.chill.pro was here\nall: {hosts: {big-acme.chill.pro: {}}}"),
        ("inventory/old.ini", "# acme.chill.pro\nother.example.net ansible_host=acme.chill.pro\n"),
        ("inventory/notes.txt", "acme.chill.pro\n"),
        ("inventory/.hidden.yml", "all: {hosts: {acme.chill.pro: {}}}"),
    ],
)
def test_a_name_that_is_no_host_there_is_not(fleet: Fleet, name: str, text: str) -> None:
    (fleet.directory / name).write_text(text)
    assert not list(other_places(fleet, instance(fleet)))
