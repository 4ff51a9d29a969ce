"""The whole service around a small model, in this process."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from starlette.testclient import TestClient
from unit.mini_service import ROW, expected, samples, write_model, write_package

from modelyard.serve import service
from modelyard.serve.contract import FILE, MODEL
from modelyard.serve.start import RefusedError


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """Return the name of a package that can be imported, beside an empty ``models``."""
    name = "served_" + hashlib.sha256(str(tmp_path).encode()).hexdigest()[:12]
    write_package(tmp_path, name)
    monkeypatch.syspath_prepend(str(tmp_path))
    return name


@contextmanager
def client(package: str) -> Iterator[TestClient]:
    module = __import__(f"{package}.service", fromlist=["Service"])
    with TestClient(module.Service.to_asgi()) as made:
        yield made


def test_rows_and_columns_are_answered_alike(package: str, tmp_path: Path) -> None:
    """With the model that answered, and the request's id."""
    contract = write_model(tmp_path / "models")
    rows = [{**ROW, "x": x} for x in (-1.0, None, 3.0)]
    with client(package) as served:
        answer = served.post("/predict", json={"rows": rows}, headers={"X-Request-Id": "r-7"})
        columns = served.post("/predict_columns", json={"columns": {name: [row[name] for row in rows] for name in ROW}})

    assert answer.status_code == columns.status_code == 200
    assert answer.json() == columns.json()
    assert answer.json()["predictions"] == pytest.approx([expected(-1), expected(0), expected(3)])
    assert answer.json()["model"] == {
        "name": "mini",
        "version": "7",
        "sha256": contract.sha256,
        "provider": "CPUExecutionProvider",
        "role": "champion",
    }
    assert answer.headers["x-request-id"] == "r-7"


def test_the_other_endpoints(package: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Probes, the model's origin, documentation; what is not there is 404, and a wrong method 405."""
    write_model(tmp_path / "models", commit="abc")
    monkeypatch.setenv("MODELYARD_VARIANT", "cpu")
    with client(package) as served:
        assert {served.get(path).status_code for path in ("/healthz", "/livez", "/readyz", "/metrics")} == {200}
        about = served.get("/model").json()
        assert (about["task"], about["run_id"], about["commit"], about["variant"]) == ("binary", "r1", "abc", "cpu")
        document = served.get("/openapi.json").json()
        assert document == served.get("/docs.json").json()
        assert served.get("/predict").status_code == 405
        assert served.get("/docs").json() == {"error": "Not Found", "detail": []}

    assert set(document["components"]["schemas"]["Row"]["properties"]) == set(ROW)
    assert set(document["paths"]["/predict"]["post"]["responses"]) == {"200", "400", "408", "413", "415", "500", "503"}


def test_metrics_count_what_happens(package: str, tmp_path: Path) -> None:
    """Requests, errors, rows, predictions, gaps and texts never seen."""
    write_model(tmp_path / "models")
    with client(package) as served:
        served.post("/predict", json={"rows": [{**ROW, "x": None}, {**ROW, "group": "new"}, {**ROW, "x": -8}]})
        served.post("/predict", json={"rows": [{**ROW, "x": "1"}]})
        served.get("/somewhere")
        found = samples(served.get("/metrics").text)

    assert found['requests_total{endpoint="/predict",status="200"}'] == 1
    assert found['requests_total{endpoint="/predict",status="400"}'] == 1
    assert found['requests_total{endpoint="other",status="404"}'] == 1
    assert found['errors_total{kind="invalid"}'] == 1
    assert found['request_seconds_count{endpoint="/predict"}'] == 2
    assert (found["batch_rows_count"], found["batch_rows_sum"]) == (1, 3)
    assert (found['prediction_bucket{le="0.25"}'], found['prediction_bucket{le="0.5"}'], found["prediction_count"]) == (1, 2, 3)
    assert found["prediction_sum"] == pytest.approx(expected(-8) + 0.5 + expected(0.5))
    assert found['missing_total{column="x"}'] == 1
    assert found['unseen_total{column="group"}'] == 1
    assert found["fallback_total"] == found["log_lost_total"] == found["shadow_skipped_total"] == 0
    assert any(name.startswith('model_info{name="mini"') for name in found)


@pytest.mark.parametrize("group", ["secret-fails", "secret-nan"])
def test_a_model_that_fails_is_503_and_keeps_the_data_to_itself(
    package: str, tmp_path: Path, group: str, caplog: pytest.LogCaptureFixture
) -> None:
    """It raises, or gives what is no number; the next request is answered as ever."""
    write_model(tmp_path / "models")
    with client(package) as served:
        answer = served.post("/predict", json={"rows": [{**ROW, "group": group}]})
        assert served.post("/predict", json={"rows": [ROW]}).status_code == 200
        found = samples(served.get("/metrics").text)

    assert (answer.status_code, answer.headers["retry-after"]) == (503, "1")
    assert "secret" not in caplog.text + answer.text
    assert "The champion failed: ValueError in" in caplog.text
    assert (found['errors_total{kind="champion_failed"}'], found['errors_total{kind="unanswered"}']) == (1, 1)


def test_a_fallback_answers_and_says_so(package: str, tmp_path: Path) -> None:
    """A constant, or the champion before; which of them, is in the answer and in the metrics."""
    bad = {"rows": [{**ROW, "group": "secret-nan"}, ROW]}
    write_model(tmp_path / "models", fallback={"by": "constant", "constant": 0.25})
    with client(package) as served:
        answer = served.post("/predict", json=bad).json()
        found = samples(served.get("/metrics").text)
    assert answer["predictions"] == [0.25, 0.25]
    assert (answer["model"]["role"], answer["model"]["version"], answer["model"]["sha256"]) == ("fallback", "", "")
    assert found["fallback_total"] == 1

    write_model(tmp_path / "models", fallback={"by": "previous"})
    before = write_model(tmp_path / "models/previous", slope=1.0, version="6", model={"robust": True})
    with client(package) as served:
        answer = served.post("/predict", json=bad).json()
        assert served.post("/predict", json={"rows": [ROW]}).json()["model"]["role"] == "champion"
    assert answer["predictions"] == pytest.approx([expected(0.5, 1.0)] * 2)
    assert (answer["model"]["role"], answer["model"]["version"], answer["model"]["sha256"]) == ("fallback", "6", before.sha256)


def test_answers_are_logged_and_given_to_the_shadow(package: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One line for each answer, and one for each that the shadow gave too; refused requests have none."""
    write_model(tmp_path / "models", shadow=1.0)
    write_model(tmp_path / "shadow", slope=1.0, version="8")
    monkeypatch.setenv("MODELYARD_LOG", str(tmp_path / "log"))
    monkeypatch.setenv("MODELYARD_SHADOW", str(tmp_path / "shadow"))
    with client(package) as served:
        served.post("/predict", json={"rows": [ROW], "ids": ["p"]}, headers={"X-Request-Id": "one"})
        served.post("/predict", json={"rows": [{}]})
    lines = [json.loads(line) for path in (tmp_path / "log").glob("*.jsonl") for line in path.read_text().splitlines()]

    assert {(line["role"], line["version"], line["request_id"], *line["ids"]) for line in lines} == {
        ("champion", "7", "one", "p"),
        ("shadow", "8", "one", "p"),
    }
    assert sorted(line["predictions"][0] for line in lines) == pytest.approx([expected(0.5, 1.0), expected(0.5)])
    assert lines[0]["columns"] == {"at": ["2013-01-01T00:00:00"], "x": [0.5], "group": ["a"]}


Spoil = Callable[[Path, pytest.MonkeyPatch], object]

REFUSED: dict[str, tuple[Spoil, str]] = {
    "no contract": (lambda f, _: (f / FILE).unlink(), "serving.json is missing. Run `modelyard package`"),
    "a damaged contract": (lambda f, _: (f / FILE).write_text("{"), "serving.json is damaged"),
    "no model": (lambda f, _: (f / MODEL).unlink(), "model.onnx: No such file"),
    "another model": (lambda f, _: (f / MODEL).write_text('{"slope": 3}'), "serving.json names"),
    "not the one that the deployment names": (lambda _, p: p.setenv("MODELYARD_SHA256", "f" * 64), "MODELYARD_SHA256 names ffffffffffff"),
    "a model that cannot be opened": (lambda f, _: write_model(f, model={"depth": 1}), "cannot be opened: TypeError"),
    "a column that requests do not hold": (
        lambda f, _: write_model(f, model={"reads": "y"}),
        "a column that serving.json does not hold: 'y'",
    ),
    "a column of another kind": (lambda f, _: write_model(f, model={"reads": "group"}), "fails on rows made from serving.json: ValueError"),
    "not one number a row": (lambda f, _: write_model(f, model={"outputs": 2}), r"shape \(1, 2\) for 1 rows, not one number a row"),
    "too slow": (lambda f, _: write_model(f, limits={"rows": 10_000, "seconds": 1e-9}), "10000 rows take .* allow less rows"),
    "no GPU": (lambda _, p: p.setenv("MODELYARD_VARIANT", "gpu"), "MODELYARD_ALLOW_CPU=1"),
    "a shadow without a log": (lambda f, p: p.setenv("MODELYARD_SHADOW", str(f)), "MODELYARD_SHADOW needs MODELYARD_LOG"),
    "a damaged champion before": (
        lambda f, _: (write_model(f, fallback={"by": "previous"}), (f / "previous").mkdir()),
        "previous/serving.json",
    ),
}


@pytest.mark.parametrize("fault", REFUSED)
def test_it_does_not_start_with(package: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fault: str) -> None:
    """Each is told in one sentence."""
    spoil, words = REFUSED[fault]
    write_model(tmp_path / "models")
    spoil(tmp_path / "models", monkeypatch)

    with pytest.raises(RefusedError, match=words), client(package):
        pass


def test_the_gpu_image_may_be_allowed_to_use_the_cpu(package: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By name; and where there is a GPU, nothing need be allowed."""
    monkeypatch.setenv("MODELYARD_VARIANT", "gpu")
    write_model(tmp_path / "models", model={"provider": "CUDAExecutionProvider"})
    with client(package) as served:
        assert served.get("/model").json()["provider"] == "CUDAExecutionProvider"

    write_model(tmp_path / "models")
    monkeypatch.setenv("MODELYARD_ALLOW_CPU", "1")
    with client(package) as served:
        assert served.get("/model").json()["provider"] == "CPUExecutionProvider"


def test_models_lie_beside_the_package_or_where_the_environment_says(package: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In a Bento beside it; in a project beside src; else MODELYARD_MODELS."""
    load = __import__(f"{package}.model", fromlist=["load"]).load

    assert service.models(load) == tmp_path.parent / "models"
    write_model(tmp_path / "models")
    assert service.models(load) == tmp_path / "models"
    monkeypatch.setenv("MODELYARD_MODELS", "/elsewhere")
    assert service.models(load) == Path("/elsewhere")


@pytest.mark.parametrize(("given", "workers"), [("", "cpu_count"), ("cpu_count", "cpu_count"), ("3", 3)])
def test_workers_are_as_many_as_asked_for(package: str, monkeypatch: pytest.MonkeyPatch, given: str, workers: int | str) -> None:
    """One for each processor where nobody asks; each with one thread for what computes with OpenMP."""
    monkeypatch.setenv("MODELYARD_WORKERS", given)
    made = __import__(f"{package}.service", fromlist=["Service"]).Service

    assert made.config["workers"] == workers
    assert [(variable.name, variable.value) for variable in made.envs] == [("OMP_NUM_THREADS", "1")]


@pytest.mark.parametrize("given", ["0", "-1", "two", "1.5"])
def test_a_number_of_workers_that_is_none_is_refused(package: str, monkeypatch: pytest.MonkeyPatch, given: str) -> None:
    """At the import of the service, so before anything is started."""
    monkeypatch.setenv("MODELYARD_WORKERS", given)

    with pytest.raises(RefusedError, match="a whole number from 1 on"):
        __import__(f"{package}.service", fromlist=["Service"])


def test_the_runtime_is_lean(package: str, tmp_path: Path) -> None:
    """What the image holds suffices: nothing of training, no other module of the toolkit, no tracing, no FastAPI."""
    code = f"import sys; from {package}.service import Service; Service.to_asgi(); print(*sys.modules)"
    write_model(tmp_path / "models")
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True)
    imported = set(done.stdout.split())

    assert {"bentoml", "modelyard.serve.application"} <= imported
    assert {"pandas", "sklearn", "mlflow", "pandera", "scipy", "fastapi", "opentelemetry.instrumentation.asgi"}.isdisjoint(imported)
    own = {name for name in imported if name.startswith("modelyard.")}
    assert {name for name in own if not name.startswith("modelyard.serve")} == set()
