"""``promote`` with a registry: images from the verified bytes, pushed, and named by digest on main."""

from __future__ import annotations

import json
import shutil
import socket
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from images.test_package import with_images
from unit import mini_project

from modelyard import git, image, package, promote, registry, release, rollback, serving, state
from modelyard.image import Builder
from modelyard.image.builder import Login
from modelyard.project import RELEASE, Project

pytestmark = [pytest.mark.images, pytest.mark.slow]

#: Of robot, whose password is `pa$$ word`.
PASSWORDS = "robot:$2y$05$abcdefghijklmnopqrstuuzk19Nmyt2lLRHtn33jauD0jOLrWZrEK\n"
KUBERNETES = "deploy/kubernetes/release/kustomization.yaml"


@pytest.fixture(params=[False], ids=["open"])
def server(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """Return host and port of a container registry; with the parameter True it asks who one is."""
    program = shutil.which("docker-registry") or shutil.which("registry")
    if program is None:
        pytest.skip("there is no registry: apt-get install docker-registry")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        host = f"127.0.0.1:{probe.getsockname()[1]}"
    settings: dict[str, Any] = {
        "version": 0.1,
        "log": {"level": "error"},
        "storage": {"filesystem": {"rootdirectory": str(tmp_path / "registry")}},
        "http": {"addr": host},
    }
    if request.param:
        (tmp_path / "passwords").write_text(PASSWORDS)
        settings["auth"] = {"htpasswd": {"realm": "test", "path": str(tmp_path / "passwords")}}
    (tmp_path / "registry.yml").write_text(yaml.safe_dump(settings))
    process = subprocess.Popen([program, "serve", str(tmp_path / "registry.yml")], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    for _ in range(100):
        try:
            urllib.request.urlopen(f"http://{host}/v2/", timeout=1).close()
            break
        except urllib.error.HTTPError:  # it asks who one is
            break
        except OSError:
            time.sleep(0.1)
    yield host
    process.terminate()
    process.wait()


def manifest(server: str, name: str, digest: str) -> dict[str, Any]:
    """What the registry holds under a digest."""
    accepted = "application/vnd.docker.distribution.manifest.v2+json, application/vnd.oci.image.manifest.v1+json"
    request = urllib.request.Request(f"http://{server}/v2/{name}/manifests/{digest}", headers={"Accept": accepted})
    with urllib.request.urlopen(request) as answer:
        return dict(json.load(answer))


def deployed(project: Project, server: str, base: str) -> Project:
    """The project with a folder deploy/ on main, and a registry in its policy."""
    for path, text in {KUBERNETES: "kind: Component\n", "deploy/compose.yaml": "services: {}\n"}.items():
        (project.root / path).parent.mkdir(parents=True, exist_ok=True)
        (project.root / path).write_text(text)
    mini_project.commit(project.root, "Deploy")
    return with_images(project, base, registry=f"{server}/team/mini")


def tags(project: Project, version: str) -> dict[str, str]:
    """The tags of a model version."""
    found = registry.get_version(registry.connect(project.root / state.FOLDER), "mini", version)
    assert found is not None
    return dict(found.tags)


def on_main(project: Project, path: str) -> str:
    """A file at main of the origin."""
    git.fetch(project.root, "+refs/heads/main:refs/remotes/origin/main")
    return (git.show(project.root, "origin/main", path) or b"").decode()


def test_a_release_names_its_images(merged: Project, builder: Builder, base: str, server: str) -> None:
    """Built from the verified bytes, pushed, then live; deploy/ on main and the registered version name them by digest."""
    project = deployed(merged, server, base)
    record = (project.root / RELEASE).read_bytes()

    outcome = promote.run(project)

    name = f"{server}/team/mini"
    pushed = f"{name}@{outcome.outputs['cpu-digest']}"
    held = manifest(server, "team/mini", outcome.outputs["cpu-digest"])
    assert (outcome.verdict, outcome.outputs["image"], outcome.outputs["gpu-digest"]) == ("live", name, "")
    assert manifest(server, "team/mini", "1-cpu") == held
    assert tags(project, "1")["modelyard.image.cpu"] == pushed
    assert pushed in outcome.summary
    (entry,) = yaml.safe_load(on_main(project, KUBERNETES))["images"]
    assert f"{entry['newName']}@{entry['digest']}" == pushed
    assert f"MODELYARD_IMAGE_CPU={pushed}\n" in on_main(project, "deploy/.env")
    assert on_main(project, RELEASE.as_posix()).encode() == record  # as it was approved


def test_a_second_time_nothing_is_built_or_pushed(merged: Project, builder: Builder, base: str, server: str) -> None:
    """Promote is idempotent: alias, image and main stay; a run that was killed before main named the images is completed."""
    project = deployed(merged, server, base)
    before = git.head(project.root)
    promote.run(project)
    named = on_main(project, KUBERNETES)
    git.run("push", "--quiet", "--force", "origin", f"{before}:main", cwd=project.root)  # as if it had been killed
    shutil.rmtree(project.root / package.HOME)

    outcome = promote.run(project)

    assert "it was live already" in outcome.summary
    assert not (project.root / package.HOME).exists()
    assert on_main(project, KUBERNETES) == named
    git.run("pull", "--quiet", "--ff-only", "origin", "main", cwd=project.root)
    assert "is up to date" in promote.run(project).summary


def test_where_main_is_protected_a_branch_asks(merged: Project, builder: Builder, base: str, server: str) -> None:
    """The model is live, the images are pushed; what clusters follow waits for a merge, and the summary says for which."""
    project = deployed(merged, server, base)
    mini_project.protect(project.root.parent / "origin.git")

    outcome = promote.run(project)

    assert outcome.verdict == "live"
    assert "branch `modelyard/deployment`" in outcome.summary
    assert on_main(project, KUBERNETES) == "kind: Component\n"


def test_a_rollback_deploys_the_images_that_were_live(succeeded: Project, builder: Builder, base: str, server: str) -> None:
    """Version 1 comes back by the very image that it had: nothing is pushed, and one commit names release and image."""
    project = deployed(succeeded, server, base)
    one = f"{server}/team/mini@sha256:{'1' * 64}"

    def write(folder: Path) -> None:
        registry.set_tags(registry.connect(folder), "mini", "1", {f"{promote.IMAGE}cpu": one})

    state.transact(project.root, write, "as promote did")
    before = git.head(project.root, "origin/main")
    outcome = rollback.run(project)

    assert outcome.verdict == "live", outcome.summary
    assert release.read(on_main(project, RELEASE.as_posix())).model.version == "1"
    assert f"MODELYARD_IMAGE_CPU={one}\n" in on_main(project, "deploy/.env")
    assert git.run("rev-list", "--count", f"{before}..origin/main", cwd=project.root) == "1"


def test_a_registry_that_does_not_answer_leaves_the_champion(merged: Project, builder: Builder, base: str) -> None:
    """The push fails: refused, by the check of the image, in the builder's words; no alias moves, and main stays."""
    project = deployed(merged, "127.0.0.1:9", base)
    before = git.head(project.root)

    outcome = promote.run(project)

    assert (outcome.verdict, outcome.exit_code, outcome.outputs["check"]) == ("refused", 10, "image")
    assert "127.0.0.1:9/team/mini:1-cpu cannot be pushed" in outcome.outputs["reason"]
    assert promote.WAS_LIVE not in tags(project, "1")
    git.fetch(project.root, "+refs/heads/main:refs/remotes/origin/main")
    assert git.head(project.root, "origin/main") == before


@pytest.mark.parametrize("server", [True], indirect=True, ids=["closed"])
def test_who_pushes_comes_from_the_environment(
    builder: Builder, base: str, server: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """A closed registry takes the push by the password given, refuses another, and no login is left behind."""
    target = f"{server}/team/mini:1"
    with pytest.raises(serving.ServiceError, match="cannot be pushed"):
        builder.push(base, target)
    with pytest.raises(serving.ServiceError, match="does not let robot in"):
        builder.push(base, target, Login("robot", "guess"))
    monkeypatch.setenv("MODELYARD_REGISTRY_USER", "robot")
    monkeypatch.setenv("MODELYARD_REGISTRY_PASSWORD", "pa$$ word")

    assert builder.push(base, target, image.login(server)).startswith("sha256:")
    with pytest.raises(serving.ServiceError, match="cannot be pushed"):
        builder.push(base, target)
