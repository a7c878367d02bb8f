"""``capriccio metrics --model M --data D --metrics fid50k_full,…``: numbers with their protocol card."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from capriccio.cli.parser import DEVICE_HELP, MODEL_HELP, YES_NO, CommandParser, add_precision, file_to_write
from capriccio.cli.progress import shown_progress
from capriccio.errors import UsageError
from capriccio.run_layout import RunLayout

DEFAULT_METRICS = "fd_random5k_full,pr_random5k3_full"
"""What is measured when nothing is asked for: needs no file to fetch."""

_ONE_SIZE = "give pictures of one size ('generate --no-grid' writes no sheet beside them), or build an archive of them"


def run(argv: Sequence[str]) -> int:
    """Measure, and print numbers and protocol."""
    asked = _parser().read(argv)
    if asked.model is not None and asked.samples is not None:
        raise UsageError("--model and --samples both name what is to be measured; give one of them.")
    from capriccio.devices import choose_device
    from capriccio.durable import replacing
    from capriccio.loading.model import load
    from capriccio.metrics.evaluation import Evaluator
    from capriccio.metrics.names import parse_metrics
    from capriccio.metrics.pictures import open_reals
    from capriccio.metrics.results import describe
    from capriccio.metrics.settings import Settings
    from capriccio.perception.weights import parse_sources
    from capriccio.processes import joined_processes

    metrics = parse_metrics(asked.metrics, count=asked.count)
    settings = Settings(
        seed=asked.seed,
        repeats=asked.repeats,
        psi=asked.psi,
        mirror=asked.mirror,
        resize_filter=asked.resize_filter,
        batch=asked.batch,
    )
    out = None if asked.out is None else file_to_write(asked.out, "--out")
    weights = parse_sources(asked.weights)
    device = choose_device(asked.device)
    with joined_processes(device) as processes, shown_progress("measuring") as progress:
        if asked.samples is None:
            model = load(asked.model, device=str(device), precision=asked.precision)
            shape, c_dim = model.shape, model.c_dim
        else:
            from capriccio.data.dataset import peek_shape

            model, shape, c_dim = None, peek_shape(asked.samples, advice=_ONE_SIZE), 0
        evaluator = Evaluator(
            metrics,
            shape,
            c_dim=c_dim,
            data=asked.data or _data_of_run(asked.model),
            settings=settings,
            weights=weights,
            reference=asked.reference,
            device=device,
            processes=processes,
            progress=progress if processes.is_main else None,
        )
        if model is None:
            evaluation = evaluator.measure_pictures(open_reals(asked.samples, shape), name=str(asked.samples))
        else:
            name = str(asked.model or model.card.get("title", "bundled model"))
            evaluation = evaluator.measure(model.generator, name=name, model_hash=model.model_hash)
    if processes.is_main:
        document = json.dumps(evaluation.to_dict(), ensure_ascii=False)
        if out is not None:
            with replacing(out) as file:
                file.write(document.encode())
        print(document if asked.json else describe(evaluation))
    return 0


def _data_of_run(model: str | None) -> str | None:
    """Return the pictures that a run folder was trained on; None where ``model`` is no run folder or does not say."""
    config = RunLayout(Path(model)).config if model is not None else None
    if config is None or not config.is_file():
        return None
    import yaml

    try:
        path = yaml.safe_load(config.read_text(encoding="utf-8"))["data"]["path"]
    except (OSError, ValueError, yaml.YAMLError, KeyError, TypeError):
        return None
    return str(path) if path else None


def _parser() -> CommandParser:
    parser = CommandParser(
        "metrics",
        "Measure a network against real pictures. Every number comes with the protocol it was measured by.",
        "[--model M] [--data D] [--metrics fid50k_full,ppl2_wend] [flags]",
    )
    parser.add_argument("-m", "--model", type=str | None, default=None, help=MODEL_HELP)
    parser.add_argument(
        "--samples", type=str | None, default=None, help="Measure this folder or archive of pictures, not a model."
    )
    parser.add_argument(
        "--data", type=str | None, default=None,
        help="Archive or folder of real pictures; null = what the run was trained on, where --model is a run folder.",
    )  # fmt: skip
    parser.add_argument(
        "--metrics", type=str, default=DEFAULT_METRICS,
        help="Names separated by commas: fid50k_full, kid50k_full, pr50k3_full, dc50k5_full, is50k, ppl2_wend; with "
        "other networks fd_, kd_, pr_ and dc_ with squeeze, discriminator or random, as in fd_squeeze5k_full.",
    )  # fmt: skip
    protocol = parser.add_argument_group("protocol")
    protocol.add_argument(
        "--count", type=int | None, default=None, help="Samples for names that state none; null = 50,000."
    )
    protocol.add_argument("--seed", type=int, default=0, help="First seed of the samples.")
    protocol.add_argument("--repeats", type=int, default=1, help="Seeds to measure; more than one gives mean ± spread.")
    protocol.add_argument("--psi", type=float, default=1.0, help="Truncation; the field measures without, at 1.")
    protocol.add_argument(
        "--mirror", action=YES_NO, default=False, help="Count mirrored real pictures, in metrics without _full."
    )
    protocol.add_argument(
        "--resize-filter", type=Literal["lanczos", "bicubic", "bilinear", "box"], default="lanczos",
        help="Reduces larger real pictures to the size of the network; other filters give other numbers.",
    )  # fmt: skip
    networks = parser.add_argument_group("feature networks")
    networks.add_argument(
        "--weights", type=str, action="append", default=[], metavar="KEY=PATH",
        help="Published weights, by path or address: inception, vgg, squeeze, lpips-vgg, lpips-squeeze. Repeatable.",
    )  # fmt: skip
    networks.add_argument(
        "--reference", type=str | None, default=None,
        help="Model whose discriminator is the ruler of fd_discriminator; kept for this data set.",
    )  # fmt: skip
    computing = parser.add_argument_group("computing")
    computing.add_argument("--device", type=str, default="auto", help=DEVICE_HELP)
    add_precision(computing, "Of the generator; in the card.")
    computing.add_argument("--batch", type=int, default=16, help="Pictures painted at once; no number depends on it.")
    parser.add_argument("--out", type=str | None, default=None, metavar="FILE", help="Write numbers and cards as JSON.")
    parser.add_argument("--json", action="store_true", help="Print numbers and cards as one JSON document.")
    return parser
