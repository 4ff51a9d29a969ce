"""The largest difference between groups' rates, with an interval over days. No I/O."""

from __future__ import annotations

import numpy as np

from modelyard.evaluate import paired
from modelyard.evaluate.paired import Draw

_CHUNK = 200  # replicates at once: (replicates, days, groups) must fit in memory


def widest(hits: np.ndarray, rows: np.ndarray, draw: Draw, *, log: bool = False) -> tuple[float, float]:
    r"""Ends of the interval of the largest difference between two groups' rates.

    The rates are :math:`p_g = \sum_d c_d h_{dg} / \sum_d c_d n_{dg}`, over days with multiplicities :math:`c`, or their logarithms.
    With :math:`\Delta_{gh}` the difference of two groups, :math:`s_{gh}` its infinitesimal jackknife's standard error over days and
    the distances :math:`t_{gh} = |\Delta_{gh}(c) - \Delta_{gh}(1)| / s_{gh}(c)` of a bootstrap over days,

    .. math::
        L = \max_{g,h} (|\Delta_{gh}| - q\,s_{gh}), \quad U = \max_{g,h} (|\Delta_{gh}| + q_{gh}\,s_{gh})

    where :math:`q` is the quantile at :math:`2\gamma - 1` of the largest distance over all pairs and :math:`q_{gh}` that of one
    pair. What is covered is the largest *true* difference, whichever pair of groups it is between; that the lowest and the highest
    group are picked on the data is allowed for. The lower end exceeds it only if one of all pairs' simultaneous bounds is wrong;
    the upper end falls below it only if the bound of the one pair that truly differs most is wrong. The
    point value is above the truth on average, the more so the more groups there are; it is not corrected for that.

    Simulated at 95 %, 21 and 30 days, 2 to 15 groups, days with a common and an own effect, 400 draws each: the interval misses the
    truth in 0 to 7 %, in fewer the more groups, since simultaneous bounds are cautious; two groups 4 to 7 %.

    Parameters
    ----------
    hits, rows
        (D, G) sums by day and group.

    Returns
    -------
    tuple
        Lower and upper end, at least 0; infinite above where replicates often leave a rate undefined.

    References
    ----------
    J. P. Romano, M. Wolf, "Exact and approximate stepdown methods for multiple hypothesis testing", JASA 100 (2005), for the
    largest of studentized statistics; T. J. DiCiccio et al., "Evaluating fairness using permutation tests", KDD 2020, for why a
    gap needs an interval.
    """
    pairs = np.triu_indices(hits.shape[1], 1)
    at, se = (one[0] for one in _pairwise(np.ones((1, len(hits))), hits, rows, pairs, log=log))
    c = paired.multiplicities(len(hits), draw)
    parts = []
    for start in range(0, len(c), _CHUNK):
        difference, spread = _pairwise(c[start : start + _CHUNK], hits, rows, pairs, log=log)
        with np.errstate(invalid="ignore", divide="ignore"):
            distance = np.abs(difference - at) / spread
        parts.append(np.where(se > 0, np.where(np.isfinite(distance), distance, np.inf), 0.0))
    distances = np.concatenate(parts)
    level = 2 * draw.confidence - 1
    each = np.quantile(distances, level, axis=0, method="higher")
    whole = float(np.quantile(distances.max(axis=1), level, method="higher"))
    with np.errstate(invalid="ignore"):  # infinite x 0, which is not used
        low, high = (np.abs(at) - np.where(se > 0, whole * se, 0)).max(), (np.abs(at) + np.where(se > 0, each * se, 0)).max()
    return max(0.0, float(low)), float(high)


def _pairwise(
    c: np.ndarray, hits: np.ndarray, rows: np.ndarray, pairs: tuple[np.ndarray, np.ndarray], *, log: bool
) -> tuple[np.ndarray, np.ndarray]:
    """(replicates, pairs): differences of rates, and their standard errors."""
    first, second = pairs
    days = len(hits)
    with np.errstate(invalid="ignore", divide="ignore"):  # a replicate without a row, or a hit, of a group: infinitely far
        total = c @ rows
        rate = (c @ hits) / total
        slope = (hits - rate[:, None, :] * rows) / total[:, None, :]
        if log:
            slope, rate = slope / rate[:, None, :], np.log(rate)
        weighted = np.sqrt(c * days / (days - 1))[:, :, None] * slope
        product = weighted.transpose(0, 2, 1) @ weighted
        own = np.einsum("rgg->rg", product)
        spread = np.sqrt(np.maximum(own[:, first] + own[:, second] - 2 * product[:, first, second], 0))
        difference = rate[:, first] - rate[:, second]
    return difference, np.where(spread > 1e-7 * np.sqrt(own[:, first] + own[:, second]), spread, 0.0)
