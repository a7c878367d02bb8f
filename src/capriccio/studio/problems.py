"""Errors as problem documents: what was wrong, in words, with the right status.

Source: RFC 9457 (Problem Details for HTTP APIs).
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import BaseModel
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect

from capriccio.errors import CapriccioError, UsageError

_LOG = logging.getLogger("capriccio.studio")


class ProblemDocument(BaseModel):
    """What an error's body says."""

    type: str
    title: str
    status: int
    detail: str


class Problem(Exception):
    """An answer that is an error."""

    def __init__(self, status: int, detail: str, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(detail)
        self.status, self.detail, self.headers = status, detail, dict(headers or {})


class ProblemResponse(JSONResponse):
    """A problem document."""

    media_type = "application/problem+json"


def respond(status: int, detail: str, headers: Mapping[str, str] | None = None) -> ProblemResponse:
    """Return the problem document of ``status`` whose ``detail`` says what was wrong; errors are never kept."""
    content = {"type": "about:blank", "title": HTTPStatus(status).phrase, "status": status, "detail": detail}
    return ProblemResponse(content, status, headers={"Cache-Control": "no-store", **(headers or {})})


def install(app: FastAPI) -> None:
    """Let every error of ``app`` be answered by a problem document."""

    async def problem(request: Request, error: Exception) -> ProblemResponse:
        assert isinstance(error, Problem)
        return respond(error.status, error.detail, error.headers)

    async def http(request: Request, error: Exception) -> ProblemResponse:
        assert isinstance(error, HTTPException)
        return respond(error.status_code, _told(request, error), error.headers)

    async def invalid(request: Request, error: Exception) -> ProblemResponse:
        assert isinstance(error, RequestValidationError)
        return respond(422, "; ".join(_sentence(found) for found in error.errors()[:5]))

    async def refused(request: Request, error: Exception) -> ProblemResponse:
        assert isinstance(error, CapriccioError)
        if isinstance(error, UsageError):
            return respond(422, str(error))
        _LOG.error("%s %s: %s", request.method, request.url.path, error)
        return respond(503, str(error), {"Retry-After": "5"})

    async def gone(request: Request, error: Exception) -> ProblemResponse:
        return respond(408, "The client left.")  # for the log: nobody is there to read it

    async def mistake(request: Request, error: Exception) -> ProblemResponse:
        return respond(500, "A mistake in the program; the server's log tells more.")

    app.add_exception_handler(Problem, problem)
    app.add_exception_handler(HTTPException, http)
    app.add_exception_handler(RequestValidationError, invalid)
    app.add_exception_handler(CapriccioError, refused)
    app.add_exception_handler(ClientDisconnect, gone)
    app.add_exception_handler(Exception, mistake)


def documented(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """Return what OpenAPI should say of these errors."""
    schema = {"application/problem+json": {"schema": {"$ref": "#/components/schemas/ProblemDocument"}}}
    return {status: {"description": HTTPStatus(status).phrase, "content": schema} for status in statuses}


def _told(request: Request, error: HTTPException) -> str:
    if error.status_code == 404:
        return "There is nothing at this address; /studio is the studio, /api/v1/docs lists the addresses."
    if error.status_code == 405:
        return f"{request.method} is not understood here."
    if error.status_code == 400:  # what the framework says of JSON that is no text, or nested thousands of levels deep
        return "The body is not JSON that can be read."
    return str(error.detail)


def _sentence(found: Mapping[str, Any]) -> str:
    where = [str(part) for part in found.get("loc", ()) if part not in ("query", "body", "path")]
    if found.get("type") == "extra_forbidden":
        return f"'{where[-1][:40]}' is not a parameter here"
    if found.get("type") == "json_invalid":
        return f"The body is not JSON: {found.get('ctx', {}).get('error', 'it cannot be read')}"
    told = str(found.get("msg", "is not valid")).removeprefix("Value error, ")
    return f"{'.'.join(where)[:80] or 'request'}: {told}"
