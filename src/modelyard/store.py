"""Data and models by DVC: the only module that runs it."""

from __future__ import annotations

import hashlib
import os
import sys
from collections.abc import Iterator
from contextlib import chdir, contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from modelyard import git
from modelyard.errors import ModelyardError, StoreError

if TYPE_CHECKING:
    from dvc.repo import Repo

#: Name of the embedded remote; another default remote replaces it.
EMBEDDED = "state"
LOCK = Path("dvc.lock")
PIPELINE = Path("dvc.yaml")
_PULL_FIX = "`modelyard state pull` brings the embedded remote."
_STAGE_FIX = f"A stage's own words stand above. Where data are missing: {_PULL_FIX}"


def is_embedded(root: Path) -> bool:
    """Whether the data go to the state branch (the default remote is ``state``)."""
    with _repo(root) as repo:
        return bool(repo.config["core"].get("remote") == EMBEDDED)


def pointer(file: Path) -> Path:
    """The ``.dvc`` file of a data file."""
    return file.with_name(f"{file.name}.dvc")


def add(root: Path, file: Path) -> None:
    """Put ``file`` (relative to the root) under DVC; writes its pointer."""
    with _repo(root) as repo:
        repo.add(str(root / file))


def remove(root: Path, file: Path) -> None:
    """Take the pointer of ``file`` away again."""
    (root / pointer(file)).unlink(missing_ok=True)


def reproduce(root: Path) -> list[str]:
    """Run the stages whose inputs changed, pulling what only misses on disk; the names of those that ran.

    Raises
    ------
    StoreError
        A stage failed, or an input is not there.
    """
    with _repo(root) as repo, _without_job_files(), _told("The pipeline failed", _STAGE_FIX):
        stages = repo.reproduce(pull=True)
        return [stage.name for stage in stages if getattr(stage, "name", None)]


def commands(folder: Path, stage: str) -> list[tuple[str, Path]]:
    """What DVC would run for a stage, each with its working folder: first those of the stages whose outputs it needs.

    Parameters
    ----------
    folder
        Holds ``dvc.yaml``; it need not be a repository.

    Returns
    -------
    list
        Empty where there is no such stage.

    Raises
    ------
    StoreError
        The pipeline cannot be read.
    """
    from dvc.repo import Repo
    from dvc.stage.exceptions import StageFileDoesNotExistError, StageNotFound
    from networkx import dfs_postorder_nodes

    alone = {"core": {"no_scm": True}}  # a scratch folder may lie inside another repository, which is none of its business
    opened = partial(Repo, str(folder), uninitialized=True, config=alone)
    with _told("The pipeline cannot be read"), _stdout_to_stderr(), chdir(folder), opened() as repo:
        try:
            graph = repo.index.graph  # edges lead to what is needed, so what is needed comes first
            found = [each for one in repo.stage.collect(stage) for each in dfs_postorder_nodes(graph, one)]
        except (StageNotFound, StageFileDoesNotExistError):
            return []
        lists = [(each.cmd if isinstance(each.cmd, list) else [each.cmd], Path(each.wdir)) for each in found if each.cmd]
    return [(command, inside) for several, inside in lists for command in several]


def pull(root: Path, *targets: Path) -> None:
    """Bring the outputs and data of the working tree from the remote; all, or only the targets."""
    with _repo(root) as repo:
        repo.pull([str(root / target) for target in targets] or None)


def pull_missing_data(root: Path, folder: Path) -> None:
    """Bring the files of ``folder`` that have a pointer but are not on disk."""
    missing = [p for p in sorted((root / folder).glob("*.dvc")) if not p.with_suffix("").exists()]
    if missing:
        pull(root, *[p.relative_to(root) for p in missing])


def push(root: Path, folder: Path | None = None) -> int:
    """Deliver what the working tree's pointers name; the number of files sent.

    Parameters
    ----------
    folder
        Stands in for the embedded remote's own folder: that of a transaction.
    """
    config = {"remote": {EMBEDDED: {"url": str(folder)}}} if folder else None
    with _repo(root, config) as repo:
        return int(repo.push())


def read(root: Path, path: Path, rev: str) -> bytes:
    """The bytes of an output or data file as the commit ``rev`` names it, from the cache or any of today's remotes.

    Today's, since a project that moved its data to another remote still has to deliver the releases from before.

    Raises
    ------
    StoreError
        The commit does not name the file, or neither cache nor remotes hold it.
    """
    digest = _hash_at(root, path, rev)
    with _repo(root) as repo:
        default = repo.config["core"].get("remote")
        names = sorted(repo.config["remote"], key=lambda name: name != default)
        unreachable = []
        for place in ("cache", *names):
            try:
                store = repo.cache.local if place == "cache" else repo.cloud.get_remote_odb(place)
                data: bytes = store.fs.cat_file(store.oid_to_path(digest))
            except FileNotFoundError:
                continue
            except Exception as error:
                unreachable.append(f"{place}: {error}")
                continue
            if hashlib.md5(data, usedforsecurity=False).hexdigest() == digest:  # what a killed copy left is not the file
                return data
    searched = f"the cache and {', '.join(names) or 'no remote'}" + "".join(f"; {reason}" for reason in unreachable)
    raise StoreError(f"DVC does not deliver {path} of {rev[:12]} ({digest}): searched {searched}.", _PULL_FIX)


def _hash_at(root: Path, path: Path, rev: str) -> str:
    """DVC's content hash of ``path`` in the commit's lock or pointer."""
    found = _locked(git.show(root, rev, LOCK.as_posix()) or b"", path)
    if text := git.show(root, rev, pointer(path).as_posix()):
        found += [out["md5"] for out in (yaml.safe_load(text) or {}).get("outs", [])]
    if not found:
        raise StoreError(f"{rev[:12]} names no {path}: it is neither in {LOCK} nor has it a pointer.", "Run train, and release its model.")
    return str(found[0])


def is_delivered(root: Path, path: Path) -> bool:
    """Whether a file of the working tree is the output that its dvc.lock names."""
    lock = root / LOCK
    found = _locked(lock.read_bytes() if lock.exists() else b"", path)
    return hashlib.md5((root / path).read_bytes(), usedforsecurity=False).hexdigest() in found


def _locked(lock: bytes, path: Path) -> list[str]:
    stages = (yaml.safe_load(lock) or {}).get("stages", {})
    return [str(out["md5"]) for stage in stages.values() for out in stage.get("outs", []) if out["path"] == path.as_posix()]


def data_pointers(root: Path, folder: Path) -> dict[str, str]:
    """Path -> content hash of each data file that has a pointer."""
    found = {}
    for file in sorted((root / folder).glob("*.dvc")):
        try:
            out = yaml.safe_load(file.read_text())["outs"][0]
            found[(file.parent / out["path"]).relative_to(root).as_posix()] = str(out["md5"])
        except (KeyError, IndexError, TypeError, yaml.YAMLError):
            raise StoreError(f"{file.relative_to(root)} is not a DVC pointer.", "Restore it with git.") from None
    return found


def code_dependencies(lock: bytes | str, data: Path) -> list[str]:
    """The files and folders, other than data and models, that the locked pipeline depends on."""
    stages = (yaml.safe_load(lock) or {}).get("stages", {})
    made = {out["path"] for stage in stages.values() for out in stage.get("outs", [])}
    deps = {dep["path"] for stage in stages.values() for dep in stage.get("deps", [])}
    params = {name for stage in stages.values() for name in stage.get("params", {})}
    return sorted((deps - made | params | {PIPELINE.as_posix()}) - {data.as_posix()})


@contextmanager
def _repo(root: Path, config: dict[str, Any] | None = None) -> Iterator[Repo]:
    from dvc.repo import Repo

    git.root(root)  # DVC's own words for a folder without git help nobody
    # DVC takes the pipeline of the working folder, whatever repository it is given.
    with _told("DVC failed"), _stdout_to_stderr(), chdir(root), Repo(str(root), config=config) as repo:
        repo.scm_context.quiet = True  # no "to track the changes with git": release commits do that
        yield repo


@contextmanager
def _without_job_files() -> Iterator[None]:
    """Run the stages' own commands as such: what they tell is not this step's output and summary."""
    kept = {name: os.environ.pop(name) for name in ("GITHUB_OUTPUT", "GITHUB_STEP_SUMMARY") if name in os.environ}
    try:
        yield
    finally:
        os.environ.update(kept)


@contextmanager
def _told(what: str, fix: str = _PULL_FIX) -> Iterator[None]:
    try:
        yield
    except ModelyardError:
        raise
    except Exception as error:
        cause = error.__cause__ or error.__context__
        reason = f"{error}" + (f" ({cause})" if cause and str(cause) not in str(error) else "")
        raise StoreError(f"{what}: {reason or type(error).__name__}", fix) from error


@contextmanager
def _stdout_to_stderr() -> Iterator[None]:
    """DVC and the stages it runs talk on file descriptor 1; ours is the report."""
    sys.stdout.flush()
    kept = os.dup(1)
    try:
        os.dup2(2, 1)
        yield
    finally:
        sys.stdout.flush()
        os.dup2(kept, 1)
        os.close(kept)
