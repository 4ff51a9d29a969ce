"""How far each block of time lies from the others, for the reference's blocks and the current one alike. No I/O."""

from __future__ import annotations

import numpy as np


def scores(counts: np.ndarray) -> np.ndarray:
    r"""A score for each block: how far its shares lie from the others', in the directions in which the others do not vary.

    With :math:`x_j = \sqrt{p_j}` the square roots of block j's shares (their sampling noise is :math:`1 / 4 n_j` in every
    direction), :math:`r_j = x_j - \bar x`, :math:`S = \frac{1}{m-1} \sum_j r_j r_j^\top` and :math:`\nu` the mean noise:

    .. math:: d_j^2 = r_j^\top (S + \nu I)^{-1} r_j, \qquad D_j = \frac{d_j^2}{1 - d_j^2 / m}, \qquad
              f = \operatorname{tr} S (S + \nu I)^{-1}

    :math:`D_j` is what :math:`d_j^2` would be (up to a factor) with block j left out of :math:`S`. Wilson and Hilferty's cube root
    turns it into a z value, from which the median over the blocks is taken, so that columns can be compared.

    What the blocks do from week to week (weather, holidays) is in :math:`S` and costs little; a change of another kind stands out,
    even where it is smaller. Every block is treated alike: where blocks are exchangeable, each is as likely to have the largest score.

    Parameters
    ----------
    counts
        (m, k) rows by block and cell, m >= 3.

    Returns
    -------
    ndarray
        (m,).

    References
    ----------
    O. Ledoit, M. Wolf, "A well-conditioned estimator for large-dimensional covariance matrices", J. Multivariate Analysis 88 (2004),
    on adding a multiple of the identity; E. B. Wilson, M. M. Hilferty, "The distribution of chi-square", PNAS 17 (1931).
    """
    rows = np.maximum(counts.sum(axis=1), 1)
    roots = np.sqrt(counts / rows[:, None])
    if roots.shape[1] == 2:
        roots = roots[:, :1]
    residual = roots - roots.mean(axis=0)
    m = len(residual)
    noise = float(np.mean(1 / (4 * rows)))
    if residual.shape[1] == 1:  # one direction needs no search for it
        spread = (residual**2).sum(axis=0) / (m - 1)
        distance = residual[:, 0] ** 2 / (spread + noise)
    else:
        values, vectors = np.linalg.eigh(residual @ residual.T)  # m x m: fewer blocks than cells
        spread = np.maximum(values, 0) / (m - 1)
        distance = (vectors**2 @ (np.maximum(values, 0) / (spread + noise))).ravel()
    left_out = distance / np.maximum(1 - distance / m, 1e-9)
    free = max(1.0, float((spread / (spread + noise)).sum()))
    z = ((left_out / free) ** (1 / 3) - (1 - 2 / (9 * free))) / np.sqrt(2 / (9 * free))
    result: np.ndarray = z - _median(z)
    return result


def pooled(counts: np.ndarray, rows: int = 20) -> np.ndarray:
    """Neighbouring cells as one, evenly over all blocks, until a block has about ``rows`` in each: finer ones would only hold noise."""
    share = counts.sum(axis=0) / max(1, counts.sum())
    most = max(4, int(_median(counts.sum(axis=1)) // rows))
    if len(share) <= most:
        return counts
    group = np.minimum(((np.cumsum(share) - share / 2) * most).astype(np.int64), most - 1)
    starts = np.flatnonzero(np.diff(group, prepend=-1))
    result: np.ndarray = np.add.reduceat(counts, starts, axis=1)
    return result


def unknown(counts: np.ndarray, novel: int) -> np.ndarray:
    """Rows of each block in the first ``novel`` cells, or where no other block has any, beside its other rows: (m, k) -> (m, 2)."""
    own = counts[:, novel:]
    mine = counts[:, :novel].sum(axis=1) + (own * ((own > 0).sum(axis=0) <= 1)).sum(axis=1)
    return np.stack([mine, counts.sum(axis=1) - mine], axis=1)


def _median(values: np.ndarray) -> float:
    """The middle one, or between the two: numpy's imports masked arrays, which takes longer than all scores of a table."""
    ranked = np.sort(values)
    half = len(ranked) // 2
    return float(ranked[half] if len(ranked) % 2 else (ranked[half - 1] + ranked[half]) / 2)
