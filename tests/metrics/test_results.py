import dataclasses
import json

import pytest

from capriccio.errors import UsageError
from capriccio.metrics.card import ProtocolCard
from capriccio.metrics.results import Evaluation, MetricResult, compare, describe, read_evaluation

CARD = ProtocolCard(
    metric="fid5k_full", samples="generated", count=5000, size="3×64×64", network="inception-2015",
    network_hash="a" * 64, network_input="tf1", data_hash="b" * 64, reals=100, mirror=False, resize_filter="none",
    psi=1.0, noise="random", labels="none", seed=0, repeats=3, precision="fp32", code="0.1.0",
)  # fmt: skip


def evaluation(value: float = 7.0, **card) -> Evaluation:
    result = MetricResult(
        name="fid5k_full", values={"fid5k_full": value}, spread={"fid5k_full": 0.3},
        card=dataclasses.replace(CARD, **card),
    )  # fmt: skip
    return Evaluation(subject="runs/one", subject_hash="c" * 16, results=(result,))


def test_an_evaluation_comes_back_from_its_file(tmp_path):
    path = tmp_path / "one.json"
    path.write_text(json.dumps(evaluation().to_dict()))
    assert read_evaluation(path) == evaluation()


def test_numbers_measured_alike_are_compared_with_their_noise():
    [found] = compare(evaluation(7.0), evaluation(8.0))
    assert (found.first, found.second) == (7.0, 8.0)
    assert found.noise == pytest.approx(0.3 * 2**0.5)


@pytest.mark.parametrize(
    ("entry", "value"),
    [("data_hash", "d" * 64), ("resize_filter", "box"), ("psi", 0.7), ("seed", 1), ("network_hash", "e" * 64),
     ("mirror", True), ("code", "0.2.0"), ("precision", "bf16")],
)  # fmt: skip
def test_numbers_measured_in_two_ways_are_refused_naming_the_entry(entry, value):
    with pytest.raises(UsageError, match=f"cannot be compared; the cards differ in {entry}:"):
        compare(evaluation(), evaluation(**{entry: value}))
    assert compare(evaluation(), evaluation(**{entry: value}), ignore=[entry])


def test_evaluations_without_a_common_metric_are_refused():
    other = dataclasses.replace(evaluation(), results=(dataclasses.replace(evaluation().results[0], name="is5k"),))
    with pytest.raises(UsageError, match="no metric in common: fid5k_full and is5k"):
        compare(evaluation(), other)


@pytest.mark.parametrize(
    ("text", "told"),
    [("{", "is not JSON"), ("{}", "no evaluation"), ("[]", "no evaluation"),
     ('{"subject": "a", "subject_hash": "", "results": [{"metric": 3}]}', "no evaluation")],
)  # fmt: skip
def test_a_file_that_is_no_evaluation_is_named(tmp_path, text, told):
    path = tmp_path / "odd.json"
    path.write_text(text)
    with pytest.raises(UsageError, match=rf"odd\.json.*{told}"):
        read_evaluation(path)
    with pytest.raises(UsageError, match="there is no file"):
        read_evaluation(tmp_path / "missing.json")


def test_a_description_has_number_spread_caveat_and_protocol():
    caveat = dataclasses.replace(evaluation().results[0], caveat="not comparable with the literature", note="few")
    text = describe(dataclasses.replace(evaluation(), results=(caveat,)))
    assert "fid5k_full  7 ± 0.3   [not comparable with the literature]" in text
    assert "note: few" in text
    assert f"network_hash: {'a' * 16}…" in text
