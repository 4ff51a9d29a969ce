"""Export: the same predictions, the same bytes, and a refusal where they differ."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn.compose import make_column_transformer
from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, OrdinalEncoder, StandardScaler

from modelyard import export
from modelyard.policy import Data, Evaluate, Policy
from modelyard.project import Project

ROWS = 400


@pytest.fixture
def raw() -> pd.DataFrame:
    """Raw rows: a time, a text, and numbers of which some are missing."""
    random = np.random.default_rng(0)
    a = random.normal(size=ROWS)
    a[::8] = np.nan
    times = pd.Series(pd.date_range("2013-01-01", periods=ROWS, freq="h"))
    return pd.DataFrame({"at": times, "city": random.choice(["Berlin", "Zürich", 'a "b"'], ROWS), "a": a, "count": np.arange(ROWS)})


@pytest.fixture
def inputs(raw: pd.DataFrame) -> dict[str, np.ndarray]:
    return {
        "city": raw["city"].to_numpy(dtype=object),
        "a": raw["a"].to_numpy(dtype=np.float32),
        "count": raw["count"].to_numpy(dtype=np.float32),
    }


@pytest.fixture
def target(raw: pd.DataFrame) -> np.ndarray:
    return (raw["a"].fillna(0) + (raw["city"] == "Berlin") > 0.4).to_numpy(dtype=np.float64)


def trees(estimator: Any) -> Any:
    encoder = OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=-1, dtype=np.float32)
    return make_pipeline(make_column_transformer((encoder, ["city"]), remainder="passthrough"), estimator)


def linear() -> Any:
    numbers = make_pipeline(SimpleImputer(), StandardScaler())
    return make_pipeline(make_column_transformer((OneHotEncoder(sparse_output=False), ["city"]), remainder=numbers), LogisticRegression())


PIPELINES = {
    "classifier": lambda: trees(HistGradientBoostingClassifier(max_iter=20)),
    "regressor": lambda: trees(HistGradientBoostingRegressor(max_iter=20)),
    "linear": linear,
}


@pytest.fixture
def project(tmp_path: Path) -> Project:
    policy = Policy(
        name="x", package="x", task="binary", data=Data(start=date(2013, 1, 1), time="at", label="y"), evaluate=Evaluate(metric="roc_auc")
    )
    return Project(tmp_path, policy)


@pytest.mark.parametrize("kind", PIPELINES)
def test_the_file_predicts_what_was_trained(
    project: Project, raw: pd.DataFrame, inputs: dict[str, np.ndarray], target: np.ndarray, kind: str
) -> None:
    """Model file and pipeline agree on every row, missing values included."""
    pipeline = export.fit(PIPELINES[kind](), inputs, target)
    predicted = export.save(project, pipeline, raw, inputs, ["at", "city", "a"])
    frame = pd.DataFrame(inputs)
    expected = pipeline.predict(frame) if kind == "regressor" else pipeline.predict_proba(frame)[:, 1]

    assert predicted.shape == (ROWS,)
    np.testing.assert_allclose(predicted, expected, atol=1e-5)
    np.testing.assert_array_equal(export.predict((project.root / "models/model.onnx").read_bytes(), inputs), predicted)


def test_examples_are_requests(project: Project, raw: pd.DataFrame, inputs: dict[str, np.ndarray], target: np.ndarray) -> None:
    """Recorded rows hold the asked columns in JSON types, times without a zone, null for missing, and their predictions."""
    pipeline = export.fit(PIPELINES["classifier"](), inputs, target)
    predicted = export.save(project, pipeline, raw, inputs, ["at", "city", "a"])
    recorded = json.loads((project.root / "models/examples.json").read_text())

    assert len(recorded["rows"]) == len(recorded["predictions"]) == export.EXAMPLE_ROWS
    assert recorded["rows"][0] == {"at": "2013-01-01T00:00:00", "city": raw["city"][0], "a": None}
    assert recorded["predictions"][-1] == predicted[-1]
    assert recorded["rows"][1]["a"] == pytest.approx(raw["a"][21], rel=1e-12)


def test_few_rows_are_enough(project: Project, raw: pd.DataFrame, inputs: dict[str, np.ndarray], target: np.ndarray) -> None:
    """With fewer rows than examples wanted, each is recorded once."""
    pipeline = export.fit(PIPELINES["classifier"](), inputs, target)
    export.save(project, pipeline, raw[:3], {name: values[:3] for name, values in inputs.items()}, ["city"])

    assert len(json.loads((project.root / "models/examples.json").read_text())["rows"]) == 3


def test_a_difference_is_refused(
    project: Project, raw: pd.DataFrame, inputs: dict[str, np.ndarray], target: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A file that predicts something else is not written."""
    pipeline = export.fit(PIPELINES["classifier"](), inputs, target)
    other = export.to_onnx(export.fit(PIPELINES["classifier"](), inputs, 1 - target), inputs)
    monkeypatch.setattr(export, "to_onnx", lambda *_: other)
    with pytest.raises(export.ParityError, match="differs from the trained one by up to"):
        export.save(project, pipeline, raw, inputs, ["city"])

    assert not (project.root / "models").exists()


@pytest.mark.parametrize("bad", [0.502, np.nan, np.inf])
def test_parity_sees_each_row(bad: float) -> None:
    """One prediction that is off, or no number, is told with its row."""
    expected = np.full(100, 0.5)
    actual = expected.copy()
    actual[42] = bad
    with pytest.raises(export.ParityError, match="row 42"):
        export.check_parity(expected, actual)


def test_parity_goes_by_the_range_of_the_predictions() -> None:
    """Minutes may differ by more than probabilities may."""
    expected = np.linspace(0, 1000, 11)

    assert export.check_parity(expected, expected + 0.05) == pytest.approx(0.05)


_SCRIPT = """
import hashlib, numpy as np
from sklearn.compose import make_column_transformer
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OrdinalEncoder
from modelyard import export
random = np.random.default_rng(0)
inputs = {"t": random.choice(["a", "b", "c"], 3000).astype(object), "x": random.normal(size=3000).astype(np.float32)}
target = (inputs["x"] + (inputs["t"] == "a") + random.normal(size=3000) > 0).astype(float)
columns = make_column_transformer((OrdinalEncoder(), ["t"]), remainder="passthrough")
pipeline = make_pipeline(columns, HistGradientBoostingClassifier(max_iter=30))
print(hashlib.sha256(export.to_onnx(export.fit(pipeline, inputs, target), inputs)).hexdigest())
"""


def test_the_bytes_are_the_same_in_every_process() -> None:
    """Neither the hash seed nor the number of threads moves a byte."""
    hashes = set()
    for seed, threads in (("1", "1"), ("2", "2"), ("3", "4")):
        env = {**os.environ, "PYTHONHASHSEED": seed, "OMP_NUM_THREADS": threads}
        done = subprocess.run([sys.executable, "-c", _SCRIPT], env=env, capture_output=True, text=True, check=True)
        hashes.add(done.stdout)

    assert len(hashes) == 1
