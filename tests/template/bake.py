"""Baking: the staged template, and cookiecutter as a user runs it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

REPOSITORY = Path(__file__).parents[2]


def cookiecutter(template: Path, into: Path, *, env: dict[str, str] | None = None, **answers: str) -> subprocess.CompletedProcess[str]:
    """Generate a project without asking and without a lock, whatever comes of it."""
    into.mkdir(parents=True, exist_ok=True)
    given = [f"{name}={value}" for name, value in answers.items()]
    return subprocess.run(
        [sys.executable, "-m", "cookiecutter", "--no-input", "--output-dir", str(into), str(template), *given],
        env={**os.environ, "MODELYARD_NO_LOCK": "1", **(env or {})},
        capture_output=True,
        text=True,
        check=False,
    )


def bake(template: Path, into: Path, **answers: str) -> Path:
    """Generate a project; its folder. Somebody commits it, also where a fixture of the session asks and the machine knows nobody."""
    somebody = {f"GIT_{role}_{key}": "test@example.com" for role in ("AUTHOR", "COMMITTER") for key in ("NAME", "EMAIL")}
    done = cookiecutter(template, into, env=somebody, **answers)
    assert done.returncode == 0, done.stderr + done.stdout
    (folder,) = into.iterdir()
    return folder


def files(root: Path) -> set[str]:
    """Paths of all files but git's own."""
    return {path.relative_to(root).as_posix() for path in root.rglob("*") if path.is_file() and ".git" not in path.relative_to(root).parts}
