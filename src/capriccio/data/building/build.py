"""From any pictures to a training archive, and from an archive to a larger one."""

from __future__ import annotations

import base64
from collections import Counter
from collections.abc import Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from capriccio.config import ImageShape
from capriccio.data.archive import ZipFiles, open_files, read_index
from capriccio.data.building.items import Item, Source
from capriccio.data.building.likeness import LikenessIndex
from capriccio.data.building.lock import check_archive_name, check_new_archive, writing_alone
from capriccio.data.building.pool import Prepared, prepare_all, usable_processors
from capriccio.data.building.recipe import Recipe
from capriccio.data.building.report import BuildReport, Entry, Example, Status, why_nothing
from capriccio.data.building.source_labels import (
    FolderLabels,
    LabelSource,
    NoLabels,
    OwnLabels,
    TableLabels,
    read_label_file,
)
from capriccio.data.building.sources import open_sources
from capriccio.data.building.worker import Outcome, Task, preview_of
from capriccio.data.card import LICENCE_NOT_STATED
from capriccio.data.fingerprints import THUMBNAIL_SHAPE
from capriccio.data.writer import ArchiveWriter, writing_archive
from capriccio.errors import ConfigError, DatasetError
from capriccio.progress import Progress

Sources = str | Path | Sequence[str | Path]

_EXAMPLES_PER_KIND = 24


def build_dataset(
    sources: Sources,
    dest: str | Path,
    *,
    size: int | tuple[int, int],
    recipe: Recipe | None = None,
    labels: str | Path = "auto",
    licence: str = LICENCE_NOT_STATED,
    force: bool = False,
    workers: int | None = None,
    progress: Progress | None = None,
) -> BuildReport:
    """Make a training archive from pictures of any kind; each is turned upright, cut and reduced to one size.

    What cannot be used is left out and told in the report; only when nothing can be used is that an error.

    Args:
        sources: folders, zips, tar shards (paths or addresses), lists of addresses, CIFAR-10 or MNIST files, pictures.
        dest: archive to write, ending in .zip; complete or absent, whatever happens on the way.
        size: (height, width) of the pictures in the archive, or one number for both.
        recipe: how pictures are cut, reduced, judged and stored; None = the defaults of Recipe.
        labels: "auto" takes those that sources carry, "folders" the names of sub-folders, "none" none; else a CSV or
            JSON file.
        licence: of the pictures, for the cards of networks trained on them.
        force: replace ``dest`` if it exists.
        workers: processes; None = one per processor, 0 = this one alone.
        progress: called with (done, total); of streams the total is not known before their end.

    Returns: what became of every file.
    Raises: DatasetError if the sources cannot be used or hold no usable picture, ``dest`` exists or is being written by
    another process; ConfigError for a size no network can have or that contradicts the recipe; StorageError if ``dest``
    cannot be written.
    """
    dest, recipe = Path(dest), recipe or Recipe()
    if isinstance(size, int):
        size = (size, size)
    check_new_archive(dest, force=force)
    shape = ImageShape(channels=recipe.channels, height=size[0], width=size[1])
    recipe.check_size(size)
    task = Task(size=(shape.height, shape.width), recipe=recipe)
    followed = replace(recipe, image_format=recipe.stored_format)
    rule = _label_source(labels)
    opened = open_sources(_texts(sources))
    with writing_alone(dest):
        building = _Building(opened, task, rule, workers, progress)
        with closing(building.kept()) as kept:
            first = next(kept, None)
            if first is None:
                raise DatasetError(why_nothing([source.name for source in opened], building.entries, task.size))
            with writing_archive(dest, size=task.size, image_format=recipe.stored_format, licence=licence) as (
                writer,
                facts,
            ):
                for picture in chain([first], kept):
                    picture.store(writer, licence)
                facts |= {"recipe": followed.to_dict(), "labels_from": rule.kind, "skipped": building.skipped()}
        return building.report(dest, len(writer))


def grow_dataset(
    sources: Sources,
    dest: str | Path,
    *,
    labels: str | Path | None = None,
    licence: str | None = None,
    workers: int | None = None,
    progress: Progress | None = None,
) -> BuildReport:
    """Add what is new in ``sources`` to an archive that :func:`build_dataset` made, by the recipe that it was made by.

    Pictures already there keep their names and places, so that a run on the archive can go on; new ones come after
    them. The old archive stays as it is until the new one is complete.

    Args:
        sources: as of :func:`build_dataset`.
        dest: the archive.
        labels: as of :func:`build_dataset`; None = as the archive was built. Labels from a file need that file anew.
        licence: of the new pictures; None = that of the archive.
        workers: processes; None = one per processor, 0 = this one alone.
        progress: called with (done, total).

    Returns: what became of every file; ``added`` is the number of new pictures, ``count`` that of all.
    Raises: as :func:`build_dataset`, and DatasetError if the archive was not made by it.
    """
    dest = Path(dest)
    check_archive_name(dest)
    opened = open_sources(_texts(sources))
    with writing_alone(dest):
        files = open_files(dest)
        index = read_index(files)
        if not (isinstance(files, ZipFiles) and isinstance(index.get("recipe"), dict) and index.get("pictures")):
            raise DatasetError(
                f"'{dest}' does not say how it was made, so nothing can be added; build an archive of your own from it "
                "with `capriccio dataset build`, and let that grow."
            )
        recipe = Recipe.from_dict(index["recipe"])
        task = Task(size=(int(index["height"]), int(index["width"])), recipe=recipe)
        rule = _label_source_like(index, labels, dest)
        old_licence = str(index.get("licence", LICENCE_NOT_STATED))
        joint = old_licence if licence in (None, old_licence) else f"{old_licence}; {licence} (stated per picture)"
        building = _Building(opened, task, rule, workers, progress)
        building.know(index["pictures"])
        with closing(building.kept()) as kept:
            first = next(kept, None)
            if first is None and not any(entry.status == "duplicate" for entry in building.entries):
                raise DatasetError(why_nothing([source.name for source in opened], building.entries))
            if first is None:
                return building.report(dest, len(files.names), added=0)
            with writing_archive(dest, size=task.size, image_format=recipe.stored_format, licence=joint) as (
                writer,
                facts,
            ):
                writer.copy_from(files, index)
                for picture in chain([first], kept):
                    picture.store(writer, old_licence, licence)
                remembered = {key: index[key] for key in ("recipe", "class_names", "labels_from") if key in index}
                facts |= remembered | {"skipped": [*index.get("skipped", []), *building.skipped()]}
        return building.report(dest, len(writer), added=len(writer) - len(files.names))


@dataclass(frozen=True, slots=True)
class _Kept:
    """A file whose pictures go into the archive."""

    item: Item
    outcome: Outcome
    file: str
    """Its name in the report."""
    label: Any

    def store(self, writer: ArchiveWriter, common: str, licence: str | None = None) -> None:
        """Store the pictures; the licence is written beside them where it is not the ``common`` one."""
        own = self.item.licence or licence or common
        facts = {"file_sha256": self.outcome.sha256, "likeness": base64.b64encode(self.outcome.thumbnail).decode()}
        if own != common:
            facts["licence"] = own
        for picture in self.outcome.pictures:
            writer.add(picture, source=self.file, label=self.label, facts=facts)


class _Building:
    """One pass over all sources: decides about every file and remembers it."""

    def __init__(
        self,
        sources: Sequence[Source],
        task: Task,
        labels: LabelSource,
        workers: int | None,
        progress: Progress | None,
    ) -> None:
        self.entries: list[Entry] = []
        self._sources = sources
        self._task = task
        self._labels = labels
        self._workers = usable_processors() if workers is None else workers
        if self._workers < 0:
            raise ConfigError(f"--workers must be at least 0, got {workers}.")
        self._progress = progress
        self._files: dict[bytes, str] = {}
        """Name by content hash, of kept files."""
        self._likeness = LikenessIndex(task.recipe.duplicate_distance)
        self._names: list[str] = []
        """Of the pictures in ``_likeness``."""
        self._examples: list[Example] = []
        self._label_kinds: Counter[str] = Counter()

    def know(self, lines: Iterable[Mapping[str, Any]]) -> None:
        """Learn what an archive already holds, from the lines about its pictures."""
        for line in lines:
            if (file := line.get("file_sha256")) is None or bytes.fromhex(file) in self._files:
                continue
            name = str(line.get("source", line["name"]))
            self._files[bytes.fromhex(file)] = name
            self._remember_likeness(base64.b64decode(line["likeness"]), name)

    def kept(self) -> Generator[_Kept, None, None]:
        """Yield the files whose pictures are to be stored, in order; decide about all others on the way.

        Raises: DatasetError if labels name files that are not there, or are of several kinds.
        """
        total = self._total()
        for done, (file, prepared) in enumerate(self._prepared(), start=1):
            if isinstance(prepared, Entry):
                self.entries.append(replace(prepared, file=file))
            elif (kept := self._decided(file, *prepared)) is not None:
                yield kept
            if self._progress is not None:
                self._progress(done, max(done, total))
        if isinstance(self._labels, TableLabels):
            self._labels.check_met()

    def skipped(self) -> list[list[str]]:
        """Return name and reason of the files left out, for ``dataset.json``."""
        return [[entry.file, entry.reason] for entry in self.entries if entry.status != "kept"]

    def report(self, dest: Path, count: int, *, added: int | None = None) -> BuildReport:
        """Return what became of all files."""
        notes = []
        if self._label_kinds["none"] and len(self._label_kinds) > 1:
            missing, number = self._label_kinds["none"], self._label_kinds.total()
            notes.append(f"{missing} of {number} pictures have no label, so no labels were stored.")
        height, width = self._task.size
        return BuildReport(
            dest=dest,
            count=count,
            height=height,
            width=width,
            entries=tuple(self.entries),
            examples=tuple(self._examples),
            notes=tuple(notes),
            added=added,
        )

    def _prepared(self) -> Iterator[tuple[str, Prepared]]:
        """Yield every file of every source with its name in the report and what came of it."""
        many = len(self._sources) > 1
        for source in self._sources:
            with closing(prepare_all(source, self._task, self._workers)) as outcomes:
                for prepared in outcomes:
                    name = prepared.file if isinstance(prepared, Entry) else prepared[0].name
                    yield f"{source.name}/{name}" if many else name, prepared

    def _total(self) -> int:
        """Return the number of files, or 0 where a source cannot tell; labels are checked against them first."""
        names = [source.names for source in self._sources]
        known = [name for some in names if some is not None for name in some]
        if any(some is None for some in names):
            return 0
        if isinstance(self._labels, TableLabels):
            self._labels.check_names(known)
        return len(known)

    def _decided(self, file: str, item: Item, outcome: Outcome) -> _Kept | None:
        """Remember what becomes of a file that was looked into; return it if it is kept."""
        entry = Entry(file, outcome.status, outcome.reason, size=outcome.size, flaws=outcome.flaws)
        if outcome.status == "kept":
            entry = self._compared(entry, outcome)
        label = self._labels.label_of(item) if entry.status == "kept" else None
        if entry.status == "kept" and label is None and self._labels.why_none is not None:
            entry = replace(entry, status="dropped", reason=self._labels.why_none)
        self.entries.append(entry)
        self._keep_example(entry, outcome)
        if entry.status != "kept":
            return None
        self._check_label(file, label)
        self._files[bytes.fromhex(outcome.sha256)] = file
        self._remember_likeness(outcome.thumbnail, file)
        return _Kept(item, outcome, file, label)

    def _compared(self, entry: Entry, outcome: Outcome) -> Entry:
        """Return the entry of a sound file after looking for what it resembles."""
        same = self._files.get(bytes.fromhex(outcome.sha256))
        if same is not None:
            return replace(entry, status="duplicate", reason=f"is byte for byte '{same}'", duplicate_of=same)
        policy = self._task.recipe.duplicates
        if policy == "ignore" or "flat" in entry.flaws:  # a flat picture resembles every other
            return entry
        number = self._likeness.find(_thumbnail(outcome.thumbnail))
        if number is None:
            return entry
        alike = self._names[number]
        status: Status = "duplicate" if policy == "drop" else "kept"
        reason = ", ".join(filter(None, [entry.reason, f"looks like '{alike}'"]))
        return replace(entry, status=status, reason=reason, duplicate_of=alike, flaws=(*entry.flaws, "duplicate"))

    def _remember_likeness(self, thumbnail: bytes, file: str) -> None:
        if len(thumbnail) == np.prod(THUMBNAIL_SHAPE):
            self._likeness.add(_thumbnail(thumbnail))
            self._names.append(file)

    def _keep_example(self, entry: Entry, outcome: Outcome) -> None:
        """Keep a small picture of what a reader of the report would want to see, of each kind a few."""
        for kind in entry.flaws or ((entry.status,) if entry.status != "kept" else ()):
            if sum(example.kind == kind for example in self._examples) < _EXAMPLES_PER_KIND:
                picture = outcome.preview or (preview_of(outcome.pictures[0].data) if outcome.pictures else b"")
                if picture:
                    self._examples.append(Example(entry.file, kind, picture, entry.duplicate_of))

    def _check_label(self, file: str, label: Any) -> None:
        """Count kinds of labels. Raises: DatasetError when they cannot stand in one archive."""
        kind = {int: "class numbers", str: "class names", type(None): "none"}.get(type(label))
        if kind is None:
            numbers = isinstance(label, list) and all(isinstance(x, int | float) and np.isfinite(x) for x in label)
            if not numbers:
                raise DatasetError(f"the label of '{file}' must be a class or list of numbers, got {str(label)[:80]}.")
            kind = f"lists of {len(label)} numbers"
        self._label_kinds[kind] += 1
        kinds = sorted(self._label_kinds.keys() - {"none"})
        if len(kinds) > 1:
            raise DatasetError(f"labels are of several kinds ({' and '.join(kinds)}), from '{file}' on; give one kind.")


def _texts(sources: Sources) -> list[str]:
    texts = [str(sources)] if isinstance(sources, str | Path) else [str(source) for source in sources]
    if not texts:
        raise DatasetError("there is no source: give at least one folder, archive or list of addresses.")
    return texts


def _label_source(labels: str | Path) -> LabelSource:
    if labels == "auto":
        return OwnLabels()
    if labels == "none":
        return NoLabels()
    if labels == "folders":
        return FolderLabels()
    path = Path(labels)
    if path.suffix.lower() not in (".csv", ".json") or not path.exists():
        raise DatasetError(f"--labels must be auto, folders, none, or a CSV or JSON file that exists, got '{labels}'.")
    return read_label_file(path)


def _label_source_like(index: Mapping[str, Any], labels: str | Path | None, dest: Path) -> LabelSource:
    """Return labels that fit those of an archive. Raises: DatasetError if they contradict each other."""
    has_labels, kind = bool(index.get("labels")), index.get("labels_from", "auto")
    if labels is None and kind == "file":
        raise DatasetError(f"'{dest}' has labels from a file; give those of the new pictures, too (--labels FILE).")
    rule = _label_source(kind if labels is None else labels)
    if has_labels and rule.kind == "none":
        raise DatasetError(f"'{dest}' has labels, so new pictures need them, too; --labels none contradicts that.")
    if not has_labels and rule.kind in ("folders", "file"):
        raise DatasetError(f"'{dest}' has no labels, so new pictures can have none; build it anew with labels.")
    if rule.kind == "auto":
        return OwnLabels(required=True) if has_labels else NoLabels()
    return rule


def _thumbnail(data: bytes) -> NDArray[np.uint8]:
    return np.frombuffer(data, dtype=np.uint8).reshape(THUMBNAIL_SHAPE)
