from __future__ import annotations

import pytest
import torch

from capriccio.augmentation import geometry
from capriccio.augmentation.geometry import Margins, batch_margins, inverse_matrices, plan_geometry, resample
from capriccio.augmentation.parameters import GeometryParameters, draw
from capriccio.augmentation.pipes import PIPES
from capriccio.config import FirForm

FILTERS: tuple[FirForm, ...] = ("depthwise", "shifted", "triton")
"""On a processor the last one is computed by the kernel's plain twin."""


def unchanged(count: int = 1) -> GeometryParameters:
    zero, one = torch.zeros(count), torch.ones(count)
    return GeometryParameters(zero, zero, torch.zeros(count, 2), one, zero, one, zero, torch.zeros(count, 2))


def smooth(count: int, height: int, width: int) -> torch.Tensor:
    rng = torch.Generator().manual_seed(1)
    coarse = torch.randn(count, 3, 4, 4, generator=rng)
    return torch.nn.functional.interpolate(coarse, size=(height, width), mode="bicubic")


def resampled(
    images: torch.Tensor, given: GeometryParameters, *, fixed_shape: bool = False, fir: FirForm = "depthwise"
) -> torch.Tensor:
    height, width = images.shape[2:]
    matrices = inverse_matrices(given, height, width)
    margins = batch_margins(matrices, height, width)
    return resample(images, plan_geometry(matrices, margins, height, width, fixed_shape=fixed_shape), fir)


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({}, lambda x: x),
        ({"xflip": torch.ones(1)}, lambda x: x.flip(3)),
        ({"quarter_turns": torch.ones(1)}, lambda x: x.rot90(1, (2, 3))),
        ({"quarter_turns": torch.full((1,), 3.0)}, lambda x: x.rot90(-1, (2, 3))),
        ({"rotate_after": torch.full((1,), torch.pi)}, lambda x: x.flip(2, 3)),
        ({"shift_px": torch.tensor([[3.0, 0.0]])}, lambda x: x.roll(3, 3)),
        ({"shift_px": torch.tensor([[0.0, -2.0]])}, lambda x: x.roll(-2, 2)),
        ({"shift": torch.tensor([[0.125, 0.0]])}, lambda x: x.roll(4, 3)),
    ],
)
def test_simple_changes_do_what_their_names_say(change, expected):
    images = smooth(1, 32, 32)
    inner = (..., slice(8, 24), slice(8, 24))
    ours = resampled(images, unchanged()._replace(**change))
    torch.testing.assert_close(ours[inner], expected(images)[inner], atol=0.06, rtol=0)


def test_a_scale_above_one_enlarges_and_a_stretch_above_one_widens():
    ys, xs = torch.meshgrid(torch.arange(32.0), torch.arange(32.0), indexing="ij")
    disc = (((xs - 15.5).square() + (ys - 15.5).square()) < 36).float()[None, None]

    def extent(image: torch.Tensor) -> tuple[int, int]:
        return int((image[0, 0, 16] > 0.5).sum()), int((image[0, 0, :, 16] > 0.5).sum())

    wide, high = extent(disc)
    enlarged = extent(resampled(disc, unchanged()._replace(scale=torch.full((1,), 1.5))))
    assert enlarged == pytest.approx((1.5 * wide, 1.5 * high), abs=1)
    stretched = extent(resampled(disc, unchanged()._replace(aniso=torch.full((1,), 1.5))))
    assert stretched == pytest.approx((1.5 * wide, high / 1.5), abs=1)


@pytest.mark.parametrize("size", [(24, 24), (20, 28), (48, 32)], ids=str)
def test_all_forms_of_resampling_agree_in_values_and_derivatives(size, monkeypatch):
    given = draw(PIPES["bg"], 1.0, 6, (3, *size), torch.Generator().manual_seed(3)).geometry
    left, top, right, bottom = batch_margins(inverse_matrices(given, *size), *size)
    widest = (max(top, bottom), max(left, right))
    assert all(margin < side - 1 for margin, side in zip(widest, size, strict=True)), "of no picture is all reflected"
    images = smooth(6, *size).requires_grad_()
    cotangent = torch.randn(images.shape, generator=torch.Generator().manual_seed(4))

    def numbers(*, fixed_shape: bool, fir: FirForm = "depthwise") -> tuple[torch.Tensor, torch.Tensor]:
        out = resampled(images, given, fixed_shape=fixed_shape, fir=fir)
        return out.detach(), torch.autograd.grad(out, images, cotangent)[0]

    by_matrix = numbers(fixed_shape=False)
    others = [numbers(fixed_shape=True)]
    monkeypatch.setattr(geometry, "LARGEST_MATRIX", 0)
    others += [numbers(fixed_shape=fixed, fir=fir) for fixed in (False, True) for fir in FILTERS]
    for other in others:
        for ours, theirs in zip(other, by_matrix, strict=True):
            torch.testing.assert_close(ours, theirs, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("largest", [0, 256], ids=["filtered", "by matrix"])
def test_beyond_the_widest_margin_it_is_black_at_a_fixed_shape_too(largest, monkeypatch):
    monkeypatch.setattr(geometry, "LARGEST_MATRIX", largest)
    images = smooth(2, 16, 24) + 1
    given = unchanged(2)._replace(shift_px=torch.tensor([[0.0, 0.0], [32.0, 0.0]]))
    tight, fixed = (resampled(images, given, fixed_shape=fixed_shape) for fixed_shape in (False, True))
    assert (fixed[1, :, :, :5] == 0).all()
    assert (fixed[1, :, :, 13:].abs().mean(dim=(0, 1)) > 0.1).all()
    torch.testing.assert_close(fixed[0], tight[0], atol=1e-5, rtol=0)
    alike = [*range(5), *range(15, 24)]  # between them 3 pixels of the margin's end, and as many that the filter blurs
    torch.testing.assert_close(fixed[1][..., alike], tight[1][..., alike], atol=1e-5, rtol=0)


def test_margins_suffice_for_all_pictures_of_a_batch_and_are_never_wider_than_a_reflection():
    far = unchanged(2)._replace(shift_px=torch.tensor([[0.0, 0.0], [100.0, 5.0]]))
    margins = batch_margins(inverse_matrices(far, 16, 24), 16, 24)
    assert margins == Margins(left=23, top=11, right=6, bottom=6)
