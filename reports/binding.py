"""Parts of a paper bound to one, as if they had been printed together: pages, tags, metadata (ISO 32000-1, 14.7).

A table of thousands of customers is printed in parts, because Typst holds all of a document in memory. The tags of
all parts come under one document; what is unique in each part (the numbers that lead from pages to tags, the names of
header cells) is made unique in the whole. All else, such as the metadata, is that of the first part.

    python -m reports.binding FIRST.pdf [PART.pdf]... WHOLE.pdf
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pikepdf


def bind(parts: Sequence[Path], whole: Path) -> None:
    """Write `whole` from `parts`, in order; the same parts give the same bytes."""
    with pikepdf.open(parts[0]) as bound:
        tree = bound.Root.StructTreeRoot
        document = _document(tree)
        _unify(bound, 1)
        leads, names = list(tree.ParentTree.Nums), list(tree.IDTree.Names)
        for number, path in enumerate(parts[1:], 2):
            with pikepdf.open(path) as part:
                _append(bound, document, part, number, leads, names)
        tree.ParentTree = bound.make_indirect(pikepdf.Dictionary(Nums=pikepdf.Array(leads)))
        tree.ParentTreeNextKey = len(leads) // 2
        in_order = sorted(zip(names[::2], names[1::2], strict=True), key=lambda pair: bytes(pair[0]))
        tree.IDTree = bound.make_indirect(
            pikepdf.Dictionary(Names=pikepdf.Array([item for pair in in_order for item in pair]))
        )
        bound.save(whole, object_stream_mode=pikepdf.ObjectStreamMode.generate, deterministic_id=True)


def page_count(pdf: Path) -> int:
    """How many pages a PDF has."""
    with pikepdf.open(pdf) as opened:
        return len(opened.pages)


def _append(
    bound: pikepdf.Pdf,
    document: pikepdf.Object,
    part: pikepdf.Pdf,
    number: int,
    leads: list[Any],
    names: list[Any],
) -> None:
    """The pages and the tags of a part, after those that are there."""
    _unify(part, number)
    offset = len(leads) // 2
    for page in part.pages:
        page.obj.StructParents = int(page.obj.StructParents) + offset
    # First the pages, so that the tags, which point at them, find them there.
    bound.pages.extend(part.pages)
    tree = bound.copy_foreign(part.make_indirect(part.Root.StructTreeRoot))
    for element in _document(tree).K:
        element.P = document
        document.K.append(element)
    for key, lead in zip(tree.ParentTree.Nums[::2], tree.ParentTree.Nums[1::2], strict=True):
        leads += [int(key) + offset, lead]
    if "/IDTree" in tree:
        for name, element in zip(tree.IDTree.Names[::2], tree.IDTree.Names[1::2], strict=True):
            names += [pikepdf.String(f"P{number}{name}"), element]


def _unify(part: pikepdf.Pdf, number: int) -> None:
    """The tags of a part as those of the whole are to be; the first part keeps its names and its title."""
    shared: dict[bytes, pikepdf.Object] = {}
    for element in _elements(part.Root.StructTreeRoot):
        if number > 1:
            _rename(element, f"P{number}")
        if number > 1 and element.S == "/H1":
            # Typst lets no document begin with a lesser heading; in the whole there is one of level 1, the title.
            element.S = pikepdf.Name.H2
        if "/A" in element and "/ID" not in element:
            # What all cells of a column say of it becomes one object, in place of one in each: a third of the memory.
            said = element.A.unparse(resolved=True)
            if said not in shared:
                shared[said] = part.make_indirect(element.A)
            element.A = shared[said]


def _document(tree: pikepdf.Object) -> pikepdf.Object:
    kids = tree.K
    return kids[0] if isinstance(kids, pikepdf.Array) else kids


def _elements(node: pikepdf.Object) -> Iterator[pikepdf.Object]:
    """Every structure element below a node."""
    waiting = [node]
    while waiting:
        kids: Any = waiting.pop().get("/K", [])
        for kid in kids if isinstance(kids, pikepdf.Array) else [kids]:
            if isinstance(kid, pikepdf.Dictionary) and "/S" in kid:
                yield kid
                waiting.append(kid)


def _rename(element: pikepdf.Object, prefix: str) -> None:
    """Header cells and the cells that name them: each part has those of the same names."""
    if "/ID" in element:
        element.ID = pikepdf.String(f"{prefix}{element.ID}")
    for attribute in element.get("/A", []):
        if "/Headers" in attribute:
            attribute.Headers = pikepdf.Array([pikepdf.String(f"{prefix}{name}") for name in attribute.Headers])


if __name__ == "__main__":
    *first, last = (Path(argument) for argument in sys.argv[1:])
    bind(first, last)
