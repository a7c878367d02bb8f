from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from capriccio.config import ImageShape
from capriccio.doctor.examination import examine
from capriccio.doctor.record import read_run
from capriccio.doctor.sheets import read_sheet, traits, variety
from tests.doctor.runs import SHAPE, photographs, settings, write_run, write_sheet

COUNT = 96


@pytest.fixture(scope="module")
def photos():
    return photographs(COUNT)


@pytest.fixture(scope="module")
def others():
    """Pictures of the same kind that are not in the data: what a perfect generator paints."""
    return photographs(COUNT, seed=1)


def run_with_sheets(tmp_path, real, fake, config=None, **sick):
    folder = write_run(tmp_path, config, **sick)
    write_sheet(folder / "samples" / "reals.png", real)
    write_sheet(folder / "samples" / "fakes-000000.png", np.full_like(fake, 127))
    write_sheet(folder / "samples" / "fakes-000160.png", fake)
    return folder


def found_in(folder):
    return examine(read_run(folder))


def augmented(mode="ada", **changes):
    config = settings()
    return replace(config, augment=replace(config.augment, mode=mode, **changes))


def with_hues_turned(picture, angle):
    """Turn colours [H, W, 3] by ``angle`` around the axis of greys."""
    x, y, z = np.ones(3) / np.sqrt(3)
    across = np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]])
    turn = np.eye(3) + np.sin(angle) * across + (1 - np.cos(angle)) * across @ across
    return (picture @ turn.T).clip(0, 255).astype(np.uint8)


# ---- mode collapse


def test_varied_samples_are_healthy(tmp_path, photos, others):
    assert found_in(run_with_sheets(tmp_path, photos, others)) == {}


def test_samples_that_are_all_nearly_the_same_are_a_collapse(tmp_path, photos, others):
    rng = np.random.default_rng(0)
    noisy = others[:1].astype(int) + rng.integers(-6, 7, others.shape)
    folder = run_with_sheets(tmp_path, photos, noisy.clip(0, 255).astype(np.uint8))
    finding = found_in(folder)["mode-collapse"]
    assert finding.severity == "serious"
    assert "fakes-000160.png" in finding.evidence


def test_a_handful_of_pictures_painted_again_and_again_is_a_collapse(tmp_path, photos, others):
    finding = found_in(run_with_sheets(tmp_path, photos, np.tile(others[:8], (12, 1, 1, 1))))["mode-collapse"]
    assert finding.severity == "serious"
    assert "the most similar ones 0% as much" in finding.evidence


def test_a_collapse_names_the_sheet_that_was_most_varied(tmp_path, photos, others):
    folder = run_with_sheets(tmp_path, photos, np.tile(others[:1], (COUNT, 1, 1, 1)))
    write_sheet(folder / "samples" / "fakes-000080.png", others)
    assert "the most varied sheet is that of kimg 80" in found_in(folder)["mode-collapse"].evidence


def test_samples_of_a_young_run_are_not_judged(tmp_path, photos):
    folder = write_run(tmp_path)
    write_sheet(folder / "samples" / "reals.png", photos)
    write_sheet(folder / "samples" / "fakes-000002.png", np.tile(photos[:1], (COUNT, 1, 1, 1)))
    assert found_in(folder) == {}


def test_a_damaged_sheet_is_no_evidence(tmp_path, photos, others):
    folder = run_with_sheets(tmp_path, photos, others)
    (folder / "samples" / "fakes-000160.png").write_bytes(b"\x89PNG cut off")
    assert found_in(folder) == {}


# ---- augmentation


def test_unaugmented_samples_of_an_augmented_run_are_healthy(tmp_path, photos, others):
    assert found_in(run_with_sheets(tmp_path, photos, others, augmented(), **{"Progress/augment": 0.4})) == {}


def test_quarter_turns_among_the_samples_are_a_leak(tmp_path, photos, others):
    turned = np.stack([np.rot90(picture, i % 4) for i, picture in enumerate(others)])
    finding = found_in(run_with_sheets(tmp_path, photos, turned, augmented(), **{"Progress/augment": 0.4}))
    assert finding["augmentation-leaking"].severity == "serious"
    assert "left against right" in finding["augmentation-leaking"].evidence
    assert "--augment.cap" in finding["augmentation-leaking"].advice


def test_other_hues_among_the_samples_are_a_leak(tmp_path, photos, others):
    rng = np.random.default_rng(0)
    tinted = np.stack([with_hues_turned(picture, rng.uniform(-np.pi, np.pi)) for picture in others])
    config = augmented("fixed", p=0.4)
    found = found_in(run_with_sheets(tmp_path, photos, tinted, config, **{"Progress/augment": 0.4}))
    assert "magenta against green" in found["augmentation-leaking"].evidence
    assert "--augment.p (now 0.4)" in found["augmentation-leaking"].advice


def test_odd_samples_of_a_run_without_augmentation_are_no_leak(tmp_path, photos, others):
    turned = np.stack([np.rot90(picture, i % 4) for i, picture in enumerate(others)])
    assert "augmentation-leaking" not in found_in(run_with_sheets(tmp_path, photos, turned))


@pytest.mark.parametrize(
    ("wide_before", "command", "leaks"),
    [(False, (), True), (True, (), False), (True, ("--continue-from", "x"), False), (True, ("--init-from", "x"), True)],
)
def test_what_the_samples_showed_before_anything_was_augmented_is_no_leak(
    tmp_path, photos, others, wide_before, command, leaks
):
    turned = np.stack([np.rot90(picture, i % 4) for i, picture in enumerate(others)])
    config, sick = augmented(), {"Progress/augment": 0.4}
    folder = write_run(tmp_path, config, sick_from=20, command=command, **sick)
    write_sheet(folder / "samples" / "reals.png", photos)
    write_sheet(folder / "samples" / "fakes-000060.png", turned if wide_before else others)
    write_sheet(folder / "samples" / "fakes-000160.png", turned)
    assert ("augmentation-leaking" in found_in(folder)) is leaks


def test_a_high_p_is_worth_a_note_before_it_shows(tmp_path, photos, others):
    found = found_in(run_with_sheets(tmp_path, photos, others, augmented(), **{"Progress/augment": 0.7}))
    assert found["augmentation-leaking"].severity == "note"
    assert "do not show it yet" in found["augmentation-leaking"].evidence


def test_augmentation_at_its_cap_that_does_not_suffice_is_saturated(tmp_path):
    sick = {"Progress/augment": 0.8, "Loss/signs/real": 0.72}
    finding = found_in(write_run(tmp_path, augmented(), **sick))["augmentation-saturated"]
    assert "cap of 0.8" in finding.evidence
    assert "0.72 instead of 0.6" in finding.evidence


@pytest.mark.parametrize(("mode", "p", "r_t"), [("ada", 0.8, 0.6), ("ada", 0.5, 0.72), ("fixed", 0.8, 0.72)])
def test_augmentation_that_suffices_or_can_grow_is_not_saturated(tmp_path, mode, p, r_t):
    sick = {"Progress/augment": p, "Loss/signs/real": r_t}
    assert "augmentation-saturated" not in found_in(write_run(tmp_path, augmented(mode), **sick))


# ---- sheets


def test_a_sheet_comes_apart_into_its_pictures(tmp_path, photos):
    write_sheet(tmp_path / "sheet.png", photos[:31], columns=12)
    pictures = read_sheet(tmp_path / "sheet.png", SHAPE)
    np.testing.assert_array_equal((pictures * 255).round().astype(np.uint8), photos[:31])


@pytest.mark.parametrize(("channels", "mode"), [(1, "L"), (4, "RGBA")])
def test_sheets_of_grey_and_transparent_pictures_are_read(tmp_path, channels, mode):
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 256, (4, 8, 12, channels), dtype=np.uint8)
    sheet = Image.new(mode, (24, 16))
    for i, picture in enumerate(pixels):
        sheet.paste(Image.fromarray(picture.squeeze()), (i % 2 * 12, i // 2 * 8))
    sheet.save(tmp_path / "sheet.png")
    pictures = read_sheet(tmp_path / "sheet.png", ImageShape(channels=channels, height=8, width=12))
    np.testing.assert_array_equal((pictures * 255).round().astype(np.uint8), pixels)
    assert np.isfinite(traits(pictures).values).all()


def test_a_sheet_of_another_size_is_no_evidence(tmp_path, photos):
    write_sheet(tmp_path / "sheet.png", photos[:24])
    assert read_sheet(tmp_path / "sheet.png", ImageShape(channels=3, height=48, width=48)) is None


def test_variety_measures_known_distances():
    levels = np.array([0.0, 0.5, 1.0], dtype=np.float32)
    found = variety(np.broadcast_to(levels[:, None, None, None], (3, 32, 48, 3)).copy())
    assert found.mean_distance == pytest.approx((0.5 + 0.5 + 1) / 3)
    assert found.nearest_distance == pytest.approx(0.5)
