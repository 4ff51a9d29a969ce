"""Alarms for what a model cannot know: each leak built in on purpose, and tables without one."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pandera.pandas as pandera
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import roc_auc_score

from modelyard.evaluate import leakage
from modelyard.evaluate.leakage import Leakage, judge


def _table(start: str = "2013-01-01", n: int = 2000, seed: int = 1) -> pd.DataFrame:
    draw = np.random.default_rng(seed)
    x = draw.normal(size=n)
    return pd.DataFrame(
        {
            "time": pd.Timestamp(start) + pd.to_timedelta(np.arange(n), "min"),
            "x": x,
            "carrier": draw.choice(["AA", "DL", "UA"], n),
            "serial": draw.permutation(n) + 10_000 * seed,
            "late": (draw.uniform(size=n) < 1 / (1 + np.exp(-2 * x))).astype(float),
        }
    )


TRAIN, HOLDOUT = _table(), _table("2013-02-01", 800, 2)


def _predict(rows: pd.DataFrame) -> np.ndarray:
    return 1 / (1 + np.exp(-2 * rows["x"].to_numpy(dtype=float)))


def _judge(train: pd.DataFrame = TRAIN, holdout: pd.DataFrame = HOLDOUT, task: str = "binary", **options: object) -> Leakage:
    usual = {"label": "late", "time": "time", "scores": _predict(holdout), "later": set(), "predict": _predict}
    return judge(task, train, holdout, **{**usual, **options})  # type: ignore[arg-type]


def _status(found: Leakage) -> dict[str, str]:
    return {check.name: check.status for check in found.checks}


def test_an_honest_table_raises_no_alarm() -> None:
    """One column that helps, one that does not, a serial number; the strongest column is told with what it reaches alone."""
    found = _judge()

    assert _status(found) == {
        "too good": "passed",
        "single column": "passed",
        "overlap": "passed",
        "order": "passed",
        "known later": "noted",
    }
    assert found.alone[0].column == "x"
    assert found.alone[0].value == pytest.approx(roc_auc_score(HOLDOUT["late"], HOLDOUT["x"]), abs=1e-9)
    assert all(check.family == "leakage" and check.why for check in found.checks)


@pytest.mark.parametrize(("error", "status"), [(0.0, "failed"), (0.3, "passed")])
def test_what_is_predicted_without_error_is_not_believed(error: float, status: str) -> None:
    """Scores that are the label, and scores of a good model."""
    draw = np.random.default_rng(0)
    wrong = draw.uniform(size=len(HOLDOUT)) < error
    scores = np.where(wrong, 1 - HOLDOUT["late"], HOLDOUT["late"]).astype(float)

    assert _status(_judge(scores=scores))["too good"] == status


def test_the_limit_can_be_set() -> None:
    """Some outcomes are almost certain, and the project knows."""
    assert _status(_judge(limit=0.6))["too good"] == "failed"
    assert _status(_judge(scores=HOLDOUT["late"].to_numpy(), limit=1.1))["too good"] == "passed"


def _with(column: str, of: object) -> tuple[pd.DataFrame, pd.DataFrame]:
    return TRAIN.assign(**{column: of}), HOLDOUT.assign(**{column: of})  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "leak",
    [
        lambda t: np.where(t["late"] == 1, "delayed", "in time"),
        lambda t: pd.Categorical(np.where(t["late"] == 1, "delayed", "in time")),
        lambda t: 30 * t["late"] + t["x"] / 10,
        lambda t: -30 * t["late"],
        lambda t: t["late"] == 1,
        lambda t: np.abs(t["late"] - 0.5 + t["x"] / 1000) * np.where(t["late"] == 1, 1, 3),
        lambda t: t["x"].where(t["late"] == 1),
        lambda t: t["time"] + pd.to_timedelta(400 * t["late"], "D"),
    ],
    ids=["text", "category", "number", "downwards", "truth value", "not monotone", "missing where 0", "time"],
)
def test_a_column_that_is_the_label_in_disguise_is_named(leak: object) -> None:
    """Whatever form it takes."""
    found = _judge(*_with("reason", leak))
    check = next(c for c in found.checks if c.name == "single column")

    assert check.status == "failed"
    assert "reason" in check.message
    assert found.alone[0].column == "reason"


def test_a_regression_target_in_other_units_is_named() -> None:
    """Minutes late, and the same in hours with some rounding; a column that explains half is not."""
    draw = np.random.default_rng(0)
    tables = []
    for table in (TRAIN, HOLDOUT):
        late = 60 * table["x"] + 60 * draw.normal(size=len(table))
        tables.append(table.assign(late=late, hours=(late / 60).round(1)))

    found = _judge(*tables, task="regression", scores=tables[1]["x"].to_numpy() * 60)

    assert [each.column for each in found.alone if each.value >= leakage.SINGLE] == ["hours"]
    assert {each.column: each.value for each in found.alone}["x"] == pytest.approx(0.5, abs=0.06)


def test_rows_of_the_hold_out_that_were_trained_on_fail_from_one_percent() -> None:
    """Whatever their label now says; rows that repeat within one table are another question."""
    few, many = HOLDOUT.iloc[:4], HOLDOUT.iloc[:40]
    relabelled = many.assign(late=1 - many["late"])
    twice = pd.concat([HOLDOUT, HOLDOUT.iloc[:100]], ignore_index=True)

    def status(train: pd.DataFrame, holdout: pd.DataFrame = HOLDOUT) -> tuple[str, float | None]:
        check = leakage.overlap(train, holdout, label="late")
        return check.status, check.value

    assert status(TRAIN) == ("passed", 0)
    assert status(pd.concat([TRAIN, few])) == ("noted", 4 / 800)
    assert status(pd.concat([TRAIN, relabelled])) == ("failed", 40 / 800)
    assert status(TRAIN, twice) == ("passed", 0)


@given(data=st.data())
@settings(max_examples=40, deadline=None)
def test_overlap_is_that_of_plain_sets_whatever_types_hold_the_values(data: st.DataObject) -> None:
    """1 is 1.0, and a text is a text in any column type."""
    rows = st.lists(st.tuples(st.integers(0, 3), st.sampled_from("ab")), min_size=1, max_size=12)
    train, holdout = data.draw(rows), data.draw(rows)
    first = pd.DataFrame(train, columns=["n", "t"]).assign(late=0.0)
    second = pd.DataFrame(holdout, columns=["n", "t"]).assign(late=1.0)
    second = second.astype(
        {"n": data.draw(st.sampled_from(["int64", "int32", "float64"])), "t": data.draw(st.sampled_from(["object", "category"]))}
    )

    check = leakage.overlap(first, second, label="late")

    assert check.value == pytest.approx(sum(row in train for row in holdout) / len(holdout))


def test_training_rows_after_the_hold_outs_start_fail() -> None:
    """One is enough; without times nobody can say."""
    late = TRAIN.assign(time=TRAIN["time"].mask(TRAIN.index == 7, HOLDOUT["time"].min()))

    assert _status(_judge(late))["order"] == "failed"
    assert leakage.order(TRAIN, HOLDOUT, time=None).status == "unknown"
    assert leakage.order(TRAIN, HOLDOUT.assign(time=pd.NaT), time="time").status == "unknown"
    assert leakage.order(TRAIN.iloc[:0], HOLDOUT, time="time").status == "unknown"


def test_a_schema_marks_what_is_known_later_and_the_model_may_not_react_to_it() -> None:
    """By pandera's metadata; a column that is marked and not used is in order."""

    class Batch(pandera.DataFrameModel):
        x: float = pandera.Field(metadata={"known": "later"})
        carrier: str = pandera.Field(metadata={"owner": "operations"})
        serial: int = pandera.Field(metadata={"known": "later"})

    assert leakage.known_later(Batch) == leakage.known_later(Batch.to_schema()) == {"x", "serial"}
    found = next(c for c in _judge(later={"x", "serial"}).checks if c.name == "known later")
    assert found.status == "failed"
    assert "reacts to x:" in found.message
    assert _status(_judge(later={"serial"}))["known later"] == "passed"
    assert _status(_judge(later=None))["known later"] == "unknown"
    assert _status(_judge(holdout=HOLDOUT.assign(serial=1), later={"serial"}))["known later"] == "unknown"


def test_a_model_that_fails_on_shuffled_columns_is_unknown_with_its_words() -> None:
    """Nothing passes that was not seen."""

    def predict(rows: pd.DataFrame) -> np.ndarray:
        raise RuntimeError("out of memory")

    check = next(c for c in _judge(later={"x"}, predict=predict).checks if c.name == "known later")

    assert check.status == "unknown"
    assert "out of memory" in check.message


def test_labels_of_one_class_or_none_are_unknown_and_never_pass() -> None:
    """Neither the model nor a column can be judged."""
    for holdout in (HOLDOUT.assign(late=1.0), HOLDOUT.assign(late=np.nan)):
        status = _status(_judge(holdout=holdout))

        assert (status["too good"], status["single column"]) == ("unknown", "unknown")


def test_columns_of_lists_cannot_be_compared() -> None:
    """Told, not raised."""
    train, holdout = _with("tags", lambda t: [[1, 2]] * len(t))

    assert leakage.overlap(train, holdout, label="late").status == "unknown"
