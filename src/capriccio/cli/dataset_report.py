"""How the commands that make an archive tell what they made."""

from __future__ import annotations

import dataclasses
import json

from capriccio.data.building.report import BuildReport


def tell_report(report: BuildReport, *, as_json: bool) -> None:
    """Print what became of the files, for people or as one JSON document."""
    if as_json:
        skipped = [dataclasses.asdict(skipped) for skipped in report.skipped]
        document = {
            "dest": str(report.dest),
            "count": report.count,
            "height": report.height,
            "width": report.width,
            "skipped": skipped,
        }
        print(json.dumps(document, ensure_ascii=False))
        return
    print(f"{report}.")
    for skipped in report.skipped:
        print(f"  left out: {skipped.name}: {skipped.reason}")
