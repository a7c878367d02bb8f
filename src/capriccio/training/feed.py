"""From a data set to batches on the device: order, sharing between processes, labels."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor

from capriccio.config import RunConfig
from capriccio.data.dataset import DatasetSplit, ImageDataset, open_dataset
from capriccio.data.order import EndlessOrder
from capriccio.errors import ShapeError
from capriccio.runtime import Processes
from capriccio.training.iteration import Batch


def open_data(config: RunConfig, processes: Processes) -> DatasetSplit:
    """Open the pictures of a run; the main process first, so that it alone builds what goes into the cache.

    Raises: DatasetError, or ShapeError if the pictures have other channels than the networks.
    """
    shape = config.generator.shape
    data = config.data

    def opened() -> DatasetSplit:
        return open_dataset(
            data.path,
            size=(shape.height, shape.width),
            labels=data.labels,
            mirror=data.mirror,
            subset=data.subset,
            seed=config.seed,
            holdout=data.holdout,
            cache="raw" if data.cache == "device" else data.cache,
        )

    split = opened() if processes.is_main else None
    processes.wait()
    split = split or opened()
    if split.train.shape.channels != shape.channels:
        raise ShapeError(
            f"the pictures of '{data.path}' have {split.train.shape.channels} channels, the run was set up for "
            f"{shape.channels}; set --generator.shape.channels, or leave it out."
        )
    return split


class Feed:
    """Batches of real pictures, in the endless shuffled order of the field.

    Indices are drawn for the whole batch; this process takes every N-th of them, so that N processes together see
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
    ) -> None:
        self._dataset = dataset
        self._processes = processes
        self._device = device
        self._batch = config.batch
        # A run continued from a snapshot begins another stream: the old position did not travel.
        self._order = EndlessOrder(len(dataset), seed=config.seed + from_nimg)
        self._resident = self._to_device() if config.data.cache == "device" else None

    def next(self) -> Batch:
        """Return this process's part of the next batch."""
        indices = self._order.next(self._batch)[self._processes.rank :: self._processes.world_size]
        labels = torch.from_numpy(self._dataset.labels(indices)).to(self._device) if self._dataset.c_dim else None
        return Batch(self._images(indices), labels)

    def random_labels(self, count: int, rng: torch.Generator) -> Tensor | None:
        """Return the labels of ``count`` uniformly random pictures [count, c_dim]; None when unconditional."""
        if not self._dataset.c_dim:
            return None
        indices = torch.randint(len(self._dataset), (count,), generator=rng)
        return torch.from_numpy(self._dataset.labels(indices.numpy()))

    def position(self) -> dict[str, Tensor]:
        """Where the stream stands, for a checkpoint."""
        return {name: torch.from_numpy(np.asarray(array)) for name, array in self._order.state_dict().items()}

    def go_to(self, position: Mapping[str, Tensor]) -> None:
        """Go on from :meth:`position`."""
        self._order.load_state_dict({name: tensor.numpy() for name, tensor in position.items()})

    def _images(self, indices: np.ndarray[tuple[int], np.dtype[np.int64]]) -> Tensor:
        if self._resident is None:
            images = torch.from_numpy(self._dataset.images(indices)).to(self._device, non_blocking=True)
        else:
            rows = torch.from_numpy(indices).to(self._device)
            count = len(self._resident)
            images = self._resident[rows % count]
            images = torch.where((rows >= count)[:, None, None, None], images.flip(3), images)
        return images.float() / 127.5 - 1

    def _to_device(self) -> Tensor:
        return torch.from_numpy(self._dataset.all_images()).to(self._device)
