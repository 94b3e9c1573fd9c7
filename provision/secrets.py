"""What is generated for people, how strong it is, and a type that never shows itself.

Pure but for the random source.

Secrets of machines (application keys, Redis passwords, TLS keys) are made on the server that uses them and
never leave it. Only the first passwords of people are made here: they live in the memory of the run and in
the encrypted letter. What customers give (`provision.graph`) passes through the memory of a run.
"""

from __future__ import annotations

import hmac
import math
from collections.abc import Mapping
from dataclasses import dataclass
from random import Random, SystemRandom
from typing import NoReturn

HIDDEN = "•••"

# Lower case and digits without i, l, o, 0, 1, so that a password read from paper or told by telephone stays
# the same.
ALPHABET = "abcdefghjkmnpqrstuvwxyz23456789"
GROUPS, GROUP_LENGTH = 5, 4
PASSWORD_BITS = GROUPS * GROUP_LENGTH * math.log2(len(ALPHABET))


class Secret:
    """A text that shows as three dots wherever it is printed, formatted, logged or put in an exception.

    It is neither text nor a dataclass, and cannot be pickled, so that no serialiser takes it by accident.
    `reveal()` is the one way to its value: looking for its callers finds every place that handles secrets.
    """

    __slots__ = ("_value",)

    def __init__(self, value: str) -> None:
        self._value = value

    def reveal(self) -> str:
        return self._value

    def __repr__(self) -> str:
        return HIDDEN

    def __format__(self, spec: str) -> str:
        return HIDDEN

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Secret):
            return NotImplemented
        return hmac.compare_digest(self._value.encode(), other._value.encode())

    __hash__ = None  # type: ignore[assignment]

    def __reduce__(self) -> NoReturn:
        raise TypeError("a secret is not written anywhere: it cannot be pickled")


@dataclass(frozen=True, slots=True)
class Passwords:
    """The passwords of people that are to be set, by domain.

    `accounts`: of the application's first account. `sites`: what the site of a test environment asks for.
    """

    accounts: Mapping[str, Secret]
    sites: Mapping[str, Secret]


def password(random: Random | None = None) -> Secret:
    """Make a password for a person: five groups of four characters (`k7vm-2xqe-…`), 99 bits, easy to type.

    `random` is the operating system's generator unless a test gives another.
    """
    source = random or SystemRandom()
    groups = ("".join(source.choice(ALPHABET) for _ in range(GROUP_LENGTH)) for _ in range(GROUPS))
    return Secret("-".join(groups))
