"""Pictures on disk: archives and folders, caches, order, held-out pictures, and painted landscapes. Needs no torch."""

from capriccio.data.building.build import build_dataset, grow_dataset
from capriccio.data.building.recipe import Recipe
from capriccio.data.building.report import BuildReport
from capriccio.data.card import DataCard
from capriccio.data.dataset import DatasetSplit, ImageDataset, open_dataset, peek_shape
from capriccio.data.order import EndlessOrder

__all__ = [
    "BuildReport",
    "DataCard",
    "DatasetSplit",
    "EndlessOrder",
    "ImageDataset",
    "Recipe",
    "build_dataset",
    "grow_dataset",
    "open_dataset",
    "peek_shape",
]
