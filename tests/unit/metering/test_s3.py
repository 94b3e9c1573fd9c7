"""S3: the signature beside Amazon's own example, and stores that answer less than Amazon does."""

from __future__ import annotations

from contextlib import closing
from datetime import UTC, datetime

import pytest

from metering.server.credentials import S3Access
from metering.server.errors import SourceError
from metering.server.s3 import S3, signed_headers
from metering.server.web import Web
from tests.unit.metering.scripted_server import Scripted, scripted

NOW = datetime(2013, 5, 24, tzinfo=UTC)
# Amazon S3 API reference, "Signature calculations", examples: these keys, and the requests below.
AMAZON = S3Access(
    "https://examplebucket.s3.amazonaws.com",
    "us-east-1",
    "AKIAIOSFODNN7EXAMPLE",
    "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY",
)
EMPTY = b"<ListBucketResult><IsTruncated>false</IsTruncated></ListBucketResult>"


@pytest.mark.parametrize(
    "query,signature",
    [
        ("lifecycle=", "fea454ca298b7da1c68078a5d1bdbfbbe0d65c699e0f91ac7a200a0136783543"),
        ("max-keys=2&prefix=J", "34b48302e7b5fa45bde8084f4b7868a86f0a534bc59db6670ed5711ef69dc6f7"),
    ],
)
def test_amazon_s_own_examples(query: str, signature: str) -> None:
    headers = signed_headers(AMAZON, "GET", f"{AMAZON.endpoint}/?{query}", NOW)
    assert headers["authorization"] == (
        "AWS4-HMAC-SHA256 Credential=AKIAIOSFODNN7EXAMPLE/20130524/us-east-1/s3/aws4_request,"
        f"SignedHeaders=host;x-amz-content-sha256;x-amz-date,Signature={signature}"
    )


def volume(answers: dict[str, Scripted]) -> tuple[int, str]:
    """What is found in a store that answers by a word of the query; everything else is an empty listing."""

    def answer(target: str) -> Scripted:
        return next((scripted for word, scripted in answers.items() if word in target), (200, EMPTY))

    with scripted(answer) as server, closing(Web(pause=lambda seconds: None)) as web:
        return S3(S3Access(server.url, "gra", "key", "secret"), web).volume("box", "")


def listing(kind: str, size: int, more: str = "<IsTruncated>false</IsTruncated>") -> Scripted:
    entry = f"<{kind}><Key>k</Key><Size>{size}</Size></{kind}>"
    return 200, f'<R xmlns="http://s3.example/">{more}{entry}</R>'.encode()


@pytest.mark.parametrize("status", [400, 403, 405, 501])
def test_what_a_store_does_not_show_is_said(status: int) -> None:
    refused = (status, b"<Error><Code>NotImplemented</Code></Error>")
    found = volume({"list-type": listing("Contents", 7), "versioning": refused, "uploads": refused})
    assert found == (7, "s3://box does not show older versions of objects and unfinished uploads: not counted")
    assert volume({"list-type": listing("Contents", 7), "uploads": refused}) == (
        7,
        "s3://box does not show unfinished uploads: not counted",
    )


def test_an_upload_that_ends_while_it_is_looked_at() -> None:
    upload = b"<R><IsTruncated>false</IsTruncated><Upload><Key>a b</Key><UploadId>1</UploadId></Upload></R>"
    gone = (404, b"<Error><Code>NoSuchUpload</Code></Error>")
    assert volume({"list-type": listing("Contents", 7), "uploads": (200, upload), "uploadId": gone}) == (7, "")


@pytest.mark.parametrize(
    "answer,reason",
    [
        (
            (403, b"<Error><Code>AccessDenied</Code></Error>"),
            "this key may not list it: it needs the right s3:ListBucket",
        ),
        ((403, b"<Error><Code>InvalidAccessKeyId</Code></Error>"), "the access key is not known there"),
        ((403, b"<Error><Code>RequestTimeTooSkewed</Code></Error>"), "the clock of this server is wrong"),
        ((301, b"<Error><Code>PermanentRedirect</Code></Error>"), "PermanentRedirect (301)"),
        ((403, b"<Error><Code>marked@example.org</Code></Error>"), "an answer that is not S3's (403)"),
        ((200, b"<html><p>marked"), "an answer that is not S3's (200)"),
        ((200, b""), "an answer that is not S3's (200)"),
        (listing("Contents", -1), "a listing without sizes"),
        (listing("Contents", 1, "<IsTruncated>true</IsTruncated>"), "a listing that does not go on where it says"),
        (
            listing("Contents", 1, "<IsTruncated>true</IsTruncated><NextContinuationToken>x</NextContinuationToken>"),
            "a listing that does not go on where it says",
        ),
    ],
)
def test_what_is_no_listing_is_a_failure(answer: Scripted, reason: str) -> None:
    with pytest.raises(SourceError) as caught:
        volume({"list-type": answer})
    assert caught.value.reason == f"s3://box: {reason}"
