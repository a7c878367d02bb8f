import pytest
from hypothesis import given
from hypothesis import strategies as st

from capriccio.config import MAX_SEED
from capriccio.errors import UsageError
from capriccio.latent.seeds import format_numbers, parse_seeds


def test_ranges_include_both_ends_and_order_is_kept():
    assert parse_seeds("42, 0-3,7 - 8") == [42, 0, 1, 2, 3, 7, 8]


@given(st.lists(st.integers(0, MAX_SEED), min_size=1, max_size=40))
def test_formatting_and_parsing_are_inverse(seeds):
    assert parse_seeds(format_numbers(seeds)) == seeds


def test_runs_are_written_as_ranges():
    assert format_numbers([0, 1, 2, 5, 7, 8]) == "0-2,5,7-8"


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "is no list of seeds"),
        ("1,,2", "neither a number nor a range"),
        ("one", "'one' is neither"),
        ("-4", "is no list of seeds"),
        ("1.5", "is no list of seeds"),
        ("٣", "is no list of seeds"),
        ("9-3", "Write 3-9"),
        ("4294967296", "the largest is 4294967295"),
        ("0-4294967295", "more than 1,000,000 seeds"),
        ("0-600000,0-600000", "more than 1,000,000 seeds"),
        ("99999999999999999999", "too large; the largest is 4294967295"),
        ("0-" + "9" * 5000, "too large; the largest is 4294967295"),
    ],
)
def test_what_is_no_list_of_seeds_is_refused_with_the_reason(text, says):
    with pytest.raises(UsageError, match=says) as told:
        parse_seeds(text)
    assert len(str(told.value)) < 200


def test_seeds_may_have_leading_zeros():
    assert parse_seeds("0007,000-0002") == [7, 0, 1, 2]
