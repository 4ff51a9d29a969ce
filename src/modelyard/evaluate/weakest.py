"""Where a model errs most, as conditions in words: a shallow tree over the loss of each row. No I/O.

Told, never tested: the regions are found on the hold-out itself.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from pydantic import BaseModel, Field

from modelyard.evaluate import metrics
from modelyard.policy import Task

#: Task -> the loss of a row.
LOSS: dict[Task, str] = {"binary": "log loss", "regression": "absolute error", "multiclass": "log loss"}
_DEPTH = 3
_LEAF = 0.05
_LEAST = 0.001  # share of the variance of the loss that a split must explain; else it would split noise
_SHOWN = 5
_WORSE = 1.1  # a loss of less above the overall one is not worth a line
_VALUES = 20  # most frequent values of a column of text that may be told apart
_ROWS = 50_000  # that the tree is grown on, at most


class Region(BaseModel):
    """Rows on which the challenger errs more than overall."""

    where: str = Field(description="Condition on the columns, in words.")
    rows: int = Field(description="On the days that the tree has not seen, as all numbers here.")
    share: float = Field(description="Of all rows.")
    loss: float = Field(description="Mean log loss (binary) or absolute error (regression).")
    overall: float = Field(description="The same over all rows.")


@dataclass(frozen=True)
class _Column:
    """One column of numbers that the tree sees, and how a split of it reads."""

    name: str
    values: np.ndarray  # (n,) without NaN
    value: str | None = None  # set where it says whether `name` is this value
    missing: bool = False  # ... or whether `name` is missing


def find(
    task: Task, features: Mapping[str, np.ndarray], day: np.ndarray, label: np.ndarray, score: np.ndarray, min_rows: int, *, seed: int = 0
) -> list[Region]:
    """The regions with the largest loss, the worst first, of those that are a tenth above the overall loss.

    A regression tree of depth 3 with at least 5 % of the rows in a leaf is grown on every second day (on at most 50,000 rows); what
    is told of its leaves comes from the other days, so that a region is not one by luck alone.

    Parameters
    ----------
    features
        Column -> (n,) numbers or anything that reads as text, missing values allowed. Of text the 20 most frequent values count.
    min_rows
        Rows that a region needs on the other days.
    """
    from sklearn.tree import DecisionTreeRegressor

    _, position = np.unique(day, return_inverse=True)
    grown = np.flatnonzero(position % 2 == 0)
    shown = np.flatnonzero(position % 2 == 1)
    columns = [column for name, values in features.items() for column in _columns(name, np.asarray(values))]
    if not columns or min(len(grown), len(shown)) < 2 * min_rows:
        return []
    if len(grown) > _ROWS:
        grown = np.sort(np.random.default_rng(seed).choice(grown, _ROWS, replace=False))
    loss = _loss(task, label, score)
    least = _LEAST * float(loss[grown].var())
    tree = DecisionTreeRegressor(max_depth=_DEPTH, min_samples_leaf=_LEAF, min_impurity_decrease=least, random_state=seed)
    tree.fit(np.column_stack([column.values[grown] for column in columns]), loss[grown])
    leaf = tree.apply(np.column_stack([column.values[shown].astype(np.float32) for column in columns]))
    overall = float(loss[shown].mean())
    regions = []
    for node, where in _leaves(tree, columns).items():
        inside = shown[leaf == node]
        if len(inside) >= min_rows and where and (mean := float(loss[inside].mean())) > _WORSE * overall:
            regions.append(Region(where=where, rows=len(inside), share=len(inside) / len(shown), loss=mean, overall=overall))
    return sorted(regions, key=lambda region: -region.loss)[:_SHOWN]


def _loss(task: Task, label: np.ndarray, score: np.ndarray) -> np.ndarray:
    if task == "regression":
        error: np.ndarray = np.abs(score - label)
        return error
    return metrics.log_loss_of_classes(label, score) if task == "multiclass" else metrics.log_loss(label, score)


def _columns(name: str, values: np.ndarray) -> list[_Column]:
    """What the tree may split on."""
    import pandas as pd

    absent = np.asarray(pd.isna(values))
    flags = [_Column(name, absent.astype(float), missing=True)] if absent.any() and not absent.all() else []
    if values.dtype.kind == "M":
        return flags  # a time would only tell the days apart
    if values.dtype.kind in "iuf":
        finite = values[~absent & np.isfinite(values.astype(float))]
        if not len(finite):
            return flags
        numbers = np.where(absent, np.median(finite), values.astype(float))
        return [_Column(name, np.clip(numbers, finite.min(), finite.max())), *flags]
    codes, texts = pd.factorize(values)
    counts = np.bincount(codes[codes >= 0], minlength=len(texts))
    frequent = np.argsort(-counts, kind="stable")[:_VALUES]
    return [*(_Column(name, (codes == code).astype(float), value=str(texts[code])) for code in frequent), *flags]


def _leaves(tree: object, columns: list[_Column]) -> dict[int, str]:
    """Leaf -> its condition in words."""
    nodes = tree.tree_  # type: ignore[attr-defined]
    found: dict[int, str] = {}
    paths: list[tuple[int, dict[int, tuple[float, float]]]] = [(0, {})]
    while paths:
        node, limits = paths.pop()
        column, at = int(nodes.feature[node]), float(nodes.threshold[node])
        if column < 0:
            found[node] = " and ".join(_words(columns[c], *limits[c]) for c in sorted(limits))
            continue
        low, high = limits.get(column, (-np.inf, np.inf))
        paths.append((int(nodes.children_left[node]), {**limits, column: (low, min(high, at))}))
        paths.append((int(nodes.children_right[node]), {**limits, column: (max(low, at), high)}))
    return found


def _words(column: _Column, low: float, high: float) -> str:
    if column.missing:
        return f"{column.name} is {'missing' if low > 0 else 'known'}"
    if column.value is not None:
        return f"{column.name} {'=' if low > 0 else '≠'} {column.value}"
    if np.isinf(low):
        return f"{column.name} ≤ {high:.4g}"
    return f"{column.name} > {low:.4g}" if np.isinf(high) else f"{low:.4g} < {column.name} ≤ {high:.4g}"
