"""Text that comes from data, fit to be shown. No I/O."""

from __future__ import annotations

import re

_UNSEEN = re.compile(r"[\x00-\x08\x0e-\x1b\x7f-\x84\x86-\x9f\u200b\u200e\u200f\u202a-\u202e\u2066-\u2069\ufeff\ud800-\udfff]")


def line(text: str, longest: int = 400) -> str:
    """On one line, without control characters or marks that turn the direction of writing, and not too long."""
    text = " ".join(visible(text).split())
    return text if len(text) <= longest else text[: longest - 1].rstrip() + "…"


def visible(text: str) -> str:
    """Without control characters, and marks that turn the direction of writing."""
    return _UNSEEN.sub("", text)
