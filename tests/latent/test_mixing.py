import pytest
import torch

from capriccio.errors import ShapeError, UsageError
from capriccio.latent.mixing import describe_rows, level_of_row, mix, rows_of


@pytest.fixture
def pair():
    generator = torch.Generator().manual_seed(0)
    return torch.randn(3, 10, 8, generator=generator), torch.randn(3, 10, 8, generator=generator)


@pytest.mark.parametrize(("name", "rows"), [("coarse", range(3)), ("middle", range(3, 7)), ("fine", range(7, 10))])
def test_named_layers_are_the_rows_of_the_paper(name, rows, pair):
    a, b = pair
    mixed = mix(a, b, name)
    others = [row for row in range(10) if row not in rows]
    assert torch.equal(mixed[:, list(rows)], b[:, list(rows)])
    assert torch.equal(mixed[:, others], a[:, others])


def test_the_three_names_together_are_every_row(pair):
    a, b = pair
    assert torch.equal(mix(mix(mix(a, b, "coarse"), b, "middle"), b, "fine"), b)


@pytest.mark.parametrize("layers", ["0-3,7", "7,3,0-2", slice(0, 4), range(4), [3, 2, 1, 0], (0, 1, 2, 3, 3)])
def test_every_spelling_names_the_same_rows(layers):
    expected = (0, 1, 2, 3, 7) if isinstance(layers, str) else (0, 1, 2, 3)
    assert rows_of(layers, 10) == expected


def test_names_and_rows_can_be_listed_together():
    assert rows_of("coarse,7", 10) == (0, 1, 2, 7)
    assert rows_of("coarse, fine", 8) == (0, 1, 2, 7)


def test_sources_are_not_changed(pair):
    a, b = pair
    before = a.clone(), b.clone()
    mix(a, b, "middle").zero_()
    assert torch.equal(a, before[0])
    assert torch.equal(b, before[1])


def test_one_latent_mixes_with_many_either_way(pair):
    a, b = pair
    assert torch.equal(mix(a[:1], b, "fine")[2], mix(a[:1], b[2:], "fine")[0])
    assert torch.equal(mix(a, b[:1], "fine")[2], mix(a[2:], b[:1], "fine")[0])


@pytest.mark.parametrize(
    ("layers", "num_ws", "says"),
    [
        ("fine", 6, "'fine' begins at row 7.*rows 0-5: coarse 0-2, middle 3-5"),
        ("middle", 2, "'middle' begins at row 3"),
        ([], 10, "names no row"),
        (slice(4, 4), 10, r"\[4:4\] names no row"),
        (range(0), 10, "names no row"),
        ("", 10, "names no row between its commas"),
        ("coarse,", 10, "names no row between its commas"),
        ("0-10", 10, "row 10 is not there.*rows 0-9: coarse 0-2, middle 3-6, fine 7-9"),
        ([-1], 10, "row -1 is not there"),
        ([True], 10, "row True is not there"),
        ([1.0], 10, "row 1.0 is not there"),
        (slice(-3, None), 10, "reaches beyond"),
        (slice(0, 11), 10, "reaches beyond"),
        ("coarze", 10, "Did you mean 'coarse'"),
    ],
)
def test_rows_that_are_not_there_are_refused_with_those_that_are(layers, num_ws, says):
    with pytest.raises(UsageError, match=says):
        rows_of(layers, num_ws)


@pytest.mark.parametrize("shape", [(3, 8, 8), (3, 10, 4), (2, 10, 8), (10, 8)])
def test_latents_of_another_network_are_refused(shape, pair):
    with pytest.raises(ShapeError, match=r"one network.*\[3, 10, 8\]"):
        mix(pair[0], torch.zeros(shape), "coarse")


def test_rows_are_described_by_the_name_people_use():
    assert describe_rows((0, 1, 2), 8) == "coarse"
    assert describe_rows((7,), 8) == "fine"
    assert describe_rows((3,), 8) == "row 3"
    assert describe_rows((0, 1, 2, 7), 10) == "rows 0-2,7"


def test_rows_belong_to_the_levels_of_the_synthesis_network():
    assert [level_of_row(row, 10) for row in range(10)] == [4, 8, 8, 16, 16, 32, 32, 64, 64, 64]
    assert [level_of_row(row, 2) for row in range(2)] == [4, 4]
