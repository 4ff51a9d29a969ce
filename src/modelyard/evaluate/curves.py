"""What the page draws of a model on the hold-out: ROC and precision-recall curve, calibration, residuals. No I/O."""

from __future__ import annotations

import numpy as np
from pydantic import BaseModel, Field

from modelyard.policy import Task

_POINTS = 100
_BINS = 10

Points = list[tuple[float, float]]


class Bin(BaseModel):
    """Rows of neighbouring scores."""

    score: float = Field(description="Mean score.")
    label: float = Field(description="Mean label.")
    rows: int


class Curves(BaseModel):
    """Curves of one model; what a task does not have is empty."""

    roc: Points = Field(default_factory=list, description="(false, true) positive rate.")
    precision_recall: Points = Field(default_factory=list, description="(recall, precision).")
    calibration: list[Bin] = Field(default_factory=list, description="Ten bins of equally many rows, by score.")
    residuals: Points = Field(default_factory=list, description="(label minus prediction, share of the rows up to it).")


def of(task: Task, label: np.ndarray, score: np.ndarray) -> Curves:
    """Curves of (n,) labels and scores, at most 101 points each."""
    if not len(label) or task == "multiclass":
        return Curves()
    if task == "regression":
        shares = np.linspace(0, 1, _POINTS + 1)
        errors = np.quantile(label - score, shares)
        return Curves(calibration=_calibration(label, score), residuals=_pairs(errors, shares))
    if len(np.unique(label)) < 2:
        return Curves(calibration=_calibration(label, score))
    from sklearn.metrics import precision_recall_curve, roc_curve

    false, true, _ = roc_curve(label, score)
    precision, recall, _ = precision_recall_curve(label, score)
    at = np.linspace(0, 1, _POINTS + 1)
    return Curves(
        roc=_pairs(at, np.interp(at, false, true)),
        precision_recall=_pairs(at, np.interp(at, recall[::-1], precision[::-1])),
        calibration=_calibration(label, score),
    )


def _calibration(label: np.ndarray, score: np.ndarray) -> list[Bin]:
    parts = np.array_split(np.argsort(score, kind="stable"), min(_BINS, len(score)))
    return [Bin(score=_short(score[rows].mean()), label=_short(label[rows].mean()), rows=len(rows)) for rows in parts]


def _pairs(x: np.ndarray, y: np.ndarray) -> Points:
    return [(_short(a), _short(b)) for a, b in zip(x, y, strict=True)]


def _short(value: float) -> float:
    return float(f"{value:.5g}")
