"""Credentials of Microsoft Graph: their form, what the token endpoint says of them, when somebody is reminded."""

from __future__ import annotations

import io
import itertools
import socket
from collections.abc import Iterator, Sequence
from datetime import date, timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from provision.errors import ChillError, InvalidFiles, RequestError
from provision.fleet_reader import load_fleet
from provision.graph import GraphCredentials, expiry, parse, reminder
from provision.graph_letter import compose
from provision.graph_source import is_encrypted, read_credentials
from provision.journal import Journal
from provision.listing import list_values, reminders, show_values
from provision.secrets import Secret
from provision.settings import Graph, Language
from provision.token_endpoint import check_credentials
from tests.fixtures.token_endpoint import Directory, token_endpoint
from tests.unit.provision.fleets import add_instance, make_fleet

TODAY = date(2026, 11, 25)
TENANT = "a3b1c2d4-0000-4000-8000-1234567890ab"
CLIENT = "5f6e7d8c-0000-4000-8000-ba0987654321"
SECRET = "Zq8~hunter.two-AND_more%APP_SECRET%x"
LINES = {
    "tenant": f'"{TENANT}"',
    "client_id": f'"{CLIENT}"',
    "client_secret": f'"{SECRET}"',
    "expires": "2027-03-01",
}


def document(**changed: str) -> str:
    return "".join(f"{key} = {value}\n" for key, value in {**LINES, **changed}.items() if value)


def credentials(**changed: str) -> GraphCredentials:
    return parse(document(**changed), "graph.toml", TODAY)


def test_what_was_given_is_what_chill_is_told() -> None:
    assert credentials().variables() == {
        "OAUTH_AZURE_CLIENT_ID": CLIENT,
        "OAUTH_AZURE_CLIENT_SECRET": Secret(SECRET),
        "OAUTH_AZURE_CLIENT_TENANT": TENANT,
    }
    assert credentials(tenant='"Contoso.onmicrosoft.com"').tenant == "contoso.onmicrosoft.com"
    assert SECRET not in repr(credentials())


@pytest.mark.parametrize(
    "changed, said",
    [
        ({"tenant": '"common"'}, "graph.toml: tenant: expected the id of the directory"),
        ({"tenant": ""}, "graph.toml: tenant: is missing"),
        ({"client_id": '"My Application"'}, "graph.toml: client_id: expected the id of the application"),
        ({"client_secret": f'"{CLIENT}"'}, "graph.toml: client_secret: this is the id of a secret"),
        ({"client_secret": '"with \'quote and more"'}, "graph.toml: client_secret: expected 8 to 256"),
        ({"client_secret": '"two words here"'}, "graph.toml: client_secret: expected 8 to 256"),
        ({"expires": "2026-11-24"}, "graph.toml: expires: 2026-11-24 is over"),
        ({"expires": '"next year"'}, "graph.toml: expires:"),
        ({"scope": '"x"'}, "graph.toml: scope: is not a key that is known here"),
    ],
)
def test_a_fault_of_form_is_told_with_its_key_and_without_the_value(changed: dict[str, str], said: str) -> None:
    with pytest.raises(InvalidFiles) as raised:
        credentials(**changed)
    assert said in raised.value.message
    assert SECRET not in raised.value.message
    assert "next year" not in raised.value.message


def test_all_faults_are_told_at_once() -> None:
    with pytest.raises(InvalidFiles) as raised:
        credentials(tenant='"common"', client_id='"x"', client_secret='"short"', expires="2020-01-01")
    assert len(raised.value.problems) == 4


@given(junk=st.text(max_size=30))
def test_what_is_not_toml_is_refused_without_a_word_of_it(junk: str) -> None:
    with pytest.raises(InvalidFiles) as raised:
        parse(f"client_secret = {SECRET} {junk}", "graph.toml", TODAY)
    assert "graph.toml, " in raised.value.message
    assert SECRET not in raised.value.message


def test_the_last_day_is_a_day_of_use() -> None:
    assert credentials(expires=TODAY.isoformat()).expires == TODAY


@pytest.fixture
def directory() -> Iterator[Directory]:
    with token_endpoint(Directory(TENANT, CLIENT, [SECRET], list(Graph().permissions))) as served:
        yield served


def test_credentials_that_microsoft_takes_are_taken(directory: Directory) -> None:
    assert check_credentials(credentials(), Graph(authority=directory.address), "FILE") == []
    assert directory.asked == [f"/{TENANT}/oauth2/v2.0/token"]


@pytest.mark.parametrize("granted", [[], ["Calendars.ReadWrite", "User.Read.All"]])
def test_permissions_that_were_not_granted_are_named(directory: Directory, granted: list[str]) -> None:
    directory.roles = granted
    missing = check_credentials(credentials(), Graph(authority=directory.address), "FILE")
    assert missing == [one for one in Graph().permissions if one not in granted]


def test_a_fleet_may_ask_for_other_permissions(directory: Directory) -> None:
    """The manual of the version that is installed has the last word."""
    needed = Graph(authority=directory.address, permissions=("Calendars.ReadWrite", "Place.Read.All"))

    assert check_credentials(credentials(), needed, "FILE") == ["Place.Read.All"]
    with pytest.raises(ValidationError, match="name of a permission"):
        Graph(permissions=("Calendars ReadWrite",))
    with pytest.raises(ValidationError, match="at least 1"):
        Graph(permissions=())


@pytest.mark.parametrize(
    "changed, refusal, said",
    [
        ({"tenant": '"other.example.org"'}, 0, "FILE: tenant: Microsoft knows no such directory (AADSTS90002)"),
        ({"client_id": f'"{TENANT}"'}, 0, "FILE: client_id: this directory has no such application (AADSTS700016)"),
        ({"client_secret": '"wrong-secret"'}, 0, "FILE: client_secret: it is not a secret of this application"),
        ({}, 7000222, "FILE: client_secret: the secret has expired (AADSTS7000222)"),
        ({}, 53003, "FILE: a conditional access policy"),
        ({}, 123456, "FILE: Microsoft refuses these credentials (AADSTS123456)"),
    ],
)
def test_a_refusal_is_told_in_words_with_the_next_step(
    directory: Directory, changed: dict[str, str], refusal: int, said: str
) -> None:
    directory.refusal = refusal
    with pytest.raises(RequestError) as raised:
        check_credentials(credentials(**changed), Graph(authority=directory.address), "FILE")
    assert said in raised.value.message
    assert "nothing was changed" in raised.value.message
    assert raised.value.hint
    assert not any(secret in raised.value.message + raised.value.hint for secret in (SECRET, "wrong-secret"))


def test_an_endpoint_that_is_away_is_a_failure_and_not_a_refusal() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"http://127.0.0.1:{taken.getsockname()[1]}"
    with pytest.raises(ChillError, match="cannot be reached: Connection refused") as raised:
        check_credentials(credentials(), Graph(authority=address), "FILE")
    assert raised.value.status == 1


@pytest.mark.parametrize("status", [302, 307, 500])
def test_an_answer_that_is_none_is_a_failure_and_redirects_get_nothing(directory: Directory, status: int) -> None:
    directory.status, directory.location = status, f"{directory.address}/elsewhere"
    with pytest.raises(ChillError, match=f"HTTP status {status}") as raised:
        check_credentials(credentials(), Graph(authority=directory.address), "FILE")
    assert raised.value.status == 1
    assert len(directory.asked) == 1


@pytest.mark.parametrize("address", ["http://login.example.org", "login.microsoftonline.com", "https://u@example.org"])
def test_the_secret_would_not_travel_in_clear(address: str) -> None:
    with pytest.raises(ValueError, match="expected an address like"):
        Graph(authority=address)


@pytest.mark.parametrize("days, told", [(61, False), (60, True), (0, True), (-1, True)])
def test_list_reminds_sixty_days_before_the_end(tmp_path: Path, days: int, told: bool) -> None:
    fleet = make_fleet(tmp_path / "fleet")
    add_instance(fleet, "acme")
    add_instance(fleet, "beta")
    journal = Journal(fleet / "journal")
    journal.add("acme", "create", "graph_set", result="ok", expires="2020-01-01")
    last = TODAY + timedelta(days=days)
    journal.add("acme", "graph set", "graph_set", result="ok", expires=last.isoformat())

    rows = list_values(load_fleet(fleet), TODAY)

    assert [row["graph"] for row in rows] == [{"expires": last.isoformat(), "days": days}, None]
    said = list(reminders(rows))
    assert [line.split(":")[0] for line in said] == ["acme"] * told
    assert all(f"on {last}" in line and "chill-provision graph set acme FILE" in line for line in said)
    assert show_values(load_fleet(fleet), "acme", TODAY)["graph"]["days"] == days


def test_nobody_is_reminded_of_an_instance_that_is_archived(tmp_path: Path) -> None:
    fleet = make_fleet(tmp_path / "fleet")
    add_instance(fleet, "acme")
    journal = Journal(fleet / "journal")
    journal.add("acme", "create", "graph_set", result="ok", expires=TODAY.isoformat())
    ended = dict.fromkeys(("acme.chill.pro", "acme-test.chill.pro"), "archived")
    journal.add("acme", "archive", "ended", result="ok", environments=ended)  # type: ignore[arg-type]
    assert reminders(list_values(load_fleet(fleet), TODAY)) == []


@pytest.mark.parametrize(
    "days, words",
    [(0, "expires on 2026-11-25, today"), (1, "expires on 2026-11-26, in 1 day;"), (-2, "expired on 2026-11-23")],
)
def test_the_reminder_says_when(tmp_path: Path, days: int, words: str) -> None:
    journal = Journal(tmp_path)
    journal.add("acme", "create", "graph_set", expires=(TODAY + timedelta(days=days)).isoformat())
    found = expiry(journal.read("acme"), TODAY)
    assert found
    assert words in reminder("acme", found)


@pytest.mark.parametrize("language", ["fr", "en", "nl"])
def test_the_letter_asks_for_every_permission_in_three_languages(tmp_path: Path, language: Language) -> None:
    fleet = make_fleet(tmp_path / "fleet")
    path = add_instance(fleet, "acme")
    text = path.read_text()
    contact = '    contacts: {technical: {name: "Alix Martin", email: "alix@example.org"}}\n'
    path.write_text(text.replace("    client:", contact + "    client:"))
    loaded = load_fleet(fleet)

    letter = compose(loaded.instance("acme"), loaded, language, TODAY)

    assert all(f"\n    {permission}\n" in letter.body for permission in Graph().permissions)
    assert "Alix Martin" in letter.body
    assert "support+acme@support.example.org" in letter.body
    keys = [line.split(" = ")[0].strip() for line in letter.body.splitlines() if " = " in line]
    assert keys == list(LINES)
    assert max(len(line) for line in letter.body.splitlines()) <= 72


def test_there_is_no_letter_without_somebody_to_write_to(tmp_path: Path) -> None:
    fleet = make_fleet(tmp_path / "fleet")
    add_instance(fleet, "acme")
    loaded = load_fleet(fleet)
    with pytest.raises(RequestError, match=r"acme.yml: contacts.technical is missing"):
        compose(loaded.instance("acme"), loaded, "en", TODAY)


def test_a_file_in_clear_is_refused_and_standard_input_in_clear_is_not(tmp_path: Path) -> None:
    fleet = load_fleet(make_fleet(tmp_path / "fleet"))
    clear = tmp_path / "graph.toml"
    clear.write_text(document())

    with pytest.raises(RequestError, match="is not encrypted by OpenPGP") as raised:
        read_credentials(str(clear), "--graph", io.BytesIO(), fleet, TODAY)
    piped = read_credentials("-", "--graph", io.BytesIO(document().encode()), fleet, TODAY)

    assert SECRET not in raised.value.message
    assert piped == credentials()


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    fleet = load_fleet(make_fleet(tmp_path / "fleet"))
    with pytest.raises(RequestError, match=r"absent\.asc: No such file"):
        read_credentials(str(tmp_path / "absent.asc"), "--graph", io.BytesIO(), fleet, TODAY)


def texts() -> Sequence[bytes]:
    words = (b"tenant = 1", "été = 1".encode(), b"")
    return [b"".join(pair) for pair in itertools.product((b"", b"\n"), words)]


@pytest.mark.parametrize("text", texts())
def test_text_is_not_taken_for_an_openpgp_message(text: bytes) -> None:
    assert not is_encrypted(text)
