"""The model card of a hub page: every line a fact of the snapshot, or the words that it is not stated."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

import yaml

from capriccio.snapshots.snapshot import Snapshot, StoredDtype, model_hash

SAMPLES_FILE = "samples.webp"
"""Name of the sheet of samples beside the card."""

_SPDX = {"Apache-2.0": "apache-2.0", "MIT": "mit", "CC0-1.0": "cc0-1.0", "CC-BY-4.0": "cc-by-4.0"}
"""Licences and the hub's words for them; all others are called "other" there, and named."""

_UNKNOWN = "not stated"
_YES_OR_NO = {"True": "yes", "False": "no"}


def model_card(
    snapshot: Snapshot,
    *,
    repo: str,
    stored: StoredDtype = "float32",
    difference: float | None = None,
    samples: str = "",
    numbers: Sequence[Mapping[str, Any]] = (),
) -> str:
    """Return the card as Markdown with the hub's header.

    Args:
        snapshot: the network and its facts.
        repo: where it will lie, "owner/name".
        stored: precision of the file.
        difference: largest difference of a picture, in grey levels, that storing in less than float32 makes.
        samples: what the sheet beside the card shows; "" = there is none.
        numbers: measured metrics with their protocols, as ``MetricResult.to_dict`` gives them.
    """
    facts, config = snapshot.facts, snapshot.generator.config
    card, data = facts.card, facts.data
    shape = config.shape
    title = str(card.get("title") or repo.partition("/")[2] or repo)
    is_ours = "converted_from" not in card  # files of other programs do not say how long they were trained
    parameters = sum(parameter.numel() for parameter in snapshot.generator.parameters())
    precision = stored if difference is None else (
        f"{stored}; pictures differ from float32's by at most {difference:.2g} of 255 grey levels over sixteen latents"
    )  # fmt: skip
    rows = {
        "pictures": f"{shape.width}×{shape.height} (width × height), {shape.channels} channels",
        "classes": config.c_dim or "none",
        "architecture": f"{config.architecture}, channel base {config.channel_base}, at most {config.channel_max}, "
        f"{config.mapping.num_layers} mapping layers, z {config.z_dim}, w {config.w_dim}",
        "parameters of the generator": f"{parameters:,}",
        "discriminator in the file": "no" if snapshot.discriminator is None else "yes",
        "trained for": f"{facts.nimg / 1000:g} thousand images" if is_ours or facts.nimg else _UNKNOWN,
        "stored in": precision,
        "model hash": f"`{model_hash(snapshot.generator)}`",
        "software": facts.software or _UNKNOWN,
    }
    rows |= {word: card[key] for key, word in _TRAINING.items() if key in card}
    parts = [
        f"---\n{yaml.safe_dump(_header(facts.licence), sort_keys=False)}---",
        f"# {title}",
        str(card.get("description") or "A StyleGAN2 generator."),
        f"![Samples]({SAMPLES_FILE})\n\n{samples}" if samples else "",
        "## Use",
        _use(repo, conditional=bool(config.c_dim)),
        "## The network",
        _table(rows),
        "## The pictures it learnt from",
        _table(_data_rows(data)) if data else "Not stated.",
        "## Numbers",
        _numbers(numbers) if numbers else "None were measured for this page.",
        "## Licence",
        f"Licence of the weights: {facts.licence}. Licence of the training pictures: {data.get('licence', _UNKNOWN)}.",
        "## Limits",
        str(card.get("limits") or "Not stated by its trainer."),
        "Pictures are synthetic. It paints what resembles its training pictures, with their gaps and their bias, and "
        "may repeat single ones: `capriccio metrics memorisation` looks for that.",
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


_TRAINING = {
    "preset": "preset", "batch": "batch", "r1_gamma": "R1 γ", "training_hours": "hours of training",
}  # fmt: skip


def _header(licence: str) -> dict[str, Any]:
    header: dict[str, Any] = {
        "library_name": "capriccio",
        "pipeline_tag": "unconditional-image-generation",
        "tags": ["stylegan2", "gan", "capriccio"],
        "license": _SPDX.get(licence, "other"),
    }
    if header["license"] == "other":
        header["license_name"] = _licence_id(licence)
    return header


def _licence_id(licence: str) -> str:
    """Return the hub's identifier of a licence it has no word for: what stands before the first ; or : as one word."""
    return re.sub(r"[^a-z0-9.]+", "-", re.split("[;:]", licence.lower())[0]).strip("-.") or "unknown"


def _use(repo: str, *, conditional: bool) -> str:
    label = ", c=model.label(0)" if conditional else ""
    flag = " --class 0" if conditional else ""
    return (
        "```sh\n"
        "pip install 'capriccio[hub]'\n"
        f"capriccio generate --model {repo} --seeds 0-15{flag}\n"
        "```\n\n"
        "```python\n"
        "import capriccio\n\n"
        f'model = capriccio.load("{repo}")\n'
        f"images = model.images(model.ws(seeds=[0]{label}, truncation_psi=0.7))  # [1, C, H, W], -1..1\n"
        "```\n\n"
        "Seed s is `numpy.random.RandomState(s).randn(1, z_dim)`. The file is safetensors: nothing in it is executed."
    )


def _data_rows(data: Mapping[str, Any]) -> dict[str, object]:
    rows: dict[str, object] = {
        "name": data.get("name", _UNKNOWN),
        "trained on": f"{data['count']:,} pictures" if "count" in data else _UNKNOWN,
        "set aside before training": f"{len(data['heldout']):,} pictures" if "heldout" in data else _UNKNOWN,
        "mirrored copies added": _YES_OR_NO.get(str(data.get("mirror", data.get("xflip"))), _UNKNOWN),
        "licence": data.get("licence", _UNKNOWN),
    }
    return rows | ({"SHA-256 over the pictures": f"`{data['hash']}`"} if "hash" in data else {})


def _numbers(results: Sequence[Mapping[str, Any]]) -> str:
    """Return a table of numbers, and below it the protocols, each once."""
    lines, protocols = ["| number | value | | protocol |", "| --- | ---: | --- | --- |"], list[str]()
    for result in results:
        known = {key: value for key, value in result["card"].items() if value is not None and key != "metric"}
        protocol = "; ".join(f"{key} {value}" for key, value in known.items())
        if protocol not in protocols:
            protocols.append(protocol)
        for name, value in result["values"].items():
            spread = f" ± {result['spread'][name]:.2g}" if name in result.get("spread", {}) else ""
            caveat = _cell(result.get("caveat", ""))
            lines.append(f"| {name} | {value:.4g}{spread} | {caveat} | {protocols.index(protocol) + 1} |")
    return "\n".join([*lines, "", *(f"{i}. {protocol}" for i, protocol in enumerate(protocols, 1))])


def _table(rows: Mapping[str, object]) -> str:
    lines = [f"| {_cell(name)} | {_cell(value)} |" for name, value in rows.items()]
    return "\n".join(["| | |", "| --- | --- |", *lines])


def _cell(value: object) -> str:
    return " ".join(str(value).replace("|", "\\|").split())
