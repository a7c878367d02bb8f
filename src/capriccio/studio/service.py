"""The studio's parts, put together: model, worker, pool, cache, latents, jobs. Routes get it from the app's state."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, ParamSpec, TypeVar

from fastapi import Depends, Request
from fastapi.concurrency import run_in_threadpool

from capriccio.errors import UsageError
from capriccio.latent.directions import Directions, load_directions
from capriccio.rendering.look import Look
from capriccio.studio.answers import JobState
from capriccio.studio.cache import Cache
from capriccio.studio.inverters import Inverters
from capriccio.studio.job_file import JobFile
from capriccio.studio.jobs import JobTable, Outcome, Tell
from capriccio.studio.kept import Shelf
from capriccio.studio.measures import Measures
from capriccio.studio.painting import ModelPainter
from capriccio.studio.pool import Pool
from capriccio.studio.problems import Problem
from capriccio.studio.recipes import Order, Recipe
from capriccio.studio.settings import StudioSettings
from capriccio.studio.worker import Full, Worker

if TYPE_CHECKING:
    from capriccio.loading.model import Model, NoiseMode

_Result = TypeVar("_Result")
_Given = ParamSpec("_Given")


@dataclass
class _Shared:
    """A picture that is being made, and how many clients wait for it."""

    future: Future[bytes]
    clients: int = 0


class Studio:
    """What the routes work with.

    Args:
        model: the network, in float32.
        fast: the same network at the fastest precision, for pictures without a seed; None = ``model``.
        name: what the model is called.
        settings: limits and places.
    """

    def __init__(self, model: Model, fast: Model | None, name: str, settings: StudioSettings) -> None:
        if model.facts.data.get("vector_labels"):
            raise UsageError(f"the labels of '{name}' are vectors of numbers, which the studio cannot ask for.")
        self.model, self.name, self.settings = model, name, settings
        self.measures = Measures()
        self.painter = ModelPainter(model, fast, _shipped(model))
        self.pool = Pool(Order(recipe=Recipe(origin=0, look=self.look())), settings.pool)
        self.cache = Cache()
        self.worker = Worker(
            self.painter,
            self.measures,
            room=settings.room,
            job_room=settings.job_room,
            batch=settings.batch,
            refill=self.pool.refill,
        )
        file = None if settings.jobs is None else JobFile(settings.jobs)
        self.jobs = JobTable(self.worker, file, settings.jobs_per_client)
        self.shelf = Shelf(model, file)
        self.inverters = Inverters(model)
        self.ready = False
        self.stopping = False
        self._under_way: dict[str, _Shared] = {}

    def start(self) -> None:
        """Start the worker; ready once it has painted."""
        self.worker.start()
        first = self.worker.order(self.pool.template)
        first.add_done_callback(lambda done: setattr(self, "ready", not done.cancelled() and done.exception() is None))

    def stop(self) -> None:
        """Finish what waits and leave."""
        self.stopping = True
        self.jobs.stop()
        self.worker.stop()

    def look(
        self,
        psi: float | None = None,
        class_index: int | None = None,
        *,
        cutoff: int | None = None,
        noise: NoiseMode = "const",
    ) -> Look:
        """Return a look; what is absent is the server's default."""
        return Look(
            truncation_psi=self.settings.psi if psi is None else psi,
            truncation_cutoff=cutoff,
            noise_mode=noise,
            class_index=self.class_or_first(class_index),
        )

    def class_or_first(self, class_index: int | None) -> int | None:
        """Return the class that is asked for; where none is, the first of a model that has classes."""
        return 0 if class_index is None and self.model.c_dim else class_index

    def tag(self, order: Order) -> str:
        """Return the entity tag of an order."""
        return order.tag(self.model.model_hash)

    async def file(self, request: Request, order: Order, *, keep: bool = True) -> bytes:
        """Return the picture file of ``order``.

        The same order by several clients is painted once. A client that leaves frees its place.

        Raises: Problem: 429 when too many wait, 503 when it took too long, 408 when the client left.
        """
        tag = self.tag(order)
        if keep and (file := self.cache.get(tag)) is not None:
            return file
        shared = self._under_way.get(tag) if keep else None
        if shared is None:
            self.painter.check(order)
            shared = _Shared(self._order(order))
            if keep:
                self._under_way[tag] = shared
                shared.future.add_done_callback(lambda done: self._painted(tag, done))
        shared.clients += 1
        try:
            return await self._wait(request, shared.future)
        finally:
            shared.clients -= 1
            if not shared.clients:
                shared.future.cancel()  # too late for one that is being encoded; that one is kept

    async def ask(self, question: Callable[_Given, _Result], *args: _Given.args, **kwargs: _Given.kwargs) -> _Result:
        """Return the answer to a question about jobs or latents.

        With a file of jobs it is asked on a thread of its own, as other servers' writing may have to be waited for.
        """
        if self.settings.jobs is None:
            return question(*args, **kwargs)
        return await run_in_threadpool(question, *args, **kwargs)

    async def begin(self, request: Request, kind: str, work: Callable[[Tell], Outcome]) -> JobState:
        """Queue a long job for the client of a request. Raises: Problem 429 when it, or all clients, have too many."""
        client = request.client.host if request.client else ""
        try:
            job = await self.ask(self.jobs.begin, kind, client, work)
        except Full as full:
            raise self._refused(full) from full
        return JobState(**job.view().told)

    async def errand(self, work: Callable[[], _Result]) -> _Result:
        """Return what a short call on the worker's thread returns. Raises: Problem as :meth:`file`; what it raises."""
        try:
            future = self.worker.errand(work)
        except Full as full:
            raise self._refused(full) from full
        try:
            return await asyncio.wait_for(asyncio.wrap_future(future), self.settings.timeout)
        except TimeoutError as error:
            raise self._too_long() from error

    def _painted(self, tag: str, done: Future[bytes]) -> None:
        if not done.cancelled() and done.exception() is None:
            self.cache.put(tag, done.result())
        self._under_way.pop(tag, None)

    def _order(self, order: Order) -> Future[bytes]:
        try:
            return self.worker.order(order)
        except Full as full:
            raise self._refused(full) from full

    def _refused(self, full: Full) -> Problem:
        if self.stopping:
            return Problem(503, "The server is leaving.", {"Retry-After": "5"})
        return Problem(429, str(full), {"Retry-After": str(full.retry_after)})

    def _too_long(self) -> Problem:
        return Problem(503, f"This took longer than {self.settings.timeout:g} s.", {"Retry-After": "5"})

    async def _wait(self, request: Request, future: Future[bytes]) -> bytes:
        painted: asyncio.Future[bytes] = asyncio.shield(asyncio.wrap_future(future))
        gone = asyncio.ensure_future(left(request))
        both: set[asyncio.Future[Any]] = {painted, gone}
        try:
            done, _ = await asyncio.wait(both, timeout=self.settings.timeout, return_when=asyncio.FIRST_COMPLETED)
        finally:
            gone.cancel()
        if painted in done:
            return painted.result()
        painted.cancel()
        if gone in done:
            raise Problem(408, "The client left.")
        raise self._too_long()


def _shipped(model: Model) -> Directions | None:
    """Return the editing directions that come with the model; None without any."""
    try:
        return load_directions(model)
    except UsageError:
        return None


async def left(request: Request) -> None:
    """Return when the client has left."""
    while (await request.receive())["type"] != "http.disconnect":
        pass


async def studio_of(request: Request) -> Studio:
    """Return the studio of the application.

    Asynchronous for the sake of speed alone: FastAPI gives every call of an ordinary function to a pool of threads,
    which then stand in the way of the thread that paints.
    """
    studio: Any = request.app.state.studio
    assert isinstance(studio, Studio)
    return studio


StudioPart = Annotated[Studio, Depends(studio_of)]
"""How a route asks for the studio."""
