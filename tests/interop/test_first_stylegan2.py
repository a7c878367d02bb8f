"""Networks that only the StyleGAN2 program of 2019 made: grown ones (configurations B to D), and conditional ones."""

from __future__ import annotations

import re

import numpy as np
import pytest
import torch
from torch import Tensor

from capriccio.errors import SnapshotError
from capriccio.interop.foreign import read_network
from capriccio.networks.mapping import MappingNetwork
from capriccio.snapshots.snapshot import Snapshot
from tests.interop.foreign_files import tensorflow_bytes, written
from tests.parity.golden import Golden, close, of_kind

LAYERS = {"conv0": "Conv0_up", "conv1": "Conv1", "torgb": "ToRGB", "fromrgb": "FromRGB", "conv": "Conv", "fc": "Dense0"}


def golden_of(kind: str, name: str) -> Golden:
    return next(g for g in of_kind(kind) if g.name == name)


def generator_variables(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """Undo formats.md §2.3: a generator's tensors as the TensorFlow programs would have stored them."""
    const = tensors["synthesis.b4.const"][None]
    variables = {"dlatent_avg": tensors["mapping.w_avg"], "synthesis/4x4/Const/const": const}
    for name, t in tensors.items():
        if match := re.fullmatch(r"mapping\.fc(\d+)\.(weight|bias)", name):
            variables[f"mapping/Dense{match[1]}/{match[2]}"] = t.t() if match[2] == "weight" else t
        elif match := re.fullmatch(r"synthesis\.b(\d+)\.(conv0|conv1|torgb)\.(.*)", name):
            level, layer, part = int(match[1]), match[2], match[3]
            theirs = f"synthesis/{level}x{level}/{'Conv' if (level, layer) == (4, 'conv1') else LAYERS[layer]}"
            if part == "weight":
                kernel = t.permute(2, 3, 1, 0)
                variables[f"{theirs}/weight"] = kernel.flip(0, 1) if layer == "conv0" else kernel
            elif part == "noise_const":
                index = 0 if level == 4 else 2 * (level.bit_length() - 1) - (5 if layer == "conv0" else 4)
                variables[f"synthesis/noise{index}"] = t[None, None]
            elif part in ("bias", "noise_strength"):
                variables[f"{theirs}/{part}"] = t
            elif part.startswith("affine"):
                variables[f"{theirs}/mod_{part.split('.')[1]}"] = t.t() if part.endswith("weight") else t - 1
    return variables


def discriminator_variables(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    variables = {}
    for name, t in tensors.items():
        match = re.fullmatch(r"b(\d+)\.(fromrgb|conv0|conv1|conv|fc|out|skip)\.(weight|bias)", name)
        if match is None:
            continue
        layer = {**LAYERS, "conv0": "Conv0", "conv1": "Conv1_down", "skip": "Skip"}.get(match[2])
        theirs = "Output" if layer is None else f"{match[1]}x{match[1]}/{layer}"
        change = t.permute(2, 3, 1, 0) if t.ndim == 4 else t.t() if t.ndim == 2 else t
        variables[f"{theirs}/{match[3]}"] = change
    return variables


def grown(variables: dict[str, Tensor], top: int, layer: str) -> dict[str, Tensor]:
    """The same network as one that grew: its last layer by level of detail, and those of lower resolutions."""
    made = {name.replace(f"{top}x{top}/{layer}/", f"{layer}_lod0/"): value for name, value in variables.items()}
    prefix = "synthesis/" if layer == "ToRGB" else ""
    return made | {f"{prefix}{layer}_lod{lod}/weight": torch.randn(1, 1, 3, 3) for lod in (1, 2, 3)}


def read(folder, g: dict[str, Tensor], d: dict[str, Tensor], **settings: object) -> Snapshot:
    tensors = {f"tf/G/{name}": t for name, t in g.items()} | {f"tf/D/{name}": t for name, t in d.items()}
    config = {"version": 4, "G_static_kwargs": settings, "D_static_kwargs": settings}
    return read_network(written(folder, "network.pkl", tensorflow_bytes(Golden("", config, tensors))))


@torch.no_grad()
def test_a_network_that_grew_is_one_of_architecture_orig(tmp_path):
    g, d = golden_of("generator", "g_orig_32"), golden_of("discriminator", "d_orig_32")
    theirs = grown(generator_variables(g.under("param/G.")), 32, "ToRGB") | {"lod": torch.tensor(0.0)}
    judge = grown(discriminator_variables(d.under("param/D.")), 32, "FromRGB") | {"lod": torch.tensor(0.0)}
    snapshot = read(tmp_path, theirs, judge)
    assert snapshot.discriminator is not None
    assert snapshot.generator.config.architecture == snapshot.discriminator.config.architecture == "orig"
    close(snapshot.generator(g["in/z"]), g["out/img_const"], atol=1e-4)
    close(snapshot.discriminator(d["in/img"]), d["out/logits"], atol=1e-4)


def test_networks_that_still_grow_and_those_of_the_first_stylegan_are_refused(tmp_path):
    g, d = golden_of("generator", "g_orig_32"), golden_of("discriminator", "d_orig_32")
    theirs = grown(generator_variables(g.under("param/G.")), 32, "ToRGB")
    judge = grown(discriminator_variables(d.under("param/D.")), 32, "FromRGB")
    with pytest.raises(SnapshotError, match=r"while it still grew \(level of detail 1\.5\)"):
        read(tmp_path, theirs | {"lod": torch.tensor(1.5)}, judge)
    unmodulated = {name: value for name, value in theirs.items() if "/mod_" not in name}
    with pytest.raises(SnapshotError, match=r"first StyleGAN \(configuration A\)"):
        read(tmp_path, unmodulated, judge)


@torch.no_grad()
def test_labels_of_2019_enter_joined_to_z_and_choose_the_answer(tmp_path):
    """x = normalise(concat(z, label·W)); logit = Σ output·label (formats.md §2.4)."""
    golden, judge = golden_of("generator", "g_skip_32_rgb"), golden_of("discriminator", "d_resnet_32")
    rng = np.random.default_rng(0)
    classes, latent, width = 3, 24, 20
    g = generator_variables(golden.under("param/G."))
    g["mapping/LabelConcat/weight"] = torch.from_numpy(rng.normal(size=(classes, latent))).float()
    g["mapping/Dense0/weight"] = torch.from_numpy(rng.normal(size=(2 * latent, width)) * 100).float()
    d = discriminator_variables(judge.under("param/D."))
    d["Output/weight"] = torch.from_numpy(rng.normal(size=(d["Output/weight"].shape[0], classes))).float()
    d["Output/bias"] = torch.from_numpy(rng.normal(size=classes)).float()
    snapshot = read(tmp_path, g, d, label_size=classes)
    network = snapshot.generator
    assert (network.config.c_dim, network.config.z_dim) == (classes, latent)

    z, c = torch.randn(4, latent), torch.eye(classes)[[0, 1, 2, 1]]
    joint = MappingNetwork(network.config.mapping, z_dim=2 * latent, c_dim=0, w_dim=width, has_w_avg=False)
    joint.layers.load_state_dict(network.mapping.layers.state_dict())
    close(network.mapping(z, c), joint(torch.cat([z, c @ g["mapping/LabelConcat/weight"]], dim=1)))

    images = torch.randn(3, 3, 32, 32)
    assert snapshot.discriminator is not None
    logits = snapshot.discriminator(images, torch.eye(classes), num_sets=3)
    for label in range(classes):
        alone = {"Output/weight": d["Output/weight"][:, [label]], "Output/bias": d["Output/bias"][[label]]}
        one = read(tmp_path, generator_variables(golden.under("param/G.")), d | alone).discriminator
        assert one is not None
        close(logits[label], one(images[[label]])[0])


@torch.no_grad()
def test_a_conditional_network_of_2019_becomes_a_snapshot_and_nothing_of_nvidias(tmp_path, capsys):
    from capriccio.cli.main import main

    golden, judge = golden_of("generator", "g_skip_32_rgb"), golden_of("discriminator", "d_resnet_32")
    g = generator_variables(golden.under("param/G."))
    g |= {"mapping/LabelConcat/weight": torch.randn(3, 24), "mapping/Dense0/weight": torch.randn(48, 20) * 100}
    read(tmp_path, g, discriminator_variables(judge.under("param/D.")) | {
        "Output/weight": torch.randn(24, 3), "Output/bias": torch.randn(3)
    })  # fmt: skip
    out = tmp_path / "ours.safetensors"
    assert main(["convert", str(tmp_path / "network.pkl"), str(out)]) == 0
    assert main(["generate", "-m", str(out), "--seeds", "1", "--class", "2", "--out", str(tmp_path / "painted")]) == 0
    capsys.readouterr()
    assert main(["convert", str(out), str(tmp_path / "a.pt"), "--to", "nvidia"]) == 2
    assert "labels" in capsys.readouterr().err
    assert not (tmp_path / "a.pt").exists()
