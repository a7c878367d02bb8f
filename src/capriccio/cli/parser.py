"""What the commands share: a parser whose errors teach, the common flags, and settings as flags.

Values come from YAML files (``--config``) and from flags; a flag wins over a file wherever it stands on the line, and a
later file over an earlier one.
"""

from __future__ import annotations

import argparse
import dataclasses
import re
import typing
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NoReturn

import yaml
from docstring_parser import parse_from_object
from jsonargparse import ActionYesNo, ArgumentParser, DefaultHelpFormatter, Namespace

from capriccio.durable import check_writable
from capriccio.errors import StorageError, UsageError
from capriccio.wording import closest, nearest

MODEL_HELP = (
    "Snapshot, run folder (its newest snapshot), network file of another program, or name of a model: bundled, or "
    "owner/name on the Hugging Face hub; null = the best bundled one."
)
CLASS_HELP = "Class, by its number or name ('capriccio info' lists them), for conditional networks."

DEVICE_HELP = "Where to compute: cpu, cuda, cuda:1, mps; auto = the fastest there is."

YES_NO = ActionYesNo(no_prefix="no-")
"""Action of a switch that can also be turned off: ``--mirror`` and ``--no-mirror``."""


_OPTIONAL = (
    r"Does not validate against any of the Union subtypes Subtypes: .*? Errors: - (Expected .*?) - Expected NoneType "
    r"Given value type: .* Given value: (.*)"
)
"""What jsonargparse says of a wrong value where there need not be one: the kind expected, and the value."""


_LIKE = 0.7
"""How like a flag a word must be for a hint: beneath it `--epochs` is taken for `--optimizer.eps`."""


class _Help(DefaultHelpFormatter):
    """Help that names the choices of a flag once, and in words."""

    def _get_type_str(self, action: argparse.Action) -> str | None:
        told = super()._get_type_str(action)
        words = re.search(r"Literal\[(.*?)\]", told or "")
        if words is None:
            return told
        if str(action.metavar).startswith("{"):  # they stand beside the flag
            return None
        choices = [word.strip(" '") for word in words[1].split(",")]
        return " | ".join([*choices, "null"] if told is not None and told.startswith("Optional") else choices)


class CommandParser(ArgumentParser):
    """Parser of one command: raises :class:`UsageError` with one line that names the flag or file."""

    def __init__(
        self,
        command: str,
        about: str,
        usage: str,
        *,
        needed: Sequence[str] = (),
        meant: Mapping[str, str] | None = None,
    ) -> None:
        """Make it without flags of its own.

        Args:
            command: words after `capriccio`.
            about: one line about it.
            usage: its flags in short.
            needed: values it cannot do without.
            meant: flags of other commands and programs by name, and what does the same here.
        """
        super().__init__(
            prog=f"capriccio {command}",
            description=about,
            usage=f"capriccio {command} {usage}",
            allow_abbrev=False,
            default_env=False,
            exit_on_error=False,
            formatter_class=_Help,
        )
        self._needed = needed
        self._meant = meant or {}
        self._section_flags: dict[str, str] = {}
        self.add_argument(
            "--config", type=str, action="append", default=[], metavar="FILE",
            help="YAML file with values for these flags; flags win over it, later files over earlier ones.",
        )  # fmt: skip

    def read(self, argv: Sequence[str], *, defaults: bool = True) -> Namespace:
        """Return the values of flags, over those of files, over the defaults.

        Args:
            argv: words after the command.
            defaults: whether what was not given has its default; else it is absent.

        Raises: UsageError for what is unknown, of a wrong type, or missing; in a file, naming it.
        """
        given = self.parse_args([self._in_full(word) for word in argv], defaults=False)
        values = self.get_defaults() if defaults else Namespace()  # type: ignore[no-untyped-call]
        for path in given.pop("config", []):
            values.update(self._read_file(path))
        values.update(given)
        for name in self._needed:
            if values.get(name.lstrip("-")) is None:
                raise UsageError(f"{name} is missing: {self.usage}")
        return values

    def abbreviate(self, flag: str, full: str) -> None:
        """Let ``flag``, which is the name of a section of settings, stand for ``full``, the setting that opens it.

        As a second name of the argument it would be taken for the whole section in files.
        """
        self._section_flags[flag] = full

    def _in_full(self, word: str) -> str:
        flag, equals, value = word.partition("=")
        return self._section_flags.get(flag, flag) + equals + value

    def _read_file(self, path: str) -> Namespace:
        existing(path, "--config")
        try:
            text = Path(path).read_text(encoding="utf-8")
            values: Namespace = self.parse_string(self._with_words(text), defaults=False)
        except (OSError, UnicodeDecodeError) as error:
            raise UsageError(f"--config {path}: cannot be read as text ({error}).") from error
        except (UsageError, TypeError) as error:
            raise UsageError(f"--config {path}: {str(error).removeprefix('--')}") from error
        return values

    def _with_words(self, text: str) -> str:
        """Return a file whose ``seeds: 7`` or ``aspect: 3:2`` are words, where a flag takes words, and not numbers."""
        words = {action.dest for action in self._actions if str in _kinds(action)}
        try:
            values, written = yaml.safe_load(text), yaml.load(text, yaml.BaseLoader)
        except yaml.YAMLError:
            return text  # what is wrong with it is told by who parses it
        if values is None:
            return "{}"  # nothing but comments
        if not isinstance(values, dict):
            return text
        return yaml.safe_dump(_worded(values, written, words), sort_keys=False)

    def error(self, message: str, ex: Exception | None = None) -> NoReturn:
        """Raise UsageError instead of printing the usage and leaving."""
        raise UsageError(self._explain(message)) from ex

    def _explain(self, message: str) -> str:
        """Return what jsonargparse said as one line in our words, with the nearest flag or setting."""
        message = re.sub(r"a <class '(\w+)'>", r"\1", " ".join(message.split()))
        message = re.sub(r"a typing\.Literal\[(.*?)\]", lambda m: "one of " + m[1].replace("'", ""), message)
        message = re.sub(_OPTIONAL, r"\1. Got value: \2", message)
        options = [option for action in self._actions for option in action.option_strings] + [*self._section_flags]
        if unknown := re.match(r"unrecognized arguments: (.*)", message):
            word = unknown[1].split()[0]
            if word in ("true", "false"):
                return f"'{word}' was not expected: a switch takes no value; it is turned off by --no-… ."
            if not word.startswith("-"):
                return f"'{word}' was not expected; see '{self.prog} --help'."
            word = word.split("=")[0]
            return f"'{word}' is not a flag of '{self.prog}'.{self._nearest(word, options)}"
        if unknown := re.match(r"Option '(.*)' is not accepted", message):
            keys = [action.dest for action in self._actions]
            return f"'{unknown[1]}' is not a setting.{nearest(unknown[1], keys)}"
        if wrong := re.match(r'Parser key "(.*?)": (.*)', message):
            flags = {action.dest: action.option_strings[0] for action in self._actions if action.option_strings}
            return f"{flags.get(wrong[1], '--' + wrong[1])}: {wrong[2]}"
        return message

    def _nearest(self, word: str, options: Sequence[str]) -> str:
        """Return a hint at the flag that was meant: by its name, with its section or without; "" if none is near."""
        meant = self._meant.get(word.replace("_", "-"))
        if meant is None:
            names = {_last(option): option for option in options} | {option.lstrip("-"): option for option in options}
            meant = names.get(closest(word.lstrip("-"), names.keys() - {"h", "help"}, likeness=_LIKE) or "")
        return "" if meant is None else f" Did you mean '{meant}'?"


def _last(flag: str) -> str:
    return flag.lstrip("-").rpartition(".")[2]


def _kinds(action: argparse.Action) -> tuple[Any, ...]:
    """Return the types that a flag takes."""
    kind = getattr(action, "_typehint", None)  # jsonargparse keeps it there and has no public name for it
    return typing.get_args(kind) or (kind,)


def _worded(values: dict[str, Any], written: Any, words: set[str], above: str = "") -> dict[str, Any]:
    """Return ``values`` with numbers as they are ``written`` wherever ``words`` has their dotted name."""
    told: dict[str, Any] = {}
    for key, value in values.items():
        text = written.get(key) if isinstance(written, dict) else None
        if isinstance(value, dict):
            told[key] = _worded(value, text, words, f"{above}{key}.")
        elif f"{above}{key}" in words and isinstance(value, int | float) and not isinstance(value, bool):
            told[key] = text if isinstance(text, str) else str(value)
        else:
            told[key] = value
    return told


def add_precision(flags: Any, about: str) -> None:
    """Add ``--precision`` to a parser, or to a group of its flags."""
    flags.add_argument("--precision", type=typing.Literal["fp32", "bf16", "fp16"], default="fp32", help=about)


# ---- settings as flags -----------------------------------------------------------------------------------------------


def add_settings(parser: CommandParser, settings: type, aliases: Mapping[str, str]) -> None:
    """Add a flag ``--section.field`` for every field of a nested configuration dataclass.

    Args:
        parser: the parser to extend.
        settings: the dataclass; the docstring after a field becomes its help.
        aliases: short flag by dotted name, such as ``{"loss.r1_gamma": "--gamma"}``; both set the same value. A setting
            outside of sections is also taken with dashes, as other flags are written.
    """
    _add_section(parser, settings, "", aliases, parser.add_argument_group("settings of the run"))


def _add_section(parser: CommandParser, settings: type, prefix: str, aliases: Mapping[str, str], group: Any) -> None:
    types = typing.get_type_hints(settings)
    about = {p.arg_name: p.description for p in parse_from_object(settings).params}
    for name in (field.name for field in dataclasses.fields(settings)):
        dotted = prefix + name
        if dataclasses.is_dataclass(types[name]):
            inner = parser.add_argument_group(f"{dotted}: {about[name]}")
            _add_section(parser, typing.cast(type, types[name]), f"{dotted}.", aliases, inner)
            continue
        kind: dict[str, Any] = {"action": YES_NO} if types[name] is bool else {"type": types[name]}
        short = [aliases[dotted]] if dotted in aliases else []
        if not prefix and "_" in name:
            short.insert(0, f"--{name.replace('_', '-')}")
        if short == [f"--{prefix.rstrip('.')}"]:
            parser.abbreviate(short.pop(), f"--{dotted}")
        if types[name] is bool:
            short += [flag.replace("--", "--no-", 1) for flag in short]
        group.add_argument(f"--{dotted}", *short, help=about[name], default=argparse.SUPPRESS, **kind)


def given_settings(values: Namespace, settings: type) -> dict[str, Any]:
    """Return, as nested dicts, the fields of ``settings`` among the values of :meth:`CommandParser.read`."""
    fields = {field.name for field in dataclasses.fields(settings)}
    return {name: value for name, value in values.as_dict().items() if name in fields}


# ---- values of flags -------------------------------------------------------------------------------------------------


def parse_size(text: str, flag: str) -> tuple[int, int]:
    """Return (height, width) of ``"64"`` (square) or ``"256x384"`` (height × width).

    Raises: UsageError naming ``flag`` for anything else.
    """
    match = re.fullmatch(r"(\d+)(?:[x×](\d+))?", text.strip().lower())
    if match is None:
        raise UsageError(f"{flag}: a size is S or HxW in pixels, such as 64 or 256x384, got '{text}'.")
    return int(match[1]), int(match[2] or match[1])


def existing(path: str | Path, flag: str) -> Path:
    """Return ``path`` as a Path; UsageError naming ``flag`` when nothing is there."""
    found = Path(path)
    if not found.exists():
        raise UsageError(f"{flag}: there is no file or folder '{found}'.")
    return found


def at_least(flag: str, value: int, least: int = 1) -> None:
    """Raise UsageError naming ``flag`` if its value is too small."""
    if value < least:
        raise UsageError(f"{flag} must be at least {least}, got {value}.")


def add_force(parser: CommandParser, what: str) -> None:
    """Add ``--force``, which lets ``what`` (DEST, the file of --out) be written over a file that is there."""
    parser.add_argument("--force", action="store_true", help=f"Replace {what} if it exists.")


def new_file(text: str | Path, flag: str, *, force: bool) -> Path:
    """Return ``text`` as a Path; UsageError naming ``flag`` where a file is there that ``force`` does not let go."""
    path = file_to_write(text, flag)
    if path.exists() and not force:
        raise UsageError(f"{flag}: '{path}' exists and is not overwritten; --force replaces it.")
    return path


def file_to_write(path: str | Path, flag: str) -> Path:
    """Return ``path`` as a Path; an error naming ``flag``, before any work, where it could not be written."""
    file = Path(path)
    try:
        check_writable(file)
    except (UsageError, StorageError) as error:
        raise type(error)(f"{flag}: {error}") from error
    return file


def folder_to_write(path: str | Path, flag: str) -> Path:
    """Return ``path`` as a Path; UsageError naming ``flag`` when a file stands where a folder would have to be."""
    folder = Path(path)
    for part in (folder, *folder.parents):
        if part.is_file():
            raise UsageError(f"{flag}: '{part}' is a file; name a folder, which is made if it is not there.")
    return folder


def checked_path(text: str | None, suffix: str, flag: str) -> Path | None:
    """Return ``text`` as a Path, None as None. Raises: UsageError naming ``flag`` if the name has another ending."""
    if text is None:
        return None
    path = file_to_write(text, flag)
    if path.suffix.lower() != suffix:
        raise UsageError(f"{flag}: the name must end in {suffix}, got '{text}'.")
    return path
