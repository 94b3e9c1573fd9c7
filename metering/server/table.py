"""A TOML table read key by key: values of the wrong kind and keys that nobody asked for become problems, told
at the end.

A problem names the key, never the value: what stands in such a file may be about a person, or a password.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any, Final

# A key as it stands in TOML without quotes.
_BARE: Final = re.compile(r"[A-Za-z0-9_.-]{1,80}")


class Table:
    """One table of a TOML file. Tables inside share the list of problems of the outermost one."""

    def __init__(self, values: Mapping[str, Any], file: str, key: str, problems: list[str] | None = None) -> None:
        self._values = values
        self._file = file
        self._key = key
        self._problems: list[str] = [] if problems is None else problems
        self._asked: set[str] = set()
        self._inner: list[Table] = []

    def __contains__(self, key: str) -> bool:
        return key in self._values

    def ignore(self, key: str) -> None:
        """Say that `key` is known, whatever its value."""
        self._asked.add(key)

    def fault(self, key: str, message: str, hint: str = "") -> None:
        """Note a problem with the value of `key`."""
        where = self._place(key)
        self._problems.append(f"{self._file}: {where}: {message}" + (f"\n    {hint}" if hint else ""))

    def _place(self, key: str) -> str:
        # A key that is written in quotes may be anything, even an address that came there by mistake.
        shown = key if _BARE.fullmatch(key) else '"…"'
        return f"{self._key}.{shown}" if self._key else shown

    def clean(self, key: str) -> bool:
        """Whether no problem with `key` has been noted."""
        where = self._place(key)
        return not any(problem.startswith(f"{self._file}: {where}: ") for problem in self._problems)

    def text(self, key: str, default: str | None = None, pattern: str = "", example: str = "") -> str:
        """The text under `key`; without a default it must be there."""
        self._asked.add(key)
        hint = f'{key} = "{example}"' if example else ""
        if key not in self._values:
            if default is None:
                self.fault(key, "is missing", hint)
            return default or ""
        value = self._values[key]
        if not isinstance(value, str) or not value:
            self.fault(key, "expected a text", hint)
            return ""
        if pattern and not re.fullmatch(pattern, value):
            self.fault(key, "is not of the form that is expected here", hint)
        return value

    def texts(self, key: str, pattern: str = "", example: str = "") -> list[str]:
        """The list of texts under `key`; absent means empty."""
        self._asked.add(key)
        values = self._values.get(key, [])
        hint = f'{key} = ["{example}"]' if example else ""
        if not isinstance(values, list) or not all(isinstance(value, str) and value for value in values):
            self.fault(key, "expected a list of texts", hint)
            return []
        for place, value in enumerate(values, 1):
            if pattern and not re.fullmatch(pattern, value):
                self.fault(key, f"entry {place} is not of the form that is expected here", hint)
        return values

    def integers(self, key: str) -> list[int]:
        """The list of whole numbers, 0 or more, under `key`; absent means empty."""
        self._asked.add(key)
        values = self._values.get(key, [])
        if not isinstance(values, list) or not all(type(value) is int and value >= 0 for value in values):
            self.fault(key, "expected a list of whole numbers", f"{key} = [998]")
            return []
        return values

    def flag(self, key: str, default: bool) -> bool:
        """true or false under `key`."""
        self._asked.add(key)
        value = self._values.get(key, default)
        if not isinstance(value, bool):
            self.fault(key, "expected true or false", f"{key} = true")
            return default
        return value

    def table(self, key: str) -> Table:
        """The table under `key`; absent means empty."""
        self._asked.add(key)
        values = self._values.get(key, {})
        if not isinstance(values, dict):
            self.fault(key, "expected a table")
            values = {}
        inner = Table(values, self._file, self._place(key), self._problems)
        self._inner.append(inner)
        return inner

    def array(self, key: str) -> list[Table]:
        """The array of tables under `key` (`[[…]]`); absent means empty."""
        self._asked.add(key)
        values = self._values.get(key, [])
        if not isinstance(values, list) or not all(isinstance(value, dict) for value in values):
            self.fault(key, "expected an array of tables")
            return []
        where = self._place(key)
        found = [Table(value, self._file, f"{where}[{place}]", self._problems) for place, value in enumerate(values, 1)]
        self._inner += found
        return found

    def pairs(self, key: str, example: str, example_value: str) -> dict[str, str]:
        """The table under `key` of which every value is a text; absent means empty."""
        self._asked.add(key)
        values = self._values.get(key, {})
        if not isinstance(values, dict) or not all(isinstance(value, str) for value in values.values()):
            self.fault(key, "expected a table of texts", f'{key} = {{{example} = "{example_value}"}}')
            return {}
        return dict(values)

    def tables(self, key: str, name_pattern: str) -> Iterator[tuple[str, Table]]:
        """The tables under `key`, by name."""
        outer = self.table(key)
        for name in outer._values:
            if not re.fullmatch(name_pattern, name):
                outer.fault(name, "is not the slug of an instance", "for example [instances.acme]")
            yield name, outer.table(name)

    def finish(self) -> list[str]:
        """All problems, those about unknown keys included."""
        for key in self._values:
            if key not in self._asked:
                known = ", ".join(sorted(self._asked))
                self.fault(key, "is not a key that is known here", f"known: {known}" if known else "")
        for inner in self._inner:
            inner.finish()
        return self._problems
