"""Workflow `ci`: code, data and training are checked, with no right to write."""

from __future__ import annotations

from pathlib import Path

import pytest
from workflows.conftest import Scene
from workflows.yard import Yard

from modelyard import git
from modelyard.local import WorkflowRun

pytestmark = pytest.mark.slow


def only(yard: Yard, *kept: str) -> None:
    """Leave only these of the project's own tests, which take their time."""
    for path in (yard.root / "tests").glob("test_*.py"):
        if path.name not in kept:
            path.unlink()


def pull_request(yard: Yard) -> WorkflowRun:
    """Let a contributor propose what lies in the working copy, from a fork; nobody may push to origin meanwhile."""
    git.run("switch", "--quiet", "--create", "experiment", cwd=yard.root)
    yard.commit("An experiment", push=False)
    yard.refuse("*")
    before = yard.refs()
    run = yard.happen("pull_request")
    assert yard.refs() == before
    assert run.workflow == "ci"
    return run


def test_a_fresh_project_passes(fresh: Scene) -> None:
    """The first push: lint, types and the project's own tests pass; without data there is nothing to train, and origin stays as it is."""
    before = fresh.yard.refs()
    run = fresh.yard.happen("push", env={"FLIGHTS_SOURCE": ""})

    assert (run.workflow, run.conclusion) == ("ci", "success"), run.log
    assert run.steps["ci/ci.validate.batches"] == "0"
    assert "ci/ci.evaluate.verdict" not in run.steps
    assert " passed" in run.log
    assert " failed" not in run.log
    assert fresh.yard.refs() == before


@pytest.mark.parametrize(
    ("name", "text", "step"),
    [
        ("src/flights/data.py", "import os, sys\n", "Lint"),
        ("src/flights/extra.py", 'hours: int = "many"\n', "Types"),
        ("tests/test_extra.py", "def test_extra() -> None:\n    assert 1 + 1 == 3\n", "Tests"),
    ],
)
def test_wrong_code_fails(fresh: Scene, tmp_path: Path, name: str, text: str, step: str) -> None:
    """A lint error, a type error or a failing test ends the run at that step."""
    yard = fresh.yard.copy(tmp_path)
    only(yard)
    (yard.root / name).write_text(text)
    yard.commit("A mistake")
    run = yard.happen("push")

    assert run.conclusion == "failure"
    assert run.problems[0] == f"ci/ci / {step}"


def test_a_pull_request_is_compared_with_the_champion(released: Scene, tmp_path: Path) -> None:
    """A change of the model is trained on main's data and held against the champion; that needs no right to push."""
    yard = released.yard.copy(tmp_path)
    only(yard, "test_pipeline.py")
    yard.put("params.yaml", "train.iterations", 25)
    run = pull_request(yard)

    assert run.conclusion == "success", run.log
    assert run.steps["ci/ci.train.changed"] == "true"
    assert run.steps["ci/ci.evaluate.verdict"] in ("promote", "keep")
    assert float(run.steps["ci/ci.evaluate.champion"]) == pytest.approx(yard.record().evaluation.challenger, abs=1e-4)
    assert "roc_auc" in run.summary
    assert list(yard.artifacts.glob("ci-*/reports-ci/evaluate.json"))


def test_data_that_no_longer_fit_the_schema_fail(released: Scene, tmp_path: Path) -> None:
    """A schema that main's data do not fit is told by column and number of rows, and fails the run before anything is trained."""
    yard = released.yard.copy(tmp_path)
    only(yard, "test_pipeline.py")
    yard.edit("src/flights/schema.py", "temp: Series[float] = pa.Field(ge=-10", "temp: Series[float] = pa.Field(ge=32")
    run = pull_request(yard)
    january = yard.flights().query("scheduled < '2013-02-01'")
    cold = (january["temp"] < 32).sum()

    assert run.conclusion == "failure"
    assert run.problems[0] == "ci/ci / Gate"
    assert run.verdict == "invalid"
    assert f"temp: greater_than_or_equal_to(32): {cold:,} of {len(january):,} rows" in run.summary
    assert "ci/ci.train.changed" not in run.steps


def test_a_model_below_the_criteria_fails(released: Scene, tmp_path: Path) -> None:
    """A criterion of the policy that the model misses is told with both numbers, and fails the run."""
    yard = released.yard.copy(tmp_path)
    only(yard, "test_pipeline.py")
    yard.put("modelyard.yaml", "evaluate.criteria.roc_auc.min", 0.99)
    run = pull_request(yard)

    assert run.conclusion == "failure"
    assert run.problems[0] == "ci/ci / Gate"
    assert run.verdict == "block"
    assert f"roc_auc is {yard.record().evaluation.challenger:.4f} (95 %: " in run.summary
    assert "; the policy demands at least 0.99." in run.summary
