"""``report`` and the history it tells: the model card and the audit record."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner
from unit import mini_project

from modelyard import git, history, release, report
from modelyard.errors import UsageError
from modelyard.outcome import Outcome
from modelyard.project import CARD, RELEASE, Project


def said(*args: str) -> str:
    outcome = CliRunner().invoke(report.command, args, catch_exceptions=False, standalone_mode=False).return_value
    assert isinstance(outcome, Outcome)
    return outcome.summary


def test_the_audit_record_names_every_release(succeeded: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    """Newest first, a merge as one release by who merged it; the same as table and as JSON."""
    monkeypatch.chdir(succeeded.root)

    entries = json.loads(said("audit", "--json"))
    table = said()

    assert [entry["model"]["version"] for entry in entries] == ["2", "1"]
    assert [entry["commit"] for entry in entries] == [git.head(succeeded.root), git.head(succeeded.root, "HEAD~2")]
    assert [entry["approved_by"] for entry in entries] == ["Test", "Test"]
    assert table.startswith("**2 releases**")
    assert len(table.splitlines()) == 6


def test_a_record_that_cannot_be_read_does_not_hide_the_others(succeeded: Project) -> None:
    """A broken record in the history, or one deleted, is left out."""
    (succeeded.root / RELEASE).write_text("<<<<<<< HEAD")
    mini_project.commit(succeeded.root, "Break it")
    (succeeded.root / RELEASE).unlink()
    mini_project.commit(succeeded.root, "Delete it")

    assert [entry.release.model.version for entry in history.releases(succeeded.root)] == ["2", "1"]


def test_the_card_is_that_of_the_release(succeeded: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    """Metrics beside the champion's, data, and how to rebuild it."""
    monkeypatch.chdir(succeeded.root)

    card = said("card")

    assert card == (succeeded.root / CARD).read_text().rstrip()
    assert card.startswith("# mini, version 2\n")
    judged = release.read((succeeded.root / RELEASE).read_bytes()).evaluation
    assert f"| roc_auc | {judged.challenger:.4f} | {judged.champion:.4f} |" in card
    assert "- `data/raw/2013-03.parquet` (" in card
    assert "{{" not in card


def test_before_the_first_release(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing released is told as such; a repository without a commit is an error of usage."""
    project = mini_project.yard(tmp_path / "a")
    monkeypatch.chdir(project.root)
    assert said() == "**Nothing was released yet.**"
    with pytest.raises(UsageError, match="no model card"):
        said("card")

    monkeypatch.chdir(mini_project.make(tmp_path / "b", periods=()).root)
    with pytest.raises(UsageError, match="no commit 'HEAD'"):
        said()
