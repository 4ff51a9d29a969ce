"""``deployment``: the images of a release, by digest, on main."""

from __future__ import annotations

import hashlib
import re
from datetime import UTC, datetime
from pathlib import Path

import pytest
import yaml
from unit import mini_project
from unit.test_github import Forge, forge

from modelyard import deployment, git, release
from modelyard.errors import ServiceError
from modelyard.project import RELEASE
from modelyard.release import Code, Evaluation, Model, Release

__all__ = ["forge"]  # a fixture

IMAGES = {"cpu": "ghcr.io/owner/flights:3@sha256:" + "1" * 64, "gpu": "localhost:5000/flights-gpu@sha256:" + "2" * 64}


def released(name: str, version: str) -> Release:
    """The record of a version; the hash of its model differs from any other's."""
    day = datetime(2013, 3, 1, tzinfo=UTC)
    digest = hashlib.sha256(version.encode()).hexdigest()
    return Release(
        model=Model(name=name, version=version, run_id="run", path="models/model.onnx", sha256=digest),
        evaluation=Evaluation(
            sha256="b" * 64, verdict="promote", metric="roc_auc", challenger=0.7, champion=None, lower=None, holdout=(day, day)
        ),
        data=[],
        code=Code(commit="c" * 40, dvc_lock="d" * 64, uv_lock=None),
        logical_date=day,
        trigger="test",
        risk="moderate",
    )


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Make a project that records version 3, and deploys in both ways, pushed to an origin."""
    root = tmp_path / "project"
    git.run("init", "--quiet", "--bare", "--initial-branch=main", str(tmp_path / "origin.git"), cwd=tmp_path)
    root.mkdir()
    git.run("init", "--quiet", "--initial-branch=main", cwd=root)
    git.run("remote", "add", "origin", "../origin.git", cwd=root)
    for path, text in {
        deployment.KUBERNETES: "# nothing released\n",
        Path("deploy/compose.yaml"): "services: {}\n",
        RELEASE: release.write(released("flights", "3")),
    }.items():
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_text(text)
    mini_project.commit(root, "Release flights 3")
    return root


def on_origin(root: Path, branch: str = "main") -> str:
    return git.run("ls-remote", "origin", f"refs/heads/{branch}", cwd=root).partition("\t")[0]


def differing(root: Path, commit: str) -> list[str]:
    return git.run("diff", "--name-only", f"{commit}~1", commit, cwd=root).splitlines()


def test_the_files_name_images_by_digest_and_the_model_by_its_hash() -> None:
    """A tag beside a digest is left out, a registry's port is not; the same release gives the same texts, in whatever order images come."""
    record = released("flights", "3")
    texts = deployment.files(record, IMAGES)

    component = yaml.safe_load(texts[deployment.KUBERNETES])
    assert component["images"] == [
        {"name": "released.invalid/cpu", "newName": "ghcr.io/owner/flights", "digest": "sha256:" + "1" * 64},
        {"name": "released.invalid/gpu", "newName": "localhost:5000/flights-gpu", "digest": "sha256:" + "2" * 64},
    ]
    assert component["configMapGenerator"][0]["literals"] == [f"MODELYARD_SHA256={record.model.sha256}"]
    assert component["labels"][0]["pairs"] == {"app.kubernetes.io/version": "3"}
    assert texts[deployment.COMPOSE].splitlines()[1:] == [
        "MODELYARD_IMAGE_CPU=ghcr.io/owner/flights@sha256:" + "1" * 64,
        "MODELYARD_IMAGE_GPU=localhost:5000/flights-gpu@sha256:" + "2" * 64,
        f"MODELYARD_SHA256={record.model.sha256}",
        "MODELYARD_VERSION=3",
    ]
    assert deployment.files(record, dict(reversed(IMAGES.items()))) == texts


@pytest.mark.parametrize(
    "image",
    [
        "ghcr.io/owner/flights:3",
        "ghcr.io/owner/flights",
        "ghcr.io/owner/flights@sha256:123",
        "ghcr.io/owner/flights@md5:" + "1" * 64,
        "@sha256:" + "1" * 64,
        "ghcr.io/owner/flights@sha256:" + "1" * 64 + "\nMODELYARD_SHA256=0",
        "ghcr.io/$OWNER/flights@sha256:" + "1" * 64,
        "",
    ],
)
def test_an_image_without_digest_is_refused(image: str) -> None:
    """A tag can be moved; and what is no image's name does not reach a file."""
    with pytest.raises(ServiceError, match="has no digest") as caught:
        deployment.files(released("flights", "3"), {"cpu": image})

    assert "sha256" in caught.value.fix


def test_no_image_is_refused() -> None:
    """Files that name none would stop what runs."""
    with pytest.raises(ServiceError, match="flights version 3 has no image"):
        deployment.files(released("flights", "3"), {})


def test_main_names_the_images_after_it(root: Path) -> None:
    """One commit on main that changes the two files, and neither record, index nor working tree; again, there is nothing to do."""
    before = on_origin(root)
    done = deployment.commit(root, released("flights", "3"), IMAGES)

    assert (done.commit, done.merged, done.pull) == (on_origin(root), True, "")
    assert git.head(root, f"{done.commit}~1") == before
    assert differing(root, done.commit) == [deployment.COMPOSE.as_posix(), deployment.KUBERNETES.as_posix()]
    assert git.run("log", "-1", "--format=%s", done.commit, cwd=root) == "Deploy flights 3"
    assert (git.head(root), git.run("status", "--porcelain", cwd=root)) == (before, "")

    again = deployment.commit(root, released("flights", "3"), IMAGES)

    assert (again.commit, again.merged, on_origin(root)) == ("", True, done.commit)
    assert "up to date" in again.words


def test_main_tells_which_images_it_deploys(root: Path) -> None:
    """Those of this model only; before the first, or with a file of the team's own in its place, none."""
    assert deployment.deployed(root, "HEAD", released("flights", "3")) == {}

    commit = deployment.commit(root, released("flights", "3"), IMAGES).commit

    named = {variant: re.sub(r":3@", "@", image) for variant, image in IMAGES.items()}
    assert deployment.deployed(root, commit, released("flights", "3")) == named
    assert deployment.deployed(root, commit, released("flights", "4")) == {}
    git.run("pull", "--quiet", "origin", "main", cwd=root)
    (root / deployment.KUBERNETES).write_text("[our, own]\n")
    mini_project.commit(root, "Another way")
    assert deployment.deployed(root, "HEAD", released("flights", "3")) == {}


def test_a_way_to_deploy_that_the_team_deleted_does_not_come_back(root: Path) -> None:
    """Without the compose file no variables for it; without both nothing is committed."""
    (root / "deploy/compose.yaml").unlink()
    mini_project.commit(root, "No compose")
    done = deployment.commit(root, released("flights", "3"), IMAGES)
    assert differing(root, done.commit) == [deployment.KUBERNETES.as_posix()]

    git.run("pull", "--quiet", "origin", "main", cwd=root)
    (root / deployment.KUBERNETES).unlink()
    before = mini_project.commit(root, "No Kubernetes")

    assert (deployment.commit(root, released("flights", "3"), IMAGES).commit, on_origin(root)) == ("", before)


def test_it_stands_on_what_others_pushed_meanwhile(root: Path, tmp_path: Path) -> None:
    """Main moved after it was fetched: the commit is made anew on top of theirs."""
    other = tmp_path / "other"
    git.run("clone", "--quiet", str(tmp_path / "origin.git"), str(other), cwd=tmp_path)
    (other / "README.md").write_text("docs")
    git.run("add", "README.md", cwd=other)
    git.run("commit", "--quiet", "-m", "Docs", cwd=other)
    theirs = git.head(other)
    # Just before git sends our commit, theirs arrives: as when both push at once.
    hook = root / ".git/hooks/pre-push"
    hook.parent.mkdir(exist_ok=True)
    hook.write_text(f"#!/bin/sh\nunset GIT_DIR\nrm -f {hook}\ngit -C {other} push --quiet origin HEAD:main\n")
    hook.chmod(0o755)

    done = deployment.commit(root, released("flights", "3"), IMAGES)

    assert (on_origin(root), git.head(root, f"{done.commit}~1")) == (done.commit, theirs)


def test_a_release_that_was_overtaken_is_not_deployed(root: Path) -> None:
    """Main records version 4 when the images of version 3 are ready: main stays as it is."""
    (root / RELEASE).write_text(release.write(released("flights", "4")))
    before = mini_project.commit(root, "Release flights 4")

    done = deployment.commit(root, released("flights", "3"), IMAGES)

    assert (done.commit, done.merged, on_origin(root)) == ("", False, before)
    assert "another release" in done.words


def test_a_protected_main_is_asked_by_a_pull_request(root: Path, tmp_path: Path, forge: Forge) -> None:
    """The commit becomes a branch of its own and one pull request, also when it comes twice; main stays."""
    before = on_origin(root)
    mini_project.protect(tmp_path / "origin.git")

    for _ in range(2):
        done = deployment.commit(root, released("flights", "3"), IMAGES)

    assert (on_origin(root), on_origin(root, deployment.BRANCH), done.merged, done.pull) == (before, done.commit, False, "pull/1")
    assert [(method, path) for method, path, _ in forge.calls] == [("POST", "pulls"), ("PATCH", "pulls/1")]
    body = forge.calls[0][2]
    assert (body["head"], body["base"], body["title"]) == ("modelyard/deployment", "main", "Deploy flights 3")
    assert "cpu: ghcr.io/owner/flights:3@sha256:1" in body["body"]
    assert "pull/1" in done.words


def test_without_a_forge_the_branch_waits(root: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """It says what it would have done, and what to merge."""
    mini_project.protect(tmp_path / "origin.git")
    done = deployment.commit(root, released("flights", "3"), IMAGES)

    assert (on_origin(root, deployment.BRANCH), done.pull) == (done.commit, "")
    assert "modelyard/deployment" in done.words
    assert "would open the pull request 'Deploy flights 3'" in capfd.readouterr().err


def test_a_forge_that_refuses_leaves_the_branch(root: Path, tmp_path: Path, forge: Forge) -> None:
    """The switch that is off is no crash: the branch is there to be merged by hand."""
    forge.refuse = (403, {"message": "GitHub Actions is not permitted to create or approve pull requests."})
    mini_project.protect(tmp_path / "origin.git")
    done = deployment.commit(root, released("flights", "3"), IMAGES)

    assert (on_origin(root, deployment.BRANCH), done.pull, done.merged) == (done.commit, "", False)


def test_another_commit_can_take_the_files_along(root: Path) -> None:
    """What differs at a commit, as a rollback needs it; nothing where they are there."""
    third, images = released("flights", "3"), {"cpu": IMAGES["cpu"]}
    before = on_origin(root)
    done = deployment.commit(root, third, IMAGES)

    texts = {path.as_posix(): text.encode() for path, text in deployment.files(third, images).items()}
    assert deployment.changes(root, before, third, images) == deployment.changes(root, done.commit, third, images) == texts
    assert deployment.changes(root, done.commit, third, IMAGES) == {}
