"""Exported graphs paint what PyTorch paints, at any batch size, and a graph that does not is never written."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from capriccio.config import GeneratorConfig, ImageShape, MappingConfig
from capriccio.errors import ConfigError, JobError, StorageError, UsageError
from capriccio.interop.export import METADATA_KEY, PortableGenerator, export_torch, largest_difference
from capriccio.interop.onnx_file import compare_in_onnxruntime, export_onnx
from capriccio.networks.generator import Generator
from capriccio.snapshots.snapshot import Snapshot, SnapshotFacts

TINY = GeneratorConfig(
    z_dim=8, w_dim=6, shape=ImageShape(height=16, width=24), channel_base=128, channel_max=8,
    mapping=MappingConfig(num_layers=2),
)  # fmt: skip
CONDITIONAL = replace(
    TINY, c_dim=3, architecture="resnet", conv_clamp=256.0, shape=ImageShape(channels=1, height=8, width=8)
)


def network(config: GeneratorConfig = TINY) -> Snapshot:
    """An untrained network in which noise and truncation show."""
    torch.manual_seed(0)
    generator = Generator(config).eval().requires_grad_(False)
    generator.w_avg.normal_()
    for conv in generator.synthesis.styled_convs():
        conv.noise_strength.fill_(0.3)
    return Snapshot(generator=generator, discriminator=None, facts=SnapshotFacts(licence="CC0-1.0"))


@pytest.fixture(scope="module")
def onnx_file(tmp_path_factory) -> Path:
    pytest.importorskip("onnxscript")
    path = tmp_path_factory.mktemp("onnx") / "tiny.onnx"
    export_onnx(network(), path)
    return path


def run_onnx(path: Path, **inputs: np.ndarray) -> np.ndarray:
    onnxruntime = pytest.importorskip("onnxruntime")
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    return session.run(None, {name: np.asarray(value, np.float32) for name, value in inputs.items()})[0]


@pytest.mark.slow
@pytest.mark.parametrize("psi", [0.0, 0.4, 1.0])
def test_onnx_paints_what_pytorch_paints_and_truncation_is_an_input(onnx_file, psi):
    z = np.random.RandomState(5).randn(4, 8)
    expected = network().generator(torch.from_numpy(z).float(), psi=psi).clamp(-1, 1)
    found = run_onnx(onnx_file, z=z, psi=np.float32(psi))
    assert found.shape == (4, 3, 16, 24)
    np.testing.assert_allclose(found, expected, atol=1e-4)


@pytest.mark.slow
def test_an_onnx_file_says_what_it_is(onnx_file):
    onnx = pytest.importorskip("onnx")
    properties = {entry.key: entry.value for entry in onnx.load(onnx_file).metadata_props}
    facts = json.loads(properties[METADATA_KEY])
    assert (facts["licence"], facts["height"], facts["width"], facts["noise"]) == ("CC0-1.0", 16, 24, "const")
    assert facts["inputs"] == {"z": ["batch", 8], "psi": []}


@pytest.mark.slow
def test_labels_and_noise_are_inputs_of_onnx_where_asked_for(tmp_path):
    pytest.importorskip("onnxscript")
    snapshot, path = network(CONDITIONAL), tmp_path / "c.onnx"
    report = export_onnx(snapshot, path, noise="input", cutoff=2)
    assert list(report.inputs) == ["z", "psi", "c", "noise0", "noise1", "noise2"]
    assert report.largest_difference < 1e-4
    portable = PortableGenerator(snapshot.generator, noise="input", cutoff=2)
    inputs = portable.draw_inputs(3, 0.5, torch.Generator().manual_seed(9))
    calm = inputs | {name: torch.zeros_like(value) for name, value in inputs.items() if name.startswith("noise")}
    relabelled = inputs | {"c": inputs["c"].roll(1, dims=1)}
    noisy = run_onnx(path, **{name: value.numpy() for name, value in inputs.items()})
    for changed in (calm, relabelled):
        assert np.abs(noisy - run_onnx(path, **{name: value.numpy() for name, value in changed.items()})).max() > 0.01


@pytest.mark.parametrize(
    "noise", ["input", pytest.param("const", marks=pytest.mark.slow), pytest.param("none", marks=pytest.mark.slow)]
)
def test_a_torch_package_runs_without_this_program(noise, tmp_path):
    snapshot, path = network(CONDITIONAL), tmp_path / "c.pt2"
    report = export_torch(snapshot, path, noise=noise)
    assert report.largest_difference < 1e-5
    assert "at most" in report.sentence()
    assert "batch sizes 1, 3, 8" in report.sentence()
    extra = {METADATA_KEY: ""}
    program = torch.export.load(path, extra_files=extra).module()
    portable = PortableGenerator(snapshot.generator, noise=noise)
    inputs = portable.draw_inputs(5, 0.3, torch.Generator().manual_seed(4))
    torch.testing.assert_close(portable.call_with(program, inputs), portable.call_with(portable, inputs))
    assert json.loads(extra[METADATA_KEY])["noise"] == noise


@pytest.mark.slow
def test_a_file_of_another_network_is_refused(onnx_file):
    other = network()
    other.generator.synthesis.blocks["8"].to_rgb.bias += 0.01
    with pytest.raises(JobError, match=r"batch of 1 differ from PyTorch's by .*tolerance of 0\.001; nothing was"):
        compare_in_onnxruntime(PortableGenerator(other.generator), onnx_file.read_bytes(), 1e-3)


def test_a_graph_that_remembers_the_batch_of_its_example_is_refused():
    portable = PortableGenerator(network().generator)
    with pytest.raises(JobError, match=r"batch of 3 came out as \[1, "):
        largest_difference(portable, lambda inputs: portable.call_with(portable, inputs)[:1], tolerance=1, what="x")


def test_numbers_that_are_none_are_refused():
    portable = PortableGenerator(network().generator)
    with pytest.raises(JobError, match="nan"):
        largest_difference(
            portable, lambda inputs: portable.call_with(portable, inputs) * float("nan"), tolerance=1, what="x"
        )


def test_what_cannot_be_written_is_told_before_the_work(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError, match="cannot be written"):
        export_torch(network(), tmp_path / "file" / "x.pt2")
    with pytest.raises(UsageError, match="is a folder"):
        export_torch(network(), tmp_path)


@pytest.mark.slow
def test_a_failed_export_leaves_nothing(tmp_path):
    with pytest.raises(JobError):
        export_torch(network(), tmp_path / "x.pt2", tolerance=-1.0)
    assert not list(tmp_path.iterdir())


def test_inputs_that_the_network_cannot_have_are_refused():
    with pytest.raises(ConfigError, match=r"--cutoff must lie in 0\.\.6"):
        PortableGenerator(network().generator, cutoff=7)
    with pytest.raises(ConfigError, match="has no noise"):
        PortableGenerator(Generator(replace(TINY, use_noise=False)), noise="input")


@pytest.mark.parametrize("missing", ["onnx", "onnxscript", "onnxruntime"])
def test_a_missing_package_names_the_extra(missing, tmp_path, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, missing, None)
    with pytest.raises(UsageError, match=rf"{missing}.*pip install 'capriccio\[export\]'"):
        export_onnx(network(), tmp_path / "x.onnx")
