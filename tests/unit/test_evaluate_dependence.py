"""Partial dependence: against scikit-learn's, and what is left out."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from sklearn.inspection import partial_dependence
from sklearn.linear_model import LinearRegression

from modelyard.evaluate.dependence import COLUMNS, POINTS, ROWS, VALUES, partial


def _frame(n: int = 400) -> pd.DataFrame:
    draw = np.random.default_rng(1)
    return pd.DataFrame(
        {
            "x": draw.normal(size=n),
            "count": draw.integers(0, 4, n),
            "origin": draw.choice(["EWR", "JFK", "LGA"], n, p=[0.5, 0.3, 0.2]),
            "time": pd.Timestamp("2013-01-01") + pd.to_timedelta(np.arange(n), "h"),
            "fixed": 1.0,
        }
    )


def _predict(rows: pd.DataFrame) -> np.ndarray:
    return (rows["x"] * rows["count"] + 10 * rows["origin"].eq("JFK")).to_numpy(dtype=float)


def test_the_curve_is_that_of_scikit_learn() -> None:
    """The same grid, the same rows, any model of numbers."""
    frame = _frame()[["x", "count"]].assign(count=lambda rows: rows["count"].astype(float), product=lambda rows: rows["x"] * rows["count"])
    model = LinearRegression().fit(frame, frame["x"] ** 2 + frame["product"])

    (found,) = partial(frame, ["x"], model.predict)
    expected = partial_dependence(model, frame, ["x"], custom_values={"x": np.array(found.values)}, kind="average")

    assert found.challenger == pytest.approx(expected["average"][0])


def test_grids_hold_values_that_occur_in_their_own_kind() -> None:
    """Quantiles of numbers, whole numbers whole; the most frequent texts first."""
    frame = _frame()

    x, count, origin = partial(frame, ["x", "count", "origin"], _predict, _predict)

    assert len(x.values) == POINTS
    assert set(x.values) <= set(frame["x"])
    assert count.values == [0, 1, 2, 3]
    assert origin.values == ["EWR", "JFK", "LGA"]
    assert origin.challenger == pytest.approx((frame["x"] * frame["count"]).mean() + np.array([0, 10, 0]))
    assert origin.champion == origin.challenger


def test_each_model_is_asked_once_and_the_cost_is_bounded() -> None:
    """A champion of other code answers from a process of its own: one call, however many columns, values and rows."""
    draw = np.random.default_rng(0)
    wide = pd.DataFrame({f"c{i}": draw.normal(size=3000) for i in range(9)})
    many = pd.DataFrame({"shop": [f"s{i % 50}" for i in range(3000)]})
    sizes: list[int] = []

    def predict(rows: pd.DataFrame) -> np.ndarray:
        sizes.append(len(rows))
        return np.zeros(len(rows))

    assert len(partial(wide, list(wide), predict)) == COLUMNS
    (shops,) = partial(many, ["shop"], predict)

    assert len(shops.values) == VALUES
    assert sizes == [COLUMNS * POINTS * ROWS, VALUES * ROWS]


def test_columns_without_a_curve_are_left_out() -> None:
    """Times, constants, empty ones, and ones that are not there."""
    frame = _frame().assign(empty=np.nan)

    assert partial(frame, ["time", "fixed", "empty", "absent"], _predict) == []
    assert partial(frame.iloc[:0], ["x"], _predict) == []
    assert [each.column for each in partial(frame, ["time", "x"], _predict)] == ["x"]
