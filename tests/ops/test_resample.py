from __future__ import annotations

import pytest
import torch

from capriccio.ops.resample import downsample2d, filter2d, make_filter, upfirdn2d, upsample2d

TAPS = [(1, 3, 3, 1), (1, 2, 1), (1, 1), (1, 2, 3, 4, 5, 6, 6, 5, 4, 3, 2, 1)]


@pytest.mark.parametrize("taps", TAPS, ids=len)
def test_a_constant_image_stays_constant_away_from_the_border(taps):
    f = make_filter(taps)
    x = torch.full((1, 2, 64, 80), 3.0)
    edge = len(taps)
    for y in (upsample2d(x, f), downsample2d(x, f), filter2d(x, f)):
        inside = y[:, :, edge:-edge, edge:-edge]
        assert inside.numel()
        torch.testing.assert_close(inside, torch.full_like(inside, 3.0))


@pytest.mark.parametrize("taps", TAPS, ids=len)
def test_sizes_double_halve_and_stay(taps):
    f, x = make_filter(taps), torch.randn(2, 3, 12, 20)
    assert upsample2d(x, f).shape == (2, 3, 24, 40)
    assert downsample2d(x, f).shape == (2, 3, 6, 10)
    assert filter2d(x, f).shape == x.shape


def test_filtering_equals_the_definition_sample_by_sample():
    rng = torch.Generator().manual_seed(1)
    x = torch.randn(5, generator=rng, dtype=torch.float64)
    taps = torch.tensor([0.5, -1.0, 2.0], dtype=torch.float64)
    up, down, before, after, gain = 3, 2, 2, 1, 1.5
    zeros = torch.zeros(5 * up, dtype=torch.float64)
    zeros[::up] = x
    padded = torch.cat([torch.zeros(before), zeros, torch.zeros(after)])
    expected = torch.stack([sum(taps[j] * padded[n + 2 - j] for j in range(3)) for n in range(len(padded) - 2)])
    row = x.reshape(1, 1, 1, 5)
    y = upfirdn2d(row, taps[None, :].contiguous(), up=(up, 1), down=(down, 1), padding=(before, after, 0, 0), gain=gain)
    torch.testing.assert_close(y.flatten(), gain * expected[::down])


def test_downsampling_is_the_adjoint_of_upsampling():
    f = make_filter([1, 3, 3, 1]).double()
    x = torch.randn(1, 2, 8, 12, dtype=torch.float64)
    y = torch.randn(1, 2, 16, 24, dtype=torch.float64)
    torch.testing.assert_close((upsample2d(x, f) * y).sum(), 4 * (x * downsample2d(y, f)).sum())
