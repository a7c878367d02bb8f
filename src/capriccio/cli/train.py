"""``capriccio train DATA --out RUN``: one run, from pictures to snapshots."""

from __future__ import annotations

import os
from argparse import SUPPRESS
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from jsonargparse import Namespace

from capriccio.cli.parser import DEVICE_HELP, CommandParser, add_settings, folder_to_write, given_settings, parse_size
from capriccio.cli.run_settings import built_like, resolve_run
from capriccio.config import ImageShape, RunConfig, from_dict, to_dict
from capriccio.errors import ConfigError, UsageError

_ALIASES = {
    "total_kimg": "--kimg",
    "loss.r1_gamma": "--gamma",
    "augment.mode": "--augment",
    "data.labels": "--cond",
    "data.mirror": "--mirror",
    "data.subset": "--subset",
    "data.holdout": "--holdout",
    "data.cache": "--cache",
    "discriminator.freeze_layers": "--freeze-d",
    "saving.kimg_per_tick": "--kimg-per-tick",
    "saving.snapshot_kimg": "--snapshot-kimg",
    "saving.snapshot_minutes": "--snapshot-minutes",
    "evaluation.metrics": "--metrics",
}

_MEANT = {
    "--lr": "--optimizer.generator_lr",
    "--learning-rate": "--optimizer.generator_lr",
    "--model": "--init-from",
    "-m": "--init-from",
}
"""Flags of other commands and programs, and what does the same here."""


def run(argv: Sequence[str]) -> int:
    """Train as asked; returns the exit code."""
    given = _parser().read(argv, defaults=False)
    num_processes = int(os.environ.get("WORLD_SIZE", "1"))  # as torchrun says
    config = configure(given, num_processes=num_processes)
    device = given.get("device", "auto")
    if given.get("dry_run"):
        from capriccio.cli.dry_run import describe

        print(describe(config, device_name=device, num_processes=num_processes))
        return 0
    if "out" not in given:
        raise UsageError("--out: name the folder of the run, such as --out runs/first.")
    folder = folder_to_write(given.out, "--out")
    from capriccio.training.train import train

    train(
        config,
        folder,
        resume=bool(given.get("resume")),
        init_from=given.get("init_from"),
        continue_from=given.get("continue_from"),
        device=device,
    )
    return 0


def configure(given: Namespace, *, num_processes: int) -> RunConfig:
    """Return the run that was asked for: preset defaults < YAML files < flags.

    Args:
        given: what files and flags said.
        num_processes: processes the run has.

    Raises: UsageError (ConfigError, DatasetError, ShapeError) for what cannot be done.
    """
    settings = given_settings(given, RunConfig)
    data = settings.setdefault("data", {})
    if "DATA" in given:
        data["path"] = str(given.DATA)
    if not data.get("path"):
        raise UsageError("DATA: name the pictures, as in 'capriccio train photos/ --out runs/first'.")
    settings = _like_origin(given, settings)
    config = resolve_run(settings, _shape(given, settings), num_processes=num_processes)
    if config.total_kimg == 0:
        raise ConfigError("--kimg must be above 0: a run of 0 kimg learns nothing.")
    return config


def _like_origin(given: Namespace, settings: dict[str, Any]) -> dict[str, Any]:
    """Return ``settings`` with the architecture of the network that the run starts from, as far as they name none.

    A run that is resumed has it already, also when the file is gone that it started from.
    """
    origin = given.get("init_from") or given.get("continue_from")
    if not origin:
        return settings
    from capriccio.interop.foreign import read_network
    from capriccio.loading.model import find_snapshot
    from capriccio.training.run_folder import RunFolder

    folder = RunFolder(Path(given.out)) if given.get("resume") and "out" in given else None
    begun = folder.begun_with() if folder is not None and folder.has_saved else None  # else it is begun anew
    if begun is not None:
        return built_like(settings, begun.generator, begun.discriminator)
    source = read_network(find_snapshot(origin))
    discriminator = None if source.discriminator is None else source.discriminator.config
    return built_like(settings, source.generator.config, discriminator)


def _shape(given: Namespace, settings: Mapping[str, Any]) -> ImageShape:
    """Return the shape asked for by --resolution or --size, else by the settings, else that of the data set."""
    from capriccio.data.stream import is_streamed

    asked = dict(settings.get("generator", {}).get("shape", {}))
    if "resolution" in given and "size" in given:
        raise UsageError("--resolution and --size say the same thing; give one of them.")
    if "resolution" in given:
        asked["height"] = asked["width"] = given.resolution
    if "size" in given:
        asked["height"], asked["width"] = parse_size(given.size, "--size")
    if is_streamed(settings["data"]["path"], settings["data"].get("cache", "auto")):
        if not {"height", "width"} <= asked.keys():
            raise UsageError("--resolution: say to which size pictures from shards are cut, such as --resolution 64.")
        asked = {"channels": 3} | asked
    if asked.keys() < {"channels", "height", "width"}:
        from capriccio.data.dataset import peek_shape

        size = (asked["height"], asked["width"]) if {"height", "width"} <= asked.keys() else None
        asked = to_dict(peek_shape(settings["data"]["path"], size=size)) | asked
    try:
        return from_dict(ImageShape, asked, where="generator.shape")
    except ConfigError as error:
        flag = next((f"--{name}" for name in ("resolution", "size") if name in given), "the pictures' shape")
        raise ConfigError(f"{flag}: {str(error).removeprefix('shape: ')}") from error


def _parser() -> CommandParser:
    parser = CommandParser(
        "train",
        "Train a network on a folder or archive of pictures. With --resume the same line can always be given again.",
        "DATA --out RUN [flags]",
        meant=_MEANT,
    )
    what = "Folder, archive (.zip) or tar shards of pictures."
    parser.add_argument("DATA", nargs="?", type=str, default=SUPPRESS, help=what)
    group = parser.add_argument_group("the run")

    def flag(name: str, about: str, **how: Any) -> None:
        group.add_argument(name, help=about, default=SUPPRESS, **how)

    flag("--out", "Folder of the run.", type=str)
    flag("--resolution", "Side of square pictures in pixels; else that of the data set.", type=int)
    flag("--size", "Size of the pictures, HxW such as 256x384; else that of the data set.", type=str)
    flag("--device", DEVICE_HELP, type=str)
    flag("--resume", "Continue from the newest checkpoint, or start if there is none.", action="store_true")
    flag("--init-from", "Start from the tensors that fit of a model: file of any program, run, or name. Its "
         "architecture is taken, too, where no flag says otherwise.", type=str)  # fmt: skip
    flag("--continue-from", "Go on from this travelling snapshot, on any machine, with its architecture.", type=str)
    flag("--dry-run", "Print the resolved run and what it takes, and stop.", action="store_true")
    add_settings(parser, RunConfig, _ALIASES)
    return parser
