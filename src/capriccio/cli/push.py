"""``capriccio push --model M --to OWNER/NAME``: a network with its card to the Hugging Face hub."""

from __future__ import annotations

import dataclasses
import json
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from capriccio.cli.parser import MODEL_HELP, CommandParser
from capriccio.errors import UsageError
from capriccio.wording import counted

if TYPE_CHECKING:
    from capriccio.loading.model import Model

_SAMPLE_SEEDS, _SAMPLE_COLUMNS, _SAMPLE_PSI = range(32), 8, 0.7


def run(argv: Sequence[str]) -> int:
    """Write the folder, upload it unless only the folder was asked for, and say where it is."""
    asked = _parser().read(argv)
    if asked.to is None and asked.out is None:
        raise UsageError("--to OWNER/NAME says where on the hub, --out FOLDER only writes what would be pushed.")
    from capriccio.interop.foreign import read_network
    from capriccio.interop.hub import check_repo, push_folder, write_hub_folder
    from capriccio.loading.model import Model, find_snapshot

    if asked.to is not None:
        check_repo(asked.to)
    snapshot = read_network(find_snapshot(asked.model))
    if asked.slim:
        snapshot = dataclasses.replace(snapshot, discriminator=None)
    model = Model(snapshot)
    numbers = [number for path in asked.metrics for number in _numbers(path, model)]
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary) / "model" if asked.out is None else Path(asked.out)
        written = write_hub_folder(
            snapshot,
            folder,
            repo=asked.to or folder.name,
            dtype=asked.dtype,
            samples=(_sheet(model), _sheet_caption(model)),
            numbers=numbers,
        )
        address = None if asked.to is None else push_folder(written, asked.to, private=asked.private)
    files = [] if asked.out is None else [str(path) for path in written.files]
    if asked.json:
        print(json.dumps({"files": files, "address": address, "difference_grey_levels": written.difference}))
        return 0
    if written.difference is not None:
        print(f"Stored in {asked.dtype}: pictures change by at most {written.difference:g} of 255 grey levels.")
    if files:
        print(f"{counted(len(files), 'file')} in '{folder}'; the card is README.md.")
    if address is not None:
        print(f"Pushed to {address}")
    return 0


def _numbers(path: str, model: Model) -> list[dict[str, Any]]:
    """Return the metrics in a file of ``capriccio metrics --out``. UsageError if of another network."""
    from capriccio.metrics.results import read_evaluation

    evaluation = read_evaluation(path)
    if evaluation.subject_hash != model.model_hash:
        raise UsageError(f"--metrics: '{path}' measured network {evaluation.subject_hash[:16]}, this is "
                         f"{model.model_hash}.")  # fmt: skip
    return [result.to_dict() for result in evaluation.results]


def _sheet(model: Model) -> bytes:
    """Return a sheet of samples that carries what made it."""
    from capriccio.provenance import Provenance
    from capriccio.rendering.grids import image_grid, picture_of
    from capriccio.rendering.pictures import encode_picture

    pictures = []
    for seed in _SAMPLE_SEEDS:
        label = model.label(seed % model.c_dim) if model.c_dim else None
        ws = model.ws(seeds=[seed], c=label, truncation_psi=_SAMPLE_PSI)
        pictures.append(picture_of(model.images(ws)[0]))
    made = Provenance(
        model_hash=model.model_hash,
        licence=model.licence,
        kind="grid",
        seeds=tuple(_SAMPLE_SEEDS),
        truncation_psi=_SAMPLE_PSI,
        noise_mode="const",
    )
    return encode_picture(image_grid(pictures, _SAMPLE_COLUMNS), "webp", made)


def _sheet_caption(model: Model) -> str:
    classes = ", classes in turn" if model.c_dim else ""
    return f"Seeds {_SAMPLE_SEEDS[0]}–{_SAMPLE_SEEDS[-1]}{classes}, ψ = {_SAMPLE_PSI}, not selected."


def _parser() -> CommandParser:
    parser = CommandParser(
        "push",
        "Push a network with a card of its facts to the Hugging Face hub; the token is that of 'hf auth login'.",
        "[--model M] --to OWNER/NAME [--out FOLDER] [flags]",
    )
    parser.add_argument("-m", "--model", type=str | None, default=None, help=MODEL_HELP)
    parser.add_argument("--to", type=str | None, default=None, help="OWNER/NAME on the hub; made when it is not there.")
    parser.add_argument("--out", type=str | None, default=None, help="Folder that keeps what is, or would be, pushed.")
    parser.add_argument("--private", action="store_true", help="Make a new repository private.")
    parser.add_argument(
        "--dtype", type=Literal["float32", "float16"], default="float32",
        help="Precision of the file; float16 halves it, and the difference is measured and stands in the card.",
    )  # fmt: skip
    parser.add_argument("--slim", action="store_true", help="Leave the discriminator out.")
    parser.add_argument(
        "--metrics", type=list[str], default=[],
        help="Files of 'capriccio metrics --out', for the card: [a.json,b.json].",
    )  # fmt: skip
    parser.add_argument("--json", action="store_true", help="Print what was done as one JSON document.")
    return parser
