"""Point values of the metrics that a policy may name. No I/O."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from modelyard.policy import METRICS, Task


def compute(task: Task, label: np.ndarray, score: np.ndarray) -> dict[str, float]:
    """Every metric of the task that is defined for these rows.

    Parameters
    ----------
    label
        (n,) 0 or 1 for a binary task, else the value.
    score
        (n,) probability of 1, or the predicted value.

    Returns
    -------
    dict
        Metric -> value. Left out: ``roc_auc`` and ``average_precision`` where only one class occurs, ``r2`` where the label
        does not vary, and everything where there are no rows.
    """
    return {name: float(_functions()[name](label, score)) for name in METRICS[task] if not undefined(name, label)}


def undefined(name: str, label: np.ndarray) -> str:
    """Why the metric has no value on these labels; empty where it has one."""
    if not len(label):
        return "no row has a label"
    if name in ("roc_auc", "average_precision") and len(np.unique(label)) < 2:
        return f"all labels are {label[0]:g}"
    if name == "r2" and np.ptp(label) == 0:
        return "the label does not vary"
    return ""


def _functions() -> dict[str, Callable[[np.ndarray, np.ndarray], float]]:
    from sklearn import metrics

    return {
        "roc_auc": metrics.roc_auc_score,
        "average_precision": metrics.average_precision_score,
        "brier": lambda label, score: float(np.mean((score - label) ** 2)),
        "log_loss": lambda label, score: metrics.log_loss(label, score, labels=[0, 1]),
        "mae": metrics.mean_absolute_error,
        "rmse": metrics.root_mean_squared_error,
        "r2": metrics.r2_score,
    }
