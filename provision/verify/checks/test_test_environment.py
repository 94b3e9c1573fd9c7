"""What keeps a test environment from doing harm: its password, what it says of itself, where its mail goes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from provision.names import SITE_ACCOUNT
from provision.verify import web
from provision.verify.checks.test_services import running
from provision.verify.target import Target

pytestmark = pytest.mark.test_environment

ALWAYS = pytest.mark.lifecycle("running", "suspended", "archived")
CATCHING = "cleanup_service_name=caught"


def never_ran(host: Any, target: Target) -> bool:
    """Whether an environment was given up before its application was in service: then there is nothing to hold."""
    return target.lifecycle != "running" and not host.file(target.current).is_symlink


def test_asks_for_a_password(target: Target) -> None:
    """the site shows nothing without its password"""
    for path in ("/login", "/", f"{target.mailbox_path}/"):
        answer = web.get(target, path)
        assert answer.status == 401, f"{path} answers {answer.status} to somebody without a password"


def test_people_have_a_password(host: Any, target: Target) -> None:
    """somebody was given the password of the site"""
    accounts = [line.partition(":")[0] for line in host.file(target.site_passwords).content_string.splitlines()]
    assert SITE_ACCOUNT in accounts, f"nobody was; first: chill-provision credentials rotate {target.instance}"


def test_no_search_engine(target: Target) -> None:
    """search engines are told to keep away"""
    answer = web.get(target, "/login")
    robots = web.get(target, "/robots.txt")
    assert "noindex" in answer.headers.get("x-robots-tag", ""), "no header X-Robots-Tag: noindex"
    assert robots.status == 200, f"/robots.txt answers {robots.status}"
    assert "Disallow: /\n" in robots.body, "/robots.txt does not keep search engines away"


def test_banner(ask: Callable[[str], web.Answer]) -> None:
    """every page says that this is a test environment"""
    assert "chill-test-banner" in ask("/login").body, "/login has no banner"


def test_mailbox(ask: Callable[[str], web.Answer], target: Target) -> None:
    """the e-mails that it sends can be read at its own address"""
    path = f"{target.mailbox_path}/"
    answer = ask(path)
    assert answer.status == 200, f"{path} answers {answer.status}; see: journalctl -u chill-caught-mail"
    assert target.domain in answer.body, f"{path} is not the mailbox of {target.domain}"


@ALWAYS
def test_traffic_is_bounded(host: Any, target: Target) -> None:
    """the rules that bound its traffic are in force"""
    if never_ran(host, target):
        return
    path = f"/etc/chill/guard/{target.domain}.nft"
    file = host.file(path)
    assert file.exists, f"there is no file {path}"
    assert f"meta skuid {host.user(target.user).uid} jump held" in file.content_string, f"{path} is of another user"
    shown = host.run("nft -s list table inet %s", target.database).stdout
    assert shown, f"the table inet {target.database} is not in force; see: nft list ruleset"
    assert file.content_string.endswith(shown), f"the table inet {target.database} is another than that of {path}"


@ALWAYS
def test_mail_is_held(host: Any, target: Target) -> None:
    """the mail that it hands in is held, and taken to its mailbox"""
    if never_ran(host, target):
        return
    line = f"Received: by {target.server} (Postfix, from userid {host.user(target.user).uid})"
    action = host.run("postmap -q %s regexp:/etc/postfix/caught", line).stdout
    assert action.startswith("HOLD"), "/etc/postfix/caught does not hold it"
    assert CATCHING in host.run("postconf -M pickup/unix").stdout, f"/etc/postfix/master.cf: pickup has no {CATCHING}"
    running(host, "chill-caught-mail.service")


def test_mail_servers_end_here(host: Any, target: Target) -> None:
    """connections to mail servers, wherever they are, end in its mailbox"""
    running(host, f"{target.user}-mail.socket")
