"""Labels from outside: of sub-folders, of a CSV or JSON file, or those a source itself carries."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Literal, Protocol

from capriccio.data.building.items import Item
from capriccio.errors import DatasetError

LabelKind = Literal["auto", "none", "folders", "file"]
"""Where labels come from; an archive remembers it."""

_FILE_COLUMNS = ("file", "filename", "file_name", "name", "image", "path", "url")
LABEL_COLUMNS = ("label", "class", "category")


class LabelSource(Protocol):
    """Gives pictures their labels."""

    kind: LabelKind

    def label_of(self, item: Item) -> Any:
        """Return a class index, class name or list of numbers; None when there is none."""
        ...

    @property
    def why_none(self) -> str | None:
        """Why a picture without label is left out; None when it need not have one."""
        ...


class OwnLabels:
    """What the sources say: CIFAR-10, MNIST, shards, ``dataset.json``, the label column of a list of addresses."""

    kind: LabelKind = "auto"

    def __init__(self, *, required: bool = False) -> None:
        self.why_none = "has no label, but the archive's pictures have" if required else None

    def label_of(self, item: Item) -> Any:
        """Return the item's own label."""
        return item.label


class NoLabels:
    """Labels are not wanted."""

    kind: LabelKind = "none"
    why_none: str | None = None

    def label_of(self, item: Item) -> Any:
        """Return None."""
        return None


class FolderLabels:
    """The first folder of a file's name is its class."""

    kind: LabelKind = "folders"
    why_none: str | None = "lies in no sub-folder, so it has no label"

    def label_of(self, item: Item) -> Any:
        """Return the name of the first folder."""
        folder, slash, _ = item.name.partition("/")
        return folder if slash else None


class TableLabels:
    """Labels by file name."""

    kind: LabelKind = "file"

    def __init__(self, path: Path, table: dict[str, Any]) -> None:
        self.path = path
        self._table = table
        self._met: set[str] = set()
        self.why_none: str | None = f"has no label in '{path.name}'"

    def label_of(self, item: Item) -> Any:
        """Return the label of the file of that name."""
        label = self._table.get(item.name)
        if label is not None:
            self._met.add(item.name)
        return label

    def check_names(self, names: Iterable[str]) -> None:
        """Raise DatasetError if a file that the table names is not among ``names``."""
        self._refuse(self._table.keys() - set(names))

    def check_met(self) -> None:
        """Raise DatasetError if a file that the table names never came."""
        self._refuse(self._table.keys() - self._met)

    def _refuse(self, missing: set[str]) -> None:
        if missing:
            more = f" and {len(missing) - 1} other files that are" if len(missing) > 1 else ", which is"
            raise DatasetError(
                f"labels '{self.path}': names '{min(missing)}'{more} not in the source; names are relative to it."
            )


def read_label_file(path: Path) -> TableLabels:
    """Read labels by file name from CSV or JSON.

    CSV: the first line names the columns; one of ``file``, ``name``, ``path`` … has the name, and either one column
    ``label`` or ``class`` the class, or all other columns the numbers of a vector. JSON: ``{name: label}`` or
    ``{"labels": [[name, label], …]}``.

    Raises: DatasetError if the file cannot be understood or its labels are of several kinds.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
        table = _from_json(text) if path.suffix.lower() == ".json" else _from_csv(text)
    except OSError as error:
        raise DatasetError(f"labels '{path}' cannot be read ({error.strerror}).") from error
    except (ValueError, csv.Error) as error:
        raise DatasetError(f"labels '{path}': {error}.") from error
    if not table:
        raise DatasetError(f"labels '{path}': there is no label in it.")
    kinds = {type(label) for label in table.values()}
    if len(kinds) > 1 or not kinds <= {int, str, list}:
        raise DatasetError(f"labels '{path}': all must be class numbers, class names, or lists of numbers alike.")
    return TableLabels(path, table)


def parse_class(text: str) -> int | str:
    """Return a class number where the text is one, else the class name."""
    return int(text) if text.strip().isdecimal() else text.strip()


def _from_json(text: str) -> dict[str, Any]:
    values = json.loads(text)
    if isinstance(values, dict) and isinstance(values.get("labels"), list):
        values = values["labels"]
    if isinstance(values, list):
        if not all(isinstance(entry, list) and len(entry) == 2 and isinstance(entry[0], str) for entry in values):
            raise ValueError("each entry must be [name, label]")
        return dict(values)
    if isinstance(values, dict):
        return values
    raise ValueError("must hold {name: label} or [[name, label], …]")


def _from_csv(text: str) -> dict[str, Any]:
    rows = csv.DictReader(text.splitlines())
    columns = [column.strip().lower() for column in rows.fieldnames or ()]
    rows.fieldnames = columns
    file = next((column for column in _FILE_COLUMNS if column in columns), None)
    if file is None:
        raise ValueError(f"the first line must name the columns, one of them {', '.join(_FILE_COLUMNS[:4])}")
    label = next((column for column in LABEL_COLUMNS if column in columns), None)
    others = [column for column in columns if column != file]
    if label is None and not others:
        raise ValueError("there is no column with labels")
    table: dict[str, Any] = {}
    for number, row in enumerate(rows, start=2):
        if any(row[column] is None for column in columns):
            raise ValueError(f"line {number} has fewer columns than the first")
        try:
            table[row[file]] = parse_class(row[label]) if label else [float(row[column]) for column in others]
        except ValueError as error:
            raise ValueError(f"line {number}: {error}") from error
    if {type(value) for value in table.values()} == {int, str}:  # names some of which are digits
        table = {name: str(value) for name, value in table.items()}
    return table
