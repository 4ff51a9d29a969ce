"""Does the model break? Each check against a model made to break it, and against one that does not."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pandas as pd
import pandera.pandas as pandera
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.compose import make_column_transformer
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OrdinalEncoder
from sklearn.tree import DecisionTreeClassifier

from modelyard.errors import ProjectError
from modelyard.evaluate import columns, robustness
from modelyard.evaluate.robustness import ROWS, SINGLE, Guard, Robustness, judge
from modelyard.policy import Expectation

FEATURES = ["time", "distance", "wind", "origin"]


def _frame(n: int = 600, seed: int = 1) -> pd.DataFrame:
    draw = np.random.default_rng(seed)
    wind = draw.gamma(2, 5, n)
    wind[:3] = np.nan
    return pd.DataFrame(
        {
            "time": pd.Timestamp("2013-01-01") + pd.to_timedelta(np.arange(n), "h"),
            "distance": draw.integers(100, 3000, n),
            "wind": wind,
            "origin": draw.choice(["EWR", "JFK", "LGA"], n),
        }
    )


def _sound(rows: pd.DataFrame) -> np.ndarray:
    z = rows["distance"].astype(float).fillna(0) / 3000 + rows["wind"].fillna(10) / 20 - rows["origin"].astype(object).eq("JFK")
    return (1 / (1 + np.exp(-z))).to_numpy(dtype=float)


def _judge(predict: Callable[[pd.DataFrame], np.ndarray], frame: pd.DataFrame | None = None, **options: object) -> Robustness:
    return judge("binary", predict, _frame() if frame is None else frame, FEATURES, **options)  # type: ignore[arg-type]


def _status(found: Robustness) -> dict[str, str]:
    return {check.name: check.status for check in found.checks}


def test_a_trained_pipeline_passes() -> None:
    """A tree on numbers with gaps and an encoder that knows of unknown values: what the template's projects train."""
    frame = _frame(1500)
    label = (_sound(frame) > np.random.default_rng(0).uniform(size=len(frame))).astype(int)
    encoder = OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=-1)
    model = make_pipeline(
        make_column_transformer((encoder, ["origin"]), remainder="passthrough"), DecisionTreeClassifier(min_samples_leaf=50)
    )
    inputs = ["distance", "wind", "origin"]
    model.fit(frame[inputs], label)

    found = judge(
        "binary", lambda rows: model.predict_proba(rows[inputs])[:, 1], frame, inputs, scores=model.predict_proba(frame[inputs])[:, 1]
    )

    assert _status(found) == {
        "valid predictions": "passed",
        "not constant": "passed",
        "row order": "passed",
        "batch size": "passed",
        "dtypes": "passed",
        "noise": "noted",
        "missing values": "passed",
        "unseen categories": "passed",
    }
    assert all(check.family == "robustness" and check.why for check in found.checks)


@pytest.mark.parametrize("bad", [np.nan, np.inf, 1.2, -0.1])
def test_an_invalid_prediction_fails_and_nothing_else_is_asked(bad: float) -> None:
    """One row in 600 is enough."""
    found = _judge(lambda rows: np.where(np.arange(len(rows)) == 1, bad, 0.5))

    assert _status(found) == {"valid predictions": "failed"}


def test_a_model_that_raises_fails_in_its_own_words() -> None:
    """The toolkit's sentence around it says nothing that helps here."""

    def predict(rows: pd.DataFrame) -> np.ndarray:
        try:
            raise KeyError("speed")
        except KeyError as error:
            raise ProjectError("flights.model cannot predict") from error

    (check,) = _judge(predict).checks

    assert check.status == "failed"
    assert check.message == "The model fails on held-out rows: KeyError: 'speed'"


def test_no_row_is_unknown_and_a_single_one_does_not_pass_as_varied() -> None:
    """What is missing never passes."""
    assert _status(_judge(_sound, _frame(0))) == {"valid predictions": "unknown"}
    assert _status(_judge(_sound, _frame(600).iloc[[10]]))["not constant"] == "unknown"


def test_a_constant_model_fails() -> None:
    """It answers validly, and says nothing."""
    assert _status(_judge(lambda rows: np.full(len(rows), 0.3)))["not constant"] == "failed"


def test_a_model_that_looks_at_neighbours_fails() -> None:
    """One that ranks within the batch: in any order the same, alone always the same."""

    def cumulative(rows: pd.DataFrame) -> np.ndarray:
        return np.cumsum(_sound(rows)) / (len(rows) + 1)

    def ranked(rows: pd.DataFrame) -> np.ndarray:
        return rows["distance"].rank(pct=True, method="average").fillna(0.5).to_numpy()

    assert _status(_judge(cumulative))["row order"] == "failed"
    by_rank = _status(_judge(ranked))
    assert (by_rank["row order"], by_rank["batch size"]) == ("passed", "failed")


def test_scores_of_the_whole_hold_out_must_be_those_of_its_parts() -> None:
    """What the evaluation judged is the model that answers here."""
    frame = _frame()

    assert _status(_judge(_sound, frame, scores=_sound(frame)))["batch size"] == "passed"
    assert _status(_judge(_sound, frame, scores=_sound(frame) * 0.99))["batch size"] == "failed"


def test_a_model_that_depends_on_types_fails_and_the_type_is_named() -> None:
    """Integers taken for codes, and text that only one type of column holds."""

    def whole(rows: pd.DataFrame) -> np.ndarray:
        return _sound(rows) * (0.5 if rows["distance"].dtype == float else 1)

    def strict(rows: pd.DataFrame) -> np.ndarray:
        if isinstance(rows["origin"].dtype, pd.CategoricalDtype):
            raise TypeError("no categories please")
        return _sound(rows)

    first, second = (next(c for c in _judge(predict).checks if c.name == "dtypes") for predict in (whole, strict))

    assert first.status == second.status == "failed"
    assert "as float64 100.0% of the predictions change" in first.message
    assert "as category it fails: TypeError: no categories please" in second.message


def test_noise_is_told_and_fails_only_where_it_decides_more_than_the_row() -> None:
    """A sine with a period far below the noise answers at random; a line moves by its slope times the noise."""
    frame = _frame(2000)

    def wild(rows: pd.DataFrame) -> np.ndarray:
        return 0.5 + 0.4 * np.sin(1000 * rows["wind"].fillna(0).to_numpy(dtype=float))

    found, line = (
        judge("binary", wild, frame, ["wind"]),
        judge("regression", lambda rows: 2 * rows["wind"].fillna(0).to_numpy(), frame, ["wind"]),
    )

    assert _status(found)["noise"] == "failed"
    assert _status(line)["noise"] == "noted"
    assert line.noise is not None
    assert line.noise.median == pytest.approx(2 * 0.01 * frame["wind"].std() * 0.6745, rel=0.1)  # of a normal's absolute value
    assert line.noise.p99 == pytest.approx(2 * 0.01 * frame["wind"].std() * 2.576, rel=0.15)


def test_missing_values_may_be_answered_or_refused_by_name_but_not_end_in_nonsense() -> None:
    """An error that does not name the column, and a silent NaN, are failures; both reasons are told."""

    def careful(rows: pd.DataFrame) -> np.ndarray:
        if rows["origin"].isna().any():
            raise ValueError("origin is missing")
        return _sound(rows)

    def obscure(rows: pd.DataFrame) -> np.ndarray:
        if rows["origin"].isna().any():
            raise ValueError("cannot convert None")
        return _sound(rows)

    def silent(rows: pd.DataFrame) -> np.ndarray:
        return np.where(rows["distance"].isna(), np.nan, _sound(rows))

    results = [next(c for c in _judge(predict).checks if c.name == "missing values") for predict in (_sound, careful, obscure, silent)]

    assert [check.status for check in results] == ["passed", "noted", "failed", "failed"]
    assert "refuses origin, by name" in results[1].message
    assert "1 of 4 columns may not be missing: origin: ValueError: cannot convert None" in results[2].message
    assert "distance: The model's predict returned 200 of 200 values that are NaN" in results[3].message


def test_what_the_schema_refuses_is_only_noted() -> None:
    """A column that may not be missing never reaches the model without a value."""

    class Batch(pandera.DataFrameModel):
        distance: int
        wind: float = pandera.Field(nullable=True)
        origin: str = pandera.Field(isin=["EWR", "JFK", "LGA"])

    def fragile(rows: pd.DataFrame) -> np.ndarray:
        if rows["origin"].isna().any() or (rows["origin"] == columns.UNSEEN).any():
            raise IndexError("out of range")
        return _sound(rows)

    guard = robustness.guard(Batch)

    assert guard == Guard(missing=frozenset({"distance", "origin"}), unseen=frozenset({"origin"}))
    free, guarded = _status(_judge(fragile)), _status(_judge(fragile, guard=guard))
    assert (free["missing values"], free["unseen categories"]) == ("failed", "failed")
    assert (guarded["missing values"], guarded["unseen categories"]) == ("noted", "noted")


def test_an_unseen_category_is_tried_in_each_text_column() -> None:
    """A dictionary of known values breaks; which column it was is told."""
    known = {"EWR": 0.1, "JFK": 0.2, "LGA": 0.3, None: 0.0}

    def lookup(rows: pd.DataFrame) -> np.ndarray:
        return np.array([known[None if pd.isna(value) else value] for value in rows["origin"]])

    check = next(c for c in _judge(lookup).checks if c.name == "unseen categories")

    assert check.status == "failed"
    assert f"origin: KeyError: '{columns.UNSEEN}'" in check.message


def test_expectations_count_the_rows_that_react_the_wrong_way() -> None:
    """Distance raises the prediction everywhere; wind lowers it beyond 20."""

    def predict(rows: pd.DataFrame) -> np.ndarray:
        wind = rows["wind"].fillna(0)
        return 0.2 + rows["distance"].fillna(0).to_numpy() / 1e5 + (wind.where(wind < 20, 40 - wind) / 200).clip(0, 0.5).to_numpy()

    frame = _frame(3000)
    asked = [
        Expectation(column="distance", prediction="not lower", by=100),
        Expectation(column="distance", prediction="not higher", by=100),
        Expectation(column="wind", prediction="not lower", by=0.001, tolerance=0.5),
        Expectation(column="wind", prediction="not lower", by=0.001, tolerance=0.01),
    ]

    checks = _judge(predict, frame, expectations=asked).checks[-4:]

    assert [check.status for check in checks] == ["passed", "failed", "passed", "failed"]
    used = frame.iloc[columns.spaced(len(frame), ROWS)]["wind"].dropna()
    falling = ((used > 20) & (used < 40)).mean()
    assert checks[2].value == pytest.approx(falling, abs=0.005)
    assert checks[1].message == "100 more of distance raises the prediction in 100.0% of 2,000 rows; 5% may."


def test_an_expectation_of_what_is_no_number_is_unknown() -> None:
    """Each with what is wrong with it."""
    frame = _frame().assign(empty=np.nan)
    asked = [Expectation(column=name, prediction="not lower", by=1) for name in ("height", "origin", "empty")]

    checks = _judge(_sound, frame, expectations=asked).checks[-3:]

    assert [check.status for check in checks] == ["unknown"] * 3
    assert "no column 'height'" in checks[0].message
    assert "no numbers" in checks[1].message
    assert "missing in every row" in checks[2].message


def test_the_cost_is_bounded_and_the_same_rows_give_the_same_answers() -> None:
    """However long the hold-out: no call has more than ROWS rows, and their number depends on the columns only."""
    sizes: list[int] = []

    def predict(rows: pd.DataFrame) -> np.ndarray:
        sizes.append(len(rows))
        return _sound(rows)

    first = _judge(predict, _frame(5 * ROWS), seed=3)
    calls = len(sizes)

    assert max(sizes) == ROWS
    assert sizes.count(1) == SINGLE
    assert calls <= 50 + 2 * len(FEATURES)
    assert _judge(predict, _frame(5 * ROWS), seed=3) == first


@given(values=st.lists(st.one_of(st.none(), st.text(max_size=3)), min_size=1, max_size=20), whole=st.lists(st.integers(-5, 5), min_size=1))
@settings(max_examples=50, deadline=None)
def test_spoiled_columns_keep_their_length_and_hold_what_they_should(values: list[str | None], whole: list[int]) -> None:
    """Any texts and whole numbers: all missing, all unseen, and noise leaves integers integers."""
    text, number = pd.Series(values, dtype=object), pd.Series(whole)

    assert columns.missing(text).isna().all()
    assert columns.missing(number).isna().all()
    assert len(columns.missing(text)) == len(text)
    if columns.is_text(text):
        assert (columns.unseen(text.astype("category")) == columns.UNSEEN).all()
    moved = columns.noisy(number, 1.0, np.random.default_rng(0))
    assert moved is None or moved.dtype == number.dtype
