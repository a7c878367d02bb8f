"""``capriccio convert``: every way in, every way out, and every bad file, from the command line."""

from __future__ import annotations

import io
import json
import os
import pickle
import resource
from collections import OrderedDict

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

import capriccio
from capriccio.config import DiscriminatorConfig, GeneratorConfig, ImageShape, MappingConfig, to_dict
from capriccio.interop.field_networks import field_tensors
from capriccio.interop.foreign import read_network
from capriccio.networks.discriminator import Discriminator
from capriccio.networks.generator import Generator
from capriccio.snapshots.snapshot import Snapshot, SnapshotFacts, save_snapshot
from tests.interop.foreign_files import foreign_modules, nvidia_bytes, tensorflow_bytes, torch_bytes, written
from tests.parity.golden import close, discriminator_config, of_kind


def ours(folder, **changes):
    """A snapshot of ours, of the kind that rosinality's format can hold."""
    torch.manual_seed(0)
    shape = ImageShape(height=16, width=16)
    config = GeneratorConfig(**{
        "z_dim": 8, "w_dim": 8, "shape": shape, "channel_base": 128, "channel_max": 8,
        "mapping": MappingConfig(num_layers=2), **changes,
    })  # fmt: skip
    g = Generator(config).eval()
    with torch.no_grad():
        for name, tensor in g.state_dict().items():
            if name.endswith(("noise_strength", "w_avg")):
                tensor.normal_()
    d = Discriminator(DiscriminatorConfig(shape=config.shape, channel_base=128, channel_max=8)).eval()
    path = folder / "ours.safetensors"
    save_snapshot(path, Snapshot(generator=g, discriminator=d, facts=SnapshotFacts(nimg=5000)))
    return path


def nvidia(folder, name="network.pkl", **changes):
    golden = of_kind("generator")[0]
    return written(folder, name, nvidia_bytes(golden.under("param/G."), golden.config["G"], **changes))


@pytest.mark.parametrize("kind", ["nvidia", "tensorflow", "rosinality"])
def test_foreign_files_become_snapshots_with_the_same_pictures(kind, cli, tmp_path):
    if kind == "nvidia":
        source = nvidia(tmp_path, "misnamed.txt")
    elif kind == "tensorflow":
        source = written(tmp_path, "misnamed.txt", tensorflow_bytes(of_kind("tf_conversion")[0]))
    else:
        golden = of_kind("rosinality_conversion")[0]
        content = {"g_ema": golden.under("ckpt/g_ema/"), "latent_avg": golden["ckpt/latent_avg"]}
        source = written(tmp_path, "misnamed.txt", torch_bytes(content))
    out = tmp_path / "ours.safetensors"
    code, told, _ = cli("convert", source, out)
    assert (code, "Eight test seeds give identical pictures." in told) == (0, True)
    before, after = capriccio.load(source, device="cpu"), capriccio.load(out, device="cpu")
    c = before.label(0) if before.c_dim else None
    assert torch.equal(before.images(before.ws(seeds=[3], c=c)), after.images(after.ws(seeds=[3], c=c)))
    assert after.card["converted_from"] == before.facts.software


def test_info_tells_what_a_foreign_file_says(cli, tmp_path):
    code, told, _ = cli("info", nvidia(tmp_path), "--json")
    facts = json.loads(told)
    golden = of_kind("generator")[0].config["G"]
    assert (code, facts["generator"]["z_dim"], facts["augment_p"]) == (0, golden["z_dim"], 0.25)


def test_training_starts_from_a_foreign_file(cli, archive, tmp_path):
    source = written(tmp_path, "stranger", tensorflow_bytes(of_kind("tf_conversion")[0]))
    code, _, err = cli("train", archive, "--out", tmp_path / "run", "--preset", "tiny", "--kimg", "0.032",
                          "--init-from", source, "--device", "cpu")  # fmt: skip
    assert code == 0, err
    log = (tmp_path / "run" / "log.txt").read_text()
    assert "init: generator:" in log
    assert "init: discriminator:" in log
    code, _, err = cli("train", archive, "--out", tmp_path / "two", "--preset", "tiny", "--kimg", "0.032",
                       "--init-from", written(tmp_path, "bad", b"nonsense"), "--device", "cpu")  # fmt: skip
    assert (code, "no network file" in err) == (2, True)


def test_half_precision_is_measured(cli, tmp_path):
    source = ours(tmp_path)
    code, told, _ = cli("convert", source, tmp_path / "half.safetensors", "--dtype", "float16", "--slim", "--json")
    report = json.loads(told)
    assert code == 0
    assert 0 < report["difference"]["mean"] <= report["difference"]["largest"] < 8
    assert not report["has_discriminator"]
    before, after = (capriccio.load(p, device="cpu") for p in (source, tmp_path / "half.safetensors"))
    seen = max(float((before.images(before.ws(seeds=[s])) - after.images(after.ws(seeds=[s]))).abs().max())
               for s in range(8)) * 127.5  # fmt: skip
    assert report["difference"]["largest"] == pytest.approx(seen, rel=1e-3)


def test_a_snapshot_goes_to_rosinality_and_comes_back(cli, tmp_path):
    source, there, back = ours(tmp_path), tmp_path / "there.pt", tmp_path / "back.safetensors"
    code, told, _ = cli("convert", source, there, "--to", "rosinality")
    assert (code, "set the table there" in told) == (0, True)
    content = torch.load(there, weights_only=True)
    assert content["g_ema"]["convs.0.conv.blur.kernel"].sum() == pytest.approx(4)
    assert cli("convert", there, back)[0] == 0
    before, after = load_file(source), load_file(back)
    assert before.keys() == after.keys()
    assert all(torch.equal(before[name], after[name]) for name in before)


def test_golden_checkpoints_survive_the_way_there_and_back(cli, tmp_path):
    golden = of_kind("rosinality_conversion")[0]
    wanted = {"g_ema": golden.under("ckpt/g_ema/"), "d": golden.under("ckpt/d/")}
    source = written(tmp_path, "a.pt", torch_bytes({**wanted, "latent_avg": golden["ckpt/latent_avg"]}))
    assert cli("convert", source, tmp_path / "a.safetensors")[0] == 0
    assert cli("convert", tmp_path / "a.safetensors", tmp_path / "b.pt", "--to", "rosinality")[0] == 0
    found = torch.load(tmp_path / "b.pt", weights_only=True)
    for part, tensors in wanted.items():
        assert found[part].keys() == tensors.keys()
        for name, tensor in tensors.items():
            torch.testing.assert_close(found[part][name], tensor, msg=name)


@pytest.mark.parametrize("ending", ["pt", "safetensors"])
def test_tensors_go_out_under_nvidias_names(ending, cli, tmp_path):
    golden = of_kind("generator")[0]
    source, out = nvidia(tmp_path), tmp_path / f"state.{ending}"
    assert cli("convert", source, out, "--to", "nvidia")[0] == 0
    if ending == "pt":
        found = torch.load(out, weights_only=True)["G_ema"]
    else:
        found = {name.removeprefix("G_ema."): tensor for name, tensor in load_file(out).items()}
    wanted = golden.under("param/G.")
    assert found.keys() == wanted.keys()
    assert all(torch.equal(found[name], wanted[name]) for name in wanted)


@pytest.mark.parametrize("dtype", ["float32", "float16"])
@pytest.mark.parametrize("ending", ["pt", "safetensors"])
def test_tensors_under_nvidias_names_come_back_with_their_settings(ending, dtype, cli, tmp_path):
    source = ours(tmp_path, channel_base=150, conv_clamp=256.0, mapping=MappingConfig(num_layers=3, lr_multiplier=0.02))
    out, back = tmp_path / f"state.{ending}", tmp_path / "back.safetensors"
    assert cli("convert", source, out, "--to", "nvidia", "--dtype", dtype)[0] == 0
    code, told, _ = cli("convert", out, back)
    assert (code, "assumed" in told, "state dictionary under NVIDIA's names" in told) == (0, False, True)
    before, after = read_network(source), read_network(back)
    for mine, theirs in ((before.generator, after.generator), (before.discriminator, after.discriminator)):
        assert mine.config == theirs.config
        for name, tensor in mine.state_dict().items():
            kept = tensor if dtype == "float32" else tensor.half().float()
            assert torch.equal(theirs.state_dict()[name], kept), name
    assert after.facts.licence == before.facts.licence
    facts = json.loads(cli("info", out, "--json")[1])
    assert facts["generator"] == to_dict(before.generator.config)


USUAL = [g for g in of_kind("generator") if (g.config["G"]["map_lr_mul"], g.config["G"]["clamp"]) == (0.01, None)]


@pytest.mark.parametrize("bare", [True, False])
@pytest.mark.parametrize("golden", USUAL, ids=str)
@torch.no_grad()
def test_a_state_dictionary_without_settings_is_read_and_what_is_assumed_is_told(golden, bare, cli, tmp_path):
    tensors = golden.under("param/G.")
    source = written(tmp_path, "g.pth", torch_bytes(OrderedDict(tensors) if bare else {"G_ema": tensors, "step": 3}))
    code, told, _ = cli("convert", source, tmp_path / "out.safetensors")
    assert (code, "assumed: learning-rate multiplier 0.01" in told) == (0, True)
    network = read_network(source).generator
    close(network(golden["in/z"], golden.tensors.get("in/c")), golden["out/img_const"], atol=1e-4)


@pytest.mark.parametrize("golden", of_kind("discriminator"), ids=str)
@torch.no_grad()
def test_its_discriminator_is_read_by_its_tensors_too(golden, tmp_path):
    g = next(g for g in of_kind("generator") if g.config["G"]["resolution"] == golden.config["D"]["resolution"]
             and g.config["G"]["img_channels"] == golden.config["D"]["img_channels"])  # fmt: skip
    content = {"G": g.under("param/G."), "D": golden.under("param/D.")}
    network = read_network(written(tmp_path, "both.pt", torch_bytes(content)), which="G").discriminator
    wanted = discriminator_config(golden.config["D"])
    mine = network.config
    assert (mine.shape, mine.architecture, mine.c_dim) == (wanted.shape, wanted.architecture, wanted.c_dim)
    assert mine.mbstd_num_channels == wanted.mbstd_num_channels
    if (wanted.conv_clamp, wanted.mbstd_group_size) == (None, 4):
        close(network(golden["in/img"], golden.tensors.get("in/c")), golden["out/logits"])


def test_a_network_that_is_not_square_comes_back_with_its_discriminator(cli, tmp_path):
    source = ours(tmp_path, shape=ImageShape(height=16, width=24))
    out = tmp_path / "wide.pt"
    assert cli("convert", source, out, "--to", "nvidia")[0] == 0
    content = torch.load(out, weights_only=True)
    content.pop("settings")
    for path in (out, written(tmp_path, "bare.pt", torch_bytes(content))):
        snapshot = read_network(path)
        assert snapshot.discriminator.config.shape == snapshot.generator.config.shape == ImageShape(height=16, width=24)


@pytest.mark.parametrize("golden", of_kind("discriminator"), ids=str)
def test_the_names_of_discriminators_are_complete(golden):
    network = Discriminator(discriminator_config(golden.config["D"]))
    wanted = golden.under("param/D.")
    found = field_tensors(network)
    assert {name: t.shape for name, t in found.items()} == {name: t.shape for name, t in wanted.items()}


def test_what_has_no_place_in_a_format_is_refused_with_the_reasons(cli, tmp_path):
    source = ours(tmp_path, z_dim=5)
    code, _, told = cli("convert", source, tmp_path / "out.pt", "--to", "rosinality")
    assert (code, "z has 5 numbers and w 8" in told, (tmp_path / "out.pt").exists()) == (2, True, False)


def test_projected_w_goes_both_ways(cli, tmp_path):
    ws = np.random.default_rng(0).normal(size=(2, 6, 8)).astype(np.float32)
    np.savez(tmp_path / "projected_w.npz", w=ws)
    assert cli("convert", tmp_path / "projected_w.npz", tmp_path / "mine.npz", "--to", "snapshot")[0] == 0
    assert cli("convert", tmp_path / "projected_w.npz", tmp_path / "mine.safetensors")[0] == 0
    for mine in ("mine.npz", "mine.safetensors"):
        assert cli("convert", tmp_path / mine, tmp_path / "again.npz", "--force")[0] == 0
        with np.load(tmp_path / "again.npz") as found:
            assert list(found) == ["w"]
            np.testing.assert_array_equal(found["w"], ws)
    code, _, err = cli("convert", written(tmp_path, "bad.npz", b"PK\x03\x04nothing"), tmp_path / "out.npz")
    assert (code, "not a latents file, or damaged" in err) == (2, True)


@pytest.mark.parametrize("flags", [("--dtype", "float16"), ("--slim",), ("--to", "rosinality"), ("--generator", "G")])
def test_what_is_said_of_networks_is_refused_for_latents(cli, tmp_path, flags):
    np.savez(tmp_path / "projected_w.npz", w=np.zeros((1, 6, 8), np.float32))
    code, _, err = cli("convert", tmp_path / "projected_w.npz", tmp_path / "out.npz", *flags)
    assert (code, "holds latents" in err, (tmp_path / "out.npz").exists()) == (2, True, False)


def refused(cli, path, *words):
    """Convert a bad file: one line, exit code 2, the reason, nothing written."""
    code, out, err = cli("convert", path, path.parent / "out.safetensors")
    assert (code, out, err.count("\n")) == (2, "", 1), err
    assert str(path) in err
    assert all(word in err for word in words), err
    assert not (path.parent / "out.safetensors").exists()


def test_a_pickle_that_would_run_code_is_refused_by_name_and_runs_nothing(cli, tmp_path):
    class Evil:
        def __reduce__(self):
            return os.system, (f"touch {tmp_path}/executed",)

    refused(cli, written(tmp_path, "a.pkl", pickle.dumps({"G_ema": Evil()})), "system", "nothing of it was executed")
    refused(cli, nvidia(tmp_path, extra_key=Evil()), "system")
    refused(cli, written(tmp_path, "c.pt", torch_bytes({"g_ema": Evil()})), "system")
    refused(cli, written(tmp_path, "d.pt", torch_bytes({"g_ema": Evil()}, legacy=True)), "system")
    assert not (tmp_path / "executed").exists()


def test_files_of_something_else_are_refused(cli, tmp_path):
    refused(cli, written(tmp_path, "a.pkl", pickle.dumps({"weights": [1, 2]})), "a dictionary with 'weights'")
    refused(cli, written(tmp_path, "b.pkl", pickle.dumps([1, 2])), "a list")
    refused(cli, written(tmp_path, "c.pt", torch_bytes({"state_dict": {"a": torch.ones(2)}})), "'state_dict'")
    refused(cli, written(tmp_path, "d.pkl", b"not found"), "no network file")
    refused(cli, tmp_path / "absent.pkl", "does not exist")


def test_truncated_files_are_refused(cli, tmp_path):
    golden = of_kind("rosinality_conversion")[0]
    content = {"g_ema": golden.under("ckpt/g_ema/")}
    for name, data in (
        ("a.pkl", nvidia(tmp_path).read_bytes()),
        ("b.pkl", tensorflow_bytes(of_kind("tf_conversion")[0])),
        ("c.pt", torch_bytes(content)),
        ("d.pt", torch_bytes(content, legacy=True)),
    ):
        refused(cli, written(tmp_path, name, data[: len(data) // 2]), "truncated")


def test_settings_of_a_state_dictionary_may_claim_nothing_else_than_its_tensors(cli, tmp_path):
    whole = tmp_path / "whole.pt"
    assert cli("convert", ours(tmp_path), whole, "--to", "nvidia")[0] == 0
    content = torch.load(whole, weights_only=True)
    settings = json.loads(content["settings"])

    def refused_with(change, *words):
        refused(cli, written(tmp_path, "a.pt", torch_bytes({**content, "settings": change})), *words)

    def generator(**changes):
        return json.dumps(settings | {"generator": settings["generator"] | changes})

    refused_with(generator(z_dim=10**12), "mapping.fc0.weight is [8, 8] instead of")
    refused_with(generator(mapping={"num_layers": 10**9}), "fewer tensors than")
    refused_with(generator(z_dims=8), "'generator.z_dims' is not a setting")
    refused_with(generator(z_dim=[[1]]), "must be int")
    refused_with("{" * 100, "settings are no JSON")
    refused_with("[" * 100_000, "settings are no JSON")
    refused_with("[]", "settings are no JSON object")
    refused_with(7, "settings are no JSON")
    del content["G_ema"]["synthesis.b8.conv1.bias"]
    refused(cli, written(tmp_path, "b.pt", torch_bytes(content)), "synthesis.b8.conv1.bias [8] is missing")
    refused(cli, written(tmp_path, "c.safetensors", whole.read_bytes()[:900]), "truncated")


def test_recursive_pickles_are_refused(cli, tmp_path):
    turning: dict = {}
    turning["G_ema"] = turning
    refused(cli, written(tmp_path, "a.pkl", pickle.dumps(turning)), "no network")
    with foreign_modules() as foreign:
        layer = foreign.Persistent("Generator", {"_parameters": {}, "_buffers": {}, "_modules": {}})
        inner = {"made": True}
        state = {"_parameters": {}, "_buffers": {}, "_modules": inner}
        for _ in range(40):  # every layer twice in the next: 2⁴⁰ layers to whoever walks them
            layer = foreign.Persistent("Generator", {"_modules": {"a": layer, "b": layer}})
        state["_modules"] = {"mapping": layer}
        data = pickle.dumps({"G_ema": foreign.Persistent("Generator", state)})
    refused(cli, written(tmp_path, "b.pkl", data), "nested without end")
    deep = b"\x80\x04" + b"]" + b"\x85" * 1_000_000 + b"."
    refused(cli, written(tmp_path, "c.pkl", deep), "no network")
    doubled = b"\x80\x04" + b")" + b"\x94h\x00\x86" * 5 + b"}\x93."
    refused(cli, written(tmp_path, "d.pkl", doubled), "damaged")


def test_two_gigabytes_of_zeros_cost_neither_memory_nor_time(cli, tmp_path):
    paths = [tmp_path / name for name in ("a.pkl", "b.pkl", "c.pt", "d.pt")]
    starts = [b"", b"\x80\x04", b"PK\x03\x04", torch_bytes({"g_ema": {}}, legacy=True)[:16]]
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for path, start in zip(paths, starts, strict=True):
        with open(path, "wb") as file:
            file.write(start)
            file.truncate(2 * 2**30)
        refused(cli, path)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 300_000  # kilobytes


def test_claims_larger_than_the_file_take_no_memory(cli, tmp_path):
    big = (2**34).to_bytes(8, "little")
    refused(cli, written(tmp_path, "a.pkl", b"\x80\x04\x8e" + big + b"."), "truncated")
    refused(cli, written(tmp_path, "b.pkl", b"\x80\x04]r\xff\xff\xff\xff."), "holds a list")
    file = io.BytesIO()
    torch.save({"g_ema": {"input.input": torch.ones(1).expand(1, 2**16, 2**14, 1)}}, file)
    refused(cli, written(tmp_path, "c.pt", file.getvalue()))


def test_one_long_text_is_not_copied_a_million_times(cli, tmp_path):
    text = b"X" + (2**20).to_bytes(4, "little") + b"a" * 2**20
    calls = b"c_codecs\nencode\nh\x00\x85R" * 20_000
    refused(cli, written(tmp_path, "a.pkl", b"\x80\x04" + text + b"\x94]" + calls + b"."), "far more than the file")


def test_shared_layers_and_long_names_are_bounded(cli, tmp_path):
    with foreign_modules() as foreign:
        leaf = foreign.Persistent("Layer", {"_parameters": {}})
        many = {str(i): leaf for i in range(5000)}
        data = pickle.dumps({"G_ema": foreign.Persistent("Generator", {"_modules": many})})
        nested: list = []
        for _ in range(60):
            nested = [nested, nested]
        strange = pickle.dumps({"G_ema": foreign.Persistent(nested, {"_modules": {}})})
    refused(cli, written(tmp_path, "a.pkl", data), "far too many parts")
    refused(cli, written(tmp_path, "b.pkl", strange), "lacks the tensor")


def test_other_protocols_are_refused(cli, tmp_path):
    refused(cli, written(tmp_path, "a.pkl", b"\x80\x09N."), "protocol 9")
    for protocol in (0, 1):
        for content in ({"a": 1}, [1, "b"], (1, 2, 3, 4), np.float32(1)):
            path = written(tmp_path, "b.pkl", pickle.dumps(content, protocol=protocol))
            refused(cli, path, "protocol 0 or 1; protocols 2 to 5 are read")


@pytest.mark.parametrize(
    ("data", "told"),
    [
        (b"", "it is empty"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 381624121\n", "git lfs pull"),
        (b"<!DOCTYPE html><html><title>Quota exceeded</title></html>", "a web page"),
        (b"(nothing of this kind).", "no network file of any kind"),
    ],
)
def test_what_failed_downloads_leave_is_called_by_its_name(data, told, cli, tmp_path):
    refused(cli, written(tmp_path, "ffhq.pkl", data), told)


def test_missing_and_extra_tensors_are_listed(cli, tmp_path):
    golden = of_kind("generator")[0]
    tensors = golden.under("param/G.")
    tensors["synthesis.b8.conv0.surprise"] = torch.ones(3)
    del tensors["synthesis.b8.conv1.bias"]
    path = written(tmp_path, "a.pkl", nvidia_bytes(tensors, golden.config["G"]))
    refused(cli, path, "synthesis.b8.conv1.bias", "is missing", "synthesis.b8.conv0.surprise [3] is not wanted")
    ros = of_kind("rosinality_conversion")[0].under("ckpt/g_ema/")
    ros["surprise"] = torch.ones(2)
    del ros["conv1.noise.weight"]
    path = written(tmp_path, "b.pt", torch_bytes({"g_ema": ros}))
    refused(cli, path, "conv1.noise.weight is missing", "surprise is not wanted")


def test_alias_free_and_xl_networks_are_named_and_refused(cli, tmp_path):
    with foreign_modules() as foreign:
        make = foreign.Persistent
        layers = {"input": make("SynthesisInput", {}), "L0_36_512": make("SynthesisLayer", {})}
        g = make("Generator", {"_modules": {"synthesis": make("SynthesisNetwork", {"_modules": layers})}})
        xl = make("SuperresGenerator", {"_modules": {}})
        stylegan3, stylegan_xl = (pickle.dumps({"G": x, "D": None, "G_ema": x}) for x in (g, xl))
        timm = b"\x80\x04\x8c\x16ProjectedDiscriminatorcpg_modules.discriminator\nProjectedDiscriminator\n."
    refused(cli, written(tmp_path, "a.pkl", stylegan3), "StyleGAN3", "configuration T or R")
    refused(cli, written(tmp_path, "b.pkl", stylegan_xl), "StyleGAN-XL")
    refused(cli, written(tmp_path, "c.pkl", timm), "pg_modules", "StyleGAN-XL")


def test_destinations_are_checked_first(cli, tmp_path):
    source = ours(tmp_path)
    for words, told in (
        ((source, tmp_path / "a.pt"), "--to rosinality or --to nvidia"),
        ((source, tmp_path / "a.bin"), "ends in .safetensors"),
        ((source, source, "--force"), "the file that is read"),
    ):
        code, _, err = cli("convert", *words)
        assert (code, told in err) == (2, True), err
