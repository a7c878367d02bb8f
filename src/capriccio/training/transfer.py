"""Starting from somebody else's network: going on with it, or taking over what fits."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from capriccio.errors import RunError
from capriccio.interop.foreign import is_foreign, read_network
from capriccio.networks.discriminator import Discriminator
from capriccio.networks.generator import Generator
from capriccio.snapshots.snapshot import Snapshot, load_snapshot
from capriccio.training.state import TrainingState


def continue_from_snapshot(path: Path, state: TrainingState) -> list[str]:
    """Go on with the run that wrote a snapshot: its networks, its count of images, its path-length mean, its
    strength of augmentation.

    What did not travel: the optimisers' moments (learning rates ramp up instead), the raw generator (the average takes
    its place) and the position in the data order (a new one begins).

    Returns: lines for the log.
    Raises: what :func:`continued_snapshot` raises.
    """
    snapshot = continued_snapshot(path, state.generator, state.discriminator)
    assert snapshot.discriminator is not None
    state.generator.load_state_dict(snapshot.generator.state_dict())
    state.generator_ema.load_state_dict(snapshot.generator.state_dict())
    state.discriminator.load_state_dict(snapshot.discriminator.state_dict())
    state.nimg = state.warm_start_nimg = snapshot.facts.nimg
    state.origin_licence = snapshot.facts.licence
    state.pl_mean.fill_(snapshot.facts.pl_mean)
    state.augmentation.adapted_p = min(snapshot.facts.augment_p, state.augmentation.config.cap)
    return [
        f"Continued from {path.name} at {state.nimg / 1000:.1f} kimg; "
        "learning rates ramp up while Adam's moments gather anew."
    ]


def continued_snapshot(path: Path, generator: Generator, discriminator: Discriminator) -> Snapshot:
    """Return the snapshot that a run with these networks can go on from; they may be without memory.

    Raises: RunError if the snapshot has no discriminator, its networks are shaped otherwise, or another program wrote
        it: then it does not say how far its training got. SnapshotError if it cannot be read.
    """
    if is_foreign(path):
        raise RunError(
            f"'{path}' is a network of another program and does not say where its training stands, so it cannot be "
            "gone on with; start a run from it with --init-from."
        )
    snapshot = load_snapshot(path)
    if snapshot.discriminator is None:
        raise RunError(f"'{path}' has no discriminator, so training cannot go on from it; use --init-from.")
    if snapshot.generator.config.shape != generator.config.shape:
        raise RunError(
            f"'{path}' holds a network for pictures of {snapshot.generator.config.shape}, this run has pictures of "
            f"{generator.config.shape}; train at its size, or take over what fits with --init-from."
        )
    for mine, theirs in ((generator, snapshot.generator), (discriminator, snapshot.discriminator)):
        differing = sorted(n for n, t in _tensors(mine).items() if _shape_in(theirs, n) != t.shape)
        if differing or len(_tensors(mine)) != len(_tensors(theirs)):
            raise RunError(
                f"'{path}' holds a network of another shape (such as {', '.join(differing[:3])}); give the settings it "
                "was trained with, or take over what fits with --init-from."
            )
    return snapshot


def init_from_snapshot(path: Path, state: TrainingState) -> list[str]:
    """Copy every tensor that fits by role and resolution; adapt what only differs in size; list the rest.

    Tensors are matched by name, and names say role and level: a 64-pixel network fills levels 4…64 of a 128-pixel one.
    The learned constant and the dense layer after the last map are resampled to another start grid; image channels are
    averaged or repeated.

    Returns: lines for the log: how many tensors were copied, which were adapted, which are fresh, which found no place.
    """
    snapshot = read_network(path)
    state.origin_licence = snapshot.facts.licence
    return [f"init: the licence of {path.name} still applies: {state.origin_licence}.", *take_over(snapshot, state)]


def take_over(snapshot: Snapshot, state: TrainingState) -> list[str]:
    """Do the work of :func:`init_from_snapshot` with a network in memory."""
    lines = []
    generator_lines = _take_over_network(snapshot.generator, state.generator, "generator")
    state.generator_ema.load_state_dict(state.generator.state_dict())
    lines += generator_lines
    if snapshot.discriminator is None:
        lines.append("init: the snapshot has no discriminator; ours is fresh.")
    else:
        lines += _take_over_network(snapshot.discriminator, state.discriminator, "discriminator")
    return lines


@torch.no_grad()
def _take_over_network(theirs: Generator | Discriminator, mine: Generator | Discriminator, what: str) -> list[str]:
    given = _tensors(theirs)
    copied, adapted, fresh = 0, [], []
    for name, tensor in _tensors(mine).items():
        source = given.pop(name, None)
        if source is not None and source.shape == tensor.shape:
            tensor.copy_(source)
            copied += 1
            continue
        fitted = None if source is None else _adapt(name, source, tensor.shape, theirs, mine)
        if fitted is None:
            fresh.append(name)
        else:
            tensor.copy_(fitted)
            adapted.append(name)
    lines = [f"init: {what}: {copied} tensors copied, {len(adapted)} adapted, {len(fresh)} fresh, {len(given)} unused."]
    if copied and any(name.startswith("mapping.layers.") for name in fresh) and isinstance(mine, Generator):
        lines.append(
            "init: generator: warning: the mapping network fits in part, and its fresh layers make noise of what the "
            "others learnt; take all of it, with the source's z_dim, w_dim and mapping."
        )
    elif 2 * _size_of(mine, fresh) > _size_of(mine, _tensors(mine)):
        lines.append(f"init: {what}: warning: most of its numbers are fresh; little is taken over.")
    for word, names in (("adapted", adapted), ("fresh", fresh), ("unused", sorted(given))):
        if names:
            lines.append(f"init: {what}: {word}: {', '.join(names)}.")
    return lines


def _adapt(
    name: str, source: Tensor, shape: torch.Size, theirs: Generator | Discriminator, mine: Generator | Discriminator
) -> Tensor | None:
    """Return ``source`` in ``shape`` where that has a meaning, else None."""
    if name == "mapping.layers.0.weight" and isinstance(mine, Generator) and isinstance(theirs, Generator):
        apart = "joined" not in (mine.config.mapping.labels, theirs.config.mapping.labels)
        alike = apart and mine.config.z_dim == theirs.config.z_dim
        return _with_labels(source, shape, theirs.config.z_dim) if alike else None
    if name.endswith("constant_input") and source.shape[0] == shape[0]:
        return _resample(source, (shape[1], shape[2]))
    if name == "epilogue.fc.weight" and source.shape[0] == shape[0]:
        h, w = theirs.config.shape.start_grid
        size = mine.config.shape.start_grid
        maps = source.reshape(source.shape[0], -1, h, w)
        if maps.shape[1] * size[0] * size[1] != shape[1]:
            return None
        # As many inputs again carry the same signal: keep the sum, and what equalised learning rates divide by.
        gain = (source.shape[1] / shape[1]) ** 0.5
        flat: Tensor = _resample(maps, size).flatten(1) * gain
        return flat
    if ".from_rgb.weight" in name and source.shape[0] == shape[0] and source.shape[2:] == shape[2:]:
        seen: Tensor = _change_channels(source, 1, shape[1]) * (source.shape[1] / shape[1]) ** 0.5
        return seen
    if ".to_rgb." in name and "affine" not in name and source.shape[1:] == shape[1:]:
        return _change_channels(source, 0, shape[0])
    return None


def _with_labels(source: Tensor, shape: torch.Size, z_dim: int) -> Tensor | None:
    """Add the columns of a label to a first layer that had none, or take them away: z is mapped as before."""
    joined = torch.zeros(shape)
    if source.shape[0] != shape[0] or z_dim not in (source.shape[1], shape[1]):
        return None
    # Equalised learning rates divide by the root of the number of inputs.
    joined[:, :z_dim] = source[:, :z_dim] * (shape[1] / source.shape[1]) ** 0.5
    return joined


def _resample(maps: Tensor, size: tuple[int, int]) -> Tensor:
    batch = maps if maps.ndim == 4 else maps[None]
    resized: Tensor = F.interpolate(batch, size=size, mode="bilinear", align_corners=False)
    return resized if maps.ndim == 4 else resized[0]


def _change_channels(source: Tensor, axis: int, count: int) -> Tensor:
    """Keep the first ``count`` image channels (RGBA → RGB), or spread the mean of all over as many as are missing."""
    have = source.shape[axis]
    if count == 1:
        return source.narrow(axis, 0, min(have, 3)).mean(dim=axis, keepdim=True)
    if count <= have:
        return source.narrow(axis, 0, count)
    mean = source.mean(dim=axis, keepdim=True)
    return torch.cat([source] + [mean] * (count - have), dim=axis)


def _size_of(network: nn.Module, names: Iterable[str]) -> int:
    """Return how many numbers some tensors hold; those that map labels say nothing about pictures and do not count."""
    tensors = _tensors(network)
    labels = "mapping." if isinstance(network, Discriminator) else "mapping.embed"
    return sum(tensors[name].numel() for name in names if not name.startswith(labels))


def _tensors(network: nn.Module) -> dict[str, Tensor]:
    return dict(network.state_dict())


def _shape_in(network: nn.Module, name: str) -> torch.Size | None:
    tensor = network.state_dict().get(name)
    return None if tensor is None else tensor.shape
