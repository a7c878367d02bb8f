"""Progress: plain lines where there is no terminal, and not many of them."""

from __future__ import annotations

import time

from capriccio.cli.progress import shown_progress


def test_short_work_leaves_no_line_in_a_log(capsys):
    with shown_progress("painting") as progress:
        for done in range(1, 4):
            progress(done, 3)
    captured = capsys.readouterr()
    assert captured.out + captured.err == ""


def test_long_work_tells_its_rate_and_what_is_left_on_standard_error(capsys, monkeypatch):
    now = [0.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    with shown_progress("painting") as progress:
        for done in range(1, 31):
            now[0] += 1
            progress(done, 100)
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.splitlines() == [
        "painting: 10 of 100, 1.0/s, 90 s left",
        "painting: 20 of 100, 1.0/s, 80 s left",
        "painting: 30 of 100, 1.0/s, 70 s left",
    ]


def test_a_terminal_gets_a_bar_that_goes_away(capsys, monkeypatch):
    monkeypatch.setattr("sys.stderr.isatty", lambda: True)
    with shown_progress("painting") as progress:
        progress(1, 3)
    assert capsys.readouterr().out == ""


def test_a_bar_for_work_there_may_be_none_of_waits_for_the_first_report(capsys, monkeypatch):
    monkeypatch.setattr("sys.stderr.isatty", lambda: True)
    with shown_progress("measuring", if_any=True):
        pass
    assert capsys.readouterr() == ("", "")
