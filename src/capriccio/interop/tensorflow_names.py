"""Variables of the TensorFlow programs by the field's names, and how their arrays change on the way.

Kernels are [kh, kw, in, out] there, style biases lack the 1 that is added when they are used, and the kernels of
up-sampling convolutions are stored unflipped.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping

from torch import Tensor

from capriccio.errors import SnapshotError

_LAYER_NAMES = {"Const": "", "Conv": "conv1", "Conv0_up": "conv0", "Conv1": "conv1", "ToRGB": "torgb", "Skip": "skip"}
_D_LAYER_NAMES = {"FromRGB": "fromrgb", "Conv0": "conv0", "Conv1_down": "conv1", "Skip": "skip", "Conv": "conv",
                  "Dense0": "fc"}  # fmt: skip
Rule = tuple[str, Callable[[Tensor], Tensor]]


def _same(t: Tensor) -> Tensor:
    return t


def _transposed(t: Tensor) -> Tensor:
    return t.t()


def _label_weight(t: Tensor) -> Tensor:
    weight: Tensor = t.t() * t.shape[0] ** 0.5  # used as it is there; our layers divide by the root of what they read
    return weight


def _kernel(t: Tensor) -> Tensor:
    return t.permute(3, 2, 0, 1)


def _flipped_kernel(t: Tensor) -> Tensor:
    return t.flip(0, 1).permute(3, 2, 0, 1)


def _plus_one(t: Tensor) -> Tensor:
    return t + 1


def _first(t: Tensor) -> Tensor:
    return t[0]


def _map(t: Tensor) -> Tensor:
    return t[0, 0]


_PARTS: dict[str, Rule] = {
    "bias": ("bias", _same),
    "noise_strength": ("noise_strength", _same),
    "mod_weight": ("affine.weight", _transposed),
    "mod_bias": ("affine.bias", _plus_one),
}


def generator_rule(name: str) -> Rule | None:
    """Return the field's name of a variable, and what to do with it; None = not part of the network."""
    if name == "dlatent_avg":
        return "mapping.w_avg", _same
    if name == "mapping/LabelConcat/weight":
        return "mapping.embed.weight", _label_weight
    if match := re.fullmatch(r"mapping/(LabelEmbed|Dense(\d+))/(weight|bias)", name):
        layer = "embed" if match[2] is None else f"fc{int(match[2])}"
        return f"mapping.{layer}.{match[3]}", _transposed if match[3] == "weight" else _same
    if match := re.fullmatch(r"synthesis/noise(\d{1,3})", name):
        index = int(match[1])
        level, conv = (4, 1) if index == 0 else (2 ** ((index + 1) // 2 + 2), (index + 1) % 2)
        return f"synthesis.b{level}.conv{conv}.noise_const", _map
    if name == "synthesis/4x4/Const/const":
        return "synthesis.b4.const", _first
    if match := re.fullmatch(r"synthesis/(\d+)x\1/(Conv|Conv0_up|Conv1|ToRGB|Skip)/(\w+)", name):
        layer = f"synthesis.b{match[1]}.{_LAYER_NAMES[match[2]]}"
        if match[3] == "weight":
            return f"{layer}.weight", _flipped_kernel if match[2] in ("Conv0_up", "Skip") else _kernel
        if match[3] in _PARTS:
            part, change = _PARTS[match[3]]
            return f"{layer}.{part}", change
    return None


def discriminator_rule(name: str) -> Rule | None:
    """The same for a discriminator."""
    if match := re.fullmatch(r"(LabelEmbed|Mapping(\d+)|Output)/(weight|bias)", name):
        layer = "b4.out" if match[1] == "Output" else "mapping.embed"
        layer = layer if match[2] is None else f"mapping.fc{int(match[2])}"
        return f"{layer}.{match[3]}", _transposed if match[3] == "weight" else _same
    if match := re.fullmatch(r"(\d+)x\1/(FromRGB|Conv0|Conv1_down|Skip|Conv|Dense0)/(weight|bias)", name):
        is_dense = match[2] == "Dense0"
        change = _same if match[3] == "bias" else (_transposed if is_dense else _kernel)
        return f"b{match[1]}.{_D_LAYER_NAMES[match[2]]}.{match[3]}", change
    return None


def without_growth(variables: Mapping[str, Tensor]) -> tuple[dict[str, Tensor], bool]:
    """Return the variables of a network that grew as those of one that did not, and whether it grew.

    A fully grown network (configurations B to D) uses the layer to or from RGB of its last resolution alone: it is one
    of architecture ``orig``. The layers of lower resolutions are left out.
    """
    if not any("RGB_lod" in name for name in variables):
        return dict(variables), False
    top = max((int(match[1]) for name in variables if (match := re.search(r"(?:^|/)(\d{1,5})x\1/", name))), default=4)
    kept = {}
    for name, value in variables.items():
        match = re.fullmatch(r"(synthesis/)?(?:\d+x\d+/)?(ToRGB|FromRGB)_lod(\d+)/(\w+)", name)
        if match is None:
            kept[name] = value
        elif int(match[3]) == 0:
            kept[f"{match[1] or ''}{top}x{top}/{match[2]}/{match[4]}"] = value
    return kept, True


def renamed(variables: Mapping[str, Tensor], rule: Callable[[str], Rule | None]) -> dict[str, Tensor]:
    """Return the tensors of a network under the field's names.

    Raises: SnapshotError for a variable that ``rule`` does not know, or whose shape is another.
    """
    tensors = {}
    for name, value in variables.items():
        found = rule(name)
        if found is None:
            raise SnapshotError(f"it has a variable that StyleGAN2 does not have: '{name[:100]}'.")
        try:
            tensors[found[0]] = found[1](value)
        except (RuntimeError, IndexError) as error:
            raise SnapshotError(f"its variable '{name[:100]}' has the shape {list(value.shape)}.") from error
    return tensors
