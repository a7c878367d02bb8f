"""Hold the feature networks against independent implementations, all with the same random weights.

    pip install torchvision lpips torch-fidelity
    python scripts/verify_feature_networks.py

No published weights are needed: that an architecture is right shows with any. Compared are Inception with torchvision's
(its pooling changed to that of the 2015 graph) and, resizing and classifier included, with torch-fidelity's; VGG-16 and
SqueezeNet with torchvision's; LPIPS with the `lpips` package. Exits with 1 if a difference exceeds the tolerance.
Results are recorded in docs/metrics.md.
"""

from __future__ import annotations

import importlib.metadata
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace

import torch
from torch import Tensor, nn
from torch.nn import functional

from capriccio.perception.inception import Inception2015, InceptionFeatures
from capriccio.perception.lpips import Lpips
from capriccio.perception.normalise import imagenet
from capriccio.perception.protocols import NetworkCard, distances
from capriccio.perception.squeezenet import SqueezeNetTrunk
from capriccio.perception.vgg import VggClassifier, VggTrunk
from capriccio.perception.weights import LoadedWeights, fill

try:
    import lpips
    import torchvision.models as models
    from torch_fidelity.feature_extractor_inceptionv3 import FeatureExtractorInceptionV3
    from torchvision.models import inception as torchvision_inception
except ImportError as missing:
    raise SystemExit(f"{missing}: pip install torchvision lpips torch-fidelity, which this compares with") from None

TOLERANCE = 1e-5
"""Largest difference, as a share of the largest number of the reference."""


def randomised(network: nn.Module, seed: int) -> nn.Module:
    """Give every parameter and statistic a random value that keeps signals of ordinary size."""
    rng = torch.Generator().manual_seed(seed)
    for name, tensor in network.state_dict().items():
        if name.endswith("num_batches_tracked"):
            continue
        noise = torch.randn(tensor.shape, generator=rng)
        if name.endswith(("running_var", "bn.weight")):
            tensor.copy_(1 + 0.2 * noise.clamp(-2, 2))
        elif tensor.ndim > 1:
            tensor.copy_(noise * (2 / tensor[0].numel()) ** 0.5)
        else:
            tensor.copy_(0.1 * noise)
    return network.eval()


def weights_of(network: nn.Module) -> LoadedWeights:
    return LoadedWeights({k: v.clone() for k, v in network.state_dict().items()}, "random")


@contextmanager
def pooling_of_2015(network: nn.Module) -> Iterator[None]:
    """Let torchvision's Inception pool as the 2015 graph: padding not counted, maximum in the last block."""
    last = False

    def average(x: Tensor, **options: int) -> Tensor:
        if last:
            return functional.max_pool2d(x, **options)
        return functional.avg_pool2d(x, **options, count_include_pad=False)

    def enter(*_: object) -> None:
        nonlocal last
        last = True

    hook = network.Mixed_7c.register_forward_pre_hook(enter)
    original = torchvision_inception.F
    torchvision_inception.F = SimpleNamespace(**vars(functional) | {"avg_pool2d": average})
    try:
        yield
    finally:
        torchvision_inception.F = original
        hook.remove()


def inception_features() -> tuple[Tensor, Tensor]:
    other = randomised(models.inception_v3(weights=None, init_weights=False, aux_logits=False, num_classes=1008), 1)
    mine = Inception2015()
    fill(mine, weights_of(other), "inception")
    images = torch.rand(2, 3, 299, 299) * 2 - 1
    taken: list[Tensor] = []
    other.avgpool.register_forward_hook(lambda *call: taken.append(call[2].flatten(1)))
    with pooling_of_2015(other):
        other(images)
    return mine.eval()(images), taken[0]


def inception_with_resizing() -> tuple[Tensor, Tensor]:
    weights = weights_of(randomised(Inception2015(), 2))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "random.pth"
        torch.save(weights.tensors, path)
        other = FeatureExtractorInceptionV3(
            "inception-v3-compat", ["2048", "logits_unbiased"], feature_extractor_weights_path=str(path)
        )
    pixels = torch.randint(256, (3, 3, 64, 96), dtype=torch.uint8)
    features, probabilities = InceptionFeatures(weights).features_and_probabilities(pixels)
    expected, logits = other(pixels)
    return torch.cat([features, probabilities], 1), torch.cat([expected, logits.softmax(1)], 1)


def vgg_second_dense_layer() -> tuple[Tensor, Tensor]:
    other = randomised(models.vgg16(weights=None, init_weights=False), 3)
    mine = VggClassifier()
    fill(mine, weights_of(other), "vgg", ignore=("classifier.6.",))
    images = torch.rand(2, 3, 224, 224) * 2 - 1
    expected = other.classifier[:5](other.avgpool(other.features(imagenet(images))).flatten(1))
    return mine.eval()(images), expected


def squeezenet_last_layer() -> tuple[Tensor, Tensor]:
    other = randomised(models.squeezenet1_1(weights=None), 4)
    images = torch.rand(2, 3, 96, 64) * 2 - 1
    return SqueezeNetTrunk(weights_of(other))(images)[-1], other.features(imagenet(images))


def lpips_distance(net: str) -> tuple[Tensor, Tensor]:
    other = lpips.LPIPS(net=net, pnet_rand=True, verbose=False).eval()
    randomised(other.net, 5)
    # The package cuts the trunk into slices that keep the numbers of layers.
    layers = {
        f"features.{name.split('.', 1)[1]}": tensor
        for name, tensor in other.net.state_dict().items()
        if name.startswith("slice")
    }
    trunk = (VggTrunk if net == "vgg" else SqueezeNetTrunk)(LoadedWeights(layers, "random"))
    path = Path(lpips.__file__).parent / "weights" / "v0.1" / f"{net}.pth"
    heads = LoadedWeights(torch.load(path, weights_only=True, map_location="cpu"), "published")
    mine = Lpips(trunk, heads, NetworkCard(name=net, weights="", preprocessing=""))
    a, b = torch.rand(2, 3, 3, 64, 96) * 2 - 1
    return distances(mine, a, b), other(a, b).flatten()


def main() -> int:
    torch.manual_seed(0)
    checks = {
        "Inception 2015, features (torchvision)": inception_features,
        "Inception 2015, resizing and classes (torch-fidelity)": inception_with_resizing,
        "VGG-16, second dense layer (torchvision)": vgg_second_dense_layer,
        "SqueezeNet 1.1, last layer (torchvision)": squeezenet_last_layer,
        "LPIPS, VGG-16 (lpips)": lambda: lpips_distance("vgg"),
        "LPIPS, SqueezeNet (lpips)": lambda: lpips_distance("squeeze"),
    }
    versions = ", ".join(f"{n} {importlib.metadata.version(n)}" for n in ("torchvision", "torch-fidelity", "lpips"))
    print(f"torch {torch.__version__}, {versions}")
    good = True
    with torch.no_grad():
        for name, check in checks.items():
            mine, expected = check()
            difference = float((mine - expected).abs().max() / expected.abs().max())
            good &= difference <= TOLERANCE
            print(f"{name:<56}{difference:.1e}{'' if difference <= TOLERANCE else '  TOO LARGE'}")
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
