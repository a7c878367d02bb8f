import hashlib
import pickle
import threading
from functools import partial
from http.server import HTTPServer, SimpleHTTPRequestHandler

import pytest
import torch
from safetensors.torch import save_file

from capriccio.errors import JobError, SnapshotError, UsageError
from capriccio.perception.weights import (
    PUBLISHED,
    SQUEEZENET,
    PublishedWeights,
    load_weights,
    parse_sources,
    read_tensors,
)

TENSORS = {"a": torch.arange(4.0)}


@pytest.fixture
def served(tmp_path):
    """A file of tensors on a web server of this machine, and what is published about it."""
    torch.save(TENSORS, tmp_path / "weights.pth")
    digest = hashlib.sha256((tmp_path / "weights.pth").read_bytes()).hexdigest()

    class Quiet(SimpleHTTPRequestHandler):
        def log_message(self, *_):
            pass

    server = HTTPServer(("127.0.0.1", 0), partial(Quiet, directory=tmp_path))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    url = f"http://127.0.0.1:{server.server_port}/weights.pth"
    yield PublishedWeights(key="test", file="weights.pth", url=url, sha256=(digest,), licence="none"), tmp_path
    server.shutdown()


def test_published_files_are_named_once_with_a_whole_checksum():
    assert len({w.file for w in PUBLISHED.values()}) == len(PUBLISHED)
    assert all(len(h) == 64 and int(h, 16) >= 0 for w in PUBLISHED.values() for h in w.sha256)
    assert all(w.url.startswith("https://") for w in PUBLISHED.values())


def test_a_file_is_found_by_path(served):
    wanted, folder = served
    found = load_weights(wanted, {"test": str(folder / "weights.pth")})
    assert torch.equal(found.tensors["a"], TENSORS["a"])
    assert found.sha256 == wanted.sha256[0]


def test_an_address_is_downloaded_once_and_then_found_in_the_cache(served, cache):
    wanted, folder = served
    load_weights(wanted, {"test": wanted.url})
    (folder / "weights.pth").unlink()  # nobody serves it any more
    assert load_weights(wanted, {"test": wanted.url}).sha256 == wanted.sha256[0]
    assert load_weights(wanted, {}).sha256 == wanted.sha256[0]


def test_nothing_is_downloaded_unasked_and_the_way_to_it_is_told():
    with pytest.raises(UsageError, match=r"squeezenet1_1.*https://download.*SHA-256 b8a52dc0.*--weights squeeze=PATH"):
        load_weights(SQUEEZENET, {})


def test_a_wrong_checksum_names_path_expected_and_found(served):
    wanted, folder = served
    torch.save({"a": torch.zeros(1)}, folder / "other.pth")
    found = hashlib.sha256((folder / "other.pth").read_bytes()).hexdigest()
    told = rf"other\.pth' has the wrong checksum: expected.*{wanted.sha256[0]}.*{found}"
    with pytest.raises(SnapshotError, match=told):
        load_weights(wanted, {"test": str(folder / "other.pth")})
    assert load_weights(wanted, {"test": f"{folder / 'other.pth'}#{found}"}).sha256 == found


def test_a_download_with_a_wrong_checksum_leaves_nothing(served, cache):
    wanted, folder = served
    torch.save({"a": torch.zeros(1)}, folder / "weights.pth")
    with pytest.raises(SnapshotError, match="wrong checksum"):
        load_weights(wanted, {"test": wanted.url})
    assert not list((cache / "weights").glob("*"))


def test_an_address_that_does_not_answer_is_a_failed_job(served):
    wanted, _ = served
    with pytest.raises(JobError, match="could not be downloaded"):
        load_weights(wanted, {"test": wanted.url + ".missing"})


def test_a_missing_path_is_named():
    with pytest.raises(UsageError, match=r"--weights squeeze: there is no file 'nowhere\.pth'"):
        load_weights(SQUEEZENET, {"squeeze": "nowhere.pth"})


@pytest.mark.parametrize(
    ("text", "told"),
    [("squeeze", "not of the form KEY=PATH"), ("squeeze=", "not of the form"), ("sqeeze=x", "Did you mean 'squeeze'")],
)
def test_odd_sources_are_refused(text, told):
    with pytest.raises(UsageError, match=told):
        parse_sources([text])


def test_sources_are_read():
    assert parse_sources(["vgg=a.pth", "inception=https://x/y=z"]) == {"vgg": "a.pth", "inception": "https://x/y=z"}


class Harmful:
    def __reduce__(self):
        return (open, ("/tmp/should-not-exist", "w"))


def test_nothing_in_a_file_is_executed(tmp_path):
    path = tmp_path / "harmful.pth"
    path.write_bytes(pickle.dumps({"a": Harmful()}))
    with pytest.raises(SnapshotError, match="harmful"):
        read_tensors(path)
    torch.save(TENSORS, path)
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(SnapshotError, match="harmful"):
        read_tensors(path)
    torch.save([1, 2], path)
    with pytest.raises(SnapshotError, match="something else than tensors"):
        read_tensors(path)


def test_safetensors_are_read_too(tmp_path):
    save_file(TENSORS, tmp_path / "weights.safetensors")
    assert torch.equal(read_tensors(tmp_path / "weights.safetensors")["a"], TENSORS["a"])
