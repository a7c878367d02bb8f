"""How feature maps and weights lie in memory."""

from __future__ import annotations

import torch

from capriccio.config import FormsConfig

_MEMORY_FORMATS = {"channels_last": torch.channels_last, "contiguous": torch.contiguous_format}


def memory_format(forms: FormsConfig) -> torch.memory_format:
    """Return PyTorch's word for the layout of ``forms``."""
    return _MEMORY_FORMATS[forms.layout]
