"""Can the artifact serve: a real ONNX file, timed, weighed and compared; versions from files as they lie in projects."""

from __future__ import annotations

import importlib
import json
import sys
import time
from collections.abc import Callable, Iterator
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn.compose import make_column_transformer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline

from modelyard import export, policy
from modelyard.evaluate import readiness, versions
from modelyard.evaluate.readiness import Measurement, Readiness, Timing, judge, measure

MODEL = """
import numpy as np
import onnxruntime

class Model:
    def __init__(self, session):
        self.session = session

    def predict(self, batch):
        assert batch["time"].dtype.kind == "M"
        inputs = {name: np.asarray(batch[name], dtype=np.float32).reshape(-1, 1) for name in ("x", "y")}
        return np.asarray(self.session.run(None, inputs)[-1], dtype=float)[:, -1]

def load(path):
    return Model(onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"]))
"""


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A package that loads a logistic regression, the file, and rows recorded with its predictions."""
    root = tmp_path_factory.mktemp("ready")
    (root / "src/ready_mini").mkdir(parents=True)
    (root / "src/ready_mini/__init__.py").write_text("")
    (root / "src/ready_mini/model.py").write_text(MODEL)
    draw = np.random.default_rng(0)
    inputs = {name: draw.normal(size=200).astype(np.float32) for name in ("x", "y")}
    pipeline = make_pipeline(make_column_transformer(("passthrough", ["x", "y"])), LogisticRegression()).fit(
        pd.DataFrame(inputs), (inputs["x"] > 0).astype(int)
    )
    content = export.to_onnx(pipeline, inputs)
    (root / "model.onnx").write_bytes(content)
    rows = [{"time": f"2013-01-{i + 1:02d}T00:00:00", "x": float(inputs["x"][i]), "y": float(inputs["y"][i])} for i in range(20)]
    record = {"rows": rows, "predictions": export.predict(content, inputs)[:20].tolist()}
    (root / "examples.json").write_text(json.dumps(record))
    sys.path.insert(0, str(root / "src"))
    yield root
    sys.path.remove(str(root / "src"))


@pytest.fixture
def load(project: Path) -> Callable[[Path], Any]:
    found: Callable[[Path], Any] = importlib.import_module("ready_mini.model").load
    return found


def _checks(found: Readiness) -> dict[str, str]:
    return {check.name: check.status for check in found.checks}


def test_a_real_model_is_measured_in_all_respects(project: Path, load: Callable[[Path], Any]) -> None:
    """Times in order of size, memory of another process, the file's size, and the recorded predictions again."""
    found = measure(
        project / "model.onnx", project / "examples.json", load, time_column="time", source=project / "src", package="ready_mini"
    )

    assert found.problems == {}
    assert found.single is not None
    assert found.batch is not None
    assert (found.single.rows, found.batch.rows) == (1, 100)
    assert 0 < found.single.p50_ms <= found.single.p99_ms
    assert found.size_mb == (project / "model.onnx").stat().st_size / 1e6
    assert found.memory_mb is not None
    assert 0 < found.memory_mb < 200
    assert found.difference == 0
    status = _checks(judge(found, policy.Readiness(p99_ms=10_000, size_mb=1, memory_mb=200)))
    assert status == {
        "latency of one row": "passed",
        "latency of 100 rows": "noted",
        "memory": "passed",
        "size": "passed",
        "parity": "passed",
    }


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(readiness, "SECONDS", 0.05)
    monkeypatch.setattr(readiness, "ROUND_SECONDS", 0.05)


@pytest.mark.usefixtures("quick")
def test_predictions_that_do_not_come_again_fail(project: Path, load: Callable[[Path], Any], tmp_path: Path) -> None:
    """By 2e-5, and because the model does not answer the recorded rows at all."""
    record = json.loads((project / "examples.json").read_text())
    other, odd = tmp_path / "other.json", tmp_path / "odd.json"
    other.write_text(json.dumps({**record, "predictions": [p + 2e-5 for p in record["predictions"]]}))
    odd.write_text(json.dumps({**record, "rows": [{"z": 1} for _ in record["rows"]]}))

    first, second = (judge(measure(project / "model.onnx", path, load, time_column="time"), policy.Readiness()) for path in (other, odd))

    assert _checks(first)["parity"] == "failed"
    assert "up to 2e-05" in next(c.message for c in first.checks if c.name == "parity")
    assert _checks(second)["parity"] == "failed"
    assert "KeyError: 'time'" in next(c.message for c in second.checks if c.name == "parity")


@pytest.mark.usefixtures("quick")
def test_nothing_recorded_is_unknown_and_limits_on_what_was_not_measured_too(
    project: Path, load: Callable[[Path], Any], tmp_path: Path
) -> None:
    """No examples: no parity, no times, no memory; without a limit that is only noted."""
    found = measure(project / "model.onnx", tmp_path / "none.json", load, time_column="time", source=project / "src", package="ready_mini")

    free, bound = judge(found, policy.Readiness()), judge(found, policy.Readiness(p99_ms=5, memory_mb=5, size_mb=5))

    assert _checks(free)["parity"] == _checks(bound)["parity"] == "unknown"
    assert {_checks(free)[name] for name in ("latency of one row", "memory")} == {"noted"}
    assert {_checks(bound)[name] for name in ("latency of one row", "memory")} == {"unknown"}
    assert _checks(bound)["size"] == "passed"


@pytest.mark.usefixtures("quick")
def test_memory_that_cannot_be_told_says_why(project: Path, load: Callable[[Path], Any]) -> None:
    """The last words of the process that should have loaded the model."""
    found = measure(
        project / "model.onnx", project / "examples.json", load, time_column="time", source=project / "src", package="absent_package"
    )

    assert found.memory_mb is None
    assert "No module named 'absent_package'" in found.problems["memory"]


class _Waits:
    def __init__(self, seconds: Callable[[int], float]) -> None:
        self.calls, self.seconds = 0, seconds

    def predict(self, batch: pd.DataFrame) -> np.ndarray:
        self.calls += 1
        time.sleep(self.seconds(self.calls))
        return np.zeros(len(batch))


def test_a_slow_model_is_timed_within_bounds_and_fails_its_limit(project: Path) -> None:
    """20 ms a call: few calls are made, and the time is not put down to the neighbours."""
    start = time.perf_counter()
    found = measure(project / "model.onnx", project / "examples.json", lambda path: _Waits(lambda call: 0.02), time_column="time")

    assert time.perf_counter() - start < 10
    assert found.single is not None
    assert found.single.p50_ms >= 20
    assert _checks(judge(found, policy.Readiness(p99_ms=10)))["latency of one row"] == "failed"


def _timing(**given: float) -> Measurement:
    usual = {"rows": 1, "p50_ms": 1.0, "p99_ms": 2.0, "cpu_p99_ms": 1.5, "calls": 100, "rounds": 20}
    return Measurement(single=Timing(**{**usual, **given}), difference=0.0, compared=20, size_mb=1.0)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("timing", "status"),
    [
        (_timing(p99_ms=4.9), "passed"),
        (_timing(p99_ms=9, cpu_p99_ms=8), "failed"),
        (_timing(p99_ms=9, p50_ms=6), "failed"),
        (_timing(p99_ms=9), "inconclusive"),
    ],
    ids=["under", "it works too long", "it waits in the median", "only the machine was busy"],
)
def test_a_busy_machine_is_not_taken_for_a_slow_model(timing: Measurement, status: str) -> None:
    """5 ms are allowed; what decides is told."""
    found = judge(timing, policy.Readiness(p99_ms=5))

    assert _checks(found)["latency of one row"] == status
    assert "99th percentile of 100 calls, best of 20 rounds" in found.checks[0].message


@pytest.mark.parametrize(("size", "status"), [(10.0, "passed"), (10.1, "failed")])
def test_a_limit_may_be_reached_and_not_crossed(size: float, status: str) -> None:
    """In units of the policy."""
    found = judge(Measurement(size_mb=size, memory_mb=20 * size), policy.Readiness(size_mb=10, memory_mb=200))

    assert (_checks(found)["size"], _checks(found)["memory"]) == (status, status)


SERVICE = {
    "__init__.py": "",
    "service.py": "import bentoml\nimport pydantic\nfrom mini import model\n",
    "model.py": "import os\nimport onnxruntime\nfrom mini.features import features\nfrom . import deep\n",
    "features.py": "from typing import TYPE_CHECKING\nimport numpy as np\nif TYPE_CHECKING:\n    import pandas\n",
    "deep/__init__.py": "def late():\n    from .again import x\n",
    "deep/again.py": "",
    "train.py": "import sklearn\n",
}


def _source(root: Path, **changed: str) -> Path:
    for name, text in {**SERVICE, **{key.replace("__", "/") + ".py": text for key, text in changed.items()}}.items():
        path = root / "src/mini" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return root / "src"


def test_what_the_service_imports_is_found_through_its_modules(tmp_path: Path) -> None:
    """Relative imports, imports in functions; not what only types need, nor what training imports, nor the standard library."""
    assert versions.imported(_source(tmp_path), "mini") == {"bentoml", "pydantic", "onnxruntime", "numpy"}
    assert "scikit-learn" in versions.imported(_source(tmp_path, deep__again="from sklearn import tree\n"), "mini")
    assert "helpers" in versions.imported(_source(tmp_path, model="import helpers\n"), "mini")
    assert versions.imported(tmp_path / "absent", "mini") == set()


def _lock(root: Path, **packages: str) -> Path:
    entries = "".join(f'[[package]]\nname = "{name}"\nversion = "{number}"\n' for name, number in packages.items())
    (root / "uv.lock").write_text(f'version = 1\n{entries}[[package]]\nname = "own"\nsource = {{ editable = "." }}\n')
    return root


def test_training_and_service_with_the_same_versions_pass(tmp_path: Path) -> None:
    """From the lock, and from what this environment would pin."""
    root = _lock(tmp_path, numpy=version("numpy"), onnxruntime=version("onnxruntime"))

    check = versions.judge(
        versions.training(root, tmp_path / "none.json"), versions.service(), versions.imported(_source(tmp_path), "mini")
    )

    assert check.status == "passed"
    assert check.message == f"Training and service: numpy {version('numpy')}, onnxruntime {version('onnxruntime')}."


def test_other_versions_a_missing_package_and_no_record_do_not_pass(tmp_path: Path) -> None:
    """Each with its name; what training recorded beside the model counts more than the lock."""
    root = _lock(tmp_path, numpy=version("numpy"), onnxruntime="1.0.0")
    examples = tmp_path / "examples.json"
    service, needed = versions.service(), {"numpy", "onnxruntime", "bentoml", "pydantic"}

    other = versions.judge(versions.training(root, examples), service, needed)
    assert (other.status, "onnxruntime 1.0.0 in training" in other.message) == ("failed", True)

    examples.write_text(json.dumps({"versions": {"NumPy": version("numpy"), "onnxruntime": version("onnxruntime")}}))
    assert versions.judge(versions.training(root, examples), service, needed).status == "passed"

    lacking = versions.judge(versions.training(root, examples), service, needed | {"scikit-learn"})
    assert (lacking.status, "imports scikit-learn" in lacking.message) == ("failed", True)

    assert versions.judge(versions.training(tmp_path / "absent", tmp_path / "absent"), service, needed).status == "unknown"
    assert versions.judge({"numpy": {version("numpy")}}, service, needed).status == "unknown"


def test_a_lock_with_several_versions_of_a_package_holds_each() -> None:
    """One for each Python or machine; the service's must be among them."""
    service = {"numpy": "2.4.6", "onnxruntime": "1.31.1"}

    assert versions.judge({"numpy": {"2.4.6", "2.2.0"}, "onnxruntime": {"1.31.1"}}, service, set()).status == "passed"
    assert versions.judge({"numpy": {"2.3.0", "2.2.0"}, "onnxruntime": {"1.31.1"}}, service, set()).status == "failed"


@pytest.mark.usefixtures("quick")
def test_a_project_is_measured_and_judged_by_its_policy(project: Path, tmp_path: Path) -> None:
    """Where all lies as the toolkit expects it, one call answers; a lock that was never made is unknown."""
    from modelyard.project import Project

    root = tmp_path / "project"
    (root / "models").mkdir(parents=True)
    for name in ("model.onnx", "examples.json"):
        (root / "models" / name).write_bytes((project / name).read_bytes())
    raw = {
        "name": "mini",
        "package": "ready_mini",
        "task": "binary",
        "data": {"start": "2013-01-01", "time": "time", "label": "late"},
        "evaluate": {"metric": "roc_auc", "readiness": {"size_mb": 0.0001}},
    }

    found = readiness.of(Project(root, policy.parse(raw, policy.Policy, "policy")))

    assert _checks(found)["size"] == "failed"
    assert _checks(found)["parity"] == "passed"
    assert _checks(found)["versions"] == "unknown"
    assert Readiness.model_validate_json(found.model_dump_json()) == found
