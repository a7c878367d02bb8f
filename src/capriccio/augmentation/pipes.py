"""Which transformations a pipe has: the published sets by their letters, and sets that suit a subject.

Source: the ADA paper, appendix B and figure 4, for the letters b g c f n c. docs/augmentation.md says which
transformation leaks when, and why the sets of the subjects are what they are.
"""

from __future__ import annotations

from dataclasses import fields, replace

from capriccio.config import AugmentConfig, PipeName, Transformations, TransformationSettings, from_dict


def _on(*names: str) -> dict[str, float]:
    return dict.fromkeys(names, 1.0)


_BLIT = _on("xflip", "rotate90", "xint")
_GEOM = _on("scale", "rotate", "aniso", "xfrac")
_COLOR = _on("brightness", "contrast", "lumaflip", "hue", "saturation")
_MILD_LIGHT = _on("brightness", "contrast", "saturation") | {
    "brightness_std": 0.1,
    "contrast_std": 0.25,
    "saturation_std": 0.4,
}

_TABLE: dict[PipeName, dict[str, float]] = {
    "blit": _BLIT,
    "geom": _GEOM,
    "color": _COLOR,
    "filter": _on("imgfilter"),
    "noise": _on("noise"),
    "cutout": _on("cutout"),
    "bg": _BLIT | _GEOM,
    "bgc": _BLIT | _GEOM | _COLOR,
    "bgcf": _BLIT | _GEOM | _COLOR | _on("imgfilter"),
    "bgcfn": _BLIT | _GEOM | _COLOR | _on("imgfilter", "noise"),
    "bgcfnc": _BLIT | _GEOM | _COLOR | _on("imgfilter", "noise", "cutout"),
    "light": _on("xint", "cutout") | _MILD_LIGHT | {"contrast_std": 0.4, "saturation_std": 0.5},
    # Up is up, the horizon is level and the sky is no green: what a landscape keeps whoever looks at it.
    "landscapes": _on("xflip", "xint", "scale", "xfrac")
    | {"xint_max": 0.0625, "scale_std": 0.1, "xfrac_std": 0.0625}
    | _MILD_LIGHT,
    # Aligned: the eyes are where they are, so the frame moves little; skin has few hues.
    "faces": _on("xflip", "xint", "scale", "rotate", "xfrac")
    | {"xint_max": 0.03125, "scale_std": 0.05, "rotate_max": 0.03, "xfrac_std": 0.03125}
    | _MILD_LIGHT,
    # Animals tilt their heads and stand anywhere; fur comes in few hues.
    "cats": _on("xflip", "xint", "scale", "rotate", "aniso", "xfrac")
    | {"scale_std": 0.15, "rotate_max": 0.08, "aniso_std": 0.1, "xfrac_std": 0.0625}
    | _MILD_LIGHT,
    # Upright on a road, near and far. Paint has any hue, but turning the wheel would turn sky and trees with it.
    "cars": _on("xflip", "xint", "scale", "aniso", "xfrac")
    | {"scale_std": 0.15, "aniso_std": 0.1, "xfrac_std": 0.0625}
    | _MILD_LIGHT,
    # Composition and palette are what a picture is made of: no mirror (lettering, handedness), no new hues.
    "art": _on("xint", "scale", "aniso", "xfrac")
    | {"xint_max": 0.0625, "scale_std": 0.15, "aniso_std": 0.1, "xfrac_std": 0.0625}
    | _MILD_LIGHT,
    # No up, no down, no middle; the colour is what tells one from another.
    "textures": _BLIT | _GEOM | _MILD_LIGHT,
}

PIPES: dict[PipeName, Transformations] = {name: from_dict(Transformations, values) for name, values in _TABLE.items()}
"""Transformations by the name of the pipe; a subject chooses its pipe by name."""

FEW_PICTURES = 2000
"""Mode `auto` augments data sets smaller than this; measured, see docs/experiments.md."""

USUAL_KIMG = 500.0
"""In how many thousand images p could rise from 0 to 1, in a run that starts at the beginning."""

LIGHT_P = 1.0
"""Mode `light` always augments: its transformations are mild enough, and there is nothing to steer."""


def transformations(config: AugmentConfig) -> Transformations:
    """Return the transformations of a run: those of its pipe, with what was set one by one put over them."""
    pipe = PIPES["light" if config.mode == "light" else config.pipe]
    given = {field.name: getattr(config.transformations, field.name) for field in fields(TransformationSettings)}
    return replace(pipe, **{name: value for name, value in given.items() if value is not None})


def settled(config: AugmentConfig, num_pictures: float) -> AugmentConfig:
    """Return ``config`` with mode `auto` decided for a data set of ``num_pictures``, without mirrored ones."""
    if config.mode != "auto":
        return config
    return replace(config, mode="ada" if num_pictures < FEW_PICTURES else "none")


def adaptation_kimg(config: AugmentConfig) -> float:
    """Return in how many thousand images p could rise from 0 to 1."""
    return USUAL_KIMG if config.kimg is None else config.kimg


def color_is_possible(channels: int) -> bool:
    """Return whether colour can be augmented: grey, RGB and RGBA have a brightness, other channels other meanings."""
    return channels in (1, 3, 4)


def describe(config: AugmentConfig, channels: int) -> str:
    """Return what a run does to its pictures, in words for the start-up line."""
    if config.mode == "none":
        return "none"
    chosen = transformations(config)
    if config.mode == "auto":
        how = f"adaptive with fewer than {FEW_PICTURES:,} pictures, none with more"
    elif config.mode == "ada":
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
