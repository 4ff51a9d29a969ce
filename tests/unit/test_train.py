"""``train``: dvc repro, with progress."""

from __future__ import annotations

from pathlib import Path

import pytest
from unit import mini_project

from modelyard import release, train
from modelyard.errors import ProjectError, StoreError
from modelyard.project import MODEL, Project


def test_only_what_changed_is_run(trained: Project) -> None:
    """A parameter that changes runs the stage; nothing that changes runs nothing. The model's digest is an output."""
    before = train.run(trained)
    (trained.root / "params.yaml").write_text("noise: 0.0\n")
    after = train.run(trained)

    assert (before.outputs["changed"], after.outputs["changed"]) == ("false", "true")
    assert before.summary.startswith("**train: nothing changed**")
    assert after.summary.startswith("**train: train ran**")
    assert "| loss | 0.5000 |" in after.summary
    assert before.outputs["model"] != after.outputs["model"] == release.sha256(trained.root / MODEL)


def test_data_that_only_miss_on_disk_are_brought(merged: Project) -> None:
    """A fresh clone trains without ingesting again, and comes to the same model."""
    for path in [merged.root / MODEL, *(merged.root / "data/raw").glob("*.parquet")]:
        path.unlink(missing_ok=True)
    outcome = train.run(merged)

    assert outcome.outputs["changed"] == "false"
    assert len(list((merged.root / "data/raw").glob("*.parquet"))) == 2
    assert (merged.root / MODEL).exists()


def test_a_stage_that_fails_is_named(trained: Project, capfd: pytest.CaptureFixture[str]) -> None:
    """The error says which stage and command, and the stage's own words stand on stderr; the lock is as it was."""
    lock = (trained.root / "dvc.lock").read_bytes()
    (trained.root / "params.yaml").write_text("noise: -1\n")

    with pytest.raises(StoreError, match=r"failed to reproduce 'train' .*train\.py.*exited with 1") as caught:
        train.run(trained)

    assert caught.value.exit_code == 1
    assert "own words stand above" in caught.value.fix
    assert "noise cannot be negative" in capfd.readouterr().err
    assert (trained.root / "dvc.lock").read_bytes() == lock


@pytest.mark.parametrize(
    "text", ["stages: [", "stages:\n  train:\n    deps: [a]\n", "stages:\n  train: {cmd: 'true', deps: [nowhere], outs: [x]}\n", None]
)
def test_a_broken_pipeline_is_told(tmp_path: Path, text: str | None) -> None:
    """No YAML, no command, an input that is not there, no file at all: DVC's reason, in one message."""
    project = mini_project.yard(tmp_path)
    (project.root / "dvc.yaml").unlink()
    if text is not None:
        (project.root / "dvc.yaml").write_text(text)

    with pytest.raises(StoreError, match=r"dvc\.yaml|nowhere"):
        train.run(project)


def test_a_stage_does_not_write_the_steps_files(trained: Project, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The environment of a stage names neither output nor summary of the step that runs it; the step's own is intact afterwards."""
    for name in ("GITHUB_OUTPUT", "GITHUB_STEP_SUMMARY"):
        monkeypatch.setenv(name, str(tmp_path / name))
    script = trained.source / trained.policy.package / "train.py"
    script.write_text(
        "import os\nfor name in ('GITHUB_OUTPUT', 'GITHUB_STEP_SUMMARY'):\n    assert name not in os.environ\n" + script.read_text()
    )

    assert train.run(trained).outputs["changed"] == "true"
    monkeypatch.setenv("GITHUB_OUTPUT", str(tmp_path / "GITHUB_OUTPUT"))
    assert not (tmp_path / "GITHUB_OUTPUT").exists()


@pytest.mark.parametrize("content", ["[1, 2]", "{broken"])
def test_metrics_of_another_shape_are_told(trained: Project, content: str) -> None:
    """reports/train.json is written by the project's own stage: what is no JSON object there is its fault."""
    script = trained.source / trained.policy.package / "train.py"
    script.write_text(f"{script.read_text()}\nPath('reports/train.json').write_text({content!r})\n")

    with pytest.raises(ProjectError, match=r"reports/train\.json holds no JSON object"):
        train.run(trained)
