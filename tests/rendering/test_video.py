import json
import sys
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from capriccio.errors import UsageError
from capriccio.provenance import read_provenance
from capriccio.rendering.generate import GenerateRequest, generate
from capriccio.rendering.look import Look
from capriccio.rendering.video import Film, VideoRequest, save_video

REQUEST = VideoRequest(keys=[1, 2, 3], frames_per_second=10, seconds_per_key=1.0, batch=4)


def test_the_film_shows_its_keys_and_loops_without_a_jump(model):
    frames = [np.asarray(frame).astype(int) for frame in Film(model, REQUEST)]
    assert len(frames) == 30
    for index, key in zip((0, 10, 20), generate(model, GenerateRequest(source=[1, 2, 3])), strict=True):
        assert np.abs(frames[index] - np.asarray(key.image)).max() <= 1
    jumps = [np.abs(frames[i] - frames[i - 1]).mean() for i in range(30)]  # the first is from the last frame
    assert 0 < jumps[0] <= 1.5 * max(jumps[1:])


def test_an_open_film_ends_at_its_last_key_and_plays_once(model, tmp_path):
    request = replace(REQUEST, closed=False)
    frames = [np.asarray(frame).astype(int) for frame in Film(model, request)]
    assert len(frames) == 21
    for index, key in zip((0, 10, 20), generate(model, GenerateRequest(source=[1, 2, 3])), strict=True):
        assert np.abs(frames[index] - np.asarray(key.image)).max() <= 1
    with Image.open(save_video(model, request, tmp_path / "film.webp")) as film:
        assert (film.n_frames, film.info["loop"]) == (21, 1)


def test_a_name_without_an_ending_becomes_a_folder_of_frames(model, tmp_path):
    folder = save_video(model, REQUEST, tmp_path / "frames")
    files = sorted(folder.iterdir())
    assert [file.name for file in files[:2]] == ["frame000000.png", "frame000001.png"]
    for file, frame in zip(files, Film(model, REQUEST), strict=True):
        with Image.open(file) as stored:
            assert np.array_equal(np.asarray(stored), np.asarray(frame))
    assert read_provenance(files[-1]).kind == "video"
    with pytest.raises(UsageError, match="holds frames already"):
        save_video(model, REQUEST, folder)
    (tmp_path / "film").touch()
    with pytest.raises(UsageError, match="is a file"):
        save_video(model, REQUEST, tmp_path / "film")


def test_frames_do_not_depend_on_the_batch(model):
    other = VideoRequest(keys=[1, 2, 3], frames_per_second=10, seconds_per_key=1.0, batch=7)
    for one, same in zip(Film(model, REQUEST), Film(model, other), strict=True):
        assert np.array_equal(np.asarray(one), np.asarray(same))


@pytest.mark.parametrize("suffix", [".webp", ".avif"])
@pytest.mark.parametrize("channels", [1, 3, 4])
def test_animations_hold_every_frame_loop_and_carry_their_record(suffix, channels, painted, tmp_path):
    path = save_video(painted(channels=channels, height=32, width=48), REQUEST, tmp_path / f"film{suffix}")
    with Image.open(path) as film:
        assert film.n_frames == 30
        assert film.size == (48, 32)
        durations = []
        for index in range(30):
            film.seek(index)
            film.load()
            durations.append(film.info["duration"])
        assert sum(durations) == 3000
        assert film.info.get("loop", 0) == 0
    record = read_provenance(path)
    assert (record.kind, record.seeds) == ("video", (1, 2, 3))


@pytest.mark.parametrize("suffix", [".webp", ".avif"])
def test_the_animation_looks_like_its_frames(suffix, model, tmp_path):
    path = save_video(model, REQUEST, tmp_path / f"film{suffix}")
    frames = list(Film(model, REQUEST))
    with Image.open(path) as animation:
        for index in (0, 11, 29):
            animation.seek(index)
            shown = np.asarray(animation.convert("RGB")).astype(int)
            assert np.abs(shown - np.asarray(frames[index])).mean() < 8


def test_only_one_batch_of_frames_is_painted_at_a_time_and_none_twice(model, tmp_path):
    painted = []
    original = model.images
    model.images = lambda ws, **settings: painted.append(len(ws)) or original(ws, **settings)
    save_video(model, REQUEST, tmp_path / "film.webp")
    assert max(painted) == 4
    assert sum(painted) == 30


@pytest.mark.parametrize("suffix", [".mp4", ".webm"])
@pytest.mark.parametrize("size", [(32, 32), (9, 15)])
def test_av_films_hold_every_frame_and_their_record(suffix, size, painted, tmp_path):
    av = pytest.importorskip("av", reason="the extra `video` is not installed")
    model = painted(height=size[0], width=size[1])
    path = save_video(model, REQUEST, tmp_path / f"film{suffix}")
    with av.open(str(path)) as container:
        metadata = {key.lower(): value for key, value in container.metadata.items()}
        frames = [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]
    assert len(frames) == 30
    assert json.loads(metadata["capriccio"])["seeds"] == [1, 2, 3]
    expected = np.asarray(list(Film(model, REQUEST))[17]).astype(int)
    assert np.abs(frames[17][: size[0], : size[1]] - expected).mean() < 12


def test_without_the_extra_one_line_says_what_to_install(model, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "av", None)
    with pytest.raises(UsageError, match=r"pip install capriccio\[video\]"):
        save_video(model, REQUEST, tmp_path / "film.mp4")
    assert list(tmp_path.iterdir()) == []


def test_random_noise_stays_still_so_that_nothing_flickers(model):
    request = VideoRequest(keys=[1, 1], frames_per_second=2, seconds_per_key=1.0, look=Look(noise_mode="random"))
    first, *others = (np.asarray(frame) for frame in Film(model, request))
    assert all(np.array_equal(first, other) for other in others)


def test_frames_can_be_enlarged_and_progress_counts_them(model, tmp_path):
    seen = []
    request = VideoRequest(keys=[1, 2], frames_per_second=4, seconds_per_key=1.0, scale=3)
    path = save_video(model, request, tmp_path / "film.webp", lambda *a: seen.append(a))
    assert Image.open(path).size == (96, 96)
    assert seen[0] == (8, 16)  # painted, all in one batch
    assert seen[1:] == [(i, 16) for i in range(9, 17)]  # encoded


def test_frames_too_large_for_the_format_are_refused(model, tmp_path):
    request = VideoRequest(keys=[1, 2], frames_per_second=1, seconds_per_key=1.0, scale=513)
    with pytest.raises(UsageError, match="at most 16383 pixels"):
        save_video(model, request, tmp_path / "film.webp")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("keys", "name", "says"),
    [([1], "a.webp", "needs 2 to"), ([1, 2], "a.gif", r"'\.gif' is no film"), ([1, 2], "film.v2", "folder of frames")],
)
def test_a_film_that_cannot_be_made_is_refused_and_leaves_nothing(keys, name, says, model, tmp_path):
    with pytest.raises(UsageError, match=says):
        save_video(model, VideoRequest(keys=keys), tmp_path / name)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("wrong", [{"frames_per_second": 0}, {"seconds_per_key": 0}, {"scale": 0}, {"quality": 101}])
def test_settings_out_of_range_are_refused(wrong):
    with pytest.raises(UsageError, match="must"):
        VideoRequest(keys=[1, 2], **wrong)
