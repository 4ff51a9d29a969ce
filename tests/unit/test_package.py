"""``package``: a real Bento, built, started, asked and stopped."""

from __future__ import annotations

import dataclasses
import json
import math
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from modelyard import champion, git, jsonfile, package, processes, release, serving
from modelyard.errors import ProjectError, ServiceError, UsageError
from modelyard.outcome import Outcome
from modelyard.policy import Fallback, Image
from modelyard.project import EXAMPLES, MODEL, RELEASE, Project
from modelyard.register import Registered
from modelyard.serve import contract as contracts


def test_the_service_answers_as_recorded(registered: Project) -> None:
    """The Bento holds serving code, runtime, model and contract only, and gives the recorded predictions again."""
    outcome = package.run(registered)

    report = json.loads((registered.root / "reports/package.json").read_text())
    assert (outcome.verdict, outcome.exit_code, report["bento"]) == ("packaged", 0, outcome.outputs["bento"])
    assert report["smoke_test"] == {"rows": 3, "difference": pytest.approx(0, abs=serving.TOLERANCE)}
    assert all("==" in line for line in report["requirements"])
    assert (report["builder"], report["images"], outcome.outputs["images"]) == (None, [], "")
    assert "No image was built: no docker, podman or buildah works here" in outcome.summary
    source = source_of(registered, outcome)
    held = {path.relative_to(source).as_posix() for path in source.rglob("*") if path.is_file() and path.suffix != ".pyc"}
    runtime = {f"modelyard/serve/{path.name}" for path in Path(serving.__file__).with_name("serve").glob("*.py")}
    own = {f"{registered.policy.package}/{path.name}" for path in (registered.source / registered.policy.package).glob("*.py")}
    assert held == own | runtime | {"modelyard/__init__.py", "models/model.onnx", "models/serving.json", "bentofile.yaml"}


def source_of(project: Project, outcome: Outcome) -> Path:
    """Folder of the files in a Bento."""
    name, _, version = outcome.outputs["bento"].partition(":")
    return project.root / package.HOME / "bentos" / name / version / "src"


def test_the_contract_names_model_and_lineage(registered: Project) -> None:
    """What is served says which model it is, from which run, commit and data: what the registry knows of these very bytes."""
    source = source_of(registered, package.run(registered))
    contract = contracts.verified(source / "models")
    entry = jsonfile.read(registered.root / "reports/register.json", Registered, "")

    assert (contract.name, contract.version, contract.run_id) == ("mini", "1", entry.run_id)
    assert contract.sha256 == release.sha256(registered.root / MODEL)
    assert contract.commit == git.head(registered.root)
    assert contract.data_revision == release.sha256(registered.root / "dvc.lock")
    assert [column.name for column in contract.columns] == ["x"]


def test_a_model_that_dvc_does_not_know_is_not_packaged(trained: Project) -> None:
    """Somebody's own file in place of the pipeline's output: neither that of the lock, nor what was judged."""
    (trained.root / MODEL).write_text('{"slope": 3.0, "noise": 0.0}')

    with pytest.raises(ProjectError, match=r"models/model\.onnx is not the one that dvc\.lock names"):
        package.run(trained)


def test_other_bytes_than_the_lineage_names_are_not_built(trained: Project, tmp_path: Path) -> None:
    """The hash is checked on the copy that goes into the Bento."""
    lineage = serving.Lineage(name="mini", sha256="0" * 64, commit="0" * 40, created=datetime(2013, 3, 1, tzinfo=UTC))
    source = serving.Source(trained.root, trained.root / MODEL, trained.root / EXAMPLES, lineage)

    with pytest.raises(ServiceError, match=r"is 000000000000, and .*model\.onnx is"):
        serving.build(trained, source, tmp_path / "home")


def test_the_champion_is_packaged_as_it_was_released(succeeded: Project) -> None:
    """--champion: the bytes, the code and the contract that main records, whatever lies in the working tree."""
    (succeeded.root / MODEL).unlink(missing_ok=True)
    outcome = package.run(succeeded, live=True)
    record = release.read((succeeded.root / RELEASE).read_bytes())
    contract = contracts.verified(source_of(succeeded, outcome) / "models")

    assert (contract.version, contract.sha256, contract.commit) == ("2", record.model.sha256, record.code.commit)


def test_nothing_released_is_no_champion(trained: Project) -> None:
    """The message says what to leave away."""
    with pytest.raises(UsageError, match="Nothing was released yet"):
        package.run(trained, live=True)


def test_the_release_before_answers_when_the_model_fails(succeeded: Project) -> None:
    """serving.fallback.by: previous puts the champion before beside the new one, with a contract of its own."""
    outcome = package.run(with_policy(succeeded, fallback=Fallback(by="previous")), live=True)
    models = source_of(succeeded, outcome) / "models"

    assert contracts.verified(models).fallback.by == "previous"
    assert (contracts.verified(models / "previous").version, contracts.verified(models).version) == ("1", "2")


def test_a_release_before_with_other_code_is_left_out(succeeded: Project, capsys: pytest.CaptureFixture[str]) -> None:
    """Its features are computed otherwise: it is not put beside the model, and that is said."""
    project = with_policy(succeeded, fallback=Fallback(by="previous"))
    script = succeeded.source / succeeded.policy.package / "features.py"
    live = serving.released(champion.load(project))  # type: ignore[arg-type]
    before = package.before(project, live)
    (live.code / script.relative_to(succeeded.root)).write_text("# newer\n")
    bento = serving.build(project, live, succeeded.root / package.HOME, before)

    assert not (bento.path / "src/models/previous").exists()
    assert "Version 1 has other code" in capsys.readouterr().err


def with_policy(project: Project, **serving_settings: Any) -> Project:
    """The project with another serving section."""
    changed = project.policy.serving.model_copy(update=serving_settings)
    return dataclasses.replace(project, policy=project.policy.model_copy(update={"serving": changed}))


def test_a_registry_without_a_builder_is_told_before_anything_is_built(trained: Project) -> None:
    """The policy wants images to be pushed, and nothing here builds them: a usage error, not a release without images."""
    with pytest.raises(UsageError, match=r"registry is example\.org/mini, and nothing here builds images"):
        package.run(with_policy(trained, image=Image(registry="example.org/mini")))


def test_limits_that_cannot_be_checked_are_named(trained: Project) -> None:
    """Without a builder the sentence says which limits of the policy nobody has checked; without variants there are none to build."""
    assert "serving.image.size_mb is not checked" in package._none(with_policy(trained, image=Image(size_mb=300)))
    assert "variants names none" in package._none(with_policy(trained, image=Image(variants=[])))


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
            serving.wait_until_ready("http://127.0.0.1:9", process, log)


def test_a_worker_that_fails_again_and_again_is_noticed(tmp_path: Path) -> None:
    """The parent process lives on, but its worker never starts."""
    log = tmp_path / "log"
    log.write_text("KeyError: 'x'\nERROR: Application startup failed. Exiting.\n")
    process = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"], start_new_session=True)
    with processes.ended_with_us(process), pytest.raises(ServiceError, match="did not start: KeyError: 'x'"):
        serving.wait_until_ready("http://127.0.0.1:9", process, log)

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
