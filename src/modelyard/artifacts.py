"""MLflow plugin for ``state:/<path>``: the folder ``artifacts/<path>`` of the embedded store, wherever that lies.

So the database names artifacts without a path of any machine, and the same state works on a runner, on a laptop and in a transaction.
"""

from __future__ import annotations

import os
from pathlib import Path

from mlflow.exceptions import MlflowException
from mlflow.store.artifact.local_artifact_repo import LocalArtifactRepository

from modelyard import policy, state


def folder() -> Path:
    """The state folder that ``MODELYARD_STATE`` names; else the replica of the project around the working folder.

    Raises
    ------
    MlflowException
        The variable is not set, and the working folder is in no project.
    """
    if named := os.environ.get(state.VARIABLE):
        return Path(named)
    here = Path.cwd()
    for root in (here, *here.parents):
        if (root / policy.FILE).is_file():
            return root / state.FOLDER
    raise MlflowException(f"{here} is in no Modelyard project: go to one, or set {state.VARIABLE} to its {state.FOLDER}.")


class StateArtifactRepository(LocalArtifactRepository):  # type: ignore[misc]  # mlflow is not followed by mypy
    """MLflow's local repository, its folder looked up at each use: MLflow keeps the object, and each transaction has its own folder."""

    @property
    def _artifact_dir(self) -> str:
        parts = self.artifact_uri.removeprefix("state:").strip("/").split("/")
        if ".." in parts:
            raise MlflowException(f"{self.artifact_uri} leaves the store.")
        return str(folder().joinpath("artifacts", *parts))

    @_artifact_dir.setter
    def _artifact_dir(self, _: str) -> None:
        """The parent sets it once, when it is made."""
