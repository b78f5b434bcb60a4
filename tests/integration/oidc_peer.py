"""A real OpenID Connect provider (oidc-provider-mock, on Authlib) in a thread, which besides enforces PKCE.

The package takes any client and ignores `code_challenge`; the two hooks here refuse a code whose verifier does not fit.
"""

from __future__ import annotations

import base64
import hashlib
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from urllib.parse import parse_qs, urlsplit

import flask
import httpx
from werkzeug.serving import make_server

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # it still uses a part of Authlib that goes
    import oidc_provider_mock


@contextmanager
def running_provider() -> Iterator[str]:
    """Its issuer."""
    app, challenges = oidc_provider_mock.app(require_nonce=True), dict[str, str]()

    def remember(response: flask.Response) -> flask.Response:
        code = parse_qs(urlsplit(response.headers.get("location", "")).query).get("code")
        if code:
            challenges[code[0]] = flask.request.args["code_challenge"]
        return response

    def check() -> flask.Response | None:
        if flask.request.path != "/oauth2/token":
            return None
        digest = hashlib.sha256(flask.request.form.get("code_verifier", "").encode()).digest()
        fits = challenges.get(flask.request.form["code"]) == base64.urlsafe_b64encode(digest).decode().rstrip("=")
        return None if fits else flask.Response('{"error": "invalid_grant"}', 400)

    app.after_request(remember)
    app.before_request(check)
    server = make_server("127.0.0.1", 0, app, threaded=True)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def consent(href: str, subject: str) -> str:
    """Sign in at the provider as `subject`; the path and query that the browser is sent back to."""
    answer = httpx.post(href, data={"sub": subject}, trust_env=False)
    assert answer.status_code == 302, answer.text
    back = urlsplit(answer.headers["location"])
    return f"{back.path}?{back.query}"
