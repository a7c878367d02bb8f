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

from docstring_parser import parse_from_object
from jsonargparse import ActionYesNo, ArgumentParser, Namespace

from capriccio.errors import UsageError, nearest

DEVICE_HELP = "Where to compute: cpu, cuda, cuda:1, mps; auto = the fastest there is."

YES_NO = ActionYesNo(no_prefix="no-")
"""Action of a switch that can also be turned off: ``--mirror`` and ``--no-mirror``."""


class CommandParser(ArgumentParser):
    """Parser of one command: raises :class:`UsageError` with one line that names the flag or file."""

    def __init__(self, command: str, about: str, usage: str) -> None:
        super().__init__(
            prog=f"capriccio {command}",
            description=about,
            usage=f"capriccio {command} {usage}",
            allow_abbrev=False,
            default_env=False,
            print_config=None,
            exit_on_error=False,
        )
        self.add_argument("--config", action="config", help="YAML file with values for these flags; flags win over it.")

    def read(self, argv: Sequence[str]) -> Namespace:
        """Return what was given on the line and in files, and nothing else; what was not given is absent."""
        return self.parse_args(_files_first(argv), defaults=False)

    def read_with_defaults(self, argv: Sequence[str]) -> Namespace:
        """Return what was given on the line and in files, over the defaults."""
        return self.parse_args(_files_first(argv))

    def error(self, message: str, ex: Exception | None = None) -> NoReturn:
        """Raise UsageError instead of printing the usage and leaving."""
        raise UsageError(self._explain(message)) from ex

    def _explain(self, message: str) -> str:
        message = re.sub(r"a <class '(\w+)'>", r"\1", " ".join(message.split()))
        message = re.sub(r"a typing\.Literal\[(.*?)\]", lambda m: "one of " + m[1].replace("'", ""), message)
        options = [option for action in self._actions for option in action.option_strings]
        if unknown := re.match(r"unrecognized arguments: (.*)", message):
            word = unknown[1].split()[0]
            if word in ("true", "false"):
                return f"'{word}' was not expected: a switch takes no value; it is turned off by --no-… ."
            if not word.startswith("-"):
                return f"'{word}' was not expected; see '{self.prog} --help'."
            word = word.split("=")[0]
            return f"'{word}' is not a flag of '{self.prog}'.{nearest(word, options)}"
        if unknown := re.match(r"Option '(.*)' is not accepted", message):
            keys = [action.dest for action in self._actions]
            return f"--config: '{unknown[1]}' is not a setting.{nearest(unknown[1], keys)}"
        if wrong := re.match(r'Parser key "(.*?)": (.*)', message):
            return f"--{wrong[1]}: {wrong[2]}"
        return message


def _files_first(argv: Sequence[str]) -> list[str]:
    """Move every ``--config FILE`` to the front: values are taken in order, so that flags win wherever they stand."""
    files, flags = [], []
    words = iter(argv)
    for word in words:
        if word == "--config":
            files += [word, *(w for w in [next(words, None)] if w is not None)]
        elif word.startswith("--config="):
            files.append(word)
        else:
            flags.append(word)
    return files + flags


# ---- settings as flags -----------------------------------------------------------------------------------------------


def add_settings(parser: CommandParser, settings: type, aliases: Mapping[str, str]) -> None:
    """Add a flag ``--section.field`` for every field of a nested configuration dataclass.

    Args:
        parser: the parser to extend.
        settings: the dataclass; the docstring after a field becomes its help.
        aliases: short flag by dotted name, such as ``{"loss.r1_gamma": "--gamma"}``; both set the same value.
    """
    _add_section(parser, settings, "", aliases, parser.add_argument_group("settings of the run"))


def _add_section(
    parser: CommandParser, settings: type, prefix: str, aliases: Mapping[str, str], group: Any
) -> None:
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
        if short and types[name] is bool:
            short.append(short[0].replace("--", "--no-"))
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
