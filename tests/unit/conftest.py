"""Projects at the stations of a release; made once, copied for each test."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from unit import mini_project

from modelyard import evaluate, ingest, policy, propose, register, registry, state, train
from modelyard.project import Project

FEBRUARY, MARCH = datetime(2013, 3, 1, tzinfo=UTC), datetime(2013, 4, 1, tzinfo=UTC)


@pytest.fixture(autouse=True, scope="session")
def _brief_timings() -> Iterator[None]:
    """Time models for a moment only: what is tested is what follows."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("modelyard.evaluate.readiness.SECONDS", 0.005)
        yield


@pytest.fixture(scope="session")
def _stations(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with the projects ``trained``, ``registered``, ``merged`` and ``succeeded``, made by the verbs themselves."""
    folder = tmp_path_factory.mktemp("stations")
    with pytest.MonkeyPatch.context() as patch:
        for name in [name for name in os.environ if name.startswith(("GITHUB_", "MLFLOW_", "MODELYARD_", "GIT_", "DVC_"))]:
            patch.delenv(name)
        for role in ("AUTHOR", "COMMITTER"):
            patch.setenv(f"GIT_{role}_NAME", "Test")
            patch.setenv(f"GIT_{role}_EMAIL", "test@example.com")
        patch.setenv("GIT_CONFIG_GLOBAL", "/dev/null")
        project = mini_project.yard(folder / "work")
        _train(project, FEBRUARY)
        _keep(folder, "trained")

        register.run(project, FEBRUARY)
        _keep(folder, "registered")
        propose.run(project, FEBRUARY)
        mini_project.merge(project.root)
        _keep(folder, "merged")

        set_champion(project, "1")
        (project.root / "params.yaml").write_text("noise: 0.0\n")
        mini_project.commit(project.root, "A better model")
        _train(project, MARCH)
        register.run(project, MARCH)
        propose.run(project, MARCH)
        mini_project.merge(project.root)
        set_champion(project, "2")
        _keep(folder, "succeeded")
    return folder


def _train(project: Project, now: datetime) -> None:
    ingest.run(project, now)
    train.run(project)
    assert evaluate.run(project).verdict == "promote"


def set_champion(project: Project, version: str) -> None:
    """Do as ``promote`` does at its end."""

    def write(folder: Path) -> None:
        connection = registry.connect(folder)
        registry.set_tags(connection, "mini", version, {"modelyard.live": "2013-03-01"})
        registry.set_alias(connection, "mini", "champion", version)

    state.transact(project.root, write, "champion")


def _keep(folder: Path, name: str) -> None:
    shutil.rmtree(folder / "work/project/.dvc/tmp", ignore_errors=True)
    shutil.copytree(folder / "work", folder / name)


def _copy(folder: Path, into: Path) -> Project:
    shutil.copytree(folder, into, dirs_exist_ok=True)
    return Project(into / "project", policy.load(into / "project"))


@pytest.fixture
def trained(_stations: Path, tmp_path: Path) -> Project:
    """Return a project whose first model is judged, and not registered yet."""
    return _copy(_stations / "trained", tmp_path)


@pytest.fixture
def registered(_stations: Path, tmp_path: Path) -> Project:
    """Return a project whose first model is registered, and not proposed yet."""
    return _copy(_stations / "registered", tmp_path)


@pytest.fixture
def merged(_stations: Path, tmp_path: Path) -> Project:
    """Return a project whose first release was merged, and not promoted yet."""
    return _copy(_stations / "merged", tmp_path)


@pytest.fixture
def succeeded(_stations: Path, tmp_path: Path) -> Project:
    """Return a project whose second release is live."""
    return _copy(_stations / "succeeded", tmp_path)
