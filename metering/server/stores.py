"""The volume of documents that lie in stores elsewhere."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import closing
from pathlib import Path

from metering.server.credentials import Credentials, load_credentials
from metering.server.errors import SourceError
from metering.server.sources import Store


def volume_of_stores(
    stores: Sequence[Store], credentials: Path | None, pause: Callable[[float], None] = time.sleep
) -> tuple[int, str]:
    """The bytes of all stores, each once, and a note about what they do not show.

    SourceError when one cannot be measured: half a volume is none.
    """
    if not stores or credentials is None:
        return 0, ""
    access = load_credentials(credentials)
    places = _outermost(stores)
    missing = next((store.kind for store in places if getattr(access, store.kind) is None), "")
    if missing:
        raise SourceError(f"{credentials} has no table [{missing}]")
    swift = _swift_volume([store for store in places if store.kind == "swift"], access, pause)
    s3, note = _s3_volume([store for store in places if store.kind == "s3"], access, pause)
    return swift + s3, note


def _outermost(stores: Sequence[Store]) -> list[Store]:
    """The stores without those that lie in another one, which would be counted twice."""
    different = list(dict.fromkeys(stores))
    return [
        store
        for store in different
        if not any(
            other != store and (other.kind, other.name) == (store.kind, store.name) and _within(store, other)
            for other in different
        )
    ]


def _within(store: Store, other: Store) -> bool:
    return store.prefix.startswith(other.prefix)


def _swift_volume(places: Sequence[Store], access: Credentials, pause: Callable[[float], None]) -> int:
    if not places or access.swift is None:
        return 0
    # Imported here, as below, because a run that asks no store must start at once.
    from metering.server.swift import Swift
    from metering.server.web import Web

    with closing(Web("the Swift store", access.swift.ca_file, pause)) as web:
        swift = Swift(access.swift, web)
        return sum(swift.volume(store.name) for store in places)


def _s3_volume(places: Sequence[Store], access: Credentials, pause: Callable[[float], None]) -> tuple[int, str]:
    if not places or access.s3 is None:
        return 0, ""
    from metering.server.s3 import S3
    from metering.server.web import Web

    with closing(Web("the S3 store", access.s3.ca_file, pause)) as web:
        s3 = S3(access.s3, web)
        volumes = [s3.volume(store.name, store.prefix) for store in places]
    return sum(used for used, _ in volumes), "; ".join(note for _, note in volumes if note)
