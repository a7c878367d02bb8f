"""``capriccio train``: which value wins, what is refused, and that it trains."""

from __future__ import annotations

import json

import pytest
import yaml

from capriccio.cli.train import _parser, configure
from capriccio.config import ImageShape, RunConfig, from_dict, to_dict
from capriccio.errors import UsageError
from capriccio.presets import preset
from capriccio.snapshots.snapshot import Snapshot, SnapshotFacts, save_snapshot
from capriccio.training.state import new_state
from tests.data.shard_server import write_shards
from tests.training.tiny import CPU, run_config


def configured(*argv: object, num_processes: int = 1) -> RunConfig:
    given = _parser().read([str(word) for word in argv], defaults=False)
    return configure(given, num_processes=num_processes)


def test_without_flags_a_run_is_its_preset_at_the_shape_of_the_data(archive):
    expected = to_dict(preset("tiny", ImageShape(height=16, width=24)))
    expected["data"]["path"] = str(archive)
    assert configured(archive, "--preset", "tiny") == from_dict(RunConfig, expected)


def test_files_win_over_the_preset_and_flags_over_files(archive, tmp_path):
    path = tmp_path / "run.yaml"
    path.write_text("preset: tiny\nseed: 7\nloss: {r1_gamma: 3, pl_weight: 0}\ndata: {mirror: true}\n")
    config = configured(archive, "--gamma", "5", "--config", path, "--no-mirror")
    assert (config.preset, config.batch) == ("tiny", preset("tiny", config.generator.shape).batch)
    assert (config.seed, config.loss.pl_weight) == (7, 0.0)
    assert (config.loss.r1_gamma, config.data.mirror) == (5.0, False)


def test_a_flag_names_another_preset_than_the_file(archive, tmp_path):
    path = tmp_path / "run.yaml"
    path.write_text("preset: laptop\nseed: 7\n")
    config = configured(archive, "--config", path, "--preset", "tiny")
    assert config.preset == "tiny"
    assert config.seed == 7
    assert config.generator.channel_max == preset("tiny", config.generator.shape).generator.channel_max


def test_the_saved_configuration_of_a_run_gives_the_same_run(archive, tmp_path):
    config = configured(archive, "--preset", "cifar", "--size", "8x12", "--gamma", "0.3", "--cond", "--seed", "3")
    path = tmp_path / "config.yaml"
    path.write_text(yaml.safe_dump(to_dict(config)))
    assert configured("--config", path) == config


@pytest.mark.parametrize(
    ("flags", "field"),
    [
        (["--kimg", "1.5"], ("total_kimg", 1.5)),
        (["--batch-per-round", "2"], ("batch_per_round", 2)),
        (["--batch_per_round", "null"], ("batch_per_round", None)),
        (["--cond"], ("data.labels", True)),
        (["--mirror"], ("data.mirror", True)),
        (["--subset", "9"], ("data.subset", 9)),
        (["--holdout", "0"], ("data.holdout", 0)),
        (["--cache", "device"], ("data.cache", "device")),
        (["--freeze-d", "3"], ("discriminator.freeze_layers", 3)),
        (["--snapshot-minutes", "7"], ("saving.snapshot_minutes", 7.0)),
        (["--snapshot-kimg", "8"], ("saving.snapshot_kimg", 8.0)),
        (["--kimg-per-tick", "2"], ("saving.kimg_per_tick", 2.0)),
        (["--cuda-graphs", "off"], ("cuda_graphs", "off")),
        (["--cuda_graphs", "off"], ("cuda_graphs", "off")),
        (["--total-kimg", "2"], ("total_kimg", 2.0)),
        (["--compile"], ("compile", True)),
        (["--precision", "fp32"], ("precision", "fp32")),
        (["--generator.mapping.num_layers", "5"], ("generator.mapping.num_layers", 5)),
        (["--loss.r1_interval", "null"], ("loss.r1_interval", None)),
        (["--no-generator.use_noise"], ("generator.use_noise", False)),
    ],
)
def test_every_number_has_a_flag(flags, field, archive):
    value = configured(archive, "--preset", "tiny", *flags)
    for name in field[0].split("."):
        value = getattr(value, name)
    assert value == field[1]


def test_sizes_are_square_by_resolution_and_free_by_size(archive):
    assert configured(archive, "--size", "8x12").generator.shape == ImageShape(height=8, width=12)
    shape = ["--generator.shape.channels", "3"]  # with all three numbers given the data is not looked at
    assert configured(archive, "--resolution", "64", *shape).discriminator.shape == ImageShape(height=64, width=64)


def test_auto_follows_size_and_processes(archive):
    one, four = configured(archive), configured(archive, num_processes=4)
    assert four.batch > one.batch
    assert four.loss.r1_gamma < one.loss.r1_gamma
    assert four.batch % (4 * four.batch_per_round) == 0


@pytest.mark.parametrize(
    ("batch", "processes", "round_size"),
    [(32, 1, 8), (8, 1, 8), (8, 2, 4), (6, 1, 6), (14, 1, 7)],
)
def test_rounds_fit_the_share_of_a_process_and_need_no_more_memory_than_the_preset(
    batch, processes, round_size, archive
):
    config = configured(archive, "--preset", "tiny", "--batch", batch, num_processes=processes)
    assert preset("tiny", config.generator.shape).batch_per_round == 8
    assert config.batch_per_round == round_size


@pytest.mark.parametrize(
    ("argv", "told"),
    [
        (["{zip}", "--preset", "laptob"], "'laptob' is not a preset. Did you mean 'laptop'?"),
        (["{zip}", "--loss.r1_gama", "5"], "not a flag of 'capriccio train'. Did you mean '--loss.r1_gamma'?"),
        (["{zip}", "--r1_gama", "5"], "Did you mean '--loss.r1_gamma'?"),
        (["{zip}", "--lr", "0.1"], "'--lr' is not a flag of 'capriccio train'. Did you mean '--optimizer.gen"),
        (["{zip}", "--model", "x"], "Did you mean '--init-from'?"),
        (["{zip}", "--xyz", "x"], "'--xyz' is not a flag of 'capriccio train'.\n"),
        (["{zip}", "--out", "{zip}"], "--out: '{zip}' is a file; name a folder"),
        (["{zip}", "--batch", "15", "--batch_per_round", "4"], "batch 15 must be a multiple of batch_per_round 4"),
        (["{zip}", "--resolution", "8", "--size", "8x12"], "--resolution and --size say the same thing"),
        (["{zip}", "--resolution", "200", "--generator.shape.channels", "3"], "--resolution: 200×200 cannot be"),
        (["{zip}", "--resolution", "64"], "too small for 64×64"),
        (["{zip}", "--resolution", "8"], "another aspect"),
        (["{zip}", "--precision", "fp8"], "--precision: Expected one of auto, fp32, bf16, fp16. Got value: fp8"),
        (["{zip}", "--gamma", "-1"], "r1_gamma"),
        (["{zip}", "--kimg", "0"], "--kimg must be above 0"),
        (["{zip}", "--epochs", "3"], "'--epochs' is not a flag of 'capriccio train'.\n"),
        (["{zip}"], "--out"),
        (["missing.zip", "--out", "x"], "'missing.zip' does not exist"),
        (["--out", "x"], "DATA: name the pictures"),
    ],
)
def test_what_cannot_be_trained_is_told_in_one_line(argv, told, archive, cli, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    code, out, err = cli("train", *(str(archive) if word == "{zip}" else word for word in argv))
    assert code == 2
    assert err.startswith("capriccio: error: ")
    assert told.replace("{zip}", str(archive)) in err
    assert err.count("\n") == 1
    assert out == ""
    assert list(tmp_path.iterdir()) == []


def test_a_batch_that_does_not_divide_by_the_processes_is_refused(archive, cli, monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "2")
    code, _, err = cli("train", archive, "--out", "x", "--batch", "15", "--preset", "tiny")
    assert code == 2
    assert "--batch: 15 pictures cannot be shared evenly by 2 processes; the nearest batch is 16." in err


def test_a_run_from_a_network_has_its_architecture_unless_flags_say_otherwise(archive, cli, tmp_path):
    source = run_config()
    state = new_state(source, CPU)
    file = tmp_path / "source.safetensors"
    save_snapshot(
        file, Snapshot(generator=state.generator_ema, discriminator=state.discriminator, facts=SnapshotFacts())
    )
    config = configured(archive, "--preset", "tiny", "--subject", "faces", "--init-from", file)
    for name in ("z_dim", "w_dim", "channel_base", "channel_max", "mapping"):
        assert getattr(config.generator, name) == getattr(source.generator, name), name
    assert config.discriminator.channel_base == 128
    assert config.generator.shape == ImageShape(height=16, width=24)
    assert config.batch == configured(archive, "--preset", "tiny", "--subject", "faces").batch
    wider = configured(archive, "--init-from", file, "--generator.channel_max", "16")
    assert (wider.generator.channel_max, wider.generator.channel_base) == (16, 128)

    save_snapshot(tmp_path / "slim.safetensors", Snapshot(generator=state.generator_ema, discriminator=None,
                                                          facts=SnapshotFacts()))  # fmt: skip
    assert configured(archive, "--init-from", tmp_path / "slim.safetensors").discriminator.channel_max == 8

    line = ["train", archive, "--out", tmp_path / "run", "--preset", "tiny", "--init-from", file, "--holdout", "0",
            "--precision", "fp32", "--resume", "--kimg"]  # fmt: skip
    assert cli(*line, "0.008")[0] == 0
    file.unlink()
    code, out, err = cli(*line, "0.016")
    assert (code, "Resumed" in out) == (0, True), err


def test_a_dry_run_prints_a_configuration_that_can_be_given_again(archive, cli, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    code, out, _ = cli("train", archive, "--out", "run", "--preset", "tiny", "--gamma", "3", "--dry-run")
    assert code == 0
    assert list(tmp_path.iterdir()) == []
    path = tmp_path / "again.yaml"
    path.write_text(out)
    assert configured("--config", path) == configured(archive, "--preset", "tiny", "--gamma", "3")
    notes = [line.split()[1] for line in out.splitlines() if line.startswith("#")]
    assert {"generator", "discriminator", "memory", "time", "augmentation"} <= set(notes)


def test_the_same_line_starts_and_resumes_a_run(archive, cli, tmp_path):
    line = ["train", archive, "--out", tmp_path / "run", "--preset", "tiny", "--kimg", "0.016", "--resume"]
    line += ["--holdout", "0", "--precision", "fp32"]
    code, first, _ = cli(*line)
    assert code == 0
    assert "starting" in first
    saved = from_dict(RunConfig, yaml.safe_load((tmp_path / "run" / "config.yaml").read_text()))
    assert saved.total_kimg == 0.016
    assert saved.generator.shape == ImageShape(height=16, width=24)
    ticks = [json.loads(line) for line in (tmp_path / "run" / "stats.jsonl").read_text().splitlines()]
    assert ticks
    code, second, _ = cli(*line)
    assert code == 0
    assert "Resumed" in second
    code, _, err = cli("train", archive, "--out", tmp_path / "run", "--preset", "tiny")
    assert code == 2
    assert "--resume" in err


def test_shards_are_trained_on_where_they_lie(cli, tmp_path):
    shards = write_shards(tmp_path / "shards", [20, 20], size=(24, 20))
    code, out, err = cli(
        "train", shards, "--out", tmp_path / "run", "--resolution", "16", "--preset", "tiny", "--kimg", "0.016"
    )
    assert (code, err) == (0, "")
    assert "2 shards, streamed" in out
    assert yaml.safe_load((tmp_path / "run" / "config.yaml").read_text())["data"]["path"] == shards


def test_shards_need_a_size():
    with pytest.raises(UsageError, match="--resolution: say to which size pictures from shards are cut"):
        configured("https://host/set-{000..003}.tar")
