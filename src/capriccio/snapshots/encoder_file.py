"""An encoder in a file of its own, for networks whose snapshot is left alone."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from capriccio.config import from_dict, to_dict
from capriccio.durable import replacing
from capriccio.errors import CapriccioError, SnapshotError
from capriccio.networks.encoder import Encoder, EncoderConfig
from capriccio.snapshots.filling import filled

_KEY = "capriccio-encoder"


def encoder_tensors(encoder: Encoder) -> dict[str, Tensor]:
    """Return its tensors as they are stored: weights in half precision, curvatures, which span more, in single."""
    buffers = dict(encoder.named_buffers())
    return {
        name: tensor.detach().cpu().to(torch.float32 if name in buffers else torch.float16).contiguous()
        for name, tensor in encoder.state_dict().items()
    }


def encoder_hash(encoder: Encoder) -> str:
    """Return the hash of what is stored of an encoder, 16 hexadecimal digits."""
    digest = hashlib.sha256(json.dumps(to_dict(encoder.config), sort_keys=True).encode())
    for name, tensor in sorted(encoder_tensors(encoder).items()):
        digest.update(name.encode())
        digest.update(tensor.numpy().tobytes())
    return digest.hexdigest()[:16]


def rounded(encoder: Encoder) -> Encoder:
    """Round an encoder in place to what is stored of it, so that it guesses the same before and after."""
    encoder.load_state_dict({name: tensor.float() for name, tensor in encoder_tensors(encoder).items()})
    return encoder


def save_encoder(path: Path, encoder: Encoder) -> None:
    """Write an encoder; the file appears complete or not at all. Raises: StorageError."""
    data = save(encoder_tensors(encoder), metadata={_KEY: json.dumps(to_dict(encoder.config), sort_keys=True)})
    path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path) as file:
        file.write(data)


def load_encoder(path: Path, device: torch.device | str = "cpu") -> Encoder:
    """Read what :func:`save_encoder` wrote. Raises: SnapshotError naming the file."""
    try:
        with safe_open(path, "pt") as file:
            config = from_dict(EncoderConfig, json.loads((file.metadata() or {})[_KEY]))
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (not a dict)
        return filled(Encoder, config, tensors).to(device)
    except (OSError, SafetensorError, KeyError, ValueError, CapriccioError) as error:
        raise SnapshotError(f"'{path}' is no encoder, or it is damaged; run 'capriccio calibrate' again.") from error
