"""Where the pictures of a metric come from: a generator, a data set. Both in blocks that are the same for any batch."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol, get_args

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from capriccio.config import ImageShape
from capriccio.data.dataset import ImageDataset, open_dataset, peek_shape
from capriccio.data.pictures import reduce
from capriccio.errors import JobError, ShapeError, UsageError
from capriccio.latent.random_labels import RandomLabels
from capriccio.latent.streams import stream
from capriccio.metrics.path_length import PathDraws
from capriccio.networks.generator import Generator
from capriccio.ops.quantize import quantize
from capriccio.progress import Progress
from capriccio.wording import nearest

BLOCK = 64
"""Pictures in a block. Random numbers are drawn block by block, so a picture depends on no batch and no process."""

ResizeFilter = Literal["lanczos", "bicubic", "bilinear", "box"]
_RESAMPLING: dict[ResizeFilter, Image.Resampling] = {
    "lanczos": Image.Resampling.LANCZOS,
    "bicubic": Image.Resampling.BICUBIC,
    "bilinear": Image.Resampling.BILINEAR,
    "box": Image.Resampling.BOX,
}


class PictureSource(Protocol):
    """Pictures by block."""

    def __len__(self) -> int:
        """Number of pictures."""
        ...

    def block(self, index: int) -> Tensor:
        """Return pictures ``index``·BLOCK … as bytes, uint8 [≤ BLOCK, C, H, W]."""
        ...


@dataclass(frozen=True, slots=True)
class DatasetLabels:
    """The labels of a data set, mirrored pictures not counted twice."""

    dataset: ImageDataset

    def random_labels(self, count: int, rng: torch.Generator) -> Tensor | None:
        """Return labels of ``count`` random pictures [count, c_dim]; None when unconditional."""
        if not self.dataset.c_dim:
            return None
        rows = torch.randint(self.dataset.num_pictures, (count,), generator=rng)
        return torch.from_numpy(self.dataset.labels(rows.numpy()))


@dataclass(frozen=True, kw_only=True)
class Fakes:
    """What a generator paints for one seed: z ~ N(0, 1), labels of random pictures, random noise.

    The pictures of a smaller count are the first ones of a larger count.
    """

    generator: Generator
    name: str
    """The network's name, for messages."""
    labels: RandomLabels
    count: int
    seed: int
    psi: float
    batch: int
    """Pictures painted at once; changes nothing but memory and speed."""
    device: torch.device

    def __len__(self) -> int:
        """Number of pictures."""
        return self.count

    @torch.no_grad()
    def block(self, index: int) -> Tensor:
        """Paint a block.

        Raises: JobError naming the network if it paints what is not finite.
        """
        config = self.generator.config
        rng = stream(self.seed, "metrics", index)
        z = torch.randn(BLOCK, config.z_dim, generator=rng).to(self.device)
        c = self.labels.random_labels(BLOCK, rng)
        noise = [m.to(self.device) for m in self.generator.draw_noise(BLOCK, rng)]
        c = None if c is None else c.to(self.device)
        parts = []
        for start in range(0, min(BLOCK, self.count - index * BLOCK), self.batch):
            part = slice(start, start + self.batch)
            ws = self.generator.ws(z[part], None if c is None else c[part], psi=self.psi)
            images = self.generator.synthesis(ws, [m[part] for m in noise])
            check_finite(images, self.name)
            parts.append(quantize(images))
        return torch.cat(parts)[: self.count - index * BLOCK]

    def path_block(self, index: int, size: int) -> PathDraws:
        """Return the random numbers of ``size`` paths; positions are uniform."""
        config = self.generator.config
        rng = stream(self.seed, "path length", index)
        z0, z1 = torch.randn(2, size, config.z_dim, generator=rng).to(self.device)
        t = torch.rand(size, generator=rng).to(self.device)
        c = self.labels.random_labels(size, rng)
        noise = [m.to(self.device) for m in self.generator.draw_noise(size, rng)]
        return PathDraws(z0=z0, z1=z1, t=t, c=None if c is None else c.to(self.device), noise=noise)


def check_finite(values: Tensor, name: str) -> None:
    """Raise JobError naming the network ``name`` if a value is not finite: no metric can be made of it."""
    if not bool(torch.isfinite(values).all()):
        raise JobError(f"'{name}' paints values that are not finite (NaN or infinite); its weights are damaged.")


@dataclass(frozen=True, slots=True)
class Reals:
    """The first ``count`` items of a data set, at the size of the generator."""

    dataset: ImageDataset
    count: int
    size: tuple[int, int]
    """(height, width) to compare at."""
    resize_filter: ResizeFilter

    def __len__(self) -> int:
        """Number of pictures."""
        return self.count

    @property
    def filter_used(self) -> str:
        """The filter that reduces the pictures, or "none"."""
        shape = self.dataset.shape
        return "none" if (shape.height, shape.width) == self.size else self.resize_filter

    def block(self, index: int) -> Tensor:
        """Return a block."""
        rows = range(index * BLOCK, min((index + 1) * BLOCK, self.count))
        pictures = [reduce(p, self.size, _RESAMPLING[self.resize_filter]) for p in self.dataset.images(rows)]
        return torch.from_numpy(np.stack(pictures))

    def first(self, count: int) -> Reals:
        """Return the first ``count`` of these, or all."""
        return Reals(self.dataset, min(count, self.count), self.size, self.resize_filter)

    def digests(self) -> dict[bytes, str]:
        """Return the names of the pictures by their content at this size."""
        found = {}
        names = self.dataset.names
        for index in range(num_blocks(self.count)):
            for offset, picture in enumerate(self.block(index)):
                row = index * BLOCK + offset
                found[hashlib.sha256(picture.numpy().tobytes()).digest()] = names[row % len(names)]
        return found


def open_reals(
    path: str | Path,
    shape: ImageShape,
    *,
    labels: bool = False,
    mirror: bool = False,
    resize_filter: ResizeFilter = "lanczos",
    cache_dir: Path | None = None,
    progress: Progress | None = None,
) -> Reals:
    """Open all pictures of a data set, none held out, for comparison with pictures of ``shape``.

    Raises: DatasetError if they are smaller or of another aspect; ShapeError if they have other channels; UsageError
        for an unknown filter.
    """
    if resize_filter not in get_args(ResizeFilter):
        raise UsageError(f"--resize-filter: '{resize_filter}' is not a filter."
                         f"{nearest(resize_filter, _RESAMPLING)} There are {', '.join(_RESAMPLING)}.")  # fmt: skip
    size = (shape.height, shape.width)
    found = peek_shape(path, size=size)
    if found.channels != shape.channels:
        raise ShapeError(
            f"'{path}' holds pictures of {found.channels} channels, the network paints {shape.channels}; "
            "compare with pictures of the kind it was trained on."
        )
    # Opened as stored and reduced here, where the filter can be chosen; odd photographs are cut to the size by then.
    native = peek_native(path, size)
    split = open_dataset(
        path, size=native, labels=labels, mirror=mirror, holdout=0, cache_dir=cache_dir, progress=progress
    )
    return Reals(split.train, len(split.train), size, resize_filter)


def peek_native(path: str | Path, size: tuple[int, int]) -> tuple[int, int]:
    """Return the size at which the pictures of ``path`` are stored; ``size`` for a folder of odd photographs."""
    try:
        stored = peek_shape(path)
    except UsageError:  # of different sizes: they are cut to the size asked for
        return size
    return stored.height, stored.width


def num_blocks(count: int) -> int:
    """Return the number of blocks of ``count`` pictures."""
    return -(-count // BLOCK)
