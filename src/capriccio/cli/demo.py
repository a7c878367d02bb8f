"""``capriccio demo``: the whole tour on embedded data, in minutes, ending in one HTML report.

Paints landscapes, trains a small network on them from scratch, fine-tunes the bundled model for a moment, generates,
mixes and films. Everything is made by the same functions as the commands it names.
"""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from capriccio.cli.parser import DEVICE_HELP, CommandParser
from capriccio.config import DataConfig, ImageShape, RunConfig, SavingConfig
from capriccio.presets import auto_gamma, preset

if TYPE_CHECKING:
    from PIL import Image

    from capriccio.loading.model import Model
    from capriccio.rendering.report import Block, Figure, Section

SIZE = 32
PAINTED = 3000
WARM_UP_KIMG = 0.8
"""Trained first, to measure how much fits into the time."""
MAX_GROWTH = 4.0
"""A part of the training is at most this many times as long as all before it."""
LAST_PART_SHARE = 0.15
"""When less than this share of the time is left, the training ends."""
LARGEST_KIMG = 60.0
FINE_TUNE_SHARE = 0.3
"""Share of the training minutes that is left to fine-tuning."""
FINE_TUNE_KIMG_PER_MINUTE = 0.45
"""Length of fine-tuning for each minute of the tour: what two processor cores do in that share of it."""
CURVE_NAMES = {"Loss/G/loss": "generator", "Loss/D/loss": "discriminator"}

WALK_SEEDS = (11, 23, 35, 47)
MIX_ROWS, MIX_COLUMNS = (2, 5, 8), (21, 33, 40, 57, 64)


def run(argv: Sequence[str]) -> int:
    """Do the tour and say where the report lies."""
    asked = _parser().read(argv)
    tour = _Tour(Path(asked.out), minutes=asked.minutes, device=asked.device)
    report = tour.take()
    print(f"The report lies in {report}")
    return 0


def _parser() -> CommandParser:
    parser = CommandParser(
        "demo",
        "A tour of everything on embedded data: train a little, generate, mix, film; leaves one HTML report.",
        "[--out DIR] [--minutes M]",
    )
    parser.add_argument("--out", type=str, default="capriccio-demo", help="Folder of the tour; may exist.")
    parser.add_argument("--minutes", type=float, default=2.5, help="How long to train.")
    parser.add_argument("--device", type=str, default="auto", help=DEVICE_HELP)
    return parser


@dataclass
class _Tour:
    """One tour; every stop returns a section of the report."""

    folder: Path
    minutes: float
    device: str

    def take(self) -> Path:
        """Go from stop to stop; return the path of the report."""
        from capriccio.loading.bundled import bundled_names
        from capriccio.loading.model import load
        from capriccio.rendering.report import Report, save_report

        started = time.monotonic()
        self.folder.mkdir(parents=True, exist_ok=True)
        has_bundled = bool(bundled_names())
        sections = [self._paint(), self._train(1 - FINE_TUNE_SHARE if has_bundled else 1)]
        model = load(None if has_bundled else self._run_folder("scratch"), device=self.device)
        if has_bundled:
            sections.append(self._fine_tune(model))
        sections += [self._generate(model), self._mix(model), self._film(model), _next_steps()]
        report = Report(
            title="A capriccio",
            subtitle="Imaginary landscapes, composed from what a network learnt. Everything on this page was painted, "
            "trained and generated on this machine just now"
            + (", with the model that comes with the package where it says so." if has_bundled else "."),
            cover=_figure(_sheet(model, range(100, 124), columns=12), "Twenty-four landscapes that never existed.", 1),
            facts=[
                ("model", f"{model.shape}, {model.facts.nimg / 1000:,.0f} kimg"),
                ("device", str(model.device)),
                ("whole tour", _minutes(time.monotonic() - started)),
                ("weights", model.licence),
            ],
            sections=sections,
        )
        return save_report(self.folder / "report.html", report).resolve()

    # ---- the stops

    def _paint(self) -> Section:
        from capriccio.data.landscapes.archive import synthesize
        from capriccio.rendering.report import Command, Section

        _say("Painting landscapes to learn from …")
        for size in (SIZE, 64):
            archive = self._archive(size)
            if not archive.exists():
                synthesize(archive, PAINTED if size == SIZE else PAINTED // 4, size=(size, size), seed=7)
        return Section(
            heading="Pictures to learn from",
            blocks=[
                f"{PAINTED:,} landscapes painted by a program: skies, suns, clouds, ridges, forests, water. They are "
                "free of anybody's rights, and they are no substitute for photographs.",
                _figure_block(_archive_sheet(self._archive(64)), "Painted landscapes, the data set of this tour."),
                Command(lines=[f"capriccio dataset synth painted.zip --count {PAINTED} --size {SIZE} --seed 7"]),
            ],
        )

    def _train(self, share: float) -> Section:
        from capriccio.loading.model import load
        from capriccio.rendering.report import Command, Section

        config, folder = _scratch_config(self._archive(SIZE)), self._run_folder("scratch")
        budget = 60 * self.minutes * share
        _say(f"Training from scratch, {SIZE}×{SIZE}, for {_minutes(budget)} …")
        if not (folder / "config.yaml").exists():
            self._train_for(budget, config, folder)
        sheets = _sample_sheets(folder)
        model = load(folder, device=self.device)
        blocks: list[Block] = [
            f"A small network saw {model.facts.nimg:,} pictures, starting from noise. Each frame shows the same "
            "latents; what changes is the network.",
            *(_figure_block(sheet, caption) for caption, sheet in sheets),
            _plot(folder),
            Command(lines=["capriccio train painted.zip --out runs/painted --preset tiny"]),
        ]
        return Section(heading="Training from scratch", blocks=blocks)

    def _train_for(self, seconds: float, config: RunConfig, folder: Path) -> None:
        """Train in parts until the time is spent: each resumes the one before, exactly as after a power cut.

        A short first part tells how fast this machine is, and each further one may be wrong by less.
        """
        from capriccio.training.loop import train

        started, done, aim = time.monotonic(), 0.0, WARM_UP_KIMG
        while aim > done:
            part_started = time.monotonic()
            train(replace(config, total_kimg=aim), folder, resume=True, device=self.device, echo=_indented)
            now = time.monotonic()
            rate, done = (aim - done) / (now - part_started), aim
            left = seconds - (now - started)
            if left > LAST_PART_SHARE * seconds:
                aim = min(done + rate * left, MAX_GROWTH * done, LARGEST_KIMG)

    def _fine_tune(self, model: Model) -> Section:
        from capriccio.loading.bundled import bundled_path
        from capriccio.loading.model import load
        from capriccio.rendering.report import Command, Section
        from capriccio.training.loop import train

        folder = self._run_folder("fine-tuned")
        if not (folder / "config.yaml").exists():
            _say("Fine-tuning the bundled model on the painted landscapes for a moment …")
            config = _fine_tune_config(model, self._archive(64), FINE_TUNE_KIMG_PER_MINUTE * self.minutes)
            train(config, folder, resume=True, init_from=str(bundled_path()), device=self.device, echo=_indented)
        tuned = load(folder, device=self.device)
        return Section(
            heading="Fine-tuning",
            blocks=[
                f"The bundled model, trained on photographs, was shown {tuned.facts.nimg:,} painted landscapes. "
                "The same seeds before and after: composition stays, the brush changes.",
                _figure_block(_sheet(model, range(12), columns=12), "Before."),
                _figure_block(_sheet(tuned, range(12), columns=12), "After."),
                Command(
                    lines=["capriccio train painted-64.zip --out runs/tuned --init-from landscapes-64.safetensors"]
                ),
            ],
        )

    def _generate(self, model: Model) -> Section:
        from capriccio.rendering.report import Command, Section

        _say("Generating …")
        return Section(
            heading="Pictures that never existed",
            blocks=[
                "A seed is a picture. Truncation (ψ) trades variety for typicality: at 1 everything the network can "
                "paint, towards 0 the one landscape it thinks most ordinary.",
                *(
                    _figure_block(_sheet(model, range(40, 52), columns=12, psi=psi), f"ψ = {psi:g}, seeds 40 to 51.")
                    for psi in (1.0, 0.7, 0.4, 0.0)
                ),
                Command(lines=["capriccio generate --seeds 40-51 --psi 0.7 --out pictures"]),
            ],
        )

    def _mix(self, model: Model) -> Section:
        from capriccio.rendering.mix import MixRequest, save_mix
        from capriccio.rendering.report import Command, Section
        from capriccio.rendering.sources import Look

        _say("Mixing styles …")
        blocks: list[Block] = [
            "Every layer of the network takes its own style. Below, the coarse layers (composition) or the fine ones "
            "(light and colour) of the pictures on top are given to the pictures on the left."
        ]
        ranges = ["coarse", "fine"] if model.num_ws > 7 else ["coarse", "middle"]
        for layers in ranges:
            path = self.folder / f"mix-{layers}.png"
            request = MixRequest(rows=MIX_ROWS, columns=MIX_COLUMNS, layers=layers, look=Look(truncation_psi=0.7))
            save_mix(model, request, path)
            blocks.append(_figure_block(path.read_bytes(), f"The {layers} layers come from the pictures on top."))
        blocks.append(Command(lines=["capriccio mix --rows 2,5,8 --cols 21,33,40,57,64 --layers fine --out mix.png"]))
        return Section(heading="Mixing two pictures", blocks=blocks)

    def _film(self, model: Model) -> Section:
        from capriccio.rendering.report import Command, Section
        from capriccio.rendering.sources import Look
        from capriccio.rendering.video import VideoRequest, save_video

        _say("Filming …")
        path = self.folder / "walk.webp"
        look = Look(truncation_psi=0.7)
        request = VideoRequest(keys=WALK_SEEDS, look=look, frames_per_second=15, seconds_per_key=1.6, scale=4)
        save_video(model, request, path)
        return Section(
            heading="A walk",
            blocks=[
                "Between any two pictures lie others. A closed path through four of them:",
                _figure_block(path.read_bytes(), "From seed 11 over 23, 35 and 47 back to 11.", scale=1),
                Command(lines=["capriccio video --seeds 11,23,35,47 --out walk.webp"]),
            ],
        )

    # ---- where things lie

    def _archive(self, size: int) -> Path:
        return self.folder / f"painted-{size}.zip"

    def _run_folder(self, name: str) -> Path:
        return self.folder / "runs" / name


def _scratch_config(archive: Path) -> RunConfig:
    shape = ImageShape(height=SIZE, width=SIZE)
    config = preset("tiny", shape)
    return replace(
        config,
        data=DataConfig(path=str(archive), mirror=True, holdout=0),
        generator=replace(config.generator, channel_base=1024, channel_max=64, z_dim=64, w_dim=64),
        discriminator=replace(config.discriminator, channel_base=1024, channel_max=64),
        loss=replace(config.loss, r1_gamma=auto_gamma(shape, 16) * 4),
        ema=replace(config.ema, half_life_kimg=2.0),
        saving=SavingConfig(kimg_per_tick=0.4, snapshot_kimg=4.0, first_snapshot_minutes=0.2, checkpoint_minutes=2.0),
        batch=16,
        batch_per_round=16,
    )


def _fine_tune_config(model: Model, archive: Path, kimg: float) -> RunConfig:
    start = preset("laptop", model.shape)
    discriminator = start.discriminator if model.discriminator is None else model.discriminator.config
    return replace(
        start,
        data=DataConfig(path=str(archive), mirror=True, holdout=0),
        generator=model.config,
        discriminator=discriminator,
        ema=replace(start.ema, half_life_kimg=0.5),
        saving=SavingConfig(kimg_per_tick=0.4, snapshot_kimg=100.0, first_snapshot_minutes=60.0),
        total_kimg=kimg,
    )


def _next_steps() -> Section:
    from capriccio.rendering.report import Command, Section

    return Section(
        heading="Your own photographs",
        blocks=[
            "A folder of a few thousand photographs is enough to begin. Start small, look at the samples, let it run.",
            Command(
                lines=[
                    "capriccio train photos/ --resolution 64 --preset laptop --mirror --out runs/mine",
                    "capriccio generate --model runs/mine --seeds 0-63 --out pictures",
                    "capriccio mix --model runs/mine --rows 1,2,3 --cols 4,5,6 --layers coarse --out mix.png",
                ]
            ),
        ],
    )


# ---- pictures of the report


def _sheet(model: Model, seeds: Sequence[int], *, columns: int, psi: float = 0.7) -> Image.Image:
    from capriccio.rendering.grids import image_grid, to_picture, to_uint8

    pictures = []
    for start in range(0, len(seeds), 16):
        images = model.images(model.ws(seeds=seeds[start : start + 16], truncation_psi=psi))
        pictures += [to_picture(p) for p in to_uint8(images)]
    return image_grid(pictures, columns)


def _archive_sheet(archive: Path) -> Image.Image:
    from capriccio.data.dataset import open_dataset
    from capriccio.rendering.grids import image_grid, to_picture

    pixels = open_dataset(archive, holdout=0, cache="none").train.images(range(36))
    return image_grid([to_picture(p.transpose(1, 2, 0)) for p in pixels], 12)


def _sample_sheets(folder: Path) -> list[tuple[str, Image.Image]]:
    """Return (caption, top rows) of the first, a middle and the last sample sheet of a run."""
    from PIL import Image as Pictures

    paths = sorted((folder / "samples").glob("fakes-*.png"))
    chosen = sorted({paths[0], paths[len(paths) // 2], paths[-1]})
    sheets = []
    for path in chosen:
        with Pictures.open(path) as sheet:
            top = sheet.crop((0, 0, sheet.width, min(sheet.height, 3 * SIZE))).copy()
        sheets.append((f"After {int(path.stem.split('-')[1]):,} thousand pictures.", top))
    return sheets


def _plot(folder: Path) -> Block:
    from capriccio.rendering.curves import Curve, Plot

    ticks = [json.loads(line) for line in (folder / "stats.jsonl").read_text().splitlines()]
    curves = [
        Curve(name=word, points=[(tick["nimg"] / 1000, tick[name]["mean"]) for tick in ticks if name in tick])
        for name, word in CURVE_NAMES.items()
    ]
    return Plot(curves=curves, x_label="thousand images", y_label="loss", caption="Losses of the two networks.")


def _figure(image: Image.Image | bytes, caption: str, scale: int | None = None) -> Figure:
    from capriccio.rendering.report import Figure

    return Figure(image=image, caption=caption, scale=scale)


def _figure_block(image: Image.Image | bytes, caption: str, scale: int | None = None) -> Block:
    from capriccio.rendering.report import Figures

    return Figures(figures=[_figure(image, caption, scale)])


# ---- words


def _say(line: str) -> None:
    print(line, flush=True)


def _indented(line: str) -> None:
    print(f"    {line}", flush=True)


def _minutes(seconds: float) -> str:
    return f"{seconds / 60:.1f} minutes"
