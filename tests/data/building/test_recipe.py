from __future__ import annotations

import pytest

from capriccio.data import Recipe
from capriccio.errors import ConfigError


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"crops": 3}, "--crops 3 contradicts --crop centre"),
        ({"crops": 0, "crop": "random"}, "--crops must be at least 1"),
        ({"crop": "center"}, "--crop must be one of centre, .* got 'center'. Did you mean 'centre'"),
        ({"channels": 2}, "--channels must be 1"),
        ({"channels": 4, "image_format": "jpeg"}, "jpeg cannot hold RGBA"),
        ({"channels": 1, "image_format": "webp"}, "webp keeps neither grey nor RGBA"),
        ({"background": (0, 0, 256)}, "--background must be three numbers"),
        ({"max_enlarge": 0.5}, r"--max-enlarge must lie in 1\.\.8"),
        ({"max_aspect": 0.5}, "--max-aspect is longer over shorter"),
        ({"duplicate_distance": 17}, r"--duplicate-distance must lie in 0\.\.16"),
        ({"flat": "maybe"}, "--flat must be one of drop, report, ignore"),
    ],
)
def test_what_contradicts_itself_is_refused(settings, message):
    with pytest.raises(ConfigError, match=message):
        Recipe(**settings)


def test_an_aspect_limit_that_excludes_the_size_itself_is_refused():
    with pytest.raises(ConfigError, match=r"--max-aspect 1\.2 contradicts the size 64×96, whose own aspect is 1\.5"):
        Recipe(max_aspect=1.2).check_size((64, 96))
    Recipe(max_aspect=1.5).check_size((64, 96))


def test_a_recipe_survives_its_archive():
    recipe = Recipe(channels=4, crop="random", crops=3, seed=5, background=(1, 2, 3), text="drop", max_aspect=2.5)
    assert Recipe.from_dict(recipe.to_dict()) == recipe
    with pytest.raises(ConfigError, match=r"of a later version \(sparkle\)"):
        Recipe.from_dict(recipe.to_dict() | {"sparkle": 1})


def test_the_format_suits_the_channels():
    assert [Recipe(channels=channels).stored_format for channels in (1, 3, 4)] == ["png", "webp", "png"]
    assert Recipe(channels=1, image_format="jpeg").stored_format == "jpeg"
