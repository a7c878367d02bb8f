"""A run of toy size in a process of its own, to be killed: ``python -m tests.training.driver DATA RUN [options]``.

A checkpoint follows every iteration, and with ``--slow`` every flush to disk takes a while, so that a kill at a random
moment often meets a checkpoint that is being written. With ``--wait-at N`` the second process falls asleep in
iteration N, and every process leaves its id in ``waiting-RANK``.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from dataclasses import replace
from pathlib import Path

import torch

from capriccio.errors import CapriccioError
from capriccio.training import losses, session
from capriccio.training.iteration import Phases
from capriccio.training.train import train
from tests.training.tiny import ADA, run_config

SLOW_FLUSH_S = 0.02


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data")
    parser.add_argument("run", type=Path)
    parser.add_argument("--kimg", type=float, default=0.048)
    parser.add_argument("--slow", action="store_true")
    parser.add_argument("--augment", action="store_true", help="adaptively, from the first iterations on")
    parser.add_argument("--wait-at", type=int, default=None, help="iteration in which rank 1 falls asleep")
    args = parser.parse_args()
    torch.set_num_threads(1)
    if args.slow:
        flush = os.fsync

        def slow(descriptor: int) -> None:
            flush(descriptor)
            time.sleep(SLOW_FLUSH_S)

        os.fsync = slow
    if args.wait_at is not None:
        calls: list[None] = []

        def waiting(*inputs):
            calls.append(None)
            if len(calls) == args.wait_at:
                args.run.joinpath(f"waiting-{os.environ.get('RANK', '0')}").write_text(str(os.getpid()))
                if os.environ.get("RANK") == "1":
                    time.sleep(3600)
            return losses.generator_main(*inputs)

        session.Phases = lambda: Phases(generator_main=waiting)
    config = run_config(args.data, total_kimg=args.kimg)
    if args.augment:
        config = replace(config, augment=ADA)
    config = replace(config, saving=replace(config.saving, checkpoint_minutes=1e-6, keep_checkpoints=2))
    try:
        train(config, args.run, resume=True)
    except CapriccioError as error:
        print(f"{type(error).__name__}: {error}", file=sys.stderr, flush=True)
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main())
