r"""Distances between two counts over the same cells, and the chance of a distance that large where nothing changed. No I/O.

Everywhere :math:`p_i` are the reference's shares, :math:`q_i` the current ones, :math:`n` and :math:`m` the rows counted.
"""

from __future__ import annotations

import math

import numpy as np

_EXPECTED = 5  # rows that a pooled cell must be expected to hold, on both sides


def shares(counts: np.ndarray) -> np.ndarray:
    """Counts (k,) as shares; zeros where nothing was counted."""
    total = counts.sum()
    return counts / total if total else np.zeros(len(counts))


def total_variation(first: np.ndarray, second: np.ndarray) -> float:
    r"""Share of rows that changed cells: :math:`\tfrac12 \sum_i |p_i - q_i|`."""
    return float(np.abs(shares(first) - shares(second)).sum() / 2)


def kolmogorov(first: np.ndarray, second: np.ndarray) -> float:
    r"""Largest gap between the cumulative shares over ordered cells: :math:`\max_i |\sum_{j \le i} (p_j - q_j)|`."""
    return float(np.abs(np.cumsum(shares(first) - shares(second))).max(initial=0.0))


def jensen_shannon(first: np.ndarray, second: np.ndarray) -> float:
    r"""Jensen-Shannon distance.

    .. math:: \sqrt{\tfrac12 \sum_i p_i \log_2\frac{p_i}{m_i} + \tfrac12 \sum_i q_i \log_2\frac{q_i}{m_i}}, \quad m = \tfrac12 (p + q)

    0 where the shares are equal, 1 where no cell is shared. With natural logarithms, as other tools have it, it is
    :math:`\sqrt{\ln 2} = 0.833` times as large.

    References
    ----------
    D. M. Endres, J. E. Schindelin, "A new metric for probability distributions", IEEE Trans. Inf. Theory 49 (2003).
    """
    p, q = shares(first), shares(second)
    m = (p + q) / 2
    parts = sum(float(np.sum(s[s > 0] * np.log2(s[s > 0] / m[s > 0]))) for s in (p, q))
    return math.sqrt(min(1.0, max(0.0, parts / 2)))


def population_stability(first: np.ndarray, second: np.ndarray) -> float:
    r"""Population stability index :math:`\sum_i (q_i - p_i) \ln (q_i / p_i)`, with half a row added to each cell, so that it is finite."""
    p, q = shares(first + 0.5), shares(second + 0.5)
    return float(np.sum((q - p) * np.log(q / p)))


def wasserstein(first: np.ndarray, second: np.ndarray, widths: np.ndarray) -> float:
    r"""Earth mover's distance over ordered cells, :math:`\sum_i w_i\,|F_i - G_i|`.

    Parameters
    ----------
    widths
        (k - 1,) distance from each cell to the next one; the cumulative shares :math:`F, G` are constant in between.
    """
    gap = np.cumsum(shares(first) - shares(second))[:-1]
    return float(np.sum(np.abs(gap) * widths))


def g_test(first: np.ndarray, second: np.ndarray) -> float:
    r"""Chance of so large a difference between two tables: the two-sample G test with pooled cells.

    .. math:: G = 2 \sum_{s} \sum_i n_{si} \ln \frac{n_{si}}{e_{si}}, \quad e_{si} = \frac{n_s\,n_{\cdot i}}{n_{\cdot\cdot}}

    Cells are pooled, neighbour with neighbour, until each is expected to hold 5 rows on both sides; G is divided by Williams'
    correction and compared with :math:`\chi^2`, with one degree of freedom less than cells.

    References
    ----------
    D. A. Williams, "Improved likelihood ratio tests for complete contingency tables", Biometrika 63 (1976).
    """
    table = _pooled(np.asarray([first, second], dtype=np.float64))
    if table.shape[1] < 2:
        return 1.0
    rows, columns, total = table.sum(axis=1), table.sum(axis=0), table.sum()
    expected = rows[:, None] * columns / total
    with np.errstate(divide="ignore", invalid="ignore"):
        g = 2 * float(np.nansum(np.where(table > 0, table * np.log(table / expected), 0.0)))
    free = table.shape[1] - 1
    williams = 1 + (np.sum(total / columns) - 1) * (np.sum(total / rows) - 1) / (6 * total * free)
    return chi2_tail(g / float(williams), free)


def kolmogorov_chance(gap: float, n: int, m: int) -> float:
    r"""Chance of a Kolmogorov-Smirnov gap this large: :math:`2 \sum_{k \ge 1} (-1)^{k-1} e^{-2 k^2 \lambda^2}`.

    With Stephens' :math:`\lambda = (\sqrt{N} + 0.12 + 0.11 / \sqrt{N})\,D` and :math:`N = nm / (n + m)`. Ties and cells make it
    larger than it is: the cautious side.

    References
    ----------
    M. A. Stephens, "Use of the Kolmogorov-Smirnov, Cramer-von Mises and related statistics", J. R. Statist. Soc. B 32 (1970).
    """
    if not n or not m:
        return 1.0
    root = math.sqrt(n * m / (n + m))
    at = (root + 0.12 + 0.11 / root) * gap
    if at < 0.2:
        return 1.0
    return float(min(1.0, max(0.0, 2 * sum((-1) ** (k - 1) * math.exp(-2 * k * k * at * at) for k in range(1, 101)))))


def beyond_chance(beyond: int, n: int, m: int) -> float:
    r"""Chance that so many current rows lie beyond all reference rows on one of two sides: :math:`2 \prod_{i < b} \frac{m - i}{n + m - i}`.

    All orders of the :math:`n + m` rows are equally likely where nothing changed; ties make it larger than it is.
    """
    if not beyond:
        return 1.0
    logs = sum(math.log(m - i) - math.log(n + m - i) for i in range(min(beyond, 400)))  # more cannot matter
    return float(min(1.0, 2 * math.exp(logs)))


def share_chance(first: float, n: int, second: float, m: int, extra: float = 0.0) -> float:
    r"""Chance of so large a rise of a share from ``first`` of ``n`` rows to ``second`` of ``m``, one-sided.

    .. math:: z = \frac{b/m - a/n}{\sqrt{\bar p (1 - \bar p) (1/n + 1/m) + v / n^2}}, \quad \bar p = \frac{a + b}{n + m}

    where expected counts are small the exact binomial tail of ``b`` given ``a + b`` is taken instead, which is larger.

    Parameters
    ----------
    first, second
        Rows counted, :math:`a` and :math:`b`.
    extra
        :math:`v`, variance of ``first`` beyond the sampling of rows.
    """
    if not n or not m or second / m <= first / n:
        return 1.0
    pooled = (first + second) / (n + m)
    variance = pooled * (1 - pooled) * (1 / n + 1 / m) + extra / n**2
    normal = 0.5 * math.erfc((second / m - first / n) / math.sqrt(2 * variance)) if variance > 0 else 1.0
    few = 400
    if first + second < few and not extra:
        return max(normal, _binomial_tail(round(second), round(first + second), m / (n + m)))
    return normal


def chi2_tail(value: float, free: int) -> float:
    r"""Upper tail of :math:`\chi^2` with ``free`` degrees of freedom: the regularised gamma function :math:`Q(f/2, x/2)`.

    By its series below :math:`f/2 + 1` and by Lentz' continued fraction above, as in M. Abramowitz, I. A. Stegun, "Handbook of
    Mathematical Functions" (1964), 6.5.29 and 6.5.31.
    """
    a, x = free / 2, value / 2
    if x <= 0:
        return 1.0
    front = math.exp(min(700.0, max(-745.0, a * math.log(x) - x - math.lgamma(a))))
    if x < a + 1:
        term = total = 1 / a
        k = a
        while abs(term) > abs(total) * 1e-15:
            k += 1
            term *= x / k
            total += term
        return min(1.0, max(0.0, 1 - front * total))
    tiny = 1e-300
    b = x + 1 - a
    c, d = 1 / tiny, 1 / b
    fraction = d
    for i in range(1, 10_000):
        step = -i * (i - a)
        b += 2
        d = step * d + b
        c = b + step / c
        d = 1 / (d if abs(d) > tiny else tiny)
        c = c if abs(c) > tiny else tiny
        fraction *= d * c
        if abs(d * c - 1) < 1e-15:
            break
    return min(1.0, max(0.0, front * fraction))


def _binomial_tail(successes: int, trials: int, p: float) -> float:
    logs = [
        math.lgamma(trials + 1) - math.lgamma(k + 1) - math.lgamma(trials - k + 1) + k * math.log(p) + (trials - k) * math.log1p(-p)
        for k in range(successes, trials + 1)
    ]
    return min(1.0, sum(math.exp(v) for v in logs))


def _pooled(table: np.ndarray) -> np.ndarray:
    """Neighbouring cells summed until each is expected to hold enough rows in both samples."""
    rows, total = table.sum(axis=1), table.sum()
    if not rows.all():
        return table[:, :1]
    need = _EXPECTED * total / rows.min()  # rows of both samples together
    cumulated = np.cumsum(table.sum(axis=0))
    cuts, reached = [], 0.0
    for i, value in enumerate(cumulated.tolist()):
        if value - reached >= need:
            cuts.append(i + 1)
            reached = value
    if not cuts:
        whole: np.ndarray = table.sum(axis=1, keepdims=True)
        return whole
    cuts[-1] = table.shape[1]  # what is left goes to the last one
    sums = np.concatenate([np.zeros((2, 1)), np.cumsum(table, axis=1)[:, np.array(cuts) - 1]], axis=1)
    pooled: np.ndarray = np.diff(sums, axis=1)
    return pooled
