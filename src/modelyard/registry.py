"""MLflow: runs, artifacts, model versions and aliases, in the embedded store or on a server.

Together with its plugin (`modelyard.artifacts`) the only module that imports mlflow, which takes more than a second.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib.metadata import version as installed
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

import yaml

from modelyard import state
from modelyard.errors import RegistryError

if TYPE_CHECKING:
    from mlflow.entities.model_registry import ModelVersion
    from mlflow.tracking import MlflowClient

#: Where the model lies among a run's artifacts.
MODEL = "model"

#: Set before mlflow is imported, where nobody decided otherwise.
_SETTINGS = {
    "GIT_PYTHON_REFRESH": "quiet",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "3",  # its own 7 take four minutes to say that there is no server
    "MLFLOW_LOGGING_LEVEL": "WARNING",
    # Each use opens the file that has the name now: the replica's database is replaced, and a pooled connection keeps the old one.
    "MLFLOW_SQLALCHEMYSTORE_POOLCLASS": "NullPool",
}
_BATCH = 100  # parameters that MLflow takes in one call


@dataclass(frozen=True)
class Registry:
    """A connection: MLflow's client and, for the embedded store, the state folder that it reads or writes."""

    client: MlflowClient
    folder: Path | None


@dataclass(frozen=True, kw_only=True)
class Version:
    """One version of a registered model."""

    name: str
    version: str
    run_id: str
    sha256: str
    tags: Mapping[str, str] = field(default_factory=dict)


def is_remote() -> bool:
    """Whether a real MLflow server is configured (``MLFLOW_TRACKING_URI``); the state folder then holds no MLflow."""
    return bool(os.environ.get("MLFLOW_TRACKING_URI"))


def connect(folder: Path | None) -> Registry:
    """Connect to the server that is configured, else to the embedded store in a state folder, which is made where it is absent.

    Parameters
    ----------
    folder
        The replica for reading, a transaction's folder for writing; not used with a server.

    Raises
    ------
    RegistryError
        The store cannot be opened, or no store is given.
    """
    for name, value in _SETTINGS.items():
        os.environ.setdefault(name, value)
    from mlflow.tracking import MlflowClient

    if is_remote():
        with _calls(None):
            return Registry(MlflowClient(os.environ["MLFLOW_TRACKING_URI"]), None)
    if folder is None:
        raise RegistryError("There is no MLflow store to connect to.", "Set MLFLOW_TRACKING_URI, or run this inside a project.")
    database = folder.resolve() / state.DATABASE
    with _calls(folder):
        _prepare(database)
        return Registry(MlflowClient(f"sqlite:///{database}", f"sqlite:///{database}"), folder.resolve())


def log_run(
    registry: Registry,
    *,
    experiment: str,
    name: str,
    params: Mapping[str, object],
    metrics: Mapping[str, float],
    tags: Mapping[str, str],
    artifacts: Mapping[str, Path],
    parent: str | None = None,
) -> str:
    """Log a finished run.

    Parameters
    ----------
    artifacts
        Path among the run's artifacts -> local file.
    parent
        Id of the run that this one belongs to.

    Returns
    -------
    str
        The run's id.
    """
    from mlflow.entities import Metric, Param

    client, now = registry.client, int(time.time() * 1000)
    # Else MLflow notes the script's absolute path and the login name.
    anonymous = {"mlflow.source.name": "modelyard", "mlflow.source.type": "JOB", "mlflow.user": "modelyard"}
    family = {"mlflow.parentRunId": parent} if parent else {}
    with _calls(registry.folder):
        run_id = str(client.create_run(_experiment(registry, experiment), tags={**tags, **anonymous, **family}, run_name=name).info.run_id)
        listed_params = [Param(key, str(value)) for key, value in params.items()]
        listed_metrics = [Metric(key, float(value), now, 0) for key, value in metrics.items()]
        for start in range(0, max(len(listed_params), len(listed_metrics)), _BATCH):
            window = slice(start, start + _BATCH)
            client.log_batch(run_id, metrics=listed_metrics[window], params=listed_params[window])
        for path, file in artifacts.items():
            _log_file(registry, run_id, file, path)
        client.set_terminated(run_id)
    return run_id


def register(registry: Registry, *, name: str, run_id: str, model: Path, sha256: str, tags: Mapping[str, str]) -> Version:
    """Log the ONNX file with its run and make it a version of the registered model; a file that is registered already keeps its version.

    MLflow's own ``mlflow.onnx.log_model`` is not used: it imports onnx and writes the model anew, while its bytes, and so the SHA-256,
    must stay. What it would put beside the file is written here, so MLflow's ``onnx.load_model`` and ``pyfunc.load_model`` take
    ``models:/<name>@<alias>``.

    Parameters
    ----------
    sha256
        Of the file ``model``; kept as a tag, and what a version is known by.
    """
    for known in versions(registry, name):
        if known.sha256 == sha256:
            return known
    client = registry.client
    with _calls(registry.folder), tempfile.TemporaryDirectory() as folder:
        _write_model(Path(folder), model, run_id)
        client.log_artifacts(run_id, folder, MODEL)
        _ignore_existing(lambda: client.create_registered_model(name))
        source = f"{client.get_run(run_id).info.artifact_uri}/{MODEL}"
        made = client.create_model_version(name, source, run_id, tags={**tags, "sha256": sha256})
    return _version(made)


def versions(registry: Registry, name: str) -> list[Version]:
    """All versions of a registered model, oldest first; none where the name is not registered."""
    with _calls(registry.folder):
        page = registry.client.search_model_versions(f"name='{name}'")
        found = list(page)
        while page.token:
            page = registry.client.search_model_versions(f"name='{name}'", page_token=page.token)
            found.extend(page)
    return sorted(map(_version, found), key=lambda version: int(version.version))


def logical_dates(registry: Registry, experiment: str) -> list[str]:
    """Logical dates of the newest runs of an experiment; none where there is no such experiment."""
    with _calls(registry.folder):
        found = registry.client.get_experiment_by_name(experiment)
        if found is None:
            return []
        runs = registry.client.search_runs([found.experiment_id], max_results=100)
        return [run.data.tags["logical_date"] for run in runs if "logical_date" in run.data.tags]


def newest_tags(registry: Registry, experiment: str) -> dict[str, str]:
    """Tags of an experiment's newest run; empty where there is none."""
    return next((tags for _, tags in newest_runs(registry, experiment, 1)), {})


def newest_runs(registry: Registry, experiment: str, limit: int) -> list[tuple[str, dict[str, str]]]:
    """Id and tags of an experiment's newest runs, the newest first; none where there is no such experiment."""
    with _calls(registry.folder):
        found = registry.client.get_experiment_by_name(experiment)
        runs = registry.client.search_runs([found.experiment_id], max_results=limit, order_by=["start_time DESC"]) if found else []
        return [(str(run.info.run_id), dict(run.data.tags)) for run in runs]


def get_version(registry: Registry, name: str, version: str) -> Version | None:
    """A version by its number; None where it does not exist."""
    return next((known for known in versions(registry, name) if known.version == version), None)


def get_alias(registry: Registry, name: str, alias: str) -> Version | None:
    """The version that an alias (``champion``, ``challenger``) names; None where it names none."""
    from mlflow.exceptions import MlflowException

    with _calls(registry.folder):
        try:
            aliases: dict[str, str] = registry.client.get_registered_model(name).aliases
        except MlflowException as error:
            if error.error_code != "RESOURCE_DOES_NOT_EXIST":
                raise
            return None
    return get_version(registry, name, str(aliases[alias])) if alias in aliases else None


def set_alias(registry: Registry, name: str, alias: str, version: str) -> None:
    """Let an alias name a version; nothing is written where it does already."""
    current = get_alias(registry, name, alias)
    if current is None or current.version != version:
        with _calls(registry.folder):
            registry.client.set_registered_model_alias(name, alias, version)


def set_tags(registry: Registry, name: str, version: str, tags: Mapping[str, str]) -> None:
    """Set tags of a version; nothing is written where they are set already."""
    known = get_version(registry, name, version)
    with _calls(registry.folder):
        for key, value in tags.items():
            if known is None or known.tags.get(key) != value:
                registry.client.set_model_version_tag(name, version, key, value)


def download(registry: Registry, run_id: str, path: str, into: Path) -> Path:
    """Copy an artifact of a run (a file or a folder) into a folder; its path there.

    Raises
    ------
    RegistryError
        The run or the artifact does not exist.
    """
    into.mkdir(parents=True, exist_ok=True)
    with _calls(registry.folder):
        return Path(registry.client.download_artifacts(run_id, path, str(into)))


@contextmanager
def _calls(folder: Path | None) -> Iterator[None]:
    """Around each use of MLflow: ``state:/`` means this state folder, and failures become errors that a person can act on."""
    from mlflow.exceptions import MlflowException

    before = os.environ.pop(state.VARIABLE, None)
    if folder:
        os.environ[state.VARIABLE] = str(folder.resolve())
    try:
        yield
    except (MlflowException, OSError) as error:  # requests' errors are OSErrors
        words = str(error).strip().splitlines()[0][:500]
        if folder:
            raise RegistryError(f"MLflow, in the embedded store: {words}", "Bring the store here: modelyard state pull") from error
        what = f"MLflow, at {os.environ.get('MLFLOW_TRACKING_URI')}: {words}"
        raise RegistryError(what, "Check MLFLOW_TRACKING_URI, its credentials, and that the server runs.") from error
    finally:
        os.environ.pop(state.VARIABLE, None)
        if before is not None:
            os.environ[state.VARIABLE] = before


def _prepare(database: Path) -> None:
    """Make the database where it is absent, and bring it to the schema of the installed MLflow; it appears whole or not at all."""
    from mlflow.exceptions import MlflowException
    from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore

    try:
        if database.exists():
            SqlAlchemyStore(f"sqlite:///{database}", "state:/")
            return
    except MlflowException as error:
        if "out-of-date database schema" not in str(error):
            raise
    database.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=database.parent) as folder:
        draft = Path(folder) / database.name
        if database.exists():
            shutil.copyfile(database, draft)
            _upgrade(draft)
        else:
            SqlAlchemyStore(f"sqlite:///{draft}", "state:/")  # with this root: else the Default experiment keeps an absolute path
        draft.replace(database)


def _upgrade(database: Path) -> None:
    command = [sys.executable, "-m", "mlflow", "db", "upgrade", f"sqlite:///{database}"]
    done = subprocess.run(command, capture_output=True, check=False)
    if done.returncode:
        raise RegistryError(
            f"MLflow {installed('mlflow')} cannot read the embedded store: it was written by another version.",
            "Use the project's locked environment (uv sync --locked), or a newer mlflow.",
        )


def _experiment(registry: Registry, name: str) -> str:
    client = registry.client
    if client.get_experiment_by_name(name) is None:
        _ignore_existing(lambda: client.create_experiment(name, artifact_location=f"state:/{name}" if registry.folder else None))
    return str(client.get_experiment_by_name(name).experiment_id)


def _ignore_existing(create: Callable[[], object]) -> None:
    """Somebody else may make the same thing at the same time, or have made it before."""
    from mlflow.exceptions import MlflowException

    try:
        create()
    except MlflowException as error:
        if error.error_code != "RESOURCE_ALREADY_EXISTS":
            raise


def _log_file(registry: Registry, run_id: str, file: Path, path: str) -> None:
    where = PurePosixPath(path)
    parent = str(where.parent) if where.parent.parts else None
    if where.name == file.name:
        registry.client.log_artifact(run_id, str(file), parent)
        return
    with tempfile.TemporaryDirectory() as folder:  # MLflow keeps the local file's name
        shutil.copyfile(file, Path(folder) / where.name)
        registry.client.log_artifact(run_id, str(Path(folder) / where.name), parent)


def _write_model(folder: Path, model: Path, run_id: str) -> None:
    """The folder that MLflow calls a model: the ONNX file, how to load it, and what that needs."""
    from mlflow.models import Model

    shutil.copyfile(model, folder / "model.onnx")
    meta = Model(run_id=run_id)
    meta.add_flavor("python_function", loader_module="mlflow.onnx", data="model.onnx", env={"virtualenv": "python_env.yaml"})
    meta.add_flavor("onnx", onnx_version=installed("onnx"), data="model.onnx", providers=["CPUExecutionProvider"])
    meta.save(str(folder / "MLmodel"))
    needs = [f"{package}=={installed(package)}" for package in ("mlflow", "onnx", "onnxruntime")]
    (folder / "requirements.txt").write_text("\n".join(needs) + "\n")
    python = ".".join(map(str, sys.version_info[:3]))
    (folder / "python_env.yaml").write_text(yaml.safe_dump({"python": python, "dependencies": ["-r requirements.txt"]}))


def _version(found: ModelVersion) -> Version:
    tags = dict(found.tags)
    return Version(name=found.name, version=str(found.version), run_id=found.run_id or "", sha256=tags.get("sha256", ""), tags=tags)
