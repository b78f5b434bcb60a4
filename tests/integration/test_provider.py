"""Sign-in through a provider: whom it vouches for, and every way in which that must not be believed."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator
from dataclasses import replace
from typing import Any
from urllib.parse import parse_qs, urlsplit

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, generate_private_key
from sqlalchemy import select, update
from starlette.testclient import TestClient

from hub.access import Actor, Role
from hub.accounts import people
from hub.accounts.changes import Asked
from hub.accounts.provider import Flow, NotVouched, Provider, ProviderFailed, load_provider
from hub.accounts.service import Visit, start_session
from hub.errors import SettingsInvalid
from hub.settings import make_settings
from hub.tables import account, account_identity, log_entry, session
from hub.times import now_utc, to_text
from tests.integration.authenticators import new_person
from tests.integration.oidc_peer import consent, running_provider
from tests.integration.site_data import Hub
from tests.integration.web_peer import client, form_token

pytestmark = pytest.mark.filterwarnings("ignore:get_jwt_config:DeprecationWarning")  # of the provider's own parts
ADDRESS = "https://testserver"


@pytest.fixture(scope="module")
def issuer() -> Iterator[str]:
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    with running_provider() as url:
        yield url


@pytest.fixture(scope="module")
def hub(tmp_path_factory: pytest.TempPathFactory, issuer: str) -> Iterator[Hub]:
    made = Hub(tmp_path_factory.mktemp("hub"))
    made.app.state.site = replace(made.app.state.site, provider=Provider(issuer, "hub", ADDRESS, "secret", "教育局"))
    yield made
    made.close()


def secure(hub: Hub) -> TestClient:
    """A browser that reaches the hub over HTTPS."""
    browser = client(hub.app)
    browser.base_url = ADDRESS
    return browser


def known(hub: Hub, name: str) -> TestClient:
    """The browser of somebody with an account, over HTTPS."""
    hub.account(name, "auditor")
    return signed_in(hub, name)


def signed_in(hub: Hub, name: str) -> TestClient:
    """A wholly signed-in browser of an account that is there already."""
    with hub.db.begin() as tx:
        tx.execute(update(account).where(account.c.name == name).values(must_change_password=False))
        token = start_session(tx, name, Visit("here"), now_utc(), code_due=False)
    browser = secure(hub)
    browser.cookies.set("__Host-custodock_session", token)
    return browser


def leave(browser: TestClient) -> str:
    """Ask to be connected; where the page leads."""
    page = browser.post("/identity", data={"form_token": form_token(browser.get("/identity").text)})
    found = page.text.split('class="btn btn-primary" href="')[1].split('"')[0]
    return found.replace("&amp;", "&")


def connect(browser: TestClient, subject: str) -> Any:
    return browser.get(consent(leave(browser), subject))


def enter(browser: TestClient, subject: str, goes_to: str = "/log") -> Any:
    href = browser.get("/sign-in/provider", params={"goes_to": goes_to}).headers["location"]
    return browser.get(consent(href, subject))


def kinds(hub: Hub) -> list[str]:
    with hub.db.read() as connection:
        return list(connection.execute(select(log_entry.c.event_type).order_by(log_entry.c.idx)).scalars())


def test_a_connected_person_signs_in_and_nobody_else(hub: Hub) -> None:
    li = known(hub, "li")
    assert "通过 教育局 登录" in secure(hub).get("/sign-in").text
    assert "没有账号与您" in enter(secure(hub), "sub-li").text
    assert connect(li, "sub-li").headers["location"] == "/identity"
    assert "已于" in li.get("/identity").text
    browser = secure(hub)
    answer = enter(browser, "sub-li")
    assert (answer.status_code, answer.headers["location"]) == (303, "/log")
    cookie = next(line for line in answer.headers.get_list("set-cookie") if "session" in line)
    assert cookie.startswith("__Host-custodock_session=")
    assert {"Secure", "HttpOnly", "Path=/", "SameSite=lax"} <= {part.strip() for part in cookie.split(";")}
    assert browser.get("/log").status_code == 200
    assert kinds(hub)[-3:] == ["account.identity_linked.v1", "account.identity_used.v1", "account.signed_in.v1"]
    with hub.db.read() as connection:
        assert "sub-li" not in str(connection.execute(select(account_identity)).all())
        assert connection.execute(select(account.c.role).where(account.c.name == "li")).scalar_one() == "auditor"
    assert enter(secure(hub), "sub-other").status_code == 401
    wu = known(hub, "wu")
    assert connect(wu, "sub-li").status_code == 409  # of two accounts one
    with hub.db.begin() as tx:
        tx.execute(update(account).where(account.c.name == "li").values(disabled_at=to_text(now_utc())))
    assert enter(secure(hub), "sub-li").status_code == 401


def test_a_second_factor_is_still_ours(hub: Hub) -> None:
    new_person(hub.db, hub.keys, "zhao", "auditor")
    browser = signed_in(hub, "zhao")
    connect(browser, "sub-zhao")
    fresh = secure(hub)
    assert enter(fresh, "sub-zhao").status_code == 303
    assert fresh.get("/log").headers["location"] == "/code?goes_to=%2Flog"
    assert kinds(hub)[-1] == "account.identity_used.v1"  # not signed in yet


def test_a_password_that_two_people_replaced_takes_the_identity_along(hub: Hub) -> None:
    qian = known(hub, "qian")
    connect(qian, "sub-qian")
    phone = new_person(hub.db, hub.keys, "adm2", "administrator")
    one, two = (Actor(name, Role.ADMINISTRATOR, must_change_password=False) for name in ("adm1", "adm2"))
    asked = people.ask(hub.db, hub.keys, one, Asked("qian", "password_reset", None, "stolen"), now_utc())
    people.approve(hub.db, hub.keys, two, asked.request.id, phone.code(), now_utc())
    assert enter(secure(hub), "sub-qian").status_code == 401


def test_disconnecting_ends_it(hub: Hub) -> None:
    sun = known(hub, "sun")
    connect(sun, "sub-sun")
    sun.post("/identity/unlink", data={"form_token": form_token(sun.get("/identity").text)})
    assert kinds(hub)[-1] == "account.identity_unlinked.v1"
    assert enter(secure(hub), "sub-sun").status_code == 401


def test_an_answer_counts_for_one_browser_and_once(hub: Hub) -> None:
    browser, thief = secure(hub), secure(hub)
    back = consent(browser.get("/sign-in/provider").headers["location"], "sub-nobody")
    assert thief.get(back).status_code == 401  # no cookie of a flow
    thief.get("/sign-in/provider")
    assert thief.get(back).status_code == 401  # a flow of its own
    browser.get("/sign-in/provider")
    assert browser.get(back).status_code == 401  # a later flow of the same browser
    assert "__Host-custodock_session" not in browser.cookies
    assert browser.get("/sign-in/provider/back?error=access_denied&state=x").status_code == 401


@pytest.mark.parametrize("target", ["//evil.example", "https://evil.example", "/\\evil"])
def test_it_leads_to_no_other_site(hub: Hub, target: str) -> None:
    browser = known(hub, f"p{abs(hash(target)) % 1000}")
    subject = f"sub-{target}"
    connect(browser, subject)
    assert enter(secure(hub), subject, target).headers["location"] == "/"


def test_connecting_needs_the_form_of_this_session(hub: Hub) -> None:
    browser = known(hub, "zhou")
    assert browser.post("/identity").status_code == 403
    back = consent(leave(browser), "sub-zhou")
    with hub.db.begin() as tx:
        tx.execute(session.delete().where(session.c.account == "zhou"))
    assert browser.get(back).headers["location"].startswith("/sign-in")  # signed out meanwhile: connected to nothing
    assert enter(secure(hub), "sub-zhou").status_code == 401


def test_what_is_asked_of_the_provider(hub: Hub, issuer: str) -> None:
    flow = Flow.begin()
    asked = parse_qs(urlsplit(hub.app.state.site.provider.sign_in_href(flow)).query)
    assert asked == {
        "response_type": ["code"], "scope": ["openid"], "client_id": ["hub"], "state": [flow.state],
        "redirect_uri": ["https://testserver/sign-in/provider/back"], "nonce": [flow.nonce],
        "code_challenge": [flow.challenge], "code_challenge_method": ["S256"],
    }  # fmt: skip
    assert len({flow.state, flow.nonce, flow.verifier, flow.secret}) == 4
    assert len(flow.verifier) == 43  # RFC 7636: 43 to 128
    with pytest.raises(ProviderFailed, match="calls itself"):
        Provider(issuer.replace("127.0.0.1", "localhost") + "/", "hub", ADDRESS).sign_in_href(flow)
    for away in ("http://127.0.0.1:9", issuer + "/nothing"):
        with pytest.raises(ProviderFailed):
            Provider(away, "hub", ADDRESS).sign_in_href(flow)


KEY, OTHER = generate_private_key(SECP256R1()), generate_private_key(SECP256R1())


class Keys(jwt.PyJWKClient):
    """The provider's published keys, without asking for them."""

    def fetch_data(self) -> Any:
        return {"keys": [{**jwt.algorithms.ECAlgorithm.to_jwk(KEY.public_key(), as_dict=True), "kid": "1"}]}


FLOW = Flow("secret")
FAULTS: dict[str, dict[str, Any]] = {
    "another issuer": {"iss": "https://other.example"},
    "another client": {"aud": "other"},
    "two clients, none named": {"aud": ["hub", "other"]},
    "another party": {"azp": "other"},
    "another flow": {"nonce": Flow("other").nonce},
    "no nonce": {"nonce": None},
    "no subject": {"sub": None},
    "an empty subject": {"sub": ""},
    "a subject that is no text": {"sub": 5},
    "over": {"exp": 1_000_000_000},
    "no end": {"exp": None},
    "of the future": {"iat": 5_000_000_000, "exp": 5_000_000_600},
}


def token(key: Any = KEY, algorithm: str = "ES256", **changes: Any) -> str:
    now = int(time.time())
    claims = {"iss": "https://id.example", "aud": "hub", "sub": "s", "iat": now, "exp": now + 300, "nonce": FLOW.nonce}
    claims = {name: value for name, value in (claims | changes).items() if value is not None}
    return jwt.encode(claims, key, algorithm=algorithm, headers={"kid": "1"})


def checked(given: str) -> str:
    return Provider("https://id.example", "hub", ADDRESS).checked_subject(FLOW, given, Keys("https://id.example/keys"))


def test_a_token_that_holds() -> None:
    assert checked(token()) == "s"
    assert checked(token(aud=["hub", "other"], azp="hub")) == "s"


@pytest.mark.parametrize("fault", FAULTS)
def test_a_token_that_does_not_hold(fault: str) -> None:
    with pytest.raises(NotVouched):
        checked(token(**FAULTS[fault]))


def test_a_token_of_another_key_or_of_none() -> None:
    for bad in (
        token(OTHER),
        token(None, "none"),
        token(b"s" * 32, "HS256"),
        token()[:-4] + "AAAA",
        "",
        "a.b.c",
        "\ud800",
    ):
        with pytest.raises(NotVouched):
            checked(bad)


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ({"oidc_issuer": "http://id.example"}, "oidc_issuer"),
        ({"public_url": "http://hub.example"}, "public_url"),
        ({"oidc_client_id": ""}, "oidc_client_id"),
        ({"oidc_secret_file": "/nonexistent"}, "oidc_secret_file"),
    ],
)
def test_settings_that_would_not_be_safe_stop_the_start(tmp_path: Any, more: dict[str, str], said: str) -> None:
    good = {"hub_id": "x", "oidc_issuer": "https://id.example", "oidc_client_id": "hub", "public_url": ADDRESS}
    assert load_provider(make_settings(tmp_path, {"hub_id": "x"})) is None
    provider = load_provider(make_settings(tmp_path, dict(good)))
    assert provider is not None
    assert provider.name == "id.example"
    with pytest.raises(SettingsInvalid, match=said):
        load_provider(make_settings(tmp_path, good | more))
