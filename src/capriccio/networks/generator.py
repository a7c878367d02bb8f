"""The generator: mapping and synthesis network."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from capriccio.config import FormsConfig, GeneratorConfig
from capriccio.networks.forms import set_forms
from capriccio.networks.mapping import MappingNetwork
from capriccio.networks.synthesis import NoiseInput, SynthesisNetwork
from capriccio.ops.truncation import truncate


class Generator(nn.Module):
    """z [N, z_dim], c [N, c_dim] → images [N, C, H, W].

    Source: StyleGAN2 (Karras et al. 2020).
    """

    def __init__(self, config: GeneratorConfig) -> None:
        super().__init__()
        self.config = config
        self.mapping = MappingNetwork(
            config.mapping, z_dim=config.z_dim, c_dim=config.c_dim, w_dim=config.w_dim, has_w_avg=True
        )
        self.synthesis = SynthesisNetwork(config)

    @property
    def num_ws(self) -> int:
        """Number of latent rows."""
        return self.synthesis.num_ws

    @property
    def w_avg(self) -> Tensor:
        """The running mean of w, [w_dim]."""
        assert self.mapping.w_avg is not None
        return self.mapping.w_avg

    def ws(self, z: Tensor, c: Tensor | None = None, *, psi: float | Tensor = 1.0, cutoff: int | None = None) -> Tensor:
        """Map z to latent rows, all equal before truncation.

        Args:
            z: latents, [N, z_dim].
            c: labels, [N, c_dim]; None when unconditional.
            psi: fraction of the distance to ``w_avg`` that remains; 1 = no truncation.
                A scalar tensor stays an input of graphs that are exported.
            cutoff: how many rows are truncated, counted from the coarsest, 0..num_ws; None = all.

        Returns: [N, num_ws, w_dim], float32.
        Raises: UsageError if ``cutoff`` is out of range.
        """
        w = self.mapping(z, c)
        return truncate(w[:, None].expand(-1, self.num_ws, -1), self.w_avg, psi=psi, cutoff=cutoff)

    def forward(
        self,
        z: Tensor,
        c: Tensor | None = None,
        *,
        psi: float | Tensor = 1.0,
        cutoff: int | None = None,
        noise: NoiseInput = "const",
    ) -> Tensor:
        """Paint latents.

        Args:
            z: latents, [N, z_dim].
            c: labels, [N, c_dim]; None when unconditional.
            psi: fraction of the distance to ``w_avg`` that remains; 1 = no truncation.
            cutoff: how many rows are truncated, counted from the coarsest, 0..num_ws; None = all.
            noise: the stored maps ("const"), none ("none"), or one map [N or 1, 1, H, W] for each layer.

        Returns: images, [N, C, H, W], float32, about −1…1.
        Raises: UsageError if ``cutoff`` is out of range.
        """
        images: Tensor = self.synthesis(self.ws(z, c, psi=psi, cutoff=cutoff), noise)
        return images

    def draw_noise(
        self, count: int, rng: torch.Generator | None = None, device: torch.device | None = None
    ) -> list[Tensor]:
        """Draw fresh noise maps N(0, 1), [count, 1, H, W] for each layer, from ``rng`` on its device."""
        source = rng.device if rng is not None else device
        maps = [torch.randn(count, 1, *size, generator=rng, device=source) for size in self.synthesis.noise_shapes()]
        return [m.to(device) for m in maps] if device is not None else maps

    def set_precision(self, dtype: torch.dtype | None) -> None:
        """Run the highest levels in ``dtype``; None = everything in float32."""
        self.synthesis.set_precision(dtype)

    @contextmanager
    def in_float32(self) -> Iterator[None]:
        """Compute everything in float32 meanwhile."""
        before = self.synthesis.low_precision
        self.set_precision(None)
        try:
            yield
        finally:
            self.set_precision(before)

    def set_forms(self, forms: FormsConfig) -> None:
        """Compute in these of several equal forms; results differ in rounding only."""
        set_forms(self, forms)
