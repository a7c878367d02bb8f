"""A network out of settings and tensors of a file: planned without memory, compared, then made and filled.

Settings and shapes come from files and may claim anything. What they claim is compared with the tensors that are there
before it costs memory or time.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TypeVar

import torch
from torch import Tensor

from capriccio.config import DiscriminatorConfig, GeneratorConfig
from capriccio.errors import CapriccioError, SnapshotError
from capriccio.networks.discriminator import Discriminator
from capriccio.networks.encoder import Encoder, EncoderConfig
from capriccio.networks.generator import Generator

_SHOWN = 8
_Network = TypeVar("_Network", Generator, Discriminator, Encoder)


def filled(
    kind: type[_Network],
    config: GeneratorConfig | DiscriminatorConfig | EncoderConfig,
    tensors: Mapping[str, Tensor],
    name_in_file: Callable[[str], str] = str,
) -> _Network:
    """Return the network of ``config`` whose tensors are all of ``tensors``, in evaluation mode and float32.

    Args:
        kind: Generator, Discriminator or Encoder.
        config: its settings.
        tensors: by their names in the file; copied.
        name_in_file: gives the name in the file of a tensor that we call otherwise.

    Raises: SnapshotError listing what is missing, too many, or shaped otherwise; or if no such network can be built.
    """
    what = kind.__name__.lower()
    depth = 0
    if isinstance(config, GeneratorConfig) or (
        isinstance(config, DiscriminatorConfig) and config.c_dim and config.mapping.labels == "embedded"
    ):
        depth = config.mapping.num_layers
    if depth > len(tensors):
        raise SnapshotError(f"its {what} has fewer tensors than its mapping network is said to have layers ({depth}).")
    try:
        with torch.device("meta"):
            plan = kind(config)  # type: ignore[arg-type]  # each kind takes a configuration of its own
    except (CapriccioError, RuntimeError, OverflowError, ZeroDivisionError, ValueError, IndexError) as error:
        raise SnapshotError(f"its {what} cannot be built ({str(error).splitlines()[0]}).") from error
    wanted = {name_in_file(name): tuple(tensor.shape) for name, tensor in plan.state_dict().items()}
    problems = [f"{name} {list(shape)} is missing" for name, shape in wanted.items() if name not in tensors]
    problems += [f"{name} {list(tensors[name].shape)} is not wanted" for name in sorted(tensors) if name not in wanted]
    problems += [
        f"{name} is {list(tensors[name].shape)} instead of {list(shape)}"
        for name, shape in wanted.items()
        if name in tensors and tuple(tensors[name].shape) != shape
    ]
    if problems:
        more = f" and {len(problems) - _SHOWN} more" if len(problems) > _SHOWN else ""
        raise SnapshotError(f"its {what} does not have the tensors of StyleGAN2: {'; '.join(problems[:_SHOWN])}{more}.")
    network = kind(config)  # type: ignore[arg-type]
    with torch.no_grad():
        for name, tensor in network.state_dict().items():
            tensor.copy_(tensors[name_in_file(name)])
    return network.eval().requires_grad_(False)
