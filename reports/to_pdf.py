"""The papers' content → PDF, by Typst: A4, tagged (PDF/UA-1), archivable (PDF/A-2a), fonts embedded, reproducible.

Content goes in as JSON and is never part of the Typst source, so that no name can be read as markup. The same
content gives the same bytes on every machine: fonts travel with the package, and the time in the file is the end of
the reported year.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from functools import cache
from hashlib import sha256
from importlib import metadata
from itertools import chain, islice
from pathlib import Path
from typing import Any, Final, Protocol

from provision.errors import ChillError, RequestError
from provision.fleet import Fleet
from provision.settings import Cooperative
from reports.annex import Page
from reports.charts import Drawing
from reports.compositor import Compositor, TypesettingError, directory, require_picture
from reports.glyphs import printable
from reports.letterhead import letterhead
from reports.overview import in_parts
from reports.print_shop import WORKERS, PrintShop, own_environment
from reports.table import Words

LOGO_SETTING: Final = "chill.toml: cooperative.logo"
# So many papers are printed sooner than a process that prints them is started.
_FEW: Final = 16
# Parts of a paper that one process prints: each takes some 100 MB, a process some tenths of a second.
_PARTS_AT_ONCE: Final = 2
# What the two kinds of file begin with; an SVG may begin with anything that XML allows.
_PNG: Final = b"\x89PNG\r\n\x1a\n"


class _Printer(Protocol):
    """A compositor, or a shop of them; the latter is called from several threads."""

    def print(self, template: str, content: str) -> bytes:
        """The PDF of a template and its content."""


class Memory(Protocol):
    """What was printed before: `key` stands for everything that a paper is made from. Called from several threads."""

    def kept(self, key: str) -> bytes | None:
        """The paper that was made from the same; None when there is none."""

    def keep(self, key: str, data: bytes) -> None:
        """A paper was made."""


@dataclass(frozen=True, slots=True)
class Press:
    """Prints the papers of one sender and year: `annex(page)` and `fleet(page)` give the bytes of a PDF."""

    year: int
    _sender: str
    _materials: str = ""
    _memory: Memory | None = None

    @classmethod
    def for_year(cls, year: int, sender: Page, logo: Path | None = None, memory: Memory | None = None) -> Press:
        """A press with the templates and fonts of the package, and no font of the machine.

        `sender` is what `reports.letterhead.letterhead` gives, `logo` an SVG or PNG file. What `memory`
        has is not printed again. RequestError when the logo cannot be printed.
        """
        require_logo(logo)
        head = {**_printable(sender), "logo": str(logo.resolve()) if logo else ""}
        sent = json.dumps(head, ensure_ascii=False)
        picture = sha256(logo.read_bytes()).hexdigest() if logo else ""
        return cls(year, sent, f"{_materials()} {picture} {year} {sent}", memory)

    @classmethod
    def for_fleet(cls, fleet: Fleet, year: int, words: Words, memory: Memory | None = None) -> Press:
        """A press for the papers of the cooperative of `chill.toml`. RequestError when its logo cannot be printed."""
        cooperative = fleet.settings.cooperative
        logo = fleet.path(cooperative.logo) if cooperative.logo else None
        return cls.for_cooperative(cooperative, logo, year, words, memory)

    @classmethod
    def for_cooperative(
        cls, cooperative: Cooperative, logo: Path | None, year: int, words: Words, memory: Memory | None = None
    ) -> Press:
        """A press for the papers of a cooperative and its logo. RequestError when that cannot be printed."""
        return cls.for_year(year, letterhead(cooperative, words), logo, memory)

    def annex(self, page: Page) -> bytes:
        """A customer's paper; `page` is what `reports.annex.annex_page` gives."""
        return next(self.papers([page]))

    def fleet(self, page: Page) -> bytes:
        """The fleet's paper; `page` is what `reports.overview.overview_page` gives."""
        return next(self.papers((), lambda: page))

    def papers(self, annexes: Iterable[Page], fleet: Callable[[], Page] | None = None) -> Iterator[bytes]:
        """Many customers' papers, in the order of their pages, then the fleet's, if there is one.

        They are printed on all processors, and few of them are held at a time. `fleet` gives the page of the fleet's
        paper: while others are printed already, and in a thread of its own.
        """
        coming = iter(annexes)
        first = list(islice(coming, _FEW + 1))
        many = len(first) > _FEW
        with ThreadPoolExecutor(WORKERS if many else 1) as pool, self._printer(many) as printer:
            # From the beginning, beside the annexes, because each of its parts waits for the one before it.
            last = pool.submit(self._fleet, fleet, printer) if fleet else None
            ahead: deque[Future[bytes]] = deque()
            for page in chain(first, coming):
                ahead.append(pool.submit(self._annex, page, printer))
                if len(ahead) > 2 * WORKERS:
                    yield ahead.popleft().result()
            while ahead:
                yield ahead.popleft().result()
            if last:
                yield last.result()

    def _printer(self, many: bool) -> AbstractContextManager[_Printer]:
        """Compositors in processes of their own for many papers; one of this process for a few."""
        return PrintShop(self.year, self._sender) if many else nullcontext(Compositor(self.year, self._sender))

    def _annex(self, page: Page, printer: _Printer) -> bytes:
        content = printed_content(page)
        return self._once("annex.typ", content, lambda: self._set("annex.typ", content, page, printer))

    def _fleet(self, make: Callable[[], Page], printer: _Printer) -> bytes:
        page = make()
        clean = _printable(page)
        parts = list(in_parts(clean))

        def bound() -> bytes:
            with tempfile.TemporaryDirectory() as directory:
                return self._bound(parts, Path(directory))

        content = json.dumps(clean, ensure_ascii=False)
        if len(parts) > 1:
            return self._once("fleet.typ", content, bound)
        return self._once("fleet.typ", content, lambda: self._set("fleet.typ", content, page, printer))

    def _bound(self, parts: Sequence[Page], directory: Path) -> bytes:
        """A paper printed in parts, which are bound to one: by processes that end after a few of them.

        What they take of memory ends with them; Typst would remember the last ten parts.
        """
        # Here, because few papers need it, and loading it takes a moment.
        from reports.binding import page_count

        first, files = 1, list[Path]()
        for start in range(0, len(parts), _PARTS_AT_ONCE):
            with PrintShop(self.year, self._sender, workers=1) as alone:
                for part in parts[start : start + _PARTS_AT_ONCE]:
                    files.append(directory / f"{len(files)}.pdf")
                    content = json.dumps({**part, "first": first}, ensure_ascii=False)
                    files[-1].write_bytes(self._set("fleet.typ", content, part, alone))
                    first += page_count(files[-1])
        whole = directory / "whole.pdf"
        command = [sys.executable, "-m", "reports.binding", *map(str, files), str(whole)]
        try:
            subprocess.run(command, env=own_environment(), capture_output=True, check=True, start_new_session=True)
        except subprocess.CalledProcessError as error:
            said = error.stderr.decode(errors="replace").strip().rpartition("\n")[2]
            raise ChillError(f"{parts[0]['title']}: its parts could not be bound: {said}") from None
        return whole.read_bytes()

    def _once(self, template: str, content: str, make: Callable[[], bytes]) -> bytes:
        """What the memory has of this content, else what `make` gives."""
        if self._memory is None:
            return make()
        key = sha256(f"{self._materials} {template} {content}".encode()).hexdigest()
        printed = self._memory.kept(key)
        if printed is None:
            printed = make()
            self._memory.keep(key, printed)
        return printed

    def _set(self, template: str, content: str, page: Page, printer: _Printer) -> bytes:
        try:
            return printer.print(template, content)
        except TypesettingError as error:
            title = f"{page['title']} ({page.get('instance', 'fleet')})"
            raise ChillError(f"{title}: the PDF could not be made: {error}") from error


def require_logo(logo: Path | None) -> None:
    """RequestError when a logo is not there, or is neither an SVG nor a PNG that can be printed."""
    if logo is None:
        return
    hint = "name an SVG or PNG file there, relative to the fleet directory, or leave it empty"
    try:
        data = logo.read_bytes()
    except OSError as error:
        raise RequestError(f"{LOGO_SETTING}: {logo}: cannot be read: {error.strerror}", hint) from None
    if not data.startswith(_PNG) and b"<svg" not in data[:4096]:
        raise RequestError(f"{LOGO_SETTING}: {logo}: is neither SVG nor PNG", hint)
    try:
        require_picture(logo)
    except TypesettingError as error:
        raise RequestError(f"{LOGO_SETTING}: {logo}: cannot be printed: {error}", hint) from None


def printed_content(page: Page) -> str:
    """What a template is given of a page: JSON, without what no font has."""
    return json.dumps(_printable(page), ensure_ascii=False)


def _printable(value: Any) -> Any:
    """`printable` on every text of a JSON value."""
    if isinstance(value, Drawing):
        return value
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
    for part in (*_code(), *sorted((directory() / "templates").iterdir()), *sorted(_fonts())):
        digest.update(f"{part.name} ".encode() + sha256(part.read_bytes()).digest())
    return digest.hexdigest()


def _code() -> Iterator[Path]:
    return (directory() / name for name in ("to_pdf.py", "compositor.py", "binding.py"))


def _fonts() -> Iterator[Path]:
    return (path for path in (directory() / "fonts").iterdir() if path.suffix == ".ttf")
