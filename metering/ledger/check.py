"""The integrity of a ledger: everything that is wrong in it at once, and what is possible but hard to believe.

A check is a function from what it looks at to its findings, and stands in a list: `LEDGER_CHECKS` look at the names of
files, `MONTH_CHECKS` at the rows of one month, `History` at rows beside all earlier ones. The form of files and rows is
checked where they are read (`monthly.py`), which every answer does.
"""

from __future__ import annotations

from datetime import datetime

from metering.ledger.check_names import LEDGER_CHECKS
from metering.ledger.check_rows import MONTH_CHECKS, History
from metering.ledger.files import list_files
from metering.ledger.findings import Finding, MonthSubject, Subject
from metering.ledger.month_files import by_month
from metering.ledger.monthly import read_month
from metering.ledger.months import Hold, Vanished, list_months
from provision.errors import ChillError
from provision.fleet import Fleet


def check(fleet: Fleet, now: datetime) -> list[Finding]:
    """Everything that is wrong with the fleet's ledger, and what is hard to believe, in the order of days. `now` with a
    time zone.

    ChillError when files cannot be read.
    """
    files, strange = list_files(fleet.ledger)
    compacted, _ = list_months(fleet.ledger)
    try:
        _held = Hold(compacted)
    except Vanished:
        raise ChillError(f"{fleet.ledger}: files go while it is read", "run the command again") from None
    found = [Finding("error", problem) for problem in strange]
    damaged = [problem for month in compacted for problem in month.problems()]
    if damaged:
        # Of a damaged month not even the list of its files is known.
        return [*found, *(Finding("error", problem) for problem in damaged)]
    subject = Subject(fleet, files, compacted, now)
    for look in LEDGER_CHECKS:
        found += look(subject)
    history = History()
    for month in by_month(files, compacted):
        rows = read_month(month)
        found += [Finding("error", problem) for problem in rows.problems]
        one = MonthSubject(subject, month, rows.tables["samples"])
        for see in (*MONTH_CHECKS, history.look):
            found += see(one)
    return found
