"""The front door: overview, unknown commands, and exit codes."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import types
from collections.abc import Callable

import pytest

from capriccio import __version__
from capriccio.cli import main as cli
from capriccio.errors import DatasetError, DivergedError, Interrupted, SnapshotError


@pytest.fixture
def command_that(monkeypatch) -> Callable[[Callable[[list[str]], int]], None]:
    """Return a function that makes ``capriccio try`` do something."""

    def install(run: Callable[[list[str]], int]) -> None:
        module = types.ModuleType("a_command")
        module.run = run
        monkeypatch.setitem(sys.modules, "a_command", module)
        monkeypatch.setitem(cli.COMMANDS, "try", cli.Command("a_command", "tried"))

    return install


def raising(error: BaseException) -> Callable[[list[str]], int]:
    def run(argv: list[str]) -> int:
        raise error

    return run


@pytest.mark.parametrize("argv", [[], ["--help"], ["-h"], ["help"]])
def test_the_overview_names_every_command(argv, capsys):
    assert cli.main(argv) == 0
    told = capsys.readouterr().out
    assert all(name in told and command.about in told for name, command in cli.COMMANDS.items())


def test_the_version_is_told(capsys):
    assert cli.main(["--version"]) == 0
    assert capsys.readouterr().out == f"capriccio {__version__}\n"


def test_the_package_can_be_run_as_a_module():
    done = subprocess.run([sys.executable, "-m", "capriccio", "--version"], capture_output=True, text=True, check=True)
    assert done.stdout == f"capriccio {__version__}\n"


def test_a_family_of_commands_has_its_own_overview(capsys):
    assert cli.main(["dataset"]) == 0
    told = capsys.readouterr().out
    assert "\n  dataset build " in told
    assert "\n  train " not in told


@pytest.mark.parametrize("name", list(cli.COMMANDS))
def test_every_command_has_help(name, capsys):
    assert cli.main([*name.split(), "--help"]) == 0
    told = capsys.readouterr().out
    assert told.startswith(f"usage: capriccio {name} ")
    assert "--config" in told


@pytest.mark.parametrize(
    ("argv", "told"),
    [
        (["generat"], "'generat' is not a command. Did you mean 'generate'? There are: "),
        (["xyzzyx"], "'xyzzyx' is not a command."),
        (["dataset", "buidl"], "'dataset buidl' is not a command. Did you mean 'dataset build'?"),
        (["--preset", "tiny", "train"], "the command comes first, then its flags, got '--preset'"),
    ],
)
def test_what_is_no_command_is_said_with_what_there_is(argv, told, capsys):
    assert cli.main(argv) == 2
    captured = capsys.readouterr()
    assert captured.err.startswith(f"capriccio: error: {told}")
    assert captured.err.count("\n") == 1
    assert captured.out == ""


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (DatasetError("'x.zip' is empty."), 2),
        (SnapshotError("'x' is damaged."), 2),
        (DivergedError("losses stay non-finite."), 1),
        (OSError(28, "No space left on device", "runs/x"), 1),
        (KeyboardInterrupt(), 130),
        (ZeroDivisionError("oh"), 1),
    ],
)
def test_errors_are_one_line_and_an_exit_code(error, code, command_that, capsys):
    command_that(raising(error))
    assert cli.main(["try"]) == code
    told = capsys.readouterr().err
    assert told.startswith("capriccio: error: ")
    assert told.count("\n") == 1
    assert str(error.args[-1] if error.args else "interrupted") in told


def test_an_interrupted_job_is_no_error(command_that, capsys):
    command_that(raising(Interrupted(signal.SIGTERM, "stopped by SIGTERM; checkpoint saved.")))
    assert cli.main(["try"]) == 143
    assert capsys.readouterr().err == "capriccio: stopped by SIGTERM; checkpoint saved.\n"


def test_debug_shows_the_traceback_wherever_it_stands(command_that, capsys):
    seen = []

    def run(argv: list[str]) -> int:
        seen.append(argv)
        raise DatasetError("'x.zip' is empty.")

    command_that(run)
    assert cli.main(["try", "--debug", "x.zip"]) == 2
    told = capsys.readouterr().err
    assert "Traceback" in told
    assert told.endswith("capriccio: error: 'x.zip' is empty.\n")
    assert seen == [["x.zip"]]


def test_the_exit_code_of_the_command_is_the_exit_code(command_that):
    command_that(lambda argv: 143)
    assert cli.main(["try"]) == 143


def test_a_terminated_command_leaves_with_143_after_its_own_tidying(command_that):
    tidied = []

    def run(argv: list[str]) -> int:
        try:
            os.kill(os.getpid(), signal.SIGTERM)
            signal.pause()
        finally:
            tidied.append(True)
        return 0

    command_that(run)
    assert cli.main(["try"]) == 143
    assert tidied == [True]


def test_a_reader_that_leaves_early_makes_no_noise():
    code = "import sys; from capriccio.cli.main import main; sys.exit(main(['train', '--help']))"
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        process.stdout.close()
        told = process.stderr.read()
        process.wait()
    assert told == b""
