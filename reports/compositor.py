"""Typst with the templates and fonts of the package: a template's name and its content → the bytes of a PDF.

The only importer of typst, and little else, because it also runs as a process of its own (`print_shop.py`):

    python -m reports.compositor YEAR < requests > answers

The first request is the sender; each further one is the name of a template, a line feed, and the content. An answer
begins with `+` and is a PDF, or with `-` and says what Typst found wrong. Every message goes after its length in eight
bytes. The process ends when its input does, so that none outlives the run that started it.
"""

from __future__ import annotations

import os
import sys
from datetime import UTC, datetime
from importlib import resources
from pathlib import Path
from typing import IO, Any, Final

import typst

_LENGTH: Final = 8


class TypesettingError(Exception):
    """Typst could not make a PDF of what it was given."""


class Compositor:
    """Sets the papers of one sender and year. Each has compilers of its own; it is not to be used by two threads.

    A page's content lies in a file of memory (memfd_create(2)) that Typst reads anew each time. As an input of the
    compiler it would change what all templates see, and Typst would forget what it knows of the others.
    """

    def __init__(self, year: int, sender: str) -> None:
        self._year = year
        self._content = os.fdopen(os.memfd_create("page"), "wb")
        self._inputs = {"page": f"/proc/self/fd/{self._content.fileno()}", "sender": sender, "year": str(year)}
        self._fonts = typst.Fonts(
            include_system_fonts=False, include_embedded_fonts=False, font_paths=[str(directory() / "fonts")]
        )
        self._compilers: dict[str, Any] = {}

    def print(self, template: str, content: str) -> bytes:
        """The PDF of a template and its content (JSON). TypesettingError when there can be none."""
        if template not in self._compilers:
            # Typst opens nothing but the template, the content and the logo, which may lie anywhere.
            path = str(directory() / "templates" / template)
            self._compilers[template] = typst.Compiler(path, root="/", font_paths=self._fonts, sys_inputs=self._inputs)
        self._content.seek(0)
        self._content.truncate()
        self._content.write(content.encode())
        self._content.flush()
        try:
            printed = self._compilers[template].compile(
                pdf_standards=["ua-1", "a-2a"],
                timestamp=datetime(self._year, 12, 31, tzinfo=UTC),
            )
        except typst.TypstError as error:
            raise TypesettingError(error.message) from error
        return bytes(printed)


def require_picture(picture: Path) -> None:
    """TypesettingError when an image file cannot be printed."""
    source: Any = f'#set document(title: "logo")\n#image("{picture.name}", alt: "logo")'.encode()
    try:
        typst.compile(source, root=str(picture.resolve().parent), ignore_system_fonts=True, pdf_standards=["a-2a"])
    except typst.TypstError as error:
        raise TypesettingError(error.message) from None


def directory() -> Path:
    """Where fonts and templates lie. Typst opens them itself, by path: the package is always installed as files."""
    return Path(str(resources.files("reports")))


def send(stream: IO[bytes], message: bytes) -> None:
    """Write one message."""
    stream.write(len(message).to_bytes(_LENGTH, "big"))
    stream.write(message)
    stream.flush()


def receive(stream: IO[bytes]) -> bytes | None:
    """Read one message; None at the end, also when the end comes within a message."""
    length = int.from_bytes(stream.read(_LENGTH), "big")
    message = stream.read(length)
    return message if length and len(message) == length else None


def _serve(year: int, requests: IO[bytes], answers: IO[bytes]) -> None:
    sender = receive(requests) or b"{}"
    compositor = Compositor(year, sender.decode())
    while (request := receive(requests)) is not None:
        template, _, content = request.decode().partition("\n")
        try:
            answer = b"+" + compositor.print(template, content)
        except TypesettingError as error:
            answer = b"-" + str(error).encode()
        send(answers, answer)


if __name__ == "__main__":
    _serve(int(sys.argv[1]), sys.stdin.buffer, sys.stdout.buffer)
