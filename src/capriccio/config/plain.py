"""Configurations to and from plain data: exact inverses over JSON types."""

from __future__ import annotations

import dataclasses
import types
import typing
from typing import Any, Literal, TypeVar

from capriccio.config.networks import DiscriminatorConfig, GeneratorConfig, MappingConfig
from capriccio.errors import ConfigError
from capriccio.wording import nearest

C = TypeVar("C")


def to_dict(config: Any) -> dict[str, Any]:
    """Return a configuration as nested dicts of JSON types."""
    return {f.name: _plain(getattr(config, f.name)) for f in dataclasses.fields(config)}


def hashed_dict(config: GeneratorConfig | DiscriminatorConfig) -> dict[str, Any]:
    """Return a network's configuration as hashes of networks have it.

    A setting that came after hashes had been handed out is left out where it has its default, so old hashes stay.
    """
    told = to_dict(config)
    if told["mapping"]["labels"] == MappingConfig().labels:
        del told["mapping"]["labels"]
    return told


def _plain(value: Any) -> Any:
    if dataclasses.is_dataclass(value):
        return to_dict(value)
    return list(value) if isinstance(value, tuple) else value


def from_dict(cls: type[C], values: dict[str, Any], *, where: str = "") -> C:
    """Build a configuration of class ``cls`` from nested dicts; missing keys keep their defaults.

    Raises: ConfigError for an unknown key (naming the nearest known one), a wrong type or a value out of range.
    """
    if not isinstance(values, dict):
        raise ConfigError(f"{where or cls.__name__}: expected a section with keys, got {values!r}.")
    hints = typing.get_type_hints(cls)
    arguments = {}
    for key, value in values.items():
        path = f"{where}.{key}" if where else key
        if key not in hints:
            raise ConfigError(f"'{path}' is not a setting.{nearest(key, hints)}")
        arguments[key] = _typed(hints[key], value, path)
    return cls(**arguments)


def _typed(hint: Any, value: Any, path: str) -> Any:
    origin, options = typing.get_origin(hint), typing.get_args(hint)
    if dataclasses.is_dataclass(hint) and isinstance(hint, type):
        return from_dict(hint, value, where=path)
    if origin in (typing.Union, types.UnionType):
        if value is None and type(None) in options:
            return None
        return _typed(next(o for o in options if o is not type(None)), value, path)
    if origin is Literal:
        if value not in options:
            known = [str(option) for option in options]
            raise ConfigError(f"'{path}' must be one of {', '.join(known)}, got {value!r}.{nearest(str(value), known)}")
        return value
    if origin is tuple:
        if not isinstance(value, list | tuple):
            raise ConfigError(f"'{path}' must be a list, got {value!r}.")
        return tuple(_typed(options[0], v, path) for v in value)
    if hint is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if type(value) is not hint:
        raise ConfigError(f"'{path}' must be {hint.__name__}, got {value!r}.")
    return value
