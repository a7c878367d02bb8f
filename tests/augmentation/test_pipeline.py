from __future__ import annotations

import pytest
import torch
from torch.utils._pytree import tree_leaves

from capriccio.augmentation import geometry
from capriccio.augmentation.parameters import draw, quantiles
from capriccio.augmentation.pipeline import Augmentation, augment, plan
from capriccio.augmentation.pipes import PIPES
from capriccio.errors import ShapeError

GREY, RGB, RGBA = (1, 24, 36), (3, 24, 36), (4, 24, 36)


def planned(pipe: str, size: tuple[int, int, int], count: int = 2, p: float = 1.0, **how):
    return plan(draw(PIPES[pipe], p, count, size, torch.Generator().manual_seed(5)), size, **how)


@pytest.mark.parametrize("size", [GREY, RGB, RGBA, (2, 24, 36)], ids=str)
def test_every_shape_keeps_its_shape_and_changes(size):
    images = torch.rand(2, *size) * 2 - 1
    changed = augment(images, planned("bgcfnc", size))
    assert changed.shape == images.shape
    assert (changed - images).abs().max() > 0.1
    assert changed.isfinite().all()


def test_without_a_plan_pictures_stay_as_they_are():
    images = torch.randn(2, *RGB)
    assert augment(images, None) is images


def test_alpha_moves_with_the_colours_and_nothing_else_happens_to_it():
    images = torch.rand(2, *RGBA)
    rgba = augment(images, planned("bgcfnc", RGBA))
    only_moved = augment(images, planned("bgcfnc", RGBA)._replace(color=None, taps=None, noise=None, keep=None))
    torch.testing.assert_close(rgba[:, 3], only_moved[:, 3])
    assert (rgba[:, :3] - only_moved[:, :3]).abs().max() > 0.1
    assert (only_moved[:, 3] - images[:, 3]).abs().max() > 0.1


def test_a_cutout_is_grey():
    size = (3, 32, 32)
    parameters = quantiles(PIPES["cutout"], 0.5, 1, size)
    changed = augment(torch.ones(1, *size), plan(parameters, size))
    assert (changed[:, :, 8:24, 8:24] == 0).all()
    assert changed.mean() == pytest.approx(0.75)


def test_a_process_gets_its_rows_of_what_one_process_would_have():
    images = torch.randn(4, *RGB)
    whole = augment(images, planned("bgcfnc", RGB, 4))
    for rank in range(2):
        rows = slice(rank, None, 2)
        part = augment(images[rows], planned("bgcfnc", RGB, 4, rows=rows))
        torch.testing.assert_close(part, whole[rows])


def test_results_are_float32_and_not_clipped():
    bright = plan(quantiles(PIPES["color"], 0.9, 1, RGB), RGB)
    changed = augment(torch.ones(1, *RGB, dtype=torch.bfloat16), bright)
    assert changed.dtype == torch.float32
    assert changed.abs().max() > 1


@pytest.mark.parametrize("size", [RGB, RGBA], ids=str)
def test_a_penalty_on_gradients_through_the_pipeline_is_differentiated_rightly(size):
    weight = torch.randn(size, generator=torch.Generator().manual_seed(0)).requires_grad_()
    images = torch.randn(2, *size, generator=torch.Generator().manual_seed(2))  # a few make differences too coarse
    plans = planned("bgcfnc", size)

    def penalty(w: torch.Tensor) -> torch.Tensor:
        gradient: torch.Tensor = torch.func.grad(lambda x: (augment(x, plans) * w).sin().sum())(images)
        return gradient.square().mean()

    (derivative,) = torch.autograd.grad(penalty(weight), weight)
    direction = torch.randn(weight.shape, generator=torch.Generator().manual_seed(1))
    step = 1e-2
    with torch.no_grad():
        numeric = (penalty(weight + step * direction) - penalty(weight - step * direction)) / (2 * step)
    assert float((derivative * direction).sum()) == pytest.approx(float(numeric), rel=0.02)


@pytest.mark.slow
@pytest.mark.parametrize("form", ["matrices", "depthwise", "triton"])
def test_compiled_it_has_the_eager_numbers_and_second_derivatives(form, monkeypatch):
    fir = "depthwise"
    if form != "matrices":
        fir = form
        monkeypatch.setattr(geometry, "LARGEST_MATRIX", 0)
    torch.compiler.reset()
    weight = torch.randn(RGB).requires_grad_()
    images = torch.randn(2, *RGB)

    def penalty(x: torch.Tensor, w: torch.Tensor, planned: Augmentation) -> torch.Tensor:
        gradient: torch.Tensor = torch.func.grad(lambda y: (augment(y, planned, fir) * w).sin().sum())(x)
        return gradient.square().mean()

    compiled = torch.compile(penalty, backend="aot_eager", fullgraph=True, dynamic=False)
    for seed in range(3):
        parameters = draw(PIPES["bgcfnc"], 0.7, 2, RGB, torch.Generator().manual_seed(seed))
        # Whatever is drawn, the first graph serves.
        with torch.compiler.set_stance("fail_on_recompile" if seed else "default"):
            ours = compiled(images, weight, plan(parameters, RGB, fixed_shape=True))
        theirs = penalty(images, weight, plan(parameters, RGB))
        torch.testing.assert_close(ours, theirs, rtol=1e-3, atol=1e-6)
        for a, b in zip(*(torch.autograd.grad(value, weight) for value in (ours, theirs)), strict=True):
            torch.testing.assert_close(a, b, rtol=1e-3, atol=1e-5)


def test_a_plan_for_another_device_has_all_of_its_tensors_there():
    parameters = draw(PIPES["bgcfnc"], 0.7, 2, RGB, torch.Generator().manual_seed(0))
    here, there = (plan(parameters, RGB, device=device, fixed_shape=True) for device in ("cpu", "meta"))
    for a, b in zip(tree_leaves(here), tree_leaves(there), strict=True):
        if a is None and b is None:
            continue
        assert b.device.type == "meta"
        assert (a.shape, a.dtype) == (b.shape, b.dtype)


def test_pictures_too_small_for_the_filter_are_refused():
    with pytest.raises(ShapeError, match="larger than 21 pixels"):
        planned("bgcf", (3, 16, 16))
