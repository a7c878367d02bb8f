"""The protocol card: everything that decides a number beside the network it is about."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any

from capriccio.errors import UsageError
from capriccio.perception.protocols import NetworkCard


@dataclass(frozen=True, slots=True, kw_only=True)
class ProtocolCard:
    """How a number was measured. Two numbers can be compared when their cards are equal."""

    metric: str
    """Name of the metric, every count stated."""
    samples: str
    """"generated", or "pictures" where a folder of pictures took the place of a generator."""
    count: int
    """Samples, or pairs of a path length."""
    size: str
    """Shape at which pictures were compared, channels × height × width."""
    network: str
    """Feature network or perceptual distance."""
    network_hash: str
    """SHA-256 of its weights."""
    network_input: str
    """What happens to a picture before its first layer."""
    data_hash: str | None
    """Hash of the data set; None = no real pictures and no labels were needed."""
    reals: int
    """Real pictures compared with, mirrored ones included; 0 = none."""
    mirror: bool
    """Whether mirrored real pictures were included."""
    resize_filter: str
    """Filter that reduced the real pictures to ``size``; "none" where they were stored at that size."""
    psi: float | None
    """Truncation; None where samples were pictures."""
    noise: str
    """"random" for metrics of sets, "random, one for both pictures of a pair" for path lengths."""
    labels: str
    """"none", or "of random pictures of the data set"."""
    seed: int | None
    """First seed of the samples; None where samples were pictures."""
    repeats: int
    """How many seeds, counted up from ``seed``, the number is a mean over."""
    precision: str
    """In what the generator computed: fp32, bf16 or fp16."""
    code: str
    """Version of this program."""

    def to_dict(self) -> dict[str, Any]:
        """Return the card in JSON types."""
        return dataclasses.asdict(self)

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> ProtocolCard:
        """Inverse of :meth:`to_dict`; entries of later versions are ignored.

        Raises: UsageError if an entry is missing.
        """
        names = [field.name for field in dataclasses.fields(cls)]
        missing = [name for name in names if name not in values]
        if missing:
            raise UsageError(f"a protocol card lacks {', '.join(missing)}.")
        return cls(**{name: values[name] for name in names})

    def differences(self, other: ProtocolCard) -> list[str]:
        """Return, in words, the entries in which two cards differ; none = their numbers can be compared."""
        mine, theirs = self.to_dict(), other.to_dict()
        return [f"{name}: {mine[name]} and {theirs[name]}" for name in mine if mine[name] != theirs[name]]


def network_entries(card: NetworkCard) -> dict[str, str]:
    """Return the entries of a protocol card that a network's own card fills."""
    return {"network": card.name, "network_hash": card.weights, "network_input": card.preprocessing}
