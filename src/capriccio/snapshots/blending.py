"""Blending: the levels of one network, some of them taken from a relative or moved towards it.

Coarse levels carry layout and fine ones texture, so that a network fine-tuned on other pictures lends its textures to
the first one's compositions, or the other way round. Idea: Pinkney and Adler 2020 (layer swapping).

It works between *relatives* only: networks of which one was trained on from the other, or both from a third. Their
feature channels mean the same; those of networks that began from different random weights do not, and what one level
hands up the next could not read. Kinship is measured, not believed: fine-tuning turns weights little (the cosine of a
layer's weights stays above 0.95 over 90,000 images and over a change of subject), while in thousands of dimensions
weights from different beginnings stay at right angles however long both are trained (within 0.08 of 0). The measurement
is in docs/editing.md.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from capriccio.config import GeneratorConfig, to_dict
from capriccio.errors import SnapshotError, UsageError
from capriccio.networks.generator import Generator
from capriccio.provenance import both_licences, code_version
from capriccio.snapshots.snapshot import Snapshot, SnapshotFacts, model_hash

KIN_FROM = 0.5
"""Cosine of weights from which two networks are relatives; these have 0.95 and more, strangers about 0."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Shares:
    """How much of the second network goes into each part: 0 = none, 1 = all."""

    levels: Mapping[int, float]
    """Share by level, such as ``{4: 0, 8: 0, 16: 0.5, 32: 1}``; every level of the network."""
    mapping: float = 0.0
    """Share of the mapping network, with the mean of W; 0 keeps what a seed's composition is."""

    def __post_init__(self) -> None:
        named = {f"level {level}": share for level, share in self.levels.items()}
        for where, share in {**named, "the mapping": self.mapping}.items():
            if not (math.isfinite(share) and 0 <= share <= 1):
                raise UsageError(f"the share of {where} must lie in 0..1, got {share}.")
        if not any([*self.levels.values(), self.mapping]):
            raise UsageError("nothing comes from the second network; give a level a share above 0.")


def swapped_from(level: int, levels: tuple[int, ...], mapping: float = 0.0) -> Shares:
    """Return the shares that take ``level`` and all finer ones from the second network.

    Raises: UsageError if the networks have no such level.
    """
    if level not in levels:
        raise UsageError(f"level {level} is not there; these networks have {', '.join(map(str, levels))}.")
    return Shares(levels={one: float(one >= level) for one in levels}, mapping=mapping)


def kinship(a: Generator, b: Generator) -> dict[int, float]:
    """Return the smallest cosine of a convolution's or style's weights, −1…1, by level.

    The smallest, because one layer whose channels mean something else is enough to lose the picture.

    Raises: SnapshotError if the networks are built differently; it lists the settings that differ.
    """
    ours, theirs = _structure(a.config), _structure(b.config)
    differing = [f"{key} {ours[key]} and {theirs[key]}" for key in ours if ours[key] != theirs[key]]
    if differing:
        raise SnapshotError(f"they are no relatives: built differently ({'; '.join(differing)}).")
    found = {}
    for level in a.config.shape.levels:
        pair = [_weights(network.synthesis.blocks[str(level)]) for network in (a, b)]
        found[level] = min(float(F.cosine_similarity(mine, theirs, dim=0)) for mine, theirs in zip(*pair, strict=True))
    return found


def blend(a: Snapshot, b: Snapshot, shares: Shares) -> Snapshot:
    """Return a network whose parts are (1 − share)·A + share·B, without a discriminator.

    No discriminator has judged such pictures, and none of what was measured of A or B holds for them: calibration and
    statistics stay behind; the card says what was blended, and both licences apply.

    Raises: SnapshotError if A and B are no relatives, with the reason; UsageError if they are the same network, or
        ``shares`` does not name exactly their levels.
    """
    levels = a.generator.config.shape.levels
    close = kinship(a.generator, b.generator)
    if sorted(shares.levels) != sorted(levels):
        raise UsageError(f"shares are those of levels {', '.join(map(str, levels))}, "
                         f"got {', '.join(map(str, sorted(shares.levels)))}.")  # fmt: skip
    worst = min(close, key=lambda level: close[level])
    if close[worst] < KIN_FROM:
        raise SnapshotError(
            f"they are no relatives: weights of level {worst} have a cosine of {close[worst]:.2f}, relatives at "
            f"least {KIN_FROM:g} (most above 0.95). Blend networks of which one was trained on from the other."
        )
    hashes = model_hash(a.generator), model_hash(b.generator)
    if hashes[0] == hashes[1]:
        raise UsageError(f"both are the same network ({hashes[0]}); there is nothing to blend.")
    mixed = copy.deepcopy(a.generator)
    for level, share in shares.levels.items():
        _move(mixed.synthesis.blocks[str(level)], b.generator.synthesis.blocks[str(level)], share)
    _move(mixed.mapping, b.generator.mapping, shares.mapping)
    return Snapshot(generator=mixed, discriminator=None, facts=_facts(a.facts, b.facts, hashes, shares))


def _structure(config: GeneratorConfig) -> dict[str, Any]:
    """Return the settings that say what weights mean; not those of training, of number formats, or of their limits."""
    values = to_dict(config)
    mapping = {f"mapping.{name}": value for name, value in values.pop("mapping").items() if name != "w_avg_beta"}
    for name in ("channel_base", "channel_max", "num_fp16_res", "conv_clamp"):
        del values[name]
    maps = [config.channels_at(level) for level in config.shape.levels]
    return {**values, **mapping, "shape": str(config.shape), "feature maps": maps}


def _weights(block: nn.Module) -> list[Tensor]:
    """Return the weights of a block that have enough entries to tell, each in one row.

    Biases all begin alike, at 0 or 1; a toRGB has three numbers a channel and turns most.
    """
    named = [(name, value) for name, value in block.named_parameters() if name.endswith("weight")]
    return [value.detach().flatten().cpu().double() for name, value in named if name != "to_rgb.weight"]


@torch.no_grad()
def _move(mine: nn.Module, theirs: nn.Module, share: float) -> None:
    for (name, tensor), other in zip(mine.state_dict().items(), theirs.state_dict().values(), strict=True):
        other = other.to(tensor)
        if name.endswith("noise_const"):  # between two noise maps lies a weaker one
            tensor.copy_(other if share >= 0.5 else tensor)
        else:
            tensor.copy_(torch.lerp(tensor, other, share))


def _facts(a: SnapshotFacts, b: SnapshotFacts, hashes: tuple[str, str], shares: Shares) -> SnapshotFacts:
    record: dict[str, Any] = {
        "of": list(hashes),
        "titles": [facts.card.get("title", "") for facts in (a, b)],
        "data": [facts.data.get("name", "") for facts in (a, b)],
        "share_of_second": {str(level): share for level, share in sorted(shares.levels.items())},
        "share_of_second_mapping": shares.mapping,
    }
    return SnapshotFacts(
        nimg=max(a.nimg, b.nimg),
        data=a.data if a.data == b.data else {},
        licence=a.licence if a.licence == b.licence else both_licences(a.licence, b.licence),
        software=f"capriccio {code_version()}",
        card={"title": "Blend", "blend": record},
    )
