"""What a picture's subject says about training: which transformations are safe, which part to crop, γ, mapping depth.

The numbers and where they come from are in docs/presets.md.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Literal

from capriccio.config import PipeName, RunConfig, SubjectName
from capriccio.presets import auto_gamma, preset


@dataclass(frozen=True, slots=True, kw_only=True)
class Subject:
    """Choices that suit one kind of picture; anything given in a file or by a flag goes before them."""

    about: str
    pipe: PipeName
    """Set of transformations that leave a picture of this subject one of this subject."""
    mirror: bool
    """Whether the mirror image of a picture might be another picture of the set."""
    crop: Literal["centre", "smart"]
    """Where to cut photographs that have another aspect."""
    gamma_factor: float
    """γ as a multiple of the rule 0.0002·H·W/batch."""
    gamma_reason: str
    mapping_layers: int


SUBJECTS: dict[SubjectName, Subject] = {
    "landscapes": Subject(
        about="up is up and the horizon is level; light changes a little, hues do not",
        pipe="landscapes",
        mirror=True,
        crop="centre",
        gamma_factor=4.0,
        gamma_reason="scenes differ much; the bundled model was trained with it",
        mapping_layers=2,
    ),
    "faces": Subject(
        about="aligned faces: eyes and mouth stay where they are",
        pipe="faces",
        mirror=True,
        crop="centre",
        gamma_factor=5.0,
        gamma_reason="what ADA's preset for FFHQ at 256 pixels amounts to",
        mapping_layers=8,
    ),
    "cats": Subject(
        about="animals: heads tilt, fur has few hues",
        pipe="cats",
        mirror=True,
        crop="smart",
        gamma_factor=0.6,
        gamma_reason="what ADA's preset for AFHQ at 512 pixels amounts to",
        mapping_layers=2,
    ),
    "cars": Subject(
        about="upright things on the ground, near and far, of any size in the frame",
        pipe="cars",
        mirror=True,
        crop="smart",
        gamma_factor=1.0,
        gamma_reason="the rule itself, nothing better is known",
        mapping_layers=2,
    ),
    "art": Subject(
        about="composition and palette matter; no mirror, for lettering and handedness",
        pipe="art",
        mirror=False,
        crop="centre",
        gamma_factor=0.3,
        gamma_reason="what ADA's preset for MetFaces at 1024 pixels amounts to",
        mapping_layers=2,
    ),
    "textures": Subject(
        about="no up, no down, no middle; colour tells one from another",
        pipe="textures",
        mirror=True,
        crop="centre",
        gamma_factor=1.0,
        gamma_reason="the rule itself, nothing better is known",
        mapping_layers=2,
    ),
}


def with_subject(config: RunConfig, name: SubjectName) -> RunConfig:
    """Return ``config`` with the choices of a subject in place of the preset's; γ as for the batch of ``config``."""
    subject = SUBJECTS[name]
    mapping = replace(config.generator.mapping, num_layers=subject.mapping_layers)
    config = replace(
        config,
        subject=name,
        data=replace(config.data, mirror=subject.mirror),
        generator=replace(config.generator, mapping=mapping),
        augment=replace(config.augment, pipe=subject.pipe),
    )
    return replace(config, loss=replace(config.loss, r1_gamma=rule_gamma(config)))


def rule_gamma(config: RunConfig) -> float:
    """Return the R1 weight 0.0002·H·W/batch, times the factor of the subject if there is one."""
    factor = SUBJECTS[config.subject].gamma_factor if config.subject else 1.0
    return factor * auto_gamma(config.generator.shape, config.batch)


def explain_gamma(config: RunConfig) -> str:
    """Return where the run's γ comes from, in words."""
    gamma = config.loss.r1_gamma
    if math.isclose(gamma, rule_gamma(config), rel_tol=1e-6):
        height, width = config.generator.shape.height, config.generator.shape.width
        rule = f"0.0002·{height}·{width}/{config.batch}"
        if config.subject is None:
            return f"the rule {rule}"
        subject = SUBJECTS[config.subject]
        return f"the rule {rule}, times {subject.gamma_factor:g} for {config.subject}: {subject.gamma_reason}"
    if gamma == preset(config.preset, config.generator.shape).loss.r1_gamma:
        return f"of the preset {config.preset}"
    return "as given"
