"""What may happen to pictures before the discriminator sees them, and how often."""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from typing import Literal

from capriccio.config.check import check

AugmentMode = Literal["auto", "none", "ada", "fixed", "light"]
PipeName = Literal[
    "blit", "geom", "color", "filter", "noise", "cutout", "bg", "bgc", "bgcf", "bgcfn", "bgcfnc",
    "light", "landscapes", "faces", "cats", "cars", "art", "textures",
]  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Transformations:
    """What may happen to a picture: a multiplier of p for every transformation (0 = never), and how far it goes.

    Names and default ranges are those of the ADA paper's program.
    """

    xflip: float = 0.0
    """Mirroring left and right."""
    rotate90: float = 0.0
    """Quarter turns."""
    xint: float = 0.0
    """Shifts by whole pixels."""
    xint_max: float = 0.125
    """Largest whole-pixel shift, as a share of the size."""
    scale: float = 0.0
    """Larger and smaller."""
    rotate: float = 0.0
    """Turns by any angle."""
    aniso: float = 0.0
    """Stretching in one direction."""
    xfrac: float = 0.0
    """Shifts by fractions of pixels."""
    scale_std: float = 0.2
    """Deviation of the logarithm, base 2, of the scale."""
    rotate_max: float = 1.0
    """Largest turn, as a share of half a turn."""
    aniso_std: float = 0.2
    """Deviation of the logarithm, base 2, of the stretching."""
    xfrac_std: float = 0.125
    """Deviation of fractional shifts, as a share of the size."""
    brightness: float = 0.0
    """Lighter and darker."""
    contrast: float = 0.0
    """More and less contrast."""
    lumaflip: float = 0.0
    """Light becomes dark and dark light; hues stay."""
    hue: float = 0.0
    """Turning the wheel of hues."""
    saturation: float = 0.0
    """More and less colourful."""
    brightness_std: float = 0.2
    """Deviation of the brightness, in the −1…1 range of pictures."""
    contrast_std: float = 0.5
    """Deviation of the logarithm, base 2, of the contrast."""
    hue_max: float = 1.0
    """Largest turn of the wheel of hues, as a share of half a turn."""
    saturation_std: float = 1.0
    """Deviation of the logarithm, base 2, of the saturation."""
    imgfilter: float = 0.0
    """Amplifying and damping bands of spatial frequencies."""
    imgfilter_bands: tuple[float, ...] = (1.0, 1.0, 1.0, 1.0)
    """Multiplier of each band, from coarse to fine."""
    imgfilter_std: float = 1.0
    """Deviation of the logarithm, base 2, of a band's gain."""
    noise: float = 0.0
    """Gaussian noise on every pixel."""
    noise_std: float = 0.1
    """Deviation of the deviation of the noise."""
    cutout: float = 0.0
    """A grey rectangle somewhere."""
    cutout_size: float = 0.5
    """Side of the rectangle, as a share of the size."""

    def __post_init__(self) -> None:
        numbers = [(f.name, getattr(self, f.name)) for f in fields(self) if f.name != "imgfilter_bands"]
        check(
            "transformations",
            *((value >= 0, f"{name} must be at least 0, got {value}") for name, value in numbers),
            (self.cutout_size <= 1, f"cutout_size must be at most 1, got {self.cutout_size}"),
            (
                len(self.imgfilter_bands) == 4 and min(self.imgfilter_bands, default=0) >= 0,
                f"imgfilter_bands must be four numbers of at least 0, got {list(self.imgfilter_bands)}",
            ),
        )

    @property
    def enabled(self) -> tuple[str, ...]:
        """Names of the transformations that may happen, in the order they are applied."""
        return tuple(name for name in (*_GEOMETRIC, *_COLOURING, *_CORRUPTING) if getattr(self, name) > 0)

    @property
    def has_geometry(self) -> bool:
        """Whether pictures are resampled."""
        return any(getattr(self, name) > 0 for name in _GEOMETRIC)

    @property
    def has_color(self) -> bool:
        """Whether colours change."""
        return any(getattr(self, name) > 0 for name in _COLOURING)


_GEOMETRIC = ("xflip", "rotate90", "xint", "scale", "rotate", "aniso", "xfrac")
_COLOURING = ("brightness", "contrast", "lumaflip", "hue", "saturation")
_CORRUPTING = ("imgfilter", "noise", "cutout")


@dataclass(frozen=True, slots=True, kw_only=True)
class TransformationSettings:
    """The transformations of the pipe, changed one by one; null = as the pipe has it, 0 = off, 1 = as often as p."""

    xflip: float | None = None
    """Mirroring left and right."""
    rotate90: float | None = None
    """Quarter turns."""
    xint: float | None = None
    """Shifts by whole pixels."""
    xint_max: float | None = None
    """Largest whole-pixel shift, as a share of the size."""
    scale: float | None = None
    """Larger and smaller."""
    rotate: float | None = None
    """Turns by any angle."""
    aniso: float | None = None
    """Stretching in one direction."""
    xfrac: float | None = None
    """Shifts by fractions of pixels."""
    scale_std: float | None = None
    """Deviation of the logarithm, base 2, of the scale."""
    rotate_max: float | None = None
    """Largest turn, as a share of half a turn."""
    aniso_std: float | None = None
    """Deviation of the logarithm, base 2, of the stretching."""
    xfrac_std: float | None = None
    """Deviation of fractional shifts, as a share of the size."""
    brightness: float | None = None
    """Lighter and darker."""
    contrast: float | None = None
    """More and less contrast."""
    lumaflip: float | None = None
    """Light becomes dark and dark light; hues stay."""
    hue: float | None = None
    """Turning the wheel of hues."""
    saturation: float | None = None
    """More and less colourful."""
    brightness_std: float | None = None
    """Deviation of the brightness, in the −1…1 range of pictures."""
    contrast_std: float | None = None
    """Deviation of the logarithm, base 2, of the contrast."""
    hue_max: float | None = None
    """Largest turn of the wheel of hues, as a share of half a turn."""
    saturation_std: float | None = None
    """Deviation of the logarithm, base 2, of the saturation."""
    imgfilter: float | None = None
    """Amplifying and damping bands of spatial frequencies."""
    imgfilter_bands: tuple[float, ...] | None = None
    """Multiplier of each band, from coarse to fine."""
    imgfilter_std: float | None = None
    """Deviation of the logarithm, base 2, of a band's gain."""
    noise: float | None = None
    """Gaussian noise on every pixel."""
    noise_std: float | None = None
    """Deviation of the deviation of the noise."""
    cutout: float | None = None
    """A grey rectangle somewhere."""
    cutout_size: float | None = None
    """Side of the rectangle, as a share of the size."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AugmentConfig:
    """Augmentation of what the discriminator sees (ADA; Karras, Aittala, Hellsten, Laine, Lehtinen, Aila 2020)."""

    mode: AugmentMode = "none"
    """none: pictures as they are; ada: as strongly as the discriminator's overfitting asks for; auto: ada for few
    pictures, none for many; fixed: always with probability p; light: always a shift, mild colours and a cutout.
    --augment says the same."""
    pipe: PipeName = "bgc"
    """Set of transformations: letters of the paper (blit, geom, color, filter, noise, cutout), or a subject."""
    p: float = 0.2
    """Probability of each transformation, for `fixed`."""
    initial_p: float = 0.0
    """Where p starts, for `ada`: above 0 where few pictures would be learnt by heart before it has risen."""
    target: float = 0.6
    """What r_t, the mean sign of the discriminator at real pictures, is steered to, for `ada`."""
    interval: int = 4
    """Iterations between two adjustments of p, for `ada`."""
    kimg: float | None = None
    """In how many thousand images p could rise from 0 to 1, for `ada`; null = 500, or 100 in a run that starts from
    another network."""
    cap: float = 0.8
    """p never exceeds this, for `ada`: beyond it transformations appear in the generated pictures."""
    transformations: TransformationSettings = field(default_factory=TransformationSettings)
    """Single transformations."""

    def __post_init__(self) -> None:
        check(
            "augment",
            (0 <= self.p <= 1, f"p must lie in 0..1, got {self.p}"),
            (-1 <= self.target <= 1, f"target must lie in -1..1, got {self.target}"),
            (self.interval >= 1, f"interval must be at least 1, got {self.interval}"),
            (self.kimg is None or self.kimg > 0, f"kimg must be positive or null, got {self.kimg}"),
            (0 < self.cap <= 1, f"cap must lie in 0..1, got {self.cap}"),
            (0 <= self.initial_p <= self.cap, f"initial_p must lie in 0..cap ({self.cap}), got {self.initial_p}"),
        )
