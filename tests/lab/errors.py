"""What can go wrong in the lab, in words for the person at the terminal."""

from __future__ import annotations


class LabError(Exception):
    """The lab could not do what it was asked.

    The message says what was wrong and where; `hint` is the next step, or empty.
    """

    status = 1

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(f"{message}\n  {hint}" if hint else message)
        self.hint = hint


class RequestError(LabError):
    """What was asked for cannot be: a name that breaks the rule, or of a thing that is not there."""

    status = 2
