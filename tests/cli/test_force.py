"""Nothing that is saved is written over unless ``--force`` says so."""

from __future__ import annotations

import pytest

from capriccio.loading.model import load
from capriccio.snapshots.snapshot import save_snapshot
from tests.loading.test_model import snapshot


@pytest.mark.parametrize(
    ("argv", "flag"),
    [
        (["convert", "{model}", "{kept}"], "DEST"),
        (["blend", "{model}", "{model}", "--share", "0.5", "--out", "{kept}"], "--out"),
        (["calibrate", "--model", "{model}", "--out", "{kept}"], "--out"),
        (["export", "--model", "{model}", "--format", "torch", "--out", "{kept}.pt2"], "--out"),
    ],
)
def test_a_file_that_is_there_is_not_written_over(argv, flag, cli, tmp_path):
    model, kept = tmp_path / "model.safetensors", tmp_path / "kept.safetensors"
    save_snapshot(model, snapshot())
    for path in (kept, tmp_path / "kept.safetensors.pt2"):
        path.write_bytes(b"a year of work")
    code, out, err = cli(*(word.format(model=model, kept=kept) for word in argv))
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert err.startswith(f"capriccio: error: {flag}: '{kept}")
    assert "--force replaces it" in err
    assert kept.read_bytes() == b"a year of work"


def test_force_replaces_it(cli, tmp_path):
    model, kept = tmp_path / "model.safetensors", tmp_path / "kept.safetensors"
    save_snapshot(model, snapshot())
    kept.write_bytes(b"an hour of work")
    assert cli("convert", model, kept, "--force")[0] == 0
    assert load(kept).model_hash == load(model).model_hash
