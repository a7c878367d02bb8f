"""Architectures, by their tensors and by what they do; a script compares them with those of others."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional

from capriccio.errors import ShapeError, SnapshotError
from capriccio.perception.inception import Inception2015, InceptionFeatures
from capriccio.perception.pixels import resize_tf1
from capriccio.perception.random_network import RandomFeatures
from capriccio.perception.squeezenet import SqueezeNetFeatures, SqueezeNetTrunk
from capriccio.perception.vgg import VggClassifier, VggTrunk
from capriccio.perception.weights import LoadedWeights
from tests.perception.conftest import randomised


def pixels(channels: int = 3, height: int = 48, width: int = 64, count: int = 2, seed: int = 0) -> torch.Tensor:
    rng = torch.Generator().manual_seed(seed)
    return torch.randint(256, (count, channels, height, width), generator=rng, dtype=torch.uint8)


def count_parameters(network: torch.nn.Module) -> int:
    return sum(p.numel() for p in network.parameters())


def test_inception_has_the_tensors_of_the_published_file():
    with torch.device("meta"):
        network = Inception2015()
    names = set(network.state_dict())
    # 94 convolutions, each with weight and five tensors of its normalisation, and the classifier.
    assert len(names) == 94 * 6 + 2
    assert {"Conv2d_1a_3x3.conv.weight", "Mixed_5b.branch5x5_2.bn.running_var", "fc.weight"} <= names
    assert {"Mixed_6c.branch7x7dbl_4.conv.weight", "Mixed_7c.branch3x3dbl_3b.conv.weight"} <= names
    # 21,785,568 of Inception-v3 without classifier, as it is published everywhere, and 1008 classes.
    assert count_parameters(network) == 21_785_568 + 1008 * 2049


def test_vgg_has_the_tensors_of_the_published_file():
    with torch.device("meta"):
        network = VggClassifier()
    # 138,357,544 of VGG-16 without the last of its dense layers.
    assert count_parameters(network) == 138_357_544 - 1000 * 4097
    assert {"features.28.weight", "classifier.0.weight", "classifier.3.bias"} <= set(network.state_dict())


def test_squeezenet_has_the_tensors_of_the_published_file(squeeze_weights):
    trunk = SqueezeNetTrunk(squeeze_weights)
    assert count_parameters(trunk) == 1_235_496 - 1000 * 513
    taps = trunk(torch.rand(1, 3, 64, 96) * 2 - 1)
    assert [t.shape[1] for t in taps] == list(trunk.channels)


@pytest.fixture(scope="module")
def inception() -> InceptionFeatures:
    return InceptionFeatures(LoadedWeights(randomised(Inception2015()), "1" * 64))


@pytest.mark.slow
def test_inception_sees_grey_as_rgb_and_gives_features_and_classes(inception):
    grey = pixels(1)
    features, probabilities = inception.features_and_probabilities(grey)
    assert features.shape == (2, 2048)
    assert probabilities.shape == (2, 1008)
    torch.testing.assert_close(probabilities.sum(1), torch.ones(2))
    torch.testing.assert_close(inception.features(grey.expand(-1, 3, -1, -1)), features)


def test_the_trunk_of_vgg_gives_the_last_activation_of_every_stage():
    with torch.device("meta"):
        shapes = VggClassifier().state_dict()
    rng = torch.Generator().manual_seed(0)
    weights = {k: torch.randn(v.shape, generator=rng) * 0.05 for k, v in shapes.items() if k.startswith("features")}
    taps = VggTrunk(LoadedWeights(weights, "2" * 64))(torch.rand(1, 3, 32, 48) * 2 - 1)
    assert [tuple(t.shape[1:]) for t in taps] == [(64, 32, 48), (128, 16, 24), (256, 8, 12), (512, 4, 6), (512, 2, 3)]
    assert all((t >= 0).all() for t in taps)


def test_the_old_resizing_is_anchored_at_the_corner():
    image = torch.arange(8.0).reshape(1, 1, 2, 4)
    out = resize_tf1(image, 4, 8)
    assert torch.equal(out[0, 0, ::2, ::2], image[0, 0])  # every second sample is an original one
    torch.testing.assert_close(out[0, 0, 0], torch.tensor([0, 0.5, 1, 1.5, 2, 2.5, 3, 3]))
    torch.testing.assert_close(out[0, 0, 3], out[0, 0, 2])  # clamped at the edge
    shifted = functional.interpolate(image, (4, 8), mode="bilinear", align_corners=False)
    assert not torch.allclose(out, shifted)


def test_the_original_squeezenet_wants_its_channels_reversed(squeeze_weights):
    original = {name.replace("features.", "net."): t for name, t in squeeze_weights.tensors.items()}
    networks = [SqueezeNetFeatures(w) for w in (squeeze_weights, LoadedWeights(original, ""))]
    assert "imagenet" in networks[0].card.preprocessing
    assert "caffe" in networks[1].card.preprocessing
    # The same picture in the other convention: BGR of 0…255 less a mean.
    trunk = SqueezeNetTrunk(LoadedWeights(original, ""))
    images = torch.rand(1, 3, 32, 32) * 2 - 1
    expected = functional.conv2d(
        (images.flip(1) + 1) * 127.5 - torch.tensor([104.0, 117, 123])[:, None, None],
        original["net.0.weight"], original["net.0.bias"], stride=2,
    ).relu()  # fmt: skip
    torch.testing.assert_close(trunk(images)[0], expected, rtol=1e-4, atol=1e-3)


@pytest.mark.parametrize("channels", [1, 3, 4, 7])
def test_the_random_network_sees_any_picture_and_is_always_the_same(channels):
    network = RandomFeatures(channels)
    features = network.features(pixels(channels))
    assert features.shape == (2, network.num_features)
    assert RandomFeatures(channels).card == network.card
    assert torch.equal(RandomFeatures(channels).features(pixels(channels)), features)


def test_the_random_network_never_changes():
    """Numbers measured with it are compared over versions: its weights are part of the protocol."""
    assert RandomFeatures(3).card.weights.startswith("ef40e8d60b011724")


def test_features_do_not_depend_on_the_batch(squeeze_weights):
    network = SqueezeNetFeatures(squeeze_weights)
    batch = pixels(count=5)
    torch.testing.assert_close(network.features(batch)[2:3], network.features(batch[2:3]), rtol=1e-4, atol=1e-4)


def test_rgba_pictures_are_refused_where_a_network_knows_rgb(squeeze_weights):
    with pytest.raises(ShapeError, match="squeeze knows grey and RGB pictures, these have 4 channels; use fd_random"):
        SqueezeNetFeatures(squeeze_weights).features(pixels(4))


def test_the_weights_of_another_network_are_refused(squeeze_weights):
    with pytest.raises(SnapshotError, match=r"weights of inception: missing Conv2d_1a.*This is the file of another"):
        InceptionFeatures(squeeze_weights)
    with pytest.raises(SnapshotError, match=r"no layers 'features\.N' or 'net\.N'"):
        SqueezeNetTrunk(LoadedWeights({"conv.weight": torch.zeros(1)}, ""))
