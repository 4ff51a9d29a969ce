"""The project around the toolkit: its folder, its policy, and its own objects.

Objects are found by convention: in the package that the policy names,

========================  ====================================================================================
``data:load``             ``load(start, end) -> DataFrame``: the rows with start <= event time < end
``schema:Batch``          pandera ``DataFrameModel``, checked before anything is trained
``model:load``            ``load(path) -> model`` with ``model.predict(batch) -> ndarray`` (n,): what serves
``service:Service``       the BentoML service around it
========================  ====================================================================================
"""

from __future__ import annotations

import importlib
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from modelyard import policy as policies
from modelyard.errors import ProjectError, UsageError
from modelyard.policy import Policy

#: Files that a project's pipeline makes, relative to its root.
RAW = Path("data/raw")
MODEL = Path("models/model.onnx")
EXAMPLES = Path("models/examples.json")
PROFILE = Path("models/profile.parquet")
REPORTS = Path("reports")
RELEASE = Path("releases/production.yaml")
CARD = Path("releases/model-card.md")


@dataclass(frozen=True)
class Project:
    """A project's folder and policy."""

    root: Path
    policy: Policy

    def report(self, name: str) -> Path:
        """Path of ``reports/<name>``; its folder is made."""
        path = self.root / REPORTS / name
        path.parent.mkdir(parents=True, exist_ok=True)
        return path

    @property
    def source(self) -> Path:
        """The folder that the package lies in."""
        return self.root / "src"


def find(start: Path | None = None) -> Project:
    """The project around ``start`` (default: the working folder).

    Raises
    ------
    UsageError
        No folder upwards holds ``modelyard.yaml``.
    """
    here = (start or Path.cwd()).resolve()
    for folder in (here, *here.parents):
        if (folder / policies.FILE).is_file():
            return Project(folder, policies.load(folder))
    raise UsageError(f"{here} is not in a Modelyard project (no {policies.FILE} here or above).", "Go to the project's folder.")


def load_object(project: Project, module: str, name: str) -> Any:
    """The object ``name`` of the module ``<package>.<module>``.

    Raises
    ------
    ProjectError
        The module cannot be imported, or has no such object.
    """
    full = f"{project.policy.package}.{module}"
    if str(project.source) not in sys.path:
        sys.path.insert(0, str(project.source))
    file = f"src/{full.replace('.', '/')}.py"
    try:
        found = importlib.import_module(full)
    except ImportError as error:
        raise ProjectError(f"{full} cannot be imported: {error}", f"Check {file} and run `uv sync`.") from error
    except Exception as error:
        raise ProjectError(f"{full} fails on import: {type(error).__name__}: {error}", f"Mend {file}.") from error
    if not hasattr(found, name):
        raise ProjectError(f"{full} has no {name!r}.", f"Define {name} in {file}.")
    return getattr(found, name)
