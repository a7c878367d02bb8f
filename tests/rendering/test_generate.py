import numpy as np
import pytest
from PIL import Image

from capriccio.errors import UsageError
from capriccio.latent.files import Latents
from capriccio.processes import Processes
from capriccio.provenance import read_provenance
from capriccio.rendering import generate as generate_module
from capriccio.rendering.generate import GenerateRequest, PictureFiles, generate, save_generated
from capriccio.rendering.look import Look


def pixels(path):
    with Image.open(path) as image:
        return np.asarray(image)


def test_files_are_named_by_seed_and_the_grid_holds_them_all(model, tmp_path):
    files = save_generated(model, GenerateRequest(source=[0, 1, 42, 12345], batch=3), PictureFiles(folder=tmp_path))
    assert [f.name for f in files] == ["seed0000.png", "seed0001.png", "seed0042.png", "seed12345.png", "grid.png"]
    grid = pixels(tmp_path / "grid.png")
    assert np.array_equal(grid[:32, 32:64], pixels(tmp_path / "seed0001.png"))
    assert np.array_equal(grid[32:, :32], pixels(tmp_path / "seed0042.png"))


def test_each_file_says_what_made_it(model, tmp_path):
    look = Look(truncation_psi=0.5, truncation_cutoff=3, noise_mode="random")
    save_generated(model, GenerateRequest(source=[3, 4], look=look), PictureFiles(folder=tmp_path, file_format="webp"))
    record = read_provenance(tmp_path / "seed0004.webp")
    assert (record.seed, record.truncation_psi, record.truncation_cutoff, record.noise_seed) == (4, 0.5, 3, 4)
    assert (record.model_hash, record.licence) == (model.model_hash, "for tests only")
    assert read_provenance(tmp_path / "grid.webp").seeds == (3, 4)


@pytest.mark.parametrize("noise_mode", ["const", "none", "random"])
def test_a_picture_is_the_same_alone_and_in_any_batch(noise_mode, model):
    look = Look(noise_mode=noise_mode)
    alone = [next(generate(model, GenerateRequest(source=[s], look=look))) for s in range(7)]
    for batch in (2, 7, 100):
        together = list(generate(model, GenerateRequest(source=range(7), look=look, batch=batch)))
        for one, other in zip(alone, together, strict=True):
            assert np.array_equal(np.asarray(one.image), np.asarray(other.image))
            assert one.provenance == other.provenance


def test_thousands_are_painted_batch_by_batch_when_asked_for(model):
    pictures = generate(model, GenerateRequest(source=range(100_000), batch=8))
    next(pictures)
    assert model.largest_batch == 8


def test_stored_latents_are_painted_as_they_are(model, tmp_path):
    ws = model.ws(seeds=[5, 6])
    stored = Latents(ws=ws, names=("beach.jpg", "../../etc/passwd"))
    files = save_generated(model, GenerateRequest(source=stored), PictureFiles(folder=tmp_path, grid=False))
    assert [f.name for f in files] == ["latent0000.png", "latent0001.png"]
    assert read_provenance(files[0]).latents == ("beach.jpg",)
    seeded = next(generate(model, GenerateRequest(source=[5])))
    assert np.array_equal(pixels(files[0]), np.asarray(seeded.image))


def test_a_full_grid_goes_on_to_the_next_page(model, tmp_path, monkeypatch):
    monkeypatch.setattr(generate_module, "MAX_GRID_CELLS", 4)
    files = save_generated(
        model, GenerateRequest(source=range(10), batch=3), PictureFiles(folder=tmp_path, singles=False)
    )
    assert [f.name for f in files] == ["grid.png", "grid-2.png", "grid-3.png"]
    assert [read_provenance(f).seeds for f in files] == [(0, 1, 2, 3), (4, 5, 6, 7), (8, 9)]


@pytest.mark.parametrize("grid", [True, False])
def test_processes_share_the_work_and_leave_what_one_leaves(model, tmp_path, monkeypatch, grid):
    monkeypatch.setattr(generate_module, "MAX_GRID_CELLS", 4)
    request = GenerateRequest(source=range(10), batch=3)
    alone = save_generated(model, request, PictureFiles(folder=tmp_path / "alone", grid=grid))
    shared, painted = PictureFiles(folder=tmp_path / "shared", grid=grid), []
    for rank in range(2):
        files = save_generated(model, request, shared, lambda done, total: painted.append(total), Processes(rank, 2))
        assert [f.name for f in files] == [f.name for f in alone]
    assert {f.name: f.read_bytes() for f in files} == {f.name: f.read_bytes() for f in alone}
    assert painted == ([6] * 6 + [4] * 4)


@pytest.mark.parametrize("channels", [1, 2, 3, 4, 5])
def test_every_channel_count_and_non_square_pictures_are_written(channels, painted, tmp_path):
    model = painted(channels=channels, height=16, width=24)
    save_generated(model, GenerateRequest(source=[1, 2, 3]), PictureFiles(folder=tmp_path))
    width = 24 * (channels if channels not in (1, 3, 4) else 1)
    assert pixels(tmp_path / "seed0001.png").shape[:2] == (16, width)


def test_progress_counts_to_the_end(model, tmp_path):
    seen = []
    save_generated(model, GenerateRequest(source=range(5), batch=2), PictureFiles(folder=tmp_path),
                   lambda done, total: seen.append((done, total)))  # fmt: skip
    assert seen == [(i, 5) for i in range(1, 6)]


def test_psi_zero_is_one_picture_for_all_seeds(model):
    first, second = generate(model, GenerateRequest(source=[1, 2], look=Look(truncation_psi=0.0)))
    assert np.array_equal(np.asarray(first.image), np.asarray(second.image))


def test_what_does_not_fit_is_said_before_anything_is_painted(model, tmp_path):
    with pytest.raises(UsageError, match="has no classes"):
        generate(model, GenerateRequest(source=[1], look=Look(class_index=1)))
    with pytest.raises(UsageError, match="batch must be at least 1"):
        GenerateRequest(source=[1], batch=0)
    rgba = type(model)(channels=4)
    with pytest.raises(UsageError, match="no transparency"):
        save_generated(rgba, GenerateRequest(source=[1]), PictureFiles(folder=tmp_path, file_format="jpeg"))
    assert list(tmp_path.iterdir()) == []
