"""Feature networks and distances by the names that metrics and commands use."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import torch

from capriccio.errors import UsageError
from capriccio.networks.discriminator import Discriminator
from capriccio.perception.discriminator import DiscriminatorDistance, DiscriminatorFeatures
from capriccio.perception.inception import InceptionFeatures
from capriccio.perception.lpips import Lpips
from capriccio.perception.protocols import NOT_COMPARABLE, FeatureNetwork, NetworkCard, PerceptualDistance
from capriccio.perception.random_network import RandomFeatures
from capriccio.perception.squeezenet import SqueezeNetFeatures, SqueezeNetTrunk
from capriccio.perception.vgg import VggFeatures, VggTrunk
from capriccio.perception.weights import (
    INCEPTION_2015,
    LPIPS_SQUEEZE_HEADS,
    LPIPS_VGG_HEADS,
    SQUEEZENET,
    VGG16,
    PublishedWeights,
    WeightsSources,
    load_weights,
    require,
)

NetworkName = Literal["inception", "vgg", "squeeze", "discriminator", "random"]
DistanceName = Literal["vgg", "squeeze", "discriminator"]


@dataclass(frozen=True, kw_only=True)
class Perception:
    """What is needed to open feature networks and distances: where weights lie, which discriminator is the ruler."""

    channels: int
    """Channels of the pictures that will be seen."""
    weights: WeightsSources = field(default_factory=dict)
    """Paths or addresses of published weights by key; the cache is looked at for the others."""
    reference: Discriminator | None = None
    """The frozen reference discriminator; None = there is none."""
    device: torch.device | str = "cpu"
    """Where networks compute."""
    cache_dir: Path | None = None
    """The cache folder; None = $CAPRICCIO_CACHE or the user's."""

    def network(self, name: NetworkName) -> FeatureNetwork:
        """Open a feature network.

        Raises: UsageError if its weights or the reference are not there, saying where to get them; SnapshotError if a
            file is damaged or of another network.
        """
        match name:
            case "inception":
                return self.inception()
            case "vgg":
                return VggFeatures(load_weights(VGG16, self.weights, cache_dir=self.cache_dir), self.device)
            case "squeeze":
                return SqueezeNetFeatures(load_weights(SQUEEZENET, self.weights, cache_dir=self.cache_dir), self.device)
            case "discriminator":
                return DiscriminatorFeatures(self._reference(), self.device)
            case "random":
                return RandomFeatures(self.channels, self.device)

    def inception(self) -> InceptionFeatures:
        """Open the Inception network, which also tells classes."""
        return InceptionFeatures(load_weights(INCEPTION_2015, self.weights, cache_dir=self.cache_dir), self.device)

    def distance(self, name: DistanceName) -> PerceptualDistance:
        """Open a distance: LPIPS with VGG-16, LPIPS-like with SqueezeNet, or that of the reference discriminator.

        Raises: as :meth:`network`.
        """
        if name == "discriminator":
            return DiscriminatorDistance(self._reference(), self.device)
        if name == "vgg":
            return self._lpips(VggTrunk, VGG16, LPIPS_VGG_HEADS, "lpips-vgg", "")
        # Named apart from LPIPS: that this trunk equals the one the heads were trained on is not proven.
        return self._lpips(SqueezeNetTrunk, SQUEEZENET, LPIPS_SQUEEZE_HEADS, "lpips-like-squeeze", NOT_COMPARABLE)

    def _lpips(
        self,
        trunk_class: type[VggTrunk] | type[SqueezeNetTrunk],
        trunk_file: PublishedWeights,
        heads_file: PublishedWeights,
        name: str,
        caveat: str,
    ) -> Lpips:
        require([trunk_file, heads_file], self.weights, cache_dir=self.cache_dir)
        trunk_weights = load_weights(trunk_file, self.weights, cache_dir=self.cache_dir)
        heads = load_weights(heads_file, self.weights, cache_dir=self.cache_dir)
        card = NetworkCard(
            name=name,
            weights=hashlib.sha256(f"{trunk_weights.sha256} {heads.sha256}".encode()).hexdigest(),
            preprocessing="grey to RGB; at the resolution given",
            caveat=caveat,
        )
        return Lpips(trunk_class(trunk_weights, self.device), heads, card, self.device)

    def _reference(self) -> Discriminator:
        if self.reference is None:
            raise UsageError(
                "a metric by discriminator needs one frozen reference discriminator for this data set: name a full "
                "snapshot trained on it with --reference SNAPSHOT; it is kept as the ruler of this data set."
            )
        return self.reference
