from __future__ import annotations

import math

import torch

from capriccio.augmentation.color import change_colors, color_matrices
from capriccio.augmentation.parameters import ColorParameters


def matrices(**changes: float) -> torch.Tensor:
    usual = {"brightness": 0.0, "contrast": 1.0, "lumaflip": 0.0, "hue": 0.0, "saturation": 1.0}
    return color_matrices(ColorParameters(**{k: torch.full((2,), v) for k, v in (usual | changes).items()}))


IMAGES = torch.rand(2, 3, 4, 5) * 2 - 1


def test_nothing_applied_changes_nothing():
    torch.testing.assert_close(change_colors(IMAGES, matrices()), IMAGES)


def test_brightness_adds_and_contrast_multiplies():
    torch.testing.assert_close(change_colors(IMAGES, matrices(brightness=0.3)), IMAGES + 0.3)
    torch.testing.assert_close(change_colors(IMAGES, matrices(contrast=2.0, brightness=0.1)), 2 * (IMAGES + 0.1))


def test_a_third_of_the_wheel_of_hues_exchanges_the_channels():
    turned = change_colors(IMAGES, matrices(hue=2 * math.pi / 3))
    torch.testing.assert_close(turned, IMAGES.roll(1, dims=1), atol=1e-5, rtol=1e-5)


def test_without_saturation_all_channels_are_their_mean():
    grey = change_colors(IMAGES, matrices(saturation=0.0))
    torch.testing.assert_close(grey, IMAGES.mean(dim=1, keepdim=True).expand_as(IMAGES), atol=1e-5, rtol=1e-5)


def test_the_luma_flip_turns_grey_upside_down_and_is_its_own_inverse():
    grey = IMAGES[:, :1].expand_as(IMAGES)
    flip = matrices(lumaflip=1.0)
    torch.testing.assert_close(change_colors(grey, flip), -grey)
    torch.testing.assert_close(change_colors(change_colors(IMAGES, flip), flip), IMAGES)


def test_grey_pictures_have_brightness_and_contrast_but_neither_hue_nor_saturation():
    grey = IMAGES[:, :1]
    both = matrices(brightness=0.2, contrast=1.5, lumaflip=1.0)
    torch.testing.assert_close(change_colors(grey, both), -1.5 * (grey + 0.2))
    torch.testing.assert_close(change_colors(grey, matrices(hue=1.0, saturation=3.0)), grey)
