"""The registry, on the embedded store and on a real MLflow server."""

from __future__ import annotations

import hashlib
import os
import shutil
import signal
import socket
import sqlite3
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from modelyard import git, registry, state
from modelyard.errors import RegistryError

NAME = "flights"


@pytest.fixture(scope="session")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a small ONNX file: a linear model of two inputs."""
    from skl2onnx import to_onnx
    from sklearn.linear_model import LinearRegression

    x = np.array([[0, 0], [1, 0], [0, 1]], dtype=np.float32)
    path = tmp_path_factory.mktemp("model") / "model.onnx"
    path.write_bytes(to_onnx(LinearRegression().fit(x, [0, 1, 2]), x).SerializeToString())
    return path


@pytest.fixture(scope="session")
def pristine(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return an empty store; making one takes a second, so tests copy it."""
    folder = tmp_path_factory.mktemp("pristine")
    registry.connect(folder)
    return folder


@pytest.fixture
def embedded(tmp_path: Path, pristine: Path) -> registry.Registry:
    shutil.copytree(pristine, tmp_path / "state")
    return registry.connect(tmp_path / "state")


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Run an MLflow server on a free port of the loopback; its address."""
    folder = tmp_path_factory.mktemp("server")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    address = f"http://127.0.0.1:{port}"
    command = [sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(port), "--workers", "1"]
    stores = ["--backend-store-uri", f"sqlite:///{folder / 'server.db'}", "--artifacts-destination", str(folder / "artifacts")]
    quick = {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false", "MLFLOW_DISABLE_TELEMETRY": "true"}
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen([*command, *stores], cwd=folder, env=os.environ | quick, stdout=log, stderr=log, start_new_session=True)
    try:
        for _ in range(300):
            try:
                urllib.request.urlopen(f"{address}/health", timeout=1)
                break
            except OSError:
                assert process.poll() is None, (folder / "log").read_text()
                time.sleep(0.2)
        yield address
    finally:
        os.killpg(process.pid, signal.SIGKILL)  # with its workers; nothing of it is kept
        process.wait(timeout=30)


@pytest.fixture
def remote(server: str, monkeypatch: pytest.MonkeyPatch) -> registry.Registry:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", server)
    return registry.connect(None)


@pytest.fixture(params=["embedded", pytest.param("remote", marks=pytest.mark.slow)])
def any_registry(request: pytest.FixtureRequest) -> registry.Registry:
    """Return the same interface on both stores."""
    found: registry.Registry = request.getfixturevalue(request.param)
    return found


def log(connection: registry.Registry, tmp_path: Path, **artifacts: str) -> str:
    files = {}
    for name, text in {"evaluate.json": "{}", **artifacts}.items():
        files[name] = tmp_path / f"local-{name.replace('/', '-')}"
        files[name].write_text(text)
    return registry.log_run(
        connection, experiment=NAME, name="train", params={"trees": 60}, metrics={"auc": 0.7}, tags={"trigger": "push"}, artifacts=files
    )


def register(connection: registry.Registry, run_id: str, model: Path, name: str = NAME, **tags: str) -> registry.Version:
    sha256 = hashlib.sha256(model.read_bytes()).hexdigest()
    return registry.register(connection, name=name, run_id=run_id, model=model, sha256=sha256, tags=tags)


def test_run_is_logged(any_registry: registry.Registry, tmp_path: Path) -> None:
    """A run keeps parameters, metrics, tags, parent and artifacts under the paths that were asked for, and is finished."""
    parent = log(any_registry, tmp_path)
    run_id = registry.log_run(
        any_registry,
        experiment=NAME,
        name="child",
        params={f"p{number}": number for number in range(150)},
        metrics={"auc": 0.75, "mae": float("nan")},
        tags={"trigger": "push"},
        artifacts={"reports/deep/evaluate.json": _file(tmp_path / "other-name.json", "evidence")},
        parent=parent,
    )
    run = any_registry.client.get_run(run_id)

    assert run.info.status == "FINISHED"
    assert (run.data.params["p149"], len(run.data.params)) == ("149", 150)
    assert run.data.metrics["auc"] == 0.75
    assert (run.data.tags["trigger"], run.data.tags["mlflow.parentRunId"]) == ("push", parent)
    assert registry.download(any_registry, run_id, "reports/deep/evaluate.json", tmp_path / "into").read_text() == "evidence"


def test_versions_and_aliases(any_registry: registry.Registry, tmp_path: Path, model: Path) -> None:
    """Versions are found by number and alias, aliases move, tags are set; what does not exist is None."""
    name = f"{NAME}-{tmp_path.name}"
    other = _file(tmp_path / "other.onnx", "another model")
    first = register(any_registry, log(any_registry, tmp_path), model, name, origin="test")
    second = register(any_registry, log(any_registry, tmp_path), other, name)
    registry.set_alias(any_registry, name, "champion", first.version)
    registry.set_tags(any_registry, name, first.version, {"verdict": "promote"})

    assert [version.version for version in registry.versions(any_registry, name)] == ["1", "2"]
    assert registry.get_version(any_registry, name, "2") == second
    champion = registry.get_alias(any_registry, name, "champion")
    assert champion is not None
    assert (champion.run_id, champion.sha256) == (first.run_id, first.sha256)
    assert champion.tags == {"origin": "test", "verdict": "promote", "sha256": first.sha256}
    registry.set_alias(any_registry, name, "champion", second.version)
    assert registry.get_alias(any_registry, name, "champion") == second
    assert registry.get_version(any_registry, name, "3") is None
    assert registry.get_alias(any_registry, name, "challenger") is None
    assert registry.get_alias(any_registry, "nobody", "champion") is None
    assert registry.versions(any_registry, "nobody") == []


def test_registration_is_idempotent(any_registry: registry.Registry, tmp_path: Path, model: Path) -> None:
    """A file that is registered already keeps its version, whatever run brings it again."""
    name = f"{NAME}-{tmp_path.name}"
    first = register(any_registry, log(any_registry, tmp_path), model, name)

    assert register(any_registry, log(any_registry, tmp_path), model, name) == first
    assert len(registry.versions(any_registry, name)) == 1


def test_mlflow_loads_the_champion(any_registry: registry.Registry, tmp_path: Path, model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """MLflow itself resolves models:/name@alias: the downloaded file has the registered bytes, and the model predicts."""
    import mlflow

    name = f"{NAME}-{tmp_path.name}"
    version = register(any_registry, log(any_registry, tmp_path), model, name)
    registry.set_alias(any_registry, name, "champion", version.version)
    uri = os.environ.get("MLFLOW_TRACKING_URI")
    if any_registry.folder:
        # A replica elsewhere, the first one gone: nothing may point back.
        (tmp_path / "project").mkdir()
        (tmp_path / "project/modelyard.yaml").touch()
        shutil.move(any_registry.folder, tmp_path / "project" / state.FOLDER)
        monkeypatch.chdir(tmp_path / "project")
        uri = f"sqlite:///{state.FOLDER}/mlflow.db"
    mlflow.set_tracking_uri(uri)
    mlflow.set_registry_uri(uri)
    try:
        found = Path(mlflow.artifacts.download_artifacts(f"models:/{name}@champion", dst_path=str(tmp_path / "found")))
        predicted = mlflow.pyfunc.load_model(f"models:/{name}@champion").predict(np.array([[1, 1]], dtype=np.float32))
    finally:
        mlflow.set_tracking_uri(None)
        mlflow.set_registry_uri(None)

    assert (found / "model.onnx").read_bytes() == model.read_bytes()
    assert next(iter(predicted.values())).item() == pytest.approx(3.0, abs=1e-5)


def test_missing_artifact(any_registry: registry.Registry, tmp_path: Path) -> None:
    """An artifact or a run that does not exist is an error of the registry, in one line."""
    run_id = log(any_registry, tmp_path)

    for run, path in ((run_id, "nothing.json"), ("0" * 32, "evaluate.json")):
        with pytest.raises(RegistryError) as caught:
            registry.download(any_registry, run, path, tmp_path / "into")
        assert "\n" not in caught.value.what


def test_database_names_no_place_and_no_person(embedded: registry.Registry, tmp_path: Path, model: Path) -> None:
    """Neither the database nor the artifacts hold a path of this machine or the login's name."""
    run_id = log(embedded, tmp_path)
    register(embedded, run_id, model)
    registry.set_alias(embedded, NAME, "champion", "1")
    assert embedded.folder is not None
    everything = b"".join(path.read_bytes() for path in embedded.folder.rglob("*") if path.is_file())

    for secret in (tmp_path, tmp_path.parent, Path.cwd(), Path.home(), sys.prefix):
        assert str(secret).encode() not in everything
    with sqlite3.connect(embedded.folder / "mlflow.db") as database:
        places = [row[0] for row in database.execute("select artifact_location from experiments union select artifact_uri from runs")]
    assert len(places) == 3
    assert all(place.startswith("state:/") for place in places)


def test_nothing_is_written_twice(embedded: registry.Registry, tmp_path: Path, model: Path) -> None:
    """Setting an alias or a tag that is set, and registering what is registered, leaves the database's bytes alone."""
    assert embedded.folder is not None
    run_id = log(embedded, tmp_path)

    def settle() -> bytes:
        version = register(embedded, run_id, model)
        registry.set_alias(embedded, NAME, "champion", version.version)
        registry.set_tags(embedded, NAME, version.version, {"verdict": "promote"})
        registry.connect(embedded.folder)
        return (embedded.folder / "mlflow.db").read_bytes()  # type: ignore[operator]

    assert settle() == settle()


def test_transaction_and_replica(tmp_path: Path, pristine: Path, model: Path) -> None:
    """What transactions register is read from the replicas, also through a connection from before, and two connections do not mix."""
    git.run("init", "--quiet", "--bare", "origin.git", cwd=tmp_path)
    roots = [tmp_path / "mine", tmp_path / "theirs"]
    for root in roots:
        git.run("clone", "--quiet", "origin.git", root.name, cwd=tmp_path)
    state.transact(roots[0], lambda folder: shutil.copytree(pristine, folder, dirs_exist_ok=True), "empty store")
    reader = registry.connect(roots[0] / state.FOLDER)
    assert registry.versions(reader, NAME) == []

    def apply(folder: Path) -> registry.Version:
        writer = registry.connect(folder)
        version = register(writer, log(writer, tmp_path), model)
        assert registry.versions(reader, NAME) == []
        registry.set_alias(writer, NAME, "champion", version.version)
        return version

    version = state.transact(roots[0], apply, "register")

    assert registry.get_alias(reader, NAME, "champion") == version
    assert registry.download(reader, version.run_id, "evaluate.json", tmp_path / "into").read_text() == "{}"
    state.pull(roots[1])
    theirs = registry.connect(roots[1] / state.FOLDER)
    assert registry.get_alias(theirs, NAME, "champion") == version
    assert registry.download(theirs, version.run_id, "model/model.onnx", tmp_path / "theirs-model").read_bytes() == model.read_bytes()
    assert state.VARIABLE not in os.environ


def test_embedded_store_is_quiet(tmp_path: Path) -> None:
    """Making and using the embedded store prints nothing: stdout is for reports."""
    program = (
        "import sys; from pathlib import Path; from modelyard import registry; registry.versions(registry.connect(Path(sys.argv[1])), 'x')"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, str(tmp_path / "state")], capture_output=True, text=True, check=True, cwd=tmp_path
    )

    assert (done.stdout, done.stderr) == ("", "")
    assert [path.name for path in tmp_path.rglob("*")] == ["state", "mlflow.db"]


def test_store_of_an_older_mlflow_is_upgraded(tmp_path: Path) -> None:
    """A store with an earlier schema of MLflow is brought to the installed one's, and its runs are still there."""
    import sqlalchemy
    from alembic import command
    from mlflow.store.db.utils import _get_alembic_config
    from mlflow.store.tracking.dbmodels.initial_models import Base

    uri = f"sqlite:///{tmp_path / 'mlflow.db'}"
    engine = sqlalchemy.create_engine(uri)
    Base.metadata.create_all(engine)
    command.upgrade(_get_alembic_config(uri), "head-1")
    with engine.begin() as connection:
        columns = "experiment_id, name, artifact_location, lifecycle_stage"
        connection.execute(sqlalchemy.text(f"insert into experiments ({columns}) values (7, 'old', 'state:/old', 'active')"))
    engine.dispose()

    assert registry.connect(tmp_path).client.get_experiment_by_name("old").experiment_id == "7"


def test_store_of_a_newer_mlflow_is_refused(embedded: registry.Registry) -> None:
    """A store that a newer MLflow wrote is left alone, and the error says which environment to use."""
    assert embedded.folder is not None
    with sqlite3.connect(embedded.folder / "mlflow.db") as database:
        database.execute("update alembic_version set version_num = 'feedbeef'")
    before = (embedded.folder / "mlflow.db").read_bytes()

    with pytest.raises(RegistryError, match="written by another version"):
        registry.connect(embedded.folder)

    assert (embedded.folder / "mlflow.db").read_bytes() == before


def test_unreachable_server(monkeypatch: pytest.MonkeyPatch) -> None:
    """A server that does not answer is named, with what to check."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        address = f"http://127.0.0.1:{probe.getsockname()[1]}"
        monkeypatch.setenv("MLFLOW_TRACKING_URI", address)
        monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")

        with pytest.raises(RegistryError, match=address) as caught:
            registry.versions(registry.connect(None), NAME)

    assert "MLFLOW_TRACKING_URI" in caught.value.fix


def test_server_or_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """MLFLOW_TRACKING_URI decides for the server, and the state folder stays untouched; with neither there is nothing to connect to."""
    assert registry.is_remote() is False
    with pytest.raises(RegistryError, match="no MLflow store"):
        registry.connect(None)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")

    assert registry.is_remote() is True
    assert registry.connect(tmp_path).folder is None
    assert list(tmp_path.iterdir()) == []


def test_state_addresses_stay_inside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A state:/ address that climbs out of the store is refused; outside a project the error names the variable."""
    from mlflow.exceptions import MlflowException

    from modelyard.artifacts import StateArtifactRepository

    monkeypatch.chdir(tmp_path)
    with pytest.raises(MlflowException, match=state.VARIABLE):
        StateArtifactRepository("state:/flights").list_artifacts()
    monkeypatch.setenv(state.VARIABLE, str(tmp_path))
    with pytest.raises(MlflowException, match="leaves the store"):
        StateArtifactRepository("state:/../../etc").list_artifacts()


def _file(path: Path, text: str) -> Path:
    path.write_text(text)
    return path
