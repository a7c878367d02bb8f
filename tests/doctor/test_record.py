import pytest

from capriccio.doctor.record import Span, Tick, read_run
from capriccio.errors import RunError
from tests.doctor.runs import tick_values, write_run


def test_a_run_is_read_as_it_was_written(tmp_path):
    record = read_run(write_run(tmp_path, pictures=500, command=["--init-from", "x"]))
    assert len(record.ticks) == 40
    assert record.nimg == 160_000
    assert record.num_pictures == 500
    assert record.starts_from_other_network
    assert record.config.total_kimg == 1000


def test_damaged_lines_are_passed_over(tmp_path):
    folder = write_run(tmp_path, ticks=6)
    with open(folder / "stats.jsonl", "ab") as file:
        file.write(b'{"nimg": 28000, "Loss/G/lo')
        file.write(b'\n\xff\xfe not text\n[1, 2]\n{"nimg": "many"}\n')
    assert len(read_run(folder).ticks) == 6


@pytest.mark.parametrize("damage", ["", "{", '{"sessions": 3}', "[]"])
def test_a_damaged_environment_is_no_obstacle(tmp_path, damage):
    folder = write_run(tmp_path)
    (folder / "environment.json").write_text(damage)
    assert not read_run(folder).starts_from_other_network


def test_a_folder_without_a_run_is_refused(tmp_path):
    with pytest.raises(RunError, match=r"holds no run.*--out"):
        read_run(tmp_path)


def test_unreadable_settings_are_refused(tmp_path):
    folder = write_run(tmp_path)
    (folder / "config.yaml").write_text("total_kimg: many\n")
    with pytest.raises(RunError, match=r"config\.yaml' cannot be read .*total_kimg"):
        read_run(folder)


def test_a_run_just_begun_has_no_ticks(tmp_path):
    folder = write_run(tmp_path, ticks=0)
    (folder / "stats.jsonl").unlink()
    record = read_run(folder)
    assert (record.nimg, record.num_pictures, record.recent()) == (0, None, None)


def test_the_recent_past_is_a_tenth_of_the_run_and_at_least_five_ticks(tmp_path):
    assert len(read_run(write_run(tmp_path / "short", ticks=7)).recent().ticks) == 5
    assert len(read_run(write_run(tmp_path / "long", ticks=200)).recent().ticks) == 20


def test_a_span_knows_means_and_what_was_not_finite():
    span = Span([Tick(tick_values(i, **{"Loss/G/loss": loss})) for i, loss in enumerate((1.0, None, 3.0))])
    assert span.mean("Loss/G/loss") == 2
    assert span.total("Loss/G/loss") == 4
    assert span.mean("Loss/none") is None
    assert str(span) == "in ticks 0–2 (4.0–12.0 kimg)"
