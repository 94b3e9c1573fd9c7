"""Nobody's name, address, number or token reaches anything that metering writes or says.

A year of marked data goes through everything; then every byte is searched: spool, state with its deleted pages, ledger,
standard output, standard error.
"""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import click
import pytest

from metering.cli import main
from metering.samples import METRICS
from provision.meter_bundle import build
from tests.integration.marked import ADDRESSES, IPS, NAMES, PHONES, TEXTS, TOKENS, Year, found_in
from tests.integration.ssh_server import ssh_server
from tests.unit.metering.ledger.ledgers import make_ledger_fleet
from tests.unit.metering.server_side import Server

ROOT = Path(__file__).parents[2]
SERVER_NAME = "srv1.example.net"
YESTERDAY = datetime.now(UTC).astimezone().date() - timedelta(days=1)
CONFIG = """
[postfix]
logs = ["mail.log*"]
internal_relays = ["127.0.0.1:10024"]
[instances.acme]
dsn = "{database}"
logs = ["app/metering.log*"]
documents = ["documents"]
wopi_logs = ["wopi.log*"]
mail = {{uids = [998], sasl = ["{address}"], senders = ["{address}"]}}
service_accounts = ["{name}"]
[[instances.acme.sms]]
channel = "sms"
message = "job done"
messages = "validReceivers"
[instances.beta]
dsn = "host=203.0.113.99 connect_timeout=1 port=1 user='{name}' password='{secret}' dbname=beta"
logs = ["absent/metering.log"]
documents = ["absent"]
wopi_logs = ["absent/wopi.log"]
"""


@dataclass
class Site:
    """A server and a control machine, and everything that their commands ever said."""

    root: Path
    year: Year
    said: bytes = b""

    @property
    def fleet(self) -> Path:
        return self.root / "fleet"

    def on_server(self, *arguments: str, config: str = "meter.toml") -> subprocess.CompletedProcess[bytes]:
        program = ["/usr/bin/python3", "-I", str(self.root / "chill-meter")]
        return self._run([*program, *arguments, "--config", str(self.root / config)], Path("/"))

    def on_control_machine(self, *arguments: str) -> subprocess.CompletedProcess[bytes]:
        return self._run([sys.executable, "-m", "metering.cli", *arguments, "--fleet", str(self.fleet)], ROOT)

    def _run(self, command: list[str], place: Path) -> subprocess.CompletedProcess[bytes]:
        done = subprocess.run(command, cwd=place, capture_output=True)
        assert b"Traceback" not in done.stderr, done.stderr.decode(errors="replace")[-2000:]
        self.said += done.stdout + done.stderr
        return done

    def written(self) -> bytes:
        """Every byte below the spool, the state and the fleet, with the files' names."""
        places = (self.root / "spool", self.root / "state", self.fleet / "ledger", self.fleet / "journal")
        files = [path for place in places for path in place.rglob("*") if path.is_file()]
        assert files
        return b"\n".join(str(path).encode() + b"\n" + path.read_bytes() for path in files)


@pytest.fixture
def site(tmp_path: Path, database: str) -> Site:
    year = Year.until(YESTERDAY)
    year.fill(database)
    text = CONFIG.format(database=database, address=ADDRESSES[0], name=NAMES[2], secret=TEXTS[1])
    server = Server(tmp_path, text, head=f'server = "{SERVER_NAME}"\nspool = "spool"\nstate = "state"\n')
    server.log.write_bytes(year.metering_log())
    (tmp_path / "mail.log").write_bytes(year.mail_log())
    (tmp_path / "wopi.log").write_bytes(year.wopi_log())
    folder = tmp_path / "documents" / NAMES[0]
    folder.mkdir(parents=True)
    (folder / f"{PHONES[0]}.odt").write_text(TEXTS[0])
    build(tmp_path / "chill-meter")
    make_ledger_fleet(tmp_path / "fleet", ("acme", "beta"))
    return Site(tmp_path, year)


def assert_blind(site: Site) -> None:
    assert found_in(site.written()) == []
    assert found_in(site.said) == []


def test_a_year_of_marked_data_leaves_no_mark(site: Site) -> None:
    first = site.year.days[0].isoformat()
    assert site.on_server("collect", "-v", "--since", first).returncode == 3
    # Again, with lines that come late, a log that rotated, and one that is damaged.
    with (site.root / "app" / "metering.log").open("ab") as log:
        log.write(site.year.metering_log()[:20_000])
    (site.root / "mail.log").rename(site.root / "mail.log.1")
    (site.root / "mail.log").write_bytes(site.year.mail_log()[-30_000:-17])
    (site.root / "mail.log.2.gz").write_bytes(b"\x1f\x8b" + NAMES[0].encode())
    assert site.on_server("collect", "-v", "--json").returncode == 3
    assert_counted(site)
    explain(site)
    pull(site)
    control_machine(site)
    assert_blind(site)


def assert_counted(site: Site) -> None:
    """The marks were read, else it would prove nothing that they are nowhere."""
    rows = Server(site.root, (site.root / "meter.toml").read_text(), head="").rows()
    good = {(row["metric"], row["value"]) for row in rows if (row["instance"], row["status"]) == ("acme", "ok")}
    # A line and a record of the batch name two numbers each; one line that is not UTF-8 names one.
    assert ("sms_sent", "5") in good
    assert {metric for metric, value in good if value != "0"} >= {*METRICS} - {"sms_sent"}
    people = [path.read_bytes() for path in (site.root / "spool").glob("*.users.csv")]
    assert len(people) > 365


def explain(site: Site) -> None:
    """Whatever can be explained."""
    group = main.commands.get("explain")
    for name in group.commands if isinstance(group, click.Group) else ():
        for day in (site.year.days[3], YESTERDAY):
            for slug in ("acme", "beta"):
                # Nobody counts the e-mails of beta, whose database cannot be reached: both are told.
                done = site.on_server("explain", name, slug, day.isoformat())
                assert (done.returncode == 2) == ((name, slug) == ("emails", "beta"))


def pull(site: Site) -> None:
    """From the server's spool, by ssh."""
    home = site.root / "sshd"
    home.mkdir()
    with ssh_server(home) as server:
        (site.fleet / "ssh_config").write_text(server.client_config)
        host = {"ansible_host": "127.0.0.1", "ansible_user": server.user, "meter_spool": str(site.root / "spool")}
        hosts = {SERVER_NAME: host, "srv2.example.net": host}
        (site.fleet / "inventory" / "servers.yml").write_text(json.dumps({"servers": {"hosts": hosts}}))
        assert site.on_control_machine("pull", SERVER_NAME).returncode == 0
    assert len(list((site.fleet / "ledger").glob("*/*.users.csv"))) > 365


def control_machine(site: Site) -> None:
    """Every way of looking at the ledger, and the provider's export: good, and broken in many ways."""
    site.on_control_machine("status")
    site.on_control_machine("status", "--json")
    if "check" in main.commands:
        site.on_control_machine("check")
    export = site.root / "export.csv"
    export.write_text(site.year.export())
    mapping = ["--map", "date=Date", "--map", "account=Service", "--account", "sms-1=acme"]
    assert site.on_control_machine("import", "sms", str(export), *mapping).returncode == 3
    wrong = (
        ["--map", "date=To", "--map", "account=Name"],
        ["--map", "date=Date", "--map", "account=To", "--map", "count=Text"],
        ["--map", "date=Date", "--instance", "acme", "--encoding", "ascii"],
    )
    for options in wrong:
        assert site.on_control_machine("import", "sms", str(export), *options).returncode == 2
    export.write_text(site.year.export().partition("\n")[2])
    assert site.on_control_machine("import", "sms", str(export), *mapping).returncode == 2


MISTAKES = {
    "an address for a sender": ('senders = ["@acme.chill.pro"]', f'senders = ["{NAMES[0]}"]'),
    "a name where a number belongs": ("uids = [998]", f'uids = ["{NAMES[0]}"]'),
    "an address that belongs to two": (
        "[instances.beta]",
        f'[instances.beta]\nmail = {{uids = [1], senders = ["{ADDRESSES[0]}"]}}',
    ),
    "a password where a database belongs": ('dsn = "dbname=acme"', f'dsn = "{TEXTS[1]}"'),
    "a name for a key": ("[postfix]", f'["{NAMES[0]}"]\nx = 1\n[postfix]'),
    "a key in a table": ("uids = [998]", f'uids = [998], "{ADDRESSES[0]}" = 1'),
    "an instance of a strange name": (
        "[instances.beta]",
        f'[instances."{ADDRESSES[0]}"]\ndsn = "x=y"\n[instances.beta]',
    ),
    "a server of a strange name": ('server = "srv1"', f'server = "{NAMES[0]}"'),
    "a zone of a strange name": ('server = "srv1"', f'server = "srv1"\ntimezone = "{TEXTS[0]}"'),
    "a relay that is none": ("[postfix]", f'[postfix]\ninternal_relays = ["{IPS[0]}"]'),
    "a token for a pattern": ("[instances.beta]", f'[[instances.acme.sms]]\nchannel = "x"\nmessage = "({TOKENS[0]}"'),
    "a key twice": ("[postfix]", f'["{NAMES[0]}"]\n["{NAMES[0]}"]\n[postfix]'),
    "a key twice in a line": ("uids = [998]", f'uids = [998], "{ADDRESSES[0]}" = 1, "{ADDRESSES[0]}" = 2'),
    "no TOML at all": ("[postfix]", f"{NAMES[0]} <{ADDRESSES[0]}> {PHONES[0]}"),
    "a password in a store": (
        'dsn = "dbname=acme"',
        f'dsn = "dbname=acme"\ndocuments = ["s3://{NAMES[0]}:{TEXTS[1]}@x", "swift://a b"]',
    ),
}
SOUND = f"""server = "srv1"
spool = "spool"
state = "state"
[postfix]
logs = ["mail.log"]
[instances.acme]
dsn = "dbname=acme"
mail = {{uids = [998], senders = ["@acme.chill.pro"], sasl = ["{ADDRESSES[0]}"]}}
[instances.beta]
"""


def test_a_configuration_full_of_mistakes_shows_none_of_its_values(tmp_path: Path) -> None:
    build(tmp_path / "chill-meter")
    site = Site(tmp_path, Year([]))
    for name, (good, bad) in MISTAKES.items():
        assert good in SOUND, name
        text = SOUND.replace(good, bad, 1)
        if name == "an address that belongs to two":
            text = text.replace("@acme.chill.pro", ADDRESSES[0])
        (tmp_path / "meter.toml").write_text(text)
        done = site.on_server("collect", "-v")
        assert done.returncode == 2, f"{name}: {done.stderr.decode()}"
        assert found_in(done.stdout + done.stderr) == [], name
    assert not (tmp_path / "state").exists()


@pytest.mark.parametrize("mark", [NAMES[0], ADDRESSES[1], PHONES[0], IPS[1], TEXTS[0], TOKENS[2]])
def test_the_search_finds_what_is_there(mark: str) -> None:
    """The search itself, which must not be blind."""
    assert found_in(b"x" + mark.upper().encode() + b"y")
    assert found_in(json.dumps({"a": mark}).encode())
