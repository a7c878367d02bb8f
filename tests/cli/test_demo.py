from __future__ import annotations

import re

import pytest

from capriccio.cli.main import main
from capriccio.loading.bundled import bundled_names


@pytest.mark.slow
def test_the_tour_ends_in_one_page_that_loads_nothing(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("CAPRICCIO_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr("capriccio.cli.demo.PAINTED", 160)
    monkeypatch.setattr("capriccio.cli.demo.WARM_UP_KIMG", 0.064)
    folder = tmp_path / "tour"
    assert main(["demo", "--out", str(folder), "--minutes", "0.02", "--device", "cpu"]) == 0
    assert f"report lies in {folder / 'report.html'}" in capsys.readouterr().out
    page = (folder / "report.html").read_text()
    assert not re.findall(r'(?:src|href)="(?!data:|#)', page)
    for heading in ("Pictures to learn from", "Training from scratch", "Mixing two pictures", "A walk"):
        assert heading in page
    assert ("Fine-tuning" in page) == bool(bundled_names())
    assert page.count("<img") >= 10
