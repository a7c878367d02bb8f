"""From what was given to one complete run: preset defaults < what suits the subject < YAML files < flags.

The preset's numbers depend on the size of the pictures (and on the number of processes), so the shape is settled first:
from ``--resolution`` or ``--size``, else from the data set.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from capriccio.config import (
    DiscriminatorConfig,
    GeneratorConfig,
    ImageShape,
    RunConfig,
    SubjectName,
    from_dict,
    to_dict,
)
from capriccio.errors import ConfigError
from capriccio.presets import preset
from capriccio.subjects import SUBJECTS, rule_gamma, with_subject
from capriccio.wording import nearest


def resolve_run(given: Mapping[str, Any], shape: ImageShape, *, num_processes: int = 1) -> RunConfig:
    """Return the configuration of a run.

    Args:
        given: what files and flags said, as nested dicts of :class:`RunConfig`'s fields; ``preset`` names the start,
            ``subject`` what the pictures show.
        shape: shape of the pictures.
        num_processes: processes the run has, over all machines.

    Raises: ConfigError for an unknown preset or key (naming the nearest), a value out of range, or a batch that does
        not divide by the processes.
    """
    name, subject = given.get("preset", "auto"), given.get("subject")
    start = preset(name, shape, num_processes=num_processes)
    if subject is not None:
        start = with_subject(start, _checked(subject))
    values = _over(to_dict(start), given)
    for network in ("generator", "discriminator"):
        values[network]["shape"] = to_dict(shape)
    if values["batch"] % num_processes:
        raise ConfigError(
            f"--batch: {values['batch']} pictures cannot be shared evenly by {num_processes} processes; "
            f"the nearest batch is {max(round(values['batch'] / num_processes), 1) * num_processes}."
        )
    if "batch_per_round" not in given:
        values["batch_per_round"] = _fit_round(values["batch"] // num_processes, start.batch_per_round)
    config = from_dict(RunConfig, values)
    # The rule depends on the batch, which may have been given.
    if (name == "auto" or subject is not None) and "r1_gamma" not in given.get("loss", {}):
        config = replace(config, loss=replace(config.loss, r1_gamma=rule_gamma(config)))
    return config


_ARCHITECTURE = {
    "generator": ("z_dim", "w_dim", "channel_base", "channel_max", "architecture", "mapping", "use_noise",
                  "demodulate", "resample_filter"),
    "discriminator": ("channel_base", "channel_max", "architecture", "mapping", "cmap_dim", "resample_filter",
                      "mbstd_num_channels"),
}  # fmt: skip
"""What decides which tensors a network has, beside the shape of its pictures and labels."""


def built_like(given: Mapping[str, Any], generator: GeneratorConfig, discriminator: DiscriminatorConfig | None
               ) -> dict[str, Any]:  # fmt: skip
    """Return what was ``given`` with the architecture of other networks where it says nothing about that.

    A run that starts from a network wants its widths, latents and mapping: what a preset would choose instead fits its
    tensors in part only. Without a ``discriminator`` ours is as wide as the generator.
    """
    theirs = {"generator": to_dict(generator), "discriminator": to_dict(discriminator or generator)}
    named = ("channel_base", "channel_max") if discriminator is None else _ARCHITECTURE["discriminator"]
    fields = _ARCHITECTURE | {"discriminator": named}
    return _over({network: {name: theirs[network][name] for name in fields[network]} for network in fields}, given)


def _checked(subject: str) -> SubjectName:
    if subject not in SUBJECTS:
        raise ConfigError(f"'{subject}' is no subject.{nearest(subject, SUBJECTS)} There are: {', '.join(SUBJECTS)}.")
    return subject


def _over(base: dict[str, Any], given: Mapping[str, Any]) -> dict[str, Any]:
    """Return ``base`` with the values of ``given`` put over it, section by section."""
    merged = dict(base)
    for key, value in given.items():
        section = base.get(key)
        merged[key] = _over(section, value) if isinstance(section, dict) and isinstance(value, Mapping) else value
    return merged


def _fit_round(share: int, wanted: int | None) -> int:
    """Return the largest round of at most ``wanted`` pictures that divides a process's ``share`` of the batch."""
    limit = share if wanted is None else min(share, wanted)
    return max(size for size in range(1, limit + 1) if share % size == 0)
