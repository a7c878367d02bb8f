"""Mapping networks, generators and discriminators reproduce the golden numbers."""

from __future__ import annotations

import re

import pytest
import torch

from capriccio.interop.names import to_field_name
from capriccio.networks.discriminator import Discriminator
from capriccio.networks.generator import Generator
from capriccio.networks.mapping import MappingNetwork
from capriccio.ops.truncation import truncate
from tests.parity.golden import Golden, close, discriminator_config, fill, generator_config, mapping_config, of_kind

mapping_cases = [
    pytest.param(g, i, c, id=f"{g.name}-{i}") for g in of_kind("mapping") for i, c in enumerate(g.config["cases"])
]


@pytest.mark.parametrize(("golden", "i", "case"), mapping_cases)
@torch.no_grad()
def test_mapping_network(golden: Golden, i, case):
    num_ws = case["num_ws"]
    network = MappingNetwork(
        mapping_config(case),
        z_dim=case["z_dim"],
        c_dim=case["c_dim"],
        w_dim=case["w_dim"],
        has_w_avg=num_ws is not None,
    )
    fill(network, golden.under(f"param/{i}.mapping."))
    w = network(golden.tensors.get(f"in/{i}.z"), golden.tensors.get(f"in/{i}.c"))
    if num_ws is None:
        close(w, golden[f"out/{i}.ws"])
        return
    ws = w[:, None].expand(-1, num_ws, -1)
    close(ws, golden[f"out/{i}.ws"])
    seen = 0
    for name, expected in golden.under(f"out/{i}.ws.").items():
        psi, cut = re.fullmatch(r"psi(.+)\.cut(.+)", name).groups()
        cutoff = None if cut == "None" else int(cut)
        close(truncate(ws, network.w_avg, psi=float(psi), cutoff=cutoff), expected)
        seen += 1
    assert seen
    network.track(w.mean(dim=0))
    close(network.w_avg, golden[f"out/{i}.w_avg_after_update"])


@pytest.mark.parametrize("golden", of_kind("generator"), ids=str)
@torch.no_grad()
def test_generator(golden: Golden):
    config = golden.config
    network = Generator(generator_config(config["G"]))
    fill(network, golden.under("param/G."))
    z, c = golden["in/z"], golden.tensors.get("in/c")
    tolerance = {"atol": 1e-4, "rtol": 1e-4}

    ws = network.ws(z, c)
    ws_trunc = network.ws(z, c, psi=config["psi"], cutoff=config["cutoff"])
    assert ws.shape[1] == config["num_ws"]
    close(ws, golden["out/ws"])
    close(ws_trunc, golden["out/ws_trunc"])
    close(network.ws(z, c, psi=config["psi_all"]), golden["out/ws_trunc_all"])

    close(network.synthesis(ws), golden["out/img_const"], **tolerance)
    close(network.synthesis(ws, "none"), golden["out/img_none"], **tolerance)
    close(network.synthesis(ws_trunc), golden["out/img_trunc_const"], **tolerance)
    names = [to_field_name(n) for n, m in network.synthesis.named_modules() if m in network.synthesis.styled_convs()]
    noise = [golden[f"in/noise/{n}"] for n in names]
    close(network.synthesis(ws, noise), golden["out/img_noise"], **tolerance)

    crossover = config["mix_crossover"]
    ws_mix = torch.cat([ws[:, :crossover], network.ws(golden["in/z2"], c)[:, crossover:]], dim=1)
    close(ws_mix, golden["out/ws_mix"])
    close(network.synthesis(ws_mix), golden["out/img_mix_const"], **tolerance)

    for level, (x, image) in zip(network.config.shape.levels, network.synthesis.features(ws), strict=True):
        if f"out/x.b{level}" in golden.tensors:
            close(x[:1], golden[f"out/x.b{level}"], **tolerance)
        if f"out/rgb.b{level}" in golden.tensors:
            close(image[:1], golden[f"out/rgb.b{level}"], **tolerance)


@pytest.mark.parametrize("golden", of_kind("discriminator"), ids=str)
@torch.no_grad()
def test_discriminator(golden: Golden):
    network = Discriminator(discriminator_config(golden.config["D"]))
    fill(network, golden.under("param/D."))
    images, c = golden["in/img"], golden.tensors.get("in/c")
    close(network(images, c), golden["out/logits"])
    if "out/cmap" in golden.tensors:
        close(network.mapping(None, c), golden["out/cmap"])
    for level, x in zip(reversed(network.config.shape.levels[1:]), network.features(images), strict=True):
        if f"out/x.b{level}" in golden.tensors:
            close(x[:2], golden[f"out/x.b{level}"])
    network.freeze()
    trainable = [to_field_name(n) for n, p in network.named_parameters() if p.requires_grad]
    assert sorted(trainable) == sorted(golden.config["trainable"])
