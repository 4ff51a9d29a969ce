"""Git as a child process, against real repositories."""

from __future__ import annotations

import base64
import os
from pathlib import Path

import pytest
from unit import mini_project

from modelyard import git
from modelyard.errors import GitError, PushRaceError, PushRejectedError, UsageError


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    """Return a repository with one commit on main, pushed to ``origin.git`` beside it."""
    root = tmp_path / "project"
    git.run("init", "--quiet", "--bare", "--initial-branch=main", str(tmp_path / "origin.git"), cwd=tmp_path)
    git.run("init", "--quiet", str(root), cwd=tmp_path)
    git.run("remote", "add", "origin", (tmp_path / "origin.git").as_uri(), cwd=root)
    (root / "kept.txt").write_text("kept")
    (root / "gone.txt").write_text("gone")
    mini_project.commit(root, "first")
    return root


def test_a_lost_race_is_told_from_a_refusal(clone: Path, tmp_path: Path) -> None:
    """Who pushes second lost a race, and may try again; whom a hook or a rule refuses must stop."""
    second = git.commit_files(clone, "HEAD", {"a": b"1"}, "second")
    other = git.commit_files(clone, "HEAD", {"a": b"2"}, "other")
    git.push("origin", f"{second}:refs/heads/main", cwd=clone)

    for arguments in (["origin"], ["--force-with-lease=refs/heads/main:", "origin"]):
        with pytest.raises(PushRaceError):
            git.push(*arguments, f"{other}:refs/heads/main", cwd=clone)
    mini_project.protect(tmp_path / "origin.git")
    with pytest.raises(PushRejectedError, match="hook declined") as caught:
        git.push("--force", "origin", f"{other}:refs/heads/main", cwd=clone)

    assert "protection rules" in caught.value.fix
    assert git.head(clone, "origin/main") == second


def test_a_remote_that_is_not_there_is_neither(clone: Path, tmp_path: Path) -> None:
    """A push into nothing is a plain failure with git's words."""
    with pytest.raises(GitError, match="git push failed") as caught:
        git.push(str(tmp_path / "nowhere"), "HEAD:refs/heads/main", cwd=clone)

    assert type(caught.value) is GitError


def test_commit_files_changes_exactly_the_files(clone: Path) -> None:
    """Files are set and deleted in the new commit; branch, index and working tree stay, uncommitted changes included."""
    (clone / "kept.txt").write_text("edited")
    (clone / "staged.txt").write_text("staged")
    git.run("add", "staged.txt", cwd=clone)
    before = git.head(clone), git.run("status", "--porcelain", cwd=clone)

    commit = git.commit_files(clone, "HEAD", {"deep/new.bin": b"\0\r\n", "gone.txt": None, "never.txt": None}, "Title\n\nBody\n")

    assert (git.head(clone), git.run("status", "--porcelain", cwd=clone)) == before
    assert git.run("diff", "--name-status", "HEAD", commit, cwd=clone).split() == ["A", "deep/new.bin", "D", "gone.txt"]
    assert git.show(clone, commit, "deep/new.bin") == b"\0\r\n"
    assert git.run("log", "-1", "--format=%B%an", commit, cwd=clone) == "Title\n\nBody\nTest"


def test_a_machine_without_identity_can_commit(clone: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A runner has none: the toolkit signs there; whoever is configured, or named by the environment, wins."""
    monkeypatch.setenv("HOME", str(tmp_path / "empty"))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "empty"))
    monkeypatch.delenv("EMAIL", raising=False)

    def people() -> str:
        return git.run("log", "-1", "--format=%an <%ae> %cn <%ce>", git.commit_files(clone, "HEAD", {"a": b"1"}, "m"), cwd=clone)

    nobody = people()
    git.run("config", "user.name", "Ada", cwd=clone)
    git.run("config", "user.email", "ada@example.org", cwd=clone)
    configured = people()
    monkeypatch.setenv("GITHUB_ACTIONS", "true")
    in_a_job = people()
    monkeypatch.setenv("GIT_AUTHOR_NAME", "Bot")
    named = people()

    toolkit = "modelyard <modelyard@users.noreply.github.com>"
    assert nobody == f"{toolkit} {toolkit}"
    assert configured == in_a_job == "Ada <ada@example.org> Ada <ada@example.org>"
    assert named == "Bot <ada@example.org> Ada <ada@example.org>"


def test_a_parents_repository_is_not_taken(clone: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Run from a git hook, whose environment names another repository, git works on ours."""
    (tmp_path / "other").mkdir()
    git.run("init", "--quiet", cwd=tmp_path / "other")
    for name, value in {
        "GIT_DIR": ".git",
        "GIT_WORK_TREE": "",
        "GIT_INDEX_FILE": ".git/index",
        "GIT_OBJECT_DIRECTORY": ".git/objects",
    }.items():
        monkeypatch.setenv(name, str(tmp_path / "other" / value))

    assert git.root(clone) == clone
    assert git.ls(clone, "HEAD", ".") == ["gone.txt", "kept.txt"]
    assert git.show(clone, git.commit_files(clone, "HEAD", {"a": b"1"}, "m"), "a") == b"1"


def test_the_token_is_in_the_childs_environment_only(clone: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Git sends it to the job's server, beside settings that were there; nothing of it is in any file."""
    monkeypatch.setenv("GITHUB_TOKEN", "t0-ken")
    monkeypatch.setenv("GITHUB_SERVER_URL", "https://forge.example")
    for name, value in {"COUNT": "1", "KEY_0": "core.abbrev", "VALUE_0": "9"}.items():
        monkeypatch.setenv(f"GIT_CONFIG_{name}", value)
    secret = base64.b64encode(b"x-access-token:t0-ken").decode()

    def sent(address: str) -> str:
        return git.attempt("config", "--get-urlmatch", "http.extraheader", address, cwd=clone).stdout.decode().strip()

    git.commit_files(clone, "HEAD", {"a": b"1"}, "m")
    git.fetch(clone, "main")

    assert sent("https://forge.example/owner/flights") == f"AUTHORIZATION: basic {secret}"
    assert sent("https://elsewhere.example/owner/flights") == ""
    assert git.run("config", "core.abbrev", cwd=clone) == "9"
    texts = [path.read_bytes() for path in clone.rglob("*") if path.is_file()]
    assert not any(word in text for text in texts for word in (b"t0-ken", secret.encode()))
    assert os.environ["GIT_CONFIG_COUNT"] == "1"


def test_export_fetches_a_commit_that_a_shallow_clone_lacks(clone: Path, tmp_path: Path) -> None:
    """From a checkout of depth 1, the code of an earlier commit is brought without its history."""
    first = git.head(clone)
    (clone / "kept.txt").write_text("changed")
    mini_project.commit(clone, "second")
    git.run("clone", "--quiet", "--depth=1", (tmp_path / "origin.git").as_uri(), "shallow", cwd=tmp_path)
    shallow = tmp_path / "shallow"

    assert not git.has(shallow, first)
    git.export(shallow, first, tmp_path / "tree")

    assert (tmp_path / "tree/kept.txt").read_text() == "kept"
    assert not (tmp_path / "tree/.git").exists()
    assert git.run("rev-parse", "--is-shallow-repository", cwd=shallow) == "true"


def test_what_is_missing_is_named(clone: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No repository, no origin, no such commit, no git: each with what to do."""
    git.run("remote", "remove", "origin", cwd=clone)
    (tmp_path / "plain").mkdir()
    git.run("init", "--quiet", cwd=tmp_path / "plain")

    with pytest.raises(UsageError, match="no remote `origin`"):
        git.origin(clone)
    with pytest.raises(UsageError, match="no commit 'HEAD'"):
        git.head(tmp_path / "plain")
    for rev in ("nonsense", "--all"):
        with pytest.raises(UsageError, match=f"no commit '{rev}'"):
            git.head(clone, rev)
    with pytest.raises(UsageError, match="not in a git repository"):
        git.root(tmp_path)
    with pytest.raises(GitError, match="git fetch"):
        git.fetch(clone, "main")
    monkeypatch.setenv("PATH", str(tmp_path / "empty"))
    with pytest.raises(UsageError, match="git was not found"):
        git.root(clone)


def test_a_repository_of_another_user_is_told_as_such(clone: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In a job's container the checkout has another owner: the message is not that there is no repository."""
    monkeypatch.setenv("GIT_TEST_ASSUME_DIFFERENT_OWNER", "1")

    with pytest.raises(UsageError, match="does not trust") as caught:
        git.root(clone)

    assert "safe.directory" in caught.value.fix


def test_git_never_asks(clone: Path) -> None:
    """Where a password would be needed, the command fails instead of waiting for a person."""
    done = git.attempt("credential", "fill", cwd=clone, stdin=b"protocol=https\nhost=forge.example\n\n")

    assert done.returncode
    assert b"prompts disabled" in done.stderr
