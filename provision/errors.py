"""The errors a user meets: what was wrong, where, and the next step.

Nothing here logs or exits: the command line turns an error into text and an exit status.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, order=True)
class Problem:
    """One thing wrong in a file or an argument, as a value: problems are collected and shown all at once.

    `place` is a file with a key or line (`chill.toml: release.sha256`) or an argument (`SLUG`);
    `hint` is the next step, or empty.
    """

    place: str
    message: str
    hint: str = ""

    def __str__(self) -> str:
        text = f"{self.place}: {self.message}" if self.place else self.message
        return f"{text}\n    {self.hint}" if self.hint else text


class ChillError(Exception):
    """An operation failed (exit status 1). `message` says what and where, `hint` the next step."""

    status = 1

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint


class RequestError(ChillError):
    """The request or a file was wrong, and nothing was changed (exit status 2)."""

    status = 2


class InvalidFiles(RequestError):
    """One or several problems in files or arguments, reported together (exit status 2)."""

    def __init__(self, problems: Iterable[Problem], hint: str = "") -> None:
        self.problems: Sequence[Problem] = tuple(problems)
        super().__init__("\n".join(str(problem) for problem in self.problems), hint)


class PartlyDone(ChillError):
    """Something was done and something is missing; the message says what (exit status 3)."""

    status = 3


class Interrupted(ChillError):
    """The user stopped the command midway; the message says what stands and how to go on (exit status 3)."""

    status = 3
