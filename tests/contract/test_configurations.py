"""Every configuration goes to JSON and YAML and comes back the same; every preset is one that runs."""

from __future__ import annotations

import dataclasses
import inspect
import json

import pytest
import yaml

from capriccio import config as settings
from capriccio.cli.train import _parser, configure
from capriccio.config import ImageShape, RunConfig, from_dict, to_dict
from capriccio.errors import ConfigError
from capriccio.presets import PRESETS, about, preset

CONFIGURATIONS = [value for _, value in inspect.getmembers(settings, dataclasses.is_dataclass)]


def test_all_configurations_are_seen():
    assert {RunConfig, ImageShape} < set(CONFIGURATIONS)


@pytest.mark.parametrize("cls", CONFIGURATIONS, ids=lambda cls: cls.__name__)
def test_a_configuration_comes_back_from_json(cls):
    assert from_dict(cls, json.loads(json.dumps(to_dict(cls())))) == cls()


@pytest.mark.parametrize("cls", CONFIGURATIONS, ids=lambda cls: cls.__name__)
def test_a_configuration_is_frozen_and_explains_every_field(cls):
    instance = cls()
    with pytest.raises(dataclasses.FrozenInstanceError):
        setattr(instance, dataclasses.fields(cls)[0].name, None)
    source = inspect.getsource(cls).splitlines()
    for field in dataclasses.fields(cls):
        line = next(i for i, text in enumerate(source) if text.strip().startswith(f"{field.name}:"))
        assert source[line + 1].strip().startswith('"""'), f"{cls.__name__}.{field.name} has no docstring"


@pytest.mark.parametrize("shape", [ImageShape(), ImageShape(height=256, width=384), ImageShape(channels=1)], ids=str)
@pytest.mark.parametrize("name", PRESETS)
def test_a_preset_comes_back_from_json_and_says_what_it_is_for(name, shape):
    run = preset(name, shape, c_dim=3)
    assert run.preset == name
    assert run.generator.shape == run.discriminator.shape == shape
    assert from_dict(RunConfig, json.loads(json.dumps(to_dict(run)))) == run
    assert about(name)


@pytest.mark.parametrize("name", PRESETS)
def test_the_command_line_reads_a_preset_that_was_written_to_a_file(name, tmp_path):
    run = preset(name, ImageShape())
    path = tmp_path / "run.yaml"
    path.write_text(yaml.safe_dump(to_dict(run) | {"data": {"path": "photos.zip"}}))
    read = configure(_parser().read(["--config", str(path)], defaults=False), num_processes=1)
    assert dataclasses.replace(read, data=run.data) == run


@pytest.mark.parametrize(
    ("section", "values", "told"),
    [
        ("MappingConfig", {"hidden_dim": 0}, "hidden_dim must be at least 1"),
        ("MappingConfig", {"embed_dim": -1}, "embed_dim must be at least 1"),
        ("GeneratorConfig", {"resample_filter": ()}, "resample_filter must have taps whose sum is not 0"),
        ("GeneratorConfig", {"num_fp16_res": -1}, "num_fp16_res must be at least 0"),
        ("DiscriminatorConfig", {"cmap_dim": 0}, "cmap_dim must be at least 1"),
        ("DiscriminatorConfig", {"mbstd_num_channels": 3}, "mbstd_num_channels must divide the last 512 maps"),
        ("Transformations", {"cutout_size": 5.0}, "cutout_size must be at most 1"),
        ("SavingConfig", {"disk_budget_gb": 0.0}, "disk_budget_gb must be positive"),
        ("RunConfig", {"seed": -1}, "seed must lie in"),
        ("RunConfig", {"seed": 2**32}, "seed must lie in"),
    ],
)
def test_what_no_run_could_use_is_refused_in_words(section, values, told):
    (cls,) = (cls for cls in CONFIGURATIONS if cls.__name__ == section)
    with pytest.raises(ConfigError, match=told):
        cls(**values)
