"""The embedded store: MLflow's database and artifacts and the DVC remote, on the branch ``modelyard-state`` of the project's own origin.

``.modelyard/state`` is a replica to read from. Every write is a transaction (`transact`) in a fresh folder below ``.modelyard/tx``, which
lands by compare-and-swap as the branch's only commit: the branch moves from one whole state to the next, or not at all. Each transaction
has files and an index of its own, and shares the objects of the replica's repository: nothing is fetched or stored twice.
"""

from __future__ import annotations

import fcntl
import itertools
import os
import random
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TypeVar

import click

from modelyard import git, project
from modelyard.errors import GitError, PushRaceError, StateError
from modelyard.outcome import Outcome

T = TypeVar("T")

BRANCH = "modelyard-state"
FOLDER = Path(".modelyard/state")
DATABASE = "mlflow.db"
#: Environment variable: the folder that ``state:/`` means, where it is not the replica of the project around the working folder.
VARIABLE = "MODELYARD_STATE"

#: GitHub refuses files over 100 MB, and asks for repositories of at most 1 GB.
FILE_LIMIT = 90_000_000
TOTAL_LIMIT = 1_000_000_000

_TX = Path(".modelyard/tx")
_ATTEMPTS = 20
_SEEN = f"refs/remotes/origin/{BRANCH}"  # the last commit that was fetched or pushed as a whole
_SHOWN = f"refs/heads/{BRANCH}"  # the commit that the replica's files show
_CONFIG = """\
[core]
\trepositoryformatversion = 0
\tbare = false
\tcompression = 1
\tautocrlf = false
\texcludesFile = /dev/null
\tattributesFile = /dev/null
\thooksPath = /dev/null
[gc]
\t# Old states are of no use here, but a running transaction may still build on one.
\tauto = 1000
\tautoDetach = false
\tpruneExpire = 1.hour.ago
\treflogExpire = 1.hour.ago
\treflogExpireUnreachable = 1.hour.ago
[pack]
\twindow = 0
"""
_NOBODY = {f"GIT_{role}_{key}": "modelyard" for role in ("AUTHOR", "COMMITTER") for key in ("NAME", "EMAIL")}
_numbers = itertools.count()


def pull(root: Path) -> bool:
    """Bring the replica to the branch's state. Files that a hand-made ``dvc push`` left in its ``dvc/`` stay.

    Returns
    -------
    bool
        False where origin has no such branch yet; an empty replica with ``dvc/`` exists then.

    Raises
    ------
    UsageError
        The project has no origin.
    StateError
        Origin cannot be reached, or its branch is gone while the replica still holds a state.
    """
    root = root.resolve()
    url = _origin(root)
    with _lock(root):
        return bool(_pull(root, url))


def push(root: Path) -> None:
    """Land on the branch what a hand-made ``dvc push`` left in the replica's ``dvc/``."""
    source = root.resolve() / FOLDER / "dvc"

    def apply(folder: Path) -> None:
        for file in source.rglob("*"):
            target = folder / "dvc" / file.relative_to(source)
            if file.is_file() and file.suffix != ".tmp" and not target.exists():
                target.parent.mkdir(parents=True, exist_ok=True)
                _link(file, target)

    transact(root, apply, "dvc push")


def transact(root: Path, apply: Callable[[Path], T], message: str) -> T:
    """Change the state: ``apply`` a change to a copy of it, and land the copy as the branch's only commit.

    Parameters
    ----------
    root
        The project's folder.
    apply
        Gets the folder of this attempt. It runs again, in a new folder, each time somebody else lands first: keep it short, and let it
        read what it decides on from this folder. Where it changes no file, nothing is pushed.
    message
        Of the commit.

    Returns
    -------
    T
        What the ``apply`` that landed returned.

    Raises
    ------
    PushRejectedError
        The remote refused the push for good; nothing changed.
    StateError
        The state grew too large, origin cannot be reached, or others kept landing first; nothing changed.
    """
    root = root.resolve()
    url = _origin(root)
    _sweep(root)
    for attempt in range(_ATTEMPTS):
        time.sleep(random.uniform(0, min(2.0, 0.05 * 2**attempt)) if attempt else 0)  # noqa: S311 - no secret
        with _lock(root):
            old = _pull(root, url)
        with _workspace(root) as folder:
            if old:
                _git(root, "read-tree", "--reset", "-u", old, tree=folder)
            (folder / "dvc").mkdir(exist_ok=True)
            result = apply(folder)
            _check_size(folder)
            new = _commit(root, folder, old, message)
            with suppress(PushRaceError):
                if new != old:
                    _land(root, url, old, new)
                return result
    raise StateError(f"{_ATTEMPTS} times somebody else changed the state branch first; nothing was changed.", "Run the command again.")


def _commit(root: Path, folder: Path, old: str, message: str) -> str:
    """A parentless commit of the folder; ``old`` where nothing differs from it."""
    _git(root, "add", "--all", "--force", ".", tree=folder)
    tree = _git(root, "write-tree", tree=folder)
    if tree == (_git(root, "rev-parse", f"{old}^{{tree}}") if old else _git(root, "hash-object", "-t", "tree", "/dev/null")):
        return old
    return _git(root, "commit-tree", "-m", message, tree, tree=folder)


def _land(root: Path, url: str, old: str, new: str) -> None:
    # Under the lock, so that the replica follows the branch in the order of the pushes.
    with _lock(root):
        git.push(f"--force-with-lease=refs/heads/{BRANCH}:{old}", url, f"{new}:refs/heads/{BRANCH}", cwd=root / FOLDER)
        shallow = root / FOLDER / ".git/shallow"
        if not shallow.exists():
            # From a repository that is not shallow, git sends the whole state with each push: commits without parents share no history.
            shallow.write_text(f"{new}\n")
        _git(root, "update-ref", _SEEN, new)
        _show(root, new)


def _pull(root: Path, url: str) -> str:
    """Fetch the branch where it moved, and show it in the replica; its commit, or empty."""
    _init(root)
    there = _remote(root, "ls-remote", "--quiet", url, f"refs/heads/{BRANCH}").partition("\t")[0]
    seen = _ref(root, _SEEN)
    if not there and seen:
        (root / FOLDER / ".git/shallow").unlink(missing_ok=True)  # with it, git would refuse the command below
        raise StateError(
            f"Origin has no branch {BRANCH} (any more), but {FOLDER} holds a state.",
            f"Put it there: git -C {FOLDER} push {url} {_SEEN}:refs/heads/{BRANCH}\nOr delete {FOLDER} to start from nothing.",
        )
    if there and there != seen:
        # A depth, though the branch has one commit: with it, the remote leaves out the files that both commits hold.
        _remote(root, "fetch", "--quiet", "--depth=1", "--no-tags", "--no-write-fetch-head", url, f"+refs/heads/{BRANCH}:{_SEEN}")
        there = _ref(root, _SEEN)
    if there:
        _show(root, there)
    return there


def _show(root: Path, commit: str) -> None:
    """Make the replica's files those of ``commit``; each appears whole, the database last, so a reader never meets half a state."""
    replica = root / FOLDER
    tracked = set(_list(root, "ls-files", "-z"))
    _git(root, "read-tree", "--reset", commit)
    git.attempt("update-index", "--quiet", "--refresh", cwd=replica)
    if changed := _list(root, "diff-files", "--name-only", "-z"):
        with tempfile.TemporaryDirectory(dir=replica / ".git", prefix="incoming-") as incoming:
            _git(root, "checkout-index", f"--prefix={incoming}/", "-z", "--stdin", stdin="\0".join(changed).encode())
            for name in sorted(changed, key=lambda name: name == DATABASE):
                if name == DATABASE:
                    for leftover in replica.glob(f"{DATABASE}-*"):  # SQLite would replay an old journal onto the new database
                        leftover.unlink(missing_ok=True)
                (replica / name).parent.mkdir(parents=True, exist_ok=True)
                (Path(incoming) / name).replace(replica / name)
        git.attempt("update-index", "--quiet", "--refresh", cwd=replica)
    for name in tracked - set(_list(root, "ls-files", "-z")):
        (replica / name).unlink(missing_ok=True)
    _git(root, "update-ref", _SHOWN, commit)


def _init(root: Path) -> None:
    """Make the replica's repository, or clear what a killed git left in it."""
    folder = root / FOLDER / ".git"
    (root / FOLDER / "dvc").mkdir(parents=True, exist_ok=True)
    if not (folder / "info/attributes").exists():
        git.run("init", "--quiet", "--template=", f"--initial-branch={BRANCH}", cwd=root / FOLDER)
        (folder / "config").write_text(_CONFIG)
        (folder / "info").mkdir(exist_ok=True)
        (folder / "info/attributes").write_text("* -text -filter -ident -working-tree-encoding\n")  # last: it marks the end
    for stale in (*folder.glob("*.lock"), *folder.glob("refs/**/*.lock")):
        stale.unlink(missing_ok=True)
    for stale in folder.glob("incoming-*"):
        shutil.rmtree(stale, ignore_errors=True)


@contextmanager
def _lock(root: Path) -> Iterator[None]:
    """One process at a time touches the replica; the system releases the lock of a killed one."""
    (root / FOLDER).mkdir(parents=True, exist_ok=True)
    with (root / FOLDER.parent / "state.lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


@contextmanager
def _workspace(root: Path) -> Iterator[Path]:
    # A new folder each time: MLflow keeps its connection to a database's path, even to one that was deleted.
    folder = root / _TX / f"{os.getpid()}-{next(_numbers)}"
    shutil.rmtree(folder, ignore_errors=True)  # of a dead process that had this number
    (folder / "state").mkdir(parents=True)
    try:
        yield folder / "state"
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _sweep(root: Path) -> None:
    """Remove the folders of transactions whose process is dead."""
    for folder in (root / _TX).glob("*-*"):
        try:
            os.kill(int(folder.name.partition("-")[0]), 0)
        except (ProcessLookupError, ValueError):
            shutil.rmtree(folder, ignore_errors=True)
        except PermissionError:  # it lives, and is somebody else's
            continue


def _check_size(folder: Path) -> None:
    sizes = [(file.stat().st_size, file) for file in folder.rglob("*") if file.is_file()]
    (size, largest), total = max(sizes, default=(0, folder)), sum(size for size, _ in sizes)
    name = largest.relative_to(folder)
    if size > FILE_LIMIT:
        what = f"{name} has {size / 1e6:.0f} MB, the limit for one file is {FILE_LIMIT / 1e6:.0f} MB"
    elif total > TOTAL_LIMIT:
        what = f"it has {total / 1e6:.0f} MB, the limit is {TOTAL_LIMIT / 1e6:.0f} MB (largest file: {name})"
    else:
        return
    if name.parts[0] == "dvc":
        fix = "Connect a real DVC remote: uv run dvc remote add --default storage s3://<bucket>/<path>"
    else:
        fix = "Connect a real MLflow server: export MLFLOW_TRACKING_URI=https://<server>"
    raise StateError(f"The state is too large for a branch: {what}.", fix)


def _origin(root: Path) -> str:
    url = git.origin(root)
    path = root / url
    return str(path.resolve()) if "://" not in url and path.exists() else url


def _git(root: Path, *args: str, tree: Path | None = None, stdin: bytes | None = None) -> str:
    """Git in the replica; with ``tree``, on the files and the index of that transaction, and the replica's objects."""
    if tree is None:
        return git.run(*args, cwd=root / FOLDER, stdin=stdin)
    where = {"GIT_DIR": root / FOLDER / ".git", "GIT_WORK_TREE": tree, "GIT_INDEX_FILE": tree.parent / "index"}
    return git.run(*args, cwd=tree, env=_NOBODY | {name: str(path.resolve()) for name, path in where.items()})


def _remote(root: Path, *args: str) -> str:
    try:
        return _git(root, *args)
    except GitError as error:
        what = f"The state branch cannot be read from origin: {error.what}"
        raise StateError(what, "Check `git remote get-url origin`, the network, and your access to it.") from error


def _ref(root: Path, name: str) -> str:
    return git.attempt("rev-parse", "--verify", "--quiet", name, cwd=root / FOLDER).stdout.decode().strip()


def _list(root: Path, *args: str) -> list[str]:
    return [name for name in _git(root, *args).split("\0") if name]


def _link(source: Path, target: Path) -> None:
    """DVC never changes a stored file, so a second name is as good as a copy."""
    try:
        target.hardlink_to(source)
    except OSError:
        shutil.copyfile(source, target)


@click.group("state", help="Pull or push the embedded store: the branch that holds MLflow's database and artifacts and the DVC remote.")
def command() -> None:
    """Hold the two commands together."""


@command.command("pull", help="Bring .modelyard/state to the branch's state; then `dvc pull` delivers data and model.")
def _pull_command() -> Outcome:
    if pull(project.find().root):
        return Outcome(verdict="", summary=f"{FOLDER} is at the state of origin's branch {BRANCH}.")
    return Outcome(verdict="", summary=f"Origin has no branch {BRANCH} yet: {FOLDER} is empty. The first `modelyard register` makes it.")


@command.command("push", help="Land on the branch what `dvc push` left in .modelyard/state/dvc.")
def _push_command() -> Outcome:
    push(project.find().root)
    return Outcome(verdict="", summary=f"Origin's branch {BRANCH} holds what {FOLDER}/dvc holds.")
