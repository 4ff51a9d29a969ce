"""Text that comes from data, fit to stand in Markdown. No I/O."""

from __future__ import annotations

import re

from modelyard.page.plain import line

#: Characters of a name.
LONGEST = 60


def plain(text: str) -> str:
    """Free text in which Markdown, HTML, mentions and links mean nothing; safe in a table."""
    text = re.sub(r"(?<=[@#])(?=\w)|(?<=:)(?=//)|(?<=www)(?=\.)", "\u200b", line(text))
    text = re.sub(r"[\\`*\[\]|~]|(?<![^\W_])_|_(?![^\W_])", r"\\\g<0>", text)
    text = re.sub(r"<(?=[A-Za-z/!?])", r"\\<", text)
    text = re.sub(r"&(?=#?\w+;)", r"\\&", text)
    return re.sub(r"^(?=[-+#>=])|^(\d+)(?=[.)](?:\s|$))", lambda match: (match[1] or "") + "\\", text)


def code(name: str, *, table: bool = True) -> str:
    """A name as a code span, whatever stands in it."""
    name = line(name, LONGEST) or "(empty)"
    fence = "`" * (1 + max(map(len, re.findall("`+", name)), default=0))
    pad = " " if name.startswith("`") or name.endswith("`") else ""
    return f"{fence}{pad}{name.replace('|', chr(92) + '|') if table else name}{pad}{fence}"
