"""What was done, when, by whom, with what result: `journal/<slug>.jsonl`, append-only, without secrets.

Servers have one of their own, `journal/<server>.jsonl`, for `server prepare`. A line is one JSON object.
Keys of a line: `time` (UTC, `2026-11-23T00:15:00Z`), `who` (user@machine), `command` (create, apply, credentials
rotate), `event`, `version` (of the toolkit); and where they apply `result` (ok, failed, interrupted), `environments`
(state by domain), `seconds`, `detail`, `expires`. Events: `started` and `ended` around a command's work, `letter_sent`
when the responsible has been given the passwords, `graph_set` when the environment has been given credentials of
Microsoft Graph, whose secret works until the day `expires` (2027-03-01).

States of environments are derived from it and stored nowhere else.
"""

from __future__ import annotations

import getpass
import json
import os
import socket
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Literal

from provision.errors import ChillError, InvalidFiles, Problem

State = Literal["planned", "creating", "ready", "degraded", "failed", "suspended", "archived"]
Result = Literal["ok", "failed", "interrupted"]
# States in which a change of an environment can end.
ENDS: Mapping[str, State] = {
    "ready": "ready",
    "degraded": "degraded",
    "failed": "failed",
    "suspended": "suspended",
    "archived": "archived",
}

# States that an `apply` that ends well leads out of.
MENDED: frozenset[State] = frozenset({"failed", "degraded"})
# States that a run leaves behind when it ends well.
SETTLED: frozenset[State] = frozenset({"ready", "degraded", "suspended", "archived"})


@dataclass(frozen=True, slots=True)
class Entry:
    """One line of a journal. `environments` holds the state that each named domain is in from now on."""

    time: str
    who: str
    command: str
    event: str
    version: str
    result: str = ""
    environments: Mapping[str, str] = field(default_factory=dict, hash=False)
    seconds: float | None = None
    detail: str = ""
    expires: str = ""


def toolkit_version() -> str:
    """The version of the installed toolkit.

    `unreleased` when it runs from a checkout that is not installed.
    """
    try:
        return version("petits-chills")
    except PackageNotFoundError:
        return "unreleased"


def who() -> str:
    """The person behind the command: who called sudo, else the user, at this machine."""
    try:
        user = os.environ.get("SUDO_USER") or getpass.getuser()
    except (KeyError, OSError):
        user = str(os.getuid())
    return f"{user}@{socket.gethostname()}"


class Journal:
    """The journals of a fleet, in its directory `journal/`."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory

    def path(self, slug: str) -> Path:
        return self.directory / f"{slug}.jsonl"

    def log(self, command: str, now: datetime | None = None) -> Path:
        """A name for the log of a new run, under `runs/`."""
        moment = (now or datetime.now(UTC)).strftime("%Y%m%dT%H%M%SZ")
        return self.directory / "runs" / f"{moment}-{command}-{os.getpid()}.log"

    def add(
        self,
        slug: str,
        command: str,
        event: str,
        *,
        result: Result | Literal[""] = "",
        environments: Mapping[str, State] | None = None,
        seconds: float | None = None,
        detail: str = "",
        expires: str = "",
    ) -> Entry:
        """Append a line, flushed to disk before this returns."""
        now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        rounded = None if seconds is None else round(seconds, 1)
        found = dict(environments or {})
        entry = Entry(now, who(), command, event, toolkit_version(), result, found, rounded, detail, expires)
        line = json.dumps(
            {key: value for key, value in asdict(entry).items() if value not in ("", None, {})},
            ensure_ascii=False,
        )
        path = self.path(slug)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            _append(path, line)
        except OSError as error:
            raise ChillError(
                f"{path}: cannot be written: {error.strerror}", "make it writable and run the command again"
            ) from error
        return entry

    def read(self, slug: str) -> Sequence[Entry]:
        """Every line of an instance's journal, oldest first.

        InvalidFiles for lines that are not of this form.
        """
        path = self.path(slug)
        if not path.is_file():
            return ()
        entries, problems = [], []
        for number, line in enumerate(path.read_text(encoding="utf-8", errors="replace").splitlines(), start=1):
            try:
                entries.append(Entry(**json.loads(line)))
            except (json.JSONDecodeError, TypeError):
                problems.append(Problem(f"journal/{path.name}:{number}", "is not a line of a journal"))
        if problems:
            raise InvalidFiles(problems, "mend or remove these lines")
        return entries


def _append(path: Path, line: str) -> None:
    """Append one line by one write, after completing a line that a power cut may have left unfinished."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o644)
    try:
        size = os.fstat(descriptor).st_size
        whole = size == 0 or os.pread(descriptor, 1, size - 1) == b"\n"
        os.write(descriptor, (("" if whole else "\n") + line + "\n").encode())
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def states(entries: Iterable[Entry], domains: Sequence[str]) -> dict[str, State]:
    """The state of each environment.

    `planned` until something was begun; `creating` while it is made for the first time, or when that was cut
    short; `ready` once it was verified; `degraded` when all stands but the certificate; `failed` when the last
    run on it failed; `suspended` and `archived` when it was taken out of service. An `apply` that ends well makes
    a failed environment what it was before, if it was ever ready (a creation that failed is finished by `create`
    alone), and a degraded one ready, unless it says that the same is missing still.
    """
    found: dict[str, State] = dict.fromkeys(domains, "planned")
    before: dict[str, State] = {}
    for entry in entries:
        for domain in domains:
            if entry.command == "create" and entry.event == "started" and found[domain] not in SETTLED:
                found[domain] = "creating"
            elif domain in entry.environments:
                found[domain] = ENDS.get(entry.environments[domain], "failed")
            elif entry.command == "apply" and entry.result == "ok" and found[domain] in MENDED and domain in before:
                found[domain] = "ready" if before[domain] == "degraded" else before[domain]
            if found[domain] in SETTLED:
                before[domain] = found[domain]
    return found


def reason(entries: Sequence[Entry], domain: str) -> str:
    """Why an environment is in its state, by the newest entry that names it; empty when that says nothing."""
    named = [entry.detail for entry in entries if domain in entry.environments]
    lines = named[-1].splitlines() if named else []
    own = [line.removeprefix(f"{domain}: ") for line in lines if line.startswith((f"{domain}:", f"{domain} "))]
    return " ".join(own or lines)


def unfinished(entries: Iterable[Entry], domains: Sequence[str]) -> bool:
    """Whether a creation was begun and none ever ended well: it can only be gone on with, or archived."""
    begun = settled = False
    for entry in entries:
        begun = begun or (entry.command == "create" and entry.event == "started")
        settled = settled or any(entry.environments.get(domain) in SETTLED for domain in domains)
    return begun and not settled


def overall(states: Iterable[State]) -> State:
    """The state of an instance: that of its environment which is furthest from ready."""
    order: Sequence[State] = ("failed", "creating", "degraded", "planned", "suspended", "archived", "ready")
    present = set(states)
    return next(state for state in order if state in present)


def letter_sent(entries: Iterable[Entry]) -> bool:
    """Whether the responsible has been given the passwords."""
    return any(entry.event == "letter_sent" and entry.result == "ok" for entry in entries)


def last_letter_delivered(entries: Iterable[Entry]) -> bool:
    """Whether the newest passwords are in somebody's hands: no later letter failed, no rotation was cut short."""
    delivered = False
    for entry in entries:
        if entry.event == "letter_sent":
            delivered = entry.result == "ok"
        elif entry.command == "credentials rotate" and entry.event == "started":
            delivered = False
    return delivered
