"""What the memorisation check finds: training pictures planted among the samples of a model, exact and altered.

    python scripts/memorisation_power.py PHOTOS --model landscapes-64 --network squeeze --weights squeeze=squeezenet.pth

Prints, for each alteration and share, the verdict and its numbers. Mirrored training pictures are left out.
"""

from __future__ import annotations

import argparse

import torch
from torch import Tensor

from capriccio.data.dataset import open_dataset
from capriccio.latent.random_labels import NoLabels
from capriccio.loading.model import load
from capriccio.metrics.collect import Wanted, collect
from capriccio.metrics.memorisation import judge, nearest
from capriccio.metrics.pictures import Fakes, PictureSource, Reals
from capriccio.perception.catalogue import Perception
from capriccio.perception.weights import parse_sources
from capriccio.processes import Processes

SHARES = (0.02, 0.05, 0.1, 0.2)
SHIFT_PX = 2
NOISE_LEVELS = 6


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", help="the pictures the model was trained on")
    parser.add_argument("--model", default="landscapes-64")
    parser.add_argument("--network", default="random", choices=("random", "squeeze", "vgg", "inception"))
    parser.add_argument("--weights", action="append", default=[], metavar="KEY=PATH")
    parser.add_argument("--count", type=int, default=500, help="samples, planted ones included")
    parser.add_argument("--seed", type=int, default=1, help="of the samples; plants are drawn from it, too")
    arguments = parser.parse_args()

    model = load(arguments.model, device="cpu")
    split = open_dataset(arguments.data, size=model.size, holdout=len(model.facts.data["heldout"]))
    if split.train.card.hash != model.facts.data["hash"]:
        raise SystemExit(f"'{arguments.data}' is not the data set that {arguments.model} was trained on")
    network = Perception(channels=model.channels, weights=parse_sources(arguments.weights)).network(arguments.network)

    def features(pictures: PictureSource) -> Tensor:
        found = collect(pictures, {"n": network}, {"n": Wanted(rows=len(pictures))}, Processes())["n"].features
        assert found is not None
        return found

    train, heldout = (features(Reals(part, len(part), model.size, "lanczos")) for part in (split.train, split.heldout))
    samples = features(
        Fakes(
            generator=model.generator, name=arguments.model, labels=NoLabels(), count=arguments.count,
            seed=arguments.seed, psi=1.0, batch=16, device=model.device,
        )
    )  # fmt: skip
    rng = torch.Generator().manual_seed(arguments.seed)
    chosen = torch.randperm(len(split.train), generator=rng)[: round(max(SHARES) * arguments.count)]
    pictures = torch.from_numpy(split.train.images(chosen.numpy()))
    shifted = pictures.roll(SHIFT_PX, dims=3)
    noisy = (shifted + NOISE_LEVELS * torch.randn(pictures.shape, generator=rng)).clamp(0, 255).round().byte()
    plants = {"exact": pictures, "shifted": shifted, "shifted, noise": noisy}

    mean, std = train.mean(dim=0), train.std(dim=0).clamp(min=1e-6)
    train = (train - mean) / std
    own = nearest(train, train, 2)[0][:, 1].clamp(min=1e-6)

    def ratios(f: Tensor) -> Tensor:
        distances, rows = nearest((f - mean) / std, train, 1)
        return distances[:, 0] / own[rows[:, 0]]

    unseen, plain = ratios(heldout), ratios(samples)
    print(f"lowest ratios: held out {float(unseen.min()):.2f}, samples {float(plain.min()):.2f}")
    print(f"nothing planted: {judge(plain, unseen).sentence}")
    for name, altered in plants.items():
        planted = ratios(network.features(altered))
        for share in SHARES:
            n = round(share * arguments.count)
            found = judge(torch.cat([plain[n:], planted[:n]]), unseen)
            print(f"{name}, {share:.0%}: {found.verdict}; close {found.close_share:.3f}, p {found.p_value:.2g}, "
                  f"copies {found.copies}")  # fmt: skip


if __name__ == "__main__":
    main()
