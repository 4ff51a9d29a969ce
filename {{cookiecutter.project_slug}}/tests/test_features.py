import numpy as np
import pandas as pd

from {{ cookiecutter.package }}.features import INPUTS, NUMBERS, features


def test_known_values() -> None:
    """A flight worked out by hand."""
    numbers = {name: [1.0] for name in NUMBERS} | {"distance": [1400], "planned_minutes": [240]}
    texts = {"carrier": ["UA"], "origin": ["EWR"], "dest": ["IAH"]}
    made = features({"scheduled": ["2013-01-01T05:15:00"], **texts, **numbers})

    assert made["hour"].tolist() == [5.25]
    assert made["weekday"].tolist() == [1.0]  # a Tuesday
    assert made["speed"].tolist() == [350.0]
    assert made["carrier"].tolist() == ["UA"]


def test_rows_do_not_mix(sample: pd.DataFrame) -> None:
    """A row's features are the same alone, in another order, and in another batch."""
    whole = features(sample)
    shuffled = features(sample.sample(frac=1, random_state=0))
    order = sample.reset_index().sample(frac=1, random_state=0).index
    alone = features(sample.iloc[[7]])

    for name, values in whole.items():
        np.testing.assert_array_equal(values[order], shuffled[name])
        np.testing.assert_array_equal(values[[7]], alone[name])


def test_training_and_serving_agree(sample: pd.DataFrame) -> None:
    """A DataFrame and a mapping of plain lists give the same features."""
    frame = features(sample)
    mapping = features({name: sample[name].tolist() for name in INPUTS})

    for name, values in frame.items():
        np.testing.assert_array_equal(values, mapping[name])
        assert values.dtype == mapping[name].dtype


def test_nothing_is_missing_but_weather(sample: pd.DataFrame) -> None:
    """No feature is infinite, and none is NaN where its column is known."""
    complete = sample.dropna()
    made = features(complete)

    assert len(complete) > 1000
    for name, values in made.items():
        if values.dtype.kind == "f":
            assert np.isfinite(values).all(), name


def test_the_label_is_no_feature(sample: pd.DataFrame) -> None:
    """Features can be made where the outcome is not known."""
    features(sample.drop(columns="{{ cookiecutter.__label }}"))
