"""The repository that jobs fetch from and push to: it never leaves this machine, unless the user says so."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from modelyard import git
from modelyard.errors import GitError

MIRROR = Path(".modelyard/local/origin.git")


@dataclass(frozen=True)
class Origin:
    """Where jobs push."""

    address: str
    sentence: str
    default_branch: str
    is_remote: bool = False


def resolve(root: Path, *, push: bool) -> Origin:
    """Choose the project's own ``origin`` where it is a folder (or ``push`` allows it), else a mirror in the project.

    Raises
    ------
    GitError
        The mirror cannot be made.
    """
    done = git.attempt("remote", "get-url", "origin", cwd=root)
    url = done.stdout.decode().strip() if done.returncode == 0 else ""
    folder = (root / Path(url.removeprefix("file://")).expanduser()).resolve() if url else root
    if url and folder.is_dir():
        return Origin(str(folder), f"Jobs fetch from and push to {folder}.", _default_branch(folder))
    if url and push:
        branch = _default_branch(root, "refs/remotes/origin/HEAD")
        return Origin(url, f"Jobs fetch from and PUSH TO {url} (--push).", branch, is_remote=True)
    mirror = root / MIRROR
    refused = _mirror(root, mirror)
    why = f"{url} is not touched: --push would allow it" if url else "this repository has no origin"
    note = f" There {', '.join(refused)} went on without you: git pull {MIRROR} {refused[0]}" if refused else ""
    return Origin(str(mirror), f"Jobs fetch from and push to {MIRROR} ({why}).{note}", _default_branch(mirror))


def _default_branch(repository: Path, head: str = "HEAD") -> str:
    done = git.attempt("symbolic-ref", "--short", "--quiet", head, cwd=repository)
    name = done.stdout.decode().strip().removeprefix("origin/")
    return name if done.returncode == 0 and name else "main"


def _mirror(root: Path, mirror: Path) -> list[str]:
    """Bring the working copy's branches into the mirror; those where jobs have pushed meanwhile stay, and are returned."""
    if not mirror.is_dir():
        mirror.parent.mkdir(parents=True, exist_ok=True)
        git.run("init", "--quiet", "--bare", f"--initial-branch={_mirror_branch(root)}", str(mirror), cwd=root)
    done = git.attempt("push", "--porcelain", "--quiet", str(mirror), "refs/heads/*:refs/heads/*", "refs/tags/*:refs/tags/*", cwd=root)
    lines = done.stdout.decode(errors="replace").splitlines()
    refused = [line.split("\t")[1].split(":")[1].removeprefix("refs/heads/") for line in lines if line.startswith("!\t")]
    if done.returncode and not refused:
        words = done.stderr.decode(errors="replace").strip()
        raise GitError(f"The mirror {mirror} could not be updated: {words}", f"Delete {mirror} to start anew.")
    return refused


def _mirror_branch(root: Path) -> str:
    """The default branch of the mirror: ``main`` where there is one, else the branch at hand."""
    if git.attempt("rev-parse", "--verify", "--quiet", "refs/heads/main", cwd=root).returncode == 0:
        return "main"
    return _default_branch(root)
