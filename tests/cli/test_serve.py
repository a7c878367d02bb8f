"""What ``capriccio serve`` says before it serves."""

from __future__ import annotations

import socket

import pytest

pytest.importorskip("fastapi", reason="the extra 'web' is not installed")


def test_an_address_that_is_taken_or_not_ours_is_told_before_a_network_is_loaded(cli):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        for words in (("--port", str(port)), ("--host", "nowhere.invalid")):
            code, out, err = cli("serve", *words, "--model", "nowhere.safetensors")
            assert code == 2
            assert "cannot listen there" in err
            assert "choose another --port" in err
            assert err.count("\n") == 1
            assert out == ""
