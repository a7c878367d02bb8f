"""Editing directions: moves in W that change one thing of a picture, by name; and the file that keeps them.

A direction is a vector that is added to some latent rows. Its length is chosen when it is found, so that strength 1 is
a natural step (``unit`` says of what) and −1 the step back. Directions belong to one network: in another one the same
numbers mean nothing, so that a file names its network by hash.

A file is JSON, so that nothing in it can be executed and people can read it. Those of bundled models lie beside the
weights, ``NAME.directions.json``, and are found by hash.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from capriccio.durable import replacing
from capriccio.errors import ShapeError, UsageError
from capriccio.latent.mixing import Layers, rows_of
from capriccio.loading.bundled import FOLDER
from capriccio.wording import nearest

if TYPE_CHECKING:
    from capriccio.loading.model import Model

SUFFIX = ".directions.json"
"""Ending of the files of bundled models."""

FORMAT_VERSION = 1
"""Raised when older programs could no longer read a file."""

MAX_FILE_BYTES = 64 * 2**20
MAX_STRENGTH = 100.0
"""Largest strength; pictures fall apart long before it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Direction:
    """One move in W."""

    name: str
    """What people call it: "snow"."""
    vector: Tensor
    """What strength 1 adds, [w_dim], float32."""
    rows: tuple[int, ...]
    """Latent rows it is meant for, ascending."""
    unit: str
    """What strength 1 is a step of: "one standard deviation of W along it"."""
    about: str = ""
    """What one sees, in a few words."""
    source: str = ""
    """How it was found."""

    def __post_init__(self) -> None:
        if not _is_name(self.name):
            raise UsageError(f"a direction's name is made of letters, digits, '-' and '_', got '{self.name}'.")
        if self.vector.ndim != 1 or not torch.isfinite(self.vector).all():
            raise ShapeError(f"direction '{self.name}' must be one vector of finite numbers.")
        if not self.rows:
            raise UsageError(f"direction '{self.name}' moves no latent row; name a layer.")


@dataclass(frozen=True, slots=True)
class Change:
    """What is to be changed, as people write it, "snow=2@fine": a direction by its name, how far, and where."""

    name: str
    """Of the direction."""
    strength: float
    """Steps; negative = back."""
    layers: str | None = None
    """Rows that move (see :data:`capriccio.latent.mixing.Layers`); None = the direction's own."""

    def __post_init__(self) -> None:
        check_strength(self.name, self.strength)

    @property
    def text(self) -> str:
        """The change in words: "snow +2 (fine)"."""
        return f"{self.name} {self.strength:+g}" + (f" ({self.layers})" if self.layers else "")


@dataclass(frozen=True, slots=True, kw_only=True)
class Directions:
    """The directions of one network, by name."""

    model_hash: str
    """The network they belong to."""
    num_ws: int
    """Latent rows of the network."""
    listed: tuple[Direction, ...]
    """In the order people see them."""
    licence: str = ""
    """Licence: that of the weights, from which they were computed."""
    facts: Mapping[str, Any] = field(default_factory=dict)
    """Anything measured about them, plain JSON."""

    def __post_init__(self) -> None:
        if len(set(self.names)) != len(self.listed):
            raise UsageError(f"directions need names that differ, got {', '.join(self.names)}.")
        if len({len(direction.vector) for direction in self.listed}) > 1:
            raise ShapeError("directions of one network must be equally long.")
        if any(not 0 <= row < self.num_ws for direction in self.listed for row in direction.rows):
            raise ShapeError(f"a direction moves rows that a network of {self.num_ws} rows does not have.")

    @property
    def names(self) -> tuple[str, ...]:
        """All names."""
        return tuple(direction.name for direction in self.listed)

    def __len__(self) -> int:
        return len(self.listed)

    def __getitem__(self, name: str) -> Direction:
        """Return the direction of that name. Raises: UsageError that lists the names there are."""
        for direction in self.listed:
            if direction.name == name:
                return direction
        raise UsageError(f"'{name}' is not a direction of this model.{nearest(name, self.names)} "
                         f"There are: {', '.join(self.names)}.")  # fmt: skip


def edit(ws: Tensor, directions: Directions, strengths: Mapping[str, float], layers: Layers | None = None) -> Tensor:
    """Return latents moved along directions, several at once.

    Args:
        ws: latents [N, num_ws, w_dim] of the network that the directions belong to; not modified.
        directions: see :func:`load_directions`.
        strengths: steps by name, such as ``{"snow": 2, "daylight": -0.5}``; 0 changes nothing.
        layers: rows that move (see :data:`capriccio.latent.mixing.Layers`); None = those each direction is meant for.

    Returns: new latents, [N, num_ws, w_dim], dtype and device of ``ws``.
    Raises: UsageError for an unknown name, a strength that is not finite, or rows that are not there; ShapeError if
        the latents are not of this network.
    """
    moved = ws.clone()
    for name, strength in strengths.items():
        moved = move(moved, directions[name], strength, layers)
    return moved


def move(ws: Tensor, direction: Direction, strength: float, layers: Layers | None = None) -> Tensor:
    """Return latents ``strength`` steps along one direction; see :func:`edit`."""
    if ws.ndim != 3 or ws.shape[2] != len(direction.vector):
        raise ShapeError(f"ws must be [N, num_ws, {len(direction.vector)}] to move along '{direction.name}', "
                         f"got {list(ws.shape)}.")  # fmt: skip
    check_strength(direction.name, strength)
    rows = direction.rows if layers is None else rows_named(layers, ws.shape[1])
    if rows[-1] >= ws.shape[1]:
        raise ShapeError(f"'{direction.name}' moves row {rows[-1]}; these latents have rows 0-{ws.shape[1] - 1}.")
    moved = ws.clone()
    moved[:, list(rows)] += strength * direction.vector.to(ws)
    return moved


def parse_change(text: str, *, what: str) -> Change:
    """Return the change that NAME=STRENGTH or NAME=STRENGTH@LAYERS says: ``snow=2``, ``haze=-.5@fine``.

    Args:
        text: what somebody wrote.
        what: what it was given as, for messages.

    Raises: UsageError for anything else, or a strength out of range. Whether there are such a direction and such rows
        only a network tells.
    """
    name, equals, rest = (part.strip() for part in text.partition("="))
    strength, at, layers = (part.strip() for part in rest.partition("@"))
    if not _is_name(name):
        raise UsageError(f"{what}: '{text}' is no change; write one like snow=2 or haze=-1@fine.")
    if not equals:
        raise UsageError(f"{what}: '{text}' has no strength; write {name}=2, or {name}=2@middle for some layers.")
    try:
        steps = float(strength)
    except ValueError:
        raise UsageError(f"{what}: the strength of '{name}' must be a number, got '{strength}'.") from None
    return Change(name, steps, layers if at else None)


def check_strength(name: str, strength: float) -> None:
    """Raise UsageError if nothing can be moved so far along the direction ``name``."""
    if not abs(strength) <= MAX_STRENGTH:  # nor is NaN
        raise UsageError(f"the strength of '{name}' must lie in -{MAX_STRENGTH:g}..{MAX_STRENGTH:g}, "
                         f"got {strength}.")  # fmt: skip


def rows_named(layers: Layers, num_ws: int) -> tuple[int, ...]:
    """Return the rows of ``layers`` like :func:`capriccio.latent.mixing.rows_of`; "all" names every row."""
    return tuple(range(num_ws)) if layers == "all" else rows_of(layers, num_ws)


def _is_name(text: str) -> bool:
    return bool(text) and all(letter.isalnum() or letter in "-_" for letter in text)


# ---- files -----------------------------------------------------------------------------------------------------------


def load_directions(model: Model, path: str | Path | None = None) -> Directions:
    """Return the directions of ``model``.

    Args:
        model: the network.
        path: a file of :func:`save_directions`; None = those that come with a bundled model.

    Raises: UsageError if there are none, or the file is damaged or of another network; it says what to do.
    """
    if path is None:
        for shipped in sorted(FOLDER.glob(f"*{SUFFIX}")):
            directions = read_directions(shipped)
            if _are_of(directions, model):
                return directions
        raise UsageError(f"no directions come with this model ({model.model_hash}). Find them with "
                         "'capriccio directions --model M --out FILE' and name the FILE.")  # fmt: skip
    directions = read_directions(Path(path))
    if not _are_of(directions, model):
        raise UsageError(
            f"{path}: made for the model {directions.model_hash}; this one is {model.model_hash}, where they mean "
            "nothing. Use that model, or find this one's with 'capriccio directions --model M --out FILE'."
        )
    return directions


def _are_of(directions: Directions, model: Model) -> bool:
    """Whether directions mean something in a model: its own, or those of the network it was tuned from, whose W is
    its own too.
    """
    return directions.model_hash in (model.model_hash, model.tuned_from)


def save_directions(path: str | Path, directions: Directions) -> Path:
    """Write a directions file, whole or not at all. Raises: UsageError if its ending is not .json."""
    path = Path(path)
    if path.suffix.lower() != ".json":
        raise UsageError(f"{path}: a directions file ends in .json.")
    with replacing(path) as file:
        file.write(_to_text(directions).encode())
    return path


def read_directions(path: Path) -> Directions:
    """Read a directions file. Raises: UsageError, naming it, if it is missing, damaged or of a later version."""
    try:
        if path.stat().st_size > MAX_FILE_BYTES:
            raise UsageError(f"{path}: larger than {MAX_FILE_BYTES >> 20} MiB; not a directions file.")
        return _from_record(json.loads(path.read_text(encoding="utf-8")))
    except FileNotFoundError:
        raise UsageError(f"{path}: there is no such directions file.") from None
    except UsageError as error:
        raise UsageError(str(error) if str(error).startswith(str(path)) else f"{path}: {error}") from error
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RuntimeError, RecursionError) as error:
        raise UsageError(f"{path}: not a directions file, or damaged ({type(error).__name__}: {error}).") from error


def _to_text(directions: Directions) -> str:
    """Return the file, one direction a line; six digits are more than half precision keeps of the weights."""
    head = {
        "format_version": FORMAT_VERSION,
        "model_hash": directions.model_hash,
        "num_ws": directions.num_ws,
        "licence": directions.licence,
        "facts": dict(directions.facts),
    }
    lines = [
        json.dumps({
            "name": d.name, "about": d.about, "rows": list(d.rows), "unit": d.unit, "source": d.source,
            "vector": [float(f"{value:.6g}") for value in d.vector.tolist()],
        }, ensure_ascii=False)
        for d in directions.listed
    ]  # fmt: skip
    opened = json.dumps(head, ensure_ascii=False, indent=1).removesuffix("\n}")
    return opened + ',\n "directions": [\n' + ",\n".join(lines) + "\n ]\n}\n"


def _from_record(record: Any) -> Directions:
    version = record["format_version"]
    if not isinstance(version, int) or version > FORMAT_VERSION:
        raise UsageError(f"has format version {version}; this program reads up to {FORMAT_VERSION}. Update capriccio.")
    return Directions(
        model_hash=str(record["model_hash"]),
        num_ws=int(record["num_ws"]),
        licence=str(record.get("licence", "")),
        facts=dict(record.get("facts", {})),
        listed=tuple(_direction(item) for item in record["directions"]),
    )


def _direction(item: Mapping[str, Any]) -> Direction:
    rows: Sequence[Any] = item["rows"]
    return Direction(
        name=str(item["name"]),
        vector=torch.tensor([float(value) for value in item["vector"]]),
        rows=tuple(sorted({int(row) for row in rows})),
        unit=str(item["unit"]),
        about=str(item.get("about", "")),
        source=str(item.get("source", "")),
    )
