"""``package``: a real Bento, built, started, asked and stopped."""

from __future__ import annotations

import json
import math
import subprocess
import sys
from pathlib import Path

import pytest

from modelyard import package, serving
from modelyard.errors import ProjectError, ServiceError
from modelyard.project import EXAMPLES, MODEL, Project


def test_the_service_answers_as_recorded(trained: Project) -> None:
    """The Bento holds serving code and model only, gives the recorded predictions again, and is refused where they differ."""
    outcome = package.run(trained)

    report = json.loads((trained.root / "reports/package.json").read_text())
    assert report["bento"] == outcome.outputs["bento"]
    assert report["smoke_test"] == {"rows": 3, "difference": pytest.approx(0, abs=serving.TOLERANCE)}
    assert all("==" in line for line in report["requirements"])
    name, _, version = outcome.outputs["bento"].partition(":")
    source = trained.root / ".modelyard/bentoml/bentos" / name / version / "src"
    held = {path.relative_to(source).as_posix() for path in source.rglob("*") if path.is_file() and path.suffix != ".pyc"}
    assert f"{trained.policy.package}/service.py" in held
    assert {path for path in held if not path.endswith(".py")} == {"models/model.onnx", "bentofile.yaml"}


@pytest.mark.parametrize("path", [MODEL, EXAMPLES])
def test_what_training_did_not_leave_is_named(trained: Project, path: Path) -> None:
    """Model and examples come from the pipeline."""
    (trained.root / path).unlink()

    with pytest.raises(ProjectError, match=f"{path.name} is missing"):
        package.run(trained)


@pytest.mark.parametrize(
    ("broken", "message"),
    [
        ("raise RuntimeError('no such model')", "bentoml build failed: .*no such model"),
        (None, r"service\.py is missing"),
    ],
)
def test_a_service_that_cannot_be_built_is_told_in_its_own_words(trained: Project, broken: str | None, message: str) -> None:
    """Its last words are in the error."""
    service = trained.source / trained.policy.package / "service.py"
    service.unlink()
    if broken:
        service.write_text(broken)

    with pytest.raises(ServiceError, match=message):
        package.run(trained)


def test_a_service_that_ends_at_its_start_is_noticed_at_once(tmp_path: Path) -> None:
    """An occupied port or a crash: nobody waits two minutes, and the log's last lines are told."""
    log = tmp_path / "log"
    with log.open("w") as out:
        process = subprocess.Popen(
            [sys.executable, "-c", "import sys; print('address already in use'); sys.exit(3)"], stdout=out, stderr=subprocess.STDOUT
        )
        with pytest.raises(ServiceError, match="ended with code 3 at its start: address already in use"):
            serving._wait_until_ready("http://127.0.0.1:9", process, log)


def test_a_worker_that_fails_again_and_again_is_noticed(tmp_path: Path) -> None:
    """The parent process lives on, but its worker never starts."""
    log = tmp_path / "log"
    log.write_text("KeyError: 'x'\nERROR: Application startup failed. Exiting.\n")
    process = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"], start_new_session=True)
    try:
        with pytest.raises(ServiceError, match="did not start: KeyError: 'x'"):
            serving._wait_until_ready("http://127.0.0.1:9", process, log)
    finally:
        serving._stop(process)

    assert process.returncode == -15


@pytest.mark.parametrize(
    ("answer", "recorded", "difference"),
    [
        ([0.1, 0.2], [0.1, 0.2], 0.0),
        ([0.1, 0.3], [0.1, 0.25], 0.05),
        ([0.1, math.nan], [0.1, 0.2], math.inf),
        ([math.nan, 0.2], [math.nan, 0.2], math.inf),
        ([0.1], [0.1, 0.2], math.inf),
        ([], [], 0.0),
    ],
)
def test_the_largest_difference(answer: list[float], recorded: list[float], difference: float) -> None:
    """Too few answers, and what is no number, differ infinitely, wherever they stand."""
    assert serving.largest_difference(answer, recorded) == pytest.approx(difference)


def test_a_service_that_is_not_there_gives_no_answer() -> None:
    """A refused connection is an error of the service."""
    with pytest.raises(ServiceError, match="no usable answer"):
        serving.predict("http://127.0.0.1:9", [{"x": 1.0}])
