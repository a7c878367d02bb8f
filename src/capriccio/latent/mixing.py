"""Style mixing: take some latent rows from one picture and the others from another.

Rows belong to levels of the synthesis network: row 0 to level 4, rows 2j − 1 and 2j to level 4·2^j, the last row to the
last toRGB. *Coarse* rows (levels 4 and 8) carry layout and composition, *middle* ones (16 and 32) shapes, *fine* ones
(64 and up) colours and texture.

Source: Karras, Laine, Aila 2019 (StyleGAN), figure 3.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from capriccio.errors import ShapeError, UsageError
from capriccio.latent.seeds import format_numbers, parse_numbers
from capriccio.wording import nearest

Layers = str | slice | range | Sequence[int]
"""How rows are named: "coarse", "middle", "fine", text like "coarse,7" or "0-3,7", or the rows themselves."""

NAMED_ROWS = {"coarse": slice(0, 3), "middle": slice(3, 7), "fine": slice(7, None)}
"""First and last + 1 row of each name, before it is cut to the rows a network has."""


def mix(ws_a: Tensor, ws_b: Tensor, layers: Layers = "coarse") -> Tensor:
    """Return ``ws_a`` with the rows ``layers`` taken from ``ws_b``.

    Args:
        ws_a: latents that keep the other rows, [N, num_ws, w_dim]; not modified.
        ws_b: latents the rows are taken from, [N, num_ws, w_dim] or [1, num_ws, w_dim] for all (and vice versa).
        layers: which rows; see :data:`Layers`.

    Returns: new latents, [N, num_ws, w_dim], dtype and device of ``ws_a``.
    Raises: ShapeError if the latents do not fit together; UsageError if ``layers`` names no row, or one not there.
    """
    ws_a, ws_b = torch.as_tensor(ws_a), torch.as_tensor(ws_b)
    fits = ws_a.ndim == ws_b.ndim == 3 and ws_a.shape[1:] == ws_b.shape[1:]
    if not fits or (len(ws_a) != len(ws_b) and 1 not in (len(ws_a), len(ws_b))):
        raise ShapeError(
            f"Latents to mix must both be [N, num_ws, w_dim] of one network, got {list(ws_a.shape)} and "
            f"{list(ws_b.shape)}. One latent against many? Make it [1, num_ws, w_dim]."
        )
    rows = torch.tensor(rows_of(layers, ws_a.shape[1]), device=ws_a.device)
    mixed = ws_a.expand(max(len(ws_a), len(ws_b)), -1, -1).clone()
    mixed[:, rows] = ws_b.to(mixed)[:, rows]
    return mixed


def rows_of(layers: Layers, num_ws: int) -> tuple[int, ...]:
    """Return the latent rows that ``layers`` names in a network of ``num_ws`` rows, ascending, each once.

    Raises: UsageError if none is named, one is not there, or a word is not known.
    """
    if isinstance(layers, str):
        rows = [row for part in layers.split(",") for row in _rows_of_part(part.strip(), layers, num_ws)]
    elif isinstance(layers, slice):
        rows = list(_range_of_slice(layers, num_ws))
    else:
        rows = [layers] if isinstance(layers, int) else list(layers)
    if not rows:
        raise UsageError(f"layers: {_spelled(layers)} names no row. {_rows_there(num_ws)}")
    for row in rows:
        if not isinstance(row, int) or isinstance(row, bool) or not 0 <= row < num_ws:
            raise UsageError(f"layers: row {row!r} is not there. {_rows_there(num_ws)}")
    return tuple(sorted(set(rows)))


def describe_rows(rows: Sequence[int], num_ws: int) -> str:
    """Return the name of ``rows`` ("coarse", "middle", "fine") where they have one, else "rows 0-3,7"."""
    for name in NAMED_ROWS:
        if tuple(rows) == _named(name, num_ws):
            return name
    return f"{'row' if len(rows) == 1 else 'rows'} {format_numbers(tuple(rows))}"


def level_of_row(row: int, num_ws: int) -> int:
    """Return the level 4·2^j that latent ``row`` styles; the last row styles the last toRGB, at the top level."""
    return 4 << min((row + 1) // 2, num_ws // 2 - 1)


def _rows_of_part(part: str, text: str, num_ws: int) -> Sequence[int]:
    if part in NAMED_ROWS:
        rows = _named(part, num_ws)
        if not rows:
            raise UsageError(f"layers: '{part}' begins at row {NAMED_ROWS[part].start}. {_rows_there(num_ws)}")
        return rows
    if part[:1].isalpha():
        raise UsageError(f"layers: '{part}' is not a name of layers.{nearest(part, NAMED_ROWS)} "
                         "There are coarse, middle, fine, and rows like 0-3,7.")  # fmt: skip
    if not part:
        raise UsageError(f"layers: '{text}' names no row between its commas. Write names or rows like coarse or 0-3,7.")
    numbers = parse_numbers(part, what="row", highest=10**6, max_count=10**4)
    if numbers[-1] >= num_ws:
        raise UsageError(f"layers: row {numbers[-1]} is not there. {_rows_there(num_ws)}")
    return numbers


def _named(name: str, num_ws: int) -> tuple[int, ...]:
    return tuple(range(num_ws)[NAMED_ROWS[name]])


def _range_of_slice(layers: slice, num_ws: int) -> range:
    for end in (layers.start, layers.stop):
        if end is not None and not 0 <= end <= num_ws:
            raise UsageError(f"layers: {_spelled(layers)} reaches beyond the rows. {_rows_there(num_ws)}")
    return range(num_ws)[layers]


def _rows_there(num_ws: int) -> str:
    names = {name: _named(name, num_ws) for name in NAMED_ROWS}
    spelled = ", ".join(f"{name} {format_numbers(rows)}" for name, rows in names.items() if rows)
    return f"This network has rows 0-{num_ws - 1}: {spelled}."


def _spelled(layers: Layers) -> str:
    if isinstance(layers, slice):
        return "[" + ":".join("" if end is None else str(end) for end in (layers.start, layers.stop)) + "]"
    return repr(layers if isinstance(layers, str | range) else list(layers))
