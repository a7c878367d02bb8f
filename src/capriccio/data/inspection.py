"""Looking at a data set: is it sound, what is in it, what does it look like?"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
from numpy.typing import NDArray

from capriccio.data.archive import PictureFiles, open_files, read_index
from capriccio.data.card import LICENCE_NOT_STATED
from capriccio.data.fingerprints import digest, near_duplicate_groups, thumbnail
from capriccio.data.pictures import Pixels, decode
from capriccio.errors import DatasetError
from capriccio.progress import Progress

_THREADS = 4
_CHUNK = 256
_BRIGHTNESS_BINS = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class Inspection:
    """What was found in a data set."""

    path: Path
    count: int
    """Pictures, damaged ones included."""
    num_bytes: int
    """Size of all pictures as stored."""
    shapes: dict[str, int]
    """Pictures by shape, as ``3×64×64`` (channels × height × width); one shape in anything fit for training."""
    formats: dict[str, int]
    """Pictures by ending of their names."""
    licence: str
    licences: dict[str, int]
    """Pictures by licence of their own, where they have one."""
    hash: str
    """As the data card of a network trained on all pictures has it."""
    classes: dict[str, int]
    """Pictures by class; empty without classes."""
    label_dim: int
    """Length of label vectors; 0 without them."""
    recipe: dict[str, Any]
    """How the archive was made; empty where it does not say."""
    brightness: dict[str, int]
    """Pictures by mean level."""
    mean_colour: tuple[float, ...]
    """Mean level of each channel, 0…255."""
    alike: tuple[tuple[str, ...], ...]
    """Groups of near-duplicates, mirrored ones included."""
    damaged: tuple[tuple[str, str], ...]
    """Name and reason of pictures that cannot be read or are not what the archive says."""

    @property
    def is_fit(self) -> bool:
        """Whether a network can be trained on it as it is."""
        return not self.damaged and len(self.shapes) == 1

    def to_dict(self) -> dict[str, Any]:
        """Return everything in JSON types."""
        return {
            "path": str(self.path),
            "fit": self.is_fit,
            "count": self.count,
            "bytes": self.num_bytes,
            "shapes": self.shapes,
            "formats": self.formats,
            "licence": self.licence,
            "licences": self.licences,
            "hash": self.hash,
            "classes": self.classes,
            "label_dim": self.label_dim,
            "recipe": self.recipe,
            "brightness": self.brightness,
            "mean_colour": [round(level, 2) for level in self.mean_colour],
            "near_duplicates": [list(group) for group in self.alike],
            "damaged": [list(pair) for pair in self.damaged],
        }

    def rows(self) -> list[tuple[str, str]]:
        """Return what a person wants to know first, as name and value."""
        rows = [
            ("pictures", f"{self.count:,}, {self.num_bytes / 2**20:.1f} MiB"),
            ("shape", ", ".join(f"{shape} ({number:,})" for shape, number in self.shapes.items())),
            ("formats", ", ".join(f"{name} ({number:,})" for name, number in self.formats.items())),
            ("licence", self.licence),
            ("hash", self.hash[:16]),
            ("mean colour", ", ".join(f"{level:.0f}" for level in self.mean_colour)),
            ("near-duplicates", f"{sum(len(group) - 1 for group in self.alike):,} in {len(self.alike):,} groups"),
            ("damaged", f"{len(self.damaged):,}"),
            ("fit for training", "yes" if self.is_fit else "no"),
        ]
        if self.classes:
            rows.insert(4, ("labels", f"{len(self.classes):,} classes"))
        if self.label_dim:
            rows.insert(4, ("labels", f"vectors of {self.label_dim} numbers"))
        return rows


@dataclass(frozen=True, slots=True)
class _Look:
    """What one picture showed."""

    shape: tuple[int, ...]
    num_bytes: int
    digest: NDArray[np.uint8]
    thumbnail: NDArray[np.uint8]
    means: tuple[float, ...]


def inspect_dataset(path: str | Path, *, progress: Progress | None = None) -> Inspection:
    """Read every picture of an archive or folder and say what is in it; nothing is changed.

    Raises: DatasetError if there is no archive or folder of pictures.
    """
    path = Path(path)
    files = open_files(path)
    index = read_index(files)
    lines = {line["name"]: line for line in index.get("pictures") or [] if isinstance(line, dict) and "name" in line}
    looks: dict[str, _Look] = {}
    damaged = [(name, "is listed in dataset.json and not there") for name in sorted(lines.keys() - set(files.names))]
    for done, (name, look) in enumerate(_looks(files), start=1):
        if isinstance(look, str):
            damaged.append((name, look))
        else:
            looks[name] = look
            if lines.get(name, {}).get("sha256") not in (None, look.digest.tobytes().hex()):
                damaged.append((name, "does not show the pixels that dataset.json says"))
        if progress is not None:
            progress(done, len(files.names))
    found = list(looks.values())
    names = list(looks)
    groups = near_duplicate_groups(np.stack([look.thumbnail for look in found])) if found else []
    classes, label_dim = _labels(index)
    hash_ = hashlib.sha256()
    for look in found:
        hash_.update(look.digest.tobytes())
    return Inspection(
        path=path,
        count=len(files.names),
        num_bytes=sum(look.num_bytes for look in found),
        shapes=dict(Counter("×".join(map(str, look.shape)) for look in found).most_common()),
        formats=dict(Counter(PurePosixPath(name).suffix.lower().lstrip(".") for name in files.names).most_common()),
        licence=str(index.get("licence", LICENCE_NOT_STATED)),
        licences=dict(Counter(line["licence"] for line in lines.values() if "licence" in line).most_common()),
        hash=hash_.hexdigest(),
        classes=classes,
        label_dim=label_dim,
        recipe=index.get("recipe") or {},
        brightness=_brightness(found),
        mean_colour=_mean_colour(found),
        alike=tuple(tuple(names[row] for row in group) for group in groups if len(group) > 1),
        damaged=tuple(damaged),
    )


def _looks(files: PictureFiles) -> Iterator[tuple[str, _Look | str]]:
    """Yield every picture's look, or what is wrong with it, in order."""

    def look(name: str) -> _Look | str:
        try:
            data = files.read(name)
            pixels = decode(data)
        except DatasetError as error:
            return str(error)
        return _Look(pixels.shape, len(data), digest(pixels), thumbnail(pixels), _means(pixels))

    with ThreadPoolExecutor(_THREADS) as pool:
        for start in range(0, len(files.names), _CHUNK):
            chunk = files.names[start : start + _CHUNK]
            yield from zip(chunk, pool.map(look, chunk), strict=True)


def _means(pixels: Pixels) -> tuple[float, ...]:
    return tuple(float(level) for level in pixels.mean(axis=(1, 2)))


def _labels(index: dict[str, Any]) -> tuple[dict[str, int], int]:
    """Return pictures by class, or the length of label vectors."""
    labels = [entry[1] for entry in index.get("labels") or [] if isinstance(entry, list) and len(entry) == 2]
    if labels and all(isinstance(label, list) for label in labels):
        return {}, len(labels[0])
    names = index.get("class_names") or []
    counts = Counter(label for label in labels if isinstance(label, int))
    return {str(names[k]) if k < len(names) else str(k): counts[k] for k in sorted(counts)}, 0


def _brightness(looks: Sequence[_Look]) -> dict[str, int]:
    width = 256 // _BRIGHTNESS_BINS
    bins = Counter(min(int(np.mean(look.means[:3])) // width, _BRIGHTNESS_BINS - 1) for look in looks)
    return {f"{k * width}-{k * width + width - 1}": bins[k] for k in range(_BRIGHTNESS_BINS)} if looks else {}


def _mean_colour(looks: Sequence[_Look]) -> tuple[float, ...]:
    same = [look.means for look in looks if len(look.means) == len(looks[0].means)]
    return tuple(float(level) for level in np.mean(same, axis=0)) if same else ()
