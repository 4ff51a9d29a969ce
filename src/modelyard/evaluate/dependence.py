r"""Partial dependence: what both models say on average where one column holds a given value in every row. No I/O.

:math:`PD_j(v) = \frac{1}{n} \sum_i f(x_{i1}, \dots, x_{ij} = v, \dots)`. It answers for rows that may not exist (a short flight of eleven
hours) where columns hang together; read it as what the model does, not as what the world does.

``sklearn.inspection.partial_dependence`` calls the model once for each point of the grid. A champion of other code answers from a
process of its own, which takes seconds a call; so all copies go in one table here.

References
----------
J. H. Friedman, "Greedy function approximation: a gradient boosting machine", Ann. Statist. 29 (2001).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np
from pydantic import BaseModel, Field

from modelyard.evaluate.columns import is_number, is_text, spaced

if TYPE_CHECKING:
    import pandas as pd

Predict = Callable[["pd.DataFrame"], np.ndarray]

#: Rows that are averaged over, columns that are drawn, points of a column of numbers, and values of a column of texts.
ROWS, COLUMNS, POINTS, VALUES = 500, 5, 12, 8


class Dependence(BaseModel):
    """Mean prediction of both models over the values of one column."""

    column: str
    values: list[float] | list[str] = Field(description="Quantiles from 2.5 to 97.5 % of a column of numbers, or the most frequent texts.")
    challenger: list[float]
    champion: list[float] | None = None


def partial(frame: pd.DataFrame, columns: Sequence[str], challenger: Predict, champion: Predict | None = None) -> list[Dependence]:
    """Curves of the first :data:`COLUMNS` of the columns that hold numbers or texts, and more than one value.

    Parameters
    ----------
    frame
        Held-out rows; of more than :data:`ROWS`, that many evenly spaced ones are averaged over. The grids are of all rows.
    columns
        The most important first.
    challenger, champion
        Give (m,) predictions of m rows; each is called once.
    """
    import pandas as pd

    grids = {name: grid for name in columns if name in frame.columns and len(grid := _grid(frame[name])) > 1}
    grids = dict(list(grids.items())[:COLUMNS])
    if not grids or not len(frame):
        return []
    rows = frame.iloc[spaced(len(frame), ROWS)].reset_index(drop=True)
    copies = [rows.assign(**{name: _filled(rows[name], value)}) for name, grid in grids.items() for value in grid]
    table = pd.concat(copies, ignore_index=True)
    first = challenger(table).reshape(len(copies), -1).mean(axis=1)
    second = champion(table).reshape(len(copies), -1).mean(axis=1) if champion else None
    found, at = [], 0
    for name, grid in grids.items():
        part = slice(at, at + len(grid))
        at = part.stop
        values = [str(value) if isinstance(value, str) else float(value) for value in grid]
        old = second[part].tolist() if second is not None else None
        found.append(Dependence(column=name, values=values, challenger=first[part].tolist(), champion=old))
    return found


def _grid(column: pd.Series) -> list[float] | list[str]:
    """Values that occur, so that whole numbers stay whole."""
    if is_text(column):
        return [str(value) for value in column.value_counts().index[:VALUES]]
    if not is_number(column):
        return []
    known = column.dropna().to_numpy()
    if not len(known):
        return []
    points: list[float] = np.unique(np.quantile(known, np.linspace(0.025, 0.975, POINTS), method="inverted_cdf")).tolist()
    return points


def _filled(column: pd.Series, value: float | str) -> pd.Series:
    import pandas as pd

    return pd.Series(value, column.index).astype(column.dtype)
