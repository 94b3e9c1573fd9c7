"""The papers' content → PDF, by Typst: A4, tagged (PDF/UA-1), archivable (PDF/A-2a), fonts embedded, reproducible.

Content goes in as JSON and is never part of the Typst source, so that no name can be read as markup. The same
content gives the same bytes on every machine: fonts travel with the package, and the time in the file is the end of
the reported year.
"""

from __future__ import annotations

import json
import os
import queue
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache
from hashlib import sha256
from importlib import metadata, resources
from itertools import islice
from pathlib import Path
from typing import Any, Final, Protocol

import typst

from provision.errors import ChillError, RequestError
from provision.fleet import Fleet
from reports.annex import Page
from reports.glyphs import printable
from reports.letterhead import letterhead
from reports.table import Words

LOGO_SETTING: Final = "chill.toml: cooperative.logo"
# Each has a compiler of its own; Typst works while Python does something else.
_WORKERS: Final = min(os.cpu_count() or 1, 8)
# What the two kinds of file begin with; an SVG may begin with anything that XML allows.
_PNG: Final = b"\x89PNG\r\n\x1a\n"


class Memory(Protocol):
    """What was printed before: `key` stands for everything that a paper is made from. Called from several threads."""

    def kept(self, key: str) -> bytes | None:
        """The paper that was made from the same; None when there is none."""

    def keep(self, key: str, data: bytes) -> None:
        """A paper was made."""


@dataclass(frozen=True, slots=True)
class Press:
    """Typst, ready to print the papers of one year: `annex(page)` and `fleet(page)` give the bytes of a PDF."""

    year: int
    _sender: str
    _fonts: Any
    _materials: str = ""
    _memory: Memory | None = None

    @classmethod
    def for_year(cls, year: int, sender: Page, logo: Path | None = None, memory: Memory | None = None) -> Press:
        """A press with the templates and fonts of the package, and no font of the machine.

        `sender` is what `reports.letterhead.letterhead` gives, `logo` an SVG or PNG file. What `memory`
        has is not printed again. RequestError when the logo cannot be printed.
        """
        fonts = typst.Fonts(
            include_system_fonts=False, include_embedded_fonts=False, font_paths=[str(_directory() / "fonts")]
        )
        if logo:
            _require_picture(logo)
        head = {**_printable(sender), "logo": str(logo.resolve()) if logo else ""}
        sent = json.dumps(head, ensure_ascii=False)
        picture = sha256(logo.read_bytes()).hexdigest() if logo else ""
        return cls(year, sent, fonts, f"{_materials()} {picture} {year} {sent}", memory)

    @classmethod
    def for_fleet(cls, fleet: Fleet, year: int, words: Words, memory: Memory | None = None) -> Press:
        """A press for the papers of the cooperative of `chill.toml`. RequestError when its logo cannot be printed."""
        cooperative = fleet.settings.cooperative
        logo = fleet.path(cooperative.logo) if cooperative.logo else None
        return cls.for_year(year, letterhead(cooperative, words), logo, memory)

    def annex(self, page: Page) -> bytes:
        """A customer's paper; `page` is what `reports.annex.annex_page` gives."""
        return self._print(self._compiler, "annex.typ", page)

    def annexes(self, pages: Iterable[Page]) -> Iterator[bytes]:
        """Many customers' papers, in the order of `pages`, printed on all processors; few are held at a time."""
        free: queue.SimpleQueue[Any] = queue.SimpleQueue()
        for _ in range(_WORKERS):
            free.put(self._compiler("annex.typ"))

        def one(page: Page) -> bytes:
            compiler = free.get()
            try:
                return self._print(lambda _: compiler, "annex.typ", page)
            finally:
                free.put(compiler)

        coming = iter(pages)
        with ThreadPoolExecutor(_WORKERS) as pool:
            ahead: deque[Future[bytes]] = deque(pool.submit(one, page) for page in islice(coming, 2 * _WORKERS))
            while ahead:
                printed = ahead.popleft().result()
                ahead.extend(pool.submit(one, page) for page in islice(coming, 1))
                yield printed

    def fleet(self, page: Page) -> bytes:
        """The fleet's paper; `page` is what `reports.overview.overview_page` gives."""
        return self._print(self._compiler, "fleet.typ", page)

    def _compiler(self, template: str) -> Any:
        # Typst opens nothing but the template and the logo, which may lie anywhere.
        return typst.Compiler(str(_directory() / "templates" / template), root="/", font_paths=self._fonts)

    def _print(self, compiler: Callable[[str], Any], template: str, page: Page) -> bytes:
        content = json.dumps(_printable(page), ensure_ascii=False)
        if self._memory is None:
            return self._set(compiler(template), page, content)
        key = sha256(f"{self._materials} {template} {content}".encode()).hexdigest()
        printed = self._memory.kept(key)
        if printed is None:
            printed = self._set(compiler(template), page, content)
            self._memory.keep(key, printed)
        return printed

    def _set(self, compiler: Any, page: Page, content: str) -> bytes:
        try:
            printed = compiler.compile(
                sys_inputs={"page": content, "sender": self._sender, "year": str(self.year)},
                pdf_standards=["ua-1", "a-2a"],
                timestamp=datetime(self.year, 12, 31, tzinfo=UTC),
            )
        except typst.TypstError as error:
            title = f"{page['title']} ({page.get('instance', 'fleet')})"
            raise ChillError(f"{title}: the PDF could not be made: {error.message}") from error
        return bytes(printed)


def _require_picture(logo: Path) -> None:
    """RequestError when a logo is not there, or is neither an SVG nor a PNG that can be printed."""
    hint = "name an SVG or PNG file there, relative to the fleet directory, or leave it empty"
    try:
        data = logo.read_bytes()
    except OSError as error:
        raise RequestError(f"{LOGO_SETTING}: {logo}: cannot be read: {error.strerror}", hint) from None
    if not data.startswith(_PNG) and b"<svg" not in data[:4096]:
        raise RequestError(f"{LOGO_SETTING}: {logo}: is neither SVG nor PNG", hint)
    source: Any = f'#set document(title: "logo")\n#image("{logo.name}", alt: "logo")'.encode()
    try:
        typst.compile(source, root=str(logo.resolve().parent), ignore_system_fonts=True, pdf_standards=["a-2a"])
    except typst.TypstError as error:
        raise RequestError(f"{LOGO_SETTING}: {logo}: cannot be printed: {error.message}", hint) from None


def _printable(value: Any) -> Any:
    """`printable` on every text of a JSON value."""
    if isinstance(value, str):
        return printable(value)
    if isinstance(value, list):
        return [_printable(element) for element in value]
    if isinstance(value, dict):
        return {key: _printable(element) for key, element in value.items()}
    return value


@cache
def _materials() -> str:
    """What every paper is made with, as a digest: Typst, this code, templates, fonts."""
    digest = sha256(metadata.version("typst").encode())
    for part in (Path(__file__), *sorted((_directory() / "templates").iterdir()), *sorted(_fonts())):
        digest.update(f"{part.name} ".encode() + sha256(part.read_bytes()).digest())
    return digest.hexdigest()


def _fonts() -> Iterator[Path]:
    return (path for path in (_directory() / "fonts").iterdir() if path.suffix == ".ttf")


def _directory() -> Path:
    # Typst opens fonts and templates itself, by path: the package is always installed as plain files.
    return Path(str(resources.files("reports")))
