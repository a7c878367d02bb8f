from __future__ import annotations

import re

import pytest

from capriccio.cli.main import main
from capriccio.loading.bundled import bundled_names

HEADINGS = (
    "Pictures to learn from",
    "Training from scratch",
    "Mixing two pictures",
    "A walk",
    "From a picture back to its latent",
)
ONLY_WITH_A_BUNDLED_MODEL = ("Fine-tuning", "Did this network make this picture?")


def short_tour(folder, monkeypatch):
    monkeypatch.setenv("CAPRICCIO_CACHE", str(folder / "cache"))
    monkeypatch.setattr("capriccio.cli.tour.learning.PAINTED", 160)
    monkeypatch.setattr("capriccio.cli.tour.learning.WARM_UP_KIMG", 0.064)
    assert main(["demo", "--out", str(folder / "tour"), "--minutes", "0.02", "--device", "cpu"]) == 0
    return (folder / "tour" / "report.html").read_text()


@pytest.mark.slow
def test_the_tour_ends_in_one_page_that_loads_nothing(tmp_path, monkeypatch, capsys):
    page = short_tour(tmp_path, monkeypatch)
    assert f"report lies in {tmp_path / 'tour' / 'report.html'}" in capsys.readouterr().out
    assert not re.findall(r'(?:src|href)="(?!data:|#)', page)
    assert [heading for heading in HEADINGS if heading not in page] == []
    for heading in ONLY_WITH_A_BUNDLED_MODEL:
        assert (heading in page) == bool(bundled_names())
    if bundled_names():
        verdicts = re.findall(r"<td>((?:seed|painting) \d+)</td><td>([^<]*)</td>", page)
        assert {name.split()[0]: verdict for name, verdict in verdicts} == {
            "seed": "made by this network",
            "painting": "not made by this network",
        }
    assert page.count("<img") >= 12


@pytest.mark.slow
def test_without_a_bundled_model_the_tour_projects_into_its_own_and_gives_no_verdicts(tmp_path, monkeypatch):
    monkeypatch.setattr("capriccio.loading.bundled.FOLDER", tmp_path / "no-models")
    page = short_tour(tmp_path, monkeypatch)
    assert [heading for heading in HEADINGS if heading not in page] == []
    assert [heading for heading in ONLY_WITH_A_BUNDLED_MODEL if heading in page] == []
