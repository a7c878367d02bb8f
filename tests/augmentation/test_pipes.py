from __future__ import annotations

from dataclasses import fields, replace
from typing import get_args

import pytest

from capriccio.augmentation.pipes import FEW_PICTURES, PIPES, describe, settled, transformations
from capriccio.config import AugmentConfig, PipeName, Transformations, TransformationSettings
from capriccio.errors import ConfigError


def test_every_name_of_a_pipe_has_its_transformations():
    assert set(PIPES) == set(get_args(PipeName))
    assert all(pipe.enabled for pipe in PIPES.values())


def test_the_letters_add_up():
    letters = ["bg", "bgc", "bgcf", "bgcfn", "bgcfnc"]
    parts = [("blit", "geom"), ("color",), ("filter",), ("noise",), ("cutout",)]
    names: list[str] = []
    for letter, added in zip(letters, parts, strict=True):
        for part in added:
            names += PIPES[part].enabled
        assert PIPES[letter].enabled == tuple(names)
    assert len(names) == 15


def test_landscapes_stay_upright_and_keep_their_hues():
    assert not {"rotate90", "rotate", "hue", "lumaflip"} & set(PIPES["landscapes"].enabled)
    assert {"xflip", "scale", "brightness"} <= set(PIPES["landscapes"].enabled)
    assert PIPES["landscapes"].scale_std < PIPES["bgc"].scale_std


def test_single_transformations_are_put_over_the_pipe():
    config = AugmentConfig(mode="ada", transformations=TransformationSettings(rotate90=0.0, noise=0.5, scale_std=0.1))
    assert transformations(config) == replace(PIPES["bgc"], rotate90=0.0, noise=0.5, scale_std=0.1)


def test_every_transformation_can_be_set_one_by_one():
    assert {f.name for f in fields(TransformationSettings)} == {f.name for f in fields(Transformations)}


@pytest.mark.parametrize(
    ("config", "words"),
    [
        (AugmentConfig(), "none"),
        (AugmentConfig(mode="fixed", pipe="blit", p=0.3), "fixed p = 0.3; pipe blit: xflip, rotate90, xint"),
        (AugmentConfig(mode="light"), "always, p = 1; pipe light: xint, brightness"),
        (AugmentConfig(mode="ada", kimg=100.0), r"adaptive, p follows r_t to 0.6 and never exceeds 0.8 (100 kimg"),
        (AugmentConfig(mode="ada", transformations=TransformationSettings(hue=0.0)), "pipe bgc with changes: xflip"),
    ],
)
def test_the_start_up_line_says_what_is_done(config, words):
    assert words in describe(config, 3)


def test_it_says_what_other_channels_go_without():
    config = AugmentConfig(mode="ada")
    assert "no colour transformations, which 2 channels have no meaning for" in describe(config, 2)
    assert "alpha only moves" in describe(config, 4)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: AugmentConfig(p=1.5), r"p must lie in 0\.\.1, got 1\.5"),
        (lambda: AugmentConfig(cap=0.0), r"cap must lie"),
        (lambda: AugmentConfig(target=2.0, kimg=0.0), r"target must lie in -1\.\.1, got 2\.0; kimg must be positive"),
        (lambda: Transformations(scale_std=-0.1), r"scale_std must be at least 0"),
        (lambda: Transformations(imgfilter_bands=(1.0, 1.0)), r"imgfilter_bands must be four numbers"),
    ],
)
def test_settings_out_of_range_are_refused(make, message):
    with pytest.raises(ConfigError, match=message):
        make()


def test_auto_augments_few_pictures_and_leaves_other_modes_alone():
    auto = AugmentConfig(mode="auto", pipe="landscapes")
    assert settled(auto, FEW_PICTURES - 1) == AugmentConfig(mode="ada", pipe="landscapes")
    assert settled(auto, FEW_PICTURES).mode == "none"
    assert settled(AugmentConfig(mode="fixed"), 10).mode == "fixed"
    assert f"fewer than {FEW_PICTURES:,}" in describe(auto, 3)
