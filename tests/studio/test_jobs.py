"""Jobs: their table in a file that outlives a server and is shared by several, and what one client may have."""

from __future__ import annotations

import sqlite3
import threading
import time

import pytest

from capriccio.errors import UsageError
from capriccio.studio.job_file import JobFile, JobView
from capriccio.studio.jobs import JobTable, Outcome
from capriccio.studio.kept import Shelf
from capriccio.studio.measures import Measures
from capriccio.studio.worker import Full, Worker
from tests.studio.waiting import until


class NoPainter:
    def paint(self, orders):
        raise AssertionError("nothing is to be painted")


@pytest.fixture
def tables(tmp_path):
    """Return a function that starts a server's table; all share one file."""
    workers = []

    def started(**limits):
        worker = Worker(NoPainter(), Measures())
        worker.start()
        workers.append(worker)
        return JobTable(worker, JobFile(tmp_path / "jobs.sqlite", beat_seconds=0.05, lost_seconds=1.0), **limits)

    yield started
    for worker in workers:
        worker.stop(5)


def endless(tell):
    while True:
        tell({"done": 1, "total": 2})
        time.sleep(0.002)


def test_another_server_tells_a_job_and_gives_its_file(tables):
    mine, other = tables(), tables()
    job = mine.begin("walk", "me", lambda tell: Outcome({"bytes": 4}, b"film", "image/webp", "walk.webp"))
    until(lambda: other.look(job.id).over)
    view = other.look(job.id)
    assert (view.state, view.told["outcome"], view.elsewhere) == ("done", {"bytes": 4}, True)
    made = other.outcome(job.id)
    assert (made.file, made.media_type, made.file_name) == (b"film", "image/webp", "walk.webp")
    assert other.look("nobody") is None


def test_progress_is_seen_and_a_job_cancelled_from_another_server(tables):
    mine, other = tables(), tables()
    job = mine.begin("walk", "me", endless)
    until(lambda: other.look(job.id).told["progress"] == {"done": 1, "total": 2})
    other.cancel(job.id)
    until(lambda: job.over)
    assert job.state == "cancelled"
    until(lambda: other.look(job.id).state == "cancelled")


def test_who_listens_at_another_server_keeps_a_job_alive(tables, monkeypatch):
    monkeypatch.setattr("capriccio.studio.jobs.DESERTED_SECONDS", 0.6)
    mine, other = tables(), tables()
    job = mine.begin("walk", "me", endless)
    for _ in range(24):
        assert other.look(job.id).state in ("waiting", "running")
        time.sleep(0.05)
    until(lambda: job.over)
    assert job.state == "cancelled"


def test_a_job_whose_server_died_has_failed_and_says_so(tables, tmp_path):
    file = JobFile(tmp_path / "jobs.sqlite", lost_seconds=0.1)
    told = {"id": "j", "kind": "walk", "state": "running", "progress": {}}
    file.note("j", JobView(told=told, version=3, over=False), None)
    table = tables()
    until(lambda: file.look("j").over)
    assert (file.look("j").state, table.outcome("j")) == ("failed", None)
    assert "begin it again" in file.look("j").told["error"]


def test_a_server_that_leaves_says_so_of_its_jobs(tables):
    mine, other = tables(), tables()
    started = threading.Event()

    def work(tell):
        started.set()
        return endless(tell)

    job, waiting = mine.begin("walk", "me", work), mine.begin("walk", "me", endless)
    assert started.wait(5)
    mine.stop()
    until(lambda: job.over and waiting.over)
    for one in (job, waiting):
        assert other.look(one.id).state == "failed"
        assert "server stopped" in other.look(one.id).told["error"]


def test_latents_outlive_a_server(model, tmp_path):
    from capriccio.latent.files import Latents

    ws = model.ws(seeds=[3])
    (kept,) = Shelf(model, JobFile(tmp_path / "jobs.sqlite")).put(Latents(ws=ws, names=("a",)))
    again = Shelf(model, JobFile(tmp_path / "jobs.sqlite")).get(kept.id)
    assert again == kept
    assert (again.latents.ws == ws).all()
    assert Shelf(model, JobFile(tmp_path / "other.sqlite")).get(kept.id) is None


def test_one_client_may_not_take_every_place(tables):
    table = tables(per_client=2)
    jobs = [table.begin("walk", "greedy", endless) for _ in range(2)]
    with pytest.raises(Full, match=r"2 of your films, projections and detections are under way.*cancel it"):
        table.begin("walk", "greedy", endless)
    jobs.append(table.begin("walk", "other", endless))
    table.cancel(jobs[1].id)
    until(lambda: jobs[1].over)
    jobs.append(table.begin("walk", "greedy", endless))
    table.stop()
    until(lambda: all(job.over for job in jobs))


def test_too_many_jobs_of_a_client_are_429_with_a_reason(serve):
    client = serve(jobs_per_client=1)
    studio = client.app.state.studio
    job = studio.jobs.begin("walk", "testclient", endless)
    answer = client.post("/api/v1/walks", json={"keys": [1, 2]})
    assert (answer.status_code, answer.headers["retry-after"]) == (429, "10")
    assert "1 of your films" in answer.json()["detail"]
    assert client.delete(f"/api/v1/jobs/{job.id}").status_code == 200
    until(lambda: job.over)
    assert client.post("/api/v1/walks", json={"keys": [1, 2]}).status_code == 202


def test_a_file_that_is_something_else_is_refused(tmp_path):
    (tmp_path / "photo.jpg").write_bytes(b"\xff\xd8 no database" * 100)
    with pytest.raises(UsageError, match=r"--jobs: .*photo\.jpg' cannot be used"):
        JobFile(tmp_path / "photo.jpg")
    with pytest.raises(UsageError, match="cannot be used"):
        JobFile(tmp_path / "nowhere" / "jobs.sqlite")
    with sqlite3.connect(tmp_path / "later.sqlite") as base:
        base.execute("PRAGMA user_version = 7")
    with pytest.raises(UsageError, match="later version"):
        JobFile(tmp_path / "later.sqlite")


def test_a_full_file_costs_a_line_in_the_log_and_not_the_job(tmp_path, caplog):
    file = JobFile(tmp_path / "jobs.sqlite")
    file._base.execute("PRAGMA max_page_count = 5")
    view = JobView(told={"id": "j", "kind": "walk", "state": "done", "progress": {}}, version=1, over=True)
    file.note("j", view, (b"x" * 2**20, "image/webp", "walk.webp"))
    assert "full" in caplog.text
    assert file.look("j") is None


def test_what_is_noted_late_does_not_undo_what_came_after(tmp_path):
    file = JobFile(tmp_path / "jobs.sqlite")
    done = JobView(told={"id": "j", "kind": "walk", "state": "done", "progress": {}}, version=3, over=True)
    waiting = JobView(told=done.told | {"state": "waiting"}, version=1, over=False)
    file.note("j", done, (b"film", "image/webp", "walk.webp"))
    file.note("j", waiting, None)
    found = file.look("j")
    assert (found.state, found.over, file.result("j")[0]) == ("done", True, b"film")
