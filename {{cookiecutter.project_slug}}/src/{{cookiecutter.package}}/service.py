"""The service: raw rows in, predictions out. It imports neither pandas nor scikit-learn nor MLflow."""

import hashlib
import os
from pathlib import Path
from typing import Annotated

import bentoml
import numpy as np
from pydantic import BaseModel, ConfigDict, Field, NaiveDatetime

from {{ cookiecutter.package }} import model

NAME = "{{ cookiecutter.project_slug }}"


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", allow_inf_nan=False, protected_namespaces=())


class Row(_Strict):
    """A flight, as it is known before departure; what the weather station did not say is null."""

    scheduled: NaiveDatetime = Field(description="Scheduled departure, New York time, without a zone.")
    carrier: str = Field(pattern=r"^[A-Z0-9]{2}$")
    origin: str = Field(pattern=r"^[A-Z]{3}$")
    dest: str = Field(pattern=r"^[A-Z]{3}$")
    distance: float = Field(ge=10, le=5200, description="Miles.")
    planned_minutes: float = Field(ge=30, le=780)
    temp: float | None = Field(None, ge=-10, le=115, description="Fahrenheit.")
    dewp: float | None = Field(None, ge=-30, le=90, description="Fahrenheit.")
    humid: float | None = Field(None, ge=5, le=100, description="Percent.")
    wind_speed: float | None = Field(None, ge=0, le=80, description="Miles an hour.")
    precip: float | None = Field(None, ge=0, le=3, description="Inches in the hour.")
    pressure: float | None = Field(None, ge=960, le=1060, description="Hectopascal.")
    visib: float | None = Field(None, ge=0, le=10, description="Miles.")


class ModelInfo(_Strict):
    """Which model answered."""

    name: str
    version: str = Field(description="In the registry; empty where nobody said.")
    sha256: str
    provider: str = Field(description="What computed it: CPUExecutionProvider or CUDAExecutionProvider.")


class Answer(_Strict):
    """One prediction a row, in their order."""

    predictions: list[float]
    model: ModelInfo


def model_file() -> Path:
    """Return the file named by MODEL_PATH, else models/model.onnx in the Bento, or in the project."""
    if path := os.environ.get("MODEL_PATH"):
        return Path(path)
    here = Path(__file__).resolve()
    beside = (folder / "models" / "model.onnx" for folder in here.parents[1:3])
    return next((path for path in beside if path.exists()), here.parents[2] / "models" / "model.onnx")


def columns(rows: list[Row]) -> dict[str, np.ndarray]:
    """Turn rows into raw columns; null becomes NaN."""
    table = {}
    for name in Row.model_fields:
        values = [getattr(row, name) for row in rows]
        if name == "scheduled":
            table[name] = np.array(values, dtype="datetime64[s]")
        elif isinstance(values[0], str):
            table[name] = np.array(values, dtype=object)
        else:
            table[name] = np.array(values, dtype=np.float32)
    return table


@bentoml.service(name=NAME, logging={"access": {"enabled": False}}, traffic={"timeout": 10})
class Service:
    """{{ cookiecutter.task | capitalize }} predictions for flights out of New York."""

    def __init__(self) -> None:
        path = model_file()
        self.model = model.load(path)
        self.info = ModelInfo(
            name=NAME,
            version=os.environ.get("MODEL_VERSION", ""),
            sha256=hashlib.sha256(path.read_bytes()).hexdigest(),
            provider=self.model.provider,
        )

    @bentoml.api
    async def predict(self, rows: Annotated[list[Row], Field(min_length=1, max_length=1000)]) -> Answer:
        """Predict for 1 to 1000 flights."""
        predictions = self.model.predict(columns(rows))
        return Answer(predictions=predictions.tolist(), model=self.info)
