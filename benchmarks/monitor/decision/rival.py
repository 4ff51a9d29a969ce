"""Evidently's verdict on the rows of the last four weeks beside those that the live model was trained on."""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pandas as pd
from policies import COOL, WINDOW, Look, Rule, World
from stream import Model

sys.path.append(str(Path(__file__).resolve().parents[1]))
import peers

ROWS = 20_000  # of each side, evenly spread: its makers' advice for more rows


@dataclass
class Evidently:
    """What it said so far, by live model and week."""

    peer: peers.Peer
    folder: Path
    said: dict[tuple[int, Model, int], float] = field(default_factory=dict)

    def share(self, look: Look) -> float:
        """Share of columns that have drifted: features, prediction and label."""
        key = id(look.world), look.live, look.week
        if key not in self.said:
            self._write(look.world, look.live, *look.live, "reference")
            self._write(look.world, look.live, look.week - WINDOW, look.week, "current")
            files = [self.folder / f"{name}.parquet" for name in ("reference", "current")]
            drifts = [column["drift"] for column in self.peer.check(*files)["columns"].values()]
            self.said[key] = sum(map(bool, drifts)) / len(drifts)
        return self.said[key]

    def _write(self, world: World, live: Model, start: int, end: int, name: str) -> None:
        stream = world.stream
        inside = np.arange(len(stream.day))[stream.rows(start, end)]
        spread = np.linspace(0, len(inside) - 1, min(ROWS, len(inside))).astype(int)
        columns = {name: values[inside[spread]] for name, values in stream.inputs.items()}
        columns |= {"score": stream.scores(live, start, end)[spread], "late": stream.label[inside[spread]]}
        pd.DataFrame(columns).to_parquet(self.folder / f"{name}.parquet")

    def rules(self) -> dict[str, Rule]:
        """Train where half of the columns have drifted, its own verdict; or where any has."""
        return {
            "evidently: half of the columns": lambda look: look.age >= COOL and self.share(look) >= 0.5,
            "evidently: any column": lambda look: look.age >= COOL and self.share(look) > 0,
        }


@contextmanager
def running(cache: Path) -> Iterator[Evidently]:
    """Start it in its own environment, which is made where it is not there."""
    with tempfile.TemporaryDirectory() as name, peers.running("evidently", cache) as peer:
        yield Evidently(peer, Path(name))
