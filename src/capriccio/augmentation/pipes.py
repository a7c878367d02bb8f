"""Which transformations a pipe has: the published sets by their letters, and sets that suit a subject.

Source: the ADA paper, appendix B and figure 4, for the letters b g c f n c. docs/augmentation.md says which
transformation leaks when, and why the sets of the subjects are what they are.
"""

from __future__ import annotations

from dataclasses import fields, replace
from typing import get_args

from capriccio.config import AugmentConfig, PipeName, Transformations, TransformationSettings

_BLIT = {"xflip": 1.0, "rotate90": 1.0, "xint": 1.0}
_GEOM = {"scale": 1.0, "rotate": 1.0, "aniso": 1.0, "xfrac": 1.0}
_COLOR = {"brightness": 1.0, "contrast": 1.0, "lumaflip": 1.0, "hue": 1.0, "saturation": 1.0}
_FILTER = {"imgfilter": 1.0}
_NOISE = {"noise": 1.0}
_CUTOUT = {"cutout": 1.0}

_MILD_LIGHT = {
    "brightness": 1.0, "brightness_std": 0.1, "contrast": 1.0, "contrast_std": 0.25,
    "saturation": 1.0, "saturation_std": 0.4,
}  # fmt: skip

PIPES: dict[PipeName, Transformations] = {
    "blit": Transformations(**_BLIT),
    "geom": Transformations(**_GEOM),
    "color": Transformations(**_COLOR),
    "filter": Transformations(**_FILTER),
    "noise": Transformations(**_NOISE),
    "cutout": Transformations(**_CUTOUT),
    "bg": Transformations(**_BLIT, **_GEOM),
    "bgc": Transformations(**_BLIT, **_GEOM, **_COLOR),
    "bgcf": Transformations(**_BLIT, **_GEOM, **_COLOR, **_FILTER),
    "bgcfn": Transformations(**_BLIT, **_GEOM, **_COLOR, **_FILTER, **_NOISE),
    "bgcfnc": Transformations(**_BLIT, **_GEOM, **_COLOR, **_FILTER, **_NOISE, **_CUTOUT),
    "light": Transformations(
        xint=1.0, brightness=1.0, contrast=1.0, saturation=1.0, cutout=1.0, contrast_std=0.4, saturation_std=0.5
    ),
    # Up is up, the horizon is level and the sky is no green: what a landscape keeps whoever looks at it.
    "landscapes": Transformations(
        xflip=1.0, xint=1.0, xint_max=0.0625, scale=1.0, scale_std=0.1, xfrac=1.0, xfrac_std=0.0625, **_MILD_LIGHT
    ),
    # Aligned: the eyes are where they are, so the frame moves little; skin has few hues.
    "faces": Transformations(
        xflip=1.0, xint=1.0, xint_max=0.03125, scale=1.0, scale_std=0.05, rotate=1.0, rotate_max=0.03,
        xfrac=1.0, xfrac_std=0.03125, **_MILD_LIGHT
    ),  # fmt: skip
    # Animals tilt their heads and stand anywhere; fur comes in few hues.
    "cats": Transformations(
        xflip=1.0, xint=1.0, scale=1.0, scale_std=0.15, rotate=1.0, rotate_max=0.08, aniso=1.0, aniso_std=0.1,
        xfrac=1.0, xfrac_std=0.0625, **_MILD_LIGHT
    ),  # fmt: skip
    # Upright on a road, in any paint.
    "cars": Transformations(
        xflip=1.0, xint=1.0, scale=1.0, scale_std=0.15, aniso=1.0, aniso_std=0.1, xfrac=1.0, xfrac_std=0.0625,
        hue=1.0, **_MILD_LIGHT
    ),  # fmt: skip
    # Composition and palette are what a picture is made of: no mirror (lettering, handedness), no new hues.
    "art": Transformations(
        xint=1.0, xint_max=0.0625, scale=1.0, scale_std=0.15, aniso=1.0, aniso_std=0.1, xfrac=1.0,
        xfrac_std=0.0625, **_MILD_LIGHT
    ),  # fmt: skip
    # No up, no down, no middle; the colour is what tells one from another.
    "textures": Transformations(**_BLIT, **_GEOM, **_MILD_LIGHT),
}
"""Transformations by the name of the pipe; a subject chooses its pipe by name."""

USUAL_KIMG = 500.0
"""In how many thousand images p could rise from 0 to 1, in a run that starts at the beginning."""

TRANSFER_KIMG = 100.0
"""The same for a run that starts from another network: its discriminator knows much already, and overfits sooner."""

LIGHT_P = 1.0
"""Mode `light` always augments: its transformations are mild enough, and there is nothing to steer."""


def transformations(config: AugmentConfig) -> Transformations:
    """Return the transformations of a run: those of its pipe, with what was set one by one put over them."""
    pipe = PIPES["light" if config.mode == "light" else config.pipe]
    given = {field.name: getattr(config.transformations, field.name) for field in fields(TransformationSettings)}
    return replace(pipe, **{name: value for name, value in given.items() if value is not None})


def adaptation_kimg(config: AugmentConfig) -> float:
    """Return in how many thousand images p could rise from 0 to 1."""
    return USUAL_KIMG if config.kimg is None else config.kimg


def color_is_possible(channels: int) -> bool:
    """Return whether colour can be augmented: grey, RGB and RGBA have a brightness, other channels mean other things."""
    return channels in (1, 3, 4)


def describe(config: AugmentConfig, channels: int) -> str:
    """Return what a run does to its pictures, in words for the start-up line."""
    if config.mode == "none":
        return "none"
    chosen = transformations(config)
    if config.mode == "ada":
        how = (
            f"adaptive, p follows r_t to {config.target:g} and never exceeds {config.cap:g} "
            f"({adaptation_kimg(config):g} kimg from 0 to 1)"
        )
    elif config.mode == "fixed":
        how = f"fixed p = {config.p:g}"
    else:
        how = f"always, p = {LIGHT_P:g}"
    pipe = "light" if config.mode == "light" else config.pipe
    changed = " with changes" if chosen != PIPES[pipe] else ""
    note = ""
    if chosen.has_color and not color_is_possible(channels):
        note = f"; no colour transformations, which {channels} channels have no meaning for"
    elif channels == 4:
        note = "; alpha only moves"
    names = ", ".join(chosen.enabled) or "nothing"
    return f"{how}; pipe {pipe}{changed}: {names}{note}"


if set(PIPES) != set(get_args(PipeName)):
    raise AssertionError("every pipe name of the configuration has its transformations, and no other.")
