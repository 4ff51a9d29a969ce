"""Champion against challenger on the same rows, or one model alone: a bootstrap over days. No I/O."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
from pydantic import BaseModel, Field

from modelyard.evaluate import statistic

#: Multiplicities of the days (replicates, days) -> values and their standard errors (replicates,).
Studentized = Callable[[np.ndarray], tuple[np.ndarray, np.ndarray]]

#: With fewer days an interval says nothing that can be trusted.
MINIMUM_DAYS = 7


@dataclass(frozen=True)
class Draw:
    """How the bootstrap is drawn; the confidence is one-sided, in (0.5, 1)."""

    confidence: float = 0.95
    replicates: int = 2000
    seed: int = 0


class Comparison(BaseModel):
    """The improvement: challenger minus champion, turned so that positive is better."""

    metric: str
    difference: float
    lower: float = Field(description="One-sided lower bound at the confidence.")
    upper: float = Field(description="One-sided upper bound at the confidence.")
    se: float = Field(description="Standard error over days.")
    detectable: float = Field(description="True improvement that such a hold-out shows (lower bound above 0) in 8 of 10 cases.")
    confidence: float
    days: int
    rows: int
    replicates: int


@dataclass(frozen=True)
class Interval:
    """A metric of one model, with one-sided bounds at the confidence of the draw."""

    value: float
    lower: float
    upper: float
    se: float
    days: int
    rows: int


def compare(
    metric: str,
    more_is_better: bool,
    day: np.ndarray,
    label: np.ndarray,
    challenger: np.ndarray,
    champion: np.ndarray,
    draw: Draw,
) -> Comparison:
    r"""Interval of the improvement by a symmetric studentized bootstrap over days.

    Days are the unit because rows of one day are not independent: by rows the standard error comes out two to five times too
    small. With :math:`T` the improvement, :math:`c` the multiplicities of the days in a replicate (:math:`\sum c_d = D`) and

    .. math:: s^2(c) = \frac{D}{D-1} \sum_d c_d \left(\frac{\partial T}{\partial c_d}\right)^2

    the infinitesimal jackknife's variance, :math:`q` is the quantile at :math:`2\gamma - 1` of
    :math:`|T(c) - T(1)| / s(c)` over the replicates, and the bounds are :math:`T(1) \mp q\,s(1)`, each one-sided at
    confidence :math:`\gamma`. Symmetric and studentized, because at three weeks of days the percentile interval covers too
    little (simulated at 95 %: 83 to 93 % for 7 to 30 days, this one 93.5 to 96 %).

    Swapping the models mirrors the interval exactly.

    Parameters
    ----------
    day
        (n,) anything that is equal for rows of one calendar day.
    label, challenger, champion
        (n,) labels and the two models' predictions of the same rows.

    Raises
    ------
    ValueError
        Fewer than :data:`MINIMUM_DAYS` days, or so few with both classes that replicates often have only one.

    Examples
    --------
    >>> day, label = np.repeat(np.arange(10), 2), np.tile([0.0, 1.0], 10)
    >>> found = compare("mae", False, day, label, label, label + 1, Draw(replicates=100))
    >>> found.difference, found.lower
    (1.0, 1.0)

    References
    ----------
    P. Hall, "On symmetric bootstrap confidence intervals", J. R. Statist. Soc. B 50 (1988); B. Efron, "Jackknife-after-bootstrap
    standard errors and influence functions", same journal 54 (1992).
    """
    position, days = _positions(day)
    sign = 1.0 if more_is_better else -1.0
    first = statistic.build(metric, position, label, challenger)
    second = statistic.build(metric, position, label, champion)

    def improvement(c: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        with np.errstate(invalid="ignore", divide="ignore"):  # a replicate of one class only has no AUC; _quantile counts it
            (a, da), (b, db) = first(c), second(c)
        return sign * (a - b), _spread(c, da - db, np.abs(a) + np.abs(b))

    difference, se, reach = _bootstrap(improvement, days, draw)
    return Comparison(
        metric=metric,
        difference=difference,
        se=se,
        lower=difference - reach * se,
        upper=difference + reach * se,
        confidence=draw.confidence,
        days=days,
        rows=len(label),
        replicates=draw.replicates,
        detectable=(reach + NormalDist().inv_cdf(0.8)) * se,
    )


def interval(
    metric: str, day: np.ndarray, label: np.ndarray, score: np.ndarray, draw: Draw, *, stretch: np.ndarray | None = None
) -> Interval:
    """Interval of one model's metric, by the same bootstrap as :func:`compare`.

    Parameters
    ----------
    day, label, score
        (n,) as there.
    stretch
        (n,) stretch of time that the row lies in, equal for rows of one day. The value is then the mean of the metric over the
        stretches, not the metric of all rows: pairs of rows from distant days do not enter.

    Raises
    ------
    ValueError
        As there.
    """
    position, days = _positions(day)
    groups = np.zeros(len(position), dtype=np.int64) if stretch is None else stretch
    function = statistic.mean_over(metric, groups, position, label, score)

    def single(c: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        with np.errstate(invalid="ignore", divide="ignore"):
            value, slope = function(c)
        return value, _spread(c, slope, np.abs(value))

    value, se, reach = _bootstrap(single, days, draw)
    return Interval(value, value - reach * se, value + reach * se, se, days, len(label))


def _positions(day: np.ndarray) -> tuple[np.ndarray, int]:
    """The days as 0 .. D-1, and D."""
    _, position = np.unique(day, return_inverse=True)
    days = int(position.max()) + 1 if len(position) else 0
    if days < MINIMUM_DAYS:
        raise ValueError(f"an interval needs {MINIMUM_DAYS} days, not {days}")
    return position, days


def _spread(c: np.ndarray, slope: np.ndarray, size: np.ndarray) -> np.ndarray:
    """The infinitesimal jackknife's standard error; ``size`` is that of the values that the slope was taken of."""
    days = c.shape[1]
    with np.errstate(invalid="ignore"):  # a replicate of one class only has no AUC; _quantile counts it
        spread = np.sqrt(days / (days - 1) * (c * slope**2).sum(axis=1))
    return np.where(spread > 1e-12 * (1 + size), spread, 0.0)  # where each day is alike, what is left is rounding


def _bootstrap(function: Studentized, days: int, draw: Draw) -> tuple[float, float, float]:
    """Value and standard error on the days as they are, and how many standard errors the bounds are away."""
    at, error = function(np.ones((1, days)))
    value, se = float(at[0]), float(error[0])
    draws = np.random.default_rng(draw.seed).multinomial(days, np.full(days, 1 / days), size=draw.replicates).astype(float)
    values, spread = function(draws)
    reach = _quantile(np.abs(values - value), spread, 2 * draw.confidence - 1) if se > 0 else 0.0
    if not np.isfinite(reach):
        raise ValueError("too few days hold both classes")
    return value, se, reach


def _quantile(distance: np.ndarray, spread: np.ndarray, level: float) -> float:
    """Quantile of distance / spread; where that is undefined the replicate counts as infinitely far, the cautious side."""
    with np.errstate(invalid="ignore", divide="ignore"):
        ratio = distance / spread
    return float(np.quantile(np.where(np.isfinite(ratio), ratio, np.inf), level, method="higher"))
