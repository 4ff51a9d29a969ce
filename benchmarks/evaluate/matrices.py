"""`paired.compare` and `paired.interval` for ROC AUC on drawn days, thousands of times: from the wins between days, counted once.

The result is that of the rows to rounding; :func:`check` shows it on real draws before anything is measured. Beside it the rivals:
t over the days' influences, a symmetric studentized bootstrap, the percentiles of the same replicates, and DeLong's test, whose unit is
the row.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from statistics import NormalDist

import numpy as np
from scipy.stats import rankdata, t

from modelyard.evaluate import paired

CONFIDENCE, REPLICATES = paired.TWO_SIDED, 2000
Z = NormalDist().inv_cdf(CONFIDENCE)
Ends = tuple[float, float]


@dataclass(frozen=True)
class Answer:
    """A value with its 95 % intervals."""

    value: float
    ours: Ends
    t: Ends
    studentized: Ends
    percentile: Ends


@cache
def draws(days: int) -> np.ndarray:
    """How often each day is drawn; the first line is the days as they are."""
    drawn = np.random.default_rng(0).multinomial(days, np.full(days, 1 / days), size=REPLICATES)
    return np.vstack([np.ones(days), drawn])


def wins(day: np.ndarray, label: np.ndarray, score: np.ndarray) -> np.ndarray:
    """(D, D): how many pairs of a positive of day i and a negative of day j are ordered rightly; a tie counts one half."""
    order = np.argsort(score, kind="stable")  # a search for sorted values is many times as fast
    day, label, score = day[order], label[order], score[order]
    days = int(day.max()) + 1
    positive = label == 1
    at, of = score[positive], day[positive]
    matrix = np.empty((days, days))
    for j in range(days):
        negatives = score[~positive & (day == j)]
        below = np.searchsorted(negatives, at, side="left")
        upto = np.searchsorted(negatives, at, side="right")
        matrix[:, j] = np.bincount(of, weights=(below + upto) / 2, minlength=days)
    return matrix


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
    reach = float(np.quantile(ratio, 2 * CONFIDENCE - 1, method="higher")) * se if se > 0 else 0.0
    quantile = float(t.ppf(CONFIDENCE, days - 1))
    left = (matrix.sum() - matrix.sum(axis=0) - matrix.sum(axis=1) + np.diag(matrix)) / ((late.sum() - late) * (punctual.sum() - punctual))
    ours = quantile * float(np.sqrt((days - 1) / days * ((left - left.mean()) ** 2).sum()))
    low, high = np.quantile(value[1:], [1 - CONFIDENCE, CONFIDENCE])
    return Answer(at, *((at - half, at + half) for half in (ours, quantile * se, reach)), percentile=(float(low), float(high)))


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
    plain = paired.compare("roc_auc", True, days, label, first, second, CONFIDENCE)
    if not np.allclose([plain.difference, plain.lower, plain.upper], [said.value, *said.ours], rtol=0, atol=1e-9):
        raise SystemExit(f"The fast way differs from paired.compare: {said} and {plain}.")
