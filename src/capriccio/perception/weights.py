"""Published weights: which file, from where, with which checksum; found by path, by address or in the cache."""

from __future__ import annotations

import hashlib
import re
import urllib.request
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from http.client import HTTPException
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from capriccio.data.cache import cache_folder
from capriccio.durable import replacing
from capriccio.errors import JobError, SnapshotError, UsageError
from capriccio.wording import nearest

_CHUNK_BYTES = 1 << 20
_TIMEOUT_S = 60


@dataclass(frozen=True, slots=True, kw_only=True)
class PublishedWeights:
    """One file of weights that others published."""

    key: str
    """Its name in ``--weights KEY=PATH``."""
    file: str
    """Its file name, also in the cache."""
    url: str
    """Where it is published."""
    sha256: tuple[str, ...]
    """Checksums that are accepted: first that of the file at ``url``."""
    licence: str
    """Licence as its publisher states it."""


INCEPTION_2015 = PublishedWeights(
    key="inception",
    file="pt_inception-2015-12-05-6726825d.pth",
    url="https://github.com/mseitzer/pytorch-fid/releases/download/fid_weights/pt_inception-2015-12-05-6726825d.pth",
    sha256=("6726825d0af5f729cebd5821db510b11b1cfad8faad88a03f1befd49fb9129b2",),
    licence="Apache-2.0",
)
VGG16 = PublishedWeights(
    key="vgg",
    file="vgg16-397923af.pth",
    url="https://download.pytorch.org/models/vgg16-397923af.pth",
    sha256=("397923af8e79cdbb6a7127f12361acd7a2f83e06b05044ddf496e83de57a5bf0",),
    licence="BSD-3-Clause; trained on ImageNet",
)
SQUEEZENET = PublishedWeights(
    key="squeeze",
    file="squeezenet1_1-b8a52dc0.pth",
    url="https://download.pytorch.org/models/squeezenet1_1-b8a52dc0.pth",
    sha256=(
        "b8a52dc049b60e4b6ab68ad0df457362afab8b6304b2febdc1650a5dab4d7e7b",
        # The layers below the classifier alone, in the input convention of the original Caffe model.
        "0032ba45f8f97764eb13e883603696f0372a45f128236ab55a7f52583a38ca0e",
    ),
    licence="BSD-2-Clause; trained on ImageNet",
)
_LPIPS_FOLDER = "https://raw.githubusercontent.com/richzhang/PerceptualSimilarity/master/lpips/weights/v0.1"
LPIPS_VGG_HEADS = PublishedWeights(
    key="lpips-vgg",
    file="lpips-v0.1-vgg.pth",
    url=f"{_LPIPS_FOLDER}/vgg.pth",
    sha256=("a78928a0af1e5f0fcb1f3b9e8f8c3a2a5a3de244d830ad5c1feddc79b8432868",),
    licence="BSD-2-Clause",
)
LPIPS_SQUEEZE_HEADS = PublishedWeights(
    key="lpips-squeeze",
    file="lpips-v0.1-squeeze.pth",
    url=f"{_LPIPS_FOLDER}/squeeze.pth",
    sha256=("4a5350f23600cb79923ce65bb07cbf57dca461329894153e05a1346bd531cf76",),
    licence="BSD-2-Clause",
)
PUBLISHED = {w.key: w for w in (INCEPTION_2015, VGG16, SQUEEZENET, LPIPS_VGG_HEADS, LPIPS_SQUEEZE_HEADS)}
"""All files that can be named with ``--weights``."""

WeightsSources = Mapping[str, str]
"""Where to find published weights: a path or address, optionally followed by ``#SHA-256``, by key."""


@dataclass(frozen=True, slots=True)
class LoadedWeights:
    """Tensors of a checked file."""

    tensors: dict[str, Tensor]
    sha256: str


def parse_sources(texts: Sequence[str]) -> dict[str, str]:
    """Read ``KEY=PATH`` or ``KEY=URL`` texts, as given to ``--weights``.

    Raises: UsageError for a text of another form or an unknown key.
    """
    sources = {}
    for text in texts:
        key, equals, source = text.partition("=")
        if not equals or not source:
            raise UsageError(f"--weights: '{text}' is not of the form KEY=PATH, such as inception=weights.pth.")
        if key not in PUBLISHED:
            raise UsageError(f"--weights: '{key}' is not a network.{nearest(key, PUBLISHED)} "
                             f"There are: {', '.join(PUBLISHED)}.")  # fmt: skip
        sources[key] = source
    return sources


def require(wanted: Sequence[PublishedWeights], sources: WeightsSources, *, cache_dir: Path | None = None) -> None:
    """Check that weights are named or in the cache. Raises: UsageError saying where to get all that are not."""
    absent = [w for w in wanted if w.key not in sources and not _cached(w, cache_dir).exists()]
    if not absent:
        return
    names, places, keys = zip(*((w.file, f"{w.url} (SHA-256 {w.sha256[0]})", w.key) for w in absent), strict=True)
    are, them, those = ("is", "it", "that address") if len(absent) == 1 else ("are", "them", "those addresses")
    raise UsageError(
        f"{' and '.join(names)} {are} not here: get {them} from {' and '.join(places)} and pass "
        f"{' '.join(f'--weights {key}=PATH' for key in keys)}, or pass {those} to have {them} downloaded."
    )


def load_weights(wanted: PublishedWeights, sources: WeightsSources, *, cache_dir: Path | None = None) -> LoadedWeights:
    """Find, check and read a file of weights.

    A path or address in ``sources`` comes first; an address is downloaded into the cache once. Without either the cache
    is looked at, and nothing is downloaded. Another file than the published one is accepted when its SHA-256 is given
    with it, as in ``inception=mine.pth#<64 hexadecimal digits>``.

    Raises: UsageError if there is no such file, saying where to get it; SnapshotError if its checksum or content is
        wrong; JobError if a download fails.
    """
    require([wanted], sources, cache_dir=cache_dir)
    cached = _cached(wanted, cache_dir)
    source = sources.get(wanted.key)
    accepted = wanted.sha256
    if source is None:
        path = cached
    else:
        if stated := re.fullmatch(r"(.+)#([0-9a-fA-F]{64})", source):
            source, accepted = stated[1], (stated[2].lower(),)
        path = _downloaded(source, cached, accepted) if re.match(r"https?://", source) else Path(source)
        if not path.is_file():
            raise UsageError(f"--weights {wanted.key}: there is no file '{path}'.")
    found = file_sha256(path)
    if found not in accepted:
        raise _wrong_checksum(str(path), accepted, found)
    return LoadedWeights(read_tensors(path), found)


def read_tensors(path: Path) -> dict[str, Tensor]:
    """Return the tensors of a .safetensors file or a PyTorch state dict; nothing in it is executed.

    Raises: SnapshotError if the file is neither.
    """
    try:
        tensors = (
            load_file(path)
            if path.suffix == ".safetensors"
            else torch.load(path, weights_only=True, map_location="cpu")
        )
    except (SafetensorError, OSError, ValueError, RuntimeError, EOFError, KeyError) as error:
        first_line = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise SnapshotError(f"'{path}' is no file of tensors ({first_line[:200]}).") from error
    except Exception as error:  # the unpickler's own error is not public
        raise SnapshotError(f"'{path}' holds something else than tensors; it was not read.") from error
    if not isinstance(tensors, dict) or not all(isinstance(t, Tensor) for t in tensors.values()):
        raise SnapshotError(f"'{path}' holds something else than tensors by name.")
    return tensors


def fill(network: nn.Module, weights: LoadedWeights, what: str, *, ignore: Sequence[str] = ()) -> None:
    """Copy tensors into ``network`` by name; counters of batch normalisation may be absent.

    Raises: SnapshotError naming what is missing, too much or of another shape; names that begin with one of ``ignore``
        may be too much.
    """
    given = dict(weights.tensors)
    missing = []
    for name, mine in network.state_dict().items():
        tensor = given.pop(name, None)
        if name.endswith("num_batches_tracked"):
            continue
        if tensor is None or tensor.shape != mine.shape:
            missing.append(f"{name} {list(mine.shape)}")
        else:
            mine.copy_(tensor)
    surplus = [name for name in given if not name.startswith(tuple(ignore) or "\0")]
    if missing or surplus:
        raise SnapshotError(
            f"weights of {what}: "
            + "; ".join(
                f"{word} {', '.join(names[:4])}{' …' if len(names) > 4 else ''}"
                for word, names in (("missing", missing), ("unknown", surplus))
                if names
            )
            + ". This is the file of another network."
        )


def freeze(network: nn.Module, device: torch.device | str) -> None:
    """Make ``network`` ready to be looked through: on ``device``, evaluation mode, no gradients, layout for speed."""
    for parameter in network.parameters():
        if parameter.ndim == 4:
            parameter.data = parameter.data.contiguous(memory_format=torch.channels_last)
    network.to(device).eval().requires_grad_(False)


def file_sha256(path: Path) -> str:
    """Return the SHA-256 of a file, hexadecimal."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def tensors_sha256(tensors: Mapping[str, Tensor]) -> str:
    """Return the SHA-256 over names and values of tensors, hexadecimal."""
    digest = hashlib.sha256()
    for name, tensor in sorted(tensors.items()):
        digest.update(name.encode())
        digest.update(tensor.detach().float().contiguous().cpu().numpy().tobytes())
    return digest.hexdigest()


def _cached(wanted: PublishedWeights, cache_dir: Path | None) -> Path:
    return cache_folder(cache_dir) / "weights" / wanted.file


def _downloaded(url: str, path: Path, accepted: Sequence[str]) -> Path:
    """Return ``path``, where ``url`` was downloaded to now or earlier; what does not match its checksum never stays."""
    if path.exists() and file_sha256(path) in accepted:
        return path
    digest = hashlib.sha256()
    try:
        with urllib.request.urlopen(url, timeout=_TIMEOUT_S) as answer, replacing(path) as file:
            while chunk := answer.read(_CHUNK_BYTES):
                digest.update(chunk)
                file.write(chunk)
            if digest.hexdigest() not in accepted:
                raise _wrong_checksum(url, accepted, digest.hexdigest())
    except SnapshotError:
        raise
    except (OSError, ValueError, HTTPException) as error:
        raise JobError(f"{url} could not be downloaded ({error}); get it by other means and pass its path.") from error
    return path


def _wrong_checksum(where: str, accepted: Sequence[str], found: str) -> SnapshotError:
    return SnapshotError(
        f"'{where}' has the wrong checksum: expected SHA-256 {' or '.join(accepted)}, found {found}. "
        "It is damaged or another file."
    )
