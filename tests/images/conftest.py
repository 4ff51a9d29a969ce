"""Images are built and run for real: by docker, podman or buildah, from a base that is made here by debootstrap."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from unit.conftest import _brief_timings, _stations, merged, registered, succeeded, trained  # noqa: F401 - fixtures

from modelyard import image
from modelyard.image import Builder

#: Where the base is kept from run to run; read before a test changes HOME.
CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "modelyard-tests"
#: An image to build on instead, where the builder can pull: docker.io/library/python:3.11-slim.
GIVEN = os.environ.get("MODELYARD_TEST_BASE", "")
BASE = "localhost/modelyard-test-base:bookworm"


@pytest.fixture(scope="session")
def _builder() -> Iterator[Builder]:
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv(image.VARIABLE, raising=False)
        found = image.find()
    if found is None:
        pytest.skip("no docker, podman or buildah works here: apt-get install buildah debootstrap")
    before = _names(found)
    yield found
    for name in _names(found) - before - {BASE, GIVEN}:
        subprocess.run([found.name, "rmi", "--force", name], check=True, capture_output=True)


def _names(builder: Builder) -> set[str]:
    field = "{{.Name}}" if builder.name == "buildah" else "{{.Repository}}"
    command = [builder.name, "images", "--format", f"{field}:{{{{.Tag}}}}"]
    listed = subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()
    return {name for name in listed if "<none>" not in name}


@pytest.fixture(scope="session")
def base(_builder: Builder) -> str:
    """Return the image that tests build on."""
    if GIVEN:
        return GIVEN
    if _builder.megabytes(BASE) is None:
        _import(_builder, _debian())
    return BASE


@pytest.fixture
def builder(_builder: Builder, base: str, monkeypatch: pytest.MonkeyPatch) -> Builder:
    """Return the builder of this machine, which the verbs find too."""
    monkeypatch.setenv(image.VARIABLE, _builder.name)
    if _builder.name == "buildah":
        monkeypatch.setenv("BUILDAH_ISOLATION", "chroot")  # needs neither namespaces nor a runtime
    return _builder


def _debian() -> Path:
    """Debian with its Python, as one archive."""
    archive = CACHE / "bookworm.tar"
    if archive.exists():
        return archive
    if not shutil.which("debootstrap"):
        pytest.skip("there is no base: apt-get install debootstrap, or name one in MODELYARD_TEST_BASE")
    CACHE.mkdir(parents=True, exist_ok=True)
    folder = CACHE / "bookworm"
    shutil.rmtree(folder, ignore_errors=True)
    subprocess.run(["debootstrap", "--variant=minbase", "--include=python3", "bookworm", str(folder)], check=True, capture_output=True)
    for cache in ("var/cache/apt/archives", "var/lib/apt/lists"):
        shutil.rmtree(folder / cache)
    draft = archive.with_suffix(".part")
    subprocess.run(["tar", "-C", str(folder), "-cf", str(draft), "."], check=True)
    shutil.rmtree(folder)
    draft.rename(archive)
    return archive


def _import(builder: Builder, archive: Path) -> None:
    def call(*words: str) -> str:
        return subprocess.run([builder.name, *words], check=True, capture_output=True, text=True).stdout.strip()

    if builder.name != "buildah":
        call("import", str(archive), BASE)
        return
    container = call("from", "scratch")
    call("add", container, str(archive), "/")
    call("commit", "--format", "docker", "--rm", container, BASE)


@pytest.fixture
def files_of(builder: Builder, tmp_path: Path) -> Iterator[Callable[[str], Path]]:
    """Return a function that gives a folder with an image's files."""
    containers = []

    def call(*words: str) -> str:
        return subprocess.run([builder.name, *words], check=True, capture_output=True, text=True).stdout.strip()

    def show(reference: str) -> Path:
        if builder.name == "buildah":
            containers.append(call("from", "--pull-never", reference))
            return Path(call("mount", containers[-1]))
        containers.append(call("create", reference))
        folder = tmp_path / f"files-{len(containers)}"
        folder.mkdir()
        call("export", "--output", str(folder.with_suffix(".tar")), containers[-1])
        subprocess.run(["tar", "-xf", folder.with_suffix(".tar"), "-C", folder, "--exclude=dev"], check=True)
        return folder

    yield show
    for container in containers:
        call("rm", container)
