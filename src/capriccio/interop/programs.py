"""The programs whose network files are read: what the object of a file holds, and who reads it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from itertools import islice
from typing import Any, Literal

from capriccio.config import ImageShape
from capriccio.errors import SnapshotError
from capriccio.interop import nvidia_pickle, rosinality, state_dicts, tensorflow_pickle
from capriccio.interop.pickle_reader import Record
from capriccio.interop.pickle_records import PERSISTENT, TF_NETWORK
from capriccio.networks.discriminator import Discriminator
from capriccio.networks.generator import Generator

WhichGenerator = Literal["G_ema", "G"]

UNKNOWN_LICENCE = "unknown: converted from another program's file; ask whoever trained it"

_TRAINING_SET_KEYS = ("class_name", "resolution", "use_labels", "max_size", "xflip", "random_seed")


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """What a file holds, before it is built."""

    program: str
    """Who wrote it, for people."""
    generators: Mapping[str, Any]
    """What is there of the averaged and the raw generator."""
    discriminator: Any
    read_generator: Callable[[Any, int], Generator]
    """Takes one of ``generators`` and the size of the file in bytes."""
    read_discriminator: Callable[[Any, int, ImageShape], Discriminator]
    """Takes ``discriminator``, the size of the file, and the shape of the generator's pictures."""
    augment_p: float = 0.0
    data: Mapping[str, Any] = field(default_factory=dict)
    licence: str = UNKNOWN_LICENCE
    assumed: str = ""
    """Settings that the file does not say."""


def found_in(content: Any, which: WhichGenerator) -> Found:
    """Tell what the object of a file holds, and who reads it.

    Raises: SnapshotError if it is no network of a program that is known, saying what it is.
    """
    if isinstance(content, dict) and any(_is(content.get(name), PERSISTENT) for name in ("G_ema", "G")):
        return _of_pytorch(content)
    if isinstance(content, tuple) and len(content) == 3 and all(_is(item, TF_NETWORK) for item in content):
        return Found(
            program="StyleGAN2 (TensorFlow)",
            generators={"G_ema": content[2], "G": content[0]},
            discriminator=content[1],
            read_generator=tensorflow_pickle.read_generator,
            read_discriminator=_without_shape(tensorflow_pickle.read_discriminator),
        )
    if rosinality.looks_like_checkpoint(content):
        p = content.get("ada_aug_p")
        # The mean latent of such a file is that of the averaged generator.
        latent_avg = content.get("latent_avg") if which == "G_ema" else None
        return Found(
            program="rosinality",
            generators={"G_ema": content.get("g_ema"), "G": content.get("g")},
            discriminator=content.get("d"),
            read_generator=lambda value, size: rosinality.read_generator(value, latent_avg, size),
            read_discriminator=_without_shape(rosinality.read_discriminator),
            augment_p=min(max(float(p), 0.0), 1.0) if isinstance(p, (int, float)) and p == p else 0.0,
        )
    if (state := state_dicts.state_dicts_in(content)) is not None:
        return _of_state(state)
    holds = f"a {type(content).__name__}"
    if isinstance(content, dict):
        keys = [repr(key[:40]) for key in islice(content, 8) if isinstance(key, str)]
        holds = f"a dictionary with {', '.join(keys) or 'nothing'}"
    raise SnapshotError(f"it is no network of a program that is known: it holds {holds}.")


def _of_pytorch(content: dict[Any, Any]) -> Found:
    data = content.get("training_set_kwargs")
    data = data if isinstance(data, dict) else {}
    return Found(
        program="StyleGAN2-ADA (PyTorch)" if _is_ada(content) else "StyleGAN3 program, stylegan2 configuration",
        generators={"G_ema": content.get("G_ema"), "G": content.get("G")},
        discriminator=content.get("D"),
        read_generator=nvidia_pickle.read_generator,
        read_discriminator=_without_shape(nvidia_pickle.read_discriminator),
        augment_p=nvidia_pickle.augment_p(content.get("augment_pipe")),
        data={key: data[key] for key in _TRAINING_SET_KEYS if key in data and _is_plain(data[key])},
    )


def _of_state(state: state_dicts.StateDicts) -> Found:
    generator, discriminator = (state.settings.get(name) for name in ("generator", "discriminator"))
    licence = state.settings.get("licence")
    return Found(
        program="state dictionary under NVIDIA's names",
        generators={name: state.networks.get(name) for name in ("G_ema", "G")},
        discriminator=state.networks.get("D"),
        read_generator=partial(state_dicts.read_generator, settings=generator),
        read_discriminator=partial(state_dicts.read_discriminator, settings=discriminator),
        licence=licence if isinstance(licence, str) and len(licence) < 500 else UNKNOWN_LICENCE,
        assumed="" if generator is not None else state_dicts.ASSUMED,
    )


def _without_shape(read: Callable[[Any, int], Discriminator]) -> Callable[[Any, int, ImageShape], Discriminator]:
    return lambda value, size, shape: read(value, size)


def _is(value: Any, kind: str) -> bool:
    return isinstance(value, Record) and value.kind == kind


def _is_plain(value: Any) -> bool:
    return value is None or (isinstance(value, (str, int, float, bool)) and len(str(value)) < 200)


def _is_ada(content: dict[Any, Any]) -> bool:
    """Tell the two PyTorch programs apart: the later one's generator takes its settings flat."""
    root = nvidia_pickle.Layer(content.get("G_ema") or content.get("G"))
    given = root.get("_init_kwargs")
    if isinstance(given, dict) and given:
        return "synthesis_kwargs" in given or not {"channel_base", "channel_max", "num_fp16_res"} & set(given)
    return True
