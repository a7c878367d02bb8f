import json

import pytest

from tests.doctor.runs import write_run


def test_a_sick_run_is_described_in_words(cli, tmp_path):
    code, out, _ = cli("doctor", write_run(tmp_path, **{"Loss/signs/real": 0.93}))
    assert code == 0
    assert "160.0 of 1,000 kimg" in out
    assert "serious  The discriminator overfits" in out
    assert "(r_t 0.93)" in out
    assert "--gamma" in out


def test_a_healthy_run_is_told_so(cli, tmp_path):
    code, out, _ = cli("doctor", write_run(tmp_path))
    assert code == 0
    assert "Nothing is wrong" in out
    assert "mode-collapse" in out


def test_a_young_run_is_told_that_it_is_too_young(cli, tmp_path):
    _, out, _ = cli("doctor", write_run(tmp_path, ticks=3))
    first, *_, found, judged = out.splitlines()
    assert first == "Too early to judge: 3 ticks, at least 5 are needed."
    assert "Nothing is wrong" not in out
    assert found == "Looked for and not found: precision-trouble, too-few-pictures."
    assert judged.startswith("Not judged yet: exploding-losses, vanishing-losses, discriminator-overfitting")


def test_json_is_one_document(cli, tmp_path):
    code, out, _ = cli("doctor", write_run(tmp_path, **{"Numerics/skipped_steps": 2.0}), "--json")
    document = json.loads(out)
    assert code == 0
    assert not document["healthy"]
    assert [finding["name"] for finding in document["findings"]] == ["precision-trouble"]
    assert set(document["findings"][0]) == {"name", "severity", "what", "evidence", "advice"}
    assert "mode-collapse" in document["looked_for"]
    assert document["not_judged"] == ["mode-collapse", "disk-filling"]  # no sheet and no checkpoint lies there
    assert document["kimg"] == 160


@pytest.mark.parametrize("what", ["nothing", "file", "empty"])
def test_what_is_no_run_is_refused_in_one_line(cli, tmp_path, what):
    path = tmp_path / what
    if what == "file":
        path.write_text("")
    if what == "empty":
        path.mkdir()
    code, out, err = cli("doctor", path)
    assert (code, out) == (2, "")
    assert err.count("\n") == 1
    assert str(path) in err


def test_the_installation_is_described(cli):
    code, out, _ = cli("doctor", "--no-speed", "--device", "cpu")
    assert code == 0
    assert "precision" in out
    assert "cpu (chosen)" in out
    assert "extra      video" in out


def test_the_installation_is_one_json_document(cli):
    code, out, _ = cli("doctor", "--no-speed", "--device", "cpu", "--json")
    document = json.loads(out)
    assert code == 0
    assert document["device"] == "cpu"
    assert document["speed"] is None


@pytest.mark.slow
def test_the_speed_check_measures(cli):
    code, out, _ = cli("doctor", "--json", "--device", "cpu")
    speed = json.loads(out)["speed"]
    assert code == 0
    assert speed["train_images_per_second"] > 0
    assert speed["generate_images_per_second"] > speed["train_images_per_second"]
    assert 0 < speed["train_share_of_peak"] < 1
