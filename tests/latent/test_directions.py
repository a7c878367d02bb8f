import json

import pytest
import torch

from capriccio.config import ImageShape
from capriccio.errors import ShapeError, UsageError
from capriccio.latent.directions import (
    Change,
    Direction,
    Directions,
    edit,
    load_directions,
    parse_change,
    read_directions,
    rows_named,
    save_directions,
)
from capriccio.loading.model import Model
from capriccio.networks.generator import Generator
from capriccio.presets import preset
from capriccio.snapshots.snapshot import Snapshot, SnapshotFacts


def direction(name, vector, rows=(0, 1, 2, 3)):
    return Direction(name=name, vector=torch.tensor(vector), rows=rows, unit="a step")


@pytest.fixture
def two():
    listed = (direction("snow", [1.0, 0.0, 2.0]), direction("haze", [0.0, -1.0, 0.0], rows=(2, 3)))
    return Directions(model_hash="0123456789abcdef", num_ws=4, listed=listed, licence="none", facts={"n": 3})


@pytest.fixture
def model():
    torch.manual_seed(0)
    generator = Generator(preset("tiny", ImageShape(height=16, width=16)).generator).eval()
    return Model(Snapshot(generator=generator, discriminator=None, facts=SnapshotFacts()))


def test_several_directions_add_up_each_on_its_own_rows(two):
    ws = torch.randn(2, 4, 3)
    before = ws.clone()
    moved = edit(ws, two, {"snow": 2.0, "haze": -0.5})
    assert torch.equal(ws, before)
    torch.testing.assert_close(moved[:, 0] - ws[:, 0], torch.tensor([[2.0, 0, 4]]).expand(2, 3))
    torch.testing.assert_close(moved[:, 3] - ws[:, 3], torch.tensor([[2.0, 0.5, 4]]).expand(2, 3))


def test_a_step_and_the_step_back_end_where_they_began(two):
    ws = torch.randn(1, 4, 3)
    torch.testing.assert_close(edit(edit(ws, two, {"snow": 1.5}), two, {"snow": -1.5}), ws)
    assert torch.equal(edit(ws, two, {"snow": 0}), ws)


def test_layers_take_the_place_of_the_directions_own(two):
    ws = torch.zeros(1, 4, 3)
    assert edit(ws, two, {"haze": 1}, "0")[0].any(dim=1).tolist() == [True, False, False, False]
    assert edit(ws, two, {"haze": 1}, "all")[0].any(dim=1).tolist() == [True] * 4
    assert rows_named("coarse", 4) == (0, 1, 2)


@pytest.mark.parametrize(
    ("strengths", "layers", "says"),
    [
        ({"snwo": 1}, None, "'snwo' is not a direction.*Did you mean 'snow'.*There are: snow, haze"),
        ({"snow": float("nan")}, None, "strength of 'snow' must lie in -100..100, got nan"),
        ({"snow": float("inf")}, None, "got inf"),
        ({"snow": 1}, "", "names no row"),
        ({"snow": 1}, [], "names no row"),
        ({"snow": 1}, "7", "row 7 is not there"),
    ],
)
def test_what_cannot_be_done_is_refused(strengths, layers, says, two):
    with pytest.raises(UsageError, match=says):
        edit(torch.zeros(1, 4, 3), two, strengths, layers)


@pytest.mark.parametrize(
    ("text", "change"),
    [
        ("snow=2", Change("snow", 2)),
        ("snow=.5", Change("snow", 0.5)),
        ("haze-1=-1@fine", Change("haze-1", -1, "fine")),
        (" glühen = +1e1 @ 0-3, 7 ", Change("glühen", 10, "0-3, 7")),
        ("snow=1@", Change("snow", 1, "")),
    ],
)
def test_a_change_is_read_as_people_write_it(text, change):
    assert parse_change(text, what="--set") == change


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("snow", "--set: 'snow' has no strength; write snow=2, or snow=2@middle"),
        ("snow=", "--set: the strength of 'snow' must be a number, got ''"),
        ("snow=much@fine", "must be a number, got 'much'"),
        ("snow=nan", r"must lie in -100\.\.100, got nan"),
        ("snow=-100.5", r"must lie in -100\.\.100, got -100.5"),
        ("=2", "--set: '=2' is no change; write one like snow=2"),
        ("../snow=2", "is no change"),
        ("", "is no change"),
    ],
)
def test_what_is_no_change_is_refused_with_how_to_write_one(text, says):
    with pytest.raises(UsageError, match=says):
        parse_change(text, what="--set")


def test_a_change_says_itself_in_words():
    assert Change("snow", 2, "fine").text == "snow +2 (fine)"
    assert Change("haze", -0.5).text == "haze -0.5"


@pytest.mark.parametrize("shape", [(1, 4, 5), (4, 3), (1, 2, 3)])
def test_latents_of_another_network_are_refused(shape, two):
    with pytest.raises(ShapeError):
        edit(torch.zeros(shape), two, {"snow": 1})


def test_a_file_gives_back_what_was_written(two, tmp_path):
    path = save_directions(tmp_path / "d.json", two)
    again = read_directions(path)
    assert (again.model_hash, again.num_ws, again.licence, again.facts) == ("0123456789abcdef", 4, "none", {"n": 3})
    assert again.names == ("snow", "haze")
    for mine, theirs in zip(two.listed, again.listed, strict=True):
        assert torch.equal(mine.vector, theirs.vector)
        assert (mine.rows, mine.unit) == (theirs.rows, theirs.unit)


def damaged(text, change):
    record = json.loads(text)
    change(record)
    return json.dumps(record)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda r: r.update(format_version=99), "format version 99"),
        (lambda r: r.pop("directions"), "not a directions file, or damaged"),
        (lambda r: r["directions"][0].update(vector=[1, float("nan"), 2]), "finite"),
        (lambda r: r["directions"][0].update(vector=[1, 2]), "equally long"),
        (lambda r: r["directions"][0].update(vector="abc"), "damaged"),
        (lambda r: r["directions"][1].update(rows=[9]), "does not have"),
        (lambda r: r["directions"][1].update(rows=[]), "moves no latent row"),
        (lambda r: r["directions"][1].update(name="snow"), "names that differ"),
        (lambda r: r["directions"][1].update(name="../x"), "name is made of"),
    ],
)
def test_damaged_files_are_refused_by_name(change, says, two, tmp_path):
    path = save_directions(tmp_path / "d.json", two)
    path.write_text(damaged(path.read_text(), change))
    with pytest.raises(UsageError, match=says) as caught:
        read_directions(path)
    assert str(caught.value).startswith(str(path))


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"\xff\xfe", b"7"])
def test_what_is_no_file_of_directions_is_refused(content, tmp_path):
    path = tmp_path / "d.json"
    path.write_bytes(content)
    with pytest.raises(UsageError, match=r"not a directions file"):
        read_directions(path)
    with pytest.raises(UsageError, match="there is no such"):
        read_directions(tmp_path / "gone.json")


def test_directions_of_another_model_are_refused_with_the_remedy(two, model, tmp_path):
    path = save_directions(tmp_path / "d.json", two)
    with pytest.raises(UsageError, match=r"made for the model 0123456789abcdef.*capriccio directions"):
        load_directions(model, path)
    with pytest.raises(UsageError, match=r"no directions come with this model.*capriccio directions"):
        load_directions(model)


def test_a_file_must_end_in_json(two, tmp_path):
    with pytest.raises(UsageError, match=r"ends in \.json"):
        save_directions(tmp_path / "d.npz", two)
