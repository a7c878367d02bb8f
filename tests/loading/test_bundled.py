from __future__ import annotations

import pytest

from capriccio.errors import SnapshotError
from capriccio.loading import bundled
from capriccio.loading.bundled import best_painter, bundled_names, bundled_path


@pytest.fixture
def present(tmp_path, monkeypatch, request):
    monkeypatch.setattr(bundled, "FOLDER", tmp_path)
    for name in request.param:
        (tmp_path / f"{name}.safetensors").touch()
    return tmp_path


@pytest.mark.parametrize("present", [["landscapes-128", "alps", "landscapes-64"]], indirect=True)
def test_one_model_does_everything_and_another_paints_best(present):
    assert bundled_names() == ["landscapes-64", "landscapes-128", "alps"]
    assert bundled_path() == present / "landscapes-64.safetensors"
    assert best_painter() == "landscapes-128"


@pytest.mark.parametrize(("present", "name"), [(["alps"], "alps"), ([], None)], indirect=["present"])
def test_without_the_best_painter_the_first_one_paints(present, name):
    assert best_painter() == name


@pytest.mark.parametrize("present", [["alps"]], indirect=True)
def test_a_name_that_is_not_there_is_told_with_those_that_are(present):
    with pytest.raises(SnapshotError, match=r"'alp' is not a bundled model.*alps"):
        bundled_path("alp")
