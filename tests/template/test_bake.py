"""Every combination of answers gives a project that is complete and clean."""

from __future__ import annotations

import itertools
import json
import os
import subprocess
import sys
import tomllib
from datetime import UTC, datetime
from pathlib import Path

import pytest
import yaml
from template.bake import REPOSITORY, bake, cookiecutter, files

from modelyard import dataset, policy, vendoring

LICENCES = {
    "MIT": "MIT License",
    "Apache-2.0": "Apache License",
    "BSD-3-Clause": "BSD 3-Clause License",
    "Proprietary": "All rights reserved.",
}
COMBINATIONS = list(itertools.product(("binary", "regression"), ("trees", "neural")))

OWN = {
    ".dvc/.gitignore",
    ".dvc/config",
    ".dvcignore",
    ".github/workflows/ci.yml",
    ".github/workflows/monitor.yml",
    ".github/workflows/promote.yml",
    ".github/workflows/rollback.yml",
    ".github/workflows/score.yml",
    ".github/workflows/train.yml",
    ".github/zizmor.yml",
    ".gitignore",
    ".python-version",
    "LICENSE",
    "README.md",
    "data/raw/.gitignore",
    "deploy/compose.yaml",
    *(f"deploy/kubernetes/base/{name}.yaml" for name in ("kustomization", "network", "workload")),
    *(f"deploy/kubernetes/canary/{name}.yaml" for name in ("kustomization", "route")),
    *(f"deploy/kubernetes/canary/{name}/kustomization.yaml" for name in ("newest", "stable", "stable/release")),
    *(f"deploy/kubernetes/{name}/kustomization.yaml" for name in ("gpu", "log", "production", "release", "staging")),
    "deploy/kubernetes/log/claim.yaml",
    "dvc.yaml",
    "governance/checklist.yaml",
    "models/.gitignore",
    "modelyard.yaml",
    "params.yaml",
    "pyproject.toml",
    "releases/README.md",
    "src/flights/__init__.py",
    "src/flights/data.py",
    "src/flights/features.py",
    "src/flights/model.py",
    "src/flights/schema.py",
    "src/flights/service.py",
    "src/flights/train.py",
    "tests/conftest.py",
    "tests/test_data.py",
    "tests/test_features.py",
    "tests/test_model.py",
    "tests/test_pipeline.py",
    "tests/test_schema.py",
    "tests/test_service.py",
}


@pytest.fixture(scope="module")
def vendored(template: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What vendoring alone puts into a project."""
    folder = tmp_path_factory.mktemp("vendored")
    vendoring.vendor(template, folder)
    return folder


@pytest.fixture(scope="module")
def project(template: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project of the default answers, but for the first day of its data."""
    return bake(template, tmp_path_factory.mktemp("project"), __data_start="2013-01-01")


def run(folder: Path, *command: str) -> str:
    """Run a tool of this environment in a project; its output, which is empty of complaints."""
    env = {**os.environ, "PYTHONPATH": str(folder / "src"), "NO_COLOR": "1"}
    env.pop("PYTHONDONTWRITEBYTECODE", None)
    done = subprocess.run([sys.executable, "-m", *command], cwd=folder, env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.mark.parametrize("licence", LICENCES)
@pytest.mark.parametrize(("task", "estimator"), COMBINATIONS)
def test_every_combination_is_complete(template: Path, vendored: Path, tmp_path: Path, task: str, estimator: str, licence: str) -> None:
    """Exactly the files that belong there; the platform byte for byte; nothing left to render; configuration that is read."""
    folder = bake(template, tmp_path, task=task, estimator=estimator, licence=licence)

    assert files(folder) == OWN | files(vendored)
    for name in files(vendored):
        assert (folder / name).read_bytes() == (vendored / name).read_bytes(), name
    skeleton = template / "{{cookiecutter.project_slug}}"
    for name in OWN:
        content = (folder / name).read_text(encoding="utf-8")
        assert "cookiecutter" not in content, name
        assert "{%" not in content, name
        assert content.endswith("\n"), name
        assert not content.endswith("\n\n"), name
        if name.startswith(".github/"):
            assert content == (skeleton / name).read_text(encoding="utf-8"), name
        else:
            assert "{{" not in content, name

    assert LICENCES[licence] in (folder / "LICENSE").read_text()
    assert tomllib.loads((folder / "pyproject.toml").read_text())["project"]["license"].endswith(licence)
    assert policy.load(folder).task == task
    assert set(yaml.safe_load((folder / "dvc.yaml").read_text())["stages"]) == {"train", "profile"}


@pytest.mark.parametrize(("task", "estimator"), COMBINATIONS)
def test_code_is_formatted_and_linted(template: Path, tmp_path: Path, task: str, estimator: str) -> None:
    """What a project's own ci asks of its code holds from the first commit on, also with long names."""
    folder = bake(template, tmp_path, task=task, estimator=estimator, project_name="Minutes of Delay at New York")

    run(folder, "ruff", "format", "--check", ".")
    run(folder, "ruff", "check", ".")


@pytest.mark.slow
@pytest.mark.parametrize(("task", "estimator"), [("binary", "trees"), ("regression", "neural")])
def test_code_is_typed(template: Path, tmp_path: Path, task: str, estimator: str) -> None:
    """Strict mypy accepts the code; these two combinations hold every line of it."""
    run(bake(template, tmp_path, task=task, estimator=estimator), "mypy")


@pytest.mark.slow
def test_its_own_tests_pass(template: Path, tmp_path: Path) -> None:
    """A fresh project's own tests are green before it has data."""
    report = run(bake(template, tmp_path), "pytest", "-q", "-p", "no:cacheprovider")

    assert "failed" not in report
    assert "passed" in report


@pytest.mark.slow
@pytest.mark.parametrize(("task", "estimator"), COMBINATIONS[1:])
def test_models_of_every_combination_serve(template: Path, tmp_path: Path, task: str, estimator: str) -> None:
    """Training converges, exports with parity, and the service answers, for each task and estimator."""
    folder = bake(template, tmp_path, task=task, estimator=estimator)
    run(folder, "pytest", "-q", "-p", "no:cacheprovider", "tests/test_model.py", "tests/test_service.py")


def test_it_is_a_repository_with_one_clean_commit(project: Path) -> None:
    """The project begins on main with everything committed."""

    def git(*args: str) -> str:
        return subprocess.run(["git", *args], cwd=project, capture_output=True, text=True, check=True).stdout

    assert git("rev-parse", "--abbrev-ref", "HEAD").strip() == "main"
    assert git("log", "--format=%s").splitlines() == ["Project generated by Modelyard"]
    assert git("status", "--porcelain") == ""
    assert set(git("ls-files").splitlines()) == files(project)


def test_it_is_its_own_repository_inside_another(template: Path, tmp_path: Path) -> None:
    """Generated within a repository, a project still becomes one of its own."""
    subprocess.run(["git", "init", "--quiet"], cwd=tmp_path, check=True)
    folder = bake(template, tmp_path / "inside")

    assert (folder / ".git").is_dir()


def test_without_an_identity_it_says_what_to_run(template: Path, tmp_path: Path) -> None:
    """Git without a name and an address: the project is there, and the missing command is told."""
    done = cookiecutter(template, tmp_path / "out", env={"HOME": str(tmp_path), "XDG_CONFIG_HOME": str(tmp_path)})

    assert done.returncode == 0
    assert "Nothing is committed yet" in done.stdout
    assert "git commit -m" in done.stdout
    assert (tmp_path / "out/flights/README.md").exists()


def test_without_uv_and_git_it_says_so(template: Path, tmp_path: Path) -> None:
    """Neither tool on the PATH: the project is there, and both are named."""
    done = cookiecutter(template, tmp_path / "out", env={"PATH": str(tmp_path), "MODELYARD_NO_LOCK": ""})

    assert done.returncode == 0
    assert "uv is not there" in done.stdout
    assert "git is not there" in done.stdout
    assert "first `uv sync`" in done.stdout


def test_a_second_time_is_refused(template: Path, tmp_path: Path) -> None:
    """An existing folder is not written into."""
    folder = bake(template, tmp_path)
    (folder / "README.md").write_text("mine")
    done = cookiecutter(template, tmp_path)

    assert done.returncode != 0
    assert "already exists" in done.stderr + done.stdout
    assert (folder / "README.md").read_text() == "mine"


def test_a_project_of_today_has_complete_months(template: Path, tmp_path: Path) -> None:
    """By default the data begin so that there is something to train on, and a hold-out."""
    settings = policy.load(bake(template, tmp_path)).data
    periods = list(dataset.complete_periods(settings, datetime.now(UTC).replace(tzinfo=None)))

    assert len(periods) in (3, 4)
    assert settings.start.day == 1


def test_the_resolution_is_pinned_as_ours(project: Path) -> None:
    """Project and toolkit take packages up to the same day."""

    def pin(folder: Path) -> str:
        settings: dict[str, str] = tomllib.loads((folder / "pyproject.toml").read_text())["tool"]["uv"]
        return settings["exclude-newer"]

    assert pin(project) == pin(REPOSITORY)


def test_the_policy_names_its_schema(project: Path) -> None:
    """An editor finds the JSON Schema that the policy's first line names."""
    first = (project / "modelyard.yaml").read_text().splitlines()[0]
    path = project / first.removeprefix("# yaml-language-server: $schema=")

    assert json.loads(path.read_text())["title"] == "Policy"


def test_answers_reach_their_files(template: Path, tmp_path: Path) -> None:
    """Texts arrive whole where they are written: apostrophes, colons, hashes and other alphabets."""
    author, description = "Zoë O'Brien <zoë@example.com>", "Delays: 50 % of them #1 & more, für alle"
    folder = bake(template, tmp_path, project_name="Delay's Yard", project_slug="delay-yard", author=author, description=description)
    project = tomllib.loads((folder / "pyproject.toml").read_text(encoding="utf-8"))["project"]

    assert folder.name == project["name"] == policy.load(folder).name == "delay-yard"
    assert project["authors"] == [{"name": author}]
    assert project["description"] == policy.load(folder).risk.purpose == description
    assert policy.load(folder).risk.owner == author
    assert policy.load(folder).package == "delay_yard"
    assert (folder / "src/delay_yard/data.py").is_file()
    assert author in (folder / "LICENSE").read_text(encoding="utf-8")
