"""The sheet of a blend, with the painted stand-in."""

import numpy as np
import pytest
from PIL import Image

from capriccio.errors import UsageError
from capriccio.provenance import read_provenance
from capriccio.rendering.blend_sheet import save_blend_sheet
from capriccio.rendering.look import Look


def test_every_model_has_a_column_with_its_own_pictures(painted, tmp_path):
    models = {"A": painted(), "blend": painted(), "B": painted()}
    models["blend"].images = lambda ws, **_: painted().images(ws) * 0 + 1
    path = save_blend_sheet(models, [1, 2], Look(), tmp_path / "sheet.png", batch=1)
    pixels = np.asarray(Image.open(path).convert("RGB")).astype(int)
    margin, cell, gap = 24, 96, 4
    right = pixels[-margin - cell - gap : -margin - gap, -margin - cell - gap : -margin - gap]
    left_of_it = pixels[-margin - cell - gap : -margin - gap, -margin - 2 * cell - 2 * gap : -margin - cell - 2 * gap]
    assert left_of_it.min() == 255  # the blend paints white
    assert right.std() > 5
    assert read_provenance(path).seeds == (1, 2)


def test_a_sheet_needs_a_picture_format_and_seeds(painted, tmp_path):
    with pytest.raises(UsageError, match=r"\.tif"):
        save_blend_sheet({"A": painted()}, [1], Look(), tmp_path / "sheet.tif")
    with pytest.raises(UsageError, match="No seed"):
        save_blend_sheet({"A": painted()}, [], Look(), tmp_path / "sheet.png")
