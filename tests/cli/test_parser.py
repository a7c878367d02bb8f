"""Values from flags and files, and errors that teach."""

from __future__ import annotations

from argparse import SUPPRESS
from dataclasses import dataclass, field
from typing import Literal

import pytest

from capriccio.cli.parser import CommandParser, add_settings, existing, given_settings, parse_size
from capriccio.errors import UsageError


@dataclass(frozen=True, slots=True, kw_only=True)
class Inner:
    """Inside."""

    weight: float = 1.0
    """How heavy."""
    switch: bool = False
    """On or off."""
    limit: int | None = 3
    """Highest."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Outer:
    """Outside."""

    count: int = 1
    """How many."""
    inner: Inner = field(default_factory=Inner)
    """What is inside."""


@pytest.fixture
def sectioned() -> CommandParser:
    """A parser with a flag that has the name of a section."""
    parser = CommandParser("try", "Tried.", "[flags]")
    add_settings(parser, Outer, {"inner.limit": "--inner"})
    return parser


@pytest.fixture
def parser() -> CommandParser:
    parser = CommandParser("try", "Tried.", "[flags]")
    add_settings(parser, Outer, {"inner.weight": "--heavy", "inner.switch": "--on"})
    return parser


def given(parser: CommandParser, *argv: str) -> dict[str, object]:
    return given_settings(parser.read(argv, defaults=False), Outer)


def test_only_what_was_given_is_there(parser):
    assert given(parser) == {}
    assert given(parser, "--inner.weight", "2", "--inner.limit", "null") == {"inner": {"weight": 2.0, "limit": None}}


def test_a_short_flag_and_its_dotted_name_are_one_setting(parser):
    assert given(parser, "--heavy", "3") == given(parser, "--inner.weight=3") == {"inner": {"weight": 3.0}}


@pytest.mark.parametrize(("flag", "value"), [("--on", True), ("--no-on", False), ("--inner.switch", True)])
def test_a_switch_is_turned_on_and_off_without_a_value(flag, value, parser):
    assert given(parser, flag) == {"inner": {"switch": value}}


def test_flags_win_over_files_wherever_they_stand_and_later_files_over_earlier(parser, tmp_path):
    first, second = tmp_path / "first.yaml", tmp_path / "second.yaml"
    first.write_text("count: 2\ninner: {weight: 2, switch: true}\n")
    second.write_text("inner:\n  weight: 1e-3\n")
    files = ["--config", str(first), f"--config={second}"]
    merged = {"count": 7, "inner": {"weight": 0.001, "switch": True}}
    assert given(parser, "--count", "7", *files) == given(parser, *files, "--count", "7") == merged


def test_words_of_a_file_may_look_like_numbers(tmp_path):
    parser = CommandParser("try", "Tried.", "[flags]")
    for flag, kind in (("--seeds", str), ("--aspect", str), ("--layers", str | None), ("--count", int)):
        parser.add_argument(flag, type=kind)
    path = tmp_path / "values.yaml"
    path.write_text("seeds: 07\naspect: 3:2\nlayers: 4.50\ncount: 7\n")
    read = parser.read(["--config", str(path)]).as_dict()
    assert read == {"seeds": "07", "aspect": "3:2", "layers": "4.50", "count": 7, "config": []}
    parser.add_argument("--data.path", type=str)
    for text in ("data: {path: 07}\n", "data.path: 07\n"):
        path.write_text(text)
        assert parser.read(["--config", str(path)]).data.path == "07"
    path.write_text("layers: null\n")
    assert parser.read(["--config", str(path)]).layers is None
    path.write_text("seeds: true\n")
    with pytest.raises(UsageError, match="seeds: Expected str"):
        parser.read(["--config", str(path)])


@pytest.mark.parametrize("make", [lambda path: path.mkdir(), lambda path: path.write_bytes(b"\xff\xfe\x00")])
def test_a_file_that_is_no_text_is_told(make, tmp_path, parser):
    make(tmp_path / "odd.yaml")
    with pytest.raises(UsageError, match=r"--config .*odd.yaml: cannot be read as text"):
        parser.read(["--config", str(tmp_path / "odd.yaml")])


@pytest.mark.parametrize("text", ["", "\n", "# data: {path: x}\n"])
def test_a_file_without_settings_sets_nothing(text, tmp_path, parser):
    (tmp_path / "empty.yaml").write_text(text)
    assert parser.read(["--config", str(tmp_path / "empty.yaml")]) == parser.read([])


def test_what_was_not_given_has_its_default(tmp_path):
    parser = CommandParser("try", "Tried.", "SRC [flags]", needed=("SRC",))
    parser.add_argument("SRC", nargs="?", type=str, default=SUPPRESS)
    parser.add_argument("--size", type=int, default=3)
    path = tmp_path / "values.yaml"
    path.write_text("SRC: there\n")
    assert parser.read(["here"]).as_dict() == {"SRC": "here", "size": 3, "config": []}
    assert parser.read(["--config", str(path), "--size", "4"]).as_dict() == {"SRC": "there", "size": 4, "config": []}


def test_a_value_that_is_needed_is_asked_for():
    parser = CommandParser("try", "Tried.", "SRC --size S", needed=("SRC", "--size"))
    parser.add_argument("SRC", nargs="?", type=str, default=SUPPRESS)
    parser.add_argument("--size", type=int)
    for argv, missing in (([], "SRC"), (["here"], "--size")):
        with pytest.raises(UsageError, match=f"^{missing} is missing: capriccio try SRC --size S$"):
            parser.read(argv)


def test_the_docstring_after_a_field_is_its_help(parser):
    told = parser.format_help()
    assert "--inner.weight" in told
    assert "How heavy." in told


def test_choices_are_told_once_and_in_words():
    parser = CommandParser("try", "Tried.", "[flags]")
    parser.add_argument("--form", type=Literal["round", "square"], default="round", help="Form.")
    parser.add_argument("--colour", type=Literal["red", "blue"] | None, default=None, help="Colour.")
    told = " ".join(parser.format_help().split())
    assert "--form {round,square} Form. (default: round)" in told
    assert "--colour COLOUR Colour. (type: red | blue | null, default: null)" in told


@pytest.mark.parametrize(
    ("argv", "told"),
    [
        (["--conut", "1"], "'--conut' is not a flag of 'capriccio try'. Did you mean '--count'?"),
        (["--inner.wieght=1"], "'--inner.wieght' is not a flag of 'capriccio try'. Did you mean '--inner.weight'?"),
        (["--cou", "1"], "'--cou' is not a flag of 'capriccio try'. Did you mean '--count'?"),
        (["--count", "many"], "--count: Expected int. Got value: many"),
        (["--count"], "argument --count: expected one argument"),
        (["more"], "'more' was not expected; see 'capriccio try --help'."),
        (["--on", "true"], "'true' was not expected: a switch takes no value; it is turned off by --no-… ."),
        (["--config", "missing.yaml"], "--config: there is no file or folder 'missing.yaml'."),
        (["--config"], "argument --config: expected one argument"),
    ],
)
def test_wrong_flags_are_told_in_one_line(argv, told, parser):
    with pytest.raises(UsageError) as error:
        parser.read(argv)
    assert str(error.value) == told


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("conut: 1\n", "'conut' is not a setting. Did you mean 'count'?"),
        ("inner: {wieght: 1}\n", "'inner.wieght' is not a setting. Did you mean 'inner.weight'?"),
        ("inner: {weight: heavy}\n", "inner.weight: Expected float. Got value: heavy"),
        ("inner: [\n", "Problems parsing config: "),
        ("!!python/object/apply:os.getcwd []\n", "Problems parsing config: "),
    ],
)
def test_wrong_files_are_told_in_one_line_that_names_the_file(text, told, parser, tmp_path):
    path = tmp_path / "wrong.yaml"
    path.write_text(text)
    with pytest.raises(UsageError) as error:
        parser.read(["--config", str(path)])
    assert str(path) in str(error.value)
    assert told in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(("text", "size"), [("64", (64, 64)), ("256x384", (256, 384)), ("8×16", (8, 16))])
def test_a_size_is_height_by_width(text, size):
    assert parse_size(text, "--size") == size


@pytest.mark.parametrize("text", ["", "x", "64x", "-4", "1.5", "64x64x3"])
def test_what_is_no_size_names_the_flag(text):
    with pytest.raises(UsageError, match=f"^--size: .*got '{text}'"):
        parse_size(text, "--size")


def test_a_file_that_is_missing_names_the_flag(tmp_path):
    with pytest.raises(UsageError, match=r"^SRC: there is no file or folder '.*nothing'"):
        existing(tmp_path / "nothing", "SRC")
    assert existing(str(tmp_path), "SRC") == tmp_path


@pytest.mark.parametrize("words", [["--inner", "7"], ["--inner=7"], ["--inner.limit", "7"]], ids=" ".join)
def test_a_flag_may_have_the_name_of_its_section(sectioned, words):
    values = sectioned.read([*words, "--inner.weight", "2"], defaults=False)
    assert given_settings(values, Outer) == {"inner": {"limit": 7, "weight": 2.0}}


def test_the_section_itself_still_stands_in_files(sectioned, tmp_path):
    (tmp_path / "settings.yaml").write_text("inner: {limit: 4, weight: 0.5}\n")
    values = sectioned.read(["--config", str(tmp_path / "settings.yaml"), "--inner", "9"], defaults=False)
    assert given_settings(values, Outer) == {"inner": {"limit": 9, "weight": 0.5}}


def test_a_typing_error_is_told_with_the_flag_of_the_section(sectioned):
    with pytest.raises(UsageError, match=r"'--iner' is not a flag .*Did you mean '--inner'"):
        sectioned.read(["--iner", "3"])
