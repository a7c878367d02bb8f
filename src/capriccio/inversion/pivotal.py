"""Pivotal tuning: the network itself is moved a little, so that a photograph's latent paints the photograph.

A projection into W finds the picture of the network that comes nearest; a photograph is never quite among them. With
that latent held fixed, the pivot, the weights of the synthesis network are fine-tuned until it paints the photograph.
Around the pivot the network is held to what it painted before, so that editing still works and other pictures stay.
The network is never touched: what comes out is a small :class:`~capriccio.snapshots.tuning.Tuning`.

Source: Roich, Mokady, Bermano, Cohen-Or 2021 ("Pivotal Tuning for Latent-based Editing of Real Images"), sections 3.2
and 3.3. Here the distance is that of the projection, the radius is in spreads of W, and the change is stored small.
"""

from __future__ import annotations

import copy
import math
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass

import torch
from torch import Tensor

from capriccio.errors import UsageError
from capriccio.inversion.problem import Problem, Step
from capriccio.inversion.project import OnStep, default_distance, frozen
from capriccio.inversion.projection import Projection
from capriccio.inversion.w_statistics import w_statistics
from capriccio.latent.files import Latents
from capriccio.latent.streams import stream
from capriccio.loading.model import Model
from capriccio.networks.generator import Generator
from capriccio.perception.protocols import NetworkCard, PerceptualDistance
from capriccio.snapshots.tuning import Tuning, WeightChange

RANKS = (4, 8, 12, 16, 24, 32, 48, 64)
"""Ranks tried for the change of a weight, the smallest first."""

_RAMPDOWN = 0.3
"""Share of the steps over which the learning rate falls to 0."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TuningSettings:
    """How the network is tuned."""

    num_steps: int = 200
    """Steps of Adam for each batch of pictures."""
    learning_rate: float = 0.001
    """The highest one."""
    pixel_weight: float = 10.0
    """Weight of the mean squared difference of pixels beside the distance."""
    locality: float = 0.3
    """Weight of staying what it was around the pivot; 0 = free, nearer to the picture and worse to edit."""
    locality_radius: float = 0.75
    """How far from the pivot that is asked, in spreads of W."""
    tolerance: float = 0.05
    """Share of what tuning gained that storing it at low rank may cost; 0 = every number is stored."""
    batch: int = 16
    """Pictures of one step, where several share a tuning."""
    seed: int = 0
    """Of the latents around the pivot."""

    def __post_init__(self) -> None:
        for name in ("num_steps", "batch"):
            if getattr(self, name) < 1:
                raise UsageError(f"tuning: {name} must be at least 1, got {getattr(self, name)}.")
        if not (self.learning_rate > 0 and math.isfinite(self.learning_rate)):
            raise UsageError(f"tuning: learning_rate must be a positive number, got {self.learning_rate}.")
        for name in ("pixel_weight", "locality", "locality_radius", "tolerance"):
            if not (getattr(self, name) >= 0 and math.isfinite(getattr(self, name))):
                raise UsageError(f"tuning: {name} must be a number of at least 0, got {getattr(self, name)}.")


@dataclass(frozen=True, slots=True, kw_only=True)
class Tuned:
    """What tuning brought."""

    tuning: Tuning
    """The change of the network, to be saved beside the latents."""
    model: Model
    """The tuned network, as it is stored."""
    images: Tensor
    """What it paints of the pivots, −1…1, [N, C, H, W]."""
    distances: Tensor
    """Distance of each from its picture, [N]."""
    distances_before: Tensor
    """The same before tuning, [N]."""
    distance: NetworkCard
    """Which distance it is."""
    rank: int | None
    """At which the change is stored; None = every number."""
    seconds: float
    """Whole time."""


class PivotalTuner:
    """Tunes one network for some pictures together; can be watched, and stopped after any step."""

    def __init__(
        self,
        model: Model,
        pictures: Tensor,
        projection: Projection | Latents,
        settings: TuningSettings | None = None,
        *,
        distance: PerceptualDistance | None = None,
        masks: Tensor | None = None,
        c: Tensor | None = None,
    ) -> None:
        """Arguments as those of :func:`tune`."""
        if len(pictures) != len(projection.ws):
            raise UsageError(f"{len(pictures)} pictures do not go with {len(projection.ws)} projections.")
        if (found_in := _network_of(projection)) not in (None, model.model_hash):
            raise UsageError(f"the projection is one into the network {found_in}, and the model is {model.model_hash}; "
                             "project with it first.")  # fmt: skip
        self._model, self._settings = model, settings or TuningSettings()
        self._started = time.monotonic()
        self._generator = copy.deepcopy(model.generator).requires_grad_(False)
        self._generator.synthesis.requires_grad_(True)
        self._before, self._after = (
            Problem(
                generator=generator,
                distance=distance or default_distance(model),
                targets=pictures.to(model.device, torch.float32),
                masks=None if masks is None else masks.to(model.device, torch.float32),
            )
            for generator in (model.generator, self._generator)
        )
        self._ws = projection.ws.to(model.device)
        names = model.noise_names if projection.noise else ()
        self._noise = [projection.noise[name][:, None].to(model.device) for name in names]
        self._c = c
        self._radius = self._settings.locality_radius * w_statistics(model.generator, c).std
        self._distances = torch.full((len(pictures),), math.inf, device=model.device)
        self._images = torch.zeros_like(self._after.targets)

    def steps(self) -> Iterator[Step]:
        """Tune, stopping after every step."""
        s, count = self._settings, len(self._ws)
        parts = [torch.arange(i, min(i + s.batch, count)) for i in range(0, count, s.batch)]
        total = s.num_steps * len(parts)
        adam = torch.optim.Adam(self._generator.synthesis.parameters(), lr=s.learning_rate)
        goal = self._after.goal()
        for step in range(total):
            rows = parts[step % len(parts)].to(self._ws.device)
            adam.param_groups[0]["lr"] = s.learning_rate * min(1.0, (1 - step / total) / _RAMPDOWN)
            # Weights are frozen only while a step runs: between steps the model is free for others.
            with frozen(self._model), torch.enable_grad():
                loss = self._reconstruction(rows, goal)
                if s.locality:
                    loss = loss + s.locality * self._locality(rows, step)
                adam.zero_grad(set_to_none=True)
                torch.autograd.backward(loss)
                adam.step()
            yield Step(step=step + 1, num_steps=total, distances=self._distances, images=self._images)

    def _reconstruction(self, rows: Tensor, goal: Tensor) -> Tensor:
        """Distance and pixels between what the pivots paint and the pictures, a mean over them."""
        part = self._after.rows(rows)
        images = part.paint(self._ws[rows], self._maps(rows))
        distances = part.distances(part.shown(images), goal[rows])
        self._distances[rows], self._images[rows] = distances.detach(), images.detach()
        return (distances + self._settings.pixel_weight * _squared(part.shown(images), part.targets)).mean()

    def _locality(self, rows: Tensor, step: int) -> Tensor:
        """Distance and pixels between what the two networks paint at a fixed distance from the pivots."""
        model, pivots = self._model, self._ws[rows]
        rng = stream(self._settings.seed, "tuning", step)
        z = torch.randn(len(rows), model.z_dim, generator=rng).to(model.device)
        with torch.no_grad():
            c = None if self._c is None else self._c.to(model.device).expand(len(rows), -1)
            away = model.generator.mapping(z, c)[:, None] - pivots
            ws = pivots + self._radius * away / away.norm(dim=2, keepdim=True)
            kept = self._before.paint(ws, self._maps(rows))
            goal = self._before.distance.vectors(kept)
        images = self._after.paint(ws, self._maps(rows))
        return (self._after.distances(images, goal) + _squared(images, kept)).mean()

    def _maps(self, rows: Tensor) -> list[Tensor] | None:
        return [noise[rows] for noise in self._noise] or None

    @torch.no_grad()
    def result(self) -> Tuned:
        """Return what was reached so far, stored as small as the settings allow, painted and measured anew."""
        s = self._settings
        change = WeightChange(self._model.generator, self._generator.requires_grad_(False))
        before, full = (self._measured(generator)[1] for generator in (self._model.generator, self._generator))
        limit = float(full.mean() + s.tolerance * (before - full).mean().clamp(min=0))
        for rank in (*(RANKS if s.tolerance else ()), None):
            model = self._model.tuned(change.tuning(rank))
            images, distances = self._measured(model.generator)
            if float(distances.mean()) <= limit:
                break
        facts = {
            "pictures": len(self._ws), "rank": rank, "settings": asdict(s), "distance": self._before.distance.card.name,
            "before": round(float(before.mean()), 6), "after": round(float(distances.mean()), 6),
        }  # fmt: skip
        tuning = change.tuning(rank, facts)
        self._generator.synthesis.requires_grad_(True)
        return Tuned(
            tuning=tuning, model=self._model.tuned(tuning), images=images, distances=distances, distances_before=before,
            distance=self._before.distance.card, rank=rank, seconds=time.monotonic() - self._started,
        )  # fmt: skip

    def _measured(self, generator: Generator) -> tuple[Tensor, Tensor]:
        """Return what a network paints of the pivots, and the distances from the pictures."""
        images, distances = [], []
        for start in range(0, len(self._ws), self._settings.batch):
            rows = torch.arange(start, min(start + self._settings.batch, len(self._ws)), device=self._ws.device)
            part = self._before.rows(rows)
            noise = self._maps(rows)
            images.append(generator.synthesis(self._ws[rows], "const" if noise is None else noise).clamp(-1, 1))
            distances.append(part.distances(part.shown(images[-1]), part.goal()))
        return torch.cat(images), torch.cat(distances)


def tune(
    model: Model,
    pictures: Tensor,
    projection: Projection | Latents,
    settings: TuningSettings | None = None,
    *,
    distance: PerceptualDistance | None = None,
    masks: Tensor | None = None,
    c: Tensor | None = None,
    on_step: OnStep | None = None,
) -> Tuned:
    """Fine-tune a copy of a network so that projected latents paint their pictures: pivotal tuning.

    All pictures share one tuning, so that they can be mixed; call it for each alone to come nearer to each.

    Args:
        model: the network; it stays as it is.
        pictures: [N, C, H, W] of the model's shape, −1…1.
        projection: what :func:`~capriccio.inversion.project.project` found for them, or the latents file of that; the
            space w edits best.
        settings: steps, and how firmly the network is held to what it was.
        distance: what is made small beside pixels; None = by the model's own discriminator.
        masks: which pixels count, 0…1, [N, 1, H, W]; None = all.
        c: label [1, c_dim] of a conditional model.
        on_step: called after every step.

    Raises: ShapeError if pictures do not fit the model; UsageError if the projection is one into another network;
        SnapshotError if the model has no discriminator and no distance is given.
    """
    tuner = PivotalTuner(model, pictures, projection, settings, distance=distance, masks=masks, c=c)
    for step in tuner.steps():
        if on_step is not None:
            on_step(step)
    return tuner.result()


def _network_of(projection: Projection | Latents) -> str | None:
    """Return the hash of the network that latents were found in; None = not known. An earlier tuning does not count."""
    if isinstance(projection, Projection):
        return projection.model_hash
    record = projection.provenance
    return None if record is None else record.tuned_from or record.model_hash


def _squared(images: Tensor, others: Tensor) -> Tensor:
    """Return the mean squared difference of each pair, [N]."""
    return (images - others).square().mean(dim=(1, 2, 3))
