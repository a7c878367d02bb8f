"""Plain numbers about a picture that have a name people use: how bright its sky is, how white its ground.

A direction that raises one of them needs no naming by eye: it is called what the number is called. Thresholds are soft,
so that a step in W changes the number a little.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from capriccio.errors import UsageError
from capriccio.wording import nearest

_WHITE_FROM, _WHITE_SOFTNESS = 0.62, 0.06
"""A pixel is half white where its darkest channel is this bright (0..1); the slope of that edge."""


@dataclass(frozen=True, slots=True)
class Statistic:
    """One number about a picture."""

    about: str
    """What it measures."""
    measure: Callable[[Tensor], Tensor]
    """Pictures [N, 3, H, W] in 0…1 to numbers [N]."""


@dataclass(frozen=True, slots=True)
class Name:
    """What people call a statistic in pictures of one kind."""

    statistic: str
    """Key of :data:`STATISTICS`."""
    about: str
    """What one sees when it rises, and when it falls."""


def _luma(x: Tensor) -> Tensor:
    return (x * x.new_tensor([0.299, 0.587, 0.114]).view(1, 3, 1, 1)).sum(dim=1)


def _upper(x: Tensor) -> Tensor:
    return x[..., : x.shape[-2] // 2, :]


def _lower(x: Tensor) -> Tensor:
    return x[..., x.shape[-2] // 2 :, :]


def _mean(x: Tensor) -> Tensor:
    return x.flatten(1).mean(dim=1)


def _warmth(x: Tensor) -> Tensor:
    return x[:, 0] - x[:, 2]


def _greenness(x: Tensor) -> Tensor:
    return x[:, 1] - (x[:, 0] + x[:, 2]) / 2


def _whiteness(x: Tensor) -> Tensor:
    return torch.sigmoid((x.amin(dim=1) - _WHITE_FROM) / _WHITE_SOFTNESS)


def _upright_detail(x: Tensor) -> Tensor:
    return _luma(x).diff(dim=2).abs()


STATISTICS: Mapping[str, Statistic] = {
    "lightness": Statistic("mean luma", lambda x: _mean(_luma(x))),
    "upper-lightness": Statistic("mean luma of the upper half", lambda x: _mean(_upper(_luma(x)))),
    "lower-lightness": Statistic("mean luma of the lower half", lambda x: _mean(_lower(_luma(x)))),
    "upper-warmth": Statistic("mean of red minus blue, upper half", lambda x: _mean(_upper(_warmth(x)))),
    "lower-coldness": Statistic("mean of blue minus red, lower half", lambda x: -_mean(_lower(_warmth(x)))),
    "lower-greenness": Statistic(
        "mean of green minus half of red and blue, lower half", lambda x: _mean(_lower(_greenness(x)))
    ),
    "lower-whiteness": Statistic("share of white pixels in the lower half", lambda x: _mean(_lower(_whiteness(x)))),
    "flatness": Statistic("minus the standard deviation of luma", lambda x: -_luma(x).flatten(1).std(dim=1)),
    "upper-detail": Statistic(
        "mean step of luma from a pixel to its right neighbour, upper half",
        lambda x: _mean(_upper(_upright_detail(x))),
    ),
    "saturation": Statistic(
        "mean of the largest minus the smallest channel", lambda x: _mean(x.amax(dim=1) - x.amin(dim=1))
    ),
}
"""All statistics by name."""

LANDSCAPES: Mapping[str, Name] = {
    "daylight": Name("upper-lightness", "+ a bright sky, - dusk and night"),
    "snow": Name("lower-whiteness", "+ snow and ice on the ground, - bare ground"),
    "sea": Name("lower-coldness", "+ water and cold ground, - dry and autumnal ground"),
    "warm-sky": Name("upper-warmth", "+ sunset, - blue sky"),
    "haze": Name("flatness", "+ haze that takes the contrast, - hard light"),
    "forest": Name("upper-detail", "+ trunks and crowns up to the top, - an open view"),
    "green": Name("lower-greenness", "+ fresh green ground, - none"),
    "colour": Name("saturation", "+ vivid colours, - grey"),
}
"""What the statistics are called in landscapes."""


def measure(images: Tensor, names: Sequence[str]) -> Tensor:
    """Return statistics of pictures.

    Args:
        images: [N, 3, H, W] in [−1, 1], at least 2×2 pixels.
        names: keys of :data:`STATISTICS`.

    Returns: [N, len(names)], float32.
    Raises: UsageError for a name that is not known, or pictures that are not RGB.
    """
    for name in names:
        if name not in STATISTICS:
            raise UsageError(f"'{name}' is not a statistic.{nearest(name, STATISTICS)} "
                             f"There are: {', '.join(STATISTICS)}.")  # fmt: skip
    if images.ndim != 4 or images.shape[1] != 3:
        raise UsageError(f"statistics are those of RGB pictures [N, 3, H, W], got {list(images.shape)}. "
                         "Factors and components are found in any network.")  # fmt: skip
    x = (images.float() + 1) / 2
    return torch.stack([STATISTICS[name].measure(x) for name in names], dim=1)
