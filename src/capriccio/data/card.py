"""The data card: what a snapshot says about the pictures it was trained on."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any

from capriccio.errors import DatasetError

LICENCE_NOT_STATED = "not stated"

_LISTS = ("class_names", "heldout", "grown_from")


@dataclass(frozen=True, slots=True, kw_only=True)
class DataCard:
    """Facts about a data set that depend on its pictures and settings alone: no path, no host, no time."""

    name: str
    """Base name of the archive or folder, without extension."""
    hash: str
    """SHA-256 over the content hashes of all pictures in reading order, hexadecimal."""
    total: int
    """Pictures in the archive, before anything was set aside."""
    count: int
    """Pictures trained on: after held-out pictures and subset, before mirroring."""
    channels: int
    """Channels of a picture as trained on."""
    height: int
    """Height as trained on, in pixels."""
    width: int
    """Width as trained on, in pixels."""
    c_dim: int
    """Size of a label; 0 = labels absent or not used."""
    class_names: tuple[str, ...] = ()
    """What the classes are called, by their numbers; empty = labels are absent, not used, vectors, or numbers alone."""
    vector_labels: bool = False
    """Whether a label is a vector of numbers, and not a class."""
    mirror: bool
    """Whether mirrored pictures were added."""
    licence: str = LICENCE_NOT_STATED
    """Licence of the pictures, as the archive states it."""
    heldout: tuple[str, ...] = ()
    """Names of the pictures set aside before anything was learnt."""
    grown_from: tuple[str, ...] = ()
    """Hashes of the smaller sets that the run began with, oldest first, where the set grew meanwhile."""

    def to_dict(self) -> dict[str, Any]:
        """Return the card in JSON types."""
        return dataclasses.asdict(self) | {name: list(getattr(self, name)) for name in _LISTS}

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> DataCard:
        """Inverse of :meth:`to_dict`; keys of later versions are ignored.

        Raises: DatasetError if a field is missing.
        """
        known = {field.name for field in dataclasses.fields(cls)}
        fields: dict[str, Any] = {key: value for key, value in values.items() if key in known}
        try:
            return cls(**fields | {name: tuple(fields.get(name, ())) for name in _LISTS})
        except TypeError as error:
            raise DatasetError(f"a data card needs {', '.join(sorted(known))}; it has {sorted(values)}.") from error
