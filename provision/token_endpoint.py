"""Asks Microsoft's token endpoint whether credentials of Microsoft Graph work. No token is kept.

The request is OAuth 2.0's client credentials grant (RFC 6749, section 4.4) as the Microsoft identity platform takes
it: POST {authority}/{tenant}/oauth2/v2.0/token. A refusal carries `error_codes`, numbers of "AADSTS" errors
(Microsoft identity platform, authentication and authorization error codes). Its `error_description` is never shown:
nobody promises that it does not repeat what was sent.
"""

from __future__ import annotations

import base64
import binascii
import json
import re
import ssl
from collections.abc import Mapping, Sequence
from http.client import HTTPException
from typing import Any
from urllib.error import HTTPError, URLError
from urllib.parse import quote, urlencode
from urllib.request import HTTPRedirectHandler, Request, build_opener

from provision.errors import ChillError, RequestError
from provision.graph import GraphCredentials
from provision.settings import Graph

SCOPE = "https://graph.microsoft.com/.default"
TIMEOUT_SECONDS = 30
# An answer is some 2 KB; more is not one of Microsoft's.
GREATEST_ANSWER = 1_000_000
ERRORS_PAGE = "https://login.microsoftonline.com/error?code={code}"

# By AADSTS number: the key it is about, what is wrong with it, and the next step.
REFUSALS: Mapping[int, tuple[str, str, str]] = {
    90002: ("tenant", "Microsoft knows no such directory", "compare it with Entra ID, Overview, Tenant ID"),
    900023: ("tenant", "Microsoft knows no such directory", "compare it with Entra ID, Overview, Tenant ID"),
    700016: (
        "client_id",
        "this directory has no such application",
        "compare it with App registrations, Application (client) ID, and see that the tenant is the right one",
    ),
    7000229: ("client_id", "the application is not admitted to this directory", "its administrator must consent to it"),
    7000112: ("client_id", "the application is disabled", "the directory's administrator can enable it"),
    7000215: (
        "client_secret",
        "it is not a secret of this application",
        "give the secret's value, not its id; Microsoft shows it once: if it is lost, make a new one",
    ),
    7000222: ("client_secret", "the secret has expired", "make a new one: Certificates & secrets, New client secret"),
    53003: ("", "a conditional access policy of the directory forbids it", "its administrator must let it through"),
}


class _NoRedirect(HTTPRedirectHandler):
    """A token endpoint does not redirect: the secret goes to the configured place only."""

    def redirect_request(self, *_: Any, **__: Any) -> None:
        return None


def check_credentials(credentials: GraphCredentials, graph: Graph, place: str) -> Sequence[str]:
    """Ask for a token with the credentials, and forget it. The permissions that are not granted yet, of those needed.

    RequestError when Microsoft refuses them, naming which and why; ChillError when no answer can be had.
    """
    authority = graph.authority
    url = f"{authority.rstrip('/')}/{quote(credentials.tenant, safe='')}/oauth2/v2.0/token"
    form = {
        "client_id": credentials.client_id,
        "client_secret": credentials.client_secret.reveal(),
        "grant_type": "client_credentials",
        "scope": SCOPE,
    }
    request = Request(url, urlencode(form).encode("ascii"), {"Accept": "application/json"})  # noqa: S310 (see settings)
    try:
        with build_opener(_NoRedirect).open(request, timeout=TIMEOUT_SECONDS) as answer:
            body = answer.read(GREATEST_ANSWER)
    except HTTPError as error:
        with error:
            raise _refusal(error.code, error.read(GREATEST_ANSWER), authority, place) from None
    except (URLError, HTTPException, OSError) as error:
        raise _silence(error, authority) from None
    token = _object(body).get("access_token")
    if not isinstance(token, str) or not token:
        raise ChillError(f"{authority} answered without a token; nothing was changed", _setting_hint())
    return _missing_permissions(token, graph.permissions)


def _refusal(status: int, body: bytes, authority: str, place: str) -> ChillError:
    """A refusal in words; nothing of the answer but its numbers is repeated."""
    found = _object(body).get("error_codes")
    codes = [code for code in found if isinstance(code, int)] if isinstance(found, list) else []
    for code in codes:
        if code in REFUSALS:
            key, fault, hint = REFUSALS[code]
            return RequestError(f"{place}{f': {key}' * bool(key)}: {fault} (AADSTS{code}); nothing was changed", hint)
    if codes:
        return RequestError(
            f"{place}: Microsoft refuses these credentials (AADSTS{codes[0]}); nothing was changed",
            f"what that means: {ERRORS_PAGE.format(code=codes[0])}",
        )
    return ChillError(f"{authority} answered with HTTP status {status}; nothing was changed", _setting_hint())


def _silence(error: Exception, authority: str) -> ChillError:
    """Why there was no answer, in words."""
    reason = error.reason if isinstance(error, URLError) else error
    match reason:
        case ssl.SSLCertVerificationError():
            text = f"the certificate of {authority} is not valid: {reason.verify_message}"
        case TimeoutError():
            text = f"{authority} gave no answer within {TIMEOUT_SECONDS} seconds"
        case _:
            text = f"{authority} cannot be reached: {getattr(reason, 'strerror', None) or type(reason).__name__}"
    return ChillError(f"{text}; nothing was changed", _setting_hint())


def _setting_hint() -> str:
    return "try again later, or see chill.toml: graph.authority"


def _object(body: bytes) -> Mapping[str, Any]:
    """A JSON object, or an empty one when it is something else."""
    try:
        found = json.loads(body)
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def _missing_permissions(token: str, needed: Sequence[str]) -> Sequence[str]:
    """The permissions that a token does not carry, of those needed; none when it cannot be read.

    Tokens for Microsoft Graph are JSON Web Tokens with granted application permissions in `roles`, but Microsoft may
    change that: what cannot be read is no fault.
    """
    claims = re.fullmatch(r"[\w-]+\.([\w-]+)\.[\w-]*", token)
    if not claims:
        return []
    try:
        text = base64.urlsafe_b64decode(claims[1] + "=" * (-len(claims[1]) % 4))
    except (binascii.Error, ValueError):
        return []
    found = _object(text)
    if "aud" not in found:
        return []
    granted = found.get("roles", [])
    return [one for one in needed if not isinstance(granted, list) or one not in granted]
