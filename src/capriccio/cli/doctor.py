"""``capriccio doctor [RUN]``: what is wrong with a training run, or with this installation, and what to do."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from capriccio.cli.parser import DEVICE_HELP, YES_NO, CommandParser, existing
from capriccio.errors import UsageError
from capriccio.wording import counted

if TYPE_CHECKING:
    from capriccio.doctor.finding import Finding
    from capriccio.doctor.installation import Installation
    from capriccio.doctor.record import RunRecord

_COLOURS = {"note": "blue", "warning": "yellow", "serious": "red"}


def run(argv: Sequence[str]) -> int:
    """Examine and tell."""
    asked = _parser().read(argv)
    if asked.RUN is None:
        return _tell_installation(asked.device, with_speed=asked.speed, as_json=asked.json)
    return _tell_run(existing(asked.RUN, "RUN"), as_json=asked.json)


def _tell_run(folder: Path, *, as_json: bool) -> int:
    from capriccio.doctor.examination import RULES, acquitted, examine
    from capriccio.doctor.record import RECENT_TICKS, read_run

    if not folder.is_dir():
        raise UsageError(f"RUN: '{folder}' is a file; name the folder of a run, the one that was given to --out.")
    record = read_run(folder)
    findings = examine(record)
    not_found, not_judged = acquitted(record, findings)
    if as_json:
        facts: dict[str, object] = {
            "run": str(folder),
            "kimg": record.nimg / 1000,
            "total_kimg": record.config.total_kimg,
            "ticks": len(record.ticks),
            "epochs": record.epochs,
            "pictures": record.num_pictures,
        }
        facts |= _document(findings) | {"looked_for": list(RULES), "not_judged": not_judged}
        print(json.dumps(facts, ensure_ascii=False))
        return 0
    young = record.recent() is None
    if young:
        print(f"Too early to judge: {counted(len(record.ticks), 'tick')}, at least {RECENT_TICKS} are needed.")
    print(_headline(record))
    _print_findings(findings)
    if not findings and not young:
        print("Nothing is wrong, as far as can be seen.")
    if not_found:
        print(f"Looked for and not found: {', '.join(not_found)}.")
    if not_judged:
        print(f"Not judged yet: {', '.join(not_judged)}.")
    return 0


def _headline(record: RunRecord) -> str:
    parts = [f"{record.folder}: {record.nimg / 1000:,.1f} of {record.config.total_kimg:,g} kimg"]
    if record.epochs is not None and record.num_pictures is not None:
        parts.append(f"{record.epochs:,.1f} epochs of {record.num_pictures:,} pictures")
    recent = record.recent()
    if recent is not None and (rate := recent.mean("Timing/images_per_sec")) is not None:
        parts.append(f"{rate:,.1f} images/s")
    return ", ".join(parts)


def _tell_installation(device: str, *, with_speed: bool, as_json: bool) -> int:
    from dataclasses import replace

    from capriccio.doctor.installation import examine_installation, look_around

    found = look_around(device)
    if not as_json:
        _print_installation(found)
    if with_speed:
        import torch

        from capriccio.bench.speed_check import check_speed

        found = replace(found, speed=check_speed(torch.device(found.device), found.precision))
    findings = examine_installation(found)
    if as_json:
        print(json.dumps(found.to_dict() | _document(findings), ensure_ascii=False))
        return 0
    if found.speed is not None:
        print(
            f"  speed      {found.speed.train_images_per_second:.1f} images/s trained, "
            f"{found.speed.generate_images_per_second:.0f} generated ({found.speed.configuration}), "
            f"{found.speed.train_share_of_peak:.0%} of the convolution peak; measured in {found.speed.seconds:.0f} s"
        )
    _print_findings(findings)
    if not findings:
        print("Nothing is wrong.")
    return 0


# ---- telling


def _document(findings: Mapping[str, Finding]) -> dict[str, object]:
    return {
        "healthy": all(finding.severity == "note" for finding in findings.values()),
        "findings": [{"name": name, **finding.to_dict()} for name, finding in findings.items()],
    }


def _print_installation(found: Installation) -> None:
    versions = dict(found.versions)
    print(f"capriccio {versions.pop('capriccio')}")
    print("  versions   " + ", ".join(f"{name} {version}" for name, version in versions.items()))
    for device in found.devices:
        chosen = " (chosen)" if device.name == found.device else ""
        print(f"  device     {device.name}{chosen}: {device.about}")
    print(f"  precision  {found.precision.name}: {found.precision.reason}")
    print(f"  threads    {found.threads}")
    for extra in found.extras:
        state = f"missing: {', '.join(extra.missing)}" if extra.missing else "installed"
        print(f"  extra      {extra.name}: {state}")
    print(f"  models     {', '.join(found.models) or 'none bundled'}")
    print(f"  cache      {found.cache}, {found.cache_room / 2**30:,.1f} GiB free", flush=True)


def _print_findings(findings: Mapping[str, Finding]) -> None:
    from rich.console import Console
    from rich.padding import Padding
    from rich.text import Text

    console = Console(highlight=False)
    for name, finding in findings.items():
        console.print()
        console.print(Text.assemble((finding.severity, f"bold {_COLOURS[finding.severity]}"), f"  {finding.what}"))
        for label, text in (("evidence", finding.evidence), ("advice", finding.advice), ("more", _section(name))):
            console.print(Padding(Text.assemble((f"{label}: ", "bold"), text), (0, 0, 0, 2), expand=False))
    if findings:
        console.print()


def _section(name: str) -> str:
    return f"docs/doctor.md, {name}"


def _parser() -> CommandParser:
    parser = CommandParser(
        "doctor",
        "Say what is wrong with a training run, with evidence and advice; without RUN look at this installation.",
        "[RUN] [--json]",
    )
    flag = parser.add_argument
    flag("RUN", nargs="?", type=str, default=None, help="Folder of a run, finished or going on; it is only read.")
    flag("--json", action="store_true", help="Print what was found as one JSON document.")
    flag("--device", type=str, default="auto", help=DEVICE_HELP + " Without RUN.")
    flag("--speed", action=YES_NO, default=True, help="Measure the speed of the installation for ten seconds.")
    return parser
