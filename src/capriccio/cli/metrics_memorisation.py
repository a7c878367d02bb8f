"""``capriccio metrics memorisation --model M --data D``: does the network repeat its training pictures?"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from capriccio.cli.parser import DEVICE_HELP, MODEL_HELP, CommandParser, at_least, folder_to_write
from capriccio.cli.progress import shown_progress


def run(argv: Sequence[str]) -> int:
    """Look for neighbours, write the sheet and the histogram, and print the verdict."""
    asked = _parser().read(argv)
    at_least("--count", asked.count)
    at_least("--batch", asked.batch)
    from capriccio.loading.model import load
    from capriccio.metrics.memorisation import find_memorised
    from capriccio.perception.catalogue import Perception
    from capriccio.perception.weights import parse_sources
    from capriccio.rendering.memorisation import save_memorisation

    folder = folder_to_write(_folder(asked.out, asked.model), "--out")
    model = load(asked.model, device=asked.device)
    perception = Perception(
        channels=model.channels,
        weights=parse_sources(asked.weights),
        reference=model.discriminator,
        device=model.device,
    )
    with shown_progress("looking for neighbours") as progress:
        found = find_memorised(
            model,
            asked.data,
            perception.network(asked.network),
            count=asked.count,
            seed=asked.seed,
            batch=asked.batch,
            progress=progress,
        )
    written = save_memorisation(found, folder)
    if asked.json:
        print(json.dumps(found.to_dict() | {"files": [str(path) for path in written]}, ensure_ascii=False))
    else:
        print(found.judgement.sentence)
        names = ", ".join(path.name for path in written)
        print(f"By features of {found.network.name}. {names} lie in '{written[0].parent}'.")
    return 0


def _folder(out: str | None, model: str | None) -> Path:
    """Return where to write: the folder asked for, that of the run, or one in the current folder."""
    if out is not None:
        return Path(out)
    return Path(model) / "memorisation" if model is not None and Path(model).is_dir() else Path("memorisation")


def _parser() -> CommandParser:
    parser = CommandParser(
        "metrics memorisation",
        "Look for samples that repeat training pictures, by nearest neighbours and those of held-out pictures.",
        "[--model M] --data D [flags]",
        needed=("--data",),
    )
    parser.add_argument("-m", "--model", type=str | None, default=None, help=MODEL_HELP)
    parser.add_argument("--data", type=str, help="The archive or folder it was trained on.")
    parser.add_argument("--count", type=int, default=1000, help="Samples.")
    parser.add_argument("--seed", type=int, default=0, help="Seed of the samples.")
    parser.add_argument(
        "--network", type=Literal["random", "squeeze", "vgg", "inception", "discriminator"], default="random",
        help="Whose features are compared; random and the model's own discriminator need no --weights.",
    )  # fmt: skip
    parser.add_argument(
        "--weights", type=str, action="append", default=[], metavar="KEY=PATH",
        help="Published weights, by path or address, such as squeeze=squeezenet.pth. Repeatable.",
    )  # fmt: skip
    parser.add_argument(
        "--out", type=str | None, default=None, help="Folder for sheet and histogram; null = in the run's folder."
    )
    parser.add_argument("--device", type=str, default="auto", help=DEVICE_HELP)
    parser.add_argument("--batch", type=int, default=16, help="Pictures painted at once; no number depends on it.")
    parser.add_argument("--json", action="store_true", help="Print everything as one JSON document.")
    return parser
