"""Count the instructions of the Triton filter kernel per result, for a GPU that need not be here.

    python scripts/kernel_instructions.py --capability 90

Triton and the assembler that comes with it compile for any NVIDIA GPU. A kernel that needs more instructions a result
than the GPU can issue while the memory moves the result's bytes is limited by them: per byte an H200 issues 6 of a
thread's instructions, an H100 9. Needs PyTorch for CUDA, or Triton beside another one.
"""

from __future__ import annotations

import argparse
import collections
import re
import subprocess
import tempfile
from pathlib import Path
from typing import Any

try:
    import triton
    from triton.backends.compiler import GPUTarget
    from triton.compiler import ASTSource

    from capriccio.ops import fir_triton
except ImportError as missing:
    raise SystemExit(f"{missing}: this needs Triton, which comes with PyTorch for CUDA; pip install triton") from None

THREADS = 128
CASES = {"filter": (1, 1, 1), "down 2": (1, 2, 1), "up 2": (2, 1, 2)}
"""Up, down, and padding on the left."""
TAPS = 4


def compiled(up: int, down: int, before: int, pointer: str, capability: int) -> Any:
    """Return the kernel as it is launched for maps of many channels that lie channels last."""
    constants: dict[str, Any] = {
        "UP_X": up, "UP_Y": up, "DOWN_X": down, "DOWN_Y": down, "TAPS_X": TAPS, "TAPS_Y": TAPS,
        "PHASE_X": -before % up, "PHASE_Y": -before % up, "ROWS": fir_triton._ROWS, "COLUMNS": fir_triton._COLUMNS,
        "TILES": fir_triton._TILES, "CHANNELS": fir_triton._CHANNELS, "x_c": 1, "y_c": 1,
    }  # fmt: skip
    kernel = fir_triton._resample
    types = {name: "constexpr" if name in constants else "i32" for name in kernel.arg_names}
    types |= {"x": pointer, "y": pointer, "kernel": "*fp32"}
    aligned = {"x", "y", "kernel", "channels", "x_n", "x_h", "x_w", "y_n", "y_h", "y_w"}
    attributes = {(i,): [["tt.divisibility", 16]] for i, name in enumerate(kernel.arg_names) if name in aligned}
    target = GPUTarget("cuda", capability, 32)
    return triton.compile(ASTSource(kernel, types, constants, attributes), target, {"num_warps": THREADS // 32})


def instructions(binary: bytes) -> collections.Counter[str]:
    """Return how often each instruction stands in a compiled kernel; ours have no loops."""
    tool = Path(triton.__file__).parent / "backends/nvidia/bin/nvdisasm"
    with tempfile.NamedTemporaryFile(suffix=".cubin") as file:
        file.write(binary)
        file.flush()
        text = subprocess.run([tool, "-c", file.name], capture_output=True, text=True, check=True).stdout
    found = re.findall(r"^\s*/\*[0-9a-f]+\*/\s+(?:@!?U?P\w+\s+)?([A-Z0-9_]+)", text, flags=re.MULTILINE)
    return collections.Counter(name for name in found if name != "NOP")


def main() -> None:
    """Print one line per case."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--capability", type=int, default=90, help="90 = H100 and H200, 80 = A100.")
    asked = parser.parse_args()
    results = fir_triton._ROWS * fir_triton._COLUMNS * fir_triton._TILES * fir_triton._CHANNELS
    for name, case in CASES.items():
        for pointer in ("*bf16", "*fp32"):
            found = instructions(compiled(*case, pointer, asked.capability).asm["cubin"])
            most = ", ".join(f"{word} {count * THREADS / results:.1f}" for word, count in found.most_common(6))
            print(f"{name:7} {pointer[1:]}: {found.total() * THREADS / results:5.1f} a result ({most})")


if __name__ == "__main__":
    main()
