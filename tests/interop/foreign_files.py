"""Writes network files the way other programs do, from what is known of their formats: for tests only."""

from __future__ import annotations

import contextlib
import io
import pickle
import sys
import types
from collections import OrderedDict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor


@contextlib.contextmanager
def foreign_modules() -> Iterator[types.SimpleNamespace]:
    """Put classes under the names of other programs' modules while something is pickled."""

    def module(name: str, **members: Any) -> None:
        made[name] = types.ModuleType(name)
        for key, member in members.items():
            member.__module__, member.__qualname__, member.__name__ = name, key, key
            setattr(made[name], key, member)

    made: dict[str, types.ModuleType] = {}

    def rebuild(meta: dict[str, Any]) -> Any:
        raise AssertionError("nothing of a file may run")

    class Persistent:
        def __init__(self, class_name: str, state: dict[str, Any]) -> None:
            self.meta = {
                "type": "class", "version": 6, "module_src": "raise SystemExit('executed')", "class_name": class_name,
                "state": state,
            }  # fmt: skip

        def __reduce__(self) -> Any:
            return rebuild, (self.meta,)

    class EasyDict(dict):
        pass

    class Network:
        def __init__(self, state: dict[str, Any]) -> None:
            self.state = state

        def __getstate__(self) -> Any:
            return self.state

    for package in ("torch_utils", "dnnlib", "dnnlib.tflib"):
        module(package)
    module("torch_utils.persistence", _reconstruct_persistent_obj=rebuild)
    module("dnnlib.util", EasyDict=EasyDict)
    module("dnnlib.tflib.network", Network=Network)
    before = {name: sys.modules.get(name) for name in made}
    sys.modules.update(made)
    try:
        yield types.SimpleNamespace(Persistent=Persistent, EasyDict=EasyDict, Network=Network)
    finally:
        for name, old in before.items():
            if old is None:
                del sys.modules[name]
            else:
                sys.modules[name] = old


def _layers(
    make: Any, tensors: dict[str, Tensor], attributes: Any, path: str = "", frozen: frozenset[str] = frozenset()
) -> Any:
    """Build nested persistent objects out of dotted tensor names."""
    parameters, buffers, inner = OrderedDict(), OrderedDict(), {}
    for key, tensor in tensors.items():
        head, _, rest = key.partition(".")
        if rest:
            inner.setdefault(head, {})[rest] = tensor
        elif head in ("w_avg", "noise_const", "resample_filter") or path + key in frozen:
            buffers[head] = tensor
        else:
            parameters[head] = torch.nn.Parameter(tensor)
    modules = OrderedDict(
        (key, _layers(make, part, attributes, f"{path}{key}.", frozen)) for key, part in inner.items()
    )
    class_name, extra = attributes(path.removesuffix("."))
    if path.endswith("b4.") and "mbstd" in extra:
        modules["mbstd"] = make("MinibatchStdLayer", {"_parameters": {}, "_modules": {}, **extra.pop("mbstd")})
    return make(class_name, {
        "training": False, "_parameters": parameters, "_buffers": buffers, "_modules": modules,
        "_non_persistent_buffers_set": set(), "_backward_hooks": OrderedDict(), **extra,
    })  # fmt: skip


def nvidia_bytes(
    g: dict[str, Tensor],
    g_config: dict[str, Any],
    d: dict[str, Tensor] | None = None,
    d_config: dict[str, Any] | None = None,
    *,
    protocol: int = 3,
    is_sg3: bool = False,
    augment_p: float | None = 0.25,
    extra_key: Any = None,
    frozen: frozenset[str] = frozenset(),
) -> bytes:
    """A network pickle; tensors by the field's names, settings by the names of the golden files."""

    def generator_attributes(path: str) -> tuple[str, dict[str, Any]]:
        if path == "":
            given = {"channel_base": 1} if is_sg3 else {"synthesis_kwargs": {}}
            return "Generator", {
                "z_dim": g_config["z_dim"], "c_dim": g_config["c_dim"], "w_dim": g_config["w_dim"],
                "img_resolution": g_config["resolution"], "_init_kwargs": given,
            }  # fmt: skip
        last = path.split(".")[-1]
        if path == "mapping":
            return "MappingNetwork", {"w_avg_beta": g_config["w_avg_beta"], "num_layers": g_config["map_layers"]}
        if last.startswith("fc"):
            return "FullyConnectedLayer", {"activation": "lrelu", "bias_gain": np.float64(g_config["map_lr_mul"])}
        if last.startswith("b"):
            return "SynthesisBlock", {"architecture": g_config["arch"], "use_fp16": last == "b16"}
        return "SynthesisLayer", {"activation": "lrelu", "conv_clamp": g_config["clamp"], "use_noise": True}

    def discriminator_attributes(path: str) -> tuple[str, dict[str, Any]]:
        assert d_config is not None
        last = path.split(".")[-1]
        if path == "":
            return "Discriminator", {"c_dim": d_config["c_dim"]}
        if path == "b4":
            mbstd = {"group_size": d_config["mbstd_group"], "num_channels": d_config["mbstd_channels"]}
            cmap = d_config["cmap_dim"] or (d["b4.out.weight"].shape[0] if d_config["c_dim"] else 0)
            return "DiscriminatorEpilogue", {
                "architecture": d_config["arch"], "cmap_dim": cmap,
                **({"mbstd": mbstd} if mbstd["num_channels"] else {}),
            }  # fmt: skip
        if last.startswith("b"):
            return "DiscriminatorBlock", {"architecture": d_config["arch"], "use_fp16": False}
        if last.startswith("fc"):
            return "FullyConnectedLayer", {"activation": "lrelu", "bias_gain": np.float64(d_config["map_lr_mul"])}
        return "Conv2dLayer", {"activation": "lrelu", "conv_clamp": d_config["clamp"]}

    with foreign_modules() as foreign:
        make = foreign.Persistent
        generator = _layers(make, g, generator_attributes)
        pipe = make("AugmentPipe", {"_buffers": {"p": torch.tensor(augment_p)}}) if augment_p is not None else None
        content = {
            "training_set_kwargs": foreign.EasyDict(class_name="training.dataset.ImageFolderDataset", resolution=16),
            "G": generator,
            "D": None if d is None else _layers(make, d, discriminator_attributes, frozen=frozen),
            "G_ema": generator,
            "augment_pipe": pipe,
        }
        if extra_key is not None:
            content["extra"] = extra_key
        return pickle.dumps(content, protocol=protocol)


def tensorflow_bytes(golden: Any) -> bytes:
    """A TensorFlow-era pickle of the variables of a golden file."""
    version = golden.config["version"]
    with foreign_modules() as foreign:

        def network(prefix: str, settings: dict[str, Any]) -> Any:
            values = {
                name.removeprefix(prefix): tensor.numpy() for name, tensor in golden.tensors.items()
                if name.startswith(prefix)
            }  # fmt: skip
            values = {name: v if v.ndim else np.float32(v) for name, v in values.items()}

            def part(keep: str, others: tuple[str, ...], settings: dict[str, Any], inner: dict[str, Any]) -> Any:
                mine = [
                    (name.removeprefix(keep), value) for name, value in values.items()
                    if name.startswith(keep) and not name.startswith(others)
                ]  # fmt: skip
                return foreign.Network({
                    "version": version, "name": "net", "static_kwargs": settings, "components": inner,
                    "build_module_src": "raise SystemExit('executed')", "build_func_name": "main", "variables": mine,
                })  # fmt: skip

            if prefix != "tf/G/":
                return part("", ("\0",), settings, {})
            inner = {key: part(f"{key}/", ("\0",), {}, {}) for key in ("mapping", "synthesis")}
            return part("", ("mapping/", "synthesis/"), settings, inner)

        g = network("tf/G/", golden.config["G_static_kwargs"])
        d = network("tf/D/", golden.config["D_static_kwargs"])
        return pickle.dumps((g, d, g), protocol=4)


def torch_bytes(content: Any, *, legacy: bool = False) -> bytes:
    """The bytes of ``torch.save``, of today or of before version 1.6."""
    file = io.BytesIO()
    torch.save(content, file, _use_new_zipfile_serialization=not legacy)
    return file.getvalue()


def written(folder: Path, name: str, data: bytes) -> Path:
    """Write a file and return its path."""
    path = folder / name
    path.write_bytes(data)
    return path
