"""The network that a run starts from, if it does not start from random numbers."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from capriccio.config import RunConfig
from capriccio.interop.foreign import read_network
from capriccio.loading.model import find_snapshot
from capriccio.networks.discriminator import Discriminator
from capriccio.networks.generator import Generator
from capriccio.training.state import TrainingState
from capriccio.training.transfer import continue_from_snapshot, continued_snapshot, init_from_snapshot


@dataclass(frozen=True)
class Origin:
    """The networks that a run starts from, if not from random numbers."""

    init_from: str | None
    continue_from: str | None

    def check(self, config: RunConfig) -> None:
        """Read them, to raise now what :meth:`begin` would raise later."""
        if self.continue_from is not None:
            with torch.device("meta"):
                networks = Generator(config.generator), Discriminator(config.discriminator)
            continued_snapshot(find_snapshot(self.continue_from), *networks)
        elif self.init_from is not None:
            read_network(find_snapshot(self.init_from))

    def begin(self, state: TrainingState) -> list[str]:
        """Let ``state`` start from them; return lines for the log."""
        if self.continue_from is not None:
            return continue_from_snapshot(find_snapshot(self.continue_from), state)
        return [] if self.init_from is None else init_from_snapshot(find_snapshot(self.init_from), state)
