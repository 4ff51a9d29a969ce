"""Pages from templates: whole in one file, without scripts.

jinja2 is imported by whoever imports this module: do so only where a page is asked for.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined, Template
from markupsafe import Markup

from modelyard.page import plain

LONGEST = 600  # characters of a name, or of a sentence


def load(name: str, folder: Path) -> Template:
    """A template of ``folder``, which may include the styles beside this module."""
    loader = FileSystemLoader([folder, Path(__file__).parent])
    made = Environment(loader=loader, undefined=StrictUndefined, finalize=_clean, autoescape=True, trim_blocks=True, lstrip_blocks=True)
    return made.get_template(name)


def write(path: Path, text: str) -> None:
    """Whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    draft.write_text(text, encoding="utf-8", errors="replace", newline="\n")
    draft.replace(path)


def _clean(value: Any) -> Any:
    """What a template prints may come from data."""
    return plain.visible(value)[:LONGEST] if isinstance(value, str) and not isinstance(value, Markup) else value
