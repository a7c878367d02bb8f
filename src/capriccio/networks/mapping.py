"""The mapping network: a Gaussian latent z, and a label, to the intermediate latent w."""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import Tensor, nn

from capriccio.config import MappingConfig
from capriccio.networks.layers import EqualizedLinear
from capriccio.ops.activation import normalize_second_moment


class MappingNetwork(nn.Module):
    """z [N, z_dim] and c [N, c_dim] to w [N, w_dim].

    The generator's keeps ``w_avg``, the running mean of w that truncation moves towards. It is changed only by
    :meth:`track`, outside the forward pass: a forward pass that changes a buffer could be neither differentiated
    functionally nor repeated.

    Source: StyleGAN, section 2; the label embedding is that of StyleGAN2-ADA.
    """

    w_avg: Tensor | None

    def __init__(self, config: MappingConfig, *, z_dim: int, c_dim: int, w_dim: int, has_w_avg: bool) -> None:
        super().__init__()
        embed_dim = (w_dim if config.embed_dim is None else config.embed_dim) if c_dim else 0
        hidden_dim = w_dim if config.hidden_dim is None else config.hidden_dim
        widths = [z_dim + embed_dim, *[hidden_dim] * (config.num_layers - 1), w_dim]
        self.z_dim = z_dim
        self.w_avg_beta = config.w_avg_beta
        self.joins_labels = config.labels == "joined"
        self.embed = EqualizedLinear(c_dim, embed_dim) if c_dim else None
        self.layers = nn.ModuleList(
            EqualizedLinear(i, o, activation=config.activation, lr_multiplier=config.lr_multiplier)
            for i, o in pairwise(widths)
        )
        self.register_buffer("w_avg", torch.zeros(w_dim) if has_w_avg else None)

    def forward(self, z: Tensor | None, c: Tensor | None = None) -> Tensor:
        """Return w, [N, w_dim], float32.

        Args:
            z: latents [N, z_dim]; None when the network maps labels only.
            c: labels [N, c_dim]; None when unconditional.
        """
        parts = []
        if self.z_dim and z is not None:
            parts.append(z.float())
        if self.embed is not None:
            assert c is not None, "a conditional network needs labels"
            parts.append(self.embed(c.float()))
        if self.joins_labels:
            x = normalize_second_moment(torch.cat(parts, dim=1))
        else:
            x = torch.cat([normalize_second_moment(part) for part in parts], dim=1)
        for layer in self.layers:
            x = layer(x)
        return x

    @torch.no_grad()
    def track(self, w_mean: Tensor) -> None:
        """Move ``w_avg`` towards the batch mean ``w_mean`` [w_dim] of un-truncated, un-mixed w."""
        assert self.w_avg is not None
        self.w_avg.copy_(torch.lerp(w_mean, self.w_avg, self.w_avg_beta))
