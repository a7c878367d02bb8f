"""What is installed, what the machine has, what is missing, and what to do about it."""

from __future__ import annotations

import importlib.metadata
import platform
import re
import shutil
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch

from capriccio import __version__
from capriccio.data.building.pool import usable_processors
from capriccio.data.cache import cache_folder
from capriccio.devices import ChosenPrecision, choose_device, choose_precision
from capriccio.doctor.finding import Finding
from capriccio.loading.bundled import bundled_names

_LIBRARIES = ("torch", "numpy", "pillow", "safetensors", "jsonargparse", "PyYAML", "rich")
_SLOW_SHARE = 0.4
"""Share of its own convolutions' speed that training reaches even on busy machines."""
_LITTLE_ROOM = 2 * 2**30


@dataclass(frozen=True, slots=True)
class Device:
    """Something that computes."""

    name: str
    """As --device takes it."""
    about: str
    """Its maker's name, and what it has."""


@dataclass(frozen=True, slots=True)
class Extra:
    """An optional part of the package."""

    name: str
    """As in ``pip install 'capriccio[name]'``."""
    missing: tuple[str, ...]
    """Packages of it that are not installed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Speed:
    """What the speed check measured."""

    configuration: str
    """What was trained, in words."""
    train_images_per_second: float
    generate_images_per_second: float
    train_share_of_peak: float
    """Share of the speed of plain convolutions, measured in turns with it."""
    seconds: float
    """How long the check took."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Installation:
    """This installation on this machine."""

    versions: dict[str, str]
    devices: tuple[Device, ...]
    device: str
    """The one that is chosen."""
    precision: ChosenPrecision
    threads: int
    cores: int
    """Processor cores that this process may use."""
    extras: tuple[Extra, ...]
    models: tuple[str, ...]
    """Bundled networks."""
    cache: Path
    cache_room: int
    """Free bytes on the disk of the cache folder."""
    speed: Speed | None = None
    """None = not measured."""

    def to_dict(self) -> dict[str, Any]:
        """Return everything in JSON types."""
        precision = {"name": self.precision.name, "reason": self.precision.reason}
        return asdict(self) | {"precision": precision, "cache": str(self.cache)}


def look_around(device_name: str = "auto", precision_name: str = "auto") -> Installation:
    """Find out what is there. Raises: ConfigError for a device or precision that this machine has not."""
    device = choose_device(device_name)
    cache = cache_folder()
    return Installation(
        versions=_versions(),
        devices=_devices(),
        device=str(device),
        precision=choose_precision(precision_name, device),
        threads=torch.get_num_threads(),
        cores=usable_processors(),
        extras=_extras(),
        models=tuple(bundled_names()),
        cache=cache,
        cache_room=shutil.disk_usage(next(folder for folder in (cache, *cache.parents) if folder.exists())).free,
    )


def examine_installation(found: Installation) -> dict[str, Finding]:
    """Return what could be better about an installation, by name."""
    findings = {}
    if found.device == "cpu" and found.threads < found.cores:
        findings["idle-cores"] = Finding(
            severity="warning",
            what="Not all processor cores are used.",
            evidence=f"PyTorch computes with {found.threads} threads, {found.cores} cores are there.",
            advice="Unset OMP_NUM_THREADS, or set it to the number of cores.",
        )
    if missing := [extra for extra in found.extras if extra.missing]:
        names = ",".join(extra.name for extra in missing)
        findings["missing-extras"] = Finding(
            severity="note",
            what="Optional parts are not installed.",
            evidence="; ".join(f"{extra.name} needs {', '.join(extra.missing)}" for extra in missing) + ".",
            advice=f"Where they are wanted: pip install 'capriccio[{names}]'",
        )
    if found.cache_room < _LITTLE_ROOM:
        findings["little-room"] = Finding(
            severity="warning",
            what="There is little room for decoded pictures.",
            evidence=f"{found.cache_room / 2**30:.1f} GiB are free where '{found.cache}' lies.",
            advice="Free room, or point CAPRICCIO_CACHE to a larger disk.",
        )
    if found.speed is not None and found.speed.train_share_of_peak < _SLOW_SHARE:
        findings["slow"] = Finding(
            severity="warning",
            what="Training is slow for this machine.",
            evidence=f"It reaches {found.speed.train_share_of_peak:.0%} of the speed of plain convolutions.",
            advice="See whether something else computes at the same time; `capriccio bench` takes the time apart.",
        )
    return findings


def _versions() -> dict[str, str]:
    libraries = {}
    for name in _LIBRARIES:
        try:
            libraries[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            libraries[name] = "missing"
    # The metadata leave out how PyTorch was built, which decides what it can do.
    libraries["torch"] = torch.__version__
    return {
        "capriccio": __version__,
        "python": platform.python_version(),
        **libraries,
        "cuda": torch.version.cuda or "none",
        "system": platform.platform(),
    }


def _devices() -> tuple[Device, ...]:
    instructions = torch.backends.cpu.get_cpu_capability()
    devices = [Device("cpu", f"{_processor()}, {usable_processors()} cores, {instructions}")]
    for index in range(torch.cuda.device_count()):
        facts = torch.cuda.get_device_properties(index)
        devices.append(Device(f"cuda:{index}", f"{facts.name}, {facts.total_memory / 2**30:.0f} GiB"))
    if torch.backends.mps.is_available():
        devices.append(Device("mps", "Apple graphics"))
    return tuple(devices)


def _processor() -> str:
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as lines:
            named = next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "")
    except OSError:
        named = ""
    return named or platform.processor() or platform.machine()


def _extras() -> tuple[Extra, ...]:
    """Return the extras that the package's metadata name, each with those of its packages that are not there."""
    try:
        requirements = importlib.metadata.requires("capriccio") or []
    except importlib.metadata.PackageNotFoundError:
        return ()  # run from its source without being installed
    needed: dict[str, list[str]] = {}
    for line in requirements:
        match = re.match(r"([A-Za-z0-9._-]+)[^;]*;.*\bextra == ['\"]([\w-]+)['\"]", line)
        if match and match[2] != "dev" and match[1].lower() != "capriccio":
            needed.setdefault(match[2], []).append(match[1])
    return tuple(Extra(name, tuple(p for p in packages if not _is_installed(p))) for name, packages in needed.items())


def _is_installed(package: str) -> bool:
    try:
        importlib.metadata.distribution(package)
    except importlib.metadata.PackageNotFoundError:
        return False
    return True
