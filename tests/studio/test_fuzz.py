"""The API fuzzed from its own OpenAPI document: no mistake of the program, and every refusal has words."""

from __future__ import annotations

import pytest

schemathesis = pytest.importorskip("schemathesis", reason="schemathesis is not installed")

from fastapi.testclient import TestClient  # noqa: E402
from hypothesis import HealthCheck, given, settings  # noqa: E402

from capriccio.studio.app import create_app  # noqa: E402
from capriccio.studio.settings import StudioSettings  # noqa: E402

from .conftest import tiny_model  # noqa: E402

BASE = "http://testserver"
APP = create_app(tiny_model(), name="tiny", settings=StudioSettings(pool=0, access_log=False, job_room=2))
OPERATIONS = {
    found.ok().label: found.ok() for found in schemathesis.openapi.from_dict(APP.openapi()).get_all_operations()
}


@pytest.fixture(scope="module")
def client():
    with TestClient(APP, raise_server_exceptions=False) as started:
        yield started


def test_the_document_has_the_addresses():
    assert {"GET /picture", "GET /api/v1/mix", "GET /api/v1/edit", "POST /api/v1/walks", "POST /api/v1/latents",
            "POST /api/v1/projections", "POST /api/v1/detections"} <= set(OPERATIONS)  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("mode", list(schemathesis.GenerationMode), ids=lambda mode: mode.value)
@pytest.mark.parametrize("label", sorted(OPERATIONS))
def test_no_request_finds_a_mistake(client, label, mode):
    answered = set()

    @settings(max_examples=40, deadline=None, database=None, derandomize=True,
              suppress_health_check=list(HealthCheck))  # fmt: skip
    @given(case=OPERATIONS[label].as_strategy(generation_mode=mode))
    def ask(case):
        asked = case.as_transport_kwargs(base_url=BASE)
        known = {name: asked.get(name) for name in ("method", "url", "params", "json", "data", "headers", "cookies")}
        if isinstance(known["data"], bytes):
            known["content"] = known.pop("data")
        answer = client.request(**{name: value for name, value in known.items() if value is not None})
        answered.add(answer.status_code)
        assert answer.status_code < 500, (label, known, answer.text)
        if answer.status_code >= 400:
            assert answer.headers["content-type"] == "application/problem+json"
            assert answer.json()["detail"]

    try:
        ask()
    except Exception as error:
        if "Unsatisfiable" in type(error).__name__ or "impossible to generate" in str(error):
            pytest.skip(f"{label} takes nothing that could be {mode.value}")
        raise
    assert answered
