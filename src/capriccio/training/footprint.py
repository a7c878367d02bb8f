"""What an iteration takes: parameters, arithmetic and memory, counted by running the phases on shapes alone.

The phases run on the meta device, where tensors have shapes and no contents: any network is counted in a second or two,
on any machine, without a formula that could disagree with the code.
"""

from __future__ import annotations

import weakref
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import flop_registry

from capriccio.config import RunConfig
from capriccio.networks.discriminator import Discriminator
from capriccio.networks.generator import Generator
from capriccio.training import losses

_FLOAT_BYTES = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class Footprint:
    """What one process needs."""

    generator_parameters: int
    discriminator_parameters: int
    flops_per_image: float
    """Floating point operations of a whole iteration per image, regularisers at their share; one multiply-add is 2."""
    state_bytes: int
    """Weights, their gradients, Adam's two moments, and the averaged generator."""
    phase_bytes: int
    """The most that one phase holds besides: activations and what their derivatives need."""

    @property
    def total_bytes(self) -> int:
        """State and the largest phase; the libraries themselves come on top."""
        return self.state_bytes + self.phase_bytes


def footprint(config: RunConfig, *, round_size: int, dtype: torch.dtype | None = None) -> Footprint:
    """Count what a run takes.

    Args:
        config: the run.
        round_size: pictures per process and round.
        dtype: precision of the highest levels; None = everything in float32.
    """
    with torch.device("meta"):
        generator, discriminator = Generator(config.generator), Discriminator(config.discriminator)
    for network in (generator, discriminator):
        network.set_precision(dtype)
    loss = config.loss
    phases = [(1.0, _generator_main), (1.0, _discriminator_main)]
    if loss.pl_weight > 0:
        phases.append((1 / (loss.pl_interval or 1), _path_length))
    if loss.r1_gamma > 0:
        phases.append((1 / (loss.r1_interval or 1), _r1))
    flops, peak = 0.0, 0
    for share, phase in phases:
        with _Count() as count:
            phase(config, generator, discriminator, round_size)
        for p in (*generator.parameters(), *discriminator.parameters()):
            p.grad = None
        flops += share * count.flops
        peak = max(peak, count.peak_bytes)
    num_g, num_d = _num_parameters(generator), _num_parameters(discriminator)
    return Footprint(
        generator_parameters=num_g,
        discriminator_parameters=num_d,
        flops_per_image=flops / round_size,
        state_bytes=_FLOAT_BYTES * (4 * (num_g + num_d) + num_g),
        phase_bytes=peak,
    )


def _num_parameters(network: nn.Module) -> int:
    return sum(p.numel() for p in network.parameters())


# ---- the phases, on shapes -------------------------------------------------------------------------------------------


def _generator_main(config: RunConfig, generator: Generator, discriminator: Discriminator, count: int) -> None:
    discriminator.requires_grad_(False)
    output = losses.generator_main(generator, discriminator, _generator_inputs(config, generator, count))
    torch.autograd.backward(output.loss)
    discriminator.requires_grad_(True)


def _discriminator_main(config: RunConfig, generator: Generator, discriminator: Discriminator, count: int) -> None:
    inputs = _generator_inputs(config, generator, count)
    output = losses.discriminator_main(generator, discriminator, inputs, _images(config, count), inputs.c)
    torch.autograd.backward(output.loss)


def _path_length(config: RunConfig, generator: Generator, discriminator: Discriminator, count: int) -> None:
    count = max(count // config.loss.pl_batch_shrink, 1)
    lengths, _ = losses.path_lengths(generator, _generator_inputs(config, generator, count), _images(config, count))
    torch.autograd.backward(lengths.sum())


def _r1(config: RunConfig, generator: Generator, discriminator: Discriminator, count: int) -> None:
    c = _generator_inputs(config, generator, count).c
    output = losses.r1_penalty(discriminator, _images(config, count), c, gamma=config.loss.r1_gamma)
    torch.autograd.backward(output.loss)


def _generator_inputs(config: RunConfig, generator: Generator, count: int) -> losses.GeneratorInputs:
    net = config.generator
    return losses.GeneratorInputs(
        z=_empty(count, net.z_dim),
        z_mix=_empty(count, net.z_dim),
        mixed_rows=torch.empty(net.num_ws, dtype=torch.bool, device="meta"),
        c=_empty(count, net.c_dim) if net.c_dim else None,
        noise=[_empty(count, 1, *size) for size in generator.synthesis.noise_shapes()],
    )


def _images(config: RunConfig, count: int) -> Tensor:
    shape = config.generator.shape
    return _empty(count, shape.channels, shape.height, shape.width)


def _empty(*size: int) -> Tensor:
    return torch.empty(size, device="meta")


class _Count(TorchDispatchMode):  # type: ignore[no-untyped-call]  # PyTorch has no types here
    """Counts the arithmetic of what runs inside it, and the most bytes of new tensors that were alive at once."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.flops = 0
        self.peak_bytes = 0
        self._bytes = 0
        self._known = weakref.WeakSet[torch.UntypedStorage]()

    def __torch_dispatch__(
        self, func: Any, types: Sequence[type], args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        """Run one operation and count it."""
        kwargs = kwargs or {}
        result = func(*args, **kwargs)
        formula = flop_registry.get(func.overloadpacket)
        if formula is not None:
            self.flops += formula(*args, **kwargs, out_val=result)
        for tensor in tree_leaves(result):
            if isinstance(tensor, Tensor):
                self._note(tensor.untyped_storage())
        return result

    def _note(self, storage: torch.UntypedStorage) -> None:
        if storage in self._known:
            return
        self._known.add(storage)
        size = storage.nbytes()
        self._bytes += size
        self.peak_bytes = max(self.peak_bytes, self._bytes)
        weakref.finalize(storage, self._forget, size)

    def _forget(self, size: int) -> None:
        self._bytes -= size
