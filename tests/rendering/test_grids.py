import numpy as np
import pytest
import torch
from PIL import Image

from capriccio.errors import JobError, UsageError
from capriccio.rendering.grids import (
    Sheet,
    Table,
    difference_of,
    enlarge,
    image_grid,
    near_square,
    picture_of,
    pictures_of,
    scale_to_reach,
    to_picture,
    to_uint8,
)


def test_bytes_are_rounded_as_the_field_does():
    values = torch.tensor([-2.0, -1.0, -0.999, -1 / 255, 0.0, 1 / 255, 0.5, 0.996, 1.0, 3.0])
    expected = [0, 0, 0, 127, 128, 128, 191, 254, 255, 255]
    assert to_uint8(values.reshape(1, 1, 1, -1)).flatten().tolist() == expected


def test_channels_move_last_and_half_precision_is_taken():
    images = torch.rand(2, 3, 4, 5).mul(2).sub(1)
    pixels = to_uint8(images)
    assert pixels.shape == (2, 4, 5, 3)
    assert pixels[1, 2, 3, 0] == int(images[1, 0, 2, 3] * 127.5 + 128)
    assert np.abs(to_uint8(images.bfloat16()).astype(int) - pixels).max() <= 1


def test_values_that_are_not_finite_are_a_failed_job_not_a_black_picture():
    with pytest.raises(JobError, match="not finite"):
        to_uint8(torch.full((1, 3, 4, 4), torch.nan))


@pytest.mark.parametrize(
    ("channels", "mode", "width"), [(1, "L", 6), (3, "RGB", 6), (4, "RGBA", 6), (2, "L", 12), (5, "L", 30)]
)
def test_every_channel_count_becomes_a_picture(channels, mode, width):
    pixels = np.arange(4 * 6 * channels, dtype=np.uint8).reshape(4, 6, channels)
    picture = to_picture(pixels)
    assert (picture.mode, picture.size) == (mode, (width, 4))
    back = np.asarray(picture)
    assert np.array_equal(back[..., 0] if back.ndim == 3 else back[:, :6], pixels[:, :, 0])


@pytest.mark.parametrize(("count", "size", "expected"), [
    (16, (64, 64), (4, 4)), (1, (64, 64), (1, 1)), (17, (64, 64), (4, 5)),
    (6, (64, 128), (3, 2)), (8, (128, 64), (2, 4)),
])  # fmt: skip
def test_a_sheet_is_about_as_high_as_wide(count, size, expected):
    assert near_square(count, size) == expected


def test_a_grid_holds_its_pictures_row_by_row_pixel_for_pixel():
    pictures = [Image.new("RGB", (6, 4), (i, 2 * i, 3 * i)) for i in range(5)]
    sheet = image_grid(pictures, columns=3)
    assert sheet.size == (18, 8)
    for i in range(5):
        assert sheet.getpixel((i % 3 * 6 + 5, i // 3 * 4 + 3)) == (i, 2 * i, 3 * i)
    assert sheet.getpixel((17, 7)) == (255, 255, 255)


@pytest.mark.parametrize("mode", ["L", "RGB", "RGBA"])
def test_a_grid_keeps_the_mode_of_its_pictures(mode):
    assert image_grid([Image.new(mode, (4, 4))] * 3).mode == mode


def test_sheets_no_viewer_would_open_are_refused_before_memory_is_taken():
    with pytest.raises(UsageError, match="Ask for fewer"):
        Sheet(1000, 1000, (1024, 1024))
    with pytest.raises(UsageError, match="one size"):
        image_grid([Image.new("L", (4, 4)), Image.new("L", (4, 5))])


def test_table_cells_lie_apart_from_their_sources_and_never_overlap():
    table = Table(["seed 1", "seed 2"], ["seed 3", "x" * 500], (40, 60), title="Coarse")
    for row in range(-1, 2):
        for column in range(-1, 2):
            if (row, column) != (-1, -1):
                table.put(row, column, Image.new("RGB", (60, 40), (10 * row + 50, 10 * column + 50, 200)))
    pixels = np.asarray(table.image)
    for row in range(-1, 2):
        for column in range(-1, 2):
            area = (pixels == (10 * row + 50, 10 * column + 50, 200)).all(axis=2).sum()
            assert area == (0 if (row, column) == (-1, -1) else 40 * 60)


def test_labels_are_drawn_and_hostile_ones_do_no_harm():
    blank = np.asarray(Table([""], [""], (40, 60), title="").image)
    named = np.asarray(Table(["seed 1"], [""], (40, 60), title="").image)
    assert (blank == 255).all()
    assert (named != 255).any()
    Table(["\n" * 5000 + "\u202e\0"], ["a" * 100_000], (40, 60), title="t")


def test_one_image_is_the_picture_it_is_in_a_batch():
    images = torch.rand(2, 3, 4, 5) * 2 - 1
    assert (
        picture_of(images[1]).tobytes() == pictures_of(images)[1].tobytes() == to_picture(to_uint8(images)[1]).tobytes()
    )


def test_differences_are_black_where_there_are_none_and_four_times_as_large_elsewhere():
    image = torch.zeros(1, 1, 3)
    other = torch.tensor([[[0.0, 0.25, -1.0]]])
    assert np.asarray(difference_of(image, other)).tolist() == np.asarray(difference_of(other, image)).tolist()
    assert np.asarray(difference_of(image, other)).tolist() == [[0, 128, 255]]


def test_enlarging_uses_whole_factors():
    assert scale_to_reach(96, (64, 128)) == 2
    assert scale_to_reach(96, (96, 96)) == scale_to_reach(96, (512, 512)) == 1
    assert enlarge(Image.new("L", (3, 5)), 4).size == (12, 20)
