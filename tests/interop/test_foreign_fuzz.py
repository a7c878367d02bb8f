"""Damaged files of other programs end in the typed error, within bounds of memory and time, and do nothing else."""

from __future__ import annotations

import os
import random
import resource
import subprocess
import time
import tracemalloc

import pytest
from safetensors.torch import save as safetensors_bytes

from capriccio.errors import SnapshotError
from capriccio.interop.foreign import read_network
from capriccio.interop.state_dicts import SETTINGS, nvidia_state
from capriccio.networks.discriminator import Discriminator
from capriccio.networks.generator import Generator
from capriccio.snapshots.snapshot import Snapshot, SnapshotFacts
from tests.interop.foreign_files import nvidia_bytes, tensorflow_bytes, torch_bytes
from tests.parity.golden import discriminator_config, generator_config, of_kind

SECONDS_EACH = 5.0
"""A whole file is read in 0.02 s; a busy machine may stop a process for a second."""

BYTES_EACH = 128 * 2**20
"""A whole file takes one megabyte; networks may legally claim some tens (see ``to_tensors``)."""


def whole_files() -> dict[str, bytes]:
    g = next(x for x in of_kind("generator") if x.name == "g_cond4_16")
    d = next(x for x in of_kind("discriminator") if x.name == "d_cond4_16")
    tensorflow = of_kind("tf_conversion")[0]
    ros = of_kind("rosinality_conversion")[0]
    checkpoint = {"g_ema": ros.under("ckpt/g_ema/"), "d": ros.under("ckpt/d/"), "latent_avg": ros["ckpt/latent_avg"]}
    parts = (g.under("param/G."), g.config["G"], d.under("param/D."), d.config["D"])
    networks = Generator(generator_config(g.config["G"])), Discriminator(discriminator_config(d.config["D"]))
    state = nvidia_state(Snapshot(generator=networks[0], discriminator=networks[1], facts=SnapshotFacts()))
    named = {f"{key}.{name}": t for key in ("G_ema", "D") for name, t in state[key].items()}
    return {
        "nvidia-3": nvidia_bytes(*parts, protocol=3),
        "nvidia-5": nvidia_bytes(*parts, protocol=5, is_sg3=True),
        "tensorflow": tensorflow_bytes(tensorflow),
        "rosinality": torch_bytes(checkpoint),
        "rosinality-legacy": torch_bytes(checkpoint, legacy=True),
        "state": torch_bytes(state),
        "state-safetensors": safetensors_bytes(named, metadata={SETTINGS: state[SETTINGS]}),
    }


_OPCODES = b"(.012FIJKLMNPQRSTUVXabcdeghijlopqrstu}])" + bytes(range(0x80, 0x99))
_GLOBALS = (b"cos\nsystem\n", b"cposix\nsystem\n", b"cbuiltins\neval\n", b"csubprocess\nPopen\n", b"ctorch\nload\n")


def mutated(data: bytes, rng: random.Random) -> bytes:
    """Change a file in the ways that matter: bytes, opcodes, lengths, pieces cut, doubled, moved or forged."""
    changed = bytearray(data)
    for _ in range(rng.choice((1, 1, 2, 5, 20))):
        # Half of the changes fall where the structure is, not into the numbers of tensors.
        at = rng.randrange(len(changed)) if rng.random() < 0.5 else rng.randrange(min(len(changed), 6000))
        how = rng.randrange(8)
        if how == 0:
            changed[at] ^= 1 << rng.randrange(8)
        elif how == 1:
            changed[at] = rng.choice(_OPCODES)
        elif how == 2:
            changed[at : at + rng.choice((1, 4, 8))] = rng.choice((b"\xff" * 4, b"\x00" * 8, b"\x7f\xff\xff\xff"))
        elif how == 3:
            del changed[at : at + rng.randrange(1, 64)]
        elif how == 4:
            length = rng.randrange(1, 200)
            changed[at:at] = changed[at : at + length]
        elif how == 5:
            other = rng.randrange(len(changed))
            changed[at : at + 16] = changed[other : other + 16]
        elif how == 6:
            changed[at:at] = rng.choice(_GLOBALS) + b"\x8c\x0ftouch /executed\x85R"
        else:
            del changed[at:]
        if len(changed) < 16:
            return bytes(changed)
    return bytes(changed)


def storm(count: int, folder, seed: int, monkeypatch) -> tuple[int, int]:
    """Read ``count`` mutated files; return how many were refused and how many still were networks."""

    def forbidden(*words, **named):
        raise AssertionError(f"a file ran something: {words}")

    for module, name in ((os, "system"), (os, "popen"), (subprocess, "Popen")):
        monkeypatch.setattr(module, name, forbidden)
    whole = whole_files()
    for name, data in whole.items():
        (folder / name).write_bytes(data)
        read_network(folder / name)  # every kind is a network before it is damaged
        (folder / name).unlink()
    rng = random.Random(seed)
    names = sorted(whole)
    path = folder / "file"
    refused = 0
    for i in range(count):
        data = mutated(whole[names[i % len(names)]], rng)
        path.write_bytes(data)
        is_measured = i % 10 == 0  # watching every allocation makes reading five times slower
        if is_measured:
            tracemalloc.start()
        start = time.process_time()
        told = ""
        try:
            read_network(path)
        except SnapshotError as error:
            refused += 1
            told = str(error)
        except BaseException as error:
            kept = folder / f"crash-{seed}-{i}"
            kept.write_bytes(data)
            raise AssertionError(f"{kept}: {type(error).__name__}: {error}") from error
        finally:
            peak = tracemalloc.get_traced_memory()[1] if is_measured else 0
            tracemalloc.stop()
        assert "\n" not in told, told
        assert len(told) < 3000, told
        assert time.process_time() - start < SECONDS_EACH, i
        assert peak < BYTES_EACH, (i, peak)
        assert os.listdir(folder) == ["file"]
    return refused, count - refused


def test_damaged_files_are_refused_and_nothing_else_happens(tmp_path, monkeypatch):
    refused, read = storm(250, tmp_path, 1, monkeypatch)
    assert refused > 100
    assert read > 10  # some only have another number in a tensor


@pytest.mark.soak
def test_twenty_thousand_damaged_files(tmp_path, monkeypatch):
    storm(1000, tmp_path, 2, monkeypatch)  # the allocator has reached its size
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    refused, read = storm(20_000, tmp_path, 3, monkeypatch)
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    print(f"{refused} refused, {read} read, {grown / 1024:.0f} MiB more at most")
    assert grown < 512 * 1024  # kilobytes
