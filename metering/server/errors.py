"""The errors of a collection, in the form in which the command line shows them: message, hint, exit status.

They are not those of the control machine, because nothing of it travels to servers but the three files that
the command line shares (see docs/metering.md).
"""

from __future__ import annotations


class MeterError(Exception):
    """A collection could not be done, or not wholly.

    `status` is the exit status: 1 failed, 2 bad request, 3 done in part.
    """

    def __init__(self, message: str, hint: str = "", status: int = 1) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        self.status = status


class SourceError(Exception):
    """A source could not be measured. `reason` goes into the sample's note: it never says anything about a
    person.

    `final` means that another try cannot succeed: what was to be measured is gone.
    """

    def __init__(self, reason: str, final: bool = False) -> None:
        super().__init__(reason)
        self.reason = reason
        self.final = final
