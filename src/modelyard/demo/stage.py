"""The stage: a generated project, its origin, and the source of its data."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from modelyard import git, vendoring
from modelyard.console import step
from modelyard.errors import UsageError
from modelyard.local import act
from modelyard.project import Project, find

#: The approver of the story. Only the project's own configuration is set.
_APPROVER = ("Ada Approver", "ada@example.org")


@dataclass(frozen=True)
class Yard:
    """The folders of a demo."""

    folder: Path
    project: Project

    @property
    def root(self) -> Path:
        """The project's working copy."""
        return self.project.root

    @property
    def upstream(self) -> Path:
        """The folder that the project's ``load()`` reads: what a warehouse is elsewhere."""
        return self.folder / "upstream"


def build(folder: Path, task: str) -> Yard:
    """Generate the project from this repository, and put a bare ``origin.git`` and the upstream data beside it.

    Raises
    ------
    UsageError
        The folder is not empty, a program is missing, or this is not the template's repository.
    """
    template = _template()
    for program, remedy in (("git", "Install git."), ("uv", "pip install uv")):
        if not shutil.which(program):
            raise UsageError(f"{program} was not found.", remedy)
    if folder.exists() and any(folder.iterdir()):
        raise UsageError(f"{folder} is not empty.", "Name another folder, or remove it: nothing is overwritten.")
    act.program()  # said now, not after the project is there
    folder.mkdir(parents=True, exist_ok=True)
    with step("generate the project"):
        root = _generate(template, folder, task)
    origin = folder / "origin.git"
    git.run("init", "--quiet", "--bare", "--initial-branch=main", str(origin), cwd=folder)
    git.run("remote", "add", "origin", str(origin), cwd=root)
    git.run("config", "user.name", _APPROVER[0], cwd=root)
    git.run("config", "user.email", _APPROVER[1], cwd=root)
    _relax(root)
    yard = Yard(folder, find(root))
    with step("fill the upstream with the flights of 2013"):
        _fill(yard)
    return yard


def _relax(root: Path) -> None:
    """Ask for a service level that any machine keeps: all of this runs on one, beside whatever else it does."""
    path = root / "modelyard.yaml"
    text = re.sub(r"(?m)^  level: .*$", "  level: {rate: 5, rows: 1, seconds: 1, p99_ms: 2000}", path.read_text(encoding="utf-8"))
    path.write_text(text, encoding="utf-8")
    git.run("commit", "--quiet", "--all", "-m", "A service level for this machine", cwd=root)


def break_month(yard: Yard, month: datetime) -> None:
    """Let a month arrive broken: distances in kilometres, a tenth of the temperatures missing."""
    import pandas as pd

    file = yard.upstream / "flights.parquet"
    shutil.copyfile(file, yard.upstream / "whole.parquet")
    frame = pd.read_parquet(file)
    rows = frame["scheduled"].dt.to_period("M") == pd.Period(month, "M")
    frame.loc[rows, "distance"] = (frame.loc[rows, "distance"] * 1.609344).round().astype(frame["distance"].dtype)
    frame.loc[frame[rows].sample(frac=0.1, random_state=0).index, "temp"] = None
    frame.to_parquet(file, index=False)


def repair(yard: Yard) -> None:
    """Put the whole data back."""
    (yard.upstream / "whole.parquet").replace(yard.upstream / "flights.parquet")


def _template() -> Path:
    template = Path(__file__).resolve().parents[3]
    if not (template / "cookiecutter.json").exists():
        raise UsageError("The demo generates a project, and this copy of the toolkit has no template.", "Run it in a clone of Modelyard.")
    return template


def _generate(template: Path, folder: Path, task: str) -> Path:
    try:
        from cookiecutter.main import cookiecutter
    except ModuleNotFoundError:
        raise UsageError("cookiecutter is not installed.", "Run `uv run modelyard demo` in a clone of Modelyard.") from None
    answers = {"project_name": "Flights", "task": task, "__data_start": "2013-01-01"}
    identity = {
        f"GIT_{role}_{key}": value for role in ("AUTHOR", "COMMITTER") for key, value in zip(("NAME", "EMAIL"), _APPROVER, strict=True)
    }
    before = {name: os.environ.get(name) for name in identity}
    os.environ.update(identity)
    try:
        with tempfile.TemporaryDirectory() as name:
            # Cookiecutter copies the whole template, so a clean one without .venv.
            clean = vendoring.stage(template, Path(name) / "modelyard")
            return Path(cookiecutter(str(clean), no_input=True, extra_context=answers, output_dir=str(folder), accept_hooks=True))
    finally:
        for key, value in before.items():
            os.environ.pop(key) if value is None else os.environ.update({key: value})


def _fill(yard: Yard) -> None:
    yard.upstream.mkdir()
    code = (
        f"import sys; from datetime import datetime; from {yard.project.policy.package}.data import load; "
        "load(datetime(2013, 1, 1), datetime(2014, 1, 1)).to_parquet(sys.argv[1], index=False)"
    )
    env = {**os.environ, "PYTHONPATH": str(yard.project.source)}
    env.pop("FLIGHTS_SOURCE", None)
    subprocess.run([sys.executable, "-c", code, str(yard.upstream / "flights.parquet")], env=env, check=True)
