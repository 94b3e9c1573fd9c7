"""Saves every task of a run what it would make anew and throw away: Ansible forks a process for each task and host.

Two things, neither of which changes what a task does:

- The part of Ansible that evaluates expressions is made ready in the parent, where all its children find it.
- What a module becomes on its way to a server (AnsiballZ: the module and the parts of Ansible that it needs, in one
  archive, without arguments) is kept from one run to the next in the directory CHILL_MODULE_CACHE names, which is one
  version's alone. Without that variable, as in plain Ansible, every run makes them itself.
"""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path
from typing import Any

from ansible import constants
from ansible.plugins.callback import CallbackBase
from ansible.template import Templar, trust_as_template

DOCUMENTATION = """
name: headstart
type: aggregate
short_description: Makes ready once what every task needs
description: Evaluates an expression before the first task, and keeps packed modules from run to run.
"""


class CallbackModule(CallbackBase):  # type: ignore[misc]
    """Loaded before the first task; says nothing."""

    CALLBACK_VERSION = 2.0
    CALLBACK_TYPE = "aggregate"
    CALLBACK_NAME = "headstart"

    def __init__(self, *arguments: Any, **settings: Any) -> None:
        super().__init__(*arguments, **settings)
        Templar(None, {"known": ""}).template(trust_as_template("{{ known | default('') }}"))
        kept = os.environ.get("CHILL_MODULE_CACHE", "")
        if kept:
            # Where ansible-core 2.19 looks for them (ansible/executor/module_common.py). One that looks elsewhere
            # finds nothing, and makes them.
            with suppress(OSError):
                Path(constants.DEFAULT_LOCAL_TMP, "ansiballz_cache").symlink_to(kept)
