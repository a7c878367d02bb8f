"""Tunings: how a network that was tuned for some pictures differs from the one it was tuned from, in a small file.

Fine-tuning for a photograph changes every weight a little. Written as a product of two thin matrices, layer by layer,
the change takes an eighth of the generator, and what was lost by that is measured. The network itself is never
touched: a tuning names the hash of its network, and is refused by every other.

A file is ``.safetensors`` with float16 arrays ``NAME.left`` [O, r] and ``NAME.right`` [r, rest], or ``NAME.whole``,
for every changed tensor of the generator, and the entry ``capriccio`` (canonical JSON). Nothing in it is executed.
"""

from __future__ import annotations

import copy
import dataclasses
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save as safetensors_bytes
from torch import Tensor

from capriccio.durable import replacing
from capriccio.errors import SnapshotError, UsageError
from capriccio.networks.generator import Generator
from capriccio.snapshots.snapshot import TUNING_KIND, Snapshot, model_hash

FORMAT_VERSION = 1
SUFFIX = ".safetensors"

_KEY = "capriccio"


@dataclass(frozen=True, slots=True, kw_only=True)
class Tuning:
    """The change of a generator."""

    base: str
    """Hash of the network it belongs to."""
    tuned: str
    """Hash of the network that results."""
    tensors: Mapping[str, Tensor]
    """What a file holds: float16, by name of the generator's tensor and part."""
    facts: Mapping[str, Any] = field(default_factory=dict)
    """For which pictures, how, and how much nearer they came: plain JSON data."""
    file: str = ""
    """Where it was read from, for messages."""

    @property
    def num_bytes(self) -> int:
        """Bytes of its tensors."""
        return sum(t.numel() * t.element_size() for t in self.tensors.values())

    def save(self, path: str | Path) -> Path:
        """Write it, whole or not at all. Raises: UsageError for another ending; StorageError if the disk is full."""
        path = Path(path)
        if path.suffix.lower() != SUFFIX:
            raise UsageError(f"{path}: a tuning ends in {SUFFIX}.")
        header = {
            "format_version": FORMAT_VERSION, "kind": TUNING_KIND, "base": self.base, "tuned": self.tuned,
            "facts": dict(self.facts),
        }  # fmt: skip
        told = json.dumps(header, sort_keys=True, separators=(",", ":"), ensure_ascii=True)
        with replacing(path) as file:
            file.write(safetensors_bytes(dict(self.tensors), metadata={_KEY: told}))
        return path


class WeightChange:
    """What was done to every tensor of a generator, taken apart so that it can be stored at any rank."""

    def __init__(self, before: Generator, after: Generator) -> None:
        """Compare two generators of one configuration; tensors that are equal are left out."""
        self._before = before
        self._shapes: dict[str, torch.Size] = {}
        self._whole: dict[str, Tensor] = {}
        self._factors: dict[str, tuple[Tensor, Tensor, Tensor]] = {}
        after_tensors = after.state_dict()
        for name, old in before.state_dict().items():
            change = (after_tensors[name] - old).detach().float().cpu()
            if not bool(change.any()):
                continue
            self._shapes[name] = change.shape
            if _is_weight(change):
                self._factors[name] = torch.linalg.svd(change.flatten(1), full_matrices=False)
            else:
                self._whole[name] = change

    def tuning(self, rank: int | None, facts: Mapping[str, Any] | None = None) -> Tuning:
        """Return the change with weights cut to ``rank``; None = every number in half precision."""
        tensors = {f"{name}.whole": change.half() for name, change in self._whole.items()}
        for name, (left, values, right) in self._factors.items():
            height, width = left.shape[0], right.shape[1]
            if rank is None or rank * (height + width) >= height * width:
                tensors[f"{name}.whole"] = ((left * values) @ right).reshape(self._shapes[name]).half()
            else:
                # The singular values go to both sides: neither leaves the range of half precision.
                root = values[:rank].sqrt()
                tensors[f"{name}.left"] = (left[:, :rank] * root).half().contiguous()
                tensors[f"{name}.right"] = (root[:, None] * right[:rank]).half().contiguous()
        plain = Tuning(base=model_hash(self._before), tuned="", tensors=tensors, facts=facts or {})
        return dataclasses.replace(plain, tuned=model_hash(tuned_generator(self._before, plain)))


def _is_weight(tensor: Tensor) -> bool:
    """Whether two thin matrices can be smaller than the tensor: matrices and kernels, no constants of one layer."""
    return tensor.ndim in (2, 4) and min(tensor.shape[0], tensor[0].numel()) > 1


@torch.no_grad()
def tuned_generator(generator: Generator, tuning: Tuning) -> Generator:
    """Return a copy of ``generator`` with the change applied.

    The change is rounded to half precision before it is added, so that the sum, and with it the hash of the network,
    does not depend on the order in which a machine adds up a matrix product.

    Raises: SnapshotError if the tuning belongs to another network, or its tensors do not fit.
    """
    mine, told = model_hash(generator), f"'{tuning.file}'" if tuning.file else "this tuning"
    if mine != tuning.base:
        raise SnapshotError(f"{told} belongs to the network {tuning.base}, and the model is {mine}; use the model it "
                            "was made with.")  # fmt: skip
    changed = copy.deepcopy(generator)
    tensors = changed.state_dict()
    for name, parts in _by_name(tuning.tensors).items():
        target = tensors.get(name)
        change = _dense(parts)
        if target is None or change is None or change.numel() != target.numel() or not bool(change.isfinite().all()):
            raise SnapshotError(f"{told} is damaged: '{name}' is no tensor of its network, or of another shape.")
        target += change.reshape(target.shape).to(target)
    return changed


def tuned_snapshot(snapshot: Snapshot, tuning: Tuning) -> Snapshot:
    """Return a network with a tuning applied, to be saved as a snapshot of its own.

    Its card tells where it comes from. A calibration stays behind: it was measured on another network.

    Raises: as :func:`tuned_generator`.
    """
    facts = snapshot.facts
    title = str(facts.card.get("title", "")) or "Network"
    card = facts.card | {"title": f"{title}, tuned", "tuning": {"base": tuning.base, **tuning.facts}}
    return Snapshot(
        generator=tuned_generator(snapshot.generator, tuning),
        discriminator=snapshot.discriminator,
        facts=dataclasses.replace(facts, card=card, calibration={}),
    )


def load_tuning(path: str | Path) -> Tuning:
    """Read a tuning. Raises: SnapshotError naming the file if it is missing, damaged or something else."""
    path = Path(path)
    try:
        with safe_open(path, "pt") as file:
            header = json.loads((file.metadata() or {})[_KEY])
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (not a dict)
        if header["kind"] != TUNING_KIND:
            raise KeyError("kind")
        version, base, tuned, facts = header["format_version"], header["base"], header["tuned"], header["facts"]
    except FileNotFoundError:
        raise SnapshotError(f"'{path}' does not exist.") from None
    except (OSError, SafetensorError) as error:
        raise SnapshotError(f"'{path}' is not a tuning, or it is truncated.") from error
    except (KeyError, TypeError, ValueError) as error:
        raise SnapshotError(f"'{path}' is not a tuning; 'capriccio project --tune' writes them.") from error
    if not isinstance(version, int) or version > FORMAT_VERSION:
        raise SnapshotError(f"'{path}' has format version {version}; this program reads up to {FORMAT_VERSION}.")
    for name, tensor in tensors.items():
        if tensor.dtype != torch.float16 or not bool(tensor.isfinite().all()):
            raise SnapshotError(f"'{path}' is damaged: '{name}' does not hold finite half-precision numbers.")
    facts = facts if isinstance(facts, dict) else {}
    return Tuning(base=str(base), tuned=str(tuned), tensors=tensors, facts=facts, file=str(path))


def _by_name(tensors: Mapping[str, Tensor]) -> dict[str, dict[str, Tensor]]:
    named: dict[str, dict[str, Tensor]] = {}
    for key, tensor in tensors.items():
        name, _, part = key.rpartition(".")
        named.setdefault(name, {})[part] = tensor
    return named


def _dense(parts: Mapping[str, Tensor]) -> Tensor | None:
    """Return the change that the parts make up, rounded to half precision; None if they make up none."""
    if parts.keys() == {"whole"}:
        return parts["whole"]
    if parts.keys() != {"left", "right"}:
        return None
    left, right = parts["left"].double(), parts["right"].double()
    if left.ndim != 2 or right.ndim != 2 or left.shape[1] != right.shape[0]:
        return None
    return (left @ right).half()
