"""The models that come with the package."""

from __future__ import annotations

from pathlib import Path

from capriccio.errors import SnapshotError
from capriccio.wording import nearest

FOLDER = Path(__file__).parents[1] / "models"
"""Weights lie apart from the code: they have a licence of their own."""

_BEST_FIRST = ("landscapes-64", "landscapes-128")
"""The first is what commands take when nothing is said. landscapes-128 paints the better pictures, but only
landscapes-64 has an encoder and a calibration, and so does all that Capriccio can do."""

_BEST_PAINTER = "landscapes-128"


def bundled_names() -> list[str]:
    """Return the names of the models in this installation, best first."""
    present = {path.stem for path in FOLDER.glob("*.safetensors")}
    return [name for name in _BEST_FIRST if name in present] + sorted(present - set(_BEST_FIRST))


def best_painter() -> str | None:
    """Return the name of the bundled model with the best pictures; None = this installation has none."""
    names = bundled_names()
    return _BEST_PAINTER if _BEST_PAINTER in names else next(iter(names), None)


def bundled_path(name: str | None = None) -> Path:
    """Return the file of a bundled model; None = the best one.

    Raises: SnapshotError if this installation has no such model, or none at all.
    """
    names = bundled_names()
    if not names:
        raise SnapshotError("this installation comes without a bundled model; name one with --model.")
    if name is None:
        name = names[0]
    if name not in names:
        raise SnapshotError(f"'{name}' is not a bundled model.{nearest(name, names)} There are: {', '.join(names)}.")
    return FOLDER / f"{name}.safetensors"
