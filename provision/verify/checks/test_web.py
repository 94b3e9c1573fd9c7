"""What users of the environment meet, asked from here: network, firewall and certificate included."""

from __future__ import annotations

import json
from collections.abc import Callable

from provision.verify import web
from provision.verify.target import Target

MOVED = (301, 308)


def test_health(ask: Callable[[str], web.Answer]) -> None:
    """the application reaches its database and Redis"""
    answer = ask("/healthz")
    assert answer.status in (200, 503), f"/healthz answers {answer.status}"
    try:
        health = json.loads(answer.body)
    except ValueError:
        raise AssertionError(f"/healthz answers {answer.status}, but not in JSON") from None
    silent = [part for part in ("database", "redis") if health.get(part) != "ok"]
    assert not silent, f"no answer from: {', '.join(silent)}"
    assert answer.status == 200, f"/healthz answers {answer.status}"


def test_login_page(ask: Callable[[str], web.Answer]) -> None:
    """the login page is served over HTTPS"""
    answer = ask("/login")
    assert answer.status == 200, f"/login answers {answer.status}"
    assert "_csrf_token" in answer.body, "/login has no login form"


def test_redirect_to_https(target: Target) -> None:
    """HTTP leads to HTTPS"""
    answer = web.get(target, "/login", secure=False)
    location = answer.headers.get("location", "nowhere")
    assert answer.status in MOVED, f"http://{target.domain}/login answers {answer.status}"
    assert location == f"https://{target.domain}/login", f"http://{target.domain}/login leads to {location}"
