"""From the state of a run to a snapshot file."""

from __future__ import annotations

from pathlib import Path

from capriccio.config import RunConfig
from capriccio.data.card import DataCard
from capriccio.latent.cloud import NUM_SAMPLES, cloud, spread
from capriccio.networks.generator import Generator
from capriccio.provenance import both_licences, code_version
from capriccio.snapshots.snapshot import Snapshot, SnapshotFacts, StoredDtype, save_snapshot
from capriccio.training.state import TrainingState


def take_snapshot(
    path: Path, config: RunConfig, state: TrainingState, card: DataCard, dtype: StoredDtype = "float32"
) -> None:
    """Write the averaged generator and the discriminator; in half precision it is a travelling snapshot.

    Raises: StorageError if the disk is full or cannot be written.
    """
    facts = SnapshotFacts(
        nimg=state.nimg,
        pl_mean=float(state.pl_mean),
        augment_p=state.augmentation.p,
        data=card.to_dict(),
        w_statistics=w_statistics(state.generator_ema) if not config.generator.c_dim else {},
        licence=weights_licence(card, state.origin_licence),
        software=f"capriccio {code_version()}",
    )
    snapshot = Snapshot(generator=state.generator_ema, discriminator=state.discriminator, facts=facts)
    save_snapshot(path, snapshot, dtype)


def weights_licence(card: DataCard, origin: str | None = None) -> str:
    """Return what can be said about the licence of weights: that of the pictures they were trained on.

    ``origin``: licence of the network that training started from, which goes on to bind; None = there was none.
    """
    own = f"as the training pictures allow; licence of '{card.name}': {card.licence}"
    if origin is None or own in origin:
        return own if origin is None else origin
    return both_licences(origin, own)


def w_statistics(generator: Generator) -> dict[str, float]:
    """Return the spread of w of an unconditional network, and over how many latents it was taken."""
    return {"w_std": spread(cloud(generator)), "num_samples": float(NUM_SAMPLES)}
