"""A secret shows itself nowhere but where it is asked to; passwords are strong and easy to type."""

from __future__ import annotations

import copy
import json
import logging
import pickle
import re
import traceback
from random import Random

import pytest

from provision.secrets import ALPHABET, HIDDEN, PASSWORD_BITS, Secret, password

TEXT = "correct-horse-battery"


def fail_with(secret: Secret) -> None:
    raise ValueError("wrong", secret)


def test_no_usual_way_of_printing_shows_it(caplog: pytest.LogCaptureFixture) -> None:
    secret = Secret(TEXT)
    shown = [str(secret), repr(secret), f"{secret}", f"{secret:>40}", f"{secret!r}", str({"a": [secret]})]
    logging.getLogger("test").warning("it is %s", secret)
    try:
        fail_with(secret)
    except ValueError:
        shown.append(traceback.format_exc())
    shown.append(caplog.text)
    assert all(TEXT not in text and HIDDEN in text for text in shown)


def test_no_serialiser_takes_it() -> None:
    for serialise in (pickle.dumps, json.dumps, copy.deepcopy):
        with pytest.raises(TypeError) as caught:
            serialise(Secret(TEXT))
        assert TEXT not in str(caught.value)
    assert not hasattr(Secret(TEXT), "__dict__")


def test_it_is_compared_by_value_and_revealed_on_demand() -> None:
    assert Secret(TEXT) == Secret(TEXT)
    assert Secret(TEXT) != Secret("other")
    assert Secret(TEXT) != TEXT
    assert Secret(TEXT).reveal() == TEXT


def test_passwords_are_strong_different_and_unambiguous() -> None:
    passwords = {password().reveal() for _ in range(200)}
    assert len(passwords) == 200
    assert all(re.fullmatch(r"([a-z2-9]{4}-){4}[a-z2-9]{4}", text) for text in passwords)
    assert not set("il1o0") & set(ALPHABET)
    assert len(set(ALPHABET)) == len(ALPHABET)
    assert PASSWORD_BITS >= 96
    # Every character of the alphabet turns up in 4000 draws unless the choice is not uniform over it.
    assert set(ALPHABET) == set("".join(passwords)) - {"-"}


def test_the_random_source_decides() -> None:
    assert password(Random(1)) == password(Random(1)) != password(Random(2))
