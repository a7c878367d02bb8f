from dataclasses import replace

import pytest

from capriccio.doctor.examination import examine
from capriccio.doctor.record import read_run
from tests.doctor.runs import settings, write_run


def found_in(folder):
    return examine(read_run(folder))


def test_a_healthy_run_is_found_healthy(tmp_path):
    assert found_in(write_run(tmp_path)) == {}


def test_losses_that_are_not_finite_are_exploding(tmp_path):
    found = found_in(write_run(tmp_path, sick_from=38, **{"Loss/G/loss": None}))
    assert list(found) == ["exploding-losses"]
    finding = found["exploding-losses"]
    assert finding.severity == "serious"
    assert "Loss/G/loss" in finding.evidence
    assert "ticks 35–39" in finding.evidence
    assert "--precision fp32" in finding.advice


def test_huge_logits_are_exploding_losses(tmp_path):
    found = found_in(write_run(tmp_path, sick_from=35, **{"Loss/scores/real": 60.0, "Loss/scores/fake": -80.0}))
    assert found["exploding-losses"].severity == "warning"
    assert "Loss/scores/fake reaches 80" in found["exploding-losses"].evidence


def test_an_explosion_that_is_over_is_not_reported(tmp_path):
    folder = write_run(tmp_path)
    lines = (folder / "stats.jsonl").read_text().splitlines()
    lines[3] = lines[3].replace('"mean": 1.4', '"mean": null')
    (folder / "stats.jsonl").write_text("\n".join(lines))
    assert found_in(folder) == {}


def test_a_discriminator_that_wins_everything_leaves_no_gradient(tmp_path):
    found = found_in(write_run(tmp_path, **{"Loss/D/loss": 0.05, "Loss/G/loss": 6.0}))
    assert "wins everything" in found["vanishing-losses"].what
    assert "--gamma" in found["vanishing-losses"].advice


def test_a_discriminator_that_says_the_same_to_everything_teaches_nothing(tmp_path):
    same = {"Loss/D/loss": 1.386, "Loss/scores/real": 0.001, "Loss/scores/fake": 0.002, "Loss/signs/real": 0.1}
    found = found_in(write_run(tmp_path, **same))
    assert found["vanishing-losses"].severity == "serious"
    assert "guessing costs 1.386" in found["vanishing-losses"].evidence


@pytest.mark.parametrize(("sick_from", "severity"), [(38, "warning"), (0, "serious")])
def test_skipped_steps_are_precision_trouble_and_grave_when_they_go_on(tmp_path, sick_from, severity):
    found = found_in(write_run(tmp_path, sick_from=sick_from, **{"Numerics/skipped_steps": 3.0}))
    assert found["precision-trouble"].severity == severity
    assert "in bf16" in found["precision-trouble"].evidence
    assert "--precision fp32" in found["precision-trouble"].advice


def test_replaced_gradients_are_precision_trouble(tmp_path):
    found = found_in(write_run(tmp_path, sick_from=39, **{"Numerics/sanitized_gradients": 1234.0}))
    assert "1,234 gradient values" in found["precision-trouble"].evidence


def test_a_discriminator_sure_of_its_pictures_overfits(tmp_path):
    found = found_in(write_run(tmp_path, **{"Loss/signs/real": 0.84}))
    finding = found["discriminator-overfitting"]
    assert finding.severity == "warning"
    assert "92% of the training pictures for real (r_t 0.84)" in finding.evidence
    assert "--augment ada" in finding.advice
    assert "--mirror" in finding.advice


def test_heldout_pictures_judged_as_fakes_show_overfitting(tmp_path):
    found = found_in(write_run(tmp_path, **{"Loss/signs/real": 0.7, "Progress/r_v": 0.8}))
    assert found["discriminator-overfitting"].severity == "serious"
    assert "r_v 0.80" in found["discriminator-overfitting"].evidence


def test_a_discriminator_as_sure_of_heldout_pictures_does_not_overfit(tmp_path):
    assert found_in(write_run(tmp_path, **{"Loss/signs/real": 0.84, "Progress/r_v": 0.05})) == {}


def test_a_sure_discriminator_is_normal_while_pictures_are_new(tmp_path):
    assert found_in(write_run(tmp_path, pictures=100_000, **{"Loss/signs/real": 0.84})) == {}


def test_advice_leaves_out_what_the_run_has_already(tmp_path):
    config = settings()
    mirrored = replace(config, data=replace(config.data, mirror=True))
    folder = write_run(tmp_path, mirrored, command=["--init-from=other.safetensors"], **{"Loss/signs/real": 0.95})
    advice = found_in(folder)["discriminator-overfitting"].advice
    assert "--mirror" not in advice
    assert "--init-from" not in advice


def test_a_run_of_few_ticks_is_not_judged(tmp_path):
    assert found_in(write_run(tmp_path, ticks=4, **{"Loss/D/loss": 0.01, "Loss/G/loss": 9.0})) == {}
