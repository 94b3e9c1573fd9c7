"""Ends ansible-playbook when the chill-provision that started it is killed, so that a second run never meets a first.

It does nothing where CHILL_PROVISION_PID is not set: plain Ansible is left alone. prctl(2), PR_SET_PDEATHSIG, since
Linux 2.1.57.
"""

from __future__ import annotations

import ctypes
import os
import signal
from typing import Any

from ansible.plugins.callback import CallbackBase

DOCUMENTATION = """
name: lifeline
type: aggregate
short_description: Ends ansible-playbook with its parent
description: Asks the kernel for SIGTERM when the process named by CHILL_PROVISION_PID ends.
"""

PR_SET_PDEATHSIG = 1


class CallbackModule(CallbackBase):  # type: ignore[misc]
    """Loaded before the first task; says nothing."""

    CALLBACK_VERSION = 2.0
    CALLBACK_TYPE = "aggregate"
    CALLBACK_NAME = "lifeline"

    def __init__(self, *arguments: Any, **settings: Any) -> None:
        super().__init__(*arguments, **settings)
        parent = os.environ.get("CHILL_PROVISION_PID", "")
        if not parent.isdigit():
            return
        ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0)
        if os.getppid() != int(parent):
            # It ended before the kernel was asked.
            os.kill(os.getpid(), signal.SIGTERM)
