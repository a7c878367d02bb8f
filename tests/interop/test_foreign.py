"""Files of other programs become the same networks, and the same pictures."""

from __future__ import annotations

import argparse

import numpy as np
import pytest
import torch

import capriccio
from capriccio.interop import nvidia_pickle
from capriccio.interop.foreign import read_network
from capriccio.interop.programs import UNKNOWN_LICENCE
from capriccio.interop.torch_files import read_pickle
from tests.interop.foreign_files import nvidia_bytes, tensorflow_bytes, torch_bytes, written
from tests.parity.golden import Golden, close, discriminator_config, generator_config, of_kind

CLOSE = {"atol": 1e-4, "rtol": 1e-4}


@pytest.mark.parametrize("protocol", [3, 4, 5])
@pytest.mark.parametrize("golden", of_kind("generator"), ids=str)
@torch.no_grad()
def test_a_pickle_of_nvidias_programs_paints_what_they_painted(golden: Golden, protocol, tmp_path):
    data = nvidia_bytes(golden.under("param/G."), golden.config["G"], protocol=protocol)
    snapshot = read_network(written(tmp_path, "picture.jpg", data))
    wanted = generator_config(golden.config["G"])
    mine = snapshot.generator.config
    assert (mine.shape, mine.architecture, mine.conv_clamp) == (wanted.shape, wanted.architecture, wanted.conv_clamp)
    assert mine.mapping.lr_multiplier == pytest.approx(wanted.mapping.lr_multiplier)
    assert mine.mapping.w_avg_beta == wanted.mapping.w_avg_beta
    close(snapshot.generator(golden["in/z"], golden.tensors.get("in/c")), golden["out/img_const"], **CLOSE)
    assert snapshot.facts.augment_p == 0.25
    assert snapshot.facts.data["resolution"] == 16
    assert snapshot.facts.licence == UNKNOWN_LICENCE


@pytest.mark.parametrize("golden", of_kind("discriminator"), ids=str)
@torch.no_grad()
def test_its_discriminator_judges_as_theirs(golden: Golden):
    g = of_kind("generator")[0]
    tensors = golden.under("param/D.")
    frozen = frozenset(tensors) - frozenset(golden.config["trainable"])
    content = read_pickle(memoryview(nvidia_bytes(
        g.under("param/G."), g.config["G"], tensors, golden.config["D"], frozen=frozen
    )))  # fmt: skip
    network = nvidia_pickle.read_discriminator(content["D"], 10**6)
    wanted = discriminator_config(golden.config["D"])
    assert network.config.mbstd_group_size == wanted.mbstd_group_size
    assert network.config.conv_clamp == wanted.conv_clamp
    assert network.config.freeze_layers == wanted.freeze_layers
    close(network(golden["in/img"], golden.tensors.get("in/c")), golden["out/logits"])


def test_the_two_programs_are_told_apart(tmp_path):
    g = of_kind("generator")[0]
    for is_sg3, name in ((False, "StyleGAN2-ADA (PyTorch)"), (True, "StyleGAN3 program, stylegan2 configuration")):
        path = written(tmp_path, "net", nvidia_bytes(g.under("param/G."), g.config["G"], is_sg3=is_sg3))
        assert read_network(path).facts.software == name


@pytest.mark.parametrize("golden", of_kind("tf_conversion"), ids=str)
@torch.no_grad()
def test_a_tensorflow_pickle_gives_what_nvidias_converter_gives(golden: Golden, tmp_path):
    snapshot = read_network(written(tmp_path, "net.bin", tensorflow_bytes(golden)))
    c = golden.tensors.get("in/c")
    images = snapshot.generator(golden["in/z"], c)
    close(images, golden["out/img_const"], **CLOSE)
    assert snapshot.discriminator is not None
    close(snapshot.discriminator(golden["out/img_const"], c), golden["out/logits"], **CLOSE)
    assert snapshot.generator.config.c_dim == golden.config["G_kwargs_after"]["c_dim"]


def rosinality(golden: Golden) -> dict:
    return {
        "g_ema": golden.under("ckpt/g_ema/"),
        "d": golden.under("ckpt/d/"),
        "latent_avg": golden["ckpt/latent_avg"],
    }


@pytest.mark.parametrize("legacy", [False, True])
@pytest.mark.parametrize("golden", of_kind("rosinality_conversion"), ids=str)
@torch.no_grad()
def test_a_rosinality_checkpoint_paints_what_that_program_painted(golden: Golden, legacy, tmp_path):
    path = written(tmp_path, "net.pkl", torch_bytes(rosinality(golden), legacy=legacy))
    snapshot = read_network(path)
    g = snapshot.generator
    close(g.ws(golden["in/z"]), golden["out/ws"], **CLOSE)
    close(g(golden["in/z"]), golden["out/img_const"], **CLOSE)
    close(g(golden["in/z"], psi=golden.config["truncation"]), golden["out/img_trunc_const"], **CLOSE)
    assert snapshot.discriminator is not None
    close(snapshot.discriminator(golden["out/img_const"]), golden["out/logits"], **CLOSE)


def test_a_training_checkpoint_without_mean_latent_gets_one(tmp_path):
    golden = of_kind("rosinality_conversion")[0]
    content = {
        "g": golden.under("ckpt/g_ema/"), "d": golden.under("ckpt/d/"), "g_ema": golden.under("ckpt/g_ema/"),
        "g_optim": {"state": {0: {"step": 3, "exp_avg": torch.zeros(2)}}, "param_groups": [{"betas": (0.0, 0.99)}]},
        "args": argparse.Namespace(size=16, latent=10), "ada_aug_p": 0.4,
    }  # fmt: skip
    snapshot = read_network(written(tmp_path, "100000.pt", torch_bytes(content)))
    assert snapshot.facts.augment_p == 0.4
    torch.manual_seed(3)
    with torch.no_grad():
        again = snapshot.generator.mapping(torch.randn(10_000, 10)).mean(dim=0)
    close(snapshot.generator.w_avg, again, atol=0.1 * float(again.abs().max()), rtol=0)


def test_load_takes_them_and_a_seed_is_the_picture_it_was(tmp_path):
    golden = of_kind("generator")[0]
    path = written(tmp_path, "network.pkl", nvidia_bytes(golden.under("param/G."), golden.config["G"]))
    model = capriccio.load(path, device="cpu")
    z = torch.from_numpy(np.random.RandomState(7).randn(1, model.z_dim)).float()
    assert torch.equal(model.z([7]), z)
    c = model.label(0) if model.c_dim else None
    with torch.no_grad():
        expected = model.generator(z, c).clamp(-1, 1)
    torch.testing.assert_close(model.images(model.ws(seeds=[7], c=c)), expected)
