"""Sheets of samples."""

from __future__ import annotations

import numpy as np
import torch

from capriccio.data.dataset import open_dataset
from capriccio.training.samples import SampleSheet
from tests.training.tiny import CPU, SHAPE, run_config, write_archive


def test_fakes_have_the_classes_of_the_real_pictures_on_their_sheet(tmp_path):
    """In an archive that is sorted by class the first pictures are all of one."""
    archive = write_archive(tmp_path / "sorted.zip", count=400, classes=[0] * 300 + [1] * 100)
    dataset = open_dataset(archive, labels=True, holdout=0, cache="none").train
    sheet = SampleSheet(run_config(c_dim=2).generator, dataset, CPU)
    chosen = np.random.RandomState(0).permutation(400)[: 18 * 10]
    assert torch.equal(sheet._c, torch.from_numpy(dataset.labels(chosen)))
    assert 20 < int(sheet._c[:, 1].sum()) < 80
    assert sheet._c.shape == (180, 2)
    assert dataset.shape == SHAPE
