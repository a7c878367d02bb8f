"""Capriccio: StyleGAN2 as a product.

The public names are loaded on first use, so that ``import capriccio`` costs nothing and needs no torch.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:
    from capriccio.config import RunConfig
    from capriccio.data.building.build import build_dataset
    from capriccio.detection.detect import detect
    from capriccio.detection.detector import Verdict
    from capriccio.errors import CapriccioError
    from capriccio.inversion.pivotal import tune
    from capriccio.inversion.project import project
    from capriccio.inversion.projection import Projection
    from capriccio.latent.directions import edit, load_directions
    from capriccio.latent.mixing import mix
    from capriccio.loading.model import Model, load
    from capriccio.metrics.evaluation import evaluate
    from capriccio.training.train import train

_HOME = {
    "CapriccioError": "capriccio.errors",
    "Model": "capriccio.loading.model",
    "Projection": "capriccio.inversion.projection",
    "RunConfig": "capriccio.config",
    "Verdict": "capriccio.detection.detector",
    "build_dataset": "capriccio.data.building.build",
    "edit": "capriccio.latent.directions",
    "detect": "capriccio.detection.detect",
    "evaluate": "capriccio.metrics.evaluation",
    "load": "capriccio.loading.model",
    "load_directions": "capriccio.latent.directions",
    "mix": "capriccio.latent.mixing",
    "project": "capriccio.inversion.project",
    "train": "capriccio.training.train",
    "tune": "capriccio.inversion.pivotal",
}

__all__ = [
    "CapriccioError",
    "Model",
    "Projection",
    "RunConfig",
    "Verdict",
    "build_dataset",
    "detect",
    "edit",
    "evaluate",
    "load",
    "load_directions",
    "mix",
    "project",
    "train",
    "tune",
]


def __getattr__(name: str) -> Any:
    if name in _HOME:
        return getattr(importlib.import_module(_HOME[name]), name)
    raise AttributeError(f"module 'capriccio' has no attribute '{name}'")


def __dir__() -> list[str]:
    return sorted([*__all__, "__version__"])
