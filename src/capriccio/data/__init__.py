"""Pictures on disk: archives and folders, caches, order, held-out pictures, and painted landscapes. Needs no torch.

The names are loaded on first use: the processes that prepare pictures need a fraction of the room and start at once.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from capriccio.data.building.build import build_dataset, grow_dataset
    from capriccio.data.building.recipe import Recipe
    from capriccio.data.building.report import BuildReport
    from capriccio.data.card import DataCard
    from capriccio.data.dataset import DatasetSplit, ImageDataset, open_dataset, peek_shape
    from capriccio.data.inspection import inspect_dataset
    from capriccio.data.order import EndlessOrder

_HOME = {
    "BuildReport": "building.report",
    "DataCard": "card",
    "DatasetSplit": "dataset",
    "EndlessOrder": "order",
    "ImageDataset": "dataset",
    "Recipe": "building.recipe",
    "build_dataset": "building.build",
    "grow_dataset": "building.build",
    "inspect_dataset": "inspection",
    "open_dataset": "dataset",
    "peek_shape": "dataset",
}

__all__ = [
    "BuildReport",
    "DataCard",
    "DatasetSplit",
    "EndlessOrder",
    "ImageDataset",
    "Recipe",
    "build_dataset",
    "grow_dataset",
    "inspect_dataset",
    "open_dataset",
    "peek_shape",
]


def __getattr__(name: str) -> Any:
    if name in _HOME:
        return getattr(importlib.import_module(f"capriccio.data.{_HOME[name]}"), name)
    raise AttributeError(f"module 'capriccio.data' has no attribute '{name}'")
