"""The application: routes, guard, problems and the studio's life, put together."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from starlette.staticfiles import StaticFiles

from capriccio import __version__
from capriccio.studio import (
    api,
    description,
    films,
    following,
    judging,
    latents,
    problems,
    projecting,
    runs,
    site,
)
from capriccio.studio.guard import Guard
from capriccio.studio.problems import ProblemDocument
from capriccio.studio.service import Studio
from capriccio.studio.settings import StudioSettings

if TYPE_CHECKING:
    from capriccio.loading.model import Model


def create_app(model: Model, *, fast: Model | None = None, name: str = "model",
               settings: StudioSettings | None = None) -> FastAPI:  # fmt: skip
    """Return the application that serves ``model``.

    Args:
        model: the network, computing in float32.
        fast: the same network at the fastest precision, for pictures without a seed; None = ``model``.
        name: what the model is called.
        settings: limits and places.
    """
    settings = settings or StudioSettings()
    studio = Studio(model, fast, name, settings)

    @asynccontextmanager
    async def life(app: FastAPI) -> AsyncIterator[None]:
        studio.start()
        yield
        studio.stop()

    app = FastAPI(
        title="Capriccio", version=__version__, docs_url=None, redoc_url=None, openapi_url=None, lifespan=life
    )
    app.state.studio = studio
    for part in (site, api, latents, projecting, judging, films, following, runs, description):
        app.include_router(part.router)
    app.mount("/static", StaticFiles(directory=site.STATIC), name="static")
    problems.install(app)
    app.add_middleware(Guard, settings=settings, measures=studio.measures)
    app.openapi = lambda: _described(app)  # type: ignore[method-assign]
    return app


def _described(app: FastAPI) -> dict[str, Any]:
    """Return the OpenAPI document, made once; errors are problem documents everywhere."""
    if app.openapi_schema is None:
        document = get_openapi(title=app.title, version=app.version, routes=app.routes,
                               description="Pictures that never existed, by address.")  # fmt: skip
        schemas = document.setdefault("components", {}).setdefault("schemas", {})
        schemas["ProblemDocument"] = ProblemDocument.model_json_schema()
        for name in ("HTTPValidationError", "ValidationError"):
            schemas.pop(name, None)
        app.openapi_schema = document
    return app.openapi_schema
