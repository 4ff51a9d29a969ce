"""`paired.compare` and `paired.interval` for ROC AUC on drawn days, thousands of times: from the wins between days, counted once.

The result is that of the rows to rounding; :func:`check` shows it on real draws before anything is measured. Beside it the rivals:
percentile bootstrap of the same replicates, t over the days' influences, and DeLong's test, whose unit is the row.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from statistics import NormalDist

import numpy as np
from scipy.stats import rankdata, t

from modelyard.evaluate import paired

DRAW = paired.Draw(confidence=0.975, replicates=2000)
Z = NormalDist().inv_cdf(DRAW.confidence)
Ends = tuple[float, float]


@dataclass(frozen=True)
class Answer:
    """A value with its 95 % intervals."""

    value: float
    ours: Ends
    t: Ends
    percentile: Ends


@cache
def draws(days: int) -> np.ndarray:
    """The multiplicities that `paired` draws; the first line is the days as they are."""
    return np.vstack([np.ones(days), paired.multiplicities(days, DRAW)])


def answer(matrix: np.ndarray, late: np.ndarray, punctual: np.ndarray, size: float) -> Answer:
    """What `paired` says where the wins of the drawn days, or their difference between two models, are ``matrix``.

    Parameters
    ----------
    size
        Of the values compared, for what counts as no spread at all.
    """
    c, days = draws(len(late)), len(late)
    right = c @ matrix
    p, n = c @ late, c @ punctual
    value = (right * c).sum(axis=1) / (p * n)
    slope = (c @ matrix.T + right) / (p * n)[:, None]
    slope -= value[:, None] * (late / p[:, None] + punctual / n[:, None])
    spread = np.sqrt(days / (days - 1) * np.einsum("rd,rd,rd->r", c, slope, slope))
    spread = np.where(spread > 1e-12 * (1 + size), spread, 0.0)
    at, se = float(value[0]), float(spread[0])
    with np.errstate(invalid="ignore", divide="ignore"):
        ratio = np.abs(value[1:] - at) / spread[1:]
    ratio = np.where(np.isfinite(ratio), ratio, np.inf)
    reach = float(np.quantile(ratio, 2 * DRAW.confidence - 1, method="higher")) if se > 0 else 0.0
    middle = float(t.ppf(DRAW.confidence, days - 1)) * se
    low, high = np.quantile(value[1:], [1 - DRAW.confidence, DRAW.confidence])
    return Answer(at, (at - reach * se, at + reach * se), (at - middle, at + middle), (float(low), float(high)))


def delong(label: np.ndarray, first: np.ndarray, second: np.ndarray) -> Ends:
    """95 % interval of the difference in ROC AUC by DeLong, rows taken as independent.

    References
    ----------
    E. R. DeLong et al., Biometrics 44 (1988), with the ranks of X. Sun and W. Xu, IEEE Signal Process. Lett. 21 (2014).
    """
    one = label == 1
    p, n = int(one.sum()), int((~one).sum())
    parts = [_placements(one, score) for score in (first, second)]
    rows, columns = parts[0][0] - parts[1][0], parts[0][1] - parts[1][1]
    middle, half = float(rows.mean()), Z * float(np.sqrt(rows.var(ddof=1) / p + columns.var(ddof=1) / n))
    return middle - half, middle + half


def delong_alone(label: np.ndarray, score: np.ndarray) -> Ends:
    """The same of one model's ROC AUC."""
    one = label == 1
    rows, columns = _placements(one, score)
    middle, half = float(rows.mean()), Z * float(np.sqrt(rows.var(ddof=1) / len(rows) + columns.var(ddof=1) / len(columns)))
    return middle - half, middle + half


def _placements(one: np.ndarray, score: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    ranks = rankdata(score)
    p, n = int(one.sum()), int((~one).sum())
    return (ranks[one] - rankdata(score[one])) / n, 1 - (ranks[~one] - rankdata(score[~one])) / p


def check(days: np.ndarray, label: np.ndarray, first: np.ndarray, second: np.ndarray, said: Answer) -> None:
    """Stop where `paired.compare` on the rows says otherwise."""
    plain = paired.compare("roc_auc", True, days, label, first, second, DRAW)
    if not np.allclose([plain.difference, plain.lower, plain.upper], [said.value, *said.ours], rtol=0, atol=1e-9):
        raise SystemExit(f"The fast way differs from paired.compare: {said} and {plain}.")
