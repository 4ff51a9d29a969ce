from datetime import datetime
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import yaml
from modelyard import export

from {{ cookiecutter.package }} import data, model, train
from {{ cookiecutter.package }}.features import features

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="session")
def sample() -> pd.DataFrame:
    """Two weeks of flights."""
    return data.load(datetime(2013, 2, 1), datetime(2013, 2, 15))


@pytest.fixture(scope="session")
def params() -> dict[str, Any]:
    """What params.yaml says."""
    settings: dict[str, Any] = yaml.safe_load((ROOT / "params.yaml").read_text(encoding="utf-8"))["train"]
    return settings


@pytest.fixture(scope="session")
def pipeline(sample: pd.DataFrame, params: dict[str, Any]) -> Any:
    """A pipeline trained on the sample."""
    return train.fit(sample, params)


@pytest.fixture(scope="session")
def model_file(pipeline: Any, sample: pd.DataFrame, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same pipeline as the file that serves."""
    path = tmp_path_factory.mktemp("models") / "model.onnx"
    path.write_bytes(export.to_onnx(pipeline, features(sample)))
    return path


@pytest.fixture(scope="session")
def served(model_file: Path) -> model.Model:
    """The model as it serves."""
    return model.load(model_file)
