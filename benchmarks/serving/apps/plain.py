"""BentoML as its documentation writes a service. `bentoml serve plain:Plain`, with the project's src on the path."""

import os
from typing import Any

import bentoml
from contract import Columns, Row
from flights import model


class _Base:
    def __init__(self) -> None:
        self.model = model.load(os.environ["MODEL"])


@bentoml.service
class Plain(_Base):
    """With BentoML's defaults."""

    @bentoml.api
    def predict(self, rows: list[Row]) -> dict[str, Any]:
        columns = {name: [getattr(row, name) for row in rows] for name in Row.model_fields}
        return {"predictions": self.model.predict(columns).tolist()}

    @bentoml.api
    def predict_columns(self, columns: Columns) -> dict[str, Any]:
        return {"predictions": self.model.predict(dict(columns)).tolist()}


@bentoml.service(logging={"access": {"enabled": False}}, metrics={"enabled": False})
class Lean(_Base):
    """Without what its settings can switch off."""

    @bentoml.api
    async def predict(self, rows: list[Row]) -> dict[str, Any]:
        columns = {name: [getattr(row, name) for row in rows] for name in Row.model_fields}
        return {"predictions": self.model.predict(columns).tolist()}

    @bentoml.api
    async def predict_columns(self, columns: Columns) -> dict[str, Any]:
        return {"predictions": self.model.predict(dict(columns)).tolist()}
