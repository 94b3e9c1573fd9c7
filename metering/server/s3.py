"""S3-compatible stores: the bytes under a prefix of a bucket, from its listings.

Counted are all objects; where the bucket keeps versions, the older ones too; and the parts of uploads that were
begun and not ended. What a store does not show is said in the note. API: Amazon S3, 2006-03-01, with Signature
Version 4.
"""

from __future__ import annotations

import hashlib
import hmac
import re
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime
from typing import Final
from urllib.parse import quote, unquote_plus, urlsplit
from xml.etree import ElementTree

from metering.server.credentials import S3Access
from metering.server.errors import SourceError
from metering.server.web import Answer, Web

Query = Mapping[str, str]
_PAGE: Final = "1000"
# What stores answer that do not know a question, or do not let this user ask it.
_NOT_SHOWN: Final = (400, 403, 405, 501)


class S3:
    """One bucket at a time; every request is signed by itself."""

    def __init__(self, access: S3Access, web: Web, now: Callable[[], datetime] = lambda: datetime.now(UTC)) -> None:
        self._access = access
        self._web = web
        self._now = now

    def volume(self, bucket: str, prefix: str) -> tuple[int, str]:
        """The bytes, and a note about what could not be seen. SourceError when the objects cannot be listed."""
        notes = []
        versioned = self._versioned(bucket)
        total = self._versions(bucket, prefix) if versioned else self._objects(bucket, prefix)
        if versioned is None:
            notes.append("older versions of objects")
        parts = self._parts(bucket, prefix)
        if parts is None:
            notes.append("unfinished uploads")
        note = f"s3://{bucket} does not show {' and '.join(notes)}: not counted" if notes else ""
        return total + (parts or 0), note

    def _versioned(self, bucket: str) -> bool | None:
        """Whether the bucket keeps versions; None when the store does not say."""
        answer = self._ask(bucket, "", {"versioning": ""})
        if answer.status in _NOT_SHOWN:
            return None
        return _text(_parsed(answer, bucket), "Status") in ("Enabled", "Suspended")

    def _objects(self, bucket: str, prefix: str) -> int:
        total = 0
        query = {"list-type": "2", "encoding-type": "url", "max-keys": _PAGE, "prefix": prefix}
        for page in self._pages(bucket, "", query, _after_token):
            total += _sizes(page, "Contents", bucket)
        return total

    def _versions(self, bucket: str, prefix: str) -> int:
        total = 0
        query = {"versions": "", "encoding-type": "url", "max-keys": _PAGE, "prefix": prefix}
        for page in self._pages(bucket, "", query, _after_last_version):
            total += _sizes(page, "Version", bucket)
        return total

    def _parts(self, bucket: str, prefix: str) -> int | None:
        """The bytes of parts of unfinished uploads; None when the store does not show them."""
        query = {"uploads": "", "encoding-type": "url", "max-uploads": _PAGE, "prefix": prefix}
        if self._ask(bucket, "", {**query, "max-uploads": "1"}).status in _NOT_SHOWN:
            return None
        total = 0
        for page in self._pages(bucket, "", query, _after_last_upload):
            for upload in _children(page, "Upload"):
                key = _decoded(page, _text(upload, "Key"))
                total += self._parts_of(bucket, key, _text(upload, "UploadId"))
        return total

    def _parts_of(self, bucket: str, key: str, upload: str) -> int:
        total = 0
        query = {"uploadId": upload, "max-parts": _PAGE}
        for page in self._pages(bucket, key, query, _after_last_part, gone_is_empty=True):
            total += _sizes(page, "Part", bucket)
        return total

    def _pages(
        self,
        bucket: str,
        key: str,
        query: Query,
        following: Callable[[ElementTree.Element], Query],
        gone_is_empty: bool = False,
    ) -> Iterator[ElementTree.Element]:
        """The pages of a listing; `following` says by which parameters the one after a page is asked."""
        after: Query = {}
        while True:
            answer = self._ask(bucket, key, {**query, **after})
            if answer.status == 404 and gone_is_empty:
                # Ended or given up since it was listed.
                return
            page = _parsed(answer, bucket)
            yield page
            if _text(page, "IsTruncated") != "true":
                return
            if following(page) in ({}, after):
                raise _not_s3(bucket)
            after = following(page)

    def _ask(self, bucket: str, key: str, query: Query) -> Answer:
        url = f"{self._access.endpoint}/{bucket}" + (f"/{quote(key, safe='/-_.~')}" if key else "")
        text = "&".join(f"{_encoded(name)}={_encoded(value)}" for name, value in sorted(query.items()))
        signed_url = f"{url}?{text}"
        return self._web.ask("GET", signed_url, lambda: signed_headers(self._access, "GET", signed_url, self._now()))


def signed_headers(access: S3Access, method: str, url: str, now: datetime, body: bytes = b"") -> dict[str, str]:
    """The headers of a request, signed (AWS Signature Version 4). The query must be sorted and encoded. Pure."""
    place = urlsplit(url)
    stamp = now.astimezone(UTC).strftime("%Y%m%dT%H%M%SZ")
    digest = hashlib.sha256(body).hexdigest()
    headers = {"host": place.netloc, "x-amz-content-sha256": digest, "x-amz-date": stamp}
    names = ";".join(headers)
    lines = "".join(f"{name}:{value}\n" for name, value in headers.items())
    request = f"{method}\n{place.path or '/'}\n{place.query}\n{lines}\n{names}\n{digest}"
    scope = f"{stamp[:8]}/{access.region}/s3/aws4_request"
    to_sign = f"AWS4-HMAC-SHA256\n{stamp}\n{scope}\n{hashlib.sha256(request.encode()).hexdigest()}"
    key = f"AWS4{access.secret_key}".encode()
    for part in scope.split("/"):
        key = hmac.digest(key, part.encode(), "sha256")
    signature = hmac.digest(key, to_sign.encode(), "sha256").hex()
    credential = f"Credential={access.access_key}/{scope}"
    return {**headers, "authorization": f"AWS4-HMAC-SHA256 {credential},SignedHeaders={names},Signature={signature}"}


def _encoded(text: str) -> str:
    return quote(text, safe="-_.~")


def _parsed(answer: Answer, bucket: str) -> ElementTree.Element:
    """The document of an answer. SourceError for any but a good one."""
    try:
        # expat limits entities by itself since 2.4.1; Debian 12 has 2.5.
        root = ElementTree.fromstring(answer.body)  # noqa: S314
    except ElementTree.ParseError:
        root = None
    if root is None or answer.status != 200:
        raise _refusal(answer.status, _text(root, "Code") if root is not None else "", bucket)
    return root


def _refusal(status: int, code: str, bucket: str) -> SourceError:
    reasons = {
        "NoSuchBucket": "there is no such bucket",
        "AccessDenied": "this key may not list it: it needs the right s3:ListBucket",
        "InvalidAccessKeyId": "the access key is not known there",
        "SignatureDoesNotMatch": "the secret key or the region is wrong",
        "RequestTimeTooSkewed": "the clock of this server is wrong",
    }
    # Codes are single words; anything else is not told.
    told = code if re.fullmatch(r"[A-Za-z]{1,60}", code) else "an answer that is not S3's"
    return SourceError(f"s3://{bucket}: {reasons.get(code, f'{told} ({status})')}")


def _not_s3(bucket: str) -> SourceError:
    return SourceError(f"s3://{bucket}: a listing that does not go on where it says")


def _after_token(page: ElementTree.Element) -> Query:
    return _filled({"continuation-token": _text(page, "NextContinuationToken")})


def _after_last_version(page: ElementTree.Element) -> Query:
    """After the last version that was listed, by its own name: what Swift 2.30 gives as the next one skips versions."""
    last = [child for child in page if child.tag.rpartition("}")[2] in ("Version", "DeleteMarker")][-1:]
    key = "".join(_decoded(page, _text(one, "Key")) for one in last)
    return _filled({"key-marker": key, "version-id-marker": "".join(_text(one, "VersionId") for one in last)})


def _after_last_upload(page: ElementTree.Element) -> Query:
    """The next key is written as keys are in the list, or plainly: stores differ."""
    text = _text(page, "NextKeyMarker")
    listed = any(_text(upload, "Key") == text for upload in _children(page, "Upload"))
    key = _decoded(page, text) if listed else text
    return _filled({"key-marker": key, "upload-id-marker": _text(page, "NextUploadIdMarker")})


def _after_last_part(page: ElementTree.Element) -> Query:
    return _filled({"part-number-marker": _text(page, "NextPartNumberMarker")})


def _filled(query: Query) -> Query:
    return {name: value for name, value in query.items() if value}


def _decoded(page: ElementTree.Element, key: str) -> str:
    return unquote_plus(key) if _text(page, "EncodingType") == "url" else key


def _sizes(page: ElementTree.Element, kind: str, bucket: str) -> int:
    texts = [_text(one, "Size") for one in _children(page, kind)]
    if not all(text.isascii() and text.isdigit() for text in texts):
        raise SourceError(f"s3://{bucket}: a listing without sizes")
    return sum(map(int, texts))


def _children(element: ElementTree.Element, name: str) -> Iterator[ElementTree.Element]:
    """The children of that name, whatever namespace a store writes."""
    return (child for child in element if child.tag.rpartition("}")[2] == name)


def _text(element: ElementTree.Element, name: str) -> str:
    return next((child.text or "" for child in _children(element, name)), "")
