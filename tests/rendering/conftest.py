"""A small deterministic network's stand-in, so that files can be tested without weights."""

import numpy as np
import pytest
import torch

from capriccio.config import ImageShape
from capriccio.errors import UsageError
from capriccio.loading.model import Model
from capriccio.snapshots.snapshot import SnapshotFacts


class PaintedModel:
    """Paints bands whose colours, slope and ripples come from coarse, middle and fine latent rows."""

    z_dim = w_dim = 16
    model_hash = "f00dfeed" * 8
    tuned_from = tuning = None
    licence = "for tests only"
    device = torch.device("cpu")
    facts, class_names = SnapshotFacts(), ()
    class_index, classes_told = Model.class_index, Model.classes_told

    def __init__(self, channels=3, height=32, width=32, c_dim=0):
        self.shape = ImageShape(channels=channels, height=height, width=width)
        self.size, self.channels, self.num_ws, self.c_dim = (height, width), channels, self.shape.num_ws, c_dim
        self.card = {"licence": self.licence}
        self.largest_batch = 0

    def z(self, seeds):
        rows = [np.random.RandomState(seed).randn(1, self.z_dim) for seed in seeds]
        return torch.from_numpy(np.concatenate(rows)).float()

    def label(self, class_index, n):
        return torch.nn.functional.one_hot(torch.full((n,), class_index), self.c_dim).float()

    def ws(self, z=None, seeds=None, c=None, truncation_psi=1.0, truncation_cutoff=None):
        w = self.z(seeds) if z is None else z
        if c is not None:
            w = w + c.argmax(1, keepdim=True)
        ws = w[:, None].repeat(1, self.num_ws, 1)
        ws[:, :truncation_cutoff] *= truncation_psi
        return ws

    def images(self, ws, noise_mode="const", noise_seeds=None, noise_maps=None):
        if noise_mode == "random" and len(noise_seeds) != len(ws):
            raise UsageError("one noise seed per image")
        self.largest_batch = max(self.largest_batch, len(ws))
        height, width = self.size
        y = torch.linspace(-1, 1, height)[:, None]
        x = torch.linspace(-1, 1, width)[None, :]
        pictures = []
        for i, w in enumerate(ws):
            coarse, middle, fine = w[:3].mean(0), w[-1:] if len(w) < 4 else w[3:7], w[-1]
            middle = middle.mean(0)
            horizon = torch.tanh(6 * (y - 0.4 * coarse[0] + 0.3 * coarse[1] * x))
            hills = 0.25 * torch.sin(3 * x * (1 + middle[0].abs()) + 4 * y + middle[1])
            colours = torch.tanh(fine[: self.channels % 16])[:, None, None]
            picture = 0.7 * horizon * colours + hills + 0.2 * colours
            if noise_mode == "random":
                generator = torch.Generator().manual_seed(noise_seeds[i])
                picture = picture + 0.1 * torch.randn(height, width, generator=generator)
            pictures.append(picture)
        return torch.stack(pictures)


@pytest.fixture
def model():
    return PaintedModel()


@pytest.fixture
def painted():
    """Make a model of another shape."""
    return PaintedModel
