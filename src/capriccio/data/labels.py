"""Labels of a data set: class indices or vectors, one per picture."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from capriccio.errors import DatasetError

MAX_CLASSES = 1 << 16
"""A larger class index is taken for a mistake: every label would be a vector of that length."""

_LARGEST = 1e30
"""A larger number in a label is taken for a mistake, too."""


@dataclass(frozen=True, slots=True)
class Labels:
    """One label per picture: class indices int64 [N], or vectors float32 [N, dim]."""

    dim: int
    """c_dim: number of classes, or length of the vectors; 0 = no labels."""
    values: NDArray[Any]

    @property
    def are_vectors(self) -> bool:
        """Whether a label is a vector of numbers, and not a class."""
        return self.dim > 0 and self.values.ndim == 2

    def at(self, rows: NDArray[np.int64]) -> NDArray[np.float32]:
        """Return the labels of some pictures, float32 [n, dim]; classes become one-hot vectors."""
        if self.values.ndim == 2:
            return np.ascontiguousarray(self.values[rows], dtype=np.float32)
        one_hot = np.zeros((len(rows), self.dim), dtype=np.float32)
        one_hot[np.arange(len(rows)), self.values[rows]] = 1
        return one_hot


def no_labels(count: int) -> Labels:
    """Return labels of dimension 0 for ``count`` pictures."""
    return Labels(0, np.zeros((count, 0), dtype=np.float32))


def parse_labels(entries: Any, names: Sequence[str], where: str) -> Labels:
    """Read the value of the key ``labels``: ``[[name, label], …]``, labels all integers or all lists of numbers.

    Args:
        entries: the parsed JSON value.
        names: pictures of the data set; each must be listed.
        where: the archive, for error messages.

    Raises: DatasetError naming what is missing or odd.
    """
    listed = _by_name(entries, where)
    missing = [name for name in names if name not in listed]
    if missing:
        raise DatasetError(
            f"'{where}': dataset.json has no label for '{missing[0]}'"
            f"{f' and {len(missing) - 1} other pictures' if len(missing) > 1 else ''}; every picture needs one."
        )
    values = [listed[name] for name in names]
    if all(isinstance(value, int) and not isinstance(value, bool) for value in values):
        return _classes(values, names, where)
    if all(isinstance(value, list) for value in values):
        return _vectors(values, names, where)
    raise DatasetError(f"'{where}': labels must be all integers (classes) or all lists of numbers, not a mixture.")


def _by_name(entries: Any, where: str) -> dict[str, Any]:
    if not isinstance(entries, list):
        raise DatasetError(f"'{where}': 'labels' must be a list of [name, label], got {type(entries).__name__}.")
    for entry in entries:
        if not (isinstance(entry, list) and len(entry) == 2 and isinstance(entry[0], str)):
            raise DatasetError(f"'{where}': each entry of 'labels' must be [name, label], got {str(entry)[:80]}.")
    return dict(entries)


def _classes(values: list[int], names: Sequence[str], where: str) -> Labels:
    for name, value in zip(names, values, strict=True):
        if not 0 <= value < MAX_CLASSES:
            raise DatasetError(f"'{where}': class of '{name}' must lie in 0..{MAX_CLASSES - 1}, got {value}.")
    return Labels(max(values) + 1, np.array(values, dtype=np.int64))


def _vectors(values: list[list[float]], names: Sequence[str], where: str) -> Labels:
    dim = len(values[0])
    for name, value in zip(names, values, strict=True):
        numbers = all(isinstance(x, int | float) and not isinstance(x, bool) and abs(x) < _LARGEST for x in value)
        if not (numbers and len(value) == dim and dim >= 1):
            raise DatasetError(
                f"'{where}': label of '{name}' must be a list of {max(dim, 1)} finite numbers, got {str(value)[:80]}."
            )
    return Labels(dim, np.array(values, dtype=np.float32).reshape(len(values), dim))
