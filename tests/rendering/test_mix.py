import numpy as np
import pytest
from PIL import Image

from capriccio.errors import UsageError
from capriccio.latent.files import Latents, save_latents
from capriccio.latent.mixing import mix
from capriccio.provenance import read_provenance
from capriccio.rendering.generate import GenerateRequest, generate
from capriccio.rendering.grids import to_uint8
from capriccio.rendering.look import Look
from capriccio.rendering.mix import MixRequest, mix_cells, save_mix


def contains(table, picture):
    """Whether ``picture`` lies somewhere in ``table``, pixel for pixel."""
    windows = np.lib.stride_tricks.sliding_window_view(table, picture.shape)[..., 0, :, :, :]
    candidates = np.argwhere((windows[:, :, 0, 0] == picture[0, 0]).all(-1))
    return any(np.array_equal(windows[y, x], picture) for y, x in candidates)


def test_a_cell_has_the_rows_picture_with_the_columns_layers(model):
    request = MixRequest(rows=[1, 2], columns=[3, 4, 5], layers="middle", batch=4)
    cells = list(mix_cells(model, request))
    assert [(c.row, c.column) for c in cells] == [(r, c) for r in range(2) for c in range(3)]
    expected = to_uint8(model.images(mix(model.ws(seeds=[2]), model.ws(seeds=[4]), "middle")))[0]
    assert np.array_equal(np.asarray(cells[4].image), expected)
    assert cells[4].stem == "seed0002_seed0004"


def test_the_table_shows_both_sources_and_every_cell(model, tmp_path):
    request = MixRequest(rows=[1, 2], columns=[3, 4], scale=1)
    save_mix(model, request, tmp_path / "mix.png")
    table = np.asarray(Image.open(tmp_path / "mix.png"))
    for picture in generate(model, GenerateRequest(source=[1, 2, 3, 4])):
        assert contains(table, np.asarray(picture.image))
    for cell in mix_cells(model, request):
        assert contains(table, np.asarray(cell.image))


def test_cells_are_written_on_request_and_everything_says_what_was_mixed(model, tmp_path):
    request = MixRequest(rows=[1], columns=[3, 4], layers="0-1,7", look=Look(truncation_psi=0.7))
    written = save_mix(model, request, tmp_path / "mix.webp", cells=tmp_path / "cells")
    names = [str(p.relative_to(tmp_path)) for p in written]
    assert names == ["mix.webp", "cells/seed0001_seed0003.png", "cells/seed0001_seed0004.png"]
    cell, table = read_provenance(written[2]), read_provenance(written[0])
    assert (cell.seed, cell.mixed_seeds, cell.mixed_layers, cell.truncation_psi) == (1, (4,), (0, 1, 7), 0.7)
    assert (table.seeds, table.mixed_seeds) == ((1,), (3, 4))


def test_projected_photographs_take_the_place_of_seeds(model, tmp_path):
    photo = Latents(ws=model.ws(seeds=[9]), names=("beach.jpg",))
    path = save_latents(tmp_path / "w.npz", photo)
    cell = next(mix_cells(model, MixRequest(rows=path, columns=[3])))
    same = next(mix_cells(model, MixRequest(rows=[9], columns=[3])))
    assert np.array_equal(np.asarray(cell.image), np.asarray(same.image))
    assert cell.provenance.latents == ("beach.jpg",)
    assert cell.provenance.mixed_seeds == (3,)


def test_small_models_are_enlarged_until_one_can_see_them(model, tmp_path):
    save_mix(model, MixRequest(rows=[1], columns=[2]), tmp_path / "auto.png")
    save_mix(model, MixRequest(rows=[1], columns=[2], scale=1), tmp_path / "one.png")
    auto, one = Image.open(tmp_path / "auto.png"), Image.open(tmp_path / "one.png")
    assert auto.height - one.height == 2 * (96 - 32)


@pytest.mark.parametrize("channels", [1, 2, 4])
def test_other_channel_counts_have_tables_too(channels, painted, tmp_path):
    save_mix(painted(channels=channels, height=16, width=24), MixRequest(rows=[1], columns=[2]), tmp_path / "t.png")
    assert Image.open(tmp_path / "t.png").mode == "RGB"


def test_progress_counts_cells(model, tmp_path):
    seen = []
    save_mix(model, MixRequest(rows=[1, 2], columns=[3, 4]), tmp_path / "t.png", progress=lambda *a: seen.append(a))
    assert seen == [(1, 4), (2, 4), (3, 4), (4, 4)]


@pytest.mark.parametrize(
    ("request_", "name", "says"),
    [
        ({"layers": "fine"}, "t.png", "'fine' begins at row 7"),
        ({"layers": "0-6"}, "t.png", "row 6 is not there"),
        ({"rows": []}, "t.png", "No seed"),
        ({"rows": range(2000), "columns": range(2000)}, "t.png", "Ask for fewer"),
        ({}, "t.gif", "no picture format"),
    ],
)
def test_a_table_that_cannot_be_made_is_refused_and_leaves_nothing(request_, name, says, painted, tmp_path):
    model = painted(height=16, width=16)
    with pytest.raises(UsageError, match=says):
        save_mix(model, MixRequest(**{"rows": [1], "columns": [2], **request_}), tmp_path / name)
    assert list(tmp_path.iterdir()) == []
