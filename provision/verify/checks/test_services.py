"""What must be running, and run again after a restart of the server."""

from __future__ import annotations

from typing import Any

from provision.verify.target import Target


def running(host: Any, unit: str) -> None:
    """Fail in words unless a systemd unit is active and enabled."""
    states = host.run("systemctl show --property=LoadState,ActiveState,UnitFileState,Result %s", unit).stdout
    state = dict(line.split("=", 1) for line in states.splitlines() if "=" in line)
    assert state.get("LoadState") == "loaded", f"there is no unit {unit}"
    active, enabled = state.get("ActiveState"), state.get("UnitFileState")
    assert active == "active", f"{unit} is {active} ({state.get('Result')}); see: journalctl -u {unit}"
    assert enabled == "enabled", f"{unit} does not start by itself (it is {enabled or 'unknown'})"


def test_worker(host: Any, target: Target) -> None:
    """the worker runs, and starts with the server"""
    running(host, target.worker)


def test_cron(host: Any, target: Target) -> None:
    """the periodic jobs are on their timer"""
    running(host, target.cron_timer)


def test_php(host: Any, target: Target) -> None:
    """PHP runs, and starts with the server"""
    running(host, target.php)


def test_php_pool(host: Any, target: Target) -> None:
    """php-fpm listens on the environment's own socket"""
    socket = host.file(target.pool_socket)
    assert socket.exists, f"there is no {target.pool_socket}"
    assert socket.is_socket, f"{target.pool_socket} is not a socket"
    assert not socket.mode & 0o007, f"{target.pool_socket} has mode {socket.mode:04o}: anybody can use it"


def test_php_pool_settings(host: Any, target: Target) -> None:
    """the php-fpm pool has the settings that isolate it"""
    file = host.file(target.pool)
    assert file.exists, f"there is no file {target.pool}"
    lines = file.content_string.splitlines()
    found = {key.strip(): value.strip() for key, _, value in (line.partition("=") for line in lines if "=" in line)}
    wanted = {
        "listen": target.pool_socket,
        "listen.mode": "0600",
        "listen.acl_users": "www-data",
        "pm": "ondemand",
        "clear_env": "yes",
        "security.limit_extensions": ".php",
    }
    wrong = [f"{key} is {found.get(key)}, not {value}" for key, value in wanted.items() if found.get(key) != value]
    assert not wrong, f"{target.pool}: {'; '.join(wrong)}"
