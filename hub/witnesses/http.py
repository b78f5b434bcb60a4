"""Witnesses that are asked by HTTP: C2SP tlog-witness as its client. One thread, one witness after another."""

from __future__ import annotations

import logging
import threading
import time
import urllib.error
import urllib.request
from http.client import HTTPException
from pathlib import Path
from typing import Any

from sqlalchemy.exc import SQLAlchemyError

from custody.errors import FormatError
from custody.witness import SIZE_TYPE, Answer, Code, parse_refusal
from hub.db import Database
from hub.errors import HubError, LogReadOnly
from hub.keys import HubKeys
from hub.witnesses.asking import ASK_SECONDS, Asking, Request

logger = logging.getLogger("hub.witnesses")

TIMEOUT_SECONDS = 10.0
MAX_ANSWER_BYTES = 80 * 1024
_TICK_SECONDS = 1.0


class HttpWitnesses:
    """Asks until stopped. `run` belongs to one thread; `stop` may come from any."""

    def __init__(
        self, db: Database, keys: HubKeys, directory: Path | None = None, every_seconds: float = ASK_SECONDS
    ) -> None:
        """Nothing is asked before `run`. `directory`: the hub's, for a log that turns out to be behind."""
        self._asking = Asking(db, keys, by_http=True, every_seconds=every_seconds, directory=directory)
        self._stopping = threading.Event()
        # no proxy of the environment: a witness's address is the administrator's word
        self._opener = urllib.request.build_opener(urllib.request.ProxyHandler({}), _NoRedirect())

    def stop(self) -> None:
        """Let `run` return after the request under way."""
        self._stopping.set()

    def run(self) -> None:
        """Ask until stopped. Whatever a witness or our database does, this goes on: cosignatures can wait."""
        while not self._stopping.wait(_TICK_SECONDS):
            try:
                for request in self._asking.due(time.monotonic()):
                    self.ask(request)
            except SQLAlchemyError:
                logger.exception("asking_failed")
            except LogReadOnly:  # somebody is ahead: it is being refilled, and they are asked again
                logger.warning("asking_held_back log_read_only")
            except HubError:  # the log is untrusted: whoever appends next stops the hub and says why
                logger.exception("asking_ended")
                return

    def ask(self, request: Request | None) -> None:
        """Ask one witness, and again as long as its answers lead on."""
        while request is not None and not self._stopping.is_set():
            answer = self._post(request)
            request = self._asking.take(request.witness, answer) if answer is not None else None

    def _post(self, request: Request) -> Answer | None:
        post = urllib.request.Request(  # noqa: S310 - http or https, checked when the witness was accepted
            f"{request.witness.url}/add-checkpoint", request.raw, {"content-type": "text/plain; charset=utf-8"}
        )
        try:
            with self._opener.open(post, timeout=TIMEOUT_SECONDS) as response:
                return read_response(request, 200, response.read(MAX_ANSWER_BYTES), "")
        except urllib.error.HTTPError as error:
            with error:
                body, kind = error.read(MAX_ANSWER_BYTES), error.headers.get("content-type", "")
            return read_response(request, error.code, body, kind)
        except (OSError, HTTPException, ValueError) as error:
            logger.warning("witness_away witness=%s why=%s", request.witness.name, error)
            return None


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *_: Any) -> None:
        return None


def read_response(request: Request, status: int, body: bytes, kind: str) -> Answer | None:
    """A witness's HTTP answer in the form that a station's has; None for one that says nothing of use."""
    name, text = request.witness.name, body.decode(errors="replace")
    if status == 200:
        return _answer(request, size=request.size, cosignature=text)
    if status == 409 and kind.partition(";")[0].strip() == SIZE_TYPE and text.strip().isdecimal():
        size = int(text.strip()[:19])
        if size == request.old_size:  # it agrees about the size and refuses all the same: another root
            return _answer(request, size=size, code=Code.FORK)
        return _answer(request, size=size)
    try:
        code, note = parse_refusal(text)
    except FormatError:
        code, note = Code.BAD_PROOF if status == 422 else Code.BAD_FORMAT, ""
    logger.warning("witness_refused witness=%s status=%d code=%s", name, status, code.value)
    pending = note if code in (Code.PROVE_FIRST, Code.BAD_PROOF) else ""
    return _answer(request, size=request.old_size, code=code, newest=note, pending=pending)


def _answer(
    request: Request, *, size: int, cosignature: str = "", code: Code | None = None, newest: str = "", pending: str = ""
) -> Answer:
    return Answer(
        type="cosigned.v1" if cosignature else "refused.v1" if code else "conflict.v1",
        witness=request.witness.key_line,
        size=size,
        cosignature=cosignature,
        code=code.value if code else "",
        newest=newest,
        pending=pending,
    )
