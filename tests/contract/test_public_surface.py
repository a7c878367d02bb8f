"""What other people's code may rely on: the public names, and that asking for them costs little."""

from __future__ import annotations

import importlib
import json
import subprocess
import sys

import pytest

import capriccio
from capriccio.cli.main import COMMANDS


def modules_after(code: str) -> set[str]:
    """Return the modules loaded in a fresh interpreter after running ``code``."""
    probe = f"{code}\nimport json, sys\nprint('\\n' + json.dumps(sorted(sys.modules)))"
    told = subprocess.run([sys.executable, "-c", probe], capture_output=True, text=True, check=True).stdout
    return set(json.loads(told.splitlines()[-1]))


@pytest.mark.parametrize("name", capriccio.__all__)
def test_every_public_name_can_be_loaded_and_is_documented(name):
    value = getattr(capriccio, name)
    assert value.__doc__
    assert value.__name__ == name
    assert importlib.import_module(value.__module__).__dict__[name] is value


def test_the_public_names_are_sorted_and_complete():
    assert sorted(capriccio.__all__) == list(capriccio.__all__)
    assert set(capriccio.__all__) == set(capriccio._HOME)
    assert set(dir(capriccio)) == {*capriccio.__all__, "__version__"}


def test_a_name_that_is_not_there_is_an_attribute_error():
    with pytest.raises(AttributeError, match="module 'capriccio' has no attribute 'lode'"):
        _ = capriccio.lode


def test_importing_the_package_loads_next_to_nothing():
    assert not modules_after("import capriccio") & {"torch", "numpy", "PIL", "jsonargparse", "rich"}


@pytest.mark.parametrize("argv", [["--help"], ["--version"], ["dataset"], ["projct"]])
def test_the_overview_loads_neither_torch_nor_the_parser(argv):
    loaded = modules_after(f"from capriccio.cli.main import main; main({argv!r})")
    assert not loaded & {"torch", "numpy", "jsonargparse"}


@pytest.mark.parametrize("name", [name for name in COMMANDS if name != "bench"])
def test_the_help_of_a_command_loads_no_torch(name):
    assert "torch" not in modules_after(f"from capriccio.cli.main import main; main({[*name.split(), '--help']!r})")


def test_refusing_a_run_loads_no_torch():
    code = "from capriccio.cli.main import main; assert main(['train', 'missing.zip', '--out', 'x']) == 2"
    assert "torch" not in modules_after(code)
