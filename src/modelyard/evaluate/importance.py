"""Which columns a model lives on: what its metric loses where a column is shuffled. No I/O."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np

from modelyard.evaluate import metrics
from modelyard.policy import METRICS, Task

if TYPE_CHECKING:
    import pandas as pd

#: Rows that are shuffled; more say the same.
ROWS = 5000


def by_permutation(
    task: Task,
    metric: str,
    frame: pd.DataFrame,
    label: np.ndarray,
    columns: Sequence[str],
    predict: Callable[[pd.DataFrame], np.ndarray],
    *,
    seed: int = 0,
) -> dict[str, float]:
    r"""Permutation importance of raw columns: :math:`\pm(M(y, f(X)) - M(y, f(X_{\pi j})))`, turned so that positive is a loss.

    :math:`X_{\pi j}` is :math:`X` with column :math:`j` in random order. Columns that say the same share their importance: each is
    small where the other can stand in for it.

    Parameters
    ----------
    frame
        Rows that the model has not seen; of more than :data:`ROWS`, that many evenly spaced ones are taken.
    label
        (n,) known labels.
    columns
        Columns to shuffle, one at a time.
    predict
        Gives (m,) predictions of m rows; it is called once, with all shuffled copies in one frame.

    Returns
    -------
    dict
        Column -> loss in units of the metric; empty where the metric is not defined on these labels.

    References
    ----------
    L. Breiman, "Random forests", Machine Learning 45 (2001); A. Fisher, C. Rudin, F. Dominici, "All models are wrong, but many are
    useful", J. Mach. Learn. Res. 20 (2019).
    """
    import pandas as pd

    chosen = np.unique(np.linspace(0, len(frame) - 1, min(ROWS, len(frame))).astype(int)) if len(frame) else np.empty(0, dtype=int)
    rows, label = frame.iloc[chosen].reset_index(drop=True), label[chosen]
    if not columns or metrics.undefined(metric, label):
        return {}
    random = np.random.default_rng(seed)
    copies = [rows, *(rows.assign(**{name: rows[name].to_numpy()[random.permutation(len(rows))]}) for name in columns)]
    scores = np.split(predict(pd.concat(copies, ignore_index=True)), len(copies))
    values = [metrics.compute(task, label, score)[metric] for score in scores]
    sign = 1 if METRICS[task][metric] else -1
    return {name: sign * (values[0] - value) for name, value in zip(columns, values[1:], strict=True)}
