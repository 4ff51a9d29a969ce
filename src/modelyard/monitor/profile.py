"""The compact reference that ``monitor`` compares with: counts per column, no rows. No I/O."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import numpy as np
from pydantic import BaseModel, Field

if TYPE_CHECKING:
    import pandas as pd

_FEW = 20  # numbers with no more distinct values than this get a cell each
# 19 cuts make 20 bins; the outer ones are narrow, since a shift of the tails hides in evenly filled bins.
_LEVELS = np.array([0.005, 0.02, *(k / 16 for k in range(1, 16)), 0.98, 0.995])
_RARE = 50  # a value below this count is pooled: else a dictionary made from the reference makes "unseen" rise by itself
_VALUES = 200


class Column(BaseModel):
    """One column, as counts.

    ``numeric``: ``counts[i]`` values lie in [edges[i-1], edges[i]), the first and the last cell being open. ``categorical``: one count
    per value, then one for all others. ``sequence``: times, and numbers that only grow with time (a year, a serial number); their
    distribution is never compared, since no two periods share it.
    """

    kind: Literal["numeric", "categorical", "sequence"]
    rows: int
    missing: int
    edges: list[float] = Field(default_factory=list)
    values: list[str] = Field(default_factory=list)
    counts: list[int] = Field(default_factory=list)

    @property
    def missing_share(self) -> float:
        """Share of rows without a value, 0 to 1."""
        return self.missing / self.rows if self.rows else 0.0


class Profile(BaseModel):
    """What ``models/profile.json`` holds."""

    version: Literal[1] = 1
    model: str = Field(description="SHA-256 of the model that it belongs to.")
    rows: int = Field(description="Training rows.")
    days: float = Field(description="Days that the training rows' periods cover.")
    columns: dict[str, Column] = Field(description="The training rows' columns.")
    label: Column = Field(description="The training rows' labels.")
    prediction: Column = Field(description="The model's predictions of the hold-out, which it was not trained on.")


def describe(values: pd.Series, time: pd.Series | None = None) -> Column:
    """Choose the cells for a column, and count it.

    Parameters
    ----------
    time
        Event times of the same rows; with them a number that only grows is told apart.
    """
    import pandas as pd

    known = values.dropna()
    empty = {"rows": len(values), "missing": len(values) - len(known)}
    if pd.api.types.is_datetime64_any_dtype(values) or pd.api.types.is_timedelta64_dtype(values):
        return Column(kind="sequence", **empty)
    if pd.api.types.is_numeric_dtype(values):
        if time is not None and _grows(known, time):
            return Column(kind="sequence", **empty)
        return count(Column(kind="numeric", edges=_edges(known.to_numpy(dtype=float)), **empty), values)
    tally = known.astype(str).value_counts()
    least = min(_RARE, len(known) // 100)
    frequent = sorted(tally[tally >= least].index, key=lambda value: (-tally[value], value))[:_VALUES]
    return count(Column(kind="categorical", values=frequent, **empty), values)


def count(cells: Column, values: pd.Series) -> Column:
    """The same cells, filled with these values. Counts of parts add up to the counts of the whole."""
    import pandas as pd

    known = values.dropna()
    counts: list[int] = []
    if cells.kind == "numeric":
        known = pd.to_numeric(known, errors="coerce").dropna()  # text where numbers were counts as missing
        numbers = known.to_numpy(dtype=float)
        counts = np.bincount(np.searchsorted(cells.edges, numbers, side="right"), minlength=len(cells.edges) + 1).tolist()
    elif cells.kind == "categorical":
        tally = known.astype(str).value_counts()
        counts = [int(tally.get(value, 0)) for value in cells.values]
        counts.append(len(known) - sum(counts))
    return cells.model_copy(update={"rows": len(values), "missing": len(values) - len(known), "counts": counts})


def _grows(known: pd.Series, time: pd.Series) -> bool:
    order = time.loc[known.index].sort_values(kind="stable").index
    return known.nunique() > 1 and bool(known.loc[order].is_monotonic_increasing)


def _edges(values: np.ndarray) -> list[float]:
    finite = values[np.isfinite(values)]
    if not len(finite):
        return []
    distinct = np.unique(finite)
    if len(distinct) == 1:
        step = abs(distinct[0]) * 1e-6 or 1e-6
        edges = np.array([distinct[0] - step, distinct[0] + step])
    elif len(distinct) <= _FEW:
        middle = (distinct[:-1] + distinct[1:]) / 2
        edges = np.array([2 * distinct[0] - middle[0], *middle, 2 * distinct[-1] - middle[-1]])
    else:
        edges = np.unique(np.quantile(finite, _LEVELS))
    return sorted({float(f"{edge:.9g}") for edge in edges})
