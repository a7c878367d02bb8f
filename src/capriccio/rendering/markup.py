"""Text made safe for HTML and SVG."""

from __future__ import annotations

import html
import re


def escape(text: str) -> str:
    """Escape for element text and quoted attributes; characters that HTML and XML forbid become spaces."""
    return html.escape(re.sub(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff\ufffe\uffff]", " ", text), quote=True)
