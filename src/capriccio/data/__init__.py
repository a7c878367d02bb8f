"""Pictures on disk: archives and folders, caches, order, held-out pictures, and painted landscapes. Needs no torch."""

from capriccio.data.card import DataCard
from capriccio.data.dataset import DatasetSplit, ImageDataset, open_dataset, peek_shape
from capriccio.data.order import EndlessOrder
from capriccio.data.prepare import BuildReport, build_dataset

__all__ = [
    "BuildReport",
    "DataCard",
    "DatasetSplit",
    "EndlessOrder",
    "ImageDataset",
    "build_dataset",
    "open_dataset",
    "peek_shape",
]
