"""How pictures are made from photographs, and which are left out: the settings an archive remembers."""

from __future__ import annotations

import dataclasses
import typing
from dataclasses import dataclass
from typing import Any, Literal, get_args

from capriccio.data.writer import ImageFormat
from capriccio.errors import ConfigError
from capriccio.wording import nearest

CropPolicy = Literal["centre", "random", "pad", "smart"]
ResampleFilter = Literal["lanczos", "box"]
FlawPolicy = Literal["drop", "report", "ignore"]

MODES = {1: "L", 3: "RGB", 4: "RGBA"}
"""Pillow mode by number of channels."""

MAX_DUPLICATE_DISTANCE = 16
"""Beyond this many of 64 bits, pictures that have nothing to do with each other meet."""

MAX_ENLARGE = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """Everything that decides, besides the size, what becomes of a photograph. ``add`` follows the archive's own."""

    channels: int = 3
    """1 = grey, 3 = RGB, 4 = RGBA."""
    image_format: ImageFormat | None = None
    """How pictures are stored: webp and png are lossless, jpeg is small; None = webp, or png where that cannot."""
    crop: CropPolicy = "centre"
    """Which window is taken: the largest in the centre, random ones, the most detailed, or all of it between bars."""
    crops: int = 1
    """Windows per photograph; more than one needs the policy random."""
    seed: int = 0
    """Of random windows; they depend on it and on the file alone, not on the order of files."""
    filter: ResampleFilter = "lanczos"
    """Antialiasing filter."""
    linear: bool = False
    """Whether pictures are reduced in linear light, which keeps fine bright detail bright; slower."""
    background: tuple[int, int, int] = (255, 255, 255)
    """Colour under transparency and of the bars of pad, 0…255; unused for bars of RGBA, which are transparent."""
    max_enlarge: float = 1.0
    """How far a picture may be enlarged; 1 = never."""
    max_aspect: float | None = None
    """Longer over shorter side beyond which a photograph is dropped; None = any."""
    duplicates: FlawPolicy = "report"
    """What becomes of near-duplicates, mirrored ones included; byte-identical files are always left out."""
    duplicate_distance: int = 3
    """Of 64 bits of the perceptual hash, how many may differ between near-duplicates."""
    flat: FlawPolicy = "report"
    """What becomes of pictures that show nearly nothing."""
    borders: FlawPolicy = "report"
    """What becomes of pictures with bars or a frame of one colour."""
    text: FlawPolicy = "report"
    """What becomes of pictures with a strip of lettering along an edge, as of watermarks and captions."""

    def __post_init__(self) -> None:
        for name, kind in typing.get_type_hints(type(self)).items():
            value = getattr(self, name)
            if (words := get_args(kind)) and all(isinstance(word, str) for word in words) and value not in words:
                choice = ", ".join(words)
                raise ConfigError(f"--{name} must be one of {choice}, got '{value}'.{nearest(str(value), words)}")
        if self.channels not in MODES:
            raise ConfigError(f"--channels must be 1 (grey), 3 (RGB) or 4 (RGBA), got {self.channels}.")
        if self.crops < 1:
            raise ConfigError(f"--crops must be at least 1, got {self.crops}.")
        if self.crops > 1 and self.crop != "random":
            raise ConfigError(f"--crops {self.crops} contradicts --crop {self.crop}, which takes one; take random.")
        if self.channels != 3 and self.image_format == "webp":
            raise ConfigError("--format webp keeps neither grey nor RGBA as they are; take png.")
        if self.channels == 4 and self.image_format == "jpeg":
            raise ConfigError("--format jpeg cannot hold RGBA; take png.")
        if not all(0 <= level <= 255 for level in self.background) or len(self.background) != 3:
            raise ConfigError(f"--background must be three numbers in 0..255, got {self.background}.")
        if not 1 <= self.max_enlarge <= MAX_ENLARGE:
            raise ConfigError(f"--max-enlarge must lie in 1..{MAX_ENLARGE}, got {self.max_enlarge:g}.")
        if self.max_aspect is not None and self.max_aspect < 1:
            raise ConfigError(f"--max-aspect is longer over shorter side, at least 1, got {self.max_aspect:g}.")
        if not 0 <= self.duplicate_distance <= MAX_DUPLICATE_DISTANCE:
            most, got = MAX_DUPLICATE_DISTANCE, self.duplicate_distance
            raise ConfigError(f"--duplicate-distance must lie in 0..{most}, got {got}.")

    @property
    def mode(self) -> str:
        """Pillow mode of the pictures."""
        return MODES[self.channels]

    @property
    def stored_format(self) -> ImageFormat:
        """The format chosen, or the one that suits the channels."""
        return self.image_format or ("webp" if self.channels == 3 else "png")

    def check_size(self, size: tuple[int, int]) -> None:
        """Raise ConfigError if no photograph of the aspect of ``size`` (height, width) could ever pass."""
        aspect = max(size) / min(size)
        if self.max_aspect is not None and self.max_aspect < aspect:
            raise ConfigError(
                f"--max-aspect {self.max_aspect:g} contradicts the size {size[0]}×{size[1]}, "
                f"whose own aspect is {aspect:g}."
            )

    def to_dict(self) -> dict[str, Any]:
        """Return the recipe in JSON types."""
        return dataclasses.asdict(self) | {"background": list(self.background)}

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Recipe:
        """Inverse of :meth:`to_dict`. Raises: ConfigError for what this version does not know."""
        known = {field.name for field in dataclasses.fields(cls)}
        if odd := sorted(values.keys() - known):
            raise ConfigError(f"the recipe has settings of a later version ({', '.join(odd)}); update capriccio.")
        try:
            return cls(**values | {"background": tuple(values.get("background", (255, 255, 255)))})
        except TypeError as error:
            raise ConfigError(f"the recipe is damaged ({error}).") from error
