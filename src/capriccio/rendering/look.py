"""How a seed becomes a picture: truncation, noise and class, and whether a network can paint that."""

from __future__ import annotations

from dataclasses import dataclass
from typing import get_args

from capriccio.errors import UsageError
from capriccio.loading.model import Model, NoiseMode
from capriccio.ops.truncation import cutoff_problem, psi_problem


class LookError(UsageError):
    """A setting of a look is out of range or does not fit the network.

    The message begins with the setting as the command line calls it (psi, cutoff, noise-mode, class), so that two
    dashes before it make it one about a flag.
    """


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """How a seed becomes a picture. Raises: LookError for what no network could paint."""

    truncation_psi: float = 1.0
    """Truncation ψ: 1 = off, 0 = the mean picture. Applies to seeds; stored latents are taken as they are."""
    truncation_cutoff: int | None = None
    """Number of coarse rows truncated; None = all."""
    noise_mode: NoiseMode = "const"
    """"const": the network's own maps; "none"; "random": drawn from each picture's seed."""
    class_index: int | str | None = None
    """Class, by number or name, for conditional networks."""

    def __post_init__(self) -> None:
        if self.noise_mode not in get_args(NoiseMode):
            raise LookError(f"noise-mode must be {', '.join(get_args(NoiseMode))}, got '{self.noise_mode}'.")
        if problem := psi_problem(self.truncation_psi):
            raise LookError(problem)

    def check(self, model: Model, *, seeded: bool) -> None:
        """Raise LookError where ``model`` cannot paint this; ``seeded``: its pictures come from seeds, not latents."""
        chosen = self.class_index
        if problem := cutoff_problem(self.truncation_cutoff, model.num_ws):
            raise LookError(problem)
        if chosen is not None:
            try:
                model.class_index(chosen)
            except UsageError as error:
                raise LookError(str(error)) from error
        if chosen is None and seeded and model.c_dim:
            raise LookError(f"class is missing: this model is conditional, choose one of {model.classes_told}.")
