"""The largest difference between groups' rates, with an interval over days. No I/O."""

from __future__ import annotations

import numpy as np


def widest(hits: np.ndarray, rows: np.ndarray, confidence: float, *, log: bool = False) -> tuple[float, float]:
    r"""Ends of the interval of the largest difference between two groups' rates.

    The rates are :math:`p_g = \sum_d h_{dg} / \sum_d n_{dg}` over days, or their logarithms. With :math:`\Delta_{gh}` the difference
    of two groups and :math:`s_{gh}` its standard error by a jackknife over days, as in :func:`modelyard.evaluate.paired.compare`,

    .. math::
        L = \max_{g,h} (|\Delta_{gh}| - t_{D-1,\,1-(1-\gamma)/m}\,s_{gh}), \quad U = \max_{g,h} (|\Delta_{gh}| + t_{D-1,\gamma}\,s_{gh})

    for :math:`m` pairs of groups; :math:`D` are the days of the group that has fewer. What is covered is the largest *true*
    difference, whichever pair of groups it is between; that the lowest and the highest group are picked on the data is allowed for.
    The lower end exceeds it only if one of all pairs' simultaneous bounds (Bonferroni's) is wrong; the upper end falls below it only
    if the bound of the one pair that truly differs most is wrong. The point value is above the truth on average, the more so the more
    groups there are; it is not corrected for that.

    Simulated at 95 %, 21 and 30 days, 2 to 15 groups, days with a common and an own effect, 1,000 draws each: the interval misses the
    truth in 0 to 6 %, in fewer the more groups, since simultaneous bounds are cautious.

    Parameters
    ----------
    hits, rows
        (D, G) sums by day and group.
    confidence
        :math:`\gamma`, of one end.

    Returns
    -------
    tuple
        Lower and upper end, at least 0; infinite above where a rate is undefined, on all days or without one of them.

    References
    ----------
    R. G. Miller, "Simultaneous statistical inference" (1981); T. J. DiCiccio et al., "Evaluating fairness using permutation tests",
    KDD 2020, for why a gap needs an interval.
    """
    from scipy.special import stdtrit  # type: ignore[import-untyped]

    first, second = np.triu_indices(hits.shape[1], 1)
    with np.errstate(invalid="ignore", divide="ignore"):
        # First all days, then each day left out.
        rate = np.vstack([hits.sum(axis=0), hits.sum(axis=0) - hits]) / np.vstack([rows.sum(axis=0), rows.sum(axis=0) - rows])
        rate = np.log(rate) if log else rate
        difference = rate[:, first] - rate[:, second]
        at, without, days = np.abs(difference[0]), difference[1:], len(hits)
        se = np.sqrt((days - 1) / days * ((without - without.mean(axis=0)) ** 2).sum(axis=0))
    se = np.where(np.isfinite(se), np.where(se > 1e-12 * (1 + at), se, 0.0), np.inf)
    own = (rows > 0).sum(axis=0)
    free = np.maximum(np.minimum(own[first], own[second]) - 1, 1)
    whole, each = (stdtrit(free, level) for level in (1 - (1 - confidence) / len(first), confidence))
    known = np.isfinite(at) & np.isfinite(se)
    low = np.where(known, at - whole * np.where(known, se, 0.0), 0.0).max()
    high = np.where(known, at + each * np.where(known, se, 0.0), np.inf).max()
    return max(0.0, float(low)), float(high)
