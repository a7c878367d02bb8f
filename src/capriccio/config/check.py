"""How a section of the configuration says what is wrong with it."""

from __future__ import annotations

from capriccio.errors import ConfigError


def check(section: str, *rules: tuple[bool, str]) -> None:
    """Raise one ConfigError with the messages of all rules, (is kept, message), that are broken."""
    problems = [message for ok, message in rules if not ok]
    if problems:
        raise ConfigError(f"{section}: " + "; ".join(problems) + ".")
