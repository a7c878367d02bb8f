"""In which of several equal forms the layers of a network compute (see :class:`~capriccio.config.FormsConfig`)."""

from __future__ import annotations

import importlib
import importlib.util
from dataclasses import fields, replace

import torch
from torch import nn

from capriccio.config import FormsConfig
from capriccio.ops.conv import PLAIN

GPU_FORMS = replace(PLAIN, fir="triton", epilogue="pointwise")
"""The forms that are fastest on a GPU: docs/gpu.md."""


class Formed(nn.Module):
    """A layer or network whose operations exist in several forms."""

    forms: FormsConfig = PLAIN
    """Which; plain until :func:`set_forms` says otherwise. None of them is `auto`."""


def set_forms(network: nn.Module, forms: FormsConfig) -> None:
    """Let every layer of ``network`` compute in ``forms``; results differ in rounding only.

    `auto` is decided by the device that ``network`` is on.
    """
    forms = settled_forms(forms, next(network.parameters()).device)
    if forms.fir == "triton":
        importlib.import_module("capriccio.ops.fir_kernel")  # registered now, not while a compiler looks on
    for module in network.modules():
        if isinstance(module, Formed):
            module.forms = forms
    if forms.layout == "contiguous":
        # Weights are stored channels last, and a library follows whichever of its inputs is.
        for parameter in network.parameters():
            parameter.data = parameter.data.contiguous()


def settled_forms(forms: FormsConfig, device: torch.device) -> FormsConfig:
    """Return ``forms`` with every `auto` replaced by what is fastest on ``device``."""
    fastest = GPU_FORMS if device.type == "cuda" else PLAIN
    if importlib.util.find_spec("triton") is None:
        fastest = replace(fastest, fir="depthwise")
    undecided = {f.name: getattr(fastest, f.name) for f in fields(forms) if getattr(forms, f.name) == "auto"}
    return replace(forms, **undecided)
