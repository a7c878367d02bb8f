"""Pictures to latents: choose the method, work in batches, stop after any step, keep what was found."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import torch
from torch import Tensor

from capriccio.data.cache import cache_folder
from capriccio.errors import SnapshotError, UsageError
from capriccio.inversion.curvature import Curvature, curvature_of
from capriccio.inversion.fast import FastProjector, FastSettings
from capriccio.inversion.official import OfficialProjector, OfficialSettings
from capriccio.inversion.problem import Problem, Step
from capriccio.inversion.projection import Projection, ProjectionSettings, joined
from capriccio.inversion.targets import find_pictures, open_targets, to_images
from capriccio.inversion.w_statistics import WStatistics, w_statistics
from capriccio.loading.model import Model
from capriccio.networks.encoder import Encoder
from capriccio.perception.discriminator import DiscriminatorDistance
from capriccio.perception.protocols import PerceptualDistance
from capriccio.progress import Progress

OnStep = Callable[[Step], None]
"""Called after every step; whatever it raises stops the projection."""

DEFAULT_BATCH = 16


def default_distance(model: Model) -> PerceptualDistance:
    """Return the distance that needs no file: by the model's own discriminator.

    Raises: SnapshotError if the snapshot has none.
    """
    if model.discriminator is None:
        raise SnapshotError(
            "this snapshot has no discriminator to compare pictures with (it is slim); use the full one, or name "
            "another distance: --distance vgg or squeeze with --weights."
        )
    return DiscriminatorDistance(model.discriminator, model.device)


class Projector:
    """Projects batches of pictures into one model; its statistics of W are taken once."""

    def __init__(
        self,
        model: Model,
        settings: ProjectionSettings | None = None,
        *,
        distance: PerceptualDistance | None = None,
        c: Tensor | None = None,
        encoder: Encoder | None = None,
        cache_dir: Path | None = None,
        progress: Progress | None = None,
    ) -> None:
        """Prepare it.

        Args:
            model: the network.
            settings: how.
            distance: what tells how near a reconstruction is; None = by the model's own discriminator.
            c: one label [1, c_dim].
            encoder: makes the first guesses; None = the model's own, if it has one.
            cache_dir: where the curvature of models lies that carry no encoder; None = $CAPRICCIO_CACHE or the user's.
            progress: called with (done, total) while the curvature is measured, which is done once for a network.

        Raises: UsageError if the model is conditional and no label is given; SnapshotError if it has no discriminator
            and no distance is given.
        """
        if model.c_dim and c is None:
            raise UsageError(f"this model is conditional: give a class 0..{model.c_dim - 1} (--class).")
        self.model = model
        self.encoder = encoder or model.encoder
        self.settings = settings or ProjectionSettings()
        self.distance = distance or default_distance(model)
        self.statistics: WStatistics = w_statistics(model.generator, c)
        self.curvature: Curvature | None = None
        if self.settings.method == "fast":
            self.curvature = curvature_of(model, self.statistics, cache_folder(cache_dir), self.encoder, c, progress)

    def start(self, targets: Tensor, masks: Tensor | None = None) -> RunningProjection:
        """Begin to project pictures [N, C, H, W] in −1…1; masks [N, 1, H, W] in 0…1 say which pixels count."""
        return RunningProjection(self, targets, masks)

    def project(self, targets: Tensor, masks: Tensor | None = None, on_step: OnStep | None = None) -> Projection:
        """Project pictures to the end; see :meth:`start`."""
        running = self.start(targets, masks)
        for step in running:
            if on_step is not None:
                on_step(step)
        return running.result()


class RunningProjection:
    """A projection that can be watched, and abandoned after any step with what was found so far."""

    def __init__(self, projector: Projector, targets: Tensor, masks: Tensor | None) -> None:
        self._projector = projector
        self._started = time.monotonic()
        device, s = projector.model.device, projector.settings
        self._problem = Problem(
            generator=projector.model.generator,
            distance=projector.distance,
            targets=targets.to(device, torch.float32),
            masks=None if masks is None else masks.to(device, torch.float32),
        )
        self._history: list[Tensor] = []
        self._worker: FastProjector | OfficialProjector
        if s.method == "official":
            constants = OfficialSettings(num_steps=s.num_steps or OfficialSettings().num_steps, seed=s.seed)
            self._worker = OfficialProjector(self._problem, projector.statistics, constants)
        else:
            fast = FastSettings(
                num_steps=s.num_steps,
                num_restarts=s.num_restarts,
                rows=s.space,
                optimize_noise=s.optimize_noise,
                num_descent_steps=s.num_descent_steps,
                seed=s.seed,
            )
            assert projector.curvature is not None
            self._worker = FastProjector(
                self._problem, projector.statistics, projector.curvature, fast, projector.encoder
            )

    def __iter__(self) -> Iterator[Step]:
        """Take the steps."""
        steps = self._worker.steps()
        while True:
            # Weights are frozen only while a step runs: between steps the model is free for others.
            with frozen(self._projector.model), torch.enable_grad():
                step = next(steps, None)
            if step is None:
                return
            self._history.append(step.distances.clone())
            yield step

    @torch.no_grad()
    def result(self) -> Projection:
        """Return what was found so far, painted and measured anew."""
        projector, problem, worker = self._projector, self._problem, self._worker
        ws, noise = worker.ws, worker.noise
        images = problem.paint(ws, noise).clamp(-1, 1)
        return Projection(
            ws=ws.detach().clone(),
            noise={} if noise is None else dict(zip(projector.model.noise_names, _planes(noise), strict=True)),
            images=images,
            distances=problem.distances(problem.shown(images), problem.goal()),
            history=self._history,
            distance=projector.distance.card,
            model_hash=projector.model.model_hash,
            licence=projector.model.licence,
            settings=projector.settings,
            seconds=time.monotonic() - self._started,
        )


def project(
    model: Model,
    pictures: Tensor | str | Path | Sequence[str | Path],
    settings: ProjectionSettings | None = None,
    *,
    distance: PerceptualDistance | None = None,
    masks: Tensor | None = None,
    c: Tensor | None = None,
    batch: int = DEFAULT_BATCH,
    on_step: OnStep | None = None,
) -> Projection:
    """Find the latents of pictures.

    Args:
        model: the network.
        pictures: [N, C, H, W] of the model's shape, −1…1, or files and folders, which are cut and resized to it.
        settings: method, space, steps.
        distance: what is made small; None = by the model's own discriminator.
        masks: which pixels count, 0…1, [N, 1, H, W]; None = all.
        c: label [1, c_dim] of a conditional model.
        batch: pictures at once; no result depends on it.
        on_step: called after every step of every batch.

    Raises: ShapeError if pictures do not fit the model; UsageError for a file that cannot be used; UsageError and
        SnapshotError as :class:`Projector`.
    """
    if not isinstance(pictures, Tensor):
        files = [pictures] if isinstance(pictures, str | Path) else pictures
        if not isinstance(files, Sequence) or not all(isinstance(file, str | Path) for file in files):
            raise UsageError(
                f"pictures to project are a tensor [N, C, H, W] in −1…1, or files, got {type(pictures).__name__}."
            )
        pictures = _opened(files, model)
    if batch < 1 or not len(pictures):
        raise UsageError("project needs at least one picture and a batch of at least 1.")
    projector = Projector(model, settings, distance=distance, c=c)
    parts = [
        projector.project(pictures[i : i + batch], None if masks is None else masks[i : i + batch], on_step)
        for i in range(0, len(pictures), batch)
    ]
    return joined(parts)


def _opened(files: Sequence[str | Path], model: Model) -> Tensor:
    targets = list(open_targets(find_pictures(files), model.shape))
    if bad := next((target for target in targets if target.pixels is None), None):
        raise UsageError(f"'{bad.path}' {bad.problem}.")
    return to_images([target.pixels for target in targets if target.pixels is not None])


def _planes(noise: Sequence[Tensor]) -> list[Tensor]:
    return [n.detach()[:, 0].clone() for n in noise]


@contextmanager
def frozen(model: Model) -> Iterator[None]:
    """Let no weight of a model ask for gradients meanwhile: projections need those of latents alone."""
    networks = [n for n in (model.generator, model.discriminator) if n is not None]
    wanting = [p for network in networks for p in network.parameters() if p.requires_grad]
    for parameter in wanting:
        parameter.requires_grad_(False)
    try:
        yield
    finally:
        for parameter in wanting:
            parameter.requires_grad_()
