"""The OpenAPI document of a service: the types that it really checks, and every status that it really answers."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, Field
from pydantic.json_schema import models_json_schema

from modelyard.serve.contract import Contract
from modelyard.serve.request import Fault, Parser

_REFUSALS = {
    "400": "The body is not what it must be; `detail` says where.",
    "408": "The body did not come in time.",
    "413": "The body is too large.",
    "415": "The body is not JSON.",
    "500": "The service failed.",
    "503": "Too many requests at once, or the model failed and nothing stands in for it; try again after `Retry-After` seconds.",
}


class ModelInfo(BaseModel):
    """Which model answered."""

    name: str
    version: str = Field(description="In the registry; empty where it has none.")
    sha256: str = Field(description="Of its file; empty where a constant answered.")
    provider: str = Field(description="What computed it: CPUExecutionProvider or CUDAExecutionProvider.")
    role: Literal["champion", "fallback"]


class Answered(BaseModel):
    """One prediction a row, in their order."""

    predictions: list[float]
    model: ModelInfo


class ServedModel(ModelInfo):
    """The model that serves, and where it comes from."""

    task: Literal["binary", "regression"]
    variant: str = Field(description="Of the image: cpu or gpu; empty where none is named.")
    run_id: str
    commit: str
    data_revision: str


class Problem(BaseModel):
    """Why a request was refused."""

    error: str
    detail: list[Fault]


def document(contract: Contract, parser: Parser) -> dict[str, Any]:
    """OpenAPI 3.1."""
    models: list[type[BaseModel]] = [parser.by_rows, parser.by_columns, Answered, ServedModel, Problem]
    names, schemas = models_json_schema([(model, "validation") for model in models], ref_template="#/components/schemas/{model}")
    refs = {model: names[model, "validation"] for model in models}
    refusals = {status: _content(words, refs[Problem]) for status, words in _REFUSALS.items()}
    rows = contract.limits.rows

    def predict(words: str, model: type[BaseModel]) -> dict[str, Any]:
        body = {"required": True, "content": {"application/json": {"schema": refs[model]}}}
        header = {"name": "X-Request-Id", "in": "header", "schema": {"type": "string"}, "description": "Made where it is not given."}
        answers = {"200": _content("One prediction a row.", refs[Answered]), **refusals}
        return {"post": {"summary": words, "parameters": [header], "requestBody": body, "responses": answers}}

    def plain(words: str, kind: str = "text/plain") -> dict[str, Any]:
        return {"get": {"summary": words, "responses": {"200": {"description": words, "content": {kind: {"schema": {"type": "string"}}}}}}}

    return {
        "openapi": "3.1.0",
        "info": {"title": contract.name, "version": contract.version or "0", "description": f"Model {contract.name}: {contract.task}."},
        "paths": {
            "/predict": predict(f"Predict for 1 to {rows} rows.", parser.by_rows),
            "/predict_columns": predict(f"Predict for 1 to {rows} rows given as columns, which is faster.", parser.by_columns),
            "/model": {"get": {"summary": "The model that serves.", "responses": {"200": _content("It.", refs[ServedModel])}}},
            "/healthz": plain("The process lives."),
            "/livez": plain("The process lives."),
            "/readyz": plain("The model is loaded."),
            "/metrics": plain("Metrics for Prometheus."),
        },
        "components": {"schemas": schemas["$defs"]},
    }


def _content(words: str, schema: dict[str, Any]) -> dict[str, Any]:
    return {"description": words, "content": {"application/json": {"schema": schema}}}
