"""OpenStack Swift: how many bytes a container holds, with the segments of its large objects.

Asked is the container's own counter (HEAD, `X-Container-Bytes-Used`), which costs the same for a million objects as for
one. It follows the objects within seconds, and counts a large object's segments where they lie, in
`<container>_segments`, beside a manifest of a few bytes or none. API: OpenStack Object Storage API v1, Identity API v3.
"""

from __future__ import annotations

import json
from typing import Any, Final
from urllib.parse import quote

from metering.server.credentials import SwiftAccess
from metering.server.errors import SourceError
from metering.server.web import Answer, Web

USED: Final = "x-container-bytes-used"


class Swift:
    """One login, for one run; a token that expires on the way is replaced once."""

    def __init__(self, access: SwiftAccess, web: Web) -> None:
        self._access = access
        self._web = web
        self._token = ""
        self._storage_url = ""

    def volume(self, container: str) -> int:
        """The bytes of a container and of its segments. SourceError when either cannot be had."""
        used = self._used(container)
        if used is None:
            raise SourceError(f"swift://{container}: there is no such container")
        return used + (self._used(f"{container}_segments") or 0)

    def _used(self, container: str) -> int | None:
        """None when there is no such container."""
        answer = self._head(container)
        if answer.status == 404:
            return None
        if answer.status == 403:
            rule = "a read ACL for this user on the container, or a read-only one on the account"
            raise SourceError(f"swift://{container}: this user may not read it: {rule} lets it")
        count = answer.headers.get(USED, "")
        if not 200 <= answer.status < 300 or not (count.isascii() and count.isdigit()):
            raise SourceError(f"swift://{container}: an answer that is not Swift's ({answer.status})")
        return int(count)

    def _head(self, container: str) -> Answer:
        fresh = not self._token
        if fresh:
            self._log_in()
        answer = self._ask_head(container)
        if answer.status == 401 and not fresh:
            self._log_in()
            answer = self._ask_head(container)
        if answer.status == 401:
            raise SourceError(f"swift://{container}: the store refuses the token that it gave")
        return answer

    def _ask_head(self, container: str) -> Answer:
        # Of several copies of the counter the newest is wanted.
        headers = {"X-Auth-Token": self._token, "X-Newest": "true"}
        return self._web.ask("HEAD", f"{self._storage_url}/{quote(container, safe='')}", lambda: headers)

    def _log_in(self) -> None:
        access = self._access
        if access.auth_url.endswith("/v3"):
            self._token, storage_url = self._keystone()
        else:
            headers = {"X-Auth-User": access.user, "X-Auth-Key": access.password}
            answer = self._web.ask("GET", access.auth_url, lambda: headers)
            _require_login(answer, (200, 204))
            self._token = answer.headers.get("x-auth-token", "")
            storage_url = answer.headers.get("x-storage-url", "")
        self._storage_url = (access.storage_url or storage_url).rstrip("/")
        if not self._token or not self._storage_url:
            raise SourceError("swift: the login names no token or no store")

    def _keystone(self) -> tuple[str, str]:
        body = json.dumps(_keystone_login(self._access)).encode()
        headers = {"Content-Type": "application/json"}
        answer = self._web.ask("POST", f"{self._access.auth_url}/auth/tokens", lambda: headers, body)
        _require_login(answer, (201,))
        try:
            catalog = json.loads(answer.body)["token"].get("catalog", [])
            places = {
                str(endpoint["region"]): str(endpoint["url"])
                for service in catalog
                if service["type"] == "object-store"
                for endpoint in service["endpoints"]
                if endpoint["interface"] == "public"
            }
        except (ValueError, KeyError, TypeError, AttributeError):
            raise SourceError("swift: an answer that is not Keystone's") from None
        return answer.headers.get("x-subject-token", ""), self._access.storage_url or self._of_region(places)

    def _of_region(self, places: dict[str, str]) -> str:
        region = self._access.region
        if region in places:
            return places[region]
        if region or len(places) != 1:
            known = ", ".join(sorted(places)) or "none"
            raise SourceError(f'swift: name the region of the store, region = "…": {known}')
        return next(iter(places.values()))


def _require_login(answer: Answer, good: tuple[int, ...]) -> None:
    if answer.status in (401, 403):
        raise SourceError("swift: the login was refused: correct user and password")
    if answer.status not in good:
        raise SourceError(f"swift: an answer to the login that is not Swift's ({answer.status}): correct auth_url")


def _keystone_login(access: SwiftAccess) -> dict[str, Any]:
    """The body of POST /v3/auth/tokens."""
    if access.application_credential:
        secret = {"id": access.user, "secret": access.password}
        return {"auth": {"identity": {"methods": ["application_credential"], "application_credential": secret}}}
    user = {"name": access.user, "domain": {"name": access.user_domain}, "password": access.password}
    identity = {"methods": ["password"], "password": {"user": user}}
    if not access.project:
        return {"auth": {"identity": identity}}
    project = {"name": access.project, "domain": {"name": access.project_domain}}
    return {"auth": {"identity": identity, "scope": {"project": project}}}
