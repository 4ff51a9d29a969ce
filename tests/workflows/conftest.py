"""One project for all tests that execute workflows: generated once, driven through two releases, copied by each test.

The scenes, each made from the one before: fresh, proposed, released, open_release, second.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from workflows.yard import APRIL, MAY, Yard, build, environment

from modelyard.demo import stage
from modelyard.local import WorkflowRun


@dataclass(frozen=True)
class Scene:
    """How a project stands, and what happened since the scene before."""

    yard: Yard
    runs: dict[str, WorkflowRun] = field(default_factory=dict)
    refs: dict[str, tuple[dict[str, str], dict[str, str]]] = field(default_factory=dict)  # of origin, before and after each run
    kept: dict[str, Path] = field(default_factory=dict)  # the artifacts of each run

    def happen(self, name: str, *event: Any, conclusion: str = "success", **more: Any) -> None:
        """Let an event happen whose run must end so, and note it."""
        before = self.yard.refs()
        run = self.runs[name] = self.yard.happen(*event, **more)
        assert run.conclusion == conclusion, run.log
        self.refs[name] = before, self.yard.refs()
        self.kept[name] = max(self.yard.artifacts.iterdir(), key=lambda folder: int(folder.name.rpartition("-")[2]))


@pytest.fixture(scope="session")
def caches(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Home and caches that all jobs share: one environment serves them all."""
    return tmp_path_factory.mktemp("caches")


@pytest.fixture(autouse=True, scope="module")
def _environment(caches: Path) -> Iterator[None]:
    with environment(caches):
        yield


@pytest.fixture(scope="session")
def fresh(caches: Path, tmp_path_factory: pytest.TempPathFactory) -> Scene:
    """As generated, and pushed."""
    with environment(caches):
        return Scene(build(tmp_path_factory.mktemp("fresh")))


@pytest.fixture(scope="session")
def proposed(fresh: Scene, caches: Path, tmp_path_factory: pytest.TempPathFactory) -> Scene:
    """On 1 April a first model, small and soon trained, is proposed."""
    with environment(caches):
        scene = Scene(fresh.yard.copy(tmp_path_factory.mktemp("proposed")))
        scene.yard.put("params.yaml", "train.iterations", 20)
        scene.yard.commit("Fewer trees")
        scene.happen("train", "workflow_dispatch", "train", inputs={"now": APRIL.isoformat()})
    return scene


@pytest.fixture(scope="session")
def released(proposed: Scene, caches: Path, tmp_path_factory: pytest.TempPathFactory) -> Scene:
    """It was merged, and is live."""
    with environment(caches):
        scene = Scene(proposed.yard.copy(tmp_path_factory.mktemp("released")))
        before = scene.yard.approve()
        scene.yard.push()
        scene.happen("promote", "push", before=before)
    return scene


@pytest.fixture(scope="session")
def open_release(released: Scene, caches: Path, tmp_path_factory: pytest.TempPathFactory) -> Scene:
    """On 1 May April arrives broken, then whole; in between the team gave the model a feature more, and more trees: that is proposed."""
    with environment(caches):
        scene = Scene(released.yard.copy(tmp_path_factory.mktemp("open-release")))
        yard = scene.yard
        stage.break_month(yard.demo, datetime(2013, 4, 1))
        scene.happen("broken", "schedule", "train", MAY)
        stage.repair(yard.demo)
        yard.edit("src/flights/features.py", '"hour": (', '"night": (minutes >= 21 * 60).astype(np.float32),\n        "hour": (')
        yard.put("params.yaml", "train.iterations", 80)
        yard.commit("A feature more, and more trees")
        payload = {"event_type": "new-data", "client_payload": {"now": MAY.isoformat()}}
        scene.happen("repaired", "repository_dispatch", "train", payload=payload)
    return scene


@pytest.fixture(scope="session")
def second(open_release: Scene, caches: Path, tmp_path_factory: pytest.TempPathFactory) -> Scene:
    """That, too, was merged, and is live."""
    with environment(caches):
        scene = Scene(open_release.yard.copy(tmp_path_factory.mktemp("second")))
        before = scene.yard.approve()
        scene.yard.push()
        scene.happen("promote", "push", date=MAY, before=before)
    return scene
