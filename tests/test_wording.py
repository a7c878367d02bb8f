"""Words for people."""

from __future__ import annotations

import pytest

from capriccio.wording import closest, counted, duration, nearest


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(-3, "0s"), (12.4, "12s"), (250, "4m 10s"), (7500, "2h 05m"), (97200, "1d 03h")],
)
def test_durations_read_as_words(seconds, words):
    assert duration(seconds) == words


@pytest.mark.parametrize(
    ("number", "words"), [(0, "0 processes"), (1, "1 process"), (2, "2 processes"), (1200, "1,200 processes")]
)
def test_one_of_many_is_told_as_one(number, words):
    assert counted(number, "process", "processes") == words


def test_a_mistyped_word_is_answered_by_the_one_that_was_meant():
    assert nearest("fliter", ["filter", "size"]) == " Did you mean 'filter'?"
    assert nearest("xyz", ["filter", "size"]) == ""
    assert closest("fliter", ["filter"], likeness=1) is None
