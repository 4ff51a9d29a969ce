"""``actions/setup``: decides once where the toolkit comes from, and hands on what one secret holds."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest
from template.bake import REPOSITORY

from modelyard.vendoring import stage

pytestmark = pytest.mark.slow


def setup(action: Path, workspace: Path, **env: str) -> tuple[subprocess.CompletedProcess[str], dict[str, str]]:
    """Run the action's script as a runner does; what it wrote to the job's files."""
    files = {name: workspace.parent / name for name in ("GITHUB_ENV", "GITHUB_PATH")}
    given = {
        "GITHUB_ACTION_PATH": str(action),
        "RUNNER_TEMP": str(workspace.parent / "runner"),
        **{name: str(path) for name, path in files.items()},
        **env,
    }
    workspace.mkdir(exist_ok=True)
    done = subprocess.run(
        ["bash", str(action / "setup.sh")], cwd=workspace, env=os.environ | given, capture_output=True, text=True, check=False
    )
    return done, {name: path.read_text() if path.exists() else "" for name, path in files.items()}


def test_an_action_used_by_itself_brings_the_toolkit(tmp_path: Path) -> None:
    """In a repository that was not generated, the toolkit is installed from the action's own checkout, beside the workspace."""
    platform = stage(REPOSITORY, tmp_path / "platform")

    done, files = setup(platform / "actions" / "setup", tmp_path / "work")

    assert done.returncode == 0, done.stderr
    program = Path(files["GITHUB_PATH"].strip()) / "modelyard"
    assert subprocess.run([program, "--version"], capture_output=True, text=True, check=True).stdout.startswith("modelyard, version")
    subprocess.run([program.with_name("python"), "-c", "import apprise"], check=True)  # monitor's notifications
    assert list((tmp_path / "work").iterdir()) == []


def test_a_project_without_its_lock_is_told(tmp_path: Path) -> None:
    """Vendored actions have no toolkit above them: without a lock nothing can be installed, and the message says what to commit."""
    action = tmp_path / "work" / ".github" / "actions" / "setup"
    action.mkdir(parents=True)
    (action / "setup.sh").write_bytes((REPOSITORY / "actions/setup/setup.sh").read_bytes())

    done, _ = setup(action, tmp_path / "work")

    assert (done.returncode, done.stdout) == (1, "::error::There is no uv.lock with modelyard in it. Run 'uv sync' and commit uv.lock.\n")


@pytest.mark.parametrize(
    ("secret", "code", "env", "said"),
    [
        ("# a comment\n\nMLFLOW_TRACKING_URI=https://m\nKEY=a=b c", 0, "MLFLOW_TRACKING_URI=https://m\nKEY=a=b c\n", "::add-mask::a=b c"),
        ("hunter2", 1, "", "::error::A line of the secret MODELYARD_ENV is not NAME=value."),
    ],
)
def test_one_secret_holds_the_jobs_variables(tmp_path: Path, secret: str, code: int, env: str, said: str) -> None:
    """Each line reaches the later steps, its value masked; a line that is none is refused without being shown."""
    (tmp_path / "bin").mkdir()
    uv = tmp_path / "bin" / "uv"  # what it installs is tested above
    uv.write_text("#!/bin/sh\n")
    uv.chmod(0o755)

    done, files = setup(
        REPOSITORY / "actions/setup", tmp_path / "work", MODELYARD_ENV=secret, PATH=f"{tmp_path / 'bin'}:{os.environ['PATH']}"
    )

    assert (done.returncode, files["GITHUB_ENV"]) == (code, env)
    assert said in done.stdout.splitlines()
    assert "hunter2" not in done.stdout + done.stderr
