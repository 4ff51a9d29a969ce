"""Permutation importance of raw columns, in one model and in two."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from modelyard.evaluate import importance
from modelyard.evaluate.importance import ROWS, by_permutation, compare


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


def _weak(frame: pd.DataFrame) -> np.ndarray:
    return 2 * frame["strong"].to_numpy() + frame["weak"].to_numpy()


def _days(n: int, days: int = 20) -> np.ndarray:
    return np.arange(n) * days // n


def test_both_models_are_ranked_and_what_changed_has_an_interval() -> None:
    """The challenger leans more on one column; the other two are as before, one of them unused by both."""
    frame = _frame()
    label = _predict(frame) + np.random.default_rng(2).normal(size=len(frame))

    found = compare("regression", "rmse", frame, label, _days(len(frame)), list(frame), _predict, _weak, repeats=3)

    assert [(each.column, each.challenger.rank, each.champion.rank if each.champion else None) for each in found] == [
        ("strong", 1, 1),
        ("weak", 2, 2),
        ("unused", 3, 3),
    ]
    strong, _, unused = found
    assert strong.certain
    assert strong.challenger.lower < np.sqrt(1 + 2 * 9) - 1 < strong.challenger.upper  # type: ignore[operator]
    assert (unused.difference, unused.lower, unused.upper, unused.certain) == (0, 0, 0, False)


def test_the_interval_of_a_loss_is_that_of_a_bootstrap_over_days() -> None:
    """By its slopes over days, or by drawing days anew from the shuffled rows: the same spread."""
    frame = _frame(3000)
    label = _predict(frame) + np.random.default_rng(2).normal(size=len(frame))
    day = _days(len(frame), 30)
    kept: list[np.ndarray] = []

    def predict(rows: pd.DataFrame) -> np.ndarray:
        kept.append(_predict(rows))
        return kept[-1]

    (found,) = compare("regression", "rmse", frame, label, day, ["strong"], predict, repeats=1)
    plain, shuffled = (np.bincount(day, (score - label) ** 2) for score in np.split(kept[0], 2))
    draws = np.random.default_rng(0).multinomial(30, np.full(30, 1 / 30), size=4000)
    losses = np.sqrt(draws @ shuffled / 3000) - np.sqrt(draws @ plain / 3000)

    assert found.challenger.upper is not None
    half = found.challenger.upper - found.challenger.value
    assert half == pytest.approx(2.045 * losses.std(), rel=0.08)  # t of 29 degrees of freedom


def test_one_model_alone_and_too_few_days_leave_out_what_cannot_be_said() -> None:
    """No champion: no difference. Six days: no interval, but a loss."""
    frame = _frame()

    (first, *_) = compare("regression", "mae", frame, _predict(frame), _days(len(frame), 6), list(frame), _predict)

    assert first.champion is None
    assert first.difference is None
    assert first.challenger.value > 0
    assert (first.challenger.lower, first.challenger.upper) == (None, None)
    assert not first.certain


def test_swapping_the_models_mirrors_what_changed() -> None:
    """The same shuffles for both, so that the difference only turns its sign."""
    frame = _frame()
    label, day = _predict(frame), _days(len(frame))

    there = {c.column: c for c in compare("regression", "mae", frame, label, day, list(frame), _predict, _weak)}
    back = {c.column: c for c in compare("regression", "mae", frame, label, day, list(frame), _weak, _predict)}

    assert all(there[name].difference == -back[name].difference for name in there)  # type: ignore[operator]
    assert all(there[name].lower == -back[name].upper for name in there)  # type: ignore[operator]


def test_a_wide_table_is_given_in_parts_with_the_same_result(monkeypatch: pytest.MonkeyPatch) -> None:
    """The copies of 5,000 rows with many columns would not fit in memory at once."""
    frame = _frame(500)
    label, sizes = _predict(frame), []

    def predict(rows: pd.DataFrame) -> np.ndarray:
        sizes.append(len(rows))
        return _predict(rows)

    whole = by_permutation("regression", "mae", frame, label, list(frame), predict)
    monkeypatch.setattr(importance, "_CELLS", 2 * frame.size)
    parts = by_permutation("regression", "mae", frame, label, list(frame), predict)

    assert parts == whole
    assert sizes == [2000, 1000, 1000]


def test_no_metric_no_comparison() -> None:
    """Labels of one class."""
    frame = _frame(50)

    assert compare("binary", "roc_auc", frame, np.ones(50), _days(50), list(frame), _predict) == []
