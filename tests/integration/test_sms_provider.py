"""The stand-in of the SMS provider answers as the provider does."""

from __future__ import annotations

import hashlib
import json
import ssl
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.fixtures.local_services import certificate
from tests.fixtures.sms_provider import SmsProvider, parts


@pytest.fixture
def provider(tmp_path: Path) -> Iterator[SmsProvider]:
    certificate(tmp_path)
    with SmsProvider(tmp_path / "sms.pem", tmp_path / "sms.key") as listening:
        yield listening


def ask(provider: SmsProvider, path: str, job: object, secret: str, folder: Path) -> tuple[int, Any]:
    """One signed job, as OVH's documentation says to sign it."""
    account = provider.outbox.account
    url = f"https://127.0.0.1:{provider.port}{path}"
    body = json.dumps(job)
    to_sign = "+".join((secret, account.consumer_key, "POST", url, body, "1700000000"))
    headers = {
        "X-Ovh-Application": account.application_key,
        "X-Ovh-Consumer": account.consumer_key,
        "X-Ovh-Timestamp": "1700000000",
        "X-Ovh-Signature": "$1$" + hashlib.sha1(to_sign.encode()).hexdigest(),  # noqa: S324
    }
    opener = urllib.request.build_opener(
        urllib.request.ProxyHandler({}),
        urllib.request.HTTPSHandler(context=ssl.create_default_context(cafile=folder / "sms.pem")),
    )
    try:
        with opener.open(urllib.request.Request(url, body.encode(), headers), timeout=10) as answer:
            return answer.status, json.load(answer)
    except urllib.error.HTTPError as error:
        with error:
            return error.code, json.load(error)


def test_a_job_names_who_got_it_and_what_it_cost(provider: SmsProvider, tmp_path: Path) -> None:
    job = {"message": "a" * 161, "receivers": ["+32470000001", "0470", "+32470000002"]}
    path = f"/1.0/sms/{provider.outbox.account.service}/jobs"
    status, answer = ask(provider, path, job, provider.outbox.account.application_secret, tmp_path)
    assert (status, answer) == (
        200,
        {
            "totalCreditsRemoved": 4,
            "ids": [1, 2],
            "validReceivers": ["+32470000001", "+32470000002"],
            "invalidReceivers": ["0470"],
        },
    )
    assert [message.receiver for message in provider.outbox.messages] == ["+32470000001", "+32470000002"]


@pytest.mark.parametrize(
    "path,secret,status",
    [
        ("/1.0/sms/sms-ab12345-1/jobs", "another-secret", 403),
        ("/1.0/sms/another-service/jobs", "application-secret", 403),
    ],
)
def test_what_a_provider_refuses_is_refused(
    provider: SmsProvider, tmp_path: Path, path: str, secret: str, status: int
) -> None:
    answer = ask(provider, path, {"message": "a", "receivers": ["+32470000001"]}, secret, tmp_path)
    assert answer[0] == status
    assert answer[1]["message"]
    assert provider.outbox.messages == []


def test_told_to_fail_it_fails_that_often(provider: SmsProvider, tmp_path: Path) -> None:
    provider.outbox.fail_next = 1
    account = provider.outbox.account
    job = {"message": "a", "receivers": ["+32470000001"]}
    path = f"/1.0/sms/{account.service}/jobs"
    statuses = [ask(provider, path, job, account.application_secret, tmp_path)[0] for _ in range(2)]
    assert statuses == [500, 200]
    assert len(provider.outbox.messages) == 1


@pytest.mark.parametrize(
    "text,expected",
    [
        ("", 1),
        ("a" * 160, 1),
        ("a" * 161, 2),
        ("a" * 306, 2),
        ("a" * 307, 3),
        ("é" * 160, 1),
        ("€" * 80, 1),
        ("€" * 81, 2),
        ("ê" * 70, 1),
        ("ê" * 71, 2),
        ("😀" * 35, 1),
        ("😀" * 36, 2),
    ],
)
def test_long_texts_and_rare_letters_take_several_parts(text: str, expected: int) -> None:
    assert parts(text) == expected
