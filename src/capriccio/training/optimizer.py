"""Adam for one network, corrected for lazy regularisation, with gradients made finite and steps that can be skipped."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import torch
from torch import Tensor, nn

from capriccio.config import OptimizerConfig


def make_adam(
    parameters: Iterable[nn.Parameter], config: OptimizerConfig, *, lr: float, interval: int | None
) -> torch.optim.Adam:
    """Return Adam whose learning rate and decays account for the extra step every ``interval`` iterations.

    With k steps of the main phase for one of the regulariser, ρ = k/(k + 1) and lr·ρ, β1^ρ, β2^ρ leave the change per
    iteration what it would be without the extra step. ``interval`` None = no extra step.

    Source: StyleGAN2, appendix B ("lazy regularization").
    """
    ratio = 1.0 if interval is None else interval / (interval + 1)
    return torch.optim.Adam(
        [p for p in parameters if p.requires_grad],
        lr=lr * ratio,
        betas=(config.beta1**ratio if config.beta1 else 0.0, config.beta2**ratio),
        eps=config.eps,
        fused=True,
    )


def parameters_of(optimizer: torch.optim.Adam) -> list[Tensor]:
    """The parameters ``optimizer`` steps, in its order."""
    return [p for group in optimizer.param_groups for p in group["params"]]


@torch.no_grad()
def sanitize(gradients: Sequence[Tensor]) -> Tensor:
    """Replace NaN by 0 and ±inf by ±1e5 in place; return how many values were replaced, as a scalar on the device."""
    if gradients[0].device.type == "cpu":
        if bool(torch.stack(torch._foreach_norm(list(gradients))).isfinite().all()):
            # All finite, as nearly always: known after one pass instead of seven. A GPU would have to be waited for.
            return torch.zeros((), dtype=torch.float32)
        count = torch.zeros((), dtype=torch.float32)
        for gradient in gradients:
            count += (~gradient.isfinite()).sum()
            torch.nan_to_num(gradient, nan=0.0, posinf=1e5, neginf=-1e5, out=gradient)
        return count
    # On a GPU a hundred small tensors cost a hundred launches of every operation: put together, a handful.
    rows = [_in_memory_order(gradient) for gradient in gradients]
    flat = torch.cat([row.reshape(-1) for row in rows])
    count = (~flat.isfinite()).sum().float()
    torch.nan_to_num(flat, nan=0.0, posinf=1e5, neginf=-1e5, out=flat)
    parts = torch.split(flat, [row.numel() for row in rows])
    torch._foreach_copy_(rows, [part.view(row.shape) for part, row in zip(parts, rows, strict=True)])
    return count


def _in_memory_order(tensor: Tensor) -> Tensor:
    """Return ``tensor`` with its dimensions permuted so that flattening it copies nothing, if it is dense."""
    return tensor.permute(sorted(range(tensor.ndim), key=tensor.stride, reverse=True))
