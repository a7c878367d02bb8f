from __future__ import annotations

import json

import numpy as np
import pytest

from capriccio.data import EndlessOrder


@pytest.mark.parametrize("num_items", [1, 2, 3, 5, 64])
def test_the_stream_follows_its_definition_step_by_step(num_items):
    rng = np.random.RandomState(11)
    order = np.arange(num_items)
    rng.shuffle(order)
    window = round(num_items / 2)
    expected = []
    for step in range(4 * num_items + 3):
        i = step % num_items
        expected.append(order[i])
        if window >= 2:
            j = (i - rng.randint(window)) % num_items
            order[i], order[j] = order[j], order[i]
    stream = EndlessOrder(num_items, seed=11)
    got = [index for _ in range(len(expected)) for index in stream.next(1)]
    assert got == expected


def test_an_item_rests_for_half_a_round_and_all_are_shown_alike():
    stream = EndlessOrder(50, seed=0).next(50 * 200)
    last_seen = {}
    for step, item in enumerate(stream.tolist()):
        assert step - last_seen.get(item, -50) > 25
        last_seen[item] = step
    assert np.abs(np.bincount(stream, minlength=50) / 200 - 1).max() < 0.15


def test_a_resumed_stream_goes_on_where_it_stood_even_through_json():
    stream = EndlessOrder(20, seed=1)
    stream.next(33)
    saved = json.dumps({key: value.tolist() for key, value in stream.state_dict().items()})
    resumed = EndlessOrder(20, seed=999)
    resumed.load_state_dict(json.loads(saved))
    np.testing.assert_array_equal(resumed.next(70), stream.next(70))


def test_a_saved_state_does_not_change_when_the_stream_goes_on():
    stream = EndlessOrder(8, seed=1)
    state = stream.state_dict()
    expected = stream.next(30)
    stream.load_state_dict(state)
    np.testing.assert_array_equal(stream.next(30), expected)


def test_a_state_of_another_data_set_is_refused():
    with pytest.raises(ValueError, match="over 8 items, this data set has 9"):
        EndlessOrder(9, seed=0).load_state_dict(EndlessOrder(8, seed=0).state_dict())


def test_new_items_enter_a_grown_stream_and_old_ones_keep_their_turn():
    before = EndlessOrder(20, seed=3)
    before.next(47)
    state = before.state_dict()
    coming = np.roll(state["order"], -(47 % 20))
    grown = EndlessOrder(50, seed=3)
    renumbered = np.concatenate([np.arange(10), 25 + np.arange(10)])  # ten pictures and their mirror images, of 25 now
    grown.load_grown(state, renumbered)
    first = grown.state_dict()["order"]
    assert sorted(first) == list(range(50))
    old = first[np.isin(first, renumbered)]
    np.testing.assert_array_equal(old, renumbered[coming])
    positions = np.flatnonzero(~np.isin(first, renumbered))
    assert positions.min() < 20 < positions.max()
    with pytest.raises(ValueError, match="over 20 items, not over 19"):
        grown.load_grown(state, renumbered[:19])
