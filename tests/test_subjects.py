"""What a subject chooses, and what goes before it."""

from __future__ import annotations

from typing import get_args

import pytest

from capriccio.augmentation.pipes import PIPES
from capriccio.cli.run_settings import resolve_run
from capriccio.config import ImageShape, SubjectName
from capriccio.errors import ConfigError
from capriccio.presets import auto_gamma, preset
from capriccio.subjects import SUBJECTS, explain_gamma, with_subject

SHAPE = ImageShape(height=64, width=96)


def test_every_subject_has_its_choices_and_a_pipe():
    assert set(SUBJECTS) == set(get_args(SubjectName))
    assert all(subject.pipe in PIPES for subject in SUBJECTS.values())


@pytest.mark.parametrize("name", ["landscapes", "faces", "cars", "art"])
def test_what_has_an_up_is_not_turned_and_keeps_its_hues(name):
    pipe = PIPES[SUBJECTS[name].pipe]
    assert pipe.rotate90 == pipe.hue == pipe.lumaflip == 0
    assert bool(pipe.xflip) == SUBJECTS[name].mirror


def test_a_subject_goes_before_the_preset_and_behind_what_is_given():
    run = resolve_run({"preset": "laptop", "subject": "faces", "augment": {"pipe": "blit"}}, SHAPE)
    assert run.subject == "faces"
    assert run.generator.mapping.num_layers == 8
    assert run.data.mirror
    assert run.augment.pipe == "blit"
    assert run.generator.channel_base == preset("laptop", SHAPE).generator.channel_base


def test_gamma_follows_the_rule_for_the_batch_that_is_trained_with():
    for given, factor in (({}, 1.0), ({"subject": "landscapes"}, 4.0)):
        run = resolve_run(given | {"batch": 8}, SHAPE)
        assert run.loss.r1_gamma == pytest.approx(factor * auto_gamma(SHAPE, 8))
        assert "0.0002·64·96/8" in explain_gamma(run)
    assert "times 4 for landscapes" in explain_gamma(run)


def test_gamma_that_is_given_or_published_stays():
    given = resolve_run({"subject": "landscapes", "loss": {"r1_gamma": 3.5}}, SHAPE)
    assert (given.loss.r1_gamma, explain_gamma(given)) == (3.5, "as given")
    published = resolve_run({"preset": "paper256", "batch": 32}, SHAPE)
    assert (published.loss.r1_gamma, explain_gamma(published)) == (1.0, "of the preset paper256")


def test_an_unknown_subject_names_the_nearest():
    with pytest.raises(ConfigError, match=r"'landscape' is no subject\. .*'landscapes'"):
        resolve_run({"subject": "landscape"}, SHAPE)


def test_a_subject_changes_nothing_of_the_networks_but_the_mapping():
    before, after = preset("auto", SHAPE), with_subject(preset("auto", SHAPE), "art")
    assert after.discriminator == before.discriminator
    assert after.generator.channel_base == before.generator.channel_base
