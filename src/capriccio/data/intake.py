"""From the sample of a shard to a picture as it is trained on: which are set aside, how they are cut, their labels."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from capriccio.config import ImageShape
from capriccio.data.building.crops import centre_window, largest_window
from capriccio.data.building.decoding import OVERSIZE, decode_photograph
from capriccio.data.building.recipe import Recipe
from capriccio.data.building.resampling import resize
from capriccio.data.lanes import Picture
from capriccio.data.pictures import PictureError, Pixels, as_pixels, read_header
from capriccio.data.shards import Sample
from capriccio.errors import DatasetError

RECIPES = {channels: Recipe(channels=channels) for channels in (1, 3, 4)}
"""How `capriccio dataset build` makes pictures where nothing else is asked for; by number of channels."""


@dataclass(frozen=True)
class ShardIntake:
    """Which samples are trained on, and how they become pixels: as `capriccio dataset build` cuts its pictures."""

    shape: ImageShape
    c_dim: int
    """Size of the label; 0 = labels are not read."""
    heldout_share: float
    """Share of all pictures that is set aside."""

    def __call__(self, sample: Sample) -> Picture | None:
        """Return the picture of a sample; None if it is set aside.

        Raises: PictureError if it cannot be used; DatasetError if its label does not fit the others.
        """
        data = picture_bytes(sample)
        if is_heldout(data, self.heldout_share):
            return None
        return Picture(to_pixels(data, self.shape), label_vector(sample, self.c_dim))


def picture_bytes(sample: Sample) -> bytes:
    """Return the picture file of a sample. Raises: PictureError if it has none."""
    ending = sample.picture
    if ending is None:
        raise PictureError(f"has no picture among {', '.join(sample.files)}")
    return sample.files[ending]


def is_heldout(data: bytes, share: float) -> bool:
    """Whether a picture file is among the ``share`` of all that is set aside; decided by its bytes alone."""
    return int.from_bytes(hashlib.sha256(data).digest()[:8], "big") < share * 2**64


def to_pixels(data: bytes, shape: ImageShape) -> Pixels:
    """Return a picture cut around its centre and reduced to ``shape``, uint8 [C, H, W].

    Raises: PictureError if it cannot be decoded or is too small.
    """
    size, recipe = (shape.height, shape.width), RECIPES[shape.channels]
    height, width = read_header(data).size
    if height < size[0] or width < size[1]:
        raise PictureError(f"is too small: {height}×{width}, needed at least {size[0]}×{size[1]}")
    shrink = min(OVERSIZE * size[0] / largest_window(height, width, size)[0], 1.0)
    image = decode_photograph(data, recipe.mode, recipe.background, (height * shrink, width * shrink))
    window = centre_window(image.height, image.width, size)
    return as_pixels(resize(image, size, window, resample=recipe.filter))


def label_vector(sample: Sample, c_dim: int) -> NDArray[np.float32]:
    """Return the label of a sample, float32 [c_dim]; classes are one-hot.

    Raises: DatasetError if it is missing or does not fit.
    """
    vector = np.zeros(c_dim, dtype=np.float32)
    if not c_dim:
        return vector
    label = sample.label
    if isinstance(label, int) and not isinstance(label, bool):
        if not 0 <= label < c_dim:
            raise DatasetError(
                f"sample '{sample.key}' has class {label}, but labels have size {c_dim}; say with --generator.c_dim "
                "how many classes there are."
            )
        vector[label] = 1
        return vector
    if isinstance(label, list) and len(label) == c_dim and all(isinstance(x, int | float) for x in label):
        return np.array(label, dtype=np.float32)
    raise DatasetError(
        f"sample '{sample.key}' needs a class below {c_dim} or a list of {c_dim} numbers as its label, got "
        f"{str(label)[:80]}."
    )
