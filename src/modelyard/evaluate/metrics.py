r"""Point values of the metrics that a policy may name. No I/O.

Beside those of scikit-learn:

- ``calibration_error``: expected calibration error :math:`\sum_b \frac{n_b}{n} |\bar y_b - \bar p_b|` over ten bins :math:`b` of equal
  mass, with the mean label :math:`\bar y_b` and the mean score :math:`\bar p_b` (M. P. Naeini et al., "Obtaining well calibrated
  probabilities using Bayesian binning", AAAI 2015; equal mass: R. Roelofs et al., "Mitigating bias in calibration error
  estimation", AISTATS 2022). It is never below 0, hence a little above the truth: with :math:`m` rows a bin, by up to about
  :math:`0.4/\sqrt m` for a model without any error.
- ``f_beta``: :math:`(1+\beta^2) TP / ((1+\beta^2) TP + \beta^2 FN + FP)`, a row being called 1 from the policy's threshold on.
- ``cost``: :math:`(c_{FP} FP + c_{FN} FN) / n`, the mean cost of a row.
- ``pinball``: mean of :math:`\max(q (y - \hat y), (q - 1)(y - \hat y))` (R. Koenker, G. Bassett, "Regression quantiles", Econometrica
  46, 1978). No key of the policy sets :math:`q`; at 0.5 it is half of ``mae``.
- ``bias``: :math:`|\overline{\hat y - y}|`; its sign is that of :func:`mean_error`.
- ``macro_f1``: the mean over classes of their F1; a class that is neither there nor predicted counts 0.

Of classes, labels are 0 .. K-1, and scores a table (n, K) of probabilities; what is predicted is the likeliest.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from modelyard.errors import PolicyError
from modelyard.policy import METRICS, Costs, Evaluate, Task

_BINS = 10


@dataclass(frozen=True)
class Settings:
    """What some metrics need beside labels and scores; the policy's defaults."""

    threshold: float = 0.5
    beta: float = 1.0
    costs: Costs = field(default_factory=Costs)
    quantile: float = 0.5


DEFAULT = Settings()


def settings(policy: Evaluate) -> Settings:
    """What the policy says."""
    return Settings(policy.threshold, policy.beta, policy.costs)


def compute(
    task: Task, label: np.ndarray, score: np.ndarray, given: Settings = DEFAULT, weight: np.ndarray | None = None
) -> dict[str, float]:
    """Every metric of the task that is defined for these rows.

    Parameters
    ----------
    label
        (n,) 0 or 1 for a binary task, the number of the class for a multiclass one, else the value.
    score
        (n,) probability of 1, or the predicted value; (n, K) probabilities of classes.
    given
        Threshold, beta, costs, quantile.
    weight
        (n,) how much each row counts; default 1.

    Returns
    -------
    dict
        Metric -> value. Left out is what :func:`undefined` names.
    """
    return {name: value(name, label, score, given, weight) for name in METRICS[task] if not undefined(name, label)}


def value(name: str, label: np.ndarray, score: np.ndarray, given: Settings = DEFAULT, weight: np.ndarray | None = None) -> float:
    """One metric, where :func:`undefined` has nothing to say against it."""
    functions = _functions(given) if score.ndim == 1 else _functions_of_classes(score.shape[1])
    return float(functions[name](label, score, weight))


def undefined(name: str, label: np.ndarray) -> str:
    """Why the metric has no value on these labels; empty where it has one."""
    if not len(label):
        return "no row has a label"
    if missing := int(np.isnan(label).sum()):
        return f"{missing:,} of {len(label):,} labels are missing"
    if name in ("roc_auc", "average_precision") and np.ptp(label) == 0:
        return f"all labels are {label[0]:g}"
    if name == "f_beta" and not label.any():
        return "no label is 1"
    if name == "r2" and np.ptp(label) == 0:
        return "the label does not vary"
    return ""


def known(task: Task, name: str) -> None:
    """Refuse a metric that the task does not have.

    Raises
    ------
    PolicyError
        It names those that there are.
    """
    if name not in METRICS[task]:
        raise PolicyError(f"{name!r} is no metric of a {task} task; known are {', '.join(METRICS[task])}.")


def mean_error(label: np.ndarray, score: np.ndarray) -> float:
    """Mean of prediction minus label: above 0 where the model says too much."""
    return float(np.mean(score - label))


def bins(score: np.ndarray) -> np.ndarray:
    """(n,) bin of each row, 0 .. 9: ten bins of equal mass; equal scores share one, so that there may be fewer."""
    edges = np.unique(np.quantile(score, np.arange(1, _BINS) / _BINS))
    found: np.ndarray = np.searchsorted(edges, score, side="left")
    return found


def log_loss(label: np.ndarray, score: np.ndarray) -> np.ndarray:
    """(n,) log loss of each row."""
    tiny = np.finfo(np.float64).eps  # scikit-learn's own clipping
    p = np.clip(score, tiny, 1 - tiny)
    loss: np.ndarray = -(label * np.log(p) + (1 - label) * np.log(1 - p))
    return loss


def log_loss_of_classes(label: np.ndarray, score: np.ndarray) -> np.ndarray:
    """(n,) log loss of each row, of probabilities (n, K)."""
    tiny = np.finfo(np.float64).eps
    loss: np.ndarray = -np.log(np.clip(score[np.arange(len(label)), label.astype(np.int64)], tiny, 1 - tiny))
    return loss


def cost(label: np.ndarray, score: np.ndarray, given: Settings) -> np.ndarray:
    """(n,) cost of each row."""
    called = score >= given.threshold
    each: np.ndarray = np.where(called, given.costs.false_positive * (label == 0), given.costs.false_negative * (label == 1))
    return each


def pinball(label: np.ndarray, score: np.ndarray, quantile: float) -> np.ndarray:
    """(n,) pinball loss of each row."""
    error = label - score
    loss: np.ndarray = np.maximum(quantile * error, (quantile - 1) * error)
    return loss


def _calibration_error(label: np.ndarray, score: np.ndarray, weight: np.ndarray | None) -> float:
    weight = np.ones(len(label)) if weight is None else weight
    return float(np.abs(np.bincount(bins(score), weights=weight * (label - score))).sum() / weight.sum())


def _average(values: np.ndarray, weight: np.ndarray | None) -> float:
    return float(np.average(values, weights=weight))


#: Labels, scores, weights -> value.
_Function = Callable[[np.ndarray, np.ndarray, np.ndarray | None], float]


def _functions(given: Settings) -> dict[str, _Function]:
    from sklearn import metrics

    return {
        "roc_auc": lambda label, score, weight: metrics.roc_auc_score(label, score, sample_weight=weight),
        "average_precision": lambda label, score, weight: metrics.average_precision_score(label, score, sample_weight=weight),
        "brier": lambda label, score, weight: _average((score - label) ** 2, weight),
        "log_loss": lambda label, score, weight: metrics.log_loss(label, score, labels=[0, 1], sample_weight=weight),
        "calibration_error": _calibration_error,
        "f_beta": lambda label, score, weight: metrics.fbeta_score(
            label, score >= given.threshold, beta=given.beta, zero_division=0, sample_weight=weight
        ),
        "cost": lambda label, score, weight: _average(cost(label, score, given), weight),
        "mae": lambda label, score, weight: metrics.mean_absolute_error(label, score, sample_weight=weight),
        "rmse": lambda label, score, weight: metrics.root_mean_squared_error(label, score, sample_weight=weight),
        "r2": lambda label, score, weight: metrics.r2_score(label, score, sample_weight=weight),
        "pinball": lambda label, score, weight: metrics.mean_pinball_loss(label, score, alpha=given.quantile, sample_weight=weight),
        "bias": lambda label, score, weight: abs(_average(score - label, weight)),
    }


def _functions_of_classes(classes: int) -> dict[str, _Function]:
    from sklearn import metrics

    every = list(range(classes))
    return {
        "log_loss": lambda label, score, weight: metrics.log_loss(label, score, labels=every, sample_weight=weight),
        "accuracy": lambda label, score, weight: metrics.accuracy_score(label, score.argmax(axis=1), sample_weight=weight),
        "macro_f1": lambda label, score, weight: metrics.f1_score(
            label, score.argmax(axis=1), labels=every, average="macro", zero_division=0, sample_weight=weight
        ),
    }
