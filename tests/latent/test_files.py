import io
import json
import resource
import tracemalloc
import zipfile

import numpy as np
import pytest
import torch

from capriccio.errors import ShapeError, UsageError
from capriccio.latent.files import Latents, load_latents, save_latents
from capriccio.provenance import Provenance


def latents(count=3):
    generator = torch.Generator().manual_seed(1)
    return Latents(
        ws=torch.randn(count, 8, 16, generator=generator),
        noise={"b4.conv1": torch.randn(count, 4, 4, generator=generator)},
        names=tuple(f"photo{i}.jpg" for i in range(count)),
        provenance=Provenance(model_hash="abc", licence="none stated", kind="projection"),
    )


@pytest.mark.parametrize("suffix", [".npz", ".safetensors"])
def test_a_file_gives_back_what_was_saved(suffix, tmp_path):
    saved = latents()
    loaded = load_latents(save_latents(tmp_path / f"w{suffix}", saved), num_ws=8, w_dim=16)
    assert torch.equal(loaded.ws, saved.ws)
    assert torch.equal(loaded.noise["b4.conv1"], saved.noise["b4.conv1"])
    assert loaded.names == saved.names
    assert loaded.provenance == saved.provenance


def test_npz_files_open_in_plain_numpy_without_pickle(tmp_path):
    with np.load(save_latents(tmp_path / "w.npz", latents()), allow_pickle=False) as file:
        assert file["ws"].shape == (3, 8, 16)
        assert json.loads(file["capriccio"].tobytes())["provenance"]["model_hash"] == "abc"


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_the_references_projected_w_is_read(dtype, tmp_path):
    w = np.random.default_rng(0).standard_normal((1, 8, 16)).astype(dtype)
    np.savez(tmp_path / "projected_w.npz", w=w)
    np.testing.assert_array_equal(load_latents(tmp_path / "projected_w.npz").ws.numpy(), w.astype(np.float32))


@pytest.mark.parametrize("suffix", [".npz", ".safetensors"])
def test_a_file_of_another_network_is_refused_and_says_which(suffix, tmp_path):
    path = save_latents(tmp_path / f"w{suffix}", latents())
    with pytest.raises(ShapeError, match=r"num_ws 8; this model has num_ws 10"):
        load_latents(path, num_ws=10, w_dim=16)
    with pytest.raises(ShapeError, match=r"w_dim 16; this model has w_dim 512"):
        load_latents(path, num_ws=8, w_dim=512)


@pytest.mark.parametrize(
    ("arrays", "says"),
    [
        ({"ws": np.full((1, 8, 16), np.nan, np.float32)}, "not finite"),
        ({"ws": np.full((1, 8, 16), 1e300)}, "not finite"),
        ({"ws": np.zeros((8, 16), np.float32)}, r"must be \[N, num_ws, w_dim\]"),
        ({"ws": np.zeros((0, 8, 16), np.float32)}, "at least one of each"),
        ({"ws": np.zeros((1, 8, 16), np.int64)}, "floating-point"),
        ({"z": np.zeros((1, 16), np.float32), "q": np.zeros(3)}, "has no array 'ws' .*it has q, z"),
        ({"ws": np.zeros((2, 8, 16), np.float32), "noise.a": np.zeros((1, 4, 4), np.float32)}, "noise map a"),
    ],
)
@pytest.mark.filterwarnings("ignore:overflow encountered:RuntimeWarning")
def test_contents_that_are_no_latents_are_refused_by_name(arrays, says, tmp_path):
    np.savez(tmp_path / "bad.npz", **arrays)
    with pytest.raises(UsageError, match=rf"bad\.npz: .*{says}"):
        load_latents(tmp_path / "bad.npz")


def test_pickled_objects_are_never_loaded(tmp_path):
    np.savez(tmp_path / "evil.npz", ws=np.array([{"a": 1}], dtype=object))
    with pytest.raises(UsageError, match=r"evil\.npz: .*pickled"):
        load_latents(tmp_path / "evil.npz")


def test_an_array_that_claims_more_than_is_there_takes_no_memory(tmp_path):
    member = io.BytesIO()
    np.lib.format.write_array_header_1_0(
        member, {"descr": "<f4", "fortran_order": False, "shape": (2**20, 2**10, 2**10)}
    )
    with zipfile.ZipFile(tmp_path / "huge.npz", "w") as archive:
        archive.writestr("ws.npy", member.getvalue() + b"\0" * 64)
    with pytest.raises(UsageError, match=r"huge\.npz: .*not as long as its header says"):
        load_latents(tmp_path / "huge.npz")


@pytest.mark.parametrize("start", [b"", b"PK\x03\x04", b"\x10\0\0\0\0\0\0\0{" + b" " * 14 + b"}"])
def test_two_gigabytes_of_zeros_take_no_memory(start, tmp_path):
    path = tmp_path / "projected_w.npz"
    with open(path, "wb") as file:
        file.write(start)
        file.truncate(2 * 2**30)
    tracemalloc.start()
    try:
        with pytest.raises(UsageError, match=r"projected_w\.npz: not a latents file"):
            load_latents(path)
        assert tracemalloc.get_traced_memory()[1] < 2**24
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("suffix", [".npz", ".safetensors"])
def test_no_damaged_byte_makes_loading_crash(suffix, tmp_path):
    whole = save_latents(tmp_path / f"w{suffix}", latents(1)).read_bytes()
    path = tmp_path / f"damaged{suffix}"
    refused = 0
    for position in range(0, len(whole), 5):
        damaged = bytearray(whole)
        damaged[position] ^= 0xFF
        path.write_bytes(damaged[: len(damaged) - position % 3])
        try:
            load_latents(path)
        except UsageError as error:
            assert str(path) in str(error)  # noqa: PT017 - either outcome is right, a crash is not
            refused += 1
    assert refused > 0


def test_a_damaged_record_loses_the_names_but_never_the_latents(tmp_path):
    np.savez(tmp_path / "w.npz", ws=np.zeros((1, 8, 16), np.float32), capriccio=np.frombuffer(b"{oops", np.uint8))
    loaded = load_latents(tmp_path / "w.npz")
    assert loaded.names == ()
    assert loaded.provenance is None


def test_a_missing_file_and_a_wrong_ending_are_named(tmp_path):
    with pytest.raises(UsageError, match=r"none\.npz: there is no such"):
        load_latents(tmp_path / "none.npz")
    with pytest.raises(UsageError, match=r"ends in \.safetensors or \.npz"):
        save_latents(tmp_path / "w.pt", latents())


def test_a_failed_save_leaves_the_old_file(tmp_path, monkeypatch):
    path = save_latents(tmp_path / "w.npz", latents())
    before = path.read_bytes()
    monkeypatch.setattr(np, "savez", lambda *_, **__: (_ for _ in ()).throw(OSError(5, "gone")))
    with pytest.raises(OSError, match="gone"):
        save_latents(path, latents(1))
    assert path.read_bytes() == before
    assert [p.name for p in tmp_path.iterdir()] == ["w.npz"]


def test_an_archive_whose_directory_states_less_than_it_unpacks_to_takes_no_memory(tmp_path):
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("ws.npy", b"\0" * (2**28 - 3))
    stated, forged = (2**28 - 3).to_bytes(4, "little"), (200).to_bytes(4, "little")
    data = content.getvalue()
    assert data.count(stated) == 2  # beside the member, and in the directory
    (tmp_path / "forged.npz").write_bytes(data.replace(stated, forged))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(UsageError, match=r"forged\.npz"):
        load_latents(tmp_path / "forged.npz")
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 2**16  # KiB
