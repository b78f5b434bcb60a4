"""The page that verifies one file in the visitor's own browser. For everybody: nothing of the file leaves it."""

from __future__ import annotations

from dataclasses import dataclass

from fastapi import APIRouter, Request
from starlette.responses import Response

from hub.site import render, site_of

open_router = APIRouter(include_in_schema=False)


@dataclass(frozen=True, slots=True)
class VerifyView:
    """What the page tells beside its form."""

    log_name: str


@open_router.get("/verify")
def show_verify(request: Request) -> Response:
    log_name = site_of(request).key_lines["log"].partition("+")[0]
    return render(request, "verify.html", VerifyView(log_name))
