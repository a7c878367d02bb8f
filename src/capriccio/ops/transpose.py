"""The transpose of a resampling is a resampling: up and down exchanged, the kernel turned by 180°, other padding."""

from __future__ import annotations

Padding = tuple[int, int, int, int]
"""(before x, after x, before y, after y) on the zero-inserted grid; negative values crop."""


def transposed_padding(
    size: tuple[int, int],
    new_size: tuple[int, int],
    taps: tuple[int, int],
    up: tuple[int, int],
    down: tuple[int, int],
    before: tuple[int, int],
) -> tuple[int, int, int, int]:
    """Return the padding of the transpose, which is a resampling too: up and down exchanged, the kernel turned round.

    Args are pairs (x, y): size of the map, of the result, taps of the kernel, factors, and padding before.
    """
    pairs = [
        (k - 1 - b, u * old - d * new + b - u + 1)
        for k, b, u, d, old, new in zip(taps, before, up, down, size, new_size, strict=True)
    ]
    return (*pairs[0], *pairs[1])
