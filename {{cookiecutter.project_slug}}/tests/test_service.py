import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from conftest import ROOT
from modelyard import contracts, project
from starlette.testclient import TestClient

from {{ cookiecutter.package }} import model
from {{ cookiecutter.package }}.features import INPUTS
from {{ cookiecutter.package }}.service import Service


def requests(flights: pd.DataFrame) -> list[dict[str, Any]]:
    """Write flights as a client sends them."""
    frame = flights[list(INPUTS)]
    text = frame.assign(scheduled=frame["scheduled"].dt.strftime("%Y-%m-%dT%H:%M:%S")).to_json(orient="records")
    parsed: list[dict[str, Any]] = json.loads(text)
    return parsed


@pytest.fixture(scope="module")
def client(model_file: Path, sample: pd.DataFrame, served: model.Model) -> Iterator[TestClient]:
    """The service in this process, under the contract that `modelyard package` would write."""
    shown = sample.head(20)
    here, predictions = project.find(ROOT), served.predict(shown).tolist()
    contract = contracts.derive(here, model=model_file, rows=requests(shown), predictions=predictions, version="7")
    contracts.write(contract, model_file.parent)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MODELYARD_MODELS", str(model_file.parent))
        with TestClient(Service.to_asgi()) as client:
            yield client


@pytest.fixture
def rows(sample: pd.DataFrame) -> list[dict[str, Any]]:
    """Flights as a client sends them."""
    return requests(sample.head(30))


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


def test_columns_are_answered_as_rows(client: TestClient, rows: list[dict[str, Any]]) -> None:
    """A thousand flights as columns get what they get as rows."""
    many = (rows * 34)[:1000]
    columns = {name: [row[name] for row in many] for name in INPUTS}
    answer = client.post("/predict_columns", json={"columns": columns})

    assert answer.status_code == 200
    assert answer.json() == client.post("/predict", json={"rows": many}).json()


def test_it_is_ready(client: TestClient) -> None:
    """The probes answer."""
    assert client.get("/readyz").status_code == 200
    assert client.get("/livez").status_code == 200


BAD: dict[str, dict[str, Any]] = {
    "out of range": {"temp": 1000},
    "wrong type": {"distance": "far"},
    "unknown field": {"{{ cookiecutter.__label }}": 1},
    "null where it must be known": {"carrier": None},
    "a time with a zone": {"scheduled": "2013-01-01T05:15:00Z"},
    "lower case": {"dest": "iah"},
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


def test_a_carrier_never_seen_is_answered_and_counted(client: TestClient, rows: list[dict[str, Any]]) -> None:
    """It is no fault of the client's, and somebody should know."""
    answer = client.post("/predict", json={"rows": [rows[0] | {"carrier": "ZZ"}]})

    assert answer.status_code == 200
    assert 'modelyard_unseen_total{column="carrier"} 1.0' in client.get("/metrics").text


def test_a_request_holds_what_the_features_read(client: TestClient) -> None:
    """Documentation, schema and features name the same columns."""
    held = client.get("/docs.json").json()["components"]["schemas"]["Row"]["properties"]

    assert tuple(held) == INPUTS
    assert held["distance"] == {"type": "integer", "minimum": 10, "maximum": 5200, "multipleOf": 1, "title": "Distance"}


def test_missing_weather_is_nan(client: TestClient, sample: pd.DataFrame, served: model.Model) -> None:
    """Weather that is null, or left out, reaches the model as missing."""
    (row,) = requests(sample.head(1))
    known = {name: value for name, value in row.items() if name != "temp"}
    expected = served.predict(sample.head(1).assign(temp=float("nan"))).tolist()

    for sent in (known, known | {"temp": None}):
        assert client.post("/predict", json={"rows": [sent]}).json()["predictions"] == pytest.approx(expected, abs=1e-5)


def test_it_is_lean(client: TestClient, rows: list[dict[str, Any]], model_file: Path) -> None:
    """Serving imports nothing that only training needs."""
    code = """
import json, sys
from starlette.testclient import TestClient
from {{ cookiecutter.package }}.service import Service
with TestClient(Service.to_asgi()) as client:
    assert client.post("/predict", json={"rows": json.loads(sys.argv[1])}).status_code == 200
print(*sys.modules)
"""
    env = {"PYTHONPATH": str(Path(__file__).parents[1] / "src"), "MODELYARD_MODELS": str(model_file.parent)}
    command = [sys.executable, "-c", code, json.dumps(rows)]
    done = subprocess.run(command, env=env, capture_output=True, text=True, check=True)
    imported = set(done.stdout.split())

    assert {"onnxruntime", "modelyard.serve.service"} <= imported
    assert {"pandas", "sklearn", "mlflow", "pandera"}.isdisjoint(imported)
    own = {name for name in imported if name.startswith("modelyard.")}
    assert {name for name in own if not name.startswith("modelyard.serve")} == set()
