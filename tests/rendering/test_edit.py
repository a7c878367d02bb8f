"""Edited pictures, their latents, and the sheets of directions, with the painted stand-in."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image

from capriccio.errors import UsageError
from capriccio.latent.directions import Direction
from capriccio.latent.files import Latents, load_latents, save_latents
from capriccio.provenance import read_provenance
from capriccio.rendering.direction_sheet import SheetRequest, save_direction_sheet
from capriccio.rendering.edit import EditRequest, Move, save_edited
from capriccio.rendering.generate import GenerateRequest, PictureFiles, save_generated


def direction(name="horizon", entry=0, rows=range(3)):
    return Direction(name=name, vector=torch.eye(16)[entry], rows=tuple(rows), unit="a step")


def pixels(path):
    return np.asarray(Image.open(path)).astype(int)


def test_pictures_latents_and_sheet_are_written_and_say_what_was_done(model, tmp_path):
    moves = (Move(direction=direction(), strength=2), Move(direction=direction("hue", 1), strength=-1, layers="fine"))
    written = save_edited(model, EditRequest(source=[3, 8], moves=moves), tmp_path)
    assert [path.name for path in written] == ["seed0003.png", "seed0008.png", "edited.safetensors", "sheet.png"]
    record = read_provenance(written[1])
    assert (record.kind, record.seed, record.edits) == ("edit", 8, ("horizon +2", "hue -1 (fine)"))
    latents = load_latents(written[2])
    expected = model.ws(seeds=[3, 8])
    expected[:, :3, 0] += 2
    expected[:, 7:, 1] -= 1
    torch.testing.assert_close(latents.ws, expected)
    assert latents.names == ("seed 3", "seed 8")
    assert latents.provenance.edits == record.edits


def test_the_latents_paint_the_edited_pictures_again(model, tmp_path):
    request = EditRequest(source=[1, 2, 3], moves=(Move(direction=direction(), strength=1.5),), batch=2)
    written = save_edited(model, request, tmp_path / "edited")
    again = save_generated(model, GenerateRequest(source=written[-2]), PictureFiles(folder=tmp_path / "again"))
    for one, other in zip(written[:3], again[:3], strict=True):
        assert abs(pixels(one) - pixels(other)).max() <= 1
    plain = save_generated(model, GenerateRequest(source=[1, 2, 3]), PictureFiles(folder=tmp_path / "plain"))
    assert all(abs(pixels(one) - pixels(other)).mean() > 1 for one, other in zip(written[:3], plain[:3], strict=True))


def test_an_edit_of_stored_latents_keeps_their_names_and_noise(model, tmp_path):
    stored = Latents(ws=model.ws(seeds=[1]), noise={"b4.conv1": torch.ones(1, 4, 4)}, names=("beach.jpg",))
    path = save_latents(tmp_path / "beach.npz", stored)
    moves = (Move(direction=direction(), strength=1),)
    written = save_edited(model, EditRequest(source=path, moves=moves), tmp_path / "out")
    latents = load_latents(written[-2])
    assert latents.names == ("beach.jpg",)
    assert torch.equal(latents.noise["b4.conv1"], torch.ones(1, 4, 4))


@pytest.mark.parametrize(
    ("rows", "layers", "says"),
    [
        (range(3), "7-99", "row 99 is not there"),
        ([12], None, "moves row 12"),
    ],
)
def test_what_does_not_fit_is_refused_before_anything_is_written(rows, layers, says, model, tmp_path):
    request = EditRequest(source=[1], moves=(Move(direction=direction(rows=rows), strength=1, layers=layers),))
    with pytest.raises(UsageError, match=says):
        save_edited(model, request, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_no_move_is_refused_at_once():
    with pytest.raises(UsageError, match="nothing is to be changed"):
        EditRequest(source=[1], moves=())


@pytest.mark.parametrize("strength", [float("nan"), float("-inf"), 1e6])
def test_a_strength_nothing_can_be_moved_by_is_refused_at_once(strength):
    with pytest.raises(UsageError, match=r"'horizon' must lie in -100\.\.100"):
        Move(direction=direction(), strength=strength)


def test_a_sheet_has_a_row_for_each_picture_and_steps_to_either_side(model, tmp_path):
    request = SheetRequest(source=[1, 2], reach=4, steps=2, batch=1)
    assert request.strengths == [-4, -2, 2, 4]
    path = save_direction_sheet(model, direction(), request, tmp_path / "horizon.png")
    one = save_direction_sheet(model, direction(), SheetRequest(source=[1], reach=4, steps=2), tmp_path / "one.png")
    assert pixels(path).shape[0] == pixels(one).shape[0] + 64 + 4
    assert read_provenance(path).edits == ("horizon -4", "horizon +4")


@pytest.mark.parametrize("wrong", [{"reach": 0}, {"reach": float("nan")}, {"steps": 0}, {"batch": 0}])
def test_sheets_that_cannot_be_are_refused(wrong):
    with pytest.raises(UsageError):
        SheetRequest(**wrong)
