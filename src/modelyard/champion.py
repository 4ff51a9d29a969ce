"""The model that main's release record names: its verified bytes, and its predictions by the code it was trained with."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from modelyard import git, release, store
from modelyard.errors import RegistryError, ServiceError
from modelyard.project import EXAMPLES, MODEL, PROFILE, RELEASE, Project, load_object
from modelyard.release import Release

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd

# Runs with the champion's own source folder first on the path; the frame comes and the predictions go by file.
_PREDICT = """
import importlib, pathlib, sys
import numpy, pandas
package, model, frame, result = sys.argv[1:]
predict = importlib.import_module(package + ".model").load(pathlib.Path(model)).predict
numpy.save(result, predict(pandas.read_parquet(frame)))
"""


@dataclass(frozen=True)
class Champion:
    """A released model, ready to predict."""

    release: Release
    project: Project
    folder: Path

    @property
    def model(self) -> Path:
        """The model file, whose SHA-256 is the record's."""
        return self.folder / MODEL

    @property
    def profile(self) -> Path:
        """The profile that was made with it."""
        return self.folder / PROFILE

    @property
    def examples(self) -> Path:
        """The rows and predictions that were recorded at training."""
        return self.folder / EXAMPLES

    def predict(self, frame: pd.DataFrame) -> np.ndarray:
        """Predictions (n,) by the features and the model code of the commit that the record names.

        Raises
        ------
        ServiceError
            That code fails.
        """
        import numpy as np

        if self._same_code():
            load = load_object(self.project, "model", "load")
            try:
                result: np.ndarray = load(self.model).predict(frame)
            except Exception as error:
                raise self._failure(f"{type(error).__name__}: {error}") from error
            return result
        with tempfile.TemporaryDirectory() as name:
            rows, predictions = Path(name) / "rows.parquet", Path(name) / "predictions.npy"
            frame.to_parquet(rows)
            done = subprocess.run(
                [sys.executable, "-c", _PREDICT, self.project.policy.package, str(self.model), str(rows), str(predictions)],
                env={**os.environ, "PYTHONPATH": str(self.folder / "src")},
                capture_output=True,
                text=True,
                check=False,
            )
            if done.returncode:
                last = (done.stderr.strip().splitlines() or ["no message"])[-1]
                raise self._failure(last)
            loaded: np.ndarray = np.load(predictions)
            return loaded

    def _failure(self, reason: str) -> ServiceError:
        return ServiceError(f"The champion's own code ({self.release.code.commit[:12]}) cannot predict these rows: {reason}")

    def _same_code(self) -> bool:
        """Whether the whole package is that of the champion's commit: its model may import any part of it."""
        package = Path("src") / self.project.policy.package
        then, now = ({p.relative_to(r): p.read_bytes() for p in (r / package).rglob("*.py")} for r in (self.folder, self.project.root))
        return then == now


def load(project: Project, rev: str = "HEAD") -> Champion | None:
    """The champion as the commit ``rev`` records it; None where nothing was released yet.

    Raises
    ------
    RegistryError
        The model file that DVC delivers is not the one that the record names.
    """
    text = git.show(project.root, rev, RELEASE.as_posix())
    if text is None:
        return None
    record = release.read(text)
    commit = git.head(project.root, rev)
    folder = project.root / ".modelyard" / "champion" / commit  # not by the model: other code may have trained the same bytes
    if not (folder / "complete").exists():
        for path in (MODEL, PROFILE, EXAMPLES):
            (folder / path).parent.mkdir(parents=True, exist_ok=True)
            (folder / path).write_bytes(store.read(project.root, path, commit))
        git.export(project.root, record.code.commit, folder)
        (folder / "complete").touch()  # last: a killed run begins anew
    found = release.sha256(folder / MODEL)
    if found != record.model.sha256:
        (folder / "complete").unlink()
        raise RegistryError(f"The release record names the model {record.model.sha256[:12]}, but DVC delivers {found[:12]}.")
    return Champion(record, project, folder)
