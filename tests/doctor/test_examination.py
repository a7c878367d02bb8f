import re
from pathlib import Path

from capriccio.doctor.examination import JUDGEABLE, RULES, LiveDoctor, acquitted, examine
from capriccio.doctor.finding import SEVERITIES
from capriccio.doctor.installation import examine_installation
from capriccio.doctor.record import read_run
from tests.doctor.runs import settings, tick_values, write_run

DOCUMENT = Path(__file__).resolve().parents[2] / "docs" / "doctor.md"


def test_the_gravest_comes_first(tmp_path):
    sick = {"Loss/signs/real": 0.8, "Loss/pl_penalty": None, "Timing/data": 60.0}
    found = examine(read_run(write_run(tmp_path, **sick)))
    assert list(found) == ["exploding-losses", "discriminator-overfitting", "loader-bound"]
    grades = [SEVERITIES.index(finding.severity) for finding in found.values()]
    assert grades == sorted(grades, reverse=True)


def test_every_rule_says_when_it_can_judge(tmp_path):
    assert list(JUDGEABLE) == list(RULES)
    record = read_run(write_run(tmp_path, ticks=0))
    assert acquitted(record, examine(record)) == ([], list(RULES))


def test_every_rule_has_its_section_in_the_document():
    sections = re.findall(r"^### `([\w-]+)`$", DOCUMENT.read_text(encoding="utf-8"), flags=re.MULTILINE)
    assert set(RULES) <= set(sections)
    assert len(sections) == len(set(sections))


def test_while_a_run_goes_on_each_illness_is_told_once(tmp_path):
    doctor = LiveDoctor(write_run(tmp_path, ticks=10), settings())
    told = [doctor.look(tick_values(i, **{"Loss/signs/real": 0.85})) for i in range(10, 40)]
    assert [len(lines) for lines in told].count(1) == 1
    assert sum(map(len, told)) == 1
    line = next(lines[0] for lines in told if lines)
    assert line.startswith("Doctor, warning: The discriminator overfits")
    assert "\n" not in line


def test_an_illness_that_becomes_graver_is_told_again(tmp_path):
    doctor = LiveDoctor(write_run(tmp_path, ticks=30, **{"Loss/signs/real": 0.8}), settings())
    first = doctor.look(tick_values(30, **{"Loss/signs/real": 0.8}))
    later = [line for i in range(31, 60) for line in doctor.look(tick_values(i, **{"Loss/signs/real": 0.99}))]
    assert [line.split(":")[0] for line in first + later] == ["Doctor, warning", "Doctor, serious"]


def test_a_healthy_run_is_told_nothing(tmp_path):
    doctor = LiveDoctor(write_run(tmp_path, ticks=0), settings())
    assert not any(doctor.look(tick_values(i)) for i in range(40))


def test_the_installation_has_sections_too():
    assert examine_installation.__doc__
    sections = DOCUMENT.read_text(encoding="utf-8")
    for name in ("idle-cores", "missing-extras", "little-room", "slow"):
        assert f"### `{name}`" in sections
