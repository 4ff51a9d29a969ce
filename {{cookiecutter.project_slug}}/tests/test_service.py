import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from starlette.testclient import TestClient

from {{ cookiecutter.package }} import model
from {{ cookiecutter.package }}.features import INPUTS
from {{ cookiecutter.package }}.service import Row, Service, columns


@pytest.fixture(scope="module")
def client(model_file: Path) -> Iterator[TestClient]:
    """The service in this process."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MODEL_PATH", str(model_file))
        patch.setenv("MODEL_VERSION", "7")
        with TestClient(Service.to_asgi()) as client:
            yield client


@pytest.fixture
def rows(sample: pd.DataFrame) -> list[dict[str, Any]]:
    """Flights as a client sends them."""
    frame = sample.head(30)[list(INPUTS)]
    text = frame.assign(scheduled=frame["scheduled"].dt.strftime("%Y-%m-%dT%H:%M:%S")).to_json(orient="records")
    parsed: list[dict[str, Any]] = json.loads(text)
    return parsed


def test_it_answers_what_the_model_says(
    client: TestClient, rows: list[dict[str, Any]], sample: pd.DataFrame, served: model.Model
) -> None:
    """Over HTTP a flight gets the prediction that it gets in a DataFrame, and the model is named."""
    answer = client.post("/predict", json={"rows": rows})

    assert answer.status_code == 200
    assert answer.json()["predictions"] == pytest.approx(served.predict(sample.head(30)).tolist(), abs=1e-5)
    assert answer.json()["model"]["name"] == "{{ cookiecutter.project_slug }}"
    assert answer.json()["model"]["version"] == "7"
    assert answer.json()["model"]["provider"] in model.PROVIDERS


def test_it_is_ready(client: TestClient) -> None:
    """The probes answer."""
    assert client.get("/readyz").status_code == 200
    assert client.get("/livez").status_code == 200


BAD: dict[str, dict[str, Any]] = {
    "out of range": {"temp": 1000},
    "wrong type": {"distance": "far"},
    "unknown field": {"late": 1},
    "null where it must be known": {"carrier": None},
    "a time with a zone": {"scheduled": "2013-01-01T05:15:00Z"},
    "lower case": {"origin": "ewr"},
}


@pytest.mark.parametrize("fault", BAD)
def test_a_bad_row_is_refused(client: TestClient, rows: list[dict[str, Any]], fault: str) -> None:
    """One bad row refuses the request, and says where."""
    answer = client.post("/predict", json={"rows": [rows[0], rows[1] | BAD[fault]]})

    assert answer.status_code == 400
    assert answer.json()["detail"][0]["loc"][:2] == ["rows", 1]


@pytest.mark.parametrize("body", ['{"rows": []}', '{"rows": [{}]}', "{}", "no json", '{"rows": [NaN]}'])
def test_a_bad_body_is_refused(client: TestClient, body: str) -> None:
    """What is no list of rows is the client's mistake, not the server's."""
    assert client.post("/predict", content=body, headers={"content-type": "application/json"}).status_code == 400


def test_too_many_rows_are_refused(client: TestClient, rows: list[dict[str, Any]]) -> None:
    """A request holds 1000 rows at most."""
    assert client.post("/predict", json={"rows": rows[:1] * 1001}).status_code == 400


def test_a_request_holds_what_the_features_read() -> None:
    """Request model and features name the same columns."""
    assert tuple(Row.model_fields) == INPUTS


def test_missing_weather_is_nan(rows: list[dict[str, Any]]) -> None:
    """Weather that is null, or left out, reaches the model as missing."""
    short = {name: value for name, value in rows[0].items() if name != "temp"}

    assert pd.isna(columns([Row(**short)])["temp"]).all()


def test_it_is_lean() -> None:
    """Serving imports nothing that only training needs."""
    code = f"import sys; import {Service.inner.__module__}; print(*sys.modules)"
    env = {"PYTHONPATH": str(Path(__file__).parents[1] / "src")}
    done = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True, check=True)

    assert "onnxruntime" in done.stdout.split()
    assert {"pandas", "sklearn", "mlflow", "modelyard"}.isdisjoint(done.stdout.split())
