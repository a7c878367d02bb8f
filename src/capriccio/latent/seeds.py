"""Lists of whole numbers as people type them: seeds ``0-15,42``, latent rows ``0-3,7``."""

from __future__ import annotations

import re

from capriccio.config import MAX_SEED
from capriccio.errors import UsageError

MAX_SEEDS = 1_000_000
"""Most seeds one command may name."""


def parse_seeds(text: str) -> list[int]:
    """Return the seeds that ``text`` names, in its order: ``"0-15,42"`` is 0, 1, …, 15, 42.

    Raises: UsageError if ``text`` is no such list, a seed is above 2³² − 1, or there are more than MAX_SEEDS.
    """
    return parse_numbers(text, what="seed", highest=MAX_SEED, max_count=MAX_SEEDS)


def parse_numbers(text: str, *, what: str, highest: int, max_count: int) -> list[int]:
    """Return the whole numbers that ``text`` names as a comma-separated list of numbers and ``first-last`` ranges.

    Args:
        text: for example ``"0-3,7"``; ranges include both ends.
        what: what one number is, for messages.
        highest: largest number allowed.
        max_count: most numbers allowed; checked before a range is unrolled.

    Raises: UsageError for anything else.
    """
    numbers: list[int] = []
    for part in text.split(","):
        found = re.fullmatch(r"\s*0*([0-9]+)\s*(?:-\s*0*([0-9]+)\s*)?", part)
        if not found:
            raise UsageError(f"'{text}' is no list of {what}s: '{part.strip()}' is neither a number nor a range. "
                             "Write it like 0-3,7.")  # fmt: skip
        if len(longest := max(found[1], found[2] or "", key=len)) > len(str(highest)):  # int() refuses the longest
            raise UsageError(f"'{part.strip()[:20]}': {what} {longest[:20]} is too large; the largest is {highest}.")
        first, last = int(found[1]), int(found[2] or found[1])
        if last < first:
            raise UsageError(f"'{text}': the range {first}-{last} runs backwards and is empty. Write {last}-{first}.")
        if last > highest:
            raise UsageError(f"'{text}': {what} {last} is too large; the largest is {highest}.")
        if len(numbers) + last - first + 1 > max_count:
            raise UsageError(f"'{text}' names more than {max_count:,} {what}s. Split it into several commands.")
        numbers.extend(range(first, last + 1))
    return numbers


def format_numbers(numbers: list[int] | tuple[int, ...]) -> str:
    """Return the shortest text that :func:`parse_numbers` reads back as ``numbers``: 0, 1, 2, 5 is ``"0-2,5"``."""
    parts: list[str] = []
    start = 0
    for i in range(1, len(numbers) + 1):
        if i == len(numbers) or numbers[i] != numbers[i - 1] + 1:
            run = numbers[start:i]
            parts.append(f"{run[0]}" if len(run) == 1 else f"{run[0]}-{run[-1]}")
            start = i
    return ",".join(parts)
