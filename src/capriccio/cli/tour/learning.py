"""The first stops: pictures to learn from, a small network trained on them from nothing, the bundled one trained on."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from pathlib import Path

from PIL import Image

from capriccio.cli.tour.figures import archive_sheet, minutes, say, sheet, shown
from capriccio.config import DataConfig, ImageShape, RunConfig, SavingConfig
from capriccio.data.landscapes.archive import synthesize
from capriccio.doctor.record import Span, read_run
from capriccio.loading.bundled import bundled_path
from capriccio.loading.model import Model, load
from capriccio.presets import auto_gamma, preset
from capriccio.rendering.curves import Curve, Plot
from capriccio.rendering.report import Block, Command, Section
from capriccio.run_layout import RunLayout
from capriccio.training.train import train

SIZE = 32
"""Of the pictures that the network from nothing is trained on."""
LARGE_SIZE = 64
"""Of those the bundled model is shown."""
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
_SEED = 7


@dataclass(frozen=True)
class Learning:
    """Where the tour trains, and for how long."""

    folder: Path
    """Archives and runs lie here; what is there already is not done again."""
    minutes: float
    """All training together."""
    device: str
    """As in ``--device``."""

    @property
    def scratch(self) -> Path:
        """The run from nothing."""
        return self.folder / "runs" / "scratch"

    def paint(self) -> Section:
        """Paint the data set."""
        say("Painting landscapes to learn from …")
        for size in (SIZE, LARGE_SIZE):
            archive = self._archive(size)
            if not archive.exists():
                synthesize(archive, PAINTED if size == SIZE else PAINTED // 4, size=(size, size), seed=_SEED)
        return Section(
            heading="Pictures to learn from",
            blocks=[
                f"{PAINTED:,} landscapes painted by a program: skies, suns, clouds, ridges, forests, water. They are "
                "free of anybody's rights, and they are no substitute for photographs.",
                shown(archive_sheet(self._archive(LARGE_SIZE)), "Painted landscapes, the data set of this tour."),
                Command(lines=[f"capriccio dataset synth painted.zip --count {PAINTED} --size {SIZE} --seed {_SEED}"]),
            ],
        )

    def train(self, share: float) -> Section:
        """Train from nothing for a share of the minutes."""
        budget = 60 * self.minutes * share
        say(f"Training from scratch, {SIZE}×{SIZE}, for {minutes(budget)} …")
        if not RunLayout(self.scratch).config.exists():
            self._train_for(budget, _scratch_config(self._archive(SIZE)), self.scratch)
        model = load(self.scratch, device=self.device)
        blocks: list[Block] = [
            f"A small network saw {model.facts.nimg:,} pictures, starting from noise. Each frame shows the same "
            "latents; what changes is the network.",
            *(shown(samples, caption) for caption, samples in _sample_sheets(self.scratch)),
            _plot(self.scratch),
            Command(lines=["capriccio train painted.zip --out runs/painted --preset tiny"]),
        ]
        return Section(heading="Training from scratch", blocks=blocks)

    def fine_tune(self, model: Model) -> Section:
        """Train the bundled model on for a moment."""
        folder = self.folder / "runs" / "fine-tuned"
        if not RunLayout(folder).config.exists():
            say("Fine-tuning the bundled model on the painted landscapes for a moment …")
            config = _fine_tune_config(model, self._archive(LARGE_SIZE), FINE_TUNE_KIMG_PER_MINUTE * self.minutes)
            train(config, folder, resume=True, init_from=str(bundled_path()), device=self.device, echo=_indented)
        tuned = load(folder, device=self.device)
        return Section(
            heading="Fine-tuning",
            blocks=[
                f"The bundled model, trained on photographs, was shown {tuned.facts.nimg:,} painted landscapes. "
                "The same seeds before and after: composition stays, the brush changes.",
                shown(sheet(model, range(12)), "Before."),
                shown(sheet(tuned, range(12)), "After."),
                Command(lines=["capriccio train painted-64.zip --out runs/tuned --init-from landscapes-64"]),
            ],
        )

    def _train_for(self, seconds: float, config: RunConfig, folder: Path) -> None:
        """Train in parts until the time is spent: each resumes the one before, exactly as after a power cut.

        A short first part tells how fast this machine is, and each further one may be wrong by less.
        """
        started, done, aim = time.monotonic(), 0.0, WARM_UP_KIMG
        while aim > done:
            part_started = time.monotonic()
            train(replace(config, total_kimg=aim), folder, resume=True, device=self.device, echo=_indented)
            now = time.monotonic()
            rate, done = (aim - done) / (now - part_started), aim
            left = seconds - (now - started)
            if left > LAST_PART_SHARE * seconds:
                aim = min(done + rate * left, MAX_GROWTH * done, LARGEST_KIMG)

    def _archive(self, size: int) -> Path:
        return self.folder / f"painted-{size}.zip"


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


def _sample_sheets(folder: Path) -> list[tuple[str, Image.Image]]:
    """Return (caption, top rows) of the first, a middle and the last sample sheet of a run."""
    saved = RunLayout(folder).sheets()
    chosen = sorted({saved[0], saved[len(saved) // 2], saved[-1]})
    sheets = []
    for kimg, path in chosen:
        with Image.open(path) as samples:
            top = samples.crop((0, 0, samples.width, min(samples.height, 3 * SIZE))).copy()
        sheets.append((f"After {kimg:,} thousand pictures.", top))
    return sheets


def _plot(folder: Path) -> Plot:
    ticks = Span(read_run(folder).ticks)
    curves = [Curve(name=word, points=ticks.curve(name)) for name, word in CURVE_NAMES.items()]
    return Plot(curves=curves, x_label="thousand images", y_label="loss", caption="Losses of the two networks.")


def _indented(line: str) -> None:
    print(f"    {line}", flush=True)
