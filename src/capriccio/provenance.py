"""What made a picture, carried inside the picture: model, seed, settings, licence, and that no camera was there.

A :class:`Provenance` is written into PNG (iTXt ``capriccio`` and XMP), JPEG, WebP and AVIF (EXIF and XMP). The XMP
packet carries the IPTC ``DigitalSourceType`` that news agencies and platforms read, and the whole record as JSON, so
that Capriccio reads back exactly what it wrote. A record is a statement, not a proof: anybody can remove or copy it.

Source: IPTC Photo Metadata Standard 2023.1 (DigitalSourceType), XMP specification part 3 (where each file format keeps
it), PNG specification third edition (iTXt), EXIF 2.32 (UserComment).
"""

from __future__ import annotations

import dataclasses
import html
import json
import os
import re
import struct
import types
import typing
from dataclasses import dataclass
from typing import Any, Literal

from PIL import ExifTags, Image, PngImagePlugin

from capriccio import __version__
from capriccio.errors import UsageError

TRAINED_ALGORITHMIC_MEDIA = "http://cv.iptc.org/newscodes/digitalsourcetype/trainedAlgorithmicMedia"
"""IPTC's term for a picture made by a model that learnt from examples."""

PictureFormat = Literal["png", "jpeg", "webp", "avif"]

MAX_SEEDS = 1000
"""Seeds written for one file; a sheet of more pictures records the first ones, its single files record their own."""

MAX_NAMES = 8
"""Names of latents files written for one file."""

_KEY = "capriccio"
_NAMESPACE = "https://github.com/capriccio/ns/1.0/"
_MAX_RECORD_BYTES = 60_000  # JPEG keeps EXIF and XMP in segments of 64 KiB; nothing longer was written by us
_MAX_TEXT = 300
_USER_COMMENT_ASCII = b"ASCII\0\0\0"
_DAMAGED = (OSError, ValueError, SyntaxError, EOFError, KeyError, TypeError, RuntimeError, struct.error)
"""What Pillow's readers raise on damaged files."""


def code_version() -> str:
    """Return the version of this software as it is written into pictures and snapshots."""
    return __version__


def both_licences(first: str, second: str) -> str:
    """Return what can be said of the licence of what comes from two works whose licences differ."""
    return f"both apply: {first}; {second}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Provenance:
    """Everything needed to make a picture again, and what its reader should know."""

    model_hash: str
    """Hash of the generator's tensors and configuration."""
    licence: str
    """Licence of the weights, as their card states it."""
    kind: str = "picture"
    """"picture", "grid", "mix", "edit", "video" or "projection"."""
    seeds: tuple[int, ...] = ()
    """Seed of the picture; several for a grid or for the keys of a video; none when it came from a latents file."""
    latents: tuple[str, ...] = ()
    """Names of latents files or projected photographs that took the place of seeds."""
    truncation_psi: float | None = None
    """Truncation ψ; None = not known, the latent came from a file."""
    truncation_cutoff: int | None = None
    """Number of coarse rows truncated; None = all."""
    noise_mode: str | None = None
    """"const", "none" or "random"."""
    noise_seed: int | None = None
    """Seed of the noise, where it was random."""
    class_index: int | None = None
    """Class of a conditional network."""
    mixed_layers: tuple[int, ...] = ()
    """Latent rows that came from ``mixed_seeds``; empty = nothing was mixed."""
    mixed_seeds: tuple[int, ...] = ()
    """Seeds whose styles were mixed in."""
    mixed_latents: tuple[str, ...] = ()
    """Names of files whose styles were mixed in."""
    edits: tuple[str, ...] = ()
    """Moves along editing directions, such as "snow +2 (middle)", in their order."""
    tuned_from: str | None = None
    """Hash of the network that ``model_hash`` was tuned from for some photographs; None = it was not."""
    software: str = "Capriccio"
    """Program that made the picture."""
    version: str = __version__
    """Version of the program."""
    digital_source_type: str = TRAINED_ALGORITHMIC_MEDIA
    """IPTC DigitalSourceType."""

    @property
    def seed(self) -> int | None:
        """The seed, when there is exactly one."""
        return self.seeds[0] if len(self.seeds) == 1 else None

    def to_json(self) -> str:
        """Return the record as one line of ASCII JSON, short enough for every format; unset values are left out."""
        record = {name: _bounded(value) for name, value in _fields(self).items() if value not in (None, ())}
        if self.seed is not None:
            record["seed"] = self.seed
        return json.dumps(record, sort_keys=True)

    @classmethod
    def from_json(cls, text: str) -> Provenance:
        """Read what :meth:`to_json` wrote; keys of later versions are ignored.

        Raises: UsageError if the text is no such record, too long, or a value has the wrong type.
        """
        if len(text) > _MAX_RECORD_BYTES:
            raise UsageError(f"provenance: the record is longer than {_MAX_RECORD_BYTES} bytes; not ours.")
        try:
            record = json.loads(text)
        except (ValueError, RecursionError) as error:
            raise UsageError(f"provenance: the record is not JSON ({error}).") from error
        if not isinstance(record, dict):
            raise UsageError("provenance: the record is not a JSON object.")
        hints = typing.get_type_hints(cls)
        values = {name: _typed(hints[name], value, name) for name, value in record.items() if name in hints}
        missing = {"model_hash", "licence"} - set(values)
        if missing:
            raise UsageError(f"provenance: the record lacks {', '.join(sorted(missing))}.")
        return cls(**values)

    def sentence(self) -> str:
        """Return one line for people: what this is and how it was made."""
        facts = [f"model {self.model_hash[:12]}"]
        if self.seed is not None:
            facts.append(f"seed {self.seed}")
        elif self.seeds:
            facts.append(f"{len(self.seeds)} seeds from {self.seeds[0]}")
        if self.truncation_psi is not None:
            facts.append(f"psi {self.truncation_psi:g}")
        if self.mixed_layers:
            facts.append(f"layers {', '.join(map(str, self.mixed_layers))} mixed in")
        if self.edits:
            facts.append(f"edited by {', '.join(self.edits)[:_MAX_TEXT]}")
        if self.tuned_from:
            facts.append(f"tuned for a photograph from {self.tuned_from[:12]}")
        return (
            f"Synthetic {self.kind} made by a trained generative network ({', '.join(facts)}). "
            f"Licence of the weights: {self.licence[:_MAX_TEXT]}."
        )


# ---- writing ---------------------------------------------------------------------------------------------------------


def save_options(provenance: Provenance, file_format: PictureFormat) -> dict[str, Any]:
    """Return the keyword arguments of Pillow's ``save`` that put ``provenance`` into a file of ``file_format``."""
    xmp = to_xmp(provenance)
    if file_format == "png":
        text = PngImagePlugin.PngInfo()
        text.add_itxt(_KEY, provenance.to_json())
        text.add_itxt("XML:com.adobe.xmp", xmp)
        text.add_text("Software", _software(provenance))
        text.add_itxt("Description", provenance.sentence())
        return {"pnginfo": text}
    exif = Image.Exif()
    exif[ExifTags.Base.Software] = _software(provenance)
    exif[ExifTags.Base.ImageDescription] = provenance.sentence().encode("ascii", "replace").decode("ascii")
    exif.get_ifd(ExifTags.IFD.Exif)[ExifTags.Base.UserComment] = _USER_COMMENT_ASCII + provenance.to_json().encode()
    return {"exif": exif, "xmp": xmp.encode()}


def to_xmp(provenance: Provenance) -> str:
    """Return the XMP packet of a record."""
    record, sentence, source_type, tool = (
        html.escape(text, quote=True)
        for text in (
            provenance.to_json(),
            provenance.sentence(),
            provenance.digital_source_type,
            _software(provenance),
        )
    )
    return f"""<?xpacket begin="\ufeff" id="W5M0MpCehiHzreSzNTczkc9d"?>
<x:xmpmeta xmlns:x="adobe:ns:meta/">
 <rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">
  <rdf:Description rdf:about=""
    xmlns:dc="http://purl.org/dc/elements/1.1/"
    xmlns:xmp="http://ns.adobe.com/xap/1.0/"
    xmlns:Iptc4xmpExt="http://iptc.org/std/Iptc4xmpExt/2008-02-29/"
    xmlns:capriccio="{_NAMESPACE}">
   <xmp:CreatorTool>{tool}</xmp:CreatorTool>
   <Iptc4xmpExt:DigitalSourceType>{source_type}</Iptc4xmpExt:DigitalSourceType>
   <dc:description><rdf:Alt><rdf:li xml:lang="x-default">{sentence}</rdf:li></rdf:Alt></dc:description>
   <capriccio:record>{record}</capriccio:record>
  </rdf:Description>
 </rdf:RDF>
</x:xmpmeta>
<?xpacket end="w"?>"""


def _software(provenance: Provenance) -> str:
    return f"{provenance.software} {provenance.version}"


# ---- reading ---------------------------------------------------------------------------------------------------------


def read_provenance(source: str | os.PathLike[str] | Image.Image) -> Provenance | None:
    """Return the record a picture carries, or None when it carries none or a damaged one.

    Only the file's headers are read, never its pixels, and no length it states is believed beyond what was written.

    Args:
        source: a PNG, JPEG, WebP or AVIF file, or a picture Pillow has opened.

    Raises: UsageError if the file is missing or is no picture.
    """
    if isinstance(source, Image.Image):
        return _read(source)
    try:
        with Image.open(source) as image:
            return _read(image)
    except FileNotFoundError as error:
        raise UsageError(f"{source}: there is no such file.") from error
    except (*_DAMAGED, Image.DecompressionBombError) as error:
        raise UsageError(f"{source}: cannot be read as a picture ({error}).") from error


def _read(image: Image.Image) -> Provenance | None:
    for text in _candidates(image):
        try:
            return Provenance.from_json(text)
        except UsageError:
            continue  # a damaged copy; another one may be whole
    return None


def _candidates(image: Image.Image) -> typing.Iterator[str]:
    """Every place a record may stand in, as text, the most direct first."""
    direct = image.info.get(_KEY)
    if isinstance(direct, str):
        yield direct
    for key in ("xmp", "XML:com.adobe.xmp"):
        packet = image.info.get(key)
        if isinstance(packet, bytes):
            packet = packet[: 2 * _MAX_RECORD_BYTES].decode("utf-8", "replace")
        if isinstance(packet, str):
            found = re.search(r"<capriccio:record>([^<]*)</capriccio:record>", packet[: 2 * _MAX_RECORD_BYTES])
            if found:
                yield html.unescape(found[1])
    try:
        comment = image.getexif().get_ifd(ExifTags.IFD.Exif).get(ExifTags.Base.UserComment)
    except _DAMAGED:
        return  # damaged EXIF is the same as none
    if isinstance(comment, bytes) and comment.startswith(_USER_COMMENT_ASCII):
        yield comment[len(_USER_COMMENT_ASCII) :].decode("ascii", "replace")


# ---- plain data ------------------------------------------------------------------------------------------------------


def _fields(record: Provenance) -> dict[str, Any]:
    return {field.name: getattr(record, field.name) for field in dataclasses.fields(record)}


def _bounded(value: Any) -> Any:
    """Cut what would not fit into a JPEG's segment: long texts and long lists."""
    if isinstance(value, str):
        return value[:_MAX_TEXT]
    if isinstance(value, tuple):
        return [_bounded(item) for item in value[: MAX_NAMES if isinstance(value[0], str) else MAX_SEEDS]]
    return value


def _typed(hint: Any, value: Any, name: str) -> Any:
    if typing.get_origin(hint) is types.UnionType:
        return None if value is None else _typed(typing.get_args(hint)[0], value, name)
    if typing.get_origin(hint) is tuple:
        if not isinstance(value, list) or len(value) > MAX_SEEDS:
            raise UsageError(f"provenance: '{name}' must be a list of at most {MAX_SEEDS} entries.")
        return tuple(_typed(typing.get_args(hint)[0], item, name) for item in value)
    if hint is float and type(value) is int:
        return float(value)
    if type(value) is not hint or (isinstance(value, str) and len(value) > _MAX_TEXT):
        raise UsageError(f"provenance: '{name}' must be {hint.__name__} of ordinary size.")
    return value
