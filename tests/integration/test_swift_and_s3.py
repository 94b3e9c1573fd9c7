"""Documents in stores elsewhere: a real OpenStack Swift, by its own interface and by its S3 interface."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any
from urllib.parse import quote

import pytest

from metering.server import s3 as s3_module
from metering.server.credentials import S3Access, SwiftAccess
from metering.server.errors import SourceError
from metering.server.s3 import S3, signed_headers
from metering.server.swift import Swift
from metering.server.web import Answer, Web
from tests.fixtures.swift_store import APPLICATION, READER, SwiftStore, swift
from tests.unit.metering.server_side import NOON, YESTERDAY, Server


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SwiftStore]:
    with swift(tmp_path_factory.mktemp("swift")) as running:
        yield running


@pytest.fixture
def container(store: SwiftStore, request: pytest.FixtureRequest) -> str:
    """A fresh container's name; the container is there and empty."""
    name = f"docs-{abs(hash(request.node.nodeid)) % 10**10}"
    store.ask("PUT", f"/{name}")
    return name


def access(store: SwiftStore, who: tuple[str, str] = APPLICATION) -> SwiftAccess:
    return SwiftAccess(store.auth_url, *who)


def volume(entrance: SwiftAccess, container: str) -> int:
    with closing(Web()) as web:
        return Swift(entrance, web).volume(container)


def refusal(entrance: SwiftAccess, container: str) -> str:
    with pytest.raises(SourceError) as caught:
        volume(entrance, container)
    return caught.value.reason


def configured(tmp_path: Path, documents: str, credentials: str) -> Server:
    server = Server(tmp_path, f'[instances.acme]\ndocuments = ["{documents}"]\ncredentials = "store.toml"\n')
    path = tmp_path / "store.toml"
    path.write_text(credentials)
    path.chmod(0o600)
    return server


# --- Swift ---------------------------------------------------------------------------------------------------


def test_a_container_and_the_segments_of_its_large_objects(store: SwiftStore, container: str) -> None:
    """A large object's listing shows its whole size: with its segments, it would count twice. The counter does not."""
    store.ask("PUT", f"/{container}/one", b"x" * 1000)
    assert volume(access(store), container) == 1000
    store.ask("PUT", f"/{container}_segments")
    for number in (1, 2):
        store.ask("PUT", f"/{container}_segments/big/{number}", b"y" * 50_000)
    store.ask("PUT", f"/{container}/dynamic", X_Object_Manifest=f"{container}_segments/big")
    manifest = json.dumps([{"path": f"/{container}_segments/big/{number}"} for number in (1, 2)])
    store.ask("PUT", f"/{container}/static?multipart-manifest=put", manifest.encode())
    listed = sum(one["bytes"] for one in json.loads(store.ask("GET", f"/{container}?format=json")))
    assert listed == 101_000
    # Besides, the static manifest itself: some hundred bytes.
    assert 101_000 < volume(access(store), container) < 102_000


def test_a_counter_may_go_down(store: SwiftStore, container: str) -> None:
    store.ask("PUT", f"/{container}/one", b"x" * 1000)
    store.ask("PUT", f"/{container}/two", b"x" * 10)
    before = volume(access(store), container)
    store.ask("DELETE", f"/{container}/one")
    assert (before, volume(access(store), container)) == (1010, 10)


def test_a_name_that_must_be_quoted(store: SwiftStore) -> None:
    store.ask("PUT", "/caf%C3%A9%20%25%3F")
    store.ask("PUT", "/caf%C3%A9%20%25%3F/one", b"x" * 7)
    assert volume(access(store), "café %?") == 7


def test_no_container_is_a_failure_and_not_nothing(store: SwiftStore) -> None:
    assert refusal(access(store), "absent") == "swift://absent: there is no such container"


def test_rights_of_the_user_who_measures(store: SwiftStore, container: str) -> None:
    """Somebody else's account: nothing, then by the ACLs of the containers, then by that of the account."""
    store.ask("PUT", f"/{container}/one", b"x" * 1000)
    reader = replace(access(store, READER), storage_url=store.storage_url())
    assert "this user may not read it: a read ACL" in refusal(reader, container)
    store.ask("POST", f"/{container}", X_Container_Read=READER[0])
    # It cannot be told from segments that are kept secret that there are none.
    assert f"swift://{container}_segments: this user may not read it" in refusal(reader, container)
    store.ask("PUT", f"/{container}_segments", X_Container_Read=READER[0])
    assert volume(reader, container) == 1000
    for name in (container, f"{container}_segments"):
        store.ask("POST", f"/{name}", X_Container_Read="")
    assert "may not read it" in refusal(reader, container)
    store.ask("POST", "", X_Account_Access_Control=json.dumps({"read-only": [READER[0]]}))
    try:
        assert volume(reader, container) == 1000
    finally:
        store.ask("POST", "", X_Account_Access_Control="{}")


def test_a_token_that_expires_is_replaced_once(store: SwiftStore, container: str) -> None:
    store.ask("PUT", f"/{container}/one", b"x" * 1000)
    with closing(Web()) as web:
        client = Swift(access(store), web)
        assert client.volume(container) == 1000
        store.forget_tokens()
        assert client.volume(container) == 1000


def test_a_token_that_is_never_good(store: SwiftStore, container: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two logins at most, never a loop."""
    logins = []

    def expired(self: Swift) -> None:
        logins.append(1)
        genuine(self)
        store.forget_tokens()

    genuine = Swift._log_in
    monkeypatch.setattr(Swift, "_log_in", expired)
    with closing(Web()) as web:
        client = Swift(access(store), web)
        for _ in range(2):
            with pytest.raises(SourceError, match="refuses the token that it gave"):
                client.volume(container)
    assert len(logins) == 2


def test_a_wrong_password(store: SwiftStore, container: str) -> None:
    reason = refusal(access(store, ("acme:app", "marked-secret")), container)
    assert reason == "swift: the login was refused: correct user and password"


def test_an_address_that_is_not_swift_s(store: SwiftStore, container: str) -> None:
    entrance = replace(access(store), auth_url=f"{store.endpoint}/v1/AUTH_acme")
    assert "the login was refused" in refusal(entrance, container)


def test_the_night_s_collection(store: SwiftStore, container: str, tmp_path: Path) -> None:
    """With directories beside; a store that is away is a failure, and is asked again in the next run."""
    store.ask("PUT", f"/{container}/one", b"x" * 1000)
    (tmp_path / "local").mkdir()
    (tmp_path / "local" / "one").write_bytes(b"x" * 24)
    login = f'[swift]\nauth_url = "{store.auth_url}"\nuser = "{APPLICATION[0]}"\n'
    server = configured(tmp_path, f'local", "swift://{container}", "swift://{container}', f'{login}password = "wrong"')
    ((key, reason),) = server.collect().failures
    assert (key.metric, reason) == ("document_bytes", "swift: the login was refused: correct user and password")
    assert server.values("document_bytes") == {}
    (tmp_path / "store.toml").write_text(f'{login}password = "{APPLICATION[1]}"')
    assert not server.collect(now=NOON).failures
    assert server.values("document_bytes") == {YESTERDAY.isoformat(): 1024}
    written = server.everything_written() + server.config.read_bytes()
    assert APPLICATION[1].encode() not in written


# --- Keystone ------------------------------------------------------------------------------------------------


class Keystone(BaseHTTPRequestHandler):
    """Stands for OpenStack's identity service, whose tokens real Swift would check with it: this one hands out tokens
    of the store's own, so that everything behind the login is real.
    """

    store: SwiftStore
    asked: dict[str, Any]
    regions: tuple[str, ...]

    def do_POST(self) -> None:
        cls = type(self)
        cls.asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        endpoints = [
            {"region": region, "interface": interface, "url": cls.store.storage_url() if interface == "public" else "x"}
            for region in cls.regions
            for interface in ("internal", "public")
        ]
        services = [{"type": "identity", "endpoints": []}, {"type": "object-store", "endpoints": endpoints}]
        body = json.dumps({"token": {"catalog": services}}).encode()
        self.send_response(201 if self.path == "/v3/auth/tokens" else 404)
        self.send_header("X-Subject-Token", cls.store.token())
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *arguments: object) -> None:
        """Nothing is told."""


@pytest.fixture
def keystone(store: SwiftStore) -> Iterator[SwiftAccess]:
    Keystone.store, Keystone.asked, Keystone.regions = store, {}, ("GRA", "SBG")
    with ThreadingHTTPServer(("127.0.0.1", 0), Keystone) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        yield SwiftAccess(f"http://127.0.0.1:{server.server_port}/v3", "meter", "secret", "acme", region="SBG")
        server.shutdown()


def test_a_login_at_keystone(store: SwiftStore, container: str, keystone: SwiftAccess) -> None:
    store.ask("PUT", f"/{container}/one", b"x" * 1000)
    assert volume(keystone, container) == 1000
    domain = {"name": "Default"}
    assert Keystone.asked == {
        "auth": {
            "identity": {
                "methods": ["password"],
                "password": {"user": {"name": "meter", "domain": domain, "password": "secret"}},
            },
            "scope": {"project": {"name": "acme", "domain": domain}},
        }
    }
    volume(replace(keystone, application_credential=True), container)
    assert Keystone.asked["auth"]["identity"]["application_credential"] == {"id": "meter", "secret": "secret"}


def test_a_region_is_named_where_there_are_several(container: str, keystone: SwiftAccess) -> None:
    asks = replace(keystone, region="")
    assert refusal(asks, container) == 'swift: name the region of the store, region = "…": GRA, SBG'
    assert "GRA, SBG" in refusal(replace(keystone, region="PAR"), container)
    Keystone.regions = ("GRA",)
    assert volume(asks, container) == 0


# --- S3 ------------------------------------------------------------------------------------------------------


def s3_access(store: SwiftStore) -> S3Access:
    return S3Access(store.endpoint, "us-east-1", *APPLICATION)


def s3_volume(entrance: S3Access, bucket: str, prefix: str = "") -> tuple[int, str]:
    with closing(Web()) as web:
        return S3(entrance, web).volume(bucket, prefix)


def ask_s3(store: SwiftStore, method: str, path: str, body: bytes = b"") -> bytes:
    """A request of an application that stores its documents by S3."""
    url = f"{store.endpoint}{path}"
    headers = signed_headers(s3_access(store), method, url, datetime.now(UTC), body)
    with closing(Web()) as web:
        answer = web.ask(method, url, lambda: headers, body)
    assert answer.status < 300, answer.body
    return answer.body


@pytest.fixture
def small_pages(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(s3_module, "_PAGE", "2")


KEYS = ("docs/a", "docs/b c", "docs/d+e", "docs/f&g=<h>", "docs/é/ü", "docs2/x", "other/%20", "last\u0001")


@pytest.mark.usefixtures("small_pages")
@pytest.mark.parametrize("prefix", ["", "docs", "docs/", "docs/é", "absent"])
def test_a_bucket_is_listed_page_by_page(store: SwiftStore, container: str, prefix: str) -> None:
    for number, key in enumerate(KEYS):
        store.ask("PUT", f"/{container}/{quote(key)}", b"x" * 10**number if number < 5 else b"x" * (number * 10**5))
    sizes = {key: 10**number if number < 5 else number * 10**5 for number, key in enumerate(KEYS)}
    expected = sum(size for key, size in sizes.items() if key.startswith(prefix))
    assert s3_volume(s3_access(store), container, prefix) == (expected, "")


def test_a_page_holds_a_thousand_objects(store: SwiftStore, container: str, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []

    def listen(self: Web, method: str, url: str, *more: Any) -> Answer:
        asked.append(url)
        return genuine(self, method, url, *more)

    genuine = Web.ask
    monkeypatch.setattr(Web, "ask", listen)
    store.ask("PUT", f"/{container}/one", b"x")
    assert s3_volume(s3_access(store), container) == (1, "")
    (listing,) = [url for url in asked if "list-type=2" in url]
    assert "max-keys=1000" in listing


@pytest.mark.usefixtures("small_pages")
def test_uploads_that_were_never_ended(store: SwiftStore, container: str) -> None:
    """Their parts take space too; an object that was uploaded in parts counts once."""
    store.ask("PUT", f"/{container}/one", b"x" * 1000)
    uploads = {}
    for key in ("docs/b%20c", "docs/d%2Be", "other", "docs/ended"):
        answer = ask_s3(store, "POST", f"/{container}/{key}?uploads=")
        uploads[key] = answer.partition(b"<UploadId>")[2].partition(b"<")[0].decode()
        for part in (1, 2, 3):
            place = f"/{container}/{key}?partNumber={part}&uploadId={uploads[key]}"
            ask_s3(store, "PUT", place, b"y" * (5 << 20 if key == "docs/ended" else 100))
    tags = hashlib.md5(b"y" * (5 << 20), usedforsecurity=False).hexdigest()
    parts = "".join(f"<Part><PartNumber>{n}</PartNumber><ETag>{tags}</ETag></Part>" for n in (1, 2, 3))
    body = f"<CompleteMultipartUpload>{parts}</CompleteMultipartUpload>".encode()
    ask_s3(store, "POST", f"/{container}/docs/ended?uploadId={uploads['docs/ended']}", body)
    whole = 3 * (5 << 20)
    assert s3_volume(s3_access(store), container) == (1000 + 900 + whole, "")
    assert s3_volume(s3_access(store), container, "docs/") == (600 + whole, "")


@pytest.mark.usefixtures("small_pages")
def test_older_versions(store: SwiftStore, container: str) -> None:
    rule = b"<VersioningConfiguration><Status>Enabled</Status></VersioningConfiguration>"
    ask_s3(store, "PUT", f"/{container}?versioning=", rule)
    for size in (1, 10, 100):
        for key in ("docs/a", "docs/b c", "other"):
            ask_s3(store, "PUT", f"/{container}/{key.replace(' ', '%20')}", b"x" * size)
    ask_s3(store, "DELETE", f"/{container}/docs/a")
    assert s3_volume(s3_access(store), container) == (333, "")
    assert s3_volume(s3_access(store), container, "docs/") == (222, "")


@pytest.mark.parametrize(
    "change,reason",
    [
        ({"secret_key": "marked-secret"}, "the secret key or the region is wrong"),
        ({"access_key": "acme:marked-name"}, "the secret key or the region is wrong"),
        ({"region": "gra"}, "AuthorizationHeaderMalformed (400)"),
    ],
)
def test_what_s3_refuses(store: SwiftStore, container: str, change: dict[str, str], reason: str) -> None:
    with pytest.raises(SourceError) as caught:
        s3_volume(replace(s3_access(store), **change), container)
    assert caught.value.reason == f"s3://{container}: {reason}"


def test_no_bucket(store: SwiftStore) -> None:
    with pytest.raises(SourceError, match="s3://absent: there is no such bucket"):
        s3_volume(s3_access(store), "absent")


def test_a_key_without_rights(store: SwiftStore, container: str) -> None:
    """The reader's bucket of that name is another one: it lies in another account."""
    reader = replace(s3_access(store), access_key=READER[0], secret_key=READER[1])
    with pytest.raises(SourceError, match="there is no such bucket"):
        s3_volume(reader, container)


def test_the_night_s_collection_of_buckets(store: SwiftStore, container: str, tmp_path: Path) -> None:
    """A prefix inside another one is not counted twice."""
    store.ask("PUT", f"/{container}/docs/one", b"x" * 1000)
    store.ask("PUT", f"/{container}/more", b"x" * 24)
    places = f's3://{container}/docs/", "s3://{container}", "s3://{container}/'
    keys = f'access_key = "{APPLICATION[0]}"\nsecret_key = "{APPLICATION[1]}"\n'
    server = configured(tmp_path, places, f'[s3]\nendpoint = "{store.endpoint}"\n{keys}')
    assert not server.collect().failures
    assert server.values("document_bytes") == {YESTERDAY.isoformat(): 1024}
