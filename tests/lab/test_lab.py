"""The lab keeps its promises: real machines, real networks, exact snapshots."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.lab import Lab, LabError, Machine, network
from tests.lab.errors import RequestError

pytestmark = pytest.mark.lab

Boot = Callable[..., Machine]

# Everything that makes a file what it is, but for the times of directories that a boot itself writes into.
MANIFEST = r"""
find /usr /srv /opt /root /home /etc ! -type d -printf '%p %y %m %U:%G %s %n %T@ %l\n' | LC_ALL=C sort
find /usr /srv /opt /root /home -type d -printf '%p %m %U:%G %T@\n' | LC_ALL=C sort
find /srv /etc -type f -print0 | LC_ALL=C sort -z | xargs -0 sha256sum
"""

CONNECT = 'python3 -c "import socket, sys; print(socket.create_connection(sys.argv[1:], 5).recv(4).decode())" '


def test_a_machine_is_a_debian_that_was_booted(machines: Boot) -> None:
    machine = machines("srv1")

    assert machine.ssh("systemctl is-system-running").stdout == "running\n"
    assert machine.ssh("ps -o comm= -p 1").stdout == "systemd\n"
    assert machine.ssh(". /etc/os-release; echo $ID $VERSION_ID; id -un").stdout == "debian 12\nroot\n"
    assert machine.ssh("hostname; hostname -f; locale charmap").stdout == "srv1\nsrv1.lab.test\nUTF-8\n"
    assert machine.address in machine.ssh("ip -4 -br address show host0").stdout


def test_a_stocked_machine_runs_its_services(machines: Boot) -> None:
    machine = machines("srv1", image="stocked")

    assert machine.ssh("systemctl is-system-running").stdout == "running\n"
    services = "nginx php8.2-fpm postgresql@15-main redis-server postfix@- cron rsyslog"
    assert machine.ssh(f"systemctl is-active {services}").stdout.split() == ["active"] * 7
    assert machine.ssh("sudo -u postgres psql -Atc 'show server_encoding'").stdout == "UTF8\n"


def test_apt_works_inside(machines: Boot) -> None:
    machine = machines("srv1")

    machine.ssh("apt-get -q update && apt-get -q -y install hello")

    assert machine.ssh("hello -g 'as on a server'").stdout == "as on a server\n"


def test_commands_take_input_and_tell_how_they_ended(machines: Boot) -> None:
    machine = machines("srv1")

    assert machine.ssh("wc -c", input=bytes(range(256))).stdout == "256\n"
    assert machine.ssh("echo away >&2; exit 3", check=False).returncode == 3
    with pytest.raises(LabError, match=r"srv1: exit status 3: .*\naway"):
        machine.ssh("echo away >&2; exit 3")
    with pytest.raises(LabError, match="srv1: still running after 1 s: sleep 60"):
        machine.ssh("sleep 60", timeout=1)


def test_files_go_there_and_back(machines: Boot, tmp_path: Path) -> None:
    machine = machines("srv1")
    (tmp_path / "tree/below").mkdir(parents=True)
    (tmp_path / "tree/below/file").write_bytes(b"\0\xff")

    machine.put(tmp_path / "tree", "/srv/tree")
    machine.get("/srv/tree/below/file", tmp_path / "back")

    assert (tmp_path / "back").read_bytes() == b"\0\xff"
    assert (machine.root / "srv/tree/below/file").read_bytes() == b"\0\xff"


def test_a_reset_gives_back_exactly_the_state_of_the_snapshot(machines: Boot) -> None:
    machine = machines("srv1")
    fresh = machine.ssh(MANIFEST).stdout
    machine.ssh("mkdir -m 750 /srv/kept; echo first > /srv/kept/file; ln /srv/kept/file /srv/kept/link")
    machine.ssh("mv /usr/share/doc /usr/share/papers; chown daemon /srv/kept/file; useradd --create-home anna")
    prepared = machine.ssh(MANIFEST).stdout
    machine.snapshot("prepared")
    machine.ssh("echo second > /srv/kept/file; rm -r /usr/share/papers; mkdir /usr/share/papers; userdel -r anna")
    machine.ssh("rm /usr/bin/vmstat; chmod 777 /srv/kept; rm /srv/kept/link")
    machine.snapshot("later")
    later = machine.ssh(MANIFEST).stdout

    assert machine.ssh(MANIFEST).stdout != prepared
    machine.reset("prepared")
    assert machine.ssh(MANIFEST).stdout == prepared
    machine.ssh("rm -r /srv/kept /usr/share/papers")
    machine.reset("later")
    assert machine.ssh(MANIFEST).stdout == later
    machine.reset("prepared")
    assert machine.ssh(MANIFEST).stdout == prepared
    machine.reset()
    assert machine.ssh(MANIFEST).stdout == fresh


def test_a_database_comes_back_as_it_was(machines: Boot) -> None:
    machine = machines("srv1", image="stocked")
    psql = "cd / && sudo -u postgres psql -Atqc"
    machine.ssh(f"{psql} 'create table t as select generate_series(1, 1000) n'")
    machine.snapshot("filled")
    machine.ssh(f"{psql} 'delete from t where n > 10; checkpoint'")

    machine.reset("filled")

    assert machine.ssh(f"{psql} 'select count(*), sum(n) from t'").stdout == "1000|500500\n"


def test_a_stopped_machine_keeps_its_disk(machines: Boot) -> None:
    machine = machines("srv1")
    machine.ssh("echo still here > /srv/note")

    machine.stop()

    assert not machine.running
    machine.start()
    assert machine.ssh("cat /srv/note").stdout == "still here\n"


def test_two_machines_reach_each_other_and_the_host(machines: Boot) -> None:
    one, two = machines("srv1"), machines("mail.example.net")
    one.add_hosts({"mail.example.net": two.address})
    listener = socket.create_server((network.HOST, 0))
    port = listener.getsockname()[1]

    def greet() -> None:
        for _ in range(2):
            connection, _peer = listener.accept()
            with connection:
                connection.sendall(b"host")

    greeter = threading.Thread(target=greet, daemon=True)
    greeter.start()

    assert one.ssh(f"{CONNECT} mail.example.net 22").stdout == "SSH-\n"
    assert two.ssh(f"{CONNECT} srv1.lab.test 22").stdout == "SSH-\n"
    assert [m.ssh(f"{CONNECT} {network.HOST} {port}").stdout for m in (one, two)] == ["host\n", "host\n"]
    greeter.join(5)
    listener.close()
    assert one.ssh("cat /etc/machine-id").stdout != two.ssh("cat /etc/machine-id").stdout


def test_stopping_one_machine_does_nothing_to_another(machines: Boot) -> None:
    one, two = machines("srv1"), machines("srv2")
    before = two.ssh("systemctl show --property=MainPID,NRestarts ssh cron").stdout

    one.ssh("systemctl stop cron")
    one.stop()

    assert two.ssh("systemctl is-active cron").stdout == "active\n"
    assert two.ssh("systemctl show --property=MainPID,NRestarts ssh cron").stdout == before


def test_a_machine_with_another_host_key_is_refused(machines: Boot) -> None:
    machine = machines("srv1")
    machine.ssh("cd /etc/ssh && rm ssh_host_ed25519_key* && ssh-keygen -q -t ed25519 -N '' -f ssh_host_ed25519_key")

    with pytest.raises(LabError, match="Host key verification failed"):
        machine.ssh("true")


def test_a_request_that_cannot_be_changes_nothing(lab: Lab, machines: Boot) -> None:
    machine = machines("srv1")
    machine.snapshot("one")
    machine.ssh("touch /run/not-booted-since")

    with pytest.raises(RequestError, match=r"no snapshot 'two'\n  its snapshots: one"):
        machine.reset("two")
    with pytest.raises(RequestError, match=r"made of the image bare, not stocked\n  remove it first"):
        lab.machine("srv1", image="stocked")
    with pytest.raises(RequestError, match="there is no image 'full'"):
        lab.machine("srv2", image="full")
    with pytest.raises(RequestError, match=r"machine name '\.\./srv1'"):
        lab.machine("../srv1")
    assert machine.ssh("ls /run/not-booted-since").returncode == 0
    assert [m.name for m in lab.machines()] == ["srv1"]
