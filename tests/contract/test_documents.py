"""Commands in documents parse, links lead somewhere, and tables say what the code says."""

from __future__ import annotations

import importlib
import re
import runpy
import shlex
import sys
from pathlib import Path

import pytest

from capriccio.cli.main import COMMANDS
from capriccio.config import ImageShape
from capriccio.presets import PRESETS, about, preset

ROOT = Path(__file__).resolve().parents[2]
DOCUMENTS = [*sorted(ROOT.glob("*.md")), *sorted((ROOT / "docs").glob("*.md"))]


def commands_in(document: Path) -> list[str]:
    blocks = re.findall(r"```bash\n(.*?)```", document.read_text(encoding="utf-8"), flags=re.DOTALL)
    lines = "\n".join(blocks).replace("\\\n", " ").splitlines()
    found = [re.search(r"(?:\bcapriccio\.cli\.main|^(?:\S*/)?capriccio)\s+(.*)", line.strip()) for line in lines]
    return [match[1] for match in found if match]


SHOWN = [(document.name, command) for document in DOCUMENTS for command in commands_in(document)]


def test_documents_show_commands():
    assert {"README.md", "scaling.md"} <= {name for name, _ in SHOWN}


@pytest.mark.parametrize(("document", "line"), SHOWN)
def test_a_command_in_a_document_parses(document, line, tmp_path, monkeypatch):
    words = shlex.split(line, comments=True)
    if words[0].startswith("--"):  # of the program itself, such as --help
        assert words[0] in ("--help", "--version", "--debug")
        return
    name = next(" ".join(words[:n]) for n in (2, 1) if " ".join(words[:n]) in COMMANDS)
    argv = words[len(name.split()) :]
    for i, word in enumerate(argv):  # configuration files in documents are examples of names
        if word == "--config":
            argv[i + 1] = str(tmp_path / "config.yaml")
            (tmp_path / "config.yaml").write_text("{}\n")
    importlib.import_module(COMMANDS[name].module)._parser().read(argv)


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_links_inside_the_project_lead_somewhere(document):
    targets = re.findall(r"\]\(([^)#]+)\)", document.read_text(encoding="utf-8"))
    for target in targets:
        if not target.startswith("http"):
            assert (document.parent / target).exists(), f"{document.name}: {target}"


@pytest.mark.parametrize("name", [name for name in PRESETS if name != "auto"])
def test_the_table_of_presets_is_that_of_the_code(name):
    run = preset(name, ImageShape())
    numbers = (
        run.total_kimg,
        run.batch,
        run.batch_per_round,
        run.discriminator.mbstd_group_size,
        run.generator.channel_base,
        run.generator.channel_max,
        run.generator.z_dim,
        run.generator.mapping.num_layers,
        run.optimizer.generator_lr,
        run.loss.r1_gamma,
        run.loss.pl_weight,
        run.loss.mixing_prob,
        run.ema.half_life_kimg,
        run.ema.rampup,
    )
    cells = [f"`{name}`", *("none" if n is None else f"{n:.10g}" for n in numbers), run.discriminator.architecture]
    expected = "| " + " | ".join(cells) + " |"
    told = (ROOT / "docs" / "presets.md").read_text(encoding="utf-8")
    assert expected in told, f"docs/presets.md should have the line\n{expected}"
    assert f"* `{name}`: {about(name)}" in told


@pytest.mark.parametrize(
    ("script", "absent"), [("kernel_instructions", "triton"), ("verify_feature_networks", "lpips")]
)
def test_a_script_without_its_packages_says_what_to_install(script, absent, monkeypatch):
    monkeypatch.setitem(sys.modules, absent, None)
    with pytest.raises(SystemExit, match="pip install"):
        runpy.run_path(str(ROOT / "scripts" / f"{script}.py"))


def test_a_measuring_script_gives_help_before_it_measures(monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["metric_speed.py", "--help"])
    with pytest.raises(SystemExit):
        runpy.run_path(str(ROOT / "scripts" / "metric_speed.py"), run_name="__main__")
    assert "--count" in capsys.readouterr().out
