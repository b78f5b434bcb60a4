"""schemathesis over the API's own description, as every role and as nobody: it answers nothing but what it says.

Always the same few calls; ``CUSTODOCK_API_EXAMPLES=200`` makes many. Not asked: that whatever fits the schema is done
(`positive_data_acceptance`), for a station that is not there, or a code that is not right, fits it too.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis.errors import Unsatisfiable
from schemathesis import GenerationMode
from schemathesis.checks import CHECKS, load_all_checks

from hub.access import Role
from hub.accounts.service import form_token
from hub.site import SESSION_COOKIE
from tests.integration.bureau import Bureau

EXAMPLES = int(os.environ.get("CUSTODOCK_API_EXAMPLES", "2"))
load_all_checks()
NOT_ASKED = CHECKS.get_by_names(["positive_data_acceptance"])


@pytest.fixture(scope="module")
def bureau(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bureau]:
    made = Bureau(tmp_path_factory.mktemp("bureau"))
    yield made
    made.hub.close()


def described(bureau: Bureau) -> Any:
    answer = bureau.person(Role.AUDITOR).browser.get("/api/v1/openapi.json")
    schema = schemathesis.openapi.from_dict(answer.json())
    schema.app = bureau.hub.app
    return schema


def faults_of(operation: Any, mode: GenerationMode, everybody: dict[str, dict[str, Any]]) -> list[str]:
    """What is wrong with the answers to some calls of one operation, each made as everybody."""
    found: list[str] = []

    @settings(
        max_examples=EXAMPLES, derandomize=True, database=None, deadline=None, phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )  # fmt: skip
    @given(operation.as_strategy(mode))
    def try_it(case: Any) -> None:
        for name, sent in everybody.items():
            try:
                case.call_and_validate(excluded_checks=NOT_ASKED, **sent)
            except BaseExceptionGroup as wrong:
                found.extend(f"{operation.label} as {name}: {one}" for one in wrong.exceptions)

    try:
        try_it()
    except Unsatisfiable:  # no call can be wrong: it takes nothing, or any text
        assert mode is GenerationMode.NEGATIVE
    return found


def sent_by(bureau: Bureau, role: Role) -> dict[str, Any]:
    cookie = bureau.person(role).browser.cookies[SESSION_COOKIE]
    return {"headers": {"x-form-token": form_token(cookie)}, "cookies": {SESSION_COOKIE: cookie}}


def test_every_answer_is_as_described(bureau: Bureau) -> None:
    everybody = {"nobody": {}} | {str(role): sent_by(bureau, role) for role in Role}
    faults, operations = [], 0
    for found in described(bureau).get_all_operations():
        operations += 1
        for mode in GenerationMode:
            faults += faults_of(found.ok(), mode, everybody)
    assert not faults, "\n".join(faults)
    assert operations >= 13


def test_an_answer_that_is_not_described_is_found(bureau: Bureau) -> None:
    document = bureau.person(Role.AUDITOR).browser.get("/api/v1/openapi.json").json()
    del document["paths"]["/api/v1/stations"]["get"]["responses"]["401"]
    schema = schemathesis.openapi.from_dict(document)
    schema.app = bureau.hub.app
    faults = faults_of(schema["/api/v1/stations"]["GET"], GenerationMode.POSITIVE, {"nobody": {}})
    assert "Received: 401" in "".join(faults)
