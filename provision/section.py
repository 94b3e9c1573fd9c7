"""What all tables of settings have in common, and the types of their values that several share."""

from __future__ import annotations

import re
from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict


def _address(text: str) -> str:
    if not re.fullmatch(r"[^@\s<>,;\"]+@[A-Za-z0-9](?:[A-Za-z0-9.-]*[A-Za-z0-9])?", text):
        raise ValueError("expected an e-mail address")
    return text


EmailAddress = Annotated[str, AfterValidator(_address)]


class Section(BaseModel):
    """A table of settings: immutable, and a key it does not know is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid")
