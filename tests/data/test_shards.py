from __future__ import annotations

import io
import tarfile
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import fsspec
import pytest

from capriccio.data.shards import expand_braces, is_shard, is_url, read_samples, read_shard, split_name
from capriccio.errors import DatasetError


def tar_of(members: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for name, data in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return buffer.getvalue()


SHARD = tar_of({f"a/{i:04d}.{ending}": f"{i}{ending}".encode() for i in range(6) for ending in ("jpg", "txt")})


class Unreliable(BaseHTTPRequestHandler):
    """Breaks the connection in the middle of the first answers; `/gone.tar` does not exist."""

    breaks = 0
    asked = 0

    def do_GET(self):
        type(self).asked += 1
        if self.path == "/gone.tar":
            self.send_error(404)
            return
        self.send_response(200)
        self.send_header("Content-Length", str(len(SHARD)))
        self.end_headers()
        if self.asked <= self.breaks:
            self.wfile.write(SHARD[: 512 * 12])
        else:
            self.wfile.write(SHARD)

    def log_message(self, *args):
        pass


@pytest.fixture
def server():
    handler = type("Handler", (Unreliable,), {})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as http:
        threading.Thread(target=http.serve_forever, daemon=True).start()
        yield handler, f"http://127.0.0.1:{http.server_port}"
        http.shutdown()


def test_members_of_one_name_are_one_sample():
    shard = tar_of({"x.jpg": b"1", "x.cls": b" 3\n", "y.seg.png": b"2", "z.json": b"[]"})
    samples = [(sample.key, sample.picture, sample.label) for sample in read_samples(io.BytesIO(shard))]
    assert samples == [("x", ".jpg", 3), ("y", ".seg.png", None), ("z", None, None)]


def test_a_label_may_stand_in_json_and_must_be_readable():
    first, second = read_samples(io.BytesIO(tar_of({"x.json": b'{"label": [1, 0.5]}', "y.cls": b"cat"})))
    assert first.label == [1, 0.5]
    with pytest.raises(DatasetError, match="label of sample 'y'"):
        second.label  # noqa: B018 - reading it is the test


@pytest.mark.parametrize(
    ("name", "parts"),
    [
        ("./a.b/0001.seg.PNG", ("a.b/0001", ".seg.png")),
        ("noending", ("noending", "")),
        (".hidden.jpg", (".hidden", ".jpg")),
    ],
)
def test_the_key_ends_at_the_first_dot_of_the_last_part(name, parts):
    assert split_name(name) == parts


def test_braces_stand_for_many_names():
    assert expand_braces("s-{08..10}.tar") == ["s-08.tar", "s-09.tar", "s-10.tar"]
    assert expand_braces("{a,b}-{0..1}") == ["a-0", "a-1", "b-0", "b-1"]
    with pytest.raises(DatasetError, match="backwards"):
        expand_braces("{3..1}")


def test_addresses_and_shards_are_known_by_their_names():
    assert is_url("s3://bucket/x.tar")
    assert is_url("simplecache::https://host/x.tar")
    assert not is_url("C:/data")
    assert is_shard("https://host/x.TAR?token=1.zip")
    assert not is_shard("x.zip")


def test_a_shard_lies_on_disk_or_behind_any_fsspec_address(tmp_path):
    (tmp_path / "s.tar").write_bytes(SHARD)
    fsspec.filesystem("memory").pipe_file("/shards/s.tar", SHARD)
    expected = list(read_samples(io.BytesIO(SHARD)))
    assert list(read_shard(str(tmp_path / "s.tar"))) == list(read_shard("memory://shards/s.tar")) == expected
    assert list(read_shard(str(tmp_path / "s.tar"), skip=4)) == expected[4:]


def test_a_broken_connection_goes_on_after_the_last_whole_sample(server):
    handler, address = server
    handler.breaks = 2
    waited = []
    keys = [sample.key for sample in read_shard(f"{address}/s.tar", sleep=waited.append)]
    assert keys == [f"a/{i:04d}" for i in range(6)]
    assert waited == [1.0, 2.0]


def test_a_shard_that_keeps_failing_is_named(server):
    handler, address = server
    handler.breaks = 99
    with pytest.raises(DatasetError, match=r"shard 'http.*/s\.tar' cannot be read after 3 samples"):
        list(read_shard(f"{address}/s.tar", sleep=lambda _: None))


def test_what_a_server_does_not_have_is_not_asked_for_again(server):
    handler, address = server
    with pytest.raises(DatasetError, match=r"gone\.tar.*Not Found"):
        list(read_shard(f"{address}/gone.tar", sleep=lambda _: None))
    assert handler.asked == 1


def test_a_damaged_or_missing_file_is_named(tmp_path):
    (tmp_path / "s.tar").write_bytes(SHARD[:5000])
    with pytest.raises(DatasetError, match=r"s\.tar' cannot be read after 2 samples"):
        list(read_shard(str(tmp_path / "s.tar")))
    with pytest.raises(DatasetError, match=r"none\.tar' cannot be read.*No such file"):
        list(read_shard(str(tmp_path / "none.tar")))


def test_an_unknown_kind_of_address_is_one_line():
    with pytest.raises(DatasetError, match="cannot be opened"):
        list(read_shard("nosuch://bucket/x.tar"))
