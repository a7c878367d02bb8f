"""In which of several equal forms the layers of a network compute (see :class:`~capriccio.config.FormsConfig`)."""

from __future__ import annotations

import importlib

from torch import nn

from capriccio.config import FormsConfig


class Formed(nn.Module):
    """A layer or network whose operations exist in several forms."""

    forms: FormsConfig = FormsConfig()
    """Which; plain until :func:`set_forms` says otherwise."""


def set_forms(network: nn.Module, forms: FormsConfig) -> None:
    """Let every layer of ``network`` compute in ``forms``; results differ in rounding only."""
    if forms.fir == "triton":
        importlib.import_module("capriccio.ops.fir_kernel")  # registered now, not while a compiler looks on
    for module in network.modules():
        if isinstance(module, Formed):
            module.forms = forms
    if forms.layout == "contiguous":
        # Weights are stored channels last, and a library follows whichever of its inputs is.
        for parameter in network.parameters():
            parameter.data = parameter.data.contiguous()
