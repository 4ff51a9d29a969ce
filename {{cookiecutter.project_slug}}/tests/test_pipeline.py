"""The artifacts of each stage, where `dvc repro` has run (or `dvc pull` brought them)."""

import json
from typing import Any

import numpy as np
import pandas as pd
import pytest
from conftest import ROOT
from modelyard import dataset, project

from {{ cookiecutter.package }} import model
from {{ cookiecutter.package }}.features import INPUTS
from {{ cookiecutter.package }}.schema import Batch

BRING = "bring it with `uv run modelyard state pull` and `uv run dvc pull`"


def made(path: str) -> Any:
    """Read an artifact, or skip."""
    if not (ROOT / path).is_file():
        pytest.skip(f"{path} is not here: {BRING}, or make it with `uv run dvc repro`")
    return json.loads((ROOT / path).read_text(encoding="utf-8"))


def test_train_wrote_a_model_that_answers_as_recorded() -> None:
    """The model file gives the predictions that were recorded when it was made."""
    examples = made("models/examples.json")
    rows = pd.DataFrame(examples["rows"])
    served = model.load(ROOT / "models" / "model.onnx")

    assert set(rows.columns) == set(INPUTS)
    np.testing.assert_allclose(served.predict(rows), examples["predictions"], atol=1e-5)


def test_train_wrote_its_metrics() -> None:
    """The metrics on the training rows are there, and better than nothing."""
    report = made("reports/train.json")

    assert report["rows"] > 1000
    {%- if cookiecutter.task == "binary" %}
    assert 0.6 < report["roc_auc"] < 1
    {%- else %}
    assert 0 < report["mae"] < report["rmse"] < 100
    {%- endif %}


def test_profile_was_written() -> None:
    """The profile that monitor compares with is there, and holds something."""
    path = ROOT / "models" / "profile.parquet"
    if not path.is_file():
        pytest.skip(f"{path.name} is not here: {BRING}, or make it with `uv run dvc repro`")

    assert len(pd.read_parquet(path)) > 0


def test_data_on_disk_are_valid() -> None:
    """Every batch on disk fits the schema."""
    here = project.find(ROOT)
    periods = dataset.on_disk(here)
    if not periods:
        pytest.skip(f"no data: {BRING}, or take them with `uv run modelyard ingest`")

    for period in periods:
        Batch.validate(pd.read_parquet(ROOT / period.file), lazy=True)
