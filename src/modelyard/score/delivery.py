"""A batch that outlives the machine: its files in the DVC remote, its pointer and manifest with a run in MLflow."""

from __future__ import annotations

import tempfile
from datetime import datetime
from pathlib import Path

from modelyard import registry, state, store
from modelyard.console import say
from modelyard.errors import ModelyardError
from modelyard.project import Project
from modelyard.registry import Registry
from modelyard.release import sha256
from modelyard.score.manifest import Manifest
from modelyard.score.output import MANIFEST

_SEARCHED = 1000  # earlier batches


def bring(project: Project, folder: Path, model: str) -> None:
    """Bring what this model scored of the batch elsewhere, into a folder that does not hold it.

    Parameters
    ----------
    folder
        Of the batch; it exists, and may be empty.
    model
        SHA-256 of the model file.
    """
    if (folder / MANIFEST).exists() or not (registry.is_remote() or (project.root / state.FOLDER / state.DATABASE).exists()):
        return
    path = folder.relative_to(project.root)
    pointer = store.pointer(path)
    try:
        known = registry.connect(project.root / state.FOLDER)
        run, tags = _newest(known, project, folder.name)
        if not run or tags.get("sha256") != model:
            return
        with tempfile.TemporaryDirectory() as draft:
            (project.root / pointer).write_bytes(registry.download(known, run, pointer.name, Path(draft)).read_bytes())
        store.pull(project.root, pointer)
    except ModelyardError as error:  # then it is scored again
        say(f"What was scored of {folder.name} before is not brought: {error.what}")


def deliver(project: Project, folder: Path, found: Manifest, now: datetime) -> bool:
    """Put the batch under DVC and deliver it, and log it in MLflow; False where that was done before."""
    path = folder.relative_to(project.root)
    digest = sha256(folder / MANIFEST)
    tags = {
        "batch": found.batch,
        "source": found.source,
        "verdict": found.verdict,
        "champion": found.model.version,
        "sha256": found.model.sha256,
        "logical_date": now.isoformat(),
        "manifest": digest,
    }

    def write(place: Path | None) -> bool:
        connection = registry.connect(place)
        if _newest(connection, project, found.batch)[1].get("manifest") == digest:
            return False
        if place and embedded:
            store.push(project.root, place / "dvc")
        registry.log_run(
            connection,
            experiment=_experiment(project),
            name=f"score {found.batch}",
            params={},
            metrics={"rows": found.rows, "refused": found.refused},
            tags=tags,
            artifacts={file.name: file for file in (folder / MANIFEST, project.root / store.pointer(path))},
        )
        return True

    store.add(project.root, path)
    embedded = store.is_embedded(project.root)
    if not embedded:
        store.push(project.root)
    if registry.is_remote() and not embedded:
        return write(None)
    return state.transact(project.root, write, f"score {found.batch}")


def _newest(known: Registry, project: Project, batch: str) -> tuple[str, dict[str, str]]:
    """Id and tags of the newest run that scored the batch; empty where none did."""
    runs = registry.newest_runs(known, _experiment(project), _SEARCHED)
    return next(((run, tags) for run, tags in runs if tags.get("batch") == batch), ("", {}))


def _experiment(project: Project) -> str:
    return f"{project.policy.name}-score"
