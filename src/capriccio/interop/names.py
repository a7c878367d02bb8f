"""Tensor names of the StyleGAN2 PyTorch file formats, and ours: the same tensors, other words."""

from __future__ import annotations

import re

_OURS_TO_FIELD = (
    (r"(^|\.)blocks\.(\d+)\.", r"\1b\2."),
    (r"(^|\.)epilogue\.", r"\1b4."),
    (r"(^|\.)layers\.(\d+)\.", r"\1fc\2."),
    (r"\bconstant_input$", "const"),
    (r"\bto_rgb\.", "torgb."),
    (r"\bfrom_rgb\.", "fromrgb."),
)


def to_field_name(name: str) -> str:
    """Return the name that network files of the field use for our tensor ``name``.

    >>> to_field_name("synthesis.blocks.8.conv0.affine.weight")
    'synthesis.b8.conv0.affine.weight'
    """
    for pattern, replacement in _OURS_TO_FIELD:
        name = re.sub(pattern, replacement, name)
    return name
