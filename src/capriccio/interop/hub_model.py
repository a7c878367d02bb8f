"""A snapshot as a ``PyTorchModelHubMixin``: ``save_pretrained``, ``from_pretrained``, ``push_to_hub``.

Import it where the extra ``hub`` is installed. The file of weights, ``model.safetensors``, is an ordinary snapshot, so
that Capriccio reads it without the mixin, and the mixin's names of tensors are those of the snapshot.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from huggingface_hub import ModelCard, PyTorchModelHubMixin, hf_hub_download
from torch import Tensor, nn

from capriccio.errors import SnapshotError
from capriccio.interop.hub import WEIGHTS_FILE, save_weights
from capriccio.interop.model_card import model_card
from capriccio.snapshots.snapshot import Snapshot, StoredDtype, load_snapshot


class HubModel(nn.Module, PyTorchModelHubMixin, library_name="capriccio", tags=["stylegan2", "gan"]):
    """Generator, and discriminator and encoder where there are, as the hub's programs expect a model.

    ``HubModel.from_pretrained("owner/name")`` or a folder; ``model(z, c)`` paints; ``model.snapshot`` is everything.
    """

    def __init__(self, snapshot: Snapshot, *, dtype: StoredDtype = "float32") -> None:
        """Args: the network with its facts; the precision it will be stored in."""
        super().__init__()
        self.generator = snapshot.generator
        self.discriminator = snapshot.discriminator
        self.encoder = snapshot.encoder
        self.facts = snapshot.facts
        self.dtype: StoredDtype = dtype

    @property
    def snapshot(self) -> Snapshot:
        """The network with its facts."""
        return Snapshot(
            generator=self.generator, discriminator=self.discriminator, facts=self.facts, encoder=self.encoder
        )

    def forward(self, z: Tensor, c: Tensor | None = None, *, psi: float = 1.0) -> Tensor:
        """Return images [N, C, H, W], about −1…1, of latents [N, z_dim] and labels [N, c_dim]."""
        images: Tensor = self.generator(z, c, psi=psi)
        return images

    def generate_model_card(self, *args: Any, **kwargs: Any) -> ModelCard:
        """Return the card of the snapshot's facts; arguments of the mixin's template are not used."""
        title = str(self.facts.card.get("title", "stylegan2"))
        return ModelCard(model_card(self.snapshot, repo=title, stored=self.dtype), ignore_metadata_errors=True)

    def _save_pretrained(self, save_directory: Path) -> None:
        save_weights(self.snapshot, save_directory, self.dtype)

    @classmethod
    def _from_pretrained(
        cls,
        *,
        model_id: str,
        revision: str | None,
        cache_dir: str | Path | None,
        force_download: bool,
        local_files_only: bool,
        token: str | bool | None,
        map_location: str = "cpu",
        strict: bool = True,
        **model_kwargs: Any,
    ) -> HubModel:
        if not strict:
            raise SnapshotError(f"'{model_id}': a snapshot is loaded whole or not at all; leave strict=False out.")
        if Path(model_id).is_dir():
            path = Path(model_id) / WEIGHTS_FILE
        else:
            path = Path(
                hf_hub_download(
                    model_id, WEIGHTS_FILE, revision=revision, cache_dir=cache_dir, force_download=force_download,
                    local_files_only=local_files_only, token=token,
                )
            )  # fmt: skip
        return cls(load_snapshot(path, map_location), **model_kwargs)
