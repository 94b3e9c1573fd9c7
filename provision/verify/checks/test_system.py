"""The user, its files, and the release it runs."""

from __future__ import annotations

from typing import Any

from provision.verify.target import Target

OTHERS = 0o007


def test_user(host: Any, target: Target) -> None:
    """the Unix user exists, with its home directory"""
    user = host.user(target.user)
    assert user.exists, f"there is no user {target.user}"
    assert user.home == target.home, f"the home of {target.user} is {user.home}, not {target.home}"
    assert host.file(target.home).is_directory, f"there is no directory {target.home}"


def test_home_is_closed(host: Any, target: Target) -> None:
    """the home directory is closed to other users"""
    home = host.file(target.home)
    assert home.is_directory, f"there is no directory {target.home}"
    mode = home.mode
    assert not mode & OTHERS, f"{target.home} has mode {mode:04o}"


def test_env_file_is_private(host: Any, target: Target) -> None:
    """the env file can be read by its user only"""
    file = host.file(target.env_file)
    assert file.exists, f"there is no file {target.env_file}"
    assert file.mode in (0o400, 0o600), f"{target.env_file} has mode {file.mode:04o}"
    assert file.user == target.user, f"{target.env_file} belongs to {file.user}"


def test_current_release(host: Any, target: Target) -> None:
    """the release in use is the one that the settings name"""
    link = host.file(target.current)
    assert link.is_symlink, f"{target.current} is not a link to a release"
    expected = f"{target.home}/releases/{target.release}"
    assert link.linked_to == expected, f"{target.current} leads to {link.linked_to}, not to {expected}"


def test_metering_handler(host: Any, target: Target) -> None:
    """the release writes the log that metering reads"""
    path = f"{target.current}/config/packages/metering.yaml"
    file = host.file(path)
    assert file.exists, f"there is no file {path}"
    assert "metering.log" in file.content_string, f"{path} does not name metering.log"
