"""``capriccio COMMAND …``: choose the command, import only that one, turn errors into exit codes.

Exit codes: 0 done; 1 the job failed; 2 bad usage or bad input; 130 and 143 interrupted by SIGINT and SIGTERM.
"""

from __future__ import annotations

import ctypes
import importlib
import os
import signal
import sys
import traceback
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from types import FrameType
from typing import Any, NoReturn

from capriccio import __version__
from capriccio.errors import CapriccioError, CapriccioWarning, Interrupted, UsageError
from capriccio.wording import nearest


@dataclass(frozen=True, slots=True)
class Command:
    """One command: the module whose ``run(argv)`` does it, and a line for the overview."""

    module: str
    about: str


COMMANDS = {
    "demo": Command("capriccio.cli.demo", "a tour of everything on embedded data, ending in one HTML report"),
    "dataset build": Command("capriccio.cli.dataset_build", "pictures of any kind and size to a training archive"),
    "dataset add": Command("capriccio.cli.dataset_add", "new pictures into an archive that a run may be using"),
    "dataset inspect": Command("capriccio.cli.dataset_inspect", "what is in an archive, and whether it is sound"),
    "dataset synth": Command("capriccio.cli.dataset_synth", "painted landscapes, free of anybody's rights"),
    "train": Command("capriccio.cli.train", "train a network on a folder or archive of pictures"),
    "generate": Command("capriccio.cli.generate", "paint pictures from seeds"),
    "mix": Command("capriccio.cli.mix", "the style-mixing table of rows and columns of seeds"),
    "directions": Command("capriccio.cli.directions", "editing directions of a network, and sheets of what they do"),
    "edit": Command("capriccio.cli.edit", "more snow, less haze: pictures moved along named directions"),
    "blend": Command("capriccio.cli.blend", "levels of one network into a relative of it"),
    "project": Command("capriccio.cli.project", "pictures back to latents, for mixing, editing and films"),
    "detect": Command("capriccio.cli.detect", "did this network make these pictures? Verdicts with error rates"),
    "calibrate": Command("capriccio.cli.calibrate", "measure what detect needs to know about a network"),
    "video": Command("capriccio.cli.video", "a walk from picture to picture"),
    "serve": Command("capriccio.cli.serve", "a site of pictures that never existed, and the studio, in a browser"),
    "metrics": Command("capriccio.cli.metrics", "numbers about a network, each with the protocol it was measured by"),
    "metrics compare": Command("capriccio.cli.metrics_compare", "two evaluations side by side, if measured alike"),
    "metrics memorisation": Command("capriccio.cli.metrics_memorisation", "does a network repeat training pictures?"),
    "convert": Command("capriccio.cli.convert", "networks of other programs in, and ours out to them"),
    "export": Command("capriccio.cli.export", "a network as ONNX, as a torch.export package, or as a web page"),
    "push": Command("capriccio.cli.push", "a network with its card to the Hugging Face hub"),
    "bench": Command("capriccio.cli.bench", "the speed of this machine, and its share of the possible"),
    "doctor": Command("capriccio.cli.doctor", "what is wrong with a run or this installation, and what to do"),
    "info": Command("capriccio.cli.info", "what a network file says about itself"),
}
"""All commands by name; a name of two words is a command and its verb."""

_EXAMPLES = """\
examples:
  capriccio generate --seeds 0-15 --out pictures
  capriccio mix --rows 1,2 --cols 3-7 --layers coarse --out mix.png
  capriccio dataset build photos/ photos-64.zip --size 64
  capriccio train photos-64.zip --out runs/mine --preset laptop
"""


_M_TRIM_THRESHOLD, _M_MMAP_MAX = -1, -4
"""Names of malloc.h."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit code.

    Args:
        argv: words after the program's name; None = those of this process.
    """
    words = list(sys.argv[1:] if argv is None else argv)
    debug = "--debug" in words
    words = [word for word in words if word != "--debug"]
    signal.signal(signal.SIGTERM, _terminated)
    _tune_process()
    try:
        with _told_warnings():
            return _dispatch(words)
    except SystemExit as stop:  # the parser after printing help; a command that was terminated
        return stop.code if isinstance(stop.code, int) else 0
    except KeyboardInterrupt:
        return _report("interrupted.", 128 + signal.SIGINT, debug)
    except BrokenPipeError:  # the reader of our output left, as in `capriccio --help | head -1`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 128 + 13  # SIGPIPE, for which Windows has no name
    except Interrupted as stop:
        print(f"capriccio: {stop}", file=sys.stderr)
        return stop.exit_code
    except CapriccioError as error:
        return _report(str(error), error.exit_code, debug)
    except OSError as error:
        return _report(f"{error.filename or 'system'}: {error.strerror or error}.", 1, debug)
    except Exception as error:
        told = f"a mistake in the program, {type(error).__name__}: {error} (--debug shows where; please report it)"
        return _report(told, 1, debug)


@contextmanager
def _told_warnings() -> Iterator[None]:
    """Tell our own warnings in one line each, as errors are told, and once."""
    with warnings.catch_warnings():
        warnings.simplefilter("once", CapriccioWarning)
        others = warnings.showwarning

        def show(message: Warning | str, category: type[Warning], *where: Any, **more: Any) -> None:
            if issubclass(category, CapriccioWarning):
                print(f"capriccio: warning: {message}", file=sys.stderr)
            else:
                others(message, category, *where, **more)

        warnings.showwarning = show
        yield


def _tune_process() -> None:
    """Set what the libraries below read once, before they are loaded; measured in docs/experiments.md."""
    # Threads that wait for each other spin for some microseconds, then sleep. Spinning for milliseconds, the default,
    # makes one small picture take 1.4 s on a busy machine where 0.03 s suffice; never spinning costs a tenth of the
    # speed of training on an idle one.
    os.environ.setdefault("GOMP_SPINCOUNT", "2000")
    if sys.platform == "linux":
        # Keep freed memory instead of giving it back and fetching it again, page by page, at every feature map.
        libc = ctypes.CDLL(None)
        if (mallopt := getattr(libc, "mallopt", None)) is not None:  # glibc has it; musl has not
            mallopt(_M_TRIM_THRESHOLD, 2**31 - 1)
            mallopt(_M_MMAP_MAX, 0)


def _dispatch(words: list[str]) -> int:
    if not words or words[0] in ("-h", "--help", "help"):
        print(_overview(COMMANDS, "COMMAND"))
        return 0
    if words[0] == "--version":
        print(f"capriccio {__version__}")
        return 0
    if words[0].startswith("-"):
        raise UsageError(f"the command comes first, then its flags, got '{words[0]}'; see 'capriccio --help'.")
    for length in (2, 1):
        name = " ".join(words[:length])
        if name in COMMANDS:
            return int(importlib.import_module(COMMANDS[name].module).run(words[length:]))
    verbs = {name: command for name, command in COMMANDS.items() if name.startswith(f"{words[0]} ")}
    if verbs and words[1:2] in ([], ["-h"], ["--help"]):
        print(_overview(verbs, f"{words[0]} VERB"))
        return 0
    asked = " ".join(words[:2]) if verbs else words[0]
    raise UsageError(f"'{asked}' is not a command.{nearest(asked, COMMANDS)} There are: {', '.join(COMMANDS)}.")


def _overview(commands: dict[str, Command], usage: str) -> str:
    width = max(map(len, commands)) + 2
    lines = [f"  {name:<{width}}{command.about}" for name, command in commands.items()]
    examples = f"\n{_EXAMPLES}" if commands is COMMANDS else ""
    return (
        f"usage: capriccio {usage} [flags]\n\n"
        "StyleGAN2 as a product: train on photographs, generate, mix styles.\n\n"
        f"commands ('capriccio COMMAND --help' has the flags of each):\n" + "\n".join(lines) + "\n\n"
        "options:\n  --version  print the version\n  --debug    show the traceback of an error\n" + examples
    ).rstrip()


def _report(message: str, exit_code: int, debug: bool) -> int:
    if debug:
        traceback.print_exc()
    print(f"capriccio: error: {message}", file=sys.stderr)
    return exit_code


def _terminated(number: int, frame: FrameType | None) -> NoReturn:
    raise SystemExit(128 + number)
