"""How closely training in bf16 follows training in fp32: the cosine of both gradients, phase by phase.

    python scripts/precision_study.py runs/mine/snapshots/*.safetensors --data photos-64.zip

For every snapshot the four phases are evaluated on the same pictures and random numbers, once with everything in
float32 and once with the highest levels in bf16, and the gradients of the phase's network are compared as one long
vector. Prints a table in Markdown: the mean over batches, and in brackets the lowest.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor, nn

from capriccio.config import AugmentConfig, LossConfig
from capriccio.data import open_dataset
from capriccio.data.dataset import ImageDataset
from capriccio.latent.random_labels import NoLabels
from capriccio.ops.quantize import dequantize
from capriccio.processes import Processes
from capriccio.snapshots.snapshot import Snapshot, load_snapshot
from capriccio.training import losses
from capriccio.training.draws import SeededDraws
from capriccio.training.iteration import Batch

PHASES = ("Gmain", "Greg", "Dmain", "Dreg")
DEVICE = torch.device("cpu")


def phase_gradients(snapshot: Snapshot, batch: Batch, draws: SeededDraws, loss: LossConfig) -> dict[str, Tensor]:
    """Return the gradient of each phase's network as one vector."""
    generator, discriminator = snapshot.generator, snapshot.discriminator
    assert discriminator is not None
    count = len(batch.reals)

    def generator_main() -> None:
        output = losses.generator_main(generator, discriminator, draws.generator_inputs("Gmain", 0, count))
        torch.autograd.backward(output.loss)

    def path_lengths() -> None:
        half = count // loss.pl_batch_shrink
        lengths, _ = losses.path_lengths(generator, draws.generator_inputs("Greg", 0, half), draws.pl_noise(0, half))
        mean = torch.tensor(snapshot.facts.pl_mean)
        total = lengths.detach().sum()
        step = losses.path_length_cotangent(
            lengths, mean, total=total, count=half, weight=loss.pl_weight, decay=loss.pl_decay
        )
        torch.autograd.backward(lengths, step.cotangent)

    def discriminator_main() -> None:
        inputs = draws.generator_inputs("Dmain", 0, count)
        output = losses.discriminator_main(generator, discriminator, inputs, batch.reals, batch.labels)
        torch.autograd.backward(output.loss)

    def r1() -> None:
        torch.autograd.backward(losses.r1_penalty(discriminator, batch.reals, batch.labels, gamma=loss.r1_gamma).loss)

    phases: dict[str, tuple[nn.Module, Callable[[], None]]] = {
        "Gmain": (generator, generator_main),
        "Greg": (generator, path_lengths),
        "Dmain": (discriminator, discriminator_main),
        "Dreg": (discriminator, r1),
    }
    gradients = {}
    for name, (network, run) in phases.items():
        network.requires_grad_(True)
        run()
        gradients[name] = torch.cat([p.grad.flatten() for p in network.parameters() if p.grad is not None]).double()
        network.requires_grad_(False)
        network.zero_grad()
    return gradients


def cosines(snapshot: Snapshot, dataset: ImageDataset, *, batch: int, batches: int) -> dict[str, list[float]]:
    """Return the cosines of bf16 and fp32 gradients, by phase, one for each batch."""
    assert snapshot.discriminator is not None
    result: dict[str, list[float]] = {name: [] for name in PHASES}
    chosen = torch.randperm(len(dataset), generator=torch.Generator().manual_seed(0)).numpy()
    for index in range(batches):
        reals = dequantize(torch.from_numpy(dataset.images(chosen[index * batch : (index + 1) * batch])))
        draws = SeededDraws(
            config=snapshot.generator.config,
            noise_shapes=tuple(snapshot.generator.synthesis.noise_shapes()),
            labels=NoLabels(),
            mixing_prob=0.9,
            seed=0,
            salt=0,
            augment=AugmentConfig(),
            augment_p=0.0,
            fixed_shape=False,
            nimg=index,
            rank=Processes().rank,
            num_processes=Processes().world_size,
            device=DEVICE,
        )
        by_precision = []
        for dtype in (None, torch.bfloat16):
            snapshot.generator.set_precision(dtype)
            snapshot.discriminator.set_precision(dtype)
            by_precision.append(phase_gradients(snapshot, Batch(reals, None), draws, LossConfig()))
        for name in PHASES:
            result[name].append(float(torch.cosine_similarity(by_precision[0][name], by_precision[1][name], dim=0)))
    return result


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("snapshots", nargs="+", type=Path, help="snapshots of a run, unconditional")
    parser.add_argument("--data", required=True, help="archive or folder of pictures")
    parser.add_argument("--batch", type=int, default=16, help="pictures per batch")
    parser.add_argument("--batches", type=int, default=8, help="batches per snapshot")
    args = parser.parse_args()
    print("| kimg | " + " | ".join(PHASES) + " |\n|" + " --- |" * (len(PHASES) + 1))
    for path in args.snapshots:
        snapshot = load_snapshot(path)
        shape = snapshot.generator.config.shape
        dataset = open_dataset(args.data, size=(shape.height, shape.width)).train
        found = cosines(snapshot, dataset, batch=args.batch, batches=args.batches)
        cells = [f"{sum(values) / len(values):.4f} ({min(values):.4f})" for values in found.values()]
        print(f"| {snapshot.facts.nimg / 1000:.1f} | " + " | ".join(cells) + " |", flush=True)


if __name__ == "__main__":
    main()
