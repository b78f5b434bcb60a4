"""What every page shares: the database, the languages, the templates and the frame around a view."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache, cached_property, partial
from pathlib import Path
from typing import Any, cast
from urllib.parse import urlencode

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from sqlalchemy.exc import SQLAlchemyError
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response

from hub import wording
from hub.access import BUREAU, Action, Actor, may, may_ever
from hub.accounts.service import form_token, new_cookie
from hub.alerts import saying
from hub.alerts.queries import count_waiting
from hub.db import Database
from hub.keys import HubKeys
from hub.language import COOKIE as LANGUAGE_COOKIE
from hub.language import Language, choose_language, load_translations, mark
from hub.problems import ReadOnly
from hub.readonly import why_read_only
from hub.times import now_utc
from hub.wording import Wording

TEMPLATE_DIR = Path(__file__).parent / "templates"
STATIC_DIR = Path(__file__).parent / "static"
SESSION_COOKIE = "custodock_session"
FORM_COOKIE = "custodock_form"
_YEAR_SECONDS = 365 * 86400

_SECTIONS = (
    ("/", mark("Overview"), Action.SEE_STATIONS),
    ("/alerts", mark("Alerts"), Action.SEE_ALERTS),
    ("/stations", mark("Stations"), Action.SEE_STATIONS),
    ("/recordings", mark("Recordings"), Action.SEE_RECORDINGS),
    ("/commands", mark("Commands"), Action.SEE_COMMANDS),
    ("/requests", mark("Use of footage"), Action.SEE_USES),
    ("/log", mark("Audit log"), Action.SEE_LOG),
    ("/removals", mark("Revocations and removals"), Action.SEE_REMOVALS),
    ("/people", mark("People"), Action.SEE_PEOPLE),
)


@dataclass(frozen=True)
class Site:
    """Built once by `create_app`; found in ``app.state.site``."""

    db: Database
    software: str
    key_lines: Mapping[str, str]  # by role, see hub.keys.ROLES
    restore_status: Callable[[], Any] | None = None  # gives a restore.status.Status
    keys: HubKeys | None = None  # to state what the hub itself does; None: pages that only read
    timestamps_wanted: bool = False  # an authority is asked to confirm checkpoints

    @cached_property
    def wordings(self) -> Mapping[Language, Wording]:
        """The words of each language."""
        return {language: Wording(language, found) for language, found in load_translations().items()}

    @cached_property
    def environments(self) -> Mapping[Language, Environment]:
        """One template environment per language, so that filters know their language."""
        return {language: _environment(words) for language, words in self.wordings.items()}


@dataclass(frozen=True, slots=True)
class Section:
    """One entry of the main navigation."""

    href: str
    title: str
    current: bool


@dataclass(frozen=True, slots=True)
class Frame:
    """What surrounds every view: who, where, in which language."""

    language: Language
    actor: Actor | None
    sections: tuple[Section, ...]
    form_token: str
    other_language_href: str
    software: str
    at: str
    read_only: bool  # the log is behind what others hold of it
    alerts: int  # that wait for this person
    sees_log: bool  # all of it: where links into it lead somewhere


def site_of(request: Request) -> Site:
    """The site this request came to."""
    return cast(Site, request.app.state.site)


def keys_of(request: Request) -> HubKeys:
    """The hub's keys, to state what a person does. Raises ReadOnly where this process has none."""
    keys = site_of(request).keys
    if keys is None:
        raise ReadOnly
    return keys


def language_of(request: Request) -> Language:
    """The language of the answer: asked for by ``?lang=``, else chosen before, else the browser's."""
    asked = request.query_params.get("lang") or request.cookies.get(LANGUAGE_COOKIE)
    return choose_language(asked, request.headers.get("accept-language"))


def words_of(request: Request) -> Wording:
    """The words this request is answered in."""
    return site_of(request).wordings[language_of(request)]


def render(request: Request, template: str, view: object, status: int = 200) -> HTMLResponse:
    """A page: `template` gets `view` and the frame. Keeps the language a person has switched to."""
    site, language = site_of(request), language_of(request)
    cookie = request.cookies.get(SESSION_COOKIE) or request.cookies.get(FORM_COOKIE)
    fresh = None if cookie else new_cookie()
    frame = _frame(request, language, form_token(cookie or fresh or ""))
    html = site.environments[language].get_template(template).render(view=view, frame=frame)
    response = HTMLResponse(html, status)
    if fresh:
        set_cookie(request, response, FORM_COOKIE, fresh)
    if request.query_params.get("lang") in tuple(Language):
        set_cookie(request, response, LANGUAGE_COOKIE, language.value, max_age_seconds=_YEAR_SECONDS)
    return response


def set_cookie(request: Request, response: Response, name: str, value: str, max_age_seconds: int | None = None) -> None:
    """Set one of our cookies: out of reach of scripts, never sent by other sites' forms, Secure under HTTPS."""
    secure = request.url.scheme == "https"
    response.set_cookie(name, value, max_age=max_age_seconds, path="/", secure=secure, httponly=True, samesite="lax")


def attachment(content: bytes, file_name: str, media_type: str) -> Response:
    """Bytes to save, exactly as they are stored; `file_name` is ours and plain ASCII."""
    return Response(
        content, media_type=media_type, headers={"content-disposition": f'attachment; filename="{file_name}"'}
    )


def _frame(request: Request, language: Language, token: str) -> Frame:
    site, actor, path = site_of(request), getattr(request.state, "actor", None), request.url.path
    words = site.wordings[language]
    sections = tuple(
        Section(href, words.say(title), path == href or (href != "/" and path.startswith(href + "/")))
        for href, title, action in _SECTIONS
        if actor and may_ever(actor, action)
    )
    other = Language.EN if language is Language.ZH else Language.ZH
    kept = [(k, v) for k, v in request.query_params.multi_items() if k != "lang"]
    # a page shown in answer to a form has no address of its own to come back to: every form's GET is the same path
    href = "?" + urlencode([*kept, ("lang", other.value)])
    at = words.moment(now_utc())
    sees_log = actor is not None and may(actor, Action.SEE_LOG, BUREAU)
    return Frame(language, actor, sections, token, href, site.software, at, *_as_of_now(site, actor), sees_log)


def _as_of_now(site: Site, actor: Actor | None) -> tuple[bool, int]:
    """Whether the log is read-only, and how many alerts wait for this person."""
    try:
        with site.db.read() as connection:
            waiting = count_waiting(connection, actor) if actor else 0
            return why_read_only(connection) is not None, waiting
    except SQLAlchemyError:  # the page may be the one that says that the database is away
        return False, 0


def _environment(words: Wording) -> Environment:
    environment = Environment(
        loader=FileSystemLoader(TEMPLATE_DIR),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=_inert,
        extensions=["jinja2.ext.i18n"],
    )
    environment.install_gettext_translations(words.translations, newstyle=True)  # type: ignore[attr-defined]
    environment.filters |= {
        "size": wording.size,
        "whole": wording.whole,
        "digest_groups": wording.digest_groups,
        "log_fault": words.log_fault,
        "moment": words.moment,
        "local_moment": words.local_moment,
        "day": words.day,
        "duration": words.duration,
        "ago": words.ago,
        "bay_state": words.bay_state,
        "verdict": words.verdict,
        "reason": words.reason,
        "entry_type": words.entry_type,
        "clock": words.clock,
        "role": words.role,
        "change": words.change,
        "label": words.label,
        "label_explanation": words.label_explanation,
        "say": words.say,
        "command_kind": words.command_kind,
        "command_state": words.command_state,
        "command_field": words.command_field,
        "alert_title": partial(saying.title, words),
        "alert_words": partial(saying.speak, words),
        "severity": partial(saying.severity, words),
        "use": words.use,
        "use_state": words.use_state,
        "copy_end": words.copy_end,
        "concern": lambda one: words.concern(one.code, one.count, one.said),
        "task": lambda one: words.task(one.code, one.count),
        "standing": words.standing,
        "disk_state": words.disk_state,
        "happening": words.happening,
        "bays_in": words.bays_in,
        "station_order": words.station_order,
    }
    environment.globals["static"] = static_href
    return environment


def _inert(value: object) -> object:
    """Applied to every value a template prints: whatever a camera or station named something, it stays text."""
    return wording.visible(value) if type(value) is str else value


@cache
def static_href(path: str) -> str:
    """Address of a static file with its hash, so that browsers may keep it for ever and still see every change."""
    return f"/static/{path}?v={hashlib.sha256((STATIC_DIR / path).read_bytes()).hexdigest()[:16]}"
