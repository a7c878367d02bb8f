"""The most of a few minutes on a GPU: a training goes on, speed is measured beside it, and all is packed to take home.

    python scripts/gpu_session.py PHOTOS.zip --run run --home home --minutes 9 \\
        --train "--preset auto --subject landscapes --resolution 128 --kimg 5000 --continue-from landscapes-128" \\
        --measure "--resolution 128" "--resolution 256" "--resolution 512 --channel-base 32768 --batch 16"

What takes long on such a machine is compiling, and that needs processors, not the GPU. So:

1. The training starts at once, uncompiled.
2. Its four phases are compiled in four processes, which leave what they made in the compiler's cache.
3. SIGINT ends the training, which saves, and it goes on compiled. Should that fail, it goes on uncompiled.
4. For each of `--measure` the cache is filled in the same way, then `gpu_variants.py` measures it, and the training
   sleeps meanwhile. While one is measured, the next is compiled.
5. Each command of `--also` runs beside the training once nothing is left to measure.
6. When the time is over, or with everything done and `--until-measured`, or when this gets SIGINT itself, SIGINT ends
   the training.

`--home` then has the travelling snapshot in parts of 15 MiB (`cat travelling.*` joins them) and one archive with
settings, statistics, logs, the tops of the sample sheets, and the measurements. A second session with the same `--run`
goes on where the first one ended; on another machine, `--continue-from` goes on from the joined snapshot.
"""

from __future__ import annotations

import argparse
import os
import re
import shlex
import signal
import subprocess
import sys
import tarfile
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, fields
from pathlib import Path

from PIL import Image

from capriccio.training.iteration import Phases

PART_BYTES = 15 << 20
SHEET_ROWS_PIXELS = 512
"""Of a sample sheet this much is taken home: enough to see how pictures became."""
PACKING_SECONDS = 25.0
"""What ending the training, writing its checkpoint and packing take."""
VARIANTS = Path(__file__).with_name("gpu_variants.py")
MEASURED = "graphs compile"
SAVING = (
    "--saving.travelling", "--saving.kimg_per_tick", "10", "--saving.snapshot_kimg", "100",
    "--saving.snapshot_minutes", "60", "--saving.first_snapshot_minutes", "60", "--saving.checkpoint_minutes", "4",
    "--saving.keep_snapshots", "3", "--saving.keep_checkpoints", "1", "--resume",
)  # fmt: skip


@dataclass
class Session:
    """Where everything lies, and when it has to end."""

    data: Path
    run: Path
    home: Path
    train_words: list[str]
    device: str
    variant: str
    end: float

    def __post_init__(self) -> None:
        self.together = self.run.with_name(self.run.name + "-together")
        self.notes = self.run.with_name(self.run.name + "-notes")
        self.compiled_note = self.notes / "training-is-compiled"
        for folder in (self.together, self.notes, self.home):
            folder.mkdir(parents=True, exist_ok=True)
        self.begun = time.monotonic()
        self._training: subprocess.Popen[bytes] | None = None
        self._is_compiled = False
        self._helpers: list[subprocess.Popen[bytes]] = []

    @property
    def left(self) -> float:
        """Seconds until the training is to be ended."""
        return self.end - PACKING_SECONDS - time.monotonic()

    def say(self, what: str) -> None:
        """Print with the time since the beginning."""
        print(f"{time.monotonic() - self.begun:6.1f} s  {what}", flush=True)

    def start(self, name: str, words: Sequence[str]) -> subprocess.Popen[bytes]:
        """Start a Python process whose output goes into a note; the training's is appended to."""
        # In a session of its own: Ctrl-C is for this script, which tells the training once.
        with open(self.notes / f"{name}.log", "ab") as log:
            return subprocess.Popen(
                [sys.executable, *words], stdout=log, stderr=subprocess.STDOUT, start_new_session=True
            )

    def help(self, name: str, words: Sequence[str]) -> subprocess.Popen[bytes]:
        """Start a process that is of no use once the training has ended."""
        self._helpers.append(self.start(name, words))
        return self._helpers[-1]

    # ---- the training

    def train(self, *, compiled: bool) -> None:
        """Start or resume the training."""
        words = ["-m", "capriccio", "train", str(self.data), "--out", str(self.run), "--device", self.device]
        words += [*self.train_words, *SAVING, *(["--compile"] if compiled else [])]
        self._training, self._is_compiled = self.start("training", words), compiled
        (self.together / "training").write_text(str(self._training.pid))

    def end_training(self) -> None:
        """Let the training save and leave."""
        training = self._training
        if training is None:
            return
        training.send_signal(signal.SIGINT)
        training.send_signal(signal.SIGCONT)  # it may sleep for something that is measured
        try:
            training.wait(timeout=60)
        except subprocess.TimeoutExpired:
            self.say("the training did not end; killed, its last checkpoint stays")
            training.kill()
            training.wait()
        (self.together / "training").unlink(missing_ok=True)

    def keep_training(self) -> bool:
        """Return whether the training runs; a compiled one that broke is resumed uncompiled, as minutes are scarce."""
        if self._training is None or self._training.poll() is None:
            return self._training is not None
        if not (self._is_compiled and self._training.returncode and self.left > 0):
            return False
        self.say(f"the compiled training broke (status {self._training.returncode}); it goes on uncompiled")
        self.compiled_note.unlink(missing_ok=True)
        self.train(compiled=False)
        return True

    def wait_for_config(self) -> bool:
        """Wait until the run has written its settings; False = it ended, or time did."""
        while not (self.run / "config.yaml").exists():
            if not self.keep_training() or self.left < 0:
                return False
            time.sleep(0.5)
        return True

    # ---- compiling and measuring

    def fill_cache(self, name: str, words: Sequence[str]) -> list[subprocess.Popen[bytes]]:
        """Start compiling the phases, each in a process of its own."""
        return [
            self.help(
                f"compile-{name}-{phase.name}",
                [*self._common(), *words, "--fill-cache", phase.name],
            )
            for phase in fields(Phases)
        ]

    def measure(self, name: str, words: Sequence[str], checks: bool) -> subprocess.Popen[bytes]:
        """Start measuring."""
        out = ["--out", str(self.notes / f"{name}.json"), "--checks", "all" if checks else "none", "--profile"]
        return self.help(name, [*self._common(), *words, *out])

    def _common(self) -> list[str]:
        variant = ["--variants", self.variant]  # first: words of one measurement may name others
        return [str(VARIANTS), *variant, "--device", self.device, "--together", str(self.together)]

    def wait(self, *processes: subprocess.Popen[bytes]) -> bool:
        """Wait for all; False = time ended before. The training is kept alive."""
        while any(process.poll() is None for process in processes):
            self.keep_training()
            if self.left < 0:
                return False
            time.sleep(0.2)
        return True

    def end_helpers(self) -> None:
        """End what still compiles or measures, and what that has started."""
        for helper in self._helpers:
            with suppress(ProcessLookupError):
                os.killpg(helper.pid, signal.SIGKILL)

    def wake(self) -> None:
        """Let all go on that a measurement put to sleep, should it have died before it could."""
        for process in (self._training, *self._helpers):
            if process is not None and process.poll() is None:
                process.send_signal(signal.SIGCONT)

    # ---- the way home

    def pack(self) -> None:
        """Leave everything in ``home``, in files that are not large."""
        travelling = self.run / "travelling.safetensors"
        if travelling.exists():
            content = travelling.read_bytes()
            for i, start in enumerate(range(0, len(content), PART_BYTES)):
                (self.home / f"travelling.{i:02d}").write_bytes(content[start : start + PART_BYTES])
        with tarfile.open(self.home / "session.tar.gz", "w:gz") as archive:
            for name in ("config.yaml", "environment.json", "stats.jsonl", "log.txt"):
                if (self.run / name).exists():
                    archive.add(self.run / name, f"run/{name}")
            archive.add(self.notes, "notes")
            tops = self.notes.with_name(self.notes.name + "-tops")
            tops.mkdir(exist_ok=True)
            for path in sorted((self.run / "samples").glob("*.png")):
                with Image.open(path) as sheet:
                    sheet.crop((0, 0, sheet.width, min(sheet.height, SHEET_ROWS_PIXELS))).save(tops / path.name)
                archive.add(tops / path.name, f"run/samples/{path.name}")


def work(session: Session, wanted: Sequence[str], also: Sequence[str], *, checks: bool, until_measured: bool) -> None:
    """Train, compile and measure until the time is over."""
    names = [re.sub(r"[^\w.]+", "-", words).strip("-") for words in wanted]
    left = [(n, shlex.split(w)) for n, w in zip(names, wanted, strict=True) if not done(session, n)]
    cached = session.compiled_note.exists()
    session.train(compiled=cached)
    try:
        if not session.wait_for_config():
            raise SystemExit(f"the training did not start; see {session.notes / 'training.log'}")
        if not cached:
            if not session.wait(*session.fill_cache("training", ["--config", str(session.run / "config.yaml")])):
                return
            session.say("compiled for the training; it starts anew")
            session.end_training()
            session.compiled_note.touch()
            session.train(compiled=True)
        compiling = session.fill_cache(*left[0]) if left else []
        for i, (name, words) in enumerate(left):
            if not session.wait(*compiling):
                return
            session.say(f"compiled {name}")
            measuring = session.measure(name, words, checks and i == 0)
            compiling = session.fill_cache(*left[i + 1]) if i + 1 < len(left) else []
            if not session.wait(measuring):
                return
            session.wake()
            session.say(f"measured {name}")
        for i, command in enumerate(also):
            if not session.wait(session.help(f"also-{i}", shlex.split(command))):
                return
            session.say(f"done: python {command}")
        while not until_measured and session.left > 0 and session.keep_training():
            time.sleep(0.5)
    finally:
        session.end_helpers()
        session.end_training()
        session.say("training ended")


def done(session: Session, name: str) -> bool:
    """Return whether an earlier session has measured this."""
    path = session.notes / f"{name}.json"
    return path.exists() and '"train_images_per_second"' in path.read_text()


def main() -> None:
    """Use the time there is."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--run", type=Path, required=True, help="Folder of the training; others lie beside it.")
    parser.add_argument("--home", type=Path, required=True, help="Folder for what is taken home.")
    parser.add_argument("--minutes", type=float, required=True, help="All together, packing included.")
    parser.add_argument("--train", default="", help="Words of 'capriccio train' besides data, --out and saving.")
    parser.add_argument("--measure", nargs="*", default=[], help="Words of gpu_variants.py, most interesting first.")
    parser.add_argument("--also", nargs="*", default=[], help="Words for Python, '-m pytest -k cuda tests', say.")
    parser.add_argument("--checks", action="store_true", help="With the first measurement: are the numbers right?")
    parser.add_argument("--variant", default=MEASURED, help="How everything is computed: words of gpu_variants.py.")
    parser.add_argument("--until-measured", action="store_true", help="End when everything is measured.")
    parser.add_argument("--device", default="cuda")
    asked = parser.parse_args()
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    os.environ.setdefault("TORCHINDUCTOR_COMPILE_THREADS", str(max(1, (os.cpu_count() or 1) // 3)))
    end = time.monotonic() + 60 * asked.minutes
    session = Session(asked.data, asked.run, asked.home, shlex.split(asked.train), asked.device, asked.variant, end)
    try:
        work(session, asked.measure, asked.also, checks=asked.checks, until_measured=asked.until_measured)
    finally:
        session.pack()
        session.say(f"packed into {asked.home}")


if __name__ == "__main__":
    main()
