"""The languages that letters and papers are written in. Pure."""

from __future__ import annotations

from typing import Literal

Language = Literal["fr", "en", "nl"]
