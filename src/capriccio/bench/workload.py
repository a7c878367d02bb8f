"""What ``capriccio bench`` measures: the trainer and the averaged generator as `capriccio train` runs them."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor

from capriccio.bench.measure import IterationSeconds
from capriccio.bench.peak import synchronize
from capriccio.config import AugmentConfig, ImageShape, RunConfig
from capriccio.devices import tuned_libraries
from capriccio.latent.random_labels import NoLabels
from capriccio.presets import preset
from capriccio.processes import Processes
from capriccio.training.draws import PhaseName, SeededDraws
from capriccio.training.iteration import Batch, Phases, Trainer, compiled_phases
from capriccio.training.recording import choose_runner
from capriccio.training.state import new_state
from capriccio.training.statistics import Statistics


def bench_run(shape: ImageShape, *, channel_base: int, channel_max: int, mapping_depth: int, batch: int) -> RunConfig:
    """Return the run that is measured: latents of 512, skip generator, residual discriminator, batch in one round, no
    augmentation."""
    config = preset("auto", shape)
    generator = replace(
        config.generator,
        channel_base=channel_base,
        channel_max=channel_max,
        mapping=replace(config.generator.mapping, num_layers=mapping_depth),
    )
    discriminator = replace(
        config.discriminator, channel_base=channel_base, channel_max=channel_max, mbstd_group_size=min(batch, 4)
    )
    return replace(
        config,
        generator=generator,
        discriminator=discriminator,
        batch=batch,
        batch_per_round=batch,
        augment=AugmentConfig(),
    )


class TrainingWorkload:
    """Iterations on random pictures, and generation from random latents."""

    def __init__(self, config: RunConfig, device: torch.device, dtype: torch.dtype | None) -> None:
        self._config = config
        self._device = device
        self._state = new_state(config, device)
        for network in (self._state.generator, self._state.discriminator, self._state.generator_ema):
            network.set_precision(dtype)
        self._clock = _PhaseClock(device)
        self._dtype = dtype
        # As training does: work recorded where that is possible.
        self._runner = choose_runner(config.cuda_graphs, device, Processes())
        self._trainer = Trainer(
            config,
            Processes(),
            compiled_phases() if config.compile else Phases(),
            Statistics(device),
            after_phase=self._clock.note_gradients,
            runner=self._runner,
            clock=self._clock,
        )
        rng = torch.Generator().manual_seed(config.seed)
        shape, net = config.generator.shape, config.generator
        reals = torch.rand(config.batch, shape.channels, shape.height, shape.width, generator=rng) * 2 - 1
        self._batch = Batch(reals.to(device), None)
        self._z = torch.randn(config.batch, net.z_dim, generator=rng).to(device)

    @property
    def batch(self) -> int:
        """Images per iteration and per call of :meth:`generate`."""
        return self._config.batch

    def train(self) -> IterationSeconds:
        """Run one iteration in which both regularisers are due."""
        state = self._state
        state.iteration = 0
        draws = SeededDraws.of_run(self._config, state, NoLabels(), device=self._device)
        self._clock.start()
        with tuned_libraries(self._device, self._dtype):
            self._trainer.run(state, self._batch, draws, round_size=self.batch)
        return self._clock.stop()

    @torch.no_grad()
    def generate(self) -> None:
        """Generate one batch with the averaged generator, latents to images."""
        generator = self._state.generator_ema
        self._runner("generate", lambda z: generator(z), (self._z,), ())


class _PhaseClock:
    """Times every phase to the end of its work on the device, its optimiser step apart."""

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._start = self._began = self._step_start = self._last = 0.0
        self._phases: dict[str, float] = {}
        self._optimizer: dict[str, float] = {}

    def start(self) -> None:
        """Begin an iteration."""
        self._phases, self._optimizer = {}, {}
        self._start = self._now()

    def begin_phase(self, name: PhaseName) -> None:
        """Begin a phase."""
        self._began = self._now()

    def note_gradients(self, name: PhaseName, parameters: Sequence[Tensor]) -> None:
        """Gradients are ready; what follows is the optimiser."""
        self._step_start = self._now()

    def end_phase(self, name: PhaseName) -> None:
        """End a phase."""
        self._last = self._now()
        self._phases[name] = self._last - self._began
        self._optimizer[name] = self._last - self._step_start

    def stop(self) -> IterationSeconds:
        """End the iteration; what came after the last phase is the average."""
        end = self._now()
        return IterationSeconds(end - self._start, self._phases, self._optimizer, end - self._last)

    def _now(self) -> float:
        synchronize(self._device)
        return time.perf_counter()
