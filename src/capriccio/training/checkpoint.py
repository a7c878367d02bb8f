"""Checkpoints: a folder that holds everything a run must remember, whole or absent, with checksums.

A checkpoint is written beside, flushed to disk and renamed. A damaged one is passed over for the one before it.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load as load_tensors
from safetensors.torch import save as save_tensors
from torch import Tensor, nn

from capriccio.durable import sync_folder
from capriccio.errors import RunError, StorageError
from capriccio.training.optimizer import parameters_of
from capriccio.training.state import TrainingState

FORMAT_VERSION = 3
_NETWORKS = ("generator", "discriminator", "generator_ema")
_OPTIMIZERS = ("generator_optimizer", "discriminator_optimizer")
_SCALARS = ("nimg", "iteration", "warm_start_nimg", "salt", "fp32_until_nimg", "seconds", "origin_licence")
_FILES = ("networks.safetensors", "optimizers.safetensors", "position.safetensors", "progress.json")
_PARTIAL, _REPLACED = ".partial", ".replaced"


def checkpoint_name(nimg: int) -> str:
    """Return the folder name of a checkpoint at ``nimg`` images, in whole kimg."""
    return f"checkpoint-{nimg // 1000:06d}"


def save_checkpoint(
    folder: Path,
    state: TrainingState,
    position: dict[str, Tensor],
    progress: dict[str, Any],
    signs: Tensor | None = None,
) -> Path:
    """Write a checkpoint into ``folder``; an older one of the same kimg is replaced only by a complete new one.

    Args:
        folder: the run's ``checkpoints`` folder.
        state: networks, optimisers, clock.
        position: where the run stands in the data order.
        progress: what the loop remembers besides (tick, times), JSON types.
        signs: the discriminator's of all processes, since augmentation was adjusted last; None = there is but one.

    Returns: the path of the checkpoint.
    Raises: StorageError if the disk has no room; older checkpoints are untouched.
    """
    signs = state.augmentation.signs if signs is None else signs
    files = {
        "networks.safetensors": save_tensors(_network_tensors(state)),
        "optimizers.safetensors": save_tensors(_optimizer_tensors(state)),
        "position.safetensors": save_tensors({k: v.contiguous() for k, v in position.items()}),
        "progress.json": json.dumps(
            progress
            | {name: getattr(state, name) for name in _SCALARS}
            | {
                "augmentation": {
                    "p": state.augmentation.adapted_p,
                    "signs": signs.tolist(),
                    "capped_since_nimg": state.augmentation.capped_since_nimg,
                },
                "format_version": FORMAT_VERSION,
            },
            sort_keys=True,
        ).encode(),
    }
    manifest = {name: hashlib.sha256(data).hexdigest() for name, data in files.items()}
    files["manifest.json"] = json.dumps({"nimg": state.nimg, "sha256": manifest}, sort_keys=True).encode()

    final = folder / checkpoint_name(state.nimg)
    partial, replaced = final.with_name(final.name + _PARTIAL), final.with_name(final.name + _REPLACED)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        shutil.rmtree(partial, ignore_errors=True)
        _check_room(folder, sum(map(len, files.values())))
        partial.mkdir()
        for name, data in files.items():
            _write_flushed(partial / name, data)
        sync_folder(partial)
        if final.exists():
            shutil.rmtree(replaced, ignore_errors=True)
            final.rename(replaced)
        partial.rename(final)
        sync_folder(folder)
        shutil.rmtree(replaced, ignore_errors=True)
    except OSError as error:
        shutil.rmtree(partial, ignore_errors=True)
        raise StorageError(f"the checkpoint could not be written to '{folder}' ({error.strerror}).") from error
    return final


def load_newest(
    folder: Path, state: TrainingState, say: Callable[[str], None]
) -> tuple[dict[str, Tensor], dict[str, Any]] | None:
    """Load the newest sound checkpoint of ``folder`` into ``state``; say which damaged ones were passed over.

    Returns: position in the data order and what the loop remembered; None if there is no checkpoint at all.
    Raises: RunError if there are checkpoints but none is sound, or one does not fit the networks of this run.
    """
    found = checkpoints(folder)
    for path in reversed(found):
        try:
            files = _read_verified(path)
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            say(f"'{path.name}' is damaged ({error}); trying the checkpoint before it.")
            continue
        return _restore(path, files, state)
    if found:
        raise RunError(f"none of the {len(found)} checkpoints in '{folder}' is sound; start in another folder.")
    return None


def checkpoints(folder: Path) -> list[Path]:
    """Return the checkpoints of ``folder``, oldest first; unfinished ones do not count."""
    if not folder.is_dir():
        return []
    found = []
    for path in folder.iterdir():
        stem = path.name.removesuffix(_REPLACED)
        # A replaced checkpoint counts when the process died between the two renames.
        is_whole = path.name == stem or not path.with_name(stem).exists()
        if path.name.startswith("checkpoint-") and not path.name.endswith(_PARTIAL) and path.is_dir() and is_whole:
            found.append((_nimg(path), path))
    return [path for _, path in sorted(found)]


def remove_old(folder: Path, keep: int, newest: Path, *, best_nimg: int | None = None) -> None:
    """Remove all but the last ``keep`` checkpoints up to ``newest``, and what unfinished writing left behind.

    That of ``best_nimg`` images, from which the best snapshot was taken, stays too, if it is still there.
    Checkpoints beyond ``newest``, which was just saved, are damaged ones or of a future that was given up; they must
    not push out sound ones.
    """
    found = checkpoints(folder)
    last = found.index(newest) + 1
    kept = [path for place, path in enumerate(found[:last]) if place >= last - keep or _nimg(path)[0] == best_nimg]
    for path in found:
        if path not in kept:
            shutil.rmtree(path, ignore_errors=True)
    for path in folder.glob("checkpoint-*"):
        if path.name.endswith((_PARTIAL, _REPLACED)) and path not in kept:
            shutil.rmtree(path, ignore_errors=True)


# ---- the parts


def _network_tensors(state: TrainingState) -> dict[str, Tensor]:
    tensors = {"pl_mean": state.pl_mean.detach().cpu()}
    for part in _NETWORKS:
        network: nn.Module = getattr(state, part)
        tensors |= {f"{part}.{name}": t.detach().cpu().contiguous() for name, t in network.state_dict().items()}
    return tensors


def _optimizer_tensors(state: TrainingState) -> dict[str, Tensor]:
    tensors: dict[str, Tensor] = {}
    for part in _OPTIMIZERS:
        for index, moments in getattr(state, part).state_dict()["state"].items():
            tensors |= {f"{part}.{index}.{name}": t.detach().cpu().contiguous() for name, t in moments.items()}
    return tensors


def _restore(path: Path, files: dict[str, bytes], state: TrainingState) -> tuple[dict[str, Tensor], dict[str, Any]]:
    progress = _upgraded(json.loads(files["progress.json"]))
    if progress["format_version"] > FORMAT_VERSION:
        raise RunError(f"'{path}' was written by a later version of capriccio; update to resume from it.")
    tensors = load_tensors(files["networks.safetensors"])
    state.pl_mean.copy_(tensors["pl_mean"])
    for part in _NETWORKS:
        network: nn.Module = getattr(state, part)
        wanted = network.state_dict()
        given = {name.removeprefix(part + "."): t for name, t in tensors.items() if name.startswith(part + ".")}
        odd = [name for name in wanted.keys() | given.keys() if name not in given or name not in wanted
               or given[name].shape != wanted[name].shape]  # fmt: skip
        if odd:
            raise RunError(
                f"'{path}' is of a run with other networks ({part}: {', '.join(sorted(odd)[:4])}); "
                "resume with the settings it was started with."
            )
        network.load_state_dict(given)
    moments = load_tensors(files["optimizers.safetensors"])
    for part in _OPTIMIZERS:
        optimizer: torch.optim.Adam = getattr(state, part)
        parameters = parameters_of(optimizer)
        saved: dict[int, dict[str, Tensor]] = {}
        for name, tensor in moments.items():
            owner, index, kind = name.split(".")
            if owner == part:
                saved.setdefault(int(index), {})[kind] = _laid_out_like(parameters[int(index)], tensor)
        optimizer.load_state_dict({"state": saved, "param_groups": optimizer.state_dict()["param_groups"]})
    for name in _SCALARS:
        setattr(state, name, progress.get(name, getattr(state, name)))
    remembered = progress["augmentation"]
    state.augmentation.adapted_p = remembered["p"]
    state.augmentation.signs.copy_(torch.tensor(remembered["signs"]))
    state.augmentation.capped_since_nimg = remembered["capped_since_nimg"]
    return load_tensors(files["position.safetensors"]), progress


def _read_verified(path: Path) -> dict[str, bytes]:
    checksums = json.loads((path / "manifest.json").read_bytes())["sha256"]
    files = {}
    for name in _FILES:
        data = (path / name).read_bytes()
        if hashlib.sha256(data).hexdigest() != checksums[name]:
            raise ValueError(f"{name} does not match its checksum")
        files[name] = data
    return files


def _laid_out_like(parameter: Tensor, moment: Tensor) -> Tensor:
    """Return an optimiser's tensor in the memory layout of its parameter; files hold everything row by row.

    The fused Adam walks through memory, not through indices: in another layout it would pair up the wrong elements.
    """
    return moment if moment.shape != parameter.shape else torch.empty_like(parameter, device="cpu").copy_(moment)


def _upgraded(progress: dict[str, Any]) -> dict[str, Any]:
    """Return what a checkpoint of an older format version would say in the words of this one."""
    progress = {"data_history": []} | progress  # from before data sets could grow
    if progress["format_version"] < 2:
        # Version 1 did not know its pictures' hash, nor whether rounds were small by choice or for want of memory.
        snapshot_nimg = progress["snapshot_nimg"]
        progress = progress | {
            "data_hash": None,
            "memory_limit": None,
            "snapshot_nimg": snapshot_nimg or 0,
            "first_snapshot_done": snapshot_nimg is not None,
        }
    if progress["format_version"] < 3:
        # Versions 1 and 2 knew no augmentation.
        progress = progress | {"augmentation": {"p": 0.0, "signs": [0.0, 0.0], "capped_since_nimg": None}}
    return progress


def _check_room(folder: Path, needed: int) -> None:
    free = shutil.disk_usage(folder).free
    if free < needed * 1.1 + 2**20:
        raise StorageError(
            f"not enough disk for a checkpoint: it takes {needed / 2**20:.1f} MiB, {free / 2**20:.1f} MiB are free in "
            f"'{folder}'. Free some space; the checkpoint before it is kept."
        )


def _nimg(path: Path) -> tuple[int, str]:
    try:
        return int(json.loads((path / "manifest.json").read_bytes())["nimg"]), path.name
    except (OSError, ValueError, KeyError, TypeError):
        digits = path.name.removesuffix(_REPLACED).rsplit("-", 1)[-1]
        return (int(digits) * 1000 if digits.isdigit() else 0), path.name


def _write_flushed(path: Path, data: bytes) -> None:
    with open(path, "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
