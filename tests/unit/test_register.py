"""``register``: the run, the version and the data, in one transaction."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from unit import mini_project
from unit.conftest import FEBRUARY

from modelyard import git, register, registry, release, state
from modelyard.errors import ModelyardError, ProjectError, UsageError
from modelyard.project import MODEL, Project


def store(project: Project) -> registry.Registry:
    return registry.connect(project.root / state.FOLDER)


def test_a_model_to_promote_becomes_a_version(trained: Project, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Run, artifacts, version, alias challenger and the data in the remote; again, and nothing is new."""
    monkeypatch.setenv("GITHUB_EVENT_NAME", "schedule")
    first = register.run(trained, FEBRUARY)
    landed = git.run("ls-remote", "origin", state.BRANCH, cwd=trained.root)
    second = register.run(trained, FEBRUARY)

    (version,) = registry.versions(store(trained), "mini")
    run = store(trained).client.get_run(version.run_id)
    assert first.outputs == second.outputs == {"version": "1", "run-id": version.run_id}
    assert version.sha256 == release.sha256(trained.root / MODEL)
    assert registry.get_alias(store(trained), "mini", "challenger") == version
    assert {name: run.data.tags[name] for name in ("trigger", "verdict", "git.commit", "logical_date")} == {
        "trigger": "schedule",
        "verdict": "promote",
        "git.commit": git.head(trained.root),
        "logical_date": "2013-03-01T00:00:00+00:00",
    }
    assert run.data.params == {"noise": "2.0"}
    assert 0.5 < run.data.metrics["roc_auc"] < 1
    for name in ("reports/evaluate.json", "models/examples.json", "models/profile.parquet"):
        kept = registry.download(store(trained), version.run_id, Path(name).name, tmp_path)
        assert kept.read_bytes() == (trained.root / name).read_bytes()
    assert len([p for p in (trained.root / state.FOLDER / "dvc").rglob("*") if p.is_file()]) >= 5
    assert git.run("ls-remote", "origin", state.BRANCH, cwd=trained.root) == landed


def test_a_model_to_keep_out_is_only_logged(trained: Project) -> None:
    """The run is kept as evidence; no version, no alias, and nothing goes to the data remote."""
    path = trained.root / "reports/evaluate.json"
    path.write_text(path.read_text().replace('"verdict": "promote"', '"verdict": "keep"'))

    outcome = register.run(trained, FEBRUARY)

    assert outcome.outputs["version"] == ""
    assert "the verdict is keep" in outcome.summary
    assert store(trained).client.get_run(outcome.outputs["run-id"]).data.tags["verdict"] == "keep"
    assert registry.versions(store(trained), "mini") == []
    assert list((trained.root / state.FOLDER / "dvc").iterdir()) == []
    assert json.loads((trained.root / "reports/register.json").read_text())["version"] == ""


def test_a_state_that_refuses_leaves_nothing_behind(trained: Project, tmp_path: Path) -> None:
    """The branch is protected: the error says so, and neither version nor report exists."""
    mini_project.protect(tmp_path / "origin.git", state.BRANCH)

    with pytest.raises(ModelyardError, match="refused the push"):
        register.run(trained, FEBRUARY)

    assert git.run("ls-remote", "origin", state.BRANCH, cwd=trained.root) == ""
    assert not (trained.root / "reports/register.json").exists()


def test_what_is_missing_or_does_not_belong_is_named(trained: Project) -> None:
    """No model, a broken report, a report on another model, no origin: each with the command that makes it right."""
    report = trained.root / "reports/evaluate.json"
    whole = report.read_text()
    git.run("remote", "remove", "origin", cwd=trained.root)
    with pytest.raises(UsageError, match="no remote `origin`"):
        register.run(trained, FEBRUARY)
    report.write_text(whole.replace(release.sha256(trained.root / MODEL), "0" * 64))
    with pytest.raises(ProjectError, match="judges another model"):
        register.run(trained, FEBRUARY)
    for broken in ("{", "{}"):
        report.write_text(broken)
        with pytest.raises(ProjectError, match="is not what this version writes"):
            register.run(trained, FEBRUARY)
    report.unlink()
    with pytest.raises(ProjectError, match=r"evaluate\.json is missing"):
        register.run(trained, FEBRUARY)
    (trained.root / MODEL).unlink()
    report.write_text(whole)
    with pytest.raises(ProjectError, match=r"model\.onnx is missing"):
        register.run(trained, FEBRUARY)
