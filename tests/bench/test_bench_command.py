from __future__ import annotations

import json

import pytest

from capriccio.cli.main import main

SIZES = {"resolution": 16, "channel-base": 64, "channel-max": 4, "mapping-depth": 1, "batch": 2, "iterations": 1}
TINY = ["--device", "cpu", *[f"--{name}={value}" for name, value in SIZES.items()]]


def test_json_has_the_figures_that_others_read_and_nothing_else_on_stdout(capsys):
    assert main(["bench", "--json", "--precision", "fp32", *TINY]) == 0
    report = json.loads(capsys.readouterr().out)
    for key in (
        "train_images_per_second", "generate_images_per_second", "train_share_of_peak", "generate_share_of_peak",
        "convolution_peak_gflops", "optimizer_milliseconds", "ema_milliseconds", "memory_mib",
    ):  # fmt: skip
        assert report[key] > 0, key
    assert set(report["phase_images_per_second"]) == {"Gmain", "Greg", "Dmain", "Dreg"}
    assert set(report["startup_seconds"]) == {"help", "import"}
    assert report["fp32"]["train_images_per_second"] == report["train_images_per_second"]
    assert report["configuration"]["resolution"] == "16"


def test_the_table_names_every_phase(capsys):
    assert main(["bench", "--precision", "fp32", *TINY]) == 0
    told = capsys.readouterr().out
    assert all(phase in told for phase in ("Gmain", "Greg", "Dmain", "Dreg", "share of the peak", "optimiser"))


def test_augmentation_and_data_are_measured_where_asked_for(tmp_path, capsys):
    assert main(["dataset", "synth", str(tmp_path / "data.zip"), "--count", "8", "--size", "16"]) == 0
    capsys.readouterr()
    flags = ["--augment", "bgc", "--augment-p", "0.25", "--data", str(tmp_path / "data.zip")]
    assert main(["bench", "--json", "--precision", "bf16", *flags, *TINY]) == 0
    report = json.loads(capsys.readouterr().out)
    cost = report["augmentation"].pop("relative_cost")
    assert report["augmentation"] == {"pipe": "bgc", "p": 0.25}
    assert cost > 0 < report["data_share_of_iteration"]
    assert report["machine"]["precision"] == "bf16"
    assert report["fp32"]["train_images_per_second"] != report["train_images_per_second"]


@pytest.mark.parametrize(
    ("words", "named"),
    [
        ("--batch 0", "--batch"),
        ("--iterations 0", "--iterations"),
        ("--resolution 65", "65"),
        ("--data nowhere", "--data"),
    ],
)
def test_bad_usage_is_one_line_that_names_the_flag(words, named, capsys):
    assert main(["bench", *TINY, *words.split()]) == 2
    errors = capsys.readouterr().err.strip().splitlines()
    assert len([line for line in errors if "error" in line]) == 1
    assert named in errors[-1]
