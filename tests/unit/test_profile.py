"""The reference file: counts only, the same bytes each time."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from unit import mini_project

from modelyard import profile
from modelyard.errors import ProjectError
from modelyard.monitor.profile import Column, Profile, count, describe
from modelyard.release import sha256


def _profile(root: Path) -> Profile:
    return Profile.model_validate_json((root / "models/profile.json").read_bytes())


def test_numbers_fall_into_twenty_open_ended_bins() -> None:
    """The outer bins are narrow and open, so that a shift of a tail shows."""
    column = describe(pd.Series(np.arange(10_000.0)))

    assert (column.kind, len(column.edges), len(column.counts)) == ("numeric", 19, 20)
    assert column.counts[0] == 50
    assert column.counts[-1] == 50
    assert column.counts[1] == 150
    assert column.counts[2] == 625 - 200
    assert set(column.counts[3:-3]) == {625}
    assert count(column, pd.Series([-1e9, 1e9, np.inf])).counts[::19] == [1, 2]


def test_few_numbers_get_a_cell_each() -> None:
    """Each value its own cell, and one on either side for what was never seen."""
    column = describe(pd.Series([0, 0, 1, 1, 1, 5]))

    assert column.counts == [0, 2, 3, 1, 0]
    assert count(column, pd.Series([-7, 0, 99])).counts == [1, 1, 0, 0, 1]


def test_rare_and_new_values_are_pooled() -> None:
    """A value needs 50 rows (or one in a hundred) for a cell of its own; the rest share the last one."""
    column = describe(pd.Series(["b"] * 600 + ["a"] * 600 + [f"tail {i}" for i in range(30)] + [None] * 10))

    assert (column.values, column.counts, column.missing) == (["a", "b"], [600, 600, 30], 10)
    assert count(column, pd.Series(["a", "new", "tail 1"])).counts == [1, 0, 2]


def test_what_only_grows_with_time_is_never_compared() -> None:
    """Times, years and serial numbers get no cells, in whatever order the rows come; a constant does."""
    time = pd.Series(pd.to_datetime(["2013-03-01", "2013-01-01", "2013-02-01"]))

    assert describe(time).kind == "sequence"
    assert describe(pd.Series([30, 10, 10]), time).kind == "sequence"
    assert describe(pd.Series([10, 30, 10]), time).kind == "numeric"
    assert describe(pd.Series([4, 4, 4]), time).kind == "numeric"


@pytest.mark.parametrize(
    "values",
    [
        pd.Series([1, None, 3], dtype="Int64"),
        pd.Series([True, False, None], dtype="boolean"),
        pd.Series([1.0, np.nan, np.inf]),
        pd.Series(["a", None, "b"], dtype="category"),
        pd.Series([None, None], dtype=float),
        pd.Series([], dtype=object),
    ],
)
def test_every_value_is_counted_once(values: pd.Series) -> None:
    """Counts and missing values add up to the rows, for each type that a table may have."""
    column = describe(values)

    assert sum(column.counts) + column.missing == column.rows == len(values)


def test_text_where_numbers_were_counts_as_missing() -> None:
    """A column that changed its type is no crash."""
    column = count(Column(kind="numeric", rows=0, missing=0, edges=[1.0]), pd.Series(["x", "2", None]))

    assert (column.counts, column.missing) == ([0, 1], 2)


def test_the_verb_writes_training_rows_and_predictions_of_the_holdout(tmp_path: Path) -> None:
    """Columns are counted before the hold-out, predictions in it; time and label are no columns."""
    project = mini_project.make(tmp_path)

    outcome = profile.run(project)

    made = _profile(tmp_path)
    assert outcome.exit_code == 0
    assert made.model == sha256(tmp_path / "models/model.onnx")
    assert (made.rows, made.days) == (38 * 40, 38)
    assert made.prediction.rows == 21 * 40
    assert {name: column.kind for name, column in made.columns.items()} == {
        "x": "numeric",
        "gap": "numeric",
        "group": "categorical",
        "serial": "sequence",
    }
    assert made.columns["gap"].missing == 38
    assert len(made.label.counts) == 4


def test_the_same_inputs_give_the_same_bytes_and_few(tmp_path: Path) -> None:
    """Two runs agree byte for byte; the file stays below 50 kB and holds no row."""
    project = mini_project.make(tmp_path)
    path = tmp_path / "models/profile.json"

    profile.run(project)
    first = path.read_bytes()
    profile.run(project)

    assert path.read_bytes() == first
    assert len(first) < 50_000
    assert list(json.loads(first)) == sorted(json.loads(first))


def test_a_missing_model_is_named(tmp_path: Path) -> None:
    """No model, no profile: the message says what to run, and nothing is written."""
    project = mini_project.make(tmp_path)
    (tmp_path / "models/model.onnx").unlink()

    with pytest.raises(ProjectError, match="modelyard train"):
        profile.run(project)
    assert not (tmp_path / "models/profile.json").exists()
