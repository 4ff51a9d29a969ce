"""``package`` with a builder: what is in an image, and what is not."""

from __future__ import annotations

import base64
import dataclasses
import json
import os
import re
import shutil
import subprocess
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, ClassVar

import pytest
from unit.conftest import FEBRUARY

from modelyard import git, image, package, policy, release, serving
from modelyard.image import Builder
from modelyard.outcome import Outcome
from modelyard.project import EXAMPLES, MODEL, Project

pytestmark = [pytest.mark.images, pytest.mark.slow]

#: What trains, and what builds: none of it serves.
FOREIGN = {"mlflow", "mlflow-skinny", "pandas", "scikit-learn", "scipy", "pandera", "dvc", "skl2onnx", "pip", "uv", "setuptools"}


def with_images(project: Project, base: str, **settings: Any) -> Project:
    """The project, whose policy asks for images."""
    wanted = policy.Image(base=base, **settings)
    changed = project.policy.serving.model_copy(update={"image": wanted})
    return dataclasses.replace(project, policy=project.policy.model_copy(update={"serving": changed}))


@dataclasses.dataclass(frozen=True)
class Packaged:
    """A project whose image was built."""

    project: Project
    outcome: Outcome
    report: dict[str, Any]

    @property
    def reference(self) -> str:
        return str(self.report["images"][0]["reference"])


@pytest.fixture(scope="module")
def _kept(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("packaged")


@pytest.fixture
def packaged(registered: Project, builder: Builder, base: str, _kept: Path) -> Packaged:
    """Return the registered project with its image; built once for this file."""
    kept = _kept / "packaged"
    if not kept.exists():
        outcome = package.run(with_images(registered, base), FEBRUARY)
        shutil.copytree(registered.root, kept, symlinks=True)
        (_kept / "summary").write_text(outcome.summary)
    project = with_images(Project(kept, policy.load(kept)), base)
    report = json.loads((kept / "reports/package.json").read_text())
    return Packaged(project, Outcome(verdict="packaged", summary=(_kept / "summary").read_text()), report)


def inspected(builder: Builder, reference: str) -> dict[str, Any]:
    """What a builder tells of an image: configuration, layers, time, history."""
    words = ["inspect", "--type", "image", reference]
    said = json.loads(subprocess.run([builder.name, *words], check=True, capture_output=True, text=True).stdout)
    if builder.name == "buildah":
        return {name: said["Docker"][name] for name in ("config", "rootfs", "created", "history")}
    (found,) = said
    health = {"Healthcheck": found["Healthcheck"]} if "Healthcheck" in found else {}  # podman's own place for it
    return {"config": found["Config"] | health, "rootfs": found["RootFS"], "created": found["Created"]}


def test_the_image_answers_as_recorded_and_is_small(packaged: Packaged) -> None:
    """One image from the Bento, by whatever builds here: at most 200 MB beyond its base; size and time stand in report and summary."""
    (built,) = packaged.report["images"]

    assert built["variant"] == "cpu"
    assert 0 < built["beyond_base_mb"] <= 200 or built["beyond_base_mb"] is None
    assert re.search(rf"cpu: {built['size_mb']:.0f} MB, .* beyond the base, \d+ packages, built in \d+ s", packaged.outcome.summary)
    assert built["reference"] == f"localhost/{packaged.report['bento']}-cpu"


def test_the_image_runs_as_nobody_and_is_watched(packaged: Packaged, builder: Builder) -> None:
    """A numeric user that is not root, port 3000, a health check without curl, volumes for all that is written."""
    config = inspected(builder, packaged.reference)["config"]

    assert config["User"] == "10001:10001"
    assert set(config["ExposedPorts"]) == {"3000/tcp"}
    assert set(config["Volumes"]) == {"/log", "/tmp"}
    assert config["Healthcheck"]["Test"][:3] == ["CMD", "python", "-c"]
    assert config["Cmd"] == ["bentoml", "serve", "/opt/service"]
    assert "MODELYARD_VARIANT=cpu" in config["Env"]


def test_the_image_says_what_it_is(packaged: Packaged, builder: Builder) -> None:
    """Labels by the OCI's names and ours: commit, version, logical date, model, run, data, hash."""
    root = packaged.project.root
    labels = inspected(builder, packaged.reference)["config"]["Labels"]
    entry = json.loads((root / "reports/register.json").read_text())

    assert labels["org.opencontainers.image.revision"] == git.head(root)
    assert labels["org.opencontainers.image.version"] == labels["modelyard.version"] == "1"
    assert labels["org.opencontainers.image.title"] == "mini (cpu)"
    assert labels["modelyard.run_id"] == entry["run_id"]
    assert labels["modelyard.sha256"] == release.sha256(root / MODEL)
    assert labels["modelyard.data"] == release.sha256(root / "dvc.lock")


def test_the_health_check_sees_whether_the_service_answers(packaged: Packaged, builder: Builder, tmp_path: Path) -> None:
    """The image's own command, as a container engine runs it: it succeeds while the service is ready, and fails after."""
    check = inspected(builder, packaged.reference)["config"]["Healthcheck"]["Test"][1:]
    with builder.running(packaged.reference, tmp_path / "log", {"MODELYARD_WORKERS": "1"}) as address:
        env = {**os.environ, "BENTOML_PORT": address.rpartition(":")[2]}
        while_up = subprocess.run(["python3", *check[1:]], env=env, check=False).returncode
    after = subprocess.run(["python3", *check[1:]], env=env, check=False, capture_output=True).returncode

    assert (while_up, after) == (0, 1)


def test_only_what_serves_is_in_the_image(packaged: Packaged, files_of: Callable[[str], Path]) -> None:
    """Neither what trains nor what builds; no compiler, no cache; nothing that its user could change."""
    files = files_of(packaged.reference)
    site = next((files / "opt/venv/lib").glob("python3*/site-packages"))
    held = {path.name.partition("-")[0].replace("_", "-").lower() for path in site.glob("*.dist-info")}
    listed = json.loads((files / "opt/service/sbom.cdx.json").read_text())

    assert held & FOREIGN == set()
    assert held == {each["name"] for each in listed["components"]}
    programs = {path.name for folder in ("usr/bin", "opt/venv/bin") for path in (files / folder).iterdir()}
    assert programs & {"gcc", "cc", "make", "uv", "pip"} == set()
    assert not (files / "var/cache/uv").exists()
    assert not (files / "build").exists()
    if os.geteuid() == 0:  # else whoever unpacks an image owns its files
        assert [path for path in (files / "opt").rglob("*") if path.lstat().st_uid] == []
        assert (files / "log").stat().st_uid == 10001
    assert json.loads((packaged.project.root / "reports/sbom-cpu.cdx.json").read_text()) == listed


def test_the_image_holds_the_very_model(packaged: Packaged, files_of: Callable[[str], Path]) -> None:
    """Byte for byte what DVC delivers, with the contract beside it."""
    service = files_of(packaged.reference) / "opt/service"

    assert release.sha256(service / MODEL) == release.sha256(packaged.project.root / MODEL)
    assert json.loads((service / "models/serving.json").read_text())["version"] == "1"


def test_an_image_that_is_built_again_is_the_same(packaged: Packaged, builder: Builder) -> None:
    """The same content at the same logical date: the cache is used, and the image is the very one."""
    if builder.name == "docker":
        pytest.skip("BuildKit keeps the files' own times unless it exports with rewrite-timestamp")
    before = inspected(builder, packaged.reference)
    project = packaged.project
    name, _, version = packaged.report["bento"].partition(":")
    bento = serving.Bento(packaged.report["bento"], project.root / package.HOME / "bentos" / name / version)
    again = image.build(project, package._trained(project, FEBRUARY), bento, "cpu", builder)
    after = inspected(builder, again.reference)

    assert again.seconds < 30
    assert (after["rootfs"], after["created"]) == (before["rootfs"], before["created"])
    assert before["config"]["Labels"]["org.opencontainers.image.created"] == FEBRUARY.isoformat()


def test_an_image_beyond_the_limit_blocks(packaged: Packaged, builder: Builder, base: str) -> None:
    """The verdict is negative, and figure and limit stand in the sentence; the report is kept."""
    outcome = package.run(with_images(packaged.project, base, size_mb=100, build_seconds=0.001))
    report = json.loads((packaged.project.root / "reports/package.json").read_text())

    assert (outcome.verdict, outcome.exit_code) == ("block", 10)
    assert outcome.problems[0] == f"The cpu image has {report['images'][0]['size_mb']:.0f} MB, and serving.image.size_mb allows 100."
    assert re.search(r"took \d+ s to build, and serving\.image\.build_seconds allows 0\.001", outcome.summary)
    assert report["excess"] == list(outcome.problems)


def test_a_base_that_is_not_there_is_told_in_the_builders_words(packaged: Packaged, builder: Builder) -> None:
    """No traceback: which image, which builder, and what it said."""
    with pytest.raises(serving.ServiceError, match=rf"{builder.name} cannot build localhost/mini:\w+-cpu: .*absent"):
        package.run(with_images(packaged.project, "localhost/absent:none"))


def test_a_service_that_needs_what_the_image_lacks_is_noticed(registered: Project, builder: Builder, base: str) -> None:
    """The Bento answers here, where everything is installed; the image does not start, and its log says why."""
    script = registered.source / registered.policy.package / "model.py"
    script.write_text("import pandas\n" + script.read_text())

    with pytest.raises(serving.ServiceError, match="No module named 'pandas'"):
        package.run(with_images(registered, base))


def test_other_predictions_than_recorded_are_noticed(packaged: Packaged, builder: Builder, tmp_path: Path) -> None:
    """The image's answers are compared with what was recorded at training."""
    content = json.loads((packaged.project.root / EXAMPLES).read_text())
    content["predictions"][1] += 0.01
    (tmp_path / "examples.json").write_text(json.dumps(content))
    built = image.Image("cpu", packaged.reference, 1, 1, 1, 1)

    with pytest.raises(serving.ServiceError, match=r"differ from those recorded at training by up to 0\.01"):
        image.smoke_test(built, builder, tmp_path / "examples.json", tmp_path / "log")


class Index(BaseHTTPRequestHandler):
    """A private package index that has nothing, and asks who one is."""

    wanted = "Basic " + base64.b64encode(b"robot:sekret-7d1f").decode()
    served: ClassVar[list[str]] = []

    def do_GET(self) -> None:
        allowed = self.headers.get("Authorization") == self.wanted
        if allowed:
            self.served.append(self.path)
        self.send_response(404 if allowed else 401)
        self.send_header("Content-Length", "0")
        if not allowed:
            self.send_header("WWW-Authenticate", "Basic")
        self.end_headers()

    def log_message(self, *_: Any) -> None:
        pass


@pytest.fixture
def index() -> Iterator[str]:
    """Return host and port of a private index; what it was asked stands in Index.served."""
    Index.served.clear()
    server = ThreadingHTTPServer(("127.0.0.1", 0), Index)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


@pytest.mark.parametrize("by", ["environment", "pyproject"])
def test_the_package_index_is_used_and_leaves_no_trace(
    packaged: Packaged, builder: Builder, base: str, index: str, by: str, monkeypatch: pytest.MonkeyPatch, files_of: Callable[[str], Path]
) -> None:
    """A private index with credentials is asked while packages are installed; files, history, labels and context hold nothing of it."""
    if builder.name != "buildah":
        pytest.skip(f"a build by {builder.name} does not reach an index on 127.0.0.1")
    project = packaged.project
    if by == "environment":
        monkeypatch.setenv("UV_INDEX", f"http://robot:sekret-7d1f@{index}/packages")
    else:
        (project.root / "pyproject.toml").write_text(f'[[tool.uv.index]]\nname = "own"\nurl = "http://{index}/packages"\n')
        monkeypatch.setenv("UV_INDEX_OWN_USERNAME", "robot")
        monkeypatch.setenv("UV_INDEX_OWN_PASSWORD", "sekret-7d1f")
    monkeypatch.setattr(image, "HERE", uncached(project.root.parent / by))
    asked = 0

    def counted(root: Path) -> Any:
        nonlocal asked
        asked = len(Index.served)  # by the lock, until here
        return secrets(root)

    secrets = image.secrets
    monkeypatch.setattr(image, "secrets", counted)
    outcome = package.run(with_images(project, base))
    reference = outcome.outputs["images"]
    about = json.dumps(inspected(builder, reference))
    traces = [
        path
        for folder in (files_of(reference), project.root / image.FOLDER, project.root / "reports")
        for path in folder.rglob("*")
        if path.is_file() and not path.is_symlink() and any(mark in path.read_bytes() for mark in (b"sekret-7d1f", index.encode()))
    ]
    (project.root / "pyproject.toml").unlink(missing_ok=True)

    assert len(Index.served) > asked > 0
    assert "sekret-7d1f" not in about
    assert index not in about
    assert traces == []


def uncached(folder: Path) -> Path:
    """The files of an image's definition with a step more, so that packages are really installed."""
    shutil.copytree(image.HERE, folder)
    definition = (folder / "Dockerfile").read_text()
    (folder / "Dockerfile").write_text(
        definition.replace("COPY requirements.txt", f"ENV NEVER_BEFORE={os.urandom(8).hex()}\nCOPY requirements.txt", 1)
    )
    return folder
