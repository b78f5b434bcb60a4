"""The bureau's own OpenID Connect provider: who it says somebody is, believed only when every step holds.

Authorization code with PKCE (OpenID Connect Core 1.0 section 3.1, RFC 7636, RFC 9207, RFC 9700). The issuer is the one
of the settings and no other; what the browser brings back counts only for the browser that was sent off. Nothing that
the provider says makes an account or gives a role: `identities.py` looks for an account that its person has connected.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import http.client
import json
import secrets
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn
from urllib.parse import urlencode, urlsplit

import jwt

from hub.errors import SettingsInvalid
from hub.problems import Busy
from hub.settings import Settings

BACK_PATH = "/sign-in/provider/back"
ALGORITHMS = [
    "RS256",
    "RS384",
    "RS512",
    "PS256",
    "PS384",
    "PS512",
    "ES256",
    "ES384",
    "ES512",
    "EdDSA",
]  # no shared keys
_NEEDED = ["iss", "sub", "aud", "exp", "iat", "nonce"]
_TIMEOUT_SECONDS = 10
_MAX_ANSWER_BYTES = 256 * 1024
_DOCUMENT_SECONDS = 3600
_LEEWAY_SECONDS = 60  # between the provider's clock and ours


class ProviderFailed(Exception):
    """The provider is away or answers what it may not; the text is for the operational log."""


class NotVouched(Exception):
    """What came back proves nobody's identity: a stale or foreign answer, or a token that does not hold."""


@dataclass(frozen=True, slots=True)
class Flow:
    """One way to the provider and back. Everything follows from a secret that only the browser's cookie holds."""

    secret: str

    @classmethod
    def begin(cls) -> Flow:
        """A new one: 256 random bits."""
        return cls(secrets.token_urlsafe(32))

    @property
    def state(self) -> str:
        """What binds the answer to this browser."""
        return self._derived("state")

    @property
    def nonce(self) -> str:
        """What binds the token to this answer."""
        return self._derived("nonce")

    @property
    def verifier(self) -> str:
        """What binds the code to us (RFC 7636: 43 characters)."""
        return self._derived("verifier")

    @property
    def challenge(self) -> str:
        """SHA-256 of the verifier, shown beforehand."""
        return _base64(hashlib.sha256(self.verifier.encode()).digest())

    def _derived(self, what: str) -> str:
        return _base64(hmac.digest(self.secret.encode(errors="replace"), what.encode(), "sha256"))


class Provider:
    """One provider, asked over HTTPS; its document is asked for when somebody first comes, and hourly."""

    def __init__(self, issuer: str, client_id: str, public_url: str, secret: str = "", name: str = "") -> None:
        """`issuer`: exactly as its tokens name it. `secret` "": a public client, whom PKCE alone proves."""
        self.issuer, self.client_id = issuer, client_id
        self.redirect_uri = public_url.rstrip("/") + BACK_PATH
        self.name = name or urlsplit(issuer).hostname or issuer
        self._secret, self._lock, self._asking = secret, threading.Lock(), threading.BoundedSemaphore(4)
        self._document: Mapping[str, Any] = {}
        self._keys: jwt.PyJWKClient | None = None
        self._until = 0.0

    def sign_in_href(self, flow: Flow) -> str:
        """Where the browser goes. Raises ProviderFailed, Busy."""
        document, _ = self._described()
        asked = {
            "response_type": "code", "scope": "openid", "client_id": self.client_id, "redirect_uri": self.redirect_uri,
            "state": flow.state, "nonce": flow.nonce, "code_challenge": flow.challenge, "code_challenge_method": "S256",
        }  # fmt: skip
        address = document["authorization_endpoint"]
        return f"{address}{'&' if urlsplit(address).query else '?'}{urlencode(asked)}"

    def subject(self, flow: Flow, answer: Mapping[str, str]) -> str:
        """Whom the provider vouches for, by the parameters that the browser came back with.

        (1) the answer is to this browser, (2) it is this provider's, (3) it holds a code, (4) which the provider takes
        for a token, (5) signed by its key, for us, of this flow, now. Raises NotVouched, ProviderFailed, Busy.
        """
        if not hmac.compare_digest(answer.get("state", "").encode(errors="replace"), flow.state.encode()):  # 1
            raise NotVouched("state")
        document, keys = self._described()
        said = answer.get("iss")  # 2
        if said != self.issuer and (said is not None or document.get("authorization_response_iss_parameter_supported")):
            raise NotVouched("iss of the answer")
        if not (code := answer.get("code")):  # 3
            raise NotVouched(f"no code: {answer.get('error', '')[:60]!r}")
        token = self._exchange(document["token_endpoint"], flow, code)  # 4
        with self._in_turn():
            return self.checked_subject(flow, token, keys)  # 5

    def checked_subject(self, flow: Flow, token: str, keys: jwt.PyJWKClient) -> str:
        """`sub` of an ID token (OpenID Connect Core 3.1.3.7). Raises NotVouched, ProviderFailed."""
        try:
            claims = jwt.decode(
                token, _signing_key(keys, token).key, algorithms=ALGORITHMS, audience=self.client_id,
                issuer=self.issuer, leeway=_LEEWAY_SECONDS, options={"require": _NEEDED},
            )  # fmt: skip
        except jwt.PyJWKClientConnectionError as error:
            raise ProviderFailed(f"keys: {error}") from None
        except (jwt.PyJWTError, ValueError, TypeError, KeyError, AttributeError) as error:
            raise NotVouched(f"token: {error}") from None
        audience, party = claims["aud"], claims.get("azp")
        if (isinstance(audience, list) and len(audience) > 1 and party is None) or party not in (None, self.client_id):
            raise NotVouched("azp")
        if not hmac.compare_digest(str(claims["nonce"]).encode(errors="replace"), flow.nonce.encode()):
            raise NotVouched("nonce")
        if not isinstance(claims["sub"], str) or not 0 < len(claims["sub"]) <= 255:
            raise NotVouched("sub")
        return claims["sub"]

    def _exchange(self, address: str, flow: Flow, code: str) -> str:
        form = {"grant_type": "authorization_code", "code": code, "redirect_uri": self.redirect_uri,
                "client_id": self.client_id, "code_verifier": flow.verifier}  # fmt: skip
        asked = urllib.request.Request(address, urlencode(form).encode())  # noqa: S310 - `_checked_address` saw it
        if self._secret:
            both = f"{_form_encoded(self.client_id)}:{_form_encoded(self._secret)}"  # RFC 6749 section 2.3.1
            asked.add_header("authorization", f"Basic {base64.b64encode(both.encode()).decode()}")
        with self._in_turn():
            token = _fetch(asked).get("id_token")
        return token if isinstance(token, str) else _fail("the answer holds no id_token")

    def _described(self) -> tuple[Mapping[str, Any], jwt.PyJWKClient]:
        with self._lock:
            if self._keys is not None and time.monotonic() < self._until:
                return self._document, self._keys
        address = self.issuer.rstrip("/") + "/.well-known/openid-configuration"
        with self._in_turn():
            document = _fetch(urllib.request.Request(address))  # noqa: S310 - the settings' own
        if document.get("issuer") != self.issuer:
            _fail(f"it calls itself {document.get('issuer')!r}")
        for name in ("authorization_endpoint", "token_endpoint", "jwks_uri"):
            if not is_safe_address(document.get(name)):
                _fail(f"{name} is no https address")
        keys = jwt.PyJWKClient(document["jwks_uri"], timeout=_TIMEOUT_SECONDS)
        with self._lock:
            self._document, self._keys, self._until = document, keys, time.monotonic() + _DOCUMENT_SECONDS
        return document, keys

    @contextmanager
    def _in_turn(self) -> Iterator[None]:
        """A provider that hangs must not take all threads from the pages. Raises Busy."""
        if not self._asking.acquire(blocking=False):
            raise Busy
        try:
            yield
        finally:
            self._asking.release()


def _signing_key(keys: jwt.PyJWKClient, token: str) -> jwt.PyJWK:
    """The key that a token names; a provider of one key need not name it (OpenID Connect Core 10.1)."""
    named = jwt.get_unverified_header(token).get("kid")
    if named is not None:
        return keys.get_signing_key(named)
    found = [key for key in keys.get_jwk_set().keys if key.public_key_use in ("sig", None)]
    if len(found) != 1:
        raise NotVouched("the token names none of several keys")
    return found[0]


def load_provider(settings: Settings) -> Provider | None:
    """The provider of the settings; None where there is none. Raises SettingsInvalid."""
    if not settings.oidc_issuer:
        return None
    for name in ("oidc_issuer", "public_url"):
        if not is_safe_address(getattr(settings, name)):
            raise SettingsInvalid(f"hub.toml: {name} must be an https address (http on loopback only) for oidc_issuer")
    if not settings.oidc_client_id:
        raise SettingsInvalid("hub.toml: oidc_issuer needs oidc_client_id")
    try:
        secret = Path(settings.oidc_secret_file).read_text("utf-8").strip() if settings.oidc_secret_file else ""
    except (OSError, ValueError) as error:
        raise SettingsInvalid(f"hub.toml: oidc_secret_file cannot be read: {error}") from None
    return Provider(settings.oidc_issuer, settings.oidc_client_id, settings.public_url, secret, settings.oidc_name)


def is_safe_address(address: object) -> bool:
    """Whether nobody on the way can read or change what goes there: https, or http on this machine."""
    if not isinstance(address, str):
        return False
    try:
        parts = urlsplit(address)
        host = parts.hostname
    except ValueError:
        return False
    return bool(host) and (
        parts.scheme == "https" or (parts.scheme == "http" and host in ("127.0.0.1", "::1", "localhost"))
    )


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    """A provider's endpoints do not move; a redirect could lead to where nothing was checked."""

    def redirect_request(self, *_: Any) -> None:
        return None


_OPENER = urllib.request.build_opener(_NoRedirect)


def _fetch(asked: urllib.request.Request) -> Mapping[str, Any]:
    asked.add_header("accept", "application/json")
    try:
        with _OPENER.open(asked, timeout=_TIMEOUT_SECONDS) as answer:
            body = answer.read(_MAX_ANSWER_BYTES + 1)
    except urllib.error.HTTPError as error:
        with error:
            _fail(f"status {error.code}")
    except (OSError, http.client.HTTPException) as error:
        _fail(f"{type(error).__name__}: {error}")
    if len(body) > _MAX_ANSWER_BYTES:
        _fail("the answer is too long")
    try:
        document = json.loads(body)
    except (ValueError, RecursionError):
        _fail("the answer is no JSON")
    return document if isinstance(document, dict) else _fail("the answer is no JSON object")


def _fail(why: str) -> NoReturn:
    raise ProviderFailed(why)


def _base64(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).decode().rstrip("=")


def _form_encoded(text: str) -> str:
    return urlencode({"": text})[1:]
