"""Workflow `promote`: what is merged becomes live, once, and only where all of it can be proved."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml
from workflows.conftest import Scene
from workflows.yard import Yard

from modelyard import git
from modelyard.project import EXAMPLES, MODEL, RELEASE

pytestmark = pytest.mark.slow

OTHER = "0" * 64


def test_a_merged_release_becomes_live(released: Scene) -> None:
    """The push of the merge runs promote; the service answers as recorded at training, and the alias champion names the version."""
    run, yard = released.runs["promote"], released.yard
    before, after = released.refs["promote"]

    assert (run.workflow, run.verdict, run.outputs["version"]) == ("promote", "live", "1")
    assert "verified, built, asked, deployed" in run.summary
    assert before | {"modelyard-state": ""} == after | {"modelyard-state": ""}
    assert yard.alias() == yard.record().model.version == "1"


def test_a_second_release_takes_over(second: Scene) -> None:
    """The next release replaces the champion."""
    assert second.runs["promote"].verdict == "live"
    assert second.yard.alias() == second.yard.record().model.version == "2"


def test_promote_twice_changes_nothing(released: Scene, tmp_path: Path) -> None:
    """The same push once more says that the version is live already, and moves no branch."""
    yard = released.yard.copy(tmp_path)
    before = yard.refs()
    run = yard.happen("push", "promote")

    assert (run.conclusion, run.verdict) == ("success", "live")
    assert "it was live already; nothing changed" in run.summary
    assert yard.refs() == before


def wrong_model(yard: Yard) -> None:
    yard.put(RELEASE.as_posix(), "model.sha256", OTHER)


def wrong_evaluation(yard: Yard) -> None:
    yard.put(RELEASE.as_posix(), "evaluation.sha256", OTHER)


def unknown_version(yard: Yard) -> None:
    yard.put(RELEASE.as_posix(), "model.version", "99")


def main_moved(yard: Yard) -> None:
    yard.put("params.yaml", "train.iterations", 81)


@pytest.mark.parametrize(
    ("change", "check", "reason"),
    [
        (wrong_model, "model file", "The release record names the model 000000000000, but DVC delivers "),
        (wrong_evaluation, "evaluation", "The evaluation kept with the run is not the one that the record names."),
        (unknown_version, "registry", "flights version 99 is not in the registry."),
        (main_moved, "lock", "Main moved since "),
    ],
)
def test_what_cannot_be_proved_is_refused(
    open_release: Scene, tmp_path: Path, change: Callable[[Yard], None], check: str, reason: str
) -> None:
    """A merged release that is not what was evaluated fails the run; the check that refused is named, and the champion is as it was."""
    yard = open_release.yard.copy(tmp_path)
    if change is main_moved:  # while the release waited for its approver
        change(yard)
        yard.commit("Another number of trees")
    before = yard.approve()
    if change is not main_moved:
        change(yard)
        yard.commit("By hand")
    yard.push()
    refs = yard.refs()
    run = yard.happen("push", "promote", before=before)

    assert (run.conclusion, run.verdict) == ("failure", "refused")
    assert run.problems[0] == "promote/promote / Gate"
    assert run.outputs["check"] == check
    assert reason in run.summary
    assert ("params.yaml changed. Run train." in run.summary) == (change is main_moved)
    assert yard.refs() == refs
    assert yard.alias() == "1"


def test_a_clone_holds_the_very_model_that_serves(released: Scene, tmp_path: Path) -> None:
    """A clone with its locked environment, state and data has the recorded model, which predicts as recorded; an auditor can verify it."""
    clone = tmp_path / "clone"
    git.run("clone", "--quiet", str(released.yard.origin), str(clone), cwd=tmp_path)
    env = {name: value for name, value in os.environ.items() if name not in ("VIRTUAL_ENV", "PYTHONPATH")}

    def uv(*words: str) -> str:
        done = subprocess.run(["uv", *words], cwd=clone, env=env, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        return done.stdout

    uv("sync", "--locked")
    uv("run", "modelyard", "state", "pull")
    uv("run", "dvc", "pull", "--quiet")
    examples = json.loads((clone / EXAMPLES).read_text())
    code = "import json, pandas, flights.model as m; rows = pandas.DataFrame(json.load(open('models/examples.json'))['rows'])"
    predicted = json.loads(uv("run", "python", "-c", f"{code}; print(json.dumps(m.load('models/model.onnx').predict(rows).tolist()))"))
    record = yaml.safe_load((clone / RELEASE).read_text())

    assert hashlib.sha256((clone / MODEL).read_bytes()).hexdigest() == record["model"]["sha256"]
    assert predicted == pytest.approx(examples["predictions"], abs=1e-5)
    assert len(predicted) == 20
    assert "promote: verified" in uv("run", "modelyard", "promote", "--dry-run")
    assert git.run("status", "--porcelain", cwd=clone) == ""
