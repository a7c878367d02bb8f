import pytest
import torch
from torch import Tensor

from capriccio.config import DiscriminatorConfig, ImageShape
from capriccio.errors import ShapeError, SnapshotError, UsageError
from capriccio.networks.discriminator import Discriminator
from capriccio.perception.catalogue import Perception
from capriccio.perception.discriminator import DiscriminatorDistance, DiscriminatorFeatures
from capriccio.perception.lpips import Lpips
from capriccio.perception.protocols import NetworkCard, distances
from capriccio.perception.squeezenet import SqueezeNetTrunk
from capriccio.perception.weights import LoadedWeights

CARD = NetworkCard(name="test", weights="0" * 64, preprocessing="none")


def images(channels: int = 3, height: int = 32, width: int = 48, seed: int = 0) -> Tensor:
    return torch.rand(2, channels, height, width, generator=torch.Generator().manual_seed(seed)) * 2 - 1


@pytest.fixture
def lpips(squeeze_weights, squeeze_heads) -> Lpips:
    return Lpips(SqueezeNetTrunk(squeeze_weights), squeeze_heads, CARD)


def discriminator(shape: ImageShape) -> Discriminator:
    torch.manual_seed(0)
    return Discriminator(DiscriminatorConfig(shape=shape, channel_base=256, channel_max=16)).requires_grad_(False)


def test_lpips_is_the_sum_the_paper_defines(lpips, squeeze_weights, squeeze_heads):
    a, b = images(), images(seed=1)
    expected = torch.zeros(2)
    trunk = SqueezeNetTrunk(squeeze_weights)
    for x, y, weight in zip(trunk(a), trunk(b), squeeze_heads.tensors.values(), strict=True):
        x, y = (t / (t.norm(dim=1, keepdim=True) + 1e-10) for t in (x, y))
        expected += ((x - y).square() * weight).sum(dim=1).mean(dim=(1, 2))
    torch.testing.assert_close(distances(lpips, a, b), expected, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize(("channels", "height", "width"), [(1, 16, 16), (3, 20, 36), (4, 32, 32), (2, 8, 24)])
def test_distances_take_any_shape_and_channel_count(lpips, channels, height, width):
    a, b = (images(channels, height, width, seed) for seed in (0, 1))
    for metric in (lpips, DiscriminatorDistance(discriminator(ImageShape(channels=channels, height=16, width=24)))):
        assert torch.equal(distances(metric, a, a), torch.zeros(2))
        assert (distances(metric, a, b) > 0).all()
        torch.testing.assert_close(distances(metric, a, b), distances(metric, b, a))


def test_alpha_counts(lpips):
    a = images(4)
    b = a.clone()
    b[:, 3] *= -1
    assert (distances(lpips, a, b) > 0).all()


def test_distances_have_finite_gradients_even_for_flat_pictures(lpips):
    for metric in (lpips, DiscriminatorDistance(discriminator(ImageShape(height=32, width=48)))):
        a = torch.zeros(2, 3, 32, 48, requires_grad=True)
        distances(metric, a, images()).sum().backward()
        assert torch.isfinite(a.grad).all()
        assert a.grad.abs().sum() > 0


def test_a_blurred_picture_is_nearer_than_another_one(lpips):
    a = images(height=64, width=64)
    a = torch.nn.functional.avg_pool2d(a, 5, 1, 2) * 4
    blurred = torch.nn.functional.avg_pool2d(a, 3, 1, 1)
    for metric in (lpips, DiscriminatorDistance(discriminator(ImageShape(height=64, width=64)))):
        assert (distances(metric, a, blurred) < distances(metric, a, a.flip(0))).all()


def test_heads_of_another_trunk_are_refused(squeeze_weights):
    heads = LoadedWeights({"lin0.model.1.weight": torch.rand(1, 64, 1, 1)}, "")
    with pytest.raises(SnapshotError, match="activations of 64, 128, 256, 384, 384, 512, 512 channels are needed"):
        Lpips(SqueezeNetTrunk(squeeze_weights), heads, CARD)


def test_discriminator_features_resize_but_never_mix_channels():
    network = DiscriminatorFeatures(discriminator(ImageShape(height=32, width=32)))
    assert network.features(torch.randint(256, (3, 3, 16, 16))).shape == (3, network.num_features)
    with pytest.raises(ShapeError, match="knows pictures of 3 channels, these have 1; name another with --reference"):
        network.features(torch.zeros(1, 1, 32, 32))


def test_the_same_discriminator_has_the_same_hash_and_another_one_has_not():
    shape = ImageShape(height=16, width=16)
    first, same = (DiscriminatorFeatures(discriminator(shape)) for _ in range(2))
    changed = discriminator(shape)
    changed.epilogue.out.bias.add_(1e-3)
    assert first.card == same.card
    assert DiscriminatorFeatures(changed).card.weights != first.card.weights


def test_perception_opens_what_needs_no_file_and_says_what_is_missing():
    perception = Perception(channels=3, reference=discriminator(ImageShape(height=16, width=16)))
    assert perception.network("random").card.name == "random-4"
    assert perception.network("discriminator").card.name == "discriminator"
    assert perception.distance("discriminator").card.name == "discriminator-distance"
    with pytest.raises(UsageError, match=r"^vgg16-.* and lpips-.* are not .*--weights vgg=PATH --weights lpips-vgg="):
        perception.distance("vgg")
    with pytest.raises(UsageError, match=r"^lpips-v0.1-vgg.pth is not here.*pass --weights lpips-vgg=PATH, or"):
        Perception(channels=3, weights={"vgg": "some.pth"}).distance("vgg")
    with pytest.raises(UsageError, match="--reference SNAPSHOT"):
        Perception(channels=3).network("discriminator")
