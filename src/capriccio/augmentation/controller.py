"""How strongly to augment: p follows the discriminator's overfitting, or stays where it was put.

Source: the ADA paper, section 3: r_t is the mean sign of the discriminator's output at real pictures. It rises when
the discriminator recognises the training pictures one by one; more augmentation brings it down.
"""

from __future__ import annotations

import torch
from torch import Tensor

from capriccio.augmentation.pipes import LIGHT_P, adaptation_kimg
from capriccio.config import AugmentConfig

SATURATION_MOVE = 0.05
"""p counts as saturated after as many images at its cap as would otherwise have moved it this far."""


class AdaController:
    """The strength p of a run. In mode `ada` it is steered, in the others it is a constant."""

    def __init__(self, config: AugmentConfig, device: torch.device) -> None:
        self.config = config
        self.adapted_p = config.initial_p
        """p of mode `ada`: remembered in checkpoints, unused in the other modes."""
        self.signs = torch.zeros(2, dtype=torch.float32, device=device)
        """Sum and number of the signs since the last adjustment, of this process; whole numbers, so exact."""
        self.capped_since_nimg: int | None = None
        """Where p reached its cap and has stayed; None = it is below."""

    @property
    def is_adaptive(self) -> bool:
        """Whether p is steered."""
        return self.config.mode == "ada"

    @property
    def p(self) -> float:
        """Probability of every transformation, before its multiplier."""
        return {"none": 0.0, "ada": self.adapted_p, "fixed": self.config.p, "light": LIGHT_P}[self.config.mode]

    def note(self, signs: Tensor) -> None:
        """Collect the signs of the discriminator's outputs at real pictures, if p is steered; waits for no device."""
        if not self.is_adaptive:
            return
        finite = signs.isfinite()
        self.signs += torch.stack([torch.where(finite, signs, 0.0).sum(), finite.sum()])

    def adjust(self, signs: Tensor, *, batch: int, nimg: int) -> None:
        """Move p one step towards the target, after ``interval`` iterations, and forget the signs.

        Args:
            signs: :attr:`signs`, summed over all processes.
            batch: pictures per iteration.
            nimg: images shown to the discriminator until now.
        """
        config = self.config
        total, count = signs.tolist()
        self.signs.zero_()
        if count == 0:
            return
        excess = total / count - config.target
        step = batch * config.interval / (adaptation_kimg(config) * 1000)
        moved = self.adapted_p + (step if excess > 0 else -step if excess < 0 else 0.0)
        self.adapted_p = min(max(moved, 0.0), config.cap)
        if self.adapted_p < config.cap:
            self.capped_since_nimg = None
        elif self.capped_since_nimg is None:
            self.capped_since_nimg = nimg

    def capped_nimg(self, nimg: int) -> int:
        """Return for how many images p has stood at its cap."""
        return 0 if self.capped_since_nimg is None else nimg - self.capped_since_nimg

    def saturates_between(self, before_nimg: int, nimg: int) -> bool:
        """Return whether p came to count as saturated after ``before_nimg`` and not after ``nimg``."""
        patience = SATURATION_MOVE * adaptation_kimg(self.config) * 1000
        return self.capped_nimg(before_nimg) < patience <= self.capped_nimg(nimg)
