"""Going on from a travelling snapshot does no harm: losses stay where those of the uninterrupted run are."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from capriccio.training.train import train
from tests.training.tiny import run_config

BEFORE_KIMG, AFTER_KIMG = 1.0, 2.0


def losses_after_the_seam(run: Path) -> dict[str, list[float]]:
    """Return the means of each tick in the kimg after the seam."""
    ticks = [json.loads(line) for line in (run / "stats.jsonl").read_text().splitlines()]
    after = [tick for tick in ticks if 1000 * BEFORE_KIMG + 10 < tick["nimg"] <= 1000 * AFTER_KIMG]
    return {name: [tick[name]["mean"] for tick in after] for name in ("Loss/G/loss", "Loss/D/loss")}


@pytest.mark.slow
def test_losses_after_the_seam_stay_in_the_band_of_the_run_that_was_not_moved(archive, tmp_path):
    config = run_config(archive, total_kimg=AFTER_KIMG)
    config = replace(config, saving=replace(config.saving, kimg_per_tick=0.1, travelling=True), batch=32)
    train(config, tmp_path / "whole", echo=lambda line: None)
    train(replace(config, total_kimg=BEFORE_KIMG), tmp_path / "home", echo=lambda line: None)
    travelling = tmp_path / "home" / "travelling.safetensors"
    train(config, tmp_path / "away", continue_from=str(travelling), echo=lambda line: None)
    whole, away = losses_after_the_seam(tmp_path / "whole"), losses_after_the_seam(tmp_path / "away")
    for name, expected in whole.items():
        assert len(away[name]) >= 8
        band = max(expected) - min(expected)
        assert min(expected) - band < min(away[name]) <= max(away[name]) < max(expected) + band, (name, expected, away)
