"""A folder with a page that paints pictures in the browser: the network, a runtime, and hand-written HTML.

Nothing is fetched from elsewhere, so that any server of files will do, and none is asked to compute. The page draws
latents from seeds as NumPy does: a seed is the picture that the command line paints, up to rounding.
"""

from __future__ import annotations

import json
from pathlib import Path

from capriccio import __version__
from capriccio.durable import check_writable, replacing
from capriccio.errors import UsageError
from capriccio.interop.browser_runtime import LICENCE, browser_runtime
from capriccio.interop.export import (
    CHECKED,
    TOLERANCE,
    ExportNoise,
    ExportReport,
    PortableGenerator,
    export_facts,
    need_packages,
)
from capriccio.interop.onnx_file import PACKAGES, compare_in_onnxruntime, onnx_bytes
from capriccio.snapshots.snapshot import Snapshot

PAGE_FILES = ("style.css", "seeds.js", "png.js", "painter.js", "page.js", "index.html")
"""What is copied as it is; the page itself comes last, when everything it needs is there."""

_PAGE = Path(__file__).parent / "web"
_NETWORK, _FACTS = "network.onnx", "model.json"


def export_web(
    snapshot: Snapshot,
    folder: Path,
    *,
    cache: Path,
    runtime: Path | None = None,
    noise: ExportNoise = "const",
    cutoff: int | None = None,
    tolerance: float = TOLERANCE,
) -> ExportReport:
    """Write the folder; an earlier export in it is replaced.

    Args:
        snapshot: the network.
        folder: new, empty, or with an earlier export.
        cache: where the browser's runtime is kept (see :func:`~capriccio.interop.browser_runtime.browser_runtime`).
        runtime: the runtime's npm tarball; None = from ``cache`` or npm.
        noise: "const" or "none"; a page has nobody who would give maps.
        cutoff: coarse rows that truncation moves; None = all.
        tolerance: largest difference to PyTorch that is accepted.

    Raises: UsageError for a folder of something else, a missing package, or a wrong tarball; JobError if the runtime
        cannot be fetched or the network paints other pictures; StorageError if the folder cannot be written.
    """
    if noise == "input":
        raise UsageError("--noise input: a page has no noise to give; choose const or none.")
    if snapshot.generator.config.shape.channels not in (1, 3, 4):
        channels = snapshot.generator.config.shape.channels
        raise UsageError(f"a page shows pictures of 1, 3 or 4 channels; this network paints {channels}.")
    need_packages("export", *PACKAGES)
    if folder.exists() and not folder.is_dir():
        raise UsageError(f"--out: '{folder}' is a file; a page is a folder.")
    if folder.is_dir() and any(folder.iterdir()) and not (folder / _FACTS).is_file():
        raise UsageError(f"--out: '{folder}' holds other files; name a new or empty folder.")
    check_writable(folder / "index.html")
    files = browser_runtime(cache, runtime)

    portable = PortableGenerator(snapshot.generator, noise=noise, cutoff=cutoff)
    facts = export_facts(snapshot, portable)
    files[_NETWORK] = onnx_bytes(portable, facts)
    difference, ran_in = compare_in_onnxruntime(portable, files[_NETWORK], tolerance)
    card = snapshot.facts.card
    about = {
        "file": _NETWORK,
        "version": __version__,
        "description": " ".join(str(card[key]) for key in ("description", "limits") if card.get(key)),
        "download_bytes": sum(map(len, files.values())) - len(files["onnxruntime-web.js"]),
    }
    files[_FACTS] = json.dumps(json.loads(facts) | about, indent=1, sort_keys=True).encode()
    files["THIRD-PARTY.txt"] = LICENCE.encode()
    files |= {name: (_PAGE / name).read_bytes() for name in PAGE_FILES}
    for name, data in files.items():
        with replacing(folder / name) as file:
            file.write(data)
    return ExportReport(
        files=tuple(folder / name for name in files),
        format="web",
        inputs=portable.input_shapes(),
        checked_batches=tuple(count for count, _ in CHECKED),
        largest_difference=difference,
        tolerance=tolerance,
        runtime=ran_in,
    )
