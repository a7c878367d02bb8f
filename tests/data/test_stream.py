import hashlib
import threading
from pathlib import Path

import numpy as np
import pytest

import capriccio.data.lanes as lanes_module
import capriccio.data.shards as shards_module
from capriccio.config import ImageShape
from capriccio.data.intake import ShardIntake, is_heldout, label_vector, to_pixels
from capriccio.data.lanes import Cursor, Lane
from capriccio.data.shards import Sample
from capriccio.data.stream import expand_addresses, is_streamed, num_lanes, open_streamed
from capriccio.errors import ConfigError, DatasetError, JobError
from tests.data.shard_server import Troubles, encoded, serving, write_shard, write_shards

SHAPE = ImageShape(channels=3, height=16, width=16)
COUNTS = (9, 14, 5, 12, 20, 7, 11, 10)
TOTAL = sum(COUNTS)


@pytest.fixture(autouse=True)
def _short_waits(monkeypatch):
    monkeypatch.setattr(lanes_module, "WAIT_SECONDS", 0.01)
    monkeypatch.setattr(lanes_module, "TRIES", 3)


@pytest.fixture(scope="module")
def shards(tmp_path_factory):
    return write_shards(tmp_path_factory.mktemp("shards"), COUNTS)


def number_of():
    """Return the numbers of all pictures by their pixels."""
    return {to_pixels(encoded(n), SHAPE).tobytes(): n for n in range(TOTAL)}


NUMBERS = number_of()


def quiet(line):
    """Take lines that no test looks at."""


def stream_of(path, *, rank=0, world=1, seed=0, say=quiet, buffer=64, **options):
    options.setdefault("holdout", 0)
    return open_streamed(path, SHAPE, buffer=buffer, **options).train.stream(
        seed=seed, rank=rank, world_size=world, say=say
    )


def numbers(stream, count, batch=4):
    """Return which pictures come, as their numbers."""
    found = []
    for _ in range(count // batch):
        pixels, _ = stream.next(batch)
        found += [NUMBERS[p.tobytes()] for p in pixels]
    return found


def new_lane(path, *, chunk_size, say=quiet, index=0, num=1, mirror=False):
    return Lane(
        expand_addresses(path),
        index=index,
        num_lanes=num,
        seed=3,
        chunk_size=chunk_size,
        mirror=mirror,
        intake=ShardIntake(SHAPE, 0, 0.0),
        say=say,
    )


# ---- order


def test_every_picture_comes_once_an_epoch_and_shuffled(shards):
    # One lane reads all shards of an epoch before it begins them again.
    lane = new_lane(shards, chunk_size=TOTAL)
    first = lane.read(Cursor())
    second = lane.read(first.end)
    told = [[NUMBERS[p.pixels.tobytes()] for p in chunk.pictures] for chunk in (first, second)]
    assert sorted(told[0]) == sorted(told[1]) == list(range(TOTAL))
    assert told[0] != told[1]
    assert told[0] != sorted(told[0])


def test_the_same_seed_gives_the_same_stream_and_another_seed_another(shards):
    first = numbers(stream_of(shards), 200)
    assert numbers(stream_of(shards), 200) == first
    assert numbers(stream_of(shards, seed=1), 200) != first


def test_lanes_read_every_shard_once_an_epoch(shards):
    addresses = expand_addresses(shards)
    for epoch in range(3):
        read = [a for i in range(4) for a in new_lane(shards, chunk_size=4, index=i, num=4).shards_of(epoch)]
        assert sorted(read) == addresses


def test_epochs_are_counted(shards):
    stream = stream_of(shards)
    assert stream.epochs() == 0
    numbers(stream, 4 * TOTAL)
    assert 3 <= stream.epochs() <= 5


@pytest.mark.parametrize("world", [2, 4])
def test_processes_see_together_what_one_sees(shards, world):
    batch, rounds = 8, 20
    whole = stream_of(shards)
    parts = [stream_of(shards, rank=r, world=world) for r in range(world)]
    for _ in range(rounds):
        expected, _ = whole.next(batch)
        for rank, part in enumerate(parts):
            np.testing.assert_array_equal(part.next(batch)[0], expected[rank::world])


def test_mirroring_flips_about_half_of_the_pictures(shards):
    lane = new_lane(shards, chunk_size=4 * TOTAL, mirror=True)
    pixels = [p.pixels for p in lane.read(Cursor()).pictures]
    plain = sum(p.tobytes() in NUMBERS for p in pixels)
    assert 0.35 < plain / len(pixels) < 0.65
    assert all(p.tobytes() in NUMBERS or p[:, :, ::-1].tobytes() in NUMBERS for p in pixels)


# ---- position


@pytest.mark.parametrize("taken", [0, 4, 60, 100, 332])
def test_a_stream_goes_on_where_it_stopped(shards, taken):
    stream = stream_of(shards)
    numbers(stream, taken)
    position = stream.position()
    expected = numbers(stream, 200)
    resumed = stream_of(shards)
    resumed.go_to(*position)
    assert resumed.position() == position
    assert numbers(resumed, 200) == expected


def test_a_stream_goes_on_after_a_shard_failed_as_if_it_failed_again(tmp_path):
    pattern = write_shards(tmp_path, COUNTS)
    sound = (tmp_path / "set-004.tar").read_bytes()
    (tmp_path / "set-004.tar").write_bytes(sound[: len(sound) // 2 // 512 * 512 + 100])
    lines = []
    stream = stream_of(pattern, say=lines.append, buffer=400)
    numbers(stream, 48)
    position = stream.position()
    coming = numbers(stream, 40)  # out of the same chunks
    assert any("set-004.tar" in line and "left out for this epoch" in line for line in lines)
    (tmp_path / "set-004.tar").write_bytes(sound)
    resumed = stream_of(pattern, buffer=400)
    resumed.go_to(*position)
    assert numbers(resumed, 40) == coming


def test_other_lanes_are_refused(shards, tmp_path):
    step, lanes = stream_of(shards).position()
    other = stream_of(write_shards(tmp_path, [10, 10, 10]))
    with pytest.raises(ConfigError, match="8 lanes and would now have 3"):
        other.go_to(step, lanes)


@pytest.mark.parametrize(("count", "world", "lanes"), [(100, 1, 8), (3, 1, 3), (100, 4, 8), (100, 3, 6), (9, 9, 9)])
def test_lanes_are_shared_evenly(count, world, lanes):
    assert num_lanes(count, world) == lanes


def test_fewer_shards_than_processes_are_refused():
    with pytest.raises(ConfigError, match="3 shards cannot be shared by 4 processes"):
        num_lanes(3, 4)


# ---- a bad server


def test_a_stream_over_http_is_that_of_the_files(shards):
    expected = numbers(stream_of(shards), 160)
    with serving(Path(shards).parent, Troubles()) as address:
        assert numbers(stream_of(f"{address}/set-{{000..007}}.tar"), 160) == expected


def test_any_address_that_fsspec_knows_can_be_streamed(shards):
    assert numbers(stream_of(f"file://{shards}"), 160) == numbers(stream_of(shards), 160)


def test_dropped_and_stalled_connections_change_nothing_and_are_named(shards, monkeypatch):
    monkeypatch.setattr(shards_module, "TIMEOUT_SECONDS", 0.2)
    folder = Path(shards).parent
    expected = numbers(stream_of(shards), 160)
    lines = []
    troubles = Troubles(stall_seconds=5.0)
    with serving(folder, troubles) as address:
        stream = stream_of(f"{address}/set-{{000..007}}.tar", say=lines.append)
        troubles.drop_after = {"set-001.tar": [3000, 9000], "set-003.tar": [1]}
        troubles.stall_after = {"set-004.tar": [7000, 12000], "set-006.tar": [0]}
        assert numbers(stream, 160) == expected
    assert not any(troubles.drop_after.values())
    assert not any(troubles.stall_after.values())
    for name in ("set-001.tar", "set-003.tar", "set-004.tar", "set-006.tar"):
        assert any(f"{address}/{name}' broke off; it is opened again" in line for line in lines)


def test_a_shard_that_keeps_failing_is_left_out_and_named_and_tried_again_next_epoch(shards):
    folder = Path(shards).parent
    lines = []
    troubles = Troubles()
    with serving(folder, troubles) as address:
        stream = stream_of(f"{address}/set-{{000..007}}.tar", say=lines.append, buffer=16)
        troubles.refuse.add("set-004.tar")
        first = set(numbers(stream, 240))
        lost = set(range(40, 60))
        assert not first & lost
        warning = next(line for line in lines if line.startswith("Warning"))
        assert "set-004.tar" in warning
        assert "left out for this epoch" in warning
        troubles.refuse.clear()
        assert set(numbers(stream, 600)) >= lost


def test_a_server_that_is_gone_ends_the_stream_with_words(shards):
    folder = Path(shards).parent
    troubles = Troubles()
    with serving(folder, troubles) as address:
        stream = stream_of(f"{address}/set-{{000..007}}.tar", say=quiet, buffer=16)
        numbers(stream, 8)
        troubles.refuse = {f"set-{i:03d}.tar" for i in range(8)}
        with pytest.raises(JobError, match=r"no picture came from .* shards .*--resume"):
            numbers(stream, 400)


def test_training_says_for_which_shard_it_waits(shards, monkeypatch):
    monkeypatch.setattr(lanes_module, "PATIENCE_SECONDS", 0.1)
    folder = Path(shards).parent
    lines = []
    troubles = Troubles(stall_seconds=0.4)
    with serving(folder, troubles) as address:
        stream = stream_of(f"{address}/set-{{000..007}}.tar", say=lines.append)
        troubles.stall_after = {f"set-{i:03d}.tar": [2000] for i in range(8)}
        numbers(stream, 8)
    assert any(line.startswith(f"Training waits for shard '{address}/set-") for line in lines)


def test_lanes_are_read_at_the_same_time(shards):
    folder = Path(shards).parent
    together = threading.Barrier(8, timeout=20)

    class MeetingIntake(ShardIntake):
        def __call__(self, sample: Sample):
            if not seen.get(threading.get_ident()):
                seen[threading.get_ident()] = True
                together.wait()  # broken unless all eight lanes come here
            return super().__call__(sample)

    seen: dict[int, bool] = {}
    split = open_streamed(f"{folder}/set-*.tar", SHAPE, holdout=0, buffer=64)
    split.train._intake = MeetingIntake(SHAPE, 0, 0.0)
    split.train.stream(seed=0, rank=0, world_size=1, say=quiet).next(8)
    assert not together.broken


# ---- pictures and labels


def test_photographs_are_cut_and_reduced_as_archives_are(tmp_path):
    from capriccio.data import build_dataset, open_dataset

    photos = tmp_path / "photos"
    photos.mkdir()
    for n, size in enumerate([(50, 70), (16, 16), (90, 33)]):
        (photos / f"{n}.png").write_bytes(encoded(n, size))
    build_dataset(photos, tmp_path / "built.zip", size=(16, 16))
    built = open_dataset(tmp_path / "built.zip", holdout=0, cache="none").train.images([0, 1, 2])
    for n, size in enumerate([(50, 70), (16, 16), (90, 33)]):
        np.testing.assert_array_equal(to_pixels(encoded(n, size), SHAPE), built[n])


def test_heldout_pictures_are_chosen_by_content_and_never_streamed(shards):
    split = open_streamed(shards, SHAPE, buffer=64)
    everything = {n: is_heldout(encoded(n), 0.05) for n in range(TOTAL)}
    heldout = {n for n, out in everything.items() if out}
    assert heldout
    held = split.heldout.images(range(split.heldout.num_pictures))
    assert {NUMBERS[p.tobytes()] for p in held} == heldout
    stream = split.train.stream(seed=0, rank=0, world_size=1, say=quiet)
    assert set(numbers(stream, 400)) == set(range(TOTAL)) - heldout


def test_the_share_set_aside_is_what_was_asked_for():
    chosen = sum(is_heldout(hashlib.sha256(str(i).encode()).digest(), 0.05) for i in range(20_000))
    assert 800 < chosen < 1200


def test_pictures_that_cannot_be_used_are_passed_over_and_named(tmp_path):
    write_shard(tmp_path / "a.tar", range(6))
    write_shard(tmp_path / "b.tar", range(6, 9), size=(8, 8))
    split = open_streamed(f"{tmp_path}/*.tar", SHAPE, holdout=0)
    assert split.train.num_pictures == 6
    assert len(split.skipped) == 3
    assert "too small: 8×8" in split.skipped[0].reason
    lines = []
    lane = new_lane(f"{tmp_path}/*.tar", chunk_size=12, say=lines.append)
    assert len(lane.read(Cursor()).pictures) == 12
    assert sum("too small" in line for line in lines) == 3  # not again in the next epochs


@pytest.mark.parametrize(("channels", "mode"), [(1, "L"), (4, "RGBA")])
def test_grey_and_transparent_pictures_can_be_streamed(tmp_path, channels, mode):
    path = str(write_shard(tmp_path / "a.tar", range(8), mode=mode))
    shape = ImageShape(channels=channels, height=16, width=16)
    stream = open_streamed(path, shape, holdout=0).train.stream(seed=0, rank=0, world_size=1, say=quiet)
    assert stream.next(8)[0].shape == (8, channels, 16, 16)


def test_classes_become_one_hot_labels(tmp_path):
    split = open_streamed(write_shards(tmp_path, [12, 12], classes=3), SHAPE, labels=True, holdout=0)
    assert split.train.c_dim == 3
    pixels, labels = split.train.stream(seed=0, rank=0, world_size=1, say=quiet).next(16)
    assert [int(row.argmax()) for row in labels] == [NUMBERS[p.tobytes()] % 3 for p in pixels]
    np.testing.assert_array_equal(labels.sum(axis=1), 1)


def test_labels_may_be_lists_of_numbers():
    sample = Sample("k", {".json": b'{"label": [0.5, 2]}'})
    np.testing.assert_array_equal(label_vector(sample, 2), np.array([0.5, 2], dtype=np.float32))


@pytest.mark.parametrize(
    ("files", "words"),
    [
        ({".cls": b"7"}, "has class 7, but labels have size 3; say with --generator.c_dim"),
        ({".json": b'{"label": [1, 2]}'}, "list of 3 numbers"),
        ({}, "needs a class below 3"),
    ],
)
def test_labels_that_do_not_fit_are_refused(files, words):
    with pytest.raises(DatasetError, match=words):
        label_vector(Sample("k", files), 3)


def test_asking_for_labels_that_are_not_there_is_an_error(shards):
    with pytest.raises(DatasetError, match="train without --cond"):
        open_streamed(shards, SHAPE, labels=True)


# ---- addresses


def test_addresses_expand(tmp_path):
    for name in ("a-1.tar", "a-2.tar", "b.tar.gz"):
        (tmp_path / name).write_bytes(b"")
    assert expand_addresses(f"{tmp_path}/a-*.tar") == [f"{tmp_path}/a-1.tar", f"{tmp_path}/a-2.tar"]
    assert expand_addresses(f"{tmp_path}/{{a-2.tar,b.tar.gz}}") == [f"{tmp_path}/a-2.tar", f"{tmp_path}/b.tar.gz"]
    assert expand_addresses("s3://bucket/x-{08..10}.tar") == [f"s3://bucket/x-{i:02d}.tar" for i in (8, 9, 10)]


@pytest.mark.parametrize(
    ("path", "words"), [("none-*.tar", "names no file"), ("photos.zip", "'photos.zip' is not a tar file")]
)
def test_addresses_of_nothing_are_refused(path, words, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(DatasetError, match=words):
        expand_addresses(path)


def test_shards_that_cannot_be_read_at_all_are_refused_with_the_reason(tmp_path):
    with pytest.raises(DatasetError, match=r"no picture can be read from 2 shards; .*set-000\.tar"):
        open_streamed(f"{tmp_path}/set-{{000..001}}.tar", SHAPE)


def test_what_names_shards_is_streamed():
    assert is_streamed("https://host/a-{0..3}.tar", "auto")
    assert is_streamed("a.tar", "stream")
    assert not is_streamed("a.zip", "auto")
    assert not is_streamed("a.tar", "raw")


def test_a_subset_of_a_stream_is_refused(shards):
    with pytest.raises(ConfigError, match="name fewer shards"):
        open_streamed(shards, SHAPE, subset=5)
