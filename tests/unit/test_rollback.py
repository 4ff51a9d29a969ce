"""``rollback``: an earlier release comes back by a new commit."""

from __future__ import annotations

from pathlib import Path

import pytest
from unit import mini_project
from unit.test_promote import champion
from unit.test_propose import main, proposed

from modelyard import git, history, registry, report, rollback, state
from modelyard.errors import UsageError
from modelyard.project import RELEASE, Project


def chosen(project: Project, to: str) -> str:
    return rollback._choose(history.releases(project.root), to).release.model.version


def test_the_earlier_release_comes_back(succeeded: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its files in a new commit on main, built from the commit that its record names, live; nothing else changes, and it can be undone."""
    (succeeded.root / "README.md").write_text("docs")
    before = mini_project.commit(succeeded.root, "Docs")
    script = succeeded.source / succeeded.policy.package / "model.py"
    script.write_text("raise RuntimeError('main is broken')\n")
    before = mini_project.commit(succeeded.root, "Newer code")

    monkeypatch.setenv("GITHUB_ACTOR", "olga")
    outcome = rollback.run(succeeded, reason="May was bad")

    commit = outcome.outputs["commit"]
    assert (outcome.verdict, outcome.exit_code, outcome.outputs["merged"]) == ("live", 0, "true")
    assert (main(succeeded), git.head(succeeded.root, f"{commit}~1"), champion(succeeded)) == (commit, before, "1")
    assert git.run("diff", "--name-status", before, commit, cwd=succeeded.root).splitlines() == [
        "D\tdata/raw/2013-03.parquet.dvc",
        "M\tdvc.lock",
        "M\treleases/model-card.md",
        "M\treleases/production.yaml",
    ]
    first = git.head(succeeded.root, "HEAD~4")  # before: two commits, the second merge, the better model
    assert git.show(succeeded.root, commit, RELEASE.as_posix()) == git.show(succeeded.root, first, RELEASE.as_posix())
    assert "May was bad" in git.run("log", "-1", "--format=%B", commit, cwd=succeeded.root)
    git.run("pull", "--quiet", "origin", "main", cwd=succeeded.root)
    told = [(entry["rollback"], entry["approved_by"]) for entry in report.audit(succeeded)]
    assert told == [(True, "olga"), (False, "Test"), (False, "Test")]
    git.run("reset", "--quiet", "--hard", commit, cwd=succeeded.root)
    assert chosen(succeeded, "previous") == "2"


def test_who_may_be_chosen(succeeded: Project) -> None:
    """previous, a version, or the start of a release commit of at least seven characters."""
    first = git.head(succeeded.root, "HEAD~2")

    assert [chosen(succeeded, to) for to in ("previous", "1", first, first[:7])] == ["1"] * 4


@pytest.mark.parametrize(
    ("to", "message"),
    [
        ("2", "Version 2 is what main records already"),
        ("9", "There is no release '9'"),
        ("", "There is no release ''"),
    ],
)
def test_who_may_not_be_chosen(succeeded: Project, to: str, message: str) -> None:
    """What is live already and what never was: told with the versions there are, and nothing is pushed."""
    before = main(succeeded)

    with pytest.raises(UsageError, match=message) as caught:
        rollback.run(succeeded, to)

    assert "already" in message or "versions are 2, 1" in caught.value.fix
    assert main(succeeded) == before


def test_before_there_is_anything_to_go_back_to(merged: Project, tmp_path: Path) -> None:
    """No release, or only one, is told; a shallow clone is thought of."""
    with pytest.raises(UsageError, match="is the only release") as caught:
        rollback.run(merged)
    assert "--unshallow" in caught.value.fix
    with pytest.raises(UsageError, match="Nothing was released yet"):
        rollback.run(mini_project.yard(tmp_path / "new"))


def test_a_release_that_cannot_be_proved_is_refused_before_main_moves(succeeded: Project, tmp_path: Path) -> None:
    """The version is not in the registry any more."""
    before = main(succeeded)

    def forget(folder: Path) -> None:
        registry.connect(folder).client.delete_model_version("mini", "1")

    state.transact(succeeded.root, forget, "forget")
    outcome = rollback.run(succeeded)

    assert (outcome.verdict, outcome.exit_code, outcome.outputs["check"]) == ("refused", 10, "registry")
    assert outcome.summary.startswith("**rollback: refused** (registry)")
    assert (main(succeeded), champion(succeeded), proposed(succeeded)) == (before, "2", proposed(succeeded))


def test_a_service_that_does_not_start_is_refused_before_main_moves(succeeded: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    """main, the release branch and the alias are as they were: main never records what cannot run."""
    before = main(succeeded), proposed(succeeded), champion(succeeded)
    export, folders = git.export, []

    def without_service(cwd: Path, rev: str, into: Path) -> None:
        export(cwd, rev, into)
        folders.extend(into.glob("src/*/service.py"))
        folders[-1].unlink()

    monkeypatch.setattr(git, "export", without_service)

    outcome = rollback.run(succeeded)

    assert folders
    assert (outcome.verdict, outcome.outputs["check"]) == ("refused", "smoke test")
    assert (main(succeeded), proposed(succeeded), champion(succeeded)) == before
