"""Files of one source that are byte for byte the same: which is the original, which are copies."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Callable, Hashable, Mapping

from capriccio.data.building.items import Content
from capriccio.data.pictures import PictureError


def find_copies(keys: Mapping[str, Hashable], content: Callable[[str], Content]) -> dict[str, str]:
    """Return the original of every copy.

    Of equal files the one with the shortest name counts as the original, as ``cat.jpg`` beside ``copy of cat.jpg``;
    between names of one length, the first in the alphabet.

    Args:
        keys: what is known of each file without reading it, such as its size; only files that agree in it are read.
        content: how to read a file.
    """
    alike: defaultdict[Hashable, list[str]] = defaultdict(list)
    for name, key in keys.items():
        alike[key].append(name)
    copies = {}
    for group in alike.values():
        if len(group) > 1:
            originals: dict[bytes, str] = {}
            for name in sorted(group, key=lambda name: (len(name.rpartition("/")[2]), name)):
                try:
                    digest = hashlib.sha256(content(name).read()).digest()
                except PictureError:
                    continue
                if (original := originals.setdefault(digest, name)) != name:
                    copies[name] = original
    return copies
