"""A trained network as people use it: seeds to latents, latents to images."""

from __future__ import annotations

import operator
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from capriccio.config import MAX_SEED, FormsConfig, GeneratorConfig, ImageShape
from capriccio.devices import choose_device, choose_precision
from capriccio.errors import ShapeError, SnapshotError, UsageError
from capriccio.interop.foreign import read_network
from capriccio.interop.hub import WEIGHTS_FILE, fetch_snapshot, is_hub_id
from capriccio.interop.names import to_field_name
from capriccio.loading.bundled import bundled_names, bundled_path
from capriccio.networks.precision import precision_name
from capriccio.ops.truncation import psi_problem, truncate
from capriccio.run_layout import RunLayout
from capriccio.snapshots.snapshot import Snapshot, SnapshotFacts, model_hash
from capriccio.snapshots.tuning import Tuning, load_tuning, tuned_snapshot
from capriccio.wording import listed, nearest

NoiseMode = Literal["const", "none", "random"]


def load(source: str | Path | None = None, *, device: str | torch.device = "auto", precision: str = "fp32") -> Model:
    """Load a model.

    Args:
        source: a snapshot (.safetensors), a run folder (its newest snapshot), the name of a bundled model, or of one on
            the hub, ``owner/name`` or ``owner/name@revision`` (extra ``hub``); a network file of another program
            (NVIDIA's pickles, rosinality's checkpoints; nothing in it is executed); None = the best bundled one.
        device: where it computes: auto, cpu, cuda, cuda:N, mps.
        precision: fp32 makes a seed the same picture in every batch; bf16 and fp16 are faster.

    Raises: SnapshotError if there is no such model, or the file is damaged or foreign; ConfigError for a device or
        precision this machine does not have.
    """
    chosen = choose_device(str(device))
    path = find_snapshot(source)
    model = Model(read_network(path, chosen), device=chosen)
    model.set_precision(choose_precision(precision, chosen).dtype)
    return model


def find_snapshot(source: str | Path | None) -> Path:
    """Return the snapshot file that ``source`` means (see :func:`load`)."""
    if source is None or str(source) in bundled_names():
        return bundled_path(None if source is None else str(source))
    path = Path(source)
    if path.is_dir():
        run = RunLayout(path)
        snapshots = run.saved_snapshots() or sorted(path.glob("snapshot-*.safetensors"))
        if not snapshots and (path / WEIGHTS_FILE).is_file():  # what `capriccio push --out` wrote
            return path / WEIGHTS_FILE
        if not snapshots:
            raise SnapshotError(f"'{path}' holds no snapshot yet; name a .safetensors file or another run folder.")
        return snapshots[-1]
    if not path.exists() and path.suffix == "" and path.parent == Path():
        return bundled_path(str(source))
    if not path.exists() and not path.parent.is_dir() and is_hub_id(str(source)):
        # Where the first word is a folder here, a path was mistyped, and nobody else need know of it.
        return fetch_snapshot(str(source))
    return path


class Model:
    """A generator, its facts, and its discriminator where the file has one.

    An image depends on its seed and settings, never on its batch, batch size or device, beyond rounding.
    """

    def __init__(self, snapshot: Snapshot, *, device: torch.device | str = "cpu") -> None:
        self.device = torch.device(device)
        self.generator = snapshot.generator
        self.discriminator = snapshot.discriminator
        self.encoder = snapshot.encoder
        for network in (self.generator, self.discriminator):
            if network is not None:
                network.set_forms(FormsConfig())  # those that suit the device
        self.facts: SnapshotFacts = snapshot.facts
        self.model_hash = model_hash(snapshot.generator)
        self.tuning: Tuning | None = None
        """What this network was tuned by (see :meth:`tuned`); None = it is as its file has it."""

    # ---- what it is

    @property
    def config(self) -> GeneratorConfig:
        """The generator's configuration."""
        return self.generator.config

    @property
    def shape(self) -> ImageShape:
        """Shape of its pictures."""
        return self.config.shape

    @property
    def size(self) -> tuple[int, int]:
        """(height, width) of its pictures."""
        return self.shape.height, self.shape.width

    @property
    def channels(self) -> int:
        """Image channels."""
        return self.shape.channels

    @property
    def num_ws(self) -> int:
        """Number of latent rows."""
        return self.config.num_ws

    @property
    def z_dim(self) -> int:
        """Size of the input latent."""
        return self.config.z_dim

    @property
    def w_dim(self) -> int:
        """Size of the intermediate latent."""
        return self.config.w_dim

    @property
    def c_dim(self) -> int:
        """Size of the label; 0 = unconditional."""
        return self.config.c_dim

    @property
    def class_names(self) -> tuple[str, ...]:
        """What the classes are called, by their numbers, as the data set had it; empty = only numbers."""
        return tuple(map(str, self.facts.data.get("class_names", ())))

    @property
    def classes_told(self) -> str:
        """Which classes there are, for people: their names, else their numbers."""
        return listed(self.class_names) or f"0..{self.c_dim - 1}"

    @property
    def w_avg(self) -> Tensor:
        """The mean of w, [w_dim]: the latent of the typical picture."""
        return self.generator.w_avg

    @property
    def licence(self) -> str:
        """Licence of the weights."""
        return self.facts.licence

    @property
    def tuned_from(self) -> str | None:
        """Hash of the network this one was tuned from (see :meth:`tuned`); None = it was not tuned."""
        record = self.facts.card.get("tuning")
        return str(record["base"]) if isinstance(record, dict) and "base" in record else None

    @property
    def card(self) -> dict[str, Any]:
        """What is known about the model: training, data, numbers, licence."""
        return {
            **self.facts.card,  # what its maker says, which changes no fact below
            "model_hash": self.model_hash,
            "shape": str(self.shape),
            "nimg": self.facts.nimg,
            "data": self.facts.data,
            "licence": self.licence,
            "software": self.facts.software,
        }

    def __repr__(self) -> str:
        return f"<Model {self.model_hash} {self.shape}, {self.facts.nimg / 1000:g} kimg, on {self.device}>"

    # ---- what it does

    def tuned(self, tuning: Tuning | str | Path) -> Model:
        """Return another model, with a tuning of this network applied; this one stays as it is.

        Raises: SnapshotError if the file is no tuning, or one of another network.
        """
        whole = Snapshot(generator=self.generator, discriminator=self.discriminator, facts=self.facts)
        tuning = tuning if isinstance(tuning, Tuning) else load_tuning(tuning)
        model = Model(tuned_snapshot(whole, tuning), device=self.device)
        model.tuning = tuning
        return model

    def z(self, seeds: Sequence[int]) -> Tensor:
        """Return input latents, [N, z_dim]; seed s is ``RandomState(s).randn(1, z_dim)``, the field's convention.

        Raises: UsageError for a seed outside 0…2³²−1.
        """
        if isinstance(seeds, str | int):
            raise UsageError(f"seeds are several whole numbers, such as [3] or range(8), got {seeds!r}.")
        for seed in seeds:
            if not _is_whole(seed) or not 0 <= seed <= MAX_SEED:
                raise UsageError(f"seeds are whole numbers in 0..{MAX_SEED}, got {seed}.")
        rows = [np.random.RandomState(seed).randn(1, self.z_dim) for seed in seeds]
        z = np.concatenate(rows) if rows else np.zeros((0, self.z_dim))
        return torch.from_numpy(z).float().to(self.device)

    def class_index(self, chosen: int | str) -> int:
        """Return the number of a class: ``chosen`` itself, or what has that name.

        Raises: UsageError if the model has no such class, or none at all.
        """
        if not self.c_dim:
            raise UsageError("class: this model has no classes; leave it out.")
        if self.facts.data.get("vector_labels"):
            raise UsageError(
                f"class: labels of this model are {self.c_dim} numbers, no classes; from Python, give them to ws as c."
            )
        if isinstance(chosen, str) and not chosen.isdecimal():
            if chosen not in self.class_names:
                near = nearest(chosen, self.class_names)
                raise UsageError(f"class: '{chosen}' is none of this model.{near} There are: {self.classes_told}.")
            return self.class_names.index(chosen)
        if not 0 <= int(chosen) < self.c_dim:
            raise UsageError(f"class must lie in 0..{self.c_dim - 1} for this model, got {chosen}.")
        return int(chosen)

    def label(self, chosen: int | str, count: int = 1) -> Tensor:
        """Return the one-hot label of a class, repeated, [count, c_dim]. Raises: as :meth:`class_index`."""
        c = torch.zeros(count, self.c_dim, device=self.device)
        c[:, self.class_index(chosen)] = 1
        return c

    @torch.no_grad()
    def ws(
        self,
        z: Tensor | None = None,
        *,
        seeds: Sequence[int] | None = None,
        c: Tensor | None = None,
        truncation_psi: float = 1.0,
        truncation_cutoff: int | None = None,
    ) -> Tensor:
        """Map input latents to latent rows, [N, num_ws, w_dim].

        Args:
            z: input latents [N, z_dim]; or give ``seeds``.
            seeds: see :meth:`z`.
            c: labels [N, c_dim] of a conditional model.
            truncation_psi: distance to the mean that remains; 1 = unchanged, 0 = the typical picture.
            truncation_cutoff: number of coarse rows that move; None = all.

        Raises: ShapeError or UsageError for what does not fit this model.
        """
        if (z is None) == (seeds is None):
            raise UsageError("ws: give either z or seeds.")
        if z is None:
            assert seeds is not None
            z = self.z(seeds)
        if problem := psi_problem(truncation_psi):
            raise UsageError(problem)
        z, c = _tensor(z, "z"), None if c is None else _tensor(c, "labels")
        if z.ndim != 2 or z.shape[1] != self.z_dim:
            raise ShapeError(f"z must be [N, {self.z_dim}] for this model, got {list(z.shape)}.")
        self._check_labels(c, len(z))
        w = self.generator.mapping(z.to(self.device), None if c is None else c.to(self.device))
        rows = w[:, None].expand(-1, self.num_ws, -1)
        return truncate(rows, self.w_avg, psi=truncation_psi, cutoff=truncation_cutoff).contiguous()

    @torch.no_grad()
    def images(
        self,
        ws: Tensor,
        *,
        noise_mode: NoiseMode = "const",
        noise_seeds: Sequence[int] | None = None,
        noise_maps: Mapping[str, Tensor] | None = None,
    ) -> Tensor:
        """Return images, float32 [N, C, H, W] in [−1, 1].

        Args:
            ws: latent rows [N, num_ws, w_dim].
            noise_mode: "const" = the stored maps, "none" = no noise, "random" = maps drawn from ``noise_seeds``.
            noise_seeds: one per image, drawn on the CPU so that every device shows the same; only with "random".
            noise_maps: maps [N, H, W] by layer (see :attr:`noise_names`) in place of the stored ones; only with
                "const". A projection finds them.

        Raises: ShapeError or UsageError for what does not fit this model.
        """
        ws = _tensor(ws, "ws")
        if ws.ndim != 3 or ws.shape[1:] != (self.num_ws, self.w_dim):
            raise ShapeError(f"ws must be [N, {self.num_ws}, {self.w_dim}] for this model, got {list(ws.shape)}.")
        ws = ws.to(self.device, torch.float32)
        images: Tensor
        if not len(ws):
            return ws.new_zeros(0, self.channels, *self.size)
        if noise_mode == "random":
            images = self.generator.synthesis(ws, self.noise(noise_seeds, len(ws)))
        elif noise_mode == "const" and noise_maps:
            images = self.generator.synthesis(ws, self._chosen_noise(noise_maps, len(ws)))
        elif noise_mode in ("const", "none"):
            if noise_seeds is not None:
                raise UsageError(f"noise seeds have no effect with noise mode '{noise_mode}'; use 'random'.")
            images = self.generator.synthesis(ws, noise_mode)
        else:
            raise UsageError(f"noise mode '{noise_mode}' is none of const, none, random.")
        return images.clamp(-1, 1)

    @property
    def noise_names(self) -> list[str]:
        """Names of the layers that take noise, from coarse to fine, as latents files write them."""
        buffers = [name for name, _ in self.generator.synthesis.named_buffers() if name.endswith(".noise_const")]
        return [to_field_name(name.removesuffix(".noise_const")) for name in buffers]

    def _chosen_noise(self, maps: Mapping[str, Tensor], count: int) -> list[Tensor]:
        """Return maps [count, 1, H, W] for each layer. Raises: ShapeError if they are not those of this network."""
        shapes = dict(zip(self.noise_names, self.generator.synthesis.noise_shapes(), strict=True))
        given = {name: tuple(values.shape) for name, values in maps.items()}
        if given != {name: (count, *size) for name, size in shapes.items()}:
            raise ShapeError(
                f"noise maps of this model are {', '.join(f'{n} [{count}, {h}, {w}]' for n, (h, w) in shapes.items())}."
            )
        return [maps[name][:, None].to(self.device, torch.float32) for name in shapes]

    def noise(self, seeds: Sequence[int] | None, count: int) -> list[Tensor]:
        """Return noise maps [count, 1, H, W] for each layer, one seed per image.

        Raises: UsageError if there are not as many seeds as images.
        """
        if seeds is None or len(seeds) != count:
            raise UsageError(f"noise mode 'random' needs one noise seed per image: {count}, got {len(seeds or ())}.")
        shapes = self.generator.synthesis.noise_shapes()
        drawn = [list(_maps(seed, shapes)) for seed in seeds]
        return [torch.stack([maps[i] for maps in drawn]).to(self.device) for i in range(len(shapes))]

    @torch.no_grad()
    def logits(self, images: Tensor, c: Tensor | None = None) -> Tensor:
        """Return the discriminator's logits [N, 1]; higher = looks more like a training picture.

        Each image is judged alone: the minibatch statistics of a batch would make it depend on its neighbours.
        Raises: SnapshotError if the snapshot has no discriminator; ShapeError if images are shaped otherwise.
        """
        if self.discriminator is None:
            raise SnapshotError("this snapshot has no discriminator (it is slim); use the full one.")
        expected = (self.channels, *self.size)
        if images.ndim != 4 or tuple(images.shape[1:]) != expected:
            raise ShapeError(f"images must be [N, {', '.join(map(str, expected))}], got {list(images.shape)}.")
        self._check_labels(c, len(images))
        labels = None if c is None else c.to(self.device)
        logits: Tensor = self.discriminator(images.to(self.device), labels, num_sets=len(images))
        return logits

    def set_precision(self, dtype: torch.dtype | None) -> None:
        """Compute the highest levels in ``dtype``; None = everything in float32."""
        self.generator.set_precision(dtype)
        if self.discriminator is not None:
            self.discriminator.set_precision(dtype)

    @property
    def precision(self) -> str:
        """What the highest levels compute in: fp32, bf16 or fp16."""
        return precision_name(self.generator.synthesis.low_precision)

    def _check_labels(self, c: Tensor | None, count: int) -> None:
        if self.c_dim and c is None:
            raise UsageError(f"this model is conditional: give a class 0..{self.c_dim - 1} (--class).")
        if c is not None and tuple(c.shape) != (count, self.c_dim):
            raise ShapeError(f"labels must be [{count}, {self.c_dim}] for this model, got {list(c.shape)}.")


def _is_whole(number: object) -> bool:
    """Whether a number counts something: an int, one of NumPy, or an element of a tensor of whole numbers."""
    try:
        operator.index(number)  # type: ignore[arg-type]
    except TypeError:
        return False
    return True


def _tensor(values: Tensor, what: str) -> Tensor:
    """Return what a caller gave as a tensor, arrays of NumPy too. Raises: ShapeError if it is something else."""
    try:
        return torch.as_tensor(values)
    except (TypeError, ValueError, RuntimeError):
        raise ShapeError(f"{what} must be a tensor, got {type(values).__name__}.") from None


def _maps(seed: int, shapes: Sequence[tuple[int, int]]) -> Iterator[Tensor]:
    rng = torch.Generator().manual_seed(seed)
    for size in shapes:
        yield torch.randn(1, *size, generator=rng)
