"""One collection: read what is new in the logs, decide on the days, measure, write the files of each day."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Final, ParamSpec

from metering.samples import METRICS, ActiveUser, Sample
from metering.server.application_log import ApplicationLog, source_name
from metering.server.collectors import COLLECTORS, Collector
from metering.server.config import Config
from metering.server.errors import MeterError, SourceError
from metering.server.failures import describe_mistake
from metering.server.journal import read_mail_log
from metering.server.logs import Reading, read_logs
from metering.server.mailqueue import Senders
from metering.server.plan import RETRY_DAYS, DayPlan, Known, plan
from metering.server.postfix import SOURCE as POSTFIX
from metering.server.postfix import PostfixLog
from metering.server.pseudonyms import ForgottenYear, Pseudonyms
from metering.server.run import Measured, Run
from metering.server.spool import Spool
from metering.server.state import Key, State, Written
from metering.server.wopi import read_wopi_logs
from metering.server.wopi import source_name as wopi_source_name

# What a source's failure, or that of the run, is told by. Anything else is a mistake of ours.
EXPECTED: Final = (SourceError, MeterError, OSError, sqlite3.Error)


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a run did: the files it wrote, the sources that failed and why, what an adminsys should know."""

    days: Sequence[date]
    files: Sequence[Path]
    rows: int
    failures: Sequence[tuple[Key, str]]
    notices: Sequence[str]


def collect(
    config: Config, since: date | None, until: date | None, now: datetime, report: Callable[[str], None]
) -> Outcome:
    """Collect the days that are due, or those from `since` to `until`. `now` is an aware moment; `report`
    takes progress.

    MeterError (status 2) when the days asked for are not possible, (status 1) when nothing could be done.
    """
    today = now.astimezone(config.timezone).date()
    check_days(since, until, today)
    try:
        with State(config.state) as state:
            spool = Spool(config.spool, config.server)
            spool.prepare()
            return _collect(config, state, spool, since, until, now, report)
    except sqlite3.Error as error:
        hint = "is the disk full, or the directory read-only? Nothing was counted twice; run it again"
        raise MeterError(f"state: the database in {config.state} cannot be used: {error}", hint) from None
    except OSError as error:
        place = error.filename or config.spool
        hint = "nothing was counted twice; correct this and run it again"
        raise MeterError(f"{place}: {error.strerror or 'input/output error'}", hint) from None


def check_days(since: date | None, until: date | None, today: date) -> None:
    """MeterError (status 2) unless the days make sense."""
    last = until or today - timedelta(days=1)
    if until and until > today:
        raise MeterError(f"--until: {until} is in the future", f"today is {today}", status=2)
    if since and since > last:
        hint = "add --until today for the day under way" if since == today else "give the earlier day first"
        raise MeterError(f"--since: {since} is after the last day, {last}", hint, status=2)


def _collect(
    config: Config,
    state: State,
    spool: Spool,
    since: date | None,
    until: date | None,
    now: datetime,
    report: Callable[[str], None],
) -> Outcome:
    today = now.astimezone(config.timezone).date()
    pseudonyms = Pseudonyms(config.state / "keys")
    readings = _read_sources(config, state, pseudonyms, now, report)
    horizon = state.horizon(today - timedelta(days=1))
    run = Run(config, state, pseudonyms, today, horizon, readings)
    with ExitStack() as stack:
        collectors: dict[tuple[str, str], Collector] = {}
        for slug, instance in sorted(config.instances.items()):
            for metric in METRICS:
                made = COLLECTORS[metric](run, instance) if metric in COLLECTORS else None
                if made:
                    collectors[slug, metric] = made
                    stack.callback(made.close)
        known = Known(horizon, state.collected_days(), state.changed(), state.failed(today - RETRY_DAYS))
        plans = plan(list(collectors), known, today, since, until)
        writing = _Writing(run, spool, collectors, report)
        if plans:
            # Taken before the first file appears: no two runs ever carry the same moment.
            writing.collected_at = state.reserve(now)
        for day_plan in plans:
            writing.write(day_plan)
    notices = [notice for reading in readings.values() for notice in reading.notices]
    return Outcome([one.day for one in plans], writing.files, writing.rows, writing.failures, notices)


def _read_sources(
    config: Config, state: State, pseudonyms: Pseudonyms, now: datetime, report: Callable[[str], None]
) -> dict[str, Reading]:
    readings: dict[str, Reading] = {}
    mails = {slug: instance.mail for slug, instance in config.instances.items() if instance.mail}
    if config.postfix and mails:
        report("reading the mail log")
        mail_log = PostfixLog(Senders(mails), config.postfix.internal_relays, config.timezone, state)
        readings[POSTFIX] = _careful(read_mail_log, state, POSTFIX, config.postfix, mail_log, now)
    for slug, instance in sorted(config.instances.items()):
        if instance.logs:
            report(f"reading the log of {slug}")
            application_log = ApplicationLog(instance, config.timezone, pseudonyms)
            name = source_name(slug)
            readings[name] = _careful(read_logs, state, name, instance.logs, application_log, now)
        if instance.wopi:
            report(f"reading Collabora's calls for {slug}")
            name = wopi_source_name(slug)
            readings[name] = _careful(read_wopi_logs, config, instance, instance.wopi, state, pseudonyms, now)
    return readings


Given = ParamSpec("Given")


def _careful(read: Callable[Given, Reading], *given: Given.args, **named: Given.kwargs) -> Reading:
    """A reading of which a mistake of ours fails that source alone; the next run starts where the last commit was."""
    try:
        return read(*given, **named)
    except EXPECTED:
        raise
    except Exception as mistake:
        return Reading(describe_mistake(mistake))


class _Writing:
    """Measures and writes day after day, and gathers what came of it."""

    def __init__(
        self,
        run: Run,
        spool: Spool,
        collectors: dict[tuple[str, str], Collector],
        report: Callable[[str], None],
    ) -> None:
        self._run = run
        self._spool = spool
        self._collectors = collectors
        self._report = report
        self.collected_at = datetime.fromtimestamp(0, UTC)
        # The days that were written once they were over.
        self._whole = run.state.collected_days()
        self.files: list[Path] = []
        self.rows = 0
        self.failures: list[tuple[Key, str]] = []

    def write(self, day_plan: DayPlan) -> None:
        """Measure and write one day, then remember that it was written."""
        self._report(f"collecting {day_plan.day}")
        day, samples, users = day_plan.day, [], []
        notes: list[tuple[Key, Written, frozenset[str]]] = []
        for key in day_plan.keys:
            sample, written, pseudonyms = self._measure(key)
            notes.append((key, written, pseudonyms))
            if sample.status == "ok" or key not in day_plan.again:
                samples.append(sample)
                users += [ActiveUser(day, key.instance, pseudonym) for pseudonym in sorted(pseudonyms)]
        if samples:
            self.files += self._spool.write(day, self.collected_at, samples, users)
            self.rows += len(samples)
        with self._run.state.transaction():
            for note in notes:
                self._run.state.note_written(*note)
            if day < self._run.today:
                self._run.state.note_day(day)

    def _measure(self, key: Key) -> tuple[Sample, Written, frozenset[str]]:
        basis = self._run.state.basis(key)
        source = self._run.config.server
        try:
            measured = self._ask(key)
        except SourceError as failure:
            self.failures.append((key, failure.reason))
            sample = Sample(
                key.day, key.instance, key.metric, None, "failed", source, self.collected_at, failure.reason
            )
            return sample, self._remembered(key, failure, basis), frozenset()
        sample = Sample(
            key.day, key.instance, key.metric, measured.value, "ok", source, self.collected_at, measured.note
        )
        return sample, Written("ok", measured.value, False, basis), measured.users

    def _ask(self, key: Key) -> Measured:
        if METRICS[key.metric] == "users" and key.day.year in self._run.pseudonyms.forgotten:
            raise ForgottenYear(key.day.year)
        try:
            return self._collectors[key.instance, key.metric].measure(key.day)
        except EXPECTED:
            raise
        except Exception as mistake:
            # One collector's mistake takes none of the others down. Its text is not told: it may quote data.
            raise SourceError(describe_mistake(mistake)) from None

    def _remembered(self, key: Key, failure: SourceError, basis: int) -> Written:
        """A value that was once good stays good: a later failure does not take it back, here or in the
        ledger. That of a day under way is good until the day is over.
        """
        before = self._run.state.written(key)
        if before and before.status == "ok" and (key.day in self._whole or key.day == self._run.today):
            return before
        return Written("failed", None, failure.final, basis)
