"""Films: a walk through W, as animated WebP or AVIF, as a folder of frames, or as mp4 or webm with the extra ``video``.

A film of any length needs the memory of one batch of frames, and of its compressed frames where the format is assembled
at the end (WebP and AVIF).
"""

from __future__ import annotations

import math
import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, cast

import numpy as np
from PIL import Image

from capriccio.durable import refuse_file, replacing
from capriccio.errors import JobError, UsageError
from capriccio.latent.paths import SplinePath
from capriccio.progress import Progress
from capriccio.provenance import PictureFormat, Provenance, save_options
from capriccio.rendering.grids import Pixels, enlarge, picture_size, to_picture, to_uint8
from capriccio.rendering.look import Look
from capriccio.rendering.pictures import check_fits, save_picture
from capriccio.rendering.sources import Source, open_source, provenance_of

if TYPE_CHECKING:
    from capriccio.loading.model import Model

CODECS = {".mp4": ("libx264", "libopenh264", "libsvtav1"), ".webm": ("libvpx-vp9", "libsvtav1")}
"""Codecs of the formats that need PyAV, the most widely played first."""

SUFFIXES = (".webp", ".avif", *CODECS)
"""Endings of films; a name without one is a folder of frames."""

MAX_KEYS = 1000
"""Most key pictures of one film."""


@dataclass(frozen=True, slots=True, kw_only=True)
class VideoRequest:
    """Which film."""

    keys: Source
    """Key pictures, at least two."""
    look: Look = field(default_factory=Look)
    """How seeds become pictures. With random noise, one drawing of it stays for the whole film, so nothing flickers."""
    closed: bool = True
    """Whether the walk returns from the last key picture to the first. Films of open walks as WebP play once."""
    frames_per_second: int = 30
    """Frame rate."""
    seconds_per_key: float = 2.0
    """Time from one key picture to the next."""
    scale: int = 1
    """Whole factor by which the frames are enlarged."""
    quality: int = 80
    """1..100; higher is larger."""
    batch: int = 16
    """Frames the network paints at once."""

    def __post_init__(self) -> None:
        if not 1 <= self.frames_per_second <= 240:
            raise UsageError(f"frames per second must lie in 1..240, got {self.frames_per_second}.")
        if not 0 < self.seconds_per_key <= 600:
            raise UsageError(f"seconds between keys must lie above 0 and up to 600, got {self.seconds_per_key}.")
        if self.scale < 1 or self.batch < 1 or not 1 <= self.quality <= 100:
            raise UsageError("scale and batch must be at least 1 and quality in 1..100, "
                             f"got {self.scale}, {self.batch} and {self.quality}.")  # fmt: skip


class Film:
    """The frames of a walk, painted on demand, batch by batch.

    Raises: UsageError if the request does not fit the model or has less than two keys.
    """

    def __init__(self, model: Model, request: VideoRequest) -> None:
        source = open_source(model, request.keys, request.look)
        if not 2 <= len(source) <= MAX_KEYS:
            raise UsageError(f"A film needs 2 to {MAX_KEYS} key pictures, got {len(source)}. "
                             "Name seeds like 0,5,9, or a file with several latents.")  # fmt: skip
        self.model, self.request = model, request
        self.provenance = provenance_of(model, request.look, source, 0, len(source), kind="video")
        path = SplinePath(source.ws(0, len(source)), closed=request.closed)
        steps = max(2 if path.closed else 1, round(path.duration * request.seconds_per_key * request.frames_per_second))
        num_frames = steps if path.closed else steps + 1  # an open walk shows both of its ends
        self._path, self._times = path, path.frame_times(num_frames)
        self._noise_seed = source.noise_seed(0)

    def __len__(self) -> int:
        return len(self._times)

    @property
    def size(self) -> tuple[int, int]:
        """(width, height) of a frame."""
        height, width = picture_size(self.model.channels, self.model.size)
        return width * self.request.scale, height * self.request.scale

    def batches(self) -> Iterator[Pixels]:
        """Yield the frames as the network paints them, [n, H, W, C], uint8, in order."""
        look = self.request.look
        for start in range(0, len(self), self.request.batch):
            times = self._times[start : start + self.request.batch]
            seeds = [self._noise_seed] * len(times) if look.noise_mode == "random" else None
            yield to_uint8(self.model.images(self._path.at(times), noise_mode=look.noise_mode, noise_seeds=seeds))

    def picture(self, pixels: Pixels) -> Image.Image:
        """Return one frame [H, W, C] as it is shown."""
        return enlarge(to_picture(pixels), self.request.scale)

    def __iter__(self) -> Iterator[Image.Image]:
        return (self.picture(pixels) for batch in self.batches() for pixels in batch)


def save_video(model: Model, request: VideoRequest, path: str | Path, progress: Progress | None = None) -> Path:
    """Write the film to ``path``, whole or not at all; the ending chooses the format.

    Without an ending ``path`` is a folder without frames, and these become PNG files in it, one after the other: what
    is stopped leaves those that are done.

    Raises: UsageError for an unknown ending, a format that needs the extra ``video`` where it is not installed, a
        folder that holds frames, or a request that does not fit the model.
    """
    path = Path(path)
    suffix = path.suffix.lower()
    if suffix and suffix not in SUFFIXES:
        raise UsageError(f"{path}: '{suffix}' is no film format. There are {', '.join(SUFFIXES)}; "
                         "a name without an ending is a folder of frames.")  # fmt: skip
    av = _import_av(suffix) if suffix in CODECS else None
    film = Film(model, request)
    report = progress or (lambda done, total: None)
    if not suffix:
        _write_frames(path, film, report)
        return path
    with replacing(path) as file:
        if av is None:
            _write_animation(file, film, "webp" if suffix == ".webp" else "avif", report)
        else:
            _write_with_av(av, file, film, suffix, report)
    return path


# ---- single frames ---------------------------------------------------------------------------------------------------


def _write_frames(folder: Path, film: Film, report: Progress) -> None:
    refuse_file(folder)
    if any(folder.glob("frame*.png")):
        raise UsageError(f"'{folder}' holds frames already, which would be mixed up with these; name another folder.")
    for done, picture in enumerate(film, 1):
        save_picture(folder / f"frame{done - 1:06d}.png", picture, film.provenance)
        report(done, len(film))


# ---- WebP and AVIF, by Pillow ----------------------------------------------------------------------------------------


class _Reel(Image.Image):
    """A film as Pillow sees moving pictures: seek to a frame, load it. Encoders then hold one frame at a time.

    The frames are painted first, into a temporary file, and encoded afterwards. Doing both in turn would scatter the
    encoder's small lasting blocks between the network's large passing ones, and the process would grow with the film.
    """

    is_animated = True

    def __init__(self, film: Film, spool: BinaryIO, report: Progress) -> None:
        super().__init__()
        self._film, self._spool, self._report = film, spool, report
        self.n_frames = len(film)
        self._wanted, self._loaded, self._most = 0, -1, 0
        painted = 0
        for batch in film.batches():
            self._frame_shape = batch.shape[1:]
            spool.write(batch.tobytes())
            painted += len(batch)
            report(painted, 2 * self.n_frames)
        self._mode, self._size = self._read(0).mode, film.size

    def seek(self, frame: int) -> None:
        if not 0 <= frame < self.n_frames:
            raise EOFError("no more frames")  # Pillow's way to end an animation
        self._wanted = frame

    def tell(self) -> int:
        return self._wanted

    def load(self) -> Any:
        if self._loaded != self._wanted:
            self.im = self._read(self._wanted).im
            self._loaded = self._wanted
            if self._wanted + 1 > self._most:  # encoders return to the first frame at the end
                self._most = self._wanted + 1
                self._report(self.n_frames + self._most, 2 * self.n_frames)
        return super().load()

    def _read(self, index: int) -> Image.Image:
        num_bytes = math.prod(self._frame_shape)
        self._spool.seek(index * num_bytes)
        pixels = np.frombuffer(self._spool.read(num_bytes), dtype=np.uint8)
        return self._film.picture(pixels.reshape(self._frame_shape))


def _write_animation(file: BinaryIO, film: Film, file_format: PictureFormat, report: Progress) -> None:
    request = film.request
    check_fits(file_format, film.size, alpha=film.model.channels == 4)
    # Whole milliseconds whose sum stays right: at 30 frames per second 33, 34, 33 …
    ends = [round(1000 * (i + 1) / request.frames_per_second) for i in range(len(film))]
    durations = [end - begin for begin, end in zip([0, *ends], ends, strict=False)]
    options: dict[str, Any] = save_options(film.provenance, file_format)
    options.update({"loop": int(not request.closed), "method": 3} if file_format == "webp" else {"speed": 7})
    with tempfile.TemporaryFile() as spool:
        reel = _Reel(film, cast(BinaryIO, spool), report)
        reel.save(file, format=file_format, save_all=True, duration=durations, quality=request.quality, **options)


# ---- mp4 and webm, by PyAV -------------------------------------------------------------------------------------------


def _import_av(suffix: str) -> Any:
    try:
        import av
    except ImportError as error:
        raise UsageError(
            f"'{suffix}' films need PyAV: pip install capriccio[video]. Or ask for .webp or .avif, which need nothing."
        ) from error
    return av


def _write_with_av(av: Any, file: BinaryIO, film: Film, suffix: str, report: Progress) -> None:
    codec = next((name for name in CODECS[suffix] if name in av.codecs_available), None)
    if codec is None:
        raise JobError(f"This build of PyAV has none of {', '.join(CODECS[suffix])}; ask for .webp or .avif.")
    options = {"movflags": "+faststart+use_metadata_tags"} if suffix == ".mp4" else {}
    # The muxers want a path of their own: mp4 is read again to put its index first, where browsers look for it.
    with tempfile.TemporaryDirectory() as folder:
        beside = Path(folder) / f"film{suffix}"
        _encode(av, beside, film, codec, options, report)
        with beside.open("rb") as encoded:
            shutil.copyfileobj(encoded, file)


def _encode(av: Any, path: Path, film: Film, codec: str, options: dict[str, str], report: Progress) -> None:
    with av.open(str(path), mode="w", options=options) as container:
        container.metadata.update(_metadata(film.provenance))
        stream = container.add_stream(codec, rate=Fraction(film.request.frames_per_second))
        # 4:2:0 video has even sides; an odd one is widened by repeating its last row or column.
        width, height = film.size
        stream.width, stream.height = width + width % 2, height + height % 2
        stream.pix_fmt, stream.options = "yuv420p", _codec_options(codec, film.request.quality)
        for done, picture in enumerate(film, 1):
            pixels = np.pad(np.asarray(_opaque(picture)), ((0, height % 2), (0, width % 2), (0, 0)), mode="edge")
            container.mux(stream.encode(av.VideoFrame.from_ndarray(pixels, format="rgb24")))
            report(done, len(film))
        container.mux(stream.encode())


def _metadata(record: Provenance) -> dict[str, str]:
    return {
        "title": "Capriccio",
        "comment": record.sentence(),
        "capriccio": record.to_json(),
        "digital_source_type": record.digital_source_type,
    }


def _codec_options(codec: str, quality: int) -> dict[str, str]:
    """Return options under which ``quality`` means about the same in each codec: 80 is hard to tell from lossless."""
    loss = (1 - quality / 100) ** 0.6
    if codec == "libx264":
        return {"crf": str(round(51 * loss)), "preset": "medium"}
    if codec == "libvpx-vp9":
        return {"crf": str(round(63 * loss)), "b": "0", "cpu-used": "4"}
    if codec == "libsvtav1":
        return {"crf": str(max(1, round(63 * loss))), "preset": "8"}
    return {}


def _opaque(picture: Image.Image) -> Image.Image:
    if picture.mode != "RGBA":
        return picture.convert("RGB")
    paper = Image.new("RGB", picture.size, (255, 255, 255))
    paper.paste(picture, mask=picture)
    return paper
