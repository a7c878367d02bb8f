"""From a data set to batches on the device: order, sharing between processes, labels."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from itertools import islice
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from capriccio.config import RunConfig
from capriccio.data.dataset import DatasetSplit, ImageDataset, open_dataset
from capriccio.data.lanes import Say
from capriccio.data.order import EndlessOrder
from capriccio.data.stores import CacheMode
from capriccio.data.stream import PictureStream, StreamedPictures, is_streamed, open_streamed
from capriccio.errors import DatasetError, RunError, ShapeError
from capriccio.ops.quantize import dequantize
from capriccio.processes import Processes
from capriccio.training.iteration import Batch

_CACHE_ON_DISK: dict[str, CacheMode] = {"auto": "auto", "none": "none", "raw": "raw", "device": "raw"}


def open_data(config: RunConfig, processes: Processes, *, grown_from: Sequence[str] = ()) -> DatasetSplit:
    """Open the pictures of a run; the main process first, so that it alone builds what goes into the cache.

    Args:
        config: the run.
        processes: those that train together.
        grown_from: hashes of what the set was before, see :func:`~capriccio.data.dataset.open_dataset`.

    Raises: DatasetError, or ShapeError if the pictures have other channels than the networks.
    """
    shape = config.generator.shape
    data = config.data
    if is_streamed(data.path, data.cache):
        if grown_from:
            raise DatasetError(f"'{data.path}': streamed shards cannot grow while a run goes on.")
        return open_streamed(
            data.path,
            shape,
            labels=data.labels,
            c_dim=config.generator.c_dim,
            mirror=data.mirror,
            subset=data.subset,
            holdout=data.holdout,
            buffer=data.shuffle_buffer,
        )

    def opened() -> DatasetSplit:
        return open_dataset(
            data.path,
            size=(shape.height, shape.width),
            labels=data.labels,
            mirror=data.mirror,
            subset=data.subset,
            seed=config.seed,
            holdout=data.holdout,
            grown_from=grown_from,
            cache=_CACHE_ON_DISK[data.cache],
        )

    split = processes.main_first(opened)
    if split.train.shape.channels != shape.channels:
        raise ShapeError(
            f"the pictures of '{data.path}' have {split.train.shape.channels} channels, the run was set up for "
            f"{shape.channels}; set --generator.shape.channels, or leave it out."
        )
    return split


class _Source(Protocol):
    """Gives the pictures of one batch after another, and can say where it stands."""

    def next(self, batch: int) -> tuple[Tensor, Tensor | None]:
        """Return this process's part of a batch: uint8 [n, C, H, W], and labels [n, c_dim]."""
        ...

    def position(self) -> dict[str, Tensor]:
        """Where the source stands; all processes ask together."""
        ...

    def go_to(self, position: Mapping[str, Tensor]) -> None:
        """Go on from :meth:`position`."""
        ...

    def epochs(self, nimg: int) -> float:
        """Return how often every picture was shown after ``nimg`` images."""
        ...


class Feed:
    """Batches of real pictures: in the endless shuffled order of the field, or streamed from shards.

    Order is that of the whole batch; this process takes every N-th row of it, so that N processes together see
    what one would have seen, in the same groups.
    """

    def __init__(
        self,
        config: RunConfig,
        dataset: ImageDataset,
        processes: Processes,
        device: torch.device,
        *,
        from_nimg: int = 0,
        say: Say = print,
    ) -> None:
        """``say`` receives lines about shards that fail or are waited for."""
        self._dataset = dataset
        self._device = device
        self._batch = config.batch
        # A run continued from a snapshot begins another stream: the old position did not travel.
        seed = (config.seed + from_nimg) % 2**32
        if isinstance(dataset, StreamedPictures):
            stream = dataset.stream(seed=seed, rank=processes.rank, world_size=processes.world_size, say=say)
            self._source: _Source = _Streamed(stream, processes, device)
        else:
            home = device if _is_resident(config, dataset, device) else None
            self._source = _Shuffled(dataset, seed, processes, home)
        self.last_wait = 0.0
        """Seconds that the last batch took to read."""

    def next(self) -> Batch:
        """Return this process's part of the next batch. Raises: JobError when streamed shards cannot be read."""
        started = time.perf_counter()
        pixels, labels = self._source.next(self._batch)
        self.last_wait = time.perf_counter() - started
        images = dequantize(pixels.to(self._device, non_blocking=True))
        if labels is None or not self._dataset.c_dim:
            return Batch(images, None)
        return Batch(images, labels.to(self._device, non_blocking=True))

    def random_labels(self, count: int, rng: torch.Generator) -> Tensor | None:
        """Return the labels of ``count`` uniformly random pictures [count, c_dim]; None when unconditional."""
        if not self._dataset.c_dim:
            return None
        indices = torch.randint(len(self._dataset), (count,), generator=rng)
        return torch.from_numpy(self._dataset.labels(indices.numpy()))

    def position(self) -> dict[str, Tensor]:
        """Where the stream stands, for a checkpoint; all processes ask together."""
        return self._source.position()

    def go_to(self, position: Mapping[str, Tensor]) -> None:
        """Go on from :meth:`position`."""
        self._source.go_to(position)

    def epochs(self, nimg: int) -> float:
        """Return how often every picture was shown after ``nimg`` images; of a stream, counted in shards."""
        return self._source.epochs(nimg)


RESIDENT_SHARE = 0.2
"""Of the free memory of a GPU: pictures that need no more than this are kept there."""


def _is_resident(config: RunConfig, dataset: ImageDataset, device: torch.device) -> bool:
    """Return whether all pictures are to be kept on the device: as asked, or on a GPU with room for them."""
    if config.data.cache != "auto" or device.type != "cuda":
        return config.data.cache == "device"
    shape = dataset.shape
    needed = dataset.num_pictures * shape.channels * shape.height * shape.width
    free, _ = torch.cuda.mem_get_info(device)
    return needed <= RESIDENT_SHARE * free


class _Shuffled:
    """Pictures by index, in the endless order; all of them on a device where ``device`` is given."""

    def __init__(self, dataset: ImageDataset, seed: int, processes: Processes, device: torch.device | None) -> None:
        self._dataset = dataset
        self._mine = slice(processes.rank, None, processes.world_size)
        self._order = EndlessOrder(len(dataset), seed=seed)
        self._resident = None if device is None else torch.from_numpy(dataset.all_images()).to(device)

    def next(self, batch: int) -> tuple[Tensor, Tensor | None]:
        indices = self._order.next(batch)[self._mine]
        return self._images(indices), torch.from_numpy(self._dataset.labels(indices))

    def position(self) -> dict[str, Tensor]:
        return {name: torch.from_numpy(np.asarray(array)) for name, array in self._order.state_dict().items()}

    def go_to(self, position: Mapping[str, Tensor]) -> None:
        state = {name: tensor.numpy() for name, tensor in position.items()}
        copies = 2 if self._dataset.card.mirror else 1
        before, now = len(state["order"]) // copies, self._dataset.num_pictures
        if before == now:
            self._order.load_state_dict(state)
        else:  # the set grew: mirrored items, which follow all others, have moved
            rows = np.arange(before)
            self._order.load_grown(state, np.concatenate([rows + copy * now for copy in range(copies)]))

    def epochs(self, nimg: int) -> float:
        return nimg / self._dataset.num_pictures

    def _images(self, indices: np.ndarray[tuple[int], np.dtype[np.int64]]) -> Tensor:
        if self._resident is None:
            return torch.from_numpy(self._dataset.images(indices))
        rows = torch.from_numpy(indices).to(self._resident.device, non_blocking=True)
        count = len(self._resident)
        images = self._resident[rows % count]
        return torch.where((rows >= count)[:, None, None, None], images.flip(3), images)


class _Streamed:
    """Pictures straight from shards."""

    def __init__(self, stream: PictureStream, processes: Processes, device: torch.device) -> None:
        self._stream = stream
        self._processes = processes
        self._device = device

    def next(self, batch: int) -> tuple[Tensor, Tensor | None]:
        pixels, labels = self._stream.next(batch)
        return torch.from_numpy(pixels), torch.from_numpy(labels)

    def position(self) -> dict[str, Tensor]:
        """Put together what each process knows of its lanes: lengths, and numbers one after another."""
        step, lanes = self._stream.position()
        lengths = self._sum([len(numbers) for numbers in lanes])
        known = [numbers or [0] * length for numbers, length in zip(lanes, lengths.tolist(), strict=True)]
        return {
            "stream_step": torch.tensor(step),
            "stream_lengths": lengths,
            "stream_lanes": self._sum([number for numbers in known for number in numbers]),
        }

    def go_to(self, position: Mapping[str, Tensor]) -> None:
        if "stream_step" not in position:
            raise RunError("the run was not streamed until now; resume it with the pictures it was started with.")
        numbers = iter(position["stream_lanes"].tolist())
        lanes = [list(islice(numbers, length)) for length in position["stream_lengths"].tolist()]
        self._stream.go_to(int(position["stream_step"]), lanes)

    def epochs(self, nimg: int) -> float:
        return self._stream.epochs()

    def _sum(self, numbers: list[int]) -> Tensor:
        return self._processes.sum(torch.tensor(numbers, device=self._device)).cpu()
