"""Under load: batches, a bounded queue, clients that leave, jobs that let pictures pass, leaving in good order."""

from __future__ import annotations

import threading
import time
from concurrent.futures import wait

import pytest

from capriccio.rendering.look import Look
from capriccio.studio.cache import Cache
from capriccio.studio.guard import RateLimit
from capriccio.studio.jobs import JobTable, Outcome
from capriccio.studio.measures import Measures
from capriccio.studio.pool import Pool
from capriccio.studio.recipes import Order, Recipe
from capriccio.studio.worker import Full, Worker
from tests.studio.waiting import until


class Canvas:
    """A painted picture whose file says its seed."""

    def __init__(self, order):
        self.order = order

    def encode(self):
        return b"%d" % self.order.recipe.origin


class GatedPainter:
    """Paints when let, and notes the batches."""

    def __init__(self, *, free=True):
        self.gate, self.began, self.batches = threading.Event(), threading.Event(), []
        if free:
            self.gate.set()

    def paint(self, orders):
        self.began.set()
        assert self.gate.wait(10)
        if any(order.recipe.origin == 13 for order in orders):
            raise RuntimeError("thirteen")
        self.batches.append([order.recipe.origin for order in orders])
        return [Canvas(order) for order in orders]


def order(seed, noise="const"):
    return Order(recipe=Recipe(origin=seed, look=Look(noise_mode=noise)))


@pytest.fixture
def working():
    workers = []

    def started(painter, **limits):
        worker = Worker(painter, Measures(), **limits)
        workers.append((worker, painter))
        worker.start()
        return worker

    yield started
    for worker, painter in workers:
        painter.gate.set()
        worker.stop(5)


def test_what_waits_is_painted_together(working):
    painter = GatedPainter(free=False)
    worker = working(painter, batch=4)
    futures = [worker.order(order(0))]
    assert painter.began.wait(5)
    futures += [worker.order(order(i)) for i in range(1, 7)] + [worker.order(order(7, "none"))]
    painter.gate.set()
    assert [future.result(5) for future in futures] == [b"%d" % i for i in range(8)]
    assert painter.batches == [[0], [1, 2, 3, 4], [5, 6], [7]]


def test_where_pictures_take_long_few_are_painted_at_once(working):
    painter = GatedPainter(free=False)
    worker = working(painter, batch=32)
    assert worker.batch_now > 1
    futures = [worker.order(order(0))]
    assert painter.began.wait(5)
    worker._seconds_per_picture = 1.0  # as after many slow pictures
    futures += [worker.order(order(i)) for i in range(1, 4)]
    painter.gate.set()
    wait(futures, 5)
    assert painter.batches == [[0], [1], [2], [3]]


def test_a_full_queue_says_so_and_who_leaves_frees_the_place(working):
    painter = GatedPainter(free=False)
    worker = working(painter, room=3)
    first = worker.order(order(0))
    assert painter.began.wait(5)
    waiting = [worker.order(order(i)) for i in (1, 2, 3)]
    with pytest.raises(Full) as full:
        worker.order(order(4))
    assert full.value.retry_after >= 1
    assert waiting[1].cancel()
    late = worker.order(order(5))
    painter.gate.set()
    wait([first, late], 5)
    assert [2] not in painter.batches
    assert [seed for batch in painter.batches for seed in batch] == [0, 1, 3, 5]


def test_pictures_that_wait_for_their_encoding_count(working):
    encoding, encoded = threading.Event(), []

    class SlowCanvas(Canvas):
        def encode(self):
            assert encoding.wait(10)
            encoded.append(self.order.recipe.origin)
            return super().encode()

    class QuickPainter(GatedPainter):
        def paint(self, orders):
            return [SlowCanvas(canvas.order) for canvas in super().paint(orders)]

    painter = QuickPainter()
    worker = working(painter, room=3)
    futures = [worker.order(order(i)) for i in range(3)]
    until(lambda: sum(map(len, painter.batches)) == 3)
    assert worker.waiting == 3
    with pytest.raises(Full):
        worker.order(order(3))
    until(futures[0].running)
    assert futures[2].cancel()  # its client left
    encoding.set()
    wait(futures, 5)
    until(lambda: worker.waiting == 0)
    assert encoded == [0, 1]


def test_a_failed_batch_does_not_end_the_worker(working):
    worker = working(GatedPainter())
    with pytest.raises(RuntimeError, match="thirteen"):
        worker.order(order(13)).result(5)
    assert worker.order(order(1)).result(5) == b"1"


def test_pictures_pass_a_long_job_after_every_step(working):
    worker = working(GatedPainter())
    jobs, steps = JobTable(worker), []
    asked, futures = threading.Event(), []

    def work(tell):
        for step in range(5):
            if step == 2:
                asked.set()
                while not futures:
                    time.sleep(0.001)
            tell({"done": step})
            steps.append((step, [future.done() for future in futures]))
        return Outcome(file=b"film")

    job = jobs.begin("walk", "me", work)
    assert asked.wait(5)
    futures.append(worker.order(order(1)))
    assert futures[0].result(5) == b"1"
    deadline = time.monotonic() + 5
    while not job.over and time.monotonic() < deadline:
        time.sleep(0.01)
    assert (job.state, job.outcome.file, [step for step, _ in steps]) == ("done", b"film", [0, 1, 2, 3, 4])


def test_cancelling_ends_a_job_that_runs_and_one_that_waits(working):
    worker = working(GatedPainter())
    jobs, running = JobTable(worker), threading.Event()

    def endless(tell):
        while True:
            running.set()
            tell({})
            time.sleep(0.001)

    first, second = jobs.begin("walk", "me", endless), jobs.begin("walk", "me", endless)
    assert running.wait(5)
    jobs.cancel(second.id)
    assert second.state == "cancelled"
    jobs.cancel(first.id)
    deadline = time.monotonic() + 5
    while not first.over and time.monotonic() < deadline:
        time.sleep(0.01)
    assert (first.state, worker.waiting_jobs) == ("cancelled", 0)


def test_stopping_finishes_what_waits(working):
    painter = GatedPainter(free=False)
    worker = working(painter)
    futures = [worker.order(order(i)) for i in range(5)]
    painter.began.wait(5)
    threading.Timer(0.05, painter.gate.set).start()
    worker.stop(5)
    assert [future.result(0) for future in futures] == [b"0", b"1", b"2", b"3", b"4"]
    with pytest.raises(Full):
        worker.order(order(9))


def test_the_pool_fills_itself_and_gives_each_picture_away_once(working):
    pool = Pool(order(0), 8)
    worker = working(GatedPainter(), batch=4, refill=pool.refill)
    deadline = time.monotonic() + 5
    while len(pool) < 8 and time.monotonic() < deadline:
        time.sleep(0.01)
    taken = [pool.take() for _ in range(8)]
    assert len({seed for seed, _ in taken}) == 8
    assert all(file == b"%d" % seed for seed, file in taken)
    worker.nudge()
    while len(pool) < 8 and time.monotonic() < deadline:
        time.sleep(0.01)
    assert len(pool) == 8


def test_the_cache_is_bounded():
    cache = Cache(max_bytes=10)
    for tag in "abc":
        cache.put(tag, b"1234")
    cache.get("b")
    cache.put("d", b"1234")
    assert [cache.get(tag) is not None for tag in "abcd"] == [False, True, False, True]


def test_one_client_may_not_take_everything():
    rates = RateLimit(2)
    assert [rates.wait("a", now=0.0) for _ in range(20)] == [0] * 20
    assert rates.wait("a", now=0.0) >= 1
    assert rates.wait("b", now=0.0) == 0
    assert rates.wait("a", now=1.0) == 0


def test_a_full_server_answers_429(serve):
    client = serve(room=1, pool=0, timeout=5)
    while client.get("/readyz").status_code != 200:  # the picture it warms up with takes the only place
        time.sleep(0.02)
    assert client.get("/picture?seed=9").status_code == 200
    studio = client.app.state.studio
    gate = threading.Event()
    whole, studio.worker._painter = studio.worker._painter, GatedPainter(free=False)
    studio.worker._painter.gate = gate
    blocked, queued = studio.worker.order(order(1)), None
    try:
        assert studio.worker._painter.began.wait(5)
        queued = studio.worker.order(order(2))
        answer = client.get("/picture?seed=3")
        assert answer.status_code == 429
        assert int(answer.headers["retry-after"]) >= 1
        assert client.get("/readyz").status_code == 503
    finally:
        gate.set()
        wait([future for future in (blocked, queued) if future], 5)
        studio.worker._painter = whole
    assert client.get("/picture?seed=3").status_code == 200
