"""Verdicts in words, and where scores lie."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np

from capriccio.rendering.verdicts import NUM_BINS, score_histogram, score_shares, verdict_sentence


def test_verdicts_have_words():
    assert verdict_sentence("made", 1 / 400).startswith("Made by this model. 1 in 400")
    assert len({verdict_sentence(verdict, 0.5) for verdict in ("made", "not-made", "undecided", "out-of-domain")}) == 4


def test_every_score_lies_in_a_bin_and_kinds_without_pictures_are_not_drawn():
    known = SimpleNamespace(made=np.array([1.0, 2.0, 3.0]), real=np.array([]))
    edges, shares = score_shares(known, [9.0])
    assert (edges[0], edges[-1], len(edges)) == (1, 9, NUM_BINS + 1)
    assert {kind: float(share.sum().round(6)) for kind, share in shares.items()} == {"made": 1, "real": 0, "judged": 1}
    assert [curve.name for curve in score_histogram(known, [9.0]).curves] == ["made by the network", "these pictures"]
