import errno
import os
import threading

import pytest

from capriccio.durable import check_writable, replacing
from capriccio.errors import StorageError, UsageError


def test_a_file_appears_whole_and_replaces_the_old_one(tmp_path):
    path = tmp_path / "new" / "file.bin"
    for content in (b"first", b"second, longer"):
        with replacing(path) as file:
            file.write(content)
        assert path.read_bytes() == content
    assert [p.name for p in path.parent.iterdir()] == ["file.bin"]


def test_an_error_while_writing_leaves_the_old_file_and_no_rest(tmp_path):
    path = tmp_path / "file.bin"
    path.write_bytes(b"old")
    with pytest.raises(TypeError), replacing(path) as file:
        file.writelines([b"half", "not bytes"])
    assert path.read_bytes() == b"old"
    assert [p.name for p in tmp_path.iterdir()] == ["file.bin"]


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EROFS])
def test_a_full_disk_is_said_with_the_file(number, tmp_path, monkeypatch):
    path = tmp_path / "file.bin"
    monkeypatch.setattr(os, "fsync", lambda _: (_ for _ in ()).throw(OSError(number, os.strerror(number))))
    with pytest.raises(StorageError, match=r"file\.bin' could not be written"), replacing(path) as file:
        file.write(b"x")
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_cannot_be_made_is_named(tmp_path):
    (tmp_path / "a file").write_bytes(b"")
    path = tmp_path / "a file" / "folder" / "x"
    with pytest.raises(StorageError, match=r"a file/folder' cannot be written"), replacing(path):
        pass


def test_a_folder_in_the_place_of_the_file_is_said_before_anything_is_written(tmp_path):
    (tmp_path / "folder").mkdir()
    for refuse in (check_writable, lambda path: replacing(path).__enter__()):
        with pytest.raises(UsageError, match="folder' is a folder; name a file"):
            refuse(tmp_path / "folder")
    assert [path.name for path in tmp_path.iterdir()] == ["folder"]


def test_what_cannot_be_written_is_known_before_the_work(tmp_path):
    (tmp_path / "a file").write_bytes(b"")
    with pytest.raises(StorageError, match="a file/deep' cannot be written"):
        check_writable(tmp_path / "a file" / "deep" / "x")
    check_writable(tmp_path / "new" / "folder" / "x")


def test_files_get_the_rights_of_ordinary_ones(tmp_path):
    with replacing(tmp_path / "durable") as file:
        file.write(b"x")
    (tmp_path / "ordinary").write_bytes(b"x")
    assert (tmp_path / "durable").stat().st_mode == (tmp_path / "ordinary").stat().st_mode


def test_writers_of_one_path_do_not_mix_their_bytes(tmp_path):
    def write(letter):
        for _ in range(20):
            with replacing(tmp_path / "shared") as file:
                file.write(letter * 10_000)

    threads = [threading.Thread(target=write, args=(letter,)) for letter in (b"a", b"b")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    content = (tmp_path / "shared").read_bytes()
    assert content in (b"a" * 10_000, b"b" * 10_000)
