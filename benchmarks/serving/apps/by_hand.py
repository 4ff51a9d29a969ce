"""A hand-made service, as a team would write it: FastAPI and ONNX Runtime. `uvicorn by_hand:app`, with the project's src on the path."""

import os
from typing import Annotated

from contract import Columns, Row
from fastapi import FastAPI
from flights import model
from pydantic import BaseModel, Field

app = FastAPI()
loaded = model.load(os.environ["MODEL"])


class Rows(BaseModel, extra="forbid"):
    rows: Annotated[list[Row], Field(min_length=1, max_length=1000)]


class ByColumns(BaseModel, extra="forbid"):
    columns: Columns


@app.post("/predict")
async def predict(request: Rows) -> dict[str, list[float]]:
    columns = {name: [getattr(row, name) for row in request.rows] for name in Row.model_fields}
    return {"predictions": loaded.predict(columns).tolist()}


@app.post("/predict_columns")
async def predict_columns(request: ByColumns) -> dict[str, list[float]]:
    return {"predictions": loaded.predict(dict(request.columns)).tolist()}


@app.get("/readyz")
async def ready() -> str:
    return "ok"
