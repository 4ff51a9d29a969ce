"""Workflow `train`: from data to a proposed release, and each way in which it ends before."""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest
from workflows.conftest import Scene
from workflows.yard import APRIL, MAY

from modelyard import git, store
from modelyard.project import CARD, MODEL, RELEASE

pytestmark = pytest.mark.slow

RELEASED = {store.LOCK.as_posix(), RELEASE.as_posix(), CARD.as_posix()}
JUNE = datetime(2013, 6, 1, 6, tzinfo=UTC)


def pointers(*months: int) -> set[str]:
    return {f"data/raw/2013-{month:02}.parquet.dvc" for month in months}


def test_a_dispatch_proposes_a_first_release(proposed: Scene) -> None:
    """Ingest to propose: the release branch changes exactly pointers, lock, record and card; main stays; the state is one commit."""
    run, yard = proposed.runs["train"], proposed.yard
    before, after = proposed.refs["train"]

    assert run.jobs == {"train": "success", "train/train": "success", "train/promote": "skipped", "train/promote/promote": "skipped"}
    assert run.steps["train/train.ingest.periods"] == "2013-01 2013-02 2013-03"
    assert run.steps["train/train.validate.verdict"] == "valid"
    assert run.steps["train/train.evaluate.verdict"] == "promote"
    assert run.steps["train/train.evaluate.champion"] == ""
    assert run.steps["train/train.propose.merged"] == "false"
    assert set(before) == {"main"}
    assert set(after) == {"main", "modelyard/release", "modelyard-state"}
    assert after["main"] == before["main"]
    assert after["modelyard/release"] == run.steps["train/train.propose.commit"]
    assert git.head(yard.origin, "modelyard/release^") == after["main"]
    assert yard.changed("main", "modelyard/release") == RELEASED | pointers(1, 2, 3)
    assert git.run("rev-list", "--count", "modelyard-state", cwd=yard.origin) == "1"


def test_the_record_names_what_was_trained(proposed: Scene) -> None:
    """Model, evaluation, data, code and date in the record are those of the run; the registry has the version as challenger only."""
    run, yard = proposed.runs["train"], proposed.yard
    record = yard.record("modelyard/release")
    (kept,) = yard.artifacts.glob("train-*/reports-train")
    evaluation = (kept / "evaluate.json").read_bytes()

    assert record.model.sha256 == run.steps["train/train.train.model"]
    assert record.evaluation.sha256 == hashlib.sha256(evaluation).hexdigest()
    assert record.evaluation.champion is None
    assert [batch.path for batch in record.data] == [path.removesuffix(".dvc") for path in sorted(pointers(1, 2, 3))]
    assert record.code.commit == proposed.yard.refs()["main"]
    assert (record.logical_date, record.trigger) == (APRIL, "workflow_dispatch")
    (version,) = yard.versions()
    assert (version.version, version.sha256) == (record.model.version, record.model.sha256)
    assert (yard.alias("challenger"), yard.alias("champion")) == ("1", None)


def test_twice_makes_one_release(proposed: Scene, tmp_path: Path) -> None:
    """The same training once more finds its version, leaves the state as it is, and rebuilds the same release."""
    yard = proposed.yard.copy(tmp_path)
    before = yard.refs()
    run = yard.happen("workflow_dispatch", "train", inputs={"now": APRIL.isoformat()})
    after = yard.refs()

    assert run.conclusion == "success", run.log
    assert set(after) == set(before)
    assert after["modelyard-state"] == before["modelyard-state"]
    assert yard.changed(before["modelyard/release"], after["modelyard/release"]) == set()
    assert git.head(yard.origin, "modelyard/release^") == after["main"]
    assert [version.version for version in yard.versions()] == ["1"]


def test_nothing_new_proposes_nothing(released: Scene, tmp_path: Path) -> None:
    """After the merge, the same day again: nothing is ingested or trained, the champion is kept, and no branch but the state moves."""
    yard = released.yard.copy(tmp_path)
    before = yard.refs()
    run = yard.happen("schedule", "train", APRIL)

    assert run.conclusion == "success", run.log
    assert run.steps["train/train.ingest.verdict"] == "nothing new"
    assert run.steps["train/train.train.changed"] == "false"
    assert run.steps["train/train.evaluate.verdict"] == "keep"
    assert not any(".propose." in name for name in run.steps)
    assert yard.refs() | {"modelyard-state": ""} == before | {"modelyard-state": ""}
    assert [version.version for version in yard.versions()] == ["1"]


def test_a_broken_month_is_refused(open_release: Scene) -> None:
    """A month in other units is refused by name and number; nothing is trained on it, and no branch moves."""
    run = open_release.runs["broken"]

    assert run.verdict == run.steps["train/train.validate.verdict"] == "invalid"
    assert run.steps["train/train.validate.quarantined"] == "2013-04"
    assert "distance / planned_minutes is not the speed of an airliner" in run.summary
    assert "temp: more than 5 % missing" in run.summary
    assert not any(name.startswith(("train/train.train.", "train/train.evaluate.")) for name in run.steps)
    before, after = open_release.refs["broken"]
    assert before == after


def test_the_repaired_month_is_taken(open_release: Scene) -> None:
    """The event new-data takes the month that was refused; champion and challenger predict by their own code, the better is proposed."""
    run, yard = open_release.runs["repaired"], open_release.yard
    record = yard.record("modelyard/release")

    assert run.steps["train/train.ingest.periods"] == "2013-04"
    assert run.steps["train/train.evaluate.verdict"] == "promote", run.summary
    assert (record.model.version, record.trigger, record.logical_date) == ("2", "repository_dispatch", MAY)
    assert record.evaluation.champion is not None
    assert record.evaluation.champion < record.evaluation.challenger
    assert yard.changed("main", "modelyard/release") == RELEASED | pointers(4)
    assert (yard.alias("champion"), yard.alias("challenger")) == ("1", "2")


def test_a_worse_challenger_is_kept_back(released: Scene, tmp_path: Path) -> None:
    """Trained on shuffled labels a model is worse: verdict keep, the run is logged, no version is made and no release proposed."""
    yard = released.yard.copy(tmp_path)
    flights = yard.flights()
    trained = flights["scheduled"].between(datetime(2013, 4, 1), datetime(2013, 5, 11), inclusive="left")  # the hold-out stays whole
    flights.loc[trained, "late"] = np.random.default_rng(0).permutation(flights.loc[trained, "late"])
    yard.supply(flights)
    yard.put("modelyard.yaml", "evaluate.criteria", {"roc_auc": {"min": 0.5}})
    yard.put("modelyard.yaml", "evaluate.segments.columns", [])
    yard.commit("Let the comparison decide")
    before = yard.refs()
    run = yard.happen("workflow_dispatch", "train", JUNE)

    assert run.conclusion == "success", run.log
    assert run.verdict == "keep", run.summary
    assert float(run.outputs["difference"]) < 0
    assert yard.refs() | {"modelyard-state": ""} == before | {"modelyard-state": ""}
    assert [entry["verdict"] for entry in yard.logged()] == ["keep", "promote"]
    assert ([version.version for version in yard.versions()], yard.alias()) == (["1"], "1")


def test_a_crash_in_the_middle_changes_nothing(released: Scene, tmp_path: Path) -> None:
    """Where training raises, the run fails at that step, its reports are kept, and no branch moves."""
    yard = released.yard.copy(tmp_path)
    yard.edit("src/flights/train.py", "def main() -> None:", 'def main() -> None:\n    raise RuntimeError("out of memory")\n')
    yard.commit("A mistake")
    before = yard.refs()
    run = yard.happen("workflow_dispatch", "train", MAY)

    assert run.conclusion == "failure"
    assert run.problems[0] == "train/train / ./.github/actions/train"
    assert "RuntimeError: out of memory" in run.log
    assert [path.parent.name for path in yard.artifacts.glob("train-*/reports-train/validate.json")] == ["reports-train"]
    assert yard.refs() == before
    assert yard.alias() == "1"


def test_two_trainings_give_the_same_bytes(released: Scene, tmp_path: Path) -> None:
    """From one commit, with another hash seed and number of threads, the model is the released one byte for byte."""
    yard = released.yard.copy(tmp_path)
    assert yard.command("state", "pull").returncode == 0
    assert yard.command("pull", program="dvc").returncode == 0
    found = {yard.record().model.sha256}
    for number in ("1", "2"):
        (yard.root / MODEL).unlink()
        seeds = {"PYTHONHASHSEED": number, "OMP_NUM_THREADS": number}
        again = yard.command("repro", "--force", "--single-item", "train", program="dvc", **seeds)
        assert again.returncode == 0, again.stderr
        assert "Running stage 'train'" in again.stdout
        found.add(hashlib.sha256((yard.root / MODEL).read_bytes()).hexdigest())

    assert len(found) == 1
