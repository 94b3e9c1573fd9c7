"""Environments that were taken out of service: nobody gets in, nothing runs, everything is kept."""

from __future__ import annotations

from typing import Any

import pytest

from provision.verify import web
from provision.verify.target import Target


@pytest.mark.lifecycle("suspended")
def test_suspended(target: Target) -> None:
    """a page says that the service is suspended"""
    answer = web.get(target, "/login")
    assert answer.status == 503, f"/login answers {answer.status}"


@pytest.mark.lifecycle("archived")
def test_no_site(host: Any, target: Target) -> None:
    """no site answers under its name"""
    path = f"/etc/nginx/sites-enabled/{target.domain}"
    assert not host.file(path).exists, f"{path} is there"


@pytest.mark.lifecycle("suspended", "archived")
def test_nothing_runs(host: Any, target: Target) -> None:
    """neither PHP nor worker nor periodic jobs run"""
    for unit in (target.php, target.worker, target.cron_timer):
        state = host.run("systemctl is-active %s", unit).stdout.strip()
        assert state != "active", f"{unit} is {state}"
