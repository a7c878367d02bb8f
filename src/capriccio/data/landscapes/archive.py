"""An archive of painted landscapes."""

from __future__ import annotations

from pathlib import Path

from PIL import Image

from capriccio.config import ImageShape
from capriccio.data.building.lock import check_new_archive, writing_alone
from capriccio.data.building.report import BuildReport
from capriccio.data.landscapes.painter import paint
from capriccio.data.writer import ImageFormat, encode, writing_archive
from capriccio.errors import DatasetError
from capriccio.progress import Progress

LICENCE = "CC0-1.0 (painted by Capriccio's landscape painter)"
_BATCH = 32


def synthesize(
    dest: str | Path,
    count: int,
    *,
    size: tuple[int, int] = (64, 64),
    seed: int = 0,
    image_format: ImageFormat = "webp",
    force: bool = False,
    progress: Progress | None = None,
) -> BuildReport:
    """Paint ``count`` landscapes into a training archive.

    Args:
        dest: archive to write, ending in .zip; replaced whole when all is done.
        count: number of pictures; picture i is the same in every archive of the same seed and size.
        size: (height, width).
        seed: another seed paints other landscapes.
        image_format: how pictures are stored; webp and png are lossless.
        force: replace ``dest`` if it exists.
        progress: called with (done, total).

    Raises: DatasetError for a count below 1, another ending, or a ``dest`` that exists; ConfigError for a size that no
    network can have; StorageError if ``dest`` cannot be written.
    """
    dest = Path(dest)
    if count < 1:
        raise DatasetError(f"count must be at least 1, got {count}.")
    check_new_archive(dest, force=force)
    shape = ImageShape(channels=3, height=size[0], width=size[1])
    with (
        writing_alone(dest),
        writing_archive(dest, size=size, image_format=image_format, licence=LICENCE) as (writer, facts),
    ):
        facts["painter"] = {"seed": seed}
        for start in range(0, count, _BATCH):
            for pixels in paint(range(start, min(start + _BATCH, count)), (shape.height, shape.width), seed=seed):
                writer.add(encode(Image.fromarray(pixels.transpose(1, 2, 0)), image_format))
            if progress is not None:
                progress(len(writer), count)
    return BuildReport(dest=dest, count=count, height=size[0], width=size[1])
