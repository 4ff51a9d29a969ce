"""Permutation importance of raw columns."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from modelyard.evaluate.importance import ROWS, by_permutation


def _frame(n: int = 2000) -> pd.DataFrame:
    draw = np.random.default_rng(1)
    return pd.DataFrame({"strong": draw.normal(size=n), "weak": draw.normal(size=n), "unused": draw.choice(["a", "b"], n)})


def _predict(frame: pd.DataFrame) -> np.ndarray:
    return 3 * frame["strong"].to_numpy() + frame["weak"].to_numpy()


def test_what_a_model_lives_on_comes_out_largest() -> None:
    """For a linear model the loss in squared error is 2 a^2 of the column's variance; a column that is not used carries exactly 0."""
    frame = _frame()
    noise = np.random.default_rng(2).normal(size=len(frame))

    found = by_permutation("regression", "rmse", frame, _predict(frame) + noise, list(frame), _predict)

    assert found["strong"] == pytest.approx(np.sqrt(1 + 2 * 9) - 1, rel=0.05)
    assert found["weak"] == pytest.approx(np.sqrt(1 + 2) - 1, rel=0.15)
    assert found["unused"] == 0


@pytest.mark.parametrize(("metric", "sign"), [("roc_auc", 1), ("log_loss", 1)])
def test_a_loss_is_positive_whichever_way_the_metric_counts(metric: str, sign: int) -> None:
    """ROC AUC falls and log loss rises: both are losses."""
    frame = _frame()

    def probability(rows: pd.DataFrame) -> np.ndarray:
        return 1 / (1 + np.exp(-_predict(rows)))

    label = (np.random.default_rng(3).uniform(size=len(frame)) < probability(frame)).astype(float)

    found = by_permutation("binary", metric, frame, label, ["strong", "weak"], probability)

    assert found["strong"] > found["weak"] > 0


def test_the_same_rows_give_the_same_figures_and_the_model_is_asked_once() -> None:
    """However many rows there are, no more than ROWS of them are shuffled."""
    frame, sizes = _frame(3 * ROWS), []

    def predict(rows: pd.DataFrame) -> np.ndarray:
        sizes.append(len(rows))
        return _predict(rows)

    first, second = (by_permutation("regression", "mae", frame, _predict(frame), list(frame), predict) for _ in range(2))

    assert first == second
    assert sizes == [4 * ROWS, 4 * ROWS]


def test_where_the_metric_says_nothing_nothing_is_said() -> None:
    """Labels of one class, and no rows at all."""
    frame = _frame(50)

    assert by_permutation("binary", "roc_auc", frame, np.ones(50), list(frame), _predict) == {}
    assert by_permutation("binary", "roc_auc", frame.iloc[:0], np.ones(0), list(frame), _predict) == {}
