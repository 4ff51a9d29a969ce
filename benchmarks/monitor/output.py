"""What every benchmark prints and writes: a Markdown table, and JSON with the circumstances."""

from __future__ import annotations

import datetime
import json
import math
import os
import platform
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

JSON = click.option("--json", "json_file", type=click.Path(path_type=Path), help="Write the figures here; those of tools not run stay.")


def table(header: Sequence[str], rows: Sequence[Sequence[Any]]) -> str:
    """Markdown; floats with two digits, None as nothing."""
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join("| " + " | ".join(_shown(cell) for cell in line) + " |" for line in lines) + "\n"


def _shown(cell: Any) -> str:
    if cell is None:
        return ""
    return f"{cell:.2f}" if isinstance(cell, float) else str(cell)


def interval(hits: int, of: int) -> tuple[float, float]:
    """Wilson's 95 % interval of a share."""
    z = 1.959964
    middle = (hits + z * z / 2) / (of + z * z)
    half = z / (of + z * z) * math.sqrt(hits * (of - hits) / of + z * z / 4)
    return max(0.0, middle - half), min(1.0, middle + half)


def share(hits: int, of: int) -> str:
    """A share with its interval, in percent."""
    low, high = interval(hits, of)
    return f"{hits} of {of:,} ({100 * low:.1f}-{100 * high:.1f} %)"


def read(path: Path | None) -> dict[str, Any]:
    """Figures of an earlier run."""
    return json.loads(path.read_text()) if path and path.exists() else {}


def write(path: Path | None, figures: dict[str, Any]) -> None:
    """Write the figures with the date and the machine in general words."""
    if path is None:
        return
    where = {
        "date": datetime.datetime.now(tz=datetime.UTC).date().isoformat(),
        "machine": f"{os.cpu_count()} cores, {os.sysconf('SC_PAGE_SIZE') * os.sysconf('SC_PHYS_PAGES') / 2**30:.0f} GiB",
        "python": platform.python_version(),
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({**figures, **where}, indent=1) + "\n")
