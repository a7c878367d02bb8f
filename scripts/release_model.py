"""Make a bundled model of a run: weights in half precision with their card, pictures and the page about it.

    python scripts/release_model.py runs/landscapes --name landscapes-64 --data PHOTOS --weights squeeze=… \
        --weights lpips-squeeze=…

With ``--data`` an encoder is trained, the detector calibrated, the model measured, copies of training pictures looked
for, and the editing directions found anew: half an hour on a processor. What was measured apart can be put into the
page alone:

    python scripts/release_model.py --name landscapes-64 --metrics numbers.json --copies copies/memorisation.json \
        --numbers-only

Writes ``src/capriccio/models/NAME.*``, ``docs/model-NAME.md``, ``docs/directions-NAME.md`` and
``docs/images/NAME-*``. Run it again whenever the model is replaced; nothing in those files is written by hand.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import yaml
from PIL import Image

import capriccio
from capriccio.doctor.record import Span, Tick, read_run
from capriccio.errors import UsageError
from capriccio.loading.model import Model, find_snapshot
from capriccio.metrics.results import Evaluation, read_evaluation
from capriccio.perception.discriminator import discriminator_hash
from capriccio.rendering.curves import Curve, Plot
from capriccio.rendering.grids import image_grid, to_picture, to_uint8
from capriccio.rendering.look import Look
from capriccio.rendering.mix import MixRequest, save_mix
from capriccio.rendering.report import plot_file
from capriccio.rendering.video import VideoRequest, save_video
from capriccio.snapshots.snapshot import load_snapshot, save_snapshot

ROOT = Path(__file__).parents[1]
MODELS, IMAGES = ROOT / "src/capriccio/models", ROOT / "docs/images"
LICENCE = "evaluation and research only; see LICENSE beside the weights"
METRICS = "fd_squeeze5k_full,fd_discriminator5k_full,fd_random5k_full,pr_random5k3_full,ppl2_wend_squeeze_1k"
LIMIT_MIB = {"landscapes-64": 12, "landscapes-128": 26}
SHORTCOMINGS = {
    "landscapes-64": "Early: pictures show composition and light better than detail.",
    "landscapes-128": "At their size most pictures pass for photographs. In some the scene falls apart, and enlarged "
    "one sees that foregrounds and leaves are texture without things.",
}
SHEET_SEEDS, SHEET_COLUMNS, SHEET_SCALE = range(100), 20, 1
MIX_ROWS, MIX_COLUMNS = (2, 5, 8, 13), (21, 33, 40, 57, 64, 71)
COLOURS_FROM = 5
"""Of the first rows comes what stands where, from here on the colours: one more table, which the README shows."""
WALK_SEEDS = (11, 23, 35, 47, 59)


def release(run: Path, snapshot_file: Path, name: str, hours_before: float) -> Path:
    """Write the bundled file and return its path; ``hours_before``: training before this run went on from it."""
    snapshot = load_snapshot(snapshot_file)
    ticks = read_ticks(run, snapshot.facts.nimg)
    config = yaml.safe_load((run / "config.yaml").read_text())
    card = {
        "title": f"Capriccio {name}",
        "description": "Landscapes: mountains, forests, seas, glaciers. StyleGAN2, trained from scratch.",
        "preset": config["preset"],
        "batch": config["batch"],
        "r1_gamma": config["loss"]["r1_gamma"],
        "training_hours": round(hours_before + (ticks[-1].mean("Timing/total_hours") or 0.0), 2),
        "limits": f"{SHORTCOMINGS.get(name, '')} It knows the landscapes of its data set and nothing else.".strip(),
    }
    facts = dataclasses.replace(snapshot.facts, licence=LICENCE, card=card)
    path = MODELS / f"{name}.safetensors"
    save_snapshot(path, dataclasses.replace(snapshot, facts=facts), "float16")
    return path


def measure(
    path: Path, data: str, weights: list[str], encoder_images: str | None
) -> tuple[list[Evaluation], Path | None]:
    """Give a model its encoder and calibration, measure it, and look for copies; return what was found.

    Without published weights only what needs none is measured, and copies are not looked for.
    """
    wanted = METRICS if weights else ",".join(name for name in METRICS.split(",") if "squeeze" not in name)
    flags = [word for source in weights for word in ("--weights", source)]
    encoder = ["--encoder", "new", *(["--encoder-images", encoder_images] if encoder_images else [])]
    found = Path(tempfile.mkdtemp(prefix="release-"))
    call("calibrate", "--model", path, "--data", data, *encoder, "--out", path, "--force")
    call("metrics", "--model", path, "--data", data, "--metrics", wanted, *flags, "--out", found / "numbers.json")
    if not weights:
        return [read_evaluation(found / "numbers.json")], None
    call("metrics", "memorisation", "--model", path, "--data", data, "--count", 500, "--network", "squeeze", *flags,
         "--out", found)  # fmt: skip
    return [read_evaluation(found / "numbers.json")], found / "memorisation.json"


def call(*words: object) -> None:
    """Run a command of Capriccio; what goes wrong there ends this as well."""
    print("capriccio", *words, flush=True)
    subprocess.run([sys.executable, "-m", "capriccio", *map(str, words)], check=True)


def read_ticks(run: Path, nimg: int) -> list[Tick]:
    """Return the statistics of a run up to ``nimg`` images."""
    return [tick for tick in read_run(run).ticks if tick.nimg <= nimg]


def sessions(run: Path) -> tuple[str, str]:
    """Return what the run was trained on, and the command of its last session."""
    environment = json.loads((run / "environment.json").read_text())["sessions"][-1]
    machine = environment.get("cuda") or "two processor cores shared with other work"
    words = environment["command"][1:]
    words = ["RUN" if before == "--out" else word for before, word in zip(["", *words], words, strict=False)]
    return machine, "capriccio " + " ".join("PHOTOS" if word.endswith(".zip") else word for word in words)


def pictures_of(model: Model, seeds: range, psi: float) -> list[Image.Image]:
    """Return the pictures of ``seeds``."""
    return [to_picture(to_uint8(model.images(model.ws(seeds=[s], truncation_psi=psi)))[0]) for s in seeds]


def half_precision_difference(full: Model, half: Model) -> tuple[float, int]:
    """Return mean and largest difference in grey levels that storing half precision makes, over 16 seeds."""
    a, b = (to_uint8(m.images(m.ws(seeds=range(16)))).astype(int) for m in (full, half))
    return float(np.abs(a - b).mean()), int(np.abs(a - b).max())


def draw(model: Model, run: Path, ticks: list[Tick], name: str) -> None:
    """Write the pictures of the page."""
    IMAGES.mkdir(parents=True, exist_ok=True)
    for psi in (0.7, 1.0):
        sheet = image_grid(pictures_of(model, SHEET_SEEDS, psi), SHEET_COLUMNS)
        sheet.save(IMAGES / f"{name}-psi{psi:g}.webp", quality=90, method=6)
    tables = {"coarse": "coarse", "middle": "middle", "fine": "fine", "colours": f"{COLOURS_FROM}-{model.num_ws - 1}"}
    for called, layers in tables.items():
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "mix.png"
            save_mix(
                model,
                MixRequest(rows=MIX_ROWS, columns=MIX_COLUMNS, layers=layers, look=Look(truncation_psi=0.7)),
                path,
            )
            with Image.open(path) as table:
                table.convert("RGB").save(IMAGES / f"{name}-mix-{called}.webp", quality=88, method=6)
    walk = VideoRequest(
        keys=WALK_SEEDS, look=Look(truncation_psi=0.7), frames_per_second=15, seconds_per_key=1.2, scale=3
    )
    save_video(model, walk, IMAGES / f"{name}-walk.webp")

    sheets = sorted((run / "samples").glob("fakes-*.png"))
    sheets = [path for path in sheets if int(path.stem.split("-")[1]) <= model.facts.nimg // 1000]
    chosen = list(dict.fromkeys(sheets[round(i * (len(sheets) - 1) / 5)] for i in range(6)))
    height = model.size[0]
    strips = Image.new("RGB", (Image.open(sheets[0]).width, len(chosen) * (2 * height + 8) - 8), "white")
    for i, path in enumerate(chosen):
        with Image.open(path) as sheet:
            strips.paste(sheet.crop((0, 0, sheet.width, 2 * height)), (0, i * (2 * height + 8)))
    strips.save(IMAGES / f"{name}-progress.webp", quality=88, method=6)

    for file, about, names in (
        ("losses", "loss", {"generator": "Loss/G/loss", "discriminator": "Loss/D/loss"}),
        ("signs", "mean sign", {"reals (r_t)": "Loss/signs/real", "fakes": "Loss/signs/fake"}),
        ("path-length", "path length", {"running mean": "Progress/pl_mean"}),
    ):
        curves = [Curve(name=word, points=Span(ticks[1:]).curve(key)) for word, key in names.items()]
        plot = Plot(curves=curves, x_label="thousand images", y_label=about)
        (IMAGES / f"{name}-{file}.svg").write_text(plot_file(plot))


def numbers(evaluations: list[Evaluation], model: Model) -> str:
    """Return the section about what was measured, each number with its protocol.

    Raises: UsageError if another network was measured.
    """
    if not evaluations:
        return "No quality metric has been computed for it yet."
    lines = ["| number | value | |", "|---|---:|---|"]
    cards: dict[str, list[str]] = {}
    own_hash = None if model.discriminator is None else discriminator_hash(model.discriminator)
    for evaluation in evaluations:
        if evaluation.subject_hash != model.model_hash:
            raise UsageError(
                f"'{evaluation.subject}' with hash {evaluation.subject_hash} was measured; this model has the hash "
                f"{model.model_hash}. Measure it with 'capriccio metrics --model {evaluation.subject} --out FILE'."
            )
        for result in evaluation.results:
            own = result.card.network_hash == own_hash
            judge = "by its own discriminator, which it learnt to please; " if own else ""
            lines += [f"| `{n}` | {value:.4g} | {judge}{result.caveat} |" for n, value in result.values.items()]
            card = result.card.to_dict()
            shown = {k: v[:12] if k.endswith("_hash") and v else v for k, v in card.items() if k != "metric"}
            told = ", ".join(f"{k} {v}" for k, v in shown.items())
            cards.setdefault(told, []).append(f"`{result.name}`")
    lines += ["", "What the names mean, and why they are compared under one protocol only: [metrics](metrics.md).", ""]
    lines += ["Measured by:", ""]
    lines += [f"* {', '.join(names)}: {told}" for told, names in cards.items()]
    return "\n".join(lines)


def copies(found: Path | None) -> str:
    """Return the section about copies of training pictures; ``found``: what the check wrote, None = not checked yet."""
    if found is None:
        return "Whether training pictures were copied has not been looked at yet."
    told = json.loads(found.read_text())
    meaning = "[what that means](metrics.md#does-it-repeat-its-training-pictures)"
    return f"{told['sentence']} By features of {told['network']}; {meaning}."


def renew_section(path: Path, name: str, section: str) -> None:
    """Replace one section of a page."""
    before, heading, rest = path.read_text().partition(f"## {name}\n")
    _, next_heading, after = rest.partition("\n## ")
    path.write_text(f"{before}{heading}\n{section}\n{next_heading}{after}")


def page(
    model: Model,
    run: Path,
    ticks: list[Tick],
    name: str,
    size_mib: float,
    half: tuple[float, int],
    evaluations: list[Evaluation],
    found_copies: Path | None,
) -> str:
    """Return the Markdown page about the model."""
    facts, data, last = model.facts, model.facts.data, ticks[-1]
    speed = statistics.median(Span(ticks).values("Timing/images_per_sec"))
    hours, epochs = facts.card["training_hours"], facts.nimg / data["count"]
    config, began = yaml.safe_load((run / "config.yaml").read_text()), ticks[0].nimg / 1000
    machine, command = sessions(run)
    inside = {
        "discriminator": model.discriminator,
        "encoder": model.encoder,
        "calibration": facts.calibration,
    }
    told_half = "half precision, with " + ", ".join(part for part, there in inside.items() if there)
    if half[1]:
        told_half += (
            f"; pictures differ from those of the full precision by {half[0]:.3f} grey levels in the "
            f"mean, {half[1]} at most"
        )
    before = ""
    if f"--continue-from {name} " in command:
        before = (
            f"\nThe first line went on from the network that had this name before, at {began:.0f} thousand images; the "
            "history of this page has its command.\n"
        )
    took = f"{hours:.1f} hours" if hours >= 1 else f"{60 * hours:.0f} minutes"
    augmentation = "no augmentation"
    if config["augment"]["mode"] != "none":
        pipe = config["augment"]["pipe"]
        augmentation = f"augmentation {config['augment']['mode']} ({pipe}), p {facts.augment_p:.3f} at the end"
    shown = ("Loss/G/loss", "Loss/D/loss", "Loss/signs/real", "Progress/pl_mean")
    ends = {statistic: value for statistic in shown if (value := last.mean(statistic)) is not None}
    millions = [sum(p.numel() for p in n.parameters()) / 1e6 for n in (model.generator, model.discriminator) if n]
    rows = {
        "pictures": str(model.shape),
        "trained on": f"{data['count']:,} photographs ({data['name']}; {len(data['heldout'])} more were held out)"
        + (", mirrored" if data["mirror"] else ""),
        "licence of the photographs": data["licence"],
        "licence of the weights": facts.licence,
        "training": f"{facts.nimg:,} images shown, {epochs:.1f} epochs, {took} on {machine}, "
        f"median {speed:.1f} images/s",
        "preset": f"{facts.card['preset']}: batch {facts.card['batch']}, "
        f"R1 γ {facts.card['r1_gamma']:g}, {augmentation}",
        "at the end": ", ".join(f"{key.split('/', 1)[1]} {value:.3f}" for key, value in ends.items()),
        "parameters": f"generator {millions[0]:.2f} M, discriminator {millions[1]:.2f} M",
        "file": f"{size_mib:.1f} MiB, {told_half}",
        "model hash": f"`{model.model_hash}`",
    }
    table = "\n".join(f"| {name} | {value} |" for name, value in rows.items())
    return f"""# The model `{name}`

*This page is written by `scripts/release_model.py`.*

![Uncurated samples, ψ = 0.7](images/{name}-psi0.7.webp)

The pictures of seeds 0 to 99 at ψ = 0.7, none chosen. The same at ψ = 1:

![Uncurated samples, ψ = 1](images/{name}-psi1.webp)

## Facts

| | |
|---|---|
{table}

{facts.card["limits"]}

## Numbers

{numbers(evaluations, model)}

## Copies

{copies(found_copies)}

## Mixing

![coarse layers](images/{name}-mix-coarse.webp)
![middle layers](images/{name}-mix-middle.webp)
![fine layers](images/{name}-mix-fine.webp)
![layers of colour](images/{name}-mix-colours.webp)

## A walk

![walk](images/{name}-walk.webp)

## Training

The same latents through the averaged generator, from {began:.0f} to {facts.nimg / 1000:.0f} thousand images:

![progress](images/{name}-progress.webp)

![losses](images/{name}-losses.svg)
![signs of the discriminator](images/{name}-signs.svg)
![path length](images/{name}-path-length.svg)

## The commands

```bash
{command}
python scripts/release_model.py RUN --name {name} --data PHOTOS --weights squeeze=… --weights lpips-squeeze=…
```
{before}"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path, nargs="?", help="folder of the run; --numbers-only works without it")
    parser.add_argument("--snapshot", type=Path, help="snapshot of the run; the newest if not given")
    parser.add_argument("--name", required=True, help="name of the bundled model")
    parser.add_argument("--data", help="its photographs: also calibrate, measure, and find directions")
    parser.add_argument("--weights", action="append", default=[], metavar="KEY=PATH", help="published, to measure by")
    parser.add_argument("--encoder-images", metavar="N", help="as 'capriccio calibrate' has it")
    parser.add_argument("--metrics", type=Path, nargs="*", default=[], help="what 'capriccio metrics --out' wrote")
    parser.add_argument("--hours-before", type=float, default=0.0, help="training hours before the run went on from it")
    parser.add_argument("--page-only", action="store_true", help="leave weights and pictures as they are")
    parser.add_argument("--copies", type=Path, help="what 'capriccio metrics memorisation' wrote: memorisation.json")
    parser.add_argument("--numbers-only", action="store_true", help="write only what --metrics and --copies fill")
    arguments = parser.parse_args()
    evaluations = [read_evaluation(path) for path in arguments.metrics]
    if arguments.numbers_only:
        page_file = ROOT / "docs" / f"model-{arguments.name}.md"
        if evaluations:
            renew_section(page_file, "Numbers", numbers(evaluations, capriccio.load(arguments.name)))
        if arguments.copies:
            renew_section(page_file, "Copies", copies(arguments.copies))
        return
    if arguments.run is None:
        parser.error("the folder of the run is needed for everything but --numbers-only.")
    snapshot_file = find_snapshot((arguments.snapshot or arguments.run).resolve())  # not the bundled one of that name
    if arguments.page_only:
        path = MODELS / f"{arguments.name}.safetensors"
    else:
        path = release(arguments.run, snapshot_file, arguments.name, arguments.hours_before)
    if arguments.data:
        evaluations, arguments.copies = measure(path, arguments.data, arguments.weights, arguments.encoder_images)
    size = path.stat().st_size / 2**20
    if size > LIMIT_MIB.get(arguments.name, 26):
        raise SystemExit(f"{path} has {size:.1f} MiB, more than a bundled model may have")
    model, full = capriccio.load(path), capriccio.load(snapshot_file)
    ticks = read_ticks(arguments.run, model.facts.nimg)
    if not arguments.page_only:
        draw(model, arguments.run, ticks, arguments.name)
    half = half_precision_difference(full, model)
    text = page(model, arguments.run, ticks, arguments.name, size, half, evaluations, arguments.copies)
    (ROOT / "docs" / f"model-{arguments.name}.md").write_text(text)
    print(f"{path}: {size:.1f} MiB; docs/model-{arguments.name}.md")
    if arguments.data:
        subprocess.run([sys.executable, ROOT / "scripts/release_directions.py", arguments.name], check=True)


if __name__ == "__main__":
    main()
