"""The tools as they are compared: which adapter, with which options, and which of its answers count."""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import flights
import ours
import pandas as pd
import peers

OURS = "modelyard"
Found = dict[str, list[str]]  # column -> questions that alarm


@dataclass(frozen=True)
class Variant:
    """A tool with its options; ``more`` are the tables of results that one run of it gives: name -> questions that count."""

    tool: str
    options: dict[str, Any]
    more: dict[str, tuple[str, ...]]


ALL = ("drift", "missing", "unseen")
VARIANTS = {
    "evidently": Variant("evidently", {"quality": True}, {"evidently": ("drift",), "evidently + summary tests": ALL}),
    "nannyml": Variant("nannyml", {"quality": True}, {"nannyml": ("drift",), "nannyml + quality": ALL}),
    "nannyml-5000": Variant(
        "nannyml",
        {"quality": True, "chunk_size": 5_000},
        {"nannyml, chunk 5,000": ("drift",), "nannyml, chunk 5,000 + quality": ALL},
    ),
}
TOOLS = (OURS, *VARIANTS)


def checks(name: str, cache: Path, pairs: Iterable[tuple[pd.DataFrame, pd.DataFrame]]) -> Iterator[Found]:
    """Have a peer check pairs of reference and current table."""
    variant = VARIANTS[name]
    with tempfile.TemporaryDirectory(dir=flights.folder(cache)) as folder, peers.running(variant.tool, cache) as peer:
        for before, now in pairs:
            reference, current = (
                flights.write(before, Path(folder, "reference.parquet")),
                flights.write(now, Path(folder, "current.parquet")),
            )
            answer = peer.check(reference, current, **variant.options)
            yield {column: [q for q, alarm in asked.items() if alarm] for column, asked in answer["columns"].items()}


def tallied(name: str, found: list[Found]) -> dict[str, Any]:
    """How many checks alarm, in any column and in each, by every way to read this tool's answers."""
    ways = VARIANTS[name].more if name in VARIANTS else {OURS: ours.QUESTIONS}
    columns = sorted({column for by in found for column in by})
    return {
        "checks": len(found),
        "any": {label: sum(any(set(asked) & set(asks) for asked in by.values()) for by in found) for label, asks in ways.items()},
        "columns": {
            label: {column: sum(bool(set(by.get(column, ())) & set(asks)) for by in found) for column in columns}
            for label, asks in ways.items()
        },
        "questions": {ask: sum(any(ask in asked for asked in by.values()) for by in found) for ask in sorted(set().union(*ways.values()))},
    }


def tool_of(label: str) -> str:
    """Which variant gives these answers."""
    return next((name for name, variant in VARIANTS.items() if label in variant.more), label)


LABELS = (OURS, *(label for variant in VARIANTS.values() for label in variant.more))
